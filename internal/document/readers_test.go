package document_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func TestWhoComesBackGetsWhatItLacks(t *testing.T) {
	g := keep(t, t.TempDir(), false)
	w := start(t, g, document.Config{})
	w.set("doc:1", set("/text", `"`+strings.Repeat("x", 100_000)+`"`))
	for range 300 {
		w.set("doc:1", inc("/n"))
	}
	epoch := w.get("doc:1").Epoch
	for range 100 {
		w.set("doc:short", set("/text", `"`+strings.Repeat("x", 100)+`"`))
	}
	check := func(what string, w *world, channel string, since document.Position, recovered bool) {
		t.Helper()
		r := w.connect("ann")
		j := r.follow(channel, &since)
		top := w.get(channel).Version
		if !j.Asked || j.Recovered != recovered || j.Version != top || j.Epoch != epoch {
			t.Errorf("%s: %+v, want recovered %t", what, j, recovered)
		}
		version := since.Version
		if !recovered {
			f := r.next()
			if f.Type != "snapshot" || f.Version != top {
				t.Errorf("%s: got %.200v", what, f)
			}
			version = top
		}
		top = w.set(channel, set("/live", "1"))
		for ; version < top; version++ {
			if f := r.next(); f.Type != "patch" || f.Version != version+1 {
				t.Fatalf("%s: got %s of version %d after %d", what, f.Type, f.Version, version)
			}
		}
	}
	for _, again := range []string{"in memory", "from the store"} {
		check(again+": everything", w, "doc:1", document.Position{Epoch: epoch, Version: w.get("doc:1").Version}, true)
		check(again+": the last 200", w, "doc:1", document.Position{Version: w.get("doc:1").Version - 200}, true)
		check(again+": another epoch", w, "doc:1", document.Position{Epoch: "another", Version: 301}, false)
		check(again+": a version that is not there", w, "doc:1", document.Position{Epoch: epoch, Version: 999}, false)
		check(again+": the patches are longer", w, "doc:short", document.Position{Epoch: epoch, Version: 1}, false)
		w.end()
		w = start(t, g, document.Config{})
	}
	check("more than are looked up", w, "doc:1", document.Position{Epoch: epoch, Version: 1}, w.get("doc:1").Version-1 <= 512)
	r := w.connect("ann")
	if j := r.follow("doc:none", &document.Position{}); !j.Recovered || j.Version != 0 {
		t.Errorf("a document that was never written: %+v", j)
	}
	w.set("doc:none", set("/a", "1"))
	if f := r.next(); f.Type != "patch" || f.Version != 1 {
		t.Errorf("got %+v", f)
	}
}

// A reader that takes nothing while thousands of versions are made gets the value, or
// what it lacks, and goes on; others do not notice.
func TestAReaderThatTakesNothingForAWhile(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{})
	slow, quick := w.connect("slow"), w.connect("quick")
	for _, r := range []*reader{slow, quick} {
		r.follow("doc:1", nil)
		if f := r.next(); f.Type != "snapshot" || f.Version != 0 {
			t.Fatalf("got %+v", f)
		}
	}
	for _, patches := range []int{3, 5000} {
		slow.stall()
		from := w.get("doc:1").Version
		var work sync.WaitGroup
		for range 16 {
			work.Go(func() {
				for range (patches + 15) / 16 {
					w.set("doc:1", inc("/n"))
				}
			})
		}
		work.Wait()
		top := w.get("doc:1").Version
		for version := from; version < top; version++ {
			if f := quick.next(); f.Type != "patch" || f.Version != version+1 {
				t.Fatalf("got %s of version %d after %d", f.Type, f.Version, version)
			}
		}
		slow.goOn()
		first := slow.next()
		if patches > 1000 && first.Type != "snapshot" || first.Version > from+1 && first.Type != "snapshot" {
			t.Fatalf("after version %d the slow reader gets %s of version %d", from, first.Type, first.Version)
		}
		for at := first.Version; at < top; at++ {
			if f := slow.next(); f.Version != at+1 {
				t.Fatalf("got %s of version %d after %d", f.Type, f.Version, at)
			}
		}
		w.has("doc:1", top, fmt.Sprintf(`{"n":%d}`, top))
	}
	if n := w.hub.Metrics().Behind.Load(); n != 0 {
		t.Errorf("%d readers are behind", n)
	}
}

// Who may not see a place is not shown it, whenever it comes.
func TestNobodyIsShownWhatItMayNotSee(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{}, "/** read anyone", "/secret read role:desk")
	for round := range 60 {
		channel := fmt.Sprintf("doc:%d", round)
		w.set(channel, set("/open", "0"))
		readers := make([]*reader, 24)
		for i := range readers {
			if readers[i] = w.connect("ann"); i%6 == 5 {
				readers[i] = w.connect("ben", "desk")
			}
		}
		var wait sync.WaitGroup
		wait.Go(func() {
			w.set(channel, set("/secret", `"hidden"`))
			w.set(channel, set("/open", `1`))
		})
		for _, r := range readers {
			wait.Go(func() { r.follow(channel, &document.Position{Version: 1}) })
		}
		wait.Wait()
		for i, r := range readers {
			for at := uint64(1); at < 3; {
				f := r.next()
				sees := strings.Contains(string(f.Data)+string(f.Ops), "hidden")
				if sees != (i%6 == 5) && (sees || f.Version == 2 || f.Type == "snapshot" && f.Version == 3) {
					t.Fatalf("reader %d got %+v", i, f)
				}
				at = f.Version
			}
		}
	}
}

func TestTheAuthorRecognisesItsPatch(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{}, "/** read anyone", "/secret read role:desk")
	w.set("doc:1", set("", "{}"))
	author, other := w.connect("ann"), w.connect("ben")
	silent := w.connect("eve")
	for _, r := range []*reader{author, other} {
		r.follow("doc:1", nil)
		r.next()
	}
	if _, err := w.docs.Subscribe(t.Context(), &silent.Conn, "doc:1", w.space, document.From{}, hub.SubOptions{}, func(document.Joining) []byte { return nil }); err != nil {
		t.Fatal(err)
	}
	silent.next()
	by := func(r *reader, ops string) {
		p := w.patch("doc:1", ops)
		p.Author, p.Name, p.From = &r.Conn, "my key", protocol.Sender{User: r.User(), Connection: r.ID.String()}
		w.do(p)
	}
	by(author, `[{"op":"set","path":"/secret","value":"hidden"},{"op":"set","path":"/open","value":1}]`)
	for i, f := range []frame{author.next(), other.next(), silent.next()} {
		if f.Version != 2 || string(f.Ops) != `[{"op":"set","path":"/open","value":1}]` || !strings.Contains(string(f.From), `"ann"`) || (f.Key == "my key") != (i == 0) {
			t.Errorf("reader %d got %+v", i, f)
		}
	}
	by(author, set("/secret", `"more"`))
	if f := author.next(); f.Key != "my key" || string(f.Ops) != "[]" {
		t.Errorf("the author got %+v", f)
	}
	if f := other.next(); f.Key != "" || string(f.Ops) != "[]" || f.From != nil {
		t.Errorf("another got %+v", f)
	}
	silent.next()
	by(silent, set("/open", "2"))
	if f := other.next(); f.Version != 4 || f.Key != "" {
		t.Errorf("got %+v", f)
	}
	author.next()
	by(author, set("/open", "3"))
	if f := silent.next(); f.Version != 5 {
		t.Errorf("who wants no echo got %+v", f)
	}
}

// Other roles and other rules show something else: the value comes anew.
func TestAReaderIsReviewed(t *testing.T) {
	w := start(t, keep(t, t.TempDir(), false), document.Config{}, "/** read anyone", "/secret read role:desk")
	r := w.connect("ann")
	r.follow("doc:1", nil)
	w.set("doc:1", set("", `{"open":1,"secret":2}`))
	if got := r.reaches(1); got != `{"open":1}` {
		t.Errorf("before, it has %s", got)
	}
	r.Bind(auth.Identity{User: "ann", Roles: "desk"})
	w.docs.Review(&r.Conn)
	w.docs.Review(&r.Conn) // nothing has changed since
	if got := r.reaches(1); got != `{"open":1,"secret":2}` {
		t.Errorf("with the role, it has %s", got)
	}
	w.rules("/** read anyone", "/open read role:boss")
	w.docs.Review(&r.Conn)
	if got := r.reaches(1); got != `{"secret":2}` {
		t.Errorf("by other rules, it has %s", got)
	}
	w.rules()
	w.docs.Review(&r.Conn)
	if got := r.reaches(1); got != `{"open":1,"secret":2}` {
		t.Errorf("without rules, it has %s", got)
	}
	if w.set("doc:1", inc("/open")); r.next().Version != 2 {
		t.Error("it does not go on")
	}
}

// Documents that do not fit into memory are loaded when they are needed, and stay
// right.
func TestDocumentsComeAndGo(t *testing.T) {
	const memory, documents, rounds = 64 << 10, 40, 5
	w := start(t, keep(t, t.TempDir(), false), document.Config{Memory: memory})
	r := w.connect("ann")
	for i := range documents {
		r.follow(fmt.Sprintf("doc:%d", i), nil)
		r.next()
	}
	var work sync.WaitGroup
	for worker := range 4 {
		work.Go(func() {
			for round := range rounds {
				for i := range documents {
					w.set(fmt.Sprintf("doc:%d", (i*7+worker*13)%documents), fmt.Sprintf(`[{"op":"inc","path":"/n","by":1},{"op":"set","path":"/text","value":"%d %s"}]`, round, strings.Repeat("x", 500)))
				}
			}
		})
	}
	work.Wait()
	if n := w.docs.Metrics().Bytes.Load(); n > memory+200<<10 {
		t.Errorf("they take %d bytes", n)
	}
	for i := range documents {
		v, err := w.docs.Get(t.Context(), fmt.Sprintf("doc:%d", i), tree.Path{"n"})
		if err != nil || v.Version != 4*rounds || string(v.Data) != fmt.Sprint(4*rounds) {
			t.Errorf("document %d: %+v, %v", i, v, err)
		}
	}
	m := w.docs.Metrics()
	if m.Documents.Load() >= documents || m.Loads.Load() < 2*documents || m.Bytes.Load() > memory+20<<10 {
		t.Errorf("%d documents are there, with %d bytes, after %d were loaded", m.Documents.Load(), m.Bytes.Load(), m.Loads.Load())
	}
	versions := map[string]uint64{}
	for missing := documents; missing > 0; {
		f := r.next()
		if at := versions[f.Channel]; f.Type == "patch" && f.Version != at+1 || f.Version < at {
			t.Fatalf("%s: %s of version %d came after %d", f.Channel, f.Type, f.Version, at)
		}
		if versions[f.Channel] = f.Version; f.Version == 4*rounds {
			missing--
		}
	}
}

// From time to time the value is stored, so that loading is quick and old versions
// can go; what is gone is told.
func TestOldVersionsGo(t *testing.T) {
	g := keep(t, t.TempDir(), false)
	w := start(t, g, document.Config{})
	space := *w.space
	space.Count = 20
	w.space = &space
	w.hub.SetSpaces([]*hub.Space{w.space})
	for range 100 {
		w.set("doc:few", inc("/n"))
	}
	all := space
	all.Count = 0
	w.space = &all
	w.hub.SetSpaces([]*hub.Space{w.space})
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for range 150 {
				w.set("doc:all", inc("/n"))
			}
		})
	}
	work.Wait()
	eventually(t, "the value is stored", func() bool { return w.docs.Metrics().Compacted.Load() > 0 })
	for channel, most := range map[string]int{"doc:few": 40, "doc:all": 1130} {
		page, err := g.Document(t.Context(), channel)
		if err != nil || page.Snapshot.Version == 0 || len(page.Messages) > most {
			t.Errorf("%s: to be loaded are a value of version %d and %d patches, %v", channel, page.Snapshot.Version, len(page.Messages), err)
		}
	}
	history, err := w.docs.History(t.Context(), store.Query{Channel: "doc:few", Limit: 500})
	if err != nil || len(history.Messages) < 20 || len(history.Messages) > 40 || history.Head.Top != 100 {
		t.Errorf("the history has %d versions of %+v, %v", len(history.Messages), history.Head, err)
	}
	w.fails(&document.Patch{Channel: "doc:few", Space: w.space, Undo: 3}, "not_found")
	w.fails(&document.Patch{Channel: "doc:few", Space: w.space, Undo: 101}, "not_found")
	w.do(&document.Patch{Channel: "doc:few", Space: w.space, Undo: 100})
	w.end()
	w = start(t, g, document.Config{})
	w.has("doc:few", 101, `{"n":99}`)
	w.has("doc:all", 1200, `{"n":1200}`)
	r := w.connect("ann")
	if j := r.follow("doc:few", &document.Position{Version: 3}); j.Recovered {
		t.Error("versions that are gone were recovered")
	}
	if f := r.next(); f.Type != "snapshot" || f.Version != 101 {
		t.Errorf("got %+v", f)
	}
}
