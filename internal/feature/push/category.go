package push

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// Category says how often, and when, its messages may interrupt a user; see
// spec/push.md. Its zero value has no caps and no quiet hours.
type Category struct {
	Caps     []fatigue.Cap `json:"caps,omitempty" jsonschema:"at most 8; all of them hold. per is day, week, hour, or a duration from 1s to 720h; max is 0 to 1000"`
	Parent   string        `json:"parent,omitempty" jsonschema:"a category whose caps hold, too, and which counts what this one counts"`
	Quiet    *Quiet        `json:"quiet,omitempty" jsonschema:"hours in which it is quiet where the user is"`
	OnCap    string        `json:"on_cap,omitempty" jsonschema:"what becomes of a message that is over a cap: inbox (when absent), drop or defer"`
	OnQuiet  string        `json:"on_quiet,omitempty" jsonschema:"what becomes of a message in quiet hours: defer (when absent), inbox or ignore"`
	Priority *int          `json:"priority,omitempty" jsonschema:"0 to 9, 5 when absent: what comes first when not all may"`
	TTL      string        `json:"ttl,omitempty" jsonschema:"how long a message is good, such as 72h; when absent, until the inbox forgets it"`
	Bypass   bool          `json:"bypass,omitempty" jsonschema:"caps, quiet hours and mutes do not hold"`
	Counts   bool          `json:"counts,omitempty" jsonschema:"with bypass: caps count it all the same"`
	Mutable  *bool         `json:"mutable,omitempty" jsonschema:"users may mute it; when absent they may, but not with bypass"`
	Escalate string        `json:"escalate,omitempty" jsonschema:"the application is told of a message that is not acknowledged by then, such as 10m"`
}

// Quiet are quiet hours, on the user's clock.
type Quiet struct {
	From string `json:"from" jsonschema:"such as 22:00"`
	To   string `json:"to" jsonschema:"such as 08:00"`
}

// Bounds of what a category and a push say.
const (
	defaultPriority = 5
	minGood         = time.Second
	maxGood         = 366 * 24 * time.Hour
)

// rules are a category that was checked.
type rules struct {
	Category // with the defaults filled in

	caps          []fatigue.Cap
	quiet         *fatigue.Quiet
	ttl, escalate time.Duration
}

// check checks a category by itself, without its parents. Errors name its members.
func (c Category) check() (*rules, error) {
	r := &rules{Category: c}
	var err error
	if len(c.Caps) > fatigue.MaxCaps {
		return nil, fault.Field("caps", "has %d caps; at most %d are allowed", len(c.Caps), fatigue.MaxCaps)
	}
	for i, one := range c.Caps {
		limit, err := fatigue.ParseCap(one.Per, one.Max)
		if err != nil {
			return nil, fatigue.Within("caps["+strconv.Itoa(i)+"]", err)
		}
		r.caps = append(r.caps, limit)
	}
	if r.Caps = r.caps; c.Quiet != nil {
		if r.quiet, err = c.Quiet.check(); err != nil {
			return nil, fatigue.Within("quiet", err)
		}
	}
	if c.Parent != "" {
		if err := checkName("parent", c.Parent); err != nil {
			return nil, err
		}
	}
	if err := oneOf("on_cap", &r.OnCap, fatigue.Inbox, fatigue.Drop, fatigue.Defer); err != nil {
		return nil, err
	}
	if err := oneOf("on_quiet", &r.OnQuiet, fatigue.Defer, fatigue.Inbox, fatigue.Ignore); err != nil {
		return nil, err
	}
	if r.Priority == nil {
		r.Priority = new(defaultPriority)
	}
	if p := *r.Priority; p < 0 || p > fatigue.MaxPriority {
		return nil, fault.Field("priority", "%d is not between 0 and %d", p, fatigue.MaxPriority)
	}
	if r.ttl, err = good("ttl", c.TTL); err != nil {
		return nil, err
	}
	if r.escalate, err = good("escalate", c.Escalate); err != nil {
		return nil, err
	}
	switch {
	case c.Counts && !c.Bypass:
		return nil, fault.Field("counts", "goes with bypass; without it everything counts")
	case c.Bypass && c.Quiet != nil:
		return nil, fault.Field("quiet", "does not hold with bypass")
	}
	if r.Mutable == nil {
		r.Mutable = new(!c.Bypass)
	}
	return r, nil
}

// check reads quiet hours.
func (q Quiet) check() (*fatigue.Quiet, error) {
	from, err := fatigue.ParseClock(q.From)
	if err != nil {
		return nil, fatigue.Within("from", err)
	}
	to, err := fatigue.ParseClock(q.To)
	if err != nil {
		return nil, fatigue.Within("to", err)
	}
	quiet := fatigue.Quiet{From: from, To: to}
	return &quiet, quiet.Validate()
}

// checkName checks the name of a category, which is as that of a namespace.
func checkName(field, name string) error {
	if name == "" {
		return fault.Field(field, "is missing")
	}
	if len(name) <= fatigue.MaxName {
		if namespace, err := protocol.Namespace("", name+":x"); err == nil && namespace == name {
			return nil
		}
	}
	return fault.Field(field, "%.80q is not the name of a category: lower-case letters, digits and _ . -, at most %d", name, fatigue.MaxName)
}

// oneOf checks a word; an empty one becomes the first.
func oneOf(field string, word *string, words ...string) error {
	if *word == "" {
		*word = words[0]
	}
	for _, w := range words {
		if *word == w {
			return nil
		}
	}
	return fault.Field(field, "%.32q is not %s, %s or %s", *word, words[0], words[1], words[2])
}

// good reads how long something lasts; "" and nothing but zeros are zero.
func good(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fault.Field(field, "%.32q is not a duration such as 72h or 1h30m", text)
	case d == 0:
		return 0, nil
	case d < minGood || d > maxGood:
		return 0, fault.Field(field, "%s is not between %s and %s", text, minGood, maxGood)
	case d%time.Millisecond != 0:
		return 0, fault.Field(field, "%s is not whole milliseconds", text)
	}
	return d, nil
}

// readCategory reads the members of a category strictly. But for those of extra, it knows no
// others. Errors name the path.
func readCategory(o *protocol.Object, extra ...string) (c Category, err error) {
	if err := only(o, append(extra, "caps", "parent", "quiet", "on_cap", "on_quiet", "priority", "ttl", "bypass", "counts", "mutable", "escalate")); err != nil {
		return c, err
	}
	if raw := o.Raw("caps"); raw != nil {
		if c.Caps, err = readCaps(raw); err != nil {
			return c, err
		}
	}
	if raw := o.Raw("quiet"); raw != nil {
		if c.Quiet, err = readQuiet(raw); err != nil {
			return c, fatigue.Within("quiet", err)
		}
	}
	for _, text := range []struct {
		name string
		into *string
	}{{"parent", &c.Parent}, {"on_cap", &c.OnCap}, {"on_quiet", &c.OnQuiet}, {"ttl", &c.TTL}, {"escalate", &c.Escalate}} {
		if *text.into, err = o.String(text.name, maxText); err != nil {
			return c, err
		}
	}
	if o.Raw("priority") != nil {
		n, err := o.Int("priority", 0, 0, fatigue.MaxPriority)
		if err != nil {
			return c, err
		}
		c.Priority = new(int(n))
	}
	if c.Bypass, err = o.Bool("bypass", false); err != nil {
		return c, err
	}
	if c.Counts, err = o.Bool("counts", false); err != nil {
		return c, err
	}
	if o.Raw("mutable") != nil {
		is, err := o.Bool("mutable", false)
		if err != nil {
			return c, err
		}
		c.Mutable = &is
	}
	return c, nil
}

// maxText bounds texts that are short when they are right.
const maxText = 1024

// maxNesting is more than what can be nested in params that the registry has let through.
const maxNesting = 1000

func readCaps(raw []byte) (caps []fatigue.Cap, err error) {
	if raw[0] != '[' {
		return nil, fault.Field("caps", "must be a list of caps, not %s", protocol.KindOf(raw))
	}
	var o protocol.Object
	err = protocol.EachElement(raw, func(element []byte) error {
		at := "caps[" + strconv.Itoa(len(caps)) + "]"
		if element[0] != '{' {
			return fault.Field(at, "must be an object such as {\"per\": \"day\", \"max\": 5}, not %s", protocol.KindOf(element))
		}
		if err := o.Read(element, maxNesting); err != nil {
			return fault.Field(at, "%s", err)
		}
		if err := only(&o, []string{"per", "max"}); err != nil {
			return fatigue.Within(at, err)
		}
		per, err := o.Required("per", maxText)
		if err != nil {
			return fatigue.Within(at, err)
		}
		if o.Raw("max") == nil {
			return fault.Field(at+".max", "is missing")
		}
		most, err := o.Int("max", 0, -protocol.MaxInt, protocol.MaxInt)
		if err != nil {
			return fatigue.Within(at, err)
		}
		caps = append(caps, fatigue.Cap{Per: per, Max: int(most)})
		return nil
	})
	return caps, err
}

func readQuiet(raw []byte) (*Quiet, error) {
	if raw[0] != '{' {
		return nil, fault.New(fault.BadRequest, "must be an object such as {\"from\": \"22:00\", \"to\": \"08:00\"}, not %s", protocol.KindOf(raw))
	}
	var o protocol.Object
	if err := o.Read(raw, maxNesting); err != nil {
		return nil, fault.New(fault.BadRequest, "%s", err)
	}
	err := only(&o, []string{"from", "to"})
	if err != nil {
		return nil, err
	}
	q := new(Quiet)
	if q.From, err = o.Required("from", maxText); err != nil {
		return nil, err
	}
	q.To, err = o.Required("to", maxText)
	return q, err
}

// only refuses members of other names.
func only(o *protocol.Object, names []string) (err error) {
	o.Each(func(name string, _ []byte) bool {
		for _, known := range names {
			if name == known {
				return true
			}
		}
		err = fault.Field(name, "is not a field of this verb")
		return false
	})
	return err
}

// body is a category as it is stored.
func (c Category) body() ([]byte, error) { return json.Marshal(c) }

// stored reads a category that was stored.
func stored(body []byte) (*rules, error) {
	var o protocol.Object
	if err := o.Read(body, maxNesting); err != nil {
		return nil, err
	}
	c, err := readCategory(&o)
	if err != nil {
		return nil, err
	}
	return c.check()
}
