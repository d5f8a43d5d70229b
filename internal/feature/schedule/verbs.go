package schedule

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) registerVerbs(r *verb.Registry) {
	verb.Add(r, "schedules.put", "Makes a schedule or changes it: a verb that is run at times.", f.put)
	verb.Add(r, "schedules.get", "Shows a schedule, when it is due and how it went.", f.get)
	verb.Add(r, "schedules.list", "Lists schedules by name.", f.list)
	verb.Add(r, "schedules.delete", "Deletes a schedule.", f.delete)
	verb.Add(r, "schedules.run", "Runs a schedule's verb now and gives its result; the planned times stay.", f.run)
	verb.Add(r, "schedules.pause", "Stops a schedule until it is resumed.", f.pause)
	verb.Add(r, "schedules.resume", "Goes on with a schedule from now; nothing is made up.", f.resume)
}

// NameParams name a schedule.
type NameParams struct {
	Name string `json:"name"`
}

// ListParams are the params of schedules.list.
type ListParams struct {
	Prefix string `json:"prefix,omitempty" jsonschema:"only schedules whose name begins with it"`
	After  string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit  *int   `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// Page is a page of schedules, by name.
type Page struct {
	Items []Schedule `json:"items"`
	Next  string     `json:"next,omitempty"`
}

// DeleteResult says that a schedule was deleted.
type DeleteResult struct {
	Deleted bool `json:"deleted"`
}

// RunResult is what the verb of a schedule gave.
type RunResult struct {
	ID     string          `json:"id" jsonschema:"names this run"`
	Result json.RawMessage `json:"result"`
}

// Bounds of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
	maxPageBytes = 4 << 20
)

func (f *Feature) put(ctx context.Context, p PutParams) (Schedule, error) {
	wanted, err := f.check(&p)
	if err != nil {
		return Schedule{}, err
	}
	if err := f.cfg.Allow(ctx, wanted.Verb); err != nil {
		return Schedule{}, err
	}
	return f.change(ctx, p.Name, func(r *record, now int64) (*timing, error) {
		return f.apply(r, *wanted, p.Enabled, now)
	})
}

// apply makes r what put asks for. A nil timing: it is that already.
func (f *Feature) apply(r *record, wanted plan, enabled *bool, now int64) (*timing, error) {
	old, fresh := r.plan, r.version == 0
	wanted.Enabled = fresh || old.Enabled
	if enabled != nil {
		wanted.Enabled = *enabled
	}
	wanted.Created, wanted.Changed, wanted.Anchor = old.Created, now, old.Anchor
	retimed := fresh || !sameTiming(&old.Spec, &wanted.Spec)
	switch {
	case fresh:
		wanted.Created = now
	case same(&old, &wanted):
		return nil, nil
	}
	if retimed {
		wanted.Anchor = 0
		if wanted.Every != "" {
			wanted.Anchor = now
		}
		if wanted.Start != "" {
			wanted.Anchor, _ = readTime(wanted.Start)
		}
		r.state.Counted = 0
	}
	t, err := wanted.timing(r.name, &f.zones)
	if err != nil {
		return nil, err
	}
	next := t.after(now)
	if retimed && next == 0 {
		return nil, never(&wanted, t)
	}
	was := r.state.Next
	r.plan, r.state.Next = wanted, next
	// What goes on keeps its place. A run that is on its way at another node is
	// left to it.
	if !retimed && old.Enabled && was > 0 && r.claimed <= now {
		r.state.Next = was
	}
	if !wanted.Enabled || r.state.spent(&wanted) || r.state.Next > t.until {
		r.state.Next = 0
	}
	return t, nil
}

// never tells why a plan has no time that is to come.
func never(p *plan, t *timing) error {
	if p.At != "" {
		return fault.Field("at", "%s has passed", p.At)
	}
	return fault.Field("until", "no planned time comes before %s", p.Until)
}

func (f *Feature) pause(ctx context.Context, p NameParams) (Schedule, error) {
	return f.switchTo(ctx, p.Name, false)
}

func (f *Feature) resume(ctx context.Context, p NameParams) (Schedule, error) {
	return f.switchTo(ctx, p.Name, true)
}

func (f *Feature) switchTo(ctx context.Context, name string, enabled bool) (Schedule, error) {
	if err := checkName(name); err != nil {
		return Schedule{}, err
	}
	return f.change(ctx, name, func(r *record, now int64) (*timing, error) {
		if r.version == 0 {
			return nil, notFound(name)
		}
		if err := f.cfg.Allow(ctx, r.plan.Verb); enabled && err != nil {
			return nil, err
		}
		if r.plan.Enabled == enabled {
			return nil, nil
		}
		t, err := r.plan.timing(name, &f.zones)
		if err != nil {
			return nil, err
		}
		r.plan.Enabled, r.plan.Changed, r.state.Next = enabled, now, 0
		if enabled && !r.state.spent(&r.plan) {
			r.state.Next = t.after(now)
		}
		return t, nil
	})
}

// maxConflicts bounds how often a change begins anew because the schedule was
// changed meanwhile.
const maxConflicts = 20

// change changes a schedule: edit gets what is there (version 0: nothing) and
// gives its timing, nil when nothing has to be written.
func (f *Feature) change(ctx context.Context, name string, edit func(r *record, now int64) (*timing, error)) (Schedule, error) {
	e, err := f.running()
	if err != nil {
		return Schedule{}, err
	}
	if err := e.freeze(ctx, name); err != nil {
		return Schedule{}, err
	}
	defer e.thaw(name)
	for range maxConflicts {
		r, err := e.read(ctx, name)
		if err != nil && fault.Of(err).Code != fault.NotFound {
			return Schedule{}, err
		}
		t, err := edit(&r, f.now())
		if err != nil {
			return Schedule{}, err
		}
		if t == nil {
			return r.view(), nil
		}
		command := r.put(t)
		_, err = e.store.Do(ctx, command)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return Schedule{}, outage.Fault(err)
		}
		e.expect(command.Next)
		return r.view(), nil
	}
	return Schedule{}, fault.New(fault.Unavailable, "the schedule is being changed elsewhere all the time").After(outage.RetryAfter)
}

func notFound(name string) *fault.Error {
	return fault.New(fault.NotFound, "name: there is no schedule %q", name)
}

// read reads a schedule from the store.
func (e *engine) read(ctx context.Context, name string) (record, error) {
	s, err := e.store.Schedule(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return record{name: name}, notFound(name)
	}
	if err != nil {
		return record{}, outage.Fault(err)
	}
	return e.decode(s)
}

// decode is decode with what this node knows better.
func (e *engine) decode(s store.Schedule) (record, error) {
	r, err := decode(s)
	if err != nil {
		return r, fault.Wrap(fault.Internal, err, "the schedule %q cannot be read", s.Name)
	}
	if !e.shared {
		r.claimed = 0 // by nobody but this process, which knows what it holds
	}
	if live, ok := e.live(s.Name, s.Version); ok {
		r.state = live
	}
	return r, nil
}

func (f *Feature) get(ctx context.Context, p NameParams) (Schedule, error) {
	if err := checkName(p.Name); err != nil {
		return Schedule{}, err
	}
	e, err := f.running()
	if err != nil {
		return Schedule{}, err
	}
	r, err := e.read(ctx, p.Name)
	if err != nil {
		return Schedule{}, err
	}
	return r.view(), nil
}

func (f *Feature) list(ctx context.Context, p ListParams) (Page, error) {
	page := Page{Items: []Schedule{}}
	limit := defaultLimit
	if p.Limit != nil {
		limit = *p.Limit
	}
	if limit < 1 || limit > maxLimit {
		return page, fault.Field("limit", "%d is not between 1 and %d", limit, maxLimit)
	}
	e, err := f.running()
	if err != nil {
		return page, err
	}
	found, err := e.store.Schedules(ctx, p.Prefix, p.After, limit+1)
	if err != nil {
		return page, outage.Fault(err)
	}
	size := 0
	for i, s := range found {
		size += len(s.Plan) + len(s.State)
		if i == limit || i > 0 && size > maxPageBytes {
			page.Next = found[i-1].Name
			break
		}
		r, err := e.decode(s)
		if err != nil {
			return page, err
		}
		page.Items = append(page.Items, r.view())
	}
	return page, nil
}

func (f *Feature) delete(ctx context.Context, p NameParams) (DeleteResult, error) {
	if err := checkName(p.Name); err != nil {
		return DeleteResult{}, err
	}
	e, err := f.running()
	if err != nil {
		return DeleteResult{}, err
	}
	if err := e.freeze(ctx, p.Name); err != nil {
		return DeleteResult{}, err
	}
	defer e.thaw(p.Name)
	switch _, err = e.store.Do(ctx, store.DeleteSchedule{Name: p.Name}); {
	case errors.Is(err, store.ErrNotFound):
		return DeleteResult{}, notFound(p.Name)
	case err != nil:
		return DeleteResult{}, outage.Fault(err)
	}
	return DeleteResult{Deleted: true}, nil
}

func (f *Feature) run(ctx context.Context, p NameParams) (RunResult, error) {
	if err := checkName(p.Name); err != nil {
		return RunResult{}, err
	}
	e, err := f.running()
	if err != nil {
		return RunResult{}, err
	}
	r, err := e.read(ctx, p.Name)
	if err != nil {
		return RunResult{}, err
	}
	if err := f.cfg.Allow(ctx, r.plan.Verb); err != nil {
		return RunResult{}, err
	}
	f.metrics.Manual.Add(1)
	now := f.cfg.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	result := RunResult{ID: p.Name + "@" + now + "#manual"}
	ctx, cancel := context.WithTimeout(ctx, verbTimeout)
	defer cancel()
	result.Result, err = f.call(ctx, &r.plan, p.Name, result.ID)
	return result, err
}
