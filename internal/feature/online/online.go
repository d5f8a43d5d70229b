// Package online tells the application who comes and goes: that a user is
// online or offline, that a channel is occupied or vacated. A page that is
// loaded anew, or a phone that changes its network, is gone for a moment only;
// so being there is told at once, and being gone after a grace time in which
// nothing came back.
//
// What it is told comes from the hub, which knows. It does not know who is
// there, and stores nothing: in memory are those who are in their grace time,
// and those whose event has not been handed over yet. One goroutine hands the
// events over; [Online.Close] ends it.
package online

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"
)

// Config of an [Online].
type Config struct {
	// Grace is how long someone may be gone before that is told. Zero: 3 s;
	// negative: no time at all.
	Grace time.Duration

	// User is told that a user is online, which is there, or offline; Channel that a
	// channel is occupied or vacated. at is when it happened: when the last
	// connection went, not when the grace time was over. For each name the calls
	// alternate, beginning with there. All calls come one after the other, and no lock
	// is held; they must not call [Online.Close]. While one lasts the others wait, and
	// who comes and goes meanwhile is not told of: what a name was last told to be, and
	// what it is, are all that counts. Nil: not told.
	User, Channel func(name string, there bool, at time.Time)
}

// Metrics counts what has been told.
type Metrics struct {
	Leaving   atomic.Int64 // users and channels that are in their grace time now
	Waiting   atomic.Int64 // events that wait to be handed over now
	Told      atomic.Int64 // events
	Returned  atomic.Int64 // times that one came back within the grace time
	Coalesced atomic.Int64 // pairs of events that were not told, because the second came while the first waited
}

// Online turns what the hub sees into events.
type Online struct {
	cfg     Config
	metrics Metrics
	wake    chan struct{} // holds a value when there is something to look at
	done    chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards all below
	closed  bool
	leaving lineup // in their grace time, the first to be over first
	waiting lineup // events to hand over
}

// subject is whom an event is about.
type subject struct {
	channel bool
	name    string
}

type event struct {
	subject
	there bool
	at    time.Time
}

// lineup is events in order, at most one of each subject.
type lineup struct {
	line list.List
	of   map[subject]*list.Element
	most int // how large of has been
}

// A map keeps the size that it once had, so one that was larger than this is
// made anew when it is empty.
const keepMap = 1024

func (l *lineup) add(e event) {
	l.of[e.subject] = l.line.PushBack(e)
	l.most = max(l.most, len(l.of))
}

// take removes and gives the event of a subject.
func (l *lineup) take(s subject) (e event, ok bool) {
	elem := l.of[s]
	if elem == nil {
		return e, false
	}
	delete(l.of, s)
	if len(l.of) == 0 && l.most > keepMap {
		l.of, l.most = map[subject]*list.Element{}, 0
	}
	return l.line.Remove(elem).(event), true
}

func (l *lineup) first() (e event, ok bool) {
	if front := l.line.Front(); front != nil {
		return front.Value.(event), true
	}
	return e, false
}

// New starts the goroutine that calls what cfg names.
func New(cfg Config) *Online {
	switch {
	case cfg.Grace == 0:
		cfg.Grace = 3 * time.Second
	case cfg.Grace < 0:
		cfg.Grace = 0
	}
	o := &Online{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{})}
	o.leaving.of, o.waiting.of = map[subject]*list.Element{}, map[subject]*list.Element{}
	go o.run()
	return o
}

// Metrics gives the live counters.
func (o *Online) Metrics() *Metrics { return &o.metrics }

// Close ends the goroutine and waits for it. What has not been told is not told
// any more, and what comes later is not listened to.
func (o *Online) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.look()
	<-o.done
}

// UserChanged takes what the hub says about a user. Calls for one user must
// alternate, beginning with there. It is quick and calls nobody.
func (o *Online) UserChanged(user string, there bool) {
	if o.cfg.User != nil {
		o.changed(subject{name: user}, there)
	}
}

// ChannelChanged is [Online.UserChanged] for channels.
func (o *Online) ChannelChanged(channel string, there bool) {
	if o.cfg.Channel != nil {
		o.changed(subject{true, channel}, there)
	}
}

// Leaving tells whether a user is in the grace time: his last connection has gone, and nobody
// has been told.
func (o *Online) Leaving(user string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.leaving.of[subject{name: user}] != nil
}

func (o *Online) changed(s subject, there bool) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if there {
		if _, back := o.leaving.take(s); back {
			o.metrics.Leaving.Add(-1)
			o.metrics.Returned.Add(1)
			return
		}
	} else if o.cfg.Grace > 0 {
		o.leaving.add(event{s, false, now})
		o.metrics.Leaving.Add(1)
		if o.leaving.line.Len() == 1 {
			o.look()
		}
		return
	}
	o.tellLocked(event{s, there, now})
	o.look()
}

// tellLocked puts an event in line. An event that still waits says the opposite:
// then nobody has to know of either, and so the line holds no more than those
// who are not what they were last told to be.
func (o *Online) tellLocked(e event) {
	if _, untold := o.waiting.take(e.subject); untold {
		o.metrics.Waiting.Add(-1)
		o.metrics.Coalesced.Add(1)
		return
	}
	o.waiting.add(e)
	o.metrics.Waiting.Add(1)
}

func (o *Online) look() {
	select {
	case o.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// next takes the event to hand over now. Without one it tells how long to wait;
// zero: until something changes.
func (o *Online) next() (e event, ok bool, wait time.Duration, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return e, false, 0, true
	}
	for {
		first, some := o.leaving.first()
		if !some {
			break
		}
		if wait = time.Until(first.at.Add(o.cfg.Grace)); wait > 0 {
			break
		}
		wait = 0
		o.leaving.take(first.subject)
		o.metrics.Leaving.Add(-1)
		o.tellLocked(first)
	}
	if e, ok = o.waiting.first(); ok {
		o.waiting.take(e.subject)
		o.metrics.Waiting.Add(-1)
	}
	return e, ok, wait, false
}

func (o *Online) run() {
	defer close(o.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		e, ok, wait, over := o.next()
		switch {
		case over:
			return
		case ok:
			o.tell(e)
			continue
		}
		timer.Stop()
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-o.wake:
		}
	}
}

func (o *Online) tell(e event) {
	o.metrics.Told.Add(1)
	if e.channel {
		o.cfg.Channel(e.name, e.there, e.at)
	} else {
		o.cfg.User(e.name, e.there, e.at)
	}
}
