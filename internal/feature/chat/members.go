package chat

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// defaultMembers is how many members a group may have when its namespace does not say.
const defaultMembers = 5000

// admit carries out what makes members, and tells everybody whom it is about. It gives how
// many connections were subscribed.
func (f *Feature) admit(ctx context.Context, space *hub.Space, c store.Admit) (a store.Admitted, connections int, err error) {
	c.Time, c.FromStart, c.Most = f.cfg.Now().UnixMilli(), space.Chat.FromStart, int64(space.Chat.Members)
	if c.Most == 0 {
		c.Most = defaultMembers
	}
	connections, err = f.cfg.Members.Change(ctx, c.Channel, func() (began, ended []string, after *feed.Position, err error) {
		results, err := f.do(ctx, c)
		f.rosters.forget(c.Channel) // also when nobody knows what became of it
		if err != nil {
			return nil, nil, nil, err
		}
		a = results[0].(store.Admitted)
		if len(a.Users) > 0 { // in the order in which it is stored
			f.begun(c.Channel, a.Users)
			f.groupChanged(c.Channel)
		}
		return a.Users, nil, f.behind(ctx, c.Channel, a), nil
	})
	switch {
	case err == nil:
	case errors.Is(err, store.ErrConflict):
		return a, 0, fault.New(fault.Conflict, "channel: the group %s is there already", c.Channel)
	case errors.Is(err, store.ErrTooLarge):
		return a, 0, fault.New(fault.TooLarge, "users: a group has at most %d members", c.Most)
	case errors.Is(err, store.ErrDenied):
		return a, 0, fault.New(fault.Denied, "no right to bring these users into %s, or not with this role", c.Channel)
	default:
		return a, 0, failure(err)
	}
	return a, connections, nil
}

// behind is the place after which new members are subscribed: what is said once they are
// members reaches them. nil: from now on.
func (f *Feature) behind(ctx context.Context, channel string, a store.Admitted) *feed.Position {
	if a.Head == 0 {
		return &feed.Position{}
	}
	heads, err := f.store.Heads(context.WithoutCancel(ctx), channel)
	if err != nil {
		return nil // they are members; what is said this moment they find in the history
	}
	return &feed.Position{Epoch: heads[0].Epoch, Seq: a.Head}
}

// dismiss carries out what ends memberships, and tells everybody whom it is about.
func (f *Feature) dismiss(ctx context.Context, c store.Dismiss, reason string) (d store.Dismissed, connections int, err error) {
	connections, err = f.cfg.Members.Change(ctx, c.Channel, func() (began, ended []string, after *feed.Position, err error) {
		results, err := f.do(ctx, c)
		f.rosters.forget(c.Channel)
		if err != nil {
			return nil, nil, nil, err
		}
		d = results[0].(store.Dismissed)
		if len(d.Users) > 0 {
			f.ended(c.Channel, d.Users, reason)
		}
		if d.Owner != "" {
			f.begun(c.Channel, []string{d.Owner}) // he is another one now
		}
		if len(d.Users) > 0 && d.Count > 0 {
			f.groupChanged(c.Channel)
		}
		return nil, d.Users, nil, nil
	})
	switch {
	case errors.Is(err, store.ErrDenied):
		return d, 0, fault.New(fault.Denied, "no right to remove these users from %s", c.Channel)
	case err != nil:
		return d, 0, failure(err)
	}
	return d, connections, nil
}

// The reasons for which a membership ends.
const (
	reasonLeft    = "left"
	reasonRemoved = "removed"
	reasonDeleted = "deleted"
)

// CreateParams are the params of chat.create.
type CreateParams struct {
	Channel string          `json:"channel" jsonschema:"of a namespace of groups"`
	Users   []string        `json:"users,omitempty" jsonschema:"members besides the owner"`
	Role    string          `json:"role,omitempty" jsonschema:"of these users: reader, member or admin; member when absent"`
	Data    json.RawMessage `json:"data,omitempty" jsonschema:"what is to be known about the group, such as its title; any JSON, at most 4 KiB"`
	Join    string          `json:"join,omitempty" jsonschema:"who brings users in: admins, members or open; as the namespace says when absent"`
	By      string          `json:"by,omitempty" jsonschema:"who makes it and is its owner; of a client's call its user; absent: the server, and there is no owner"`
}

func (f *Feature) create(ctx context.Context, p CreateParams) (r GetResult, err error) {
	user, err := by(ctx, p.By)
	if err != nil {
		return r, err
	}
	space, err := f.group(p.Channel)
	if err != nil {
		return r, err
	}
	if s := clientOf(ctx); s != nil && !mayCreate(space, p.Channel, s.Identity()) {
		return r, fault.New(fault.Denied, "no right to make groups in the namespace %s", space.Name)
	}
	if err := users(ctx, p.Users, false); err != nil {
		return r, err
	}
	if user == "" && len(p.Users) == 0 {
		return r, fault.Field("users", "is missing: without by the group would have no members")
	}
	role, err := f.roleGiven(p.Role)
	if err == nil {
		err = checkData(p.Data)
	}
	if err != nil {
		return r, err
	}
	settings := &store.GroupSettings{Data: dataOf(p.Data)}
	if settings.Join, err = parseJoin("join", or(p.Join, or(space.Chat.Join, joinNames[store.JoinAdmins]))); err != nil {
		return r, err
	}
	_, _, err = f.admit(ctx, space, store.Admit{Channel: p.Channel, Users: p.Users, Role: role, By: user, Create: settings})
	if err != nil {
		return r, err
	}
	return f.got(ctx, p.Channel, space, user)
}

// mayCreate tells whether a client may make a group.
func mayCreate(space *hub.Space, channel string, who auth.Identity) bool {
	switch space.Chat.Create {
	case auth.Server:
		return false
	case auth.Token:
		return who.Caps.Allows(channel, auth.Pub)
	}
	return who.User != ""
}

func or(text, def string) string {
	if text == "" {
		return def
	}
	return text
}

// roleGiven reads the role of those who are brought in.
func (f *Feature) roleGiven(text string) (store.Role, error) {
	role, err := parseRole("role", or(text, roleNames[store.RoleMember]))
	if err == nil && role == store.RoleOwner {
		err = fault.Field("role", "nobody is brought in as owner; chat.role passes the ownership on")
	}
	return role, err
}

// maxSettings bounds what is kept about a group.
const maxSettings = 4 << 10

func checkData(data []byte) error {
	if len(data) > maxSettings {
		return fault.New(fault.TooLarge, "data: has %d bytes; at most %d are kept about a group", len(data), maxSettings)
	}
	return nil
}

// dataOf is what is kept: nothing for null.
func dataOf(data []byte) []byte {
	if string(data) == "null" {
		return nil
	}
	return data
}

// GetParams are the params of chat.get.
type GetParams struct {
	Channel string `json:"channel"`
	User    string `json:"user,omitempty" jsonschema:"one of its members, who sees it so; of a client's call its user; absent: the server"`
}

// GetResult is a conversation: for one of its members the entry of his list, for the server
// what all members share, without what is one's own.
type GetResult struct {
	Conversation

	raw []byte
}

// AppendJSON implements verb.Appender.
func (r GetResult) AppendJSON(b []byte) []byte {
	if r.raw == nil { // a backend that was given it gives it on
		raw, _ := verb.Marshal(r.Conversation) // it has nothing that cannot be encoded
		return append(b, raw...)
	}
	return append(b, r.raw...)
}

func (f *Feature) get(ctx context.Context, p GetParams) (r GetResult, err error) {
	space, err := f.conversation(p.Channel)
	if err != nil {
		return r, err
	}
	user := ""
	if p.User != "" || clientOf(ctx) != nil {
		if user, err = acting(ctx, "user", p.User); err != nil {
			return r, err
		}
	}
	return f.got(ctx, p.Channel, space, user)
}

// got is a conversation as a member, or the server, sees it.
func (f *Feature) got(ctx context.Context, channel string, space *hub.Space, user string) (r GetResult, err error) {
	switch {
	case f.store == nil:
		return r, errNoStore
	case user != "":
		if s := clientOf(ctx); s != nil {
			r.raw, err = f.entryFor(ctx, channel, user, &s.Conn)
		} else {
			r.raw, err = f.entry(ctx, channel, user)
		}
		return r, err
	}
	heads, err := f.store.Heads(ctx, channel)
	if err != nil {
		return r, failure(err)
	}
	counts, err := f.store.MemberCounts(ctx, channel)
	if err != nil {
		return r, failure(err)
	}
	settings, err := f.store.Group(ctx, channel)
	if err != nil {
		return r, failure(err)
	}
	if counts[0] == 0 && heads[0].Top == 0 && settings == nil {
		return r, fault.New(fault.NotFound, "channel: there is no conversation %s", channel)
	}
	b := protocol.AppendString([]byte(`{"channel":`), channel)
	b = appendUint(append(append(append(b, `,"kind":"`...), kindOf(space.Chat)...), `","seq":`...), heads[0].Top)
	b = appendUint(append(b, `,"members":`...), uint64(counts[0]))
	if !space.Chat.Direct {
		b = appendSettings(b, space.Chat, settings)
	}
	r.raw = append(b, '}')
	return r, nil
}

// SetParams are the params of chat.set.
type SetParams struct {
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data,omitempty" jsonschema:"any JSON, at most 4 KiB; absent: as it is"`
	Join    string          `json:"join,omitempty" jsonschema:"admins, members or open; absent: as it is"`
	By      string          `json:"by,omitempty" jsonschema:"for whom it is done; of a client's call its user; absent: the server"`
}

// SetResult is what is kept about a group.
type SetResult struct {
	Data json.RawMessage `json:"data"`
	Join string          `json:"join"`
}

func (f *Feature) set(ctx context.Context, p SetParams) (r SetResult, err error) {
	user, err := by(ctx, p.By)
	if err != nil {
		return r, err
	}
	space, err := f.group(p.Channel)
	if err == nil {
		err = checkData(p.Data)
	}
	if err != nil {
		return r, err
	}
	c := store.PutGroup{Channel: p.Channel, Data: p.Data, Time: f.cfg.Now().UnixMilli(), By: user}
	if p.Join != "" {
		if c.Join, err = parseJoin("join", p.Join); err != nil {
			return r, err
		}
	}
	if c.Data == nil && c.Join == 0 {
		return r, fault.Field("data", "is missing, and so is join")
	}
	results, err := f.do(ctx, c)
	f.rosters.forget(p.Channel)
	switch {
	case errors.Is(err, store.ErrDenied):
		return r, fault.New(fault.Denied, "no right to change what is kept about %s", p.Channel)
	case errors.Is(err, store.ErrNotFound):
		return r, fault.New(fault.NotFound, "channel: there is no group %s", p.Channel)
	case err != nil:
		return r, failure(err)
	}
	kept := results[0].(store.GroupPut)
	f.groupChanged(p.Channel)
	r = SetResult{Data: kept.Data, Join: or(joinName(kept.Join), space.Chat.Join)}
	if r.Data == nil {
		r.Data = json.RawMessage("null")
	}
	return r, nil
}

// InviteParams are the params of chat.invite.
type InviteParams struct {
	Channel string   `json:"channel"`
	Users   []string `json:"users" jsonschema:"at most 10000, in a client's call 1000"`
	Role    string   `json:"role,omitempty" jsonschema:"reader, member or admin; member when absent"`
	By      string   `json:"by,omitempty" jsonschema:"who brings them in; of a client's call its user; absent: the server"`
}

// Invited tells who was brought in.
type Invited struct {
	Added   []string `json:"added" jsonschema:"who became a member; others were members before"`
	Refused []string `json:"refused" jsonschema:"who has blocked the one who brings him in"`
	Members int64    `json:"members" jsonschema:"of the group now"`
}

func invited(a store.Admitted) Invited {
	r := Invited{Added: a.Users, Refused: a.Refused, Members: a.Count}
	if r.Added == nil {
		r.Added = []string{}
	}
	if r.Refused == nil {
		r.Refused = []string{}
	}
	return r
}

func (f *Feature) invite(ctx context.Context, p InviteParams) (r Invited, err error) {
	user, err := by(ctx, p.By)
	if err != nil {
		return r, err
	}
	space, err := f.group(p.Channel)
	if err == nil {
		err = users(ctx, p.Users, true)
	}
	if err != nil {
		return r, err
	}
	role, err := f.roleGiven(p.Role)
	if err != nil {
		return r, err
	}
	a, _, err := f.admit(ctx, space, store.Admit{Channel: p.Channel, Users: p.Users, Role: role, By: user})
	return invited(a), err
}

// Invited makes users members of a group, for the server.
func (f *Feature) Invited(ctx context.Context, channel string, users []string) (count, connections int, members int64, err error) {
	space, err := f.group(channel)
	if err != nil {
		return 0, 0, 0, err
	}
	a, connections, err := f.admit(ctx, space, store.Admit{Channel: channel, Users: users, Role: store.RoleMember})
	return len(a.Users), connections, a.Count, err
}

// UserParams are the params of chat.join and chat.leave.
type UserParams struct {
	Channel string `json:"channel"`
	User    string `json:"user,omitempty" jsonschema:"who comes or goes; of a client's call its user"`
}

func (f *Feature) join(ctx context.Context, p UserParams) (r Invited, err error) {
	user, err := acting(ctx, "user", p.User)
	if err != nil {
		return r, err
	}
	space, err := f.group(p.Channel)
	if err != nil {
		return r, err
	}
	// One who is a member is so whatever the rule; he is not told that he may not come.
	if _, is, err := f.memberOf(ctx, space, p.Channel, user); err == nil && is {
		counts, err := f.store.MemberCounts(ctx, p.Channel)
		if err != nil {
			return r, failure(err)
		}
		return invited(store.Admitted{Count: counts[0]}), nil
	}
	a, _, err := f.admit(ctx, space, store.Admit{Channel: p.Channel, Users: []string{user}, Role: store.RoleMember, By: user})
	if e := fault.Of(err); e != nil && e.Code == fault.Denied {
		return r, fault.New(fault.Denied, "no right to join %s: it is not open to everybody", p.Channel)
	}
	return invited(a), err
}

// Removed tells what ending memberships did.
type Removed struct {
	Removed int    `json:"removed" jsonschema:"users whose membership has ended; others were no members"`
	Members int64  `json:"members" jsonschema:"of the group now"`
	Owner   string `json:"owner,omitempty" jsonschema:"who became the owner, because the one before has gone"`
}

func (f *Feature) leave(ctx context.Context, p UserParams) (r Removed, err error) {
	user, err := acting(ctx, "user", p.User)
	if err != nil {
		return r, err
	}
	space, err := f.group(p.Channel)
	if err != nil {
		return r, err
	}
	role, err := f.roleOf(ctx, space, p.Channel, user)
	if err != nil {
		return r, err
	}
	if role == 0 {
		return r, fault.New(fault.Denied, "channel: the user is no member of %s", p.Channel)
	}
	d, _, err := f.dismiss(ctx, store.Dismiss{Channel: p.Channel, Users: []string{user}, By: user}, reasonLeft)
	return Removed{len(d.Users), d.Count, d.Owner}, err
}

// RemoveParams are the params of chat.remove.
type RemoveParams struct {
	Channel string   `json:"channel"`
	Users   []string `json:"users" jsonschema:"at most 10000, in a client's call 1000"`
	By      string   `json:"by,omitempty" jsonschema:"who decides it; of a client's call its user; absent: the server"`
}

func (f *Feature) remove(ctx context.Context, p RemoveParams) (r Removed, err error) {
	user, err := by(ctx, p.By)
	if err != nil {
		return r, err
	}
	_, err = f.group(p.Channel)
	if err == nil {
		err = users(ctx, p.Users, true)
	}
	if err != nil {
		return r, err
	}
	reason := reasonRemoved
	if len(p.Users) == 1 && p.Users[0] == user {
		reason = reasonLeft
	}
	d, _, err := f.dismiss(ctx, store.Dismiss{Channel: p.Channel, Users: p.Users, By: user}, reason)
	return Removed{len(d.Users), d.Count, d.Owner}, err
}

// Removed ends memberships of a group, for the server: those of users, or all.
func (f *Feature) Removed(ctx context.Context, channel string, users []string, all bool) (count, connections int, members int64, err error) {
	if _, err := f.group(channel); err != nil {
		return 0, 0, 0, err
	}
	if all {
		return f.dismissAll(ctx, channel, reasonRemoved)
	}
	d, connections, err := f.dismiss(ctx, store.Dismiss{Channel: channel, Users: users}, reasonRemoved)
	return len(d.Users), connections, d.Count, err
}

// dismissAll ends all memberships of a group, many at a time.
func (f *Feature) dismissAll(ctx context.Context, channel, reason string) (count, connections int, members int64, err error) {
	for {
		d, n, err := f.dismiss(ctx, store.Dismiss{Channel: channel, Some: maxUsers}, reason)
		count, connections, members = count+len(d.Users), connections+n, d.Count
		if err != nil || d.Count == 0 || len(d.Users) == 0 {
			return count, connections, members, err
		}
	}
}

// DeleteParams are the params of chat.delete.
type DeleteParams struct {
	Channel string `json:"channel"`
	By      string `json:"by,omitempty" jsonschema:"the owner, for whom it is done; of a client's call its user; absent: the server"`
}

// Deleted tells how many members there were.
type Deleted struct {
	Removed int `json:"removed"`
}

func (f *Feature) delete(ctx context.Context, p DeleteParams) (r Deleted, err error) {
	user, err := by(ctx, p.By)
	if err != nil {
		return r, err
	}
	space, err := f.group(p.Channel)
	if err != nil {
		return r, err
	}
	if user != "" {
		role, err := f.roleOf(ctx, space, p.Channel, user)
		if err == nil && role != store.RoleOwner {
			err = fault.New(fault.Denied, "no right to delete %s: that is for its owner", p.Channel)
		}
		if err != nil {
			return r, err
		}
	}
	r.Removed, _, _, err = f.dismissAll(ctx, p.Channel, reasonDeleted)
	return r, err
}
