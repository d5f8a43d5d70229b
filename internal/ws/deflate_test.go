package ws

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

var deflating = &ParserConfig{MaxMessage: 1 << 20, Deflate: true}

func compressed(op Opcode, payload string) []byte {
	return compressedRaw(op, Deflate(nil, []byte(payload), 15))
}

func compressedRaw(op Opcode, packed []byte) []byte {
	return AppendMaskedFragment(nil, op, true, true, testKey, packed)
}

// samples are payloads of the kinds that Autobahn 12.1 to 12.5 send.
func samples() map[string]string {
	rng := rand.New(rand.NewPCG(12, 12))
	noise := make([]byte, 40_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	json := &strings.Builder{}
	for i := range 800 {
		fmt.Fprintf(json, `{"type":"msg","channel":"room:%d","seq":%d,"data":{"text":"hello %x"}}`, i%7, i, rng.Uint64())
	}
	return map[string]string{
		"empty":     "",
		"one byte":  "x",
		"short":     "Hello",
		"json":      json.String(),
		"noise":     string(noise),
		"same byte": strings.Repeat("*", 128<<10),
		"runes":     strings.Repeat("Hello-µ@ßöäüàá-UTF-8!!", 1000),
	}
}

// unpack is an independent decompressor: the standard library's.
func unpack(t *testing.T, packed []byte) []byte {
	t.Helper()
	b, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(packed), strings.NewReader(deflateTail))))
	if err != nil {
		t.Fatalf("what Deflate made cannot be read: %v", err)
	}
	return b
}

func TestDeflatedMessagesComeBack(t *testing.T) {
	for name, payload := range samples() {
		for bits := 8; bits <= 15; bits++ {
			packed := Deflate([]byte("before"), []byte(payload), bits)
			if !bytes.HasPrefix(packed, []byte("before")) {
				t.Errorf("%s, %d bits: Deflate did not append", name, bits)
			}
			packed = packed[len("before"):]
			if got := unpack(t, packed); string(got) != payload {
				t.Errorf("%s, %d bits: %d bytes came back of %d", name, bits, len(got), len(payload))
			}
			if len(payload) < 50_000 {
				check(t, deflating, compressedRaw(Binary, packed), event(Binary, []byte(payload)))
			} else if got := feed(deflating, compressedRaw(Binary, packed), nil); !slices.Equal(got, []string{event(Binary, []byte(payload))}) {
				t.Errorf("%s, %d bits: got %v", name, bits, got)
			}
		}
	}
}

func TestDeflateOfNothingIsOneByte(t *testing.T) { // RFC 7692, 7.2.3.6
	if got := Deflate(nil, nil, 15); !bytes.Equal(got, []byte{0}) {
		t.Errorf("got %x, want 00", got)
	}
}

func TestDeflateNeverDependsOnEarlierMessages(t *testing.T) {
	payload := []byte(samples()["json"])
	want := Deflate(nil, payload, 15)
	for range 10 {
		Deflate(nil, []byte(samples()["noise"]), 15)
		if got := unpack(t, Deflate(nil, payload, 15)); !bytes.Equal(got, payload) {
			t.Fatal("a message depends on the one before")
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got := Deflate(nil, payload, 15); len(got) != len(want) {
					t.Errorf("%d bytes, want %d", len(got), len(want))
				}
			}
		})
	}
	wg.Wait()
}

// Blocks of noise that are repeated just beyond the window tempt the compressor
// to reach back too far.
func TestDeflateStaysInsideItsWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 15))
	for bits := 8; bits <= 15; bits++ {
		window := 1 << bits
		for _, distance := range []int{window - 16, window + 1, window + 7, 2*window + 3, 4*window + 1} {
			block := make([]byte, distance)
			for i := range block {
				block[i] = byte(rng.Uint32())
			}
			packed := Deflate(nil, slices.Concat(block, block, block), bits)
			if farthest := farthestMatch(t, packed); farthest > window {
				t.Errorf("%d bits: a match reaches back %d bytes", bits, farthest)
			}
		}
		for name, payload := range samples() {
			packed := Deflate(nil, []byte(payload), bits)
			if farthest := farthestMatch(t, packed); farthest > window {
				t.Errorf("%s, %d bits: a match reaches back %d bytes", name, bits, farthest)
			}
			if name == "json" && len(packed) > len(payload)/2 {
				t.Errorf("%s, %d bits: %d bytes became %d", name, bits, len(payload), len(packed))
			}
		}
	}
}

func TestCompressedFragments(t *testing.T) {
	packed := Deflate(nil, []byte("Hello, Hello, Hello"), 15)
	part := func(op Opcode, fin, rsv1 bool, b []byte) []byte {
		return AppendMaskedFragment(nil, op, fin, rsv1, testKey, b)
	}
	check(t, deflating,
		stream(part(Text, false, true, packed[:2]), part(Continuation, false, false, nil), frame(Ping, "x"), part(Continuation, true, false, packed[2:]), frame(Text, "plain")),
		`ping "x"`, `text "Hello, Hello, Hello"`, `text "plain"`)
	check(t, deflating, stream(part(Text, false, true, packed[:2]), part(Continuation, true, true, packed[2:])), "fail 1002")
	check(t, deflating, stream(part(Text, false, false, []byte("a")), part(Continuation, true, false, []byte("b"))), `text "ab"`)
	check(t, wide, compressed(Text, "not negotiated"), "fail 1002")
}

func TestTheExamplesOfTheRFC(t *testing.T) { // RFC 7692, 7.2.3
	for name, packed := range map[string]string{
		"one block":              "f248cdc9c90700",
		"no compression":         "000500faff48656c6c6f00",
		"final block":            "f348cdc9c9070000",
		"two blocks":             "f2480500 0000ffff cac9c90700",
		"final block, no byte":   "f348cdc9c90700",
		"two streams":            "f348cdc9c90700",
		"empty blocks around it": "000000ffff f248cdc9c907000000ffff00",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(packed, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			check(t, deflating, compressedRaw(Text, b), `text "Hello"`)
		})
	}
}

// A final block ends a DEFLATE stream but not the message; the next stream may
// refer back to the one before.
func TestStreamsAfterAFinalBlock(t *testing.T) {
	var b bytes.Buffer
	final := func(dict, s string) {
		w, err := flate.NewWriterDict(&b, 9, []byte(dict))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, s)
		_ = w.Close()
	}
	text := "a text that is long enough to be found again"
	final("", text)
	final(text, text)
	final(text, "")
	b.WriteByte(0)
	check(t, deflating, compressedRaw(Text, b.Bytes()), event(Text, []byte(text+text)))

	check(t, deflating, compressedRaw(Text, bytes.Repeat([]byte{0x03, 0x00}, 60)), `text ""`)
	check(t, deflating, compressedRaw(Text, bytes.Repeat([]byte{0x03, 0x00}, 6000)), "fail 1007")
}

func TestDamagedCompressionIsRefused(t *testing.T) {
	packed := Deflate(nil, []byte(samples()["json"]), 15)
	for name, b := range map[string][]byte{
		"nothing at all":     {},
		"undefined block":    {0x06},
		"cut in the middle":  packed[:len(packed)/2],
		"cut in the header":  packed[:3],
		"distance too far":   {0x0a, 0xc6, 0x42, 0x00, 0x00},
		"stored length":      {0x00, 0x05, 0x00, 0x00, 0x00},
		"0xff all along":     bytes.Repeat([]byte{0xff}, 50),
		"text uncompressed":  []byte("this was never compressed"),
		"trailing undefined": append(slices.Clone(packed), 0x06),
	} {
		t.Run(name, func(t *testing.T) { check(t, deflating, compressedRaw(Text, b), "fail 1007") })
	}
}

func TestCompressedTextMustBeUTF8(t *testing.T) {
	_, invalid := utf8Sequences()
	for _, s := range invalid {
		check(t, deflating, compressed(Text, s), "fail 1007")
		check(t, deflating, compressed(Binary, s), event(Binary, []byte(s)))
	}
}

func TestADecompressionBombIsStoppedAtTheLimit(t *testing.T) {
	cfg := &ParserConfig{MaxMessage: 64 << 10, Deflate: true}
	at, over := strings.Repeat("*", 64<<10), strings.Repeat("*", 64<<10+1)
	check(t, cfg, compressed(Text, at), event(Text, []byte(at)))
	check(t, cfg, compressed(Text, over), "fail 1009")

	bomb := compressed(Binary, strings.Repeat("\x00", 32<<20))
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb itself is %d bytes", len(bomb))
	}
	if got := feed(cfg, bomb, nil); !slices.Equal(got, []string{"fail 1009"}) {
		t.Errorf("got %v", got)
	}
}

func TestIncompressibleMessagesAtTheLimitPass(t *testing.T) {
	noise := []byte(samples()["noise"])
	cfg := &ParserConfig{MaxMessage: int64(len(noise)), Deflate: true}
	for bits := 8; bits <= 15; bits++ {
		check(t, cfg, compressedRaw(Binary, Deflate(nil, noise, bits)), event(Binary, noise))
	}
}
