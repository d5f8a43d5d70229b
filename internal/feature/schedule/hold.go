package schedule

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/store"
)

// hold is a schedule that this node has claimed. Everything in it is guarded by
// the engine's mutex, and changed by its loop alone but for what freeze asks for.
type hold struct {
	name    string
	plan    plan
	timing  *timing
	state   state
	version uint64
	until   int64 // when the claim ends

	waiting []int64    // planned times that are to run after what runs now
	flush   bool       // the state is to be written
	release bool       // and the claim to end with that
	unsaid  bool       // it is on the list of those to be written
	gone    chan error // gets the outcome of the release; nil: nobody waits

	wake  int64 // when to look at it
	place int   // in the heap
}

// holds is a heap of them by wake.
type holds []*hold

func (h holds) Len() int           { return len(h) }
func (h holds) Less(i, j int) bool { return h[i].wake < h[j].wake }
func (h holds) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *holds) Push(x any) {
	n := x.(*hold)
	n.place = len(*h)
	*h = append(*h, n)
}

// Pop implements heap.Interface.
func (h *holds) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return n
}

// run is one firing on its way.
type run struct {
	name    string
	created int64 // of the schedule
	plan    plan
	due     int64 // the planned time and its jitter
	firing  Firing
}

// decideLocked decides what is due of a schedule: what runs, what waits, what is
// skipped; and whether the node goes on holding it.
func (e *engine) decideLocked(h *hold) {
	now := e.f.now()
	lapsed := h.until <= now // somebody else may have it; writing tells
	if !h.release && !lapsed && !e.isEnding() {
		e.advanceLocked(h, now)
		h.release = !e.keepLocked(h, now)
	}
	h.flush = h.flush || h.until-renewBefore <= now
	if (h.flush || h.release) && !h.unsaid {
		h.unsaid = true
		e.unsaid = append(e.unsaid, h)
	}
	h.wake = math.MaxInt64 // until it is written
	if !h.release && !lapsed {
		if !h.unsaid {
			h.wake = h.until - renewBefore
		}
		if h.state.Next > 0 {
			h.wake = min(h.wake, max(now+1, h.timing.runAt(h.state.Next)))
		}
	}
	heap.Fix(&e.order, h.place)
}

// keepLocked tells whether the node goes on holding a schedule.
func (e *engine) keepLocked(h *hold, now int64) bool {
	switch {
	case e.going[h.name] != nil || len(h.waiting) > 0:
		return true
	case h.state.Next == 0:
		return false
	case !e.shared || h.plan.WhileOccupied == "":
		return h.timing.runAt(h.state.Next)-now < keepWithin
	}
	return !e.vacantHere(h) && h.timing.runAt(h.state.Next)-now < keepOccupied
}

// vacantHere tells that a schedule does not run because its channel has no
// subscribers on this node.
func (e *engine) vacantHere(h *hold) bool {
	return h.plan.WhileOccupied != "" && !e.f.cfg.Occupied(h.plan.WhileOccupied)
}

// advanceLocked goes through the planned times that have come, and begins a run
// when none is on its way.
func (e *engine) advanceLocked(h *hold, now int64) {
	busy := e.going[h.name] != nil || len(h.waiting) > 0
	n := 1
	switch {
	case busy && h.plan.Overlap == queue:
		n = maxMakeUp
	case h.plan.Misfire.Policy == all:
		n = h.plan.Misfire.N
	}
	due, total, upcoming := h.timing.due(h.state.Next, now, n)
	if total > 0 {
		e.chooseLocked(h, due, total, upcoming, busy, now)
	}
	if e.going[h.name] != nil || len(h.waiting) == 0 {
		return
	}
	if left := h.plan.Count - h.state.Counted; h.plan.Count > 0 && int64(len(h.waiting)) >= left {
		h.state.Next, h.waiting = 0, h.waiting[:max(0, left)]
	}
	e.beginLocked(h)
}

// chooseLocked chooses which of the planned times that have come are run. due are
// the newest of them.
func (e *engine) chooseLocked(h *hold, due []int64, total, upcoming int64, busy bool, now int64) {
	metric, count := &e.f.metrics.Missed, &h.state.Skipped.Misfire
	switch {
	case e.vacantHere(h):
		if e.shared {
			e.vacant[h.name] = vacancy{h.plan.WhileOccupied, now + vacantPause}
			if now-h.timing.runAt(h.state.Next) < vacantFor {
				return // perhaps another node has subscribers
			}
			upcoming = h.timing.after(max(upcoming-1, now+vacantNext))
		}
		metric, count, due = &e.f.metrics.Vacant, &h.state.Skipped.Vacant, nil
	case busy:
		metric, count = &e.f.metrics.Overlapped, &h.state.Skipped.Overlap
		room := 0
		if h.plan.Overlap == queue {
			room = maxMakeUp - len(h.waiting)
		}
		due = due[:min(len(due), room)]
	case h.plan.Misfire.Policy == skip:
		if last := due[len(due)-1]; now-h.timing.runAt(last) > h.timing.grace(last) {
			due = nil
		}
	}
	h.state.Next = upcoming
	h.waiting = append(h.waiting, due...)
	metric.Add(total - int64(len(due)))
	*count += total - int64(len(due))
}

// beginLocked begins the run of the first planned time that waits.
func (e *engine) beginLocked(h *hold) {
	if len(h.waiting) == 0 {
		return
	}
	planned := h.waiting[0]
	h.waiting = h.waiting[1:]
	r := &run{name: h.name, created: h.plan.Created, plan: h.plan, due: h.timing.runAt(planned), firing: Firing{Planned: planned}}
	e.going[h.name] = r
	e.ready = append(e.ready, r)
	e.startLocked()
}

// unsettledLocked gives the first planned time that has not had its run: from
// there on another node has to take care if this one dies.
func (e *engine) unsettledLocked(h *hold) int64 {
	if r := e.going[h.name]; r != nil && r.created == h.plan.Created {
		return r.firing.Planned
	}
	if len(h.waiting) > 0 {
		return h.waiting[0]
	}
	return h.state.Next
}

// write writes the states that are to be written: of schedules that are given
// back, and of those whose claim ends soon.
func (e *engine) write() {
	for e.f.now() >= e.again {
		e.mu.Lock()
		e.unsaid = slices.DeleteFunc(e.unsaid, func(h *hold) bool { return e.held[h.name] != h })
		some := e.unsaid[:min(len(e.unsaid), maxGroup)]
		e.unsaid = e.unsaid[len(some):]
		group := e.commandsLocked(some, e.f.now())
		e.mu.Unlock()
		if len(some) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeTime)
		results, err := e.store.Do(ctx, group...)
		cancel()
		if err != nil {
			e.failed("the state of schedules cannot be written", err)
		}
		e.mu.Lock()
		for i, h := range some {
			if err != nil {
				e.unwrittenLocked(h, err)
			} else {
				e.writtenLocked(h, group[i].(store.FinishSchedule), results[i].(store.ScheduleFinished))
			}
		}
		e.mu.Unlock()
	}
}

// commandsLocked makes the commands that write holds.
func (e *engine) commandsLocked(some []*hold, now int64) (group []store.Command) {
	for _, h := range some {
		h.unsaid, h.flush = false, false
		s := h.state
		if h.gone == nil { // otherwise it is changed here, and what runs is left to its run
			s.Next = e.unsettledLocked(h)
		}
		c := store.FinishSchedule{Name: h.name, Version: h.version, State: s.encode()}
		if s.Next > 0 {
			c.Next = h.timing.runAt(s.Next)
		}
		if !h.release {
			c.Until = now + lease
		}
		group = append(group, c)
	}
	return group
}

// writtenLocked takes note of what the store did.
func (e *engine) writtenLocked(h *hold, c store.FinishSchedule, r store.ScheduleFinished) {
	e.f.metrics.Writes.Add(1)
	switch {
	case !r.OK: // it was changed elsewhere
		e.f.metrics.Lost.Add(1)
		e.dropLocked(h)
		e.query = 0
	case c.Until > 0:
		h.version, h.until = r.Version, c.Until
		e.decideLocked(h)
	default:
		e.dropLocked(h)
		if c.Next > 0 {
			e.query = min(e.query, c.Next)
		}
	}
}

// unwrittenLocked keeps what could not be written for the next try.
func (e *engine) unwrittenLocked(h *hold, err error) {
	h.flush = true
	if h.gone != nil {
		h.gone <- outage.Fault(err)
		h.gone, h.release = nil, false
	}
	e.decideLocked(h)
}

// notice compares held schedules with a shared store: what was changed or deleted
// by another node is not run any more.
func (e *engine) notice() {
	now := e.f.now()
	if now >= e.looked && now-e.looked < lookEvery {
		return
	}
	e.looked = now
	e.ask(now)
	e.mu.Lock()
	if len(e.compare) == 0 {
		e.compare = slices.Collect(maps.Keys(e.held))
	}
	e.mu.Unlock()
	some := e.compare[:min(len(e.compare), maxLooks)]
	e.compare = e.compare[len(some):]
	for _, name := range some {
		if err := e.noticeOne(name); err != nil {
			return // the claims hold as long as they say
		}
	}
}

func (e *engine) noticeOne(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	found, err := e.store.Schedule(ctx, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.held[name]; h != nil && found.Version != h.version {
		e.f.metrics.Lost.Add(1)
		e.dropLocked(h)
	}
	return nil
}

// finish ends everything: it waits for what runs and gives back what is held.
func (e *engine) finish() {
	if e.crash.Load() {
		e.cancel()
	}
	e.takeEnded()
	over := time.NewTimer(closeGrace)
	defer over.Stop()
	for e.active > 0 {
		select {
		case <-e.wake:
			e.takeEnded()
		case <-over.C:
			e.cancel()
		}
	}
	e.cancel()
	if e.crash.Load() {
		return
	}
	e.mu.Lock()
	for _, r := range e.ready {
		if h := e.held[r.name]; h != nil {
			h.waiting = append([]int64{r.firing.Planned}, h.waiting...)
		}
		delete(e.going, r.name)
	}
	e.ready = nil
	for _, h := range slices.Clone(e.order) {
		h.release = true
		e.decideLocked(h)
	}
	e.mu.Unlock()
	e.again = 0
	e.write()
}
