// Command store drives a store without a server and prints what it measured as
// JSON: what the library can do, in one process with who asks it.
//
// In the mode "fill" it appends a message to each channel, in "append" many
// goroutines append one message each at a time to channels at random, in "load"
// it appends many at a time and closes the store, in "read" it reads short pages
// at random. In "floor" no store is opened: it writes and syncs a file, so many
// bytes at a time.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/load"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/sqlite"
)

// result is what is printed.
type result struct {
	Seconds  float64 `json:"seconds"`
	Count    int64   `json:"count"`   // messages, reads or writes
	Commits  int64   `json:"commits"` // that succeeded
	Failed   int64   `json:"failed"`
	Each     float64 `json:"each"`     // messages of a commit, of a read
	Log      float64 `json:"log"`      // bytes that a commit wrote to the write-ahead log; 0: unknown
	Written  float64 `json:"written"`  // bytes that the process wrote for each commit, checkpoints included
	Sync     float64 `json:"sync_ms"`  // of a commit, until it was on disk
	Took     float64 `json:"took_ms"`  // of a commit
	P50      float64 `json:"p50_ms"`   // of an answer
	P99      float64 `json:"p99_ms"`   //
	CPU      float64 `json:"cpu"`      // cores that the process used
	Messages int64   `json:"messages"` // that the store says it keeps
	Channels int64   `json:"channels"` // that have some
}

// task is what is to be done.
type task struct {
	dir, database string
	mode          string
	channels      int
	messages      int
	workers       int
	group         int
	page          int
	keys          bool
	bytes         int
	warmup, span  time.Duration

	kept    store.Store
	meter   meter
	result  result
	begun   time.Time
	cpu     time.Duration
	written int64
	answers []*hdrhistogram.Histogram
	count   atomic.Int64
}

func main() {
	var t task
	flag.StringVar(&t.dir, "dir", "", "directory of the store")
	flag.StringVar(&t.database, "database", "", "URL of a PostgreSQL database that is used instead")
	flag.StringVar(&t.mode, "mode", "append", "fill, append, load, read or floor")
	flag.IntVar(&t.channels, "channels", 1, "channels")
	flag.IntVar(&t.messages, "messages", 0, "load: messages")
	flag.IntVar(&t.workers, "workers", 1, "goroutines")
	flag.IntVar(&t.group, "group", 1, "fill, load: messages of one call")
	flag.IntVar(&t.page, "page", 10, "read: messages of a page")
	flag.BoolVar(&t.keys, "keys", false, "append: with an idempotency key")
	flag.IntVar(&t.bytes, "bytes", 0, "floor: bytes of a write")
	flag.DurationVar(&t.warmup, "warmup", time.Second, "before measuring")
	flag.DurationVar(&t.span, "duration", 5*time.Second, "of measuring")
	profile := flag.String("profile", "", "write a CPU profile to this file")
	flag.Parse()
	err := t.main(context.Background(), *profile)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(t.result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func (t *task) main(ctx context.Context, profile string) error {
	if profile != "" {
		file, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if t.mode == "floor" {
		return t.floor()
	}
	if err := t.open(ctx); err != nil {
		return err
	}
	err := t.run(ctx)
	if closed := t.kept.Close(); err == nil {
		err = closed
	}
	return err
}

func (t *task) open(ctx context.Context) (err error) {
	t.meter.path = t.dir + "/skein.db-shm"
	options := store.Options{Observer: &t.meter}
	if t.database != "" {
		t.kept, err = postgres.Open(ctx, postgres.Config{URL: t.database, Options: options})
	} else {
		t.kept, err = sqlite.Open(ctx, sqlite.Config{Dir: t.dir, Options: options})
	}
	return err
}

func (t *task) run(ctx context.Context) error {
	for range t.workers {
		t.answers = append(t.answers, hdrhistogram.New(1, 60e6, 2))
	}
	var err error
	switch t.mode {
	case "fill", "load":
		err = t.whole(ctx)
	case "append":
		err = t.timed(ctx, t.appends)
	case "read":
		err = t.timed(ctx, t.reads)
	default:
		err = fmt.Errorf("there is no mode %q", t.mode)
	}
	if err != nil {
		return err
	}
	stats, err := t.kept.Stats(ctx)
	t.result.Messages, t.result.Channels = stats.Messages, stats.Channels
	return err
}

// mark begins what is measured.
func (t *task) mark() (err error) {
	for _, h := range t.answers {
		h.Reset() // the workers are still or do not mind
	}
	t.count.Store(0)
	t.meter.reset()
	if t.cpu, err = (load.Process{PID: os.Getpid()}).CPU(); err != nil {
		return err
	}
	t.begun = time.Now()
	t.written, err = written()
	return err
}

// measured ends it.
func (t *task) measured() error {
	r, took := &t.result, time.Since(t.begun)
	r.Seconds, r.Count = took.Seconds(), t.count.Load()
	t.meter.fill(r)
	cpu, err := (load.Process{PID: os.Getpid()}).CPU()
	if err != nil {
		return err
	}
	r.CPU = (cpu - t.cpu).Seconds() / took.Seconds()
	all, err := written()
	if err != nil {
		return err
	}
	if r.Commits > 0 {
		r.Written = float64(all-t.written) / float64(r.Commits)
	}
	return nil
}

// whole appends a number of messages, many in a call.
func (t *task) whole(ctx context.Context) error {
	total, next := t.messages, atomic.Int64{}
	if t.mode == "fill" {
		total = t.channels
	}
	if err := t.mark(); err != nil {
		return err
	}
	err := t.each(func(i int) error {
		w := newWriter(i)
		group := make([]store.Command, 0, t.group)
		for {
			end := int(next.Add(int64(t.group)))
			group = group[:0]
			for n := end - t.group; n < min(end, total); n++ {
				at := n
				if t.mode == "load" {
					at = rand.IntN(t.channels)
				}
				group = append(group, w.message(at, false))
			}
			if len(group) == 0 {
				return nil
			}
			if _, err := t.kept.Do(ctx, group...); err != nil {
				return err
			}
			t.count.Add(int64(len(group)))
		}
	})
	if err != nil {
		return err
	}
	return t.measured()
}

// each runs so many goroutines and waits for them.
func (t *task) each(work func(i int) error) error {
	failed := make([]error, t.workers)
	var wait sync.WaitGroup
	for i := range t.workers {
		wait.Go(func() { failed[i] = work(i) })
	}
	wait.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// timed lets goroutines do their work again and again for a while; a worker
// gives the number of things that it did.
func (t *task) timed(ctx context.Context, worker func(ctx context.Context, i int) func() (int, error)) error {
	var measuring, ended atomic.Bool
	done := make(chan error, 1)
	go func() {
		done <- t.each(func(i int) error {
			once := worker(ctx, i)
			for !ended.Load() {
				left := time.Now()
				n, err := once()
				if err != nil {
					return err
				}
				if measuring.Load() {
					_ = t.answers[i].RecordValue(max(1, time.Since(left).Microseconds())) // fails only beyond a minute
					t.count.Add(int64(n))
				}
			}
			return nil
		})
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(t.warmup):
	}
	if err := t.mark(); err != nil {
		return err
	}
	measuring.Store(true)
	select {
	case err := <-done:
		return err
	case <-time.After(t.span):
	}
	err := t.measured()
	measuring.Store(false)
	ended.Store(true)
	if failed := <-done; err == nil {
		err = failed
	}
	all := hdrhistogram.New(1, 60e6, 2)
	for _, h := range t.answers {
		all.Merge(h)
	}
	t.result.P50, t.result.P99 = float64(all.ValueAtQuantile(50))/1000, float64(all.ValueAtQuantile(99))/1000
	if t.mode == "read" {
		t.result.Each = float64(t.count.Load()) / float64(max(1, all.TotalCount()))
		t.result.Count = all.TotalCount()
	}
	return err
}

// appends appends one message to a channel at random.
func (t *task) appends(ctx context.Context, i int) func() (int, error) {
	w := newWriter(i)
	return func() (int, error) {
		_, err := t.kept.Do(ctx, w.message(rand.IntN(t.channels), t.keys))
		return 1, err
	}
}

// reads reads a page of messages after one at random.
func (t *task) reads(ctx context.Context, _ int) func() (int, error) {
	each := max(1, t.messages/t.channels-t.page)
	return func() (int, error) {
		page, err := t.kept.Read(ctx, store.Query{Channel: channel(rand.IntN(t.channels)), After: uint64(rand.IntN(each)), Limit: t.page})
		return len(page.Messages), err
	}
}

func channel(i int) string { return "log:channel-" + strconv.Itoa(i) }

// writer makes the messages of one connection.
type writer struct {
	sender protocol.Sender
	data   []byte
}

func newWriter(i int) *writer {
	return &writer{
		sender: protocol.Sender{User: "user-" + strconv.Itoa(i), Device: "device-" + strconv.Itoa(i), Connection: id.NewConnection().String()},
		data:   []byte(`"` + strings.Repeat("x", 126) + `"`), // 128 bytes of JSON
	}
}

// keyTTL is how long the server lets a key be remembered.
const keyTTL = 24 * time.Hour

func (w *writer) message(at int, keyed bool) store.Append {
	now := time.Now()
	a := store.Append{Channel: channel(at), ID: id.Message(now), Time: now.UnixMilli(), Event: "message", Data: w.data, Sender: w.sender}
	if keyed {
		key, content := id.NewConnection(), id.NewConnection() // 16 bytes at random, as digests are
		a.Key, a.Content, a.Expires = key[:], content[:], now.Add(keyTTL).UnixMilli()
	}
	return a
}
