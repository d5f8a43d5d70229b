package hub

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/link"
)

// Bounds of what may be pending. A part's bounds limit what one pass carries,
// so that a message waits for about one pass before its own; a shard's debt
// limits the passes that stand in line.
const (
	maxPendingFrames = 64
	maxPendingBytes  = 64 << 10
	maxDebt          = 1 << 21 // deliveries, those of the pass under way included
	joinBytes        = 64 << 10
	chunk            = 128 // receivers that are read under one lock
)

// pend is one frame that waits for its pass.
type pend struct {
	frame        []byte
	except       []*Conn
	watchersOnly bool // only subscribers that asked for join and leave
	boundOnly    bool // only connections with a user
	membersOnly  bool // only subscribers that are there as members

	kind   pendKind
	seq    uint64 // of a log channel's message
	author *Conn  // whose message it is
	own    []byte // what the author gets instead of frame; nil: the same
	views  map[any][]byte
	shows  bool // what an older message is now

	timed  bool          // it is a message, of which is told how long it took
	weight uint8         // for how many it stands; zero: another one stands for it
	at     time.Duration // when it was accepted, on the hub's clock
}

// of gives what readers with a view get; nil: nothing is there for them.
func (f *pend) of(view any) []byte {
	if view == nil {
		return f.frame
	}
	return f.views[view]
}

// pendKind says how a frame is handed over.
type pendKind uint8

const (
	pendEvent pendKind = iota // newest wins when a queue is full
	pendLog                   // by seq; whoever is too slow catches up
	pendMust                  // to all who have its message
)

// shard is a share of the connections and the worker that writes to them.
type shard struct {
	hub   *Hub
	index int
	all   part // its connections as receivers of what is sent to everybody

	mu      sync.Mutex // guards all below, and the pending parts of its channels
	wake    sync.Cond
	dirty   []*part
	debt    int // deliveries that are pending
	room    chan struct{}
	closing bool

	connsMu  sync.Mutex // guards all below
	conns    []*Conn    // nil where one left during a pass
	passing  bool
	holes    int
	welcomed int
}

func newShard(h *Hub) *shard {
	s := &shard{hub: h, index: len(h.shards)}
	s.wake.L = &s.mu
	s.all.shard = s
	return s
}

func (s *shard) stop() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.wake.Signal()
}

func (s *shard) add(c *Conn) {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	c.pos = len(s.conns)
	s.conns = append(s.conns, c)
	s.welcomed++
	s.hub.count(c, 1)
}

func (s *shard) remove(c *Conn) {
	s.connsMu.Lock()
	defer s.connsMu.Unlock()
	s.welcomed--
	s.hub.count(c, -1)
	if s.passing {
		s.conns[c.pos] = nil
		s.holes++
		return
	}
	s.swapOut(c.pos)
}

func (s *shard) swapOut(pos int) {
	last := len(s.conns) - 1
	s.conns[pos] = s.conns[last]
	if s.conns[pos] != nil {
		s.conns[pos].pos = pos
	}
	s.conns[last] = nil
	s.conns = s.conns[:last]
	if cap(s.conns) > 1024 && last < cap(s.conns)/4 {
		s.conns = append(make([]*Conn, 0, cap(s.conns)/2), s.conns...)
	}
}

// enqueue gives a frame to every shard that has receivers, whatever is pending.
func (h *Hub) enqueue(ch *Channel, f pend) {
	ch.order.Lock()
	defer ch.order.Unlock()
	h.published(ch.name, f.frame)
	if f.timed {
		f.at, f.weight = ch.stampLocked(h)
	}
	for i := range ch.parts {
		p := &ch.parts[i]
		p.mu.Lock()
		n := len(p.subs)
		p.mu.Unlock()
		if n > 0 {
			p.shard.append(p, f, n)
		}
	}
}

// everybody is enqueue for all connections.
func (h *Hub) everybody(f pend) {
	f.at, f.weight = h.now(), 1
	for _, s := range h.shards {
		s.connsMu.Lock()
		n := len(s.conns)
		s.connsMu.Unlock()
		if n > 0 {
			s.append(&s.all, f, n)
		}
	}
}

func (s *shard) append(p *part, f pend, receivers int) {
	s.mu.Lock()
	p.pending = append(p.pending, f)
	p.bytes += len(f.frame)
	s.debt += receivers
	wake := !p.dirty
	if wake {
		p.dirty = true
		s.dirty = append(s.dirty, p)
	}
	s.mu.Unlock()
	if wake {
		s.wake.Signal()
	}
}

// await waits until every part has room for another frame. Its error is
// unavailable: the publisher's patience is over.
func (h *Hub) await(ctx context.Context, parts func(i int) *part) error {
	var timer *time.Timer
	for i, s := range h.shards {
		p := parts(i)
		for {
			s.mu.Lock()
			full := len(p.pending) >= maxPendingFrames || p.bytes >= maxPendingBytes || s.debt >= maxDebt && len(p.pending) > 0
			if !full {
				s.mu.Unlock()
				break
			}
			if s.room == nil {
				s.room = make(chan struct{})
			}
			room := s.room
			s.mu.Unlock()
			if timer == nil {
				h.metrics.Paced.Add(1)
				timer = time.NewTimer(h.cfg.Patience)
				defer timer.Stop()
			}
			select {
			case <-room:
			case <-timer.C:
				h.metrics.Refused.Add(1)
				return fault.New(fault.Unavailable, "more is being published than can be delivered").After(time.Second)
			case <-ctx.Done():
				h.metrics.Refused.Add(1)
				return fault.Wrap(fault.Unavailable, ctx.Err(), "the request ended before there was room").After(time.Second)
			}
		}
	}
	return nil
}

// run is the shard's worker.
func (s *shard) run() {
	defer s.hub.workers.Done()
	w := &worker{shard: s, hub: s.hub}
	var round []*part
	for {
		s.mu.Lock()
		for len(s.dirty) == 0 && !s.closing {
			s.wake.Wait()
		}
		if len(s.dirty) == 0 {
			s.mu.Unlock()
			return
		}
		round, s.dirty = s.dirty, round[:0]
		s.mu.Unlock()
		for i, p := range round {
			s.mu.Lock()
			batch := p.pending
			p.pending, p.spare = p.spare[:0], nil
			p.bytes, p.dirty = 0, false
			s.admitLocked()
			s.mu.Unlock()
			done := w.pass(p, batch)
			clear(batch)
			s.mu.Lock()
			if cap(batch) <= 2*maxPendingFrames {
				p.spare = batch[:0]
			}
			if len(s.dirty) == 0 && i == len(round)-1 {
				s.debt = 0
			} else {
				s.debt = max(0, s.debt-done)
			}
			s.admitLocked()
			s.mu.Unlock()
			round[i] = nil
		}
	}
}

// admitLocked wakes the publishers that wait for room.
func (s *shard) admitLocked() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// target is one receiver of a pass.
type target struct {
	out      Outlet
	sub      link.Subscriber
	log      *Sub  // not nil: it reads a log channel
	except   *Conn // not nil: leave out the frames that except it
	encoding Encoding
	view     any
	watcher  bool
	bound    bool
	member   bool
}

// worker is what a shard's worker keeps between passes.
type worker struct {
	hub     *Hub
	shard   *shard
	targets [chunk]target
	skipped []*bool
	classes []class
	last    int              // the class that was used last
	index   map[classKey]int // nil: there are few

	delivered int64 // messages of the pass that runs
}

// class is a set of receivers that get the same bytes, and those bytes.
type class struct {
	classKey
	bufs []link.Buf
}

type classKey struct {
	encoding               Encoding
	view                   any
	watcher, bound, member bool
}

// So many classes are looked through one by one, and so many are kept for the
// next pass.
const (
	fewClasses = 8
	maxClasses = 64
)

// pass hands batch to every receiver of p and tells for how many deliveries it
// was counted.
func (w *worker) pass(p *part, batch []pend) (counted int) {
	w.hub.metrics.Passes.Add(1)
	w.delivered = 0
	for len(batch) > 0 {
		n := runLength(batch)
		run := batch[:n]
		batch = batch[n:]
		if p.ch != nil {
			w.markSubs(p, run)
		} else {
			w.markConns(run)
		}
		total := 0
		switch run[0].kind {
		case pendLog:
			total = w.logPass(p, run)
		case pendMust:
			total = w.mustPass(p, run)
		default:
			total = w.eventPass(p, run)
		}
		counted += total * n
		w.took(run, total)
		w.reset()
	}
	w.hub.metrics.Deliveries.Add(w.delivered)
	return counted
}

// runLength is how many frames of batch, from the first on, are handed over
// alike: of one kind, and of a log without a hole.
func runLength(batch []pend) int {
	for i := 1; i < len(batch); i++ {
		if batch[i].kind != batch[0].kind || batch[0].kind == pendLog && batch[i].seq != batch[i-1].seq+1 {
			return i
		}
	}
	return len(batch)
}

// each calls fn for every receiver of p and tells how many there were.
func (w *worker) each(p *part, fn func(t *target)) int {
	total := p.open()
	for start := 0; start < total; start += chunk {
		n := p.read(&w.targets, start, min(total, start+chunk))
		for i := range w.targets[:n] {
			fn(&w.targets[i])
		}
		clear(w.targets[:n])
	}
	p.close()
	return total
}

func (w *worker) eventPass(p *part, batch []pend) int {
	mixed := slices.ContainsFunc(batch, func(f pend) bool { return f.watchersOnly || f.boundOnly || f.membersOnly })
	return w.each(p, func(t *target) {
		var bufs []link.Buf
		if t.except != nil {
			bufs = w.build(nil, batch, t, t.except)
		} else {
			key := classKey{encoding: t.encoding}
			if mixed {
				key.watcher, key.bound, key.member = t.watcher, t.bound, t.member
			}
			bufs = w.shared(key, batch, t)
		}
		if len(bufs) > 0 {
			t.out.Send(bufs, t.sub)
			for k := range bufs {
				w.delivered += int64(bufs[k].N)
			}
		}
	})
}

// shared gives what all receivers of t's class get, made once in a pass.
func (w *worker) shared(key classKey, batch []pend, t *target) []link.Buf {
	is := func(c *class) bool { return c.classKey == key }
	if w.last < len(w.classes) && is(&w.classes[w.last]) {
		return w.classes[w.last].bufs
	}
	if len(w.classes) <= fewClasses {
		for i := range w.classes {
			if is(&w.classes[i]) {
				w.last = i
				return w.classes[i].bufs
			}
		}
	} else if i, ok := w.index[key]; ok {
		w.last = i
		return w.classes[i].bufs
	}
	var bufs []link.Buf
	if len(w.classes) < cap(w.classes) {
		bufs = w.classes[:len(w.classes)+1][len(w.classes)].bufs[:0] // of an earlier pass
	}
	w.last = len(w.classes)
	w.classes = append(w.classes, class{key, w.build(bufs, batch, t, nil)})
	if len(w.classes) > fewClasses {
		w.list()
	}
	return w.classes[w.last].bufs
}

// list makes the newest class, or all of them, be found by their keys.
func (w *worker) list() {
	if w.index == nil {
		w.index = map[classKey]int{}
	}
	for i := len(w.index); i < len(w.classes); i++ {
		w.index[w.classes[i].classKey] = i
	}
}

// reset forgets what belonged to one run of a pass.
func (w *worker) reset() {
	for i, skip := range w.skipped {
		*skip = false
		w.skipped[i] = nil
	}
	w.skipped = w.skipped[:0]
	for i := range w.classes {
		clear(w.classes[i].bufs)
		w.classes[i].encoding, w.classes[i].view = nil, nil
	}
	w.classes, w.index = w.classes[:0], nil
	if cap(w.classes) > maxClasses {
		w.classes = nil
	}
}

// markSubs marks the subscriptions that are left out of some frame of the batch.
func (w *worker) markSubs(p *part, batch []pend) {
	for i := range batch {
		for _, c := range batch[i].except {
			w.markSub(p, c)
		}
		if c := batch[i].author; c != nil {
			w.markSub(p, c)
		}
	}
}

func (w *worker) markSub(p *part, c *Conn) {
	if c.shard != w.shard {
		return
	}
	if s := c.subTo(p.ch); s != nil && !s.skip {
		s.skip = true
		w.skipped = append(w.skipped, &s.skip)
	}
}

func (w *worker) markConns(batch []pend) {
	for i := range batch {
		for _, c := range batch[i].except {
			if c.shard == w.shard && !c.skip {
				c.skip = true
				w.skipped = append(w.skipped, &c.skip)
			}
		}
	}
}

// build joins the frames that a receiver gets, in its encoding.
func (w *worker) build(bufs []link.Buf, batch []pend, t *target, except *Conn) []link.Buf {
	enc := t.encoding
	size := 0
	wanted := func(f *pend) bool {
		return !(f.watchersOnly && !t.watcher || f.boundOnly && !t.bound || f.membersOnly && !t.member || except != nil && slices.Contains(f.except, except))
	}
	for i := range batch {
		if wanted(&batch[i]) {
			size += len(batch[i].of(t.view)) + 14
		}
	}
	if size == 0 {
		return bufs
	}
	most := 0
	if t.log != nil {
		most = t.log.most()
	}
	cur := link.Buf{B: make([]byte, 0, min(size, joinBytes)), Most: most}
	for i := range batch {
		f := &batch[i]
		if !wanted(f) {
			continue
		}
		frame := f.of(t.view)
		if cur.N > 0 && len(cur.B)+len(frame)+14 > joinBytes {
			bufs = append(bufs, cur)
			cur = link.Buf{B: make([]byte, 0, min(size, joinBytes)), Most: most}
		}
		before := len(cur.B)
		cur.B = enc.Append(cur.B, frame)
		size -= len(cur.B) - before
		cur.N++
	}
	return append(bufs, cur)
}

// open begins a pass and tells how many places there are to read.
func (p *part) open() int {
	if p.ch == nil {
		p.shard.connsMu.Lock()
		defer p.shard.connsMu.Unlock()
		p.shard.passing = true
		return len(p.shard.conns)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passing = true
	return len(p.subs)
}

// read fills targets from the places from..to.
func (p *part) read(targets *[chunk]target, from, to int) (n int) {
	if p.ch == nil {
		p.shard.connsMu.Lock()
		defer p.shard.connsMu.Unlock()
		for _, c := range p.shard.conns[from:to] {
			if c == nil {
				continue
			}
			t := &targets[n]
			t.out, t.sub, t.encoding = c.Outlet(), (*directly)(c), c.encoding
			t.bound = c.bound.Load()
			if c.skip {
				t.except = c
			}
			n++
		}
		return n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.subs[from:to] {
		if s == nil {
			continue
		}
		t := &targets[n]
		t.out, t.sub, t.encoding = s.conn.Outlet(), s, s.conn.encoding
		t.watcher = s.presence.Load()
		t.member = s.member()
		if s.cursor != nil {
			t.log = s
		}
		if s.skip {
			t.except = s.conn
		}
		n++
	}
	return n
}

// close ends a pass and fills the holes that leavers left.
func (p *part) close() {
	if p.ch == nil {
		s := p.shard
		s.connsMu.Lock()
		defer s.connsMu.Unlock()
		s.passing = false
		for i := len(s.conns) - 1; s.holes > 0 && i >= 0; i-- {
			if s.conns[i] == nil {
				s.swapOut(i)
				s.holes--
			}
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passing = false
	for i := len(p.subs) - 1; p.holes > 0 && i >= 0; i-- {
		if p.subs[i] == nil {
			p.swapOut(i)
			p.holes--
		}
	}
}
