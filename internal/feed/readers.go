package feed

import (
	"context"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
)

// readers is what the hub does not know of subscribers of a channel. There is something
// for those from whom a part of the channel is hidden, and for those that are behind where
// messages were revised lately. It may name connections that are not subscribed any more,
// about as many as are.
type readers struct {
	of   map[id.Connection]known
	most int // so many may be named before those that have gone are looked for
}

// known is what is known of one reader.
type known struct {
	floor uint64 // messages up to this seq are hidden from it; zero: none
	told  int    // it was told of so many revisions of the channel, as far as it needs them
}

// lower lowers all floors to a seq: the channel ends there now.
func (l *readers) lower(to uint64) {
	for c, k := range l.of {
		k.floor = min(k.floor, to)
		l.of[c] = k
	}
}

func (l *readers) set(c id.Connection, k known) {
	switch {
	case k == known{}:
		delete(l.of, c)
		return
	case l.of == nil:
		l.of = map[id.Connection]known{}
	}
	l.of[c] = k
}

// pin finds a channel whose head is known and keeps it until unpin.
func (f *Feeds) pin(ctx context.Context, name string) (*channel, error) {
	for {
		ch, err := f.load(ctx, name)
		if err != nil {
			return nil, err
		}
		ch.mu.Lock()
		evicted := ch.evicted
		if !evicted {
			ch.pinned++
		}
		ch.mu.Unlock()
		if !evicted {
			return ch, nil
		}
	}
}

// minReaders is how many are not worth a look at who has gone.
const minReaders = 16

func (f *Feeds) unpin(ch *channel) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.pinned--
	if ch.pinned > 0 || len(ch.readers.of) <= max(minReaders, ch.readers.most) {
		return
	}
	there := make(map[id.Connection]known, len(ch.readers.of))
	if c := f.hub.Channel(ch.name); c != nil {
		for _, conn := range c.Conns() {
			if k, ok := ch.readers.of[conn.ID]; ok {
				there[conn.ID] = k
			}
		}
	}
	ch.readers = readers{of: there, most: 2 * len(there)}
}

// expect notes what is known of a reader that is about to subscribe.
func (ch *channel) expect(c *hub.Conn, k known) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.readers.set(c.ID, k)
}

// caughtUp forgets what counts only as long as a reader is behind.
func (ch *channel) caughtUp(c *hub.Conn) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if k := ch.readers.of[c.ID]; k.told > 0 {
		ch.readers.set(c.ID, known{floor: k.floor})
	}
}

// floorOf gives what is hidden from a connection.
func (ch *channel) floorOf(c *hub.Conn) uint64 {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.readers.of[c.ID].floor
}

// hidden makes a gap of what is hidden from a reader that stands before it, which is so
// when the channel has begun anew; false: nothing is.
func (f *Feeds) hidden(ch *channel, s *hub.Sub, place hub.Place) ([]hub.Piece, bool) {
	ch.mu.Lock()
	floor, epoch := ch.readers.of[s.Conn().ID].floor, ch.epoch
	ch.mu.Unlock()
	if place.Next > floor {
		return nil, false
	}
	b := newBuilder(s, place)
	b.gap(ch.name, place.Next, floor, epoch)
	f.metrics.Gaps.Add(1)
	return b.pieces(), true
}
