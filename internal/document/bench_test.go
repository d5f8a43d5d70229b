package document_test

import (
	"encoding/json"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/store/sqlite"
)

// BenchmarkPatch is one small patch of a document of 100 KB: carried out, stored and
// made ready for subscribers.
func BenchmarkPatch(b *testing.B) {
	kept, err := sqlite.Open(b.Context(), sqlite.Config{Dir: b.TempDir(), Relaxed: true})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	docs := document.New(document.Config{Limits: func() tree.Limits { return tree.Limits{Bytes: 1 << 20} }})
	h := hub.New(hub.Config{Behind: docs.Behind, Joined: docs.Joined})
	defer h.Close()
	docs.Start(h, kept)
	defer docs.Close()
	space := &hub.Space{Name: "doc", Kind: hub.KindDoc}
	h.SetSpaces([]*hub.Space{space})
	do := func(op tree.Op) {
		if _, err := docs.Do(b.Context(), &document.Patch{Channel: "doc:bench", Space: space, Ops: []tree.Op{op}}); err != nil {
			b.Error(err)
		}
	}
	players := map[string]map[string]int{}
	for i := range 1000 {
		players["player-"+strconv.Itoa(i)] = map[string]int{"strength": i, "dexterity": i, "wisdom": i, "charisma": i, "points": i, "level": i, "gold": i}
	}
	value, err := json.Marshal(map[string]any{"players": players})
	if err != nil {
		b.Fatal(err)
	}
	do(tree.Op{Kind: tree.Set, Value: value})
	var next atomic.Int64
	inc := func() {
		i := int(next.Add(1)) % 1000
		do(tree.Op{Kind: tree.Inc, Path: tree.Path{"players", "player-" + strconv.Itoa(i), "points"}, By: []byte("1")})
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			inc()
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				inc()
			}
		})
	})
}
