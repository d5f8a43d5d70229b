package hub

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/skein-realtime/skein/internal/link"
)

// How a reader of a log channel gets its messages. A live one gets each pass; the
// others are served by whoever runs [Config].Behind, from what is kept.
type stage uint8

const (
	stageLive    stage = iota
	stageBehind        // [Config].Behind knows of it
	stageWaiting       // until its connection's queue is empty
)

// cursor is the place of a subscription in a log channel. A message is sent when
// it is the next one and skipped when it came before; so nothing is doubled, and
// a hole sends the reader to what is kept.
type cursor struct {
	mu    sync.Mutex // held while messages are handed to the connection
	next  uint64     // seq of the message that it needs next
	floor uint64     // it is not told what messages up to this seq have become
	turn  uint32     // grows when the client asks for another place
	stage stage
	echo  bool // wants what its own connection published
	view  any  // what it may see of a document; nil: all of it

	settled chan struct{} // closed when it is live, or over; nil: nobody waits
}

// Start says where a subscription to a log channel begins.
type Start struct {
	Next uint64 // the first seq that is sent
	Echo bool   // also what its own connection publishes
	// Floor is the seq up to which messages are hidden: what they have become is not
	// told, unless that says nothing of them. Zero: none is.
	Floor uint64
	// View is what may be seen of a document: a value that can be compared, under
	// which [Frame].Views has what is sent. Nil: all of it.
	View any
}

// Place tells where a reader of a log channel stands.
type Place struct {
	Next  uint64 // seq of the message that it needs next
	Live  bool   // false: it is catching up from what is kept
	Echo  bool
	Ended bool
	View  any // of a document; see [Start]
	turn  uint32
}

// Place gives the subscription's place; of an event channel, live at zero.
func (s *Sub) Place() Place {
	c := s.cursor
	if c == nil {
		return Place{Live: true, Ended: !s.Live()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return Place{Next: c.next, Live: c.stage == stageLive, Echo: c.echo, Ended: !s.Live(), View: c.view, turn: c.turn}
}

// staleBytes is how much of a document may wait for a reader: what is more is
// better replaced by the newest value.
const staleBytes = 32 << 10

// most is how many bytes may wait before what the reader is offered; zero: as many
// as there is room for.
func (s *Sub) most() int {
	if s.ch.space.IsDoc() {
		return staleBytes
	}
	return 0
}

// Conn is who is subscribed.
func (s *Sub) Conn() *Conn { return s.conn }

// Piece is some bytes for one reader of a log channel: in the encoding of its
// connection, of messages before Next.
type Piece struct {
	Bytes    []byte
	Messages int
	Next     uint64
}

// Progress is what became of pieces that were offered to a reader.
type Progress uint8

// The values of [Progress].
const (
	ProgressTaken   Progress = iota // all of them
	ProgressWaiting                 // its queue is full; [Config].Behind is called again when it has emptied
	ProgressMoved                   // the client asked for another place meanwhile
	ProgressEnded                   // nobody reads any more
)

// Feed hands pieces, which begin at place, to a reader that is behind, as far as
// its queue takes them. One goroutine at a time may feed a subscription.
func (s *Sub) Feed(place Place, pieces []Piece) Progress {
	c := s.cursor
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn != place.turn {
		return ProgressMoved
	}
	for _, p := range pieces {
		if !s.Live() {
			return ProgressEnded
		}
		if len(p.Bytes) > 0 {
			bufs := [1]link.Buf{{B: p.Bytes, N: uint32(p.Messages), Most: s.most()}}
			if s.conn.Outlet().Offer(bufs[:], s) == 0 {
				c.stage = stageWaiting
				return ProgressWaiting
			}
			s.conn.hub.metrics.Deliveries.Add(int64(p.Messages))
		}
		c.next = p.Next
	}
	return ProgressTaken
}

// Rejoin makes a reader that is behind live when it has everything up to what
// head gives. head runs while no pass can reach the reader.
func (s *Sub) Rejoin(head func() uint64) bool {
	c := s.cursor
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next <= head() {
		return false
	}
	if c.stage != stageLive {
		c.stage = stageLive
		s.conn.hub.metrics.Behind.Add(-1)
	}
	c.settleLocked()
	return true
}

func (c *cursor) settleLocked() {
	if c.settled != nil {
		close(c.settled)
		c.settled = nil
	}
}

// AwaitLive waits until a reader has caught up, or ends, or ctx does.
func (s *Sub) AwaitLive(ctx context.Context) {
	c := s.cursor
	if c == nil {
		return
	}
	c.mu.Lock()
	if c.stage == stageLive || !s.Live() {
		c.mu.Unlock()
		return
	}
	if c.settled == nil {
		c.settled = make(chan struct{})
	}
	settled := c.settled
	c.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// Review begins the subscription anew at another place, or with another view.
func (s *Sub) Review(at Start) { s.restart(at, nil) }

// restart begins the subscription anew at another place, as its client asked;
// wire is the answer to it, nil for none.
func (s *Sub) restart(at Start, wire []byte) {
	c := s.cursor
	c.mu.Lock()
	defer c.mu.Unlock()
	if wire != nil {
		s.conn.Outlet().SendControl(wire, nil)
	}
	c.next, c.floor, c.echo, c.view = at.Next, at.Floor, at.Echo, at.View
	c.turn++
	switch c.stage {
	case stageLive:
		s.conn.hub.metrics.Behind.Add(1)
		fallthrough
	case stageWaiting:
		c.stage = stageBehind
		s.conn.hub.cfg.Behind(s)
	case stageBehind: // it will be noticed
	}
}

// Renew sends every reader of a log channel to another place after telling it
// why with frame, which must not be dropped. floor gives what is hidden from one; nil:
// nothing is.
func (h *Hub) Renew(channel string, next uint64, frame []byte, floor func(*Conn) uint64) {
	ch := h.Channel(channel)
	if ch == nil {
		return
	}
	for _, c := range ch.Conns() {
		if s := c.subTo(ch); s != nil && s.cursor != nil {
			at := Start{Next: next, Echo: s.Place().Echo}
			if floor != nil {
				at.Floor = floor(c)
			}
			s.restart(at, c.Encode(frame))
		}
	}
}

// leaveLiveLocked takes the reader off the live path.
func (s *Sub) leaveLiveLocked(to stage) {
	s.cursor.stage = to
	s.conn.hub.metrics.Behind.Add(1)
	s.conn.hub.metrics.FellBehind.Add(1)
}

// endCursor corrects the count when a reader leaves for good.
func (s *Sub) endCursor() {
	if c := s.cursor; c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.stage != stageLive {
			c.stage = stageLive
			s.conn.hub.metrics.Behind.Add(-1)
		}
		c.settleLocked()
	}
}

// Drained is called when the connection's queue is empty again: readers that
// waited for it go on.
func (c *Conn) Drained() {
	for _, s := range c.Subs() {
		if cur := s.cursor; cur != nil {
			cur.mu.Lock()
			waits := cur.stage == stageWaiting
			if waits {
				cur.stage = stageBehind
			}
			cur.mu.Unlock()
			if waits {
				c.hub.cfg.Behind(s)
			}
		}
	}
	if c.hub.cfg.Drained != nil {
		c.hub.cfg.Drained(c)
	}
}

// Frame is one message of a log channel for its subscribers.
type Frame struct {
	Seq    uint64
	JSON   []byte
	Author *Conn   // gets it only when it wants its own; nil: nobody
	Except []*Conn // do not get it
	// Own is what the author gets instead of JSON; nil: the same.
	Own []byte
	// Views has, for each view, what its readers get instead of JSON. Who has a view
	// that is missing leaves the live path.
	Views map[any][]byte
	// Withdraws says that the frame tells of an older message: it has no place of
	// its own, and nobody may miss it who has that.
	Withdraws bool
	// Shows says that such a frame has the content of the message: it is not for those
	// from whom that is hidden.
	Shows bool
}

// Deliver hands frames of a log channel to its live subscribers. For one channel
// it must be called in the order of seq.
func (h *Hub) Deliver(channel string, frames ...Frame) {
	ch := h.Channel(channel)
	if ch == nil {
		for _, f := range frames {
			h.published(channel, f.JSON)
		}
		return
	}
	for _, f := range frames {
		p := pend{frame: f.JSON, except: f.Except, seq: f.Seq, author: f.Author, own: f.Own, views: f.Views, shows: f.Shows, kind: pendLog, timed: true}
		if f.Withdraws {
			p.kind = pendMust
		}
		h.enqueue(ch, p)
		h.metrics.Published.Add(1)
	}
}

// WantsOwn tells whether a connection is subscribed to a log channel and gets
// what it publishes there itself.
func (h *Hub) WantsOwn(c *Conn, channel string) bool {
	if ch := h.Channel(channel); ch != nil {
		if s := c.subTo(ch); s != nil {
			return s.Place().Echo
		}
	}
	return true
}

// Views gives the different views that subscribers of a channel have.
func (h *Hub) Views(channel string) []any {
	ch := h.Channel(channel)
	if ch == nil {
		return nil
	}
	seen := map[any]bool{}
	for _, s := range ch.Subs() {
		if view := s.Place().View; view != nil {
			seen[view] = true
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// Await waits until the channel has room for another message, as [Hub.Publish]
// does; its error is then unavailable.
func (h *Hub) Await(ctx context.Context, channel string) error {
	ch := h.Channel(channel)
	if ch == nil {
		return nil
	}
	return h.await(ctx, func(i int) *part { return &ch.parts[i] })
}

// logPass hands messages with rising seqs, without holes, to the live readers.
func (w *worker) logPass(p *part, batch []pend) int {
	first, next := batch[0].seq, batch[len(batch)-1].seq+1
	return w.each(p, func(t *target) {
		s := t.log
		if s == nil {
			return
		}
		c := s.cursor
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.stage != stageLive || c.next >= next || !s.Live():
			return
		case c.next < first:
			s.leaveLiveLocked(stageBehind)
			w.hub.cfg.Behind(s)
			return
		case t.except != nil || c.next > first:
			w.chosenLocked(batch, t)
			return
		}
		key := classKey{encoding: t.encoding}
		if c.view != nil {
			key.view, t.view = c.view, c.view
			for i := range batch {
				if batch[i].of(c.view) == nil {
					s.leaveLiveLocked(stageBehind)
					w.hub.cfg.Behind(s)
					return
				}
			}
		}
		bufs := w.shared(key, batch, t)
		taken := t.out.Offer(bufs, s)
		for i := range bufs[:taken] {
			c.next += uint64(bufs[i].N)
			w.delivered += int64(bufs[i].N)
		}
		if taken < len(bufs) {
			s.leaveLiveLocked(stageWaiting)
		}
	})
}

// chosenLocked hands a reader the messages of batch that it still needs and that
// are meant for it, one by one.
func (w *worker) chosenLocked(batch []pend, t *target) {
	s, c := t.log, t.log.cursor
	enc := t.encoding
	for i := range batch {
		f := &batch[i]
		if f.seq < c.next {
			continue
		}
		if !(f.author == s.conn && !c.echo || contains(f.except, s.conn)) {
			frame := f.of(c.view)
			if f.author == s.conn && f.own != nil {
				frame = f.own
			}
			if frame == nil {
				s.leaveLiveLocked(stageBehind)
				w.hub.cfg.Behind(s)
				return
			}
			bufs := [1]link.Buf{{B: enc.Append(make([]byte, 0, len(frame)+14), frame), N: 1, Most: s.most()}}
			if t.out.Offer(bufs[:], s) == 0 {
				s.leaveLiveLocked(stageWaiting)
				return
			}
			w.delivered++
		}
		c.next = f.seq + 1
	}
}

// mustPass hands out frames that tell of messages which came before. Who has
// not come as far reads of it in its place.
func (w *worker) mustPass(p *part, batch []pend) int {
	return w.each(p, func(t *target) {
		s := t.log
		if s == nil {
			return
		}
		c := s.cursor
		c.mu.Lock()
		defer c.mu.Unlock()
		enc := t.encoding
		for i := range batch {
			f := &batch[i]
			if f.seq >= c.next || f.shows && f.seq <= c.floor || !s.Live() {
				continue
			}
			b := enc.Append(make([]byte, 0, len(f.frame)+14), f.frame)
			bufs := [1]link.Buf{{B: b, N: 1}}
			if t.out.Offer(bufs[:], s) == 0 {
				t.out.SendControl(b, nil)
			}
			w.delivered++
		}
	})
}

// Next is the seq of the message that the subscription gets next. It is for an
// [Outlet], while messages are being offered to it.
func (s *Sub) Next() uint64 {
	if s.cursor == nil {
		return 0
	}
	return s.cursor.next
}
