package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/skein-realtime/skein/store"
)

// together has n goroutines begin at the same time, and waits for them.
func (s *subject) together(n int, do func(k int)) {
	s.Helper()
	var wait sync.WaitGroup
	begin := make(chan struct{})
	for k := range n {
		wait.Go(func() {
			<-begin
			do(k)
		})
	}
	close(begin)
	wait.Wait()
}

// PushTogether has several stores, which must be open on the same data of one place,
// push to the same users at the same time, and looks whether caps hold and all adds
// up.
func PushTogether(t *testing.T, stores ...store.Store) {
	s := &subject{T: t, store: stores[0]}
	pushRace(s, stores)
	recallRace(s, stores)
	pushCrowd(s, stores)
	if err := s.store.Check(t.Context(), func(problem string) { t.Errorf("check: %s", problem) }); err != nil {
		t.Error(err)
	}
}

func testPushRace(s *subject)   { pushRace(s, []store.Store{s.store}) }
func testRecallRace(s *subject) { recallRace(s, []store.Store{s.store}) }
func testPushCrowd(s *subject)  { pushCrowd(s, []store.Store{s.store}) }

func pushRace(s *subject, stores []store.Store) {
	const pushers, max = 64, 5
	var mu sync.Mutex
	got := map[store.State]int{}
	s.together(pushers, func(k int) {
		c := capped("promo", "", max, "day")
		results, err := stores[k%len(stores)].Do(context.Background(), store.Push{Content: c, To: to("alice", fmt.Sprint("other ", k%7)), Now: noon + int64(k)})
		if err != nil {
			s.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got[results[0].(store.Pushed).Rows[0].State]++
	})
	s.equal("of all", map[store.State]int{store.Queued: max, store.Capped: pushers - max}, got)
	s.equal("counted", max, s.counted("alice", "promo"))
	s.equal("open", int64(max), s.box("alice").Open)
	// The same for those who come at the same time, after a day on which all was full.
	results := s.crowd(16, func(int) store.Command { return store.Collect{User: "alice", Now: noon + day + hour, Limit: 100} })
	for _, r := range results {
		s.equal("messages", max, len(r.(store.Collected).Messages))
	}
	s.equal("counted", max, s.counted("alice", "promo"))
}

// What is pushed while it is withdrawn, or expires, is withdrawn or has expired.
func recallRace(s *subject, stores []store.Store) {
	for round := range 6 {
		c := content("1")
		c.Expires = noon + day
		s.push(c, noon, "first")
		s.together(9, func(k int) {
			if k == 4 {
				var end store.Command = store.RecallPush{ID: c.ID, Now: noon, Limit: 3}
				if round%2 == 1 {
					end = store.Expire{Now: noon + day, Limit: 3}
				}
				for {
					results, err := stores[round/2%len(stores)].Do(context.Background(), end)
					if err != nil {
						s.Error(err)
						return
					}
					if !results[0].(store.Ended).More {
						return
					}
				}
			}
			var recipients []store.Recipient
			for n := range 10 {
				recipients = append(recipients, store.Recipient{User: fmt.Sprint("user ", k*10+n)})
			}
			if _, err := stores[k%len(stores)].Do(context.Background(), store.Push{Content: c, To: recipients, Now: noon}); err != nil {
				s.Error(err)
			}
		})
		t := s.totals(c.ID)
		s.equal("open", []int64{0, 0, 81}, []int64{t.Queued, t.Sent, t.Expired + t.Recalled})
	}
}

// Everything at once: whatever comes of it, the sums are right.
func pushCrowd(s *subject, stores []store.Store) {
	const users, workers, each = 12, 12, 25
	name := func(n int) string { return fmt.Sprint("user ", n%users) }
	shared := content("shared")
	shared.Expires = noon + day
	var mu sync.Mutex
	ids := []string{shared.ID}
	var all []string
	for n := range users {
		all = append(all, name(n))
	}
	s.push(shared, noon, all...)
	s.together(workers, func(k int) {
		for n := range each {
			var c store.Command
			at := noon + int64(n)*minute
			switch x := k*31 + n*7; x % 9 {
			case 0, 1:
				p := store.Push{Content: capped("promo", []string{"inbox", "defer", "drop"}[x%3], 3, "90m"), To: to(name(x), name(x+1), name(x+5)), Now: at, Keep: 20}
				p.Collapse = []string{"", "key"}[x%2]
				mu.Lock()
				ids = append(ids, p.ID)
				mu.Unlock()
				c = p
			case 2:
				p := store.Broadcast{Content: capped("promo", "inbox", 3, "90m"), Now: at}
				mu.Lock()
				ids = append(ids, p.ID)
				mu.Unlock()
				c = p
			case 3, 4:
				c = store.Collect{User: name(x), Now: at, Limit: 10}
			case 5:
				c = store.Settle{Now: at, Settlements: []store.Settlement{
					{User: name(x), UpTo: true, Seq: uint64(n) + 1, State: store.Sent, Time: at}, {User: name(x + 3), UpTo: true, Seq: uint64(n) + 1, State: store.Delivered, Time: at},
				}}
			case 6:
				c = store.MarkRead{User: name(x), Seq: uint64(n / 2), Now: at}
			case 7:
				c = store.Wake{Now: at, Limit: 5}
			case 8:
				mu.Lock()
				id := ids[x%len(ids)]
				mu.Unlock()
				c = store.RecallPush{ID: id, Now: at, Limit: 5}
			}
			// A message may be withdrawn before it was pushed.
			if _, err := stores[k%len(stores)].Do(context.Background(), c); err != nil && !errors.Is(err, store.ErrNotFound) {
				s.Errorf("%T: %v", c, err)
				return
			}
		}
	})
	for n := range users {
		s.collect(store.Collect{User: name(n), Now: noon + 2*hour})
	}
	s.addsUp(ids, all)
}

// addsUp looks whether the sums of messages and inboxes are those of their records,
// and whether each user has each message once.
func (s *subject) addsUp(ids, users []string) {
	s.Helper()
	totals, open := map[string]*store.Totals{}, map[string]int64{}
	seqs, have := map[string][]uint64{}, map[string]bool{}
	for _, r := range s.records(store.RecordQuery{Limit: 1 << 20}) {
		if totals[r.Message] == nil {
			totals[r.Message] = new(store.Totals)
		}
		addTotal(totals[r.Message], r.State, r.Read != 0)
		if r.State.Open() {
			open[r.User]++
		}
		seqs[r.User] = append(seqs[r.User], r.Seq)
		if pair := r.User + " " + r.Message; have[pair] {
			s.Errorf("%s comes twice", pair)
		} else {
			have[pair] = true
		}
	}
	for _, id := range ids {
		want := store.Totals{}
		if totals[id] != nil {
			want = *totals[id]
		}
		s.equal("totals of "+id, want, s.totals(id))
	}
	for _, user := range users {
		box := s.box(user)
		slices.Sort(seqs[user])
		s.equal("open of "+user, open[user], box.Open)
		s.equal("seqs of "+user, between(1, box.Top), append([]uint64{}, seqs[user]...))
	}
}

// addTotal counts a delivery.
func addTotal(t *store.Totals, state store.State, read bool) {
	switch state {
	case store.Queued:
		t.Queued++
	case store.Sent:
		t.Sent++
	case store.Delivered:
		t.Delivered++
	case store.Capped:
		t.Capped++
	case store.Muted:
		t.Muted++
	case store.Expired:
		t.Expired++
	case store.Withdrawn:
		t.Recalled++
	case store.Failed:
		t.Failed++
	}
	if read {
		t.Read++
	}
}
