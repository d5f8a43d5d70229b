package storetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// pushCases are the tests of what is pushed to users.
func pushCases() []struct {
	name string
	test func(*subject)
} {
	return []struct {
		name string
		test func(*subject)
	}{
		{"a push is an entry of the inbox and a record", testPush},
		{"what cannot be pushed is named", testPushRefused},
		{"a push is made once", testPushKeys},
		{"a push that is repeated goes to those who miss it", testPushAgain},
		{"a step is taken from where the campaign is", testPushSteps},
		{"a push to somebody who was deleted makes nobody", testPushDeleted},
		{"pushes are told in order", testPushTold},
		{"caps, mutes and quiet hours decide", testPushVerdicts},
		{"what was put off ends with its time", testPutOffExpires},
		{"what is not sent gives its place back", testRefunds},
		{"a message replaces the one that waits", testCollapse},
		{"an inbox is bounded", testInboxKeep},
		{"what waits is judged when the user comes", testCollect},
		{"what was held back is told once", testHeld},
		{"the first that may interrupt is the most important one", testCollectOrder},
		{"looking changes nothing", testPeek},
		{"everybody gets a broadcast once", testBroadcast},
		{"many broadcasts are caught up with in parts", testManyBroadcasts},
		{"deliveries are settled", testSettle},
		{"a mark only moves on", testMarkRead},
		{"what was read elsewhere is cleared", testClearPushed},
		{"what was put off wakes", testWake},
		{"a message expires for all", testExpire},
		{"a message is withdrawn", testRecallPush},
		{"who waits too long is told of", testEscalations},
		{"pages of an inbox", testInboxPages},
		{"records are found by all that they have", testRecords},
		{"what is old goes, what is open stays", testPrune},
		{"sixty-four pushes at once keep to a cap", testPushRace},
		{"pushes and recalls at once leave nothing open", testRecallRace},
		{"all at once adds up", testPushCrowd},
	}
}

const (
	minute = 60_000
	hour   = 60 * minute
	day    = 24 * hour
)

// content is a message without a category.
func content(data string) store.Content {
	return store.Content{ID: id.Message(time.UnixMilli(noon)), Time: noon, Event: "offer", Data: []byte(data)}
}

// capped is a message with a category and its cap.
func capped(category, onCap string, max int, per string) store.Content {
	c := content(`"capped"`)
	c.Category = category
	c.Policy = fatigue.Policy{Category: category, OnCap: onCap, Chain: []fatigue.Level{{Category: category, Caps: []fatigue.Cap{{Per: per, Max: max}}}}}
	return c
}

// another is the same message under another id.
func another(c store.Content) store.Content {
	c.ID = id.Message(time.UnixMilli(c.Time))
	return c
}

// to names recipients.
func to(users ...string) []store.Recipient {
	list := make([]store.Recipient, len(users))
	for i, u := range users {
		list[i].User = u
	}
	return list
}

// push pushes a message at a time and gives the rows.
func (s *subject) push(c store.Content, now int64, users ...string) []store.Row {
	s.Helper()
	return s.do(store.Push{Content: c, To: to(users...), Now: now})[0].(store.Pushed).Rows
}

func (s *subject) collect(c store.Collect) store.Collected {
	s.Helper()
	if c.Limit == 0 {
		c.Limit = 100
	}
	return s.do(c)[0].(store.Collected)
}

func (s *subject) settle(list ...store.Settlement) []store.SettledOne {
	s.Helper()
	return s.do(store.Settle{Settlements: list, Now: noon})[0].(store.Settled).Results
}

func (s *subject) inbox(q store.InboxQuery) store.InboxPage {
	s.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	page, err := s.store.ReadInbox(s.Context(), q)
	if err != nil {
		s.Fatalf("%+v: %v", q, err)
	}
	return page
}

func (s *subject) records(q store.RecordQuery) []store.Record {
	s.Helper()
	if q.Limit == 0 {
		q.Limit = 10_000
	}
	page, err := s.store.Records(s.Context(), q)
	if err != nil {
		s.Fatalf("%+v: %v", q, err)
	}
	return page.Records
}

func (s *subject) totals(id string) store.Totals {
	s.Helper()
	return s.pushed(id).Totals
}

func (s *subject) pushed(id string) store.PushedMessage {
	s.Helper()
	list, err := s.store.PushedMessages(s.Context(), id)
	if err != nil || len(list) != 1 {
		s.Fatalf("%v, %v", list, err)
	}
	return list[0]
}

func (s *subject) box(user string) store.Inbox {
	s.Helper()
	boxes, err := s.store.Inboxes(s.Context(), user)
	if err != nil || len(boxes) != 1 {
		s.Fatalf("%v, %v", boxes, err)
	}
	return boxes[0]
}

// outcomes are the states of a user's deliveries, with their reasons, by seq.
func (s *subject) outcomes(user string) (list []string) {
	s.Helper()
	for _, r := range s.records(store.RecordQuery{User: user}) {
		list = append([]string{outcome(r.State, r.Reason)}, list...)
	}
	return list
}

func outcome(state store.State, reason string) string {
	if reason == "" {
		return state.String()
	}
	return state.String() + "/" + reason
}

func heldOutcomes(rows []store.HeldRow) (list []string) {
	for _, r := range rows {
		list = append(list, outcome(r.State, r.Reason))
	}
	return list
}

func rowOutcomes(rows []store.Row) (list []string) {
	for _, r := range rows {
		list = append(list, outcome(r.State, r.Reason))
	}
	return list
}

func itemSeqs(items []store.Item) (list []uint64) {
	for _, i := range items {
		list = append(list, i.Seq)
	}
	return list
}

func testPush(s *subject) {
	c := content(`{"a":1}`)
	c.Category, c.Expires, c.Collapse, c.Campaign, c.Escalate = "news", noon+day, "key", "run", hour
	c.Policy = fatigue.Policy{Category: "news", Chain: []fatigue.Level{{Category: "news", Caps: []fatigue.Cap{{Per: "day", Max: 3}}}}, Priority: 4}
	for _, user := range []string{"bob", "\x00\xff"} {
		got := s.do(store.Push{Content: c, To: to("alice", user), Now: noon})[0].(store.Pushed)
		if got.ID != c.ID || got.Duplicate || len(got.Rows) != 2 {
			s.Fatalf("got %+v", got)
		}
		s.equal("the message", c, *got.Content)
		for k, r := range got.Rows {
			want := store.Row{N: r.N, User: []string{"alice", user}[k], Seq: 1, State: store.Queued, Again: k == 0 && user != "bob"}
			if r.N == 0 || r != want {
				s.Errorf("got the row %+v, want %+v", r, want)
			}
		}
	}
	s.reopen()
	item := store.Item{Seq: 1, Content: c, State: store.Queued, Queued: noon}
	box := s.box("\x00\xff")
	s.equal("the inbox", store.Inbox{N: box.N, Epoch: box.Epoch, Top: 1, Open: 1}, box)
	if len(box.Epoch) < 8 || box.N == 0 {
		s.Errorf("the inbox is %+v", box)
	}
	s.equal("the page", store.InboxPage{Inbox: box, Items: []store.Item{item}, Unread: 1}, s.inbox(store.InboxQuery{User: "\x00\xff", Now: noon}))
	s.equal("collected", store.Collected{Inbox: box, Messages: []store.Item{item}}, s.collect(store.Collect{User: "\x00\xff", Now: noon}))
	record := s.records(store.RecordQuery{User: "bob"})
	item.Event, item.Data, item.Policy = "", nil, fatigue.Policy{}
	s.equal("the record", []store.Record{{Pos: record[0].Pos, User: "bob", Message: c.ID, Category: "news", Campaign: "run", Item: item}}, record)
	s.equal("the message", store.PushedMessage{Content: c, Totals: store.Totals{Queued: 3}}, s.pushed(c.ID))
	s.equal("nobody", store.Inbox{}, s.box("carol"))
	s.equal("no message", store.PushedMessage{}, s.pushed(another(c).ID))
	// Without anybody, and with the default event.
	none := content("")
	none.Event, none.Data = "message", nil
	s.equal("to nobody", 0, len(s.push(none, noon)))
	s.equal("to nobody", store.PushedMessage{Content: none}, s.pushed(none.ID))
}

func testPushRefused(s *subject) {
	good := store.Push{Content: content("1"), To: to("alice"), Now: noon}
	change := func(fn func(*store.Push)) store.Command {
		p := good
		fn(&p)
		return p
	}
	long := func(n int) string { return fmt.Sprintf("%0*d", n, 0) }
	one := store.Settlement{User: "a", Seq: 1, State: store.Sent, Time: 1}
	settle := func(fn func(*store.Settlement)) store.Command {
		x := one
		fn(&x)
		return store.Settle{Settlements: []store.Settlement{one, x}, Now: noon}
	}
	for _, tt := range []struct {
		want string
		bad  store.Command
	}{
		{"push: ID: ", change(func(p *store.Push) { p.ID = "short" })},
		{"push: Time: ", change(func(p *store.Push) { p.Time = -1 })},
		{"push: Event: ", change(func(p *store.Push) { p.Event = long(257) })},
		{"push: Category: ", change(func(p *store.Push) { p.Category = long(65) })},
		{"push: Collapse: ", change(func(p *store.Push) { p.Collapse = long(257) })},
		{"push: Campaign: ", change(func(p *store.Push) { p.Campaign = long(65) })},
		{"push: Expires: ", change(func(p *store.Push) { p.Expires = 1 << 50 })},
		{"push: Escalate: ", change(func(p *store.Push) { p.Escalate = -1 })},
		{"push: Now: ", change(func(p *store.Push) { p.Now = 0 })},
		{"push: Keep: ", change(func(p *store.Push) { p.Keep = -1 })},
		{"push: Key: ", change(func(p *store.Push) { p.Key, p.KeyExpires = []byte(long(65)), noon })},
		{"push: KeyExpires: ", change(func(p *store.Push) { p.Key = []byte("k") })},
		{"push: Digest: ", change(func(p *store.Push) { p.Digest = []byte(long(33)) })},
		{"push: To[1].User: ", change(func(p *store.Push) { p.To = to("a", "") })},
		{"push: To[0].User: ", change(func(p *store.Push) { p.To = to(long(1025)) })},
		{"push: To: has 1001", change(func(p *store.Push) { p.To = make([]store.Recipient, 1001) })},
		{"push: Step.Campaign: ", change(func(p *store.Push) { p.Step = &store.Step{} })},
		{"broadcast: ID: ", store.Broadcast{Now: noon}},
		{"collect: User: ", store.Collect{Now: noon, Limit: 1}},
		{"collect: Limit: ", store.Collect{User: "a", Now: noon}},
		{"settle: Settlements[1].State: ", settle(func(x *store.Settlement) { x.State = store.Expired })},
		{"settle: Settlements[1].User: ", settle(func(x *store.Settlement) { x.User = "" })},
		{"settle: Settlements[1].Seq: ", settle(func(x *store.Settlement) { x.Seq = 0 })},
		{"settle: Settlements[1].UpTo: ", settle(func(x *store.Settlement) { x.Seq, x.ID, x.UpTo = 0, "x", true })},
		{"settle: Settlements[1].Device: ", settle(func(x *store.Settlement) { x.Device = long(513) })},
		{"settle: Settlements[1].Time: ", settle(func(x *store.Settlement) { x.Time = 0 })},
		{"mark read: User: ", store.MarkRead{Now: noon}},
		{"wake: Limit: ", store.Wake{Now: noon, Limit: 1001}},
		{"expire: Limit: ", store.Expire{Now: noon}},
		{"recall push: ID: ", store.RecallPush{Now: noon, Limit: 1}},
		{"prune: Limit: ", store.Prune{Now: noon, Limit: 10_001}},
	} {
		_, err := s.store.Do(s.Context(), good, tt.bad)
		if err == nil || !strings.Contains(err.Error(), "command 1: "+tt.want) {
			s.Errorf("want an error about %q, got %v", tt.want, err)
		}
	}
	if _, err := s.store.Do(s.Context(), good, message("room:1", "1")); err == nil {
		s.Error("a push and a message went together")
	}
	s.equal("nothing happened", store.Inbox{}, s.box("alice"))
	for what, err := range map[string]error{
		"inbox": second(s.store.ReadInbox(s.Context(), store.InboxQuery{User: "a"})), "records": second(s.store.Records(s.Context(), store.RecordQuery{})),
		"due": second(s.store.DueEscalations(s.Context(), noon, 0)),
	} {
		if err == nil || !strings.Contains(err.Error(), what+": limit: 0 is less than 1") {
			s.Errorf("%s without a limit: %v", what, err)
		}
	}
}

func second[A any](_ A, err error) error { return err }
