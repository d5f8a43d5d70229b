package link_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

// numbered is a message of a kilobyte that begins with its number.
func numbered(i int) []byte {
	return ws.AppendFrame(nil, ws.Text, fmt.Appendf(nil, "%d %s", i, strings.Repeat(".", 1<<10)))
}

func TestASlowReaderGetsTheNewest(t *testing.T) {
	const queue, total = 256 << 10, 4000
	inEveryMode(t, link.Config{Queue: queue, Stall: time.Hour}, func(t *testing.T, s *server) {
		c, h := s.dial()
		var sub subscriber
		for i := range total {
			h.Send([]link.Buf{{B: numbered(i), N: 1}}, &sub)
			if q := h.Queued(); q > queue+2<<10 {
				t.Fatalf("%d bytes wait, over the bound of %d", q, queue)
			}
		}
		eventually(t, "the server counts the bytes that wait", func() bool { return s.Metrics().Queued.Load() == int64(h.Queued()) })
		dropped := sub.dropped.Load()
		if dropped == 0 || dropped != s.Metrics().Dropped.Load() {
			t.Fatalf("%d messages were dropped, the metric says %d", dropped, s.Metrics().Dropped.Load())
		}
		last, got := -1, int64(0)
		for last != total-1 {
			f, err := c.next()
			if err != nil {
				t.Fatalf("after message %d: %v", last, err)
			}
			text, _, _ := strings.Cut(f.payload, " ")
			i, err := strconv.Atoi(text)
			if err != nil || i <= last || len(f.payload) != len(text)+1+1<<10 {
				t.Fatalf("%.20q (%d bytes) came after message %d", f.payload, len(f.payload), last)
			}
			last = i
			got++
		}
		if got+dropped != total {
			t.Errorf("%d arrived and %d were dropped, of %d", got, dropped, total)
		}
		wait(t, h.drained)
		eventually(t, "the queue is empty", func() bool { return h.Queued() == 0 && s.Metrics().Queued.Load() == 0 })
		h.Send([]link.Buf{{B: numbered(total), N: 1}}, &sub)
		if f, err := c.next(); err != nil || !strings.HasPrefix(f.payload, strconv.Itoa(total)+" ") {
			t.Errorf("afterwards: %.20q, %v", f.payload, err)
		}
	})
}

// The time limit of one flush must not end a connection that is well again. It
// is a second longer than Stall, so the test takes that long.
func TestAReaderThatHasCaughtUpLivesOn(t *testing.T) {
	inEveryMode(t, link.Config{Queue: 8 << 20, Stall: 300 * time.Millisecond, Heartbeat: 100 * time.Millisecond, Misses: 50}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		c, h := s.dial()
		// One control message that no socket buffer holds makes a backlog.
		big := strings.Repeat("b", 2<<20)
		if !h.SendControl(ws.AppendFrame(nil, ws.Binary, []byte(big)), nil) {
			t.Fatal("the connection has ended")
		}
		for {
			f, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == ws.Binary {
				break
			}
		}
		eventually(t, "the queue is empty", func() bool { return h.Queued() == 0 })
		for start := time.Now(); time.Since(start) < 1500*time.Millisecond; {
			f, err := c.next()
			if err != nil || f.op != ws.Ping {
				t.Fatalf("after %v: %v, %v", time.Since(start), f.op, err)
			}
			c.send(masked(ws.Pong, f.payload))
		}
		c.send(masked(ws.Text, "alive"))
		for {
			f, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == ws.Text {
				return
			}
		}
	})
}

func TestRepliesAreNeverDroppedButEndAPeerThatLetsThemPile(t *testing.T) {
	inEveryMode(t, link.Config{Queue: 64 << 10, Stall: time.Hour}, func(t *testing.T, s *server) {
		c, h := s.dial()
		var sub subscriber
		sent := 0
		for h.SendControl(numbered(sent), nil) {
			h.Send([]link.Buf{{B: numbered(-1), N: 3}}, &sub)
			if sent++; sent > 1<<20 {
				t.Fatal("replies pile up without an end")
			}
		}
		e := wait(t, h.closed)
		if e.reason != protocol.CloseTooSlow || e.message != "replies wait that the client does not read" {
			t.Errorf("closed for %+v", e)
		}
		if sub.dropped.Load() == 0 || sub.dropped.Load()%3 != 0 {
			t.Errorf("%d messages in buffers of three were dropped before", sub.dropped.Load())
		}
		if h.SendControl(numbered(0), func() { t.Error("then ran on a connection that has ended") }) {
			t.Error("it still takes replies")
		}
		next := 0
		for {
			f, err := c.next()
			if err != nil {
				break
			}
			if text, _, _ := strings.Cut(f.payload, " "); text != "-1" {
				if text != strconv.Itoa(next) {
					t.Fatalf("reply %s came in place of %d", text, next)
				}
				next++
			}
		}
		if next == 0 && !s.mode.tls { // over TLS another goroutine writes, which may come too late
			t.Error("nothing arrived at all")
		}
	})
}

func TestNothingIsSentToASubscriberThatHasLeft(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		c, h := s.dial()
		var sub subscriber
		sub.dead.Store(true)
		h.Send([]link.Buf{{B: numbered(1), N: 1}}, &sub)
		h.SendControl(ws.AppendFrame(nil, ws.Text, []byte("now")), func() { sub.dead.Store(false) })
		h.Send([]link.Buf{{B: ws.AppendFrame(nil, ws.Text, []byte("a"))}, {B: ws.AppendFrame(nil, ws.Text, []byte("b"))}}, &sub)
		for _, want := range []string{"now", "a", "b"} {
			c.expect(ws.Text, want)
		}
	})
}

func TestAConnectionCanHaveAQueueOfItsOwn(t *testing.T) {
	inEveryMode(t, link.Config{Stall: time.Hour}, func(t *testing.T, s *server) {
		s.prepare(func(h *handler) link.Adoption {
			h.SetQueue(16 << 10)
			return link.Adoption{First: func() {}}
		})
		_, h := s.dial()
		var sub subscriber
		for i := 0; sub.dropped.Load() == 0; i++ {
			h.Send([]link.Buf{{B: numbered(i), N: 1}}, &sub)
			if q := h.Queued(); q > 17<<10+64 {
				t.Fatalf("%d bytes wait", q)
			}
		}
	})
}

func TestAStalledReaderIsLetGo(t *testing.T) {
	inEveryMode(t, link.Config{Queue: 16 << 20, Stall: 100 * time.Millisecond, Heartbeat: 150 * time.Millisecond, Misses: 1000}, func(t *testing.T, s *server) {
		_, h := s.dial()
		if !h.SendControl(ws.AppendFrame(nil, ws.Binary, make([]byte, 2<<20)), nil) {
			t.Fatal("the connection has ended")
		}
		e := wait(t, h.closed)
		if e.reason != protocol.CloseTooSlow || !strings.HasPrefix(e.message, "no bytes were taken for") {
			t.Errorf("closed for %+v", e)
		}
		if n := s.Metrics().Stalled.Load(); n != 1 {
			t.Errorf("the metric says %d", n)
		}
	})
}

// Many senders at once share one connection; each message arrives whole.
func TestSendersDoNotMixTheirBytes(t *testing.T) {
	const senders, each = 8, 500
	inEveryMode(t, link.Config{Queue: 64 << 20, Stall: time.Hour}, func(t *testing.T, s *server) {
		c, h := s.dial()
		var sub subscriber
		for i := range senders {
			go func() {
				for n := range each {
					b := ws.AppendFrame(nil, ws.Text, fmt.Appendf(nil, "%d %d %s", i, n, strings.Repeat("x", n)))
					if n%2 == 0 {
						h.SendControl(b, nil)
					} else {
						h.Send([]link.Buf{{B: b, N: 1}}, &sub)
					}
				}
			}()
		}
		var next [senders]int
		for range senders * each {
			f, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			var i, n int
			var pad string
			if k, _ := fmt.Sscanf(f.payload, "%d %d %s", &i, &n, &pad); k < 2 || n != next[i] || len(pad) != n {
				t.Fatalf("got %.40q, want message %d", f.payload, next[i])
			}
			next[i]++
		}
	})
}
