package skein_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

func TestOnSubscribeDecides(t *testing.T) {
	seen := &list[string]{}
	prepare := func(s *skein.Server) {
		s.OnSubscribe("closed", func(_ context.Context, sub *skein.Subscribing) error {
			seen.add(fmt.Sprintf("closed: %s %s %t", sub.Conn.User(), sub.Channel, sub.Allow))
			switch sub.Channel {
			case "closed:open":
				sub.Allow = true
			case "closed:hidden":
				return skein.NewError("not_found", "there is no such place")
			case "closed:broken":
				return errors.New("password is hunter2")
			case "closed:panic":
				panic("on purpose")
			}
			return nil
		})
		s.OnSubscribe("", func(_ context.Context, sub *skein.Subscribing) error {
			seen.add(fmt.Sprintf("all: %s %t", sub.Channel, sub.Allow))
			if sub.Channel == "room:forbidden" {
				sub.Allow = false
			}
			return nil
		})
	}
	eachWith(t, func() skein.Config { return gated(t) }, prepare, func(t *testing.T, s *testServer) {
		ann := s.with("token=" + token(t, auth.Identity{User: "ann", Caps: caps(t, map[string]string{"closed:mine": "sub"})}))
		ann.ID = ann.expect("welcome")["connection"].(string)
		ann.do(`{"type":"sub","channel":"closed:open"}`)
		same(t, "both are asked, that for all first", seen.take(), []string{"all: closed:open false", "closed: ann closed:open false"})
		ann.do(`{"type":"sub","channel":"closed:mine"}`)
		ann.fails(`{"type":"sub","channel":"closed:other"}`, "denied")
		if e := ann.fails(`{"type":"sub","channel":"closed:hidden"}`, "not_found"); e["message"] != "there is no such place" || e["channel"] != "closed:hidden" {
			t.Errorf("got %v", e)
		}
		if e := ann.fails(`{"type":"sub","channel":"closed:broken"}`, "internal"); e["message"] != "internal error" {
			t.Errorf("got %v", e)
		}
		ann.fails(`{"type":"sub","channel":"closed:panic"}`, "internal")
		ann.fails(`{"type":"sub","channel":"room:forbidden"}`, "denied")
		ann.fails(`{"type":"sub","channel":"none:1"}`, "not_found")
		seen.take()
		ann.do(`{"type":"sub","channel":"room:1"}`)
		same(t, "another namespace", seen.take(), []string{"all: room:1 true"})
		s.verb("subscribe", fmt.Sprintf(`{"connection":%q,"channel":"closed:server"}`, ann.ID))
		ann.expect("subscribed")
		same(t, "what the server does is not asked about", len(seen.take()), 0)
		same(t, "channels", channelsOf(s, ann.ID), []string{"closed:mine", "closed:open", "closed:server", "room:1"})
	})
}

// channelsOf lists what a connection is subscribed to.
func channelsOf(s *testServer, connection string) []string {
	s.t.Helper()
	c := s.Conn(connection)
	if c == nil {
		s.t.Fatalf("there is no connection %s", connection)
	}
	list := c.Channels()
	slices.Sort(list)
	return list
}

// What a function has allowed lasts when rights change that it did not come from.
func TestWhatOnSubscribeAllowedLasts(t *testing.T) {
	prepare := func(s *skein.Server) {
		s.OnSubscribe("closed", func(_ context.Context, sub *skein.Subscribing) error {
			sub.Allow = sub.Allow || sub.Channel == "closed:open"
			return nil
		})
	}
	cfg := gated(t)
	eachWith(t, func() skein.Config { cfg = gated(t); return cfg }, prepare, func(t *testing.T, s *testServer) {
		who := auth.Identity{User: "ann", Caps: caps(t, map[string]string{"closed:mine": "sub"})}
		ann := s.with("token=" + token(t, who))
		ann.ID = ann.expect("welcome")["connection"].(string)
		for _, channel := range []string{"closed:open", "closed:mine", "room:1"} {
			ann.do(`{"type":"sub","channel":"` + channel + `"}`)
		}
		who.Caps = auth.Caps{}
		ann.do(`{"type":"refresh","token":"` + token(t, who) + `"}`)
		if f := ann.expect("unsubscribed"); f["channel"] != "closed:mine" || f["reason"] != "denied" {
			t.Errorf("got %v", f)
		}
		same(t, "after a refresh", channelsOf(s, ann.ID), []string{"closed:open", "room:1"})
		next := cfg
		next.Namespaces = maps.Clone(cfg.Namespaces)
		next.Namespaces["room"] = skein.Namespace{Subscribe: "server", Publish: "anyone"}
		next.Namespaces["closed"] = skein.Namespace{Subscribe: "server"}
		if _, _, err := s.Reload(next); err != nil {
			t.Fatal(err)
		}
		if f := ann.expect("unsubscribed"); f["channel"] != "room:1" || f["reason"] != "denied" {
			t.Errorf("got %v", f)
		}
		same(t, "after a reload", channelsOf(s, ann.ID), []string{"closed:open"})
		ann.do(`{"type":"unsub","channel":"closed:open"}`)
		ann.do(`{"type":"sub","channel":"closed:open"}`)
		ann.lives()
	})
}

// editor is an application that looks at what is published.
func editor(s *skein.Server) {
	s.OnMessage("", func(_ context.Context, m *skein.Message) error {
		if strings.Contains(string(m.Data), "stop") {
			return skein.NewError("denied", "mind your language")
		}
		return nil
	})
	decide := func(_ context.Context, m *skein.Message) error {
		var text string
		if err := m.Decode(&text); err != nil {
			return err
		}
		switch text {
		case "shout":
			m.Event, m.Data = "loud", json.RawMessage(`"SHOUT"`)
		case "time?":
			m.Reply(map[string]string{"time": "noon", "by": m.Conn.User()})
		case "raw":
			m.Reply(json.RawMessage(`[1, 2]`))
		case "nothing":
			m.Reply(nil)
		case "secret":
			m.Allow = true
		case "never":
			m.Allow = false
		case "no JSON":
			m.Data = json.RawMessage(`{"a":`)
		case "empty":
			m.Data = nil
		case "bad event":
			m.Event = "a\nb"
		case "bad reply":
			m.Reply(func() {})
		case "broken":
			return errors.New("password is hunter2")
		case "panic":
			panic("on purpose")
		}
		return nil
	}
	for _, namespace := range []string{"room", "closed", "log"} {
		s.OnMessage(namespace, decide)
	}
}

func TestOnMessageDecides(t *testing.T) {
	log := &logbook{}
	cfg := func() skein.Config {
		c := gated(t)
		c.Logger = log.logger()
		return c
	}
	eachWith(t, cfg, editor, func(t *testing.T, s *testServer) {
		as := func(user string) *client {
			c := s.with("token=" + token(t, auth.Identity{User: user}))
			c.ID = c.expect("welcome")["connection"].(string)
			return c
		}
		ann, bob := as("ann"), as("bob")
		bob.do(`{"type":"sub","channel":"room:1"}`)
		s.verb("subscribe", fmt.Sprintf(`{"connection":%q,"channel":"closed:1"}`, bob.ID))
		bob.expect("subscribed")
		pub := func(channel, data string) string {
			return fmt.Sprintf(`{"type":"pub","channel":%q,"data":%q}`, channel, data)
		}
		got := func(event, data string) {
			t.Helper()
			if m := bob.expect("msg"); m["event"] != event || m["data"] != data || m["from"].(map[string]any)["user"] != "ann" {
				t.Errorf("got %v, want %s %s", m, event, data)
			}
		}
		same(t, "as it is", ann.do(pub("room:1", "hello"))["connections"], 1.0)
		got("message", "hello")
		same(t, "changed", ann.do(pub("room:1", "shout"))["connections"], 1.0)
		got("loud", "SHOUT")
		ok := ann.do(pub("room:1", "time?"))
		same(t, "answered", ok, map[string]any{"type": "ok", "id": 1.0, "reply": map[string]any{"time": "noon", "by": "ann"}})
		same(t, "raw", ann.do(pub("room:1", "raw"))["reply"], any([]any{1.0, 2.0}))
		ok = ann.do(pub("room:1", "nothing"))
		if reply, there := ok["reply"]; !there || reply != nil || ok["message"] != nil {
			t.Errorf("got %v, want a reply of null", ok)
		}
		if e := ann.fails(pub("room:1", "stop"), "denied"); e["message"] != "mind your language" || e["channel"] != "room:1" {
			t.Errorf("got %v", e)
		}
		ann.fails(pub("room:1", "never"), "denied")
		if e := ann.fails(`{"type":"pub","channel":"room:1","data":5}`, "bad_request"); !strings.HasPrefix(e["message"].(string), "data: ") {
			t.Errorf("got %v", e)
		}
		for _, what := range []string{"no JSON", "empty", "bad event", "broken", "panic"} {
			if e := ann.fails(pub("room:1", what), "internal"); e["message"] != "internal error" {
				t.Errorf("%s: got %v", what, e)
			}
		}
		for _, text := range []string{"hunter2", "on purpose", "event:"} {
			if !strings.Contains(log.String(), text) {
				t.Errorf("%q is not in the log", text)
			}
		}
		// Beyond the rules, which are asked about too.
		ann.fails(pub("closed:1", "hello"), "denied")
		ann.do(pub("closed:1", "secret"))
		got("message", "secret")
		ann.fails(pub("none:1", "secret"), "not_found")
		// A repeat is known by its key, also when what it says was changed.
		keyed := `{"type":"pub","channel":"room:1","key":"k","data":"shout"}`
		first, second := ann.do(keyed), ann.do(keyed)
		if first["message"] != second["message"] || second["duplicate"] != true {
			t.Errorf("got %v and %v", first, second)
		}
		got("loud", "SHOUT")
		bob.lives()

		// What is kept is what it was made.
		ann.do(pub("log:1", "shout"))
		ann.fails(pub("log:1", "stop"), "denied")
		ann.do(pub("log:1", "time?"))
		history := s.verb("history", `{"channel":"log:1"}`)["messages"].([]any)
		if len(history) != 1 || history[0].(map[string]any)["data"] != "SHOUT" || history[0].(map[string]any)["event"] != "loud" {
			t.Errorf("got %v", history)
		}
		// What the server publishes is nobody's to decide.
		same(t, "the server", s.verb("publish", `{"to":{"channel":"room:1"},"data":"stop"}`)["connections"], 1.0)
		if m := bob.expect("msg"); m["data"] != "stop" {
			t.Errorf("got %v", m)
		}
	})
}

// A slow function holds up its own client, in order, and nobody else.
func TestASlowFunctionKeepsTheOrder(t *testing.T) {
	var mu sync.Mutex
	block := make(chan struct{})
	started := make(chan struct{}, 1)
	prepare := func(s *skein.Server) {
		s.OnMessage("room", func(_ context.Context, m *skein.Message) error {
			if string(m.Data) != "0" || m.Conn.User() != "ann" {
				return nil
			}
			mu.Lock()
			wait := block
			mu.Unlock()
			started <- struct{}{}
			<-wait
			return nil
		})
	}
	eachWith(t, open, prepare, func(t *testing.T, s *testServer) {
		mu.Lock()
		block = make(chan struct{})
		mu.Unlock()
		ann, bob, reader := s.user("ann"), s.user("bob"), s.user("reader")
		reader.do(`{"type":"sub","channel":"room:1"}`)
		const n = 30
		for i := range n {
			ann.send(fmt.Sprintf(`{"type":"pub","id":%d,"channel":"room:1","data":%d}`, i, i))
		}
		<-started
		bob.do(`{"type":"pub","channel":"room:1","data":"bob"}`)
		if m := reader.expect("msg"); m["data"] != "bob" {
			t.Errorf("got %v before what was held up", m)
		}
		close(block)
		for i := range n {
			if ok := ann.expect("ok"); ok["id"] != float64(i) {
				t.Fatalf("got %v, want the answer %d", ok, i)
			}
			if m := reader.expect("msg"); m["data"] != float64(i) {
				t.Fatalf("got %v, want %d", m, i)
			}
		}
	})
}

// Socket.IO clients have their acknowledgement, those of the other doors their ok.
func TestOnMessageThroughTheOtherDoors(t *testing.T) {
	cfg := ioConfig()
	cfg.Data = t.TempDir()
	s := startWith(t, cfg, editor)
	c := s.io("&user=dora")
	c.connect("/", "")
	c.send(`427["message","time?"]`)
	c.expect(`437[{"by":"dora","time":"noon"}]`)
	c.send(`428["message","stop"]`)
	if got := c.next(); !strings.HasPrefix(got, `438[{"type":"error","id":8,"code":"denied","message":"mind your language"`) {
		t.Errorf("got %s", got)
	}
	plain := s.user("ann")
	plain.do(`{"type":"sub","channel":"room:all"}`)
	c.send(`429["message","shout"]`)
	if m := plain.expect("msg"); m["data"] != "SHOUT" || m["event"] != "loud" {
		t.Errorf("got %v", m)
	}
	if got := c.next(); !strings.HasPrefix(got, "439[") {
		t.Errorf("got %s", got)
	}
	e := s.source("user=emil")
	same(t, "sse", e.do(`{"type":"pub","channel":"room:1","data":"time?"}`)["reply"], any(map[string]any{"time": "noon", "by": "emil"}))
	p := s.poller(`{"frames":[{"type":"connect"}]}`)
	same(t, "poll", p.do(`{"type":"pub","channel":"room:1","data":"time?"}`)["reply"], any(map[string]any{"time": "noon", "by": ""}))
}

type sum struct {
	A int   `json:"a"`
	B []int `json:"b"`
}

func TestHandleCallTakesAndGivesGoValues(t *testing.T) {
	prepare := func(s *skein.Server) {
		skein.HandleCall(s, "sum", func(_ context.Context, c *skein.Conn, p sum) (map[string]any, error) {
			n := p.A
			for _, b := range p.B {
				n += b
			}
			if n < 0 {
				return nil, skein.NewError("conflict", "too little")
			}
			return map[string]any{"sum": n, "html": "<b>", "for": c.User()}, nil
		})
		skein.HandleCall(s, "back", func(ctx context.Context, c *skein.Conn, name string) (answer string, err error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			return answer, c.Call(ctx, "ask", map[string]string{"name": name}, &answer)
		})
		skein.HandleCall(s, "chan", func(context.Context, *skein.Conn, struct{}) (chan int, error) { return make(chan int), nil })
		skein.HandleCall(s, "panic", func(context.Context, *skein.Conn, struct{}) (int, error) { panic("on purpose") })
		skein.HandleCall(s, "made up", func(context.Context, *skein.Conn, struct{}) (int, error) { return 0, skein.NewError("made up", "x") })
	}
	eachWith(t, hushed, prepare, func(t *testing.T, s *testServer) {
		c := s.user("ann")
		same(t, "sum", c.do(`{"type":"call","method":"sum","data":{"a":1,"b":[2,3]}}`)["data"], any(map[string]any{"sum": 6.0, "html": "<b>", "for": "ann"}))
		same(t, "no params", c.do(`{"type":"call","method":"sum"}`)["data"], any(map[string]any{"sum": 0.0, "html": "<b>", "for": "ann"}))
		for data, field := range map[string]string{`{"a":"x"}`: "a", `{"b":[1,"x"]}`: "b", `[1]`: "data"} {
			if e := c.fails(`{"type":"call","method":"sum","data":`+data+`}`, "bad_request"); !strings.HasPrefix(e["message"].(string), "data") || !strings.Contains(e["message"].(string), field) {
				t.Errorf("%s: got %v, want %s to be named", data, e, field)
			}
		}
		if e := c.fails(`{"type":"call","method":"sum","data":{"a":-1}}`, "conflict"); e["message"] != "too little" {
			t.Errorf("got %v", e)
		}
		for _, method := range []string{"panic", "made up", "chan"} {
			c.fails(`{"type":"call","method":"`+method+`"}`, "internal")
		}
		// The application asks back while it answers.
		c.send(`{"type":"call","id":7,"method":"back","data":"x"}`)
		f := c.expect("call")
		same(t, "asked", []any{f["method"], f["data"]}, []any{"ask", map[string]any{"name": "x"}})
		c.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":"y"}`, f["id"]))
		if ok := c.expect("ok"); ok["id"] != 7.0 || ok["data"] != "y" {
			t.Errorf("got %v", ok)
		}
		c.send(`{"type":"call","id":8,"method":"back","data":"x"}`)
		c.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":5}`, c.expect("call")["id"]))
		if e := c.expect("error"); e["id"] != 8.0 || e["code"] != "internal" {
			t.Errorf("got %v", e)
		}
		// What the other side of a call says is for the function, not for who called it.
		c.send(`{"type":"call","id":9,"method":"back","data":"x"}`)
		c.send(fmt.Sprintf(`{"type":"reply","id":%v,"error":{"code":"denied","message":"not you"}}`, c.expect("call")["id"]))
		if e := c.expect("error"); e["id"] != 9.0 || e["code"] != "internal" || e["message"] != "internal error" {
			t.Errorf("got %v", e)
		}
		c.lives()
	})
}
