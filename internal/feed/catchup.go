package feed

import (
	"context"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Bounds of one turn of a reader: then the next one has its turn.
const (
	turnMessages = 256
	turnBytes    = 64 << 10
)

// Behind puts a reader in line; it is [hub.Config].Behind.
func (f *Feeds) Behind(s *hub.Sub) {
	f.line.Add(s)
}

// Joined lets a new reader begin; it is [hub.Config].Joined. One that lacks
// nothing is live at once.
func (f *Feeds) Joined(s *hub.Sub) {
	if ch := f.peek(s.Channel().Name()); ch != nil && ch.rejoin(s) {
		return
	}
	f.Behind(s)
}

// headForReaders is the head, or more than anybody has while it is not known.
func (ch *channel) headForReaders() uint64 {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if !ch.known || ch.evicted {
		return unknown
	}
	return ch.head
}

// rejoin makes a reader live that lacks nothing.
func (ch *channel) rejoin(s *hub.Sub) bool {
	if !s.Rejoin(ch.headForReaders) {
		return false
	}
	ch.caughtUp(s.Conn())
	return true
}

// readTimeout bounds one read for a reader that is behind.
const readTimeout = 10 * time.Second

// turn gives a reader what it lacks, as much as is right at once. True: it wants
// another turn.
func (f *Feeds) turn(s *hub.Sub) (again bool, err error) {
	defer func() {
		if err != nil {
			f.metrics.Failures.Add(1)
		}
	}()
	place := s.Place()
	if place.Ended || place.Live {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(f.ctx, readTimeout)
	defer cancel()
	ch, err := f.load(ctx, s.Channel().Name())
	if err != nil {
		return false, err
	}
	if ch.rejoin(s) {
		return false, nil
	}
	revisions := ch.revisionCount()
	pieces, hides := f.hidden(ch, s, place)
	if !hides {
		var ok bool
		if pieces, ok = f.recent(ch, s, place); !ok {
			if pieces, err = f.stored(ctx, ch, s, place); err != nil {
				return false, err
			}
		}
	}
	upTo := place.Next - 1
	if len(pieces) > 0 && !hides {
		upTo = pieces[len(pieces)-1].Next - 1
		if err := f.overtaken(ctx, ch, s.Conn(), place, upTo); err != nil {
			return false, err
		}
	}
	progress := s.Feed(place, pieces)
	if progress == hub.ProgressTaken && upTo >= place.Next {
		// A message may have been revised after it was read and before it was sent.
		f.retell(ctx, ch, s.Conn(), revisions, place.Next, upTo)
	}
	switch progress {
	case hub.ProgressWaiting, hub.ProgressEnded:
		return false, nil
	case hub.ProgressMoved:
		return true, nil
	}
	return !ch.rejoin(s), nil
}

// recent makes pieces of messages in memory; false when the next one is not there.
func (f *Feeds) recent(ch *channel, s *hub.Sub, place hub.Place) ([]hub.Piece, bool) {
	space := f.space(ch.name)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if !ch.known || place.Next < ch.readable(space) || place.Next > ch.head {
		return nil, false
	}
	first := ch.first()
	b := newBuilder(s, place)
	for i := place.Next - first; i < uint64(len(ch.ring)) && !b.full(); i++ {
		e := &ch.ring[i]
		b.add(first+i, e.frame, e.author)
	}
	f.metrics.FromMemory.Add(int64(b.piece.Messages))
	return b.pieces(), true
}

// stored makes pieces of messages in the store.
func (f *Feeds) stored(ctx context.Context, ch *channel, s *hub.Sub, place hub.Place) ([]hub.Piece, error) {
	revisions := ch.revisionCount()
	page, err := f.store.Read(ctx, store.Query{Channel: ch.name, After: place.Next - 1, Limit: turnMessages, Bytes: turnBytes})
	if err != nil {
		return nil, Fault(err)
	}
	if f.noticeEpoch(ch, page.Head) {
		return nil, nil // every reader, this one too, is sent to the new beginning
	}
	b := newBuilder(s, place)
	next := place.Next
	for i := range page.Messages {
		m := &page.Messages[i]
		if m.Seq > next {
			b.gap(ch.name, next, m.Seq-1, page.Head.Epoch)
			f.metrics.Gaps.Add(1)
		}
		b.add(m.Seq, FrameOf(ch.name, m), m.Sender.Connection)
		next = m.Seq + 1
	}
	if len(page.Messages) == 0 && page.Head.Top >= next {
		b.gap(ch.name, next, page.Head.Top, page.Head.Epoch)
		f.metrics.Gaps.Add(1)
	}
	f.metrics.FromStore.Add(int64(b.piece.Messages))
	f.remember(ch, page.Messages, revisions)
	return b.pieces(), nil
}

// noticeEpoch tells whether the channel began anew, and sees to it that its
// readers learn of it.
func (f *Feeds) noticeEpoch(ch *channel, head store.Head) bool {
	ch.mu.Lock()
	renewed := ch.known && ch.epoch != head.Epoch
	freed := 0
	if renewed {
		freed = ch.bytes
		ch.renewLocked(head.Epoch, head.Top)
	}
	ch.mu.Unlock()
	f.charge(ch.name, -freed)
	if renewed {
		f.tellRenewed(ch)
	}
	return renewed
}

// remember puts messages that were read from the store in front of those in
// memory, when they fit there: many readers often lack the same ones. What was
// revised since so many had been may have been read before that, and is not kept.
func (f *Feeds) remember(ch *channel, list []store.Message, revisions int) {
	if len(list) == 0 {
		return
	}
	ch.mu.Lock()
	first := ch.first()
	last := list[len(list)-1].Seq
	if ch.evicted || !ch.known || last+1 != first || last-list[0].Seq+1 != uint64(len(list)) || ch.anyRevisedLocked(revisions, list[0].Seq, last) {
		ch.mu.Unlock()
		return
	}
	grown := 0
	front := make([]entry, 0, len(list)+len(ch.ring))
	for i := range list {
		m := &list[i]
		frame := FrameOf(ch.name, m)
		front = append(front, entry{frame: frame, author: m.Sender.Connection, time: m.Time})
		grown += len(frame) + overhead
	}
	if len(front)+len(ch.ring) > maxRing/2 || ch.bytes+grown > maxRingBytes/2 {
		grown = 0
	} else {
		ch.ring = append(front, ch.ring...)
		ch.bytes += grown
	}
	ch.mu.Unlock()
	f.charge(ch.name, grown)
}

// builder joins frames for one reader.
type builder struct {
	conn   *hub.Conn
	own    string // frames of this author are left out; empty: of nobody
	piece  hub.Piece
	frames int
}

func newBuilder(s *hub.Sub, place hub.Place) *builder {
	b := &builder{conn: s.Conn(), piece: hub.Piece{Next: place.Next}}
	if !place.Echo {
		b.own = b.conn.ID.String()
	}
	return b
}

func (b *builder) full() bool {
	return b.frames >= turnMessages || len(b.piece.Bytes) >= turnBytes
}

func (b *builder) add(seq uint64, frame []byte, author string) {
	b.piece.Next = seq + 1
	b.frames++
	if b.own != "" && author == b.own {
		return
	}
	if b.piece.Bytes == nil {
		b.piece.Bytes = make([]byte, 0, 4<<10)
	}
	b.piece.Bytes = b.conn.AppendEncoded(b.piece.Bytes, frame)
	b.piece.Messages++
}

func (b *builder) gap(channel string, from, to uint64, epoch string) {
	b.piece.Bytes = b.conn.AppendEncoded(b.piece.Bytes, protocol.AppendGap(nil, channel, from, to, epoch))
	b.piece.Next = to + 1
}

func (b *builder) pieces() []hub.Piece { return []hub.Piece{b.piece} }
