package feed

import (
	"context"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/store"
)

// fillLocked looks up what is missing between the head and what came early.
func (f *Feeds) fillLocked(ch *channel) {
	if ch.filling || f.ctx.Err() != nil {
		return
	}
	ch.filling = true
	f.metrics.Holes.Add(1)
	f.work.Go(func() { f.fill(ch) })
}

// fill takes from the store what this process was not told of.
func (f *Feeds) fill(ch *channel) {
	defer func() {
		ch.mu.Lock()
		defer ch.mu.Unlock()
		ch.filling = false
	}()
	for {
		ch.mu.Lock()
		after, epoch := ch.head, ch.epoch
		ch.mu.Unlock()
		for f.hub.Await(f.ctx, ch.name) != nil && f.ctx.Err() == nil { // its subscribers set the pace
		}
		ctx, cancel := context.WithTimeout(f.ctx, readTimeout)
		page, err := f.store.Read(ctx, store.Query{Channel: ch.name, After: after, Limit: turnMessages, Bytes: turnBytes})
		cancel()
		if err != nil {
			f.metrics.Failures.Add(1)
			return // the next message, or the next comparison, tries again
		}
		if page.Head.Epoch != epoch {
			f.noticeEpoch(ch, page.Head)
			return
		}
		if len(page.Messages) == 0 {
			f.skip(ch, page.Head)
			return
		}
		for i := range page.Messages {
			m := &page.Messages[i]
			if i == 0 && m.Seq > after+1 {
				f.skip(ch, store.Head{Epoch: epoch, Top: m.Seq - 1})
			}
			f.apply(store.Commit{Channel: ch.name, Epoch: epoch, Message: m})
		}
		if !page.More {
			return
		}
	}
}

// skip moves the head over messages that are gone already; readers find the hole.
func (f *Feeds) skip(ch *channel, head store.Head) {
	ch.mu.Lock()
	freed := 0
	if ch.epoch == head.Epoch && ch.head < head.Top {
		freed = ch.bytes
		ch.ring, ch.bytes, ch.head = nil, 0, head.Top
	}
	ch.mu.Unlock()
	f.charge(ch.name, -freed)
}

// compare finds messages that other processes have stored and of which nobody
// has told.
func (f *Feeds) compare() { f.hub.Visit(f.ctx, (*hub.Space).IsLog, f.compareHeads) }

func (f *Feeds) compareHeads(names []string) {
	ctx, cancel := context.WithTimeout(f.ctx, readTimeout)
	defer cancel()
	heads, err := f.store.Heads(ctx, names...)
	if err != nil {
		f.metrics.Failures.Add(1)
		return
	}
	for i, head := range heads {
		ch := f.peek(names[i])
		if ch == nil || f.noticeEpoch(ch, head) {
			continue
		}
		ch.mu.Lock()
		before := ch.seen
		// What is only under way is left to arrive until the next comparison.
		if ch.known && before.Top > ch.head {
			f.fillLocked(ch)
		}
		ch.seen = head
		if ch.revised != unknown && head.Recalled > ch.revised {
			ch.revised = head.Recalled
		}
		ch.mu.Unlock()
		if before.Epoch == head.Epoch && head.Recalls > before.Recalls {
			again, err := f.revisedElsewhere(ctx, ch, before.Top, head.Top)
			if err != nil {
				f.metrics.Failures.Add(1)
			}
			if again || err != nil {
				ch.mu.Lock()
				ch.seen = before // so that the next comparison looks again
				ch.mu.Unlock()
			}
		}
	}
}

// Steps of retention: a small one at a time, so that publishers do not wait.
const (
	trimEvery = time.Second
	trimPause = 20 * time.Millisecond
	trimSteps = 500
)

// janitor deletes what is too old.
func (f *Feeds) janitor() {
	timer := time.NewTimer(trimEvery)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-timer.C:
		}
		var rules []store.Keep
		for _, s := range f.hub.Spaces() {
			if s.Keeps() && (s.Count > 0 || s.Age > 0) {
				rules = append(rules, store.Keep{Namespace: s.Name, Count: s.Count, Age: s.Age})
			}
		}
		ctx, cancel := context.WithTimeout(f.ctx, readTimeout)
		trimmed, err := f.store.Trim(ctx, rules, time.Now(), trimSteps)
		cancel()
		f.metrics.Trimmed.Add(int64(trimmed.Messages))
		wait := trimEvery
		switch {
		case err != nil:
			f.metrics.Failures.Add(1)
		case trimmed.More:
			wait = trimPause
		}
		timer.Reset(wait)
	}
}
