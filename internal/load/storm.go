package load

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Storm is many subscribers of log channels that go away together and come back
// together for what they missed, while messages flow in other channels.
type Storm struct {
	o       Options
	missed  int
	clients *Swarm
	writers *pump
	live    *flow
	source  int
	each    float64 // µs of CPU for a delivery of what flows, when it flows alone
}

// NewStorm opens the connections of the subscribers, o.Connections on
// o.Channels, and begins what flows besides. Each time away, missed messages of
// o.Size bytes are published to each channel by o.Publishers clients. o.Process
// is required.
func NewStorm(ctx context.Context, o, live Options, missed int) (*Storm, error) {
	s := &Storm{o: o.withDefaults(), missed: missed}
	if err := s.open(ctx, live.withDefaults()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Storm) open(ctx context.Context, live Options) (err error) {
	if s.clients, err = s.swarm(); err != nil {
		return err
	}
	if err := s.clients.Dial(ctx, s.o.Connections, s.opening, nil); err != nil {
		return err
	}
	s.writers = &pump{swarm: s.clients}
	if s.writers.swarm, err = s.swarm(); err != nil {
		return err
	}
	for i := range s.o.Channels {
		s.writers.channels = append(s.writers.channels, s.o.channel(i))
	}
	writers := &run{o: s.o, swarm: s.writers.swarm}
	writers.o.Connections = 0
	if err := writers.publishers(ctx, s.writers); err != nil {
		return err
	}
	if s.live, err = flowing(ctx, live, "live"); err != nil {
		return err
	}
	return s.calm(ctx)
}

// swarm makes one whose connections do not leave from the ports of the last.
func (s *Storm) swarm() (*Swarm, error) {
	w, err := New(Config{URL: s.o.URL, Key: s.o.Key, Source: s.source})
	s.source += 1 + s.o.Connections/perSource
	return w, err
}

// opening is how the i-th subscriber begins.
func (s *Storm) opening(i int) Opening {
	op := s.o.opening(i)
	op.Channel, op.at = s.o.channel(i), i%s.o.Channels
	return op
}

// calm measures what the server needs for what flows alone.
func (s *Storm) calm(ctx context.Context) error {
	quiet := s.live.run
	quiet.o.Process = s.o.Process
	if err := quiet.wait(ctx, "flowing", time.Second); err != nil {
		return err
	}
	delivered := quiet.delivered()
	if err := quiet.mark(); err != nil {
		return err
	}
	if err := quiet.wait(ctx, "flowing", max(s.o.Warmup, time.Second)); err != nil {
		return err
	}
	cpu, err := s.o.Process.CPU()
	s.each = (cpu - quiet.cpu).Seconds() * 1e6 / float64(max(1, quiet.delivered()-delivered))
	return err
}

// Away ends the subscriptions and publishes what will be missed.
func (s *Storm) Away(ctx context.Context) error {
	agreed := s.sum(func(l *lane) int64 { return l.agreed.Load() })
	for _, c := range s.clients.conns {
		c.leave()
	}
	want := agreed + int64(len(s.clients.conns))
	if err := s.until(ctx, "leaving", want, func(l *lane) int64 { return l.agreed.Load() }); err != nil {
		return err
	}
	return s.publish(ctx)
}

// publish publishes to each channel as many messages as are to be missed.
func (s *Storm) publish(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	p := s.writers
	sent, before := 0, p.accepted()
	for total := s.missed * s.o.Channels; ; {
		waiting := 0
		for _, pub := range p.pubs {
			for sent < total && pub.unanswered() < s.o.InFlight {
				pub.turn = sent % s.o.Channels
				pub.publish(p.channels)
				sent++
			}
			waiting += pub.unanswered()
		}
		if sent == total && waiting == 0 {
			if n := p.accepted() - before; n != int64(total) {
				return fmt.Errorf("%d of %d messages were stored: %s", n, total, p.pubs[0].trouble)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-p.swarm.kick:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Back has all subscribers ask for what they missed, on connections that are
// open, and reports when the last one has it.
func (s *Storm) Back(ctx context.Context) (*Report, error) {
	return s.measure(ctx, "back", func() error {
		for _, c := range s.clients.conns {
			c.lane.mu.Lock()
			until := c.follow.seq + uint64(s.missed)
			c.lane.mu.Unlock()
			if err := c.comeBack(until); err != nil {
				return err
			}
		}
		return nil
	})
}

// Anew has all subscribers come back on new connections, and reports when the
// last one has what it missed.
func (s *Storm) Anew(ctx context.Context) (*Report, error) {
	places := make([]place, len(s.clients.conns))
	for i, c := range s.clients.conns {
		c.lane.mu.Lock()
		places[i] = c.follow.place
		c.lane.mu.Unlock()
	}
	_ = s.clients.Close()
	var err error
	if s.clients, err = s.swarm(); err != nil {
		return nil, err
	}
	if err := s.live.wait(ctx, "closing", 2*time.Second); err != nil { // the server has let go of the old ones
		return nil, err
	}
	return s.measure(ctx, "anew", func() error {
		return s.clients.Dial(ctx, len(places), func(i int) Opening {
			op := s.opening(i)
			op.since, op.until = &places[i], places[i].seq+uint64(s.missed)
			return op
		}, nil)
	})
}

// measure measures from the first frame until the last client has all that it
// missed.
func (s *Storm) measure(ctx context.Context, name string, begin func() error) (*Report, error) {
	caught := func(l *lane) int64 { return l.caught.Load() }
	for _, l := range s.clients.lanes {
		l.mu.Lock()
		l.recovery.Reset()
		l.mu.Unlock()
	}
	had := s.sum(caught)
	r := &run{o: s.o, swarm: s.clients, report: Report{Scenario: name, Connections: s.o.Connections, Channels: s.o.Channels, Size: s.o.Size}}
	s.live.forget()
	delivered := s.live.delivered()
	if err := r.mark(); err != nil {
		return nil, err
	}
	if err := begin(); err != nil {
		return nil, err
	}
	n := int64(s.o.Connections)
	if err := s.until(ctx, "recovering", had+n, caught); err != nil {
		return nil, err
	}
	delivered = s.live.delivered() - delivered
	if err := r.measured(n, n*int64(s.missed)); err != nil {
		return nil, err
	}
	rep := &r.report
	r.lanes()
	live := s.live.merged(func(l *lane) *hdrhistogram.Histogram { return l.latency })
	rep.Latency, rep.Live = r.merged(func(l *lane) *hdrhistogram.Histogram { return l.recovery }), &live
	u := rep.Server
	u.Besides = s.each * float64(delivered) / float64(n)
	u.PerConnection = u.per(n) - u.Besides
	rep.Expected = n * int64(s.missed)
	for _, c := range s.clients.conns {
		c.lane.mu.Lock()
		rep.Lost += int64(c.follow.missing)
		rep.Duplicated += int64(c.follow.doubled)
		c.lane.mu.Unlock()
	}
	return rep, nil
}

// sum adds up a counter of the clients' lanes.
func (s *Storm) sum(of func(*lane) int64) (n int64) {
	for _, l := range s.clients.lanes {
		n += of(l)
	}
	return n
}

// until waits for a counter of the clients' lanes, as long as something happens.
func (s *Storm) until(ctx context.Context, stage string, want int64, of func(*lane) int64) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last, since := int64(-1), s.clients.now()
	for {
		has := s.sum(of)
		if has >= want {
			return nil
		}
		now := s.clients.now()
		if has != last {
			last, since = has, now
		} else if now-since > int64(10*time.Second) {
			return fmt.Errorf("%s: nothing happens; %d clients are missing", stage, want-has)
		}
		s.o.Progress(stage, has, want)
		select {
		case <-tick.C:
		case <-s.clients.kick:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// End stops what flows and reports it.
func (s *Storm) End(ctx context.Context) (*Report, error) {
	if err := s.live.halt(ctx); err != nil {
		return nil, err
	}
	s.live.account(s.live.pump)
	return &s.live.report, nil
}

// Close closes all connections.
func (s *Storm) Close() {
	if s.clients != nil {
		_ = s.clients.Close()
	}
	if s.writers != nil && s.writers.swarm != nil {
		_ = s.writers.swarm.Close()
	}
	if s.live != nil {
		s.live.close()
	}
}
