package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// How long a typing notice says something, and how often one is sent meanwhile; how long marks
// are collected; and the size of groups whose marks are asked for: the server does not tell of
// those of larger ones either.
const (
	typingLasts = 6 * time.Second
	typingAgain = 3 * time.Second
	marksPause  = 100 * time.Millisecond
	fewMembers  = 100
)

// typing is the event of a notice that says that somebody types.
const typing = "typing"

// Conversation is one conversation as one client sees it: its messages, and what its members do
// there. A client has one for each channel. It works on the [Channel] of the same name: they
// share one subscription.
type Conversation struct {
	l  *Conversations
	ch *Channel

	onChange  listeners[*Conversation]
	onMessage listeners[Message]
	onGone    listeners[Gone]
	paging    chan struct{} // one page at a time: each has to know what the one before has brought

	// Guarded by the lock of the list.
	stop     func() // ends the functions in the channel; nil: it is not open
	time     *timeline
	room     int // how many messages are kept
	more     bool
	epoch    string
	loaded   bool
	over     bool // the server has ended it
	inquired bool // marks of the others were asked for over this connection
	members  int  // how many there were then
	marks    map[string]Mark
	handed   uint64 // the newest message that functions have had
	read     uint64 // where the user is
	known    Mark   // where the server knows the user to be
	flushing *conn  // that will be told in a moment; nil: none
	typists  map[string]uint64
	typings  uint64    // counts notices of typing: each ends its own alone
	typed    time.Time // when the others were told
}

// Conversation gives the conversation of a channel.
func (c *Client) Conversation(channel string) *Conversation {
	l := c.Conversations(ConversationsOptions{})
	ch := c.Channel(channel, ChannelOptions{})
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.talks[channel]
	if v == nil {
		v = &Conversation{
			l: l, ch: ch, paging: make(chan struct{}, 1), time: newTimeline(), room: l.options.Keep, marks: map[string]Mark{}, typists: map[string]uint64{},
		}
		c.talks[channel] = v
	}
	return v
}

// Channel gives the name of its channel.
func (v *Conversation) Channel() string { return v.ch.name }

// Open subscribes to the conversation, also to a direct one that has not begun, and reads its
// newest messages. It follows the list of conversations as well, which has its entry. The client
// keeps it until [Conversation.Close], across reconnects. With an error it is not open.
func (v *Conversation) Open(ctx context.Context) error {
	v.l.follow()
	v.l.mu.Lock()
	if v.stop == nil {
		v.over = false
		v.stop = v.ch.OnEvent(v.handle)
		v.l.open[v.ch.name] = v
		if _, known := v.l.list.known[v.ch.name]; !known && v.l.loaded {
			v.l.list.strange[v.ch.name] = true
			v.l.workLocked()
		}
		v.entryLocked()
	}
	v.l.mu.Unlock()
	err := v.ch.Subscribe(ctx)
	if err == nil {
		err = v.load(ctx)
	}
	if err != nil {
		v.end()
		v.ch.quit()
	}
	return err
}

// Close ends it, and its subscription.
func (v *Conversation) Close(ctx context.Context) error {
	v.end()
	v.flush()
	return v.ch.Unsubscribe(ctx)
}

func (v *Conversation) end() {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if v.stop != nil {
		v.stop()
		v.stop, v.loaded, v.more, v.epoch = nil, false, false, ""
		v.time.clear()
		clear(v.typists)
		delete(v.l.open, v.ch.name)
	}
}

// Messages gives what is shown: the oldest first, own ones that are not stored last.
func (v *Conversation) Messages() []ChatMessage {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	return v.time.list()
}

// HasOlder tells whether there are older messages, which [Conversation.Older] reads.
func (v *Conversation) HasOlder() bool {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	return v.more
}

// Entry gives it as it is in the list of the user; false: he is no member, a direct one has
// not begun, or it is not known yet.
func (v *Conversation) Entry() (Entry, bool) { return v.l.Entry(v.ch.name) }

// Unread is how many messages the user has not read.
func (v *Conversation) Unread() uint64 {
	e, _ := v.Entry()
	return e.Unread
}

// Typists are the other users who are typing.
func (v *Conversation) Typists() []string {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	var users []string
	for user := range v.typists {
		users = append(users, user)
	}
	slices.Sort(users)
	return users
}

// Marks say how far the others are, as far as it is known: in large groups the server does
// not tell.
func (v *Conversation) Marks() []Mark {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	var marks []Mark
	for _, m := range v.marks {
		marks = append(marks, m)
	}
	slices.SortFunc(marks, func(a, b Mark) int { return strings.Compare(a.User, b.User) })
	return marks
}

// Status says what has become of a message of one's own.
func (v *Conversation) Status(m ChatMessage) MessageState {
	if m.State != MessageSent {
		return m.State
	}
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if e, ok := v.l.list.known[v.ch.name]; len(v.marks) == 0 || ok && len(v.marks) < e.Members-1 {
		return MessageSent
	}
	state := MessageRead
	for _, mark := range v.marks {
		if mark.Delivered < m.Seq {
			return MessageSent
		}
		if mark.Read < m.Seq {
			state = MessageDelivered
		}
	}
	return state
}

// OnChange calls fn when something that is shown has changed: messages, marks, who types, the
// entry. Changes that come while fn runs are told as one. stop ends it.
func (v *Conversation) OnChange(fn func(*Conversation)) (stop func()) { return v.onChange.add(fn) }

// OnMessage calls fn with each message that comes, also with those of the user, in order. When
// all functions have returned the others are told that it was delivered. stop ends it.
func (v *Conversation) OnMessage(fn func(Message)) (stop func()) { return v.onMessage.add(fn) }

// OnGone calls fn when nothing comes any more. Besides the reasons of [Gone] it may be that of
// an [Unsubscribed]. stop ends it.
func (v *Conversation) OnGone(fn func(Gone)) (stop func()) { return v.onGone.add(fn) }

// Older reads older messages, at most limit (zero: as many as Open). It tells whether there are
// more.
func (v *Conversation) Older(ctx context.Context, limit int) (more bool, err error) {
	if limit <= 0 {
		limit = v.l.options.Messages
	}
	err = v.page(ctx, func() (HistoryOptions, bool) {
		before := v.time.oldest()
		return HistoryOptions{Before: before, Limit: limit}, v.more && before > 0
	}, func(p HistoryPage) {
		v.room += len(p.Messages)
		v.more = p.More
	})
	return v.HasOlder(), err
}

// load reads the newest messages, unless they are there.
func (v *Conversation) load(ctx context.Context) error {
	return v.page(ctx, func() (HistoryOptions, bool) {
		return HistoryOptions{Limit: v.l.options.Messages}, !v.loaded && v.stop != nil
	}, func(p HistoryPage) {
		v.loaded, v.more = true, p.More
		v.handLocked(v.time.newest())
	})
}

// page reads a page: which says of what, when it is its turn, and took what follows.
func (v *Conversation) page(ctx context.Context, which func() (HistoryOptions, bool), took func(HistoryPage)) error {
	select {
	case v.paging <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-v.l.c.done:
		return v.l.c.over()
	}
	defer func() { <-v.paging }()
	v.l.mu.Lock()
	options, needed := which()
	if needed {
		v.time.ask()
	}
	v.l.mu.Unlock()
	if !needed {
		return nil
	}
	p, err := v.ch.History(ctx, options)
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	v.time.page(p.Messages)
	if err == nil {
		took(p)
		v.l.tellLocked(v.ch.name)
	}
	return err
}

// handle takes what happens in the channel. It runs in the goroutine of its queue.
func (v *Conversation) handle(e Event) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if v.stop == nil {
		return
	}
	switch e := e.(type) {
	case Message:
		v.cameLocked(e)
		return
	case Edit, Recall:
		if !v.time.change(e) {
			return
		}
	case Gap:
		v.eraLocked(e.Epoch)
	case Notice:
		if !v.noticeLocked(e) {
			return
		}
	case Mark:
		v.markLocked(e)
	case Subscribed:
		v.over, v.inquired = false, false
		clear(v.typists) // what has ended them was not heard
		v.eraLocked(e.At.Epoch)
		v.askLocked()
		v.soonLocked() // the last answer may have been lost
	case Unsubscribed:
		v.l.goneLocked(Gone{Channel: v.ch.name, Reason: e.Reason})
	default:
		return
	}
	v.l.tellLocked(v.ch.name)
}

// cameLocked takes a message. While functions have it, the lock is not held.
func (v *Conversation) cameLocked(m Message) {
	if m.Seq == 0 {
		return
	}
	if user := m.From.User; user != "" {
		delete(v.typists, user)
		v.markLocked(Mark{User: user, Delivered: m.Seq, Read: m.Seq}) // who writes has read
	}
	fresh := v.time.add(m, v.l.isMine(m.From.Connection))
	if v.time.trim(v.room) {
		v.more = true
	}
	v.l.tellLocked(v.ch.name)
	if fresh {
		v.l.mu.Unlock()
		v.onMessage.call(m)
		v.l.mu.Lock()
	}
	v.handLocked(m.Seq)
}

// eraLocked begins anew where the history has: then the seqs that are known mean nothing.
func (v *Conversation) eraLocked(epoch string) {
	if epoch == "" || epoch == v.epoch {
		return
	}
	if v.epoch != "" {
		v.time.clear()
		v.loaded, v.more = false, false
		v.handed, v.read, v.known = 0, 0, Mark{}
		v.l.c.life.start(func() {
			if err := v.load(v.l.c.life.ctx); err != nil && v.l.c.life.ctx.Err() == nil {
				v.l.c.fault(err)
			}
		})
	}
	v.epoch = epoch
}

// noticeLocked takes a notice; false: nobody types because of it, or no longer does.
func (v *Conversation) noticeLocked(n Notice) bool {
	user := n.From.User
	if n.Event != typing || user == "" || user == v.l.me {
		return false
	}
	_, was := v.typists[user]
	if string(n.Data) == "false" {
		delete(v.typists, user)
		return was
	}
	v.typings++
	turn := v.typings
	v.typists[user] = turn
	if k := v.l.k; k != nil {
		k.after(typingLasts, func() {
			v.l.mu.Lock()
			defer v.l.mu.Unlock()
			if v.typists[user] == turn {
				delete(v.typists, user)
				v.l.tellLocked(v.ch.name)
			}
		})
	}
	return !was
}

// markLocked takes how far another member is: marks only grow.
func (v *Conversation) markLocked(m Mark) {
	if m.User == v.l.me {
		return
	}
	known := v.marks[m.User]
	m.Channel = v.ch.name
	m.Read = max(m.Read, known.Read)
	m.Delivered = max(m.Delivered, known.Delivered, m.Read)
	v.marks[m.User] = m
}

// entryLocked takes what has changed in the list.
func (v *Conversation) entryLocked() {
	e, ok := v.l.list.known[v.ch.name]
	if !ok {
		return
	}
	if e.Members != v.members {
		v.inquired, v.members = false, e.Members
	}
	if p := e.Peer; p != nil {
		v.markLocked(Mark{User: p.User, Delivered: p.Delivered, Read: p.Read})
	}
	v.askLocked()
	if v.over && v.stop != nil {
		v.over = false
		v.l.c.life.start(func() { // he is a member again
			if err := v.ch.Subscribe(v.l.c.life.ctx); err != nil && v.l.c.life.ctx.Err() == nil {
				v.l.c.fault(err)
			}
		})
	}
}

// askLocked asks for the marks of the others: they are told when they move, those from before
// have to be asked for.
func (v *Conversation) askLocked() {
	e, ok := v.l.list.known[v.ch.name]
	if v.inquired || v.stop == nil || !ok || e.Kind != KindGroup || e.Members > fewMembers || v.l.k == nil {
		return
	}
	v.inquired = true
	ctx := v.l.k.ctx
	v.l.c.life.start(func() {
		if _, err := v.Members(ctx, PageQuery{Limit: fewMembers}); err != nil {
			v.l.c.s.Logger.Debug("the marks of a conversation could not be read", "channel", v.ch.name, "err", err)
		}
	})
}

// handLocked notes that messages up to a seq were handed to functions.
func (v *Conversation) handLocked(seq uint64) {
	if seq > v.handed {
		v.handed = seq
		v.soonLocked()
	}
}

// wantsLocked gives what of the user's marks the server does not know yet.
func (v *Conversation) wantsLocked() (read, delivered uint64) {
	e := v.l.list.known[v.ch.name]
	if v.read > max(v.known.Read, e.Read) {
		read = v.read
	}
	if v.handed > max(v.known.Delivered, e.Delivered, v.read) {
		delivered = v.handed
	}
	return read, delivered
}

// soonLocked has the server told of the marks in a moment: there is a limit of frames.
func (v *Conversation) soonLocked() {
	k := v.l.k
	if k == nil || v.flushing == k { // without a connection, with the next one
		return
	}
	if read, delivered := v.wantsLocked(); read == 0 && delivered == 0 {
		return
	}
	v.flushing = k
	k.after(marksPause, v.flush)
}

// flush tells the server of the marks.
func (v *Conversation) flush() {
	v.l.mu.Lock()
	v.flushing = nil
	k := v.l.k
	read, delivered := v.wantsLocked()
	v.l.mu.Unlock()
	if k == nil || read == 0 && delivered == 0 {
		return
	}
	o := outgoing{Type: protocol.TypeAck, Channel: v.ch.name, Seq: delivered}
	if read > 0 {
		o = outgoing{Type: protocol.TypeMark, Channel: v.ch.name, Read: &read, Got: delivered}
	}
	if _, err := k.ask(o, func(f *incoming, err error) { v.flushed(k, read, delivered, f, err) }); err != nil {
		v.l.c.fault(err)
	}
}

func (v *Conversation) flushed(k *conn, read, delivered uint64, f *incoming, err error) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	var e *Error
	switch {
	case err == nil:
		v.l.markedLocked(v.ch.name, f.number("read"), f.number("delivered"))
	case errors.As(err, &e) && e.temporary():
		if v.flushing == nil {
			v.flushing = k
			k.after(k.delay(e), v.flush)
		}
		return
	case errors.Is(err, ErrLost):
		return // the next connection tells it
	default:
		delete(v.l.list.wanted, v.ch.name)
		v.l.tellLocked(v.ch.name)
		v.l.c.fault(err)
	}
	v.toldLocked(read, delivered) // also when it was refused: it would be again
}

// toldLocked notes that the server knows the user's marks up to here.
func (v *Conversation) toldLocked(read, delivered uint64) {
	v.known.Read = max(v.known.Read, read)
	v.known.Delivered = max(v.known.Delivered, delivered, v.known.Read)
}

// MarkRead says that the user has read everything up to a message; 0: all that is there. It is
// shown at once, on all devices of the user a moment later, and never goes back.
func (v *Conversation) MarkRead(seq uint64) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if seq == 0 {
		seq = v.time.newest()
	}
	if seq <= v.read {
		return
	}
	v.read = seq
	v.l.list.want(v.ch.name, seq)
	v.l.tellLocked(v.ch.name)
	v.soonLocked()
}
