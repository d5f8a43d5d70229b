package skein_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// The tests here are about what goes wrong: functions that fail, which is for the
// operator to know and not for clients, and connections that end by themselves.

// When the client's request alone is judged there is no frame to answer; what
// went wrong is in the log all the same.
func TestAConnectFunctionThatFailsByTheRequestIsLogged(t *testing.T) {
	for what, fn := range map[string]func(*skein.Connecting) error{
		"panic":            func(*skein.Connecting) error { panic("on purpose") },
		"plain error":      func(*skein.Connecting) error { return errors.New("password is hunter2") },
		"user of controls": func(c *skein.Connecting) error { c.User = "a\nb"; return nil },
		"rights": func(c *skein.Connecting) error {
			c.User, c.Caps = "ann", map[string][]string{"room:1": {"fly"}}
			return nil
		},
	} {
		log := &logbook{}
		cfg := gated(t)
		cfg.Logger = log.logger()
		s := startWith(t, cfg, func(s *skein.Server) {
			s.OnConnect(func(_ context.Context, c *skein.Connecting) error { return fn(c) })
		})
		c := s.with("", "Cookie: sid=ann")
		if bye := c.goodbye("unavailable", 1011); bye["reconnect"] != true || strings.Contains(fmt.Sprint(bye), "hunter2") {
			t.Errorf("%s: got %v", what, bye)
		}
		if text := log.String(); !strings.Contains(text, "level=ERROR") {
			t.Errorf("%s: the log says only %q", what, text)
		}
	}
}

// A device that cannot be is refused like a user that cannot be.
func TestAConnectFunctionCannotMakeUpDevices(t *testing.T) {
	s := startWith(t, gated(t), func(s *skein.Server) {
		s.OnConnect(func(_ context.Context, c *skein.Connecting) error {
			c.User, c.Device = "ann", "a\nb"
			return nil
		})
	})
	c := s.with("")
	c.send(`{"type":"connect","id":1}`)
	if e := c.expect("error"); e["code"] != "internal" {
		t.Errorf("got %v", e)
	}
}

// What a token gave ends with the identity that it gave it to.
func TestAnotherUserHasNotTheRightsOfTheToken(t *testing.T) {
	s := startWith(t, gated(t), func(s *skein.Server) {
		s.OnConnect(func(_ context.Context, c *skein.Connecting) error {
			c.User = "bob"
			return nil
		})
	})
	ann := auth.Identity{User: "ann", Caps: caps(t, map[string]string{"closed:mine": "sub"}), Expires: auth.At(time.Now().Add(time.Hour))}
	c := s.with("token=" + token(t, ann))
	if w := c.expect("welcome"); w["user"] != "bob" || w["expires"] != nil {
		t.Errorf("got %v", w)
	}
	c.fails(`{"type":"sub","channel":"closed:mine"}`, "denied")
}

// The welcome names each channel once, and only those that there are.
func TestTheWelcomeNamesWhatIsThere(t *testing.T) {
	s := startWith(t, gated(t), func(s *skein.Server) {
		s.OnConnect(func(_ context.Context, c *skein.Connecting) error {
			c.User, c.Channels = "ann", []string{"team:1", "room:1", "none:1", "nonsense", "room:1"}
			return nil
		})
	})
	s.verb("members.add", `{"channel":"team:1","users":["ann"]}`)
	c := s.with("")
	c.send(`{"type":"connect"}`)
	w := c.expect("welcome")
	same(t, "channels", w["channels"], any([]any{"team:1", "room:1"}))
	c.expect("subscribed")
	c.expect("subscribed")
	c.lives()
	same(t, "subscribed", channelsOf(s, w["connection"].(string)), []string{"room:1", "team:1"})
}

// A function that cannot say what it means is at fault, not its client.
func TestAReplyThatCannotBeEncoded(t *testing.T) {
	log := &logbook{}
	cfg := gated(t)
	cfg.Logger = log.logger()
	s := startWith(t, cfg, editor)
	ann := s.with("token=" + token(t, auth.Identity{User: "ann"}))
	ann.expect("welcome")
	ann.fails(`{"type":"pub","channel":"room:1","data":"bad reply"}`, "internal")
	if !strings.Contains(log.String(), "func()") {
		t.Errorf("the log says only %q", log)
	}
}

// Bytes that are no JSON never reach a client, whoever has made them.
func TestRawAnswersAreChecked(t *testing.T) {
	s := startWith(t, hushed(), func(s *skein.Server) {
		s.OnMessage("room", func(_ context.Context, m *skein.Message) error {
			m.Reply(json.RawMessage(`{"a":`))
			return nil
		})
		s.OnCall("raw", func(context.Context, *skein.Conn, []byte) ([]byte, error) { return []byte(`"no`), nil })
	})
	for _, frame := range []string{`{"type":"pub","channel":"room:1","data":1}`, `{"type":"call","method":"raw"}`} {
		s.user("ann").fails(frame, "internal")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	bob := s.user("bob")
	for what, err := range map[string]error{
		"Send": func() error {
			_, err := s.Conn(bob.ID).Send(ctx, "x", json.RawMessage(`{"a":`))
			return err
		}(),
		"Call": s.Conn(bob.ID).Call(ctx, "x", json.RawMessage(`{"a":`), nil),
		"CallConnection": func() error {
			_, err := s.CallConnection(ctx, bob.ID, "x", []byte(`{"a":`))
			return err
		}(),
	} {
		if e := new(skein.Error); !errors.As(err, &e) || e.Code != "bad_request" {
			t.Errorf("%s: %v, want bad_request", what, err)
		}
	}
	bob.lives()
}

// Whoever closes the server does not wait for ever for functions that wait for
// the end of their context, as they should.
func TestCloseEndsTheContextOfFunctions(t *testing.T) {
	wait := func(started chan<- string, what string, ctx context.Context) error {
		started <- what
		<-ctx.Done()
		return ctx.Err()
	}
	for what, tt := range map[string]struct {
		prepare func(s *skein.Server, started chan<- string)
		begin   func(s *testServer)
	}{
		"OnConnect": {func(s *skein.Server, started chan<- string) {
			s.OnConnect(func(ctx context.Context, _ *skein.Connecting) error { return wait(started, "OnConnect", ctx) })
		}, func(s *testServer) { s.dial("").send(`{"type":"connect"}`) }},
		"OnOpen": {func(s *skein.Server, started chan<- string) {
			s.OnOpen(func(ctx context.Context, _ *skein.Conn) { _ = wait(started, "OnOpen", ctx) })
		}, func(s *testServer) { s.dial("").send(`{"type":"connect"}`) }},
		"OnSubscribe": {func(s *skein.Server, started chan<- string) {
			s.OnSubscribe("", func(ctx context.Context, _ *skein.Subscribing) error { return wait(started, "OnSubscribe", ctx) })
		}, func(s *testServer) { s.user("ann").send(`{"type":"sub","channel":"room:1"}`) }},
		"OnMessage": {func(s *skein.Server, started chan<- string) {
			s.OnMessage("", func(ctx context.Context, _ *skein.Message) error { return wait(started, "OnMessage", ctx) })
		}, func(s *testServer) { s.user("ann").send(`{"type":"pub","channel":"room:1","data":1}`) }},
		"OnCall": {func(s *skein.Server, started chan<- string) {
			s.OnCall("x", func(ctx context.Context, _ *skein.Conn, _ []byte) ([]byte, error) {
				return nil, wait(started, "OnCall", ctx)
			})
		}, func(s *testServer) { s.user("ann").send(`{"type":"call","method":"x"}`) }},
		"OnMessage of a stream": {func(s *skein.Server, started chan<- string) {
			s.OnMessage("", func(ctx context.Context, _ *skein.Message) error { return wait(started, "OnMessage", ctx) })
		}, func(s *testServer) { s.source("user=ann").post(`{"type":"pub","channel":"room:1","data":1}`) }},
		"OnMessage of Socket.IO": {func(s *skein.Server, started chan<- string) {
			s.OnMessage("", func(ctx context.Context, _ *skein.Message) error { return wait(started, "OnMessage", ctx) })
		}, func(s *testServer) {
			c := s.io("")
			c.connect("/room", "")
			c.send(`42/room,["x",1]`)
		}},
	} {
		t.Run(what, func(t *testing.T) {
			s, err := newOnFreePort(hushed())
			if err != nil {
				t.Fatal(err)
			}
			started := make(chan string, 1)
			tt.prepare(s, started)
			l, err := s.Listen()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() { _ = s.Serve(ctx, l) }()
			tt.begin(&testServer{s, t, l.Addr().String()})
			<-started
			done := make(chan error, 1)
			go func() { done <- s.Close() }()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(3 * time.Second):
				t.Fatal("Close waits for a function that waits for its context")
			}
		})
	}
}

// A Socket.IO client ends for the same reasons as any other, and they are told.
func TestOnCloseOfASocketIOClientHasTheReason(t *testing.T) {
	seen := &list[end]{}
	cfg := ioConfig()
	cfg.Logger = hushed().Logger
	s := startWith(t, cfg, ends(seen))
	for _, tt := range []struct {
		params string
		want   skein.Closing
	}{
		{`{"user":"ann","message":"enough"}`, skein.Closing{Reason: "disconnected", Code: 4004, Message: "enough"}},
		{`{"user":"ann","message":"moved","reconnect":true}`, skein.Closing{Reason: "disconnected", Code: 4004, Message: "moved"}},
	} {
		c := s.io("&user=ann")
		c.connect("/", "")
		s.verb("disconnect", tt.params)
		same(t, tt.params, seen.wait(t, 1)[0].Why, tt.want)
	}
}

// A client that takes nothing any more is told to be too slow.
func TestOnCloseOfASlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &list[end]{}
		s := inBubble(t, hushed(), ends(seen))
		ann := s.user("ann")
		if err := s.Conn(ann.ID).Subscribe(context.Background(), "room:1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second) // the pipe holds nothing, so not a byte was taken
		same(t, "why", seen.take(), []end{{ann.ID, "ann", "", "ann", "room:1", "websocket", skein.Closing{Reason: "too_slow", Code: 4008, Message: "no bytes were taken for 20s"}}})
	})
}
