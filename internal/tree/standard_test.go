package tree_test

import (
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/tree"
)

// jsonPatch applies a patch of RFC 6902 and gives what became of the value, what is
// told, and the refusal.
func jsonPatch(t *testing.T, value, patch string, limits tree.Limits) (after, told, refused string) {
	t.Helper()
	v := read(t, value)
	before := text(t, v)
	list, err := tree.ParseJSONPatch([]byte(patch), limits)
	if err != nil {
		return before, "", refusal(err)
	}
	c, err := v.Apply(list, limits, nil)
	if after = text(t, v); err != nil {
		if after != before {
			t.Errorf("refused, but the value has become %s", after)
		}
		return after, "", refusal(err)
	}
	told = string(tree.AppendOps(nil, c.Done))
	copied := read(t, value)
	if c.Changed() {
		apply(t, copied, told)
	}
	if got := text(t, copied); !tree.Equal([]byte(got), []byte(after)) {
		t.Errorf("what is told makes it %s, but it is %s", got, after)
	}
	v.Revert(c)
	if got := text(t, v); got != before {
		t.Errorf("taken back it is %s, want %s", got, before)
	}
	return after, told, "none"
}

func TestJSONPatchAsInRFC6902AppendixA(t *testing.T) {
	tests := []struct{ name, value, patch, want, refused string }{
		{"A.1 adding an object member", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"foo":"bar","baz":"qux"}`, ""},
		{"A.2 adding an array element: refused here", `{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, ``, `conflict | ops[0].path | ops[0].path: /foo is an array, and paths lead into objects only`},
		{"A.3 removing an object member", `{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`, ""},
		{"A.4 removing an array element: refused here", `{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, ``, `conflict | ops[0].path | ops[0].path: /foo is an array, and paths lead into objects only`},
		{"A.5 replacing a value", `{"baz":"qux","foo":"bar"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo","foo":"bar"}`, ""},
		{"A.6 moving a value", `{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`, `[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`, `{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`, ""},
		{"A.7 moving an array element: refused here", `{"foo":["all","grass","cows","eat"]}`, `[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, ``, `conflict | ops[0].from | ops[0].from: /foo is an array, and paths lead into objects only`},
		{"A.8 testing a value: success", `{"baz":"qux","foo":["a",2,"c"]}`, `[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo","value":["a",2,"c"]}]`, `{"baz":"qux","foo":["a",2,"c"]}`, ""},
		{"A.8 testing an array element: refused here", `{"baz":"qux","foo":["a",2,"c"]}`, `[{"op":"test","path":"/foo/1","value":2}]`, ``, `conflict | ops[0].path | ops[0].path: /foo is an array, and paths lead into objects only`},
		{"A.9 testing a value: error", `{"baz":"qux"}`, `[{"op":"test","path":"/baz","value":"bar"}]`, ``, `conflict | ops[0].value | ops[0].value: it is not what is at /baz`},
		{"A.10 adding a nested member object", `{"foo":"bar"}`, `[{"op":"add","path":"/child","value":{"grandchild":{}}}]`, `{"foo":"bar","child":{"grandchild":{}}}`, ""},
		{"A.11 ignoring unrecognized elements", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","xyz":123}]`, `{"foo":"bar","baz":"qux"}`, ""},
		{"A.12 adding to a nonexistent target", `{"foo":"bar"}`, `[{"op":"add","path":"/baz/bat","value":"qux"}]`, ``, `conflict | ops[0].path | ops[0].path: there is nothing at /baz`},
		{"A.13 invalid JSON patch document", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","op":"remove"}]`, ``, `bad_request | json_patch[0] | json_patch[0]: not valid JSON at byte 45: member "op" stands twice`},
		{"A.14 ~ escape ordering", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10}]`, `{"/":9,"~1":10}`, ""},
		{"A.15 comparing strings and numbers", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":"10"}]`, ``, `conflict | ops[0].value | ops[0].value: it is not what is at /~01`},
		{"A.16 adding an array value", `{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			after, _, refused := jsonPatch(t, tt.value, tt.patch, tree.Limits{})
			if tt.refused == "" {
				tt.refused = "none"
			} else {
				tt.want = tt.value
			}
			if after != tt.want || refused != tt.refused {
				t.Errorf("got %s, refused with %s\nwant %s, %s", after, refused, tt.want, tt.refused)
			}
		})
	}
}

func TestJSONPatchKeepsTheConditionsOfRFC6902(t *testing.T) {
	tests := []struct {
		value, patch string
		want, told   string // or refused
		refused      string
	}{
		{value: `{"a":1}`, patch: `[{"op":"add","path":"/a","value":null}]`, want: `{"a":null}`, told: `[{"op":"set","path":"/a","value":null}]`},
		{value: `{"a":1}`, patch: `[{"op":"add","path":"","value":[]}]`, want: `[]`, told: `[{"op":"set","path":"","value":[]}]`},
		{value: `[]`, patch: `[{"op":"add","path":"/-","value":1}]`, want: `[1]`, told: `[{"op":"append","path":"","value":1}]`},
		{value: `{}`, patch: `[{"op":"add","path":"/-","value":1}]`, want: `{"-":1}`, told: `[{"op":"set","path":"/-","value":1}]`},
		{value: `null`, patch: `[{"op":"add","path":"","value":{}}]`, want: `{}`, told: `[{"op":"set","path":"","value":{}}]`},
		{value: `null`, patch: `[{"op":"add","path":"/a","value":1}]`, refused: `conflict | ops[0].path | ops[0].path: there is no document`},
		{value: `{"a":null}`, patch: `[{"op":"add","path":"/a/b","value":1}]`, refused: `conflict | ops[0].path | ops[0].path: /a is null, not an object`},
		{value: `{"a":"x"}`, patch: `[{"op":"add","path":"/a/b","value":1}]`, refused: `conflict | ops[0].path | ops[0].path: /a is a string, not an object`},
		{value: `{"a":[1]}`, patch: `[{"op":"replace","path":"/a/-","value":1}]`, refused: `conflict | ops[0].path | ops[0].path: /a is an array, and paths lead into objects only`},
		{value: `{"a":[1]}`, patch: `[{"op":"add","path":"/a/-/b","value":1}]`, refused: `conflict | ops[0].path | ops[0].path: /a is an array, and paths lead into objects only`},
		{value: `{"a":null}`, patch: `[{"op":"replace","path":"/a","value":1}]`, want: `{"a":1}`, told: `[{"op":"set","path":"/a","value":1}]`},
		{value: `{"a":1}`, patch: `[{"op":"replace","path":"","value":2}]`, want: `2`, told: `[{"op":"set","path":"","value":2}]`},
		{value: `{}`, patch: `[{"op":"replace","path":"/a","value":1}]`, refused: `conflict | ops[0].path | ops[0].path: there is nothing at /a`},
		{value: `null`, patch: `[{"op":"replace","path":"","value":1}]`, refused: `conflict | ops[0].path | ops[0].path: there is no document`},
		{value: `{}`, patch: `[{"op":"remove","path":"/a"}]`, refused: `conflict | ops[0].path | ops[0].path: there is nothing at /a`},
		{value: `{"a":{"b":1},"c":2}`, patch: `[{"op":"move","from":"/a/b","path":"/c"}]`, want: `{"a":{},"c":1}`, told: `[{"op":"remove","path":"/a/b"},{"op":"set","path":"/c","value":1}]`},
		{value: `{"a":{"b":1}}`, patch: `[{"op":"move","from":"/a/b","path":""}]`, want: `1`, told: `[{"op":"remove","path":"/a/b"},{"op":"set","path":"","value":1}]`},
		{value: `{"a":1,"b":2}`, patch: `[{"op":"move","from":"/a","path":"/a"}]`, want: `{"b":2,"a":1}`, told: `[{"op":"remove","path":"/a"},{"op":"set","path":"/a","value":1}]`},
		{value: `{"a":1,"l":[]}`, patch: `[{"op":"move","from":"/a","path":"/l/-"}]`, want: `{"l":[1]}`, told: `[{"op":"remove","path":"/a"},{"op":"append","path":"/l","value":1}]`},
		{value: `{"a":{"b":1}}`, patch: `[{"op":"move","from":"/a","path":"/a/b"}]`, refused: `bad_request | ops[0].path | ops[0].path: leads into what is to be moved`},
		{value: `{"a":{"b":1}}`, patch: `[{"op":"move","from":"","path":"/a"}]`, refused: `bad_request | ops[0].path | ops[0].path: leads into what is to be moved`},
		{value: `{}`, patch: `[{"op":"move","from":"/a","path":"/b"}]`, refused: `conflict | ops[0].from | ops[0].from: there is nothing at /a`},
		{value: `{"a":{"b":1}}`, patch: `[{"op":"move","from":"/a","path":"/c/d"}]`, refused: `conflict | ops[0].path | ops[0].path: there is nothing at /c`},
		{value: `{"a":null}`, patch: `[{"op":"copy","from":"/a","path":"/b"}]`, want: `{"a":null,"b":null}`, told: `[{"op":"set","path":"/b","value":null}]`},
		{value: `{"a":{"b":[1]}}`, patch: `[{"op":"copy","from":"","path":"/a/c"},{"op":"add","path":"/a/c/a/b/-","value":2}]`, want: `{"a":{"b":[1],"c":{"a":{"b":[1,2]}}}}`, told: `[{"op":"set","path":"/a/c","value":{"a":{"b":[1]}}},{"op":"append","path":"/a/c/a/b","value":2}]`},
		{value: `null`, patch: `[{"op":"copy","from":"","path":""}]`, refused: `conflict | ops[0].from | ops[0].from: there is no document`},
		{value: `{"a":[1]}`, patch: `[{"op":"copy","from":"/a/0","path":"/b"}]`, refused: `conflict | ops[0].from | ops[0].from: /a is an array, and paths lead into objects only`},
		{value: `{}`, patch: `[{"op":"test","path":"/a","value":null}]`, want: `{}`, told: `[]`},
	}
	for _, tt := range tests {
		t.Run(tt.patch+" on "+tt.value, func(t *testing.T) {
			after, told, refused := jsonPatch(t, tt.value, tt.patch, tree.Limits{})
			if tt.refused == "" {
				tt.refused = "none"
			} else {
				tt.want = tt.value
			}
			if after != tt.want || told != tt.told || refused != tt.refused {
				t.Errorf("got %s, told %s, refused with %s\nwant %s, %s, %s", after, told, refused, tt.want, tt.told, tt.refused)
			}
		})
	}
}

func TestCopiesAreBounded(t *testing.T) {
	copies := func(n int) string {
		return "[" + strings.Repeat(`{"op":"copy","from":"/a","path":"/b"},`, n-1) + `{"op":"copy","from":"/a","path":"/b"}]`
	}
	value := `{"a":"` + strings.Repeat("x", 98) + `"}`
	if _, _, refused := jsonPatch(t, value, copies(10), tree.Limits{Bytes: 1000}); refused != "none" {
		t.Errorf("1000 bytes are refused with %s", refused)
	}
	_, _, refused := jsonPatch(t, value, copies(11), tree.Limits{Bytes: 1000})
	if want := `too_large | ops[10].from | ops[10].from: the patch moves and copies more than 1000 bytes (limits.document)`; refused != want {
		t.Errorf("refused with %s, want %s", refused, want)
	}
	// Each copies all that there is: twice as much every time.
	doubling := "[" + strings.Repeat(`{"op":"copy","from":"","path":"/a"},{"op":"copy","from":"","path":"/b"},`, 20) + `{"op":"remove","path":"/a"}]`
	_, _, refused = jsonPatch(t, `{"c":1}`, doubling, tree.Limits{})
	if !strings.HasPrefix(refused, "too_large | ops[") {
		t.Errorf("refused with %s, want too_large", refused)
	}
	_, _, refused = jsonPatch(t, `{"a":{"b":{"c":1}}}`, `[{"op":"copy","from":"","path":"/a/b/c"}]`, tree.Limits{Depth: 5})
	if want := `too_large | ops[0].path | ops[0].path: the document would be nested more than 5 levels deep (limits.depth)`; refused != want {
		t.Errorf("refused with %s, want %s", refused, want)
	}
}

func TestMergePatchAsInRFC7396AppendixA(t *testing.T) {
	tests := []struct{ value, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		// Section 3.
		{
			`{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will be unchanged"}`,
			`{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}`,
			`{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.patch+" on "+tt.value, func(t *testing.T) {
			v := read(t, tt.value)
			c, err := v.Apply(tree.MergePatch([]byte(tt.patch)), tree.Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, v); got != tt.want {
				t.Errorf("the value is %s, want %s", got, tt.want)
			}
			v.Revert(c)
			if got := text(t, v); got != tt.value {
				t.Errorf("taken back it is %s, want %s", got, tt.value)
			}
		})
	}
	v := read(t, `{}`)
	_, err := v.Apply(tree.MergePatch(nil), tree.Limits{}, nil)
	if got, want := refusal(err), `bad_request | ops[0].value | ops[0].value: not valid JSON at byte 0: a value is missing`; got != want {
		t.Errorf("refused with %s, want %s", got, want)
	}
}
