package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skein-realtime/skein/store"
)

// How often is looked for what has its time.
const (
	wakeEvery   = 30 * time.Second // when nothing is known to be due before; other processes put off, too
	expireEvery = 3 * time.Second
	pruneEvery  = time.Minute
	pruneRest   = 200 * time.Millisecond // between steps, so that it is nobody's burden
	followEvery = 2 * time.Second
	timedLimit  = 1000
	pruneLimit  = 1000
)

// rest waits; false: the end has come.
func (p *Pushes) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// do carries out a command of the background. False: it was not possible.
func do[R store.Result](p *Pushes, what string, c store.Command) (r R, ok bool) {
	ctx, cancel := context.WithTimeout(p.ctx, storeTime)
	defer cancel()
	results, err := p.store.Do(ctx, c)
	if err != nil {
		p.failed(what, err)
		return r, false
	}
	return results[0].(R), true
}

// tick looks for users who are to be looked at again.
func (p *Pushes) tick() {
	for p.rest(min(time.Second, max(10*time.Millisecond, p.settings().AckTimeout/8))) {
		now := p.nowMilli()
		for _, s := range p.shards {
			s.mu.Lock()
			for _, u := range s.users {
				if u.due != 0 && u.due <= now {
					u.due = 0
					u.in.tick = true
					s.listLocked(u)
				}
			}
			s.mu.Unlock()
		}
	}
}

// alarm is when the next delivery that was put off has its time.
type alarm struct {
	changed chan struct{} // holds a value when it is earlier than it was

	mu sync.Mutex
	at int64 // Unix milliseconds; 0: none is known
}

func (a *alarm) init() { a.changed = make(chan struct{}, 1) }

// set makes it be at a time, or earlier; 0 changes nothing.
func (a *alarm) set(at int64) {
	if at == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at != 0 && a.at <= at {
		return
	}
	a.at = at
	select {
	case a.changed <- struct{}{}:
	default: // it will look anyway
	}
}

// take gives the time, and forgets it: it is asked for anew.
func (a *alarm) take() (at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, a.at = a.at, 0
	return at
}

// wake sends what was put off when its time has come. What is due is asked of the
// store; what is put off meanwhile is told to the alarm.
func (p *Pushes) wake() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	known := int64(0) // of the alarm
	for p.ctx.Err() == nil {
		due, err := p.dueWake()
		now := p.nowMilli()
		wait := wakeEvery
		switch {
		case err != nil:
			p.failed("look for what was put off", err)
			wait = pauseTime
		case due != 0 && due <= now:
			p.metrics.WakeLag.Store(now - due)
			if p.wakeUp() {
				known = 0
				continue
			}
			wait = pauseTime
		case due != 0:
			wait = min(wait, time.Duration(due-now)*time.Millisecond)
		}
		timer.Reset(wait)
		for waiting := true; waiting; {
			select {
			case <-timer.C:
				waiting = false
			case <-p.ctx.Done():
				return
			case <-p.wakes.changed:
				at := p.wakes.take()
				// Earlier than what is waited for?
				if left := time.Duration(at-p.nowMilli()) * time.Millisecond; at != 0 && (known == 0 || at < known) && (due == 0 || at < due) {
					known = at
					timer.Reset(min(max(left, 0), wait))
				}
			}
		}
		known = 0
	}
}

func (p *Pushes) dueWake() (int64, error) {
	ctx, cancel := context.WithTimeout(p.ctx, storeTime)
	defer cancel()
	return p.store.DueWake(ctx)
}

// wakeUp has the store judge what is due. False: it could not.
func (p *Pushes) wakeUp() bool {
	for p.ctx.Err() == nil {
		woken, ok := do[store.Woken](p, "wake what was put off", store.Wake{Now: p.nowMilli(), Zone: p.settings().Zone, Limit: timedLimit})
		if !ok {
			return false
		}
		p.metrics.Woken.Add(int64(woken.Rows))
		messages := map[string]*message{}
		for i := range woken.Items {
			w := &woken.Items[i]
			if !p.hub.HasUser(w.User) {
				continue
			}
			m := messages[w.Item.ID]
			if m == nil {
				m = newMessage(&w.Item.Content)
				messages[w.Item.ID] = m
			}
			p.note(w.User, true, func(in *inbound) { in.woken = append(in.woken, item{w.N, w.Item.Seq, m}) })
		}
		if !woken.More {
			return true
		}
	}
	return false
}

// expire ends what is open and has expired. Nobody is told.
func (p *Pushes) expire() {
	for p.rest(expireEvery) {
		p.settler.flush(p.ctx)
		for p.ctx.Err() == nil {
			e, ok := do[store.Ended](p, "end what has expired", store.Expire{Now: p.nowMilli(), Limit: timedLimit})
			if !ok {
				break
			}
			p.metrics.Expired.Add(int64(len(e.Rows)))
			for i := range e.Rows {
				p.ended(e.Rows[i].User, ends{seqs: []uint64{e.Rows[i].Seq}})
			}
			if !e.More {
				break
			}
		}
	}
}

// prune deletes records that are too old.
func (p *Pushes) prune() {
	for p.rest(pruneEvery) {
		for p.ctx.Err() == nil {
			s := p.settings()
			now := p.nowMilli()
			c := store.Prune{Now: now, Limit: pruneLimit}
			if s.Records > 0 {
				c.Records = max(0, now-s.Records.Milliseconds())
			}
			done, ok := do[store.Pruned](p, "delete old records", c)
			if !ok {
				break
			}
			p.metrics.Pruned.Add(int64(done.Deliveries))
			if !done.More || !p.rest(pruneRest) {
				break
			}
		}
	}
}

// maxLine is how long the lines may be when those who are here are sent to them for
// a message to everybody.
const maxLine = 64

// follow looks for messages to everybody. Who is here gets them, a few users at a
// time.
func (p *Pushes) follow(last uint64) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-tick.C:
		case <-p.sweeps:
		}
		ctx, cancel := context.WithTimeout(p.ctx, storeTime)
		newest, err := p.store.LastBroadcast(ctx)
		cancel()
		if err != nil {
			p.failed("look for messages to everybody", err)
			continue
		}
		if newest != last && p.sweep() == nil {
			last = newest
		}
	}
}

// sweep has those judged who are here and lack a message to everybody.
func (p *Pushes) sweep() error {
	return p.visit(func(names []string, inboxes []store.Inbox) error {
		for i, name := range names {
			if inboxes[i].Behind {
				p.note(name, true, func(in *inbound) { in.judge = true })
			}
		}
		for p.pool.waiting() > maxLine {
			if !p.rest(5 * time.Millisecond) {
				return p.ctx.Err()
			}
		}
		return nil
	})
}

// visit looks at the inboxes of all users who are here, some at a time.
func (p *Pushes) visit(fn func(names []string, inboxes []store.Inbox) error) (err error) {
	var names []string
	look := func() error {
		ctx, cancel := context.WithTimeout(p.ctx, storeTime)
		defer cancel()
		inboxes, err := p.store.Inboxes(ctx, names...)
		if err == nil {
			err = fn(names, inboxes)
		} else {
			p.failed("look at inboxes", err)
		}
		names = names[:0]
		return err
	}
	p.hub.EachUser(func(name string) bool {
		if names = append(names, name); len(names) == maxLooks {
			err = look()
		}
		return err == nil && p.ctx.Err() == nil
	})
	if err == nil && len(names) > 0 {
		err = look()
	}
	return errors.Join(err, p.ctx.Err())
}
