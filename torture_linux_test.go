package skein_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/ws"
)

// restless connects, does this and that, and leaves in some rude way.
func restless(addr string, r *rand.Rand) error {
	m, err := join(addr, fmt.Sprintf("user=r%d", r.IntN(20)))
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	var b []byte
	for range r.IntN(12) {
		channel := fmt.Sprintf("room:%d", r.IntN(6))
		frame := []string{
			`{"type":"sub","channel":%q}`,
			`{"type":"sub","channel":%q,"presence":true}`,
			`{"type":"unsub","channel":%q}`,
			`{"type":"pub","channel":%q,"event":"noise","data":1}`,
			`{"type":"notice","channel":%q,"event":"noise"}`,
			`{"type":"presence","channel":%q,"id":1}`,
			`{"type":"nonsense","channel":%q}`,
		}[r.IntN(7)]
		b = ws.AppendMasked(b, ws.Text, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, frame, channel))
		if r.IntN(3) == 0 {
			if _, err := m.Write(b); err != nil {
				return nil // the server may have given it up for its nonsense
			}
			b = b[:0]
		}
	}
	b = ws.AppendMasked(b, ws.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping"}`))
	switch r.IntN(6) {
	case 0:
		_, _ = m.Write(b)
		return m.await("pong")
	case 1:
		_, _ = m.Write(b[:len(b)-3]) // in the middle of a frame
		m.vanish()
	case 2:
		_, _ = m.Write(b)
		m.vanish()
	case 3:
		_, _ = m.Write(ws.AppendMaskedClose(b, [4]byte{1, 2, 3, 4}, 1000, ""))
	case 4:
		_, _ = m.Write([]byte{0xff, 0xff, 0xff}) // against the rules
	case 5:
		_, _ = m.Write(b)
	}
	return nil
}

// numbers checks that messages of a channel come in order and without holes.
type numbers struct {
	c    *client
	last map[string]int
}

// run reads until every channel has ended and gives the first thing that is wrong.
func (n *numbers) run(channels int) error {
	for ended := 0; ended < channels; {
		f, err := n.c.read()
		if err != nil {
			return err
		}
		channel, _ := f["channel"].(string)
		switch {
		case f["type"] == "dropped":
			return fmt.Errorf("dropped: %v", f)
		case f["event"] == "end":
			ended++
			if int(f["data"].(float64)) != n.last[channel] {
				return fmt.Errorf("%s ends after %d of %v", channel, n.last[channel], f["data"])
			}
		case f["event"] == "count":
			if int(f["data"].(float64)) != n.last[channel]+1 {
				return fmt.Errorf("%s: %v comes after %d", channel, f["data"], n.last[channel])
			}
			n.last[channel]++
		}
	}
	return nil
}

// While strangers come, shout and break off, those who stay get everything, in
// order, and afterwards nothing of the strangers is left.
func TestReconnectTortureKeepsOrderAndCompleteness(t *testing.T) {
	const channels, listeners, strangers = 4, 4, 24
	cfg := func() skein.Config {
		c := open()
		c.Limits.FramesPerSecond = -1
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		var readers, others sync.WaitGroup
		var problems []error
		var mu sync.Mutex
		report := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			problems = append(problems, err)
		}
		for i := range listeners {
			c := s.user(fmt.Sprint("listener-", i))
			for ch := range channels {
				c.do(fmt.Sprintf(`{"type":"sub","channel":"room:%d"}`, ch))
				c.lives()
			}
			readers.Go(func() {
				if err := (&numbers{c, map[string]int{}}).run(channels); err != nil {
					report(fmt.Errorf("listener %d: %w", i, err))
				}
			})
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2500*time.Millisecond)
		defer cancel()
		var visits, sent atomic.Int64
		for i := range strangers {
			others.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 7))
				for ctx.Err() == nil {
					visits.Add(1)
					if err := restless(s.addr, r); err != nil {
						report(fmt.Errorf("stranger %d: %w", i, err))
						return
					}
				}
			})
		}
		for ch := range channels {
			others.Go(func() {
				n := 0
				publish := func(event string, n int) error {
					for {
						err := s.Call(context.Background(), "publish", map[string]any{
							"to": map[string]string{"channel": fmt.Sprint("room:", ch)}, "event": event, "data": n,
						}, nil)
						// A machine that is busy otherwise makes the server refuse some; those have
						// reached nobody.
						if e := (*skein.Error)(nil); !errors.As(err, &e) || e.Code != fault.Unavailable {
							return err
						}
					}
				}
				for ctx.Err() == nil {
					// A burst, then a wait for the listeners to have had it: what is lost
					// here is lost by the server, not for want of room.
					for range 20 {
						n++
						if err := publish("count", n); err != nil {
							report(err)
							return
						}
					}
					sent.Add(20)
					select {
					case <-ctx.Done():
					case <-time.After(5 * time.Millisecond):
					}
				}
				if err := publish("end", n); err != nil {
					report(err)
				}
			})
		}
		others.Wait()
		readers.Wait()
		if err := errors.Join(problems...); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d visits, %d messages", visits.Load(), sent.Load())
		eventually(t, "only the listeners are left", func() bool {
			return s.stat("open") == listeners && s.stat("connections") == listeners
		})
		same(t, "users and channels", []float64{s.stat("users"), s.stat("channels")}, []float64{listeners, channels})
		for ch := range channels {
			p := s.verb("presence", fmt.Sprintf(`{"channel":"room:%d"}`, ch))
			same(t, "presence", []any{p["connections"], p["users"], len(p["members"].([]any))}, []any{1.0 * listeners, 1.0 * listeners, listeners})
		}
	})
}
