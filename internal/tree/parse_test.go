package tree_test

import (
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/tree"
)

func TestAValueIsReadAndWrittenWithoutSpaces(t *testing.T) {
	many := `{"` + strings.Join(strings.Split("abcdefghijklmnopqrstuvwxyz", ""), `":1,"`) + `":1}`
	tests := []struct{ text, want string }{
		{`null`, `null`},
		{` true `, `true`},
		{"\t{ \"a\" : [ 1 , { \"b\" : \" x \" } , [ ] ] ,\r\n \"c\" : { } } ", `{"a":[1,{"b":" x "},[]],"c":{}}`},
		{`{"\u0061\/\n":"\u0061\/"}`, `{"a/\n":"\u0061\/"}`},
		{`[{"\u0061":1}]`, `[{"\u0061":1}]`},
		{`{"z":1,"a":2,"":3}`, `{"z":1,"a":2,"":3}`},
		{`[-0,1.0,1E+2,12345678901234567890123]`, `[-0,1.0,1E+2,12345678901234567890123]`},
		{"{\"\u007f\u2028é😀\":1}", "{\"\u007f\u2028é😀\":1}"},
		{`{"\ud83d\ude00":"\ud83d"}`, `{"😀":"\ud83d"}`},
		{many, many},
		{"[" + many + "]", "[" + many + "]"},
	}
	for _, tt := range tests {
		if got := text(t, read(t, tt.text)); got != tt.want {
			t.Errorf("%s is read as %s, want %s", tt.text, got, tt.want)
		}
	}
	if got := text(t, &tree.Value{}); got != "null" {
		t.Errorf("the zero value is %s", got)
	}
}

func TestWhatADocumentDoesNotAllowIsRefused(t *testing.T) {
	many := strings.Join(strings.Split("abcdefghijklmnopqrstuvwxyz", ""), `":1,"`)
	tests := []struct {
		text   string
		limits tree.Limits
		want   string
	}{
		{``, tree.Limits{}, `bad_request |  | not valid JSON at byte 0: a value is missing`},
		{`{"a":}`, tree.Limits{}, `bad_request |  | not valid JSON at byte 5: a value is missing`},
		{`1 2`, tree.Limits{}, `bad_request |  | not valid JSON at byte 2: something follows the value`},
		{"\"\xff\"", tree.Limits{}, `bad_request |  | is not valid UTF-8`},
		{"{\"\xff\":1,\"\xfe\":2}", tree.Limits{}, `bad_request |  | is not valid UTF-8`},
		{`{"a":1,"a":2}`, tree.Limits{}, `bad_request |  | an object has the member "a" twice`},
		{`{"a":{"b":1,"\u0062":2}}`, tree.Limits{}, `bad_request |  | an object has the member "b" twice`},
		{`[[{"a":[],"a":[]}]]`, tree.Limits{}, `bad_request |  | an object has the member "a" twice`},
		{`[{"a":{"b":1},"b":{"b":1,"c":{"b":1}},"\u0061":1}]`, tree.Limits{}, `bad_request |  | an object has the member "a" twice`},
		{`{"\ud800":1,"\ud801":2}`, tree.Limits{}, `bad_request |  | an object has the member "�" twice`},
		{`{"` + many + `":1,"c":2}`, tree.Limits{}, `bad_request |  | an object has the member "c" twice`},
		{`[{"` + many + `":1,"c":2}]`, tree.Limits{}, `bad_request |  | an object has the member "c" twice`},
		{`[{"` + many + `":1,"z":2}]`, tree.Limits{}, `bad_request |  | an object has the member "z" twice`},
		{`[{"a":{"` + many + `":1},"b":1,"b":1}]`, tree.Limits{}, `bad_request |  | an object has the member "b" twice`},
		{strings.Repeat("[", 65) + strings.Repeat("]", 65), tree.Limits{}, `too_large |  | is nested more than 64 levels deep (limits.depth)`},
		{`[[[]]]`, tree.Limits{Depth: 2}, `too_large |  | is nested more than 2 levels deep (limits.depth)`},
		{`[[]]`, tree.Limits{Depth: 2}, `none`},
		{` [ 1 , 2 ] `, tree.Limits{Bytes: 5}, `none`},
		{`[1,23]`, tree.Limits{Bytes: 5}, `too_large |  | has 6 bytes; at most 5 are allowed in a document (limits.document)`},
		{strings.Repeat("1", 1000), tree.Limits{}, `none`},
		{"-" + strings.Repeat("1", 1000), tree.Limits{}, `none`},
		{strings.Repeat("1", 1001), tree.Limits{}, `bad_request |  | a number has 1001 characters; at most 1000 are allowed`},
		{`[0.` + strings.Repeat("1", 1000) + `]`, tree.Limits{}, `bad_request |  | a number has 1002 characters; at most 1000 are allowed`},
		{`1e999999`, tree.Limits{}, `none`},
		{`{"a":1E-0000001}`, tree.Limits{}, `bad_request |  | the exponent of a number has 7 digits; at most 6 are allowed`},
	}
	for _, tt := range tests {
		_, err := tree.Parse([]byte(tt.text), tt.limits)
		if got := refusal(err); got != tt.want {
			t.Errorf("%.60s is refused with\n%s, want\n%s", tt.text, got, tt.want)
		}
	}
}

func TestGetGivesWhatIsAtAPath(t *testing.T) {
	v := read(t, `{"a":{"b":[1, 2],"n":null},"":{"":0}}`)
	tests := []struct {
		path, want string // "": nothing
		reachable  bool
	}{
		{"", `{"a":{"b":[1,2],"n":null},"":{"":0}}`, true},
		{"/a/b", `[1,2]`, true},
		{"/a/n", `null`, true},
		{"//", `0`, true},
		{"/a/x", ``, true},
		{"/x/y/z", ``, true},
		{"/a/b/0", ``, false},
		{"/a/n/x", ``, false},
	}
	for _, tt := range tests {
		path, err := tree.ParsePath(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		raw, reachable := v.Get(path)
		if string(raw) != tt.want || reachable != tt.reachable || (raw == nil) != (tt.want == "") {
			t.Errorf("at %q is %s, %v, want %s, %v", tt.path, raw, reachable, tt.want, tt.reachable)
		}
		spoil(raw)
	}
	if got := text(t, v); got != `{"a":{"b":[1,2],"n":null},"":{"":0}}` {
		t.Errorf("who gets a part can change it: %s", got)
	}
	if raw, reachable := new(tree.Value).Get(tree.Path{"a"}); raw != nil || !reachable {
		t.Errorf("in no document is %s, %v", raw, reachable)
	}
}
