package hub

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
)

// Conn is one live, welcomed connection. The zero value is ready for [Hub.Add].
type Conn struct {
	// Static after Add.
	ID       id.Connection
	hub      *Hub
	shard    *shard
	out      Outlet
	owner    any
	encoding Encoding
	since    int64

	tap atomic.Pointer[tapped] // nil: nobody looks

	pos  int  // place in the shard's list; guarded by the shard's connsMu
	skip bool // left out of the pass that runs; the shard's worker alone uses it

	direct atomic.Uint32 // dropped messages that were addressed to it
	bound  atomic.Bool   // has a user

	// binding is held while the user or the subscriptions change, so that the
	// channels' counts of users stay right. It is taken before any other lock.
	binding sync.Mutex

	mu       sync.Mutex // guards all below
	identity auth.Identity
	subs     []*Sub
	session  []byte // a JSON object; nil: {}
	gone     bool
	inbox    bool // see TakeInbox
}

// Prepare says what the connection's way out is, before [Hub.Add] does.
func (c *Conn) Prepare(out Outlet, encoding Encoding) { c.out, c.encoding = out, encoding }

// Add makes a connection known. owner is what [Conn.Owner] gives back.
// Connections whose encodings are equal, as Go values, share what is encoded.
func (h *Hub) Add(c *Conn, out Outlet, encoding Encoding, owner any, identity auth.Identity, nowMilli int64) {
	if c.out == nil { // else it is in use already
		c.Prepare(out, encoding)
	}
	c.hub, c.owner, c.since = h, owner, nowMilli
	c.shard = h.shards[int(h.turn.Add(1))%len(h.shards)]
	// Bound before it can be found by its id: the caller may hold the outlet's lock,
	// which somebody who subscribes it at once would wait for while holding binding.
	c.bind(identity, true)
	cs := h.connStripe(c.ID)
	cs.mu.Lock()
	cs.m[c.ID] = c
	cs.mu.Unlock()
	c.shard.add(c)
}

// Remove forgets a connection: its subscriptions end, its user is unbound.
func (h *Hub) Remove(c *Conn) {
	for _, s := range c.leaveAll() {
		s.end()
	}
	h.unlist(c.User(), c, nil)
	cs := h.connStripe(c.ID)
	cs.mu.Lock()
	delete(cs.m, c.ID)
	cs.mu.Unlock()
	c.shard.remove(c)
	if w := h.watch.Load(); w != nil {
		w.Removed(c)
	}
}

// Gone tells whether the hub has forgotten the connection, or is about to.
func (c *Conn) Gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// leaveAll marks the connection as gone, so that nothing subscribes it any
// more, and gives what it was subscribed to.
func (c *Conn) leaveAll() []*Sub {
	c.binding.Lock()
	defer c.binding.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	return slices.Clone(c.subs)
}

// Owner is what was given to [Hub.Add].
func (c *Conn) Owner() any { return c.owner }

// Out is the connection's way out itself; who sends uses [Conn.Outlet].
func (c *Conn) Out() Outlet { return c.out }

// Since is when it was welcomed, in Unix milliseconds.
func (c *Conn) Since() int64 { return c.since }

// Identity is who the connection is.
func (c *Conn) Identity() auth.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity
}

// User is the id of the user it is bound to, "" when it is anonymous.
func (c *Conn) User() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity.User
}

// Sender describes the connection as the source of a message.
func (c *Conn) Sender() protocol.Sender {
	c.mu.Lock()
	defer c.mu.Unlock()
	return protocol.Sender{User: c.identity.User, Device: c.identity.Device, Connection: c.ID.String()}
}

// Session gives the session, a JSON object.
func (c *Conn) Session() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return []byte("{}")
	}
	return c.session
}

// UpdateSession replaces the session by what fn makes of it. fn gets a JSON
// object and must not keep or change it.
func (c *Conn) UpdateSession(fn func(old []byte) ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.session
	if old == nil {
		old = []byte("{}")
	}
	next, err := fn(old)
	if err != nil {
		return nil, err
	}
	c.session = next
	return next, nil
}

// SendFrame sends a JSON frame that must not be dropped; then runs before
// anything else is sent on the connection.
func (c *Conn) SendFrame(frame []byte, then func()) bool {
	return c.Outlet().SendControl(c.Encode(frame), then)
}

// Encode gives a frame in the encoding of the connection's transport.
func (c *Conn) Encode(frame []byte) []byte {
	return Encode(c.encoding, frame)
}

// Encoding is the encoding of the connection's transport.
func (c *Conn) Encoding() Encoding { return c.encoding }

// AppendEncoded appends a frame in the encoding of the connection's transport.
func (c *Conn) AppendEncoded(dst, frame []byte) []byte {
	return c.encoding.Append(dst, frame)
}

// wire encodes several frames, to leave in one write.
func (c *Conn) wire(first []byte, more [][]byte) []byte {
	b := c.Encode(first)
	for _, frame := range more {
		b = c.AppendEncoded(b, frame)
	}
	return b
}

// Channels gives the names of the channels it is subscribed to.
func (c *Conn) Channels() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, len(c.subs))
	for i, s := range c.subs {
		names[i] = s.ch.name
	}
	return names
}

// Subs gives its subscriptions.
func (c *Conn) Subs() []*Sub {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.subs)
}

func (c *Conn) subLocked(ch *Channel) *Sub {
	for _, s := range c.subs {
		if s.ch == ch {
			return s
		}
	}
	return nil
}

// subTo gives its subscription to a channel, nil when there is none.
func (c *Conn) subTo(ch *Channel) *Sub {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subLocked(ch)
}

// Bind makes the connection that of another user, or of nobody when the user is
// "". Its subscriptions stay; whoever watches them sees the old user leave and
// the new one join.
func (c *Conn) Bind(identity auth.Identity) { c.bind(identity, false) }

func (c *Conn) bind(identity auth.Identity, fresh bool) {
	h := c.hub
	c.binding.Lock()
	defer c.binding.Unlock()
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.bound.Store(identity.User != "")
	old := c.identity.User
	if old == identity.User {
		c.identity = identity
		c.mu.Unlock()
		if old == "" {
			return
		}
		h.list(old, c, nil)
		return
	}
	subs := slices.Clone(c.subs)
	c.mu.Unlock()
	for _, s := range subs {
		s.announce(rebound)
		s.shown = nil
		s.reason(Membership, false) // that was the old user
	}
	h.unlist(old, c, subs)
	c.mu.Lock()
	c.identity = identity
	c.inbox = false // that was the old user's
	c.mu.Unlock()
	h.list(identity.User, c, subs)
	if w := h.watch.Load(); w != nil {
		w.Bound(c, identity.User, fresh)
	}
	for _, s := range subs {
		s.announce(joined)
	}
}

// list puts a connection on its user's list and counts the user in subs, both
// at once as far as other connections of the user can see.
func (h *Hub) list(user string, c *Conn, subs []*Sub) {
	if user == "" {
		return
	}
	us := h.userStripe(user)
	us.mu.Lock()
	defer us.mu.Unlock()
	conns := us.m[user]
	if slices.Contains(conns, c) {
		return
	}
	if len(conns) == 0 {
		h.bound.Add(1)
		if h.cfg.UserChanged != nil {
			h.cfg.UserChanged(user, true)
		}
	}
	for _, s := range subs {
		if !subscribed(conns, s.ch, c) {
			s.ch.users.Add(1)
		}
	}
	us.m[user] = append(conns, c)
}

// unlist is the reverse of list.
func (h *Hub) unlist(user string, c *Conn, subs []*Sub) {
	if user == "" {
		return
	}
	us := h.userStripe(user)
	us.mu.Lock()
	defer us.mu.Unlock()
	conns := us.m[user]
	i := slices.Index(conns, c)
	if i < 0 {
		return
	}
	for _, s := range subs {
		if !subscribed(conns, s.ch, c) {
			s.ch.users.Add(-1)
		}
	}
	if len(conns) == 1 {
		delete(us.m, user)
		h.bound.Add(-1)
		if h.cfg.UserChanged != nil {
			h.cfg.UserChanged(user, false)
		}
		return
	}
	us.m[user] = slices.Delete(slices.Clone(conns), i, i+1)
}

// directly is a Conn as the subscriber of messages that are addressed to it.
type directly Conn

// Live implements link.Subscriber.
func (d *directly) Live() bool { return true }

// Dropped implements link.Subscriber.
func (d *directly) Dropped(n uint32) { d.direct.Add(n) }

// Drops takes the counts of messages that did not fit since the last call, by
// channel; those addressed to the connection are under [protocol.Direct].
func (c *Conn) Drops(fn func(channel string, count uint32)) {
	if n := c.direct.Swap(0); n > 0 {
		fn(protocol.Direct, n)
	}
	for _, s := range c.Subs() {
		if n := s.drops.Swap(0); n > 0 {
			fn(s.ch.name, n)
		}
	}
}

// Encode gives a frame in an encoding.
func Encode(e Encoding, frame []byte) []byte {
	return e.Append(make([]byte, 0, len(frame)+16), frame)
}

// Encoding gives one of [Config].Encodings.
func (h *Hub) Encoding(index int) Encoding { return h.cfg.Encodings[index] }
