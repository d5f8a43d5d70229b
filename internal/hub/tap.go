package hub

import (
	"slices"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
)

// Tap sees what passes on one connection. Its methods are called where that
// passes, some of them under locks: they must be quick, must not block and must
// call neither the hub nor an [Outlet]. They may keep what they get, and must not
// change it.
type Tap interface {
	// Sent is told of bytes that were handed to the connection, n messages.
	Sent(wire []byte, n int)
	// Received is told of what its client has sent: the text of a frame.
	Received(text []byte)
}

// Watch is told what happens to connections and channels, so that somebody can
// look at them while it does. The rules for a [Tap] hold for its functions, which
// may add and remove taps. None may be nil.
type Watch struct {
	// Published is told of each frame for the subscribers of a channel, in the order
	// in which they get them; also of messages in a channel without any.
	Published func(channel string, frame []byte)
	// Bound is told of a connection that has another user than before, or "" for
	// nobody; fresh: it is new, and nothing but its welcome was sent.
	Bound func(c *Conn, user string, fresh bool)
	// Removed is told of a connection that the hub has forgotten.
	Removed func(c *Conn)
}

// SetWatch says who is told from now on; nil: nobody.
func (h *Hub) SetWatch(w *Watch) { h.watch.Store(w) }

func (h *Hub) published(channel string, frame []byte) {
	if w := h.watch.Load(); w != nil {
		w.Published(channel, frame)
	}
}

// Shower is an [Encoding] whose bytes can be taken apart again.
type Shower interface {
	// Show calls show for each message of wire, as its client gets it. message is good
	// until show returns.
	Show(wire []byte, show func(message []byte))
}

// Show takes apart what a [Tap] saw on the connection.
func (c *Conn) Show(wire []byte, show func(message []byte)) {
	if s, ok := c.encoding.(Shower); ok {
		s.Show(wire, show)
		return
	}
	show(wire)
}

// AddTap shows the connection's traffic to t as well, until it is removed.
func (c *Conn) AddTap(t Tap) {
	c.retap(func(old []Tap) []Tap { return append(slices.Clip(old), t) })
}

// RemoveTap ends [Conn.AddTap]. A call of t that is under way may still come.
func (c *Conn) RemoveTap(t Tap) {
	c.retap(func(old []Tap) []Tap {
		return slices.DeleteFunc(slices.Clone(old), func(x Tap) bool { return x == t })
	})
}

func (c *Conn) retap(change func([]Tap) []Tap) {
	for {
		old := c.tap.Load()
		next := &tapped{Outlet: c.out, parted: new(atomic.Bool)}
		if old != nil {
			next.taps, next.parted = old.taps, old.parted
		}
		if next.taps = change(next.taps); len(next.taps) == 0 {
			next = nil
		}
		if c.tap.CompareAndSwap(old, next) {
			return
		}
	}
}

// Tapped tells whether somebody looks at the connection.
func (c *Conn) Tapped() bool { return c.tap.Load() != nil }

// Outlet is the connection's way out for whoever sends; taps see what goes there,
// unlike what goes to [Conn.Out] itself.
func (c *Conn) Outlet() Outlet {
	if t := c.tap.Load(); t != nil {
		return t
	}
	return c.out
}

// Received shows to taps what the client has sent.
func (c *Conn) Received(text []byte) {
	if t := c.tap.Load(); t != nil {
		for _, tap := range t.taps {
			tap.Received(text)
		}
	}
}

// Sent shows to taps a message that does not go through [Conn.Outlet].
func (c *Conn) Sent(wire []byte) {
	if t := c.tap.Load(); t != nil {
		t.see(wire, 1)
	}
}

// tapped is an Outlet whose traffic is seen. It does not change.
type tapped struct {
	Outlet
	taps   []Tap
	parted *atomic.Bool // goodbye was said: only the first one counts
}

func (t *tapped) see(wire []byte, n int) {
	if len(wire) == 0 {
		return
	}
	for _, tap := range t.taps {
		tap.Sent(wire, n)
	}
}

// Send implements Outlet. What is dropped later is seen, too.
func (t *tapped) Send(bufs []link.Buf, sub link.Subscriber) {
	t.Outlet.Send(bufs, &seen{Subscriber: sub, by: t, bufs: bufs})
}

// seen shows bufs when the outlet asks whether they are still wanted. It does so where it
// sends, under its lock: before that a subscription may be about to begin, with a frame that
// is just being written.
type seen struct {
	link.Subscriber
	by   *tapped
	bufs []link.Buf
}

// Live implements link.Subscriber.
func (s *seen) Live() bool {
	live := s.Subscriber.Live()
	if live {
		for i := range s.bufs {
			s.by.see(s.bufs[i].B, int(s.bufs[i].N))
		}
		s.bufs = nil // an outlet may ask again
	}
	return live
}

// SendControl implements Outlet.
func (t *tapped) SendControl(wire []byte, then func()) bool {
	return t.Outlet.SendControl(wire, func() { // so nothing that is sent after it is seen before it
		t.see(wire, 1)
		if then != nil {
			then()
		}
	})
}

// Offer implements Outlet. What is not taken will be offered again.
func (t *tapped) Offer(bufs []link.Buf, sub link.Subscriber) int {
	n := t.Outlet.Offer(bufs, sub)
	if sub.Live() {
		for i := range bufs[:n] {
			t.see(bufs[i].B, int(bufs[i].N))
		}
	}
	return n
}

// SendFirst implements Outlet.
func (t *tapped) SendFirst(before func(), wire []byte) bool {
	return t.Outlet.SendFirst(func() {
		before()
		t.see(wire, 1)
	}, wire)
}

// Close implements Outlet.
func (t *tapped) Close(reason protocol.Close, message string, last []byte) {
	if !t.parted.Swap(true) {
		t.see(last, 1)
	}
	t.Outlet.Close(reason, message, last)
}
