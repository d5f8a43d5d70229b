package fatigue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/fatigue"
)

func TestAWindowEndsWhenTheUsersClockSaysSo(t *testing.T) {
	tests := []struct{ name, zone, per, counted, until string }{
		{"a day", "Asia/Shanghai", "day", "2026-05-05 09:00:00 +08:00", "2026-05-06 00:00:00 +08:00"},
		{"its first moment", "Asia/Shanghai", "day", "2026-05-05 00:00:00 +08:00", "2026-05-06 00:00:00 +08:00"},
		{"its last moment", "Asia/Shanghai", "day", "2026-05-05 23:59:59.999 +08:00", "2026-05-06 00:00:00 +08:00"},
		{"UTC", "UTC", "day", "2026-05-05 09:00:00 +00:00", "2026-05-06 00:00:00 +00:00"},
		{"23 hours in Berlin", "Europe/Berlin", "day", "2026-03-29 00:00:00 +01:00", "2026-03-30 00:00:00 +02:00"},
		{"25 hours in Berlin", "Europe/Berlin", "day", "2026-10-25 00:00:00 +02:00", "2026-10-26 00:00:00 +01:00"},
		{"the day after in Berlin", "Europe/Berlin", "day", "2026-10-26 00:00:00 +01:00", "2026-10-27 00:00:00 +01:00"},
		{"23 hours in New York", "America/New_York", "day", "2026-03-08 01:00:00 -05:00", "2026-03-09 00:00:00 -04:00"},
		{"25 hours in New York", "America/New_York", "day", "2026-11-01 01:30:00 -05:00", "2026-11-02 00:00:00 -05:00"},
		{"23 and a half on Lord Howe", "Australia/Lord_Howe", "day", "2026-10-04 00:00:00 +10:30", "2026-10-05 00:00:00 +11:00"},
		{"24 and a half on Lord Howe", "Australia/Lord_Howe", "day", "2026-04-05 00:00:00 +11:00", "2026-04-06 00:00:00 +10:30"},
		{"no midnight in Santiago", "America/Santiago", "day", "2026-09-05 12:00:00 -04:00", "2026-09-06 01:00:00 -03:00"},
		{"the day without in Santiago", "America/Santiago", "day", "2026-09-06 01:00:00 -03:00", "2026-09-07 00:00:00 -03:00"},
		{"the last hour twice in Santiago", "America/Santiago", "day", "2026-04-04 23:30:00 -03:00", "2026-04-05 00:00:00 -04:00"},
		{"no midnight in Cairo", "Africa/Cairo", "day", "2026-04-23 23:59:59 +02:00", "2026-04-24 01:00:00 +03:00"},
		{"the last hour twice in Cairo", "Africa/Cairo", "day", "2026-10-29 23:30:00 +03:00", "2026-10-30 00:00:00 +02:00"},
		{"midnight twice in Havana", "America/Havana", "day", "2026-10-31 12:00:00 -04:00", "2026-11-01 00:00:00 -04:00"},
		{"after the second midnight in Havana", "America/Havana", "day", "2026-11-01 00:10:00 -05:00", "2026-11-02 00:00:00 -05:00"},
		{"a minute after midnight in St. John's", "America/St_Johns", "day", "2010-11-06 23:30:00 -02:30", "2010-11-07 00:00:00 -02:30"},
		{"yesterday again in St. John's", "America/St_Johns", "day", "2010-11-06 23:30:00 -03:30", "2010-11-08 00:00:00 -03:30"},
		{"a day that Samoa did not have", "Pacific/Apia", "day", "2011-12-29 12:00:00 -10:00", "2011-12-31 00:00:00 +14:00"},
		{"before leap day", "Europe/Berlin", "day", "2028-02-28 12:00:00 +01:00", "2028-02-29 00:00:00 +01:00"},
		{"leap day", "Europe/Berlin", "day", "2028-02-29 12:00:00 +01:00", "2028-03-01 00:00:00 +01:00"},
		{"the last day of a leap year", "Europe/Berlin", "day", "2028-12-31 12:00:00 +01:00", "2029-01-01 00:00:00 +01:00"},
		{"the same far ahead", "Europe/Berlin", "day", "2096-12-31 12:00:00 +01:00", "2097-01-01 00:00:00 +01:00"},
		{"New Year's Day far ahead", "Australia/Sydney", "day", "2097-01-01 00:00:00 +11:00", "2097-01-02 00:00:00 +11:00"},
		{"the beginning of time", "America/New_York", "day", "1970-01-01 00:00:00 +00:00", "1970-01-01 00:00:00 -05:00"},

		{"a week from Monday", "Europe/Berlin", "week", "2026-05-04 00:00:00 +02:00", "2026-05-11 00:00:00 +02:00"},
		{"a week to Sunday", "Europe/Berlin", "week", "2026-05-10 23:59:59.999 +02:00", "2026-05-11 00:00:00 +02:00"},
		{"a week with a change", "Europe/Berlin", "week", "2026-03-23 00:00:00 +01:00", "2026-03-30 00:00:00 +02:00"},
		{"a week with another", "America/New_York", "week", "2026-10-28 12:00:00 -04:00", "2026-11-02 00:00:00 -05:00"},
		{"a week of two years", "Asia/Tokyo", "week", "2026-12-28 00:00:00 +09:00", "2027-01-04 00:00:00 +09:00"},
		{"Sunday there is Monday in UTC", "America/New_York", "week", "2026-05-10 22:00:00 -04:00", "2026-05-11 00:00:00 -04:00"},

		{"an hour", "Europe/Berlin", "hour", "2026-05-05 09:30:00 +02:00", "2026-05-05 10:00:00 +02:00"},
		{"an hour from its beginning", "Europe/Berlin", "hour", "2026-05-05 09:00:00 +02:00", "2026-05-05 10:00:00 +02:00"},
		{"an hour in India", "Asia/Kolkata", "hour", "2026-05-05 09:15:00 +05:30", "2026-05-05 10:00:00 +05:30"},
		{"an hour in Nepal", "Asia/Kathmandu", "hour", "2026-05-05 09:50:00 +05:45", "2026-05-05 10:00:00 +05:45"},
		{"before the lost hour", "Europe/Berlin", "hour", "2026-03-29 01:30:00 +01:00", "2026-03-29 03:00:00 +02:00"},
		{"an hour that comes twice", "Europe/Berlin", "hour", "2026-10-25 02:30:00 +02:00", "2026-10-25 02:00:00 +01:00"},
		{"the second time", "Europe/Berlin", "hour", "2026-10-25 02:30:00 +01:00", "2026-10-25 03:00:00 +01:00"},
		{"a full hour is lost with half an hour", "Australia/Lord_Howe", "hour", "2026-10-04 01:40:00 +10:30", "2026-10-04 02:30:00 +11:00"},
		{"and half an hour is left", "Australia/Lord_Howe", "hour", "2026-10-04 02:30:00 +11:00", "2026-10-04 03:00:00 +11:00"},
		{"an hour and a half", "Australia/Lord_Howe", "hour", "2026-04-05 01:00:00 +11:00", "2026-04-05 02:00:00 +10:30"},
		{"its last part", "Australia/Lord_Howe", "hour", "2026-04-05 01:40:00 +10:30", "2026-04-05 02:00:00 +10:30"},

		{"rolling", "Europe/Berlin", "90m", "2026-05-05 09:30:00.123 +02:00", "2026-05-05 11:00:00.123 +02:00"},
		{"rolling over a change", "Europe/Berlin", "24h", "2026-10-24 12:00:00 +02:00", "2026-10-25 11:00:00 +01:00"},
		{"the shortest", "Europe/Berlin", "1s", "2026-05-05 09:30:00.999 +02:00", "2026-05-05 09:30:01.999 +02:00"},
		{"the longest", "UTC", "720h", "2026-05-01 00:00:00 +00:00", "2026-05-31 00:00:00 +00:00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			z, counted, until := zone(t, tt.zone), moment(t, tt.counted), moment(t, tt.until)
			p := capped("news", fatigue.Cap{Per: tt.per, Max: 1})
			var s fatigue.State
			s.Count(p, z, counted)
			want := fatigue.Verdict{Kind: fatigue.Capped, Rule: "news: 1 per " + tt.per, Until: until.UTC()}
			for _, now := range []time.Time{counted, until.Add(-time.Millisecond)} {
				if diff := cmp.Diff(want, s.Judge(p, z, false, now)); diff != "" {
					t.Errorf("at %s: %s", now, diff)
				}
			}
			if got := s.Judge(p, z, false, until); got != (fatigue.Verdict{}) {
				t.Errorf("at its end: %+v", got)
			}
		})
	}
}

// allZones are those with the strangest clocks, past and present.
var allZones = []string{"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Los_Angeles", "America/Santiago", "America/Havana",
	"America/St_Johns", "America/Nuuk", "America/Scoresbysund", "Africa/Cairo", "Africa/Casablanca", "Africa/Monrovia", "Asia/Shanghai", "Asia/Kolkata",
	"Asia/Kathmandu", "Asia/Tehran", "Asia/Beirut", "Asia/Gaza", "Atlantic/Azores", "Australia/Lord_Howe", "Australia/Sydney", "Antarctica/Troll",
	"Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati", "Pacific/Chatham"}

func TestWindowsFollowEachOtherWithoutGapOrOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(allZones).Draw(t, "zone")
		z, _ := fatigue.Zone(name)
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "at"), 0)
		if rapid.Bool().Draw(t, "near a change") {
			if _, change := at.In(z).ZoneBounds(); !change.IsZero() {
				at = change.Add(time.Duration(rapid.IntRange(-26*60, 26*60).Draw(t, "minutes")) * time.Minute)
			}
		}
		at = at.Add(time.Duration(rapid.IntRange(0, 999).Draw(t, "ms")) * time.Millisecond)
		kind := rapid.SampledFrom([]string{"day", "week", "hour"}).Draw(t, "per")
		longest := map[string]time.Duration{"day": 49 * time.Hour, "week": 8 * 24 * time.Hour, "hour": 2 * time.Hour}[kind]
		p := capped("news", fatigue.Cap{Per: kind, Max: 1})
		var s fatigue.State
		s.Count(p, z, at)
		end := s.Judge(p, z, false, at).Until
		if !end.After(at) || end.Sub(at) > longest {
			t.Fatalf("%s: the %s of %s ends %s", name, kind, at.In(z), end.In(z))
		}
		later := at.Add(time.Duration(rapid.Int64Range(0, 2*end.Sub(at).Milliseconds()).Draw(t, "later")) * time.Millisecond)
		if got, want := s.Judge(p, z, false, later).Kind == fatigue.Capped, later.Before(end); got != want {
			t.Fatalf("%s: counted %s, the %s ends %s, asked %s: capped is %v", name, at.In(z), kind, end.In(z), later.In(z), got)
		}
		// What comes later in the same window ends with it.
		if later.Before(end) {
			var other fatigue.State
			other.Count(p, z, later)
			if got := other.Judge(p, z, false, later).Until; !got.Equal(end) {
				t.Fatalf("%s: the %s of %s ends %s, that of %s ends %s", name, kind, at.In(z), end.In(z), later.In(z), got.In(z))
			}
		}
	})
}

func TestQuietHoursHoldWhenTheClockShowsThem(t *testing.T) {
	tests := []struct{ name, zone, quiet, now, until string }{
		{"in the evening", "Europe/Berlin", "22:00-08:00", "2026-05-05 23:00:00 +02:00", "2026-05-06 08:00:00 +02:00"},
		{"in the morning", "Europe/Berlin", "22:00-08:00", "2026-05-05 07:59:59.999 +02:00", "2026-05-05 08:00:00 +02:00"},
		{"the first moment", "Europe/Berlin", "22:00-08:00", "2026-05-05 22:00:00 +02:00", "2026-05-06 08:00:00 +02:00"},
		{"the moment before", "Europe/Berlin", "22:00-08:00", "2026-05-05 21:59:59.999 +02:00", ""},
		{"the moment after", "Europe/Berlin", "22:00-08:00", "2026-05-05 08:00:00 +02:00", ""},
		{"within a day", "Asia/Kolkata", "12:30-14:00", "2026-05-05 12:30:00 +05:30", "2026-05-05 14:00:00 +05:30"},
		{"within a day, before", "Asia/Kolkata", "12:30-14:00", "2026-05-05 12:29:00 +05:30", ""},
		{"until midnight", "Asia/Kolkata", "20:00-00:00", "2026-05-05 20:00:00 +05:30", "2026-05-06 00:00:00 +05:30"},
		{"from midnight", "Asia/Kolkata", "00:00-06:00", "2026-05-05 00:00:00 +05:30", "2026-05-05 06:00:00 +05:30"},
		{"all day but a minute", "Asia/Kolkata", "12:01-12:00", "2026-05-05 12:01:00 +05:30", "2026-05-06 12:00:00 +05:30"},
		{"the night is shorter", "Europe/Berlin", "22:00-08:00", "2026-03-28 22:00:00 +01:00", "2026-03-29 08:00:00 +02:00"},
		{"the night is longer", "Europe/Berlin", "22:00-08:00", "2026-10-24 22:00:00 +02:00", "2026-10-25 08:00:00 +01:00"},
		{"the end does not exist", "Europe/Berlin", "22:00-02:30", "2026-03-28 23:00:00 +01:00", "2026-03-29 03:00:00 +02:00"},
		{"the beginning does not exist", "Europe/Berlin", "02:30-06:00", "2026-03-29 03:00:00 +02:00", "2026-03-29 06:00:00 +02:00"},
		{"none of it exists", "Europe/Berlin", "02:10-02:50", "2026-03-29 03:00:00 +02:00", ""},
		{"the end comes twice", "Europe/Berlin", "22:00-02:30", "2026-10-25 02:10:00 +02:00", "2026-10-25 02:30:00 +02:00"},
		{"quiet again", "Europe/Berlin", "22:00-02:30", "2026-10-25 02:10:00 +01:00", "2026-10-25 02:30:00 +01:00"},
		{"the end is when the clock is put back", "Europe/Berlin", "22:00-03:00", "2026-10-25 01:00:00 +02:00", "2026-10-25 03:00:00 +01:00"},
		{"the beginning comes twice", "Europe/Berlin", "02:30-06:00", "2026-10-25 02:40:00 +02:00", "2026-10-25 02:00:00 +01:00"},
		{"no midnight in Santiago", "America/Santiago", "22:00-00:00", "2026-09-05 23:00:00 -04:00", "2026-09-06 01:00:00 -03:00"},
		{"no half past midnight in Cairo", "Africa/Cairo", "21:00-00:30", "2026-04-23 23:00:00 +02:00", "2026-04-24 01:00:00 +03:00"},
		{"half an hour on Lord Howe", "Australia/Lord_Howe", "22:00-02:15", "2026-10-04 01:59:00 +10:30", "2026-10-04 02:30:00 +11:00"},
		{"the last night of a leap year", "Europe/Berlin", "22:00-08:00", "2096-12-31 23:00:00 +01:00", "2097-01-01 08:00:00 +01:00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q fatigue.Quiet
			var errs [2]error
			q.From, errs[0] = fatigue.ParseClock(tt.quiet[:5])
			q.To, errs[1] = fatigue.ParseClock(tt.quiet[6:])
			if errs != [2]error{} {
				t.Fatal(errs)
			}
			p := &fatigue.Policy{Category: "news", Quiet: &q}
			want := fatigue.Verdict{}
			if tt.until != "" {
				want = fatigue.Verdict{Kind: fatigue.QuietHours, Rule: "quiet hours " + tt.quiet, Until: moment(t, tt.until).UTC()}
			}
			var s fatigue.State
			z := zone(t, tt.zone)
			got := s.Judge(p, z, false, moment(t, tt.now))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if got.Kind == fatigue.Deliver {
				return
			}
			if v := s.Judge(p, z, false, got.Until.Add(-time.Millisecond)); v.Kind != fatigue.QuietHours {
				t.Errorf("a moment before its end: %+v", v)
			}
			if v := s.Judge(p, z, false, got.Until); v != (fatigue.Verdict{}) {
				t.Errorf("at its end: %+v", v)
			}
		})
	}
}

func TestQuietHoursThatAreNotValidHoldNothing(t *testing.T) {
	var s fatigue.State
	berlin := zone(t, "Europe/Berlin")
	for _, q := range []fatigue.Quiet{{}, {From: 60, To: 60}, {From: -1, To: 1439}, {From: 0, To: 1440}, {From: 0, To: 1 << 60}, {From: 1 << 60, To: 1439}, {From: 0, To: -1 << 60}} {
		for h := range 24 {
			if v := s.Judge(&fatigue.Policy{Quiet: &q}, berlin, false, noon.Add(time.Duration(h)*time.Hour)); v.Kind != fatigue.Deliver {
				t.Errorf("%+v: %+v", q, v)
			}
		}
	}
}

// A user who flies west to east is in tomorrow before today is over.
func TestAJourneyOpensNoSecondWindow(t *testing.T) {
	tests := []struct {
		name, per     string
		from, counted string
		to, now       string
		until         string // where the window ends later
		naive         bool   // asking the new zone alone would let it through
	}{
		{"east, tomorrow already", "day", "America/Los_Angeles", "2026-07-15 07:00:00 -07:00", "Asia/Shanghai", "2026-07-16 01:00:00 +08:00", "2026-07-16 00:00:00 -07:00", true},
		{"east, still today", "day", "America/Los_Angeles", "2026-07-15 07:00:00 -07:00", "Asia/Shanghai", "2026-07-15 23:00:00 +08:00", "2026-07-16 00:00:00 -07:00", false},
		{"west, yesterday again", "day", "Asia/Shanghai", "2026-07-16 07:00:00 +08:00", "America/Los_Angeles", "2026-07-15 20:00:00 -07:00", "2026-07-17 00:00:00 +08:00", false},
		{"west, the day of then is over", "day", "Asia/Shanghai", "2026-07-16 23:30:00 +08:00", "America/Los_Angeles", "2026-07-16 10:00:00 -07:00", "2026-07-17 00:00:00 -07:00", false},
		{"over the date line", "day", "Pacific/Kiritimati", "2026-07-16 00:10:00 +14:00", "Pacific/Pago_Pago", "2026-07-14 23:30:00 -11:00", "2026-07-17 00:00:00 +14:00", false},
		{"over the date line, the day of now is over", "day", "Pacific/Kiritimati", "2026-07-16 00:10:00 +14:00", "Pacific/Pago_Pago", "2026-07-15 00:30:00 -11:00", "2026-07-17 00:00:00 +14:00", true},
		{"a week", "week", "America/Los_Angeles", "2026-07-19 07:00:00 -07:00", "Asia/Shanghai", "2026-07-20 01:00:00 +08:00", "2026-07-20 00:00:00 -07:00", true},
		{"an hour", "hour", "Europe/Berlin", "2026-07-15 09:20:00 +02:00", "Asia/Kolkata", "2026-07-15 13:05:00 +05:30", "2026-07-15 10:00:00 +02:00", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, to, now := zone(t, tt.from), zone(t, tt.to), moment(t, tt.now)
			until := moment(t, tt.until)
			p := capped("news", fatigue.Cap{Per: tt.per, Max: 1})
			var s, asIfHere fatigue.State
			s.Count(p, from, moment(t, tt.counted))
			want := fatigue.Verdict{Kind: fatigue.Capped, Rule: "news: 1 per " + tt.per, Until: until.UTC()}
			if diff := cmp.Diff(want, s.Judge(p, to, false, now)); diff != "" {
				t.Error(diff)
			}
			if v := s.Judge(p, to, false, until); v != (fatigue.Verdict{}) {
				t.Errorf("at its end: %+v", v)
			}
			// The naive way forgets where it was counted.
			asIfHere.Count(p, to, moment(t, tt.counted))
			if naive := asIfHere.Judge(p, to, false, now).Kind == fatigue.Deliver; naive != tt.naive {
				t.Errorf("asking the new zone alone lets it through: %v", naive)
			}
		})
	}
}

func TestSeveralZonesGiveRoomInTheOrderInWhichTheirWindowsEnd(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "day", Max: 2})
	berlin := zone(t, "Europe/Berlin")
	var s fatigue.State
	s.Count(p, zone(t, "America/Los_Angeles"), moment(t, "2026-07-15 10:00:00 +02:00")) // 01:00 there: until 09:00 of the 16th in Berlin
	s.Count(p, zone(t, "Asia/Tokyo"), moment(t, "2026-07-15 10:30:00 +02:00"))          // until 17:00 there, and Berlin's midnight
	s.Count(p, berlin, moment(t, "2026-07-15 11:00:00 +02:00"))                         // until Berlin's midnight
	var got []string
	for now := moment(t, "2026-07-15 12:00:00 +02:00"); ; {
		use := s.Used(p, berlin, now)[0]
		if use.Used == 0 {
			break
		}
		got = append(got, fmt.Sprint(use.Used, " until ", use.Until.In(berlin).Format("02 15:04")))
		now = use.Until
	}
	want := []string{"3 until 16 00:00", "1 until 16 09:00"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAZoneThatIsNotKnownAnyMoreLeavesTheDecisionToTheCurrentOne(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "day", Max: 1})
	var s fatigue.State
	at := moment(t, "2026-07-15 12:00:00 +02:00")
	s.Count(p, time.FixedZone("Nowhere/Gone", -11*3600), at)
	berlin := zone(t, "Europe/Berlin")
	if v := s.Judge(p, berlin, false, at); !v.Until.Equal(moment(t, "2026-07-16 00:00:00 +02:00")) {
		t.Errorf("on the day: %+v", v)
	}
	if v := s.Judge(p, berlin, false, moment(t, "2026-07-16 00:00:00 +02:00")); v.Kind != fatigue.Deliver {
		t.Errorf("on the next day: %+v", v)
	}
}

func TestAClockThatJumpsOpensNoSecondWindow(t *testing.T) {
	now := moment(t, "2026-05-05 12:00:00 +02:00")
	for _, kind := range []string{"day", "week", "hour", "90m"} {
		for _, back := range []time.Duration{time.Millisecond, time.Hour, 30 * time.Hour, 400 * 24 * time.Hour, 100 * 365 * 24 * time.Hour} {
			p := capped("news", fatigue.Cap{Per: kind, Max: 1})
			var s fatigue.State
			berlin := zone(t, "Europe/Berlin")
			s.Count(p, berlin, now)
			end := s.Judge(p, berlin, false, now).Until
			for _, z := range []*time.Location{berlin, zone(t, "Asia/Shanghai")} {
				v := s.Judge(p, z, false, now.Add(-back))
				if v.Kind != fatigue.Capped || v.Until.Before(end) {
					t.Errorf("%s, %s back, in %s: %+v", kind, back, z, v)
				}
			}
			// When the clock is right again, so is the rest.
			if v := s.Judge(p, berlin, false, end); v.Kind != fatigue.Deliver {
				t.Errorf("%s: at the end: %+v", kind, v)
			}
			if v := s.Judge(p, berlin, false, now.Add(back+8*24*time.Hour)); v.Kind != fatigue.Deliver {
				t.Errorf("%s, forward: %+v", kind, v)
			}
		}
	}
}

func TestTimesOutOfReachBecomeTheNearest(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "day", Max: 1})
	for _, at := range []time.Time{{}, time.Unix(-1e9, 0), time.Unix(1<<40, 0), time.Unix(1<<62, 0)} {
		var s fatigue.State
		s.Count(p, nil, at)
		if v := s.Judge(p, nil, false, at); v.Kind != fatigue.Capped {
			t.Errorf("%s: %+v", at, v)
		}
		read, err := fatigue.Decode(s.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !read.Refund(p, at) || !read.Empty() {
			t.Errorf("%s: was not refunded", at)
		}
	}
}
