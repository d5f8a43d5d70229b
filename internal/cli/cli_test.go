package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/app"
	"github.com/skein-realtime/skein/internal/config"
	"github.com/skein-realtime/skein/test/pgtest"
)

// serving is the command line as cmd/skein wires it.
func serving() Commands {
	return Commands{Serve: func(ctx context.Context, load func() (skein.Config, error)) error {
		return app.Serve(ctx, app.Options{Load: load})
	}}
}

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"skein": func() { os.Exit(serving().Run(context.Background(), Shell{})) },
	})
}

func TestScripts(t *testing.T) {
	// One cluster for all scripts that ask for a database, made by the first one.
	cluster := sync.OnceValues(func() (*pgtest.Server, error) {
		s, err := pgtest.Open()
		if err == nil {
			t.Cleanup(s.Close)
		}
		return s, err
	})
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// With the race detector each process would wait a second before it ends.
			env.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
			env.Values[serverKey{}] = new(*skein.Server)
			env.Values[clusterKey{}] = cluster
			env.Values[testKey{}] = env.T().(testing.TB) // testscript.Run promises it
			return nil
		},
		UpdateScripts: os.Getenv("SKEIN_UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": codeCommand, "server": serverCommand, "await": awaitCommand, "freeport": freePortCommand, "awaithttp": awaitHTTPCommand,
			"database": databaseCommand, "sql": sqlCommand, "damage": damageCommand,
		},
	})
}

// codeCommand runs a command and wants its exit code: code 2 skein --nope.
func codeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit := (interface{ ExitCode() int })(nil); errors.As(err, &exit) {
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// serverKey is under which a script keeps its server.
type serverKey struct{}

// serverCommand starts a server with a configuration file and sets URL and
// ADDR: server skein.yaml [--dev].
func serverCommand(ts *testscript.TestScript, _ bool, args []string) {
	l, err := config.Load(config.Options{File: ts.MkAbs(args[0]), Dev: len(args) > 1})
	ts.Check(err)
	cfg := l.Config
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Listen = "127.0.0.1:0"
	cfg.Data = ts.MkAbs(cfg.Data)
	s, err := skein.New(cfg)
	ts.Check(err)
	listener, err := s.Listen()
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	ts.Defer(func() {
		cancel()
		<-done
	})
	ts.Setenv("ADDR", listener.Addr().String())
	ts.Setenv("URL", "http://"+listener.Addr().String())
	*ts.Value(serverKey{}).(**skein.Server) = s
}

// awaitCommand waits until a channel has so many subscribers: await room:7 1.
func awaitCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := *ts.Value(serverKey{}).(**skein.Server)
	eventually(ts, func() bool {
		var page struct {
			Items []struct {
				Channel     string `json:"channel"`
				Subscribers int    `json:"subscribers"`
			} `json:"items"`
		}
		ts.Check(s.Call(context.Background(), "channels", map[string]any{"prefix": args[0]}, &page))
		for _, item := range page.Items {
			if item.Channel == args[0] && fmt.Sprint(item.Subscribers) == args[1] {
				return true
			}
		}
		return false
	})
}

// freePortCommand sets ADDR to an address nobody listens on.
func freePortCommand(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("ADDR", l.Addr().String())
	ts.Check(l.Close())
}

// awaitHTTPCommand waits until a URL answers 200.
func awaitHTTPCommand(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, func() bool {
		resp, err := http.Get(args[0])
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// eventually asks until the answer is yes.
func eventually(t interface{ Fatalf(string, ...any) }, yes func() bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not happen within 20 s")
		}
	}
}

// run runs a command in this process.
func run(env []string, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	if env == nil {
		env = []string{}
	}
	code = serving().Run(context.Background(), Shell{Args: args, Env: env, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

func TestEveryHelpBeginsWithExamplesAndIsData(t *testing.T) {
	each(serving().root(Shell{}), func(cmd *cobra.Command) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if cmd.IsAdditionalHelpTopicCommand() {
			args = []string{"help", cmd.Name()}
		}
		code, stdout, stderr := run(nil, "", args...)
		if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "Examples:\n  ") {
			t.Errorf("%v: code %d, stderr %q, stdout %.80q", args, code, stderr, stdout)
		}
		if !cmd.HasParent() {
			return
		}
		if cmd.Short == "" {
			t.Errorf("%s has no short help", cmd.CommandPath())
		}
	})
}

func TestExamplesUseCommandsAndFlagsThatExist(t *testing.T) {
	root := serving().root(Shell{})
	long := regexp.MustCompile(`--([a-z0-9-]+)`)
	each(root, func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			_, line, found := strings.Cut(line, "skein ")
			if !found {
				continue
			}
			if line, _, _ = strings.Cut(line, "    "); strings.Contains(line, "|") {
				line, _, _ = strings.Cut(line, "|")
			}
			target, _, err := root.Find(strings.Fields(line))
			if err != nil || target == root && !strings.HasPrefix(line, "--") {
				t.Errorf("%s: %q is no command (%v)", cmd.CommandPath(), line, err)
				continue
			}
			if i := strings.Index(line, "$("); i >= 0 {
				line = line[:i]
			}
			for _, m := range long.FindAllStringSubmatch(line, -1) {
				if target.Flags().Lookup(m[1]) == nil {
					t.Errorf("%s: %q has no flag --%s", cmd.CommandPath(), line, m[1])
				}
			}
		}
	})
}

func TestEveryErrorHasAnExitCodeOfTheTable(t *testing.T) {
	table := map[int]bool{}
	for i, e := range exits() {
		if e.code != i || e.meaning == "" {
			t.Errorf("entry %d of the table is %+v", i, e)
		}
		table[e.code] = true
	}
	for want, err := range map[int]error{
		0: nil, 1: errors.New("x"), 2: usagef("x"), 3: fmt.Errorf("load: %w", &config.Error{}), 4: fmt.Errorf("%w: port", app.ErrStart), 5: app.ErrForced, 6: fmt.Errorf("%w: x", errMissed),
	} {
		if got := exitCode(err); got != want || !table[got] {
			t.Errorf("%v gives %d, want %d", err, got, want)
		}
	}
	if got := exitCode(fmt.Errorf("%w: %w", app.ErrStart, errors.Join(&skein.ConfigError{}))); got != 3 {
		t.Errorf("a configuration that New refuses gives %d, want 3", got)
	}
}

func TestServeReadsTheConfigurationEachTimeItIsAsked(t *testing.T) {
	name := t.TempDir() + "/skein.yaml"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("heartbeat: {misses: 5}\nlisten: 127.0.0.1:1\n")
	var got []string
	c := Commands{Serve: func(_ context.Context, load func() (skein.Config, error)) error {
		for range 2 {
			cfg, err := load()
			if err != nil {
				return err
			}
			got = append(got, fmt.Sprint(cfg.Listen, " ", cfg.Heartbeat.Misses, " ", cfg.Log.Level, " ", cfg.Log.Format, " ", cfg.Dev))
			write("heartbeat: {misses: 6}\n")
		}
		write("heartbeat: {misses: 0}\n")
		_, err := load()
		return err
	}}
	var errs bytes.Buffer
	code := c.Run(context.Background(), Shell{
		Args:   []string{"serve", "--dev", "--listen", "127.0.0.1:2", "--log-level", "debug", "--config", name},
		Env:    []string{"SKEIN_LOG_FORMAT=json", "SKEIN_LOG_LEVEL=warn"},
		Stdout: io.Discard, Stderr: &errs,
	})
	want := []string{"127.0.0.1:2 5 debug json true", "127.0.0.1:2 6 debug json true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if code != 3 {
		t.Errorf("exit code %d, want 3: %s", code, errs.String())
	}
}

func TestVersionAsJSON(t *testing.T) {
	_, stdout, _ := run(nil, "", "version", "--json")
	var v versionInfo
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || v.Version != skein.Version || v.Go == "" || v.Platform == "" {
		t.Errorf("%s: %+v, %v", stdout, v, err)
	}
}
