package load

import (
	"context"
	"sync/atomic"
	"time"
)

// echo is the round trips of one connection: ping frames and their pongs.
type echo struct {
	endless  bool // send the next ping when a pong comes
	done     *atomic.Int64
	refusals *atomic.Int64
	ending   *atomic.Bool
	waiting  []int64 // guarded by the lane's lock: when the pings left, oldest first
}

const pingFrame = `{"type":"ping"}`

// ping sends one. The lane is locked.
func (e *echo) ping(c *conn) {
	e.waiting = append(e.waiting, c.swarm.now())
	c.send([]byte(pingFrame))
}

// back takes a pong.
func (e *echo) back(c *conn) {
	if len(e.waiting) > 0 {
		record(c.lane.latency, c.lane.now-e.waiting[0])
		e.drop(c)
		e.done.Add(1)
	}
}

// refused takes an error, which stands for a pong.
func (e *echo) refused(c *conn) {
	if len(e.waiting) > 0 {
		e.drop(c)
		e.refusals.Add(1)
	}
}

// drop forgets the oldest ping.
func (e *echo) drop(c *conn) {
	e.waiting = e.waiting[:copy(e.waiting, e.waiting[1:])]
	if e.endless && !e.ending.Load() {
		e.ping(c)
	}
}

// Echo sends ping frames on connections without a channel and waits for their
// pongs. A server limits the frames of one connection each second.
func Echo(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	o.Connections = max(1, o.Connections)
	r, err := start(o, "echo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.swarm.Close() }()
	var done, refusals atomic.Int64
	var ending atomic.Bool
	if err := r.swarm.Dial(ctx, o.Connections, func(i int) Opening {
		op := o.opening(i)
		op.echo = &echo{endless: o.Rate == 0, done: &done, refusals: &refusals, ending: &ending}
		return op
	}, func(n int64) { o.Progress("connecting", n, int64(o.Connections)) }); err != nil {
		return nil, err
	}
	echoing, stop := context.WithCancel(ctx)
	defer stop()
	echoed := make(chan struct{})
	go func() { defer close(echoed); r.pings(echoing) }()
	defer func() { ending.Store(true); stop(); <-echoed }()
	if err := r.wait(ctx, "warming up", o.Warmup); err != nil {
		return nil, err
	}
	for _, l := range r.swarm.lanes {
		l.mu.Lock()
		l.latency.Reset()
		l.mu.Unlock()
	}
	before := done.Load()
	if err := r.mark(); err != nil {
		return nil, err
	}
	if err := r.wait(ctx, "measuring", o.Duration); err != nil {
		return nil, err
	}
	n := done.Load() - before
	if err := r.measured(n, 0); err != nil {
		return nil, err
	}
	if u := r.report.Server; u != nil {
		u.PerEcho = u.per(n)
	}
	r.report.Refused = refusals.Load()
	r.report.Latency, _ = r.lanes()
	return &r.report, nil
}

// pings begins the round trips: all at once when each pong brings the next, and
// otherwise in turn, at the rate.
func (r *run) pings(ctx context.Context) {
	conns := r.swarm.conns
	one := func(c *conn, most int) {
		c.lane.mu.Lock()
		defer c.lane.mu.Unlock()
		if len(c.echo.waiting) < most {
			c.echo.ping(c)
		}
	}
	if r.o.Rate == 0 {
		for range r.o.InFlight {
			for _, c := range conns {
				one(c, r.o.InFlight)
			}
		}
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	begun, sent := r.swarm.now(), int64(0)
	for {
		due := int64(float64(r.swarm.now()-begun) * r.o.Rate / 1e9)
		for ; sent < due; sent++ {
			one(conns[int(sent)%len(conns)], r.o.InFlight)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
