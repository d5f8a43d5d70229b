// Package ratelimit is a token bucket that costs 16 bytes: no goroutine, no
// timer, no lock. Whoever owns a [Bucket] brings the lock and the clock. A [Table]
// has buckets by name, with locks, and none for who has been quiet; a [Rate] is
// how fast one may go, and can be read from text.
//
// Everything is in memory, and nothing starts a goroutine.
package ratelimit

import "time"

// Bucket holds up to a burst of tokens and gains some each second. The zero
// value is a full bucket.
type Bucket struct {
	spent  int64 // nanoseconds' worth of tokens that are missing
	before int64 // when spent was last brought up to date
}

// settle lets the bucket gain what the time has brought.
func (b *Bucket) settle(now int64) {
	if passed := now - b.before; passed > 0 {
		b.spent = max(0, b.spent-passed)
		b.before = now
	}
}

// Allow takes a token if there is one. now is a monotonic clock in nanoseconds;
// perSecond and burst are at least 1.
func (b *Bucket) Allow(now int64, perSecond, burst int) bool {
	return b.allow(now, int64(time.Second)/int64(perSecond), burst)
}

// Wait tells how long it takes until Allow has a token; zero: it has one now.
func (b *Bucket) Wait(now int64, perSecond, burst int) time.Duration {
	return b.wait(now, int64(time.Second)/int64(perSecond), burst)
}

// allow takes a token, which comes back after cost nanoseconds.
func (b *Bucket) allow(now, cost int64, burst int) bool {
	b.settle(now)
	if b.spent+cost > cost*int64(burst) {
		return false
	}
	b.spent += cost
	return true
}

func (b *Bucket) wait(now, cost int64, burst int) time.Duration {
	b.settle(now)
	return time.Duration(max(0, b.spent+cost-cost*int64(burst)))
}
