package trace

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
)

// kind is what a record tells of.
type kind uint8

const (
	sent      kind = iota // body is as it left, n messages
	received              // body is a frame's text
	published             // body is a frame's JSON
	event                 // of a connection
)

// record is something that happened, not yet made into lines.
type record struct {
	kind  kind
	at    int64 // Unix milliseconds
	who   *who  // nil: it is about no connection
	body  []byte
	n     int // lines that it makes
	event string
	why   protocol.Close // of "closed"
}

// who is a connection, and who it was at a time.
type who struct {
	conn         *hub.Conn
	user, device string
}

// trace is one request's look at something.
type trace struct {
	want    target
	backlog int
	wake    chan struct{} // a signal when there is something to take

	// Of whoever writes.
	written, missed int64

	mu      sync.Mutex // guards all below
	waiting []record
	lines   int // that waiting makes
	bytes   int
	dropped int // lines that came after what is waiting and did not fit
	taps    map[*hub.Conn]*tap
	over    bool // nothing follows what is waiting
}

func newTrace(want target, backlog int) *trace {
	return &trace{want: want, backlog: backlog, wake: make(chan struct{}, 1), taps: map[*hub.Conn]*tap{}}
}

// tap is a trace's look at one connection.
type tap struct {
	trace *trace
	who   atomic.Pointer[who]
}

// Sent implements hub.Tap.
func (p *tap) Sent(wire []byte, n int) {
	p.trace.put(record{kind: sent, who: p.who.Load(), body: wire, n: n})
}

// Received implements hub.Tap.
func (p *tap) Received(text []byte) {
	p.trace.put(record{kind: received, who: p.who.Load(), body: text, n: 1})
}

// put queues a record, or counts it if there is no room. It does not wait.
func (t *trace) put(r record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.putLocked(r)
}

func (t *trace) putLocked(r record) {
	if t.over {
		return
	}
	// What came after something that was dropped is dropped, too: one line tells
	// where lines are missing.
	if t.dropped > 0 || t.lines+r.n > t.backlog && t.lines > 0 || t.bytes+len(r.body) > maxWaiting && t.bytes > 0 {
		t.dropped += r.n
	} else {
		r.at = time.Now().UnixMilli()
		t.waiting = append(t.waiting, r)
		t.lines += r.n
		t.bytes += len(r.body)
	}
	t.signal()
}

func (t *trace) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take gives all that waits, and how many lines are missing after it. over: nothing
// will follow.
func (t *trace) take() (list []record, dropped int, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list, dropped = t.waiting, t.dropped
	t.waiting, t.lines, t.bytes, t.dropped = nil, 0, 0, 0
	t.missed += int64(dropped)
	return list, dropped, t.over
}

func identify(c *hub.Conn) *who {
	identity := c.Identity()
	return &who{c, identity.User, identity.Device}
}

// join begins to look at a connection. what is the event that tells of it, "": none.
func (t *trace) join(c *hub.Conn, what string) {
	w := identify(c)
	enter := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.over || t.taps[c] != nil {
			return
		}
		p := &tap{trace: t}
		p.who.Store(w)
		t.taps[c] = p
		if what != "" {
			t.putLocked(record{kind: event, event: what, who: w, n: 1})
		}
		c.AddTap(p)
	}
	enter()
	if c.Gone() { // its end may have been told before it was looked for
		t.leave(c, &record{event: "closed"})
	}
}

// leave ends the look at a connection; last is the event that tells of it.
func (t *trace) leave(c *hub.Conn, last *record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.taps[c]
	if p == nil {
		return
	}
	c.RemoveTap(p)
	delete(t.taps, c)
	last.kind, last.who, last.n = event, p.who.Load(), 1
	t.putLocked(*last)
	if t.want.connection != "" {
		t.over = true
		t.signal()
	}
}

// rename notes that a connection has another user.
func (t *trace) rename(c *hub.Conn) {
	w := identify(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.taps[c]; p != nil {
		p.who.Store(w)
		t.putLocked(record{kind: event, event: "bound", who: w, n: 1})
	}
}

// close ends the look at everything.
func (t *trace) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	for c, p := range t.taps {
		c.RemoveTap(p)
	}
	clear(t.taps)
	t.waiting = nil
}
