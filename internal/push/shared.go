package push

import (
	"github.com/skein-realtime/skein/store"
)

// openEvery is how often, in rounds of comparison, somebody is looked at who has
// something open that is not under way here: it may have been put off, and woken by
// another process.
const openEvery = 15

// compare looks for what other processes have put into the inboxes of users who are
// here.
func (p *Pushes) compare() {
	for round := 1; p.rest(followEvery); round++ {
		_ = p.visit(func(names []string, inboxes []store.Inbox) error {
			for i, name := range names {
				p.compareOne(name, &inboxes[i], round%openEvery == 0)
			}
			return nil
		})
		p.forgetTops()
	}
}

// compareOne compares an inbox with what was told of it. Somebody of whom no top is
// known has not been looked at yet, and will be.
func (p *Pushes) compareOne(name string, in *store.Inbox, open bool) {
	s := p.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	top, known := s.tops[name]
	if !known {
		return
	}
	// One that is lower is that of a user who was deleted.
	s.tops[name] = in.Top
	switch {
	case in.Top > top:
		u := s.userLocked(p, name)
		u.in.lateAfter(top)
		s.listLocked(u)
	case open && in.Open > 0:
		u := s.userLocked(p, name)
		u.in.open = true
		s.listLocked(u)
	}
}

// forgetTops forgets those of users who are not here any more.
func (p *Pushes) forgetTops() {
	for _, s := range p.shards {
		s.mu.Lock()
		for name := range s.tops {
			if !p.hub.HasUser(name) {
				delete(s.tops, name)
			}
		}
		s.mu.Unlock()
	}
}
