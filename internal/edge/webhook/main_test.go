package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "a secret that is only for tests, 1"
	newer  = "a secret that is only for tests, 2"
)

// start makes a client of a backend; it is closed with the test.
func start(t testing.TB, url string, adjust func(*Config)) *Client {
	t.Helper()
	cfg := Config{URL: url, Secrets: []string{secret}, Events: Events[:], Logger: slog.New(slog.DiscardHandler)}
	if adjust != nil {
		adjust(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c) })
	return c
}

// stop closes a client without patience.
func stop(t testing.TB, c *Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Close(ctx); err != nil && !errors.Is(err, errGivenUp) {
		t.Errorf("Close: %v", err)
	}
}

// backend is an HTTP server with a handler, until the test ends.
func backend(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// lan is a network in memory, so that time can be a bubble's.
type lan struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	down  atomic.Bool // nobody listens
	dials atomic.Int64
}

func (l *lan) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *lan) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *lan) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (l *lan) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.dials.Add(1)
	if l.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble is a backend and a client in a synctest bubble.
type bubble struct {
	t      *testing.T
	client *Client
	lan    *lan
}

// inBubble starts both; the returned function ends them and belongs to the end of
// the bubble.
func inBubble(t *testing.T, handler http.HandlerFunc, adjust func(*Config)) (*bubble, func()) {
	t.Helper()
	l := &lan{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}}
	s.Start()
	cfg := Config{URL: "http://backend.example/hooks", Secrets: []string{secret}, Events: Events[:], Logger: slog.New(slog.DiscardHandler)}
	if adjust != nil {
		adjust(&cfg)
	}
	travel := connections(or(cfg.Concurrency, 64))
	travel.Proxy, travel.DialContext = nil, l.dial
	cfg.Transport = travel
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bubble{t, c, l}, func() {
		stop(t, c)
		travel.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	}
}

// answers is a handler that always answers the same.
func answers(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := header["Content-Type"]; !ok {
			w.Header().Set("Content-Type", "application/json")
		}
		for name, value := range header {
			if value == "" {
				w.Header()[name] = nil
				continue
			}
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// request is what a backend got.
type request struct {
	Hook, Delivery, Attempt, Timestamp, Signature string
	Body                                          string
}

func read(t testing.TB, r *http.Request) request {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Errorf("the backend cannot read the body: %v", err)
	}
	h := r.Header
	return request{h.Get("Skein-Hook"), h.Get("Skein-Delivery"), h.Get("Skein-Attempt"), h.Get("Skein-Timestamp"), h.Get("Skein-Signature"), string(b)}
}

// event is one event as a backend gets it.
type event struct {
	Event string `json:"event"`
	ID    string `json:"id"`
	Time  int64  `json:"time"`
	Key   string `json:"key"`
	N     int    `json:"n"`
}

// events are those of a batch.
func (r request) events(t testing.TB) []event {
	var batch struct {
		Events []event `json:"events"`
	}
	if err := json.Unmarshal([]byte(r.Body), &batch); err != nil {
		t.Errorf("the batch %.200q is not JSON: %v", r.Body, err)
	}
	return batch.Events
}

// fails asks and gives the error that it must end in.
func fails(t testing.TB, c *Client, event string) *Error {
	t.Helper()
	answer, err := c.Ask(t.Context(), event, nil)
	e, ok := errors.AsType[*Error](err)
	if !ok || answer != nil {
		t.Fatalf("%s: answer %q, error %v", event, answer, err)
	}
	return e
}

// succeeds asks and wants this answer.
func succeeds(t testing.TB, c *Client, event, want string) {
	t.Helper()
	if answer, err := c.Ask(t.Context(), event, nil); err != nil || string(answer) != want {
		t.Fatalf("%s: answer %q, error %v; want %q", event, answer, err, want)
	}
}

// diary is a log that can be read.
type diary struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.buf.Write(p)
}

func (d *diary) logger() *slog.Logger { return slog.New(slog.NewTextHandler(d, nil)) }

// lines gives those that contain a text.
func (d *diary) lines(part string) (found []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.Lines(d.buf.String()) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}

// dropped gives what was dropped, by reason.
func dropped(m *Metrics) map[string]int64 {
	all := map[string]int64{}
	for i := range m.Dropped {
		if n := m.Dropped[i].Load(); n > 0 {
			all[Reasons[i]] = n
		}
	}
	return maps.Clone(all)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func parse(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%.200q is not what was expected: %v", text, err)
	}
}

// journal is what a backend got, in order.
type journal struct {
	mu  sync.Mutex
	all []request
}

// note adds a request and gives it.
func (j *journal) note(t testing.TB, r *http.Request) request {
	got := read(t, r)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, got)
	return got
}

func (j *journal) requests() []request {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.all)
}

// told are the numbers of all events in batches, in order.
func (j *journal) told(t testing.TB) (n []int) {
	for _, r := range j.requests() {
		if r.Hook != batched {
			continue
		}
		for _, e := range r.events(t) {
			n = append(n, e.N)
		}
	}
	return n
}
