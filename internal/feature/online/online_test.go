package online_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/feature/online"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log keeps what was told.
type log struct {
	mu    sync.Mutex
	began time.Time
	lines []string
	slow  chan struct{} // not nil: each call waits for a value
}

func (l *log) told(word string) func(name string, there bool, at time.Time) {
	return func(name string, there bool, at time.Time) {
		if l.slow != nil {
			<-l.slow
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		sign := "-"
		if there {
			sign = "+"
		}
		l.lines = append(l.lines, fmt.Sprintf("%s%s%s %v", sign, word, name, at.Sub(l.began)))
	}
}

// take gives what was told since the last call.
func (l *log) take() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// begin gives an Online that tells a log. It is closed with the test.
func begin(t *testing.T, cfg online.Config) (*online.Online, *log) {
	t.Helper()
	l := &log{began: time.Now()}
	cfg.User, cfg.Channel = l.told(""), l.told("#")
	o := online.New(cfg)
	t.Cleanup(o.Close)
	return o, l
}

func expect(t *testing.T, l *log, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, l.take()); diff != "" {
		t.Errorf("what was told (-want +got):\n%s", diff)
	}
}

func TestOnlineIsToldAtOnceAndOfflineAfterTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, l := begin(t, online.Config{})
		o.UserChanged("ann", true)
		o.ChannelChanged("room:1", true)
		expect(t, l, "+ann 0s", "+#room:1 0s")
		time.Sleep(time.Minute)
		o.UserChanged("ann", false)
		time.Sleep(time.Second)
		o.ChannelChanged("room:1", false)
		time.Sleep(1999 * time.Millisecond)
		expect(t, l)
		time.Sleep(time.Millisecond)
		expect(t, l, "-ann 1m0s")
		o.UserChanged("ann", true)
		expect(t, l, "+ann 1m3s")
		time.Sleep(time.Second)
		expect(t, l, "-#room:1 1m1s")
	})
}

func TestWhoComesBackInTimeWasNeverAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, l := begin(t, online.Config{Grace: 10 * time.Second})
		o.UserChanged("ann", true)
		o.UserChanged("bob", true)
		expect(t, l, "+ann 0s", "+bob 0s")
		for range 5 {
			o.UserChanged("ann", false)
			time.Sleep(9 * time.Second)
			o.UserChanged("ann", true)
			time.Sleep(time.Second)
		}
		expect(t, l)
		if m := o.Metrics(); m.Returned.Load() != 5 || m.Leaving.Load() != 0 {
			t.Errorf("%d returned, %d are leaving", m.Returned.Load(), m.Leaving.Load())
		}
		o.UserChanged("ann", false)
		o.ChannelChanged("ann", true) // a channel is not a user
		time.Sleep(10 * time.Second)
		expect(t, l, "+#ann 50s", "-ann 50s")
	})
}

func TestWithoutGraceOfflineIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, l := begin(t, online.Config{Grace: -1})
		o.UserChanged("ann", true)
		expect(t, l, "+ann 0s")
		o.UserChanged("ann", false)
		expect(t, l, "-ann 0s")
	})
}

func TestWhatNobodyWantsToKnowIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := online.New(online.Config{})
		defer o.Close()
		o.UserChanged("ann", true)
		o.ChannelChanged("room:1", true)
		o.UserChanged("ann", false)
		if m := o.Metrics(); m.Waiting.Load() != 0 || m.Leaving.Load() != 0 {
			t.Errorf("%d are waiting, %d leaving", m.Waiting.Load(), m.Leaving.Load())
		}
	})
}

func TestASlowListenerLearnsTheLatestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{began: time.Now(), slow: make(chan struct{})}
		o := online.New(online.Config{User: l.told(""), Grace: -1})
		defer o.Close()
		o.UserChanged("first", true)
		synctest.Wait() // it is being told now
		for range 1000 {
			o.UserChanged("ann", true)
			o.UserChanged("bob", true)
			o.UserChanged("ann", false)
			o.UserChanged("bob", false)
		}
		o.UserChanged("ann", true)
		o.UserChanged("first", false)
		o.UserChanged("cid", true)
		m := o.Metrics()
		if m.Waiting.Load() != 3 || m.Coalesced.Load() != 2000 {
			t.Errorf("%d are waiting, %d pairs were left out", m.Waiting.Load(), m.Coalesced.Load())
		}
		close(l.slow)
		expect(t, l, "+first 0s", "+ann 0s", "-first 0s", "+cid 0s")
		if m.Waiting.Load() != 0 || m.Told.Load() != 4 {
			t.Errorf("%d are waiting, %d told", m.Waiting.Load(), m.Told.Load())
		}
	})
}

func TestAHundredThousandMayLeaveAtOnce(t *testing.T) {
	const users = 100_000
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		there := map[string]bool{}
		var order []string
		o := online.New(online.Config{User: func(user string, is bool, _ time.Time) {
			mu.Lock()
			defer mu.Unlock()
			if there[user] == is {
				t.Errorf("%s is told twice to be %v", user, is)
			}
			if there[user] = is; !is {
				order = append(order, user)
				delete(there, user)
			}
		}})
		defer o.Close()
		names := make([]string, users)
		for i := range names {
			names[i] = fmt.Sprint("user-", i)
			o.UserChanged(names[i], true)
		}
		synctest.Wait()
		if n := o.Metrics().Waiting.Load() + o.Metrics().Leaving.Load(); n != 0 || len(there) != users {
			t.Errorf("%d are kept while %d are simply online", n, len(there))
		}
		for _, name := range names {
			o.UserChanged(name, false)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if !slices.Equal(order, names) {
			t.Errorf("%d of %d are told to be offline, or in another order", len(order), users)
		}
	})
}

func TestNothingIsKeptOfWhoIsSimplyOnline(t *testing.T) {
	const users = 100_000
	names := make([]string, users)
	for i := range names {
		names[i] = fmt.Sprint("user-", i)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	synctest.Test(t, func(t *testing.T) {
		o := online.New(online.Config{User: func(string, bool, time.Time) {}})
		defer o.Close()
		all := func(there bool) {
			for _, name := range names {
				o.UserChanged(name, there)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		before := heap()
		all(true)
		online := heap()
		all(false)
		if offline := heap(); online > before+1<<20 || offline > before+1<<20 {
			t.Errorf("the heap has %d bytes, %d while %d users are online, %d when they have gone", before, online, users, offline)
		}
	})
}

func TestNothingIsToldAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{began: time.Now()}
		o := online.New(online.Config{User: l.told("")})
		o.UserChanged("ann", true)
		expect(t, l, "+ann 0s")
		o.UserChanged("ann", false)
		o.Close()
		o.UserChanged("bob", true)
		time.Sleep(time.Minute)
		expect(t, l)
		o.Close()
	})
}

func TestCloseWaitsForTheCallThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &log{began: time.Now(), slow: make(chan struct{})}
		o := online.New(online.Config{User: l.told("")})
		o.UserChanged("ann", true)
		o.UserChanged("bob", true)
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			o.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("it did not wait")
		default:
		}
		close(l.slow)
		<-closed
		expect(t, l, "+ann 0s")
	})
}

// However people come and go, and however slow the listener is: events of a name
// alternate, and when all is quiet the last one is what is the case.
func TestEventsAlternateAndEndWithWhatIsTheCase(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // rapid stops a run by a panic, which has to get out of the bubble
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			names := []string{"ann", "bob", "cid"}
			grace := rapid.SampledFrom([]time.Duration{-1, time.Second, 3 * time.Second}).Draw(rt, "grace")
			delay := time.Duration(rapid.SampledFrom([]int{0, 0, 700, 5000}).Draw(rt, "slow")) * time.Millisecond
			var mu sync.Mutex // guards the maps
			is := map[string]bool{}
			left := map[string]time.Time{}
			told := map[string]bool{}
			listen := func(kind string) func(string, bool, time.Time) {
				return func(name string, there bool, at time.Time) {
					defer time.Sleep(delay)
					mu.Lock()
					defer mu.Unlock()
					name = kind + name
					if told[name] == there {
						rt.Errorf("%s is told twice to be %v", name, there)
					}
					if !there && time.Since(at) < grace {
						rt.Errorf("%s is told to be gone after %v", name, time.Since(at))
					}
					if delay == 0 && !there && is[name] && time.Since(left[name]) < grace {
						rt.Errorf("%s is told to be gone and has come back in time", name)
					}
					told[name] = there
				}
			}
			o := online.New(online.Config{Grace: grace, User: listen("u "), Channel: listen("c ")})
			defer o.Close()
			for range rapid.IntRange(1, 60).Draw(rt, "steps") {
				kind, change := "u ", o.UserChanged
				if rapid.Bool().Draw(rt, "channel") {
					kind, change = "c ", o.ChannelChanged
				}
				name := rapid.SampledFrom(names).Draw(rt, "name")
				mu.Lock()
				there := !is[kind+name]
				is[kind+name], left[kind+name] = there, time.Now()
				mu.Unlock()
				change(name, there)
				if synctest.Wait(); delay == 0 && there {
					mu.Lock()
					if !told[kind+name] {
						rt.Errorf("%s was not told at once", name)
					}
					mu.Unlock()
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "ms")) * time.Millisecond)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			for name, there := range is {
				if told[name] != there {
					rt.Errorf("%s is there: %v, told %v", name, there, told[name])
				}
			}
			if m := o.Metrics(); m.Waiting.Load() != 0 || m.Leaving.Load() != 0 {
				rt.Errorf("%d are waiting and %d leaving when all is quiet", m.Waiting.Load(), m.Leaving.Load())
			}
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func BenchmarkComeAndGo(b *testing.B) {
	o := online.New(online.Config{User: func(string, bool, time.Time) {}})
	defer o.Close()
	o.UserChanged("ann", true)
	b.ReportAllocs()
	for b.Loop() {
		o.UserChanged("ann", false)
		o.UserChanged("ann", true)
	}
}

func TestWhoIsInTheGraceTimeIsLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, l := begin(t, online.Config{})
		is := func(want bool, when string) {
			t.Helper()
			if o.Leaving("ann") != want || o.Leaving("bob") {
				t.Errorf("%s: ann is leaving: %t, bob: %t", when, o.Leaving("ann"), o.Leaving("bob"))
			}
		}
		is(false, "before she was here")
		o.UserChanged("ann", true)
		o.ChannelChanged("bob", true)
		o.ChannelChanged("bob", false) // a channel of that name is no user
		is(false, "here")
		o.UserChanged("ann", false)
		is(true, "gone")
		o.UserChanged("ann", true)
		is(false, "back")
		o.UserChanged("ann", false)
		time.Sleep(2 * time.Second)
		is(true, "gone again")
		time.Sleep(2 * time.Second)
		is(false, "gone for good")
		l.take()
	})
}
