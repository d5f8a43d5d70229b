package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/id"
)

// Ask sends an event and gives the JSON object that the backend answered, from
// "{" to "}". event is one of those that are asked. fields is the inside of a
// JSON object with a comma in front, as in `,"channel":"room:7"`, or nothing; it
// is not kept. An error is an [*Error].
//
// Config.Timeout bounds all of it: the wait for a request slot, the attempts and
// the pauses between them. connect and subscribe only ask for permission, and
// escalate names what it is about, so they are repeated after any failure that may pass. message and call may have an
// effect, so they are repeated only when the backend surely has not acted: the
// request was not sent, or the status is 408, 425 or 429. A failure that may pass
// is no connection, 408, 425, 429, 5xx, or an answer with a wrong signature.
func (c *Client) Ask(ctx context.Context, event string, fields []byte) ([]byte, error) {
	i := place(event)
	if i < 0 || i >= asked {
		return nil, &Error{Kind: KindRefused, Event: event, Err: errors.New("no event of this name is asked")}
	}
	answer, e := c.ask(ctx, event, fields)
	if e != nil {
		c.metrics.Asked[i][e.Kind].Add(1)
		return nil, e
	}
	c.metrics.Asked[i][KindAnswered].Add(1)
	return answer, nil
}

func (c *Client) ask(ctx context.Context, event string, fields []byte) ([]byte, *Error) {
	now := time.Now()
	d := delivery{event: event, id: id.Message(now), asked: true}
	if !c.begin() {
		return nil, &Error{Kind: KindClosed, Event: event, Delivery: d.id}
	}
	defer c.work.Done()
	if ok, _ := c.breaker.passable(now); !ok {
		return nil, &Error{Kind: KindOpen, Event: event, Delivery: d.id}
	}
	d.body = envelope(event, d.id, now, fields)
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Timeout, errTimeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()

	var before *Error
	for n := 1; ; n++ {
		answer, e := c.try(ctx, &d, n)
		if e == nil {
			return answer, nil
		}
		e.Event, e.Delivery = event, d.id
		if before != nil {
			if e.Kind == KindOpen || e.Kind == KindBusy {
				return nil, before // it says more
			}
			e.Acted = e.Acted || before.Acted
		}
		harmless := event == Connect || event == Subscribe || event == Escalate
		if n > c.cfg.Retries || !e.Kind.passing() || e.Acted && !harmless || !pauseWithin(ctx, e, n) {
			return nil, e
		}
		before = e
	}
}

// try makes an attempt as soon as a slot is free.
func (c *Client) try(ctx context.Context, d *delivery, n int) ([]byte, *Error) {
	if k := c.acquire(ctx); k != KindAnswered {
		return nil, &Error{Kind: k}
	}
	defer c.release()
	permit := c.breaker.enter(time.Now())
	if !permit.ok {
		return nil, &Error{Kind: KindOpen}
	}
	return c.attempt(ctx, d, n, permit.turn)
}

// acquire takes a request slot, in line with all who want one. It fails at once
// when the circuit opens meanwhile: those in front are waiting for a dead backend.
func (c *Client) acquire(ctx context.Context) Kind {
	select {
	case c.slots <- struct{}{}:
		return KindAnswered
	default:
	}
	ok, opened := c.breaker.passable(time.Now())
	if !ok {
		return KindOpen
	}
	c.metrics.Waiting.Add(1)
	defer c.metrics.Waiting.Add(-1)
	select {
	case c.slots <- struct{}{}:
		return KindAnswered
	case <-opened:
		return KindOpen
	case <-ctx.Done():
	}
	if k := c.ended(ctx); k != KindTimeout {
		return k
	}
	return KindBusy
}

func (c *Client) release() { <-c.slots }

// envelope is an event as the backend gets it.
func envelope(event, id string, now time.Time, fields []byte) []byte {
	b := make([]byte, 0, 80+len(fields))
	b = append(b, `{"event":"`...)
	b = append(b, event...)
	b = append(b, `","id":"`...)
	b = append(b, id...)
	b = append(b, `","time":`...)
	b = strconv.AppendInt(b, now.UnixMilli(), 10)
	b = append(b, fields...)
	return append(b, '}')
}

// pauseWithin waits before a question is asked again; false: the time would be
// over before, so there is nothing to wait for.
func pauseWithin(ctx context.Context, e *Error, n int) bool {
	d := max(e.RetryAfter, backoff(n, 50*time.Millisecond, time.Second))
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	return pause(ctx, d)
}

// backoff is the pause after the nth failure: it doubles from first to most, and
// is drawn between half of that and all, so that many do not come back at once.
func backoff(n int, first, most time.Duration) time.Duration {
	d := most
	if n < 30 {
		d = min(first<<(n-1), most)
	}
	return d/2 + rand.N(d/2+1)
}

// pause waits; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
