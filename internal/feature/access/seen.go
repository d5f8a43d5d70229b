package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

const (
	seenBatch = 1000    // users that are written at once; so many waiting are written at once
	seenMax   = 100_000 // users that may wait while the store fails; further ones are lost
)

// seen collects when users were last there.
type seen struct {
	wake chan struct{} // gets a value when many wait

	mu      sync.Mutex // guards all below
	taken   bool       // users are noted: there is a store
	failing bool       // the last write failed
	pending map[string]at
	writing map[string]at // is being written; nil: nothing is
}

// at is when a user was there, and with what.
type at struct {
	device string
	time   int64
}

func (s *seen) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken, s.pending = true, map[string]at{}
}

func (s *seen) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = false
}

// Saw notes that a user was there. It is written later, together with others; it
// never waits. Without a store it is not noted.
func (f *Feature) Saw(user, device string, when time.Time) {
	ms := when.UnixMilli()
	if user == "" || len(user) > protocol.MaxUser || len(device) > protocol.MaxDevice || ms < 1 {
		return
	}
	s := &f.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taken {
		return
	}
	if !s.noteLocked(user, at{device, ms}) {
		f.metrics.SeenLost.Add(1)
		return
	}
	if len(s.pending) >= seenBatch && !s.failing {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// noteLocked notes a time unless a later one is noted. False: there is no room.
func (s *seen) noteLocked(user string, a at) bool {
	old, there := s.pending[user]
	if !there && len(s.pending) >= seenMax {
		return false
	}
	if a.time >= old.time {
		s.pending[user] = a
	}
	return true
}

// drop forgets what was not written, and tells how many users that are.
func (s *seen) drop() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.pending)
	s.pending = nil
	return n
}

// flush writes all that is noted, in batches.
func (f *Feature) flush(ctx context.Context, st Store) {
	for f.flushSome(ctx, st) {
	}
}

// flushSome writes a batch; true: there is more.
func (f *Feature) flushSome(ctx context.Context, st Store) bool {
	s := &f.seen
	s.mu.Lock()
	if len(s.pending) == 0 {
		s.mu.Unlock()
		return false
	}
	s.writing = make(map[string]at, min(len(s.pending), seenBatch))
	list := make([]store.Seen, 0, min(len(s.pending), seenBatch))
	for user, a := range s.pending {
		if len(list) == seenBatch {
			break
		}
		s.writing[user] = a
		list = append(list, store.Seen{User: user, Device: a.device, Time: a.time})
		delete(s.pending, user)
	}
	if len(s.pending) == 0 {
		s.pending = map[string]at{} // a map gives no memory back by itself
	}
	s.mu.Unlock()
	_, err := st.Do(ctx, store.SawUsers{Seen: list})
	passes := errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	s.mu.Lock()
	defer s.mu.Unlock()
	if passes {
		for user, a := range s.writing {
			if !s.noteLocked(user, a) {
				f.metrics.SeenLost.Add(1)
			}
		}
	}
	s.writing = nil
	if err == nil {
		s.failing = false
		f.metrics.Seen.Add(int64(len(list)))
		return len(s.pending) > 0
	}
	if !passes {
		f.metrics.SeenLost.Add(int64(len(list)))
	}
	if !s.failing && !errors.Is(err, context.Canceled) {
		s.failing = true
		f.metrics.Failures.Add(1)
		f.cfg.Logger.Error("when users were last there cannot be written", "error", err)
	}
	return false
}

// LastSeen tells when users were last there, in order; Time is 0 for one who never
// was, and for all without a store. A user who is there now has the time of an
// earlier connection. Its error is unavailable.
func (f *Feature) LastSeen(ctx context.Context, users []string) ([]store.Seen, error) {
	f.mu.Lock()
	st := f.store
	f.mu.Unlock()
	list := make([]store.Seen, len(users))
	for i, user := range users {
		list[i].User = user
	}
	if st == nil || len(users) == 0 {
		return list, nil
	}
	// What waits is looked at first: what is written meanwhile is then in the store.
	waits := make([]at, len(users))
	f.seen.mu.Lock()
	for i, user := range users {
		waits[i] = f.seen.pending[user]
		if w := f.seen.writing[user]; w.time > waits[i].time {
			waits[i] = w
		}
	}
	f.seen.mu.Unlock()
	stored, err := st.LastSeen(ctx, users...)
	if err != nil {
		return nil, outage.Fault(err)
	}
	for i := range list {
		list[i] = stored[i]
		if w := waits[i]; w.time > list[i].Time {
			list[i].Device, list[i].Time = w.device, w.time
		}
	}
	return list, nil
}
