package campaign

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// The pace of the engine, in milliseconds where it is compared with the clock.
const (
	lease       = 30_000 // of a claim
	renewEvery  = 10_000
	lookEvery   = 2_000 // how often a shared store is asked what others have changed
	maxSleep    = 10_000
	tryAgain    = 1_000       // after the store failed
	sweepEvery  = 60 * 60_000 // how often campaigns that ended long ago are looked for
	maxHeld     = 64          // campaigns of a node
	maxWriters  = 2           // of them that write at the same time
	maxTakeBack = 1000        // claims of a process that has died that are ended at the start
	storeTime   = 5 * time.Second
	closeGrace  = 5 * time.Second
)

// engine carries campaigns out. Its loop alone claims.
type engine struct {
	f       *Feature
	store   Store
	shared  bool
	work    sync.WaitGroup
	wake    chan struct{} // has a value when the loop has something to look at
	writers chan struct{} // a value for each run that writes
	ctx     context.Context
	cancel  context.CancelFunc // ends what the runs read and write
	ending  chan struct{}      // closed when no more steps are to begin
	once    sync.Once
	own     atomic.Int64 // commands of campaigns that the store has carried out

	// Of the loop alone.
	again int64 // not to be claimed before: the store failed
	swept int64 // when the old ones were last looked for

	mu      sync.Mutex // guards all below
	runs    map[string]*run
	waiters map[string][]*waiter
	query   int64 // when to ask the store what is due
}

// waiter waits for a run of a campaign to end here.
type waiter struct{ ended chan struct{} }

func newEngine(f *Feature, st Store, shared bool) *engine {
	e := &engine{
		f: f, store: st, shared: shared, wake: make(chan struct{}, 1), writers: make(chan struct{}, maxWriters),
		ending: make(chan struct{}), runs: map[string]*run{}, waiters: map[string][]*waiter{}, swept: f.now(),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// changed says that a verb has changed a campaign, which is due then; 0: never.
func (e *engine) changed(id string, next int64) {
	e.mu.Lock()
	if r := e.runs[id]; r != nil {
		r.poke()
	}
	if next > 0 {
		e.query = min(e.query, next)
	}
	e.mu.Unlock()
	e.poke()
}

func (e *engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// expect gives something that tells when a run of the campaign has ended here.
func (e *engine) expect(id string) *waiter {
	w := &waiter{make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiters[id] = append(e.waiters[id], w)
	return w
}

func (e *engine) forgetWaiter(id string, w *waiter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.waiters[id]
	for i, other := range list {
		if other == w {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(e.waiters, id)
		return
	}
	e.waiters[id] = list
}

// trouble is why a campaign that runs here does not get on; "": it does.
func (e *engine) trouble(id string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runs[id]; r != nil {
		return r.trouble
	}
	return ""
}

// close ends the loop and waits for everything.
func (e *engine) close() {
	e.once.Do(func() { close(e.ending) })
	hurry := time.AfterFunc(closeGrace, e.cancel)
	e.work.Wait()
	hurry.Stop()
	e.cancel()
}

func (e *engine) isEnding() bool {
	select {
	case <-e.ending:
		return true
	default:
		return false
	}
}

// loop claims what is due until the engine is closed.
func (e *engine) loop() {
	if !e.shared {
		e.takeBack()
	}
	for {
		e.claim()
		e.sweep()
		timer := time.NewTimer(e.sleep())
		select {
		case <-timer.C:
		case <-e.wake:
		case <-e.ending:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// takeBack ends the claims of a process that has died, where the store belongs to
// this one alone: there is nobody to wait for. Beyond the first ones that are due, a
// claim ends by itself.
func (e *engine) takeBack() {
	ctx, cancel := context.WithTimeout(e.ctx, storeTime)
	defer cancel()
	due, err := e.store.DueCampaigns(ctx, maxTakeBack)
	if err != nil {
		e.failed("campaigns that are due cannot be read", err)
		return
	}
	for _, d := range due {
		c, err := e.store.Campaign(ctx, d.Name)
		if err != nil || c.Owner == "" {
			continue
		}
		// Who changes it at this moment ends the claim as well.
		if _, err := e.store.Do(ctx, store.PutCampaign{Campaign: c, If: c.Version}); err != nil && !errors.Is(err, store.ErrConflict) {
			e.failed("a claim cannot be taken back", err)
			return
		}
	}
}

// sleep tells how long there is nothing to do.
func (e *engine) sleep() time.Duration {
	now := e.f.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	at := now + maxSleep
	if e.shared {
		at = now + lookEvery
	}
	if len(e.runs) < maxHeld { // otherwise the next run that ends wakes the loop
		at = min(at, e.query)
	}
	at = max(at, min(e.again, now+tryAgain))
	return time.Duration(max(0, at-now)) * time.Millisecond
}

// claim takes what is due.
func (e *engine) claim() {
	now := e.f.now()
	e.mu.Lock()
	room := maxHeld - len(e.runs)
	wanted := e.shared || e.query <= now
	e.mu.Unlock()
	if !wanted || now < e.again || room <= 0 || e.isEnding() {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, storeTime)
	defer cancel()
	if err := e.claimDue(ctx, now, room); err != nil && e.ctx.Err() == nil {
		e.ask(now)
		e.failed("campaigns that are due cannot be claimed", err)
	}
}

// ask says when the store is to be asked what is due.
func (e *engine) ask(at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.query = min(e.query, at)
}

func (e *engine) claimDue(ctx context.Context, now int64, room int) error {
	e.mu.Lock()
	e.query = now + maxSleep // whoever stores something from now on brings it forward again
	e.mu.Unlock()
	due, err := e.store.DueCampaigns(ctx, 2*maxHeld)
	if err != nil {
		return err
	}
	for _, d := range due {
		if d.At > now || room == 0 {
			e.ask(max(now, d.At))
			return nil
		}
		e.mu.Lock()
		mine := e.runs[d.Name] != nil
		e.mu.Unlock()
		if mine {
			continue // it renews its claim, or sees that it has lost it, by itself
		}
		results, err := e.store.Do(ctx, store.ClaimCampaign{ID: d.Name, Owner: e.f.cfg.Node, Now: now, Until: now + lease})
		if err != nil {
			return err
		}
		if c := results[0].(store.CampaignClaimed); c.OK {
			e.adopt(c.Campaign)
			room--
		}
	}
	return nil
}

// adopt works on a campaign that was claimed.
func (e *engine) adopt(c store.Campaign) {
	r, err := decode(c)
	if err != nil {
		// The claim stays until its end, so this is not tried all the time.
		e.f.cfg.Logger.Error("a campaign cannot be read", "campaign", c.ID, "error", err)
		return
	}
	w := newRun(e, r)
	e.mu.Lock()
	e.runs[c.ID] = w
	e.mu.Unlock()
	e.f.metrics.Held.Add(1)
	e.work.Go(func() {
		w.carryOut(e.ctx)
		e.mu.Lock()
		delete(e.runs, c.ID)
		waiters := e.waiters[c.ID]
		delete(e.waiters, c.ID)
		e.query = 0 // it may be due again, and there is room for others
		e.mu.Unlock()
		e.f.metrics.Held.Add(-1)
		for _, waiter := range waiters {
			close(waiter.ended)
		}
		e.poke()
	})
}

// sweep deletes campaigns that ended so long ago that their records are gone.
func (e *engine) sweep() {
	now := e.f.now()
	if now < e.swept+sweepEvery || now < e.again || e.isEnding() {
		return
	}
	e.swept = now
	ctx, cancel := context.WithTimeout(e.ctx, storeTime)
	defer cancel()
	if err := e.sweepBefore(ctx, now-e.f.settings().Records.Milliseconds(), now); err != nil && e.ctx.Err() == nil {
		e.failed("campaigns that ended long ago cannot be deleted", err)
	}
}

// sweepPage is how many campaigns are looked at at once.
const sweepPage = 100

func (e *engine) sweepBefore(ctx context.Context, ended, now int64) error {
	if ended <= 0 {
		return nil
	}
	for _, state := range []string{done, cancelled} {
		// Ids begin with the time of their making, so those are old that come before.
		before := id.Message(time.UnixMilli(ended))[:10]
		for more := true; more; {
			list, err := e.store.Campaigns(ctx, state, before, sweepPage)
			if err != nil {
				return err
			}
			for _, c := range list {
				before = c.ID
				r, err := decode(c)
				if err != nil || r.notes.Ended > ended || r.next != 0 {
					continue
				}
				r.state, r.next = deleting, now
				put, err := r.put()
				if err != nil {
					return err
				}
				if _, err := e.store.Do(ctx, put); err != nil && !errors.Is(err, store.ErrConflict) {
					return err
				}
				e.ask(now)
			}
			more = len(list) == sweepPage
		}
	}
	e.poke()
	return nil
}

// failed says that the store does not work, and waits before the next try.
func (e *engine) failed(what string, err error) {
	e.f.metrics.Failures.Add(1)
	e.again = e.f.now() + tryAgain
	e.f.cfg.Logger.Warn(what, "error", err)
}
