package skein_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/skein-realtime/skein"
)

// grouped is a server with groups.
func grouped(t testing.TB) skein.Config {
	cfg := open()
	cfg.Data = t.TempDir()
	cfg.Namespaces["team"] = skein.Namespace{Kind: "event", Subscribe: "member", Publish: "member", Presence: "members"}
	cfg.Namespaces["club"] = skein.Namespace{Kind: "log", Subscribe: "member", Publish: "member", History: "member"}
	return cfg
}

// direct takes a message that was addressed, and checks its data.
func (c *client) direct(data any) {
	c.t.Helper()
	if m := c.expect("msg"); m["channel"] != "@direct" || m["data"] != data {
		c.t.Fatalf("got %v, want %v", m, data)
	}
}

func TestMembersAreSubscribedWheneverTheyConnect(t *testing.T) {
	each(t, func() skein.Config { return grouped(t) }, func(t *testing.T, s *testServer) {
		same(t, "an unknown group", s.verb("members.count", `{"channel":"team:none"}`), map[string]any{"count": 0.0})
		same(t, "added", s.verb("members.add", `{"channel":"team:1","users":["ann","bob","ann"]}`), map[string]any{"count": 2.0, "connections": 0.0, "members": 2.0})
		same(t, "added again", s.verb("members.add", `{"channel":"team:1","users":["bob"]}`), map[string]any{"count": 0.0, "connections": 0.0, "members": 2.0})
		s.verb("members.add", `{"channel":"club:1","users":["ann"]}`)
		same(t, "nobody", s.verb("members.add", `{"channel":"team:1","users":[]}`), map[string]any{"count": 0.0, "connections": 0.0, "members": 2.0})

		phone := s.dial("user=ann&device=phone")
		welcome := phone.expect("welcome")
		same(t, "channels", welcome["channels"], []any{"club:1", "team:1"})
		for range 2 { // where a log channel ends is told, too
			if f := phone.expect("subscribed"); f["channel"] == "club:1" && f["seq"] != 0.0 {
				t.Errorf("got %v", f)
			}
		}
		desk, carl := s.user("ann"), s.user("carl")
		for range 2 {
			desk.expect("subscribed")
		}
		carl.fails(`{"type":"sub","channel":"team:1"}`, "denied")
		carl.fails(`{"type":"pub","channel":"team:1","data":1}`, "denied")
		carl.fails(`{"type":"history","channel":"club:1"}`, "denied")

		// Everybody in it, on every device; the one who speaks is left out of an event channel.
		same(t, "reach", phone.do(`{"type":"pub","channel":"team:1","data":"hi"}`)["connections"], 1.0)
		if m := desk.expect("msg"); m["channel"] != "team:1" || m["data"] != "hi" {
			t.Errorf("got %v", m)
		}
		// Who leaves by himself can come back, because he is a member.
		phone.do(`{"type":"unsub","channel":"team:1"}`)
		phone.do(`{"type":"sub","channel":"team:1"}`)
		carl.lives()

		// Whoever becomes a member is subscribed at once, and leaves at once.
		same(t, "carl", s.verb("members.add", `{"channel":"team:1","users":["carl"]}`), map[string]any{"count": 1.0, "connections": 1.0, "members": 3.0})
		if f := carl.expect("subscribed"); f["channel"] != "team:1" {
			t.Errorf("got %v", f)
		}
		same(t, "ann", s.verb("members.remove", `{"channel":"team:1","users":["ann","nobody"]}`), map[string]any{"count": 1.0, "connections": 1.0, "members": 2.0})
		if f := desk.expect("unsubscribed"); f["channel"] != "team:1" || f["reason"] != "server" {
			t.Errorf("got %v", f)
		}
		// The phone had subscribed itself, which it may not any more.
		if f := phone.expect("unsubscribed"); f["channel"] != "team:1" || f["reason"] != "denied" {
			t.Errorf("got %v", f)
		}
		phone.fails(`{"type":"sub","channel":"team:1"}`, "denied")
		same(t, "empty", s.verb("members.remove", `{"channel":"team:1","all":true}`), map[string]any{"count": 2.0, "connections": 1.0, "members": 0.0})
		carl.expect("unsubscribed")
		carl.lives()
	})
}

func TestMessagesToMembersReachEachConnectionOnce(t *testing.T) {
	each(t, func() skein.Config { return grouped(t) }, func(t *testing.T, s *testServer) {
		s.verb("members.add", `{"channel":"team:1","users":["ann","bob"]}`)
		s.verb("members.add", `{"channel":"club:1","users":["ann"]}`)
		ann, ann2, bob, carl := s.user("ann"), s.user("ann"), s.user("bob"), s.user("carl")
		for _, c := range []*client{ann, ann2} {
			c.expect("subscribed")
			c.expect("subscribed")
		}
		bob.expect("subscribed")
		s.verb("subscribe", fmt.Sprintf(`{"connection":%q,"channel":"team:1"}`, carl.ID)) // there, but no member
		carl.expect("subscribed")

		same(t, "two groups", reach(s.verb("publish", `{"to":[{"members":"team:1"},{"members":"club:1"}],"data":1}`)), [3]any{3.0, 2.0, false})
		for _, c := range []*client{ann, ann2, bob} {
			c.direct(1.0)
			c.lives() // and no second one
		}
		carl.lives()
		same(t, "one left out", reach(s.verb("publish", fmt.Sprintf(`{"to":{"members":"team:1"},"data":2,"exclude":{"connections":[%q],"users":["bob"]}}`, ann.ID))), [3]any{1.0, 1.0, false})
		ann2.direct(2.0)
		ann.lives()
		bob.lives()
		same(t, "the channel and its members", reach(s.verb("publish", `{"to":[{"channel":"team:1"},{"members":"team:1"}],"data":3}`)), [3]any{4.0, 3.0, false})
		for _, c := range []*client{ann, bob, carl} {
			if m := c.expect("msg"); m["channel"] != "team:1" {
				t.Errorf("got %v", m)
			}
			c.lives()
		}
		same(t, "an unknown group", reach(s.verb("publish", `{"to":{"members":"team:none"},"data":4}`)), [3]any{0.0, 0.0, false})
		// Who is bound to somebody else leaves what he was a member of, and joins the other's.
		s.verb("bind", fmt.Sprintf(`{"connection":%q,"user":"dora"}`, bob.ID))
		if f := bob.expect("unsubscribed"); f["channel"] != "team:1" {
			t.Errorf("got %v", f)
		}
		s.verb("bind", fmt.Sprintf(`{"connection":%q,"user":"ann"}`, bob.ID))
		bob.expect("subscribed")
		bob.expect("subscribed")
		same(t, "now", reach(s.verb("publish", `{"to":{"members":"club:1"},"data":5}`)), [3]any{3.0, 1.0, false})
	})
}

// reach is what a send says.
func reach(r map[string]any) [3]any { return [3]any{r["connections"], r["users"], r["stored"]} }

func TestMembershipsArePagedAndOutliveTheServer(t *testing.T) {
	cfg := grouped(t)
	s := start(t, cfg)
	var users []string
	for i := range 250 {
		users = append(users, fmt.Sprintf("u%03d", i))
	}
	list, _ := json.Marshal(users)
	s.verb("members.add", `{"channel":"team:big","users":`+string(list)+`}`)
	s.verb("members.add", `{"channel":"team:small","users":["u007"]}`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, cfg)
	var got []string
	for after := ""; ; {
		page := s.verb("members.list", fmt.Sprintf(`{"channel":"team:big","limit":100,"after":%q}`, after))
		for _, item := range page["items"].([]any) {
			got = append(got, item.(map[string]any)["user"].(string))
		}
		next, more := page["next"].(string)
		if !more {
			break
		}
		after = next
	}
	same(t, "members", got, users)
	var of []string
	for _, item := range s.verb("members.list", `{"user":"u007"}`)["items"].([]any) {
		of = append(of, item.(map[string]any)["channel"].(string))
	}
	same(t, "channels of a user", of, []string{"team:big", "team:small"})
	same(t, "groups", s.verb("members.groups", `{"prefix":"team:"}`)["items"], []any{
		map[string]any{"channel": "team:big", "members": 250.0}, map[string]any{"channel": "team:small", "members": 1.0},
	})
	s.user("u007").expect("subscribed")
}

// However comings, goings and changes overlap: in the end each connection is
// subscribed to exactly what its user is a member of.
func TestMembershipsThatChangeWhileTheirUsersConnect(t *testing.T) {
	s := start(t, grouped(t))
	users := []string{"ann", "bob", "carl"}
	var wait sync.WaitGroup
	stop := make(chan struct{})
	for g := range 4 {
		wait.Go(func() {
			channel := fmt.Sprintf("team:%d", g)
			for {
				select {
				case <-stop:
					return
				default:
				}
				verb := []string{"members.add", "members.remove"}[rand.N(2)]
				s.verb(verb, fmt.Sprintf(`{"channel":%q,"users":[%q]}`, channel, users[rand.N(3)]))
			}
		})
	}
	conns := map[string][]*client{}
	for range 40 {
		for _, user := range users {
			conns[user] = append(conns[user], s.user(user))
		}
	}
	close(stop)
	wait.Wait()
	for _, user := range users {
		want := []string{}
		for _, item := range s.verb("members.list", fmt.Sprintf(`{"user":%q}`, user))["items"].([]any) {
			want = append(want, item.(map[string]any)["channel"].(string))
		}
		for _, c := range conns[user] {
			eventually(t, "the subscriptions of "+user, func() bool {
				got := []string{}
				for _, ch := range s.verb("connections", fmt.Sprintf(`{"user":%q}`, user))["items"].([]any) {
					if item := ch.(map[string]any); item["id"] == c.ID {
						for _, name := range item["channels"].([]any) {
							got = append(got, name.(string))
						}
					}
				}
				slices.Sort(got)
				return slices.Equal(got, want)
			})
		}
	}
}

func TestMistakesInMemberships(t *testing.T) {
	s := start(t, grouped(t))
	for _, tt := range []struct{ verb, params, code, message string }{
		{"members.add", `{"channel":"team:1"}`, "bad_request", "users: is missing"},
		{"members.add", `{"users":["ann"]}`, "bad_request", "channel: is missing"},
		{"members.add", `{"channel":"none:1","users":["ann"]}`, "not_found", `channel: namespace "none" is not configured`},
		{"members.add", `{"channel":"team:1","users":["ann",""]}`, "bad_request", "users[1]: is missing"},
		{"members.add", `{"channel":"team:1","users":"ann"}`, "bad_request", "users: must be an array, not a string"},
		{"members.remove", `{"channel":"team:1"}`, "bad_request", "users: name users, or set all to true"},
		{"members.remove", `{"channel":"team:1","users":["ann"],"all":true}`, "bad_request", "users: name users, or set all to true"},
		{"members.list", `{}`, "bad_request", "channel: name either a channel or a user"},
		{"members.list", `{"channel":"team:1","limit":1001}`, "bad_request", "limit: 1001 is not between 1 and 1000"},
		{"members.count", `{"channel":"team"}`, "bad_request", `channel: "team" is not a channel name; write namespace:name`},
		{"members.groups", `{"limit":-1}`, "bad_request", "limit: -1 is not between 1 and 1000"},
		{"publish", `{"to":{"members":"none:1"},"data":1}`, "not_found", `to.members: namespace "none" is not configured`},
	} {
		_, got := s.api(tt.verb, tt.params)
		if got["code"] != tt.code || got["detail"] != tt.message {
			t.Errorf("%s %s: got %v, want %s: %s", tt.verb, tt.params, got, tt.code, tt.message)
		}
	}
	without := start(t, open())
	if _, got := without.api("members.add", `{"channel":"room:1","users":["ann"]}`); got["code"] != "unavailable" {
		t.Errorf("without a store: got %v", got)
	}
}
