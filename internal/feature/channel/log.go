package channel

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// subLog subscribes to a log channel, from the place that the client asks for.
func (f *Feature) subLog(ctx context.Context, s *session.Session, fr *protocol.Frame, channel string, space *hub.Space, opt hub.SubOptions) error {
	from, err := fromOf(&fr.Object)
	if err == nil {
		from.Floor, err = f.hidden(ctx, space, channel, s.User())
	}
	if err != nil {
		return err
	}
	_, err = f.feeds.Subscribe(ctx, &s.Conn, channel, space, from, opt, func(j feed.Joining) []byte {
		return session.OKFrame(fr.ID, func(b []byte) []byte {
			b = appendHead(appendChannel(b, channel, space), j)
			if j.Asked {
				b = strconv.AppendBool(append(b, `,"recovered":`...), j.Recovered)
			}
			return b
		})
	})
	return err
}

// hidden is the seq up to which a user does not see what was said in a channel.
func (f *Feature) hidden(ctx context.Context, space *hub.Space, channel, user string) (uint64, error) {
	if space.Chat == nil {
		return 0, nil
	}
	hidden, _, err := f.chats().Member(ctx, space, channel, user)
	return hidden, err
}

func appendHead(b []byte, j feed.Joining) []byte {
	b = protocol.AppendString(append(b, `,"epoch":`...), j.Epoch)
	return strconv.AppendUint(append(b, `,"seq":`...), j.Seq, 10)
}

// fromOf reads since, last and echo.
func fromOf(o *protocol.Object) (from feed.From, err error) {
	if from.Echo, err = o.Bool("echo", true); err != nil {
		return from, err
	}
	last, err := o.Int("last", 0, 0, protocol.MaxInt)
	if err != nil {
		return from, err
	}
	from.Last = uint64(last)
	epoch, seq, given, err := sinceOf(o, "seq")
	if err != nil || !given {
		return from, err
	}
	if o.Raw("last") != nil {
		return from, fault.Field("last", "cannot be given together with since")
	}
	if epoch == "" && seq > 0 {
		return from, fault.Field("since.epoch", "is missing")
	}
	from.Since = &feed.Position{Epoch: epoch, Seq: seq}
	return from, nil
}

// sinceOf reads since: the place that a client has, which is called seq or version.
func sinceOf(o *protocol.Object, place string) (epoch string, n uint64, given bool, err error) {
	raw := o.Raw("since")
	if raw == nil {
		return "", 0, false, nil
	}
	if raw[0] != '{' {
		return "", 0, true, fault.Field("since", "must be an object such as {\"epoch\": \"…\", %q: 7}, not %s", place, protocol.KindOf(raw))
	}
	since := protocol.GetObject()
	defer protocol.PutObject(since)
	if err := since.Read(raw, 4); err != nil {
		return "", 0, true, fault.Field("since", "%s", err)
	}
	at, err := since.Int(place, -1, 0, protocol.MaxInt)
	if err == nil && at < 0 {
		err = fault.Field(place, "is missing")
	}
	if err == nil {
		epoch, err = since.String("epoch", protocol.MaxKey)
	}
	if e := fault.Of(err); e != nil {
		return "", 0, true, fault.Wrap(e.Code, nil, "since.%s", e.Message)
	}
	return epoch, uint64(at), true, nil
}

// pubLog stores a client's message.
func (f *Feature) pubLog(ctx context.Context, s *session.Session, fr *protocol.Frame, channel string, space *hub.Space, event string, data []byte, key string, meta store.Meta) error {
	m := message(channel, event, data, s.Sender())
	a, err := f.store(ctx, m, space, s.KeyScope(key), meta, nil)
	if err != nil {
		return err
	}
	if fr.ID == nil {
		return nil
	}
	var reach hub.Reach
	switch {
	case a.Duplicate:
	case space.Chat != nil:
		reach = f.chats().Reach(ctx, space, channel, m.From.User, nil)
	case f.hub.WantsOwn(&s.Conn, channel):
		reach = f.hub.Reach(channel, nil)
	default:
		reach = f.hub.Reach(channel, []*hub.Conn{&s.Conn})
	}
	s.OK(fr, func(b []byte) []byte {
		b = protocol.AppendString(append(b, `,"message":`...), a.ID)
		b = strconv.AppendUint(append(b, `,"seq":`...), a.Seq, 10)
		b = appendReach(b, reach, true)
		if a.Duplicate {
			b = append(b, `,"duplicate":true`...)
		}
		return b
	})
	return nil
}

// store appends a message to its channel. scope is the key with whose it is, ""
// for none.
func (f *Feature) store(ctx context.Context, m *protocol.Msg, space *hub.Space, scope string, meta store.Meta, except []*hub.Conn) (store.Appended, error) {
	a, err := f.record(ctx, m, space, scope, meta)
	if err != nil {
		return store.Appended{}, err
	}
	stored, err := f.feeds.Publish(ctx, a, except)
	if err != nil {
		return stored, refused(err, m.Channel)
	}
	if space.Chat != nil {
		f.chats().Appended(ctx, space, m.Channel, stored)
	}
	return stored, nil
}

// refused is an error of storing a message as its author sees it.
func refused(err error, channel string) error {
	if errors.Is(err, store.ErrDenied) {
		return session.Denied(publish, channel)
	}
	return err
}

// record is a message as the store takes it.
func (f *Feature) record(ctx context.Context, m *protocol.Msg, space *hub.Space, scope string, meta store.Meta) (store.Append, error) {
	if limit := f.limit(); len(m.Data) > limit {
		return store.Append{}, fault.New(fault.TooLarge, "data: has %d bytes; at most %d are allowed in a message that is kept (limits.message)", len(m.Data), limit)
	}
	a := store.Append{Channel: m.Channel, ID: m.ID, Time: m.Time, Event: m.Event, Data: m.Data, Sender: m.From, Keep: space.Count, Meta: meta}
	if space.Chat != nil {
		var err error
		if a.Author, err = f.chats().Author(ctx, space, m.Channel, m.From.User, meta); err != nil {
			return a, err
		}
	}
	if scope != "" {
		key := sha256.Sum256([]byte(scope))
		content := sha256.Sum256(contentOf(m, meta))
		a.Key, a.Content = key[:16], content[:16]
		a.Expires = m.Time + int64(verb.DefaultKeyTTL/time.Millisecond)
	}
	return a, nil
}

// contentOf is what a key stands for.
func contentOf(m *protocol.Msg, meta store.Meta) []byte {
	b := append([]byte(m.Event+"\x00"), m.Data...)
	if meta.Reply != 0 || len(meta.Mentions) > 0 { // behind a byte that JSON does not have
		b = strconv.AppendUint(append(b, 0), meta.Reply, 10)
		for _, user := range meta.Mentions {
			b = append(append(b, 0), user...)
		}
	}
	return b
}

// Publish publishes a message that some other door has taken: from is whose it is,
// empty for the server's. In a conversation that must be a member who may write. data is raw JSON.
func (f *Feature) Publish(ctx context.Context, from protocol.Sender, channel, event string, data []byte, except []*hub.Conn) error {
	space, err := f.space("channel", channel)
	if err != nil {
		return err
	}
	if event, err = protocol.Event("event", event); err != nil {
		return err
	}
	if err := f.takes("channel", space); err != nil {
		return err
	}
	m := message(channel, event, data, from)
	if space.IsLog() {
		_, err = f.store(ctx, m, space, "", store.Meta{}, except)
		return err
	}
	_, err = f.hub.Publish(ctx, channel, frameOf(m), except)
	return err
}
