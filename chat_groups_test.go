package skein_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein"
)

// quoted writes users as a JSON list.
func quoted(users ...string) string {
	b, err := json.Marshal(users)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestAGroupAndItsRoles(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob, carl, eve := s.talks("ann"), s.talks("bob"), s.talks("carl"), s.talks("eve")
		made := ann.call("chat.create", `{"channel":"group:1","users":["bob"],"data":{"title":"One"},"by":"eve"}`)
		same(t, "the owner is who asks, whatever it says", []any{made["role"], made["members"], made["join"], made["data"]},
			[]any{"owner", 2.0, "admins", map[string]any{"title": "One"}})
		ann.refused(callFrame("chat.create", `{"channel":"group:1"}`), "conflict", "there already")
		for _, c := range []*talker{ann, bob} {
			same(t, "whom it concerns", c.next("subscribed")["channel"], "group:1")
		}
		same(t, "a message", ann.says("group:1", "hello"), 1)
		bob.hears("group:1", 1, "hello")

		// A member may write, and nothing else; who is none may nothing.
		for _, c := range []*talker{bob, eve} {
			c.refused(callFrame("chat.invite", `{"channel":"group:1","users":["carl"]}`), "denied", "bring")
			c.refused(callFrame("chat.remove", `{"channel":"group:1","users":["ann"]}`), "denied", "remove")
			c.refused(callFrame("chat.role", `{"channel":"group:1","user":"bob","role":"admin"}`), "denied", "an admin")
			c.refused(callFrame("chat.set", `{"channel":"group:1","data":1}`), "denied", "change")
			c.refused(callFrame("chat.set", `{"channel":"group:1","join":"open"}`), "denied", "change")
			c.refused(callFrame("chat.delete", `{"channel":"group:1"}`), "denied", "owner")
		}
		for _, frame := range []string{
			`{"type":"sub","channel":"group:1"}`, `{"type":"pub","channel":"group:1","data":1}`, `{"type":"history","channel":"group:1"}`,
			`{"type":"notice","channel":"group:1","event":"typing"}`, `{"type":"presence","channel":"group:1"}`,
			`{"type":"edit","channel":"group:1","seq":1,"data":1}`, `{"type":"recall","channel":"group:1","seq":1}`,
			callFrame("chat.members", `{"channel":"group:1"}`), callFrame("chat.get", `{"channel":"group:1"}`), callFrame("chat.leave", `{"channel":"group:1"}`),
			callFrame("chat.join", `{"channel":"group:1"}`),
		} {
			eve.refused(frame, "denied", "")
		}

		// Readers read.
		same(t, "in", ann.call("chat.invite", `{"channel":"group:1","users":["carl"],"role":"reader"}`)["added"], []any{"carl"})
		carl.next("subscribed")
		ann.says("group:1", "to all")
		carl.hears("group:1", 2, "to all")
		carl.refused(`{"type":"pub","channel":"group:1","data":1}`, "denied", "reader")
		carl.refused(`{"type":"notice","channel":"group:1","event":"typing"}`, "denied", "reader")
		carl.ok(`{"type":"history","channel":"group:1"}`)

		// Admins rule over those below them.
		same(t, "bob was", ann.call("chat.role", `{"channel":"group:1","user":"bob","role":"admin"}`)["was"], "member")
		same(t, "carl was", bob.call("chat.role", `{"channel":"group:1","user":"carl","role":"member"}`)["was"], "reader")
		carl.says("group:1", "now I can")
		bob.refused(callFrame("chat.role", `{"channel":"group:1","user":"carl","role":"admin"}`), "denied", "an admin")
		bob.refused(callFrame("chat.role", `{"channel":"group:1","user":"ann","role":"member"}`), "denied", "a member")
		bob.refused(callFrame("chat.role", `{"channel":"group:1","user":"carl","role":"owner"}`), "denied", "the owner")
		bob.refused(callFrame("chat.remove", `{"channel":"group:1","users":["ann"]}`), "denied", "remove")
		bob.refused(callFrame("chat.set", `{"channel":"group:1","join":"open"}`), "denied", "change")
		bob.refused(callFrame("chat.role", `{"channel":"group:1","user":"zoe","role":"reader"}`), "not_found", "zoe")
		same(t, "what is kept", bob.call("chat.set", `{"channel":"group:1","data":{"title":"Two"}}`), map[string]any{"data": map[string]any{"title": "Two"}, "join": "admins"})
		same(t, "removed", bob.call("chat.remove", `{"channel":"group:1","users":["carl","zoe"]}`), map[string]any{"removed": 1.0, "members": 2.0})
		same(t, "carl's subscription", carl.next("unsubscribed")["channel"], "group:1")
		carl.refused(`{"type":"pub","channel":"group:1","data":1}`, "denied", "")

		// The ownership is passed on, or falls to the admin.
		same(t, "passed on", ann.call("chat.role", `{"channel":"group:1","user":"bob","role":"owner"}`)["was"], "admin")
		same(t, "ann is", ann.call("chat.get", `{"channel":"group:1"}`)["role"], "admin")
		bob.call("chat.set", `{"channel":"group:1","join":"open"}`)
		same(t, "carl comes", carl.call("chat.join", `{"channel":"group:1"}`)["added"], []any{"carl"})
		same(t, "and again", carl.call("chat.join", `{"channel":"group:1"}`), map[string]any{"added": []any{}, "refused": []any{}, "members": 3.0})
		same(t, "bob goes", bob.call("chat.leave", `{"channel":"group:1"}`), map[string]any{"removed": 1.0, "members": 2.0, "owner": "ann"})
		members := carl.call("chat.members", `{"channel":"group:1","limit":1}`)
		same(t, "a page of members", []any{members["members"], members["next"], len(members["items"].([]any))}, []any{2.0, "ann", 1})
		carl.refused(callFrame("chat.delete", `{"channel":"group:1"}`), "denied", "owner")
		same(t, "deleted", ann.call("chat.delete", `{"channel":"group:1"}`)["removed"], 2.0)
		for _, c := range []*talker{ann, carl} {
			c.next("unsubscribed")
			c.refused(`{"type":"history","channel":"group:1"}`, "denied", "")
		}
		same(t, "and is made anew", carl.call("chat.create", `{"channel":"group:1"}`)["role"], "owner")
	})
}

func TestTheServerActsForAnyUser(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		made := s.verb("chat.create", `{"channel":"group:2","users":["ann","bob"],"join":"members","data":{"title":"Two"}}`)
		same(t, "without an owner", []any{made["kind"], made["members"], made["join"], made["role"]}, []any{"group", 2.0, "members", nil})
		same(t, "added by a member", s.verb("chat.invite", `{"channel":"group:2","users":["carl"],"by":"ann"}`)["members"], 3.0)
		for _, tc := range []struct{ verb, params, code, word string }{
			{"chat.invite", `{"channel":"group:2","users":["dora"],"by":"eve"}`, "denied", "bring"},
			{"chat.invite", `{"channel":"group:2","users":["dora"],"role":"owner"}`, "bad_request", "role"},
			{"chat.invite", `{"channel":"group:2","users":["dora"],"role":"king"}`, "bad_request", "king"},
			{"chat.invite", `{"channel":"group:2","users":["dora",""]}`, "bad_request", "users[1]"},
			{"chat.invite", `{"channel":"group:2"}`, "bad_request", "users"},
			{"chat.invite", `{"channel":"plain:2","users":["dora"]}`, "bad_request", "no conversation"},
			{"chat.invite", `{"channel":"other:2","users":["dora"]}`, "not_found", "not configured"},
			{"chat.invite", `{"channel":"group:2","users":["dora"],"user":"x"}`, "bad_request", "user"},
			{"chat.create", `{"channel":"group:3"}`, "bad_request", "users"},
			{"chat.create", `{"channel":"group:3","users":["ann"],"join":"nobody"}`, "bad_request", "join"},
			{"chat.create", `{"channel":"group:3","users":["ann"],"data":"` + strings.Repeat("x", 4<<10) + `"}`, "too_large", "data"},
			{"chat.remove", `{"channel":"group:2","users":["ann"],"by":"bob"}`, "denied", "remove"},
			{"chat.leave", `{"channel":"group:2","user":"eve"}`, "denied", "no member"},
			{"chat.leave", `{"channel":"group:2"}`, "bad_request", "user"},
			{"chat.join", `{"channel":"group:2","user":"eve"}`, "denied", "open"},
			{"chat.set", `{"channel":"group:2"}`, "bad_request", "data"},
			{"chat.set", `{"channel":"group:2","data":1,"by":"ann"}`, "denied", "change"},
			{"chat.role", `{"channel":"group:2","user":"zoe","role":"admin"}`, "not_found", "zoe"},
			{"chat.delete", `{"channel":"group:2","by":"ann"}`, "denied", "owner"},
			{"chat.get", `{"channel":"group:9"}`, "not_found", "group:9"},
			{"chat.get", `{"channel":"group:2","user":"eve"}`, "denied", ""},
			{"chat.edit", `{"channel":"group:2","seq":9,"data":1}`, "not_found", "seq"},
			{"chat.edit", `{"channel":"group:2","seq":0,"data":1}`, "bad_request", "seq"},
			{"chat.members", `{"channel":"group:2","by":"eve"}`, "denied", "members"},
			{"chat.blocked", `{}`, "bad_request", "user"},
			{"members.add", `{"channel":"dm:ann:bob","users":["eve"]}`, "bad_request", "two users"},
			{"members.remove", `{"channel":"dm:ann:bob","users":["ann"]}`, "bad_request", "two users"},
			{"publish", `{"to":{"channel":"dm:bob:ann"},"data":1}`, "bad_request", "dm:ann:bob"},
		} {
			status, out := s.api(tc.verb, tc.params)
			if out["code"] != tc.code || !strings.Contains(fmt.Sprint(out["detail"]), tc.word) {
				t.Errorf("%s %s is answered by %d %v, want %s with %q", tc.verb, tc.params, status, out, tc.code, tc.word)
			}
		}
		same(t, "an owner made by the server", s.verb("chat.role", `{"channel":"group:2","user":"carl","role":"owner"}`)["was"], "member")
		same(t, "in the place of that one", s.verb("chat.role", `{"channel":"group:2","user":"bob","role":"owner"}`)["was"], "member")
		same(t, "who is none any more", s.verb("chat.get", `{"channel":"group:2","user":"carl"}`)["role"], "admin")
		same(t, "what the server sees", s.verb("chat.get", `{"channel":"group:2"}`), map[string]any{
			"channel": "group:2", "kind": "group", "seq": 0.0, "members": 3.0, "data": map[string]any{"title": "Two"}, "join": "members",
		})
		r := s.verb("publish", `{"to":{"channel":"group:2"},"data":"the server's word"}`)
		same(t, "the server's word", []any{r["seq"], r["users"]}, []any{1.0, 0.0})
		same(t, "edited", s.verb("chat.edit", `{"channel":"group:2","seq":1,"data":"better"}`)["id"], r["id"])

		// members.add and members.remove are the server's invite and remove.
		same(t, "added", s.verb("members.add", `{"channel":"group:2","users":["dora"]}`), map[string]any{"count": 1.0, "connections": 0.0, "members": 4.0})
		same(t, "her role", s.verb("chat.get", `{"channel":"group:2","user":"dora"}`)["role"], "member")
		same(t, "removed", s.verb("members.remove", `{"channel":"group:2","users":["bob"]}`), map[string]any{"count": 1.0, "connections": 0.0, "members": 3.0})
		same(t, "all", s.verb("members.remove", `{"channel":"group:2","all":true}`), map[string]any{"count": 3.0, "connections": 0.0, "members": 0.0})
	})
}

func TestWhoMakesGroupsIsForTheNamespaceToSay(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann := s.talks("ann")
		ann.refused(callFrame("chat.create", `{"channel":"staff:1"}`), "denied", "staff")
		ann.refused(callFrame("chat.create", `{"channel":"house:1"}`), "denied", "house")
		ann.refused(callFrame("chat.create", `{"channel":"plain:1"}`), "bad_request", "no conversation")
		ann.refused(callFrame("chat.create", `{"channel":"group:1","users":`+quoted(make([]string, 1001)...)+`}`), "bad_request", "1001")
		ann.refused(callFrame("chat.unheard", `{}`), "not_found", "chat.unheard")
		same(t, "the server may, for her", s.verb("chat.create", `{"channel":"house:1","by":"ann"}`)["role"], "owner")
		(&talker{client: s.anonymous()}).refused(callFrame("chat.create", `{"channel":"group:1"}`), "unauthorized", "")
	})
}

func TestAMemberSeesWhatIsSaidFromHisComingOn(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob := s.talks("ann"), s.talks("bob")
		ann.call("chat.create", `{"channel":"group:1"}`)
		for i := 1; i <= 3; i++ {
			ann.says("group:1", i)
		}
		ann.call("chat.invite", `{"channel":"group:1","users":["bob"]}`)
		same(t, "where it begins", bob.next("subscribed")["seq"], 3.0)
		ann.says("group:1", 4)
		bob.hears("group:1", 4, 4)
		page := bob.ok(`{"type":"history","channel":"group:1"}`)
		same(t, "his history", []any{len(page["messages"].([]any)), page["more"]}, []any{1, false})
		back := bob.ok(`{"type":"sub","channel":"group:1","since":{"seq":0}}`)
		same(t, "from the beginning", back["recovered"], false)
		gap := bob.next("gap")
		same(t, "the gap", []any{gap["from"], gap["to"]}, []any{1.0, 3.0})
		bob.hears("group:1", 4, 4)
		bob.ok(`{"type":"sub","channel":"group:1","last":50}`)
		bob.hears("group:1", 4, 4)
		bob.refused(`{"type":"pub","channel":"group:1","data":5,"reply":3}`, "not_found", "reply")
		same(t, "an answer to what he sees", bob.ok(`{"type":"pub","channel":"group:1","data":5,"reply":4}`)["seq"], 5.0)
		bob.hears("group:1", 5, 5)

		// What was said before is edited: that is not for him.
		ann.ok(`{"type":"edit","channel":"group:1","seq":2,"data":"secret"}`)
		ann.says("group:1", 6)
		bob.hears("group:1", 6, 6)
		bob.quiet()

		// Who leaves and comes back comes in anew.
		bob.call("chat.leave", `{"channel":"group:1"}`)
		bob.next("unsubscribed")
		ann.says("group:1", 7)
		ann.call("chat.invite", `{"channel":"group:1","users":["bob"]}`)
		same(t, "where it begins now", bob.next("subscribed")["seq"], 7.0)
		same(t, "his history now", bob.ok(`{"type":"history","channel":"group:1"}`)["messages"], []any{})
		bob.quiet()

		// With history: start he sees it all.
		ann.call("chat.create", `{"channel":"still:1"}`)
		ann.says("still:1", 1)
		bob.call("chat.join", `{"channel":"still:1"}`)
		same(t, "all", len(bob.ok(`{"type":"history","channel":"still:1"}`)["messages"].([]any)), 1)
	})
}

func TestWithoutFollowingAClientSubscribesToWhatItShows(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob := s.talks("ann"), s.talks("bob")
		ann.call("chat.create", `{"channel":"still:1","users":["bob"]}`)
		ok := ann.ok(`{"type":"pub","channel":"still:1","data":1}`)
		same(t, "who is connected, subscribed or not", []any{ok["connections"], ok["users"]}, []any{1.0, 1.0})
		bob.quiet()
		bob.ok(`{"type":"sub","channel":"still:1","since":{"seq":0}}`)
		bob.hears("still:1", 1, 1)
		ann.call("chat.remove", `{"channel":"still:1","users":["bob"]}`)
		bob.next("unsubscribed")
		ann.says("still:1", 2)
		bob.quiet()
		later := s.dial("user=ann")
		same(t, "a later connection", later.expect("welcome")["channels"], []any{})
		ann.call("chat.invite", `{"channel":"still:1","users":["x","y","z"]}`)
		ann.refused(callFrame("chat.invite", `{"channel":"still:1","users":["w"]}`), "too_large", "4 members")
		s.talks("w").refused(callFrame("chat.join", `{"channel":"still:1"}`), "too_large", "4 members")
	})
}

func TestRepliesAndMentions(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob := s.talks("ann"), s.talks("bob")
		ann.call("chat.create", `{"channel":"group:1","users":["bob"]}`)
		ann.says("group:1", "one")
		bob.ok(`{"type":"pub","channel":"group:1","data":"two","reply":1,"mentions":["ann"]}`)
		ann.next("msg")
		m := ann.hears("group:1", 2, "two")
		same(t, "beside the data", []any{m["reply"], m["mentions"]}, []any{1.0, []any{"ann"}})
		kept := bob.ok(`{"type":"history","channel":"group:1","limit":1}`)["messages"].([]any)[0].(map[string]any)
		same(t, "in the history", []any{kept["reply"], kept["mentions"]}, []any{1.0, []any{"ann"}})
		for _, tc := range []struct{ more, code, word string }{
			{`"reply":9`, "not_found", "reply"}, {`"reply":0`, "bad_request", "reply"}, {`"reply":"1"`, "bad_request", "reply"},
			{`"mentions":["eve"]`, "bad_request", "mentions[0]"}, {`"mentions":["ann","ann"]`, "bad_request", "mentions[1]"},
			{`"mentions":"ann"`, "bad_request", "mentions"}, {`"mentions":["*"]`, "denied", "everybody"},
		} {
			bob.refused(`{"type":"pub","channel":"group:1","data":3,`+tc.more+`}`, tc.code, tc.word)
			bob.refused(`{"type":"pub","channel":"plain:1","data":3,`+tc.more+`}`, "bad_request", "conversation")
		}
		same(t, "everybody", ann.ok(`{"type":"pub","channel":"group:1","data":3,"mentions":["*"]}`)["seq"], 3.0)
		ann.ok(`{"type":"recall","channel":"group:1","seq":1}`)
		bob.refused(`{"type":"pub","channel":"group:1","data":4,"reply":1}`, "not_found", "reply")
		ann.refused(`{"type":"pub","channel":"dm:ann:bob","data":4,"mentions":["eve"]}`, "bad_request", "mentions[0]")
		ann.ok(`{"type":"pub","channel":"dm:ann:bob","data":4,"mentions":["bob"]}`)
	})
}

func TestAfterLeavingNoMessageFollows(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann := s.talks("ann")
		ann.call("chat.create", `{"channel":"group:1"}`)
		for round := range 100 {
			user := fmt.Sprint("u", round)
			ann.call("chat.invite", `{"channel":"group:1","users":["`+user+`"]}`)
			speaker, leaver := s.talks(user), s.talks(user)
			var work sync.WaitGroup
			left := make(chan int, 1) // the head after the ok to leaving
			work.Go(func() {
				how := callFrame("chat.leave", `{"channel":"group:1"}`)
				if round%2 == 0 {
					leaver.ok(how)
				} else {
					s.verb("chat.remove", `{"channel":"group:1","users":["`+user+`"]}`)
				}
				left <- int(s.verb("chat.get", `{"channel":"group:1"}`)["seq"].(float64))
			})
			last := 0
			for i := range 20 {
				f := speaker.ask(`{"type":"pub","channel":"group:1","data":` + strconv.Itoa(i) + `}`)
				if f["type"] != "ok" {
					same(t, "the error", f["code"], "denied")
					break
				}
				last = int(f["seq"].(float64))
			}
			work.Wait()
			if head := <-left; last > head {
				t.Fatalf("round %d: the message %d follows the end of the membership at %d", round, last, head)
			}
			speaker.refused(`{"type":"pub","channel":"group:1","data":1}`, "denied", "")
			speaker.refused(`{"type":"sub","channel":"group:1"}`, "denied", "")
			speaker.close()
			leaver.close()
		}
	})
}

// Who subscribes in the moment in which he is removed is not left with the subscription.
func TestWhoIsRemovedWhileHeSubscribesHearsNothingMore(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann := s.talks("ann")
		ann.call("chat.create", `{"channel":"still:1"}`)
		for range 100 {
			bob := s.talks("bob")
			ann.call("chat.invite", `{"channel":"still:1","users":["bob"]}`)
			var work sync.WaitGroup
			work.Go(func() { s.verb("members.remove", `{"channel":"still:1","users":["bob"]}`) })
			subscribed := bob.ask(`{"type":"sub","channel":"still:1"}`)["type"] == "ok"
			work.Wait()
			ann.says("still:1", "not for bob")
			rest := bob.rest()
			if subscribed && (len(rest) != 1 || rest[0] != "unsubscribed still:1") || !subscribed && len(rest) > 0 {
				t.Fatalf("he was subscribed: %v; he hears %v", subscribed, rest)
			}
			bob.close()
		}
	})
}

func TestALargeGroup(t *testing.T) {
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		s := start(t, chats(cfg()))
		ann, bob := s.talks("ann"), s.talks("u00042")
		users := make([]string, 4998)
		for i := range users {
			users[i] = fmt.Sprintf("u%05d", i)
		}
		ann.call("chat.create", `{"channel":"group:big"}`)
		in := s.verb("chat.invite", `{"channel":"group:big","users":`+quoted(users...)+`}`)
		same(t, "members", []any{len(in["added"].([]any)), in["members"]}, []any{4998, 4999.0})
		bob.next("subscribed")
		status, out := s.api("chat.invite", `{"channel":"group:big","users":["x","y"]}`)
		same(t, "too many", []any{status, out["code"]}, []any{413, "too_large"})
		s.verb("chat.invite", `{"channel":"group:big","users":["x"]}`)
		ok := ann.ok(`{"type":"pub","channel":"group:big","data":"hello, all"}`)
		same(t, "who is there", []any{ok["users"], ok["connections"]}, []any{1.0, 1.0})
		bob.hears("group:big", 1, "hello, all")
		bob.says("group:big", "hello")
		n, after := 0, ""
		for {
			page := ann.call("chat.members", `{"channel":"group:big","limit":1000,"after":"`+after+`"}`)
			n += len(page["items"].([]any))
			if page["next"] == nil {
				break
			}
			after = page["next"].(string)
		}
		same(t, "members, page by page", n, 5000)
		same(t, "left", bob.call("chat.leave", `{"channel":"group:big"}`)["members"], 4999.0)
		bob.refused(`{"type":"pub","channel":"group:big","data":"one more"}`, "denied", "")
		same(t, "deleted", ann.call("chat.delete", `{"channel":"group:big"}`)["removed"], 4999.0)
	})
}
