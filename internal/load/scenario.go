package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Options of a scenario. The zero value of a field means what it says there.
type Options struct {
	URL         string             // of the server
	Key         string             // of the HTTP API; empty: "dev"
	Token       func(i int) string // of the i-th connection; nil: none
	EarlyToken  bool               // give the token with the handshake, not in the connect frame
	Users       bool               // the i-th connection says that it is user i (development mode)
	Connections int                // subscribers, or connections; zero: 1
	Channels    int                // that they are spread over; zero: 1
	Prefix      string             // of the channels' names; empty: "event:bench-"
	Publishers  int                // clients that publish; zero: 1
	HTTP        bool               // they use the HTTP API instead of a WebSocket
	Batch       int                // messages of one HTTP request; zero: 1
	Rate        float64            // messages or round trips per second in all; zero: as fast as it goes
	Size        int                // bytes of data of a message; zero: 128; at least [MinSize]
	InFlight    int                // unanswered requests of one publisher, or round trips of one connection; zero: 1. HTTP: always 1
	Window      int                // messages that are not delivered to everybody yet; zero: any number
	Warmup      time.Duration      // before measuring
	Duration    time.Duration      // of measuring; zero: 10 s
	Lanes       int                // goroutines that read; zero: 1
	Process     *Process           // the server's; nil: unknown

	// Measuring is called when the measured interval begins; nil: nothing is.
	Measuring func()
	// Progress is told how far a stage has come, in its own units; nil: nobody is.
	Progress func(stage string, done, total int64)
}

func (o Options) withDefaults() Options {
	o.Connections, o.Channels, o.Publishers = max(0, o.Connections), max(1, o.Channels), max(1, o.Publishers)
	o.Batch, o.InFlight, o.Size = max(1, o.Batch), max(1, o.InFlight), max(o.Size, MinSize)
	if o.Prefix == "" {
		o.Prefix = "event:bench-"
	}
	if o.Duration == 0 {
		o.Duration = 10 * time.Second
	}
	if o.HTTP {
		o.InFlight = 1
	} else {
		o.Batch = 1
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return o
}

func (o *Options) channel(i int) string { return o.Prefix + strconv.Itoa(i%o.Channels) }

// opening is how the i-th connection begins.
func (o *Options) opening(i int) Opening {
	var op Opening
	if o.Token != nil {
		op.Token, op.Early = o.Token(i), o.EarlyToken
	} else if o.Users {
		op.User = "bench-" + strconv.Itoa(i)
	}
	return op
}

// run is a scenario that is under way.
type run struct {
	o      Options
	swarm  *Swarm
	report Report
	begun  int64
	cpu    time.Duration
	own    time.Duration
	rss    int64
}

func start(o Options, scenario string) (*run, error) {
	s, err := New(Config{URL: o.URL, Key: o.Key, Lanes: o.Lanes})
	if err != nil {
		return nil, err
	}
	r := &run{o: o, swarm: s, report: Report{Scenario: scenario, Connections: o.Connections}}
	if o.Process != nil {
		if r.rss, err = o.Process.RSS(); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("the server's memory: %w", err)
		}
	}
	return r, nil
}

// mark begins the measured interval.
func (r *run) mark() (err error) {
	if r.o.Process != nil {
		r.cpu, err = r.o.Process.CPU()
	}
	r.own, _ = self().CPU() // known on Linux only
	r.begun = r.swarm.now()
	if err == nil && r.o.Measuring != nil {
		r.o.Measuring()
	}
	return err
}

// measured ends the measured interval, in which n things of the scenario and d
// deliveries happened.
func (r *run) measured(n, d int64) (err error) {
	took := seconds(r.swarm.now() - r.begun)
	r.report.Seconds, r.report.PerSecond, r.report.Deliveries = took, float64(n)/took, float64(d)/took
	if own, err := self().CPU(); err == nil {
		r.report.Generator = (own - r.own).Seconds() / took
	}
	if r.o.Process == nil {
		return nil
	}
	cpu, err := r.o.Process.CPU()
	if err != nil {
		return fmt.Errorf("the server's processor time: %w", err)
	}
	u := &Use{PID: r.o.Process.PID, CPU: (cpu - r.cpu).Seconds(), RSSBefore: r.rss}
	u.Share = u.CPU / took
	if u.RSS, err = r.o.Process.RSS(); err != nil {
		return fmt.Errorf("the server's memory: %w", err)
	}
	if r.o.Connections > 0 {
		u.RSSEach = float64(u.RSS-u.RSSBefore) / float64(r.o.Connections)
	}
	r.report.Server = u
	return nil
}

// self is the generator's own process.
func self() Process { return Process{os.Getpid()} }

// per is microseconds of server CPU for each of n.
func (u *Use) per(n int64) float64 {
	if n == 0 {
		return 0
	}
	return u.CPU * 1e6 / float64(n)
}

// wait lets the time pass and tells of it.
func (r *run) wait(ctx context.Context, stage string, d time.Duration) error {
	const step = 100 * time.Millisecond
	end := time.Now().Add(d)
	tick := time.NewTicker(step)
	defer tick.Stop()
	for left := d; left > 0; left = time.Until(end) {
		select {
		case <-tick.C:
			r.o.Progress(stage, int64((d - left).Milliseconds()), d.Milliseconds())
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.o.Progress(stage, d.Milliseconds(), d.Milliseconds())
	return nil
}

// subscribe opens the connections of the scenario.
func (r *run) subscribe(ctx context.Context, channels bool, publishers int) error {
	n := r.o.Connections
	return r.swarm.Dial(ctx, n, func(i int) Opening {
		op := r.o.opening(i)
		if channels {
			op.Channel, op.at = r.o.channel(i), i%r.o.Channels
		}
		op.Publishers = publishers
		return op
	}, func(done int64) { r.o.Progress("connecting", done, int64(n)) })
}

// lanes adds up what the lanes counted.
func (r *run) lanes() (latency, opening Latency) {
	var bytes, delivered int64
	for _, l := range r.swarm.lanes {
		l.mu.Lock()
		r.report.Disconnects += l.disconnected.Load()
		r.report.Told += l.told.Load()
		bytes += l.bytes.Load()
		delivered += l.delivered.Load()
		if r.report.Trouble == "" {
			r.report.Trouble = l.trouble
		}
		if l.sample != nil {
			r.report.Sample = l.sample
		}
		l.mu.Unlock()
	}
	if delivered > 0 {
		r.report.FrameBytes = float64(bytes) / float64(delivered)
	}
	return r.merged(func(l *lane) *hdrhistogram.Histogram { return l.latency }), r.merged(func(l *lane) *hdrhistogram.Histogram { return l.opening })
}

// merged gives one of the histograms over all lanes.
func (r *run) merged(of func(*lane) *hdrhistogram.Histogram) Latency {
	all := newHistogram()
	for _, l := range r.swarm.lanes {
		l.mu.Lock()
		all.Merge(of(l))
		l.mu.Unlock()
	}
	return latencyOf(all)
}

// Connections opens connections that subscribe to a channel each, and keeps
// them for the duration. The CPU is that of opening them, the memory that of the
// end.
func Connections(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	r, err := start(o, "connections")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.swarm.Close() }()
	if err := r.mark(); err != nil {
		return nil, err
	}
	if err := r.subscribe(ctx, true, 0); err != nil {
		return nil, err
	}
	if err := r.measured(int64(o.Connections), 0); err != nil {
		return nil, err
	}
	if err := r.wait(ctx, "idle", o.Duration); err != nil {
		return nil, err
	}
	if u := r.report.Server; u != nil {
		u.PerConnection = u.per(int64(o.Connections))
		if u.RSS, err = o.Process.RSS(); err != nil {
			return nil, err
		}
		u.RSSEach = float64(u.RSS-u.RSSBefore) / float64(max(1, o.Connections))
	}
	r.report.Channels = o.Channels
	_, r.report.Latency = r.lanes()
	return &r.report, nil
}

// Fanout has publishers publish to channels with subscribers, spread evenly, so
// connections must be a multiple of channels.
func Fanout(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	if o.Connections%o.Channels != 0 {
		return nil, fmt.Errorf("%d connections cannot be spread evenly over %d channels", o.Connections, o.Channels)
	}
	return publishing(ctx, o, "fanout")
}

// Publish has publishers publish to channels without subscribers.
func Publish(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	o.Connections = 0
	return publishing(ctx, o, "publish")
}

func publishing(ctx context.Context, o Options, scenario string) (*Report, error) {
	f, err := flowing(ctx, o, scenario)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := errors.Join(f.interval(ctx, f.pump), f.halt(ctx)); err != nil {
		return nil, err
	}
	f.account(f.pump)
	return &f.report, nil
}

// flow is a run whose publishers publish.
type flow struct {
	*run
	pump   *pump
	stop   context.CancelFunc
	pumped chan struct{}
}

// flowing opens the connections and begins to publish.
func flowing(ctx context.Context, o Options, scenario string) (*flow, error) {
	r, err := start(o, scenario)
	if err != nil {
		return nil, err
	}
	p := &pump{swarm: r.swarm, rate: o.Rate, each: o.InFlight, window: int64(o.Window), receivers: int64(o.Connections / o.Channels)}
	if p.window > 0 {
		p.each = max(p.each, o.Window)
	}
	for i := range o.Channels {
		p.channels = append(p.channels, o.channel(i))
	}
	if err = r.subscribe(ctx, true, o.Publishers); err == nil {
		err = r.publishers(ctx, p)
	}
	if err != nil {
		_ = r.swarm.Close()
		return nil, err
	}
	f := &flow{run: r, pump: p, pumped: make(chan struct{})}
	pumping, stop := context.WithCancel(ctx)
	f.stop = stop
	go func() { defer close(f.pumped); p.run(pumping) }()
	return f, nil
}

// halt stops publishing and waits for what is on its way.
func (f *flow) halt(ctx context.Context) error { return f.run.halt(ctx, f.stop, f.pumped, f.pump) }

// close ends it at once.
func (f *flow) close() {
	f.stop()
	<-f.pumped
	_ = f.swarm.Close()
}

// publishers opens the publishers' connections.
func (r *run) publishers(ctx context.Context, p *pump) error {
	o := &r.o
	for i := range o.Publishers {
		pub := &publisher{index: uint16(i), size: o.Size, batch: o.Batch, numbers: make([]uint64, o.Channels), turn: i * o.Channels / o.Publishers, answers: newHistogram()}
		p.pubs = append(p.pubs, pub)
	}
	return r.swarm.Dial(ctx, len(p.pubs), func(i int) Opening {
		op := o.opening(o.Connections + i)
		op.http, op.pub = o.HTTP, p.pubs[i]
		return op
	}, nil)
}

// interval lets the pump run and measures.
func (r *run) interval(ctx context.Context, p *pump) error {
	if err := r.wait(ctx, "warming up", r.o.Warmup); err != nil {
		return err
	}
	r.forget()
	for _, pub := range p.pubs {
		pub.mu.Lock()
		pub.answers.Reset()
		pub.mu.Unlock()
	}
	accepted, delivered, reads := p.accepted(), r.delivered(), r.reads()
	if err := r.mark(); err != nil {
		return err
	}
	if err := r.wait(ctx, "measuring", r.o.Duration); err != nil {
		return err
	}
	accepted, delivered, reads = p.accepted()-accepted, r.delivered()-delivered, r.reads()-reads
	r.report.Joined = float64(delivered) / float64(max(1, reads))
	if err := r.measured(accepted, delivered); err != nil {
		return err
	}
	if u := r.report.Server; u != nil {
		u.PerPublish = u.per(accepted)
		u.PerDelivery = u.per(delivered)
	}
	return nil
}

// forget begins the latencies anew.
func (r *run) forget() {
	for _, l := range r.swarm.lanes {
		l.mu.Lock()
		l.latency.Reset()
		l.mu.Unlock()
	}
}

func (p *pump) accepted() (n int64) {
	for _, pub := range p.pubs {
		n += pub.accepted.Load()
	}
	return n
}

func (r *run) delivered() (n int64) {
	for _, l := range r.swarm.lanes {
		n += l.delivered.Load()
	}
	return n
}

func (r *run) reads() (n int64) {
	for _, l := range r.swarm.lanes {
		n += l.reads.Load()
	}
	return n
}

// halt stops the pump and waits until everything has arrived that is going to:
// until all is there, or nothing has come for a while.
func (r *run) halt(ctx context.Context, stop func(), pumped <-chan struct{}, p *pump) error {
	stop()
	<-pumped
	last, since := int64(-1), r.swarm.now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting := 0
		for _, pub := range p.pubs {
			waiting += pub.unanswered()
		}
		has := p.arrived()
		if waiting == 0 && has >= p.sent.Load()*p.receivers {
			return nil
		}
		if now := r.swarm.now(); has != last {
			last, since = has, now
		} else if now-since > int64(2*stalled) {
			return nil
		}
		r.o.Progress("settling", has, p.sent.Load()*p.receivers)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// account adds up what every subscriber got and what every publisher was told.
func (r *run) account(p *pump) {
	rep := &r.report
	rep.Channels, rep.Publishers, rep.Size, rep.Stalls = r.o.Channels, len(p.pubs), r.o.Size, p.stalls
	rep.Sent, rep.Offered = p.sent.Load(), p.offered.Load()
	answers := newHistogram()
	for _, pub := range p.pubs {
		pub.mu.Lock()
		answers.Merge(pub.answers)
		if rep.Trouble == "" {
			rep.Trouble = pub.trouble
		}
		pub.mu.Unlock()
		rep.Accepted += pub.accepted.Load()
		rep.Refused += pub.refused.Load()
	}
	rep.Unanswered = rep.Sent - rep.Accepted - rep.Refused
	rep.Expected = rep.Accepted * p.receivers
	rep.Latency, _ = r.lanes()
	answer := latencyOf(answers)
	rep.Answer = &answer
	for _, c := range r.swarm.conns[:r.o.Connections] {
		c.lane.mu.Lock()
		for j, t := range c.tracks {
			rep.Delivered += int64(t.received)
			rep.Duplicated += int64(t.duplicates)
			rep.OutOfOrder += int64(t.disorders)
			rep.Lost += t.missing(p.pubs[j].numbers[c.opening.at])
		}
		if f := c.follow; f != nil {
			rep.Misplaced += int64(f.missing + f.doubled)
		}
		c.lane.mu.Unlock()
	}
	rep.Lost -= rep.Told + rep.Refused*p.receivers
	if p.receivers == 0 {
		rep.Lost = 0
	}
}
