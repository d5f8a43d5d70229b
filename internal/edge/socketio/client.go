package socketio

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/sio"
)

// Bounds of what one client can cause.
const (
	maxNamespaces  = 64   // that it is in
	maxConnects    = 1000 // to namespaces, in all
	maxWaiting     = 1024 // functions of the application that are due
	maxAttachments = 10   // of one packet
)

// client is what Socket.IO keeps of an Engine.IO session.
type client struct {
	e       *engine
	dialect sio.Dialect

	// Owned by whoever hands messages over, one at a time.
	spoken      bool // the dialect is known
	partial     *sio.Packet
	attachments [][]byte
	bytes       int // of the attachments
	connects    int

	mu      sync.Mutex // guards all below
	sockets []*socket
	spare   *socket         // the first one, until it is needed
	left    map[string]bool // namespaces that the server has ended; what is under way from there is ignored
	timer   *time.Timer     // for the first namespace; nil once it is there
	ended   bool
	tasks   *tasks // nil: none
}

// tasks are functions of the application that are due. They exist while there are any.
type tasks struct {
	room sync.Cond // for waiting
	due  []func()  // in order
}

func (c *client) init(e *engine) {
	c.e = e
	if e.version == 3 {
		c.dialect, c.spoken = sio.V4, true
	}
}

// newSocket gives room for a socket.
func (c *client) newSocket() *socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.spare; s != nil {
		c.spare = nil
		return s
	}
	return new(socket)
}

// open implements peer.
func (c *client) open() {
	c.mu.Lock()
	c.timer = time.AfterFunc(c.e.door.cfg.ConnectTimeout, func() { c.e.close(reasonConnectTimeout) })
	c.mu.Unlock()
	if c.e.version == 3 { // the main namespace is implied
		c.connect(sio.Packet{Kind: sio.Connect, Namespace: "/"})
	}
}

// message implements peer.
func (c *client) message(binary bool, data []byte) {
	if !c.spoken {
		c.spoken = true
		if binary {
			c.dialect = sio.Msgpack
		}
	}
	var p sio.Packet
	var err error
	switch {
	case c.dialect == sio.Msgpack:
		if err = sio.ErrParse; binary {
			p, err = sio.ReadMsgpack(data, c.e.door.cfg.Depth)
		}
	case binary:
		c.attachment(data)
		return
	case c.partial != nil:
		err = sio.ErrParse // its attachments have not come
	default:
		p, err = sio.Read(c.e.version+1, data, c.e.door.cfg.Depth, maxAttachments)
	}
	if err != nil {
		c.bad()
		return
	}
	if p.Attachments > 0 {
		c.partial, c.attachments, c.bytes = &p, nil, 0
		return
	}
	c.packet(p)
}

func (c *client) bad() { c.e.close(reasonParseError) }

// attachment takes a binary part of the packet that came before.
func (c *client) attachment(data []byte) {
	p := c.partial
	c.bytes += len(data)
	if p == nil || int64(c.bytes) > 2*c.e.door.cfg.MaxPayload {
		c.bad()
		return
	}
	c.attachments = append(c.attachments, data)
	if len(c.attachments) < p.Attachments {
		return
	}
	full, err := sio.Inline(p.Data, c.attachments)
	c.partial, c.attachments = nil, nil
	if err != nil {
		c.bad()
		return
	}
	p.Data = full
	c.packet(*p)
}

// packet handles one whole packet.
func (c *client) packet(p sio.Packet) {
	if p.Kind == sio.Connect {
		c.connect(p)
		return
	}
	s, left := c.find(p.Namespace)
	if s == nil {
		if !left {
			c.bad()
		}
		return
	}
	switch p.Kind {
	case sio.Disconnect:
		s.end(reasonClientNamespace)
	case sio.Event, sio.BinaryEvent:
		args, err := sio.Args(p.Data)
		if err != nil || len(args) == 0 {
			c.bad()
			return
		}
		s.event(args[0], args[1:], p.HasID, p.ID)
	case sio.Ack, sio.BinaryAck:
		args, err := sio.Args(p.Data)
		if err != nil || !p.HasID {
			c.bad()
			return
		}
		s.heard("43", strconv.AppendUint(nil, p.ID, 10), args)
		s.Answer(p.ID, dataOf(args)) // one that nobody waits for is ignored
	default:
		c.bad()
	}
}

func (c *client) find(namespace string) (s *socket, left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.socketLocked(namespace), c.left[namespace]
}

func (c *client) socketLocked(namespace string) *socket {
	for _, s := range c.sockets {
		if s.place.name == namespace {
			return s
		}
	}
	return nil
}

// connect answers a client that wants into a namespace.
func (c *client) connect(p sio.Packet) {
	d := c.e.door
	if c.connects++; c.connects > maxConnects {
		c.bad() // nobody comes and goes so often
		return
	}
	c.mu.Lock()
	twice := c.socketLocked(p.Namespace) != nil
	many := len(c.sockets) >= maxNamespaces
	c.mu.Unlock()
	if twice && c.e.version == 3 && p.Namespace == "/" {
		return // clients of version 1 ask for it, too
	}
	if twice {
		c.bad()
		return
	}
	at, known := d.spaces.find(p.Namespace)
	switch {
	case many:
		c.refuse(p.Namespace, "too many namespaces", nil)
		return
	case !known:
		c.refuse(p.Namespace, "Invalid namespace", nil)
		return
	}
	own := broughtIn(&p)
	h := own.handshake(c.e, p.Namespace)
	if old := d.lost.take(at, h, c.dialect); old != nil && d.cfg.Sessions.Admits(old.identity) == nil && c.mayEnter(c.e.ctx(), at, old.identity) == nil {
		if s := c.admit(at, own, &session.Connecting{ID: old.id, Identity: old.identity}, old); s != nil {
			return
		}
	}
	who, err := c.judge(at, h)
	if err != nil {
		message, data := refusalOf(err)
		c.refuse(p.Namespace, message, data)
		return
	}
	c.admit(at, own, who, nil)
}

// judge finds out who a client is and whether it may be in a namespace.
func (c *client) judge(at *place, h *Handshake) (*session.Connecting, error) {
	d := c.e.door
	identity, known, err := d.identify(h, c.e)
	if err != nil && (!at.open || d.cfg.Sessions.Tokens() && len(at.middleware) == 0) {
		return nil, err // else the token is the application's to understand
	}
	h.User, h.Device = identity.User, identity.Device
	ctx, cancel := context.WithTimeout(c.e.ctx(), 10*time.Second)
	defer cancel()
	for _, fn := range at.middleware {
		if err := fn(ctx, h); err != nil {
			return nil, err
		}
	}
	if h.User != identity.User || h.Device != identity.Device {
		identity, known = auth.Identity{User: h.User, Device: h.Device}, h.User != ""
	}
	who := &session.Connecting{
		ID: id.NewConnection(), Transport: c.e.Transport(), Remote: c.e.remote,
		Token: opaque(d.cfg.Sessions, h), Query: c.e.query, Header: h.Header, Data: h.Auth, Known: known, Identity: identity,
	}
	if err := d.cfg.Sessions.Judge(ctx, who); err != nil {
		return nil, err
	}
	if !who.Accept && !at.open && !d.cfg.Sessions.Anonymous() {
		return nil, fault.New(fault.Unauthorized, "not authorized")
	}
	return who, c.mayEnter(ctx, at, who.Identity)
}

// opaque is a client's token where it is the application's to understand.
func opaque(s *session.Server, h *Handshake) string {
	if s.Opaque() {
		return h.Token()
	}
	return ""
}

// mayEnter tells whether a client may subscribe to the channel of a namespace.
func (c *client) mayEnter(ctx context.Context, at *place, identity auth.Identity) error {
	channel := at.named.Channel
	if channel == "" || at.open {
		return nil
	}
	space, err := at.space(channel)
	if err != nil {
		return err
	}
	may, err := c.e.door.cfg.Sessions.Right(ctx, space, auth.Sub, channel, identity)
	if err == nil && !may {
		err = fault.New(fault.Denied, "not authorized")
	}
	return err
}

// refusalOf is what a client is told.
func refusalOf(err error) (message string, data any) {
	var r *Refusal
	var f *fault.Error
	switch {
	case errors.As(err, &r):
		return r.Message, r.Data
	case errors.As(err, &f) && f.Code == fault.Internal:
		return "internal error", nil
	case errors.As(err, &f):
		return f.Message, map[string]any{"code": f.Code}
	}
	return err.Error(), nil
}

func (c *client) refuse(namespace, message string, data any) {
	p := sio.Packet{Kind: sio.ConnectError, Namespace: namespace}
	if c.e.version == 3 && data == nil && message != "Invalid namespace" {
		p.Data = encode(message)
	} else if c.e.version == 3 && data != nil {
		p.Data = encode(data)
	} else {
		p.Data = encode(struct {
			Message string `json:"message"`
			Data    any    `json:"data,omitempty"`
		}{message, data})
	}
	c.send(p)
}

func (c *client) send(p sio.Packet) { c.e.SendControl(sio.Append(nil, c.dialect, p), nil) }

// drained implements peer.
func (c *client) drained() {
	for _, s := range c.all() {
		s.Drained()
	}
}

func (c *client) all() []*socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sockets)
}

// pinged implements peer.
func (c *client) pinged() {
	for _, s := range c.all() {
		if s.trail != nil {
			s.trail.pinged()
		}
	}
}

// ponged implements peer.
func (c *client) ponged() {
	for _, s := range c.all() {
		if s.trail != nil {
			s.trail.ponged()
		}
	}
}

// closed implements peer.
func (c *client) closed(why reason) {
	c.mu.Lock()
	c.ended = true
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.tasks != nil {
		c.tasks.room.Broadcast()
	}
	c.mu.Unlock()
	for _, s := range c.all() {
		s.end(why)
	}
}

// do runs a function of the application after those that are due already. With
// wait it waits while there are very many, so that TCP slows the client down.
func (c *client) do(fn func(), wait bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for wait && c.tasks != nil && len(c.tasks.due) >= maxWaiting && !c.ended {
		c.tasks.room.Wait()
	}
	if c.tasks == nil {
		c.tasks = new(tasks)
		c.tasks.room.L = &c.mu
		c.e.door.running.Add(1)
		go c.work(c.tasks)
	}
	c.tasks.due = append(c.tasks.due, fn)
}

func (c *client) work(t *tasks) {
	defer c.e.door.running.Done()
	for {
		c.mu.Lock()
		if len(t.due) == 0 {
			c.tasks = nil
			t.room.Broadcast()
			c.mu.Unlock()
			return
		}
		fn := t.due[0]
		t.due[0] = nil
		t.due = t.due[1:]
		t.room.Signal()
		c.mu.Unlock()
		c.call(fn)
	}
}

// call runs a function of the application. One that panics costs its client the
// connection, and nobody else.
func (c *client) call(fn func()) {
	defer func() {
		if p := recover(); p != nil {
			c.e.door.cfg.Logger.Error("socket.io: a function of the application panicked", "panic", p, "stack", string(debug.Stack()))
			c.e.close(reasonForced)
		}
	}()
	fn()
}

var _ peer = (*client)(nil)

// Raw is an Engine.IO session without Socket.IO on top.
type Raw struct{ e *engine }

// Send sends a message.
func (r *Raw) Send(binary bool, data []byte) {
	r.e.SendControl(rawFrame(r.e.version, binary, data), nil)
}

// RawPeer gets the messages of a [Raw] session.
type RawPeer func(binary bool, data []byte)

type rawPeer struct {
	e *engine
	RawPeer
}

func (p *rawPeer) open()                            {}
func (p *rawPeer) message(binary bool, data []byte) { p.RawPeer(binary, data) }
func (p *rawPeer) drained()                         {}
func (p *rawPeer) pinged()                          {}
func (p *rawPeer) ponged()                          {}
func (p *rawPeer) closed(reason)                    {}

func rawFrame(version int, binary bool, data []byte) []byte {
	if !binary {
		return engineio.AppendText(nil, engineio.Message, data)
	}
	return engineio.AppendBinary(nil, version, data)
}
