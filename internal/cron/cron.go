// Package cron reads cron lines and tells when they are next due, in a time zone.
//
// # Lines
//
// A line has five fields, minute hour day month weekday, or six, with the second
// in front; without it the second is 0. A field is a list, separated by commas,
// of:
//
//   - every value; ? means the same in the two day fields
//     5        one value
//     10-40    a range; 22-4 and FRI-MON go on at the beginning
//     */5      every fifth value, counted from the field's first one
//     10-40/5  every fifth value of a range
//     7/5      every fifth value from 7 to the field's last one
//     L        in the day field, the last day of the month
//
// Months may be written JAN to DEC and weekdays SUN to SAT, in any case; as
// numbers, Sunday is 0 and also 7. The macros are @hourly, @daily or @midnight,
// @weekly, @monthly, and @yearly or @annually.
//
// # Days
//
// When day and weekday are both restricted, a date fits when either does: 0 0 13 * FRI
// is every 13th and every Friday. Restricted is whatever is not written as *, ? or */1.
// Day 31 does not fire in shorter months; L does. A line that fits no date at all
// is refused.
//
// # Daylight saving
//
// For a line whose hours are restricted, each date and time that the line fits
// fires once: at the first moment at which the clock on the wall shows that time
// or a later one. So:
//
//   - A time that does not exist, because the clock is put forward over it, fires at
//     the first moment after the gap. Several such times fire together, once; so do
//     they with the time at which the gap ends, when the line fits that too.
//   - A time that exists twice, because the clock is put back, fires the first time.
//
// A line that fits every hour runs by what the clock shows at the moment: it fires
// whenever the clock shows a time that the line fits. Times that do not exist are
// not made up, and times that exist twice fire twice, so */15 * * * * fires every
// fifteen minutes of real time all year wherever the shift is whole quarters.
//
// The package stores nothing and starts no goroutine.
package cron

import (
	"math/bits"
	"time"
)

// Line is a cron line in a time zone. It does not change and may be used by many
// goroutines.
type Line struct {
	second, minute uint64 // sets: bit n is value n
	hour           uint64
	day            uint64 // bits 1 to 31
	last           bool   // the last day of the month, too
	month          uint64 // bits 1 to 12
	weekday        uint64 // bits 0 to 6, Sunday first
	anyDay         bool   // day is not restricted
	anyWeekday     bool
	zone           *time.Location
}

// everyHour is the set of all hours.
const everyHour = 1<<24 - 1

// horizon is how far ahead a line is looked for: the longest way from one fitting
// date to the next is from 29 February 2096 to that of 2104.
const horizon = 10 // years

// Next gives the first time after a moment at which the line is due, in whole
// seconds and in the line's zone. The zero time means: not within ten years,
// which happens only where a zone's own history has no such date.
func (l *Line) Next(after time.Time) time.Time {
	if l.hour == everyHour {
		return l.nextShown(after)
	}
	due, ok := l.nextCivil(l.highest(after))
	if !ok {
		return time.Time{}
	}
	return l.reached(due)
}

// A civil time is a date and a time of day without a zone, as seconds since
// 1970-01-01 00:00:00 of the same clock.
type civil int64

const (
	day = 24 * 60 * 60
	// around bounds how far a zone's clock is from UTC, and with that how long
	// ago a later time can have been shown.
	around = 2 * day
)

// span is a stretch of time in which a zone keeps one offset.
type span struct {
	from, to int64 // Unix seconds, to is not part of it
	offset   int64
}

func (l *Line) spanAt(unix int64) span {
	t := time.Unix(unix, 0).In(l.zone)
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
	if s.to <= unix {
		s.to = unix + 60*60
	}
	return s
}

// nextShown finds the next moment at which the clock shows a time that fits.
func (l *Line) nextShown(after time.Time) time.Time {
	at := after.Unix()
	s := l.spanAt(at)
	for give := at + horizon*366*day; ; {
		due, ok := l.nextCivil(civil(at + s.offset))
		if !ok {
			return time.Time{}
		}
		if unix := int64(due) - s.offset; unix < s.to {
			return time.Unix(unix, 0).In(l.zone)
		}
		if s.to > give {
			return time.Time{}
		}
		at = s.to - 1
		s = l.spanAt(s.to)
	}
}

// highest gives the latest time that the clock has shown up to a moment. It is
// not what it shows then when the clock was put back shortly before.
func (l *Line) highest(t time.Time) civil {
	unix := t.Unix()
	s := l.spanAt(unix)
	shown := civil(unix + s.offset)
	for s.from > unix-around {
		before := s.from - 1
		s = l.spanAt(before)
		shown = max(shown, civil(before+s.offset))
	}
	return shown
}

// reached gives the first moment at which the clock shows a time or a later one.
func (l *Line) reached(due civil) time.Time {
	at := int64(due) - around
	s := l.spanAt(at)
	for {
		at = max(at, int64(due)-s.offset)
		if at < s.to {
			return time.Unix(at, 0).In(l.zone)
		}
		at = s.to
		s = l.spanAt(at)
	}
}

// nextCivil finds the first fitting time after another, zones aside.
func (l *Line) nextCivil(after civil) (civil, bool) {
	t := time.Unix(int64(after)+1, 0).UTC()
	year, month, dayOfMonth := t.Date()
	if l.dayFrom(year, month, dayOfMonth) == dayOfMonth {
		if clock, ok := l.clockFrom(t.Clock()); ok {
			return midnight(year, month, dayOfMonth) + clock, true
		}
	}
	first, _ := l.clockFrom(0, 0, 0)
	from := dayOfMonth + 1
	for range horizon * 12 {
		if d := l.dayFrom(year, month, from); d > 0 {
			return midnight(year, month, d) + first, true
		}
		from = 1
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
	return 0, false
}

func midnight(year int, month time.Month, d int) civil {
	return civil(time.Date(year, month, d, 0, 0, 0, 0, time.UTC).Unix())
}

// dayFrom finds the first fitting day of a month from a day on; 0: there is none.
func (l *Line) dayFrom(year int, month time.Month, from int) int {
	if l.month>>month&1 == 0 {
		return 0
	}
	end := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
	length := end.Day()
	for d := from; d <= length; d++ {
		weekday := (int(end.Weekday()) + 7*5 - (length - d)) % 7
		if l.fits(d, d == length, weekday) {
			return d
		}
	}
	return 0
}

func (l *Line) fits(d int, last bool, weekday int) bool {
	byDay := l.day>>d&1 == 1 || last && l.last
	byWeekday := l.weekday>>weekday&1 == 1
	if !l.anyDay && !l.anyWeekday {
		return byDay || byWeekday
	}
	return byDay && byWeekday
}

// clockFrom finds the first fitting time of a day from another on.
func (l *Line) clockFrom(hour, minute, second int) (civil, bool) {
	h, m, s := from(l.hour, hour), from(l.minute, minute), from(l.second, second)
	if h != hour {
		m, s = from(l.minute, 0), from(l.second, 0)
	} else if m != minute {
		s = from(l.second, 0)
	}
	if s == 64 { // not in this minute any more
		m, s = from(l.minute, minute+1), from(l.second, 0)
	}
	if m == 64 { // not in this hour any more
		h, m, s = from(l.hour, hour+1), from(l.minute, 0), from(l.second, 0)
	}
	return civil(h*3600 + m*60 + s), h < 64
}

// from gives the least value of a set that is at least low; 64 when there is none.
func from(set uint64, low int) int {
	return bits.TrailingZeros64(set >> low << low)
}
