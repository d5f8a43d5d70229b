package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/skein-realtime/skein/store"
)

func (s *subject) deny(d store.Denial) store.DenialPut {
	s.Helper()
	return s.do(store.PutDenial{Denial: d})[0].(store.DenialPut)
}

func (s *subject) denials(after uint64, limit int) []store.Denial {
	s.Helper()
	return must1(s, func(after uint64) ([]store.Denial, error) { return s.store.Denials(s.Context(), after, limit) }, after)
}

func (s *subject) lastSeen(users ...string) []store.Seen {
	s.Helper()
	return must1(s, func(users []string) ([]store.Seen, error) { return s.store.LastSeen(s.Context(), users...) }, users)
}

func testDenials(s *subject) {
	// Who is the same, and who another: user, device, token, and whether it is about
	// tokens of before a time.
	who := []store.Denial{
		{User: "eve"}, {User: "Eve"}, {User: "eve", Device: "d"}, {Device: "d"}, {Device: "eve"}, {Token: "eve"}, {User: "eve", Token: "t"},
		{User: "eve", Before: noon - 5}, {Token: "t\x00\xff", Before: 1}, {User: "ev", Device: "ed"},
	}
	var want []store.Denial
	last := uint64(0)
	for i, d := range who {
		d.Time, d.Reason, d.Expires, d.Seq = noon+int64(i), fmt.Sprint("because \x00", i), noon+1000, 7
		got := s.deny(d)
		if got.Was || got.Seq <= last {
			s.Errorf("%+v gave %+v", d, got)
		}
		last, d.Seq = got.Seq, got.Seq
		want = append(want, d)
	}
	for _, round := range []string{"as they were put", "after a restart"} {
		s.equal(round, want, s.denials(0, 100))
		s.equal(round, want[3:5], s.denials(want[2].Seq, 2))
		if got := s.denials(last, 100); len(got) > 0 {
			s.Errorf("%s: after the last come %v", round, got)
		}
		if got := s.denials(1<<64-1, 100); len(got) > 0 {
			s.Errorf("%s: after all come %v", round, got)
		}
		s.reopen()
	}
	// A change makes it the newest; another time before which is a change.
	for _, i := range []int{2, 7} {
		d := who[i]
		if d.Before > 0 {
			d.Before = noon
		}
		d.Time, d.Lifted = noon+50, true
		got := s.deny(d)
		if !got.Was || got.Seq <= last {
			s.Errorf("%+v gave %+v", d, got)
		}
		last, d.Seq = got.Seq, got.Seq
		want = append(want, d)
	}
	want = append(append(append([]store.Denial{}, want[:2]...), want[3:7]...), want[8:]...)
	s.equal("after the changes", want, s.denials(0, 100))
	for _, tt := range []struct {
		what string
		d    store.Denial
		was  bool
	}{
		{"the first", store.Denial{User: "x", Time: 100, Expires: 200}, false},
		{"just before its end", store.Denial{User: "x", Time: 199, Expires: 300}, true},
		{"at its end", store.Denial{User: "x", Time: 300, Expires: 400, Lifted: true}, false},
		{"lifted", store.Denial{User: "x", Time: 310}, false},
		{"for ever", store.Denial{User: "x", Time: noon * 2}, true},
	} {
		if got := s.deny(tt.d); got.Was != tt.was {
			s.Errorf("%s: %+v", tt.what, got)
		}
	}
}

// Who asks for what comes after the last that he knows, again and again while
// others write, misses nothing.
func testDenialPoller(s *subject) {
	const writers, each = 12, 40
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				group := []store.Command{store.PutDenial{Denial: store.Denial{User: fmt.Sprint(w, " ", i), Time: noon}}}
				if i%3 == 0 {
					group = append(group, store.PutDenial{Denial: store.Denial{Token: fmt.Sprint(w, " ", i), Time: noon}})
				}
				if _, err := s.store.Do(context.Background(), group...); err != nil {
					s.Error(err)
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { wait.Wait(); close(ended) }()
	known := map[string]bool{}
	after, over := uint64(0), false
	for {
		select {
		case <-ended:
			over = true
		default:
		}
		page := s.denials(after, 7)
		for _, d := range page {
			if name := d.User + "/" + d.Token; d.Seq <= after || known[name] {
				s.Errorf("%q has the seq %d and comes after %d", name, d.Seq, after)
			} else {
				known[name] = true
			}
			after = d.Seq
		}
		if over && len(page) == 0 {
			break
		}
	}
	if want := writers * (each + (each+2)/3); len(known) != want {
		s.Errorf("%d of %d were told", len(known), want)
	}
}

func testTrimDenials(s *subject) {
	for i := range int64(20) {
		s.deny(store.Denial{User: fmt.Sprint(i), Time: noon, Expires: noon + i*1000, Lifted: i%2 == 0})
	}
	s.deny(store.Denial{User: "for ever", Time: 1})
	s.append(keyed("room:1", "1", "key", "content"))
	// Those that were put anew last longer.
	s.deny(store.Denial{User: "3", Time: noon, Expires: noon + time.Hour.Milliseconds()})
	if got := s.trim(noon+9_000, 3); got != (store.Trimmed{Keys: 8}) {
		s.Errorf("the first round did %+v", got)
	}
	if got := s.trim(noon+time.Hour.Milliseconds()+1, 100); got != (store.Trimmed{Keys: 13}) {
		s.Errorf("the second round did %+v", got)
	}
	left := s.denials(0, 100)
	if len(left) != 1 || left[0].User != "for ever" {
		s.Errorf("it left %+v", left)
	}
	// What was given is not given again.
	if got := s.deny(store.Denial{User: "0", Time: noon}); got.Was || got.Seq <= left[0].Seq+1 {
		s.Errorf("put anew it gave %+v", got)
	}
}

func testSeen(s *subject) {
	saw := func(list ...store.Seen) {
		s.Helper()
		s.equal("the result", store.Result(store.UsersSeen{}), s.do(store.SawUsers{Seen: list})[0])
	}
	saw(store.Seen{User: "alice", Device: "phone", Time: 100}, store.Seen{User: "bob", Time: 100}, store.Seen{User: "\x00\xff", Device: "\xff", Time: 1})
	saw(store.Seen{User: "alice", Device: "late", Time: 99}, store.Seen{User: "bob", Device: "tv", Time: 101})
	saw(store.Seen{User: "carol", Time: 5}, store.Seen{User: "carol", Device: "first", Time: 7}, store.Seen{User: "carol", Device: "old", Time: 6})
	for range 2 {
		s.equal("last seen", []store.Seen{
			{User: "carol", Device: "first", Time: 7}, {User: "Alice"}, {User: "alice", Device: "phone", Time: 100}, {User: "\x00\xff", Device: "\xff", Time: 1},
			{User: "bob", Device: "tv", Time: 101}, {User: "alice", Device: "phone", Time: 100}, {User: ""},
		}, s.lastSeen("carol", "Alice", "alice", "\x00\xff", "bob", "alice", ""))
		s.reopen()
	}
	if got := s.lastSeen(); len(got) > 0 {
		s.Errorf("of nobody it gave %v", got)
	}
	// Many at once, in any order: the latest stays.
	const callers, users = 12, 20
	var wait sync.WaitGroup
	for c := range callers {
		wait.Go(func() {
			for i := range users {
				user := fmt.Sprint("user ", (i*7+c*3)%users)
				seen := []store.Seen{{User: user, Device: fmt.Sprint(c), Time: int64(1000 + c)}, {User: fmt.Sprint("user ", (i+c)%users), Device: "old", Time: 1}}
				if _, err := s.store.Do(context.Background(), store.SawUsers{Seen: seen}, store.PutDenial{Denial: store.Denial{User: user, Time: noon}}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for i := range users {
		user := fmt.Sprint("user ", i)
		s.equal(user, []store.Seen{{User: user, Device: fmt.Sprint(callers - 1), Time: 1000 + callers - 1}}, s.lastSeen(user))
	}
}
