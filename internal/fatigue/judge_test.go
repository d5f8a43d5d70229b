package fatigue_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fatigue"
)

var noon = time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)

func TestTheRulesHoldInTheirOrder(t *testing.T) {
	night := &fatigue.Quiet{From: 11 * 60, To: 13 * 60}
	full := []fatigue.Level{{Category: "news", Caps: []fatigue.Cap{{Per: "day", Max: 1}}}}
	cappedVerdict := fatigue.Verdict{Kind: fatigue.Capped, Rule: "news: 1 per day", Until: time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC)}
	quiet := fatigue.Verdict{Kind: fatigue.QuietHours, Rule: "quiet hours 11:00-13:00", Until: time.Date(2026, 5, 5, 13, 0, 0, 0, time.UTC)}
	muted := fatigue.Verdict{Kind: fatigue.Muted, Rule: "muted by the user"}
	tests := []struct {
		name   string
		policy fatigue.Policy
		muted  bool
		want   fatigue.Verdict
	}{
		{"no category", fatigue.Policy{}, true, fatigue.Verdict{}},
		{"nothing against it", fatigue.Policy{Chain: []fatigue.Level{{Category: "news", Caps: []fatigue.Cap{{Per: "day", Max: 2}}}}}, false, fatigue.Verdict{}},
		{"bypass is above all", fatigue.Policy{Chain: full, Quiet: night, Mutable: true, Bypass: true}, true, fatigue.Verdict{}},
		{"muted is above quiet hours", fatigue.Policy{Chain: full, Quiet: night, Mutable: true}, true, muted},
		{"not every category can be muted", fatigue.Policy{Chain: full, Quiet: night}, true, quiet},
		{"quiet hours are above caps", fatigue.Policy{Chain: full, Quiet: night, Mutable: true}, false, quiet},
		{"also those that go to the inbox", fatigue.Policy{Chain: full, Quiet: night, OnQuiet: fatigue.Inbox}, false, quiet},
		{"unless they are ignored", fatigue.Policy{Chain: full, Quiet: night, OnQuiet: fatigue.Ignore}, false, cappedVerdict},
		{"caps", fatigue.Policy{Chain: full}, false, cappedVerdict},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s fatigue.State
			s.Count(&fatigue.Policy{Chain: full}, time.UTC, noon)
			before := s.Append(nil)
			if diff := cmp.Diff(tt.want, s.Judge(&tt.policy, nil, tt.muted, noon)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, s.Append(nil)); diff != "" {
				t.Errorf("judging changed the state: %s", diff)
			}
		})
	}
}

func TestOfTheCapsThatRefuseTheLongestGivesItsName(t *testing.T) {
	type level = fatigue.Level
	type caps = []fatigue.Cap
	end := func(text string) time.Time { return moment(t, text+" +00:00").UTC() }
	tests := []struct {
		name  string
		chain []fatigue.Level
		rule  string
		until time.Time
	}{
		{"one of two", []level{{"news", caps{{"day", 2}, {"90m", 3}}}}, "news: 2 per day", end("2026-05-06 00:00:00")},
		{"the later one", []level{{"news", caps{{"hour", 1}, {"day", 2}}}}, "news: 2 per day", end("2026-05-06 00:00:00")},
		{"whatever its place", []level{{"news", caps{{"day", 2}, {"hour", 1}}}}, "news: 2 per day", end("2026-05-06 00:00:00")},
		{"of a parent", []level{{"news", caps{{"day", 2}}}, {"marketing", caps{{"week", 2}}}}, "marketing: 2 per week", end("2026-05-11 00:00:00")},
		{"the parent alone", []level{{"news", nil}, {"marketing", caps{{"90m", 1}}}}, "marketing: 1 per 90m", end("2026-05-05 13:30:00")},
		{"the first of equal ones", []level{{"news", caps{{"day", 2}, {"day", 1}}}, {"marketing", caps{{"day", 1}}}}, "news: 2 per day", end("2026-05-06 00:00:00")},
		{"room is made by the newest when one is allowed", []level{{"news", caps{{"24h", 1}}}}, "news: 1 per 24h", end("2026-05-06 12:00:00")},
		{"by the oldest when two are", []level{{"news", caps{{"24h", 2}}}}, "news: 2 per 24h", end("2026-05-06 11:00:00")},
		{"never is the longest", []level{{"news", caps{{"week", 1}, {"hour", 0}}}}, "news: 0 per hour", time.Time{}},
		{"also without an entry", []level{{"sport", caps{{"week", 0}}}}, "sport: 0 per week", time.Time{}},
		{"what is no window refuses nothing", []level{{"news", caps{{"month", 0}, {"", 1}, {"hour", 1}}}}, "news: 1 per hour", end("2026-05-05 13:00:00")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			counted := &fatigue.Policy{Chain: []level{{"news", nil}, {"marketing", nil}}}
			var s fatigue.State
			s.Count(counted, time.UTC, noon)
			s.Count(counted, time.UTC, noon.Add(-time.Hour))
			want := fatigue.Verdict{Kind: fatigue.Capped, Rule: tt.rule, Until: tt.until}
			if diff := cmp.Diff(want, s.Judge(&fatigue.Policy{Chain: tt.chain}, time.UTC, false, noon)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatCountsCountsForEveryLevel(t *testing.T) {
	chain := []fatigue.Level{{Category: "promo"}, {Category: "marketing"}, {Category: "all"}}
	of := func(s *fatigue.State) (n [3]int) {
		for i, l := range chain {
			n[i] = s.Used(capped(l.Category, fatigue.Cap{Per: "day", Max: 9}), nil, noon)[0].Used
		}
		return n
	}
	for _, tt := range []struct {
		bypass, counts bool
		want           [3]int
	}{{false, false, [3]int{1, 1, 1}}, {false, true, [3]int{1, 1, 1}}, {true, true, [3]int{1, 1, 1}}, {true, false, [3]int{}}} {
		p := &fatigue.Policy{Category: "promo", Chain: chain, Bypass: tt.bypass, Counts: tt.counts}
		var s fatigue.State
		s.Count(p, time.UTC, noon)
		if got := of(&s); got != tt.want {
			t.Errorf("%+v: counted %v", tt, got)
		}
		if got, want := s.Refund(p, noon), tt.want != [3]int{}; got != want {
			t.Errorf("%+v: refunded is %v", tt, got)
		}
		if got := of(&s); got != [3]int{} || !s.Empty() {
			t.Errorf("%+v: after the refund %v", tt, got)
		}
	}
}

func TestARefundTakesBackOneEntry(t *testing.T) {
	promo := &fatigue.Policy{Chain: []fatigue.Level{{Category: "promo"}, {Category: "all", Caps: []fatigue.Cap{{Per: "day", Max: 9}}}}}
	news := &fatigue.Policy{Chain: []fatigue.Level{{Category: "news"}, {Category: "all", Caps: []fatigue.Cap{{Per: "day", Max: 9}}}}}
	bypass := &fatigue.Policy{Chain: promo.Chain, Bypass: true}
	var s fatigue.State
	s.Count(promo, time.UTC, noon)
	s.Count(promo, time.UTC, noon)
	s.Count(promo, time.UTC, noon.Add(time.Millisecond))
	for _, tt := range []struct {
		name string
		p    *fatigue.Policy
		at   time.Time
		want bool
		left int
	}{
		{"nothing was counted then", promo, noon.Add(-time.Millisecond), false, 3},
		{"another category was", news, noon, false, 3},
		{"what does not count has counted nothing", bypass, noon, false, 3},
		{"no category", &fatigue.Policy{}, noon, false, 3},
		{"one of two at that time", promo, noon.Add(900 * time.Microsecond), true, 2},
		{"the other", promo, noon, true, 1},
		{"no third", promo, noon, false, 1},
		{"the last", promo, noon.Add(time.Millisecond), true, 0},
	} {
		if got := s.Refund(tt.p, tt.at); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
		if use := s.Used(promo, nil, noon)[0]; use.Used != tt.left {
			t.Errorf("%s: %d left, want %d", tt.name, use.Used, tt.left)
		}
	}
	if !s.Empty() {
		t.Error("it is not empty")
	}
}

func TestAReservationMovesToItsDelivery(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "day", Max: 1})
	tomorrow := noon.Add(24 * time.Hour)
	var s fatigue.State
	s.Count(p, time.UTC, noon)
	if !s.Move(p, time.UTC, noon, tomorrow) {
		t.Error("there was no reservation")
	}
	if v := s.Judge(p, time.UTC, false, tomorrow); v.Kind != fatigue.Capped {
		t.Errorf("tomorrow: %+v", v)
	}
	if s.Move(p, time.UTC, noon, tomorrow) {
		t.Error("there was a second reservation")
	}
	if use := s.Used(p, time.UTC, tomorrow)[0]; use.Used != 2 {
		t.Errorf("a delivery without a reservation counts: %+v", use)
	}
}

func TestPruneForgetsWhatCannotMatter(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "720h", Max: 3})
	var s fatigue.State
	s.Count(p, time.UTC, noon)
	s.Count(p, time.UTC, noon.Add(time.Hour))
	s.Count(capped("sport"), time.UTC, noon)
	s.Prune(noon.Add(fatigue.Keep))
	if !s.Refund(p, noon) {
		t.Error("an entry of exactly that age is gone")
	}
	s.Count(p, time.UTC, noon)
	s.Prune(noon.Add(fatigue.Keep + time.Millisecond))
	if s.Refund(p, noon) || s.Refund(capped("sport"), noon) {
		t.Error("an older entry is there")
	}
	if s.Empty() {
		t.Error("the newer entry is gone")
	}
	s.Prune(noon.Add(fatigue.Keep + 2*time.Hour))
	if !s.Empty() {
		t.Error("it is not empty")
	}
}

func TestOnlyTheNewestEntriesAreKept(t *testing.T) {
	p := capped("news", fatigue.Cap{Per: "day", Max: fatigue.MaxMax})
	var s fatigue.State
	at := func(i int) time.Time { return noon.Add(time.Duration(i) * time.Millisecond) }
	for i := range fatigue.MaxEntries + 10 {
		s.Count(p, time.UTC, at(i))
	}
	s.Count(p, time.UTC, at(-1))
	if use := s.Used(p, time.UTC, noon)[0]; use.Used != fatigue.MaxEntries {
		t.Errorf("%d entries are kept", use.Used)
	}
	for i, want := range map[int]bool{-1: false, 0: false, 9: false, 10: true, fatigue.MaxEntries + 9: true} {
		if got := s.Refund(p, at(i)); got != want {
			t.Errorf("entry %d: refunded is %v", i, got)
		}
	}
	s.Count(p, time.UTC, at(5)) // out of order, where there is room
	s.Count(p, time.UTC, at(6))
	s.Count(p, time.UTC, at(20)) // and where there is none
	if s.Refund(p, at(5)) || !s.Refund(p, at(6)) || !s.Refund(p, at(20)) || !s.Refund(p, at(20)) {
		t.Error("an older entry was kept in place of a newer one")
	}
	if v := s.Judge(p, time.UTC, false, noon); v.Kind != fatigue.Capped {
		t.Errorf("the window is not full any more: %+v", v)
	}
	read, err := fatigue.Decode(s.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Append(nil), read.Append(nil)); diff != "" {
		t.Error(diff)
	}
}

func TestUsedTellsOfEveryCapOfTheChain(t *testing.T) {
	p := &fatigue.Policy{Bypass: true, Counts: true, Chain: []fatigue.Level{
		{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: 3}, {Per: "90m", Max: 2}, {Per: "1s", Max: 1}, {Per: "day", Max: 0}}},
		{Category: "all"},
		{Category: "world", Caps: []fatigue.Cap{{Per: "24h", Max: 1}}},
	}}
	var s fatigue.State
	for _, ago := range []time.Duration{13 * time.Hour, time.Hour, 10 * time.Minute} {
		s.Count(p, time.UTC, noon.Add(-ago))
	}
	end := func(d time.Duration) time.Time { return noon.Add(d) }
	want := []fatigue.Use{
		{Category: "promo", Per: "day", Used: 2, Max: 3, Until: end(12 * time.Hour)},
		{Category: "promo", Per: "90m", Used: 2, Max: 2, Until: end(30 * time.Minute)},
		{Category: "promo", Per: "1s", Used: 0, Max: 1},
		{Category: "promo", Per: "day", Used: 2, Max: 0},
		{Category: "world", Per: "24h", Used: 3, Max: 1, Until: end(24*time.Hour - 10*time.Minute)},
	}
	got := s.Used(p, nil, noon)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	text, err := json.Marshal(got[:3])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`[{"category":"promo","per":"day","used":2,"max":3,"until":"2026-05-06T00:00:00Z"},`+
		`{"category":"promo","per":"90m","used":2,"max":2,"until":"2026-05-05T12:30:00Z"},`+
		`{"category":"promo","per":"1s","used":0,"max":1}]`, string(text)); diff != "" {
		t.Error(diff)
	}
}

func TestAPushThatIsLetThroughAllocatesNothing(t *testing.T) {
	state, p, z := typical(t, "Europe/Berlin", summer)
	s, err := fatigue.Decode(state)
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		s.Judge(p, z, false, summer)
		s.Count(p, z, summer)
		buffer = s.Append(buffer[:0])
		s.Refund(p, summer)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestKindsHaveWords(t *testing.T) {
	got := fmt.Sprint(fatigue.Deliver, fatigue.Capped, fatigue.QuietHours, fatigue.Muted, fatigue.Kind(9))
	if want := "deliver capped quiet muted kind 9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
