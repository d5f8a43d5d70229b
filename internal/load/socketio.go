package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/ws"
)

// SocketIOConfig says how [SocketIO] connects.
type SocketIOConfig struct {
	URL      string        // http and the host of the server
	Path     string        // of Socket.IO; empty: "/socket.io/"
	Polling  bool          // long polling, without a websocket
	Size     int           // bytes that each event has, with the type of Engine.IO in front; zero: any
	Dials    int           // connections that are being opened at a time; zero: 64
	Patience time.Duration // for a connection to become ready, and for the next delivery; zero: 30 s
}

// SocketIO is many clients of a Socket.IO server: Engine.IO 4, one socket in the
// main namespace each, which answers pings and counts events. Any server that
// speaks the protocol will do. Each client has a goroutine.
type SocketIO struct {
	cfg     SocketIOConfig
	host    string
	hello   string // the request that opens a websocket
	accept  string
	mask    [4]byte
	kick    chan struct{} // something came in
	running sync.WaitGroup
	closed  atomic.Bool

	sent         atomic.Int64 // broadcasts that were asked for
	reads        atomic.Int64 // that brought events
	delivered    atomic.Int64
	doubled      atomic.Int64
	strange      atomic.Int64 // events of another size
	disconnected atomic.Int64

	mu       sync.Mutex // guards all below
	sockets  []*ioSocket
	reached  []int64 // how many sockets have the i-th event
	complete int64   // events that all sockets have
	trouble  error   // the first thing that went wrong
}

// ioSocket is one client.
type ioSocket struct {
	all    *SocketIO
	nc     net.Conn
	parser ws.Parser
	ready  chan error // gets one value
	events int64      // its goroutine's
	fresh  int64      // of the read that is under way
}

// NewSocketIO makes clients of a server that are not connected yet.
func NewSocketIO(cfg SocketIOConfig) (*SocketIO, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if u.Scheme != "http" || u.Port() == "" {
		return nil, fmt.Errorf("url: %q is not http with a host and a port", cfg.URL)
	}
	if cfg.Path == "" {
		cfg.Path = "/socket.io/"
	}
	if cfg.Dials == 0 {
		cfg.Dials = 64
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	s := &SocketIO{cfg: cfg, host: u.Host, accept: ws.AcceptKey(key), mask: [4]byte{1, 2, 3, 4}, kick: make(chan struct{}, 1)}
	s.hello = fmt.Sprintf("GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", cfg.Path, u.Host, key)
	return s, nil
}

// Dial connects n clients and waits until each is in the main namespace. The
// first failure ends it. It is called once.
func (s *SocketIO) Dial(ctx context.Context, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, s.cfg.Dials) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(n) && ctx.Err() == nil; i = next.Add(1) {
				if err := s.dial(ctx); err != nil {
					cancel(fmt.Errorf("client %d: %w", i, err))
					return
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// dial connects one client.
func (s *SocketIO) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Patience, errors.New("the server did not answer in time"))
	defer cancel()
	d := net.Dialer{KeepAlive: -1}
	nc, err := d.DialContext(ctx, "tcp", s.host)
	if err != nil {
		return err
	}
	c := &ioSocket{all: s, nc: nc, ready: make(chan error, 1)}
	s.mu.Lock()
	s.sockets = append(s.sockets, c)
	s.mu.Unlock()
	run := c.socket
	if s.cfg.Polling {
		run = c.polling
	}
	s.running.Go(func() {
		err := run()
		c.settle(err)
		_ = nc.Close()
		if !s.closed.Load() {
			s.disconnected.Add(1)
			s.fail(err)
		}
	})
	select {
	case err := <-c.ready:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle tells whoever waits for the opening, once.
func (c *ioSocket) settle(err error) {
	select {
	case c.ready <- err:
	default:
	}
}

// fail keeps the first thing that went wrong.
func (s *SocketIO) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == nil {
		s.trouble = err
	}
}

// socket runs a client on a websocket until it ends.
func (c *ioSocket) socket() error {
	s := c.all
	c.parser.Init(&ws.ParserConfig{MaxMessage: 1 << 20, Client: true})
	if _, err := io.WriteString(c.nc, s.hello); err != nil {
		return err
	}
	buf := make([]byte, 2<<10)
	n, end := 0, -1
	for end < 0 {
		if n == len(buf) {
			return errors.New("the answer to the handshake does not end")
		}
		m, err := c.nc.Read(buf[n:])
		if err != nil {
			return fmt.Errorf("the answer to the handshake: %w", err)
		}
		n += m
		end = strings.Index(string(buf[:n]), "\r\n\r\n")
	}
	if head := string(buf[:end]); !strings.HasPrefix(head, "HTTP/1.1 101") || !strings.Contains(head, s.accept) {
		status, _, _ := strings.Cut(head, "\r\n")
		return fmt.Errorf("the handshake was refused: %s", status)
	}
	for b := buf[end+4 : n]; ; b = buf[:n] {
		if err := c.parser.Feed(b, c); err != nil {
			return err
		}
		c.count()
		var err error
		if n, err = c.nc.Read(buf); err != nil {
			return err
		}
	}
}

// Control implements ws.Sink.
func (c *ioSocket) Control(op ws.Opcode, payload []byte) error {
	switch op {
	case ws.Ping:
		return c.write(ws.Pong, payload)
	case ws.Close:
		code, reason, _ := ws.ParseClose(payload)
		return fmt.Errorf("the server closed it: %d %s", code, reason)
	}
	return nil
}

// Message implements ws.Sink.
func (c *ioSocket) Message(_ ws.Opcode, packet []byte) error {
	answer, err := c.packet(packet)
	if err == nil && answer != "" {
		err = c.write(ws.Text, []byte(answer))
	}
	return err
}

func (c *ioSocket) write(op ws.Opcode, payload []byte) error {
	_, err := c.nc.Write(ws.AppendMasked(make([]byte, 0, len(payload)+14), op, c.all.mask, payload))
	return err
}

// packet takes one packet of Engine.IO and gives what is to be answered.
func (c *ioSocket) packet(p []byte) (answer string, err error) {
	kind := p
	if len(kind) > 2 {
		kind = kind[:2]
	}
	switch {
	case len(p) == 0:
		return "", errors.New("an empty packet has come")
	case string(kind) == "42":
		if c.all.cfg.Size > 0 && len(p) != c.all.cfg.Size {
			c.all.strange.Add(1)
		}
		c.fresh++
	case p[0] == '0':
		return "40", nil
	case p[0] == '2':
		return "3", nil
	case string(kind) == "40":
		c.settle(nil)
	case p[0] == '6': // it says nothing
	default:
		return "", fmt.Errorf("the server sent %.60s", p)
	}
	return "", nil
}

// count adds the events of one read to those of all.
func (c *ioSocket) count() {
	n := c.fresh
	if n == 0 {
		return
	}
	s := c.all
	c.fresh = 0
	s.reads.Add(1)
	s.delivered.Add(n)
	done := false
	s.mu.Lock()
	sent := s.sent.Load()
	for range n {
		if c.events >= sent { // more than there are
			s.doubled.Add(1)
			continue
		}
		s.reached[c.events]++
		c.events++
		for s.complete < sent && s.reached[s.complete] == int64(len(s.sockets)) {
			s.complete++
			done = true
		}
	}
	s.mu.Unlock()
	if done {
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
}

// polling runs a client that polls until it ends. One TCP connection does for
// all of it, since it sends only when no poll is held.
func (c *ioSocket) polling() error {
	r := bufio.NewReaderSize(c.nc, 2<<10)
	body, err := c.ask(r, "GET", "", "")
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(body), `"sid":"`)
	id, _, ok := strings.Cut(rest, `"`)
	if !ok || body[0] != '0' {
		return fmt.Errorf("the server sent %.60s", body)
	}
	if _, err := c.ask(r, "POST", id, "40"); err != nil {
		return err
	}
	for {
		body, err := c.ask(r, "GET", id, "")
		if err != nil {
			return err
		}
		var answers []string
		for p := range strings.SplitSeq(string(body), "\x1e") {
			answer, err := c.packet([]byte(p))
			if err != nil {
				return err
			}
			if answer != "" {
				answers = append(answers, answer)
			}
		}
		c.count()
		if len(answers) > 0 {
			if _, err := c.ask(r, "POST", id, strings.Join(answers, "\x1e")); err != nil {
				return err
			}
		}
	}
}

// ask makes one request and gives the body of the answer.
func (c *ioSocket) ask(r *bufio.Reader, method, id, body string) ([]byte, error) {
	b := append(make([]byte, 0, 256), method...)
	b = append(append(append(b, ' '), c.all.cfg.Path...), "?EIO=4&transport=polling"...)
	if id != "" {
		b = append(append(b, "&sid="...), id...)
	}
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), c.all.host...), "\r\n"...)
	if method == http.MethodPost {
		b = append(b, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	b = append(append(b, "\r\n"...), body...)
	if _, err := c.nc.Write(b); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || len(answer) == 0) {
		err = fmt.Errorf("%s: %s: %.60s", method, res.Status, answer)
	}
	return answer, err
}

// Close ends all clients at once and waits for their goroutines.
func (s *SocketIO) Close() {
	s.closed.Store(true)
	s.mu.Lock()
	sockets := s.sockets
	s.mu.Unlock()
	for _, c := range sockets {
		_ = c.nc.Close()
	}
	s.running.Wait()
}
