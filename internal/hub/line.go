package hub

import (
	"context"
	"sync"
	"time"
)

// Line is the readers of channels that need what does not come by itself any
// more. Each has a turn and goes to the end of the line, so that none waits for
// all that another one lacks. [Line.Start] starts the goroutines that give turns,
// [Line.Close] ends them and waits.
type Line struct {
	turn func(*Sub) (again bool, err error)
	work sync.WaitGroup

	mu     sync.Mutex // guards all below
	wake   sync.Cond
	queue  []*Sub // in the order of their turns
	failed []*Sub // whose turn has failed; they are tried again
	closed bool
}

// retryAfter is how long a reader waits whose turn has failed.
const retryAfter = 500 * time.Millisecond

// NewLine makes a line. turn gives a reader what it lacks, as much as is right at
// once; it tells whether it wants another turn.
func NewLine(turn func(*Sub) (again bool, err error)) *Line {
	l := &Line{turn: turn}
	l.wake.L = &l.mu
	return l
}

// Start starts so many goroutines that give turns; ctx ends those that wait to
// try again.
func (l *Line) Start(ctx context.Context, readers int) {
	for range readers {
		l.work.Go(l.serve)
	}
	l.work.Go(func() { l.retry(ctx) })
}

// Close ends the work and waits for it. The context of Start must have ended.
func (l *Line) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Broadcast()
	l.work.Wait()
}

// Add puts a reader at the end of the line.
func (l *Line) Add(s *Sub) {
	l.mu.Lock()
	l.queue = append(l.queue, s)
	l.mu.Unlock()
	l.wake.Signal()
}

// Waiting tells how many readers stand in the line.
func (l *Line) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) + len(l.failed)
}

func (l *Line) serve() {
	for {
		l.mu.Lock()
		for len(l.queue) == 0 && !l.closed {
			l.wake.Wait()
		}
		if l.closed {
			l.mu.Unlock()
			return
		}
		s := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if len(l.queue) == 0 {
			l.queue = nil
		}
		l.mu.Unlock()
		switch again, err := l.turn(s); {
		case err != nil:
			l.mu.Lock()
			l.failed = append(l.failed, s)
			l.mu.Unlock()
		case again:
			l.Add(s)
		}
	}
}

// retry puts those in line again whose turn has failed.
func (l *Line) retry(ctx context.Context) {
	tick := time.NewTicker(retryAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		l.queue = append(l.queue, l.failed...)
		l.failed = nil
		l.mu.Unlock()
		l.wake.Broadcast()
	}
}
