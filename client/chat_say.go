package client

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// Send sends a message, which is shown at once as [MessagePending], and waits until it is stored; a
// lost connection does not matter. data is encoded as JSON. With an error it stays there as
// [MessageFailed] until [Conversation.Retry] or [Conversation.Discard]; where ctx has ended it may have been
// stored all the same, which a Retry finds out. event "" is "message"; a Key is made when
// options has none, Once is ignored.
func (v *Conversation) Send(ctx context.Context, event string, data any, options PublishOptions) (Published, error) {
	raw, err := encodeData("data", data)
	if err != nil {
		return Published{}, err
	}
	if options.Key == "" {
		options.Key = newKey()
	}
	options.Once = false
	if event == "" {
		event = protocol.DefaultEvent
	}
	v.l.mu.Lock()
	own := v.time.send(v.ch.name, v.l.senderLocked(), event, raw, options)
	v.typed = time.Time{}
	v.l.tellLocked(v.ch.name)
	v.l.mu.Unlock()
	return v.put(ctx, own)
}

// senderLocked is who this client is.
func (l *Conversations) senderLocked() Sender {
	s := Sender{User: l.me}
	if len(l.mine) > 0 {
		s.Connection = l.mine[len(l.mine)-1]
	}
	return s
}

// Retry sends a message again that has failed.
func (v *Conversation) Retry(ctx context.Context, key string) (Published, error) {
	v.l.mu.Lock()
	known := v.time.find(key)
	if known == nil {
		v.l.mu.Unlock()
		return Published{}, wrong("key", "no message that has failed has the key %q", key)
	}
	own := v.time.send(v.ch.name, known.From, known.Event, known.Data, PublishOptions{Key: key, Reply: known.Reply, Mentions: known.Mentions})
	v.l.tellLocked(v.ch.name)
	v.l.mu.Unlock()
	return v.put(ctx, own)
}

// Discard forgets a message that has failed.
func (v *Conversation) Discard(key string) {
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	if own := v.time.find(key); own != nil && own.err != nil {
		v.time.take(own)
		v.l.tellLocked(v.ch.name)
	}
}

// put publishes a message that is shown.
func (v *Conversation) put(ctx context.Context, own *ownMessage) (Published, error) {
	p, err := v.ch.Publish(ctx, own.Event, own.Data, PublishOptions{Key: own.key, Reply: own.Reply, Mentions: own.Mentions})
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	switch {
	case err != nil:
		own.err, own.seen = err, 0
	case p.Seq == 0:
		v.time.take(own) // the application has answered it
	default:
		v.time.sent(own, p.Message, p.Seq)
		v.handed = max(v.handed, p.Seq)
		v.toldLocked(p.Seq, p.Seq) // who writes has read what is before
		v.l.markedLocked(v.ch.name, p.Seq, p.Seq)
	}
	v.l.tellLocked(v.ch.name)
	return p, err
}

// Edit puts other content in the place of a message of one's own; event "" leaves its name as it
// is. reply is what the application has answered in place of the change; nil: it has not.
func (v *Conversation) Edit(ctx context.Context, seq uint64, event string, data any) (reply json.RawMessage, err error) {
	raw, err := encodeData("data", data)
	if err != nil {
		return nil, err
	}
	f, err := v.l.c.ask(ctx, outgoing{Type: protocol.TypeEdit, Channel: v.ch.name, Seq: seq, Event: event, Data: raw}, always)
	if err != nil {
		return nil, err
	}
	return f.raw("reply"), nil
}

// Recall withdraws a message: one's own, or as an admin that of another. One that is not there,
// or was withdrawn before, is [NotFound].
func (v *Conversation) Recall(ctx context.Context, seq uint64) error {
	o := outgoing{Type: protocol.TypeRecall, Channel: v.ch.name, Seq: seq}
	_, err := v.l.c.ask(ctx, o, never)
	if !errors.Is(err, ErrLost) {
		return err
	}
	// It may have been carried out: then it is not there any more.
	var e *Error
	if _, err = v.l.c.ask(ctx, o, always); errors.As(err, &e) && e.Code == NotFound {
		return nil
	}
	return err
}

// Typing tells the others that the user types, or no longer does. They are told every few
// seconds, however often it is called, and nobody is when there is no connection.
func (v *Conversation) Typing(on bool) {
	v.l.mu.Lock()
	since := time.Since(v.typed)
	k := v.l.k
	if k == nil || on && since < typingAgain || !on && since > typingLasts {
		v.l.mu.Unlock()
		return
	}
	v.typed = time.Time{}
	if on {
		v.typed = time.Now()
	}
	v.l.mu.Unlock()
	raw := json.RawMessage("false")
	if on {
		raw = json.RawMessage("true")
	}
	o := outgoing{Type: protocol.TypeNotice, Channel: v.ch.name, Event: typing, Data: raw}
	// Nobody misses what is lost of it.
	if _, err := k.ask(o, func(*incoming, error) {}); err != nil {
		v.l.c.fault(err)
	}
}

// Members lists who is in the conversation, by their ids.
func (v *Conversation) Members(ctx context.Context, query PageQuery) (MemberPage, error) {
	var out struct {
		Items []struct {
			User            string
			Role            Role
			Since           int64
			Delivered, Read uint64
		}
		Next    string
		Members int
	}
	if err := v.l.verb(ctx, "chat.members", query.params(v.ch.name), &out); err != nil {
		return MemberPage{}, err
	}
	page := MemberPage{Next: out.Next, Count: out.Members}
	v.l.mu.Lock()
	defer v.l.mu.Unlock()
	here := map[string]bool{}
	for _, m := range out.Items {
		here[m.User] = true
		page.List = append(page.List, ChatMember{m.User, m.Role, time.UnixMilli(m.Since), m.Delivered, m.Read})
		v.markLocked(Mark{User: m.User, Delivered: m.Delivered, Read: m.Read})
	}
	if query.After == "" && out.Next == "" {
		maps.DeleteFunc(v.marks, func(user string, _ Mark) bool { return !here[user] }) // they have left
	}
	v.l.tellLocked(v.ch.name)
	return page, nil
}

// chatCall is what calls about a conversation say.
type chatCall struct {
	Channel string          `json:"channel"`
	Users   []string        `json:"users,omitempty"`
	User    string          `json:"user,omitempty"`
	Role    Role            `json:"role,omitempty"`
	Level   AlertLevel      `json:"level,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Join    JoinRule        `json:"join,omitempty"`
}

// call calls a method of the server's. A lost connection is [ErrLost].
func (v *Conversation) call(ctx context.Context, method string, in chatCall, out any) error {
	in.Channel = v.ch.name
	return v.l.c.Call(ctx, "chat."+method, in, out)
}

// Invite brings users into a group; role "" is RoleMember.
func (v *Conversation) Invite(ctx context.Context, role Role, users ...string) (out Invited, err error) {
	err = v.call(ctx, "invite", chatCall{Users: users, Role: role}, &out)
	return out, err
}

// Join has the user come into a group by himself, where everybody may.
func (v *Conversation) Join(ctx context.Context) (out Invited, err error) {
	err = v.call(ctx, "join", chatCall{}, &out)
	return out, err
}

// Remove ends memberships of others.
func (v *Conversation) Remove(ctx context.Context, users ...string) (out Removed, err error) {
	err = v.call(ctx, "remove", chatCall{Users: users}, &out)
	return out, err
}

// Leave ends the user's own membership.
func (v *Conversation) Leave(ctx context.Context) (out Removed, err error) {
	err = v.call(ctx, "leave", chatCall{}, &out)
	return out, err
}

// SetRole gives a member another role. was is the one he had.
func (v *Conversation) SetRole(ctx context.Context, user string, role Role) (was Role, err error) {
	var out struct{ Was Role }
	err = v.call(ctx, "role", chatCall{User: user, Role: role}, &out)
	return out.Was, err
}

// Set changes what is kept about a group.
func (v *Conversation) Set(ctx context.Context, change GroupChange) (out Group, err error) {
	in := chatCall{Join: change.Join}
	if change.Data != nil {
		if in.Data, err = encodeData("Data", change.Data); err != nil {
			return out, err
		}
	}
	err = v.call(ctx, "set", in, &out)
	return out, err
}

// SetAlerts says of which messages the user wants to be told while he is away. was is what it
// was.
func (v *Conversation) SetAlerts(ctx context.Context, level AlertLevel) (was AlertLevel, err error) {
	var out struct{ Was AlertLevel }
	err = v.call(ctx, "alerts", chatCall{Level: level}, &out)
	return out.Was, err
}

// Delete ends a group for all. members is how many it had.
func (v *Conversation) Delete(ctx context.Context) (members int, err error) {
	var out struct{ Removed int }
	err = v.call(ctx, "delete", chatCall{}, &out)
	return out.Removed, err
}
