package chat

import (
	order "container/list"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/store"
)

// member is what somebody is in a conversation.
type member struct {
	role   store.Role
	alerts store.AlertLevel
	since  int64  // Unix milliseconds
	hidden uint64 // messages up to this seq are not shown to him
}

// roster is the members of a conversation at one moment. It does not change.
//
// That of a direct channel is made of its name: its two users are in it before the
// conversation has begun, and nothing but their role is known of them.
type roster struct {
	channel  string
	direct   bool
	settings *store.GroupSettings // of a group; nil: nothing is kept

	users   []string // by their bytes
	members []member // of the users, in their order

	version uint64 // of the store, where it is shared
}

// member tells what a user is; false: he is none.
func (r *roster) member(user string) (member, bool) {
	i, found := slices.BinarySearch(r.users, user)
	if !found {
		return member{}, false
	}
	return r.members[i], true
}

// each calls fn for every member, by the bytes of their ids, until it returns false.
func (r *roster) each(fn func(user string, m member) bool) {
	for i, user := range r.users {
		if !fn(user, r.members[i]) {
			return
		}
	}
}

// size is how many members there are.
func (r *roster) size() int { return len(r.users) }

// peer is the other user of a direct conversation; "" where there is none.
func (r *roster) peer(user string) string {
	switch {
	case !r.direct:
		return ""
	case r.users[0] == user:
		return r.users[1]
	}
	return r.users[0]
}

// Bounds of the rosters in memory.
const (
	maxRosterMembers = 200_000         // in all; a roster counts as rosterMembers more than it has
	rosterMembers    = 4               // what a roster takes beside its members
	rosterPage       = 1000            // members that are read at once
	rosterAge        = 2 * time.Second // after which one of a shared store is looked at again
)

// rosters are those that were used lately. A roster that this process changes is
// forgotten; one that another process may change is looked at again when it is old.
type rosters struct {
	seed    maphash.Seed
	changes [256]atomic.Uint64 // by channel: what was read before one is not kept
	loading [64]sync.Mutex     // by channel: one reads, the others wait

	mu    sync.Mutex // guards all below
	m     map[string]*order.Element
	used  *order.List // of *keptRoster, the one used last in front
	total int
}

type keptRoster struct {
	*roster
	looked time.Time
}

func (k *keptRoster) weight() int { return len(k.users) + rosterMembers }

func (rs *rosters) init() {
	rs.seed, rs.m, rs.used = maphash.MakeSeed(), map[string]*order.Element{}, order.New()
}

func (rs *rosters) stripe(channel string) uint64 { return maphash.String(rs.seed, channel) }

func (rs *rosters) change(channel string) *atomic.Uint64 {
	return &rs.changes[rs.stripe(channel)%uint64(len(rs.changes))]
}

// find gives a roster that is kept, and when it was looked at; nil: none is.
func (rs *rosters) find(channel string) (*roster, time.Time) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	elem := rs.m[channel]
	if elem == nil {
		return nil, time.Time{}
	}
	rs.used.MoveToFront(elem)
	k := elem.Value.(*keptRoster)
	return k.roster, k.looked
}

// keep keeps a roster, unless its channel has changed since it was read, when the
// count of changes was before.
func (rs *rosters) keep(r *roster, looked time.Time, before uint64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.change(r.channel).Load() != before {
		return
	}
	rs.dropLocked(r.channel)
	k := &keptRoster{r, looked}
	if k.weight() > maxRosterMembers/2 {
		return
	}
	rs.m[r.channel] = rs.used.PushFront(k)
	for rs.total += k.weight(); rs.total > maxRosterMembers; {
		rs.dropLocked(rs.used.Back().Value.(*keptRoster).channel)
	}
}

func (rs *rosters) dropLocked(channel string) {
	if elem := rs.m[channel]; elem != nil {
		rs.total -= elem.Value.(*keptRoster).weight()
		rs.used.Remove(elem)
		delete(rs.m, channel)
	}
}

// forget drops what is kept of a channel, and what is just being read.
func (rs *rosters) forget(channel string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.change(channel).Add(1)
	rs.dropLocked(channel)
}

// roster gives the members of a conversation, whose rules are space. Its error is a *fault.Error.
//
// It may be old by as long as a change takes to come here (by rosterAge, where the store is
// shared): what must be right is looked at in the store's transaction.
func (f *Feature) roster(ctx context.Context, channel string, space *hub.Space) (*roster, error) {
	if space.Chat.Direct {
		a, b, err := directUsers("channel", channel)
		if err != nil {
			return nil, err
		}
		m := member{role: store.RoleMember}
		return &roster{channel: channel, direct: true, users: []string{a, b}, members: []member{m, m}}, nil
	}
	if f.store == nil {
		return nil, errNoStore
	}
	if r, looked := f.rosters.find(channel); r != nil && f.fresh(looked) {
		return r, nil
	}
	one := &f.rosters.loading[f.rosters.stripe(channel)%uint64(len(f.rosters.loading))]
	one.Lock()
	defer one.Unlock()
	old, looked := f.rosters.find(channel)
	if old != nil && f.fresh(looked) {
		return old, nil
	}
	before, now := f.rosters.change(channel).Load(), f.cfg.Now()
	r, err := f.readRoster(ctx, channel, old)
	if err != nil {
		return nil, failure(err)
	}
	f.rosters.keep(r, now, before)
	return r, nil
}

func (f *Feature) fresh(looked time.Time) bool {
	return !f.shared || f.cfg.Now().Sub(looked) < rosterAge
}

// readRoster reads a roster; it is old when that is as the store has it.
func (f *Feature) readRoster(ctx context.Context, channel string, old *roster) (*roster, error) {
	r := &roster{channel: channel}
	if f.shared { // before the members: what changes meanwhile has another version
		versions, err := f.store.RosterVersions(ctx, channel)
		if err != nil {
			return nil, err
		}
		if r.version = versions[0]; old != nil && old.version == r.version {
			return old, nil
		}
	}
	for after := ""; ; {
		page, err := f.store.Roster(ctx, channel, after, rosterPage)
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			r.users = append(r.users, m.User)
			r.members = append(r.members, member{role: m.Role, alerts: m.Alerts, since: m.Since, hidden: m.Hidden})
		}
		if len(page) < rosterPage {
			break
		}
		after = page[len(page)-1].User
	}
	var err error
	r.settings, err = f.store.Group(ctx, channel)
	return r, err
}

var errNoStore = fault.New(fault.Unavailable, "conversations need a store: set data or database")

// failure is an error of the store as clients see it.
func failure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrDenied):
		return fault.Wrap(fault.Denied, err, "what is asked for is not allowed, or not any more")
	}
	return feed.Fault(err)
}
