package channel

import (
	"context"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

func (f *Feature) registerVerbs(r *verb.Registry) {
	verb.Add(r, "publish", "Sends a message to a channel, a connection, a user or everybody.", f.publishVerb, verb.Keyed)
	verb.Add(r, "subscribe", "Subscribes a connection, or every connection of a user, to a channel.", f.subscribeVerb)
	verb.Add(r, "unsubscribe", "Ends the subscription of a connection, or of every connection of a user.", f.unsubscribeVerb)
	verb.Add(r, "channels", "Lists the channels that have subscribers.", f.channelsVerb)
}

// SubscribeParams are the params of subscribe and unsubscribe.
type SubscribeParams struct {
	Connection string `json:"connection,omitempty" jsonschema:"a connection; or name a user"`
	User       string `json:"user,omitempty" jsonschema:"a user: all connections that are there now"`
	Channel    string `json:"channel"`
}

// UnsubscribeParams are the params of unsubscribe.
type UnsubscribeParams struct {
	SubscribeParams
	All bool `json:"all,omitempty" jsonschema:"everybody who is subscribed; memberships stay, and their users are subscribed again when they connect"`
}

// SubscribeResult counts whose subscriptions changed.
type SubscribeResult struct {
	Connections int `json:"connections"`
}

// conns finds whom the params are about.
func (f *Feature) conns(p SubscribeParams) ([]*hub.Conn, error) {
	if (p.Connection == "") == (p.User == "") {
		return nil, fault.Field("connection", "name either a connection or a user")
	}
	if p.User != "" {
		return f.hub.UserConns(p.User), nil
	}
	c, ok := id.ParseConnection(p.Connection)
	if !ok {
		return nil, fault.Field("connection", "is not the id of a connection")
	}
	conn := f.hub.Conn(c)
	if conn == nil {
		return nil, fault.New(fault.NotFound, "connection: there is no such connection")
	}
	return []*hub.Conn{conn}, nil
}

func (f *Feature) subscribeVerb(ctx context.Context, p SubscribeParams) (r SubscribeResult, err error) {
	space, err := f.space("channel", p.Channel)
	if err != nil {
		return r, err
	}
	conns, err := f.conns(p)
	if err != nil {
		return r, err
	}
	for _, c := range conns {
		fresh, err := f.subscribeOne(ctx, c, p.Channel, space)
		if err != nil {
			if p.User != "" && fault.Of(err).Code == fault.NotFound {
				continue // it left while we were at it
			}
			return r, err
		}
		if fresh {
			r.Connections++
		}
	}
	return r, nil
}

// Join subscribes a session to a channel, for a reason of the server's; with a user, if it is
// his. In a log channel it begins with what comes from now on.
func (f *Feature) Join(ctx context.Context, s *session.Session, user *string, channel string, by hub.Reason) error {
	if by&hub.Membership != 0 {
		defer f.steady(channel)()
	}
	return f.Follow(ctx, s, user, channel, by, nil)
}

// Follow is Join while the members of the channel are steady. In a log channel it begins after
// a place, or, when that is nil, with what comes from now on.
func (f *Feature) Follow(ctx context.Context, s *session.Session, user *string, channel string, by hub.Reason, after *feed.Position) error {
	space, err := f.space("channel", channel)
	if err != nil {
		return err
	}
	from := feed.From{Echo: true, Since: after}
	if space.Chat != nil && by&hub.Membership != 0 && user != nil {
		if space.Subscribe == auth.Token && !session.Capable(space, subscribe, channel, s.Identity()) {
			return session.Denied(subscribe, channel) // a member, but without the capability
		}
		hidden, is, err := f.chats().Member(ctx, space, channel, *user)
		if err != nil {
			return err
		}
		if !is {
			return session.Denied(subscribe, channel) // he was a moment ago
		}
		from.Floor = hidden
	}
	_, err = f.subscribeAs(ctx, &s.Conn, channel, space, from, hub.SubOptions{By: by, User: user})
	return err
}

// subscribeOne subscribes one connection; in a log channel, from the next message on.
func (f *Feature) subscribeOne(ctx context.Context, c *hub.Conn, channel string, space *hub.Space) (fresh bool, err error) {
	return f.subscribeAs(ctx, c, channel, space, feed.From{Echo: true}, hub.SubOptions{By: hub.Ordered, Limit: f.subscriptions()})
}

func (f *Feature) subscribeAs(ctx context.Context, c *hub.Conn, channel string, space *hub.Space, from feed.From, opt hub.SubOptions) (fresh bool, err error) {
	if space.IsLog() {
		return f.feeds.Subscribe(ctx, c, channel, space, from, opt, func(j feed.Joining) []byte {
			if from.Since != nil { // what follows begins there
				j.Seq = min(j.Seq, from.Since.Seq)
			}
			return session.Subscribed(channel, "server", func(b []byte) []byte { return appendHead(b, j) })
		})
	}
	if space.IsDoc() {
		return f.documents.Subscribe(ctx, c, channel, space, document.From{Echo: true}, opt, func(j document.Joining) []byte {
			return session.Subscribed(channel, "server", func(b []byte) []byte { return appendVersion(b, j) })
		})
	}
	opt.Reply = func() []byte { return session.Subscribed(channel, "server", nil) }
	return f.hub.Subscribe(c, channel, space, opt)
}

func (f *Feature) unsubscribeVerb(_ context.Context, p UnsubscribeParams) (r SubscribeResult, err error) {
	if _, err := protocol.Namespace("channel", p.Channel); err != nil {
		return r, err
	}
	var conns []*hub.Conn
	switch {
	case p.All && (p.Connection != "" || p.User != ""):
		return r, fault.Field("all", "cannot be given together with connection or user")
	case p.All:
		if ch := f.hub.Channel(p.Channel); ch != nil {
			conns = ch.Conns()
		}
	default:
		if conns, err = f.conns(p.SubscribeParams); err != nil {
			return r, err
		}
	}
	for _, c := range conns {
		if f.hub.Unsubscribe(c, p.Channel) {
			c.SendFrame(session.Unsubscribed(p.Channel, "server"), nil)
			r.Connections++
		}
	}
	return r, nil
}

// ChannelsParams are the params of channels.
type ChannelsParams struct {
	Prefix string `json:"prefix,omitempty" jsonschema:"only channels whose name begins with it"`
	After  string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit  int    `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// ChannelItem is one channel that has subscribers.
type ChannelItem struct {
	Channel     string `json:"channel"`
	Kind        string `json:"kind"`
	Subscribers int    `json:"subscribers"`
	Users       int    `json:"users"`
	Head        uint64 `json:"head,omitempty" jsonschema:"seq of the newest message of a log channel; version of a document"`
}

// ChannelsPage is a page of them, by name.
type ChannelsPage struct {
	Items []ChannelItem `json:"items"`
	Next  string        `json:"next,omitempty"`
}

func (f *Feature) channelsVerb(_ context.Context, p ChannelsParams) (ChannelsPage, error) {
	page := ChannelsPage{Items: []ChannelItem{}}
	var err error
	if p.Limit, err = verb.PageLimit(p.Limit); err != nil {
		return page, err
	}
	var names []string
	f.hub.EachChannel(func(ch *hub.Channel) bool {
		if name := ch.Name(); strings.HasPrefix(name, p.Prefix) && name > p.After {
			names = append(names, name)
		}
		return true
	})
	slices.Sort(names)
	if len(names) > p.Limit {
		names = names[:p.Limit]
		page.Next = names[p.Limit-1]
	}
	for _, name := range names {
		ch := f.hub.Channel(name)
		if ch == nil {
			continue // it emptied meanwhile
		}
		connections, users := ch.Counts()
		item := ChannelItem{Channel: name, Kind: ch.Space().Kind, Subscribers: connections, Users: users}
		if ch.Space().IsLog() {
			item.Head = f.feeds.Head(name)
		} else if ch.Space().IsDoc() {
			item.Head = f.documents.Head(name)
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}
