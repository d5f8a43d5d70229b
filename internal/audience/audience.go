// Package audience says whom a push is for: users that are named, users chosen by
// their attributes, the members of a channel, everybody, or the list of a campaign. It
// reads this strictly from JSON, so that a slip of the pen never becomes a message to
// everybody, and writes it again.
//
// It also has the words by which the verb push hands work over to campaigns, so that
// the two need not know each other. It does not look for users: the store does. It
// stores nothing and starts no goroutine.
package audience

import (
	"bytes"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// MaxUsers is how many users a target may name.
const MaxUsers = 10_000

// maxDepth bounds the nesting of a target's JSON. A filter may need two levels for each
// of its own, an object and a list, and an in one more; the target around it is another.
const maxDepth = 2*store.MaxFilterDepth + 3

// Target is whom a push is for. Exactly one of its fields is set; none is set in the
// zero value, which is for nobody.
type Target struct {
	// Users are named, each once. Not nil, but maybe empty: such a push is for nobody.
	Users []string
	// Where chooses users by attributes; a filter without parts is everybody who has some.
	Where *store.Filter
	// Members is a channel: its members.
	Members string
	// All is every user that was ever heard of.
	All bool
	// List is the list of users that a campaign keeps.
	List bool
}

// Options say what a target may be. The zero value lets everything be one but a list.
type Options struct {
	// List lets {"list":true} be a target.
	List bool
	// Channel checks the channel whose members are meant; field is what the error
	// names. Nil: any name of a channel goes.
	Channel func(field, channel string) error
}

// kinds is how an error tells what a target can be.
const (
	kinds         = "users, where, members or all"
	kindsWithList = "users, where, members, all or list"
)

func (o Options) kinds() string {
	if o.List {
		return kindsWithList
	}
	return kinds
}

// ReadTarget reads a target: one of {"users":["1","2"]}, {"where":{…}},
// {"members":"room:7"}, {"all":"users"} and, if it may be, {"list":true}. raw is JSON that
// has been checked already, nil when there is none; field is where it stands. Users who are
// named twice are in the result once. Errors are *fault.Error with the path of what is
// wrong. The result does not hold on to raw.
func ReadTarget(field string, raw []byte, opt Options) (Target, error) {
	var t Target
	if raw == nil {
		return t, fault.Field(field, "is missing")
	}
	if raw[0] != '{' {
		return t, fault.Field(field, "must be an object such as {\"users\": [\"42\"]}, not %s", protocol.KindOf(raw))
	}
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(raw, maxDepth); err != nil {
		if err == protocol.ErrDepth {
			return t, fault.Field(field, "is nested more than %d levels deep", maxDepth)
		}
		return t, fault.Field(field, "%s", err)
	}
	n := 0
	var err error
	o.Each(func(name string, value []byte) bool {
		n++
		err = t.read(field, name, value, opt)
		return err == nil
	})
	switch {
	case err != nil:
		return Target{}, err
	case n != 1:
		return Target{}, fault.Field(field, "names %d kinds of target; exactly one of %s is needed", n, opt.kinds())
	}
	return t, nil
}

// read reads one member of a target.
func (t *Target) read(field, name string, value []byte, opt Options) (err error) {
	at := field + "." + name
	switch {
	case name == "users":
		t.Users, err = readUsers(at, value)
	case name == "where":
		t.Where, err = ReadFilter(at, value)
	case name == "members":
		var ok bool
		if t.Members, ok = protocol.Unquote(value); !ok {
			return fault.Field(at, "must be a text, the name of a channel, not %s", protocol.KindOf(value))
		}
		if _, err = protocol.Namespace(at, t.Members); err == nil && opt.Channel != nil {
			err = opt.Channel(at, t.Members)
		}
	case name == "all":
		if t.All = string(value) == `"users"`; !t.All {
			return fault.Field(at, "must be \"users\"")
		}
	case name == "list" && opt.List:
		if t.List = string(value) == "true"; !t.List {
			return fault.Field(at, "must be true")
		}
	default:
		return fault.Field(at, "is not a kind of target; use %s", opt.kinds())
	}
	return err
}

// readUsers reads a list of users, each once.
func readUsers(at string, raw []byte) ([]string, error) {
	if raw[0] != '[' {
		return nil, fault.Field(at, "must be a list of users, not %s", protocol.KindOf(raw))
	}
	n := 0
	users := make([]string, 0, 1+min(bytes.Count(raw, []byte{','}), MaxUsers))
	err := protocol.EachElement(raw, func(element []byte) error {
		place := n
		if n++; n > MaxUsers {
			return fault.Field(at, "names more than %d users", MaxUsers)
		}
		user, ok := protocol.Unquote(element)
		if !ok {
			return fault.Field(at+"["+strconv.Itoa(place)+"]", "must be a text, not %s", protocol.KindOf(element))
		}
		if err := protocol.UserID("", user); err != nil {
			return protocol.UserID(at+"["+strconv.Itoa(place)+"]", user)
		}
		users = append(users, user)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return once(users), nil
}

// once takes out who stands in a list for a second time.
func once(users []string) []string {
	if len(users) < 2 {
		return users
	}
	seen := make(map[string]struct{}, len(users))
	kept := users[:0]
	for _, user := range users {
		if _, twice := seen[user]; !twice {
			seen[user] = struct{}{}
			kept = append(kept, user)
		}
	}
	return kept
}

// AppendJSON appends a target as [ReadTarget] reads it; the zero value becomes null.
func (t Target) AppendJSON(b []byte) []byte {
	switch {
	case t.Users != nil:
		b = append(b, `{"users":[`...)
		for i, user := range t.Users {
			if i > 0 {
				b = append(b, ',')
			}
			b = protocol.AppendString(b, user)
		}
		return append(b, `]}`...)
	case t.Where != nil:
		return append(AppendFilter(append(b, `{"where":`...), t.Where), '}')
	case t.Members != "":
		return append(protocol.AppendString(append(b, `{"members":`...), t.Members), '}')
	case t.All:
		return append(b, `{"all":"users"}`...)
	case t.List:
		return append(b, `{"list":true}`...)
	}
	return append(b, `null`...)
}

// MarshalJSON implements json.Marshaler.
func (t Target) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// UnmarshalJSON implements json.Unmarshaler: what [Target.AppendJSON] has written, of
// any kind. Its errors are those of [ReadTarget] with the field "to"; null is the zero
// value.
func (t *Target) UnmarshalJSON(raw []byte) (err error) {
	if string(raw) == "null" {
		*t = Target{}
		return nil
	}
	*t, err = ReadTarget("to", raw, Options{List: true})
	return err
}

// Job is what the verb push hands over to campaigns: a message for more users than it
// pushes to itself, or for users that must be looked for.
type Job struct {
	Name    string
	To      Target
	Content store.Content
	// Key, Digest and KeyExpires are those of a [store.Push]; a Key of no bytes: none.
	Key, Digest []byte
	KeyExpires  int64
}

// Begun is what became of a [Job] so far. It goes on by itself.
type Begun struct {
	Campaign string // the id of the campaign
	Message  string // the id of the message: that of the first when Duplicate
	Audience int64  // how many users it is for
	// Totals are how far it has come.
	Totals    store.Totals
	Duplicate bool // the key was used before
}
