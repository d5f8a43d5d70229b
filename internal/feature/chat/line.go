package chat

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// line is work that waits, by a key. What is put in for a key that waits already is joined
// with it, so there is never more than one turn of a key in the line, and the turns of one
// key come one after the other. A turn that fails comes again, later each time, together with
// what has been put in since; nothing is dropped.
type line[T any] struct {
	// gap is how long after a turn the next one of the same key may begin; what is put in
	// meanwhile is joined.
	gap time.Duration
	// below puts older under newer, because the turn of older has failed. Nil: older counts for
	// nothing once there is newer.
	below func(newer *T, older T)

	wake chan struct{} // holds a value when somebody is to look

	mu    sync.Mutex // guards all below
	turns map[string]*turn[T]
	order schedule[T]
}

// turn is one key in the line.
type turn[T any] struct {
	key    string
	work   T
	filled bool      // there is work; else the key is remembered for the gap
	busy   bool      // a worker has it
	at     time.Time // when it may begin
	place  int       // in the schedule; -1: it is not there
	last   time.Time // when the last turn ended
	failed int       // turns in a row
}

// Waits after turns that have failed.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

func (l *line[T]) init(gap time.Duration, below func(newer *T, older T)) {
	l.gap, l.below = gap, below
	l.wake, l.turns = make(chan struct{}, 1), map[string]*turn[T]{}
}

// put adds to the work of a key, whose turn then comes after a time at most, unless the gap, or
// the pause after a failure, lasts longer. It tells whether there was some before.
func (l *line[T]) put(key string, after time.Duration, add func(*T)) (joined bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.turns[key]
	if t == nil {
		t = &turn[T]{key: key, place: -1}
		l.turns[key] = t
	}
	at := time.Now().Add(after)
	if next := t.last.Add(l.gap); !t.last.IsZero() && next.After(at) {
		at = next
	}
	joined = t.filled
	add(&t.work)
	switch {
	case joined && (t.failed > 0 || !at.Before(t.at)):
		return joined // it comes soon enough
	case !joined && t.failed > 0:
		at = t.at
	}
	t.filled, t.at = true, at
	if !t.busy { // else it is scheduled when the worker is done
		l.scheduleLocked(t)
	}
	return joined
}

func (l *line[T]) scheduleLocked(t *turn[T]) {
	if t.place < 0 {
		heap.Push(&l.order, t)
	} else {
		heap.Fix(&l.order, t.place)
	}
	if t.place == 0 {
		l.nudge()
	}
}

func (l *line[T]) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // somebody will look anyway
	}
}

// longWait is how long a worker waits that has nothing to wait for.
const longWait = time.Hour

// take gives the next turn; nil: there is none now, and how long to wait.
func (l *line[T]) take() (t *turn[T], work T, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.order) > 0 {
		t = l.order[0]
		if wait = time.Until(t.at); wait > 0 {
			return nil, work, wait
		}
		heap.Pop(&l.order)
		if !t.filled {
			delete(l.turns, t.key)
			continue
		}
		var none T
		work, t.work = t.work, none
		t.filled, t.busy = false, true
		if len(l.order) > 0 && time.Until(l.order[0].at) <= 0 {
			l.nudge() // for the next worker
		}
		return t, work, 0
	}
	return nil, work, longWait
}

// done ends a turn.
func (l *line[T]) done(t *turn[T], work T, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.busy, t.last = false, time.Now()
	next := t.last.Add(l.gap)
	if err != nil {
		if !t.filled {
			t.work, t.filled = work, true
		} else if l.below != nil {
			l.below(&t.work, work)
		}
		t.failed++
		t.at = t.last.Add(min(firstPause<<min(t.failed-1, 16), mostPause))
		l.scheduleLocked(t)
		return
	}
	t.failed = 0
	switch {
	case t.filled:
		if next.After(t.at) {
			t.at = next
		}
		l.scheduleLocked(t)
	case l.gap > 0:
		t.at = next // it is remembered until then
		l.scheduleLocked(t)
	default:
		delete(l.turns, t.key)
	}
}

// run takes turns until ctx ends.
func (l *line[T]) run(ctx context.Context, do func(ctx context.Context, key string, work T) error) {
	timer := time.NewTimer(longWait)
	defer timer.Stop()
	for ctx.Err() == nil {
		t, work, wait := l.take()
		if t != nil {
			l.done(t, work, do(ctx, t.key, work))
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// waiting is how many keys have work that nobody has taken.
func (l *line[T]) waiting() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.turns {
		if t.filled {
			n++
		}
	}
	return n
}

// schedule is a heap of turns, the one that comes first on top.
type schedule[T any] []*turn[T]

func (s schedule[T]) Len() int           { return len(s) }
func (s schedule[T]) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule[T]) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}

// Push implements heap.Interface.
func (s *schedule[T]) Push(x any) {
	t := x.(*turn[T])
	t.place = len(*s)
	*s = append(*s, t)
}

// Pop implements heap.Interface.
func (s *schedule[T]) Pop() any {
	last := len(*s) - 1
	t := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	t.place = -1
	return t
}
