package schedule_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/feature/schedule"
	"github.com/skein-realtime/skein/store"
)

func TestEachPlannedTimeRunsOnceOnAllNodes(t *testing.T) {
	bubble(t, func(w *world) {
		nodes := []*node{w.node("a", true), w.node("b", true), w.node("c", true)}
		start := time.Now()
		for i, when := range []string{`"every":"100ms"`, `"every":"7s"`, `"every":"90s"`, `"cron":"*/20 * * * * *"`, `"cron":"* * * * *","jitter":"20s"`} {
			for k := range 4 {
				nodes[k%3].must("put", `{"name":"s%d-%d",%s,"start":"","verb":"note"}`, i, k, when)
			}
		}
		w.pass(10*time.Minute + 30*time.Second)
		times, by := map[string]int{}, map[string]int{}
		per := map[string]int{}
		for _, x := range w.taken() {
			times[x.key]++
			by[x.node]++
			per[x.caller]++
		}
		for key, n := range times {
			if n != 1 {
				w.Errorf("%s ran %d times", key, n)
			}
		}
		want := map[string]int{}
		for k := range 4 {
			want[fmt.Sprintf("schedule:s0-%d", k)] = 6300
			want[fmt.Sprintf("schedule:s1-%d", k)] = 90
			want[fmt.Sprintf("schedule:s2-%d", k)] = 7
			want[fmt.Sprintf("schedule:s3-%d", k)] = 31
			want[fmt.Sprintf("schedule:s4-%d", k)] = 10
		}
		if diff := cmp.Diff(want, per); diff != "" {
			w.Errorf("%s\nfrom %s", diff, start)
		}
		if len(by) < 2 {
			w.Errorf("all work was done by %v", slices.Collect(maps.Keys(by)))
		}
	})
}

func TestAnotherNodeTakesOverWhenOneDies(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node("a", true)
		start := time.Now()
		first.must("put", `{"name":"long","at":%q,"verb":"note","params":{"take":"50s"}}`, rfc(start.Add(time.Second)))
		first.must("put", `{"name":"fast","every":"5s","verb":"note"}`)
		w.pass(12 * time.Second)
		second := w.node("b", true)
		w.pass(time.Second)
		var before []string
		for _, x := range w.taken() {
			before = append(before, x.key)
		}
		if len(before) != 3 {
			w.Errorf("before the crash ran %v", before)
		}
		first.Crash()
		w.pass(80 * time.Second)
		var long []note
		var fast []float64
		for _, x := range w.taken() {
			if x.node != "b" {
				w.Errorf("%s ran something", x.node)
			}
			if x.caller == "schedule:long" {
				long = append(long, x)
			} else {
				fast = append(fast, x.at.Sub(start).Seconds())
			}
		}
		// The first ran at 1 s and was never finished: its claim had to run out.
		if len(long) != 1 || long[0].key != before[0] || long[0].at.Sub(start) < 30*time.Second || long[0].at.Sub(start) > 34*time.Second {
			w.Errorf("%v ran again as %v", before[0], long)
		}
		// The claim of the other was of 5 s. Its newest missed time is made up, then it goes on.
		if len(fast) != 12 || fast[0] < 35 || fast[0] > 37 || fast[len(fast)-1] != 90 {
			w.Errorf("the fast one ran at %v", fast)
		}
		if s := second.get("long"); s.Runs != 1 || s.State != "done" || !s.Last.OK {
			w.Errorf("got %+v", s)
		}
	})
}

func TestAServerThatWasKilledGoesOnAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node("a", false)
		start := time.Now()
		first.must("put", `{"name":"fast","every":"5s","verb":"note"}`)
		first.must("put", `{"name":"long","every":"1h","start":%q,"verb":"note","params":{"take":"30s"}}`, rfc(start.Add(11*time.Second)))
		w.pass(12 * time.Second)
		first.Crash()
		w.taken()
		w.node("a", false)
		w.pass(4 * time.Second)
		var got []string
		for _, x := range w.taken() {
			got = append(got, fmt.Sprintf("%s at %v", x.key, x.at.Sub(start).Seconds()))
		}
		slices.Sort(got)
		want := []string{
			"fast@2000-01-01T00:00:10.000Z at 12", // it had run, but that was not written yet: the same key again
			"fast@2000-01-01T00:00:15.000Z at 15", "long@2000-01-01T00:00:11.000Z at 12",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Error(diff)
		}
	})
}

func TestANodeThatClosesHandsOver(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node("a", true)
		start := time.Now()
		first.must("put", `{"name":"fast","every":"1s","verb":"note"}`)
		first.must("put", `{"name":"long","every":"3s","verb":"note","params":{"take":"2s"}}`)
		w.pass(4 * time.Second)
		first.Close() // waits for the long one
		if closed := time.Since(start); closed != 5*time.Second {
			w.Errorf("closed after %s", closed)
		}
		if _, failed := first.try("get", `{"name":"fast"}`); failed != "unavailable: the server is shutting down" {
			w.Errorf("got %s", failed)
		}
		second := w.node("b", true)
		if s := second.get("long"); s.Runs != 1 || !s.Last.OK || s.Next != ms(start.Add(6*time.Second)) {
			w.Errorf("got %+v", s)
		}
		w.pass(3 * time.Second)
		var fast []float64
		for _, x := range w.taken() {
			if x.caller == "schedule:fast" {
				fast = append(fast, x.at.Sub(start).Seconds())
			}
		}
		w.same("the fast one", []float64{1, 2, 3, 4, 5, 6, 7, 8}, fast)
		if s := second.get("fast"); s.Skipped.Misfire != 0 {
			w.Errorf("got %+v", s)
		}
	})
}

func TestAVerbThatDoesNotEndIsCutOffOnClose(t *testing.T) {
	bubble(t, func(w *world) {
		n := w.node("a", false)
		start := time.Now()
		n.must("put", `{"name":"x","every":"10s","verb":"note","params":{"take":"59s"}}`)
		w.pass(10 * time.Second)
		n.Close()
		if closed := time.Since(start); closed != 15*time.Second {
			w.Errorf("closed after %s", closed)
		}
		n.Close()
		if s := w.node("b", false).get("x"); s.Runs != 1 || s.Failures != 1 {
			w.Errorf("got %+v", s)
		}
	})
}

func TestRunsThatWaitedForAWorkerAreLeftToOthers(t *testing.T) {
	bubble(t, func(w *world) {
		first := w.node("a", true)
		start := time.Now()
		const schedules = 40
		for i := range schedules {
			first.must("put", `{"name":"s%02d","at":%q,"verb":"note","params":{"take":"3s"}}`, i, rfc(start.Add(time.Second)))
		}
		w.pass(2 * time.Second)
		first.Close()
		if ran := len(w.taken()); ran != schedule.Workers {
			w.Errorf("%d ran", ran)
		}
		w.node("b", true)
		w.pass(10 * time.Second)
		if ran := len(w.taken()); ran != schedules-schedule.Workers {
			w.Errorf("%d ran on the other node", ran)
		}
	})
}

func TestAChangeOnAnotherNodeIsSeen(t *testing.T) {
	bubble(t, func(w *world) {
		one, two := w.node("a", true), w.node("b", true)
		one.must("put", `{"name":"x","every":"1s","verb":"note","params":{"text":"old"}}`)
		w.pass(5500 * time.Millisecond)
		holder, other := one, two
		if one.Metrics().Held.Load() == 0 {
			holder, other = two, one
		}
		w.taken()
		s := other.must("put", `{"name":"x","every":"1s","verb":"note","params":{"text":"new"}}`)
		if s.Next != ms(time.Now().Add(500*time.Millisecond)) {
			w.Errorf("got %+v", s)
		}
		w.pass(6 * time.Second)
		texts := map[string]int{}
		keys := map[string]int{}
		for _, x := range w.taken() {
			texts[x.params]++
			keys[x.key]++
		}
		// Up to two seconds the holder does not know; then only the new one runs.
		if texts["old"] > 2 || texts["new"] < 5 || len(keys) != 6 {
			w.Errorf("%v ran, %v", texts, keys)
		}
		if lost := holder.Metrics().Lost.Load(); lost == 0 {
			w.Error("the holder did not notice")
		}
		other.must("delete", `{"name":"x"}`)
		w.pass(3 * time.Second)
		w.taken()
		w.pass(time.Minute)
		if ran := w.taken(); len(ran) > 0 {
			w.Errorf("deleted, it ran %d times", len(ran))
		}
	})
}

func TestTheNodeWithSubscribersRunsWhatIsForThem(t *testing.T) {
	for _, every := range []string{"500ms", "5s", "2m"} {
		t.Run(every, func(t *testing.T) {
			bubble(t, func(w *world) {
				a := w.node("a", true)
				w.node("b", true)
				w.node("c", true)
				start := time.Now()
				a.must("put", `{"name":"x","every":%q,"verb":"note","while_occupied":"tick:x"}`, every)
				before := w.counts.commands.Load()
				w.pass(10 * time.Minute)
				if ran := w.taken(); len(ran) > 0 {
					w.Errorf("vacant, it ran %d times", len(ran))
				}
				if writes := w.counts.commands.Load() - before; writes > 700 {
					w.Errorf("%d writes in ten minutes", writes)
				}
				w.setOccupied("b/tick:x", true)
				w.pass(10*time.Minute + 30*time.Second)
				interval, err := time.ParseDuration(every)
				if err != nil {
					w.Fatal(err)
				}
				ran := w.taken()
				if len(ran) == 0 || ran[0].at.Sub(start.Add(10*time.Minute)) > interval+10*time.Second {
					w.Fatalf("the first run was %v", ran)
				}
				seen := map[string]bool{}
				for i, x := range ran {
					if x.node != "b" || seen[x.key] {
						w.Errorf("%s ran on %s", x.key, x.node)
					}
					seen[x.key] = true
					if gap := x.at.Sub(ran[max(0, i-1)].at); gap > interval+3*time.Second {
						w.Errorf("%s came %s after the one before", x.key, gap)
					}
				}
				if want := int((10*time.Minute+30*time.Second)/interval) - int(10*time.Second/interval) - 1; len(ran) < want {
					w.Errorf("%d runs, want %d or more", len(ran), want)
				}
			})
		})
	}
}

func TestARecordThatCannotBeReadIsLeftAlone(t *testing.T) {
	bubble(t, func(w *world) {
		now := ms(time.Now())
		for name, plan := range map[string]string{
			"broken": `{`, "zone": `{"cron":"* * * * *","zone":"Atlantis/Capital","verb":"note","enabled":true}`,
		} {
			if _, err := w.store.Do(w.Context(), store.PutSchedule{Schedule: store.Schedule{Name: name, Plan: []byte(plan), Next: now}}); err != nil {
				w.Fatal(err)
			}
		}
		n := w.node("a", false)
		n.must("put", `{"name":"good","every":"1s","verb":"note"}`)
		w.pass(10 * time.Minute)
		if ran := len(w.taken()); ran != 600 {
			w.Errorf("%d runs of the good one", ran)
		}
		if claims := n.Metrics().Claims.Load(); claims > 43 {
			w.Errorf("%d claims", claims)
		}
		if _, failed := n.try("get", `{"name":"broken"}`); failed != `internal: the schedule "broken" cannot be read: unexpected end of JSON input` {
			w.Errorf("got %s", failed)
		}
		n.must("delete", `{"name":"broken"}`)
	})
}

// Nodes come, close and die at random; what is made up in full is never lost.
func TestNoPlannedTimeIsLostHoweverNodesEnd(t *testing.T) {
	for seed := range uint64(30) {
		bubble(t, func(w *world) {
			random := rand.New(rand.NewPCG(seed, 1))
			start := time.Now()
			nodes := []*node{w.node("0", true)}
			nodes[0].must("put", `{"name":"fast","every":"10s","verb":"note","misfire":{"all":100}}`)
			nodes[0].must("put", `{"name":"slow","every":"61s","verb":"note","params":{"take":"10s"},"misfire":{"all":100},"overlap":"queue","jitter":"5s"}`)
			for i := range 40 {
				switch random.IntN(4) {
				case 0:
					nodes = append(nodes, w.node(fmt.Sprint(i), true))
				case 1, 2:
					if len(nodes) > 0 {
						if n := nodes[0]; random.IntN(2) == 0 {
							n.Crash()
						} else {
							n.Close()
						}
						nodes = nodes[1:]
					}
				}
				w.pass(time.Duration(random.IntN(25_000)) * time.Millisecond)
			}
			last := w.node("last", true)
			w.pass(3 * time.Minute)
			end := time.Now()
			ran := map[string]bool{}
			for _, x := range w.taken() {
				name, planned, _ := strings.Cut(x.key, "@")
				p, err := time.Parse(time.RFC3339, planned)
				if err != nil || x.at.Before(p) || name != "fast" && name != "slow" {
					w.Errorf("seed %d: %s ran at %s: %v", seed, x.key, x.at, err)
				}
				ran[x.key] = true
			}
			for name, every := range map[string]time.Duration{"fast": 10 * time.Second, "slow": 61 * time.Second} {
				for p := start.Add(every); p.Before(end.Add(-30 * time.Second)); p = p.Add(every) {
					if key := name + "@" + p.UTC().Format("2006-01-02T15:04:05.000Z"); !ran[key] {
						w.Errorf("seed %d: %s did not run", seed, key)
					}
				}
			}
			if s := last.get("fast"); s.Skipped.Misfire > 0 {
				w.Errorf("seed %d: got %+v", seed, s)
			}
		})
	}
}
