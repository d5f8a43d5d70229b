package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/load"
)

// tokens makes the tokens of n users beforehand, so that making them costs
// nobody anything later.
func (b *bench) tokens(n int) (func(i int) string, error) {
	list := make([]string, n)
	now := time.Now()
	for i := range list {
		var err error
		id := auth.Identity{User: "user-" + strconv.Itoa(i), Expires: now.Add(time.Hour)}
		if list[i], err = auth.Sign([]byte(b.secret), id, "", "", now); err != nil {
			return nil, err
		}
	}
	return func(i int) string { return list[i] }, nil
}

// sleep waits, unless the run is interrupted.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connections measures what a connection costs to open and to keep.
func connections(ctx context.Context, b *bench) error {
	// A process may have 20,000 descriptors where limits are tight, and needs some for itself.
	n := pick(b, 19_000, 4_000)
	token, err := b.tokens(n)
	if err != nil {
		return err
	}
	for _, d := range []struct {
		driver string
		budget float64
	}{{"epoll", 2}, {"portable", 6}} {
		if err := b.idle(ctx, n, token, d.driver, d.budget); err != nil {
			return fmt.Errorf("%s: %w", d.driver, err)
		}
	}
	return nil
}

func (b *bench) idle(ctx context.Context, n int, token func(int) string, driver string, budget float64) error {
	c, err := b.server(driver)
	if err != nil {
		return err
	}
	defer c.stop()
	if err := sleep(ctx, time.Second); err != nil { // the program has started in full
		return err
	}
	before, err := c.proc.RSS()
	if err != nil {
		return err
	}
	s, err := load.New(load.Config{URL: c.url, Key: b.key})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	spent, err := c.proc.CPU()
	if err != nil {
		return err
	}
	recorded := make(chan error, 1)
	if b.profiles == "" {
		recorded <- nil
	} else {
		go func() { recorded <- b.record(ctx, c, "connect-"+driver, 2*time.Second) }()
	}
	if err := s.Dial(ctx, n, func(i int) load.Opening {
		return load.Opening{Token: token(i), Channel: "load:" + strconv.Itoa(i/100)}
	}, nil); err != nil {
		return err
	}
	if err := <-recorded; err != nil {
		return err
	}
	now, err := c.proc.CPU()
	if err != nil {
		return err
	}
	b.report(line{Name: "connect with HS256 token and subscribe, " + driver, Unit: "µs", Measured: float64((now - spent).Microseconds()) / float64(n),
		Budget: 70, Note: fmt.Sprintf("%d connections", n)})
	for _, after := range []time.Duration{3 * time.Second, pick(b, 20*time.Second, 5*time.Second)} {
		if err := sleep(ctx, after); err != nil {
			return err
		}
		rss, err := c.proc.RSS()
		if err != nil {
			return err
		}
		b.report(line{Name: fmt.Sprintf("RSS of an idle connection, %s, %s later", driver, after), Unit: "KiB",
			Measured: float64(rss-before) / float64(n) / 1024, Budget: budget, Note: fmt.Sprintf("%d connections with one subscription", n)})
	}
	return nil
}

// fanout measures what a delivery costs, next to bare writes.
func fanout(ctx context.Context, b *bench) error {
	for _, n := range []int{1_000, pick(b, 10_000, 4_000)} {
		for _, w := range []struct {
			window           int
			budget, maxRatio float64
		}{{1, 0, 1.2}, {64, 0.4, 1.3}} {
			l := line{Name: fmt.Sprintf("delivery to %d subscribers, %d in flight", n, w.window), Unit: "µs", Budget: w.budget, MaxRatio: w.maxRatio}
			if err := b.compare(ctx, l, n, w.window); err != nil {
				return err
			}
		}
	}
	return nil
}

// round is one measurement of a fan-out and its floors.
type round struct {
	server, floor, same *load.Report // same: writes of as many messages as the server joined
}

func (r round) ratio() float64 { return r.server.Server.PerDelivery / r.floor.Server.PerDelivery }

// compare measures server and floor in turn, several times, so that what else
// the machine does meets both, and reports the round in the middle.
func (b *bench) compare(ctx context.Context, l line, n, window int) error {
	rounds := make([]round, pick(b, 3, 1))
	for i := range rounds {
		r := &rounds[i]
		var err error
		if r.server, err = b.deliver(ctx, n, window, 0, nil); err != nil {
			return err
		}
		if r.floor, err = b.deliver(ctx, n, window, window, r.server.Sample); err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		r.same = r.floor
		if joined := max(1, int(r.server.Joined+0.5)); joined != window {
			if r.same, err = b.deliver(ctx, n, window, joined, r.server.Sample); err != nil {
				return fmt.Errorf("floor: %w", err)
			}
		}
	}
	slices.SortFunc(rounds, func(a, b round) int { return cmp.Compare(a.ratio(), b.ratio()) })
	r := rounds[len(rounds)/2]
	l.Measured, l.Floor = r.server.Server.PerDelivery, r.floor.Server.PerDelivery
	l.Note = fmt.Sprintf("%.0f/s, %.0f joined, p99 %.1f ms, %s; busy: server %.0f%%, generator %.0f%%; floor %.0f/s",
		r.server.Deliveries, r.server.Joined, r.server.Latency.P99, wrongs(r.server), 100*r.server.Server.Share, 100*r.server.Generator, r.floor.Deliveries)
	if r.same != r.floor {
		l.Note += fmt.Sprintf("; writes of %.0f joined take %.3f µs, ratio %.2fx", r.same.Joined, r.same.Server.PerDelivery, l.Measured/r.same.Server.PerDelivery)
	}
	b.report(l)
	return nil
}

// deliver measures a fan-out by the server, or, given one of its frames, by a
// floor that joins so many.
func (b *bench) deliver(ctx context.Context, n, window, join int, sample []byte) (*load.Report, error) {
	var c *child
	var err error
	if join == 0 {
		c, err = b.server("epoll")
	} else {
		c, err = b.floor(sample, join)
	}
	if err != nil {
		return nil, err
	}
	defer c.stop()
	o := b.options(c)
	o.Connections, o.Window, o.Duration = n, window, pick(b, 3*time.Second, o.Duration)
	if join > 0 {
		return load.Fanout(ctx, o)
	}
	return b.profile(ctx, c, fmt.Sprintf("fanout-%d-%d", n, window), o, load.Fanout)
}

// wrongs tells what went wrong in a run.
func wrongs(r *load.Report) string {
	return fmt.Sprintf("%d lost, %d duplicated, %d out of order", r.Lost, r.Duplicated, r.OutOfOrder)
}

// overload has publishers ask for twice what fits.
func overload(ctx context.Context, b *bench) error {
	c, err := b.server("epoll")
	if err != nil {
		return err
	}
	defer c.stop()
	o := b.options(c)
	o.Connections = pick(b, 10_000, 4_000)
	o.Window, o.Duration = 64, pick(b, 4*time.Second, 2*time.Second)
	fits, err := load.Fanout(ctx, o)
	if err != nil {
		return fmt.Errorf("what fits: %w", err)
	}
	o.Window, o.Publishers, o.InFlight = 0, 32, 4
	o.Rate, o.Duration = 2*fits.PerSecond, pick(b, 20*time.Second, 5*time.Second)
	r, err := b.profile(ctx, c, "overload", o, load.Fanout)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("%.0f/s asked for, %.0f/s accepted, %d refused, %d dropped and told; %.0f joined; p50 %.0f ms, max %.0f ms; answers p99 %.0f ms; busy: server %.0f%%, generator %.0f%%",
		o.Rate, r.PerSecond, r.Refused, r.Told, r.Joined, r.Latency.P50, r.Latency.Max, r.Answer.P99, 100*r.Server.Share, 100*r.Generator)
	b.report(line{Name: fmt.Sprintf("overload, %d subscribers: p99 latency", o.Connections), Unit: "ms", Measured: r.Latency.P99, Budget: 1000, Note: note})
	b.report(line{Name: "overload: accepted, and neither delivered nor told", Unit: "", Measured: float64(r.Lost + r.Unanswered), none: true,
		Note: fmt.Sprintf("%d accepted deliveries, %s, %d disconnected", r.Expected, wrongs(r), r.Disconnects)})
	return nil
}

// publish measures the HTTP API alone.
func publish(ctx context.Context, b *bench) error {
	for _, v := range []struct {
		batch  int
		budget float64
	}{{1, 15}, {100, 4}} {
		r, err := b.byHTTP(ctx, 0, v.batch)
		if err != nil {
			return err
		}
		b.report(line{Name: "HTTP publish without subscribers, 16 clients" + batches(v.batch), Unit: "µs", Measured: r.Server.PerPublish, Budget: v.budget,
			Note: fmt.Sprintf("%.0f/s, answers p99 %.1f ms", r.PerSecond, r.Answer.P99)})
	}
	return nil
}

func batches(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(", batches of %d", n)
}

// channels measures many channels with one subscriber each.
func channels(ctx context.Context, b *bench) error {
	n := pick(b, 5_000, 2_000)
	for _, v := range []struct {
		batch  int
		budget float64
	}{{1, 30}, {100, 10}} {
		r, err := b.byHTTP(ctx, n, v.batch)
		if err != nil {
			return err
		}
		b.report(line{Name: fmt.Sprintf("%d channels with one subscriber, HTTP%s", n, batches(v.batch)), Unit: "µs", Measured: r.Server.PerDelivery, Budget: v.budget,
			Note: fmt.Sprintf("%.0f deliveries/s, p99 %.1f ms, %s", r.Deliveries, r.Latency.P99, wrongs(r))})
	}
	return nil
}

// byHTTP publishes to n channels with a subscriber each, or to as good as none.
func (b *bench) byHTTP(ctx context.Context, n, batch int) (*load.Report, error) {
	c, err := b.server("epoll")
	if err != nil {
		return nil, err
	}
	defer c.stop()
	o := b.options(c)
	o.HTTP, o.Publishers, o.Batch = true, 16, batch
	o.Connections, o.Channels = n, n
	run := load.Fanout
	if n == 0 {
		run = load.Publish
	}
	return b.profile(ctx, c, fmt.Sprintf("http-%d-%d", n, batch), o, run)
}
