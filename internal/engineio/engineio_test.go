package engineio_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/engineio"
)

func gather(list *[]engineio.Packet) func(engineio.Packet) error {
	return func(p engineio.Packet) error {
		p.Data = bytes.Clone(p.Data)
		*list = append(*list, p)
		return nil
	}
}

func message(text string) engineio.Packet {
	return engineio.Packet{Type: engineio.Message, Data: []byte(text)}
}

func binary(b string) engineio.Packet {
	return engineio.Packet{Type: engineio.Message, Binary: true, Data: []byte(b)}
}

func TestReadPayload4(t *testing.T) {
	tests := []struct {
		body string
		want []engineio.Packet // nil: it is refused
	}{
		{"4hello", []engineio.Packet{message("hello")}},
		{"4a\x1e4\x1e3", []engineio.Packet{message("a"), message(""), {Type: engineio.Pong, Data: []byte{}}}},
		{"4a\x1ebAQIDBA==", []engineio.Packet{message("a"), binary("\x01\x02\x03\x04")}},
		{"2probe", []engineio.Packet{{Type: engineio.Ping, Data: []byte("probe")}}},
		{"", nil}, {"abc", nil}, {"7", nil}, {"4a\x1e", nil}, {"\x1e4a", nil}, {"b!", nil}, {"4\xff", nil},
		{strings.Repeat("6\x1e", engineio.MaxPackets) + "6", nil},
	}
	for _, tt := range tests {
		var got []engineio.Packet
		err := engineio.ReadPayload4([]byte(tt.body), gather(&got))
		if tt.want == nil {
			if !errors.Is(err, engineio.ErrParse) {
				t.Errorf("%.20q: got %v", tt.body, err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", tt.body, err, diff)
		}
	}
}

func TestReadPayload3(t *testing.T) {
	tests := []struct {
		body   string
		octets bool
		want   []engineio.Packet
	}{
		{"6:4hello", false, []engineio.Packet{message("hello")}},
		{"6:4hello2:4€", false, []engineio.Packet{message("hello"), message("€")}},
		{"3:4😀1:2", false, []engineio.Packet{message("😀"), {Type: engineio.Ping, Data: []byte{}}}},
		{"10:b4AQIDBA==", false, []engineio.Packet{binary("\x01\x02\x03\x04")}},
		{"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", true, []engineio.Packet{message("hello"), binary("\x01\x02\x03\x04")}},
		{"", false, nil}, {"abc", false, nil}, {"6:4hell", false, nil}, {"5:4hello", false, nil}, {":4", false, nil}, {"-1:4", false, nil},
		{"2:4😀", false, nil}, // it ends inside of the character
		{"999999999999:4", false, nil}, {"0:", false, nil}, {"3:b2AA", false, nil}, {"1:\xff", false, nil},
		{"\x02\x01\xff4", true, nil}, {"\x00\xff", true, nil}, {"\x00\x0a\xff4", true, nil}, {"\x00\x09\xff4", true, nil}, {"\x01\x01\xff\x09", true, nil},
		{"\x00" + strings.Repeat("\x09", 100) + "\xff", true, nil}, {"\x01\x00\xff", true, nil},
	}
	for _, tt := range tests {
		var got []engineio.Packet
		err := engineio.ReadPayload3([]byte(tt.body), tt.octets, gather(&got))
		if tt.want == nil {
			if !errors.Is(err, engineio.ErrParse) {
				t.Errorf("%.20q: got %v, %v", tt.body, got, err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", tt.body, err, diff)
		}
	}
}

func TestReadWebSocketMessages(t *testing.T) {
	if p, err := engineio.ReadText([]byte("4x")); err != nil || p.Type != engineio.Message || string(p.Data) != "x" {
		t.Errorf("got %v, %v", p, err)
	}
	for _, bad := range []string{"", "7", "a", " 4"} {
		if _, err := engineio.ReadText([]byte(bad)); !errors.Is(err, engineio.ErrParse) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if p, err := engineio.ReadBinary(4, []byte{1, 2}); err != nil || !cmp.Equal(p, binary("\x01\x02")) {
		t.Errorf("got %v, %v", p, err)
	}
	if p, err := engineio.ReadBinary(3, []byte{4, 1, 2}); err != nil || !cmp.Equal(p, binary("\x01\x02")) {
		t.Errorf("got %v, %v", p, err)
	}
	for _, bad := range [][]byte{{}, {7}, {'4', 1}} {
		if _, err := engineio.ReadBinary(3, bad); !errors.Is(err, engineio.ErrParse) {
			t.Errorf("%v: got %v", bad, err)
		}
	}
	if p, err := engineio.ReadEncoded([]byte("b4AQIDBA==")); err != nil || !cmp.Equal(p, binary("\x01\x02\x03\x04")) {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestAppendPayloads(t *testing.T) {
	wire := [][]byte{
		append(engineio.AppendText(nil, engineio.Message, []byte("€")), engineio.AppendText(nil, engineio.Message, []byte("😀"))...),
		engineio.AppendText(nil, engineio.Noop, nil),
	}
	four := append(wire, engineio.AppendBinary(nil, 4, []byte{1, 2, 3, 4}))
	three := append(wire, engineio.AppendBinary(nil, 3, []byte{1, 2, 3, 4}))
	if got := string(engineio.AppendPayload4(nil, four)); got != "4€\x1e4😀\x1e6\x1ebAQIDBA==" {
		t.Errorf("got %q", got)
	}
	for _, tt := range []struct {
		wire        [][]byte
		b64, octets bool
		want        string
		binary      bool
	}{
		{wire, false, false, "2:4€3:4😀1:6", false},
		{three, true, false, "2:4€3:4😀1:610:b4AQIDBA==", false},
		{three, false, false, "\x00\x04\xff4€\x00\x05\xff4😀\x00\x01\xff6\x01\x05\xff\x04\x01\x02\x03\x04", true},
		{wire[1:], false, true, "\x00\x01\xff6", true},
		{wire[1:], true, true, "1:6", false},
	} {
		got, binary := engineio.AppendPayload3(nil, tt.wire, tt.b64, tt.octets)
		if string(got) != tt.want || binary != tt.binary {
			t.Errorf("got %q, %v; want %q, %v", got, binary, tt.want, tt.binary)
		}
	}
	var texts []string
	if err := engineio.Frames(engineio.Encode(three[2]), func(is bool, payload []byte) error {
		texts = append(texts, string(payload))
		return nil
	}); err != nil || !cmp.Equal(texts, []string{"b4AQIDBA=="}) {
		t.Errorf("got %q, %v", texts, err)
	}
}

func TestOpenData(t *testing.T) {
	for upgrade, want := range map[bool]string{
		true:  `{"sid":"x","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`,
		false: `{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`,
	} {
		got := engineio.OpenData(nil, "x", upgrade, 25*time.Second, 20*time.Second, 1e6)
		if string(got) != want || !json.Valid(got) {
			t.Errorf("got %s", got)
		}
	}
}

func TestUndoUTF8(t *testing.T) {
	twice := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			b.WriteRune(rune(c))
		}
		return b.String()
	}
	for in, want := range map[string]string{"": "", "abc": "abc", twice("€😀é"): "€😀é", "€": "€", "é": "é", twice("é") + "é": twice("é") + "é"} {
		if got := string(engineio.UndoUTF8([]byte(in))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// What is appended is read back, whatever it holds.
func TestPayloadsAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.SampledFrom([]int{3, 4}).Draw(t, "version")
		var want []engineio.Packet
		var wire [][]byte
		for range rapid.IntRange(1, 5).Draw(t, "packets") {
			if rapid.Bool().Draw(t, "binary") {
				b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
				want = append(want, binary(string(b)))
				wire = append(wire, engineio.AppendBinary(nil, version, b))
			} else {
				// The separator cannot stand in a text, nor does it in JSON.
				s := strings.ReplaceAll(rapid.String().Draw(t, "text"), "\x1e", "")
				want = append(want, message(s))
				wire = append(wire, engineio.AppendText(nil, engineio.Message, []byte(s)))
			}
		}
		var got []engineio.Packet
		var err error
		if version == 4 {
			err = engineio.ReadPayload4(engineio.AppendPayload4(nil, wire), gather(&got))
		} else {
			body, octets := engineio.AppendPayload3(nil, wire, rapid.Bool().Draw(t, "b64"), rapid.Bool().Draw(t, "octets"))
			err = engineio.ReadPayload3(body, octets, gather(&got))
		}
		same := cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) })
		if diff := cmp.Diff(want, got, same); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func FuzzReadPayload4(f *testing.F) {
	for _, s := range []string{"4a\x1ebAQ==\x1e2probe", "\x1e", "b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var list []engineio.Packet
		if engineio.ReadPayload4(body, gather(&list)) != nil {
			return
		}
		var wire [][]byte
		for _, p := range list {
			if p.Binary {
				wire = append(wire, engineio.AppendBinary(nil, 4, p.Data))
			} else {
				wire = append(wire, engineio.AppendText(nil, p.Type, p.Data))
			}
		}
		var again []engineio.Packet
		if err := engineio.ReadPayload4(engineio.AppendPayload4(nil, wire), gather(&again)); err != nil || len(again) != len(list) {
			t.Errorf("%q is not read back: %v", body, err)
		}
	})
}

func FuzzReadPayload3(f *testing.F) {
	for _, s := range []string{"6:4hello2:4€10:b4AQIDBA==", "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04"} {
		f.Add([]byte(s), s[0] == 0)
	}
	f.Fuzz(func(t *testing.T, body []byte, octets bool) {
		_ = engineio.ReadPayload3(body, octets, func(p engineio.Packet) error {
			if !p.Binary && !octets && !utf8.Valid(p.Data) {
				t.Errorf("%q gives text that is not UTF-8", body)
			}
			return nil
		})
		_ = engineio.Frames(body, func(bool, []byte) error { return nil })
		_, _ = base64.StdEncoding.DecodeString(string(engineio.UndoUTF8(body)))
	})
}

func BenchmarkAppendPayload4(b *testing.B) {
	wire := [][]byte{engineio.AppendText(nil, engineio.Message, bytes.Repeat([]byte("x"), 115))}
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		dst = engineio.AppendPayload4(dst[:0], wire)
	}
}
