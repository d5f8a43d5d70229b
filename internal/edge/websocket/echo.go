package websocket

import (
	"net/http"
	"sync/atomic"

	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

// echoLimit is the largest message that the echo endpoint takes.
const echoLimit = 16 << 20

// Echo answers every message with itself, for protocol tests. It uses the same
// parser, drivers and compression as the real door.
type Echo struct{ door *Door }

// Echo gives the echo endpoint; it is not there outside development mode.
func (d *Door) Echo() http.Handler { return &Echo{d} }

type echoConn struct {
	link    link.Conn
	door    *Door
	deflate int // window bits; 0: not compressed
	closed  atomic.Bool
}

// ServeHTTP answers the handshake.
func (e *Echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rules := e.door.settings.Load()
	if !rules.Dev {
		http.NotFound(w, r)
		return
	}
	up, refusal := ws.CheckUpgrade(r, ws.UpgradeOptions{Origins: rules.Origins, Deflate: rules.Deflate})
	if refusal != nil {
		refusal.ServeHTTP(w, r)
		return
	}
	remote := RemoteOf(r, rules.Proxies)
	c := &echoConn{door: e.door}
	c.link.SetQueue(4 * echoLimit) // a message must fit, and the bound for clients is far below that
	if up.Deflate {
		c.deflate = up.Params.ServerMaxWindowBits
	}
	parser := &ws.ParserConfig{MaxMessage: echoLimit, Deflate: up.Deflate}
	e.door.open.Add(1)
	if !e.door.adopt(w, up, &c.link, link.Adoption{Remote: remote, Parser: parser, Handler: c, First: func() {}}) {
		e.door.open.Add(-1)
	}
}

// Receive implements link.Handler.
func (c *echoConn) Receive(op ws.Opcode, payload []byte) {
	if c.deflate > 0 {
		packed := ws.Deflate(nil, payload, c.deflate)
		c.link.SendControl(append(ws.AppendHeader(nil, op, true, true, len(packed)), packed...), nil)
		return
	}
	c.link.SendControl(ws.AppendFrame(make([]byte, 0, len(payload)+10), op, payload), nil)
}

// Drained implements link.Handler.
func (c *echoConn) Drained() {}

// Closed implements link.Handler.
func (c *echoConn) Closed(protocol.Close, string) {
	if !c.closed.Swap(true) {
		c.door.open.Add(-1)
	}
}
