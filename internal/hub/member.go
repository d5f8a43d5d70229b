package hub

import "context"

// reason adds or takes away reasons why a subscription is there, and tells which
// are left. The connection's binding is held.
func (s *Sub) reason(r Reason, there bool) Reason {
	was := s.Reasons()
	next := was &^ r
	if there {
		next = was | r
	}
	if (was^next)&Membership != 0 {
		s.count(next)
	} else {
		s.reasons.Store(uint32(next))
	}
	return next
}

// count is reason where the subscription becomes or ceases to be a member's: the
// channel's counts change at once with it, as far as the user's other connections
// can see.
func (s *Sub) count(next Reason) {
	c, ch, h := s.conn, s.ch, s.conn.hub
	user := c.User()
	us := h.userStripe(user)
	us.mu.Lock()
	defer us.mu.Unlock()
	s.reasons.Store(uint32(next))
	change := int64(-1)
	if next&Membership != 0 {
		change = 1
	}
	ch.members.Add(change)
	if user == "" {
		return // nobody's connection is no user
	}
	for _, other := range us.m[user] {
		if other == c {
			continue
		}
		if o := other.subTo(ch); o != nil && o.member() {
			return
		}
	}
	ch.belong.Add(change)
}

// Drop takes away reasons why a connection is subscribed to a channel. had tells
// whether one of them was there, ended whether the subscription has ended because
// none is left.
func (h *Hub) Drop(c *Conn, name string, r Reason) (had, ended bool) {
	ch := h.Channel(name)
	if ch == nil {
		return false, false
	}
	c.binding.Lock()
	defer c.binding.Unlock()
	s := c.subTo(ch)
	if s == nil || s.Reasons()&r == 0 {
		return false, false
	}
	if s.reason(r, false) != 0 {
		return true, false
	}
	return true, s.endBound()
}

// IsMember tells whether a connection is subscribed to a channel as a member.
func (h *Hub) IsMember(c *Conn, name string) bool {
	ch := h.Channel(name)
	if ch == nil {
		return false
	}
	s := c.subTo(ch)
	return s != nil && s.member()
}

// PublishMembers hands a frame to every connection that is subscribed to a channel
// as a member, but those in except. Otherwise it is [Hub.Publish].
func (h *Hub) PublishMembers(ctx context.Context, channel string, frame []byte, except []*Conn) (Reach, error) {
	ch := h.Channel(channel)
	if ch == nil || ch.members.Load() == 0 {
		h.published(channel, frame)
		h.metrics.Published.Add(1)
		return Reach{}, nil
	}
	if err := h.await(ctx, func(i int) *part { return &ch.parts[i] }); err != nil {
		return Reach{}, err
	}
	r := h.reach(ch, except, true)
	h.enqueue(ch, pend{frame: frame, except: except, membersOnly: true, timed: true})
	h.metrics.Published.Add(1)
	return r, nil
}

// MemberConns lists the connections that are subscribed as members.
func (ch *Channel) MemberConns() []*Conn {
	var list []*Conn
	for i := range ch.parts {
		p := &ch.parts[i]
		p.mu.Lock()
		for _, s := range p.subs {
			if s != nil && s.member() {
				list = append(list, s.conn)
			}
		}
		p.mu.Unlock()
	}
	return list
}
