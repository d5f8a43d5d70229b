package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/audit"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a registry with some verbs, and an audit log in a store.
type world struct {
	t     *testing.T
	verbs *verb.Registry
	audit *audit.Feature
	store *sqlite.Store
	runs  int
	hold  chan struct{} // what categories.put waits for; nil: nothing
	begun chan struct{} // is told when it does
	keep  time.Duration
	ahead time.Duration // of the clock
}

// idle makes a world without a store.
func idle(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, verbs: verb.NewRegistry(verb.NewMemo(0, 0), 16), begun: make(chan struct{}, 100)}
	w.audit = audit.New(audit.Config{
		Verbs: w.verbs, Keep: func() time.Duration { return w.keep }, Now: func() time.Time { return time.Now().Add(w.ahead) },
		Logger: slog.New(slog.DiscardHandler),
	})
	type params struct {
		Name string `json:"name,omitempty"`
		Fail string `json:"fail,omitempty"`
	}
	type result struct {
		Run int `json:"run"`
	}
	run := func(ctx context.Context, p params) (result, error) {
		w.runs++
		if w.hold != nil {
			w.begun <- struct{}{}
			<-w.hold
		}
		switch p.Fail {
		case "":
			return result{w.runs}, nil
		case "panic":
			panic("broken")
		case "internal":
			return result{}, errors.New("the disk speaks in riddles")
		}
		return result{}, fault.Field("fail", "%q", p.Fail)
	}
	for _, name := range []string{"categories.put", "app.own", "publish", "stats"} {
		verb.Add(w.verbs, name, "Does it.", run, verb.Keyed)
	}
	return w
}

func start(t *testing.T) *world {
	t.Helper()
	w := idle(t)
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	w.store = st
	t.Cleanup(func() {
		w.audit.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	w.audit.Start(st)
	return w
}

var (
	backend = verb.Caller{Name: "backend", By: verb.ByKey, Address: "192.0.2.1"}
	ann     = verb.Caller{Name: verb.ConsolePrefix + "ann", By: verb.ByConsole, Role: "operator", Address: "2001:db8::1"}
	library = verb.Caller{Name: "library"}
)

// run runs a verb, and gives its error.
func (w *world) run(c verb.Caller, name, params, key string) error {
	_, err := w.verbs.Run(verb.WithCaller(context.Background(), c), name, []byte(params), key)
	return err
}

// log is what the store has, the newest first, without what differs from time to time.
func (w *world) log() []store.AuditLine {
	w.t.Helper()
	page, err := w.store.AuditLines(context.Background(), store.AuditQuery{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range page.Lines {
		if l := &page.Lines[i]; len(l.ID) != 26 || time.Since(time.UnixMilli(l.Time)).Abs() > time.Hour {
			w.t.Errorf("line %d: %+v", i, l)
		}
		page.Lines[i].ID, page.Lines[i].Time = "", 0
	}
	return page.Lines
}

// settled waits until the outcomes are written, as who asks for the log does.
func (w *world) settled() {
	w.t.Helper()
	if err := w.run(library, "audit", `{}`, ""); err != nil {
		w.t.Fatal(err)
	}
}
