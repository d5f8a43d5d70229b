package storetest

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/skein-realtime/skein/store"
)

func testAdmit(s *subject) {
	s.fill("team:1", 5)
	got := s.admit(store.Admit{Channel: "team:1", Users: []string{"bob", "ann", "bob"}, Time: noon + 1})
	s.equal("the first", store.Admitted{Users: []string{"bob", "ann"}, Count: 2, Head: 5}, got)
	s.fill("team:1", 2)
	got = s.admit(store.Admit{Channel: "team:1", Users: []string{"eve", "ann"}, Role: store.RoleAdmin, FromStart: true, Time: noon + 2})
	s.equal("one more", store.Admitted{Users: []string{"eve"}, Count: 3, Head: 7}, got)
	s.equal("all", []store.RosterMember{
		{User: "ann", Since: noon + 1, Role: store.RoleMember, Hidden: 5, Delivered: 5, Read: 5}, {User: "bob", Since: noon + 1, Role: store.RoleMember, Hidden: 5, Delivered: 5, Read: 5},
		{User: "eve", Since: noon + 2, Role: store.RoleAdmin, Delivered: 7, Read: 7},
	}, s.roster("team:1"))
	s.equal("nobody new", store.Admitted{Count: 3, Head: 7}, s.admit(store.Admit{Channel: "team:1", Users: []string{"bob"}, Role: store.RoleReader, Most: 2}))
	s.equal("nobody at all", store.Admitted{Head: 0}, s.admit(store.Admit{Channel: "team:2"}))
	s.equal("no roster", uint64(0), s.version("team:2"))
	// The bound.
	s.refuses(store.ErrTooLarge, store.Admit{Channel: "team:1", Users: []string{"x", "y", "ann"}, Most: 4, Time: noon})
	s.equal("up to the bound", int64(4), s.admit(store.Admit{Channel: "team:1", Users: []string{"x", "ann"}, Most: 4}).Count)
	s.refuses(store.ErrTooLarge, store.Admit{Channel: "team:1", Users: []string{"y"}, Most: 4, Time: noon})
	s.refuses(store.ErrTooLarge, store.Admit{Channel: "team:3", By: "o", Users: []string{"x", "y"}, Create: &store.GroupSettings{}, Most: 2, Time: noon})
	s.equal("it was not made", 0, len(s.roster("team:3")))
	// A message of the same moment is counted in.
	s.append(message("team:4", "1"))
	s.equal("its head", uint64(1), s.admit(store.Admit{Channel: "team:4", Users: []string{"x"}}).Head)
	// Owners are made otherwise.
	s.refuses(store.ErrDenied, store.Admit{Channel: "team:1", Users: []string{"z"}, Role: store.RoleOwner, Time: noon})
	// Memberships that are added the old way have nothing hidden, and nothing read.
	s.join("team:1", "old")
	s.equal("the old way", store.RosterMember{User: "old", Since: noon, Role: store.RoleMember}, s.member("team:1", "old"))
	// Many.
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf("user %04d", i))
	}
	s.equal("many", int64(5000), s.admit(store.Admit{Channel: "team:5", Users: many, Most: 5000}).Count)
	s.equal("all of them", 5000, len(s.roster("team:5")))
}

func testAdmitRights(s *subject) {
	const channel = "team:1"
	s.group(channel)
	s.do(store.BlockPeer{User: "shy", Peer: "admin", Blocked: true, Time: noon})
	n := 0
	for _, tt := range []struct {
		by   string
		join store.JoinRule
		role store.Role
		want error
	}{
		{"", store.JoinAdmins, store.RoleAdmin, nil},
		{"owner", store.JoinAdmins, store.RoleAdmin, nil},
		{"admin", store.JoinAdmins, store.RoleAdmin, store.ErrDenied},
		{"admin", store.JoinAdmins, store.RoleMember, nil},
		{"admin", store.JoinAdmins, 0, nil},
		{"member", store.JoinAdmins, store.RoleReader, store.ErrDenied},
		{"member", store.JoinMembers, store.RoleMember, nil},
		{"member", store.JoinMembers, store.RoleReader, nil},
		{"member", store.JoinMembers, store.RoleAdmin, store.ErrDenied},
		{"member", store.JoinOpen, store.RoleMember, nil},
		{"reader", store.JoinMembers, store.RoleReader, store.ErrDenied},
		{"reader", store.JoinOpen, store.RoleReader, store.ErrDenied},
		{"stranger", store.JoinOpen, store.RoleMember, store.ErrDenied},
		{"owner", store.JoinOpen, store.RoleOwner, store.ErrDenied},
	} {
		s.do(store.PutGroup{Channel: channel, Join: tt.join, Time: noon})
		n++
		_, err := s.store.Do(s.Context(), store.Admit{Channel: channel, Users: []string{fmt.Sprint("user ", n)}, Role: tt.role, By: tt.by, Time: noon})
		s.expect(fmt.Sprintf("%+v", tt), tt.want, err)
	}
	// Who comes by himself.
	self := store.Admit{Channel: channel, Users: []string{"self"}, By: "self", Time: noon}
	for _, rule := range []store.JoinRule{store.JoinAdmins, store.JoinMembers} {
		s.do(store.PutGroup{Channel: channel, Join: rule, Time: noon})
		s.refuses(store.ErrDenied, self)
	}
	s.refuses(store.ErrDenied, store.Admit{Channel: "team:none", Users: []string{"self"}, By: "self", Time: noon})
	s.do(store.PutGroup{Channel: channel, Join: store.JoinOpen, Time: noon})
	two := self
	two.Users = []string{"self", "friend"}
	s.refuses(store.ErrDenied, two)
	high := self
	high.Role = store.RoleAdmin
	s.refuses(store.ErrDenied, high)
	s.equal("by himself", []string{"self"}, s.admit(self).Users)
	s.equal("again", 0, len(s.admit(self).Users))
	// Who has blocked the one who brings him in stays out; a member stays one.
	got := s.admit(store.Admit{Channel: channel, Users: []string{"shy", "bold", "member"}, By: "admin"})
	s.equal("refused", [][]string{{"bold"}, {"shy"}}, [][]string{got.Users, got.Refused})
	s.equal("another may", []string{"shy"}, s.admit(store.Admit{Channel: channel, Users: []string{"shy"}, By: "owner"}).Users)
	s.equal("is one already", 0, len(s.admit(store.Admit{Channel: channel, Users: []string{"shy"}, By: "admin"}).Refused))
	// Channels without settings go by the strictest rule.
	s.join("room:1", "ann")
	s.refuses(store.ErrDenied, store.Admit{Channel: "room:1", Users: []string{"bob"}, By: "ann", Time: noon})
}

func testCreate(s *subject) {
	s.fill("team:1", 3)
	s.do(store.BlockPeer{User: "shy", Peer: "ann", Blocked: true, Time: noon})
	c := store.Admit{Channel: "team:1", Users: []string{"bob", "shy", "ann", "bob"}, By: "ann", Create: &store.GroupSettings{Data: []byte(`{"title":"Us"}`), Join: store.JoinMembers}}
	s.equal("created", store.Admitted{Users: []string{"ann", "bob"}, Refused: []string{"shy"}, Count: 2, Head: 3}, s.admit(c))
	s.equal("roles", "ann:owner bob:member", s.roles("team:1"))
	group := func(channel string) *store.GroupSettings {
		g, err := s.store.Group(s.Context(), channel)
		return must(s, g, err)
	}
	s.equal("settings", c.Create, group("team:1"))
	c.Time = noon
	s.refuses(store.ErrConflict, c)
	c.By = ""
	s.refuses(store.ErrConflict, c)
	s.equal("as before", "ann:owner bob:member", s.roles("team:1"))
	// A channel with members is there, and so is one with settings.
	s.join("team:2", "bob")
	c.Channel = "team:2"
	s.refuses(store.ErrConflict, c)
	s.do(store.PutGroup{Channel: "team:3", Time: noon})
	c.Channel = "team:3"
	s.refuses(store.ErrConflict, c)
	// By the server there is no owner, and what is not said is as it should be.
	s.admit(store.Admit{Channel: "team:4", Users: []string{"bob"}, Role: store.RoleAdmin, Create: &store.GroupSettings{Data: []byte("null")}})
	s.equal("roles", "bob:admin", s.roles("team:4"))
	s.equal("settings", &store.GroupSettings{Join: store.JoinAdmins}, group("team:4"))
	s.refuses(store.ErrDenied, store.Admit{Channel: "team:5", By: "ann", Users: []string{"bob"}, Role: store.RoleOwner, Create: &store.GroupSettings{}, Time: noon})
	// With the last member it ends, and can be made again; what was said stays.
	version := s.version("team:1")
	s.leave("team:1", "ann", "bob")
	s.equal("gone", (*store.GroupSettings)(nil), group("team:1"))
	s.equal("no version", uint64(0), s.version("team:1"))
	s.admit(store.Admit{Channel: "team:1", By: "bob", Create: &store.GroupSettings{}})
	if again := s.version("team:1"); again == 0 || again == version {
		s.Errorf("it had the version %d, and has %d", version, again)
	}
	s.headIs("team:1", 3, 0, 0)
	s.equal("hidden", uint64(3), s.member("team:1", "bob").Hidden)
}

func testDismiss(s *subject) {
	s.group("team:1")
	s.admit(store.Admit{Channel: "team:1", Users: []string{"a", "b", "c"}})
	for _, c := range []store.Dismiss{
		{By: "member", Users: []string{"reader"}}, {By: "reader", Users: []string{"a"}}, {By: "stranger", Users: []string{"a"}}, {By: "admin", Users: []string{"owner"}},
		{By: "admin", Users: []string{"a", "owner"}}, {By: "admin", Users: []string{"admin", "a"}}, {By: "owner", Users: []string{"owner", "a"}}, {By: "member", Users: []string{"member", "a"}}, {By: "admin", Some: 9},
	} {
		c.Channel = "team:1"
		s.refuses(store.ErrDenied, c)
	}
	s.equal("all are there", 7, len(s.roster("team:1")))
	s.equal("by an admin", store.Dismissed{Users: []string{"b", "a"}, Count: 5}, s.dismiss(store.Dismiss{Channel: "team:1", Users: []string{"b", "stranger", "a", "b"}, By: "admin"}))
	s.equal("himself", store.Dismissed{Users: []string{"c"}, Count: 4}, s.dismiss(store.Dismiss{Channel: "team:1", Users: []string{"c"}, By: "c"}))
	s.equal("once more", store.Dismissed{Count: 4}, s.dismiss(store.Dismiss{Channel: "team:1", Users: []string{"c"}, By: "c"}))
	s.equal("the admin by the owner", store.Dismissed{Users: []string{"admin"}, Count: 3}, s.dismiss(store.Dismiss{Channel: "team:1", Users: []string{"admin"}, By: "owner"}))
	s.equal("some", store.Dismissed{Users: []string{"member", "owner"}, Count: 1, Owner: "reader"}, s.dismiss(store.Dismiss{Channel: "team:1", Some: 2}))
	s.equal("the last", store.Dismissed{Users: []string{"reader"}}, s.dismiss(store.Dismiss{Channel: "team:1", Some: 2}))
	s.equal("nobody", store.Dismissed{}, s.dismiss(store.Dismiss{Channel: "team:1", Some: 2}))
	s.equal("of nothing", store.Dismissed{}, s.dismiss(store.Dismiss{Channel: "team:9", Users: []string{"a"}, By: "a"}))
	group, err := s.store.Group(s.Context(), "team:1")
	s.equal("its settings", (*store.GroupSettings)(nil), must(s, group, err))
	s.equal("groups", 0, len(s.groups("", 9)))
}

func testHeir(s *subject) {
	heirs := func(members ...store.Admit) string {
		s.Helper()
		s.admit(store.Admit{Channel: "team:1", By: "owner", Create: &store.GroupSettings{}})
		for _, m := range members {
			m.Channel = "team:1"
			s.admit(m)
		}
		r := s.dismiss(store.Dismiss{Channel: "team:1", Users: []string{"owner"}, By: "owner"})
		if r.Owner != "" && s.member("team:1", r.Owner).Role != store.RoleOwner {
			s.Errorf("%s was to be the owner, and the roles are %s", r.Owner, s.roles("team:1"))
		}
		s.dismiss(store.Dismiss{Channel: "team:1", Some: 100})
		return r.Owner
	}
	reader, member, admin := store.RoleReader, store.RoleMember, store.RoleAdmin
	s.equal("nobody", "", heirs())
	s.equal("the admin", "c", heirs(store.Admit{Users: []string{"a"}, Role: reader}, store.Admit{Users: []string{"b"}, Role: member}, store.Admit{Users: []string{"c"}, Role: admin, Time: noon + 9}))
	s.equal("the member", "b", heirs(store.Admit{Users: []string{"a"}, Role: reader}, store.Admit{Users: []string{"b"}, Role: member, Time: noon + 9}))
	s.equal("the reader", "a", heirs(store.Admit{Users: []string{"a"}, Role: reader}))
	s.equal("for longest", "b", heirs(store.Admit{Users: []string{"a"}, Time: noon + 2}, store.Admit{Users: []string{"b"}, Time: noon + 1}, store.Admit{Users: []string{"c"}, Time: noon + 3}))
	s.equal("of one time the first", "a", heirs(store.Admit{Users: []string{"c", "a", "b"}}))
	// The server takes him out: there is an heir, too. Of who was no owner there is none.
	s.group("team:2")
	s.equal("no owner", "", s.dismiss(store.Dismiss{Channel: "team:2", Users: []string{"reader"}}).Owner)
	s.equal("by the server", "admin", s.dismiss(store.Dismiss{Channel: "team:2", Users: []string{"owner"}}).Owner)
	s.equal("roles", "admin:owner member:member", s.roles("team:2"))
}

func testRoles(s *subject) {
	const channel = "team:1"
	s.group(channel)
	s.admit(store.Admit{Channel: channel, Users: []string{"second"}, Role: store.RoleAdmin})
	set := func(by, user string, role store.Role) store.SetRole {
		return store.SetRole{Channel: channel, User: user, Role: role, By: by}
	}
	for _, c := range []store.SetRole{
		set("member", "reader", store.RoleMember), set("reader", "member", store.RoleReader), set("stranger", "reader", store.RoleMember), set("admin", "second", store.RoleMember),
		set("admin", "owner", store.RoleMember), set("admin", "member", store.RoleAdmin), set("admin", "member", store.RoleOwner), set("admin", "admin", store.RoleMember),
		set("owner", "owner", store.RoleAdmin), set("owner", "owner", store.RoleOwner), set("member", "stranger", store.RoleReader),
	} {
		s.refuses(store.ErrDenied, c)
	}
	s.refuses(store.ErrNotFound, set("owner", "stranger", store.RoleMember))
	s.refuses(store.ErrNotFound, set("", "stranger", store.RoleMember))
	s.refuses(store.ErrNotFound, store.SetRole{Channel: "team:9", User: "owner", Role: store.RoleOwner})
	s.equal("as before", "admin:admin member:member owner:owner reader:reader second:admin", s.roles(channel))
	was := func(c store.SetRole) store.Role {
		s.Helper()
		return s.do(c)[0].(store.RoleSet).Was
	}
	s.equal("an admin", store.RoleReader, was(set("admin", "reader", store.RoleMember)))
	s.equal("the same", store.RoleMember, was(set("admin", "reader", store.RoleMember)))
	s.equal("the owner", store.RoleAdmin, was(set("owner", "second", store.RoleReader)))
	s.equal("passed on", store.RoleMember, was(set("owner", "member", store.RoleOwner)))
	s.equal("roles", "admin:admin member:owner owner:admin reader:member second:reader", s.roles(channel))
	s.refuses(store.ErrDenied, set("owner", "second", store.RoleOwner))
	s.equal("by the server", store.RoleReader, was(set("", "second", store.RoleOwner)))
	s.equal("roles", "admin:admin member:admin owner:admin reader:member second:owner", s.roles(channel))
	s.equal("by the server, again", store.RoleOwner, was(set("", "second", store.RoleOwner)))
	s.equal("nobody then", store.RoleOwner, was(set("", "second", store.RoleMember)))
	s.equal("one again", store.RoleMember, was(set("", "reader", store.RoleOwner)))
	s.equal("roles", "admin:admin member:admin owner:admin reader:owner second:member", s.roles(channel))
}

func testGroupSettings(s *subject) {
	const channel = "team:1"
	put := func(c store.PutGroup) store.GroupSettings {
		s.Helper()
		c.Time = noon
		if c.Channel == "" {
			c.Channel = channel
		}
		return s.do(c)[0].(store.GroupPut).GroupSettings
	}
	s.refuses(store.ErrNotFound, store.PutGroup{Channel: channel, By: "owner", Data: []byte("1"), Time: noon})
	s.group(channel)
	for _, c := range []store.PutGroup{
		{By: "member", Data: []byte("1")}, {By: "reader", Data: []byte("1")}, {By: "stranger", Data: []byte("1")}, {By: "stranger"}, {By: "admin", Join: store.JoinOpen}, {By: "admin", Data: []byte("1"), Join: store.JoinOpen},
	} {
		c.Channel, c.Time = channel, noon
		s.refuses(store.ErrDenied, c)
	}
	s.equal("by an admin", store.GroupSettings{Data: []byte(`{"title":"A"}`), Join: store.JoinAdmins}, put(store.PutGroup{By: "admin", Data: []byte(`{"title":"A"}`)}))
	s.equal("by the owner", store.GroupSettings{Data: []byte(`{"title":"A"}`), Join: store.JoinOpen}, put(store.PutGroup{By: "owner", Join: store.JoinOpen}))
	s.equal("as it is", store.GroupSettings{Data: []byte(`{"title":"A"}`), Join: store.JoinOpen}, put(store.PutGroup{By: "reader"}))
	s.equal("null", store.GroupSettings{Join: store.JoinOpen}, put(store.PutGroup{Data: []byte("null")}))
	large := []byte(`"` + strings.Repeat("x", 64<<10-2) + `"`)
	s.equal("large", store.GroupSettings{Data: large, Join: store.JoinOpen}, put(store.PutGroup{Data: large}))
	s.reopen()
	got, err := s.store.Group(s.Context(), channel)
	s.equal("after a restart", &store.GroupSettings{Data: large, Join: store.JoinOpen}, must(s, got, err))
	// The server makes one, also without members; that of others is not there.
	s.equal("made", store.GroupSettings{Join: store.JoinAdmins}, put(store.PutGroup{Channel: "team:2"}))
	s.equal("made with", store.GroupSettings{Data: []byte("7"), Join: store.JoinMembers}, put(store.PutGroup{Channel: "team:3", Data: []byte("7"), Join: store.JoinMembers}))
	s.equal("groups with members", []string{channel}, s.groups("", 9))
	// Of a channel whose members have no settings yet, who may makes them.
	s.join("team:4", "ann", "bob")
	s.do(store.SetRole{Channel: "team:4", User: "ann", Role: store.RoleOwner})
	s.refuses(store.ErrDenied, store.PutGroup{Channel: "team:4", By: "bob", Data: []byte("1"), Time: noon})
	s.equal("made by its owner", store.GroupSettings{Data: []byte("1"), Join: store.JoinMembers}, put(store.PutGroup{Channel: "team:4", By: "ann", Data: []byte("1"), Join: store.JoinMembers}))
}

func testMarks(s *subject) {
	const channel = "team:1"
	s.refuses(store.ErrNotFound, store.MarkMember{Channel: channel, User: "ann", Read: 1})
	s.join(channel, "ann", "bob")
	s.equal("nothing was said", store.MemberMarked{}, s.mark(channel, "ann", 9, 9))
	s.fill(channel, 10)
	s.equal("delivered", store.MemberMarked{Delivered: 3, Head: 10, Moved: true}, s.mark(channel, "ann", 3, 0))
	s.equal("read", store.MemberMarked{Delivered: 5, Read: 5, Head: 10, Moved: true}, s.mark(channel, "ann", 0, 5))
	s.equal("not back", store.MemberMarked{Delivered: 5, Read: 5, Head: 10}, s.mark(channel, "ann", 4, 2))
	s.equal("the one", store.MemberMarked{Delivered: 7, Read: 5, Head: 10, Moved: true}, s.mark(channel, "ann", 7, 2))
	s.equal("not beyond", store.MemberMarked{Delivered: 10, Read: 10, Head: 10, Moved: true}, s.mark(channel, "ann", 5, math.MaxUint64))
	s.equal("delivered, not beyond", store.MemberMarked{Delivered: 10, Head: 10, Moved: true}, s.mark(channel, "bob", math.MaxUint64, 0))
	version := s.version(channel)
	s.refuses(store.ErrNotFound, store.MarkMember{Channel: channel, User: "eve", Read: 1})
	s.refuses(store.ErrNotFound, store.MarkMember{Channel: channel, User: "bob", Read: 4}, store.MarkMember{Channel: channel, User: "eve", Read: 1})
	s.equal("a group is whole", uint64(0), s.member(channel, "bob").Read)
	s.equal("both", []store.Result{store.MemberMarked{Delivered: 10, Read: 4, Head: 10, Moved: true}, store.MemberMarked{Delivered: 10, Read: 6, Head: 10, Moved: true}},
		s.do(store.MarkMember{Channel: channel, User: "bob", Read: 4}, store.MarkMember{Channel: channel, User: "bob", Read: 6}))
	s.equal("the version stays", version, s.version(channel))
	// What retention took does not take the end.
	s.trim(noon, 100, store.Keep{Namespace: "team", Count: 1})
	s.fill(channel, 1)
	s.equal("behind what is gone", store.MemberMarked{Delivered: 11, Read: 11, Head: 11, Moved: true}, s.mark(channel, "bob", 0, 11))
	s.reopen()
	s.equal("after a restart", []uint64{11, 10}, []uint64{s.member(channel, "bob").Read, s.member(channel, "ann").Read})
	// Many at once, some of whom are no members.
	failures := s.atOnce(60, func(i int) error {
		user := []string{"ann", "bob", "eve"}[i%3]
		_, err := s.store.Do(s.Context(), store.MarkMember{Channel: channel, User: user, Read: 11})
		return err
	})
	for i, err := range failures {
		s.expect(fmt.Sprint("caller ", i), map[bool]error{true: store.ErrNotFound}[i%3 == 2], err)
	}
}

func testAlertLevels(s *subject) {
	s.refuses(store.ErrNotFound, store.SetAlerts{Channel: "team:1", User: "ann", Level: store.AlertAll})
	s.join("team:1", "ann")
	version := s.version("team:1")
	set := func(level store.AlertLevel) store.AlertLevel {
		return s.do(store.SetAlerts{Channel: "team:1", User: "ann", Level: level})[0].(store.AlertsSet).Was
	}
	s.equal("was", []store.AlertLevel{store.AlertDefault, store.AlertNone, store.AlertNone, store.AlertMentions}, []store.AlertLevel{set(store.AlertNone), set(store.AlertNone), set(store.AlertMentions), set(store.AlertAll)})
	s.equal("is", store.AlertAll, s.member("team:1", "ann").Alerts)
	if s.version("team:1") == version {
		s.Error("the version is the same")
	}
	s.refuses(store.ErrNotFound, store.SetAlerts{Channel: "team:1", User: "bob", Level: store.AlertAll})
}

func testBlocks(s *subject) {
	block := func(user, peer string, blocked bool) bool {
		s.Helper()
		return s.do(store.BlockPeer{User: user, Peer: peer, Blocked: blocked, Time: noon})[0].(store.PeerBlocked).Changed
	}
	s.equal("changes", []bool{true, false, true, true, true, false, true}, []bool{
		block("ann", "bob", true), block("ann", "bob", true), block("bob", "ann", true), block("ann", "eve", true), block("ann", "eve", false), block("ann", "eve", false), block("ann", "carl", true),
	})
	list, err := s.store.Blocks(s.Context(), "ann", "", 9)
	s.equal("ann's", []store.Member{{User: "bob", Since: noon}, {User: "carl", Since: noon}}, must(s, list, err))
	list, err = s.store.Blocks(s.Context(), "ann", "bob", 1)
	s.equal("a page", []store.Member{{User: "carl", Since: noon}}, must(s, list, err))
	list, err = s.store.Blocks(s.Context(), "eve", "", 9)
	s.equal("none", 0, len(must(s, list, err)))
	has, is, err := s.store.Blocking(s.Context(), "ann", "bob", "carl", "eve", "ann", "bob")
	s.equal("has", []bool{true, true, false, false, true}, must(s, has, err))
	s.equal("is", []bool{true, false, false, false, true}, is)
	has, is, err = s.store.Blocking(s.Context(), "carl", "ann")
	s.equal("carl", [][]bool{{false}, {true}}, [][]bool{must(s, has, err), is})
	// With any names.
	odd := oddNames()
	for _, n := range odd {
		block("me\x00", n, true)
	}
	all := pages(s, 7, func(after string) ([]string, error) {
		list, err := s.store.Blocks(s.Context(), "me\x00", after, 7)
		return names(list, func(m store.Member) string { return m.User }), err
	})
	s.equal("odd names", odd, all)
	// Who is forgotten has blocked nobody; that others have blocked him is theirs.
	s.putUsers(false, noon, "ann", "{}")
	s.do(store.DeleteUsers{Users: []string{"ann", "unknown"}, Time: noon})
	has, is, err = s.store.Blocking(s.Context(), "ann", "bob", "carl")
	s.equal("forgotten", [][]bool{{false, false}, {true, false}}, [][]bool{must(s, has, err), is})
	s.do(store.DeleteUsers{Users: []string{"bob"}, Time: noon})
	_, is, err = s.store.Blocking(s.Context(), "ann", "bob")
	s.equal("of whom nothing else is known", []bool{false}, must(s, is, err))
}

func testAlerts(s *subject) {
	s.group("team:1")
	say := func(alert bool) uint64 {
		a := said("team:1", "member", "1")
		a.Author.Alert = alert
		return s.append(a).Seq
	}
	for _, alert := range []bool{true, false, true, true} {
		say(alert)
	}
	s.append(message("team:1", "5"))
	key := direct("dm:ann:bob", "ann", "ann", "bob", "1")
	key.Author.Alert, key.Key, key.Expires = true, []byte("key"), noon+hour
	s.append(key)
	s.append(key) // it was noted before
	all := []store.Alert{{Channel: "dm:ann:bob", Seq: 1}, {Channel: "team:1", Seq: 1}, {Channel: "team:1", Seq: 3}, {Channel: "team:1", Seq: 4}}
	s.reopen()
	s.equal("all", all, s.alerts())
	var listed []store.Alert
	for after := (store.Alert{}); ; after = listed[len(listed)-1] {
		list, err := s.store.Alerts(s.Context(), after, 3)
		listed = append(listed, must(s, list, err)...)
		if len(list) < 3 {
			break
		}
	}
	s.equal("in pages", all, listed)
	// A message that is gone is still told of: that is for whoever reads them.
	s.recall(store.Recall{Channel: "team:1", Seq: 3})
	s.trim(noon, 100, store.Keep{Namespace: "team", Count: 1})
	s.equal("still", all, s.alerts())
	s.do(store.AlertsDone{Alerts: []store.Alert{all[2], all[0], {Channel: "team:1", Seq: 2}, {Channel: "nobody:1", Seq: 7}}})
	s.equal("the rest", []store.Alert{all[1], all[3]}, s.alerts())
	s.do(store.AlertsDone{Alerts: all}, store.AlertsDone{})
	s.equal("none", 0, len(s.alerts()))
}

func testRosterVersions(s *subject) {
	const channel = "team:1"
	seen := map[uint64]string{0: "nothing"}
	s.equal("of nothing", uint64(0), s.version(channel))
	for _, step := range []struct {
		what    string
		changes bool
		do      store.Command
	}{
		{"created", true, store.Admit{Channel: channel, By: "ann", Create: &store.GroupSettings{}, Time: noon}},
		{"admitted", true, store.Admit{Channel: channel, Users: []string{"bob"}, Time: noon}},
		{"admitted again", false, store.Admit{Channel: channel, Users: []string{"bob"}, Time: noon}},
		{"added", true, store.AddMembers{Channel: channel, Users: []string{"eve"}, Time: noon}},
		{"a role", true, store.SetRole{Channel: channel, User: "bob", Role: store.RoleAdmin}},
		{"the same role", false, store.SetRole{Channel: channel, User: "bob", Role: store.RoleAdmin}},
		{"alerts", true, store.SetAlerts{Channel: channel, User: "bob", Level: store.AlertNone}},
		{"the same alerts", false, store.SetAlerts{Channel: channel, User: "bob", Level: store.AlertNone}},
		{"settings", true, store.PutGroup{Channel: channel, Data: []byte("1"), Time: noon}},
		{"the same settings", false, store.PutGroup{Channel: channel, Data: []byte("1"), Time: noon}},
		{"a mark", false, store.MarkMember{Channel: channel, User: "bob", Read: 1}},
		{"another channel", false, store.Admit{Channel: "team:2", Users: []string{"bob"}, Time: noon}},
		{"removed", true, store.RemoveMembers{Channel: channel, Users: []string{"eve"}}},
		{"nobody removed", false, store.Dismiss{Channel: channel, Users: []string{"eve"}}},
		{"dismissed", true, store.Dismiss{Channel: channel, Users: []string{"ann"}, By: "ann"}},
	} {
		before := s.version(channel)
		s.do(step.do)
		after := s.version(channel)
		if step.changes == (after == before) {
			s.Errorf("%s: the version was %d and is %d", step.what, before, after)
		}
		if other, was := seen[after]; was && step.changes {
			s.Errorf("%s: the version %d was that of %s", step.what, after, other)
		}
		seen[after] = step.what
	}
	s.dismiss(store.Dismiss{Channel: channel, Some: 9})
	s.equal("after the last", uint64(0), s.version(channel))
	s.do(store.PutGroup{Channel: channel, Data: []byte("1"), Time: noon})
	alone := s.version(channel)
	s.reopen()
	s.join(channel, "ann")
	for _, v := range []uint64{alone, s.version(channel)} {
		if other, was := seen[v]; was {
			s.Errorf("version %d was that of %s", v, other)
		}
		seen[v] = "made anew"
	}
	list, err := s.store.RosterVersions(s.Context(), "team:3", channel, "team:2", "team:3")
	s.equal("some", []bool{false, true, true, false}, func() (is []bool) {
		for _, v := range must(s, list, err) {
			is = append(is, v > 0)
		}
		return is
	}())
}

func testRosterPages(s *subject) {
	odd := oddNames()
	s.admit(store.Admit{Channel: "team:a", Users: odd, Role: store.RoleReader})
	s.admit(store.Admit{Channel: "team:a\x00", Users: []string{"other"}})
	s.admit(store.Admit{Channel: "team:`", Users: []string{"other"}})
	for _, size := range []int{1, 7, 1000} {
		s.equal("a roster", odd, pages(s, size, func(after string) ([]string, error) {
			list, err := s.store.Roster(s.Context(), "team:a", after, size)
			return names(list, func(m store.RosterMember) string { return m.User }), err
		}))
	}
	list, err := s.store.RosterMembers(s.Context(), "team:a", "a", "nobody", "\xff", "a")
	is := func(user string) store.RosterMember {
		return store.RosterMember{User: user, Since: noon, Role: store.RoleReader}
	}
	s.equal("some", []store.RosterMember{is("a"), {}, is("\xff"), is("a")}, must(s, list, err))
	list, err = s.store.RosterMembers(s.Context(), "team:a")
	s.equal("none", 0, len(must(s, list, err)))
	for what, read := range map[string]func() error{
		"roster":        func() error { _, err := s.store.Roster(s.Context(), "team:1", "", 0); return err },
		"blocks":        func() error { _, err := s.store.Blocks(s.Context(), "u", "", 0); return err },
		"alerts":        func() error { _, err := s.store.Alerts(s.Context(), store.Alert{}, -1); return err },
		"conversations": func() error { _, err := s.store.Conversations(s.Context(), store.ConversationQuery{}); return err },
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "limit: ") {
			s.Errorf("%s without a limit: the error is %v", what, err)
		}
	}
}

func testChatRefused(s *subject) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		command store.Command
		want    string
	}{
		{store.Admit{Channel: long(1025), Time: 1}, "admit: Channel: has 1025 bytes"},
		{store.Admit{Channel: "a:1", Users: []string{"a", ""}, Time: 1}, "admit: Users[1]: has 0 bytes"},
		{store.Admit{Channel: "a:1", Users: make([]string, 10_001), Time: 1}, "admit: Users: has 10001"},
		{store.Admit{Channel: "a:1", Role: 5, Time: 1}, "admit: Role: 5 is not from 0 to 4"},
		{store.Admit{Channel: "a:1"}, "admit: Time: 0 is not from 1"},
		{store.Admit{Channel: "a:1", Most: -1, Time: 1}, "admit: Most: -1 is less than 0"},
		{store.Admit{Channel: "a:1", By: long(1025), Time: 1}, "admit: By: has 1025 bytes"},
		{store.Admit{Channel: "a:1", Create: &store.GroupSettings{Data: make([]byte, 64<<10+1)}, Time: 1}, "admit: Create.Data: has 65537 bytes"},
		{store.Admit{Channel: "a:1", Create: &store.GroupSettings{Join: 4}, Time: 1}, "admit: Create.Join: 4 is not from 0 to 3"},
		{store.Dismiss{Channel: ""}, "dismiss: Channel: has 0 bytes"},
		{store.Dismiss{Channel: "a:1", Some: 10_001}, "dismiss: Some: 10001 is not from 0 to 10000"},
		{store.Dismiss{Channel: "a:1", Some: 1, Users: []string{"a"}}, "dismiss: Some: is for when Users is empty"},
		{store.SetRole{Channel: "a:1", User: "", Role: 1}, "set role: User: has 0 bytes"},
		{store.SetRole{Channel: "a:1", User: "a"}, "set role: Role: 0 is not from 1 to 4"},
		{store.PutGroup{Channel: "a:1", Data: []byte("{"), Time: 1}, "put group: Data: is no JSON"},
		{store.PutGroup{Channel: "a:1", Data: []byte{}, Time: 1}, "put group: Data: is no JSON"},
		{store.PutGroup{Channel: "a:1", Join: 4, Time: 1}, "put group: Join: 4 is not from 0 to 3"},
		{store.MarkMember{Channel: "a:1"}, "mark member: User: has 0 bytes"},
		{store.SetAlerts{Channel: "a:1", User: "a", Level: 4}, "set alerts: Level: 4 is not from 0 to 3"},
		{store.BlockPeer{User: "a", Peer: "a", Time: 1}, "block peer: Peer: is User himself"},
		{store.BlockPeer{User: "a", Time: 1}, "block peer: Peer: has 0 bytes"},
		{store.AlertsDone{Alerts: make([]store.Alert, 1001)}, "alerts done: Alerts: has 1001"},
		{store.AlertsDone{Alerts: []store.Alert{{}}}, "alerts done: Alerts[0].Channel: has 0 bytes"},
		{store.ClearPushed{User: "a", Now: 1}, "clear pushed: Collapse: has 0 bytes"},
	} {
		_, err := s.store.Do(s.Context(), store.AddMembers{Channel: "room:1", Users: []string{"first"}, Time: noon}, tt.command)
		if err == nil || !strings.Contains(err.Error(), "command 1: "+tt.want) {
			s.Errorf("want %q, the error is %v", tt.want, err)
		}
	}
	append := func(change func(*store.Append)) store.Append {
		a := message("team:1", "1")
		change(&a)
		return a
	}
	for _, tt := range []struct {
		command store.Command
		want    string
	}{
		{store.EditMessage{Seq: 1}, "edit message: Channel: has 0 bytes"},
		{store.EditMessage{Channel: "a:1"}, "edit message: Seq: 0 is not from 1"},
		{store.EditMessage{Channel: "a:1", Seq: 1, Time: -1}, "edit message: Time: -1 is not from 0"},
		{append(func(a *store.Append) { a.Meta.Reply = 1 << 63 }), "append: Meta.Reply: 9223372036854775808 is more than"},
		{append(func(a *store.Append) { a.Meta.Mentions = make([]string, 101) }), "append: Meta.Mentions: has 101; at most 100"},
		{append(func(a *store.Append) { a.Meta.Mentions = []string{"a", ""} }), "append: Meta.Mentions[1]: has 0 bytes"},
		{append(func(a *store.Append) { a.Meta.Mentions = []string{"a", "b", "a"} }), `append: Meta.Mentions[2]: "a" was there before`},
		{append(func(a *store.Append) { a.Author = &store.Author{Direct: []string{"a"}} }), "append: Author.Direct: has 1 users; 2 are possible"},
		{append(func(a *store.Append) { a.Author = &store.Author{Direct: []string{"b", "a"}} }), `append: Author.Direct: "b" does not come before "a"`},
		{append(func(a *store.Append) { a.Author = &store.Author{Direct: []string{"", "a"}} }), "append: Author.Direct[0]: has 0 bytes"},
		{append(func(a *store.Append) { a.Author = &store.Author{User: long(1025)} }), "append: Author.User: has 1025 bytes"},
		{append(func(a *store.Append) { a.Author, a.Version = &store.Author{User: "a"}, 1 }), "append: Author: a document has none"},
	} {
		_, err := s.store.Do(s.Context(), message("room:1", "1"), tt.command)
		if err == nil || !strings.Contains(err.Error(), "command 1: "+tt.want) {
			s.Errorf("want %q, the error is %v", tt.want, err)
		}
	}
	if _, err := s.store.Do(s.Context(), store.EditMessage{Channel: "a:1", Seq: 1}, store.MarkMember{Channel: "a:1", User: "a"}); err == nil || !strings.Contains(err.Error(), "mark member: cannot be mixed with messages") {
		s.Errorf("the error is %v", err)
	}
	if got := s.users("room:1", 9); len(got) > 0 {
		s.Errorf("members are %q", got)
	}
	s.headIs("room:1", 0, 0, 0)
	// What is at the bound is taken.
	s.admit(store.Admit{Channel: long(1024), Users: []string{long(1024)}, By: strings.Repeat("y", 1024), Create: &store.GroupSettings{Data: bytes.Repeat([]byte("1"), 64<<10)}})
	s.do(store.BlockPeer{User: long(1024), Peer: strings.Repeat("y", 1024), Blocked: true, Time: noon})
	a := said(long(1024), long(1024), "1")
	a.Author.Alert = true
	s.append(a)
	s.mark(long(1024), strings.Repeat("y", 1024), 1, 1)
}
