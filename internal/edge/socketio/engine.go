package socketio

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/mailbox"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// peer is what is on top of an Engine.IO session.
type peer interface {
	open()
	message(binary bool, data []byte) // one at a time; data is the peer's to keep
	drained()
	pinged() // a ping leaves; version 4 alone
	ponged() // and has come back
	closed(reason)
}

// engine is one Engine.IO session.
type engine struct {
	door    *Door
	sid     string
	version int
	b64     bool // version 3, polling: binary as base64
	octets  bool // version 3, polling: all answers in binary form
	remote  netip.AddrPort
	release func()
	peer    peer
	raw     bool
	query   string           // of its first request
	headers headers          // of that
	opening *session.Opening // nil: nothing was brought along

	ws  atomic.Pointer[wsConn] // not nil: everything goes there
	box *mailbox.Box           // until then it waits here; nil: it began with a websocket

	// out is held by senders to the box, and while the session moves to its
	// websocket; in while a message is handed to the peer. Both are taken before mu.
	out sync.Mutex
	in  sync.Mutex

	mu       sync.Mutex // guards all below
	over     bool
	farewell []byte // what the next poll of a session that is over gets
	get      *held
	posting  bool
	probe    *wsConn
	probed   bool
	timer    *time.Timer
	pinging  bool
	due      time.Duration // of the next ping, on the door's clock
	dead     time.Duration // without a sign of life until then; 0: it has not begun
}

// held is a poll that waits for something to send.
type held struct {
	wake chan struct{}
	end  bool // another one has come
}

var errClosedByPeer = errors.New("the client has closed the session")

// whole is what nearly every session has, in one piece of memory: pieces that
// live long among many that do not would keep whole pages.
type whole struct {
	engine engine
	client client
	socket socket // the first one
}

// overWS is that of a session that begins with a websocket.
type overWS struct {
	whole
	ws wsConn
}

// newEngine makes a session. first is its websocket, nil: it begins with polling.
func newEngine(d *Door, version int, websocket bool) (w *whole, first *wsConn) {

	if websocket {
		o := new(overWS)
		w, first = &o.whole, &o.ws
		first.e = &w.engine
	} else {
		w = new(whole)
	}
	e := &w.engine
	e.door, e.sid, e.version = d, newSID(), version
	w.client.spare = &w.socket
	w.client.init(e)
	if !websocket {
		e.makeBox()
	}
	return w, first
}

// makeBox lets the session begin without a websocket.
func (e *engine) makeBox() {
	e.box = new(mailbox.Box)
	e.box.Init(e.door.cfg.Queue, e.door.cfg.Links.Now, e.wake, e.drained, func() { go e.close(reasonTooSlow) })
	e.box.Count(&e.door.metrics.Dropped, &e.door.metrics.Queued)
}

// abandon forgets what waits for a poll.
func (e *engine) abandon() {
	if e.box != nil {
		e.box.Abandon()
	}
}

func (e *engine) ctx() context.Context { return context.Background() }

// begin sends the open packet and starts the heartbeat. l is the websocket that
// the session begins with, nil: polling.
func (e *engine) begin(l *wsConn) {
	cfg := &e.door.cfg
	now := e.door.now()
	e.mu.Lock()
	e.due = now + cfg.PingInterval
	e.dead = e.due + cfg.PingTimeout
	wait := cfg.PingInterval
	if e.version == 3 {
		wait += cfg.PingTimeout
	}
	e.timer = time.AfterFunc(wait, e.tick)
	e.mu.Unlock()
	data := engineio.OpenData(nil, e.sid, l == nil, cfg.PingInterval, cfg.PingTimeout, cfg.MaxPayload)
	if l != nil {
		e.ws.Store(l)
	}
	e.SendControl(engineio.AppendText(nil, engineio.Open, data), nil)
}

// tick is the heartbeat: it pings (version 4), or finds that the client is gone.
func (e *engine) tick() {
	e.mu.Lock()
	if e.over {
		e.mu.Unlock()
		return
	}
	now := e.door.now()
	ping := false
	switch {
	case now >= e.dead:
		e.mu.Unlock()
		e.close(reasonPingTimeout)
		return
	case e.version == 3 || e.pinging:
		e.timer.Reset(e.dead - now)
	case now < e.due:
		e.timer.Reset(e.due - now)
	default:
		ping, e.pinging = true, true
		e.timer.Reset(e.dead - now)
	}
	e.mu.Unlock()
	if ping {
		e.peer.pinged()
		e.SendControl(engineio.AppendText(nil, engineio.Ping, nil), nil)
	}
}

// alive notes a sign of life that counts.
func (e *engine) alive() {
	cfg := &e.door.cfg
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.timer == nil {
		return
	}
	now := e.door.now()
	e.pinging = false
	e.due = now + cfg.PingInterval
	e.dead = e.due + cfg.PingTimeout
	if e.version == 3 {
		e.timer.Reset(e.dead - now)
	} else {
		e.timer.Reset(cfg.PingInterval)
	}
}

// packet handles one packet; an error ends what it came with.
func (e *engine) packet(p engineio.Packet) error {
	switch p.Type {
	case engineio.Message:
		data := append([]byte(nil), p.Data...)
		e.in.Lock()
		defer e.in.Unlock()
		if e.isOver() {
			return errClosedByPeer
		}
		e.peer.message(p.Binary, data)
		if e.isOver() {
			return engineio.ErrParse // the peer found something wrong with it
		}
	case engineio.Ping:
		if e.version == 4 {
			return engineio.ErrParse // the server pings
		}
		e.alive()
		e.SendControl(engineio.AppendText(nil, engineio.Pong, p.Data), nil)
	case engineio.Pong:
		if e.version == 3 {
			return engineio.ErrParse
		}
		e.alive()
		e.peer.ponged()
	case engineio.Close:
		e.closeByPeer()
		return errClosedByPeer
	case engineio.Open:
		return engineio.ErrParse
	}
	return nil // upgrade and noop mean nothing here
}

func (e *engine) isOver() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.over
}

// How long a session that is over can still be told so: one that the server
// ended by its next poll, one that its client ended by the poll that was sent
// together with the end.
const (
	lingerServer = 30 * time.Second
	lingerClient = 100 * time.Millisecond
)

// close ends the session: its client is told as far as there is a way. One that
// has done something wrong, or is silent, is told only by a poll that waits.
func (e *engine) close(why reason) {
	linger := lingerServer
	switch why {
	case reasonParseError, reasonPingTimeout, reasonTransportError, reasonTooSlow:
		linger = 0
	}
	e.end(why, engineio.AppendText(nil, engineio.Close, nil), linger)
}

// closeByPeer ends the session because its client has said so.
func (e *engine) closeByPeer() {
	e.end(reasonTransportClose, engineio.AppendText(nil, engineio.Noop, nil), lingerClient)
}

// lost ends the session whose transport has gone.
func (e *engine) lost(why reason) { e.end(why, nil, 0) }

func (e *engine) end(why reason, farewell []byte, linger time.Duration) {
	e.mu.Lock()
	if e.over {
		e.mu.Unlock()
		return
	}
	e.over = true
	if e.timer != nil {
		e.timer.Stop()
	}
	get, probe, l := e.get, e.probe, e.ws.Load()
	e.probe = nil
	if get != nil || linger > 0 {
		e.farewell = farewell
	}
	e.mu.Unlock()

	d := e.door
	d.metrics.Open.Add(-1)
	d.metrics.Closed[why].Add(1)
	e.peer.closed(why)
	if probe != nil {
		probe.Close(protocol.CloseNormal, "", nil)
	}
	if get != nil {
		get.signal()
	}
	switch {
	case l != nil:
		d.forget(e.sid)
		e.abandon()
		if why == reasonPingTimeout || why == reasonTooSlow {
			l.Abort(closeCodes[why], why.String()) // nobody reads what would be said
		} else {
			l.Close(closeCodes[why], why.String(), nil)
		}
	case farewell != nil && get != nil: // it takes the farewell
	case farewell == nil || linger == 0:
		d.forget(e.sid)
		e.abandon()
	default:
		time.AfterFunc(linger, func() {
			d.forget(e.sid)
			e.abandon()
		})
	}
	e.release()
}

// closeCodes are what a websocket is closed with; clients look at them no further.
var closeCodes = [reasons]protocol.Close{
	reasonTransportClose: protocol.CloseNormal, reasonTransportError: protocol.CloseProtocol, reasonPingTimeout: protocol.CloseHeartbeat,
	reasonParseError: protocol.CloseProtocol, reasonForced: protocol.CloseNormal, reasonServerNamespace: protocol.CloseNormal, reasonClientNamespace: protocol.CloseNormal,
	reasonShutdown: protocol.CloseGoingAway, reasonConnectTimeout: protocol.CloseAuthTimeout, reasonTooSlow: protocol.CloseTooSlow,
}

func (h *held) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// wake is called when something waits in the box.
func (e *engine) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.get != nil {
		e.get.signal()
	}
}

func (e *engine) drained() { e.peer.drained() }

// expired ends a session whose time is up, to the millisecond.
func (e *engine) expired() bool {
	e.mu.Lock()
	gone := !e.over && e.dead > 0 && e.door.now() >= e.dead
	e.mu.Unlock()
	if gone {
		e.lost(reasonPingTimeout)
	}
	return gone
}

// poll answers a GET with what waits, or holds it until there is something.
func (e *engine) poll(w http.ResponseWriter, r *http.Request) {
	if e.expired() {
		e.door.refuse(w, codeSession)
		return
	}
	h, c := e.hold()
	if h == nil {
		e.door.refuse(w, c)
		return
	}
	for {
		wire, done := e.ready(h)
		if done {
			if len(wire) == 0 { // another poll has come, and ended the session
				wire = [][]byte{engineio.AppendText(nil, engineio.Close, nil)}
			}
			if err := e.answer(w, wire); err != nil {
				e.lost(reasonTransportError)
				return
			}
			e.box.Done()
			return
		}
		select {
		case <-h.wake:
		case <-r.Context().Done():
			e.unhold(h)
			e.lost(reasonTransportClose)
			return
		}
	}
}

// hold makes a poll the one that is answered; nil and a code when that is not
// possible.
func (e *engine) hold() (*held, code) {
	e.mu.Lock()
	switch {
	case e.over && e.farewell == nil:
		e.mu.Unlock()
		return nil, codeSession
	case e.ws.Load() != nil:
		e.mu.Unlock()
		return nil, codeBadRequest
	case e.get != nil:
		first := e.get
		e.get = nil
		first.end = true
		e.mu.Unlock()
		first.signal()
		e.lost(reasonTransportError)
		return nil, codeBadRequest
	}
	h := &held{wake: make(chan struct{}, 1)}
	e.get = h
	e.mu.Unlock()
	return h, 0
}

func (e *engine) unhold(h *held) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.get == h {
		e.get = nil
	}
}

// ready tells whether a poll is to be answered now, and with what.
func (e *engine) ready(h *held) (wire [][]byte, done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h.end {
		return nil, true
	}
	wire, _ = e.box.Take(1 << 30)
	switch {
	case e.over && e.farewell != nil:
		wire = append(wire, e.farewell)
		e.farewell = nil
		e.door.forget(e.sid)
	case len(wire) == 0 && e.probed:
		wire = append(wire, engineio.AppendText(nil, engineio.Noop, nil))
	}
	if len(wire) == 0 {
		return nil, e.over
	}
	e.get = nil
	return wire, true
}

// beginPost tells whether a POST may come now.
func (e *engine) beginPost() bool {
	if e.expired() {
		return false
	}
	e.mu.Lock()
	if e.over || e.ws.Load() != nil {
		e.mu.Unlock()
		return false
	}
	if e.posting {
		e.mu.Unlock()
		e.close(reasonTransportError)
		return false
	}
	e.posting = true
	e.mu.Unlock()
	return true
}

func (e *engine) endPost() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.posting = false
}
