package fatigue

import (
	"sync/atomic"
	"time"
)

// A span is a stretch of time in which a zone keeps one offset, in Unix seconds.
type span struct {
	from, to int64 // to is not part of it
	offset   int64
}

func (s span) holds(at int64) bool { return s.from <= at && at < s.to }

// second gives what the clock shows, as seconds after midnight.
func (s span) second(at int64) int64 {
	shown := at + s.offset
	return shown - floor(shown, day)
}

// A memory is the spans of a zone that were last looked for, the newest first.
// Package time reads the rule of a zone anew for each question about this year,
// which takes longer than the rest of a judgement. Its users replace it as a whole.
type memory = atomic.Pointer[[memorySize]span]

// memorySize is enough for the time before and after a change of the clock, and for
// a new year, where package time ends a span too.
const memorySize = 4

// A clock is what the clocks of a zone show.
type clock struct {
	zone   *time.Location
	memory *memory // nil: it has none
}

func (c clock) spanAt(at int64) span {
	if c.memory == nil {
		return findSpan(c.zone, at)
	}
	known := c.memory.Load()
	if known != nil {
		for _, s := range known {
			if s.holds(at) {
				return s
			}
		}
	}
	now := &[memorySize]span{findSpan(c.zone, at)}
	if known != nil {
		copy(now[1:], known[:])
	}
	c.memory.Store(now)
	return now[0]
}

func findSpan(zone *time.Location, at int64) span {
	t := time.Unix(at, 0).In(zone)
	_, offset := t.Zone()
	s := span{from: -1 << 62, to: 1 << 62, offset: int64(offset)}
	from, to := t.ZoneBounds()
	if !from.IsZero() {
		s.from = from.Unix()
	}
	if !to.IsZero() {
		s.to = to.Unix()
	}
	// Beyond the last change that a zone's file lists, package time ends the span
	// before 31 December of a leap year a day early, so that it does not hold t.
	if s.to <= at {
		s.to = at + hour
	}
	return s
}
