package hub

import (
	"context"

	"github.com/skein-realtime/skein/internal/link"
)

// Reach is how far a message got: it was handed to the queues of so many
// connections, of so many users among them.
type Reach struct {
	Connections int
	Users       int
}

// Publish hands a frame to every subscriber of a channel but those in except.
// It waits while too much is pending; its error is then unavailable and the
// frame has reached nobody.
func (h *Hub) Publish(ctx context.Context, channel string, frame []byte, except []*Conn) (Reach, error) {
	ch := h.Channel(channel)
	if ch == nil {
		h.published(channel, frame)
		h.metrics.Published.Add(1)
		return Reach{}, nil
	}
	if err := h.await(ctx, func(i int) *part { return &ch.parts[i] }); err != nil {
		return Reach{}, err
	}
	r := h.reach(ch, except, false)
	h.enqueue(ch, pend{frame: frame, except: except, timed: true})
	h.metrics.Published.Add(1)
	return r, nil
}

// Reach tells how far a message in a channel gets that is not for those in except.
func (h *Hub) Reach(channel string, except []*Conn) Reach {
	ch := h.Channel(channel)
	if ch == nil {
		return Reach{}
	}
	return h.reach(ch, except, false)
}

func (h *Hub) reach(ch *Channel, except []*Conn, members bool) Reach {
	connections, users := ch.Counts()
	if members {
		connections, users = int(ch.members.Load()), int(ch.belong.Load())
	}
	r := Reach{connections, users}
	var left map[string]bool // users who are left out by at least one connection
	for _, c := range except {
		if s := c.subTo(ch); s == nil || members && !s.member() {
			continue
		}
		r.Connections--
		user := c.User()
		if user == "" || left[user] {
			continue
		}
		if left == nil {
			left = map[string]bool{}
		}
		left[user] = true
		if !h.reaches(ch, user, except, members) {
			r.Users--
		}
	}
	r.Connections, r.Users = max(0, r.Connections), max(0, r.Users)
	return r
}

// reaches tells whether a user has a subscribed connection outside except.
func (h *Hub) reaches(ch *Channel, user string, except []*Conn, members bool) bool {
	for _, c := range h.UserConns(user) {
		if s := c.subTo(ch); s != nil && (!members || s.member()) && !contains(except, c) {
			return true
		}
	}
	return false
}

func contains(list []*Conn, c *Conn) bool {
	for _, x := range list {
		if x == c {
			return true
		}
	}
	return false
}

// PublishAll hands a frame to every connection, or to every connection with a
// user, but those in except.
func (h *Hub) PublishAll(ctx context.Context, boundOnly bool, frame []byte, except []*Conn) (Reach, error) {
	if err := h.await(ctx, func(i int) *part { return &h.shards[i].all }); err != nil {
		return Reach{}, err
	}
	out := make(map[*Conn]bool, len(except))
	for _, c := range except {
		out[c] = true
	}
	var r Reach
	users := map[string]bool{}
	h.EachConn(func(c *Conn) bool {
		user := c.User()
		if out[c] || boundOnly && user == "" {
			return true
		}
		r.Connections++
		if user != "" {
			users[user] = true
		}
		return true
	})
	r.Users = len(users)
	h.everybody(pend{frame: frame, boundOnly: boundOnly, except: except, timed: true})
	h.metrics.Published.Add(1)
	return r, nil
}

// PublishTo hands a frame to the connections given; the caller has removed
// doubles.
func (h *Hub) PublishTo(conns []*Conn, frame []byte) Reach {
	var wire encoded
	users := make(map[string]struct{}, 1)
	for _, c := range conns {
		bufs := [1]link.Buf{{B: wire.of(c.encoding, frame), N: 1}}
		c.Outlet().Send(bufs[:], (*directly)(c))
		if user := c.User(); user != "" {
			users[user] = struct{}{}
		}
	}
	h.metrics.Published.Add(1)
	h.metrics.Deliveries.Add(int64(len(conns)))
	return Reach{Connections: len(conns), Users: len(users)}
}

// encoded is one frame in the encodings that were asked for so far.
type encoded []struct {
	encoding Encoding
	wire     []byte
}

func (e *encoded) of(encoding Encoding, frame []byte) []byte {
	for i := range *e {
		if (*e)[i].encoding == encoding {
			return (*e)[i].wire
		}
	}
	wire := Encode(encoding, frame)
	*e = append(*e, struct {
		encoding Encoding
		wire     []byte
	}{encoding, wire})
	return wire
}
