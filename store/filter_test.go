package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

func TestAFilterThatMeansNothingIsNamed(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	list := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	for _, tt := range []struct{ filter, want string }{
		{`{}`, ""},
		{`{"tag":"vip"}`, ""},
		{`{"tag":"` + text(256) + `"}`, ""},
		{`{"tag":"` + text(257) + `"}`, "where.tag: has 257 bytes; at most 256"},
		{`{"tag":"\u0000"}`, "where.tag: has a NUL character"},
		{`{"tag":"a","field":"/a","eq":1}`, "where: has tag and field; one of them is possible"},
		{`{"all":[{}],"any":[{}]}`, "where: has all and any"},
		{`{"all":[]}`, "where.all: is empty"},
		{`{"any":[{"any":[]}]}`, "where.any[0].any: is empty"},
		{`{"not":{"tag":"a","not":{}}}`, "where.not: has not and tag"},
		{`{"eq":1}`, "where.field: is missing"},
		{`{"field":"/a"}`, "where: says nothing of its field"},
		{`{"field":"a","eq":1}`, "where.field: must be empty or begin with /"},
		{`{"field":"/a~2","eq":1}`, "where.field: ~ must be followed by 0 or 1"},
		{`{"field":"/` + text(1024) + `","eq":1}`, "where.field: has 1025 bytes"},
		{`{"field":"` + strings.Repeat("/a", 33) + `","eq":1}`, "where.field: has 33 names; at most 32"},
		{`{"field":"/","eq":1}`, ""},
		{`{"field":"/a","eq":null}`, ""},
		{`{"field":"/a","eq":[1]}`, "where.eq: must be a text, a number, true, false or null"},
		{`{"field":"/a","eq":{}}`, "where.eq: must be a text"},
		{`{"field":"/a","eq":1e309}`, "where.eq: 1e309 is beyond the range"},
		{`{"field":"/a","eq":1e-400}`, "where.eq: 1e-400 is beyond the range"},
		{`{"field":"/a","eq":0e-400}`, ""},
		{`{"field":"/a","eq":"a\u0000"}`, "where.eq: has a NUL character"},
		{`{"field":"/a","eq":"` + text(64<<10) + `"}`, ""},
		{`{"field":"/a","eq":"` + text(64<<10+1) + `"}`, "where.eq: must be a text, a number, true, false or null of at most 65536 bytes"},
		{`{"field":"/a","gt":true}`, "where.gt: must be a text or a number"},
		{`{"field":"/a","lte":null}`, "where.lte: must be a text or a number"},
		{`{"field":"/a","gt":1,"lt":"x"}`, ""},
		{`{"field":"/a","gt":1,"gte":1}`, "where: has gt and gte; one of them is possible, or a lower and an upper bound"},
		{`{"field":"/a","eq":1,"lt":2}`, "where: has eq and lt"},
		{`{"field":"/a","prefix":"x","exists":true}`, "where: has prefix and exists"},
		{`{"field":"/a","exists":false}`, ""},
		{`{"field":"/a","in":[]}`, "where.in: has 0 values; 1 to 1000"},
		{`{"field":"/a","in":[` + list(1000, "1") + `]}`, ""},
		{`{"field":"/a","in":[` + list(1001, "1") + `]}`, "where.in: has 1001 values"},
		{`{"field":"/a","in":[1,[]]}`, "where.in[1]: must be a text"},
		{`{"any":[` + list(10, `{"field":"/a","in":[`+list(1000, "1")+`]}`) + `]}`, ""},
		{`{"any":[` + list(11, `{"field":"/a","in":[`+list(1000, "1")+`]}`) + `]}`, "where.any[10].in: makes more than the 10000 values"},
		{`{"all":[{},{"field":"/a","gte":false}]}`, "where.all[1].gte: must be a text or a number"},
		{`{"all":[` + list(99, `{}`) + `]}`, ""},
		{`{"all":[` + list(100, `{}`) + `]}`, "where.all[99]: is more than the 100 filters"},
		{strings.Repeat(`{"not":`, 7) + `{}` + strings.Repeat(`}`, 7), ""},
		{strings.Repeat(`{"not":`, 8) + `{}` + strings.Repeat(`}`, 8), "where" + strings.Repeat(".not", 8) + ": is nested more than 8 levels deep"},
	} {
		var f store.Filter
		if err := json.Unmarshal([]byte(tt.filter), &f); err != nil {
			t.Fatal(err)
		}
		err := f.Validate()
		var e *fault.Error
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (!errors.As(err, &e) || !strings.HasPrefix(e.Message, tt.want) || !strings.HasPrefix(e.Message, e.Field+": ")):
			t.Errorf("%.100s: the error is %v, want %q", tt.filter, err, tt.want)
		}
		// Written and read again it is the same filter: a campaign keeps it as its plan.
		raw, err := json.Marshal(f)
		var again store.Filter
		if err != nil || json.Unmarshal(raw, &again) != nil || tt.want == "" && cmp.Diff(f, again) != "" {
			t.Errorf("%.100s becomes %.100s", tt.filter, raw)
		}
	}
	bad := store.Filter{Tag: "\xff"}
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "where.tag: is not valid UTF-8") {
		t.Errorf("of no text the error is %v", err)
	}
	for _, raw := range []string{"", "nonsense", "1 2", `"x`} {
		f := store.Filter{Field: "/a", Eq: json.RawMessage(raw)}
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), "where") {
			t.Errorf("%q is taken: %v", raw, err)
		}
	}
}

func TestNumbersFitAFloat(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "-0": true, "0.000e99999": true, "1": true, "1.7976931348623157e308": true, "1.8e308": false, "-1e999999999": false,
		"5e-324": true, "4e-324": true, "2e-324": false, "-1e-400": false, "1E-400": false, "12345678901234567890123": true,
	} {
		if got := store.NumberFits(text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func ExampleFilter() {
	var f store.Filter
	_ = json.Unmarshal([]byte(`{"all":[{"field":"/city","in":["Beijing","Shanghai"]},{"field":"/level","gte":true}]}`), &f)
	fmt.Println(f.Validate())
	// Output: bad_request: where.all[1].gte: must be a text or a number
}
