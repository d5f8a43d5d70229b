package skein_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/ws"
)

// each runs a test against a server of each driver.
func each(t *testing.T, cfg func() skein.Config, test func(t *testing.T, s *testServer)) {
	t.Helper()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			c := cfg()
			c.WebSocket.Driver = driver
			test(t, start(t, c))
		})
	}
}

// eventually polls for what no frame announces.
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

// startWith is start for a server that is told something before it serves.
func startWith(t testing.TB, cfg skein.Config, prepare func(*skein.Server)) *testServer {
	t.Helper()
	s, err := newOnFreePort(cfg)
	if err != nil {
		t.Fatal(err)
	}
	prepare(s)
	return serve(t, s)
}

func newOnFreePort(cfg skein.Config) (*skein.Server, error) {
	cfg.Listen = "127.0.0.1:0"
	return skein.New(cfg)
}

// verb runs a server verb through the Go face; it must succeed.
func (s *testServer) verb(name, params string) map[string]any {
	s.t.Helper()
	var out map[string]any
	if err := s.Call(context.Background(), name, json.RawMessage(params), &out); err != nil {
		s.t.Fatalf("%s %s: %v", name, params, err)
	}
	return out
}

// stat is one number of the verb stats.
func (s *testServer) stat(name string) float64 {
	s.t.Helper()
	n, ok := s.verb("stats", `{}`)[name].(float64)
	if !ok {
		s.t.Fatalf("stats has no %s", name)
	}
	return n
}

// empty waits until nothing is left of any connection.
func (s *testServer) empty() {
	s.t.Helper()
	for _, name := range []string{"open", "connections", "users", "channels"} {
		eventually(s.t, "no "+name, func() bool { return s.stat(name) == 0 })
	}
}

// request makes an HTTP request; header lines are "Name: value".
func (s *testServer) request(method, path, body string, header ...string) (int, http.Header, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

// anonymous opens a connection without a user.
func (s *testServer) anonymous() *client {
	s.t.Helper()
	c := s.dial("")
	c.send(`{"type":"connect"}`)
	c.ID = c.expect("welcome")["connection"].(string)
	return c
}

// fails sends a frame and reads the error that answers it.
func (c *client) fails(frame, code string) map[string]any {
	c.t.Helper()
	c.send(strings.Replace(frame, "{", `{"id":"f",`, 1))
	e := c.expect("error")
	if e["code"] != code || e["id"] != "f" {
		c.t.Fatalf("%s is answered by %v, want the code %s", frame, e, code)
	}
	return e
}

// lives shows that the connection still works, and that nothing was on its way.
func (c *client) lives() {
	c.t.Helper()
	c.send(`{"type":"ping"}`)
	c.expect("pong")
}

// goodbye reads the bye frame and the close code after it.
func (c *client) goodbye(word string, code int) map[string]any {
	c.t.Helper()
	bye := c.expect("bye")
	if bye["code"] != word {
		c.t.Errorf("bye is %v, want the code %s", bye, word)
	}
	if got := c.closed(); int(got) != code {
		c.t.Errorf("close code %d, want %d", got, code)
	}
	return bye
}

// wire is a client that shows every frame, and sends what no library would.
type wire struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// handshakeText is a handshake that the server accepts.
func handshakeText(query string) string {
	return "GET /ws?" + query + " HTTP/1.1\r\nHost: skein.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
}

// wire opens a connection by hand.
func (s *testServer) wire(query string) *wire {
	s.t.Helper()
	w := &wire{Conn: s.tcp(), t: s.t}
	w.r = bufio.NewReader(w.Conn)
	w.write([]byte(handshakeText(query)))
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("the handshake is answered by %s", res.Status)
	}
	return w
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	if _, err := w.Write(b); err != nil {
		w.t.Fatal(err)
	}
}

// frame reads one frame.
func (w *wire) frame() (op ws.Opcode, payload []byte, err error) {
	var h [2]byte
	if _, err := io.ReadFull(w.r, h[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(h[1] & 0x7f)
	if n >= 126 {
		ext := make([]byte, 2)
		if n == 127 {
			ext = make([]byte, 8)
		}
		if _, err := io.ReadFull(w.r, ext); err != nil {
			return 0, nil, err
		}
		n = 0
		for _, b := range ext {
			n = n<<8 | uint64(b)
		}
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(w.r, payload)
	return ws.Opcode(h[0] & 0x0f), payload, err
}

// text sends a text message.
func (w *wire) text(s string) {
	w.t.Helper()
	w.write(ws.AppendMasked(nil, ws.Text, [4]byte{1, 2, 3, 4}, []byte(s)))
}

// expect reads text messages until one of the given type.
func (w *wire) expect(frameType string) map[string]any {
	w.t.Helper()
	for {
		op, payload, err := w.frame()
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", frameType, err)
		}
		if op != ws.Text {
			continue
		}
		var f map[string]any
		if err := json.Unmarshal(payload, &f); err != nil {
			w.t.Fatalf("%q: %v", payload, err)
		}
		if f["type"] == frameType {
			return f
		}
	}
}

// closed reads to the close frame, and that the stream ends behind it.
func (w *wire) closed() int {
	w.t.Helper()
	for {
		op, payload, err := w.frame()
		if err != nil {
			w.t.Fatalf("waiting for a close frame: %v", err)
		}
		if op != ws.Close {
			continue
		}
		w.write(ws.AppendMaskedClose(nil, [4]byte{1, 2, 3, 4}, 1000, ""))
		if _, _, err := w.frame(); err == nil {
			w.t.Error("a frame follows the close frame")
		}
		_ = w.Close()
		if len(payload) < 2 {
			return 1005
		}
		return int(binary.BigEndian.Uint16(payload))
	}
}

// logbook is a logger whose lines a test can read.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// same compares what is there with what should be, as JSON would print it.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// ids quotes connection ids as a JSON list.
func ids(clients ...*client) string {
	var list []string
	for _, c := range clients {
		list = append(list, fmt.Sprintf("%q", c.ID))
	}
	return "[" + strings.Join(list, ",") + "]"
}
