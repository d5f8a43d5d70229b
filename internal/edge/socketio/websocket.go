package socketio

import (
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

// wsConn is a websocket of a session: the one that it uses, one that it is
// about to use, or one too many.
type wsConn struct {
	link.Conn
	e     *engine
	stage atomic.Uint32
}

// The stages of a websocket.
const (
	stageUsed    uint32 = iota
	stageProbing        // it has said nothing yet
	stageProbed         // it has been answered
	stageRefused        // it is one too many
)

// adopt takes the connection over for a websocket.
func (d *Door) adopt(w http.ResponseWriter, up *ws.Upgrade, c *wsConn, first func()) bool {
	nc, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "The connection cannot be taken over here.", http.StatusServiceUnavailable)
		return false
	}
	_ = nc.SetDeadline(time.Time{})
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	a := link.Adoption{Remote: c.e.remote, Parser: d.parser, Handler: c, Hello: up.Response(), Early: early, First: first}
	if err := d.cfg.Links.Adopt(&c.Conn, nc, a); err != nil {
		_ = nc.Close()
		return false
	}
	return true
}

// adoptFirst begins a session on a websocket.
func (e *engine) adoptFirst(w http.ResponseWriter, c *wsConn, up *ws.Upgrade) {
	c.SetQueue(e.door.cfg.Queue)
	first := func() {
		e.begin(c)
		e.peer.open()
	}
	if !e.door.adopt(w, up, c, first) {
		e.lost(reasonTransportError)
	}
}

// upgrade lets a websocket probe whether the session can move to it.
func (d *Door) upgrade(w http.ResponseWriter, r *http.Request, e *engine) {
	up, refusal := ws.CheckUpgrade(r, ws.UpgradeOptions{Origins: d.cfg.Origins()})
	if refusal != nil {
		d.refuse(w, codeBadRequest)
		return
	}
	c := &wsConn{e: e}
	c.SetQueue(d.cfg.Queue)
	e.mu.Lock()
	if e.over || e.ws.Load() != nil || e.probe != nil {
		// Clients in Node.js take an HTTP error here for a fault of their own.
		c.stage.Store(stageRefused)
	} else {
		c.stage.Store(stageProbing)
		e.probe = c
	}
	e.mu.Unlock()
	first := func() {
		if c.stage.Load() == stageRefused {
			c.Close(protocol.CloseNormal, "the session has its websocket", nil)
		}
	}
	if !d.adopt(w, up, c, first) {
		e.dropProbe(c)
		return
	}
	if c.stage.Load() == stageProbing {
		time.AfterFunc(d.cfg.UpgradeTimeout, func() {
			if e.dropProbe(c) {
				c.Close(protocol.CloseNormal, "upgrade timeout", nil)
			}
		})
	}
}

// dropProbe ends the attempt to move to a websocket.
func (e *engine) dropProbe(c *wsConn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.probe != c {
		return false
	}
	e.probe, e.probed = nil, false
	return true
}

// Receive implements link.Handler.
func (c *wsConn) Receive(op ws.Opcode, payload []byte) {
	e := c.e
	switch c.stage.Load() {
	case stageRefused:
	case stageProbing:
		if op != ws.Text || string(payload) != "2probe" || !c.answerProbe() {
			c.giveUp()
		}
	case stageProbed:
		if op != ws.Text || string(payload) != "5" || !e.move(c) {
			c.giveUp()
		}
	default:
		var p engineio.Packet
		var err error
		if op == ws.Text && e.plain() {
			p, err = engineio.ReadEncoded(payload)
		} else if op == ws.Text {
			p, err = engineio.ReadText(payload)
		} else {
			p, err = engineio.ReadBinary(e.version, payload)
		}
		if err == nil {
			err = e.packet(p)
		}
		if err != nil && err != errClosedByPeer { //nolint:errorlint // it is never wrapped
			e.close(reasonParseError)
		}
	}
}

func (c *wsConn) giveUp() {
	c.e.dropProbe(c)
	c.stage.Store(stageRefused)
	c.Close(protocol.CloseNormal, "not an upgrade", nil)
}

// answerProbe answers the probe and frees the poll that is held, so that the
// client can go on.
func (c *wsConn) answerProbe() bool {
	e := c.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.probe != c {
		return false
	}
	e.probed = true
	c.stage.Store(stageProbed)
	c.SendControl(engineio.AppendText(nil, engineio.Pong, []byte("probe")), nil)
	if e.get != nil {
		e.get.signal()
	}
	return true
}

// move makes a websocket the transport: what waits for a poll leaves there first.
func (e *engine) move(c *wsConn) bool {
	if !e.moved(c) {
		return false
	}
	e.box.Done() // outside of the locks, since somebody may have waited for room
	e.door.metrics.Upgraded.Add(1)
	return true
}

func (e *engine) moved(c *wsConn) bool {
	e.out.Lock()
	defer e.out.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.probe != c {
		return false
	}
	c.stage.Store(stageUsed)
	e.probe = nil
	for {
		wire, more := e.box.Take(1 << 30)
		for _, b := range wire {
			c.SendControl(e.readableWire(b), nil)
		}
		if !more {
			break
		}
	}
	e.ws.Store(c)
	if e.get != nil { // it is answered without anything of the session in it
		e.get.signal()
	}
	return true
}

// Drained implements link.Handler.
func (c *wsConn) Drained() {
	if c.stage.Load() == stageUsed {
		c.e.drained()
	}
}

// Closed implements link.Handler.
func (c *wsConn) Closed(_ protocol.Close, _ string) {
	if c.stage.Load() == stageUsed {
		c.e.lost(reasonTransportClose)
		return
	}
	c.e.dropProbe(c)
}

// The way out: to the websocket, or into the box. What is handed over is
// WebSocket frames, which is what websockets take as they are; polls take them
// apart.

// direct runs fn while everything goes to the box; otherwise it gives the
// websocket.
func (e *engine) direct(fn func()) *wsConn {
	if l := e.ws.Load(); l != nil {
		return l
	}
	e.out.Lock()
	defer e.out.Unlock()
	if l := e.ws.Load(); l != nil {
		return l
	}
	if e.box != nil { // else it ended before it had its websocket
		fn()
	}
	return nil
}

// Send is [hub.Outlet].Send.
func (e *engine) Send(bufs []link.Buf, sub link.Subscriber) {
	if l := e.direct(func() { e.box.Send(bufs, sub) }); l != nil {
		l.Send(e.readable(bufs), sub)
	}
}

// plain tells whether the client has no binary on a websocket either.
func (e *engine) plain() bool { return e.b64 && e.version == 3 }

// readable gives what a client without binary can read.
func (e *engine) readable(bufs []link.Buf) []link.Buf {
	if !e.plain() {
		return bufs
	}
	out := make([]link.Buf, len(bufs))
	for i, b := range bufs {
		out[i] = link.Buf{B: engineio.Encode(b.B), N: b.N}
	}
	return out
}

func (e *engine) readableWire(wire []byte) []byte {
	if !e.plain() {
		return wire
	}
	return engineio.Encode(wire)
}

// Offer is [hub.Outlet].Offer.
func (e *engine) Offer(bufs []link.Buf, sub link.Subscriber) (n int) {
	n = len(bufs) // what has ended takes all
	if l := e.direct(func() { n = e.box.Offer(bufs, sub) }); l != nil {
		return l.Offer(e.readable(bufs), sub)
	}
	return n
}

// SendControl is [hub.Outlet].SendControl.
func (e *engine) SendControl(wire []byte, then func()) (ok bool) {
	if l := e.direct(func() { ok = e.box.SendControl(wire, then) }); l != nil {
		return l.SendControl(e.readableWire(wire), then)
	}
	return ok
}

// Queued is [hub.Outlet].Queued.
func (e *engine) Queued() int {
	if l := e.ws.Load(); l != nil {
		return l.Queued()
	}
	if e.box == nil {
		return 0
	}
	return e.box.Queued()
}

// Written is [hub.Outlet].Written.
func (e *engine) Written() int64 {
	n := int64(0)
	if e.box != nil {
		n = e.box.Written()
	}
	if l := e.ws.Load(); l != nil {
		n += l.Written()
	}
	return n
}

// Transport is [hub.Outlet].Transport.
func (e *engine) Transport() string {
	if e.ws.Load() != nil {
		return "socket.io/websocket"
	}
	return "socket.io/polling"
}

// Remote is [hub.Outlet].Remote.
func (e *engine) Remote() netip.AddrPort { return e.remote }

// volatile sends what may be lost when the client is not ready for it.
func (e *engine) volatile(wire []byte, sub link.Subscriber) {
	if e.Queued() == 0 {
		bufs := [1]link.Buf{{B: wire, N: 1}}
		e.Send(bufs[:], sub)
	} else {
		sub.Dropped(1)
	}
}
