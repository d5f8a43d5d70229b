package schedule

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/cron"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

// Bounds of params.
const (
	maxName   = protocol.MaxDevice
	maxParams = 64 << 10 // bytes
	minEvery  = 100 * time.Millisecond
	maxEvery  = 365 * 24 * time.Hour
	maxJitter = 24 * time.Hour
	maxMakeUp = 100 // runs that are made up, and that wait for the one before
)

// Misfire says what becomes of planned times that were missed. The zero value is
// not given.
type Misfire struct {
	Policy string // skip, once or all
	N      int    // with all, at most so many
}

// MarshalJSON implements json.Marshaler.
func (m Misfire) MarshalJSON() ([]byte, error) {
	if m.Policy == all {
		return json.Marshal(map[string]int{all: m.N})
	}
	return json.Marshal(m.Policy)
}

// UnmarshalJSON implements json.Unmarshaler. Its errors are *fault.Error.
func (m *Misfire) UnmarshalJSON(b []byte) error {
	wrong := fault.Field("misfire", `is skip, once, or {"all": n} with n from 1 to %d`, maxMakeUp)
	var object map[string]int
	if json.Unmarshal(b, &object) == nil && len(object) == 1 {
		*m = Misfire{all, object[all]}
	} else {
		var text string
		if json.Unmarshal(b, &text) != nil {
			return wrong
		}
		*m = Misfire{Policy: text}
		if number, found := strings.CutPrefix(text, all+":"); found {
			n, _ := strconv.Atoi(number)
			*m = Misfire{all, n}
		}
	}
	if m.Policy == skip || m.Policy == once || m.Policy == all && m.N >= 1 && m.N <= maxMakeUp {
		return nil
	}
	return wrong
}

// Schema describes it.
func (Misfire) Schema() *jsonschema.Schema {
	one, most := 1.0, float64(maxMakeUp)
	return &jsonschema.Schema{
		Description: "what becomes of planned times that were missed: skip; once, the newest is made up; all, the newest n are",
		OneOf: []*jsonschema.Schema{
			{Type: "string", Enum: []any{skip, once}},
			{Type: "string", Pattern: "^all:[0-9]+$"},
			{
				Type: "object", Required: []string{all}, Properties: map[string]*jsonschema.Schema{all: {Type: "integer", Minimum: &one, Maximum: &most}},
				AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
			},
		},
	}
}

// PutParams are the params of schedules.put.
type PutParams struct {
	Name          string          `json:"name" jsonschema:"1 to 128 bytes"`
	At            string          `json:"at,omitempty" jsonschema:"once, at this time (RFC 3339); give one of at, every and cron"`
	Every         string          `json:"every,omitempty" jsonschema:"again and again, such as 5s; 100ms to 8760h"`
	Start         string          `json:"start,omitempty" jsonschema:"with every, what is counted from (RFC 3339); when absent, from now"`
	Cron          string          `json:"cron,omitempty" jsonschema:"a cron line of 5 or 6 fields, or a macro such as @daily"`
	Zone          string          `json:"zone,omitempty" jsonschema:"with cron, the time zone, such as Europe/Berlin; UTC when absent"`
	Verb          string          `json:"verb" jsonschema:"the server verb that is run"`
	Params        json.RawMessage `json:"params,omitempty" jsonschema:"its params, an object"`
	WhileOccupied string          `json:"while_occupied,omitempty" jsonschema:"a channel: runs only while it has subscribers"`
	Misfire       Misfire         `json:"misfire,omitzero"`
	Overlap       string          `json:"overlap,omitempty" jsonschema:"when the run before has not ended: skip (when absent) or queue"`
	Jitter        string          `json:"jitter,omitempty" jsonschema:"spreads the runs over this time, such as 10s; less than the interval"`
	Until         string          `json:"until,omitempty" jsonschema:"no planned time is later (RFC 3339)"`
	Count         *int64          `json:"count,omitempty" jsonschema:"runs in all; when absent, no end"`
	Enabled       *bool           `json:"enabled,omitempty" jsonschema:"false: paused. When absent, as it is; a new one is enabled"`
}

// checkName checks the name of a schedule: as free as that of a device.
func checkName(name string) error {
	if name == "" {
		return fault.Field("name", "is missing")
	}
	return protocol.DeviceID("name", name)
}

// check makes a plan of params, without its times.
func (f *Feature) check(p *PutParams) (*plan, error) {
	s := Spec{
		At: p.At, Every: p.Every, Start: p.Start, Cron: p.Cron, Zone: p.Zone, Verb: p.Verb, WhileOccupied: p.WhileOccupied,
		Misfire: p.Misfire, Overlap: p.Overlap, Jitter: p.Jitter, Until: p.Until,
	}
	if err := checkName(p.Name); err != nil {
		return nil, err
	}
	if err := f.checkTimes(&s); err != nil {
		return nil, err
	}
	if p.Count != nil {
		switch s.Count = *p.Count; {
		case s.Count < 1 || s.Count > protocol.MaxInt:
			return nil, fault.Field("count", "%d is not between 1 and %d", s.Count, int64(protocol.MaxInt))
		case s.At != "":
			return nil, fault.Field("count", "goes with every and cron; at is once")
		}
	}
	if err := checkRules(&s); err != nil {
		return nil, err
	}
	var err error
	if s.Params, err = f.checkCall(s.Verb, p.Params); err != nil {
		return nil, err
	}
	return &plan{Spec: s}, nil
}

// checkTimes checks at, every, start, cron, zone, jitter and until.
func (f *Feature) checkTimes(s *Spec) error {
	given := 0
	for _, text := range []string{s.At, s.Every, s.Cron} {
		if text != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return fault.Field("at", "give one of at, every and cron")
	case s.Start != "" && s.Every == "":
		return fault.Field("start", "goes with every")
	case s.Zone != "" && s.Cron == "":
		return fault.Field("zone", "goes with cron")
	case s.Until != "" && s.At != "":
		return fault.Field("until", "goes with every and cron; at is once")
	}
	for _, t := range []struct{ field, text string }{{"at", s.At}, {"start", s.Start}, {"until", s.Until}} {
		if err := checkTime(t.field, t.text); err != nil {
			return err
		}
	}
	interval := time.Duration(math.MaxInt64)
	var err error
	switch {
	case s.Every != "":
		interval, err = checkDuration("every", s.Every, minEvery, maxEvery)
	case s.Cron != "":
		interval, err = f.checkCron(s)
	}
	if err != nil || s.Jitter == "" {
		return err
	}
	jitter, err := checkDuration("jitter", s.Jitter, time.Millisecond, maxJitter)
	if err == nil && jitter >= interval {
		err = fault.Field("jitter", "%s is not less than the interval of %s", s.Jitter, interval)
	}
	return err
}

func checkTime(field, text string) error {
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.UnixMilli() <= 0 {
		return fault.Field(field, "%q is not a time such as 2030-01-31T12:00:00Z (RFC 3339), after 1970", text)
	}
	return nil
}

func checkDuration(field, text string, low, high time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fault.Field(field, "%q is not a duration such as 5s or 1h30m", text)
	case d < low || d > high:
		return 0, fault.Field(field, "%s is not between %s and %s", text, low, high)
	case d%time.Millisecond != 0:
		return 0, fault.Field(field, "%s is not whole milliseconds", text)
	}
	return d, nil
}

// checkCron checks the line and its zone and gives the shortest interval that it has.
func (f *Feature) checkCron(s *Spec) (time.Duration, error) {
	if s.Zone == "" {
		s.Zone = "UTC"
	}
	zone, err := f.zones.find(s.Zone)
	if err != nil {
		return 0, fault.Field("zone", "%q is not a time zone such as Europe/Berlin", s.Zone)
	}
	line, err := cron.Parse(s.Cron, zone)
	if err != nil {
		return 0, fault.Field("cron", "%s", err)
	}
	// The first year or so, and always the same one: who is refused today is
	// refused tomorrow.
	shortest := time.Duration(math.MaxInt64)
	at := line.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	for range 366 {
		next := line.Next(at)
		if next.IsZero() {
			break
		}
		shortest = min(shortest, next.Sub(at))
		at = next
	}
	return shortest, nil
}

// checkRules checks while_occupied, misfire and overlap, and fills in what is not
// given.
func checkRules(s *Spec) error {
	if s.WhileOccupied != "" {
		if _, err := protocol.Namespace("while_occupied", s.WhileOccupied); err != nil {
			return err
		}
		if s.Misfire.Policy != "" && s.Misfire.Policy != skip {
			return fault.Field("misfire", "is skip with while_occupied: what is missed there is not made up")
		}
		s.Misfire.Policy = skip
	}
	if s.Misfire.Policy == "" {
		s.Misfire.Policy = once
	}
	switch s.Overlap {
	case "":
		s.Overlap = skip
	case skip, queue:
	default:
		return fault.Field("overlap", "%q is not skip or queue", s.Overlap)
	}
	return nil
}

// checkCall checks the verb and its params, as far as that is possible without
// running it: their form, not whether what they name is there.
func (f *Feature) checkCall(name string, raw json.RawMessage) (json.RawMessage, error) {
	switch {
	case name == "":
		return nil, fault.Field("verb", "is missing")
	case strings.HasPrefix(name, "schedules."):
		return nil, fault.Field("verb", "%q cannot be scheduled", name)
	}
	v := f.cfg.Verbs.Find(name)
	if v == nil {
		return nil, fault.Field("verb", "%q is not known", name)
	}
	if len(raw) == 0 || string(raw) == "null" {
		raw = json.RawMessage("{}")
	}
	var b bytes.Buffer
	switch {
	case raw[0] != '{':
		return nil, fault.Field("params", "must be an object, not %s", protocol.KindOf(raw))
	case len(raw) > maxParams:
		return nil, fault.Field("params", "has %d bytes; at most %d are allowed", len(raw), maxParams)
	case json.Compact(&b, raw) != nil:
		return nil, fault.Field("params", "is not valid JSON")
	}
	if err := checkParams(v, b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func checkParams(v *verb.Verb, raw []byte) error {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if err := o.Read(raw, math.MaxInt); err != nil {
		return fault.Field("params", "%s", err)
	}
	if v.Keyed && o.Has("key") {
		return fault.Field("params.key", "is given by the schedule: each firing has its own")
	}
	p := reflect.New(v.Params)
	if r, ok := p.Interface().(verb.Reader); ok {
		return inParams(r.ReadParams(o))
	}
	if v.Params.Kind() == reflect.Struct {
		var known []string
		for _, field := range reflect.VisibleFields(v.Params) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			known = append(known, name)
		}
		var stranger string
		o.Each(func(name string, _ []byte) bool {
			if !slices.Contains(known, name) {
				stranger = name
			}
			return stranger == ""
		})
		if stranger != "" {
			return fault.Field("params."+stranger, "is not a field of %s", v.Name)
		}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return inParams(d.Decode(p.Interface()))
}

// inParams makes an error about a verb's params one about the field params.
func inParams(err error) error {
	if err == nil {
		return nil
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fault.Field("params."+wrong.Field, "cannot be a JSON %s", wrong.Value)
	}
	var e *fault.Error
	if !errors.As(err, &e) {
		return fault.Field("params", "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	c := *e
	if c.Field == "" {
		c.Field, c.Message = "params", "params: "+c.Message
	} else {
		c.Field, c.Message = "params."+c.Field, "params."+c.Message
	}
	return &c
}
