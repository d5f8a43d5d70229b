package skein_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// command runs skein with arguments in a process of its own, and gives its exit
// code and what it said.
func command(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	// With the race detector each process would wait a second before it ends.
	cmd.Env = append(os.Environ(), childRole+"=skein", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// runs is command for what must succeed.
func runs(t *testing.T, args ...string) {
	t.Helper()
	if code, said := command(t, args...); code != 0 {
		t.Fatalf("skein %s ends with %d:\n%s", strings.Join(args, " "), code, said)
	}
}

// A backup that was made while clients published is the channel's history up to
// some moment. Who knows more, or the old history, is told so by the server that
// runs on it.
func TestABackupIsTakenWhileClientsPublish(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "made", "by", "restore")
	file := filepath.Join(t.TempDir(), "backup.db")
	first := startChild(t, "program "+dir)
	s := &testServer{t: t, addr: first.addr}
	l := listening(t, s, "room:1", "event:1")
	ann := s.user("ann")
	kept := ann.do(`{"type":"pub","channel":"room:2","data":"kept","key":"k"}`)
	a := publishing(t, s, "room:1", "author", 4)
	a.areTaken(50)
	before := a.top()
	runs(t, "backup", file, "--data", dir)
	a.areTaken(50)
	runs(t, "store", "check", "--data", dir)
	a.stop()
	late := ann.do(`{"type":"pub","channel":"room:2","data":"late","key":"l"}`)
	if late["seq"] != 2.0 {
		t.Fatalf("got %v", late)
	}
	a.agree(t, "the listener", l.reaches(t, a.top()))
	if code, said := command(t, "restore", file, "--data", dir, "--force"); code != 1 || !strings.Contains(said, dir) {
		t.Errorf("restoring under a running server ends with %d: %s", code, said)
	}
	if code, said := command(t, "backup", file, "--data", dir); code != 1 || !strings.Contains(said, file) {
		t.Errorf("a backup over another one ends with %d: %s", code, said)
	}

	t.Run("into an empty directory", func(t *testing.T) {
		runs(t, "restore", file, "--data", other)
		second := startChild(t, "program "+other)
		s := &testServer{t: t, addr: second.addr}
		datas := afterRestore(t, s, l.epoch, a.top())
		if n := uint64(len(datas)); n < before || n >= a.top() {
			t.Errorf("the backup has %d messages; %d were acknowledged before it began, %d in the end", n, before, a.top())
		}
		for i, data := range datas {
			if want, ok := a.acked[uint64(i+1)]; ok && data != want {
				t.Fatalf("the backup has %s at %d, %s was acknowledged", data, i+1, want)
			}
		}
		// A key from before the backup still stands for its message, a later one is new.
		c := s.user("ann")
		if again := c.do(`{"type":"pub","channel":"room:2","data":"kept","key":"k"}`); again["duplicate"] != true || again["message"] != kept["message"] {
			t.Errorf("got %v", again)
		}
		if ok := c.do(`{"type":"pub","channel":"room:2","data":"late","key":"l"}`); ok["duplicate"] != nil || ok["seq"] != 2.0 {
			t.Errorf("got %v", ok)
		}
		runs(t, "store", "check", "--data", other)
		second.end(t)
	})
	t.Run("over what is there", func(t *testing.T) {
		first.end(t)
		if code, said := command(t, "restore", file, "--data", dir); code != 1 || !strings.Contains(said, "--force") {
			t.Errorf("it ends with %d: %s", code, said)
		}
		runs(t, "restore", file, "--data", dir, "--force")
		third := startChild(t, "program "+dir)
		afterRestore(t, &testServer{t: t, addr: third.addr}, l.epoch, a.top())
		third.end(t)
		// What was moved aside is a whole store.
		aside, err := filepath.Glob(filepath.Join(dir, "skein.db.before-*"))
		if err != nil || len(aside) != 1 {
			t.Fatalf("moved aside: %q, %v", aside, err)
		}
		old := t.TempDir()
		if err := os.Rename(aside[0], filepath.Join(old, "skein.db")); err != nil {
			t.Fatal(err)
		}
		last := startChild(t, "program "+old)
		r := &reader{s: &testServer{t: t, addr: last.addr}, user: "reader", channel: "room:1", epoch: l.epoch}
		if err := r.follow(a.top(), 1<<30); err != nil {
			t.Fatal(err)
		}
		a.agree(t, "what was moved aside", r.datas)
		last.end(t)
	})
}

// afterRestore comes back with the last seq of the old history, and with one
// that the backup has too. Both times it is told that the history is another
// one, and gets all of it.
func afterRestore(t *testing.T, s *testServer, epoch string, top uint64) (datas []string) {
	t.Helper()
	for _, seq := range []uint64{top, 5} {
		c := s.user("reader")
		ok := c.do(fmt.Sprintf(`{"type":"sub","channel":"room:1","since":{"epoch":%q,"seq":%d}}`, epoch, seq))
		if ok["recovered"] != false || ok["epoch"] == epoch {
			t.Fatalf("who has seq %d of the old history is answered by %v", seq, ok)
		}
		if gap := c.expect("gap"); gap["from"] != 1.0 || gap["to"] != 0.0 || gap["epoch"] != ok["epoch"] {
			t.Fatalf("got %v", gap)
		}
		datas = nil
		for want := 1.0; want <= ok["seq"].(float64); want++ {
			f := c.expect("msg")
			if f["seq"] != want {
				t.Fatalf("got %v, want seq %v", f, want)
			}
			datas = append(datas, fmt.Sprintf("%q", f["data"]))
		}
	}
	return datas
}
