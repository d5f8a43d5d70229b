package skein_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/config"
)

// rated is a server with rates. They are by the hour, so that none comes back
// during a test.
func rated(r skein.Rates) skein.Config {
	cfg := ioConfig()
	cfg.Logger = (&logbook{}).logger()
	cfg.Rates = r
	return cfg
}

// page reads the metrics.
func (s *testServer) page() string {
	s.t.Helper()
	_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
	return text
}

// exceeded is what the metrics tell of rates: of users, frames and verbs.
func (s *testServer) exceeded(refused bool) (counts [3]float64) {
	s.t.Helper()
	text := s.page()
	for i, of := range []string{"user", "frame", "verb"} {
		counts[i] = metric(s.t, text, fmt.Sprintf("skein_rates_exceeded_total{rate=%q,refused=\"%t\"}", of, refused))
	}
	return counts
}

// limited checks an error rate_limited.
func limited(t testing.TB, f map[string]any, message string) {
	t.Helper()
	if wait, _ := f["retry_after"].(float64); f["code"] != "rate_limited" || f["message"] != message || wait <= 0 || wait > 3.6e6 || wait != math.Trunc(wait) {
		t.Errorf("got %v, want rate_limited with %s", f, message)
	}
}

func TestTheRateOfAUserHoldsOverAllConnections(t *testing.T) {
	each(t, func() skein.Config { return rated(skein.Rates{User: "6/h"}) }, func(t *testing.T, s *testServer) {
		phone, desk, bob, guest := s.user("ann"), s.user("ann"), s.user("bob"), s.anonymous()
		phone.do(`{"type":"sub","channel":"room:1"}`)
		bob.do(`{"type":"sub","channel":"room:1"}`)
		for range 2 {
			phone.lives()
			desk.lives()
		}
		desk.lives() // that was the sixth
		const message = "the user sends more frames than 6/h, over all connections"
		for _, c := range []*client{phone, desk} {
			limited(t, c.fails(`{"type":"pub","channel":"room:1","data":"too much"}`, "rate_limited"), message)
		}
		for range 5 { // who is nobody has no such rate, and bob has his own
			guest.lives()
			bob.lives()
		}
		// Nothing was carried out, and the connection goes on: it gets what others say.
		guest.do(`{"type":"pub","channel":"room:1","data":"hi"}`)
		for _, c := range []*client{phone, bob} {
			if m := c.expect("msg"); m["data"] != "hi" {
				t.Errorf("got %v", m)
			}
		}
		// A new connection of the user is no way out.
		tablet := s.user("ann")
		limited(t, tablet.fails(`{"type":"ping"}`, "rate_limited"), message)
		bob.fails(`{"type":"ping"}`, "rate_limited")
		same(t, "refused", s.exceeded(true), [3]float64{4, 0, 0})
		same(t, "would be refused", s.exceeded(false), [3]float64{})
	})
}

// However a client is connected, its frames count for the same user.
func TestTheRateOfAUserHoldsThroughEveryDoor(t *testing.T) {
	s := start(t, rated(skein.Rates{User: "4/h"}))
	e := s.source("user=ann")
	p := s.poller(`{"user":"ann"}`)
	plain := s.user("ann")
	c := s.io("&user=ann")
	c.connect("/", "")
	plain.do(`{"type":"sub","channel":"room:1"}`)
	e.post(`{"type":"ping","id":1}`)
	e.expect("pong")
	p.call(`{"type":"ping","id":2}`)
	p.expect("pong")
	c.send(`421["hello",1]`)
	if got := c.next(); !strings.HasPrefix(got, "431[") || strings.Contains(got, "error") {
		t.Errorf("got %s", got)
	}
	const message = "the user sends more frames than 4/h, over all connections"
	e.post(`{"type":"ping","id":3}`)
	f := e.expect("error")
	same(t, "id", f["id"], any(3.0))
	limited(t, f, message)
	p.call(`{"type":"ping","id":4}`)
	limited(t, p.expect("error"), message)
	limited(t, plain.fails(`{"type":"ping"}`, "rate_limited"), message)
	c.send(`422["hello",2]`)
	if got := c.next(); !strings.HasPrefix(got, `432[{"type":"error","id":2,`) || !strings.Contains(got, `"code":"rate_limited"`) {
		t.Errorf("got %s", got)
	}
}

func TestEachTypeOfFrameHasARateOnEachConnection(t *testing.T) {
	each(t, func() skein.Config { return rated(skein.Rates{Frames: []string{"pub 2/h", "call 60/h burst 1"}}) }, func(t *testing.T, s *testServer) {
		phone, desk, guest, watcher := s.user("ann"), s.user("ann"), s.anonymous(), s.watching("room:1")
		const message = "more pub frames on this connection than 2/h"
		for i, c := range []*client{phone, desk, guest} { // of one user or of nobody: it is for the connection
			for n := range 2 {
				c.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":"%d.%d"}`, i, n))
				if m := watcher.expect("msg"); m["data"] != fmt.Sprintf("%d.%d", i, n) {
					t.Errorf("got %v", m)
				}
			}
			f := c.fails(`{"type":"pub","channel":"room:1","data":"too much"}`, "rate_limited")
			limited(t, f, message)
			same(t, "channel", f["channel"], any("room:1"))
			for range 5 { // other types have no rate
				c.lives()
			}
		}
		watcher.lives() // nothing more was published
		phone.fails(`{"type":"call","method":"x"}`, "not_found")
		limited(t, phone.fails(`{"type":"call","method":"x"}`, "rate_limited"), "more call frames on this connection than 1/m")
		same(t, "refused", s.exceeded(true), [3]float64{0, 4, 0})
	})
}

func TestVerbsHaveARateForEachKey(t *testing.T) {
	cfg, keys := keyed(t, "publish info schedules.*", "*")
	cfg.Rates.Verbs = []string{"publish 4/h", "info 2/h burst 1"}
	cfg.Data = t.TempDir()
	s := start(t, cfg)
	shop, other := keys["publish"], keys["*"]
	const body = `{"to":{"channel":"tick:1"},"data":1}`
	publish := func(key string) int {
		t.Helper()
		status, _, _ := s.post(key, "publish", body)
		return status
	}
	same(t, "two", []int{publish(shop), publish(shop)}, []int{200, 200})
	// In a batch each command counts, and those after the limit are refused alone.
	command := `{"verb":"publish","params":` + body + `}`
	_, _, out := s.post(shop, "batch", `{"commands":[`+strings.Join([]string{command, command, command, `{"verb":"info","params":{}}`}, ",")+`]}`)
	var outcome []any
	for _, r := range out["results"].([]any) {
		if e, ok := r.(map[string]any)["error"].(map[string]any); ok {
			outcome = append(outcome, e["code"])
		} else {
			outcome = append(outcome, "ok")
		}
	}
	same(t, "a batch", outcome, []any{"ok", "ok", "rate_limited", "ok"})

	status, header, problem := s.post(shop, "publish", body)
	wait, _ := problem["retry_after"].(float64)
	if status != 429 || problem["code"] != "rate_limited" || problem["detail"] != "more than 4/h of publish by this caller" || wait <= 0 || wait > 900_000 {
		t.Errorf("got %d %v", status, problem)
	}
	same(t, "Retry-After", header.Get("Retry-After"), fmt.Sprint(math.Ceil(wait/1000)))
	if status, _, problem := s.post(shop, "info", `{}`); status != 429 || problem["detail"] != "more than 2/h burst 1 of info by this caller" {
		t.Errorf("got %d %v", status, problem)
	}
	// Others have their own measure; the program itself and its schedules have none.
	same(t, "another key", publish(other), 200)
	for range 10 {
		s.verb("publish", body)
	}
	s.verb("schedules.put", `{"name":"often","every":"1h","verb":"publish","params":`+body+`}`)
	for range 6 {
		if err := s.Call(context.Background(), "schedules.run", json.RawMessage(`{"name":"often"}`), nil); err != nil {
			t.Error(err)
		}
	}
	if status, _, out := s.post(shop, "schedules.run", `{"name":"often"}`); status != 200 {
		t.Errorf("got %d %v", status, out)
	}
	key := "Authorization: Bearer " + other
	_, _, text := s.request("GET", "/metrics", "", key)
	same(t, "refused", metric(t, text, `skein_rates_exceeded_total{rate="verb",refused="true"}`), 3.0)
}

// Who waits for as long as it is told is let through, and not before.
func TestRetryAfterIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := hushed()
		cfg.Rates = skein.Rates{User: "2/s", Frames: []string{"pub 30/m burst 1"}}
		s := inBubble(t, cfg, nil)
		ann, desk := s.user("ann"), s.user("ann")
		ann.lives()
		desk.lives()
		wait := func(f map[string]any) time.Duration {
			return time.Duration(f["retry_after"].(float64)) * time.Millisecond
		}
		for range 3 {
			left := wait(desk.fails(`{"type":"ping"}`, "rate_limited"))
			if left <= 0 || left > 500*time.Millisecond {
				t.Fatalf("it is to wait %v", left)
			}
			time.Sleep(left - time.Millisecond)
			desk.fails(`{"type":"ping"}`, "rate_limited")
			time.Sleep(time.Millisecond)
			ann.lives() // she was faster than herself
		}
		time.Sleep(time.Minute / 4)
		ann.do(`{"type":"pub","channel":"room:1","data":1}`)
		left := wait(ann.fails(`{"type":"pub","channel":"room:1","data":2}`, "rate_limited"))
		if left <= 0 || left > 2*time.Second {
			t.Fatalf("it is to wait %v", left)
		}
		time.Sleep(left)
		ann.do(`{"type":"pub","channel":"room:1","data":3}`)
	})
}

func TestADryRunOfRatesRefusesNothing(t *testing.T) {
	log := &logbook{}
	cfg, keys := keyed(t, "publish", "info metrics")
	cfg.Dev, cfg.Auth = true, skein.Auth{Anonymous: true}
	cfg.Logger = log.logger()
	cfg.Rates = skein.Rates{User: "2/h", Frames: []string{"ping 1/h"}, Verbs: []string{"publish 1/h", "info 1/h"}, DryRun: true}
	s := start(t, cfg)
	ann, desk, bob := s.user("ann"), s.user("ann"), s.user("bob")
	for range 4 {
		for _, c := range []*client{ann, desk, bob} {
			c.lives()
		}
		for _, key := range []string{"publish", "info"} {
			if status, _, out := s.post(keys[key], key, map[string]string{"publish": `{"to":[],"data":1}`, "info": `{}`}[key]); status != 200 {
				t.Fatalf("%s: %d %v", key, status, out)
			}
		}
	}
	_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer "+keys["info"])
	for of, n := range map[string]float64{"user": 6 + 2, "frame": 9, "verb": 6} {
		same(t, of+": counted", metric(t, text, fmt.Sprintf("skein_rates_exceeded_total{rate=%q,refused=\"false\"}", of)), n)
		same(t, of+": refused", metric(t, text, fmt.Sprintf("skein_rates_exceeded_total{rate=%q,refused=\"true\"}", of)), 0.0)
	}
	// One line for a user, and for a key, in a minute.
	var said []string
	for line := range strings.Lines(log.String()) {
		if _, rest, ok := strings.Cut(line, `level=WARN msg="a rate limit that is tried out would have refused this" `); ok {
			said = append(said, strings.TrimSpace(rest))
		}
	}
	same(t, "said", said, []string{
		"user=ann connection=" + ann.ID + ` what="frames of a user" rate=2/h`,
		"user=bob connection=" + bob.ID + " what=ping rate=1/h",
		"caller=key-0 verb=publish rate=1/h",
		"caller=key-1 verb=info rate=1/h",
	})
}

// Other numbers are in force at once, also for who is connected; everybody begins
// anew with them.
func TestAReloadOfRatesIsInForceAtOnce(t *testing.T) {
	s := start(t, rated(skein.Rates{User: "3/h"}))
	reload := func(r skein.Rates, want ...string) {
		t.Helper()
		cfg := rated(r)
		cfg.Listen = "127.0.0.1:0"
		applied, restart, err := s.Reload(cfg)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "applied", applied, want)
		same(t, "needs a restart", restart, []string(nil))
	}
	ann := s.user("ann")
	pings := func(n int) {
		t.Helper()
		for range n {
			ann.lives()
		}
	}
	pings(3)
	limited(t, ann.fails(`{"type":"ping"}`, "rate_limited"), "the user sends more frames than 3/h, over all connections")
	reload(skein.Rates{User: "3/h"}) // the same once more changes nothing
	ann.fails(`{"type":"ping"}`, "rate_limited")
	reload(skein.Rates{User: "5/h burst 6"}, "rates")
	pings(6)
	limited(t, ann.fails(`{"type":"ping"}`, "rate_limited"), "the user sends more frames than 5/h burst 6, over all connections")
	reload(skein.Rates{User: "1/h", DryRun: true}, "rates")
	pings(5)
	same(t, "in a dry run", s.exceeded(false), [3]float64{4, 0, 0})
	reload(skein.Rates{User: "none", Frames: []string{"ping 2/h"}, Verbs: []string{"info 1/h"}}, "rates")
	pings(2)
	limited(t, ann.fails(`{"type":"ping"}`, "rate_limited"), "more ping frames on this connection than 2/h")
	ann.do(`{"type":"sub","channel":"room:1"}`)
	for i, want := range []int{200, 429} {
		if status, out := s.api("info", `{}`); status != want {
			t.Errorf("%d: got %d %v", i, status, out)
		}
	}
	reload(skein.Rates{}, "rates")
	pings(20)
	s.api("info", `{}`)
	same(t, "refused in all", s.exceeded(true), [3]float64{3, 1, 1})
}

// A mistake names the place, wherever the configuration comes from.
func TestMistakesInRatesAreToldWithTheirPlace(t *testing.T) {
	good := skein.Rates{Frames: []string{"ping 2/h"}}
	s := start(t, rated(good))
	ann := s.user("ann")
	ann.lives()
	for _, tt := range []struct {
		yaml  string
		at    string // where it is in that file
		rates skein.Rates
		path  string
		says  string
	}{
		{`{user: "20"}`, "1:15", skein.Rates{User: "20"}, "rates.user", `"20" is not a rate such as "20/s", "600/m" or "20/s burst 40"`},
		{`{user: 20/s burst}`, "1:15", skein.Rates{User: "20/s burst"}, "rates.user", `"20/s burst" is not a rate such as "20/s", "600/m" or "20/s burst 40"`},
		{`{user: 0/s}`, "1:15", skein.Rates{User: "0/s"}, "rates.user", `"0/s": "0" is not a number above zero; for no limit write "none"`},
		{`{user: 20/d}`, "1:15", skein.Rates{User: "20/d"}, "rates.user", `"20/d": "d" is not one of s, m, h (second, minute, hour)`},
		{`{user: 0.5/h}`, "1:15", skein.Rates{User: "0.5/h"}, "rates.user", `"0.5/h": 0.0001388888888888889 a second is not between one an hour and 1000000 a second`},
		{`{frames: [pub 20/s, ping]}`, "1:28", skein.Rates{Frames: []string{"pub 20/s", "ping"}}, "rates.frames[1]", `"ping" is not a name and a rate, such as "pub 20/s", each name once`},
		{`{frames: [pub 20/s, pub 30/s]}`, "1:28", skein.Rates{Frames: []string{"pub 20/s", "pub 30/s"}}, "rates.frames[1]", `"pub 30/s" is not a name and a rate, such as "pub 20/s", each name once`},
		{`{verbs: [publish 20/s burst 0]}`, "1:17", skein.Rates{Verbs: []string{"publish 20/s burst 0"}}, "rates.verbs[0]", `"20/s burst 0": the burst "0" is not a whole number above zero`},
		{`{verbs: [publish]}`, "1:17", skein.Rates{Verbs: []string{"publish"}}, "rates.verbs[0]", `"publish" is not a name and a rate, such as "publish 20/s", each name once`},
	} {
		cfg := rated(tt.rates)
		cfg.Listen = "127.0.0.1:0"
		want := tt.path + ": " + tt.says
		_, err := skein.New(cfg)
		var wrong *skein.ConfigError
		if !errors.As(err, &wrong) || wrong.Path != tt.path || err.Error() != want {
			t.Errorf("%s: a new server says %v, want %s", tt.yaml, err, want)
		}
		if applied, restart, err := s.Reload(cfg); err == nil || err.Error() != want || applied != nil || restart != nil {
			t.Errorf("%s: a reload says %v, %v, %v, want %s", tt.yaml, applied, restart, err, want)
		}
		file := filepath.Join(t.TempDir(), "skein.yaml")
		if err := os.WriteFile(file, []byte("rates: "+tt.yaml+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(config.Options{File: file}); err == nil || !strings.Contains(err.Error(), file+":"+tt.at+": "+want) {
			t.Errorf("%s: the file says %v, want %s: %s", tt.yaml, err, tt.at, want)
		}
	}
	// After all of them the rates are those that were good, and what was counted counts.
	ann.lives()
	limited(t, ann.fails(`{"type":"ping"}`, "rate_limited"), "more ping frames on this connection than 2/h")
}

// What no frame type and no verb is called is found when the server starts, and
// told with its place like every other mistake.
func TestRatesOfWhatThereIsNotAreToldWithTheirPlace(t *testing.T) {
	for path, r := range map[string]skein.Rates{
		"rates.frames[1]": {Frames: []string{"pub 1/s", "pubb 1/s"}},
		"rates.verbs[1]":  {Verbs: []string{"publish 1/s", "publsh 1/s"}},
	} {
		_, err := skein.New(rated(r))
		var wrong *skein.ConfigError
		if !errors.As(err, &wrong) || wrong.Path != path {
			t.Errorf("got %v, want an error of the place %s", err, path)
		}
	}
}

// After an error of Reload nothing has changed.
func TestAReloadThatFailsByItsRatesChangesNothing(t *testing.T) {
	s := start(t, strict())
	cfg := strict()
	cfg.Listen = "127.0.0.1:0"
	cfg.Rates.Verbs = []string{"publsh 1/s"}
	cfg.Auth.JWT.HMACSecret = strings.Repeat("fresh ", 10)
	if _, _, err := s.Reload(cfg); err == nil {
		t.Fatal("a verb that there is not has a rate")
	}
	c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
	if f, err := c.read(); err != nil || f["type"] != "welcome" {
		t.Errorf("a token of the old secret, which is still in force, is answered by %v, %v", f, err)
	}
	if f, err := s.dial("token=" + sign(t, cfg.Auth.JWT.HMACSecret, auth.Identity{User: "ann"}, "shop", "live")).read(); err != nil || f["type"] == "welcome" {
		t.Errorf("a token of the new secret, which was refused, is answered by %v, %v", f, err)
	}
}
