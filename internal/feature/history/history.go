// Package history is what was said before in a log channel: reading it, and
// withdrawing a message. It answers the frame history and offers the verbs
// history and recall.
//
// It keeps nothing; the messages are in the store.
package history

import (
	"context"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Feature is the history of the log channels of one server.
type Feature struct {
	hub    *hub.Hub
	feeds  *feed.Feeds
	bytes  func() int
	hidden Hidden     // nil: nothing is
	also   RecallPush // nil: there are no pushes
}

// Hidden tells up to which seq messages of a channel are hidden from a session, although
// they are kept; zero: none is. Its error is what the client is told.
type Hidden func(ctx context.Context, s *session.Session, space *hub.Space, channel string) (uint64, error)

// RecallPush withdraws a message that was pushed to users, and tells from how many, and
// whether that is news. Its error is not_found when there is no such message.
type RecallPush func(ctx context.Context, message string) (news bool, count int, err error)

// AlsoRecall has the verb recall withdraw pushes, too. It is called before the first
// recall.
func (f *Feature) AlsoRecall(pushes RecallPush) { f.also = pushes }

// Bounds of a page.
const (
	defaultLimit = 50
	maxLimit     = 500
)

// New registers the feature's frame and verbs. bytes gives how much data a page
// may hold: after the message that reaches it there is another page. hidden, which may
// be nil, is asked for the frame; the verb shows everything.
func New(h *hub.Hub, feeds *feed.Feeds, bytes func() int, sessions *session.Server, verbs *verb.Registry, hidden Hidden) *Feature {
	f := &Feature{hub: h, feeds: feeds, bytes: bytes, hidden: hidden}
	f.registerFrames(sessions)
	f.registerVerbs(verbs)
	return f
}

// read reads one page without the messages up to floor, as if those were gone. before
// and after are seqs; -1: not given.
func (f *Feature) read(ctx context.Context, channel string, before, after, limit int64, floor uint64) (store.Page, error) {
	switch {
	case before >= 0 && after >= 0:
		return store.Page{}, fault.Field("before", "cannot be given together with after")
	case before == 0:
		return store.Page{}, fault.Field("before", "0 is not a seq; they begin with 1")
	}
	q := store.Query{Channel: channel, Limit: int(limit), Bytes: f.bytes(), Backward: after < 0}
	if q.Backward {
		q.Before = uint64(max(0, before))
	} else {
		q.After = max(uint64(after), floor)
	}
	page, err := f.feeds.History(ctx, q)
	if q.Backward && err == nil {
		cut(&page, floor)
	}
	return page, err
}

// cut ends a page that was read backwards after the floor.
func cut(page *store.Page, floor uint64) {
	list := page.Messages
	for len(list) > 0 && list[0].Seq <= floor {
		list = list[1:]
	}
	if len(list) < len(page.Messages) || len(list) > 0 && list[0].Seq == floor+1 {
		page.More = false
	}
	page.Messages = list
}

// checkKind tells that a channel has no history.
func checkKind(field string, space *hub.Space) error {
	if !space.IsLog() {
		return fault.Field(field, "an %s channel keeps nothing", space.Kind)
	}
	return nil
}

// appendPage appends the members of a page: messages, more, epoch, seq.
func appendPage(b []byte, channel string, page store.Page) []byte {
	b = append(b, `"messages":[`...)
	for i := range page.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = feed.AppendKept(b, channel, &page.Messages[i])
	}
	b = strconv.AppendBool(append(b, `],"more":`...), page.More)
	b = protocol.AppendString(append(b, `,"epoch":`...), page.Head.Epoch)
	return strconv.AppendUint(append(b, `,"seq":`...), page.Head.Top, 10)
}
