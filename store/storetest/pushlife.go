package storetest

import (
	"fmt"
	"slices"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

func testSettle(s *subject) {
	c := capped("promo", fatigue.Defer, 3, "day")
	ids := []string{c.ID}
	n := s.push(c, noon, "alice", "bob")[0].N
	for range 3 {
		c = another(c)
		ids = append(ids, c.ID)
		s.push(c, noon, "alice", "bob")
	}
	s.equal("alice", []string{"queued", "queued", "queued", "queued/cap"}, s.outcomes("alice"))
	one := func(found bool, seqs ...uint64) store.SettledOne { return store.SettledOne{Found: found, Seqs: seqs} }
	for _, tt := range []struct {
		what string
		give store.Settlement
		want store.SettledOne
	}{
		{"sent", store.Settlement{User: "alice", Seq: 1, State: store.Sent, Time: noon + 1}, one(true, 1)},
		{"sent again, by number", store.Settlement{N: n, Seq: 1, State: store.Sent, Time: noon + 2}, one(true)},
		{"delivered, by id", store.Settlement{N: n, ID: ids[1], State: store.Delivered, Device: "phone", Time: noon + 3}, one(true, 2)},
		{"sent after that", store.Settlement{User: "alice", ID: ids[1], State: store.Sent, Time: noon + 4}, one(true)},
		{"delivered again", store.Settlement{User: "alice", Seq: 2, State: store.Delivered, Device: "tablet", Time: noon + 5}, one(true)},
		{"beyond the end", store.Settlement{User: "alice", Seq: 5, State: store.Sent, Time: noon}, one(false)},
		{"far beyond the end", store.Settlement{User: "alice", Seq: 1<<64 - 1, State: store.Sent, Time: noon}, one(false)},
		{"nobody", store.Settlement{User: "carol", Seq: 1, State: store.Sent, Time: noon}, one(false)},
		{"nobody, up to", store.Settlement{User: "carol", Seq: 1, UpTo: true, State: store.Sent, Time: noon}, one(false)},
		{"nobody, by number", store.Settlement{N: n + 1<<40, Seq: 1, State: store.Sent, Time: noon}, one(false)},
		{"no such message", store.Settlement{User: "alice", ID: another(c).ID, State: store.Sent, Time: noon}, one(false)},
		{"up to a seq", store.Settlement{User: "bob", Seq: 2, UpTo: true, State: store.Sent, Time: noon + 6}, one(true, 1, 2)},
		{"up to the end, but not what was put off", store.Settlement{User: "bob", Seq: 1<<64 - 1, UpTo: true, State: store.Delivered, Device: "tv", Time: noon + 7}, one(true, 1, 2, 3)},
		{"up to the end again", store.Settlement{User: "bob", Seq: 99, UpTo: true, State: store.Delivered, Time: noon + 8}, one(true)},
		{"what was put off, by its id", store.Settlement{User: "bob", ID: ids[3], State: store.Delivered, Device: "tv", Time: noon + 9}, one(true, 4)},
	} {
		s.equal(tt.what, []store.SettledOne{tt.want}, s.settle(tt.give))
	}
	s.reopen()
	got := s.inbox(store.InboxQuery{User: "alice", Now: noon}).Items
	s.equal("times", []int64{noon + 1, 0, noon + 3, noon + 3}, []int64{got[0].Sent, got[0].Delivered, got[1].Sent, got[1].Delivered})
	s.equal("the device", []string{"", "phone"}, []string{got[0].Device, got[1].Device})
	s.equal("bob", []string{"delivered", "delivered", "delivered", "delivered"}, s.outcomes("bob"))
	s.equal("what was put off counts nothing", 3, s.counted("bob", "promo"))
	s.equal("totals", []store.Totals{{Sent: 1, Delivered: 1}, {Delivered: 2}, {Queued: 1, Delivered: 1}}, []store.Totals{s.totals(ids[0]), s.totals(ids[1]), s.totals(ids[3])})
	// Many at once, for many, with one delivery more than once.
	m := content("1")
	var list []store.Settlement
	for k := range 100 {
		user := fmt.Sprint("user ", k)
		s.push(m, noon, user)
		list = append(list, store.Settlement{User: user, Seq: 1, State: store.Sent, Time: noon + 1}, store.Settlement{User: user, UpTo: true, Seq: 1, State: store.Delivered, Time: noon + 2})
	}
	for k, r := range s.settle(list...) {
		s.equal(fmt.Sprint("settlement ", k), one(true, 1), r)
	}
	s.equal("totals", store.Totals{Delivered: 100}, s.totals(m.ID))
	s.equal("what has ended stays", []store.SettledOne{one(true)}, s.settle(store.Settlement{User: "user 1", Seq: 1, State: store.Sent, Time: noon}))
}

func testMarkRead(s *subject) {
	hidden := capped("promo", fatigue.Drop, 0, "day")
	deferred := capped("promo", fatigue.Defer, 1, "90m")
	messages := []store.Content{content("1"), hidden, content("3"), deferred, another(deferred), content("6")}
	for _, m := range messages {
		s.push(m, noon, "alice")
	}
	s.settle(store.Settlement{User: "alice", Seq: 1, State: store.Sent, Time: noon + 1})
	s.recallPush(messages[2].ID, noon, 10)
	mark := func(seq uint64, now int64) store.ReadMarked {
		s.Helper()
		return s.do(store.MarkRead{User: "alice", Seq: seq, Device: "phone", Now: now})[0].(store.ReadMarked)
	}
	got := mark(5, noon+2)
	box := s.box("alice")
	s.equal("read", store.ReadMarked{Inbox: store.Inbox{N: box.N, Epoch: box.Epoch, Top: 6, Read: 5, Open: 1}, Moved: true, Seqs: []uint64{1, 4, 5}}, got)
	s.equal("alice", []string{"delivered", "capped/cap", "recalled", "delivered", "delivered", "queued"}, s.outcomes("alice"))
	for _, back := range []uint64{0, 3, 5} {
		s.equal("back", store.ReadMarked{Inbox: box}, mark(back, noon+3))
	}
	s.equal("beyond the end", []uint64{6}, mark(1<<64-1, noon+4).Seqs)
	s.equal("the mark", uint64(6), s.box("alice").Read)
	s.push(content("7"), noon, "alice")
	s.reopen()
	page := s.inbox(store.InboxQuery{User: "alice", Now: noon})
	var reads []int64
	for _, i := range page.Items {
		reads = append(reads, i.Read)
	}
	s.equal("when it was read", []int64{noon + 2, noon + 2, noon + 2, noon + 4, 0}, reads)
	s.equal("unread", int64(1), page.Unread)
	s.equal("totals", []store.Totals{{Delivered: 1, Read: 1}, {Capped: 1}, {Recalled: 1}, {Delivered: 1, Read: 1}},
		[]store.Totals{s.totals(messages[0].ID), s.totals(messages[1].ID), s.totals(messages[2].ID), s.totals(messages[3].ID)})
	s.equal("nobody", store.ReadMarked{}, s.do(store.MarkRead{User: "bob", Seq: 1, Now: noon})[0].(store.ReadMarked))
	s.equal("nobody is heard of", store.Inbox{}, s.box("bob"))
	// Of many that move it, each message is read once.
	for k := range 30 {
		s.push(content(fmt.Sprint(k)), noon, "carol")
	}
	s.crowd(30, func(k int) store.Command { return store.MarkRead{User: "carol", Seq: uint64(k*7%30) + 1, Now: noon} })
	s.equal("the mark", []uint64{30, 0}, []uint64{s.box("carol").Read, uint64(s.box("carol").Open)})
	for _, r := range s.records(store.RecordQuery{User: "carol"}) {
		if t := s.totals(r.Message); t != (store.Totals{Delivered: 1, Read: 1}) {
			s.Errorf("totals of %s are %+v", r.Message, t)
		}
	}
}

// crowd has many do something at once, which must succeed.
func (s *subject) crowd(n int, command func(k int) store.Command) []store.Result {
	s.Helper()
	results := make([]store.Result, n)
	s.together(n, func(k int) {
		got, err := s.store.Do(s.Context(), command(k))
		if err != nil {
			s.Errorf("%d of %d: %v", k, n, err)
			return
		}
		results[k] = got[0]
	})
	if s.Failed() {
		s.FailNow()
	}
	return results
}

func testWake(s *subject) {
	due := func() int64 {
		s.Helper()
		at, err := s.store.DueWake(s.Context())
		return must(s, at, err)
	}
	s.equal("nothing is due", int64(0), due())
	c := capped("promo", fatigue.Defer, 2, "90m")
	for range 5 {
		c = another(c)
		s.push(c, noon, "alice")
	}
	quiet := content("quiet")
	quiet.Policy.Quiet = &fatigue.Quiet{From: 7 * 60, To: 10 * 60}
	s.push(quiet, noon, "alice", "bob")
	first := due()
	if first < noon+90*minute || first > noon+91*minute {
		s.Errorf("due at %d", first)
	}
	wake := func(now int64, limit int) (all store.Woken) {
		s.Helper()
		for range 1000 {
			step := s.do(store.Wake{Now: now, Limit: limit})[0].(store.Woken)
			all.Items, all.Rows = append(all.Items, step.Items...), all.Rows+step.Rows
			if !step.More {
				return all
			}
		}
		s.Fatal("wake finds no end")
		return all
	}
	s.equal("too early", store.Woken{}, wake(first-1, 10))
	s.equal("the first", 1, wake(first, 10).Rows)
	// Three were put off by the cap: two may come now, one must wait again.
	s.equal("all that the cap has put off", 2, wake(noon+91*minute, 1).Rows)
	s.equal("alice", []string{"queued", "queued", "queued", "queued", "queued/cap", "queued/quiet"}, sortedTail(s.outcomes("alice"), 2, 5))
	s.settle(store.Settlement{User: "alice", Seq: 99, UpTo: true, State: store.Delivered, Time: noon + 91*minute})
	s.recallPush(quiet.ID, noon, 1)
	quiet = another(quiet)
	s.push(quiet, noon, "alice", "bob")
	got := wake(noon+2*hour+minute, 10)
	s.equal("the quiet hours are over", []string{"alice", "bob"}, woken(got))
	for _, w := range got.Items {
		if w.N == 0 || w.Item.ID != quiet.ID || string(w.Item.Data) != string(quiet.Data) || w.Item.State != store.Queued || w.Item.Due != 0 {
			s.Errorf("got %+v", w)
		}
	}
	// One whose time is over when it wakes.
	c.Expires = noon + 5*hour
	c = another(c)
	for range 3 {
		c = another(c)
		s.push(c, noon+3*hour, "carol")
	}
	s.equal("too late", store.Woken{Rows: 1}, func() store.Woken {
		all := wake(noon+6*hour, 10)
		all.Rows -= 1 // that of alice
		all.Items = slices.DeleteFunc(all.Items, func(w store.Woke) bool { return w.User == "alice" })
		if len(all.Items) == 0 {
			all.Items = nil
		}
		return all
	}())
	s.equal("carol", []string{"queued", "queued", "expired/cap"}, s.outcomes("carol"))
	s.equal("nothing is due", int64(0), due())
}

// sortedTail sorts a part of a list, of which the order does not matter.
func sortedTail(list []string, from, to int) []string {
	slices.Sort(list[from:to])
	return list
}

func woken(w store.Woken) (users []string) {
	for _, i := range w.Items {
		users = append(users, i.User)
	}
	slices.Sort(users)
	return users
}

func endedUsers(rows []store.EndedRow) (users []string) {
	for _, r := range rows {
		users = append(users, r.User)
	}
	slices.Sort(users)
	return users
}

func testExpire(s *subject) {
	users := []string{"a", "b", "c", "d", "e", "f", "g"}
	first, second, never := content("1"), content("2"), content("3")
	first.Expires, second.Expires = noon+hour, noon+2*hour
	for _, c := range []store.Content{first, second, never} {
		s.push(c, noon, users...)
	}
	s.settle(store.Settlement{User: "b", Seq: 1, State: store.Sent, Time: noon}, store.Settlement{User: "c", Seq: 1, State: store.Delivered, Time: noon},
		store.Settlement{User: "d", UpTo: true, Seq: 3, State: store.Delivered, Time: noon})
	s.equal("too early", 0, len(s.expire(noon+hour-1, 2)))
	rows := s.expire(noon+hour, 2)
	s.equal("who", []string{"a", "b", "e", "f", "g"}, endedUsers(rows))
	for _, r := range rows {
		if r.Seq != 1 || r.ID != first.ID || r.Sent != (r.User == "b") {
			s.Errorf("got %+v", r)
		}
	}
	s.equal("totals", store.Totals{Delivered: 2, Expired: 5}, s.totals(first.ID))
	s.equal("again", 0, len(s.expire(noon+hour, 2)))
	// Even when a clock was put back, it has expired for good.
	s.equal("later", []string{"expired"}, rowOutcomes(s.push(first, noon, "h")))
	s.equal("all", []string{"a", "b", "c", "e", "f", "g"}, endedUsers(s.expire(noon+day, 1000)))
	s.reopen()
	s.equal("a", []string{"expired", "expired", "queued"}, s.outcomes("a"))
	s.equal("open", int64(1), s.box("a").Open)
}

func testRecallPush(s *subject) {
	c := capped("promo", fatigue.Defer, 1, "day")
	var users []string
	for k := range 40 {
		users = append(users, fmt.Sprintf("user-%02d", k))
	}
	s.push(c, noon, users[:30]...)
	other := another(c)
	s.push(other, noon, users...)
	s.settle(store.Settlement{User: users[3], Seq: 1, State: store.Delivered, Time: noon}, store.Settlement{User: users[5], Seq: 1, State: store.Sent, Time: noon})
	rows := s.recallPush(c.ID, noon+1, 7)
	want := slices.Delete(slices.Clone(users[:30]), 3, 4)
	s.equal("who", want, endedUsers(rows))
	s.equal("sent", 1, len(slices.DeleteFunc(rows, func(r store.EndedRow) bool { return !r.Sent })))
	s.equal("again", 0, len(s.recallPush(c.ID, noon+9, 7)))
	message := s.pushed(c.ID)
	s.equal("the message", store.PushedMessage{Content: c, Withdrawn: noon + 1, Totals: store.Totals{Delivered: 1, Recalled: 29}}, message)
	s.equal("nobody gets it any more", []string{"recalled", "delivered"}, rowOutcomes(s.push(c, noon, users[35], users[3])))
	s.equal("those that it has put off", []string{"recalled", "queued/cap"}, s.outcomes(users[0]))
	s.equal("in no inbox", []uint64{2}, itemSeqs(s.inbox(store.InboxQuery{User: users[0], Now: noon}).Items))
	s.equal("who has it keeps it", []uint64{1, 2}, itemSeqs(s.inbox(store.InboxQuery{User: users[3], Now: noon}).Items))
	s.recallPush(other.ID, noon+1, 1000)
	s.equal("those that were put off", store.Totals{Recalled: 40}, s.totals(other.ID))
	s.refuses(store.ErrNotFound, store.MuteCategory{User: "zoe", Category: "x", Muted: true, Time: noon}, store.RecallPush{ID: another(c).ID, Now: noon, Limit: 1})
	s.equal("nothing of a group that failed", store.Inbox{}, s.box("zoe"))
	// In one group with the push itself.
	m := content("1")
	s.do(store.Push{Content: m, To: to("zoe"), Now: noon}, store.RecallPush{ID: m.ID, Now: noon, Limit: 10})
	s.recallPush(m.ID, noon, 10)
	s.equal("totals", store.Totals{Recalled: 1}, s.totals(m.ID))
}

func testEscalations(s *subject) {
	c := content("1")
	c.Escalate, c.Category = hour, "alarm"
	s.push(c, noon, "alice", "bob", "carol")
	other := another(c)
	other.Escalate = minute
	s.push(other, noon, "alice")
	s.push(content("none"), noon, "alice")
	due := func(now int64, limit int) (list []string) {
		s.Helper()
		got, err := s.store.DueEscalations(s.Context(), now, limit)
		if err != nil {
			s.Fatal(err)
		}
		for _, e := range got {
			list = append(list, fmt.Sprint(e.User, " ", e.Item.Seq))
			if e.N != s.box(e.User).N || string(e.Item.Data) != "1" || e.Item.Category != "alarm" {
				s.Errorf("got %+v", e)
			}
		}
		return list
	}
	s.equal("too early", []string(nil), due(noon+minute-1, 10))
	s.equal("the first", []string{"alice 2"}, due(noon+minute, 10))
	s.settle(store.Settlement{User: "bob", Seq: 1, State: store.Sent, Time: noon}, store.Settlement{User: "carol", Seq: 1, State: store.Delivered, Time: noon})
	s.equal("all", []string{"alice 2", "alice 1", "bob 1"}, due(noon+hour, 10))
	s.equal("the oldest", []string{"alice 2"}, due(noon+hour, 1))
	s.do(store.Escalated{N: s.box("alice").N, Seq: 2, Next: noon + 2*hour}, store.Escalated{N: s.box("bob").N, Seq: 1})
	s.equal("the rest", []string{"alice 1"}, due(noon+hour, 10))
	s.reopen()
	s.equal("again", []string{"alice 1", "alice 2"}, due(noon+2*hour, 10))
	s.recallPush(c.ID, noon, 10)
	s.do(store.Escalated{N: s.box("alice").N, Seq: 1, Next: noon}, store.Escalated{N: 1 << 40, Seq: 1, Next: noon})
	s.equal("what has ended", []string{"alice 2"}, due(noon+2*hour, 10))
}
