package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/test/pgtest"
)

// auditLog gives what the verb audit gives, all pages of it, as "who verb target outcome".
func (s *testServer) auditLog(params skein.AuditParams) (log []string) {
	s.t.Helper()
	for {
		page, err := s.Audit(context.Background(), params)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, l := range page.Lines {
			log = append(log, strings.Join(strings.Fields(fmt.Sprintln(l.Who, l.Verb, l.Target, l.Outcome)), " "))
		}
		if params.After = page.Next; params.After == "" {
			return log
		}
	}
}

// Who changes something by an API key is written down, with what became of it; traffic and
// what only reads is not. Servers that share a store share the log.
func TestTheAuditLogOfAPIKeys(t *testing.T) {
	onStores(t, func(t *testing.T, config func() skein.Config) {
		cfg := config()
		keys := map[string]string{}
		for name, scopes := range map[string][]string{"ops": {"*"}, "backend": {"publish", "users.*", "batch"}} {
			keys[name] = auth.NewKey()
			cfg.API.Keys = append(cfg.API.Keys, skein.APIKey{Name: name, Hash: auth.FormatHash(auth.HashKey(keys[name])), Scopes: scopes})
		}
		var ran sync.Map
		s := startWith(t, cfg, func(s *skein.Server) {
			skein.HandleVerb(s, "app.refund", "Gives money back.", func(_ context.Context, p struct {
				User string `json:"user"`
				Card struct {
					AccessToken string `json:"access_token"`
				} `json:"card"`
			}) (struct{}, error) {
				if ran.Store(p.User, true); p.User == "eve" {
					return struct{}{}, skein.NewError("conflict", "it was given back before")
				}
				return struct{}{}, nil
			})
		})
		for _, tt := range []struct {
			key, verb, params string
			status            int
		}{
			{"ops", "app.refund", `{"user":"ann","card":{"access_token":"tk_hunter2"}}`, 200},
			{"ops", "app.refund", `{"user":"eve"}`, 409},
			{"backend", "publish", `{"to":{"channel":"room:1"},"data":1}`, 200},
			{"backend", "users.put", `{"id":"ann","attributes":{}}`, 200},
			{"backend", "users.get", `{"id":"ann"}`, 200},
			{"backend", "users.delete", `{"ids":["ann"]}`, 400},
			{"backend", "users.block", `{"user":"bob"}`, 200},
			{"backend", "categories.put", `{"name":"x"}`, 403},
			{"ops", "no.verb", `{}`, 404},
			{"ops", "batch", `{"commands":[{"verb":"users.unblock","params":{"user":"bob"}},{"verb":"info"},{"verb":"push","params":{"to":{"users":["ann"]},"data":1}}]}`, 200},
		} {
			if status, _, out := s.post(keys[tt.key], tt.verb, tt.params); status != tt.status {
				t.Errorf("%s: %d %v", tt.verb, status, out)
			}
		}
		// The program itself is nobody who has to answer for it.
		if _, err := s.BlockUser(context.Background(), skein.BlockParams{User: "carol"}); err != nil {
			t.Error(err)
		}
		all := []string{"ops users.unblock bob ok", "backend users.block bob ok", "backend users.delete bad_request", "ops app.refund eve conflict", "ops app.refund ann ok"}
		same(t, "the log", all, s.auditLog(skein.AuditParams{}))
		same(t, "in pages", all, s.auditLog(skein.AuditParams{Limit: 2}))
		same(t, "of one key", all[1:3], s.auditLog(skein.AuditParams{Who: "backend"}))
		same(t, "of some verbs", all[:3], s.auditLog(skein.AuditParams{Verb: "users.*"}))
		same(t, "that failed", all[2:4], s.auditLog(skein.AuditParams{Outcome: "failed", Limit: 1}))
		same(t, "with a code", all[3:4], s.auditLog(skein.AuditParams{Outcome: "conflict"}))
		same(t, "that are open", []string(nil), s.auditLog(skein.AuditParams{Outcome: "open"}))

		page, err := s.Audit(context.Background(), skein.AuditParams{Verb: "app.refund"})
		if err != nil || len(page.Lines) != 2 {
			t.Fatalf("got %+v, %v", page, err)
		}
		failed, done := page.Lines[0], page.Lines[1]
		if failed.Error != "it was given back before" || failed.By != "key" || failed.Address != "127.0.0.1" || failed.Role != "" {
			t.Errorf("got %+v", failed)
		}
		if time.Since(time.UnixMilli(done.Time)).Abs() > time.Minute || string(done.Params) != `{"user":"ann","card":{"access_token":"…"}}` {
			t.Errorf("got %+v with %s", done, done.Params)
		}
		same(t, "since then", all[:4], s.auditLog(skein.AuditParams{From: done.Time, To: time.Now().UnixMilli()})[:4])
		if n := s.metric("skein_audit_lines_total"); n != 5 {
			t.Errorf("%v lines are counted", n)
		}
		if n := s.metric("skein_audit_failures_total"); n != 0 {
			t.Errorf("%v failures are counted", n)
		}
		if cfg.Database != "" {
			other := start(t, cfg)
			same(t, "on another server", all, other.auditLog(skein.AuditParams{}))
			if status, _, out := other.post(keys["ops"], "users.block", `{"user":"dora"}`); status != 200 {
				t.Errorf("%d %v", status, out)
			}
			// The outcome of what another server did comes a moment later.
			eventually(t, "it has ended", func() bool { return len(s.auditLog(skein.AuditParams{Outcome: "open"})) == 0 })
			same(t, "what another server did", append([]string{"ops users.block dora ok"}, all...), s.auditLog(skein.AuditParams{}))
		}
	})
}

// Lines that are older than they are kept go; when they are kept for ever they stay.
func TestTheAuditLogForgets(t *testing.T) {
	onStores(t, func(t *testing.T, config func() skein.Config) {
		cfg := config()
		run := func(keep time.Duration, do func(s *testServer)) {
			t.Helper()
			cfg.Audit.Keep = new(skein.Duration(keep))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			server, err := newOnFreePort(cfg)
			if err != nil {
				t.Fatal(err)
			}
			l, err := server.Listen()
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() { ended <- server.Serve(ctx, l) }()
			do(&testServer{server, t, l.Addr().String()})
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		run(0, func(s *testServer) {
			for i := range 20 {
				if status, out := s.api("users.block", fmt.Sprintf(`{"user":"%d"}`, i)); status != 200 {
					t.Errorf("%d %v", status, out)
				}
			}
		})
		run(time.Hour, func(s *testServer) {
			if n := len(s.auditLog(skein.AuditParams{})); n != 20 {
				t.Errorf("%d of 20 lines are there", n)
			}
		})
		run(time.Millisecond, func(s *testServer) {
			eventually(t, "they are gone", func() bool { return len(s.auditLog(skein.AuditParams{})) == 0 })
			eventually(t, "they are counted", func() bool { return s.metric("skein_audit_trimmed_total") == 20 })
		})
	})
}

// A database that is away takes no line, so what would have one does not run; traffic does
// not need the log.
func TestWithoutTheAuditLogNothingIsChanged(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t)
	cfg := open()
	cfg.Database = pg.Database(t)
	runs := make(chan string, 100)
	s := startWith(t, cfg, func(s *skein.Server) {
		skein.HandleVerb(s, "app.do", "Does it.", func(_ context.Context, p struct {
			Name string `json:"name"`
		}) (struct{}, error) {
			runs <- p.Name
			return struct{}{}, nil
		})
	})
	if status, out := s.api("app.do", `{"name":"before"}`); status != 200 {
		t.Fatalf("%d %v", status, out)
	}
	pg.Kill()
	for range 3 {
		if status, out := s.api("app.do", `{"name":"meanwhile"}`); status != 503 || out["code"] != "unavailable" || out["retry_after"] == nil {
			t.Errorf("%d %v", status, out)
		}
	}
	if status, out := s.api("publish", `{"to":{"channel":"event:1"},"data":1}`); status == 503 {
		t.Errorf("traffic: %d %v", status, out)
	}
	if n := s.metric("skein_audit_failures_total"); n < 3 {
		t.Errorf("%v failures are counted", n)
	}
	if status, out := s.api("audit", `{}`); status != 503 {
		t.Errorf("%d %v", status, out)
	}
	pg.Restart(t)
	eventually(t, "it goes on", func() bool {
		status, _ := s.api("app.do", `{"name":"after"}`)
		return status == 200
	})
	close(runs)
	var names []string
	for name := range runs {
		names = append(names, name)
	}
	same(t, "what has run", []string{"before", "after"}, names)
	log := s.auditLog(skein.AuditParams{Outcome: "ok"})
	same(t, "the log", []string{"dev app.do after ok", "dev app.do before ok"}, log)
	// A line that was stored all the same does not say that the verb has run.
	for _, l := range s.auditLog(skein.AuditParams{}) {
		if !slices.Contains(log, l) && !strings.HasSuffix(l, " unavailable") {
			t.Errorf("there is %q", l)
		}
	}
}

// A server that keeps nothing has no audit log, and works.
func TestAServerWithoutAStoreHasNoAuditLog(t *testing.T) {
	cfg := open()
	cfg.Data = "off"
	cfg.Namespaces = map[string]skein.Namespace{"event": {Subscribe: "anyone", Publish: "anyone"}}
	s := start(t, cfg)
	if status, out := s.api("disconnect", `{"user":"nobody"}`); status != 200 {
		t.Errorf("%d %v", status, out)
	}
	if status, out := s.api("audit", `{}`); status != 503 || !strings.Contains(out["detail"].(string), "needs a store") {
		t.Errorf("%d %v", status, out)
	}
}

// While a store is there to be had, a verb of an API key whose client has gone still has
// an outcome.
func TestAClientThatGivesUpLeavesAnOutcome(t *testing.T) {
	cfg := logConfig(t.TempDir())
	begun, wait := make(chan struct{}), make(chan struct{})
	s := startWith(t, cfg, func(s *skein.Server) {
		skein.HandleVerb(s, "app.slow", "Takes its time.", func(ctx context.Context, _ struct{}) (struct{}, error) {
			close(begun)
			<-ctx.Done()
			close(wait)
			return struct{}{}, skein.NewError("unavailable", "nobody waits any more")
		})
	})
	c := s.tcp()
	if _, err := fmt.Fprintf(c, "POST /api/v1/app.slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	<-begun
	same(t, "while it runs", []string{"dev app.slow"}, s.auditLog(skein.AuditParams{Outcome: "open"}))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	<-wait
	eventually(t, "it has an outcome", func() bool { return len(s.auditLog(skein.AuditParams{Outcome: "unavailable"})) == 1 })
}

// Every line is JSON of the form that the specification has.
func TestLinesHaveTheirForm(t *testing.T) {
	s := start(t, logConfig(t.TempDir()))
	if status, out := s.api("users.block", `{"user":"ann","reason":"`+strings.Repeat("x", 5000)+`"}`); status != 400 {
		t.Fatalf("%d %v", status, out)
	}
	_, out := s.api("audit", `{}`)
	lines, _ := out["lines"].([]any)
	if len(lines) != 1 || out["next"] != nil {
		t.Fatalf("got %v", out)
	}
	line, _ := lines[0].(map[string]any)
	delete(line, "id")
	delete(line, "time")
	text, err := json.Marshal(line)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a line", `{"address":"127.0.0.1","by":"key","error":"reason: has 5000 bytes; at most 1024 are allowed","outcome":"bad_request","target":"ann","truncated":true,"verb":"users.block","who":"dev"}`, string(text))
}
