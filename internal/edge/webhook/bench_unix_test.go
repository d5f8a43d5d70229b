//go:build unix

package webhook

import (
	"bytes"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// spent is the processor time of this process.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAsk tells what a question costs besides the round trip that any HTTP
// client would make: building, signing, bounding, checking. Both sides are in
// this process, so the difference of the two figures is what counts.
func BenchmarkAsk(b *testing.B) {
	fields := []byte(`,"connection":{"id":"3q2-7wAAAAAAAAAAAAAAAA","user":"42","device":"ipad","transport":"websocket","address":"192.0.2.7"},"channel":"room:7","message":{"event":"said","data":{"text":"hello, room"}}`)
	minimal := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = io.WriteString(w, `{"data":{"text":"HELLO, ROOM"}}`)
	}
	b.Run("bare", func(b *testing.B) {
		s := backend(b, minimal)
		travel := connections(64)
		defer travel.CloseIdleConnections()
		client := &http.Client{Transport: travel}
		body := envelope(Message, "01ARYZ6S410000000000000000", time.Now(), fields)
		b.ReportAllocs()
		before := spent(b)
		for b.Loop() {
			res, err := client.Post(s.URL, "application/json", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		b.ReportMetric(float64(spent(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
	})
	b.Run("ask", func(b *testing.B) {
		c := start(b, backend(b, minimal).URL, nil)
		b.ReportAllocs()
		before := spent(b)
		for b.Loop() {
			if _, err := c.Ask(b.Context(), Message, fields); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(spent(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
	})
}

func BenchmarkTell(b *testing.B) {
	c := start(b, backend(b, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }).URL, func(cfg *Config) { cfg.Queue = 1 << 20 })
	fields := []byte(`,"user":"42"`)
	b.ReportAllocs()
	for b.Loop() {
		c.Tell(Online, "42", fields)
	}
}
