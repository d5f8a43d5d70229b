package cron_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/cron"
)

func TestTheClockIsPutForwardAndBack(t *testing.T) {
	tests := []struct {
		name, zone, line, after string
		want                    []string
	}{
		{"a time in the gap runs at its end", "Europe/Berlin", "30 2 * * *", "2026-03-28 03:00:00 +01:00", []string{"2026-03-29 03:00:00 +02:00", "2026-03-30 02:30:00 +02:00"}},
		{"several in the gap run once", "Europe/Berlin", "*/30 2 * * *", "2026-03-28 02:45:00 +01:00", []string{"2026-03-29 03:00:00 +02:00", "2026-03-30 02:00:00 +02:00"}},
		{"also with the one at its end", "Europe/Berlin", "*/30 2-3 * * *", "2026-03-29 01:00:00 +01:00", []string{"2026-03-29 03:00:00 +02:00", "2026-03-29 03:30:00 +02:00", "2026-03-30 02:00:00 +02:00"}},
		{"every hour leaves the gap out", "Europe/Berlin", "30 * * * *", "2026-03-29 00:45:00 +01:00", []string{"2026-03-29 01:30:00 +01:00", "2026-03-29 03:30:00 +02:00"}},
		{"every 15 minutes stays so in spring", "Europe/Berlin", "*/15 * * * *", "2026-03-29 01:30:00 +01:00", []string{"2026-03-29 01:45:00 +01:00", "2026-03-29 03:00:00 +02:00", "2026-03-29 03:15:00 +02:00"}},
		{"twice runs the first time", "Europe/Berlin", "30 2 * * *", "2026-10-24 12:00:00 +02:00", []string{"2026-10-25 02:30:00 +02:00", "2026-10-26 02:30:00 +01:00"}},
		{"asked between the two", "Europe/Berlin", "30 2 * * *", "2026-10-25 02:15:00 +01:00", []string{"2026-10-26 02:30:00 +01:00"}},
		{"a part of the hour that comes twice", "Europe/Berlin", "*/30 2-3 * * *", "2026-10-25 01:30:00 +02:00", []string{"2026-10-25 02:00:00 +02:00", "2026-10-25 02:30:00 +02:00", "2026-10-25 03:00:00 +01:00"}},
		{"every hour runs in both", "Europe/Berlin", "30 * * * *", "2026-10-25 01:45:00 +02:00", []string{"2026-10-25 02:30:00 +02:00", "2026-10-25 02:30:00 +01:00", "2026-10-25 03:30:00 +01:00"}},
		{"every 15 minutes stays so in autumn", "Europe/Berlin", "*/15 0-23 * * *", "2026-10-25 02:30:00 +02:00", []string{"2026-10-25 02:45:00 +02:00", "2026-10-25 02:00:00 +01:00", "2026-10-25 02:15:00 +01:00"}},
		{"New York in spring", "America/New_York", "15 2 * * *", "2026-03-07 12:00:00 -05:00", []string{"2026-03-08 03:00:00 -04:00", "2026-03-09 02:15:00 -04:00"}},
		{"New York in autumn", "America/New_York", "0,30 1 * * *", "2026-10-31 12:00:00 -04:00", []string{"2026-11-01 01:00:00 -04:00", "2026-11-01 01:30:00 -04:00", "2026-11-02 01:00:00 -05:00"}},
		{"a gap of half an hour", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03 12:00:00 +10:30", []string{"2026-10-04 02:30:00 +11:00", "2026-10-05 02:15:00 +11:00"}},
		{"half an hour twice", "Australia/Lord_Howe", "45 1 * * *", "2026-04-04 12:00:00 +11:00", []string{"2026-04-05 01:45:00 +11:00", "2026-04-06 01:45:00 +10:30"}},
		{"every hour where half an hour is lost", "Australia/Lord_Howe", "0 * * * *", "2026-10-04 00:30:00 +10:30", []string{"2026-10-04 01:00:00 +10:30", "2026-10-04 03:00:00 +11:00"}},
		{"a day that begins at one", "America/Santiago", "0 0 * * *", "2026-09-05 00:00:00 -04:00", []string{"2026-09-06 01:00:00 -03:00", "2026-09-07 00:00:00 -03:00"}},
		{"a day that ends twice", "America/Santiago", "30 23 * * *", "2026-04-03 23:30:00 -03:00", []string{"2026-04-04 23:30:00 -03:00", "2026-04-05 23:30:00 -04:00"}},
		{"midnight in Cairo", "Africa/Cairo", "0 0 * * FRI", "2026-04-23 12:00:00 +02:00", []string{"2026-04-24 01:00:00 +03:00", "2026-05-01 00:00:00 +03:00"}},
		{"a day that Samoa did not have", "Pacific/Apia", "0 12 * * *", "2011-12-29 11:00:00 -10:00", []string{"2011-12-29 12:00:00 -10:00", "2011-12-31 00:00:00 +14:00", "2011-12-31 12:00:00 +14:00"}},
		{"no daylight saving", "Asia/Kolkata", "30 2 * * *", "2026-03-28 12:00:00 +05:30", []string{"2026-03-29 02:30:00 +05:30", "2026-03-30 02:30:00 +05:30"}},
		{"UTC", "UTC", "30 2 * * *", "2026-03-28 12:00:00 +00:00", []string{"2026-03-29 02:30:00 +00:00"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := runs(parse(t, tt.line, tt.zone), moment(t, tt.after), len(tt.want))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRareDatesAreFoundFarAhead(t *testing.T) {
	for _, tt := range []struct{ line, after, want string }{
		{"0 0 29 2 *", "2024-02-29 00:00:00 +00:00", "2028-02-29 00:00:00 +00:00"},
		{"0 0 29 2 *", "2096-02-29 00:00:00 +00:00", "2104-02-29 00:00:00 +00:00"},
		{"59 59 * 29 2 *", "2096-02-29 23:59:59 +00:00", "2104-02-29 00:59:59 +00:00"},
		{"* 29 2 * *", "2026-01-01 00:00:00 +00:00", ""},
	} {
		l, err := cron.Parse(tt.line, zone(t, "Europe/London"))
		if tt.want == "" {
			if err == nil {
				t.Errorf("%s was taken", tt.line)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := runs(l, moment(t, tt.after), 1)[0]; got != tt.want {
			t.Errorf("%s after %s: got %s, want %s", tt.line, tt.after, got, tt.want)
		}
	}
}

// set is one field of a generated line: its text and what it stands for.
type set struct {
	text   string
	values map[int]bool
	any    bool
}

func (s set) has(v int) bool { return s.values[v] }

// drawSet draws a field of the values low to high.
func drawSet(t *rapid.T, name string, low, high int) set {
	s := set{values: map[int]bool{}}
	add := func(from, to, step int) {
		for v := from; v <= to; v += step {
			s.values[v] = true
		}
	}
	value := rapid.IntRange(low, high)
	switch rapid.IntRange(0, 4).Draw(t, name+" form") {
	case 0:
		s.text, s.any = "*", true
		add(low, high, 1)
	case 1:
		step := rapid.IntRange(2, high-low).Draw(t, name+" step")
		s.text = fmt.Sprintf("*/%d", step)
		add(low, high, step)
	case 2:
		from, to := value.Draw(t, name+" from"), value.Draw(t, name+" to")
		s.text = fmt.Sprintf("%d-%d", from, to)
		for v := from; ; v++ {
			if v > high {
				v = low
			}
			s.values[v] = true
			if v == to {
				break
			}
		}
	default:
		var words []string
		for _, v := range rapid.SliceOfN(value, 1, 4).Draw(t, name+" list") {
			words = append(words, fmt.Sprint(v))
			s.values[v] = true
		}
		s.text = strings.Join(words, ",")
	}
	return s
}

// model is a line that is looked up minute by minute.
type model struct{ minute, hour, day, month, weekday set }

func drawModel(t *rapid.T) model {
	m := model{
		minute: drawSet(t, "minute", 0, 59), hour: drawSet(t, "hour", 0, 23), day: drawSet(t, "day", 1, 31),
		month: drawSet(t, "month", 1, 12), weekday: drawSet(t, "weekday", 0, 6),
	}
	if rapid.Bool().Draw(t, "any date") {
		m.day, m.month, m.weekday = anything(1, 31), anything(1, 12), anything(0, 6)
	}
	return m
}

func anything(low, high int) set {
	s := set{text: "*", any: true, values: map[int]bool{}}
	for v := low; v <= high; v++ {
		s.values[v] = true
	}
	return s
}

func (m model) line() string {
	return strings.Join([]string{m.minute.text, m.hour.text, m.day.text, m.month.text, m.weekday.text}, " ")
}

// fits takes a clock's time as if it were UTC.
func (m model) fits(c time.Time) bool {
	day, weekday := m.day.has(c.Day()), m.weekday.has(int(c.Weekday()))
	date := day && weekday
	if !m.day.any && !m.weekday.any {
		date = day || weekday
	}
	return date && m.month.has(int(c.Month())) && m.hour.has(c.Hour()) && m.minute.has(c.Minute())
}

// next walks the minutes after a moment up to another, in a zone; zero: none fits.
func (m model) next(after, until time.Time, zone *time.Location) time.Time {
	everyHour := len(m.hour.values) == 24
	shows := func(t time.Time) time.Time {
		_, offset := t.In(zone).Zone()
		return t.UTC().Add(time.Duration(offset) * time.Second).Truncate(time.Minute)
	}
	highest := shows(after.Add(-50 * time.Hour))
	for t := after.Add(-50 * time.Hour).Truncate(time.Minute); !t.After(until); t = t.Add(time.Minute) {
		shown := shows(t)
		due := everyHour && m.fits(shown)
		for !everyHour && highest.Before(shown) {
			highest = highest.Add(time.Minute)
			due = due || m.fits(highest)
		}
		if due && t.After(after) {
			return t
		}
	}
	return time.Time{}
}

var zones = []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo",
	"Asia/Kolkata", "UTC", "Pacific/Apia", "Africa/Casablanca", "Asia/Tehran", "Antarctica/Troll", "America/Caracas"}

func TestLinesAgreeWithAMinuteByMinuteModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		z := zone(t, rapid.SampledFrom(zones).Draw(r, "zone"))
		m := drawModel(r)
		l, err := cron.Parse(m.line(), z)
		if err != nil {
			if strings.HasPrefix(err.Error(), "never: ") {
				return
			}
			r.Fatalf("%s: %v", m.line(), err)
		}
		at := time.Unix(rapid.Int64Range(946_684_800, 2_100_000_000).Draw(r, "unix"), 0)
		if _, change := at.In(z).ZoneBounds(); !change.IsZero() && rapid.IntRange(0, 9).Draw(r, "near a change") > 0 {
			at = change.Add(time.Duration(rapid.IntRange(-3*24*3600, 26*3600).Draw(r, "from the change")) * time.Second)
		}
		until := at.Add(4 * 24 * time.Hour)
		want, got := m.next(at, until, z), l.Next(at)
		if want.IsZero() && got.After(until) || got.Equal(want) {
			return
		}
		r.Fatalf("%s in %s after %s: got %s, want %s", m.line(), z, at.In(z), got, want.In(z))
	})
}

func TestDatesAgreeWithADayByDayModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := drawModel(r)
		m.minute, m.hour = set{text: "0", values: map[int]bool{0: true}}, set{text: "0", values: map[int]bool{0: true}}
		l, err := cron.Parse(m.line(), time.UTC)
		start := time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(r, "unix"), 0).UTC().Truncate(24 * time.Hour)
		var want time.Time
		for d := 1; d < 9*366 && want.IsZero(); d++ {
			if day := start.AddDate(0, 0, d); m.fits(day) {
				want = day
			}
		}
		if err != nil {
			if !want.IsZero() || !strings.HasPrefix(err.Error(), "never: ") {
				r.Fatalf("%s: %v, but it fits %s", m.line(), err, want)
			}
			return
		}
		if got := l.Next(start); !got.Equal(want) {
			r.Fatalf("%s after %s: got %s, want %s", m.line(), start, got, want)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, line := range []string{"* * * * *", "30 2 * * *", "0 0 29 2 *", "* * 29 2 *"} {
		b.Run(line, func(b *testing.B) {
			l := parse(b, line, "Europe/Berlin")
			after := time.Date(2096, 3, 1, 0, 0, 0, 0, time.UTC)
			b.ReportAllocs()
			for b.Loop() {
				if l.Next(after).IsZero() {
					b.Fatal("never")
				}
			}
		})
	}
}
