package sqlite

import (
	"context"
	"fmt"
	"sync"

	"github.com/skein-realtime/skein/store"
)

// What may wait at most; beyond it groups are refused at once.
const (
	maxWaiting      = 65_536
	maxWaitingBytes = 64 << 20
	maxBatch        = 1024
)

// job is something for the writer: a group of commands, or work of its own.
type job struct {
	group  []store.Command
	tables bool                // the group is about what the package tables does
	bulk   bool                // it may take long, and can wait
	work   func(*writer) error // not nil: instead of a group
	bytes  int

	results []store.Result // written by the writer before done is closed
	commits []store.Commit
	err     error
	done    chan struct{}

	waiting bool // guarded by queue.mu
}

// queue holds what waits for the writer, in order: what may take long apart, so
// that nobody waits behind more than one job of that kind.
type queue struct {
	mu     sync.Mutex // guards all below
	wake   sync.Cond
	jobs   []*job
	bulk   []*job
	bytes  int
	closed bool
}

// do waits for a job's turn and its end. One that still waits when ctx ends is
// withdrawn.
func (q *queue) do(ctx context.Context, j *job) error {
	j.done = make(chan struct{})
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return store.ErrClosed
	}
	if waiting := len(q.jobs) + len(q.bulk); waiting >= maxWaiting || waiting > 0 && q.bytes+j.bytes > maxWaitingBytes {
		q.mu.Unlock()
		return fmt.Errorf("%w: too much waits to be stored", store.ErrUnavailable)
	}
	j.waiting = true
	if j.bulk {
		q.bulk = append(q.bulk, j)
	} else {
		q.jobs = append(q.jobs, j)
	}
	q.bytes += j.bytes
	q.mu.Unlock()
	q.wake.Signal()
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	withdrawn := j.waiting
	j.waiting = false
	q.mu.Unlock()
	if withdrawn {
		return ctx.Err()
	}
	<-j.done
	return j.err
}

// take waits for jobs and gives at most so many, and behind them one that is bulk;
// none when the queue is closed.
func (q *queue) take(batch []*job) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.jobs)+len(q.bulk) == 0 && !q.closed {
		q.wake.Wait()
	}
	for len(q.jobs) > 0 && len(batch) < maxBatch {
		if j := q.nextLocked(&q.jobs); j != nil {
			batch = append(batch, j)
		}
	}
	for len(q.bulk) > 0 {
		if j := q.nextLocked(&q.bulk); j != nil {
			return append(batch, j)
		}
	}
	return batch
}

// nextLocked takes the first job of a list; nil: it was withdrawn.
func (q *queue) nextLocked(list *[]*job) *job {
	j := (*list)[0]
	(*list)[0] = nil
	if *list = (*list)[1:]; len(*list) == 0 {
		*list = nil
	}
	q.bytes -= j.bytes
	if !j.waiting {
		return nil
	}
	j.waiting = false
	return j
}

// awaited tells that somebody waits for the writer, apart from bulk work.
func (q *queue) awaited() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs) > 0
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// close refuses what waits and what comes.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	jobs := append(q.jobs, q.bulk...)
	q.jobs, q.bulk = nil, nil
	for _, j := range jobs {
		if j.waiting {
			j.waiting = false
			j.err = store.ErrClosed
			close(j.done)
		}
	}
	q.mu.Unlock()
	q.wake.Broadcast()
}
