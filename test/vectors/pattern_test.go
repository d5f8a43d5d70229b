package vectors

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

func TestPatternsTellValuesApart(t *testing.T) {
	now := time.Now().UnixMilli()
	known := memory{"connection:a": "Q1", "value:v": "kept"}
	for _, tc := range []struct {
		pattern, got string
		want         string // part of the complaint; "" when it matches
	}{
		{`{"a":1}`, `{"a":1,"b":2}`, ""},
		{`{"a":1}`, `{"a":1.0}`, ""},
		{`{"a":1}`, `{"b":1}`, ".a is absent"},
		{`{"a":1}`, `{"a":2}`, ".a is 2, want 1"},
		{`{"a":1}`, `{"a":"1"}`, `.a is "1", want 1`},
		{`{"a":1}`, `[1]`, "want an object"},
		{`{"a":{"b":[1,{"c":true}]}}`, `{"a":{"b":[1,{"c":true,"d":0}]}}`, ""},
		{`{"a":{"b":[1,{"c":true}]}}`, `{"a":{"b":[1,{"c":false}]}}`, ".a.b[1].c is false"},
		{`[1,2]`, `[1]`, "want a list of 2"},
		{`null`, `null`, ""},
		{`null`, `false`, "want null"},
		{`false`, `null`, "want false"},
		{`{"a":"$absent"}`, `{}`, ""},
		{`{"a":"$absent"}`, `{"a":null}`, "want no such member"},
		{`{"$only":{"a":1,"b":"$absent"}}`, `{"a":1}`, ""},
		{`{"$only":{"a":1}}`, `{"a":1,"b":2}`, ".b is 2, want no such member"},
		{`"$any"`, `null`, ""},
		{`"$string"`, `"x"`, ""},
		{`"$string"`, `""`, "want $string"},
		{`"$string"`, `1`, "want $string"},
		{`"$int"`, `5`, ""},
		{`"$int"`, `5.5`, "want $int"},
		{`"$bool"`, `true`, ""},
		{`"$bool"`, `0`, "want $bool"},
		{`"$object"`, `{}`, ""},
		{`"$object"`, `[]`, "want $object"},
		{`"$time"`, fmt.Sprint(now), ""},
		{`"$time"`, fmt.Sprint(now / 1000), "want $time"},
		{`"$future"`, fmt.Sprint(now + 60_000), ""},
		{`"$future"`, fmt.Sprint(now - 1), "want $future"},
		{`"$contains:lo wo"`, `"hello world"`, ""},
		{`"$contains:lo wo"`, `"hello"`, "want $contains"},
		{`"$connection:a"`, `"Q1"`, ""},
		{`"$connection:a"`, `"Q2"`, `want "Q1"`},
		{`"$connection:b"`, `"Q1"`, "nothing is known as connection:b"},
		{`"$value:v"`, `"kept"`, ""},
		{`["$save:x","$value:x"]`, `[{"n":1},{"n":1}]`, ""},
		{`["$save:x","$value:x"]`, `[1,2]`, "[1] is 2, want 1"},
		{`"$save:x"`, `null`, "want $save:x"},
		{`{"$connection:a":true}`, `{"Q1":true}`, ""},
		{`{"$unordered":[{"a":1},{"a":2}]}`, `[{"a":2},{"a":1}]`, ""},
		{`{"$unordered":[{"a":1},{"a":1}]}`, `[{"a":1},{"a":2}]`, "want an element like"},
		{`{"$unordered":[1]}`, `[1,1]`, "want a list of 1"},
		{`"$tmie"`, `1`, "is not a pattern"},
	} {
		t.Run(tc.pattern+" and "+tc.got, func(t *testing.T) {
			m := maps.Clone(known)
			why := m.match("frame", decode(t, tc.pattern), decode(t, tc.got))
			if (why == "") != (tc.want == "") || !strings.Contains(why, tc.want) {
				t.Errorf("match says %q, want %q", why, tc.want)
			}
		})
	}
}

func decode(t *testing.T, src string) any {
	t.Helper()
	v, err := parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
