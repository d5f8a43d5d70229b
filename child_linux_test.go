package skein_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/cli"
	"github.com/skein-realtime/skein/internal/ws"
)

// runChild is the main function of the copy. Its role is "few" and a driver: a
// server with few descriptors; or "log" and a directory: one that keeps what is
// said there; or "chat" and a directory or a database: one with conversations; or "audit" and one of these: one with a verb that never ends. It tells its address on standard output and ends with its standard
// input. The roles "program" and "tmpfs" are told by runProgram; "skein" is the
// command line, with the arguments of the process.
func runChild(role string) int {
	cfg := open()
	kind, rest, _ := strings.Cut(role, " ")
	switch kind {
	case "program", "tmpfs":
		return runProgram(rest, kind == "tmpfs")
	case "skein":
		return cli.Commands{}.Run(context.Background(), cli.Shell{})
	case "few":
		limit := syscall.Rlimit{Cur: 64, Max: 64}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		cfg.WebSocket.Driver = rest
	case "log":
		cfg = logConfig(rest)
	case "chat":
		cfg = chattingConfig(pushStore(rest))
	case "audit":
		cfg = pushStore(rest)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	s, err := newOnFreePort(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if kind == "audit" {
		registerEndless(s, func() { fmt.Println("begun") })
	}
	l, err := s.Listen()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := s.Serve(ctx, l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child starts a copy of the test binary and gives its address and its log.
func child(t *testing.T, role string) (addr string, log *logbook) {
	t.Helper()
	c := startChild(t, role)
	t.Cleanup(func() { c.end(t) })
	return c.addr, c.log
}

// childProcess is a copy of the test binary.
type childProcess struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader // what follows its address
	addr string
	log  *logbook
}

func startChild(t *testing.T, role string) *childProcess {
	t.Helper()
	c, err := launchChild(role, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// launchChild starts a copy and waits for its address. attributes may be nil.
func launchChild(role string, attributes *syscall.SysProcAttr) (*childProcess, error) {
	log := &logbook{}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = log
	cmd.SysProcAttr = attributes
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(out)
	addr, err := lines.ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("the child gives no address: %w\n%s", err, log)
	}
	return &childProcess{cmd, in, lines, strings.TrimSpace(addr), log}, nil
}

// end ends a child in good order. One that does not end shows its goroutines.
func (c *childProcess) end(t *testing.T) {
	t.Helper()
	_ = c.in.Close()
	dump := time.AfterFunc(2*patience, func() { _ = c.cmd.Process.Signal(syscall.SIGQUIT) })
	defer dump.Stop()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the child ended with %v:\n%s", err, c.log)
	}
}

// When descriptors run out, the log says so, those who are connected stay
// connected, and when some leave others come in.
func TestDescriptorLimitIsSurvived(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			addr, log := child(t, "few "+driver)
			ping := ws.AppendMasked(nil, ws.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping"}`))
			alive := func(m *member) error {
				if _, err := m.Write(ping); err != nil {
					return err
				}
				return m.await("pong")
			}
			var inside []*member
			defer func() {
				for _, m := range inside {
					_ = m.Close()
				}
			}()
			// Connections beyond the limit wait in the kernel's queue, or are ended.
			waiting := make(chan *member, 200)
			attempts, refused := 0, 0
			try := func() {
				attempts++
				go func() {
					m, err := join(addr, "user=ann")
					if err == nil {
						err = alive(m)
					}
					if err != nil {
						m = nil
					}
					waiting <- m
				}()
			}
			deadline := time.Now().Add(patience)
			for !strings.Contains(log.String(), "no descriptors are left") {
				if time.Now().After(deadline) {
					t.Fatalf("%d connections are in, and the log says nothing of descriptors:\n%s", len(inside), log)
				}
				try()
				select {
				case m := <-waiting:
					attempts--
					if m != nil {
						inside = append(inside, m)
					} else {
						refused++
					}
				case <-time.After(100 * time.Millisecond):
				}
			}
			t.Logf("%d inside, %d ended at the limit", len(inside), refused)
			if len(inside) < 20 {
				t.Errorf("only %d connections came in with 64 descriptors", len(inside))
			}
			for i, m := range inside {
				if err := alive(m); err != nil {
					t.Fatalf("connection %d did not survive: %v", i, err)
				}
			}
			before := len(inside)
			for _, m := range inside[:before/2] {
				m.vanish()
			}
			inside = inside[before/2:]
			for came := 0; came < 5; {
				if time.Now().After(deadline.Add(patience)) {
					t.Fatalf("%d came in after %d had left:\n%s", came, before/2, log)
				}
				if attempts == 0 {
					try()
				}
				select {
				case m := <-waiting:
					attempts--
					if m != nil {
						inside = append(inside, m)
						came++
					}
				case <-time.After(100 * time.Millisecond):
				}
			}
			for i, m := range inside {
				if err := alive(m); err != nil {
					t.Errorf("connection %d does not work: %v", i, err)
				}
			}
			for ; attempts > 0; attempts-- {
				if m := <-waiting; m != nil {
					_ = m.Close()
				}
			}
			if n := strings.Count(log.String(), "no descriptors are left"); n > 50 {
				t.Errorf("the log says it %d times", n)
			}
		})
	}
}
