package link_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

func TestEcho(t *testing.T) {
	inEveryMode(t, link.Config{Queue: 4 << 20}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		c, h := s.dial()
		for _, n := range []int{0, 1, 125, 126, 1000, 65535, 65536, 1 << 20} {
			text := strings.Repeat("x", n)
			c.send(masked(ws.Text, text))
			c.expect(ws.Text, text)
		}
		c.send(masked(ws.Binary, "\xff\x00"))
		c.expect(ws.Binary, "\xff\x00")
		c.send(
			ws.AppendMaskedFragment(nil, ws.Text, false, false, key, []byte("in ")),
			masked(ws.Ping, "between"),
			ws.AppendMaskedFragment(nil, ws.Continuation, true, false, key, []byte("parts")),
		)
		c.expect(ws.Pong, "between")
		c.expect(ws.Text, "in parts")
		if h.Transport() != "websocket" || h.Remote().String() != c.LocalAddr().String() || h.Handler() != link.Handler(h) {
			t.Errorf("transport %q, remote %s, want %s", h.Transport(), h.Remote(), c.LocalAddr())
		}
		m := s.Metrics()
		eventually(t, "the last bytes are counted", func() bool { return m.BytesOut.Load() == h.Written() }) // just after they have left
		if m.Open.Load() != 1 || m.MessagesIn.Load() != 10 || m.BytesIn.Load() == 0 {
			t.Errorf("metrics: %d open, %d messages", m.Open.Load(), m.MessagesIn.Load())
		}
	})
}

func TestMessagesKeepTheirOrder(t *testing.T) {
	const n = 5000
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		c, _ := s.dial()
		go func() {
			for i := range n {
				if _, err := c.Write(masked(ws.Text, fmt.Sprint(i))); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		for i := range n {
			c.expect(ws.Text, fmt.Sprint(i))
		}
	})
}

func TestBytesMayComeOneByOne(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		c, _ := s.dial()
		for _, b := range masked(ws.Text, "slowly") {
			c.send([]byte{b})
		}
		c.expect(ws.Text, "slowly")
	})
}

func TestTheHandshakeLeavesFirst(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		s.prepare(func(h *handler) link.Adoption {
			h.receive = echo
			return link.Adoption{
				Hello: ws.AppendFrame(nil, ws.Text, []byte("hello")),
				Early: masked(ws.Text, "early"),
				First: func() {
					h.SendControl(ws.AppendFrame(nil, ws.Text, []byte("first")), nil)
					if h.Written() != 0 {
						t.Error("something left before First had returned")
					}
				},
			}
		})
		c, _ := s.dial()
		c.send(masked(ws.Text, "late"))
		for _, text := range []string{"hello", "first", "early", "late"} {
			c.expect(ws.Text, text)
		}
	})
}

// First may wait for something slow, such as the keys of tokens; the sweeper
// must not take the connection for a stalled one meanwhile.
func TestTheSweeperLeavesAFreshConnectionAlone(t *testing.T) {
	inEveryMode(t, link.Config{Stall: 20 * time.Millisecond, Heartbeat: 30 * time.Millisecond, Misses: 2, Tick: time.Millisecond}, func(t *testing.T, s *server) {
		s.prepare(func(h *handler) link.Adoption {
			h.receive = echo
			return link.Adoption{Hello: ws.AppendFrame(nil, ws.Text, []byte("hello")), First: func() {
				later := make(due, 1)
				s.Deadline(s.Now()+int64(100*time.Millisecond), later)
				<-later
				s.Each(func(c *link.Conn) { c.Queued() })
			}}
		})
		c := s.connect()
		c.expect(ws.Text, "hello")
		c.send(masked(ws.Text, "still there"))
		for {
			f, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.op == ws.Text {
				break
			}
			c.send(masked(ws.Pong, f.payload))
		}
	})
}

// due is a deadline that tells when it was called.
type due chan int64

func (d due) Due(now int64) { d <- now }

func TestDeadlinesComeInOrderAndNotEarly(t *testing.T) {
	s := serve(t, modes[1], link.Config{Tick: time.Millisecond})
	start := s.Now()
	var all []due
	for i := range 3000 {
		d := make(due, 1)
		all = append(all, d)
		s.Deadline(start+int64(i%50)*int64(time.Millisecond), d)
	}
	for i, d := range all {
		if at := wait(t, d); at < start+int64(i%50)*int64(time.Millisecond) {
			t.Errorf("deadline %d came %v early", i, time.Duration(start+int64(i%50)*int64(time.Millisecond)-at))
		}
	}
}

func TestAFullInboxStopsTheReading(t *testing.T) {
	const total, size = 2500, 4 << 10
	inEveryMode(t, link.Config{Inbox: 32 << 10}, func(t *testing.T, s *server) {
		begin := make(chan struct{})
		next := 0
		done := make(chan struct{})
		s.prepare(func(h *handler) link.Adoption {
			h.receive = func(_ *handler, _ ws.Opcode, payload []byte) {
				<-begin
				if want := fmt.Sprintf("%*d", size, next); string(payload) != want {
					t.Errorf("got %.20q in place of message %d", strings.TrimSpace(string(payload)), next)
				}
				if next++; next == total {
					close(done)
				}
			}
			return link.Adoption{First: func() {}}
		})
		c, _ := s.dial()
		written := make(chan error, 1)
		go func() {
			for i := range total {
				if _, err := c.Write(masked(ws.Binary, fmt.Sprintf("%*d", size, i))); err != nil {
					written <- err
					return
				}
			}
			written <- nil
		}()
		in := s.Metrics().BytesIn.Load
		eventually(t, "the inbox fills", func() bool { return in() > 32<<10 })
		if n := steady(t, in); n > 32<<10+64<<10+2*size {
			t.Errorf("%d bytes were read for a handler that takes none", n)
		}
		select {
		case <-written:
			t.Error("the peer could send everything")
		default:
		}
		close(begin)
		if err := wait(t, written); err != nil {
			t.Error(err)
		}
		wait(t, done)
	})
}

func TestManySmallMessagesStopTheReadingToo(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		begin := make(chan struct{})
		got := make(chan struct{}, 1<<20)
		s.prepare(func(h *handler) link.Adoption {
			h.receive = func(*handler, ws.Opcode, []byte) {
				<-begin
				got <- struct{}{}
			}
			return link.Adoption{First: func() {}}
		})
		c, _ := s.dial()
		const n = 50_000
		many := []byte(strings.Repeat(string(masked(ws.Text, "")), n))
		go func() {
			if _, err := c.Write(many); err != nil {
				t.Error(err)
			}
		}()
		in := s.Metrics().MessagesIn.Load
		eventually(t, "the inbox fills", func() bool { return in() > 100 })
		if k := steady(t, in); k > n/2 {
			t.Errorf("%d messages of %d wait for the handler", k, n)
		}
		close(begin)
		for range n {
			wait(t, got)
		}
	})
}

// A peer that asks but does not read its replies is not read from.
func TestAPeerThatDoesNotReadIsNotAnswered(t *testing.T) {
	inEveryMode(t, link.Config{Queue: 128 << 10, Stall: time.Hour}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		c, h := s.dial()
		const n, size = 1200, 8 << 10
		go func() {
			for range n {
				if _, err := c.Write(masked(ws.Binary, strings.Repeat("q", size))); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		steady(t, s.Metrics().MessagesIn.Load)
		if q := h.Queued(); q > 128<<10 {
			t.Errorf("%d bytes of replies wait", q)
		}
		for i := range n {
			f, err := c.next()
			if err != nil || len(f.payload) != size {
				t.Fatalf("reply %d: %d bytes, %v", i, len(f.payload), err)
			}
		}
	})
}

func TestControlFramesAreLimited(t *testing.T) {
	inEveryMode(t, link.Config{ControlsPerSecond: 10}, func(t *testing.T, s *server) {
		c, h := s.dial()
		c.send([]byte(strings.Repeat(string(masked(ws.Ping, "")), 20)))
		for range 10 {
			c.expect(ws.Pong, "")
		}
		if f, err := c.next(); err != nil || f.op != ws.Close || !strings.HasPrefix(f.payload, "\x0f\xa9") {
			t.Errorf("got %v %q, %v, want a close frame with 4009", f.op, f.payload, err)
		}
		c.expectEnd()
		_ = c.Close()
		if e := wait(t, h.closed); e.reason != protocol.CloseRateLimited {
			t.Errorf("closed for %+v", e)
		}
	})
}

func BenchmarkEcho(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			s := serve(b, m, link.Config{Epoll: m.epoll})
			s.prepare(echoing)
			c, _ := s.dial()
			text := strings.Repeat("x", 128)
			message := masked(ws.Text, text)
			_ = c.SetDeadline(time.Time{})
			b.ReportAllocs()
			for b.Loop() {
				c.send(message)
				c.expect(ws.Text, text)
			}
		})
	}
}
