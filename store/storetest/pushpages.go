package storetest

import (
	"fmt"
	"slices"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

func testInboxPages(s *subject) {
	s.equal("nobody", store.InboxPage{}, s.inbox(store.InboxQuery{User: "alice", Now: noon}))
	hidden, over := capped("promo", fatigue.Drop, 0, "day"), content("over")
	over.Expires = noon + hour
	gone := content("gone")
	for k := range 10 {
		c := content(fmt.Sprintf("%010d", k))
		switch k {
		case 3:
			c = hidden
		case 5:
			c = over
		case 7:
			c = gone
		}
		s.push(c, noon+int64(k)*minute, "alice", "bob")
	}
	s.recallPush(gone.ID, noon, 10)
	s.do(store.MarkRead{User: "alice", Seq: 2, Now: noon})
	all := []uint64{1, 2, 3, 5, 6, 7, 9, 10}
	for _, tt := range []struct {
		what   string
		q      store.InboxQuery
		want   []uint64
		more   bool
		unread int64
	}{
		{"all", store.InboxQuery{}, all, false, 6},
		{"a part", store.InboxQuery{Limit: 4}, all[:4], true, 6},
		{"exactly the rest", store.InboxQuery{After: 5, Limit: 4}, all[4:], false, 6},
		{"after the end", store.InboxQuery{After: 10}, nil, false, 6},
		{"far after the end", store.InboxQuery{After: 1<<64 - 1}, nil, false, 6},
		{"backward", store.InboxQuery{Backward: true, Limit: 3}, all[5:], true, 6},
		{"backward from one", store.InboxQuery{Backward: true, Before: 7, Limit: 3}, all[2:5], true, 6},
		{"backward to the beginning", store.InboxQuery{Backward: true, Before: 5, Limit: 3}, all[:3], false, 6},
		{"unread", store.InboxQuery{Unread: true, Limit: 2}, all[2:4], true, 6},
		{"unread, backward", store.InboxQuery{Unread: true, Backward: true, Before: 6}, all[2:4], false, 6},
		{"of late", store.InboxQuery{Oldest: noon + 6*minute}, all[5:], false, 3},
		{"when one is over", store.InboxQuery{Now: noon + hour}, []uint64{1, 2, 3, 5, 7, 9, 10}, false, 5},
		{"by bytes", store.InboxQuery{Bytes: 20}, all[:2], true, 6},
		{"at least one", store.InboxQuery{Bytes: 1}, all[:1], true, 6},
		{"all the bytes", store.InboxQuery{Bytes: 10 * 100}, all, false, 6},
	} {
		q := tt.q
		if q.User = "alice"; q.Now == 0 {
			q.Now = noon
		}
		page := s.inbox(q)
		s.equal(tt.what, tt.want, itemSeqs(page.Items))
		s.equal(tt.what+": more and unread", []any{tt.more, tt.unread}, []any{page.More, page.Unread})
		s.equal(tt.what+": the inbox", s.box("alice"), page.Inbox)
	}
	s.expire(noon+hour, 10)
	s.equal("ended", []uint64{1, 2, 3, 5, 7, 9, 10}, itemSeqs(s.inbox(store.InboxQuery{User: "alice", Now: noon}).Items))
	// No more than so many are counted.
	var group []store.Command
	for range 1010 {
		group = append(group, store.Push{Content: content("1"), To: to("carol"), Now: noon})
	}
	s.do(group...)
	s.equal("unread", int64(1000), s.inbox(store.InboxQuery{User: "carol", Limit: 1, Now: noon}).Unread)
}

func testRecords(s *subject) {
	var ids []string
	for k := range 4 {
		c := capped("promo", "", 2, "720h")
		if c.Campaign = "run"; k == 3 {
			c.Campaign = "walk"
		}
		ids = append(ids, c.ID)
		s.push(c, noon+int64(k)*hour, "alice", "bob", "carol")
	}
	s.settle(store.Settlement{User: "alice", Seq: 1, State: store.Delivered, Time: noon}, store.Settlement{User: "bob", Seq: 2, State: store.Sent, Time: noon})
	s.do(store.MarkRead{User: "carol", Seq: 3, Now: noon + 9})
	names := func(list []store.Record) (n []string) {
		for _, r := range list {
			n = append(n, fmt.Sprint(r.User[:1], slices.Index(ids, r.Message)+1))
		}
		return n
	}
	for _, tt := range []struct {
		what string
		q    store.RecordQuery
		want []string
	}{
		{"all", store.RecordQuery{}, []string{"c4", "b4", "a4", "c3", "b3", "a3", "c2", "b2", "a2", "c1", "b1", "a1"}},
		{"of a user", store.RecordQuery{User: "bob"}, []string{"b4", "b3", "b2", "b1"}},
		{"of a message", store.RecordQuery{Message: ids[1]}, []string{"c2", "b2", "a2"}},
		{"of both", store.RecordQuery{User: "bob", Message: ids[1]}, []string{"b2"}},
		{"of a campaign", store.RecordQuery{Campaign: "run"}, []string{"c3", "b3", "a3", "c2", "b2", "a2", "c1", "b1", "a1"}},
		{"of a user in a campaign", store.RecordQuery{Campaign: "run", User: "carol"}, []string{"c3", "c2", "c1"}},
		{"of a message in a campaign", store.RecordQuery{Campaign: "run", Message: ids[3]}, nil},
		{"of nobody", store.RecordQuery{User: "dave"}, nil},
		{"of nothing", store.RecordQuery{Message: another(content("")).ID}, nil},
		{"of no campaign", store.RecordQuery{Campaign: "sit"}, nil},
		{"by state", store.RecordQuery{States: []store.State{store.Sent, store.Delivered}}, []string{"c2", "b2", "c1", "a1"}},
		{"by state, of a user", store.RecordQuery{User: "carol", States: []store.State{store.Sent, store.Delivered}}, []string{"c2", "c1"}},
		{"by no state", store.RecordQuery{States: []store.State{}}, nil},
		{"read", store.RecordQuery{Read: true}, []string{"c3", "c2", "c1"}},
		{"read, of a campaign, by state", store.RecordQuery{Read: true, Campaign: "run", States: []store.State{store.Capped}}, []string{"c3"}},
		{"from", store.RecordQuery{From: noon + 2*hour, User: "alice"}, []string{"a4", "a3"}},
		{"to", store.RecordQuery{To: noon + hour}, []string{"c1", "b1", "a1"}},
		{"from and to", store.RecordQuery{From: noon + hour, To: noon + 2*hour, Campaign: "run"}, []string{"c2", "b2", "a2"}},
	} {
		s.equal(tt.what, tt.want, names(s.records(tt.q)))
		// In pages of any size there are neither doubles nor holes.
		for size := 1; size <= 5; size++ {
			q, got := tt.q, []string(nil)
			for q.Limit = size; ; {
				page, err := s.store.Records(s.Context(), q)
				if err != nil {
					s.Fatal(err)
				}
				got = append(got, names(page.Records)...)
				if !page.More {
					break
				}
				if len(page.Records) != size {
					s.Fatalf("%s: a page of %d has %d", tt.what, size, len(page.Records))
				}
				q.After = page.Records[size-1].Pos
			}
			s.equal(fmt.Sprint(tt.what, ", by ", size), tt.want, got)
		}
	}
	one := s.records(store.RecordQuery{User: "alice", Message: ids[0]})[0]
	want := store.Record{Pos: one.Pos, User: "alice", Message: ids[0], Category: "promo", Campaign: "run", Item: store.Item{
		Seq: 1, Content: store.Content{ID: ids[0], Time: noon, Category: "promo", Campaign: "run"}, State: store.Delivered, Queued: noon, Sent: noon, Delivered: noon,
	}}
	s.equal("all that it has", want, one)
	// When the last one of a page is gone, a user's next page begins there all the same.
	last := s.records(store.RecordQuery{User: "bob", Limit: 2})[1]
	s.do(store.DeleteUsers{Users: []string{"alice"}, Time: noon})
	_, err := s.store.Records(s.Context(), store.RecordQuery{Message: ids[0], After: one.Pos, Limit: 1})
	s.expect("a page after one that is gone", store.ErrNotFound, err)
	s.equal("a user's next page", []string{"b2", "b1"}, names(s.records(store.RecordQuery{User: "bob", After: last.Pos})))
}

// recordsBehind checks that all ways to ask for a user's records tell the same.
func (s *subject) recordsBehind(want bool, user, message string, after uint64) {
	s.Helper()
	for what, q := range map[string]store.RecordQuery{
		"all":       {User: user},
		"a page":    {User: user, After: after},
		"none":      {User: user, States: []store.State{}},
		"a message": {User: user, Message: message},
	} {
		q.Limit = 1
		page, err := s.store.Records(s.Context(), q)
		if err != nil {
			s.Fatal(err)
		}
		s.equal("behind, "+what, want, page.Behind)
	}
	page, err := s.store.Records(s.Context(), store.RecordQuery{Message: message, Limit: 1})
	if err != nil || page.Behind {
		s.Errorf("records of no user are behind: %t, %v", page.Behind, err)
	}
}

// prune deletes what is old, in steps, and gives how much it was.
func (s *subject) prune(records, now int64, limit int) (n int) {
	s.Helper()
	for range 10_000 {
		step := s.do(store.Prune{Records: records, Now: now, Limit: limit})[0].(store.Pruned)
		if step.Deliveries > limit {
			s.Fatalf("a step of %d took %d", limit, step.Deliveries)
		}
		if n += step.Deliveries; !step.More {
			return n
		}
	}
	s.Fatal("prune finds no end")
	return 0
}

func testPrune(s *subject) {
	var messages []store.Content
	for k := range 6 {
		c := content(fmt.Sprint(k))
		c.Time += int64(k) * hour
		messages = append(messages, c)
		s.push(c, c.Time, "alice", "bob", "carol")
	}
	keyed := store.Push{Content: content("keyed"), To: to("bob"), Now: noon + 5*hour, Key: []byte("k"), Digest: []byte("d"), KeyExpires: noon + 2*day}
	s.do(keyed)
	s.do(store.Broadcast{Content: content("all"), Now: noon})
	// Bob has acknowledged all, Alice the first two, Carol what she has but the first.
	s.settle(store.Settlement{User: "bob", UpTo: true, Seq: 9, State: store.Delivered, Time: noon}, store.Settlement{User: "alice", UpTo: true, Seq: 2, State: store.Delivered, Time: noon})
	for seq := uint64(2); seq <= 6; seq++ {
		s.settle(store.Settlement{User: "carol", Seq: seq, State: store.Delivered, Time: noon})
	}
	s.equal("nothing is so old", 0, s.prune(noon, noon, 2))
	s.equal("what is old", 2+3+2, s.prune(noon+3*hour, noon+day, 2))
	s.equal("alice", []string{"queued", "queued", "queued", "queued"}, s.outcomes("alice"))
	s.equal("bob", []string{"delivered", "delivered", "delivered", "delivered"}, s.outcomes("bob"))
	s.equal("carol", []string{"queued", "delivered", "delivered", "delivered"}, s.outcomes("carol"))
	s.equal("floors", []uint64{2, 3, 0}, []uint64{s.box("alice").Floor, s.box("bob").Floor, s.box("carol").Floor})
	s.equal("totals stay", store.Totals{Queued: 1, Delivered: 2}, s.totals(messages[0].ID))
	s.equal("what nobody has is gone", store.PushedMessage{}, s.pushed(messages[1].ID))
	s.reopen()
	// A key holds its message; then both go.
	s.equal("the key", true, s.do(keyed)[0].(store.Pushed).Duplicate)
	s.equal("what was pushed again is new", 0, s.prune(noon+3*hour, noon+2*day, 100))
	s.do(store.DeleteUsers{Users: []string{"bob"}, Time: noon})
	s.equal("the key holds", keyed.ID, s.pushed(keyed.ID).ID)
	s.prune(noon+3*hour, noon+2*day+1, 100)
	s.equal("the key has expired", store.PushedMessage{}, s.pushed(keyed.ID))
	s.equal("another one", false, s.do(keyed)[0].(store.Pushed).Duplicate)
	// What is acknowledged at last goes, and the floor catches up.
	s.settle(store.Settlement{User: "carol", Seq: 1, State: store.Delivered, Time: noon})
	s.equal("the last", 1+3, s.prune(noon+day, noon+day, 100))
	s.equal("all that was", []uint64{6, 6}, []uint64{s.box("carol").Floor, s.box("carol").Top})
	// Many open ones are in the way of none.
	var recipients []store.Recipient
	for k := range 200 {
		recipients = append(recipients, store.Recipient{User: fmt.Sprint("user ", k)})
	}
	c := content("1")
	s.do(store.Push{Content: c, To: recipients, Now: noon + 2*day})
	s.settle(store.Settlement{User: "user 199", Seq: 1, State: store.Delivered, Time: noon})
	s.equal("one of many", 1, s.prune(noon+3*day, noon+3*day, 3))
	s.equal("totals", store.Totals{Queued: 199, Delivered: 1}, s.totals(c.ID))
}
