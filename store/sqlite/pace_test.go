package sqlite

import (
	"testing"
	"time"
)

// Checkpoints are rare, but short where somebody waits for the commits of bulk work.
func TestTheLengthOfCheckpoints(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{store: s}
	if err := w.connect(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		w.drop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	bulk, other, own := &job{bulk: true}, &job{}, &job{work: func(*writer) error { return nil }}
	now := time.UnixMilli(0)
	for _, step := range []struct {
		what  string
		times int
		jobs  []*job
		after time.Duration
		pages int64
	}{
		{"others alone", 100, []*job{other}, time.Millisecond, rarely},
		{"a little of what is done now and then", fewSteps, []*job{other, bulk}, time.Millisecond, rarely},
		{"much of it, beside others", 1, []*job{other, bulk}, time.Millisecond, constantly},
		{"a moment without others", 50, []*job{bulk}, time.Millisecond, constantly},
		{"a longer one", 50, []*job{bulk}, 2 * time.Millisecond, often},
		{"others again", 1, []*job{other}, 0, constantly},
		{"the store's own work is nobody's", 50, []*job{own, bulk}, 3 * time.Millisecond, often},
		{"the bulk work has ended", 1, []*job{other}, bulkLasts, rarely},
		{"and a little comes again", fewSteps, []*job{bulk}, time.Minute, rarely},
	} {
		for range step.times {
			now = now.Add(step.after)
			if err := w.pace(step.jobs, now); err != nil {
				t.Fatal(err)
			}
		}
		row, _, err := w.c.first("PRAGMA wal_autocheckpoint")
		if err != nil || number(row[0]) != step.pages {
			t.Errorf("%s: after %v pages, want %d: %v", step.what, row, step.pages, err)
		}
	}
}
