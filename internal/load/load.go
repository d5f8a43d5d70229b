// Package load drives a Skein server over the wire, as many clients would, and
// counts what comes of it: how long messages take, and which are lost, doubled
// or out of order.
//
// A [Swarm] is many connections in one process; [Connections], [Fanout],
// [Publish] and [Echo] are what can be done with one. [Process] tells what the
// server used meanwhile, when it runs on the same machine. The package decodes
// no JSON while it measures, so that the generator needs less than the server.
//
// It stores nothing. On Linux each lane of a swarm is one goroutine with one
// buffer that serves its plain connections by epoll; elsewhere, and with TLS,
// each connection has a goroutine. [Swarm.Close] waits for all of them.
package load

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/ws"
)

// Config of a [Swarm].
type Config struct {
	URL      string        // http, https, ws or wss and the host of the server
	Key      string        // of the HTTP API; empty: "dev"
	Lanes    int           // goroutines that read; zero: 1
	Dials    int           // connections that are being opened at a time; zero: 64
	Patience time.Duration // for one connection to become ready; zero: 30 s
	Source   int           // addresses of 127.0.0.0/8 that others have left from lately
}

// perSource is how many connections leave from one address. A source address has
// about 28,000 ports by default, but Linux looks for a free one among half of
// them first: when that half is used up, each further connection costs a look at
// all of it, and the generator would be slower than any server.
const perSource = 10_000

// Opening says how one connection begins.
type Opening struct {
	User       string // given as ?user=, which a server believes in development mode only
	Token      string // given in the connect frame
	Early      bool   // give the token with the handshake instead
	Channel    string // subscribed to; empty: none
	Together   bool   // sub leaves in one write with connect, before the welcome
	Publishers int    // that publish to it: how many tracks to keep

	at    int    // the channel's number
	since *place // where to go on in a log channel; nil: with what comes
	until uint64 // the message with which it has all that it missed
	pub   *publisher
	echo  *echo
	http  bool
}

// sub is the frame that subscribes.
func (o *Opening) sub() string {
	b := append(append(make([]byte, 0, 128), `{"type":"sub","id":1,"channel":"`...), o.Channel...)
	if b = append(b, '"'); o.since != nil {
		b = o.since.appendSince(b)
	}
	return string(append(b, '}'))
}

// Swarm is many connections to one server.
type Swarm struct {
	cfg     Config
	secure  bool
	host    string // with the port
	lanes   []*lane
	begun   time.Time
	kick    chan struct{} // something came in
	key     string        // Sec-WebSocket-Key
	accept  string
	mask    [4]byte
	parser  *ws.ParserConfig
	running sync.WaitGroup

	mu     sync.Mutex // guards conns
	conns  []*conn
	closed atomic.Bool
}

// New makes a swarm without connections.
func New(cfg Config) (*Swarm, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	s := &Swarm{cfg: cfg, begun: time.Now(), kick: make(chan struct{}, 1), host: u.Host,
		parser: &ws.ParserConfig{MaxMessage: 16 << 20, Client: true}}
	switch u.Scheme {
	case "https", "wss":
		s.secure = true
	case "http", "ws":
	default:
		return nil, fmt.Errorf("url: %q begins with none of http, https, ws and wss", cfg.URL)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("url: %q names no host", cfg.URL)
	}
	if u.Port() == "" {
		s.host = net.JoinHostPort(u.Hostname(), map[bool]string{false: "80", true: "443"}[s.secure])
	}
	if s.cfg.Key == "" {
		s.cfg.Key = "dev"
	}
	if s.cfg.Dials == 0 {
		s.cfg.Dials = 64
	}
	if s.cfg.Patience == 0 {
		s.cfg.Patience = 30 * time.Second
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	_, _ = rand.Read(s.mask[:]) // one mask for all: nobody is between us who could be fooled
	s.key = base64.StdEncoding.EncodeToString(nonce[:])
	s.accept = ws.AcceptKey(s.key)
	for range max(1, cfg.Lanes) {
		l := newLane(s)
		if err := l.open(); err != nil {
			_ = s.Close()
			return nil, err
		}
		s.lanes = append(s.lanes, l)
	}
	return s, nil
}

// now is the generator's clock: nanoseconds, monotonic.
func (s *Swarm) now() int64 { return int64(time.Since(s.begun)) }

// Len is how many connections were opened.
func (s *Swarm) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Dial opens n connections and waits until each is welcomed and subscribed.
// open says how the i-th begins; it may be called from many goroutines. ready,
// when not nil, is told how many are. The first failure ends it.
func (s *Swarm) Dial(ctx context.Context, n int, open func(i int) Opening, ready func(done int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var workers sync.WaitGroup
	for range min(n, s.cfg.Dials) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if _, err := s.dial(ctx, open(i)); err != nil {
					cancel(fmt.Errorf("connection %d: %w", i+1, err))
					return
				}
				done.Add(1)
			}
		})
	}
	stop := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		if ready == nil {
			return
		}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				ready(done.Load())
			case <-stop:
				ready(done.Load())
				return
			}
		}
	}()
	workers.Wait()
	close(stop)
	<-told
	return context.Cause(ctx)
}

// dial opens one connection and waits until it is ready.
func (s *Swarm) dial(ctx context.Context, o Opening) (*conn, error) {
	s.mu.Lock()
	index := len(s.conns)
	c := &conn{swarm: s, lane: s.lanes[index%len(s.lanes)], opening: o, ready: make(chan error, 1), pub: o.pub, echo: o.echo, fd: -1, hint: -1}
	c.tracks = make([]track, o.Publishers)
	if o.since != nil {
		c.follow = &follow{place: *o.since, until: o.until, asked: s.now()}
	}
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	if o.pub != nil {
		o.pub.conn = c
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Patience, errors.New("the server did not answer in time"))
	defer cancel()
	begun := s.now()
	nc, err := s.connect(ctx, index)
	if err != nil {
		return nil, err
	}
	c.parser.Init(s.parser)
	c.address = nc.LocalAddr().String()
	if err := c.lane.take(c, nc); err != nil {
		_ = nc.Close()
		return nil, err
	}
	c.begin()
	select {
	case err := <-c.ready:
		if err == nil {
			c.lane.opened(s.now() - begun)
		}
		return c, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// connect opens a TCP or TLS connection.
func (s *Swarm) connect(ctx context.Context, index int) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if source := s.cfg.Source + index/perSource; source > 0 && isLoopback(s.host) {
		d.LocalAddr, d.Control = &net.TCPAddr{IP: net.IPv4(127, 0, byte(source>>8), byte(source+1))}, portLater
	}
	if s.secure {
		return (&tls.Dialer{NetDialer: &d}).DialContext(ctx, "tcp", s.host)
	}
	return d.DialContext(ctx, "tcp", s.host)
}

// isLoopback tells whether other addresses of 127.0.0.0/8 reach the host too;
// IPv6 has one loopback address only.
func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip.To4() != nil && ip.IsLoopback()
}

// awake says that something came in.
func (s *Swarm) awake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Close closes all connections at once and waits for the goroutines.
func (s *Swarm) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
	for _, l := range s.lanes {
		l.stop()
	}
	s.running.Wait()
	return nil
}
