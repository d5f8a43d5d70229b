package fatigue

import "time"

// per is the kind of a window.
type per uint8

const (
	perNone per = iota // what is not a window
	perDay
	perWeek
	perHour
	perRolling
)

const (
	shortest = time.Second         // rolling window
	longest  = 30 * 24 * time.Hour // rolling window, 720h

	hour       = 60 * 60
	day        = 24 * hour
	dayMinutes = 24 * 60
	// around bounds how far a clock has ever been put back.
	around = 2 * day
)

// readPer reads [Cap.Per]; the duration is that of a rolling window, in milliseconds.
func readPer(text string) (per, int64) {
	switch text {
	case "day":
		return perDay, 0
	case "week":
		return perWeek, 0
	case "hour":
		return perHour, 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < shortest || d > longest || d%time.Millisecond != 0 {
		return perNone, 0
	}
	return perRolling, d.Milliseconds()
}

// floor is the last multiple of step that is not after what a clock shows.
func floor(shown, step int64) int64 {
	rest := shown % step
	if rest < 0 {
		rest += step
	}
	return shown - rest
}

// calendar gives the window of a kind, not a rolling one, that a moment lies in, in
// Unix seconds. The windows of a zone follow each other without gap or overlap.
func calendar(kind per, c clock, at int64) (from, to int64) {
	s := c.spanAt(at)
	if kind == perHour {
		return hourFrom(c, at, s), hourTo(c, at, s)
	}
	begin, end := dates(kind, at+s.offset)
	if from, to = begin-s.offset, end-s.offset; s.from <= from-around && to < s.to {
		return from, to
	}
	begin, end = dates(kind, highest(c, at, s))
	return reached(c, begin), reached(c, end)
}

// dates gives the midnights around what a clock shows, as seconds of that clock.
func dates(kind per, shown int64) (begin, end int64) {
	if kind == perDay {
		begin = floor(shown, day)
		return begin, begin + day
	}
	const monday = 4 * day // 5 January 1970
	begin = floor(shown-monday, 7*day) + monday
	return begin, begin + 7*day
}

// highest gives the latest time that the clock has shown up to a moment. It is
// not what it shows then when the clock was put back shortly before.
func highest(c clock, at int64, s span) int64 {
	shown := at + s.offset
	for s.from > at-around {
		before := s.from - 1
		s = c.spanAt(before)
		shown = max(shown, before+s.offset)
	}
	return shown
}

// reached gives the first moment at which the clock shows a time or a later one.
func reached(c clock, shown int64) int64 {
	at := shown - around
	for {
		s := c.spanAt(at)
		if at = max(at, shown-s.offset); at < s.to {
			return at
		}
		at = s.to
	}
}

// hourFrom gives the last moment, not after at, at which the clock showed a full
// hour or went forward over one.
func hourFrom(c clock, at int64, s span) int64 {
	for {
		if full := floor(at+s.offset, hour) - s.offset; full >= s.from {
			return full
		}
		before := c.spanAt(s.from - 1)
		if skips(s.from, before, s) {
			return s.from
		}
		at, s = s.from-1, before
	}
}

// hourTo gives the first such moment after at.
func hourTo(c clock, at int64, s span) int64 {
	for {
		if full := floor(at+s.offset, hour) + hour - s.offset; full < s.to {
			return full
		}
		next := c.spanAt(s.to)
		if (s.to+next.offset)%hour == 0 || skips(s.to, s, next) {
			return s.to
		}
		at, s = s.to, next
	}
}

// skips tells whether the clock goes forward over a full hour where two spans meet.
func skips(at int64, before, after span) bool {
	return floor(at+after.offset, hour) > floor(at-1+before.offset, hour)
}

// holds tells whether a time of day, in seconds after midnight, is a quiet one. None
// is in quiet hours that are not valid.
func (q *Quiet) holds(second int64) bool {
	if uint(q.From) >= dayMinutes || uint(q.To) >= dayMinutes {
		return false
	}
	from, to := int64(q.From)*60, int64(q.To)*60
	if from < to {
		return from <= second && second < to
	}
	return from > to && (second >= from || second < to)
}

// until tells whether it is quiet at a moment, and then gives the first moment
// after it at which it is not any more. Both are Unix seconds.
func (q *Quiet) until(c clock, at int64) (int64, bool) {
	s := c.spanAt(at)
	if !q.holds(s.second(at)) {
		return at, false
	}
	for {
		left := int64(q.To)*60 - s.second(at)
		if left < 0 {
			left += day
		}
		if at+left < s.to {
			return at + left, true
		}
		// The clock is changed before that, and may go over the end.
		at = s.to
		if s = c.spanAt(at); !q.holds(s.second(at)) {
			return at, true
		}
	}
}
