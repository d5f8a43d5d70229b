package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// PublishParams are the params of the verb publish.
type PublishParams struct {
	To      Targets         `json:"to" jsonschema:"one target or a list of them"`
	Event   string          `json:"event,omitempty" jsonschema:"event name; message when absent"`
	Data    json.RawMessage `json:"data" jsonschema:"any JSON"`
	Exclude *Exclude        `json:"exclude,omitempty" jsonschema:"who is left out"`
	Key     string          `json:"key,omitempty" jsonschema:"idempotency key"`
}

// Target is where a message goes: exactly one of its fields is set.
type Target struct {
	Channel    string `json:"channel,omitempty" jsonschema:"a channel"`
	Connection string `json:"connection,omitempty" jsonschema:"a connection"`
	User       string `json:"user,omitempty" jsonschema:"all connections of a user"`
	Members    string `json:"members,omitempty" jsonschema:"a channel: every connection that is subscribed to it because its user is a member"`
	All        string `json:"all,omitempty" jsonschema:"connections: everybody; users: everybody who is bound to a user"`
}

// Targets is one target or a list of them.
type Targets []Target

// Exclude names who a message does not go to.
type Exclude struct {
	Connections []string `json:"connections,omitempty"`
	Users       []string `json:"users,omitempty"`
}

// PublishResult says how far the message got.
type PublishResult struct {
	ID          string `json:"id" jsonschema:"the message's id"`
	Seq         uint64 `json:"seq,omitempty" jsonschema:"its place in the log channel that it went to"`
	Connections int    `json:"connections" jsonschema:"connections whose queue it was handed to"`
	Users       int    `json:"users" jsonschema:"users among them"`
	Stored      bool   `json:"stored" jsonschema:"whether it is kept"`
	Kept        []Kept `json:"kept,omitempty" jsonschema:"of several targets, the log channels among them"`
	Duplicate   bool   `json:"duplicate,omitempty" jsonschema:"the key was used before; this is the first answer"`
}

// Kept is a message in one log channel: it has an id of its own in each.
type Kept struct {
	Channel string `json:"channel"`
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
}

// AppendJSON implements verb.Appender.
func (r PublishResult) AppendJSON(b []byte) []byte {
	b = protocol.AppendString(append(b, `{"id":`...), r.ID)
	if r.Seq > 0 {
		b = strconv.AppendUint(append(b, `,"seq":`...), r.Seq, 10)
	}
	b = appendReach(b, hub.Reach{Connections: r.Connections, Users: r.Users}, r.Stored)
	for i, k := range r.Kept {
		b = append(b, [...]string{`,"kept":[`, `,`}[min(i, 1)]...)
		b = protocol.AppendString(append(b, `{"channel":`...), k.Channel)
		b = protocol.AppendString(append(b, `,"id":`...), k.ID)
		b = append(strconv.AppendUint(append(b, `,"seq":`...), k.Seq, 10), '}')
	}
	if len(r.Kept) > 0 {
		b = append(b, ']')
	}
	if r.Duplicate {
		b = append(b, `,"duplicate":true`...)
	}
	return append(b, '}')
}

// maxTargets bounds the list of targets and of those left out.
const maxTargets = 10_000

// ReadParams implements verb.Reader.
func (p *PublishParams) ReadParams(o *protocol.Object) (err error) {
	o.Each(func(name string, _ []byte) bool {
		switch name {
		case "to", "event", "data", "exclude", "key":
			return true
		}
		err = fault.Field(name, "is not a field of this verb")
		return false
	})
	if err != nil {
		return err
	}
	if p.Event, err = eventOf(o); err != nil {
		return err
	}
	if !o.Has("data") {
		return fault.Field("data", "is missing")
	}
	p.Data = o.Raw("data")
	if raw := o.Raw("exclude"); raw != nil {
		p.Exclude = new(Exclude)
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(p.Exclude); err != nil {
			return fault.Field("exclude", "must be an object with the lists connections and users, and nothing else")
		}
		if len(p.Exclude.Connections)+len(p.Exclude.Users) > maxTargets {
			return fault.Field("exclude", "at most %d can be left out", maxTargets)
		}
		for i, text := range p.Exclude.Connections {
			if _, ok := id.ParseConnection(text); !ok {
				return fault.Field("exclude.connections["+strconv.Itoa(i)+"]", "is not the id of a connection")
			}
		}
	}
	return p.readTargets(o.Raw("to"))
}

func (p *PublishParams) readTargets(raw []byte) error {
	if raw == nil {
		return fault.Field("to", "is missing")
	}
	switch raw[0] {
	case '{':
		p.To = make(Targets, 1)
		return p.To[0].read("to", raw)
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return fault.Field("to", "is not a list of targets")
		}
		if len(list) > maxTargets {
			return fault.Field("to", "at most %d targets are allowed", maxTargets)
		}
		p.To = make(Targets, len(list))
		for i := range list {
			if err := p.To[i].read("to["+strconv.Itoa(i)+"]", list[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return fault.Field("to", "must be a target or a list of targets, not %s", protocol.KindOf(raw))
}

// read reads one target; at is its place in the params.
func (t *Target) read(at string, raw []byte) error {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(raw, 4); err != nil {
		return fault.Field(at, "must be an object such as {\"channel\": \"room:7\"}")
	}
	var err error
	n := 0
	o.Each(func(name string, value []byte) bool {
		n++
		text, ok := protocol.Unquote(value)
		if !ok {
			err = fault.Field(at+"."+name, "must be a string, not %s", protocol.KindOf(value))
			return false
		}
		switch name {
		case "channel":
			t.Channel = text
			_, err = protocol.Namespace(at+".channel", text)
		case "connection":
			t.Connection = text
			if _, ok := id.ParseConnection(text); !ok {
				err = fault.Field(at+".connection", "is not the id of a connection")
			}
		case "user":
			t.User = text
			err = protocol.UserID(at+".user", text)
		case "members":
			t.Members = text
			_, err = protocol.Namespace(at+".members", text)
		case "all":
			t.All = text
			if text != "connections" && text != "users" {
				err = fault.Field(at+".all", "must be \"connections\" or \"users\"")
			}
		default:
			err = fault.Field(at+"."+name, "is not a kind of target; use channel, connection, user, members or all")
		}
		return err == nil
	})
	if err == nil && n != 1 {
		err = fault.Field(at, "names %d kinds of target; exactly one is needed", n)
	}
	return err
}

// publishVerb is the verb publish. A single target takes the short way; several
// are merged, so that a connection gets the message once, by the first target
// that reaches it.
func (f *Feature) publishVerb(ctx context.Context, p PublishParams) (PublishResult, error) {
	spaces := make([]*hub.Space, len(p.To))
	for i, t := range p.To {
		at := "to"
		if len(p.To) > 1 {
			at = "to[" + strconv.Itoa(i) + "]"
		}
		var err error
		switch {
		case t.Channel != "":
			if spaces[i], err = f.space(at+".channel", t.Channel); err == nil {
				err = f.takes(at+".channel", spaces[i])
			}
		case t.Members != "":
			_, err = f.space(at+".members", t.Members)
		}
		if err != nil {
			return PublishResult{}, err
		}
	}
	event, err := protocol.Event("event", p.Event)
	if err != nil {
		return PublishResult{}, err
	}
	m := message(protocol.Direct, event, p.Data, protocol.Sender{})
	except := f.excluded(p.Exclude)
	if len(p.To) != 1 {
		return f.sendMany(ctx, p.To, spaces, *m, except)
	}
	result := PublishResult{ID: m.ID}
	if spaces[0] != nil && spaces[0].IsLog() {
		return f.keepOne(ctx, p.To[0].Channel, spaces[0], m, except)
	}
	reach, err := f.sendOne(ctx, p.To[0], *m, except)
	result.Connections, result.Users = reach.Connections, reach.Users
	return result, err
}

// keepOne publishes to one log channel.
func (f *Feature) keepOne(ctx context.Context, channel string, space *hub.Space, m *protocol.Msg, except []*hub.Conn) (PublishResult, error) {
	m.Channel = channel
	a, err := f.store(ctx, m, space, verb.KeyOf(ctx), store.Meta{}, except)
	if err != nil {
		return PublishResult{}, err
	}
	r := PublishResult{ID: a.ID, Seq: a.Seq, Stored: true, Duplicate: a.Duplicate}
	if !a.Duplicate {
		reach := f.reach(ctx, channel, space, except)
		r.Connections, r.Users = reach.Connections, reach.Users
	}
	return r, nil
}

// reach tells whom a message of the server reaches in a log channel.
func (f *Feature) reach(ctx context.Context, channel string, space *hub.Space, except []*hub.Conn) hub.Reach {
	if space.Chat != nil {
		return f.chats().Reach(ctx, space, channel, "", except)
	}
	return f.hub.Reach(channel, except)
}

// excluded finds the connections that are left out.
func (f *Feature) excluded(e *Exclude) []*hub.Conn {
	if e == nil {
		return nil
	}
	var list []*hub.Conn
	seen := map[*hub.Conn]bool{}
	add := func(c *hub.Conn) {
		if c != nil && !seen[c] {
			seen[c] = true
			list = append(list, c)
		}
	}
	for _, text := range e.Connections {
		if c, ok := id.ParseConnection(text); ok {
			add(f.hub.Conn(c))
		}
	}
	for _, user := range e.Users {
		for _, c := range f.hub.UserConns(user) {
			add(c)
		}
	}
	return list
}

// sendOne sends m to one target.
func (f *Feature) sendOne(ctx context.Context, t Target, m protocol.Msg, except []*hub.Conn) (hub.Reach, error) {
	switch {
	case t.Channel != "":
		m.Channel = t.Channel
		return f.hub.Publish(ctx, t.Channel, frameOf(&m), except)
	case t.Members != "":
		return f.hub.PublishMembers(ctx, t.Members, frameOf(&m), except)
	case t.All != "":
		return f.hub.PublishAll(ctx, t.All == "users", frameOf(&m), except)
	}
	return f.hub.PublishTo(without(f.direct(t), except), frameOf(&m)), nil
}

// direct finds the connections of a target that is a connection or a user.
func (f *Feature) direct(t Target) []*hub.Conn {
	if t.User != "" {
		return f.hub.UserConns(t.User)
	}
	if c, ok := id.ParseConnection(t.Connection); ok {
		if conn := f.hub.Conn(c); conn != nil {
			return []*hub.Conn{conn}
		}
	}
	return nil
}

func without(list, except []*hub.Conn) []*hub.Conn {
	if len(except) == 0 {
		return list
	}
	out := make(map[*hub.Conn]bool, len(except))
	for _, c := range except {
		out[c] = true
	}
	kept := list[:0:0]
	for _, c := range list {
		if !out[c] {
			kept = append(kept, c)
		}
	}
	return kept
}

// sendMany sends m to several targets, once to each connection. What goes to log
// channels is stored before anything is sent, in all of them or in none.
func (f *Feature) sendMany(ctx context.Context, targets Targets, spaces []*hub.Space, m protocol.Msg, except []*hub.Conn) (PublishResult, error) {
	reached := map[*hub.Conn]bool{}
	for _, c := range except {
		reached[c] = true
	}
	users := map[string]bool{}
	result := PublishResult{ID: m.ID}
	var kept []feed.Message
	old := make([][]*hub.Conn, len(targets)) // who gets it by an earlier target
	for i, t := range targets {
		meant, others := split(f.meant(t), reached)
		old[i] = others
		if spaces[i] != nil && spaces[i].IsLog() {
			own := m
			own.Channel = t.Channel
			if len(kept) > 0 {
				own.ID = id.Message(time.UnixMilli(m.Time))
			}
			a, err := f.record(ctx, &own, spaces[i], verb.KeyOf(ctx), store.Meta{})
			if err != nil {
				return PublishResult{}, err
			}
			kept = append(kept, feed.Message{Append: a, Except: others})
		}
		for _, c := range meant {
			if user := c.User(); user != "" {
				users[user] = true
			}
		}
		result.Connections += len(meant)
	}
	result.Users = len(users)
	if len(kept) > 0 {
		stored, err := f.feeds.PublishAll(ctx, kept)
		if err != nil {
			return PublishResult{}, err
		}
		result.Stored, result.Duplicate = true, stored[0].Duplicate
		f.appended(ctx, targets, spaces, stored)
		for i, a := range stored {
			result.Kept = append(result.Kept, Kept{Channel: kept[i].Channel, ID: a.ID, Seq: a.Seq})
		}
		if result.Duplicate { // the rest was sent the first time
			result.Connections, result.Users = 0, 0
			return result, nil
		}
	}
	for i, t := range targets {
		if spaces[i] != nil && spaces[i].IsLog() {
			continue
		}
		if _, err := f.sendOne(ctx, t, m, old[i]); err != nil {
			return result, err
		}
	}
	return result, nil
}

// appended tells of what was stored in those targets that are log channels, in their order.
func (f *Feature) appended(ctx context.Context, targets Targets, spaces []*hub.Space, stored []store.Appended) {
	for i, space := range spaces {
		if space == nil || !space.IsLog() {
			continue
		}
		if space.Chat != nil {
			f.chats().Appended(ctx, space, targets[i].Channel, stored[0])
		}
		stored = stored[1:]
	}
}

// meant finds the connections of any target.
func (f *Feature) meant(t Target) (conns []*hub.Conn) {
	switch {
	case t.Channel != "":
		if ch := f.hub.Channel(t.Channel); ch != nil {
			return ch.Conns()
		}
		return nil
	case t.Members != "":
		if ch := f.hub.Channel(t.Members); ch != nil {
			return ch.MemberConns()
		}
		return nil
	case t.All != "":
		f.hub.EachConn(func(c *hub.Conn) bool {
			if t.All == "connections" || c.User() != "" {
				conns = append(conns, c)
			}
			return true
		})
		return conns
	}
	return f.direct(t)
}

// split divides conns into those that are reached for the first time, which are
// marked, and the others.
func split(conns []*hub.Conn, reached map[*hub.Conn]bool) (fresh, others []*hub.Conn) {
	for _, c := range conns {
		if reached[c] {
			others = append(others, c)
		} else {
			reached[c] = true
			fresh = append(fresh, c)
		}
	}
	return fresh, others
}
