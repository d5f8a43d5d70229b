package skein_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// documentsOf names, in the environment of a copy of the test binary that runs one
// test alone, the directory in which it is to keep documents.
const documentsOf = "DOCUMENTS_OF_TEST"

// serveDocuments is what the copy does instead of the test; false: this is no copy.
func serveDocuments(t *testing.T) bool {
	dir := os.Getenv(documentsOf)
	if dir == "" {
		return false
	}
	s, err := newOnFreePort(docConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(l.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := s.Serve(ctx, l); err != nil {
		t.Fatal(err)
	}
	return true
}

// documentServer starts a copy of the test that calls it.
func documentServer(t *testing.T, dir string) *childProcess {
	t.Helper()
	c := &childProcess{log: &logbook{}}
	c.cmd = exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	c.cmd.Env = append(os.Environ(), documentsOf+"="+dir)
	c.cmd.Stderr = c.log
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	line, err := c.out.ReadString('\n')
	if err != nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
		t.Fatalf("the server gives no address: %v\n%s", err, c.log)
	}
	c.addr = strings.TrimSpace(line)
	t.Cleanup(func() { // when the test has not ended it
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	return c
}

func (c *childProcess) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
}

// toldVersions is what clients were told of versions.
type toldVersions struct {
	mu      sync.Mutex
	marks   map[uint64]string // by version: what its author was told that it had made
	ops     map[uint64]string // by version: what a subscriber was told that it has done
	pending map[string]string // frames that were not answered, by their marks
}

// edit patches until the server is gone.
func (v *toldVersions) edit(s *testServer, name string, round, want int, count *atomic.Int64, enough func()) {
	way, err := doors["websocket"](s, "user="+name)
	if err != nil {
		return // the server is gone already
	}
	defer way.leave()
	c := &docClient{t: s.t, wayIn: way, replica: replica{channel: "game:1"}, answers: map[string]docFrame{}}
	one := func(mark, frame string) bool {
		v.mu.Lock()
		v.pending[mark] = frame
		v.mu.Unlock()
		f, err := c.request(frame)
		if err != nil {
			return false
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if old, ok := v.marks[f.Version]; f.Type != "ok" || ok && old != mark {
			s.t.Errorf("%s is answered by %+v; version %d was told to %q", mark, f, f.Version, old)
			return false
		}
		v.marks[f.Version] = mark
		delete(v.pending, mark)
		return true
	}
	v.mu.Lock()
	again := map[string]string{}
	for mark, frame := range v.pending {
		if strings.HasPrefix(mark, name+" ") {
			again[mark] = frame
		}
	}
	v.mu.Unlock()
	for mark, frame := range again {
		if !one(mark, frame) {
			return
		}
	}
	for i := 0; ; i++ {
		mark := fmt.Sprintf("%s %d %d", name, round, i)
		ops := fmt.Sprintf(`[{"op":"inc","path":"/n","by":1},{"op":"set","path":"/by/%s","value":%q}]`, name, mark)
		if want == 0 || !one(mark, patchFrame("game:1", ops, fmt.Sprintf(`,"key":%q`, mark))) {
			return
		}
		if count.Add(1) == int64(want) {
			enough()
		}
	}
}

// watch follows the document until the server is gone, and goes on there later.
func (v *toldVersions) watch(s *testServer, r *replica) error {
	way, err := doors["websocket"](s, "user=watcher")
	if err != nil {
		return nil // the server is gone already
	}
	defer way.leave()
	c := &docClient{t: s.t, wayIn: way, replica: *r, answers: map[string]docFrame{}}
	defer func() { *r = c.replica }()
	c.note = func(f *docFrame) {
		if f.Type == "patch" {
			v.mu.Lock()
			v.ops[f.Version] = string(f.Ops)
			v.mu.Unlock()
		}
	}
	since := ""
	if r.value != nil {
		since = fmt.Sprintf(`,"since":{"version":%d,"epoch":%q}`, r.version, r.epoch)
	}
	f, err := c.request(`{"type":"sub","channel":"game:1"` + since + `}`)
	if err != nil {
		return nil
	}
	if f.Type != "ok" || f.Version < r.version || r.value != nil && f.Epoch != r.epoch {
		return fmt.Errorf("after version %d of %s the subscription is answered by %+v", r.version, r.epoch, f)
	}
	for {
		before := c.version
		if err := c.pump(); err != nil && strings.Contains(err.Error(), "came after") {
			return fmt.Errorf("after version %d: %w", before, err)
		} else if err != nil {
			return nil
		}
	}
}

// agree compares what was told with the history.
func (v *toldVersions) agree(t *testing.T, s *testServer, r *replica) {
	t.Helper()
	var copied replica
	if err := copied.take(&docFrame{Type: "snapshot", Data: json.RawMessage("null")}); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		page := s.request200(t, "doc.history", fmt.Sprintf(`{"channel":"game:1","after":%d,"limit":500}`, copied.version))
		for _, p := range page["patches"].([]any) {
			p := p.(map[string]any)
			ops, err := json.Marshal(p["ops"])
			if err != nil {
				t.Fatal(err)
			}
			if err := copied.take(&docFrame{Type: "patch", Version: uint64(p["version"].(float64)), Ops: ops}); err != nil {
				t.Fatal(err)
			}
			if mark := v.marks[copied.version]; !strings.Contains(string(ops), mark) {
				t.Fatalf("version %d is %s; told was %s", copied.version, ops, mark)
			}
			if told, ok := v.ops[copied.version]; ok && !sameJSON(told, string(ops)) {
				t.Fatalf("version %d is %s; told was %s", copied.version, ops, told)
			}
			if copied.version == r.version && !sameJSON(copied.text(), r.text()) {
				t.Fatalf("version %d is %s; the watcher has %s", r.version, copied.text(), r.text())
			}
		}
		more = page["more"].(bool)
	}
	for version, mark := range v.marks {
		if version > copied.version {
			t.Fatalf("the history ends at %d; version %d was told to %s", copied.version, version, mark)
		}
	}
	if copied.version < r.version {
		t.Fatalf("the history ends at %d; the watcher has version %d", copied.version, r.version)
	}
	now := s.request200(t, "doc.get", `{"channel":"game:1"}`)
	if data, err := json.Marshal(now["data"]); err != nil || now["version"] != float64(copied.version) || !sameJSON(string(data), copied.text()) {
		t.Fatalf("the value is %s at %v; the history makes %s at %d", data, now["version"], copied.text(), copied.version)
	}
	// Each version counts one: what was sent again was done once.
	if n := s.request200(t, "doc.get", `{"channel":"game:1","path":"/n"}`)["data"]; copied.version > 0 && n != float64(copied.version) {
		t.Fatalf("after %d versions n is %v", copied.version, n)
	}
}

// TestKilledServerLosesNoVersion kills a server at random moments while clients
// change a document. The next one has every version that anybody was told of, and
// what is sent again is done once.
func TestKilledServerLosesNoVersion(t *testing.T) {
	if serveDocuments(t) {
		return
	}
	const kills, editors = 10, 6
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(3, 3))
	v := &toldVersions{marks: map[uint64]string{}, ops: map[uint64]string{}, pending: map[string]string{}}
	r := &replica{channel: "game:1"}
	for round := range kills {
		c := documentServer(t, dir)
		s := &testServer{t: t, addr: c.addr}
		v.agree(t, s, r)
		var count atomic.Int64
		var wait sync.WaitGroup
		wanted := 1 + rnd.IntN(300)
		killed := make(chan struct{})
		for i := range editors {
			wait.Go(func() {
				v.edit(s, fmt.Sprint("editor", i), round, wanted, &count, func() {
					c.kill(t)
					close(killed)
				})
			})
		}
		wait.Go(func() {
			if err := v.watch(s, r); err != nil {
				t.Error(err)
			}
		})
		<-killed
		wait.Wait()
		_ = c.in.Close()
		_ = c.cmd.Wait() // it was killed
	}
	c := documentServer(t, dir)
	s := &testServer{t: t, addr: c.addr}
	for i := range editors {
		v.edit(s, fmt.Sprint("editor", i), kills, 0, &atomic.Int64{}, nil)
	}
	v.agree(t, s, r)
	if len(v.pending) > 0 || len(v.ops) == 0 || r.version == 0 {
		t.Errorf("%d patches have no answer, the watcher saw %d and is at version %d", len(v.pending), len(v.ops), r.version)
	}
	c.end(t)
	t.Logf("%d versions were told to their authors, %d to the watcher", len(v.marks), len(v.ops))
}

// TestAFullDiskChangesNoDocument takes the room on a server's disk away: patches are
// refused, the value can be read as it was, and it all goes on by itself.
func TestAFullDiskChangesNoDocument(t *testing.T) {
	if serveDocuments(t) {
		return
	}
	dir := t.TempDir()
	server := documentServer(t, dir)
	d := limitedDisk(server, dir)
	s := &testServer{t: t, addr: server.addr}
	r := s.docClient("reader", "", "game:1")
	c := s.docClient("author", "", "game:1")
	tell := func() docFrame {
		t.Helper()
		f, err := c.request(patchFrame("game:1", `[{"op":"inc","path":"/n","by":1}]`, ""))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	top := uint64(0)
	for _, full := range d.full {
		for range 20 {
			if f := tell(); f.Type != "ok" || f.Version != top+1 {
				t.Fatalf("got %+v after version %d", f, top)
			}
			top++
		}
		full(t)
		eventually(t, "patches are refused", func() bool {
			f := tell()
			if f.Type == "ok" {
				top++
			}
			return f.Code == "unavailable"
		})
		for range 3 {
			if f := tell(); f.Code != "unavailable" {
				t.Errorf("got %+v", f)
			}
			if now := s.request200(t, "doc.get", `{"channel":"game:1"}`); now["version"] != float64(top) || fmt.Sprint(now["data"]) != fmt.Sprintf("map[n:%d]", top) {
				t.Errorf("it is %v; version %d was the last", now, top)
			}
		}
		if status, out := s.api("doc.patch", `{"channel":"game:1","merge_patch":{"a":1}}`); status != 503 {
			t.Errorf("the API answers %d %v", status, out)
		}
		newcomer := s.docClient("newcomer", "", "game:1")
		newcomer.reaches(top)
		d.room(t)
		eventually(t, "patches are taken", func() bool {
			f := tell()
			if f.Type == "ok" {
				top++
			}
			return f.Type == "ok" && f.Version == top
		})
	}
	r.reaches(top)
	if r.text() != fmt.Sprintf(`{"n":%d}`, top) || r.values != 1 {
		t.Errorf("the reader has %s at %d, after %d snapshots", r.text(), r.version, r.values)
	}
	server.end(t)
}
