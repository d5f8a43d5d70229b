package skein_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/app"
)

// roomy is the size of a file system with room enough.
const roomy = "size=256m"

// runProgram is a child that is a server as `skein serve` runs it, with its state
// in dir. With mounted, a file system in memory is put there first: it is seen by
// this process alone, and lines on standard input (size=1234567) change it.
func runProgram(dir string, mounted bool) int {
	cfg := logConfig(dir)
	cfg.Listen = "127.0.0.1:0"
	if mounted {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, roomy); err != nil {
			fmt.Fprintln(os.Stderr, "mounting:", err)
			return 1
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			fmt.Println(unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, lines.Text()))
		}
	}()
	err := app.Serve(ctx, app.Options{Load: func() (skein.Config, error) { return cfg, nil }, Stderr: &announcer{}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// announcer is standard error, and tells the server's address on standard output
// when the program has said it.
type announcer struct{ once sync.Once }

var greeting = regexp.MustCompile(`WebSocket +ws://([^/]+)/ws`)

// Write implements io.Writer.
func (a *announcer) Write(b []byte) (int, error) {
	if m := greeting.FindSubmatch(b); m != nil {
		a.once.Do(func() { fmt.Println(string(m[1])) })
	}
	return os.Stderr.Write(b)
}

// disk is a server's disk that can become full.
type disk struct {
	server *childProcess
	dir    string
	full   []func(t *testing.T) // ways in which it becomes full
	room   func(t *testing.T)
}

// TestAFullDiskIsSurvived takes the room on a server's disk away while clients
// publish and gives it back, for real: by the limit that the system puts on the
// size of files, and with a file system that is full. Nobody loses the
// connection, nothing is acknowledged that is not stored, events are delivered
// meanwhile, what is there can be read, and it all goes on by itself.
func TestAFullDiskIsSurvived(t *testing.T) {
	t.Run("limit of file sizes", func(t *testing.T) {
		dir := t.TempDir()
		d := limitedDisk(startChild(t, "program "+dir), dir)
		told := fillAndEmpty(t, d)
		killOnFullDisk(t, d, told)
	})
	t.Run("file system", func(t *testing.T) {
		d, err := smallDisk(t.TempDir())
		if errors.Is(err, os.ErrPermission) {
			// The other half of the test shows the same with another errno.
			t.Logf("no file system can be mounted here (mount namespaces are not allowed): %v", err)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		fillAndEmpty(t, d)
		d.server.end(t)
	})
}

// limitedDisk is full when no file may grow, or when nothing at all may be
// written to files.
func limitedDisk(c *childProcess, dir string) *disk {
	limit := func(t *testing.T, size uint64) {
		t.Helper()
		if err := unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return &disk{
		server: c,
		dir:    dir,
		full: []func(*testing.T){
			func(t *testing.T) { limit(t, largest(t, dir)) },
			func(t *testing.T) { limit(t, 0) },
		},
		room: func(t *testing.T) { limit(t, unix.RLIM_INFINITY) },
	}
}

// largest is the size of the largest file in a directory.
func largest(t *testing.T, dir string) (size uint64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size = max(size, uint64(info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// smallDisk is a server with a file system of its own, which is full when it is
// made as small as what is in it.
func smallDisk(dir string) (*disk, error) {
	attributes := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	c, err := launchChild("tmpfs "+dir, attributes)
	if err != nil {
		return nil, err
	}
	resize := func(t *testing.T, size string) string {
		t.Helper()
		if _, err := fmt.Fprintln(c.in, size); err != nil {
			t.Fatal(err)
		}
		answer, err := c.out.ReadString('\n')
		if err != nil {
			t.Fatalf("%v\n%s", err, c.log)
		}
		return strings.TrimSpace(answer)
	}
	full := func(t *testing.T) {
		// It grows between the look and the change; then the change is refused.
		eventually(t, "the file system is as small as its content", func() bool {
			var s unix.Statfs_t
			if err := unix.Statfs(fmt.Sprintf("/proc/%d/root%s", c.cmd.Process.Pid, dir), &s); err != nil {
				t.Fatal(err)
			}
			used := (s.Blocks - s.Bfree) * uint64(s.Bsize)
			return resize(t, fmt.Sprintf("size=%d", used)) == "<nil>"
		})
	}
	return &disk{
		server: c,
		dir:    dir,
		full:   []func(*testing.T){full, full},
		room: func(t *testing.T) {
			if answer := resize(t, roomy); answer != "<nil>" {
				t.Fatal(answer)
			}
		},
	}, nil
}

// fillAndEmpty is the story; it gives the authors, who have stopped.
func fillAndEmpty(t *testing.T, d *disk) *authors {
	s := &testServer{t: t, addr: d.server.addr}
	l := listening(t, s, "room:1", "event:1")
	other := s.user("other")
	a := publishing(t, s, "room:1", "author", 6)
	for i, full := range d.full {
		a.areTaken(20)
		full(t)
		a.areRefused()
		// From here on nothing can be stored. The API says so too.
		status, header, text := s.request("POST", "/api/v1/publish", `{"to":{"channel":"room:2"},"data":"refused"}`, "Authorization: Bearer dev", "Content-Type: application/json")
		if status != 503 || !strings.Contains(text, `"code":"unavailable"`) || !strings.Contains(text, `"retry_after"`) || header.Get("Retry-After") == "" {
			t.Fatalf("the API answers %d %s", status, text)
		}
		// Several targets, of which one is not to be had: nobody gets anything.
		status, _, text = s.request("POST", "/api/v1/publish", `{"to":[{"channel":"event:1"},{"channel":"room:2"}],"data":"refused"}`, "Authorization: Bearer dev", "Content-Type: application/json")
		if status != 503 {
			t.Fatalf("the API answers %d %s", status, text)
		}
		if e := other.fails(`{"type":"pub","channel":"room:2","data":1}`, "unavailable"); e["retry_after"] == nil || e["channel"] != "room:2" {
			t.Fatalf("got %v", e)
		}
		// What needs no disk goes on.
		event := fmt.Sprintf("during %d", i)
		if ok := other.do(fmt.Sprintf(`{"type":"pub","channel":"event:1","data":%q}`, event)); ok["connections"] != 1.0 {
			t.Fatalf("got %v", ok)
		}
		l.hears(t, event)
		// What is there can be read, by those who come now too.
		l.reaches(t, a.top())
		r := &reader{s: s, user: "newcomer", channel: "room:1"}
		if err := r.follow(a.top(), 1<<30); err != nil {
			t.Fatal(err)
		}
		a.agree(t, "a newcomer", r.datas)
		if page := s.request200(t, "history", `{"channel":"room:1","limit":1}`); page["seq"].(float64) < float64(a.top()) {
			t.Fatalf("the history ends at %v", page["seq"])
		}
		d.room(t)
		a.areTaken(20)
		if ok := other.do(`{"type":"pub","channel":"room:2","data":1}`); ok["seq"] != float64(i+1) {
			t.Fatalf("the first message that was taken in room:2 is answered by %v", ok)
		}
	}
	a.stop()
	if len(a.refused) == 0 {
		t.Error("no author was refused")
	}
	a.agree(t, "the listener", l.reaches(t, a.top()))
	if l.events[0] != "during 0" || len(l.events) != len(d.full) {
		t.Errorf("events: %q", l.events)
	}
	return a
}

// request200 calls a verb over HTTP with the development key; it must succeed.
func (s *testServer) request200(t testing.TB, verb, params string) map[string]any {
	t.Helper()
	status, out := s.api(verb, params)
	if status != 200 {
		t.Fatalf("%s %s is answered by %d %v", verb, params, status, out)
	}
	return out
}

// killOnFullDisk kills the server while its disk is full; the next one has all
// that was acknowledged.
func killOnFullDisk(t *testing.T, d *disk, a *authors) {
	s := &testServer{t: t, addr: d.server.addr}
	d.full[1](t)
	c := s.user("last")
	c.fails(`{"type":"pub","channel":"room:1","data":"refused"}`, "unavailable")
	if err := d.server.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.server.cmd.Wait() // it was killed
	next := startChild(t, "program "+d.dir)
	r := &reader{s: &testServer{t: t, addr: next.addr}, user: "reader", channel: "room:1"}
	if err := r.follow(a.top(), 1<<30); err != nil {
		t.Fatal(err)
	}
	a.agree(t, "who comes after the kill", r.datas)
	next.end(t)
}
