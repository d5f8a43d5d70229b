package push

import (
	"cmp"
	"slices"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/store"
)

// take takes what was read of the store.
func (t *turn) take(r *result) {
	if r.err != nil {
		t.retryAt = t.now + pauseTime.Milliseconds()
		t.judge = t.judge || r.kind == judging
		t.look = t.look || r.kind == looking
		return
	}
	in := &r.out.Inbox
	t.is(in.N)
	if r.kind == looking {
		// Who was never heard of is heard of by being judged.
		if t.judge = t.judge || in.N == 0 || in.Open > 0 || in.Behind || in.Held; t.judge {
			return
		}
	}
	if r.kind == judging {
		t.judged(r)
	}
	t.missing(r)
	upTo := t.sendPage(r)
	t.advance(r, upTo)
}

// judged takes what the store has held back.
func (t *turn) judged(r *result) {
	t.p.metrics.Collected.Add(1)
	t.p.metrics.Held.Add(int64(len(r.out.Held)))
	t.judge = t.judge || r.out.Inbox.Behind // there are more messages to everybody
	if len(r.out.Held) > 0 {
		back := make(map[uint64]bool, len(r.out.Held))
		for i := range r.out.Held {
			back[r.out.Held[i].Seq] = true
			t.p.wakes.set(r.out.Held[i].Due)
		}
		t.hold = slices.DeleteFunc(t.hold, func(i item) bool { return back[i.seq] })
	}
	for _, s := range t.seats {
		if s.fresh && len(r.held) > 0 {
			s.notice = r.held.notice(t.now)
		}
		s.fresh = false
	}
}

// missing forgets what is open as far as is known, and has ended in the store: another
// process may have taken the acknowledgement.
func (t *turn) missing(r *result) {
	upTo := r.out.Inbox.Top
	list := r.out.Messages
	if r.out.More && len(list) > 0 {
		upTo = list[len(list)-1].Seq
	}
	gone := func(seq uint64) bool {
		if seq <= r.after || seq > upTo {
			return false
		}
		_, there := slices.BinarySearchFunc(list, seq, func(m store.Item, seq uint64) int { return cmp.Compare(m.Seq, seq) })
		return !there
	}
	before := len(t.flight)
	t.flight = slices.DeleteFunc(t.flight, func(e entry) bool { return e.at <= r.at && gone(e.seq) })
	// What was told, and has been replaced since, need not be sent any more.
	t.hold = slices.DeleteFunc(t.hold, func(i item) bool { return gone(i.seq) })
	t.p.metrics.InFlight.Add(int64(len(t.flight) - before))
}

// outgoing is a message that is to be sent.
type outgoing struct {
	seq    uint64
	id     string
	frame  []byte
	all    bool // everybody lacks it
	noted  bool // the store knows that it was sent
	handed bool
}

// sendPage sends what was read, and tells up to which seq nothing is left of it.
func (t *turn) sendPage(r *result) (upTo uint64) {
	list := r.out.Messages
	upTo = r.out.Inbox.Top
	if r.out.More && len(list) > 0 {
		upTo = list[len(list)-1].Seq
	}
	var out []outgoing
	room := t.settings.Window - len(t.flight)
	for i := range list {
		m := &list[i]
		if t.over.has(m.Seq) {
			continue
		}
		o := outgoing{seq: m.Seq, id: m.ID, noted: m.State == store.Sent}
		k, under := t.find(m.Seq)
		if under {
			e := &t.flight[k]
			o.all = t.overdue(e) && e.tries < t.settings.AckRetries
		} else {
			o.all = m.State == store.Queued
		}
		if !o.all && !t.lackedBySeat(r, m.Seq) {
			continue
		}
		if !under {
			if room <= 0 {
				t.stalled = true
				upTo = m.Seq - 1
				break
			}
			room--
		}
		o.frame = newMessage(&m.Content).frame(m.Seq)
		out = append(out, o)
	}
	if len(out) > 0 {
		t.p.metrics.Pages.Add(1)
	}
	t.hand(out, func(s *seat, m *outgoing) bool {
		return s.last >= r.after && (m.all || m.seq > s.last)
	}, false)
	t.reached(out, false)
	for i := range out {
		if out[i].all && !out[i].handed { // nobody could take it now
			t.lack(out[i].seq - 1)
			return min(upTo, out[i].seq-1)
		}
	}
	return upTo
}

// reached notes how far those that are live have come by messages that were sent to
// them: all, or those for everybody.
func (t *turn) reached(out []outgoing, all bool) {
	for i := range out {
		if m := &out[i]; m.handed && (all || m.all) {
			t.reach = max(t.reach, m.seq)
		}
	}
}

// lackedBySeat tells whether somebody behind, for whom the page is, lacks a seq.
func (t *turn) lackedBySeat(r *result, seq uint64) bool {
	return slices.ContainsFunc(t.seats, func(s *seat) bool { return !s.waiting && s.last >= r.after && s.last < seq })
}

// advance notes how far everybody has come by a page, which goes to upTo.
func (t *turn) advance(r *result, upTo uint64) {
	done := !r.out.More && !t.stalled && upTo >= r.out.Inbox.Top
	moved := upTo > r.after
	if t.lacking && t.low >= r.after {
		t.lacking = false
	}
	if !done {
		// The reading may have put messages to everybody into the inbox, which must not
		// be overtaken: all are behind until it has come to the top.
		t.lack(upTo)
		t.fallBehind(upTo + 1)
	}
	before := len(t.seats)
	t.seats = slices.DeleteFunc(t.seats, func(s *seat) bool {
		if s.waiting || s.last < r.after {
			return false
		}
		s.last = max(s.last, upTo)
		if !done || s.last < t.passed {
			return false
		}
		if s.notice != nil {
			s.conn.SendFrame(s.notice, nil)
		}
		return true
	})
	t.p.metrics.Behind.Add(int64(len(t.seats) - before))
	if len(t.seats) == 0 {
		t.seats = nil
	}
	if after, lacks := t.from(); lacks && !moved && after <= r.after && !t.stalled {
		t.retryAt = t.now + pauseTime.Milliseconds()/4 // it would be the same again
	}
}

// Bytes that are handed to a connection at once.
const chunkBytes = 32 << 10

// hand sends messages, by seq, to those that are live, if live says so or the message
// is for all, and to those behind for whom wants says so. Who cannot take all becomes
// behind, or is so again, with its place before the first that it could not take. What
// somebody has taken is under way then.
func (t *turn) hand(out []outgoing, wants func(*seat, *outgoing) bool, live bool) {
	if len(out) == 0 {
		return
	}
	for _, c := range t.here {
		s := t.seat(c)
		if s != nil && s.waiting {
			continue
		}
		var wire []byte
		var held []int // places of what is in wire
		for i := range out {
			m := &out[i]
			if s == nil && (live || m.all) || s != nil && wants(s, m) {
				wire = c.AppendEncoded(wire, m.frame)
				held = append(held, i)
			}
			if len(held) > 0 && (len(wire) >= chunkBytes || i == len(out)-1) {
				if !t.offer(c, s, out, held, wire) {
					break
				}
				wire, held = nil, nil
			}
		}
	}
	for i := range out {
		if out[i].handed {
			t.sent(&out[i])
		}
	}
}

// offer hands some messages to one connection. False: nothing more fits.
func (t *turn) offer(c *hub.Conn, s *seat, out []outgoing, places []int, wire []byte) bool {
	taken, there := c.OfferInbox(t.name, wire, len(places))
	switch {
	case taken:
		if there {
			for _, i := range places {
				out[i].handed = true
			}
		}
		return true
	case !there:
		return false
	}
	before := out[places[0]].seq - 1
	if s == nil {
		s = t.sit(c, before)
		t.p.metrics.FellBehind.Add(1)
	} else {
		s.last = before
	}
	s.waiting = true
	return false
}

// sent notes that a message was handed to somebody.
func (t *turn) sent(m *outgoing) {
	k, under := t.find(m.seq)
	if under {
		e := &t.flight[k]
		if m.all {
			e.tries++
			t.p.metrics.Resent.Add(1)
		} else {
			e.tries = 0
		}
		e.at = t.now
		return
	}
	t.flight = slices.Insert(t.flight, k, entry{seq: m.seq, id: m.id, at: t.now})
	t.p.metrics.InFlight.Add(1)
	if !m.noted {
		t.p.metrics.Sent.Add(1)
		t.p.settler.sent(t.name, t.n, m.seq, t.now)
	}
}
