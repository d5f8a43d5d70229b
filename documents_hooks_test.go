package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// The application may change, refuse, answer and allow patches; what is told to
// everybody is what was done.
func TestOnMessageDecidesAboutPatches(t *testing.T) {
	seen := &list[string]{}
	cfg := func() skein.Config {
		c := docConfig(t.TempDir())
		c.Namespaces["closed"] = skein.Namespace{Kind: "doc", Subscribe: "anyone"}
		c.Logger = (&logbook{}).logger()
		return c
	}
	prepare := func(s *skein.Server) {
		s.OnMessage("closed", func(_ context.Context, m *skein.Message) error {
			m.Allow = m.Conn.User() == "ann"
			return nil
		})
		s.OnMessage("game", func(_ context.Context, m *skein.Message) error {
			seen.add(fmt.Sprintf("%s %s patch:%t %q %s %t", m.Channel, m.Event, m.Patch, m.Key, m.Data, m.Allow))
			if !m.Patch {
				return nil
			}
			m.Event = "something else" // stays as it is
			switch text := string(m.Data); {
			case strings.Contains(text, `"shout"`):
				m.Data = json.RawMessage(`[{"op":"set","path":"/said","value":"SHOUT"},{"op":"test","path":"/said","value":"SHOUT"}]`)
			case strings.Contains(text, `"time?"`):
				m.Reply(map[string]string{"time": "noon"})
			case strings.Contains(text, `"bad"`):
				return skein.NewError("denied", "mind your language")
			case strings.Contains(text, `"not now"`):
				m.Allow = false
			case strings.Contains(text, `"nonsense"`):
				m.Data = json.RawMessage(`[{"op":"fly","path":"/"}]`)
			case strings.Contains(text, `"nothing"`):
				m.Data = nil
			}
			return nil
		})
	}
	eachWith(t, cfg, prepare, func(t *testing.T, s *testServer) {
		ann, ben := s.docClient("ann", "", "game:1"), s.docClient("ben", "", "game:1")
		say := func(what, more string) string {
			return patchFrame("game:1", `[{"op":"set","path":"/said","value":"`+what+`"}]`, more)
		}
		if f := ann.must(say("shout", `,"key":"k"`)); f.Version != 1 {
			t.Errorf("got %+v", f)
		}
		if f := ann.must(say("shout", `,"key":"k"`)); f.Version != 1 || !f.Duplicate {
			t.Errorf("got %+v", f)
		}
		ben.reaches(1)
		if ben.text() != `{"said":"SHOUT"}` {
			t.Errorf("it is %s", ben.text())
		}
		if f := ann.must(say("time?", "")); string(f.Reply) != `{"time":"noon"}` || f.Version != 0 {
			t.Errorf("got %+v", f)
		}
		if f := ann.refused(say("bad", ""), "denied"); f.Message != "mind your language" || f.Channel != "game:1" {
			t.Errorf("got %+v", f)
		}
		ann.refused(say("not now", ""), "denied")
		ann.refused(say("nonsense", ""), "internal")
		ann.refused(say("nothing", ""), "internal")
		ann.refused(patchFrame("game:1", `[{"op":"fly"}]`, ""), "bad_request") // nobody is asked about it
		if f := ann.must(say("good", "")); f.Version != 2 {
			t.Errorf("got %+v", f)
		}
		ben.reaches(2)
		if version, data := s.document("game:1"); version != 2 || data != `{"said":"good"}` || ben.text() != data {
			t.Errorf("it is %s at version %d; ben has %s", data, version, ben.text())
		}
		all := seen.take()
		if len(all) != 8 || all[0] != `game:1 patch patch:true "k" [{"op":"set","path":"/said","value":"shout"}] true` {
			t.Errorf("asked were %q", all)
		}
		ann.must(patchFrame("closed:1", `[{"op":"set","path":"/a","value":1}]`, ""))
		ben.refused(patchFrame("closed:1", `[{"op":"set","path":"/a","value":2}]`, ""), "denied")
		s.patchDocument("game:1", `[{"op":"set","path":"/said","value":"bad"}]`) // the server is not asked
		if n := seen.len(); n != 0 {
			t.Errorf("asked were %d", n)
		}
	})
}

// The same through HTTP.
func TestTheBackendDecidesAboutPatches(t *testing.T) {
	a := backend(t, func(event string, m map[string]any) (int, string) {
		if event == "connect" {
			data, _ := m["data"].(map[string]any)
			name, _ := data["name"].(string)
			if name == "" {
				return 200, `{}`
			}
			roles := map[string]string{"ben": `,"roles":["desk","other"]`, "odd": `,"roles":["no role"]`}[name]
			return 200, fmt.Sprintf(`{"user":%q%s}`, name, roles)
		}
		said := m["message"].(map[string]any)
		ops, _ := said["data"].([]any)
		if said["patch"] != true || said["event"] != "patch" || len(ops) != 1 || m["channel"] != "board:1" {
			t.Errorf("asked was %v", m)
			return 500, ""
		}
		switch ops[0].(map[string]any)["value"] {
		case "shout":
			return 200, `{"data":[{"op":"set","path":"/count/said","value":"SHOUT"}]}`
		case "time?":
			return 200, `{"reply":"noon"}`
		case "bad":
			return 200, `{"refuse":{"message":"mind your language"}}`
		case "nonsense":
			return 200, `{"data":{"op":"set"}}`
		case "elsewhere":
			return 200, `{"data":[{"op":"set","path":"/secret","value":1}]}`
		}
		return 204, ""
	})
	cfg := a.config("connect", "message")
	cfg.Namespaces = docConfig("").Namespaces
	cfg.Logger = (&logbook{}).logger()
	s := start(t, cfg)
	enter := func(name string) *docClient {
		c := s.docStranger("", "", "board:1")
		if err := c.send(fmt.Sprintf(`{"type":"connect","data":{"name":%q}}`, name)); err != nil {
			t.Fatal(err)
		}
		c.must(`{"type":"sub","channel":"board:1"}`)
		c.reaches(0)
		return c
	}
	ann, ben := enter("ann"), enter("ben")
	say := func(what string) string {
		return patchFrame("board:1", `[{"op":"set","path":"/count/said","value":"`+what+`"}]`, "")
	}
	ann.must(say("shout"))
	if f := ann.must(say("time?")); string(f.Reply) != `"noon"` {
		t.Errorf("got %+v", f)
	}
	if f := ann.refused(say("bad"), "denied"); f.Message != "mind your language" {
		t.Errorf("got %+v", f)
	}
	ann.refused(say("nonsense"), "internal")
	ann.refused(say("elsewhere"), "denied") // what the application makes of it is the client's still
	ben.must(say("elsewhere"))              // whose roles are the application's
	ann.reaches(2)
	ben.reaches(2)
	if ann.text() != `{"count":{"said":"SHOUT"}}` || ben.text() != `{"count":{"said":"SHOUT"},"secret":1}` {
		t.Errorf("ann has %s, ben has %s", ann.text(), ben.text())
	}
	odd := s.docStranger("", "", "board:1")
	if err := odd.send(`{"type":"connect","id":1,"data":{"name":"odd"}}`); err != nil {
		t.Fatal(err)
	}
	if f, err := odd.answer("1"); err != nil || f.Type != "error" {
		t.Errorf("roles that cannot be: %+v, %v", f, err)
	}
}

// signed are namespaces of documents for clients with tokens.
func signed(t testing.TB) skein.Config {
	cfg := strict()
	cfg.Data = t.TempDir()
	cfg.Namespaces = maps.Clone(docConfig("").Namespaces)
	return cfg
}

func (s *testServer) tokenClient(id auth.Identity, channel string) *docClient {
	s.t.Helper()
	way, err := doors["websocket"](s, "token="+token(s.t, id))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(way.leave)
	c := &docClient{t: s.t, wayIn: way, replica: replica{channel: channel}, answers: map[string]docFrame{}}
	c.must(fmt.Sprintf(`{"type":"sub","channel":%q}`, channel))
	c.reaches(0)
	return c
}

// renewed reads to the next snapshot.
func (c *docClient) renewed() string {
	c.t.Helper()
	for values := c.values; c.values == values; {
		if err := c.pump(); err != nil {
			c.t.Fatal(err)
		}
	}
	return c.text()
}

const boardValue = `{"open":1,"players":{"ann":{"cards":[1],"points":1},"ben":{"cards":[2],"points":2}},"secret":{"x":1}}`

// Roles come from a token or from a function; with others something else is shown,
// at once.
func TestRolesDecideWhatIsShown(t *testing.T) {
	eachWith(t, func() skein.Config { return signed(t) }, func(s *skein.Server) {
		s.OnConnect(func(_ context.Context, p *skein.Connecting) error {
			if p.User == "carl" {
				p.Roles = append(p.Roles, "desk")
			}
			return nil
		})
	}, func(t *testing.T, s *testServer) {
		s.verb("doc.put", `{"channel":"board:1","data":`+boardValue+`}`)
		const anns = `{"open":1,"players":{"ann":{"cards":[1],"points":1},"ben":{"points":2}}}`
		ann := s.tokenClient(auth.Identity{User: "ann"}, "board:1")
		ben := s.tokenClient(auth.Identity{User: "ben", Roles: "desk,other"}, "board:1")
		carl := s.tokenClient(auth.Identity{User: "carl", Roles: "other"}, "board:1")
		if ann.text() != anns || ben.text() != boardValue || carl.text() != boardValue {
			t.Errorf("ann has %s, ben has %s, carl has %s", ann.text(), ben.text(), carl.text())
		}
		refresh := func(c *docClient, id auth.Identity) {
			c.must(fmt.Sprintf(`{"type":"refresh","token":%q}`, token(t, id)))
		}
		refresh(ann, auth.Identity{User: "ann", Roles: "desk"})
		if got := ann.renewed(); got != boardValue {
			t.Errorf("with the role ann has %s", got)
		}
		refresh(ann, auth.Identity{User: "ann"})
		if got := ann.renewed(); got != anns {
			t.Errorf("without it ann has %s", got)
		}
		values := ann.values
		refresh(ann, auth.Identity{User: "ann", Roles: "other"}) // shows the same
		s.patchDocument("board:1", `[{"op":"set","path":"/secret/x","value":2},{"op":"set","path":"/open","value":2}]`)
		ann.reaches(2)
		ben.reaches(2)
		if ann.text() != strings.Replace(anns, `"open":1`, `"open":2`, 1) || ann.values != values || !strings.Contains(ben.text(), `"secret":{"x":2}`) {
			t.Errorf("ann has %s, after %d snapshots; ben has %s", ann.text(), ann.values-values, ben.text())
		}
		ann.refused(patchFrame("board:1", `[{"op":"test","path":"/secret/x","value":2}]`, ""), "denied")
		ann.refused(patchFrame("board:1", `[{"op":"test","path":"/players/ben","value":2}]`, ""), "denied")
		if f := ann.must(patchFrame("board:1", `[{"op":"test","path":"/players/ann","value":{"cards":[1],"points":1}}]`, "")); f.Version != 2 {
			t.Errorf("testing one's own is answered by %+v", f)
		}
		ann.refused(patchFrame("board:1", `[{"op":"set","path":"/players/ben/points","value":9}]`, ""), "denied")
		ann.refused(patchFrame("board:1", `[{"op":"set","path":"/players","value":{}}]`, ""), "denied")
		ann.refused(patchFrame("board:1", `[{"op":"merge","path":"","value":{"players":{"ann":null,"ben":null}}}]`, ""), "denied")
		ann.must(patchFrame("board:1", `[{"op":"merge","path":"","value":{"players":{"ann":{"points":5}}}}]`, ""))
		ben.must(patchFrame("board:1", `[{"op":"remove","path":"/secret"}]`, ""))
		ann.reaches(4)
		if ann.text() != `{"open":2,"players":{"ann":{"cards":[1],"points":5},"ben":{"points":2}}}` {
			t.Errorf("ann has %s", ann.text())
		}
	})
}

// New rules hold for who is connected: what they show comes anew.
func TestReloadedRulesDecideWhatIsShown(t *testing.T) {
	each(t, func() skein.Config { return signed(t) }, func(t *testing.T, s *testServer) {
		s.verb("doc.put", `{"channel":"board:1","data":`+boardValue+`}`)
		ann := s.tokenClient(auth.Identity{User: "ann"}, "board:1")
		desk := s.tokenClient(auth.Identity{User: "ben", Roles: "desk"}, "board:1")
		reload := func(rules ...string) {
			t.Helper()
			cfg := signed(t)
			cfg.Listen = "127.0.0.1:0"
			board := cfg.Namespaces["board"]
			board.Rules = rules
			cfg.Namespaces["board"] = board
			if applied, _, err := s.Reload(cfg); err != nil || fmt.Sprint(applied) != "[namespaces]" {
				t.Fatalf("%v, %v", applied, err)
			}
		}
		for _, tt := range []struct {
			rules       []string
			anns, desks string
		}{
			{[]string{"/open read user", "/players/*/points read role:desk write user"}, `{"open":1}`, `{"open":1,"players":{"ann":{"points":1},"ben":{"points":2}}}`},
			{nil, boardValue, boardValue},
			{[]string{"/** read server"}, `null`, `null`},
			{[]string{"/secret/** write user"}, boardValue, boardValue},
		} {
			reload(tt.rules...)
			if got := ann.renewed(); !sameJSON(got, tt.anns) {
				t.Errorf("%q: ann has %s", tt.rules, got)
			}
			if got := desk.renewed(); !sameJSON(got, tt.desks) {
				t.Errorf("%q: the desk has %s", tt.rules, got)
			}
		}
		ann.refused(patchFrame("board:1", `[{"op":"set","path":"/open","value":2}]`, ""), "denied")
		ann.must(patchFrame("board:1", `[{"op":"set","path":"/secret","value":2}]`, ""))
		desk.reaches(2)
		if !strings.Contains(desk.text(), `"secret":2`) {
			t.Errorf("the desk has %s", desk.text())
		}
	})
}
