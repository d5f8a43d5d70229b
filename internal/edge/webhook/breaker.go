package webhook

import (
	"sync"
	"time"
)

// breaker keeps requests away from a backend that fails, so that clients are
// told at once instead of after a timeout, and so that the backend can recover.
//
// It is closed (all pass), open (none do, for a pause), or on trial: one request
// is under way whose outcome decides which of the two comes next.
type breaker struct {
	cfg Breaker

	mu       sync.Mutex // guards what follows
	state    circuit
	failures int           // in a row
	since    time.Time     // open or on trial: when it left the closed state
	until    time.Time     // open: when a trial may begin
	turn     uint64        // counts changes; what began in another turn no longer matters
	changed  chan struct{} // closed at the next change
	opened   chan struct{} // closed when it opens; a new one when it closes
}

type circuit uint8

const (
	circuitClosed circuit = iota
	circuitOpen
	circuitTrial
)

// verdict is what a request says about the backend.
type verdict uint8

const (
	none  verdict = iota // nothing: nobody waited for the end
	alive                // it answers, but wants to be left alone for a while
	good
	bad
)

func newBreaker(cfg Breaker) *breaker {
	return &breaker{cfg: cfg, changed: make(chan struct{}), opened: make(chan struct{})}
}

// entry is a permit to send, or what to wait for.
type entry struct {
	ok      bool
	turn    uint64          // of the permit, for leave
	wait    time.Duration   // until a trial may begin; zero: one is under way
	changed <-chan struct{} // closed when asking again may help sooner
}

// enter asks for a permit. Whoever has got one must leave.
func (b *breaker) enter(now time.Time) entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case circuitOpen:
		if wait := b.until.Sub(now); wait > 0 {
			return entry{wait: wait, changed: b.changed}
		}
		b.to(circuitTrial)
	case circuitTrial:
		return entry{changed: b.changed}
	}
	return entry{ok: true, turn: b.turn}
}

// passable tells whether enter would give a permit, and gives the channel that
// is closed when it no longer would: nil when the permit is that of a trial.
func (b *breaker) passable(now time.Time) (ok bool, opened <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case circuitClosed:
		return true, b.opened
	case circuitOpen:
		return !b.until.After(now), nil
	}
	return false, nil
}

// leave tells how a request with a permit ended. It gives whether that opened
// or closed the circuit.
func (b *breaker) leave(turn uint64, v verdict, now time.Time) (opened, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if turn != b.turn {
		return false, false // it began before the circuit opened, and says nothing new
	}
	if b.state == circuitTrial {
		switch v {
		case none:
			b.until = now // the next one may try
			b.to(circuitOpen)
		case bad:
			b.open(now)
		default:
			b.close()
			return false, true
		}
		return false, false
	}
	switch v {
	case good:
		b.failures = 0
	case bad:
		if b.failures++; b.failures >= b.cfg.Failures {
			close(b.opened)
			b.since = now
			b.open(now)
			return true, false
		}
	}
	return false, false
}

func (b *breaker) open(now time.Time) {
	b.until = now.Add(b.cfg.Pause)
	b.to(circuitOpen)
}

func (b *breaker) close() {
	b.failures = 0
	b.opened = make(chan struct{})
	b.to(circuitClosed)
}

func (b *breaker) to(s circuit) {
	b.state = s
	b.turn++
	close(b.changed)
	b.changed = make(chan struct{})
}

// openSince tells whether requests are kept away now, and since when.
func (b *breaker) openSince() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, b.state != circuitClosed
}

// reset closes the circuit when its Client ends, and tells whether it was not closed.
func (b *breaker) reset() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.state != circuitClosed
	if was {
		b.close()
	}
	return was
}
