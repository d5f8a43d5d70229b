package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/test/pgtest"
)

func documentsOn(url string) skein.Config {
	cfg := docConfig("")
	cfg.Database = url
	return cfg
}

// Clients of two servers change one document at the same time: nothing is lost, and
// all end with the same.
func TestTwoServersShareADocument(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	servers := []*testServer{start(t, documentsOn(url)), start(t, documentsOn(url))}
	const editors, each = 3, 60
	var work sync.WaitGroup
	var mu sync.Mutex
	versions := map[uint64]bool{}
	var clients []*docClient
	for i, s := range servers {
		for e := range editors {
			c := s.docClient(fmt.Sprintf("editor-%d-%d", i, e), "", "game:1")
			clients = append(clients, c)
			work.Go(func() {
				for n := range each {
					frame := patchFrame("game:1", fmt.Sprintf(`[{"op":"inc","path":"/n","by":1},{"op":"set","path":"/by/%d-%d","value":%d}]`, i, e, n), fmt.Sprintf(`,"key":"%d"`, n))
					f, err := c.request(frame)
					for err == nil && f.Code == "unavailable" { // others were always faster
						f, err = c.request(frame)
					}
					mu.Lock()
					if err != nil || f.Type != "ok" || versions[f.Version] {
						t.Errorf("got %+v, %v", f, err)
						mu.Unlock()
						return
					}
					versions[f.Version] = true
					mu.Unlock()
				}
			})
		}
	}
	work.Wait()
	const total = 2 * editors * each
	for i, s := range servers {
		version, data := s.document("game:1")
		if version != total || !strings.Contains(data, fmt.Sprintf(`"n":%d`, total)) {
			t.Errorf("server %d has %s at version %d, want %d", i, data, version, total)
		}
	}
	_, data := servers[0].document("game:1")
	for i, c := range clients {
		c.reaches(total)
		if !sameJSON(c.text(), data) {
			t.Errorf("client %d has %s, want %s", i, c.text(), data)
		}
		if c.values != 1 {
			t.Errorf("client %d got %d snapshots", i, c.values)
		}
	}
}

// What was changed on one server is read on the other one at once, and its
// subscribers hear of it.
func TestADocumentOfAnotherServerIsFresh(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	a, b := start(t, documentsOn(url)), start(t, documentsOn(url))
	there := b.docClient("ann", "", "game:1")
	limited := b.docClient("ann", "", "board:1")
	for round := uint64(1); round <= 20; round++ {
		if version := a.patchDocument("game:1", `[{"op":"inc","path":"/n","by":1}]`); version != round {
			t.Fatalf("round %d made version %d", round, version)
		}
		if version, data := b.document("game:1"); version != round || data != fmt.Sprintf(`{"n":%d}`, round) {
			t.Fatalf("the other server has %s at version %d in round %d", data, version, round)
		}
		r, err := b.DocPatch(context.Background(), skein.DocPatchParams{Change: skein.DocChange{Channel: "game:2", IfVersion: before(round)}, Ops: json.RawMessage(`[{"op":"inc","path":"/n","by":1}]`)})
		if err != nil || r.Version != 2*round-1 {
			t.Fatalf("round %d: %+v, %v", round, r, err)
		}
		if version := a.patchDocument("game:2", `[{"op":"test","path":"/n","value":`+fmt.Sprint(2*round-1)+`},{"op":"inc","path":"/n","by":1}]`); version != 2*round {
			t.Fatalf("round %d: version %d", round, version)
		}
	}
	there.reaches(20)
	began := time.Now()
	a.patchDocument("game:1", `[{"op":"set","path":"/last","value":true}]`) // nobody asks for it on the other server
	a.patchDocument("board:1", `[{"op":"set","path":"","value":{"open":1,"secret":2}}]`)
	there.reaches(21)
	limited.reaches(1)
	if took := time.Since(began); took > 2*time.Second+patience/2 {
		t.Errorf("it took %v", took)
	}
	if there.text() != `{"n":20,"last":true}` || limited.text() != `{"open":1}` {
		t.Errorf("the subscribers have %s and %s", there.text(), limited.text())
	}
	epoch := there.epoch
	resumed := a.docStranger("ann", "", "game:1")
	resumed.replica = there.replica
	if f := resumed.must(fmt.Sprintf(`{"type":"sub","channel":"game:1","since":{"version":21,"epoch":%q}}`, epoch)); !*f.Recovered {
		t.Errorf("going on at the other server is answered by %+v", f)
	}
	b.patchDocument("game:1", `[{"op":"remove","path":"/last"}]`)
	resumed.reaches(22)
	if resumed.text() != `{"n":20}` || resumed.values != 1 {
		t.Errorf("it has %s after %d snapshots", resumed.text(), resumed.values)
	}
}

func before(round uint64) *int64 {
	version := int64(2*round - 2)
	return &version
}

// While the database is away patches are refused; when it is back they go on, and
// what was sent again under a key is done once.
func TestADocumentSurvivesItsDatabase(t *testing.T) {
	pg := pgtest.Start(t)
	s := start(t, documentsOn(pg.Database(t)))
	reader, c := s.docClient("reader", "", "game:1"), s.docClient("ann", "", "game:1")
	for range 20 {
		c.patch(`[{"op":"inc","path":"/n","by":1}]`)
	}
	frame := patchFrame("game:1", `[{"op":"inc","path":"/n","by":1}]`, `,"key":"in between"`)
	pg.Kill()
	if f := c.refused(frame, "unavailable"); f.Message == "" {
		t.Errorf("got %+v", f)
	}
	c.refused(`{"type":"sub","channel":"game:unseen"}`, "unavailable")
	pg.Restart(t)
	eventually(t, "it is done", func() bool {
		f, err := c.request(frame)
		if err != nil {
			t.Fatal(err)
		}
		return f.Type == "ok" && f.Version == 21
	})
	if f := c.must(frame); f.Version != 21 || !f.Duplicate {
		t.Errorf("the repeat is answered by %+v", f)
	}
	reader.reaches(21)
	if version, data := s.document("game:1"); version != 21 || data != `{"n":21}` || reader.text() != data {
		t.Errorf("it is %s at version %d; the reader has %s", data, version, reader.text())
	}
}
