package storetest

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/store"
)

// chatModel is what conversations would be if they were a few maps.
type chatModel struct {
	channels map[string]*chatChannel
	blocks   map[[2]string]int64 // user and peer
	alerts   map[store.Alert]bool
}

type chatChannel struct {
	head     store.Head
	messages []store.Message
	keys     map[string]store.Appended
	roster   map[string]store.RosterMember
	group    *store.GroupSettings
	version  int // of users, roles, alert levels and settings: it only rises
}

func newChatModel() *chatModel {
	return &chatModel{channels: map[string]*chatChannel{}, blocks: map[[2]string]int64{}, alerts: map[store.Alert]bool{}}
}

func (m *chatModel) clone() *chatModel {
	c := &chatModel{channels: map[string]*chatChannel{}, blocks: maps.Clone(m.blocks), alerts: maps.Clone(m.alerts)}
	for name, x := range m.channels {
		y := *x
		y.messages, y.keys, y.roster = slices.Clone(x.messages), maps.Clone(x.keys), maps.Clone(x.roster)
		c.channels[name] = &y
	}
	return c
}

func (m *chatModel) channel(name string) *chatChannel {
	if m.channels[name] == nil {
		m.channels[name] = &chatChannel{keys: map[string]store.Appended{}, roster: map[string]store.RosterMember{}}
	}
	return m.channels[name]
}

func (m *chatModel) blocked(one, two string) bool {
	_, a := m.blocks[[2]string{one, two}]
	_, b := m.blocks[[2]string{two, one}]
	return a || b
}

// do gives what a command should give, and carries it out.
func (m *chatModel) do(c store.Command) (store.Result, error) {
	switch c := c.(type) {
	case store.Append:
		return m.append(c)
	case store.EditMessage:
		return m.edit(c)
	case store.Recall:
		return m.recall(c)
	case store.Admit:
		return m.admit(c)
	case store.Dismiss:
		return m.dismiss(c)
	case store.SetRole:
		return m.setRole(c)
	case store.PutGroup:
		return m.putGroup(c)
	case store.MarkMember:
		return m.mark(c)
	case store.SetAlerts:
		x := m.channel(c.Channel)
		is, there := x.roster[c.User]
		if !there {
			return nil, store.ErrNotFound
		}
		was := is.Alerts
		if is.Alerts = c.Level; was != c.Level {
			x.roster[c.User] = is
			x.version++
		}
		return store.AlertsSet{Was: was}, nil
	case store.BlockPeer:
		pair := [2]string{c.User, c.Peer}
		_, was := m.blocks[pair]
		if c.Blocked && !was {
			m.blocks[pair] = c.Time
		} else if !c.Blocked {
			delete(m.blocks, pair)
		}
		return store.PeerBlocked{Changed: was != c.Blocked}, nil
	case store.AlertsDone:
		for _, a := range c.Alerts {
			delete(m.alerts, a)
		}
		return store.AlertsForgotten{}, nil
	}
	return nil, store.ErrClosed // the model does not know it
}

func (m *chatModel) append(a store.Append) (store.Result, error) {
	x := m.channel(a.Channel)
	if before, used := x.keys[string(a.Key)]; used && len(a.Key) > 0 {
		before.Duplicate, before.Began = true, false
		return before, nil
	}
	began := false
	if by := a.Author; by != nil {
		is, there := x.roster[by.User]
		switch {
		case by.Direct == nil:
			if by.User != "" && is.Role < store.RoleMember {
				return nil, store.ErrDenied
			}
		case by.User != "" && (!slices.Contains(by.Direct, by.User) || m.blocked(by.Direct[0], by.Direct[1]) || there && is.Role < store.RoleMember):
			return nil, store.ErrDenied
		default:
			for _, u := range by.Direct {
				if _, there := x.roster[u]; !there {
					x.roster[u] = store.RosterMember{User: u, Since: a.Time, Role: store.RoleMember}
					began = true
				}
			}
		}
	}
	if began {
		x.version++
	}
	x.head.Top++
	if by := a.Author; by != nil && by.User != "" {
		is := x.roster[by.User]
		is.Delivered, is.Read = x.head.Top, x.head.Top
		x.roster[by.User] = is
	}
	if a.Author != nil && a.Author.Alert {
		m.alerts[store.Alert{Channel: a.Channel, Seq: x.head.Top}] = true
	}
	x.messages = append(x.messages, stored(a, x.head.Top))
	r := store.Appended{Epoch: x.head.Epoch, Seq: x.head.Top, ID: a.ID, Began: began}
	if len(a.Key) > 0 {
		x.keys[string(a.Key)] = r
	}
	return r, nil
}

// find gives a message that can still be changed.
func (m *chatModel) find(channel string, seq uint64) (*chatChannel, *store.Message) {
	x := m.channel(channel)
	if seq < 1 || seq > x.head.Top {
		return x, nil
	}
	return x, &x.messages[seq-1]
}

func (m *chatModel) edit(c store.EditMessage) (store.Result, error) {
	x, is := m.find(c.Channel, c.Seq)
	if is == nil || is.Recalled {
		return nil, store.ErrNotFound
	}
	is.Event, is.Data, is.Edited = c.Event, c.Data, true
	x.head.Recalled = x.head.Top
	x.head.Recalls++
	return store.Edited{ID: is.ID}, nil
}

func (m *chatModel) recall(c store.Recall) (store.Result, error) {
	x, is := m.find(c.Channel, c.Seq)
	if is == nil {
		return nil, store.ErrNotFound
	}
	r := store.Recalled{Channel: c.Channel, Seq: c.Seq, ID: is.ID, Already: is.Recalled}
	if !is.Recalled {
		*is = store.Message{Seq: is.Seq, ID: is.ID, Time: is.Time, Recalled: true}
		x.head.Recalled = x.head.Top
		x.head.Recalls++
	}
	return r, nil
}

// mayAdmit tells which role newcomers may have at most; 0: none may come.
func (x *chatChannel) mayAdmit(c store.Admit) store.Role {
	rule, by := store.JoinAdmins, x.roster[c.By].Role
	if x.group != nil {
		rule = x.group.Join
	}
	alone := len(c.Users) > 0 && !slices.ContainsFunc(c.Users, func(u string) bool { return u != c.By })
	switch {
	case c.Create != nil, c.By == "", by == store.RoleOwner:
		return store.RoleAdmin
	case by == store.RoleAdmin, by == store.RoleMember && rule != store.JoinAdmins, alone && rule == store.JoinOpen:
		return store.RoleMember
	}
	return 0
}

func (m *chatModel) admit(c store.Admit) (store.Result, error) {
	x := m.channel(c.Channel)
	if c.Create != nil && (x.group != nil || len(x.roster) > 0) {
		return nil, store.ErrConflict
	}
	role := cmp.Or(c.Role, store.RoleMember)
	if role > x.mayAdmit(c) {
		return nil, store.ErrDenied
	}
	r := store.Admitted{Head: x.head.Top, Count: int64(len(x.roster))}
	come := map[string]store.Role{}
	if c.Create != nil && c.By != "" {
		r.Users, come[c.By] = []string{c.By}, store.RoleOwner
	}
	for _, u := range c.Users {
		_, is := x.roster[u]
		_, comes := come[u]
		_, blocks := m.blocks[[2]string{u, c.By}]
		switch {
		case is || comes || slices.Contains(r.Refused, u):
		case blocks:
			r.Refused = append(r.Refused, u)
		default:
			r.Users, come[u] = append(r.Users, u), role
		}
	}
	if r.Count += int64(len(come)); c.Most > 0 && r.Count > c.Most && len(come) > 0 {
		return nil, store.ErrTooLarge
	}
	if c.Create != nil {
		x.group = &store.GroupSettings{Data: c.Create.Data, Join: cmp.Or(c.Create.Join, store.JoinAdmins)}
		x.version++
	}
	for u, role := range come {
		is := store.RosterMember{User: u, Since: c.Time, Role: role, Hidden: x.head.Top, Delivered: x.head.Top, Read: x.head.Top}
		if c.FromStart {
			is.Hidden = 0
		}
		x.roster[u] = is
		x.version++
	}
	return r, nil
}

func (m *chatModel) dismiss(c store.Dismiss) (store.Result, error) {
	x := m.channel(c.Channel)
	users := c.Users
	if c.Some > 0 {
		users = slices.Sorted(maps.Keys(x.roster))
		users = users[:min(len(users), c.Some)]
	}
	alone := len(users) > 0 && !slices.ContainsFunc(users, func(u string) bool { return u != c.By })
	by := x.roster[c.By].Role
	if c.By != "" && !alone && (by < store.RoleAdmin || slices.ContainsFunc(users, func(u string) bool { return x.roster[u].Role >= by })) {
		return nil, store.ErrDenied
	}
	r := store.Dismissed{}
	left := false
	for _, u := range users {
		if is, there := x.roster[u]; there {
			left = left || is.Role == store.RoleOwner
			delete(x.roster, u)
			r.Users = append(r.Users, u)
			x.version++
		}
	}
	r.Count = int64(len(x.roster))
	if len(r.Users) > 0 && r.Count == 0 {
		x.group = nil
	}
	if left && r.Count > 0 {
		heir := slices.MinFunc(slices.Collect(maps.Values(x.roster)), func(a, b store.RosterMember) int {
			return cmp.Or(cmp.Compare(b.Role, a.Role), cmp.Compare(a.Since, b.Since), strings.Compare(a.User, b.User))
		})
		heir.Role = store.RoleOwner
		x.roster[heir.User], r.Owner = heir, heir.User
	}
	return r, nil
}

func (m *chatModel) setRole(c store.SetRole) (store.Result, error) {
	x := m.channel(c.Channel)
	is, there := x.roster[c.User]
	by := x.roster[c.By].Role
	passes := c.Role == store.RoleOwner && (c.By == "" || by == store.RoleOwner && c.By != c.User)
	switch {
	case c.By != "" && by < store.RoleAdmin:
		return nil, store.ErrDenied
	case !there:
		return nil, store.ErrNotFound
	case c.By != "" && !passes && (is.Role >= by || c.Role >= by):
		return nil, store.ErrDenied
	}
	was := is.Role
	if was == c.Role {
		return store.RoleSet{Was: was}, nil
	}
	for u, other := range x.roster {
		if other.Role == store.RoleOwner && passes {
			other.Role = store.RoleAdmin
			x.roster[u] = other
		}
	}
	is.Role = c.Role
	x.roster[c.User] = is
	x.version++
	return store.RoleSet{Was: was}, nil
}

func (m *chatModel) putGroup(c store.PutGroup) (store.Result, error) {
	x := m.channel(c.Channel)
	if c.By != "" {
		by := x.roster[c.By].Role
		switch {
		case x.group == nil && len(x.roster) == 0:
			return nil, store.ErrNotFound
		case by == 0, c.Data != nil && by < store.RoleAdmin, c.Join != 0 && by < store.RoleOwner:
			return nil, store.ErrDenied
		}
	}
	g := store.GroupSettings{Join: store.JoinAdmins}
	if x.group != nil {
		g = *x.group
	}
	if c.Data != nil {
		g.Data = c.Data
	}
	g.Join = cmp.Or(c.Join, g.Join)
	if x.group == nil || x.group.Join != g.Join || !bytes.Equal(x.group.Data, g.Data) {
		x.group = &g
		x.version++
	}
	return store.GroupPut{GroupSettings: g}, nil
}

func (m *chatModel) mark(c store.MarkMember) (store.Result, error) {
	x := m.channel(c.Channel)
	is, there := x.roster[c.User]
	if !there {
		return nil, store.ErrNotFound
	}
	was := is
	is.Read = max(is.Read, min(c.Read, x.head.Top))
	is.Delivered = max(is.Delivered, min(c.Delivered, x.head.Top), is.Read)
	x.roster[c.User] = is
	return store.MemberMarked{Delivered: is.Delivered, Read: is.Read, Head: x.head.Top, Moved: is != was}, nil
}

// conversation is one for a member.
func (m *chatModel) conversation(name, user string) store.Conversation {
	x := m.channels[name]
	c := store.Conversation{Channel: name, Head: x.head, RosterMember: x.roster[user], Members: int64(len(x.roster)), Group: x.group}
	c.Place = store.ConversationPlace{Time: c.Since, Channel: name}
	if top := x.head.Top; top > c.Hidden {
		last := x.messages[top-1]
		c.Last, c.Place.Time = &last, last.Time
	}
	if len(x.roster) == 2 {
		for u, is := range x.roster {
			if u != user {
				c.Peer = is
			}
		}
	}
	return c
}

func (m *chatModel) conversations(q store.ConversationQuery) (p store.ConversationPage) {
	var all []store.Conversation
	for name, x := range m.channels {
		ns, _, _ := strings.Cut(name, ":")
		if _, is := x.roster[q.User]; !is || !slices.Contains(q.Namespaces, ns) {
			continue
		}
		c := m.conversation(name, q.User)
		p.Count++
		p.Unread += x.head.Top - min(c.Read, x.head.Top)
		all = append(all, c)
	}
	order := func(a, b store.ConversationPlace) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), strings.Compare(a.Channel, b.Channel))
	}
	slices.SortFunc(all, func(a, b store.Conversation) int { return order(a.Place, b.Place) })
	for _, c := range all {
		if q.After != (store.ConversationPlace{}) && order(c.Place, q.After) <= 0 {
			continue
		}
		if len(p.Items) == q.Limit {
			p.More = true
			break
		}
		p.Items = append(p.Items, c)
	}
	return p
}
