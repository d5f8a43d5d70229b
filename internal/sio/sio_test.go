package sio_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

const depth, most = 32, 10

func TestRead(t *testing.T) {
	data := func(s string) []byte { return []byte(s) }
	tests := []struct {
		version int
		text    string
		want    *sio.Packet // nil: it is refused
	}{
		{5, `0`, &sio.Packet{Namespace: "/"}},
		{5, `0{"token":"x"}`, &sio.Packet{Namespace: "/", Data: data(`{"token":"x"}`)}},
		{5, `0/custom`, &sio.Packet{Namespace: "/custom"}},
		{5, `0/custom,`, &sio.Packet{Namespace: "/custom"}},
		{5, `0/custom,{"a":1}`, &sio.Packet{Namespace: "/custom", Data: data(`{"a":1}`)}},
		{4, `0/secret?token=good`, &sio.Packet{Namespace: "/secret", Query: "token=good"}},
		{5, `1`, &sio.Packet{Kind: sio.Disconnect, Namespace: "/"}},
		{5, `1/ns,`, &sio.Packet{Kind: sio.Disconnect, Namespace: "/ns"}},
		{5, `2["a",12345678901234567890]`, &sio.Packet{Kind: sio.Event, Namespace: "/", Data: data(`["a",12345678901234567890]`)}},
		{5, `2/ns,12["a"]`, &sio.Packet{Kind: sio.Event, Namespace: "/ns", HasID: true, ID: 12, Data: data(`["a"]`)}},
		{5, `2[7]`, &sio.Packet{Kind: sio.Event, Namespace: "/", Data: data(`[7]`)}},
		{5, `30[]`, &sio.Packet{Kind: sio.Ack, Namespace: "/", HasID: true, Data: data(`[]`)}},
		{5, `52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, &sio.Packet{Kind: sio.BinaryEvent, Namespace: "/", Attachments: 2,
			Data: data(`["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)}},
		{5, `50-["a"]`, &sio.Packet{Kind: sio.BinaryEvent, Namespace: "/", Data: data(`["a"]`)}},
		{5, `61-/ns,9[1]`, &sio.Packet{Kind: sio.BinaryAck, Namespace: "/ns", HasID: true, ID: 9, Attachments: 1, Data: data(`[1]`)}},
		{5, ``, nil}, {5, `7`, nil}, {5, `abc`, nil}, {5, `2`, nil}, {5, `2{}`, nil}, {5, `2[]`, nil}, {5, `2[{}]`, nil}, {5, `2[null]`, nil}, {5, `2abc["a"]`, nil},
		{5, `2["connect"]`, nil}, {5, `2["disconnecting",1]`, nil}, {5, `2["newListener"]`, nil}, {5, `2["a"`, nil}, {5, `2["a"]x`, nil},
		{5, `0[]`, nil}, {5, `0"x"`, nil}, {4, `0{"token":"x"}`, nil}, {5, `1{}`, nil}, {5, `3[]`, nil}, {5, `31{}`, nil}, {5, `4`, nil},
		{5, `5["a"]`, nil}, {5, `5-["a"]`, nil}, {5, `5x-["a"]`, nil}, {5, `511-["a"]`, nil}, {5, `5-1-["a"]`, nil}, {5, `5+1-["a"]`, nil}, {5, `599999999999-["a"]`, nil},
		{5, `299999999999999999999["a"]`, nil}, {5, `29007199254740993["a"]`, nil},
		{5, `2["a",` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `]`, nil},
		{5, `0/` + strings.Repeat("x", 300), nil},
	}
	for _, tt := range tests {
		got, err := sio.Read(tt.version, []byte(tt.text), depth, most)
		if tt.want == nil {
			if !errors.Is(err, sio.ErrParse) {
				t.Errorf("%.40q: got %+v, %v", tt.text, got, err)
			}
			continue
		}
		if diff := cmp.Diff(*tt.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v %s", tt.text, err, diff)
		}
	}
}

func TestInlineAndExtract(t *testing.T) {
	tests := []struct {
		packet, inside string
		attachments    []string
	}{
		{`["a",{"_placeholder":true,"num":0}]`, `["a",{"$binary":"AQI="}]`, []string{"\x01\x02"}},
		{`["a",{"b":[{"num":1,"_placeholder":true},{"_placeholder":true,"num":0}]}]`, `["a",{"b":[{"$binary":"eQ=="},{"$binary":"eA=="}]}]`, []string{"x", "y"}},
		{`["{\"_placeholder\":true,\"num\":0}"]`, `["{\"_placeholder\":true,\"num\":0}"]`, nil},
		{`[{"_placeholder":false,"num":7}]`, `[{"_placeholder":false,"num":7}]`, nil},
		{`["a"]`, `["a"]`, nil},
	}
	for _, tt := range tests {
		var list [][]byte
		for _, a := range tt.attachments {
			list = append(list, []byte(a))
		}
		got, err := sio.Inline([]byte(tt.packet), list)
		if err != nil || string(got) != tt.inside {
			t.Errorf("%s: got %s, %v", tt.packet, got, err)
		}
	}
	for _, bad := range []string{`[{"_placeholder":true}]`, `[{"_placeholder":true,"num":1}]`, `[{"_placeholder":true,"num":-1}]`, `[{"_placeholder":true,"num":"0"}]`, `[{"_placeholder":true,"num":{}}]`, `[{"_placeholder":true,"num":0.5}]`} {
		if _, err := sio.Inline([]byte(bad), [][]byte{{1}}); !errors.Is(err, sio.ErrParse) {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	out, list := sio.Extract([]byte("x"), []byte(`["a",{"$binary":"AQI="},{"c":{"$binary":""}},{"$binary":"!"},{"$binary":"AQI=","x":1},"{\"$binary\":\"\"}"]`))
	if want := `x["a",{"_placeholder":true,"num":0},{"c":{"_placeholder":true,"num":1}},{"$binary":"!"},{"$binary":"AQI=","x":1},"{\"$binary\":\"\"}"]`; string(out) != want {
		t.Errorf("got %s", out)
	}
	if diff := cmp.Diff([][]byte{{1, 2}, {}}, list); diff != "" {
		t.Error(diff)
	}
}

// messages gives the WebSocket messages of wire, binary ones with a mark.
func messages(t testing.TB, wire []byte) (list []string) {
	t.Helper()
	if err := engineio.Frames(wire, func(binary bool, payload []byte) error {
		if binary {
			list = append(list, "binary:"+string(payload))
		} else {
			list = append(list, string(payload))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAppend(t *testing.T) {
	tests := []struct {
		d    sio.Dialect
		p    sio.Packet
		want []string
	}{
		{sio.V5, sio.Packet{Namespace: "/", Data: []byte(`{"sid":"x"}`)}, []string{`40{"sid":"x"}`}},
		{sio.V4, sio.Packet{Namespace: "/chat"}, []string{`40/chat,`}},
		{sio.V5, sio.Packet{Kind: sio.Disconnect, Namespace: "/chat"}, []string{`41/chat,`}},
		{sio.V5, sio.Packet{Kind: sio.Event, Namespace: "/", Data: []byte(`["a","<&>"]`)}, []string{`42["a","<&>"]`}},
		{sio.V5, sio.Packet{Kind: sio.Ack, Namespace: "/x", HasID: true, ID: 0, Data: []byte(`[]`)}, []string{`43/x,0[]`}},
		{sio.V5, sio.Packet{Kind: sio.Event, Namespace: "/x", HasID: true, ID: 5, Data: []byte(`["a",{"$binary":"AQI="}]`)}, []string{`451-/x,5["a",{"_placeholder":true,"num":0}]`, "binary:\x01\x02"}},
		{sio.V4, sio.Packet{Kind: sio.Ack, Namespace: "/", HasID: true, ID: 5, Data: []byte(`[{"$binary":"AQI="}]`)}, []string{`461-5[{"_placeholder":true,"num":0}]`, "binary:\x04\x01\x02"}},
		{sio.V5, sio.Packet{Kind: sio.ConnectError, Namespace: "/", Data: []byte(`{"message":"no"}`)}, []string{`44{"message":"no"}`}},
		{sio.Msgpack, sio.Packet{Kind: sio.Disconnect, Namespace: "/"}, []string{"binary:\x82\xa4type\x01\xa3nsp\xa1/"}},
		{sio.Msgpack, sio.Packet{Kind: sio.Event, Namespace: "/x", HasID: true, ID: 300, Data: []byte(`["a",-1,1.5,{"$binary":"AQI="}]`)},
			[]string{"binary:\x84\xa4type\x02\xa3nsp\xa2/x\xa4data\x94\xa1a\xff\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xc4\x02\x01\x02\xa2id\xcd\x01\x2c"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, messages(t, sio.Append(nil, tt.d, tt.p))); diff != "" {
			t.Errorf("%+v: %s", tt.p, diff)
		}
	}
}

func TestReadMsgpack(t *testing.T) {
	head := "\xa4type\x02\xa3nsp\xa1/\xa4data"
	tests := []struct{ data, want string }{
		{"\x92\xa1a\x01", `["a",1]`},
		{"\x92\xa1a\xcf\xff\xff\xff\xff\xff\xff\xff\xff", `["a",18446744073709551615]`},
		{"\x92\xa1a\xd3\x80\x00\x00\x00\x00\x00\x00\x00", `["a",-9223372036854775808]`},
		{"\x92\xa1a\xd0\x80", `["a",-128]`},
		{"\x92\xa1a\xca\x3f\xc0\x00\x00", `["a",1.5]`},
		{"\x92\xa1a\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", `["a",null]`},
		{"\x92\xa1a\xd4\x00\x00", `["a",null]`},
		{"\x92\xa1a\xd6\xff\x00\x00\x00\x00", `["a","1970-01-01T00:00:00Z"]`},
		{"\x92\xa1a\xc4\x02\x01\x02", `["a",{"$binary":"AQI="}]`},
		{"\x92\xa1a\x82\xa1k\xc3\xa1l\xc0", `["a",{"k":true,"l":null}]`},
		{"\x92\xa1a\xdc\x00\x01\xc2", `["a",[false]]`},
		{"\x92\xa1a\xd9\x01\"", `["a","\""]`},
	}
	for _, tt := range tests {
		p, err := sio.ReadMsgpack([]byte("\x83"+head+tt.data), depth)
		if err != nil || string(p.Data) != tt.want || p.Kind != sio.Event {
			t.Errorf("%q: got %s, %v, want %s", tt.data, p.Data, err, tt.want)
		}
	}
	for _, bad := range []string{
		"", "\x80", "\xc0", "\x81\xa4type\x02", "\x82\xa3nsp\xa1/\xa4type\x05", "\x82\xa3nsp\x01\xa4type\x00", "\x82\xa3nsp\xa1x\xa4type\x00",
		"\x83" + head + "\x80", "\x83" + head + "\x90", "\x83" + head + "\x91\xa7connect", "\x83" + head + "\x91\xdb\xff\xff\xff\xff", "\x83" + head + "\xdd\xff\xff\xff\xff",
		"\x83" + head + "\x91\xc1", "\x83" + head + "\x92\xa1a\x81\x01\x01", "\x83" + head + "\x91\xa1a\x00", "\x83" + head + "\x92\xa1a\xd4\x05\x00", "\x83" + head + "\x91\xa1\xff",
		"\x83" + head + "\x92\xa1a" + strings.Repeat("\x91", 100) + "\x01",
	} {
		if p, err := sio.ReadMsgpack([]byte(bad), depth); !errors.Is(err, sio.ErrParse) {
			t.Errorf("%q: got %+v, %v", bad, p, err)
		}
	}
	// What the client sends to connect: data is JavaScript's undefined.
	p, err := sio.ReadMsgpack([]byte("\x84\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/\xa7options\x81\xa8compress\xc3"), depth)
	if err != nil || p.Kind != sio.Connect || p.Data != nil {
		t.Errorf("got %+v, %v", p, err)
	}
}

func value(level int) *rapid.Generator[any] {
	list := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.Int64(), func(i int64) any { return i }),
		rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) any { return f }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any {
			return map[string]any{"$binary": base64.StdEncoding.EncodeToString(b)}
		}),
	}
	if level > 0 {
		list = append(list,
			rapid.Map(rapid.SliceOfN(value(level-1), 0, 4), func(s []any) any { return append([]any{}, s...) }),
			rapid.Map(rapid.MapOfN(rapid.String(), value(level-1), 0, 4), func(m map[string]any) any { return m }))
	}
	return rapid.OneOf(list...)
}

// What is appended is read back as the same JSON, in every dialect.
func TestPacketsAreReadBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		args := append([]any{"event"}, rapid.SliceOfN(value(3), 0, 4).Draw(rt, "args")...)
		data, err := json.Marshal(args)
		if err != nil {
			rt.Fatal(err)
		}
		d := rapid.SampledFrom([]sio.Dialect{sio.V5, sio.V4, sio.Msgpack}).Draw(rt, "dialect")
		p := sio.Packet{Kind: sio.Event, Namespace: rapid.SampledFrom([]string{"/", "/x"}).Draw(rt, "namespace"), Data: data}
		if p.HasID = rapid.Bool().Draw(rt, "acknowledged"); p.HasID {
			p.ID = rapid.Uint64Range(0, 1<<53).Draw(rt, "id")
		}
		got, err := readBack(t, d, sio.Append(nil, d, p))
		if err != nil || got.Namespace != p.Namespace || got.HasID != p.HasID || got.ID != p.ID {
			rt.Fatalf("%s: got %+v, %v", data, got, err)
		}
		if a, b := canonical(rt, data), canonical(rt, got.Data); a != b {
			rt.Fatalf("%s is read back as %s", a, b)
		}
	})
}

func readBack(t testing.TB, d sio.Dialect, wire []byte) (p sio.Packet, err error) {
	var attachments [][]byte
	for i, m := range messages(t, wire) {
		rest, binary := strings.CutPrefix(m, "binary:")
		switch {
		case d == sio.Msgpack:
			return sio.ReadMsgpack([]byte(rest), 1<<10)
		case i == 0:
			version := 5
			if d == sio.V4 {
				version = 4
			}
			if p, err = sio.Read(version, []byte(m[1:]), 1<<10, 1<<10); err != nil {
				return p, err
			}
		case binary && d == sio.V4:
			attachments = append(attachments, []byte(rest[1:]))
		default:
			attachments = append(attachments, []byte(rest))
		}
	}
	if len(attachments) != p.Attachments {
		return p, fmt.Errorf("%d attachments, %d announced", len(attachments), p.Attachments)
	}
	if p.Attachments > 0 {
		p.Data, err = sio.Inline(p.Data, attachments)
	}
	return p, err
}

func canonical(t interface{ Fatal(...any) }, data []byte) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{`0{"a":1}`, `2/ns,1["a",{}]`, `51-["a",{"_placeholder":true,"num":0}]`, `30[]`, `4"x"`} {
		f.Add([]byte(s), 5)
	}
	f.Fuzz(func(t *testing.T, text []byte, version int) {
		p, err := sio.Read(version, text, depth, most)
		if err != nil {
			return
		}
		if p.Data != nil && protocol.Valid(p.Data, depth) != nil {
			t.Errorf("%q gives data that is not JSON", text)
		}
		if p.Kind == sio.Event && p.Query == "" && !bytes.Contains(p.Data, []byte("$binary")) {
			again, err := readBack(t, sio.V5, sio.Append(nil, sio.V5, p))
			if err != nil || string(again.Data) != string(p.Data) || again.Namespace != p.Namespace {
				t.Errorf("%q is not read back: %+v, %v", text, again, err)
			}
		}
	})
}

func FuzzInline(f *testing.F) {
	f.Add([]byte(`["a",{"_placeholder":true,"num":0}]`), []byte("x"))
	f.Add([]byte(`[{"a":{"$binary":"AQI="}}]`), []byte("x"))
	f.Fuzz(func(t *testing.T, data, attachment []byte) {
		if protocol.Valid(data, depth) != nil {
			return
		}
		if out, err := sio.Inline(data, [][]byte{attachment}); err == nil && protocol.Valid(out, depth+1) != nil {
			t.Errorf("%q becomes %q", data, out)
		}
		out, list := sio.Extract(nil, data)
		if protocol.Valid(out, depth) != nil {
			t.Errorf("%q becomes %q", data, out)
		}
		if len(list) == 0 && !bytes.Equal(out, data) {
			t.Errorf("%q becomes %q without anything taken out", data, out)
		}
	})
}

func FuzzReadMsgpack(f *testing.F) {
	f.Add([]byte("\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1a\x01"))
	f.Add([]byte("\x84\xa4type\x00\xa4data\xd4\x00\x00\xa3nsp\xa1/\xa7options\x81\xa8compress\xc3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := sio.ReadMsgpack(b, depth)
		if err != nil || p.Data == nil {
			return
		}
		if err := protocol.Valid(p.Data, depth+2); err != nil { // bytes are an object of their own
			t.Fatalf("%q gives %q: %v", b, p.Data, err)
		}
		if _, err := readBack(t, sio.Msgpack, sio.Append(nil, sio.Msgpack, p)); err != nil {
			t.Errorf("%q, which is %s, is not read back: %v", b, p.Data, err)
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	p := sio.Packet{Kind: sio.Event, Namespace: "/chat", Data: []byte(`["message","` + strings.Repeat("x", 100) + `"]`)}
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		dst = sio.Append(dst[:0], sio.V5, p)
	}
}
