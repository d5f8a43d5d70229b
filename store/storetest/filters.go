package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/store"
)

// chooses is the model of a filter: whether it chooses who has these attributes.
func chooses(f *store.Filter, attributes map[string]any) bool {
	switch {
	case f.All != nil:
		return !slices.ContainsFunc(f.All, func(one store.Filter) bool { return !chooses(&one, attributes) })
	case f.Any != nil:
		return slices.ContainsFunc(f.Any, func(one store.Filter) bool { return chooses(&one, attributes) })
	case f.Not != nil:
		return !chooses(f.Not, attributes)
	case f.Tag != "":
		tags, _ := attributes["tags"].([]any)
		return slices.Contains(tags, any(f.Tag))
	case f.Field == "":
		return true
	}
	value, there := placeOf(f.Field, attributes)
	if f.Exists != nil {
		return there == *f.Exists
	}
	return there && fulfils(f, value)
}

// placeOf gives what is at a pointer, through objects only.
func placeOf(pointer string, attributes map[string]any) (value any, there bool) {
	value = attributes
	for name := range strings.SplitSeq(pointer[1:], "/") {
		object, is := value.(map[string]any)
		if !is {
			return nil, false
		}
		if value, there = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]; !there {
			return nil, false
		}
	}
	return value, true
}

func fulfils(f *store.Filter, value any) bool {
	if f.Prefix != "" {
		text, is := value.(string)
		return is && strings.HasPrefix(text, f.Prefix)
	}
	if f.In != nil {
		return slices.ContainsFunc(f.In, func(raw json.RawMessage) bool { return order(value, raw) == same })
	}
	for _, bound := range []struct {
		raw json.RawMessage
		in  []ordering
	}{
		{f.Eq, []ordering{same}}, {f.Gt, []ordering{more}}, {f.Gte, []ordering{more, same}},
		{f.Lt, []ordering{less}}, {f.Lte, []ordering{less, same}},
	} {
		if bound.raw != nil && !slices.Contains(bound.in, order(value, bound.raw)) {
			return false
		}
	}
	return true
}

type ordering int

const (
	none ordering = iota
	less
	same
	more
)

// order compares what a field has with a value of a filter; none: they are of
// different types, or have no order.
func order(value any, raw json.RawMessage) ordering {
	var with any
	_ = json.Unmarshal(raw, &with) // filters of the suite are good
	of := func(isLess, isMore bool) ordering {
		switch {
		case isLess:
			return less
		case isMore:
			return more
		}
		return same
	}
	switch value := value.(type) {
	case float64:
		if with, is := with.(float64); is {
			return of(value < with, value > with)
		}
	case string:
		if with, is := with.(string); is {
			return of(value < with, value > with)
		}
	case bool, nil:
		if value == with {
			return same
		}
	}
	return none
}

// Few names and values, so that filters choose some and not others; among them what
// a query could take for something of its own.
var (
	filterFields = []string{"/a", "/b", "/a/b", "/a/0", "/", "/a~1b/c~0d", "/'\"?$1", "/$.\"a\"", "/é\\", "/tags", "/%s"}
	filterTexts  = []string{"", "a", "A", "ab", "abc", "b", "é", "e\u0301", "\ud7ff", "\ue000", "😀", "\U0010ffff", "'", "?", "1", "true", "null", "[1]", "%", "a'b\\", strings.Repeat("x", 205), strings.Repeat("x", 204) + "y"}
	filterNums   = []string{"0", "-0", "1", "1.0", "1e0", "2", "-1", "0.1", "0.30000000000000004", "9007199254740992", "9007199254740993", "9007199254740994", "9223372036854775807", "9223372036854775808", "18446744073709551616", "-9007199254740993", "1e300", "5e-324", "1e-7"}
	filterTags   = []string{"a", "A", "é", "'?", "b"}
)

func scalars(plain bool) *rapid.Generator[json.RawMessage] {
	return rapid.Custom(func(t *rapid.T) json.RawMessage {
		switch rapid.IntRange(0, 5).Draw(t, "type") {
		case 0, 1:
			raw, _ := json.Marshal(rapid.SampledFrom(filterTexts).Draw(t, "text"))
			return raw
		case 2, 3:
			return json.RawMessage(rapid.SampledFrom(filterNums).Draw(t, "number"))
		}
		if plain {
			return json.RawMessage("7")
		}
		return json.RawMessage(rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word"))
	})
}

// drawAttributes draws attributes whose members are among those that filters ask for.
func drawAttributes(t *rapid.T) string {
	members := map[string]json.RawMessage{}
	nested := func() json.RawMessage {
		switch rapid.IntRange(0, 9).Draw(t, "nested") {
		case 0:
			return json.RawMessage(`[0,"a"]`)
		case 1:
			return json.RawMessage(`{}`)
		}
		return scalars(false).Draw(t, "value")
	}
	for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "a/b", "'\"?$1", "$.\"a\"", "é\\", "%s", "tz"}), 0, 5).Draw(t, "names") {
		members[name] = nested()
		if name == "a" && rapid.Bool().Draw(t, "object") {
			inner, _ := json.Marshal(map[string]json.RawMessage{"b": nested(), "0": nested()})
			members[name] = inner
		}
		if name == "a/b" {
			inner, _ := json.Marshal(map[string]json.RawMessage{"c~d": nested()})
			members[name] = inner
		}
	}
	switch rapid.IntRange(0, 3).Draw(t, "tags") {
	case 0:
		members["tags"], _ = json.Marshal(rapid.SliceOfN(rapid.SampledFrom(filterTags), 0, 3).Draw(t, "list"))
	case 1:
		members["tags"] = nested()
	}
	raw, _ := json.Marshal(members)
	return string(raw)
}

func drawFilter(t *rapid.T, depth int) (f store.Filter) {
	kinds := 8
	if depth == 0 {
		kinds = 5
	}
	kind := rapid.IntRange(0, kinds).Draw(t, "kind")
	if kind > 5 {
		var list []store.Filter
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			list = append(list, drawFilter(t, depth-1))
		}
		switch kind {
		case 6:
			f.All = list
		case 7:
			f.Any = list
		default:
			f.Not = &list[0]
		}
		return f
	}
	if kind == 0 {
		f.Tag = rapid.SampledFrom(filterTags).Draw(t, "tag")
		return f
	}
	f.Field = rapid.SampledFrom(filterFields).Draw(t, "field")
	bounds := func() {
		f.Gte, f.Lt = scalars(true).Draw(t, "gte"), scalars(true).Draw(t, "lt")
		switch rapid.IntRange(0, 3).Draw(t, "bounds") {
		case 0:
			f.Gt, f.Gte = f.Gte, nil
		case 1:
			f.Lte, f.Lt = f.Lt, nil
		case 2:
			f.Gte = nil
		}
	}
	switch rapid.IntRange(0, 6).Draw(t, "op") {
	case 0, 1:
		f.Eq = scalars(false).Draw(t, "eq")
	case 2:
		f.In = rapid.SliceOfN(scalars(false), 1, 4).Draw(t, "in")
	case 3:
		f.Prefix = rapid.SampledFrom(filterTexts[1:]).Draw(t, "prefix")
	case 4:
		is := rapid.Bool().Draw(t, "exists")
		f.Exists = &is
	default:
		bounds()
	}
	return f
}

// filtersLikeTheirModel: whatever is known of users, and whatever is asked, the store
// chooses whom the model chooses, with indexes or without.
func filtersLikeTheirModel(t *testing.T, empty func() Opener) {
	s, err := empty()(store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	const users = 12
	known := map[string]map[string]any{}
	indexed := 0
	rapid.Check(t, func(t *rapid.T) {
		put := store.PutUsers{Time: noon, Merge: rapid.Bool().Draw(t, "merge")}
		for i := range users {
			if rapid.IntRange(0, 3).Draw(t, "keep") > 0 {
				put.Users = append(put.Users, store.UserPut{User: fmt.Sprintf("user %02d", i), Attributes: []byte(drawAttributes(t))})
			}
		}
		if _, err := s.Do(t.Context(), put); err != nil {
			t.Fatal(err)
		}
		// Making indexes is slow, so that it is done now and then.
		if indexed++; indexed%25 == 1 {
			fields := rapid.SliceOfN(rapid.SampledFrom(append(filterFields, "#tags")), 0, 8).Draw(t, "indexes")
			if err := s.UserIndexes(t.Context(), fields); err != nil {
				t.Fatal(err)
			}
		}
		ids := make([]string, users)
		for i := range ids {
			ids[i] = fmt.Sprintf("user %02d", i)
		}
		list, err := s.LookUsers(t.Context(), ids...)
		if err != nil {
			t.Fatal(err)
		}
		clear(known)
		for _, u := range list {
			if u.Attributes != nil {
				var a map[string]any
				if err := json.Unmarshal(u.Attributes, &a); err != nil {
					t.Fatal(err)
				}
				known[u.User] = a
			}
		}
		for range 10 {
			f := drawFilter(t, 2)
			if err := f.Validate(); err != nil {
				t.Fatal(err)
			}
			compareFilter(t, s, &f, known)
		}
	})
	if err := s.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
}

func compareFilter(t *rapid.T, s store.Store, f *store.Filter, known map[string]map[string]any) {
	text, _ := json.Marshal(f)
	want := []string{}
	for user, a := range known {
		if chooses(f, a) {
			want = append(want, user)
		}
	}
	slices.Sort(want)
	page, err := s.Users(t.Context(), store.UserQuery{Where: f, Limit: 100})
	got := []string{}
	for _, u := range page {
		got = append(got, u.User)
	}
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("%s: %v (-want +got):\n%s\n%v", text, err, diff, known)
	}
	audience, err := s.Audience(t.Context(), store.AudienceQuery{Where: f, Limit: 100})
	got = []string{}
	for _, u := range audience {
		got = append(got, u.User)
	}
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Fatalf("audience of %s: %v (-want +got):\n%s", text, err, diff)
	}
	if n, err := s.CountUsers(t.Context(), f); n != int64(len(want)) || err != nil {
		t.Fatalf("%s: counted %d, %v, want %d", text, n, err, len(want))
	}
	if e, err := s.Estimate(t.Context(), store.EstimateQuery{Where: f, Now: noon}); e.Audience != int64(len(want)) || err != nil {
		t.Fatalf("%s: estimated %+v, %v, want %d", text, e, err, len(want))
	}
}

// What filters mean, in words; each case is looked at with an index and without.
func testFilters(s *subject) {
	s.putUsers(false, noon,
		"berlin", `{"city":"Berlin","level":10,"vip":true,"plan":{"tier":"gold"},"tags":["x","y"]}`,
		"beijing", `{"city":"Beijing","level":9.5,"vip":false,"plan":null,"tags":["y",7,null]}`,
		"none", `{}`,
		"odd", `{"city":["Berlin"],"level":"10","vip":"true","plan":{"tier":7},"tags":"x"}`,
		"null", `{"city":null,"level":1e1,"vip":1,"plan":[{"tier":"gold"}],"tags":{"x":1}}`,
		"empty", `{"city":"","level":-3,"tags":[]}`)
	s.do(store.MuteCategory{User: "nothing is known", Category: "c", Muted: true, Time: noon})
	cases := []struct{ filter, want string }{
		{`{}`, "beijing berlin empty none null odd"},
		{`{"field":"/city","eq":"Berlin"}`, "berlin"},
		{`{"field":"/city","eq":""}`, "empty"},
		{`{"field":"/city","eq":null}`, "null"},
		{`{"field":"/city","in":["Beijing","Berlin",null,"x"]}`, "beijing berlin null"},
		{`{"field":"/city","prefix":"Be"}`, "beijing berlin"},
		{`{"field":"/city","gt":"Beijing"}`, "berlin"},
		{`{"field":"/city","lte":"Beijing"}`, "beijing empty"},
		{`{"field":"/city","exists":true}`, "beijing berlin empty null odd"},
		{`{"field":"/city","exists":false}`, "none"},
		{`{"not":{"field":"/city","eq":"Berlin"}}`, "beijing empty none null odd"},
		{`{"field":"/level","eq":10}`, "berlin null"},
		{`{"field":"/level","eq":"10"}`, "odd"},
		{`{"field":"/level","gte":9.5,"lt":10}`, "beijing"},
		{`{"field":"/level","lt":10}`, "beijing empty"},
		{`{"field":"/level","in":[10,"10",-3.0]}`, "berlin empty null odd"},
		{`{"field":"/vip","eq":true}`, "berlin"},
		{`{"field":"/vip","eq":1}`, "null"},
		{`{"field":"/vip","in":[true,false]}`, "beijing berlin"},
		{`{"field":"/plan/tier","eq":"gold"}`, "berlin"},
		{`{"field":"/plan/tier","exists":true}`, "berlin odd"},
		{`{"field":"/plan","exists":true}`, "beijing berlin null odd"},
		{`{"tag":"x"}`, "berlin"},
		{`{"tag":"y"}`, "beijing berlin"},
		{`{"not":{"tag":"y"}}`, "empty none null odd"},
		{`{"all":[{"tag":"y"},{"field":"/level","gte":9},{"not":{"field":"/vip","eq":true}}]}`, "beijing"},
		{`{"any":[{"field":"/city","eq":"Berlin"},{"field":"/level","lt":0},{"tag":"z"}]}`, "berlin empty"},
		{`{"all":[{"field":"/level","gte":-5},{"all":[{"field":"/level","lt":9.75},{"field":"/city","prefix":"B"}]}]}`, "beijing"},
		{`{"not":{}}`, ""},
	}
	for _, fields := range [][]string{nil, {"/city", "/level", "#tags", "/plan/tier", "/vip"}, {"/city", "/nothing"}, nil} {
		if err := s.store.UserIndexes(s.Context(), fields); err != nil {
			s.Fatal(err)
		}
		for _, tt := range cases {
			var f store.Filter
			if err := json.Unmarshal([]byte(tt.filter), &f); err != nil {
				s.Fatal(err)
			}
			if got := strings.Join(s.allUsers(&f, 4), " "); got != tt.want {
				s.Errorf("%s with the indexes %s chooses %s, want %s", tt.filter, fields, got, tt.want)
			}
			got := s.audience(&f, 4)
			slices.Sort(got)
			if strings.Join(got, " ") != tt.want || s.countUsers(&f) != int64(len(got)) {
				s.Errorf("%s with the indexes %s: the audience is %s, want %s", tt.filter, fields, got, tt.want)
			}
		}
		s.reopen()
	}
}

func testFiltersRefused(s *subject) {
	bad := &store.Filter{All: []store.Filter{{}, {Field: "/a", Gte: json.RawMessage("true")}}}
	for what, err := range map[string]error{
		"users": func() error { _, err := s.store.Users(s.Context(), store.UserQuery{Where: bad, Limit: 1}); return err }(),
		"audience": func() error {
			_, err := s.store.Audience(s.Context(), store.AudienceQuery{Where: bad, Limit: 1})
			return err
		}(),
		"count":    func() error { _, err := s.store.CountUsers(s.Context(), bad); return err }(),
		"estimate": func() error { _, err := s.store.Estimate(s.Context(), store.EstimateQuery{Where: bad}); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), "where.all[1].gte: must be a text or a number") {
			s.Errorf("%s: the error is %v", what, err)
		}
	}
	for want, fields := range map[string][]string{
		"fields[1]: must be empty or begin with /": {"/a", "a"},
		"fields[0]: is missing":                    {""},
		"fields: has 65; at most 64 are possible":  make([]string, 65),
	} {
		if err := s.store.UserIndexes(s.Context(), fields); err == nil || !strings.Contains(err.Error(), want) {
			s.Errorf("want %q, the error is %v", want, err)
		}
	}
}
