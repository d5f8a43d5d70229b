package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/skein-realtime/skein/internal/load"
)

func inBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// exchange is one round of publishing by HTTP.
type exchange struct{ server, floor *load.Report }

// publish measures the HTTP API alone.
func publish(ctx context.Context, b *bench) error {
	perPublish := func(r *load.Report) float64 { return r.Server.PerPublish }
	for _, v := range []struct {
		batch  int
		budget float64
	}{{1, 15}, {100, 4}} {
		r, err := b.byHTTP(ctx, 0, v.batch, perPublish)
		if err != nil {
			return err
		}
		b.report(line{Name: "HTTP publish without subscribers, 16 clients" + batches(v.batch), Unit: "µs", Measured: perPublish(r.server), Floor: perPublish(r.floor), Budget: v.budget,
			Note: fmt.Sprintf("%.0f/s, answers p99 %.1f ms; busy: %s; floor %.0f/s", r.server.PerSecond, r.server.Answer.P99, busy(r.server), r.floor.PerSecond)})
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
	perDelivery := func(r *load.Report) float64 { return r.Server.PerDelivery }
	n := pick(b, 5_000, 2_000)
	for _, v := range []struct {
		batch  int
		budget float64
	}{{1, 30}, {100, 10}} {
		r, err := b.byHTTP(ctx, n, v.batch, perDelivery)
		if err != nil {
			return err
		}
		b.report(line{Name: fmt.Sprintf("%d channels with one subscriber, HTTP%s", n, batches(v.batch)), Unit: "µs", Measured: perDelivery(r.server), Floor: perDelivery(r.floor), Budget: v.budget,
			Note: fmt.Sprintf("%.0f deliveries/s, p99 %.1f ms, %s; busy: %s; floor %.0f/s", r.server.Deliveries, r.server.Latency.P99, wrongs(r.server), busy(r.server), r.floor.Deliveries)})
	}
	return nil
}

// byHTTP publishes to n channels with a subscriber each, or to as good as none,
// by server and floor in turn.
func (b *bench) byHTTP(ctx context.Context, n, batch int, value func(*load.Report) float64) (exchange, error) {
	return middle(pick(b, 3, 1), func() (r exchange, err error) {
		var answer []byte
		if r.server, answer, err = b.askServer(ctx, n, batch); err != nil {
			return r, err
		}
		if r.floor, err = b.askFloor(ctx, n, batch, answer, r.server.Sample); err != nil {
			return r, fmt.Errorf("floor: %w", err)
		}
		return r, nil
	}, func(r exchange) float64 { return value(r.server) })
}

// askServer also gives the body of an answer, for the floor to repeat.
func (b *bench) askServer(ctx context.Context, n, batch int) (r *load.Report, answer []byte, err error) {
	c, err := b.server("epoll")
	if err != nil {
		return nil, nil, err
	}
	defer c.stop()
	if answer, err = b.reply(ctx, c, batch); err != nil {
		return nil, nil, err
	}
	o, run := b.overHTTP(c, n, batch)
	r, err = b.profile(ctx, c, fmt.Sprintf("http-%d-%d", n, batch), o, run)
	return r, answer, err
}

func (b *bench) askFloor(ctx context.Context, n, batch int, answer, frame []byte) (*load.Report, error) {
	args := []string{"-mode", "http", "-answer", inBase64(answer)}
	if n > 0 {
		args = append(args, "-frame", inBase64(frame))
	}
	c, err := b.start("floor", args...)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	o, run := b.overHTTP(c, n, batch)
	return run(ctx, o)
}

// overHTTP is what both sides of a round are asked.
func (b *bench) overHTTP(c *child, n, batch int) (load.Options, func(context.Context, load.Options) (*load.Report, error)) {
	o := b.options(c)
	o.HTTP, o.Publishers, o.Batch = true, 16, batch
	o.Connections, o.Channels, o.Duration = n, n, pick(b, 3*time.Second, o.Duration)
	if n == 0 {
		return o, load.Publish
	}
	return o, load.Fanout
}
