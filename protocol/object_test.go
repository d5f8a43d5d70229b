package protocol_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

func read(t *testing.T, text string) *protocol.Object {
	t.Helper()
	o := new(protocol.Object)
	if err := o.Read([]byte(text), 8); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func TestObjectFindsItsMembers(t *testing.T) {
	o := read(t, ` { "a" : 1 , "b" : [ 1, {"a":2} ] , "c":null, "\u0064":"x", "":true } `)
	want := map[string]string{"a": "1", "b": `[ 1, {"a":2} ]`, "c": "null", "d": `"x"`, "": "true"}
	got := map[string]string{}
	var order []string
	o.Each(func(name string, raw []byte) bool {
		got[name] = string(raw)
		order = append(order, name)
		return true
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", ""}, order); diff != "" {
		t.Error(diff)
	}
	if string(o.Raw("d")) != `"x"` || o.Raw("c") != nil || o.Raw("e") != nil {
		t.Errorf("raw: d %q, c %q, e %q", o.Raw("d"), o.Raw("c"), o.Raw("e"))
	}
	if !o.Has("c") || o.Has("e") {
		t.Error("Has must find null and nothing that is absent")
	}
	calls := 0
	o.Each(func(string, []byte) bool { calls++; return false })
	if calls != 1 {
		t.Errorf("Each went on after false: %d calls", calls)
	}
}

func TestObjectRefuses(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":1`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	var o protocol.Object
	if err := o.Read([]byte(many(256)), 1); err != nil {
		t.Errorf("256 members: %v", err)
	}
	tests := []struct{ name, text, want string }{
		{"a member twice", `{"a":1,"a":2}`, `member "a" stands twice`},
		{"a member twice, once escaped", `{"a":1,"\u0061":2}`, `member "a" stands twice`},
		{"a member twice, null first", `{"a":null,"a":2}`, `member "a" stands twice`},
		{"too many members", many(257), "too many members"},
		{"an array", `[]`, "not a JSON object"},
		{"a number", ` 5`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"nothing", ``, "a value is missing"},
		{"no JSON", `hello`, "a value is missing"},
		{"two objects", `{} {}`, "something follows the object"},
		{"an unfinished object", `{"a":1`, "the text ends inside an object"},
		{"too deep", `{"a":[[[[[[[[[[]]]]]]]]]]}`, "JSON is nested too deeply"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := o.Read([]byte(tt.text), 8); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestAnObjectCanBeReadIntoAgain(t *testing.T) {
	o := protocol.GetObject()
	for i := range 3 {
		text := fmt.Sprintf(`{"n":%d,"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9}`, i)
		if err := o.Read([]byte(text), 4); err != nil {
			t.Fatal(err)
		}
		if n, err := o.Int("n", -1, 0, 10); err != nil || n != int64(i) {
			t.Errorf("round %d: n is %d, %v", i, n, err)
		}
	}
	if err := o.Read([]byte(`{}`), 4); err != nil || o.Has("n") {
		t.Errorf("members of the last text are still there: %v", err)
	}
	protocol.PutObject(o)
	if again := protocol.GetObject(); again.Has("n") {
		t.Error("an object from the pool is not empty")
	}
}

func TestIntegersMayBeWrittenInAnyForm(t *testing.T) {
	tests := []struct {
		raw  string
		want int64
		ok   bool
	}{
		{`0`, 0, true}, {`-0`, 0, true}, {`5`, 5, true}, {`5.0`, 5, true}, {`5e0`, 5, true}, {`1e3`, 1000, true}, {`1E+3`, 1000, true},
		{`1500e-2`, 15, true}, {`-7.000`, -7, true}, {`0e99`, 0, true},
		{`9007199254740991`, 1<<53 - 1, true}, {`-9007199254740991`, -(1<<53 - 1), true}, {`9007199254740991.0`, 1<<53 - 1, true},
		{`9007199254740992`, 0, false}, {`9007199254740992.0`, 0, false}, {`9007199254740993`, 0, false}, {`1e300`, 0, false}, {`1e999`, 0, false},
		{`9223372036854775808`, 0, false}, {`99999999999999999999999999`, 0, false},
		{`5.5`, 0, false}, {`1e-1`, 0, false}, {`"5"`, 0, false}, {`true`, 0, false}, {`[]`, 0, false}, {`{}`, 0, false},
	}
	for _, tt := range tests {
		o := read(t, `{"n":`+tt.raw+`}`)
		got, err := o.Int("n", -1, -protocol.MaxInt, protocol.MaxInt)
		if tt.ok && (err != nil || got != tt.want) || !tt.ok && err == nil {
			t.Errorf("%s: got %d, %v", tt.raw, got, err)
		}
	}
}

func TestTypedMembers(t *testing.T) {
	o := read(t, `{"s":"hi","empty":"","long":"0123456789","esc":"\u0041\n","bad":"`+"\xff"+`","n":7,"t":true,"f":false,"z":null,"a":[],"o":{},"x":1.5}`)
	str := func(name string) (any, error) { return o.String(name, 5) }
	required := func(name string) (any, error) { return o.Required(name, 5) }
	boolean := func(name string) (any, error) { return o.Bool(name, true) }
	number := func(name string) (any, error) { return o.Int(name, 42, 1, 6) }
	tests := []struct {
		kind string
		get  func(string) (any, error)
		name string
		want any
		err  string
	}{
		{"string", str, "s", "hi", ""},
		{"string", str, "esc", "A\n", ""},
		{"string", str, "absent", "", ""},
		{"string", str, "z", "", ""},
		{"string", str, "long", "", "long: has 10 bytes; at most 5 are allowed"},
		{"string", str, "n", "", "n: must be a string, not a number"},
		{"string", str, "x", "", "x: must be a string, not the number 1.5"},
		{"string", str, "t", "", "t: must be a string, not a boolean"},
		{"string", str, "bad", "", "bad: is not valid UTF-8"},
		{"required", required, "s", "hi", ""},
		{"required", required, "absent", "", "absent: is missing"},
		{"required", required, "z", "", "z: is missing"},
		{"required", required, "empty", "", "empty: is empty"},
		{"required", required, "a", "", "a: must be a string, not an array"},
		{"bool", boolean, "t", true, ""},
		{"bool", boolean, "f", false, ""},
		{"bool", boolean, "absent", true, ""},
		{"bool", boolean, "z", true, ""},
		{"bool", boolean, "o", false, "o: must be true or false, not an object"},
		{"bool", boolean, "s", false, "s: must be true or false, not a string"},
		{"int", number, "absent", int64(42), ""},
		{"int", number, "z", int64(42), ""},
		{"int", number, "n", int64(0), "n: 7 is not between 1 and 6"},
		{"int", number, "s", int64(0), "s: must be an integer, not a string"},
		{"int", number, "x", int64(0), "x: must be an integer, not the number 1.5"},
	}
	for _, tt := range tests {
		got, err := tt.get(tt.name)
		switch {
		case tt.err == "" && (err != nil || got != tt.want):
			t.Errorf("%s %s: got %v, %v, want %v", tt.kind, tt.name, got, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s %s: got error %v, want %q", tt.kind, tt.name, err, tt.err)
		case tt.err != "":
			var f *fault.Error
			if !errors.As(err, &f) || f.Code != fault.BadRequest || f.Field != tt.name {
				t.Errorf("%s %s: got %#v, want a bad_request that names the field", tt.kind, tt.name, err)
			}
		}
	}
}

func TestKindOf(t *testing.T) {
	tests := map[string]string{
		``: "nothing", `"x"`: "a string", `{}`: "an object", `[]`: "an array", `true`: "a boolean", `false`: "a boolean",
		`null`: "null", `12`: "a number", `1.5`: "the number 1.5", `1e99`: "the number 1e99",
	}
	for raw, want := range tests {
		if got := protocol.KindOf([]byte(raw)); got != want {
			t.Errorf("%q is %q, want %q", raw, got, want)
		}
	}
}
