// Package socketio is the door for Socket.IO clients: Engine.IO 4 and 3 with
// long polling, WebSocket and the way from one to the other, and on top of it
// Socket.IO's namespaces, events and acknowledgements (packets 5 and 4, and the
// msgpack form).
//
// Each socket, which is a client in a namespace, is a connection of the hub like
// any other. What reaches it are frames of the client protocol, and an encoding
// turns them into Socket.IO packets, once for all receivers of a kind. A
// namespace is mapped to channels by configuration, or answered by an
// application's functions, or both.
//
// A session has one timer, for its heartbeat. An application's functions run on a
// goroutine of the session that exists only while there is something to do.
// Nothing is stored; sessions that can be recovered are remembered for a while
// after their end. [Door.Close] ends everything and waits.
package socketio

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/ws"
)

// Config of a [Door]. It does not change while the server runs.
type Config struct {
	Links    *link.Server
	Sessions *session.Server
	Logger   *slog.Logger

	PingInterval   time.Duration // told to clients; zero: 25 s
	PingTimeout    time.Duration // zero: 20 s
	UpgradeTimeout time.Duration // for the way from polling to WebSocket; zero: 10 s
	ConnectTimeout time.Duration // for the first namespace; zero: 45 s
	Recovery       time.Duration // how long a session can be recovered; zero: it cannot
	MaxPayload     int64         // bytes of a message; zero: 1,000,000
	Queue          int           // bytes that may wait for a client; zero: 1 MiB
	Depth          int           // nesting of JSON; zero: 64
	OldClients     bool          // speak Engine.IO 3, too

	// Admit counts a client in, if the limits allow it. A refusal has been answered
	// when ok is false.
	Admit func(w http.ResponseWriter, r *http.Request) (remote netip.AddrPort, release func(), ok bool)
	// Opening reads what the client brought along to say who it is.
	Opening func(r *http.Request) session.Opening
	// Origins are the browser origins that may connect, besides the page's own.
	Origins func() []string
	// Join subscribes a session to a channel that is kept, from a place on, or from
	// now on when since is nil, and gives its epoch.
	Join func(s *session.Session, channel string, space *hub.Space, since *Since) (epoch string, err error)
	// Missed gives what a session has missed of a channel that is kept, as frames in
	// order, and the seq that it is told up to. False: it is too much, or gone.
	Missed func(c *session.Session, channel string, since Since) (list []Missed, upTo uint64, ok bool)
	// Publish publishes in a channel that is mapped, as the server.
	Publish Publisher
}

// Publisher publishes in a channel. data is raw JSON; the connections in except
// do not get it, and from, when it is not nil, is whose message it is: it does
// not get it either, now or later.
type Publisher func(from *hub.Conn, channel, event string, data []byte, except []*hub.Conn) error

// Metrics counts what the door has done.
type Metrics struct {
	Opened   atomic.Int64 // sessions
	Open     atomic.Int64
	Upgraded atomic.Int64
	Refused  [6]atomic.Int64 // requests, by code
	Closed   [reasons]atomic.Int64
	Ignored  atomic.Int64 // events that nobody takes
	Restored atomic.Int64 // sockets whose state was recovered
	Dropped  atomic.Int64 // messages that did not fit into the queue of a client that polls
	Queued   atomic.Int64 // bytes that wait for clients that poll now
}

// Door is the Socket.IO door of one server. It may serve several paths.
type Door struct {
	cfg      Config
	metrics  Metrics
	parser   *ws.ParserConfig
	spaces   namespaces
	start    time.Time
	draining atomic.Bool
	running  sync.WaitGroup
	lost     lost

	mu       sync.Mutex // guards all below
	sessions map[string]*engine
	closed   bool
}

// New makes a Door.
func New(cfg Config) *Door {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&cfg.PingInterval, 25*time.Second)
	def(&cfg.PingTimeout, 20*time.Second)
	def(&cfg.UpgradeTimeout, 10*time.Second)
	def(&cfg.ConnectTimeout, 45*time.Second)
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = 1e6
	}
	if cfg.Queue == 0 {
		cfg.Queue = 1 << 20
	}
	if cfg.Depth == 0 {
		cfg.Depth = 64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	d := &Door{cfg: cfg, start: time.Now(), sessions: map[string]*engine{}}
	d.parser = &ws.ParserConfig{MaxMessage: cfg.MaxPayload}
	d.spaces.door = d
	return d
}

// Metrics gives the live counters.
func (d *Door) Metrics() *Metrics { return &d.metrics }

// now is a monotonic clock.
func (d *Door) now() time.Duration { return time.Since(d.start) }

// newSID makes the secret id of a session.
func newSID() string { return rand.Text() }

// add makes a session known; false when the door is closed.
func (d *Door) add(e *engine) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.sessions[e.sid] = e
	d.metrics.Opened.Add(1)
	d.metrics.Open.Add(1)
	return true
}

func (d *Door) find(sid string) *engine {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[sid]
}

func (d *Door) forget(sid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sessions, sid)
}

func (d *Door) all() []*engine {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*engine, 0, len(d.sessions))
	for _, e := range d.sessions {
		list = append(list, e)
	}
	return list
}

// Drain refuses new sessions and ends those that are open in such a way that
// their clients come back, somewhere else.
func (d *Door) Drain() {
	d.draining.Store(true)
	for _, e := range d.all() {
		e.close(reasonShutdown)
	}
}

// Close ends every session and waits for functions of the application that run.
func (d *Door) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.Drain()
	d.running.Wait()
	for _, e := range d.all() {
		d.forget(e.sid)
	}
	d.lost.clear()
}

// reason is why a session or a socket ended, in the words of Socket.IO.
type reason uint8

const (
	reasonTransportClose reason = iota
	reasonTransportError
	reasonPingTimeout
	reasonParseError
	reasonForced
	reasonServerNamespace
	reasonClientNamespace
	reasonShutdown
	reasonConnectTimeout
	reasonTooSlow
	reasons
)

var reasonWords = [reasons]string{
	"transport close", "transport error", "ping timeout", "parse error", "forced close",
	"server namespace disconnect", "client namespace disconnect", "server shutting down", "connect timeout", "too slow",
}

// String gives the words that applications see.
func (r reason) String() string { return reasonWords[r] }

// Lost counts sessions that were given up because their clients were silent or took nothing,
// but for websockets that took nothing, which their links count.
func (d *Door) Lost() int64 { return d.metrics.Closed[reasonPingTimeout].Load() }

// Reasons lists the reasons for metrics.
func Reasons() []string { return reasonWords[:] }

// identify finds out who a client is that gave a token in auth or in its query.
func (d *Door) identify(h *Handshake, e *engine) (auth.Identity, bool, error) {
	var o session.Opening
	if e.opening != nil {
		o = *e.opening
	}
	if t := h.Token(); t != "" {
		o.Token = t
	}
	return d.cfg.Sessions.Identify(e.ctx(), o)
}
