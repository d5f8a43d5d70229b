package chat

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// callPrefix begins the names of the verbs that clients call, too.
const callPrefix = "chat."

func (f *Feature) registerVerbs() {
	r := f.cfg.Verbs
	verb.Add(r, "chat.create", "Makes a group.", f.create)
	verb.Add(r, "chat.get", "Tells of a conversation.", f.get)
	verb.Add(r, "chat.set", "Changes what is kept about a group.", f.set)
	verb.Add(r, "chat.invite", "Makes users members of a group.", f.invite)
	verb.Add(r, "chat.join", "Makes a user a member of a group that is open.", f.join)
	verb.Add(r, "chat.leave", "Ends a user's own membership of a group.", f.leave)
	verb.Add(r, "chat.remove", "Ends the membership of others.", f.remove)
	verb.Add(r, "chat.role", "Gives a member of a group another role.", f.role)
	verb.Add(r, "chat.delete", "Ends all memberships of a group, and what is kept about it; messages stay as long as they are kept.", f.delete)
	verb.Add(r, "chat.members", "Lists the members of a conversation, with their roles and marks.", f.listMembers)
	verb.Add(r, "chat.edit", "Puts other content in the place of a message's.", f.editVerb)
	verb.Add(r, "chat.block", "Has a user not be written to, or brought into groups, by another; or ends that.", f.block)
	verb.Add(r, "chat.blocked", "Lists whom a user has blocked.", f.blockedBy)
	f.cfg.Sessions.HandleOwnCalls(callPrefix, f.there, f.call)
}

// there tells whether any namespace has conversations.
func (f *Feature) there() bool {
	for _, space := range f.cfg.Hub.Spaces() {
		if space.Chat != nil {
			return true
		}
	}
	return false
}

type clientKey struct{}

// clientOf gives the session of the client that a verb runs for; nil: the server does, or
// somebody for it.
func clientOf(ctx context.Context) *session.Session {
	s, _ := ctx.Value(clientKey{}).(*session.Session)
	return s
}

// call runs a verb for a client: for its user, whatever it says.
func (f *Feature) call(ctx context.Context, s *session.Session, method string, data []byte) ([]byte, error) {
	if f.cfg.Verbs.Find(method) == nil {
		return nil, fault.New(fault.NotFound, "method: %q is not known", method)
	}
	if s.User() == "" {
		return nil, errNobody
	}
	out, err := f.cfg.Verbs.Answer(context.WithValue(ctx, clientKey{}, s), method, data)
	if e := fault.Of(err); e != nil && e.Field != "" && !strings.HasPrefix(e.Field, "data.") {
		e = fault.Wrap(e.Code, e.Err, "data.%s", e.Message)
		return nil, e
	}
	return out, err
}

var errNobody = fault.New(fault.Unauthorized, "conversations are between users, and this connection has none")

// acting gives the user whom a verb is about: of a client's call its own.
func acting(ctx context.Context, field, given string) (string, error) {
	if s := clientOf(ctx); s != nil {
		user := s.User()
		if user == "" {
			return "", errNobody // it was bound to nobody meanwhile
		}
		return user, nil
	}
	return given, userID(field, given)
}

// by gives the user for whom a verb is done; "" is the server, who may do everything.
func by(ctx context.Context, given string) (string, error) {
	if given == "" && clientOf(ctx) == nil {
		return "", nil
	}
	return acting(ctx, "by", given)
}

func userID(field, user string) error { return protocol.UserID(field, user) }

func pageLimit(limit int) (int, error) { return verb.PageLimit(limit) }

// Bounds of a list of users.
const (
	maxUsers       = 10_000
	maxClientUsers = 1000
)

// users checks a list of users.
func users(ctx context.Context, list []string, needed bool) error {
	most := maxUsers
	if clientOf(ctx) != nil {
		most = maxClientUsers
	}
	switch {
	case list == nil && needed:
		return fault.Field("users", "is missing")
	case len(list) > most:
		return fault.Field("users", "names %d users; at most %d are allowed", len(list), most)
	}
	for i, user := range list {
		if err := userID("users["+strconv.Itoa(i)+"]", user); err != nil {
			return err
		}
	}
	return nil
}

// conversation finds the rules of a conversation. Its error is bad_request for a channel
// that is none.
func (f *Feature) conversation(channel string) (*hub.Space, error) {
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return nil, err
	}
	space := f.cfg.Hub.Space(namespace)
	switch {
	case space == nil:
		return nil, fault.New(fault.NotFound, "channel: namespace %q is not configured", namespace)
	case space.Chat == nil:
		return nil, fault.Field("channel", "%s is no conversation", channel)
	}
	return space, f.Named(space, "channel", channel)
}

// group is conversation for what only groups have.
func (f *Feature) group(channel string) (*hub.Space, error) {
	space, err := f.conversation(channel)
	if err == nil && space.Chat.Direct {
		err = fault.Field("channel", "%q is between two users: nobody joins or leaves, and nothing is kept about it", channel)
	}
	if err == nil && f.store == nil {
		err = errNoStore
	}
	return space, err
}

// do carries out one command.
func (f *Feature) do(ctx context.Context, c store.Command) ([]store.Result, error) {
	if f.store == nil {
		return nil, errNoStore
	}
	return f.store.Do(ctx, c)
}

// roleNames are the words for roles.
var roleNames = [...]string{store.RoleReader: "reader", store.RoleMember: "member", store.RoleAdmin: "admin", store.RoleOwner: "owner"}

// roleName is the word for a role; "" for none.
func roleName(r store.Role) string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return ""
}

// parseRole reads a role.
func parseRole(field, text string) (store.Role, error) {
	if i := slices.Index(roleNames[1:], text); i >= 0 {
		return store.Role(i + 1), nil
	}
	return 0, fault.Field(field, "%q is not one of reader, member, admin, owner", text)
}

// joinNames are the words for who brings users into a group.
var joinNames = [...]string{store.JoinAdmins: "admins", store.JoinMembers: "members", store.JoinOpen: "open"}

// joinName is the word for a rule; "" for none.
func joinName(r store.JoinRule) string {
	if int(r) < len(joinNames) {
		return joinNames[r]
	}
	return ""
}

// parseJoin reads who brings users into a group.
func parseJoin(field, text string) (store.JoinRule, error) {
	if i := slices.Index(joinNames[1:], text); i >= 0 {
		return store.JoinRule(i + 1), nil
	}
	return 0, fault.Field(field, "%q is not one of admins, members, open", text)
}
