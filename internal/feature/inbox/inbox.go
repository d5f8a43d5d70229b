// Package inbox is what clients do with the inbox of their user (spec/push.md, section
// 1). It answers the frame mute, and ack, mark, history, sub and unsub for the channel
// @inbox, of which ack need not name it.
//
// It checks, asks and translates; what comes by itself is the business of
// internal/push. It stores nothing and starts no goroutine.
package inbox

import (
	"context"
	"strconv"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Categories is what is known of categories.
type Categories interface {
	// Mutable tells whether users may mute a category; known is false when there is no
	// such category.
	Mutable(name string) (mutable, known bool)
}

// Config of a [Feature].
type Config struct {
	Pushes     *push.Pushes
	Categories Categories
	Page       func() int // bytes of data that an answer may hold, about
}

// Feature is the frames about inboxes of one server.
type Feature struct {
	cfg Config
}

// New registers the frames.
func New(cfg Config, sessions *session.Server) *Feature {
	f := &Feature{cfg: cfg}
	sessions.HandleIn(protocol.Inbox, protocol.TypeAck, of(f.ack))
	sessions.HandleIn("", protocol.TypeAck, of(f.ack))
	sessions.HandleIn(protocol.Inbox, protocol.TypeMark, of(f.mark))
	sessions.Handle(protocol.TypeMute, of(f.mute))
	sessions.HandleIn(protocol.Inbox, protocol.TypeHistory, of(f.history))
	sessions.HandleIn(protocol.Inbox, protocol.TypeSub, of(f.sub))
	sessions.HandleIn(protocol.Inbox, protocol.TypeUnsub, of(f.unsub))
	return f
}

// answers carries out a frame of somebody who has an inbox.
type answers func(ctx context.Context, s *session.Session, user string, fr *protocol.Frame) error

// of lets those alone have answers who have an inbox.
func of(fn answers) session.FrameHandler {
	return func(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
		user := s.User()
		switch {
		case user == "":
			return fault.New(fault.Unauthorized, "a connection without a user has no inbox")
		case !s.Native():
			return fault.New(fault.NotFound, "there is no inbox on this transport")
		}
		return fn(ctx, s, user, fr)
	}
}

// Bounds of a page.
const (
	defaultLimit  = 50
	defaultUnread = 100
	maxLimit      = 500
)

// ack answers `ack`.
func (f *Feature) ack(ctx context.Context, s *session.Session, user string, fr *protocol.Frame) error {
	a := push.Ack{User: user, Device: s.Identity().Device, Conn: &s.Conn}
	switch raw := fr.Raw("messages"); {
	case fr.Raw("seq") != nil && raw != nil:
		return fault.Field("messages", "cannot be given together with seq")
	case raw != nil:
		var err error
		if a.Messages, err = ids(raw); err != nil {
			return err
		}
	case fr.Raw("seq") == nil:
		return fault.Field("seq", "is missing; or give messages")
	default:
		seq, err := fr.Int("seq", 0, 1, protocol.MaxInt)
		if err != nil {
			return err
		}
		a.Seq = uint64(seq)
	}
	a.Then = func(done push.Acked) {
		s.OK(fr, func(b []byte) []byte {
			b = strconv.AppendInt(append(b, `,"acked":`...), int64(done.Count), 10)
			if len(done.Unknown) > 0 {
				b = appendTexts(append(b, `,"unknown":`...), done.Unknown)
			}
			return b
		})
	}
	_, err := f.cfg.Pushes.Ack(ctx, a)
	return err
}

// ids reads the ids of messages.
func ids(raw []byte) ([]string, error) {
	var list []string
	if raw[0] != '[' {
		return nil, fault.Field("messages", "must be a list of ids, not %s", protocol.KindOf(raw))
	}
	err := protocol.EachElement(raw, func(element []byte) error {
		i := len(list)
		id, ok := protocol.Unquote(element)
		switch {
		case i == push.MaxAck:
			return fault.Field("messages", "has more than %d ids", push.MaxAck)
		case !ok:
			return fault.Field("messages["+strconv.Itoa(i)+"]", "must be a string, not %s", protocol.KindOf(element))
		case id == "" || len(id) > protocol.MaxID:
			return fault.Field("messages["+strconv.Itoa(i)+"]", "has %d bytes; 1 to %d are allowed", len(id), protocol.MaxID)
		}
		list = append(list, id)
		return nil
	})
	if err == nil && len(list) == 0 {
		err = fault.Field("messages", "is empty; 1 to %d ids are needed", push.MaxAck)
	}
	return list, err
}

func appendTexts(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, text := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = protocol.AppendString(b, text)
	}
	return append(b, ']')
}

// mark answers `mark`.
func (f *Feature) mark(ctx context.Context, s *session.Session, user string, fr *protocol.Frame) error {
	if fr.Raw("read") == nil {
		return fault.Field("read", "is missing")
	}
	read, err := fr.Int("read", 0, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	m, _, err := f.cfg.Pushes.Read(ctx, user, s.Identity().Device, uint64(read), &s.Conn)
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return push.AppendMark(b, m) })
	return nil
}

// mute answers `mute`.
func (f *Feature) mute(ctx context.Context, s *session.Session, user string, fr *protocol.Frame) error {
	category, err := fr.String("category", fatigue.MaxName)
	if err != nil {
		return err
	}
	muted, err := fr.Bool("muted", false)
	if err != nil {
		return err
	}
	var list []string
	switch mutable, known := f.cfg.Categories.Mutable(category); {
	case category == "" && fr.Raw("category") != nil:
		return fault.Field("category", "is empty")
	case category == "" && fr.Raw("muted") != nil:
		return fault.Field("category", "is missing")
	case category == "":
		list, err = f.cfg.Pushes.Muted(ctx, user)
	case !known:
		return &fault.Error{Code: fault.NotFound, Field: "category", Message: "category: there is no category " + strconv.Quote(category)}
	case fr.Raw("muted") == nil:
		return fault.Field("muted", "is missing")
	case !mutable:
		return &fault.Error{Code: fault.Denied, Field: "category", Message: "category: " + strconv.Quote(category) + " cannot be muted"}
	default:
		list, err = f.cfg.Pushes.Mute(ctx, user, category, muted)
	}
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return appendTexts(append(b, `,"muted":`...), list) })
	return nil
}

// history answers `history` of the inbox.
func (f *Feature) history(ctx context.Context, s *session.Session, user string, fr *protocol.Frame) error {
	before, err := fr.Int("before", -1, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	after, err := fr.Int("after", -1, 0, protocol.MaxInt)
	if err != nil {
		return err
	}
	limit, err := fr.Int("limit", defaultLimit, 1, maxLimit)
	if err != nil {
		return err
	}
	unread, err := fr.Bool("unread", false)
	switch {
	case err != nil:
		return err
	case before >= 0 && after >= 0:
		return fault.Field("before", "cannot be given together with after")
	case before == 0:
		return fault.Field("before", "0 is not a seq; they begin with 1")
	}
	q := store.InboxQuery{User: user, Unread: unread, Limit: int(limit), Bytes: f.cfg.Page(), Backward: after < 0}
	if q.Backward {
		q.Before = uint64(max(0, before))
	} else {
		q.After = uint64(after)
	}
	page, err := f.cfg.Pushes.List(ctx, q)
	if err != nil {
		return err
	}
	s.OK(fr, func(b []byte) []byte { return appendPage(b, &page) })
	return nil
}

// appendPage appends the members of a page, with a comma in front.
func appendPage(b []byte, page *store.InboxPage) []byte {
	b = append(b, `,"messages":[`...)
	for i := range page.Items {
		if i > 0 {
			b = append(b, ',')
		}
		item := &page.Items[i]
		m := push.Msg(&item.Content, item.Seq)
		b = protocol.AppendKept(b, &m)
		b = protocol.AppendString(append(b[:len(b)-1], `,"outcome":`...), item.State.String())
		if item.Read != 0 {
			b = append(b, `,"read":true`...)
		}
		b = append(b, '}')
	}
	b = strconv.AppendBool(append(b, `],"more":`...), page.More)
	return appendHead(b, page)
}

// appendHead appends what is told of the inbox itself.
func appendHead(b []byte, page *store.InboxPage) []byte {
	b = protocol.AppendString(append(b, `,"epoch":`...), page.Inbox.Epoch)
	b = strconv.AppendUint(append(b, `,"seq":`...), page.Inbox.Top, 10)
	return push.AppendMark(b, push.Mark{Read: page.Inbox.Read, Unread: page.Unread})
}

// sub answers `sub` of the inbox. What it shows comes in one piece with the reply.
func (f *Feature) sub(ctx context.Context, s *session.Session, user string, fr *protocol.Frame) error {
	if fr.Raw("since") != nil {
		return fault.Field("since", "what was not acknowledged in the inbox comes by itself")
	}
	unread, err := fr.Bool("unread", false)
	if err != nil {
		return err
	}
	last := int64(0)
	if unread {
		last = defaultUnread
	}
	if last, err = fr.Int("last", last, 0, maxLimit); err != nil {
		return err
	}
	page, err := f.cfg.Pushes.List(ctx, store.InboxQuery{User: user, Unread: unread, Limit: max(1, int(last)), Bytes: f.cfg.Page(), Backward: true})
	if err != nil {
		return err
	}
	if last == 0 {
		page.Items = nil
	}
	var wire []byte
	if ok := session.OKFrame(fr.ID, func(b []byte) []byte {
		b = protocol.AppendString(append(b, `,"channel":`...), protocol.Inbox)
		return appendHead(protocol.AppendString(append(b, `,"kind":`...), hub.KindLog), &page)
	}); ok != nil {
		wire = s.AppendEncoded(wire, ok)
	}
	for i := range page.Items {
		m := push.Msg(&page.Items[i].Content, page.Items[i].Seq)
		wire = s.AppendEncoded(wire, protocol.AppendMsg(nil, &m))
	}
	if len(wire) > 0 {
		s.Outlet().SendControl(wire, nil)
	}
	return nil
}

// unsub refuses `unsub` of the inbox.
func (f *Feature) unsub(context.Context, *session.Session, string, *protocol.Frame) error {
	return fault.Field("channel", "nobody is subscribed to the inbox, and nobody can leave it")
}
