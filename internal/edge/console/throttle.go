package console

import (
	"net/netip"
	"sync"
	"time"
)

// throttle slows down whoever fails in a row: so many tries are free, then a minute
// must be over since the first, and then there is one more each six seconds. A bucket
// of tokens (internal/ratelimit) would not do: it gives tokens back while one fails.
type throttle struct {
	free int

	mu    sync.Mutex // guards those below
	m     map[string]*tries
	swept time.Time // when rows that have ended were last looked for
}

type tries struct {
	failed      int
	first, last time.Time
	until       time.Time // no try before
}

const (
	throttleFor   = time.Minute
	throttleEvery = 6 * time.Second
	// forgotten is after how much quiet a row has ended.
	forgotten = 10 * time.Minute
)

func newThrottle(free int) *throttle { return &throttle{free: free, m: map[string]*tries{}} }

// begin counts a try as failed, until [throttle.succeeded] or [throttle.withdraw] says
// otherwise: so nobody has more of them by trying at once. False: it is too early,
// and nothing was counted.
func (t *throttle) begin(key string, now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.m[key]
	if e != nil && now.Before(e.until) {
		return e.until.Sub(now), false
	}
	if e == nil || now.Sub(e.last) >= forgotten {
		if e == nil {
			t.makeRoomLocked(now)
		}
		e = &tries{first: now}
		t.m[key] = e
	}
	e.failed++
	e.last = now
	if e.failed >= t.free {
		e.until = now.Add(throttleEvery)
		if end := e.first.Add(throttleFor); e.failed == t.free && end.After(e.until) {
			e.until = end
		}
	}
	return 0, true
}

// makeRoomLocked keeps the table bounded: the rows that have ended go, and if there are
// none, one of those that were quiet the longest.
func (t *throttle) makeRoomLocked(now time.Time) {
	if len(t.m) < maxThrottled {
		return
	}
	if now.Sub(t.swept) >= throttleFor {
		t.swept = now
		for key, e := range t.m {
			if now.Sub(e.last) >= forgotten {
				delete(t.m, key)
			}
		}
	}
	for len(t.m) >= maxThrottled {
		oldest, looked := "", 0
		for key, e := range t.m {
			if oldest == "" || e.last.Before(t.m[oldest].last) {
				oldest = key
			}
			if looked++; looked == 64 {
				break
			}
		}
		delete(t.m, oldest)
	}
}

// succeeded ends a row.
func (t *throttle) succeeded(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, key)
}

// withdraw takes a try back that was none, or was a good one, and leaves the row.
func (t *throttle) withdraw(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.m[key]
	if e == nil {
		return
	}
	// It was let in, so the time before which there is no try was over.
	e.until = time.Time{}
	if e.failed--; e.failed <= 0 {
		delete(t.m, key)
	}
}

// addressKey is what counts as one address: of IPv6 the part that a customer gets.
func addressKey(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
