package sqlite

import (
	"os"
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
		what   string
		times  int
		jobs   []*job
		after  time.Duration
		pages  int64
		gently bool
	}{
		{"others alone", 100, []*job{other}, time.Millisecond, rarely, false},
		{"a little of what is done now and then", fewSteps, []*job{other, bulk}, time.Millisecond, rarely, false},
		{"much of it, beside others", 1, []*job{other, bulk}, time.Millisecond, often, true},
		{"a moment without others", 50, []*job{bulk}, time.Millisecond, often, true},
		{"a longer one", 50, []*job{bulk}, 2 * time.Millisecond, often, false},
		{"others again", 1, []*job{other}, 0, often, true},
		{"the store's own work is nobody's", 50, []*job{own, bulk}, 3 * time.Millisecond, often, false},
		{"the bulk work has ended", 1, []*job{other}, bulkLasts, rarely, false},
		{"and a little comes again", fewSteps, []*job{bulk}, time.Minute, rarely, false},
	} {
		for range step.times {
			now = now.Add(step.after)
			if err := w.pace(step.jobs, now); err != nil {
				t.Fatal(err)
			}
		}
		row, _, err := w.c.first("PRAGMA wal_autocheckpoint")
		if err != nil || number(row[0]) != step.pages || w.gently != step.gently {
			t.Errorf("%s: after %v pages, want %d, gently %t: %v", step.what, row, step.pages, w.gently, err)
		}
	}
}

// Beside bulk work what was written is moved into the file when nobody waits for the writer,
// and not all the time.
func TestCheckpointsWhileNobodyWaits(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	w := &writer{store: &Store{cfg: s.cfg}}
	if err := w.connect(); err != nil {
		t.Fatal(err)
	}
	defer w.drop()
	write := func() {
		t.Helper()
		for _, text := range []string{"CREATE TABLE IF NOT EXISTS extra (v)", "INSERT INTO extra VALUES (randomblob(20000))"} {
			if err := w.c.exec(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := func() int64 {
		info, err := os.Stat(s.path())
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	now := time.UnixMilli(0)
	grows := func(what string, want bool, after time.Duration) {
		t.Helper()
		write()
		before := size()
		now = now.Add(after)
		w.settle(now)
		if grown := size() > before; grown != want {
			t.Errorf("%s: the file has grown: %t", what, grown)
		}
	}
	grows("without bulk work", false, time.Second)
	w.gently = true
	grows("beside it", true, time.Second)
	grows("at once again", false, settleEvery/2)
	w.store.queue.jobs = []*job{{}}
	grows("while somebody waits", false, time.Second)
	w.store.queue.jobs, w.store.queue.bulk = nil, []*job{{bulk: true}}
	grows("while only bulk work waits", true, 0)
}
