package skein_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// hushed is a server whose log nobody reads: what it says is meant to go wrong.
func hushed() skein.Config {
	cfg := open()
	cfg.Logger = (&logbook{}).logger()
	return cfg
}

// gated is a server that lets in whom its application knows, or its tokens.
func gated(t testing.TB) skein.Config {
	cfg := hushed()
	cfg.Dev = false
	cfg.Auth = skein.Auth{JWT: skein.JWT{HMACSecret: secret, Issuer: "shop", Audience: "live"}}
	cfg.Data = t.TempDir()
	cfg.Namespaces["closed"] = skein.Namespace{Kind: "event", Subscribe: "token", Publish: "token"}
	cfg.Namespaces["log"] = skein.Namespace{Kind: "log", Subscribe: "user", Publish: "user"}
	cfg.Namespaces["team"] = skein.Namespace{Kind: "event", Subscribe: "member", Publish: "member"}
	return cfg
}

// eachWith is each for a server that is told something before it serves.
func eachWith(t *testing.T, cfg func() skein.Config, prepare func(*skein.Server), test func(t *testing.T, s *testServer)) {
	t.Helper()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			c := cfg()
			c.WebSocket.Driver = driver
			test(t, startWith(t, c, prepare))
		})
	}
}

// with opens a connection with a query and headers, "Name: value".
func (s *testServer) with(query string, header ...string) *client {
	s.t.Helper()
	h := http.Header{}
	for _, line := range header {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Set(name, value)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws?"+query, &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t: s.t, ws: ws}
}

// list is what functions have seen, in order.
type list[T any] struct {
	mu    sync.Mutex // guards items
	items []T
}

func (l *list[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, v)
}

func (l *list[T]) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.items)
}

// take gives what is there, and begins anew.
func (l *list[T]) take() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	items := l.items
	l.items = nil
	return items
}

// wait takes n items, which must come.
func (l *list[T]) wait(t testing.TB, n int) []T {
	t.Helper()
	eventually(t, fmt.Sprintf("%d calls", n), func() bool { return l.len() >= n })
	return l.take()
}

// door is an application that knows people by cookie, query and data.
func door(seen *list[string]) func(context.Context, *skein.Connecting) error {
	return func(_ context.Context, c *skein.Connecting) error {
		var data struct{ Name, Refuse, Guest string }
		if c.Data != nil {
			if err := json.Unmarshal(c.Data, &data); err != nil {
				return err
			}
		}
		cookie := c.Header.Get("Cookie")
		seen.add(fmt.Sprintf("known=%t user=%s query=%s cookie=%s data=%s transport=%s", c.Known, c.User, c.Query.Get("name"), cookie, c.Data, c.Transport))
		switch {
		case c.Known:
		case cookie == "sid=ann":
			c.User, c.Device = "ann", "tab"
			c.Session = json.RawMessage(`{"name":"Ann"}`)
			c.Channels = []string{"room:1", "log:1"}
			c.Caps = map[string][]string{"closed:mine": {"sub"}}
		case c.Query.Get("name") == "bob":
			c.User = "bob"
		case data.Name != "":
			c.User = data.Name
		case data.Guest != "":
			c.Accept = true
		case data.Refuse != "" || strings.HasPrefix(cookie, "refuse="):
			return skein.NewError(data.Refuse+strings.TrimPrefix(cookie, "refuse="), "not today")
		}
		return nil
	}
}

func TestOnConnectSeesWhatTheClientBrings(t *testing.T) {
	seen := &list[string]{}
	cfg := func() skein.Config { return gated(t) }
	eachWith(t, cfg, func(s *skein.Server) { s.OnConnect(door(seen)) }, func(t *testing.T, s *testServer) {
		text := token(t, auth.Identity{User: "tim", Device: "phone"})
		for _, tt := range []struct {
			what, query, header, frame string
			user                       any // nil: it stays anonymous
			asked                      []string
		}{
			{"a token in the query", "token=" + text, "", "", "tim", []string{"known=true user=tim query= cookie= data= transport=websocket"}},
			{"a token in the header", "", "Authorization: Bearer " + text, "", "tim", []string{"known=true user=tim query= cookie= data= transport=websocket"}},
			{"a cookie", "", "Cookie: sid=ann", "", "ann", []string{"known=false user= query= cookie=sid=ann data= transport=websocket"}},
			{"a query", "name=bob", "", "", "bob", []string{"known=false user= query=bob cookie= data= transport=websocket"}},
			{"data of the frame", "", "", `{"type":"connect","data":{"name":"carl"}}`, "carl", []string{`known=false user= query= cookie= data={"name":"carl"} transport=websocket`}},
			{"a token in the frame", "", "", `{"type":"connect","token":"` + text + `"}`, "tim", []string{`known=true user=tim query= cookie= data= transport=websocket`}},
			{"a guest", "", "", `{"type":"connect","data":{"guest":"x"}}`, nil, []string{`known=false user= query= cookie= data={"guest":"x"} transport=websocket`}},
			{"a cookie that says nothing, then data", "name=x", "Cookie: other=1", `{"type":"connect","data":{"name":"dora"}}`, "dora", []string{
				"known=false user= query=x cookie=other=1 data= transport=websocket",
				`known=false user= query=x cookie=other=1 data={"name":"dora"} transport=websocket`,
			}},
			{"a cookie that says nothing, then a token", "", "Cookie: other=1", `{"type":"connect","token":"` + text + `"}`, "tim", []string{
				"known=false user= query= cookie=other=1 data= transport=websocket",
				"known=true user=tim query= cookie=other=1 data= transport=websocket",
			}},
		} {
			c := s.with(tt.query, tt.header)
			if tt.frame != "" {
				c.send(tt.frame)
			}
			same(t, tt.what+": user", c.expect("welcome")["user"], tt.user)
			same(t, tt.what+": asked", seen.take(), tt.asked)
		}
	})
}

func TestOnConnectSaysWhoTheClientIsAndWhatItMay(t *testing.T) {
	seen := &list[string]{}
	ids := &list[string]{}
	prepare := func(s *skein.Server) {
		s.OnConnect(door(seen))
		s.OnConnect(func(_ context.Context, c *skein.Connecting) error { // one function after the other, with what the first has made of it
			ids.add(c.Connection + " " + c.User)
			if !c.Remote.Addr().IsLoopback() {
				return skein.NewError("denied", "from "+c.Remote.String())
			}
			return nil
		})
	}
	eachWith(t, func() skein.Config { return gated(t) }, prepare, func(t *testing.T, s *testServer) {
		ann := s.with("", "Cookie: sid=ann")
		w := ann.expect("welcome")
		same(t, "welcome", []any{w["user"], w["device"], w["session"], w["channels"]}, []any{"ann", "tab", map[string]any{"name": "Ann"}, []any{"room:1", "log:1"}})
		same(t, "the second function", ids.take(), []string{w["connection"].(string) + " ann"})
		defer ids.take()
		for _, channel := range []string{"room:1", "log:1"} {
			if f := ann.expect("subscribed"); f["channel"] != channel || f["reason"] != "server" {
				t.Errorf("got %v", f)
			}
		}
		ann.do(`{"type":"sub","channel":"closed:mine"}`)
		ann.fails(`{"type":"sub","channel":"closed:other"}`, "denied")
		ann.fails(`{"type":"connect"}`, "bad_request")

		guest := s.with("")
		guest.send(`{"type":"connect","data":{"guest":"x"}}`)
		if w := guest.expect("welcome"); w["user"] != nil {
			t.Errorf("got %v", w)
		}
		guest.do(`{"type":"sub","channel":"room:1"}`)
		guest.fails(`{"type":"sub","channel":"log:1"}`, "denied")
	})
}

func TestOnConnectRefuses(t *testing.T) {
	eachWith(t, func() skein.Config { return gated(t) }, func(s *skein.Server) { s.OnConnect(door(&list[string]{})) }, func(t *testing.T, s *testServer) {
		for _, tt := range []struct {
			code, bye string
			close     int
			reconnect bool
		}{
			{"unauthorized", "token_refused", 4002, false},
			{"denied", "token_refused", 4002, false},
			{"unavailable", "unavailable", 1011, true},
		} {
			c := s.with("")
			c.send(`{"type":"connect","id":1,"data":{"refuse":"` + tt.code + `"}}`)
			if e := c.expect("error"); e["code"] != tt.code || e["message"] != "not today" || e["id"] != 1.0 {
				t.Errorf("%s: got %v", tt.code, e)
			}
			if bye := c.goodbye(tt.bye, tt.close); bye["reconnect"] != tt.reconnect || bye["message"] != "not today" {
				t.Errorf("%s: got %v", tt.code, bye)
			}
			c = s.with("", "Cookie: refuse="+tt.code) // there is no frame to answer
			if bye := c.goodbye(tt.bye, tt.close); bye["reconnect"] != tt.reconnect || bye["message"] != "not today" {
				t.Errorf("%s by the request: got %v", tt.code, bye)
			}
		}
		// Whom nobody knows is nobody.
		c := s.with("")
		c.send(`{"type":"connect","id":1}`)
		if e := c.expect("error"); e["code"] != "unauthorized" {
			t.Errorf("got %v", e)
		}
		c.goodbye("token_refused", 4002)
		// A token that is no good is not asked about.
		c = s.with("token=nonsense", "Cookie: sid=ann")
		c.goodbye("token_refused", 4002)
		s.empty()
	})
}

// What an application does wrong costs its client the connection, is in
// the log, and tells nobody what is inside.
func TestOnConnectThatFails(t *testing.T) {
	wrong := map[string]func(*skein.Connecting) error{
		"panic":             func(*skein.Connecting) error { panic("on purpose") },
		"plain error":       func(*skein.Connecting) error { return errors.New("password is hunter2") },
		"user too long":     func(c *skein.Connecting) error { c.User = strings.Repeat("u", 300); return nil },
		"user of controls":  func(c *skein.Connecting) error { c.User = "a\nb"; return nil },
		"session no object": func(c *skein.Connecting) error { c.User, c.Session = "ann", json.RawMessage(`[1]`); return nil },
		"session no JSON":   func(c *skein.Connecting) error { c.User, c.Session = "ann", json.RawMessage(`{`); return nil },
		"rights": func(c *skein.Connecting) error {
			c.User, c.Caps = "ann", map[string][]string{"room:1": {"fly"}}
			return nil
		},
	}
	for what, fn := range wrong {
		log := &logbook{}
		cfg := gated(t)
		cfg.Logger = log.logger()
		s := startWith(t, cfg, func(s *skein.Server) {
			s.OnConnect(func(_ context.Context, c *skein.Connecting) error {
				if c.Known {
					return nil
				}
				return fn(c)
			})
		})
		other := s.with("token=" + token(t, auth.Identity{User: "tim"}))
		other.expect("welcome")
		c := s.with("")
		c.send(`{"type":"connect","id":1}`)
		e := c.expect("error")
		if e["code"] != "internal" || strings.Contains(fmt.Sprint(e), "hunter2") {
			t.Errorf("%s: got %v", what, e)
		}
		if bye := c.goodbye("unavailable", 1011); bye["reconnect"] != true {
			t.Errorf("%s: got %v", what, bye)
		}
		if text := log.String(); !strings.Contains(text, "level=ERROR") {
			t.Errorf("%s: the log says only %q", what, text)
		}
		other.lives()
	}
}

func TestOnConnectMayLimitTheTime(t *testing.T) {
	s := startWith(t, gated(t), func(s *skein.Server) {
		s.OnConnect(func(_ context.Context, c *skein.Connecting) error {
			c.User, c.Expires = "ann", time.Now().Add(300*time.Millisecond)
			return nil
		})
	})
	c := s.with("", "Cookie: x=1")
	if w := c.expect("welcome"); w["expires"] == nil {
		t.Errorf("got %v", w)
	}
	c.goodbye("token_expired", 4003)
}

// A function that takes longer than there is time to connect does not hold the
// client any longer, and its late answer changes nothing.
func TestOnConnectThatIsLate(t *testing.T) {
	cfg := gated(t)
	cfg.Auth.Timeout = skein.Duration(100 * time.Millisecond)
	release, done := make(chan struct{}), make(chan struct{})
	s := startWith(t, cfg, func(s *skein.Server) {
		s.OnConnect(func(_ context.Context, c *skein.Connecting) error {
			defer close(done)
			<-release
			c.User = "ann"
			return nil
		})
	})
	c := s.with("")
	c.send(`{"type":"connect"}`)
	c.goodbye("auth_timeout", 4001)
	close(release)
	<-done
	s.empty()
}

// Through every door the application is asked the same.
func TestOnConnectThroughTheOtherDoors(t *testing.T) {
	seen := &list[string]{}
	cfg := gated(t)
	cfg.SocketIO.Namespaces = map[string]skein.SocketIONamespace{"/": {Channel: "room:all"}}
	s := startWith(t, cfg, func(s *skein.Server) { s.OnConnect(door(seen)) })

	e, err := s.openSource("http://"+s.addr, "", "Cookie: sid=ann")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	if w := e.expect("welcome"); w["user"] != "ann" || fmt.Sprint(w["channels"]) != "[room:1 log:1]" {
		t.Errorf("got %v", w)
	}
	same(t, "sse", seen.take(), []string{"known=false user= query= cookie=sid=ann data= transport=sse"})
	for cookie, want := range map[string]string{"refuse=unauthorized": "401", "refuse=unavailable": "503"} {
		if _, err := s.openSource("http://"+s.addr, "", "Cookie: "+cookie); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "not today") {
			t.Errorf("sse, %s: %v", cookie, err)
		}
	}
	seen.take()

	s.poller("", "Cookie: sid=ann")
	same(t, "poll", seen.take(), []string{"known=false user= query= cookie=sid=ann data= transport=poll"})
	s.poller(`{"frames":[{"type":"connect","data":{"name":"carl"}}]}`)
	same(t, "poll by frame", seen.take(), []string{`known=false user= query= cookie= data={"name":"carl"} transport=poll`})

	c := s.io("")
	c.connect("/", `{"name":"dora"}`)
	same(t, "socket.io", seen.take(), []string{`known=false user= query= cookie= data={"name":"dora"} transport=socket.io/websocket`})
	if conns := s.UserConns("dora"); len(conns) != 1 || conns[0].Transport() != "socket.io/websocket" {
		t.Errorf("dora has %d connections", len(conns))
	}
	c.send(`40/none,`)
	c.next()
	other := s.io("")
	other.send(`40{"refuse":"unauthorized"}`)
	if got := other.next(); !strings.HasPrefix(got, `44{"message":"not today"`) {
		t.Errorf("got %s", got)
	}
}

// OnOpen comes after the welcome and before the first frame.
func TestOnOpen(t *testing.T) {
	seen := &list[string]{}
	log := &logbook{}
	cfg := func() skein.Config {
		cfg := open()
		cfg.Logger = log.logger()
		return cfg
	}
	prepare := func(s *skein.Server) {
		s.OnOpen(func(context.Context, *skein.Conn) { panic("on purpose") })
		s.OnOpen(func(ctx context.Context, c *skein.Conn) {
			seen.add(c.Transport() + " " + c.User() + " " + c.Device())
			if c.Transport() != "websocket" {
				return
			}
			if err := errors.Join(c.SetSession(ctx, map[string]int{"n": 1}), c.MergeSession(ctx, map[string]int{"m": 2}), c.Subscribe(ctx, "room:1")); err != nil {
				t.Error(err)
			}
			if ok, err := c.Send(ctx, "hello", c.ID()); !ok || err != nil {
				t.Errorf("sending: %v, %v", ok, err)
			}
			var state struct{ N, M int }
			if err := c.Session(&state); err != nil || state.N != 1 || state.M != 2 || !c.Alive() || fmt.Sprint(c.Channels()) != "[room:1]" {
				t.Errorf("%v, %v, %v, %v", state, err, c.Alive(), c.Channels())
			}
		})
	}
	eachWith(t, cfg, prepare, func(t *testing.T, s *testServer) {
		c := s.with("")
		c.send(`{"type":"ping","id":5}`) // too early, so it is kept
		c.send(`{"type":"connect"}`)
		id := c.expect("welcome")["connection"]
		c.expect("subscribed")
		if m := c.expect("msg"); m["channel"] != "@direct" || m["event"] != "hello" || m["data"] != id {
			t.Errorf("got %v", m)
		}
		c.expect("pong")
		same(t, "seen", seen.take(), []string{"websocket  "})
		e := s.source("user=ann&device=tv")
		same(t, "sse", seen.take(), []string{"sse ann tv"})
		e.close()
		s.poller(`{"frames":[{"type":"connect"}]}`)
		same(t, "poll", seen.take(), []string{"poll  "})
		if !strings.Contains(log.String(), "on purpose") {
			t.Error("the panic is not in the log")
		}
	})
}

// hasCode tells whether an error is one of ours with a code.
func hasCode(err error, code string) bool {
	e := new(skein.Error)
	return errors.As(err, &e) && string(e.Code) == code
}
