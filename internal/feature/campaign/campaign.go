// Package campaign pushes one message to many users, as a job that goes on after a
// restart where it was. It offers the verbs campaigns.create, .add, .estimate, .start,
// .pause, .resume, .cancel, .recall, .get, .list and .delete, and carries out what the
// verb push hands over with [Feature.Begin].
//
// It pushes, and does no more: the store decides what becomes of each delivery and tells
// the engine of pushes, which delivers.
//
// # What is stored
//
// A campaign in the store has a plan (what is pushed, to whom, how fast and, once it has
// begun, the message with its category as it was then) and notes (when it began and ended,
// for how many it is, what is wrong), both as JSON; a list of users where it is for
// one; and a cursor: how many users are done, and who was the last. Each step pushes to
// some users and moves the cursor in one transaction. So at whatever moment a process
// dies, nobody gets the message twice and nobody is left out. A finished campaign is
// deleted when its records are: after [Settings].Records.
//
// # Who carries out what
//
// A node claims a campaign that has something to do, for 30 seconds, and renews that every
// ten. What a verb changes ends the claim; the next step of whoever has had it is then
// refused, so that pause and cancel take effect within a step. The claims of a node that
// has died run out; where the store is not shared a new process ends them at once. A
// node holds 64 campaigns at most, and two of them write at the same time: one that
// waits for its pace is in nobody's way.
//
// # Goroutines
//
// [Feature.Run] starts one goroutine that claims; each campaign that is held has one that
// works and one that reads who comes next. [Feature.Close] ends them all and waits.
package campaign

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what campaigns need of a store.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	store.CampaignReader
	Members(ctx context.Context, channel, after string, limit int) ([]store.Member, error)
	MemberCounts(ctx context.Context, channels ...string) ([]int64, error)
	Audience(ctx context.Context, q store.AudienceQuery) ([]store.Recipient, error)
	CountUsers(ctx context.Context, where *store.Filter) (int64, error)
	LookUsers(ctx context.Context, users ...string) ([]store.User, error)
	PushedMessages(ctx context.Context, ids ...string) ([]store.PushedMessage, error)
	Estimate(ctx context.Context, q store.EstimateQuery) (store.Estimate, error)
}

// Categories gives what a category says now.
type Categories interface {
	// Policy gives the rules of a category, how long its messages are good and after how
	// long they escalate; zero: for ever, never. The error, a *fault.Error, says that
	// there is no such category.
	Policy(name string) (p fatigue.Policy, ttl, escalate time.Duration, err error)
}

// Settings are what may be configured anew while campaigns run.
type Settings struct {
	Zone    string        // of users whose own time zone is not known; "": UTC
	Keep    int           // messages that an inbox keeps; 0: 1000; negative: all
	Records time.Duration // how long a campaign that has ended is kept; 0: 90 days
	Data    int           // bytes that the data of a message may have; 0: 64 KiB
}

func (s Settings) withDefaults() Settings {
	if s.Keep == 0 {
		s.Keep = 1000
	}
	if s.Records == 0 {
		s.Records = 90 * 24 * time.Hour
	}
	if s.Data == 0 {
		s.Data = 64 << 10
	}
	return s
}

// Config of a [Feature].
type Config struct {
	// Verbs is where the feature's verbs go.
	Verbs *verb.Registry
	// Categories are looked up when a campaign is made and frozen when it begins.
	Categories Categories
	// Hub knows who is online, for estimates. Nil: nobody is.
	Hub *hub.Hub
	// Channel checks a channel whose members are meant; field is what its error names.
	// Nil: any goes.
	Channel func(field, channel string) error
	// Recall withdraws a message from everybody who has not acknowledged it, and tells
	// clients. A message that is not there is not_found or [store.ErrNotFound]. Nil: it is
	// withdrawn in the store, and nobody is told.
	Recall func(ctx context.Context, message string) error
	// Broadcasted is told that a message for everybody is in the store, so that those who are
	// here get it at once. It must be quick. Nil: nobody is told.
	Broadcasted func()
	// Settings are asked for again and again. Nil: the zero value.
	Settings func() Settings
	// Commands tells how many commands the store has carried out in this process, those of
	// campaigns included: with others about, steps that take long become smaller. Nil:
	// nobody knows, and others are taken to be about.
	Commands func() int64
	// Node is the name of this process among those that share the store. Empty: a random
	// one.
	Node string
	// Logger is told of failures. Nil: slog.Default().
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Metrics counts what the campaigns of a node did.
type Metrics struct {
	Held     atomic.Int64 // campaigns that this node holds at this moment
	Users    atomic.Int64 // users that were pushed to
	Steps    atomic.Int64 // transactions that did so
	Finished atomic.Int64 // campaigns that came to their end here
	Paused   atomic.Int64 // campaigns that rest because of a fault that will not go away
	Lost     atomic.Int64 // campaigns that were changed, or taken over, while this node had them
	Failures atomic.Int64 // reads and writes of the store that failed and were tried again
	Size     atomic.Int64 // users of the newest step
}

// Feature is the campaigns of one node.
type Feature struct {
	cfg     Config
	metrics Metrics
	bounds  bounds // of estimates

	mu     sync.Mutex
	engine *engine // nil before Start
	closed bool
}

// New registers the feature's verbs. They answer unavailable until [Feature.Start].
func New(cfg Config) *Feature {
	if cfg.Channel == nil {
		cfg.Channel = func(string, string) error { return nil }
	}
	if cfg.Broadcasted == nil {
		cfg.Broadcasted = func() {}
	}
	if cfg.Settings == nil {
		cfg.Settings = func() Settings { return Settings{} }
	}
	if cfg.Node == "" {
		cfg.Node = rand.Text()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f := &Feature{cfg: cfg, bounds: bounds{judged: 100_000, paged: 50_000, looked: 2_000}}
	f.registerVerbs(cfg.Verbs)
	return f
}

// Start says where campaigns are kept, so that the verbs work. shared tells that other
// nodes use the store, too. It is called once; after [Feature.Close] it does nothing.
func (f *Feature) Start(st Store, shared bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.engine = newEngine(f, st, shared)
	}
}

// Run carries out what there is to do from now on. It is called once, after Start and
// when the categories are there.
func (f *Feature) Run() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.engine != nil && !f.closed {
		f.engine.work.Go(f.engine.loop)
	}
}

// Close begins no more steps, waits for those that are going on, and gives back what this
// node holds. The store is closed by its owner, later.
func (f *Feature) Close() {
	f.mu.Lock()
	f.closed = true
	e := f.engine
	f.mu.Unlock()
	if e != nil {
		e.close()
	}
}

// Metrics gives the live counters.
func (f *Feature) Metrics() *Metrics { return &f.metrics }

// running gives the engine, or the error that says why there is none.
func (f *Feature) running() (*engine, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, fault.New(fault.Unavailable, "the server is shutting down")
	case f.engine == nil:
		return nil, fault.New(fault.Unavailable, "campaigns need a store (data or database)")
	}
	return f.engine, nil
}

func (f *Feature) now() int64 { return f.cfg.Now().UnixMilli() }

func (f *Feature) settings() Settings { return f.cfg.Settings().withDefaults() }
