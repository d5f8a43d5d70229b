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

	"github.com/skein-realtime/skein/internal/ws"
)

// runChild is the main function of the copy: a server with few descriptors. The
// role is its driver. It tells its address on standard output and ends with its
// standard input.
func runChild(role string) int {
	limit := syscall.Rlimit{Cur: 64, Max: 64}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cfg := open()
	cfg.WebSocket.Driver = role
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	s, err := newOnFreePort(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
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
	log = &logbook{}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err = bufio.NewReader(out).ReadString('\n')
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the child ended with %v:\n%s", err, log)
		}
	})
	if err != nil {
		t.Fatalf("the child gives no address: %v\n%s", err, log)
	}
	return strings.TrimSpace(addr), log
}

// When descriptors run out, the log says so, those who are connected stay
// connected, and when some leave others come in.
func TestDescriptorLimitIsSurvived(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			addr, log := child(t, driver)
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
