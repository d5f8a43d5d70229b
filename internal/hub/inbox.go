package hub

import (
	"slices"

	"github.com/skein-realtime/skein/internal/link"
)

// Native tells whether the connection speaks the client protocol as it is: its
// encoding is one of [Config].Encodings. The others get frames as something else, and
// what has no counterpart there is not for them: they have no inbox.
func (c *Conn) Native() bool { return slices.Contains(c.hub.cfg.Encodings, c.encoding) }

// TakeInbox marks a connection as one that gets what is for its user, from now on and
// until it gets another user. False: it is marked already, is not the user's, or has
// ended.
func (c *Conn) TakeInbox(user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.inbox || c.identity.User != user {
		return false
	}
	c.inbox = true
	return true
}

// TakesInbox tells whether a connection is marked, and the user's.
func (c *Conn) TakesInbox(user string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inbox && !c.gone && c.identity.User == user
}

// AppendInboxes appends those connections of a user that are marked.
func (h *Hub) AppendInboxes(dst []*Conn, user string) []*Conn {
	s := h.userStripe(user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.m[user] {
		if c.TakesInbox(user) {
			dst = append(dst, c)
		}
	}
	return dst
}

// HasUser tells whether a user has a connection.
func (h *Hub) HasUser(user string) bool {
	s := h.userStripe(user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.m[user]) > 0
}

// CountConns tells how many connections a user has.
func (h *Hub) CountConns(user string) int {
	s := h.userStripe(user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.m[user])
}

// CountUsers tells how many users have a connection.
func (h *Hub) CountUsers() int { return int(h.bound.Load()) }

// EachUser calls fn for every user with a connection until it returns false. No lock
// is held during the call.
func (h *Hub) EachUser(fn func(user string) bool) {
	var names []string
	for i := range h.users {
		s := &h.users[i]
		names = names[:0]
		s.mu.RLock()
		for user := range s.m {
			names = append(names, user)
		}
		s.mu.RUnlock()
		for _, user := range names {
			if !fn(user) {
				return
			}
		}
	}
}

// personally is a connection as the receiver of what is for its user: once it is
// somebody else's, nothing of that reaches it.
type personally struct {
	c    *Conn
	user string
}

// Live implements link.Subscriber.
func (p *personally) Live() bool { return p.c.TakesInbox(p.user) }

// Dropped implements link.Subscriber. What was offered is not dropped.
func (p *personally) Dropped(uint32) {}

// OfferInbox hands bytes, n messages in the encoding of the connection, to one that
// gets what is for its user. there is false when it does not, any more. taken is false
// when the bytes did not fit: [Config].Drained tells when to try again.
func (c *Conn) OfferInbox(user string, wire []byte, n int) (taken, there bool) {
	p := &personally{c, user}
	bufs := [1]link.Buf{{B: wire, N: uint32(n)}}
	if !p.Live() {
		return false, false
	}
	if c.Outlet().Offer(bufs[:], p) == 0 {
		return false, true
	}
	c.hub.metrics.Deliveries.Add(int64(n))
	return true, p.Live()
}
