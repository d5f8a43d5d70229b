package webhook

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/metrics"
)

func TestWhatIsWrongWithAConfiguration(t *testing.T) {
	good := Config{URL: "https://app.example/hooks", Secrets: []string{secret}}
	tests := []struct {
		name   string
		adjust func(*Config)
		want   string // the whole text
	}{
		{"nothing", func(*Config) {}, ""},
		{"everything at its bound", func(c *Config) {
			c.Timeout, c.Retries, c.Concurrency, c.Queue, c.BatchSize = 5*time.Minute, 10, 1, 1, 1
			c.Breaker = Breaker{1, time.Hour}
			c.Header = map[string]string{"Authorization": "Bearer x", "X-Note": "a\tb"}
		}, ""},
		{"no URL", func(c *Config) { c.URL = "" }, "hooks.url: is missing"},
		{"no scheme", func(c *Config) { c.URL = "app.example/hooks" }, "hooks.url: is not an http or https URL"},
		{"another scheme", func(c *Config) { c.URL = "ftp://user:hush@app.example" }, "hooks.url: is not an http or https URL"},
		{"no URL at all", func(c *Config) { c.URL = "http://[" }, "hooks.url: is not an http or https URL"},
		{"a fragment", func(c *Config) { c.URL += "#top" }, "hooks.url: has a fragment (#top), which no server gets to see"},
		{"no secret", func(c *Config) { c.Secrets = nil }, "hooks.secret: is missing; the backend cannot tell who asks without a signature"},
		{"a short secret", func(c *Config) { c.Secrets = []string{"hush"} }, "hooks.secret: 4 bytes are too short to sign with; at least 32 are needed"},
		{"one of them short", func(c *Config) { c.Secrets = []string{secret, ""} }, "hooks.secret[1]: 0 bytes are too short to sign with; at least 32 are needed"},
		{"one twice", func(c *Config) { c.Secrets = []string{secret, secret} }, "hooks.secret[1]: stands there twice"},
		{"an unknown event", func(c *Config) { c.Events = []string{"connect", "conect"} }, `hooks.events[1]: "conect" is not one of connect, subscribe, message, call, escalate, close, online, offline, occupied, vacated`},
		{"no time", func(c *Config) { c.Timeout = time.Millisecond }, "hooks.timeout: 1ms is not between 10ms and 5m0s"},
		{"retries", func(c *Config) { c.Retries = 11 }, "hooks.retries: 11 is not between -1 and 10"},
		{"concurrency", func(c *Config) { c.Concurrency = -1 }, "hooks.concurrency: -1 is not between 1 and 10000"},
		{"queue", func(c *Config) { c.Queue = -1 }, "hooks.queue: -1 is not between 1 and 10000000"},
		{"batch size", func(c *Config) { c.BatchSize = -1 }, "hooks.batch_size: -1 is not between 1 and 10000"},
		{"batch wait", func(c *Config) { c.BatchWait = -1 }, "hooks.batch_wait: -1ns is not between 0s and 1m0s"},
		{"age", func(c *Config) { c.MaxAge = 1 }, "hooks.max_age: 1ns is not between 1s and 168h0m0s"},
		{"failures", func(c *Config) { c.Breaker.Failures = -1 }, "hooks.breaker.failures: -1 is not between 1 and 1000000"},
		{"pause", func(c *Config) { c.Breaker.Pause = -1 }, "hooks.breaker.pause: -1ns is not between 10ms and 1h0m0s"},
		{"no header", func(c *Config) { c.Header = map[string]string{"X Note": ""} }, `hooks.header: "X Note" is not a header's name`},
		{"our header", func(c *Config) { c.Header = map[string]string{"skein-hook": ""} }, "hooks.header.skein-hook: is set by the server itself"},
		{"a fixed header", func(c *Config) { c.Header = map[string]string{"content-type": ""} }, "hooks.header.content-type: is set by the server itself"},
		{"a header that breaks the line", func(c *Config) { c.Header = map[string]string{"X": "a\r\nb"} }, "hooks.header.X: its value has control characters"},
		{"several things", func(c *Config) { c.URL, c.Retries = "", 11 }, "hooks.url: is missing\nhooks.retries: 11 is not between -1 and 10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.adjust(&cfg)
			err := cfg.Validate()
			c, newErr := New(cfg)
			if newErr == nil {
				stop(t, c)
			}
			got := ""
			if err != nil {
				got = err.Error()
				if _, ok := errors.AsType[*ConfigError](err); !ok {
					t.Errorf("%v holds no ConfigError", err)
				}
			}
			if got != tt.want || (newErr == nil) != (err == nil) {
				t.Errorf("Validate: %v\nNew: %v\nwant: %s", err, newErr, tt.want)
			}
		})
	}
}

func TestMetricsAreShown(t *testing.T) {
	set := metrics.New()
	m := NewMetrics(set)
	s := backend(t, answers(200, nil, `{"data":1}`))
	for range 2 { // as after a reload
		c := start(t, s.URL, func(cfg *Config) { cfg.Metrics = m })
		succeeds(t, c, Call, `{"data":1}`)
		c.Tell(Online, "42", nil)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	w := httptest.NewRecorder()
	set.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`skein_hooks_asked_total{event="call",outcome="answered"} 2`, `skein_hooks_asked_total{event="connect",outcome="forged"} 0`,
		`skein_hooks_told_total{event="online"} 2`, `skein_hooks_delivered_total 2`, `skein_hooks_dropped_total{reason="queue_full"} 0`,
		`skein_hooks_retries_total 0`, `skein_hooks_circuit_opened_total 0`, `skein_hooks_circuit_open 0`, `skein_hooks_queued 0`,
		`skein_hooks_requests 0`, `skein_hooks_waiting 0`, `skein_hooks_request_seconds_count 4`, `skein_hooks_batch_events_sum 2`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("%q is missing", line)
		}
	}
}

func TestHealthKnowsHowLongAnswersTake(t *testing.T) {
	c := start(t, backend(t, answers(200, nil, `{}`)).URL, nil)
	if d := cmp.Diff(Health{State: StateIdle, Since: c.health.since}, c.Health()); d != "" {
		t.Errorf("before anything happened (-want +got):\n%s", d)
	}
	for range 10 {
		succeeds(t, c, Call, `{}`)
	}
	if h := c.Health(); h.State != StateOK || h.Status != 200 || h.Latency <= 0 || h.Latency > 3*time.Second || h.UnderWay != 0 {
		t.Errorf("health is %+v", h)
	}
}

func TestEveryKindHasAWord(t *testing.T) {
	seen := map[string]bool{}
	for k := KindAnswered; int(k) < len(Kinds); k++ {
		if seen[k.String()] || k.String() == "" {
			t.Errorf("%d has the word %q", k, k)
		}
		seen[k.String()] = true
		if k != KindAnswered && said[k] == "" {
			t.Errorf("%s has no sentence", k)
		}
	}
	if len(said) != len(Kinds) || KindClosed.String() != "closed" || Kind(99).String() != "kind 99" {
		t.Errorf("%d sentences, %d words", len(said), len(Kinds))
	}
}
