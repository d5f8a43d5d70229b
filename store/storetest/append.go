package storetest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func testSeqs(s *subject) {
	epoch := s.head("room:1").Epoch
	if n := len(epoch); n < 8 || n > 16 {
		s.Errorf("the epoch is %q", epoch)
	}
	s.headIs("room:1", 0, 0, 0)
	for i := range uint64(20) {
		for _, channel := range []string{"room:1", "room:2", "other:1"} {
			a := message(channel, "1")
			s.equal(channel, store.Appended{Epoch: epoch, Seq: i + 1, ID: a.ID}, s.append(a))
		}
	}
	s.equal("heads, in the order in which they were asked for", []store.Head{{Epoch: epoch, Top: 20}, {Epoch: epoch}, {Epoch: epoch, Top: 20}},
		s.heads("other:1", "room:3", "room:1"))
	s.equal("a channel's seqs", between(1, 20), s.seqs("room:2"))
	if heads := s.heads(); len(heads) != 0 {
		s.Errorf("no channel has the heads %v", heads)
	}
	if results, err := s.store.Do(s.Context()); err != nil || len(results) != 0 {
		s.Errorf("an empty group gives %v, %v", results, err)
	}
}

func testContent(s *subject) {
	connection := id.NewConnection().String()
	var want []store.Message
	add := func(change func(*store.Append)) {
		a := message("room:1", `{"text":"hi"}`)
		change(&a)
		s.append(a)
		want = append(want, stored(a, uint64(len(want)+1)))
	}
	for _, event := range []string{"", "message", "Message", "typing", "é", "\x00\xff", strings.Repeat("e", 1000)} {
		add(func(a *store.Append) { a.Event = event })
	}
	for _, data := range []string{"null", "0", `""`, `"\u0000"`, `{"a":[1,2,{"b":"ü"}]}`, `"` + strings.Repeat("x", 4<<20) + `"`} {
		add(func(a *store.Append) { a.Data = []byte(data) })
	}
	for _, sender := range []protocol.Sender{
		{}, {User: "u"}, {Device: "d"}, {Connection: connection}, {User: "u", Connection: connection}, {User: "u", Device: "d"},
		{User: "u", Device: "d", Connection: connection},
		{Connection: "server"}, {Connection: connection[:21] + "/"}, {Connection: connection + "A"}, {Connection: strings.Repeat("z", 22)},
		{User: "a\x00b", Device: "\x00", Connection: "\x00\x01"}, {User: strings.Repeat("u", 1000), Device: strings.Repeat("d", 300), Connection: connection},
		{User: "\xff\xfe", Device: "é"},
	} {
		add(func(a *store.Append) { a.Sender = sender })
	}
	for _, ms := range []int64{0, 1, noon, 1<<42 - 1, 1 << 42, 1<<48 - 1} {
		add(func(a *store.Append) { *a = messageAt("room:1", "1", ms) })
	}
	for _, round := range []string{"as it was stored", "after a restart"} {
		s.equal(round, want, s.all("room:1"))
		s.reopen()
	}
}

// The buffers that a caller gives and gets are its own after the call.
func testOwnership(s *subject) {
	a := keyed("room:1", `"mine"`, "key", "content")
	want := stored(a, 1)
	want.Data = []byte(`"mine"`)
	repeat := keyed("room:1", `"mine"`, "key", "content")
	s.append(a)
	for _, b := range [][]byte{a.Data, a.Key, a.Content} {
		fillBytes(b)
	}
	page := s.read(store.Query{Channel: "room:1", Limit: 1})
	s.equal("after the caller has used its buffers again", []store.Message{want}, page.Messages)
	fillBytes(page.Messages[0].Data)
	s.append(message("room:1", `"next"`))
	s.equal("after the reader has used its buffers again", want, s.all("room:1")[0])
	if got := s.append(repeat); !got.Duplicate {
		s.Errorf("the key is unknown: %+v", got)
	}
}

func fillBytes(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

func testGroups(s *subject) {
	s.append(keyed("room:1", `"first"`, "key", "content"))
	s.append(message("room:2", "1"))
	conflict := keyed("room:1", "0", "key", "other content")
	missing := store.Recall{Channel: "room:1", Seq: 99}
	kept := message("room:1", "0")
	kept.Keep = 1
	before := s.heads("room:1", "room:2", "room:new", "new:1")
	s.told.take()
	for i, failing := range []store.Command{conflict, missing} {
		want := []error{store.ErrConflict, store.ErrNotFound}[i]
		// Whatever stands before the one that fails is not done, whatever it touches:
		// what is there, channels and namespaces that are new, floors, keys, content.
		s.refuses(want, failing)
		s.refuses(want, message("room:1", "0"), failing)
		s.refuses(want, failing, message("room:1", "0"))
		s.refuses(want, message("room:2", "0"), message("new:1", "0"), message("room:new", "0"), failing, message("room:3", "0"))
		s.refuses(want, kept, failing)
		s.refuses(want, keyed("room:2", "0", "key", ""), keyed("new:1", "0", "key", ""), failing)
		s.refuses(want, store.Recall{Channel: "room:2", Seq: 1}, failing)
		s.refuses(want, message("room:2", "0"), store.Recall{Channel: "room:2", Seq: 2}, failing)
	}
	s.equal("heads", before, s.heads("room:1", "room:2", "room:new", "new:1"))
	if told := s.told.take(); len(told) > 0 {
		s.Errorf("it was told %+v", told)
	}
	if got := s.append(keyed("room:2", "2", "key", "another content")); got.Duplicate || got.Seq != 2 {
		s.Errorf("the key of a group that failed gave %+v", got)
	}
	// The same commands together, as they should be.
	results := s.do(message("room:1", "2"), message("new:1", "1"), message("room:1", "3"), store.Recall{Channel: "room:1", Seq: 2}, message("room:new", "1"))
	var got []uint64
	for _, r := range results {
		switch r := r.(type) {
		case store.Appended:
			got = append(got, r.Seq)
		case store.Recalled:
			got = append(got, r.Seq)
		}
	}
	s.equal("seqs", []uint64{2, 1, 3, 2, 1}, got)
	s.headIs("room:1", 3, 0, 3)
	s.headIs("room:2", 2, 0, 0)
	s.headIs("new:1", 1, 0, 0)
}

// Groups that wait together may share a transaction; those that fail do not
// show in it.
func testNeighbours(s *subject) {
	const each = 20
	s.append(keyed("room:gate", `"used"`, "key", "content"))
	outcomes := make([]error, 4*each)
	var wait sync.WaitGroup
	s.held("room:gate", func() {
		for i := range outcomes {
			var group []store.Command
			switch i % 4 {
			case 0:
				group = []store.Command{message("room:gate", `"alone"`)}
			case 1:
				group = []store.Command{message("room:gate", `"failed"`), keyed("room:gate", `"failed"`, "key", "other")}
			case 2:
				group = []store.Command{message(fmt.Sprintf("fresh%d:1", i), `"failed"`), message("room:gate", `"failed"`), store.Recall{Channel: "room:gate", ID: "nonsense"}}
			case 3:
				group = []store.Command{message(fmt.Sprintf("fresh%d:1", i), `"two"`), message("room:gate", `"two"`)}
			}
			wait.Go(func() { _, outcomes[i] = s.store.Do(context.Background(), group...) })
		}
	})
	wait.Wait()
	for i, err := range outcomes {
		s.expect(fmt.Sprintf("group %d", i), []error{nil, store.ErrConflict, store.ErrNotFound, nil}[i%4], err)
		if top := s.head(fmt.Sprintf("fresh%d:1", i)).Top; top != uint64(i%4/3) {
			s.Errorf("group %d made %d messages in a channel of its own", i, top)
		}
	}
	count := make(map[string]int)
	for i, m := range s.all("room:gate") {
		count[string(m.Data)]++
		if m.Seq != uint64(i+1) {
			s.Fatalf("seq %d comes after %d others", m.Seq, i)
		}
	}
	s.equal("messages", map[string]int{`"used"`: 1, `"first"`: 1, `"alone"`: each, `"two"`: each}, count)
}

func testWholeGroups(s *subject) {
	channels := []string{"room:1", "room:2", "other:1"}
	done := make(chan error, 1)
	go func() {
		for range 200 {
			if _, err := s.store.Do(context.Background(), message(channels[0], "1"), message(channels[1], "1"), message(channels[2], "1")); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for running := true; running; {
		select {
		case err := <-done:
			running = false
			if err != nil {
				s.Fatal(err)
			}
		default:
		}
		heads := s.heads(channels...)
		if heads[0] != heads[1] || heads[1] != heads[2] {
			s.Fatalf("heads are %+v", heads)
		}
	}
	s.headIs("other:1", 200, 0, 0)
}

// confusing are names that a collation, a normalisation or a pattern would take
// for each other.
var confusing = []string{
	"room:a", "room:A", "ROOM:a", "room:a ", " room:a", "room:ａ", "room:é", "room:e\u0301", "room:E\u0301", "room:ß", "room:ss",
	"room:%", "room:_", "room:*", "room:a:b", "room:a\x00", "room:a\x00b", "room:\xff", "room:\xfe", "room:", "room", "roo:ma", "@user:a",
	"room:1", "room:01", "room:1.0", "room:" + strings.Repeat("x", 250), "room:" + strings.Repeat("x", 249) + "y",
}

func testNames(s *subject) {
	if n := len(slices.Compact(slices.Sorted(slices.Values(confusing)))); n != len(confusing) {
		s.Fatalf("%d of %d names are different", n, len(confusing))
	}
	for i, name := range confusing {
		s.headIs(name, 0, 0, 0)
		for range i + 1 {
			s.append(keyed(name, fmt.Sprintf("%q", name), fmt.Sprint(s.head(name).Top), ""))
		}
	}
	for range 2 {
		heads := s.heads(confusing...)
		for i, name := range confusing {
			if heads[i].Top != uint64(i+1) {
				s.Errorf("%q has the top %d, want %d", name, heads[i].Top, i+1)
			}
			for _, m := range s.all(name) {
				if want := fmt.Sprintf("%q", name); string(m.Data) != want {
					s.Fatalf("%s has the message %s", want, m.Data)
				}
			}
		}
		s.reopen()
	}
	for i, name := range confusing {
		s.equal(name, store.Recalled{Channel: name, Seq: 1, ID: s.all(name)[0].ID}, s.recall(store.Recall{Channel: name, Seq: 1}))
		s.headIs(name, uint64(i+1), 0, uint64(i+1))
	}
	told := make(map[string]bool)
	for _, c := range s.told.take() {
		told[c.Channel] = true
	}
	if len(told) != len(confusing) {
		s.Errorf("%d of %d channels were told: %q", len(told), len(confusing), slices.Sorted(maps.Keys(told)))
	}
}

func testKeep(s *subject) {
	for i := range uint64(10) {
		a := message("room:1", "1")
		a.Keep = 3
		s.append(a)
		top := i + 1
		floor := max(top, 3) - 3
		s.headIs("room:1", top, floor, 0)
		s.equal("what can be read", between(floor+1, top), s.seqs("room:1"))
		s.equal("what can be read of the beginning", between(floor+1, top), seqs(s.read(store.Query{Channel: "room:1", After: 0, Limit: 100}).Messages))
	}
	// A rule that allows more brings nothing back, and one that allows less holds.
	for _, step := range []struct{ keep, floor uint64 }{{100, 7}, {0, 7}, {6, 7}, {6, 8}, {1, 14}, {math.MaxInt32, 14}} {
		a := message("room:1", "1")
		a.Keep = int(step.keep)
		s.append(a)
		if got := s.head("room:1").Floor; got != step.floor {
			s.Errorf("keeping %d raised the floor to %d, want %d", step.keep, got, step.floor)
		}
	}
	s.reopen()
	s.headIs("room:1", 16, 14, 0)
	s.equal("what can be read after a restart", between(15, 16), s.seqs("room:1"))
	s.refuses(store.ErrNotFound, store.Recall{Channel: "room:1", Seq: 14})
	// Several in one group.
	var group []store.Command
	for range 5 {
		a := message("room:2", "1")
		a.Keep = 2
		group = append(group, a)
	}
	s.do(group...)
	s.headIs("room:2", 5, 3, 0)
	s.equal("what can be read of the group", between(4, 5), s.seqs("room:2"))
}

func testRefused(s *subject) {
	for field, spoil := range map[string]func(*store.Append){
		"Channel": func(a *store.Append) { a.Channel = "" },
		"ID":      func(a *store.Append) { a.ID = "short" },
		"Time":    func(a *store.Append) { a.Time = -1 },
		"Keep":    func(a *store.Append) { a.Keep = -1 },
		"Key":     func(a *store.Append) { a.Key = make([]byte, 65) },
		"Content": func(a *store.Append) { a.Content = make([]byte, 33) },
	} {
		a := message("room:1", "2")
		spoil(&a)
		_, err := s.store.Do(s.Context(), message("room:1", "1"), a)
		if err == nil || !strings.Contains(err.Error(), "command 1: append: "+field+": ") {
			s.Errorf("%s: the error is %v", field, err)
		}
	}
	s.headIs("room:1", 0, 0, 0)
	if _, err := s.store.Read(s.Context(), store.Query{Channel: "room:1"}); err == nil || !strings.Contains(err.Error(), "Limit") {
		s.Errorf("reading without a limit: the error is %v", err)
	}
}
