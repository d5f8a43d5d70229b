package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/store"
)

func testEdit(s *subject) {
	var all []store.Message
	for i := range 4 {
		a := message("team:1", fmt.Sprint(i+1))
		a.Meta = store.Meta{Reply: uint64(i), Mentions: []string{"bob"}}
		s.append(a)
		all = append(all, stored(a, uint64(i+1)))
	}
	s.told.take()
	edit := func(seq uint64, event, data string) store.EditMessage {
		return store.EditMessage{Channel: "team:1", Seq: seq, Event: event, Data: []byte(data), Time: noon + 9}
	}
	change := func(seq uint64, event, data string) {
		s.Helper()
		s.equal("edited", store.Edited{ID: all[seq-1].ID}, s.do(edit(seq, event, data))[0].(store.Edited))
		m := &all[seq-1]
		m.Event, m.Data, m.Edited = event, []byte(data), true
		s.equal("told", []store.Commit{{Channel: "team:1", Epoch: s.head("team:1").Epoch, Edit: m, Time: noon + 9}}, s.told.take())
	}
	change(2, "message", `"two"`)
	s.headIs("team:1", 4, 0, 4)
	s.equal("one", uint64(1), s.head("team:1").Recalls)
	s.equal("read", all, s.all("team:1"))
	s.append(message("team:1", "5"))
	all = append(all, s.all("team:1")[4])
	s.told.take()
	change(1, "news", "1.5")
	change(2, "", `""`)
	change(3, "message", "")
	s.headIs("team:1", 5, 0, 5)
	s.equal("four", uint64(4), s.head("team:1").Recalls)
	for _, round := range []string{"as it was stored", "after a restart"} {
		s.equal(round, all, s.all("team:1"))
		s.equal(round+", backward", all[1:3], s.read(store.Query{Channel: "team:1", Backward: true, Before: 4, Limit: 2}).Messages)
		s.equal("for who had five", all[:3], s.recalls("team:1", 5, 10))
		s.equal("for who had two", all[:2], s.recalls("team:1", 2, 10))
		s.equal("one of them", all[:1], s.recalls("team:1", 5, 1))
		s.equal("for who had six", 0, len(s.recalls("team:1", 6, 10)))
		s.reopen()
	}
	// What is not there, or gone.
	s.append(store.Append{Channel: "team:1", ID: message("x:1", "").ID, Time: noon, Data: []byte("6"), Keep: 3})
	for _, seq := range []uint64{1, 3, 7, 1 << 62} {
		s.refuses(store.ErrNotFound, edit(seq, "", "1"))
	}
	s.refuses(store.ErrNotFound, store.EditMessage{Channel: "team:2", Seq: 1, Time: noon})
	s.recall(store.Recall{Channel: "team:1", Seq: 4})
	s.refuses(store.ErrNotFound, edit(4, "", "1"))
	s.equal("the stub", true, s.read(store.Query{Channel: "team:1", After: 3, Limit: 1}).Messages[0].Recalled)
	// A document has patches.
	patch := message("doc:1", "1")
	patch.Version = 1
	s.append(patch)
	s.refuses(store.ErrMoved, store.EditMessage{Channel: "doc:1", Seq: 1, Data: []byte("2"), Time: noon})
	// In a group, with what it has appended itself.
	s.told.take()
	a := message("team:3", "1")
	s.do(a, store.EditMessage{Channel: "team:3", Seq: 1, Event: "message", Data: []byte("2"), Time: noon}, store.EditMessage{Channel: "team:3", Seq: 1, Event: "message", Data: []byte("3"), Time: noon + 1})
	s.equal("the newest", "3", string(s.all("team:3")[0].Data))
	s.equal("told", 3, len(s.told.take()))
	s.refuses(store.ErrNotFound, store.EditMessage{Channel: "team:3", Seq: 1, Data: []byte("4"), Time: noon}, store.EditMessage{Channel: "team:3", Seq: 2, Time: noon})
	s.equal("whole or not at all", "3", string(s.all("team:3")[0].Data))
	if told := s.told.take(); len(told) > 0 {
		s.Errorf("it was told %+v", told)
	}
	// No data is an empty text, and no stub.
	s.do(store.EditMessage{Channel: "team:3", Seq: 1, Time: noon})
	if m := s.all("team:3")[0]; m.Recalled || !m.Edited || len(m.Data) > 0 || m.Event != "" {
		s.Errorf("without data it is %+v", m)
	}
}

func testEditRecalled(s *subject) {
	list := s.fill("team:1", 2)
	s.do(store.EditMessage{Channel: "team:1", Seq: 1, Event: "message", Data: []byte("1.5"), Time: noon})
	s.fill("team:1", 1)
	for _, already := range []bool{false, true} {
		s.equal("withdrawn", store.Recalled{Channel: "team:1", Seq: 1, ID: list[0].ID, Already: already}, s.recall(store.Recall{ID: list[0].ID}))
	}
	s.headIs("team:1", 3, 0, 3)
	s.equal("both count", uint64(2), s.head("team:1").Recalls)
	s.equal("a stub", stub(list[0], 1), s.all("team:1")[0])
	s.equal("listed", []store.Message{stub(list[0], 1)}, s.recalls("team:1", 3, 9))
	s.trim(noon, 10, store.Keep{Namespace: "team", Count: 1})
	s.equal("gone", []uint64{3}, s.seqs("team:1"))
	s.equal("none is listed", 0, len(s.recalls("team:1", 1, 9)))
}

func testConversations(s *subject) {
	none := s.conversations(store.ConversationQuery{User: "ann"})
	s.equal("nothing", store.ConversationPage{}, none)
	say := func(channel string, at int64) store.Message {
		a := messageAt(channel, fmt.Sprintf(`"at %d"`, at), noon+at)
		return stored(a, s.append(a).Seq)
	}
	s.admit(store.Admit{Channel: "team:old", Users: []string{"ann", "bob", "eve"}, Time: noon + 5})
	s.admit(store.Admit{Channel: "team:new", By: "ann", Users: []string{"bob"}, Create: &store.GroupSettings{Data: []byte(`{"title":"New"}`), Join: store.JoinOpen}, Time: noon + 6})
	first := direct("dm:ann:bob", "bob", "ann", "bob", "1")
	first.Time, first.ID = noon+7, messageAt("x:1", "", noon+7).ID
	s.append(first)
	s.admit(store.Admit{Channel: "room:1", Users: []string{"ann"}, Time: noon})
	say("room:1", 50)
	s.equal("the order", []string{"dm:ann:bob", "team:new", "team:old"}, s.chats("ann"))
	last := say("team:old", 8)
	s.equal("a message", []string{"team:old", "dm:ann:bob", "team:new"}, s.chats("ann"))
	p := s.conversations(store.ConversationQuery{User: "ann"})
	epoch := s.head("team:old").Epoch
	since := func(user string, at int64, role store.Role) store.RosterMember {
		return store.RosterMember{User: user, Since: noon + at, Role: role}
	}
	bob := since("bob", 7, store.RoleMember)
	bob.Delivered, bob.Read = 1, 1
	message := stored(first, 1)
	place := func(at int64, channel string) store.ConversationPlace {
		return store.ConversationPlace{Time: noon + at, Channel: channel}
	}
	want := store.ConversationPage{Count: 3, Unread: 2, Items: []store.Conversation{
		{Channel: "team:old", Place: place(8, "team:old"), Head: store.Head{Epoch: epoch, Top: 1}, RosterMember: since("ann", 5, store.RoleMember), Last: &last, Members: 3},
		{Channel: "dm:ann:bob", Place: place(7, "dm:ann:bob"), Head: store.Head{Epoch: epoch, Top: 1}, RosterMember: since("ann", 7, store.RoleMember), Last: &message, Members: 2, Peer: bob},
		{
			Channel: "team:new", Place: place(6, "team:new"), Head: store.Head{Epoch: epoch}, RosterMember: since("ann", 6, store.RoleOwner), Members: 2,
			Group: &store.GroupSettings{Data: []byte(`{"title":"New"}`), Join: store.JoinOpen}, Peer: since("bob", 6, store.RoleMember),
		},
	}}
	s.equal("all of it", want, p)
	for _, c := range want.Items {
		one, err := s.store.Conversation(s.Context(), c.Channel, "ann")
		s.equal(c.Channel, c, must(s, one, err))
	}
	for _, who := range [][2]string{{"dm:ann:bob", "eve"}, {"team:none", "ann"}, {"team:ol", "ann"}, {"team:", "ann"}} {
		_, err := s.store.Conversation(s.Context(), who[0], who[1])
		s.expect(fmt.Sprint(who), store.ErrNotFound, err)
	}
	// Marks and the end of a membership.
	s.mark("team:old", "ann", 0, 1)
	s.equal("less is unread", uint64(1), s.conversations(store.ConversationQuery{User: "ann"}).Unread)
	s.dismiss(store.Dismiss{Channel: "team:old", Users: []string{"ann"}, By: "ann"})
	p = s.conversations(store.ConversationQuery{User: "ann"})
	s.equal("two are left", []any{int64(2), uint64(1), 2}, []any{p.Count, p.Unread, len(p.Items)})
	// Only those of the namespaces.
	s.equal("one namespace", []string{"team:new"}, s.chats("ann", "team", "team"))
	s.equal("another", []string{"room:1"}, s.chats("ann", "room", "tea"))
	s.equal("no namespace", 0, len(s.chats("ann", "none")))
	// Two of one time go by their names.
	s.admit(store.Admit{Channel: "team:b", Users: []string{"x"}, Time: noon})
	s.admit(store.Admit{Channel: "team:a", Users: []string{"x"}, Time: noon})
	s.equal("by name", []string{"team:a", "team:b"}, s.chats("x"))
}

// chats gives the channels of a user's conversations, in their order.
func (s *subject) chats(user string, namespaces ...string) []string {
	s.Helper()
	p := s.conversations(store.ConversationQuery{User: user, Namespaces: namespaces})
	return names(p.Items, func(c store.Conversation) string { return c.Channel })
}

func testConversationViews(s *subject) {
	const channel = "team:1"
	one := func(user string) store.Conversation {
		s.Helper()
		c, err := s.store.Conversation(s.Context(), channel, user)
		return must(s, c, err)
	}
	seen := func(user string) []any {
		c := one(user)
		if c.Last == nil {
			return []any{uint64(0), c.Place.Time}
		}
		return []any{c.Last.Seq, c.Place.Time}
	}
	s.admit(store.Admit{Channel: channel, Users: []string{"first"}, Time: noon + 1})
	for i := range int64(3) {
		s.append(messageAt(channel, "1", noon+10+i))
	}
	s.admit(store.Admit{Channel: channel, Users: []string{"later"}, Time: noon + 20})
	s.admit(store.Admit{Channel: channel, Users: []string{"all"}, FromStart: true, Time: noon + 21})
	s.equal("who was there", []any{uint64(3), noon + 12}, seen("first"))
	s.equal("who came later", []any{uint64(0), noon + 20}, seen("later"))
	s.equal("who may see all", []any{uint64(3), noon + 12}, seen("all"))
	s.append(messageAt(channel, "1", noon+30))
	s.equal("a new one", []any{uint64(4), noon + 30}, seen("later"))
	// What was edited and withdrawn is shown as it is.
	s.do(store.EditMessage{Channel: channel, Seq: 4, Event: "message", Data: []byte("2"), Time: noon})
	if c := one("later"); !c.Last.Edited || string(c.Last.Data) != "2" || c.Head.Recalls != 1 || c.Head.Recalled != 4 {
		s.Errorf("it is %+v with %+v", c, c.Last)
	}
	s.recall(store.Recall{Channel: channel, Seq: 4})
	if c := one("first"); !c.Last.Recalled || c.Last.Seq != 4 || c.Place.Time != noon+30 {
		s.Errorf("it is %+v with %+v", c, c.Last)
	}
	// What retention took is shown to nobody, and unread it stays.
	s.trim(noon+day, 100, store.Keep{Namespace: "team", Age: 1})
	s.equal("all is gone", []any{uint64(0), noon + 1}, seen("first"))
	c := one("first")
	s.equal("the head", []uint64{4, 4}, []uint64{c.Head.Top, c.Head.Floor})
	s.equal("unread", uint64(4), s.conversations(store.ConversationQuery{User: "first"}).Unread)
}

func testConversationPages(s *subject) {
	const many = 150
	for i := range many {
		channel := fmt.Sprintf("team:%03d", i)
		s.admit(store.Admit{Channel: channel, Users: []string{"ann"}, Time: noon})
		if i%3 > 0 {
			s.append(messageAt(channel, strings.Repeat("x", 100), noon+int64(i%7)))
		}
	}
	all := s.conversations(store.ConversationQuery{User: "ann", Limit: 1000})
	s.equal("all", []any{many, int64(many), uint64(many / 3 * 2), false}, []any{len(all.Items), all.Count, all.Unread, all.More})
	if !slices.IsSortedFunc(all.Items, func(a, b store.Conversation) int {
		if a.Place.Time != b.Place.Time {
			return int(b.Place.Time - a.Place.Time)
		}
		return strings.Compare(a.Channel, b.Channel)
	}) {
		s.Error("they are not in order")
	}
	for _, q := range []store.ConversationQuery{{Limit: 1}, {Limit: 7}, {Limit: 64}, {Limit: 65}, {Limit: many}, {Limit: 1000, Bytes: 1}, {Limit: 100, Bytes: 450}, {Limit: 200, Bytes: 7000}} {
		q.User, q.Namespaces = "ann", []string{"team"}
		var got []store.Conversation
		for {
			p := s.conversations(q)
			s.equal("the sums", []any{all.Count, all.Unread}, []any{p.Count, p.Unread})
			size := 0
			for i, c := range p.Items {
				if q.Bytes > 0 && size >= q.Bytes {
					s.Fatalf("%+v: %d came after %d bytes", q, len(p.Items)-i, size)
				}
				if c.Last != nil {
					size += len(c.Last.Data)
				}
			}
			if len(p.Items) == 0 || len(p.Items) > q.Limit {
				s.Fatalf("%+v: a page has %d", q, len(p.Items))
			}
			got = append(got, p.Items...)
			if !p.More {
				break
			}
			q.After = p.Items[len(p.Items)-1].Place
		}
		s.equal(fmt.Sprintf("%+v", q), all.Items, got)
	}
	after := s.conversations(store.ConversationQuery{User: "ann", After: all.Items[many-1].Place})
	s.equal("after the last", store.ConversationPage{Count: many, Unread: all.Unread}, after)
}

func testConversationNames(s *subject) {
	odd := oddNames()
	var channels []string
	for _, n := range odd {
		channels = append(channels, "team:"+n)
	}
	for i, c := range channels {
		s.admit(store.Admit{Channel: c, Users: []string{"me\x00", odd[i]}, Time: noon})
		a := said(c, "me\x00", "1")
		a.Meta.Mentions = []string{odd[i]}
		s.append(a)
	}
	slices.Sort(channels)
	s.equal("all", channels, s.chats("me\x00"))
	for i, n := range odd {
		c, err := s.store.Conversation(s.Context(), "team:"+n, "me\x00")
		if must(s, c, err); c.Last == nil || c.Last.Meta.Mentions[0] != odd[i] || c.Read != 1 || c.Peer.User != n || c.Peer.Read != 0 {
			s.Errorf("%q: %+v", n, c)
		}
		s.equal("a mark", uint64(1), s.mark("team:"+n, n, 0, 1).Read)
		s.equal("by a name", 1, len(s.chats(n)))
	}
}

func testChatReopen(s *subject) {
	s.group("team:1")
	s.append(said("team:1", "member", "1"))
	s.append(direct("dm:ann:bob", "ann", "ann", "bob", "1"))
	s.do(store.SetAlerts{Channel: "team:1", User: "member", Level: store.AlertNone})
	s.do(store.PutGroup{Channel: "team:1", Data: []byte("1"), Time: noon})
	roster, list, version := s.roster("team:1"), s.conversations(store.ConversationQuery{User: "member"}), s.version("team:1")
	s.reopen()
	s.equal("the roster", roster, s.roster("team:1"))
	s.equal("the list", list, s.conversations(store.ConversationQuery{User: "member"}))
	s.equal("the version", version, s.version("team:1"))
	s.append(said("team:1", "member", "2"))
	s.equal("it goes on", false, s.append(direct("dm:ann:bob", "bob", "ann", "bob", "2")).Began)
}
