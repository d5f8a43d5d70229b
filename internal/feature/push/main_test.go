package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	_ "time/tzdata" // the zones, wherever the tests run

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fault"
	feature "github.com/skein-realtime/skein/internal/feature/push"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a hub with the engine of pushes and the feature on a store.
type world struct {
	*sessiontest.World
	*feature.Feature
	engine   *push.Pushes
	store    *broken
	settings feature.Settings
}

// broken is a store that fails when it is told to.
type broken struct {
	store.Store
	after atomic.Int64 // pushes that are carried out yet, then one fails; 0: none fails
}

func (b *broken) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	if _, is := group[0].(store.Push); is && b.after.Load() > 0 && b.after.Add(-1) == 0 {
		return nil, store.ErrUnavailable
	}
	return b.Store.Do(ctx, group...)
}

// jobs carries out what is handed over to campaigns, at once and without one: what becomes
// of it is the store's to say.
type jobs struct {
	w *world

	mu  sync.Mutex
	got []audience.Job
}

// Begin implements feature.Campaigns.
func (j *jobs) Begin(ctx context.Context, job audience.Job) (b audience.Begun, err error) {
	j.mu.Lock()
	j.got = append(j.got, job)
	j.mu.Unlock()
	users := job.To.Users
	if job.To.Members != "" {
		list, err := j.w.store.Members(ctx, job.To.Members, "", 1000)
		if err != nil {
			return b, err
		}
		for _, m := range list {
			users = append(users, m.User)
		}
	}
	to := make([]store.Recipient, len(users))
	for i, user := range users {
		to[i].User = user
	}
	done, err := j.w.engine.Push(ctx, push.Message{Content: job.Content, Key: job.Key, Digest: job.Digest, KeyExpires: job.KeyExpires}, to)
	return audience.Begun{Campaign: "job 1", Message: done.ID, Audience: int64(len(to)), Totals: done.Totals, Duplicate: done.Duplicate}, err
}

// config is a configuration that a test may change before the feature is made.
type config struct {
	categories map[string]feature.Category
	campaigns  bool
}

// open opens a store in a folder.
func open(t testing.TB, dir string, opt store.Options) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Relaxed: true, Options: opt})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// start makes a world on a store of its own.
func start(t testing.TB, cfg config) *world { return startIn(t, t.TempDir(), cfg) }

// startIn makes a world on a store in a folder, which no other has open. It ends with the
// test, or when stop is called.
func startIn(t testing.TB, dir string, cfg config) *world {
	t.Helper()
	w := &world{}
	w.engine = push.New(push.Config{Logger: slog.New(slog.DiscardHandler)})
	w.store = &broken{Store: open(t, dir, store.Options{Pushed: w.engine.Pushed})}
	t.Cleanup(w.close)
	w.World = sessiontest.Start(t, sessiontest.Options{Spaces: []*hub.Space{{Name: "team", Kind: "event"}}})
	w.Verbs.SetDepth(64)
	if err := w.engine.Start(t.Context(), w.Hub, w.store); err != nil {
		t.Fatal(err)
	}
	c := feature.Config{
		Hub: w.Hub, Verbs: w.Verbs, Engine: w.engine, Categories: cfg.categories, Logger: slog.New(slog.DiscardHandler),
		Settings: func() feature.Settings { return w.settings },
	}
	if cfg.campaigns {
		c.Campaigns = &jobs{w: w}
	}
	var err error
	if w.Feature, err = feature.New(c); err != nil {
		t.Fatal(err)
	}
	if err := w.Feature.Start(t.Context(), w.store, false); err != nil {
		t.Fatal(err)
	}
	return w
}

// close ends what works with the store, and the store.
func (w *world) close() {
	if w.Feature != nil {
		w.Feature.Close()
	}
	w.engine.Close()
	if err := w.store.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		w.T.Error(err)
	}
}

// must runs a verb that succeeds.
func (w *world) must(name, params string, args ...any) map[string]any {
	w.T.Helper()
	params = fmt.Sprintf(params, args...)
	m, failure := w.Run(name, params)
	if failure != "" {
		w.T.Fatalf("%s %.200s: %s", name, params, failure)
	}
	return m
}

// refused runs a verb that fails, and checks with what.
func (w *world) refused(name, params, want string) {
	w.T.Helper()
	m, failure := w.Run(name, params)
	if failure != want {
		w.T.Errorf("%s %.100s: got %q %v\nwant %q", name, params, failure, m, want)
	}
}

// keyed runs a verb with an idempotency key from outside the params.
func (w *world) keyed(name, params, key string) (map[string]any, *fault.Error) {
	w.T.Helper()
	b, err := w.Verbs.Run(verb.WithCaller(context.Background(), verb.Caller{Name: "backend"}), name, []byte(params), key)
	if err != nil {
		return nil, fault.Of(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		w.T.Fatalf("%q: %v", b, err)
	}
	return m, nil
}

// object is a JSON object.
func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// items gives one member of all items of a page.
func items(m map[string]any, member string) (list []any) {
	for _, item := range m["items"].([]any) {
		list = append(list, item.(map[string]any)[member])
	}
	return list
}

// around gives quiet hours in UTC that it is now in the middle of.
func around(now time.Time) *feature.Quiet {
	now = now.UTC()
	return &feature.Quiet{From: now.Add(-time.Hour).Format("15:04"), To: now.Add(2 * time.Hour).Format("15:04")}
}
