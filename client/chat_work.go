package client

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// maxListPage is how many conversations a page may have.
const maxListPage = 200

// workLocked has what is missing asked for.
func (l *Conversations) workLocked() {
	if l.running || l.nextLocked() == nil {
		return
	}
	l.list.ask() // what frames say is remembered for as long as this goes on
	if l.running = l.c.life.start(l.work); !l.running {
		l.list.asked()
	}
}

// nextLocked gives what is to be asked for next; nil: nothing.
func (l *Conversations) nextLocked() func(ctx context.Context, k *conn, turn uint64) error {
	switch {
	case l.k == nil || !l.following || l.err != nil:
		return nil
	case l.anew:
		return l.reload
	case l.list.stale:
		return l.refresh
	case len(l.list.strange) > 0:
		return l.strangers
	case len(l.wanted) > 0:
		return l.further
	case l.loaded && !l.options.Silent:
		if e := l.dueLocked(); e != nil {
			return l.deliver(e.Channel, e.End.Seq)
		}
	}
	return nil
}

// dueLocked gives a conversation of the list whose newest message has come to this device, and
// nobody has been told; nil: there is none. Conversations that are open tell it themselves.
func (l *Conversations) dueLocked() *Entry {
	for channel, e := range l.list.known {
		if e.End.Seq > e.Delivered && l.list.covered(&e) && l.refused[channel] != e.End.Seq && l.open[channel] == nil {
			return &e
		}
	}
	return nil
}

// deliver tells that messages have come to this device.
func (l *Conversations) deliver(channel string, seq uint64) func(context.Context, *conn, uint64) error {
	return func(ctx context.Context, k *conn, turn uint64) error {
		f, err := k.request(ctx, outgoing{Type: protocol.TypeAck, Channel: channel, Seq: seq})
		l.mu.Lock()
		defer l.mu.Unlock()
		var refused *Error
		switch {
		case errors.As(err, &refused):
			l.refused[channel] = seq // nobody misses it
		case err != nil:
			return err
		case turn == l.turn:
			l.markedLocked(channel, 0, f.number("delivered"))
			l.refused[channel] = seq // if it was less
		}
		return nil
	}
}

// work asks for what is missing, one after the other.
func (l *Conversations) work() {
	for {
		l.mu.Lock()
		k, turn, next := l.k, l.turn, l.nextLocked()
		if next == nil {
			l.running = false
			l.list.asked()
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		err := next(k.ctx, k, turn)
		l.mu.Lock()
		switch {
		case err == nil || turn != l.turn:
		case errors.Is(err, ErrLost) || k.ctx.Err() != nil: // the next connection asks again
			if l.k == k {
				l.k = nil
			}
		default:
			l.err = err
			if len(l.waiting)+len(l.wanted) == 0 {
				l.c.fault(err)
			}
			l.answerLocked(&l.waiting, err)
			l.answerLocked(&l.wanted, err)
		}
		l.mu.Unlock()
	}
}

// request asks on one connection, also again when the server says that waiting helps.
func (k *conn) request(ctx context.Context, o outgoing) (*incoming, error) {
	for {
		f, err := k.roundTrip(ctx, o)
		var e *Error
		if !errors.As(err, &e) || !e.temporary() {
			return f, err
		}
		if err := rest(ctx, k.c.done, k.delay(e)); err != nil {
			return nil, err
		}
	}
}

// answered is a page, and what the list wants to know of its question.
type answered struct {
	listPage
	asked uint64
}

// ask asks for a page and has it taken, unless the turn is over meanwhile.
func (l *Conversations) ask(ctx context.Context, k *conn, turn uint64, o outgoing, take func(*answered)) (*answered, error) {
	o.Type = protocol.TypeConversations
	l.mu.Lock()
	asked := l.list.ask()
	l.mu.Unlock()
	f, err := k.request(ctx, o)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.list.asked()
	if err != nil {
		return nil, err
	}
	if turn != l.turn {
		return nil, nil
	}
	page := &answered{asked: asked, listPage: listPage{count: int(f.number("count")), unread: int64(f.number("unread")), next: f.text("next")}}
	if err := f.each("conversations", func(m *incoming) { page.entries = append(page.entries, m.entry()) }); err != nil {
		return nil, err
	}
	take(page)
	return page, nil
}

// after gives the member of a frame that asks for the page after another one.
func after(next string) json.RawMessage {
	raw, err := encode(next)
	if err != nil {
		return nil // no string cannot be encoded
	}
	return raw
}

func channelsOf(list []Entry) []string {
	channels := make([]string, len(list))
	for i, e := range list {
		channels[i] = e.Channel
	}
	return channels
}

// reload reads all of the list that was there.
func (l *Conversations) reload(ctx context.Context, k *conn, turn uint64) error {
	l.mu.Lock()
	l.list.begin()
	l.mu.Unlock()
	live, covers := true, false
	page, err := l.ask(ctx, k, turn, outgoing{Limit: l.options.Page, Live: &live}, func(p *answered) {
		l.list.first(&p.listPage, p.asked)
		covers = l.list.covers(&p.listPage)
	})
	var channels []string
	for err == nil && page != nil {
		channels = append(channels, channelsOf(page.entries)...)
		if covers {
			break
		}
		page, err = l.ask(ctx, k, turn, outgoing{Limit: maxListPage, After: after(page.next)}, func(p *answered) {
			l.list.page(&p.listPage, p.asked)
			covers = l.list.covers(&p.listPage)
		})
	}
	if err != nil || page == nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if turn != l.turn {
		return nil
	}
	l.anew = false
	l.list.settle(&page.listPage, func(channel string) bool { return l.open[channel] != nil })
	for channel := range l.open {
		if _, known := l.list.known[channel]; !known {
			l.list.strange[channel] = true
		}
	}
	l.loaded = true
	l.answerLocked(&l.waiting, nil)
	l.changedLocked(channels...)
	for _, v := range l.open {
		v.entryLocked()
	}
	return nil
}

// refresh reads the first page alone, which has the numbers and what has come to be at the top.
func (l *Conversations) refresh(ctx context.Context, k *conn, turn uint64) error {
	// The members of a large group do not all ask at once.
	if err := rest(ctx, l.c.done, l.options.Pause+rand.N(l.options.Pause)); err != nil {
		return ErrLost
	}
	l.mu.Lock()
	over := turn != l.turn
	l.mu.Unlock()
	if over {
		return nil
	}
	_, err := l.ask(ctx, k, turn, outgoing{Limit: l.options.Page}, func(p *answered) {
		l.list.first(&p.listPage, p.asked)
		l.changedLocked(channelsOf(p.entries)...)
	})
	return err
}

// strangers reads what no page has had.
func (l *Conversations) strangers(ctx context.Context, k *conn, turn uint64) error {
	l.mu.Lock()
	channels := slices.Sorted(maps.Keys(l.list.strange))
	l.mu.Unlock()
	for _, channel := range channels {
		l.mu.Lock()
		if turn != l.turn {
			l.mu.Unlock()
			return nil
		}
		asked := l.list.ask()
		l.mu.Unlock()
		f, err := k.request(ctx, outgoing{Type: protocol.TypeConversation, Channel: channel})
		l.mu.Lock()
		err = l.strangerLocked(channel, asked, turn, f, err)
		l.list.asked()
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Conversations) strangerLocked(channel string, asked, turn uint64, f *incoming, err error) error {
	var e *Error
	switch {
	case turn != l.turn:
		return nil
	case err == nil:
		if m := f.member("conversation"); m != nil {
			l.list.merge(m.entry(), asked)
		}
	case errors.As(err, &e) && (e.Code == Denied || e.Code == NotFound || e.Code == BadRequest):
		l.list.none(channel, asked)
	default:
		return err
	}
	l.changedLocked(channel)
	return nil
}

// further reads the next page, for who wants to see more.
func (l *Conversations) further(ctx context.Context, k *conn, turn uint64) error {
	l.mu.Lock()
	next, waiting := l.list.next, l.wanted
	l.wanted = nil
	l.mu.Unlock()
	var err error
	done := next == ""
	if !done {
		_, err = l.ask(ctx, k, turn, outgoing{Limit: l.options.Page, After: after(next)}, func(p *answered) {
			l.list.page(&p.listPage, p.asked)
			l.list.down(&p.listPage)
			l.changedLocked(channelsOf(p.entries)...)
			done = true
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if done {
		l.answerLocked(&waiting, nil)
	} else {
		l.wanted = append(waiting, l.wanted...) // with the next connection
	}
	return err
}

// Direct gives the conversation with another user, also one that has not begun. It waits for a
// connection, because the name tells who one is oneself.
func (l *Conversations) Direct(ctx context.Context, user string) (*Conversation, error) {
	k, err := l.c.connected(ctx)
	if err != nil {
		return nil, err
	}
	return l.c.Conversation(DirectChannel(l.options.Direct, k.user, user)), nil
}

// Create makes a group whose owner is the user.
func (l *Conversations) Create(ctx context.Context, channel string, group NewGroup) (*Conversation, error) {
	params := struct {
		Channel string          `json:"channel"`
		Users   []string        `json:"users"`
		Data    json.RawMessage `json:"data,omitempty"`
		Join    JoinRule        `json:"join,omitempty"`
	}{channel, append([]string{}, group.Users...), nil, group.Join}
	if group.Data != nil {
		raw, err := encodeData("Data", group.Data)
		if err != nil {
			return nil, err
		}
		params.Data = raw
	}
	if err := l.c.Call(ctx, "chat.create", params, nil); err != nil {
		return nil, err
	}
	return l.c.Conversation(channel), nil
}

// Block lets a user no longer write to this one, or bring him into a group; or again, with
// blocked false. It tells whether that is new.
func (l *Conversations) Block(ctx context.Context, user string, blocked bool) (changed bool, err error) {
	var out struct{ Changed bool }
	err = l.verb(ctx, "chat.block", map[string]any{"peer": user, "blocked": blocked}, &out)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if channels := l.list.peers(user, func(p *Peer) { p.Blocked = blocked }); len(channels) > 0 {
		l.tellLocked(channels...)
	}
	return out.Changed, nil
}

// Blocked lists whom the user has blocked.
func (l *Conversations) Blocked(ctx context.Context, query PageQuery) (BlockedPage, error) {
	var out struct {
		Items []struct {
			User  string
			Since int64
		}
		Next string
	}
	if err := l.verb(ctx, "chat.blocked", query.params(""), &out); err != nil {
		return BlockedPage{}, err
	}
	page := BlockedPage{Next: out.Next}
	for _, b := range out.Items {
		page.List = append(page.List, Blocked{b.User, time.UnixMilli(b.Since)})
	}
	return page, nil
}

// params gives a query as the server's methods want it.
func (q PageQuery) params(channel string) any {
	return struct {
		Channel string `json:"channel,omitempty"`
		After   string `json:"after,omitempty"`
		Limit   int    `json:"limit,omitempty"`
	}{channel, q.After, q.Limit}
}

// verb calls a method of the server's that may be called twice.
func (l *Conversations) verb(ctx context.Context, method string, in, out any) error {
	raw, err := encodeData("in", in)
	if err != nil {
		return err
	}
	f, err := l.c.ask(ctx, outgoing{Type: protocol.TypeCall, Method: method, Data: raw}, always)
	if err != nil {
		return err
	}
	return json.Unmarshal(f.data(), out)
}
