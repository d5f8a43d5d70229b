package hub

import (
	"container/heap"
	"sync"
	"time"
)

// clock calls [Hub.ring] for channels whose time has come. A channel is in it at
// most once, and only while its watchers are to be told something later: a hub
// where that is not so has a goroutine that sleeps, and nothing else.
type clock struct {
	wake chan struct{} // holds one value when the first alarm has changed
	stop chan struct{}
	done chan struct{}
	once sync.Once

	mu  sync.Mutex
	due alarms
}

// alarm is a channel's place in the clock.
type alarm struct {
	at    time.Time
	place int // in the clock's list, from 1 on; zero: it is in none
}

func (k *clock) start(h *Hub) {
	k.wake, k.stop, k.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go k.run(h)
}

func (k *clock) close() {
	k.once.Do(func() { close(k.stop) })
	<-k.done
}

// set makes a channel ring at a time, or earlier if it was to ring earlier.
func (k *clock) set(ch *Channel, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case ch.alarm.place == 0:
		ch.alarm.at = at
		heap.Push(&k.due, ch)
	case at.Before(ch.alarm.at):
		ch.alarm.at = at
		heap.Fix(&k.due, ch.alarm.place-1)
	default:
		return
	}
	if ch.alarm.place == 1 {
		select {
		case k.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// unset forgets a channel, so that one which has ended is not kept until its time.
func (k *clock) unset(ch *Channel) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ch.alarm.place > 0 {
		heap.Remove(&k.due, ch.alarm.place-1)
	}
}

// next takes a channel whose time has come, or tells how long to wait for one;
// zero: until the clock is set.
func (k *clock) next() (ch *Channel, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.due) == 0 {
		return nil, 0
	}
	if wait = time.Until(k.due[0].alarm.at); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&k.due).(*Channel), 0
}

func (k *clock) run(h *Hub) {
	defer close(k.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		ch, wait := k.next()
		if ch != nil {
			h.ring(ch)
			continue
		}
		timer.Stop()
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-k.wake:
		case <-k.stop:
			return
		}
	}
}

// alarms is a heap of channels, the earliest first.
type alarms []*Channel

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].alarm.at.Before(a[j].alarm.at) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].alarm.place, a[j].alarm.place = i+1, j+1
}

func (a *alarms) Push(x any) {
	ch := x.(*Channel)
	*a = append(*a, ch)
	ch.alarm.place = len(*a)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	ch := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	ch.alarm.place = 0
	return ch
}
