// Package hub knows who is connected, who is bound to which user and who is
// subscribed to which channel, and it fans messages out.
//
// Connections are dealt to shards, one per processor. Each shard has one worker
// goroutine that takes everything that is pending for a channel, joins it into
// one buffer per encoding and hands that to every subscriber: a message is
// encoded once, however many receive it, and under load many messages leave in
// one write. A publisher waits when a shard has more pending than a pass should
// carry, so publishers are paced by the passes and memory stays bounded.
//
// Everything is in memory and belongs to live connections; nothing is stored.
// One more goroutine, the clock, tells watchers of a channel what was held back
// for a while. [Hub.Close] stops the workers and the clock, and waits for them.
package hub

import (
	"hash/maphash"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/latency"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
)

// Outlet is the way out of a connection, whatever its transport.
type Outlet interface {
	// Send hands over messages that may be dropped when the peer is slow.
	Send(bufs []link.Buf, sub link.Subscriber)
	// SendControl hands over frames that must not be dropped, then runs then before
	// anything else is sent. False: the connection has ended.
	SendControl(wire []byte, then func()) bool
	// Offer hands over messages that are kept elsewhere, from the first on as far as
	// they fit, and tells how many it took; Conn.Drained is called when it can take
	// more. One that has ended, or a subscriber that is not live, takes all.
	Offer(bufs []link.Buf, sub link.Subscriber) int
	// SendFirst runs before and sends wire, with nothing of anybody else in between.
	// False: the connection has ended, nothing was done.
	SendFirst(before func(), wire []byte) bool
	// Close says goodbye with last and ends the connection.
	Close(reason protocol.Close, message string, last []byte)
	Queued() int
	Written() int64 // bytes that have left
	Transport() string
	Remote() netip.AddrPort
}

// Encoding turns a JSON frame into the bytes of a transport. Its values can be
// compared: equal ones make the same bytes.
type Encoding interface {
	Append(dst, frame []byte) []byte
}

// Presence is how much of a channel's presence is shown.
type Presence uint8

// The values of a namespace's presence setting; the zero value shows nothing.
const (
	PresenceNone Presence = iota
	PresenceCounts
	PresenceMembers
)

// Space is the rules of a namespace. It does not change; a reload makes new ones.
type Space struct {
	Name                           string
	Kind                           string
	Subscribe, Publish, PresenceTo auth.Who
	Presence                       Presence

	// PresenceMax is how many connections a channel may have whose watchers see who
	// joins and leaves; above it they see counts. Zero: 1000.
	PresenceMax int
	// PresenceGrace is how long the leave of a user is held back, because it may be
	// back at once. Zero: not at all.
	PresenceGrace time.Duration

	// Of a log or doc namespace.
	History auth.Who      // of a log
	Count   int           // messages that a channel keeps; zero: all
	Age     time.Duration // how long; zero: for ever

	Chat *Chat // its channels are conversations; nil: they are not

	// Of a doc namespace.
	Patch  auth.Who
	Places *auth.Places           // who may do what where; nil: nobody is held to places
	Rules  []string               // their text
	Check  func(raw []byte) error // what every version must fulfil; nil: anything
}

// Chat is the rules of a namespace whose channels are conversations.
type Chat struct {
	Direct    bool          // each is between two users; else they are groups
	Follow    bool          // every connection of a member is subscribed
	FromStart bool          // members see what was said before they came
	Create    auth.Who      // who makes groups
	Join      string        // of new groups: admins, members or open
	Members   int           // of a group, at most; zero: 5000
	Marks     int           // above so many members their marks are not told to each other; zero: 100
	Edit      time.Duration // how long authors may edit a message; zero: not at all
	Recall    time.Duration // the same for recalling it
	Peers     string        // who may write to whom: any, known, or the namespace of channels that both must be members of

	// The categories under which members who are away are told of messages, and of those
	// that mention them; empty: they are not.
	Alerts, Mentions string
	AlertMembers     int // above so many members only mentions are told; zero: 200
}

// IsLog tells whether its channels keep their messages in order.
func (s *Space) IsLog() bool { return s.Kind == KindLog }

// IsDoc tells whether its channels are documents.
func (s *Space) IsDoc() bool { return s.Kind == KindDoc }

// Keeps tells whether its channels are kept, so that readers have a place there.
func (s *Space) Keeps() bool { return s.IsLog() || s.IsDoc() }

// The kinds of a namespace.
const (
	KindEvent = "event"
	KindLog   = "log"
	KindDoc   = "doc"
)

// Config of a [Hub].
type Config struct {
	Encodings []Encoding    // those that doors know by index; may be empty
	Shards    int           // zero: GOMAXPROCS
	Patience  time.Duration // how long a publisher is made to wait; zero: 200 ms

	// Behind is told of a subscription to a channel that is kept, which needs what
	// does not come by itself any more; it feeds it until [Sub.Rejoin]. It must not block
	// and must not call back before it has returned. Joined is told of a new one, which
	// has had its reply. Both nil: there are no such channels.
	Behind, Joined func(*Sub)

	// Drained is told of a connection whose queue has emptied after [Conn.OfferInbox] or
	// another offer did not fit. It must not block. Nil: nobody is told.
	Drained func(*Conn)

	// UserChanged is told that a user's first connection is there, or that the last
	// one has gone; ChannelChanged that a channel has its first subscriber, or that
	// the last one has gone. Channels whose names begin with "@" are the server's own
	// and are not told. For one user, or one channel, the calls come in order and
	// alternate. They come under locks of the hub and perhaps of the connection's
	// [Outlet]: they must be quick and must not call either. Nil: nobody is told.
	UserChanged, ChannelChanged func(name string, there bool)
}

// Metrics counts what the hub has done.
type Metrics struct {
	Published  atomic.Int64 // messages accepted for fan-out
	Deliveries atomic.Int64 // messages handed to connections' queues
	Passes     atomic.Int64
	Paced      atomic.Int64 // publishers that had to wait
	Refused    atomic.Int64 // publishers that waited in vain
	Behind     atomic.Int64 // readers of log channels that are catching up now
	FellBehind atomic.Int64 // times that a reader left the live path
	Held       atomic.Int64 // leaves that are held back now
	Returned   atomic.Int64 // leaves that nobody was told of, because the user came back
	Counted    atomic.Int64 // presence frames with counts, of large channels

	// Connections by the name of their transport, as in [Transports].
	Connections [len(Transports)]atomic.Int64

	// Of how long messages took; see [Hub.TakeDelivery].
	delivery latency.Histogram
}

const stripes = 64

// Hub is the live state of one node.
type Hub struct {
	cfg      Config
	metrics  Metrics
	start    time.Time
	taken    atomic.Uint32 // how often TakeDelivery was called
	seed     maphash.Seed
	shards   []*shard
	turn     atomic.Uint32
	spaces   atomic.Pointer[map[string]*Space]
	workers  sync.WaitGroup
	conns    [stripes]connStripe
	users    [stripes]userStripe
	channels [stripes]channelStripe
	bound    atomic.Int64          // users with a connection
	clock    clock                 // of channels that have something to tell later
	watch    atomic.Pointer[Watch] // nil: nobody is told
}

type connStripe struct {
	mu sync.RWMutex
	m  map[id.Connection]*Conn
}

type userStripe struct {
	mu sync.RWMutex
	m  map[string][]*Conn
}

type channelStripe struct {
	mu sync.RWMutex
	m  map[string]*Channel
}

// New makes a hub and starts its workers.
func New(cfg Config) *Hub {
	if cfg.Shards == 0 {
		cfg.Shards = runtime.GOMAXPROCS(0)
	}
	if cfg.Patience == 0 {
		cfg.Patience = 200 * time.Millisecond
	}
	h := &Hub{cfg: cfg, start: time.Now(), seed: maphash.MakeSeed()}
	h.SetSpaces(nil)
	for i := range stripes {
		h.conns[i].m = map[id.Connection]*Conn{}
		h.users[i].m = map[string][]*Conn{}
		h.channels[i].m = map[string]*Channel{}
	}
	for range cfg.Shards {
		s := newShard(h)
		h.shards = append(h.shards, s)
		h.workers.Add(1)
		go s.run()
	}
	h.clock.start(h)
	return h
}

// Close stops the workers after what is pending has been handed over.
func (h *Hub) Close() {
	h.clock.close()
	for _, s := range h.shards {
		s.stop()
	}
	h.workers.Wait()
}

// Metrics gives the live counters.
func (h *Hub) Metrics() *Metrics { return &h.metrics }

// SetSpaces replaces the namespaces.
func (h *Hub) SetSpaces(spaces []*Space) {
	m := make(map[string]*Space, len(spaces))
	for _, s := range spaces {
		m[s.Name] = s
	}
	h.spaces.Store(&m)
}

// Space gives a namespace's rules, nil when it is not configured.
func (h *Hub) Space(name string) *Space { return (*h.spaces.Load())[name] }

// Spaces lists the namespaces.
func (h *Hub) Spaces() []*Space { return slices.Collect(maps.Values(*h.spaces.Load())) }

func (h *Hub) userStripe(user string) *userStripe {
	return &h.users[maphash.String(h.seed, user)%stripes]
}

func (h *Hub) channelStripe(name string) *channelStripe {
	return &h.channels[maphash.String(h.seed, name)%stripes]
}

func (h *Hub) connStripe(c id.Connection) *connStripe { return &h.conns[c[0]%stripes] }

// Conn finds a connection by its id; nil when there is none.
func (h *Hub) Conn(c id.Connection) *Conn {
	s := h.connStripe(c)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[c]
}

// UserConns gives the connections that are bound to a user.
func (h *Hub) UserConns(user string) []*Conn {
	s := h.userStripe(user)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]*Conn(nil), s.m[user]...)
}

// Channel finds a channel that has subscribers; nil when nobody is subscribed.
func (h *Hub) Channel(name string) *Channel {
	s := h.channelStripe(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[name]
}

// EachConn calls fn for every welcomed connection until it returns false. No
// lock is held during the call.
func (h *Hub) EachConn(fn func(*Conn) bool) {
	for _, s := range h.shards {
		s.connsMu.Lock()
		all := append([]*Conn(nil), s.conns...)
		s.connsMu.Unlock()
		for _, c := range all {
			if c != nil && !fn(c) {
				return
			}
		}
	}
}

// EachChannel calls fn for every channel that has subscribers until it returns false.
func (h *Hub) EachChannel(fn func(*Channel) bool) {
	for i := range h.channels {
		s := &h.channels[i]
		s.mu.RLock()
		all := make([]*Channel, 0, len(s.m))
		for _, ch := range s.m {
			all = append(all, ch)
		}
		s.mu.RUnlock()
		for _, ch := range all {
			if !fn(ch) {
				return
			}
		}
	}
}

// Counts tells how many connections are welcomed, how many users are bound and
// how many channels have subscribers.
func (h *Hub) Counts() (connections, users, channels int) {
	for _, s := range h.shards {
		s.connsMu.Lock()
		connections += s.welcomed
		s.connsMu.Unlock()
	}
	for i := range h.channels {
		s := &h.channels[i]
		s.mu.RLock()
		channels += len(s.m)
		s.mu.RUnlock()
	}
	return connections, int(h.bound.Load()), channels
}
