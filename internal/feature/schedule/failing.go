package schedule

import "context"

// Failing is a schedule whose last run failed.
type Failing struct {
	Name  string
	Since int64 // when the first of the runs failed that failed one after the other, as far as they are remembered
	Error string
}

// Failing tells which of the next schedules, by name, have failed in their last run. It looks
// at limit of them at most; last is the name of the last one, "" when there are no more.
func (f *Feature) Failing(ctx context.Context, after string, limit int) (list []Failing, last string, err error) {
	e, err := f.running()
	if err != nil {
		return nil, "", err
	}
	found, err := e.store.Schedules(ctx, "", after, limit)
	if err != nil {
		return nil, "", err
	}
	for _, s := range found {
		r, err := e.decode(s)
		if err != nil {
			return nil, "", err
		}
		if failing, ok := r.failing(); ok {
			list = append(list, failing)
		}
	}
	if len(found) == limit {
		last = found[limit-1].Name
	}
	return list, last, nil
}

// failing tells whether the last run failed. One that is paused has been noticed.
func (r *record) failing() (f Failing, failed bool) {
	if !r.plan.Enabled {
		return f, false
	}
	for _, run := range r.state.Recent {
		if run.OK {
			break
		}
		if !failed && run.Error != nil {
			f.Error = run.Error.Message
		}
		f.Name, f.Since, failed = r.name, run.Finished, true
	}
	return f, failed
}
