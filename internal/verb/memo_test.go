package verb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is a request that tells how often it ran.
type counter struct {
	runs int
	err  error
}

func (c *counter) run() ([]byte, error) {
	c.runs++
	return fmt.Appendf(nil, "run %d", c.runs), c.err
}

func do(t *testing.T, m *verb.Memo, key, content string, c *counter) (string, bool, error) {
	t.Helper()
	result, repeated, err := m.Do(t.Context(), key, []byte(content), c.run)
	return string(result), repeated, err
}

func TestARepeatGetsTheFirstAnswer(t *testing.T) {
	m := verb.NewMemo(0, 0)
	var c counter
	for i := range 3 {
		got, repeated, err := do(t, m, "k", "same", &c)
		if err != nil || got != "run 1" || repeated != (i > 0) {
			t.Errorf("request %d: got %q, repeated %v, %v", i, got, repeated, err)
		}
	}
	if got, repeated, err := do(t, m, "other", "same", &c); err != nil || got != "run 2" || repeated {
		t.Errorf("another key: got %q, %v, %v", got, repeated, err)
	}
	if _, _, err := do(t, m, "k", "changed", &c); err == nil || fault.Of(err).Code != fault.Conflict || c.runs != 2 {
		t.Errorf("other content: got %v after %d runs", err, c.runs)
	}
	if got, _, err := do(t, m, "k", "same", &c); err != nil || got != "run 1" {
		t.Errorf("after the conflict: got %q, %v", got, err)
	}
}

func TestAFailedRequestMayBeTriedAgain(t *testing.T) {
	m := verb.NewMemo(0, 0)
	c := counter{err: errors.New("no")}
	if _, repeated, err := do(t, m, "k", "a", &c); err != c.err || repeated {
		t.Errorf("got %v, %v", repeated, err)
	}
	if m.Len() != 0 {
		t.Error("the failure is remembered")
	}
	c.err = nil
	if got, repeated, err := do(t, m, "k", "even other content", &c); err != nil || got != "run 2" || repeated {
		t.Errorf("got %q, %v, %v", got, repeated, err)
	}
}

func TestConcurrentRepeatsRunOnce(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := verb.NewMemo(0, 0)
			begin := make(chan struct{})
			var runs, repeats, failures atomic.Int64
			var wait sync.WaitGroup
			for range 50 {
				wait.Go(func() {
					_, repeated, err := m.Do(t.Context(), "k", nil, func() ([]byte, error) {
						runs.Add(1)
						<-begin
						if fails {
							return nil, errors.New("no")
						}
						return []byte("{}"), nil
					})
					if repeated {
						repeats.Add(1)
					}
					if err != nil {
						failures.Add(1)
					}
				})
			}
			synctest.Wait()
			close(begin)
			wait.Wait()
			want := [3]int64{1, 49, 0}
			if fails {
				want = [3]int64{1, 0, 50}
			}
			if got := [3]int64{runs.Load(), repeats.Load(), failures.Load()}; got != want {
				t.Errorf("fails %v: %v runs, repeats and failures, want %v", fails, got, want)
			}
		})
	}
}

func TestAWaiterMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := verb.NewMemo(0, 0)
		begin := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _, err := m.Do(t.Context(), "k", nil, func() ([]byte, error) { <-begin; return nil, nil })
			if err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := m.Do(ctx, "k", nil, func() ([]byte, error) { t.Error("it ran twice"); return nil, nil })
		if fault.Of(err).Code != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(begin)
		<-done
	})
}

func TestAPanicDoesNotLeaveWaitersBehind(t *testing.T) {
	m := verb.NewMemo(0, 0)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _, _ = m.Do(t.Context(), "k", nil, func() ([]byte, error) { panic("broken") })
	}()
	var c counter
	if got, _, err := do(t, m, "k", "", &c); err != nil || got != "run 1" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAnswersExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := verb.NewMemo(time.Hour, 0)
		var c counter
		ask := func(want string) {
			t.Helper()
			if got, _, err := do(t, m, "k", "a", &c); err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		ask("run 1")
		time.Sleep(time.Hour - time.Nanosecond)
		ask("run 1")
		time.Sleep(time.Nanosecond)
		ask("run 2") // an answer does not live longer for being asked for
		if m.Len() != 1 || m.Evicted() != 0 {
			t.Errorf("%d keys, %d evicted", m.Len(), m.Evicted())
		}
	})
}

func TestAFullMemoForgetsTheOldest(t *testing.T) {
	m := verb.NewMemo(0, 3)
	var c counter
	for _, k := range []string{"a", "b", "c"} {
		if _, _, err := do(t, m, k, "", &c); err != nil {
			t.Fatal(err)
		}
	}
	for i, k := range []string{"a", "b", "c", "a"} {
		if _, repeated, err := do(t, m, k, "", &c); err != nil || !repeated {
			t.Errorf("request %d: %s is forgotten although there is room for it: %v", i, k, err)
		}
	}
	if m.Evicted() != 0 || m.Len() != 3 {
		t.Errorf("%d evicted by repeats; %d are left", m.Evicted(), m.Len())
	}
	if _, repeated, _ := do(t, m, "d", "", &c); repeated || m.Len() != 3 || m.Evicted() != 1 {
		t.Errorf("%d keys, %d evicted", m.Len(), m.Evicted())
	}
	for k, want := range map[string]bool{"b": true, "c": true, "d": true} {
		if _, repeated, _ := do(t, m, k, "", &c); repeated != want {
			t.Errorf("%s is remembered: %v", k, repeated)
		}
	}
	if _, repeated, _ := do(t, m, "a", "", &c); repeated {
		t.Error("the oldest is still there")
	}
}

func TestFailuresDoNotPileUp(t *testing.T) {
	m := verb.NewMemo(0, 100)
	ok, bad := counter{}, counter{err: errors.New("no")}
	if _, _, err := do(t, m, "first", "", &ok); err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		if _, _, err := do(t, m, fmt.Sprint("k", i%1000), "", &bad); err == nil {
			t.Fatal("it did not fail")
		}
	}
	if n := m.Len(); n != 1 {
		t.Errorf("%d keys are remembered", n)
	}
	if n := verb.Kept(m); n > 300 {
		t.Errorf("%d records are kept for 1 remembered answer", n)
	}
	if _, repeated, _ := do(t, m, "first", "", &ok); !repeated {
		t.Error("the failures pushed a success out")
	}
}

func TestALargeAnswerIsNotRemembered(t *testing.T) {
	m := verb.NewMemo(0, 0)
	large := func() ([]byte, error) { return []byte(strings.Repeat("x", 5000)), nil }
	for range 2 {
		if got, repeated, err := m.Do(t.Context(), "k", nil, large); err != nil || repeated || len(got) != 5000 {
			t.Errorf("got %d bytes, %v, %v", len(got), repeated, err)
		}
	}
}

func TestAFullMemoKeepsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := verb.NewMemo(0, 2)
		begin := make(chan struct{})
		var first, again counter
		results := make(chan bool, 2)
		slow := func() {
			_, repeated, err := m.Do(t.Context(), "slow", nil, func() ([]byte, error) { <-begin; return first.run() })
			if err != nil {
				t.Error(err)
			}
			results <- repeated
		}
		go slow()
		synctest.Wait()
		for _, key := range []string{"a", "b", "c"} {
			if _, _, err := do(t, m, key, "", &again); err != nil {
				t.Fatal(err)
			}
		}
		go slow()
		synctest.Wait()
		close(begin)
		if one, two := <-results, <-results; one == two {
			t.Errorf("repeated: %v and %v, want one of each", one, two)
		}
		if m.Evicted() != 2 {
			t.Errorf("%d evicted, want a and b", m.Evicted())
		}
	})
}
