package schedule_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein/store"
)

// recording is the real store, which tells how much was asked of it at once.
type recording struct {
	store.Store
	mu      sync.Mutex
	dues    int
	listed  int
	largest int
}

func (r *recording) Due(ctx context.Context, limit int) ([]store.DueSchedule, error) {
	r.mu.Lock()
	r.dues++
	r.largest = max(r.largest, limit)
	r.mu.Unlock()
	return r.Store.Due(ctx, limit)
}

func (r *recording) Schedules(ctx context.Context, prefix, after string, limit int) ([]store.Schedule, error) {
	r.mu.Lock()
	r.listed++
	r.mu.Unlock()
	return r.Store.Schedules(ctx, prefix, after, limit)
}

func TestAHundredThousandSchedules(t *testing.T) {
	w := open(t)
	st := &recording{Store: w.store}
	n := w.idle("a", nil)
	n.Start(st, false)
	n.Begin()
	t.Cleanup(n.Close)
	const total, soon = 100_000, 50
	n.must("put", `{"name":"s00000","every":"24h","verb":"note"}`)
	row, err := w.store.Schedule(t.Context(), "s00000")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < total; {
		var group []store.Command
		for ; i < total && len(group) < 1000; i++ {
			row.Name, row.Next = fmt.Sprintf("s%05d", i), row.Next+1
			group = append(group, store.PutSchedule{Schedule: row})
		}
		if _, err := w.store.Do(t.Context(), group...); err != nil {
			t.Fatal(err)
		}
	}
	reads := w.counts.reads.Load()
	seen, pages := 0, 0
	for next := " "; next != ""; pages++ {
		page := n.list(fmt.Sprintf(`{"after":%q,"limit":1000}`, next))
		seen, next = seen+len(page.Items), page.Next
	}
	if seen != total || pages != total/1000 || st.listed != pages || w.counts.reads.Load()-reads > int64(pages)+5 {
		t.Errorf("%d schedules on %d pages by %d reads", seen, pages, w.counts.reads.Load()-reads)
	}
	st.mu.Lock()
	st.dues, st.largest = 0, 0
	st.mu.Unlock()
	begin := time.Now()
	reads = w.counts.reads.Load()
	for i := range soon {
		n.must("put", `{"name":"soon%02d","at":%q,"verb":"note"}`, i, rfc(begin.Add(2*time.Second)))
	}
	for over := time.After(20 * time.Second); ; {
		w.mu.Lock()
		ran := len(w.notes)
		w.mu.Unlock()
		if ran == soon {
			break
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-over:
			t.Fatalf("%d of %d ran", ran, soon)
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	// One read for each put, and the looks of the engine.
	if got := w.counts.reads.Load() - reads; got > 4*soon || st.dues > 3*soon || st.largest > 200 {
		t.Errorf("%d reads, %d of the due ones with limits up to %d", got, st.dues, st.largest)
	}
}
