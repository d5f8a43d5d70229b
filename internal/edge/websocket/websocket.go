// Package websocket is the WebSocket door: it judges the handshake, takes the
// connection out of net/http's hands and joins a link to a session.
//
// It starts no goroutine and stores nothing but how many connections each
// address has, when that is limited.
package websocket

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

// Settings are the rules that a reload can change; they hold for new
// connections.
type Settings struct {
	Origins     []string
	Deflate     bool
	MaxFrame    int64
	MaxMessage  int64
	Connections int // in all; zero: no limit
	PerAddress  int // zero: no limit
	Proxies     []netip.Prefix
	Dev         bool // ?user= and ?device= are believed, and /debug/echo answers
}

// Metrics counts handshakes.
type Metrics struct {
	Accepted atomic.Int64
	Refused  [6]atomic.Int64 // by Reason
}

// Reason is why a handshake was refused.
type Reason int

// The reasons, and their labels in metrics.
const (
	RefusedRequest Reason = iota // not a proper handshake
	RefusedOrigin
	RefusedFull
	RefusedAddress
	RefusedDraining
	RefusedSystem // descriptors or memory ran out
)

// Reasons names the reasons for metrics.
var Reasons = [...]string{"bad_request", "origin", "full", "address_limit", "draining", "system"}

// Door is the WebSocket door of one server.
type Door struct {
	links    *link.Server
	sessions *session.Server
	settings atomic.Pointer[rules]
	draining atomic.Bool
	spread   atomic.Int64 // of a drain: nanoseconds over which clients come back
	metrics  Metrics
	open     atomic.Int64

	mu        sync.Mutex // guards addresses
	addresses map[netip.Addr]int
}

// rules are Settings made ready for use.
type rules struct {
	Settings
	upgrade        ws.UpgradeOptions
	plain, deflate *ws.ParserConfig
}

// New makes a Door.
func New(links *link.Server, sessions *session.Server, settings Settings) *Door {
	d := &Door{links: links, sessions: sessions, addresses: map[netip.Addr]int{}}
	d.Configure(settings)
	return d
}

// Configure replaces the settings.
func (d *Door) Configure(s Settings) {
	d.settings.Store(&rules{
		Settings: s,
		upgrade:  ws.UpgradeOptions{Origins: s.Origins, Subprotocols: []string{protocol.Subprotocol}, Deflate: s.Deflate},
		plain:    &ws.ParserConfig{MaxFrame: s.MaxFrame, MaxMessage: s.MaxMessage},
		deflate:  &ws.ParserConfig{MaxFrame: s.MaxFrame, MaxMessage: s.MaxMessage, Deflate: true},
	})
}

// ShuttingDown is what clients are told when the server stops.
const ShuttingDown = "the server is shutting down"

// Drain refuses new connections from now on. Those whose handshake is under way
// are sent away as soon as they are in; they are asked to come back over the
// given span.
func (d *Door) Drain(spread time.Duration) {
	d.spread.Store(int64(spread))
	d.draining.Store(true)
}

// Metrics gives the live counters.
func (d *Door) Metrics() *Metrics { return &d.metrics }

// conn is everything a connection has, in one allocation.
type conn struct {
	link    link.Conn
	session session.Session
	door    *Door
	counted netip.Addr // counted under this address; invalid: not
}

// Receive implements link.Handler.
func (c *conn) Receive(op ws.Opcode, payload []byte) {
	if op != ws.Text {
		c.session.ReceiveBinary()
		return
	}
	c.session.Receive(payload)
}

// Drained implements link.Handler.
func (c *conn) Drained() { c.session.Drained() }

// Closed implements link.Handler.
func (c *conn) Closed(why protocol.Close, message string) {
	c.session.Closed(why, message)
	c.door.leave(c.counted)
}

// SessionOf gives the session of a link that this door made, nil for any other.
func SessionOf(l *link.Conn) *session.Session {
	if c, ok := l.Handler().(*conn); ok {
		return &c.session
	}
	return nil
}

// ServeHTTP answers the handshake.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rules := d.settings.Load()
	if d.draining.Load() {
		d.busy(w, RefusedDraining, "The server is shutting down; connect again.")
		return
	}
	up, refusal := ws.CheckUpgrade(r, rules.upgrade)
	if refusal != nil {
		reason := RefusedRequest
		if refusal.Status == http.StatusForbidden {
			reason = RefusedOrigin
		}
		d.metrics.Refused[reason].Add(1)
		refusal.ServeHTTP(w, r)
		return
	}
	remote := RemoteOf(r, rules.Proxies)
	counted, reason, ok := d.enter(remote.Addr(), rules)
	if !ok {
		d.busy(w, reason, crowded(reason))
		return
	}
	c := &conn{door: d, counted: counted}
	opening := openingOf(r, rules.Dev)
	if d.sessions.Asks() {
		opening.Request = r
	}
	parser := rules.plain
	if up.Deflate {
		opening.Encoding = Encoding(up.Params.ServerMaxWindowBits)
		parser = rules.deflate
	}
	d.sessions.Prepare(&c.session, &c.link, opening.Encoding)
	adoption := link.Adoption{Remote: remote, Parser: parser, Handler: c, First: func() { d.begin(c, opening) }}
	if !d.adopt(w, up, &c.link, adoption) {
		d.leave(counted)
	}
}

// begin starts the session. Whoever sends everybody away may have looked just
// before this connection was there to be seen, so that is made up for here.
func (d *Door) begin(c *conn, opening session.Opening) {
	c.session.Begin(opening)
	if d.draining.Load() {
		c.session.Bye(protocol.CloseGoingAway, ShuttingDown, time.Duration(d.spread.Load()))
	}
}

// adopt finishes the handshake and hands the connection over.
func (d *Door) adopt(w http.ResponseWriter, up *ws.Upgrade, l *link.Conn, a link.Adoption) bool {
	nc, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		d.busy(w, RefusedSystem, "The connection cannot be taken over here.")
		return false
	}
	_ = nc.SetDeadline(time.Time{})
	a.Early, _ = buffered.Reader.Peek(buffered.Reader.Buffered())
	a.Hello = up.Response()
	if err := d.links.Adopt(l, nc, a); err != nil {
		d.metrics.Refused[RefusedSystem].Add(1)
		_ = nc.Close()
		return false
	}
	d.metrics.Accepted.Add(1)
	return true
}

func (d *Door) busy(w http.ResponseWriter, reason Reason, message string) {
	d.metrics.Refused[reason].Add(1)
	w.Header().Set("Retry-After", "5")
	http.Error(w, message, http.StatusServiceUnavailable)
}

// enter counts a connection in, if the limits allow it.
func (d *Door) enter(from netip.Addr, rules *rules) (counted netip.Addr, reason Reason, ok bool) {
	if n := d.open.Add(1); rules.Connections > 0 && n > int64(rules.Connections) {
		d.open.Add(-1)
		return counted, RefusedFull, false
	}
	if rules.PerAddress == 0 {
		return counted, 0, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.addresses[from] >= rules.PerAddress {
		d.open.Add(-1)
		return counted, RefusedAddress, false
	}
	d.addresses[from]++
	return from, 0, true
}

func (d *Door) leave(counted netip.Addr) {
	d.open.Add(-1)
	if !counted.IsValid() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.addresses[counted]--; d.addresses[counted] <= 0 {
		delete(d.addresses, counted)
	}
}

// openingOf reads what the client gave with the handshake.
func openingOf(r *http.Request, dev bool) session.Opening {
	var o session.Opening
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		o.Token = strings.TrimSpace(token)
	}
	if r.URL.RawQuery == "" {
		return o
	}
	q := r.URL.Query()
	if o.Token == "" {
		o.Token = q.Get("token")
	}
	if dev {
		o.User, o.Device, o.Roles = q.Get("user"), q.Get("device"), q.Get("role")
	}
	return o
}

// RemoteOf is the address of the client: the peer's, or, when that is a trusted
// proxy, the last address in X-Forwarded-For that is not one.
func RemoteOf(r *http.Request, proxies []netip.Prefix) netip.AddrPort {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	if !trusted(peer.Addr(), proxies) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		peer = netip.AddrPortFrom(addr.Unmap(), 0)
		if !trusted(peer.Addr(), proxies) {
			break
		}
	}
	return peer
}

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

var _ hub.Outlet = (*link.Conn)(nil)
