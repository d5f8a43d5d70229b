package session_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a session server with real parts around it.
type world struct{ *sessiontest.World }

func defaults() session.Settings {
	return session.Settings{AuthTimeout: time.Hour, Heartbeat: 15 * time.Second, Depth: 8, Subscriptions: 10, FramesPerSecond: -1}
}

func start(t testing.TB, settings session.Settings) *world { return startWith(t, settings, nil) }

func startWith(t testing.TB, settings session.Settings, v session.Verifier) *world {
	t.Helper()
	return &world{sessiontest.Start(t, sessiontest.Options{
		Settings: &settings, Verifier: v, Tick: time.Millisecond,
		Spaces: []*hub.Space{{Name: "room", Kind: "event", Subscribe: auth.Token, Publish: auth.Anyone}},
	})}
}

func (w *world) token(id auth.Identity) string { return w.Token(id, time.Now()) }

// user opens a session of a user and takes its welcome.
func (w *world) user(name string) *sessiontest.Client {
	w.T.Helper()
	c := w.Open(session.Opening{Token: w.token(auth.Identity{User: name})})
	c.Expect("welcome")
	return c
}

// unreachable is a verifier whose keys cannot be fetched.
type unreachable struct{}

func (unreachable) Enabled() bool { return true }

func (unreachable) Verify(context.Context, string) (auth.Identity, error) {
	return auth.Identity{}, fault.New(fault.Unavailable, "no keys").After(3 * time.Second)
}
