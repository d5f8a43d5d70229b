package hub

import (
	"container/list"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
)

// What watchers of a channel see. In a small channel each connection that comes
// or goes is one frame to each of them. That grows with the square of the
// subscribers, so a large channel shows its counts instead, and not more often
// than people can read them.

const (
	presenceMax = 1000        // of a namespace that says nothing else
	countsEvery = time.Second // how often a large channel shows its counts
)

// most is how many connections a channel may have that announces who joins and leaves.
func (s *Space) most() int64 {
	if s.PresenceMax <= 0 {
		return presenceMax
	}
	return int64(s.PresenceMax)
}

// few is how many a large channel may have to become small again. It is less than
// most, so that a channel near its limit does not go to and fro.
func (s *Space) few() int64 { return s.most() * 9 / 10 }

// rules gives the rules of now, which a reload may have changed since the
// channel was opened.
func (h *Hub) rules(ch *Channel) *Space {
	if space := h.Space(ch.space.Name); space != nil {
		return space
	}
	return ch.space
}

// event is what may be announced of a subscription.
type event uint8

const (
	joined  event = iota
	left          // it may be back at once
	rebound       // its connection has another user from now on
	renewed       // it shows other data
)

// notices is what a channel has told its watchers and will tell them later.
type notices struct {
	// The leaves that are held back, each in both.
	line list.List                  // by due, as far as the grace time does not change
	held map[string][]*list.Element // by user, the oldest first

	// The names of places that are not, or not only, of the connection with that id:
	// those of the leaves, and those that others have taken over from them.
	lent map[id.Connection]struct{}
	era  *era // that in which they hold

	sent               time.Time // when the counts were shown; zero: never
	connections, users int       // those that were
	changed            bool      // they did, and that has not been shown
}

// era is a time in which watchers know who is there by the names of places; its
// address tells it from others. It ends when nobody watches, or when they see
// counts only.
type era struct{ _ byte }

// place is what watchers know a subscription by when that is not the id of its
// connection.
type place struct {
	id  id.Connection
	era *era
}

// absence is a connection of a user that has left while watchers think that it
// is there.
type absence struct {
	user    string
	shown   id.Connection
	data    []byte
	at, due time.Time
}

// announce tells the channel's watchers about the subscription. The connection's
// binding is held.
func (s *Sub) announce(what event) {
	ch, c := s.ch, s.conn
	h := c.hub
	if ch.watchers.Load() == 0 {
		return
	}
	space := h.rules(ch)
	if space.Presence != PresenceMembers {
		return
	}
	c.mu.Lock()
	user, data := c.identity.User, s.data
	c.mu.Unlock()
	ch.tell.Lock()
	defer ch.tell.Unlock()
	grown := !ch.large.Load() && ch.subs.Load() > space.most()
	if grown {
		h.dismissLocked(ch)
		ch.large.Store(true)
	}
	if ch.large.Load() {
		if grown || what != renewed {
			h.countLocked(ch, space)
		}
		return
	}
	now, shown := time.Now(), s.shownLocked()
	switch what {
	case left:
		if user != "" && space.PresenceGrace > 0 {
			h.holdLocked(ch, &absence{user, shown, data, now, now.Add(space.PresenceGrace)})
			return
		}
		fallthrough
	case rebound:
		ch.freeLocked(shown)
		h.enqueue(ch, pend{frame: presenceFrame(protocol.TypeLeave, ch, user, shown, nil, now), watchersOnly: true, except: []*Conn{c}})
		return
	case joined:
		a := h.takeLocked(ch, user)
		if shown = s.settleLocked(a); a != nil && data == nil {
			c.mu.Lock()
			s.data = a.data
			c.mu.Unlock()
			return
		}
	}
	h.enqueue(ch, pend{frame: presenceFrame(protocol.TypeJoin, ch, user, shown, data, now), watchersOnly: true, except: []*Conn{c}})
}

// shownLocked is what watchers know the subscription by.
func (s *Sub) shownLocked() id.Connection {
	if n := s.ch.notices; s.shown != nil && n != nil && s.shown.era == n.era {
		return s.shown.id
	}
	return s.conn.ID
}

// settleLocked gives a subscription that is new to watchers its name: that of
// the absence which it ends, or of its connection if nobody else goes by that.
func (s *Sub) settleLocked(a *absence) id.Connection {
	n := s.ch.notices
	s.shown = nil
	switch {
	case a != nil && a.shown == s.conn.ID:
		s.ch.freeLocked(a.shown)
	case a != nil:
		s.shown = &place{a.shown, n.era}
	case n != nil && n.isLent(s.conn.ID):
		s.shown = &place{id.NewConnection(), n.era}
	}
	return s.shownLocked()
}

func (n *notices) isLent(name id.Connection) bool {
	_, lent := n.lent[name]
	return lent
}

// freeLocked gives a name back to the connection with that id.
func (ch *Channel) freeLocked(name id.Connection) {
	if ch.notices != nil {
		delete(ch.notices.lent, name)
	}
}

func presenceFrame(kind string, ch *Channel, user string, shown id.Connection, data []byte, at time.Time) []byte {
	b := make([]byte, 0, 160+len(data))
	b = append(append(append(b, `{"type":"`...), kind...), `","channel":`...)
	b = protocol.AppendString(b, ch.name)
	if user != "" {
		b = protocol.AppendString(append(b, `,"user":`...), user)
	}
	b = append(shown.Append(append(b, `,"connection":"`...)), '"')
	if data != nil {
		b = append(append(b, `,"data":`...), data...)
	}
	return append(strconv.AppendInt(append(b, `,"time":`...), at.UnixMilli(), 10), '}')
}

func (ch *Channel) noticesLocked() *notices {
	if ch.notices == nil {
		ch.notices = &notices{held: map[string][]*list.Element{}, lent: map[id.Connection]struct{}{}, era: new(era)}
	}
	return ch.notices
}

// holdLocked keeps a leave back until it is due.
func (h *Hub) holdLocked(ch *Channel, a *absence) {
	n := ch.noticesLocked()
	n.held[a.user] = append(n.held[a.user], n.line.PushBack(a))
	n.lent[a.shown] = struct{}{}
	h.metrics.Held.Add(1)
	h.clock.set(ch, a.due)
}

// takeLocked gives the absence that ends now that a user joins; nil: none.
func (h *Hub) takeLocked(ch *Channel, user string) *absence {
	n := ch.notices
	if n == nil || user == "" || len(n.held[user]) == 0 {
		return nil
	}
	h.metrics.Returned.Add(1)
	return h.dropLocked(n, n.held[user][0])
}

// dropLocked forgets an absence, the oldest of its user.
func (h *Hub) dropLocked(n *notices, e *list.Element) *absence {
	a := n.line.Remove(e).(*absence)
	if of := n.held[a.user]; len(of) == 1 {
		delete(n.held, a.user)
	} else {
		of[0] = nil
		n.held[a.user] = of[1:]
	}
	h.metrics.Held.Add(-1)
	return a
}

// dismissLocked forgets all absences: nobody is to be told of them.
func (h *Hub) dismissLocked(ch *Channel) {
	if n := ch.notices; n != nil {
		h.metrics.Held.Add(-int64(n.line.Len()))
		n.line.Init()
		clear(n.held)
		clear(n.lent)
		n.era = new(era)
	}
}

// countLocked shows the counts of a large channel, which have changed: at once,
// or when enough time has gone by since the last ones.
func (h *Hub) countLocked(ch *Channel, space *Space) {
	n, now := ch.noticesLocked(), time.Now()
	n.changed = true
	if next := n.sent.Add(countsEvery); now.Before(next) {
		h.clock.set(ch, next)
		return
	}
	h.showLocked(ch, space, now)
}

// showLocked shows the counts. A large channel that has shrunk becomes small with
// them, and not before: its watchers know from this frame on what to expect.
func (h *Hub) showLocked(ch *Channel, space *Space, now time.Time) {
	n := ch.notices
	n.changed = false
	connections, users := ch.Counts()
	large := int64(connections) > space.few()
	if large && connections == n.connections && users == n.users {
		return
	}
	ch.large.Store(large)
	n.sent, n.connections, n.users = now, connections, users
	if !large {
		n.connections, n.users = 0, 0
	}
	b := make([]byte, 0, 160)
	b = append(append(append(b, `{"type":"`...), protocol.TypePresence...), `","channel":`...)
	b = protocol.AppendString(b, ch.name)
	b = strconv.AppendInt(append(b, `,"connections":`...), int64(connections), 10)
	b = strconv.AppendInt(append(b, `,"users":`...), int64(users), 10)
	if large {
		b = append(b, `,"large":true`...)
	}
	b = append(strconv.AppendInt(append(b, `,"time":`...), now.UnixMilli(), 10), '}')
	h.metrics.Counted.Add(1)
	h.enqueue(ch, pend{frame: b, watchersOnly: true})
}

// ring tells a channel's watchers what is due. The clock calls it.
func (h *Hub) ring(ch *Channel) {
	ch.tell.Lock()
	defer ch.tell.Unlock()
	n := ch.notices
	if n == nil {
		return
	}
	space, now := h.rules(ch), time.Now()
	if space.Presence != PresenceMembers {
		h.dismissLocked(ch)
		n.changed = false
		return
	}
	for e := n.line.Front(); e != nil; e = n.line.Front() {
		if due := e.Value.(*absence).due; due.After(now) {
			h.clock.set(ch, due)
			break
		}
		a := h.dropLocked(n, e)
		ch.freeLocked(a.shown)
		h.enqueue(ch, pend{frame: presenceFrame(protocol.TypeLeave, ch, a.user, a.shown, nil, a.at), watchersOnly: true})
	}
	if n.changed {
		h.countLocked(ch, space)
	}
}

// unwatched forgets what watchers would have been told, now that there are none.
func (h *Hub) unwatched(ch *Channel) {
	ch.tell.Lock()
	defer ch.tell.Unlock()
	if ch.watchers.Load() > 0 {
		return // another one has come
	}
	h.dismissLocked(ch)
	h.clock.unset(ch)
	ch.notices = nil
	ch.large.Store(false)
}

// SetPresence sets what the connection shows of itself in a channel, raw JSON;
// nil: nothing. False when it is not subscribed.
func (h *Hub) SetPresence(c *Conn, ch *Channel, data []byte) bool {
	// Who leaves at the same time must not be announced after that.
	c.binding.Lock()
	defer c.binding.Unlock()
	c.mu.Lock()
	s := c.subLocked(ch)
	if s != nil {
		s.data = data
	}
	c.mu.Unlock()
	if s == nil {
		return false
	}
	s.announce(renewed)
	return true
}
