package document_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// two gives two worlds on one store, as two processes have one database.
func two(t *testing.T, memory int64) (a, b *world) {
	g := keep(t, t.TempDir(), true)
	other := &gate{Store: g.Store, shared: true}
	return start(t, g, document.Config{}), start(t, other, document.Config{Memory: memory})
}

// What another process has done counts at once, also where it decides that a patch
// is refused, or makes no version.
func TestPatchesAreAnsweredByWhatOthersHaveDone(t *testing.T) {
	a, b := two(t, 0)
	n := 0
	prepare := func() (channel string, top uint64) {
		n++
		channel = fmt.Sprintf("doc:%d", n)
		a.set(channel, set("", `{"n":1,"text":"short"}`))
		b.has(channel, 1, `{"n":1,"text":"short"}`) // it has it in memory
		return channel, a.set(channel, set("", `{"n":2,"list":[1]}`))
	}
	for _, tt := range []struct {
		ops     string
		version uint64 // that the answer tells; 0: it is refused
	}{
		{"[" + testOf("/n", "2") + "]", 2},
		{"[" + testOf("/n", "1") + "]", 0},
		{"[" + testOf("/n", "2") + `,{"op":"set","path":"/n","value":3}]`, 3},
		{`[{"op":"remove","path":"/list"}]`, 3},
		{`[{"op":"remove","path":"/text"}]`, 0},
		{`[{"op":"append","path":"/list","value":2}]`, 3},
		{`[{"op":"inc","path":"/n","by":-2,"min":0}]`, 3},
		{`[{"op":"inc","path":"/text","by":1}]`, 3},
	} {
		channel, _ := prepare()
		if tt.version == 0 {
			b.fails(b.patch(channel, tt.ops), fault.Conflict)
		} else if done := b.do(b.patch(channel, tt.ops)); done.Version != tt.version {
			t.Errorf("%s: %+v, want version %d", tt.ops, done, tt.version)
		}
	}
	channel, top := prepare()
	if done := b.do(ifVersion(b.patch(channel, inc("/n")), top)); done.Version != 3 {
		t.Errorf("if_version: %+v", done)
	}
	channel, top = prepare()
	b.fails(ifVersion(b.patch(channel, inc("/n")), top-1), fault.Conflict)
	if done := b.do(&document.Patch{Channel: channel, Space: b.space, Undo: top}); done.Version != 3 {
		t.Errorf("undo: %+v", done)
	}
	a.has(channel, 3, `{"n":1,"text":"short"}`)
	channel, _ = prepare()
	a.do(keyed(a.patch(channel, inc("/n")), "k"))
	if done := b.do(keyed(b.patch(channel, inc("/n")), "k")); done.Version != 3 || !done.Duplicate {
		t.Errorf("a repeat elsewhere: %+v", done)
	}
	b.has(channel, 3, `{"n":3,"list":[1]}`)
}

// Two processes change one document at once: nothing is lost, versions have no
// holes, and the readers of both have the same in the end.
func TestTwoProcessesChangeOneDocument(t *testing.T) {
	a, b := two(t, 0)
	var readers []*reader
	for _, w := range []*world{a, b} {
		r := w.connect("ann")
		r.follow("doc:1", nil)
		readers = append(readers, r)
	}
	const writers, each = 6, 60
	var mu sync.Mutex
	versions := map[uint64]bool{}
	var work sync.WaitGroup
	for i := range writers {
		w := []*world{a, b}[i%2]
		work.Go(func() {
			for n := range each {
				var done document.Patched
				for { // who is always slower is told to try again
					var err error
					if done, err = w.docs.Do(t.Context(), keyed(w.patch("doc:1", fmt.Sprintf(`[{"op":"inc","path":"/n","by":1},{"op":"set","path":"/by/%d","value":%d}]`, i, n)), fmt.Sprintf("%d %d", i, n))); err == nil {
						break
					}
					if e := fault.Of(err); e.Code != fault.Unavailable || e.RetryAfter == 0 {
						t.Errorf("got %v", err)
						return
					}
				}
				mu.Lock()
				if versions[done.Version] {
					t.Errorf("version %d was made twice", done.Version)
				}
				versions[done.Version] = true
				mu.Unlock()
			}
		})
	}
	work.Wait()
	v := a.get("doc:1")
	b.has("doc:1", v.Version, string(v.Data))
	if v.Version != writers*each || !strings.Contains(string(v.Data), fmt.Sprintf(`"n":%d`, writers*each)) || len(versions) != writers*each {
		t.Errorf("%d versions were told, and there is %s at %d", len(versions), v.Data, v.Version)
	}
	for _, r := range readers {
		if got := r.reaches(v.Version); !tree.Equal([]byte(got), v.Data) {
			t.Errorf("a reader has %s; it is %s", got, v.Data)
		}
	}
}

// A reader hears of what another process has done, also when its document is not in
// memory here, or has just been loaded for somebody else.
func TestAReaderHearsOfOtherProcesses(t *testing.T) {
	a, b := two(t, 1)
	r := b.connect("ann")
	r.follow("doc:1", nil)
	r.next()
	evict := func() {
		t.Helper()
		b.set("doc:other", set("/a", "1"))
		if b.docs.Loaded("doc:1") {
			t.Fatal("it is still in memory")
		}
	}
	evict()
	a.set("doc:1", set("/n", "1"))
	if f := r.next(); f.Type != "patch" || f.Version != 1 {
		t.Errorf("while it was not in memory: %+v", f)
	}
	evict()
	a.set("doc:1", set("/n", "2"))
	b.has("doc:1", 2, `{"n":2}`)
	if f := r.next(); f.Version != 2 {
		t.Errorf("loaded for somebody else: %+v", f)
	}
	evict()
	a.set("doc:1", set("/n", "3"))
	b.set("doc:1", set("/n", "4"))
	for want := uint64(3); want < 5; want++ {
		if f := r.next(); f.Type != "patch" || f.Version != want {
			t.Errorf("changed here, too: %+v", f)
		}
	}
	a.set("doc:1", set("/n", "5"))
	if f := r.next(); f.Type != "patch" || f.Version != 5 {
		t.Errorf("while it was in memory: %+v", f)
	}
}

// What a limited reader sees of the patches of another process is as limited.
func TestOtherProcessesShowNoMore(t *testing.T) {
	a, b := two(t, 0)
	b.rules("/** read anyone", "/secret read role:desk")
	r := b.connect("ann")
	r.follow("doc:1", nil)
	for i := range 3 {
		a.set("doc:1", set("/open", fmt.Sprint(i)))
		a.set("doc:1", set("/secret", `"hidden"`))
		b.get("doc:1")
	}
	if got := r.reaches(6); got != `{"open":2}` {
		t.Errorf("it has %s", got)
	}
}
