package group

import (
	"context"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) register(r *verb.Registry) {
	verb.Add(r, "members.add", "Makes users members of a channel.", f.add)
	verb.Add(r, "members.remove", "Ends memberships of a channel.", f.remove)
	verb.Add(r, "members.list", "Lists the members of a channel, or the channels of a user.", f.list)
	verb.Add(r, "members.count", "Counts the members of channels.", f.count)
	verb.Add(r, "members.groups", "Lists the channels that have members.", f.groups)
}

// maxUsers bounds the users of one call.
const maxUsers = 10_000

// Params are the params of members.add and members.remove.
type Params struct {
	Channel string   `json:"channel"`
	Users   []string `json:"users" jsonschema:"at most 10000"`
}

// RemoveParams are the params of members.remove.
type RemoveParams struct {
	Channel string   `json:"channel"`
	Users   []string `json:"users,omitempty" jsonschema:"at most 10000; or all"`
	All     bool     `json:"all,omitempty" jsonschema:"instead of users: every member"`
}

// Changed says what a change did.
type Changed struct {
	Count       int   `json:"count" jsonschema:"users whose membership began or ended; others were, or were not, members before"`
	Connections int   `json:"connections" jsonschema:"their live connections that were subscribed or unsubscribed"`
	Members     int64 `json:"members" jsonschema:"members of the channel now"`
}

// check checks what is given, and tells whether the channel is a conversation.
func (f *Feature) check(channel string, users []string) (chat bool, err error) {
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return false, err
	}
	space := f.hub.Space(namespace)
	if space == nil {
		return false, fault.New(fault.NotFound, "channel: namespace %q is not configured", namespace)
	}
	if len(users) > maxUsers {
		return false, fault.Field("users", "names %d users; at most %d are allowed", len(users), maxUsers)
	}
	for i, user := range users {
		if err := protocol.UserID("users["+strconv.Itoa(i)+"]", user); err != nil {
			return false, err
		}
	}
	return space.Chat != nil && f.chats != nil, nil
}

func (f *Feature) add(ctx context.Context, p Params) (r Changed, err error) {
	if p.Users == nil {
		return r, fault.Field("users", "is missing")
	}
	chat, err := f.check(p.Channel, p.Users)
	if err != nil {
		return r, err
	}
	if chat {
		r.Count, r.Connections, r.Members, err = f.chats.Invited(ctx, p.Channel, p.Users)
		return r, err
	}
	f.any.Store(true)
	changed, err := f.change(ctx, p.Channel, store.AddMembers{Channel: p.Channel, Users: p.Users, Time: time.Now().UnixMilli()}, func(user string, c *hub.Conn) error {
		err := f.join(ctx, session.Of(c), &user, p.Channel, hub.Membership, nil)
		if err == nil {
			r.Connections++
		}
		return err
	})
	r.Count, r.Members = len(changed.Users), changed.Count
	return r, err
}

func (f *Feature) remove(ctx context.Context, p RemoveParams) (r Changed, err error) {
	if (p.Users == nil) == !p.All {
		return r, fault.Field("users", "name users, or set all to true")
	}
	chat, err := f.check(p.Channel, p.Users)
	if err != nil {
		return r, err
	}
	if chat {
		r.Count, r.Connections, r.Members, err = f.chats.Removed(ctx, p.Channel, p.Users, p.All)
		return r, err
	}
	tell := func(_ string, c *hub.Conn) error {
		if f.drop(c, p.Channel) {
			r.Connections++
		}
		return nil
	}
	for {
		c := store.RemoveMembers{Channel: p.Channel, Users: p.Users}
		if p.All {
			c.Some = maxUsers
		}
		changed, err := f.change(ctx, p.Channel, c, tell)
		if err != nil {
			return r, err
		}
		r.Count, r.Members = r.Count+len(changed.Users), changed.Count
		if !p.All || changed.Count == 0 || len(changed.Users) == 0 {
			return r, nil
		}
	}
}

// ListParams are the params of members.list.
type ListParams struct {
	Channel string `json:"channel,omitempty" jsonschema:"its members; or name a user"`
	User    string `json:"user,omitempty" jsonschema:"the channels that the user is a member of"`
	After   string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit   int    `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// Item is one membership: of a channel's the user, of a user's the channel.
type Item struct {
	User    string `json:"user,omitempty"`
	Channel string `json:"channel,omitempty"`
	Since   int64  `json:"since" jsonschema:"Unix milliseconds"`
}

// Page is a page of memberships, by user or by channel.
type Page struct {
	Items []Item `json:"items"`
	Next  string `json:"next,omitempty"`
}

func (f *Feature) list(ctx context.Context, p ListParams) (Page, error) {
	page := Page{Items: []Item{}}
	if (p.Channel == "") == (p.User == "") {
		return page, fault.Field("channel", "name either a channel or a user")
	}
	limit, err := verb.PageLimit(p.Limit)
	if err != nil {
		return page, err
	}
	if p.Channel != "" {
		_, err = f.check(p.Channel, nil)
	} else {
		err = protocol.UserID("user", p.User)
	}
	if err == nil && f.store == nil {
		err = errNoStore
	}
	if err != nil {
		return page, err
	}
	if p.Channel != "" {
		list, err := f.store.Members(ctx, p.Channel, p.After, limit+1)
		if err != nil {
			return page, failure(err)
		}
		if len(list) > limit {
			list = list[:limit]
			page.Next = list[limit-1].User
		}
		for _, m := range list {
			page.Items = append(page.Items, Item{User: m.User, Since: m.Since})
		}
		return page, nil
	}
	list, err := f.store.Memberships(ctx, p.User, p.After, limit+1)
	if err != nil {
		return page, failure(err)
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = list[limit-1].Channel
	}
	for _, m := range list {
		page.Items = append(page.Items, Item{Channel: m.Channel, Since: m.Since})
	}
	return page, nil
}

// CountParams are the params of members.count.
type CountParams struct {
	Channel string `json:"channel"`
}

// Count is how many members a channel has.
type Count struct {
	Count int64 `json:"count" jsonschema:"0 also for a channel that nobody ever was a member of"`
}

func (f *Feature) count(ctx context.Context, p CountParams) (Count, error) {
	if _, err := f.check(p.Channel, nil); err != nil {
		return Count{}, err
	}
	if f.store == nil {
		return Count{}, errNoStore
	}
	counts, err := f.store.MemberCounts(ctx, p.Channel)
	if err != nil {
		return Count{}, failure(err)
	}
	return Count{counts[0]}, nil
}

// GroupsParams are the params of members.groups.
type GroupsParams struct {
	Prefix string `json:"prefix,omitempty" jsonschema:"only channels whose name begins with it"`
	After  string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit  int    `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// Group is a channel that has members.
type Group struct {
	Channel string `json:"channel"`
	Members int64  `json:"members"`
}

// GroupsPage is a page of them, by channel.
type GroupsPage struct {
	Items []Group `json:"items"`
	Next  string  `json:"next,omitempty"`
}

func (f *Feature) groups(ctx context.Context, p GroupsParams) (GroupsPage, error) {
	page := GroupsPage{Items: []Group{}}
	limit, err := verb.PageLimit(p.Limit)
	if err == nil && f.store == nil {
		err = errNoStore
	}
	if err != nil {
		return page, err
	}
	list, err := f.store.Groups(ctx, p.Prefix, p.After, limit+1)
	if err != nil {
		return page, failure(err)
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = list[limit-1].Channel
	}
	for _, g := range list {
		page.Items = append(page.Items, Group{g.Channel, g.Members})
	}
	return page, nil
}
