package users_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// object is a JSON object.
func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestAUserIsPutAndGot(t *testing.T) {
	w := start(t)
	got := w.must("users.put", `{"id":"42","attributes":{ "city" : "Rome", "tz":"Europe/Rome","tags":["vip"], "level": 12345678901234567890 }}`)
	if diff := cmp.Diff(object(t, `{"created":1,"changed":0}`), got); diff != "" {
		t.Error(diff)
	}
	w.time += 1000
	got = w.must("users.put", `{"id":"42","attributes":{"city":"Bonn","tz":"Europe/Berlin"}}`)
	if diff := cmp.Diff(object(t, `{"created":0,"changed":1}`), got); diff != "" {
		t.Error(diff)
	}
	c := w.User("42", "ipad")
	w.User("42", "phone")
	got = w.must("users.get", `{"id":"42"}`)
	want := `{"id":"42","attributes":{"city":"Bonn","tz":"Europe/Berlin"},"created":1700000000000,"changed":1700000001000,"muted":[],"connections":2}`
	if diff := cmp.Diff(object(t, want), got); diff != "" {
		t.Error(diff)
	}
	c.Nothing()
}

func TestAttributesAreMerged(t *testing.T) {
	w := start(t)
	w.must("users.put", `{"id":"42","merge":true,"attributes":{"city":"Rome","tz":"Europe/Rome","tags":["vip"],"deep":{"a":1,"b":2}}}`)
	w.must("users.put", `{"id":"42","merge":true,"attributes":{"city":null,"tz":null,"tags":null,"deep":{"b":null,"c":3}}}`)
	got := w.must("users.get", `{"id":"42"}`)["attributes"]
	if diff := cmp.Diff(any(object(t, `{"deep":{"a":1,"c":3}}`)), got); diff != "" {
		t.Error(diff)
	}
	w.must("users.put", `{"id":"43","attributes":{"text":"`+strings.Repeat("x", 60_000)+`"}}`)
	w.refused("users.put", `{"id":"43","merge":true,"attributes":{"more":"`+strings.Repeat("x", 6_000)+`"}}`,
		"too_large: attributes: those of a user would have more than 65536 bytes: "+failureOf(t, w))
}

// failureOf gives what the store says of attributes that are too large.
func failureOf(t *testing.T, w *world) string {
	t.Helper()
	_, failure := w.Run("users.put", `{"id":"43","merge":true,"attributes":{"more":"`+strings.Repeat("x", 6_000)+`"}}`)
	_, cause, _ := strings.Cut(failure, "65536 bytes: ")
	if !strings.Contains(cause, "too large") {
		t.Errorf("the cause is %q", cause)
	}
	return cause
}

func TestAListOfUsersIsPutAtOnce(t *testing.T) {
	w := start(t)
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`{"id":"%04d","attributes":{"n":%d,"tags":["t%d"]}}`, i, i, i%10))
	}
	got := w.must("users.put", `{"users":[`+strings.Join(list, ",")+`]}`)
	if got["created"] != 1000.0 {
		t.Errorf("got %v", got)
	}
	got = w.must("users.put", `{"users":[]}`)
	if got["created"] != 0.0 || got["changed"] != 0.0 {
		t.Errorf("nobody: got %v", got)
	}
	w.refused("users.put", `{"users":[`+strings.Join(append(list, list[0]), ",")+`]}`, "bad_request: users: has more than 1000 users")

	// Pages have everybody once, in order.
	var ids []string
	for after := ""; ; {
		page := w.must("users.query", fmt.Sprintf(`{"where":{"tag":"t3"},"limit":30,"after":%q,"count":true}`, after))
		for _, item := range page["items"].([]any) {
			ids = append(ids, item.(map[string]any)["id"].(string))
		}
		if page["count"] != 100.0 {
			t.Errorf("it counts %v", page["count"])
		}
		if page["next"] == nil {
			break
		}
		after = page["next"].(string)
	}
	var want []string
	for i := 3; i < 1000; i += 10 {
		want = append(want, fmt.Sprintf("%04d", i))
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Error(diff)
	}
	if page := w.must("users.query", `{"where":null}`); len(page["items"].([]any)) != 50 || page["count"] != nil || page["next"] != "0049" {
		t.Errorf("by default: %d users, %v, next %v", len(page["items"].([]any)), page["count"], page["next"])
	}
	if page := w.must("users.query", `{"where":{"all":[{"field":"/n","gte":10},{"not":{"field":"/n","gt":12}}]}}`); len(page["items"].([]any)) != 3 {
		t.Errorf("got %v", page)
	}
}

func TestUsersAreForgotten(t *testing.T) {
	w := start(t)
	w.must("users.put", `{"users":[{"id":"1","attributes":{}},{"id":"2","attributes":{}},{"id":"3","attributes":{}}]}`)
	if got := w.must("users.delete", `{"id":"1"}`); got["count"] != 1.0 {
		t.Errorf("got %v", got)
	}
	many := []string{`"2"`, `"3"`}
	for i := range 250 {
		many = append(many, fmt.Sprintf(`"nobody %d"`, i))
	}
	if got := w.must("users.delete", `{"users":[`+strings.Join(many, ",")+`]}`); got["count"] != 2.0 {
		t.Errorf("got %v", got)
	}
	w.refused("users.get", `{"id":"3"}`, "not_found: id: nothing is known of this user")
	if got := w.must("users.query", `{"count":true}`); got["count"] != 0.0 {
		t.Errorf("got %v", got)
	}
}

func TestWrongParamsAreNamed(t *testing.T) {
	w := start(t)
	nested := strings.Repeat(`{"a":`, 16) + `1` + strings.Repeat(`}`, 16)
	tags := `["` + strings.Repeat(`t","`, 100) + `t"]`
	tests := []struct{ verb, params, want string }{
		{"put", `{}`, "id: is missing; name a user, or give users"},
		{"put", `{"id":"1"}`, "attributes: is missing"},
		{"put", `{"id":"","attributes":{}}`, "id: is missing"},
		{"put", `{"id":7,"attributes":{}}`, "id: must be a string, not a number"},
		{"put", `{"id":"a\u0007","attributes":{}}`, "id: no control characters are allowed"},
		{"put", `{"id":"` + strings.Repeat("x", 257) + `","attributes":{}}`, "id: has 257 bytes; at most 256 are allowed"},
		{"put", `{"id":"1","attributes":null}`, "attributes: is missing"},
		{"put", `{"id":"1","attributes":[]}`, "attributes: must be an object, not an array"},
		{"put", `{"id":"1","attributes":{"a":1,"a":2}}`, `attributes: an object has the member "a" twice`},
		{"put", `{"id":"1","attributes":{"b":[{"a":1,"a":2}]}}`, `attributes: an object has the member "a" twice`},
		{"put", `{"id":"1","attributes":{"deep":` + nested + `}}`, "attributes: is nested more than 16 levels deep"},
		{"put", `{"id":"1","attributes":{"text":"\u0000"}}`, "attributes: no NUL characters are allowed"},
		{"put", `{"id":"1","attributes":{"\u0000":1}}`, "attributes: no NUL characters are allowed"},
		{"put", `{"id":"1","attributes":{"list":[1,{"n":-1e999}]}}`, "attributes: -1e999 is beyond the range of a 64-bit floating point number"},
		{"put", `{"id":"1","attributes":{"tz":7}}`, `attributes.tz: must be a text such as "Europe/Berlin", not a number`},
		{"put", `{"id":"1","attributes":{"tz":null}}`, `attributes.tz: must be a text such as "Europe/Berlin", not null`},
		{"put", `{"id":"1","attributes":{"tz":"Berlin"}}`, `attributes.tz: "Berlin" is not a time zone such as Europe/Berlin`},
		{"put", `{"id":"1","attributes":{"tz":""}}`, `attributes.tz: "" is not a time zone such as Europe/Berlin`},
		{"put", `{"id":"1","attributes":{"tz":"Local"}}`, `attributes.tz: "Local" is not a time zone such as Europe/Berlin`},
		{"put", `{"id":"1","merge":true,"attributes":{"tz":"Berlin"}}`, `attributes.tz: "Berlin" is not a time zone such as Europe/Berlin`},
		{"put", `{"id":"1","attributes":{"tags":"vip"}}`, "attributes.tags: must be a list of texts, not a string"},
		{"put", `{"id":"1","attributes":{"tags":null}}`, "attributes.tags: must be a list of texts, not null"},
		{"put", `{"id":"1","attributes":{"tags":["a",1]}}`, "attributes.tags[1]: must be a text, not a number"},
		{"put", `{"id":"1","attributes":{"tags":[""]}}`, "attributes.tags[0]: is empty"},
		{"put", `{"id":"1","attributes":{"tags":["` + strings.Repeat("x", 65) + `"]}}`, "attributes.tags[0]: has 65 bytes; at most 64 are allowed"},
		{"put", `{"id":"1","attributes":{"tags":` + tags + `}}`, "attributes.tags: has more than 100 tags"},
		{"put", `{"id":"1","attributes":{},"more":1}`, "more: is not a field of this verb"},
		{"put", `{"id":"1","attributes":{},"merge":"yes"}`, "merge: must be true or false, not a string"},
		{"put", `{"id":"1","users":[]}`, "id: cannot be given together with users"},
		{"put", `{"attributes":{},"users":[]}`, "attributes: cannot be given together with users"},
		{"put", `{"users":{}}`, "users: must be a list of users, not an object"},
		{"put", `{"users":[{"id":"1","attributes":{}},"2"]}`, "users[1]: must be an object with id and attributes, not a string"},
		{"put", `{"users":[{"id":"1","attributes":{}},{"id":"2"}]}`, "users[1].attributes: is missing"},
		{"put", `{"users":[{"attributes":{}}]}`, "users[0].id: is missing"},
		{"put", `{"users":[{"id":"1","attributes":{},"tz":"UTC"}]}`, "users[0].tz: is not a member of a user"},
		{"put", `{"users":[{"id":"1","attributes":{}},{"id":"1","attributes":{}},{"id":"1","attributes":{}},{"id":"2","attributes":{"tz":"Berlin"}}]}`, `users[3].attributes.tz: "Berlin" is not a time zone such as Europe/Berlin`},
		{"get", `{}`, "id: is missing"},
		{"get", `{"user":"1"}`, "user: is not a field of this verb"},
		{"query", `{"limit":0}`, "limit: 0 is not between 1 and 500"},
		{"query", `{"limit":501}`, "limit: 501 is not between 1 and 500"},
		{"query", `{"where":[]}`, `where: must be an object such as {"tag": "vip"}, not an array`},
		{"query", `{"where":{"all":[{"tag":"a"},{"field":"/x","gte":[1]}]}}`, "where.all[1].gte: must be a number or a text, not an array"},
		{"query", `{"where":{"field":"x","eq":1}}`, "where.field: must be empty or begin with /, as RFC 6901 says"},
		{"delete", `{}`, "id: name either a user by id, or users"},
		{"delete", `{"id":"1","users":["2"]}`, "id: name either a user by id, or users"},
		{"delete", `{"users":["1",""]}`, "users[1]: is missing"},
		{"delete", `{"users":[` + strings.TrimSuffix(strings.Repeat(`"1",`, 10_001), ",") + `]}`, "users: names 10001 users; at most 10000 are allowed"},
	}
	for _, tt := range tests {
		w.refused("users."+tt.verb, tt.params, "bad_request: "+tt.want)
	}
	w.refused("users.put", `{"id":"1","attributes":{"text":"`+strings.Repeat("x", 64<<10)+`"}}`, "too_large: attributes: has 65547 bytes; at most 65536 are allowed")
	if got := w.must("users.query", `{"count":true}`); got["count"] != 0.0 {
		t.Errorf("%v users were put all the same", got["count"])
	}
	// What only looks wrong is none of it.
	w.must("users.put", `{"id":"1","attributes":{"text":"\\u0000","list":[1e-9,0.5,-12]}}`)
}

func TestUsersNeedAStore(t *testing.T) {
	w := idle(t)
	for verb, params := range map[string]string{
		"users.put": `{"id":"1","attributes":{}}`, "users.get": `{"id":"1"}`, "users.query": `{}`, "users.delete": `{"id":"1"}`,
	} {
		w.refused(verb, params, "unavailable: users need a store: set data or database")
	}
}

func TestAStoreThatIsClosedIsUnavailable(t *testing.T) {
	w := start(t)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	for verb, params := range map[string]string{
		"users.put": `{"id":"1","attributes":{}}`, "users.get": `{"id":"1"}`, "users.query": `{}`, "users.delete": `{"id":"1"}`,
	} {
		if _, failure := w.Run(verb, params); !strings.HasPrefix(failure, "unavailable: the server is shutting down") {
			t.Errorf("%s: got %q", verb, failure)
		}
	}
}

func BenchmarkPutAThousandUsers(b *testing.B) {
	w := start(b)
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`{"id":"%d","attributes":{"city":"Rome","tz":"Europe/Rome","level":%d,"tags":["vip","new"]}}`, i, i))
	}
	params := `{"users":[` + strings.Join(list, ",") + `]}`
	b.ReportAllocs()
	for b.Loop() {
		w.must("users.put", params)
	}
}
