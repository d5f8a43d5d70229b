package schedule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"runtime/debug"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// A verb that is unavailable is run again after firstPause, and then after three
// times as long; it may ask to wait longer, up to maxRetryAfter.
const (
	retries       = 2
	firstPause    = time.Second
	maxRetryAfter = 10 * time.Second
)

// carryOut runs a firing's verb and notes how it went.
func (f *Feature) carryOut(ctx context.Context, r *run) {
	m := &f.metrics
	m.Running.Add(1)
	defer m.Running.Add(-1)
	m.Fired.Add(1)
	r.firing.Started = f.now()
	late := max(0, r.firing.Started-r.due)
	for {
		most := m.LateMax.Load()
		if late <= most || m.LateMax.CompareAndSwap(most, late) {
			break
		}
	}
	f.cfg.Late(float64(late) / 1000)
	ctx, cancel := context.WithTimeout(ctx, verbTimeout)
	defer cancel()
	result, err := f.call(ctx, &r.plan, r.name, id(r.name, r.firing.Planned))
	for i, pause := 0, firstPause; err != nil && i < retries && f.waitToRetry(ctx, err, pause); i++ {
		m.Retried.Add(1)
		pause *= 3
		result, err = f.call(ctx, &r.plan, r.name, id(r.name, r.firing.Planned))
	}
	r.firing.Finished = f.now()
	switch {
	case err != nil:
		m.Failed.Add(1)
		r.firing.Error = failureOf(fault.Of(err))
		f.cfg.Logger.Warn("a scheduled verb failed", "schedule", r.name, "verb", r.plan.Verb, "error", err)
	case len(result) > maxResult:
		r.firing.OK, r.firing.Omitted = true, true
	default:
		r.firing.OK, r.firing.Result = true, json.RawMessage(result)
	}
}

// waitToRetry waits before a verb that was unavailable is run again; false: it
// failed for good.
func (f *Feature) waitToRetry(ctx context.Context, err error, pause time.Duration) bool {
	e := fault.Of(err)
	if e.Code != fault.Unavailable || ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(max(pause, min(e.RetryAfter, maxRetryAfter)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// call runs the verb of a schedule once, in the schedule's own name.
func (f *Feature) call(ctx context.Context, p *plan, name, id string) (result []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			f.cfg.Logger.Error("a scheduled verb panicked", "schedule", name, "verb", p.Verb, "panic", r, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "internal error")
		}
	}()
	key := ""
	if v := f.cfg.Verbs.Find(p.Verb); v != nil && v.Keyed {
		key = keyOf(id)
	}
	result, err = f.cfg.Verbs.Run(verb.WithCaller(ctx, verb.Caller{Name: verb.SchedulePrefix + name}), p.Verb, p.Params, key)
	if err != nil && ctx.Err() == context.DeadlineExceeded && fault.Of(err).Code == fault.Internal {
		err = fault.Wrap(fault.Unavailable, err, "the verb took longer than %s", verbTimeout)
	}
	return result, err
}

// keyOf makes the id of a firing an idempotency key. One that is too long for that
// is replaced by its digest.
func keyOf(id string) string {
	if len(id) <= protocol.MaxKey {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}
