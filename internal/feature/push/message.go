package push

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Params are the params of push.
type Params struct {
	To       audience.Target `json:"to"`
	Category string          `json:"category,omitempty" jsonschema:"when absent, nothing holds the message back"`
	Event    string          `json:"event,omitempty" jsonschema:"event name; message when absent"`
	Data     json.RawMessage `json:"data" jsonschema:"any JSON"`
	Key      string          `json:"key,omitempty" jsonschema:"idempotency key: a repeat goes to those who do not have the message yet"`
	Expires  Moment          `json:"expires,omitzero"`
	Collapse string          `json:"collapse,omitempty" jsonschema:"at most 128 bytes: it takes the place of an earlier message with the same"`
	Escalate string          `json:"escalate,omitempty" jsonschema:"overrides that of the category, such as 10m; 0s: not"`
	DryRun   bool            `json:"dry_run,omitempty" jsonschema:"nothing is pushed: the result is what would become of it"`

	escalate time.Duration
	// members are what a key stands for, as it was written; they are good as long as the
	// params.
	members [len(contents)][]byte
}

// contents are the members that a key stands for: with others it is another message, or for
// others.
var contents = [...]string{"to", "category", "event", "data", "expires", "collapse", "escalate"}

const (
	maxCollapse = 128      // bytes
	defaultData = 64 << 10 // bytes
)

// ReadParams implements verb.Reader.
func (p *Params) ReadParams(o *protocol.Object) (err error) {
	o.Each(func(name string, _ []byte) bool {
		switch name {
		case "to", "category", "event", "data", "key", "expires", "collapse", "escalate", "dry_run":
			return true
		}
		err = fault.Field(name, "is not a field of this verb")
		return false
	})
	if err != nil {
		return err
	}
	for i, name := range contents {
		p.members[i] = o.Raw(name)
	}
	if p.To, err = audience.ReadTarget("to", o.Raw("to"), audience.Options{}); err != nil {
		return err
	}
	if p.Category, err = o.String("category", fatigue.MaxName); err != nil {
		return err
	}
	if p.Event, err = o.String("event", protocol.MaxEvent); err == nil {
		p.Event, err = protocol.Event("event", p.Event)
	}
	if err != nil {
		return err
	}
	if !o.Has("data") {
		return fault.Field("data", "is missing")
	}
	if p.Data = o.Raw("data"); p.Data == nil {
		p.Data = json.RawMessage("null")
	}
	p.Expires = Moment{raw: o.Raw("expires")}
	if p.Collapse, err = o.String("collapse", maxCollapse); err != nil {
		return err
	}
	if p.Escalate, err = o.String("escalate", maxText); err != nil {
		return err
	}
	if p.escalate, err = good("escalate", p.Escalate); err != nil {
		return err
	}
	p.DryRun, err = o.Bool("dry_run", false)
	return err
}

// digest is of what a key stands for.
func (p *Params) digest() []byte {
	h := sha256.New()
	var size [8]byte
	for _, raw := range p.members {
		binary.BigEndian.PutUint64(size[:], uint64(len(raw)))
		h.Write(size[:])
		h.Write(raw)
	}
	return h.Sum(nil)[:keySize]
}

// keySize is how many bytes of a hash stand for a key, and for a content.
const keySize = 16

// content makes the message. With rules it has what its category says now.
func (f *Feature) content(p *Params, now time.Time) (c store.Content, err error) {
	most := f.cfg.Settings().Data
	if most == 0 {
		most = defaultData
	}
	if len(p.Data) > most {
		return c, fault.New(fault.TooLarge, "data: has %d bytes; at most %d are allowed in a message that is kept (limits.message)", len(p.Data), most)
	}
	c = store.Content{
		ID: id.Message(now), Time: now.UnixMilli(), Event: p.Event, Category: p.Category, Collapse: p.Collapse,
		// The text of the params is somebody else's as soon as the verb has ended; devices
		// may be sent the message later.
		Data: bytes.Clone(p.Data),
	}
	if p.Category != "" {
		var ttl, escalate time.Duration
		if c.Policy, ttl, escalate, err = f.Policy(p.Category); err != nil {
			return c, err
		}
		c.Escalate = escalate.Milliseconds()
		if ttl > 0 {
			c.Expires = c.Time + ttl.Milliseconds()
		}
	}
	if p.Escalate != "" {
		c.Escalate = p.escalate.Milliseconds()
	}
	if !p.Expires.IsZero() {
		if c.Expires, err = p.Expires.end("expires", c.Time); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Moment is a time among params: in JSON a number, milliseconds since 1970, or a text as in
// RFC 3339; for expires also how long something is good. The zero value is none.
type Moment struct {
	Time time.Time
	For  time.Duration // in place of Time, for expires: how long it is good

	raw []byte // what was read: it is looked at when the name of the param is known
}

// IsZero tells that none is given.
func (m Moment) IsZero() bool { return m.raw == nil && m.Time.IsZero() && m.For == 0 }

// UnmarshalJSON implements json.Unmarshaler. It takes any JSON: the verb says what is wrong.
func (m *Moment) UnmarshalJSON(raw []byte) error {
	if *m = (Moment{}); string(raw) != "null" {
		m.raw = bytes.Clone(raw)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (m Moment) MarshalJSON() ([]byte, error) {
	switch {
	case m.raw != nil:
		return m.raw, nil
	case m.For != 0:
		return protocol.AppendString(nil, m.For.String()), nil
	case m.Time.IsZero():
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, m.Time.UnixMilli(), 10), nil
}

// Schema describes it.
func (Moment) Schema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Types: []string{"string", "integer"}, Description: "a time: milliseconds since 1970 UTC, or a text as in RFC 3339; for expires also how long it is good, such as 2h",
	}
}

// milli gives the time that was read in Unix milliseconds, 0 for none.
func (m Moment) milli(field string) (at int64, err error) {
	if m.raw == nil {
		return 0, nil
	}
	if text, ok := protocol.Unquote(m.raw); ok {
		if t, err := time.Parse(time.RFC3339, text); err == nil && t.UnixMilli() > 0 {
			return t.UnixMilli(), nil
		}
		return 0, fault.Field(field, "%.40q is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970", text)
	}
	if c := m.raw[0]; c != '-' && (c < '0' || c > '9') {
		return 0, fault.Field(field, "must be a time (RFC 3339, or milliseconds since 1970), not %s", protocol.KindOf(m.raw))
	}
	if at, ok := integer(m.raw); ok && at > 0 {
		return at, nil
	}
	return 0, fault.Field(field, "%.40s is not milliseconds since 1970", m.raw)
}

// integer reads a JSON number that is an integer below 2^53.
func integer(raw []byte) (int64, bool) {
	var o protocol.Object
	if err := o.Read(append(append([]byte(`{"n":`), raw...), '}'), 2); err != nil {
		return 0, false
	}
	n, err := o.Int("n", 0, -protocol.MaxInt, protocol.MaxInt)
	return n, err == nil
}

// end gives when something ends that begins now: what was read is a time, or how long it
// lasts.
func (m Moment) end(field string, now int64) (int64, error) {
	if text, ok := protocol.Unquote(m.raw); ok {
		if d, err := time.ParseDuration(text); err == nil {
			switch {
			case d <= 0:
				return 0, fault.Field(field, "%s is over already", text)
			case d < minGood || d > maxGood:
				return 0, fault.Field(field, "%s is not between %s and %s", text, minGood, maxGood)
			}
			return now + d.Milliseconds(), nil
		}
	}
	at, err := m.milli(field)
	switch {
	case err != nil && m.raw[0] == '"':
		return 0, fault.Field(field, "%.40s is neither a time such as \"2030-01-31T12:00:00Z\" (RFC 3339) nor how long it is good, such as \"2h\"", m.raw)
	case err != nil:
		return 0, err
	case at <= now:
		return 0, fault.Field(field, "is in the past: it is %d now", now)
	}
	return at, nil
}
