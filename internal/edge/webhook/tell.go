package webhook

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/skein-realtime/skein/internal/id"
)

// The bounds of told events, in bytes.
const (
	maxQueueBytes = 64 << 20  // of all that wait
	maxBatchBytes = 256 << 10 // of one batch, unless one event alone is larger
)

// told is an event that nobody answers.
type told struct {
	turn uint64 // its place among all
	at   time.Time
	body []byte
}

// queue is the told events that wait, apart from the batches that are being sent.
type queue struct {
	lanes [lanes]lane
	turn  uint64
	count int
	bytes int
}

// lane keeps the order of its keys: one batch at a time leaves it, and the next
// not before that one has arrived or was given up.
type lane struct {
	waiting []told
	running bool          // a goroutine looks after it
	full    chan struct{} // told when a whole batch waits
}

// push adds an event. It is called with the Client locked, as all methods are.
func (q *queue) push(l *lane, t told) {
	q.turn++
	t.turn = q.turn
	l.waiting = append(l.waiting, t)
	q.count++
	q.bytes += len(t.body)
}

// pop takes the first n events of a lane.
func (q *queue) pop(l *lane, n int) []told {
	batch := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil // so that the memory of a burst goes
	}
	q.count -= n
	for i := range batch {
		q.bytes -= len(batch[i].body)
	}
	return batch
}

// shed drops the oldest events until the rest is within bounds, and tells how many.
func (q *queue) shed(count int) (dropped int) {
	for q.count > count || q.bytes > maxQueueBytes {
		var oldest *lane
		for i := range q.lanes {
			l := &q.lanes[i]
			if len(l.waiting) > 0 && (oldest == nil || l.waiting[0].turn < oldest.waiting[0].turn) {
				oldest = l
			}
		}
		clear(q.pop(oldest, 1)) // the rest of the lane keeps the array alive
		dropped++
	}
	return dropped
}

// Tell queues an event that nobody answers; one that the configuration does not
// want is passed over. fields is as with [Client.Ask]. It does not block.
//
// Events with the same key arrive in the order in which they were told, one by
// one or in batches, and each at least once: one that fails is tried again until
// Config.MaxAge. What is dropped is counted and logged with its reason, see
// [Reasons]; when the queue is full that is the oldest event that waits.
//
// A user's events have one order when the user is the key of them all, also of
// those about the user's connections.
func (c *Client) Tell(event, key string, fields []byte) {
	i := place(event)
	if i < asked || !c.wanted[i] {
		return
	}
	now := time.Now()
	t := told{at: now, body: envelope(event, id.Message(now), now, fields)}
	c.metrics.Told[i-asked].Add(1)
	l := &c.queue.lanes[maphash.String(c.seed, key)%lanes]

	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.drop(DroppedClosed, 1, nil)
		return
	}
	c.pending.Add(1)
	c.metrics.Queued.Add(1)
	c.queue.push(l, t)
	dropped := c.queue.shed(c.cfg.Queue)
	if !l.running && len(l.waiting) > 0 {
		l.running = true
		c.work.Add(1)
		go c.run(l)
	}
	if len(l.waiting) >= c.cfg.BatchSize {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
	c.mu.Unlock()
	if dropped > 0 {
		c.settled(dropped)
		c.drop(DroppedFull, dropped, nil)
	}
}

// settled notes that events are no longer waited for.
func (c *Client) settled(n int) {
	c.pending.Add(-int64(n))
	c.metrics.Queued.Add(-int64(n))
}

// run empties a lane and ends.
func (c *Client) run(l *lane) {
	defer c.work.Done()
	for {
		if c.cfg.BatchWait > 0 {
			c.gather(l)
		}
		batch := c.take(l)
		if batch == nil {
			return
		}
		c.deliver(batch)
	}
}

// gather waits until a batch is full or its first event has waited enough.
func (c *Client) gather(l *lane) {
	c.mu.Lock()
	n, since := len(l.waiting), time.Now()
	if n > 0 {
		since = l.waiting[0].at
	}
	select {
	case <-l.full: // it may tell of a batch that has left
	default:
	}
	c.mu.Unlock()
	wait := c.cfg.BatchWait - time.Since(since)
	if n == 0 || n >= c.cfg.BatchSize || wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.full:
	case <-c.closing:
	}
}

// take takes the next batch of a lane. Nil: there is none, and the lane has no
// goroutine from now on.
func (c *Client) take(l *lane) []told {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	for n < len(l.waiting) && n < c.cfg.BatchSize {
		if bytes += len(l.waiting[n].body); bytes > maxBatchBytes && n > 0 {
			break
		}
		n++
	}
	if n == 0 {
		l.running = false
		return nil
	}
	return c.queue.pop(l, n)
}

// deliver sends a batch until it has arrived or is given up.
func (c *Client) deliver(batch []told) {
	defer clear(batch)
	var d delivery
	var last error // why it is still here
	for n := 1; ; {
		if old := c.expired(batch); old > 0 {
			c.settled(old)
			c.drop(DroppedOld, old, last)
			batch, d = batch[old:], delivery{}
		}
		if len(batch) == 0 {
			return
		}
		if d.body == nil {
			d, n = delivery{event: batched, id: id.Message(time.Now()), body: join(batch)}, 1
			c.metrics.observeBatch(len(batch))
		}
		e, sent := c.tell(&d, n)
		switch {
		case sent && e == nil:
			c.settled(len(batch))
			c.metrics.Delivered.Add(int64(len(batch)))
			return
		case c.ctx.Err() != nil:
			c.settled(len(batch))
			c.lost.Add(int64(len(batch)))
			c.drop(DroppedClosed, len(batch), last)
			return
		case !sent:
			continue
		case !e.Kind.passing():
			c.settled(len(batch))
			c.drop(DroppedRefused, len(batch), e)
			return
		}
		last = e
		n++
		if _, open := c.breaker.openSince(); !open { // an open circuit has a pause of its own
			pause(c.ctx, min(max(e.RetryAfter, backoff(n-1, 200*time.Millisecond, 10*time.Second)), c.cfg.MaxAge))
		}
	}
}

// expired tells how many events at the front of a batch are too old.
func (c *Client) expired(batch []told) (n int) {
	for n < len(batch) && time.Since(batch[n].at) > c.cfg.MaxAge {
		n++
	}
	return n
}

// join is the body of a batch.
func join(batch []told) []byte {
	size := len(`{"events":[]}`) + len(batch)
	for i := range batch {
		size += len(batch[i].body)
	}
	b := append(make([]byte, 0, size), `{"events":[`...)
	for i := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, batch[i].body...)
	}
	return append(b, `]}`...)
}

// tell makes an attempt if the circuit allows it; otherwise it waits until that
// may have changed, and sent is false.
func (c *Client) tell(d *delivery, n int) (e *Error, sent bool) {
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return nil, false
	}
	permit := c.breaker.enter(time.Now())
	if !permit.ok {
		c.release()
		c.await(permit)
		return nil, false
	}
	defer c.release()
	ctx, cancel := context.WithTimeoutCause(c.ctx, c.cfg.Timeout, errTimeout)
	defer cancel()
	_, e = c.attempt(ctx, d, n, permit.turn)
	return e, true
}

// await waits until a permit may be had.
func (c *Client) await(permit entry) {
	var after <-chan time.Time
	if permit.wait > 0 {
		t := time.NewTimer(permit.wait)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-after:
	case <-permit.changed:
	case <-c.ctx.Done():
	}
}
