package campaign_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	_ "time/tzdata" // the zones, wherever the tests run

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

// childRole names, in the environment of a copy of the test binary, the store that it
// carries campaigns out on until it is killed.
const childRole = "CHILD_OF_CAMPAIGN_TEST"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childRole); dir != "" {
		os.Exit(runChild(dir))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// categories are categories by name.
type categories struct {
	mu  sync.Mutex
	all map[string]category
}

type category struct {
	policy        fatigue.Policy
	ttl, escalate time.Duration
}

// Policy implements campaign.Categories.
func (c *categories) Policy(name string) (fatigue.Policy, time.Duration, time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.all[name]
	if !ok {
		return fatigue.Policy{}, 0, 0, fault.New(fault.NotFound, "category: there is no category %q", name)
	}
	return found.policy, found.ttl, found.escalate, nil
}

func (c *categories) put(name string, what category) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what.policy.Category = name
	c.all[name] = what
}

func (c *categories) delete(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, name)
}

// node is one node with campaigns.
type node struct {
	*campaign.Feature
	t          testing.TB
	verbs      *verb.Registry
	store      store.Store
	categories *categories
	// off is how far the node's clock is from the right time.
	off atomic.Int64
}

func openSQLite(t testing.TB, dir string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// start makes a node on a SQLite of its own.
func start(t testing.TB) *node {
	t.Helper()
	st := openSQLite(t, t.TempDir())
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return startOn(t, st, nil)
}

// startOn makes a node on a store, which carries campaigns out.
func startOn(t testing.TB, st store.Store, change func(*campaign.Config)) *node {
	t.Helper()
	n := idleOn(t, st, change)
	n.Run()
	return n
}

// startIdle makes a node that only has the verbs.
func startIdle(t testing.TB, st store.Store) *node { return idleOn(t, st, nil) }

func idleOn(t testing.TB, st store.Store, change func(*campaign.Config)) *node {
	t.Helper()
	n := &node{t: t, verbs: verb.NewRegistry(verb.NewMemo(0, 0), 64), store: st, categories: &categories{all: map[string]category{}}}
	cfg := campaign.Config{
		Verbs: n.verbs, Categories: n.categories, Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(n.off.Load())) },
	}
	if change != nil {
		change(&cfg)
	}
	n.Feature = campaign.New(cfg)
	n.Start(st, st.Shared())
	t.Cleanup(n.Close)
	return n
}

// try runs a verb; a failure is given as its text.
func (n *node) try(name string, params any) (campaign.Campaign, string) {
	n.t.Helper()
	var c campaign.Campaign
	failed := n.call(name, params, &c)
	return c, failed
}

func (n *node) call(name string, params, result any) string {
	n.t.Helper()
	raw, is := params.(string)
	if !is {
		b, err := json.Marshal(params)
		if err != nil {
			n.t.Fatal(err)
		}
		raw = string(b)
	}
	b, err := n.verbs.Run(context.Background(), "campaigns."+name, []byte(raw), "")
	if err != nil {
		e := fault.Of(err)
		return string(e.Code) + ": " + e.Message
	}
	if err := json.Unmarshal(b, result); err != nil {
		n.t.Fatalf("%s: %v", b, err)
	}
	return ""
}

// must runs a verb that must not fail.
func (n *node) must(name string, params any) campaign.Campaign {
	n.t.Helper()
	c, failed := n.try(name, params)
	if failed != "" {
		n.t.Fatalf("%s %s: %s", name, params, failed)
	}
	return c
}

type of struct {
	ID string `json:"id"`
}

func (n *node) get(id string) campaign.Campaign {
	n.t.Helper()
	return n.must("get", of{id})
}

// await waits until a campaign is as it should be.
func (n *node) await(id, what string, is func(c *campaign.Campaign) bool) campaign.Campaign {
	n.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		c := n.get(id)
		if is(&c) {
			return c
		}
		select {
		case <-tick.C:
		case <-deadline:
			n.t.Fatalf("%s did not come: %+v, counts %+v", what, c, c.Counts)
		}
	}
}

func (n *node) awaitState(id, state string) campaign.Campaign {
	n.t.Helper()
	return n.await(id, state, func(c *campaign.Campaign) bool { return c.State == state })
}

// do carries commands out in the store.
func (n *node) do(group ...store.Command) []store.Result {
	n.t.Helper()
	results, err := n.store.Do(context.Background(), group...)
	if err != nil {
		n.t.Fatal(err)
	}
	return results
}

// names gives ids of users.
func names(from, to int) []string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("user-%06d", i))
	}
	return list
}

// people puts users with attributes: their number, and every third is a vip.
func (n *node) people(from, to int) {
	n.t.Helper()
	for ; from < to; from += 1000 {
		var puts []store.UserPut
		for i := from; i < min(to, from+1000); i++ {
			tags := `[]`
			if i%3 == 0 {
				tags = `["vip"]`
			}
			puts = append(puts, store.UserPut{User: fmt.Sprintf("user-%06d", i), Attributes: fmt.Appendf(nil, `{"n":%d,"tags":%s}`, i, tags)})
		}
		n.do(store.PutUsers{Users: puts, Time: time.Now().UnixMilli()})
	}
}

// got counts the deliveries of a campaign by user.
func (n *node) got(id string) map[string]int {
	n.t.Helper()
	users := map[string]int{}
	for after := uint64(0); ; {
		page, err := n.store.Records(context.Background(), store.RecordQuery{Campaign: id, After: after, Limit: 1000})
		if err != nil {
			n.t.Fatal(err)
		}
		for _, r := range page.Records {
			users[r.User]++
			after = r.Pos
		}
		if !page.More {
			return users
		}
	}
}

// each wants one delivery for each of the users and none for others.
func (n *node) each(id string, want []string) {
	n.t.Helper()
	users := n.got(id)
	for _, user := range want {
		if users[user] != 1 {
			n.t.Fatalf("%s has %d deliveries, want 1; %d users have some, want %d", user, users[user], len(users), len(want))
		}
	}
	if len(users) != len(want) {
		n.t.Fatalf("%d users have deliveries, want %d", len(users), len(want))
	}
}
