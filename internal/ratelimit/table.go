package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	stripes = 64
	// smallest is how often a bucket that is full again is looked for at the most,
	// longest at the least.
	smallest = int64(time.Second)
	longest  = int64(time.Minute)
)

// Table has a bucket of one rate for each key. Who has been quiet for as long as
// a bucket takes to fill has none: it is dropped when others of its part of the
// table are asked for. Its methods may be called at the same time.
type Table[K comparable] struct {
	cost  int64
	burst int
	seed  maphash.Seed
	parts [stripes]part[K]
}

type part[K comparable] struct {
	mu    sync.Mutex // guards all below
	m     map[K]*Bucket
	sweep int64 // when to look for buckets that are full again
	peak  int   // how many there were since the map was made
}

// NewTable makes a table; nil, which allows everything, when the rate is no limit.
func NewTable[K comparable](r Rate) *Table[K] {
	if r.IsZero() {
		return nil
	}
	return &Table[K]{cost: r.cost(), burst: r.burst(), seed: maphash.MakeSeed()}
}

// Allow takes a token of key if there is one; otherwise it tells how long it
// takes until there is. now is a monotonic clock in nanoseconds.
func (t *Table[K]) Allow(now int64, key K) (wait time.Duration, ok bool) {
	if t == nil {
		return 0, true
	}
	p := &t.parts[maphash.Comparable(t.seed, key)%stripes]
	p.mu.Lock()
	defer p.mu.Unlock()
	if now >= p.sweep {
		t.sweepLocked(p, now)
	}
	b := p.m[key]
	if b == nil {
		if p.m == nil {
			p.m = map[K]*Bucket{}
		}
		b = new(Bucket)
		p.m[key] = b
		p.peak = max(p.peak, len(p.m))
	}
	if b.allow(now, t.cost, t.burst) {
		return 0, true
	}
	return b.wait(now, t.cost, t.burst), false
}

// Len is how many keys have a bucket.
func (t *Table[K]) Len() (n int) {
	if t == nil {
		return 0
	}
	for i := range t.parts {
		p := &t.parts[i]
		p.mu.Lock()
		n += len(p.m)
		p.mu.Unlock()
	}
	return n
}

// sweepLocked drops the buckets that are full again.
func (t *Table[K]) sweepLocked(p *part[K], now int64) {
	p.sweep = now + min(max(t.cost*int64(t.burst), smallest), longest)
	for key, b := range p.m {
		if b.settle(now); b.spent == 0 {
			delete(p.m, key)
		}
	}
	if len(p.m) < p.peak/4 { // a map gives no memory back by itself
		m := make(map[K]*Bucket, len(p.m))
		for key, b := range p.m {
			m[key] = b
		}
		p.m, p.peak = m, len(m)
	}
}
