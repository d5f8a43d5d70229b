package audience_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

func TestATargetIsReadAndWritten(t *testing.T) {
	yes := true
	tests := []struct {
		in   string
		want audience.Target
		out  string // "" as in
	}{
		{`{"users":["1","2"]}`, audience.Target{Users: []string{"1", "2"}}, ""},
		{`{"users":["b","a","b","a"]}`, audience.Target{Users: []string{"b", "a"}}, `{"users":["b","a"]}`},
		{`{"users":[]}`, audience.Target{Users: []string{}}, ""},
		{` { "users" : [ "\u00fc\"" ] } `, audience.Target{Users: []string{`ü"`}}, `{"users":["ü\""]}`},
		{`{"members":"room:7"}`, audience.Target{Members: "room:7"}, ""},
		{`{"all":"users"}`, audience.Target{All: true}, ""},
		{`{"list":true}`, audience.Target{List: true}, ""},
		{`{"where":{}}`, audience.Target{Where: &store.Filter{}}, ""},
		{`{"where":{"tag":"<vip>"}}`, audience.Target{Where: &store.Filter{Tag: "<vip>"}}, ""},
		{`{"where":{"field":"/a~1b","eq":null}}`, audience.Target{Where: &store.Filter{Field: "/a~1b", Eq: json.RawMessage(`null`)}}, ""},
		{
			`{"where":{"all":[{"field":"/city","in":["Beijing",1,true,null]},{"field":"/level","gt":9,"lte":"z"},{"field":"/l","gte":10,"lt":1e3},{"field":"/l","prefix":"x"},{"field":"/l","exists":true},{"not":{"any":[{"tag":"vip"},{}]}}]}}`,
			audience.Target{Where: &store.Filter{All: []store.Filter{
				{Field: "/city", In: []json.RawMessage{json.RawMessage(`"Beijing"`), json.RawMessage(`1`), json.RawMessage(`true`), json.RawMessage(`null`)}},
				{Field: "/level", Gt: json.RawMessage(`9`), Lte: json.RawMessage(`"z"`)},
				{Field: "/l", Gte: json.RawMessage(`10`), Lt: json.RawMessage(`1e3`)},
				{Field: "/l", Prefix: "x"},
				{Field: "/l", Exists: &yes},
				{Not: &store.Filter{Any: []store.Filter{{Tag: "vip"}, {}}}},
			}}},
			"",
		},
	}
	for _, tt := range tests {
		got, err := audience.ReadTarget("to", []byte(strings.TrimSpace(tt.in)), audience.Options{List: true})
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.in, diff)
		}
		if tt.out == "" {
			tt.out = tt.in
		}
		if out := string(got.AppendJSON(nil)); out != tt.out {
			t.Errorf("%s is written %s", tt.in, out)
		}
		var again audience.Target
		if err := json.Unmarshal(got.AppendJSON(nil), &again); err != nil || cmp.Diff(got, again) != "" {
			t.Errorf("%s is read again as %+v, %v", tt.in, again, err)
		}
	}
	if b, err := json.Marshal(audience.Target{}); err != nil || string(b) != "null" {
		t.Errorf("nobody is written %s, %v", b, err)
	}
}

func TestWhatIsReadHoldsOnToNothing(t *testing.T) {
	raw := []byte(`{"where":{"field":"/city","eq":"Rome"}}`)
	got, err := audience.ReadTarget("to", raw, audience.Options{})
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if string(got.Where.Eq) != `"Rome"` {
		t.Errorf("it became %q with the text that it was read from", got.Where.Eq)
	}
}

func TestAWrongTargetIsNamed(t *testing.T) {
	many := `"0"`
	for i := range audience.MaxUsers {
		many += fmt.Sprintf(`,"%d"`, i)
	}
	tests := []struct{ in, want string }{
		{``, "to: is missing"},
		{`"users"`, `to: must be an object such as {"users": ["42"]}, not a string`},
		{`[]`, `to: must be an object such as {"users": ["42"]}, not an array`},
		{`{}`, "to: names 0 kinds of target; exactly one of users, where, members or all is needed"},
		{`{"users":["1"],"all":"users"}`, "to: names 2 kinds of target; exactly one of users, where, members or all is needed"},
		{`{"users":["1"],"users":["2"]}`, `to: not valid JSON at byte 23: member "users" stands twice`},
		{`{"user":"1"}`, "to.user: is not a kind of target; use users, where, members or all"},
		{`{"list":true}`, "to.list: is not a kind of target; use users, where, members or all"},
		{`{"users":"1"}`, "to.users: must be a list of users, not a string"},
		{`{"users":null}`, "to.users: must be a list of users, not null"},
		{`{"users":["1",2]}`, "to.users[1]: must be a text, not a number"},
		{`{"users":["1",""]}`, "to.users[1]: is missing"},
		{`{"users":["a\u0000"]}`, "to.users[0]: no control characters are allowed"},
		{`{"users":["` + strings.Repeat("x", 257) + `"]}`, "to.users[0]: has 257 bytes; at most 256 are allowed"},
		{`{"users":[` + many + `]}`, "to.users: names more than 10000 users"},
		{`{"members":7}`, "to.members: must be a text, the name of a channel, not a number"},
		{`{"members":"room"}`, `to.members: "room" is not a channel name; write namespace:name`},
		{`{"members":"hall:7"}`, "to.members: there is no hall"},
		{`{"all":true}`, `to.all: must be "users"`},
		{`{"all":"connections"}`, `to.all: must be "users"`},
		{`{"where":null}`, `to.where: must be an object such as {"tag": "vip"}, not null`},
	}
	opt := audience.Options{Channel: func(field, channel string) error {
		if channel == "hall:7" {
			return fault.Field(field, "there is no hall")
		}
		return nil
	}}
	for _, tt := range tests {
		var raw []byte
		if tt.in != "" {
			raw = []byte(tt.in)
		}
		got, err := audience.ReadTarget("to", raw, opt)
		refused(t, tt.in, err, tt.want)
		if cmp.Diff(audience.Target{}, got) != "" {
			t.Errorf("%.60s: it gave %+v all the same", tt.in, got)
		}
	}
	_, err := audience.ReadTarget("to", []byte(`{"list":1}`), audience.Options{List: true})
	refused(t, "list", err, "to.list: must be true")
}

// refused checks that an error is a bad request with a message, about the field that the
// message names.
func refused(t *testing.T, in string, err error, want string) {
	t.Helper()
	e := fault.Of(err)
	field, _, _ := strings.Cut(want, ": ")
	if e == nil || e.Code != fault.BadRequest || e.Message != want || e.Field != field {
		t.Errorf("%.60s: got %v about %q\nwant %s", in, err, fieldOf(e), want)
	}
}

func fieldOf(e *fault.Error) string {
	if e == nil {
		return ""
	}
	return e.Field
}

func TestAWrongFilterIsNamed(t *testing.T) {
	const kinds, beside = "all, any, not, tag and field", "eq, in, gt, gte, lt, lte, prefix and exists"
	nested := func(n int) string {
		return strings.Repeat(`{"not":`, n-1) + `{"tag":"vip"}` + strings.Repeat(`}`, n-1)
	}
	list := func(n int, element string) string {
		return `[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]`
	}
	tests := []struct{ in, want string }{
		{`[]`, `where: must be an object such as {"tag": "vip"}, not an array`},
		{`{"city":"Rome"}`, "where.city: is not a member of a filter; use " + kinds + ", and with field " + beside},
		{`{"all":[{"tag":"a"}],"tag":"b"}`, "where: has both all and tag; one of " + kinds + " is needed"},
		{`{"all":[]}`, "where.all: is empty"},
		{`{"any":{}}`, "where.any: must be a list of filters, not an object"},
		{`{"any":[{"tag":"a"},[]]}`, `where.any[1]: must be an object such as {"tag": "vip"}, not an array`},
		{`{"not":[]}`, `where.not: must be an object such as {"tag": "vip"}, not an array`},
		{`{"not":{"tag":7}}`, "where.not.tag: must be a text, not a number"},
		{`{"tag":""}`, "where.tag: is empty"},
		{`{"tag":"\u0000"}`, "where.tag: has a NUL character, which no attribute can have"},
		{`{"tag":"` + strings.Repeat("x", 257) + `"}`, "where.tag: has 257 bytes; at most 256 are possible"},
		{"{\"tag\":\"\xff\"}", "where.tag: is not valid UTF-8"},
		{`{"eq":1}`, "where.eq: goes with field"},
		{`{"tag":"a","eq":1}`, "where.eq: goes with field"},
		{`{"field":"/city"}`, "where: says nothing of its field; eq, in, gt, gte, lt, lte, prefix or exists is needed"},
		{`{"field":"city","eq":1}`, "where.field: must be empty or begin with /, as RFC 6901 says"},
		{`{"field":"/a~2","eq":1}`, "where.field: ~ must be followed by 0 or 1, as RFC 6901 says"},
		{`{"field":"","eq":1}`, "where.field: is empty"},
		{`{"field":"` + strings.Repeat("/a", 33) + `","eq":1}`, "where.field: has 33 names; at most 32 are possible"},
		{`{"field":"/a","eq":{}}`, "where.eq: must be a text, a number, true, false or null, not an object"},
		{`{"field":"/a","eq":1e999}`, "where.eq: 1e999 is beyond the range of a 64-bit floating point number"},
		{`{"field":"/a","in":"b"}`, "where.in: must be a list of values, not a string"},
		{`{"field":"/a","in":[]}`, "where.in: has 0 values; 1 to 1000 are possible"},
		{`{"field":"/a","in":[1,[2]]}`, "where.in[1]: must be a text, a number, true, false or null, not an array"},
		{`{"field":"/a","in":` + list(1001, "1") + `}`, "where.in: has 1001 values; 1 to 1000 are possible"},
		{`{"all":[{"tag":"a"},{"field":"/a","gte":[1]}]}`, "where.all[1].gte: must be a number or a text, not an array"},
		{`{"field":"/a","gt":null}`, "where.gt: must be a number or a text, not null"},
		{`{"field":"/a","lt":true}`, "where.lt: must be a number or a text, not a boolean"},
		{`{"field":"/a","lte":{}}`, "where.lte: must be a number or a text, not an object"},
		{`{"field":"/a","prefix":1}`, "where.prefix: must be a text, not a number"},
		{`{"field":"/a","prefix":""}`, "where.prefix: is empty"},
		{`{"field":"/a","eq":1,"gt":2}`, "where: has eq and gt; one of them is possible, or a lower and an upper bound"},
		{`{"field":"/a","exists":"yes"}`, "where.exists: must be true or false, not a string"},
		{`{"all":` + list(100, `{"tag":"a"}`) + `}`, "where.all[99]: is more than the 100 filters that are possible"},
		{nested(9), "where" + strings.Repeat(".not", 8) + ": is nested more than 8 levels deep"},
		{nested(50), "where: is nested more than 8 levels deep"},
	}
	everyLevel := strings.Repeat(`{"all":[`, 7) + `{"field":"/a","in":[1]}` + strings.Repeat(`]}`, 7)
	for _, tt := range tests {
		_, err := audience.ReadFilter("where", []byte(tt.in))
		refused(t, tt.in, err, tt.want)
	}
	for _, in := range []string{nested(8), everyLevel, `{"all":` + list(99, `{"tag":"a"}`) + `}`, `{"field":"/a","in":` + list(1000, "1") + `}`} {
		if _, err := audience.ReadFilter("where", []byte(in)); err != nil {
			t.Errorf("%.60s is as large as it may be: %v", in, err)
		}
	}
}

func FuzzReadTarget(f *testing.F) {
	f.Add([]byte(`{"where":{"all":[{"field":"/a","in":[1,"x",null]},{"not":{"tag":"t"}}]}}`))
	f.Add([]byte(`{"users":["1","\u0000"]}`))
	f.Add([]byte(`{"members":"room:7"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || strings.TrimSpace(string(raw)) != string(raw) {
			return
		}
		first, err := audience.ReadTarget("to", raw, audience.Options{List: true})
		if err != nil {
			return
		}
		out := first.AppendJSON(nil)
		second, err := audience.ReadTarget("to", out, audience.Options{List: true})
		if err != nil {
			t.Fatalf("%s was written as %s: %v", raw, out, err)
		}
		if again := second.AppendJSON(nil); string(again) != string(out) {
			t.Fatalf("%s was written as %s and then as %s", raw, out, again)
		}
	})
}

func BenchmarkReadTarget(b *testing.B) {
	raw := []byte(`{"users":["42"]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := audience.ReadTarget("to", raw, audience.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
