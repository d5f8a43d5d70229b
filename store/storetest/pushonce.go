package storetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/skein-realtime/skein/store"
)

func testPushKeys(s *subject) {
	p := store.Push{Content: content(`"first"`), To: to("alice", "bob"), Now: noon, Key: []byte("\x00key"), Digest: []byte("digest"), KeyExpires: noon + hour}
	first := s.do(p)[0].(store.Pushed)
	s.equal("the first", false, first.Duplicate)
	// Again, under another id, to one who has it and one who has not.
	repeat := p
	repeat.Content, repeat.To, repeat.Now = content(`"second"`), to("carol", "bob"), noon+hour
	s.settle(store.Settlement{User: "bob", Seq: 1, State: store.Delivered, Device: "phone", Time: noon + 1})
	got := s.do(repeat)[0].(store.Pushed)
	s.equal("the repeat", store.Pushed{ID: p.ID, Duplicate: true, Content: &p.Content, Rows: []store.Row{
		{N: got.Rows[0].N, User: "carol", Seq: 1, State: store.Queued}, {N: first.Rows[1].N, User: "bob", Seq: 1, State: store.Delivered, Again: true},
	}}, got)
	s.equal("the second is not there", store.PushedMessage{}, s.pushed(repeat.ID))
	s.equal("totals", store.Totals{Queued: 2, Delivered: 1}, s.totals(p.ID))
	for _, other := range [][]byte{[]byte("other"), nil} {
		bad := repeat
		bad.Digest = other
		s.refuses(store.ErrConflict, store.MuteCategory{User: "dave", Category: "x", Muted: true, Time: noon}, bad)
	}
	s.equal("nothing of a group that failed", store.Inbox{}, s.box("dave"))
	s.refuses(store.ErrConflict, store.Broadcast{Content: another(p.Content), Now: noon, Key: p.Key, Digest: p.Digest, KeyExpires: noon + hour})
	// With other bytes, and when its time is over, it is another key.
	prefix := repeat
	prefix.Key = []byte("\x00ke")
	s.equal("another key", false, s.do(prefix)[0].(store.Pushed).Duplicate)
	late := p
	late.Content, late.Now, late.KeyExpires = content(`"late"`), noon+hour+1, noon+2*hour
	s.equal("after its time", false, s.do(late)[0].(store.Pushed).Duplicate)
	late.Content = content(`"later"`)
	s.reopen()
	s.equal("the new one holds", true, s.do(late)[0].(store.Pushed).Duplicate)
	s.equal("alice has", []string{"queued", "queued"}, s.outcomes("alice"))

	b := store.Broadcast{Content: content(`"all"`), Now: noon, Key: []byte("all"), Digest: []byte("d"), KeyExpires: noon + hour}
	one := s.do(b)[0].(store.Broadcasted)
	b.Content = another(b.Content)
	two := s.do(b)[0].(store.Broadcasted)
	s.equal("a broadcast again", store.Broadcasted{ID: one.ID, Duplicate: true, Audience: 3}, two)
}

func testPushAgain(s *subject) {
	c := capped("promo", "inbox", 1, "day")
	s.equal("the first", []string{"queued"}, rowOutcomes(s.push(c, noon, "alice")))
	s.equal("another is too much", []string{"capped/cap"}, rowOutcomes(s.push(another(c), noon, "alice")))
	// What the repeat says of the message does not matter.
	changed := c
	changed.Data, changed.Event = []byte(`"changed"`), "changed"
	got := s.do(store.Push{Content: changed, To: to("bob", "alice", "bob"), Now: noon + 1})[0].(store.Pushed)
	s.equal("the message", c, *got.Content)
	s.equal("rows", []string{"queued", "queued", "queued"}, rowOutcomes(got.Rows))
	s.equal("again", []bool{false, true, true}, []bool{got.Rows[0].Again, got.Rows[1].Again, got.Rows[2].Again})
	s.equal("totals", store.Totals{Queued: 2}, s.totals(c.ID))
	// By number, in any order, with many that have it between those that do not.
	var recipients []store.Recipient
	for k := range 300 {
		recipients = append(recipients, store.Recipient{User: fmt.Sprintf("user-%03d", k)})
	}
	numbers := s.do(store.Push{Content: content("1"), To: recipients, Now: noon})[0].(store.Pushed).Rows
	for k, r := range numbers {
		recipients[k].N = r.N
	}
	m := content("2")
	s.do(store.Push{Content: m, To: recipients[10:290], Now: noon})
	ends := append(slices.Clone(recipients[:11]), recipients[289:]...)
	slices.Reverse(ends)
	fresh := 0
	for _, r := range s.do(store.Push{Content: m, To: ends, Now: noon})[0].(store.Pushed).Rows {
		if r.Seq != 2 {
			s.Errorf("got %+v", r)
		}
		if !r.Again {
			fresh++
		}
	}
	s.equal("new ones", 20, fresh)
	s.equal("totals", store.Totals{Queued: 300}, s.totals(m.ID))
	// A message to everybody is not for some.
	b := content("3")
	s.do(store.Broadcast{Content: b, Now: noon})
	s.refuses(store.ErrConflict, store.Push{Content: b, To: to("alice"), Now: noon})
	s.refuses(store.ErrConflict, store.Broadcast{Content: m, Now: noon})
	s.equal("a broadcast again", int64(302), s.do(store.Broadcast{Content: b, Now: noon})[0].(store.Broadcasted).Audience)
}

func testPushSteps(s *subject) {
	put := s.do(store.PutCampaign{Campaign: store.Campaign{ID: "run", State: "running", Plan: []byte("{}"), Created: noon}})[0].(store.CampaignPut)
	c := content("1")
	c.Campaign = "run"
	step := func(version uint64, from, to string, users ...string) store.Push {
		p := store.Push{Content: c, Now: noon, Step: &store.Step{Campaign: "run", Version: version, From: from, To: to}}
		for _, u := range users {
			p.To = append(p.To, store.Recipient{User: u})
		}
		return p
	}
	s.do(step(put.Version, "", "b", "alice", "bob"))
	for _, bad := range []store.Push{step(put.Version, "", "b", "dave"), step(put.Version+1, "b", "d", "dave"), step(0, "b", "d", "dave")} {
		s.refuses(store.ErrConflict, bad)
	}
	elsewhere := step(put.Version, "b", "d", "dave")
	elsewhere.Step.Campaign = "other"
	s.refuses(store.ErrConflict, elsewhere)
	broadcast := store.Broadcast{Content: content("2"), Now: noon, Step: &store.Step{Campaign: "run", Version: put.Version, From: "x", To: "d"}}
	s.refuses(store.ErrConflict, broadcast)
	s.equal("nothing was written", []any{store.Inbox{}, store.PushedMessage{}}, []any{s.box("dave"), s.pushed(broadcast.ID)})
	s.do(step(put.Version, "b", "c", "bob", "carol"))
	s.reopen()
	campaign, err := s.store.Campaign(s.Context(), "run")
	if err != nil || campaign.Cursor != "c" || campaign.Version != put.Version {
		s.Errorf("the campaign is %+v, %v", campaign, err)
	}
	s.equal("totals", store.Totals{Queued: 3}, s.totals(c.ID))
	broadcast.Step.From = "c"
	s.do(broadcast)
	s.refuses(store.ErrConflict, broadcast)
	// Of many that take the same step, one does.
	var wait sync.WaitGroup
	errs := make([]error, 16)
	for k := range errs {
		wait.Go(func() {
			_, errs[k] = s.store.Do(s.Context(), step(put.Version, "d", "e", fmt.Sprint("racer ", k)))
		})
	}
	wait.Wait()
	took := 0
	for _, err := range errs {
		if err == nil {
			took++
		} else {
			s.expect("a racer", store.ErrConflict, err)
		}
	}
	s.equal("steps taken", 1, took)
	s.equal("totals", store.Totals{Queued: 4}, s.totals(c.ID))
}

func testPushDeleted(s *subject) {
	c := content("1")
	rows := s.push(c, noon, "alice", "bob", "carol")
	s.settle(store.Settlement{User: "alice", Seq: 1, State: store.Delivered, Time: noon}, store.Settlement{User: "bob", Seq: 1, State: store.Sent, Time: noon})
	s.do(store.DeleteUsers{Users: []string{"alice", "bob"}, Time: noon})
	s.equal("totals", store.Totals{Queued: 1, Delivered: 1, Failed: 1}, s.totals(c.ID))
	got := s.do(store.Push{Content: content("2"), To: []store.Recipient{{N: rows[0].N, User: "alice"}, {N: rows[2].N}, {User: "bob"}}, Now: noon})[0].(store.Pushed)
	s.equal("rows", []store.Row{
		{N: rows[0].N, User: "alice", State: store.Failed, Reason: store.ReasonDeleted}, {N: rows[2].N, User: "carol", Seq: 2, State: store.Queued},
		{N: got.Rows[2].N, User: "bob", Seq: 1, State: store.Queued},
	}, got.Rows)
	s.equal("alice is not there", store.Inbox{}, s.box("alice"))
	s.equal("totals", store.Totals{Queued: 2}, s.totals(got.ID))
	if got.Rows[2].N == rows[1].N {
		s.Error("a number was given again")
	}
}

func testPushTold(s *subject) {
	s.close()
	var mu sync.Mutex
	told := map[string][]uint64{}
	var telling int
	opened, err := s.place(store.Options{Pushed: func(list []store.Pushed) {
		mu.Lock()
		defer mu.Unlock()
		telling += len(list)
		for _, p := range list {
			for _, r := range p.Rows {
				if p.Content == nil || p.ID != p.Content.ID {
					s.Errorf("told of %+v", p)
				}
				if !r.Again {
					told[r.User] = append(told[r.User], r.Seq)
				}
			}
		}
	}})
	if err != nil {
		s.Fatal(err)
	}
	s.store, s.told = opened, newRecorder()
	const pushers, each = 16, 10
	var wait sync.WaitGroup
	for p := range pushers {
		wait.Go(func() {
			for k := range each {
				push := store.Push{Content: content("1"), To: to("alice", fmt.Sprint("user ", k)), Now: noon}
				if p%4 == 0 {
					slices.Reverse(push.To)
				}
				if _, err := s.store.Do(s.Context(), push); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wait.Wait()
	mu.Lock()
	defer mu.Unlock()
	s.equal("pushes", pushers*each, telling)
	s.equal("alice", between(1, pushers*each), told["alice"])
	for k := range each {
		s.equal("others", between(1, pushers), told[fmt.Sprint("user ", k)])
	}
}
