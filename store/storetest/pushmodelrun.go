package storetest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// pushRun is a round in which a store and the model do the same.
type pushRun struct {
	*pushModel
	store    store.Store
	zone     string // of users whose own is not known
	keep     int
	policies []fatigue.Policy
}

var pushUsers = []string{"a", "b", "c\x00", "\xff"}

// Whatever is pushed, judged, settled, read and ended, at times that jump, the store
// gives what the model gives; and no cap is exceeded.
func testPushModel(s *subject) {
	rapid.Check(s.T, func(t *rapid.T) {
		r := newPushRun(t, s.store)
		t.Repeat(map[string]func(*rapid.T){
			"push": r.doPush, "push more": r.doPush, "push again": r.doPushAgain, "broadcast": r.doBroadcast, "collect": r.doCollect, "visit": r.doCollect,
			"settle": r.doSettle, "acknowledge": r.doSettle, "read": r.doRead, "clear": r.doClear, "wake": r.doWake, "expire": r.doExpire, "recall": r.doRecall, "prune": r.doPrune,
			"mute": r.doMute, "time goes on": r.doTime, "": r.check,
		})
		for _, x := range r.messages {
			r.recall(t, x)
		}
		r.check(t)
		for _, p := range r.persons {
			if n := len(p.open()); n > 0 {
				t.Fatalf("%d deliveries of %q are open for ever", n, p.user)
			}
		}
		r.checkCaps(t)
		if err := s.store.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
			t.Error(err)
		}
	})
}

func newPushRun(t *rapid.T, s store.Store) *pushRun {
	if _, err := s.Do(t.Context(), store.DeleteUsers{Users: pushUsers, Time: noon}); err != nil {
		t.Fatal(err)
	}
	r := &pushRun{pushModel: &pushModel{now: noon, persons: map[string]*modelPerson{}}, store: s}
	r.zone = rapid.SampledFrom([]string{"", "Asia/Tokyo", "Mars/Olympus"}).Draw(t, "zone")
	r.keep = rapid.SampledFrom([]int{0, 0, 3, 6}).Draw(t, "keep")
	shared := fatigue.Level{Category: "marketing", Caps: drawCaps(t)}
	for _, category := range []string{"promo", "news", "alarm"} {
		p := fatigue.Policy{
			Category: category, Chain: []fatigue.Level{{Category: category, Caps: drawCaps(t)}, shared},
			OnCap:    rapid.SampledFrom([]string{"", fatigue.Inbox, fatigue.Drop, fatigue.Defer, fatigue.Defer}).Draw(t, "on cap"),
			OnQuiet:  rapid.SampledFrom([]string{"", fatigue.Inbox, fatigue.Defer, fatigue.Ignore}).Draw(t, "on quiet"),
			Priority: rapid.IntRange(0, 2).Draw(t, "priority"), Mutable: rapid.Bool().Draw(t, "mutable"), Bypass: category == "alarm",
		}
		if rapid.Bool().Draw(t, "quiet") {
			p.Quiet = &fatigue.Quiet{From: rapid.IntRange(0, 11).Draw(t, "from") * 60, To: rapid.IntRange(12, 23).Draw(t, "to") * 60}
		}
		r.policies = append(r.policies, p)
	}
	r.policies = append(r.policies, fatigue.Policy{})
	// One of them has a zone of his own.
	if rapid.Bool().Draw(t, "own zone") {
		p := r.person(pushUsers[0])
		p.zone, _ = fatigue.Zone("America/New_York")
		r.do(t, store.PutUsers{Users: []store.UserPut{{User: p.user, Attributes: []byte(`{"tz":"America/New_York"}`)}}, Time: noon})
	}
	return r
}

func drawCaps(t *rapid.T) (caps []fatigue.Cap) {
	for range rapid.IntRange(0, 2).Draw(t, "caps") {
		caps = append(caps, fatigue.Cap{Per: rapid.SampledFrom([]string{"hour", "day", "week", "90m", "30h"}).Draw(t, "per"), Max: rapid.IntRange(0, 4).Draw(t, "max")})
	}
	return caps
}

func (r *pushRun) do(t *rapid.T, c store.Command) store.Result {
	results, err := r.store.Do(t.Context(), c)
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	return results[0]
}

// location is that of users whose own is not known.
func (r *pushRun) location() *time.Location {
	if zone, known := fatigue.Zone(r.zone); known {
		return zone
	}
	return time.UTC
}

func (r *pushRun) drawContent(t *rapid.T) store.Content {
	c := store.Content{ID: id.Message(time.UnixMilli(r.now)), Time: r.now, Event: "offer", Data: []byte(`"data"`)}
	c.Policy = rapid.SampledFrom(r.policies).Draw(t, "policy")
	c.Category = c.Policy.Category
	if rapid.IntRange(0, 2).Draw(t, "expires") == 0 {
		c.Expires = r.now + rapid.Int64Range(0, 40).Draw(t, "in hours")*hour
	}
	c.Collapse = rapid.SampledFrom([]string{"", "", "key"}).Draw(t, "collapse")
	return c
}

func drawUsers(t *rapid.T) []store.Recipient {
	return to(rapid.SliceOfNDistinct(rapid.SampledFrom(pushUsers), 0, len(pushUsers), rapid.ID).Draw(t, "users")...)
}

func (r *pushRun) doPush(t *rapid.T) { r.pushTo(t, r.drawContent(t), drawUsers(t)) }

func (r *pushRun) doPushAgain(t *rapid.T) {
	list := slices.DeleteFunc(slices.Clone(r.messages), func(x *modelMessage) bool { return x.everyone != 0 })
	if len(list) == 0 {
		return
	}
	r.pushTo(t, rapid.SampledFrom(list).Draw(t, "message").Content, drawUsers(t))
}

func (r *pushRun) pushTo(t *rapid.T, c store.Content, users []store.Recipient) {
	p := store.Push{Content: c, To: users, Now: r.now, Zone: r.zone, Keep: r.keep}
	for i := range p.To { // by number, where there is one
		if known := r.persons[p.To[i].User]; known != nil && rapid.Bool().Draw(t, "by number") {
			p.To[i].N = known.n
		}
	}
	got := r.do(t, p).(store.Pushed)
	want, again := r.push(p, r.location())
	r.learn(t)
	rows := make([]store.Row, len(want))
	for i, w := range want {
		rows[i] = r.told(p.To[i].User, w)
		rows[i].Again = again[i]
	}
	alike(t, "pushed", store.Pushed{ID: c.ID, Rows: rows, Content: &c}, got)
}

func alike(t *rapid.T, what string, want, got any) {
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// told is a row as commands give it.
func (r *pushRun) told(user string, w *modelRow) store.Row {
	return store.Row{N: r.persons[user].n, User: user, Seq: w.Seq, State: w.State, Reason: w.Reason, Rule: w.Rule, Due: w.Due}
}

func (r *pushRun) doBroadcast(t *rapid.T) {
	c := store.Broadcast{Content: r.drawContent(t), Now: r.now}
	got := r.do(t, c).(store.Broadcasted)
	alike(t, "broadcast", store.Broadcasted{ID: c.ID, Audience: int64(len(r.persons))}, got)
	r.broadcast(c)
}

func (r *pushRun) doCollect(t *rapid.T) {
	c := store.Collect{
		User: rapid.SampledFrom(pushUsers).Draw(t, "user"), Now: r.now, Zone: r.zone, Keep: r.keep,
		After: rapid.Uint64Range(0, 3).Draw(t, "after"), Limit: rapid.IntRange(1, 6).Draw(t, "limit"), Peek: rapid.IntRange(0, 3).Draw(t, "peek") == 0, Tell: rapid.Bool().Draw(t, "tell"),
	}
	got := r.do(t, c).(store.Collected)
	live, held := r.collect(c, r.location())
	r.learn(t)
	want := store.Collected{Inbox: r.inbox(t, c.User), More: len(live) > c.Limit}
	for _, w := range live[:min(len(live), c.Limit)] {
		want.Messages = append(want.Messages, w.Item)
	}
	for _, w := range held {
		want.Held = append(want.Held, store.HeldRow{Row: r.told(c.User, w), Category: w.Category, Hidden: w.hidden})
	}
	alike(t, fmt.Sprintf("%+v", c), want, got)
}

// inbox is what is told of an inbox. The epoch is the store's.
func (r *pushRun) inbox(t *rapid.T, user string) store.Inbox {
	p := r.persons[user]
	if p == nil {
		return store.Inbox{}
	}
	boxes, err := r.store.Inboxes(t.Context(), user)
	if err != nil || boxes[0].Epoch == "" {
		t.Fatalf("%+v, %v", boxes, err)
	}
	return store.Inbox{
		N: p.n, Epoch: boxes[0].Epoch, Top: uint64(p.top), Floor: uint64(p.floor), Read: uint64(p.read), Open: int64(len(p.open())), Behind: p.merged < r.broadcasts, Held: p.held != 0,
	}
}

func (r *pushRun) doSettle(t *rapid.T) {
	var c store.Settle
	c.Now = r.now
	for range rapid.IntRange(1, 3).Draw(t, "settlements") {
		s := store.Settlement{
			User: rapid.SampledFrom(pushUsers).Draw(t, "user"), State: rapid.SampledFrom([]store.State{store.Sent, store.Delivered}).Draw(t, "state"),
			Device: "phone", Time: r.now - rapid.Int64Range(0, 1).Draw(t, "ago")*minute,
		}
		if len(r.messages) > 0 && rapid.IntRange(0, 3).Draw(t, "by id") == 0 {
			s.ID = rapid.SampledFrom(r.messages).Draw(t, "message").ID
		} else {
			s.Seq, s.UpTo = rapid.Uint64Range(1, 12).Draw(t, "seq"), rapid.Bool().Draw(t, "up to")
		}
		c.Settlements = append(c.Settlements, s)
	}
	got := r.do(t, c).(store.Settled)
	var want store.Settled
	for _, s := range c.Settlements {
		want.Results = append(want.Results, r.settle(s))
	}
	// Of what an UpTo finds only the inbox is told.
	alike(t, fmt.Sprintf("%+v", c), want, got)
}

func (r *pushRun) doRead(t *rapid.T) {
	c := store.MarkRead{User: rapid.SampledFrom(pushUsers).Draw(t, "user"), Seq: rapid.Uint64Range(0, 12).Draw(t, "seq"), Device: "tablet", Now: r.now}
	got := r.do(t, c).(store.ReadMarked)
	moved, seqs := r.markRead(c)
	alike(t, fmt.Sprintf("%+v", c), store.ReadMarked{Inbox: r.inbox(t, c.User), Moved: moved, Seqs: seqs}, got)
}

func (r *pushRun) doClear(t *rapid.T) {
	c := store.ClearPushed{User: rapid.SampledFrom(pushUsers).Draw(t, "user"), Category: rapid.SampledFrom([]string{"promo", "news", ""}).Draw(t, "category"), Collapse: "key", Now: r.now}
	got := r.do(t, c).(store.Cleared)
	rows := r.clear(c)
	alike(t, fmt.Sprintf("%+v", c), store.Cleared{Inbox: r.inbox(t, c.User), Rows: rows}, got)
}

func (r *pushRun) doWake(t *rapid.T) {
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	var got store.Woken
	for more := true; more; {
		step := r.do(t, store.Wake{Now: r.now, Zone: r.zone, Limit: limit}).(store.Woken)
		got.Items, got.Rows, more = append(got.Items, step.Items...), got.Rows+step.Rows, step.More
	}
	n, live := r.wake(r.location())
	r.learn(t)
	alike(t, "woken", []int{n, len(live)}, []int{got.Rows, len(got.Items)})
	for _, w := range got.Items {
		i := slices.IndexFunc(live, func(row *modelRow) bool { return row.ID == w.Item.ID && r.persons[w.User].row(row.message) == row })
		if i < 0 {
			t.Fatalf("%+v woke", w)
		}
		alike(t, "who woke", store.Woke{N: r.persons[w.User].n, User: w.User, Item: live[i].Item}, w)
	}
}

func (r *pushRun) doExpire(t *rapid.T) {
	limit, n := rapid.IntRange(1, 4).Draw(t, "limit"), 0
	for more := true; more; {
		step := r.do(t, store.Expire{Now: r.now, Limit: limit}).(store.Ended)
		n, more = n+len(step.Rows), step.More
	}
	alike(t, "expired", r.finish(func(x *modelMessage) bool { return x.Expires != 0 && x.Expires <= r.now && !x.ended }), n)
}

func (r *pushRun) doRecall(t *rapid.T) {
	if len(r.messages) > 0 {
		r.recall(t, rapid.SampledFrom(r.messages).Draw(t, "message"))
	}
}

func (r *pushRun) recall(t *rapid.T, x *modelMessage) {
	n := 0
	for more := true; more; {
		step := r.do(t, store.RecallPush{ID: x.ID, Now: r.now, Limit: 3}).(store.Ended)
		n, more = n+len(step.Rows), step.More
	}
	if x.withdrawn == 0 {
		x.withdrawn = r.now
	}
	alike(t, "withdrawn", r.finish(func(y *modelMessage) bool { return y == x }), n)
}

func (r *pushRun) doPrune(t *rapid.T) {
	records := r.now - rapid.Int64Range(0, 48).Draw(t, "hours")*hour
	limit, n := rapid.IntRange(1, 5).Draw(t, "limit"), 0
	for more := true; more; {
		step := r.do(t, store.Prune{Records: records, Now: r.now, Limit: limit}).(store.Pruned)
		n, more = n+step.Deliveries, step.More
	}
	alike(t, "pruned", r.prune(records), n)
}

func (r *pushRun) doMute(t *rapid.T) {
	c := store.MuteCategory{User: rapid.SampledFrom(pushUsers).Draw(t, "user"), Category: rapid.SampledFrom([]string{"promo", "news"}).Draw(t, "category"), Muted: rapid.Bool().Draw(t, "muted"), Time: r.now}
	if r.persons[c.User] == nil && !c.Muted {
		return // it is left to the store whether that makes somebody
	}
	r.do(t, c)
	r.person(c.User).muted[c.Category] = c.Muted
}

func (r *pushRun) doTime(t *rapid.T) {
	r.now += rapid.SampledFrom([]int64{1, minute, 20 * minute, hour, 5 * hour, 11 * hour, 26 * hour, -minute, -2 * hour}).Draw(t, "by")
	r.now = max(r.now, noon)
}

// learn takes from the store what it may choose.
func (r *pushRun) learn(t *rapid.T) {
	for _, p := range r.persons {
		if p.n == 0 {
			boxes, err := r.store.Inboxes(t.Context(), p.user)
			if err != nil || boxes[0].N == 0 {
				t.Fatalf("%+v, %v", boxes, err)
			}
			p.n = boxes[0].N
		}
	}
	page, err := r.store.Records(t.Context(), store.RecordQuery{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range page.Records {
		p := r.persons[got.User]
		i := slices.IndexFunc(p.rows, func(row *modelRow) bool { return row.Seq == got.Seq })
		if i < 0 {
			t.Fatalf("there should be no %+v", got)
		}
		row := p.rows[i]
		if got.Queued < row.Queued {
			t.Fatalf("queued at %d is %+v", row.Queued, got)
		}
		if row.Queued = got.Queued; row.until != 0 {
			if got.Due < row.until || got.Due > row.until+minute {
				t.Fatalf("put off until %d is %+v", row.until, got)
			}
			row.Due = got.Due
		}
	}
}

// check compares all that can be read.
func (r *pushRun) check(t *rapid.T) {
	r.learn(t)
	var want []store.Record
	totals := map[*modelMessage]store.Totals{}
	for _, x := range r.messages {
		totals[x] = x.totals
	}
	for _, user := range slices.Sorted(maps.Keys(r.persons)) {
		p := r.persons[user]
		for i := len(p.rows) - 1; i >= 0; i-- {
			row := p.rows[i]
			record := store.Record{User: user, Message: row.ID, Category: row.Category, Item: row.Item}
			record.Event, record.Data, record.Policy = "", nil, fatigue.Policy{}
			want = append(want, record)
			sum := totals[row.message]
			addTotal(&sum, row.State, row.Read != 0)
			totals[row.message] = sum
		}
		boxes, err := r.store.Inboxes(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		alike(t, "inbox", r.inbox(t, user), boxes[0])
	}
	var got []store.Record
	for _, user := range slices.Sorted(maps.Keys(r.persons)) {
		page, err := r.store.Records(t.Context(), store.RecordQuery{User: user, Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		alike(t, "behind", r.persons[user].merged < r.broadcasts, page.Behind)
		for _, record := range page.Records {
			record.Pos = 0
			got = append(got, record)
		}
	}
	alike(t, "records", want, got)
	var ids []string
	var messages []store.PushedMessage
	for _, x := range r.messages {
		ids = append(ids, x.ID)
		messages = append(messages, store.PushedMessage{Content: x.Content, Everyone: x.everyone != 0, Audience: x.audience, Withdrawn: x.withdrawn, Totals: totals[x]})
	}
	if len(ids) > 0 {
		list, err := r.store.PushedMessages(t.Context(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		alike(t, "messages", messages, list)
	}
	r.checkPage(t, rapid.SampledFrom(pushUsers).Draw(t, "look at"))
}

// checkPage compares the inbox of a user.
func (r *pushRun) checkPage(t *rapid.T, user string) {
	page, err := r.store.ReadInbox(t.Context(), store.InboxQuery{User: user, Limit: 1000, Now: r.now})
	if err != nil {
		t.Fatal(err)
	}
	want := store.InboxPage{Inbox: r.inbox(t, user)}
	if p := r.persons[user]; p != nil {
		for _, row := range p.rows {
			if int(row.Seq) <= p.floor || row.hidden || row.State == store.Withdrawn || row.State == store.Expired || row.State.Open() && row.Expires != 0 && row.Expires <= r.now {
				continue
			}
			want.Items = append(want.Items, row.Item)
			if int(row.Seq) > p.read && row.Read == 0 {
				want.Unread++
			}
		}
	}
	alike(t, "page", want, page)
}

// checkCaps looks at every rolling window of every cap: it never has more than that.
func (r *pushRun) checkCaps(t *rapid.T) {
	for _, policy := range r.policies {
		for _, level := range policy.Chain {
			for _, c := range level.Caps {
				length, err := time.ParseDuration(c.Per)
				if err != nil {
					continue // that of a calendar
				}
				for _, p := range r.persons {
					r.checkCap(t, p, level.Category, length.Milliseconds(), c)
				}
			}
		}
	}
}

func (r *pushRun) checkCap(t *rapid.T, p *modelPerson, category string, length int64, c fatigue.Cap) {
	var counted []int64
	for _, row := range p.rows {
		if row.counted != 0 && (row.Category == category || category == "marketing") {
			counted = append(counted, row.counted)
		}
	}
	slices.Sort(counted)
	for i := range counted {
		if i >= c.Max && counted[i]-counted[i-c.Max] < length {
			t.Fatalf("user %q: %d of %q within %s: %v", p.user, c.Max+1, category, c.Per, counted)
		}
	}
}
