package campaign

import (
	"context"
	"time"

	"github.com/skein-realtime/skein/internal/ratelimit"
)

// pacer lets so many users a second through. The zero value lets all.
type pacer struct {
	perSecond int
	bucket    ratelimit.Bucket
	begun     time.Time
}

func newPacer(perSecond int) *pacer { return &pacer{perSecond: perSecond, begun: time.Now()} }

// most is how many users a step may have: a tenth of a second's worth, so that a pace
// is steady.
func (p *pacer) most() int {
	if p.perSecond == 0 {
		return maxStep
	}
	return min(maxStep, max(1, p.perSecond/10))
}

// take waits until n users, at most as many as most says, may be pushed to. It is false
// when ctx or one of the others ended it before.
func (p *pacer) take(ctx context.Context, n int, ending, poked <-chan struct{}) bool {
	if p.perSecond == 0 {
		return true
	}
	burst := max(1, p.perSecond/10)
	for n > 0 {
		now := int64(time.Since(p.begun))
		if p.bucket.Allow(now, p.perSecond, burst) {
			n--
			continue
		}
		// One token comes after the wait, the others each after their time.
		wait := p.bucket.Wait(now, p.perSecond, burst) + time.Duration(n-1)*(time.Second/time.Duration(p.perSecond))
		if !sleep(ctx, wait, ending, poked) {
			return false
		}
	}
	return true
}

// sleep is false when it was cut short.
func sleep(ctx context.Context, d time.Duration, ending, poked <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ending:
	case <-poked:
	case <-ctx.Done():
	}
	return false
}

// The size of steps, in users, and how long one may take. Where one process writes to the
// store, a step is what a message that comes now waits for behind it; the store takes one at
// a time, so steps need not be long. Where a database is shared, each step has the way to
// it and back, so long ones pay.
const (
	firstStep = 100
	maxStep   = 1000

	aloneHigh = 250 // of a store of one process
	aloneLow  = 100 // of it, when nobody else is about
	aloneBusy = 25  // of it, when somebody is
	least     = 50

	busyAlone  = time.Millisecond
	busyShared = 3 * time.Millisecond
	idleTime   = 20 * time.Millisecond
)

// sizer finds the size of steps from what they take.
type sizer struct {
	shared bool
	size   int
}

func newSizer(shared bool) *sizer { return &sizer{shared: shared, size: firstStep} }

// For each part of the time that a step takes, others have so many. Where one process writes
// they wait for it, and seldom means that few of them do.
const (
	restAlone  = 5
	restShared = 2
)

// rest is how long the store is left to others after a step that took so long.
func (s *sizer) rest(took time.Duration) time.Duration {
	parts := time.Duration(restAlone)
	if s.shared {
		parts = restShared
	}
	return parts * min(took, idleTime/2)
}

// note tells that a step of n users took so long, and whether others used the store
// meanwhile. A step that was small because there were no more tells nothing.
func (s *sizer) note(n int, took time.Duration, busy bool) {
	budget, low, high := idleTime, aloneLow, aloneHigh
	switch {
	case s.shared && busy:
		budget, low, high = busyShared, least, maxStep
	case s.shared:
		low, high = least, maxStep
	case busy:
		budget, low = busyAlone, aloneBusy
	}
	switch {
	case took > budget:
		s.size = max(low, min(s.size, n)*3/4)
	case n >= s.size && took < budget*3/4:
		s.size += s.size/4 + 1
	}
	s.size = min(max(s.size, low), high)
}
