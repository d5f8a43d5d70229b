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
)

// Config of a [Feature].
type Config struct {
	Hub           *hub.Hub
	Feeds         *feed.Feeds
	Documents     *document.Documents
	Memo          *verb.Memo
	Subscriptions func() int // per connection
	Message       func() int // bytes of data of a message that is stored
}

// Feature is the channels of one server.
type Feature struct {
	hub           *hub.Hub
	feeds         *feed.Feeds
	documents     *document.Documents
	memo          *verb.Memo
	subscriptions func() int
	limit         func() int
}

// New registers the feature's frames and verbs.
func New(cfg Config, sessions *session.Server, verbs *verb.Registry) *Feature {
	f := &Feature{hub: cfg.Hub, feeds: cfg.Feeds, documents: cfg.Documents, memo: cfg.Memo, subscriptions: cfg.Subscriptions, limit: cfg.Message}
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
	return space, nil
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
