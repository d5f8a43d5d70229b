package webhook

import (
	"sync"
	"time"
)

// The states of [Health].
const (
	StateIdle    = "idle"    // there was no request yet
	StateOK      = "ok"      // the last request was answered as it should be
	StateFailing = "failing" // the last request was not
	StateOpen    = "open"    // the backend failed so often that it is left alone for now
)

// Health is how a backend does, for people and for readiness.
type Health struct {
	State    string        // one of the states above
	Since    time.Time     // when the state began
	Error    string        // what went wrong last, also if all is well again; empty: nothing ever
	ErrorAt  time.Time     // when; zero: never
	Status   int           // of the last answer, 200 for any 2xx; zero: there was none
	Latency  time.Duration // of good answers, newer ones counting more; zero: there was none
	Queue    int           // told events that wait or are being sent
	UnderWay int           // requests
	Failures []Failure     // the last ones, the newest first
}

// Failure is a request that was not answered as it should be. Nothing in it is from
// the address beyond the host, from what was sent, or from what the backend said.
type Failure struct {
	Time   time.Time
	Event  string // "batch" for events that are told
	Text   string
	Status int // of the answer; zero: there was none
}

// maxFailures is how many are remembered.
const maxFailures = 20

// health is what requests have shown.
type health struct {
	mu      sync.Mutex // guards what follows
	failing bool
	since   time.Time
	err     string
	errAt   time.Time
	status  int
	latency time.Duration
	asked   bool // a request has ended
	last    [maxFailures]Failure
	count   int // of failures so far; the next is at its remainder in last
}

// note draws the conclusions from a request; e is nil when it was answered well.
func (h *health) note(e *Error, start, end time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = true
	if failing := e != nil; failing != h.failing {
		h.failing, h.since = failing, end
	}
	if e != nil {
		h.err, h.errAt, h.status = e.Error(), end, e.Status
		h.last[h.count%maxFailures] = Failure{Time: end, Event: e.Event, Text: e.plain(), Status: e.Status}
		h.count++
		return
	}
	h.status = 200
	if took := end.Sub(start); h.latency == 0 {
		h.latency = took
	} else {
		h.latency += (took - h.latency) / 8
	}
}

// Health tells how the backend does.
func (c *Client) Health() Health {
	h := &c.health
	h.mu.Lock()
	s := Health{State: StateOK, Since: h.since, Error: h.err, ErrorAt: h.errAt, Status: h.status, Latency: h.latency}
	switch {
	case h.failing:
		s.State = StateFailing
	case !h.asked:
		s.State = StateIdle
	}
	for i := h.count - 1; i >= max(0, h.count-maxFailures); i-- {
		s.Failures = append(s.Failures, h.last[i%maxFailures])
	}
	h.mu.Unlock()
	if since, open := c.breaker.openSince(); open {
		s.State, s.Since = StateOpen, since
	}
	s.Queue, s.UnderWay = int(c.pending.Load()), len(c.slots)
	return s
}
