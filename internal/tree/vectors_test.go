package tree_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// vectors is spec/vectors/document-ops.json.
type vectors struct {
	Name  string
	About string
	Cases []struct {
		Name   string
		Value  json.RawMessage
		Ops    json.RawMessage
		Result json.RawMessage // nil: refused
		Error  string
		Told   json.RawMessage // nil: not said
		Big    bool
	}
}

func TestVectors(t *testing.T) {
	src, err := os.Open("../../spec/vectors/document-ops.json")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var file vectors
	d := json.NewDecoder(src)
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range file.Cases {
		if seen[c.Name] || (c.Result == nil) == (c.Error == "") {
			t.Errorf("%s: stands twice, or has not one of result and error", c.Name)
		}
		seen[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			v := read(t, string(c.Value))
			before := text(t, v)
			list, err := tree.ParseOps(c.Ops, tree.Limits{})
			var change *tree.Change
			if err == nil {
				change, err = v.Apply(list, tree.Limits{}, nil)
			}
			after := text(t, v)
			if c.Error != "" {
				if err == nil || string(fault.Of(err).Code) != c.Error || after != before {
					t.Errorf("it is refused with %s and becomes %s, want %s and %s", refusal(err), after, c.Error, before)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !tree.Equal([]byte(after), c.Result) {
				t.Errorf("it becomes %s, want %s", after, c.Result)
			}
			told := tree.AppendOps(nil, change.Done)
			if c.Told != nil && !tree.Equal(told, c.Told) {
				t.Errorf("told is %s, want %s", told, c.Told)
			}
			if got := follow(t, string(c.Value), told); !tree.Equal([]byte(got), c.Result) {
				t.Errorf("what is told makes it %s, want %s", got, c.Result)
			}
		})
	}
}

// follow carries out what a patch frame tells as a client does: an inc puts its
// value there, and nothing is counted again.
func follow(t testing.TB, value string, told []byte) string {
	t.Helper()
	var frame []map[string]json.RawMessage
	if err := json.Unmarshal(told, &frame); err != nil {
		t.Fatalf("%s: %v", told, err)
	}
	v := read(t, value)
	if len(frame) == 0 {
		return text(t, v)
	}
	for _, op := range frame {
		if string(op["op"]) == `"inc"` {
			op["op"] = json.RawMessage(`"set"`)
			delete(op, "by")
		}
		for _, member := range []string{"min", "max", "from"} {
			if op[member] != nil {
				t.Errorf("%s has a member %s", told, member)
			}
		}
	}
	again, err := json.Marshal(frame)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, v, string(again))
	return text(t, v)
}

func TestEqualIsAboutValues(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{`1`, ` 1.0 `, true},
		{`{"a":1,"b":[{"c":2,"d":3}]}`, `{"b":[ {"d":3,"c":2} ],"a":1}`, true},
		{`"a"`, `"\u0061"`, true},
		{`{"\u0061":1}`, `{"a":1}`, true},
		{`[{"\u0061":1,"b":2}]`, `[{"b":2,"a":1}]`, true},
		{`[{"\u0061":"\ud800"}]`, `[{"a":"\ud800"}]`, true},
		{`null`, `null`, true},
		{`true`, `false`, false},
		{`[]`, `{}`, false},
		{`[{}]`, `[[]]`, false},
		{`[[1,2],[]]`, `[[1],[2]]`, false},
		{`{"a":null}`, `{}`, false},
		{`nope`, `nope`, true},
		{`nope`, `1`, false},
		{`{"a":1,"a":1}`, `{"a":1}`, false},
	}
	for _, tt := range tests {
		for _, pair := range [][2]string{{tt.a, tt.b}, {tt.b, tt.a}} {
			if got := tree.Equal([]byte(pair[0]), []byte(pair[1])); got != tt.want {
				t.Errorf("%s", cmp.Diff(tt.want, got)+pair[0]+" and "+pair[1])
			}
		}
	}
}
