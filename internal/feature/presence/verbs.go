package presence

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
)

// Params of the verb presence.
type Params struct {
	Channel string `json:"channel"`
	After   string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit   int    `json:"limit,omitempty" jsonschema:"entries of a page; 1000 when absent, at most 1000"`
}

// Result of the verb presence. The counts are of the whole channel.
type Result struct {
	Members     []Member `json:"members" jsonschema:"users by their ids, then anonymous connections"`
	Connections int      `json:"connections"`
	Users       int      `json:"users"`
	Next        string   `json:"next,omitempty" jsonschema:"there are more; after for the next page"`
}

// Member is one user, or one anonymous connection, that is subscribed.
type Member struct {
	User        string          `json:"user,omitempty"`
	Connections int             `json:"connections"`
	Data        json.RawMessage `json:"data,omitempty"`
}

// verb answers the server, to whom everything is shown, however large the
// channel is, and as it is now: no leave is held back.
func (f *Feature) verb(_ context.Context, p Params) (Result, error) {
	r := Result{Members: []Member{}}
	namespace, err := protocol.Namespace("channel", p.Channel)
	if err != nil {
		return r, err
	}
	if f.hub.Space(namespace) == nil {
		return r, fault.New(fault.NotFound, "channel: namespace %q is not configured", namespace)
	}
	if p.Limit == 0 {
		p.Limit = hub.MaxMembers
	}
	if p.Limit < 1 || p.Limit > hub.MaxMembers {
		return r, fault.Field("limit", "%d is not between 1 and %d", p.Limit, hub.MaxMembers)
	}
	after, ok := readPlace(p.After)
	if !ok {
		return r, fault.Field("after", "is not what next gave")
	}
	ch := f.hub.Channel(p.Channel)
	if ch == nil {
		return r, nil
	}
	r.Connections, r.Users = ch.Counts()
	page, last, more := ch.Members(after, p.Limit)
	for _, m := range page {
		r.Members = append(r.Members, Member{User: m.User, Connections: m.Connections, Data: m.Data})
	}
	if more {
		r.Next = placeText(last)
	}
	return r, nil
}

// A place in the listing is written as what it is, because any text may be the
// id of a user.
const (
	ofUser       = "user:"
	ofConnection = "connection:"
)

func placeText(k hub.MemberKey) string {
	if k.User != "" {
		return ofUser + k.User
	}
	return ofConnection + k.Connection.String()
}

// readPlace reads what placeText wrote; "" is the place before all others.
func readPlace(text string) (k hub.MemberKey, ok bool) {
	if text == "" {
		return k, true
	}
	if k.User, ok = strings.CutPrefix(text, ofUser); ok {
		return k, protocol.UserID("after", k.User) == nil
	}
	k.User = ""
	if text, ok = strings.CutPrefix(text, ofConnection); ok {
		k.Connection, ok = id.ParseConnection(text)
	}
	return k, ok
}
