package storetest

import (
	"fmt"
	"time"

	"github.com/skein-realtime/skein/store"
)

// stats measures the store.
func (s *subject) stats() store.Stats {
	s.Helper()
	st, err := s.store.Stats(s.Context())
	if err != nil {
		s.Fatalf("stats: %v", err)
	}
	return st
}

func testTrimCount(s *subject) {
	s.fill("room:1", 10)
	s.fill("room:2", 3)
	s.fill("room:3", 4)
	for _, name := range []string{"room2:1", "roo:1", "Room:1", "other:1"} {
		s.fill(name, 10)
	}
	if got := s.trim(noon, 100, store.Keep{Namespace: "room", Count: 3}); got != (store.Trimmed{Messages: 8}) {
		s.Errorf("it did %+v", got)
	}
	for range 2 {
		s.headIs("room:1", 10, 7, 0)
		s.headIs("room:2", 3, 0, 0)
		s.headIs("room:3", 4, 1, 0)
		s.equal("what can be read", between(8, 10), s.seqs("room:1"))
		for _, name := range []string{"room2:1", "roo:1", "Room:1", "other:1"} {
			s.headIs(name, 10, 0, 0)
			s.equal(name, between(1, 10), s.seqs(name))
		}
		if got := s.trim(noon, 100, store.Keep{Namespace: "room", Count: 3}); got != (store.Trimmed{}) {
			s.Errorf("another round did %+v", got)
		}
		s.reopen()
	}
	// The seqs go on.
	if got := s.append(message("room:1", "11")); got.Seq != 11 {
		s.Errorf("the next message is %+v", got)
	}
	// Without a count everything is kept, and a namespace that nobody knows is none.
	if got := s.trim(noon, 100, store.Keep{Namespace: "room"}, store.Keep{Namespace: "nobody", Count: 1, Age: 1}); got != (store.Trimmed{}) {
		s.Errorf("rules that allow all did %+v", got)
	}
}

func testTrimManyChannels(s *subject) {
	const channels = 3000
	var group []store.Command
	for i := range channels {
		for range 2 {
			group = append(group, message(fmt.Sprintf("room:%d", i), "1"))
		}
	}
	s.do(group...)
	if got := s.trim(noon, 500, store.Keep{Namespace: "room", Count: 1}); got != (store.Trimmed{Messages: channels}) {
		s.Errorf("it did %+v", got)
	}
	for i := range channels {
		if head := s.head(fmt.Sprintf("room:%d", i)); head.Top != 2 || head.Floor != 1 {
			s.Fatalf("channel %d has %+v", i, head)
		}
	}
}

func testTrimAge(s *subject) {
	// The clock jumps, there and back.
	for i, ms := range []int64{1000, 2000, 9000, 2500, 9500, 3000, 9900} {
		s.append(messageAt("room:1", fmt.Sprint(i+1), noon+ms))
	}
	s.append(messageAt("room:2", "1", noon+1000))
	s.append(messageAt("room:3", "1", noon+9000))
	s.append(messageAt("other:1", "1", noon))
	rule := store.Keep{Namespace: "room", Age: time.Second}
	for _, c := range []struct {
		now, floor1, floor2, floor3 uint64
	}{
		{2000, 0, 0, 0}, // as old as may be
		{2001, 1, 1, 0},
		{3000, 1, 1, 0},
		{3501, 4, 1, 0}, // the third goes with those after it: what is left has no holes
		{4000, 4, 1, 0},
		{4001, 6, 1, 0},
		{10_000, 6, 1, 0},
		{10_001, 6, 1, 1},
		{20_000, 7, 1, 1},
	} {
		s.trim(noon+int64(c.now), 2, rule)
		s.headIs("room:1", 7, c.floor1, 0)
		s.headIs("room:2", 1, c.floor2, 0)
		s.headIs("room:3", 1, c.floor3, 0)
		s.equal(fmt.Sprintf("at %d", c.now), between(c.floor1+1, 7), s.seqs("room:1"))
	}
	s.headIs("other:1", 1, 0, 0)
	s.reopen()
	s.headIs("room:1", 7, 7, 0)
	if st := s.stats(); st.Channels != 4 {
		s.Errorf("channels without messages are forgotten: %+v", st)
	}
	if got := s.append(message("room:2", "2")); got.Seq != 2 {
		s.Errorf("the next message is %+v", got)
	}
	// A rule that reaches beyond the beginning of time, and one beyond its end.
	s.trim(noon, 100, store.Keep{Namespace: "room", Age: 1<<63 - 1})
	s.headIs("room:2", 2, 1, 0)
	s.trim(1<<48+noon, 100, rule)
	s.headIs("room:2", 2, 2, 0)
}

func testTrimRules(s *subject) {
	for i := range int64(20) {
		s.append(messageAt("room:1", "1", noon+i*1000))
		s.append(messageAt("other:1", "1", noon+i*1000))
	}
	now := noon + 20_000
	rules := func(room, other int) []store.Keep {
		return []store.Keep{{Namespace: "other", Count: other}, {Namespace: "room", Count: room}}
	}
	s.trim(now, 100, rules(18, 19)...)
	s.headIs("room:1", 20, 2, 0)
	s.headIs("other:1", 20, 1, 0)
	s.trim(now, 100, rules(10, 0)...)
	s.headIs("room:1", 20, 10, 0)
	s.headIs("other:1", 20, 1, 0)
	// What is gone does not come back.
	s.trim(now, 100, rules(20, 5)...)
	s.headIs("room:1", 20, 10, 0)
	s.headIs("other:1", 20, 15, 0)
	// Both at once: the stricter one holds.
	s.trim(now, 100, store.Keep{Namespace: "room", Count: 9, Age: 4 * time.Second}, store.Keep{Namespace: "other", Count: 2, Age: time.Hour})
	s.headIs("room:1", 20, 16, 0)
	s.headIs("other:1", 20, 18, 0)
	s.trim(now, 100, store.Keep{Namespace: "room", Count: 2, Age: 4 * time.Second})
	s.headIs("room:1", 20, 18, 0)
	// The same rules find what has come since.
	s.fill("room:1", 5)
	s.trim(now, 100, store.Keep{Namespace: "room", Count: 2, Age: 4 * time.Second})
	s.trim(now, 100, store.Keep{Namespace: "room", Count: 2, Age: time.Hour})
	s.equal("what can be read of other", between(19, 20), s.seqs("other:1"))
}

func testTrimBudget(s *subject) {
	s.fill("room:1", 300)
	s.fill("room:2", 50)
	before := s.stats()
	steps, deleted := 0, 0
	for more := true; more; steps++ {
		step, err := s.store.Trim(s.Context(), []store.Keep{{Namespace: "room", Count: 100}}, time.UnixMilli(noon), 7)
		if err != nil {
			s.Fatal(err)
		}
		if step.Messages > 14 || steps > 1000 {
			s.Fatalf("step %d did %+v", steps, step)
		}
		more = step.More
		deleted += step.Messages
		// However far it has come, what can be read has no holes.
		page := s.read(store.Query{Channel: "room:1", Limit: 1000})
		s.equal("what can be read", between(page.Head.Floor+1, 300), seqs(page.Messages))
	}
	if deleted != 200 || steps < 200/14 {
		s.Errorf("%d messages were deleted in %d steps", deleted, steps)
	}
	s.headIs("room:1", 300, 200, 0)
	if after := s.stats(); before.Messages-after.Messages != 200 {
		s.Errorf("the store kept %d messages and now keeps %d", before.Messages, after.Messages)
	}
	// By age, with messages of several channels between each other.
	for i := range int64(60) {
		s.append(messageAt(fmt.Sprintf("old:%d", i%3), "1", noon+i))
	}
	if got := s.trim(noon+time.Hour.Milliseconds(), 5, store.Keep{Namespace: "old", Age: time.Minute}); got != (store.Trimmed{Messages: 60}) {
		s.Errorf("by age it did %+v", got)
	}
	for i := range 3 {
		s.headIs(fmt.Sprintf("old:%d", i), 20, 20, 0)
	}
}
