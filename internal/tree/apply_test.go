package tree_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// read makes a value of a text that is right.
func read(t testing.TB, text string) *tree.Value {
	t.Helper()
	v, err := tree.Parse([]byte(text), tree.Limits{})
	if err != nil {
		t.Fatalf("%.200s: %v", text, err)
	}
	return v
}

// text is the value, after a look at its inside.
func text(t testing.TB, v *tree.Value) string {
	t.Helper()
	if err := v.Check(); err != nil {
		t.Fatal(err)
	}
	out := string(v.Append(nil))
	if v.Size() != len(out) {
		t.Fatalf("Size is %d, but the text has %d bytes: %.200s", v.Size(), len(out), out)
	}
	return out
}

// ops reads operations that are right.
func ops(t testing.TB, text string) []tree.Op {
	t.Helper()
	list, err := tree.ParseOps([]byte(text), tree.Limits{})
	if err != nil {
		t.Fatalf("%.200s: %v", text, err)
	}
	return list
}

// apply carries out operations that fit.
func apply(t testing.TB, v *tree.Value, text string) *tree.Change {
	t.Helper()
	c, err := v.Apply(ops(t, text), tree.Limits{}, nil)
	if err != nil {
		t.Fatalf("%.200s: %v", text, err)
	}
	return c
}

// refusal is an error as callers see it: code, field, message.
func refusal(err error) string {
	if err == nil {
		return "none"
	}
	e := fault.Of(err)
	return fmt.Sprintf("%s | %s | %s", e.Code, e.Field, e.Message)
}

// An operation on a value: what becomes of it and what is told, or the refusal.
type operation struct {
	value, op string
	want      string // the value then
	told      string // "": the operation as it is written
	refused   string // "": it is not
}

func run(t *testing.T, tests []operation) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.op+" on "+tt.value, func(t *testing.T) {
			v := read(t, tt.value)
			before := text(t, v)
			c, err := v.Apply(ops(t, "["+tt.op+"]"), tree.Limits{}, nil)
			if tt.refused != "" {
				if got := refusal(err); got != tt.refused {
					t.Errorf("refused with\n%s, want\n%s", got, tt.refused)
				}
				if after := text(t, v); after != before {
					t.Errorf("the value has become %s", after)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, v); got != tt.want {
				t.Errorf("the value is %s, want %s", got, tt.want)
			}
			if tt.told == "" {
				tt.told = tt.op
			}
			if got := string(tree.AppendOps(nil, c.Done)); got != "["+tt.told+"]" {
				t.Errorf("told is %s, want [%s]", got, tt.told)
			}
			v.Revert(c)
			if after := text(t, v); after != before {
				t.Errorf("taken back the value is %s, want %s", after, before)
			}
		})
	}
}

func TestSetPutsAValue(t *testing.T) {
	run(t, []operation{
		{value: `null`, op: `{"op":"set","path":"","value":1}`, want: `1`},
		{value: `{"a":1}`, op: `{"op":"set","path":"","value":null}`, want: `null`},
		{value: `{"a":1}`, op: `{"op":"set","path":"/a","value":{"b":[]}}`, want: `{"a":{"b":[]}}`},
		{value: `{"a":1,"b":2,"c":3}`, op: `{"op":"set","path":"/b","value":"x"}`, want: `{"a":1,"b":"x","c":3}`},
		{value: `{"a":1}`, op: `{"op":"set","path":"/b","value":null}`, want: `{"a":1,"b":null}`},
		{value: `{}`, op: `{"op":"set","path":"/a/b/c","value":true}`, want: `{"a":{"b":{"c":true}}}`},
		{value: `null`, op: `{"op":"set","path":"/a/b","value":false}`, want: `{"a":{"b":false}}`},
		{value: `{"":{}}`, op: `{"op":"set","path":"//","value":1}`, want: `{"":{"":1}}`},
		{value: `{}`, op: `{"op":"set","path":"/a~1b~0c~01","value":1}`, want: `{"a/b~c~1":1}`},
		{value: `{}`, op: `{"op":"set","path":"/é\"\\\u0001","value":1}`, want: `{"é\"\\\u0001":1}`},
		{value: `{}`, op: `{"op":"set","path":"/\ud800","value":1}`, want: "{\"\ufffd\":1}", told: "{\"op\":\"set\",\"path\":\"/\ufffd\",\"value\":1}"},
		{value: `{}`, op: `{"op":"set","path":"/a","value":"\ud800\u0041"}`, want: `{"a":"\ud800\u0041"}`},
		{value: `{}`, op: `{"op":"set","path":"/a","value": [ 1 , {"b" : [ ] } ] }`, want: `{"a":[1,{"b":[]}]}`, told: `{"op":"set","path":"/a","value":[1,{"b":[]}]}`},
		{value: `{}`, op: `{"op":"set","path":"/a","value":1.50e+3}`, want: `{"a":1.50e+3}`},
		{value: `{"a":[1]}`, op: `{"op":"set","path":"/a/0","value":2}`, refused: `conflict | ops[0].path | ops[0].path: /a is an array, and paths lead into objects only`},
		{value: `{"a":{"b":1}}`, op: `{"op":"set","path":"/a/b/c/d","value":2}`, refused: `conflict | ops[0].path | ops[0].path: /a/b is a number, not an object`},
		{value: `{"a":null}`, op: `{"op":"set","path":"/a/b","value":2}`, refused: `conflict | ops[0].path | ops[0].path: /a is null, not an object`},
		{value: `"x"`, op: `{"op":"set","path":"/a","value":2}`, refused: `conflict | ops[0].path | ops[0].path: the whole document is a string, not an object`},
		{value: `{}`, op: `{"op":"set","path":"/a","value":{"b":1,"b":2}}`, refused: `bad_request | ops[0].value | ops[0].value: an object has the member "b" twice`},
		{value: `{}`, op: `{"op":"set","path":"/a","value":[{"b":1,"\u0062":2}]}`, refused: `bad_request | ops[0].value | ops[0].value: an object has the member "b" twice`},
		{value: `[]`, op: `{"op":"set","path":"/a","value":{"b":1,"b":2}}`, refused: `bad_request | ops[0].value | ops[0].value: an object has the member "b" twice`},
		{value: `{}`, op: `{"op":"set","path":"/a","value":1e9999999}`, refused: `bad_request | ops[0].value | ops[0].value: the exponent of a number has 7 digits; at most 6 are allowed`},
		{value: `{}`, op: `{"op":"set","path":"/a","value":[` + strings.Repeat("1", 1001) + `]}`, refused: `bad_request | ops[0].value | ops[0].value: a number has 1001 characters; at most 1000 are allowed`},
	})
}

func TestRemoveDeletesAMember(t *testing.T) {
	run(t, []operation{
		{value: `{"a":1}`, op: `{"op":"remove","path":""}`, want: `null`},
		{value: `{"a":1,"b":2,"c":3}`, op: `{"op":"remove","path":"/a"}`, want: `{"b":2,"c":3}`},
		{value: `{"a":1,"b":2,"c":3}`, op: `{"op":"remove","path":"/b"}`, want: `{"a":1,"c":3}`},
		{value: `{"a":1,"b":2,"c":3}`, op: `{"op":"remove","path":"/c"}`, want: `{"a":1,"b":2}`},
		{value: `{"a":{"b":null}}`, op: `{"op":"remove","path":"/a/b"}`, want: `{"a":{}}`},
		{value: `{"a":1}`, op: `{"op":"remove","path":"/b"}`, refused: `conflict | ops[0].path | ops[0].path: there is nothing at /b`},
		{value: `{"a":1}`, op: `{"op":"remove","path":"/b/c"}`, refused: `conflict | ops[0].path | ops[0].path: there is nothing at /b/c`},
		{value: `null`, op: `{"op":"remove","path":""}`, refused: `conflict | ops[0].path | ops[0].path: there is no document`},
		{value: `null`, op: `{"op":"remove","path":"/a"}`, refused: `conflict | ops[0].path | ops[0].path: there is nothing at /a`},
		{value: `[1]`, op: `{"op":"remove","path":"/0"}`, refused: `conflict | ops[0].path | ops[0].path: the whole document is an array, and paths lead into objects only`},
		{value: `{"a":true}`, op: `{"op":"remove","path":"/a/b"}`, refused: `conflict | ops[0].path | ops[0].path: /a is a boolean, not an object`},
	})
}

func TestIncAdds(t *testing.T) {
	nines := strings.Repeat("9", 1000)
	told := func(by, value string) string {
		return `{"op":"inc","path":"/n","by":` + by + `,"value":` + value + `}`
	}
	inc := func(now, by, want string) operation {
		return operation{value: `{"n":` + now + `}`, op: `{"op":"inc","path":"/n","by":` + by + `}`, want: `{"n":` + want + `}`, told: told(by, want)}
	}
	no := func(now, by, refused string) operation {
		return operation{value: `{"n":` + now + `}`, op: `{"op":"inc","path":"/n","by":` + by + `}`, refused: refused}
	}
	run(t, []operation{
		inc(`1`, `2`, `3`),
		inc(`1`, `-2`, `-1`),
		inc(`0`, `-0`, `0`),
		inc(`-0`, `0`, `0`),
		inc(`9007199254740993`, `2`, `9007199254740995`),
		inc(`9223372036854775807`, `1`, `9223372036854775808`),
		inc(`-9223372036854775808`, `-1`, `-9223372036854775809`),
		inc(`123456789012345678901234567890`, `-123456789012345678901234567890`, `0`),
		inc(`-`+nines, nines, `0`),
		inc(`0.1`, `0.2`, `0.30000000000000004`),
		inc(`1`, `0.5`, `1.5`),
		inc(`0.5`, `0.5`, `1`),
		inc(`1.5`, `-1.5`, `0`),
		inc(`0.0`, `-0`, `0`),
		inc(`-0.0`, `-0.0`, `0`),
		inc(`1e20`, `0`, `100000000000000000000`),
		inc(`1e21`, `0`, `1e+21`),
		inc(`1E-7`, `0`, `1e-7`),
		inc(`1.5e-10`, `0`, `1.5e-10`),
		inc(`0.000001`, `0`, `0.000001`),
		inc(`5e-324`, `0`, `5e-324`),
		inc(`1e300`, `1e300`, `2e+300`),
		inc(`1e-999999`, `1`, `1`),
		{value: `{}`, op: `{"op":"inc","path":"/a/n","by":5}`, want: `{"a":{"n":5}}`, told: `{"op":"inc","path":"/a/n","by":5,"value":5}`},
		{value: `{"n":null}`, op: `{"op":"inc","path":"/n","by":1e0}`, want: `{"n":1}`, told: told(`1e0`, `1`)},
		{value: `null`, op: `{"op":"inc","path":"","by":5}`, want: `5`, told: `{"op":"inc","path":"","by":5,"value":5}`},
		{value: `5`, op: `{"op":"inc","path":"","by":-5}`, want: `0`, told: `{"op":"inc","path":"","by":-5,"value":0}`},
		{value: `{"n":1}`, op: `{"op":"inc","path":"/n","by":1,"min":2,"max":2.0}`, want: `{"n":2}`, told: told(`1`, `2`)},
		{value: `{}`, op: `{"op":"inc","path":"/n","by":1,"min":null,"max":null}`, want: `{"n":1}`, told: told(`1`, `1`)},
		{value: `{"n":5}`, op: `{"op":"inc","path":"/n","by":-4,"min":1.0000000000000000001}`, refused: `conflict | ops[0].min | ops[0].min: the result would be less than 1.0000000000000000001`},
		{value: `{"n":-5}`, op: `{"op":"inc","path":"/n","by":1,"max":-4.1e0}`, refused: `conflict | ops[0].max | ops[0].max: the result would be more than -4.1e0`},
		{value: `{"n":9007199254740992}`, op: `{"op":"inc","path":"/n","by":1,"max":9007199254740992}`, refused: `conflict | ops[0].max | ops[0].max: the result would be more than 9007199254740992`},
		{value: `{}`, op: `{"op":"inc","path":"/n","by":1,"max":0}`, refused: `conflict | ops[0].max | ops[0].max: the result would be more than 0`},
		no(nines, `1`, `conflict | ops[0].by | ops[0].by: the result has 1001 digits; at most 1000 are allowed`),
		no(`-`+nines, `-1`, `conflict | ops[0].by | ops[0].by: the result has 1001 digits; at most 1000 are allowed`),
		no(`1e308`, `1e308`, `conflict | ops[0].by | ops[0].by: the result is too large for a number that is not written as an integer`),
		no(`0`, `1e999999`, `conflict | ops[0].by | ops[0].by: the result is too large for a number that is not written as an integer`),
		no(`-1e999999`, `1`, `conflict | ops[0].by | ops[0].by: the result is too large for a number that is not written as an integer`),
		no(`"1"`, `1`, `conflict | ops[0].path | ops[0].path: /n is a string, not a number`),
		no(`{}`, `1`, `conflict | ops[0].path | ops[0].path: /n is an object, not a number`),
		no(`[1]`, `1`, `conflict | ops[0].path | ops[0].path: /n is an array, not a number`),
		no(`true`, `1`, `conflict | ops[0].path | ops[0].path: /n is a boolean, not a number`),
		{value: `{"n":1.5}`, op: `{"op":"inc","path":"/n/m","by":1}`, refused: `conflict | ops[0].path | ops[0].path: /n is a number, not an object`},
		{value: `{"n":null}`, op: `{"op":"inc","path":"/n/m","by":1}`, refused: `conflict | ops[0].path | ops[0].path: /n is null, not an object`},
	})
}

func TestAppendAddsAnElement(t *testing.T) {
	run(t, []operation{
		{value: `null`, op: `{"op":"append","path":"","value":1}`, want: `[1]`},
		{value: `[]`, op: `{"op":"append","path":"","value":null}`, want: `[null]`},
		{value: `[1]`, op: `{"op":"append","path":"","value":[2]}`, want: `[1,[2]]`},
		{value: `{}`, op: `{"op":"append","path":"/a/b","value":{"c":1}}`, want: `{"a":{"b":[{"c":1}]}}`},
		{value: `{"a":[],"b":1}`, op: `{"op":"append","path":"/a","value":"]"}`, want: `{"a":["]"],"b":1}`},
		{value: `{"a":{"b":[ 1, 2 ]}}`, op: `{"op":"append","path":"/a/b","value":3}`, want: `{"a":{"b":[1,2,3]}}`},
		{value: `{"a":null}`, op: `{"op":"append","path":"/a","value":3}`, want: `{"a":[3]}`},
		{value: `{"a":1}`, op: `{"op":"append","path":"/a","value":3}`, refused: `conflict | ops[0].path | ops[0].path: /a is a number, not an array`},
		{value: `{}`, op: `{"op":"append","path":"","value":3}`, refused: `conflict | ops[0].path | ops[0].path: the whole document is an object, not an array`},
		{value: `{"a":[[]]}`, op: `{"op":"append","path":"/a/0","value":3}`, refused: `conflict | ops[0].path | ops[0].path: /a is an array, and paths lead into objects only`},
		{value: `{"a":1}`, op: `{"op":"append","path":"/a","value":{"b":1,"b":2}}`, refused: `bad_request | ops[0].value | ops[0].value: an object has the member "b" twice`},
	})
}

func TestMergeMergesMemberByMember(t *testing.T) {
	run(t, []operation{
		{value: `{"a":1,"b":{"c":2,"d":3},"e":4}`, op: `{"op":"merge","path":"","value":{"b":{"c":null,"f":5},"a":null,"g":{"h":null}}}`, want: `{"b":{"d":3,"f":5},"e":4,"g":{}}`},
		{value: `{"a":{"b":1}}`, op: `{"op":"merge","path":"/a","value":{"b":2}}`, want: `{"a":{"b":2}}`},
		{value: `{"a":{"b":1}}`, op: `{"op":"merge","path":"/a","value":{}}`, want: `{"a":{"b":1}}`},
		{value: `{"a":1}`, op: `{"op":"merge","path":"/b","value":null}`, want: `{"a":1}`},
		{value: `{"a":1}`, op: `{"op":"merge","path":"/b/c/d","value":null}`, want: `{"a":1}`},
		{value: `{"a":1}`, op: `{"op":"merge","path":"/a","value":null}`, want: `{}`},
		{value: `{"a":1}`, op: `{"op":"merge","path":"","value":null}`, want: `null`},
		{value: `null`, op: `{"op":"merge","path":"","value":null}`, want: `null`},
		{value: `null`, op: `{"op":"merge","path":"/a/b","value":{"c":null,"d":[null]}}`, want: `{"a":{"b":{"d":[null]}}}`},
		{value: `{"a":null}`, op: `{"op":"merge","path":"","value":{"a":{"b":1}}}`, want: `{"a":{"b":1}}`},
		{value: `{"a":[1,2]}`, op: `{"op":"merge","path":"/a","value":{"0":null}}`, want: `{"a":{}}`},
		{value: `{"a":[1,2]}`, op: `{"op":"merge","path":"/a/0","value":{}}`, refused: `conflict | ops[0].path | ops[0].path: /a is an array, and paths lead into objects only`},
		{value: `{"a":"x"}`, op: `{"op":"merge","path":"/a/b","value":null}`, refused: `conflict | ops[0].path | ops[0].path: /a is a string, not an object`},
		{value: `{}`, op: `{"op":"merge","path":"","value":{"a":{"b":1,"b":null}}}`, refused: `bad_request | ops[0].value | ops[0].value: an object has the member "b" twice`},
	})
}

func TestTestRefusesWhatIsNotEqual(t *testing.T) {
	holds := func(value, path, want string) operation {
		return operation{value: value, op: `{"op":"test","path":"` + path + `","value":` + want + `},{"op":"set","path":"","value":1}`, want: `1`, told: `{"op":"set","path":"","value":1}`}
	}
	not := func(value, path, want, place string) operation {
		return operation{value: value, op: `{"op":"test","path":"` + path + `","value":` + want + `}`, refused: `conflict | ops[0].value | ops[0].value: it is not what is at ` + place}
	}
	run(t, []operation{
		holds(`{"a":1}`, ``, `{"a":1.0}`),
		holds(`{"a":100}`, `/a`, `1e2`),
		holds(`{"a":-0}`, `/a`, `0.0e5`),
		holds(`{"a":0.001}`, `/a`, `1E-3`),
		holds(`{"a":9007199254740993}`, `/a`, `9007199254740993.0`),
		holds(`{"a":"é\n"}`, `/a`, `"\u00e9\u000a"`),
		holds(`{"a":{"b":1,"c":[{"d":1,"e":2}]}}`, `/a`, `{"c":[{"e":2,"d":1}],"b":1}`),
		holds(`{"a":[{"x":{"y":1,"z":[1,2]},"w":2,"v":3}]}`, `/a`, `[{"v":3,"w":2.0,"x":{"z":[1,2e0],"y":1}}]`),
		holds(`{}`, `/a`, `null`),
		holds(`{"a":null}`, `/a`, `null`),
		holds(`null`, `/a/b`, `null`),
		holds(`null`, ``, `null`),
		holds(`{"a":[]}`, `/a`, `[]`),
		holds(`{"a":[{}]}`, `/a`, `[{}]`),
		not(`{"a":1}`, `/a`, `2`, `/a`),
		not(`{"a":1}`, `/a`, `"1"`, `/a`),
		not(`{"a":9007199254740993}`, `/a`, `9007199254740992`, `/a`),
		not(`{"a":1}`, `/a`, `null`, `/a`),
		not(`{"a":null}`, `/a`, `0`, `/a`),
		not(`{"a":false}`, `/a`, `null`, `/a`),
		not(`{}`, `/a`, `{}`, `/a`),
		not(`{}`, ``, `null`, `the whole document`),
		not(`{"a":1}`, ``, `{"a":1,"b":null}`, `the whole document`),
		not(`{"a":[1,2]}`, `/a`, `[2,1]`, `/a`),
		not(`{"a":[1,2]}`, `/a`, `[1]`, `/a`),
		not(`{"a":[1]}`, `/a`, `{"0":1}`, `/a`),
		not(`{"a":[{"b":1}]}`, `/a`, `[{"b":1,"c":2}]`, `/a`),
		not(`{"a":[{"b":1,"c":2}]}`, `/a`, `[{"b":1}]`, `/a`),
		not(`{"a":[{"b":1,"c":2}]}`, `/a`, `[{"c":1,"b":2}]`, `/a`),
		not(`{"a":[{"b":1,"c":2}]}`, `/a`, `[{"c":2,"d":1}]`, `/a`),
		not(`{"a":[[1]]}`, `/a`, `[1]`, `/a`),
		not(`{"a":[1]}`, `/a`, `[[1]]`, `/a`),
		not(`{"a":["1"]}`, `/a`, `[1]`, `/a`),
		{value: `{"a":[1]}`, op: `{"op":"test","path":"/a/0","value":1}`, refused: `conflict | ops[0].path | ops[0].path: /a is an array, and paths lead into objects only`},
		{value: `{}`, op: `{"op":"test","path":"/a","value":{"b":1,"b":2}}`, refused: `bad_request | ops[0].value | ops[0].value: an object has the member "b" twice`},
	})
}

func TestAPatchIsCarriedOutInOrderAndWholeOrNotAtAll(t *testing.T) {
	run(t, []operation{
		{
			value: `{"a":1}`, op: `{"op":"set","path":"/b","value":{}},{"op":"inc","path":"/b/n","by":1},{"op":"inc","path":"/b/n","by":1},{"op":"remove","path":"/a"}`, want: `{"b":{"n":2}}`,
			told: `{"op":"set","path":"/b","value":{}},{"op":"inc","path":"/b/n","by":1,"value":1},{"op":"inc","path":"/b/n","by":1,"value":2},{"op":"remove","path":"/a"}`,
		},
		{
			value:   `{"z":0,"a":{"b":1,"c":[1]},"d":2}`,
			op:      `{"op":"remove","path":"/z"},{"op":"append","path":"/a/c","value":2},{"op":"merge","path":"/a","value":{"b":null,"x":1}},{"op":"set","path":"/z","value":1},{"op":"remove","path":"/a"},{"op":"set","path":"","value":[]},{"op":"test","path":"","value":1}`,
			refused: `conflict | ops[6].value | ops[6].value: it is not what is at the whole document`,
		},
	})
	v := read(t, `{"a":1}`)
	if c := apply(t, v, `[{"op":"test","path":"/a","value":1}]`); c.Changed() || len(c.Old()) > 0 || len(c.Done) > 0 {
		t.Errorf("a patch of nothing but a test has done %v", c.Done)
	}
	if c := apply(t, v, `[{"op":"set","path":"/a","value":1}]`); !c.Changed() {
		t.Error("a patch that sets what was there already is none")
	}
	for _, kind := range []string{"", "sort"} {
		_, err := v.Apply([]tree.Op{{Kind: kind}}, tree.Limits{}, nil)
		if got, want := refusal(err), fmt.Sprintf("bad_request | ops[0].op | ops[0].op: %q is not known", kind); got != want {
			t.Errorf("refused with %s, want %s", got, want)
		}
	}
}

func TestLimitsOfAPatch(t *testing.T) {
	tests := []struct {
		name, value, ops string
		limits           tree.Limits
		want             string // the refusal
	}{
		{"as long as is allowed", `{}`, `[{"op":"set","path":"/a","value":"12345"}]`, tree.Limits{Bytes: 13}, `none`},
		{"longer", `{}`, `[{"op":"set","path":"/a","value":"123456"}]`, tree.Limits{Bytes: 13}, `too_large | ops | ops: the document would have 14 bytes; at most 13 are allowed (limits.document)`},
		{"longer on the way only", `{}`, `[{"op":"set","path":"/a","value":"123456"},{"op":"remove","path":"/a"}]`, tree.Limits{Bytes: 13}, `none`},
		{"too long before, and shorter now", `{"a":1,"b":"0123456789"}`, `[{"op":"remove","path":"/a"}]`, tree.Limits{Bytes: 13}, `none`},
		{"too long before, and not longer now", `{"a":1,"b":"0123456789"}`, `[{"op":"inc","path":"/a","by":1}]`, tree.Limits{Bytes: 13}, `none`},
		{"too long before, and longer now", `{"a":9,"b":"0123456789"}`, `[{"op":"inc","path":"/a","by":1}]`, tree.Limits{Bytes: 13}, `too_large | ops | ops: the document would have 25 bytes; at most 13 are allowed (limits.document)`},
		{"as deep as is allowed", `null`, `[{"op":"set","path":"/a/b","value":{"c":[]}}]`, tree.Limits{Depth: 4}, `none`},
		{"a value that is deeper", `null`, `[{"op":"set","path":"/a/b","value":{"c":[[]]}}]`, tree.Limits{Depth: 4}, `too_large | ops[0].value | ops[0].value: the document would be nested more than 4 levels deep (limits.depth)`},
		{"a path as deep as is allowed", `null`, `[{"op":"set","path":"/a/b/c/d","value":1}]`, tree.Limits{Depth: 4}, `none`},
		{"a path that is deeper", `null`, `[{"op":"set","path":"/a/b/c/d/e","value":1}]`, tree.Limits{Depth: 4}, `too_large | ops[0].path | ops[0].path: leads more than 4 levels deep (limits.depth)`},
		{"a sum that is deeper", `null`, `[{"op":"inc","path":"/a/b/c/d/e","by":1}]`, tree.Limits{Depth: 4}, `too_large | ops[0].path | ops[0].path: leads more than 4 levels deep (limits.depth)`},
		{"an array as deep as is allowed", `null`, `[{"op":"append","path":"/a/b/c","value":1}]`, tree.Limits{Depth: 4}, `none`},
		{"an array that is deeper", `null`, `[{"op":"append","path":"/a/b/c/d","value":1}]`, tree.Limits{Depth: 4}, `too_large | ops[0].path | ops[0].path: an array there would be nested more than 4 levels deep (limits.depth)`},
		{"an element as deep as is allowed", `{"a":[]}`, `[{"op":"append","path":"/a","value":[{}]}]`, tree.Limits{Depth: 4}, `none`},
		{"an element that is deeper", `{"a":[]}`, `[{"op":"append","path":"/a","value":[{"b":{}}]}]`, tree.Limits{Depth: 4}, `too_large | ops[0].value | ops[0].value: the document would be nested more than 4 levels deep (limits.depth)`},
		{"a merge that is deeper", `{"a":{}}`, `[{"op":"merge","path":"/a","value":{"b":{"c":{"d":{}}}}}]`, tree.Limits{Depth: 4}, `too_large | ops[0].value | ops[0].value: the document would be nested more than 4 levels deep (limits.depth)`},
		{"what is too deep already may go", `{"a":{"b":{"c":{"d":{"e":1}}}}}`, `[{"op":"remove","path":"/a/b/c/d/e"}]`, tree.Limits{Depth: 4}, `none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := read(t, tt.value)
			list := ops(t, tt.ops)
			_, err := v.Apply(list, tt.limits, nil)
			if got := refusal(err); got != tt.want {
				t.Errorf("refused with\n%s, want\n%s", got, tt.want)
			}
			after := text(t, v)
			if err != nil && after != tt.value {
				t.Errorf("the value has become %s", after)
			}
			_, before := tree.Parse([]byte(tt.value), tree.Limits{Depth: tt.limits.Depth})
			if _, tooDeep := tree.Parse([]byte(after), tree.Limits{Depth: tt.limits.Depth}); err == nil && before == nil && tooDeep != nil {
				t.Errorf("what was allowed cannot be read again: %v", tooDeep)
			}
		})
	}
}

// rights lets writing and reading begin at some places.
type rights struct{ write, read []string }

func (r rights) MayWrite(p tree.Path) bool { return below(r.write, p) }
func (r rights) MayRead(p tree.Path) bool  { return below(r.read, p) }

func below(places []string, p tree.Path) bool {
	for _, place := range places {
		if at, err := tree.ParsePath(place); err == nil && at.Covers(p) {
			return true
		}
	}
	return false
}

func TestAGuardIsAskedAboutEachPlaceBeforeAnythingIsTold(t *testing.T) {
	const value = `{"mine":{"n":1,"o":{"p":1}},"secret":{"x":1},"word":"w"}`
	guard := rights{write: []string{"/mine", "/new/mine", "/word/mine"}, read: []string{"/mine"}}
	tests := []struct {
		ops  string // or of RFC 6902, when it begins with !
		want string
	}{
		{`[{"op":"set","path":"/mine/n","value":2},{"op":"inc","path":"/mine/i","by":1},{"op":"append","path":"/mine/a","value":1},{"op":"remove","path":"/mine/n"},{"op":"merge","path":"/mine","value":{"o":null}}]`, `none`},
		{`[{"op":"set","path":"/mine","value":2}]`, `none`},
		{`[{"op":"merge","path":"","value":{"mine":{"n":null,"q":{"r":{}}}}}]`, `none`},
		{`[{"op":"set","path":"/new/mine/x","value":2}]`, `none`},
		{`[{"op":"merge","path":"","value":{"new":{"mine":{"x":1}}}}]`, `none`},
		{`[{"op":"merge","path":"","value":{"new":{"mine":null}}}]`, `denied | ops[0].path | ops[0].path: no right to change /new`},
		{`[{"op":"merge","path":"","value":{"word":{"mine":1}}}]`, `denied | ops[0].path | ops[0].path: no right to change /word`},
		{`[{"op":"set","path":"/secret/y","value":2}]`, `denied | ops[0].path | ops[0].path: no right to change /secret/y`},
		{`[{"op":"set","path":"","value":2}]`, `denied | ops[0].path | ops[0].path: no right to change the whole document`},
		{`[{"op":"remove","path":"/none"}]`, `denied | ops[0].path | ops[0].path: no right to change /none`},
		{`[{"op":"inc","path":"/secret","by":1}]`, `denied | ops[0].path | ops[0].path: no right to change /secret`},
		{`[{"op":"append","path":"/word/x","value":1}]`, `denied | ops[0].path | ops[0].path: no right to change /word/x`},
		{`[{"op":"merge","path":"/none","value":null}]`, `denied | ops[0].path | ops[0].path: no right to change /none`},
		{`[{"op":"merge","path":"","value":{"mine":{"n":2},"secret":{}}}]`, `denied | ops[0].path | ops[0].path: no right to change /secret`},
		{`[{"op":"merge","path":"/word","value":{"x":{"y":1}}}]`, `denied | ops[0].path | ops[0].path: no right to change /word/x/y`},
		{`[{"op":"test","path":"/mine/n","value":1}]`, `none`},
		{`[{"op":"test","path":"","value":1}]`, `denied | ops[0].path | ops[0].path: no right to read the whole document`},
		{`[{"op":"test","path":"/secret/x","value":1}]`, `denied | ops[0].path | ops[0].path: no right to read /secret/x`},
		{`![{"op":"replace","path":"/secret/none","value":1}]`, `denied | ops[0].path | ops[0].path: no right to change /secret/none`},
		{`![{"op":"add","path":"/none/x","value":1}]`, `denied | ops[0].path | ops[0].path: no right to change /none/x`},
		{`![{"op":"add","path":"/mine/x","value":1},{"op":"replace","path":"/mine/x","value":2},{"op":"move","from":"/mine/x","path":"/mine/y"},{"op":"copy","from":"/mine/y","path":"/mine/z"}]`, `none`},
		{`![{"op":"copy","from":"/secret/x","path":"/mine/x"}]`, `denied | ops[0].from | ops[0].from: no right to read /secret/x`},
		{`![{"op":"copy","from":"/secret/none","path":"/mine/x"}]`, `denied | ops[0].from | ops[0].from: no right to read /secret/none`},
		{`![{"op":"move","from":"/mine/n","path":"/secret/n"}]`, `denied | ops[0].path | ops[0].path: no right to change /secret/n`},
	}
	for _, tt := range tests {
		t.Run(tt.ops, func(t *testing.T) {
			v := read(t, value)
			list, err := tree.ParseOps([]byte(tt.ops), tree.Limits{})
			if standard, ok := strings.CutPrefix(tt.ops, "!"); ok {
				list, err = tree.ParseJSONPatch([]byte(standard), tree.Limits{})
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Apply(list, tree.Limits{}, guard)
			if got := refusal(err); got != tt.want {
				t.Errorf("refused with\n%s, want\n%s", got, tt.want)
			}
			if after := text(t, v); err != nil && after != value {
				t.Errorf("the value has become %s", after)
			}
		})
	}
	readOnly := rights{read: []string{""}}
	v := read(t, value)
	list, err := tree.ParseJSONPatch([]byte(`[{"op":"move","from":"/mine/n","path":"/mine/m"}]`), tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Apply(list, tree.Limits{}, readOnly)
	if got, want := refusal(err), `denied | ops[0].from | ops[0].from: no right to change /mine/n`; got != want {
		t.Errorf("refused with %s, want %s", got, want)
	}
}

func TestNothingOfTheCallersBuffersIsKept(t *testing.T) {
	patch := []byte(`[{"op":"set","path":"/s","value":"set"},{"op":"set","path":"/o","value":{"k":["o",1]}},{"op":"append","path":"/l","value":"el"},{"op":"append","path":"/l","value":[2]},
		{"op":"merge","path":"/m","value":{"a":{"b":"merged"},"n":null}},{"op":"inc","path":"/n","by":12.5},{"op":"set","path":"/s","value":7}]`)
	whole := []byte(`{"old":"old","arr":[1,"two"],"num":123}`)
	v, err := tree.Parse(whole, tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	spoil(whole)
	list, err := tree.ParseOps(patch, tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	spoil(patch)
	c, err := v.Apply(list, tree.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		spoil(list[i].Value)
		spoil(list[i].By)
	}
	got := []string{text(t, v), string(tree.AppendOps(nil, c.Done)), string(tree.AppendOld(nil, c.Old()))}
	want := []string{
		`{"old":"old","arr":[1,"two"],"num":123,"s":7,"o":{"k":["o",1]},"l":["el",[2]],"m":{"a":{"b":"merged"}},"n":12.5}`,
		`[{"op":"set","path":"/s","value":"set"},{"op":"set","path":"/o","value":{"k":["o",1]}},{"op":"append","path":"/l","value":"el"},{"op":"append","path":"/l","value":[2]},` +
			`{"op":"merge","path":"/m","value":{"a":{"b":"merged"},"n":null}},{"op":"inc","path":"/n","by":12.5,"value":12.5},{"op":"set","path":"/s","value":7}]`,
		`[{"op":0,"path":"/s"},{"op":1,"path":"/o"},{"op":2,"path":"/l"},{"op":3,"path":"/l","index":1},{"op":4,"path":"/m"},{"op":5,"path":"/n"},{"op":6,"path":"/s","value":"set"}]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatWasToldStaysAsItWas(t *testing.T) {
	v := read(t, `null`)
	first := apply(t, v, `[{"op":"set","path":"/a","value":[1]},{"op":"set","path":"/o","value":{"n":1}},{"op":"append","path":"/l","value":[1]}]`)
	done, old := string(tree.AppendOps(nil, first.Done)), string(tree.AppendOld(nil, first.Old()))
	second := apply(t, v, `[{"op":"append","path":"/a","value":2},{"op":"inc","path":"/o/n","by":1},{"op":"append","path":"/l","value":2},{"op":"remove","path":"/l"}]`)
	was := string(tree.AppendOld(nil, second.Old()))
	apply(t, v, `[{"op":"append","path":"/a","value":3},{"op":"remove","path":"/o/n"}]`)
	got := []string{string(tree.AppendOps(nil, first.Done)), string(tree.AppendOld(nil, first.Old())), string(tree.AppendOld(nil, second.Old()))}
	if diff := cmp.Diff([]string{done, old, was}, got); diff != "" {
		t.Error(diff)
	}
}

func spoil(buf []byte) {
	for i := range buf {
		buf[i] = 'X'
	}
}
