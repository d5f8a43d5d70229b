// Package presence tells who is subscribed to a channel. It answers the frame
// presence and offers the verb presence. Join and leave, and the counts of large
// channels, are announced by the hub. It stores nothing and has no goroutines:
// presence is what is connected now.
package presence

import (
	"context"
	"strconv"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// maxData bounds what a connection shows of itself, since it is sent to every
// watcher.
const maxData = 4 << 10

// Feature is presence on one server.
type Feature struct{ hub *hub.Hub }

// New registers the feature's frame and verb.
func New(h *hub.Hub, sessions *session.Server, verbs *verb.Registry) *Feature {
	f := &Feature{hub: h}
	sessions.Handle(protocol.TypePresence, f.frame)
	verb.Add(verbs, "presence", "Tells who is subscribed to a channel.", f.verb)
	return f
}

// frame answers `presence`.
func (f *Feature) frame(ctx context.Context, s *session.Session, fr *protocol.Frame) error {
	channel, space, err := s.Space(ctx, fr, auth.Presence)
	if err != nil {
		return err
	}
	if space.Presence == hub.PresenceNone {
		return fault.New(fault.Denied, "presence is not shown in %s", channel)
	}
	ch := f.hub.Channel(channel)
	if fr.Has("data") {
		data := fr.Raw("data")
		if len(data) > maxData {
			return fault.New(fault.TooLarge, "data: has %d bytes; at most %d are allowed", len(data), maxData)
		}
		if ch == nil || !f.hub.SetPresence(&s.Conn, ch, append([]byte(nil), data...)) {
			return fault.Field("data", "subscribe to the channel first")
		}
	}
	s.OK(fr, func(b []byte) []byte {
		b = protocol.AppendString(append(b, `,"channel":`...), channel)
		return appendShown(b, f.shown(ch, space), space)
	})
	return nil
}

// shown is what a client may see.
func (f *Feature) shown(ch *hub.Channel, space *hub.Space) (shown hub.Shown) {
	switch {
	case ch == nil:
	case space.Presence == hub.PresenceMembers:
		return f.hub.Shown(ch)
	default:
		shown.Connections, shown.Users = ch.Counts()
	}
	return shown
}

func appendShown(b []byte, shown hub.Shown, space *hub.Space) []byte {
	if space.Presence == hub.PresenceMembers && !shown.Large {
		b = append(b, `,"members":[`...)
		for i, m := range shown.Members {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendMember(b, m)
		}
		b = append(b, ']')
	}
	b = strconv.AppendInt(append(b, `,"connections":`...), int64(shown.Connections), 10)
	b = strconv.AppendInt(append(b, `,"users":`...), int64(shown.Users), 10)
	if shown.Large {
		b = append(b, `,"large":true`...)
	}
	return b
}

func appendMember(b []byte, m hub.Member) []byte {
	b = append(b, '{')
	if m.User != "" {
		b = protocol.AppendString(append(b, `"user":`...), m.User)
		b = append(b, ',')
	}
	b = strconv.AppendInt(append(b, `"connections":`...), int64(m.Connections), 10)
	if m.Data != nil {
		b = append(append(b, `,"data":`...), m.Data...)
	}
	return append(b, '}')
}
