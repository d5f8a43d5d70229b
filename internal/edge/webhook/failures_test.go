package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The last failures are remembered, the newest first, and none of them says what was sent, what
// came back, or where exactly it went.
func TestTheLastFailuresAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn atomic.Int64
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			answers(400+int(turn.Add(1)), nil, "a secret text of the backend")(w, r)
		}, func(cfg *Config) {
			cfg.Retries = -1
			cfg.URL = strings.Replace(cfg.URL, "://", "://ann:hidden@", 1) + "/in?token=hidden"
		})
		defer end()
		if h := b.client.Health(); h.State != StateIdle || h.Failures != nil {
			t.Errorf("before: %+v", h)
		}
		if name := b.client.Name(); strings.Contains(name, "hidden") || strings.Contains(name, "ann") || !strings.HasSuffix(name, "/in") {
			t.Errorf("it is called %s", name)
		}
		var times []time.Time
		for range 27 { // 401 to 427; none of them opens the circuit
			fails(t, b.client, Call)
			times = append(times, time.Now())
			time.Sleep(time.Second)
		}
		h := b.client.Health()
		if len(h.Failures) != maxFailures || b.client.metrics.Failed.Load() != 27 {
			t.Fatalf("%d are remembered, %d counted", len(h.Failures), b.client.metrics.Failed.Load())
		}
		for i, f := range h.Failures {
			status := 427 - i
			if f.Status != status || f.Event != Call || !f.Time.Equal(times[26-i]) || !strings.HasSuffix(f.Text, fmt.Sprintf(": status %d", status)) || strings.Contains(f.Text, "secret") {
				t.Errorf("the failure %d is %+v", i, f)
			}
		}
	})
}

// Somebody who is not there has an address, but no words.
func TestAFailureToConnectNamesTheAddress(t *testing.T) {
	e := &Error{Kind: KindGarbage, Status: 200, Err: fmt.Errorf("it begins with %q", "secret")}
	if got := e.plain(); strings.Contains(got, "secret") || !strings.Contains(got, "status 200") {
		t.Errorf("got %q", got)
	}
	_, err := http.DefaultTransport.(*http.Transport).DialContext(t.Context(), "tcp", "127.0.0.1:1")
	if err == nil {
		t.Fatal("somebody is there")
	}
	e = &Error{Kind: KindUnreachable, Err: fmt.Errorf("Post \"http://ann:hidden@x\": %w", err)}
	if got := e.plain(); strings.Contains(got, "hidden") || !strings.Contains(got, "127.0.0.1:1") || !strings.Contains(got, "could not be reached") {
		t.Errorf("got %q", got)
	}
}
