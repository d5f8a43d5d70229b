package audit_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/audit"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWhatIsWritten(t *testing.T) {
	w := start(t)
	verb.Add(w.verbs, "app.strict", "Says what it was given.", func(_ context.Context, p struct {
		PushToken string `json:"push_token"`
	}) (struct{}, error) {
		return struct{}{}, fault.Field("push_token", "%q is none", p.PushToken)
	})
	var want []store.AuditLine // the oldest first
	for _, tt := range []struct {
		caller       verb.Caller
		verb, params string
		line         *store.AuditLine // nil: none
	}{
		{backend, "categories.put", `{"name":"news"}`, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Target: "news", Params: []byte(`{"name":"news"}`), Outcome: "ok"}},
		{backend, "app.own", ``, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Outcome: "ok"}},
		{backend, "publish", `{"name":"x"}`, nil},
		{backend, "stats", `{}`, nil},
		{backend, "audit", `{}`, nil},
		{backend, "no.verb", `{}`, nil},
		{ann, "publish", `{}`, &store.AuditLine{Who: "ann", By: "console", Role: "operator", Address: "2001:db8::1", Outcome: "ok"}},
		{ann, "stats", `{}`, nil},
		{library, "categories.put", `{"name":"news"}`, nil},
		{verb.Caller{Name: "schedule:x"}, "categories.put", `{}`, nil},
		{backend, "categories.put", `{"fail":"so"}`, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Params: []byte(`{"fail":"so"}`), Outcome: "bad_request", Error: `fail: "so"`}},
		{backend, "categories.put", `{"fail":"internal"}`, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Params: []byte(`{"fail":"internal"}`), Outcome: "internal", Error: "internal error"}},
		{backend, "categories.put", `{"nmae":"a","password":"hunter2"}`, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Params: []byte(`{"nmae":"a","password":"…"}`),
			Outcome: "bad_request", Error: "nmae: is not a field of this verb"}},
		{backend, "app.strict", `{"push_token":"hunter2"}`, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Params: []byte(`{"push_token":"…"}`), Outcome: "bad_request", Error: "push_token: is wrong"}},
		{backend, "categories.put", `{`, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Outcome: "bad_request", Error: "params: not valid JSON at byte 1: the object is not closed"}},
		{backend, "categories.put", `{"name":"` + strings.Repeat("n", 5000) + `"}`, &store.AuditLine{Who: "backend", By: "key", Address: "192.0.2.1", Target: strings.Repeat("n", 1024), Truncated: true, Outcome: "ok"}},
		{verb.Caller{Name: strings.Repeat("é", 200), By: verb.ByKey}, "app.own", ``, &store.AuditLine{Who: strings.Repeat("é", 128), By: "key", Outcome: "ok"}},
	} {
		_ = w.run(tt.caller, tt.verb, tt.params, "") // how it ended is in the log
		if tt.line != nil {
			tt.line.Verb = tt.verb
			want = append([]store.AuditLine{*tt.line}, want...)
		}
	}
	w.settled()
	got := w.log()
	for i := range got {
		if i < len(want) && strings.HasPrefix(got[i].Error, "params: not valid JSON") {
			want[i].Error = got[i].Error // the words are the parser's
		}
	}
	same(t, "the log", want, got)
	if n := w.audit.Metrics().Lines.Load(); n != int64(len(want)) {
		t.Errorf("the metric says %d of %d", n, len(want))
	}
}

// A repeat that gets the first answer is a run like any other.
func TestARepeatIsWritten(t *testing.T) {
	w := start(t)
	for range 3 {
		if err := w.run(backend, "categories.put", `{"name":"a"}`, "key"); err != nil {
			t.Fatal(err)
		}
	}
	w.settled()
	if got := w.log(); len(got) != 3 || got[0].Outcome != "ok" || w.runs != 1 {
		t.Errorf("%d runs, %+v", w.runs, got)
	}
}

func TestAVerbThatPanicsHasAnOutcome(t *testing.T) {
	w := start(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = w.run(backend, "app.own", `{"fail":"panic"}`, "")
	}()
	w.settled()
	if got := w.log(); len(got) != 1 || got[0].Outcome != "internal" {
		t.Errorf("got %+v", got)
	}
}

// The line is there before the verb runs, and open until it has ended.
func TestALineIsThereBeforeTheVerbRuns(t *testing.T) {
	w := start(t)
	w.hold = make(chan struct{})
	ended := make(chan error)
	go func() { ended <- w.run(backend, "categories.put", `{"name":"a"}`, "") }()
	<-w.begun
	if got := w.log(); len(got) != 1 || got[0].Outcome != "" {
		t.Errorf("while it runs there is %+v", got)
	}
	close(w.hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	w.settled()
	if got := w.log(); len(got) != 1 || got[0].Outcome != "ok" {
		t.Errorf("afterwards there is %+v", got)
	}
}

func TestRecord(t *testing.T) {
	w := start(t)
	for _, err := range []error{
		w.audit.Record(t.Context(), ann, "console.login", nil, nil),
		w.audit.Record(t.Context(), verb.Caller{By: verb.ByConsole}, "console.login", []byte(`{"user":"eve","password":"hunter2"}`), fault.New(fault.Unauthorized, "user or password is wrong")),
		w.audit.Record(t.Context(), ann, "stats", []byte(`{}`), fault.New(fault.Denied, "the role viewer may not run stats")),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	same(t, "the log", []store.AuditLine{
		{Who: "ann", By: "console", Role: "operator", Address: "2001:db8::1", Verb: "stats", Outcome: "denied", Error: "the role viewer may not run stats"},
		{Who: "?", By: "console", Verb: "console.login", Target: "eve", Params: []byte(`{"user":"eve","password":"…"}`), Outcome: "unauthorized", Error: "user or password is wrong"},
		{Who: "ann", By: "console", Role: "operator", Address: "2001:db8::1", Verb: "console.login", Outcome: "ok"},
	}, w.log())
}

// Many runs at once have a line and an outcome each, and what waits at the end is written.
func TestACrowdIsWritten(t *testing.T) {
	w := start(t)
	w.hold = make(chan struct{})
	const runs = 60
	var wait sync.WaitGroup
	var mu sync.Mutex
	verb.Add(w.verbs, "app.crowd", "Is run by many.", func(_ context.Context, p struct {
		N int `json:"n"`
	}) (struct{}, error) {
		mu.Lock()
		defer mu.Unlock()
		if p.N%2 > 0 {
			return struct{}{}, fault.New(fault.Conflict, "odd")
		}
		return struct{}{}, nil
	})
	for i := range runs {
		wait.Go(func() { _ = w.run(backend, "app.crowd", fmt.Sprintf(`{"n":%d}`, i), "") })
	}
	wait.Wait()
	w.audit.Close()
	count := map[string]int{}
	for _, l := range w.log() {
		count[l.Outcome]++
	}
	same(t, "outcomes", map[string]int{"ok": runs / 2, "conflict": runs / 2}, count)
	if err := w.run(backend, "app.crowd", `{}`, ""); fault.Of(err).Code != fault.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}

// Without a store nothing is written, and everything runs.
func TestWithoutAStoreThereIsNoLog(t *testing.T) {
	w := idle(t)
	if err := w.run(backend, "categories.put", `{}`, ""); err != nil || w.runs != 1 {
		t.Errorf("%d runs, %v", w.runs, err)
	}
	if err := w.audit.Record(t.Context(), ann, "console.login", nil, nil); err != nil {
		t.Error(err)
	}
	if err := w.run(backend, "audit", `{}`, ""); err == nil || !strings.Contains(err.Error(), "unavailable: the audit log needs a store") {
		t.Errorf("got %v", err)
	}
	w.audit.Close()
}

// When the line cannot be stored the verb does not run; when the store is there again it
// does.
func TestWhatCannotBeWrittenDoesNotRun(t *testing.T) {
	w := start(t)
	broken := &failing{Store: w.store}
	w.audit.Close()
	w2 := idle(t)
	w2.store = w.store
	w2.audit.Start(broken)
	defer w2.audit.Close()
	if err := w2.run(backend, "categories.put", `{}`, ""); err != nil {
		t.Fatal(err)
	}
	w2.settled()
	if _, is := w2.audit.Failing(); is {
		t.Error("it is said to fail")
	}
	broken.set(true)
	for range 3 {
		err := w2.run(backend, "categories.put", `{}`, "")
		if e := fault.Of(err); e == nil || e.Code != fault.Unavailable || e.RetryAfter == 0 {
			t.Errorf("got %v", err)
		}
	}
	if err := w2.audit.Record(t.Context(), ann, "console.login", nil, nil); fault.Of(err).Code != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	if since, is := w2.audit.Failing(); !is || time.Since(since) > time.Minute || w2.runs != 1 {
		t.Errorf("failing %v since %v, after %d runs", is, since, w2.runs)
	}
	if err := w2.run(backend, "publish", `{}`, ""); err != nil { // traffic is not in the log
		t.Error(err)
	}
	if n := w2.audit.Metrics().Failures.Load(); n < 4 {
		t.Errorf("%d failures are counted", n)
	}
	// Who gives up says nothing of the store.
	broken.set(false)
	if err := w2.run(backend, "categories.put", `{}`, ""); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w2.verbs.Run(verb.WithCaller(ctx, backend), "categories.put", nil, ""); fault.Of(err).Code != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	if _, is := w2.audit.Failing(); is {
		t.Error("it still fails")
	}
	w2.settled()
	got := w2.log()
	if len(got) != 2 || got[0].Outcome != "ok" || got[1].Outcome != "ok" {
		t.Errorf("the log has %+v", got)
	}
}

// An outcome that cannot be written waits until the store is there again.
func TestAnOutcomeWaitsForTheStore(t *testing.T) {
	w := idle(t)
	w.store = start(t).store
	st := &failing{Store: w.store}
	w.audit.Start(st)
	w.hold = make(chan struct{})
	ended := make(chan error)
	go func() { ended <- w.run(backend, "categories.put", `{}`, "") }()
	<-w.begun
	st.set(true)
	close(w.hold)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-st.refused
	if got := w.log(); len(got) != 1 || got[0].Outcome != "" {
		t.Errorf("got %+v", got)
	}
	st.set(false)
	w.audit.Close() // which writes what waits
	if got := w.log(); len(got) != 1 || got[0].Outcome != "ok" {
		t.Errorf("got %+v", got)
	}
}

// failing is a store that can be made to take nothing.
type failing struct {
	audit.Store
	mu      sync.Mutex
	fails   bool
	refused chan struct{}
}

func (f *failing) set(fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = fails
	if f.refused == nil {
		f.refused = make(chan struct{}, 100)
	}
}

func (f *failing) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	f.mu.Lock()
	fails, refused := f.fails, f.refused
	f.mu.Unlock()
	if fails {
		select {
		case refused <- struct{}{}:
		default:
		}
		return nil, fmt.Errorf("the disk is full: %w", store.ErrUnavailable)
	}
	return f.Store.Do(ctx, group...)
}

// What is too old goes, a step at a time; what is kept for ever stays.
func TestOldLinesAreDeleted(t *testing.T) {
	first := start(t)
	const lines = 2500
	for i := range lines {
		if err := first.audit.Record(t.Context(), backend, fmt.Sprint("x", i), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	first.audit.Close()
	w := idle(t)
	w.store, w.ahead, w.keep = first.store, time.Hour, 2*time.Hour
	w.audit.Trim(t.Context(), w.store)
	count := func() int {
		stats, err := w.store.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return int(stats.AuditLines)
	}
	if n := count(); n != lines {
		t.Errorf("%d are left of those that are young", n)
	}
	w.keep = 0
	w.audit.Trim(t.Context(), w.store)
	if n := count(); n != lines {
		t.Errorf("%d are left of those that are kept for ever", n)
	}
	w.keep = 30 * time.Minute
	w.audit.Start(w.store) // with which the janitor begins
	defer w.audit.Close()
	deadline := time.After(time.Minute)
	for count() > 0 {
		select {
		case <-deadline:
			t.Fatalf("%d are left of those that are old", count())
		case <-time.After(time.Millisecond):
		}
	}
	if n := w.audit.Metrics().Trimmed.Load(); n != lines {
		t.Errorf("the metric says %d", n)
	}
}
