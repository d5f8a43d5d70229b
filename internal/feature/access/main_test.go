package access_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/access"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store/sqlite"
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

func (o *outlet) isEnded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

func (o *outlet) Queued() int            { return 0 }
func (o *outlet) Written() int64         { return 0 }
func (o *outlet) Transport() string      { return "test" }
func (o *outlet) Remote() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:99") }

var secret = []byte("a secret that is long enough for HS256")

func open(t *testing.T) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// node is a hub with sessions and the feature.
type node struct {
	*access.Feature
	t        *testing.T
	hub      *hub.Hub
	sessions *session.Server
	verbs    *verb.Registry
	log      *logs
}

// logs is a log that is kept.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// idle makes a node whose feature has not started.
func idle(t *testing.T) *node {
	t.Helper()
	clock, err := link.Start(link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{HMACSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Config{Encodings: []hub.Encoding{lines{}}, Shards: 1})
	h.SetSpaces([]*hub.Space{{Name: "room", Kind: "event", Subscribe: auth.Anyone, Publish: auth.User}})
	n := &node{t: t, hub: h, verbs: verb.NewRegistry(verb.NewMemo(0, 0), 16), log: new(logs)}
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	n.sessions = session.NewServer(session.Config{Hub: h, Clock: clock, Verifier: verifier, Logger: logger, Settings: session.Settings{
		AuthTimeout: time.Hour, Heartbeat: time.Second, Depth: 16, FramesPerSecond: -1, Anonymous: true, Dev: true,
	}})
	n.Feature = access.New(access.Config{
		Sessions: n.sessions, Verbs: n.verbs, Logger: logger, Exempt: func(caller string) bool { return caller == "library" },
	})
	n.sessions.SetHooks(session.Hooks{
		Admit: n.Admit, Welcomed: n.Recheck, Bound: n.Recheck,
		Closed: func(s *session.Session, _ protocol.Close, _ string) {
			n.Saw(s.User(), s.Identity().Device, time.Now())
		},
	})
	t.Cleanup(func() {
		n.Close()
		clock.Close()
		n.sessions.Close()
		h.Close()
	})
	return n
}

func start(t *testing.T, st access.Store, shared bool) *node {
	t.Helper()
	n := idle(t)
	if err := n.Start(t.Context(), st, shared); err != nil {
		t.Fatal(err)
	}
	return n
}

// client is one session and what it was sent.
type client struct {
	session.Session
	t   *testing.T
	out outlet
}

func (n *node) open(o session.Opening) *client {
	c := &client{t: n.t, out: outlet{seen: make(chan struct{}, 1)}}
	n.sessions.Prepare(&c.Session, &c.out, 0)
	c.Begin(o)
	return c
}

// dev opens a session of a user without a token.
func (n *node) dev(user, device string) *client {
	n.t.Helper()
	c := n.open(session.Opening{User: user, Device: device})
	c.expect("welcome")
	return c
}

// token makes a token; what the identity does not say is not in it.
func (n *node) token(id auth.Identity, issued time.Time) string {
	n.t.Helper()
	text, err := auth.Sign(secret, id, "", "", issued)
	if err != nil {
		n.t.Fatal(err)
	}
	return text
}

func (n *node) signed(id auth.Identity, issued time.Time) *client {
	n.t.Helper()
	c := n.open(session.Opening{Token: n.token(id, issued)})
	c.expect("welcome")
	return c
}

// run runs a verb; a failure is given as its text.
func (n *node) run(name, params string) (map[string]any, string) {
	n.t.Helper()
	b, err := n.verbs.Run(verb.WithCaller(context.Background(), verb.Caller{Name: "backend"}), name, []byte(params), "")
	if err != nil {
		return nil, err.Error()
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		n.t.Fatalf("%q: %v", b, err)
	}
	return m, ""
}

// must runs a verb that succeeds.
func (n *node) must(name, params string) map[string]any {
	n.t.Helper()
	m, failure := n.run(name, params)
	if failure != "" {
		n.t.Fatalf("%s %s: %s", name, params, failure)
	}
	return m
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

// expectBye takes the bye and checks it against the close that follows; then the
// connection is gone.
func (c *client) expectBye(want protocol.Close, message string) map[string]any {
	c.t.Helper()
	f := c.expect("bye")
	c.out.mu.Lock()
	reason := c.out.reason
	c.out.mu.Unlock()
	if f["code"] != want.Word || f["reconnect"] != want.Reconnect || reason != want || f["message"] != message {
		c.t.Errorf("got %v and a close with %+v, want %+v: %s", f, reason, want, message)
	}
	c.Closed(want, message)
	return f
}

// lives checks that the connection goes on.
func (c *client) lives() {
	c.t.Helper()
	c.send(`{"type":"ping","id":"alive"}`)
	c.expect("pong")
}
