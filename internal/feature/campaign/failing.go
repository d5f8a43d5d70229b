package campaign

import "context"

// Failing is a campaign that does not get on, or rests because of a fault.
type Failing struct {
	ID    string
	Since int64 // Unix milliseconds
	Error string
}

// Failing tells which campaigns this node has that do not get on, and which of the newest
// limit that rest do so because of a fault.
func (f *Feature) Failing(ctx context.Context, limit int) (list []Failing, err error) {
	e, err := f.running()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	for id, r := range e.runs {
		if r.trouble != "" {
			list = append(list, Failing{ID: id, Since: r.since, Error: r.trouble})
		}
	}
	e.mu.Unlock()
	resting, err := e.store.Campaigns(ctx, paused, "", limit)
	if err != nil {
		return list, err
	}
	for _, c := range resting {
		r, err := decode(c)
		if err != nil {
			return list, err
		}
		if r.notes.Error != "" {
			list = append(list, Failing{ID: c.ID, Since: r.notes.Failed, Error: r.notes.Error})
		}
	}
	return list, nil
}
