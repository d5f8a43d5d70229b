package skein_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein"
)

// conversing is a server with conversations of both kinds, on each store.
func conversing(t *testing.T, story func(t *testing.T, s *testServer)) {
	t.Helper()
	onStores(t, func(t *testing.T, cfg func() skein.Config) {
		story(t, start(t, chats(cfg())))
	})
}

// chats adds namespaces of conversations.
func chats(cfg skein.Config) skein.Config {
	keep := skein.Keep{Count: 10_000}
	cfg.Limits.FramesPerSecond = -1
	for name, ns := range map[string]skein.Namespace{
		"dm":     {Kind: "log", Keep: keep, Presence: "members", Chat: skein.Chat{Kind: "direct"}},
		"shy":    {Kind: "log", Keep: keep, Chat: skein.Chat{Kind: "direct", Peers: "known", Edit: new(skein.Duration(0)), Recall: new(skein.Duration(0))}},
		"wire":   {Kind: "log", Keep: keep, Publish: "token", Subscribe: "token", Chat: skein.Chat{Kind: "direct", Peers: "family"}},
		"family": {Kind: "log", Keep: keep, Subscribe: "member", Publish: "member"},
		"group":  {Kind: "log", Keep: keep, Presence: "members", Chat: skein.Chat{Kind: "group"}},
		"still":  {Kind: "log", Keep: keep, Chat: skein.Chat{Kind: "group", Follow: new(false), History: "start", Join: "open", Members: 4}},
		"staff":  {Kind: "log", Keep: keep, Chat: skein.Chat{Kind: "group", Create: "token"}},
		"house":  {Kind: "log", Keep: keep, Chat: skein.Chat{Kind: "group", Create: "server"}},
		"plain":  {Kind: "log", Keep: keep, Subscribe: "anyone", Publish: "anyone"},
	} {
		cfg.Namespaces[name] = ns
	}
	return cfg
}

// talker is a client that keeps what comes while it waits for something else.
type talker struct {
	*client
	user string
	n    int
	seen []map[string]any
}

// talks opens a connection of a user.
func (s *testServer) talks(user string) *talker {
	s.t.Helper()
	return &talker{client: s.user(url.QueryEscape(user)), user: user}
}

// ask sends a frame and gives its reply.
func (c *talker) ask(frame string) map[string]any {
	c.t.Helper()
	c.n++
	id := "q" + strconv.Itoa(c.n)
	c.send(strings.Replace(frame, "{", `{"id":"`+id+`",`, 1))
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("%s: %v", frame, err)
		}
		if f["id"] == id {
			return f
		}
		c.seen = append(c.seen, f)
	}
}

// ok sends a frame that must succeed.
func (c *talker) ok(frame string) map[string]any {
	c.t.Helper()
	f := c.ask(frame)
	if f["type"] != "ok" {
		c.t.Fatalf("%s is answered by %v", frame, f)
	}
	return f
}

// refused sends a frame that must fail with a code, and with a word in its message.
func (c *talker) refused(frame, code, word string) {
	c.t.Helper()
	f := c.ask(frame)
	if f["type"] != "error" || f["code"] != code || !strings.Contains(fmt.Sprint(f["message"]), word) {
		c.t.Errorf("%s of %s is answered by %v, want %s with %q", frame, c.user, f, code, word)
	}
}

func callFrame(method, data string) string {
	return `{"type":"call","method":"` + method + `","data":` + data + `}`
}

// call calls a method, which must succeed.
func (c *talker) call(method, data string) map[string]any {
	c.t.Helper()
	out, _ := c.ok(callFrame(method, data))["data"].(map[string]any)
	return out
}

// says publishes, and gives the seq.
func (c *talker) says(channel string, data any) int {
	c.t.Helper()
	raw, err := json.Marshal(data)
	if err != nil {
		c.t.Fatal(err)
	}
	return int(c.ok(`{"type":"pub","channel":"` + channel + `","data":` + string(raw) + `}`)["seq"].(float64))
}

// next gives the first frame of a type that has not been taken.
func (c *talker) next(frameType string) map[string]any {
	c.t.Helper()
	for i, f := range c.seen {
		if f["type"] == frameType {
			c.seen = slices.Delete(c.seen, i, i+1)
			return f
		}
	}
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("%s waits for %s: %v; there was %v", c.user, frameType, err, c.seen)
		}
		if f["type"] == frameType {
			return f
		}
		c.seen = append(c.seen, f)
	}
}

// hears takes the next message and checks it.
func (c *talker) hears(channel string, seq int, data any) map[string]any {
	c.t.Helper()
	m := c.next("msg")
	if m["channel"] != channel || m["seq"] != float64(seq) || fmt.Sprint(m["data"]) != fmt.Sprint(data) {
		c.t.Errorf("%s hears %v, want %v as %d of %s", c.user, m, data, seq, channel)
	}
	return m
}

// rest gives what has come and was not taken: types and channels.
func (c *talker) rest() []string {
	c.t.Helper()
	c.send(`{"type":"ping","id":"rest"}`)
	list := []string{}
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		if f["type"] == "pong" && f["id"] == "rest" {
			break
		}
		c.seen = append(c.seen, f)
	}
	for _, f := range c.seen {
		list = append(list, strings.TrimSpace(fmt.Sprint(f["type"], " ", f["channel"])))
	}
	c.seen = nil
	return list
}

func (c *talker) quiet() {
	c.t.Helper()
	same(c.t, "what else comes to "+c.user, c.rest(), []string{})
}

func TestTheFirstMessageOfADirectConversationReachesBoth(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob, pad := s.talks("ann"), s.talks("bob"), s.talks("bob")
		eve := s.talks("eve")
		ok := ann.ok(`{"type":"pub","channel":"dm:ann:bob","data":"hi"}`)
		same(t, "the reply", map[string]any{"seq": ok["seq"], "connections": ok["connections"], "users": ok["users"], "stored": ok["stored"]},
			map[string]any{"seq": 1.0, "connections": 2.0, "users": 1.0, "stored": true})
		for _, c := range []*talker{ann, bob, pad} {
			if f := c.next("subscribed"); f["channel"] != "dm:ann:bob" || f["seq"] != 0.0 {
				t.Errorf("%s is told %v", c.user, f)
			}
			c.hears("dm:ann:bob", 1, "hi")
			c.quiet()
		}
		same(t, "the second", bob.says("dm:ann:bob", "ho"), 2)
		for _, c := range []*talker{ann, bob, pad} {
			c.hears("dm:ann:bob", 2, "ho")
			c.quiet()
		}
		eve.quiet()
		late := s.dial("user=bob&device=watch")
		same(t, "a later connection", late.expect("welcome")["channels"], []any{"dm:ann:bob"})

		// One who is away finds it.
		ok = ann.ok(`{"type":"pub","channel":"dm:ann:carl","data":"are you there?"}`)
		same(t, "to one who is away", []any{ok["connections"], ok["users"], ok["stored"]}, []any{0.0, 0.0, true})
		carl := s.dial("user=carl")
		same(t, "his channels", carl.expect("welcome")["channels"], []any{"dm:ann:carl"})
	})
}

func TestTwoFirstMessagesAtOnceAreOneConversation(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob := s.talks("a"), s.talks("b")
		for round := range 20 {
			// A namespace has one conversation of two users, so each round has two others.
			x, y := s.talks(fmt.Sprint("x", round)), s.talks(fmt.Sprint("y", round))
			channel := skein.DirectChannel("dm", x.user, y.user)
			var both sync.WaitGroup
			for _, c := range []*talker{x, y} {
				both.Go(func() { c.says(channel, c.user) })
			}
			both.Wait()
			var heard [2][]any
			for i, c := range []*talker{x, y} {
				for seq := 1; seq <= 2; seq++ {
					m := c.next("msg")
					same(t, "the order", m["seq"], float64(seq))
					heard[i] = append(heard[i], m["data"])
				}
				c.next("subscribed")
				c.quiet()
			}
			same(t, "what both hear", heard[0], heard[1])
			same(t, "members", s.verb("members.count", `{"channel":"`+channel+`"}`)["count"], 2.0)
			x.close()
			y.close()
		}
		ann.quiet()
		bob.quiet()
	})
}

func TestNobodyElseHasAnyRightInADirectConversation(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob, eve := s.talks("ann"), s.talks("bob"), s.talks("eve")
		nobody := &talker{client: s.anonymous()}
		seq := ann.says("dm:ann:bob", "for bob")
		bob.next("msg")
		at := strconv.Itoa(seq)
		for _, frame := range []string{
			`{"type":"sub","channel":"dm:ann:bob"}`, `{"type":"sub","channel":"dm:ann:bob","since":{"seq":0}}`, `{"type":"sub","channel":"dm:ann:bob","presence":true}`,
			`{"type":"history","channel":"dm:ann:bob"}`, `{"type":"presence","channel":"dm:ann:bob"}`, `{"type":"pub","channel":"dm:ann:bob","data":1}`,
			`{"type":"notice","channel":"dm:ann:bob","event":"typing"}`, `{"type":"edit","channel":"dm:ann:bob","seq":` + at + `,"data":1}`,
			`{"type":"recall","channel":"dm:ann:bob","seq":` + at + `}`, `{"type":"mark","channel":"dm:ann:bob","read":1}`, `{"type":"ack","channel":"dm:ann:bob","seq":1}`,
			`{"type":"conversation","channel":"dm:ann:bob"}`,
			callFrame("chat.get", `{"channel":"dm:ann:bob"}`), callFrame("chat.get", `{"channel":"dm:ann:bob","user":"ann"}`),
			callFrame("chat.members", `{"channel":"dm:ann:bob","by":"ann"}`), callFrame("chat.edit", `{"channel":"dm:ann:bob","seq":1,"data":1,"by":"ann"}`),
			callFrame("chat.mark", `{"channel":"dm:ann:bob","user":"ann","read":1}`), callFrame("chat.alerts", `{"channel":"dm:ann:bob","user":"ann","level":"none"}`),
		} {
			eve.refused(frame, "denied", "")
			nobody.refused(frame, "unauthorized", "")
		}
		for _, frame := range []string{
			callFrame("chat.invite", `{"channel":"dm:ann:bob","users":["eve"]}`), callFrame("chat.join", `{"channel":"dm:ann:bob"}`), callFrame("chat.leave", `{"channel":"dm:ann:bob"}`),
			callFrame("chat.create", `{"channel":"dm:ann:eve"}`), callFrame("chat.set", `{"channel":"dm:ann:bob","data":1}`),
		} {
			eve.refused(frame, "bad_request", "two users")
			ann.refused(frame, "bad_request", "two users")
		}
		for _, c := range []*talker{ann, bob} {
			same(t, "what "+c.user+" may", c.ok(`{"type":"history","channel":"dm:ann:bob"}`)["seq"], float64(seq))
			c.refused(`{"type":"sub","channel":"dm:bob:ann"}`, "bad_request", `"dm:ann:bob"`)
			c.refused(`{"type":"pub","channel":"dm:ann:ann","data":1}`, "bad_request", "twice")
			c.refused(`{"type":"pub","channel":"dm:ann","data":1}`, "bad_request", "two users")
		}
		eve.quiet()
		same(t, "the conversations of eve", eve.ok(`{"type":"conversations"}`)["count"], 0.0)
	})
}

func TestADirectConversationCanBeReadBeforeItBegins(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob := s.talks("ann"), s.talks("b:b")
		channel := skein.DirectChannel("dm", "ann", "b:b")
		same(t, "the head", ann.ok(`{"type":"sub","channel":"` + channel + `"}`)["seq"], 0.0)
		same(t, "the history", bob.ok(`{"type":"history","channel":"` + channel + `"}`)["messages"], []any{})
		bob.ok(`{"type":"notice","channel":"` + channel + `","event":"typing"}`)
		ann.next("notice")
		bob.says(channel, 1)
		ann.hears(channel, 1, 1) // she had subscribed, so nothing more is told
		ann.quiet()
		bob.next("subscribed")
		bob.hears(channel, 1, 1)
		bob.quiet()

		// The server begins one as well, and its word is nobody's.
		r := s.verb("publish", `{"to":{"channel":"dm:ann:zoe"},"data":"welcome"}`)
		same(t, "the reach", []any{r["connections"], r["users"], r["stored"]}, []any{1.0, 1.0, true})
		if m := ann.hears("dm:ann:zoe", 1, "welcome"); m["from"] != nil {
			t.Errorf("it is from %v", m["from"])
		}
		r = s.verb("publish", `{"to":[{"channel":"dm:ann:yan"},{"channel":"plain:1"}],"data":"to many"}`)
		same(t, "kept in", len(r["kept"].([]any)), 2)
		ann.hears("dm:ann:yan", 1, "to many")
	})
}

func TestABlockKeepsBothFromWriting(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann, bob := s.talks("ann"), s.talks("bob")
		ann.says("dm:ann:bob", 1)
		same(t, "changed", bob.call("chat.block", `{"peer":"ann","blocked":true}`)["changed"], true)
		same(t, "again", bob.call("chat.block", `{"peer":"ann","blocked":true}`)["changed"], false)
		for _, c := range []*talker{ann, bob} {
			c.refused(`{"type":"pub","channel":"dm:ann:bob","data":2}`, "denied", "blocked")
			c.refused(`{"type":"notice","channel":"dm:ann:bob","event":"typing"}`, "denied", "blocked")
			c.ok(`{"type":"history","channel":"dm:ann:bob"}`)
		}
		ann.refused(`{"type":"edit","channel":"dm:ann:bob","seq":1,"data":2}`, "denied", "blocked")
		ann.ok(`{"type":"recall","channel":"dm:ann:bob","seq":1}`)
		list := bob.call("chat.blocked", `{}`)
		same(t, "whom bob has blocked", list["items"].([]any)[0].(map[string]any)["user"], "ann")
		same(t, "whom ann has blocked", ann.call("chat.blocked", `{"user":"bob"}`)["items"], []any{})

		// Nor can he be brought into a group by her; the others can.
		same(t, "the group", ann.call("chat.create", `{"channel":"group:1","users":["carl"]}`)["members"], 2.0)
		in := ann.call("chat.invite", `{"channel":"group:1","users":["bob","dora"]}`)
		same(t, "added", in, map[string]any{"added": []any{"dora"}, "refused": []any{"bob"}, "members": 3.0})
		bob.call("chat.block", `{"peer":"ann","blocked":false}`)
		same(t, "afterwards", ann.says("dm:ann:bob", 3), 2)
		ann.refused(callFrame("chat.block", `{"peer":"ann","blocked":true}`), "bad_request", "data.peer")
		ann.refused(callFrame("chat.block", `{"blocked":true}`), "bad_request", "data.peer")
		ann.refused(callFrame("chat.block", `{"peer":"bob"}`), "bad_request", "data.blocked")
		ann.refused(callFrame("chat.block", `{"peer":"bob","blocked":true,"for":1}`), "bad_request", "data.for")
	})
}

func TestOnlyThoseWhoAreKnownCanBeWrittenTo(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		ann := s.talks("ann")
		for _, frame := range []string{
			`{"type":"pub","channel":"shy:ann:zoe","data":1}`, `{"type":"sub","channel":"shy:ann:zoe"}`, `{"type":"notice","channel":"shy:ann:zoe","event":"typing"}`,
		} {
			ann.refused(frame, "not_found", "zoe")
		}
		s.verb("users.put", `{"id":"zoe","attributes":{"city":"Bonn"}}`)
		same(t, "one with attributes", ann.says("shy:ann:zoe", 1), 1)
		yan := s.talks("yan")
		same(t, "one who is there", ann.says("shy:ann:yan", 1), 1)
		yan.hears("shy:ann:yan", 1, 1)
	})
}

func TestTheSameKeyFromTwoDevicesIsOneMessage(t *testing.T) {
	conversing(t, func(t *testing.T, s *testServer) {
		phone, desk := s.talks("ann"), s.talks("ann")
		bob := s.talks("bob")
		frame := `{"type":"pub","channel":"dm:ann:bob","data":"once","key":"k"}`
		var both sync.WaitGroup
		var replies [2]map[string]any
		for i, c := range []*talker{phone, desk} {
			both.Go(func() { replies[i] = c.ok(frame) })
		}
		both.Wait()
		same(t, "the seqs", []any{replies[0]["seq"], replies[1]["seq"]}, []any{1.0, 1.0})
		same(t, "which is the second", (replies[0]["duplicate"] == true) != (replies[1]["duplicate"] == true), true)
		bob.next("subscribed")
		bob.hears("dm:ann:bob", 1, "once")
		bob.quiet()
		phone.refused(`{"type":"pub","channel":"dm:ann:bob","data":"twice","key":"k"}`, "conflict", "key")
		phone.refused(`{"type":"pub","channel":"dm:ann:bob","data":"once","key":"k","reply":1}`, "conflict", "key")
	})
}
