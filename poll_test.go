package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// poller is a client that polls.
type poller struct {
	t    testing.TB
	s    *testServer
	name string // what the server calls the connection
	n    float64
	got  []map[string]any // frames that were not looked at yet
}

// answer is what a poll gives.
type answer struct {
	Connection string
	After      float64
	Frames     []map[string]any
	Closed     float64
}

// call makes one request.
func (s *testServer) poll(ctx context.Context, body string, header ...string) (status int, a answer, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.addr+"/poll", strings.NewReader(body))
	if err != nil {
		return 0, a, "", err
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, a, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == 200 {
		err = json.Unmarshal(b, &a)
	}
	return res.StatusCode, a, string(b), err
}

// poller opens a connection; body has the members of the first call.
func (s *testServer) poller(body string, header ...string) *poller {
	s.t.Helper()
	p := &poller{t: s.t, s: s}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, a, text, err := s.poll(ctx, body, header...)
	if err != nil || status != 200 || a.Connection == "" || a.After != 1 || len(a.Frames) == 0 || a.Frames[0]["type"] != "welcome" {
		s.t.Fatalf("the first call is answered by %d %s, %v", status, text, err)
	}
	p.name, p.n, p.got = a.Connection, a.After, a.Frames[1:]
	s.t.Cleanup(p.leave)
	return p
}

// leave ends the connection, if it is still there.
func (p *poller) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, a, text, err := p.s.poll(ctx, fmt.Sprintf(`{"connection":%q,"close":true}`, p.name))
	if err == nil && status == 200 && a.Closed == 0 {
		p.t.Errorf("leaving is answered by %s", text)
	}
}

// body makes the body of a call.
func (p *poller) body(after float64, frames ...string) string {
	return fmt.Sprintf(`{"connection":%q,"after":%v,"frames":[%s]}`, p.name, after, strings.Join(frames, ","))
}

// call makes a call that must be answered.
func (p *poller) call(frames ...string) answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, a, text, err := p.s.poll(ctx, p.body(p.n, frames...))
	if err != nil || status != 200 || a.Connection != p.name {
		p.t.Fatalf("a call is answered by %d %s, %v", status, text, err)
	}
	p.n = a.After
	p.got = append(p.got, a.Frames...)
	return a
}

// expect polls until there is a frame, which must be of the given type.
func (p *poller) expect(frameType string) map[string]any {
	p.t.Helper()
	for len(p.got) == 0 {
		p.call()
	}
	f := p.got[0]
	p.got = p.got[1:]
	if f["type"] != frameType {
		p.t.Fatalf("got %v, want %s", f, frameType)
	}
	return f
}

func (p *poller) do(frame string) map[string]any {
	p.t.Helper()
	p.call(strings.Replace(frame, "{", `{"id":"d",`, 1))
	return p.expect("ok")
}

func TestPollingIsAConnection(t *testing.T) {
	s := start(t, logging(t)())
	p := s.poller(`{"user":"ann","device":"tv","frames":[{"type":"sub","channel":"event:1","id":1},{"type":"sub","channel":"room:1","id":2}]}`)
	for i := range 2 {
		if ok := p.expect("ok"); ok["id"] != float64(i+1) {
			t.Errorf("got %v", ok)
		}
	}
	item := s.verb("connections", `{"user":"ann"}`)["items"].([]any)[0].(map[string]any)
	if item["transport"] != "poll" || item["device"] != "tv" || !strings.HasPrefix(item["address"].(string), "127.0.0.1:") {
		t.Errorf("it is shown as %v", item)
	}
	if item["id"] == p.name {
		t.Error("the id that others see is what one polls with")
	}
	other := s.user("bob")
	got := make(chan answer, 1)
	go func() { got <- p.call() }()
	other.do(`{"type":"pub","channel":"event:1","data":1}`)
	if a := <-got; len(a.Frames) != 1 || a.Frames[0]["data"] != 1.0 {
		t.Errorf("a call that waits gets %v", a)
	}
	other.do(`{"type":"pub","channel":"event:1","data":2}`)
	other.do(`{"type":"pub","channel":"room:1","data":3}`)
	p.got = nil
	for _, want := range []float64{2, 3} { // in one answer or in two
		if f := p.expect("msg"); f["data"] != want {
			t.Errorf("got %v, want %v", f, want)
		}
	}
	p.call(`{"type":"ping","id":5}`, `6`)
	if f := p.expect("pong"); f["id"] != 5.0 {
		t.Errorf("got %v", f)
	}
	if f := p.expect("error"); f["code"] != "bad_frame" {
		t.Errorf("got %v", f)
	}
	p.call(`{"type":"pub","channel":"room:1","data":4}`)
	if f := p.expect("msg"); f["data"] != 4.0 {
		t.Errorf("got %v", f) // its own, since it has a place in the sequence
	}
	s.verb("disconnect", `{"user":"ann","message":"go"}`)
	a := p.call()
	if len(a.Frames) != 1 || a.Frames[0]["code"] != "disconnected" || a.Closed != 4004 {
		t.Errorf("got %v", a)
	}
	if status, _, text, _ := s.poll(context.Background(), p.body(p.n)); status != 404 {
		t.Errorf("polling a connection that has ended: %d %s", status, text)
	}
	_ = other.ws.CloseNow()
	s.empty()
	eventually(t, "no connection is left", func() bool { return s.Connections() == 0 })
}

func TestAPollerSaysWhoItIsInManyWays(t *testing.T) {
	s := start(t, strict())
	text := token(t, auth.Identity{User: "ann"})
	for what, open := range map[string]func() *poller{
		"member": func() *poller { return s.poller(fmt.Sprintf(`{"token":%q}`, text)) },
		"header": func() *poller { return s.poller(``, "Authorization: Bearer "+text) },
		"frame":  func() *poller { return s.poller(fmt.Sprintf(`{"frames":[{"type":"connect","token":%q}]}`, text)) },
	} {
		p := open()
		if ok := p.do(`{"type":"sub","channel":"room:1"}`); ok["kind"] != "event" {
			t.Errorf("%s: got %v", what, ok)
		}
	}
	for what, body := range map[string]string{"nothing": ``, "nonsense": `{"token":"nonsense"}`, "a frame": `{"frames":[{"type":"connect","token":"nonsense","id":1}]}`} {
		status, a, text, err := s.poll(context.Background(), body)
		if err != nil || status != 200 || a.Closed != 4002 || a.Frames[len(a.Frames)-1]["code"] != "token_refused" {
			t.Errorf("%s: %d %s, %v", what, status, text, err)
		}
	}
	eventually(t, "those who were refused are gone", func() bool { return s.Connections() == 3 })
	e := s.poller(fmt.Sprintf(`{"token":%q}`, token(t, auth.Identity{User: "ann", Expires: auth.At(time.Now().Add(1100 * time.Millisecond))})))
	if bye := e.expect("bye"); bye["code"] != "token_expired" {
		t.Errorf("got %v", bye)
	}
}

// Answers are lost on their way and clients hang up while they wait; with the
// number of the last answer that arrived everything comes once and in order.
func TestNothingIsLostWithAnswersThatNeverArrive(t *testing.T) {
	s := start(t, logging(t)())
	const publishers, messages, readers = 3, 200, 8
	const total = publishers * messages
	var wait sync.WaitGroup
	all := make([][]string, readers)
	for i := range readers {
		rnd := rand.New(rand.NewPCG(3, uint64(i)))
		p := s.poller(fmt.Sprintf(`{"user":"reader%d","frames":[{"type":"sub","channel":"room:1","since":{"seq":0}}]}`, i))
		wait.Go(func() {
			seq := 0.0
			frames := p.got
			for {
				for _, f := range frames {
					if f["type"] != "msg" || f["seq"] != seq+1 {
						t.Errorf("got %v after %v", f, seq)
						return
					}
					seq++
					all[i] = append(all[i], fmt.Sprintf("%q", f["data"]))
				}
				if seq == total {
					return
				}
				span := patience
				if rnd.IntN(3) == 0 {
					span = time.Duration(rnd.IntN(3000)) * time.Microsecond // it hangs up
				}
				ctx, cancel := context.WithTimeout(context.Background(), span)
				status, a, text, err := s.poll(ctx, p.body(p.n))
				cancel()
				switch {
				case err != nil && span == patience, err == nil && status != 200:
					t.Errorf("reader %d: %d %s %v", i, status, text, err)
					return
				case err != nil, rnd.IntN(3) == 0: // lost on its way
					frames = nil
				default:
					p.n, frames = a.After, a.Frames
				}
			}
		})
	}
	acked := publishAll(t, s, "room:1", publishers, messages)
	wait.Wait()
	for i, datas := range all {
		for n, data := range datas {
			if want := acked[uint64(n+1)]; data != want {
				t.Fatalf("reader %d has %s at seq %d, the publisher was told of %s", i, data, n+1, want)
			}
		}
		if len(datas) != total {
			t.Errorf("reader %d has %d messages", i, len(datas))
		}
	}
}

// A client without numbers goes on with what comes next; a number that cannot be
// is told.
func TestTheNumberOfAnAnswer(t *testing.T) {
	s := start(t, open())
	p := s.poller(`{"user":"ann"}`)
	call := func(after string) (int, answer, string) {
		t.Helper()
		status, a, text, err := s.poll(context.Background(), fmt.Sprintf(`{"connection":%q%s,"frames":[{"type":"ping"}]}`, p.name, after))
		if err != nil {
			t.Fatal(err)
		}
		return status, a, text
	}
	for i := range 3 {
		if _, a, text := call(""); a.After != float64(i+2) || len(a.Frames) != 1 {
			t.Errorf("got %s", text)
		}
	}
	if _, a, text := call(`,"after":3`); a.After != 4 || len(a.Frames) != 1 {
		t.Errorf("a call that has not got the last answer gets %s", text)
	}
	if _, a, text := call(`,"after":4`); a.After != 5 || len(a.Frames) != 2 {
		t.Errorf("what came meanwhile was not in it, and now there is %s", text)
	}
	for _, after := range []string{"0", "3", "6", "99"} {
		if status, _, text := call(`,"after":` + after); status != 409 || !strings.Contains(text, "after") {
			t.Errorf("after %s: %d %s", after, status, text)
		}
	}
	for _, after := range []string{"-1", "1.5", `"4"`} {
		if status, _, text := call(`,"after":` + after); status != 400 || !strings.Contains(text, `"field":"after"`) {
			t.Errorf("after %s: %d %s", after, status, text)
		}
	}
	if _, a, text := call(`,"after":5`); a.After != 6 || len(a.Frames) != 1 {
		t.Errorf("got %s", text)
	}
}

func TestTheSecondOfTwoPollsGoesOn(t *testing.T) {
	s := start(t, open())
	p := s.poller(`{"user":"ann","frames":[{"type":"sub","channel":"room:1"}]}`)
	first, second := make(chan string, 1), make(chan string, 1)
	poll := func(to chan string) {
		status, _, text, err := s.poll(context.Background(), p.body(p.n))
		to <- fmt.Sprint(status, " ", strings.TrimSpace(text), " ", err)
	}
	requests := func() bool {
		_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
		return strings.Contains(text, "skein_stream_requests_total{transport=\"poll\"} 2\n")
	}
	go poll(first)
	eventually(t, "the first waits", requests)
	go poll(second)
	if got, want := <-first, fmt.Sprintf(`200 {"connection":%q,"after":1,"frames":[]} <nil>`, p.name); got != want {
		t.Errorf("the first is answered by %s, want %s", got, want)
	}
	select {
	case got := <-second:
		t.Errorf("the second does not wait: %s", got)
	default:
	}
	s.user("bob").do(`{"type":"pub","channel":"room:1","data":"x"}`)
	if got := <-second; !strings.Contains(got, `"data":"x"`) {
		t.Errorf("the second is answered by %s", got)
	}
}

func TestWhoMayPoll(t *testing.T) {
	cfg := open()
	cfg.Dev = false
	cfg.Origins = []string{"https://game.example"}
	cfg.Limits.Connections = 1
	cfg.Limits.Message = 4 << 10
	s := start(t, cfg)
	for _, tt := range []struct {
		what, method, body string
		header             []string
		status             int
		want               string
	}{
		{"foreign page", "POST", ``, []string{"Origin: https://evil.example"}, 403, "origins"},
		{"wrong method", "GET", ``, nil, 405, "use POST"},
		{"no JSON", "POST", `{"frames":`, nil, 400, "not JSON"},
		{"no object", "POST", `[1]`, nil, 400, "object"},
		{"a member twice", "POST", `{"after":1,"after":1}`, nil, 400, "twice"},
		{"bad UTF-8", "POST", "{\"token\":\"\xff\"}", nil, 400, "UTF-8"},
		{"wrong connection", "POST", `{"connection":7}`, nil, 400, `"field":"connection"`},
		{"no such connection", "POST", `{"connection":"x"}`, nil, 404, "connection"},
		{"unknown connection", "POST", `{"connection":"AAAAAAAAAAAAAAAAAAAAAA"}`, nil, 404, "connection"},
		{"wrong frames", "POST", `{"frames":{}}`, nil, 400, `"field":"frames"`},
		{"too many frames", "POST", `{"frames":[` + strings.Repeat(`1,`, 100) + `1]}`, nil, 413, "100"},
		{"too large", "POST", `{"x":"` + strings.Repeat("x", 4<<10) + `"}`, nil, 413, "limits.message"},
		{"long device", "POST", `{"device":"` + strings.Repeat("x", 200) + `"}`, nil, 400, `"field":"device"`},
		{"bad device", "POST", `{"device":"\u0007"}`, nil, 400, "device"},
	} {
		status, _, text := s.request(tt.method, "/poll", tt.body, tt.header...)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %s, want %d", tt.what, status, text, tt.status)
		}
	}
	if status, h, _ := s.request("OPTIONS", "/poll", "", "Origin: https://game.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"); status != 204 ||
		h.Get("Access-Control-Allow-Origin") != "https://game.example" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Type") {
		t.Errorf("a preflight is answered by %d %v", status, h)
	}
	p := s.poller(`{"user":"ann"}`)
	if status, h, text := s.request("POST", "/poll", ``); status != 503 || h.Get("Retry-After") == "" {
		t.Errorf("over the limit: %d %s", status, text)
	}
	p.call(`{"type":"ping"}`)
	if f := p.expect("pong"); f["type"] != "pong" {
		t.Errorf("got %v", f)
	}
}

func TestAPollerThatStopsPollingIsGivenUp(t *testing.T) {
	s := start(t, quick())
	p := s.poller(`{"user":"ann","frames":[{"type":"sub","channel":"room:1"}]}`)
	// A call that waits for longer than three intervals is life enough.
	ctx, cancel := context.WithTimeout(context.Background(), 600*time.Millisecond)
	defer cancel()
	if status, _, text, err := s.poll(ctx, p.body(p.n)); err == nil {
		t.Errorf("it does not wait: %d %s", status, text)
	}
	if s.stat("users") != 1 {
		t.Error("a client that polls was given up")
	}
	began := time.Now()
	s.empty()
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("it was given up after %s, before three intervals", took)
	}
	if status, _, _, _ := s.poll(context.Background(), p.body(p.n)); status != 404 {
		t.Errorf("a call after that: %d", status)
	}
	_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
	if !strings.Contains(text, "skein_streams_lost_total{reason=\"heartbeat_lost\",transport=\"poll\"} 1\n") {
		t.Error("the metric does not show it")
	}
}

// A body that never ends does not hold a request open.
func TestABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	cfg := open()
	cfg.Limits.Handshake = skein.Duration(200 * time.Millisecond)
	s := start(t, cfg)
	e := s.source("user=ann")
	for _, path := range []string{"/poll", "/sse/" + e.ID} {
		c := s.tcp()
		began := time.Now()
		if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"frames\":", path); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if took := time.Since(began); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || took < 150*time.Millisecond || took > 5*time.Second {
			t.Errorf("%s: %q, %v after %s", path, b, err, took)
		}
	}
}

func TestAPollerCanLeave(t *testing.T) {
	s := start(t, logging(t)())
	p := s.poller(`{"user":"ann"}`)
	a := p.call(`{"type":"pub","channel":"room:1","data":1,"id":1}`)
	if len(a.Frames) != 1 || a.Closed != 0 {
		t.Errorf("got %v", a)
	}
	status, a, text, err := s.poll(context.Background(), fmt.Sprintf(`{"connection":%q,"close":true,"frames":[{"type":"pub","channel":"room:1","data":2,"id":2}]}`, p.name))
	if err != nil || status != 200 || len(a.Frames) != 1 || a.Frames[0]["seq"] != 2.0 || a.Closed != 1000 {
		t.Errorf("leaving is answered by %d %s, %v", status, text, err)
	}
	s.empty()
}

// Who does not take its replies gets no new ones, and nothing is lost of either.
func TestAPollerThatOnlySendsWaits(t *testing.T) {
	cfg := logConfig(t.TempDir())
	cfg.Limits.Queue = 64 << 10
	s := start(t, cfg)
	publishAll(t, s, "room:1", 2, 100)
	p := s.poller(`{"user":"ann"}`)
	const calls, each = 8, 20
	var bodies []string
	for i := range each {
		bodies = append(bodies, fmt.Sprintf(`{"type":"history","channel":"room:1","limit":100,"id":%d}`, i))
	}
	sent, answered := 0, 0
	for sent < calls {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		status, a, text, err := s.poll(ctx, p.body(p.n, bodies...))
		cancel()
		switch {
		case err != nil:
			t.Fatal(err)
		case status == 200:
			sent++
			p.n = a.After
			answered += len(a.Frames)
			for _, f := range a.Frames {
				if f["type"] != "ok" {
					t.Fatalf("got %v", f)
				}
			}
		case status == 503:
			a := p.call()
			answered += len(a.Frames)
		default:
			t.Fatalf("%d %s", status, text)
		}
	}
	for answered < calls*each {
		a := p.call()
		answered += len(a.Frames)
		if a.Closed != 0 {
			t.Fatalf("got %v", a)
		}
	}
	if answered != calls*each {
		t.Errorf("%d replies to %d frames", answered, calls*each)
	}
}

func TestASlowPollerOfALogLosesNothing(t *testing.T) {
	s := start(t, logging(t)())
	p := s.poller(`{"user":"slow","frames":[{"type":"sub","channel":"room:1"},{"type":"sub","channel":"event:1"}]}`)
	const total = 300
	publisher := s.user("publisher")
	text := strings.Repeat("x", 16<<10)
	for i := range total {
		publisher.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":"%d %s"}`, i+1, text))
		publisher.do(fmt.Sprintf(`{"type":"pub","channel":"event:1","data":"%d %s"}`, i+1, text))
	}
	item := s.verb("connections", `{"user":"slow"}`)["items"].([]any)[0].(map[string]any)
	if behind, _ := item["behind"].([]any); len(behind) != 1 || item["queued"].(float64) > 1<<20+64<<10 {
		t.Fatalf("it is shown as %v", item)
	}
	want, events, dropped := 1, 0, 0.0
	for want <= total || events+int(dropped) < total {
		for len(p.got) == 0 {
			p.call()
		}
		f := p.got[0]
		p.got = p.got[1:]
		switch {
		case f["type"] == "dropped":
			dropped += f["count"].(float64)
		case f["channel"] == "event:1":
			events++
		case f["seq"] == float64(want):
			want++
		default:
			t.Fatalf("got %.100v, want %d", f, want)
		}
	}
	if dropped == 0 || events+int(dropped) != total {
		t.Errorf("%d events came and %.0f were dropped, of %d", events, dropped, total)
	}
}

func TestPollersAreSentAwayWhenTheServerDrains(t *testing.T) {
	cfg := open()
	cfg.Drain = skein.Drain{Timeout: skein.Duration(patience), Spread: skein.Duration(300 * time.Millisecond)}
	s := start(t, cfg)
	waits, idle := s.poller(`{"user":"ann"}`), s.poller(`{"user":"bob"}`)
	got := make(chan answer, 1)
	go func() { got <- waits.call() }()
	eventually(t, "one waits", func() bool {
		_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
		return strings.Contains(text, "skein_stream_requests_total{transport=\"poll\"} 3\n")
	})
	done := make(chan error, 1)
	go func() { done <- s.Drain(context.Background()) }()
	if a := <-got; len(a.Frames) != 1 || a.Frames[0]["code"] != "going_away" || a.Closed != 1001 {
		t.Errorf("who waits gets %v", a)
	}
	if bye := idle.expect("bye"); bye["code"] != "going_away" || bye["after"].(float64) > 300 {
		t.Errorf("who comes next gets %v", bye)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if status, h, _ := s.request("POST", "/poll", ``); status != 503 || h.Get("Retry-After") == "" {
		t.Errorf("while the server drains: %d", status)
	}
	s.empty()
}

// A client that hangs up takes nothing with it, and can come back at once.
func TestACallThatIsAbortedTakesNothing(t *testing.T) {
	s := start(t, open())
	p := s.poller(`{"user":"ann","frames":[{"type":"sub","channel":"room:1"}]}`)
	publisher := s.user("bob")
	for i := range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		aborted := make(chan answer, 1)
		go func() {
			_, a, _, _ := s.poll(ctx, p.body(p.n))
			aborted <- a
		}()
		requests := fmt.Sprintf("skein_stream_requests_total{transport=\"poll\"} %d\n", 2*i+2)
		eventually(t, "the call waits", func() bool {
			_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
			return strings.Contains(text, requests)
		})
		cancel()
		if a := <-aborted; len(a.Frames) > 0 {
			t.Fatalf("got %v before anything was said", a)
		}
		publisher.do(fmt.Sprintf(`{"type":"pub","channel":"room:1","data":%d}`, i))
		if a := p.call(); len(a.Frames) != 1 || a.Frames[0]["data"] != float64(i) {
			t.Fatalf("%d: the next call gets %v", i, a)
		}
	}
}
