package push

import (
	"context"
	"sync"
	"time"

	"github.com/skein-realtime/skein/store"
)

// Escalations.
const (
	escalateEvery = time.Second
	escalateCalls = 8  // at once
	escalateLimit = 64 // that are looked up at once
	escalateLease = time.Minute
	escalateFirst = 10 * time.Second
	escalateLast  = 10 * time.Minute
)

// escalate tells the application of what nobody has acknowledged in time.
func (p *Pushes) escalate() {
	for p.rest(escalateEvery) {
		for p.ctx.Err() == nil {
			ctx, cancel := context.WithTimeout(p.ctx, storeTime)
			list, err := p.store.DueEscalations(ctx, p.nowMilli(), escalateLimit)
			cancel()
			if err != nil {
				p.failed("look for messages that nobody has acknowledged", err)
				break
			}
			if !p.escalateAll(list) || len(list) < escalateLimit {
				break
			}
		}
	}
}

// escalateAll tells of some messages. False: it could not be noted, so that it is
// better to wait.
func (p *Pushes) escalateAll(list []store.Escalation) bool {
	places := make(chan struct{}, escalateCalls)
	var work sync.WaitGroup
	var mu sync.Mutex
	noted := true
	for i := range list {
		select {
		case places <- struct{}{}:
		case <-p.ctx.Done():
			work.Wait()
			return false
		}
		work.Go(func() {
			defer func() { <-places }()
			if !p.escalateOne(&list[i]) {
				mu.Lock()
				noted = false
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return noted
}

// escalateOne tells of one message, and notes it. False: it could not be noted.
func (p *Pushes) escalateOne(e *store.Escalation) bool {
	if p.store.Shared() {
		// So that another process does not tell of it at the same time.
		if _, ok := do[store.EscalationNoted](p, "note what is told", store.Escalated{N: e.N, Seq: e.Item.Seq, Next: p.nowMilli() + escalateLease.Milliseconds()}); !ok {
			return false
		}
	}
	next := int64(0)
	if err := p.cfg.Escalate(p.ctx, *e); err != nil {
		if p.ctx.Err() != nil {
			return false
		}
		p.metrics.EscalateFailures.Add(1)
		now := p.nowMilli()
		next = now + escalateAfter(now-e.Item.Queued-e.Item.Escalate).Milliseconds()
		p.cfg.Logger.Warn("the application could not be told of a message that nobody has acknowledged", "message", e.Item.ID, "user", e.User, "error", err)
	} else {
		p.metrics.Escalated.Add(1)
	}
	_, ok := do[store.EscalationNoted](p, "note what was told", store.Escalated{N: e.N, Seq: e.Item.Seq, Next: next})
	return ok
}

// escalateAfter is how long to wait after a failure, by how long it is since the first
// time (milliseconds): so that the waits double, whichever process does it.
func escalateAfter(since int64) time.Duration {
	return min(max(time.Duration(since)*time.Millisecond, 0)+escalateFirst, escalateLast)
}
