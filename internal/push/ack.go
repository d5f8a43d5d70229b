package push

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/store"
)

// handed tells up to which seq everything that could come has come to a connection, and
// what else is under way to its user. known is false when nothing is remembered of the
// user: then nothing waits either.
func (p *Pushes) handed(name string, c *hub.Conn) (upTo uint64, flight []uint64, known bool) {
	s := p.shard(name)
	s.mu.Lock()
	u := s.users[name]
	coming := u != nil && slices.Contains(u.coming, c)
	s.mu.Unlock()
	here := c.TakesInbox(name)
	if u == nil {
		return 0, nil, !here
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	seat := u.seat(c)
	switch {
	case !here || coming:
	case seat != nil:
		upTo = seat.last
	default:
		upTo = u.reach
		if n := len(u.flight); n > 0 {
			upTo = max(upTo, u.flight[n-1].seq)
		}
	}
	if u.lacking {
		upTo = min(upTo, u.low)
	}
	for _, e := range u.flight {
		if e.seq > upTo {
			flight = append(flight, e.seq)
		}
	}
	return upTo, flight, true
}

// come gives what an acknowledgement up to a seq settles: all that has come to any
// connection, and nothing that still waits. What came to an earlier connection, and
// not to this one, only the store knows. One without a connection is believed whatever
// it says.
func (p *Pushes) come(ctx context.Context, a *Ack, now int64) (upTo uint64, list []store.Settlement, err error) {
	sure, flight, known := uint64(math.MaxInt64), []uint64(nil), true
	if a.Conn != nil {
		sure, flight, known = p.handed(a.User, a.Conn)
	}
	if !known { // it has got all there is
		inboxes, err := p.store.Inboxes(ctx, a.User)
		if err != nil {
			return 0, nil, failure(err)
		}
		sure = inboxes[0].Top
		a.Seq = min(a.Seq, sure)
	}
	settlement := store.Settlement{User: a.User, State: store.Delivered, Device: a.Device, Time: now}
	if upTo = min(a.Seq, sure); upTo > 0 {
		first := settlement
		first.Seq, first.UpTo = upTo, true
		list = append(list, first)
	}
	under := make(map[uint64]bool, len(flight))
	for _, seq := range flight {
		under[seq] = true
	}
	for after := upTo; after < a.Seq && len(list) < maxSettled; {
		page, err := p.List(ctx, store.InboxQuery{User: a.User, After: after, Limit: listLimit})
		if err != nil {
			return 0, nil, err
		}
		for i := range page.Items {
			m := &page.Items[i]
			if after = m.Seq; after > a.Seq || len(list) == maxSettled {
				break
			}
			if m.State == store.Sent || under[m.Seq] {
				settlement.Seq = m.Seq
				list = append(list, settlement)
			}
		}
		if !page.More {
			break
		}
	}
	return upTo, list, nil
}

// settler writes what was acknowledged, and what was sent. All that comes while it
// writes is written together next, so that many acknowledgements share a commit, and an
// acknowledgement waits for two of them at most. That something was sent is
// written a little later: most of it has been acknowledged by then.
type settler struct {
	wake chan struct{} // holds a value when there is something to do

	mu      sync.Mutex // guards all below
	acks    []*request
	sents   map[string][]sent // by user
	writing map[string][]sent // those that are being written
	count   int               // of sents
	since   int64             // Unix milliseconds: when there was none before
	after   int64             // they are not written before, because it could not be done
	over    bool              // nobody writes any more
}

// sent is a message that was handed to a connection of a user.
type sent struct {
	n, seq uint64
	at     int64 // Unix milliseconds
}

func (s *sent) settlement(user string) store.Settlement {
	return store.Settlement{User: user, N: s.n, Seq: s.seq, State: store.Sent, Time: s.at}
}

// request is settlements that somebody waits for.
type request struct {
	list    []store.Settlement
	flush   bool // what was sent is to be written, too
	results []store.SettledOne
	err     error
	done    chan struct{}
}

// Bounds of what is written together.
const (
	maxSettled = 1000
	sentDelay  = 50  // milliseconds
	sentEnough = 500 // of which as many are not delayed
	maxSents   = 200_000
)

func (s *settler) init() { s.wake, s.sents = make(chan struct{}, 1), map[string][]sent{} }

func (s *settler) nudge() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// do waits until settlements are on disk.
func (s *settler) do(ctx context.Context, r *request) error {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return store.ErrClosed
	}
	s.acks = append(s.acks, r)
	s.mu.Unlock()
	s.nudge()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sent notes that a message was handed to a connection. Beyond a bound it is not
// noted: then the message is judged again when its user comes the next time.
func (s *settler) sent(user string, n, seq uint64, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= maxSents {
		return
	}
	if s.count == 0 {
		s.since = now
	}
	s.sents[user] = append(s.sents[user], sent{n, seq, now})
	if s.count++; s.count == 1 || s.count == sentEnough {
		s.nudge()
	}
}

// forget says that deliveries have ended, so that it does not matter whether they
// were sent.
func (s *settler) forget(user string, seqs []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.sents[user]
	if len(list) == 0 || len(seqs) == 0 {
		return
	}
	s.count -= len(list)
	list = slices.DeleteFunc(list, func(m sent) bool { return slices.Contains(seqs, m.seq) })
	s.count += len(list)
	if s.sents[user] = list; len(list) == 0 {
		delete(s.sents, user)
	}
}

// of gives what was sent to a user and is not on disk yet as far as is known.
func (s *settler) of(user string) (list []store.Settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, part := range [...][]sent{s.writing[user], s.sents[user]} {
		for i := range part {
			list = append(list, part[i].settlement(user))
		}
	}
	return list[:min(len(list), maxSettled)]
}

// flush writes what was sent so far, so that what ends next is known to have
// interrupted its user. When that fails, it is written later.
func (s *settler) flush(ctx context.Context) {
	s.mu.Lock()
	pending := s.count > 0 || s.writing != nil
	s.mu.Unlock()
	if pending {
		_ = s.do(ctx, &request{flush: true, done: make(chan struct{})}) // it has been told, and is tried again
	}
}

// take gives what is to be written now, or how long to wait; 0: until there is
// something. What was sent is in writing then, until [settler.wrote].
func (s *settler) take(now int64, all bool) (acks []*request, sents []store.Settlement, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := 0
	for len(s.acks) > 0 && (total == 0 || total+len(s.acks[0].list) <= maxSettled) {
		total += len(s.acks[0].list)
		all = all || s.acks[0].flush
		acks = append(acks, s.acks[0])
		s.acks = s.acks[1:]
	}
	if len(s.acks) == 0 {
		s.acks = nil
	}
	if s.count == 0 {
		return acks, nil, 0
	}
	due := s.since + sentDelay
	if s.count >= sentEnough {
		due = 0
	}
	if left := max(due, s.after) - now; left > 0 && !all {
		return acks, nil, time.Duration(left) * time.Millisecond
	}
	s.writing = map[string][]sent{}
	for user, list := range s.sents {
		if len(sents)+len(list) > maxSettled {
			if len(sents) > 0 {
				break
			}
			list = list[:maxSettled]
		}
		for i := range list {
			sents = append(sents, list[i].settlement(user))
		}
		s.writing[user] = list
		if rest := s.sents[user][len(list):]; len(rest) > 0 {
			s.sents[user] = rest
		} else {
			delete(s.sents, user)
		}
		s.count -= len(list)
	}
	return acks, sents, 0
}

// wrote ends the writing. What could not be written is tried again later.
func (s *settler) wrote(ok bool, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok {
		for user, list := range s.writing {
			s.sents[user] = append(slices.Clip(list), s.sents[user]...)
			s.count += len(list)
		}
		s.after = now + pauseTime.Milliseconds()
	}
	s.writing = nil
}

// settle writes until the end, and then once more.
func (p *Pushes) settle() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p.ctx.Err() == nil {
		acks, sents, wait := p.settler.take(p.nowMilli(), false)
		if len(acks) > 0 || len(sents) > 0 {
			p.write(acks, sents)
			continue
		}
		timer.Stop()
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-p.settler.wake:
		case <-p.ctx.Done():
		}
	}
	p.senders.Wait() // nothing is sent any more
	for {
		acks, sents, _ := p.settler.take(p.nowMilli(), true)
		if len(acks) == 0 && len(sents) == 0 || !p.write(acks, sents) {
			break
		}
	}
	p.settler.mu.Lock()
	defer p.settler.mu.Unlock()
	p.settler.over = true
	for _, r := range p.settler.acks {
		r.err = store.ErrClosed
		close(r.done)
	}
}

// write writes, and answers who waits. False: it could not.
func (p *Pushes) write(acks []*request, sents []store.Settlement) bool {
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	now := p.nowMilli()
	var group []store.Command
	var list []store.Settlement
	for _, r := range acks {
		list = append(list, r.list...)
	}
	if len(list) > 0 {
		group = append(group, store.Settle{Settlements: list, Now: now})
	}
	if len(sents) > 0 {
		group = append(group, store.Settle{Settlements: sents, Now: now})
	}
	var results []store.Result
	var err error
	if len(group) > 0 {
		results, err = p.store.Do(ctx, group...)
	}
	if err != nil {
		p.failed("write what was sent or acknowledged", err)
	}
	p.settler.wrote(err == nil, now)
	at := 0
	for _, r := range acks {
		if r.err = err; err == nil && len(r.list) > 0 {
			r.results = results[0].(store.Settled).Results[at : at+len(r.list)]
			at += len(r.list)
			for i := range r.results {
				p.settler.forget(r.list[i].User, r.results[i].Seqs)
			}
		}
		close(r.done)
	}
	return err == nil
}
