package skein_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// scoreParams and scoreResult are those of a verb of an application.
type scoreParams struct {
	Player string `json:"player"`
	Points int    `json:"points,omitempty" jsonschema:"how many to add"`
}

type scoreResult struct {
	Points int `json:"points"`
}

// scores is an application with a verb of its own: it adds points, and tells
// everybody in room:scores.
func scores(calls *list[scoreParams]) func(*skein.Server) {
	return func(s *skein.Server) {
		skein.HandleVerb(s, "app.score", "Adds points to a player's.", func(ctx context.Context, p scoreParams) (scoreResult, error) {
			calls.add(p)
			switch p.Player {
			case "":
				return scoreResult{}, skein.NewError("bad_request", "player: is missing")
			case "nobody":
				return scoreResult{}, skein.NewError("not_found", "there is no such player")
			case "broken":
				return scoreResult{}, errors.New("the disk is full of secrets")
			case "panic":
				panic("on purpose")
			}
			data, err := json.Marshal(p)
			if err == nil {
				_, err = s.Publish(ctx, skein.PublishParams{To: skein.Targets{{Channel: "room:scores"}}, Event: "scored", Data: data})
			}
			return scoreResult{Points: 100 + p.Points}, err
		})
		skein.HandleVerb(s, "app.nothing", "Does nothing.", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	}
}

func scoring(t testing.TB) skein.Config {
	cfg := hushed()
	cfg.Data = t.TempDir()
	return cfg
}

func TestAnApplicationsVerbIsCalledOverHTTP(t *testing.T) {
	calls := &list[scoreParams]{}
	log := &logbook{}
	cfg := scoring(t)
	cfg.Logger = log.logger()
	s := startWith(t, cfg, scores(calls))
	watcher := s.watching("room:scores")
	for _, tt := range []struct {
		verb, params string
		status       int
		want         map[string]any // members of the answer
		asked        bool
	}{
		{"app.score", `{"player":"ann","points":5}`, 200, map[string]any{"points": 105.0}, true},
		{"app.nothing", `{}`, 200, map[string]any{}, false},
		{"app.score", `{}`, 400, map[string]any{"code": "bad_request", "detail": "player: is missing"}, true},
		{"app.score", `{"player":"nobody"}`, 404, map[string]any{"code": "not_found", "detail": "there is no such player"}, true},
		{"app.score", `{"player":"broken"}`, 500, map[string]any{"code": "internal", "detail": "internal error"}, true},
		{"app.score", `{"player":"panic"}`, 500, map[string]any{"code": "internal", "detail": "internal error"}, true},
		{"app.score", `{"player":5}`, 400, map[string]any{"code": "bad_request", "field": "player", "detail": "player: must be a string, not a number"}, false},
		{"app.score", `{"player":"ann","point":5}`, 400, map[string]any{"code": "bad_request", "field": "point", "detail": "point: is not a field of this verb"}, false},
		{"app.score", `[]`, 400, map[string]any{"code": "bad_request"}, false},
		{"app.scores", `{}`, 404, map[string]any{"code": "not_found"}, false},
		{"app.nothing", `{"x":1}`, 400, map[string]any{"code": "bad_request", "field": "x"}, false},
	} {
		status, out := s.api(tt.verb, tt.params)
		for name, want := range tt.want {
			same(t, tt.verb+" "+tt.params+": "+name, out[name], want)
		}
		if status != tt.status || strings.Contains(fmt.Sprint(out), "secrets") {
			t.Errorf("%s %s: got %d %v", tt.verb, tt.params, status, out)
		}
		if asked := len(calls.take()); asked != map[bool]int{true: 1}[tt.asked] {
			t.Errorf("%s %s: the function was called %d times", tt.verb, tt.params, asked)
		}
	}
	if m := watcher.expect("msg"); m["event"] != "scored" || m["data"].(map[string]any)["player"] != "ann" {
		t.Errorf("got %v", m)
	}
	watcher.lives() // who was refused scored nothing
	for _, text := range []string{"on purpose", "the disk is full of secrets"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log does not tell %q", text)
		}
	}
	// In a batch, and by Go, it is a verb like any other.
	_, out := s.api("batch", `{"commands":[{"verb":"app.score","params":{"player":"bob","points":1}},{"verb":"app.score","params":{}},{"verb":"app.nothing","params":{}}]}`)
	results := out["results"].([]any)
	same(t, "in a batch", []any{results[0], results[1].(map[string]any)["error"].(map[string]any)["code"], results[2]},
		[]any{map[string]any{"ok": map[string]any{"points": 101.0}}, "bad_request", map[string]any{"ok": map[string]any{}}})
	var r scoreResult
	if err := s.Call(context.Background(), "app.score", scoreParams{Player: "carl", Points: 2}, &r); err != nil || r.Points != 102 {
		t.Errorf("got %v, %v", r, err)
	}
	if err := s.Call(context.Background(), "app.score", scoreParams{Player: "nobody"}, &r); !hasCode(err, "not_found") {
		t.Errorf("got %v", err)
	}
	for _, player := range []string{"bob", "carl"} {
		same(t, "scored", watcher.expect("msg")["data"].(map[string]any)["player"], any(player))
	}
}

// It needs a scope, as other verbs do, and is in the description of the API.
func TestAnApplicationsVerbNeedsAScopeAndIsDescribed(t *testing.T) {
	calls := &list[scoreParams]{}
	cfg, keys := keyed(t, "app.score", "app.*", "*", "publish")
	s := startWith(t, cfg, scores(calls))
	for name, want := range map[string][2]int{"app.score": {200, 403}, "app.*": {200, 200}, "*": {200, 200}, "publish": {403, 403}} {
		for i, verb := range []string{"app.score", "app.nothing"} {
			body := []string{`{"player":"nobody"}`, `{}`}[i]
			status, _, out := s.post(keys[name], verb, body)
			if want := want[i]; want == 403 && (status != 403 || out["code"] != "denied") || want == 200 && status != map[string]int{"app.score": 404, "app.nothing": 200}[verb] {
				t.Errorf("%s with the scope %s: got %d %v", verb, name, status, out)
			}
		}
	}
	same(t, "calls", len(calls.take()), 3)
	if status, _, out := s.post("none", "app.nothing", `{}`); status != 401 {
		t.Errorf("got %d %v", status, out)
	}
	dev := startWith(t, scoring(t), scores(calls))
	same(t, "params", described(t, dev)["app.score"], []string{"player", "points"})
	_, _, text := dev.request("GET", "/api/v1/openapi.json", "", "Authorization: Bearer dev")
	for _, part := range []string{"Adds points to a player's.", "how many to add"} {
		if !strings.Contains(text, part) {
			t.Errorf("the description does not say %q", part)
		}
	}
}

func TestTheNameOfAnApplicationsVerb(t *testing.T) {
	s := startWith(t, scoring(t), scores(&list[scoreParams]{}))
	for _, name := range []string{"score", "publish", "app.", "app", "application.score", "app.score"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is the name of a verb", name)
				}
			}()
			skein.HandleVerb(s.Server, name, "", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
		}()
	}
}

// A schedule runs it: at its times, when it is told to, and with its result.
func TestAScheduleRunsAnApplicationsVerb(t *testing.T) {
	calls := &list[scoreParams]{}
	s := startWith(t, scoring(t), scores(calls))
	watcher := s.watching("room:scores")
	for _, tt := range []struct{ params, message string }{
		{`{"name":"x","every":"1h","verb":"app.scores"}`, "verb: "},
		{`{"name":"x","every":"1h","verb":"app.score","params":{"player":5}}`, "params.player: "},
		{`{"name":"x","every":"1h","verb":"app.score","params":{"point":5}}`, "params.point: "},
	} {
		if status, out := s.api("schedules.put", tt.params); status < 400 || !strings.HasPrefix(fmt.Sprint(out["detail"]), tt.message) {
			t.Errorf("%s: got %d %v", tt.params, status, out)
		}
	}
	s.verb("schedules.put", `{"name":"score","every":"100ms","count":3,"verb":"app.score","params":{"player":"ann","points":7}}`)
	for range 3 {
		m := watcher.expect("msg")
		same(t, "what it does", []any{m["event"], m["data"]}, []any{"scored", map[string]any{"player": "ann", "points": 7.0}})
	}
	var schedule map[string]any
	eventually(t, "it is done", func() bool {
		schedule = s.verb("schedules.get", `{"name":"score"}`)
		return schedule["state"] == "done" && schedule["runs"] == 3.0 // it is done when the last run has begun
	})
	last := schedule["last"].(map[string]any)
	same(t, "how it went", []any{schedule["failures"], last["ok"], last["result"]}, []any{0.0, true, map[string]any{"points": 107.0}})
	same(t, "calls", calls.take(), []scoreParams{{"ann", 7}, {"ann", 7}, {"ann", 7}})

	// Run by hand it gives the result, and its error.
	run := s.verb("schedules.run", `{"name":"score"}`)
	same(t, "by hand", run["result"], any(map[string]any{"points": 107.0}))
	watcher.expect("msg")
	s.verb("schedules.put", `{"name":"never","every":"1h","verb":"app.score","params":{"player":"nobody"}}`)
	if status, out := s.api("schedules.run", `{"name":"never"}`); status != 404 || out["detail"] != "there is no such player" {
		t.Errorf("got %d %v", status, out)
	}
	// A run that goes wrong is noted, and the schedule goes on.
	s.verb("schedules.put", `{"name":"bad","every":"100ms","count":4,"verb":"app.score","params":{"player":"panic"}}`)
	eventually(t, "the bad one is done", func() bool {
		schedule = s.verb("schedules.get", `{"name":"bad"}`)
		return schedule["state"] == "done" && schedule["failures"] == 4.0
	})
	wrong, _ := schedule["last"].(map[string]any)["error"].(map[string]any)
	same(t, "how it went", wrong, map[string]any{"code": "internal", "message": "internal error"})
	watcher.lives()
}

// Only while somebody is there, which is what tickers need.
func TestAScheduleRunsAnApplicationsVerbWhileSomebodyIsThere(t *testing.T) {
	calls := &list[scoreParams]{}
	s := startWith(t, scoring(t), scores(calls))
	s.verb("schedules.put", `{"name":"score","every":"100ms","while_occupied":"room:scores","verb":"app.score","params":{"player":"ann"}}`)
	for range 2 {
		watcher := s.watching("room:scores")
		watcher.expect("msg")
		watcher.expect("msg")
		watcher.send(`{"type":"unsub","channel":"room:scores"}`)
		_ = watcher.ws.CloseNow()
		eventually(t, "nobody is there", func() bool { return s.stat("channels") == 0 })
		skipped := func() float64 {
			n, _ := s.verb("schedules.get", `{"name":"score"}`)["skipped"].(map[string]any)["vacant"].(float64)
			return n
		}
		before := skipped()
		eventually(t, "one more time has passed", func() bool { return skipped() > before })
		calls.take()
		before = skipped()
		eventually(t, "three more times have passed", func() bool { return skipped() >= before+3 })
		same(t, "calls", len(calls.take()), 0)
	}
	if _, err := s.Schedule(context.Background(), skein.ScheduleNameParams{Name: "score"}); err != nil {
		t.Error(err)
	}
}

// A verb that a schedule has begun is waited for when the server ends.
func TestCloseWaitsForAnApplicationsVerb(t *testing.T) {
	begun, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := startWith(t, scoring(t), func(s *skein.Server) {
		skein.HandleVerb(s, "app.wait", "Waits.", func(context.Context, struct{}) (struct{}, error) {
			close(begun)
			defer close(done)
			<-release
			return struct{}{}, nil
		})
	})
	s.verb("schedules.put", `{"name":"wait","every":"100ms","count":1,"verb":"app.wait"}`)
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	eventually(t, "the server ends", func() bool {
		status, _, _ := s.request("GET", "/readyz", "")
		return status == 503
	})
	select {
	case err := <-closed:
		t.Errorf("it is not waited for: %v", err)
	default:
	}
	close(release)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	select {
	case <-done:
	default:
		t.Error("it goes on")
	}
}

// An application's verb may have a rate like any other.
func TestAnApplicationsVerbMayHaveARate(t *testing.T) {
	cfg := scoring(t)
	cfg.Rates.Verbs = []string{"app.nothing 2/h"}
	s := startWith(t, cfg, scores(&list[scoreParams]{}))
	for i, want := range []int{200, 200, 429} {
		if status, out := s.api("app.nothing", `{}`); status != want {
			t.Errorf("call %d: got %d %v", i, status, out)
		}
	}
}

// A schedule of an application's verb that is due when the server starts again
// waits until the application has registered the verb.
func TestAScheduleWaitsForTheApplicationsVerb(t *testing.T) {
	cfg := scoring(t)
	calls := &list[scoreParams]{}
	ctx := context.Background()
	s := startWith(t, cfg, scores(calls))
	if _, err := s.PutSchedule(ctx, skein.SchedulePutParams{Name: "score", Every: "100ms", Verb: "app.score", Params: []byte(`{"player":"ann"}`)}); err != nil {
		t.Fatal(err)
	}
	calls.wait(t, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := newOnFreePort(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// An application takes its time before it registers: it reads its own state, say.
	planned := time.Now().Add(500 * time.Millisecond)
	eventually(t, "some planned times have passed", func() bool { return time.Now().After(planned) })
	scores(calls)(again)
	s = serve(t, again)
	calls.wait(t, 1)
	schedule, err := s.Schedule(ctx, skein.ScheduleNameParams{Name: "score"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "failures", int(schedule.Failures), 0)
	for _, run := range schedule.Recent {
		if !run.OK {
			t.Errorf("a run has failed: %+v", run.Error)
		}
	}
}
