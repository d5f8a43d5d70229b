package storetest

import (
	"fmt"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

func testCollect(s *subject) {
	// Who was never heard of is heard of now, and has nothing.
	got := s.collect(store.Collect{User: "alice", Now: noon})
	if got.Inbox.N == 0 || got.Inbox.Epoch == "" {
		s.Errorf("got %+v", got)
	}
	s.equal("nothing", store.Collected{Inbox: got.Inbox}, got)
	s.equal("the inbox", got.Inbox, s.box("alice"))

	// Reserved today, it is for the day on which the user comes.
	daily := capped("promo", "", 1, "day")
	s.push(daily, noon, "alice")
	tomorrow := noon + day
	s.push(another(daily), tomorrow, "alice")
	s.equal("two days, two places", []string{"queued", "queued"}, s.outcomes("alice"))
	got = s.collect(store.Collect{User: "alice", Now: tomorrow + 1})
	s.equal("the newest of equal ones", []uint64{2}, itemSeqs(got.Messages))
	s.equal("the other", []store.HeldRow{{Row: store.Row{N: got.Inbox.N, User: "alice", Seq: 1, State: store.Capped, Reason: "cap", Rule: "promo: 1 per day"}, Category: "promo"}}, got.Held)
	s.equal("the inbox", store.Inbox{N: got.Inbox.N, Epoch: got.Inbox.Epoch, Top: 2, Open: 1, Held: true}, got.Inbox)
	s.equal("again", []uint64{2}, itemSeqs(s.collect(store.Collect{User: "alice", Now: tomorrow + 2}).Messages))
	s.settle(store.Settlement{User: "alice", Seq: 2, State: store.Sent, Time: tomorrow + 3})
	// What was sent is given until it is acknowledged, and is not judged again.
	got = s.collect(store.Collect{User: "alice", Now: tomorrow + day})
	s.equal("sent", []store.State{store.Sent}, []store.State{got.Messages[0].State})
	s.equal("counted where it was sent", 1, s.counted("alice", "promo"))
	// Of several, in parts.
	for range 4 {
		s.push(content("1"), tomorrow, "alice")
	}
	part := s.collect(store.Collect{User: "alice", Now: tomorrow, After: 2, Limit: 3})
	s.equal("a part", []any{[]uint64{3, 4, 5}, true}, []any{itemSeqs(part.Messages), part.More})
	part = s.collect(store.Collect{User: "alice", Now: tomorrow, After: 5, Limit: 3})
	s.equal("the rest", []any{[]uint64{6}, false}, []any{itemSeqs(part.Messages), part.More})

	// Quiet hours, a mute and the end of the time meet what waits, too.
	quiet, muted, over := content("1"), capped("chat", "drop", 9, "day"), content("1")
	quiet.Policy.Quiet, muted.Policy.Mutable, over.Expires = &fatigue.Quiet{From: 9 * 60, To: 10 * 60}, true, noon+hour
	for _, c := range []store.Content{quiet, muted, over, content("2")} {
		s.push(c, noon, "bob")
	}
	s.do(store.MuteCategory{User: "bob", Category: "chat", Muted: true, Time: noon})
	got = s.collect(store.Collect{User: "bob", Now: noon + hour})
	s.equal("what is left", []uint64{4}, itemSeqs(got.Messages))
	s.equal("held", []string{"queued/quiet", "muted/user"}, heldOutcomes(got.Held))
	s.equal("bob", []string{"queued/quiet", "muted/user", "expired", "queued"}, s.outcomes("bob"))
	s.equal("shown", []uint64{1, 4}, itemSeqs(s.inbox(store.InboxQuery{User: "bob", Now: noon + hour}).Items))
	s.reopen()
	s.equal("what was put off is not judged again", []string{"queued/quiet", "muted/user", "expired", "queued"}, s.outcomes("bob"))
	s.equal("what was put off", []uint64{4}, itemSeqs(s.collect(store.Collect{User: "bob", Now: noon + 3*hour}).Messages))
}

func testHeld(s *subject) {
	// Two of three are over the cap while the user is away, one of them is read, and one that
	// is dropped is none of the user's business.
	daily := capped("promo", "", 1, "day")
	for range 4 {
		s.push(another(daily), noon, "alice")
	}
	s.push(capped("noise", "drop", 0, "day"), noon, "alice")
	s.equal("to be told", true, s.box("alice").Held)
	s.do(store.MarkRead{User: "alice", Seq: 2, Now: noon})
	s.equal("nobody asked", 0, len(s.collect(store.Collect{User: "alice", Now: noon, Peek: true, Tell: true}).Held))
	got := s.collect(store.Collect{User: "alice", Now: noon, Tell: true})
	s.equal("held", []string{"capped/cap", "capped/cap"}, heldOutcomes(got.Held))
	s.equal("these", []uint64{3, 4}, []uint64{got.Held[0].Seq, got.Held[1].Seq})
	s.equal("told", false, got.Inbox.Held || s.box("alice").Held)
	s.equal("once", 0, len(s.collect(store.Collect{User: "alice", Now: noon, Tell: true}).Held))
	s.push(another(daily), noon, "alice")
	s.reopen()
	s.equal("what came since", []string{"capped/cap"}, heldOutcomes(s.collect(store.Collect{User: "alice", Now: noon, Tell: true}).Held))
}

func testCollectOrder(s *subject) {
	for k, priority := range []int{1, 5, 3, 5, 0} {
		c := capped("promo", "", 5, "day")
		c.Policy.Priority, c.Data = priority, fmt.Append(nil, k)
		s.push(c, noon, "alice")
	}
	s.settle(store.Settlement{User: "alice", Seq: 5, State: store.Sent, Time: noon})
	// Two more are sent meanwhile, so that there is room for two of four.
	for range 2 {
		c := capped("promo", "", 1, "day")
		c.Policy.Bypass, c.Policy.Counts = true, true
		s.push(c, noon, "alice")
		s.settle(store.Settlement{User: "alice", ID: c.ID, State: store.Delivered, Time: noon})
	}
	got := s.collect(store.Collect{User: "alice", Now: noon})
	s.equal("given", []uint64{2, 4, 5}, itemSeqs(got.Messages))
	s.equal("outcomes", []string{"capped/cap", "queued", "capped/cap", "queued", "sent", "delivered", "delivered"}, s.outcomes("alice"))
	s.equal("counted", 5, s.counted("alice", "promo"))
}

func testPeek(s *subject) {
	s.equal("nobody", store.Collected{}, s.collect(store.Collect{User: "nobody", Now: noon, Peek: true}))
	s.equal("nobody is heard of", store.Inbox{}, s.box("nobody"))
	daily := capped("promo", "", 1, "day")
	s.push(daily, noon, "alice")
	s.push(another(daily), noon+day, "alice")
	s.do(store.Broadcast{Content: content("1"), Now: noon + day})
	before := s.records(store.RecordQuery{})
	got := s.collect(store.Collect{User: "alice", Now: noon + day, Peek: true})
	s.equal("as they are", []uint64{1, 2, 3}, itemSeqs(got.Messages))
	s.equal("held", 0, len(got.Held))
	s.equal("records", before, s.records(store.RecordQuery{})[1:])
	s.equal("judged after all", []uint64{2, 3}, itemSeqs(s.collect(store.Collect{User: "alice", Now: noon + day}).Messages))
}

func (s *subject) lastBroadcast() uint64 {
	s.Helper()
	n, err := s.store.LastBroadcast(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return n
}

func testBroadcast(s *subject) {
	s.push(content("1"), noon, "alice", "bob", "carol")
	s.do(store.PutUsers{Users: []store.UserPut{{User: "dave", Attributes: []byte("{}")}}, Time: noon})
	before := s.lastBroadcast()
	var all []store.Content
	for k := range 4 {
		c := capped("promo", "", 1, "day")
		c.Policy.Priority = k % 2
		all = append(all, c)
	}
	all[2].Expires = noon + hour
	for k, c := range all {
		got := s.do(store.Broadcast{Content: c, Now: noon})[0].(store.Broadcasted)
		s.equal("the result", store.Broadcasted{ID: c.ID, Audience: 4}, got)
		if n := s.lastBroadcast(); n <= before {
			s.Errorf("after broadcast %d the number is %d, was %d", k, n, before)
		} else {
			before = n
		}
	}
	s.recallPush(all[0].ID, noon, 10)
	s.equal("behind", true, s.box("alice").Behind)
	s.recordsBehind(true, "alice", all[1].ID, 0)
	s.equal("a message", store.PushedMessage{Content: all[1], Everyone: true, Audience: 4}, s.pushed(all[1].ID))
	got := s.collect(store.Collect{User: "alice", Now: noon + 1})
	s.equal("the most important of those that are left", []uint64{1, 5}, itemSeqs(got.Messages))
	s.equal("alice", []string{"queued", "recalled", "capped/cap", "capped/cap", "queued"}, s.outcomes("alice"))
	s.equal("not behind", false, got.Inbox.Behind)
	place := s.records(store.RecordQuery{User: "alice"})[0].Pos
	s.recordsBehind(false, "alice", all[1].ID, place)
	s.equal("once", []uint64{1, 5}, itemSeqs(s.collect(store.Collect{User: "alice", Now: noon + 2}).Messages))
	// Later, one is over; with a bound, the first ones fall out.
	s.equal("later", []uint64{1, 5}, itemSeqs(s.collect(store.Collect{User: "bob", Now: noon + hour}).Messages))
	s.equal("bob", []string{"queued", "recalled", "capped/cap", "expired", "queued"}, s.outcomes("bob"))
	s.equal("with a bound", []uint64{4}, itemSeqs(s.collect(store.Collect{User: "dave", Now: noon, Keep: 1}).Messages))
	s.collect(store.Collect{User: "carol", Now: noon, Keep: 2})
	s.equal("carol", []string{"expired/full", "recalled", "expired/full", "capped/cap", "queued"}, s.outcomes("carol"))
	// Who comes later does not get it.
	s.equal("a new one", uint64(0), s.collect(store.Collect{User: "erin", Now: noon}).Inbox.Top)
	s.equal("totals", store.Totals{Capped: 2, Expired: 2}, s.totals(all[2].ID))
	s.equal("totals", store.Totals{Queued: 4}, s.totals(all[3].ID))
	s.equal("totals", store.Totals{Recalled: 4}, s.totals(all[0].ID))
	s.reopen()
	s.equal("after a restart", false, s.box("alice").Behind || s.box("erin").Behind)
	s.recordsBehind(false, "erin", all[1].ID, 0)
	// One replaces another that nobody has seen.
	for k := range 2 {
		c := content(fmt.Sprint(k))
		c.Collapse = "news"
		s.do(store.Broadcast{Content: c, Now: noon})
	}
	s.recordsBehind(true, "alice", all[1].ID, place)
	s.collect(store.Collect{User: "erin", Now: noon})
	s.equal("erin", []string{"recalled/replaced", "queued"}, s.outcomes("erin"))
}

func testManyBroadcasts(s *subject) {
	s.push(content("1"), noon, "alice")
	const many = 1100
	var group []store.Command
	for range many {
		group = append(group, store.Broadcast{Content: content("1"), Now: noon})
	}
	s.do(group...)
	visits, after := 0, uint64(0)
	for behind := true; behind; visits++ {
		got := s.collect(store.Collect{User: "alice", Now: noon, After: after, Limit: 10_000})
		if behind = got.Inbox.Behind; len(got.Messages) > 0 {
			after = got.Messages[len(got.Messages)-1].Seq
		}
		if visits > many {
			s.Fatal("it finds no end")
		}
	}
	s.equal("the last", uint64(many+1), after)
	s.equal("all are there", int64(many+1), s.box("alice").Open)
}
