package skein_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/tree"
)

// docClient opens a WebSocket of a user with roles, which follows a document and has
// its value.
func (s *testServer) docClient(user, role, channel string) *docClient {
	s.t.Helper()
	c := s.docStranger(user, role, channel)
	c.must(fmt.Sprintf(`{"type":"sub","channel":%q}`, channel))
	c.reaches(0)
	return c
}

// docStranger is docClient for one that does not follow.
func (s *testServer) docStranger(user, role, channel string) *docClient {
	s.t.Helper()
	way, err := doors["websocket"](s, "user="+user+"&role="+role)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(way.leave)
	return &docClient{t: s.t, wayIn: way, replica: replica{channel: channel}, answers: map[string]docFrame{}}
}

// sameJSON compares texts by value.
func sameJSON(a, b string) bool { return tree.Equal([]byte(a), []byte(b)) }

// document reads a document through the Go face.
func (s *testServer) document(channel string) (version uint64, data string) {
	s.t.Helper()
	r, err := s.DocGet(context.Background(), skein.DocGetParams{Channel: channel})
	if err != nil {
		s.t.Fatal(err)
	}
	return r.Version, string(r.Data)
}

// patchDocument changes a document through the Go face.
func (s *testServer) patchDocument(channel, ops string) uint64 {
	s.t.Helper()
	r, err := s.DocPatch(context.Background(), skein.DocPatchParams{Change: skein.DocChange{Channel: channel}, Ops: json.RawMessage(ops)})
	if err != nil {
		s.t.Error(err)
	}
	return r.Version
}

// A reader that reads nothing while thousands of versions are made holds up nobody,
// what waits for it is little, and then it gets the newest value and goes on.
func TestASlowReaderOfADocumentEndsEqual(t *testing.T) {
	each(t, documents(t), func(t *testing.T, s *testServer) {
		const patches, authors, size = 5000, 8, 3000 // far more than its queue and the kernel's buffers
		slow, quick := s.docClient("slow", "", "game:1"), s.docClient("quick", "", "game:1")
		var follows, work sync.WaitGroup
		follows.Go(func() {
			for quick.version < patches {
				if err := quick.pump(); err != nil {
					t.Errorf("the quick reader, after version %d: %v", quick.version, err)
					return
				}
			}
		})
		text := strings.Repeat("x", size)
		for a := range authors {
			work.Go(func() {
				for i := range patches / authors {
					s.patchDocument("game:1", fmt.Sprintf(`[{"op":"inc","path":"/n","by":1},{"op":"set","path":"/text/%d","value":"%d %s"}]`, a, i, text))
				}
			})
		}
		work.Wait()
		item := s.verb("connections", `{"user":"slow"}`)["items"].([]any)[0].(map[string]any)
		if queued := item["queued"].(float64); queued > 1<<20+64<<10 || item["behind"] == nil {
			t.Errorf("the slow reader is shown as %v", item)
		}
		follows.Wait()
		slow.reaches(patches)
		version, data := s.document("game:1")
		for name, c := range map[string]*docClient{"slow": slow, "quick": quick} {
			if c.version != version || version != patches || !sameJSON(c.text(), data) {
				t.Errorf("the %s reader ends with %.200s at %d; the server has %.200s at %d", name, c.text(), c.version, data, version)
			}
		}
		if slow.values < 2 || quick.values != 1 || slow.patches+100 > patches {
			t.Errorf("the slow reader got %d values and %d patches, the quick one %d and %d", slow.values, slow.patches, quick.values, quick.patches)
		}
		top := s.patchDocument("game:1", `[{"op":"set","path":"/live","value":true}]`)
		values := slow.values
		slow.reaches(top)
		if quick.reaches(top); slow.values != values || slow.text() != quick.text() {
			t.Errorf("afterwards the slow reader has %.200s", slow.text())
		}
		eventually(t, "nobody is behind", func() bool {
			_, _, text := s.request("GET", "/metrics", "", "Authorization: Bearer dev")
			return strings.Contains(text, "skein_readers_behind 0\n")
		})
	})
}

// Two who want the same thing again and again: one of them gets it, each time.
func TestOneOfTwoDesksWinsEachVersion(t *testing.T) {
	each(t, documents(t), func(t *testing.T, s *testServer) {
		const attempts = 1000 // of each
		s.patchDocument("game:1", `[{"op":"set","path":"/turn","value":0}]`)
		var mu sync.Mutex
		winners := map[uint64]string{}
		lost := 0
		var desks sync.WaitGroup
		for _, name := range []string{"left", "right"} {
			c := s.docClient(name, "", "game:1")
			desks.Go(func() {
				for i := range attempts {
					turn := c.version - 1
					ops := fmt.Sprintf(`[{"op":"test","path":"/turn","value":%d},{"op":"set","path":"/turn","value":%d},{"op":"set","path":"/by","value":%q}]`, turn, turn+1, name)
					more := ""
					if i%2 == 0 {
						ops = fmt.Sprintf(`[{"op":"inc","path":"/turn","by":1},{"op":"set","path":"/by","value":%q}]`, name)
						more = fmt.Sprintf(`,"if_version":%d`, c.version)
					}
					f, err := c.request(patchFrame("game:1", ops, more))
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					switch {
					case f.Type == "ok" && winners[f.Version] == "" && f.Version > turn+1:
						winners[f.Version] = name
					case f.Code == "conflict":
						lost++
					default:
						t.Errorf("%s got %+v; version %d is %q's", name, f, f.Version, winners[f.Version])
					}
					mu.Unlock()
				}
				version, _ := s.document("game:1")
				c.reaches(version)
			})
		}
		desks.Wait()
		version, data := s.document("game:1")
		if len(winners) != int(version)-1 || len(winners)+lost != 2*attempts || lost == 0 || !strings.Contains(data, fmt.Sprintf(`"turn":%d`, version-1)) {
			t.Errorf("%d have won and %d lost; it is %s at version %d", len(winners), lost, data, version)
		}
		for _, p := range s.verb("doc.history", `{"channel":"game:1","limit":500}`)["patches"].([]any) {
			p := p.(map[string]any)
			if by := p["from"].(map[string]any)["user"]; by != winners[uint64(p["version"].(float64))] {
				t.Errorf("version %v is %v's; it was told to %q", p["version"], by, winners[uint64(p["version"].(float64))])
			}
		}
	})
}

// How far a reader of a document is behind is shown like that of a log.
func TestHowFarAReaderOfADocumentIsBehindIsShown(t *testing.T) {
	s := start(t, documents(t)())
	s.docClient("slow", "", "game:1")
	text := strings.Repeat("x", 60_000)
	for i := range 200 {
		s.patchDocument("game:1", fmt.Sprintf(`[{"op":"set","path":"/text","value":"%d %s"}]`, i, text))
	}
	item := s.verb("connections", `{"user":"slow"}`)["items"].([]any)[0].(map[string]any)
	behind, _ := item["behind"].([]any)
	if len(behind) != 1 || behind[0].(map[string]any)["messages"].(float64) < 50 {
		t.Errorf("it is shown as %v", item)
	}
}
