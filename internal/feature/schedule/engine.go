package schedule

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/store"
)

// The pace of the engine, in milliseconds where it is compared with the clock.
const (
	lease        = 30_000          // of a claim
	renewBefore  = 10_000          // its end
	keepWithin   = 60_000          // a schedule that is due so soon is held on to
	keepOccupied = 10 * keepWithin // the same on a shared store, of one whose channel has subscribers here
	vacantFor    = 7_000           // how long a node of several leaves a planned time to those with subscribers
	vacantPause  = 8_000           // and a schedule
	vacantNext   = 5_000           // how soon it looks again when none of them had any
	lookEvery    = 2_000           // how often a shared store is asked what others have changed
	tryAgain     = 1_000           // after the store failed
	maxSleep     = 10_000          // so that a clock that was set is noticed
	farAway      = 60 * 60_000

	maxClaims   = 64   // claimed at once
	maxGroup    = 256  // states written at once
	maxTakeBack = 1000 // claims of a process that has died that are ended at the start
	maxLooks    = 256  // held schedules that are compared with a shared store at once
	storeTime   = 5 * time.Second
	closeGrace  = 5 * time.Second
	verbTimeout = time.Minute
	workers     = 16
)

// engine runs what is due. Its loop alone claims and writes.
type engine struct {
	f      *Feature
	store  Store
	shared bool
	work   sync.WaitGroup
	wake   chan struct{} // has a value when the loop has something to look at
	runs   context.Context
	cancel context.CancelFunc // ends the verbs that run
	ending chan struct{}      // closed when no more runs are to begin
	once   sync.Once
	crash  atomic.Bool // leave everything as it is

	// Of the loop alone.
	again   int64    // not to be written before: the store failed
	looked  int64    // when the held schedules were last compared
	compare []string // held schedules that are still to be compared
	active  int      // runs that have begun
	ready   []*run   // those that wait for a worker, in order
	vacant  map[string]vacancy

	mu     sync.Mutex // guards all below
	held   map[string]*hold
	order  holds                    // by when to look at them
	unsaid []*hold                  // that are to be written
	going  map[string]*run          // by name: what runs, or waits for a worker
	ended  []*run                   // whose end the loop has not seen
	frozen map[string]chan struct{} // being changed; closed when that is over
	query  int64                    // when to ask the store what is due
}

// vacancy is a schedule that is left to other nodes for a moment.
type vacancy struct {
	channel string
	until   int64
}

func newEngine(f *Feature, st Store, shared bool) *engine {
	e := &engine{
		f: f, store: st, shared: shared, wake: make(chan struct{}, 1), ending: make(chan struct{}),
		vacant: map[string]vacancy{}, held: map[string]*hold{}, going: map[string]*run{}, frozen: map[string]chan struct{}{},
	}
	e.runs, e.cancel = context.WithCancel(context.Background())
	return e
}

func (e *engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// expect says that something was stored that is due then; 0: nothing was.
func (e *engine) expect(at int64) {
	if at > 0 && e.ask(at) {
		e.poke()
	}
}

// ask says when the store is to be asked what is due; true: sooner than before.
func (e *engine) ask(at int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	sooner := at < e.query
	e.query = min(e.query, at)
	return sooner
}

// close ends the loop and waits for everything.
func (e *engine) close(orderly bool) {
	e.once.Do(func() {
		e.crash.Store(!orderly)
		close(e.ending)
	})
	e.work.Wait()
}

// loop runs until the engine is closed.
func (e *engine) loop() {
	if !e.shared {
		e.takeBack()
	}
	for {
		e.turn()
		timer := time.NewTimer(e.sleep())
		select {
		case <-timer.C:
		case <-e.wake:
		case <-e.ending:
			timer.Stop()
			e.finish()
			return
		}
		timer.Stop()
	}
}

// takeBack ends the claims of a process that has died, where the store belongs to
// this one alone: there is nobody to wait for. Beyond the first ones that are due,
// a claim ends by itself.
func (e *engine) takeBack() {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	due, err := e.store.Due(ctx, maxTakeBack)
	if err != nil {
		e.failed("schedules that are due cannot be read", err)
		return
	}
	soon := e.f.now() + lease
	for _, d := range due {
		if d.At > soon {
			return
		}
		s, err := e.store.Schedule(ctx, d.Name)
		if err != nil || s.Owner == "" {
			continue
		}
		// Who changes it at this moment ends the claim as well.
		if _, err := e.store.Do(ctx, store.PutSchedule{Schedule: s, If: &s.Version}); err != nil && !errors.Is(err, store.ErrConflict) {
			e.failed("a claim cannot be taken back", err)
			return
		}
	}
}

// turn does what there is to do now.
func (e *engine) turn() {
	e.takeEnded()
	e.look()
	e.write()
	e.look() // those whose claim had run out and was renewed
	if e.shared {
		e.notice()
	}
	e.claim()
	e.write() // what was claimed and is not to run
}

// sleep tells how long there is nothing to do.
func (e *engine) sleep() time.Duration {
	now := e.f.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	at := now + maxSleep
	if len(e.ready) < maxClaims { // otherwise the next run that ends wakes the loop
		at = min(at, e.query)
	}
	if e.shared {
		at = min(at, e.looked+lookEvery)
	}
	if len(e.unsaid) > 0 {
		at = now
	}
	at = max(at, min(e.again, now+tryAgain))
	if len(e.order) > 0 {
		at = min(at, e.order[0].wake)
	}
	return time.Duration(max(0, at-now)) * time.Millisecond
}

// takeEnded notes the ends of runs and gives their workers to those that wait.
func (e *engine) takeEnded() {
	e.mu.Lock()
	ended := e.ended
	e.ended = nil
	var lost []*run
	for _, r := range ended {
		if e.going[r.name] == r {
			delete(e.going, r.name)
		}
		if h := e.held[r.name]; h != nil && h.plan.Created == r.created {
			h.state.record(r.firing)
			if h.state.spent(&h.plan) {
				h.state.Next, h.waiting = 0, nil
			}
			h.flush = h.flush || h.plan.Count > 0
		} else {
			lost = append(lost, r)
		}
		if h := e.held[r.name]; h != nil {
			e.decideLocked(h)
		}
	}
	e.active -= len(ended)
	e.startLocked()
	e.mu.Unlock()
	for _, r := range lost {
		e.addRun(r)
	}
}

// startLocked begins runs while there are workers.
func (e *engine) startLocked() {
	for e.active < workers && len(e.ready) > 0 && !e.isEnding() {
		r := e.ready[0]
		e.ready[0] = nil
		e.ready = e.ready[1:]
		e.active++
		e.work.Go(func() {
			e.f.carryOut(e.runs, r)
			e.mu.Lock()
			e.ended = append(e.ended, r)
			e.mu.Unlock()
			e.poke()
		})
	}
}

func (e *engine) isEnding() bool {
	select {
	case <-e.ending:
		return true
	default:
		return false
	}
}

// addRun notes a run whose schedule this node does not hold any more: it was
// changed meanwhile. When another node has it, or it is gone, the run is not noted.
func (e *engine) addRun(r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	for range maxConflicts {
		if e.crash.Load() {
			return
		}
		rec, err := e.read(ctx, r.name)
		if err != nil || rec.plan.Created != r.created || rec.claimed > e.f.now() {
			return
		}
		rec.state.record(r.firing)
		if rec.state.spent(&rec.plan) {
			rec.state.Next = 0
		}
		t, err := rec.plan.timing(r.name, &e.f.zones)
		if err != nil {
			return
		}
		if _, err = e.store.Do(ctx, rec.put(t)); err == nil {
			return
		}
	}
}

// claim takes what is due.
func (e *engine) claim() {
	for more := true; more && !e.isEnding(); {
		now := e.f.now()
		e.mu.Lock()
		room := maxClaims - len(e.ready)
		limit := maxClaims + len(e.frozen) + len(e.vacant)
		wanted := e.query <= now
		e.mu.Unlock()
		if !wanted || now < e.again || room <= 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeTime)
		var err error
		if more, err = e.claimDue(ctx, now, limit, room); err != nil {
			e.ask(now)
			e.failed("schedules that are due cannot be claimed", err)
		}
		cancel()
	}
}

// claimDue claims up to room of the first limit schedules; more tells that there
// may be others that are due.
func (e *engine) claimDue(ctx context.Context, now int64, limit, room int) (more bool, err error) {
	e.mu.Lock()
	e.query = now + farAway // whoever stores something from now on brings it forward again
	e.mu.Unlock()
	due, err := e.store.Due(ctx, limit)
	if err != nil {
		return false, err
	}
	var group []store.Command
	next := now + farAway
	more = len(due) == limit
	for _, d := range due {
		if d.At > now || len(group) == room {
			next, more = min(next, max(now, d.At)), d.At <= now
			break
		}
		if e.leaves(d.Name, now) {
			next = min(next, now+lookEvery)
			continue
		}
		group = append(group, store.ClaimSchedule{Name: d.Name, Owner: e.f.cfg.Node, Now: now, Until: now + lease})
	}
	if len(due) == limit {
		next = min(next, now+tryAgain)
	}
	e.ask(next)
	if len(group) == 0 {
		return false, nil
	}
	results, err := e.store.Do(ctx, group...)
	if err != nil {
		return false, err
	}
	for _, result := range results {
		if c, ok := result.(store.ScheduleClaimed); ok && c.OK {
			e.adopt(c.Schedule)
		}
	}
	if more {
		e.ask(now)
	}
	return more, nil
}

// leaves tells that a schedule which is due is not to be claimed now.
func (e *engine) leaves(name string, now int64) bool {
	e.mu.Lock()
	_, frozen := e.frozen[name]
	e.mu.Unlock()
	v, vacant := e.vacant[name]
	if vacant && (now >= v.until || e.f.cfg.Occupied(v.channel)) {
		delete(e.vacant, name)
		vacant = false
	}
	return frozen || vacant
}

// adopt holds a schedule that was claimed, and runs it if it is time.
func (e *engine) adopt(s store.Schedule) {
	e.f.metrics.Claims.Add(1)
	r, err := decode(s)
	var t *timing
	if err == nil {
		t, err = r.plan.timing(s.Name, &e.f.zones)
	}
	if err != nil {
		// The claim stays until its end, so this is not tried all the time.
		e.f.cfg.Logger.Error("a schedule cannot be read", "schedule", s.Name, "error", err)
		return
	}
	h := &hold{name: s.Name, plan: r.plan, timing: t, state: r.state, version: s.Version, until: s.Until}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.held[s.Name]; old != nil {
		e.dropLocked(old)
	}
	e.held[s.Name] = h
	heap.Push(&e.order, h)
	e.f.metrics.Held.Store(int64(len(e.held)))
	_, h.release = e.frozen[s.Name] // it is being changed since a moment ago
	e.decideLocked(h)
}

// dropLocked forgets a hold.
func (e *engine) dropLocked(h *hold) {
	if e.held[h.name] != h {
		return
	}
	delete(e.held, h.name)
	heap.Remove(&e.order, h.place)
	e.f.metrics.Held.Store(int64(len(e.held)))
	if h.gone != nil {
		h.gone <- nil
	}
}

// look runs what is due of the held schedules.
func (e *engine) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.f.now()
	for len(e.order) > 0 && e.order[0].wake <= now {
		e.decideLocked(e.order[0])
	}
}

// failed says that the store does not work, and waits before the next try.
func (e *engine) failed(what string, err error) {
	e.f.metrics.Failures.Add(1)
	if now := e.f.now(); e.again <= now {
		e.again = now + tryAgain
	}
	e.f.cfg.Logger.Warn(what, "error", err)
}

// live gives the state of a schedule that this node holds.
func (e *engine) live(name string, version uint64) (state, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.held[name]; h != nil && h.version == version {
		return h.state, true
	}
	return state{}, false
}

// freeze keeps a schedule from being claimed here, until thaw, after writing and
// giving back what this node knows of it. What runs goes on.
func (e *engine) freeze(ctx context.Context, name string) error {
	e.mu.Lock()
	for e.frozen[name] != nil {
		other := e.frozen[name]
		e.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err(), "the schedule is being changed").After(outage.RetryAfter)
		}
		e.mu.Lock()
	}
	e.frozen[name] = make(chan struct{})
	h := e.held[name]
	if h == nil {
		e.mu.Unlock()
		return nil
	}
	gone := make(chan error, 1)
	h.release, h.gone, h.waiting = true, gone, nil
	e.decideLocked(h)
	e.mu.Unlock()
	e.poke()
	var err error
	select {
	case err = <-gone:
	case <-e.ending:
		err = fault.New(fault.Unavailable, "the server is shutting down")
	case <-ctx.Done():
		err = fault.Wrap(fault.Unavailable, ctx.Err(), "the schedule could not be given back in time").After(outage.RetryAfter)
	}
	if err != nil {
		e.thaw(name)
	}
	return err
}

// thaw ends a freeze.
func (e *engine) thaw(name string) {
	e.mu.Lock()
	close(e.frozen[name])
	delete(e.frozen, name)
	e.query = min(e.query, e.f.now())
	e.mu.Unlock()
	e.poke()
}
