package push

import (
	"cmp"
	"slices"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// turn is a worker's work on one user.
type turn struct {
	p *Pushes
	*user
	settings Settings
	now      int64
}

// run takes what has happened, sends what can be sent, and asks for what is to be read
// next.
func (t *turn) run(in *inbound) {
	defer func() { clear(t.here[:cap(t.here)]) }()
	if in.result != nil {
		t.job.kind = none
	}
	if len(t.here) == 0 { // nobody is here: all is in the store
		t.forget()
		return
	}
	t.leave()
	for _, c := range in.arrived {
		t.arrive(c)
	}
	for _, c := range in.drained {
		if s := t.seat(c); s != nil {
			s.waiting = false
		}
	}
	missed := in.missed
	if in.isLate && (missed == 0 || in.late < missed) {
		// What was told after it comes from the store, too, so that it does not overtake.
		missed = in.late + 1
		in.passed = max(in.passed, lastSeq(in.live))
		in.live = slices.DeleteFunc(in.live, func(i item) bool { return i.seq >= missed })
	}
	t.hold = append(t.hold, in.live...)
	for i := range in.ends {
		t.end(&in.ends[i])
	}
	for i := range in.recalled {
		t.recall(&in.recalled[i])
	}
	if in.result != nil {
		t.take(in.result)
		t.over = over{}
	}
	t.live()
	if missed != 0 {
		t.miss(missed)
		t.passed = max(t.passed, in.passed)
	}
	t.wake(in.woken)
	if in.judge {
		t.judge = true
	}
	if in.open && len(t.flight) == 0 {
		t.lack(0)
	}
	if in.tick {
		t.again()
	}
	t.join()
	t.next(in.tick)
	if t.job.kind == none {
		t.over = over{}
	}
}

// is notes the user's number. With another one the user was deleted, and is there
// anew: nothing that was known of the inbox counts.
func (t *turn) is(n uint64) {
	if t.n != 0 && n != t.n {
		t.p.metrics.InFlight.Add(-int64(len(t.flight)))
		t.flight, t.passed, t.reach, t.lacking, t.stalled = nil, 0, 0, false, false
		for _, s := range t.seats {
			s.last = 0
		}
	}
	t.n = n
}

// forget drops everything: the store has it.
func (t *turn) forget() {
	t.p.metrics.Behind.Add(-int64(len(t.seats)))
	t.p.metrics.InFlight.Add(-int64(len(t.flight)))
	t.seats, t.flight, t.hold, t.lacking, t.judge, t.look, t.stalled, t.passed, t.reach, t.over = nil, nil, nil, false, false, false, false, 0, 0, over{}
}

// leave forgets connections that have ended, or are somebody else's.
func (t *turn) leave() {
	before := len(t.seats)
	t.seats = slices.DeleteFunc(t.seats, func(s *seat) bool { return !slices.Contains(t.here, s.conn) })
	t.p.metrics.Behind.Add(int64(len(t.seats) - before))
	if len(t.seats) == 0 {
		t.seats = nil
	}
}

// arrive begins with a connection.
func (t *turn) arrive(c *hub.Conn) {
	if !slices.Contains(t.here, c) {
		return
	}
	s := t.seat(c)
	if s == nil {
		s = t.sit(c, 0)
	}
	s.last, s.fresh, s.waiting = 0, true, false
	if len(t.flight) > 0 {
		t.judge = true
	} else {
		t.look = true
	}
}

// sit makes a connection one that is behind.
func (t *turn) sit(c *hub.Conn, last uint64) *seat {
	s := &seat{conn: c, last: last}
	t.seats = append(t.seats, s)
	t.p.metrics.Behind.Add(1)
	return s
}

// fallBehind makes those that are live be behind: they lack what begins with seq.
func (t *turn) fallBehind(seq uint64) {
	for _, c := range t.here {
		if t.seat(c) == nil {
			t.sit(c, max(seq-1, t.reach))
			t.p.metrics.FellBehind.Add(1)
		}
	}
}

// miss is fallBehind also for what is held back, which then comes from the store, too.
func (t *turn) miss(seq uint64) {
	if len(t.hold) > 0 {
		seq = min(seq, t.hold[0].seq)
		t.passed = max(t.passed, lastSeq(t.hold))
		t.hold = nil
	}
	t.fallBehind(seq)
}

func lastSeq(list []item) uint64 {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].seq
}

// end forgets what has ended.
func (t *turn) end(e *ends) {
	before := len(t.flight)
	t.flight = slices.DeleteFunc(t.flight, func(x entry) bool {
		return x.seq <= e.upTo || slices.Contains(e.seqs, x.seq) || slices.Contains(e.ids, x.id)
	})
	t.p.metrics.InFlight.Add(int64(len(t.flight) - before))
	if t.job.kind != none || len(t.hold) > 0 {
		t.over.upTo = max(t.over.upTo, e.upTo)
		for _, seq := range e.seqs {
			t.over.add(seq)
		}
	}
}

// recall takes a message away from whoever may have it.
func (t *turn) recall(r *store.EndedRow) {
	_, under := t.find(r.Seq)
	t.end(&ends{seqs: []uint64{r.Seq}})
	t.over.add(r.Seq) // it may be among what was woken just now, too
	t.hold = slices.DeleteFunc(t.hold, func(i item) bool { return i.seq == r.Seq })
	if !under && !r.Sent {
		return
	}
	frame := protocol.AppendRecall(nil, protocol.Inbox, r.Seq, r.ID)
	for _, c := range t.here {
		c.SendFrame(frame, nil)
	}
}

// live sends what the store has told, unless the store is being read.
func (t *turn) live() {
	if t.job.kind >= judging {
		if len(t.hold) > maxLive {
			t.miss(t.hold[0].seq)
		}
		return
	}
	if len(t.hold) == 0 {
		t.hold = nil
		return
	}
	list := t.hold
	t.hold = nil
	t.is(list[0].n)
	t.passed = max(t.passed, lastSeq(list))
	if len(t.seats) == len(t.here) {
		return // all are behind
	}
	var out []outgoing
	beyond := uint64(0) // the first that the window has no room for
	room := t.settings.Window - len(t.flight)
	for _, i := range list {
		if _, under := t.find(i.seq); under || i.seq <= t.reach || t.over.has(i.seq) {
			continue
		}
		if len(out) >= room {
			beyond = i.seq
			break
		}
		out = append(out, outgoing{seq: i.seq, id: i.m.id, frame: i.m.frame(i.seq)})
	}
	t.hand(out, func(*seat, *outgoing) bool { return false }, true)
	t.reached(out, true)
	if beyond != 0 {
		t.stalled = true
		t.fallBehind(beyond)
	}
}

// wake sends what was put off and may come now.
func (t *turn) wake(list []item) {
	var out []outgoing
	room := t.settings.Window - len(t.flight)
	for _, i := range list {
		switch _, under := t.find(i.seq); {
		case under || t.over.has(i.seq):
		case t.job.kind >= judging || len(out) >= room:
			t.stalled = t.stalled || len(out) >= room
			t.lack(i.seq - 1)
		default:
			t.is(i.n)
			out = append(out, outgoing{seq: i.seq, id: i.m.id, frame: i.m.frame(i.seq)})
		}
	}
	slices.SortFunc(out, func(a, b outgoing) int { return cmp.Compare(a.seq, b.seq) })
	// Who is behind gets what is after its place in its turn.
	t.hand(out, func(s *seat, m *outgoing) bool { return m.seq <= s.last }, true)
	for i := range out {
		if !out[i].handed {
			t.lack(out[i].seq - 1)
		}
	}
}

// again looks for what was not acknowledged in time.
func (t *turn) again() {
	before := len(t.flight)
	t.flight = slices.DeleteFunc(t.flight, func(e entry) bool { return t.overdue(&e) && e.tries >= t.settings.AckRetries })
	t.p.metrics.InFlight.Add(int64(len(t.flight) - before))
	t.p.metrics.GaveUp.Add(int64(before - len(t.flight)))
	for i := range t.flight {
		if t.overdue(&t.flight[i]) {
			t.lack(t.flight[i].seq - 1) // by seq, so this is the first
			t.stalled = false           // what is sent again needs no more room, and what has ended gives some
			break
		}
	}
}

func (t *turn) overdue(e *entry) bool {
	return e.at+t.settings.AckTimeout.Milliseconds() <= t.now
}

// join makes those live that have everything, after telling them what was held back.
func (t *turn) join() {
	for _, s := range t.seats {
		if s.notice != nil && !s.waiting {
			s.conn.SendFrame(s.notice, nil)
			s.notice = nil
		}
	}
}

// next asks for what is to be read.
func (t *turn) next(tick bool) {
	if t.job.kind != none || t.now < t.retryAt {
		return
	}
	room := t.settings.Window - len(t.flight)
	if t.stalled && (room >= max(1, t.settings.Window/4) || tick && room > 0) {
		t.stalled = false
	}
	after, lacks := t.from()
	j := job{user: t.user, at: t.now, limit: min(t.settings.Window, pageLimit), zone: t.settings.Zone, keep: t.settings.Keep}
	switch {
	case t.judge:
		j.kind = judging
		t.judge, t.look = false, false
		for _, s := range t.seats {
			j.tell = j.tell || s.fresh
		}
	case t.look:
		j.kind = looking
		t.look = false
	case lacks && !t.stalled && t.reachable():
		j.kind, j.after = paging, after
	default:
		return
	}
	t.job = j
	t.p.pool.add(&j)
}

// reachable tells whether somebody could take something.
func (t *turn) reachable() bool {
	return slices.ContainsFunc(t.here, func(c *hub.Conn) bool { s := t.seat(c); return s == nil || !s.waiting })
}

// due is when the user is to be looked at again; 0: not by itself.
func (t *turn) due() int64 {
	due := int64(0)
	sooner := func(at int64) {
		if due == 0 || at < due {
			due = at
		}
	}
	for i := range t.flight {
		sooner(t.flight[i].at + t.settings.AckTimeout.Milliseconds())
	}
	if t.retryAt > t.now {
		sooner(t.retryAt)
	}
	if t.stalled && len(t.flight) < t.settings.Window {
		sooner(t.now)
	}
	return due
}
