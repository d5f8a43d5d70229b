package ws

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// validStream draws a stream that breaks no rule, and what must come out of it.
func validStream(t *rapid.T) (in []byte, want []string) {
	key := rapid.Custom(func(t *rapid.T) (k [4]byte) {
		copy(k[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "key"))
		return k
	})
	ping := func() {
		op := rapid.SampledFrom([]Opcode{Ping, Pong}).Draw(t, "control")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 125).Draw(t, "control payload")
		in = AppendMasked(in, op, key.Draw(t, "key"), payload)
		want = append(want, event(op, payload))
	}
	for range rapid.IntRange(0, 6).Draw(t, "messages") {
		op := rapid.SampledFrom([]Opcode{Text, Binary}).Draw(t, "opcode")
		payload := []byte(rapid.String().Draw(t, "text"))
		if op == Binary {
			payload = rapid.SliceOfN(rapid.Byte(), 0, 70_000).Draw(t, "binary")
		}
		wire, packed := payload, rapid.Bool().Draw(t, "compressed")
		if packed {
			wire = Deflate(nil, payload, rapid.IntRange(8, 15).Draw(t, "window"))
		}
		next, rsv1 := op, packed
		for range rapid.IntRange(0, 4).Draw(t, "fragments") {
			n := rapid.IntRange(0, len(wire)).Draw(t, "fragment")
			in = AppendMaskedFragment(in, next, false, rsv1, key.Draw(t, "key"), wire[:n])
			wire, next, rsv1 = wire[n:], Continuation, false
			if rapid.Bool().Draw(t, "control between") {
				ping()
			}
		}
		in = AppendMaskedFragment(in, next, true, rsv1, key.Draw(t, "key"), wire)
		want = append(want, event(op, payload))
		if rapid.Bool().Draw(t, "control after") {
			ping()
		}
	}
	return in, want
}

func TestAnySplitOfAValidStreamGivesTheSameMessages(t *testing.T) {
	cfg := &ParserConfig{MaxMessage: 1 << 20, Deflate: true}
	rapid.Check(t, func(t *rapid.T) {
		in, want := validStream(t)
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(in)), 0, 20).Draw(t, "cuts")
		slices.Sort(cuts)
		if diff := cmp.Diff(want, feed(cfg, in, cuts)); diff != "" {
			t.Fatalf("cut at %v (-want +got):\n%s", cuts, diff)
		}
	})
}
