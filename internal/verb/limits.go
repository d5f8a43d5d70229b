package verb

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/ratelimit"
)

// Limits are how fast callers may go. The zero value limits nothing.
type Limits struct {
	// Verbs is how often each caller may run a verb, by verb, as "publish". Every
	// command of a batch counts.
	Verbs map[string]ratelimit.Rate
	// Exempt tells whom they are not for, by the caller's name. Nil: for everybody.
	Exempt func(caller string) bool
	// DryRun lets everything through: what would have been refused is counted and
	// logged, at most one line for a caller and minute.
	DryRun bool
	// Logger is told then. Nil: slog.Default().
	Logger *slog.Logger
}

// LimitMetrics counts what limits did.
type LimitMetrics struct {
	Limited    atomic.Int64 // runs that were refused
	WouldLimit atomic.Int64 // those that would have been, if it were not a dry run
}

// limits are Limits in force.
type limits struct {
	Limits
	since time.Time // the clock's zero
	verbs map[string]*ratelimit.Table[string]
	said  *ratelimit.Table[string] // by caller: who was logged
}

// SetLimits replaces the limits; everybody begins anew. A verb that there is not
// yet may have one. Its error names what is wrong, as "verbs.publish", and then
// nothing is changed.
func (r *Registry) SetLimits(l Limits) error {
	l.Verbs = maps.Clone(l.Verbs)
	if l.Logger == nil {
		l.Logger = slog.Default()
	}
	next := &limits{
		Limits: l, since: time.Now(), verbs: map[string]*ratelimit.Table[string]{},
		said: ratelimit.NewTable[string](ratelimit.Rate{PerSecond: 1.0 / 60, Burst: 1}),
	}
	for _, name := range slices.Sorted(maps.Keys(l.Verbs)) {
		if err := l.Verbs[name].Validate(); err != nil {
			return fmt.Errorf("verbs.%s: %w", name, err)
		}
		if table := ratelimit.NewTable[string](l.Verbs[name]); table != nil {
			next.verbs[name] = table
		}
	}
	if len(next.verbs) == 0 {
		next = nil
	}
	r.limits.Store(next)
	return nil
}

// LimitMetrics gives the live counters.
func (r *Registry) LimitMetrics() *LimitMetrics { return &r.limitCounts }

// allow counts a run of a verb against its caller's rate.
func (l *limits) allow(caller, name string, m *LimitMetrics) error {
	table := l.verbs[name]
	if table == nil || l.Exempt != nil && l.Exempt(caller) {
		return nil
	}
	now := int64(time.Since(l.since))
	wait, ok := table.Allow(now, caller)
	switch {
	case ok:
		return nil
	case !l.DryRun:
		m.Limited.Add(1)
		return fault.New(fault.RateLimited, "more than %s of %s by this caller", l.Verbs[name], name).After(wait)
	}
	m.WouldLimit.Add(1)
	if _, ok := l.said.Allow(now, caller); ok {
		l.Logger.Warn("a rate limit that is tried out would have refused this", "caller", caller, "verb", name, "rate", l.Verbs[name].String())
	}
	return nil
}
