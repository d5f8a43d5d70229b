package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// change is other content for a message.
type change struct {
	channel string
	space   *hub.Space
	seq     uint64
	event   string // "": as it is
	data    []byte
}

// editFrame answers `edit`.
func (f *Feature) editFrame(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	c, err := f.frame(s, fr)
	if err != nil {
		return err
	}
	if c.event, err = fr.String("event", protocol.MaxEvent); err == nil && c.event != "" {
		c.event, err = protocol.Event("event", c.event)
	}
	if err != nil {
		return err
	}
	if !fr.Has("data") {
		return fault.Field("data", "is missing")
	}
	c.data = fr.Raw("data")
	if _, err := s.Server().Right(ctx, c.space, auth.Pub, c.channel, s.Identity()); err != nil {
		return err
	}
	m, err := f.ownInTime(ctx, &c, s.User(), c.space.Chat.Edit, "edit")
	if err != nil {
		return err
	}
	if reply, err := judged(ctx, s, &c, &m); err != nil || reply != nil {
		if err == nil {
			s.OK(fr, func(b []byte) []byte { return protocol.AppendData(append(b, `,"reply":`...), reply) })
		}
		return err
	}
	if _, err := f.edit(ctx, &c, &m); err != nil {
		return err
	}
	s.OK(fr, nil)
	return nil
}

// judged lets the application decide about an edit by a client. It may answer it, so that
// nothing is changed.
func judged(ctx context.Context, s *session.Session, c *change, m *store.Message) (reply []byte, err error) {
	ask := s.Server().Hooks().Message
	if ask == nil {
		return nil, nil
	}
	asked := session.Message{Channel: c.channel, Space: c.space, Edit: c.seq, Allowed: true, Event: or(c.event, m.Event), Data: c.data}
	if err := ask(ctx, s, &asked); err != nil {
		return nil, err
	}
	if asked.Reply == nil && !asked.Allowed {
		return nil, session.Denied(auth.Pub, c.channel)
	}
	c.event, c.data = asked.Event, asked.Data
	return asked.Reply, nil
}

// frame reads what the frames about one message have in common.
func (f *Feature) frame(s *session.Session, fr *protocol.Frame) (c change, err error) {
	if c.channel, _, err = fr.Channel(); err == nil {
		c.space, err = f.conversation(c.channel)
	}
	if err == nil && s.User() == "" {
		err = errNobody
	}
	if err != nil {
		return c, err
	}
	seq, err := fr.Int("seq", 0, 1, protocol.MaxInt)
	if err == nil && seq == 0 {
		err = fault.Field("seq", "is missing")
	}
	c.seq = uint64(seq)
	return c, err
}

// ownInTime reads a message that its author wants to change.
func (f *Feature) ownInTime(ctx context.Context, c *change, user string, within time.Duration, what string) (store.Message, error) {
	m, err := f.visible(ctx, c.space, c.channel, user, c.seq)
	switch {
	case err != nil:
		return m, err
	case m.Sender.User != user:
		return m, fault.New(fault.Denied, "seq: the message %d is not the user's, who has no right to %s it", c.seq, what)
	}
	return m, f.inTime(&m, within, what)
}

// inTime tells whether a message may still be changed.
func (f *Feature) inTime(m *store.Message, within time.Duration, what string) error {
	switch {
	case within <= 0:
		return fault.New(fault.Denied, "seq: no right to %s messages here", what)
	case f.cfg.Now().Sub(time.UnixMilli(m.Time)) > within:
		return fault.New(fault.Denied, "seq: it is too late to %s the message %d: that is possible for %s", what, m.Seq, within)
	}
	return nil
}

// edit puts other content in the place of m's, and gives the message's id. Content that is
// there changes nothing.
func (f *Feature) edit(ctx context.Context, c *change, m *store.Message) (id string, err error) {
	if limit := f.cfg.Message(); len(c.data) > limit {
		return "", fault.New(fault.TooLarge, "data: has %d bytes; at most %d are allowed in a message that is kept (limits.message)", len(c.data), limit)
	}
	event := or(c.event, m.Event)
	if event == m.Event && bytes.Equal(c.data, m.Data) {
		return m.ID, nil
	}
	e, err := f.cfg.Feeds.Edit(ctx, store.EditMessage{Channel: c.channel, Seq: c.seq, Event: event, Data: c.data, Time: f.cfg.Now().UnixMilli()})
	if e := fault.Of(err); e != nil && e.Code == fault.NotFound {
		err = errNoMessage // it was recalled meanwhile
	}
	return e.ID, err
}

// EditParams are the params of chat.edit.
type EditParams struct {
	Channel string          `json:"channel"`
	Seq     uint64          `json:"seq" jsonschema:"the message's place"`
	Data    json.RawMessage `json:"data" jsonschema:"any JSON"`
	Event   string          `json:"event,omitempty" jsonschema:"event name; absent: as it is"`
	By      string          `json:"by,omitempty" jsonschema:"its author, for whom it is done; of a client's call its user; absent: the server, who may at any time"`
}

// Edited tells which message was edited.
type Edited struct {
	ID    string          `json:"id"`
	Reply json.RawMessage `json:"reply,omitempty" jsonschema:"what the application has answered a client with; then nothing has changed"`
}

func (f *Feature) editVerb(ctx context.Context, p EditParams) (r Edited, err error) {
	user, err := by(ctx, p.By)
	if err != nil {
		return r, err
	}
	c := change{channel: p.Channel, seq: p.Seq, event: p.Event, data: p.Data}
	if c.space, err = f.conversation(p.Channel); err != nil {
		return r, err
	}
	switch {
	case p.Seq == 0:
		err = fault.Field("seq", "is missing")
	case p.Seq > protocol.MaxInt:
		err = fault.Field("seq", "%d is not between 1 and %d", p.Seq, int64(protocol.MaxInt))
	case len(p.Data) == 0:
		err = fault.Field("data", "is missing")
	case p.Event != "":
		_, err = protocol.Event("event", p.Event)
	}
	if err != nil {
		return r, err
	}
	m, err := f.mayEdit(ctx, &c, user)
	if err != nil {
		return r, err
	}
	if s := clientOf(ctx); s != nil {
		if r.Reply, err = judged(ctx, s, &c, &m); err != nil || r.Reply != nil {
			r.ID = m.ID
			return r, err
		}
	}
	r.ID, err = f.edit(ctx, &c, &m)
	return r, err
}

// mayEdit reads a message that a user, or the server, wants to edit.
func (f *Feature) mayEdit(ctx context.Context, c *change, user string) (store.Message, error) {
	if user == "" {
		return f.visible(ctx, c.space, c.channel, "", c.seq)
	}
	if s := clientOf(ctx); s != nil {
		if _, err := s.Server().Right(ctx, c.space, auth.Pub, c.channel, s.Identity()); err != nil {
			return store.Message{}, err
		}
	} else if err := f.May(ctx, c.space, auth.Pub, c.channel, user); err != nil {
		return store.Message{}, err
	}
	return f.ownInTime(ctx, c, user, c.space.Chat.Edit, "edit")
}

// recallFrame answers `recall`.
func (f *Feature) recallFrame(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	c, err := f.frame(s, fr)
	if err != nil {
		return err
	}
	user := s.User()
	if !session.Capable(c.space, auth.Pub, c.channel, s.Identity()) {
		return session.Denied(auth.Pub, c.channel)
	}
	role := store.RoleMember
	if c.space.Chat.Direct {
		_, err = f.direct(c.channel, user)
	} else {
		role, err = f.roleOf(ctx, c.space, c.channel, user)
	}
	switch {
	case err != nil:
		return err
	case role < store.RoleMember:
		return fault.New(fault.Denied, "no right to recall messages of %s", c.channel)
	}
	m, err := f.visible(ctx, c.space, c.channel, user, c.seq)
	if err == nil {
		err = f.mayRecall(ctx, &c, user, role, &m)
	}
	if err != nil {
		return err
	}
	r, err := f.cfg.Feeds.Recall(ctx, store.Recall{Channel: c.channel, Seq: c.seq})
	if e := fault.Of(err); e != nil && e.Code == fault.NotFound || err == nil && r.Already {
		err = errNoMessage
	}
	if err != nil {
		return err
	}
	s.OK(fr, nil)
	return nil
}

// mayRecall tells whether a member may recall a message: his own for some time, as an admin
// that of one with a smaller role at any time.
func (f *Feature) mayRecall(ctx context.Context, c *change, user string, role store.Role, m *store.Message) error {
	author := m.Sender.User
	if author == user {
		return f.inTime(m, c.space.Chat.Recall, "recall")
	}
	if role < store.RoleAdmin || author == "" {
		return fault.New(fault.Denied, "seq: the message %d is not the user's, who has no right to recall it", c.seq)
	}
	theirs, err := f.roleOf(ctx, c.space, c.channel, author)
	if err == nil && max(theirs, store.RoleReader) >= role {
		err = fault.New(fault.Denied, "seq: the author of the message %d has a role that is not smaller", c.seq)
	}
	return err
}
