package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// Each batch has all that waits, in order, and behind it one bulk job.
func TestABatchTakesOneBulkJobBehindTheRest(t *testing.T) {
	var q queue
	q.wake.L = &q.mu
	var waiting sync.WaitGroup
	names := map[*job]string{}
	put := func(name string, bulk bool, ctx context.Context) {
		j := &job{bulk: bulk, bytes: 1}
		names[j] = name
		q.mu.Lock()
		before := len(q.jobs) + len(q.bulk)
		q.mu.Unlock()
		waiting.Go(func() { _ = q.do(ctx, j) })
		for n := before; n == before; {
			runtime.Gosched()
			q.mu.Lock()
			n = len(q.jobs) + len(q.bulk)
			q.mu.Unlock()
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	put("bulk 1", true, t.Context())
	put("one", false, t.Context())
	put("bulk gone", true, gone)
	put("bulk 2", true, t.Context())
	put("gone", false, gone)
	put("two", false, t.Context())
	cancel()
	for still := true; still; { // until both are withdrawn
		runtime.Gosched()
		q.mu.Lock()
		still = slices.ContainsFunc(slices.Concat(q.jobs, q.bulk), func(j *job) bool { return j.waiting && strings.HasSuffix(names[j], "gone") })
		q.mu.Unlock()
	}
	var got [][]string
	for range 3 {
		var batch []string
		for _, j := range q.take(nil) {
			batch = append(batch, names[j])
			close(j.done)
		}
		got = append(got, batch)
		if len(got) == 1 {
			put("three", false, t.Context())
		}
		if len(got) == 2 {
			put("bulk 3", true, t.Context())
		}
	}
	if diff := cmp.Diff([][]string{{"one", "two", "bulk 1"}, {"three", "bulk 2"}, {"bulk 3"}}, got); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if q.bytes != 0 {
		t.Errorf("%d bytes wait", q.bytes)
	}
	put("bulk 4", true, t.Context())
	put("four", false, t.Context())
	q.close()
	waiting.Wait()
	if err := q.do(t.Context(), &job{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("when closed: %v", err)
	}
}

// However many push and talk, work that goes through many users gets on, and in order.
func TestBulkWorkGetsOnAmongOthers(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), Relaxed: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	stop := make(chan struct{})
	var crowd sync.WaitGroup
	for i := range 32 {
		crowd.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a := store.Append{Channel: fmt.Sprint("room:", i), ID: id.Message(time.UnixMilli(1)), Time: 1, Data: []byte("1")}
				if _, err := s.Do(context.Background(), a); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	if _, err := s.Do(t.Context(), store.PutCampaign{Campaign: store.Campaign{ID: "c"}}); err != nil {
		t.Fatal(err)
	}
	const steps = 50
	for i := range steps {
		push := store.Push{Content: store.Content{ID: "01K9ZZZZZZ0000000000000009", Time: 1, Data: []byte("1")}, Now: 1, To: []store.Recipient{{User: fmt.Sprint(i)}},
			Step: &store.Step{Campaign: "c", Version: 1, From: cursor(i), To: cursor(i + 1)}}
		if _, err := s.Do(t.Context(), push); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	crowd.Wait()
	if c, err := s.Campaign(t.Context(), "c"); err != nil || c.Cursor != cursor(steps) {
		t.Errorf("the campaign is %+v, %v", c, err)
	}
	if err := s.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
		t.Error(err)
	}
}

func cursor(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprint(i)
}
