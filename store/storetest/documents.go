package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/store"
)

// patch is a message that makes a version of a document.
func patch(channel string, version uint64) store.Append {
	a := message(channel, fmt.Sprintf(`{"n":%d}`, version))
	a.Version = version
	return a
}

// value is a snapshot of a document.
func value(channel string, version uint64) store.PutSnapshot {
	return store.PutSnapshot{Channel: channel, Version: version, Time: noon + int64(version), Data: fmt.Appendf(nil, `{"value":%d}`, version)}
}

// snapshot is what a value should have become.
func snapshot(p store.PutSnapshot) store.Snapshot {
	return store.Snapshot{Version: p.Version, Time: p.Time, Data: p.Data}
}

// patches appends versions to a document, in one group, and gives what is stored.
func (s *subject) patches(channel string, first, last uint64) (list []store.Message) {
	s.Helper()
	var group []store.Command
	for v := first; v <= last; v++ {
		a := patch(channel, v)
		group = append(group, a)
		list = append(list, stored(a, v))
	}
	s.do(group...)
	return list
}

func (s *subject) put(p store.PutSnapshot) bool {
	s.Helper()
	return s.do(p)[0].(store.SnapshotPut).Kept
}

func (s *subject) document(channel string) store.DocumentPage {
	s.Helper()
	page, err := s.store.Document(s.Context(), channel)
	if err != nil {
		s.Fatalf("document: %v", err)
	}
	return page
}

func testDocument(s *subject) {
	epoch := s.head("doc:1").Epoch
	s.equal("a document that was never written", store.DocumentPage{Head: store.Head{Epoch: epoch}}, s.document("doc:1"))
	for _, version := range []uint64{2, math.MaxInt64, math.MaxUint64} {
		s.refuses(store.ErrMoved, patch("doc:1", version))
	}
	first := patch("doc:1", 1)
	s.equal("the first", store.Appended{Epoch: epoch, Seq: 1, ID: first.ID}, s.append(first))
	want := append([]store.Message{stored(first, 1)}, s.patches("doc:1", 2, 5)...)
	s.equal("told", 5, len(s.told.take()))
	s.fill("room:1", 2)
	for range 2 {
		for _, version := range []uint64{1, 4, 5, 7, math.MaxInt64, math.MaxUint64} {
			s.refuses(store.ErrMoved, patch("doc:1", version))
		}
		// A channel is a document or not.
		s.refuses(store.ErrMoved, message("doc:1", "6"))
		s.refuses(store.ErrMoved, message("room:2", "1"), message("doc:1", "6"))
		for _, version := range []uint64{1, 2, 3, 4} {
			s.refuses(store.ErrMoved, patch("room:1", version))
		}
		s.headIs("room:2", 0, 0, 0)
		s.equal("a document without a snapshot", store.DocumentPage{Head: store.Head{Epoch: epoch, Top: 5}, Messages: want}, s.document("doc:1"))
		s.equal("its messages", want, s.all("doc:1"))
		s.equal("no document", store.DocumentPage{Head: store.Head{Epoch: epoch, Top: 2}}, s.document("room:1"))
		s.reopen()
	}
	if st := s.stats(); st.Documents != 1 || st.Channels != 2 {
		s.Errorf("it has %+v", st)
	}
	s.append(patch("doc:1", 6))
	s.headIs("doc:1", 6, 0, 0)
}

func testDocumentKeys(s *subject) {
	keyedPatch := func(version uint64, key, content string) store.Append {
		a := keyed("doc:1", "0", key, content)
		a.Version = version
		return a
	}
	a := keyedPatch(1, "key", "content")
	first := s.append(a)
	s.patches("doc:1", 2, 3)
	first.Duplicate = true
	for range 2 {
		// What was done is told, whatever version the repeat was made for.
		for _, version := range []uint64{0, 1, 3, 4, 9} {
			s.equal("a repeat", first, s.append(keyedPatch(version, "key", "content")))
			s.refuses(store.ErrConflict, keyedPatch(version, "key", "other"))
		}
		s.refuses(store.ErrMoved, keyedPatch(3, "new", "content"))
		s.headIs("doc:1", 3, 0, 0)
		s.reopen()
	}
	// A key that failed is free, and in a group a repeat counts as nothing.
	results := s.do(keyedPatch(9, "key", "content"), keyedPatch(4, "new", "content"), keyedPatch(1, "new", "content"), keyedPatch(5, "", ""))
	var got []uint64
	for _, r := range results {
		got = append(got, r.(store.Appended).Seq)
	}
	s.equal("seqs", []uint64{1, 4, 4, 5}, got)
	s.refuses(store.ErrMoved, keyedPatch(1, "key", "content"), keyedPatch(7, "", ""))
	s.refuses(store.ErrMoved, keyedPatch(7, "", ""), keyedPatch(1, "key", "other"))
	s.refuses(store.ErrConflict, keyedPatch(1, "key", "other"), keyedPatch(7, "", ""))
	// When the key has expired, the version counts.
	late := keyedPatch(1, "key", "content")
	late.Time = a.Expires + 1
	s.refuses(store.ErrMoved, late)
	late.Version = 6
	if got := s.append(late); got.Duplicate || got.Seq != 6 {
		s.Errorf("an expired key gave %+v", got)
	}
}

func testDocumentGroups(s *subject) {
	s.patches("doc:1", 1, 3)
	s.put(value("doc:1", 2))
	s.append(message("room:1", "1"))
	kept := message("room:1", "0")
	kept.Keep = 1
	names := []string{"doc:1", "room:1", "room:new", "new:1", "doc:new"}
	before, document := s.heads(names...), s.document("doc:1")
	s.told.take()
	for i, failing := range []store.Command{patch("doc:1", 3), value("doc:1", 9), message("doc:1", "0"), value("room:1", 1)} {
		s.refuses(store.ErrMoved, failing)
		s.refuses(store.ErrMoved, message("room:new", "1"), failing)
		s.refuses(store.ErrMoved, failing, message("room:new", "1"))
		s.refuses(store.ErrMoved, message("new:1", "1"), kept, patch("doc:new", 1), patch("doc:1", 4), failing)
		s.refuses(store.ErrMoved, patch("doc:1", 4), value("doc:1", 4), failing)
		s.refuses(store.ErrMoved, patch("doc:new", 1), value("doc:new", 1), patch("doc:new", 2), failing)
		forgetting := value("doc:1", 3)
		forgetting.Floor = 3
		s.refuses(store.ErrMoved, forgetting, store.Recall{Channel: "room:1", Seq: 1}, failing)
		s.equal(fmt.Sprintf("heads %d", i), before, s.heads(names...))
	}
	s.refuses(store.ErrNotFound, patch("doc:1", 4), value("doc:1", 4), store.Recall{Channel: "room:1", ID: "nonsense"})
	s.refuses(store.ErrMoved, value("doc:1", 4), patch("doc:1", 4)) // in this order
	s.refuses(store.ErrMoved, patch("doc:2", 1), message("doc:2", "1"))
	s.refuses(store.ErrMoved, message("doc:2", "1"), patch("doc:2", 2))
	s.equal("heads", before, s.heads(names...))
	s.equal("the document", document, s.document("doc:1"))
	if told := s.told.take(); len(told) > 0 {
		s.Errorf("it was told %+v", told)
	}
	// What belongs together.
	four, first := patch("doc:1", 4), patch("doc:new", 1)
	results := s.do(first, four, value("doc:1", 4), patch("doc:1", 5), message("room:1", "2"), store.Recall{Channel: "room:1", Seq: 1}, value("doc:new", 1), patch("doc:new", 2), value("doc:1", 3))
	s.equal("results", []store.Result{
		store.Appended{Epoch: before[0].Epoch, Seq: 1, ID: first.ID}, store.Appended{Epoch: before[0].Epoch, Seq: 4, ID: four.ID}, store.SnapshotPut{Kept: true},
	}, results[:3])
	s.equal("the last result", store.Result(store.SnapshotPut{}), results[8])
	s.equal("what was told", 6, len(s.told.take()))
	for range 2 {
		page := s.document("doc:1")
		s.equal("the snapshot", snapshot(value("doc:1", 4)), page.Snapshot)
		s.equal("what comes after", []uint64{5}, seqs(page.Messages))
		page = s.document("doc:new")
		s.equal("the snapshot of the new one", snapshot(value("doc:new", 1)), page.Snapshot)
		s.equal("what comes after, in the new one", []uint64{2}, seqs(page.Messages))
		s.reopen()
	}
}

// Many make the same versions at once: each is made once, and who is refused did
// nothing.
func testDocumentRace(s *subject) {
	const callers, versions, documents = 12, 40, 3
	var wait sync.WaitGroup
	var refused atomic.Int64
	winners := make([][versions + 1]string, documents)
	var mu sync.Mutex
	for i := range callers {
		wait.Go(func() {
			for d := range documents {
				channel := fmt.Sprintf("doc:%d", (d+i)%documents)
				for version := uint64(1); version <= versions; {
					a := patch(channel, version)
					group := []store.Command{a, message("room:side", "1")}
					if version%8 == 0 {
						group = append(group, value(channel, version))
					}
					_, err := s.store.Do(context.Background(), group...)
					switch {
					case err == nil:
						mu.Lock()
						winners[(d+i)%documents][version] += a.ID
						mu.Unlock()
						version++
					case errors.Is(err, store.ErrMoved):
						refused.Add(1)
						heads, err := s.store.Heads(context.Background(), channel)
						if err != nil {
							s.Error(err)
							return
						}
						version = heads[0].Top + 1
					default:
						s.Error(err)
						return
					}
				}
			}
		})
	}
	wait.Wait()
	for d := range documents {
		channel := fmt.Sprintf("doc:%d", d)
		all := s.all(channel)
		s.equal("versions", between(1, versions), seqs(all))
		for _, m := range all {
			if m.ID != winners[d][m.Seq] {
				s.Errorf("%s: version %d is %s, and was answered to %q", channel, m.Seq, m.ID, winners[d][m.Seq])
			}
		}
		s.equal("the snapshot", snapshot(value(channel, versions)), s.document(channel).Snapshot)
	}
	s.headIs("room:side", documents*versions, 0, 0)
	if refused.Load() == 0 {
		s.Error("nobody was ever late")
	}
}

func testSnapshots(s *subject) {
	epoch := s.head("doc:1").Epoch
	for _, p := range []store.PutSnapshot{value("doc:1", 1), value("doc:1", math.MaxUint64)} {
		s.refuses(store.ErrMoved, p)
	}
	s.equal("of nothing", false, s.put(value("doc:1", 0)))
	all := s.patches("doc:1", 1, 9)
	s.fill("room:1", 2)
	s.refuses(store.ErrMoved, value("room:1", 1))
	s.told.take()
	for _, step := range []struct {
		version, newest uint64
		kept            bool
	}{{3, 3, true}, {3, 3, false}, {2, 3, false}, {0, 3, false}, {4, 4, true}, {9, 9, true}, {8, 9, false}} {
		p := value("doc:1", step.version)
		p.Floor = step.version // but without a snapshot that is kept it does nothing
		if step.kept {
			p.Floor = 0
		}
		s.equal(fmt.Sprintf("putting %d", step.version), step.kept, s.put(p))
		s.equal("the document", store.DocumentPage{Head: store.Head{Epoch: epoch, Top: 9}, Snapshot: snapshot(value("doc:1", step.newest)), Messages: empty(all[step.newest:])}, s.document("doc:1"))
	}
	s.refuses(store.ErrMoved, value("doc:1", 10))
	s.equal("the history", all, s.all("doc:1"))
	if told := s.told.take(); len(told) > 0 {
		s.Errorf("it was told %+v", told)
	}
	// Large ones, one after the other.
	for version := uint64(10); version < 13; version++ {
		p := value("doc:1", version)
		p.Data = []byte(`"` + strings.Repeat(fmt.Sprint(version%10), 2<<20) + `"`)
		given := store.PutSnapshot{Channel: p.Channel, Version: p.Version, Time: p.Time, Data: []byte(string(p.Data))}
		s.do(patch("doc:1", version), given)
		fillBytes(given.Data)
		later := s.patches("doc:2", version*3-29, version*3-27)
		s.equal("a large one", store.DocumentPage{Head: store.Head{Epoch: epoch, Top: version}, Snapshot: snapshot(p)}, s.document("doc:1"))
		s.equal("another document", later[2], s.document("doc:2").Messages[version*3-28])
		s.reopen()
	}
	for field, spoil := range map[string]func(*store.PutSnapshot){
		"Channel": func(p *store.PutSnapshot) { p.Channel = "" },
		"Time":    func(p *store.PutSnapshot) { p.Time = -1 },
		"Data":    func(p *store.PutSnapshot) { p.Data = nil },
	} {
		p := value("doc:1", 12)
		spoil(&p)
		_, err := s.store.Do(s.Context(), message("room:1", "3"), p)
		if err == nil || !strings.Contains(err.Error(), "command 1: put snapshot: "+field+": ") {
			s.Errorf("%s: the error is %v", field, err)
		}
	}
	s.headIs("room:1", 2, 0, 0)
}

// empty is a list without elements as the store gives it.
func empty(list []store.Message) []store.Message {
	if len(list) == 0 {
		return nil
	}
	return list
}

func testForget(s *subject) {
	a := patch("doc:1", 1)
	a.Key, a.Content, a.Expires = []byte("key"), []byte("content"), noon*2
	first := s.append(a)
	first.Duplicate = true
	s.patches("doc:1", 2, 8)
	p := value("doc:1", 6)
	p.Floor = 4
	s.equal("some of it", true, s.put(p))
	for range 2 {
		s.headIs("doc:1", 8, 4, 0)
		s.equal("what is left", between(5, 8), s.seqs("doc:1"))
		s.equal("what makes up the value", []uint64{7, 8}, seqs(s.document("doc:1").Messages))
		s.reopen()
	}
	s.equal("deleted, though no rule asks for it", store.Trimmed{Messages: 4}, s.trim(noon, 100))
	// Everything, with the version that says so.
	gone := value("doc:1", 9)
	gone.Data, gone.Floor = []byte("null"), math.MaxUint64
	s.do(patch("doc:1", 9), gone)
	for range 2 {
		s.headIs("doc:1", 9, 9, 0)
		s.equal("nothing is left", store.DocumentPage{Head: s.head("doc:1"), Snapshot: snapshot(gone)}, s.document("doc:1"))
		if got := s.all("doc:1"); len(got) > 0 {
			s.Errorf("%d messages are left", len(got))
		}
		again := patch("doc:1", 1)
		again.Key, again.Content, again.Expires = a.Key, a.Content, a.Expires
		s.equal("the key stays", first, s.append(again))
		s.trim(noon, 1)
	}
	s.reopen()
	s.equal("deleted once", store.Trimmed{}, s.trim(noon, 100))
	s.append(patch("doc:1", 10))
	s.headIs("doc:1", 10, 9, 0)
}

func testDocumentKeep(s *subject) {
	keeping := func(version uint64, keep int) {
		s.Helper()
		a := patch("doc:1", version)
		a.Keep = keep
		s.append(a)
	}
	for version := uint64(1); version <= 6; version++ {
		keeping(version, 2)
		s.headIs("doc:1", version, 0, 0)
	}
	s.put(value("doc:1", 3))
	s.headIs("doc:1", 6, 0, 0) // it follows with the next append
	keeping(7, 2)
	s.headIs("doc:1", 7, 3, 0)
	s.reopen()
	keeping(8, 2)
	s.headIs("doc:1", 8, 3, 0)
	s.put(value("doc:1", 8))
	keeping(9, 4)
	s.headIs("doc:1", 9, 5, 0)
	s.equal("what can be read", between(6, 9), s.seqs("doc:1"))
	s.equal("what makes up the value", []uint64{9}, seqs(s.document("doc:1").Messages))
	// In one group each sees what those before it have done.
	a, b, c := patch("doc:2", 1), patch("doc:2", 2), patch("doc:2", 3)
	a.Keep, b.Keep, c.Keep = 1, 1, 1
	s.do(a, b, value("doc:2", 1), c)
	s.headIs("doc:2", 3, 1, 0)
	// The same by rule.
	rule := store.Keep{Namespace: "doc", Count: 2}
	s.trim(noon, 3, rule)
	s.headIs("doc:1", 9, 7, 0)
	s.headIs("doc:2", 3, 1, 0)
	s.patches("doc:1", 10, 20)
	s.trim(noon, 3, rule)
	s.headIs("doc:1", 20, 8, 0)
	s.put(value("doc:1", 15))
	s.trim(noon, 3, rule)
	s.headIs("doc:1", 20, 15, 0)
	s.put(value("doc:1", 20))
	s.reopen()
	s.trim(noon, 3, store.Keep{Namespace: "nobody", Count: 1}, store.Keep{Namespace: "doc"})
	s.headIs("doc:1", 20, 15, 0)
	s.trim(noon, 3, rule)
	s.headIs("doc:1", 20, 18, 0)
	if got := s.trim(noon, 3, rule); got != (store.Trimmed{}) {
		s.Errorf("another round did %+v", got)
	}
}

func testDocumentAge(s *subject) {
	const age = 60 * time.Millisecond // so short that documents are always looked at
	rule := store.Keep{Namespace: "doc", Age: age}
	at := func(version uint64, ms int64) {
		s.Helper()
		a := patch("doc:1", version)
		b := messageAt("doc:1", "1", noon+ms)
		a.ID, a.Time = b.ID, b.Time
		s.append(a)
	}
	// The clock jumps, there and back.
	for i, ms := range []int64{100, 200, 900, 250, 950, 300} {
		at(uint64(i+1), ms)
	}
	s.append(messageAt("doc:plain", "1", noon+100))
	s.append(messageAt("room:1", "1", noon))
	for _, c := range []struct {
		now, snapshot, floor uint64
	}{
		{10_000, 0, 0}, // it keeps all: there is no snapshot
		{10_000, 1, 1},
		{10_000, 1, 1},
		{200, 4, 1}, // the clock of who trims was put back
		{260, 4, 1}, // as old as may be
		{261, 4, 2},
		{500, 4, 2}, // the fourth waits for the third
		{961, 4, 4},
		{961, 6, 4},
		{1011, 6, 6},
	} {
		if c.snapshot > 0 {
			s.put(value("doc:1", c.snapshot))
		}
		s.trim(noon+int64(c.now), 2, rule)
		s.headIs("doc:1", 6, c.floor, 0)
		s.equal(fmt.Sprintf("what makes up the value at %d", c.now), empty(s.all("doc:1")[c.snapshot-c.floor:]), s.document("doc:1").Messages)
	}
	// What is held back by a missing snapshot holds nobody else back.
	s.headIs("doc:plain", 1, 1, 0)
	s.headIs("room:1", 1, 0, 0)
	s.reopen()
	s.headIs("doc:1", 6, 6, 0)
	at(7, 1000)
	s.trim(1<<48+noon, 10, rule)
	s.headIs("doc:1", 7, 6, 0)
}

func testDocumentTrimMany(s *subject) {
	const documents, each = 1500, 4
	var group []store.Command
	for i := range documents {
		for version := uint64(1); version <= each; version++ {
			group = append(group, patch(fmt.Sprintf("doc:%d", i), version))
		}
		if i%3 > 0 {
			group = append(group, value(fmt.Sprintf("doc:%d", i), uint64(i%3)))
		}
	}
	for len(group) > 0 {
		n := min(len(group), 1000)
		s.do(group[:n]...)
		group = group[n:]
	}
	s.append(message("doc:plain", "1"))
	if st := s.stats(); st.Documents != documents || st.Channels != documents+1 || st.Messages != documents*each+1 {
		s.Errorf("it has %+v", st)
	}
	rule := store.Keep{Namespace: "doc", Age: time.Hour}
	now := noon + 2*time.Hour.Milliseconds()
	if got := s.trim(now, 300, rule); got != (store.Trimmed{Messages: documents + 1}) {
		s.Errorf("it did %+v", got)
	}
	for i := range documents {
		if head := s.head(fmt.Sprintf("doc:%d", i)); head.Floor != uint64(i%3) || head.Top != each {
			s.Fatalf("document %d has %+v", i, head)
		}
	}
	// Of one with many patches a step takes no more than its budget.
	s.patches("doc:long", 1, 300)
	s.put(value("doc:long", 290))
	for steps := 0; ; steps++ {
		step, err := s.store.Trim(s.Context(), []store.Keep{rule}, time.UnixMilli(now+time.Hour.Milliseconds()), 7)
		if err != nil {
			s.Fatal(err)
		}
		if step.Messages > 14 || steps > 1000 {
			s.Fatalf("step %d did %+v", steps, step)
		}
		if page := s.document("doc:long"); len(page.Messages) != 10 || page.Messages[0].Seq != 291 {
			s.Fatalf("the value is made up of %d messages", len(page.Messages))
		}
		if !step.More {
			break
		}
	}
	s.headIs("doc:long", 300, 290, 0)
}

// A document is of one moment, while versions are made, snapshots are put and the
// past is deleted.
func testDocumentPage(s *subject) {
	const versions = 500
	done := make(chan error, 1)
	var ended atomic.Bool
	go func() {
		defer ended.Store(true)
		for version := uint64(1); version <= versions; version++ {
			a := patch("doc:1", version)
			a.Keep = 3
			group := []store.Command{a}
			switch version % 10 {
			case 0:
				group = append(group, value("doc:1", version))
			case 5:
				p := value("doc:1", version-1)
				p.Floor = version - 2
				group = append(group, p)
			}
			if _, err := s.store.Do(context.Background(), group...); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for round := 0; !ended.Load(); round++ {
		page := s.document("doc:1")
		head := page.Head
		newest := head.Top - head.Top%5
		if newest%10 == 5 {
			newest--
		}
		if page.Snapshot.Version != newest || head.Floor > newest || newest > 0 && string(page.Snapshot.Data) != string(value("", newest).Data) {
			s.Fatalf("the head is %+v, the snapshot %+v", head, page.Snapshot)
		}
		s.equal(fmt.Sprintf("messages with the head %+v", head), between(newest+1, head.Top), seqs(page.Messages))
		if round%64 == 0 {
			s.trim(noon, 10)
		}
	}
	if err := <-done; err != nil {
		s.Fatal(err)
	}
	s.headIs("doc:1", versions, 494, 0) // the last append met the snapshot before
}
