// Package health tells what is wrong with the server at this moment. It offers the verb
// problems.
//
// Each problem has a check, which is a small function. What is about the last minute is seen
// from counters that are looked at each second; so is what began when. Schedules and
// campaigns are looked up in the store when somebody asks, at most once a second.
//
// It keeps nothing but that, all of it bounded. One goroutine looks each second;
// [Feature.Close] ends it.
package health

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/latency"
	"github.com/skein-realtime/skein/internal/machine"
	"github.com/skein-realtime/skein/internal/verb"
)

// Severity is how bad a problem is.
type Severity string

// The severities, the worst first.
const (
	Error   Severity = "error"   // something is lost, or does not work
	Warning Severity = "warning" // it soon may be so
)

// The codes of problems.
const (
	StoreFailing      = "store_failing"
	StoreSlow         = "store_slow"
	HooksOpen         = "hooks_open"
	HooksDropping     = "hooks_dropping"
	MessagesDropped   = "messages_dropped"
	PublishersRefused = "publishers_refused"
	ConnectionsLost   = "connections_lost"
	ScheduleFailed    = "schedule_failed"
	CampaignFailing   = "campaign_failing"
	ConnectionsFull   = "connections_full"
	DescriptorsLow    = "descriptors_low"
	DiskLow           = "disk_low"
	AuditFailing      = "audit_failing"
	Draining          = "draining"
	Dev               = "dev"
)

// Codes are all of them. Of problems that are equally bad, those come first that are first
// here.
var Codes = [...]string{
	StoreFailing, DiskLow, AuditFailing, HooksOpen, HooksDropping, DescriptorsLow, ConnectionsFull, StoreSlow, MessagesDropped,
	PublishersRefused, ConnectionsLost, CampaignFailing, ScheduleFailed, Draining, Dev,
}

// Failing is a schedule or a campaign that fails.
type Failing struct {
	Name  string
	Since int64 // Unix milliseconds; 0: not known
	Error string
}

// Config of a [Feature]. A function that is nil is one whose problem there cannot be. Those without a
// context are called each second and must be quick.
type Config struct {
	// StoreFailing tells since when commits fail, and why.
	StoreFailing func() (since time.Time, reason string, failing bool)
	// Commits counts how long commits take. Nobody else takes from it.
	Commits *latency.Histogram
	// HooksOpen tells since when the backend is left alone, and why.
	HooksOpen func() (since time.Time, reason string, open bool)
	// HooksDropped counts events that the backend was not told.
	HooksDropped func() int64
	// Dropped counts messages that slow readers missed.
	Dropped func() int64
	// Refused counts publishers that waited in vain.
	Refused func() int64
	// Lost counts connections that were given up because they were silent or took nothing.
	Lost func() int64
	// Connections is how many there are, and MaxConnections how many there may be; 0: any number.
	Connections    func() int64
	MaxConnections func() int64
	// Data is the directory of the store; "": there is none.
	Data func() string
	// Schedules looks at the next limit schedules behind one, and tells which have failed in their
	// last run, and which was the last; "": there are no more.
	Schedules func(ctx context.Context, after string, limit int) (failing []Failing, last string, err error)
	// Campaigns tells which do not get on, among the newest limit.
	Campaigns func(ctx context.Context, limit int) ([]Failing, error)
	// Audit tells since when the audit log cannot be written.
	Audit func() (since time.Time, failing bool)
	// Draining tells that clients are sent away.
	Draining func() bool
	// Dev tells that the server is in development mode.
	Dev bool

	// Disk and Descriptors ask the machine. Nil: package machine does.
	Disk        func(path string) (free, total uint64, known bool)
	Descriptors func() (open, most uint64, known bool)
}

// Problem is one thing that is wrong.
type Problem struct {
	Code     string         `json:"code"`
	Severity Severity       `json:"severity" jsonschema:"error or warning"`
	Since    int64          `json:"since" jsonschema:"when it began, Unix milliseconds"`
	Text     string         `json:"text"`
	Values   map[string]any `json:"values" jsonschema:"what the text names"`

	of string // whose it is, where there can be several of a code
}

// Problems is the result of problems.
type Problems struct {
	Problems []Problem `json:"problems" jsonschema:"the worst first"`
}

// None is for verbs without params.
type None struct{}

// Feature knows what is wrong.
type Feature struct {
	cfg    Config
	work   sync.WaitGroup
	once   sync.Once
	ending chan struct{}

	looking sync.Mutex // held while the store is asked; guards what follows
	looked  time.Time  // when it was asked last
	place   string     // the schedule that was looked at last; "": all of them were

	mu        sync.Mutex                              // guards all below
	dropped   [len(counted)]window                    // by counted
	slow      slowness                                // of commits
	disk      struct{ free, total uint64 }            // total 0: not known
	files     struct{ open, most uint64 }             // most 0: not known
	schedules map[string]Failing                      // by name
	campaigns []Failing                               // as found last
	begun     map[struct{ code, of string }]time.Time // problems that were there when that was last looked at
}

// New registers the feature's verb and begins to look.
func New(cfg Config, r *verb.Registry) *Feature {
	cfg = cfg.withDefaults()
	f := &Feature{cfg: cfg, ending: make(chan struct{}), schedules: map[string]Failing{}, begun: map[struct{ code, of string }]time.Time{}}
	verb.Add(r, "problems", "Tells what is wrong with the server now.", f.problems)
	f.tick(time.Now(), true)
	f.work.Go(f.watch)
	return f
}

func (c Config) withDefaults() Config {
	never := func() (t time.Time, reason string, is bool) { return t, "", false }
	zero := func() int64 { return 0 }
	for _, fn := range []*func() int64{&c.HooksDropped, &c.Dropped, &c.Refused, &c.Lost, &c.Connections, &c.MaxConnections} {
		if *fn == nil {
			*fn = zero
		}
	}
	if c.StoreFailing == nil {
		c.StoreFailing = never
	}
	if c.HooksOpen == nil {
		c.HooksOpen = never
	}
	if c.Commits == nil {
		c.Commits = &latency.Histogram{}
	}
	if c.Data == nil {
		c.Data = func() string { return "" }
	}
	if c.Schedules == nil {
		c.Schedules = func(context.Context, string, int) ([]Failing, string, error) { return nil, "", nil }
	}
	if c.Campaigns == nil {
		c.Campaigns = func(context.Context, int) ([]Failing, error) { return nil, nil }
	}
	if c.Audit == nil {
		c.Audit = func() (t time.Time, is bool) { return t, false }
	}
	if c.Draining == nil {
		c.Draining = func() bool { return false }
	}
	if c.Disk == nil {
		c.Disk = machine.Disk
	}
	if c.Descriptors == nil {
		c.Descriptors = func() (open, most uint64, known bool) {
			most, _, known = machine.MaxDescriptors()
			if known {
				open, known = machine.Descriptors()
			}
			return open, most, known
		}
	}
	return c
}

// Close looks no more. The verb goes on with what is known.
func (f *Feature) Close() {
	f.once.Do(func() { close(f.ending) })
	f.work.Wait()
}

// askMachineEvery is how many seconds lie between two looks at what the machine has left.
const askMachineEvery = 5

// watch looks each second.
func (f *Feature) watch() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-ticker.C:
			f.tick(now, n%askMachineEvery == 0)
		case <-f.ending:
			return
		}
	}
}

// tick notes what was counted, and what is wrong since when.
func (f *Feature) tick(now time.Time, askMachine bool) {
	commits := f.cfg.Commits.Take()
	var counts [len(counted)]int64
	for i := range counted {
		counts[i] = counted[i](&f.cfg)()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range counts {
		f.dropped[i].add(counts[i])
	}
	f.slow.add(commits, now)
	if askMachine {
		f.askMachineLocked()
	}
	f.findLocked(now)
}

// askMachineLocked finds out what the machine has left.
func (f *Feature) askMachineLocked() {
	f.disk.free, f.disk.total = 0, 0
	if dir := f.cfg.Data(); dir != "" {
		if free, total, known := f.cfg.Disk(dir); known {
			f.disk.free, f.disk.total = free, total
		}
	}
	f.files.open, f.files.most = 0, 0
	if open, most, known := f.cfg.Descriptors(); known {
		f.files.open, f.files.most = open, most
	}
}

// findLocked gives what is wrong now, the worst first.
func (f *Feature) findLocked(now time.Time) []Problem {
	list := []Problem{}
	for _, check := range checks {
		list = append(list, check(f, now)...)
	}
	begun := make(map[struct{ code, of string }]time.Time, len(list))
	for i := range list {
		p := &list[i]
		if p.Values == nil {
			p.Values = map[string]any{}
		}
		key := struct{ code, of string }{p.Code, p.of}
		at, known := f.begun[key]
		if !known {
			at = now
		}
		begun[key] = at
		if p.Since == 0 {
			p.Since = at.UnixMilli()
		}
	}
	f.begun = begun
	slices.SortStableFunc(list, func(a, b Problem) int {
		if a.Severity != b.Severity {
			if a.Severity == Error {
				return -1
			}
			return 1
		}
		if a.Code != b.Code {
			return slices.Index(Codes[:], a.Code) - slices.Index(Codes[:], b.Code)
		}
		return int(max(-1, min(1, a.Since-b.Since)))
	})
	return list
}

func (f *Feature) problems(ctx context.Context, _ None) (Problems, error) {
	f.look(ctx)
	return Problems{f.now()}, nil
}

func (f *Feature) now() []Problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.findLocked(time.Now())
}

// Count tells how many problems with a code there are, for the metrics.
func (f *Feature) Count(code string) (n int64) {
	f.look(context.Background())
	for _, p := range f.now() {
		if p.Code == code {
			n++
		}
	}
	return n
}
