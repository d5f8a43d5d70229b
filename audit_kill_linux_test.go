package skein_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// registerEndless gives the copy a verb that begins and never ends.
func registerEndless(s *skein.Server, begun func()) {
	skein.HandleVerb(s, "app.endless", "Never ends.", func(ctx context.Context, _ struct {
		Name string `json:"name"`
	}) (struct{}, error) {
		begun()
		<-ctx.Done()
		return struct{}{}, ctx.Err()
	})
}

// TestAKilledServerLeavesOpenLines kills a server while a verb runs. The line is there,
// because it was stored before the verb began, and has no outcome; what had ended before
// has one.
func TestAKilledServerLeavesOpenLines(t *testing.T) {
	onStores(t, func(t *testing.T, config func() skein.Config) {
		cfg := config()
		place := cfg.Database
		if place == "" {
			place = cfg.Data
		}
		for round, want := range [][]string{
			{"dev app.endless one", "dev users.block ann ok"},
			{"dev app.endless two", "dev users.block ann ok", "dev app.endless one", "dev users.block ann ok"},
		} {
			c := startChild(t, "audit "+place)
			s := &testServer{t: t, addr: c.addr}
			if status, out := s.api("users.block", `{"user":"ann"}`); status != 200 {
				t.Fatalf("%d %v", status, out)
			}
			// Its outcome is written a moment later; who asks for the log waits for it.
			if _, out := s.api("audit", `{"outcome":"ok","limit":1}`); len(out["lines"].([]any)) != 1 {
				t.Fatalf("got %v", out)
			}
			ended := make(chan error, 1)
			go func() {
				req, err := http.NewRequest(http.MethodPost, "http://"+c.addr+"/api/v1/app.endless", strings.NewReader(`{"name":"`+[]string{"one", "two"}[round]+`"}`))
				if err == nil {
					req.Header.Set("Authorization", "Bearer dev")
					req.Header.Set("Content-Type", "application/json")
					client := &http.Client{Timeout: time.Minute}
					var res *http.Response
					if res, err = client.Do(req); err == nil {
						_ = res.Body.Close()
					}
				}
				ended <- err
			}()
			if line, err := c.out.ReadString('\n'); err != nil || line != "begun\n" {
				t.Fatalf("got %q, %v", line, err)
			}
			c.died(t)
			if err := <-ended; err == nil {
				t.Error("the verb was answered")
			}
			after := start(t, cfg)
			same(t, "the log", want, after.auditLog(skein.AuditParams{}))
			var open []string
			for _, l := range want {
				if strings.Contains(l, "endless") {
					open = append(open, l)
				}
			}
			same(t, "what is open", open, after.auditLog(skein.AuditParams{Outcome: "open"}))
			if err := after.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
