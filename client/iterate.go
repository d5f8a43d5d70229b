package client

import (
	"context"
	"errors"
	"iter"
)

// Messages gives the messages of the channel, from when the loop begins until ctx
// ends. It subscribes when the channel is not subscribed, and ends the subscription
// that it has made. Each turn of the loop is a function that the next event waits
// for. A hole in a log is yielded as a *[Gap] in the place of the error, and the loop
// goes on; any other error is the last thing it yields.
func (ch *Channel) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for e, err := range ch.Events(ctx) {
			switch e := e.(type) {
			case nil:
				yield(Message{}, err)
				return
			case Message:
				if !yield(e, nil) {
					return
				}
			case Gap:
				if !yield(Message{}, &e) {
					return
				}
			}
		}
	}
}

// Events is Messages for everything that happens in the channel. The event is nil
// where there is an error, which is the last thing it yields.
func (ch *Channel) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		events := make(chan Event)
		took := make(chan struct{}) // the loop has done with an event
		// The function stays until the loop has come back for the next event, so that
		// the queue is as slow as the loop.
		defer ch.OnEvent(func(e Event) {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
			select {
			case <-took:
			case <-ctx.Done():
			}
		})()
		ch.mu.Lock()
		own := !ch.wanted && !ch.given && ch.name != Direct
		gone := ch.gone
		ch.mu.Unlock()
		if own {
			if err := ch.Subscribe(ctx); err != nil {
				yield(nil, err)
				return
			}
			defer ch.quit()
		}
		for {
			select {
			case e := <-events:
				if !yield(e, nil) {
					return
				}
				if u, ok := e.(Unsubscribed); ok {
					yield(nil, errors.Join(ErrUnsubscribed, u.Err))
					return
				}
				select {
				case took <- struct{}{}:
				case <-ctx.Done():
				}
			case <-gone:
				yield(nil, ErrUnsubscribed)
				return
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case <-ch.c.done:
				yield(nil, ch.c.over())
				return
			}
		}
	}
}
