package socketio

import (
	"context"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

// Broadcast is a message for many sockets of a namespace: everybody, or the union
// of some rooms, each socket once.
type Broadcast struct {
	place    *place
	rooms    []string
	except   []string
	without  []*socket
	volatile bool
}

// In begins a message for everybody in a namespace, by its name; nil when there
// is none.
func (d *Door) In(namespace string) *Broadcast {
	p, ok := d.spaces.find(namespace)
	if !ok {
		return nil
	}
	return &Broadcast{place: p}
}

// To adds rooms.
func (b *Broadcast) To(rooms ...string) *Broadcast {
	b.rooms = append(b.rooms, rooms...)
	return b
}

// Except leaves out who is in a room.
func (b *Broadcast) Except(rooms ...string) *Broadcast {
	b.except = append(b.except, rooms...)
	return b
}

// ExceptSocket leaves out a socket.
func (b *Broadcast) ExceptSocket(p *Socket) *Broadcast {
	b.without = append(b.without, p.s)
	return b
}

// Volatile lets the message be lost on the way to clients that are not ready.
func (b *Broadcast) Volatile() *Broadcast {
	b.volatile = true
	return b
}

// Emit sends the event. In a channel that is kept it is stored first; the error
// says that this was not possible, or that too much is being published.
func (b *Broadcast) Emit(event string, args ...any) error {
	list := make([][]byte, len(args))
	for i, a := range args {
		list[i] = valueOf(a)
	}
	data := dataOf(list)
	d := b.place.door
	own := len(b.rooms) == 1 && d.findSocket(b.place.name, b.rooms[0]) != nil
	if len(b.rooms) <= 1 && len(b.except) == 0 && !own && !b.volatile {
		channel := b.place.channel()
		if len(b.rooms) == 1 {
			channel = b.place.room(b.rooms[0])
		}
		except := make([]*hub.Conn, len(b.without))
		for i, s := range b.without {
			except[i] = &s.Conn
		}
		if b.place.isPrivate(channel) {
			_, err := d.cfg.Sessions.Hub().Publish(context.Background(), channel, b.frame(channel, event, data), except)
			return err
		}
		var from *hub.Conn
		if len(except) == 1 {
			from = except[0]
		}
		return d.cfg.Publish(from, channel, event, data, except)
	}
	sockets := b.sockets()
	if b.volatile {
		packet := sio.Packet{Kind: sio.Event, Namespace: b.place.name, Data: append(appendEvent(nil, encode(event), data), ']')}
		var wire [sio.Msgpack + 1][]byte
		for _, s := range sockets {
			dialect := s.client.dialect
			if wire[dialect] == nil {
				wire[dialect] = sio.Append(nil, dialect, packet)
			}
			s.client.e.volatile(wire[dialect], s)
		}
		return nil
	}
	conns := make([]*hub.Conn, len(sockets))
	for i, s := range sockets {
		conns[i] = &s.Conn
	}
	d.cfg.Sessions.Hub().PublishTo(conns, b.frame(protocol.Direct, event, data))
	return nil
}

func (b *Broadcast) frame(channel, event string, data []byte) []byte {
	now := time.Now()
	return protocol.AppendMsg(nil, &protocol.Msg{Channel: channel, ID: id.Message(now), Event: event, Data: data, Time: now.UnixMilli()})
}

// Ask sends the event to each socket and gathers the acknowledgements that come
// until ctx ends. The error says that some have not answered.
func (b *Broadcast) Ask(ctx context.Context, event string, args ...any) ([]Args, error) {
	type answer struct {
		args Args
		err  error
	}
	sockets := b.sockets()
	answers := make(chan answer, len(sockets))
	for _, s := range sockets {
		go func() {
			args, err := s.public.Ask(ctx, event, args...)
			answers <- answer{args, err}
		}()
	}
	var list []Args
	var failed error
	for range sockets {
		if a := <-answers; a.err != nil {
			failed = a.err
		} else {
			list = append(list, a.args)
		}
	}
	return list, failed
}

// Sockets lists who would get the message.
func (b *Broadcast) Sockets() []*Socket {
	var list []*Socket
	for _, s := range b.sockets() {
		list = append(list, &s.public)
	}
	return list
}

// Join puts everybody who would get the message into rooms.
func (b *Broadcast) Join(rooms ...string) {
	for _, s := range b.sockets() {
		s.public.Join(rooms...)
	}
}

// Leave takes everybody who would get the message out of a room.
func (b *Broadcast) Leave(room string) {
	for _, s := range b.sockets() {
		s.public.Leave(room)
	}
}

// Disconnect ends everybody who would get the message.
func (b *Broadcast) Disconnect(all bool) {
	for _, s := range b.sockets() {
		s.public.Disconnect(all)
	}
}

func (b *Broadcast) sockets() []*socket {
	var list []*socket
	if len(b.rooms) == 0 {
		list = b.place.sockets(b.place)
	}
	for _, room := range b.rooms {
		list = append(list, b.inRoom(room)...)
	}
	out := map[*socket]bool{}
	for _, s := range b.without {
		out[s] = true
	}
	for _, room := range b.except {
		for _, s := range b.inRoom(room) {
			out[s] = true
		}
	}
	return slices.DeleteFunc(list, func(s *socket) bool {
		gone := out[s]
		out[s] = true // each once
		return gone
	})
}

func (b *Broadcast) inRoom(room string) []*socket {
	d := b.place.door
	if s := d.findSocket(b.place.name, room); s != nil {
		return []*socket{s}
	}
	if ch := d.cfg.Sessions.Hub().Channel(b.place.room(room)); ch != nil {
		return socketsOf(ch.Conns(), b.place.name)
	}
	return nil
}

// isPrivate tells whether a channel is one that nothing is mapped to.
func (p *place) isPrivate(channel string) bool {
	space, err := p.space(channel)
	return err == nil && space == private
}
