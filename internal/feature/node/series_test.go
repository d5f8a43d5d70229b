package node_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/node"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/latency"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
)

// world is a node in a bubble, in which its seconds pass at once.
type world struct {
	t       *testing.T
	links   *link.Server
	hub     *hub.Hub
	node    *node.Feature
	verbs   *verb.Registry
	commits latency.Histogram
	failed  atomic.Int64
	pushes  atomic.Int64
}

// inBubble runs a test with a node that begins at a whole second.
func inBubble(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, verbs: verb.NewRegistry(verb.NewMemo(0, 0), 4)}
		var err error
		if w.links, err = link.Start(link.Config{}); err != nil {
			t.Fatal(err)
		}
		defer w.links.Close()
		w.hub = hub.New(hub.Config{Encodings: []hub.Encoding{plain{}}, Shards: 1})
		defer w.hub.Close()
		sessions := session.NewServer(session.Config{Hub: w.hub, Clock: w.links})
		defer sessions.Close()
		w.node = node.New(node.Config{
			Hub: w.hub, Link: w.links, Sessions: sessions, Draining: func() bool { return false },
			Commits: &w.commits, HooksFailed: w.failed.Load, Pushes: w.pushes.Load,
		}, w.verbs)
		defer w.node.Close()
		test(w)
	})
}

// pass lets seconds pass, to just behind the last of them.
func (w *world) pass(seconds int) {
	<-time.After(time.Until(time.Now().Add(time.Duration(seconds) * time.Second).Truncate(time.Second).Add(time.Millisecond)))
	synctest.Wait()
}

// series asks for points.
func (w *world) series(params string) node.Series {
	w.t.Helper()
	raw, err := w.verbs.Run(w.t.Context(), "stats.series", []byte(params), "")
	if err != nil {
		w.t.Fatal(err)
	}
	var s node.Series
	if err := json.Unmarshal(raw, &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// A point has what happened in its second, and nothing of the seconds around it.
func TestAPointIsASecond(t *testing.T) {
	inBubble(t, func(w *world) {
		begin := time.Now().UnixMilli()
		c := &hub.Conn{ID: id.NewConnection()}
		w.hub.Add(c, nil, w.hub.Encoding(0), nil, auth.Identity{User: "ann"}, 1)
		w.links.Metrics().BytesIn.Add(10)
		w.links.Metrics().Queued.Store(4)
		w.hub.Metrics().Deliveries.Add(6)
		w.hub.Metrics().Refused.Add(1)
		w.commits.RecordN(2*time.Millisecond, 98)
		w.commits.RecordN(3*time.Second, 2)
		w.pass(1)
		w.links.Metrics().BytesIn.Add(1)
		w.links.Metrics().Queued.Store(0)
		w.failed.Add(2)
		w.pushes.Add(3)
		w.pass(1)
		w.failed.Store(0) // another backend has come, which counts anew
		w.pass(1)
		s := w.series(`{}`)
		if s.Step != 1000 || s.From != begin || s.Now != time.Now().UnixMilli() || len(s.Points) != 3 {
			t.Fatalf("got %d points from %d (not %d) by %d", len(s.Points), s.From, begin, s.Step)
		}
		first := s.Points[0]
		for _, timing := range []struct{ got, want float64 }{{first.Commit.P50, 0.002}, {first.Commit.P99, 3}} {
			if timing.got < timing.want*0.95 || timing.got > timing.want*1.05 {
				t.Errorf("%v s, not %v s", timing.got, timing.want)
			}
		}
		want := []node.Point{
			{Time: begin + 1000, Users: 1, Queued: 4, Counts: node.Counts{BytesIn: 10, MessagesOut: 6, Refused: 1}, Commit: node.Timing{Count: 100}},
			{Time: begin + 2000, Users: 1, Counts: node.Counts{BytesIn: 1, HooksFailed: 2, Pushes: 3}},
			{Time: begin + 3000, Users: 1},
		}
		for i := range s.Points {
			p := &s.Points[i]
			if p.Memory <= 0 || p.Goroutines < 2 {
				t.Errorf("%d bytes, %d goroutines", p.Memory, p.Goroutines)
			}
			p.Memory, p.Goroutines, p.Commit.P50, p.Commit.P99 = 0, 0, 0, 0
		}
		if diff := cmp.Diff(want, s.Points); diff != "" {
			t.Error(diff)
		}
	})
}

// At most the last 900 seconds are kept, and parts of them can be asked for.
func TestTheLastPointsAreKept(t *testing.T) {
	inBubble(t, func(w *world) {
		if s := w.series(`{}`); len(s.Points) != 0 || s.From == 0 {
			t.Errorf("at the start there are %d points from %d", len(s.Points), s.From)
		}
		begin := time.Now().UnixMilli()
		const seconds = 2*node.MaxPoints + 17
		for i := range seconds {
			w.links.Metrics().BytesIn.Add(int64(i))
			w.pass(1)
		}
		at := func(i int) int64 { return begin + int64(i)*1000 }
		check := func(params string, from int64, first int) {
			t.Helper()
			s := w.series(params)
			if s.From != from || len(s.Points) != seconds-first {
				t.Fatalf("%s gives %d points from %d, not %d from %d", params, len(s.Points), s.From-begin, seconds-first, from-begin)
			}
			for i, p := range s.Points {
				if p.Time != at(first+i+1) || p.BytesIn != int64(first+i) {
					t.Fatalf("%s: the point %d is of %d, with %d bytes", params, first+i, p.Time-begin, p.BytesIn)
				}
			}
		}
		now := time.Now().UnixMilli()
		check(`{}`, now-900_000, seconds-node.MaxPoints)
		check(fmt.Sprintf(`{"after":%d}`, at(seconds-3)), at(seconds-3), seconds-3)
		check(fmt.Sprintf(`{"after":%d}`, at(seconds-3)+1), at(seconds-3)+1, seconds-3)
		check(`{"seconds":10}`, now-10_000, seconds-10)
		check(fmt.Sprintf(`{"seconds":10,"after":%d}`, at(4)), now-10_000, seconds-10)
		check(fmt.Sprintf(`{"after":%d}`, now), now, seconds)
		check(fmt.Sprintf(`{"after":%d}`, now+60_000), now-900_000, seconds-node.MaxPoints) // the clock was set back
		for params, field := range map[string]string{`{"seconds":0}`: "seconds", `{"seconds":901}`: "seconds", `{"after":-1}`: "after"} {
			if _, err := w.verbs.Run(w.t.Context(), "stats.series", []byte(params), ""); err == nil || fault.Of(err).Field != field {
				t.Errorf("%s gives %v", params, err)
			}
		}
	})
}

// After Close nothing is measured, and what there is can be read.
func TestCloseEndsTheMeasuring(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pass(2)
		w.node.Close()
		w.pass(2)
		if s := w.series(`{}`); len(s.Points) != 2 {
			t.Errorf("%d points", len(s.Points))
		}
	})
}

func TestSettingsAreAList(t *testing.T) {
	inBubble(t, func(w *world) {
		raw, err := w.verbs.Run(w.t.Context(), "settings", nil, "")
		if err != nil || string(raw) != `{"settings":[]}` {
			t.Errorf("got %s, %v", raw, err)
		}
	})
}
