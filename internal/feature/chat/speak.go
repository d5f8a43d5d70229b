package chat

import (
	"context"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Who may write to whom in a direct namespace, when it is not a namespace whose channels
// both must be members of.
const (
	PeersAny   = "any"
	PeersKnown = "known"
)

// Named checks the name of a conversation; field is what its error names.
func (f *Feature) Named(space *hub.Space, field, channel string) error {
	if !space.Chat.Direct {
		return nil
	}
	_, _, err := directUsers(field, channel)
	return err
}

// May tells whether a user may do verb in a conversation, as far as its members and their
// roles go; its error says why not.
func (f *Feature) May(ctx context.Context, space *hub.Space, verb auth.Verb, channel, user string) error {
	if space.Chat.Direct {
		return f.mayDirect(ctx, space, verb, channel, user)
	}
	role, err := f.roleOf(ctx, space, channel, user)
	switch {
	case err != nil:
		return err
	case role == 0:
		return session.Denied(verb, channel)
	case verb == auth.Pub && role < store.RoleMember:
		return fault.New(fault.Denied, "no right to publish to %s: a reader there does not write", channel)
	}
	return nil
}

// roleOf is what a user is in a group; zero: no member. Where other processes change the
// members, too, the store is asked: a subscription that is begun nobody there would end.
func (f *Feature) roleOf(ctx context.Context, space *hub.Space, channel, user string) (store.Role, error) {
	m, is, err := f.memberOf(ctx, space, channel, user)
	if err != nil || !is {
		return 0, err
	}
	return m.role, nil
}

// memberOf is the membership of a user in a group, as it is now.
func (f *Feature) memberOf(ctx context.Context, space *hub.Space, channel, user string) (m member, is bool, err error) {
	if !f.shared {
		r, err := f.roster(ctx, channel, space)
		if err != nil {
			return m, false, err
		}
		m, is = r.member(user)
		return m, is, nil
	}
	list, err := f.store.RosterMembers(ctx, channel, user)
	if err != nil {
		return m, false, failure(err)
	}
	one := list[0]
	return member{role: one.Role, alerts: one.Alerts, since: one.Since, hidden: one.Hidden}, one.Role != 0, nil
}

func (f *Feature) mayDirect(ctx context.Context, space *hub.Space, verb auth.Verb, channel, user string) error {
	a, b, err := directUsers("channel", channel)
	if err != nil {
		return err
	}
	peer := b
	switch user {
	case a:
	case b:
		peer = a
	default:
		return session.Denied(verb, channel)
	}
	switch verb {
	case auth.Sub:
		if f.anybody(space) {
			return nil
		}
		began, err := f.began(ctx, channel, user)
		if err != nil || began {
			return err
		}
		return f.mayReach(ctx, space, user, peer)
	case auth.Pub:
		if err := f.mayReach(ctx, space, user, peer); err != nil {
			return err
		}
		blocked, err := f.blocked(ctx, user, peer)
		if err == nil && blocked {
			err = fault.New(fault.Denied, "no right to publish to %s: one of the two has blocked the other", channel)
		}
		return err
	}
	return nil
}

// anybody tells that in a direct namespace everybody may write to everybody.
func (f *Feature) anybody(space *hub.Space) bool {
	return space.Chat.Peers == "" || space.Chat.Peers == PeersAny
}

// began tells whether a direct conversation has begun.
func (f *Feature) began(ctx context.Context, channel, user string) (bool, error) {
	if f.store == nil {
		return false, errNoStore
	}
	list, err := f.store.RosterMembers(ctx, channel, user)
	if err != nil {
		return false, failure(err)
	}
	return list[0].Role != 0, nil
}

// mayReach tells whether a user may write to another one, as the rules of the namespace say.
func (f *Feature) mayReach(ctx context.Context, space *hub.Space, user, peer string) error {
	switch {
	case f.anybody(space):
		return nil
	case f.store == nil:
		return errNoStore
	case space.Chat.Peers == PeersKnown:
		if f.cfg.Hub.HasUser(peer) {
			return nil
		}
		known, err := f.store.LookUsers(ctx, peer)
		if err != nil {
			return failure(err)
		}
		if known[0].N == 0 {
			return fault.New(fault.NotFound, "channel: nobody has heard of the user %q", peer)
		}
		return nil
	}
	together, err := f.together(ctx, space.Chat.Peers, user, peer)
	if err == nil && !together {
		err = fault.New(fault.Denied, "channel: the user %q is in none of the %s channels that the user %q is a member of", peer, space.Chat.Peers, user)
	}
	return err
}

// together tells whether two users are members of one channel of a namespace.
func (f *Feature) together(ctx context.Context, namespace, user, peer string) (bool, error) {
	const page = 100
	prefix := namespace + ":"
	for after := prefix; ; { // no channel has this name, so the first one comes behind it
		list, err := f.store.Memberships(ctx, user, after, page)
		if err != nil {
			return false, failure(err)
		}
		for _, m := range list {
			if !strings.HasPrefix(m.Channel, prefix) {
				return false, nil
			}
			are, err := f.store.IsMember(ctx, m.Channel, peer)
			if err != nil {
				return false, failure(err)
			}
			if are[0] {
				return true, nil
			}
		}
		if len(list) < page {
			return false, nil
		}
		after = list[len(list)-1].Channel
	}
}

// Hidden is the seq up to which a member does not see what was said.
func (f *Feature) Hidden(ctx context.Context, space *hub.Space, channel, user string) (uint64, error) {
	hidden, _, err := f.Member(ctx, space, channel, user)
	return hidden, err
}

// Member tells whether a user is a member, and up to which seq he does not see what was said.
// The two of a direct conversation are taken for members also before it has begun.
func (f *Feature) Member(ctx context.Context, space *hub.Space, channel, user string) (hidden uint64, is bool, err error) {
	if space.Chat.Direct {
		a, b, err := directUsers("channel", channel)
		return 0, user == a || user == b, err
	}
	m, is, err := f.memberOf(ctx, space, channel, user)
	return m.hidden, is, err
}

// Meant checks what a user says beside a message: what he answers must be there for him, and
// whom he mentions a member.
func (f *Feature) Meant(ctx context.Context, space *hub.Space, channel, user string, meta store.Meta) error {
	if len(meta.Mentions) > 0 {
		r, err := f.roster(ctx, channel, space)
		if err != nil {
			return err
		}
		for i, name := range meta.Mentions {
			if name == protocol.Everybody {
				if m, _ := r.member(user); m.role < store.RoleAdmin {
					return fault.New(fault.Denied, "mentions: everybody is for admins to mention")
				}
				continue
			}
			if _, is := r.member(name); !is {
				return fault.Field("mentions["+strconv.Itoa(i)+"]", "%q is no member", name)
			}
		}
	}
	if meta.Reply == 0 {
		return nil
	}
	_, err := f.visible(ctx, space, channel, user, meta.Reply)
	if e := fault.Of(err); e != nil && e.Code == fault.NotFound {
		return fault.New(fault.NotFound, "reply: there is no message %d that could be answered", meta.Reply)
	}
	return err
}

// visible reads a message as a member sees it; without a user, as the server does. What is
// gone, recalled or hidden is not_found.
func (f *Feature) visible(ctx context.Context, space *hub.Space, channel, user string, seq uint64) (store.Message, error) {
	if f.store == nil {
		return store.Message{}, errNoStore
	}
	if user != "" {
		hidden, err := f.Hidden(ctx, space, channel, user)
		if err != nil {
			return store.Message{}, err
		}
		if seq <= hidden {
			return store.Message{}, errNoMessage
		}
	}
	page, err := f.store.Read(ctx, store.Query{Channel: channel, After: seq - 1, Limit: 1})
	if err != nil {
		return store.Message{}, failure(err)
	}
	if len(page.Messages) == 0 || page.Messages[0].Seq != seq || page.Messages[0].Recalled {
		return store.Message{}, errNoMessage
	}
	return page.Messages[0], nil
}

var errNoMessage = fault.New(fault.NotFound, "seq: there is no such message, or no longer")

// Author is what the store has to know of who says something in a conversation; a user who is
// "" is the server.
func (f *Feature) Author(ctx context.Context, space *hub.Space, channel, user string, meta store.Meta) (*store.Author, error) {
	r, err := f.roster(ctx, channel, space)
	if err != nil {
		return nil, err
	}
	a := &store.Author{User: user}
	if r.direct {
		a.Direct = r.users
	}
	a.Alert = (space.Chat.Alerts != "" || space.Chat.Mentions != "" && len(meta.Mentions) > 0) && f.away(r, user)
	return a, nil
}

// away tells whether a member other than the one who speaks has no connection. It says so
// too when it does not know.
func (f *Feature) away(r *roster, user string) (away bool) {
	if r.size() > f.cfg.Hub.CountUsers()+1 {
		return true
	}
	r.each(func(member string, _ member) bool {
		away = member != user && !f.cfg.Hub.HasUser(member)
		return !away
	})
	return away
}

// Appended is told what has become of a message. When a direct conversation has begun with
// it, both users' connections are subscribed so that they get it.
func (f *Feature) Appended(ctx context.Context, space *hub.Space, channel string, a store.Appended) {
	if !a.Began || a.Duplicate {
		return
	}
	x, y, err := directUsers("channel", channel)
	if err != nil {
		return // then it has not begun
	}
	both := []string{x, y}
	_, err = f.cfg.Members.Change(context.WithoutCancel(ctx), channel, func() (began, ended []string, after *feed.Position, err error) {
		f.begun(channel, both)
		return both, nil, &feed.Position{Epoch: a.Epoch, Seq: a.Seq - 1}, nil
	})
	if err != nil {
		f.cfg.Logger.Error("the connections of a new conversation could not be subscribed", "channel", channel, "error", err)
	}
}

// Reach counts the members who are connected, and their connections, without the user who
// speaks, and without the connections in except.
func (f *Feature) Reach(ctx context.Context, space *hub.Space, channel, user string, except []*hub.Conn) (reach hub.Reach) {
	r, err := f.roster(ctx, channel, space)
	if err != nil {
		return reach // it is stored all the same; how far it goes nobody knows
	}
	h := f.cfg.Hub
	count := func(member string) {
		if member == user {
			return
		}
		n := h.CountConns(member)
		for _, c := range except {
			if c.User() == member {
				n--
			}
		}
		if n > 0 {
			reach.Connections += n
			reach.Users++
		}
	}
	if r.size() > h.CountUsers() {
		h.EachUser(func(name string) bool {
			if _, is := r.member(name); is {
				count(name)
			}
			return true
		})
		return reach
	}
	r.each(func(name string, _ member) bool {
		count(name)
		return true
	})
	return reach
}

// registerFrames registers what clients send.
func (f *Feature) registerFrames() {
	f.cfg.Sessions.Handle(protocol.TypeEdit, f.editFrame)
	f.cfg.Sessions.Handle(protocol.TypeRecall, f.recallFrame)
}
