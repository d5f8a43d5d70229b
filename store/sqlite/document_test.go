package sqlite_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func newPatch(channel string, version uint64, data string) store.Append {
	now := time.Now()
	return store.Append{Channel: channel, ID: id.Message(now), Time: now.UnixMilli(), Event: "message", Data: []byte(data), Version: version}
}

// writeDocument makes the first versions of doc:1, and what follows in the same group.
func writeDocument(t *testing.T, s store.Store, versions uint64, also ...store.Command) {
	t.Helper()
	var group []store.Command
	for version := range versions {
		group = append(group, newPatch("doc:1", version+1, fmt.Sprint(version+1)))
	}
	if _, err := s.Do(t.Context(), append(group, also...)...); err != nil {
		t.Fatal(err)
	}
}

// verifyDocument looks whether the document of an older file (that of
// testdata/3.sql) is there, and whether a file that had none takes it.
func verifyDocument(t *testing.T, s store.Store, filled bool) {
	t.Helper()
	if !filled {
		writeDocument(t, s, 3, store.PutSnapshot{Channel: "doc:1", Version: 2, Time: 1763084076005, Data: []byte(`{"a":2}`), Floor: 1})
	}
	page, err := s.Document(t.Context(), "doc:1")
	if err != nil || len(page.Messages) != 1 {
		t.Fatalf("got %+v, %v", page, err)
	}
	want := store.DocumentPage{
		Head:     store.Head{Epoch: page.Head.Epoch, Top: 3, Floor: 1},
		Snapshot: store.Snapshot{Version: 2, Time: 1763084076005, Data: []byte(`{"a":2}`)},
		Messages: []store.Message{{Seq: 3, ID: page.Messages[0].ID, Time: timeOf(page.Messages[0].ID), Event: "message", Data: []byte("3")}},
	}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("the document (-want +got):\n%s", diff)
	}
	if _, err := s.Do(t.Context(), newPatch("doc:1", 3, "3")); !errors.Is(err, store.ErrMoved) {
		t.Errorf("an old version: %v", err)
	}
}

// What a document has forgotten is not in the file any more: patches, and the
// value before, however long they are.
func TestForgottenHistoryIsGoneFromTheFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, sqlite.Config{Dir: dir})
	const secret = "a sentence that somebody regrets"
	long := `"` + strings.Repeat(secret, 1000) + `"`
	for version := uint64(1); version <= 60; version++ {
		group := []store.Command{newPatch("doc:1", version, `"`+secret+`"`), newPatch("doc:2", version, `"kept"`)}
		if version%20 == 0 {
			group = append(group, newPatch("doc:3", version/20, long), store.PutSnapshot{Channel: "doc:1", Version: version, Time: 1, Data: []byte(long)})
		}
		if _, err := s.Do(t.Context(), group...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Do(t.Context(), newPatch("doc:1", 61, "null"), store.PutSnapshot{Channel: "doc:1", Version: 61, Time: 1, Data: []byte("null"), Floor: 61},
		newPatch("doc:3", 4, "null"), store.PutSnapshot{Channel: "doc:3", Version: 4, Time: 1, Data: []byte("null"), Floor: 4}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // before anything is deleted
		t.Fatal(err)
	}
	s = open(t, sqlite.Config{Dir: dir})
	for more := true; more; {
		trimmed, err := s.Trim(t.Context(), nil, time.Now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		more = trimmed.More
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, file := range list {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), secret) {
			t.Errorf("%s still has it", file)
		}
	}
}

// childDir is the environment variable that makes this test write documents for
// ever, for its parent to kill it.
const childDir = "SKEIN_TEST_WRITE_DOCUMENTS"

// A process that is killed at any moment leaves a document of the version that it
// has told last, or of the next one, with its snapshot.
func TestADocumentOutlivesItsProcess(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		writeForEver(t, dir)
		return
	}
	dir := t.TempDir()
	told := uint64(0)
	for round := range 4 {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), childDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for enough := told + 50 + uint64(round*7); told < enough && lines.Scan(); {
			if told, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before its end
			if told, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		if err := child.Wait(); err == nil {
			t.Error("the child ended well")
		}
		s := open(t, sqlite.Config{Dir: dir})
		page, err := s.Document(t.Context(), "doc:1")
		if err != nil {
			t.Fatal(err)
		}
		if top := page.Head.Top; top < told || top > told+1 || page.Snapshot.Version != top-top%5 || string(page.Snapshot.Data) != fmt.Sprint(top-top%5) || uint64(len(page.Messages)) != top%5 {
			t.Errorf("version %d was told, there is %+v", told, page)
		}
		if err := s.Check(t.Context(), func(p string) { t.Error(p) }); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeForEver writes versions, with a snapshot at every fifth, and prints each
// that is stored.
func writeForEver(t *testing.T, dir string) {
	s := open(t, sqlite.Config{Dir: dir})
	heads, err := s.Heads(t.Context(), "doc:1")
	if err != nil {
		t.Fatal(err)
	}
	for version := heads[0].Top + 1; ; version++ {
		a := newPatch("doc:1", version, "1")
		a.Keep = 3
		group := []store.Command{a}
		if version%5 == 0 {
			group = append(group, store.PutSnapshot{Channel: "doc:1", Version: version, Time: 1, Data: fmt.Append(nil, version)})
		}
		if _, err := s.Do(t.Context(), group...); err != nil {
			t.Fatal(err)
		}
		fmt.Println(version)
	}
}

// BenchmarkPatch is 128 writers of 128 bytes, each with documents of its own; plain
// is the same without versions.
func BenchmarkPatch(b *testing.B) {
	for name, document := range map[string]bool{"plain": false, "document": true} {
		b.Run(name, func(b *testing.B) {
			s := open(b, sqlite.Config{Dir: b.TempDir()})
			const writers, documents = 128, 20
			data := fmt.Sprintf(`"%0126d"`, 1)
			b.ResetTimer()
			var wait sync.WaitGroup
			for w := range writers {
				wait.Go(func() {
					for i := range b.N / writers {
						a := newPatch(fmt.Sprintf("doc:%d-%d", w, i%documents), uint64(i/documents)+1, data)
						if !document {
							a.Version = 0
						}
						if _, err := s.Do(b.Context(), a); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wait.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}
