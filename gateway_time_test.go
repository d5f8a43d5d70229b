package skein_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
)

// pipes is a listener whose connections stay in the process, so that a whole
// server with its clients can live in a bubble, where time is not real.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return localhost }

var localhost = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}

// pipe is one end of a connection, which has an address.
type pipe struct{ net.Conn }

// RemoteAddr implements net.Conn.
func (pipe) RemoteAddr() net.Addr { return localhost }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- pipe{theirs}:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble is a server in a bubble.
type bubble struct {
	*testServer
	pipes *pipes
}

// inBubble starts a server inside of a bubble; it ends with the test.
func inBubble(t *testing.T, cfg skein.Config, prepare func(*skein.Server)) *bubble {
	t.Helper()
	cfg.WebSocket.Driver = "portable"
	s, err := newOnFreePort(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(s)
	}
	p := newPipes()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, p) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &bubble{&testServer{s, t, "skein.test"}, p}
}

// user opens a connection of a user; "" is nobody.
func (b *bubble) user(name string) *client {
	b.t.Helper()
	transport := &http.Transport{DialContext: b.pipes.dial}
	ws, _, err := websocket.Dial(context.Background(), "ws://"+b.addr+"/ws?user="+name, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = ws.CloseNow() })
	c := &client{t: b.t, ws: ws}
	if name == "" {
		c.send(`{"type":"connect"}`)
	}
	c.ID = c.expect("welcome")["connection"].(string)
	return c
}

// clock notes when things happen, from its making on.
type clock struct {
	begun time.Time
	list[time.Duration]
}

func newClock() *clock { return &clock{begun: time.Now()} }

func (c *clock) tick() { c.add(time.Since(c.begun)) }

func seconds(n ...float64) (list []time.Duration) {
	for _, s := range n {
		list = append(list, time.Duration(s*float64(time.Second)))
	}
	return list
}

func TestTimersOfAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inBubble(t, hushed(), nil)
		ann := s.user("ann")
		conn := s.Conn(ann.ID)
		even, once, slow, stopped, never := newClock(), newClock(), newClock(), newClock(), newClock()
		conn.Every(time.Second, func(context.Context) {
			even.tick()
			time.Sleep(300 * time.Millisecond) // what a call takes does not add up
		})
		conn.After(1500*time.Millisecond, func(context.Context) { once.tick() })
		conn.Every(time.Second, func(context.Context) {
			if slow.tick(); slow.len() == 1 {
				time.Sleep(2500 * time.Millisecond) // two are left out
			}
		})
		stop := conn.Every(time.Second, func(context.Context) { stopped.tick() })
		conn.After(time.Second, func(context.Context) { never.tick() })()
		conn.Every(time.Second, func(context.Context) { panic("on purpose") })
		inside := make(chan func(), 1)
		inside <- conn.Every(time.Second, func(context.Context) { never.tick(); (<-inside)() })

		time.Sleep(2500 * time.Millisecond)
		stop()
		stop() // again is nothing
		time.Sleep(4 * time.Second)
		same(t, "every second", even.take(), seconds(1, 2, 3, 4, 5, 6))
		same(t, "once", once.take(), seconds(1.5))
		same(t, "a slow one", slow.take(), seconds(1, 4, 5, 6))
		same(t, "stopped", stopped.take(), seconds(1, 2))
		same(t, "stopped before, and from inside", never.take(), seconds(1))
		ann.lives()

		_ = ann.ws.CloseNow()
		time.Sleep(5 * time.Second)
		same(t, "after the end", [][]time.Duration{even.take(), slow.take()}, [][]time.Duration{nil, nil})
		conn.Every(time.Second, func(context.Context) { never.tick() })
		conn.After(time.Second, func(context.Context) { never.tick() })
		time.Sleep(2 * time.Second)
		same(t, "begun after the end", len(never.take()), 0)
	})
}

// A call that is under way when the connection ends, or is stopped, is told by
// its context.
func TestATimersContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inBubble(t, hushed(), nil)
		ended := newClock()
		wait := func(ctx context.Context) {
			<-ctx.Done()
			ended.tick()
		}
		ann, bob := s.user("ann"), s.user("bob")
		s.Conn(ann.ID).Every(time.Second, wait)
		stop := s.Conn(bob.ID).Every(time.Second, wait)
		time.Sleep(2 * time.Second)
		_ = ann.ws.CloseNow()
		time.Sleep(time.Second)
		stop()
		time.Sleep(time.Second)
		same(t, "ended", ended.take(), seconds(2, 3))
	})
}

// A channel's timer rests while nobody is there, and ends when that lasts longer
// than the grace time.
func TestTimersOfAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := hushed()
		cfg.Online.Grace = skein.Duration(3 * time.Second)
		s := inBubble(t, cfg, nil)
		none, every, once := newClock(), newClock(), newClock()
		s.Every("room:none", time.Second, func(context.Context) { none.tick() })
		s.After("room:none", time.Second, func(context.Context) { none.tick() })
		ann, bob := s.user("ann"), s.user("bob")
		ann.do(`{"type":"sub","channel":"room:1"}`)
		s.Every("room:1", time.Second, func(context.Context) { every.tick() })
		s.After("room:1", 1500*time.Millisecond, func(context.Context) { once.tick() })
		s.After("room:1", 6*time.Second, func(context.Context) { none.tick() })
		s.Every("room:1", time.Second, func(context.Context) { none.tick() })()
		time.Sleep(2500 * time.Millisecond)
		bob.do(`{"type":"sub","channel":"room:1"}`)
		ann.do(`{"type":"unsub","channel":"room:1"}`) // somebody is still there
		time.Sleep(2 * time.Second)
		bob.do(`{"type":"unsub","channel":"room:1"}`)
		time.Sleep(2 * time.Second)
		same(t, "until nobody is there", every.take(), seconds(1, 2, 3, 4))
		bob.do(`{"type":"sub","channel":"room:1"}`) // within the grace time
		time.Sleep(time.Second)
		same(t, "after a short while", every.take(), seconds(7))
		bob.do(`{"type":"unsub","channel":"room:1"}`)
		time.Sleep(5 * time.Second)
		bob.do(`{"type":"sub","channel":"room:1"}`) // too late
		time.Sleep(2 * time.Second)
		same(t, "after a long while", len(every.take()), 0)
		same(t, "once", once.take(), seconds(1.5))
		same(t, "where nobody is, and stopped", len(none.take()), 0)
		bob.lives()
	})
}

// Who comes back within the grace time was never gone.
func TestOnUserAndOnChannelWithGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		seen := &list[string]{}
		note := func(what string) func(string, bool) {
			return func(name string, there bool) {
				seen.add(fmt.Sprintf("%s %s %t %v", what, name, there, time.Since(begun)))
			}
		}
		cfg := hushed()
		cfg.Online.Grace = skein.Duration(3 * time.Second)
		s := inBubble(t, cfg, func(s *skein.Server) {
			s.OnUser(func(string, bool) { panic("on purpose") })
			s.OnUser(note("user"))
			s.OnChannel(note("channel"))
		})
		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			same(t, what, seen.take(), want)
		}
		phone := s.user("ann")
		expect("the first device", "user ann true 0s")
		desk := s.user("ann")
		phone.do(`{"type":"sub","channel":"room:1"}`)
		expect("the first subscriber", "channel room:1 true 0s")
		desk.do(`{"type":"sub","channel":"room:1"}`)
		_ = phone.ws.CloseNow()
		time.Sleep(4 * time.Second)
		expect("one of two devices goes")
		for range 3 { // flapping
			_ = desk.ws.CloseNow()
			time.Sleep(2900 * time.Millisecond)
			desk = s.user("ann")
			desk.do(`{"type":"sub","channel":"room:1"}`)
			time.Sleep(200 * time.Millisecond)
		}
		expect("within the grace")
		desk.do(`{"type":"unsub","channel":"room:1"}`)
		time.Sleep(time.Second)
		_ = desk.ws.CloseNow()
		time.Sleep(2500 * time.Millisecond)
		expect("the channel", "channel room:1 false 16.3s")
		time.Sleep(time.Second)
		expect("the last device", "user ann false 17.3s")
		s.user("ann")
		expect("again", "user ann true 17.8s")
		nobody := s.user("")
		nobody.do(`{"type":"sub","channel":"room:2"}`)
		expect("nobody", "channel room:2 true 17.8s")
		if err := s.Bind(context.Background(), skein.BindParams{Connection: nobody.ID, User: "bob"}); err != nil {
			t.Fatal(err)
		}
		expect("bound", "user bob true 17.8s")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		expect("who is sent away by the end of the server has not left")
	})
}

// Close waits for what is under way, and what comes later does not begin.
func TestCloseWaitsForTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inBubble(t, hushed(), nil)
		ann := s.user("ann")
		ann.do(`{"type":"sub","channel":"room:1"}`)
		begun, done := newClock(), newClock()
		work := func(ctx context.Context) {
			begun.tick()
			<-ctx.Done()
			time.Sleep(3 * time.Second) // tidies up
			done.tick()
		}
		s.Conn(ann.ID).After(time.Second, work)
		s.Conn(ann.ID).Every(time.Second, work)
		s.Every("room:1", time.Second, work)
		s.Every("room:1", 10*time.Second, work)
		time.Sleep(2 * time.Second)
		closed := newClock()
		closed.begun = begun.begun
		for range 2 { // twice at once
			go func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				closed.tick()
			}()
		}
		time.Sleep(time.Minute)
		same(t, "begun", begun.take(), seconds(1, 1, 1))
		same(t, "done", done.take(), seconds(5, 5, 5))
		same(t, "closed", closed.take(), seconds(5, 5))
	})
}

// A call that a client has made is waited for, too.
func TestCloseWaitsForCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := newClock()
		s := inBubble(t, hushed(), func(s *skein.Server) {
			s.OnCall("work", func(ctx context.Context, _ *skein.Conn, _ []byte) ([]byte, error) {
				<-ctx.Done()
				time.Sleep(3 * time.Second)
				done.tick()
				return nil, ctx.Err()
			})
			s.OnClose(func(*skein.Conn, skein.Closing) { time.Sleep(time.Second) })
		})
		ann := s.user("ann")
		ann.send(`{"type":"call","method":"work"}`)
		ann.lives()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		same(t, "done", len(done.take()), 1)
	})
}
