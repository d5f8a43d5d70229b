package skein_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
)

const hookSecret = "a secret of the hooks, long enough"

// application is a backend behind HTTP.
type application struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex // guards all below
	answer func(event string, body map[string]any) (status int, answer string)
	told   []map[string]any
	more   chan struct{} // gets a value for what is told
}

func backend(t testing.TB, answer func(event string, body map[string]any) (int, string)) *application {
	a := &application{t: t, answer: answer, more: make(chan struct{}, 1)}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *application) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(hookSecret))
	fmt.Fprintf(mac, "%s.%s", r.Header.Get("Skein-Timestamp"), body)
	if err != nil || r.Header.Get("Skein-Signature") != "v1="+hex.EncodeToString(mac.Sum(nil)) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		a.t.Errorf("%s: %v", body, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if events, ok := m["events"].([]any); ok {
		for _, e := range events {
			a.told = append(a.told, e.(map[string]any))
		}
		select {
		case a.more <- struct{}{}:
		default:
		}
		return
	}
	status, answer := a.answer(r.Header.Get("Skein-Hook"), m)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// expect waits for something that is told, and takes it.
func (a *application) expect(event string) map[string]any {
	a.t.Helper()
	over := time.After(patience)
	for {
		a.mu.Lock()
		for i, e := range a.told {
			if e["event"] == event {
				a.told = append(a.told[:i:i], a.told[i+1:]...)
				a.mu.Unlock()
				return e
			}
		}
		a.mu.Unlock()
		select {
		case <-a.more:
		case <-over:
			a.t.Fatalf("%s was not told", event)
		}
	}
}

// hooked is a server with a backend.
func (a *application) config(events ...string) skein.Config {
	cfg := open()
	cfg.Dev = false
	cfg.Auth.Anonymous = false
	cfg.Hooks = skein.Hooks{URL: a.URL, Secret: hookSecret, Events: events, Headers: []string{"Cookie"}}
	cfg.Namespaces["closed"] = skein.Namespace{Kind: "event", Subscribe: "token", Publish: "anyone"}
	cfg.Namespaces["log"] = skein.Namespace{Kind: "log", Subscribe: "user", Publish: "user"}
	cfg.Data = a.t.TempDir()
	return cfg
}

func TestTheBackendDecides(t *testing.T) {
	answer := func(event string, m map[string]any) (int, string) {
		switch event {
		case "connect":
			headers, _ := m["headers"].(map[string]any)
			data, _ := m["data"].(map[string]any)
			switch {
			case headers["cookie"] == "sid=ann":
				return 200, `{"user":"ann","device":"tab","session":{"name":"Ann"},"channels":["room:1","log:1"],"caps":{"closed:mine":["sub"]}}`
			case data["name"] != nil:
				return 200, fmt.Sprintf(`{"user":%q}`, data["name"])
			case data["wait"] != nil:
				return 200, `{"refuse":{"message":"we are full","reconnect":true}}`
			case data != nil:
				return 200, `{"refuse":{"message":"who are you?"}}`
			}
			return 200, `{}`
		case "subscribe":
			switch m["channel"] {
			case "closed:open":
				return 200, `{"allow":true}`
			case "room:secret":
				return 200, `{"refuse":{"code":"not_found","message":"there is no such room"}}`
			}
			return 204, ""
		case "message":
			text, _ := m["message"].(map[string]any)["data"].(string)
			switch text {
			case "shout":
				return 200, `{"data":"SHOUT","event":"loud"}`
			case "time?":
				return 200, `{"reply":{"time":"noon"}}`
			case "bad":
				return 200, `{"refuse":{"message":"mind your language"}}`
			}
			return 200, `{}`
		case "call":
			if m["method"] == "add" {
				n := m["data"].([]any)
				return 200, fmt.Sprintf(`{"data":%v}`, n[0].(float64)+n[1].(float64))
			}
			return 200, `{"error":{"code":"not_found","message":"no such method"}}`
		}
		return 500, ""
	}
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			a := backend(t, answer)
			cfg := a.config("connect", "subscribe", "message", "call", "close", "online", "offline", "occupied", "vacated")
			cfg.WebSocket.Driver = driver
			cfg.Online.Grace = skein.Duration(10 * time.Millisecond)
			s := start(t, cfg)

			// A cookie says who it is: no frame is needed.
			ann := s.dialWith(http.Header{"Cookie": {"sid=ann"}})
			w := ann.expect("welcome")
			same(t, "welcome", [4]any{w["user"], w["device"], fmt.Sprint(w["session"]), fmt.Sprint(w["channels"])}, [4]any{"ann", "tab", "map[name:Ann]", "[room:1 log:1]"})
			ann.expect("subscribed")
			ann.expect("subscribed")
			ann.do(`{"type":"sub","channel":"closed:mine"}`) // by the rights that came with the answer
			if e := a.expect("online"); e["user"] != "ann" {
				t.Errorf("got %v", e)
			}
			a.expect("occupied")

			// data in the connect frame says it.
			bob := s.dialWith(nil)
			bob.send(`{"type":"connect","data":{"name":"bob"}}`)
			if f := bob.expect("welcome"); f["user"] != "bob" {
				t.Errorf("got %v", f)
			}
			stranger := s.dialWith(nil)
			stranger.send(`{"type":"connect","id":1,"data":{}}`)
			if e := stranger.expect("error"); e["code"] != "unauthorized" || e["message"] != "who are you?" {
				t.Errorf("got %v", e)
			}
			if bye := stranger.goodbye("token_refused", 4002); bye["reconnect"] != false {
				t.Errorf("got %v", bye)
			}
			early := s.dialWith(nil)
			early.send(`{"type":"connect","data":{"wait":1}}`)
			early.expect("error")
			if bye := early.goodbye("unavailable", 1011); bye["reconnect"] != true {
				t.Errorf("got %v", bye)
			}

			bob.do(`{"type":"sub","channel":"room:1"}`)
			bob.do(`{"type":"sub","channel":"closed:open"}`)
			bob.fails(`{"type":"sub","channel":"closed:other"}`, "denied")
			if e := bob.fails(`{"type":"sub","channel":"room:secret"}`, "not_found"); e["message"] != "there is no such room" {
				t.Errorf("got %v", e)
			}
			same(t, "changed", ann.do(`{"type":"pub","channel":"room:1","data":"shout"}`)["connections"], 1.0)
			if m := bob.expect("msg"); m["data"] != "SHOUT" || m["event"] != "loud" {
				t.Errorf("got %v", m)
			}
			same(t, "answered", ann.do(`{"type":"pub","channel":"room:1","data":"time?"}`)["reply"], any(map[string]any{"time": "noon"}))
			ann.fails(`{"type":"pub","channel":"log:1","data":"bad"}`, "denied")
			ann.fails(`{"type":"notice","channel":"room:1","event":"typing","data":"bad"}`, "denied")
			ann.do(`{"type":"notice","channel":"room:1","event":"typing"}`)
			bob.expect("notice")
			ann.send(`{"type":"pub","channel":"log:1","data":"good"}`)
			ann.expect("msg")
			same(t, "kept", len(s.verb("history", `{"channel":"log:1"}`)["messages"].([]any)), 1)
			same(t, "call", ann.do(`{"type":"call","method":"add","data":[2,3]}`)["data"], 5.0)
			ann.fails(`{"type":"call","method":"other"}`, "not_found")

			bob.close()
			e := a.expect("close")
			if c := e["connection"].(map[string]any); c["user"] != "bob" || e["code"] != 1000.0 || e["reason"] != "normal" {
				t.Errorf("got %v", e)
			}
			if e := a.expect("offline"); e["user"] != "bob" {
				t.Errorf("got %v", e)
			}
			s.verb("disconnect", `{"user":"ann","message":"enough"}`)
			ann.goodbye("disconnected", 4004)
			if e := a.expect("close"); e["reason"] != "disconnected" || e["message"] != "enough" {
				t.Errorf("got %v", e)
			}
			a.expect("vacated")
		})
	}
}

// dialWith opens a connection with headers and without a query.
func (s *testServer) dialWith(header http.Header) *client {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{ws: ws, t: s.t}
}

func (c *client) close() { _ = c.ws.Close(websocket.StatusNormalClosure, "") }

// What happens while the backend is down is what the configuration says, and calls
// always fail. When it is back, everything goes on.
func TestABackendThatIsDown(t *testing.T) {
	for _, policy := range []string{"refuse", "allow"} {
		t.Run(policy, func(t *testing.T) {
			var mu sync.Mutex
			down := false
			a := backend(t, func(string, map[string]any) (int, string) {
				mu.Lock()
				defer mu.Unlock()
				if down {
					return 503, "closed for today"
				}
				return 200, `{"data":"here"}`
			})
			set := func(is bool) { mu.Lock(); down = is; mu.Unlock() }
			cfg := a.config("connect", "subscribe", "message", "call")
			cfg.Dev = true
			cfg.Hooks.OnFailure, cfg.Hooks.Retries, cfg.Hooks.Failures, cfg.Hooks.Pause = policy, -1, 2, skein.Duration(50*time.Millisecond)
			log := &logbook{}
			cfg.Logger = log.logger()
			s := start(t, cfg)
			ann := s.user("ann")
			set(true)
			for range 4 { // the circuit opens on the way
				ann.fails(`{"type":"call","method":"add"}`, "unavailable")
			}
			if policy == "refuse" {
				ann.fails(`{"type":"sub","channel":"room:1"}`, "unavailable")
				ann.fails(`{"type":"pub","channel":"room:1","data":1}`, "unavailable")
				bob := s.dial("user=bob")
				if bye := bob.goodbye("unavailable", 1011); bye["reconnect"] != true {
					t.Errorf("got %v", bye)
				}
			} else {
				ann.do(`{"type":"sub","channel":"room:1"}`)
				ann.do(`{"type":"pub","channel":"room:1","data":1}`)
				ann.fails(`{"type":"sub","channel":"closed:1"}`, "denied")
				s.user("bob")
			}
			set(false)
			eventually(t, "an answer", func() bool {
				ann.send(`{"type":"call","id":9,"method":"add"}`)
				f, err := ann.read()
				if err != nil {
					t.Fatal(err)
				}
				return f["data"] == "here"
			})
			s.user("carl")
			if !strings.Contains(log.String(), "hook") {
				t.Errorf("nothing is in the log:\n%s", log)
			}
		})
	}
}

// Garbage and somebody else's answers are failures, and tell the client nothing.
func TestABackendThatAnswersNonsense(t *testing.T) {
	answers := make(chan string, 1)
	a := backend(t, func(string, map[string]any) (int, string) { return 200, <-answers })
	cfg := a.config("message")
	cfg.Dev = true
	cfg.Hooks.Failures = 100
	s := start(t, cfg)
	ann := s.user("ann")
	for _, answer := range []string{`no JSON`, `[]`, `{"data":`, `{"refuse":"no"}`, `{"event":5}`, `{"a":1,"a":2}`} {
		answers <- answer
		e := ann.fails(`{"type":"pub","channel":"room:1","data":1}`, "unavailable")
		if e["message"] != "the application cannot be asked now" || e["retry_after"] == nil {
			t.Errorf("%s: got %v", answer, e)
		}
	}
	signed := cfg
	signed.Hooks.VerifyAnswers = true
	signed.Data = t.TempDir()
	s = start(t, signed)
	answers <- `{}`
	s.user("ann").fails(`{"type":"pub","channel":"room:1","data":1}`, "unavailable")
}

// A reload changes the backend while clients are there.
func TestTheBackendIsReplacedByAReload(t *testing.T) {
	by := func(name string) func(string, map[string]any) (int, string) {
		return func(string, map[string]any) (int, string) { return 200, fmt.Sprintf(`{"data":%q}`, name) }
	}
	first, second := backend(t, by("first")), backend(t, by("second"))
	cfg := first.config("call")
	cfg.Dev = true
	s := start(t, cfg)
	ann := s.user("ann")
	same(t, "before", ann.do(`{"type":"call","method":"who"}`)["data"], "first")
	cfg.Hooks.URL = second.URL
	applied, _, err := s.Reload(cfg)
	if err != nil || fmt.Sprint(applied) != "[hooks]" {
		t.Fatalf("%v, %v", applied, err)
	}
	same(t, "after", ann.do(`{"type":"call","method":"who"}`)["data"], "second")
	cfg.Hooks = skein.Hooks{}
	if _, _, err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	ann.fails(`{"type":"call","method":"who"}`, "not_found")
}
