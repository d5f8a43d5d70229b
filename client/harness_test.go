package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
	"github.com/skein-realtime/skein/internal/app"
	"github.com/skein-realtime/skein/internal/cli"
)

// commandLine is set in the environment of a copy of the test binary.
const commandLine = "COMMAND_LINE_OF_TEST"

// TestMain runs the tests and then asks whether any goroutine outlived them. In a
// copy of the test binary it is the command line of the server.
func TestMain(m *testing.M) {
	if os.Getenv(commandLine) != "" {
		commands := cli.Commands{Serve: func(ctx context.Context, load func() (skein.Config, error)) error {
			return app.Serve(ctx, app.Options{Load: load})
		}}
		os.Exit(commands.Run(context.Background(), cli.Shell{}))
	}
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// patience is how long something that must happen may take.
const patience = 20 * time.Second

// transports are the ways to connect; what a program sees must not depend on them.
var transports = []client.Transport{client.WebSocket, client.SSE, client.Poll}

// onEach runs a test over each transport.
func onEach(t *testing.T, test func(t *testing.T, transport client.Transport)) {
	t.Helper()
	for _, transport := range transports {
		t.Run(string(transport), func(t *testing.T) { test(t, transport) })
	}
}

// secret signs the tokens of the tests.
const secret = "0123456789abcdef0123456789abcdef"

// config is a server with a namespace of each kind.
func config() skein.Config {
	return skein.Config{
		Auth: skein.Auth{Anonymous: true, JWT: skein.JWT{HMACSecret: secret}},
		// A client that has lost its connection is sent away at once when a test ends.
		Drain:  skein.Drain{Timeout: skein.Duration(time.Second), Spread: skein.Duration(time.Millisecond)},
		Limits: skein.Limits{FramesPerSecond: -1},
		Namespaces: map[string]skein.Namespace{
			"event":  {Subscribe: "anyone", Publish: "anyone", Presence: "members"},
			"room":   {Kind: "log", Subscribe: "anyone", Publish: "anyone", Presence: "members"},
			"short":  {Kind: "log", Subscribe: "anyone", Publish: "anyone", Keep: skein.Keep{Count: 3}},
			"closed": {Subscribe: "server", Publish: "server"},
		},
	}.WithDev()
}

// server is a server that can be stopped and started again at its address.
type server struct {
	*skein.Server
	t      testing.TB
	cfg    skein.Config
	addr   string
	stop   func()
	handle func(*skein.Server) // is told of each server before it serves; nil: nobody
}

// start starts a server that ends with the test.
func start(t testing.TB, cfg skein.Config) *server { return startWith(t, cfg, nil) }

func startWith(t testing.TB, cfg skein.Config, handle func(*skein.Server)) *server {
	t.Helper()
	cfg.Listen, cfg.Logger = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	if cfg.Data == "" {
		cfg.Data = t.TempDir()
	}
	s := &server{t: t, cfg: cfg, handle: handle}
	s.begin()
	t.Cleanup(func() { s.stop() })
	return s
}

// begin starts it, after stop.
func (s *server) begin() {
	s.t.Helper()
	srv, err := skein.New(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.handle != nil {
		s.handle(srv)
	}
	var l net.Listener
	eventually(s.t, "the address is free", func() bool { l, err = srv.Listen(); return err == nil })
	s.Server, s.addr = srv, l.Addr().String()
	s.cfg.Listen = s.addr
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("serve: %v", err)
		}
	})
}

func (s *server) url() string { return "http://" + s.addr }

// verb runs a server verb; it must succeed.
func (s *server) verb(name string, params any) map[string]any {
	s.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	var out map[string]any
	if err := s.Call(context.Background(), name, params, &out); err != nil {
		s.t.Fatalf("%s %v: %v", name, params, err)
	}
	return out
}

// publish publishes data in a channel.
func (s *server) publish(channel string, data any) {
	s.t.Helper()
	s.verb("publish", map[string]any{"to": map[string]any{"channel": channel}, "data": data})
}

// soon is a context that ends when something takes too long.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newClient makes a client that ends with the test.
func newClient(t testing.TB, address string, o client.Options) *client.Client {
	t.Helper()
	if o.Backoff == nil {
		o.Backoff = func(int) time.Duration { return 5 * time.Millisecond }
	}
	c, err := client.New(address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// connect makes a client that is connected.
func connect(t testing.TB, address string, o client.Options) *client.Client {
	t.Helper()
	c := newClient(t, address, o)
	must(t, c.Connect(soon(t)))
	return c
}

// over gives options for a user over one transport.
func over(transport client.Transport, user string) client.Options {
	return client.Options{User: user, Transports: []client.Transport{transport}}
}

// token signs a token; claims are added to it.
func token(t testing.TB, user string, life time.Duration, claims map[string]any) string {
	t.Helper()
	all := jwt.MapClaims{"sub": user, "exp": time.Now().Add(life).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(secret))
	must(t, err)
	return text
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls for what no event announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

// list collects what functions are called with.
type list[E any] struct {
	t    testing.TB
	mu   sync.Mutex
	all  []E
	more chan struct{}
}

func collect[E any](t testing.TB, on func(func(E)) func()) *list[E] {
	l := &list[E]{t: t, more: make(chan struct{}, 1)}
	on(l.add)
	return l
}

func (l *list[E]) add(e E) {
	l.mu.Lock()
	l.all = append(l.all, e)
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *list[E]) now() []E {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// until waits until the list is as it should be.
func (l *list[E]) until(what string, ok func([]E) bool) []E {
	l.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		all := l.now()
		if ok(all) {
			return all
		}
		select {
		case <-l.more:
		case <-deadline.C:
			l.t.Fatalf("waited in vain: %s; there is %v", what, all)
		}
	}
}

// count waits until there are so many.
func (l *list[E]) count(n int) []E {
	l.t.Helper()
	return l.until(fmt.Sprintf("%d of them", n), func(all []E) bool { return len(all) >= n })
}

// first waits for one.
func (l *list[E]) first() E { l.t.Helper(); return l.count(1)[0] }

// data gives the data of messages as text.
func data(messages []client.Message) []string {
	var out []string
	for _, m := range messages {
		out = append(out, string(m.Data))
	}
	return out
}

// numbers gives "from" to "to" as text.
func numbers(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// proxy is a network that can be cut.
type proxy struct {
	t  testing.TB
	l  net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex // guards all below
	conns map[net.Conn]bool
	deaf  bool // new connections are closed at once
	stall bool // bytes from the server go nowhere
}

func throughProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{t: t, l: l, to: to, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.refuse(true)
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "http://" + p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil || !p.keep(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		p.wg.Go(func() { p.pump(out, in, false) })
		p.wg.Go(func() { p.pump(in, out, true) })
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if c != nil && !p.deaf {
			p.conns[c] = true
		}
	}
	return !p.deaf
}

func (p *proxy) pump(to, from net.Conn, down bool) {
	defer func() { _ = to.Close(); _ = from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !(down && p.stalled()) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) stalled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stall
}

// cut ends all connections as a broken network does.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(p.conns)
}

// cutOften cuts so many times, with a moment between.
func (p *proxy) cutOften(times int) {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for range times {
		<-tick.C
		p.cut()
	}
}

// going tells whether a channel is still open.
func going(done <-chan struct{}) bool {
	select {
	case <-done:
		return false
	default:
		return true
	}
}

func (p *proxy) refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = yes
}

func (p *proxy) swallow(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall = yes
}
