package tree_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/tree"
)

func TestOperationsAreRead(t *testing.T) {
	got, err := tree.ParseOps([]byte(` [ {"op":"set","path":"/a~1/b","value": {"x" : 1} },
		{"op":"remove","path":"","value":1,"unknown":{}},
		{"path":"/n","by":-0.5e-3,"max":10,"min":null,"op":"inc"},
		{"op":"append","path":"/","value":null},
		{"op":"merge","path":"/\u0061","value":"s"},
		{"op":"test","path":"/a","value":[]} ] `), tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := []tree.Op{
		{Kind: tree.Set, Path: tree.Path{"a/", "b"}, Value: []byte(`{"x" : 1}`)},
		{Kind: tree.Remove},
		{Kind: tree.Inc, Path: tree.Path{"n"}, By: []byte(`-0.5e-3`), Max: []byte(`10`)},
		{Kind: tree.Append, Path: tree.Path{""}, Value: []byte(`null`)},
		{Kind: tree.Merge, Path: tree.Path{"a"}, Value: []byte(`"s"`)},
		{Kind: tree.Test, Path: tree.Path{"a"}, Value: []byte(`[]`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = tree.ParseJSONPatch([]byte(`[{"op":"add","path":"/a/-","value":1},{"op":"replace","path":"","value":null},{"op":"remove","path":"/a"},
		{"op":"move","from":"/a","path":"/b"},{"op":"copy","from":"","path":"/b"},{"op":"test","path":"/a","value":1}]`), tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want = []tree.Op{
		{Kind: tree.Add, Path: tree.Path{"a", "-"}, Value: []byte(`1`)},
		{Kind: tree.Replace, Value: []byte(`null`)},
		{Kind: tree.Remove, Path: tree.Path{"a"}},
		{Kind: tree.Move, From: tree.Path{"a"}, Path: tree.Path{"b"}},
		{Kind: tree.Copy, Path: tree.Path{"b"}},
		{Kind: tree.Test, Path: tree.Path{"a"}, Value: []byte(`1`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	raw := []byte(`{"a":null}`)
	merge := tree.MergePatch(raw)
	spoil(raw)
	if diff := cmp.Diff([]tree.Op{{Kind: tree.Merge, Value: []byte(`{"a":null}`)}}, merge); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoPatchIsRefusedWithItsPlace(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct{ text, want string }{
		{``, `bad_request | ops | ops: is missing`},
		{`  `, `bad_request | ops | ops: is missing`},
		{`{}`, `bad_request | ops | ops: must be a list of operations, not an object`},
		{`"set"`, `bad_request | ops | ops: must be a list of operations, not a string`},
		{`[]`, `bad_request | ops | ops: must have at least one operation`},
		{`[`, `bad_request | ops | ops: not valid JSON at byte 1: a value is missing`},
		{`[{"op":"remove","path":""}] x`, `bad_request | ops | ops: not valid JSON at byte 28: something follows the value`},
		{`[{"op":"remove","path":""} {"op":"remove","path":""}]`, `bad_request | ops | ops: not valid JSON at byte 27: a comma is missing in an array`},
		{`[1]`, `bad_request | ops[0] | ops[0]: must be an object, not a number`},
		{`[{"op":"remove","path":""},null]`, `bad_request | ops[1] | ops[1]: must be an object, not null`},
		{`[{"op":"remove","op":"remove","path":""}]`, `bad_request | ops[0] | ops[0]: not valid JSON at byte 20: member "op" stands twice`},
		{`[{}]`, `bad_request | ops[0].op | ops[0].op: is missing`},
		{`[{"op":""}]`, `bad_request | ops[0].op | ops[0].op: is empty`},
		{`[{"op":1}]`, `bad_request | ops[0].op | ops[0].op: must be a string, not a number`},
		{`[{"op":"replace","path":""}]`, `bad_request | ops[0].op | ops[0].op: "replace" is none of set, remove, inc, append, merge and test`},
		{`[{"op":"set"}]`, `bad_request | ops[0].path | ops[0].path: is missing`},
		{`[{"op":"set","path":null}]`, `bad_request | ops[0].path | ops[0].path: is missing`},
		{`[{"op":"set","path":["a"]}]`, `bad_request | ops[0].path | ops[0].path: must be a string, not an array`},
		{`[{"op":"set","path":"a"}]`, `bad_request | ops[0].path | ops[0].path: must be empty or begin with /, as RFC 6901 says`},
		{`[{"op":"set","path":"/~"}]`, `bad_request | ops[0].path | ops[0].path: ~ must be followed by 0 or 1, as RFC 6901 says`},
		{`[{"op":"set","path":"/~2"}]`, `bad_request | ops[0].path | ops[0].path: ~ must be followed by 0 or 1, as RFC 6901 says`},
		{`[{"op":"set","path":"/` + "\xff" + `","value":1}]`, `bad_request | ops[0].path | ops[0].path: is not valid UTF-8`},
		{`[{"op":"set","path":"/a"}]`, `bad_request | ops[0].value | ops[0].value: is missing`},
		{`[{"op":"append","path":"/a"}]`, `bad_request | ops[0].value | ops[0].value: is missing`},
		{`[{"op":"merge","path":"/a"}]`, `bad_request | ops[0].value | ops[0].value: is missing`},
		{`[{"op":"test","path":"/a"}]`, `bad_request | ops[0].value | ops[0].value: is missing`},
		{`[{"op":"inc","path":"/a"}]`, `bad_request | ops[0].by | ops[0].by: is missing`},
		{`[{"op":"inc","path":"/a","by":null}]`, `bad_request | ops[0].by | ops[0].by: is missing`},
		{`[{"op":"inc","path":"/a","by":"1"}]`, `bad_request | ops[0].by | ops[0].by: must be a number, not a string`},
		{`[{"op":"inc","path":"/a","by":1,"min":{}}]`, `bad_request | ops[0].min | ops[0].min: must be a number, not an object`},
		{`[{"op":"inc","path":"/a","by":1,"max":true}]`, `bad_request | ops[0].max | ops[0].max: must be a number, not a boolean`},
		{`[{"op":"inc","path":"/a","by":1e1000000}]`, `bad_request | ops[0].by | ops[0].by: the exponent of a number has 7 digits; at most 6 are allowed`},
		{`[{"op":"inc","path":"/a","by":1,"max":` + strings.Repeat("1", 1001) + `}]`, `bad_request | ops[0].max | ops[0].max: a number has 1001 characters; at most 1000 are allowed`},
		{`[{"op":"remove","path":""},{"op":"set","path":"","value":` + deep(65) + `}]`, `too_large | ops[1] | ops[1]: is nested more than 64 levels deep (limits.depth)`},
		{`[{"op":"set","path":"","value":` + deep(5000) + `}]`, `too_large | ops | ops: is nested more than 64 levels deep (limits.depth)`},
		{`[` + strings.Repeat(`{"op":"remove","path":""},`, 1000) + `7]`, `too_large | ops | ops: has 1001 operations; at most 1000 are allowed (limits.ops)`},
		{`[{"op":"set","path":"","value":` + deep(64) + `}]`, `none`},
		{`[{"op":"remove","path":"/` + strings.Repeat("x", 64<<10) + `"}]`, `bad_request | ops[0].path | ops[0].path: has 65537 bytes; at most 65536 are allowed`},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%.60s", tt.text), func(t *testing.T) {
			_, err := tree.ParseOps([]byte(tt.text), tree.Limits{})
			if got := refusal(err); got != tt.want {
				t.Errorf("refused with\n%s, want\n%s", got, tt.want)
			}
		})
	}
	standard := []struct{ text, want string }{
		{`{"op":"add"}`, `bad_request | json_patch | json_patch: must be a list of operations, not an object`},
		{`[{"op":"set","path":"","value":1}]`, `bad_request | json_patch[0].op | json_patch[0].op: "set" is none of add, replace, remove, move, copy and test`},
		{`[{"op":"move","path":"/a"}]`, `bad_request | json_patch[0].from | json_patch[0].from: is missing`},
		{`[{"op":"copy","path":"/a","from":"b"}]`, `bad_request | json_patch[0].from | json_patch[0].from: must be empty or begin with /, as RFC 6901 says`},
		{`[{"op":"add","path":"/a"}]`, `bad_request | json_patch[0].value | json_patch[0].value: is missing`},
		{`[{"op":"remove"}]`, `bad_request | json_patch[0].path | json_patch[0].path: is missing`},
	}
	for _, tt := range standard {
		_, err := tree.ParseJSONPatch([]byte(tt.text), tree.Limits{})
		if got := refusal(err); got != tt.want {
			t.Errorf("%s is refused with\n%s, want\n%s", tt.text, got, tt.want)
		}
	}
}

func TestWhatWasDoneIsReadBack(t *testing.T) {
	v := read(t, `{"x":{"n":1.50},"l":[1],"null":null}`)
	c := apply(t, v, `[{"op":"set","path":"/é~1~0\"\\\u0001","value":null},{"op":"inc","path":"/x/n","by":1},{"op":"append","path":"/l","value":[]},{"op":"remove","path":"/x"},
		{"op":"merge","path":"","value":{"null":1,"l":null}},{"op":"set","path":"//","value":"\ud800"}]`)
	raw := tree.AppendOps(nil, c.Done)
	done, err := tree.ParseDone(raw)
	if err != nil {
		t.Fatal(err)
	}
	spoil(raw)
	if diff := cmp.Diff(c.Done, done); diff != "" {
		t.Error(diff)
	}
	raw = tree.AppendOld(nil, c.Old())
	old, err := tree.ParseOld(raw)
	if err != nil {
		t.Fatal(err)
	}
	spoil(raw)
	if diff := cmp.Diff(c.Old(), old); diff != "" {
		t.Error(diff)
	}
	want := []tree.Old{
		{Op: 0, Path: tree.Path{"é/~\"\\\x01"}, Index: -1},
		{Op: 1, Path: tree.Path{"x", "n"}, Value: []byte(`1.50`), Index: -1},
		{Op: 2, Path: tree.Path{"l"}, Index: 1},
		{Op: 3, Path: tree.Path{"x"}, Value: []byte(`{"n":2.5}`), Index: -1},
		{Op: 4, Path: tree.Path{"null"}, Value: []byte(`null`), Index: -1},
		{Op: 4, Path: tree.Path{"l"}, Value: []byte(`[1,[]]`), Index: -1},
		{Op: 5, Path: tree.Path{""}, Index: -1},
	}
	if diff := cmp.Diff(want, old); diff != "" {
		t.Error(diff)
	}
	if none, err := tree.ParseOld(tree.AppendOld(nil, nil)); len(none) > 0 || err != nil {
		t.Errorf("nothing is read back as %v, %v", none, err)
	}
}

func TestWhatIsNotWhatWasDoneIsNotRead(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `[1]`, `[{"op":"set","path":"/a"}]`, `[{"op":"inc","path":"/a","by":1}]`, `[{"op":"inc","path":"/a","by":1,"value":"2"}]`,
		`[{"op":"set","path":"/a","value":1,}]`, `[{"op":"add","path":"/a","value":1}]`,
	} {
		if done, err := tree.ParseDone([]byte(text)); err == nil {
			t.Errorf("%s is read as %v", text, done)
		}
	}
	for _, text := range []string{``, `{}`, `[1]`, `[{"op":-1,"path":"/a"}]`, `[{"op":0}]`, `[{"op":0,"path":"a"}]`, `[{"op":0,"path":"/a","index":-2}]`, `[{"op":0,"path":"/a","index":"x"}]`} {
		if old, err := tree.ParseOld([]byte(text)); err == nil {
			t.Errorf("%s is read as %v", text, old)
		}
	}
}

func TestPathsAreJSONPointers(t *testing.T) {
	for pointer, want := range map[string]tree.Path{
		"": nil, "/": {""}, "//": {"", ""}, "/a/b": {"a", "b"}, "/a~1b": {"a/b"}, "/m~0n": {"m~n"}, "/~01": {"~1"}, "/c%d": {"c%d"}, "/ ": {" "}, "/é/\"/\\": {"é", "\"", "\\"}, "/0/-": {"0", "-"},
	} {
		got, err := tree.ParsePath(pointer)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", pointer, err, diff)
		}
		if got.String() != pointer {
			t.Errorf("%q gives %q", pointer, got.String())
		}
	}
	covers := []struct {
		p, other string
		want     bool
	}{
		{"", "", true}, {"", "/a", true}, {"/a", "", false}, {"/a", "/a/b", true}, {"/a/b", "/a", false}, {"/a", "/ab", false}, {"/a", "/b/a", false}, {"/", "//a", true},
	}
	for _, tt := range covers {
		p, _ := tree.ParsePath(tt.p)
		other, _ := tree.ParsePath(tt.other)
		if got := p.Covers(other); got != tt.want {
			t.Errorf("%q covers %q: %v", tt.p, tt.other, got)
		}
	}
}
