package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/feature/health"
	"github.com/skein-realtime/skein/internal/latency"
	"github.com/skein-realtime/skein/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server of which the feature is told, in a bubble in which seconds pass at once.
type world struct {
	t       *testing.T
	cfg     health.Config
	commits latency.Histogram
	verbs   *verb.Registry
}

// problem is one as JSON has it.
type problem struct {
	Code, Severity, Text string
	Since                int64
	Values               map[string]any
}

// inBubble runs a test. prepare says what is different from a server that is well.
func inBubble(t *testing.T, prepare func(w *world), test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, verbs: verb.NewRegistry(verb.NewMemo(0, 0), 4)}
		w.cfg.Commits = &w.commits
		w.cfg.Descriptors = func() (uint64, uint64, bool) { return 10, 1000, true }
		prepare(w)
		f := health.New(w.cfg, w.verbs)
		defer f.Close()
		test(w)
		for _, code := range health.Codes {
			n := int64(0)
			for _, p := range w.problems() {
				if p.Code == code {
					n++
				}
			}
			if got := f.Count(code); got != n {
				t.Errorf("%d problems are %s, and %d are counted", n, code, got)
			}
		}
	})
}

// pass lets time pass in a bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func now() int64 { return time.Now().UnixMilli() }

func (w *world) problems() []problem {
	w.t.Helper()
	raw, err := w.verbs.Run(w.t.Context(), "problems", nil, "")
	if err != nil {
		w.t.Fatal(err)
	}
	var r struct{ Problems []problem }
	if err := json.Unmarshal(raw, &r); err != nil {
		w.t.Fatal(err)
	}
	return r.Problems
}

// well says that nothing is wrong.
func (w *world) well() {
	w.t.Helper()
	if list := w.problems(); len(list) != 0 {
		w.t.Fatalf("at %d: %+v", now(), list)
	}
}

// one is the only problem, which has this code and began then.
func (w *world) one(code string, since int64, text string) problem {
	w.t.Helper()
	list := w.problems()
	if len(list) != 1 || list[0].Code != code || list[0].Since != since || !strings.Contains(list[0].Text, text) {
		w.t.Fatalf("at %d: %+v; want %s since %d: %s", now(), list, code, since, text)
	}
	return list[0]
}

func (p problem) value(t *testing.T, name string, want any) {
	t.Helper()
	if got := p.Values[name]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %s is %v, not %v", p.Code, name, got, want)
	}
}

func TestNothingIsWrong(t *testing.T) {
	inBubble(t, func(w *world) { w.cfg = health.Config{Descriptors: w.cfg.Descriptors} }, func(w *world) {
		raw, err := w.verbs.Run(w.t.Context(), "problems", nil, "")
		if err != nil || string(raw) != `{"problems":[]}` {
			t.Errorf("got %s, %v", raw, err)
		}
		pass(15 * time.Second)
		w.well()
	})
}

// What is counted is a problem for a minute.
func TestWhatWasCountedInTheLastMinute(t *testing.T) {
	for _, tt := range []struct {
		code, severity, text string
		set                  func(*health.Config, func() int64)
	}{
		{health.HooksDropping, "error", "not told 5 events in the last minute", func(c *health.Config, fn func() int64) { c.HooksDropped = fn }},
		{health.MessagesDropped, "warning", "missed 5 messages in the last minute", func(c *health.Config, fn func() int64) { c.Dropped = fn }},
		{health.PublishersRefused, "warning", "5 messages were refused in the last minute", func(c *health.Config, fn func() int64) { c.Refused = fn }},
	} {
		t.Run(tt.code, func(t *testing.T) {
			var n atomic.Int64
			n.Store(1000) // what was before does not count
			inBubble(t, func(w *world) { tt.set(&w.cfg, n.Load) }, func(w *world) {
				w.well()
				pass(90*time.Second + time.Millisecond)
				n.Add(3)
				began := now()
				w.one(tt.code, began, "3 ").value(t, "count", 3)
				pass(30 * time.Second)
				n.Add(2)
				p := w.one(tt.code, began, tt.text)
				p.value(t, "count", 5)
				if p.Severity != tt.severity {
					t.Errorf("it is a %s", p.Severity)
				}
				pass(29 * time.Second)
				w.one(tt.code, began, "5 ")
				pass(2 * time.Second)
				w.one(tt.code, began, "2 ")
				pass(29 * time.Second)
				w.well()
				n.Add(1)
				w.one(tt.code, now(), "1 ") // another one
				n.Store(0)
				w.well() // who counts has begun anew
				pass(61 * time.Second)
				n.Add(4)
				w.one(tt.code, now(), "4 ")
			})
		})
	}
}

func TestConnectionsLost(t *testing.T) {
	var lost, there atomic.Int64
	there.Store(990)
	inBubble(t, func(w *world) { w.cfg.Lost, w.cfg.Connections = lost.Load, there.Load }, func(w *world) {
		lost.Store(10)
		w.well() // 1 % of 1000
		lost.Store(11)
		p := w.one(health.ConnectionsLost, now(), "11 connections were silent or took nothing and were given up in the last minute, of 1001")
		p.value(t, "count", 11)
		p.value(t, "of", 1001)
		pass(61 * time.Second)
		w.well()
	})
}

func TestConnectionsFull(t *testing.T) {
	var n, most atomic.Int64
	n.Store(1_000_000)
	inBubble(t, func(w *world) { w.cfg.Connections, w.cfg.MaxConnections = n.Load, most.Load }, func(w *world) {
		w.well() // there is no limit
		most.Store(1000)
		n.Store(899)
		w.well()
		n.Store(900)
		began := now()
		if p := w.one(health.ConnectionsFull, began, "900 connections of the 1000 that limits.connections allows"); p.Severity != "warning" {
			t.Errorf("it is a %s", p.Severity)
		}
		n.Store(1000)
		if p := w.one(health.ConnectionsFull, began, "1000"); p.Severity != "error" {
			t.Errorf("it is a %s", p.Severity)
		}
		most.Store(2000)
		w.well()
	})
}

// Commits are slow when the slowest of them have taken more than a second for ten.
func TestStoreSlow(t *testing.T) {
	inBubble(t, func(*world) {}, func(w *world) {
		slow := func(seconds int) {
			for range seconds {
				w.commits.RecordN(time.Millisecond, 50)
				w.commits.RecordN(1500*time.Millisecond, 2)
				pass(time.Second)
			}
		}
		pass(time.Millisecond)
		slow(9)
		w.commits.RecordN(time.Millisecond, 1000)
		pass(time.Second)
		w.well()
		began := time.Now().Add(-time.Millisecond).Add(time.Second).UnixMilli()
		slow(11)
		if p := w.one(health.StoreSlow, began, "take 1.5 s"); p.Values["p99"].(float64) < 1.4 {
			t.Errorf("p99 is %v", p.Values)
		}
		pass(30 * time.Second) // without any commit nobody knows better
		w.one(health.StoreSlow, began, "1.5 s")
		w.commits.Record(time.Millisecond)
		pass(time.Second)
		w.well()
		slow(1)
		pass(2 * time.Minute)
		w.well()
	})
}

// What others know is passed on, with when it began.
func TestWhatOthersKnow(t *testing.T) {
	var failing atomic.Bool
	since := func() (time.Time, string, bool) { return time.UnixMilli(1234), "out of luck", failing.Load() }
	for _, tt := range []struct {
		code, text string
		since      int64
		set        func(c *health.Config)
	}{
		{health.StoreFailing, "nothing can be stored: out of luck", 1234, func(c *health.Config) { c.StoreFailing = since }},
		{health.HooksOpen, "left alone for now: out of luck", 1234, func(c *health.Config) { c.HooksOpen = since }},
		{health.AuditFailing, "audit log cannot be written", 1234, func(c *health.Config) {
			c.Audit = func() (time.Time, bool) { return time.UnixMilli(1234), failing.Load() }
		}},
		{health.Draining, "sends its clients away", 0, func(c *health.Config) { c.Draining = failing.Load }},
	} {
		t.Run(tt.code, func(t *testing.T) {
			failing.Store(false)
			inBubble(t, func(w *world) { tt.set(&w.cfg) }, func(w *world) {
				w.well()
				failing.Store(true)
				if tt.since == 0 {
					tt.since = now()
				}
				w.one(tt.code, tt.since, tt.text)
				pass(5 * time.Second)
				w.one(tt.code, tt.since, tt.text)
				failing.Store(false)
				w.well()
			})
		})
	}
}

// A problem has begun also when nobody asked.
func TestABeginningIsNoticed(t *testing.T) {
	var draining atomic.Bool
	inBubble(t, func(w *world) { w.cfg.Draining = draining.Load }, func(w *world) {
		pass(3*time.Second + time.Millisecond)
		draining.Store(true)
		began := time.Now().Add(999 * time.Millisecond).UnixMilli()
		pass(time.Minute)
		w.one(health.Draining, began, "sends")
	})
}

func TestDev(t *testing.T) {
	inBubble(t, func(w *world) { w.cfg.Dev = true }, func(w *world) {
		began := now()
		pass(time.Hour)
		if p := w.one(health.Dev, began, "development mode"); p.Severity != "warning" {
			t.Errorf("it is a %s", p.Severity)
		}
	})
}

func TestDiskLow(t *testing.T) {
	var free, total, asked atomic.Uint64
	free.Store(5 << 30)
	total.Store(100 << 30)
	inBubble(t, func(w *world) {
		w.cfg.Data = func() string { return "/data" }
		w.cfg.Disk = func(path string) (uint64, uint64, bool) {
			asked.Add(1)
			return free.Load(), total.Load(), path == "/data"
		}
	}, func(w *world) {
		w.well() // 5 %, but five gibibytes
		free.Store(500 << 20)
		total.Store(1 << 30)
		pass(5 * time.Second)
		w.well() // half a gibibyte, but the half
		free.Store(900 << 20)
		total.Store(10 << 30)
		pass(5 * time.Second)
		p := w.one(health.DiskLow, now(), "900 MiB are free of the 10240 MiB")
		p.value(t, "free", float64(900<<20))
		p.value(t, "total", float64(10<<30))
		free.Store(2 << 30)
		pass(5 * time.Second)
		w.well()
		if n := asked.Load(); n != 4 {
			t.Errorf("the disk was asked %d times in 15 s", n)
		}
	})
}

func TestSchedulesAndCampaigns(t *testing.T) {
	names := []string{}
	for i := range 1200 {
		names = append(names, fmt.Sprintf("s%04d", i))
	}
	failing := map[string]health.Failing{}
	var broken error
	reads := 0
	campaigns := []health.Failing{{Name: "c1", Since: 7, Error: "no disk"}}
	schedules := func(ctx context.Context, after string, limit int) (list []health.Failing, last string, err error) {
		if reads++; broken != nil {
			return nil, "", broken
		}
		if _, bounded := ctx.Deadline(); !bounded {
			return nil, "", errors.New("it may take any time")
		}
		i, _ := slices.BinarySearch(names, after+"\x00")
		page := names[i:min(len(names), i+limit)]
		for _, name := range page {
			if f, is := failing[name]; is {
				list = append(list, f)
			}
		}
		if len(page) == limit {
			last = page[limit-1]
		}
		return list, last, nil
	}
	fail := func(n int) {
		failing[names[n]] = health.Failing{Name: names[n], Since: int64(n), Error: "no such channel"}
	}
	inBubble(t, func(w *world) {
		w.cfg.Schedules = schedules
		w.cfg.Campaigns = func(context.Context, int) ([]health.Failing, error) { return campaigns, broken }
	}, func(w *world) {
		fail(3)
		fail(1100)
		show := func() string {
			var b strings.Builder
			for _, p := range w.problems() {
				fmt.Fprintf(&b, "%s %v%v %d; ", p.Code, p.Values["id"], p.Values["name"], p.Since)
			}
			return strings.ReplaceAll(b.String(), "<nil>", "")
		}
		want := func(text string) {
			w.t.Helper()
			if got := show(); got != text {
				w.t.Fatalf("got %q, want %q", got, text)
			}
		}
		both := "campaign_failing c1 7; schedule_failed s0003 3; schedule_failed s1100 1100; "
		want(both)
		before := reads
		want(both)
		if reads != before {
			t.Error("the store is read anew within a second")
		}
		pass(time.Second)
		broken = errors.New("the store is away")
		want(both) // it is not better because nobody can look
		broken = nil
		pass(time.Second)
		delete(failing, "s0003")
		delete(failing, "s1100")
		names = slices.DeleteFunc(names, func(s string) bool { return s == "s1100" })
		campaigns = nil
		want("")
		// Where there are more than a look takes, the next look goes on, and no more than a hundred are remembered.
		names = names[:0]
		for i := range 5000 {
			names = append(names, fmt.Sprintf("s%04d", i))
		}
		fail(100)
		fail(4900)
		for range 3 {
			pass(time.Second)
			w.problems()
		}
		want("schedule_failed s0100 100; schedule_failed s4900 4900; ")
		for i := range 300 {
			fail(i)
		}
		for range 3 {
			pass(time.Second)
			w.problems()
		}
		if n := len(w.problems()); n != 100 {
			t.Errorf("%d are remembered", n)
		}
	})
}

// Errors come before warnings, each in the order of [health.Codes], the older first.
func TestTheWorstIsFirst(t *testing.T) {
	inBubble(t, func(w *world) {
		w.cfg.Dev = true
		w.cfg.Draining = func() bool { return true }
		w.cfg.StoreFailing = func() (time.Time, string, bool) { return time.UnixMilli(50), "full", true }
		w.cfg.HooksOpen = func() (time.Time, string, bool) { return time.UnixMilli(1), "away", true }
		w.cfg.Campaigns = func(context.Context, int) ([]health.Failing, error) {
			return []health.Failing{{Name: "b", Since: 9}, {Name: "a", Since: 3}}, nil
		}
	}, func(w *world) {
		var got []string
		for _, p := range w.problems() {
			got = append(got, p.Code+fmt.Sprint(p.Values["id"]))
		}
		want := []string{"store_failing<nil>", "hooks_open<nil>", "campaign_failinga", "campaign_failingb", "draining<nil>", "dev<nil>"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	})
}
