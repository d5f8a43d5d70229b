package storetest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/store"
)

// tables is the model of members and schedules: what they would be if they were
// maps. As versions may leave out numbers, a version is known when it was given.
type tables struct {
	members   map[string]map[string]int64 // by channel and user
	schedules map[string]store.Schedule
	version   uint64 // the largest so far
}

func newTables() *tables {
	return &tables{members: map[string]map[string]int64{}, schedules: map[string]store.Schedule{}}
}

func (m *tables) clone() *tables {
	c := &tables{members: map[string]map[string]int64{}, schedules: maps.Clone(m.schedules), version: m.version}
	for channel, users := range m.members {
		c.members[channel] = maps.Clone(users)
	}
	return c
}

// do gives what a command should give, and carries it out. The version comes
// from what the store gave.
func (m *tables) do(c store.Command, got store.Result) (store.Result, error) {
	switch c := c.(type) {
	case store.AddMembers:
		var changed store.MembersChanged
		for _, u := range c.Users {
			if m.members[c.Channel] == nil {
				m.members[c.Channel] = map[string]int64{}
			}
			if _, is := m.members[c.Channel][u]; !is {
				m.members[c.Channel][u] = c.Time
				changed.Users = append(changed.Users, u)
			}
		}
		changed.Count = int64(len(m.members[c.Channel]))
		return changed, nil
	case store.RemoveMembers:
		users := c.Users
		if c.Some > 0 {
			users = slices.Sorted(maps.Keys(m.members[c.Channel]))
			users = users[:min(c.Some, len(users))]
		}
		var changed store.MembersChanged
		for _, u := range users {
			if _, is := m.members[c.Channel][u]; is {
				delete(m.members[c.Channel], u)
				changed.Users = append(changed.Users, u)
			}
		}
		changed.Count = int64(len(m.members[c.Channel]))
		return changed, nil
	}
	return m.doSchedule(c, got)
}

func (m *tables) doSchedule(c store.Command, got store.Result) (store.Result, error) {
	switch c := c.(type) {
	case store.PutSchedule:
		s, is := m.schedules[c.Name]
		if c.If != nil && *c.If != s.Version {
			return nil, store.ErrConflict
		}
		r, _ := got.(store.SchedulePut)
		m.schedules[c.Name] = store.Schedule{Name: c.Name, Plan: c.Plan, State: c.State, Next: c.Next, Version: m.next(r.Version)}
		return store.SchedulePut{Version: m.version, Created: !is}, nil
	case store.DeleteSchedule:
		if _, is := m.schedules[c.Name]; !is {
			return nil, store.ErrNotFound
		}
		delete(m.schedules, c.Name)
		return store.ScheduleDeleted{}, nil
	case store.ClaimSchedule:
		s, is := m.schedules[c.Name]
		if !is || s.Next == 0 || s.Next > c.Now || s.Owner != "" && s.Until > c.Now {
			return store.ScheduleClaimed{Schedule: s}, nil
		}
		r, _ := got.(store.ScheduleClaimed)
		s.Owner, s.Until, s.Version = c.Owner, c.Until, m.next(r.Schedule.Version)
		m.schedules[c.Name] = s
		return store.ScheduleClaimed{OK: true, Schedule: s}, nil
	case store.FinishSchedule:
		s := m.schedules[c.Name]
		if s.Owner == "" || s.Version != c.Version {
			return store.ScheduleFinished{}, nil
		}
		r, _ := got.(store.ScheduleFinished)
		s.Next, s.State, s.Until, s.Version = c.Next, c.State, c.Until, m.next(r.Version)
		if c.Until == 0 {
			s.Owner = ""
		}
		m.schedules[c.Name] = s
		return store.ScheduleFinished{OK: true, Version: s.Version}, nil
	}
	return nil, fmt.Errorf("the model does not know %T", c)
}

// next is the version that was given when it is a new one, and otherwise one
// that it ought to be.
func (m *tables) next(given uint64) uint64 {
	m.version = max(m.version+1, given)
	return m.version
}

func (m *tables) due() (list []store.DueSchedule) {
	for _, s := range m.schedules {
		if s.Next != 0 {
			list = append(list, store.DueSchedule{Name: s.Name, At: max(s.Next, s.Until)})
		}
	}
	slices.SortFunc(list, func(a, b store.DueSchedule) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.Name, b.Name))
	})
	return list
}

// Few names and times, so that commands meet each other.
var (
	tableChannels  = []string{"room:a", "room:A", "room:a\x00", "room:\xff"}
	tableUsers     = []string{"a", "A", "é", "e\u0301", "\xff", "\x00"}
	tableSchedules = []string{"s", "S", "s\x00", "\xff"}
)

// drawMembers draws a command about members.
func drawMembers(t *rapid.T, _ *tables) store.Command {
	channel := rapid.SampledFrom(tableChannels).Draw(t, "channel")
	users := rapid.SliceOfN(rapid.SampledFrom(tableUsers), 0, 4).Draw(t, "users")
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		return store.RemoveMembers{Channel: channel, Some: rapid.IntRange(1, 4).Draw(t, "some")}
	case 1, 2:
		return store.RemoveMembers{Channel: channel, Users: users}
	}
	return store.AddMembers{Channel: channel, Users: users, Time: rapid.Int64Range(1, 9).Draw(t, "time")}
}

// drawSchedule draws a command about schedules. Versions are those of the model,
// or such as do not come: which are given next, a store may choose.
func drawSchedule(t *rapid.T, m *tables) store.Command {
	name, moment := rapid.SampledFrom(tableSchedules).Draw(t, "name"), rapid.Int64Range(0, 20)
	version := m.schedules[name].Version
	if rapid.IntRange(0, 3).Draw(t, "other version") == 0 {
		version = rapid.SampledFrom([]uint64{0, version - min(version, 1), version - min(version, 2), version + 1<<40}).Draw(t, "which")
	}
	state := bytes.Repeat([]byte("x"), rapid.IntRange(0, 2).Draw(t, "state"))
	if len(state) == 0 {
		state = nil
	}
	switch rapid.IntRange(0, 8).Draw(t, "what") {
	case 0:
		return store.DeleteSchedule{Name: name}
	case 1, 2, 3:
		now := moment.Draw(t, "now") + 1
		return store.ClaimSchedule{Name: name, Owner: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "owner"), Now: now, Until: now + 1 + moment.Draw(t, "until")}
	case 4, 5:
		return store.FinishSchedule{Name: name, Version: version, Next: moment.Draw(t, "next"), State: state, Until: moment.Draw(t, "until")}
	}
	c := store.PutSchedule{Schedule: store.Schedule{Name: name, Plan: state, State: state, Next: moment.Draw(t, "next"), Version: 3, Owner: "x", Until: 5}}
	if rapid.Bool().Draw(t, "if") {
		c.If = &version
	}
	return c
}

// tablesLikeTheirModel: whatever is done with members, or with schedules, the
// store gives what the model gives.
func tablesLikeTheirModel(draw func(*rapid.T, *tables) store.Command, look func(*rapid.T, *tables, store.Store)) func(t *testing.T, empty func() Opener) {
	return func(t *testing.T, empty func() Opener) {
		s, err := empty()(store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		rapid.Check(t, func(t *rapid.T) {
			wipe(t, s)
			m := newTables()
			t.Repeat(map[string]func(*rapid.T){
				"do": func(t *rapid.T) { m = m.checkDo(t, s, draw) },
				"":   func(t *rapid.T) { look(t, m, s) },
			})
			if err := s.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// wipe leaves nothing of the round before.
func wipe(t *rapid.T, s store.Store) {
	var group []store.Command
	for _, c := range tableChannels {
		group = append(group, store.RemoveMembers{Channel: c, Some: 1000})
	}
	schedules, err := s.Schedules(t.Context(), "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range schedules {
		group = append(group, store.DeleteSchedule{Name: x.Name})
	}
	if _, err := s.Do(t.Context(), group...); err != nil {
		t.Fatal(err)
	}
}

// checkDo carries out a group, and gives the model after it.
func (m *tables) checkDo(t *rapid.T, s store.Store, draw func(*rapid.T, *tables) store.Command) *tables {
	var group []store.Command
	for range rapid.IntRange(1, 4).Draw(t, "commands") {
		group = append(group, draw(t, m))
	}
	got, err := s.Do(t.Context(), group...)
	after := m.clone()
	var want []store.Result
	for i, c := range group {
		var given store.Result
		if i < len(got) {
			given = got[i]
		}
		r, failure := after.do(c, given)
		if failure != nil {
			if !errors.Is(err, failure) || got != nil {
				t.Fatalf("%+v gave %v and the error %v, want %v", group, got, err, failure)
			}
			// A version that nobody was told may be given to another change.
			return m
		}
		want = append(want, r)
	}
	if err != nil {
		t.Fatalf("%+v gave the error %v", group, err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", group, diff)
	}
	return after
}

// compare gives what tells where a read differs from the model.
func compare(t *rapid.T) func(what string, want, got any, err error) {
	return func(what string, want, got any, err error) {
		if diff := gocmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
}

// checkMembers reads all sizes, and the rest of one channel and one user.
func checkMembers(t *rapid.T, m *tables, s store.Store) {
	same := compare(t)
	var groups []store.Group
	var memberships []store.Membership
	counts, channels := make([]int64, len(tableChannels)), slices.Sorted(slices.Values(tableChannels))
	user := rapid.SampledFrom(tableUsers).Draw(t, "user")
	for i, c := range channels {
		if counts[i] = int64(len(m.members[c])); counts[i] > 0 {
			groups = append(groups, store.Group{Channel: c, Members: counts[i]})
		}
		if since, is := m.members[c][user]; is {
			memberships = append(memberships, store.Membership{Channel: c, Since: since})
		}
	}
	numbers, err := s.MemberCounts(t.Context(), channels...)
	same("counts", counts, numbers, err)
	all, err := s.Groups(t.Context(), "", "", 100)
	same("groups", groups, all, err)
	of, err := s.Memberships(t.Context(), user, "", 100)
	same("memberships", memberships, of, err)

	channel := rapid.SampledFrom(tableChannels).Draw(t, "look at")
	var members []store.Member
	is := make([]bool, len(tableUsers))
	for _, u := range slices.Sorted(maps.Keys(m.members[channel])) {
		members = append(members, store.Member{User: u, Since: m.members[channel][u]})
		is[slices.Index(tableUsers, u)] = true
	}
	got, err := s.Members(t.Context(), channel, "", 100)
	same("members", members, got, err)
	are, err := s.IsMember(t.Context(), channel, tableUsers...)
	same("is member", is, are, err)
}

func checkSchedules(t *rapid.T, m *tables, s store.Store) {
	same := compare(t)
	var schedules []store.Schedule
	for _, n := range slices.Sorted(maps.Keys(m.schedules)) {
		schedules = append(schedules, m.schedules[n])
	}
	list, err := s.Schedules(t.Context(), "", "", 100)
	same("schedules", schedules, list, err)
	limit := rapid.IntRange(1, 5).Draw(t, "limit")
	want := m.due()
	due, err := s.Due(t.Context(), limit)
	same("due", want[:min(limit, len(want))], due, err)
}
