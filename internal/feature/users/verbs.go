package users

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) register(r *verb.Registry) {
	verb.Add(r, "users.put", "Says what is known of users: attributes by which they can be chosen.", f.put)
	verb.Add(r, "users.get", "Tells what is known of a user.", f.get)
	verb.Add(r, "users.query", "Lists the users whose attributes fulfil a filter, a page at a time.", f.query)
	verb.Add(r, "users.delete", "Forgets users, with their inboxes and the records of what was pushed to them.", f.remove)
}

// Bounds of lists.
const (
	maxPut       = 1000
	maxDelete    = 10_000
	deleteChunk  = 100 // users of one transaction: an inbox may be large
	defaultLimit = 50
	maxLimit     = 500
)

// Put is one user and what is known of him.
type Put struct {
	ID         string          `json:"id" jsonschema:"1 to 256 bytes"`
	Attributes json.RawMessage `json:"attributes" jsonschema:"an object of at most 65536 bytes; tz is a time zone, tags a list of texts"`
}

// PutParams are the params of users.put.
type PutParams struct {
	ID         string          `json:"id,omitempty" jsonschema:"1 to 256 bytes; or give users"`
	Attributes json.RawMessage `json:"attributes,omitempty" jsonschema:"an object of at most 65536 bytes; tz is a time zone, tags a list of texts"`
	Users      []Put           `json:"users,omitempty" jsonschema:"instead of id and attributes: at most 1000 of both"`
	Merge      bool            `json:"merge,omitempty" jsonschema:"attributes are a merge patch (RFC 7396) of those that are there, not a replacement"`

	list []store.UserPut
}

// ReadParams implements verb.Reader: what is wrong in a list is named with its place.
func (p *PutParams) ReadParams(o *protocol.Object) error {
	err := only(o, "is not a field of this verb", "id", "attributes", "users", "merge")
	if err == nil {
		p.Merge, err = o.Bool("merge", false)
	}
	if err != nil {
		return err
	}
	raw := o.Raw("users")
	if raw == nil {
		if !o.Has("id") {
			return fault.Field("id", "is missing; name a user, or give users")
		}
		p.list = make([]store.UserPut, 1)
		return readPut("", o, p.Merge, &p.list[0])
	}
	for _, name := range []string{"id", "attributes"} {
		if o.Has(name) {
			return fault.Field(name, "cannot be given together with users")
		}
	}
	if raw[0] != '[' {
		return fault.Field("users", "must be a list of users, not %s", protocol.KindOf(raw))
	}
	var one protocol.Object
	p.list = []store.UserPut{}
	return protocol.EachElement(raw, func(element []byte) error {
		if len(p.list) == maxPut {
			return fault.Field("users", "has more than %d users", maxPut)
		}
		at := "users[" + strconv.Itoa(len(p.list)) + "]"
		if element[0] != '{' {
			return fault.Field(at, "must be an object with id and attributes, not %s", protocol.KindOf(element))
		}
		if err := one.Read(element, maxNesting); err != nil {
			return fault.Field(at, "%s", err)
		}
		if err := only(&one, "is not a member of a user", "id", "attributes"); err != nil {
			return under(at, err)
		}
		p.list = append(p.list, store.UserPut{})
		return readPut(at, &one, p.Merge, &p.list[len(p.list)-1])
	})
}

// maxNesting is more than what a user's members can be nested in params that the registry
// has let through.
const maxNesting = 1000

// only refuses members of other names.
func only(o *protocol.Object, why string, names ...string) (err error) {
	o.Each(func(name string, _ []byte) bool {
		for _, known := range names {
			if name == known {
				return true
			}
		}
		err = fault.Field(name, "%s", why)
		return false
	})
	return err
}

// under says that an error is about something within a place.
func under(at string, err error) error {
	e := fault.Of(err)
	if e == nil || at == "" {
		return err
	}
	c := *e
	c.Field, c.Message = at+"."+c.Field, at+"."+c.Message
	return &c
}

// readPut reads the id and the attributes of one user.
func readPut(at string, o *protocol.Object, merge bool, put *store.UserPut) (err error) {
	if put.User, err = o.String("id", 4*protocol.MaxUser); err == nil {
		err = protocol.UserID("id", put.User)
	}
	if err == nil {
		put.Attributes, err = attributes("attributes", o.Raw("attributes"), merge)
	}
	return under(at, err)
}

// Changed is the result of users.put.
type Changed struct {
	Created int `json:"created" jsonschema:"users who had no attributes before"`
	Changed int `json:"changed" jsonschema:"users who had others"`
}

func (f *Feature) put(ctx context.Context, p PutParams) (r Changed, err error) {
	st, err := f.running()
	if err != nil || len(p.list) == 0 {
		return r, err
	}
	results, err := st.Do(ctx, store.PutUsers{Users: p.list, Merge: p.Merge, Time: f.now()})
	if err != nil {
		return r, failure(err)
	}
	done := results[0].(store.UsersPut)
	return Changed{Created: done.Created, Changed: done.Changed}, nil
}

// GetParams are the params of users.get.
type GetParams struct {
	ID string `json:"id"`
}

// User is what is known of one.
type User struct {
	ID          string          `json:"id"`
	Attributes  json.RawMessage `json:"attributes,omitempty" jsonschema:"an object; absent when the user has none and is only heard of"`
	Created     int64           `json:"created" jsonschema:"when the user was first heard of; milliseconds since 1970 UTC"`
	Changed     int64           `json:"changed,omitempty" jsonschema:"when the attributes were last put"`
	Muted       []string        `json:"muted" jsonschema:"categories that the user has muted, by name"`
	Connections int             `json:"connections" jsonschema:"the user's connections on this node"`
}

// user is one of the store as callers see him.
func (f *Feature) user(u store.User) User {
	if u.Muted == nil {
		u.Muted = []string{}
	}
	return User{
		ID: u.User, Attributes: u.Attributes, Created: u.Created, Changed: u.Changed, Muted: u.Muted,
		Connections: len(f.cfg.Hub.UserConns(u.User)),
	}
}

func (f *Feature) get(ctx context.Context, p GetParams) (User, error) {
	if err := protocol.UserID("id", p.ID); err != nil {
		return User{}, err
	}
	st, err := f.running()
	if err != nil {
		return User{}, err
	}
	found, err := st.LookUsers(ctx, p.ID)
	if err != nil {
		return User{}, failure(err)
	}
	if found[0].N == 0 {
		return User{}, fault.New(fault.NotFound, "id: nothing is known of this user")
	}
	return f.user(found[0]), nil
}

// QueryParams are the params of users.query.
type QueryParams struct {
	Where audience.Where `json:"where,omitzero"`
	After string         `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit *int           `json:"limit,omitempty" jsonschema:"users of a page; 50 when absent, at most 500"`
	Count bool           `json:"count,omitempty" jsonschema:"tell how many there are in all"`
}

// Page is a page of users, by id.
type Page struct {
	Items []User `json:"items"`
	Next  string `json:"next,omitempty"`
	Count *int64 `json:"count,omitempty" jsonschema:"users that fulfil the filter; when it was asked for"`
}

func (f *Feature) query(ctx context.Context, p QueryParams) (page Page, err error) {
	limit := defaultLimit
	if p.Limit != nil {
		limit = *p.Limit
	}
	if limit < 1 || limit > maxLimit {
		return page, fault.Field("limit", "%d is not between 1 and %d", limit, maxLimit)
	}
	st, err := f.running()
	if err != nil {
		return page, err
	}
	list, err := st.Users(ctx, store.UserQuery{Where: p.Where.Filter, After: p.After, Limit: limit + 1})
	if err != nil {
		return page, failure(err)
	}
	if len(list) > limit {
		list = list[:limit]
		page.Next = list[limit-1].User
	}
	page.Items = make([]User, len(list))
	for i, u := range list {
		page.Items[i] = f.user(u)
	}
	if p.Count {
		n, err := st.CountUsers(ctx, p.Where.Filter)
		if err != nil {
			return page, failure(err)
		}
		page.Count = &n
	}
	return page, nil
}

// DeleteParams are the params of users.delete.
type DeleteParams struct {
	ID    string   `json:"id,omitempty" jsonschema:"a user; or give users"`
	Users []string `json:"users,omitempty" jsonschema:"at most 10000"`
}

// Deleted is the result of users.delete.
type Deleted struct {
	Count int `json:"count" jsonschema:"users that there were"`
}

func (f *Feature) remove(ctx context.Context, p DeleteParams) (r Deleted, err error) {
	switch {
	case (p.ID == "") == (p.Users == nil):
		return r, fault.Field("id", "name either a user by id, or users")
	case len(p.Users) > maxDelete:
		return r, fault.Field("users", "names %d users; at most %d are allowed", len(p.Users), maxDelete)
	case p.Users == nil:
		if err := protocol.UserID("id", p.ID); err != nil {
			return r, err
		}
		p.Users = []string{p.ID}
	}
	for i, user := range p.Users {
		if err := protocol.UserID("users["+strconv.Itoa(i)+"]", user); err != nil {
			return r, err
		}
	}
	st, err := f.running()
	if err != nil {
		return r, err
	}
	for rest := p.Users; len(rest) > 0; {
		n := min(deleteChunk, len(rest))
		results, err := st.Do(ctx, store.DeleteUsers{Users: rest[:n], Time: f.now()})
		if err != nil {
			return r, failure(err)
		}
		r.Count += results[0].(store.UsersDeleted).Count
		rest = rest[n:]
	}
	return r, nil
}
