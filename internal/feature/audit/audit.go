// Package audit is the audit log: who, of those who run the server, ran which verb, and
// what became of it. It offers the verb audit.
//
// # What is written
//
// [Feature.Begin] is told of each run of a verb by an API key or a user of the console.
// What changes something gets a line, which is in the store before the verb runs; what is
// traffic of an API key (internal/auth says what that is) and what only reads does not. The
// outcome is written afterwards, together with those of others, so it may come a moment
// later; a line without one tells that the server ended in between. [Feature.Record] writes
// what was not run: that somebody logged in, or was refused.
//
// Lines are in the store. In memory are outcomes that wait, at most 10,000 with the runs
// that are under way. Without a store there is no log.
//
// # Goroutines
//
// [Feature.Start] starts two, which [Feature.Close] ends: one writes outcomes, one deletes
// what is too old.
package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what the feature needs of one.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	AuditLines(ctx context.Context, q store.AuditQuery) (store.AuditPage, error)
}

// Config of a [Feature].
type Config struct {
	Verbs *verb.Registry // where the verb goes, and whose runs are written
	// Keep tells how long lines are kept; 0: for ever. Nil: for ever.
	Keep func() time.Duration
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger is told when nothing can be written. Nil: slog.Default().
	Logger *slog.Logger
}

// Metrics counts what was done.
type Metrics struct {
	Lines    atomic.Int64 // that were written
	Failures atomic.Int64 // writes that the store did not take
	Trimmed  atomic.Int64 // lines that were too old
}

// Feature is the audit log of one server.
type Feature struct {
	cfg     Config
	metrics Metrics

	mu       sync.Mutex // guards all below
	store    Store      // nil before Start, and without a store
	closed   bool
	failing  time.Time // since when the store takes nothing; zero: it does
	stop     context.CancelFunc
	outcomes outcomes
	work     sync.WaitGroup
}

// New registers the feature's verb, and has runs of all verbs written from
// [Feature.Start] on.
func New(cfg Config) *Feature {
	if cfg.Keep == nil {
		cfg.Keep = func() time.Duration { return 0 }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	f := &Feature{cfg: cfg}
	f.outcomes.wake = make(chan struct{}, 1)
	f.outcomes.settled = make(chan struct{})
	verb.Add(cfg.Verbs, "audit", "Lists who ran which verb, the newest first.", f.list)
	cfg.Verbs.SetAudit(func(ctx context.Context, name string, raw []byte) (func(error), error) {
		return f.Begin(ctx, verb.CallerOf(ctx), name, raw)
	})
	return f
}

// Start says where lines are kept. It is called once; after [Feature.Close] it does nothing.
func (f *Feature) Start(st Store) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.store = st
	life, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.work.Go(func() { f.writeOutcomes(life, st) })
	f.work.Go(func() { f.janitor(life, st) })
}

// Close writes the outcomes that wait, and ends the goroutines. Runs that end later leave
// lines without an outcome. It is called when requests have ended, and before the store is
// closed.
func (f *Feature) Close() {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	stop := f.stop
	f.mu.Unlock()
	if !first || stop == nil {
		return
	}
	stop()
	f.work.Wait()
}

// Metrics gives the live counters.
func (f *Feature) Metrics() *Metrics { return &f.metrics }

// Failing tells since when the store takes nothing for the log, while that is so.
func (f *Feature) Failing() (since time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failing, !f.failing.IsZero()
}

// note remembers how a write went. That nobody waited for it any more, or that the server
// ends, says nothing of the store.
func (f *Feature) note(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, store.ErrClosed) {
		return
	}
	f.mu.Lock()
	began := err != nil && f.failing.IsZero()
	if err == nil {
		f.failing = time.Time{}
	} else if began {
		f.failing = f.cfg.Now()
	}
	f.mu.Unlock()
	if err != nil {
		f.metrics.Failures.Add(1)
	}
	if began {
		f.cfg.Logger.Error("the audit log cannot be written; what has to be written there is refused", "error", err)
	}
}

// running gives the store, nil when there is none.
func (f *Feature) running() (Store, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fault.New(fault.Unavailable, "the server is shutting down")
	}
	return f.store, nil
}

// The rhythm of the janitor.
const (
	trimEvery = time.Minute
	trimStep  = 1000 // lines that are deleted at once
)

// janitor deletes what is too old, until life ends.
func (f *Feature) janitor(life context.Context, st Store) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		f.trim(life, st)
		select {
		case <-tick.C:
		case <-life.Done():
			return
		}
	}
}

// trim deletes all that is too old now, in small steps. What fails is tried again when
// the next round comes.
func (f *Feature) trim(ctx context.Context, st Store) {
	keep := f.cfg.Keep()
	if keep <= 0 {
		return
	}
	before := max(0, f.cfg.Now().Add(-keep).UnixMilli())
	for ctx.Err() == nil {
		step, cancel := context.WithTimeout(ctx, storeTime)
		results, err := st.Do(step, store.TrimAudit{Before: before, Limit: trimStep})
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				f.cfg.Logger.Warn("old lines of the audit log were not deleted; it is tried again", "error", err)
			}
			return
		}
		trimmed := results[0].(store.AuditTrimmed)
		f.metrics.Trimmed.Add(int64(trimmed.Lines))
		if !trimmed.More {
			return
		}
	}
}
