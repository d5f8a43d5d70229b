package link_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/ws"
	"github.com/skein-realtime/skein/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// mode is a driver with a kind of stream.
type mode struct {
	name  string
	epoll bool
	tls   bool
}

var modes = []mode{{"epoll", true, false}, {"portable", false, false}, {"tls", false, true}}

// inEveryMode runs a test with each driver, over plain TCP and over TLS.
func inEveryMode(t *testing.T, cfg link.Config, test func(t *testing.T, s *server)) {
	t.Helper()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			cfg := cfg
			cfg.Epoll = m.epoll
			test(t, serve(t, m, cfg))
		})
	}
}

// server accepts connections and gives each to a handler of its own.
type server struct {
	*link.Server
	t        testing.TB
	mode     mode
	listener net.Listener
	roots    *x509.CertPool
	serving  sync.WaitGroup
	adopted  chan *handler
	prepared atomic.Pointer[func(h *handler) link.Adoption]
}

// prepare says how connections are adopted from now on.
func (s *server) prepare(fn func(h *handler) link.Adoption) { s.prepared.Store(&fn) }

func serve(t testing.TB, m mode, cfg link.Config) *server {
	t.Helper()
	ls, err := link.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Server: ls, t: t, mode: m, adopted: make(chan *handler, 4096)}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var tlsConfig *tls.Config
	if m.tls {
		tlsConfig, s.roots = certificate(t)
	}
	s.serving.Go(func() {
		for {
			nc, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { s.accept(nc, tlsConfig) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *server) accept(nc net.Conn, tlsConfig *tls.Config) {
	if tlsConfig != nil {
		tc := tls.Server(nc, tlsConfig)
		if err := tc.Handshake(); err != nil {
			_ = tc.Close()
			return
		}
		nc = tc
	}
	h := &handler{drained: make(chan struct{}, 64), closed: make(chan ending, 2), received: make(chan []byte, 1<<16)}
	a := link.Adoption{First: func() {}}
	if fn := s.prepared.Load(); fn != nil {
		a = (*fn)(h)
	}
	a.Remote, _ = netip.ParseAddrPort(nc.RemoteAddr().String())
	a.Handler = h
	if a.Parser == nil {
		a.Parser = &ws.ParserConfig{MaxMessage: 4 << 20}
	}
	if err := s.Adopt(&h.Conn, nc, a); err != nil {
		s.t.Errorf("adopt: %v", err)
		_ = nc.Close()
		return
	}
	s.adopted <- h
}

// stop ends everything; it may be called twice.
func (s *server) stop() {
	if err := s.listener.Close(); errors.Is(err, net.ErrClosed) {
		return
	}
	s.serving.Wait()
	s.Close()
	if n := s.Metrics().Open.Load(); n != 0 {
		s.t.Errorf("%d connections are open after Close", n)
	}
	if n := s.Metrics().Queued.Load(); n != 0 {
		s.t.Errorf("%d bytes wait after Close", n)
	}
}

// certificate makes one for 127.0.0.1.
func certificate(t testing.TB) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

type ending struct {
	reason  protocol.Close
	message string
}

// handler is one connection as the protocol above sees it. It checks that its
// methods are never called at the same time.
type handler struct {
	link.Conn
	busy     atomic.Int32
	over     atomic.Bool
	receive  func(h *handler, op ws.Opcode, payload []byte) // nil: into received
	received chan []byte
	drained  chan struct{}
	closed   chan ending
}

func (h *handler) enter() {
	if h.busy.Add(1) != 1 {
		panic("two calls of one handler at the same time")
	}
	if h.over.Load() {
		panic("a call after Closed")
	}
}

func (h *handler) Receive(op ws.Opcode, payload []byte) {
	h.enter()
	defer h.busy.Add(-1)
	if h.receive != nil {
		h.receive(h, op, payload)
		return
	}
	h.received <- payload
}

func (h *handler) Drained() {
	h.enter()
	defer h.busy.Add(-1)
	h.drained <- struct{}{}
}

func (h *handler) Closed(reason protocol.Close, message string) {
	h.enter()
	defer h.busy.Add(-1)
	h.over.Store(true)
	h.closed <- ending{reason, message}
}

// echo sends each message back.
func echo(h *handler, op ws.Opcode, payload []byte) {
	h.SendControl(ws.AppendFrame(nil, op, payload), nil)
}

func echoing(h *handler) link.Adoption {
	h.receive = echo
	return link.Adoption{First: func() {}}
}

// subscriber counts what is dropped.
type subscriber struct {
	dead    atomic.Bool
	dropped atomic.Int64
}

func (s *subscriber) Live() bool       { return !s.dead.Load() }
func (s *subscriber) Dropped(n uint32) { s.dropped.Add(int64(n)) }

// client is the peer: it sees frames one by one and answers nothing by itself.
type client struct {
	net.Conn
	t      testing.TB
	parser ws.Parser
	frames []frame
	buf    []byte
}

type frame struct {
	op      ws.Opcode
	payload string
}

func (c *client) Message(op ws.Opcode, payload []byte) error {
	c.frames = append(c.frames, frame{op, string(payload)})
	return nil
}

func (c *client) Control(op ws.Opcode, payload []byte) error { return c.Message(op, payload) }

// dial opens a connection and gives both ends of it.
func (s *server) dial() (*client, *handler) {
	s.t.Helper()
	c := s.connect()
	return c, wait(s.t, s.adopted)
}

func (s *server) connect() *client {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	// Small buffers, so that little data is enough to fill them.
	_ = nc.(*net.TCPConn).SetReadBuffer(64 << 10)
	_ = nc.(*net.TCPConn).SetWriteBuffer(64 << 10)
	if s.mode.tls {
		tc := tls.Client(nc, &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1", CurvePreferences: []tls.CurveID{tls.X25519}})
		if err := tc.Handshake(); err != nil {
			s.t.Fatal(err)
		}
		nc = tc
	}
	c := &client{Conn: nc, t: s.t, buf: make([]byte, 64<<10)}
	c.parser.Init(&ws.ParserConfig{Client: true, MaxMessage: 8 << 20})
	_ = c.SetDeadline(time.Now().Add(patience))
	s.t.Cleanup(func() { _ = c.Conn.Close() })
	return c
}

var key = [4]byte{1, 2, 3, 4}

func masked(op ws.Opcode, payload string) []byte {
	return ws.AppendMasked(nil, op, key, []byte(payload))
}

func (c *client) send(frames ...[]byte) {
	c.t.Helper()
	if _, err := c.Write(bytes.Join(frames, nil)); err != nil {
		c.t.Fatal(err)
	}
}

// next reads a frame.
func (c *client) next() (frame, error) {
	for len(c.frames) == 0 {
		n, err := c.Read(c.buf)
		if n > 0 {
			if perr := c.parser.Feed(c.buf[:n], c); perr != nil {
				return frame{}, perr
			}
		}
		if err != nil && len(c.frames) == 0 {
			return frame{}, err
		}
	}
	f := c.frames[0]
	c.frames = c.frames[1:]
	return f, nil
}

func (c *client) expect(op ws.Opcode, payload string) {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %s %.40q: %v", op, payload, err)
	}
	if f != (frame{op, payload}) {
		c.t.Fatalf("got %s %.40q (%d bytes), want %s %.40q (%d bytes)", f.op, f.payload, len(f.payload), op, payload, len(payload))
	}
}

// expectEnd reads until the stream ends, which must not happen with a frame.
func (c *client) expectEnd() {
	c.t.Helper()
	f, err := c.next()
	switch {
	case err == nil:
		c.t.Fatalf("got %s %q, want the end of the stream", f.op, f.payload)
	case !errors.Is(err, io.EOF) && os.IsTimeout(err):
		c.t.Fatalf("the stream does not end: %v", err)
	}
}

// wait takes from a channel, within patience.
func wait[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came within the time that a test waits")
		panic("unreachable")
	}
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never: %s", what)
		}
	}
}

// steady polls until a number has not changed for a while, and gives it.
func steady(t testing.TB, read func() int64) int64 {
	t.Helper()
	last, same := read(), 0
	eventually(t, "a steady number", func() bool {
		if n := read(); n != last {
			last, same = n, 0
		} else {
			same++
		}
		return same > 50
	})
	return last
}

// descriptors counts the descriptors of the process.
func descriptors(t testing.TB) int64 {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(list))
}
