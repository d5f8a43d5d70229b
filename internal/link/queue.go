package link

import (
	"errors"

	"github.com/skein-realtime/skein/protocol"
)

// errAgain says that the kernel takes no more bytes now.
var errAgain = errors.New("would block")

// Send writes bufs, or queues them; it never blocks. When the peer's queue is
// full, the oldest messages of subscribers are dropped: newest wins. sub must
// not be nil.
func (c *Conn) Send(bufs []Buf, sub Subscriber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen || !sub.Live() {
		return
	}
	for i := range bufs {
		c.sendLocked(bufs[i].B, sub, bufs[i].N)
	}
}

// Offer writes or queues bufs that may not be dropped, as long as they fit, and
// tells how many it took, from the first on. Half of the queue is for them, so
// that replies still find room; an empty queue takes one of any size. When it
// takes fewer than all, the handler is told by Drained once the queue is empty.
// A connection that has ended, or a subscriber that is not live, takes
// everything and sends nothing.
func (c *Conn) Offer(bufs []Buf, sub Subscriber) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range bufs {
		if c.state != stateOpen || !sub.Live() {
			return len(bufs)
		}
		b := bufs[i].B
		if len(c.out) > 0 && c.queued+len(b) > bufs[i].Room(c.queueBound()/2) {
			c.lost = true
			return i
		}
		c.enqueueLocked(item{b: b, sub: sub, n: bufs[i].N, kept: true})
	}
	return len(bufs)
}

// SendControl writes or queues frames that must not be dropped: replies, pings.
// A peer that lets more of them wait than its queue holds is closed as too
// slow. then, when not nil, runs before anything else can be sent; it must not
// call back into the connection. False: the connection has ended, nothing was
// done.
func (c *Conn) SendControl(b []byte, then func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return false
	}
	c.sendLocked(b, nil, 0)
	if then != nil {
		then()
	}
	return c.state == stateOpen
}

// SendFirst runs before and then writes or queues b, as one step: whoever before
// has told of the connection can send only after b. before must not call back
// into the connection. False: the connection has ended, nothing was done.
func (c *Conn) SendFirst(before func(), b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return false
	}
	before()
	c.sendLocked(b, nil, 0)
	return true
}

// sendLocked sends bytes that may be dropped when sub is not nil.
func (c *Conn) sendLocked(b []byte, sub Subscriber, n uint32) {
	c.enqueueLocked(item{b: b, sub: sub, n: n})
}

// enqueueLocked is the one place where bytes leave or start to wait.
func (c *Conn) enqueueLocked(it item) {
	b := it.b
	if c.state == stateClosed || len(b) == 0 {
		return
	}
	done := 0
	if len(c.out) == 0 {
		k, err := c.drv.write(c, b)
		c.written += int64(k)
		c.srv.metrics.BytesOut.Add(int64(k))
		if k == len(b) {
			return
		}
		if err != nil && err != errAgain {
			c.abortLocked(closeLost, lostMessage)
			return
		}
		done = k
		c.done = k
		c.progress = c.srv.Now()
	}
	c.out = append(c.out, it)
	c.waitLocked(len(b) - done)
	if c.queued > c.queueBound() {
		c.shedLocked()
	}
	if !c.armed && !c.held && len(c.out) > 0 && c.state != stateClosed {
		c.armed = true
		c.drv.arm(c)
	}
}

// waitLocked notes that so many more bytes wait for the peer. What is written at once never
// does.
func (c *Conn) waitLocked(bytes int) {
	c.queued += bytes
	c.srv.metrics.Queued.Add(int64(bytes))
}

// unhold lets what was held back leave, in one write.
func (c *Conn) unhold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	var joined []byte
	for _, it := range c.out {
		joined = append(joined, it.b...)
	}
	c.waitLocked(-c.queued)
	c.out = nil
	c.sendLocked(joined, nil, 0)
	c.shutLocked()
}

// shedLocked drops the oldest messages that may be dropped until the queue is
// within its bound. The head stays when some of it is written, and so does the
// newest item, which is what the reader wants most.
func (c *Conn) shedLocked() {
	keep := c.pinned
	if c.done > 0 && keep == 0 {
		keep = 1
	}
	w := keep
	last := len(c.out) - 1
	for r := keep; r <= last; r++ {
		it := c.out[r]
		if it.sub != nil && !it.kept && r < last && c.queued > c.queueBound() {
			c.waitLocked(-len(it.b))
			c.lost = true
			c.srv.metrics.Dropped.Add(int64(it.n))
			it.sub.Dropped(it.n)
			continue
		}
		c.out[w] = it
		w++
	}
	clear(c.out[w:])
	c.out = c.out[:w]
	if c.queued > c.queueBound() && c.undroppableLocked() > c.queueBound() {
		c.abortLocked(protocol.CloseTooSlow, "replies wait that the client does not read")
	}
}

// undroppableLocked counts the bytes of the queue that must not be dropped.
func (c *Conn) undroppableLocked() (bytes int) {
	for i := range c.out {
		if c.out[i].sub == nil {
			bytes += len(c.out[i].b)
		}
	}
	return bytes
}

// flush writes what waits. The epoll driver calls it when the peer can take
// bytes again.
func (c *Conn) flush(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 && c.state != stateClosed {
		k, err := c.drv.write(c, c.out[0].b[c.done:])
		if k > 0 {
			c.wroteLocked(k, now)
		}
		if err == errAgain {
			break
		}
		if err != nil {
			c.abortLocked(closeLost, lostMessage)
			return
		}
	}
	c.flushedLocked()
}

// wroteLocked accounts for k bytes that have left.
func (c *Conn) wroteLocked(k int, now int64) {
	c.srv.metrics.BytesOut.Add(int64(k))
	c.written += int64(k)
	c.progress = now
	c.waitLocked(-k)
	c.done += k
	for len(c.out) > 0 && c.done >= len(c.out[0].b) {
		c.done -= len(c.out[0].b)
		c.out[0] = item{}
		c.out = c.out[1:]
	}
	if len(c.out) == 0 {
		c.out = nil
	}
}

// flushedLocked does what a shorter queue allows.
func (c *Conn) flushedLocked() {
	if len(c.out) == 0 && c.state != stateClosed {
		if c.armed {
			c.armed = false
			c.drv.arm(c)
		}
		if c.lost {
			c.scheduleLocked()
		}
		c.shutLocked()
	}
	c.relievedLocked()
}

// relievedLocked lets the handler go on once the peer has taken its replies.
func (c *Conn) relievedLocked() {
	if c.stalled && c.queued <= c.queueBound()/4 {
		c.stalled = false
		c.scheduleLocked()
	}
}

// stalledLocked ends a connection whose peer takes nothing.
func (c *Conn) stalledLocked() {
	c.abortLocked(protocol.CloseTooSlow, "no bytes were taken for "+c.srv.cfg.Stall.String())
}

// What is said of a connection that broke.
var closeLost = protocol.CloseGoingAway

const lostMessage = "the connection was lost"
