package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var status atomic.Int64
		var got journal
		var log diary
		trial := make(chan struct{}) // closed: a request is answered
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got.note(t, r)
			if status.Load() == 0 {
				<-trial
				status.Store(200)
			}
			answers(int(status.Load()), nil, "{}")(w, r)
		}, func(cfg *Config) { cfg.Retries = -1; cfg.Logger = log.logger() })
		defer end()

		// Four failures and a good answer open nothing, nor do 429 and 404 among failures' number.
		status.Store(500)
		for range 4 {
			if e := fails(t, b.client, Call); e.Kind != KindFailed {
				t.Fatalf("%s: %v", e.Kind, e)
			}
		}
		if h := b.client.Health(); h.State != StateFailing || h.Status != 500 || h.Error == "" {
			t.Errorf("health is %+v", h)
		}
		status.Store(429)
		for range 20 {
			if e := fails(t, b.client, Call); e.Kind != KindThrottled {
				t.Fatalf("%s: %v", e.Kind, e)
			}
		}
		status.Store(200)
		succeeds(t, b.client, Call, "{}")
		if h := b.client.Health(); h.State != StateOK || h.Status != 200 || h.Error == "" {
			t.Errorf("health is %+v", h)
		}

		// Five in a row open it.
		status.Store(503)
		for range 5 {
			fails(t, b.client, Call)
		}
		opened, sent := time.Now(), len(got.requests())
		if e := fails(t, b.client, Call); e.Kind != KindOpen || e.Acted || time.Since(opened) != 0 {
			t.Errorf("%s after %s: %v", e.Kind, time.Since(opened), e)
		}
		time.Sleep(4999 * time.Millisecond)
		if e := fails(t, b.client, Call); e.Kind != KindOpen || len(got.requests()) != sent {
			t.Errorf("%s, %d requests were sent", e.Kind, len(got.requests())-sent)
		}
		if h := b.client.Health(); h.State != StateOpen || !h.Since.Equal(opened) || b.client.metrics.Open.Load() != 1 {
			t.Errorf("health is %+v", h)
		}

		// A trial that fails leaves it open for another pause.
		time.Sleep(time.Millisecond)
		if e := fails(t, b.client, Call); e.Kind != KindFailed {
			t.Errorf("the trial: %s", e.Kind)
		}
		time.Sleep(4 * time.Second)
		if e := fails(t, b.client, Call); e.Kind != KindOpen {
			t.Errorf("after the trial: %s", e.Kind)
		}

		// While one is on trial all others fail; when it succeeds all pass.
		time.Sleep(time.Second)
		status.Store(0)
		done := make(chan error, 1)
		go func() {
			_, err := b.client.Ask(t.Context(), Call, nil)
			done <- err
		}()
		synctest.Wait()
		if e := fails(t, b.client, Call); e.Kind != KindOpen {
			t.Errorf("next to the trial: %s", e.Kind)
		}
		close(trial)
		if err := <-done; err != nil {
			t.Error(err)
		}
		succeeds(t, b.client, Call, "{}")
		if n := b.client.metrics.Opened.Load(); n != 1 || b.client.metrics.Open.Load() != 0 {
			t.Errorf("it opened %d times", n)
		}
		if a, b := log.lines("hooks pause"), log.lines("hooks go on"); len(a) != 1 || len(b) != 1 {
			t.Errorf("the log says %q and %q", a, b)
		}
	})
}

func TestWhatTheBackendRefusesOpensNothing(t *testing.T) {
	for _, handler := range []http.HandlerFunc{answers(404, nil, ""), answers(200, nil, "x"), answers(302, nil, "")} {
		c := start(t, backend(t, handler).URL, nil)
		for range 20 {
			if e := fails(t, c, Connect); e.Kind != KindRefused && e.Kind != KindGarbage {
				t.Fatalf("%s: %v", e.Kind, e)
			}
		}
		if h := c.Health(); h.State != StateFailing {
			t.Errorf("health is %+v", h)
		}
	}
}

func TestATrialThatNobodyWaitsForDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var well atomic.Bool
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			if !well.Load() {
				hang(w, r)
				return
			}
			answers(200, nil, "{}")(w, r)
		}, func(cfg *Config) { cfg.Breaker.Failures = 1; cfg.Retries = -1 })
		defer end()
		fails(t, b.client, Call)
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := b.client.Ask(ctx, Call, nil); !errors.As(err, new(*Error)) {
			t.Errorf("error %v", err)
		}
		well.Store(true)
		succeeds(t, b.client, Call, "{}") // at once, on trial itself
		if h := b.client.Health(); h.State != StateOK {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestWhoWaitsInLineIsToldWhenTheCircuitOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, hang, func(cfg *Config) {
			cfg.Breaker.Failures = 1
			cfg.Concurrency = 1
			cfg.Retries = -1
		})
		defer end()
		var all sync.WaitGroup
		kinds := make(chan Kind, 10)
		begin := time.Now()
		all.Go(func() { kinds <- fails(t, b.client, Call).Kind }) // it fails after three seconds
		synctest.Wait()
		time.Sleep(time.Second)
		for range 8 { // these wait in line, for two of their three seconds
			all.Go(func() { kinds <- fails(t, b.client, Call).Kind })
		}
		all.Wait()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
		count := map[Kind]int{}
		for range 9 {
			count[<-kinds]++
		}
		if d := cmp.Diff(map[Kind]int{KindTimeout: 1, KindOpen: 8}, count); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	})
}

// The circuit against the sentences that describe it.
func TestTheCircuitAgreesWithItsModel(t *testing.T) {
	type pass struct {
		turn  uint64
		epoch int // of the model when it began
	}
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(rt, "limit")
		b := newBreaker(Breaker{Failures: limit, Pause: time.Second})
		now := time.Unix(1_800_000_000, 0)
		var open, trial bool
		var until time.Time
		failures, epoch := 0, 0
		var passes []pass
		rt.Repeat(map[string]func(*rapid.T){
			"time": func(rt *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 700).Draw(rt, "ms")) * time.Millisecond)
			},
			"enter": func(rt *rapid.T) {
				want := !open || !trial && !until.After(now)
				if ok, opened := b.passable(now); ok != want || (opened == nil) != open {
					rt.Fatalf("passable is %v, want %v", ok, want)
				}
				got := b.enter(now)
				if got.ok != want || !got.ok && got.changed == nil || !got.ok && !trial && got.wait != until.Sub(now) {
					rt.Fatalf("enter gives %+v, want %v", got, want)
				}
				if want {
					if open {
						trial = true
						epoch++
					}
					passes = append(passes, pass{got.turn, epoch})
				}
			},
			"leave": func(rt *rapid.T) {
				if len(passes) == 0 {
					return
				}
				i := rapid.IntRange(0, len(passes)-1).Draw(rt, "which")
				p := passes[i]
				passes = append(passes[:i], passes[i+1:]...)
				v := rapid.SampledFrom([]verdict{none, alive, good, bad, bad, bad}).Draw(rt, "verdict")
				opened, closed := b.leave(p.turn, v, now)
				wantOpened, wantClosed := false, false
				switch {
				case p.epoch != epoch:
				case open && v == none:
					trial, until = false, now
					epoch++
				case open && v == bad:
					trial, until = false, now.Add(time.Second)
					epoch++
				case open:
					open, trial, failures, wantClosed = false, false, 0, true
					epoch++
				case v == good:
					failures = 0
				case v == bad:
					if failures++; failures == limit {
						open, until, wantOpened = true, now.Add(time.Second), true
						epoch++
					}
				}
				if opened != wantOpened || closed != wantClosed {
					rt.Fatalf("leave gives %v, %v; want %v, %v", opened, closed, wantOpened, wantClosed)
				}
				if _, is := b.openSince(); is != open {
					rt.Fatalf("open is %v, want %v", is, open)
				}
			},
		})
	})
}

func TestAnAnswerMustBeSignedWhereThatIsWanted(t *testing.T) {
	sign := func(by string, delivery func(string) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body := `{"user":"42"}`
			if r.Header.Get("X-Empty") != "" {
				body = ""
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Skein-Signature", "v0=old, "+signature([]string{by}, delivery(r.Header.Get("Skein-Delivery")), []byte(body)))
			if body == "" {
				w.WriteHeader(204)
			}
			_, _ = io.WriteString(w, body)
		}
	}
	same := func(d string) string { return d }
	tests := []struct {
		name    string
		handler http.HandlerFunc
		header  map[string]string
		want    string
	}{
		{"signed", sign(secret, same), nil, `{"user":"42"}`},
		{"signed with the other secret", sign(newer, same), nil, `{"user":"42"}`},
		{"nothing, but signed", sign(secret, same), map[string]string{"X-Empty": "yes"}, `{}`},
		{"somebody else's secret", sign("somebody else's secret, long enough", same), nil, ""},
		{"the answer to another question", sign(secret, func(string) string { return "01ARYZ6S410000000000000000" }), nil, ""},
		{"not signed", answers(200, nil, `{"user":"42"}`), nil, ""},
		{"signed with nonsense", answers(200, map[string]string{"Skein-Signature": "v1=xyz"}, `{"user":"42"}`), nil, ""},
		{"signed with half of it", answers(200, map[string]string{"Skein-Signature": "v1=ab"}, `{"user":"42"}`), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, backend(t, tt.handler).URL, func(cfg *Config) {
				cfg.VerifyAnswers, cfg.Header, cfg.Breaker.Failures = true, tt.header, 1
				cfg.Secrets = []string{newer, secret}
				cfg.Retries = -1
			})
			if tt.want != "" {
				succeeds(t, c, Connect, tt.want)
				return
			}
			if e := fails(t, c, Connect); e.Kind != KindForged || !e.Acted {
				t.Errorf("%s: %v", e.Kind, e)
			}
			if e := fails(t, c, Connect); e.Kind != KindOpen {
				t.Errorf("a wrong signature did not count as a failure: %s", e.Kind)
			}
		})
	}
}
