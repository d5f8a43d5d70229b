package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/skein-realtime/skein/store"
)

// oddNames are names that a collation, a normalisation or the end of a string
// would confuse, by their bytes.
func oddNames() []string {
	names := []string{
		"\x00", "\x00\x00", " ", "%", "'", "1", "10", "2", "A", "\\", "_", "a", "a\x00", "a\x00b", "aa", "a\xff", "a\xff\xff", "b",
		"e\u0301", "é", "ß", "\xfe", "\xff", "\xff\x00", "\xff\xff", strings.Repeat("\xff", 1000), strings.Repeat("z", 1000),
	}
	slices.Sort(names)
	return names
}

func (s *subject) changeMembers(c store.Command) store.MembersChanged {
	s.Helper()
	return s.do(c)[0].(store.MembersChanged)
}

func (s *subject) join(channel string, users ...string) store.MembersChanged {
	s.Helper()
	return s.changeMembers(store.AddMembers{Channel: channel, Users: users, Time: noon})
}

func (s *subject) leave(channel string, users ...string) store.MembersChanged {
	s.Helper()
	return s.changeMembers(store.RemoveMembers{Channel: channel, Users: users})
}

// must gives what a read gave, which must have succeeded.
func must[R any](s *subject, r R, err error) R {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// users reads all members of a channel, in pages.
func (s *subject) users(channel string, page int) []string {
	s.Helper()
	return pages(s, page, func(after string) ([]string, error) {
		members, err := s.store.Members(s.Context(), channel, after, page)
		return names(members, func(m store.Member) string { return m.User }), err
	})
}

func (s *subject) channels(user string, page int) []string {
	s.Helper()
	return pages(s, page, func(after string) ([]string, error) {
		memberships, err := s.store.Memberships(s.Context(), user, after, page)
		return names(memberships, func(m store.Membership) string { return m.Channel }), err
	})
}

func (s *subject) groups(prefix string, page int) []string {
	s.Helper()
	return pages(s, page, func(after string) ([]string, error) {
		groups, err := s.store.Groups(s.Context(), prefix, after, page)
		return names(groups, func(g store.Group) string { return g.Channel }), err
	})
}

func (s *subject) scheduleNames(prefix string, page int) []string {
	s.Helper()
	return pages(s, page, func(after string) ([]string, error) {
		schedules, err := s.store.Schedules(s.Context(), prefix, after, page)
		return names(schedules, func(x store.Schedule) string { return x.Name }), err
	})
}

// pages reads a list page by page, each after the last of the one before.
func pages(s *subject, size int, read func(after string) ([]string, error)) (all []string) {
	s.Helper()
	after := ""
	for {
		page := must1(s, read, after)
		if len(page) > size {
			s.Fatalf("a page of %d has %d", size, len(page))
		}
		all = append(all, page...)
		if len(page) < size {
			return all
		}
		after = page[len(page)-1]
	}
}

func must1[A, R any](s *subject, read func(A) (R, error), a A) R {
	s.Helper()
	r, err := read(a)
	return must(s, r, err)
}

func names[E any](list []E, name func(E) string) (n []string) {
	for _, e := range list {
		n = append(n, name(e))
	}
	return n
}

// beginning gives those names that begin with prefix.
func beginning(list []string, prefix string) (kept []string) {
	for _, n := range list {
		if strings.HasPrefix(n, prefix) {
			kept = append(kept, n)
		}
	}
	return kept
}

func testMembers(s *subject) {
	type result = store.MembersChanged
	s.equal("nobody is added", result{}, s.join("room:1"))
	s.equal("the first", result{Users: []string{"bob", "alice", "carol"}, Count: 3}, s.join("room:1", "bob", "alice", "bob", "carol"))
	late := store.AddMembers{Channel: "room:1", Users: []string{"carol", "dave", "alice"}, Time: noon + 5}
	s.equal("who is new", result{Users: []string{"dave"}, Count: 4}, s.changeMembers(late))
	s.equal("nobody is new", result{Count: 4}, s.changeMembers(late))
	s.equal("another channel", result{Users: []string{"dave"}, Count: 1}, s.join("room:2", "dave"))
	for _, round := range []string{"as it was stored", "after a restart"} {
		s.equal(round, []store.Member{{User: "alice", Since: noon}, {User: "bob", Since: noon}, {User: "carol", Since: noon}, {User: "dave", Since: noon + 5}},
			must1(s, func(after string) ([]store.Member, error) { return s.store.Members(s.Context(), "room:1", after, 9) }, ""))
		s.equal(round, []store.Membership{{Channel: "room:1", Since: noon + 5}, {Channel: "room:2", Since: noon}},
			must1(s, func(after string) ([]store.Membership, error) {
				return s.store.Memberships(s.Context(), "dave", after, 9)
			}, ""))
		s.equal(round, []bool{true, false, true, true, false},
			must1(s, func(users []string) ([]bool, error) { return s.store.IsMember(s.Context(), "room:1", users...) }, []string{"dave", "Dave", "alice", "dave", ""}))
		s.equal(round, []int64{1, 0, 4, 1},
			must1(s, func(channels []string) ([]int64, error) { return s.store.MemberCounts(s.Context(), channels...) }, []string{"room:2", "room:3", "room:1", "room:2"}))
		s.equal(round, []store.Group{{Channel: "room:1", Members: 4}, {Channel: "room:2", Members: 1}},
			must1(s, func(prefix string) ([]store.Group, error) { return s.store.Groups(s.Context(), prefix, "", 9) }, "room:"))
		s.reopen()
	}
	s.equal("who was none", result{Count: 4}, s.leave("room:1", "eve", "Alice"))
	s.equal("some", result{Users: []string{"bob", "alice"}, Count: 2}, s.leave("room:1", "eve", "bob", "alice", "bob"))
	s.equal("of a channel that has none", result{}, s.leave("room:3", "alice"))
	s.equal("the last", result{Users: []string{"dave"}}, s.leave("room:2", "dave"))
	s.equal("groups", []string{"room:1"}, s.groups("", 9))
	s.join("room:1", "a", "z")
	s.equal("the first by id", result{Users: []string{"a", "carol", "dave"}, Count: 1}, s.changeMembers(store.RemoveMembers{Channel: "room:1", Some: 3}))
	s.equal("the rest", result{Users: []string{"z"}}, s.changeMembers(store.RemoveMembers{Channel: "room:1", Some: 3}))
	s.equal("nobody", result{}, s.changeMembers(store.RemoveMembers{Channel: "room:1", Some: 3}))
	if groups, list := s.groups("", 9), s.users("room:1", 9); len(groups)+len(list) > 0 {
		s.Errorf("it has the groups %q and the members %q", groups, list)
	}
	for what, read := range map[string]func() error{
		"members":     func() error { _, err := s.store.Members(s.Context(), "room:1", "", 0); return err },
		"memberships": func() error { _, err := s.store.Memberships(s.Context(), "u", "", 0); return err },
		"groups":      func() error { _, err := s.store.Groups(s.Context(), "", "", -1); return err },
		"schedules":   func() error { _, err := s.store.Schedules(s.Context(), "", "", 0); return err },
		"due":         func() error { _, err := s.store.Due(s.Context(), 0); return err },
		"denials":     func() error { _, err := s.store.Denials(s.Context(), 0, 0); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "limit: ") {
			s.Errorf("%s without a limit: the error is %v", what, err)
		}
	}
}

// Lists go by bytes, whatever they are, in pages of any size.
func testNamesInPages(s *subject) {
	odd := oddNames()
	var channels, schedules []string
	for _, n := range odd {
		channels = append(channels, "room:"+n)
		if len(n) <= 256 {
			schedules = append(schedules, n)
		}
	}
	shuffled := slices.Clone(odd)
	rand.Shuffle(len(shuffled), func(i, k int) { shuffled[i], shuffled[k] = shuffled[k], shuffled[i] })
	s.equal("in the order given", store.MembersChanged{Users: shuffled, Count: int64(len(odd))}, s.join("room:a", shuffled...))
	// What is beside must not be listed.
	s.join("room:a\x00", "other")
	s.join("room:`", "other")
	s.leave("room:`", "other")
	s.leave("room:a\x00", "other")
	for _, c := range channels {
		s.join(c, "a")
		s.join(c+"+", "a\x00x")
	}
	for _, n := range schedules {
		s.putSchedule(store.Schedule{Name: n, Plan: []byte(n), Next: noon})
	}
	var withPlus []string
	for _, c := range channels {
		withPlus = append(withPlus, c, c+"+")
	}
	slices.Sort(withPlus)
	for _, size := range []int{1, 2, 7, 1000} {
		s.equal("members", odd, s.users("room:a", size))
		s.equal("memberships", channels, s.channels("a", size))
		s.equal("groups", withPlus, s.groups("room:", size))
		for _, prefix := range []string{"", "a", "a\x00", "a\xff", "\xff", "\xff\xff", "z", "no", "\x00"} {
			s.equal("groups that begin with "+prefix, beginning(withPlus, "room:"+prefix), s.groups("room:"+prefix, size))
			s.equal("schedules that begin with "+prefix, beginning(schedules, prefix), s.scheduleNames(prefix, size))
		}
	}
	if got := s.groups("\xff", 9); len(got) > 0 {
		s.Errorf("groups beyond all are %q", got)
	}
	// After one that is before the prefix, or behind it, or is not there.
	s.equal("after one before the prefix", []store.Group{{Channel: "room:b", Members: 1}},
		must1(s, func(after string) ([]store.Group, error) { return s.store.Groups(s.Context(), "room:b", after, 1) }, "room:a"))
	if got := must1(s, func(after string) ([]store.Group, error) { return s.store.Groups(s.Context(), "room:b", after, 9) }, "room:c"); len(got) > 0 {
		s.Errorf("after one behind the prefix come %v", got)
	}
}

func testManyMembers(s *subject) {
	const many, at = 100_000, 10_000
	user := func(i int) string { return fmt.Sprintf("user-%06d", i) }
	for from := 0; from < many; from += at {
		var users []string
		for i := from; i < from+at; i++ {
			users = append(users, user(i))
		}
		if got := s.join("room:large", users...); len(got.Users) != at || got.Count != int64(from+at) {
			s.Fatalf("%d began, %d are members", len(got.Users), got.Count)
		}
	}
	s.join("room:small", user(5))
	counts := must1(s, func(c []string) ([]int64, error) { return s.store.MemberCounts(s.Context(), c...) }, []string{"room:small", "room:large"})
	s.equal("counts", []int64{1, many}, counts)
	all := s.users("room:large", 7777)
	if len(all) != many || all[0] != user(0) || all[many-1] != user(many-1) || !slices.IsSorted(all) {
		s.Errorf("%d are listed, from %q on", len(all), all[0])
	}
	s.equal("a page from the middle", []store.Member{{User: user(70_000), Since: noon}},
		must1(s, func(after string) ([]store.Member, error) {
			return s.store.Members(s.Context(), "room:large", after, 1)
		}, user(69_999)))
	s.equal("the channels of one", []string{"room:large", "room:small"}, s.channels(user(5), 1))
	if st := s.stats(); st.Members != many+1 {
		s.Errorf("%+v, want %d members", st, many+1)
	}
	left := int64(many)
	for left > 0 {
		got := s.changeMembers(store.RemoveMembers{Channel: "room:large", Some: at})
		if left -= at; got.Count != left || len(got.Users) != at {
			s.Fatalf("%d ended, %d are members, want %d", len(got.Users), got.Count, left)
		}
	}
	s.equal("groups", []string{"room:small"}, s.groups("", 9))
}

// Many add and remove the same users at once: every change is told to one, and
// the sizes are right in the end.
func testMembersCrowd(s *subject) {
	const callers, each = 24, 30
	channel := func(i int) string { return fmt.Sprintf("room:%d", i%4) }
	var mu sync.Mutex
	balance := map[string]int{} // how often a membership began less how often it ended
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for range each {
				var group []store.Command
				for range 1 + random.IntN(3) {
					var users []string
					for range 1 + random.IntN(20) {
						users = append(users, fmt.Sprintf("user-%d", random.IntN(30)))
					}
					switch c := channel(random.IntN(4)); random.IntN(5) {
					case 0, 1:
						group = append(group, store.RemoveMembers{Channel: c, Users: users})
					case 2:
						group = append(group, store.RemoveMembers{Channel: c, Some: 1 + random.IntN(5)})
					default:
						group = append(group, store.AddMembers{Channel: c, Users: users, Time: noon})
					}
				}
				results, err := s.store.Do(context.Background(), group...)
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				for k, r := range results {
					for _, u := range r.(store.MembersChanged).Users {
						switch c := group[k].(type) {
						case store.AddMembers:
							balance[c.Channel+" "+u]++
						case store.RemoveMembers:
							balance[c.Channel+" "+u]--
						}
					}
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for i := range 4 {
		list := s.users(channel(i), 1000)
		counts := must1(s, func(c string) ([]int64, error) { return s.store.MemberCounts(s.Context(), c) }, channel(i))
		if counts[0] != int64(len(list)) {
			s.Errorf("%s has %d members and says %d", channel(i), len(list), counts[0])
		}
		for k := range 30 {
			u := fmt.Sprintf("user-%d", k)
			want := 0
			if slices.Contains(list, u) {
				want = 1
			}
			if got := balance[channel(i)+" "+u]; got != want {
				s.Errorf("%s: %s began %d times more than it ended, want %d", channel(i), u, got, want)
			}
		}
	}
}

// Groups of members, schedules and denials are whole, like those of messages.
func testTableGroups(s *subject) {
	add := store.AddMembers{Channel: "room:1", Users: []string{"alice", "bob"}, Time: noon}
	put := store.PutSchedule{Schedule: store.Schedule{Name: "one", Plan: []byte("plan"), Next: noon}}
	deny := store.PutDenial{Denial: store.Denial{User: "eve", Time: noon}}
	saw := store.SawUsers{Seen: []store.Seen{{User: "eve", Time: noon}}}
	none := uint64(0)
	missing := store.DeleteSchedule{Name: "missing"}
	for i, failing := range []store.Command{missing, store.PutSchedule{Schedule: put.Schedule, If: new(uint64(7))}} {
		want := []error{store.ErrNotFound, store.ErrConflict}[i]
		s.refuses(want, failing)
		s.refuses(want, add, put, deny, saw, failing)
		s.refuses(want, failing, add, put, deny, saw)
		s.refuses(want, add, failing, add, failing, put)
	}
	if got := s.groups("", 9); len(got) > 0 {
		s.Errorf("groups are %q", got)
	}
	s.expect("the schedule", store.ErrNotFound, func() error { _, err := s.store.Schedule(s.Context(), "one"); return err }())
	if got := must1(s, func(a uint64) ([]store.Denial, error) { return s.store.Denials(s.Context(), a, 9) }, 0); len(got) > 0 {
		s.Errorf("denials are %v", got)
	}
	s.equal("who was seen", []store.Seen{{User: "eve"}}, must1(s, func(u string) ([]store.Seen, error) { return s.store.LastSeen(s.Context(), u) }, "eve"))
	// Each sees what those before it did.
	first := put
	first.If = &none
	results := s.do(add, store.RemoveMembers{Channel: "room:1", Users: []string{"bob", "carol"}}, store.AddMembers{Channel: "room:2", Users: []string{"bob"}, Time: noon},
		first, store.ClaimSchedule{Name: "one", Owner: "a", Now: noon, Until: noon + 1}, store.ClaimSchedule{Name: "one", Owner: "b", Now: noon, Until: noon + 1},
		store.DeleteSchedule{Name: "one"}, first, deny, deny)
	s.equal("removed again", store.Result(store.MembersChanged{Users: []string{"bob"}, Count: 1}), results[1])
	if a, b := results[4].(store.ScheduleClaimed), results[5].(store.ScheduleClaimed); !a.OK || b.OK || b.Schedule.Owner != "a" {
		s.Errorf("the claims gave %+v and %+v", a, b)
	}
	if a, b := results[3].(store.SchedulePut), results[7].(store.SchedulePut); !a.Created || !b.Created || a.Version >= b.Version {
		s.Errorf("the puts gave %+v and %+v", a, b)
	}
	if a, b := results[8].(store.DenialPut), results[9].(store.DenialPut); a.Was || !b.Was || a.Seq >= b.Seq {
		s.Errorf("the denials gave %+v and %+v", a, b)
	}
	// A neighbour that fails takes nothing with it.
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			group := []store.Command{store.AddMembers{Channel: "room:crowd", Users: []string{fmt.Sprint(i)}, Time: noon}}
			want := error(nil)
			if i%2 == 0 {
				group, want = append(group, missing), store.ErrNotFound
			}
			_, err := s.store.Do(context.Background(), group...)
			s.expect(fmt.Sprint("neighbour ", i), want, err)
		})
	}
	wait.Wait()
	if got := s.users("room:crowd", 100); len(got) != 10 {
		s.Errorf("members are %q", got)
	}
	if told := s.told.take(); len(told) > 0 {
		s.Errorf("it was told %+v", told)
	}
}

func testTablesRefused(s *subject) {
	long := func(n int) string { return strings.Repeat("x", n) }
	schedule := func(x store.Schedule) store.PutSchedule { return store.PutSchedule{Schedule: x} }
	denial := func(x store.Denial) store.PutDenial { return store.PutDenial{Denial: x} }
	many := make([]string, 10_001)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, tt := range []struct {
		command store.Command
		want    string
	}{
		{store.AddMembers{Users: []string{"u"}, Time: noon}, "add members: Channel: has 0 bytes; 1 to "},
		{store.AddMembers{Channel: long(1025), Time: noon}, "add members: Channel: has 1025 bytes"},
		{store.AddMembers{Channel: "room:1", Users: []string{"u", ""}, Time: noon}, "add members: Users[1]: has 0 bytes"},
		{store.AddMembers{Channel: "room:1", Users: []string{long(1025)}, Time: noon}, "add members: Users[0]: has 1025 bytes"},
		{store.AddMembers{Channel: "room:1", Users: many, Time: noon}, "add members: Users: has 10001; at most 10000"},
		{store.AddMembers{Channel: "room:1", Users: []string{"u"}}, "add members: Time: 0 is not from 1"},
		{store.RemoveMembers{Users: []string{"u"}}, "remove members: Channel: has 0 bytes"},
		{store.RemoveMembers{Channel: "room:1", Users: many}, "remove members: Users: has 10001"},
		{store.RemoveMembers{Channel: "room:1", Users: []string{""}}, "remove members: Users[0]: has 0 bytes"},
		{store.RemoveMembers{Channel: "room:1", Some: -1}, "remove members: Some: -1 is not from 0"},
		{store.RemoveMembers{Channel: "room:1", Some: 10_001}, "remove members: Some: 10001 is not from 0"},
		{store.RemoveMembers{Channel: "room:1", Some: 1, Users: []string{"u"}}, "remove members: Some: is for when Users is empty"},
		{schedule(store.Schedule{Next: noon}), "put schedule: Name: has 0 bytes; 1 to 256"},
		{schedule(store.Schedule{Name: long(257)}), "put schedule: Name: has 257 bytes"},
		{schedule(store.Schedule{Name: "a", Plan: make([]byte, 1<<20+1)}), "put schedule: Plan: has 1048577 bytes"},
		{schedule(store.Schedule{Name: "a", State: make([]byte, 64<<10+1)}), "put schedule: State: has 65537 bytes"},
		{schedule(store.Schedule{Name: "a", Next: -1}), "put schedule: Next: -1 is not from 0"},
		{store.DeleteSchedule{}, "delete schedule: Name: has 0 bytes"},
		{store.ClaimSchedule{Owner: "o", Now: 1, Until: 2}, "claim schedule: Name: has 0 bytes"},
		{store.ClaimSchedule{Name: "a", Now: 1, Until: 2}, "claim schedule: Owner: has 0 bytes"},
		{store.ClaimSchedule{Name: "a", Owner: "o", Until: 2}, "claim schedule: Now: 0 is not from 1"},
		{store.ClaimSchedule{Name: "a", Owner: "o", Now: 2, Until: 2}, "claim schedule: Until: 2 is not after Now, 2"},
		{store.FinishSchedule{}, "finish schedule: Name: has 0 bytes"},
		{store.FinishSchedule{Name: "a", State: make([]byte, 64<<10+1)}, "finish schedule: State: has 65537 bytes"},
		{store.FinishSchedule{Name: "a", Next: -1}, "finish schedule: Next: -1 is not from 0"},
		{store.FinishSchedule{Name: "a", Until: -1}, "finish schedule: Until: -1 is not from 0"},
		{denial(store.Denial{Time: noon}), "put denial: User: is empty, as are Device and Token"},
		{denial(store.Denial{User: "u"}), "put denial: Time: 0 is not from 1"},
		{denial(store.Denial{User: long(1025), Time: noon}), "put denial: User: has 1025 bytes"},
		{denial(store.Denial{Device: long(513), Time: noon}), "put denial: Device: has 513 bytes"},
		{denial(store.Denial{Token: long(1025), Time: noon}), "put denial: Token: has 1025 bytes"},
		{denial(store.Denial{User: "u", Reason: long(1025), Time: noon}), "put denial: Reason: has 1025 bytes"},
		{denial(store.Denial{User: "u", Time: noon, Before: -1}), "put denial: Before: -1 is not from 0"},
		{denial(store.Denial{User: "u", Time: noon, Expires: 1 << 48}), "put denial: Expires: 281474976710656 is not from 0"},
		{store.SawUsers{Seen: []store.Seen{{User: "u", Time: noon}, {Time: noon}}}, "saw users: Seen[1].User: has 0 bytes"},
		{store.SawUsers{Seen: []store.Seen{{User: "u"}}}, "saw users: Seen[0].Time: 0 is not from 1"},
		{store.SawUsers{Seen: []store.Seen{{User: "u", Device: long(513), Time: noon}}}, "saw users: Seen[0].Device: has 513 bytes"},
		{store.SawUsers{Seen: make([]store.Seen, 10_001)}, "saw users: Seen: has 10001; at most 10000"},
	} {
		_, err := s.store.Do(s.Context(), store.AddMembers{Channel: "room:1", Users: []string{"first"}, Time: noon}, tt.command)
		if err == nil || !strings.Contains(err.Error(), "command 1: "+tt.want) {
			s.Errorf("want %q, the error is %v", tt.want, err)
		}
	}
	for _, group := range [][]store.Command{
		{message("room:1", "1"), store.SawUsers{}}, {store.SawUsers{}, message("room:1", "1")}, {store.SawUsers{}, store.Recall{Channel: "room:1", Seq: 1}},
	} {
		if _, err := s.store.Do(s.Context(), group...); err == nil || !strings.Contains(err.Error(), "saw users: cannot be mixed with messages") {
			s.Errorf("%v: the error is %v", group, err)
		}
	}
	if got := s.users("room:1", 9); len(got) > 0 {
		s.Errorf("members are %q", got)
	}
	s.headIs("room:1", 0, 0, 0)
	// What is at the bound is taken.
	s.do(store.AddMembers{Channel: "r", Users: many[:10_000], Time: noon}, store.AddMembers{Channel: long(1024), Users: []string{long(1024)}, Time: noon},
		schedule(store.Schedule{Name: long(256), Plan: make([]byte, 1<<20), State: make([]byte, 64<<10), Next: noon}),
		store.ClaimSchedule{Name: long(256), Owner: long(1024), Now: noon, Until: noon + 1},
		denial(store.Denial{User: long(1024), Device: long(512), Token: long(1024), Reason: long(1024), Time: noon}),
		store.SawUsers{Seen: []store.Seen{{User: long(1024), Device: long(512), Time: noon}}}, store.SawUsers{})
}
