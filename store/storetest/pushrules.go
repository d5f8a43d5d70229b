package storetest

import (
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

// noon in UTC is 08:00 on the 15th of January 2027, a Friday.
func testPushVerdicts(s *subject) {
	s.do(store.PutUsers{Time: noon, Users: []store.UserPut{
		{User: "tokyo", Attributes: []byte(`{"tz":"Asia/Tokyo"}`)}, {User: "nowhere", Attributes: []byte(`{"tz":"Mars/Olympus"}`)},
	}})
	s.do(store.MuteCategory{User: "muter", Category: "promo", Muted: true, Time: noon}, store.MuteCategory{User: "muter", Category: "other", Muted: true, Time: noon})
	at := func(clock string) int64 {
		t, err := time.Parse(time.RFC3339, "2027-01-15T"+clock+"Z")
		if err != nil {
			s.Fatal(err)
		}
		return t.UnixMilli()
	}
	quiet := &fatigue.Quiet{From: 22 * 60, To: 8 * 60}
	for _, tt := range []struct {
		name   string
		user   string
		now    int64
		change func(*fatigue.Policy)
		want   []string // of pushes one after the other
		rule   string   // of the last one
		until  int64    // of the last one: when the window opens
		shown  int      // of the inbox
		counts int      // of the user in the category
	}{
		{"inbox", "a", noon, func(p *fatigue.Policy) {}, []string{"queued", "queued", "capped/cap"}, "promo: 2 per day", 0, 3, 2},
		{"drop", "b", noon, func(p *fatigue.Policy) { p.OnCap = fatigue.Drop }, []string{"queued", "queued", "capped/cap"}, "promo: 2 per day", 0, 2, 2},
		{"defer", "c", noon, func(p *fatigue.Policy) { p.OnCap = fatigue.Defer }, []string{"queued", "queued", "queued/cap"}, "promo: 2 per day", at("00:00:00") + day, 3, 2},
		{"never", "d", noon, func(p *fatigue.Policy) { p.OnCap, p.Chain[0].Caps[0].Max = fatigue.Defer, 0 }, []string{"capped/cap"}, "promo: 0 per day", 0, 1, 0},
		{"muted", "muter", noon, func(p *fatigue.Policy) { p.Mutable = true }, []string{"muted/user"}, "muted by the user", 0, 1, 0},
		{"muted and dropped", "muter", noon, func(p *fatigue.Policy) { p.Mutable, p.OnCap = true, fatigue.Drop }, []string{"muted/user"}, "muted by the user", 0, 1, 0},
		{"not mutable", "muter", noon, func(p *fatigue.Policy) {}, []string{"queued"}, "", 0, 2, 1},
		{"quiet here", "e", at("23:00:00"), func(p *fatigue.Policy) { p.Quiet = quiet }, []string{"queued/quiet"}, "quiet hours 22:00-08:00", at("08:00:00") + day, 1, 0},
		{"quiet there", "tokyo", at("14:00:00"), func(p *fatigue.Policy) { p.Quiet = quiet }, []string{"queued/quiet"}, "quiet hours 22:00-08:00", at("23:00:00"), 1, 0},
		{"an unknown zone", "nowhere", at("14:00:00"), func(p *fatigue.Policy) { p.Quiet = quiet }, []string{"queued"}, "", 0, 1, 1},
		{"quiet, in the inbox", "f", at("23:00:00"), func(p *fatigue.Policy) { p.Quiet, p.OnQuiet = quiet, fatigue.Inbox }, []string{"muted/quiet"}, "quiet hours 22:00-08:00", 0, 1, 0},
		{"quiet, ignored", "g", at("23:00:00"), func(p *fatigue.Policy) { p.Quiet, p.OnQuiet = quiet, fatigue.Ignore }, []string{"queued"}, "", 0, 1, 1},
		{"bypass", "h", at("23:00:00"), func(p *fatigue.Policy) { p.Quiet, p.Bypass = quiet, true }, []string{"queued", "queued", "queued"}, "", 0, 3, 0},
		{"bypass that counts", "i", noon, func(p *fatigue.Policy) { p.Bypass, p.Counts = true, true }, []string{"queued", "queued", "queued"}, "", 0, 3, 3},
		{"the parent", "j", noon, func(p *fatigue.Policy) {
			p.Chain = append(p.Chain, fatigue.Level{Category: "parent", Caps: []fatigue.Cap{{Per: "90m", Max: 1}}})
			p.OnCap = fatigue.Defer
		}, []string{"queued", "queued/cap"}, "parent: 1 per 90m", noon + 90*minute, 2, 1},
	} {
		var last store.Row
		for k, want := range tt.want {
			c := capped("promo", "", 2, "day")
			tt.change(&c.Policy)
			rows := s.push(c, tt.now, tt.user)
			if last = rows[0]; outcome(last.State, last.Reason) != want {
				s.Errorf("%s: push %d became %+v, want %s", tt.name, k+1, last, want)
			}
		}
		if last.Rule != tt.rule || tt.until == 0 && last.Due != 0 || tt.until != 0 && (last.Due < tt.until || last.Due > tt.until+minute) {
			s.Errorf("%s: got %+v, want the rule %q until %d", tt.name, last, tt.rule, tt.until)
		}
		if got := len(s.inbox(store.InboxQuery{User: tt.user, Now: tt.now}).Items); got != tt.shown {
			s.Errorf("%s: %d are shown, want %d", tt.name, got, tt.shown)
		}
		if got := s.counted(tt.user, "promo"); got != tt.counts {
			s.Errorf("%s: %d are counted, want %d", tt.name, got, tt.counts)
		}
	}
}

// counted is how many deliveries are counted of a user in a category, in the last
// thirty days of the suite's time.
func (s *subject) counted(user, category string) int {
	s.Helper()
	counts, _, err := s.store.Counts(s.Context(), user)
	if err != nil {
		s.Fatal(err)
	}
	state, err := fatigue.Decode(counts)
	if err != nil {
		s.Fatal(err)
	}
	policy := fatigue.Policy{Category: category, Chain: []fatigue.Level{{Category: category, Caps: []fatigue.Cap{{Per: "720h", Max: 1}}}}}
	return state.Used(&policy, time.UTC, time.UnixMilli(noon))[0].Used
}

func testPutOffExpires(s *subject) {
	c := capped("promo", fatigue.Defer, 1, "day")
	c.Expires = noon + hour
	s.push(c, noon, "alice")
	late := another(c)
	row := s.push(late, noon, "alice")[0]
	if row.Due <= late.Expires || row.State != store.Queued {
		s.Errorf("got %+v", row)
	}
	quiet := content("1")
	quiet.Expires, quiet.Policy.Quiet = noon+hour, &fatigue.Quiet{From: 8 * 60, To: 12 * 60}
	s.push(quiet, noon, "alice")
	s.expire(noon+hour, 100)
	s.equal("outcomes", []string{"expired", "expired/cap", "expired/quiet"}, s.outcomes("alice"))
	for k, r := range s.records(store.RecordQuery{User: "alice"}) {
		if want := []string{"quiet hours 08:00-12:00", "promo: 1 per day", ""}[k]; r.Rule != want || r.Ended != noon+hour || r.Due != 0 {
			s.Errorf("got %+v, want the rule %q", r, want)
		}
	}
	// What comes too late is never queued, and counts nothing.
	over := another(c)
	s.equal("too late", []string{"expired"}, rowOutcomes(s.push(over, noon+hour, "alice", "bob")[:1]))
	s.equal("counted", 0, s.counted("bob", "promo")+s.counted("alice", "promo"))
	s.equal("totals", store.Totals{Expired: 2}, s.totals(over.ID))
}

// expire ends what has expired, in steps, and gives who was concerned.
func (s *subject) expire(now int64, limit int) (rows []store.EndedRow) {
	s.Helper()
	for range 10_000 {
		step := s.do(store.Expire{Now: now, Limit: limit})[0].(store.Ended)
		if len(step.Rows) > limit {
			s.Fatalf("a step of %d gave %d", limit, len(step.Rows))
		}
		if rows = append(rows, step.Rows...); !step.More {
			return rows
		}
	}
	s.Fatal("expire finds no end")
	return nil
}

func (s *subject) recallPush(id string, now int64, limit int) (rows []store.EndedRow) {
	s.Helper()
	for range 10_000 {
		step := s.do(store.RecallPush{ID: id, Now: now, Limit: limit})[0].(store.Ended)
		if len(step.Rows) > limit {
			s.Fatalf("a step of %d gave %d", limit, len(step.Rows))
		}
		if rows = append(rows, step.Rows...); !step.More {
			return rows
		}
	}
	s.Fatal("recall finds no end")
	return nil
}

func testRefunds(s *subject) {
	full := func() bool {
		s.Helper()
		probe := capped("promo", "", 2, "day")
		probe.Expires = noon + 5
		row := s.push(probe, noon, "alice")[0]
		s.recallPush(probe.ID, noon, 10)
		return row.State == store.Capped
	}
	first, second := capped("promo", "", 2, "day"), capped("promo", "", 2, "day")
	first.Expires = noon + 1
	s.push(first, noon, "alice")
	s.push(second, noon, "alice")
	s.equal("both are counted", true, full())
	s.recallPush(second.ID, noon, 10)
	s.equal("one was withdrawn", false, full())
	third := capped("promo", "", 2, "day")
	s.push(third, noon, "alice")
	s.settle(store.Settlement{User: "alice", ID: third.ID, State: store.Sent, Time: noon})
	s.recallPush(third.ID, noon, 10)
	s.equal("one was withdrawn that was sent", true, full())
	s.expire(noon+1, 10)
	s.equal("one that was not sent has expired", false, full())
	s.equal("counted", 1, s.counted("alice", "promo"))
}

func testCollapse(s *subject) {
	make := func(key, category string) store.Content {
		c := capped("promo", "", 1, "day")
		c.Category, c.Collapse = category, key
		return c
	}
	first := make("score", "promo")
	s.push(first, noon, "alice", "bob", "carol")
	s.settle(store.Settlement{User: "bob", Seq: 1, State: store.Sent, Time: noon})
	s.settle(store.Settlement{User: "carol", Seq: 1, State: store.Delivered, Time: noon})
	second := make("score", "promo")
	s.equal("it takes the place", []string{"queued", "capped/cap", "capped/cap"}, rowOutcomes(s.push(second, noon, "alice", "bob", "carol")))
	s.equal("alice", []string{"recalled/replaced", "queued"}, s.outcomes("alice"))
	s.equal("bob", []string{"sent", "capped/cap"}, s.outcomes("bob"))
	s.equal("carol", []string{"delivered", "capped/cap"}, s.outcomes("carol"))
	s.equal("totals", store.Totals{Sent: 1, Delivered: 1, Recalled: 1}, s.totals(first.ID))
	// Another key, another category, and one that has expired replace nothing.
	for _, c := range []store.Content{make("other", "promo"), make("score", "news"), make("score", ""), make("", "promo")} {
		s.push(c, noon, "alice")
	}
	over := make("score", "promo")
	over.Expires = noon
	s.push(over, noon, "alice")
	s.equal("alice", []string{"recalled/replaced", "queued", "capped/cap", "capped/cap", "capped/cap", "capped/cap", "expired"}, s.outcomes("alice"))
	s.equal("shown", []uint64{2, 3, 4, 5, 6}, itemSeqs(s.inbox(store.InboxQuery{User: "alice", Now: noon}).Items))
}

func testInboxKeep(s *subject) {
	var ids []string
	for k := range 6 {
		c := capped("promo", "", 3, "day")
		ids = append(ids, c.ID)
		s.do(store.Push{Content: c, To: to("alice", "bob"), Now: noon, Keep: 3})
		if k == 1 {
			s.settle(store.Settlement{User: "bob", Seq: 2, State: store.Delivered, Time: noon})
		}
	}
	// What falls out leaves room under the cap; what was acknowledged does not.
	s.equal("alice", []string{"expired/full", "expired/full", "expired/full", "queued", "queued", "queued"}, s.outcomes("alice"))
	s.equal("bob", []string{"expired/full", "delivered", "expired/full", "queued", "capped/cap", "queued"}, s.outcomes("bob"))
	box := s.box("alice")
	s.equal("the inbox", store.Inbox{N: box.N, Epoch: box.Epoch, Top: 6, Floor: 3, Open: 3}, box)
	s.equal("shown", []uint64{4, 5, 6}, itemSeqs(s.inbox(store.InboxQuery{User: "alice", Now: noon}).Items))
	s.equal("totals", store.Totals{Expired: 2}, s.totals(ids[0]))
	// A larger bound gives nothing back, a smaller one takes more.
	s.do(store.Push{Content: content("1"), To: to("alice"), Now: noon, Keep: 100})
	s.equal("a larger bound", uint64(3), s.box("alice").Floor)
	s.do(store.Push{Content: content("1"), To: to("alice"), Now: noon, Keep: 1})
	s.equal("a smaller bound", store.Inbox{N: box.N, Epoch: box.Epoch, Top: 8, Floor: 7, Open: 1}, s.box("alice"))
}

func testClearPushed(s *subject) {
	chat := capped("chat", "", 2, "day")
	chat.Collapse = "chat:team:1"
	other := another(chat)
	other.Collapse = "chat:team:2"
	mention := another(chat)
	mention.Category = "mention"
	clear := func(user string) store.Cleared {
		s.Helper()
		return s.do(store.ClearPushed{User: user, Category: "chat", Collapse: chat.Collapse, Now: noon + 5})[0].(store.Cleared)
	}
	s.equal("of nobody", store.Cleared{}, clear("nobody"))
	// One that was sent, one that a cap holds back, and one that is over; and the next one of
	// whose place there is room again.
	s.push(chat, noon, "alice", "bob")
	s.settle(store.Settlement{User: "bob", Seq: 1, State: store.Delivered, Time: noon})
	s.push(other, noon, "alice", "bob")
	s.push(mention, noon, "alice", "bob")
	got := clear("alice")
	s.equal("what was open", []store.EndedRow{{User: "alice", Seq: 1, ID: chat.ID}}, got.Rows)
	s.equal("the inbox", s.box("alice"), got.Inbox)
	s.equal("alice", []string{"recalled/read", "queued", "capped/cap"}, s.outcomes("alice"))
	s.equal("counted", 1, s.counted("alice", "chat"))
	s.equal("nothing ends", store.Cleared{Inbox: s.box("bob")}, clear("bob"))
	s.equal("bob", []string{"delivered", "queued", "capped/cap"}, s.outcomes("bob"))
	page := s.inbox(store.InboxQuery{User: "bob", Now: noon + 9})
	s.equal("read", []int64{noon + 5, 0, 0}, []int64{page.Items[0].Read, page.Items[1].Read, page.Items[2].Read})
	s.equal("unread", int64(2), page.Unread)
	s.equal("unread ones", []uint64{2, 3}, itemSeqs(s.inbox(store.InboxQuery{User: "bob", Unread: true, Now: noon + 9}).Items))
	s.equal("totals", store.Totals{Delivered: 1, Recalled: 1, Read: 1}, s.totals(chat.ID))
	again := another(chat)
	s.equal("there is room", []string{"queued"}, rowOutcomes(s.push(again, noon, "alice")))
	s.settle(store.Settlement{User: "alice", Seq: 4, State: store.Sent, Time: noon})
	s.equal("what was sent", []store.EndedRow{{User: "alice", Seq: 4, ID: again.ID, Sent: true}}, clear("alice").Rows)
	s.equal("it was sent, so it counts", 2, s.counted("alice", "chat"))
	s.equal("again", store.Cleared{Inbox: s.box("alice")}, clear("alice"))
	// What was held back and read is not told.
	s.do(store.ClearPushed{User: "alice", Category: "mention", Collapse: chat.Collapse, Now: noon + 6})
	s.equal("held", 0, len(s.collect(store.Collect{User: "alice", Now: noon, Tell: true}).Held))
	s.equal("alice", []string{"recalled/read", "queued", "capped/cap", "recalled/read"}, s.outcomes("alice"))
	s.reopen()
	// What is up to the mark of the inbox is read already.
	s.do(store.MarkRead{User: "bob", Seq: 3, Now: noon + 7})
	s.equal("below the mark", store.Cleared{Inbox: s.box("bob")}, clear("bob"))
	// Only the newest thousand are looked at.
	first := content("1")
	first.Collapse = chat.Collapse
	first.Category = "chat"
	s.push(first, noon, "carol")
	for range 1000 {
		s.push(content("1"), noon, "carol")
	}
	s.equal("too far away", 0, len(clear("carol").Rows))
}
