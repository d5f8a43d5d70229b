package skein_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/ws"
)

// tracer reads a trace.
type tracer struct {
	t     testing.TB
	stop  context.CancelFunc
	body  io.Closer
	lines *bufio.Reader
	hello map[string]any
	all   strings.Builder // what was read
}

// trace begins one; it must be accepted.
func (s *testServer) trace(query string, header ...string) *tracer {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.addr+"/api/v1/trace?"+query, nil)
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
	t := &tracer{t: s.t, stop: stop, body: res.Body, lines: bufio.NewReader(res.Body)}
	s.t.Cleanup(t.end)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/x-ndjson" {
		text, _ := io.ReadAll(res.Body)
		s.t.Fatalf("a trace is answered by %s %s", res.Status, text)
	}
	if t.hello = t.next(); t.hello["event"] != "tracing" {
		s.t.Fatalf("the first line is %v", t.hello)
	}
	return t
}

func (t *tracer) end() {
	t.stop()
	_ = t.body.Close()
}

func (t *tracer) read() (map[string]any, error) {
	timer := time.AfterFunc(patience, t.stop)
	defer timer.Stop()
	text, err := t.lines.ReadString('\n')
	if err != nil {
		return nil, err
	}
	t.all.WriteString(text)
	var l map[string]any
	err = json.Unmarshal([]byte(text), &l)
	return l, err
}

func (t *tracer) next() map[string]any {
	t.t.Helper()
	l, err := t.read()
	if err != nil {
		t.t.Fatal(err)
	}
	if at, ok := l["time"].(float64); !ok || time.Since(time.UnixMilli(int64(at))) > time.Minute {
		t.t.Errorf("the line has no time: %v", l)
	}
	return l
}

// expect reads lines as "out ok", "in pub", "connected"; a text stands for itself.
func (t *tracer) expect(want ...string) (last map[string]any) {
	t.t.Helper()
	for i, w := range want {
		last = t.next()
		var got string
		switch frame, _ := last["frame"].(map[string]any); {
		case frame != nil:
			got = fmt.Sprint(last["direction"], " ", frame["type"])
		case last["text"] != nil:
			got = fmt.Sprint(last["direction"], " ", last["text"])
		default:
			got = fmt.Sprint(last["event"])
		}
		if got != w && !(strings.HasSuffix(w, "…") && strings.HasPrefix(got, strings.TrimSuffix(w, "…"))) {
			t.t.Fatalf("line %d is %v, want %q of %q", i, last, w, want)
		}
	}
	return last
}

// A user who is not there yet is traced from the first frame on, by whatever driver
// and encoding, up to why the connection ended.
func TestATraceShowsBothDirectionsOfAUser(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprint("compressed=", compressed), func(t *testing.T) {
			cfg := func() skein.Config {
				c := open()
				c.WebSocket.Compression = compressed
				c.Limits.FramesPerSecond = -1
				return c
			}
			each(t, cfg, func(t *testing.T, s *testServer) {
				tr := s.trace("user=ann")
				same(t, "who is there", tr.hello["connections"], []any{})
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				options := &websocket.DialOptions{}
				if compressed {
					options.CompressionMode = websocket.CompressionNoContextTakeover
				}
				conn, res, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws?user=ann&device=tv", options)
				if err != nil {
					t.Fatal(err)
				}
				if got := res.Header.Get("Sec-WebSocket-Extensions") != ""; got != compressed {
					t.Fatalf("compressed is %v", got)
				}
				ann := &client{t: t, ws: conn}
				t.Cleanup(func() { _ = conn.CloseNow() })
				ann.ID = ann.expect("welcome")["connection"].(string)
				l := tr.expect("connected")
				delete(l, "time")
				same(t, "the event", l, map[string]any{"event": "connected", "connection": ann.ID, "user": "ann", "device": "tv", "transport": "websocket"})

				bob := s.user("bob")
				ann.do("{\"type\":\"sub\",\r\n\"channel\":\"room:1\"}")
				tr.expect("in sub", "out ok")
				text := strings.Repeat("a long text that is worth it, ", 100)
				bob.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":%q}`, text))
				got := tr.expect("out msg")
				if got["frame"].(map[string]any)["data"] != text || got["user"] != "ann" || got["device"] != "tv" || got["connection"] != ann.ID || got["transport"] != "websocket" {
					t.Errorf("got %v", got)
				}
				ann.expect("msg")
				// Messages that leave together are shown one by one.
				for range 4 {
					const together = 50 // fewer than make a publisher wait, and perhaps be refused
					for i := range together {
						bob.send(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":%d}`, i))
					}
					for i := range together {
						if n := tr.expect("out msg")["frame"].(map[string]any)["data"]; n != float64(i) {
							t.Fatalf("message %d is %v", i, n)
						}
						ann.expect("msg")
					}
				}
				ann.send(`{"type":"connect","token":"s3cret"}`)
				ann.expect("error")
				ann.send(`{"type":"connect","token":"s3cret"`)
				ann.expect("error")
				ann.send(`{"type":"refresh","token":"s3cret"}`)
				ann.expect("error")
				tr.expect("in connect", "out error", `in {"type":"connect","token":"…"`, "out error", "in refresh", "out error")
				s.verb("disconnect", `{"user":"ann"}`)
				ann.closed()
				if end := tr.expect("out bye", "closed"); end["reason"] == nil || end["code"] == nil || end["connection"] != ann.ID {
					t.Errorf("the end is %v", end)
				}
				if strings.Contains(tr.all.String(), "s3cret") {
					t.Error("a token is shown")
				}
				again := s.user("ann") // and the next one
				if l := tr.expect("connected"); l["connection"] != again.ID {
					t.Errorf("got %v", l)
				}
			})
		})
	}
}

// What was sent before the welcome is shown, without the token of the connect.
func TestATraceShowsWhatWasSentBeforeTheWelcome(t *testing.T) {
	cfg, keys := keyed(t, "trace")
	s := start(t, cfg)
	tr := s.trace("user=ann", "Authorization: Bearer "+keys["trace"])
	c := s.dial("")
	c.send(`{"type":"sub","id":1,"channel":"room:1"}`)
	secret := token(t, auth.Identity{User: "ann"})
	c.send(fmt.Sprintf(`{"type":"connect","token":%q}`, secret))
	c.expect("welcome")
	c.expect("ok")
	tr.expect("connected", "in sub", "out ok")
	c.send(fmt.Sprintf(`{"type":"refresh","id":2,"token":%q}`, secret))
	c.expect("ok")
	if l := tr.expect("in refresh"); l["frame"].(map[string]any)["token"] != "…" {
		t.Errorf("got %v", l)
	}
	tr.expect("out ok")
	if strings.Contains(tr.all.String(), secret) {
		t.Error("the token is shown")
	}
}

func TestATraceShowsStreamsAndPolls(t *testing.T) {
	s := start(t, logging(t)())
	tr := s.trace("user=ann")
	e := s.source("user=ann&channels=event:1")
	if l := tr.expect("connected"); l["transport"] != "sse" || l["connection"] != e.ID {
		t.Errorf("got %v", l)
	}
	tr.expect("in sub", "out ok")
	e.expect("ok")
	s.verb("publish", `{"to":{"channel":"event:1"},"data":1}`)
	e.expect("msg")
	if l := tr.expect("out msg"); l["transport"] != "sse" || l["frame"].(map[string]any)["data"] != 1.0 {
		t.Errorf("got %v", l)
	}
	e.post(`{"type":"ping"}`)
	e.expect("pong")
	tr.expect("in ping", "out pong")
	e.close()
	tr.expect("closed")

	p := s.poller(`{"user":"ann","frames":[{"type":"sub","channel":"event:1","id":1}]}`)
	p.expect("ok")
	if l := tr.expect("connected", "in sub", "out ok"); l["transport"] != "poll" {
		t.Errorf("got %v", l)
	}
	s.verb("publish", `{"to":{"channel":"event:1"},"data":1}`)
	s.verb("publish", `{"to":{"channel":"event:1"},"data":2}`)
	tr.expect("out msg", "out msg")
	p.expect("msg")
	p.expect("msg")
	p.leave()
	tr.expect("closed")
}

// What a reader of a log channel catches up on is shown as it gets it.
func TestATraceShowsTheCatchUpOfALog(t *testing.T) {
	s := start(t, logging(t)())
	for i := range 20 {
		s.verb("publish", fmt.Sprintf(`{"to":{"channel":"room:1"},"data":%d}`, i+1))
	}
	ann := s.user("ann")
	one, two := s.trace("connection="+ann.ID), s.trace("user=ann") // several look at the same time
	same(t, "who is there", two.hello["connections"], []any{ann.ID})
	ann.do(`{"type":"sub","channel":"room:1","since":{"seq":0}}`)
	for range 20 {
		ann.expect("msg")
	}
	s.verb("publish", `{"to":{"channel":"room:1"},"data":21}`)
	ann.expect("msg")
	for _, tr := range []*tracer{one, two} {
		tr.expect("in sub", "out ok")
		for i := range 21 {
			if n := tr.expect("out msg")["frame"].(map[string]any)["seq"]; n != float64(i+1) {
				t.Fatalf("seq %v, want %d", n, i+1)
			}
		}
	}
	two.end()
	ann.lives()
	one.expect("in ping", "out pong")
	_ = ann.ws.CloseNow()
	one.expect("closed")
	if l, err := one.read(); err != io.EOF { // nothing can come any more
		t.Errorf("after the end of its connection comes %v, %v", l, err)
	}
}

func TestATraceShowsSocketIO(t *testing.T) {
	cfg := ioConfig()
	cfg.Auth.JWT.HMACSecret = secret
	login := sign(t, secret, auth.Identity{User: "bob"}, "", "")
	s := startWith(t, cfg, func(s *skein.Server) {
		ns := s.SocketIO("/app")
		ns.On("hello", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
			ack("hi")
			c.Emit("seen", args.Any()...)
			c.Volatile("maybe", 1)
		})
	})
	tr := s.trace("user=bob")
	c := s.io("")
	id := c.connect("/", fmt.Sprintf(`{"token":%q}`, login))
	if l := tr.expect("connected"); l["transport"] != "socket.io/websocket" || l["connection"] != id {
		t.Errorf("got %v", l)
	}
	// What goes to a channel passes the session as a frame; what comes is a packet.
	c.send(`427["many",{"n":1}]`)
	c.next()
	l := tr.expect("in pub", "out 437[…")
	if !strings.Contains(l["text"].(string), `"type":"ok"`) {
		t.Errorf("got %v", l)
	}
	s.verb("publish", `{"to":{"channel":"room:all"},"event":"bytes","data":{"$binary":"AQID"}}`)
	c.next()
	c.next()
	tr.expect(`out 451-["bytes",{"_placeholder":true,"num":0}]`, "out bAQID")
	// What an application answers passes, too.
	c.connect("/app", fmt.Sprintf(`{"token":%q}`, login))
	tr.expect("connected")
	c.send(`42/app,3["hello",{"token":"s3cret"}]`)
	c.expect(`43/app,3["hi"]`)
	c.expect(`42/app,["seen",{"token":"s3cret"}]`)
	tr.expect(`in 423["hello",{"token":"…"}]`, `out 43/app,3["hi"]`)
	if seen := tr.next()["text"]; seen != `42/app,["seen",{"token":"s3cret"}]` {
		t.Errorf("got %v", seen)
	}
	tr.expect(`out 42/app,["maybe",1]`)
	_ = c.ws.CloseNow()
	tr.expect("closed", "closed")
	if strings.Contains(tr.all.String(), login) {
		t.Error("the token is shown")
	}
}

func TestATraceShowsAChannel(t *testing.T) {
	s := start(t, logging(t)())
	tr, other := s.trace("channel=event:1"), s.trace("channel=room:1")
	s.verb("publish", `{"to":{"channel":"event:1"},"data":1}`) // to nobody
	ann := s.user("ann")
	ann.do(`{"type":"sub","channel":"event:1"}`)
	s.verb("publish", `{"to":{"channel":"event:1"},"data":2}`)
	ann.expect("msg")
	for i := range 2 {
		l := tr.expect("out msg")
		if f := l["frame"].(map[string]any); f["data"] != float64(i+1) || l["channel"] != "event:1" || l["connection"] != nil {
			t.Errorf("got %v", l)
		}
	}
	s.verb("publish", `{"to":{"channel":"room:1"},"data":1}`)
	ann.do(`{"type":"sub","channel":"room:1","presence":true}`)
	s.user("bob").do(`{"type":"sub","channel":"room:1"}`)
	other.expect("out msg", "out join", "out join")
}

func TestATraceFollowsAConnectionToItsNextUser(t *testing.T) {
	s := start(t, open())
	c := s.anonymous()
	conn, user := s.trace("connection="+c.ID), s.trace("user=ann")
	s.verb("bind", fmt.Sprintf(`{"connection":%q,"user":"ann"}`, c.ID))
	c.lives()
	for _, tr := range []*tracer{conn, user} {
		if l := tr.expect("bound", "in ping", "out pong"); l["user"] != "ann" {
			t.Errorf("got %v", l)
		}
	}
	s.verb("unbind", fmt.Sprintf(`{"connection":%q}`, c.ID))
	c.lives()
	user.expect("unbound")
	if l := conn.expect("bound", "in ping", "out pong"); l["user"] != nil {
		t.Errorf("got %v", l)
	}
}

// The scope is needed, and the log tells whose key looked at what.
func TestATraceNeedsItsScopeAndIsNoted(t *testing.T) {
	cfg, keys := keyed(t, "trace", "publish")
	var log logbook
	cfg.Logger = log.logger()
	s := start(t, cfg)
	for key, want := range map[string]int{keys["publish"]: 403, "nonsense": 401, "": 401} {
		if status, _, text := s.request("GET", "/api/v1/trace?user=ann", "", "Authorization: Bearer "+key); status != want {
			t.Errorf("%d %s, want %d", status, text, want)
		}
	}
	if status, _, _ := s.request("POST", "/api/v1/trace?user=ann", "{}", "Authorization: Bearer "+keys["trace"], "Content-Type: application/json"); status != 404 {
		t.Errorf("POST is answered by %d", status)
	}
	if strings.Contains(log.String(), "trace") {
		t.Errorf("the log tells of a trace that there was not:\n%s", log.String())
	}
	s.trace("user=ann", "Authorization: Bearer "+keys["trace"]).end()
	eventually(t, "the end in the log", func() bool { return strings.Contains(log.String(), "a trace ends") })
	for _, want := range []string{`msg="a trace begins" user=ann key=key-0 `, `msg="a trace ends" user=ann key=key-0 `} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is missing in\n%s", want, log.String())
		}
	}
}

// Whoever looks and does not read loses lines; who is looked at loses nothing.
func TestASlowTraceDoesNotDisturbItsClient(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		ann := s.user("ann")
		ann.do(`{"type":"sub","channel":"room:1"}`)
		slow := s.tcp()
		_ = slow.SetDeadline(time.Now().Add(6 * patience))
		_, _ = io.WriteString(slow, "GET /api/v1/trace?user=ann HTTP/1.1\r\nHost: skein.test\r\n\r\n")
		eventually(t, "the trace", func() bool {
			b := make([]byte, 1)
			n, _ := slow.Read(b)
			return n == 1
		})
		const messages, burst = 1500, 10
		data := strings.Repeat("x", 16<<10)
		for range messages / burst {
			for range burst {
				s.verb("publish", fmt.Sprintf(`{"to":{"channel":"room:1"},"data":%q}`, data))
			}
			for range burst {
				ann.expect("msg")
			}
		}
		res, err := http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader("H"), slow)), nil)
		if err != nil {
			t.Fatal(err)
		}
		shown, dropped := 0, 0
		for lines := bufio.NewReader(res.Body); shown+dropped < messages; {
			text, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			var l struct {
				Frame   json.RawMessage
				Dropped int
			}
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatal(err)
			}
			if dropped += l.Dropped; l.Frame != nil {
				shown++
			}
		}
		if shown+dropped != messages || shown == 0 || dropped == 0 {
			t.Errorf("%d shown and %d dropped of %d", shown, dropped, messages)
		}
	})
}

// A server that ends does not wait for those who look.
func TestATraceEndsWithItsServer(t *testing.T) {
	s, err := newOnFreePort(open())
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	ts := &testServer{s, t, l.Addr().String()}
	tr := ts.trace("user=ann")
	w := ts.wire("user=ann")
	w.expect("welcome")
	tr.expect("connected")
	cancel()
	w.expect("bye")
	tr.expect("out bye")
	w.write(ws.AppendMaskedClose(nil, [4]byte{1, 2, 3, 4}, 1000, ""))
	if err := <-done; err != nil {
		t.Error(err)
	}
	for err = nil; err == nil; {
		_, err = tr.read()
	}
}
