package push

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/store"
)

// shard is a share of the users and the worker that sends to them.
type shard struct {
	mu     sync.Mutex // guards all below
	wake   sync.Cond
	users  map[string]*user
	ready  []*user // of whom the worker is to be told something, each once
	queued int     // messages that wait for the worker
	closed bool

	// The highest seq told of users who are connected, when other processes push, too;
	// nil when none do.
	tops map[string]uint64
}

// maxLive is how many messages of one user wait for the worker.
const maxLive = 64

func newShard() *shard {
	s := &shard{users: map[string]*user{}}
	s.wake.L = &s.mu
	return s
}

func (s *shard) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wake.Broadcast()
}

func (p *Pushes) shard(user string) *shard {
	return p.shards[maphash.String(p.seed, user)%uint64(len(p.shards))]
}

// userLocked finds what is remembered of a user, or begins to.
func (s *shard) userLocked(p *Pushes, name string) *user {
	u := s.users[name]
	if u == nil {
		u = &user{name: name}
		s.users[name] = u
		p.metrics.Users.Add(1)
	}
	return u
}

// listLocked has the worker look at a user.
func (s *shard) listLocked(u *user) {
	if u.listed {
		return
	}
	u.listed = true
	s.ready = append(s.ready, u)
	s.wake.Signal()
}

// note tells a user's worker something. Of a user of whom nothing is remembered,
// it does so only with remember.
func (p *Pushes) note(name string, remember bool, tell func(*inbound)) {
	if !p.running.Load() {
		return
	}
	s := p.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[name]
	if u == nil {
		if !remember {
			return
		}
		u = s.userLocked(p, name)
	}
	tell(&u.in)
	s.listLocked(u)
}

// Welcome lets a connection that is in have what is for its user; also one that has got
// another user. It may be called more than once. Connections that do not speak the
// client protocol have no inbox.
func (p *Pushes) Welcome(c *hub.Conn) {
	name := c.User()
	if !p.running.Load() || name == "" || !c.Native() {
		return
	}
	s := p.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	// It is marked and remembered at once, so that whoever finds it knows that it is
	// behind.
	if c.TakeInbox(name) {
		u := s.userLocked(p, name)
		u.in.arrived = append(u.in.arrived, c)
		u.coming = append(u.coming, c)
		s.listLocked(u)
	}
}

// Drained says that a connection's queue is empty; it is [hub.Config].Drained.
func (p *Pushes) Drained(c *hub.Conn) {
	if name := c.User(); name != "" {
		p.note(name, false, func(in *inbound) { in.drained = append(in.drained, c) })
	}
}

// Pushed takes what the store has committed; it is [store.Options].Pushed.
func (p *Pushes) Pushed(list []store.Pushed) {
	if !p.running.Load() {
		return
	}
	for i := range list {
		d := &list[i]
		var m *message // made for the first one who is here
		for k := range d.Rows {
			r := &d.Rows[k]
			if r.Again {
				continue
			}
			if int(r.State) < len(p.metrics.Pushed) {
				p.metrics.Pushed[r.State].Add(1)
			}
			p.wakes.set(r.Due)
			live := r.State == store.Queued && r.Due == 0
			s := p.shard(r.User)
			if !live && s.tops == nil || !p.hub.HasUser(r.User) {
				continue
			}
			if live && m == nil && d.Content != nil {
				m = newMessage(d.Content)
			}
			p.tell(s, r, m, live)
		}
	}
}

// tell tells a worker of a delivery.
func (p *Pushes) tell(s *shard, r *store.Row, m *message, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if top, known := s.tops[r.User]; known && r.Seq > top {
		s.tops[r.User] = r.Seq
		if r.Seq > top+1 { // another process has pushed what is in between
			u := s.userLocked(p, r.User)
			u.in.lateAfter(top)
			s.listLocked(u)
		}
	}
	if !live || m == nil {
		return
	}
	u := s.userLocked(p, r.User)
	s.listLocked(u)
	in := &u.in
	if m.collapse != "" { // it takes the place of one that was not sent
		before := len(in.live)
		in.live = slices.DeleteFunc(in.live, func(i item) bool { return i.m.collapse == m.collapse && i.m.category == m.category })
		s.queued -= before - len(in.live)
	}
	in.passed = r.Seq
	switch {
	case in.missed != 0:
	case len(in.live) >= maxLive || s.queued >= max(1, p.cfg.Queue/len(p.shards)):
		in.missed = r.Seq
	default:
		in.live = append(in.live, item{r.N, r.Seq, m})
		s.queued++
	}
}

// lateAfter notes that what is after a seq is in the store and was not told.
func (in *inbound) lateAfter(seq uint64) {
	if !in.isLate || seq < in.late {
		in.late, in.isLate = seq, true
	}
}

// send is a worker: it works on one user after the other.
func (p *Pushes) send(s *shard) {
	for {
		s.mu.Lock()
		for len(s.ready) == 0 && !s.closed {
			s.wake.Wait()
		}
		if s.closed {
			s.mu.Unlock()
			return
		}
		u := s.ready[0]
		s.ready[0] = nil
		if s.ready = s.ready[1:]; len(s.ready) == 0 {
			s.ready = nil
		}
		in := u.in
		u.in, u.listed = inbound{}, false
		s.queued -= len(in.live)
		// Under the same lock as what has happened: nobody is here of whose arrival the
		// worker does not know.
		here := p.hub.AppendInboxes(u.here[:0], u.name)
		s.mu.Unlock()

		u.mu.Lock()
		u.here = here
		t := turn{p: p, user: u, settings: p.settings(), now: p.nowMilli()}
		t.run(&in)
		due, idle := t.due(), u.idle()
		u.mu.Unlock()

		s.mu.Lock()
		u.due = due
		if u.coming = u.coming[len(in.arrived):]; len(u.coming) == 0 {
			u.coming = nil
		}
		if idle && !u.listed {
			delete(s.users, u.name)
			p.metrics.Users.Add(-1)
		}
		s.mu.Unlock()
	}
}
