package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAQuestionIsOneSignedRequest(t *testing.T) {
	got := make(chan request, 1)
	head := make(chan http.Header, 1)
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.String() != "/hooks?tenant=7" || r.ContentLength <= 0 {
			t.Errorf("the request is %s %s with %d bytes", r.Method, r.URL, r.ContentLength)
		}
		got <- read(t, r)
		head <- r.Header
		answers(200, nil, ` {"user":"42"}`+"\n")(w, r)
	})
	address := strings.Replace(s.URL, "http://", "http://skein:pass%20word@", 1) + "/hooks?tenant=7"
	c := start(t, address, func(cfg *Config) { cfg.Header = map[string]string{"x-tenant": "7"} })
	before := time.Now()
	answer, err := c.Ask(t.Context(), Connect, []byte(`,"connection":{"id":"abc"}`))
	if err != nil || string(answer) != `{"user":"42"}` {
		t.Fatalf("answer %q, error %v", answer, err)
	}
	r, h := <-got, <-head
	if len(r.Delivery) != 26 {
		t.Errorf("the delivery is %q, no ULID", r.Delivery)
	}
	var e event
	parse(t, r.Body, &e)
	if age := time.UnixMilli(e.Time).Sub(before); age < -time.Second || age > time.Minute {
		t.Errorf("the event's time is %v after the question", age)
	}
	wantBody := `{"event":"connect","id":"` + r.Delivery + `","time":` + number(e.Time) + `,"connection":{"id":"abc"}}`
	want := request{"connect", r.Delivery, "1", number(e.Time / 1000), signature([]string{secret}, r.Timestamp, []byte(wantBody)), wantBody}
	want.Timestamp = r.Timestamp // it may be a second later
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("the request is another one (-want +got):\n%s", d)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "Skein", "X-Tenant": "7",
		"Authorization": "Basic c2tlaW46cGFzcyB3b3Jk", "Accept-Encoding": "",
	} {
		if h.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, h.Get(name), want)
		}
	}
}

// broken writes part of an answer and closes the connection.
func broken(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
}

func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

func TestWhatIsAnAnswer(t *testing.T) {
	big := `{"a":"` + strings.Repeat("x", maxAnswer-8) + `"}`
	head := func(name, value string) map[string]string { return map[string]string{name: value} }
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string // the object
		kind    Kind
		says    string // part of the error
	}{
		{"an object", answers(200, nil, `{"allow":true}`), `{"allow":true}`, 0, ""},
		{"space around it", answers(200, nil, "\r\n\t {} \n"), `{}`, 0, ""},
		{"a charset", answers(200, head("Content-Type", "application/json; charset=utf-8"), `{"a":1}`), `{"a":1}`, 0, ""},
		{"a type built on JSON", answers(200, head("Content-Type", "application/vnd.app+json"), `{"a":1}`), `{"a":1}`, 0, ""},
		{"another 2xx", answers(201, nil, `{"a":1}`), `{"a":1}`, 0, ""},
		{"no content", answers(204, nil, ""), `{}`, 0, ""},
		{"an empty body of any type", answers(200, head("Content-Type", "text/html"), ""), `{}`, 0, ""},
		{"as deep as is allowed", answers(200, nil, nested(maxDepth)), nested(maxDepth), 0, ""},
		{"as large as is allowed", answers(200, nil, big), big, 0, ""},
		{"too deep", answers(200, nil, nested(maxDepth+1)), "", KindGarbage, "deeper than 64 levels"},
		{"too large", answers(200, map[string]string{"Content-Length": number(int64(len(big) + 1))}, big+" "), "", KindGarbage, "larger than 1048576 bytes"},
		{"too large, without a length", answers(200, nil, big+" "), "", KindGarbage, "larger than 1048576 bytes"},
		{"a page", answers(200, head("Content-Type", "text/html; charset=utf-8"), "<html>Welcome"), "", KindGarbage, `its Content-Type is "text/html; charset=utf-8", but application/json is needed; it begins with "<html>Welcome"`},
		{"JSON that calls itself a page", answers(200, head("Content-Type", "text/html"), "{}"), "", KindGarbage, "application/json is needed"},
		{"no type", answers(200, head("Content-Type", ""), "{}"), "", KindGarbage, "it has no Content-Type"},
		{"no type that can be read", answers(200, head("Content-Type", "/;"), "{}"), "", KindGarbage, "application/json is needed"},
		{"not JSON", answers(200, nil, `{'a':1}`), "", KindGarbage, "it is not valid JSON at byte 1"},
		{"half of it", answers(200, nil, `{"a":`), "", KindGarbage, "it is not valid JSON at byte 5"},
		{"two of them", answers(200, nil, `{}{}`), "", KindGarbage, "something follows"},
		{"a list", answers(200, nil, `[{}]`), "", KindGarbage, "it is not a JSON object"},
		{"null", answers(200, nil, "null\n"), "", KindGarbage, "it is not a JSON object"},
		{"a member twice", answers(200, nil, `{"user":"1","user":"2"}`), "", KindGarbage, `member "user" stands twice`},
		{"not UTF-8", answers(200, nil, "{\"a\":\"\xff\"}"), "", KindGarbage, "it is not UTF-8"},
		{"compressed", answers(200, head("Content-Encoding", "gzip"), "\x1f\x8b"), "", KindGarbage, `Content-Encoding is "gzip"`},
		{"not found", answers(404, head("Content-Type", "text/plain"), "no such\npage"), "", KindRefused, `status 404 "no such\npage"`},
		{"forbidden, at length", answers(403, nil, strings.Repeat("é", 4000)), "", KindRefused, "status 403"},
		{"a redirect", answers(302, head("Location", "https://elsewhere.example/"), ""), "", KindRefused, `redirects are not followed; hooks.url has to be the address itself (this one leads to "https://elsewhere.example/")`},
		{"a redirect that keeps the body", answers(307, head("Location", "/"), ""), "", KindRefused, "redirects are not followed"},
		{"a redirect to nowhere", answers(308, head("Location", ":%"), ""), "", KindRefused, "redirects are not followed"},
		{"not modified", answers(304, nil, ""), "", KindRefused, "status 304"},
		{"an error", answers(500, nil, `{"detail":"oops"}`), "", KindFailed, `status 500 "{\"detail\":\"oops\"}"`},
		{"not implemented", answers(501, nil, ""), "", KindFailed, "status 501"},
		{"a timeout further on", answers(504, nil, ""), "", KindFailed, "status 504"},
		{"too slow for it", answers(408, nil, ""), "", KindFailed, "status 408"},
		{"too early", answers(425, nil, ""), "", KindFailed, "status 425"},
		{"too many", answers(429, nil, ""), "", KindThrottled, "status 429"},
		{"nothing at all", broken(""), "", KindUnreachable, "the backend could not be reached"},
		{"no HTTP", broken("hello\r\n\r\n"), "", KindUnreachable, "malformed HTTP"},
		{"a body that breaks off", broken("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"), "", KindUnreachable, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, backend(t, tt.handler).URL, func(cfg *Config) { cfg.Retries = -1 })
			answer, err := c.Ask(t.Context(), Connect, nil)
			if tt.kind == KindAnswered {
				if err != nil || string(answer) != tt.want {
					t.Fatalf("answer %.200q, error %v", answer, err)
				}
				return
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || answer != nil {
				t.Fatalf("answer %.200q, error %v", answer, err)
			}
			if e.Kind != tt.kind || !strings.Contains(e.Error(), tt.says) || !strings.HasPrefix(e.Error(), "hook connect "+e.Delivery+": ") {
				t.Errorf("%s: %v\nwant %s, %s", e.Kind, e, tt.kind, tt.says)
			}
			if len(e.Body) > 200 || len(e.Error()) > 1000 {
				t.Errorf("the error is long: %v", e)
			}
			if got := c.metrics.Asked[0][tt.kind].Load(); got != 1 {
				t.Errorf("%d questions were counted as %s", got, tt.kind)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	c := start(t, s.URL, nil)
	if e := fails(t, c, Call); e.Kind != KindUnreachable || e.Acted || e.Status != 0 {
		t.Errorf("%s, acted %v: %v", e.Kind, e.Acted, e)
	}
}

// What only asks for permission is repeated; what may have an effect is repeated
// when it cannot have had one.
func TestWhichQuestionsAreRepeated(t *testing.T) {
	tests := []struct {
		name           string
		handler        http.HandlerFunc
		permit, effect int  // attempts of connect, subscribe and escalate, of message and call
		acted          bool // what is said of message and call
	}{
		{"a server error", answers(500, nil, ""), 3, 1, true},
		{"a gateway error", answers(502, nil, ""), 3, 1, true},
		{"a connection that breaks", broken(""), 3, 1, true},
		{"408", answers(408, nil, ""), 3, 3, false},
		{"425", answers(425, nil, ""), 3, 3, false},
		{"429", answers(429, nil, ""), 3, 3, false},
		{"404", answers(404, nil, ""), 1, 1, true},
		{"a redirect", answers(302, map[string]string{"Location": "/"}, ""), 1, 1, true},
		{"garbage", answers(200, nil, "x"), 1, 1, true},
	}
	for _, tt := range tests {
		for _, name := range Events[:asked] {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				var seen journal
				s := backend(t, func(w http.ResponseWriter, r *http.Request) {
					seen.note(t, r)
					tt.handler(w, r)
				})
				c := start(t, s.URL, func(cfg *Config) { cfg.Retries = 2 })
				e := fails(t, c, name)
				got, want := seen.requests(), tt.effect
				if name == Connect || name == Subscribe || name == Escalate {
					want = tt.permit
				} else if e.Acted != tt.acted {
					t.Errorf("acted is %v", e.Acted)
				}
				if len(got) != want || c.metrics.Retries.Load() != int64(want-1) {
					t.Fatalf("%d attempts, %d of them counted as retries; want %d", len(got), c.metrics.Retries.Load(), want)
				}
				for i, r := range got {
					if r.Delivery != e.Delivery || r.Body != got[0].Body || r.Attempt != number(int64(i+1)) {
						t.Errorf("attempt %d is %+v, the first one was %+v", i+1, r, got[0])
					}
					if r.Signature != signature([]string{secret}, r.Timestamp, []byte(r.Body)) {
						t.Errorf("attempt %d is not signed well", i+1)
					}
				}
			})
		}
	}
}

func TestWhatWasNotSentIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, answers(200, nil, `{"data":5}`), nil)
		defer end()
		b.lan.down.Store(true)
		go func() {
			time.Sleep(10 * time.Millisecond) // less than the least pause
			b.lan.down.Store(false)
		}()
		succeeds(t, b.client, Call, `{"data":5}`)
		if n := b.lan.dials.Load(); n != 2 {
			t.Errorf("%d attempts to connect", n)
		}
	})
}

func TestTheTimeForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			d, _ := time.ParseDuration(r.Header.Get("X-Delay"))
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
			answers(200, nil, `{}`)(w, r)
		}
		for delay, kind := range map[string]Kind{"2900ms": KindAnswered, "3100ms": KindTimeout, "1h": KindTimeout} {
			b, end := inBubble(t, slow, func(cfg *Config) { cfg.Header = map[string]string{"X-Delay": delay} })
			begin := time.Now()
			_, err := b.client.Ask(t.Context(), Connect, nil)
			took := time.Since(begin)
			if e, _ := errors.AsType[*Error](err); kind != KindAnswered && (e == nil || e.Kind != kind || !e.Acted || took != 3*time.Second) {
				t.Errorf("%s: error %v after %s, want %s", delay, err, took, kind)
			} else if kind == KindAnswered && (err != nil || took != 2900*time.Millisecond) {
				t.Errorf("%s: error %v after %s", delay, err, took)
			}
			end()
		}
	})
}

func TestABodyThatComesTooSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, nil)
		defer end()
		if e := fails(t, b.client, Call); e.Kind != KindTimeout || !e.Acted {
			t.Errorf("%s: %v", e.Kind, e)
		}
	})
}

func TestACallerWhoLeavesSaysNothingAboutTheBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, hang, func(cfg *Config) { cfg.Breaker.Failures = 1 })
		defer end()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.client.Ask(ctx, Connect, nil)
		if e, _ := errors.AsType[*Error](err); e == nil || e.Kind != KindCanceled {
			t.Errorf("error %v", err)
		}
		if h := b.client.Health(); h.State != StateIdle || h.Error != "" {
			t.Errorf("health is %+v", h)
		}
	})
}

// hang is a handler that never answers.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client leaves
	<-r.Context().Done()
}

func TestRetryAfterIsHonoured(t *testing.T) {
	tests := []struct {
		after string
		took  time.Duration // the least
		kind  Kind
		says  time.Duration
	}{
		{"2", 2 * time.Second, KindAnswered, 0},
		{"3", 0, KindThrottled, 3 * time.Second},
		{"60", 0, KindThrottled, time.Minute},
		{"soon", 25 * time.Millisecond, KindAnswered, 0},
		{"Sat, 01 Jan 2000 00:00:02 GMT", 2 * time.Second, KindAnswered, 0}, // a bubble begins with the year
		{"Sat, 01 Jan 2000 00:01:00 GMT", 0, KindThrottled, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.after, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Skein-Attempt") == "1" {
						answers(429, map[string]string{"Retry-After": tt.after}, "")(w, r)
						return
					}
					answers(200, nil, "{}")(w, r)
				}, nil)
				defer end()
				begin := time.Now()
				_, err := b.client.Ask(t.Context(), Call, nil)
				took := time.Since(begin)
				if took < tt.took || took > tt.took+50*time.Millisecond {
					t.Errorf("it took %s, want %s", took, tt.took)
				}
				e, _ := errors.AsType[*Error](err)
				switch {
				case tt.kind == KindAnswered && err == nil:
				case e == nil || e.Kind != tt.kind || e.RetryAfter != tt.says || e.Acted:
					t.Errorf("error %v, want %s after %s", err, tt.kind, tt.says)
				}
			})
		})
	}
}

func TestNoMoreRequestsThanAllowedAreUnderWay(t *testing.T) {
	const allowed, questions = 4, 100
	var now, most atomic.Int64
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		_, _ = io.Copy(io.Discard, r.Body)
		answers(200, nil, "{}")(w, r)
		now.Add(-1)
	})
	c := start(t, s.URL, func(cfg *Config) { cfg.Concurrency = allowed; cfg.Timeout = time.Minute })
	var all sync.WaitGroup
	for range questions {
		all.Go(func() {
			if _, err := c.Ask(t.Context(), Call, nil); err != nil {
				t.Error(err)
			}
			c.Tell(Online, "x", nil)
		})
	}
	all.Wait()
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if most.Load() > allowed || c.metrics.UnderWay.Load() != 0 || c.metrics.Waiting.Load() != 0 {
		t.Errorf("%d requests at once, %d under way, %d waiting; want at most %d", most.Load(), c.metrics.UnderWay.Load(), c.metrics.Waiting.Load(), allowed)
	}
}

func TestQuestionsWaitInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got.note(t, r)
			time.Sleep(10 * time.Millisecond)
			answers(200, nil, "{}")(w, r)
		}, func(cfg *Config) { cfg.Concurrency = 1 })
		defer end()
		var want []string
		for _, key := range strings.Fields("a b c d e f g h i j k l m n o p") {
			want = append(want, key)
			go func() {
				if _, err := b.client.Ask(t.Context(), Call, []byte(`,"key":"`+key+`"`)); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait() // it is in line now
		}
		time.Sleep(time.Second)
		var order []string
		for _, r := range got.requests() {
			var e event
			parse(t, r.Body, &e)
			order = append(order, e.Key)
		}
		if d := cmp.Diff(want, order); d != "" {
			t.Errorf("the order is another one (-want +got):\n%s", d)
		}
	})
}

func TestWaitingInLineIsPartOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, answers(200, nil, "{}"), func(cfg *Config) { cfg.Concurrency = 1 })
		defer end()
		b.client.slots <- struct{}{} // somebody is slow
		begin := time.Now()
		if e := fails(t, b.client, Call); e.Kind != KindBusy || e.Acted || time.Since(begin) != 3*time.Second {
			t.Errorf("%s after %s: %v", e.Kind, time.Since(begin), e)
		}
		if h := b.client.Health(); h.State != StateIdle || h.UnderWay != 1 {
			t.Errorf("health is %+v", h)
		}
		<-b.client.slots
		succeeds(t, b.client, Call, "{}")
	})
}

func TestHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("the request came by %s", r.Proto)
		}
		if got := read(t, r); !signed([]string{got.Signature}, []string{secret}, got.Timestamp, []byte(got.Body)) {
			t.Error("the request is not signed well")
		}
		answers(200, nil, `{"a":1}`)(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := start(t, s.URL, func(cfg *Config) { cfg.Transport = s.Client().Transport.(*http.Transport) })
	for range 3 {
		succeeds(t, c, Subscribe, `{"a":1}`)
	}
}

func TestAToldEventCannotBeAsked(t *testing.T) {
	c := start(t, backend(t, answers(200, nil, "{}")).URL, nil)
	for _, name := range []string{Close, "", "connekt"} {
		if e := fails(t, c, name); e.Kind != KindRefused {
			t.Errorf("%q: %s", name, e.Kind)
		}
	}
}
