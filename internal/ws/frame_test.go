package ws

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestHeadersAreThoseOfTheRFC(t *testing.T) { // RFC 6455, 5.7
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{AppendFrame(nil, Text, []byte("Hello")), "81 05 48 65 6c 6c 6f"},
		{AppendMasked(nil, Text, [4]byte{0x37, 0xfa, 0x21, 0x3d}, []byte("Hello")), "81 85 37 fa 21 3d 7f 9f 4d 51 58"},
		{AppendHeader(nil, Text, false, false, 3), "01 03"},
		{AppendHeader(nil, Continuation, true, false, 2), "80 02"},
		{AppendFrame(nil, Ping, []byte("Hello")), "89 05 48 65 6c 6c 6f"},
		{AppendHeader(nil, Binary, true, false, 256), "82 7e 01 00"},
		{AppendHeader(nil, Binary, true, false, 65536), "82 7f 00 00 00 00 00 01 00 00"},
		{AppendHeader(nil, Text, true, true, 7), "c1 07"},
		{AppendHeader(nil, Text, true, false, 125), "81 7d"},
		{AppendHeader(nil, Text, true, false, 126), "81 7e 00 7e"},
		{AppendHeader(nil, Text, true, false, 65535), "81 7e ff ff"},
		{AppendClose(nil, 1000, ""), "88 02 03 e8"},
		{AppendClose([]byte{1}, 1001, "x"), "01 88 03 03 e9 78"},
		{AppendClose(nil, 0, "no code, no reason"), "88 00"},
		{AppendMaskedClose(nil, [4]byte{}, 1000, "x"), "88 83 00 00 00 00 03 e8 78"},
		{AppendMaskedClose(nil, [4]byte{1, 2, 3, 4}, 0, ""), "88 80 01 02 03 04"},
	} {
		if got := fmt.Sprintf("% x", c.got); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestHeadersFitTheAnnouncedMost(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536, 1 << 30} {
		if got := len(AppendHeader(nil, Text, true, true, n)); got > MaxHeader {
			t.Errorf("a header for %d bytes is %d bytes", n, got)
		}
	}
}

func TestALongReasonIsCutBetweenRunes(t *testing.T) {
	for _, unit := range []string{"a", "é", "€", "😀", "\xffa"} {
		for shift := range 4 {
			b := AppendClose(nil, 1000, strings.Repeat("a", shift)+strings.Repeat(unit, 200))
			code, reason, err := ParseClose(b[2:])
			if err != nil || code != 1000 || !utf8.ValidString(reason) || len(reason) < 120 || len(reason) > 123 || int(b[1]) != 2+len(reason) {
				t.Errorf("%q moved by %d: %d bytes, code %d, %v", unit, shift, len(reason), code, err)
			}
		}
	}
}

func TestMaskIsTheSameAtEveryLengthAndInPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 3))
	for n := range 200 {
		key := [4]byte{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		plain, want := make([]byte, n), make([]byte, n)
		for i := range plain {
			plain[i] = byte(rng.Uint32())
			want[i] = plain[i] ^ key[i%4]
		}
		for range 10 {
			got := bytes.Clone(plain)
			cut := rng.IntN(n + 1)
			mask(got[cut:], mask(got[:cut], k))
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, cut at %d: got %x, want %x", n, cut, got, want)
			}
		}
	}
}

func TestAppendMaskedLeavesThePayloadAlone(t *testing.T) {
	payload := []byte("stays as it is")
	AppendMasked(nil, Text, testKey, payload)
	if string(payload) != "stays as it is" {
		t.Errorf("the payload is now %q", payload)
	}
}

func TestOpcodesHaveNames(t *testing.T) {
	got := fmt.Sprint(Continuation, Text, Binary, Close, Ping, Pong, Opcode(11))
	if want := "continuation text binary close ping pong opcode 11"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
