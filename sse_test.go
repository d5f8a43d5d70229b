package skein_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// source reads server-sent events as the HTML standard has it.
type source struct {
	t      testing.TB
	s      *testServer
	stop   context.CancelFunc
	res    *http.Response
	r      *bufio.Reader
	ID     string // of the connection
	last   string // what an EventSource would send as Last-Event-ID
	retry  int
	opened int // bytes before the first event
}

// source opens a stream; it must be accepted.
func (s *testServer) source(query string, header ...string) *source {
	s.t.Helper()
	e, err := s.openSource("http://"+s.addr, query, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(e.close)
	e.ID = e.expect("welcome")["connection"].(string)
	return e
}

func (s *testServer) openSource(base, query string, header ...string) (*source, error) {
	ctx, stop := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", base+"/sse?"+query, nil)
	if err != nil {
		stop()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		stop()
		return nil, err
	}
	if res.StatusCode != 200 {
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		stop()
		return nil, fmt.Errorf("%s: %s", res.Status, text)
	}
	return &source{t: s.t, s: s, stop: stop, res: res, r: bufio.NewReader(res.Body), last: req.Header.Get("Last-Event-ID")}, nil
}

func (e *source) close() {
	e.stop()
	_ = e.res.Body.Close()
}

// event reads the next event's data; ids alone are no event.
func (e *source) event() (string, error) {
	timer := time.AfterFunc(patience, e.stop)
	defer timer.Stop()
	var data []string
	id := e.last
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		e.opened += len(line)
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			e.last = id
			if data != nil {
				return strings.Join(data, "\n"), nil
			}
		case field == "data":
			data = append(data, value)
		case field == "id":
			id = value
		case field == "retry":
			e.retry, _ = strconv.Atoi(value)
		case field != "":
			return "", fmt.Errorf("the stream has the line %q", line)
		}
	}
}

func (e *source) next() (map[string]any, error) {
	data, err := e.event()
	if err != nil {
		return nil, err
	}
	var f map[string]any
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		return nil, fmt.Errorf("%q: %w", data, err)
	}
	return f, nil
}

// expect reads frames until one of the given type, pings aside.
func (e *source) expect(frameType string) map[string]any {
	e.t.Helper()
	for {
		f, err := e.next()
		if err != nil {
			e.t.Fatalf("waiting for %s: %v", frameType, err)
		}
		switch f["type"] {
		case frameType:
			return f
		case "ping":
		default:
			e.t.Fatalf("got %v, want %s", f, frameType)
		}
	}
}

// ended reads to the end of the stream.
func (e *source) ended() {
	e.t.Helper()
	if f, err := e.next(); err != io.EOF {
		e.t.Errorf("got %v, %v, want the end", f, err)
	}
}

func (e *source) post(body string, header ...string) int {
	e.t.Helper()
	status, _, text := e.s.request("POST", "/sse/"+e.ID, body, header...)
	if status == http.StatusAccepted && text != "" {
		e.t.Errorf("a post is answered by %q", text)
	}
	return status
}

// do posts a frame and reads its ok.
func (e *source) do(frame string) map[string]any {
	e.t.Helper()
	if status := e.post(strings.Replace(frame, "{", `{"id":"d",`, 1)); status != http.StatusAccepted {
		e.t.Fatalf("%s is answered by %d", frame, status)
	}
	ok := e.expect("ok")
	if ok["id"] != "d" {
		e.t.Fatalf("got %v", ok)
	}
	return ok
}

func TestAStreamOfEventsIsAConnection(t *testing.T) {
	s := start(t, logging(t)())
	e := s.source("user=ann&device=tv&channels=event:1,room:1&channels=event:1")
	h := e.res.Header
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if e.opened < 2<<10 || e.retry < 1000 || e.retry > 5000 {
		t.Errorf("%d bytes before the welcome, and retry after %d ms", e.opened, e.retry)
	}
	if ok := e.expect("ok"); ok["id"] != "channels.0" || ok["channel"] != "event:1" || ok["kind"] != "event" {
		t.Errorf("got %v", ok)
	}
	if ok := e.expect("ok"); ok["id"] != "channels.1" || ok["channel"] != "room:1" || ok["seq"] != 0.0 {
		t.Errorf("got %v", ok)
	}
	other := s.user("bob")
	other.do(`{"type":"sub","channel":"event:1"}`)
	other.do("{\"type\":\"pub\",\"channel\":\"event:1\",\"data\":[1,\r\n2,\"é\\n\"]}") // line breaks between tokens
	m := e.expect("msg")
	same(t, "data", m["data"], []any{1.0, 2.0, "é\n"})

	if status := e.post(`[{"type":"pub","channel":"event:1","data":1},{"type":"ping","id":7},3]`); status != http.StatusAccepted {
		t.Errorf("posting frames: %d", status)
	}
	if f := other.expect("msg"); f["from"].(map[string]any)["connection"] != e.ID {
		t.Errorf("got %v", f)
	}
	if pong := e.expect("pong"); pong["id"] != 7.0 {
		t.Errorf("got %v", pong)
	}
	if f := e.expect("error"); f["code"] != "bad_frame" {
		t.Errorf("a frame that is none is answered by %v", f)
	}
	var item map[string]any
	eventually(t, "nothing waits", func() bool { // what was read has left a moment before that is noted
		item = s.verb("connections", `{"user":"ann"}`)["items"].([]any)[0].(map[string]any)
		return item["queued"] == 0.0
	})
	if item["transport"] != "sse" || item["device"] != "tv" || item["bytes"].(float64) < 100 || !strings.HasPrefix(item["address"].(string), "127.0.0.1:") {
		t.Errorf("it is shown as %v", item)
	}
	e.close()
	_ = other.ws.CloseNow()
	s.empty()
	eventually(t, "no stream is left", func() bool { return s.Connections() == 0 })
}

func TestAStreamIsPingedAndSoAreItsReaders(t *testing.T) {
	s := start(t, quick())
	e := s.source("user=ann")
	for range 3 {
		if f, err := e.next(); err != nil || f["type"] != "ping" {
			t.Fatalf("got %v, %v", f, err)
		}
	}
	eventually(t, "the reader lives longer than three intervals", func() bool { f, err := e.next(); return err == nil && f["type"] == "ping" })
	if s.stat("connections") != 1 {
		t.Error("a reader that reads was given up")
	}
}

func TestWhoMayOpenAStream(t *testing.T) {
	cfg := strict()
	cfg.Origins = []string{"https://game.example"}
	cfg.Limits.PerAddress = 2
	s := start(t, cfg)
	good := token(t, auth.Identity{User: "ann"})
	for _, tt := range []struct {
		what, method, path string
		header             []string
		status             int
		want               string
	}{
		{"no token", "GET", "/sse", nil, 401, "anonymous"},
		{"bad token", "GET", "/sse?token=nonsense", nil, 401, "token"},
		{"a user without a token", "GET", "/sse?user=ann", nil, 401, "anonymous"},
		{"foreign page", "GET", "/sse?token=" + good, []string{"Origin: https://evil.example"}, 403, "origins"},
		{"null origin", "GET", "/sse?token=" + good, []string{"Origin: null"}, 403, "origins"},
		{"foreign preflight", "OPTIONS", "/sse", []string{"Origin: https://evil.example", "Access-Control-Request-Method: GET"}, 403, "origins"},
		{"wrong method", "POST", "/sse", nil, 405, "use GET"},
		{"bad channel", "GET", "/sse?channels=nonsense&token=" + good, nil, 400, "channels"},
		{"bad last", "GET", "/sse?last=-1&token=" + good, nil, 400, "last"},
		{"bad query", "GET", "/sse?token=%zz", nil, 400, "query"},
		{"too many channels", "GET", "/sse?token=" + good + "&channels=" + manyChannels(101), nil, 413, "channels"},
		{"unknown connection", "POST", "/sse/AAAAAAAAAAAAAAAAAAAAAA", nil, 404, "connection"},
		{"no connection", "POST", "/sse/x", nil, 404, "connection"},
		{"reading a connection", "GET", "/sse/AAAAAAAAAAAAAAAAAAAAAA", nil, 405, "use POST"},
	} {
		status, h, text := s.request(tt.method, tt.path, "", tt.header...)
		if status != tt.status || !strings.Contains(text, tt.want) || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s, want %d", tt.what, status, text, tt.status)
		}
	}
	status, h, _ := s.request("OPTIONS", "/sse/x", "", "Origin: https://game.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
	if status != 204 || h.Get("Access-Control-Allow-Origin") != "https://game.example" || h.Get("Access-Control-Allow-Credentials") != "true" ||
		h.Get("Access-Control-Allow-Methods") != "POST" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Vary") != "Origin" {
		t.Errorf("a preflight is answered by %d %v", status, h)
	}
	e := s.source("token="+good, "Origin: https://game.example")
	if got := e.res.Header.Get("Access-Control-Allow-Origin"); got != "https://game.example" {
		t.Errorf("the page is not told that it may read: %q", got)
	}
	s.source("", "Authorization: bearer "+good)
	if status, h, text := s.request("GET", "/sse?token="+good, ""); status != 503 || h.Get("Retry-After") == "" {
		t.Errorf("a third stream from one address: %d %s", status, text)
	}
	if status, _, _ := s.request("GET", "/ws", "", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="); status != 503 {
		t.Errorf("a websocket on top: %d", status)
	}
	eventually(t, "those who were refused are not counted", func() bool { return s.Connections() == 2 })
}

func manyChannels(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint("room:", i))
	}
	return strings.Join(list, ",")
}

func TestPostedFramesProveWhoseTheyAre(t *testing.T) {
	s := start(t, strict())
	e := s.source("token=" + token(t, auth.Identity{User: "ann"}))
	later := token(t, auth.Identity{User: "ann", Device: "other"})
	for _, tt := range []struct {
		what   string
		header []string
		status int
	}{
		{"nothing", nil, 401},
		{"nonsense", []string{"Authorization: Bearer nonsense"}, 401},
		{"another user", []string{"Authorization: Bearer " + token(t, auth.Identity{User: "eve"})}, 403},
		{"another token of the user", []string{"Authorization: Bearer " + later}, 202},
	} {
		if status := e.post(`{"type":"ping","id":1}`, tt.header...); status != tt.status {
			t.Errorf("%s: %d, want %d", tt.what, status, tt.status)
		}
	}
	e.expect("pong")
	if status, _, _ := s.request("POST", "/sse/"+e.ID+"?token="+later, `{"type":"ping"}`); status != 202 {
		t.Errorf("a token in the query: %d", status)
	}
	e.expect("pong")
}

func TestPostedFramesAreLimited(t *testing.T) {
	cfg := open()
	cfg.Limits.Message = 4 << 10
	cfg.Limits.FramesPerSecond = 10
	s := start(t, cfg)
	e := s.source("user=ann&channels=" + manyChannels(12)) // more than the rate; those come at their own pace
	for i := range 12 {
		if f := e.expect("ok"); f["id"] != fmt.Sprint("channels.", i) {
			t.Errorf("got %v", f)
		}
	}
	for _, tt := range []struct {
		what, body string
		status     int
		want       string
	}{
		{"no JSON", `{"type":`, 400, "not JSON"},
		{"nothing", ``, 400, "not JSON"},
		{"two objects", `{} {}`, 400, "not JSON"},
		{"bad UTF-8", "{\"type\":\"\xff\"}", 400, "UTF-8"},
		{"too large", `{"type":"ping","x":"` + strings.Repeat("x", 4<<10) + `"}`, 413, "limits.message"},
		{"too many frames", `[` + strings.Repeat(`1,`, 100) + `1]`, 413, "100"},
		{"far too deep", strings.Repeat(`[`, 1100) + strings.Repeat(`]`, 1100), 413, "nested"},
	} {
		status, _, text := s.request("POST", "/sse/"+e.ID, tt.body)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %s, want %d", tt.what, status, text, tt.status)
		}
	}
	eventually(t, "the rate allows ten frames", func() bool {
		e.post(`[` + strings.Repeat(`{"type":"ping"},`, 14) + `{"type":"ping"}]`)
		limited := 0
		for range 15 {
			f, err := e.next()
			if err != nil {
				t.Fatal(err)
			}
			if f["code"] == "rate_limited" {
				limited++
			}
		}
		return limited > 0 && limited < 15
	})
	e.post(`[{"type":"ping","x":` + strings.Repeat(`[`, 70) + strings.Repeat(`]`, 70) + `}]`)
	eventually(t, "a frame that is too deep is told", func() bool {
		f := e.expect("error")
		if f["code"] == "rate_limited" {
			e.post(`[{"type":"ping","x":` + strings.Repeat(`[`, 70) + strings.Repeat(`]`, 70) + `}]`)
		}
		return f["code"] == "too_large"
	})
}

// A reader that reads nothing holds up nobody; what waits stays within its queue.
func TestASlowStreamLosesOnlyWhatIsVolatile(t *testing.T) {
	s := start(t, logging(t)())
	const total, size = 400, 16000 // far more than its queue and the kernel's buffers
	slow := s.source("user=slow&channels=room:1,event:1")
	slow.expect("ok")
	slow.expect("ok")
	quick := s.source("user=quick&channels=room:1")
	quick.expect("ok")
	var done sync.WaitGroup
	done.Go(func() {
		for want := 1; want <= total; want++ {
			if f := quick.expect("msg"); f["seq"] != float64(want) {
				t.Errorf("the quick reader got %v, want %d", f["seq"], want)
				return
			}
		}
	})
	publisher := s.user("publisher")
	text := strings.Repeat("x", size)
	for i := range total {
		publisher.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":"%d %s"}`, i+1, text))
		publisher.do(fmt.Sprintf(`{"type":"pub","channel":"event:1","data":"%d %s"}`, i+1, text))
	}
	done.Wait()
	item := s.verb("connections", `{"user":"slow"}`)["items"].([]any)[0].(map[string]any)
	if behind, _ := item["behind"].([]any); len(behind) != 1 || item["queued"].(float64) > 1<<20+64<<10 {
		t.Fatalf("the slow reader is shown as %v", item)
	}
	events, dropped := 0, 0.0
	for want := 1; want <= total; {
		f, err := slow.next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case f["type"] == "dropped":
			dropped += f["count"].(float64)
		case f["channel"] == "event:1":
			events++
		case f["seq"] == float64(want):
			want++
		default:
			t.Fatalf("the slow reader got %v, want %d", f["seq"], want)
		}
	}
	publisher.do(`{"type":"pub","channel":"room:1","data":"live again"}`)
	for {
		f, err := slow.next()
		if err != nil {
			t.Fatal(err)
		}
		if f["data"] == "live again" {
			break
		}
		switch {
		case f["type"] == "dropped":
			dropped += f["count"].(float64)
		case f["channel"] == "event:1":
			events++
		}
	}
	if dropped == 0 || events+int(dropped) != total {
		t.Errorf("%d events came and %.0f were dropped, of %d", events, dropped, total)
	}
}

func TestAStreamThatTheServerEndsSaysWhy(t *testing.T) {
	cfg := strict()
	cfg.Drain.Spread = skein.Duration(300 * time.Millisecond)
	s := start(t, cfg)
	open := func() *source { return s.source("token=" + token(t, auth.Identity{User: "ann"})) }
	e := open()
	s.verb("disconnect", fmt.Sprintf(`{"connection":%q,"message":"go","last":{"data":"last words"}}`, e.ID))
	if f := e.expect("msg"); f["data"] != "last words" {
		t.Errorf("got %v", f)
	}
	if bye := e.expect("bye"); bye["code"] != "disconnected" || bye["reconnect"] != false || e.retry < 1e6 {
		t.Errorf("got %v, and an EventSource comes back after %d ms", bye, e.retry)
	}
	e.ended()
	if status := e.post(`{"type":"ping"}`); status != 404 {
		t.Errorf("a post to a stream that has ended: %d", status)
	}
	e = s.source("token=" + token(t, auth.Identity{User: "ann", Expires: auth.At(time.Now().Add(1100 * time.Millisecond))}))
	if bye := e.expect("bye"); bye["code"] != "token_expired" || bye["reconnect"] != true {
		t.Errorf("got %v", bye)
	}
	e.ended()
	e = open()
	done := make(chan error, 1)
	go func() { done <- s.Drain(context.Background()) }()
	if bye := e.expect("bye"); bye["code"] != "going_away" || float64(e.retry) != max(1, bye["after"].(float64)) || e.retry > 300 {
		t.Errorf("got %v, and an EventSource comes back after %d ms", bye, e.retry)
	}
	e.ended()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if status, h, text := s.request("GET", "/sse?token=x", ""); status != 503 || h.Get("Retry-After") == "" {
		t.Errorf("while the server drains: %d %s", status, text)
	}
	s.empty()
}

// Streams and polls that come and go, in whatever way, leave nothing behind.
func TestStreamsAndPollersLeaveNothing(t *testing.T) {
	s := start(t, logging(t)())
	publisher := s.user("publisher")
	round := func(n int) {
		var wait sync.WaitGroup
		for i := range n {
			wait.Go(func() {
				e, err := s.openSource("http://"+s.addr, fmt.Sprintf("user=u%d&channels=room:1,event:1", i%7))
				if err != nil {
					t.Error(err)
					return
				}
				for range i % 4 {
					if _, err := e.next(); err != nil {
						t.Error(err)
					}
				}
				e.close()
			})
			wait.Go(func() {
				_, a, text, err := s.poll(context.Background(), fmt.Sprintf(`{"user":"u%d","frames":[{"type":"sub","channel":"room:1"},{"type":"call","method":"none","id":1}]}`, i%7))
				if err != nil || len(a.Frames) == 0 {
					t.Errorf("%s, %v", text, err)
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%5)*time.Millisecond)
				defer cancel()
				_, _, _, _ = s.poll(ctx, fmt.Sprintf(`{"connection":%q}`, a.Connection))
				if _, _, text, err := s.poll(context.Background(), fmt.Sprintf(`{"connection":%q,"close":true}`, a.Connection)); err != nil {
					t.Errorf("%s, %v", text, err)
				}
			})
		}
		for i := range 20 {
			publisher.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":%d}`, i))
		}
		wait.Wait()
		http.DefaultClient.CloseIdleConnections()
		eventually(t, "only the publisher is left", func() bool {
			return s.Connections() == 1 && s.stat("connections") == 1 && s.stat("users") == 1 && s.stat("channels") == 0
		})
	}
	round(50)
	goroutines := runtime.NumGoroutine()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range 4 {
		round(100)
	}
	eventually(t, "their goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	// Deadlines keep what has ended for as long as a heartbeat, and the recent messages stay.
	if after := heap(); after > before+8<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

// Proxies that hold back the first kilobytes pass events on as they come.
func TestAProxyThatWaitsForTheFirstBytesPassesEvents(t *testing.T) {
	s := start(t, open())
	target, err := url.Parse("http://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(&reluctant{ResponseWriter: w}, r)
	}))
	defer front.Close()
	e, err := s.openSource(front.URL, "user=ann&channels=room:1")
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	e.ID = e.expect("welcome")["connection"].(string)
	e.expect("ok")
	s.user("bob").do(`{"type":"pub","channel":"room:1","data":1}`)
	if f := e.expect("msg"); f["data"] != 1.0 {
		t.Errorf("got %v", f)
	}
	e.close()
	eventually(t, "the server sees that the client has gone", func() bool { return s.stat("connections") == 1 })
}

// reluctant passes nothing on before it has two kilobytes.
type reluctant struct {
	http.ResponseWriter
	held []byte
	flow bool
}

func (r *reluctant) Write(b []byte) (int, error) {
	if r.flow {
		return r.ResponseWriter.Write(b)
	}
	r.held = append(r.held, b...)
	if len(r.held) >= 2<<10 {
		r.flow = true
		_, err := r.ResponseWriter.Write(r.held)
		return len(b), err
	}
	return len(b), nil
}

// FlushError passes a flush on, when there is something to flush.
func (r *reluctant) FlushError() error {
	if !r.flow {
		return nil
	}
	return http.NewResponseController(r.ResponseWriter).Flush()
}
