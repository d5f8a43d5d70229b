// Package channel is live channels: subscribing, publishing, notices. It
// answers the frames sub, unsub, pub and notice, and offers the verbs publish,
// subscribe, unsubscribe and channels.
//
// Messages of an event channel are handed to whoever is subscribed at that
// moment and kept nowhere. Those of a log channel are stored first; what happens
// to them then is the business of internal/feed. Documents are subscribed to here,
// too; their patches are not published (internal/feature/document).
package channel

import (
	"context"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Config of a [Feature].
type Config struct {
	Hub           *hub.Hub
	Feeds         *feed.Feeds
	Documents     *document.Documents
	Memo          *verb.Memo
	Subscriptions func() int // per connection
	Message       func() int // bytes of data of a message that is stored
	// Stamp grows with each change of a user's memberships; Steady keeps the members of a
	// channel as they are until release is called. Nil: there are no members.
	Stamp  func(user string) uint64
	Steady func(channel string) (release func())
	// Conversations knows the channels that are conversations. Nil: there are none.
	Conversations func() Conversations
}

// Conversations are the channels whose members have roles. A user who is "" is the server.
type Conversations interface {
	// Named checks the name of a conversation; field is what its error names.
	Named(space *hub.Space, field, channel string) error
	// Meant checks what a user says beside a message: what he answers, and whom he mentions.
	Meant(ctx context.Context, space *hub.Space, channel, user string, meta store.Meta) error
	// Author is what the store has to know of who says something.
	Author(ctx context.Context, space *hub.Space, channel, user string, meta store.Meta) (*store.Author, error)
	// Appended is told what became of it.
	Appended(ctx context.Context, space *hub.Space, channel string, a store.Appended)
	// Reach counts the other members who are connected, and their connections, without some.
	Reach(ctx context.Context, space *hub.Space, channel, user string, except []*hub.Conn) hub.Reach
	// Member tells whether a user is a member, and up to which seq he does not see what was said.
	Member(ctx context.Context, space *hub.Space, channel, user string) (hidden uint64, is bool, err error)
}

// Feature is the channels of one server.
type Feature struct {
	hub           *hub.Hub
	feeds         *feed.Feeds
	documents     *document.Documents
	memo          *verb.Memo
	subscriptions func() int
	limit         func() int
	stamp         func(user string) uint64
	steady        func(channel string) (release func())
	chats         func() Conversations
}

// New registers the feature's frames and verbs.
func New(cfg Config, sessions *session.Server, verbs *verb.Registry) *Feature {
	f := &Feature{hub: cfg.Hub, feeds: cfg.Feeds, documents: cfg.Documents, memo: cfg.Memo, subscriptions: cfg.Subscriptions, limit: cfg.Message, stamp: cfg.Stamp, steady: cfg.Steady, chats: cfg.Conversations}
	if f.stamp == nil {
		f.stamp, f.steady = func(string) uint64 { return 0 }, func(string) func() { return func() {} }
	}
	f.registerFrames(sessions)
	f.registerVerbs(verbs)
	return f
}

// space finds the rules of a channel that the server itself uses.
func (f *Feature) space(field, channel string) (*hub.Space, error) {
	namespace, err := protocol.Namespace(field, channel)
	if err != nil {
		return nil, err
	}
	space := f.hub.Space(namespace)
	if space == nil {
		return nil, fault.New(fault.NotFound, "%s: namespace %q is not configured", field, namespace)
	}
	if space.Chat != nil {
		err = f.chats().Named(space, field, channel)
	}
	return space, err
}

// message makes a message with a fresh id.
func message(channel, event string, data []byte, from protocol.Sender) *protocol.Msg {
	now := time.Now()
	return &protocol.Msg{Channel: channel, ID: id.Message(now), Event: event, Data: data, From: from, Time: now.UnixMilli()}
}

func frameOf(m *protocol.Msg) []byte {
	return protocol.AppendMsg(make([]byte, 0, len(m.Data)+len(m.Channel)+len(m.From.User)+len(m.From.Device)+200), m)
}

// rights that the frames of this package ask for.
const (
	subscribe = auth.Sub
	publish   = auth.Pub
)
