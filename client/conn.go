package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one connection that is welcome. The goroutine of the client reads it;
// another one writes, watches the heartbeat and does what is due later.
type conn struct {
	c         *Client
	link      link
	user      string
	heartbeat time.Duration
	ahead     time.Duration // of the server's clock before ours
	heard     *atomic.Int64
	ctx       context.Context // ends with the connection
	end       context.CancelFunc
	over      sync.WaitGroup // its goroutines, but for the one that reads

	wake chan struct{} // something was put into out or later

	mu       sync.Mutex // guards all below
	out      [][]byte
	later    []task
	requests map[uint64]*request // that were sent and not answered
	slot     time.Time           // when the last of the frames over a rate is sent again
	bye      *EndError
	broken   error // why the writer has given up
	ended    bool
}

// task is something to be done at a time.
type task struct {
	at time.Time
	do func()
}

// request is a frame that wants an answer.
type request struct {
	size int
	// done is called once, by the goroutine that reads: with the answer, or with an
	// error. It must not block.
	done func(answer *incoming, err error)
}

func newConn(c *Client, l link, welcome *incoming, heard *atomic.Int64) *conn {
	k := &conn{
		c: c, link: l, user: welcome.text("user"), heard: heard, wake: make(chan struct{}, 1),
		heartbeat: max(welcome.seconds("heartbeat"), minHeartbeat), requests: map[uint64]*request{},
	}
	if now := welcome.milli("time"); !now.IsZero() {
		k.ahead = time.Until(now)
	}
	k.ctx, k.end = context.WithCancel(c.life.ctx)
	return k
}

// minHeartbeat keeps a strange server from making the client busy.
const minHeartbeat = 10 * time.Millisecond

// send puts a frame on its way. Nothing happens when the connection has ended.
func (k *conn) send(frame []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out = append(k.out, frame)
	k.stir()
}

func (k *conn) stir() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// ask sends a frame that wants an answer. It gives the id by which forget knows it.
func (k *conn) ask(o outgoing, done func(*incoming, error)) (id uint64, err error) {
	id = k.c.lastID.Add(1)
	o.ID = fmt.Appendf(nil, "%d", id)
	frame, err := encode(&o)
	if err != nil {
		return 0, wrong("frame", "%v", err)
	}
	k.mu.Lock()
	if !k.ended {
		k.requests[id] = &request{size: len(frame), done: done}
		k.out = append(k.out, frame)
		k.stir()
		k.mu.Unlock()
		return id, nil
	}
	k.mu.Unlock()
	done(nil, ErrLost)
	return id, nil
}

// forget tells that nobody waits for the answer any more.
func (k *conn) forget(id uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.requests[id]; r != nil {
		r.done = func(*incoming, error) {}
	}
}

// after lets the writer call fn when a time has passed, unless the connection
// ends before.
func (k *conn) after(d time.Duration, fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.later = append(k.later, task{time.Now().Add(d), fn})
	k.stir()
}

// delay says when to send again what was refused for a moment. What was over a rate
// queues up: sent all together again most of it would only be refused again, and a
// client that keeps on sending too much is sent away.
func (k *conn) delay(e *Error) time.Duration {
	if e.Code != RateLimited {
		return e.RetryAfter
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.slot.Before(now) {
		k.slot = now
	}
	k.slot = k.slot.Add(e.RetryAfter)
	return k.slot.Sub(now)
}

// answered takes a request off the list.
func (k *conn) answered(id uint64) *request {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.requests[id]
	delete(k.requests, id)
	return r
}

// close ends the connection's goroutines and fails the requests that are left.
// Where the server has closed it because of a frame over its limit, the largest
// one gets to know: it is over the limit, whichever it was, and sent again it
// would end the next connection too.
func (k *conn) close(why error) {
	k.end()
	k.link.drop()
	k.over.Wait()
	k.mu.Lock()
	k.ended = true
	left := k.requests
	k.requests = nil
	k.mu.Unlock()
	var large uint64
	ids := make([]uint64, 0, len(left))
	for id, r := range left {
		ids = append(ids, id)
		if large == 0 || r.size > left[large].size {
			large = id
		}
	}
	slices.Sort(ids)
	var end *EndError
	tooBig := errors.As(why, &end) && end.Status == statusTooBig
	for _, id := range ids {
		if tooBig && id == large {
			left[id].done(nil, refused(TooLarge, "the frame has %d bytes, which is over the server's limit", left[id].size))
			continue
		}
		left[id].done(nil, ErrLost)
	}
}

// leave ends the connection as a client should.
func (k *conn) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	k.link.leave(ctx)
}

// fail remembers why the writer has given up, and ends the reading.
func (k *conn) fail(err error) {
	k.mu.Lock()
	if k.broken == nil {
		k.broken = err
	}
	k.mu.Unlock()
	k.link.drop()
}

// write sends what is put into out until the connection ends.
func (k *conn) write() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var pinged time.Time
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		frames, due, next := k.take(time.Now())
		if len(frames) > 0 {
			if err := k.put(frames); err != nil {
				k.fail(err)
				return
			}
		}
		for _, fn := range due {
			fn()
		}
		now := time.Now()
		heard := time.Unix(0, k.heard.Load())
		silence := now.Sub(heard)
		switch {
		case silence >= 3*k.heartbeat:
			k.fail(errSilent(silence))
			return
		case silence >= k.heartbeat && pinged.Before(heard):
			pinged = now
			k.send([]byte(`{"type":"ping"}`))
		}
		watch := heard.Add(k.heartbeat)
		if pinged.After(heard) {
			watch = heard.Add(3 * k.heartbeat)
		}
		if next.IsZero() || watch.Before(next) {
			next = watch
		}
		timer.Reset(max(time.Until(next), time.Millisecond))
	}
}

// put writes frames. A network that takes nothing for as long as the server may be
// silent is as good as none.
func (k *conn) put(frames [][]byte) error {
	ctx, cancel := context.WithTimeout(k.ctx, 3*k.heartbeat)
	defer cancel()
	err := k.link.write(ctx, frames)
	if err != nil && ctx.Err() != nil && k.ctx.Err() == nil {
		return errSilent(k.silence())
	}
	return err
}

func (k *conn) silence() time.Duration { return time.Since(time.Unix(0, k.heard.Load())) }

func errSilent(silence time.Duration) error {
	return fmt.Errorf("nothing was heard of the server for %s", silence.Round(time.Millisecond))
}

// take gives the frames that wait, the tasks that are due, and when the next is.
func (k *conn) take(now time.Time) (frames [][]byte, due []func(), next time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	frames, k.out = k.out, nil
	rest := k.later[:0]
	for _, t := range k.later {
		if !t.at.After(now) {
			due = append(due, t.do)
			continue
		}
		rest = append(rest, t)
		if next.IsZero() || t.at.Before(next) {
			next = t.at
		}
	}
	clear(k.later[len(rest):])
	k.later = rest
	return frames, due, next
}

// read handles frames until the connection ends, and says why it has.
func (k *conn) read() error {
	for {
		text, err := k.link.read()
		if err != nil {
			return k.why(err)
		}
		f, err := readFrame(text)
		if err != nil {
			k.c.fault(fmt.Errorf("a frame of the server cannot be read: %w", err))
			continue
		}
		k.c.receive(k, f)
	}
}

// why finds the best reason for the end: what the server said, before what the
// writer saw, before what the reader did.
func (k *conn) why(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.bye != nil:
		return k.bye.with(err)
	case k.broken != nil:
		return k.broken
	}
	return err
}
