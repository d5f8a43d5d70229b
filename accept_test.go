package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/ws"
)

// S0.1: a change reaches every other client at once; who made it gets the reply
// and no echo.
func TestChangeReachesEveryOtherClient(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		var all []*client
		for i := range 20 {
			c := s.user(fmt.Sprintf("user-%d", i))
			c.do(`{"type":"sub","channel":"room:game"}`)
			all = append(all, c)
		}
		for i, author := range []*client{all[0], all[7], all[19]} {
			ok := author.do(fmt.Sprintf(`{"type":"pub","channel":"room:game","event":"points","data":%d}`, i))
			if ok["connections"] != 19.0 || ok["users"] != 19.0 {
				t.Errorf("ok of pub is %v, want 19 connections of 19 users", ok)
			}
			for _, c := range all {
				if c == author {
					continue
				}
				m := c.expect("msg")
				if m["id"] != ok["message"] || m["data"] != float64(i) || m["event"] != "points" {
					t.Errorf("got %v, want message %v", m, ok["message"])
				}
			}
		}
		for _, c := range all {
			c.lives() // so nobody got anything twice, and no author an echo
		}
	})
}

// S0.6: ten lines without a library of ours are a client.
func TestTenLinesAreAClient(t *testing.T) {
	s := start(t, open())
	other := s.user("other")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	var welcome, ok, msg struct{ Type, Channel string }
	ws, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws?user=42", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	_ = ws.Write(ctx, websocket.MessageText, []byte(`{"type":"sub","id":1,"channel":"room:7"}`))
	for i, f := range []any{&welcome, &ok, &msg} {
		if i == 2 {
			other.do(`{"type":"pub","channel":"room:7","data":"hello"}`)
		}
		_, data, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(data, f)
	}
	if welcome.Type != "welcome" || ok.Type != "ok" || msg.Type != "msg" || msg.Channel != "room:7" {
		t.Errorf("got %v, %v, %v", welcome, ok, msg)
	}
}

// quick is a server that notices silence after 300 ms.
func quick() skein.Config {
	cfg := open()
	cfg.Heartbeat.Interval = skein.Duration(100 * time.Millisecond)
	return cfg
}

// S0.5, S2.1: a peer that falls silent without a word is pinged, given up after
// three intervals, and nothing of it stays.
func TestSilentPeerIsNoticedAndLeavesNothing(t *testing.T) {
	each(t, quick, func(t *testing.T, s *testServer) {
		watcher := s.user("watcher")
		watcher.do(`{"type":"sub","channel":"room:1","presence":true}`)
		ghost := s.wire("user=ghost")
		id := ghost.expect("welcome")["connection"]
		began := time.Now()
		ghost.text(`{"type":"sub","channel":"room:1"}`)
		ghost.text(`{"type":"sub","channel":"room:ghosts","id":1}`)
		ghost.expect("ok")
		if join := watcher.expect("join"); join["connection"] != id {
			t.Fatalf("got %v, want the ghost to join", join)
		}
		if s.stat("channels") != 2 || s.stat("users") != 2 {
			t.Error("the ghost is not counted while it is there")
		}

		leave := watcher.expect("leave") // the watcher's reading answers its own pings
		if leave["connection"] != id || leave["user"] != "ghost" {
			t.Errorf("got %v, want the ghost to leave", leave)
		}
		if silent := time.Since(began); silent < 250*time.Millisecond {
			t.Errorf("it was given up after %s, before three intervals", silent)
		}
		pings := 0
		for {
			op, _, err := ghost.frame()
			if err != nil {
				break
			}
			if op == ws.Ping {
				pings++
			}
		}
		if pings == 0 {
			t.Error("the server never pinged it")
		}
		eventually(t, "one connection", func() bool { return s.stat("connections") == 1 && s.stat("open") == 1 })
		same(t, "users and channels", []float64{s.stat("users"), s.stat("channels")}, []float64{1, 1})
		ghosts := s.verb("online", `{"users":["ghost"]}`)["ghost"].(map[string]any)
		same(t, "the ghost", ghosts, map[string]any{"online": false, "connections": 0.0, "devices": []any{}})
		if out := s.verb("publish", `{"to":{"channel":"room:1"},"data":1}`); out["connections"] != 1.0 {
			t.Errorf("publish counts %v, want one connection", out)
		}
		watcher.expect("msg")
	})
}

// S2.1: both sides may ask whether the other is there.
func TestHeartbeatGoesBothWays(t *testing.T) {
	each(t, quick, func(t *testing.T, s *testServer) {
		w := s.wire("user=ann")
		if got := w.expect("welcome")["heartbeat"]; got != 0.1 {
			t.Errorf("welcome says heartbeat %v, want 0.1 s", got)
		}
		w.text(`{"type":"ping","id":"p"}`)
		if pong := w.expect("pong"); pong["id"] != "p" {
			t.Errorf("got %v", pong)
		}
		w.write(ws.AppendMasked(nil, ws.Ping, [4]byte{9, 9, 9, 9}, []byte("are you there")))
		for answered := false; !answered; {
			op, payload, err := w.frame()
			if err != nil {
				t.Fatal(err)
			}
			answered = op == ws.Pong && string(payload) == "are you there"
		}
		// Answering the server's pings, and nothing else, keeps the link for much
		// longer than the three intervals.
		for range 6 {
			for {
				op, payload, err := w.frame()
				if err != nil {
					t.Fatal(err)
				}
				if op == ws.Ping {
					w.write(ws.AppendMasked(nil, ws.Pong, [4]byte{}, payload))
					break
				}
			}
		}
		if s.stat("connections") != 1 {
			t.Error("a peer that answers was given up")
		}
	})
}

// S2.2: who does not say who it is in time has to leave.
func TestConnectionWithoutIdentityTimesOut(t *testing.T) {
	cfg := func() skein.Config {
		c := strict()
		c.Auth.Timeout = skein.Duration(150 * time.Millisecond)
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		for _, frame := range []string{"", `{"type":"ping"}`, `{"type":"sub","channel":"room:1"}`, `nonsense`} {
			c := s.dial("")
			if frame != "" {
				c.send(frame)
			}
			if frame == `nonsense` {
				c.expect("error")
			}
			bye := c.goodbye("auth_timeout", 4001)
			if bye["reconnect"] != true {
				t.Errorf("bye is %v, want reconnect true", bye)
			}
		}
		s.empty()
	})
}

// S2.3: a user has as many connections as devices, and they do not disturb each
// other, however they were bound.
func TestUserHasSeveralDevices(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		online := func(user string) map[string]any {
			return s.verb("online", fmt.Sprintf(`{"users":[%q]}`, user))[user].(map[string]any)
		}
		devices := func(list ...any) map[string]any {
			return map[string]any{"online": true, "connections": float64(len(list)), "devices": list}
		}
		phone := s.dial("user=ann&device=phone")
		phone.expect("welcome")
		tablet := s.dial("user=ann&device=tablet")
		tablet.ID = tablet.expect("welcome")["connection"].(string)
		same(t, "after two", online("ann"), devices("phone", "tablet"))

		desk := s.anonymous()
		s.verb("bind", fmt.Sprintf(`{"connection":%q,"user":"ann","device":"desk"}`, desk.ID))
		same(t, "after bind", online("ann"), devices("desk", "phone", "tablet"))
		if out := s.verb("publish", `{"to":{"user":"ann"},"data":1}`); out["connections"] != 3.0 || out["users"] != 1.0 {
			t.Errorf("publish to the user counts %v", out)
		}
		for _, c := range []*client{phone, tablet, desk} {
			c.expect("msg")
		}

		_ = phone.ws.Close(websocket.StatusNormalClosure, "") // the oldest leaves
		eventually(t, "the phone is gone", func() bool { return online("ann")["connections"] == 2.0 })
		same(t, "after the oldest has left", online("ann"), devices("desk", "tablet"))
		tablet.lives()

		s.verb("unbind", fmt.Sprintf(`{"connection":%q}`, desk.ID))
		same(t, "after unbind", online("ann"), devices("tablet"))
		s.verb("bind", fmt.Sprintf(`{"connection":%q,"user":"bob"}`, tablet.ID))
		same(t, "after the last was bound to another", online("ann"), map[string]any{"online": false, "connections": 0.0, "devices": []any{}})
		same(t, "the other", online("bob"), map[string]any{"online": true, "connections": 1.0, "devices": []any{}})
		if s.stat("connections") != 2 || s.stat("users") != 1 {
			t.Error("two connections of one user should be counted")
		}
	})
}

// S2.5: publish to whom one likes.
func TestPublishReachesExactlyItsTargets(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		phone, tablet, bob, nobody := s.user("ann"), s.user("ann"), s.user("bob"), s.anonymous()
		names := map[*client]string{phone: "phone", tablet: "tablet", bob: "bob", nobody: "nobody"}
		for _, c := range []*client{phone, bob, nobody} {
			c.do(`{"type":"sub","channel":"room:1"}`)
		}
		cases := []struct {
			what, to, exclude  string
			want               []*client
			connections, users float64
		}{
			{"a channel", `{"channel":"room:1"}`, ``, []*client{phone, bob, nobody}, 3, 2},
			{"a channel without a connection", `{"channel":"room:1"}`, `{"connections":` + ids(phone) + `}`, []*client{bob, nobody}, 2, 1},
			{"a channel without a user", `{"channel":"room:1"}`, `{"users":["bob","nobody there"]}`, []*client{phone, nobody}, 2, 1},
			{"a channel without all", `{"channel":"room:1"}`, `{"users":["ann","bob"],"connections":` + ids(nobody) + `}`, nil, 0, 0},
			{"an empty channel", `{"channel":"room:2"}`, ``, nil, 0, 0},
			{"a user", `{"user":"ann"}`, ``, []*client{phone, tablet}, 2, 1},
			{"a user without one connection", `{"user":"ann"}`, `{"connections":` + ids(phone) + `}`, []*client{tablet}, 1, 1},
			{"a user that is not there", `{"user":"zoe"}`, ``, nil, 0, 0},
			{"a connection", `{"connection":"` + bob.ID + `"}`, ``, []*client{bob}, 1, 1},
			{"an anonymous connection", `{"connection":"` + nobody.ID + `"}`, ``, []*client{nobody}, 1, 0},
			{"all connections", `{"all":"connections"}`, ``, []*client{phone, tablet, bob, nobody}, 4, 2},
			{"all users", `{"all":"users"}`, ``, []*client{phone, tablet, bob}, 3, 2},
			{"all users but one", `{"all":"users"}`, `{"users":["ann"]}`, []*client{bob}, 1, 1},
			{"all connections but two", `{"all":"connections"}`, `{"connections":` + ids(bob, phone) + `}`, []*client{tablet, nobody}, 2, 1},
			{"nobody", `[]`, ``, nil, 0, 0},
			{"the same twice", `[{"user":"bob"},{"user":"bob"},{"connection":"` + bob.ID + `"}]`, ``, []*client{bob}, 1, 1},
			{"targets that overlap", `[{"channel":"room:1"},{"user":"ann"},{"all":"users"},{"all":"connections"}]`, ``, []*client{phone, tablet, bob, nobody}, 4, 2},
			{"targets that overlap, without one", `[{"user":"ann"},{"channel":"room:1"}]`, `{"connections":` + ids(phone) + `}`, []*client{tablet, bob, nobody}, 3, 2},
		}
		for i, c := range cases {
			params := fmt.Sprintf(`{"to":%s,"event":"e","data":%d`, c.to, i)
			if c.exclude != "" {
				params += `,"exclude":` + c.exclude
			}
			out := s.verb("publish", params+"}")
			if out["connections"] != c.connections || out["users"] != c.users || out["stored"] != false {
				t.Errorf("%s: counted as %v, want %v connections and %v users", c.what, out, c.connections, c.users)
			}
			// What follows to everybody shows who got nothing.
			s.verb("publish", `{"to":{"all":"connections"},"event":"end","data":0}`)
			got := map[string]int{}
			for conn, name := range names {
				for m := conn.expect("msg"); m["event"] != "end"; m = conn.expect("msg") {
					if m["id"] != out["id"] || m["data"] != float64(i) || m["from"] != nil {
						t.Errorf("%s: got %v", c.what, m)
					}
					got[name]++
				}
			}
			want := map[string]int{}
			for _, conn := range c.want {
				want[names[conn]] = 1
			}
			same(t, c.what, got, want)
		}
	})
}

// S2.5: a mistyped target must not become a message to somebody else.
func TestPublishRefusesWrongTargets(t *testing.T) {
	s := start(t, open())
	c := s.user("ann")
	for _, tt := range []struct{ to, code, field string }{
		{`{"chanel":"room:1"}`, "bad_request", "to.chanel"},
		{`{"channel":"room:1","user":"ann"}`, "bad_request", "to"},
		{`{}`, "bad_request", "to"},
		{`"room:1"`, "bad_request", "to"},
		{`[{"user":"ann"},{"user":7}]`, "bad_request", "to[1].user"},
		{`{"all":"people"}`, "bad_request", "to.all"},
		{`{"connection":"x"}`, "bad_request", "to.connection"},
		{`[{"user":"ann"},{"channel":"nowhere:1"}]`, "not_found", ""},
	} {
		status, out := s.api("publish", `{"to":`+tt.to+`,"data":1}`)
		field, _ := out["field"].(string)
		if out["code"] != tt.code || field != tt.field || status < 400 {
			t.Errorf("to %s: %d %v, want %s for %q", tt.to, status, out, tt.code, tt.field)
		}
	}
	status, out := s.api("publish", `{"to":{"all":"connections"},"data":1,"exclude":{"connections":["`+c.ID+`","ann"]}}`)
	if status != 400 || out["field"] != "exclude.connections[1]" {
		t.Errorf("exclude: %d %v, want a bad_request for exclude.connections[1]", status, out)
	}
	c.lives()
}

// S2.6: who is there.
func TestOnlineAndConnectionsTellWhoIsThere(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		phone := s.dial("user=ann&device=phone")
		phone.ID = phone.expect("welcome")["connection"].(string)
		bob := s.user("bob")
		bob.do(`{"type":"sub","channel":"room:1"}`)
		bob.do(`{"type":"sub","channel":"room:2"}`)
		nobody := s.anonymous()

		same(t, "users", s.verb("online", `{"users":["ann","zoe"]}`), map[string]any{
			"ann": map[string]any{"online": true, "connections": 1.0, "devices": []any{"phone"}},
			"zoe": map[string]any{"online": false, "connections": 0.0, "devices": []any{}},
		})
		same(t, "connections", s.verb("online", `{"connections":["`+bob.ID+`","gone"]}`), map[string]any{
			bob.ID: map[string]any{"online": true, "connections": 1.0, "devices": []any{}},
			"gone": map[string]any{"online": false, "connections": 0.0, "devices": []any{}},
		})
		list := func(params string) (found []string, next string) {
			page := s.verb("connections", params)
			for _, item := range page["items"].([]any) {
				found = append(found, item.(map[string]any)["id"].(string))
			}
			next, _ = page["next"].(string)
			return found, next
		}
		for _, tt := range []struct {
			params string
			want   []string
		}{
			{`{"user":"ann"}`, []string{phone.ID}},
			{`{"channel":"room:1"}`, []string{bob.ID}},
			{`{"channel":"room:1","user":"ann"}`, nil},
			{`{"channel":"room:9"}`, nil},
		} {
			found, _ := list(tt.params)
			same(t, tt.params, found, tt.want)
		}
		seen := map[string]int{}
		for next, more := "", true; more; more = next != "" {
			var found []string
			found, next = list(fmt.Sprintf(`{"limit":1,"after":%q}`, next))
			for _, id := range found {
				seen[id]++
			}
		}
		same(t, "page by page", seen, map[string]int{phone.ID: 1, bob.ID: 1, nobody.ID: 1})

		item := s.verb("connections", `{"user":"bob"}`)["items"].([]any)[0].(map[string]any)
		if item["transport"] != "websocket" || len(item["channels"].([]any)) != 2 || item["bytes"].(float64) == 0 || item["since"].(float64) == 0 {
			t.Errorf("bob is described as %v", item)
		}
		channels := s.verb("channels", `{"prefix":"room:"}`)["items"].([]any)
		if len(channels) != 2 || channels[0].(map[string]any)["channel"] != "room:1" || channels[0].(map[string]any)["subscribers"] != 1.0 {
			t.Errorf("channels are %v", channels)
		}
	})
}

// S2.7: a connection has a session, which ends with it.
func TestSessionIsReadReplacedAndMerged(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		c := s.user("ann")
		run := func(verb, data string) any {
			t.Helper()
			params := fmt.Sprintf(`{"connection":%q`, c.ID)
			if data != "" {
				params += `,"data":` + data
			}
			return s.verb("session."+verb, params+"}")["data"]
		}
		same(t, "at first", run("get", ""), map[string]any{})
		same(t, "set", run("set", `{"a":1,"b":{"c":2,"d":3}}`), map[string]any{"a": 1.0, "b": map[string]any{"c": 2.0, "d": 3.0}})
		same(t, "merge", run("merge", `{"b":{"c":null,"e":[1]},"f":"x"}`), map[string]any{
			"a": 1.0, "b": map[string]any{"d": 3.0, "e": []any{1.0}}, "f": "x",
		})
		same(t, "get", run("get", ""), map[string]any{"a": 1.0, "b": map[string]any{"d": 3.0, "e": []any{1.0}}, "f": "x"})
		same(t, "set again", run("set", `{}`), map[string]any{})
		for _, tt := range []struct{ verb, params, code, field string }{
			{"session.set", `{"connection":"` + c.ID + `","data":[1]}`, "bad_request", "data"},
			{"session.merge", `{"connection":"` + c.ID + `"}`, "bad_request", "data"},
			{"session.get", `{}`, "bad_request", "connection"},
			{"session.get", `{"connection":"x"}`, "bad_request", "connection"},
			{"session.set", `{"connection":"` + c.ID + `","data":{"x":"` + strings.Repeat("x", 17<<10) + `"}}`, "too_large", ""},
		} {
			_, out := s.api(tt.verb, tt.params)
			if field, _ := out["field"].(string); out["code"] != tt.code || field != tt.field {
				t.Errorf("%s %.60s: %v, want %s for %q", tt.verb, tt.params, out, tt.code, tt.field)
			}
		}
		_ = c.ws.CloseNow()
		eventually(t, "the connection is gone", func() bool { return s.stat("connections") == 0 })
		if status, out := s.api("session.get", `{"connection":"`+c.ID+`"}`); status != 404 {
			t.Errorf("the session of a connection that is gone: %d %v", status, out)
		}
	})
}

// A server that sends a client away can have the last word.
func TestDisconnectSendsALastMessage(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		phone := s.dial("user=ann&device=phone")
		phone.expect("welcome")
		tablet := s.dial("user=ann&device=tablet")
		tablet.expect("welcome")
		out := s.verb("disconnect", `{"user":"ann","device":"phone","message":"play is over","last":{"event":"score","data":3}}`)
		same(t, "count", out, map[string]any{"connections": 1.0})
		if m := phone.expect("msg"); m["event"] != "score" || m["data"] != 3.0 || m["channel"] != "@direct" {
			t.Errorf("got %v", m)
		}
		if bye := phone.goodbye("disconnected", 4004); bye["message"] != "play is over" || bye["reconnect"] != false {
			t.Errorf("bye is %v", bye)
		}
		tablet.lives()
		s.verb("disconnect", `{"user":"ann","code":4321,"reconnect":true}`)
		if bye := tablet.goodbye("disconnected", 4321); bye["reconnect"] != true {
			t.Errorf("bye is %v", bye)
		}
		s.empty()
	})
}

// Join and leave are told to those who asked, and presence counts users once.
func TestPresenceShowsUsersOnce(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		ann, bob, bob2 := s.user("ann"), s.user("bob"), s.user("bob")
		ann.do(`{"type":"sub","channel":"room:1","presence":true}`)
		for _, c := range []*client{bob, bob2} {
			c.do(`{"type":"sub","channel":"room:1"}`)
			if join := ann.expect("join"); join["connection"] != c.ID || join["user"] != "bob" {
				t.Errorf("got %v", join)
			}
		}
		bob.do(`{"type":"presence","channel":"room:1","data":{"mood":"fine"}}`)
		ann.expect("join")
		p := ann.do(`{"type":"presence","channel":"room:1"}`)
		if p["connections"] != 3.0 || p["users"] != 2.0 || len(p["members"].([]any)) != 2 {
			t.Errorf("presence is %v", p)
		}
		_ = bob.ws.CloseNow()
		if leave := ann.expect("leave"); leave["connection"] != bob.ID {
			t.Errorf("got %v", leave)
		}
		p = s.verb("presence", `{"channel":"room:1"}`)
		if p["connections"] != 2.0 || p["users"] != 2.0 {
			t.Errorf("presence is %v", p)
		}
	})
}
