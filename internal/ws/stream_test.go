package ws

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// recorder is a Sink that writes down what it gets.
type recorder struct {
	events []string
	fail   error // returned by every call
}

func (r *recorder) Message(op Opcode, payload []byte) error {
	r.events = append(r.events, event(op, payload))
	return r.fail
}

func (r *recorder) Control(op Opcode, payload []byte) error {
	r.events = append(r.events, event(op, payload))
	return r.fail
}

// event is one line for one message; long payloads are told by length and sum.
func event(op Opcode, payload []byte) string {
	if len(payload) <= 130 {
		return fmt.Sprintf("%v %q", op, payload)
	}
	sum := uint32(0)
	for _, c := range payload {
		sum = sum*31 + uint32(c)
	}
	return fmt.Sprintf("%v of %d bytes, sum %08x", op, len(payload), sum)
}

func failed(err error) string {
	var e *CloseError
	if errors.As(err, &e) {
		return fmt.Sprintf("fail %d", e.Code)
	}
	return "fail: " + err.Error()
}

// feed parses in, cut at the given places, and tells what came out. The input is
// copied, as parsing changes it.
func feed(cfg *ParserConfig, in []byte, cuts []int) []string {
	var p Parser
	p.Init(cfg)
	r := &recorder{}
	data := slices.Clone(in)
	from := 0
	for _, to := range append(slices.Clone(cuts), len(data)) {
		if err := p.Feed(data[from:to], r); err != nil {
			r.events = append(r.events, failed(err))
			break
		}
		from = to
	}
	p.Reset()
	return r.events
}

func everyByte(n int) []int {
	cuts := make([]int, n)
	for i := range cuts {
		cuts[i] = i
	}
	return cuts
}

func randomCuts(rng *rand.Rand, n int) []int {
	cuts := make([]int, rng.IntN(8))
	for i := range cuts {
		cuts[i] = rng.IntN(n + 1)
	}
	slices.Sort(cuts)
	return cuts
}

// check feeds in whole, byte by byte and at random cuts, and wants the same each time.
func check(t *testing.T, cfg *ParserConfig, in []byte, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, feed(cfg, in, nil)); diff != "" {
		t.Errorf("fed whole (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, feed(cfg, in, everyByte(len(in)))); diff != "" {
		t.Errorf("fed byte by byte (-want +got):\n%s", diff)
	}
	rng := rand.New(rand.NewPCG(1, uint64(len(in))))
	for range 20 {
		cuts := randomCuts(rng, len(in))
		if diff := cmp.Diff(want, feed(cfg, in, cuts)); diff != "" {
			t.Fatalf("cut at %v (-want +got):\n%s", cuts, diff)
		}
	}
}

// failsAfter feeds byte by byte and wants the failure right after n bytes.
func failsAfter(t *testing.T, cfg *ParserConfig, in []byte, n int, code uint16) {
	t.Helper()
	var p Parser
	p.Init(cfg)
	data := slices.Clone(in)
	for i := range data {
		err := p.Feed(data[i:i+1], &recorder{})
		if err == nil {
			continue
		}
		if want := fmt.Sprintf("fail %d", code); failed(err) != want || i+1 != n {
			t.Errorf("%s after %d bytes, want %s after %d", failed(err), i+1, want, n)
		}
		return
	}
	t.Errorf("no failure in %d bytes, want one after %d", len(in), n)
}

// Pieces of a client's stream.

func frame(op Opcode, payload string) []byte { return AppendMasked(nil, op, testKey, []byte(payload)) }

func fragment(op Opcode, fin bool, payload string) []byte {
	return AppendMaskedFragment(nil, op, fin, false, testKey, []byte(payload))
}

func closeFrame(code uint16, reason string) []byte {
	return frame(Close, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// first sets bits in a frame's first byte: the reserved ones, or an opcode.
func first(b []byte, bits byte) []byte {
	b[0] |= bits
	return b
}

func stream(parts ...[]byte) []byte { return slices.Concat(parts...) }

// zeroMasked is a header with a masking key of zeros, so that payload follows as it is.
func zeroMasked(first byte, n uint64, wide int) []byte {
	b := []byte{first}
	switch wide {
	case 7:
		b = append(b, 0x80|byte(n))
	case 16:
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	case 64:
		b = append(b, 0x80|127)
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(b, 0, 0, 0, 0)
}
