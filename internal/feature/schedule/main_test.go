package schedule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // the zones, wherever the tests run

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/schedule"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store, with nodes that run schedules from it. In a bubble of
// synctest its time is the bubble's.
type world struct {
	*testing.T
	store  *sqlite.Store
	counts counts
	// off is how far the clocks of the nodes are from the right time.
	off atomic.Int64

	mu       sync.Mutex
	notes    []note // what the verbs note and keep were called with, in order
	occupied map[string]bool
	fail     error // what note answers
}

// note is one call of a verb by a schedule.
type note struct {
	node, key, caller string
	params            string
	at                time.Time
}

// counts is what a store was asked for.
type counts struct {
	commits, commands, reads atomic.Int64
}

func (c *counts) Commit(_, commands int, _, _ time.Duration, _ error) {
	c.commits.Add(1)
	c.commands.Add(int64(commands))
}

func (c *counts) Query(string, time.Duration, error) { c.reads.Add(1) }

func open(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, occupied: map[string]bool{}}
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Relaxed: true, Options: store.Options{Observer: &w.counts}})
	if err != nil {
		t.Fatal(err)
	}
	w.store = st
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// node is one node of a world.
type node struct {
	*schedule.Feature
	w     *world
	name  string
	verbs *verb.Registry
}

// noteParams are the params of the test verbs.
type noteParams struct {
	Text string `json:"text,omitempty"`
	Take string `json:"take,omitempty"` // how long it takes
	Size int    `json:"size,omitempty"` // of the result
}

type noteResult struct {
	Said string `json:"said"`
}

// node starts a node.
func (w *world) node(name string, shared bool) *node {
	w.Helper()
	n := w.idle(name, nil)
	n.Start(w.store, shared)
	n.Begin()
	w.Cleanup(n.Close)
	return n
}

// idle makes a node that is not started.
func (w *world) idle(name string, change func(*schedule.Config)) *node {
	n := &node{w: w, name: name, verbs: verb.NewRegistry(verb.NewMemo(0, 0), 16)}
	verb.Add(n.verbs, "note", "Notes that it was called.", n.note, verb.Keyed)
	verb.Add(n.verbs, "plain", "As note, without keys.", n.note)
	verb.Add(n.verbs, "panic", "Panics.", func(context.Context, struct{}) (struct{}, error) { panic("broken") })
	cfg := schedule.Config{
		Verbs: n.verbs, Node: name, Logger: slog.New(slog.DiscardHandler),
		Occupied: func(channel string) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.occupied[channel] || w.occupied[name+"/"+channel]
		},
		Now: func() time.Time { return time.Now().Add(time.Duration(w.off.Load())) },
	}
	if change != nil {
		change(&cfg)
	}
	n.Feature = schedule.New(cfg)
	return n
}

func (n *node) note(ctx context.Context, p noteParams) (noteResult, error) {
	w := n.w
	_, key, _ := strings.Cut(verb.KeyOf(ctx), "\x00")
	_, key, _ = strings.Cut(key, "\x00")
	w.mu.Lock()
	w.notes = append(w.notes, note{n.name, key, verb.CallerOf(ctx).Name, p.Text, time.Now()})
	fail := w.fail
	w.mu.Unlock()
	if p.Take != "" {
		d, err := time.ParseDuration(p.Take)
		if err != nil {
			return noteResult{}, err
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return noteResult{}, ctx.Err()
		}
	}
	return noteResult{p.Text + strings.Repeat("x", p.Size)}, fail
}

// pass lets time pass in a bubble, and everything happen that follows from that.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// bubble runs a test in a bubble of synctest, which begins at 2000-01-01 00:00 UTC.
func bubble(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(open(t)) })
}

// taken gives the notes so far and forgets them.
func (w *world) taken() []note {
	w.mu.Lock()
	defer w.mu.Unlock()
	notes := w.notes
	w.notes = nil
	return notes
}

// times gives when the verbs were called so far, as seconds since a time.
func (w *world) times(since time.Time) (list []float64) {
	for _, n := range w.taken() {
		list = append(list, float64(n.at.Sub(since).Milliseconds())/1000)
	}
	return list
}

func (w *world) setOccupied(channel string, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.occupied[channel] = on
}

func (w *world) setFail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// try runs a verb; a failure is given as its text.
func (n *node) try(name, params string) (schedule.Schedule, string) {
	n.w.Helper()
	var s schedule.Schedule
	raw, err := n.verbs.Run(n.w.Context(), "schedules."+name, []byte(params), "")
	if err != nil {
		return s, fault.Of(err).Error()
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		n.w.Fatalf("%s: %v", raw, err)
	}
	return s, ""
}

// must runs a verb that must not fail.
func (n *node) must(name, params string, args ...any) schedule.Schedule {
	n.w.Helper()
	s, failed := n.try(name, fmt.Sprintf(params, args...))
	if failed != "" {
		n.w.Fatalf("%s: %s", name, failed)
	}
	return s
}

func (n *node) get(name string) schedule.Schedule {
	n.w.Helper()
	return n.must("get", `{"name":%q}`, name)
}
