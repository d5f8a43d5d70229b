package link

import (
	"container/heap"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

// Metrics counts what the connections of a server have done.
type Metrics struct {
	Open       atomic.Int64 // connections now
	BytesIn    atomic.Int64
	BytesOut   atomic.Int64
	MessagesIn atomic.Int64
	Dropped    atomic.Int64 // messages that did not fit into a peer's queue
	Pings      atomic.Int64
	Lost       atomic.Int64 // peers that fell silent
	Stalled    atomic.Int64 // peers that took no bytes
	Queued     atomic.Int64 // bytes that wait for their peers now
}

// Deadline is something that wants to be called once, later.
type Deadline interface {
	// Due is called on the sweeper's goroutine, so it must be quick.
	Due(now int64)
}

// Server owns what its connections share: pollers, the sweeper, limits.
type Server struct {
	cfg      Config
	metrics  Metrics
	controls atomic.Int64 // control frames a peer may send each second; zero: no limit
	start    time.Time
	poll     *pollers // nil: portable only
	workers  sync.WaitGroup
	stop     chan struct{}
	stopped  sync.WaitGroup

	mu        sync.Mutex // guards the ring and the heap
	ring      []*Conn    // all open connections; the sweeper visits a slice of them each tick
	next      int
	deadlines deadlineHeap
	closed    bool // nobody is adopted any more
}

// errClosed says that a connection came after [Server.Close].
var errClosed = errors.New("link: the server has stopped")

// Start makes a server and starts its goroutines.
func Start(cfg Config) (*Server, error) {
	cfg.Queue = or(cfg.Queue, 1<<20)
	cfg.Inbox = or(cfg.Inbox, 64<<10)
	cfg.Heartbeat = or(cfg.Heartbeat, 15*time.Second)
	cfg.Misses = or(cfg.Misses, 3)
	cfg.Stall = or(cfg.Stall, 20*time.Second)
	cfg.Linger = or(cfg.Linger, 5*time.Second)
	cfg.Tick = or(cfg.Tick, min(time.Second, cfg.Heartbeat/15))
	cfg.Pollers = or(cfg.Pollers, runtime.GOMAXPROCS(0))
	s := &Server{cfg: cfg, start: time.Now(), stop: make(chan struct{})}
	s.LimitControls(cfg.ControlsPerSecond)
	if cfg.Epoll {
		var err error
		if s.poll, err = startPollers(s, cfg.Pollers); err != nil {
			return nil, fmt.Errorf("link: start the epoll driver: %w", err)
		}
	}
	s.stopped.Add(1)
	go s.sweep()
	return s, nil
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// LimitControls replaces how many control frames a peer may send each second;
// zero: no limit.
func (s *Server) LimitControls(perSecond int) { s.controls.Store(int64(perSecond)) }

// EpollAvailable tells whether this system has the epoll driver.
func EpollAvailable() bool { return epollAvailable }

// Metrics gives the live counters.
func (s *Server) Metrics() *Metrics { return &s.metrics }

// Now is the server's clock: nanoseconds since it started, never backwards.
func (s *Server) Now() int64 { return int64(time.Since(s.start)) }

// Adoption is what [Server.Adopt] needs besides the connection.
type Adoption struct {
	Remote  netip.AddrPort   // the peer, as the edge found it
	Parser  *ws.ParserConfig // shared by connections of its kind
	Handler Handler
	Hello   []byte // the answer to the handshake; it leaves together with what First sends
	Early   []byte // bytes that the peer sent already
	First   func() // runs before the handler gets anything, on the caller's goroutine
}

// Adopt takes over a connection whose handshake has been accepted. After an
// error the caller still owns nc.
func (s *Server) Adopt(c *Conn, nc net.Conn, a Adoption) error {
	c.srv, c.handler, c.remote = s, a.Handler, a.Remote
	c.parser.Init(a.Parser)
	c.heard.Store(s.Now())
	tcp, plain := nc.(*net.TCPConn)
	if plain {
		tune(tcp)
	} else if under, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		if tcp, ok := under.NetConn().(*net.TCPConn); ok {
			tune(tcp)
		}
	}
	var begin func()
	if s.poll != nil && plain {
		var err error
		if begin, err = s.poll.adopt(c, tcp); err != nil {
			return err
		}
	} else {
		begin = adoptPortable(c, nc)
	}
	c.out, c.held, c.progress = []item{{b: a.Hello}}, true, s.Now()
	c.running = true // the caller is the worker until First has run
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		if s.poll != nil && plain {
			c.drv.close(c) // the doubled descriptor; the portable driver uses nc itself
		}
		return errClosed
	}
	c.waitLocked(len(a.Hello)) // nobody else knows the connection
	s.workers.Add(1)
	s.metrics.Open.Add(1)
	c.index = len(s.ring)
	s.ring = append(s.ring, c)
	s.mu.Unlock()
	if len(a.Early) > 0 {
		c.feed(a.Early, s.Now())
	}
	a.First()
	c.unhold()
	begin()
	c.work()
	return nil
}

// forget takes a released connection out of the ring. It is called with c.mu held.
func (s *Server) forget(c *Conn) {
	s.metrics.Open.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.ring) - 1
	s.ring[c.index] = s.ring[last]
	s.ring[c.index].index = c.index
	s.ring[last] = nil
	s.ring = s.ring[:last]
}

// Deadline asks for d.Due at the given time of the server's clock, give or take a tick.
func (s *Server) Deadline(at int64, d Deadline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heap.Push(&s.deadlines, deadline{at, d})
}

type deadline struct {
	at int64
	d  Deadline
}

type deadlineHeap []deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deadlineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deadlineHeap) Push(x any)        { *h = append(*h, x.(deadline)) }
func (h *deadlineHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = deadline{}
	*h = old[:len(old)-1]
	if cap(*h) > 1024 && len(*h) < cap(*h)/4 {
		*h = append(make(deadlineHeap, 0, cap(*h)/2), *h...) // a burst is over: give the memory back
	}
	return x
}

// visits is how often the sweeper looks at each connection per heartbeat interval.
const visits = 3

// sweep is the one clock of all connections: each tick it calls what is due and
// looks at the next slice of the ring.
func (s *Server) sweep() {
	defer s.stopped.Done()
	ticker := time.NewTicker(s.cfg.Tick)
	defer ticker.Stop()
	var batch []*Conn
	var due []Deadline
	share := float64(s.cfg.Tick) / (float64(s.cfg.Heartbeat) / visits)
	owed := 0.0
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		now := s.Now()
		s.mu.Lock()
		for len(s.deadlines) > 0 && s.deadlines[0].at <= now {
			due = append(due, heap.Pop(&s.deadlines).(deadline).d)
		}
		owed += share * float64(len(s.ring))
		for n := min(int(owed), len(s.ring)); n > 0; n-- {
			if s.next >= len(s.ring) {
				s.next = 0
			}
			batch = append(batch, s.ring[s.next])
			s.next++
		}
		owed -= float64(int(owed))
		s.mu.Unlock()
		for _, d := range due {
			d.Due(now)
		}
		for _, c := range batch {
			s.visit(c, now)
		}
		clear(batch)
		clear(due)
		batch, due = batch[:0], due[:0]
	}
}

// pingFrame is shared by all pings: RFC 6455 section 5.5.2 needs no payload.
var pingFrame = ws.AppendFrame(nil, ws.Ping, nil)

// visit pings a connection that was silent for about an interval, and ends one
// that was silent for too many or takes no bytes.
func (s *Server) visit(c *Conn, now int64) {
	interval := int64(s.cfg.Heartbeat)
	silence := now - c.heard.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return
	}
	if c.held {
		c.heard.Store(now) // the peer has not been answered yet: it owes us nothing
		return
	}
	if len(c.out) > 0 && now-c.progress > int64(s.cfg.Stall) {
		s.metrics.Stalled.Add(1)
		c.stalledLocked()
		return
	}
	if c.paused || c.stalled {
		c.heard.Store(now) // we do not listen, so silence means nothing; Stall judges such a peer
		return
	}
	half := interval / (2 * visits)
	switch {
	case silence >= interval*int64(s.cfg.Misses):
		s.metrics.Lost.Add(1)
		c.abortLocked(protocol.CloseHeartbeat, "silent for "+time.Duration(silence).Round(time.Millisecond).String())
	case silence >= interval-half && now-c.pinged >= interval-half && len(c.out) == 0:
		c.pinged = now
		s.metrics.Pings.Add(1)
		c.sendLocked(pingFrame, nil, 0)
	}
}

// Each calls fn for every open connection, without a lock held.
func (s *Server) Each(fn func(*Conn)) {
	s.mu.Lock()
	all := append([]*Conn(nil), s.ring...)
	s.mu.Unlock()
	for _, c := range all {
		fn(c)
	}
}

// Close ends every connection at once, stops the goroutines and waits for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.Each(func(c *Conn) { c.Abort(protocol.CloseGoingAway, "the server has stopped") })
	close(s.stop)
	s.stopped.Wait()
	if s.poll != nil {
		s.poll.close()
	}
	s.workers.Wait()
}
