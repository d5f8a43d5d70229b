package fatigue_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/fatigue"
)

// A model is a plain list of what was counted. It finds windows by looking at the
// user's clock minute by minute.
type model struct{ entries []modelEntry }

type modelEntry struct {
	at       time.Time
	zone     *time.Location
	category string
}

func (m *model) count(p *fatigue.Policy, z *time.Location, at time.Time) {
	if p.Bypass && !p.Counts {
		return
	}
	for _, l := range p.Chain {
		m.entries = append(m.entries, modelEntry{at, z, l.Category})
	}
}

func (m *model) refund(p *fatigue.Policy, at time.Time) bool {
	if p.Bypass && !p.Counts {
		return false
	}
	for level, l := range p.Chain {
		found := -1
		for i, e := range m.entries {
			if e.category == l.Category && e.at.Equal(at) {
				found = i
			}
		}
		if found < 0 && level == 0 {
			return false
		}
		if found >= 0 {
			m.entries = slices.Delete(m.entries, found, found+1)
		}
	}
	return true
}

func (m *model) prune(now time.Time) {
	m.entries = slices.DeleteFunc(m.entries, func(e modelEntry) bool { return now.Sub(e.at) > 31*24*time.Hour })
}

// used counts the entries of a cap by looking at each.
func (m *model) used(category, per string, z *time.Location, now time.Time) (n int) {
	for _, e := range m.entries {
		if e.category == category && inWindow(e, per, z, now) {
			n++
		}
	}
	return n
}

func inWindow(e modelEntry, per string, z *time.Location, now time.Time) bool {
	var start func(time.Time, *time.Location) int64
	switch per {
	case "day":
		start = dayOf
	case "week":
		start = func(t time.Time, z *time.Location) int64 { return (dayOf(t, z) + 3) / 7 } // day 0 was a Thursday
	case "hour":
		start = hourOf
	default:
		d, err := time.ParseDuration(per)
		if err != nil {
			panic(err)
		}
		return now.Before(e.at.Add(d))
	}
	return start(now, z) <= start(e.at, z) || start(now, e.zone) <= start(e.at, e.zone)
}

// dayOf gives the latest date that the clock has shown, as days since 1970. The zones
// of the model are put back by an hour at most.
func dayOf(t time.Time, z *time.Location) (day int64) {
	for range 62 {
		y, m, d := t.In(z).Date()
		day = max(day, time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/86400)
		t = t.Add(-time.Minute)
	}
	return day
}

// hourOf gives the last moment at which the clock showed a full hour or jumped over
// one.
func hourOf(t time.Time, z *time.Location) int64 {
	shown := func(t time.Time) int64 {
		l := t.In(z)
		return dayOfDate(l)*24 + int64(l.Hour())
	}
	for t = t.Truncate(time.Minute); ; t = t.Add(-time.Minute) {
		if t.In(z).Minute() == 0 || shown(t) > shown(t.Add(-time.Minute)) {
			return t.Unix()
		}
	}
}

func dayOfDate(t time.Time) int64 {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

// quiet tells whether the clock shows a minute of the quiet hours.
func quiet(q *fatigue.Quiet, z *time.Location, t time.Time) bool {
	l := t.In(z)
	now := l.Hour()*60 + l.Minute()
	for m := q.From; m != q.To; m = (m + 1) % 1440 {
		if m == now {
			return true
		}
	}
	return false
}

// judge does what Judge does, without Until.
func (m *model) judge(p *fatigue.Policy, z *time.Location, muted bool, now time.Time) fatigue.Kind {
	switch {
	case p.Bypass:
		return fatigue.Deliver
	case muted && p.Mutable:
		return fatigue.Muted
	case p.Quiet != nil && p.OnQuiet != "ignore" && quiet(p.Quiet, z, now):
		return fatigue.QuietHours
	case len(m.refusing(p, z, now)) > 0:
		return fatigue.Capped
	}
	return fatigue.Deliver
}

// refusing lists the rules of the chain that are full.
func (m *model) refusing(p *fatigue.Policy, z *time.Location, now time.Time) (rules []string) {
	for _, l := range p.Chain {
		for _, c := range l.Caps {
			if m.used(l.Category, c.Per, z, now) >= c.Max {
				rules = append(rules, fmt.Sprintf("%s: %d per %s", l.Category, c.Max, c.Per))
			}
		}
	}
	return rules
}

// whenever are moments near which clocks are changed, and others that are special.
var whenever = []string{
	"2026-03-28 18:00:00 +00:00", "2026-10-24 18:00:00 +00:00", "2026-03-07 20:00:00 +00:00", "2026-10-31 20:00:00 +00:00",
	"2026-04-04 10:00:00 +00:00", "2026-10-03 10:00:00 +00:00", "2026-09-05 18:00:00 +00:00", "2026-04-23 12:00:00 +00:00",
	"2026-10-29 12:00:00 +00:00", "2028-02-28 12:00:00 +00:00", "2028-12-30 20:00:00 +00:00", "2026-07-15 12:00:00 +00:00",
}

var modelZones = []string{"UTC", "Europe/Berlin", "America/New_York", "America/Los_Angeles", "America/Santiago", "America/Havana", "Africa/Cairo",
	"Asia/Shanghai", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Pago_Pago"}

func drawPolicies(t *rapid.T) []*fatigue.Policy {
	caps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fatigue.Cap {
		per := rapid.SampledFrom([]string{"day", "week", "hour", "90m", "1s", "36h", "720h"}).Draw(t, "per")
		return fatigue.Cap{Per: per, Max: rapid.SampledFrom([]int{1, 1, 2, 2, 3, 4, 5, 8, 0}).Draw(t, "max")}
	}), 0, 3)
	// A category has the same caps wherever it stands, as it has in life.
	of := map[string][]fatigue.Cap{}
	for _, name := range []string{"promo", "news", "marketing", "all"} {
		of[name] = caps.Draw(t, name)
	}
	var list []*fatigue.Policy
	for _, chain := range [][]string{{"promo", "marketing", "all"}, {"news", "marketing"}, {"marketing", "all"}, {"all"}} {
		p := &fatigue.Policy{Category: chain[0], Mutable: rapid.Bool().Draw(t, "mutable")}
		for _, name := range chain {
			p.Chain = append(p.Chain, fatigue.Level{Category: name, Caps: of[name]})
		}
		if rapid.IntRange(0, 3).Draw(t, "has quiet hours") == 0 {
			from := rapid.IntRange(0, 1439).Draw(t, "from")
			p.Quiet = &fatigue.Quiet{From: from, To: (from + rapid.IntRange(1, 1439).Draw(t, "length")) % 1440}
			p.OnQuiet = rapid.SampledFrom([]string{"", "inbox", "defer", "ignore"}).Draw(t, "on quiet")
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	urgent := *list[0]
	urgent.Bypass, urgent.Counts = true, rapid.Bool().Draw(t, "urgent counts")
	return append(list, &urgent)
}

// A world is a user, as the package and the model see them.
type world struct {
	policies []*fatigue.Policy
	state    fatigue.State
	model    model
	now      time.Time
	zone     *time.Location
	counted  []time.Time // moments at which something was counted
}

func TestVerdictsAreThoseOfAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{policies: drawPolicies(t)}
		w.zone, _ = fatigue.Zone(rapid.SampledFrom(modelZones).Draw(t, "first zone"))
		var err error
		if w.now, err = time.Parse(clock, rapid.SampledFrom(whenever).Draw(t, "begin")); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			w.step(t)
		}
	})
}

func (w *world) step(t *rapid.T) {
	p := rapid.SampledFrom(w.policies).Draw(t, "policy")
	switch rapid.SampledFrom([]string{"push", "push", "push", "push", "push", "wait", "wait", "wait", "refund", "move", "travel", "back", "prune", "restart"}).Draw(t, "step") {
	case "push":
		w.push(t, p)
	case "wait":
		most := rapid.SampledFrom([]time.Duration{2 * time.Second, time.Hour, 12 * time.Hour, 12 * time.Hour, 10 * 24 * time.Hour}).Draw(t, "most")
		w.now = w.now.Add(time.Duration(rapid.Int64Range(1, most.Milliseconds()).Draw(t, "wait")) * time.Millisecond)
	case "refund":
		if len(w.counted) > 0 {
			at := rapid.SampledFrom(w.counted).Draw(t, "refund at")
			if got, want := w.state.Refund(p, at), w.model.refund(p, at); got != want {
				t.Fatalf("refund is %v, want %v", got, want)
			}
		}
	case "move":
		if len(w.counted) > 0 {
			at := rapid.SampledFrom(w.counted).Draw(t, "move from")
			want := w.model.refund(p, at)
			w.model.count(p, w.zone, w.now)
			w.counted = append(w.counted, w.now)
			if got := w.state.Move(p, w.zone, at, w.now); got != want {
				t.Fatalf("move is %v, want %v", got, want)
			}
		}
	case "travel":
		w.zone, _ = fatigue.Zone(rapid.SampledFrom(modelZones).Draw(t, "zone"))
	case "back":
		w.now = w.now.Add(-time.Duration(rapid.Int64Range(1, 40*3600*1000).Draw(t, "back")) * time.Millisecond)
	case "prune":
		w.state.Prune(w.now)
		w.model.prune(w.now)
	case "restart":
		b := w.state.Append(nil)
		var err error
		if w.state, err = fatigue.Decode(b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, w.state.Append(nil)) {
			t.Fatal("it is written differently")
		}
	}
	if got, want := w.state.Empty(), len(w.model.entries) == 0; got != want {
		t.Fatalf("empty is %v, want %v", got, want)
	}
}

// push judges, and counts what is let through.
func (w *world) push(t *rapid.T, p *fatigue.Policy) {
	muted := rapid.IntRange(0, 9).Draw(t, "muted") == 0
	got := w.state.Judge(p, w.zone, muted, w.now)
	if want := w.model.judge(p, w.zone, muted, w.now); got.Kind != want {
		t.Fatalf("%s in %s: got %v (%s), want %v", w.now, w.zone, got.Kind, got.Rule, want)
	}
	switch got.Kind {
	case fatigue.Deliver:
		if got != (fatigue.Verdict{}) {
			t.Fatalf("more was said: %+v", got)
		}
		w.state.Count(p, w.zone, w.now)
		w.model.count(p, w.zone, w.now)
		w.counted = append(w.counted, w.now)
	case fatigue.QuietHours:
		w.quiet(t, p, got)
	case fatigue.Capped:
		w.capped(t, p, got)
	}
	w.used(t, p)
}

// quiet checks that the end of the quiet hours is the first one.
func (w *world) quiet(t *rapid.T, p *fatigue.Policy, got fatigue.Verdict) {
	end := w.now.Truncate(time.Minute)
	for quiet(p.Quiet, w.zone, end) {
		end = end.Add(time.Minute)
	}
	if !got.Until.Equal(end) || got.Rule != "quiet hours "+p.Quiet.String() {
		t.Fatalf("%s in %s: got %+v, want until %s", w.now, w.zone, got, end)
	}
}

// capped checks that the rule is one that refuses, that none refuses longer and that
// none before it refuses as long; and that it lets through when it says so.
func (w *world) capped(t *rapid.T, p *fatigue.Policy, got fatigue.Verdict) {
	if got.Until.IsZero() {
		for _, l := range p.Chain {
			for _, c := range l.Caps {
				if c.Max == 0 {
					if rule := fmt.Sprintf("%s: 0 per %s", l.Category, c.Per); got.Rule != rule {
						t.Fatalf("got %s, want %s", got.Rule, rule)
					}
					return
				}
			}
		}
		t.Fatalf("never is not the answer of %s", got.Rule)
	}
	if !got.Until.After(w.now) {
		t.Fatalf("capped until %s, now is %s", got.Until, w.now)
	}
	before := w.model.refusing(p, w.zone, got.Until.Add(-time.Millisecond))
	if len(before) == 0 || before[0] != got.Rule {
		t.Fatalf("%s in %s: %s until %s, but a moment before that %q refuse", w.now, w.zone, got.Rule, got.Until, before)
	}
	if after := w.model.refusing(p, w.zone, got.Until); len(after) > 0 {
		t.Fatalf("%s in %s: %s until %s, but then %q refuse", w.now, w.zone, got.Rule, got.Until, after)
	}
	// It refuses all the time in between.
	at := w.now.Add(time.Duration(rapid.Int64Range(0, got.Until.Sub(w.now).Milliseconds()-1).Draw(t, "between")) * time.Millisecond)
	if !slices.Contains(w.model.refusing(p, w.zone, at), got.Rule) {
		t.Fatalf("%s in %s: %s until %s, but not at %s", w.now, w.zone, got.Rule, got.Until, at)
	}
	// The package itself agrees; quiet hours aside.
	only := *p
	only.Quiet = nil
	if v := w.state.Judge(&only, w.zone, false, got.Until); v.Kind != fatigue.Deliver {
		t.Fatalf("%s until %s, and then %s until %s", got.Rule, got.Until, v.Rule, v.Until)
	}
}

// used checks what each cap has used up, and until when.
func (w *world) used(t *rapid.T, p *fatigue.Policy) {
	var want, got []fatigue.Use
	for _, l := range p.Chain {
		for _, c := range l.Caps {
			want = append(want, fatigue.Use{Category: l.Category, Per: c.Per, Max: c.Max, Used: w.model.used(l.Category, c.Per, w.zone, w.now)})
		}
	}
	for _, u := range w.state.Used(p, w.zone, w.now) {
		if (u.Used == 0 || u.Max == 0) != u.Until.IsZero() {
			t.Fatalf("used: %+v", u)
		}
		if !u.Until.IsZero() {
			still := min(u.Used, u.Max)
			if n := w.model.used(u.Category, u.Per, w.zone, u.Until.Add(-time.Millisecond)); n < still {
				t.Fatalf("%+v: a moment before that %d are used", u, n)
			}
			if n := w.model.used(u.Category, u.Per, w.zone, u.Until); n >= still {
				t.Fatalf("%+v: then %d are used", u, n)
			}
		}
		u.Until = time.Time{}
		got = append(got, u)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s in %s: %s", w.now, w.zone, diff)
	}
}
