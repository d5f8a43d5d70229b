package health

import (
	"time"

	"github.com/skein-realtime/skein/internal/latency"
)

// minute is how many seconds a window has.
const minute = 60

// window remembers a counter as it was at the end of each of the last seconds.
type window struct {
	seconds [minute]int64
	count   int // how often it was noted
}

func (w *window) add(value int64) {
	w.seconds[w.count%minute] = value
	w.count++
}

// since is how much was counted in the last minute, with the counter at value now. A counter
// that has begun anew has counted nothing.
func (w *window) since(value int64) int64 {
	if w.count == 0 {
		return 0
	}
	oldest := w.seconds[0]
	if w.count > minute {
		oldest = w.seconds[w.count%minute]
	}
	return max(0, value-oldest)
}

// What is counted for windows, and the places in it.
const (
	hooksDropped = iota
	messagesDropped
	publishersRefused
	connectionsLost
)

var counted = [...]func(*Config) func() int64{
	hooksDropped:      func(c *Config) func() int64 { return c.HooksDropped },
	messagesDropped:   func(c *Config) func() int64 { return c.Dropped },
	publishersRefused: func(c *Config) func() int64 { return c.Refused },
	connectionsLost:   func(c *Config) func() int64 { return c.Lost },
}

// lastMinute is how much of something was counted.
func (f *Feature) lastMinute(what int) int64 {
	return f.dropped[what].since(counted[what](&f.cfg)())
}

// When commits are slow.
const (
	slowCommit = time.Second
	slowFor    = 10 * time.Second
	slowAtMost = time.Minute // after so long without a slow one they are not, also when there was none at all
)

// slowness is since when commits are slow.
type slowness struct {
	since time.Time // zero: they are not
	last  time.Time // when the last slow ones were
	p99   time.Duration
}

// add notes the commits of a second. One without any says nothing.
func (s *slowness) add(commits latency.Summary, now time.Time) {
	switch {
	case commits.Count > 0 && commits.P99 > slowCommit:
		if s.since.IsZero() {
			s.since = now
		}
		s.last, s.p99 = now, commits.P99
	case commits.Count > 0 || now.Sub(s.last) > slowAtMost:
		*s = slowness{}
	}
}
