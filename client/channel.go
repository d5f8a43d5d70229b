package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/skein-realtime/skein/protocol"
)

// Position is where a reader of a log is: it has everything up to Seq. The zero
// value is the beginning.
type Position struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// ChannelOptions say where a subscription begins. The zero value begins with what
// comes next.
type ChannelOptions struct {
	// Since, in a log: go on after this position. It wins over Last. Nil: nothing.
	Since *Position
	// Last, in a log: begin with the newest so many messages. Zero: none.
	Last int
	// NoEcho, in a log or a document: do not send what this connection has published.
	NoEcho bool
	// Presence asks for Join, Leave and Counts, too.
	Presence bool
}

// Kinds of channels.
const (
	KindEvent    = "event" // volatile
	KindLog      = "log"   // kept and in order
	KindDocument = "doc"   // one JSON value
)

// Channel is a channel as one client sees it. A client has one Channel for each
// name, which it keeps until [Channel.Close].
type Channel struct {
	c     *Client
	name  string
	queue *queue

	onEvent listeners[Event]

	mu      sync.Mutex // guards all below; taken after the client's
	options ChannelOptions
	wanted  bool          // the program wants to be subscribed
	live    bool          // it is, by an ok or by the server
	given   bool          // by the server
	givenAt Position      // the newest message of a log that came of that, heard or not
	deaf    bool          // frames that come are of a subscription that is being replaced
	asked   uint64        // counts subs: only the answer to the newest counts
	waiting []chan error  // calls of Subscribe
	gone    chan struct{} // closed and replaced when the program ends the subscription
	kind    string
	placed  bool // at is known
	at      Position
	handled Position // as at, once functions have returned
	shown   json.RawMessage
	doc     *Document // nil: nobody reads the channel as a document
}

// Channel gives the channel of a name. Options that are not zero take effect with
// the next Subscribe.
func (c *Client) Channel(name string, options ChannelOptions) *Channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.channels[name]
	if ch == nil {
		ch = newChannel(c, name)
		c.channels[name] = ch
	}
	if options != (ChannelOptions{}) {
		if options.Since != nil {
			since := *options.Since
			options.Since = &since
		}
		ch.mu.Lock()
		ch.options = options
		ch.mu.Unlock()
	}
	return ch
}

func newChannel(c *Client, name string) *Channel {
	ch := &Channel{c: c, name: name, gone: make(chan struct{})}
	ch.queue = newQueue(&c.life, c.s.Queue, ch.handle)
	return ch
}

// Name gives the channel's name.
func (ch *Channel) Name() string { return ch.name }

// Kind gives the channel's kind, "" as long as it was not subscribed to.
func (ch *Channel) Kind() string {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.kind
}

// Position gives the place in a log up to which functions have handled the
// messages. A program that keeps it can go on from there with ChannelOptions.Since.
func (ch *Channel) Position() Position {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.handled
}

// OnEvent calls fn with everything that happens in the channel, in order. stop
// ends it.
func (ch *Channel) OnEvent(fn func(Event)) (stop func()) { return ch.onEvent.add(fn) }

// on registers a function for events of one type.
func on[E Event](ch *Channel, fn func(E)) (stop func()) {
	return ch.onEvent.add(func(e Event) {
		if own, ok := e.(E); ok {
			fn(own)
		}
	})
}

// OnMessage calls fn with each message. stop ends it.
func (ch *Channel) OnMessage(fn func(Message)) (stop func()) { return on(ch, fn) }

// OnNotice calls fn with each notice. stop ends it.
func (ch *Channel) OnNotice(fn func(Notice)) (stop func()) { return on(ch, fn) }

// OnGap calls fn when messages of a log are gone. stop ends it.
func (ch *Channel) OnGap(fn func(Gap)) (stop func()) { return on(ch, fn) }

// OnRecall calls fn when a message was withdrawn. stop ends it.
func (ch *Channel) OnRecall(fn func(Recall)) (stop func()) { return on(ch, fn) }

// OnEdit calls fn when the author has changed a message. stop ends it.
func (ch *Channel) OnEdit(fn func(Edit)) (stop func()) { return on(ch, fn) }

// OnMark calls fn when, in a conversation, a user has got messages or read them. stop ends it.
func (ch *Channel) OnMark(fn func(Mark)) (stop func()) { return on(ch, fn) }

// OnDropped calls fn when volatile events were lost. stop ends it.
func (ch *Channel) OnDropped(fn func(Dropped)) (stop func()) { return on(ch, fn) }

// OnSubscribed calls fn when a subscription has begun or goes on. stop ends it.
func (ch *Channel) OnSubscribed(fn func(Subscribed)) (stop func()) { return on(ch, fn) }

// OnUnsubscribed calls fn when the subscription has ended without being asked to.
// stop ends it.
func (ch *Channel) OnUnsubscribed(fn func(Unsubscribed)) (stop func()) { return on(ch, fn) }

// Subscribe subscribes to the channel and waits until the server has said yes. The
// client renews the subscription after each reconnect, and in a log goes on after
// the last message, until Unsubscribe, Close or an [Unsubscribed] event. With an
// error there is no subscription; one from ctx takes the wish back. Of a channel
// that is subscribed it changes the options.
func (ch *Channel) Subscribe(ctx context.Context) error {
	if ch.name == Direct {
		return nil
	}
	if _, err := protocol.Namespace("channel", ch.name); err != nil {
		return local(err)
	}
	answer := make(chan error, 1)
	ch.c.mu.Lock()
	if ch.c.state.Phase == Closed {
		ch.c.mu.Unlock()
		return ch.c.over()
	}
	if other := ch.c.channels[ch.name]; other != nil && other != ch {
		ch.c.mu.Unlock()
		return wrong("channel", "this Channel was closed, and there is another one for %s", ch.name)
	}
	ch.c.channels[ch.name] = ch
	ch.mu.Lock()
	ch.wanted = true
	ch.waiting = append(ch.waiting, answer)
	if ch.c.current != nil {
		ch.subLocked(ch.c.current)
	}
	ch.mu.Unlock()
	ch.c.mu.Unlock()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		ch.giveUp(answer)
		return ctx.Err()
	case <-ch.c.done:
		return ch.c.over()
	}
}

// giveUp takes one wish to be subscribed back, unless there are others.
func (ch *Channel) giveUp(answer chan error) {
	ch.mu.Lock()
	ch.waiting = slices.DeleteFunc(ch.waiting, func(w chan error) bool { return w == answer })
	alone := len(ch.waiting) == 0 && !ch.live
	ch.mu.Unlock()
	if alone {
		ch.quit()
	}
}

// attach makes the subscription again on a new connection. The client's lock is held.
func (ch *Channel) attach(k *conn) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.live, ch.given = false, false
	if ch.wanted {
		ch.subLocked(k)
	}
	if ch.doc != nil {
		ch.doc.attach(k)
	}
}

// subLocked sends a `sub`. What comes before its answer is left out in a log and
// in a document: the answer says where the subscription begins, and everything
// since then is sent again.
func (ch *Channel) subLocked(k *conn) {
	o := outgoing{Type: protocol.TypeSub, Channel: ch.name, Presence: ch.options.Presence}
	if ch.options.NoEcho && ch.doc == nil {
		o.Echo = new(bool)
	}
	switch {
	case ch.doc != nil:
		o.Since = ch.doc.since()
	case ch.placed:
		o.Since = ch.at.place()
	case ch.options.Since != nil:
		o.Since = ch.options.Since.place()
	default:
		o.Last = ch.options.Last
	}
	ch.deaf = ch.kind != KindEvent
	ch.asked++
	turn, since := ch.asked, o.Since != nil
	_, err := k.ask(o, func(answer *incoming, err error) { ch.subscribed(k, turn, since, answer, err) })
	if err != nil {
		ch.c.fault(err)
	}
}

func (p Position) place() *place { return &place{Epoch: p.Epoch, Seq: &p.Seq} }

// subscribed takes the answer to a `sub`.
func (ch *Channel) subscribed(k *conn, turn uint64, since bool, f *incoming, err error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if turn != ch.asked || !ch.wanted || errors.Is(err, ErrLost) {
		return // a newer one will be answered, or the next connection will ask again
	}
	var e *Error
	switch {
	case errors.As(err, &e) && e.temporary():
		k.after(k.delay(e), func() {
			ch.mu.Lock()
			defer ch.mu.Unlock()
			if turn == ch.asked && ch.wanted {
				ch.subLocked(k)
			}
		})
		return
	case err != nil && ch.given && ch.placed && len(ch.waiting) == 0:
		// It is only what was missed that cannot be had; the server goes on.
		ch.wanted, ch.deaf = false, false
		g := Gap{Channel: ch.name, From: ch.at.Seq + 1, To: ch.givenAt.Seq, Epoch: ch.givenAt.Epoch}
		if g.Restart = ch.at.Epoch != g.Epoch; g.Restart {
			g.From = 1
		}
		ch.keepLocked(k, g, ch.givenAt)
		return
	case err != nil:
		ch.refusedLocked(err)
		return
	}
	ch.live, ch.deaf = true, false
	ch.kind = f.text("kind")
	s := Subscribed{Channel: ch.name, Recovered: f.flag("recovered")}
	switch ch.kind {
	case KindLog:
		s.At = Position{Epoch: f.text("epoch"), Seq: f.number("seq")}
		// After `since` the place moves with what follows, and after `last` it is known
		// with the first message: so nothing is lost when the connection breaks before.
		switch {
		case since && !ch.placed:
			ch.at, ch.placed = *ch.options.Since, true
		case !since:
			ch.at, ch.placed = s.At, ch.options.Last == 0
		}
		if ch.at.Epoch == "" {
			ch.at.Epoch = s.At.Epoch
		}
		if ch.placed && ch.handled == (Position{}) {
			ch.handled = ch.at
		}
	case KindDocument:
		s.Version = f.number("version")
		if ch.doc != nil {
			ch.doc.subscribed(f)
		}
	}
	ch.queue.force(s)
	ch.settleLocked(nil)
	if ch.shown != nil {
		ch.showLocked(k)
	}
}

// refusedLocked ends the wish to be subscribed.
func (ch *Channel) refusedLocked(err error) {
	ch.wanted, ch.deaf = false, false
	if len(ch.waiting) == 0 {
		ch.endLocked(Unsubscribed{Channel: ch.name, Reason: reason(err), Err: err})
	} else if ch.doc != nil {
		ch.doc.freeze()
	}
	ch.settleLocked(err)
}

func reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return err.Error()
}

// settleLocked answers the calls of Subscribe.
func (ch *Channel) settleLocked(err error) {
	for _, w := range ch.waiting {
		w <- err
	}
	ch.waiting = nil
}

// endLocked tells that the subscription has ended.
func (ch *Channel) endLocked(u Unsubscribed) {
	ch.live, ch.given = false, false
	if ch.doc != nil {
		ch.doc.freeze()
	}
	ch.queue.force(u)
}

// Unsubscribe ends the subscription; the place in a log is forgotten. Events that
// wait are still told.
func (ch *Channel) Unsubscribe(ctx context.Context) error {
	k := ch.leave()
	if k == nil {
		return nil // without a connection there is nothing to end
	}
	_, err := k.roundTrip(ctx, outgoing{Type: protocol.TypeUnsub, Channel: ch.name})
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

// leave takes the wish back. It gives the connection on which `unsub` has to be
// sent; nil: there is none, or no subscription.
func (ch *Channel) leave() *conn {
	ch.c.mu.Lock()
	defer ch.c.mu.Unlock()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	was := ch.wanted || ch.live
	ch.wanted, ch.live, ch.given, ch.placed, ch.deaf = false, false, false, false, true
	ch.asked++
	ch.at, ch.handled = Position{}, Position{}
	if ch.doc != nil {
		ch.doc.freeze()
	}
	ch.settleLocked(ErrUnsubscribed)
	close(ch.gone)
	ch.gone = make(chan struct{})
	if !was {
		return nil
	}
	return ch.c.current
}

// Close is Unsubscribe, and lets the client forget the channel with all functions
// that were registered in it.
func (ch *Channel) Close(ctx context.Context) error {
	err := ch.Unsubscribe(ctx)
	ch.c.mu.Lock()
	defer ch.c.mu.Unlock()
	if ch.c.channels[ch.name] == ch {
		delete(ch.c.channels, ch.name)
	}
	return err
}

// quit is Unsubscribe for who does not wait for the answer.
func (ch *Channel) quit() {
	if k := ch.leave(); k != nil {
		ch.unsub(k)
	}
}

func (ch *Channel) unsub(k *conn) {
	if _, err := k.ask(outgoing{Type: protocol.TypeUnsub, Channel: ch.name}, func(*incoming, error) {}); err != nil {
		ch.c.fault(err)
	}
}
