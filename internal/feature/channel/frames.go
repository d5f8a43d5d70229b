package channel

import (
	"context"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) registerFrames(s *session.Server) {
	s.Handle(protocol.TypeSub, f.sub)
	s.Handle(protocol.TypeUnsub, f.unsub)
	s.Handle(protocol.TypePub, f.pub)
	s.Handle(protocol.TypeNotice, f.notice)
}

// sub answers `sub`.
func (f *Feature) sub(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	user := s.User() // whose rights are looked up
	stamp := f.stamp(user)
	channel, space, by, err := f.maySub(ctx, s, fr)
	if err != nil {
		return err
	}
	presence, err := fr.Bool("presence", false)
	if err != nil {
		return err
	}
	if presence {
		may := space.Presence == hub.PresenceMembers
		if may {
			if may, err = s.MayPresence(ctx, space, channel); err != nil {
				return err
			}
		}
		if !may {
			return fault.New(fault.Denied, "presence: join and leave are not shown in %s", channel)
		}
	}
	opt := hub.SubOptions{Presence: presence, Limit: f.subscriptions(), By: by, User: &user}
	if by&hub.Membership == 0 {
		err = f.subscribeTo(ctx, s, fr, channel, space, opt)
	} else {
		err = f.subscribeMember(ctx, s, fr, channel, space, opt, stamp)
	}
	if f.hub.Space(space.Name) != space {
		s.Recheck() // the rules were replaced between the check and the subscription
	}
	return err
}

// subscribeMember subscribes one who may because he is a member, which was looked up when the
// stamp of his memberships was this one. Whoever ends the membership ends the subscription,
// too, so it must be there by then, or the membership be seen to have ended.
func (f *Feature) subscribeMember(ctx context.Context, s *session.Session, fr *protocol.Frame, channel string, space *hub.Space, opt hub.SubOptions, stamp uint64) error {
	defer f.steady(channel)()
	if f.stamp(*opt.User) != stamp {
		may, err := s.Server().Right(ctx, space, subscribe, channel, s.Identity())
		if err == nil && !may {
			err = session.Denied(subscribe, channel)
		}
		if err != nil {
			return err
		}
	}
	return f.subscribeTo(ctx, s, fr, channel, space, opt)
}

// subscribeTo subscribes a client that may.
func (f *Feature) subscribeTo(ctx context.Context, s *session.Session, fr *protocol.Frame, channel string, space *hub.Space, opt hub.SubOptions) error {
	switch {
	case space.IsLog():
		return f.subLog(ctx, s, fr, channel, space, opt)
	case space.IsDoc():
		return f.subDoc(ctx, s, fr, channel, space, opt)
	}
	return f.subEvent(s, fr, channel, space, opt)
}

// maySub tells whether a client may subscribe, and why.
func (f *Feature) maySub(ctx context.Context, s *session.Session, fr *protocol.Frame) (channel string, space *hub.Space, by hub.Reason, err error) {
	channel, space, allowed, err := s.Find(ctx, fr, subscribe)
	if err != nil {
		return channel, space, 0, err
	}
	by = hub.Asked
	if allowed && !session.Allowed(space, subscribe, channel, s.Identity()) {
		by |= hub.Membership
	}
	if ask := s.Server().Hooks().Subscribe; ask != nil {
		was := allowed
		if allowed, err = ask(ctx, s, channel, allowed); err != nil {
			return channel, space, 0, err
		}
		if allowed && !was {
			by = hub.Granted
		}
	}
	if !allowed {
		return channel, space, 0, session.Denied(subscribe, channel)
	}
	return channel, space, by, nil
}

func (f *Feature) subEvent(s *session.Session, fr *protocol.Frame, channel string, space *hub.Space, opt hub.SubOptions) error {
	for _, field := range [...]string{"since", "last"} {
		if fr.Raw(field) != nil {
			return fault.Field(field, "an event channel keeps nothing, so there is nothing to catch up with")
		}
	}
	opt.Reply = func() []byte {
		return session.OKFrame(fr.ID, func(b []byte) []byte { return appendChannel(b, channel, space) })
	}
	_, err := f.hub.Subscribe(&s.Conn, channel, space, opt)
	return err
}

func appendChannel(b []byte, channel string, space *hub.Space) []byte {
	b = protocol.AppendString(append(b, `,"channel":`...), channel)
	return protocol.AppendString(append(b, `,"kind":`...), space.Kind)
}

// unsub answers `unsub`; leaving a channel twice is fine.
func (f *Feature) unsub(_ context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, _, err := fr.Channel()
	if err != nil {
		return err
	}
	f.hub.Unsubscribe(&s.Conn, channel)
	s.OK(fr, func(b []byte) []byte {
		return protocol.AppendString(append(b, `,"channel":`...), channel)
	})
	return nil
}

// pub answers `pub`.
func (f *Feature) pub(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, space, allowed, err := s.Find(ctx, fr, publish)
	ask := s.Server().Hooks().Message
	if err == nil && !allowed && ask == nil {
		err = session.Denied(publish, channel)
	}
	if err != nil {
		return err
	}
	if err := f.takes("channel", space); err != nil {
		return err
	}
	event, err := eventOf(&fr.Object)
	if err != nil {
		return err
	}
	if !fr.Has("data") {
		return fault.Field("data", "is missing")
	}
	key, err := fr.String("key", protocol.MaxKey)
	if err != nil {
		return err
	}
	meta, err := f.metaOf(ctx, s, &fr.Object, channel, space)
	if err != nil {
		return err
	}
	data := fr.Raw("data")
	if ask != nil {
		m := session.Message{Channel: channel, Space: space, Key: key, Allowed: allowed, Event: event, Data: data}
		if answered, err := f.asked(ctx, s, fr, &m); err != nil || answered {
			return err
		}
		event, data = m.Event, m.Data
	}
	if space.IsLog() {
		return f.pubLog(ctx, s, fr, channel, space, event, data, key, meta)
	}
	send := func() ([]byte, error) {
		m := message(channel, event, data, s.Sender())
		reach, err := f.hub.Publish(ctx, channel, frameOf(m), []*hub.Conn{&s.Conn})
		if err != nil {
			return nil, err
		}
		if fr.ID == nil && key == "" {
			return nil, nil
		}
		b := protocol.AppendString([]byte(`,"message":`), m.ID)
		return appendReach(b, reach, false), nil
	}
	var fields []byte
	if key == "" {
		fields, err = send()
	} else {
		fields, err = f.keyedPub(ctx, s, channel, event, key, data, send)
	}
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return append(b, fields...) })
	return nil
}

// metaOf reads reply and mentions.
func (f *Feature) metaOf(ctx context.Context, s *session.Session, o *protocol.Object, channel string, space *hub.Space) (meta store.Meta, err error) {
	if space.Chat == nil {
		for _, field := range [...]string{"reply", "mentions"} {
			if o.Has(field) {
				return meta, fault.Field(field, "belongs to a conversation, and %s is none", channel)
			}
		}
		return meta, nil
	}
	if meta.Reply, meta.Mentions, err = protocol.ReadMeta(o); err != nil || meta.Reply == 0 && meta.Mentions == nil {
		return meta, err
	}
	return meta, f.chats().Meant(ctx, space, channel, s.User(), meta)
}

// asked lets the application decide about what a client says. It may have answered
// it, so that nothing is published.
func (f *Feature) asked(ctx context.Context, s *session.Session, fr *protocol.Frame, m *session.Message) (answered bool, err error) {
	switch err := s.Server().Hooks().Message(ctx, s, m); {
	case err != nil:
		return false, err
	case m.Reply != nil:
		s.OK(fr, func(b []byte) []byte { return protocol.AppendData(append(b, `,"reply":`...), m.Reply) })
		return true, nil
	case !m.Allowed:
		return false, session.Denied(publish, m.Channel)
	}
	return false, nil
}

// keyedPub publishes once per key. Keys belong to the user, so that a client may
// repeat on a new connection; an anonymous client's belong to its connection.
func (f *Feature) keyedPub(ctx context.Context, s *session.Session, channel, event, key string, data []byte, send func() ([]byte, error)) ([]byte, error) {
	owner := "user\x00" + s.User()
	if s.User() == "" {
		owner = "connection\x00" + s.ID.String()
	}
	content := append([]byte(event+"\x00"), data...)
	fields, repeated, err := f.memo.Do(ctx, owner+"\x00"+channel+"\x00"+key, content, send)
	if err == nil && repeated {
		fields = append(append([]byte(nil), fields...), `,"duplicate":true`...)
	}
	return fields, err
}

// notice answers `notice`: like pub, but the receivers get it as a notice, it
// has no id, and its ok says nothing.
func (f *Feature) notice(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, space, allowed, err := s.Find(ctx, fr, publish)
	ask := s.Server().Hooks().Message
	if err == nil && !allowed && ask == nil {
		err = session.Denied(publish, channel)
	}
	if err != nil {
		return err
	}
	event, err := fr.Required("event", protocol.MaxEvent)
	if err == nil {
		event, err = protocol.Event("event", event)
	}
	if err != nil {
		return err
	}
	said := session.Message{Channel: channel, Space: space, Notice: true, Allowed: allowed, Event: event, Data: fr.Raw("data")}
	if ask != nil {
		if answered, err := f.asked(ctx, s, fr, &said); err != nil || answered {
			return err
		}
	}
	m := message(channel, said.Event, said.Data, s.Sender())
	frame := protocol.AppendNotice(make([]byte, 0, len(m.Data)+256), m)
	if _, err = f.hub.Publish(ctx, channel, frame, []*hub.Conn{&s.Conn}); err != nil {
		return err
	}
	s.OK(fr, nil)
	return nil
}

func eventOf(o *protocol.Object) (string, error) {
	event, err := o.String("event", protocol.MaxEvent)
	if err != nil {
		return "", err
	}
	return protocol.Event("event", event)
}

// appendReach appends the members that every reply to a send has.
func appendReach(b []byte, r hub.Reach, stored bool) []byte {
	b = strconv.AppendInt(append(b, `,"connections":`...), int64(r.Connections), 10)
	b = strconv.AppendInt(append(b, `,"users":`...), int64(r.Users), 10)
	return strconv.AppendBool(append(b, `,"stored":`...), stored)
}
