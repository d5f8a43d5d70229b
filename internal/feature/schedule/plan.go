package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/cron"
)

// Spec is when something is done and what; the same in params and results.
type Spec struct {
	At            string          `json:"at,omitempty" jsonschema:"once, at this time (RFC 3339)"`
	Every         string          `json:"every,omitempty" jsonschema:"again and again, such as 5s; 100ms to 8760h"`
	Start         string          `json:"start,omitempty" jsonschema:"with every, what is counted from (RFC 3339); when absent, when the schedule was made"`
	Cron          string          `json:"cron,omitempty" jsonschema:"a cron line of 5 or 6 fields, or a macro such as @daily"`
	Zone          string          `json:"zone,omitempty" jsonschema:"with cron, the time zone, such as Europe/Berlin; UTC when absent"`
	Verb          string          `json:"verb" jsonschema:"the server verb that is run"`
	Params        json.RawMessage `json:"params,omitempty" jsonschema:"its params, an object"`
	WhileOccupied string          `json:"while_occupied,omitempty" jsonschema:"a channel: runs only while it has subscribers"`
	Misfire       Misfire         `json:"misfire,omitzero"`
	Overlap       string          `json:"overlap,omitempty" jsonschema:"when the run before has not ended: skip (when absent) or queue"`
	Jitter        string          `json:"jitter,omitempty" jsonschema:"spreads the runs over this time, such as 10s"`
	Until         string          `json:"until,omitempty" jsonschema:"no planned time is later (RFC 3339)"`
	Count         int64           `json:"count,omitempty" jsonschema:"runs in all; when absent, no end"`
}

// Words of overlap and misfire.
const (
	skip  = "skip"
	once  = "once"
	queue = "queue"
	all   = "all"
)

// plan is a schedule as it is kept.
type plan struct {
	Spec
	Enabled bool  `json:"enabled"`
	Anchor  int64 `json:"anchor,omitempty"` // what every is counted from
	Created int64 `json:"created"`          // all times are Unix milliseconds
	Changed int64 `json:"changed"`
}

// timing is what a plan says about time, ready for use. It does not change.
type timing struct {
	name   string
	at     int64 // 0: not given, as with the next two
	every  int64
	line   *cron.Line
	anchor int64
	jitter int64
	until  int64 // math.MaxInt64: without end
}

// zones keeps the time zones that were read.
type zones struct{ m sync.Map }

// find gives a zone by its IANA name.
func (z *zones) find(name string) (*time.Location, error) {
	if found, ok := z.m.Load(name); ok {
		return found.(*time.Location), nil
	}
	if name == "Local" { // another one on each node
		return nil, fmt.Errorf("unknown time zone %s", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	z.m.Store(name, zone)
	return zone, nil
}

// timing reads a plan that was checked before.
func (p *plan) timing(name string, z *zones) (*timing, error) {
	t := &timing{name: name, anchor: p.Anchor, until: math.MaxInt64}
	var err error
	take := func(into *int64, text string, read func(string) (int64, error)) {
		if text != "" && err == nil {
			*into, err = read(text)
		}
	}
	take(&t.at, p.At, readTime)
	take(&t.every, p.Every, readDuration)
	take(&t.jitter, p.Jitter, readDuration)
	take(&t.until, p.Until, readTime)
	if p.Cron != "" && err == nil {
		var zone *time.Location
		if zone, err = z.find(p.Zone); err == nil {
			t.line, err = cron.Parse(p.Cron, zone)
		}
	}
	return t, err
}

func readTime(text string) (int64, error) {
	t, err := time.Parse(time.RFC3339, text)
	return t.UnixMilli(), err
}

func readDuration(text string) (int64, error) {
	d, err := time.ParseDuration(text)
	return d.Milliseconds(), err
}

// after gives the first planned time after another; 0: there is none.
func (t *timing) after(ms int64) int64 {
	var next int64
	switch {
	case t.line != nil:
		due := t.line.Next(time.UnixMilli(ms))
		if due.IsZero() {
			return 0
		}
		next = due.UnixMilli()
	case t.every > 0:
		next = t.anchor
		if ms >= t.anchor {
			next += ((ms-t.anchor)/t.every + 1) * t.every
		}
	case t.at > ms:
		next = t.at
	default:
		return 0
	}
	if next > t.until {
		return 0
	}
	return next
}

// gap is how long it is from a planned time to the next one.
func (t *timing) gap(planned int64) int64 {
	if t.every > 0 {
		return t.every
	}
	if next := t.after(planned); next > 0 {
		return next - planned
	}
	return math.MaxInt64
}

// runAt is when a planned time is run: its own part of the jitter later, the same
// on every node, and always before the next planned time.
func (t *timing) runAt(planned int64) int64 {
	if t.jitter == 0 {
		return planned
	}
	hash := sha256.Sum256([]byte(id(t.name, planned)))
	return planned + int64(binary.BigEndian.Uint64(hash[:])%uint64(min(t.jitter, t.gap(planned))))
}

// grace is how late a run may begin and still be in time: a tenth of the way to
// the next one, from a second to a minute.
func (t *timing) grace(planned int64) int64 {
	const second, minute = 1000, 60 * 1000
	return max(second, min(t.gap(planned)/10, minute))
}

// Bounds of the search for what was missed: a day has fewer seconds than steps.
const (
	maxSteps = 100_000
	oneDay   = 24 * 60 * 60 * 1000
)

// due tells which planned times, from next on, have come: the newest n of them,
// the oldest first, how many there are, and the first that has not come. After a
// very long time, total may be too small.
func (t *timing) due(next, now int64, n int) (list []int64, total, upcoming int64) {
	if next == 0 || t.runAt(next) > now {
		return nil, 0, next
	}
	if t.every > 0 {
		last := t.anchor + (min(now, t.until)-t.anchor)/t.every*t.every
		if t.runAt(last) > now {
			last -= t.every
		}
		total = (last-next)/t.every + 1
		for p := last - (min(total, int64(n))-1)*t.every; p <= last; p += t.every {
			list = append(list, p)
		}
		return list, total, t.after(last)
	}
	for steps := 0; next > 0 && t.runAt(next) <= now; steps++ {
		if len(list) == n {
			copy(list, list[1:])
			list = list[:n-1]
		}
		list = append(list, next)
		total++
		if steps == maxSteps {
			next = max(next, now-oneDay)
		}
		next = t.after(next)
	}
	return list, total, next
}

// id names one firing: name@2026-01-31T12:00:00.000Z.
func id(name string, ms int64) string {
	return name + "@" + time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// sameTiming tells that two plans have the same planned times, ends aside.
func sameTiming(a, b *Spec) bool {
	return sameTime(a.At, b.At) && sameDuration(a.Every, b.Every) && sameTime(a.Start, b.Start) &&
		strings.EqualFold(strings.Join(strings.Fields(a.Cron), " "), strings.Join(strings.Fields(b.Cron), " ")) && a.Zone == b.Zone
}

func sameTime(a, b string) bool {
	x, _ := readTime(a)
	y, _ := readTime(b)
	return (a == "") == (b == "") && x == y
}

func sameDuration(a, b string) bool {
	x, _ := readDuration(a)
	y, _ := readDuration(b)
	return x == y
}

// same tells that two plans do the same at the same times.
func same(a, b *plan) bool {
	return sameTiming(&a.Spec, &b.Spec) && a.Verb == b.Verb && string(a.Params) == string(b.Params) && a.WhileOccupied == b.WhileOccupied &&
		a.Misfire == b.Misfire && a.Overlap == b.Overlap && sameDuration(a.Jitter, b.Jitter) && sameTime(a.Until, b.Until) &&
		a.Count == b.Count && a.Enabled == b.Enabled
}
