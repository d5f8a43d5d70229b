package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skein-realtime/skein/internal/load"
)

// storm measures many clients that come back for what they missed.
func (b *bench) storm(ctx context.Context, dir string) error {
	const missed = 50
	c, err := b.server("epoll", "-data", dir)
	if err != nil {
		return err
	}
	defer c.stop()
	o := b.options(c)
	o.Prefix, o.Connections, o.Channels, o.Publishers = "log:away-", pick(b, 10_000, 2_000), 100, 32
	if o.Token, err = b.tokens(o.Connections + o.Publishers); err != nil {
		return err
	}
	live := b.options(c)
	live.Prefix, live.Connections, live.Channels, live.Publishers, live.Rate, live.InFlight = "log:live-", 100, 4, 4, 200, 8
	s, err := load.NewStorm(ctx, o, live, missed)
	if err != nil {
		return err
	}
	defer s.Close()
	perClient := func(r *load.Report) float64 { return r.Server.PerConnection }
	var wrong, expected int64
	round := func(name string, back func(context.Context) (*load.Report, error)) func() (*load.Report, error) {
		return func() (*load.Report, error) {
			if err := s.Away(ctx); err != nil {
				return nil, err
			}
			if err := sleep(ctx, pick(b, time.Second, 300*time.Millisecond)); err != nil {
				return nil, err
			}
			stop := b.recordWhile(ctx, c, name)
			r, err := back(ctx)
			if err := errors.Join(err, stop()); err != nil {
				return nil, err
			}
			wrong, expected = wrong+r.Lost+r.Duplicated, expected+r.Expected
			return r, nil
		}
	}
	name := fmt.Sprintf("reconnect storm, %d clients that missed %d each", o.Connections, missed)
	open, err := middle(pick(b, 3, 1), round("storm", s.Back), perClient)
	if err != nil {
		return err
	}
	anew, err := middle(pick(b, 3, 1), round("storm-connect", s.Anew), perClient)
	if err != nil {
		return err
	}
	note := func(r *load.Report) string {
		text := fmt.Sprintf("%.0f/s, %.0f messages/s; a client has everything after p50 %.0f ms, p99 %.0f ms; live messages meanwhile p50 %.1f ms, p99 %.1f ms (%d); %.0f µs for the live ones left out; busy: %s",
			r.PerSecond, r.Deliveries, r.Latency.P50, r.Latency.P99, r.Live.P50, r.Live.P99, r.Live.Count, r.Server.Besides, busy(r))
		if r.Trouble != "" {
			text += "; " + r.Trouble
		}
		return text
	}
	b.report(line{Name: name + ": CPU of a client", Unit: "µs", Measured: perClient(open), Budget: 90, Note: note(open)})
	b.report(line{Name: name + ": clients of a second of CPU", Unit: "/s", Measured: 1e6 / perClient(open), Least: 8000,
		Note: fmt.Sprintf("by the clock %.0f/s, with what flows besides", open.PerSecond)})
	b.report(line{Name: name + ", on new connections: CPU of a client", Unit: "µs", Measured: perClient(anew), Note: note(anew) + "; with TCP, handshake, token and welcome"})
	b.report(line{Name: "reconnect storm: missed messages lost or doubled", Measured: float64(wrong), none: true, Note: fmt.Sprintf("of %d deliveries, by seq, over all rounds", expected)})
	flowed, err := s.End(ctx)
	if err != nil {
		return err
	}
	b.report(line{Name: "reconnect storm: live messages lost or doubled", Measured: float64(flowed.Lost + flowed.Duplicated + flowed.OutOfOrder + flowed.Misplaced + flowed.Unanswered + flowed.Refused),
		none: true, Note: fmt.Sprintf("of %d deliveries to %d subscribers of %d channels, over all rounds", flowed.Expected, live.Connections, live.Channels)})
	return nil
}

// recordWhile records a profile of the server until it is stopped or a second
// has passed, when profiles are wanted.
func (b *bench) recordWhile(ctx context.Context, c *child, name string) (stop func() error) {
	if b.profiles == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- b.record(ctx, c, name, time.Second) }()
	return func() error { return <-done }
}

// rates is one round: publishers flat out, then at half of what came of it.
type rates struct{ most, half *load.Report }

// halfRate measures how long messages take from publisher to subscriber when
// half of what is possible is published.
func (b *bench) halfRate(ctx context.Context, dir string) error {
	c, err := b.server("epoll", "-data", dir)
	if err != nil {
		return err
	}
	defer c.stop()
	const flight = 64
	o := b.options(c)
	o.Prefix, o.Connections, o.Publishers, o.InFlight = "log:", 1000, flight, 1
	if o.Token, err = b.tokens(o.Connections + o.Publishers); err != nil {
		return err
	}
	var wrong, expected int64
	deliver := func(name string) func() (*load.Report, error) {
		return func() (*load.Report, error) {
			r, err := b.profile(ctx, c, name, o, load.Fanout)
			if err == nil {
				wrong, expected = wrong+r.Lost+r.Duplicated+r.OutOfOrder+r.Misplaced+r.Unanswered+r.Refused, expected+r.Expected
			}
			return r, err
		}
	}
	flatOut, halfOfIt := deliver("log-fanout"), deliver("log-half")
	r, err := middle(pick(b, 3, 1), func() (r rates, err error) {
		o.Rate = 0
		if r.most, err = flatOut(); err != nil {
			return r, err
		}
		o.Rate = r.most.PerSecond / 2
		r.half, err = halfOfIt()
		return r, err
	}, func(r rates) float64 { return r.half.Latency.P99 })
	if err != nil {
		return err
	}
	most, half := r.most, r.half
	b.report(line{Name: fmt.Sprintf("log channel, %d subscribers, %d publishers flat out", o.Connections, flight), Unit: "/s", Measured: most.PerSecond,
		Note: fmt.Sprintf("%.0f deliveries/s, %.3f µs each, %.0f joined; p99 %.1f ms, answers p99 %.1f ms; busy: %s",
			most.Deliveries, most.Server.PerDelivery, most.Joined, most.Latency.P99, most.Answer.P99, busy(most))})
	b.report(line{Name: fmt.Sprintf("log channel, %d subscribers, half of that: p99 latency", o.Connections), Unit: "ms", Measured: half.Latency.P99,
		Note: fmt.Sprintf("%.0f/s asked for, %.0f/s stored; p50 %.1f ms, max %.1f ms; answers p50 %.1f ms, p99 %.1f ms; %.0f joined; busy: %s",
			most.PerSecond/2, half.PerSecond, half.Latency.P50, half.Latency.Max, half.Answer.P50, half.Answer.P99, half.Joined, busy(half))})
	b.report(line{Name: "log channel: lost, doubled, out of order or refused", Measured: float64(wrong), none: true, Note: fmt.Sprintf("of %d deliveries, by seq and by publisher, over all rounds", expected)})
	return nil
}
