package sio

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/protocol"
)

func TestInlinePutsAttachmentsInTheirPlaces(t *testing.T) {
	attachments := [][]byte{{1, 2, 3}, {}, []byte("\xff\xfe")}
	for _, tt := range []struct{ name, data, want string }{
		{"nothing", `["a",1]`, `["a",1]`},
		{"one", `["a",{"_placeholder":true,"num":0}]`, `["a",{"$binary":"AQID"}]`},
		{"another order", `[{"_placeholder":true,"num":2},{"num":1,"_placeholder":true}]`, `[{"$binary":"//4="},{"$binary":""}]`},
		{"deep", `["a",{"b":[{"c":{"_placeholder":true,"num":0}}]},2]`, `["a",{"b":[{"c":{"$binary":"AQID"}}]},2]`},
		{"spaces", `[ { "_placeholder" : true , "num" : 0 } , 1.0 ]`, `[ {"$binary":"AQID"} , 1.0 ]`},
		{"escapes", `[{"\u005fplaceholder":true,"n\u0075m":0}]`, `[{"$binary":"AQID"}]`},
		{"more members", `[{"x":{"y":[]},"_placeholder":true,"num":0,"z":"}"}]`, `[{"$binary":"AQID"}]`},
		{"one inside of another", `[{"_placeholder":true,"num":0,"x":{"_placeholder":true,"num":99}}]`, `[{"$binary":"AQID"}]`},
		{"the last of equal members counts", `[{"num":99,"_placeholder":1,"_placeholder":true,"num":0}]`, `[{"$binary":"AQID"}]`},
		{"in a string", `["{\"_placeholder\":true,\"num\":99}","_placeholder"]`, `["{\"_placeholder\":true,\"num\":99}","_placeholder"]`},
		{"false", `[{"_placeholder":false,"num":99}]`, `[{"_placeholder":false,"num":99}]`},
		{"no boolean", `[{"_placeholder":"true","num":99},{"_placeholder":1},{"_placeholder":[true]}]`, `[{"_placeholder":"true","num":99},{"_placeholder":1},{"_placeholder":[true]}]`},
		{"the value of another", `[{"a":"_placeholder","b":true}]`, `[{"a":"_placeholder","b":true}]`},
	} {
		got, err := Inline([]byte(tt.data), attachments)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestInlineRefusesPlaceholdersWithoutAnAttachment(t *testing.T) {
	attachments := [][]byte{{1}, {2}}
	for _, data := range []string{
		`[{"_placeholder":true}]`, `[{"_placeholder":true,"num":2}]`, `[{"_placeholder":true,"num":-1}]`, `[{"_placeholder":true,"num":"0"}]`,
		`[{"_placeholder":true,"num":null}]`, `[{"_placeholder":true,"num":0.5}]`, `[{"_placeholder":true,"num":[0]}]`, `[{"_placeholder":true,"num":99999999999999999999}]`,
		`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, `[{"\u005fplaceholder":true,"num":2}]`, `{"_placeholder":true,"num":5}`,
		`[{"_placeholder":true,"num":0,` + strings.Repeat(`"x":1,`, 300) + `"num":2}]`,
	} {
		if got, err := Inline([]byte(data), attachments); !errors.Is(err, ErrParse) {
			t.Errorf("%.80s: got %s, %v", data, got, err)
		}
	}
}

// A packet of 1 MB could otherwise become one of many GB.
func TestInlineNeverGivesMuchMoreThanItWasGiven(t *testing.T) {
	big := make([]byte, 1<<20)
	data := []byte("[" + strings.Repeat(`{"_placeholder":true,"num":0},`, 10_000) + "1]")
	if got, err := Inline(data, [][]byte{big}); !errors.Is(err, ErrParse) {
		t.Errorf("%d bytes became %d: %v", len(data)+len(big), len(got), err)
	}
}

func TestExtractTakesOutExactlyWhatIsBinary(t *testing.T) {
	for _, tt := range []struct {
		name, data, want string
		attachments      []string
	}{
		{"nothing", `["a",1]`, `["a",1]`, nil},
		{"one", `["a",{"$binary":"AQID"}]`, `["a",{"_placeholder":true,"num":0}]`, []string{"\x01\x02\x03"}},
		{"empty", `[{"$binary":""}]`, `[{"_placeholder":true,"num":0}]`, []string{""}},
		{"several", `[{"$binary":"AQ=="},{"b":[{"$binary":"Ag=="}]},"<>&"]`, `[{"_placeholder":true,"num":0},{"b":[{"_placeholder":true,"num":1}]},"<>&"]`, []string{"\x01", "\x02"}},
		{"spaces", `[ { "$binary" : "AQ==" } , 1.0 ]`, `[ {"_placeholder":true,"num":0} , 1.0 ]`, []string{"\x01"}},
		{"escapes in the text", `[{"$binary":"\/\/4="}]`, `[{"_placeholder":true,"num":0}]`, []string{"\xff\xfe"}},
		{"another member", `[{"$binary":"AQ==","a":1}]`, `[{"$binary":"AQ==","a":1}]`, nil},
		{"not first", `[{"a":1,"$binary":"AQ=="}]`, `[{"a":1,"$binary":"AQ=="}]`, nil},
		{"no base64", `[{"$binary":"?"},{"$binary":"AQ"},{"$binary":"_-4="}]`, `[{"$binary":"?"},{"$binary":"AQ"},{"$binary":"_-4="}]`, nil},
		{"line breaks", `[{"$binary":"AQ\n=="}]`, `[{"$binary":"AQ\n=="}]`, nil},
		{"no text", `[{"$binary":1},{"$binary":{"$binary":"AQ=="}}]`, `[{"$binary":1},{"$binary":{"_placeholder":true,"num":0}}]`, []string{"\x01"}},
		{"in a string", `["{\"$binary\":\"AQ==\"}","$binary"]`, `["{\"$binary\":\"AQ==\"}","$binary"]`, nil},
		{"a value", `[{"a":"$binary"}]`, `[{"a":"$binary"}]`, nil},
	} {
		out, attachments := Extract([]byte("x"), []byte(tt.data))
		var got []string
		for _, a := range attachments {
			got = append(got, string(a))
		}
		if diff := cmp.Diff(tt.attachments, got); string(out) != "x"+tt.want || diff != "" {
			t.Errorf("%s: got %s; want %s\n%s", tt.name, out, tt.want, diff)
		}
	}
}

// Clients close the connection over a placeholder without an attachment, so one
// that a client has made up must not reach the others in a binary packet.
func TestExtractLeavesDataWithPlaceholdersOfItsOwnAlone(t *testing.T) {
	for _, forged := range []string{
		`{"_placeholder":true,"num":99}`, `{"_placeholder":true}`, `{"num":1,"\u005fplaceholder":true}`, `{"a":[{"_placeholder":true,"num":0}]}`,
	} {
		data := `["a",{"$binary":"AQ=="},` + forged + `]`
		if out, attachments := Extract(nil, []byte(data)); string(out) != data || attachments != nil {
			t.Errorf("got %s with %d attachments", out, len(attachments))
		}
	}
	harmless := `["_placeholder",{"_placeholder":false},{"$binary":"AQ=="}]`
	if _, attachments := Extract(nil, []byte(harmless)); len(attachments) != 1 {
		t.Errorf("%s has %d attachments", harmless, len(attachments))
	}
}

func TestBinaryGoesOutAndIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := drawArray(t)
		out, attachments := Extract(nil, data)
		if err := protocol.Valid(out, 100); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		back, err := Inline(out, attachments)
		if err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%s became %s: %v", data, back, err)
		}
		if again, _ := Extract(nil, back); !bytes.Equal(again, out) {
			t.Fatalf("%s became %s", out, again)
		}
	})
}

func FuzzAttachments(f *testing.F) {
	for _, s := range []string{
		`["a",{"_placeholder":true,"num":0},{"num":1,"_placeholder":true}]`, `[{"_placeholder":true,"num":0,"x":{"_placeholder":true}}]`,
		`[{"\u005fplaceholder":true,"num":0}]`, `{"_placeholder":true`, `"_placeholder`, `]]}}_placeholder`, `{"_placeholder"\`, `{"\u00`, `{"_placeholder":"\u00`,
	} {
		f.Add([]byte(s), []byte("first"), []byte(""))
	}
	f.Fuzz(func(t *testing.T, data, a, b []byte) {
		attachments := [][]byte{a, b}
		out, err := Inline(data, attachments)
		if err != nil || protocol.Valid(data, depth) != nil {
			return // it must not panic, and nothing more
		}
		if err := protocol.Valid(out, depth); err != nil {
			t.Fatalf("%s became %s: %v", data, out, err)
		}
		if len(out) > len(data)+2*(len(a)+len(b))+100 {
			t.Fatalf("%d bytes became %d", len(data)+len(a)+len(b), len(out))
		}
		if found := placeholders(out); len(found) > 0 {
			t.Fatalf("%s still has placeholders", out)
		}
		rest, taken := Extract(nil, out)
		if back, err := Inline(rest, taken); err != nil || !bytes.Equal(back, out) && !bytes.Contains(data, []byte("$binary")) {
			t.Fatalf("%s became %s: %v", out, back, err)
		}
	})
}

func FuzzExtract(f *testing.F) {
	for _, s := range []string{
		`["a",{"$binary":"AQID"},{"$binary":"A"}]`, `{"$binary":"AQID"`, `{"$binary":"AQID`, `{"$binary":`, `{"$binary"`, `{"$binary":"\"}`,
		`[{ "$binary" : "\u0041Q==" }]`, `[{"$binary":"AQ=="},{"_placeholder":true}]`, `"\`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, attachments := Extract([]byte("before"), data)
		out, kept := bytes.CutPrefix(out, []byte("before"))
		if !kept {
			t.Fatalf("what stood before is gone: %s", out)
		}
		if protocol.Valid(data, depth) != nil {
			return
		}
		if err := protocol.Valid(out, depth); err != nil {
			t.Fatalf("%s became %s: %v", data, out, err)
		}
		if attachments == nil {
			if !bytes.Equal(out, data) {
				t.Fatalf("%s became %s", data, out)
			}
			return
		}
		back, err := Inline(out, attachments)
		if err != nil {
			t.Fatalf("%s does not go back: %v", out, err)
		}
		_, again := Extract(nil, back)
		if diff := cmp.Diff(attachments, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s became %s\n%s", data, back, diff)
		}
	})
}

func BenchmarkBinary(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 16} {
		attachment := bytes.Repeat([]byte{0xa5}, size)
		text := []byte(`["upload",{"name":"a.bin","part":{"_placeholder":true,"num":0}}]`)
		data, err := Inline(text, [][]byte{attachment})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("Inline/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Inline(text, [][]byte{attachment})
			}
		})
		b.Run(fmt.Sprintf("Extract/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			dst := make([]byte, 0, len(data))
			for b.Loop() {
				_, _ = Extract(dst[:0], data)
			}
		})
	}
}
