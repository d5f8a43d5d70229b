package link_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

func TestThePeerCloses(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		for _, tt := range []struct {
			code uint16
			want string // the payload of the answer
		}{{1000, "\x03\xe8done"}, {0, "\x03\xe8"}, {4321, "\x10\xe1done"}} {
			c, h := s.dial()
			reason := ""
			if tt.code != 0 {
				reason = "done"
			}
			c.send(masked(ws.Text, "last"), ws.AppendMaskedClose(nil, key, tt.code, reason), masked(ws.Text, "after the end"))
			c.expect(ws.Text, "last")
			c.expect(ws.Close, tt.want)
			c.expectEnd()
			e := wait(t, h.closed)
			if want := max(tt.code, 1000); e.reason.Code != want || !(e.reason.Code != 0 && e.message == reason) {
				t.Errorf("closed for %+v, want code %d", e, want)
			}
		}
	})
}

func TestTheServerCloses(t *testing.T) {
	inEveryMode(t, link.Config{Linger: time.Hour}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		c, h := s.dial()
		last := ws.AppendFrame(ws.AppendFrame(nil, ws.Text, []byte("one")), ws.Text, []byte("two"))
		h.Close(protocol.CloseDisconnected, "go away", last)
		h.Close(protocol.CloseNormal, "a second call does not count", []byte("x"))
		if h.SendControl(ws.AppendFrame(nil, ws.Text, []byte("too late")), nil) {
			t.Error("it still takes frames")
		}
		h.Send([]link.Buf{{B: ws.AppendFrame(nil, ws.Text, []byte("too late"))}}, new(subscriber))
		c.expect(ws.Text, "one")
		c.expect(ws.Text, "two")
		c.expect(ws.Close, "\x0f\xa4go away")
		c.send(masked(ws.Text, "ignored"), ws.AppendMaskedClose(nil, key, 4004, ""))
		c.expectEnd()
		if e := wait(t, h.closed); e != (ending{protocol.CloseDisconnected, "go away"}) {
			t.Errorf("closed for %+v", e)
		}
	})
}

func TestWhatWaitsIsSentBeforeTheEnd(t *testing.T) {
	inEveryMode(t, link.Config{Queue: 8 << 20, Stall: time.Hour, Linger: time.Hour}, func(t *testing.T, s *server) {
		c, h := s.dial()
		big := strings.Repeat("b", 1<<20)
		h.SendControl(ws.AppendFrame(nil, ws.Binary, []byte(big)), nil)
		h.Close(protocol.CloseNormal, "", ws.AppendFrame(nil, ws.Text, []byte("bye")))
		c.expect(ws.Binary, big)
		c.expect(ws.Text, "bye")
		c.expect(ws.Close, "\x03\xe8")
		c.send(ws.AppendMaskedClose(nil, key, 1000, ""))
		c.expectEnd()
		wait(t, h.closed)
	})
}

func TestAPeerThatDoesNotAnswerACloseIsNotWaitedForForEver(t *testing.T) {
	inEveryMode(t, link.Config{Linger: 50 * time.Millisecond, Tick: 5 * time.Millisecond}, func(t *testing.T, s *server) {
		c, h := s.dial()
		h.Close(protocol.CloseGoingAway, "", nil)
		c.expect(ws.Close, "\x03\xe9")
		c.expectEnd()
		if e := wait(t, h.closed); e.reason != protocol.CloseGoingAway {
			t.Errorf("closed for %+v", e)
		}
	})
}

func TestAbortSaysNothing(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		c, h := s.dial()
		h.Abort(protocol.CloseReplaced, "gone")
		h.Abort(protocol.CloseNormal, "twice")
		h.Close(protocol.CloseNormal, "and once more", nil)
		c.expectEnd()
		if e := wait(t, h.closed); e != (ending{protocol.CloseReplaced, "gone"}) {
			t.Errorf("closed for %+v", e)
		}
	})
}

func TestAHandlerMayEndItsOwnConnection(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		s.prepare(func(h *handler) link.Adoption {
			h.receive = func(h *handler, _ ws.Opcode, payload []byte) {
				if string(payload) == "close" {
					h.Close(protocol.CloseNormal, "", nil)
				} else {
					h.Abort(protocol.CloseNormal, "")
				}
			}
			return link.Adoption{First: func() {}}
		})
		c, h := s.dial()
		c.send(masked(ws.Text, "close"), masked(ws.Text, "never seen"))
		c.expect(ws.Close, "\x03\xe8")
		c.send(ws.AppendMaskedClose(nil, key, 1000, ""))
		wait(t, h.closed)
		c, h = s.dial()
		c.send(masked(ws.Text, "abort"), masked(ws.Text, "never seen"))
		c.expectEnd()
		wait(t, h.closed)
	})
}

func TestFirstMayRefuse(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		for name, end := range map[string]func(h *handler){
			"close": func(h *handler) {
				h.Close(protocol.CloseTokenRefused, "", ws.AppendFrame(nil, ws.Text, []byte("bye")))
			},
			"abort": func(h *handler) { h.Abort(protocol.CloseTokenRefused, "") },
		} {
			s.prepare(func(h *handler) link.Adoption {
				return link.Adoption{Hello: ws.AppendFrame(nil, ws.Text, []byte("hello")), Early: masked(ws.Text, "early"), First: func() { end(h) }}
			})
			c, h := s.dial()
			if name == "close" {
				c.expect(ws.Text, "hello")
				c.expect(ws.Text, "bye")
				c.expect(ws.Close, "\x0f\xa2")
				c.send(ws.AppendMaskedClose(nil, key, 1000, ""))
			}
			c.expectEnd()
			if e := wait(t, h.closed); e.reason != protocol.CloseTokenRefused || len(h.received) != 0 {
				t.Errorf("%s: closed for %+v, %d messages received", name, e, len(h.received))
			}
		}
	})
}

func TestBrokenRulesEndTheConnection(t *testing.T) {
	tests := []struct {
		name string
		wire []byte
		want protocol.Close
	}{
		{"no mask", ws.AppendFrame(nil, ws.Text, []byte("x")), protocol.CloseProtocol},
		{"an opcode that is not defined", []byte{0x83, 0x80, 0, 0, 0, 0}, protocol.CloseProtocol},
		{"bad UTF-8", masked(ws.Text, "\xff"), protocol.CloseBadUTF8},
		{"too big", masked(ws.Text, strings.Repeat("x", 4<<20+1)), protocol.CloseTooBig},
		{"a close frame of one byte", masked(ws.Close, "x"), protocol.CloseProtocol},
		{"a close code that may not be sent", masked(ws.Close, "\x03\xed"), protocol.CloseProtocol},
	}
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		for _, tt := range tests {
			c, h := s.dial()
			go func() { _, _ = c.Write(append(masked(ws.Text, "before"), tt.wire...)) }()
			if got := wait(t, h.received); string(got) != "before" {
				t.Errorf("%s: got %q first", tt.name, got)
			}
			f, err := c.next()
			if err != nil || f.op != ws.Close || len(f.payload) < 2 || uint16(f.payload[0])<<8|uint16(f.payload[1]) != tt.want.Code {
				t.Errorf("%s: got %s %q, %v, want a close frame with %d", tt.name, f.op, f.payload, err, tt.want.Code)
			}
			c.expectEnd() // the server ends its side at once: the peer need not answer
			_ = c.Close()
			if e := wait(t, h.closed); e.reason != tt.want || e.message == "" {
				t.Errorf("%s: closed for %+v", tt.name, e)
			}
		}
	})
}

// A peer that ends its side without a close frame is gone; what it sent before
// still reaches the handler.
func TestAHalfClosedPeer(t *testing.T) {
	inEveryMode(t, link.Config{}, func(t *testing.T, s *server) {
		c, h := s.dial()
		for i := range 50 {
			c.send(masked(ws.Text, fmt.Sprint(i)))
		}
		if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if got := wait(t, h.received); string(got) != fmt.Sprint(i) {
				t.Fatalf("got %q in place of message %d", got, i)
			}
		}
		if e := wait(t, h.closed); e.reason != protocol.CloseGoingAway || e.message != "the connection was lost" {
			t.Errorf("closed for %+v", e)
		}
		c.expectEnd()
	})
}

func TestAPeerThatResets(t *testing.T) {
	inEveryMode(t, link.Config{Queue: 8 << 20, Stall: time.Hour}, func(t *testing.T, s *server) {
		for _, backlog := range []bool{false, true} {
			c, h := s.dial()
			if backlog {
				h.SendControl(ws.AppendFrame(nil, ws.Binary, make([]byte, 2<<20)), nil)
			}
			nc := c.Conn
			if tc, ok := nc.(interface{ NetConn() net.Conn }); ok {
				nc = tc.NetConn()
			}
			if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			_ = nc.Close()
			if e := wait(t, h.closed); e.reason != protocol.CloseGoingAway {
				t.Errorf("backlog %v: closed for %+v", backlog, e)
			}
			if h.SendControl([]byte("x"), nil) {
				t.Error("it still takes frames")
			}
		}
	})
}

func TestSilentPeersAreFound(t *testing.T) {
	inEveryMode(t, link.Config{Heartbeat: 60 * time.Millisecond, Misses: 3}, func(t *testing.T, s *server) {
		started := time.Now()
		c, h := s.dial()
		pings := 0
		for {
			f, err := c.next()
			if err != nil {
				break
			}
			if f != (frame{ws.Ping, ""}) {
				t.Fatalf("got %s %q", f.op, f.payload)
			}
			pings++
		}
		if e := wait(t, h.closed); e.reason != protocol.CloseHeartbeat || !strings.HasPrefix(e.message, "silent for ") {
			t.Errorf("closed for %+v", e)
		}
		if took := time.Since(started); took < 180*time.Millisecond {
			t.Errorf("it was given up after %v", took)
		}
		if pings == 0 || pings > 4 || int64(pings) != s.Metrics().Pings.Load() || s.Metrics().Lost.Load() != 1 {
			t.Errorf("%d pings arrived; metrics: %d pings, %d lost", pings, s.Metrics().Pings.Load(), s.Metrics().Lost.Load())
		}
	})
}

func TestAnAnsweringPeerStays(t *testing.T) {
	inEveryMode(t, link.Config{Heartbeat: 60 * time.Millisecond, Misses: 3}, func(t *testing.T, s *server) {
		s.prepare(echoing)
		c, _ := s.dial()
		for range 10 {
			c.expect(ws.Ping, "")
			c.send(masked(ws.Pong, ""))
		}
		c.send(masked(ws.Text, "here"))
		c.expect(ws.Text, "here")
		if n := s.Metrics().Lost.Load(); n != 0 {
			t.Errorf("%d were lost", n)
		}
	})
}

func TestCloseOfTheServerEndsEveryConnection(t *testing.T) {
	inEveryMode(t, link.Config{Linger: time.Hour}, func(t *testing.T, s *server) {
		var all []*handler
		for i := range 20 {
			_, h := s.dial()
			all = append(all, h)
			if i%3 == 0 {
				h.SendControl(ws.AppendFrame(nil, ws.Binary, make([]byte, 900<<10)), nil)
			}
			if i%5 == 0 {
				h.Close(protocol.CloseNormal, "", nil)
			}
		}
		s.stop()
		for i, h := range all {
			select {
			case <-h.closed:
			default:
				t.Errorf("connection %d was not told", i)
			}
		}
	})
}

func TestAThousandConnectionsLeaveNothingBehind(t *testing.T) {
	const at = 100
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			n := 1000
			if m.tls {
				n = 300 // a handshake is dear under the race detector
			}
			s := serve(t, m, link.Config{Epoll: m.epoll})
			s.prepare(echoing)
			before := descriptors(t)
			var wg sync.WaitGroup
			turns := make(chan int, n)
			for i := range n {
				turns <- i
			}
			close(turns)
			for range at {
				wg.Go(func() {
					for i := range turns {
						visit(t, s, i)
					}
				})
			}
			wg.Wait()
			eventually(t, "all are closed", func() bool { return s.Metrics().Open.Load() == 0 })
			for range n {
				wait(t, wait(t, s.adopted).closed)
			}
			s.Each(func(*link.Conn) { t.Error("one is still listed") })
			eventually(t, "the descriptors are back", func() bool { return descriptors(t) <= before })
		})
	}
}

// visit opens a connection, uses it and ends it in one of several ways.
func visit(t *testing.T, s *server, i int) {
	nc := s.connect()
	defer func() { _ = nc.Close() }()
	text := fmt.Sprint("visitor ", i)
	if _, err := nc.Write(masked(ws.Text, text)); err != nil {
		t.Error(err)
		return
	}
	if f, err := nc.next(); err != nil || f.payload != text {
		t.Errorf("got %q, %v", f.payload, err)
		return
	}
	switch i % 3 {
	case 0: // in good order
		if _, err := nc.Write(ws.AppendMaskedClose(nil, key, 1000, "")); err != nil {
			t.Error(err)
			return
		}
		if f, err := nc.next(); err != nil || f.op != ws.Close {
			t.Errorf("got %s, %v", f.op, err)
		}
		if _, err := nc.next(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
	case 1: // just gone
	case 2: // in the middle of a frame
		if _, err := nc.Write(masked(ws.Text, text)[:3]); err != nil {
			t.Error(err)
		}
	}
}
