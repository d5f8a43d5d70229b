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
	tables bool                // the group is about members, schedules and denials
	work   func(*writer) error // not nil: instead of a group
	bytes  int

	results []store.Result // written by the writer before done is closed
	commits []store.Commit
	err     error
	done    chan struct{}

	waiting bool // guarded by queue.mu
}

// queue holds what waits for the writer, in order.
type queue struct {
	mu     sync.Mutex // guards all below
	wake   sync.Cond
	jobs   []*job
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
	if len(q.jobs) >= maxWaiting || len(q.jobs) > 0 && q.bytes+j.bytes > maxWaitingBytes {
		q.mu.Unlock()
		return fmt.Errorf("%w: too much waits to be stored", store.ErrUnavailable)
	}
	j.waiting = true
	q.jobs = append(q.jobs, j)
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

// take waits for jobs and gives at most so many; none when the queue is closed.
func (q *queue) take(batch []*job) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.jobs) == 0 && !q.closed {
		q.wake.Wait()
	}
	n := 0
	for n < len(q.jobs) && len(batch) < maxBatch {
		j := q.jobs[n]
		q.jobs[n] = nil
		n++
		q.bytes -= j.bytes
		if j.waiting { // else it was withdrawn
			j.waiting = false
			batch = append(batch, j)
		}
	}
	q.jobs = q.jobs[n:]
	if len(q.jobs) == 0 {
		q.jobs = nil
	}
	return batch
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
	jobs := q.jobs
	q.jobs = nil
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
