package campaign

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// Bounds of params.
const (
	maxName     = 128 // bytes
	maxCollapse = 128 // bytes
	maxPace     = 1_000_000
	minFor      = time.Second
	maxFor      = 366 * 24 * time.Hour
	maxUsers    = audience.MaxUsers
)

// CreateParams are the params of campaigns.create.
type CreateParams struct {
	Name     string              `json:"name" jsonschema:"1 to 128 bytes, for people"`
	To       audience.ListTarget `json:"to"`
	Category string              `json:"category,omitempty" jsonschema:"when absent, nothing holds it back"`
	Event    string              `json:"event,omitempty" jsonschema:"message when absent"`
	Data     json.RawMessage     `json:"data" jsonschema:"any JSON value"`
	Expires  Expiry              `json:"expires,omitzero"`
	Collapse string              `json:"collapse,omitempty" jsonschema:"takes the place of an earlier message with the same text; at most 128 bytes"`
	Escalate string              `json:"escalate,omitempty" jsonschema:"overrides that of the category, such as 10m; 0s: not"`
	At       string              `json:"at,omitempty" jsonschema:"when campaigns.start begins it (RFC 3339); at once when absent"`
	Pace     *int                `json:"pace,omitempty" jsonschema:"users a second; as fast as it goes when absent"`
}

// Expiry is until when a message is good: a time, or how long from when it is pushed. The
// zero value is not given.
type Expiry struct {
	At  int64  // Unix milliseconds; 0: For says it
	For string // a duration such as 2h
}

// IsZero tells that it is not given.
func (e Expiry) IsZero() bool { return e == Expiry{} }

// MarshalJSON implements json.Marshaler: a number, or the duration.
func (e Expiry) MarshalJSON() ([]byte, error) {
	if e.For != "" {
		return json.Marshal(e.For)
	}
	return strconv.AppendInt(nil, e.At, 10), nil
}

// UnmarshalJSON implements json.Unmarshaler. Its errors are *fault.Error.
func (e *Expiry) UnmarshalJSON(b []byte) error {
	const kinds = "a time (RFC 3339, or milliseconds since 1970) or how long it is good, such as 2h"
	if string(b) == "null" {
		*e = Expiry{}
		return nil
	}
	text, ok := protocol.Unquote(b)
	if !ok {
		if b[0] != '-' && (b[0] < '0' || b[0] > '9') {
			return fault.Field("expires", "must be %s, not %s", kinds, protocol.KindOf(b))
		}
		n, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil || n <= 0 || n > protocol.MaxInt {
			return fault.Field("expires", "%.60s is not milliseconds since 1970", b)
		}
		*e = Expiry{At: n}
		return nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil && t.UnixMilli() > 0 {
		*e = Expiry{At: t.UnixMilli()}
		return nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return fault.Field("expires", "%.60q is not %s", text, kinds)
	case d < minFor || d > maxFor:
		return fault.Field("expires", "%s is not between %s and %s", text, minFor, maxFor)
	}
	*e = Expiry{For: text}
	return nil
}

// Schema describes it.
func (Expiry) Schema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Types:       []string{"string", "integer"},
		Description: "a time (RFC 3339, or milliseconds since 1970), or how long the message is good (2h); the category's ttl when absent",
	}
}

// from gives the time when the message is pushed then.
func (e Expiry) from(now int64) int64 {
	if e.For == "" {
		return e.At
	}
	d, err := time.ParseDuration(e.For)
	if err != nil {
		return now // it was read from such a text
	}
	return now + d.Milliseconds()
}

// check makes a plan of params. Users that are named are for the list.
func (f *Feature) check(p *CreateParams) (*plan, []string, error) {
	if p.Name == "" {
		return nil, nil, fault.Field("name", "is missing")
	}
	if len(p.Name) > maxName {
		return nil, nil, fault.Field("name", "has %d bytes; at most %d are allowed", len(p.Name), maxName)
	}
	if err := protocol.DeviceID("name", p.Name); err != nil {
		return nil, nil, err
	}
	to, users := p.To.Target, p.To.Users
	if to.Users != nil {
		to = audience.Target{List: true}
	}
	if err := f.checkTarget(to); err != nil {
		return nil, nil, err
	}
	if err := f.checkMessage(p); err != nil {
		return nil, nil, err
	}
	if err := f.checkTimes(p); err != nil {
		return nil, nil, err
	}
	wanted := &plan{
		Name: p.Name, To: to, Category: p.Category, Data: p.Data, Expires: p.Expires,
		Collapse: p.Collapse, Escalate: p.Escalate, At: p.At,
	}
	var err error
	if wanted.Event, err = protocol.Event("event", p.Event); err != nil {
		return nil, nil, err
	}
	if p.Pace != nil {
		if wanted.Pace = *p.Pace; wanted.Pace < 1 || wanted.Pace > maxPace {
			return nil, nil, fault.Field("pace", "%d is not between 1 and %d", wanted.Pace, maxPace)
		}
	}
	return wanted, users, nil
}

func (f *Feature) checkTarget(to audience.Target) error {
	switch {
	case to.Members != "":
		return f.cfg.Channel("to.members", to.Members)
	case to.Where == nil && !to.All && !to.List:
		return fault.Field("to", "is missing")
	}
	return nil
}

func (f *Feature) checkMessage(p *CreateParams) error {
	if err := f.checkCategory(p.Category); err != nil {
		return err
	}
	if len(p.Data) == 0 {
		return fault.Field("data", "is missing")
	}
	if most := f.settings().Data; len(p.Data) > most {
		return fault.New(fault.TooLarge, "data: has %d bytes; at most %d are allowed", len(p.Data), most)
	}
	if len(p.Collapse) > maxCollapse {
		return fault.Field("collapse", "has %d bytes; at most %d are allowed", len(p.Collapse), maxCollapse)
	}
	if p.Escalate != "" {
		d, err := time.ParseDuration(p.Escalate)
		switch {
		case err != nil:
			return fault.Field("escalate", "%.60q is not a duration such as 10m", p.Escalate)
		case d != 0 && (d < minFor || d > maxFor):
			return fault.Field("escalate", "%s is not 0s, or between %s and %s", p.Escalate, minFor, maxFor)
		}
	}
	return nil
}

func (f *Feature) checkCategory(name string) error {
	if len(name) > fatigue.MaxName {
		return fault.Field("category", "has %d bytes; at most %d are allowed", len(name), fatigue.MaxName)
	}
	_, _, _, err := f.policy(name)
	return err
}

func (f *Feature) checkTimes(p *CreateParams) error {
	now := f.now()
	begins := now
	if p.At != "" {
		at, err := readTime("at", p.At)
		if err != nil {
			return err
		}
		begins = max(begins, at)
	}
	switch at := p.Expires.At; {
	case at != 0 && at <= now:
		return fault.Field("expires", "has passed")
	case at != 0 && at <= begins:
		return fault.Field("expires", "is not after at")
	}
	return nil
}

func readTime(field, text string) (int64, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UnixMilli() <= 0 {
		return 0, fault.Field(field, "%.60q is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970", text)
	}
	return t.UnixMilli(), nil
}

// at is when a plan is to begin; 0: at once.
func (p *plan) at() int64 {
	if p.At == "" {
		return 0
	}
	t, err := time.Parse(time.RFC3339, p.At)
	if err != nil {
		return 0 // it was checked
	}
	return t.UnixMilli()
}

// maxID is how many bytes the id of a campaign may have.
const maxID = 64

func checkID(id string) error {
	switch {
	case id == "":
		return fault.Field("id", "is missing")
	case len(id) > maxID:
		return fault.Field("id", "has %d bytes; at most %d are allowed", len(id), maxID)
	}
	return nil
}

func checkUsers(users []string) error {
	if users == nil {
		return fault.Field("users", "is missing")
	}
	if len(users) > maxUsers {
		return fault.Field("users", "names %d users; at most %d are allowed", len(users), maxUsers)
	}
	for i, user := range users {
		if err := protocol.UserID("users["+strconv.Itoa(i)+"]", user); err != nil {
			return err
		}
	}
	return nil
}

func checkState(state string) error {
	if state == "" || slices.Contains(states, state) {
		return nil
	}
	return fault.Field("state", "%.60q is not one of %s", state, strings.Join(states, ", "))
}
