package socketio

import (
	"sync"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/link"
)

// gate holds back what is for a new socket until its client has been told that it
// is connected, which it is once its subscriptions are there.
type gate struct {
	shut atomic.Bool

	mu    sync.Mutex // guards all below; held while the gate opens
	wire  [][]byte
	bytes int
	lost  bool // an offer was not taken
}

func newGate() *gate {
	g := new(gate)
	g.shut.Store(true)
	return g
}

// hold keeps wire if the gate is shut. With most, it takes no more than that.
func (g *gate) hold(wire []byte, most int, then func()) (held, taken bool) {
	if !g.shut.Load() {
		return false, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut.Load() {
		return false, false
	}
	if most > 0 && g.bytes > 0 && g.bytes+len(wire) > most {
		g.lost = true
		return true, false
	}
	g.wire = append(g.wire, wire)
	g.bytes += len(wire)
	if then != nil {
		then()
	}
	return true, true
}

// open sends first, then what was held back. True: somebody waits for room.
func (g *gate) open(e *engine, first []byte) (lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e.SendControl(first, nil)
	for _, wire := range g.wire {
		e.SendControl(wire, nil)
	}
	g.wire, g.bytes = nil, 0
	g.shut.Store(false)
	return g.lost
}

// holdAll keeps bufs as far as they fit, and tells how many it took.
func (g *gate) holdAll(bufs []link.Buf, sub link.Subscriber, most int) (n int, held bool) {
	for _, b := range bufs {
		if !sub.Live() {
			return len(bufs), true
		}
		held, taken := g.hold(b.B, most, nil)
		if !held {
			return n, n > 0 // it opened meanwhile; the caller offers the rest again
		}
		if !taken {
			return n, true
		}
		n++
	}
	return n, true
}
