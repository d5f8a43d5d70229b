package client

import (
	"slices"
	"sync"
)

// queue hands events to functions, one after the other and in order, in a
// goroutine that exists only while there are some. What happens when it is full
// is up to who pushes.
type queue struct {
	life  *life
	bound int
	give  func(e any)
	drop  func(e any)      // gets what pushOver has taken out; nil: nobody
	late  func(e any) bool // tells what hold keeps back; nil: everything

	mu      sync.Mutex // guards all below
	list    []any
	dropped uint64 // volatile events that found no place, since the last that did
	held    bool   // what is late is not handed over yet
	running bool
	room    chan struct{} // closed when half of the places are free; nil: nobody waits
}

func newQueue(l *life, bound int, give func(e any)) *queue {
	return &queue{life: l, bound: bound, give: give}
}

// lost is in the place of volatile events that were dropped.
type lost struct{ count uint64 }

// push adds an event; false: there is no place for it.
func (q *queue) push(e any) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) >= q.bound {
		return false
	}
	q.addLocked(e)
	return true
}

// force adds an event for which there is always room: there are few of its kind.
func (q *queue) force(e any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(e)
}

// pushOver adds an event, in the place of the oldest when there is none.
func (q *queue) pushOver(e any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) >= q.bound {
		if q.drop != nil {
			q.drop(q.list[0])
		}
		q.list[0] = nil
		q.list = q.list[1:]
		q.dropped++
	}
	q.addLocked(e)
}

// miss counts a volatile event that is not kept.
func (q *queue) miss() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped++
}

func (q *queue) addLocked(e any) {
	q.list = append(q.list, e)
	q.startLocked()
}

func (q *queue) startLocked() {
	if !q.running && q.firstLocked() >= 0 {
		q.running = q.life.start(q.run)
	}
}

// firstLocked gives the place of the event that is next; -1: there is none.
func (q *queue) firstLocked() int {
	switch {
	case len(q.list) == 0:
		return -1
	case !q.held:
		return 0
	case q.late == nil:
		return -1
	}
	return slices.IndexFunc(q.list, func(e any) bool { return !q.late(e) })
}

// remove takes out what nobody needs to be told any more.
func (q *queue) remove(gone func(e any) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = slices.DeleteFunc(q.list, gone)
	q.roomLocked()
}

// roomLocked tells those who wait for room.
func (q *queue) roomLocked() {
	if q.room != nil && len(q.list) <= q.bound/2 {
		close(q.room)
		q.room = nil
	}
}

// hold keeps what is late back until release.
func (q *queue) hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = true
}

func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = false
	q.startLocked()
}

// wait gives a channel that is closed when half of the places are free.
func (q *queue) wait() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) <= q.bound/2 {
		free := make(chan struct{})
		close(free)
		return free
	}
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}

func (q *queue) run() {
	for {
		e, n := q.next()
		if n > 0 {
			q.give(lost{n})
		}
		if e == nil {
			return
		}
		q.give(e)
	}
}

func (q *queue) next() (e any, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	dropped, q.dropped = q.dropped, 0
	i := q.firstLocked()
	if i < 0 || q.life.ctx.Err() != nil {
		q.running = false
		return nil, dropped
	}
	e = q.list[i]
	if i == 0 { // without moving the others
		q.list[0] = nil
		q.list = q.list[1:]
	} else {
		q.list = slices.Delete(q.list, i, i+1)
	}
	q.roomLocked()
	return e, dropped
}

// listeners are functions that want events of a kind, in the order in which they
// were added.
type listeners[E any] struct {
	mu   sync.Mutex // guards list, which is replaced and never changed
	list []*func(E)
}

func (l *listeners[E]) add(fn func(E)) (stop func()) {
	own := &fn
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list[:len(l.list):len(l.list)], own)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		var rest []*func(E)
		for _, p := range l.list {
			if p != own {
				rest = append(rest, p)
			}
		}
		l.list = rest
	}
}

// call tells whether there was anybody to call.
func (l *listeners[E]) call(e E) bool {
	l.mu.Lock()
	list := l.list
	l.mu.Unlock()
	for _, fn := range list {
		(*fn)(e)
	}
	return len(list) > 0
}

func (l *listeners[E]) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list) == 0
}
