package ratelimit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/ratelimit"
)

func TestRatesAreReadFromText(t *testing.T) {
	tests := []struct {
		text string
		want ratelimit.Rate
		back string // the text that it gives; "": the same
	}{
		{"20/s", ratelimit.Rate{PerSecond: 20, Burst: 20}, ""},
		{"600/m", ratelimit.Rate{PerSecond: 10, Burst: 600}, "10/s burst 600"},
		{"90/m", ratelimit.Rate{PerSecond: 1.5, Burst: 90}, ""},
		{"5/m", ratelimit.Rate{PerSecond: 5.0 / 60, Burst: 5}, ""},
		{"1/h", ratelimit.Rate{PerSecond: 1.0 / 3600, Burst: 1}, ""},
		{"7/h burst 2", ratelimit.Rate{PerSecond: 7.0 / 3600, Burst: 2}, ""},
		{"20/s burst 40", ratelimit.Rate{PerSecond: 20, Burst: 40}, ""},
		{" 20/s   burst 20 ", ratelimit.Rate{PerSecond: 20, Burst: 20}, "20/s"},
		{"0.5/s", ratelimit.Rate{PerSecond: 0.5, Burst: 1}, "30/m burst 1"},
		{"1000000/s", ratelimit.Rate{PerSecond: 1e6, Burst: 1e6}, ""},
		{"none", ratelimit.Rate{}, ""},
		{"", ratelimit.Rate{}, "none"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := ratelimit.ParseRate(tt.text)
			if err != nil || got != tt.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, tt.want)
			}
			if tt.back == "" {
				tt.back = tt.text
			}
			if got.String() != tt.back {
				t.Errorf("it gives %q, want %q", got.String(), tt.back)
			}
		})
	}
}

func TestWhatIsNoRateIsRefusedWithAReason(t *testing.T) {
	for text, want := range map[string]string{
		"20":                  "is not a rate such as",
		"20/s burst":          "is not a rate such as",
		"20/s bust 3":         "is not a rate such as",
		"20/s burst 3 please": "is not a rate such as",
		"x/s":                 `"x" is not a number above zero`,
		"0/s":                 `"0" is not a number above zero; for no limit write "none"`,
		"-1/s":                "is not a number above zero",
		"NaN/s":               "is not a number above zero",
		"Inf/s":               "is not a number above zero",
		"20/d":                `"d" is not one of s, m, h`,
		"20/":                 `"" is not one of s, m, h`,
		"20/s burst x":        `the burst "x" is not a whole number`,
		"20/s burst 0":        `the burst "0" is not a whole number`,
		"20/s burst 1.5":      `the burst "1.5" is not a whole number`,
		"20/s burst 1000001":  "a burst of 1000001 is not between 1 and 1000000",
		"2000000/s":           "is not between one an hour and 1000000 a second",
		"0.5/h":               "is not between one an hour and 1000000 a second",
		"3600000/h":           "a burst of",
	} {
		var r ratelimit.Rate
		err := json.Unmarshal([]byte(fmt.Sprintf("%q", text)), &r)
		if err == nil || !strings.Contains(err.Error(), want) || r != (ratelimit.Rate{}) {
			t.Errorf("%q gave %+v, %v, want %s", text, r, err, want)
		}
	}
	for _, r := range []ratelimit.Rate{{PerSecond: -1}, {Burst: 3}, {PerSecond: 1, Burst: -1}} {
		if r.Validate() == nil {
			t.Errorf("%+v is said to be good", r)
		}
	}
}

// What a rate gives as text is the same rate.
func TestTheTextOfARateIsThatRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.SampledFrom([]float64{1, 60, 3600}).Draw(t, "unit")
		r := ratelimit.Rate{PerSecond: float64(rapid.IntRange(1, 1e6).Draw(t, "count")) / seconds, Burst: rapid.IntRange(1, 1e6).Draw(t, "burst")}
		back, err := ratelimit.ParseRate(r.String())
		if err != nil || back.Burst != r.Burst || back.PerSecond/r.PerSecond < 0.999999 || back.PerSecond/r.PerSecond > 1.000001 {
			t.Fatalf("%+v gave %q, which is %+v, %v", r, r.String(), back, err)
		}
	})
}

func TestATableKeepsItsKeysApart(t *testing.T) {
	table := ratelimit.NewTable[string](ratelimit.Rate{PerSecond: 2, Burst: 2})
	for _, step := range []struct {
		key  string
		at   time.Duration
		ok   bool
		wait time.Duration
	}{
		{"ann", 0, true, 0}, {"ann", 0, true, 0}, {"ann", 0, false, 500 * time.Millisecond},
		{"bob", 0, true, 0},
		{"ann", 400 * time.Millisecond, false, 100 * time.Millisecond},
		{"ann", 500 * time.Millisecond, true, 0}, {"ann", 500 * time.Millisecond, false, 500 * time.Millisecond},
	} {
		if wait, ok := table.Allow(int64(step.at), step.key); ok != step.ok || wait != step.wait {
			t.Errorf("%s at %v: %v, %v, want %v, %v", step.key, step.at, wait, ok, step.wait, step.ok)
		}
	}
}

func TestNoTableAllowsEverything(t *testing.T) {
	table := ratelimit.NewTable[string](ratelimit.Rate{})
	if wait, ok := table.Allow(0, "ann"); table != nil || !ok || wait != 0 || table.Len() != 0 {
		t.Error("a table without a limit refuses")
	}
}

func TestWhoIsQuietCostsNothing(t *testing.T) {
	table := ratelimit.NewTable[int](ratelimit.Rate{PerSecond: 10, Burst: 20})
	const users = 20_000
	for i := range users {
		table.Allow(0, i)
	}
	if n := table.Len(); n != users {
		t.Fatalf("%d buckets for %d users", n, users)
	}
	// Others go on; after the time that a bucket takes to fill the quiet have none.
	for i := range 1000 {
		table.Allow(int64(3*time.Second), users+i)
	}
	if n := table.Len(); n != 1000 {
		t.Errorf("%d buckets are left for 1000 users", n)
	}
}

func TestABucketThatIsNotFullIsKept(t *testing.T) {
	table := ratelimit.NewTable[int](ratelimit.Rate{PerSecond: 1, Burst: 100})
	for range 100 {
		table.Allow(0, 0)
	}
	for i := range 10_000 {
		table.Allow(int64(61*time.Second), i%5000+1)
	}
	taken := 0
	for range 100 {
		if _, ok := table.Allow(int64(61*time.Second), 0); ok {
			taken++
		}
	}
	if taken != 61 {
		t.Errorf("%d tokens after 61 seconds, want 61", taken)
	}
}

func TestATableIsUsedByMany(t *testing.T) {
	table := ratelimit.NewTable[string](ratelimit.Rate{PerSecond: 1, Burst: 500})
	var allowed sync.Map
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			n := 0
			for range 100 {
				if _, ok := table.Allow(0, "ann"); ok {
					n++
				}
			}
			allowed.Store(new(int), n)
		})
	}
	wait.Wait()
	sum := 0
	allowed.Range(func(_, n any) bool { sum += n.(int); return true })
	if sum != 500 {
		t.Errorf("%d of 1600 were allowed, want 500", sum)
	}
}

func BenchmarkTable(b *testing.B) {
	table := ratelimit.NewTable[string](ratelimit.Rate{PerSecond: 1e6, Burst: 1e6})
	now := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		now += 1000
		table.Allow(now, "a user")
	}
}
