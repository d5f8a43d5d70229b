package skein_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein"
)

// Of 64 pushes at the same moment to a user with a cap of 5, exactly 5 come, to every
// device of the user; of the others it is said why not.
func TestOfManyPushesAtOnceAsManyComeAsTheCapLets(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		const parallel, most = 64, 5
		c := cfg()
		c.Categories["daily"] = skein.Category{Caps: []string{"5 per day", "20 per week"}}
		s := start(t, c)
		s.verb("users.put", fmt.Sprintf(`{"id":"ann","attributes":{"tz":%q}}`, zoneAt(12))) // far from midnight
		phone, desk := s.device("ann", "phone"), s.device("ann", "desk")
		stream := s.deviceAt("sse", "ann", "")
		var mu sync.Mutex
		counts, became := map[string]int64{}, map[string]string{}
		var work sync.WaitGroup
		for i := range parallel {
			work.Go(func() {
				r := s.pushes("ann", fmt.Sprint(i), `,"category":"daily"`)
				mu.Lock()
				defer mu.Unlock()
				for outcome, n := range r.Counts {
					counts[outcome] += n
					became[r.ID] = outcome
				}
			})
		}
		work.Wait()
		same(t, "the answers", counts, map[string]int64{"queued": most, "capped": parallel - most})
		came := map[string]bool{}
		for _, m := range phone.gets(most) {
			came[m.name()] = true
			if became[m.name()] != "queued" {
				t.Errorf("%s came, which was %s", m.name(), became[m.name()])
			}
		}
		desk.gets(most)
		stream.gets(most)
		// What comes next was pushed after all of them.
		s.pushes("ann", "after", "")
		for _, d := range []*device{phone, desk, stream} {
			same(t, "the last one", datas(d.gets(most + 1))[most], "after")
			if len(d.msgs) != most+1 || !rising(seqs(d.msgs)) {
				t.Errorf("%v came", seqs(d.msgs))
			}
		}
		same(t, "acknowledged", phone.acks(phone.msgs...), most+1)
		for _, r := range s.records(`"user":"ann"`) {
			want := "delivered"
			if became[r.Message] == "capped" {
				want = "capped/cap"
			}
			if r.ended() != want || (r.Rule == "daily: 5 per day") != (want != "delivered") {
				t.Errorf("the record is %+v, want %s", r, want)
			}
		}
		same(t, "what can be read", len(s.verb("inbox.list", `{"user":"ann","limit":500}`)["items"].([]any)), parallel+1)
		e := s.verb("explain", `{"user":"ann","category":"daily"}`)
		same(t, "why", []any{e["deliver"], e["outcome"], e["rule"], e["caps"].([]any)[0].(map[string]any)["used"], e["online"]}, []any{false, "capped", "daily: 5 per day", 5.0, true})
		try := s.pushes("ann bob", "x", `,"category":"daily","dry_run":true`)
		same(t, "a dry run", try.Counts, map[string]int64{"queued": 1, "capped": 1})
		same(t, "its estimate", try.Estimate["capped"], any(map[string]any{"daily: 5 per day": 1.0}))
	})
}

// The night is quiet where the user is: what comes then is put off, or waits in the inbox,
// and what bypasses comes.
func TestQuietHoursHoldWhereTheUserIs(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := cfg()
		c.Push.Zone = zoneAt(2) // of whom no zone is known
		night := skein.Category{Quiet: "22:00-08:00"}
		for _, what := range []string{"defer", "inbox", "ignore"} {
			night.OnQuiet = what
			c.Categories["night-"+what] = night
		}
		s := start(t, c)
		s.verb("users.put", fmt.Sprintf(`{"users":[{"id":"awake","attributes":{"tz":%q}},{"id":"asleep","attributes":{"tz":%q}}]}`, zoneAt(13), zoneAt(3)))
		for _, user := range []string{"asleep", "unknown"} {
			d, awake := s.device(user, ""), s.device("awake", "")
			for _, tt := range []struct{ category, outcome string }{
				{"night-defer", "queued/quiet"},
				{"night-inbox", "muted/quiet"},
				{"night-ignore", "sent"},
				{"alarm", "sent"},
			} {
				before := len(d.msgs)
				r := s.pushes(user+" awake", tt.category, fmt.Sprintf(`,"category":%q`, tt.category))
				awake.gets(len(awake.msgs) + 1)
				if tt.outcome == "sent" {
					d.gets(before + 1)
				}
				s.became(r.ID, user, tt.outcome)
				for _, rec := range s.records(fmt.Sprintf(`"message":%q`, r.ID)) {
					if quiet := strings.HasSuffix(tt.outcome, "quiet"); rec.User == user && quiet != (rec.Rule == "quiet hours 22:00-08:00") || (rec.Until > rec.Queued) != (rec.ended() == "queued/quiet") {
						t.Errorf("%s: the record is %+v", tt.category, rec)
					}
				}
			}
			same(t, user, d.has(), []string{"night-ignore", "alarm"})
			same(t, "who is awake", awake.has(), []string{"night-defer", "night-inbox", "night-ignore", "alarm"})
			awake.must(`{"type":"ack","seq":1000}`)
			same(t, "the history", datas(d.must(`{"type":"history","channel":"@inbox"}`).Messages), []string{"night-defer", "night-inbox", "night-ignore", "alarm"})
			// What was put off does not come to who connects now, and one is told of nothing that
			// was held back before.
			d.must(`{"type":"ack","seq":1000}`)
			again := s.device(user, "")
			same(t, "again", again.has(), []string{})
			same(t, "what is open", s.outcomesOf(user)["night-defer"], "queued/quiet")
			awake.leave()
		}
	})
}

// outcomesOf is what became of the messages of a user, by category; one of each.
func (s *testServer) outcomesOf(user string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, r := range s.records(fmt.Sprintf(`"user":%q`, user)) {
		all[r.Category] = r.ended()
	}
	return all
}

// Whoever moves to where another day is has not got another day's worth.
func TestWhoChangesTheZoneOpensNoSecondDay(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := cfg()
		c.Categories["daily"] = skein.Category{Caps: []string{"2 per day"}}
		s := start(t, c)
		ann := s.device("ann", "")
		move := func(zone string) {
			t.Helper()
			s.verb("users.put", fmt.Sprintf(`{"id":"ann","attributes":{"tz":%q},"merge":true}`, zone))
		}
		push := func(what, want string) {
			t.Helper()
			before := len(ann.msgs)
			same(t, what, slices.Collect(maps.Keys(s.pushes("ann", what, `,"category":"daily"`).Counts)), []string{want})
			if want == "queued" {
				ann.gets(before + 1)
			}
		}
		move(zoneAt(12))
		push("one", "queued")
		push("two", "queued")
		push("three", "capped")
		for _, hour := range []int{23, 0, 1, 11, 12} { // on both sides of the date line
			move(zoneAt(hour))
			push("on the move", "capped")
		}
		move("Pacific/Kiritimati")
		push("far away", "capped")
		move("Pacific/Pago_Pago")
		push("on the other side", "capped")
		same(t, "what came", ann.has(), []string{"one", "two"})
	})
}

// Who comes back gets what matters most, and of that the newest, within the cap; of the
// rest one notice tells.
func TestWhoComesBackGetsWhatMattersWithinTheCap(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := cfg()
		c.Categories["offers"] = skein.Category{Caps: []string{"4 per 2s"}}
		c.Categories["hot"] = skein.Category{Parent: "offers", Priority: new(9)}
		c.Categories["cold"] = skein.Category{Parent: "offers", Priority: new(1)}
		s := start(t, c)
		all := []string{}
		round := func(n int) {
			t.Helper()
			for i, category := range []string{"cold", "hot", "cold", "hot"} {
				data := fmt.Sprintf("%s %d.%d", category, n, i)
				all = append(all, data)
				same(t, data, s.pushes("ann", data, fmt.Sprintf(`,"category":%q`, category)).Counts, map[string]int64{"queued": 1})
			}
			s.pushes("ann", fmt.Sprint("order ", n), `,"category":"orders"`)
			all = append(all, fmt.Sprint("order ", n))
		}
		round(1)
		eventually(t, "the first ones do not count any more", func() bool {
			return s.verb("explain", `{"user":"ann","category":"hot"}`)["caps"].([]any)[0].(map[string]any)["used"] == 0.0
		})
		round(2)
		ann := s.device("ann", "phone")
		ann.until("the notice", func() bool { return len(ann.notices) == 1 })
		want := []string{"hot 1.1", "hot 1.3", "order 1", "hot 2.1", "hot 2.3", "order 2"}
		same(t, "what comes", datas(ann.msgs), want)
		n := ann.notices[0]
		same(t, "the notice", []string{n.Channel, n.Event, string(n.Data)}, []string{"@inbox", "held", `{"count":4,"categories":{"cold":4}}`})
		same(t, "all can be read", datas(ann.must(`{"type":"history","channel":"@inbox","limit":500}`).Messages), all)
		same(t, "acknowledged", ann.acks(ann.msgs...), len(want))
		again := s.device("ann", "desk")
		same(t, "nothing comes twice", again.has(), []string{})
		same(t, "nor is it told twice", len(again.notices)+len(ann.notices), 1)
		for _, r := range s.records(`"user":"ann"`) {
			want := map[string]string{"cold": "capped/cap", "hot": "delivered", "orders": "delivered"}[r.Category]
			if r.ended() != want {
				t.Errorf("the record is %+v, want %s", r, want)
			}
		}
	})
}

// What bypasses comes through caps and mutes, and counts only when it is to.
func TestWhatBypassesComes(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := cfg()
		c.Categories["code"] = skein.Category{Parent: "promo", Bypass: true, Caps: []string{"1 per 500h"}}
		c.Categories["call"] = skein.Category{Parent: "promo", Bypass: true, Counts: true}
		s := start(t, c)
		ann := s.device("ann", "")
		want := []string{}
		push := func(category, outcome string) {
			t.Helper()
			data := fmt.Sprintf("%s %d", category, len(want))
			same(t, data, s.pushes("ann", data, fmt.Sprintf(`,"category":%q`, category)).Counts, map[string]int64{outcome: 1})
			if outcome == "queued" {
				want = append(want, data)
				ann.gets(len(want))
			}
		}
		push("code", "queued")
		push("code", "queued")
		push("promo", "queued")
		push("call", "queued")
		push("promo", "queued")
		push("promo", "capped") // three count: two of promo, and the call
		push("call", "queued")
		push("code", "queued")
		ann.refused(`{"type":"mute","category":"code","muted":true}`, "denied")
		ann.refused(`{"type":"mute","category":"legal","muted":true}`, "denied")
		same(t, "what came", ann.has(), want)
	})
}

// What one device mutes is mute on all of them, through every door, at once.
func TestWhatOneDeviceMutesIsMuteOnAll(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		s := start(t, cfg())
		for door := range doors {
			user := "ann-" + door
			d, desk := s.deviceAt(door, user, "phone"), s.device(user, "desk")
			same(t, door+": at first", append([]string{}, d.must(`{"type":"mute"}`).Muted...), []string{})
			same(t, door+": muted", d.must(`{"type":"mute","category":"promo","muted":true}`).Muted, []string{"promo"})
			same(t, door+": muted, too", desk.must(`{"type":"mute","category":"orders","muted":true}`).Muted, []string{"orders", "promo"})
			r := s.pushes(user, "not heard", `,"category":"promo"`)
			same(t, door+": the answer", r.Counts, map[string]int64{"muted": 1})
			same(t, door+": what became of it", s.outcomes(r.ID), map[string]string{user: "muted/user"})
			s.pushes(user, "heard", `,"category":"alarm"`)
			s.verb("categories.mute", fmt.Sprintf(`{"user":%q,"category":"orders","muted":false}`, user))
			s.pushes(user, "heard again", `,"category":"orders"`)
			d.must(`{"type":"mute","category":"promo","muted":false}`)
			s.pushes(user, "and this", `,"category":"promo"`)
			for _, one := range []*device{d, desk} {
				same(t, door+": what came", datas(one.gets(3)), []string{"heard", "heard again", "and this"})
			}
			d.refused(`{"type":"mute","category":"none","muted":true}`, "not_found")
			same(t, door+": the inbox", datas(desk.must(`{"type":"history","channel":"@inbox"}`).Messages), []string{"not heard", "heard", "heard again", "and this"})
			// What waits while its user is away, and mutes it on another device, does not come.
			d.leave()
			desk.leave()
			s.isGone(user)
			s.pushes(user, "waits", `,"category":"orders"`)
			s.verb("categories.mute", fmt.Sprintf(`{"user":%q,"category":"orders","muted":true}`, user))
			next := s.device(user, "")
			next.until("the notice", func() bool { return len(next.notices) == 1 })
			same(t, door+": held back", string(next.notices[0].Data), `{"count":2,"categories":{"orders":1,"promo":1}}`)
			same(t, door+": the rest", datas(next.msgs), []string{"heard", "heard again", "and this"})
		}
	})
}

// A category is frozen into what was pushed: neither the API nor the configuration
// changes what becomes of it.
func TestACategoryIsFrozenIntoWhatWasPushed(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		c := cfg()
		strict := skein.Category{Caps: []string{"1 per 500h"}, OnCap: "defer"}
		c.Categories["configured"] = strict
		s := start(t, c)
		s.verb("categories.put", `{"name":"kept","caps":[{"per":"500h","max":1}],"on_cap":"defer"}`)
		ann := s.device("ann", "")
		push := func(category, data string) map[string]string {
			t.Helper()
			return s.outcomes(s.pushes("ann", data, fmt.Sprintf(`,"category":%q`, category)).ID)
		}
		for _, category := range []string{"configured", "kept"} {
			push(category, category+" 1")
			ann.gets(len(ann.msgs) + 1)
			same(t, category, push(category, category+" 2")["ann"], "queued/cap")
		}
		s.verb("categories.put", `{"name":"kept","caps":[{"per":"500h","max":3}],"on_cap":"drop"}`)
		if _, out := s.api("categories.put", `{"name":"configured"}`); out["code"] != "conflict" {
			t.Errorf("got %v", out)
		}
		next := c
		next.Listen = "127.0.0.1:0"
		next.Categories = maps.Clone(c.Categories)
		next.Categories["configured"] = skein.Category{Caps: []string{"3 per 500h"}, OnCap: "drop"}
		if applied, restart, err := s.Reload(next); err != nil || !slices.Equal(applied, []string{"categories"}) || restart != nil {
			t.Fatalf("%v, %v, %v", applied, restart, err)
		}
		for _, category := range []string{"configured", "kept"} {
			push(category, category+" 3") // one of three was counted
			push(category, category+" 4")
			ann.gets(len(ann.msgs) + 2)
			same(t, category, push(category, category+" 5")["ann"], "capped/cap")
		}
		want := []string{"configured 1", "kept 1", "configured 3", "configured 4", "kept 3", "kept 4"}
		same(t, "what comes", ann.has(), want)
		for _, category := range []string{"configured", "kept"} {
			got := []string{}
			for _, r := range s.records(`"user":"ann"`) {
				if r.Category == category && r.Reason != "" {
					got = append(got, r.ended())
				}
			}
			same(t, category, got, []string{"capped/cap", "queued/cap"})
		}
		// One that is deleted goes on in what was pushed under it.
		s.verb("categories.delete", `{"name":"kept"}`)
		same(t, "acknowledged", ann.acks(ann.msgs...), len(want))
		if _, out := s.api("push", `{"to":{"users":["ann"]},"data":1,"category":"kept"}`); out["code"] != "not_found" {
			t.Errorf("got %v", out)
		}
	})
}
