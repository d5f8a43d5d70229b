package campaign

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// The states of a campaign. One that is being deleted is not there for anybody any more.
const (
	draft     = "draft"
	scheduled = "scheduled"
	running   = "running"
	paused    = "paused"
	done      = "done"
	cancelled = "cancelled"
	deleting  = "deleting"
)

// states are those that can be asked for.
var states = []string{draft, scheduled, running, paused, done, cancelled}

// plan is what a campaign is, as it is kept.
type plan struct {
	Name     string          `json:"name"`
	To       audience.Target `json:"to"` // never users: those are in the list
	Category string          `json:"category,omitempty"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
	Expires  Expiry          `json:"expires,omitzero"`
	Collapse string          `json:"collapse,omitempty"`
	Escalate string          `json:"escalate,omitempty"`
	At       string          `json:"at,omitempty"`
	Pace     int             `json:"pace,omitempty"`
	// Frozen is the rest of the message; nil until the campaign begins.
	Frozen *frozen `json:"frozen,omitempty"`
	// Asked is a digest of the target that the verb push was called with.
	Asked string `json:"asked,omitempty"`
}

// frozen is what of a message is fixed when its campaign begins.
type frozen struct {
	ID       string         `json:"id"`
	Time     int64          `json:"time"`
	Policy   fatigue.Policy `json:"policy"`
	Expires  int64          `json:"expires,omitempty"`
	Escalate int64          `json:"escalate,omitempty"`
}

// notes are how a campaign goes, as they are kept.
type notes struct {
	Started  int64  `json:"started,omitempty"`
	Ended    int64  `json:"ended,omitempty"`
	Counted  bool   `json:"counted,omitempty"` // Audience is known
	Audience int64  `json:"audience,omitempty"`
	Error    string `json:"error,omitempty"`
	Failed   int64  `json:"failed,omitempty"` // since when there is Error
	// Recall tells that the message is to be withdrawn.
	Recall bool `json:"recall,omitempty"`
}

// record is a campaign with its plan and notes read.
type record struct {
	id      string
	state   string
	plan    plan
	notes   notes
	next    int64
	cursor  cursor
	created int64
	version uint64 // 0: there is none
	owner   string
}

func decode(c store.Campaign) (r record, err error) {
	r = record{id: c.ID, state: c.State, next: c.Next, created: c.Created, version: c.Version, owner: c.Owner}
	if err = json.Unmarshal(c.Plan, &r.plan); err != nil {
		return r, err
	}
	if len(c.Notes) > 0 {
		err = json.Unmarshal(c.Notes, &r.notes)
	}
	if err == nil {
		r.cursor, err = readCursor(c.Cursor)
	}
	return r, err
}

// maxPlan is how many bytes a plan may have in the store.
const maxPlan = 1 << 20

// put is the command that keeps the record if its version, or none, is still there. It
// ends a claim.
func (r *record) put() (store.PutCampaign, error) {
	what, err := verb.Marshal(&r.plan)
	if err != nil {
		return store.PutCampaign{}, err
	}
	if len(what) > maxPlan {
		return store.PutCampaign{}, fault.New(fault.TooLarge, "the campaign has %d bytes; at most %d are allowed", len(what), maxPlan)
	}
	how, err := verb.Marshal(&r.notes)
	if err != nil {
		return store.PutCampaign{}, err
	}
	c := store.Campaign{ID: r.id, State: r.state, Plan: what, Notes: how, Next: r.next, Created: r.created}
	return store.PutCampaign{Campaign: c, If: r.version}, nil
}

// content is the message of a campaign that has begun.
func (r *record) content() store.Content {
	p := &r.plan
	return store.Content{
		ID: p.Frozen.ID, Time: p.Frozen.Time, Event: p.Event, Data: p.Data, Category: p.Category, Policy: p.Frozen.Policy,
		Expires: p.Frozen.Expires, Collapse: p.Collapse, Escalate: p.Frozen.Escalate, Campaign: r.id,
	}
}

// maxError bounds the sentence that says what is wrong.
const maxError = 512 // bytes

func sentence(err error) string {
	e := fault.Of(err)
	text := e.Message
	if e.Code == fault.Internal && e.Err != nil {
		text = e.Err.Error() // it is for the operator, who has a key
	}
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "")
	}
	return text
}

// cursor is how far a campaign has come: how many users are done, and the last of them, by
// id or by number. The zero value is the beginning.
type cursor struct {
	done int64
	last string
}

// String gives it as the store keeps it: at most 20 bytes more than an id.
func (c cursor) String() string {
	if c == (cursor{}) {
		return ""
	}
	return strconv.FormatInt(c.done, 10) + ":" + c.last
}

func readCursor(text string) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	number, last, _ := strings.Cut(text, ":")
	c.last = last
	c.done, err = strconv.ParseInt(number, 10, 64)
	return c, err
}

// freeze fixes the message of a campaign that begins now, with its category as it is.
func (f *Feature) freeze(p *plan) error {
	now := f.cfg.Now()
	z := frozen{ID: id.Message(now), Time: now.UnixMilli()}
	policy, ttl, escalate, err := f.policy(p.Category)
	if err != nil {
		return err
	}
	z.Policy = policy
	switch {
	case !p.Expires.IsZero():
		z.Expires = p.Expires.from(z.Time)
	case ttl > 0:
		z.Expires = z.Time + ttl.Milliseconds()
	}
	if p.Escalate != "" {
		if escalate, err = time.ParseDuration(p.Escalate); err != nil {
			return err
		}
	}
	z.Escalate = escalate.Milliseconds()
	p.Frozen = &z
	return nil
}

// policy looks a category up; "" is none, which holds nothing back.
func (f *Feature) policy(category string) (p fatigue.Policy, ttl, escalate time.Duration, err error) {
	if category == "" {
		return p, 0, 0, nil
	}
	return f.cfg.Categories.Policy(category)
}
