package storetest

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/skein-realtime/skein/store"
)

func testRecall(s *subject) {
	list := s.fill("room:1", 5)
	other := s.fill("other:1", 2)
	epoch := s.head("room:1").Epoch
	s.told.take()
	s.equal("by seq", store.Recalled{Channel: "room:1", Seq: 2, ID: list[1].ID}, s.recall(store.Recall{Channel: "room:1", Seq: 2}))
	s.headIs("room:1", 5, 0, 5)
	s.append(message("room:1", "6"))
	s.equal("by id in a channel", store.Recalled{Channel: "room:1", Seq: 4, ID: list[3].ID}, s.recall(store.Recall{Channel: "room:1", ID: list[3].ID}))
	s.headIs("room:1", 6, 0, 6)
	s.equal("by id alone", store.Recalled{Channel: "other:1", Seq: 1, ID: other[0].ID}, s.recall(store.Recall{ID: other[0].ID}))
	s.headIs("other:1", 2, 0, 2)

	told := s.told.take()
	for i, want := range []store.Commit{
		{Channel: "room:1", Epoch: epoch, Recall: new(stub(list[1], 2))},
		{},
		{Channel: "room:1", Epoch: epoch, Recall: new(stub(list[3], 4))},
		{Channel: "other:1", Epoch: epoch, Recall: new(stub(other[0], 1))},
	} {
		if want.Recall != nil {
			s.equal("told", want, told[i])
		}
	}
	for range 2 {
		// A second time nothing happens, and nothing is told.
		for _, r := range []store.Recall{{Channel: "room:1", Seq: 2}, {Channel: "room:1", ID: list[1].ID}, {ID: list[1].ID}} {
			s.equal("again", store.Recalled{Channel: "room:1", Seq: 2, ID: list[1].ID, Already: true}, s.recall(r))
		}
		s.headIs("room:1", 6, 0, 6)
		if told := s.told.take(); len(told) > 0 {
			s.Errorf("it was told %+v", told)
		}
		all := s.all("room:1")
		s.equal("the stubs", []store.Message{stub(list[1], 2), stub(list[3], 4)}, []store.Message{all[1], all[3]})
		s.equal("a neighbour", stored(list[2], 3), all[2])
		s.reopen()
	}
	// What a group appends it can withdraw.
	a := message("room:2", "1")
	b := message("fresh:1", "1")
	results := s.do(a, store.Recall{Channel: "room:2", ID: a.ID}, b, store.Recall{ID: b.ID}, store.Recall{Channel: "fresh:1", Seq: 1})
	s.equal("in its group", store.Result(store.Recalled{Channel: "room:2", Seq: 1, ID: a.ID}), results[1])
	s.equal("in its group, by id alone", store.Result(store.Recalled{Channel: "fresh:1", Seq: 1, ID: b.ID}), results[3])
	s.equal("in its group, again", store.Result(store.Recalled{Channel: "fresh:1", Seq: 1, ID: b.ID, Already: true}), results[4])
	s.equal("what is left", []store.Message{stub(a, 1)}, s.all("room:2"))
}

func testRecallMissing(s *subject) {
	list := s.fill("room:1", 5)
	for _, r := range []store.Recall{
		{Channel: "room:1", Seq: 6}, {Channel: "room:1", Seq: math.MaxUint64}, {Channel: "room:2", Seq: 1},
		{Channel: "room:2", ID: list[0].ID}, {Channel: "Room:1", ID: list[0].ID}, {Channel: "room:1", ID: message("room:1", "").ID},
		{ID: message("room:1", "").ID}, {ID: "nonsense"}, {ID: "zzzzzzzzzzzzzzzzzzzzzzzzzz"},
	} {
		s.refuses(store.ErrNotFound, r)
	}
	last := message("room:1", "6")
	last.Keep = 2
	s.append(last)
	// What is at or below the floor is gone, whether its row is there or not.
	for range 2 {
		for seq := range uint64(4) {
			s.refuses(store.ErrNotFound, store.Recall{Channel: "room:1", Seq: seq + 1})
			s.refuses(store.ErrNotFound, store.Recall{Channel: "room:1", ID: list[seq].ID})
			s.refuses(store.ErrNotFound, store.Recall{ID: list[seq].ID})
		}
		s.trim(noon, 100)
		s.headIs("room:1", 6, 4, 0)
	}
}

func testRecalls(s *subject) {
	list := s.fill("room:1", 6)
	s.recall(store.Recall{Channel: "room:1", Seq: 5}) // at top 6
	s.recall(store.Recall{Channel: "room:1", Seq: 2}) // at top 6
	list = append(list, s.fill("room:1", 4)...)
	s.recall(store.Recall{Channel: "room:1", Seq: 9}) // at top 10
	s.recall(store.Recall{Channel: "room:1", Seq: 1}) // at top 10
	s.fill("room:1", 2)
	s.headIs("room:1", 12, 0, 10)
	for range 2 {
		for _, c := range []struct {
			since uint64
			limit int
			want  []uint64
		}{
			{0, 10, nil},
			{1, 10, []uint64{1}},
			{2, 10, []uint64{1, 2}},
			{5, 10, []uint64{1, 2, 5}},
			{6, 10, []uint64{1, 2, 5}},
			{6, 2, []uint64{1, 2}},
			{6, 1, []uint64{1}},
			{7, 10, []uint64{1}}, // it had 7, so it was told of 2 and 5
			{9, 10, []uint64{1, 9}},
			{10, 10, []uint64{1, 9}},
			{11, 10, nil},
			{math.MaxUint64, 10, nil},
		} {
			var want []store.Message
			for _, seq := range c.want {
				want = append(want, stub(list[seq-1], seq))
			}
			s.equal(fmt.Sprintf("since %d, at most %d", c.since, c.limit), want, s.recalls("room:1", c.since, c.limit))
		}
		s.reopen()
	}
	if got := s.recalls("room:2", 5, 10); len(got) > 0 {
		s.Errorf("an unknown channel has %+v", got)
	}
	// What is gone is not listed.
	last := message("room:1", "13")
	last.Keep = 9
	s.append(last)
	s.equal("above the floor", []store.Message{stub(list[8], 9)}, s.recalls("room:1", 10, 10))
	s.trim(noon, 100)
	s.equal("above the floor, when the rest is deleted", []store.Message{stub(list[8], 9)}, s.recalls("room:1", 10, 10))
}

func testPages(s *subject) {
	list := s.fill("room:1", 19)
	last := message("room:1", "20")
	last.Keep = 15
	s.append(last)
	list = append(list, last)
	s.fill("room:2", 3)
	for _, round := range []string{"before", "after"} {
		for _, c := range []struct {
			q           store.Query
			first, last uint64 // first beyond last: nothing
			more        bool
		}{
			{store.Query{Limit: 100}, 6, 20, false},
			{store.Query{Limit: 15}, 6, 20, false},
			{store.Query{Limit: 14}, 6, 19, true},
			{store.Query{After: 3, Limit: 2}, 6, 7, true},
			{store.Query{After: 5, Limit: 1}, 6, 6, true},
			{store.Query{After: 6, Limit: 1}, 7, 7, true},
			{store.Query{After: 10, Limit: 5}, 11, 15, true},
			{store.Query{After: 18, Limit: 1}, 19, 19, true},
			{store.Query{After: 18, Limit: 2}, 19, 20, false},
			{store.Query{After: 19, Limit: 1}, 20, 20, false},
			{store.Query{After: 20, Limit: 1}, 1, 0, false},
			{store.Query{After: 21, Limit: 1}, 1, 0, false},
			{store.Query{After: math.MaxUint64, Limit: math.MaxInt32}, 1, 0, false},
			{store.Query{Backward: true, Limit: 100}, 6, 20, false},
			{store.Query{Backward: true, Limit: 15}, 6, 20, false},
			{store.Query{Backward: true, Limit: 3}, 18, 20, true},
			{store.Query{Backward: true, Before: 20, Limit: 3}, 17, 19, true},
			{store.Query{Backward: true, Before: 21, Limit: 1}, 20, 20, true},
			{store.Query{Backward: true, Before: math.MaxUint64, Limit: 1}, 20, 20, true},
			{store.Query{Backward: true, Before: 9, Limit: 3}, 6, 8, false},
			{store.Query{Backward: true, Before: 9, Limit: 2}, 7, 8, true},
			{store.Query{Backward: true, Before: 7, Limit: 5}, 6, 6, false},
			{store.Query{Backward: true, Before: 6, Limit: 5}, 1, 0, false},
			{store.Query{Backward: true, Before: 3, Limit: 5}, 1, 0, false},
			{store.Query{Backward: true, Before: 1, Limit: 5}, 1, 0, false},
			// The place of the other direction does not matter.
			{store.Query{After: 10, Before: 3, Limit: 2}, 11, 12, true},
			{store.Query{Backward: true, After: 15, Before: 10, Limit: 2}, 8, 9, true},
		} {
			c.q.Channel = "room:1"
			page := s.read(c.q)
			var want []store.Message
			for seq := c.first; seq <= c.last; seq++ {
				want = append(want, stored(list[seq-1], seq))
			}
			what := fmt.Sprintf("%+v %s the rows are deleted", c.q, round)
			if len(want)+len(page.Messages) > 0 {
				s.equal(what, want, page.Messages)
			}
			if page.More != c.more {
				s.Errorf("%s: more is %v", what, page.More)
			}
			s.equal(what, store.Head{Epoch: page.Head.Epoch, Top: 20, Floor: 5}, page.Head)
		}
		s.trim(noon, 100)
	}
	for _, backward := range []bool{false, true} {
		page := s.read(store.Query{Channel: "room:3", Limit: 5, Backward: backward})
		if len(page.Messages) > 0 || page.More || page.Head != s.head("room:3") {
			s.Errorf("an unknown channel has %+v", page)
		}
	}
}

func testPageBytes(s *subject) {
	for range 10 {
		s.append(message("room:1", `"12345678"`)) // 10 bytes
	}
	s.recall(store.Recall{Channel: "room:1", Seq: 3}) // none
	for _, c := range []struct {
		q           store.Query
		first, last uint64
		more        bool
	}{
		{store.Query{Limit: 100, Bytes: 1}, 1, 1, true},
		{store.Query{Limit: 100, Bytes: 10}, 1, 1, true},
		{store.Query{Limit: 100, Bytes: 11}, 1, 2, true},
		{store.Query{Limit: 100, Bytes: 21}, 1, 4, true},
		{store.Query{Limit: 3, Bytes: 21}, 1, 3, true},
		{store.Query{Limit: 100, Bytes: 89}, 1, 10, false},
		{store.Query{Limit: 100, Bytes: 90}, 1, 10, false},
		{store.Query{Limit: 100, Bytes: 80}, 1, 9, true},
		{store.Query{Limit: 100, Bytes: math.MaxInt32}, 1, 10, false},
		{store.Query{Backward: true, Limit: 100, Bytes: 1}, 10, 10, true},
		{store.Query{Backward: true, Limit: 100, Bytes: 21}, 8, 10, true},
		{store.Query{Backward: true, Before: 5, Limit: 100, Bytes: 11}, 2, 4, true},
		{store.Query{Backward: true, Before: 5, Limit: 100, Bytes: 21}, 1, 4, false},
	} {
		c.q.Channel = "room:1"
		page := s.read(c.q)
		s.equal(fmt.Sprintf("%+v", c.q), between(c.first, c.last), seqs(page.Messages))
		if page.More != c.more {
			s.Errorf("%+v: more is %v", c.q, page.More)
		}
	}
}

// A page's messages and its head belong together, while the channel grows and
// its floor rises.
func testPageSnapshot(s *subject) {
	var ended atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer ended.Store(true)
		for range 400 {
			a, b := message("room:1", "1"), message("room:1", "2")
			a.Keep, b.Keep = 4, 4
			if _, err := s.store.Do(context.Background(), a, b); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for round := 0; !ended.Load(); round++ {
		page := s.read(store.Query{Channel: "room:1", Limit: 10, Backward: round%2 == 0})
		want := between(page.Head.Floor+1, page.Head.Top)
		if page.Head.Top%2 != 0 || page.More || max(page.Head.Top, 4)-4 != page.Head.Floor {
			s.Fatalf("half a group is to be seen: %+v", page)
		}
		s.equal(fmt.Sprintf("messages with the head %+v", page.Head), want, seqs(page.Messages))
		if round%64 == 0 {
			s.trim(noon, 10)
		}
	}
	if err := <-done; err != nil {
		s.Fatal(err)
	}
}
