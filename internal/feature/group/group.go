// Package group is who belongs to which channel: durable memberships of users. It
// offers the verbs members.add, members.remove, members.list, members.count and
// members.groups, and sees to it that every connection of a member is subscribed to
// the channel as long as the membership lasts.
//
// Memberships are in the store. In memory is only what belongs to live connections:
// their subscriptions, which the hub keeps, and a counter per stripe of users that
// tells a connection which is just being welcomed that something has changed. The
// feature starts no goroutine.
package group

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Store is what the feature needs of one.
type Store interface {
	Do(ctx context.Context, group ...store.Command) ([]store.Result, error)
	store.MemberReader
}

// Join subscribes a connection to a channel, whose members do not change meanwhile: to what
// comes after a place in it, or, when that is nil, to what comes from now on.
type Join func(ctx context.Context, s *session.Session, user *string, channel string, by hub.Reason, after *feed.Position) error

// Conversations changes the members of channels that are conversations, for the server. It
// gives whose membership began or ended, and how many members and subscriptions there are, as
// [Changed] has them.
type Conversations interface {
	Invited(ctx context.Context, channel string, users []string) (count, connections int, members int64, err error)
	Removed(ctx context.Context, channel string, users []string, all bool) (count, connections int, members int64, err error)
}

// Feature is the memberships of one server.
type Feature struct {
	hub   *hub.Hub
	join  Join
	chats Conversations // nil: there are none
	store Store
	// any tells that somebody may be a member of something; while nobody is, nobody
	// has to look.
	any    atomic.Bool
	shared bool

	seed    maphash.Seed
	stamps  [1024]atomic.Uint64 // changes of memberships, by user
	changes [256]sync.RWMutex   // by channel: held while its members change, and, shared, while somebody is subscribed as one
}

// New registers the feature's verbs. They need [Feature.Start].
func New(h *hub.Hub, join Join, verbs *verb.Registry) *Feature {
	f := &Feature{hub: h, join: join, seed: maphash.MakeSeed()}
	f.register(verbs)
	return f
}

// Converse says who changes the members of conversations. It is called once, before the
// first change.
func (f *Feature) Converse(chats Conversations) { f.chats = chats }

// Start gives the feature its store. shared tells that other processes change
// memberships, too.
func (f *Feature) Start(ctx context.Context, st Store, shared bool) error {
	groups, err := st.Groups(ctx, "", "", 1)
	if err != nil {
		return err
	}
	f.store, f.shared = st, shared
	f.any.Store(shared || len(groups) > 0)
	return nil
}

func (f *Feature) stamp(user string) *atomic.Uint64 {
	return &f.stamps[maphash.String(f.seed, user)%uint64(len(f.stamps))]
}

// maxBelongs bounds the channels that a connection is subscribed to because its
// user is a member.
const maxBelongs = 10_000

// Belongs gives the channels that a user is a member of, without conversations whose
// members are not subscribed by the server, and a stamp for [Feature.Settle].
func (f *Feature) Belongs(ctx context.Context, user string) (channels []string, stamp uint64, err error) {
	stamp = f.stamp(user).Load()
	if f.store == nil || !f.any.Load() {
		return nil, stamp, nil
	}
	for after := ""; len(channels) < maxBelongs; {
		list, err := f.store.Memberships(ctx, user, after, 1000)
		if err != nil {
			return nil, 0, failure(err)
		}
		for _, m := range list {
			if f.follows(m.Channel) {
				channels = append(channels, m.Channel)
			}
		}
		if len(list) < 1000 {
			break
		}
		after = list[len(list)-1].Channel
	}
	return channels, stamp, nil
}

// follows tells whether the members of a channel are subscribed to it by the server. Its
// namespace may not be configured any more.
func (f *Feature) follows(channel string) bool {
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return false
	}
	space := f.hub.Space(namespace)
	return space != nil && (space.Chat == nil || space.Chat.Follow)
}

// Settle makes a connection that was subscribed to what Belongs gave agree with
// what has changed since: whoever changed it did not know of the connection yet.
func (f *Feature) Settle(ctx context.Context, s *session.Session, user string, stamp uint64) {
	for f.stamp(user).Load() != stamp && s.User() == user {
		var channels []string
		var err error
		if channels, stamp, err = f.Belongs(ctx, user); err != nil {
			s.Bye(protocol.Close{Word: string(fault.Unavailable), Code: protocol.CloseInternal.Code, Reconnect: true}, "the connection's channels cannot be read now", 5*time.Second)
			return
		}
		belongs := make(map[string]bool, len(channels))
		for _, channel := range channels {
			belongs[channel] = true
			if f.hub.IsMember(&s.Conn, channel) {
				continue
			}
			release := f.Steady(channel)
			err := f.join(ctx, s, &user, channel, hub.Membership, nil)
			release()
			if err != nil && f.hub.Conn(s.ID) == nil {
				return // it has ended
			}
		}
		for _, sub := range s.Subs() {
			if name := sub.Channel().Name(); sub.Reasons()&hub.Membership != 0 && !belongs[name] {
				f.drop(&s.Conn, name)
			}
		}
	}
}

// IsMember tells whether a user is a member of a channel.
func (f *Feature) IsMember(ctx context.Context, channel, user string) (bool, error) {
	if f.store == nil || !f.any.Load() {
		return false, nil
	}
	is, err := f.store.IsMember(ctx, channel, user)
	if err != nil {
		return false, failure(err)
	}
	return is[0], nil
}

// drop ends what a connection has in a channel because its user was a member.
func (f *Feature) drop(c *hub.Conn, channel string) (ended bool) {
	had, ended := f.hub.Drop(c, channel, hub.Membership)
	switch {
	case ended:
		c.SendFrame(session.Unsubscribed(channel, "server"), nil)
	case had:
		session.Of(c).Recheck() // what it has asked for itself may need the membership
	}
	return ended
}

// Stamp is a number that grows with each change of a user's memberships, while nobody has the
// members of the channel [Feature.Steady]: who has seen that a user is a member, and subscribes
// him, looks again when the stamp is another one by then.
func (f *Feature) Stamp(user string) uint64 { return f.stamp(user).Load() }

// Change carries out change, which gives whose membership of the channel has begun or
// ended, and tells their live connections, of which it gives the number that was subscribed
// or unsubscribed. Changes of a channel are carried out one after the other, so that what
// is told last is what is stored. A new subscription begins after a place in the channel, or,
// when that is nil, with what comes from now on.
func (f *Feature) Change(ctx context.Context, channel string, change func() (began, ended []string, after *feed.Position, err error)) (connections int, err error) {
	if f.store == nil {
		return 0, errNoStore
	}
	turn := f.turn(channel)
	turn.Lock()
	defer turn.Unlock()
	f.any.Store(true)
	began, ended, after, err := change()
	if err != nil {
		return 0, err
	}
	// It is stored, so it is told, even if who asked for it has gone.
	ctx = context.WithoutCancel(ctx)
	follows := f.follows(channel)
	f.tell(began, func(user string, conn *hub.Conn) error {
		if !follows {
			return nil
		}
		err := f.join(ctx, session.Of(conn), &user, channel, hub.Membership, after)
		if err == nil {
			connections++
		}
		return err
	})
	f.tell(ended, func(_ string, conn *hub.Conn) error {
		if f.drop(conn, channel) {
			connections++
		}
		return nil
	})
	return connections, nil
}

// Steady keeps the members of a channel as they are until release is called, which must be
// soon: nothing in between may change them.
func (f *Feature) Steady(channel string) (release func()) {
	turn := f.turn(channel)
	turn.RLock()
	return turn.RUnlock
}

func (f *Feature) turn(channel string) *sync.RWMutex {
	return &f.changes[maphash.String(f.seed, channel)%uint64(len(f.changes))]
}

// change carries out a command that changes a channel's members, and tells the
// live connections of those who are concerned, as [Feature.Change].
func (f *Feature) change(ctx context.Context, channel string, c store.Command, tell func(user string, conn *hub.Conn) error) (store.MembersChanged, error) {
	if f.store == nil {
		return store.MembersChanged{}, errNoStore
	}
	turn := f.turn(channel)
	turn.Lock()
	defer turn.Unlock()
	results, err := f.store.Do(ctx, c)
	if err != nil {
		return store.MembersChanged{}, failure(err)
	}
	changed := results[0].(store.MembersChanged)
	f.tell(changed.Users, tell)
	return changed, nil
}

// tell calls fn for the live connections of users whose memberships have changed.
func (f *Feature) tell(users []string, fn func(user string, conn *hub.Conn) error) {
	for _, user := range users {
		f.stamp(user).Add(1)
		for _, conn := range f.hub.UserConns(user) {
			// Who cannot be told now will be when it connects again.
			err := fn(user, conn)
			if code := fault.Of(err); err != nil && code.Code != fault.NotFound && code.Code != fault.Denied {
				session.Of(conn).Bye(protocol.Close{Word: string(fault.Unavailable), Code: protocol.CloseInternal.Code, Reconnect: true}, "the connection's channels have changed", time.Second)
			}
		}
	}
}

var errNoStore = fault.New(fault.Unavailable, "members need a store: set data or database")

// failure is an error of the store as clients see it.
func failure(err error) error {
	switch {
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "the memberships cannot be read or changed now").After(time.Second)
	}
	return fault.Of(err)
}
