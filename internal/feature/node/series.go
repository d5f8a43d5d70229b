package node

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/latency"
)

// MaxPoints is how many seconds are kept.
const MaxPoints = 900

const (
	step = time.Second
	// A second that is measured so much later than the one before was not measured on
	// time: the machine slept, or the clock was set.
	stepAtMost, stepAtLeast = 3 * step / 2, step / 2
)

// Point is what the server did in a second.
type Point struct {
	Time        int64  `json:"time" jsonschema:"the end of the second, Unix milliseconds"`
	Connections Kinds  `json:"connections"`
	Users       int    `json:"users"`
	Channels    int    `json:"channels"`
	Counts             // of the second
	Queued      int64  `json:"queued" jsonschema:"bytes that wait for slow connections"`
	Delivery    Timing `json:"delivery" jsonschema:"from a message's being accepted to its having been handed to the last connection; once for each part of the connections that has readers; of many messages of a channel some stand for the others"`
	Commit      Timing `json:"commit" jsonschema:"commits of the store"`
	Memory      int64  `json:"memory" jsonschema:"bytes of heap in use"`
	Goroutines  int    `json:"goroutines"`
}

// Counts are what only grows, here by so much.
type Counts struct {
	MessagesIn  int64 `json:"messages_in" jsonschema:"frames of clients, over every transport"`
	Published   int64 `json:"published" jsonschema:"messages accepted for fan-out"`
	MessagesOut int64 `json:"messages_out" jsonschema:"messages handed to connections"`
	Dropped     int64 `json:"dropped" jsonschema:"messages that slow readers missed"`
	Refused     int64 `json:"refused" jsonschema:"publishers that waited in vain"`
	Paced       int64 `json:"paced" jsonschema:"publishers that had to wait"`
	BytesIn     int64 `json:"bytes_in"`
	BytesOut    int64 `json:"bytes_out"`
	HooksFailed int64 `json:"hooks_failed" jsonschema:"requests to the backend"`
	Pushes      int64 `json:"pushes" jsonschema:"deliveries of pushes that were taken in"`
}

// Timing is how long things took, in seconds; zeros when there were none.
type Timing struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Count int64   `json:"count"`
}

func timing(s latency.Summary) Timing {
	return Timing{P50: s.P50.Seconds(), P99: s.P99.Seconds(), Count: s.Count}
}

// SeriesParams are the params of stats.series.
type SeriesParams struct {
	After   int64 `json:"after,omitempty" jsonschema:"only points after this time, Unix milliseconds"`
	Seconds *int  `json:"seconds,omitempty" jsonschema:"only the last so many seconds, 1 to 900; without: 900"`
}

// Series is the result of stats.series.
type Series struct {
	Now    int64   `json:"now" jsonschema:"Unix milliseconds"`
	Step   int64   `json:"step" jsonschema:"milliseconds from point to point"`
	From   int64   `json:"from" jsonschema:"since when there are points; a second after it that has none was not measured"`
	Points []Point `json:"points" jsonschema:"the oldest first"`
}

func (f *Feature) series(_ context.Context, p SeriesParams) (Series, error) {
	seconds := MaxPoints
	if p.Seconds != nil {
		seconds = *p.Seconds
	}
	if seconds < 1 || seconds > MaxPoints {
		return Series{}, fault.Field("seconds", "%d is not between 1 and %d", seconds, MaxPoints)
	}
	if p.After < 0 {
		return Series{}, fault.Field("after", "%d is not a time in Unix milliseconds", p.After)
	}
	now := time.Now().UnixMilli()
	after := p.After
	if after > now {
		after = 0 // the clock was set back since
	}
	after = max(after, now-int64(seconds)*step.Milliseconds())
	s := Series{Now: now, Step: step.Milliseconds()}
	s.From, s.Points = f.ring.after(after)
	s.From = max(s.From, after)
	return s, nil
}

// ring keeps the last points.
type ring struct {
	mu     sync.Mutex // guards all below
	points [MaxPoints]Point
	begun  int64 // when the first was begun; 0: not known yet
	count  int   // points that were kept so far
}

func (r *ring) add(p *Point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun == 0 {
		r.begun = p.Time - step.Milliseconds()
	}
	r.points[r.count%MaxPoints] = *p
	r.count++
}

// forget empties it: the clock was set back, so that nothing has its place any more.
func (r *ring) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun, r.count = 0, 0
}

// after copies the points after a time, and tells since when there are any.
func (r *ring) after(time int64) (from int64, list []Point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := max(0, r.count-MaxPoints)
	from = r.begun
	if first > 0 {
		from = r.points[first%MaxPoints].Time - step.Milliseconds()
	}
	for first < r.count && r.points[first%MaxPoints].Time <= time {
		first++
	}
	list = make([]Point, 0, r.count-first)
	for ; first < r.count; first++ {
		list = append(list, r.points[first%MaxPoints])
	}
	return from, list
}

// count gives what was counted so far.
func (f *Feature) count() Counts {
	l, h, d := f.cfg.Link.Metrics(), f.cfg.Hub.Metrics(), f.cfg.Doors()
	return Counts{
		MessagesIn: f.cfg.Sessions.Metrics().Frames.Load(), Published: h.Published.Load(), MessagesOut: h.Deliveries.Load(),
		Dropped: l.Dropped.Load() + d.Dropped, Refused: h.Refused.Load(), Paced: h.Paced.Load(),
		BytesIn: l.BytesIn.Load() + d.BytesIn, BytesOut: l.BytesOut.Load() + d.BytesOut,
		HooksFailed: f.cfg.HooksFailed(), Pushes: f.cfg.Pushes(),
	}
}

// since is how much more was counted than before.
func (c Counts) since(before Counts) Counts {
	return Counts{
		MessagesIn: c.MessagesIn - before.MessagesIn, Published: c.Published - before.Published, MessagesOut: c.MessagesOut - before.MessagesOut,
		Dropped: c.Dropped - before.Dropped, Refused: c.Refused - before.Refused, Paced: c.Paced - before.Paced,
		BytesIn: c.BytesIn - before.BytesIn, BytesOut: c.BytesOut - before.BytesOut,
		HooksFailed: max(0, c.HooksFailed-before.HooksFailed), // a new backend counts anew
		Pushes:      c.Pushes - before.Pushes,
	}
}

// memory reads how much of the heap is in use, without stopping anything.
type memory []metrics.Sample

func newMemory() memory { return memory{{Name: "/memory/classes/heap/objects:bytes"}} }

func (m memory) read() int64 {
	metrics.Read(m)
	return int64(m[0].Value.Uint64())
}

// sample takes a point at the end of each second. before is what was counted so far.
func (f *Feature) sample(before Counts) {
	memory := newMemory()
	last := time.Now().Round(0) // the wall clock: the other one stands still while a machine sleeps
	timer := time.NewTimer(untilNext(last))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-f.ending:
			return
		}
		now := time.Now().Round(0)
		counts := f.count()
		delivery, commit := f.cfg.Hub.TakeDelivery(), f.cfg.Commits.Take()
		took := now.Sub(last)
		if took < 0 {
			f.ring.forget()
		}
		if took >= stepAtLeast && took <= stepAtMost {
			_, users, channels := f.cfg.Hub.Counts()
			f.ring.add(&Point{
				Time: now.Round(step).UnixMilli(), Connections: f.kinds(), Users: users, Channels: channels, Counts: counts.since(before),
				Queued: f.queued(), Delivery: timing(delivery), Commit: timing(commit), Memory: memory.read(), Goroutines: runtime.NumGoroutine(),
			})
		}
		before, last = counts, now
		timer.Reset(untilNext(now))
	}
}

// untilNext is how long the second still lasts. What ends just now has been measured.
func untilNext(now time.Time) time.Duration {
	wait := now.Truncate(step).Add(step).Sub(now)
	if wait < stepAtLeast {
		return wait + step
	}
	return wait
}
