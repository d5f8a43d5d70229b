package schedule

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

// Bounds of what is kept about the runs of a schedule.
const (
	maxRecent  = 10
	maxResult  = 2 << 10 // bytes
	maxMessage = 512     // bytes of an error's sentence
)

// state is how a schedule goes, as it is kept.
type state struct {
	Next     int64 `json:"next,omitempty"` // the planned time that is to come; 0: none
	Runs     int64 `json:"runs,omitempty"`
	Failures int64 `json:"failures,omitempty"`
	// Counted is the runs since the timing was last changed, for count.
	Counted int64    `json:"counted,omitempty"`
	Skipped Skipped  `json:"skipped,omitzero"`
	Recent  []Firing `json:"recent,omitempty"` // the newest first; it alone has a result
}

// Skipped counts planned times that were not run.
type Skipped struct {
	Misfire int64 `json:"misfire,omitempty" jsonschema:"missed, and not made up"`
	Overlap int64 `json:"overlap,omitempty" jsonschema:"the run before had not ended"`
	Vacant  int64 `json:"vacant,omitempty" jsonschema:"the channel of while_occupied had no subscribers"`
}

// Firing is one run of a schedule.
type Firing struct {
	Planned  int64           `json:"planned" jsonschema:"all times are milliseconds since 1970 UTC"`
	Started  int64           `json:"started"`
	Finished int64           `json:"finished"`
	OK       bool            `json:"ok"`
	Error    *Failure        `json:"error,omitempty"`
	Result   json.RawMessage `json:"result,omitempty" jsonschema:"what the verb gave; only of the last run"`
	Omitted  bool            `json:"result_omitted,omitempty" jsonschema:"the result had more than 2048 bytes"`
}

// Failure is why a run failed.
type Failure struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
}

func failureOf(e *fault.Error) *Failure {
	message := e.Message
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "")
	}
	return &Failure{e.Code, message}
}

// record notes a run. Older entries are not changed in place: somebody may be
// showing them.
func (s *state) record(f Firing) {
	s.Runs++
	s.Counted++
	if !f.OK {
		s.Failures++
	}
	recent := append(make([]Firing, 0, maxRecent), f)
	recent = append(recent, s.Recent[:min(len(s.Recent), maxRecent-1)]...)
	for i := range recent[1:] {
		recent[1+i].Result, recent[1+i].Omitted = nil, false
	}
	s.Recent = recent
}

// spent tells that a schedule has had all its runs.
func (s *state) spent(p *plan) bool { return p.Count > 0 && s.Counted >= p.Count }

func (s *state) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // its parts are numbers, text, and JSON that was checked
	}
	return b
}

// record is a schedule with its plan and state read.
type record struct {
	name    string
	version uint64 // 0: there is none
	plan    plan
	state   state
	// claimed is until when a node has it; 0: nobody.
	claimed int64
}

func decode(s store.Schedule) (r record, err error) {
	r = record{name: s.Name, version: s.Version}
	if s.Owner != "" {
		r.claimed = s.Until
	}
	if err = json.Unmarshal(s.Plan, &r.plan); err == nil && len(s.State) > 0 {
		err = json.Unmarshal(s.State, &r.state)
	}
	return r, err
}

// put is the command that keeps the record, if its version is still there.
func (r *record) put(t *timing) store.PutSchedule {
	text, err := json.Marshal(&r.plan)
	if err != nil {
		panic(err) // as with state
	}
	s := store.Schedule{Name: r.name, Plan: text, State: r.state.encode()}
	if r.state.Next > 0 {
		s.Next = t.runAt(r.state.Next)
	}
	return store.PutSchedule{Schedule: s, If: &r.version}
}

// Schedule is a schedule as the verbs show it.
type Schedule struct {
	Name string `json:"name"`
	Spec
	Enabled  bool     `json:"enabled"`
	State    string   `json:"state" jsonschema:"active, paused, or done: no planned time is to come"`
	Next     int64    `json:"next,omitempty" jsonschema:"the planned time that is to come"`
	Last     *Firing  `json:"last,omitempty" jsonschema:"the last run"`
	Recent   []Firing `json:"recent" jsonschema:"the last 10 runs, the newest first"`
	Runs     int64    `json:"runs"`
	Failures int64    `json:"failures"`
	Skipped  Skipped  `json:"skipped"`
	Created  int64    `json:"created"`
	Changed  int64    `json:"changed"`
}

func (r *record) view() Schedule {
	v := Schedule{
		Name: r.name, Spec: r.plan.Spec, Enabled: r.plan.Enabled, Next: r.state.Next, Runs: r.state.Runs, Failures: r.state.Failures,
		Skipped: r.state.Skipped, Created: r.plan.Created, Changed: r.plan.Changed, Recent: []Firing{},
	}
	switch {
	case !r.plan.Enabled:
		v.State = "paused"
	case v.Next == 0:
		v.State = "done"
	default:
		v.State = "active"
	}
	if len(r.state.Recent) > 0 {
		last := r.state.Recent[0]
		v.Last = &last
		v.Recent = slices.Clone(r.state.Recent)
		v.Recent[0].Result, v.Recent[0].Omitted = nil, false
	}
	return v
}
