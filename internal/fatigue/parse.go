package fatigue

import (
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
)

// ParseCap checks a cap as it is written in a category: per is "day", "week",
// "hour" or a duration as Go writes it, 1s to 720h in whole milliseconds; max is 0 to
// [MaxMax]. Errors are *fault.Error of the fields "per" and "max"; [Within] puts
// them where the caller has them.
func ParseCap(per string, max int) (Cap, error) {
	if kind, _ := readPer(per); kind == perNone {
		return Cap{}, fault.Field("per", "%s is not day, week, hour or a duration from 1s to 720h such as 90m", quote(per))
	}
	if max < 0 || max > MaxMax {
		return Cap{}, fault.Field("max", "%d is not between 0 and %d", max, MaxMax)
	}
	return Cap{Per: per, Max: max}, nil
}

// quote keeps what is quoted in an error short.
func quote(text string) string {
	const most = 32
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}

// ParseClock reads a time of day, "00:00" to "23:59", as minutes after midnight.
// The error is a *fault.Error without a field; [Within] gives it one.
func ParseClock(text string) (int, error) {
	if len(text) == 5 && text[2] == ':' {
		hour, hourOK := twoDigits(text[:2])
		minute, minuteOK := twoDigits(text[3:])
		if hourOK && minuteOK && hour < 24 && minute < 60 {
			return hour*60 + minute, nil
		}
	}
	return 0, fault.New(fault.BadRequest, "%s is not a time of day from 00:00 to 23:59", quote(text))
}

func twoDigits(text string) (int, bool) {
	a, b := text[0]-'0', text[1]-'0'
	return int(a)*10 + int(b), a < 10 && b < 10
}

// FormatClock writes minutes after midnight as [ParseClock] reads them.
func FormatClock(minutes int) string {
	h, m := minutes/60, minutes%60
	return string([]byte{'0' + byte(h/10), '0' + byte(h%10), ':', '0' + byte(m/10), '0' + byte(m%10)})
}

// Within says that an error is about something within a field: the error of "per",
// within "caps[1]", is one of "caps[1].per". nil stays nil.
func Within(field string, err error) error {
	if err == nil {
		return nil
	}
	inner := *fault.Of(err)
	if inner.Field == "" {
		inner.Field, inner.Message = field, field+": "+inner.Message
	} else {
		inner.Field, inner.Message = field+"."+inner.Field, field+"."+inner.Message
	}
	return &inner
}

// Validate tells what is wrong with a policy: a *fault.Error whose field is a path
// in its JSON, such as "chain[0].caps[1].per".
func (p Policy) Validate() error {
	if err := validName("category", p.Category); err != nil {
		return err
	}
	if len(p.Chain) > MaxLevels {
		return fault.Field("chain", "has %d levels; at most %d are allowed", len(p.Chain), MaxLevels)
	}
	for i, level := range p.Chain {
		at := "chain[" + strconv.Itoa(i) + "]"
		if err := level.validate(); err != nil {
			return Within(at, err)
		}
		for _, before := range p.Chain[:i] {
			if before.Category == level.Category {
				return fault.Field(at+".category", "%s stands twice in the chain", quote(level.Category))
			}
		}
	}
	if p.Quiet != nil {
		if err := p.Quiet.Validate(); err != nil {
			return Within("quiet", err)
		}
	}
	switch p.OnCap {
	case "", Inbox, Drop, Defer:
	default:
		return fault.Field("on_cap", "%s is not inbox, drop or defer", quote(p.OnCap))
	}
	switch p.OnQuiet {
	case "", Defer, Inbox, Ignore:
	default:
		return fault.Field("on_quiet", "%s is not defer, inbox or ignore", quote(p.OnQuiet))
	}
	if p.Priority < 0 || p.Priority > MaxPriority {
		return fault.Field("priority", "%d is not between 0 and %d", p.Priority, MaxPriority)
	}
	return nil
}

func (l Level) validate() error {
	if err := validName("category", l.Category); err != nil {
		return err
	}
	if len(l.Caps) > MaxCaps {
		return fault.Field("caps", "has %d caps; at most %d are allowed", len(l.Caps), MaxCaps)
	}
	for i, c := range l.Caps {
		if _, err := ParseCap(c.Per, c.Max); err != nil {
			return Within("caps["+strconv.Itoa(i)+"]", err)
		}
	}
	return nil
}

// Validate tells what is wrong with quiet hours: a *fault.Error of "from" or "to".
func (q Quiet) Validate() error {
	switch {
	case q.From < 0 || q.From >= dayMinutes:
		return fault.Field("from", "%d is not a minute of the day, 0 to %d", q.From, dayMinutes-1)
	case q.To < 0 || q.To >= dayMinutes:
		return fault.Field("to", "%d is not a minute of the day, 0 to %d", q.To, dayMinutes-1)
	case q.From == q.To:
		return fault.Field("to", "is the same as from: %s", FormatClock(q.To))
	}
	return nil
}

func validName(field, name string) error {
	switch {
	case name == "":
		return fault.Field(field, "is missing")
	case len(name) > MaxName:
		return fault.Field(field, "has %d bytes; at most %d are allowed", len(name), MaxName)
	}
	return nil
}
