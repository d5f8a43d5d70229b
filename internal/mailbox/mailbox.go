// Package mailbox is the outgoing queue of a connection whose transport is
// pulled: server-sent events, long polling, the polling of Engine.IO. Nothing is
// written by the one who sends; whoever writes to the peer takes what waits.
//
// The rules are those of a WebSocket connection's queue (package link). The queue
// is bounded in bytes; over the bound the oldest messages that may be dropped are
// dropped, counted and reported to their subscriber. What is offered is taken as
// long as half of the bound is enough. Replies are never dropped, and a peer that
// lets more of them wait than the bound allows is too slow.
//
// What was taken counts as waiting until [Box.Done] or [Box.Wrote] tells that it
// has left, so that the bound holds for a peer that does not read. [Box.PutBack]
// gives it to the next one who takes, when it is not known to have arrived.
//
// A box starts no goroutine and keeps nothing but the queue.
package mailbox

import (
	"sync"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/link"
)

// item is a buffer that waits; see package link.
type item struct {
	b    []byte
	sub  link.Subscriber // nil: must not be dropped
	n    uint32
	kept bool // its subscriber can read it again from elsewhere: not dropped either
}

// Box is the queue of one connection. Call [Box.Init] first.
type Box struct {
	bound   int
	now     func() int64
	wake    func()
	drained func()
	over    func()
	dropped *atomic.Int64 // nil: nobody counts
	waiting *atomic.Int64 // the same

	mu       sync.Mutex // guards all below
	out      []item
	taken    int   // items at the head that somebody is writing
	part     int   // bytes of them that have left, by Wrote
	queued   int   // bytes in out that have not left
	written  int64 // bytes that have left
	progress int64 // when the peer last took something, while something waits
	state    state
	lost     bool // something was dropped or not taken since the queue was last empty
}

type state uint8

const (
	stateOpen      state = iota
	stateFinished        // nothing can be sent; what waits can be taken
	stateAbandoned       // nothing waits and nothing will
)

// Init makes the box ready. bound is how many bytes may wait; now is a monotonic
// clock in nanoseconds. The other functions are called without the box's lock, by
// whoever sends or takes, so they must be quick and must not block; good ones
// signal a goroutine.
//
// wake says that something waits that can be taken, or that the box is finished;
// it may be called more often than that. drained says that the queue has emptied
// after messages had been dropped, or an offer had not been taken whole: the
// session's Drained is to be called then, by one goroutine at a time. overflow says
// that replies alone are more than the bound: the box is abandoned, and the
// connection is to be ended as too slow.
func (b *Box) Init(bound int, now func() int64, wake, drained, overflow func()) {
	b.bound, b.now, b.wake, b.drained, b.over = bound, now, wake, drained, overflow
}

// Count adds the messages that do not fit to dropped, and keeps the bytes that wait now
// in queued, with those of other boxes. It is called before anything is sent.
func (b *Box) Count(dropped, queued *atomic.Int64) { b.dropped, b.waiting = dropped, queued }

// waitLocked notes that so many more bytes wait.
func (b *Box) waitLocked(bytes int) {
	b.queued += bytes
	if b.waiting != nil {
		b.waiting.Add(int64(bytes))
	}
}

// Bound is how many bytes may wait.
func (b *Box) Bound() int { return b.bound }

// news is what is to be told once the lock is free.
type news struct{ wake, overflow bool }

func (b *Box) unlock(n news) {
	b.mu.Unlock()
	if n.overflow {
		b.over()
	}
	if n.wake {
		b.wake()
	}
}

// Send queues bufs; it never blocks. When the bound is passed, the oldest messages
// of subscribers are dropped: newest wins. sub must not be nil.
func (b *Box) Send(bufs []link.Buf, sub link.Subscriber) {
	b.mu.Lock()
	if b.state != stateOpen || !sub.Live() {
		b.mu.Unlock()
		return
	}
	var n news
	for i := range bufs {
		b.putLocked(item{b: bufs[i].B, sub: sub, n: bufs[i].N}, &n)
	}
	b.unlock(n)
}

// Offer queues bufs that may not be dropped, as long as they fit, and tells how
// many it took, from the first on. Half of the bound is for them, so that replies
// still find room; an empty queue takes one of any size. When it takes fewer than
// all, drained is called once the queue is empty. A box that is finished,
// or a subscriber that is not live, takes everything and keeps nothing.
func (b *Box) Offer(bufs []link.Buf, sub link.Subscriber) int {
	b.mu.Lock()
	var n news
	for i := range bufs {
		if b.state != stateOpen || !sub.Live() {
			b.unlock(n)
			return len(bufs)
		}
		if len(b.out) > 0 && b.queued+len(bufs[i].B) > bufs[i].Room(b.bound/2) {
			b.lost = true
			b.unlock(n)
			return i
		}
		b.putLocked(item{b: bufs[i].B, sub: sub, n: bufs[i].N, kept: true}, &n)
	}
	b.unlock(n)
	return len(bufs)
}

// SendControl queues frames that must not be dropped. then, when not nil, runs
// before anything else can be sent; it must not call back into the box. False: the
// connection has ended, nothing was done, or it ends now because this was too much.
func (b *Box) SendControl(wire []byte, then func()) bool {
	b.mu.Lock()
	if b.state != stateOpen {
		b.mu.Unlock()
		return false
	}
	var n news
	b.putLocked(item{b: wire}, &n)
	if then != nil {
		then()
	}
	open := b.state == stateOpen
	b.unlock(n)
	return open
}

// SendFirst runs before and then queues wire, as one step: whoever before has told
// of the connection can send only after wire. before must not call back into the
// box. False: the connection has ended, nothing was done.
func (b *Box) SendFirst(before func(), wire []byte) bool {
	b.mu.Lock()
	if b.state != stateOpen {
		b.mu.Unlock()
		return false
	}
	before()
	var n news
	b.putLocked(item{b: wire}, &n)
	b.unlock(n)
	return true
}

// putLocked is the one place where bytes start to wait.
func (b *Box) putLocked(it item, n *news) {
	if len(it.b) == 0 || b.state == stateAbandoned {
		return
	}
	if len(b.out) == 0 {
		b.progress = b.now()
	}
	b.out = append(b.out, it)
	b.waitLocked(len(it.b))
	if b.queued > b.bound && b.state == stateOpen {
		b.shedLocked(n)
	}
	n.wake = true
}

// shedLocked drops the oldest messages that may be dropped until the queue is
// within its bound. What is being written stays, and so does the newest item, which
// is what the reader wants most.
func (b *Box) shedLocked(n *news) {
	w, last := b.taken, len(b.out)-1
	for r := b.taken; r <= last; r++ {
		it := b.out[r]
		if it.sub != nil && !it.kept && r < last && b.queued > b.bound {
			b.waitLocked(-len(it.b))
			b.lost = true
			if b.dropped != nil {
				b.dropped.Add(int64(it.n))
			}
			it.sub.Dropped(it.n)
			continue
		}
		b.out[w] = it
		w++
	}
	clear(b.out[w:])
	b.out = b.out[:w]
	if b.queued > b.bound && b.undroppableLocked() > b.bound {
		b.abandonLocked()
		n.overflow = true
	}
}

// undroppableLocked counts the bytes of the queue that must not be dropped.
func (b *Box) undroppableLocked() (bytes int) {
	for i := range b.out {
		if b.out[i].sub == nil {
			bytes += len(b.out[i].b)
		}
	}
	return bytes
}

// Take gives the oldest buffers that nobody has taken: at least one when there is
// any, at most max bytes in all. more tells whether others wait behind them. Nobody
// may change the buffers; they count as waiting until Done or Wrote.
func (b *Box) Take(max int) (bufs [][]byte, more bool) {
	return b.TakeInto(nil, max)
}

// TakeInto is Take that appends to a slice of the caller's.
func (b *Box) TakeInto(bufs [][]byte, max int) (list [][]byte, more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for bytes := 0; b.taken < len(b.out); b.taken++ {
		next := b.out[b.taken].b
		if bytes > 0 && bytes+len(next) > max {
			return bufs, true
		}
		bytes += len(next)
		bufs = append(bufs, next)
	}
	return bufs, false
}

// Wrote tells that n bytes of what was taken have left, in order, while the rest is
// still being written.
func (b *Box) Wrote(n int) {
	b.mu.Lock()
	b.leftLocked(n)
	b.emptiedLocked()
}

// Done tells that all that was taken has left.
func (b *Box) Done() {
	b.mu.Lock()
	bytes := -b.part
	for i := range b.out[:b.taken] {
		bytes += len(b.out[i].b)
	}
	b.leftLocked(bytes)
	b.emptiedLocked()
}

// leftLocked accounts for bytes that have left.
func (b *Box) leftLocked(bytes int) {
	if b.state == stateAbandoned || bytes <= 0 {
		return
	}
	b.waitLocked(-bytes)
	b.written += int64(bytes)
	b.progress = b.now()
	b.part += bytes
	n := 0
	for n < b.taken && b.part >= len(b.out[n].b) {
		b.part -= len(b.out[n].b)
		n++
	}
	clear(b.out[:n])
	b.out = b.out[n:]
	b.taken -= n
	if len(b.out) == 0 {
		b.out = nil
	}
}

// emptiedLocked gives the lock back, and says so when the queue is empty for the
// first time since something did not fit.
func (b *Box) emptiedLocked() {
	drained := b.lost && len(b.out) == 0 && b.state == stateOpen
	if drained {
		b.lost = false
	}
	b.mu.Unlock()
	if drained {
		b.drained()
	}
}

// PutBack gives up what was taken and is not known to have left: the next Take
// begins with it. A buffer that had left in part is given out whole again.
func (b *Box) PutBack() {
	b.mu.Lock()
	var n news
	if b.taken > 0 {
		b.waitLocked(b.part)
		b.written -= int64(b.part)
		b.taken, b.part = 0, 0
		n.wake = true
	}
	b.unlock(n)
}

// Finish queues last, whatever waits already; nothing can be sent after it. What
// waits can still be taken. Only the first call counts.
func (b *Box) Finish(last []byte) {
	b.mu.Lock()
	if b.state != stateOpen {
		b.mu.Unlock()
		return
	}
	b.state = stateFinished
	n := news{wake: true}
	b.putLocked(item{b: last}, &n)
	b.unlock(n)
}

// Abandon forgets everything; nothing can be sent or taken any more.
func (b *Box) Abandon() {
	b.mu.Lock()
	b.abandonLocked()
	b.unlock(news{wake: true})
}

func (b *Box) abandonLocked() {
	b.state = stateAbandoned
	b.waitLocked(-b.queued)
	b.out, b.taken, b.part = nil, 0, 0
}

// Queued tells how many bytes wait for the peer, those being written included.
func (b *Box) Queued() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.queued
}

// Written tells how many bytes have left for the peer.
func (b *Box) Written() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written
}

// Waits tells whether something can be taken.
func (b *Box) Waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken < len(b.out)
}

// Empty tells whether nothing waits and nothing is being written.
func (b *Box) Empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.out) == 0
}

// Finished tells whether nothing can be sent any more, and nothing is left to be
// taken or written.
func (b *Box) Finished() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state != stateOpen && len(b.out) == 0
}

// Stalled tells for how many nanoseconds the peer has taken nothing of what waits;
// zero when nothing waits.
func (b *Box) Stalled() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.out) == 0 {
		return 0
	}
	return b.now() - b.progress
}
