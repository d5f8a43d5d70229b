package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ratelimit"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestFramesWithinLimitsMakeNoGarbage(t *testing.T) {
	w := start(t, defaults())
	c := w.user("ann")
	frame := []byte(`{"type":"unsub","channel":"x"}`)
	w.Handle("unsub", noop)
	for name, limits := range everyLimits() {
		if err := w.SetLimits(limits); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(1000, func() { c.Receive(frame) }); n > 0 {
			t.Errorf("%s: %v allocations a frame", name, n)
		}
	}
	c.Nothing()
}

func noop(context.Context, *session.Session, *protocol.Frame) error { return nil }

func everyLimits() map[string]session.Limits {
	fast := ratelimit.Rate{PerSecond: 1e6, Burst: 1e6}
	return map[string]session.Limits{
		"none":  {},
		"user":  {User: fast},
		"frame": {Frames: map[string]ratelimit.Rate{"unsub": fast}},
		"other": {Frames: map[string]ratelimit.Rate{"ping": fast}},
	}
}

func BenchmarkFrame(b *testing.B) {
	for _, name := range []string{"none", "user", "frame", "other"} {
		b.Run(name, func(b *testing.B) {
			clock, err := link.Start(link.Config{Tick: time.Second})
			if err != nil {
				b.Fatal(err)
			}
			v, err := auth.NewVerifier(auth.Config{})
			if err != nil {
				b.Fatal(err)
			}
			h := hub.New(hub.Config{Encodings: []hub.Encoding{sessiontest.Lines{}}, Shards: 1})
			settings := defaults()
			settings.Dev = true
			srv := session.NewServer(session.Config{Hub: h, Clock: clock, Verifier: v, Settings: settings})
			defer func() {
				clock.Close()
				srv.Close()
				h.Close()
			}()
			srv.Handle("unsub", noop)
			limits := everyLimits()[name]
			limits.DryRun = true // a benchmark is faster than any limit
			if err := srv.SetLimits(limits); err != nil {
				b.Fatal(err)
			}
			c := sessiontest.Open(b, srv, session.Opening{User: "ann"})
			frame := []byte(`{"type":"unsub","channel":"x"}`)
			b.ReportAllocs()
			for b.Loop() {
				c.Receive(frame)
			}
		})
	}
}
