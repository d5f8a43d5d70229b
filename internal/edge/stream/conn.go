package stream

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/mailbox"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// Conn is one connection behind plain HTTP. It is a hub.Outlet; the door takes what
// waits from its [Conn.Box].
type Conn struct {
	Session session.Session
	Box     mailbox.Box

	// Static after Begin.
	srv     *Server
	kind    *Kind
	key     id.Connection // what its client names it by
	remote  netip.AddrPort
	release func() // counts it out of all doors' connections
	byToken bool

	onRelease func() // nil: nobody is told

	woken chan struct{} // a signal when there may be something to take
	gone  chan struct{} // closed when the connection is over

	mu        sync.Mutex // guards all below
	in        [][]byte   // frames for the session
	inBytes   int
	user      string // whom the token was for
	running   bool   // the worker exists
	stalled   bool   // the worker waits for the client to take its replies
	emptied   bool   // the session is to be told that its queue has drained
	final     *End   // why the connection ended; nil until it is known
	released  bool   // it is over, gone is closed
	reported  bool   // the session has been told
	interrupt func() // ends a write that is under way

	moved chan struct{} // closed when the inbox has shrunk or the worker rests; nil: nobody waits
}

// End is why a connection ended.
type End struct {
	Reason  protocol.Close
	Message string
}

var _ hub.Outlet = (*Conn)(nil)

const lostMessage = "the connection was lost"

func newConn(s *Server, kind *Kind, remote netip.AddrPort, release func()) *Conn {
	c := &Conn{srv: s, kind: kind, remote: remote, release: release, woken: make(chan struct{}, 1), gone: make(chan struct{})}
	c.Box.Init(s.cfg.Queue, s.cfg.Clock.Now, c.wake, c.drained, c.overflow)
	c.Box.Count(&kind.Metrics.Dropped, &kind.Metrics.Queued)
	s.cfg.Sessions.Prepare(&c.Session, c, kind.Encoding)
	c.key = c.Session.ID
	return c
}

// Secret makes the connection known to its client by a name of its own instead of
// the id that others see. It is called before [Conn.Begin].
func (c *Conn) Secret() { c.key = id.NewConnection() }

// OnRelease has fn called when the connection is over. It is called before
// [Conn.Begin].
func (c *Conn) OnRelease(fn func()) { c.onRelease = fn }

// Name is what the client names the connection by.
func (c *Conn) Name() string { return c.key.String() }

// Begin starts the session. A client that has brought no identity is taken as an
// anonymous one, unless it says `connect` itself. It gives why the connection was
// refused, nil when it was not; then frames are handled. Whoever sends everybody
// away may have looked just before this connection was there to be seen, so that
// is made up for here.
func (c *Conn) Begin(o session.Opening, connects bool) *End {
	c.running = true // the caller is the worker until the session has begun
	c.srv.running.Add(1)
	c.byToken = o.Token != ""
	if !c.srv.list(c) {
		c.Abort(protocol.CloseGoingAway, ShuttingDown)
	}
	c.Session.Begin(o)
	if !connects && !c.Session.Welcomed() && c.End() == nil {
		b := protocol.AppendString([]byte(`{"type":"connect","device":`), o.Device)
		c.Session.Receive(append(b, '}'))
	}
	if c.srv.draining.Load() {
		c.Session.Bye(protocol.CloseGoingAway, ShuttingDown, time.Duration(c.srv.spread.Load()))
	}
	c.mu.Lock()
	c.user = c.Session.User()
	end := c.final
	if end == nil {
		c.kind.Metrics.Accepted.Add(1)
	}
	c.mu.Unlock()
	go c.work()
	return end
}

// ByToken tells whether the connection was opened with a token, and whose it was.
func (c *Conn) ByToken() (user string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.user, c.byToken
}

// Woken signals that there may be something to take.
func (c *Conn) Woken() <-chan struct{} { return c.woken }

// Gone is closed when the connection is over.
func (c *Conn) Gone() <-chan struct{} { return c.gone }

// End tells why the connection ends or has ended; nil while it does not.
func (c *Conn) End() *End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.final
}

func (c *Conn) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

func (c *Conn) drained() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emptied = true
	c.scheduleLocked()
}

func (c *Conn) overflow() {
	c.kind.Metrics.Stalled.Add(1)
	c.Abort(protocol.CloseTooSlow, "replies wait that the client does not read")
}

// maxInbox bounds the frames that wait for the session, whatever their size.
const maxInbox = 128

// Push hands frames to the session, after waiting until there is room for them.
// False: the connection or ctx has ended.
func (c *Conn) Push(ctx context.Context, frames [][]byte) bool {
	for {
		ok, moved := c.TryPush(frames)
		if ok {
			return true
		}
		select {
		case <-moved:
		case <-c.gone:
			return false
		case <-ctx.Done():
			return false
		}
		if c.End() != nil {
			return false
		}
	}
}

// TryPush hands frames to the session if there is room for them. Otherwise moved is
// closed when it may be worth another try. Those for a connection that ends are
// forgotten.
func (c *Conn) TryPush(frames [][]byte) (ok bool, moved <-chan struct{}) {
	size := 0
	for _, f := range frames {
		size += len(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.final != nil:
		return true, nil
	case len(c.in) > 0 && (c.inBytes+size > c.srv.cfg.Inbox || len(c.in)+len(frames) > maxInbox):
		return false, c.movedLocked()
	}
	c.in = append(c.in, frames...)
	c.inBytes += size
	c.scheduleLocked()
	return true, nil
}

// Add hands frames to the session that the door itself has made, whatever waits.
func (c *Conn) Add(frames [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range frames {
		c.inBytes += len(f)
	}
	c.in = append(c.in, frames...)
	c.scheduleLocked()
}

// Settled gives a channel that is closed when the session may have handled all it
// has, or cannot go on before its client has taken what waits; nil: that is so now.
func (c *Conn) Settled() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.running {
		return nil
	}
	return c.movedLocked()
}

func (c *Conn) movedLocked() chan struct{} {
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.moved
}

func (c *Conn) tellMovedLocked() {
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

func (c *Conn) scheduleLocked() {
	if !c.running {
		c.running = true
		c.srv.running.Add(1)
		go c.work()
	}
}

// work hands the inbox to the session until it is empty.
func (c *Conn) work() {
	defer c.srv.running.Done()
	for {
		c.mu.Lock()
		if c.emptied {
			c.emptied = false
			if c.final == nil {
				c.mu.Unlock()
				c.Session.Drained()
				continue
			}
		}
		if c.final != nil {
			c.in, c.inBytes = nil, 0 // what still arrives is ignored
		}
		if c.released && !c.reported {
			c.reported = true
			end := c.final
			c.mu.Unlock()
			c.Session.Closed(end.Reason, end.Message)
			continue
		}
		// A client that does not take its replies gets no new ones: wait for Left.
		c.stalled = c.final == nil && c.Box.Queued() > c.Box.Bound()/2
		if len(c.in) == 0 || c.stalled {
			c.running = false
			c.tellMovedLocked()
			c.mu.Unlock()
			return
		}
		frame := c.in[0]
		c.in[0] = nil
		c.in = c.in[1:]
		c.inBytes -= len(frame)
		if len(c.in) == 0 {
			c.in = nil
		}
		c.tellMovedLocked()
		c.mu.Unlock()
		c.Session.Receive(frame)
	}
}

// Left does what a shorter queue allows. The door calls it after the box was told
// that something has left.
func (c *Conn) Left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled && c.Box.Queued() <= c.Box.Bound()/4 {
		c.stalled = false
		c.scheduleLocked()
	}
}

// Interrupt sets what ends a write that is under way, nil: none is. It is called
// with the connection locked, and at once when the connection is over already.
func (c *Conn) Interrupt(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupt = fn
	if fn != nil && c.released {
		fn()
	}
}

// Send implements hub.Outlet.
func (c *Conn) Send(bufs []link.Buf, sub link.Subscriber) { c.Box.Send(bufs, sub) }

// SendControl implements hub.Outlet.
func (c *Conn) SendControl(wire []byte, then func()) bool { return c.Box.SendControl(wire, then) }

// Offer implements hub.Outlet.
func (c *Conn) Offer(bufs []link.Buf, sub link.Subscriber) int { return c.Box.Offer(bufs, sub) }

// SendFirst implements hub.Outlet.
func (c *Conn) SendFirst(before func(), wire []byte) bool { return c.Box.SendFirst(before, wire) }

// Queued implements hub.Outlet.
func (c *Conn) Queued() int { return c.Box.Queued() }

// Written implements hub.Outlet.
func (c *Conn) Written() int64 { return c.Box.Written() }

// Transport implements hub.Outlet.
func (c *Conn) Transport() string { return c.kind.Name }

// Remote implements hub.Outlet.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Close implements hub.Outlet: last still goes to the client, if it takes it
// within a few seconds. What it still sends is ignored. Only the first call counts.
func (c *Conn) Close(reason protocol.Close, message string, last []byte) {
	c.mu.Lock()
	if c.final != nil {
		c.mu.Unlock()
		return
	}
	c.final = &End{reason, message}
	c.scheduleLocked()
	c.mu.Unlock()
	c.Box.Finish(last)
	c.srv.cfg.Clock.Deadline(c.srv.cfg.Clock.Now()+int64(c.srv.cfg.Linger), (*linger)(c))
}

// linger is a Conn as seen by the deadline that ends its closing.
type linger Conn

// Due implements link.Deadline.
func (l *linger) Due(int64) { (*Conn)(l).Release() }

// Abort ends the connection at once, without a word to the client.
func (c *Conn) Abort(reason protocol.Close, message string) {
	c.mu.Lock()
	if c.final == nil {
		c.final = &End{reason, message}
	}
	c.mu.Unlock()
	c.Release()
}

// Release gives up what the connection has, once; whoever ends it before its client
// does has said why.
func (c *Conn) Release() {
	c.mu.Lock()
	if c.released {
		c.mu.Unlock()
		return
	}
	c.released = true
	if c.final == nil {
		c.final = &End{protocol.CloseGoingAway, lostMessage}
	}
	close(c.gone) // first: whoever begins to write from now on sees it, and the others are interrupted
	if c.interrupt != nil {
		c.interrupt()
	}
	c.tellMovedLocked()
	c.scheduleLocked()
	c.mu.Unlock()
	c.Box.Abandon()
	if c.onRelease != nil {
		c.onRelease()
	}
	c.srv.leave(c)
}
