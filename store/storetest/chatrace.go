package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skein-realtime/skein/store"
)

// atOnce calls fn so many times at once and gives what each call gave.
func (s *subject) atOnce(n int, fn func(i int) error) []error {
	s.Helper()
	failures := make([]error, n)
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wait.Go(func() {
			<-start
			failures[i] = fn(i)
		})
	}
	close(start)
	wait.Wait()
	return failures
}

// ChatRaces looks at what must hold of conversations when several stores are open on the
// same data and all write: the same as for one.
func ChatRaces(t *testing.T, stores ...store.Store) {
	r := race{stores}
	t.Run("after a dismissal nobody writes", func(t *testing.T) { r.dismissed(t, "team:dismissed") })
	t.Run("two who begin at once begin once", func(t *testing.T) {
		for i := range 20 {
			r.begun(t, fmt.Sprintf("dm:ann:bob%d", i))
		}
	})
	t.Run("devices that mark at once agree", func(t *testing.T) {
		if _, err := stores[0].Do(t.Context(), store.AddMembers{Channel: "team:marked", Users: []string{"ann", "bob"}, Time: noon}); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if _, err := stores[0].Do(t.Context(), message("team:marked", "1")); err != nil {
				t.Fatal(err)
			}
		}
		r.marked(t, "team:marked")
	})
	t.Run("a group is not larger than it may be", func(t *testing.T) { r.bounded(t, "team:bounded") })
	t.Run("there is one owner at most", func(t *testing.T) {
		for i := range 10 {
			r.owned(t, fmt.Sprint("team:owned", i))
		}
	})
	t.Run("devices with one key write once", func(t *testing.T) {
		for i := range 10 {
			r.keyed(t, fmt.Sprintf("dm:keyed:bob%d", i))
		}
	})
	t.Run("all at once adds up", func(t *testing.T) { r.crowd(t, 24, 60) })
	for _, s := range stores {
		if err := s.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
			t.Error(err)
		}
	}
}

// race is stores on the same data.
type race struct{ stores []store.Store }

func (r race) of(i int) store.Store { return r.stores[i%len(r.stores)] }

func (s *subject) race() race { return race{[]store.Store{s.store}} }

func testDismissRace(s *subject) { s.race().dismissed(s.T, "team:1") }

// dismissed has 32 goroutines write as a member, who is dismissed meanwhile, five times:
// when the dismissal has returned, no message of his is stored any more.
func (r race) dismissed(t *testing.T, channel string) {
	t.Helper()
	ctx := t.Context()
	for round := range 5 {
		if _, err := r.of(0).Do(ctx, store.Admit{Channel: channel, Users: []string{"ann", "bob"}, Time: noon}); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		var stored atomic.Int64
		enough := make(chan struct{})
		for i := range 32 {
			wait.Go(func() {
				for {
					_, err := r.of(i).Do(ctx, said(channel, "ann", "1"), said(channel, "ann", "2"))
					if errors.Is(err, store.ErrDenied) {
						return
					}
					if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
					if stored.Add(1) == 100 {
						close(enough)
					}
				}
			})
		}
		<-enough
		if _, err := r.of(round).Do(ctx, store.Dismiss{Channel: channel, Users: []string{"ann"}, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		before, err := r.of(round).Heads(ctx, channel)
		if err != nil {
			t.Fatal(err)
		}
		wait.Wait()
		after, err := r.of(0).Heads(ctx, channel)
		if err != nil {
			t.Fatal(err)
		}
		if before[0].Top != after[0].Top {
			t.Errorf("round %d: %d messages came after the dismissal", round, after[0].Top-before[0].Top)
		}
	}
}

func testBeginRace(s *subject) {
	for i := range 20 {
		s.race().begun(s.T, fmt.Sprintf("dm:ann:bob%d", i))
	}
}

// begun has both users of a direct channel write first, eight times each: it begins once.
func (r race) begun(t *testing.T, channel string) {
	t.Helper()
	ctx := t.Context()
	var wait sync.WaitGroup
	var began atomic.Int64
	for i := range 16 {
		wait.Go(func() {
			a := direct(channel, []string{"ann", "bob"}[i%2], "ann", "bob", fmt.Sprint(i))
			results, err := r.of(i/2).Do(ctx, a, message(fmt.Sprint("room:", i), "1"))
			if err != nil {
				t.Errorf("%v", err)
				return
			}
			if results[0].(store.Appended).Began {
				began.Add(1)
			}
		})
	}
	wait.Wait()
	roster, err := r.of(1).Roster(ctx, channel, "", 9)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := r.of(1).MemberCounts(ctx, channel)
	if err != nil {
		t.Fatal(err)
	}
	if began.Load() != 1 || len(roster) != 2 || counts[0] != 2 || max(roster[0].Read, roster[1].Read) != 16 {
		t.Errorf("it began %d times, with %+v, of whom %d are counted", began.Load(), roster, counts[0])
	}
}

func testMarkRace(s *subject) {
	s.join("team:1", "ann", "bob")
	s.fill("team:1", 200)
	s.race().marked(s.T, "team:1")
}

// marked has devices of two users mark at once up to 200: marks never go back, and end at
// the largest.
func (r race) marked(t *testing.T, channel string) {
	t.Helper()
	ctx := t.Context()
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			var last store.MemberMarked
			user := []string{"ann", "bob"}[i%2]
			for range 40 {
				c := store.MarkMember{Channel: channel, User: user, Read: 1 + random.Uint64N(200), Delivered: 1 + random.Uint64N(200)}
				results, err := r.of(i).Do(ctx, c)
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				is := results[0].(store.MemberMarked)
				if is.Read < max(last.Read, c.Read) || is.Delivered < max(last.Delivered, c.Delivered, is.Read) || is.Head < is.Delivered {
					t.Errorf("%+v after %+v gave %+v", c, last, is)
				}
				last = is
			}
			if _, err := r.of(i).Do(ctx, store.MarkMember{Channel: channel, User: user, Read: 200}); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
	wait.Wait()
	list, err := r.of(0).RosterMembers(ctx, channel, "ann", "bob")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Read != 200 || m.Delivered != 200 {
			t.Errorf("in the end it is %+v", m)
		}
	}
}

func testMostRace(s *subject) { s.race().bounded(s.T, "team:1") }

// bounded has many bring in users, of whom few may come.
func (r race) bounded(t *testing.T, channel string) {
	t.Helper()
	ctx := t.Context()
	var wait sync.WaitGroup
	var came atomic.Int64
	for i := range 40 {
		wait.Go(func() {
			results, err := r.of(i).Do(ctx, store.Admit{Channel: channel, Users: []string{fmt.Sprint("a", i), fmt.Sprint("b", i)}, Most: 21, Time: noon})
			switch {
			case err == nil:
				came.Add(int64(len(results[0].(store.Admitted).Users)))
			case !errors.Is(err, store.ErrTooLarge):
				t.Errorf("%v", err)
			}
		})
	}
	wait.Wait()
	counts, err := r.of(0).MemberCounts(ctx, channel)
	if err != nil {
		t.Fatal(err)
	}
	if counts[0] != 20 || came.Load() != 20 {
		t.Errorf("%d came, and %d are members", came.Load(), counts[0])
	}
}

func testOwnerRace(s *subject) {
	for i := range 10 {
		s.race().owned(s.T, fmt.Sprint("team:", i))
	}
}

// owned has an owner leave while he passes the ownership on, admins are dismissed, and the
// server makes owners: there is exactly one in the end.
func (r race) owned(t *testing.T, channel string) {
	t.Helper()
	ctx := t.Context()
	users := []string{"a", "b", "c", "d"}
	if _, err := r.of(0).Do(ctx, store.Admit{Channel: channel, By: "owner", Users: users, Role: store.RoleAdmin, Create: &store.GroupSettings{}, Time: noon}); err != nil {
		t.Fatal(err)
	}
	commands := []store.Command{
		store.Dismiss{Channel: channel, Users: []string{"owner"}, By: "owner"}, store.SetRole{Channel: channel, User: "b", Role: store.RoleOwner, By: "owner"},
		store.Dismiss{Channel: channel, Users: []string{"a"}, By: "owner"}, store.SetRole{Channel: channel, User: "c", Role: store.RoleOwner},
		store.SetRole{Channel: channel, User: "d", Role: store.RoleMember, By: "b"}, store.Dismiss{Channel: channel, Users: []string{"c"}, By: "c"},
		store.PutGroup{Channel: channel, By: "b", Join: store.JoinOpen, Time: noon}, store.Dismiss{Channel: channel, Users: []string{"owner"}, By: "b"},
	}
	var wait sync.WaitGroup
	for i, c := range commands {
		wait.Go(func() {
			if _, err := r.of(i).Do(ctx, c); err != nil && !errors.Is(err, store.ErrDenied) && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%+v: %v", c, err)
			}
		})
	}
	wait.Wait()
	roster, err := r.of(1).Roster(ctx, channel, "", 9)
	if err != nil {
		t.Fatal(err)
	}
	owners := 0
	for _, m := range roster {
		if m.Role == store.RoleOwner {
			owners++
		}
	}
	if owners != 1 {
		t.Errorf("%d are owners: %+v", owners, roster)
	}
}

func testSpeakKeyRace(s *subject) {
	for i := range 10 {
		s.race().keyed(s.T, fmt.Sprintf("dm:ann:bob%d", i))
	}
}

// keyed has the devices of a user write with one key: it is one message.
func (r race) keyed(t *testing.T, channel string) {
	t.Helper()
	ctx := t.Context()
	var wait sync.WaitGroup
	var fresh atomic.Int64
	for i := range 16 {
		wait.Go(func() {
			a := direct(channel, "ann", "ann", "bob", "1")
			a.Key, a.Content, a.Expires, a.Author.Alert = []byte("key"), []byte("c"), noon+hour, true
			results, err := r.of(i).Do(ctx, a)
			if err != nil {
				t.Errorf("%v", err)
				return
			}
			is := results[0].(store.Appended)
			if is.Seq != 1 || is.Began == is.Duplicate {
				t.Errorf("it is %+v", is)
			}
			if !is.Duplicate {
				fresh.Add(1)
			}
		})
	}
	wait.Wait()
	if fresh.Load() != 1 {
		t.Errorf("%d were new", fresh.Load())
	}
}

// Everything at once, in few channels: sizes, roles and marks agree in the end, which
// Check looks at.
func testChatCrowd(s *subject) { s.race().crowd(s.T, 24, 60) }

// crowd has so many callers do so many things each.
func (r race) crowd(t *testing.T, callers, each int) {
	t.Helper()
	ctx := t.Context()
	users := []string{"a", "b", "c", "d", "e", "f"}
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 11))
			user := func() string { return users[random.IntN(len(users))] }
			for range each {
				var group []store.Command
				messages := random.IntN(2) == 0
				for range 1 + random.IntN(3) {
					group = append(group, crowdCommand(random, user, messages))
				}
				_, err := r.of(i).Do(ctx, group...)
				if err != nil && !errors.Is(err, store.ErrDenied) && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrTooLarge) {
					t.Errorf("%+v: %v", group, err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func crowdCommand(random *rand.Rand, user func() string, messages bool) store.Command {
	channel := fmt.Sprint("team:", random.IntN(3))
	one, two := user(), user()
	pair := []string{min(one, two), max(one, two)}
	if messages {
		if random.IntN(2) == 0 && one != two {
			a := direct("dm:"+pair[0]+":"+pair[1], pair[random.IntN(2)], pair[0], pair[1], "1")
			a.Author.Alert = random.IntN(2) == 0
			return a
		}
		if random.IntN(9) == 0 {
			return store.EditMessage{Channel: channel, Seq: 1 + random.Uint64N(9), Data: []byte("1"), Time: noon}
		}
		return said(channel, one, "1")
	}
	some := slices.Compact(pair)
	switch random.IntN(10) {
	case 0, 1, 2:
		return store.Admit{Channel: channel, Users: some, Role: store.Role(random.IntN(4)), Time: noon, Most: 5}
	case 3:
		return store.Dismiss{Channel: channel, Users: some}
	case 4:
		return store.Dismiss{Channel: channel, Users: []string{one}, By: one}
	case 5:
		return store.SetRole{Channel: channel, User: one, Role: store.Role(1 + random.IntN(4))}
	case 6:
		return store.RemoveMembers{Channel: channel, Some: 1 + random.IntN(2)}
	case 7:
		if one != two {
			return store.BlockPeer{User: one, Peer: two, Blocked: random.IntN(4) == 0, Time: noon}
		}
	case 8:
		return store.SetAlerts{Channel: channel, User: one, Level: store.AlertLevel(random.IntN(4))}
	}
	return store.MarkMember{Channel: channel, User: one, Read: random.Uint64N(50), Delivered: random.Uint64N(50)}
}
