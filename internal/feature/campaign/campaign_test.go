package campaign_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/store"
)

// total is how many users have an outcome.
func total(c *campaign.Campaign) int64 {
	k := c.Counts
	if k == nil {
		return 0
	}
	return k.Queued + k.Sent + k.Delivered + k.Capped + k.Muted + k.Expired + k.Recalled + k.Failed
}

func TestEveryKindOfAudienceGetsItOnce(t *testing.T) {
	n := start(t)
	n.people(0, 1500)
	n.do(store.AddMembers{Channel: "room:7", Users: names(100, 1300), Time: 1})
	n.do(store.AddMembers{Channel: "room:8", Users: names(0, 5), Time: 1})
	var vips []string
	for i := 0; i < 1500; i += 3 {
		vips = append(vips, names(i, i+1)...)
	}
	for _, tt := range []struct {
		name, to string
		want     []string
	}{
		{"users", `{"users":["b","a","c","a"]}`, []string{"a", "b", "c"}},
		{"nobody", `{"users":[]}`, nil},
		{"where", `{"where":{"tag":"vip"}}`, vips},
		{"all who have attributes", `{"where":{}}`, names(0, 1500)},
		{"members", `{"members":"room:7"}`, names(100, 1300)},
		{"no members", `{"members":"room:9"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.t = t
			c := n.must("create", `{"name":"x","data":{"a":1},"to":`+tt.to+`}`)
			if c.State != "draft" || c.Created == 0 || c.Message != "" || c.Counts != nil {
				t.Errorf("created: %+v", c)
			}
			if c = n.must("start", of{c.ID}); c.State != "running" || c.Message == "" || c.Started == 0 {
				t.Errorf("started: %+v", c)
			}
			c = n.awaitState(c.ID, "done")
			n.each(c.ID, tt.want)
			if c.Audience == nil || *c.Audience != int64(len(tt.want)) || c.Progress != *c.Audience || c.Counts.Queued != *c.Audience || total(&c) != *c.Audience || c.Ended == 0 {
				t.Errorf("done: %+v, counts %+v", c, c.Counts)
			}
		})
	}
	n.t = t
}

func TestAListIsFilledBeforeTheStart(t *testing.T) {
	n := start(t)
	c := n.must("create", `{"name":"x","data":1,"to":{"list":true}}`)
	for i, want := range []int64{3000, 6000, 6000} {
		var got campaign.AddResult
		from := min(i, 1) * 3000
		if failed := n.call("add", campaign.AddParams{ID: c.ID, Users: names(from, from+3000)}, &got); failed != "" || got.Count != want {
			t.Errorf("add %d: %+v, %s", i, got, failed)
		}
	}
	if got := n.get(c.ID); got.Audience == nil || *got.Audience != 6000 {
		t.Errorf("the draft shows %v users", got.Audience)
	}
	n.must("start", of{c.ID})
	if _, failed := n.try("add", campaign.AddParams{ID: c.ID, Users: []string{"late"}}); failed[:9] != "conflict:" {
		t.Errorf("add after the start: %s", failed)
	}
	n.awaitState(c.ID, "done")
	n.each(c.ID, names(0, 6000))
}

func TestOneToEverybodyIsOneStep(t *testing.T) {
	n := start(t)
	n.people(0, 30)
	n.do(store.Push{Content: store.Content{ID: "01AAAAAAAAAAAAAAAAAAAAAAAA", Time: 1, Data: []byte(`1`)}, To: []store.Recipient{{User: "heard of"}}, Now: 1})
	c := n.must("create", `{"name":"x","data":1,"to":{"all":"users"},"expires":"1h"}`)
	n.must("start", of{c.ID})
	c = n.awaitState(c.ID, "done")
	if *c.Audience != 31 || c.Progress != 31 || c.Counts.Queued != 31 {
		t.Errorf("got %+v, counts %+v", c, c.Counts)
	}
	n.do(store.Collect{User: "user-000001", Now: time.Now().UnixMilli(), Limit: 10})
	n.do(store.Collect{User: "later", Now: time.Now().UnixMilli(), Limit: 10})
	if c = n.get(c.ID); c.Counts.Queued != 31 {
		t.Errorf("after one has come: %+v", c.Counts)
	}
	if users := n.got(c.ID); len(users) != 1 {
		t.Errorf("%v have deliveries", users)
	}
	n.off.Store(int64(2 * time.Hour))
	if c = n.get(c.ID); c.Counts.Expired != 30 || c.Counts.Queued != 1 {
		t.Errorf("when it has expired: %+v", c.Counts)
	}
	n.off.Store(0)
	if c = n.must("recall", of{c.ID}); c.State != "cancelled" || c.Counts.Recalled != 31 {
		t.Errorf("withdrawn: %+v, %+v", c, c.Counts)
	}
}

// slow makes a campaign that pushes ten users at a time, ten times a second.
func (n *node) slow(users int) campaign.Campaign {
	n.t.Helper()
	c := n.must("create", `{"name":"slow","data":1,"to":{"list":true},"pace":100}`)
	n.must("add", campaign.AddParams{ID: c.ID, Users: names(0, users)})
	return n.must("start", of{c.ID})
}

func TestPauseTakesEffectAtOnceAndResumeGoesOn(t *testing.T) {
	n := start(t)
	c := n.slow(300)
	n.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress >= 30 })
	c = n.must("pause", of{c.ID})
	after := n.get(c.ID)
	if c.State != "paused" || after.Progress >= 300 || total(&after) != after.Progress || *after.Audience != 300 {
		t.Errorf("paused: %+v, counts %+v", after, after.Counts)
	}
	// Nothing of it is under way any more: another campaign that is as slow does not
	// meet any step of this one.
	other := n.slow(20)
	n.awaitState(other.ID, "done")
	if later := n.get(c.ID); later.Progress != after.Progress || total(&later) != total(&after) {
		t.Errorf("it went on from %d to %d, counts %+v", after.Progress, later.Progress, later.Counts)
	}
	if c = n.must("resume", of{c.ID}); c.State != "running" || c.Message != after.Message || c.Started != after.Started {
		t.Errorf("resumed: %+v", c)
	}
	c = n.awaitState(c.ID, "done")
	n.each(c.ID, names(0, 300))
	if c.Progress != 300 {
		t.Errorf("done: %+v", c)
	}
}

func TestCancelKeepsWhatWasPushed(t *testing.T) {
	n := start(t)
	c := n.slow(10_000)
	n.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress >= 20 })
	if c = n.must("cancel", of{c.ID}); c.State != "cancelled" || c.Ended == 0 {
		t.Errorf("cancelled: %+v", c)
	}
	c = n.get(c.ID)
	n.each(c.ID, names(0, int(c.Progress)))
	if c.Counts.Queued != c.Progress || *c.Audience != 10_000 {
		t.Errorf("got %+v, counts %+v", c, c.Counts)
	}
	if c = n.must("recall", of{c.ID}); c.State != "cancelled" || c.Counts.Recalled != c.Progress || c.Counts.Queued != 0 {
		t.Errorf("withdrawn: %+v, counts %+v", c, c.Counts)
	}
}

func TestRecallInTheMiddle(t *testing.T) {
	n := start(t)
	c := n.slow(10_000)
	c = n.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress >= 300 })
	first, err := n.store.LookUsers(t.Context(), "user-000000")
	if err != nil {
		t.Fatal(err)
	}
	n.do(store.Settle{Settlements: []store.Settlement{{User: "user-000000", N: first[0].N, ID: c.Message, State: store.Delivered, Time: time.Now().UnixMilli()}}, Now: time.Now().UnixMilli()})
	c = n.must("recall", of{c.ID})
	if c.State != "cancelled" || c.Counts.Delivered != 1 || c.Counts.Recalled != c.Progress-1 || c.Counts.Queued != 0 || c.Progress < 300 {
		t.Errorf("got %+v, counts %+v", c, c.Counts)
	}
	again := n.must("recall", of{c.ID})
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("once more: %s", diff)
	}
}

func TestTheEngineIsTold(t *testing.T) {
	st := openSQLite(t, t.TempDir())
	told := make(chan string, 10)
	n := startOn(t, st, func(cfg *campaign.Config) {
		cfg.Recall = func(_ context.Context, message string) error {
			told <- message
			return fault.New(fault.NotFound, "there is no such message")
		}
		cfg.Broadcasted = func() { told <- "broadcast" }
	})
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	c := n.slow(1000)
	if c = n.must("recall", of{c.ID}); c.State != "cancelled" || <-told != c.Message {
		t.Errorf("got %+v", c)
	}
	for _, key := range []string{"", "k"} {
		b := n.begin(job(audience.Target{All: true}, key, `1`))
		if got := <-told; got != "broadcast" {
			t.Errorf("for everybody, with the key %q: %s", key, got)
		}
		n.awaitState(b.Campaign, "done")
	}
}

func TestVerbsThatDoNotFitAreConflicts(t *testing.T) {
	n := start(t)
	n.people(0, 3)
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	const create = `{"name":"x","data":1,"to":{"list":true},"pace":1`
	into := map[string]func() string{
		"draft": func() string { return n.must("create", create+`}`).ID },
		"scheduled": func() string {
			id := n.must("create", create+`,"at":"`+later+`"}`).ID
			n.must("start", of{id})
			return id
		},
		"running": func() string {
			id := n.must("create", create+`}`).ID
			n.must("add", campaign.AddParams{ID: id, Users: names(0, 1000)})
			n.must("start", of{id})
			return id
		},
	}
	into["paused"] = func() string { id := into["running"](); n.must("pause", of{id}); return id }
	into["cancelled"] = func() string { id := into["running"](); n.must("cancel", of{id}); return id }
	into["done"] = func() string { id := into["draft"](); n.must("start", of{id}); n.awaitState(id, "done"); return id }
	const conflict = "conflict"
	for state, want := range map[string]map[string]string{
		"draft":     {"start": "running", "pause": conflict, "resume": conflict, "cancel": conflict, "recall": conflict, "add": "draft", "delete": "gone"},
		"scheduled": {"start": conflict, "pause": "paused", "resume": conflict, "cancel": "cancelled", "recall": "cancelled", "add": conflict, "delete": conflict},
		"running":   {"start": conflict, "pause": "paused", "resume": conflict, "cancel": "cancelled", "recall": "cancelled", "add": conflict, "delete": conflict},
		"paused":    {"start": conflict, "pause": conflict, "resume": "running", "cancel": "cancelled", "recall": "cancelled", "add": conflict, "delete": conflict},
		"done":      {"start": conflict, "pause": conflict, "resume": conflict, "cancel": conflict, "recall": "cancelled", "add": conflict, "delete": "gone"},
		"cancelled": {"start": conflict, "pause": conflict, "resume": conflict, "cancel": conflict, "recall": "cancelled", "add": conflict, "delete": "gone"},
	} {
		for verb, next := range want {
			id := into[state]()
			if c := n.get(id); c.State != state {
				t.Errorf("%s: it is %s", state, c.State)
			}
			params := any(of{id})
			if verb == "add" {
				params = campaign.AddParams{ID: id, Users: []string{"one"}}
			}
			var failed string
			if verb == "add" {
				failed = n.call(verb, params, &campaign.AddResult{})
			} else {
				_, failed = n.try(verb, params)
			}
			got := ""
			if failed != "" {
				if want := fmt.Sprintf("conflict: id: the campaign is %s; %s does not fit", state, verb); failed != want {
					t.Errorf("%s of a %s one: got %q, want %q", verb, state, failed, want)
				}
				got = conflict
			} else if c, missing := n.try("get", of{id}); missing != "" {
				if want := fmt.Sprintf("not_found: id: there is no campaign %q", id); missing != want {
					t.Errorf("got %q, want %q", missing, want)
				}
				got = "gone"
			} else if got = c.State; next == "running" && got == "done" {
				got = "running" // it is quick
			}
			if got != next {
				t.Errorf("%s of a %s one: %s, want %s", verb, state, got, next)
			}
		}
	}
}

func TestAScheduledOneBeginsAtItsTime(t *testing.T) {
	n := start(t)
	n.people(0, 10)
	n.categories.put("promo", category{ttl: time.Hour, escalate: time.Minute})
	at := time.Now().Add(time.Hour)
	c := n.must("create", fmt.Sprintf(`{"name":"x","data":1,"category":"promo","to":{"where":{}},"at":%q}`, at.UTC().Format(time.RFC3339)))
	if c = n.must("start", of{c.ID}); c.State != "scheduled" || c.Message != "" || c.Started != 0 {
		t.Errorf("got %+v", c)
	}
	if c = n.must("pause", of{c.ID}); c.State != "paused" {
		t.Errorf("got %+v", c)
	}
	if c = n.must("resume", of{c.ID}); c.State != "scheduled" {
		t.Errorf("got %+v", c)
	}
	n.off.Store(int64(time.Hour))
	// The category is frozen when it begins.
	n.categories.put("promo", category{ttl: 2 * time.Hour, policy: fatigue.Policy{Chain: []fatigue.Level{{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: 0}}}}}})
	other := n.must("create", `{"name":"wakes the engine","data":1,"to":{"users":[]}}`)
	n.must("start", of{other.ID})
	c = n.awaitState(c.ID, "done")
	if want := c.Started + 2*time.Hour.Milliseconds(); c.Counts.Capped != 10 || c.Expires.At < want-1000 || c.Expires.At > want+1000 || c.Started < at.UnixMilli()-1000 {
		t.Errorf("got %+v, counts %+v", c, c.Counts)
	}
}

func TestAFaultThatWillNotGoAwayPausesIt(t *testing.T) {
	n := start(t)
	n.people(0, 10)
	n.categories.put("promo", category{})
	c := n.must("create", fmt.Sprintf(`{"name":"x","data":1,"category":"promo","to":{"where":{}},"at":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	n.must("start", of{c.ID})
	n.categories.delete("promo")
	n.off.Store(int64(2 * time.Hour))
	other := n.must("create", `{"name":"wakes the engine","data":1,"to":{"users":[]}}`)
	n.must("start", of{other.ID})
	c = n.awaitState(c.ID, "paused")
	if c.Error != `category: there is no category "promo"` {
		t.Errorf("it says %q", c.Error)
	}
	if _, failed := n.try("resume", of{c.ID}); failed != `not_found: category: there is no category "promo"` {
		t.Errorf("resumed: %s", failed)
	}
	n.categories.put("promo", category{})
	if c = n.must("resume", of{c.ID}); c.Error != "" {
		t.Errorf("it still says %q", c.Error)
	}
	n.awaitState(c.ID, "done")
	n.each(c.ID, names(0, 10))
}

func TestPace(t *testing.T) {
	n := start(t)
	begun := time.Now()
	c := n.must("create", `{"name":"x","data":1,"to":{"list":true},"pace":400}`)
	n.must("add", campaign.AddParams{ID: c.ID, Users: names(0, 240)})
	n.must("start", of{c.ID})
	steps := n.Metrics().Steps.Load()
	n.awaitState(c.ID, "done")
	// 40 may come at once, the others at 400 a second.
	if took := time.Since(begun); took < 500*time.Millisecond {
		t.Errorf("240 users at 400 a second took %s", took)
	}
	if steps = n.Metrics().Steps.Load() - steps; steps < 6 {
		t.Errorf("it took %d steps, so some had more than a tenth of a second's worth", steps)
	}
	n.each(c.ID, names(0, 240))
}

// The engine gives up to two campaigns their turns to write, and any number that wait.
func TestManyAtOnce(t *testing.T) {
	n := start(t)
	n.people(0, 300)
	var paced, fast []string
	for range 5 {
		c := n.must("create", `{"name":"paced","data":1,"to":{"where":{}},"pace":1}`)
		paced = append(paced, n.must("start", of{c.ID}).ID)
	}
	for range 5 {
		c := n.must("create", `{"name":"fast","data":1,"to":{"where":{}}}`)
		fast = append(fast, n.must("start", of{c.ID}).ID)
	}
	for _, id := range fast {
		n.awaitState(id, "done")
		n.each(id, names(0, 300))
	}
	for _, id := range paced {
		if c := n.get(id); c.State != "running" {
			t.Errorf("the slow one is %s", c.State)
		}
	}
}
