package skein_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
)

// testServer is a server on a port of its own.
type testServer struct {
	*skein.Server
	t    testing.TB
	addr string
}

// drivers are the ways in which a server can move bytes; what clients see must
// not depend on them.
var drivers = []string{"portable", "epoll"}

// start starts a server that ends with the test.
func start(t testing.TB, cfg skein.Config) *testServer {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := skein.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s)
}

// serve lets a server run until the test ends.
func serve(t testing.TB, s *skein.Server) *testServer {
	t.Helper()
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &testServer{s, t, l.Addr().String()}
}

// open gives a namespace that anyone may use.
func open() skein.Config {
	return skein.Config{
		Auth:  skein.Auth{Anonymous: true},
		Drain: skein.Drain{Timeout: skein.Duration(time.Second), Spread: skein.Duration(time.Millisecond)},
		Namespaces: map[string]skein.Namespace{
			"room": {Subscribe: "anyone", Publish: "anyone", Presence: "members"},
		},
	}.WithDev()
}

// client is a WebSocket client that speaks frames.
type client struct {
	t  testing.TB
	ws *websocket.Conn
	ID string
}

const patience = 10 * time.Second

// dial opens a connection; query is what follows /ws?.
func (s *testServer) dial(query string) *client {
	s.t.Helper()
	c, err := s.attempt(query)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// attempt is dial for those who may be sent away.
func (s *testServer) attempt(query string) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws?"+query, nil)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(64 << 20)
	s.t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t: s.t, ws: ws}, nil
}

// user opens a connection of a user and waits for its welcome.
func (s *testServer) user(name string) *client {
	s.t.Helper()
	c := s.dial("user=" + name)
	c.ID = c.expect("welcome")["connection"].(string)
	return c
}

func (c *client) send(frame string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, data, err := c.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	var f map[string]any
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	return f, nil
}

// expect reads the next frame, which must be of the given type.
func (c *client) expect(frameType string) map[string]any {
	c.t.Helper()
	f, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", frameType, err)
	}
	if f["type"] != frameType {
		c.t.Fatalf("got %v, want a frame of type %s", f, frameType)
	}
	return f
}

// do sends a frame and reads its ok.
func (c *client) do(frame string) map[string]any {
	c.t.Helper()
	c.send(strings.Replace(frame, "{", `{"id":1,`, 1))
	return c.expect("ok")
}

// closed reads until the connection ends and gives the close code.
func (c *client) closed() websocket.StatusCode {
	c.t.Helper()
	for {
		if _, err := c.read(); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// api calls a verb over HTTP with the development key.
func (s *testServer) api(verb, params string) (int, map[string]any) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/v1/"+verb, strings.NewReader(params))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer dev")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, out
}

// tcp opens a bare connection.
func (s *testServer) tcp() net.Conn {
	s.t.Helper()
	c, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func TestTwoClientsSeeEachOther(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			cfg := open()
			cfg.WebSocket.Driver = driver
			s := start(t, cfg)
			a, b := s.user("ann"), s.user("bob")
			if got := a.do(`{"type":"sub","channel":"room:1"}`); got["kind"] != "event" {
				t.Errorf("ok of sub is %v", got)
			}
			b.do(`{"type":"sub","channel":"room:1"}`)
			ok := a.do(`{"type":"pub","channel":"room:1","data":{"points":5}}`)
			if ok["connections"] != 1.0 || ok["users"] != 1.0 || ok["stored"] != false {
				t.Errorf("ok of pub is %v, want one connection and one user", ok)
			}
			m := b.expect("msg")
			from := m["from"].(map[string]any)
			if m["channel"] != "room:1" || from["user"] != "ann" || from["connection"] != a.ID || m["id"] != ok["message"] {
				t.Errorf("got %v", m)
			}
			a.send(`{"type":"ping"}`)
			a.expect("pong") // and no echo of its own message before it
		})
	}
}
