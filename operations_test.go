package skein_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
)

// metric is one sample of a page of metrics.
func metric(t testing.TB, page, name string) float64 {
	t.Helper()
	for line := range strings.Lines(page) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// The pages for operators need a key with their scope, except in development
// mode and from the same machine.
func TestOperationsPagesNeedTheirScope(t *testing.T) {
	cfg, keys := keyed(t, "metrics", "admin", "*", "publish")
	s := start(t, cfg)
	dev := start(t, open())
	for path, scope := range map[string]string{"/metrics": "metrics", "/debug/pprof/": "admin", "/debug/pprof/goroutine": "admin", "/debug/pprof/symbol": "admin"} {
		for name, key := range keys {
			want := 403
			if name == scope || name == "*" {
				want = 200
			}
			if status, _, body := s.request("GET", path, "", "Authorization: Bearer "+key); status != want {
				t.Errorf("%s with scope %s: %d %.100s, want %d", path, name, status, body, want)
			}
		}
		if status, h, _ := s.request("GET", path, ""); status != 401 || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s without a key: %d %s, want 401", path, status, h.Get("Content-Type"))
		}
		if status, _, _ := dev.request("GET", path, ""); status != 200 {
			t.Errorf("%s in development mode: %d, want 200", path, status)
		}
		if status, _, _ := dev.request("GET", path, "", "X-Forwarded-For: 203.0.113.9"); status == 200 {
			t.Errorf("%s in development mode through a proxy: open to the world", path)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/debug/echo": 404, "/demo/": 404, "/": 200, "/console/": 200} {
		if status, _, _ := s.request("GET", path, ""); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

// What happens is counted.
func TestMetricsCountWhatHappens(t *testing.T) {
	cfg, keys := keyed(t, "metrics", "publish")
	s := start(t, cfg)
	page := func() string {
		_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer "+keys["metrics"])
		return text
	}
	a := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
	a.expect("welcome")
	b := s.dial("token=" + token(t, auth.Identity{User: "bob"}))
	b.expect("welcome")
	b.do(`{"type":"sub","channel":"room:1"}`)
	a.fails(`{"type":"sub"}`, "bad_request")
	s.dial("token=x").goodbye("token_refused", 4002)
	s.post(keys["publish"], "publish", `{"to":{"channel":"room:1"},"data":1}`)
	b.expect("msg")
	s.post(keys["publish"], "info", `{}`)
	s.request("GET", "/ws", "")
	eventually(t, "two sockets", func() bool { return s.stat("open") == 2 })
	// A pass is counted when it ends, which is after its messages have left.
	eventually(t, "one delivery", func() bool { return s.stat("deliveries") == 1 })

	text := page()
	for name, want := range map[string]float64{
		`skein_connections`:                    2,
		`skein_users`:                          2,
		`skein_channels`:                       1,
		`skein_sockets{transport="websocket"}`: 2,
		`skein_messages_dropped_total{reason="slow_reader"}`:    0,
		`skein_published_total`:                                 1,
		`skein_deliveries_total`:                                1,
		`skein_welcomes_total`:                                  2,
		`skein_frame_errors_total`:                              1,
		`skein_handshakes_total{result="accepted"}`:             3,
		`skein_handshakes_total{result="bad_request"}`:          1,
		`skein_connections_lost_total{reason="token_refused"}`:  1,
		`skein_connections_lost_total{reason="auth_timeout"}`:   0,
		`skein_connections_lost_total{reason="heartbeat_lost"}`: 0,
		`skein_api_requests_total`:                              2,
		`skein_api_denied_total`:                                1,
		`skein_messages_received_total{transport="websocket"}`:  2,
		`skein_idempotency_keys`:                                0,
		`skein_frames_rate_limited_total`:                       0,
		`skein_connections_lost_total{reason="token_expired"}`:  0,
		`skein_connections_lost_total{reason="too_slow"}`:       0,
		`skein_handshakes_total{result="origin"}`:               0,
	} {
		if got := metric(t, text, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{`skein_bytes_sent_total{transport="websocket"}`, `skein_bytes_received_total{transport="websocket"}`, `go_goroutines`, `process_open_fds`} {
		if metric(t, text, name) == 0 {
			t.Errorf("%s is 0", name)
		}
	}
}
