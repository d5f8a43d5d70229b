package socketio

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

// Mapping says what a namespace stands for among the channels. The zero value:
// nothing, its sockets and rooms are seen by the application alone.
type Mapping struct {
	// Channel is where everybody in the namespace is subscribed, and where events
	// go that no function of the application takes. Empty: none.
	Channel string
	// Rooms is the namespace of the channels that are its rooms: room 7 is the
	// channel Rooms:7. Empty: rooms are the application's own.
	Rooms string
}

// Namespace is a Socket.IO namespace, or a pattern of them: a name with one * in
// it, which stands for anything. Functions are added before the server serves.
type Namespace struct {
	door       *Door
	name       string
	mapping    Mapping
	open       bool // an application answers it, so nobody needs a token unless it says so
	middleware []func(context.Context, *Handshake) error
	connect    []func(*Socket)
	events     map[string]func(*Socket, Args, Ack)
	any        func(*Socket, string, Args, Ack)
	disconnect []func(*Socket, string)
	self       *place // of a namespace that is no pattern
}

// Refusal is an error of a function given to [Namespace.Use] that says more than
// its text: Data goes to the client.
type Refusal struct {
	Message string
	Data    any
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Use adds a function that decides whether a client may connect. The first error
// refuses it; its text goes to the client.
func (n *Namespace) Use(fn func(context.Context, *Handshake) error) *Namespace {
	n.middleware = append(n.middleware, fn)
	return n
}

// OnConnect adds a function that is called for each new socket, before any of its
// events.
func (n *Namespace) OnConnect(fn func(*Socket)) *Namespace {
	n.connect = append(n.connect, fn)
	return n
}

// On answers an event. Functions of one client are called one after the other, so
// one that waits, in [Socket.Ask] above all, does it on a goroutine of its own.
// An ack that the client does not want does nothing.
func (n *Namespace) On(event string, fn func(s *Socket, args Args, ack Ack)) *Namespace {
	n.events[event] = fn
	return n
}

// OnAny answers the events that have no function of their own.
func (n *Namespace) OnAny(fn func(s *Socket, event string, args Args, ack Ack)) *Namespace {
	n.any = fn
	return n
}

// OnDisconnect adds a function that is called when a socket has ended. The rooms
// that it was in can still be asked for.
func (n *Namespace) OnDisconnect(fn func(s *Socket, reason string)) *Namespace {
	n.disconnect = append(n.disconnect, fn)
	return n
}

// namespaces are those that exist: by name, and by pattern in the order in which
// they were made.
type namespaces struct {
	door *Door

	mu       sync.RWMutex // guards all below
	exact    map[string]*Namespace
	patterns []*Namespace
	asked    bool // some are answered by an application
}

// Namespace gives the namespace or the pattern of that name, which it makes when
// it is not there.
func (d *Door) Namespace(name string) *Namespace {
	n := d.spaces.get(name)
	d.spaces.mu.Lock()
	defer d.spaces.mu.Unlock()
	n.open, d.spaces.asked = true, true
	return n
}

// answered tells whether an application answers some namespace.
func (s *namespaces) answered() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.asked
}

// Map maps a namespace or a pattern to channels. A * in what it is mapped to
// stands for what that in the pattern stood for.
func (d *Door) Map(name string, m Mapping) {
	n := d.spaces.get(name)
	d.spaces.mu.Lock()
	defer d.spaces.mu.Unlock()
	n.mapping = m
	n.self = newPlace(n, n.name, m)
}

func (s *namespaces) get(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.exact[name]; n != nil {
		return n
	}
	n := &Namespace{door: s.door, name: name, events: map[string]func(*Socket, Args, Ack){}}
	if s.exact == nil {
		s.exact = map[string]*Namespace{}
	}
	s.exact[name] = n
	n.self = newPlace(n, name, Mapping{})
	if strings.Contains(name, "*") {
		s.patterns = append(s.patterns, n)
	}
	return n
}

// place is a namespace as clients ask for it. It does not change.
type place struct {
	*Namespace
	name      string
	named     Mapping            // with names filled in
	encodings [2][3]hub.Encoding // of its sockets: by whether they can be recovered, and dialect
}

func newPlace(n *Namespace, name string, named Mapping) *place {
	p := &place{Namespace: n, name: name, named: named}
	for _, d := range []sio.Dialect{sio.V5, sio.V4, sio.Msgpack} {
		p.encodings[0][d] = encoding{d, name, false}
		p.encodings[1][d] = encoding{d, name, true}
	}
	return p
}

// encoding is that of the sockets of a dialect.
func (p *place) encoding(d sio.Dialect, recoverable bool) hub.Encoding {
	if recoverable {
		return p.encodings[1][d]
	}
	return p.encodings[0][d]
}

// find gives what a client's namespace is; false when there is none.
func (s *namespaces) find(name string) (p *place, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n := s.exact[name]; n != nil && !strings.Contains(name, "*") {
		return n.self, true
	}
	for _, n := range s.patterns {
		before, after, _ := strings.Cut(n.name, "*")
		if len(name) < len(before)+len(after)+1 || !strings.HasPrefix(name, before) || !strings.HasSuffix(name, after) {
			continue
		}
		part := name[len(before) : len(name)-len(after)]
		m := Mapping{strings.ReplaceAll(n.mapping.Channel, "*", part), strings.ReplaceAll(n.mapping.Rooms, "*", part)}
		if !s.exists(m.Channel) || m.Rooms != "" && !s.exists(m.Rooms+":x") {
			continue
		}
		return newPlace(n, name, m), true
	}
	return nil, false
}

// exists tells whether a channel can be: its namespace is configured.
func (s *namespaces) exists(channel string) bool {
	if channel == "" {
		return true
	}
	namespace, err := protocol.Namespace("channel", channel)
	return err == nil && s.door.cfg.Sessions.Hub().Space(namespace) != nil
}

// private is the rules of the channels of namespaces and rooms that are mapped
// to nothing.
var private = &hub.Space{Name: "@socketio", Kind: hub.KindEvent, Subscribe: auth.Server, Publish: auth.Server, PresenceTo: auth.Server}

// channel is the channel of everybody in the namespace.
func (p *place) channel() string {
	if p.named.Channel != "" {
		return p.named.Channel
	}
	return private.Name + p.name
}

// room is the channel of a room.
func (p *place) room(name string) string {
	if p.named.Rooms != "" {
		return p.named.Rooms + ":" + name
	}
	return private.Name + p.name + ":" + name
}

// roomOf is the reverse of room.
func (p *place) roomOf(channel string) (name string, ok bool) {
	if channel == p.channel() {
		return "", false
	}
	return strings.CutPrefix(channel, p.room(""))
}

// space gives the rules of a channel of the namespace.
func (p *place) space(channel string) (*hub.Space, error) {
	if strings.HasPrefix(channel, private.Name+"/") {
		return private, nil
	}
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return nil, err
	}
	if space := p.door.cfg.Sessions.Hub().Space(namespace); space != nil {
		return space, nil
	}
	return nil, errors.New("the channel " + channel + " does not exist")
}

// sockets lists who is in the namespace.
func (n *Namespace) sockets(p *place) []*socket {
	ch := n.door.cfg.Sessions.Hub().Channel(p.channel())
	if ch == nil {
		return nil
	}
	return socketsOf(ch.Conns(), p.name)
}

// socketsOf gives the sockets among connections that are in a namespace.
func socketsOf(conns []*hub.Conn, name string) []*socket {
	var list []*socket
	for _, c := range conns {
		if s, ok := c.Out().(*socket); ok && s.place.name == name {
			list = append(list, s)
		}
	}
	return slices.Clip(list)
}
