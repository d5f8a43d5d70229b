package access_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/access"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	*sessiontest.World
	log *logs
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
	n := &node{log: new(logs)}
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	n.World = sessiontest.Start(t, sessiontest.Options{
		Logger: logger, Spaces: []*hub.Space{{Name: "room", Kind: "event", Subscribe: auth.Anyone, Publish: auth.User}},
	})
	n.Feature = access.New(access.Config{
		Sessions: n.Server, Verbs: n.Verbs, Logger: logger, Exempt: func(caller string) bool { return caller == "library" },
	})
	n.SetHooks(session.Hooks{
		Admit: n.Admit, Welcomed: n.Recheck, Bound: n.Recheck,
		Closed: func(s *session.Session, _ protocol.Close, _ string) {
			n.Saw(s.User(), s.Identity().Device, time.Now())
		},
	})
	t.Cleanup(n.Feature.Close)
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

func (n *node) signed(id auth.Identity, issued time.Time) *sessiontest.Client {
	n.T.Helper()
	c := n.Open(session.Opening{Token: n.Token(id, issued)})
	c.Expect("welcome")
	return c
}

// must runs a verb that succeeds.
func (n *node) must(name, params string) map[string]any {
	n.T.Helper()
	m, failure := n.Run(name, params)
	if failure != "" {
		n.T.Fatalf("%s %s: %s", name, params, failure)
	}
	return m
}

// expectBye takes the bye and checks it against the close that follows; then the
// connection is gone.
func expectBye(c *sessiontest.Client, want protocol.Close, message string) map[string]any {
	f := c.ExpectBye(want)
	if f["message"] != message {
		c.T.Errorf("got %v, want %s", f, message)
	}
	c.Closed(want, message)
	return f
}

// lives checks that the connection goes on.
func lives(c *sessiontest.Client) {
	c.T.Helper()
	c.Send(`{"type":"ping","id":"alive"}`)
	c.Expect("pong")
}

func ended(c *sessiontest.Client) bool {
	_, ended := c.Out.Ended()
	return ended
}
