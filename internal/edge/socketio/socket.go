package socketio

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

// socket is a client in a namespace: a connection of the hub.
type socket struct {
	session.Session
	client    *client
	place     *place
	brought   *brought // nil: nothing
	public    Socket
	id        string // as clients know it
	private   string // under which its state can be recovered; "": it cannot
	recovered bool
	trail     *trail // what it was given, nil: not kept

	gate atomic.Pointer[gate] // nil: open
	over atomic.Bool

	mu     sync.Mutex        // guards all below
	rooms  []string          // that it was in when it ended
	epochs map[string]string // of the channels that are kept
}

// admit makes a client a socket of a namespace. old is what is recovered, nil:
// nothing. Nil: the connection has ended.
func (c *client) admit(at *place, own brought, who *session.Connecting, old *state) *socket {
	d := c.e.door
	s := c.newSocket()
	s.client, s.place = c, at
	if !own.none() {
		s.brought = &own
	}
	s.public.s = s
	recoverable := d.cfg.Recovery > 0 && c.dialect != sio.V4 && at.kept()
	d.cfg.Sessions.PrepareIn(&s.Session, s, at.encoding(c.dialect, recoverable))
	s.ID = who.ID
	if recoverable {
		s.trail = &trail{}
		s.private = newSID()
	}
	if old != nil {
		s.private, s.recovered = old.private, true
	}
	switch {
	case c.e.version == 4:
		s.id = s.ID.String()
	case at.name == "/": // clients of these versions take the session's id for theirs
		s.id = c.e.sid
	default:
		s.id = at.name + "#" + c.e.sid
	}
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil
	}
	c.sockets = append(c.sockets, s)
	delete(c.left, at.name)
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.mu.Unlock()
	shut := newGate()
	s.gate.Store(shut)
	if !s.Welcome(who) {
		return nil
	}
	if c.isEnded() { // it did not see this socket
		s.end(reasonTransportClose)
		return nil
	}
	if old != nil {
		d.metrics.Restored.Add(1)
		s.restore(old)
	} else {
		s.subscribe(at.channel(), nil)
	}
	waits := shut.open(c.e, s.connected())
	s.gate.Store(nil)
	if waits {
		s.Drained()
	}
	for _, fn := range at.connect {
		c.do(func() { fn(&s.public) }, false)
	}
	return s
}

func (c *client) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// subscribe subscribes the socket to a channel of its namespace. since is where
// a subscription goes on; nil: with what comes.
func (s *socket) subscribe(channel string, since *Since) {
	space, err := s.place.space(channel)
	if err != nil {
		s.client.e.door.cfg.Logger.Warn("socket.io: a room cannot be joined", "channel", channel, "error", err)
		return
	}
	if !space.IsLog() {
		// Its error is a limit, and there is none for what the server does.
		_, _ = s.client.e.door.cfg.Sessions.Hub().Subscribe(&s.Conn, channel, space, hub.SubOptions{By: hub.Ordered})
		return
	}
	epoch, err := s.client.e.door.cfg.Join(&s.Session, channel, space, since)
	if err != nil {
		s.client.e.door.cfg.Logger.Warn("socket.io: a room cannot be joined", "channel", channel, "error", err)
		return
	}
	s.setEpoch(channel, epoch)
}

// event handles what the client has emitted.
func (s *socket) event(name []byte, args [][]byte, wantsAck bool, ack uint64) {
	event, ok := protocol.Unquote(name)
	if !ok {
		event = string(name) // a number
	}
	var frameID []byte
	if wantsAck {
		frameID = strconv.AppendUint(nil, ack, 10)
	}
	if event == ControlEvent && len(args) > 0 && s.place.mapped() {
		s.control(args[0], frameID)
		return
	}
	fn := s.place.events[event]
	if fn == nil && s.place.any != nil {
		fn = func(p *Socket, args Args, ack Ack) { s.place.any(p, event, args, ack) }
	}
	if fn != nil {
		s.heard("42", frameID, append([][]byte{name}, args...))
		if s.Admit(frameID) {
			list := make(Args, len(args))
			for i, a := range args {
				list[i] = a
			}
			reply := s.ack(wantsAck, ack)
			s.client.do(func() { fn(&s.public, list, reply) }, true)
		}
		return
	}
	if s.place.named.Channel == "" {
		s.client.e.door.metrics.Ignored.Add(1)
		return
	}
	b := []byte(`{"type":"pub"`)
	if wantsAck {
		b = append(append(b, `,"id":`...), frameID...)
	}
	b = protocol.AppendString(append(b, `,"channel":`...), s.place.named.Channel)
	b = protocol.AppendString(append(b, `,"event":`...), event)
	b = append(append(append(b, `,"data":`...), dataOf(args)...), '}')
	s.Receive(b)
}

// control runs a frame of the client protocol; the acknowledgement is its answer.
func (s *socket) control(frame, frameID []byte) {
	frame = bytes.TrimSpace(frame)
	if len(frame) < 2 || frame[0] != '{' || frameID == nil {
		s.Receive(frame)
		return
	}
	b := append(append([]byte(`{"id":`), frameID...), ',')
	rest := bytes.TrimSpace(frame[1:])
	if rest[0] == '}' {
		b = b[:len(b)-1]
	}
	s.Receive(append(b, rest...))
}

// ack makes what answers an event, once.
func (s *socket) ack(wanted bool, n uint64) Ack {
	if !wanted {
		return func(...any) {}
	}
	var once atomic.Bool
	return func(args ...any) {
		if !once.Swap(true) {
			s.send(sio.Packet{Kind: sio.Ack, HasID: true, ID: n, Data: arrayOf(nil, args)})
		}
	}
}

func (s *socket) send(p sio.Packet) {
	p.Namespace = s.place.name
	s.Outlet().SendControl(sio.Append(nil, s.client.dialect, p), nil)
}

// heard shows to who traces the socket what its client sent and its session does
// not get. kind is that of the text packet; id is nil when there is none.
func (s *socket) heard(kind string, id []byte, args [][]byte) {
	if s.Tapped() {
		s.Received(appendArgs(append([]byte(kind), id...), args))
	}
}

// leave ends the socket because the server wants so.
func (s *socket) leave() { s.end(reasonServerNamespace) }

// end forgets the socket. The client is told, where that is due, when nothing more
// can be sent to it and it can connect anew.
func (s *socket) end(why reason) {
	if s.over.Swap(true) {
		return
	}
	c := s.client
	c.mu.Lock()
	if i := slices.Index(c.sockets, s); i >= 0 {
		c.sockets = slices.Delete(c.sockets, i, i+1)
		if why == reasonServerNamespace {
			if c.left == nil || len(c.left) >= maxNamespaces {
				c.left = map[string]bool{}
			}
			c.left[s.place.name] = true
		}
	}
	c.mu.Unlock()
	s.mu.Lock()
	s.rooms = s.live()
	s.mu.Unlock()
	st := s.stateOf(why)
	s.Closed(closeCodes[why], why.String())
	c.e.door.lost.keep(st, c.e.door.cfg.Recovery) // it has left the hub, so its id is free
	if why == reasonServerNamespace {
		c.send(sio.Packet{Kind: sio.Disconnect, Namespace: s.place.name})
	}
	for _, fn := range s.place.disconnect {
		c.do(func() { fn(&s.public, why.String()) }, false)
	}
}

// live lists the rooms that the socket is in now.
func (s *socket) live() []string {
	rooms := []string{s.id}
	for _, channel := range s.Channels() {
		if room, ok := s.place.roomOf(channel); ok {
			rooms = append(rooms, room)
		}
	}
	slices.Sort(rooms)
	return rooms
}

// The way out of the hub: as the session's, with its own first packet and its
// own way to end.

// Send implements hub.Outlet.
func (s *socket) Send(bufs []link.Buf, sub link.Subscriber) {
	if g := s.gate.Load(); g != nil {
		n, _ := g.holdAll(bufs, sub, 0)
		bufs = bufs[n:]
	}
	if len(bufs) > 0 {
		s.client.e.Send(bufs, sub)
	}
}

// Offer implements hub.Outlet.
func (s *socket) Offer(bufs []link.Buf, sub link.Subscriber) int {
	if s.trail == nil {
		return s.offer(bufs, sub)
	}
	return s.trail.offer(s, bufs, sub)
}

func (s *socket) offer(bufs []link.Buf, sub link.Subscriber) int {
	n := 0
	if g := s.gate.Load(); g != nil {
		var held bool
		if n, held = g.holdAll(bufs, sub, s.client.e.door.cfg.Queue/2); held && g.shut.Load() {
			return n
		}
	}
	if n == len(bufs) {
		return n
	}
	return n + s.client.e.Offer(bufs[n:], sub)
}

// SendControl implements hub.Outlet.
func (s *socket) SendControl(wire []byte, then func()) bool {
	if len(wire) == 0 {
		if then != nil {
			then()
		}
		return !s.over.Load()
	}
	if s.over.Load() {
		return false
	}
	if g := s.gate.Load(); g != nil {
		if held, _ := g.hold(wire, 0, then); held {
			return true
		}
	}
	return s.client.e.SendControl(wire, then)
}

// SendFirst implements hub.Outlet. The first packet is sent when the gate opens.
func (s *socket) SendFirst(before func(), _ []byte) bool {
	if s.client.isEnded() {
		return false
	}
	before()
	return true
}

// connected is the packet that says that the client is in.
func (s *socket) connected() []byte {
	p := sio.Packet{Kind: sio.Connect, Namespace: s.place.name}
	if s.client.e.version == 4 {
		p.Data = []byte(`{"sid":"` + s.id + `"`)
		if s.private != "" {
			p.Data = append(p.Data, `,"pid":"`+s.private+`"`...)
		}
		p.Data = append(p.Data, '}')
	}
	return sio.Append(nil, s.client.dialect, p)
}

// Close implements hub.Outlet. A client that shall come back loses its transport,
// since after a disconnect packet it would not.
func (s *socket) Close(why protocol.Close, _ string, last []byte) {
	if len(last) > 0 {
		s.client.e.SendControl(last, nil)
	}
	// The caller may hold locks that the end of a connection takes, too.
	s.client.do(func() {
		switch {
		case !why.Reconnect:
			s.leave()
		case why.Code == protocol.CloseGoingAway.Code:
			s.client.e.close(reasonShutdown)
		default:
			s.client.e.close(reasonForced)
		}
	}, false)
}

// Queued implements hub.Outlet.
func (s *socket) Queued() int { return s.client.e.Queued() }

// Written implements hub.Outlet.
func (s *socket) Written() int64 { return s.client.e.Written() }

// Transport implements hub.Outlet.
func (s *socket) Transport() string { return s.client.e.Transport() }

// Remote implements hub.Outlet.
func (s *socket) Remote() netip.AddrPort { return s.client.e.remote }

// Live implements link.Subscriber, for events that are sent to it alone.
func (s *socket) Live() bool { return !s.over.Load() }

// Dropped implements link.Subscriber.
func (s *socket) Dropped(uint32) {}

// mapped tells whether the namespace has to do with channels that others see.
func (p *place) mapped() bool { return p.named.Channel != "" || p.named.Rooms != "" }

// findSocket gives the socket that clients know by an id.
func (d *Door) findSocket(name, sid string) *socket {
	if c, ok := id.ParseConnection(sid); ok {
		if conn := d.cfg.Sessions.Hub().Conn(c); conn != nil {
			if s, ok := conn.Out().(*socket); ok && s.place.name == name && s.id == sid {
				return s
			}
		}
	}
	secret := strings.TrimPrefix(sid, name+"#")
	if e := d.find(secret); e != nil {
		if c, ok := e.peer.(*client); ok {
			if s, _ := c.find(name); s != nil && s.id == sid {
				return s
			}
		}
	}
	return nil
}

var _ hub.Outlet = (*socket)(nil)
