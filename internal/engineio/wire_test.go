package engineio

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skein-realtime/skein/internal/ws"
)

func TestEveryTypeIsADigit(t *testing.T) {
	for i, want := range []Type{Open, Close, Ping, Pong, Message, Upgrade, Noop} {
		text, err := ReadText([]byte{'0' + byte(i), 'x'})
		if err != nil || text.Type != want || string(text.Data) != "x" || text.Binary {
			t.Errorf("as text: got %+v, %v", text, err)
		}
		octets, err := ReadBinary(3, []byte{byte(i), 'x'})
		if err != nil || octets.Type != want || string(octets.Data) != "x" || octets.Binary != (want == Message) {
			t.Errorf("as a byte: got %+v, %v", octets, err)
		}
	}
}

func TestFramesRefusesWhatTheServerNeverMakes(t *testing.T) {
	whole := AppendText(nil, Message, bytes.Repeat([]byte("x"), 300))
	huge := ws.AppendHeader(nil, ws.Binary, true, false, 1<<16)
	for name, wire := range map[string][]byte{
		"one byte":               {0x81},
		"cut off":                {0x81, 2, 'x'},
		"cut in a short length":  {0x81, 126, 1},
		"cut in a long length":   {0x82, 127, 0, 0, 0},
		"longer than there is":   huge,
		"length with a top bit":  append([]byte{0x82, 127}, bytes.Repeat([]byte{0xff}, 8)...),
		"masked":                 ws.AppendMasked(nil, ws.Text, [4]byte{1, 2, 3, 4}, bytes.Repeat([]byte("x"), 100)),
		"in pieces":              ws.AppendHeader(nil, ws.Text, false, false, 0),
		"the rest of a message":  ws.AppendHeader(nil, ws.Continuation, true, false, 0),
		"compressed":             ws.AppendHeader(nil, ws.Text, true, true, 0),
		"control":                ws.AppendFrame(nil, ws.Ping, nil),
		"the second one cut off": append(bytes.Clone(whole), whole[:len(whole)-1]...),
	} {
		if err := Frames(wire, func(bool, []byte) error { return nil }); !errors.Is(err, ErrParse) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFramesGivesMessagesOfAnySize(t *testing.T) {
	var wire []byte
	var want []string
	for _, n := range []int{0, 1, 124, 125, 126, 65534, 65535, 65536} {
		payload := bytes.Repeat([]byte{'a' + byte(n%26)}, n)
		wire = AppendBinary(AppendText(wire, Message, payload), 4, payload)
		want = append(want, "false 4"+string(payload), "true "+string(payload))
	}
	var got []string
	err := Frames(wire, func(binary bool, payload []byte) error {
		got = append(got, fmt.Sprint(binary)+" "+string(payload))
		return nil
	})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %.200s", err, diff)
	}
}

func TestAnErrorOfTheReaderEndsIt(t *testing.T) {
	enough := errors.New("enough")
	for name, read := range map[string]func(func() error) error{
		"version 4": func(fn func() error) error {
			return ReadPayload4([]byte("4a\x1e4b\x1ebroken"), func(Packet) error { return fn() })
		},
		"version 3": func(fn func() error) error {
			return ReadPayload3([]byte("2:4a2:4bbroken"), false, func(Packet) error { return fn() })
		},
		"version 3, binary form": func(fn func() error) error {
			return ReadPayload3([]byte("\x00\x02\xff4a\x00\x02\xff4bbroken"), true, func(Packet) error { return fn() })
		},
		"frames": func(fn func() error) error {
			return Frames(append(AppendText(AppendText(nil, Message, nil), Message, nil), 0), func(bool, []byte) error { return fn() })
		},
	} {
		calls := 0
		err := read(func() error {
			if calls++; calls == 2 {
				return enough
			}
			return nil
		})
		if calls != 2 || err != enough { //nolint:errorlint // it is handed through as it is
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
}

func TestPacketsBeforeABrokenOneAreStillGiven(t *testing.T) {
	var got []string
	err := ReadPayload3([]byte("2:4a2:4b7:4"), false, func(p Packet) error {
		got = append(got, string(p.Data))
		return nil
	})
	if diff := cmp.Diff([]string{"a", "b"}, got); !errors.Is(err, ErrParse) || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestALengthThatIsNotThereCostsNothing(t *testing.T) {
	for _, tt := range []struct {
		body   string
		octets bool
	}{
		{"999999999999:4a", false}, {"999999999:4a", false}, {strings.Repeat("9", 1<<16), false},
		{"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4a", true}, {"\x01" + strings.Repeat("\x09", 1<<16), true},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := ReadPayload3([]byte(tt.body), tt.octets, func(Packet) error { return nil })
		if runtime.ReadMemStats(&after); !errors.Is(err, ErrParse) || after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%.20q: %v, with %d bytes", tt.body, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}

func TestLengthsAreCountedInUTF16(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "€": 1, "é": 1, "😀": 2, "a😀€": 4, "\uffff": 1, "\U00010000": 2, "\ufffd": 1} {
		if got := units([]byte(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
		body, _ := AppendPayload3(nil, [][]byte{AppendText(nil, Message, []byte(text))}, false, false)
		read := "nothing"
		if err := ReadPayload3(body, false, func(p Packet) error { read = string(p.Data); return nil }); err != nil || read != text {
			t.Errorf("%q is read back as %q: %v", body, read, err)
		}
	}
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	for _, bad := range []string{"\xff", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "€\xe2\x82"} {
		packet := "4" + bad
		octets := "\x00" + string(rune(len(packet))) + "\xff" + packet
		for form, err := range map[string]error{
			"version 4":              ReadPayload4([]byte(packet), func(Packet) error { return nil }),
			"version 3":              ReadPayload3([]byte(fmt.Sprintf("%d:%s", len(packet), packet)), false, func(Packet) error { return nil }),
			"version 3, binary form": ReadPayload3([]byte(octets), true, func(Packet) error { return nil }),
		} {
			if !errors.Is(err, ErrParse) {
				t.Errorf("%s, %q: got %v", form, packet, err)
			}
		}
	}
}

func TestTooManyPacketsAreRefused(t *testing.T) {
	for form, read := range map[string]func(n int) error{
		"version 4": func(n int) error {
			return ReadPayload4([]byte(strings.Repeat("6\x1e", n-1)+"6"), func(Packet) error { return nil })
		},
		"version 3": func(n int) error {
			return ReadPayload3([]byte(strings.Repeat("1:6", n)), false, func(Packet) error { return nil })
		},
		"version 3, binary form": func(n int) error {
			return ReadPayload3([]byte(strings.Repeat("\x00\x01\xff6", n)), true, func(Packet) error { return nil })
		},
	} {
		if err := read(MaxPackets); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		if err := read(MaxPackets + 1); !errors.Is(err, ErrParse) {
			t.Errorf("%s: got %v for one more", form, err)
		}
	}
}

func TestAppendingAllocatesNothing(t *testing.T) {
	text := [][]byte{AppendText(nil, Message, bytes.Repeat([]byte("x"), 115))}
	both := append(text, AppendBinary(nil, 3, []byte{1, 2, 3, 4}))
	dst := make([]byte, 0, 4096)
	for name, fn := range map[string]func(){
		"version 4":              func() { dst = AppendPayload4(dst[:0], both) },
		"version 3":              func() { dst, _ = AppendPayload3(dst[:0], text, false, false) },
		"version 3, base64":      func() { dst, _ = AppendPayload3(dst[:0], both, true, false) },
		"version 3, binary form": func() { dst, _ = AppendPayload3(dst[:0], both, false, false) },
	} {
		if n := testing.AllocsPerRun(100, fn); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What a payload of version 3 holds is written and read again as it was, in each
// of its forms.
func FuzzPayload3IsReadBack(f *testing.F) {
	for _, s := range []string{"6:4hello2:4€10:b4AQIDBA==3:4😀1:2", "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", "\x01\x01\xff\x02"} {
		f.Add([]byte(s), s[0] < 2)
	}
	f.Fuzz(func(t *testing.T, body []byte, octets bool) {
		var want []Packet
		var wire [][]byte
		text := true
		err := ReadPayload3(body, octets, func(p Packet) error {
			want = append(want, p)
			text = text && (p.Binary || utf8.Valid(p.Data))
			if p.Binary {
				wire = append(wire, AppendBinary(nil, 3, p.Data))
			} else {
				wire = append(wire, AppendText(nil, p.Type, p.Data))
			}
			return nil
		})
		if err != nil || !text { // only the binary form can carry it
			return
		}
		for _, form := range []struct{ b64, octets bool }{{false, false}, {true, false}, {false, true}} {
			again, binary := AppendPayload3(nil, wire, form.b64, form.octets)
			got, err := payload3(again, binary)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Fatalf("%q became %q: %v\n%s", body, again, err, diff)
			}
		}
	})
}

func payload3(body []byte, octets bool) (list []Packet, err error) {
	err = ReadPayload3(body, octets, func(p Packet) error {
		list = append(list, p)
		return nil
	})
	return list, err
}
