package client

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// inboxName is what a client calls the inbox of its user.
const inboxName = "@inbox"

// Inbox is the user's own messages: those that were pushed to the user wherever
// it is, and that wait until one of its devices has acknowledged them. It needs no
// subscription.
//
// The server sends what is not acknowledged again, to this connection or the next
// one. The Inbox hands each message over once and acknowledges it when it was
// handled. What comes before there is a function for it waits.
type Inbox struct {
	c     *Client
	queue *queue

	onMessage listeners[*delivery]
	onRecall  listeners[Recall]

	mu    sync.Mutex // guards all below
	known map[string]bool
	order []string // the ids of known, the oldest first
	acks  []string // handled, and not acknowledged yet
	timer *conn    // that will acknowledge them in a moment; nil: none
}

// delivery is a message on its way through the functions.
type delivery struct {
	Message
	err error // of the first function that failed
}

// What an Inbox remembers of the past, and acknowledges at once.
const (
	maxKnown = 4096
	maxAcks  = 100
	ackPause = 50 * time.Millisecond
)

// Inbox gives the user's inbox.
func (c *Client) Inbox() *Inbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inbox == nil {
		in := &Inbox{c: c, known: map[string]bool{}}
		in.queue = newQueue(&c.life, c.s.Queue, in.handle)
		in.queue.held = true
		c.inbox = in
	}
	return c.inbox
}

// OnMessage calls fn with each message, in order. When all functions have returned
// nil, the message is acknowledged; with an error it is not, and comes again. stop
// ends it.
func (in *Inbox) OnMessage(fn func(Message) error) (stop func()) {
	remove := in.onMessage.add(func(d *delivery) {
		if err := fn(d.Message); err != nil && d.err == nil {
			d.err = err
		}
	})
	in.queue.release()
	return func() {
		remove()
		if in.onMessage.empty() {
			in.queue.hold()
		}
	}
}

// OnRecall calls fn when a message was withdrawn. stop ends it.
func (in *Inbox) OnRecall(fn func(Recall)) (stop func()) { return in.onRecall.add(fn) }

// Messages gives the messages until ctx ends. A message is acknowledged when the
// loop comes back for the next one, and not when it ends; see [Inbox.Ack]. The error
// is the last thing it yields.
func (in *Inbox) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		messages := make(chan Message)
		took := make(chan struct{})
		defer in.OnMessage(func(m Message) error {
			select {
			case messages <- m:
			case <-ctx.Done():
				return context.Canceled
			}
			select {
			case <-took:
				return nil
			case <-ctx.Done():
				return context.Canceled
			}
		})()
		for {
			select {
			case m := <-messages:
				if !yield(m, nil) {
					return
				}
				select {
				case took <- struct{}{}:
				case <-ctx.Done():
				}
			case <-ctx.Done():
				yield(Message{}, ctx.Err())
				return
			case <-in.c.done:
				yield(Message{}, in.c.over())
				return
			}
		}
	}
}

// Ack acknowledges messages by their ids and waits for the answer, for programs
// that handle them elsewhere.
func (in *Inbox) Ack(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := in.c.ask(ctx, outgoing{Type: typeAck, Channel: inboxName, Messages: ids}, always)
	if err == nil {
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, id := range ids {
			in.knowLocked(id, true)
		}
	}
	return err
}

// AckTo acknowledges all messages up to a seq and waits for the answer.
func (in *Inbox) AckTo(ctx context.Context, seq uint64) error {
	_, err := in.c.ask(ctx, outgoing{Type: typeAck, Channel: inboxName, Seq: seq}, always)
	return err
}

// receive takes a frame about the inbox. It runs in the goroutine that reads.
func (in *Inbox) receive(k *conn, f *incoming) {
	switch f.kind {
	case protocol.TypeRecall:
		in.queue.pushOver(Recall{Channel: inboxName, Seq: f.number("seq"), ID: f.text("id")})
	case protocol.TypeMsg:
		m := f.message()
		in.mu.Lock()
		defer in.mu.Unlock()
		if handled, here := in.known[m.ID]; handled {
			in.ackLocked(k, m.ID) // the acknowledgement was lost
		} else if !here && in.queue.push(m) {
			in.knowLocked(m.ID, false)
		}
		// What finds no room comes again, since it is not acknowledged.
	}
}

// knowLocked remembers a message that is being handled, or was.
func (in *Inbox) knowLocked(id string, handled bool) {
	if _, here := in.known[id]; !here {
		in.order = append(in.order, id)
	}
	in.known[id] = handled
	for len(in.order) > max(maxKnown, 2*in.queue.bound) {
		delete(in.known, in.order[0])
		in.order = in.order[1:]
	}
}

// handle hands a message to the functions. It runs in the goroutine of the queue.
func (in *Inbox) handle(e any) {
	switch e := e.(type) {
	case Recall:
		in.onRecall.call(e)
	case Message:
		d := &delivery{Message: e}
		nobody := in.onMessage.empty()
		in.onMessage.call(d)
		in.mu.Lock()
		defer in.mu.Unlock()
		if d.err != nil || nobody {
			delete(in.known, e.ID) // it is welcome again
			return
		}
		in.knowLocked(e.ID, true)
		in.c.mu.Lock()
		k := in.c.current
		in.c.mu.Unlock()
		if k != nil {
			in.ackLocked(k, e.ID)
		}
	}
}

// ackLocked acknowledges a message, together with those that are handled in the
// next moment: a frame for each would soon be over the server's limit.
func (in *Inbox) ackLocked(k *conn, id string) {
	in.acks = append(in.acks, id)
	switch {
	case len(in.acks) >= maxAcks:
		in.flushLocked(k)
	case in.timer != k:
		in.timer = k
		k.after(ackPause, func() {
			in.mu.Lock()
			defer in.mu.Unlock()
			if in.timer == k {
				in.timer = nil
				in.flushLocked(k)
			}
		})
	}
}

func (in *Inbox) flushLocked(k *conn) {
	if len(in.acks) == 0 {
		return
	}
	frame, err := encode(&outgoing{Type: typeAck, Channel: inboxName, Messages: in.acks})
	in.acks = nil
	if err != nil {
		in.c.fault(err)
		return
	}
	k.send(frame)
}
