package connection_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/connection"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
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
func (o *outlet) Remote() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:99") }

// world is a hub with sessions and the feature.
type world struct {
	*session.Server
	t     *testing.T
	hub   *hub.Hub
	verbs *verb.Registry
	memo  *verb.Memo
}

func start(t *testing.T) *world {
	t.Helper()
	clock, err := link.Start(link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Config{Encodings: []hub.Encoding{lines{}}, Shards: 1})
	h.SetSpaces([]*hub.Space{
		{Name: "room", Kind: "event", Subscribe: auth.Anyone, Publish: auth.User, PresenceTo: auth.Anyone, Presence: hub.PresenceMembers},
		{Name: "hall", Kind: "event", Subscribe: auth.Anyone, Publish: auth.Server, PresenceTo: auth.Anyone, Presence: hub.PresenceCounts},
		{Name: "dark", Kind: "event", Subscribe: auth.User, Publish: auth.User, PresenceTo: auth.Anyone},
	})
	w := &world{t: t, hub: h, memo: verb.NewMemo(0, 0)}
	w.verbs = verb.NewRegistry(w.memo, 16)
	w.Server = session.NewServer(session.Config{Hub: h, Clock: clock, Verifier: verifier, Settings: session.Settings{
		AuthTimeout: time.Hour, Heartbeat: time.Second, Depth: 16, FramesPerSecond: -1, Anonymous: true, Dev: true,
	}})
	connection.New(h, func(*hub.Sub) uint64 { return 0 }, nil, w.verbs)
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

// open opens a session of a user, "" for an anonymous one.
func (w *world) open(user, device string) *client {
	w.t.Helper()
	c := &client{t: w.t, out: outlet{seen: make(chan struct{}, 1)}}
	w.Prepare(&c.Session, &c.out, 0)
	c.Begin(session.Opening{User: user, Device: device})
	if user == "" {
		c.send(`{"type":"connect"}`)
	}
	c.expect("welcome")
	return c
}

// run runs a verb; a failure is given as its text.
func (w *world) run(name, params string) (map[string]any, string) {
	w.t.Helper()
	b, err := w.verbs.Run(w.t.Context(), name, []byte(params), "")
	if err != nil {
		return nil, err.Error()
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		w.t.Fatalf("%q: %v", b, err)
	}
	return m, ""
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
