// Package stream is what the doors that are plain HTTP have in common: server-sent
// events and long polling. A [Conn] joins a mailbox to a session; a [Server] judges
// requests, counts connections and sends them away.
//
// What clients send waits in the connection's inbox, and a goroutine hands it to
// the session, one frame after the other; it exists only while there is something
// to do. A full inbox, or a client that does not take its replies, makes the
// requests that bring frames wait. What is sent to clients waits in the mailbox
// until the door takes it.
//
// Nothing is stored. The goroutines belong to the [Server], whose Close ends every
// connection and waits for them and for the requests under way.
package stream

import (
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

// Config of a [Server]. The zero value of a limit means its default.
type Config struct {
	Sessions *session.Server
	Clock    session.Clock
	// Admit counts a new connection in, by the limits of all doors; when ok is false it
	// has answered. release is called once, when the connection is over.
	Admit func(w http.ResponseWriter, r *http.Request) (remote netip.AddrPort, release func(), ok bool)

	Queue     int           // bytes that may wait for one client; zero: 1 MiB
	Inbox     int           // bytes that may wait for one session; zero: 64 KiB
	Heartbeat time.Duration // between two signs of life; zero: 15 s
	Misses    int           // silent intervals after which a client is lost; zero: 3
	Stall     time.Duration // a client that takes no byte for so long is lost; zero: 20 s
	Linger    time.Duration // how long the last frames wait for a client; zero: 5 s
	Handshake time.Duration // how long the body of a request may take; zero: 10 s

	Settings Settings
}

// Settings are the rules that a reload can change; they hold for new requests.
type Settings struct {
	Origins []string // of pages, besides the server's own; "*": any
	Message int64    // largest body of a request
	Frames  int      // frames a client may send each second; negative: no limit
	Dev     bool     // ?user= is believed
}

// Metrics counts what the connections of one transport have done.
type Metrics struct {
	Open     atomic.Int64 // connections now
	Accepted atomic.Int64
	Refused  [4]atomic.Int64 // by Reason
	Requests atomic.Int64    // those that belong to a connection
	BytesIn  atomic.Int64
	BytesOut atomic.Int64
	Dropped  atomic.Int64 // messages that did not fit into a client's queue
	Lost     atomic.Int64 // clients that fell silent
	Stalled  atomic.Int64 // clients that took no bytes, or not their replies
	Queued   atomic.Int64 // bytes that wait for their clients now
}

// Reason is why a connection was refused.
type Reason int

// The reasons, and their labels in metrics.
const (
	RefusedRequest Reason = iota // the request was wrong
	RefusedOrigin
	RefusedLimit
	RefusedDraining
)

// Reasons names the reasons for metrics.
var Reasons = [...]string{"bad_request", "origin", "limit", "draining"}

// Kind is one transport.
type Kind struct {
	Name     string // for listings
	Encoding int    // of the hub's
	Metrics  Metrics
}

// Server is what the connections of these doors share.
type Server struct {
	cfg      Config
	settings atomic.Pointer[Settings]
	draining atomic.Bool
	spread   atomic.Int64 // of a drain: nanoseconds over which clients come back
	open     atomic.Int64
	running  sync.WaitGroup // requests and workers

	mu     sync.Mutex              // guards all below
	conns  map[id.Connection]*Conn // by the name that clients use
	closed bool
}

// New makes a Server.
func New(cfg Config) *Server {
	cfg.Queue = or(cfg.Queue, 1<<20)
	cfg.Inbox = or(cfg.Inbox, 64<<10)
	cfg.Heartbeat = or(cfg.Heartbeat, 15*time.Second)
	cfg.Misses = or(cfg.Misses, 3)
	cfg.Stall = or(cfg.Stall, 20*time.Second)
	cfg.Linger = or(cfg.Linger, 5*time.Second)
	cfg.Handshake = or(cfg.Handshake, 10*time.Second)
	s := &Server{cfg: cfg, conns: map[id.Connection]*Conn{}}
	s.Configure(cfg.Settings)
	return s
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Configure replaces the settings.
func (s *Server) Configure(settings Settings) { s.settings.Store(&settings) }

// Settings gives those in force.
func (s *Server) Settings() *Settings { return s.settings.Load() }

// Config gives what the server was made with, defaults filled in.
func (s *Server) Config() *Config { return &s.cfg }

// Open is how many connections there are.
func (s *Server) Open() int64 { return s.open.Load() }

// ShuttingDown is what clients are told when the server stops.
const ShuttingDown = "the server is shutting down"

// Drain refuses new connections from now on and says goodbye to those that are
// there; they are asked to come back over the given span.
func (s *Server) Drain(spread time.Duration) {
	s.spread.Store(int64(spread))
	s.draining.Store(true)
	for _, c := range s.all() {
		c.Session.Bye(protocol.CloseGoingAway, ShuttingDown, spread)
	}
}

// Close ends every connection at once, and waits for the requests and goroutines
// that belong to them.
func (s *Server) Close() {
	s.draining.Store(true)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, c := range s.all() {
		c.Abort(protocol.CloseGoingAway, "the server has stopped")
	}
	s.running.Wait()
}

func (s *Server) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Conn, 0, len(s.conns))
	for _, c := range s.conns {
		list = append(list, c)
	}
	return list
}

// Find gives the connection that a client names, nil when there is none.
func (s *Server) Find(name string, kind *Kind) *Conn {
	key, ok := id.ParseConnection(name)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[key]; c != nil && c.kind == kind {
		return c
	}
	return nil
}

// begin counts a request in, as long as the server runs.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// Serve answers a request with fn, after it has judged where the request comes
// from. methods are those that it may have, for preflights too.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, kind *Kind, method string, fn func(http.ResponseWriter, *http.Request)) {
	if !s.begin() {
		s.busy(w, kind, RefusedDraining, ShuttingDown)
		return
	}
	defer s.running.Done()
	if !s.allowOrigin(w, r, method) {
		kind.Metrics.Refused[RefusedOrigin].Add(1)
		Refuse(w, fault.New(fault.Denied, `the page's origin is not allowed; add it to "origins" in the server's configuration`))
		return
	}
	switch r.Method {
	case method:
		fn(w, r)
	case http.MethodOptions:
		w.Header().Set("Allow", method+", OPTIONS")
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", method+", OPTIONS")
		refuse(w, http.StatusMethodNotAllowed, fault.New(fault.BadRequest, "use %s", method))
	}
}

// Enter counts a new connection in, if the limits allow it; otherwise it answers.
func (s *Server) Enter(w http.ResponseWriter, r *http.Request, kind *Kind) (*Conn, bool) {
	if s.draining.Load() {
		s.busy(w, kind, RefusedDraining, ShuttingDown+"; connect again")
		return nil, false
	}
	remote, release, ok := s.cfg.Admit(w, r)
	if !ok {
		kind.Metrics.Refused[RefusedLimit].Add(1)
		return nil, false
	}
	s.open.Add(1)
	kind.Metrics.Open.Add(1)
	return newConn(s, kind, remote, release), true
}

// leave counts a connection out.
func (s *Server) leave(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c.key)
	s.mu.Unlock()
	c.release()
	c.kind.Metrics.Open.Add(-1)
	s.open.Add(-1)
}

// list makes a connection known; false: the server has stopped.
func (s *Server) list(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c.key] = c
	return true
}

func (s *Server) busy(w http.ResponseWriter, kind *Kind, reason Reason, message string) {
	kind.Metrics.Refused[reason].Add(1)
	Refuse(w, fault.New(fault.Unavailable, "%s", message).After(5*time.Second))
}
