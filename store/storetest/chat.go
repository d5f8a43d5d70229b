package storetest

import (
	"fmt"
	"strings"

	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func chatCases() []struct {
	name string
	test func(*subject)
} {
	return []struct {
		name string
		test func(*subject)
	}{
		{"what a message says beside its data comes back", testMeta},
		{"who is a member may write", testSpeak},
		{"a direct conversation begins with its first message", testDirect},
		{"nobody writes to whom he has blocked, or who has blocked him", testDirectBlocks},
		{"what is refused does nothing", testSpeakGroups},
		{"a message is edited", testEdit},
		{"an edited message is withdrawn", testEditRecalled},
		{"users are admitted", testAdmit},
		{"who may bring users in", testAdmitRights},
		{"a conversation is created once", testCreate},
		{"members are dismissed", testDismiss},
		{"an owner has an heir", testHeir},
		{"roles are given", testRoles},
		{"settings of groups are kept", testGroupSettings},
		{"marks only move on", testMarks},
		{"alert levels are kept", testAlertLevels},
		{"users block others", testBlocks},
		{"alerts wait until they are done", testAlerts},
		{"a roster has a version", testRosterVersions},
		{"a roster is read in pages", testRosterPages},
		{"conversations are listed by their newest message", testConversations},
		{"a list of conversations shows what its user may see", testConversationViews},
		{"pages of conversations", testConversationPages},
		{"conversations have names of any kind", testConversationNames},
		{"what is no command of a conversation is named", testChatRefused},
		{"conversations are there after a restart", testChatReopen},
		{"after a dismissal nobody writes", testDismissRace},
		{"two who begin at once begin once", testBeginRace},
		{"devices that mark at once agree", testMarkRace},
		{"a group is not larger than it may be", testMostRace},
		{"there is one owner at most", testOwnerRace},
		{"devices with one key write once", testSpeakKeyRace},
		{"all that is done with conversations at once adds up", testChatCrowd},
	}
}

// said is a message of a member.
func said(channel, user, data string) store.Append {
	a := message(channel, data)
	a.Sender = protocol.Sender{User: user}
	a.Author = &store.Author{User: user}
	return a
}

// direct is a message of one of two users, the smaller first.
func direct(channel, user, one, two, data string) store.Append {
	a := said(channel, user, data)
	a.Author.Direct = []string{one, two}
	return a
}

func (s *subject) admit(c store.Admit) store.Admitted {
	s.Helper()
	if c.Time == 0 {
		c.Time = noon
	}
	return s.do(c)[0].(store.Admitted)
}

func (s *subject) dismiss(c store.Dismiss) store.Dismissed {
	s.Helper()
	return s.do(c)[0].(store.Dismissed)
}

func (s *subject) mark(channel, user string, delivered, read uint64) store.MemberMarked {
	s.Helper()
	return s.do(store.MarkMember{Channel: channel, User: user, Delivered: delivered, Read: read})[0].(store.MemberMarked)
}

func (s *subject) roster(channel string) []store.RosterMember {
	s.Helper()
	list, err := s.store.Roster(s.Context(), channel, "", 10_000)
	return must(s, list, err)
}

// roles is a roster as a line.
func (s *subject) roles(channel string) string {
	s.Helper()
	var list []string
	for _, m := range s.roster(channel) {
		list = append(list, m.User+":"+[]string{"-", "reader", "member", "admin", "owner"}[m.Role])
	}
	return strings.Join(list, " ")
}

func (s *subject) member(channel, user string) store.RosterMember {
	s.Helper()
	list, err := s.store.RosterMembers(s.Context(), channel, user)
	return must(s, list, err)[0]
}

func (s *subject) version(channel string) uint64 {
	s.Helper()
	list, err := s.store.RosterVersions(s.Context(), channel)
	return must(s, list, err)[0]
}

func (s *subject) alerts() []store.Alert {
	s.Helper()
	list, err := s.store.Alerts(s.Context(), store.Alert{}, 1000)
	return must(s, list, err)
}

func (s *subject) conversations(q store.ConversationQuery) store.ConversationPage {
	s.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	if q.Namespaces == nil {
		q.Namespaces = []string{"team", "dm"}
	}
	p, err := s.store.Conversations(s.Context(), q)
	return must(s, p, err)
}

// group makes a group with an owner, an admin, a member and a reader.
func (s *subject) group(channel string) {
	s.Helper()
	s.admit(store.Admit{Channel: channel, By: "owner", Create: &store.GroupSettings{}})
	for i, u := range []string{"reader", "member", "admin"} {
		s.admit(store.Admit{Channel: channel, Users: []string{u}, Role: store.RoleReader + store.Role(i), Time: noon + int64(i)})
	}
}

func testMeta(s *subject) {
	var want []store.Message
	for _, m := range []store.Meta{
		{}, {Reply: 1}, {Reply: 1<<63 - 1}, {Mentions: []string{"bob"}}, {Mentions: []string{"*"}}, {Reply: 2, Mentions: []string{"\x00", "é", "\xff", strings.Repeat("u", 1024)}},
	} {
		for _, sender := range []protocol.Sender{{}, {User: "ann"}, {User: "a", Device: "d", Connection: "\x00text"}, message("x:1", "1").Sender} {
			a := message("team:1", "1")
			a.Meta, a.Sender = m, sender
			s.append(a)
			want = append(want, stored(a, uint64(len(want)+1)))
		}
	}
	many := message("team:1", "1")
	for i := range 100 {
		many.Meta.Mentions = append(many.Meta.Mentions, fmt.Sprint("user ", i))
	}
	s.append(many)
	want = append(want, stored(many, uint64(len(want)+1)))
	for _, c := range s.told.take() {
		s.equal("told", want[c.Message.Seq-1], *c.Message)
	}
	s.equal("read", want, s.all("team:1"))
	s.reopen()
	s.equal("after a restart", want, s.all("team:1"))
	s.recall(store.Recall{Channel: "team:1", Seq: 24})
	stub := s.all("team:1")[23]
	s.equal("a stub has lost it", store.Message{Seq: 24, ID: want[23].ID, Time: noon, Recalled: true}, stub)
}

func testSpeak(s *subject) {
	s.group("team:1")
	for i, user := range []string{"member", "admin", "owner", "member"} {
		s.equal(user, store.Appended{Epoch: s.head("team:1").Epoch, Seq: uint64(i + 1), ID: ""}, func() store.Appended {
			r := s.append(said("team:1", user, "1"))
			r.ID = ""
			return r
		}())
	}
	for _, user := range []string{"reader", "stranger", "Member", "member\x00"} {
		s.refuses(store.ErrDenied, said("team:1", user, "1"))
		s.refuses(store.ErrDenied, said("team:none", user, "1"))
	}
	s.headIs("team:1", 4, 0, 0)
	s.headIs("team:none", 0, 0, 0)
	marks := func(user string) []uint64 {
		m := s.member("team:1", user)
		return []uint64{m.Delivered, m.Read}
	}
	s.equal("who has written has read", [][]uint64{{4, 4}, {2, 2}, {3, 3}, {0, 0}}, [][]uint64{marks("member"), marks("admin"), marks("owner"), marks("reader")})
	// The server may always, and nobody's mark moves.
	server := message("team:1", "5")
	server.Author = &store.Author{}
	s.append(server)
	s.append(message("team:1", "6"))
	s.equal("still", []uint64{4, 4}, marks("member"))
	// Who left may not; a key that was used before comes first.
	key := said("team:1", "member", "7")
	key.Key, key.Content, key.Expires = []byte("key"), []byte("content"), noon+hour
	first := s.append(key)
	s.dismiss(store.Dismiss{Channel: "team:1", Users: []string{"member"}, By: "member"})
	s.refuses(store.ErrDenied, said("team:1", "member", "8"))
	first.Duplicate = true
	s.equal("the key", first, s.append(key))
	other := key
	other.Content = []byte("other")
	s.refuses(store.ErrConflict, other)
	s.equal("no roster was touched", "admin:admin owner:owner reader:reader", s.roles("team:1"))
	// Members of a channel that is no conversation may write, too.
	s.join("room:1", "ann")
	s.append(said("room:1", "ann", "1"))
	s.equal("ann", store.RosterMember{User: "ann", Since: noon, Role: store.RoleMember, Delivered: 1, Read: 1}, s.member("room:1", "ann"))
}

func testDirect(s *subject) {
	const channel = "dm:ann:bob"
	s.refuses(store.ErrDenied, direct(channel, "eve", "ann", "bob", "1"))
	s.equal("nobody is there", 0, len(s.roster(channel)))
	a := direct(channel, "bob", "ann", "bob", "1")
	a.Time = noon + 7
	got := s.append(a)
	s.equal("the first", store.Appended{Epoch: got.Epoch, Seq: 1, ID: a.ID, Began: true}, got)
	s.equal("members", []store.RosterMember{
		{User: "ann", Since: noon + 7, Role: store.RoleMember}, {User: "bob", Since: noon + 7, Role: store.RoleMember, Delivered: 1, Read: 1},
	}, s.roster(channel))
	if s.version(channel) == 0 {
		s.Error("the roster has no version")
	}
	counts, err := s.store.MemberCounts(s.Context(), channel)
	s.equal("size", []int64{2}, must(s, counts, err))
	version := s.version(channel)
	s.equal("the second", false, s.append(direct(channel, "ann", "ann", "bob", "2")).Began)
	s.equal("ann has read", uint64(2), s.member(channel, "ann").Read)
	s.equal("bob has not", uint64(1), s.member(channel, "bob").Read)
	s.equal("the same roster", version, s.version(channel))
	s.refuses(store.ErrDenied, direct(channel, "eve", "ann", "bob", "3"))
	// Who is a reader there may not write.
	s.do(store.SetRole{Channel: channel, User: "ann", Role: store.RoleReader})
	s.refuses(store.ErrDenied, direct(channel, "ann", "ann", "bob", "3"))

	// The server's word begins one, too, and is read by nobody.
	server := message("dm:a:z", "1")
	server.Author = &store.Author{Direct: []string{"a", "z"}, Alert: true}
	s.equal("the server's", true, s.append(server).Began)
	s.equal("members", []store.RosterMember{{User: "a", Since: noon, Role: store.RoleMember}, {User: "z", Since: noon, Role: store.RoleMember}}, s.roster("dm:a:z"))
	s.equal("alerts", []store.Alert{{Channel: "dm:a:z", Seq: 1}}, s.alerts())
	// One of the two was there: the other comes.
	s.join("dm:c:d", "d")
	s.equal("one was there", true, s.append(direct("dm:c:d", "d", "c", "d", "1")).Began)
	s.equal("both", "c:member d:member", s.roles("dm:c:d"))
	// Who was made to leave comes back with the next message.
	s.leave("dm:c:d", "c", "d")
	s.equal("again", true, s.append(direct("dm:c:d", "c", "c", "d", "2")).Began)
	s.equal("marks", []uint64{2, 0}, []uint64{s.member("dm:c:d", "c").Read, s.member("dm:c:d", "d").Read})
	// In one group only the first of a channel begins it.
	results := s.do(direct("dm:x:y", "x", "x", "y", "1"), direct("dm:x:y", "y", "x", "y", "2"), direct("dm:e:f", "e", "e", "f", "1"), said("dm:x:y", "x", "3"))
	began := make([]bool, len(results))
	for i, r := range results {
		began[i] = r.(store.Appended).Began
	}
	s.equal("began", []bool{true, false, true, false}, began)
	s.equal("marks", []uint64{3, 2}, []uint64{s.member("dm:x:y", "x").Read, s.member("dm:x:y", "y").Read})
	// A repeat of the first message.
	key := direct("dm:k:l", "k", "k", "l", "1")
	key.Key, key.Content, key.Expires = []byte("key"), []byte("c"), noon+hour
	s.append(key)
	s.equal("a duplicate begins nothing", store.Appended{Epoch: got.Epoch, Seq: 1, ID: key.ID, Duplicate: true}, s.append(key))
}

func testDirectBlocks(s *subject) {
	const channel = "dm:ann:bob"
	block := func(user, peer string, blocked bool) {
		s.do(store.BlockPeer{User: user, Peer: peer, Blocked: blocked, Time: noon})
	}
	block("bob", "ann", true)
	for _, user := range []string{"ann", "bob"} {
		s.refuses(store.ErrDenied, direct(channel, user, "ann", "bob", "1"))
	}
	s.equal("nobody is there", 0, len(s.roster(channel)))
	s.headIs(channel, 0, 0, 0)
	block("bob", "ann", false)
	s.append(direct(channel, "ann", "ann", "bob", "1"))
	block("ann", "bob", true)
	for _, user := range []string{"ann", "bob"} {
		s.refuses(store.ErrDenied, direct(channel, user, "ann", "bob", "2"))
	}
	block("bob", "ann", true)
	block("ann", "bob", false)
	s.refuses(store.ErrDenied, direct(channel, "ann", "ann", "bob", "2"))
	// The server may, and in groups both go on.
	server := message(channel, "2")
	server.Author = &store.Author{Direct: []string{"ann", "bob"}}
	s.append(server)
	s.join("team:1", "ann", "bob")
	s.append(said("team:1", "ann", "1"))
	s.append(said("team:1", "bob", "2"))
	block("bob", "ann", false)
	s.equal("free again", uint64(3), s.append(direct(channel, "ann", "ann", "bob", "3")).Seq)
}

func testSpeakGroups(s *subject) {
	s.group("team:1")
	good, bad := said("team:1", "member", "1"), said("team:1", "stranger", "2")
	good.Author.Alert = true
	begins := direct("dm:ann:bob", "ann", "ann", "bob", "1")
	begins.Author.Alert = true
	for _, group := range [][]store.Command{
		{good, bad}, {bad, good}, {begins, bad}, {bad, begins}, {good, begins, message("room:1", "1"), bad}, {begins, keyed("room:1", "1", "k", "c"), keyed("room:1", "1", "k", "other")},
		{begins, store.Recall{Channel: "team:1", Seq: 9}}, {begins, good, store.EditMessage{Channel: "team:1", Seq: 9, Time: noon}},
	} {
		results, err := s.store.Do(s.Context(), group...)
		if err == nil || results != nil {
			s.Fatalf("%+v gave %+v, %v", group, results, err)
		}
	}
	s.headIs("team:1", 0, 0, 0)
	s.headIs("room:1", 0, 0, 0)
	s.headIs("dm:ann:bob", 0, 0, 0)
	s.equal("nobody began", 0, len(s.roster("dm:ann:bob")))
	s.equal("no roster", uint64(0), s.version("dm:ann:bob"))
	s.equal("no marks", uint64(0), s.member("team:1", "member").Read)
	s.equal("no alerts", 0, len(s.alerts()))
	if told := s.told.take(); len(told) > 0 {
		s.Errorf("it was told %+v", told)
	}
	// A refusal takes no others with it.
	failures := s.atOnce(40, func(i int) error {
		user := "member"
		if i%4 == 0 {
			user = "stranger"
		}
		_, err := s.store.Do(s.Context(), said("team:1", user, fmt.Sprint(i)), message(fmt.Sprint("room:", i), "1"))
		return err
	})
	for i, err := range failures {
		want := error(nil)
		if i%4 == 0 {
			want = store.ErrDenied
		}
		s.expect(fmt.Sprint("caller ", i), want, err)
		s.headIs(fmt.Sprint("room:", i), map[bool]uint64{true: 0, false: 1}[i%4 == 0], 0, 0)
	}
	s.headIs("team:1", 30, 0, 0)
	s.equal("the newest", uint64(30), s.member("team:1", "member").Read)
	// Documents and messages of members in one group.
	patch := message("doc:1", "1")
	patch.Version = 1
	s.do(patch, good, begins)
	patch = message("doc:1", "2")
	patch.Version = 1
	s.refuses(store.ErrMoved, patch, good)
	s.headIs("team:1", 31, 0, 0)
}
