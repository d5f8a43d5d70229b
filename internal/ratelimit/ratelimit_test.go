package ratelimit_test

import (
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/ratelimit"
)

func TestBucket(t *testing.T) {
	type ask struct {
		at   time.Duration // on the bucket's clock
		want bool
	}
	tests := []struct {
		name      string
		perSecond int
		burst     int
		asks      []ask
	}{
		{"a fresh bucket is full", 1, 3, []ask{{0, true}, {0, true}, {0, true}, {0, false}}},
		{"a token comes back after its time and not before", 2, 1, []ask{{0, true}, {499 * time.Millisecond, false}, {500 * time.Millisecond, true}, {500 * time.Millisecond, false}}},
		{"a refusal costs nothing", 1, 1, []ask{{0, true}, {500 * time.Millisecond, false}, {900 * time.Millisecond, false}, {time.Second, true}}},
		{"a long rest gives no more than the burst", 10, 2, []ask{{0, true}, {time.Hour, true}, {time.Hour, true}, {time.Hour, false}}},
		{"a clock that steps back gains nothing", 1, 1, []ask{{10 * time.Second, true}, {9 * time.Second, false}, {10 * time.Second, false}, {11 * time.Second, true}}},
		{"a burst of one allows a steady pace", 1000, 1, []ask{{0, true}, {time.Millisecond, true}, {2 * time.Millisecond, true}, {2500 * time.Microsecond, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b ratelimit.Bucket
			for i, a := range tt.asks {
				if got := b.Allow(int64(a.at), tt.perSecond, tt.burst); got != a.want {
					t.Errorf("ask %d at %v: %v, want %v", i, a.at, got, a.want)
				}
			}
		})
	}
}

func TestWaitIsExact(t *testing.T) {
	var b ratelimit.Bucket
	if w := b.Wait(0, 4, 2); w != 0 {
		t.Errorf("a full bucket asks to wait %v", w)
	}
	b.Allow(0, 4, 2)
	b.Allow(0, 4, 2)
	w := b.Wait(0, 4, 2)
	if w != 250*time.Millisecond {
		t.Errorf("an empty bucket asks to wait %v, want 250ms", w)
	}
	if b.Allow(int64(w)-1, 4, 2) {
		t.Error("there was a token before the wait was over")
	}
	if !b.Allow(int64(w), 4, 2) {
		t.Error("there was no token after the wait")
	}
}

func TestABucketOverASecondGivesItsRateAndItsBurst(t *testing.T) {
	var b ratelimit.Bucket
	taken := 0
	for now := time.Duration(0); now <= time.Second; now += 100 * time.Microsecond {
		if b.Allow(int64(now), 100, 20) {
			taken++
		}
	}
	if taken != 120 {
		t.Errorf("%d tokens in a second, want 100 and a burst of 20", taken)
	}
}

func TestABucketCostsSixteenBytesAndNoGarbage(t *testing.T) {
	var b ratelimit.Bucket
	if n := unsafe.Sizeof(b); n > 16 {
		t.Errorf("%d bytes", n)
	}
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		now += int64(time.Millisecond)
		b.Allow(now, 100, 20)
		b.Wait(now, 100, 20)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever is asked and whenever: no window of time has more tokens than its
// rate and one burst, and Wait tells exactly when the next one comes.
func TestNoWindowExceedsItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.IntRange(1, 1000).Draw(t, "per second")
		burst := rapid.IntRange(1, 50).Draw(t, "burst")
		var b ratelimit.Bucket
		now := rapid.Int64Range(0, 1e15).Draw(t, "start")
		var taken []int64
		for range rapid.IntRange(1, 200).Draw(t, "asks") {
			now += rapid.Int64Range(0, int64(2*time.Second)/int64(perSecond)).Draw(t, "pause")
			wait := b.Wait(now, perSecond, burst)
			if b.Allow(now, perSecond, burst) != (wait == 0) {
				t.Fatalf("at %d Wait says %v and Allow something else", now, wait)
			}
			if wait == 0 {
				taken = append(taken, now)
				continue
			}
			if early := b; early.Allow(now+int64(wait)-1, perSecond, burst) {
				t.Fatalf("at %d a token came before %v were over", now, wait)
			}
			if late := b; !late.Allow(now+int64(wait), perSecond, burst) {
				t.Fatalf("at %d no token came after %v", now, wait)
			}
		}
		cost := int64(time.Second) / int64(perSecond)
		for i := range taken {
			for j := i; j < len(taken); j++ {
				if limit := int64(burst) + (taken[j]-taken[i])/cost; int64(j-i+1) > limit {
					t.Fatalf("%d tokens within %d ns, at most %d", j-i+1, taken[j]-taken[i], limit)
				}
			}
		}
	})
}
