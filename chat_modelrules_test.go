package skein_test

import (
	"cmp"
	"fmt"
	"slices"
)

func (m *chatModel) enters(k *chatTalk, u *chatUser, role chatRole) {
	head, hidden := k.head(), k.head()
	if k.fromStart {
		hidden = 0
	}
	k.members[u] = &chatMember{role: role, hidden: hidden, chatMarks: chatMarks{head, head}}
	k.past[u] = append(k.past[u], chatPeriod{m.step, forever, hidden})
	k.moves(u, chatMarks{})
}

func (m *chatModel) goes(k *chatTalk, u *chatUser) {
	delete(k.members, u)
	k.past[u][len(k.past[u])-1].to = m.step
	if len(k.members) == 0 {
		k.settings, k.rule = false, k.first
	}
}

// moves moves the marks of a member, as far as they have not been beyond.
func (k *chatTalk) moves(u *chatUser, to chatMarks) {
	c, head := k.members[u], k.head()
	to.read = min(to.read, head)
	to.delivered = min(max(to.delivered, to.read), head)
	c.chatMarks = c.or(to)
	k.highest[u] = k.highest[u].or(c.chatMarks)
}

// heir is who becomes the owner.
func (k *chatTalk) heir() (heir *chatUser) {
	before := func(u, than *chatUser) bool {
		a, b := k.members[u], k.members[than]
		return cmp.Or(-cmp.Compare(a.role, b.role), cmp.Compare(a.since, b.since), cmp.Compare(u.name, than.name)) < 0
	}
	for u := range k.members {
		if heir == nil || before(u, heir) {
			heir = u
		}
	}
	return heir
}

// dismissed ends memberships and gives who has become the owner.
func (m *chatModel) dismissed(k *chatTalk, users ...*chatUser) (removed int, owner *chatUser) {
	led := false
	for _, u := range users {
		if c := k.members[u]; c != nil {
			led = led || c.role == roleOwner
			m.goes(k, u)
			removed++
		}
	}
	if led && len(k.members) > 0 {
		owner = k.heir()
		k.members[owner].role = roleOwner
	}
	return removed, owner
}

// appends says something; u is nil for the server.
func (m *chatModel) appends(k *chatTalk, u *chatUser, s *chatSaid) {
	if len(k.said) == 0 {
		for _, u := range k.pair {
			m.enters(k, u, roleMember)
		}
	}
	s.from = u
	k.said = append(k.said, s)
	if u != nil {
		k.moves(u, chatMarks{k.head(), k.head()})
	}
}

// chatPub is what is to be said.
type chatPub struct {
	data, key string
	reply     uint64
	mentions  []string
}

func (p *chatPub) frame(k *chatTalk) string {
	more := ""
	if p.key != "" {
		more += fmt.Sprintf(`,"key":%q`, p.key)
	}
	if p.reply > 0 {
		more += fmt.Sprintf(`,"reply":%d`, p.reply)
	}
	if p.mentions != nil {
		more += `,"mentions":` + jsonOf(p.mentions)
	}
	return fmt.Sprintf(`{"type":"pub","channel":%s,"data":%s%s}`, jsonOf(k.channel), p.data, more)
}

func (p *chatPub) content() string { return fmt.Sprint(p.data, p.reply, p.mentions) }

// speaks carries out a pub.
func (m *chatModel) speaks(k *chatTalk, u *chatUser, p *chatPub) (code string, seq uint64, duplicate bool) {
	if !k.mayWrite(u) {
		return isDenied, 0, false
	}
	for _, name := range p.mentions {
		i := slices.IndexFunc(m.users, func(u *chatUser) bool { return u.name == name })
		switch {
		case name == "*" && k.roleOf(u) < roleAdmin:
			return isDenied, 0, false
		case name != "*" && k.roleOf(m.users[i]) == 0:
			return isWrong, 0, false
		}
	}
	if p.reply > 0 && k.sees(u, p.reply) == nil {
		return isUnknown, 0, false
	}
	key := chatKey{u, p.key}
	if kept, there := k.keys[key]; there && p.key != "" {
		if kept.content != p.content() {
			return isTaken, 0, false
		}
		return isOK, kept.seq, true
	}
	m.appends(k, u, &chatSaid{reply: p.reply, mentions: p.mentions, versions: []chatVersion{{data: p.data, step: m.step}}})
	if p.key != "" {
		k.keys[key] = chatKept{p.frame(k), p.content(), k.head()}
	}
	return isOK, k.head(), false
}

// edits carries out an edit; u is nil for the server.
func (m *chatModel) edits(k *chatTalk, u *chatUser, seq uint64, data string) string {
	s := (*chatSaid)(nil)
	switch {
	case u != nil && !k.mayWrite(u):
		return isDenied
	case u != nil:
		s = k.sees(u, seq)
	case seq <= k.head() && !k.said[seq-1].now().recalled:
		s = k.said[seq-1]
	}
	switch {
	case s == nil:
		return isUnknown
	case u != nil && (s.from != u || k.neverEdit):
		return isDenied
	case s.now().data != data:
		s.versions = append(s.versions, chatVersion{data: data, edited: true, step: m.step})
	}
	return isOK
}

// recalls carries out a recall by a member.
func (m *chatModel) recalls(k *chatTalk, u *chatUser, seq uint64) string {
	role := k.roleOf(u)
	if role < roleMember {
		return isDenied
	}
	s := k.sees(u, seq)
	switch {
	case s == nil:
		return isUnknown
	case s.from == u && k.neverRecall, s.from != u && (s.from == nil || role < roleAdmin || max(k.roleOf(s.from), roleReader) >= role):
		return isDenied
	}
	s.versions = append(s.versions, chatVersion{recalled: true, step: m.step})
	return isOK
}

// invites carries out an invitation.
func (m *chatModel) invites(k *chatTalk, by *chatUser, users []*chatUser, role chatRole) (code string, added, refused []string) {
	most, himself := roleMember, len(users) == 1 && users[0] == by && k.rule == "open"
	switch mine := k.roleOf(by); {
	case mine == roleOwner:
		most = roleAdmin
	case mine == roleAdmin, mine == roleMember && k.rule != "admins", himself && k.settings:
	default:
		most = 0
	}
	if role > most {
		return isDenied, nil, nil
	}
	added, refused = []string{}, []string{}
	for _, u := range users {
		switch {
		case k.members[u] != nil:
		case u.blocked[by]:
			refused = append(refused, u.name)
		default:
			m.enters(k, u, role)
			added = append(added, u.name)
		}
	}
	return isOK, added, refused
}

// gives carries out a change of a role.
func (k *chatTalk) gives(by, u *chatUser, role chatRole) string {
	mine, is := k.roleOf(by), k.roleOf(u)
	passes := role == roleOwner && mine == roleOwner && u != by
	switch {
	case mine < roleAdmin:
		return isDenied
	case is == 0:
		return isUnknown
	case !passes && (mine <= is || mine <= role):
		return isDenied
	}
	if passes {
		k.members[by].role = roleAdmin
	}
	k.members[u].role = role
	return isOK
}

// removes carries out the removal of members.
func (m *chatModel) removes(k *chatTalk, by *chatUser, users []*chatUser) (code string, removed int, owner *chatUser) {
	if leaves := len(users) == 1 && users[0] == by; !leaves {
		mine := k.roleOf(by)
		if mine < roleAdmin || slices.ContainsFunc(users, func(u *chatUser) bool { return k.roleOf(u) >= mine }) {
			return isDenied, 0, nil
		}
	}
	removed, owner = m.dismissed(k, users...)
	return isOK, removed, owner
}
