package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func numbered(key string, n int) []byte { return fmt.Appendf(nil, `,"key":%q,"n":%d`, key, n) }

// count gives 0, 1 … below n.
func count(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func TestWhatIsToldComesInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got.note(t, r)
			time.Sleep(time.Second)
			answers(200, map[string]string{"Content-Type": "text/html"}, "<p>thank you")(w, r) // nobody reads it
		}, nil)
		defer end()
		b.client.Tell(Close, "k", numbered("k", 0))
		synctest.Wait() // the first one is on its way alone
		for n := range 250 {
			b.client.Tell(Online, "k", numbered("k", n+1))
		}
		if h := b.client.Health(); h.Queue != 251 {
			t.Errorf("%d events in the queue", h.Queue)
		}
		if err := b.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		var sizes []int
		ids := map[string]bool{}
		for _, r := range got.requests() {
			events := r.events(t)
			sizes = append(sizes, len(events))
			if r.Hook != "batch" || r.Attempt != "1" || !signed([]string{r.Signature}, []string{secret}, r.Timestamp, []byte(r.Body)) {
				t.Errorf("the request is %+v", r)
			}
			ids[r.Delivery] = true
			for _, e := range events {
				ids[e.ID] = true
				if len(e.ID) != 26 || e.Time != time.Now().Add(-4*time.Second).UnixMilli() || e.Event != Online && e.N > 0 {
					t.Errorf("the event is %+v", e)
				}
			}
		}
		if d := cmp.Diff([]int{1, 100, 100, 50}, sizes); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
		if d := cmp.Diff(count(0, 251), got.told(t)); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
		if len(ids) != 251+4 {
			t.Errorf("%d different ids", len(ids))
		}
		m := b.client.metrics
		if m.Told[0].Load() != 1 || m.Told[1].Load() != 250 || m.Delivered.Load() != 251 || m.Queued.Load() != 0 || len(dropped(m)) != 0 {
			t.Errorf("told %d and %d, delivered %d, queued %d, dropped %v", m.Told[0].Load(), m.Told[1].Load(), m.Delivered.Load(), m.Queued.Load(), dropped(m))
		}
	})
}

func TestABatchHasABoundInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got.note(t, r)
			time.Sleep(time.Second)
			answers(204, nil, "")(w, r)
		}, nil)
		defer end()
		b.client.Tell(Close, "k", numbered("k", 0))
		synctest.Wait()
		long := append(numbered("k", 1), `,"long":"`+strings.Repeat("x", maxBatchBytes/2)+`"`...)
		for range 3 {
			b.client.Tell(Close, "k", long)
		}
		b.client.Tell(Close, "k", append(long, `,"longer":"`+strings.Repeat("x", maxBatchBytes)+`"`...))
		if err := b.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		var sizes []int
		for _, r := range got.requests() {
			sizes = append(sizes, len(r.events(t)))
		}
		if d := cmp.Diff([]int{1, 1, 1, 1, 1}, sizes); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
	})
}

func TestABatchMayWaitForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		begin := time.Now()
		var at sync.Map
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			at.Store(got.note(t, r).Delivery, time.Since(begin))
			answers(204, nil, "")(w, r)
		}, func(cfg *Config) { cfg.BatchWait = time.Second; cfg.BatchSize = 3 })
		defer end()
		n := 0
		tell := func() {
			b.client.Tell(Close, "k", numbered("k", n))
			n++
		}
		tell()
		time.Sleep(900 * time.Millisecond)
		tell()
		time.Sleep(2100 * time.Millisecond) // the two left after a second; now it is 3 s
		tell()
		tell()
		time.Sleep(500 * time.Millisecond)
		tell() // the third one: at 3.5 s all leave
		time.Sleep(time.Second)
		tell() // at 4.5 s, and Close does not wait
		time.Sleep(100 * time.Millisecond)
		if err := b.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		type left struct {
			At     time.Duration
			Events int
		}
		var all []left
		for _, r := range got.requests() {
			when, _ := at.Load(r.Delivery)
			all = append(all, left{when.(time.Duration), len(r.events(t))})
		}
		if d := cmp.Diff([]left{{time.Second, 2}, {3500 * time.Millisecond, 3}, {4600 * time.Millisecond, 1}}, all); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	})
}

// A thousand users' events, a backend that fails in every way, before or after it
// has acted: each user's events come in order, and none is lost.
func TestNothingToldIsLostAndOrderIsKept(t *testing.T) {
	const keys, each = 1000, 20
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		dice := rand.New(rand.NewPCG(1, 2))
		seen := map[string]bool{}         // ids of events that were acted on
		orders := map[string][]int{}      // of each key
		attempts := map[string][]string{} // of each delivery: its bodies
		failures := 0
		act := func(events []event) { // what the guide tells receivers to do
			for _, e := range events {
				if !seen[e.ID] {
					seen[e.ID] = true
					orders[e.Key] = append(orders[e.Key], e.N)
				}
			}
		}
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got := read(t, r)
			mu.Lock()
			defer mu.Unlock()
			attempts[got.Delivery] = append(attempts[got.Delivery], got.Body)
			if got.Attempt != number(int64(len(attempts[got.Delivery]))) {
				t.Errorf("attempt %s is number %d", got.Attempt, len(attempts[got.Delivery]))
			}
			roll := dice.IntN(10)
			if roll < 7 {
				act(got.events(t))
			} else {
				failures++
			}
			switch roll {
			case 5, 6, 7: // acted on or not, the answer is lost
				broken("")(w, r)
			case 8:
				answers(503, nil, "")(w, r)
			case 9:
				answers(429, map[string]string{"Retry-After": "1"}, "")(w, r)
			default:
				answers(204, nil, "")(w, r)
			}
		}, func(cfg *Config) { cfg.Queue = keys * each; cfg.BatchSize = 50; cfg.MaxAge = time.Hour })
		defer end()
		var all sync.WaitGroup
		for part := range 10 {
			all.Go(func() {
				for n := range each {
					for k := part; k < keys; k += 10 {
						key := number(int64(k))
						b.client.Tell(Offline, key, numbered(key, n))
					}
					time.Sleep(time.Duration(part) * time.Millisecond)
				}
			})
		}
		all.Wait()
		if err := b.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(orders) != keys || len(seen) != keys*each {
			t.Fatalf("%d keys, %d events; want %d and %d", len(orders), len(seen), keys, keys*each)
		}
		for key, order := range orders {
			if !slices.Equal(order, count(0, each)) {
				t.Fatalf("the events of %s came in the order %v", key, order)
			}
		}
		again := 0
		for delivery, bodies := range attempts {
			again += len(bodies) - 1
			if len(slices.Compact(bodies)) != 1 {
				t.Errorf("the attempts of %s differ", delivery)
			}
		}
		if failures == 0 || again < failures || b.client.metrics.Delivered.Load() != keys*each || len(dropped(b.client.metrics)) != 0 {
			t.Errorf("%d failures, %d repeats, %d delivered, dropped %v", failures, again, b.client.metrics.Delivered.Load(), dropped(b.client.metrics))
		}
	})
}

func TestWhatIsToldWaitsForABackendThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got.note(t, r)
			answers(204, nil, "")(w, r)
		}, nil)
		defer end()
		b.lan.down.Store(true)
		for n := range 600 {
			b.client.Tell(Close, "k", numbered("k", n))
			time.Sleep(200 * time.Millisecond)
		}
		if h := b.client.Health(); h.State != StateOpen || h.Queue != 600 || !strings.Contains(h.Error, "connection refused") {
			t.Errorf("health is %+v", h)
		}
		// Two minutes: a few attempts before the circuit opens, then one each pause.
		if n := b.lan.dials.Load(); n < 20 || n > 40 {
			t.Errorf("%d attempts to connect in two minutes", n)
		}
		b.lan.down.Store(false)
		time.Sleep(6 * time.Second)
		if d := cmp.Diff(count(0, 600), got.told(t)); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if h := b.client.Health(); h.State != StateOK || h.Queue != 0 {
			t.Errorf("health is %+v", h)
		}
		if n := b.client.metrics.Opened.Load(); n != 1 {
			t.Errorf("the circuit opened %d times", n)
		}
	})
}

func TestAFullQueueDropsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		var log diary
		free := make(chan struct{})
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got.note(t, r)
			<-free
			answers(204, nil, "")(w, r)
		}, func(cfg *Config) { cfg.Queue = 10; cfg.Timeout = time.Minute; cfg.Logger = log.logger() })
		defer end()
		b.client.Tell(Close, "0", numbered("0", 0))
		synctest.Wait() // on its way, so it does not count
		for n := range 25 {
			key := number(int64(n)) // in all lanes
			b.client.Tell(Close, key, numbered(key, n+1))
		}
		lanes := len(got.requests())
		close(free)
		time.Sleep(11 * time.Second)
		all := got.told(t)
		if got := int64(len(all)) + dropped(b.client.metrics)["queue_full"]; got != 26 {
			t.Errorf("%d came, dropped %v", len(all), dropped(b.client.metrics))
		}
		slices.Sort(all)
		if len(all) < 11 || !slices.Equal(all[len(all)-10:], count(16, 26)) || all[0] != 0 {
			t.Errorf("these came: %v, with %d on their way at first", all, lanes)
		}
		// The first drop is told at once, the others together.
		if lines := log.lines("queue_full"); len(lines) != 2 || !strings.Contains(lines[0], "queue_full=1 ") && !strings.HasSuffix(lines[0], "queue_full=1\n") {
			t.Errorf("the log says %q", lines)
		}
		if h := b.client.Health(); h.Queue != 0 {
			t.Errorf("%d in the queue", h.Queue)
		}
	})
}

func TestAQueueHasABoundInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, hang, nil)
		defer end()
		long := []byte(`,"long":"` + strings.Repeat("x", 8<<20) + `"`)
		for range 20 {
			b.client.Tell(Close, "k", long)
		}
		if n, h := dropped(b.client.metrics)["queue_full"], b.client.Health(); n < 12 || n > 13 || h.Queue != 20-int(n) {
			t.Errorf("%d dropped, %d in the queue", n, h.Queue)
		}
	})
}

func TestWhatIsTooOldIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed, got journal
		var log diary
		var well atomic.Bool
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			if !well.Load() {
				failed.note(t, r)
				answers(503, nil, "")(w, r)
				return
			}
			got.note(t, r)
			answers(204, nil, "")(w, r)
		}, func(cfg *Config) { cfg.BatchSize = 10; cfg.Logger = log.logger() })
		defer end()
		for n := range 120 { // an event every ten seconds, for twenty minutes
			b.client.Tell(Close, "k", numbered("k", n))
			time.Sleep(10 * time.Second)
		}
		well.Store(true)
		time.Sleep(10 * time.Second)
		all := got.told(t)
		// Ten minutes are sixty events; a few may have become too old while waiting.
		if len(all) < 58 || len(all) > 61 || !slices.Equal(all, count(120-len(all), 120)) {
			t.Errorf("%d events came: %v", len(all), all)
		}
		if n := dropped(b.client.metrics); n["too_old"] != int64(120-len(all)) || len(n) != 1 {
			t.Errorf("%d came, dropped: %v", len(all), n)
		}
		if lines := log.lines("too_old"); len(lines) == 0 || !strings.Contains(lines[0], "status 503") {
			t.Errorf("the log says %q", lines)
		}
		// A batch that has lost an event is another delivery; its other events keep their ids.
		bodies, ids := map[string]string{}, map[int]string{}
		for _, r := range append(failed.requests(), got.requests()...) {
			if body, ok := bodies[r.Delivery]; ok && body != r.Body || ok == (r.Attempt == "1") {
				t.Errorf("attempt %s of %s is another one", r.Attempt, r.Delivery)
			}
			bodies[r.Delivery] = r.Body
			for _, e := range r.events(t) {
				if id, ok := ids[e.N]; ok && id != e.ID {
					t.Errorf("event %d had the id %s and has %s", e.N, id, e.ID)
				}
				ids[e.N] = e.ID
			}
		}
		if len(bodies) < 20 || len(ids) != 120 {
			t.Errorf("%d deliveries, %d events", len(bodies), len(ids))
		}
	})
}

func TestWhatTheBackendDoesNotTakeIsDropped(t *testing.T) {
	for _, status := range []int{301, 400, 404, 410, 413} {
		synctest.Test(t, func(t *testing.T) {
			var got journal
			var log diary
			b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
				if len(got.requests()) == 0 {
					got.note(t, r)
					answers(status, map[string]string{"Content-Type": "text/plain"}, "go away")(w, r)
					return
				}
				got.note(t, r)
				answers(204, nil, "")(w, r)
			}, func(cfg *Config) { cfg.Logger = log.logger() })
			defer end()
			b.client.Tell(Occupied, "k", numbered("k", 0))
			synctest.Wait()
			b.client.Tell(Vacated, "k", numbered("k", 1))
			synctest.Wait()
			if d := cmp.Diff([]int{0, 1}, got.told(t)); d != "" {
				t.Errorf("%d: (-want +got)\n%s", status, d)
			}
			if d := cmp.Diff(map[string]int64{"refused": 1}, dropped(b.client.metrics)); d != "" {
				t.Errorf("%d: (-want +got)\n%s", status, d)
			}
			if lines := log.lines("refused=1"); len(lines) != 1 || !strings.Contains(lines[0], number(int64(status))) || !strings.Contains(lines[0], "go away") {
				t.Errorf("the log says %q", lines)
			}
		})
	}
}

func TestWhatIsToldIsRepeatedUntilTheAnswerIsSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got journal
		b, end := inBubble(t, func(w http.ResponseWriter, r *http.Request) {
			got.note(t, r)
			if r.Header.Get("Skein-Attempt") == "3" {
				w.Header().Set("Skein-Signature", signature([]string{secret}, r.Header.Get("Skein-Delivery"), nil))
			}
			w.WriteHeader(204)
		}, func(cfg *Config) { cfg.VerifyAnswers = true })
		defer end()
		b.client.Tell(Close, "k", numbered("k", 0))
		if err := b.client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]int{0, 0, 0}, got.told(t)); d != "" || b.client.metrics.Delivered.Load() != 1 {
			t.Errorf("(-want +got)\n%s", d)
		}
	})
}

func TestOnlyWhatIsWantedIsTold(t *testing.T) {
	var got journal
	s := backend(t, func(w http.ResponseWriter, r *http.Request) { got.note(t, r) })
	c := start(t, s.URL, func(cfg *Config) { cfg.Events = []string{Connect, Online} })
	wants := map[string]bool{}
	for _, e := range append([]string{"", "x"}, Events[:]...) {
		if c.Wants(e) {
			wants[e] = true
		}
		c.Tell(e, "k", nil)
	}
	if d := cmp.Diff(map[string]bool{Connect: true, Online: true}, wants); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if all := got.requests(); len(all) != 1 || len(all[0].events(t)) != 1 || all[0].events(t)[0].Event != Online {
		t.Errorf("the backend was told %+v", all)
	}
	if none := start(t, s.URL, func(cfg *Config) { cfg.Events = nil }); none.Wants(Connect) {
		t.Error("without events one is wanted")
	}
}

func TestCloseGivesUpWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, hang, nil)
		defer end()
		for n := range 250 {
			b.client.Tell(Close, number(int64(n%7)), numbered("k", n))
		}
		asked := make(chan error, 1)
		go func() {
			_, err := b.client.Ask(t.Context(), Call, nil)
			asked <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := b.client.Close(ctx)
		if err == nil || err.Error() != "hooks: 250 events were not delivered: the time to stop was over" || time.Since(begin) != time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		if e, _ := errors.AsType[*Error](<-asked); e == nil || e.Kind != KindClosed {
			t.Errorf("the question ended with %v", e)
		}
		if e := fails(t, b.client, Call); e.Kind != KindClosed {
			t.Errorf("after Close: %s", e.Kind)
		}
		b.client.Tell(Close, "k", nil)
		if d := cmp.Diff(map[string]int64{"closed": 251}, dropped(b.client.metrics)); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if n := b.client.metrics.Queued.Load(); n != 0 {
			t.Errorf("%d in the queue", n)
		}
	})
}

func TestCloseOfAClientThatWaitsForItsBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, end := inBubble(t, answers(204, nil, ""), nil)
		defer end()
		b.lan.down.Store(true)
		b.client.Tell(Close, "k", numbered("k", 0))
		time.Sleep(10 * time.Second)
		done := make(chan error, 2)
		for range 2 { // both wait
			go func() { done <- b.client.Close(t.Context()) }()
		}
		synctest.Wait()
		b.lan.down.Store(false)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if b.client.metrics.Delivered.Load() != 1 {
			t.Error("it was not delivered")
		}
	})
}

// Over real connections, with the race detector's eyes on everything at once.
func TestAskingAndTellingAtOnce(t *testing.T) {
	var acted atomic.Int64
	var mu sync.Mutex
	seen := map[string]bool{}
	s := backend(t, func(w http.ResponseWriter, r *http.Request) {
		got := read(t, r)
		if rand.IntN(20) == 0 {
			answers(503, nil, "")(w, r)
			return
		}
		if got.Hook != batched {
			acted.Add(1)
			answers(200, nil, `{"data":1}`)(w, r)
			return
		}
		mu.Lock()
		for _, e := range got.events(t) {
			seen[e.ID] = true
		}
		mu.Unlock()
		w.WriteHeader(204)
	})
	c := start(t, s.URL, func(cfg *Config) { cfg.Breaker.Failures = 1000; cfg.Concurrency = 8; cfg.Retries = 10 })
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for n := range 50 {
				if _, err := c.Ask(t.Context(), Subscribe, nil); err != nil {
					t.Error(err)
				}
				c.Tell(Close, number(int64(g)), numbered("k", n))
				_ = c.Health()
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	if len(seen) != 16*50 || acted.Load() != 16*50 {
		t.Errorf("%d events, %d questions", len(seen), acted.Load())
	}
	for _, n := range slices.Sorted(maps.Values(dropped(c.metrics))) {
		t.Errorf("%d dropped", n)
	}
}
