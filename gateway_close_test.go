package skein_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// end is what OnClose was told of a connection, and what could be asked of it.
type end struct {
	ID, User, Device, Session, Channels, Transport string
	Why                                            skein.Closing
}

// ends notes how connections end.
func ends(l *list[end]) func(*skein.Server) {
	return func(s *skein.Server) {
		s.OnOpen(func(ctx context.Context, c *skein.Conn) {
			if err := c.SetSession(ctx, map[string]string{"name": c.User()}); err != nil {
				panic(err)
			}
		})
		s.OnClose(func(*skein.Conn, skein.Closing) { panic("on purpose") })
		s.OnClose(func(c *skein.Conn, why skein.Closing) {
			var state struct{ Name string }
			_ = c.Session(&state)
			channels := c.Channels()
			slices.Sort(channels)
			l.add(end{c.ID(), c.User(), c.Device(), state.Name, strings.Join(channels, " "), c.Transport(), why})
		})
	}
}

func TestOnCloseSaysWhoItWasAndWhy(t *testing.T) {
	seen := &list[end]{}
	cfg := func() skein.Config {
		cfg := quick() // so that silence is noticed soon
		cfg.Logger = hushed().Logger
		return cfg
	}
	eachWith(t, cfg, ends(seen), func(t *testing.T, s *testServer) {
		begin := func() *client {
			c := s.dial("user=ann&device=phone")
			c.ID = c.expect("welcome")["connection"].(string)
			c.do(`{"type":"sub","channel":"room:1"}`)
			c.do(`{"type":"sub","channel":"room:2"}`)
			return c
		}
		for _, tt := range []struct {
			what string
			end  func(c *client)
			why  skein.Closing
		}{
			{"the client says goodbye", func(c *client) { c.close() }, skein.Closing{Reason: "normal", Code: 1000}},
			{"with a code of its own", func(c *client) { _ = c.ws.Close(4100, "my reasons") }, skein.Closing{Reason: "normal", Code: 4100, Message: "my reasons"}},
			{"it is cut off", func(c *client) { _ = c.ws.CloseNow() }, skein.Closing{Reason: "going_away", Code: 1001, Message: "the connection was lost"}},
			{"the verb disconnect", func(c *client) {
				s.verb("disconnect", fmt.Sprintf(`{"connection":%q,"message":"enough"}`, c.ID))
				c.goodbye("disconnected", 4004)
			}, skein.Closing{Reason: "disconnected", Code: 4004, Message: "enough"}},
			{"the verb disconnect, with a code", func(c *client) {
				s.verb("disconnect", fmt.Sprintf(`{"connection":%q,"message":"moved","code":4321,"reconnect":true}`, c.ID))
				c.goodbye("disconnected", 4321)
			}, skein.Closing{Reason: "disconnected", Code: 4321, Message: "moved"}},
			{"Conn.Close", func(c *client) { s.Conn(c.ID).Close("that is all"); c.goodbye("disconnected", 4004) }, skein.Closing{Reason: "disconnected", Code: 4004, Message: "that is all"}},
			{"two reasons at once", func(c *client) {
				conn := s.Conn(c.ID)
				conn.Close("first")
				conn.Close("second")
				c.goodbye("disconnected", 4004)
			}, skein.Closing{Reason: "disconnected", Code: 4004, Message: "first"}},
		} {
			c := begin()
			tt.end(c)
			got := seen.wait(t, 1)
			if tt.why.Message == "" {
				tt.why.Message = got[0].Why.Message // in words of the transport's own
			}
			same(t, tt.what, got, []end{{c.ID, "ann", "phone", "ann", "room:1 room:2", "websocket", tt.why}})
		}
		w := s.wire("user=ghost")
		id := w.expect("welcome")["connection"].(string)
		got := seen.wait(t, 1)
		same(t, "silence", []any{got[0].ID, got[0].Why.Reason, got[0].Why.Code}, []any{id, "heartbeat_lost", 4005})

		s.dial("").close() // was never in
		s.dial("token=nonsense").closed()
		c := begin()
		if err := s.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.goodbye("going_away", 1001)
		got = seen.wait(t, 1)
		same(t, "drain", []any{got[0].ID, got[0].Why.Reason, got[0].Why.Code, len(seen.take())}, []any{c.ID, "going_away", 1001, 0})
	})
}

func TestOnCloseWhenTheServerEndsIt(t *testing.T) {
	seen := &list[end]{}
	eachWith(t, hushed, ends(seen), func(t *testing.T, s *testServer) {
		c := s.user("ann")
		s.verb("disconnect", `{"user":"ann","message":"enough"}`)
		c.closed()
		same(t, "message of the verb", seen.wait(t, 1)[0].Why.Message, "enough")
		c = s.user("ann")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got := seen.take()
		same(t, "the end of the server", []any{len(got), got[0].ID, got[0].Why.Reason}, []any{1, c.ID, "going_away"})
	})
}

func TestOnCloseThroughTheOtherDoors(t *testing.T) {
	seen := &list[end]{}
	cfg := ioConfig()
	cfg.Logger = hushed().Logger
	s := startWith(t, cfg, ends(seen))
	one := func(transport, reason string) {
		t.Helper()
		got := seen.wait(t, 1)
		if len(got) != 1 || got[0].Transport != transport || got[0].Why.Reason != reason || got[0].User != "ann" || got[0].Channels != "room:all" || got[0].Session != "ann" {
			t.Errorf("got %+v", got)
		}
	}
	e := s.source("user=ann&channels=room:all")
	e.expect("ok")
	e.close()
	one("sse", "going_away") // nobody says goodbye there
	e = s.source("user=ann&channels=room:all")
	e.expect("ok")
	s.verb("disconnect", `{"user":"ann"}`)
	e.expect("bye")
	e.ended()
	one("sse", "disconnected")
	p := s.poller(`{"user":"ann"}`)
	p.do(`{"type":"sub","channel":"room:all"}`)
	p.leave()
	one("poll", "normal")
	c := s.io("&user=ann")
	c.connect("/", "")
	c.send("41")
	one("socket.io/websocket", "normal")
	c.connect("/", "")
	_ = c.ws.CloseNow()
	one("socket.io/websocket", "normal")
	if more := seen.take(); len(more) > 0 {
		t.Errorf("told twice: %+v", more)
	}
}

// However many things end a connection at once, it ends once.
func TestOnCloseIsCalledOnce(t *testing.T) {
	seen := &list[end]{}
	eachWith(t, hushed, ends(seen), func(t *testing.T, s *testServer) {
		const n = 60
		var want []string
		var wait sync.WaitGroup
		for i := range n {
			c := s.user("ann")
			want = append(want, c.ID)
			conn := s.Conn(c.ID)
			wait.Go(func() { conn.Close("by the server") })
			wait.Go(func() { _ = c.ws.CloseNow() })
			if i%2 == 0 {
				wait.Go(func() { _, _ = s.Disconnect(context.Background(), skein.DisconnectParams{User: "ann"}) })
			}
		}
		wait.Wait()
		s.empty()
		var got []string
		for _, e := range seen.wait(t, n) {
			got = append(got, e.ID)
		}
		slices.Sort(got)
		slices.Sort(want)
		same(t, "ended", got, want)
	})
}

// When everybody has been told there is nothing left to be asked or done.
func TestAConnThatHasEnded(t *testing.T) {
	conns := &list[*skein.Conn]{}
	s := startWith(t, hushed(), func(s *skein.Server) {
		s.OnClose(func(c *skein.Conn, _ skein.Closing) { conns.add(c) })
	})
	ann := s.user("ann")
	conn := s.Conn(ann.ID)
	if list := s.UserConns("ann"); len(list) != 1 || list[0].ID() != ann.ID || !conn.Alive() || conn.Since().IsZero() || !conn.Remote().Addr().IsLoopback() {
		t.Errorf("%d connections, %v", len(list), conn)
	}
	ann.close()
	conns.wait(t, 1)
	s.empty()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if conn.Alive() || s.Conn(ann.ID) != nil || len(s.UserConns("ann")) != 0 || s.Conn("nonsense") != nil {
		t.Error("it is still there")
	}
	_, sent := conn.Send(ctx, "x", 1)
	for what, err := range map[string]error{
		"session": conn.SetSession(ctx, struct{}{}), "merge": conn.MergeSession(ctx, struct{}{}), "subscribe": conn.Subscribe(ctx, "room:1"),
		"unsubscribe": conn.Unsubscribe(ctx, "room:1"), "bind": conn.Bind(ctx, "bob", ""), "call": conn.Call(ctx, "x", nil, nil),
	} {
		if !hasCode(err, "not_found") {
			t.Errorf("%s: %v, want not_found", what, err)
		}
	}
	if sent != nil && !hasCode(sent, "not_found") {
		t.Errorf("send: %v", sent)
	}
	conn.Close("again")
	stop := conn.Every(time.Millisecond, func(context.Context) { t.Error("a timer of a connection that has ended") })
	conn.After(time.Millisecond, func(context.Context) { t.Error("a timer of a connection that has ended") })
	s.user("bob").lives()
	stop()
}

// The server lives in a server of the application's own, under a path of its own.
func TestHandlerInsideAnotherServer(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			cfg := hushed()
			cfg.WebSocket.Driver = driver
			s, err := skein.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			skein.HandleCall(s, "add", func(_ context.Context, _ *skein.Conn, p []int) (int, error) { return p[0] + p[1], nil })
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a shop")) })
			mux.Handle("/live/", http.StripPrefix("/live", s.Handler()))
			outer := httptest.NewServer(mux)
			at := &testServer{s, t, strings.TrimPrefix(outer.URL, "http://") + "/live"}
			c := at.user("ann")
			same(t, "a call", c.do(`{"type":"call","method":"add","data":[1,2]}`)["data"], any(3.0))
			status, body := at.api("publish", fmt.Sprintf(`{"to":{"connection":%q},"data":1}`, c.ID))
			if status != 200 || body["connections"] != 1.0 {
				t.Errorf("%d %v", status, body)
			}
			c.direct(1.0)
			e, err := at.openSource("http://"+at.addr, "user=bob")
			if err != nil {
				t.Fatal(err)
			}
			e.expect("welcome")
			if res, err := http.Get(outer.URL); err != nil || res.StatusCode != 200 {
				t.Errorf("the shop: %v", err)
			} else {
				_ = res.Body.Close()
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.closed()
			e.close()
			outer.Close()
			if n := s.Connections(); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
}
