package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/load"
)

// benchServer starts a server in development mode and gives its URL.
func benchServer(t *testing.T) string {
	t.Helper()
	cfg := skein.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Drain: skein.Drain{Timeout: skein.Duration(time.Second)}}.WithDev()
	cfg.Data = t.TempDir()
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

// runBench runs `skein bench` with arguments and gives what it printed.
func runBench(t *testing.T, args ...string) (code int, out, told string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	sh := Shell{Args: append([]string{"bench"}, args...), Env: []string{}, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}
	root := &cobra.Command{Use: "skein", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(bench(sh))
	polish(root)
	root.SetArgs(sh.Args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	cmd, err := root.ExecuteContextC(t.Context())
	sh.explain(cmd, err)
	return exitCode(err), stdout.String(), stderr.String()
}

func TestBenchMeasuresARunningServer(t *testing.T) {
	url := benchServer(t)
	for _, tc := range []struct {
		name string
		args []string
		want string // in the output for people
	}{
		{"connections", []string{"connections", "-n", "5", "--key", "dev"}, "server memory"},
		{"fan-out by WebSocket", []string{"fanout", "-n", "4", "--channels", "2", "--rate", "50", "--max-lost", "0", "--max-p99", "20s", "--users"}, "delivered"},
		{"fan-out by HTTP", []string{"fanout", "-n", "4", "--key", "dev", "--in-flight", "2", "--batch", "5"}, "server CPU"},
		{"publish", []string{"publish", "--key", "dev", "--max-p99", "20s"}, "answers"},
		{"echo", []string{"echo", "-n", "3", "--rate", "90"}, "latency"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append(tc.args, "--url", url, "--duration", "200ms")
			code, out, told := runBench(t, args...)
			if code != exitOK || !strings.Contains(out, tc.want) || !strings.Contains(out, "0 lost, 0 duplicated, 0 out of order") {
				t.Errorf("exit code %d\n%s\n%s", code, out, told)
			}
			code, out, told = runBench(t, append(args, "--json")...)
			var r load.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK || r.PerSecond <= 0 || r.Lost != 0 {
				t.Errorf("exit code %d, %v\n%s\n%s", code, err, out, told)
			}
		})
	}
}

func TestBenchSaysWhatIsMissedOrWrong(t *testing.T) {
	url := benchServer(t)
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a latency that cannot be had", []string{"echo", "-n", "1", "--rate", "50", "--max-p99", "1ns"}, exitMissed, "--max-p99 allows"},
		{"uneven channels", []string{"fanout", "-n", "3", "--channels", "2"}, exitUsage, "must be a multiple"},
		{"a message that is too small", []string{"publish", "--size", "3"}, exitUsage, "--size must be at least"},
		{"batches without a key", []string{"publish", "--batch", "3"}, exitUsage, "--batch needs a --key"},
		{"no publisher", []string{"publish", "--publishers", "0"}, exitUsage, "--publishers must be at least 1"},
		{"a negative rate", []string{"echo", "--rate", "-1"}, exitUsage, "--rate must not be negative"},
		{"no time", []string{"echo", "--duration", "0s"}, exitUsage, "--duration must be longer"},
		{"two identities", []string{"echo", "--token", "x", "--users"}, exitUsage, "do not go together"},
		{"a namespace that is not there", []string{"connections", "--prefix", "nowhere:"}, exitFailure, "not_found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append(tc.args, "--url", url)
			if tc.code != exitUsage {
				args = append(args, "--duration", "150ms")
			}
			if code, out, told := runBench(t, args...); code != tc.code || !strings.Contains(told, tc.want) {
				t.Errorf("exit code %d, want %d and %q\n%s\n%s", code, tc.code, tc.want, out, told)
			}
		})
	}
}

func TestBenchCountsLostAndDroppedAgainstItsLimit(t *testing.T) {
	for _, tc := range []struct {
		lost, told, limit int64
		missed            bool
	}{{0, 0, 0, false}, {1, 0, 0, true}, {0, 1, 0, true}, {1, 1, 2, false}, {5, 5, -1, false}} {
		f := benchFlags{maxLost: tc.limit}
		if err := f.judge(&load.Report{Lost: tc.lost, Told: tc.told}); (err != nil) != tc.missed {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
