package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/skein-realtime/skein/store"
)

// expect compares an error with the one that it should be.
func (s *subject) expect(what string, want, got error) {
	s.Helper()
	if !errors.Is(got, want) {
		s.Errorf("%s: the error is %v, want %v", what, got, want)
	}
}

func testKeys(s *subject) {
	s.append(message("room:1", `"before"`))
	a := keyed("room:1", `"first"`, "key", "content")
	first := s.append(a)
	s.equal("the first", store.Appended{Epoch: s.head("room:1").Epoch, Seq: 2, ID: a.ID}, first)
	first.Duplicate = true
	s.told.take()
	for range 2 {
		again := keyed("room:1", `"again"`, "key", "content")
		s.equal("the second", first, s.append(again))
		s.refuses(store.ErrConflict, keyed("room:1", `"other"`, "key", "other"))
		s.refuses(store.ErrConflict, keyed("room:1", `"other"`, "key", ""))
		s.refuses(store.ErrConflict, keyed("room:1", `"other"`, "key", "content\x00"))
		if told := s.told.take(); len(told) > 0 {
			s.Errorf("it was told %+v", told)
		}
		s.reopen()
	}
	s.headIs("room:1", 2, 0, 0)
	// In another channel it is another key.
	if got := s.append(keyed("room:2", "1", "key", "other")); got.Duplicate || got.Seq != 1 {
		s.Errorf("the key in another channel gave %+v", got)
	}
	// What is a duplicate does not keep the rest of its group from being stored.
	results := s.do(message("room:1", "3"), keyed("room:1", `"again"`, "key", "content"), message("room:1", "4"))
	s.equal("the duplicate in a group", store.Result(first), results[1])
	s.headIs("room:1", 4, 0, 0)
	// A group that uses a key twice.
	twice := keyed("room:3", "1", "key", "content")
	results = s.do(message("room:3", "0"), twice, keyed("room:3", "2", "key", "content"), message("room:3", "3"))
	want := store.Appended{Epoch: first.Epoch, Seq: 2, ID: twice.ID}
	s.equal("the first of the group", store.Result(want), results[1])
	want.Duplicate = true
	s.equal("the second of the group", store.Result(want), results[2])
	s.headIs("room:3", 3, 0, 0)
	s.refuses(store.ErrConflict, keyed("room:4", "1", "key", "content"), keyed("room:4", "2", "key", "other"))
	s.headIs("room:4", 0, 0, 0)
}

func testKeyBytes(s *subject) {
	keys := []string{
		"k", "K", "k\x00", "k ", "\x00", "\x00\x00", "\xff", "\xfe", "é", "e\u0301", "1", "01",
		strings.Repeat("\xff", 64), strings.Repeat("\xff", 63), strings.Repeat("\xff", 63) + "\x00",
	}
	contents := []string{"", "c", "C", strings.Repeat("\x00", 32)}
	for i, key := range keys {
		if got := s.append(keyed("room:1", "1", key, contents[i%len(contents)])); got.Duplicate || got.Seq != uint64(i+1) {
			s.Errorf("key %q gave %+v", key, got)
		}
	}
	s.reopen()
	for i, key := range keys {
		if got := s.append(keyed("room:1", "1", key, contents[i%len(contents)])); !got.Duplicate || got.Seq != uint64(i+1) {
			s.Errorf("key %q gave %+v the second time", key, got)
		}
		s.refuses(store.ErrConflict, keyed("room:1", "1", key, contents[(i+1)%len(contents)]))
	}
	// No content and an empty one are the same.
	a := keyed("room:1", "1", "k", "")
	a.Content = nil
	if got := s.append(a); !got.Duplicate || got.Seq != 1 {
		s.Errorf("without content it gave %+v", got)
	}
}

func testKeyExpires(s *subject) {
	at := func(ms int64, content string) store.Append {
		a := messageAt("room:1", "1", noon+ms)
		a.Key, a.Content, a.Expires = []byte("key"), []byte(content), noon+ms+100
		return a
	}
	s.append(at(0, "a"))
	if got := s.append(at(99, "a")); !got.Duplicate {
		s.Errorf("before its end the key gave %+v", got)
	}
	s.refuses(store.ErrConflict, at(99, "b"))
	// It is the time of the message that counts, not the clock; a use that gives the
	// first result does not prolong it.
	s.reopen()
	if got := s.append(at(101, "b")); got.Duplicate || got.Seq != 2 {
		s.Errorf("after its end the key gave %+v", got)
	}
	s.refuses(store.ErrConflict, at(102, "a"))
	if got := s.append(at(102, "b")); !got.Duplicate || got.Seq != 2 {
		s.Errorf("used anew the key gave %+v", got)
	}
	// A clock that went back finds the newer use.
	if got := s.append(at(-50, "b")); !got.Duplicate || got.Seq != 2 {
		s.Errorf("with the clock back the key gave %+v", got)
	}
	// The same in one group.
	results := s.do(at(1000, "c"), at(1050, "c"), at(2000, "d"))
	for i, want := range []store.Appended{{Seq: 3}, {Seq: 3, Duplicate: true}, {Seq: 4}} {
		if got := results[i].(store.Appended); got.Seq != want.Seq || got.Duplicate != want.Duplicate {
			s.Errorf("command %d of the group gave %+v", i, got)
		}
	}
}

func testKeyOutlives(s *subject) {
	withdrawn := keyed("room:1", "1", "withdrawn", "content")
	s.append(withdrawn)
	s.recall(store.Recall{Channel: "room:1", Seq: 1})
	gone := keyed("room:1", "2", "gone", "content")
	s.append(gone)
	last := message("room:1", "3")
	last.Keep = 1
	s.append(last)
	s.trim(noon, 100, store.Keep{Namespace: "room", Count: 1})
	s.reopen()
	for i, a := range []store.Append{withdrawn, gone} {
		a.Data = []byte(`"again"`)
		want := store.Appended{Epoch: s.head("room:1").Epoch, Seq: uint64(i + 1), ID: a.ID, Duplicate: true}
		a.ID = message("room:1", "").ID
		s.equal(string(a.Key), want, s.append(a))
	}
}

func testKeyRace(s *subject) {
	const racers = 32
	for _, key := range []string{"a", "b", "c"} {
		results := make([]store.Appended, racers)
		var wait sync.WaitGroup
		for i := range racers {
			wait.Go(func() {
				got, err := s.store.Do(context.Background(), keyed("room:1", "1", key, "content"))
				if err != nil {
					s.Error(err)
					return
				}
				results[i] = got[0].(store.Appended)
			})
		}
		wait.Wait()
		fresh := 0
		for _, r := range results {
			if !r.Duplicate {
				fresh++
			}
			r.Duplicate = results[0].Duplicate
			s.equal("what the racers got", results[0], r)
		}
		if fresh != 1 {
			s.Errorf("%d of %d racers stored a message", fresh, racers)
		}
	}
	s.headIs("room:1", 3, 0, 0)
}

func testTrimKeys(s *subject) {
	var group []store.Command
	for i := range 30 {
		a := keyed("room:1", "1", string(rune('a'+i)), "content")
		a.Expires = a.Time + int64(i)*1000
		group = append(group, a)
	}
	s.do(group...)
	if got := s.trim(noon+9_500, 4); got != (store.Trimmed{Keys: 10}) {
		s.Errorf("the first round did %+v", got)
	}
	// Those that are left are as good as before.
	a := keyed("room:1", "1", string(rune('a'+10)), "content")
	if got := s.append(a); !got.Duplicate || got.Seq != 11 {
		s.Errorf("a key that has not expired gave %+v", got)
	}
	if got := s.trim(noon+time.Hour.Milliseconds(), 100); got != (store.Trimmed{Keys: 20}) {
		s.Errorf("the second round did %+v", got)
	}
	s.equal("messages", between(1, 30), s.seqs("room:1"))
	a.Content = []byte("other")
	if got := s.append(a); got.Duplicate || got.Seq != 31 {
		s.Errorf("a key that was deleted gave %+v", got)
	}
}
