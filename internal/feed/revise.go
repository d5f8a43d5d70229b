package feed

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/store"
)

// A message is revised when it is withdrawn or edited. Whoever has it is told, whoever
// comes to it later gets it as it is then.

// revision is one of a message; sum tells what it has become. top is where the channel
// ended then, as far as it was known here.
type revision struct{ seq, sum, top uint64 }

// maxRevisions bounds those that are remembered: far more than there can be while one
// reader has its turn.
const maxRevisions = 1024

// sum tells frames apart.
func (f *Feeds) sum(frame []byte) uint64 { return maphash.Bytes(f.seed, frame) }

// noteLocked remembers a revision.
func (ch *channel) noteLocked(seq, sum uint64) {
	ch.revisions++
	if ch.last = append(ch.last, revision{seq, sum, ch.head}); len(ch.last) > maxRevisions {
		ch.last = slices.Clone(ch.last[maxRevisions/2:])
	}
}

// newestLocked gives the newest revision of a message that is remembered.
func (ch *channel) newestLocked(seq uint64) (r revision, ok bool) {
	for i := len(ch.last) - 1; i >= 0; i-- {
		if ch.last[i].seq == seq {
			return ch.last[i], true
		}
	}
	return r, false
}

// sinceLocked gives the revisions since so many had been; false: not all of them are
// remembered.
func (ch *channel) sinceLocked(revisions int) (list []revision, all bool) {
	n := ch.revisions - revisions
	return ch.last[max(0, len(ch.last)-n):], n <= len(ch.last)
}

// anyRevisedLocked tells whether one of the messages from..to may have been revised
// since so many had been.
func (ch *channel) anyRevisedLocked(revisions int, from, to uint64) bool {
	list, all := ch.sinceLocked(revisions)
	return !all || slices.ContainsFunc(list, func(r revision) bool { return r.seq >= from && r.seq <= to })
}

// passedLocked gives the revisions since so many had been, as far as they are remembered,
// of messages up to seq, from the time when that or a later message was the newest.
func (ch *channel) passedLocked(revisions int, seq uint64) (list []revision) {
	since, _ := ch.sinceLocked(revisions)
	for _, r := range since {
		if r.seq <= seq && r.top >= seq {
			list = append(list, r)
		}
	}
	return list
}

func (ch *channel) revisionCount() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.revisions
}

// reviseLocked puts a message as it is now in the place of what it was, and tells who
// has it. at is when it was edited; zero: nobody knows.
func (f *Feeds) reviseLocked(ch *channel, epoch string, m *store.Message, at int64) {
	if ch.known && ch.epoch == epoch && m.Seq > ch.head {
		// Another process has stored it, and nobody has told of that yet. What may be
		// under way from the store is older than this.
		f.takeLocked(ch, store.Commit{Channel: ch.name, Epoch: epoch, Message: m})
	}
	kept := FrameOf(ch.name, m)
	ch.noteLocked(m.Seq, f.sum(kept))
	if ch.known && ch.revised != unknown {
		ch.revised = ch.head
	}
	if first := ch.first(); m.Seq >= first && m.Seq <= ch.head {
		e := &ch.ring[m.Seq-first]
		ch.bytes += len(kept) - len(e.frame)
		e.frame = kept
		if m.Recalled {
			e.author = ""
		}
		ch.trimLocked(len(ch.ring))
	}
	f.hub.Deliver(ch.name, hub.Frame{Seq: m.Seq, JSON: revisionOf(ch.name, m, at), Withdraws: true, Shows: !m.Recalled})
}

// revisedElsewhere finds the messages that other processes have revised since the
// channel's top was since, up to the one that is top now, and revises them here, too.
// What this process was told of is among them, and is passed over. again: the store has
// to be asked once more.
func (f *Feeds) revisedElsewhere(ctx context.Context, ch *channel, since, top uint64) (again bool, err error) {
	ch.mu.Lock()
	revisions, epoch := ch.revisions, ch.epoch
	ch.mu.Unlock()
	list, err := f.store.Recalls(ctx, ch.name, since, math.MaxInt32)
	if err != nil {
		return false, err
	}
	for after := since; after < top; {
		page, err := f.store.Read(ctx, store.Query{Channel: ch.name, After: after, Limit: turnMessages, Bytes: turnBytes})
		if err != nil {
			return false, err
		}
		for _, m := range page.Messages {
			if after = m.Seq; m.Recalled || m.Edited {
				list = append(list, m)
			}
		}
		if !page.More {
			break
		}
	}
	ch.mu.Lock()
	if ch.epoch != epoch {
		ch.mu.Unlock()
		return true, nil
	}
	before := ch.bytes
	meanwhile, all := ch.sinceLocked(revisions)
	meanwhile = slices.Clone(meanwhile)
	for i := range list {
		m := &list[i]
		if r, ok := ch.newestLocked(m.Seq); ok && r.sum == f.sum(FrameOf(ch.name, m)) {
			continue
		}
		if !all || slices.ContainsFunc(meanwhile, func(r revision) bool { return r.seq == m.Seq }) {
			again = true // what was read may be older than what is known here
			continue
		}
		f.reviseLocked(ch, epoch, m, 0)
	}
	grown := ch.bytes - before
	ch.mu.Unlock()
	f.charge(ch.name, grown)
	return again, nil
}

// overtaken tells a reader, before it is fed with the messages place.Next..to, of the
// revisions that came before one of these. What tells of them to all may still be under
// way; but when the reader goes away then, it has a message that was published after them,
// and will not be told of them when it comes back. They are few; what is too large is left
// to the pass that tells all.
func (f *Feeds) overtaken(ctx context.Context, ch *channel, c *hub.Conn, place hub.Place, to uint64) error {
	seq := place.Next - 1
	for {
		ch.mu.Lock()
		now, known := ch.revisions, ch.readers.of[c.ID]
		list := slices.DeleteFunc(ch.passedLocked(known.told, seq), func(r revision) bool { return r.top >= to })
		ch.mu.Unlock()
		if len(list) == 0 {
			return nil
		}
		messages, err := f.asNow(ctx, ch.name, list, known.floor+1, seq, maxRevisedBytes)
		if err != nil {
			return Fault(err)
		}
		if ch.tell(c, messages, now, known.floor+1, seq) {
			return nil
		}
	}
}

// tell tells a connection what messages have become, which were read when there had been
// so many revisions; false: one of from..to was revised since.
func (ch *channel) tell(c *hub.Conn, messages []store.Message, revisions int, from, to uint64) bool {
	// As long as this is held nothing is delivered to all. So what tells of a later revision
	// comes after what is sent here, and is the last word.
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.anyRevisedLocked(revisions, from, to) {
		return false
	}
	for i := range messages {
		c.SendFrame(revisionOf(ch.name, &messages[i], 0), nil)
	}
	return true
}

// retell tells a connection of those of the messages from..to that were revised since
// so many had been: it may have got them as they were before. What cannot be read at
// once is told later.
func (f *Feeds) retell(ctx context.Context, ch *channel, c *hub.Conn, revisions int, from, to uint64) {
	revisions, err := f.tryRetell(ctx, ch, c, revisions, from, to)
	if err == nil || f.ctx.Err() != nil {
		return
	}
	f.metrics.Failures.Add(1)
	f.work.Go(func() {
		pause := time.NewTicker(retellEvery)
		defer pause.Stop()
		for err != nil && !c.Gone() {
			select {
			case <-f.ctx.Done():
				return
			case <-pause.C:
			}
			ctx, cancel := context.WithTimeout(f.ctx, readTimeout)
			revisions, err = f.tryRetell(ctx, ch, c, revisions, from, to)
			cancel()
		}
	})
}

// retellEvery is how long a reader waits whose revisions could not be read.
const retellEvery = 500 * time.Millisecond

// tryRetell is retell as far as the store can be read; upTo is how many revisions the
// connection needs not be told of any more.
func (f *Feeds) tryRetell(ctx context.Context, ch *channel, c *hub.Conn, revisions int, from, to uint64) (upTo int, err error) {
	for {
		ch.mu.Lock()
		now, changed := ch.revisions, ch.anyRevisedLocked(revisions, from, to)
		list, all := ch.sinceLocked(revisions)
		list = slices.Clone(list)
		ch.mu.Unlock()
		if !changed {
			return now, nil
		}
		var messages []store.Message
		if all {
			messages, err = f.asNow(ctx, ch.name, list, from, to, math.MaxInt)
		} else {
			messages, err = f.store.Recalls(ctx, ch.name, to, math.MaxInt32) // since it had the last of them
			messages = slices.DeleteFunc(messages, func(m store.Message) bool { return m.Seq < from })
		}
		if err != nil {
			return revisions, err
		}
		if ch.tell(c, messages, now, from, to) {
			return now, nil
		}
	}
}

// asNow reads the messages of a list that are among from..to and were revised, until they
// have so many bytes of data.
func (f *Feeds) asNow(ctx context.Context, channel string, list []revision, from, to uint64, bytes int) (messages []store.Message, err error) {
	var read map[uint64]bool
	for _, r := range list {
		if r.seq < from || r.seq > to || read[r.seq] || bytes < 0 {
			continue
		}
		if read == nil {
			read = map[uint64]bool{}
		}
		read[r.seq] = true
		page, err := f.store.Read(ctx, store.Query{Channel: channel, After: r.seq - 1, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(page.Messages) == 1 && page.Messages[0].Seq == r.seq && (page.Messages[0].Recalled || page.Messages[0].Edited) {
			messages = append(messages, page.Messages[0])
			bytes -= len(page.Messages[0].Data)
		}
	}
	return messages, nil
}
