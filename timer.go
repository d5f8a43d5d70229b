package skein

import (
	"context"
	"sync"
	"time"
)

// Every calls fn every d while the channel has subscribers, and ends when it has had
// none for the grace time (Online.Grace), as it sees when it is due. What is to begin anew with the next
// subscriber is started by a function of [Server.OnChannel], or is a schedule with
// while_occupied.
func (s *Server) Every(channel string, d time.Duration, fn func(context.Context)) (stop func()) {
	return s.whileOccupied(channel, d, true, fn)
}

// After calls fn once, after d, if the channel has subscribers then.
func (s *Server) After(channel string, d time.Duration, fn func(context.Context)) (stop func()) {
	return s.whileOccupied(channel, d, false, fn)
}

func (s *Server) whileOccupied(channel string, d time.Duration, again bool, fn func(context.Context)) (stop func()) {
	grace := s.config().Online.Grace.Std()
	var empty time.Time // since when it has had no subscribers
	t := newTicker(s, d, again, fn, func() (run, over bool) {
		now := time.Now()
		switch {
		case s.hub.Channel(channel) != nil:
			empty = time.Time{}
			return true, false
		case empty.IsZero():
			empty = now
		}
		return false, !again || now.Sub(empty) >= grace
	})
	t.start()
	return t.stop
}

// ticker calls a function at times, one call after the other.
type ticker struct {
	server *Server
	every  time.Duration
	again  bool
	fn     func(context.Context)
	look   func() (run, over bool) // nil: it runs until it is told to stop
	ended  func()                  // called when it has called fn for the last time; may be nil
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // guards all below
	timer   *time.Timer
	next    time.Time
	stopped bool
}

func newTicker(s *Server, d time.Duration, again bool, fn func(context.Context), look func() (run, over bool)) *ticker {
	t := &ticker{server: s, every: max(d, time.Millisecond), again: again, fn: fn, look: look}
	t.ctx, t.cancel = context.WithCancel(s.life)
	return t
}

func (t *ticker) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	t.next = time.Now().Add(t.every)
	t.timer = time.AfterFunc(t.every, t.tick)
}

// stop ends it; a call that is under way is told by its context.
func (t *ticker) stop() {
	t.mu.Lock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.mu.Unlock()
	t.cancel()
}

func (t *ticker) tick() {
	if !t.server.begin() {
		return
	}
	defer t.server.running.Done()
	t.mu.Lock()
	run, over := true, t.stopped
	if t.look != nil && !over {
		run, over = t.look()
	}
	t.mu.Unlock()
	if run && !over {
		t.server.guard("a timer's function", func() { t.fn(t.ctx) })
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if over || !t.again || t.stopped {
		t.stopped = true
		t.cancel()
		if t.ended != nil {
			go t.ended() // it takes a lock that whoever stops us may hold
		}
		return
	}
	// From the planned time on, so that it does not drift; what was missed is left out.
	late := time.Since(t.next)
	t.next = t.next.Add(t.every * (1 + late/t.every))
	t.timer.Reset(t.every - late%t.every)
}
