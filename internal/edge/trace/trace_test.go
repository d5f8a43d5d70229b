package trace

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is an encoding that changes nothing.
type plain struct{}

func (plain) Append(dst, frame []byte) []byte { return append(dst, frame...) }

// sink is a way out that takes everything and counts it.
type sink struct {
	mu  sync.Mutex
	got int
}

func (s *sink) Send(bufs []link.Buf, _ link.Subscriber) { s.Offer(bufs, nil) }

func (s *sink) SendControl(_ []byte, then func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got++
	if then != nil {
		then()
	}
	return true
}

func (s *sink) Offer(bufs []link.Buf, _ link.Subscriber) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range bufs {
		s.got += int(b.N)
	}
	return len(bufs)
}

func (s *sink) SendFirst(before func(), wire []byte) bool {
	before()
	return s.SendControl(wire, nil)
}
func (s *sink) Close(protocol.Close, string, []byte) {}
func (s *sink) Queued() int                          { return 0 }
func (s *sink) Written() int64                       { return 0 }
func (s *sink) Transport() string                    { return "sink" }
func (s *sink) Remote() netip.AddrPort               { return netip.AddrPort{} }

type peer struct {
	hub.Conn
	out sink
}

func connect(h *hub.Hub, user string) *peer {
	p := new(peer)
	p.ID = id.NewConnection()
	h.Add(&p.Conn, &p.out, plain{}, p, auth.Identity{User: user}, 1)
	return p
}

// page is a reader that may refuse to read.
type page struct {
	http.ResponseWriter
	mu   sync.Mutex
	text strings.Builder
	hold chan struct{} // not nil: writing waits for it
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		<-p.hold
	}
	return p.text.Write(b)
}

func (p *page) Flush()                           {}
func (p *page) SetReadDeadline(time.Time) error  { return nil }
func (p *page) SetWriteDeadline(time.Time) error { return nil }

func (p *page) lines(t *testing.T) (list []map[string]any) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.text.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, l)
	}
	return list
}

func refuse(w http.ResponseWriter, err error) {
	http.Error(w, err.Error(), fault.Of(err).Code.HTTPStatus())
}

func door(h *hub.Hub, cfg Config) *Door {
	cfg.Hub, cfg.Logger, cfg.Refuse = h, slog.New(slog.DiscardHandler), refuse
	return New(cfg)
}

// look runs a trace until end is called.
func look(d *Door, query string, hold chan struct{}) (p *page, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	p = &page{ResponseWriter: httptest.NewRecorder(), hold: hold}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.ServeHTTP(p, httptest.NewRequestWithContext(ctx, "GET", "/api/v1/trace?"+query, nil))
	}()
	return p, func() {
		cancel()
		<-done
	}
}

func TestAQuietTraceSaysThatItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Config{Shards: 1})
		defer h.Close()
		d := door(h, Config{})
		p, end := look(d, "user=42", nil)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		list := p.lines(t)
		if len(list) != 3 || list[0]["event"] != "tracing" || list[1]["event"] != "heartbeat" || list[2]["event"] != "heartbeat" {
			t.Errorf("after 40 s there are %v", list)
		}
		if gap := list[2]["time"].(float64) - list[1]["time"].(float64); gap != 15000 {
			t.Errorf("heartbeats are %v ms apart", gap)
		}
		c := connect(h, "42")
		if !c.Tapped() {
			t.Error("a connection that comes is not looked at")
		}
		end()
		if c.Tapped() {
			t.Error("the connection is still looked at after the end of the request")
		}
	})
}

func TestASlowReaderMissesLinesAndNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Config{Shards: 1})
		defer h.Close()
		d := door(h, Config{Backlog: 100})
		c := connect(h, "42")
		hold := make(chan struct{})
		p, end := look(d, "user=42", hold)
		synctest.Wait() // its first line waits
		for range 1000 {
			c.SendFrame([]byte(`{"type":"pong"}`), nil)
		}
		if c.out.got != 1000 {
			t.Errorf("the connection got %d frames", c.out.got)
		}
		close(hold)
		synctest.Wait()
		list := p.lines(t)
		if n := len(list); n != 102 || list[101]["dropped"] != 900.0 {
			t.Fatalf("%d lines, the last one is %v", n, list[n-1])
		}
		c.SendFrame([]byte(`{"type":"bye"}`), nil)
		synctest.Wait()
		if list = p.lines(t); len(list) != 103 || list[102]["frame"].(map[string]any)["type"] != "bye" {
			t.Errorf("it does not go on: %v", list[102:])
		}
		end()
	})
}

func TestWhatWaitsIsBoundedInBytes(t *testing.T) {
	tr := newTrace(target{channel: "room:1"}, 4096)
	frame := make([]byte, 1<<20)
	for range 100 {
		tr.put(record{kind: published, body: frame, n: 1})
	}
	if list, dropped, _ := tr.take(); len(list) != 8 || dropped != 92 {
		t.Errorf("%d MB wait, %d lines are dropped", len(list), dropped)
	}
}

func TestATraceFollowsItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Config{Shards: 1})
		defer h.Close()
		d := door(h, Config{})
		p, end := look(d, "user=42", nil)
		defer end()
		synctest.Wait()
		one, two, other := connect(h, "42"), connect(h, ""), connect(h, "7")
		two.Bind(auth.Identity{User: "42", Device: "tv"})
		one.Bind(auth.Identity{User: "7"})
		two.Bind(auth.Identity{User: "42", Device: "phone"}) // no other user
		d.Closed(&two.Conn, protocol.CloseNormal, "enough")
		for _, c := range []*peer{one, two, other} {
			h.Remove(&c.Conn)
			if c.Tapped() {
				t.Error("it is still looked at")
			}
		}
		synctest.Wait()
		var got []map[string]any
		for _, l := range p.lines(t)[1:] {
			delete(l, "time")
			got = append(got, l)
		}
		want := []map[string]any{
			{"event": "connected", "connection": one.ID.String(), "user": "42", "transport": "sink"},
			{"event": "bound", "connection": two.ID.String(), "user": "42", "device": "tv", "transport": "sink"},
			{"event": "unbound", "connection": one.ID.String(), "user": "42", "transport": "sink"},
			{"event": "closed", "connection": two.ID.String(), "user": "42", "device": "tv", "transport": "sink", "reason": "normal", "code": 1000.0, "message": "enough"},
		}
		want[3]["reason"] = protocol.CloseNormal.Word
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// One that has ended just before it was looked for is not looked at for ever.
func TestAConnectionThatHasGoneIsLeftAtOnce(t *testing.T) {
	h := hub.New(hub.Config{Shards: 1})
	defer h.Close()
	c := connect(h, "42")
	h.Remove(&c.Conn)
	tr := newTrace(target{user: "42"}, 10)
	tr.join(&c.Conn, "")
	if list, _, _ := tr.take(); c.Tapped() || len(list) != 1 || list[0].event != "closed" {
		t.Errorf("tapped %v, %v", c.Tapped(), list)
	}
}

func TestRequestsThatAreWrongAreToldWhy(t *testing.T) {
	h := hub.New(hub.Config{Shards: 1})
	defer h.Close()
	d := door(h, Config{Most: 1})
	for query, want := range map[string]string{
		"":                                  "400 give one of user, connection and channel",
		"user=1&channel=room:1":             "400 give one of user, connection and channel",
		"user=":                             "400 user: is missing",
		"user=" + strings.Repeat("x", 1000): "400 user: ",
		"channel=room":                      "400 channel: ",
		"connection=1":                      "400 connection: ",
		"connection=" + id.NewConnection().String(): "404 connection: ",
	} {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/trace?"+query, nil))
		code, message, _ := strings.Cut(want, " ")
		if got := w.Body.String(); http.StatusText(w.Code) == "" || code != strings.Fields(w.Result().Status)[0] || !strings.Contains(got, message) {
			t.Errorf("%q is answered by %d %s", query, w.Code, got)
		}
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest("HEAD", "/api/v1/trace?user=1", nil))
	if w.Code != 400 {
		t.Errorf("HEAD is answered by %d", w.Code)
	}
	if n := len(*d.traces.Load()); n != 0 {
		t.Errorf("%d traces run", n)
	}
}

func TestThereAreOnlySoManyTracesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hub.New(hub.Config{Shards: 1})
		defer h.Close()
		d := door(h, Config{})
		var ends []func()
		for range 16 {
			_, end := look(d, "channel=room:1", nil)
			ends = append(ends, end)
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/trace?user=1", nil))
		if w.Code != 429 {
			t.Errorf("the 17th is answered by %d", w.Code)
		}
		ends[0]()
		p, end := look(d, "user=1", nil)
		synctest.Wait()
		if len(p.lines(t)) != 1 {
			t.Error("the place of one that has ended is not free")
		}
		end()
		for _, end := range ends[1:] {
			end()
		}
	})
}

func TestTokensAreNotShown(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":"connect","token":"s3cret","device":"tv"}`:         `{"type":"connect","token":"…","device":"tv"}`,
		` {"id":1, "type":"refresh",` + "\n" + `"token": "s3cret"}`: `{"id":1,"type":"refresh","token":"…"}`,
		`{"type":"connect","\u0074oken":"s3cret"}`:                  `{"type":"connect","token":"…"}`,
		`{"type":"connect","Token":"s3cret"}`:                       `{"type":"connect","Token":"…"}`,
		`{"token":["s3cret"]}`:                                      `{"token":"…"}`,
		`{"type":"connect","data":{"password":"s3cret"}}`:           `{"type":"connect","data":"…"}`,
		`{"type":"pub","channel":"a:1","data":{"token":"mine"}}`:    `{"type":"pub","channel":"a:1","data":{"token":"mine"}}`,

		// What is no frame.
		`{"type":"connect","token":"s3cret"`:                `{"type":"connect","token":"…"`,
		`{"type":"connect","token":"s3cret`:                 `{"type":"connect","token":"…"`,
		`{"type":"connect","token":"s3\"cret" x`:            `{"type":"connect","token":"…" x`,
		`{"token":"s3cret","token":"s3cret"}`:               `{"token":"…","token":"…"}`,
		`{"type":"connect","\u0074oken":"s3cret"`:           `… 39 bytes that are no JSON`,
		`{'token':'s3cret'}`:                                `{'token':"…"}`,
		`{type:connect,token:s3cret}`:                       `{type:connect,token:"…"}`,
		`token=s3cret`:                                      `token="…"`,
		`"{\"token\":\"s3cret\"}"`:                          `"{\"token\":"…"`,
		`eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.abc-_s3cret`: `"…"`,
		`"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.s3cret"`:    `""…""`,
		`42["login",{"access_token":"s3cret","n":1}]`:       `42["login",{"access_token":"…","n":1}]`,
		`42["caf\u00e9",{"auth":1}]`:                        `42["caf\u00e9",{"auth":1}]`,
		`hello`:                                             `hello`,
	} {
		if got := string(redact([]byte(text))); got != want || strings.Contains(got, "cret") {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
	}
}

func TestEveryLineIsOneJSONObject(t *testing.T) {
	for message, want := range map[string]map[string]any{
		"{\"a\":\r\n1}":    {"frame": map[string]any{"a": 1.0}},
		"42[\"x\",\n1]":    {"text": "42[\"x\",\n1]"},
		"{\"a\":1":         {"text": "{\"a\":1"},
		"\xff\x00\"\\":     {"text": "\uFFFD\x00\"\\"},
		"":                 {"text": ""},
		"{\"a\":\"\xff\"}": {"text": "{\"a\":\"\uFFFD\"}"},
	} {
		line := append(appendMessage([]byte(`{"x":1`), []byte(message)), '}')
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil || strings.ContainsAny(string(line), "\r\n") {
			t.Errorf("%q: %s: %v", message, line, err)
		}
		delete(got, "x")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", message, diff)
		}
	}
}
