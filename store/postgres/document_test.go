package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/test/pgtest"
)

func newPatch(channel string, version uint64) store.Append {
	a := newAppend(channel, fmt.Sprint(version))
	a.Version = version
	return a
}

// fillDocument makes what the dumps hold of documents, from version 3 on: three
// patches, of which the first is forgotten, and a snapshot.
func fillDocument(t *testing.T, s store.Store) {
	t.Helper()
	var group []store.Command
	for version := range uint64(3) {
		a := sample[0]
		a.Channel, a.Version, a.Data = "doc:sample", version+1, fmt.Append(nil, version+1)
		a.ID = a.ID[:25] + fmt.Sprint(version)
		group = append(group, a)
	}
	group = append(group, store.PutSnapshot{Channel: "doc:sample", Version: 2, Time: 7, Data: []byte(`{"a":2}`), Floor: 1})
	if _, err := s.Do(t.Context(), group...); err != nil {
		t.Fatal(err)
	}
}

func verifyDocument(t *testing.T, s store.Store) {
	t.Helper()
	page, err := s.Document(t.Context(), "doc:sample")
	if err != nil {
		t.Fatal(err)
	}
	page.Head.Epoch = ""
	want := store.DocumentPage{
		Head:     store.Head{Top: 3, Floor: 1},
		Snapshot: store.Snapshot{Version: 2, Time: 7, Data: []byte(`{"a":2}`)},
		Messages: []store.Message{{Seq: 3, ID: sample[0].ID[:25] + "2", Time: sample[0].Time, Event: "message", Data: []byte("3")}},
	}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("the document differs (-want +got):\n%s", diff)
	}
	if _, err := s.Do(t.Context(), newPatch("doc:sample", 3)); !errors.Is(err, store.ErrMoved) {
		t.Errorf("an old version: %v", err)
	}
}

// Several nodes make the same versions: each is made by one, and a patch that is
// repeated at another node is the same.
func TestAVersionIsMadeOnceByAllNodes(t *testing.T) {
	url := server.Database(t)
	stores := []*postgres.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	const versions, documents = 60, 3
	ctx, stop := context.WithCancel(t.Context())
	var trimmer, callers sync.WaitGroup
	trimmer.Go(func() {
		for ctx.Err() == nil {
			if _, err := stores[0].Trim(t.Context(), []store.Keep{{Namespace: "doc", Count: 20, Age: time.Millisecond}}, time.Now(), 10); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var mu sync.Mutex
	made := map[string]int{}
	for i := range 12 {
		callers.Go(func() {
			channel := fmt.Sprintf("doc:%d", i%documents)
			for version := uint64(1); version <= versions; {
				a := newPatch(channel, version)
				a.Key, a.Expires = fmt.Appendf(nil, "key %d", i), a.Time+100_000
				if i >= documents {
					a.Key = nil
				} else {
					a.Key = fmt.Append(a.Key, version)
				}
				group := []store.Command{a}
				if version%7 == 0 {
					group = append(group, store.PutSnapshot{Channel: channel, Version: version, Time: 1, Data: []byte("7")})
				}
				results, err := stores[i%len(stores)].Do(t.Context(), group...)
				switch {
				case err == nil:
					mu.Lock()
					made[fmt.Sprint(channel, " ", results[0].(store.Appended).Seq)]++
					mu.Unlock()
					if len(a.Key) > 0 {
						a.Version = 0
						if again := do[store.Appended](t, stores[(i+1)%len(stores)], a); !again.Duplicate || again.Seq != version {
							t.Errorf("%s: version %d made again gives %+v", channel, version, again)
						}
					}
					version++
				case errors.Is(err, store.ErrMoved):
					heads, err := stores[i%len(stores)].Heads(t.Context(), channel)
					if err != nil {
						t.Error(err)
						return
					}
					version = heads[0].Top + 1
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	stop()
	trimmer.Wait()
	if len(made) != versions*documents {
		t.Errorf("%d versions were made, want %d", len(made), versions*documents)
	}
	for what, n := range made {
		if n != 1 {
			t.Errorf("%s was made %d times", what, n)
		}
	}
	check(t, stores[1])
}

// Versions that were acknowledged are there after the server was killed, and a
// repeat with the same key goes on where it was.
func TestADocumentOutlivesItsServer(t *testing.T) {
	own := pgtest.Start(t)
	s := open(t, impatient(own.URL("postgres")))
	told := &acknowledged{texts: make(map[string][]string)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			channel := fmt.Sprintf("doc:%d", i)
			for version := uint64(1); ctx.Err() == nil; version++ {
				a := newPatch(channel, version)
				a.Key, a.Expires, a.Keep = fmt.Appendf(nil, "key %d", version), a.Time+int64(time.Hour/time.Millisecond), 3
				group := []store.Command{a}
				if version%5 == 0 {
					group = append(group, store.PutSnapshot{Channel: channel, Version: version, Time: 1, Data: fmt.Append(nil, version)})
				}
				for {
					_, err := s.Do(ctx, group...)
					if err == nil {
						break
					}
					if ctx.Err() != nil {
						return
					}
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("%s: version %d: %v", channel, version, err)
						return
					}
				}
				told.mu.Lock()
				told.texts[channel] = append(told.texts[channel], fmt.Sprint(version))
				told.mu.Unlock()
			}
		})
	}
	for range 2 {
		progress(t, told)
		own.Kill()
		own.Restart(t)
	}
	progress(t, told)
	cancel()
	writers.Wait()
	for channel, texts := range told.texts {
		page, err := s.Document(t.Context(), channel)
		if err != nil {
			t.Fatal(err)
		}
		top, n := page.Head.Top, uint64(len(texts))
		if top < n || top > n+1 || string(page.Snapshot.Data) != fmt.Sprint(top-top%5) || uint64(len(page.Messages)) != top%5 {
			t.Errorf("%s: %d versions were acknowledged, there is %+v", channel, n, page)
		}
		for _, m := range page.Messages {
			if string(m.Data) != fmt.Sprint(m.Seq) {
				t.Errorf("%s: version %d is %s", channel, m.Seq, m.Data)
			}
		}
	}
	check(t, s)
}

// As TestPlansStayGoodWhenTablesGrow, for documents.
func TestPlansOfDocumentsStayGoodWhenTheyGrow(t *testing.T) {
	wear(t, 20, []string{"channel", "message", "idem", "litter", "document"}, func(s *postgres.Store, round int) {
		version := uint64(round)
		a := newPatch("doc:one", version)
		a.Key, a.Expires, a.Keep = []byte(a.ID), a.Time+int64(time.Hour/time.Millisecond), 20
		b := newPatch(fmt.Sprintf("doc:%d", version), 1)
		group := []store.Command{a, b}
		if version%10 == 0 {
			group = append(group, store.PutSnapshot{Channel: "doc:one", Version: version, Time: 1, Data: []byte("1")},
				store.PutSnapshot{Channel: b.Channel, Version: 1, Time: 1, Data: []byte("1")})
		}
		if _, err := s.Do(t.Context(), group...); err != nil {
			t.Fatal(err)
		}
		for _, channel := range []string{"doc:one", b.Channel, "doc:none"} {
			if _, err := s.Document(t.Context(), channel); err != nil {
				t.Fatal(err)
			}
		}
		if version%10 == 0 {
			do[store.Recalled](t, s, store.Recall{ID: a.ID})
		}
		if version%100 == 0 { // this looks at a page of documents
			if _, err := s.Trim(t.Context(), []store.Keep{{Namespace: "doc", Age: time.Minute}}, time.Now(), 30); err != nil {
				t.Fatal(err)
			}
		}
	}).readsAtMost(1500, 75)
}

func TestCheckNamesWhatIsWrongWithDocuments(t *testing.T) {
	url := server.Database(t)
	s := open(t, postgres.Config{URL: url})
	fillDocument(t, s)
	do[store.Appended](t, s, newAppend("room:1", "1"))
	check(t, s)
	for _, tt := range []struct{ damage, repair, want string }{
		{`UPDATE skein.channel SET snapshot = 9 WHERE snapshot = 2`, `UPDATE skein.channel SET snapshot = 2 WHERE snapshot = 9`, `channel "doc:sample": the snapshot's version 9 is not from the floor 1 to the top 3`},
		{`UPDATE skein.channel SET snapshot = 0 WHERE snapshot = 2`, `UPDATE skein.channel SET snapshot = 2 WHERE snapshot = 0`, `channel "doc:sample": the snapshot's version 0 is not from the floor 1 to the top 3`},
		{`UPDATE skein.document SET version = 3`, `UPDATE skein.document SET version = 2`, `channel "doc:sample": its snapshot has the version 3, and should have 2`},
		{`UPDATE skein.document SET channel = -channel`, `UPDATE skein.document SET channel = -channel`, `1 rows of table document belong to no channel`},
		{`UPDATE skein.document SET data = 'x'`, `UPDATE skein.document SET data = '{"a":2}'`, `channel "doc:sample": its snapshot is no JSON`},
		{`UPDATE skein.channel SET snapshot = 0 WHERE name = 'room:1'`, `UPDATE skein.channel SET snapshot = NULL WHERE name = 'room:1'`, `channel "room:1": 1 messages have another namespace, or do not agree with it whether it is a document`},
		{`UPDATE skein.message SET seq = 9 WHERE seq = 3`, `UPDATE skein.message SET seq = 3 WHERE seq = 9`, `channel "doc:sample": 1 messages are kept above the floor 1, and the top is 3`},
	} {
		server.Exec(t, url, tt.damage)
		var problems []string
		if err := s.Check(t.Context(), func(p string) { problems = append(problems, p) }); err != nil || !slices.Contains(problems, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.damage, strings.Join(problems, "; "), err, tt.want)
		}
		server.Exec(t, url, tt.repair)
		check(t, s)
	}
}

// BenchmarkPatch is 128 writers of 128 bytes, each with documents of its own; plain
// is the same without versions.
func BenchmarkPatch(b *testing.B) {
	for name, document := range map[string]bool{"plain": false, "document": true} {
		b.Run(name, func(b *testing.B) {
			s := open(b, postgres.Config{URL: server.Database(b)})
			const writers, documents = 128, 20
			data := fmt.Sprintf(`"%0126d"`, 1)
			b.ResetTimer()
			var wait sync.WaitGroup
			for w := range writers {
				wait.Go(func() {
					for i := range b.N / writers {
						a := newPatch(fmt.Sprintf("doc:%d-%d", w, i%documents), uint64(i/documents)+1)
						a.Data = []byte(data)
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
