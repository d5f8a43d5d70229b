// Package ratelimit is a token bucket that costs 16 bytes: no goroutine, no
// timer, no lock. Whoever owns a [Bucket] brings the lock and the clock.
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
	b.settle(now)
	cost := int64(time.Second) / int64(perSecond)
	if b.spent+cost > cost*int64(burst) {
		return false
	}
	b.spent += cost
	return true
}

// Wait tells how long it takes until Allow has a token; zero: it has one now.
func (b *Bucket) Wait(now int64, perSecond, burst int) time.Duration {
	b.settle(now)
	cost := int64(time.Second) / int64(perSecond)
	return time.Duration(max(0, b.spent+cost-cost*int64(burst)))
}
