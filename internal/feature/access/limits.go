package access

import (
	"sync"

	"github.com/skein-realtime/skein/internal/ratelimit"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
)

// Limits are how fast one may go. The zero value limits nothing.
type Limits struct {
	// User is how many frames a user may send over all connections of this server.
	User ratelimit.Rate
	// Frames is how many frames of a type each connection may send, by type, as "pub".
	Frames map[string]ratelimit.Rate
	// Verbs is how often each caller, which over HTTP is an API key, may run a verb,
	// by verb, as "publish".
	Verbs map[string]ratelimit.Rate
	// DryRun lets everything through, counts what would have been refused and logs
	// it, at most one line for a user or caller and minute.
	DryRun bool
}

type limitsInForce struct {
	mu sync.Mutex // guards Limits
	Limits
}

// SetLimits replaces the limits; everybody begins anew. It is called when all
// frames and verbs are registered. Its error names what is wrong, as "frames.pub",
// and then nothing is changed.
func (f *Feature) SetLimits(l Limits) error {
	f.limits.mu.Lock()
	defer f.limits.mu.Unlock()
	if err := f.setFrames(l); err != nil {
		return err
	}
	err := f.cfg.Verbs.SetLimits(verb.Limits{Verbs: l.Verbs, Exempt: f.cfg.Exempt, DryRun: l.DryRun, Logger: f.cfg.Logger})
	if err != nil {
		_ = f.setFrames(f.limits.Limits) // they were good before
		return err
	}
	f.limits.Limits = l
	return nil
}

func (f *Feature) setFrames(l Limits) error {
	return f.cfg.Sessions.SetLimits(session.Limits{User: l.User, Frames: l.Frames, DryRun: l.DryRun})
}
