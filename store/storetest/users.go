package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/store"
)

func (s *subject) putUsers(merge bool, at int64, userAndAttributes ...string) store.UsersPut {
	s.Helper()
	return s.do(putUsers(merge, at, userAndAttributes...))[0].(store.UsersPut)
}

// putUsers makes a command of users, each followed by his attributes.
func putUsers(merge bool, at int64, userAndAttributes ...string) store.PutUsers {
	c := store.PutUsers{Merge: merge, Time: at}
	for i := 0; i < len(userAndAttributes); i += 2 {
		c.Users = append(c.Users, store.UserPut{User: userAndAttributes[i], Attributes: []byte(userAndAttributes[i+1])})
	}
	return c
}

func (s *subject) lookUsers(users ...string) []store.User {
	s.Helper()
	list, err := s.store.LookUsers(s.Context(), users...)
	return must(s, list, err)
}

func (s *subject) lookUser(user string) store.User {
	s.Helper()
	return s.lookUsers(user)[0]
}

// sameJSON compares attributes as values: a store may write them its own way.
var sameJSON = cmp.Transformer("json", func(raw []byte) any {
	var value any
	if raw != nil && json.Unmarshal(raw, &value) != nil {
		return string(raw)
	}
	return value
})

// userIs compares users; numbers are the store's.
func (s *subject) userIs(what string, want, got store.User) {
	s.Helper()
	if got.N == 0 && got.User != "" {
		s.Errorf("%s: the number is 0", what)
	}
	want.N = got.N
	if diff := cmp.Diff(want, got, sameJSON); diff != "" {
		s.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func testUsers(s *subject) {
	s.equal("who was never heard of", []store.User{{}, {}}, s.lookUsers("ann", ""))
	s.equal("two new ones", store.UsersPut{Created: 2}, s.putUsers(false, noon, "ann", `{"a":1,"tz":"Europe/Berlin","z":null}`, "\x00\xff", `{}`))
	ann := store.User{User: "ann", Attributes: []byte(`{"a":1,"tz":"Europe/Berlin","z":null}`), Zone: "Europe/Berlin", Created: noon, Changed: noon}
	first := s.lookUser("ann")
	s.userIs("as it was put", ann, first)
	s.userIs("without members", store.User{User: "\x00\xff", Attributes: []byte(`{}`), Created: noon, Changed: noon}, s.lookUser("\x00\xff"))

	s.equal("the same again", store.UsersPut{}, s.putUsers(false, noon+1, "ann", ` {"tz": "Europe\/Berlin", "a": 1.0, "z": null} `))
	s.userIs("is as it was", ann, s.lookUser("ann"))
	s.equal("another one", store.UsersPut{Changed: 1, Created: 1}, s.putUsers(false, noon+2, "ann", `{"b":2}`, "bob", `{"tz":7}`))
	ann.Attributes, ann.Zone, ann.Changed = []byte(`{"b":2}`), "", noon+2
	s.userIs("replaced", ann, s.lookUser("ann"))
	s.equal("twice in one, back and forth", store.UsersPut{}, s.putUsers(false, noon+3, "ann", `{"c":3}`, "ann", `{"b":2}`))
	s.equal("twice in one", store.UsersPut{Created: 1}, s.putUsers(false, noon+3, "carl", `{"c":3}`, "carl", `{"d":4}`))
	s.userIs("the last one counts", store.User{User: "carl", Attributes: []byte(`{"d":4}`), Created: noon + 3, Changed: noon + 3}, s.lookUser("carl"))
	s.equal("nobody", store.UsersPut{}, s.putUsers(false, noon))

	s.equal("numbers", first.N, s.lookUser("ann").N)
	s.reopen()
	s.userIs("after a restart", ann, s.lookUser("ann"))
	s.equal("in their order", []string{"carl", "", "ann", "carl", "", "\x00\xff"},
		names(s.lookUsers("carl", "dora", "ann", "carl", "Ann", "\x00\xff"), func(u store.User) string { return u.User }))

	// The zone is a text of at most 64 bytes.
	for tz, want := range map[string]string{`"UTC"`: "UTC", `""`: "", `["UTC"]`: "", `null`: "", `"` + strings.Repeat("x", 64) + `"`: strings.Repeat("x", 64), `"` + strings.Repeat("x", 65) + `"`: ""} {
		s.putUsers(true, noon+4, "bob", `{"tz":`+tz+`}`)
		if got := s.lookUser("bob").Zone; got != want {
			s.Errorf("of tz %s the zone is %q, want %q", tz, got, want)
		}
	}
}

// A group that fails has put nobody, and mutes and puts see each other.
func testUserGroups(s *subject) {
	s.putUsers(false, noon, "ann", `{"a":1}`)
	long := `{"long":"` + strings.Repeat("x", 40<<10) + `"}`
	s.refuses(store.ErrTooLarge, putUsers(false, noon+1, "bob", `{}`), store.MuteCategory{User: "bob", Category: "news", Muted: true, Time: noon + 1},
		putUsers(true, noon+1, "ann", `{"b":2}`, "ann", long, "ann", strings.Replace(long, "long", "other", 1)))
	s.equal("nobody was put", []string{"ann", ""}, names(s.lookUsers("ann", "bob"), func(u store.User) string { return u.User }))
	s.userIs("and nothing", store.User{User: "ann", Attributes: []byte(`{"a":1}`), Created: noon, Changed: noon}, s.lookUser("ann"))
	_, err := s.store.Do(s.Context(), putUsers(true, noon+1, "ann", long), putUsers(true, noon+1, "zoe", `{}`, "ann", strings.Replace(long, "long", "other", 1)))
	if err == nil || !strings.Contains(err.Error(), "Users[1].Attributes: ") || !errors.Is(err, store.ErrTooLarge) {
		s.Errorf("what is too large by what was there: the error is %v", err)
	}
	s.do(putUsers(false, noon, "bob", `{"tags":["x"]}`), store.MuteCategory{User: "bob", Category: "news", Muted: true, Time: noon}, putUsers(true, noon, "bob", `{"a":1}`),
		store.DeleteUsers{Users: []string{"ann"}, Time: noon}, putUsers(false, noon+9, "ann", `{}`))
	s.userIs("one after the other", store.User{User: "bob", Attributes: []byte(`{"a":1,"tags":["x"]}`), Created: noon, Changed: noon, Muted: []string{"news"}}, s.lookUser("bob"))
	s.userIs("deleted and new", store.User{User: "ann", Attributes: []byte(`{}`), Created: noon + 9, Changed: noon + 9}, s.lookUser("ann"))
}

// The examples of RFC 7396, appendix A, as far as they are of objects, and others.
func testUserMerge(s *subject) {
	for i, tt := range []struct{ there, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{"", `{"a":{"b":null,"c":[null]},"d":null}`, `{"a":{"c":[null]}}`},
		{"", `{}`, `{}`},
		{`{"a":1}`, `{"a":{"b":2}}`, `{"a":{"b":2}}`},
		{`{"a":{"b":2}}`, `{"a":{"b":null}}`, `{"a":{}}`},
		{`{"n":12345678901234567890123,"x":0.10}`, `{"y":-1e3}`, `{"n":12345678901234567890123,"x":0.10,"y":-1e3}`},
	} {
		user := fmt.Sprint("user ", i)
		if tt.there != "" {
			s.putUsers(false, noon, user, tt.there)
		}
		s.putUsers(true, noon+1, user, tt.patch)
		want := store.User{User: user, Attributes: []byte(tt.want), Created: noon, Changed: noon + 1}
		if tt.there == "" {
			want.Created = noon + 1
		}
		s.userIs(tt.there+" and "+tt.patch, want, s.lookUser(user))
	}
	s.equal("what changes nothing", store.UsersPut{}, s.putUsers(true, noon+9, "user 0", `{"a":"c"}`, "user 0", `{}`, "user 0", `{"q":null}`))
	// Numbers keep their value beyond what a 64-bit one can hold.
	if text := string(s.lookUser("user 14").Attributes); !strings.Contains(text, "12345678901234567890123") {
		s.Errorf("the attributes are %s", text)
	}
	// Texts are what they were, however they are written.
	s.putUsers(false, noon, "texts", `{"t":"<&>\u2028é\ud83d\ude00 \" \\ \/"}`)
	var got struct{ T string }
	if err := json.Unmarshal(s.lookUser("texts").Attributes, &got); err != nil || got.T != "<&>\u2028é😀 \" \\ /" {
		s.Errorf("of the text there is %q, %v", got.T, err)
	}
}

func testUsersRefused(s *subject) {
	long := strings.Repeat("x", 1025)
	many := make([]store.UserPut, 1001)
	names := make([]string, 1001)
	put := func(attributes string) store.Command { return putUsers(false, noon, "ann", `{}`, "bob", attributes) }
	for _, tt := range []struct {
		command store.Command
		want    string
	}{
		{store.PutUsers{Users: many, Time: noon}, "put users: Users: has 1001; at most 1000 are possible"},
		{putUsers(false, 0, "ann", `{}`), "put users: Time: 0 is not from 1"},
		{putUsers(false, noon, "ann", `{}`, "", `{}`), "put users: Users[1].User: has 0 bytes; 1 to 1024 are possible"},
		{putUsers(false, noon, long, `{}`), "put users: Users[0].User: has 1025 bytes"},
		{put(``), "put users: Users[1].Attributes: "},
		{put(`null`), "put users: Users[1].Attributes: must be an object"},
		{put(`[1]`), "put users: Users[1].Attributes: must be an object"},
		{put(`{"a":1} {}`), "put users: Users[1].Attributes: "},
		{put(`{"a":"` + "\xff" + `"}`), "put users: Users[1].Attributes: is not valid UTF-8"},
		{put(`{"a":["\u0000"]}`), "put users: Users[1].Attributes: has a text with a NUL character"},
		{put(`{"\u0000":1}`), "put users: Users[1].Attributes: has a text with a NUL character"},
		{put(`{"a":{"b":1e309}}`), "put users: Users[1].Attributes: 1e309 is beyond the range"},
		{put(`{"a":1e-400}`), "put users: Users[1].Attributes: 1e-400 is beyond the range"},
		{put(`{"a":` + strings.Repeat("1", 129) + `}`), "put users: Users[1].Attributes: has a number of 129 characters"},
		{put(`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`), "put users: Users[1].Attributes: "},
		{put(`{"a":"` + strings.Repeat("x", 64<<10) + `"}`), "put users: Users[1].Attributes: store: too large: has 65544 bytes"},
		{store.DeleteUsers{Users: names, Time: noon}, "delete users: Users[0]: has 0 bytes"},
		{store.DeleteUsers{Users: strings.Split(strings.Repeat("u ", 1000)+"u", " "), Time: noon}, "delete users: Users: has 1001; at most 1000"},
		{store.DeleteUsers{Users: []string{"u"}}, "delete users: Time: 0 is not from 1"},
		{store.MuteCategory{Category: "c", Time: noon}, "mute category: User: has 0 bytes"},
		{store.MuteCategory{User: "u", Time: noon}, "mute category: Category: has 0 bytes; 1 to 64"},
		{store.MuteCategory{User: "u", Category: "\xff", Time: noon}, "mute category: Category: is not valid UTF-8"},
		{store.MuteCategory{User: "u", Category: "c"}, "mute category: Time: 0"},
		{store.PutCategory{Name: strings.Repeat("x", 65), Time: noon}, "put category: Name: has 65 bytes; 1 to 64"},
		{store.PutCategory{Name: "x", Body: make([]byte, 64<<10+1), Time: noon}, "put category: Body: has 65537 bytes"},
		{store.PutCategory{Name: "x"}, "put category: Time: 0"},
		{store.DeleteCategory{}, "delete category: Name: has 0 bytes"},
		{store.PutCampaign{}, "put campaign: ID: has 0 bytes; 1 to 64"},
		{store.PutCampaign{Campaign: store.Campaign{ID: "c", State: strings.Repeat("x", 17)}}, "put campaign: State: has 17 bytes"},
		{store.PutCampaign{Campaign: store.Campaign{ID: "c", Plan: make([]byte, 1<<20+1)}}, "put campaign: Plan: has 1048577 bytes"},
		{store.PutCampaign{Campaign: store.Campaign{ID: "c", Notes: make([]byte, 64<<10+1)}}, "put campaign: Notes: has 65537 bytes"},
		{store.PutCampaign{Campaign: store.Campaign{ID: "c", Cursor: strings.Repeat("x", 1101)}}, "put campaign: Cursor: has 1101 bytes"},
		{store.PutCampaign{Campaign: store.Campaign{ID: "c", Next: -1}}, "put campaign: Next: -1 is not from 0"},
		{store.PutCampaign{Campaign: store.Campaign{ID: "c"}, Keep: true}, "put campaign: Owner: has 0 bytes"},
		{store.ClaimCampaign{ID: "c", Now: 1, Until: 2}, "claim campaign: Owner: has 0 bytes"},
		{store.ClaimCampaign{ID: "c", Owner: "o", Now: 2, Until: 2}, "claim campaign: Until: 2 is not after Now, 2"},
		{store.AddToCampaign{ID: "c", Users: make([]string, 10_001)}, "add to campaign: Users: has 10001; at most 10000"},
		{store.AddToCampaign{ID: "c", Users: []string{"a", ""}}, "add to campaign: Users[1]: has 0 bytes"},
		{store.DeleteCampaign{}, "delete campaign: ID: has 0 bytes"},
	} {
		_, err := s.store.Do(s.Context(), store.MuteCategory{User: "first", Category: "c", Muted: true, Time: noon}, tt.command)
		if err == nil || !strings.Contains(err.Error(), "command 1: "+tt.want) {
			s.Errorf("want %q, the error is %v", tt.want, err)
		}
	}
	s.equal("who was put", make([]store.User, 3), s.lookUsers("first", "ann", "bob"))
	// What is at the bound is taken.
	s.do(put(`{"a":`+strings.Repeat("[", 63)+strings.Repeat("]", 63)+`,"n":[1.7976931348623157e308,-5e-324,`+strings.Repeat("1", 128)+`,0e999]}`),
		put(`{"a":"`+strings.Repeat("x", 64<<10-8)+`"}`), putUsers(false, noon, strings.Repeat("x", 1024), `{"tags":["`+strings.Repeat("t", 300)+`"]}`))
	if got := len(s.lookUser("bob").Attributes); got < 64<<10-8 {
		s.Errorf("of the longest attributes there are %d bytes", got)
	}
}

// Eight change the same users at once, each his own members: nothing is lost.
func testMergeCrowd(s *subject) {
	const callers, rounds, users = 8, 20, 3
	var wait sync.WaitGroup
	for c := range callers {
		wait.Go(func() {
			for r := range rounds {
				put := store.PutUsers{Merge: true, Time: noon + int64(r)}
				for u := range users {
					user := fmt.Sprint("user ", (u+c)%users)
					put.Users = append(put.Users, store.UserPut{User: user, Attributes: fmt.Appendf(nil, `{"c%d":{"r%d":%d},"tags":["tag %d"]}`, c, r, r, c)})
				}
				put.Users = append(put.Users, store.UserPut{User: fmt.Sprintf("own %d %d", r, c%2), Attributes: fmt.Appendf(nil, `{"c%d":1}`, c)})
				if _, err := s.store.Do(context.Background(), put, store.MuteCategory{User: "user 0", Category: fmt.Sprintf("category %d %d", c, r), Muted: true, Time: noon}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for u := range users {
		var got map[string]json.RawMessage
		if err := json.Unmarshal(s.lookUser(fmt.Sprint("user ", u)).Attributes, &got); err != nil {
			s.Fatal(err)
		}
		for c := range callers {
			var mine map[string]int
			if err := json.Unmarshal(got[fmt.Sprint("c", c)], &mine); err != nil || len(mine) != rounds {
				s.Errorf("user %d: of caller %d there are %v, %v", u, c, mine, err)
			}
		}
	}
	for r := range rounds {
		for half := range 2 {
			if got := s.lookUser(fmt.Sprintf("own %d %d", r, half)).Attributes; bytes.Count(got, []byte("c")) != callers/2 {
				s.Errorf("of half of the callers there is %s", got)
			}
		}
	}
	if got := len(s.lookUser("user 0").Muted); got != callers*rounds {
		s.Errorf("%d categories are muted", got)
	}
	// Each user has the tag that was put last.
	total := int64(0)
	for c := range callers {
		total += s.countUsers(&store.Filter{Tag: fmt.Sprint("tag ", c)})
	}
	if total != users {
		s.Errorf("%d users have a tag", total)
	}
}

func testMutes(s *subject) {
	mute := func(user, category string, muted bool) []string {
		s.Helper()
		return s.do(store.MuteCategory{User: user, Category: category, Muted: muted, Time: noon})[0].(store.CategoryMuted).Muted
	}
	s.equal("unmuted by nobody", []string(nil), mute("ann", "news", false))
	s.equal("who has muted nothing is not there", store.User{}, s.lookUser("ann"))
	s.equal("the first", []string{"news"}, mute("ann", "news", true))
	s.userIs("is known by it alone", store.User{User: "ann", Created: noon, Muted: []string{"news"}}, s.lookUser("ann"))
	s.equal("known users", int64(0), s.countUsers(nil))
	s.equal("again", []string{"news"}, mute("ann", "news", true))
	mute("ann", "é\"", true)
	s.equal("by their names", []string{"News", "news", "é\""}, mute("ann", "News", true))
	s.putUsers(false, noon+1, "ann", `{"a":1}`)
	s.reopen()
	s.userIs("with attributes", store.User{User: "ann", Attributes: []byte(`{"a":1}`), Created: noon, Changed: noon + 1, Muted: []string{"News", "news", "é\""}}, s.lookUser("ann"))
	s.equal("unmuted", []string{"News", "é\""}, mute("ann", "news", false))
	s.equal("unmuted again", []string{"News", "é\""}, mute("ann", "news", false))
	mute("ann", "News", false)
	if got := mute("ann", "é\"", false); len(got) > 0 {
		s.Errorf("all unmuted: %q", got)
	}
	s.userIs("none", store.User{User: "ann", Attributes: []byte(`{"a":1}`), Created: noon, Changed: noon + 1}, s.lookUser("ann"))
	var group []store.Command
	for i := range 1000 {
		group = append(group, store.MuteCategory{User: "bob", Category: fmt.Sprint("category ", i), Muted: true, Time: noon})
	}
	for some := range slices.Chunk(group, 100) {
		s.do(some...)
	}
	s.refuses(store.ErrTooLarge, store.MuteCategory{User: "carl", Category: "c", Muted: true, Time: noon}, store.MuteCategory{User: "bob", Category: "one more", Muted: true, Time: noon})
	s.equal("a group that fails", store.User{}, s.lookUser("carl"))
	s.equal("at the bound", 1000, len(mute("bob", "category 7", true)))
}

func testCategories(s *subject) {
	put := func(name, body string, at int64) bool {
		s.Helper()
		return s.do(store.PutCategory{Name: name, Body: []byte(body), Time: at})[0].(store.CategoryPut).Created
	}
	if list, err := s.store.Categories(s.Context()); len(list) > 0 || err != nil {
		s.Errorf("there are %v, %v", list, err)
	}
	s.equal("created", []bool{true, true, true, false}, []bool{put("news", "1", noon), put("News", "\x00\xff", noon+1), put("é", "", noon+2), put("news", "2", noon+3)})
	want := []store.Category{{Name: "News", Body: []byte("\x00\xff"), Changed: noon + 1}, {Name: "news", Body: []byte("2"), Changed: noon + 3}, {Name: "é", Changed: noon + 2}}
	for range 2 {
		list, err := s.store.Categories(s.Context())
		s.equal("all", want, must(s, list, err))
		s.reopen()
	}
	s.equal("deleted", store.Result(store.CategoryDeleted{}), s.do(store.DeleteCategory{Name: "news"})[0])
	s.refuses(store.ErrNotFound, store.DeleteCategory{Name: "news"})
	s.refuses(store.ErrNotFound, store.PutCategory{Name: "other", Time: noon}, store.DeleteCategory{Name: "news"})
	list, err := s.store.Categories(s.Context())
	s.equal("the others", []store.Category{want[0], want[2]}, must(s, list, err))
	if !put("news", "3", noon) {
		s.Error("put anew it is not created")
	}
}

func (s *subject) countUsers(where *store.Filter) int64 {
	s.Helper()
	n, err := s.store.CountUsers(s.Context(), where)
	return must(s, n, err)
}

// allUsers reads page by page.
func (s *subject) allUsers(where *store.Filter, limit int) (list []string) {
	s.Helper()
	after := ""
	for {
		page, err := s.store.Users(s.Context(), store.UserQuery{Where: where, After: after, Limit: limit})
		must(s, page, err)
		if len(page) > limit {
			s.Fatalf("a page of %d has %d", limit, len(page))
		}
		for _, u := range page {
			list, after = append(list, u.User), u.User
		}
		if len(page) < limit {
			return list
		}
	}
}

// audience reads page by page.
func (s *subject) audience(where *store.Filter, limit int) (list []string) {
	s.Helper()
	after := uint64(0)
	for {
		page, err := s.store.Audience(s.Context(), store.AudienceQuery{Where: where, After: after, Limit: limit})
		must(s, page, err)
		for _, r := range page {
			if r.N <= after {
				s.Fatalf("number %d comes after %d", r.N, after)
			}
			list, after = append(list, r.User), r.N
		}
		if len(page) < limit {
			return list
		}
	}
}

// Pages have everybody once, in order, also while others come and go.
func testUserPages(s *subject) {
	var put store.PutUsers
	var all []string
	put.Time = noon
	for i := range 250 {
		user := fmt.Sprintf("u%d\x00\xff", (i*7919)%1000)
		all = append(all, user)
		put.Users = append(put.Users, store.UserPut{User: user, Attributes: fmt.Appendf(nil, `{"even":%v,"i":%d,"tags":["t%d"]}`, i%2 == 0, i, i%5)})
	}
	s.do(put)
	s.do(store.MuteCategory{User: "nothing is known", Category: "c", Muted: true, Time: noon})
	sorted := slices.Sorted(slices.Values(all))
	odd := &store.Filter{Field: "/even", Eq: json.RawMessage("false")}
	for _, limit := range []int{1, 7, 125, 250, 1000} {
		s.equal("all", sorted, s.allUsers(nil, limit))
		s.equal("all by an empty filter", sorted, s.allUsers(&store.Filter{}, limit))
		s.equal("by number", append([]string{"nothing is known"}, sorted...), slices.Sorted(slices.Values(s.audience(nil, limit))))
		s.equal("by number, with attributes", sorted, slices.Sorted(slices.Values(s.audience(&store.Filter{}, limit))))
		s.equal("by number, chosen", 125, len(s.audience(odd, limit)))
		s.equal("chosen", 125, len(s.allUsers(odd, limit)))
		s.equal("by a tag", 50, len(s.audience(&store.Filter{Tag: "t3"}, limit)))
	}
	s.equal("counted", []int64{250, 250, 125, 50, 0}, []int64{s.countUsers(nil), s.countUsers(&store.Filter{}), s.countUsers(odd), s.countUsers(&store.Filter{Tag: "t3"}), s.countUsers(&store.Filter{Tag: "t"})})
	if page, err := s.store.Users(s.Context(), store.UserQuery{}); err == nil || !strings.Contains(err.Error(), "limit: 0 is less than 1") {
		s.Errorf("without a limit it gave %v, %v", page, err)
	}
	// Numbers are not given again.
	page, err := s.store.Audience(s.Context(), store.AudienceQuery{Limit: 1000})
	last := must(s, page, err)[250]
	if last.User != "nothing is known" {
		s.Errorf("the last one is %+v", last)
	}
	s.equal("deleted", store.UsersDeleted{Count: 2}, s.do(store.DeleteUsers{Users: []string{last.User, all[0], all[0], "nobody"}, Time: noon})[0].(store.UsersDeleted))
	s.reopen()
	s.putUsers(false, noon, "new", `{}`)
	if n := s.lookUser("new").N; n <= last.N {
		s.Errorf("number %d came after %d", n, last.N)
	}
	s.equal("the rest", 250, len(s.audience(nil, 13)))
	s.equal("tags of the rest", 49, len(s.audience(&store.Filter{Tag: "t0"}, 13)))
	if st := s.stats(); st.Users != 250 {
		s.Errorf("it has %+v", st)
	}
	// While others come and go, each page goes on where the last one ended.
	stop := make(chan struct{})
	var wait sync.WaitGroup
	defer wait.Wait()
	defer close(stop)
	wait.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			user := fmt.Sprintf("x%d", i%3)
			if _, err := s.store.Do(context.Background(), putUsers(false, noon, user, `{}`), store.DeleteUsers{Users: []string{user}, Time: noon}, putUsers(false, noon, user, `{"even":false}`)); err != nil {
				s.Error(err)
			}
		}
	})
	for range 3 {
		got := slices.DeleteFunc(s.allUsers(nil, 9), func(u string) bool { return strings.HasPrefix(u, "x") || u == "new" })
		s.equal("meanwhile", slices.Sorted(slices.Values(all[1:])), got)
		if seen := s.audience(odd, 9); len(seen) < 125 {
			s.Errorf("meanwhile %d are chosen", len(seen))
		}
	}
}
