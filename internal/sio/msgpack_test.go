package sio

import (
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/protocol"
)

// event is a packet in the msgpack form whose event is "e" with the given argument.
func event(argument string) []byte {
	return []byte("\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1e" + argument)
}

func TestReadMsgpackTakesPacketsInAnyOrder(t *testing.T) {
	long := "/" + strings.Repeat("n", 255)
	for _, tt := range []struct {
		name, packet string
		want         Packet
	}{
		{"connect as clients of today", "\x82\xa4type\x00\xa3nsp\xa1/", Packet{Namespace: "/"}},
		{"connect with nil", "\x83\xa4type\x00\xa4data\xc0\xa3nsp\xa1/", Packet{Namespace: "/"}},
		{"connect with undefined", "\x83\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/", Packet{Namespace: "/"}},
		{"connect with data and options", "\x84\xa7options\x81\xa8compress\xc3\xa4data\x81\xa5token\xa1x\xa3nsp\xa3/ns\xa4type\x00",
			Packet{Namespace: "/ns", Data: []byte(`{"token":"x"}`)}},
		{"disconnect", "\x82\xa4type\x01\xa3nsp\xa3/ns", Packet{Kind: Disconnect, Namespace: "/ns"}},
		{"event", "\x84\xa4type\x02\xa4data\x92\xa1e\x01\xa2id\x0c\xa3nsp\xa1/", Packet{Kind: Event, Namespace: "/", HasID: true, ID: 12, Data: []byte(`["e",1]`)}},
		{"id undefined", "\x84\xa2id\xd4\x00\x00\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa1/", Packet{Kind: Event, Namespace: "/", Data: []byte(`["e"]`)}},
		{"largest id", "\x84\xa2id\xcf\x00\x20\x00\x00\x00\x00\x00\x00\xa4type\x02\xa4data\x91\xa1e\xa3nsp\xa1/",
			Packet{Kind: Event, Namespace: "/", HasID: true, ID: 1 << 53, Data: []byte(`["e"]`)}},
		{"ack", "\x84\xa4type\x03\xa4data\x90\xa2id\x00\xa3nsp\xa1/", Packet{Kind: Ack, Namespace: "/", HasID: true, Data: []byte(`[]`)}},
		{"error", "\x83\xa4type\x04\xa4data\xa2no\xa3nsp\xa1/", Packet{Kind: ConnectError, Namespace: "/", Data: []byte(`"no"`)}},
		{"long headers", "\xdf\x00\x00\x00\x02\xda\x00\x04type\xcc\x00\xdb\x00\x00\x00\x03nsp\xda\x01\x00" + long, Packet{Namespace: long}},
	} {
		got, err := ReadMsgpack([]byte(tt.packet), depth)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

func TestReadMsgpackGivesExactJSON(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"\xc0", `null`}, {"\xc2", `false`}, {"\xc3", `true`},
		{"\x00", `0`}, {"\x7f", `127`}, {"\xff", `-1`}, {"\xe0", `-32`},
		{"\xcc\xff", `255`}, {"\xcd\xff\xff", `65535`}, {"\xce\xff\xff\xff\xff", `4294967295`}, {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", `18446744073709551615`},
		{"\xd0\x80", `-128`}, {"\xd1\x80\x00", `-32768`}, {"\xd2\x80\x00\x00\x00", `-2147483648`}, {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", `-9223372036854775808`}, {"\xd0\x7f", `127`},
		{"\xca\x3f\x80\x00\x00", `1`}, {"\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", `3.141592653589793`}, {"\xcb\x44\x4b\x1a\xe4\xd6\xe2\xef\x50", `1e+21`},
		{"\xca\x7f\xc0\x00\x00", `null`}, {"\xca\x7f\x80\x00\x00", `null`}, {"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", `null`},
		{"\xa3<&>", `"<&>"`}, {"\xd9\x03\"\\\n", `"\"\\\n"`}, {"\xda\x00\x03€", `"€"`}, {"\xdb\x00\x00\x00\x04😀", `"😀"`}, {"\xa0", `""`},
		{"\xc4\x02\xff\xfe", `{"$binary":"//4="}`}, {"\xc5\x00\x00", `{"$binary":""}`}, {"\xc6\x00\x00\x00\x01x", `{"$binary":"eA=="}`},
		{"\x90", `[]`}, {"\x92\x01\x91\x02", `[1,[2]]`}, {"\xdc\x00\x01\xc0", `[null]`}, {"\xdd\x00\x00\x00\x00", `[]`},
		{"\x80", `{}`}, {"\x82\xa1b\x01\xa1a\x81\xa0\x90", `{"b":1,"a":{"":[]}}`}, {"\xde\x00\x01\xd9\x01k\xc0", `{"k":null}`}, {"\xdf\x00\x00\x00\x00", `{}`},
		{"\xd4\x00\x00", `null`}, {"\xc7\x00\x00", `null`},
		{"\xd6\xff\x00\x00\x00\x01", `"1970-01-01T00:00:01Z"`},
		{"\xd7\xff\x77\x35\x94\x00\x00\x00\x00\x01", `"1970-01-01T00:00:01.5Z"`},
		{"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", `"1969-12-31T23:59:59Z"`},
		{"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", `null`}, // no such year in RFC 3339
		{"\xd7\x00\x00\x00\x00\x00\x00\x00\x05\xdc", `"1970-01-01T00:00:01.5Z"`}, // as older clients write a time
		{"\xd7\x00\xff\xff\xff\xff\xff\xff\xff\xff", `"1969-12-31T23:59:59.999Z"`},
	} {
		p, err := ReadMsgpack(event(tt.in), depth)
		if want := `["e",` + tt.want + `]`; err != nil || string(p.Data) != want {
			t.Errorf("%q: got %s, %v; want %s", tt.in, p.Data, err, want)
		}
	}
}

func TestReadMsgpackRefusesWhatTheTextFormDoes(t *testing.T) {
	packets := map[string]string{
		"nothing":               "",
		"no map":                "\x92\x01\x02",
		"no type":               "\x81\xa3nsp\xa1/",
		"no namespace":          "\x81\xa4type\x00",
		"binary event":          "\x83\xa4type\x05\xa3nsp\xa1/\xa4data\x91\xa1e",
		"type as text":          "\x82\xa4type\xa10\xa3nsp\xa1/",
		"type negative":         "\x82\xa4type\xff\xa3nsp\xa1/",
		"type broken":           "\x82\xa4type\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00\xa3nsp\xa1/",
		"namespace a number":    "\x82\xa4type\x00\xa3nsp\x01",
		"namespace empty":       "\x82\xa4type\x00\xa3nsp\xa0",
		"namespace no path":     "\x82\xa4type\x00\xa3nsp\xa1x",
		"namespace undefined":   "\x82\xa4type\x00\xa3nsp\xd4\x00\x00",
		"namespace bytes":       "\x82\xa4type\x00\xa3nsp\xc4\x01/",
		"namespace too long":    "\x82\xa4type\x00\xa3nsp\xda\x01\x01/" + strings.Repeat("n", 256),
		"connect with an array": "\x83\xa4type\x00\xa3nsp\xa1/\xa4data\x90",
		"disconnect with data":  "\x83\xa4type\x01\xa3nsp\xa1/\xa4data\x80",
		"event without data":    "\x82\xa4type\x02\xa3nsp\xa1/",
		"event empty":           "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x90",
		"event no name":         "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xc0",
		"event reserved":        "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xaddisconnecting",
		"event an object":       "\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x80",
		"ack without id":        "\x83\xa4type\x03\xa3nsp\xa1/\xa4data\x90",
		"ack an object":         "\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x80\xa2id\x01",
		"id negative":           "\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xff",
		"id as text":            "\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xa11",
		"id broken":             "\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00",
		"id too large":          "\x84\xa4type\x03\xa3nsp\xa1/\xa4data\x90\xa2id\xcf\x00\x20\x00\x00\x00\x00\x00\x01",
		"error as an array":     "\x83\xa4type\x04\xa3nsp\xa1/\xa4data\x90",
		"something behind":      "\x82\xa4type\x00\xa3nsp\xa1/\xc0",
	}
	for name, argument := range map[string]string{
		"never used byte": "\xc1", "other extension": "\xd4\x05\x00", "time of an odd size": "\xd5\xff\x00\x00", "key a number": "\x81\x01\x01", "key bytes": "\x81\xc4\x01k\x01",
		"text not UTF-8": "\xa1\xff", "key not UTF-8": "\x81\xa1\xff\x01", "too deep": strings.Repeat("\x91", depth) + "\x01", "too deep by bytes": strings.Repeat("\x91", depth-1) + "\xc4\x00",
	} {
		packets[name] = string(event(argument))
	}
	for name, packet := range packets {
		if p, err := ReadMsgpack([]byte(packet), depth); !errors.Is(err, ErrParse) {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

func TestReadMsgpackRefusesAnythingThatIsCutOff(t *testing.T) {
	whole := "\x85\xa4type\x02\xa3nsp\xa3/ns\xa4data\x99\xa1e\xc4\x02\x01\x02\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00\xcb\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x82\xa1k\xd9\x01v\xa1l\xc7\x00\x00\xdc\x00\x01\xc0\xcf\x00\x00\x00\x00\x00\x00\x00\x00\xd0\x01\xde\x00\x00\xa2id\xce\x00\x00\x00\x01\xa1x\xdd\x00\x00\x00\x00"
	if _, err := ReadMsgpack([]byte(whole), depth); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if p, err := ReadMsgpack([]byte(whole[:n]), depth); !errors.Is(err, ErrParse) {
			t.Errorf("the first %d bytes: got %+v, %v", n, p, err)
		}
	}
}

func TestReadMsgpackAllocatesNothingForALengthThatIsNotThere(t *testing.T) {
	for _, argument := range []string{"\xc6\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xc9\xff\xff\xff\xff\xff", "\xdd\x7f\xff\xff\xff" + strings.Repeat("\xc0", 100)} {
		in := event(argument)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := ReadMsgpack(in, depth); !errors.Is(err, ErrParse) {
			t.Errorf("%q: got %v", argument, err)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%q took %d bytes", argument, after.TotalAlloc-before.TotalAlloc)
		}
	}
}

func TestMsgpackNumbersTakeTheLeastRoom(t *testing.T) {
	for number, want := range map[string]string{
		"0": "\x00", "127": "\x7f", "128": "\xcc\x80", "255": "\xcc\xff", "256": "\xcd\x01\x00", "65536": "\xce\x00\x01\x00\x00", "4294967296": "\xcf\x00\x00\x00\x01\x00\x00\x00\x00",
		"18446744073709551615": "\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
		"-1":                   "\xff", "-32": "\xe0", "-33": "\xd0\xdf", "-128": "\xd0\x80", "-129": "\xd1\xff\x7f", "-32769": "\xd2\xff\xff\x7f\xff", "-2147483649": "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff",
		"1.5": "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "-0": "\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "1e400": "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
		"18446744073709551616": "\xcb\x43\xf0\x00\x00\x00\x00\x00\x00",
	} {
		if got, rest := appendValue(nil, []byte(number)); string(got) != want || len(rest) > 0 {
			t.Errorf("%s: got %q, want %q", number, got, want)
		}
	}
}

func TestMsgpackCarriesObjectsOfAnySize(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 255, 256, 257, 1000, 70_000} {
		members := map[string]int{}
		for i := range n {
			members["k"+string(rune(0x1000+i%0x1000))+string(rune(0x10000+i/0x1000))] = i
		}
		b, err := json.Marshal([]any{"e", members, make([]int, n)})
		if err != nil {
			t.Fatal(err)
		}
		p, err := ReadMsgpack(AppendMsgpack(nil, &Packet{Kind: Event, Namespace: "/", Data: b}), depth)
		if err != nil {
			t.Fatalf("%d members: %v", n, err)
		}
		var want, got any
		if json.Unmarshal(b, &want) != nil || json.Unmarshal(p.Data, &got) != nil || !cmp.Equal(want, got) {
			t.Errorf("%d members are not read back", n)
		}
	}
}

func TestMsgpackIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Packet{Kind: Event, Namespace: "/" + rapid.StringN(0, 30, 200).Draw(t, "namespace"), Data: drawArray(t)}
		if in.HasID = rapid.Bool().Draw(t, "with id"); in.HasID {
			in.ID = rapid.Uint64Max(maxID).Draw(t, "id")
		}
		out, err := ReadMsgpack(AppendMsgpack(nil, &in), 10)
		if err != nil || out.Namespace != in.Namespace || out.HasID != in.HasID || out.ID != in.ID {
			t.Fatalf("%+v became %+v: %v", in, out, err)
		}
		if err := protocol.Valid(out.Data, 10); err != nil {
			t.Fatalf("%s: %v", out.Data, err)
		}
		var want, got any
		if json.Unmarshal(in.Data, &want) != nil || json.Unmarshal(out.Data, &got) != nil {
			t.Fatalf("%s became %s", in.Data, out.Data)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s became %s\n%s", in.Data, out.Data, diff)
		}
	})
}

func TestMsgpackIntegersAreReadBackExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var number []byte
		if rapid.Bool().Draw(t, "signed") {
			number, _ = json.Marshal(rapid.Int64().Draw(t, "number"))
		} else {
			number, _ = json.Marshal(rapid.Uint64().Draw(t, "number"))
		}
		if got, err := throughMsgpack(number); err != nil || got != string(number) {
			t.Fatalf("%s became %s: %v", number, got, err)
		}
		f := rapid.Float64().Draw(t, "float")
		want, err := json.Marshal(f)
		if err != nil || f == math.Trunc(f) {
			return // it is no float in JSON
		}
		if got, err := throughMsgpack(want); err != nil || got != string(want) {
			t.Fatalf("%s became %s: %v", want, got, err)
		}
	})
}

func throughMsgpack(value []byte) (string, error) {
	b, _ := appendValue(nil, value)
	d := decoder{in: string(b), depth: 1}
	err := d.value()
	return string(d.out) + d.in, err
}

// What is accepted is JSON of the depth that was allowed, keeps the rules of the
// text form, and is read back as it was.
func FuzzMsgpackKeepsTheRules(f *testing.F) {
	for _, argument := range []string{"\xc4\x02\xff\xfe", "\xd7\xff\x77\x35\x94\x00\x00\x00\x00\x01", "\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", "\x82\xa1b\x01\xa1a\x81\xa0\x90", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add(event(argument))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := ReadMsgpack(in, depth)
		if err != nil {
			return
		}
		if len(p.Data) > 8*len(in)+16 {
			t.Fatalf("%d bytes became %d", len(in), len(p.Data))
		}
		if p.Data != nil {
			if err := protocol.Valid(p.Data, depth); err != nil {
				t.Fatalf("%q became %s: %v", in, p.Data, err)
			}
		}
		if err := fits(&p, 5); err != nil {
			t.Fatalf("%q became %+v: %v", in, p, err)
		}
		again, err := ReadMsgpack(AppendMsgpack(nil, &p), depth)
		if err != nil || again.Kind != p.Kind || again.Namespace != p.Namespace || again.HasID != p.HasID || again.ID != p.ID {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
	})
}
