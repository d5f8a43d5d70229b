package metrics_test

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skein-realtime/skein/internal/metrics"
)

func TestAScrapeReadsTheCounters(t *testing.T) {
	var sent, open atomic.Int64
	m := metrics.New()
	m.Counter("sent_total", "Messages sent.", metrics.Labels{"door": "a"}, sent.Load)
	m.Counter("sent_total", "Messages sent.", metrics.Labels{"door": "b"}, func() int64 { return 7 })
	m.Gauge("open", "Open ones.", nil, open.Load)
	for round := range int64(2) {
		sent.Store(10 * round)
		open.Store(5 - round)
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		text := w.Body.String()
		want := []string{
			"# HELP skein_sent_total Messages sent.\n# TYPE skein_sent_total counter\n", "# TYPE skein_open gauge\n",
			`skein_sent_total{door="a"} ` + []string{"0", "10"}[round] + "\n", `skein_sent_total{door="b"} 7` + "\n",
			"skein_open " + []string{"5", "4"}[round] + "\n", "go_goroutines ", "process_open_fds ",
		}
		for _, line := range want {
			if !strings.Contains(text, line) {
				t.Errorf("round %d: %q is missing", round, line)
			}
		}
	}
}

func TestSetsAreApart(t *testing.T) {
	for range 2 {
		metrics.New().Gauge("same", "Twice, but not in one set.", nil, func() int64 { return 0 })
	}
	defer func() {
		if recover() == nil {
			t.Error("one set takes the same metric twice")
		}
	}()
	m := metrics.New()
	m.Gauge("same", "Once.", nil, func() int64 { return 0 })
	m.Gauge("same", "Once.", nil, func() int64 { return 0 })
}
