package campaign_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestWrongParamsAreNamed(t *testing.T) {
	st := openSQLite(t, t.TempDir())
	n := startOn(t, st, func(c *campaign.Config) {
		c.Channel = func(field, channel string) error {
			if strings.HasPrefix(channel, "room:") {
				return nil
			}
			return fault.New(fault.NotFound, "%s: there is no %s", field, channel)
		}
	})
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	const rest = `"name":"x","data":1,"to":{"list":true}`
	for _, tt := range []struct{ verb, params, want string }{
		{"create", `{"data":1,"to":{"list":true}}`, "bad_request: name: is missing"},
		{"create", `{"name":"` + strings.Repeat("x", 129) + `","data":1,"to":{"list":true}}`, "bad_request: name: has 129 bytes; at most 128 are allowed"},
		{"create", `{"name":"a\u0000","data":1,"to":{"list":true}}`, "bad_request: name: no control characters are allowed"},
		{"create", `{"name":"x","data":1}`, "bad_request: to: is missing"},
		{"create", `{"name":"x","data":1,"to":null}`, "bad_request: to: is missing"},
		{"create", `{"name":"x","data":1,"to":{"list":1}}`, "bad_request: to.list: must be true"},
		{"create", `{"name":"x","data":1,"to":{"users":[7]}}`, "bad_request: to.users[0]: must be a text, not a number"},
		{"create", `{"name":"x","data":1,"to":{"where":{"fild":"/a"}}}`, "bad_request: to.where.fild: is not a member of a filter; use all, any, not, tag and field, and with field eq, in, gt, gte, lt, lte, prefix and exists"},
		{"create", `{"name":"x","data":1,"to":{"members":"hall:7"}}`, "not_found: to.members: there is no hall:7"},
		{"create", `{"name":"x","to":{"list":true}}`, "bad_request: data: is missing"},
		{"create", `{"name":"x","data":"` + strings.Repeat("x", 64<<10) + `","to":{"list":true}}`, "too_large: data: has 65538 bytes; at most 65536 are allowed"},
		{"create", `{` + rest + `,"category":"promo"}`, `not_found: category: there is no category "promo"`},
		{"create", `{` + rest + `,"category":"` + strings.Repeat("x", 65) + `"}`, "bad_request: category: has 65 bytes; at most 64 are allowed"},
		{"create", `{` + rest + `,"event":"a\n"}`, "bad_request: event: no control characters in an event name"},
		{"create", `{` + rest + `,"collapse":"` + strings.Repeat("x", 129) + `"}`, "bad_request: collapse: has 129 bytes; at most 128 are allowed"},
		{"create", `{` + rest + `,"escalate":"soon"}`, `bad_request: escalate: "soon" is not a duration such as 10m`},
		{"create", `{` + rest + `,"escalate":"1ms"}`, "bad_request: escalate: 1ms is not 0s, or between 1s and 8784h0m0s"},
		{"create", `{` + rest + `,"expires":"soon"}`, `bad_request: expires: "soon" is not a time (RFC 3339, or milliseconds since 1970) or how long it is good, such as 2h`},
		{"create", `{` + rest + `,"expires":true}`, "bad_request: expires: must be a time (RFC 3339, or milliseconds since 1970) or how long it is good, such as 2h, not a boolean"},
		{"create", `{` + rest + `,"expires":1.5}`, "bad_request: expires: 1.5 is not milliseconds since 1970"},
		{"create", `{` + rest + `,"expires":"1ms"}`, "bad_request: expires: 1ms is not between 1s and 8784h0m0s"},
		{"create", `{` + rest + `,"expires":1000}`, "bad_request: expires: has passed"},
		{"create", `{` + rest + `,"expires":"2001-01-01T00:00:00Z"}`, "bad_request: expires: has passed"},
		{"create", `{` + rest + `,"expires":"2090-01-01T00:00:00Z","at":"2090-01-01T00:00:00Z"}`, "bad_request: expires: is not after at"},
		{"create", `{` + rest + `,"at":"noon"}`, `bad_request: at: "noon" is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970`},
		{"create", `{` + rest + `,"pace":0}`, "bad_request: pace: 0 is not between 1 and 1000000"},
		{"create", `{` + rest + `,"pace":1.5}`, "bad_request: pace: must be an integer, not the number 1.5"},
		{"create", `{` + rest + `,"speed":5}`, "bad_request: speed: is not a field of this verb"},
		{"add", `{"users":["a"]}`, "bad_request: id: is missing"},
		{"add", `{"id":"x"}`, "bad_request: users: is missing"},
		{"add", `{"id":"x","users":["a",""]}`, "bad_request: users[1]: is missing"},
		{"add", `{"id":"x","users":["a"]}`, `not_found: id: there is no campaign "x"`},
		{"get", `{}`, "bad_request: id: is missing"},
		{"get", `{"id":"` + strings.Repeat("x", 65) + `"}`, "bad_request: id: has 65 bytes; at most 64 are allowed"},
		{"start", `{}`, "bad_request: id: is missing"},
		{"recall", `{"id":"x"}`, `not_found: id: there is no campaign "x"`},
		{"delete", `{"id":"x"}`, `not_found: id: there is no campaign "x"`},
		{"list", `{"state":"asleep"}`, `bad_request: state: "asleep" is not one of draft, scheduled, running, paused, done, cancelled`},
		{"list", `{"limit":1001}`, "bad_request: limit: 1001 is not between 1 and 1000"},
		{"estimate", `{}`, "bad_request: id: give one of id and to"},
		{"estimate", `{"id":"x","to":{"all":"users"}}`, "bad_request: id: give one of id and to"},
		{"estimate", `{"id":"x","category":"y"}`, "bad_request: category: goes with to"},
		{"estimate", `{"id":"x"}`, `not_found: id: there is no campaign "x"`},
		{"estimate", `{"to":{"list":true}}`, "bad_request: to.list: is the list of a campaign; give its id"},
		{"estimate", `{"to":{"members":"hall:7"}}`, "not_found: to.members: there is no hall:7"},
		{"estimate", `{"to":{"all":"users"},"category":"y"}`, `not_found: category: there is no category "y"`},
	} {
		if got := n.call(tt.verb, tt.params, &struct{}{}); got != tt.want {
			t.Errorf("%s %.100s:\ngot  %s\nwant %s", tt.verb, tt.params, got, tt.want)
		}
	}
	where := n.must("create", `{"name":"x","data":1,"to":{"where":{}}}`)
	if got := n.call("add", campaign.AddParams{ID: where.ID, Users: []string{"a"}}, &struct{}{}); got != "conflict: id: the campaign is not for a list" {
		t.Errorf("add to one that has no list: %s", got)
	}
	expired := n.must("create", fmt.Sprintf(`{"name":"x","data":1,"to":{"where":{}},"expires":%d}`, time.Now().Add(time.Hour).UnixMilli()))
	n.off.Store(int64(2 * time.Hour))
	if _, got := n.try("start", of{expired.ID}); got != "conflict: id: what the campaign pushes has expired" {
		t.Errorf("start of one that has expired: %s", got)
	}
}

func TestACampaignIsShownAsItWasMade(t *testing.T) {
	n := start(t)
	n.categories.put("promo", category{ttl: time.Hour})
	params := `{"name":"n","to":{"where":{"all":[{"tag":"<vip>"},{"field":"/n","gte":10}]}},"category":"promo","event":"e","data":{"z":"<&>","a":[1, 2]},"expires":"2h","collapse":"c","escalate":"10m","at":"2090-01-01T00:00:00+01:00","pace":7}`
	raw, err := n.verbs.Run(t.Context(), "campaigns.create", []byte(params), "")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{
		`"to":{"where":{"all":[{"tag":"<vip>"},{"field":"/n","gte":10}]}}`, `"data":{"z":"<&>","a":[1,2]}`, `"expires":"2h"`, `"state":"draft"`, `"progress":0`,
		`"category":"promo","event":"e"`, `"collapse":"c","escalate":"10m","at":"2090-01-01T00:00:00+01:00","pace":7`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s has no %s", text, want)
		}
	}
}

func TestListsArePages(t *testing.T) {
	n := start(t)
	var ids []string
	for range 7 {
		ids = append([]string{n.must("create", `{"name":"x","data":1,"to":{"users":[]}}`).ID}, ids...)
	}
	n.must("start", of{ids[2]})
	n.awaitState(ids[2], "done")
	list := func(params string) (got []string) {
		var page campaign.Page
		if failed := n.call("list", params, &page); failed != "" {
			t.Fatal(failed)
		}
		for _, c := range page.Items {
			got = append(got, c.ID)
		}
		return append(got, "next "+page.Next)
	}
	for params, want := range map[string][]string{
		`{}`:                                   append(ids[:7:7], "next "),
		`{"limit":3}`:                          append(ids[:3:3], "next "+ids[2]),
		`{"limit":4,"after":"` + ids[2] + `"}`: append(ids[3:7:7], "next "),
		`{"state":"done"}`:                     {ids[2], "next "},
		`{"state":"draft","limit":2}`:          {ids[0], ids[1], "next " + ids[1]},
		`{"state":"running"}`:                  {"next "},
	} {
		if diff := cmp.Diff(want, list(params)); diff != "" {
			t.Errorf("%s: %s", params, diff)
		}
	}
}

func TestOldOnesAreForgotten(t *testing.T) {
	n := start(t)
	old := n.must("create", `{"name":"old","data":1,"to":{"users":["a","b"]}}`)
	n.must("start", of{old.ID})
	n.awaitState(old.ID, "done")
	kept := n.must("create", `{"name":"never started","data":1,"to":{"users":["a"]}}`)
	n.off.Store(int64(89 * 24 * time.Hour))
	wake := func() {
		other := n.must("create", `{"name":"wakes the engine","data":1,"to":{"users":[]}}`)
		n.must("start", of{other.ID})
		n.awaitState(other.ID, "done")
	}
	wake()
	n.get(old.ID)
	n.off.Store(int64(91 * 24 * time.Hour))
	wake()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		if _, err := n.store.Campaign(t.Context(), old.ID); err == store.ErrNotFound {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the old one is still there")
		}
	}
	n.get(kept.ID)
}

// flaky is a store that can be away.
type flaky struct {
	store.Store
	away atomic.Bool
}

func (f *flaky) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	if _, is := group[0].(store.Push); is && f.away.Load() {
		return nil, fmt.Errorf("%w: the disk is full", store.ErrUnavailable)
	}
	return f.Store.Do(ctx, group...)
}

func TestAStoreThatIsAwayIsWaitedFor(t *testing.T) {
	st := openSQLite(t, t.TempDir())
	away := &flaky{Store: st}
	n := startOn(t, away, nil)
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	c := n.slow(60)
	n.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress >= 10 })
	away.away.Store(true)
	c = n.await(c.ID, "trouble", func(c *campaign.Campaign) bool { return c.Error != "" })
	if c.State != "running" || c.Error != "nothing can be stored or read now" {
		t.Errorf("got %+v", c)
	}
	away.away.Store(false)
	c = n.awaitState(c.ID, "done")
	n.each(c.ID, names(0, 60))
	if c.Error != "" || n.Metrics().Failures.Load() == 0 {
		t.Errorf("got %+v after %d failures", c, n.Metrics().Failures.Load())
	}
}

func TestCloseGivesBack(t *testing.T) {
	dir := t.TempDir()
	st := openSQLite(t, dir)
	n := startOn(t, st, nil)
	c := n.slow(1000)
	n.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress >= 10 })
	n.Close()
	found, err := st.Campaign(t.Context(), c.ID)
	if err != nil || found.Owner != "" || found.State != "running" || found.Next == 0 {
		t.Errorf("got %+v, %v", found, err)
	}
	for _, name := range []string{"get", "start", "list"} {
		params := any(of{c.ID})
		if name == "list" {
			params = struct{}{}
		}
		if _, failed := n.try(name, params); failed != "unavailable: the server is shutting down" {
			t.Errorf("%s after Close: %s", name, failed)
		}
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

func TestWithoutAStoreNothingWorks(t *testing.T) {
	n := &node{t: t, verbs: verb.NewRegistry(verb.NewMemo(0, 0), 64)}
	f := campaign.New(campaign.Config{Verbs: n.verbs, Categories: &categories{}})
	defer f.Close()
	for name, params := range map[string]string{
		"create": `{"name":"x","data":1,"to":{"list":true}}`, "get": `{"id":"x"}`, "list": `{}`, "start": `{"id":"x"}`, "estimate": `{"to":{"all":"users"}}`,
	} {
		if _, failed := n.try(name, params); failed != "unavailable: campaigns need a store (data or database)" {
			t.Errorf("%s: %s", name, failed)
		}
	}
}

func TestEstimates(t *testing.T) {
	w := sessiontest.Start(t, sessiontest.Options{Spaces: []*hub.Space{}})
	st := openSQLite(t, t.TempDir())
	n := startOn(t, st, func(c *campaign.Config) { c.Hub = w.Hub })
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	n.people(0, 300)
	n.do(store.AddMembers{Channel: "room:7", Users: names(0, 10), Time: 1})
	for _, user := range []string{"user-000000", "user-000001", "user-000003", "user-000003", "user-000299", "stranger"} {
		w.User(user, "")
	}
	promo := fatigue.Policy{Mutable: true, Chain: []fatigue.Level{{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: 1}}}}}
	n.categories.put("promo", category{policy: promo})
	promo.Category = "promo"
	now := time.Now().UnixMilli()
	// One is over the cap, one has muted the category.
	n.do(store.Push{Content: store.Content{ID: "01AAAAAAAAAAAAAAAAAAAAAAAA", Time: now, Data: []byte(`1`), Category: "promo", Policy: promo}, To: []store.Recipient{{User: "user-000003"}}, Now: now})
	n.do(store.MuteCategory{User: "user-000006", Category: "promo", Muted: true, Time: now})
	list := n.must("create", `{"name":"x","data":1,"category":"promo","to":{"users":["user-000001","user-000003","user-000006","never heard of"]}}`)
	capped := map[string]int64{"promo: 1 per day": 1}
	for _, tt := range []struct {
		params string
		want   campaign.Estimate
	}{
		{`{"to":{"where":{"tag":"vip"}},"category":"promo"}`, campaign.Estimate{Audience: 100, Online: 2, Deliver: 98, Muted: 1, Capped: capped}},
		{`{"to":{"where":{"tag":"vip"}}}`, campaign.Estimate{Audience: 100, Online: 2, Deliver: 100, Capped: map[string]int64{}}},
		{`{"to":{"members":"room:7"},"category":"promo"}`, campaign.Estimate{Audience: 10, Online: 3, Deliver: 8, Muted: 1, Capped: capped}},
		{`{"to":{"users":["user-000299","user-000003"]},"category":"promo"}`, campaign.Estimate{Audience: 2, Online: 2, Deliver: 1, Capped: capped}},
		{`{"to":{"users":[]},"category":"promo"}`, campaign.Estimate{Capped: map[string]int64{}}},
		{`{"id":"` + list.ID + `"}`, campaign.Estimate{Audience: 4, Online: 2, Deliver: 2, Muted: 1, Capped: capped}},
		{`{"to":{"all":"users"},"category":"promo"}`, campaign.Estimate{Audience: 300, Online: 5, Deliver: 298, Muted: 1, Capped: capped}},
	} {
		var got campaign.Estimate
		if failed := n.call("estimate", tt.params, &got); failed != "" {
			t.Errorf("%s: %s", tt.params, failed)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.params, diff)
		}
	}
}

func TestEstimatesOfMany(t *testing.T) {
	w := sessiontest.Start(t, sessiontest.Options{Spaces: []*hub.Space{}})
	st := openSQLite(t, t.TempDir())
	n := startOn(t, st, func(c *campaign.Config) { c.Hub = w.Hub })
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	n.Bound(2000, 100, 3)
	n.people(0, 900)
	n.categories.put("promo", category{policy: fatigue.Policy{Mutable: true}})
	for _, user := range names(0, 200) {
		n.do(store.MuteCategory{User: user, Category: "promo", Muted: true, Time: 1})
	}
	estimate := func(params string, want campaign.Estimate) {
		t.Helper()
		var got campaign.Estimate
		if failed := n.call("estimate", params, &got); failed != "" {
			t.Fatal(failed)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", params, diff)
		}
	}
	none := map[string]int64{}
	// More users than are gone through, few who are online: each of those is looked up.
	w.User("user-000003", "")
	w.User("user-000004", "")
	w.User("stranger", "")
	estimate(`{"to":{"where":{"tag":"vip"}}}`, campaign.Estimate{Audience: 300, Online: 1, Deliver: 300, Capped: none})
	// More of both: some are looked up, and the others taken to be like them.
	for _, user := range []string{"user-000300", "user-000600"} {
		w.User(user, "")
	}
	var got campaign.Estimate
	if failed := n.call("estimate", `{"to":{"where":{"tag":"vip"}}}`, &got); failed != "" || !got.Approximate || got.Audience != 300 || got.Online > 5 {
		t.Errorf("%+v, %s", got, failed)
	}
	// A list of twice as many as are judged.
	list := n.must("create", `{"name":"x","data":1,"category":"promo","to":{"list":true}}`)
	n.must("add", campaign.AddParams{ID: list.ID, Users: names(0, 4000)})
	estimate(`{"id":"`+list.ID+`"}`, campaign.Estimate{Audience: 4000, Online: 8, Deliver: 3600, Muted: 400, Capped: none, Approximate: true})
}
