package campaign_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// job is what the verb push hands over; key "" is none.
func job(to audience.Target, key, data string) audience.Job {
	now := time.Now()
	j := audience.Job{Name: "push", To: to, Content: store.Content{
		ID: id.Message(now), Time: now.UnixMilli(), Event: "message", Data: []byte(data), Category: "promo", Expires: now.Add(time.Hour).UnixMilli(), Escalate: 60_000,
	}}
	if key != "" {
		j.Key, j.Digest, j.KeyExpires = []byte(key), []byte(data), now.Add(24*time.Hour).UnixMilli()
	}
	return j
}

func (n *node) begin(j audience.Job) audience.Begun {
	n.t.Helper()
	b, err := n.Begin(n.t.Context(), j)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

func TestBeginTellsWhatBecameOfIt(t *testing.T) {
	n := start(t)
	n.people(0, 900)
	n.do(store.AddMembers{Channel: "room:7", Users: names(0, 300), Time: 1})
	heard := n.begin(job(audience.Target{Users: names(0, 1200)}, "", `0`))
	n.awaitState(heard.Campaign, "done")
	for name, tt := range map[string]struct {
		to   audience.Target
		want int64
	}{
		"users":   {audience.Target{Users: names(0, 1200)}, 1200},
		"where":   {audience.Target{Where: &store.Filter{Tag: "vip"}}, 300},
		"members": {audience.Target{Members: "room:7"}, 300},
		"nobody":  {audience.Target{Members: "room:8"}, 0},
		"all":     {audience.Target{All: true}, 1200},
	} {
		for _, key := range []string{"", name} {
			j := job(tt.to, key, `{"a":1}`)
			b := n.begin(j)
			if b.Audience != tt.want || b.Duplicate || b.Message != j.Content.ID || b.Campaign != b.Message {
				t.Errorf("%s: got %+v", name, b)
			}
			c := n.awaitState(b.Campaign, "done")
			if c.Counts.Queued != tt.want || c.Message != b.Message || c.Expires.At != j.Content.Expires || c.Progress != tt.want {
				t.Errorf("%s: done: %+v, %+v", name, c, c.Counts)
			}
			if tt.to.All {
				continue
			}
			if users := n.got(b.Campaign); len(users) != int(tt.want) {
				t.Errorf("%s: %d have it", name, len(users))
			}
		}
	}
}

func TestAKeyBeginsOneCampaign(t *testing.T) {
	dir := t.TempDir()
	st := openSQLite(t, dir)
	n := startOn(t, st, nil)
	n.people(0, 30)
	jobs := map[string]audience.Target{
		"users": {Users: names(0, 1100)}, "where": {Where: &store.Filter{}}, "all": {All: true},
	}
	firsts := map[string]audience.Begun{}
	for key, to := range jobs {
		firsts[key] = n.begin(job(to, key, `1`))
		n.awaitState(firsts[key].Campaign, "done")
	}
	check := func(what string) {
		t.Helper()
		for key, to := range jobs {
			want := firsts[key]
			want.Duplicate, want.Totals = true, store.Totals{Queued: want.Audience}
			if diff := cmp.Diff(want, n.begin(job(to, key, `1`))); diff != "" {
				t.Errorf("%s, %s: %s", what, key, diff)
			}
			_, err := n.Begin(t.Context(), job(to, key, `2`))
			if e := fault.Of(err); e == nil || e.Code != fault.Conflict || e.Message != "key: it was used for a request with other content" {
				t.Errorf("%s, %s: other content: %v", what, key, err)
			}
		}
	}
	check("again")
	n.Close()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = openSQLite(t, dir)
	n = startOn(t, st, nil)
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	check("after a restart")
	// When the campaign was deleted, a repeat goes through all of them again and nobody gets it twice.
	n.must("delete", of{firsts["users"].Campaign})
	n.begin(job(jobs["users"], "users", `1`))
	n.awaitState(firsts["users"].Campaign, "done")
	check("after it was deleted")
	n.each(firsts["users"].Campaign, names(0, 1100))
	page := campaign.Page{}
	if failed := n.call("list", `{}`, &page); failed != "" || len(page.Items) != len(jobs) {
		t.Errorf("%d campaigns, %s", len(page.Items), failed)
	}
}

// The process may end between the two transactions of Begin.
func TestAKeyWhoseCampaignWasNeverMade(t *testing.T) {
	n := start(t)
	first := job(audience.Target{Users: names(0, 1100)}, "k", `1`)
	content := first.Content
	content.Campaign = content.ID
	n.do(store.Push{Content: content, Now: content.Time, Key: first.Key, Digest: first.Digest, KeyExpires: first.KeyExpires})
	b := n.begin(job(first.To, "k", `1`))
	if !b.Duplicate || b.Message != content.ID || b.Campaign != content.ID {
		t.Errorf("got %+v", b)
	}
	c := n.awaitState(b.Campaign, "done")
	n.each(b.Campaign, names(0, 1100))
	if c.Expires.At != content.Expires {
		t.Errorf("it expires at %d, want %d", c.Expires.At, content.Expires)
	}
}

func TestAKeyForAnotherAudienceReachesThoseWhoDoNotHaveIt(t *testing.T) {
	n := start(t)
	first := n.begin(job(audience.Target{Users: names(0, 1100)}, "k", `1`))
	n.awaitState(first.Campaign, "done")
	for range 2 {
		second := n.begin(job(audience.Target{Users: names(500, 2000)}, "k", `1`))
		if !second.Duplicate || second.Message != first.Message || second.Campaign == first.Campaign || second.Audience != 1500 {
			t.Errorf("got %+v", second)
		}
		n.awaitState(second.Campaign, "done")
	}
	n.each(first.Campaign, names(0, 2000)) // records name the campaign that the message was made for
	page := campaign.Page{}
	if failed := n.call("list", `{}`, &page); failed != "" || len(page.Items) != 2 {
		t.Errorf("%d campaigns, %s", len(page.Items), failed)
	}
}

func TestManyBeginsWithOneKeyAreOneCampaign(t *testing.T) {
	n := start(t)
	var wait sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 8 {
		wait.Go(func() {
			b, err := n.Begin(t.Context(), job(audience.Target{Users: names(0, 1100)}, "k", `1`))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[fmt.Sprint(b.Campaign, " ", b.Message)]++
			if b.Duplicate {
				seen["again"]++
			}
		})
	}
	wait.Wait()
	if len(seen) != 2 || seen["again"] != 7 {
		t.Errorf("got %v", seen)
	}
}

func TestBeginDoesNotWaitForLong(t *testing.T) {
	st := openSQLite(t, t.TempDir())
	n := idleOn(t, st, nil) // nobody carries it out
	t.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	b := n.begin(job(audience.Target{Users: names(0, 1100)}, "", `1`))
	if b.Audience != 1100 || b.Totals != (store.Totals{}) || b.Campaign == "" {
		t.Errorf("got %+v", b)
	}
	if c := n.get(b.Campaign); c.State != "running" || c.Progress != 0 {
		t.Errorf("got %+v", c)
	}
	n.Close()
	if _, err := n.Begin(t.Context(), job(audience.Target{Users: names(0, 1100)}, "", `1`)); fault.Of(err).Code != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}
