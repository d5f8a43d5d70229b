// Package presence tells who is subscribed to a channel. It answers the frame
// presence and offers the verb presence. Join and leave are announced by the
// hub. It stores nothing: presence is what is connected now.
package presence

import (
	"context"
	"encoding/json"
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
		var members []hub.Member
		connections, users := 0, 0
		if ch != nil {
			connections, users = ch.Counts()
			if space.Presence == hub.PresenceMembers {
				members = ch.Members(hub.MaxMembers)
			}
		}
		if space.Presence == hub.PresenceMembers {
			b = append(b, `,"members":[`...)
			for i, m := range members {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendMember(b, m)
			}
			b = append(b, ']')
		}
		b = strconv.AppendInt(append(b, `,"connections":`...), int64(connections), 10)
		return strconv.AppendInt(append(b, `,"users":`...), int64(users), 10)
	})
	return nil
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

// Params of the verb presence.
type Params struct {
	Channel string `json:"channel"`
}

// Result of the verb presence.
type Result struct {
	Members     []Member `json:"members" jsonschema:"at most 1000"`
	Connections int      `json:"connections"`
	Users       int      `json:"users"`
}

// Member is one user, or one anonymous connection, that is subscribed.
type Member struct {
	User        string          `json:"user,omitempty"`
	Connections int             `json:"connections"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// verb answers the server, to whom everything is shown.
func (f *Feature) verb(_ context.Context, p Params) (Result, error) {
	r := Result{Members: []Member{}}
	namespace, err := protocol.Namespace("channel", p.Channel)
	if err != nil {
		return r, err
	}
	if f.hub.Space(namespace) == nil {
		return r, fault.New(fault.NotFound, "channel: namespace %q is not configured", namespace)
	}
	ch := f.hub.Channel(p.Channel)
	if ch == nil {
		return r, nil
	}
	r.Connections, r.Users = ch.Counts()
	for _, m := range ch.Members(hub.MaxMembers) {
		r.Members = append(r.Members, Member{User: m.User, Connections: m.Connections, Data: m.Data})
	}
	return r, nil
}
