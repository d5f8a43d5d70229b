package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/load"
	"github.com/skein-realtime/skein/internal/term"
)

// scenario is one of the things that can be measured.
type scenario func(context.Context, load.Options) (*load.Report, error)

// benchFlags are the flags of `skein bench` and its commands.
type benchFlags struct {
	server  server
	opt     load.Options
	users   bool
	json    bool
	maxP99  time.Duration
	maxLost int64
}

// bench is `skein bench`, which measures a running server.
func bench(sh Shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a running server",
		Example: `  skein bench connections -n 10000 --duration 30s
  skein bench fanout -n 1000 --rate 100 --max-p99 50ms --max-lost 0
  skein bench publish --in-flight 16 --key "$SKEIN_KEY"
  skein bench echo -n 100 --rate 1000`,
		Long: `Drives a server as many clients would, counts what is lost, doubled or out of
order, and prints latencies and throughput. When the server runs on this machine
and there is a key for its API, its processor time and memory are told too.
A threshold that is missed ends with exit code 6.`,
	}
	cmd.AddCommand(
		benchOf(sh, load.Connections, "connections", "Open connections and keep them", 1000, "  skein bench connections -n 10000 --duration 30s\n  skein bench connections -n 100 --token \"$SKEIN_TOKEN\" --max-p99 200ms"),
		benchOf(sh, load.Fanout, "fanout", "Publish to channels with subscribers", 100, "  skein bench fanout -n 1000 --rate 100 --max-p99 50ms --max-lost 0\n  skein bench fanout -n 5000 --channels 5000 --in-flight 16 --key \"$SKEIN_KEY\""),
		benchOf(sh, load.Publish, "publish", "Publish to channels without subscribers", 0, "  skein bench publish --in-flight 16 --key \"$SKEIN_KEY\"\n  skein bench publish --in-flight 4 --batch 100 --key dev --json"),
		benchOf(sh, load.Echo, "echo", "Measure round trips of ping frames", 10, "  skein bench echo -n 100 --rate 1000 --max-p99 10ms"),
	)
	return cmd
}

// benchOf is the command of one scenario, with the flags that it has a use for.
// connections is how many there are by default; with 0 there is no such flag.
func benchOf(sh Shell, run scenario, name, short string, connections int, example string) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use: name, Short: short, Example: example, Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, sh, run, name) },
	}
	flags := cmd.Flags()
	f.server.addURL(cmd)
	f.server.addKey(cmd)
	flags.StringVar(&f.server.token, "token", "", "`TOKEN` that every connection gives (environment: SKEIN_TOKEN)")
	flags.BoolVar(&f.users, "users", false, "every connection says that it is another user; only a server in development mode believes it")
	if connections > 0 {
		flags.IntVarP(&f.opt.Connections, "connections", "n", connections, "`NUMBER` of connections")
	}
	if name != "echo" {
		flags.IntVar(&f.opt.Channels, "channels", 1, "`NUMBER` of channels")
		flags.StringVar(&f.opt.Prefix, "prefix", "event:bench-", "`TEXT` that the channels' names begin with; a number follows")
	}
	if name == "fanout" || name == "publish" {
		flags.IntVar(&f.opt.Publishers, "publishers", 1, "`NUMBER` of clients that publish: by the HTTP API when there is a key, else by WebSocket")
		flags.IntVar(&f.opt.Batch, "batch", 1, "`NUMBER` of messages in one request of the HTTP API")
		flags.IntVar(&f.opt.Size, "size", 128, "`BYTES` of data of a message")
	}
	if name != "connections" {
		flags.Float64Var(&f.opt.Rate, "rate", 0, "`NUMBER` of messages or pings per second in all; 0: as fast as it goes")
		flags.IntVar(&f.opt.InFlight, "in-flight", 1, "`NUMBER` of requests without an answer, of each publisher or connection")
	}
	if name == "fanout" {
		flags.Int64Var(&f.maxLost, "max-lost", -1, "fail when more `MESSAGES` are lost or dropped; -1: do not check")
	}
	flags.DurationVar(&f.opt.Duration, "duration", 10*time.Second, "how long to measure, or to keep the connections")
	flags.DurationVar(&f.maxP99, "max-p99", 0, "fail when the 99th percentile of the latency is longer; 0: do not check")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

// check completes the flags and says which one cannot be.
func (f *benchFlags) check(cmd *cobra.Command, sh Shell) error {
	if err := f.server.complete(cmd, sh); err != nil {
		return err
	}
	o := &f.opt
	for _, number := range []struct {
		flag  string
		value *int
	}{{"connections", &o.Connections}, {"channels", &o.Channels}, {"publishers", &o.Publishers}, {"batch", &o.Batch}, {"in-flight", &o.InFlight}} {
		if cmd.Flags().Lookup(number.flag) != nil && *number.value < 1 {
			return usagef("--%s must be at least 1", number.flag)
		}
	}
	switch {
	case f.users && f.server.token != "":
		return usagef("--token and --users do not go together; a token has a user in it")
	case o.Rate < 0:
		return usagef("--rate must not be negative")
	case o.Duration <= 0:
		return usagef("--duration must be longer than 0")
	case cmd.Flags().Lookup("size") != nil && o.Size < load.MinSize:
		return usagef("--size must be at least %d: every message carries its number and its time", load.MinSize)
	case cmd.Name() == "fanout" && o.Connections%o.Channels != 0:
		return usagef("--connections must be a multiple of --channels, so that every channel has as many subscribers")
	case o.Batch > 1 && f.server.key == "":
		return usagef("--batch needs a --key: only the HTTP API takes batches")
	}
	return nil
}

func (f *benchFlags) run(cmd *cobra.Command, sh Shell, run scenario, name string) error {
	if err := f.check(cmd, sh); err != nil {
		return err
	}
	ctx, o := cmd.Context(), f.opt
	o.URL, o.Key, o.Users = f.server.base, f.server.key, f.users
	o.Lanes = max(1, runtime.GOMAXPROCS(0)/2)
	if f.server.token != "" {
		o.Token = func(int) string { return f.server.token }
	}
	if f.server.key != "" {
		// A client of the HTTP API waits for its answer, so several requests in
		// flight are several clients.
		o.HTTP = true
		o.Publishers = max(1, o.Publishers) * max(1, o.InFlight)
		if p, ok := load.FindProcess(ctx, o.URL, o.Key); ok {
			o.Process = &p
		}
	}
	if name == "fanout" || name == "publish" {
		o.Warmup = min(time.Second, o.Duration/5)
	}
	shown := &stages{sh: sh}
	o.Progress = shown.set
	report, err := run(ctx, o)
	shown.clear()
	if err != nil {
		return err
	}
	if f.json {
		text, err := json.Marshal(report)
		if err == nil {
			err = sh.print(text)
		}
		if err != nil {
			return err
		}
	} else if err := report.Print(sh.Stdout); err != nil {
		return err
	}
	return f.judge(report)
}

// judge compares with the thresholds.
func (f *benchFlags) judge(r *load.Report) error {
	latency := r.Latency
	if latency.Count == 0 && r.Answer != nil {
		latency = *r.Answer // nobody receives, so what counts is how long a publisher waits
	}
	limit := float64(f.maxP99) / float64(time.Millisecond)
	switch {
	case f.maxP99 == 0:
	case latency.Count == 0:
		return fmt.Errorf("%w: nothing arrived, so there is no 99th percentile (--max-p99)", errMissed)
	case latency.P99 > limit:
		return fmt.Errorf("%w: the 99th percentile is %.2f ms, --max-p99 allows %.2f ms", errMissed, latency.P99, limit)
	}
	if lost := r.Lost + r.Told; f.maxLost >= 0 && lost > f.maxLost {
		return fmt.Errorf("%w: %d messages are lost or dropped, --max-lost allows %d", errMissed, lost, f.maxLost)
	}
	return nil
}

// stages shows the progress of one stage after the other.
type stages struct {
	sh    Shell
	name  string
	shown *term.Progress
}

func (s *stages) set(stage string, done, total int64) {
	if s.name != stage {
		s.clear()
		s.name, s.shown = stage, term.NewProgress(s.sh.Stderr, stage, total)
	}
	s.shown.Set(done)
}

func (s *stages) clear() {
	if s.shown != nil {
		s.shown.Clear()
	}
}
