// Package chat is conversations: log channels whose members have roles and marks. It
// says who may write there and what the others are told, keeps marks, lists the
// conversations of a user, tells connections that follow their list of what changes, and
// has members who are away told by a push.
//
// Everything durable is in the store. In memory are the rosters of channels that were
// used lately, and which connections follow their list; both can be had again at any
// time. [Feature.Start] starts the goroutines that tell of messages and push alerts,
// [Feature.Close] ends them and waits.
package chat

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what the feature needs of one.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	Heads(ctx context.Context, channels ...string) ([]store.Head, error)
	Read(ctx context.Context, q store.Query) (store.Page, error)
	LookUsers(ctx context.Context, users ...string) ([]store.User, error)
	Memberships(ctx context.Context, user, after string, limit int) ([]store.Membership, error)
	IsMember(ctx context.Context, channel string, users ...string) ([]bool, error)
	MemberCounts(ctx context.Context, channels ...string) ([]int64, error)
	store.ChatReader
}

// Memberships are the live side of memberships: who is subscribed because of one.
type Memberships interface {
	// Change carries out change, which gives whose membership of the channel has begun or
	// ended, and then subscribes or unsubscribes their live connections, and tells how many.
	// Changes of one channel come one after the other. A new subscription begins after a place
	// in the channel, or, when that is nil, with what comes from now on.
	Change(ctx context.Context, channel string, change func() (began, ended []string, after *feed.Position, err error)) (connections int, err error)
}

// Push is an alert for members who are away.
type Push struct {
	Users    []string // at most 1,000
	Category string
	Event    string
	Data     []byte
	Collapse string
	Key      string // makes it be pushed once to each user, whatever else it says
}

// Config of a [Feature]. Only Logger and Now may be nil.
type Config struct {
	Hub      *hub.Hub
	Feeds    *feed.Feeds
	Sessions *session.Server
	Verbs    *verb.Registry
	Members  Memberships
	// Push pushes an alert; it returns when that is stored. Its error is unavailable when it has
	// to be tried again.
	Push func(ctx context.Context, p Push) error
	// Clear ends the alerts of a user with a category and collapse key, because they were
	// read elsewhere.
	Clear func(ctx context.Context, user, category, collapse string) error
	// Leaving tells whether a user whose last connection has gone may be back at once, so that
	// nobody has been told of it. Nil: that is told at once.
	Leaving func(user string) bool
	// Page is how many bytes of data a page may have; Message how many a message may have.
	Page, Message func() int
	Now           func() time.Time // zero: time.Now
	Logger        *slog.Logger     // zero: slog.Default()
}

// Feature is the conversations of one server.
type Feature struct {
	cfg     Config
	store   Store // nil: there is none
	shared  bool
	rosters rosters
	blocks  blocks

	metrics   Metrics
	followers followers
	teller    line[news]       // by channel
	onlines   line[onlineNews] // by user
	alerts    alerts
	said      atomic.Int64 // Unix milliseconds: when the log was last told of a failure

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// New registers the feature's frames, verbs and calls. They need [Feature.Start].
func New(cfg Config) *Feature {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	f := &Feature{cfg: cfg}
	f.rosters.init()
	f.blocks.init()
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.followers.init(&f.metrics.Followers)
	f.teller.init(tellEvery, (*news).below)
	f.onlines.init(0, nil)
	f.alerts.init(f)
	f.registerFrames()
	f.registerVerbs()
	f.registerLists()
	return f
}

// Start gives the feature its store, and begins its work. shared tells that other
// processes change memberships, too.
func (f *Feature) Start(_ context.Context, st Store, shared bool) error {
	f.store, f.shared = st, shared
	for range tellers {
		f.work.Go(func() { f.teller.run(f.ctx, f.tell) })
	}
	f.work.Go(func() { f.onlines.run(f.ctx, f.tellOnline) })
	f.alerts.run(f.ctx, &f.work)
	return nil
}

// Close ends the work and waits for it. It comes before the store is closed.
func (f *Feature) Close() {
	f.cancel()
	f.work.Wait()
}
