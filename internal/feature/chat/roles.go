package chat

import (
	"context"
	"errors"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/store"
)

// RoleParams are the params of chat.role.
type RoleParams struct {
	Channel string `json:"channel"`
	User    string `json:"user" jsonschema:"the member"`
	Role    string `json:"role" jsonschema:"reader, member, admin or owner; who passes the ownership on is an admin then"`
	By      string `json:"by,omitempty" jsonschema:"who decides it; of a client's call its user; absent: the server"`
}

// RoleResult tells what the member was.
type RoleResult struct {
	Was string `json:"was"`
}

func (f *Feature) role(ctx context.Context, p RoleParams) (r RoleResult, err error) {
	user, err := by(ctx, p.By)
	if err != nil {
		return r, err
	}
	_, err = f.group(p.Channel)
	if err == nil {
		err = userID("user", p.User)
	}
	if err != nil {
		return r, err
	}
	c := store.SetRole{Channel: p.Channel, User: p.User, By: user}
	if c.Role, err = parseRole("role", p.Role); err != nil {
		return r, err
	}
	var was store.Role
	// Among the changes of the members, so that what is told last is what is stored.
	_, err = f.cfg.Members.Change(ctx, p.Channel, func() (began, ended []string, after *feed.Position, err error) {
		others := []string{p.User}
		if c.Role == store.RoleOwner { // the one before is told, too
			if owner, err := f.owner(ctx, p.Channel); err == nil && owner != "" && owner != p.User {
				others = append(others, owner)
			}
		}
		results, err := f.do(ctx, c)
		f.rosters.forget(p.Channel)
		if err != nil {
			return nil, nil, nil, err
		}
		if was = results[0].(store.RoleSet).Was; was != c.Role {
			f.begun(p.Channel, others)
		}
		return nil, nil, nil, nil
	})
	switch {
	case errors.Is(err, store.ErrDenied):
		return r, fault.New(fault.Denied, "no right to make the user %q %s of %s", p.User, article(p.Role), p.Channel)
	case errors.Is(err, store.ErrNotFound):
		return r, fault.New(fault.NotFound, "user: %q is no member of %s", p.User, p.Channel)
	case err != nil:
		return r, failure(err)
	}
	return RoleResult{roleName(was)}, nil
}

// article is a role in a sentence.
func article(role string) string {
	switch role {
	case roleNames[store.RoleAdmin]:
		return "an admin"
	case roleNames[store.RoleOwner]:
		return "the owner"
	}
	return "a " + role
}

// owner gives the owner of a group; "" when it has none.
func (f *Feature) owner(ctx context.Context, channel string) (owner string, err error) {
	space, err := f.group(channel)
	if err != nil {
		return "", err
	}
	r, err := f.roster(ctx, channel, space)
	if err != nil {
		return "", err
	}
	r.each(func(user string, m member) bool {
		if m.role == store.RoleOwner {
			owner = user
		}
		return owner == ""
	})
	return owner, nil
}

// MembersParams are the params of chat.members.
type MembersParams struct {
	Channel string `json:"channel"`
	After   string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit   int    `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
	By      string `json:"by,omitempty" jsonschema:"a member, for whom it is done; of a client's call its user; absent: the server"`
}

// MemberItem is a member.
type MemberItem struct {
	User      string `json:"user"`
	Role      string `json:"role"`
	Since     int64  `json:"since" jsonschema:"Unix milliseconds"`
	Delivered uint64 `json:"delivered" jsonschema:"all up to this seq was handed to the application of a device"`
	Read      uint64 `json:"read" jsonschema:"all up to this seq was read"`
}

// MembersPage is a page of members, by the bytes of their ids.
type MembersPage struct {
	Items   []MemberItem `json:"items"`
	Next    string       `json:"next,omitempty"`
	Members int64        `json:"members" jsonschema:"how many there are"`
}

func (f *Feature) listMembers(ctx context.Context, p MembersParams) (MembersPage, error) {
	page := MembersPage{Items: []MemberItem{}}
	user, err := by(ctx, p.By)
	if err != nil {
		return page, err
	}
	space, err := f.conversation(p.Channel)
	if err == nil && f.store == nil {
		err = errNoStore
	}
	if err != nil {
		return page, err
	}
	limit, err := pageLimit(p.Limit)
	if err != nil {
		return page, err
	}
	if user != "" {
		err := error(nil)
		if space.Chat.Direct {
			_, err = f.direct(p.Channel, user)
		} else {
			var role store.Role
			if role, err = f.roleOf(ctx, space, p.Channel, user); err == nil && role == 0 {
				err = fault.New(fault.Denied, "no right to see the members of %s", p.Channel)
			}
		}
		if err != nil {
			return page, err
		}
	}
	list, err := f.store.Roster(ctx, p.Channel, p.After, limit+1)
	if err != nil {
		return page, failure(err)
	}
	counts, err := f.store.MemberCounts(ctx, p.Channel)
	if err != nil {
		return page, failure(err)
	}
	page.Members = counts[0]
	if len(list) > limit {
		list = list[:limit]
		page.Next = list[limit-1].User
	}
	for _, m := range list {
		page.Items = append(page.Items, MemberItem{m.User, roleName(m.Role), m.Since, m.Delivered, m.Read})
	}
	return page, nil
}

// direct gives the other user of a direct conversation. Its error is denied for somebody else.
func (f *Feature) direct(channel, user string) (peer string, err error) {
	a, b, err := directUsers("channel", channel)
	switch {
	case err != nil:
		return "", err
	case user == a:
		return b, nil
	case user == b:
		return a, nil
	}
	return "", fault.New(fault.Denied, "channel: %s is between others", channel)
}

func appendUint(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }
