// Package schedule runs server verbs at times: once, every so often, or by a cron
// line in a time zone. It offers the verbs schedules.put, .get, .list, .delete,
// .run, .pause and .resume.
//
// It keeps schedules in the store: the plan (what and when) and the state (the
// next planned time and how the last runs went) as JSON, and the time at which it
// is due, by which the store finds it without a scan. What is shared between nodes
// is the store alone.
//
// # Planned times
//
// Each run belongs to a planned time, which follows from the plan and the planned
// time before, never from when something ran: nothing drifts. A run is called
// name@planned-time. This name is the idempotency key of a verb that takes one, so
// that a run that is repeated, after a crash, has one effect.
//
// # Who runs what
//
// A node claims a schedule that is due in the store, for 30 seconds, and holds it
// in memory. While its next planned time is less than a minute away, the node goes
// on holding it, runs it from memory, and writes its state only when it renews the
// claim, every 20 seconds; with count, also after each run. Any other schedule is
// written and given back when its run has ended. A node that dies loses what it
// had not written: whoever claims the schedule next goes on from the last planned
// time in the store, and the rule for missed ones applies to those since. The claims
// of a dead node run out; where the store is not shared, a new process ends them at
// once.
//
// On a store that nodes share, a node gives back a schedule whose channel
// (while_occupied) has no subscribers on it, so that the others may look at
// theirs, and looks every two seconds whether those that it holds were changed
// elsewhere.
//
// # Goroutines
//
// [Feature.Start] starts one goroutine that alone claims, writes and decides; each
// run has one of its own, at most 16 at once, the others wait in the order in
// which they were due. [Feature.Close] ends them all and waits.
package schedule

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what schedules need of a store.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	store.ScheduleReader
}

// Config of a [Feature].
type Config struct {
	// Verbs is where the feature's own verbs go and where those are that it runs.
	Verbs *verb.Registry
	// Occupied tells whether a channel has subscribers. Nil: none ever has. It is
	// asked by the goroutine that runs everything, so it must not block.
	Occupied func(channel string) bool
	// Allow tells whether who calls a verb of this feature may run another verb
	// through it; its error is the answer. Nil: everybody may run everything.
	Allow func(ctx context.Context, verb string) error
	// Node is the name of this process among those that share the store. Empty: a
	// random one.
	Node string
	// Late is told how many seconds after its time a run began. Nil: nobody is.
	Late func(seconds float64)
	// Logger is told of failures. Nil: slog.Default().
	Logger *slog.Logger
	// Now is the clock of planned times. Nil: time.Now.
	Now func() time.Time
}

// Metrics counts what the schedules of a node did.
type Metrics struct {
	Fired   atomic.Int64 // runs that have begun, repeats after unavailable not counted
	Failed  atomic.Int64 // runs that ended with an error
	Retried atomic.Int64 // repeats of a run after unavailable
	Manual  atomic.Int64 // runs by schedules.run
	Running atomic.Int64 // runs at this moment
	Held    atomic.Int64 // schedules that this node holds at this moment
	LateMax atomic.Int64 // milliseconds: the latest beginning of a run so far

	Missed     atomic.Int64 // planned times that were missed and not made up
	Overlapped atomic.Int64 // planned times that were skipped because the run before had not ended
	Vacant     atomic.Int64 // planned times at which the channel had no subscribers

	Claims   atomic.Int64 // schedules that were claimed
	Writes   atomic.Int64 // states that were written for a claim that was held
	Lost     atomic.Int64 // claims that had ended when their state was to be written
	Failures atomic.Int64 // reads and writes of the store that failed
}

// Feature is the schedules of one node.
type Feature struct {
	cfg     Config
	metrics Metrics
	zones   zones

	mu     sync.Mutex
	engine *engine // nil before Start
	closed bool
}

// New registers the feature's verbs. They answer unavailable until [Feature.Start].
func New(cfg Config) *Feature {
	if cfg.Occupied == nil {
		cfg.Occupied = func(string) bool { return false }
	}
	if cfg.Allow == nil {
		cfg.Allow = func(context.Context, string) error { return nil }
	}
	if cfg.Node == "" {
		cfg.Node = rand.Text()
	}
	if cfg.Late == nil {
		cfg.Late = func(float64) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	f := &Feature{cfg: cfg}
	f.registerVerbs(cfg.Verbs)
	return f
}

// Start says where schedules are kept, so that the verbs work. shared tells that
// other nodes use the store, too. It is called once; after [Feature.Close] it does
// nothing.
func (f *Feature) Start(st Store, shared bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.engine = newEngine(f, st, shared)
}

// Begin runs what is due from now on. It is called once, after Start.
func (f *Feature) Begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.engine != nil && !f.closed {
		f.engine.work.Go(f.engine.loop)
	}
}

// Close begins no more runs and waits for those that are going on; after five
// seconds their contexts end. What this node holds is written and given back. The
// store is closed by its owner, later.
func (f *Feature) Close() { f.close(true) }

func (f *Feature) close(orderly bool) {
	f.mu.Lock()
	f.closed = true
	e := f.engine
	f.mu.Unlock()
	if e != nil {
		e.close(orderly)
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
		return nil, fault.New(fault.Unavailable, "schedules need a store (data or database)")
	}
	return f.engine, nil
}

func (f *Feature) now() int64 { return f.cfg.Now().UnixMilli() }
