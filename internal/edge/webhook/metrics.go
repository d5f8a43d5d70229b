package webhook

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/metrics"
)

// Reason is why a told event was dropped.
type Reason int

// The reasons.
const (
	DroppedFull    Reason = iota // too many waited; the oldest goes
	DroppedOld                   // it could not be delivered within Config.MaxAge
	DroppedRefused               // the backend answered that it does not take it
	DroppedClosed                // the Client was closed before it was delivered
)

// Reasons names the reasons, for metrics and logs.
var Reasons = [...]string{"queue_full", "too_old", "refused", "closed"}

// Metrics counts what a [Client] does. The zero value counts and shows nothing;
// [NewMetrics] makes one that is shown. Clients that follow each other, as at a
// reload, may share one.
type Metrics struct {
	Asked     [asked][len(Kinds)]atomic.Int64   // questions that have ended, by event and [Kind]
	Told      [len(Events) - asked]atomic.Int64 // by event
	Delivered atomic.Int64                      // told events that have arrived
	Dropped   [len(Reasons)]atomic.Int64        // told events that have not
	Retries   atomic.Int64                      // requests that were not a delivery's first
	Opened    atomic.Int64                      // times that the circuit opened
	Failed    atomic.Int64                      // requests that were not answered as they should be

	Queued   atomic.Int64 // told events that wait or are being sent
	UnderWay atomic.Int64 // requests
	Waiting  atomic.Int64 // questions that wait for a slot
	Open     atomic.Int64 // 1 while the circuit is open

	took, sizes func(float64) // nil: nobody looks
}

// NewMetrics makes Metrics and shows them in set, once.
func NewMetrics(set *metrics.Set) *Metrics {
	m := &Metrics{}
	for i := range m.Asked {
		for k := range m.Asked[i] {
			set.Counter("hooks_asked_total", "Questions to the backend.", metrics.Labels{"event": Events[i], "outcome": Kinds[k]}, m.Asked[i][k].Load)
		}
	}
	for i := range m.Told {
		set.Counter("hooks_told_total", "Events that the backend was to be told.", metrics.Labels{"event": Events[asked+i]}, m.Told[i].Load)
	}
	set.Counter("hooks_delivered_total", "Of those, the ones that have arrived.", nil, m.Delivered.Load)
	for i := range m.Dropped {
		set.Counter("hooks_dropped_total", "Of those, the ones that were dropped.", metrics.Labels{"reason": Reasons[i]}, m.Dropped[i].Load)
	}
	set.Counter("hooks_retries_total", "Requests to the backend that repeated one.", nil, m.Retries.Load)
	set.Counter("hooks_circuit_opened_total", "Times that the backend failed so often that it was left alone.", nil, m.Opened.Load)
	set.Gauge("hooks_circuit_open", "1 while the backend is left alone.", nil, m.Open.Load)
	set.Gauge("hooks_queued", "Events that wait to be told, or are being told.", nil, m.Queued.Load)
	set.Gauge("hooks_requests", "Requests to the backend that are under way.", nil, m.UnderWay.Load)
	set.Gauge("hooks_waiting", "Questions that wait because too many requests are under way.", nil, m.Waiting.Load)
	m.took = set.Histogram("hooks_request_seconds", "Time until the backend had answered a request, or had not.", nil, metrics.Times())
	m.sizes = set.Histogram("hooks_batch_events", "Events told in one request.", nil, metrics.Sizes())
	return m
}

func (m *Metrics) observe(took time.Duration) {
	if m.took != nil {
		m.took(took.Seconds())
	}
}

func (m *Metrics) observeBatch(events int) {
	if m.sizes != nil {
		m.sizes(float64(events))
	}
}

// drops gathers what was dropped, so that the log tells of the first at once and
// of all that follow every now and then.
type drops struct {
	mu    sync.Mutex
	armed *time.Timer // nil: the next one is told at once
	count [len(Reasons)]int
	last  error
	done  bool
}

// dropsPause is the least time between two sentences about drops.
const dropsPause = 10 * time.Second

// drop counts events that were dropped, and sees that it is said.
func (c *Client) drop(why Reason, n int, cause error) {
	c.metrics.Dropped[why].Add(int64(n))
	d := &c.drops
	d.mu.Lock()
	d.count[why] += n
	if cause != nil {
		d.last = cause
	}
	wait := d.armed != nil
	d.mu.Unlock()
	if !wait {
		d.flush(c.cfg.Logger, false)
	}
}

// flush says what was dropped. It is called again after a while if there was
// something, unless this was the last time.
func (d *drops) flush(log *slog.Logger, last bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return // whoever speaks to a closed Client is counted, and knows
	}
	d.done = last
	if d.armed != nil {
		d.armed.Stop()
		d.armed = nil
	}
	attrs := make([]any, 0, 2*len(d.count)+2)
	for i, n := range d.count {
		if n > 0 {
			attrs = append(attrs, Reasons[i], n)
		}
	}
	if len(attrs) == 0 {
		return
	}
	if d.last != nil {
		attrs = append(attrs, "error", d.last)
	}
	log.Warn("hooks: events were dropped", attrs...)
	d.count, d.last = [len(Reasons)]int{}, nil
	if !d.done {
		d.armed = time.AfterFunc(dropsPause, func() { d.flush(log, false) })
	}
}
