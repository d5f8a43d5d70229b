package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

// documents measures what a patch costs: to carry out and store, and to deliver.
func documents(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp(b.disk, "skein-bench-documents-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := b.patches(ctx, filepath.Join(dir, "engine")); err != nil {
		return fmt.Errorf("patches: %w", err)
	}
	if err := b.patchFanout(ctx, filepath.Join(dir, "server")); err != nil {
		return fmt.Errorf("fan-out: %w", err)
	}
	return nil
}

// syncs adds up how long the store waited for the disk.
type syncs struct{ took, commits atomic.Int64 }

// Commit implements store.Observer.
func (s *syncs) Commit(_, _ int, _, sync time.Duration, _ error) {
	s.took.Add(int64(sync))
	s.commits.Add(1)
}

// Query implements store.Observer.
func (s *syncs) Query(string, time.Duration, error) {}

const patched = "doc:bench"

// patches measures patches of a document of 100 KB in this process: everything from
// the operations to the frame, but for the time in which the disk is waited for.
func (b *bench) patches(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	waited := &syncs{}
	kept, err := sqlite.Open(ctx, sqlite.Config{Dir: dir, Options: store.Options{Observer: waited}})
	if err != nil {
		return err
	}
	defer func() { _ = kept.Close() }()
	docs := document.New(document.Config{Limits: func() tree.Limits { return tree.Limits{Bytes: 1 << 20} }})
	h := hub.New(hub.Config{Behind: docs.Behind, Joined: docs.Joined})
	defer h.Close()
	docs.Start(h, kept)
	defer docs.Close()
	space := &hub.Space{Name: "doc", Kind: hub.KindDoc}
	h.SetSpaces([]*hub.Space{space})

	players := map[string]map[string]int{}
	for i := range 1000 {
		players["player-"+strconv.Itoa(i)] = map[string]int{"strength": i, "dexterity": i, "wisdom": i, "charisma": i, "points": i, "level": i, "gold": i}
	}
	value, err := json.Marshal(map[string]any{"players": players})
	if err != nil {
		return err
	}
	do := func(op tree.Op) error {
		_, err := docs.Do(ctx, &document.Patch{Channel: patched, Space: space, Ops: []tree.Op{op}})
		return err
	}
	if err := do(tree.Op{Kind: tree.Set, Value: value}); err != nil {
		return err
	}
	inc := func(i int) error {
		return do(tree.Op{Kind: tree.Inc, Path: tree.Path{"players", "player-" + strconv.Itoa(i%1000), "points"}, By: []byte("1")})
	}
	for i := range 200 {
		if err := inc(i); err != nil {
			return err
		}
	}
	n := pick(b, 10_000, 1_000)
	for _, callers := range []int{1, 64} {
		took, commits := waited.took.Load(), waited.commits.Load()
		begun := time.Now()
		if err := together(callers, n, inc); err != nil {
			return err
		}
		wall := time.Since(begun)
		took, commits = waited.took.Load()-took, waited.commits.Load()-commits
		b.report(line{Name: fmt.Sprintf("patch of a document of %d KB, %d at a time", len(value)/1000, callers), Unit: "µs", Budget: 50,
			Measured: float64((wall - time.Duration(took)).Microseconds()) / float64(n),
			Note:     fmt.Sprintf("without waiting for the disk, which takes %.0f µs a commit of %.1f patches; %.0f patches a second with it", float64(took)/float64(commits)/1e3, float64(n)/float64(commits), float64(n)/wall.Seconds())})
	}
	return nil
}

// together has do called n times by so many callers.
func together(callers, n int, do func(i int) error) error {
	var next atomic.Int64
	failed := make([]error, callers)
	var work sync.WaitGroup
	for c := range callers {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed[c] == nil; i = int(next.Add(1)) - 1 {
				failed[c] = do(i)
			}
		})
	}
	work.Wait()
	return errors.Join(failed...)
}

// patchFanout compares the delivery of patches with that of messages of a log
// channel: the same connections, frames of the same size, both stored.
func (b *bench) patchFanout(ctx context.Context, dir string) error {
	c, err := b.server("epoll", "-data", dir)
	if err != nil {
		return err
	}
	defer c.stop()
	const n = 1000
	token, err := b.tokens(n)
	if err != nil {
		return err
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "user-" + strconv.Itoa(i)
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	for _, channel := range []string{"log:fan", "doc:fan"} {
		if _, err := b.post(ctx, c, "members.add", fmt.Appendf(nil, `{"channel":%q,"users":%s}`, channel, list)); err != nil {
			return err
		}
	}
	crowd, err := newCrowd(ctx, c.url, n, token)
	if err != nil {
		return err
	}
	defer crowd.close()
	text := strings.Repeat("x", 100)
	type round struct{ doc, log float64 }
	r, err := middle(pick(b, 5, 1), func() (r round, err error) {
		if r.log, err = b.delivery(ctx, c, crowd, "documents-log", "publish", fmt.Appendf(nil, `{"to":{"channel":"log:fan"},"data":%q}`, text)); err == nil {
			r.doc, err = b.delivery(ctx, c, crowd, "documents-doc", "doc.patch", fmt.Appendf(nil, `{"channel":"doc:fan","ops":[{"op":"set","path":"/cursor","value":%q}]}`, text+strings.Repeat("x", 20)))
		}
		return r, err
	}, func(r round) float64 { return r.doc / r.log })
	if err != nil {
		return err
	}
	b.report(line{Name: fmt.Sprintf("delivery of a patch to %d subscribers", n), Unit: "µs", Measured: r.doc, Floor: r.log, MaxRatio: 1.2,
		Note: fmt.Sprintf("the floor is a message of a log channel of the same size, stored like it; %d connections ended", crowd.lost.Load())})
	return nil
}

// delivery measures the processor time of one delivery, in microseconds, when a verb is
// called again and again whose frame comes to all of a crowd.
func (b *bench) delivery(ctx context.Context, c *child, crowd *crowd, name, verb string, body []byte) (us float64, err error) {
	var times []time.Duration
	at := func() error {
		cpu, err := c.proc.CPU()
		times = append(times, cpu)
		return err
	}
	stop := b.recordWhile(ctx, c, name)
	delivered, _, err := crowd.broadcast(ctx, 1, pick(b, time.Second, 300*time.Millisecond), pick(b, 4*time.Second, 1500*time.Millisecond), func(ctx context.Context) error {
		_, err := b.post(ctx, c, verb, body)
		return err
	}, at)
	if err = errors.Join(err, stop()); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return float64((times[1] - times[0]).Microseconds()) / float64(max(1, delivered)), nil
}
