package client

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// ConversationsOptions say how the conversations of a user are read. The zero value has every
// default.
type ConversationsOptions struct {
	// Direct is the namespace of conversations between two users. "": dm.
	Direct string
	// Page is how many conversations a page of the list has, at most 200. Zero: 50.
	Page int
	// Messages is how many messages are read at once when a conversation is opened, at most
	// 500. Zero: 50.
	Messages int
	// Keep is how many messages of a conversation are kept, besides those that
	// [Conversation.Older] has brought. Zero: 1000.
	Keep int
	// Pause is how long changes of conversations that are not in the list are collected,
	// before it is read anew. Zero: 250 ms.
	Pause time.Duration
	// Silent is whether nobody is told that messages have come to this device, but those of
	// open conversations.
	Silent bool
}

// ListChange says which conversations have changed in the list.
type ListChange struct{ Channels []string }

// Gone says that a conversation is no more for the user.
type Gone struct {
	Channel string
	Reason  string // left, removed or deleted
}

// Conversations is the list of the user's conversations, which is followed, and those that are
// open. There is one for each client; all methods may be called by many goroutines at once.
type Conversations struct {
	c       *Client
	options ConversationsOptions
	queue   *queue // what functions are told

	onChange listeners[ListChange]
	onGone   listeners[Gone]

	mu        sync.Mutex // guards all below, and the conversations; no other lock is taken while it is held but that of the queue
	following bool
	k         *conn    // the connection that there is; nil: none
	me        string   // the user of the last one; "": nobody
	mine      []string // ids of connections of this client, the newest last
	list      *entries
	turn      uint64 // of the list: answers to older questions say nothing any more
	anew      bool   // it has to be read from the top
	running   bool   // a goroutine asks for what is missing
	err       error  // why the list cannot be read
	loaded    bool
	waiting   []chan error // calls of Follow
	wanted    []chan error // calls of More
	open      map[string]*Conversation
	refused   map[string]uint64 // acknowledgements, by channel
	changed   map[string]bool   // channels that are to be told of; nil: nothing is
}

// Conversations gives the conversations of the user. Options count for the first call.
func (c *Client) Conversations(options ConversationsOptions) *Conversations {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.chat == nil {
		if options.Direct == "" {
			options.Direct = "dm"
		}
		options.Page, options.Messages = orElse(options.Page, 50), orElse(options.Messages, 50)
		options.Keep, options.Pause = orElse(options.Keep, 1000), orElse(options.Pause, 250*time.Millisecond)
		l := &Conversations{c: c, options: options, list: newEntries(), open: map[string]*Conversation{}, refused: map[string]uint64{}, k: c.current}
		if l.k != nil {
			l.me = l.k.user
		}
		if c.state.Connection != "" {
			l.mine = []string{c.state.Connection}
		}
		l.queue = newQueue(&c.life, c.s.Queue, l.give)
		c.chat = l
	}
	return c.chat
}

// Follow reads the list, follows it from then on, across reconnects, and waits for its first
// page. A user who may have none gets the server's error.
func (l *Conversations) Follow(ctx context.Context) error {
	answer := make(chan error, 1)
	l.mu.Lock()
	switch {
	case l.following && l.loaded:
		l.mu.Unlock()
		return nil
	case !l.following, l.err != nil:
		l.following, l.err = true, nil
		l.againLocked()
	}
	l.waiting = append(l.waiting, answer)
	l.mu.Unlock()
	return l.wait(ctx, answer)
}

// follow is Follow for who does not wait.
func (l *Conversations) follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.following {
		l.following = true
		l.againLocked()
	}
}

// Unfollow lets the server tell no more of the list, which is empty then.
func (l *Conversations) Unfollow(ctx context.Context) error {
	l.mu.Lock()
	was, k := l.following, l.k
	l.following, l.loaded = false, false
	l.list.reset()
	l.turn++
	l.answerLocked(&l.waiting, ErrUnsubscribed)
	l.answerLocked(&l.wanted, ErrUnsubscribed)
	l.mu.Unlock()
	if !was || k == nil {
		return nil
	}
	_, err := k.roundTrip(ctx, outgoing{Type: protocol.TypeConversations, Limit: 1, Live: new(bool)})
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

func (l *Conversations) wait(ctx context.Context, answer chan error) error {
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.c.done:
		return l.c.over()
	}
}

// answerLocked answers all who wait.
func (l *Conversations) answerLocked(waiting *[]chan error, err error) {
	for _, w := range *waiting {
		w <- err
	}
	*waiting = nil
}

// List gives the conversations that were read, the newest first.
func (l *Conversations) List() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list.list()
}

// Count is how many there are, also those that were not read.
func (l *Conversations) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list.count
}

// Unread is how many messages are unread in all of them.
func (l *Conversations) Unread() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list.unread()
}

// HasMore tells whether there are more than those in the list.
func (l *Conversations) HasMore() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list.next != "" && len(l.list.list()) < l.list.count
}

// Entry gives one of them, also one that is not in the list but open; false: it is not known.
func (l *Conversations) Entry(channel string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list.get(channel)
}

// More reads the next page of the list. It follows the list when that is not done yet.
func (l *Conversations) More(ctx context.Context) error {
	if err := l.Follow(ctx); err != nil {
		return err
	}
	answer := make(chan error, 1)
	l.mu.Lock()
	l.wanted = append(l.wanted, answer)
	l.workLocked()
	l.mu.Unlock()
	return l.wait(ctx, answer)
}

// OnChange calls fn when the list has changed, also for the first time. Changes that come
// while fn runs are told as one. stop ends it.
func (l *Conversations) OnChange(fn func(ListChange)) (stop func()) { return l.onChange.add(fn) }

// OnGone calls fn when a conversation is no more for the user. stop ends it.
func (l *Conversations) OnGone(fn func(Gone)) (stop func()) { return l.onGone.add(fn) }

// Changes gives the changes of the list until ctx ends. While the loop is busy they are joined,
// so it always finds the list as it is. The error is the last thing it yields.
func (l *Conversations) Changes(ctx context.Context) iter.Seq2[ListChange, error] {
	return func(yield func(ListChange, error) bool) {
		var mu sync.Mutex // guards channels
		channels := map[string]bool{}
		came := make(chan struct{}, 1)
		defer l.OnChange(func(change ListChange) {
			mu.Lock()
			defer mu.Unlock()
			for _, channel := range change.Channels {
				channels[channel] = true
			}
			select {
			case came <- struct{}{}:
			default:
			}
		})()
		for {
			select {
			case <-came:
			case <-ctx.Done():
				yield(ListChange{}, ctx.Err())
				return
			case <-l.c.done:
				yield(ListChange{}, l.c.over())
				return
			}
			mu.Lock()
			change := ListChange{slices.Sorted(maps.Keys(channels))}
			clear(channels)
			mu.Unlock()
			if !yield(change, nil) {
				return
			}
		}
	}
}

// listChanged is an event of the queue: what l.changed says.
type listChanged struct{}

// tellLocked has functions told of channels.
func (l *Conversations) tellLocked(channels ...string) {
	if l.changed == nil {
		l.changed = map[string]bool{}
		l.queue.force(listChanged{})
	}
	for _, channel := range channels {
		l.changed[channel] = true
	}
}

// give hands an event to the functions. It runs in the goroutine of the queue.
func (l *Conversations) give(e any) {
	switch e := e.(type) {
	case Gone:
		l.mu.Lock()
		v := l.open[e.Channel]
		l.mu.Unlock()
		l.onGone.call(e)
		if v != nil {
			v.onGone.call(e)
		}
	case listChanged:
		l.mu.Lock()
		change := ListChange{slices.Sorted(maps.Keys(l.changed))}
		l.changed = nil
		var open []*Conversation
		for _, channel := range change.Channels {
			if v := l.open[channel]; v != nil {
				open = append(open, v)
			}
		}
		l.mu.Unlock()
		l.onChange.call(change)
		for _, v := range open {
			v.onChange.call(v)
		}
	}
}

// attach begins with a new connection. The client's lock is held.
func (l *Conversations) attach(k *conn, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.k, l.me = k, k.user
	l.mine = append(l.mine[max(0, len(l.mine)-15):], id)
	if l.following {
		l.err = nil
		l.againLocked()
	}
}

// againLocked has the whole list read anew: something was missed.
func (l *Conversations) againLocked() {
	l.turn++
	l.anew = true
	l.workLocked()
}

// receive takes a frame that may be about the list; it tells whether nobody else wants it. It
// runs in the goroutine that reads.
func (l *Conversations) receive(f *incoming) (own bool) {
	channel := f.text("channel")
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.following {
		return false
	}
	switch {
	case f.kind == protocol.TypeConversation && f.flag("gone"):
		g := Gone{Channel: channel, Reason: f.text("reason")}
		l.list.gone(channel)
		l.goneLocked(g)
		l.tellLocked(channel)
		own = true
	case f.kind == protocol.TypeConversation:
		if l.list.conversation(f.entry(), f.raw("role") != nil, l.me) {
			l.changedLocked(channel)
		}
		own = true
	case f.kind == protocol.TypeMark && channel != protocol.Inbox:
		if l.list.mark(f.mark(), l.me) {
			l.changedLocked(channel)
		}
	case f.kind == protocol.TypeOnline:
		if channels := l.list.present(f.text("user"), f.flag("online")); len(channels) > 0 {
			l.tellLocked(channels...)
		}
		own = true
	case f.kind == protocol.TypeDropped && channel == Direct:
		for _, v := range l.open {
			v.inquired = false // marks may have been lost
		}
		l.againLocked()
	default:
		return false
	}
	l.workLocked()
	return own
}

// goneLocked has functions told that a conversation is no more, unless they were.
func (l *Conversations) goneLocked(g Gone) {
	if v := l.open[g.Channel]; v != nil {
		if v.over {
			return
		}
		v.over = true
	}
	l.queue.pushOver(g)
}

// changedLocked is tellLocked, after what the open conversations do about it.
func (l *Conversations) changedLocked(channels ...string) {
	for _, channel := range channels {
		if v := l.open[channel]; v != nil {
			v.entryLocked()
		}
	}
	l.tellLocked(channels...)
}

// markedLocked takes what the server has said of the user's marks.
func (l *Conversations) markedLocked(channel string, read, delivered uint64) {
	if l.following && l.me != "" && l.list.mark(Mark{Channel: channel, User: l.me, Read: read, Delivered: delivered}, l.me) {
		l.tellLocked(channel)
	}
	l.workLocked()
}

// isMine tells whether a connection is one of this client.
func (l *Conversations) isMine(connection string) bool { return slices.Contains(l.mine, connection) }
