package health

import (
	"context"
	"time"
)

// Bounds of what is looked up in the store.
const (
	lookEvery    = time.Second     // at most so often
	lookTime     = 2 * time.Second // and for so long
	page         = 500             // schedules that are read at once
	pages        = 4               // and how often in one look; where there are more, the next goes on
	maxSchedules = 100             // that are remembered to fail
	maxCampaigns = 100             // that rest and are looked at
)

// look asks the store, unless it was asked just now. When it does not answer, what is known
// stays.
func (f *Feature) look(ctx context.Context) {
	f.looking.Lock()
	defer f.looking.Unlock()
	if time.Since(f.looked) < lookEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if campaigns, err := f.cfg.Campaigns(ctx, maxCampaigns); err == nil {
		f.mu.Lock()
		f.campaigns = campaigns
		f.mu.Unlock()
	}
	for range pages {
		failing, last, err := f.cfg.Schedules(ctx, f.place, page)
		if err != nil {
			break
		}
		f.keepSchedules(failing, f.place, last)
		if f.place = last; last == "" {
			break
		}
	}
	f.looked = time.Now() // after all, so that those who wait meanwhile do not wait for the store again
}

// keepSchedules replaces what is known of the schedules behind after, up to last.
func (f *Feature) keepSchedules(failing []Failing, after, last string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.schedules {
		if name > after && (last == "" || name <= last) {
			delete(f.schedules, name)
		}
	}
	for _, s := range failing {
		if len(f.schedules) < maxSchedules {
			f.schedules[s.Name] = s
		}
	}
}
