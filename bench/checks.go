package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/load"
)

// middle measures several rounds, so that what else the machine does meets
// both sides of each, and gives the round whose value is in the middle.
func middle[R any](rounds int, measure func() (R, error), value func(R) float64) (R, error) {
	all := make([]R, rounds)
	for i := range all {
		var err error
		if all[i], err = measure(); err != nil {
			return all[i], err
		}
	}
	slices.SortStableFunc(all, func(a, b R) int { return cmp.Compare(value(a), value(b)) })
	return all[rounds/2], nil
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
	server *load.Report
	floor  *load.Report // writes of as many messages at once as the server joined
	full   *load.Report // writes of as many as are in flight; floor where that is the same
}

func (r round) ratio() float64 { return r.server.Server.PerDelivery / r.floor.Server.PerDelivery }

// compare measures server and floor in turn and reports the round whose ratio,
// which the budget is about, is in the middle.
func (b *bench) compare(ctx context.Context, l line, n, window int) error {
	r, err := middle(pick(b, 3, 1), func() (r round, err error) {
		if r.server, err = b.deliver(ctx, n, window, 0, nil); err != nil {
			return r, err
		}
		joined := max(1, int(r.server.Joined+0.5))
		if r.floor, err = b.deliver(ctx, n, window, joined, r.server.Sample); err != nil {
			return r, fmt.Errorf("floor: %w", err)
		}
		if r.full = r.floor; joined != window {
			if r.full, err = b.deliver(ctx, n, window, window, r.server.Sample); err != nil {
				return r, fmt.Errorf("floor: %w", err)
			}
		}
		return r, nil
	}, round.ratio)
	if err != nil {
		return err
	}
	l.Measured, l.Floor = r.server.Server.PerDelivery, r.floor.Server.PerDelivery
	l.Note = fmt.Sprintf("%.0f/s, %.0f joined, p99 %.1f ms, %s; busy: %s; floor %.0f/s",
		r.server.Deliveries, r.server.Joined, r.server.Latency.P99, wrongs(r.server), busy(r.server), r.floor.Deliveries)
	if r.full != r.floor {
		l.Note += fmt.Sprintf("; writes of %d joined take %.3f µs, ratio %.2fx", window, r.full.Server.PerDelivery, l.Measured/r.full.Server.PerDelivery)
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

// busy tells how much of its core each side used.
func busy(r *load.Report) string {
	return fmt.Sprintf("server %.0f%%, generator %.0f%%", 100*r.Server.Share, 100*r.Generator)
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
	note := fmt.Sprintf("%.0f/s asked for, %.0f/s accepted, %d refused, %d dropped and told; %.0f joined; p50 %.0f ms, max %.0f ms; answers p99 %.0f ms; busy: %s",
		o.Rate, r.PerSecond, r.Refused, r.Told, r.Joined, r.Latency.P50, r.Latency.Max, r.Answer.P99, busy(r))
	b.report(line{Name: fmt.Sprintf("overload, %d subscribers: p99 latency", o.Connections), Unit: "ms", Measured: r.Latency.P99, Budget: 1000, Note: note})
	b.report(line{Name: "overload: accepted, and neither delivered nor told", Unit: "", Measured: float64(r.Lost + r.Unanswered), none: true,
		Note: fmt.Sprintf("%d accepted deliveries, %s, %d disconnected", r.Expected, wrongs(r), r.Disconnects)})
	return nil
}
