package chat

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// turnTaken is one turn as a test sees it.
type turnTaken struct {
	Key  string
	Work string
	At   time.Duration // since the beginning
}

// journal keeps the turns that were taken.
type journal struct {
	mu    sync.Mutex
	began time.Time
	turns []turnTaken
}

func (j *journal) note(key, work string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.turns = append(j.turns, turnTaken{key, work, time.Since(j.began)})
}

func (j *journal) take() []turnTaken {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.turns
	j.turns = nil
	return list
}

// lined runs a line of texts with some workers until the test ends, in its bubble of time.
func lined(t *testing.T, gap time.Duration, workers int, do func(key, work string) error) (*line[string], *journal) {
	l := new(line[string])
	l.init(gap, func(newer *string, older string) { *newer = older + *newer })
	j := &journal{began: time.Now()}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			l.run(ctx, func(_ context.Context, key, work string) error {
				j.note(key, work)
				return do(key, work)
			})
		})
	}
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	synctest.Wait()
	return l, j
}

func adds(text string) func(*string) { return func(s *string) { *s += text } }

func fine(string, string) error { return nil }

func TestWorkOfOneKeyIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, j := lined(t, 100*time.Millisecond, 2, fine)
		if l.put("a", 0, adds("1")) {
			t.Error("the first is joined with something")
		}
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		l.put("a", 0, adds("2"))
		l.put("b", 30*time.Millisecond, adds("x"))
		if !l.put("a", 0, adds("3")) || !l.put("b", 50*time.Millisecond, adds("y")) {
			t.Error("what waits is not joined")
		}
		if n := l.waiting(); n != 2 {
			t.Errorf("%d keys wait, want 2", n)
		}
		time.Sleep(time.Second)
		l.put("b", time.Minute, adds("late"))
		l.put("b", time.Second, adds(", sooner"))
		time.Sleep(time.Hour)
		want := []turnTaken{
			{"a", "1", 0},
			{"b", "xy", 40 * time.Millisecond},
			{"a", "23", 100 * time.Millisecond},
			{"b", "late, sooner", 2010 * time.Millisecond},
		}
		if diff := cmp.Diff(want, j.take()); diff != "" {
			t.Error(diff)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.turns) != 0 || len(l.order) != 0 {
			t.Errorf("%d keys are remembered after everything", len(l.turns))
		}
	})
}

func TestWorkThatFailsComesAgainBelowWhatIsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures atomic.Int32
		failures.Store(3)
		l, j := lined(t, 0, 1, func(string, string) error {
			if failures.Add(-1) >= 0 {
				return errors.New("not now")
			}
			return nil
		})
		l.put("a", 0, adds("1"))
		synctest.Wait()
		time.Sleep(50 * time.Millisecond)
		l.put("a", 0, adds("2")) // it does not make the next try come sooner
		time.Sleep(time.Hour)
		want := []turnTaken{{"a", "1", 0}, {"a", "12", 100 * time.Millisecond}, {"a", "12", 300 * time.Millisecond}, {"a", "12", 700 * time.Millisecond}}
		if diff := cmp.Diff(want, j.take()); diff != "" {
			t.Error(diff)
		}
		failures.Store(9)
		l.put("a", 0, adds("3"))
		time.Sleep(time.Hour)
		list := j.take()
		if len(list) != 10 || list[9].At-list[8].At != mostPause {
			t.Errorf("got %v, want ten tries, in the end with %v between them", list, mostPause)
		}
	})
}

func TestTurnsOfOneKeyDoNotOverlapAndThoseOfOthersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := map[string]bool{}
		var mu sync.Mutex
		is := func(key string, now bool) {
			mu.Lock()
			defer mu.Unlock()
			if now && busy[key] {
				t.Errorf("two turns of %s at once", key)
			}
			busy[key] = now
		}
		l, j := lined(t, 0, 2, func(key, work string) error {
			is(key, true)
			if key == "slow" {
				time.Sleep(time.Second)
			}
			is(key, false)
			return nil
		})
		l.put("slow", 0, adds("1"))
		synctest.Wait()
		l.put("slow", 0, adds("2"))
		l.put("slow", 0, adds("3"))
		l.put("quick", 0, adds("x"))
		time.Sleep(time.Minute)
		want := []turnTaken{{"slow", "1", 0}, {"quick", "x", 0}, {"slow", "23", time.Second}}
		if diff := cmp.Diff(want, j.take()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNothingOfManyKeysIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		got := map[string]string{}
		chance := rand.New(rand.NewPCG(1, 2))
		l, _ := lined(t, 20*time.Millisecond, 4, func(key, work string) error {
			mu.Lock()
			defer mu.Unlock()
			if chance.IntN(3) == 0 {
				return errors.New("not now")
			}
			got[key] += work
			return nil
		})
		want := map[string]string{}
		for i := range 2000 {
			key := strconv.Itoa(i % 17)
			text := strconv.Itoa(i) + " "
			want[key] += text
			l.put(key, time.Duration(i%3)*5*time.Millisecond, adds(text))
			if i%5 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
