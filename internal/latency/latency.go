// Package latency counts how long things take, so that the median and the slowest
// hundredth of the last moments can be told.
//
// A [Histogram] has fixed buckets, each a sixteenth of a power of two wide: what it tells is
// at most 4 % off between 1 µs and 137 s. It takes 4 KiB, locks nothing and
// allocates nothing. It keeps nothing else and starts no goroutine.
package latency

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// The buckets: the first holds all below 2^low ns, and then each power of two has parts.
const (
	low     = 9 // 512 ns
	high    = 37
	parts   = 16
	buckets = 1 + (high-low)*parts
)

// Histogram counts durations. The zero value is ready. It may be used by many at once.
type Histogram struct {
	counts [buckets]atomic.Int64
}

// Summary is what came in a span of time. P50 and P99 are zero when Count is.
type Summary struct {
	Count    int64
	P50, P99 time.Duration
}

// Record counts a duration.
func (h *Histogram) Record(d time.Duration) { h.counts[bucket(d)].Add(1) }

// RecordN counts n things that took the same time.
func (h *Histogram) RecordN(d time.Duration, n int64) {
	if n > 0 {
		h.counts[bucket(d)].Add(n)
	}
}

// bucket is where a duration is counted: the first or last bucket for those that are too
// short or too long for the others.
func bucket(d time.Duration) int {
	if d < 1<<low {
		return 0
	}
	exponent := bits.Len64(uint64(d)) - 1
	if exponent >= high {
		return buckets - 1
	}
	part := int(d>>(exponent-4)) & (parts - 1)
	return 1 + (exponent-low)*parts + part
}

// middle is the duration that stands for a bucket.
func middle(i int) time.Duration {
	if i == 0 {
		return 1 << (low - 1)
	}
	exponent, part := low+(i-1)/parts, (i-1)%parts
	return time.Duration(1<<exponent + (2*part+1)<<(exponent-5))
}

// Take tells what came since the last call, and forgets it. What is recorded meanwhile is
// in this summary or in the next one.
func (h *Histogram) Take() Summary {
	var taken [buckets]int64
	var s Summary
	for i := range h.counts {
		if h.counts[i].Load() != 0 { // the most are empty
			taken[i] = h.counts[i].Swap(0)
			s.Count += taken[i]
		}
	}
	s.P50, s.P99 = rank(&taken, s.Count, 50), rank(&taken, s.Count, 99)
	return s
}

// rank is the duration that so many hundredths are not above.
func rank(taken *[buckets]int64, count int64, hundredths int64) time.Duration {
	// Split, so that no count is too large.
	wanted := count/100*hundredths + (count%100*hundredths+99)/100
	if wanted == 0 {
		return 0
	}
	for i, n := range taken {
		if wanted -= n; wanted <= 0 {
			return middle(i)
		}
	}
	return middle(buckets - 1)
}
