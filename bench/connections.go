package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/load"
)

// tokens makes the tokens of n users beforehand, so that making them costs
// nobody anything later.
func (b *bench) tokens(n int) (func(i int) string, error) {
	list := make([]string, n)
	for i := range list {
		var err error
		if list[i], err = b.token("user-" + strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	return func(i int) string { return list[i] }, nil
}

// token makes one for a user.
func (b *bench) token(user string) (string, error) {
	now := time.Now()
	return auth.Sign([]byte(b.secret), auth.Identity{User: user, Expires: auth.At(now.Add(time.Hour))}, "", "", now)
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
	for _, o := range []opening{
		{driver: "epoll", kept: 2},
		{driver: "epoll", together: true},
		{driver: "portable", kept: 6},
	} {
		o.n, o.token = n, token
		if err := b.open(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", o.driver, err)
		}
	}
	return nil
}

// opening is how n connections are opened.
type opening struct {
	n        int
	token    func(int) string
	driver   string
	together bool    // sub leaves with connect, before the welcome
	kept     float64 // budget of an idle connection in KiB; 0: memory is not measured
}

func (o *opening) of(i int) load.Opening {
	return load.Opening{Token: o.token(i), Channel: "load:" + strconv.Itoa(i/100), Together: o.together}
}

// opened is one round: processor time in µs of a connection, of server and floor.
type opened struct {
	server, floor float64
	greeting      greeting
}

// open measures opening connections by server and floor in turn, and what they
// weigh in the last round.
func (b *bench) open(ctx context.Context, o opening) error {
	rounds, done := pick(b, 3, 1), 0
	var weights []line
	r, err := middle(rounds, func() (r opened, err error) {
		if done++; done == rounds && o.kept > 0 {
			r, weights, err = b.openServer(ctx, o, true)
		} else {
			r, _, err = b.openServer(ctx, o, false)
		}
		if err == nil {
			err = b.openFloor(ctx, o, &r)
		}
		return r, err
	}, func(r opened) float64 { return r.server })
	if err != nil {
		return err
	}
	name := "connect with HS256 token and subscribe, " + o.driver
	if o.together {
		name += ", sub sent with connect"
	}
	b.report(line{Name: name, Unit: "µs", Measured: r.server, Floor: r.floor, Budget: 70, Note: fmt.Sprintf("%d connections", o.n)})
	for _, l := range weights {
		b.report(l)
	}
	return nil
}

func (b *bench) openServer(ctx context.Context, o opening, weigh bool) (r opened, weights []line, err error) {
	c, err := b.server(o.driver)
	if err != nil {
		return r, nil, err
	}
	defer c.stop()
	if err := sleep(ctx, time.Second); err != nil { // the program has started in full
		return r, nil, err
	}
	before, err := c.proc.RSS()
	if err != nil {
		return r, nil, err
	}
	s, err := load.New(load.Config{URL: c.url, Key: b.key})
	if err != nil {
		return r, nil, err
	}
	defer func() { _ = s.Close() }()
	name := "connect-" + o.driver
	if o.together {
		name += "-together"
	}
	if r.server, err = b.dial(ctx, c, s, o, name); err != nil || !weigh {
		return r, nil, errors.Join(err, b.recordGreeting(ctx, c, o, &r))
	}
	for _, after := range []time.Duration{3 * time.Second, pick(b, 20*time.Second, 5*time.Second)} {
		if err := sleep(ctx, after); err != nil {
			return r, nil, err
		}
		rss, err := c.proc.RSS()
		if err != nil {
			return r, nil, err
		}
		weights = append(weights, line{Name: fmt.Sprintf("RSS of an idle connection, %s, %s later", o.driver, after), Unit: "KiB",
			Measured: float64(rss-before) / float64(o.n) / 1024, Budget: o.kept, Note: fmt.Sprintf("%d connections with one subscription", o.n)})
	}
	return r, weights, b.recordGreeting(ctx, c, o, &r)
}

// recordGreeting keeps what the server answers to a user in the middle, whose
// name is as long as most.
func (b *bench) recordGreeting(ctx context.Context, c *child, o opening, r *opened) (err error) {
	like := o.of(o.n / 2)
	r.greeting, err = greet(ctx, c, like.Token, like.Channel)
	return err
}

func (b *bench) openFloor(ctx context.Context, o opening, r *opened) error {
	g := &r.greeting
	c, err := b.start("floor", "-mode", "connect", "-hello", inBase64(g.hello), "-welcome", inBase64(g.welcome), "-ok", inBase64(g.ok))
	if err != nil {
		return err
	}
	defer c.stop()
	s, err := load.New(load.Config{URL: c.url, Key: b.key})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	r.floor, err = b.dial(ctx, c, s, o, "")
	return err
}

// dial opens the connections and gives the processor time of each in µs. With a
// name it records a profile, when profiles are wanted.
func (b *bench) dial(ctx context.Context, c *child, s *load.Swarm, o opening, name string) (float64, error) {
	spent, err := c.proc.CPU()
	if err != nil {
		return 0, err
	}
	recorded := make(chan error, 1)
	if b.profiles == "" || name == "" {
		recorded <- nil
	} else {
		go func() { recorded <- b.record(ctx, c, name, 2*time.Second) }()
	}
	err = s.Dial(ctx, o.n, o.of, nil)
	if err := errors.Join(err, <-recorded); err != nil {
		return 0, err
	}
	now, err := c.proc.CPU()
	return float64((now - spent).Microseconds()) / float64(o.n), err
}
