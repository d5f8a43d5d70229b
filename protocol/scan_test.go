package protocol_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// texts are JSON and near misses of it; they also seed the fuzz tests.
var texts = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `-1.5e+10`, `1E5`, `true`, `false`, `null`, ` {"a" : [1 , 2] , "b" : {} } `,
	`"\u0041\n\"\\\/\b\f\r\t"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`, `"\ud800\ud800\udc00"`, `"é😀"`, "\"\x7f\"",
	``, ` `, `{`, `}`, `[`, `]`, `[1,]`, `[,1]`, `[1 2]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a" 1}`, `{1:2}`,
	`01`, `-`, `+1`, `1.`, `.5`, `1e`, `1e+`, `0x1`, `1.e1`, `--1`, `NaN`, `Infinity`, `tru`, `truee`, `nul`, `nulll`, `True`,
	`"`, `"\`, `"\u12"`, `"\u12g4"`, `"\x"`, "\"\n\"", "\"\x00\"", "\"\x1f\"", `'a'`, `1 2`, `{} {}`, "\xef\xbb\xbf{}", "{}\x00", "\v{}", `//`, `[1]/**/`,
	`{"a":1,"a":2}`, `[[[[]]]]`, `{"a":{"b":{"c":1}}}`, strings.Repeat("[", 20) + strings.Repeat("]", 20),
}

const deep = 1000

func TestValidAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range texts {
		err := protocol.Valid([]byte(text), deep)
		if want := json.Valid([]byte(text)); (err == nil) != want {
			t.Errorf("%q: %v; encoding/json says %v", text, err, want)
		}
	}
}

func TestASyntaxErrorSaysWhere(t *testing.T) {
	tests := []struct {
		text string
		want string
	}{
		{``, "not valid JSON at byte 0: a value is missing"},
		{`{"a":1,}`, "not valid JSON at byte 7: a member name is missing"},
		{`{"a" 1}`, "not valid JSON at byte 5: a colon is missing"},
		{`{"a":1 "b":2}`, "not valid JSON at byte 7: a comma is missing in an object"},
		{`{"a":1`, "not valid JSON at byte 6: the text ends inside an object"},
		{`{`, "not valid JSON at byte 1: the text ends inside an object"},
		{`[1 2]`, "not valid JSON at byte 3: a comma is missing in an array"},
		{`[1`, "not valid JSON at byte 2: the text ends inside an array"},
		{`"abc`, "not valid JSON at byte 4: the text ends inside a string"},
		{`"a\`, "not valid JSON at byte 3: the text ends inside a string"},
		{`"\u12`, "not valid JSON at byte 5: the text ends inside a string"},
		{`"\u12g4"`, `not valid JSON at byte 5: \u wants four hex digits`},
		{`"\x"`, "not valid JSON at byte 2: unknown escape"},
		{"\"\n\"", "not valid JSON at byte 1: control character in a string"},
		{`-`, "not valid JSON at byte 1: a digit is missing"},
		{`1.x`, "not valid JSON at byte 2: a digit is missing"},
		{`nul`, "not valid JSON at byte 0: unknown word"},
		{`1 2`, "not valid JSON at byte 2: something follows the value"},
	}
	for _, tt := range tests {
		err := protocol.Valid([]byte(tt.text), deep)
		var where *protocol.SyntaxError
		if !errors.As(err, &where) || err.Error() != tt.want {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	objects := func(n int) string { return strings.Repeat(`{"a":`, n) + `1` + strings.Repeat(`}`, n) }
	tests := []struct {
		name  string
		text  string
		depth int
		want  error
	}{
		{"a scalar needs no depth", `1`, 0, nil},
		{"an array needs one", `[]`, 0, protocol.ErrDepth},
		{"an object needs one", `{}`, 0, protocol.ErrDepth},
		{"arrays at the bound", nested(32), 32, nil},
		{"arrays over the bound", nested(33), 32, protocol.ErrDepth},
		{"objects at the bound", objects(32), 32, nil},
		{"objects over the bound", objects(33), 32, protocol.ErrDepth},
		{"siblings do not add up", `[[1],[2],[[3]]]`, 3, nil},
		{"a hostile text stops early", strings.Repeat(`[`, 1<<20), 32, protocol.ErrDepth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := protocol.Valid([]byte(tt.text), tt.depth); err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestUnquoteAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range texts {
		checkUnquote(t, text)
	}
	for _, text := range []string{``, `"`, `1`, `x`, `[]`} {
		if s, ok := protocol.Unquote([]byte(text)); ok {
			t.Errorf("%q is taken for the string %q", text, s)
		}
	}
}

// checkUnquote compares with encoding/json where the text is a string in UTF-8.
func checkUnquote(t *testing.T, text string) {
	t.Helper()
	trimmed := strings.Trim(text, " \n\r\t")
	if !strings.HasPrefix(trimmed, `"`) || !utf8.ValidString(text) || protocol.Valid([]byte(trimmed), 1) != nil {
		return
	}
	var want string
	if err := json.Unmarshal([]byte(trimmed), &want); err != nil {
		t.Fatalf("%q: %v", trimmed, err)
	}
	if got, ok := protocol.Unquote([]byte(trimmed)); !ok || got != want {
		t.Errorf("%q: got %q, %v, want %q", trimmed, got, ok, want)
	}
}

func TestEachElement(t *testing.T) {
	collect := func(text string) (list []string, err error) {
		err = protocol.EachElement([]byte(text), func(e []byte) error {
			list = append(list, string(e))
			return nil
		})
		return list, err
	}
	tests := []struct {
		text string
		want []string
	}{
		{`[]`, nil},
		{`[ ]`, nil},
		{`[1]`, []string{`1`}},
		{` [1]`[1:], []string{`1`}},
		{`[ {"a":[1,2]} , "x,]" , null ,[ ] ]`, []string{`{"a":[1,2]}`, `"x,]"`, `null`, `[ ]`}},
	}
	for _, tt := range tests {
		got, err := collect(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.text, diff)
		}
	}
	for _, text := range []string{`{}`, `1`, ``} {
		if _, err := collect(text); err == nil || fault.Of(err).Code != fault.BadRequest {
			t.Errorf("%q: got %v, want a bad_request", text, err)
		}
	}
	stop := errors.New("enough")
	calls := 0
	err := protocol.EachElement([]byte(`[1,2,3]`), func([]byte) error { calls++; return stop })
	if err != stop || calls != 1 {
		t.Errorf("got %v after %d calls, want the first call's error", err, calls)
	}
}

func FuzzValid(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := protocol.Valid(data, deep)
		if !utf8.Valid(data) || errors.Is(err, protocol.ErrDepth) {
			return
		}
		if want := json.Valid(data); (err == nil) != want {
			t.Errorf("%q: %v; encoding/json says %v", data, err, want)
		}
	})
}

func FuzzUnquote(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
		f.Add(`"` + text + `"`)
	}
	f.Fuzz(func(t *testing.T, text string) { checkUnquote(t, text) })
}
