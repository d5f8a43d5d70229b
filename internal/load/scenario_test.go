package load_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "0123456789abcdef0123456789abcdef"

// server starts a server in development mode and gives its URL.
func server(t *testing.T, change func(*skein.Config)) string {
	t.Helper()
	cfg := skein.Config{Listen: "127.0.0.1:0", Auth: skein.Auth{JWT: skein.JWT{HMACSecret: secret}}}.WithDev()
	cfg.Data = t.TempDir()
	cfg.Limits.FramesPerSecond = -1
	cfg.Drain.Timeout = skein.Duration(time.Second)
	if change != nil {
		change(&cfg)
	}
	s, err := skein.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func token(t *testing.T) func(int) string {
	t.Helper()
	text, err := auth.Sign([]byte(secret), auth.Identity{User: "42"}, "", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return func(int) string { return text }
}

// faultless fails the test unless everything arrived, once and in order.
func faultless(t *testing.T, r *load.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Duplicated != 0 || r.OutOfOrder != 0 || r.Disconnects != 0 || r.Refused != 0 || r.Unanswered != 0 || r.Trouble != "" {
		t.Errorf("something went wrong: %+v", r)
	}
	if r.PerSecond <= 0 || r.Latency.Count > 0 && r.Latency.Max < r.Latency.P50 {
		t.Errorf("not a result: %+v", r)
	}
	if r.Delivered != r.Expected {
		t.Errorf("%d of %d were delivered", r.Delivered, r.Expected)
	}
}

func TestEverythingArrivesInEveryScenario(t *testing.T) {
	url := server(t, nil)
	self := &load.Process{PID: os.Getpid()}
	const brief = 150 * time.Millisecond
	for _, tc := range []struct {
		name  string
		run   func(context.Context, load.Options) (*load.Report, error)
		opt   load.Options
		count func(*load.Report) int64
	}{
		{"connections with a token", load.Connections, load.Options{Connections: 20, Channels: 3, Token: token(t), Process: self}, nil},
		{"connections with a token in the handshake", load.Connections, load.Options{Connections: 20, Token: token(t), EarlyToken: true}, nil},
		{"anonymous connections on two lanes", load.Connections, load.Options{Connections: 20, Lanes: 2}, nil},
		{"fan-out, one in flight", load.Fanout, load.Options{Connections: 20, Window: 1, Process: self}, nil},
		{"fan-out, many in flight", load.Fanout, load.Options{Connections: 20, Channels: 4, Window: 64, Users: true, Lanes: 2}, nil},
		{"fan-out, several publishers", load.Fanout, load.Options{Connections: 5, Publishers: 3, InFlight: 4}, nil},
		{"fan-out at a rate", load.Fanout, load.Options{Connections: 5, Rate: 500, InFlight: 8}, nil},
		{"fan-out by HTTP in batches", load.Fanout, load.Options{Connections: 10, Channels: 10, HTTP: true, Batch: 25, Publishers: 2}, nil},
		{"publish by HTTP", load.Publish, load.Options{HTTP: true, Publishers: 4, Channels: 2, Process: self}, func(r *load.Report) int64 { return r.Answer.Count }},
		{"publish by WebSocket", load.Publish, load.Options{InFlight: 8, Size: 1000}, func(r *load.Report) int64 { return r.Answer.Count }},
		{"echo", load.Echo, load.Options{Connections: 4, InFlight: 2}, nil},
		{"echo at a rate", load.Echo, load.Options{Connections: 4, Rate: 400, Process: self}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			tc.opt.URL, tc.opt.Duration = url, brief
			r, err := tc.run(ctx, tc.opt)
			faultless(t, r, err)
			count := r.Latency.Count
			if tc.count != nil {
				count = tc.count(r)
			}
			if count == 0 {
				t.Errorf("nothing was measured: %+v", r)
			}
			if tc.opt.Process != nil && (r.Server == nil || r.Server.RSS == 0) {
				t.Errorf("the process was not watched: %+v", r.Server)
			}
			var text bytes.Buffer
			if err := r.Print(&text); err != nil || !strings.Contains(text.String(), "0 lost, 0 duplicated, 0 out of order") {
				t.Errorf("printed %q, %v", text.String(), err)
			}
		})
	}
}

func TestWhatTheServerRefusesIsNotLost(t *testing.T) {
	url := server(t, func(cfg *skein.Config) { cfg.Limits.FramesPerSecond = 20 })
	r, err := load.Fanout(t.Context(), load.Options{URL: url, Connections: 3, InFlight: 16, Rate: 400, Duration: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Refused == 0 || r.Accepted == 0 || r.Lost != 0 || r.Delivered != r.Expected || !strings.Contains(r.Trouble, "rate_limited") {
		t.Errorf("%+v", r)
	}
}

func TestAnOpeningThatFailsSaysWhy(t *testing.T) {
	url := server(t, nil)
	for _, tc := range []struct {
		name string
		opt  load.Options
		want string
	}{
		{"a channel that does not exist", load.Options{URL: url, Prefix: "nowhere:"}, "not_found"},
		{"a token that is not one", load.Options{URL: url, Token: func(int) string { return "x" }}, "unauthorized"},
		{"nobody there", load.Options{URL: "http://127.0.0.1:1"}, "refused"},
		{"not a server's address", load.Options{URL: "ftp://localhost"}, "none of http"},
		{"no host", load.Options{URL: "ws://"}, "names no host"},
		{"another path's server", load.Options{URL: strings.Replace(url, "http", "wss", 1)}, "tls"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.opt.Connections = 1
			_, err := load.Connections(t.Context(), tc.opt)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestTheServersProcessIsFoundOnlyWhereItListens(t *testing.T) {
	url := server(t, nil)
	p, ok := load.FindProcess(t.Context(), url, "dev")
	if !ok || p.PID != os.Getpid() {
		t.Errorf("found %v %v, want this process", p, ok)
	}
	if cpu, err := p.CPU(); err != nil || cpu < 0 {
		t.Errorf("CPU: %v, %v", cpu, err)
	}
	if _, ok := load.FindProcess(t.Context(), url, "a wrong key"); ok {
		t.Error("a server that does not tell was found")
	}
	if _, err := (load.Process{PID: 1 << 30}).CPU(); err == nil {
		t.Error("a process that is not there has a CPU time")
	}
}

func TestSubLeavesTogetherWithConnect(t *testing.T) {
	s, err := load.New(load.Config{URL: server(t, nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	secret := token(t)
	open := []load.Opening{
		{Token: secret(0), Channel: "event:a", Together: true},
		{Token: secret(1), Channel: "event:a", Together: true, Early: true},
		{Token: secret(2), Together: true},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Dial(ctx, len(open), func(i int) load.Opening { return open[i] }, nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Len(); got != len(open) {
		t.Errorf("%d connections are open, want %d", got, len(open))
	}
}

func TestEverybodyWhoComesBackCatchesUp(t *testing.T) {
	self := &load.Process{PID: os.Getpid()}
	url := server(t, func(cfg *skein.Config) {
		cfg.Namespaces = map[string]skein.Namespace{"log": {Kind: "log", Subscribe: "anyone", Publish: "anyone"}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	away := load.Options{URL: url, Prefix: "log:away-", Connections: 40, Channels: 4, Publishers: 8, Process: self}
	live := load.Options{URL: url, Prefix: "log:live-", Connections: 6, Channels: 2, Publishers: 2, InFlight: 4, Rate: 100}
	const missed = 30
	s, err := load.NewStorm(ctx, away, live, missed)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, back := range []func(context.Context) (*load.Report, error){s.Back, s.Back, s.Anew, s.Back} {
		if err := s.Away(ctx); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		r, err := back(ctx)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if r.Expected != 40*missed || r.Lost != 0 || r.Duplicated != 0 || r.Trouble != "" || r.Latency.Count != 40 {
			t.Errorf("round %d: %+v", i, r)
		}
	}
	r, err := s.End(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r.Accepted == 0 || r.Delivered != r.Expected || r.Lost+r.Duplicated+r.OutOfOrder+r.Misplaced+r.Refused+r.Unanswered != 0 {
		t.Errorf("what flows: %+v", r)
	}
}
