package users_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/feature/users"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub, with users in a store.
type world struct {
	*sessiontest.World
	users *users.Feature
	store *sqlite.Store
	time  int64 // Unix milliseconds
}

// idle makes a world without a store.
func idle(t testing.TB) *world {
	t.Helper()
	w := &world{World: sessiontest.Start(t, sessiontest.Options{}), time: 1_700_000_000_000}
	w.Verbs.SetDepth(64)
	w.users = users.New(users.Config{Hub: w.Hub, Verbs: w.Verbs, Now: func() time.Time { return time.UnixMilli(w.time) }})
	return w
}

func start(t testing.TB) *world {
	t.Helper()
	w := idle(t)
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	w.store = st
	w.users.Start(st)
	return w
}

// must runs a verb that succeeds.
func (w *world) must(name, params string) map[string]any {
	w.T.Helper()
	m, failure := w.Run(name, params)
	if failure != "" {
		w.T.Fatalf("%s %s: %s", name, params, failure)
	}
	return m
}

// refused runs a verb that fails, and checks with what.
func (w *world) refused(name, params, want string) {
	w.T.Helper()
	m, failure := w.Run(name, params)
	if failure != want {
		w.T.Errorf("%s %.80s: got %q %v\nwant %q", name, params, failure, m, want)
	}
}
