// Package push offers the server verbs of pushes: push itself, the inboxes of users
// (inbox.list, inbox.mark), what became of messages (records), categories and their
// rules (categories.put, .list, .delete, .mute), and why a message would or would not
// come (explain).
//
// It decides little: internal/fatigue judges, the store carries it out, and
// internal/push brings to devices what is stored. Its own are the categories. Those of the
// configuration are given to it; those of the API are in the store. All of them are
// kept in memory, made into policies, so that a push looks nothing up. Where other
// processes share the store, a category that they change is in force here within two
// seconds; what is in force is frozen into each message.
//
// Pushes to at most 1,000 users that are named go straight to the engine. All others
// are handed over to [Campaigns].
//
// [Feature.Start] starts one goroutine where the store is shared: it reads the categories
// again. [Feature.Close] ends it.
package push

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Store is what the feature needs of one.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	Categories(ctx context.Context) ([]store.Category, error)
	Audience(ctx context.Context, q store.AudienceQuery) ([]store.Recipient, error)
	LookUsers(ctx context.Context, users ...string) ([]store.User, error)
	Members(ctx context.Context, channel, after string, limit int) ([]store.Member, error)
	Counts(ctx context.Context, user string) ([]byte, store.User, error)
	Estimate(ctx context.Context, q store.EstimateQuery) (store.Estimate, error)
	Records(ctx context.Context, q store.RecordQuery) (store.RecordPage, error)
	PushedMessages(ctx context.Context, ids ...string) ([]store.PushedMessage, error)
}

// Campaigns takes what is for more users than a push goes to at once, or for users that
// must be looked for.
type Campaigns interface {
	// Begin starts a campaign and tells how far it has come after a moment. Its errors are
	// *fault.Error.
	Begin(ctx context.Context, job audience.Job) (audience.Begun, error)
}

// Settings are what may be configured anew at any time.
type Settings struct {
	Zone string // of users whose own time zone is not known; "": UTC
	Keep int    // messages that an inbox keeps; 0: 1000; negative: all
	Data int    // bytes that the data of a message may have; 0: 64 KiB
}

// Config of a [Feature].
type Config struct {
	Hub       *hub.Hub       // who is connected, and which namespaces there are
	Verbs     *verb.Registry // where the verbs go
	Engine    *push.Pushes
	Campaigns Campaigns       // nil: what would go there is refused
	Settings  func() Settings // nil: the zero value
	// Categories are those of the configuration; see [Feature.SetCategories].
	Categories map[string]Category
	// Logger is told of categories that cannot be read. Nil: slog.Default().
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Feature is the pushes of one server.
type Feature struct {
	cfg        Config
	categories *categories
	store      atomic.Pointer[Store]

	work sync.WaitGroup
	stop context.CancelFunc // nil: nothing runs
}

// New registers the feature's verbs, which answer unavailable until [Feature.Start]. The
// error is about a category of the configuration.
func New(cfg Config) (*Feature, error) {
	if cfg.Settings == nil {
		cfg.Settings = func() Settings { return Settings{} }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f := &Feature{cfg: cfg, categories: newCategories(cfg.Logger, cfg.Now)}
	if err := f.SetCategories(cfg.Categories); err != nil {
		return nil, err
	}
	f.register(cfg.Verbs)
	return f, nil
}

// Start says where things are kept, and reads the categories that are kept there. shared
// tells that other processes change them, too. It is called once; it ends with
// [Feature.Close].
func (f *Feature) Start(ctx context.Context, st Store, shared bool) error {
	if err := f.categories.start(ctx, st); err != nil {
		return err
	}
	f.store.Store(&st)
	if shared {
		ctx, stop := context.WithCancel(context.Background())
		f.stop = stop
		f.work.Go(func() { f.categories.reread(ctx) })
	}
	return nil
}

// Close ends what Start has started, and waits for it.
func (f *Feature) Close() {
	if f.stop != nil {
		f.stop()
	}
	f.work.Wait()
}

// SetCategories replaces the categories of the configuration. The error names what is
// wrong with one; then nothing has changed.
func (f *Feature) SetCategories(all map[string]Category) error { return f.categories.configure(all) }

// Policy gives the rules of a category as they are frozen into a message, how long its
// messages are good and after how long they escalate (zero: for ever, never). not_found
// says that there is no such category, conflict that its parents are not what they were.
// The policy must not be changed.
func (f *Feature) Policy(name string) (p fatigue.Policy, ttl, escalate time.Duration, err error) {
	n, err := f.categories.need(name)
	if err != nil {
		return p, 0, 0, err
	}
	return n.policy, n.ttl, n.escalate, nil
}

// Mutable tells whether users may mute a category, and whether there is one.
func (f *Feature) Mutable(name string) (mutable, known bool) {
	n := f.categories.find(name)
	return n != nil && *n.Mutable, n != nil
}

// Recall withdraws a pushed message from everybody who has not acknowledged it: the verb
// recall is another feature's. It tells from how many, and whether that is news: a message
// may be withdrawn again. not_found says that there is no such message.
func (f *Feature) Recall(ctx context.Context, message string) (news bool, count int, err error) {
	st, err := f.running()
	if err != nil {
		return false, 0, err
	}
	found, err := st.PushedMessages(ctx, message)
	switch {
	case err != nil:
		return false, 0, failure(err)
	case len(found) != 1 || found[0].ID == "":
		return false, 0, fault.New(fault.NotFound, "there is no such message, or no longer")
	}
	count, err = f.cfg.Engine.Recall(ctx, message)
	return found[0].Withdrawn == 0, count, err
}

var errNoStore = fault.New(fault.Unavailable, "pushes need a store: set data or database")

// running gives the store, or the error that says that there is none.
func (f *Feature) running() (Store, error) {
	if st := f.store.Load(); st != nil {
		return *st, nil
	}
	return nil, errNoStore
}

// zone gives the time zone of users whose own is not known.
func (f *Feature) zone() string {
	if zone := f.cfg.Settings().Zone; zone != "" {
		return zone
	}
	return "UTC"
}

// keep gives how many messages an inbox keeps, as the store takes it: 0 is all.
func (f *Feature) keep() int {
	switch keep := f.cfg.Settings().Keep; {
	case keep == 0:
		return defaultKeep
	default:
		return max(0, keep)
	}
}

const defaultKeep = 1000

// channel checks a channel whose members are meant.
func (f *Feature) channel(field, name string) error {
	namespace, err := protocol.Namespace(field, name)
	if err == nil && f.cfg.Hub.Space(namespace) == nil {
		err = fault.New(fault.NotFound, "%s: namespace %q is not configured", field, namespace)
	}
	return err
}

// failure is an error of the store as callers see it.
func failure(err error) error {
	switch {
	case errors.Is(err, store.ErrClosed):
		return fault.Wrap(fault.Unavailable, err, "the server is shutting down")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "nothing can be stored or read now").After(time.Second)
	}
	return fault.Of(err)
}
