package client

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// repeat says what becomes of a request whose connection is lost before the
// answer, or that the server refuses for a moment.
type repeat int

const (
	never  repeat = iota // it fails
	keyed                // its key makes a repeat harmless, for the same user
	always               // it changes nothing, so it is made again
)

// reply is an answer, or why there is none.
type reply struct {
	answer *incoming
	err    error
}

// ask makes a request and waits for its answer.
func (c *Client) ask(ctx context.Context, o outgoing, again repeat) (*incoming, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, c.over()
	}
	defer func() { <-c.slots }()
	var last *conn // where it may have been carried out
	for {
		k, err := c.connected(ctx)
		if err != nil {
			return nil, err
		}
		if last != nil && again == keyed && (last.user == "" || last.user != k.user) {
			return nil, ErrLost // the server knows the key as that of another
		}
		answer, err := k.roundTrip(ctx, o)
		var e *Error
		switch {
		case err == nil:
			return answer, nil
		case again == never:
			return nil, c.closedOr(err)
		case errors.Is(err, ErrLost):
			last = k
		case errors.As(err, &e) && e.temporary():
			if err := rest(ctx, c.done, k.delay(e)); err != nil {
				return nil, c.closedOr(err)
			}
		default:
			return nil, err
		}
	}
}

// now makes a request that is of no use later: without a connection it fails.
func (c *Client) now(ctx context.Context, o outgoing) (*incoming, error) {
	c.mu.Lock()
	k, phase := c.current, c.state.Phase
	c.mu.Unlock()
	switch {
	case phase == Closed:
		return nil, c.over()
	case k == nil:
		return nil, refused(Unavailable, "there is no connection now")
	}
	answer, err := k.roundTrip(ctx, o)
	return answer, c.closedOr(err)
}

// closedOr gives the better reason for a failure while the client is being closed.
func (c *Client) closedOr(err error) error {
	if err != nil && (errors.Is(err, ErrLost) || errors.Is(err, ErrClosed)) && c.State().Phase == Closed {
		return c.over()
	}
	return err
}

// roundTrip makes a request on one connection.
func (k *conn) roundTrip(ctx context.Context, o outgoing) (*incoming, error) {
	got := make(chan reply, 1)
	id, err := k.ask(o, func(answer *incoming, err error) { got <- reply{answer, err} })
	if err != nil {
		return nil, err
	}
	select {
	case r := <-got:
		return r.answer, r.err
	case <-ctx.Done():
		k.forget(id)
		return nil, ctx.Err()
	}
}

// rest lets a time pass.
func rest(ctx context.Context, closed <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-closed:
		return ErrClosed
	}
}

// newKey draws an idempotency key that nobody else has.
func newKey() string { return rand.Text() }
