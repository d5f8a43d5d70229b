// Package sessiontest is sessions for tests that need no network: a hub and a
// session server with a clock, both real, and clients whose transport keeps what it
// is given.
package sessiontest

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// patience is how long a client waits for a frame.
const patience = 20 * time.Second

// Secret is what tokens are signed with that worlds without a verifier believe.
var Secret = []byte("a secret that is long enough for HS256")

// Options of a [World]. The zero value of each field is its default.
type Options struct {
	Settings *session.Settings // nil: anonymous clients and ?user= are let in, no limit of frames
	Spaces   []*hub.Space
	Verifier session.Verifier // nil: one that believes tokens signed with [Secret]
	Tick     time.Duration    // of the clock
	Logger   *slog.Logger
}

// World is a hub and a session server, with a registry of verbs beside them. They
// end with the test.
type World struct {
	*session.Server
	T     testing.TB
	Hub   *hub.Hub
	Clock *link.Server
	Verbs *verb.Registry
	Memo  *verb.Memo
}

// Start makes a World.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	clock, err := link.Start(link.Config{Tick: o.Tick})
	if err != nil {
		t.Fatal(err)
	}
	if o.Verifier == nil {
		if o.Verifier, err = auth.NewVerifier(auth.Config{HMACSecret: Secret}); err != nil {
			t.Fatal(err)
		}
	}
	if o.Settings == nil {
		o.Settings = &session.Settings{AuthTimeout: time.Hour, Heartbeat: time.Second, Depth: 16, FramesPerSecond: -1, Anonymous: true, Dev: true}
	}
	h := hub.New(hub.Config{Encodings: []hub.Encoding{Lines{}}, Shards: 1})
	h.SetSpaces(o.Spaces)
	w := &World{T: t, Hub: h, Clock: clock, Memo: verb.NewMemo(0, 0)}
	w.Verbs = verb.NewRegistry(w.Memo, 16)
	w.Server = session.NewServer(session.Config{Hub: h, Clock: clock, Verifier: o.Verifier, Logger: o.Logger, Settings: *o.Settings})
	t.Cleanup(func() {
		clock.Close()
		w.Close()
		h.Close()
	})
	return w
}

// Run runs a verb as a backend; a failure is given as its text.
func (w *World) Run(name, params string) (map[string]any, string) {
	w.T.Helper()
	b, err := w.Verbs.Run(verb.WithCaller(context.Background(), verb.Caller{Name: "backend"}), name, []byte(params), "")
	if err != nil {
		return nil, err.Error()
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		w.T.Fatalf("%q: %v", b, err)
	}
	return m, ""
}

// Token makes a token; what the identity does not say is not in it.
func (w *World) Token(id auth.Identity, issued time.Time) string {
	w.T.Helper()
	text, err := auth.Sign(Secret, id, "", "", issued)
	if err != nil {
		w.T.Fatal(err)
	}
	return text
}

// Client is one session and what it was sent.
type Client struct {
	session.Session
	Out Outlet
	T   testing.TB
}

// Open opens a session of a server whose hub has [Lines] for its first encoding.
func Open(t testing.TB, srv *session.Server, o session.Opening) *Client {
	c := &Client{T: t, Out: Outlet{seen: make(chan struct{}, 1)}}
	srv.Prepare(&c.Session, &c.Out, 0)
	c.Begin(o)
	return c
}

// Open opens a session.
func (w *World) Open(o session.Opening) *Client { return Open(w.T, w.Server, o) }

// User opens a session of a user without a token, "" for an anonymous one, and
// takes its welcome.
func (w *World) User(user, device string) *Client {
	w.T.Helper()
	c := w.Open(session.Opening{User: user, Device: device})
	if user == "" {
		c.Send(`{"type":"connect"}`)
	}
	c.Expect("welcome")
	return c
}

// Send is what the client sends.
func (c *Client) Send(frame string) { c.Receive([]byte(frame)) }

// Next waits for a frame.
func (c *Client) Next() map[string]any {
	c.T.Helper()
	over := time.After(patience)
	for {
		c.Out.mu.Lock()
		if len(c.Out.frames) > 0 {
			text := c.Out.frames[0]
			c.Out.frames = c.Out.frames[1:]
			c.Out.mu.Unlock()
			var f map[string]any
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				c.T.Fatalf("%q: %v", text, err)
			}
			return f
		}
		c.Out.mu.Unlock()
		select {
		case <-c.Out.seen:
		case <-over:
			c.T.Fatal("no frame came")
		}
	}
}

// Expect takes a frame and checks its type.
func (c *Client) Expect(kind string) map[string]any {
	c.T.Helper()
	f := c.Next()
	if f["type"] != kind {
		c.T.Fatalf("got %v, want a frame of type %s", f, kind)
	}
	return f
}

// Do sends a frame with an id and takes its ok.
func (c *Client) Do(frame string) map[string]any {
	c.T.Helper()
	c.Send(strings.Replace(frame, "{", `{"id":1,`, 1))
	return c.Expect("ok")
}

// Message takes a msg and gives its data.
func (c *Client) Message() any {
	c.T.Helper()
	return c.Expect("msg")["data"]
}

// ExpectError takes an error frame and checks its code and a part of its message.
func (c *Client) ExpectError(code fault.Code, message string) map[string]any {
	c.T.Helper()
	f := c.Expect("error")
	text, _ := f["message"].(string)
	if f["code"] != string(code) || !strings.Contains(text, message) {
		c.T.Errorf("got %v, want %s: %s", f, code, message)
	}
	return f
}

// ExpectBye takes the bye and checks it against the close that follows.
func (c *Client) ExpectBye(want protocol.Close) map[string]any {
	c.T.Helper()
	f := c.Expect("bye")
	if reason, _ := c.Out.Ended(); f["code"] != want.Word || f["reconnect"] != want.Reconnect || reason != want {
		c.T.Errorf("got %v and a close with %+v, want %+v", f, reason, want)
	}
	return f
}

// Nothing checks that no frame waits.
func (c *Client) Nothing() {
	c.T.Helper()
	c.Out.mu.Lock()
	defer c.Out.mu.Unlock()
	if len(c.Out.frames) > 0 {
		c.T.Errorf("got %q, want nothing", c.Out.frames)
	}
}
