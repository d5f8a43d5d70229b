// Package access says who is kept out, and how fast one may go: users that are
// blocked, tokens that are revoked, rates of frames and verbs. It also notes when
// users were last there. It offers the verbs users.block, users.unblock,
// users.blocked and tokens.revoke.
//
// It does not say who somebody is (internal/auth) or what one may do in a channel.
// Rates are counted where frames and verbs are handled (internal/session,
// internal/verb); here they are one setting.
//
// # What is kept
//
// The store keeps denials and when users were last there. All denials in force
// are in memory, too, about 200 bytes each, so that nobody waits for the store to
// be let in. On a store that nodes share, each node asks every two seconds what
// the others have changed. Times at which users were there are collected and
// written together, every few seconds; a crash loses those.
//
// # Nobody slips through
//
// A denial is first put into memory, then live connections are looked at. Whoever
// is being welcomed meanwhile was perhaps admitted before the one and is not live
// before the other; so each connection is looked at once more when it is live:
// [Feature.Recheck].
//
// # Goroutines
//
// [Feature.Start] starts one goroutine, which [Feature.Close] ends.
package access

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Store is what the feature needs of a store.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	store.DenialReader
}

// Config of a [Feature].
type Config struct {
	Sessions *session.Server
	Verbs    *verb.Registry
	// Exempt tells by the name of a caller whether the limits on verbs are not for
	// it, as for the program's own calls. Nil: they are for everybody.
	Exempt func(caller string) bool
	// Logger is told of failures and of what limits in a dry run would have refused.
	// Nil: slog.Default().
	Logger *slog.Logger
}

// Metrics counts what was done.
type Metrics struct {
	Refused  atomic.Int64 // identities that were not let in
	Cut      atomic.Int64 // live connections that were ended
	Seen     atomic.Int64 // users whose time was written
	SeenLost atomic.Int64 // times that were not written: the store failed for long
	Failures atomic.Int64 // reads and writes of the store that failed
}

// Feature is who is kept out of one server.
type Feature struct {
	cfg     Config
	metrics Metrics
	denials denials
	seen    seen

	revoking chan struct{} // holds a value while tokens are being revoked
	limits   limitsInForce

	astray bool // the last poll failed; the goroutine alone uses it

	mu     sync.Mutex // guards all below
	store  Store      // nil before Start, and without a store
	closed bool
	stop   context.CancelFunc
	work   sync.WaitGroup
}

// New registers the feature's verbs. They answer unavailable until [Feature.Start].
func New(cfg Config) *Feature {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	f := &Feature{cfg: cfg, revoking: make(chan struct{}, 1)}
	f.denials.m = map[key]entry{}
	f.seen.wake = make(chan struct{}, 1)
	f.registerVerbs()
	return f
}

// The rhythm of the goroutine.
const (
	pollEvery  = 2 * time.Second
	sweepEvery = time.Minute
	flushEvery = 2 * pollEvery
	storeTime  = 10 * time.Second // for one read or write
	closeTime  = 5 * time.Second  // for the last write
)

// Start reads who is kept out, and follows it; shared tells that other nodes use
// the store, too. It is called once, before the first connection is welcomed;
// after [Feature.Close] it does nothing. Its error is that of the store.
func (f *Feature) Start(ctx context.Context, st Store, shared bool) error {
	if _, err := f.catchUp(ctx, st); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.store = st
	f.seen.open()
	life, stop := context.WithCancel(context.Background())
	f.stop = stop
	f.work.Go(func() { f.loop(life, st, shared) })
	return nil
}

// Close ends the goroutine and writes when users were last there. It is called
// when the sessions have ended and before the store is closed.
func (f *Feature) Close() {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	st, stop := f.store, f.stop
	f.mu.Unlock()
	if !first || st == nil {
		return
	}
	stop()
	f.work.Wait()
	f.seen.shut()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	f.flush(ctx, st)
	f.metrics.SeenLost.Add(int64(f.seen.drop()))
}

// Metrics gives the live counters.
func (f *Feature) Metrics() *Metrics { return &f.metrics }

// Denials is how many denials are known.
func (f *Feature) Denials() int64 { return f.denials.known.Load() }

// running gives the store, or the error that says why there is none.
func (f *Feature) running(name string) (Store, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, fault.New(fault.Unavailable, "the server is shutting down")
	case f.store == nil:
		return nil, fault.New(fault.Unavailable, "%s needs a store: set data or database", name)
	}
	return f.store, nil
}

// loop runs until life ends.
func (f *Feature) loop(life context.Context, st Store, shared bool) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	now := time.Now()
	swept, flushed := now, now
	for {
		select {
		case now = <-tick.C:
		case <-f.seen.wake:
			now = time.Now()
			flushed = time.Time{}
		case <-life.Done():
			return
		}
		if shared {
			f.poll(life, st)
		}
		if now.Sub(flushed) >= flushEvery {
			flushed = now
			ctx, cancel := context.WithTimeout(life, storeTime)
			f.flush(ctx, st)
			cancel()
		}
		if now.Sub(swept) >= sweepEvery {
			swept = now
			f.denials.sweep(now.UnixMilli())
		}
	}
}

// poll learns what other nodes have changed, and ends the connections that it is about.
func (f *Feature) poll(life context.Context, st Store) {
	ctx, cancel := context.WithTimeout(life, storeTime)
	defer cancel()
	changed, err := f.catchUp(ctx, st)
	f.cut(changed...)
	if err != nil && life.Err() == nil {
		f.metrics.Failures.Add(1)
		if !f.astray { // once for each time that the store is away
			f.cfg.Logger.Error("who is kept out cannot be read; what other nodes change is not known here", "error", err)
		}
	}
	f.astray = err != nil
}

// pageSize is how many denials are read at once.
const pageSize = 1000

// catchUp reads the denials that are new, and gives those that are in force.
func (f *Feature) catchUp(ctx context.Context, st Store) (changed []store.Denial, err error) {
	for {
		page, err := st.Denials(ctx, f.denials.last, pageSize)
		if err != nil {
			return changed, err
		}
		now := time.Now().UnixMilli()
		for _, d := range page {
			if f.denials.apply(d, now) {
				changed = append(changed, d)
			}
			f.denials.last = d.Seq
		}
		if len(page) < pageSize {
			return changed, nil
		}
	}
}

// Admit refuses an identity that is kept out; it is for session.Hooks.Admit. Its
// error is unauthorized. The reason of a block is in it: who is told has proved to
// be that user.
func (f *Feature) Admit(identity auth.Identity) error {
	d, found := f.denials.find(identity)
	if !found {
		return nil
	}
	f.metrics.Refused.Add(1)
	return fault.New(fault.Unauthorized, "%s", d.message())
}
