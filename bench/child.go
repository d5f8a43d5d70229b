package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/load"
)

// prepare builds the programs that are measured.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.programs, err = os.MkdirTemp("", "skein-bench-"); err != nil {
		return err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	b.secret, b.key = hex.EncodeToString(random), auth.NewKey()
	const module = "github.com/skein-realtime/skein/bench/"
	build := exec.CommandContext(ctx, "go", "build", "-o", b.programs+"/", module+"server", module+"floor", module+"store")
	build.Stderr = os.Stderr
	return build.Run()
}

// child is a program that is measured.
type child struct {
	cmd  *exec.Cmd
	url  string
	proc load.Process
}

var address = regexp.MustCompile(`ws://(\S+)/ws`)

// start starts one of the programs on the server's core and waits until it
// says where it listens.
func (b *bench) start(name string, args ...string) (*child, error) {
	return b.startOn([]int{serverCore}, name, args...)
}

// startOn is start on some cores.
func (b *bench) startOn(cores []int, name string, args ...string) (*child, error) {
	cmd := exec.Command(filepath.Join(b.programs, name), args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(len(cores)))
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(cmd, cores...); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, proc: load.Process{PID: cmd.Process.Pid}}
	r := bufio.NewReader(said)
	for c.url == "" {
		line, err := r.ReadString('\n')
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("%s did not say where it listens: %w", name, err)
		}
		if m := address.FindStringSubmatch(line); m != nil {
			c.url = "http://" + m[1]
		}
	}
	go func() { _, _ = io.Copy(os.Stderr, skipInfo{r}) }()
	return c, nil
}

// skipInfo lets only what went wrong through.
type skipInfo struct{ r *bufio.Reader }

// Read implements io.Reader.
func (s skipInfo) Read(b []byte) (int, error) {
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if strings.Contains(line, `"level":"ERROR"`) || strings.HasPrefix(line, "panic") || strings.HasPrefix(line, "floor:") {
			return copy(b, line), nil
		}
	}
}

// server starts the server with a driver.
func (b *bench) server(driver string, more ...string) (*child, error) {
	return b.start("server", append([]string{"-driver", driver, "-secret", b.secret, "-key", b.key}, more...)...)
}

// floor starts the floor for a frame.
func (b *bench) floor(frame []byte, join int) (*child, error) {
	if len(frame) == 0 {
		return nil, errors.New("no frame was delivered that the floor could write")
	}
	return b.start("floor", "-frame", inBase64(frame), "-join", strconv.Itoa(join))
}

// stop ends the program at once.
func (c *child) stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // it says that the program was killed
}

// options are what all scenarios have in common.
func (b *bench) options(c *child) load.Options {
	return load.Options{
		URL: c.url, Key: b.key, Prefix: "load:", Size: 128, Process: &c.proc,
		Warmup: pick(b, time.Second, 300*time.Millisecond), Duration: pick(b, 5*time.Second, 1500*time.Millisecond),
	}
}

// profile runs a scenario and records the CPU of both sides while it measures,
// when profiles are wanted. That costs a little, so the numbers of such a run
// are not the best.
func (b *bench) profile(ctx context.Context, c *child, name string, o load.Options, run func(context.Context, load.Options) (*load.Report, error)) (*load.Report, error) {
	if b.profiles == "" {
		return run(ctx, o)
	}
	own, err := os.Create(filepath.Join(b.profiles, name+"-generator.pprof"))
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	o.Measuring = func() {
		go func() { done <- b.record(ctx, c, name, o.Duration) }()
		if err := pprof.StartCPUProfile(own); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	r, err := run(ctx, o)
	pprof.StopCPUProfile()
	if err == nil {
		err = <-done
	}
	return r, errors.Join(err, own.Close())
}

func (b *bench) record(ctx context.Context, c *child, name string, span time.Duration) error {
	url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", c.url, max(1, int(span.Seconds())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", res.Status)
	}
	file, err := os.Create(filepath.Join(b.profiles, name+".pprof"))
	if err != nil {
		return err
	}
	_, err = io.Copy(file, res.Body)
	return errors.Join(err, file.Close())
}
