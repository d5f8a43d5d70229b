package hub

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/id"
)

// MaxMembers bounds a page of [Channel.Members].
const MaxMembers = 1000

// Member is one user, or one anonymous connection, in a channel.
type Member struct {
	User        string // "": anonymous
	Connections int
	Data        []byte // raw JSON; nil: none set
}

// MemberKey is a member's place in a listing: users by their ids come first, then
// anonymous connections by theirs. The zero value stands before all of them.
type MemberKey struct {
	User       string
	Connection id.Connection // of an anonymous one
}

func (k MemberKey) compare(other MemberKey) int {
	if k.User == "" || other.User == "" {
		if k.User == other.User {
			return bytes.Compare(k.Connection[:], other.Connection[:])
		}
		return -strings.Compare(k.User, other.User) // who has no user comes last
	}
	return cmp.Compare(k.User, other.User)
}

// Members lists who is subscribed after a place, at most limit of them and the
// place of the last one; connections of one user are one member. more tells
// whether there are others after it. It takes memory for one page, and a place
// stays what it is when members come and go.
func (ch *Channel) Members(after MemberKey, limit int) (page []Member, last MemberKey, more bool) {
	if limit < 1 {
		return nil, after, false
	}
	first := firstMembers{limit: limit + 1, by: map[MemberKey]*entry{}}
	first.collect(ch, after)
	if more = len(first.heap) > limit; more {
		heap.Pop(&first.heap)
	}
	slices.SortFunc(first.heap, func(a, b *entry) int { return a.key.compare(b.key) })
	last = after
	for _, e := range first.heap {
		page = append(page, e.Member)
		last = e.key
	}
	return page, last, more
}

// firstMembers keeps the members with the smallest keys.
type firstMembers struct {
	limit int
	heap  entries
	by    map[MemberKey]*entry
}

type entry struct {
	Member
	key MemberKey
}

func (f *firstMembers) collect(ch *Channel, after MemberKey) {
	for i := range ch.parts {
		p := &ch.parts[i]
		p.mu.Lock()
		subs := slices.Clone(p.subs)
		p.mu.Unlock()
		for _, s := range subs {
			if s == nil {
				continue
			}
			c := s.conn
			c.mu.Lock()
			key, data := MemberKey{User: c.identity.User}, s.data
			c.mu.Unlock()
			if key.User == "" {
				key.Connection = c.ID
			}
			if after == (MemberKey{}) || key.compare(after) > 0 {
				f.offer(key, data)
			}
		}
	}
}

// offer counts one connection. A member that had to give way to smaller ones
// never comes back, since those stay: so the counts of who remains are whole.
func (f *firstMembers) offer(key MemberKey, data []byte) {
	e := f.by[key]
	if e == nil {
		if len(f.heap) == f.limit {
			if key.compare(f.heap[0].key) > 0 {
				return
			}
			delete(f.by, heap.Pop(&f.heap).(*entry).key)
		}
		e = &entry{Member{User: key.User}, key}
		f.by[key] = e
		heap.Push(&f.heap, e)
	}
	e.Connections++
	if data != nil {
		e.Data = data
	}
}

// entries is a heap with the largest key on top.
type entries []*entry

func (h entries) Len() int           { return len(h) }
func (h entries) Less(i, j int) bool { return h[i].key.compare(h[j].key) > 0 }
func (h entries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *entries) Push(x any)        { *h = append(*h, x.(*entry)) }
func (h *entries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

// Shown is what a client may see of a channel whose presence is shown.
type Shown struct {
	Connections, Users int
	Large              bool     // only the counts are shown
	Members            []Member // by user; nil of a large channel
}

// Shown gives what the channel's watchers were told: a user whose leave is held
// back is still there.
func (h *Hub) Shown(ch *Channel) Shown {
	space := h.rules(ch)
	ch.tell.Lock()
	var away []*absence
	// While nobody watches a channel, nobody has made it large.
	large := ch.large.Load() || ch.subs.Load() > space.most()
	if n := ch.notices; n != nil && !large {
		for e := n.line.Front(); e != nil; e = e.Next() {
			away = append(away, e.Value.(*absence))
		}
	}
	ch.tell.Unlock()
	connections, users := ch.Counts()
	shown := Shown{Connections: connections, Users: users, Large: large}
	if large {
		return shown
	}
	// The limit holds only for those who come while the list is made: they are
	// announced, or the channel becomes large with them.
	shown.Members, _, _ = ch.Members(MemberKey{}, int(space.most())+MaxMembers)
	for _, a := range away {
		i, there := slices.BinarySearchFunc(shown.Members, MemberKey{User: a.user}, func(m Member, k MemberKey) int {
			return MemberKey{User: m.User}.compare(k)
		})
		if !there {
			shown.Members = slices.Insert(shown.Members, i, Member{User: a.user})
			shown.Users++
		}
		m := &shown.Members[i]
		m.Connections++
		if m.Data == nil {
			m.Data = a.data
		}
		shown.Connections++
	}
	return shown
}
