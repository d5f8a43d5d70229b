package client

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// Inbox is the user's own messages: those that were pushed to the user wherever
// it is, and that wait until one of its devices has acknowledged them. It needs no
// subscription.
//
// The server sends what is not acknowledged again, to this connection or the next
// one. The Inbox hands each message over once and acknowledges it when it was
// handled. What comes before there is a function for it waits. What is withdrawn, or
// has its place taken by another one ([Message].Collapse), while it waits is never
// handed over.
type Inbox struct {
	c     *Client
	queue *queue

	onMessage listeners[*delivery]
	onRecall  listeners[Recall]
	onMark    listeners[InboxState]
	onHeld    listeners[Held]

	mu    sync.Mutex // guards all below, and who listens to messages
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
		in.queue.late = func(e any) bool { _, ok := e.(Message); return ok }
		in.queue.drop = in.dropLocked
		c.inbox = in
	}
	return c.inbox
}

// OnMessage calls fn with each message, in order. When all functions have returned
// nil, the message is acknowledged; with an error it is not, and comes again. stop
// ends it.
func (in *Inbox) OnMessage(fn func(Message) error) (stop func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	remove := in.onMessage.add(func(d *delivery) {
		if err := fn(d.Message); err != nil && d.err == nil {
			d.err = err
		}
	})
	in.queue.release()
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		remove()
		if in.onMessage.empty() {
			in.queue.hold()
		}
	}
}

// OnRecall calls fn when a message was withdrawn. stop ends it.
func (in *Inbox) OnRecall(fn func(Recall)) (stop func()) { return in.onRecall.add(fn) }

// OnMark calls fn when another device of the user has moved the mark of what was
// read. When it moves faster than fn returns, only the newest state is told. stop
// ends it.
func (in *Inbox) OnMark(fn func(InboxState)) (stop func()) { return in.onMark.add(fn) }

// OnHeld calls fn when, after a connect, messages stay in the inbox because they
// may not interrupt the user; see [Inbox.History]. stop ends it.
func (in *Inbox) OnHeld(fn func(Held)) (stop func()) { return in.onHeld.add(fn) }

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
	_, err := in.ask(ctx, outgoing{Type: protocol.TypeAck, Messages: ids})
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
	_, err := in.ask(ctx, outgoing{Type: protocol.TypeAck, Seq: seq})
	return err
}

// receive takes a frame about the inbox. It runs in the goroutine that reads.
func (in *Inbox) receive(k *conn, f *incoming) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch f.kind {
	case protocol.TypeRecall:
		r := Recall{Channel: protocol.Inbox, Seq: f.number("seq"), ID: f.text("id")}
		in.withdrawLocked(func(m Message) bool { return m.ID == r.ID })
		in.queue.pushOver(r)
	case protocol.TypeMark:
		in.queue.remove(func(e any) bool { _, ok := e.(InboxState); return ok })
		in.queue.pushOver(f.inboxState())
	case protocol.TypeNotice:
		if h, ok := f.held(); ok {
			in.queue.pushOver(h)
		}
	case protocol.TypeMsg:
		in.messageLocked(k, f.message())
	}
}

func (in *Inbox) messageLocked(k *conn, m Message) {
	handled, here := in.known[m.ID]
	switch {
	case handled:
		in.ackLocked(k, m.ID) // the acknowledgement was lost
		return
	case here:
		return
	}
	// What it takes the place of is done with, and must not come again after it.
	for _, old := range in.withdrawLocked(m.replaces) {
		in.knowLocked(old.ID, true)
		in.ackLocked(k, old.ID)
	}
	if in.queue.push(m) {
		in.knowLocked(m.ID, false)
	}
	// What finds no room comes again, since it is not acknowledged.
}

// replaces tells whether a message takes the place of another one.
func (m Message) replaces(old Message) bool {
	return m.Collapse != "" && m.Collapse == old.Collapse && m.Category == old.Category && m.Seq > old.Seq
}

// withdrawLocked takes messages back that wait to be handed over.
func (in *Inbox) withdrawLocked(gone func(Message) bool) (taken []Message) {
	in.queue.remove(func(e any) bool {
		m, ok := e.(Message)
		if ok = ok && gone(m); ok {
			taken = append(taken, m)
			in.dropLocked(e)
		}
		return ok
	})
	return taken
}

// dropLocked forgets a message that will not be handed over: it is welcome again.
func (in *Inbox) dropLocked(e any) {
	if m, ok := e.(Message); ok {
		delete(in.known, m.ID)
	}
}

// welcome begins with a new connection. What nobody wanted to hear yet comes again
// there, unless it was withdrawn meanwhile or another device has acknowledged it.
func (in *Inbox) welcome() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.onMessage.empty() {
		in.withdrawLocked(func(Message) bool { return true })
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
	case InboxState:
		in.onMark.call(e)
	case Held:
		in.onHeld.call(e)
	case Message:
		d := &delivery{Message: e}
		heard := in.onMessage.call(d)
		in.mu.Lock()
		defer in.mu.Unlock()
		if d.err != nil || !heard {
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
	frame, err := encode(&outgoing{Type: protocol.TypeAck, Channel: protocol.Inbox, Messages: in.acks})
	in.acks = nil
	if err != nil {
		in.c.fault(err)
		return
	}
	k.send(frame)
}
