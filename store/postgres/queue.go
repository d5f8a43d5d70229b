package postgres

import (
	"context"
	"sync"

	"github.com/skein-realtime/skein/store"
)

// group is what one call of Do waits for.
type group struct {
	commands []store.Command
	lane     int    // whose turn it is
	touches  uint64 // the lanes of its channels, a bit for each
	alone    bool   // needs a transaction of its own
	versions bool   // has appends to documents
	authors  bool   // has messages of members
	tables   bool   // is about what the package tables does
	bytes    int

	// Written by the writer before done is closed.
	results []store.Result
	err     error
	done    chan struct{}

	// Guarded by queue.mu.
	waiting    bool // in a lane
	held       bool // a writer has it, and waits for others itself
	withdrawn  bool // while it was held
	prev, next *group
}

// finish answers the caller.
func (g *group) finish(err error) {
	g.err = err
	close(g.done)
}

// queue holds the groups that wait, a list for each lane. What is over the
// bound is refused; nothing is ever dropped.
type queue struct {
	mu     sync.Mutex
	lanes  []lane
	groups int
	bytes  int
	closed bool
}

type lane struct {
	head, tail *group
	wake       chan struct{} // has a token when there may be something to take
}

func newQueue(lanes int) *queue {
	q := &queue{lanes: make([]lane, lanes)}
	for i := range q.lanes {
		q.lanes[i].wake = make(chan struct{}, 1)
	}
	return q
}

// do puts a group at the end of its lane and waits for the answer. When ctx
// ends before a writer took it, the group is withdrawn.
func (q *queue) do(ctx context.Context, g *group) error {
	if err := q.put(g); err != nil {
		return err
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	if g.waiting {
		q.removeLocked(g)
		g.withdrawn = true
	} else if g.held {
		g.held, g.withdrawn = false, true
	}
	withdrawn := g.withdrawn
	q.mu.Unlock()
	if withdrawn {
		return context.Cause(ctx)
	}
	<-g.done
	return g.err
}

func (q *queue) put(g *group) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return store.ErrClosed
	}
	// One group is let in whatever its size, or it never would be.
	if q.groups >= maxWaiting || q.groups > 0 && q.bytes+g.bytes > maxWaitingBytes {
		return errCrowded
	}
	l := &q.lanes[g.lane]
	g.waiting, g.prev = true, l.tail
	if l.tail == nil {
		l.head = g
	} else {
		l.tail.next = g
	}
	l.tail = g
	q.groups++
	q.bytes += g.bytes
	l.wakeUp()
	return nil
}

func (l *lane) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (q *queue) removeLocked(g *group) {
	l := &q.lanes[g.lane]
	if g.prev == nil {
		l.head = g.next
	} else {
		g.prev.next = g.next
	}
	if g.next == nil {
		l.tail = g.prev
	} else {
		g.next.prev = g.prev
	}
	g.waiting, g.prev, g.next = false, nil, nil
	q.groups--
	q.bytes -= g.bytes
}

// take appends to batch the groups at the head of a lane that fit says may come
// with those before them, and waits for the first. It gives nothing when the
// queue is closed.
func (q *queue) take(lane int, batch []*group, fit func(*group) bool) []*group {
	for {
		q.mu.Lock()
		l := &q.lanes[lane]
		for l.head != nil && fit(l.head) {
			g := l.head
			q.removeLocked(g)
			g.held = true
			batch = append(batch, g)
		}
		if l.head != nil {
			l.wakeUp() // the rest is for the next time
		}
		closed := q.closed
		q.mu.Unlock()
		if len(batch) > 0 || closed {
			return batch
		}
		<-l.wake
	}
}

// begin gives the groups of a batch that nobody has withdrawn meanwhile; from now
// on they are carried out.
func (q *queue) begin(batch []*group) []*group {
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := batch[:0]
	for _, g := range batch {
		if g.held {
			g.held = false
			kept = append(kept, g)
		}
	}
	return kept
}

// refuse answers everything that waits in a lane with err.
func (q *queue) refuse(lane int, err error) {
	q.mu.Lock()
	var refused []*group
	for l := &q.lanes[lane]; l.head != nil; {
		refused = append(refused, l.head)
		q.removeLocked(l.head)
	}
	q.mu.Unlock()
	for _, g := range refused {
		g.finish(err)
	}
}

// close refuses what waits and what comes, and wakes the writers.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	for i := range q.lanes {
		q.refuse(i, store.ErrClosed)
		q.lanes[i].wakeUp()
	}
}
