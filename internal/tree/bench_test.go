package tree_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/tree"
)

// players is a document of 1,000 players with 10 fields each, about 100 KB.
func players() []byte {
	var b strings.Builder
	b.WriteString(`{"round":7,"players":{`)
	for i := range 1000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"p%03d":{"name":"player %d","hp":%d,"x":%d.5,"y":2,"z":3,"ok":true,"team":"red","bag":[1,2],"mp":%d,"xp":0}`, i, i, i%100, i, i)
	}
	b.WriteString(`}}`)
	return []byte(b.String())
}

func BenchmarkInc(b *testing.B) {
	v := read(b, string(players()))
	raw := []byte(`[{"op":"inc","path":"/players/p500/hp","by":1,"min":0}]`)
	list := ops(b, string(raw))
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Apply(list, tree.Limits{}, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apply and write", func(b *testing.B) {
		var done, old []byte
		b.ReportAllocs()
		for b.Loop() {
			c, err := v.Apply(list, tree.Limits{}, nil)
			if err != nil {
				b.Fatal(err)
			}
			done, old = tree.AppendOps(done[:0], c.Done), tree.AppendOld(old[:0], c.Old())
		}
	})
	b.Run("apply and revert", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, err := v.Apply(list, tree.Limits{}, nil)
			if err != nil {
				b.Fatal(err)
			}
			v.Revert(c)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tree.ParseOps(raw, tree.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkWhole(b *testing.B) {
	raw := players()
	v := read(b, string(raw))
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if _, err := tree.Parse(raw, tree.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append", func(b *testing.B) {
		var text []byte
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			text = v.Append(text[:0])
		}
	})
	view := view(true, closed("/players/p007/bag"))
	b.Run("append for a view", func(b *testing.B) {
		var text []byte
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			text = v.AppendView(text[:0], view)
		}
	})
	b.Run("set", func(b *testing.B) {
		list := []tree.Op{{Kind: tree.Set, Value: raw}}
		b.ReportAllocs()
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if _, err := v.Apply(list, tree.Limits{}, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkThousandOperations(b *testing.B) {
	raw := "["
	for i := range 1000 {
		raw += fmt.Sprintf(`,{"op":"inc","path":"/players/p%03d/hp","by":1}`, i)
	}
	list := ops(b, strings.Replace(raw, ",", "", 1)+"]")
	v := read(b, string(players()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Apply(list, tree.Limits{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpsForAView(b *testing.B) {
	v := read(b, string(players()))
	c := apply(b, v, `[{"op":"inc","path":"/players/p500/hp","by":1},{"op":"set","path":"/players/p007/bag","value":[]}]`)
	view := view(true, closed("/players/p007/bag"))
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = c.AppendOpsFor(dst[:0], v, view)
	}
}
