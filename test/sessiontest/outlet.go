package sessiontest

import (
	"net/netip"
	"strings"
	"sync"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
)

// Lines is the encoding of clients here: each frame is a line.
type Lines struct{}

// Append implements hub.Encoding.
func (Lines) Append(dst, frame []byte) []byte { return append(append(dst, frame...), '\n') }

// Outlet is a transport that keeps what it was given.
type Outlet struct {
	mu     sync.Mutex // guards all below
	frames []string
	seen   chan struct{} // gets a value for each change
	reason protocol.Close
	ended  bool
}

var _ hub.Outlet = (*Outlet)(nil)

func (o *Outlet) keepLocked(wire []byte) {
	for line := range strings.Lines(string(wire)) {
		o.frames = append(o.frames, strings.TrimSuffix(line, "\n"))
	}
	select {
	case o.seen <- struct{}{}:
	default:
	}
}

// Send implements hub.Outlet.
func (o *Outlet) Send(bufs []link.Buf, sub link.Subscriber) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range bufs {
		if sub.Live() && !o.ended {
			o.keepLocked(b.B)
		}
	}
}

// SendFirst implements hub.Outlet.
func (o *Outlet) SendFirst(before func(), wire []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return false
	}
	before()
	o.keepLocked(wire)
	return true
}

// Offer implements hub.Outlet.
func (o *Outlet) Offer(bufs []link.Buf, sub link.Subscriber) int {
	o.Send(bufs, sub)
	return len(bufs)
}

// SendControl implements hub.Outlet.
func (o *Outlet) SendControl(wire []byte, then func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return false
	}
	o.keepLocked(wire)
	if then != nil {
		then()
	}
	return true
}

// Close implements hub.Outlet.
func (o *Outlet) Close(reason protocol.Close, _ string, last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.ended, o.reason = true, reason
		o.keepLocked(last)
	}
}

// Waiting tells how many frames nobody has taken yet.
func (o *Outlet) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.frames)
}

// Ended tells whether the server has closed it, and with what.
func (o *Outlet) Ended() (reason protocol.Close, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason, o.ended
}

// Queued implements hub.Outlet.
func (o *Outlet) Queued() int { return 0 }

// Written implements hub.Outlet.
func (o *Outlet) Written() int64 { return 0 }

// Transport implements hub.Outlet.
func (o *Outlet) Transport() string { return "test" }

// Remote implements hub.Outlet.
func (o *Outlet) Remote() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:99") }
