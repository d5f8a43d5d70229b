package latency_test

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/latency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quantile is the nearest rank in a sorted list.
func quantile(sorted []time.Duration, p int) time.Duration {
	return sorted[(len(sorted)*p+99)/100-1]
}

// near tells whether got is at most 5 % off; below a microsecond everything is the same.
func near(got, want time.Duration) bool {
	if want < time.Microsecond {
		return got <= 1100*time.Nanosecond
	}
	return math.Abs(float64(got-want)) <= 0.05*float64(want)
}

// What is told is what a sorted list of all that was recorded tells.
func TestAgainstASortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h latency.Histogram
		for range rapid.IntRange(1, 4).Draw(rt, "spans") {
			var all []time.Duration
			for range rapid.IntRange(0, 300).Draw(rt, "durations") {
				// As many of each order of magnitude.
				d := time.Duration(math.Exp(rapid.Float64Range(0, math.Log(100e9)).Draw(rt, "log")))
				n := rapid.IntRange(0, 3).Draw(rt, "times")
				switch n {
				case 1:
					h.Record(d)
				default:
					h.RecordN(d, int64(n))
				}
				for range n {
					all = append(all, d)
				}
			}
			slices.Sort(all)
			got := h.Take()
			if got.Count != int64(len(all)) {
				rt.Fatalf("%d were counted of %d", got.Count, len(all))
			}
			if len(all) == 0 {
				if got != (latency.Summary{}) {
					rt.Fatalf("nothing came, and it tells %+v", got)
				}
				continue
			}
			if want := quantile(all, 50); !near(got.P50, want) {
				rt.Fatalf("the median is %v, not %v", got.P50, want)
			}
			if want := quantile(all, 99); !near(got.P99, want) {
				rt.Fatalf("p99 is %v, not %v", got.P99, want)
			}
		}
	})
}

func TestTheEnds(t *testing.T) {
	var h latency.Histogram
	for _, tt := range []struct{ d, least, most time.Duration }{
		{-time.Second, 0, time.Microsecond}, {0, 0, time.Microsecond}, {511, 0, time.Microsecond},
		{math.MaxInt64, 100 * time.Second, 150 * time.Second}, {time.Hour, 100 * time.Second, 150 * time.Second},
		{100 * time.Second, 95 * time.Second, 105 * time.Second}, {time.Microsecond, 950, 1050},
	} {
		h.Record(tt.d)
		if got := h.Take(); got.Count != 1 || got.P50 < tt.least || got.P50 > tt.most || got.P99 != got.P50 {
			t.Errorf("%v is told as %+v", tt.d, got)
		}
	}
	h.RecordN(time.Second, math.MaxInt64/2)
	if got := h.Take(); got.Count != math.MaxInt64/2 || !near(got.P99, time.Second) {
		t.Errorf("very many are told as %+v", got)
	}
}

// While others record, each thing is told once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	const writers, each = 4, 20_000
	var h latency.Histogram
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := range each {
				h.Record(time.Duration(w*each+i) * time.Microsecond)
			}
		})
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	total := int64(0)
	for taking := true; taking; {
		select {
		case <-done:
			taking = false
		default:
		}
		total += h.Take().Count
	}
	if total != writers*each {
		t.Errorf("%d were told of %d", total, writers*each)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	var h latency.Histogram
	if n := testing.AllocsPerRun(100, func() {
		h.Record(time.Millisecond)
		h.RecordN(time.Second, 3)
		h.Take()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	var h latency.Histogram
	d := time.Duration(1)
	for b.Loop() {
		h.Record(d)
		d = d*5 + 1
		if d < 0 || d > time.Minute {
			d = 1
		}
	}
}

func BenchmarkTake(b *testing.B) {
	var h latency.Histogram
	b.ReportAllocs()
	for b.Loop() {
		h.Record(time.Millisecond)
		h.Take()
	}
}
