package document_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/store"
)

func inc(path string) string { return fmt.Sprintf(`[{"op":"inc","path":%q,"by":1}]`, path) }

func set(path, value string) string {
	return fmt.Sprintf(`[{"op":"set","path":%q,"value":%s}]`, path, value)
}

func testOf(path, value string) string {
	return fmt.Sprintf(`{"op":"test","path":%q,"value":%s}`, path, value)
}

func ifVersion(p *document.Patch, version uint64) *document.Patch {
	p.If = &version
	return p
}

// queued carries out patches that are taken together, in their order, and gives what
// became of them.
func (w *world) queued(channel string, list ...*document.Patch) ([]document.Patched, []error) {
	w.t.Helper()
	held, release := w.store.hold()
	defer release()
	var wait sync.WaitGroup
	wait.Go(func() { w.do(w.patch(channel, inc("/held"))) })
	<-held
	done, errs := make([]document.Patched, len(list)), make([]error, len(list))
	for i, p := range list {
		wait.Go(func() { done[i], errs[i] = w.docs.Do(context.Background(), p) })
		eventually(w.t, "it waits", func() bool { return w.docs.Queue(channel) == i+1 })
	}
	release()
	wait.Wait()
	return done, errs
}

func TestPatchesThatWaitShareACommit(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	var list []*document.Patch
	for range 100 {
		list = append(list, w.patch("doc:1", inc("/n")))
	}
	done, errs := w.queued("doc:1", list...)
	for i, err := range errs {
		if err != nil || done[i].Version != uint64(i+2) {
			t.Fatalf("patch %d: %+v, %v", i, done[i], err)
		}
	}
	if n := w.docs.Metrics().Commits.Load(); n != 2 {
		t.Errorf("it took %d commits", n)
	}
	w.has("doc:1", 101, `{"held":1,"n":100}`)
}

func TestOneRefusedPatchDoesNotHarmThoseBesideIt(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	done, errs := w.queued("doc:1",
		w.patch("doc:1", set("/a", "1")),
		w.patch("doc:1", `[{"op":"set","path":"/b","value":1},{"op":"remove","path":"/missing"}]`),
		ifVersion(w.patch("doc:1", set("/c", "1")), 2),
		ifVersion(w.patch("doc:1", set("/d", "1")), 2),
		w.patch("doc:1", "["+testOf("/c", "1")+"]"),
	)
	for i, want := range []struct {
		version uint64
		code    fault.Code
	}{{2, ""}, {0, fault.Conflict}, {3, ""}, {0, fault.Conflict}, {3, ""}} {
		if e := fault.Of(errs[i]); want.code == "" && (errs[i] != nil || done[i].Version != want.version) || want.code != "" && (e == nil || e.Code != want.code) {
			t.Errorf("patch %d: %+v, %v; want %+v", i, done[i], errs[i], want)
		}
	}
	w.has("doc:1", 3, `{"held":1,"a":1,"c":1}`)
}

// What comes behind a repeat must not be answered as if the repeat had been done.
func TestWhatFollowsARepeatIsAnsweredByWhatIsThere(t *testing.T) {
	g := keep(t, t.TempDir(), false)
	before := start(t, g, document.Config{})
	before.do(keyed(before.patch("doc:1", inc("/n")), "k"))
	before.end()

	w := start(t, g, document.Config{}) // it does not remember the key
	done, errs := w.queued("doc:1",
		keyed(w.patch("doc:1", inc("/n")), "k"),
		w.patch("doc:1", "["+testOf("/n", "1")+"]"),
		ifVersion(w.patch("doc:1", set("/after", "true")), 2),
		w.patch("doc:1", "["+testOf("/n", "2")+"]"),
	)
	if errs[0] != nil || done[0].Version != 1 || !done[0].Duplicate {
		t.Errorf("the repeat: %+v, %v", done[0], errs[0])
	}
	if errs[1] != nil || done[1].Version != 2 && done[1].Version != 3 {
		t.Errorf("a test of what is there: %+v, %v", done[1], errs[1])
	}
	if errs[2] != nil || done[2].Version != 3 {
		t.Errorf("a patch of the version that is there: %+v, %v", done[2], errs[2])
	}
	if e := fault.Of(errs[3]); e == nil || e.Code != fault.Conflict {
		t.Errorf("a test of what is not there: %+v, %v", done[3], errs[3])
	}
	w.has("doc:1", 3, `{"n":1,"held":1,"after":true}`)
}

func TestKeysInOneCommit(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	other := keyed(w.patch("doc:1", inc("/n")), "k")
	other.Content = []byte("something else")
	done, errs := w.queued("doc:1",
		keyed(w.patch("doc:1", inc("/n")), "k"),
		keyed(w.patch("doc:1", inc("/n")), "k"),
		w.patch("doc:1", inc("/m")),
		other,
		keyed(w.patch("doc:1", inc("/n")), "l"),
	)
	if errs[0] != nil || errs[1] != nil || done[1].Version != done[0].Version || done[0].Duplicate || !done[1].Duplicate {
		t.Errorf("twice the same: %+v %+v, %v %v", done[0], done[1], errs[0], errs[1])
	}
	if e := fault.Of(errs[3]); e == nil || e.Code != fault.Conflict {
		t.Errorf("other content: %+v, %v", done[3], errs[3])
	}
	if errs[2] != nil || errs[4] != nil {
		t.Errorf("those beside: %v, %v", errs[2], errs[4])
	}
	w.has("doc:1", 4, `{"held":1,"n":2,"m":1}`)
}

// What was done once is told to whoever repeats it, though it could not be done now.
func TestARepeatNeedNotBePossibleAnyMore(t *testing.T) {
	g := keep(t, t.TempDir(), false)
	limits := func() tree.Limits { return tree.Limits{Bytes: 60} }
	half := `"` + strings.Repeat("x", 30) + `"`
	makes := map[string]func(w *world) *document.Patch{
		"too large": func(w *world) *document.Patch {
			return keyed(w.patch("doc:large", `[{"op":"append","path":"/list","value":`+half+`}]`), "k")
		},
		"conflict": func(w *world) *document.Patch {
			return keyed(ifVersion(w.patch("doc:conflict", inc("/n")), 0), "k")
		},
		"denied": func(w *world) *document.Patch {
			p := keyed(w.patch("doc:denied", inc("/n")), "k")
			if w.space.Places != nil {
				p.Guard = w.space.Places.Guard("ann", "")
			}
			return p
		},
		"bad_request": func(w *world) *document.Patch {
			p := keyed(w.patch("doc:schema", inc("/n")), "k")
			space := *w.space
			space.Check = func(raw []byte) error {
				if string(raw) != `{"n":1}` {
					return errors.New("there may be one")
				}
				return nil
			}
			p.Space = &space
			return p
		},
	}
	w := start(t, g, document.Config{Limits: limits})
	for what, make := range makes {
		if done := w.do(make(w)); done.Version != 1 || done.Duplicate {
			t.Errorf("%s: %+v", what, done)
		}
	}
	w.set("doc:undone", set("/a", "1"))
	undo := func(w *world) *document.Patch {
		return keyed(&document.Patch{Channel: "doc:undone", Space: w.space, Undo: 1}, "k")
	}
	w.do(undo(w))
	w.do(&document.Patch{Channel: "doc:undone", Space: w.space, Forget: true, Ops: w.patch("doc:undone", set("", "1")).Ops})
	w.end()
	w = start(t, g, document.Config{Limits: limits}, "/n write role:desk")
	for what, make := range makes {
		if done := w.do(make(w)); done.Version != 1 || !done.Duplicate {
			t.Errorf("%s: the repeat gives %+v", what, done)
		}
	}
	if done := w.do(undo(w)); done.Version != 2 || !done.Duplicate {
		t.Errorf("the repeat of an undo gives %+v", done)
	}
}

func TestDeletingForgetsAlsoWhatWasDeletedBefore(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	forget := func() *document.Patch {
		p := w.patch("doc:1", `[{"op":"remove","path":""}]`)
		p.Forget = true
		return p
	}
	w.fails(forget(), fault.Conflict) // it was never written
	w.set("doc:1", set("", `"hidden"`))
	w.set("doc:1", `[{"op":"remove","path":""}]`)
	w.fails(w.patch("doc:1", `[{"op":"remove","path":""}]`), fault.Conflict)
	for version := uint64(3); version < 6; version++ {
		if done := w.do(forget()); done.Version != version {
			t.Errorf("got %+v", done)
		}
		page, err := w.docs.History(t.Context(), store.Query{Channel: "doc:1", Limit: 100})
		if err != nil || len(page.Messages) != 1 || page.Messages[0].Seq != version || strings.Contains(string(page.Messages[0].Data), "hidden") {
			t.Errorf("the history is %+v, %v", page, err)
		}
	}
	w.fails(&document.Patch{Channel: "doc:1", Space: w.space, Undo: 1}, fault.NotFound)
	w.fails(&document.Patch{Channel: "doc:1", Space: w.space, Undo: 5}, fault.NotFound)
	w.has("doc:1", 5, "null")
}

// A version that has changed nothing can be taken back: nothing happens.
func TestUndoingNothing(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	w.set("doc:1", set("/a", "{}"))
	w.set("doc:1", `[{"op":"merge","path":"/a","value":{}}]`)
	if done := w.do(&document.Patch{Channel: "doc:1", Space: w.space, Undo: 2}); done.Version != 2 {
		t.Errorf("got %+v", done)
	}
	w.has("doc:1", 2, `{"a":{}}`)
}

// While nothing can be stored patches are refused, the value stays as it was, and
// afterwards it goes on.
func TestAStoreThatFails(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	r := w.connect("ann")
	r.follow("doc:1", nil)
	w.set("doc:1", set("/n", "1"))
	w.store.guard(func([]store.Command) error { return fmt.Errorf("no room: %w", store.ErrUnavailable) })
	for range 3 {
		if e := w.fails(w.patch("doc:1", inc("/n")), fault.Unavailable); e.RetryAfter <= 0 {
			t.Errorf("got %+v", e)
		}
		w.has("doc:1", 1, `{"n":1}`)
	}
	w.store.guard(nil)
	if version := w.set("doc:1", inc("/n")); version != 2 {
		t.Errorf("it goes on with version %d", version)
	}
	if got := r.reaches(2); got != `{"n":2}` {
		t.Errorf("the reader has %s", got)
	}
}

// When nobody can tell whether a patch was stored, what is stored counts.
func TestACommitThatBreaksAfterItWasStored(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	r := w.connect("ann")
	r.follow("doc:1", nil)
	w.set("doc:1", set("/n", "1"))
	w.store.guard(func(group []store.Command) error {
		if _, err := w.store.Store.Do(context.Background(), group...); err != nil {
			return err
		}
		return fmt.Errorf("the connection broke: %w", store.ErrUnavailable)
	})
	w.fails(keyed(w.patch("doc:1", inc("/n")), "k"), fault.Unavailable)
	w.store.guard(nil)
	if done := w.do(keyed(w.patch("doc:1", inc("/n")), "k")); done.Version != 2 || !done.Duplicate {
		t.Errorf("the repeat gives %+v", done)
	}
	w.set("doc:1", inc("/n"))
	w.has("doc:1", 3, `{"n":3}`)
	if got := r.reaches(3); got != `{"n":3}` {
		t.Errorf("the reader has %s", got)
	}
}

func TestSoManyPatchesMayWait(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	held, release := w.store.hold()
	defer release()
	var wait sync.WaitGroup
	wait.Go(func() { w.do(w.patch("doc:1", inc("/n"))) })
	<-held
	for range 1024 {
		wait.Go(func() { w.do(w.patch("doc:1", inc("/n"))) })
	}
	eventually(t, "they wait", func() bool { return w.docs.Queue("doc:1") == 1024 })
	if e := w.fails(w.patch("doc:1", inc("/n")), fault.Unavailable); e.RetryAfter <= 0 {
		t.Errorf("got %+v", e)
	}
	release()
	wait.Wait()
	w.has("doc:1", 1025, `{"n":1025}`)
}

// Documents that are closed answer everybody: with what was done, or that they stop.
func TestClosingAnswersEverybody(t *testing.T) {
	g := keep(t, t.TempDir(), false)
	w := start(t, g, document.Config{})
	held, release := g.hold()
	const patches = 300
	var wait sync.WaitGroup
	var mu sync.Mutex
	versions := map[uint64]bool{}
	refused := 0
	one := func() {
		done, err := w.docs.Do(context.Background(), w.patch("doc:1", inc("/n")))
		mu.Lock()
		defer mu.Unlock()
		switch e := fault.Of(err); {
		case err == nil && !versions[done.Version]:
			versions[done.Version] = true
		case e != nil && e.Code == fault.Unavailable:
			refused++
		default:
			t.Errorf("got %+v, %v", done, err)
		}
	}
	wait.Go(one)
	<-held
	for range patches {
		wait.Go(one)
	}
	eventually(t, "they wait", func() bool { return w.docs.Queue("doc:1") == patches })
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		w.docs.Close()
	}()
	eventually(t, "it is being closed", func() bool {
		_, err := w.docs.Do(context.Background(), w.patch("doc:2", inc("/n")))
		e := fault.Of(err)
		return e != nil && e.Code == fault.Unavailable
	})
	release()
	wait.Wait()
	<-closed
	if len(versions)+refused != patches+1 || refused == 0 || !versions[1] {
		t.Errorf("%d were done and %d refused", len(versions), refused)
	}
	again := start(t, g, document.Config{})
	again.has("doc:1", uint64(len(versions)), fmt.Sprintf(`{"n":%d}`, len(versions)))
}
