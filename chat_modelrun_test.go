package skein_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// chatAct is something that a user does through one of his devices.
type chatAct struct {
	talk  *chatTalk // that is changed by it; nil: none
	who   *chatUser
	frame string
	// does does it to the model, and gives the code of the error, which has changed nothing.
	does func() string
	// agrees looks at the answer to what was taken; nil: there is nothing to be seen. again tells
	// that it may have been done before.
	agrees func(f chatFrame, again bool)
}

// act does something. Now and then the connection is cut before anything is answered, and
// another device does the same once more.
func (m *chatModel) act(t *rapid.T, a chatAct) {
	t.Helper()
	d := m.present(t, a.who)
	m.step++
	delete(m.same, a.talk)
	code := a.does()
	if roll(t, "cut off", 12) > 0 {
		f := m.asks(t, d, a.frame)
		if f.code() != code {
			t.Fatalf("%s: %s is answered by %+v; the model says %q", a.who.name, a.frame, f, code)
		}
		if code == isOK && a.agrees != nil {
			a.agrees(f, false)
		}
		return
	}
	t.Logf("%v sends %.300s and is cut off", d, a.frame)
	if _, err := d.ask(a.frame); err != nil {
		t.Fatalf("%v: %v", d, err)
	}
	m.cutOff(t, d)
	twice := a.does()
	m.open = true
	f := m.asks(t, m.present(t, a.who), a.frame)
	m.open = false
	if got := f.code(); got != code && got != twice {
		t.Fatalf("%s: %s is answered by %+v the second time; the model says %q, and then %q", a.who.name, a.frame, f, code, twice)
	}
	if f.code() == isOK && a.agrees != nil {
		a.agrees(f, true)
	}
}

func (m *chatModel) user(t *rapid.T) *chatUser { return pick(t, "user", m.users) }

// at draws a conversation, and a user, more often one who has a role there than another one.
func (m *chatModel) at(t *rapid.T, least chatRole, of func(*chatTalk) bool) (*chatTalk, *chatUser) {
	list := slices.DeleteFunc(slices.Clone(m.talks), func(k *chatTalk) bool { return of != nil && !of(k) })
	if len(list) == 0 {
		list = m.talks[3:] // the groups
	}
	k := pick(t, "conversation", list)
	users := slices.DeleteFunc(slices.Clone(m.users), func(u *chatUser) bool { return k.roleOf(u) < least })
	if len(users) == 0 || roll(t, "anybody", 8) == 0 {
		users = m.users
	}
	return k, pick(t, "user", users)
}

func hasSaid(k *chatTalk) bool { return len(k.said) > 0 }

func isMade(k *chatTalk) bool { return k.settings }

// some draws users, each once.
func (m *chatModel) some(t *rapid.T, most int) []*chatUser {
	first := roll(t, "first user", len(m.users))
	return slices.Concat(m.users[first:], m.users[:first])[:1+roll(t, "more", most)]
}

func namesOfUsers(users []*chatUser) (names []string) {
	for _, u := range users {
		names = append(names, u.name)
	}
	return names
}

func (m *chatModel) pub(t *rapid.T) {
	k, u := m.at(t, roleMember, nil)
	p := chatPub{data: fmt.Sprintf(`"said in step %d"`, m.step), key: fmt.Sprint("key ", roll(t, "key", 41))}
	switch roll(t, "kind", 6) {
	case 0:
		p.reply = uint64(1 + roll(t, "reply", len(k.said)+1))
	case 1:
		p.mentions = namesOfUsers(m.some(t, 2))
	case 2:
		p.mentions = []string{"*"}
	}
	m.says(t, k, u, p)
}

// repeat says once more what was said with a key.
func (m *chatModel) repeat(t *rapid.T) {
	k, _ := m.at(t, 0, hasSaid)
	for i, s := range slices.Backward(k.said) {
		for key, kept := range k.keys {
			if kept.seq == uint64(i+1) {
				m.says(t, k, key.user, chatPub{data: s.versions[0].data, key: key.key, reply: s.reply, mentions: s.mentions})
				return
			}
		}
	}
}

func (m *chatModel) says(t *rapid.T, k *chatTalk, u *chatUser, p chatPub) {
	seq, duplicate := uint64(0), false
	m.act(t, chatAct{
		talk: k, who: u, frame: p.frame(k),
		does: func() (code string) {
			code, seq, duplicate = m.speaks(k, u, &p)
			return code
		},
		agrees: func(f chatFrame, again bool) {
			s := k.said[seq-1]
			if s.id == "" {
				s.id = f.Message
			}
			if f.Seq != seq || f.Message != s.id || !f.Stored || f.Duplicate != duplicate && !again {
				t.Fatalf("%s is answered by %+v; the model has it as %d (%s, duplicate: %t)", p.frame(k), f, seq, s.id, duplicate)
			}
			others := 0
			for _, other := range m.users {
				if other != u && k.roleOf(other) > 0 && len(other.here()) > 0 {
					others++
				}
			}
			if !f.Duplicate && !again && f.Users != others {
				t.Fatalf("%s is answered by %+v; %d others are there", p.frame(k), f, others)
			}
		},
	})
}

// serverPub has the server say something.
func (m *chatModel) serverPub(t *rapid.T) {
	k := pick(t, "conversation", m.talks)
	m.serverSays(t, k, fmt.Sprintf(`"the server in step %d"`, m.step))
}

func (m *chatModel) serverSays(t *rapid.T, k *chatTalk, data string) {
	m.step++
	delete(m.same, k)
	s := &chatSaid{versions: []chatVersion{{data: data, step: m.step}}}
	m.appends(k, nil, s)
	var r struct {
		ID  string
		Seq uint64
	}
	m.verb(t, "publish", map[string]any{"to": map[string]string{"channel": k.channel}, "data": json.RawMessage(data)}, &r)
	if s.id = r.ID; r.Seq != k.head() {
		t.Fatalf("what the server says in %s is answered by %+v; the model has %d", k.channel, r, k.head())
	}
}

// burst says so much that those who do not read fall behind.
func (m *chatModel) burst(t *rapid.T) {
	k := pick(t, "conversation", m.talks)
	for range 1 + roll(t, "messages", 6) {
		m.serverSays(t, k, fmt.Sprintf(`"step %d %s"`, m.step, strings.Repeat("y", 20_000)))
	}
}

// one draws a message, or the one that is not there yet, and who does something to it: its author, or
// somebody who may be an admin.
func (m *chatModel) one(t *rapid.T) (k *chatTalk, u *chatUser, seq uint64) {
	k, u = m.at(t, roleAdmin, hasSaid)
	seq = k.head() + 1 - min(k.head(), uint64(roll(t, "before the end", 13)))
	if seq <= k.head() && k.said[seq-1].from != nil && roll(t, "of another", 3) > 0 {
		u = k.said[seq-1].from
	}
	return k, u, seq
}

func (m *chatModel) edit(t *rapid.T) {
	k, u, seq := m.one(t)
	data := pick(t, "data", []string{fmt.Sprintf(`"edited in step %d"`, m.step), `"the same"`})
	if roll(t, "server", 6) == 0 {
		m.step++
		delete(m.same, k)
		want := m.edits(k, nil, seq, data)
		if got := m.codeOf(t, "chat.edit", map[string]any{"channel": k.channel, "seq": seq, "data": json.RawMessage(data)}); got != want {
			t.Fatalf("the server's edit of %d in %s is answered by %q; the model says %q", seq, k.channel, got, want)
		}
		return
	}
	m.act(t, chatAct{
		talk: k, who: u, frame: fmt.Sprintf(`{"type":"edit","channel":%s,"seq":%d,"data":%s}`, jsonOf(k.channel), seq, data),
		does: func() string { return m.edits(k, u, seq, data) },
	})
}

func (m *chatModel) recall(t *rapid.T) {
	k, u, seq := m.one(t)
	m.act(t, chatAct{
		talk: k, who: u, frame: fmt.Sprintf(`{"type":"recall","channel":%s,"seq":%d}`, jsonOf(k.channel), seq),
		does: func() string { return m.recalls(k, u, seq) },
	})
}

func (m *chatModel) typing(t *rapid.T) {
	k, u := m.at(t, roleMember, nil)
	m.act(t, chatAct{
		who: u, frame: fmt.Sprintf(`{"type":"notice","channel":%s,"event":"typing","data":"%d"}`, jsonOf(k.channel), len(m.typed)),
		does: func() string {
			if !k.mayWrite(u) {
				return isDenied
			}
			m.typed = append(m.typed, chatTyped{k, u, m.step})
			return isOK
		},
	})
}

// flood fills the queues of those who do not read with what may be dropped, so that they miss
// what follows.
func (m *chatModel) flood(t *rapid.T) {
	k, u := m.at(t, roleMember, nil)
	if !k.mayWrite(u) {
		return
	}
	d := m.present(t, u)
	for _, size := range slices.Concat(slices.Repeat([]int{25_000}, 3), slices.Repeat([]int{2000}, 12), slices.Repeat([]int{20}, 12)) {
		m.step++
		m.typed = append(m.typed, chatTyped{k, u, m.step})
		frame := fmt.Sprintf(`{"type":"notice","channel":%s,"event":"typing","data":"%d %s"}`, jsonOf(k.channel), len(m.typed)-1, strings.Repeat("z", size))
		if f := m.asks(t, d, frame); f.Type != "ok" {
			t.Fatalf("%v types much: %+v", d, f)
		}
	}
	m.serverSays(t, k, fmt.Sprintf(`"behind much, in step %d"`, m.step))
}

// mark moves marks, perhaps backwards, or beyond what was said.
func (m *chatModel) mark(t *rapid.T) {
	k, u := m.at(t, roleReader, hasSaid)
	to, more := chatMarks{}, ""
	which := 1 + roll(t, "marks", 3)
	if which&1 != 0 {
		to.read = uint64(roll(t, "read", len(k.said)+3))
		more += fmt.Sprintf(`,"read":%d`, to.read)
	}
	if which&2 != 0 {
		to.delivered = uint64(roll(t, "delivered", len(k.said)+3))
		more += fmt.Sprintf(`,"delivered":%d`, to.delivered)
	}
	m.moves(t, k, u, to, fmt.Sprintf(`{"type":"mark","channel":%s%s}`, jsonOf(k.channel), more))
}

func (m *chatModel) ack(t *rapid.T) {
	k, u := m.at(t, roleReader, hasSaid)
	seq := uint64(roll(t, "seq", len(k.said)+3))
	m.moves(t, k, u, chatMarks{delivered: seq}, fmt.Sprintf(`{"type":"ack","channel":%s,"seq":%d}`, jsonOf(k.channel), seq))
}

func (m *chatModel) moves(t *rapid.T, k *chatTalk, u *chatUser, to chatMarks, frame string) {
	m.act(t, chatAct{
		talk: k, who: u, frame: frame,
		does: func() string {
			switch {
			case k.members[u] != nil:
				k.moves(u, to)
			case !k.mayRead(u):
				return isDenied
			}
			return isOK
		},
		agrees: func(f chatFrame, _ bool) {
			now, unread := chatMarks{}, uint64(0)
			if c := k.members[u]; c != nil {
				now, unread = c.chatMarks, k.head()-c.read
			}
			if f.Delivered != now.delivered || f.marksRead() && (f.Read != now.read || f.Unread != unread) {
				t.Fatalf("%s is answered by %+v; the model has %+v, and %d are unread", frame, f, now, unread)
			}
		},
	})
}

// calls has a user call a method; result is where the result goes.
func (m *chatModel) calls(t *rapid.T, k *chatTalk, u *chatUser, method, data string, does func() string, result any, agrees func() bool) {
	m.act(t, chatAct{
		talk: k, who: u, frame: fmt.Sprintf(`{"type":"call","method":%q,"data":%s}`, method, data), does: does,
		agrees: func(f chatFrame, again bool) {
			if result == nil || again {
				return
			}
			if err := json.Unmarshal(f.Data, result); err != nil {
				t.Fatalf("%s is answered by %s: %v", method, f.Data, err)
			}
			if !agrees() {
				t.Fatalf("%s %s is answered by %s; the model has %d members and %+v", method, data, f.Data, len(k.members), k.members)
			}
		},
	})
}

func (m *chatModel) create(t *rapid.T) {
	k, u := m.at(t, 0, func(k *chatTalk) bool { return !k.direct && !k.settings })
	users := m.some(t, 3)
	role := pick(t, "role", []chatRole{roleReader, roleMember, roleMember, roleAdmin})
	var r chatEntry
	m.calls(t, k, u, "chat.create", fmt.Sprintf(`{"channel":%s,"users":%s,"role":%q}`, jsonOf(k.channel), jsonOf(namesOfUsers(users)), chatRoles[role]), func() string {
		if k.settings {
			return isTaken
		}
		k.settings = true
		m.enters(k, u, roleOwner)
		for _, other := range users {
			if other != u && !other.blocked[u] {
				m.enters(k, other, role)
			}
		}
		return isOK
	}, &r, func() bool { return r.Channel == k.channel && r.Role == "owner" && r.Members == int64(len(k.members)) })
}

// chatInvited is what invitations are answered.
type chatInvited struct {
	Added, Refused []string
	Members        int
}

func (m *chatModel) invite(t *rapid.T) {
	k, u := m.at(t, roleAdmin, isMade)
	users := m.some(t, 3)
	role := pick(t, "role", []chatRole{roleReader, roleMember, roleMember, roleAdmin})
	var r chatInvited
	var added, refused []string
	m.calls(t, k, u, "chat.invite", fmt.Sprintf(`{"channel":%s,"users":%s,"role":%q}`, jsonOf(k.channel), jsonOf(namesOfUsers(users)), chatRoles[role]), func() (code string) {
		code, added, refused = m.invites(k, u, users, role)
		return code
	}, &r, func() bool {
		return slices.Equal(r.Added, added) && slices.Equal(r.Refused, refused) && r.Members == len(k.members)
	})
}

func (m *chatModel) join(t *rapid.T) {
	k, u := m.at(t, 0, isMade)
	var r chatInvited
	m.calls(t, k, u, "chat.join", fmt.Sprintf(`{"channel":%s}`, jsonOf(k.channel)), func() string {
		if k.members[u] == nil {
			if !k.settings || k.rule != "open" {
				return isDenied
			}
			m.enters(k, u, roleMember)
		}
		return isOK
	}, &r, func() bool { return len(r.Added) <= 1 && len(r.Refused) == 0 && r.Members == len(k.members) })
}

// chatRemoved is what removals are answered.
type chatRemoved struct {
	Removed, Members int
	Owner            string
}

func (r *chatRemoved) agrees(k *chatTalk, removed int, owner *chatUser) bool {
	name := ""
	if owner != nil {
		name = owner.name
	}
	return *r == chatRemoved{removed, len(k.members), name}
}

func (m *chatModel) quit(t *rapid.T) {
	k, u := m.at(t, roleReader, isMade)
	var r chatRemoved
	var owner *chatUser
	m.calls(t, k, u, "chat.leave", fmt.Sprintf(`{"channel":%s}`, jsonOf(k.channel)), func() string {
		if k.members[u] == nil {
			return isDenied
		}
		_, owner = m.dismissed(k, u)
		return isOK
	}, &r, func() bool { return r.agrees(k, 1, owner) })
}

func (m *chatModel) remove(t *rapid.T) {
	k, u := m.at(t, roleAdmin, isMade)
	users := m.some(t, 2)
	var r chatRemoved
	removed, owner := 0, (*chatUser)(nil)
	m.calls(t, k, u, "chat.remove", fmt.Sprintf(`{"channel":%s,"users":%s}`, jsonOf(k.channel), jsonOf(namesOfUsers(users))), func() (code string) {
		code, removed, owner = m.removes(k, u, users)
		return code
	}, &r, func() bool { return r.agrees(k, removed, owner) })
}

func (m *chatModel) role(t *rapid.T) {
	k, u := m.at(t, roleAdmin, isMade)
	other := m.user(t)
	role := pick(t, "role", []chatRole{roleReader, roleMember, roleAdmin, roleOwner})
	was := k.roleOf(other)
	var r struct{ Was string }
	m.calls(t, k, u, "chat.role", fmt.Sprintf(`{"channel":%s,"user":%s,"role":%q}`, jsonOf(k.channel), jsonOf(other.name), chatRoles[role]), func() string {
		return k.gives(u, other, role)
	}, &r, func() bool { return r.Was == chatRoles[was] })
}

// open changes who brings users in.
func (m *chatModel) rule(t *rapid.T) {
	k, u := m.at(t, roleOwner, isMade)
	rule := pick(t, "rule", []string{"admins", "members", "open"})
	var r struct{ Join string }
	m.calls(t, k, u, "chat.set", fmt.Sprintf(`{"channel":%s,"join":%q}`, jsonOf(k.channel), rule), func() string {
		switch {
		case !k.settings:
			return isUnknown
		case k.roleOf(u) != roleOwner:
			return isDenied
		}
		k.rule = rule
		return isOK
	}, &r, func() bool { return r.Join == rule })
}

func (m *chatModel) delete(t *rapid.T) {
	k, u := m.at(t, roleOwner, isMade)
	var r chatRemoved
	removed := 0
	m.calls(t, k, u, "chat.delete", fmt.Sprintf(`{"channel":%s}`, jsonOf(k.channel)), func() string {
		if k.roleOf(u) != roleOwner {
			return isDenied
		}
		removed = 0
		for _, other := range m.users {
			if k.members[other] != nil {
				m.goes(k, other)
				removed++
			}
		}
		return isOK
	}, &r, func() bool { return r.Removed == removed })
}

func (m *chatModel) block(t *rapid.T) {
	k, u := m.at(t, 0, func(k *chatTalk) bool { return k.direct })
	peer := k.pair[roll(t, "peer", 2)]
	if u == peer {
		peer = k.peer(u)
	}
	blocked := roll(t, "blocked", 2) == 0
	changed := u.blocked[peer] != blocked
	var r struct{ Changed bool }
	m.calls(t, nil, u, "chat.block", fmt.Sprintf(`{"peer":%s,"blocked":%t}`, jsonOf(peer.name), blocked), func() string {
		u.blocked[peer] = blocked
		return isOK
	}, &r, func() bool { return r.Changed == changed })
}

// list has a device read its list, and follow it or not.
func (m *chatModel) list(t *rapid.T) {
	u := m.user(t)
	live := pick(t, "live", []string{`,"live":true`, `,"live":true`, "", `,"live":false`})
	m.lists(t, m.present(t, u), pick(t, "limit", []int{1, 2, 50}), live)
}

// entry has a device read one entry.
func (m *chatModel) entry(t *rapid.T) {
	k, u := m.at(t, roleReader, nil)
	f := m.asks(t, m.present(t, u), fmt.Sprintf(`{"type":"conversation","channel":%s}`, jsonOf(k.channel)))
	if k.members[u] == nil {
		if f.code() != isDenied {
			t.Fatalf("%s, who is no member, is told of %s: %+v", u.name, k.channel, f)
		}
		return
	}
	m.agrees(t, u, k, f.Conversation, true)
}

// sub has a device subscribe, from the place that it has.
func (m *chatModel) sub(t *rapid.T) {
	k, u := m.at(t, roleReader, nil)
	m.follow(t, m.present(t, u), k)
}

func (m *chatModel) unsub(t *rapid.T) {
	k, u := m.at(t, roleReader, nil)
	d := m.present(t, u)
	if f := m.asks(t, d, fmt.Sprintf(`{"type":"unsub","channel":%s}`, jsonOf(k.channel))); f.Type != "ok" {
		t.Fatalf("%v: unsub is answered by %+v", d, f)
	}
	r := d.replica(k)
	r.told, r.joined, r.out = false, false, true
}

// come lets a device come in.
func (m *chatModel) come(t *rapid.T) {
	u := m.user(t)
	m.opens(t, u, roll(t, "place", len(u.devices)))
}

// cut cuts a device off.
func (m *chatModel) cut(t *rapid.T) {
	u := m.user(t)
	if list := u.here(); len(list) > 0 {
		m.cutOff(t, pick(t, "device", list))
	}
}

// restart starts the server anew.
func (m *chatModel) restart(t *rapid.T) {
	t.Logf("the server starts anew")
	m.stop()
	for _, u := range m.users {
		for _, d := range u.here() {
			if d.door != "poll" { // that has nothing to close any more
				d.wayIn.leave()
			}
			d.wayIn = nil
		}
	}
	m.start()
}

// settle has the devices of a user read what came, and compares what they have.
func (m *chatModel) settle(t *rapid.T) {
	for _, d := range m.user(t).here() {
		m.settles(t, d)
	}
}

// everybody settles.
func (m *chatModel) everybody(t *rapid.T) {
	for _, u := range m.users {
		for _, d := range u.here() {
			m.settles(t, d)
		}
	}
}

// begin makes the groups, and has some devices follow what happens.
func (m *chatModel) begin(t *rapid.T) {
	for range 2 {
		m.create(t)
	}
	for i := range 6 {
		d := m.opens(t, m.users[i%3], i/3)
		for _, k := range m.talks {
			if k.mayRead(d.user) && roll(t, "subscribes", 2) > 0 {
				m.follow(t, d, k)
			}
		}
	}
}
