// Package connection is what a server can do with live connections: bind them
// to users, send them away, ask who is online, keep a session for each. It
// offers the verbs bind, unbind, disconnect, online, connections and session.*.
//
// Everything is in memory and ends with the connection.
package connection

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Feature is the live connections of one server.
type Feature struct {
	hub  *hub.Hub
	lag  func(*hub.Sub) uint64
	seen func(ctx context.Context, users []string) ([]store.Seen, error)
}

// New registers the feature's verbs. lag tells how many messages a subscription
// to a log channel lacks, seen when users were last there.
func New(h *hub.Hub, lag func(*hub.Sub) uint64, seen func(ctx context.Context, users []string) ([]store.Seen, error), r *verb.Registry) *Feature {
	f := &Feature{hub: h, lag: lag, seen: seen}
	verb.Add(r, "bind", "Binds a connection to a user.", f.bind)
	verb.Add(r, "unbind", "Makes a connection anonymous.", f.unbind)
	verb.Add(r, "disconnect", "Ends a connection, or those of a user, with a last message if wanted.", f.disconnect)
	verb.Add(r, "online", "Tells which users or connections are online.", f.online)
	verb.Add(r, "connections", "Lists live connections.", f.connections)
	verb.Add(r, "call", "Calls a method of a client, or of every client of a user, and waits for the replies.", f.call)
	verb.Add(r, "session.get", "Reads the session of a connection.", f.sessionGet)
	verb.Add(r, "session.set", "Replaces the session of a connection.", f.sessionSet)
	verb.Add(r, "session.merge", "Merges into the session of a connection (RFC 7396).", f.sessionMerge)
	return f
}

// find gives a connection that must be there.
func (f *Feature) find(text string) (*hub.Conn, error) {
	if text == "" {
		return nil, fault.Field("connection", "is missing")
	}
	c, ok := id.ParseConnection(text)
	if !ok {
		return nil, fault.Field("connection", "is not the id of a connection")
	}
	conn := f.hub.Conn(c)
	if conn == nil {
		return nil, fault.New(fault.NotFound, "connection: there is no such connection")
	}
	return conn, nil
}

// Empty is the result of a verb that has nothing to say but that it worked.
type Empty struct{}

// BindParams are the params of bind.
type BindParams struct {
	Connection string `json:"connection"`
	User       string `json:"user"`
	Device     string `json:"device,omitempty"`
}

func (f *Feature) bind(ctx context.Context, p BindParams) (Empty, error) {
	c, err := f.find(p.Connection)
	if err == nil {
		err = protocol.UserID("user", p.User)
	}
	if err == nil {
		err = protocol.DeviceID("device", p.Device)
	}
	if err != nil {
		return Empty{}, err
	}
	// What a token gave ends with the identity that it gave it to.
	return Empty{}, session.Of(c).Rebind(ctx, auth.Identity{User: p.User, Device: p.Device})
}

// UnbindParams are the params of unbind.
type UnbindParams struct {
	Connection string `json:"connection"`
	User       string `json:"user,omitempty" jsonschema:"when given, only if it is bound to this user"`
}

func (f *Feature) unbind(ctx context.Context, p UnbindParams) (Empty, error) {
	c, err := f.find(p.Connection)
	if err != nil {
		return Empty{}, err
	}
	if p.User != "" && c.User() != p.User {
		return Empty{}, fault.New(fault.Conflict, "user: the connection is not bound to this user")
	}
	return Empty{}, session.Of(c).Rebind(ctx, auth.Identity{})
}

// Last is a message that is sent before a connection ends.
type Last struct {
	Event string          `json:"event,omitempty"`
	Data  json.RawMessage `json:"data"`
}

// DisconnectParams are the params of disconnect.
type DisconnectParams struct {
	Connection string `json:"connection,omitempty" jsonschema:"a connection; or name a user"`
	User       string `json:"user,omitempty"`
	Device     string `json:"device,omitempty" jsonschema:"with user: only the connections of this device"`
	Code       int    `json:"code,omitempty" jsonschema:"close code 4000 to 4999; 4004 when absent"`
	Message    string `json:"message,omitempty" jsonschema:"why; goes into bye"`
	Last       *Last  `json:"last,omitempty" jsonschema:"a message that is sent first"`
	Reconnect  bool   `json:"reconnect,omitempty" jsonschema:"whether the client should come back"`
}

// Count says how many connections a verb changed.
type Count struct {
	Connections int `json:"connections"`
}

func (f *Feature) disconnect(_ context.Context, p DisconnectParams) (Count, error) {
	if (p.Connection == "") == (p.User == "") {
		return Count{}, fault.Field("connection", "name either a connection or a user")
	}
	reason := protocol.CloseDisconnected
	if p.Code != 0 {
		if p.Code < 4000 || p.Code > 4999 {
			return Count{}, fault.Field("code", "%d is not between 4000 and 4999", p.Code)
		}
		reason.Code = uint16(p.Code)
	}
	reason.Reconnect = p.Reconnect
	if len(p.Message) > 1<<10 {
		return Count{}, fault.Field("message", "has %d bytes; at most 1024 are allowed", len(p.Message))
	}
	var last [][]byte
	if p.Last != nil {
		event, err := protocol.Event("last.event", p.Last.Event)
		if err != nil {
			return Count{}, err
		}
		now := time.Now()
		last = append(last, protocol.AppendMsg(nil, &protocol.Msg{
			Channel: protocol.Direct, ID: id.Message(now), Event: event, Data: p.Last.Data, Time: now.UnixMilli(),
		}))
	}
	var conns []*hub.Conn
	if p.User != "" {
		for _, c := range f.hub.UserConns(p.User) {
			if p.Device == "" || c.Identity().Device == p.Device {
				conns = append(conns, c)
			}
		}
	} else {
		c, err := f.find(p.Connection)
		if err != nil {
			return Count{}, err
		}
		conns = []*hub.Conn{c}
	}
	for _, c := range conns {
		after := time.Duration(0)
		if reason.Reconnect {
			after = session.Jitter(time.Second)
		}
		session.Of(c).ByeAfter(reason, p.Message, after, last...)
	}
	return Count{len(conns)}, nil
}

// OnlineParams are the params of online: one of the lists.
type OnlineParams struct {
	Users       []string `json:"users,omitempty"`
	Connections []string `json:"connections,omitempty"`
	Seen        bool     `json:"seen,omitempty" jsonschema:"with users: tell also when those that are offline were last there"`
}

// Online is what is known of one user or connection.
type Online struct {
	Online      bool     `json:"online"`
	Connections int      `json:"connections"`
	Devices     []string `json:"devices"`
	Seen        int64    `json:"seen,omitempty" jsonschema:"when a user that is offline was last there, Unix milliseconds; absent when he never was, or was not asked for"`
}

// OnlineResult is by user or connection, as they were asked for.
type OnlineResult map[string]Online

// AppendJSON implements verb.Appender: ten thousand at once are asked for often.
func (r OnlineResult) AppendJSON(b []byte) []byte {
	b = slices.Grow(b, 64*len(r))
	b = append(b, '{')
	for name, o := range r {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = strconv.AppendBool(append(protocol.AppendString(b, name), `:{"online":`...), o.Online)
		b = strconv.AppendInt(append(b, `,"connections":`...), int64(o.Connections), 10)
		b = append(b, `,"devices":[`...)
		for i, d := range o.Devices {
			if i > 0 {
				b = append(b, ',')
			}
			b = protocol.AppendString(b, d)
		}
		b = append(b, ']')
		if o.Seen > 0 {
			b = strconv.AppendInt(append(b, `,"seen":`...), o.Seen, 10)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

const maxOnline = 10_000

func (f *Feature) online(ctx context.Context, p OnlineParams) (OnlineResult, error) {
	if (p.Users == nil) == (p.Connections == nil) {
		return nil, fault.Field("users", "name either users or connections")
	}
	if len(p.Users)+len(p.Connections) > maxOnline {
		return nil, fault.Field("users", "at most %d can be asked for at once", maxOnline)
	}
	result := make(OnlineResult, len(p.Users)+len(p.Connections))
	var away []string
	for _, user := range p.Users {
		o := onlineOf(f.hub.UserConns(user))
		if result[user] = o; !o.Online && p.Seen {
			away = append(away, user)
		}
	}
	if len(away) > 0 {
		seen, err := f.seen(ctx, away)
		if err != nil {
			return nil, err
		}
		for _, s := range seen {
			o := result[s.User]
			o.Seen = s.Time
			result[s.User] = o
		}
	}
	for _, text := range p.Connections {
		var conns []*hub.Conn
		if c, ok := id.ParseConnection(text); ok {
			if conn := f.hub.Conn(c); conn != nil {
				conns = append(conns, conn)
			}
		}
		result[text] = onlineOf(conns)
	}
	return result, nil
}

func onlineOf(conns []*hub.Conn) Online {
	o := Online{Online: len(conns) > 0, Connections: len(conns), Devices: []string{}}
	for _, c := range conns {
		if d := c.Identity().Device; d != "" && !slices.Contains(o.Devices, d) {
			o.Devices = append(o.Devices, d)
		}
	}
	slices.Sort(o.Devices)
	return o
}

// ConnectionsParams are the params of connections.
type ConnectionsParams struct {
	Connection string `json:"connection,omitempty" jsonschema:"only this one"`
	User       string `json:"user,omitempty" jsonschema:"only this user's"`
	Channel    string `json:"channel,omitempty" jsonschema:"only subscribers of this channel"`
	After      string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit      int    `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// Item is one live connection.
type Item struct {
	ID        string   `json:"id"`
	User      string   `json:"user,omitempty"`
	Device    string   `json:"device,omitempty"`
	Transport string   `json:"transport"`
	Address   string   `json:"address"`
	Since     int64    `json:"since" jsonschema:"Unix milliseconds"`
	Channels  []string `json:"channels"`
	Bytes     int64    `json:"bytes" jsonschema:"bytes sent to it"`
	Queued    int      `json:"queued" jsonschema:"bytes that wait for it"`
	Behind    []Behind `json:"behind,omitempty" jsonschema:"log channels that it is catching up with"`
}

// Behind is a log channel whose messages a connection reads at its own pace.
type Behind struct {
	Channel  string `json:"channel"`
	Messages uint64 `json:"messages" jsonschema:"messages that it lacks"`
}

// Page is a page of connections, by id.
type Page struct {
	Items []Item `json:"items"`
	Next  string `json:"next,omitempty"`
}

func (f *Feature) connections(_ context.Context, p ConnectionsParams) (Page, error) {
	page := Page{Items: []Item{}}
	var err error
	if p.Limit, err = verb.PageLimit(p.Limit); err != nil {
		return page, err
	}
	var after id.Connection
	if p.After != "" {
		var ok bool
		if after, ok = id.ParseConnection(p.After); !ok {
			return page, fault.Field("after", "is not what next gave")
		}
	}
	first := firstConns{limit: p.Limit + 1}
	var only *hub.Conn
	if p.Connection != "" {
		c, err := f.find(p.Connection)
		if fault.Of(err) != nil && fault.Of(err).Code != fault.NotFound {
			return page, err
		}
		if only = c; only == nil {
			return page, nil
		}
	}
	consider := func(c *hub.Conn) bool {
		if only != nil && c != only {
			return true
		}
		if (p.After == "" || bytes.Compare(c.ID[:], after[:]) > 0) && (p.User == "" || c.User() == p.User) {
			first.offer(c)
		}
		return true
	}
	switch {
	case p.Channel != "":
		if ch := f.hub.Channel(p.Channel); ch != nil {
			for _, c := range ch.Conns() {
				consider(c)
			}
		}
	case p.User != "":
		for _, c := range f.hub.UserConns(p.User) {
			consider(c)
		}
	case only != nil:
		consider(only)
	default:
		f.hub.EachConn(consider)
	}
	conns := first.sorted()
	if len(conns) > p.Limit {
		conns = conns[:p.Limit]
		page.Next = conns[p.Limit-1].ID.String()
	}
	for _, c := range conns {
		page.Items = append(page.Items, f.item(c))
	}
	return page, nil
}

func (f *Feature) item(c *hub.Conn) Item {
	identity := c.Identity()
	out := c.Out()
	i := Item{
		ID: c.ID.String(), User: identity.User, Device: identity.Device,
		Transport: out.Transport(), Address: out.Remote().String(), Since: c.Since(),
		Channels: c.Channels(), Bytes: out.Written(), Queued: out.Queued(),
	}
	for _, s := range c.Subs() {
		if !s.Place().Live {
			i.Behind = append(i.Behind, Behind{Channel: s.Channel().Name(), Messages: f.lag(s)})
		}
	}
	return i
}

// firstConns keeps the connections with the smallest ids: a heap with the
// largest of them on top.
type firstConns struct {
	limit int
	list  []*hub.Conn
}

func (f *firstConns) Len() int           { return len(f.list) }
func (f *firstConns) Less(i, j int) bool { return bytes.Compare(f.list[i].ID[:], f.list[j].ID[:]) > 0 }
func (f *firstConns) Swap(i, j int)      { f.list[i], f.list[j] = f.list[j], f.list[i] }
func (f *firstConns) Push(x any)         { f.list = append(f.list, x.(*hub.Conn)) }
func (f *firstConns) Pop() any {
	x := f.list[len(f.list)-1]
	f.list = f.list[:len(f.list)-1]
	return x
}

func (f *firstConns) offer(c *hub.Conn) {
	heap.Push(f, c)
	if len(f.list) > f.limit {
		heap.Pop(f)
	}
}

func (f *firstConns) sorted() []*hub.Conn {
	slices.SortFunc(f.list, func(a, b *hub.Conn) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return f.list
}
