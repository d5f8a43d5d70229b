package hub

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/fault"
)

// Channel is a channel that has subscribers. It exists as long as it has any.
type Channel struct {
	name     string
	space    *Space
	told     bool       // [Config].ChannelChanged hears of it
	refs     int        // who uses it; guarded by the stripe's lock
	occupied int        // its subscriptions as far as they are told; guarded by the stripe's lock
	order    sync.Mutex // keeps what is published in the same order in every shard; guards timing
	timing   timing
	parts    []part // subscribers, by shard
	subs     atomic.Int64
	users    atomic.Int64 // distinct users among the subscribers
	members  atomic.Int64 // subscribers that are there as members
	belong   atomic.Int64 // distinct users among those
	watchers atomic.Int64 // subscribers that asked for join and leave
	large    atomic.Bool  // its watchers see counts only; changes under tell

	tell    sync.Mutex // keeps what watchers see in order; guards notices
	notices *notices   // nil: nothing is held back, no counts were shown
	alarm   alarm      // guarded by the hub's clock
}

// part is a channel's subscribers in one shard.
type part struct {
	ch    *Channel
	shard *shard

	// Guarded by shard.mu.
	pending []pend
	spare   []pend
	bytes   int
	dirty   bool

	mu      sync.Mutex // guards all below
	subs    []*Sub     // nil where one left during a pass
	passing bool
	holes   int
}

// Sub is one connection's subscription to one channel.
type Sub struct {
	conn     *Conn
	ch       *Channel
	pos      int         // in part.subs, guarded by part.mu
	live     atomic.Bool // false until the subscriber has been told, and after it left
	presence atomic.Bool // wants join and leave
	drops    atomic.Uint32
	reasons  atomic.Uint32 // why it is there: bits of Reason
	cursor   *cursor       // not nil: the channel is kept
	skip     bool          // left out of the pass that runs; the shard's worker alone uses it
	data     []byte        // presence data, raw JSON; guarded by conn.mu
	shown    *place        // what watchers know it by; nil: its connection's id; guarded by conn.binding
}

// Live implements link.Subscriber.
func (s *Sub) Live() bool { return s.live.Load() }

// Dropped implements link.Subscriber.
func (s *Sub) Dropped(n uint32) { s.drops.Add(n) }

// Channel is what is subscribed to.
func (s *Sub) Channel() *Channel { return s.ch }

// Reason is why a subscription is there. There may be several reasons; it ends
// with the last of them.
type Reason uint32

// The reasons.
const (
	Asked      Reason = 1 << iota // by the client, within its rights
	Granted                       // by the client, because the application allowed it beyond its rights
	Ordered                       // by the server
	Membership                    // its user is a member of the channel
)

// Reasons tells why the subscription is there.
func (s *Sub) Reasons() Reason { return Reason(s.reasons.Load()) }

func (s *Sub) member() bool { return s.Reasons()&Membership != 0 }

// Name is the channel's name.
func (ch *Channel) Name() string { return ch.name }

// Space is the rules it was opened under.
func (ch *Channel) Space() *Space { return ch.space }

// Counts tells how many connections, and how many users among them, are subscribed.
func (ch *Channel) Counts() (connections, users int) {
	return int(ch.subs.Load()), int(ch.users.Load())
}

// SubOptions says how to subscribe.
type SubOptions struct {
	Presence bool   // wants join and leave
	By       Reason // zero: Asked
	Limit    int    // subscriptions the connection may have; zero: any number
	// Reply gives the frame that tells the client, nil for none; it is sent before
	// any message of the channel. When the subscription was there already, only a
	// client is told, because it asked.
	Reply func() []byte
	// User is whose right to subscribe was looked up. When the connection has become
	// another's since, it is not subscribed. Nil: anybody.
	User *string
	// Log says where a subscription to a channel that is kept begins; nil for other channels.
	// On a subscription that is there already it begins anew.
	Log  *Start
	More [][]byte // frames that follow the reply
}

func (o SubOptions) frame() []byte {
	if o.Reply == nil {
		return nil
	}
	return o.Reply()
}

// Subscribe subscribes a connection to a channel. Subscribing again changes the
// options. fresh tells whether it is a new subscription.
func (h *Hub) Subscribe(c *Conn, name string, space *Space, opt SubOptions) (fresh bool, err error) {
	cs := h.channelStripe(name)
	cs.mu.Lock()
	ch := cs.m[name]
	if ch == nil {
		ch = &Channel{name: name, space: space, parts: make([]part, len(h.shards))}
		ch.told = h.cfg.ChannelChanged != nil && !strings.HasPrefix(name, "@")
		for i := range ch.parts {
			ch.parts[i].ch, ch.parts[i].shard = ch, h.shards[i]
		}
		cs.m[name] = ch
	}
	ch.refs++
	cs.mu.Unlock()

	// Held to the end, so that leaving finds the subscription whole or not at all.
	c.binding.Lock()
	defer c.binding.Unlock()
	s := &Sub{conn: c, ch: ch}
	if opt.Log != nil {
		s.cursor = &cursor{next: opt.Log.Next, floor: opt.Log.Floor, echo: opt.Log.Echo, view: opt.Log.View, stage: stageBehind}
	}
	if opt.By == 0 {
		opt.By = Asked
	}
	old, err := h.enlist(c, s, opt)
	if err != nil || old != nil {
		h.release(ch, false)
		if err != nil {
			return false, err
		}
		old.reason(opt.By, true)
		if opt.By&(Asked|Granted) == 0 {
			return false, nil // what its client asked for stays as it is
		}
		old.watch(opt.Presence)
		frame := opt.frame()
		switch {
		case opt.Log != nil && old.cursor != nil:
			old.restart(*opt.Log, c.wire(frame, opt.More))
		case frame != nil:
			c.SendFrame(frame, nil)
		}
		return false, nil
	}
	h.occupy(ch)
	if s.cursor != nil {
		h.metrics.Behind.Add(1)
	}
	s.reason(opt.By, true)
	ch.parts[c.shard.index].add(s)
	ch.subs.Add(1)
	s.watch(opt.Presence)
	// Before its client knows: whoever begins to watch after that is not told.
	s.announce(joined)
	if frame := opt.frame(); frame != nil {
		c.Outlet().SendControl(c.wire(frame, opt.More), func() { s.live.Store(true) })
	}
	s.live.Store(true)
	if s.cursor != nil {
		h.cfg.Joined(s)
	}
	return true, nil
}

// enlist puts s on its connection's list and counts its user, both at once as
// far as other connections of the user can see. It gives the subscription that
// was there already, if any. c.binding is held.
func (h *Hub) enlist(c *Conn, s *Sub, opt SubOptions) (old *Sub, err error) {
	insert := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if old = c.subLocked(s.ch); old != nil {
			return
		}
		if c.gone {
			err = fault.New(fault.NotFound, "the connection has ended")
			return
		}
		if opt.Limit > 0 && len(c.subs) >= opt.Limit {
			err = fault.New(fault.TooLarge, "channel: a connection may subscribe to %d channels (limits.subscriptions)", opt.Limit)
			return
		}
		c.subs = append(c.subs, s)
	}
	user := c.User()
	if opt.User != nil && *opt.User != user {
		return nil, fault.New(fault.Denied, "the connection was bound to another user meanwhile")
	}
	if user == "" {
		insert()
		return old, err
	}
	us := h.userStripe(user)
	us.mu.Lock()
	defer us.mu.Unlock()
	others := subscribed(us.m[user], s.ch, nil)
	insert()
	if old == nil && err == nil && !others {
		s.ch.users.Add(1)
	}
	return old, err
}

// subscribed tells whether any of conns but one is subscribed to ch.
func subscribed(conns []*Conn, ch *Channel, but *Conn) bool {
	for _, c := range conns {
		if c != but && c.subTo(ch) != nil {
			return true
		}
	}
	return false
}

// occupy tells of a channel that has its first subscriber. A channel is there a
// little earlier and a little later than that, while somebody uses it.
func (h *Hub) occupy(ch *Channel) {
	if !ch.told {
		return
	}
	cs := h.channelStripe(ch.name)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	ch.occupied++
	if ch.occupied == 1 {
		h.cfg.ChannelChanged(ch.name, true)
	}
}

// release drops one reference to a channel, which ends with the last. left tells
// whether it was that of a subscription that was there.
func (h *Hub) release(ch *Channel, left bool) {
	cs := h.channelStripe(ch.name)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	ch.refs--
	if ch.refs == 0 {
		delete(cs.m, ch.name)
	}
	if left && ch.told {
		ch.occupied--
		if ch.occupied == 0 {
			h.cfg.ChannelChanged(ch.name, false)
		}
	}
}

// Unsubscribe ends a subscription; false when there was none. No message of the
// channel is sent once it has returned.
func (h *Hub) Unsubscribe(c *Conn, name string) bool {
	ch := h.Channel(name)
	if ch == nil {
		return false
	}
	s := c.subTo(ch)
	if s == nil {
		return false
	}
	return s.end()
}

// end takes the subscription away; false: it was gone already.
func (s *Sub) end() bool {
	s.conn.binding.Lock()
	defer s.conn.binding.Unlock()
	return s.endBound()
}

// endBound is end while the connection's binding is held.
func (s *Sub) endBound() bool {
	ch := s.ch
	s.live.Store(false)
	s.reason(Membership, false)
	if !s.delist() {
		return false
	}
	ch.parts[s.conn.shard.index].remove(s)
	ch.subs.Add(-1)
	s.endCursor()
	s.watch(false)
	s.announce(left)
	s.conn.hub.release(ch, true)
	return true
}

// delist takes the subscription off its connection's list and counts its user,
// as enlist does. The connection's binding is held.
func (s *Sub) delist() bool {
	c, ch, h := s.conn, s.ch, s.conn.hub
	remove := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.subs, s)
		if i < 0 {
			return false
		}
		c.subs[i] = c.subs[len(c.subs)-1]
		c.subs[len(c.subs)-1] = nil
		c.subs = c.subs[:len(c.subs)-1]
		if len(c.subs) == 0 {
			c.subs = nil
		}
		return true
	}
	user := c.User()
	if user == "" {
		return remove()
	}
	us := h.userStripe(user)
	us.mu.Lock()
	defer us.mu.Unlock()
	if !remove() {
		return false
	}
	if !subscribed(us.m[user], ch, c) {
		ch.users.Add(-1)
	}
	return true
}

func (s *Sub) watch(on bool) {
	if s.presence.Swap(on) != on {
		if on {
			s.ch.watchers.Add(1)
		} else if s.ch.watchers.Add(-1) == 0 {
			s.conn.hub.unwatched(s.ch)
		}
	}
}

func (p *part) add(s *Sub) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.pos = len(p.subs)
	p.subs = append(p.subs, s)
}

func (p *part) remove(s *Sub) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.passing {
		// A pass goes through the list by index, so nothing may change its place.
		p.subs[s.pos] = nil
		p.holes++
		return
	}
	p.swapOut(s.pos)
}

func (p *part) swapOut(pos int) {
	last := len(p.subs) - 1
	p.subs[pos] = p.subs[last]
	if p.subs[pos] != nil {
		p.subs[pos].pos = pos
	}
	p.subs[last] = nil
	p.subs = p.subs[:last]
	if cap(p.subs) > 64 && last < cap(p.subs)/4 {
		p.subs = append(make([]*Sub, 0, cap(p.subs)/2), p.subs...)
	}
}

// Conns lists the connections that are subscribed.
func (ch *Channel) Conns() []*Conn {
	var list []*Conn
	for _, s := range ch.Subs() {
		list = append(list, s.conn)
	}
	return list
}

// Subs lists the subscriptions.
func (ch *Channel) Subs() []*Sub {
	var list []*Sub
	for i := range ch.parts {
		p := &ch.parts[i]
		p.mu.Lock()
		for _, s := range p.subs {
			if s != nil {
				list = append(list, s)
			}
		}
		p.mu.Unlock()
	}
	return list
}
