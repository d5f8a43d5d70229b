package session_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// lines writes each frame as a line.
type lines struct{}

func (lines) Append(dst, frame []byte) []byte { return append(append(dst, frame...), '\n') }

// outlet is a transport that keeps what it was given.
type outlet struct {
	mu     sync.Mutex
	frames []string
	seen   chan struct{} // gets a value for each change
	reason protocol.Close
	ended  bool
}

func (o *outlet) keepLocked(wire []byte) {
	for line := range strings.Lines(string(wire)) {
		o.frames = append(o.frames, strings.TrimSuffix(line, "\n"))
	}
	select {
	case o.seen <- struct{}{}:
	default:
	}
}

func (o *outlet) Send(bufs []link.Buf, sub link.Subscriber) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range bufs {
		if sub.Live() && !o.ended {
			o.keepLocked(b.B)
		}
	}
}

func (o *outlet) SendFirst(before func(), wire []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return false
	}
	before()
	o.keepLocked(wire)
	return true
}

func (o *outlet) Offer(bufs []link.Buf, sub link.Subscriber) int {
	o.Send(bufs, sub)
	return len(bufs)
}

func (o *outlet) SendControl(wire []byte, then func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return false
	}
	o.keepLocked(wire)
	if then != nil {
		then()
	}
	return true
}

func (o *outlet) Close(reason protocol.Close, _ string, last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.ended, o.reason = true, reason
		o.keepLocked(last)
	}
}

func (o *outlet) Queued() int            { return 0 }
func (o *outlet) Written() int64         { return 0 }
func (o *outlet) Transport() string      { return "test" }
func (o *outlet) Remote() netip.AddrPort { return netip.AddrPort{} }

var secret = []byte("a secret that is long enough for HS256")

// world is a session server with real parts around it.
type world struct {
	*session.Server
	t     *testing.T
	hub   *hub.Hub
	clock *link.Server
}

func defaults() session.Settings {
	return session.Settings{AuthTimeout: time.Hour, Heartbeat: 15 * time.Second, Depth: 8, Subscriptions: 10, FramesPerSecond: -1}
}

func start(t *testing.T, settings session.Settings) *world {
	t.Helper()
	v, err := auth.NewVerifier(auth.Config{HMACSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, settings, v)
}

func startWith(t *testing.T, settings session.Settings, v session.Verifier) *world {
	t.Helper()
	clock, err := link.Start(link.Config{Tick: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Config{Encodings: []hub.Encoding{lines{}}, Shards: 1})
	h.SetSpaces([]*hub.Space{{Name: "room", Kind: "event", Subscribe: auth.Token, Publish: auth.Anyone}})
	w := &world{session.NewServer(session.Config{Hub: h, Clock: clock, Verifier: v, Settings: settings}), t, h, clock}
	t.Cleanup(func() {
		clock.Close()
		w.Close()
		h.Close()
	})
	return w
}

// client is one session and what it was sent.
type client struct {
	session.Session
	t   *testing.T
	out outlet
}

func (w *world) open(o session.Opening) *client {
	c := &client{t: w.t, out: outlet{seen: make(chan struct{}, 1)}}
	w.Prepare(&c.Session, &c.out, 0)
	c.Begin(o)
	return c
}

func (w *world) token(id auth.Identity) string {
	w.t.Helper()
	text, err := auth.Sign(secret, id, "", "", time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// user opens a session of a user and takes its welcome.
func (w *world) user(name string) *client {
	w.t.Helper()
	c := w.open(session.Opening{Token: w.token(auth.Identity{User: name})})
	c.expect("welcome")
	return c
}

func (c *client) send(frame string) { c.Receive([]byte(frame)) }

// next waits for a frame.
func (c *client) next() map[string]any {
	c.t.Helper()
	over := time.After(patience)
	for {
		c.out.mu.Lock()
		if len(c.out.frames) > 0 {
			text := c.out.frames[0]
			c.out.frames = c.out.frames[1:]
			c.out.mu.Unlock()
			var f map[string]any
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				c.t.Fatalf("%q: %v", text, err)
			}
			return f
		}
		c.out.mu.Unlock()
		select {
		case <-c.out.seen:
		case <-over:
			c.t.Fatal("no frame came")
		}
	}
}

func (c *client) expect(kind string) map[string]any {
	c.t.Helper()
	f := c.next()
	if f["type"] != kind {
		c.t.Fatalf("got %v, want a frame of type %s", f, kind)
	}
	return f
}

// expectError takes an error frame and checks its code and a part of its message.
func (c *client) expectError(code fault.Code, message string) map[string]any {
	c.t.Helper()
	f := c.expect("error")
	text, _ := f["message"].(string)
	if f["code"] != string(code) || !strings.Contains(text, message) {
		c.t.Errorf("got %v, want %s: %s", f, code, message)
	}
	return f
}

// expectBye takes the bye and checks it against the close that follows.
func (c *client) expectBye(want protocol.Close) map[string]any {
	c.t.Helper()
	f := c.expect("bye")
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if f["code"] != want.Word || f["reconnect"] != want.Reconnect || c.out.reason != want {
		c.t.Errorf("got %v and a close with %+v, want %+v", f, c.out.reason, want)
	}
	return f
}

// nothing checks that no frame waits.
func (c *client) nothing() {
	c.t.Helper()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if len(c.out.frames) > 0 {
		c.t.Errorf("got %q, want nothing", c.out.frames)
	}
}

// unreachable is a verifier whose keys cannot be fetched.
type unreachable struct{}

func (unreachable) Enabled() bool { return true }

func (unreachable) Verify(context.Context, string) (auth.Identity, error) {
	return auth.Identity{}, fault.New(fault.Unavailable, "no keys").After(3 * time.Second)
}
