package auth

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/tree"
)

func TestRolesAreReadAndOrdered(t *testing.T) {
	long := strings.Repeat("r", 64)
	for _, tt := range []struct {
		list []string
		want Roles
	}{
		{nil, ""},
		{[]string{}, ""},
		{[]string{"desk"}, "desk"},
		{[]string{"b", "a", "b", "a"}, "a,b"},
		{[]string{"A", "a", "1", "_", "-", ".", long}, Roles("-,.,1,A,_,a," + long)},
	} {
		got, err := ParseRoles(tt.list)
		if err != nil || got != tt.want {
			t.Errorf("%q: %q, %v", tt.list, got, err)
		}
		if again, err := ParseRoles(got.List()); err != nil || again != got {
			t.Errorf("%q read again: %q, %v", got, again, err)
		}
		for _, name := range tt.list {
			if !got.Has(name) {
				t.Errorf("%q has no %q", got, name)
			}
		}
		for _, name := range []string{"", "des", "desks", "a,b", ","} {
			if got.Has(name) {
				t.Errorf("%q has %q", got, name)
			}
		}
	}
	if list := Roles("").List(); list != nil {
		t.Errorf("no roles are %q", list)
	}
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprint("r", i)
	}
	if _, err := ParseRoles(many[:32]); err != nil {
		t.Error(err)
	}
	for what, list := range map[string][]string{
		"at most 32":     many,
		`"" is not`:      {"a", ""},
		`"a,b" is not`:   {"a,b"},
		`"a b" is not`:   {"a b"},
		`"ä" is not`:     {"ä"},
		`"a\n" is not`:   {"a\n"},
		"is not a role":  {strings.Repeat("r", 65)},
		`"role:a" is no`: {"role:a"},
	} {
		if got, err := ParseRoles(list); err == nil || got != "" || !strings.HasPrefix(err.Error(), "roles: ") || !strings.Contains(err.Error(), what) {
			t.Errorf("%.100q: %q, %v; want %s", list, got, err, what)
		}
	}
}

func TestRulesAboutPlacesAreRead(t *testing.T) {
	for text, want := range map[string]Place{
		"/a read anyone":                     {path: []string{"a"}, read: []Grantee{{who: Anyone}}, reads: true},
		"  /a   write   user ":               {path: []string{"a"}, write: []Grantee{{who: User}}},
		"/a/** write user read server":       {path: []string{"a"}, write: []Grantee{{who: User}}, read: []Grantee{{who: Server}}, reads: true},
		"** read role:desk,user":             {path: []string{}, read: []Grantee{{role: "desk"}, {who: User}}, reads: true},
		"/** write role:a,role:b":            {path: []string{}, write: []Grantee{{role: "a"}, {role: "b"}}},
		"/*/{user}/x write user":             {path: []string{"*", "{user}", "x"}, write: []Grantee{{who: User}}},
		"/a~1b/c~0d/ read anyone":            {path: []string{"a/b", "c~d", ""}, read: []Grantee{{who: Anyone}}, reads: true},
		"/a*/x{user}/{user/user} write user": {path: []string{"a*", "x{user}", "{user", "user}"}, write: []Grantee{{who: User}}},
	} {
		got, err := ParsePlace(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Place{}, Grantee{}), cmp.Comparer(func(a, b []string) bool { return slices.Equal(a, b) })); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"":                            "is not a path with read or write",
		"/a":                          "is not a path with read or write",
		"/a read":                     "is not a path with read or write",
		"/a read user write":          "is not a path with read or write",
		"/a read user write user x y": "is not a path with read or write",
		"a read user":                 `"a" is not a path such as`,
		"/a~2 read user":              `"/a~2" is not a path such as`,
		"/a~ read user":               `"/a~" is not a path such as`,
		"/**/a read user":             "** may only be the last",
		"/**/** read user":            "** may only be the last",
		"/{name}/a read user":         "a part is a member's name, * or {user}",
		"/{} write user":              "a part is a member's name, * or {user}",
		"/a delete user":              "after the path stand read and write, each at most once",
		"/a read user read user":      "after the path stand read and write, each at most once",
		"/a write user write server":  "after the path stand read and write, each at most once",
		"/a read nobody":              `"nobody" is not one of anyone, user, server, role:NAME`,
		"/a read token":               `"token" is not one of`,
		"/a read member":              `"member" is not one of`,
		"/a read user,":               `"" is not one of`,
		"/a read ,user":               `"" is not one of`,
		"/a read role:":               `"" is not a role`,
		"/a read role:a b":            "is not a path with read or write",
		"/a read role:a:b":            `"a:b" is not a role`,
		"/a read Anyone":              `"Anyone" is not one of`,
	} {
		if got, err := ParsePlace(text); err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%q: %+v, %v; want %s", text, got, err, want)
		}
	}
}

func parsed(t interface{ Fatal(...any) }, rules ...string) *Places {
	var list []Place
	for _, text := range rules {
		p, err := ParsePlace(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return NewPlaces(list)
}

var sights = map[tree.Sight]string{tree.Nothing: "nothing", tree.Part: "part", tree.Most: "most", tree.Everything: "everything"}

func TestWhoSeesAndWritesWhat(t *testing.T) {
	rules := []string{
		"/** read user write role:desk",
		"/players/{user}/** write user",
		"/players/*/cards read role:desk",
		"/players/{user}/cards read user",
		"/secret/** read role:desk",
		"/secret/key read server",
		"/secret/key/hint read anyone",
		"/same read role:a",
		"/same read role:b write anyone",
	}
	p := parsed(t, rules...)
	for _, tt := range []struct {
		user  string
		roles Roles
		path  string
		sees  tree.Sight
		write bool
	}{
		{"ann", "", "", tree.Most, false},
		{"ann", "", "/open", tree.Everything, false},
		{"ann", "", "/players", tree.Most, false},
		{"ann", "", "/players/ann", tree.Everything, true},
		{"ann", "", "/players/ann/cards", tree.Everything, true},
		{"ann", "", "/players/ann/cards/a", tree.Everything, true},
		{"ann", "", "/players/ben", tree.Most, false},
		{"ann", "", "/players/ben/points", tree.Everything, false},
		{"ann", "", "/players/ben/cards", tree.Nothing, false},
		{"ann", "", "/players/ben/cards/a", tree.Nothing, false},
		{"ann", "", "/secret", tree.Part, false},
		{"ann", "", "/secret/other", tree.Nothing, false},
		{"ann", "", "/secret/key", tree.Part, false},
		{"ann", "", "/secret/key/hint", tree.Everything, false},
		{"ann", "", "/secret/key/hint/more", tree.Everything, false},
		{"ann", "", "/same", tree.Nothing, true},
		{"ann", "a", "/same", tree.Everything, true},
		{"ann", "b", "/same/below", tree.Everything, true},
		{"ben", "desk", "", tree.Most, true},
		{"ben", "desk", "/players", tree.Everything, true},
		{"ben", "desk", "/secret", tree.Most, true},
		{"ben", "desk", "/secret/key", tree.Part, true},
		{"ben", "desks", "/players/ben", tree.Everything, true},
		{"ben", "desks", "/players/ann", tree.Most, false},
		{"", "", "", tree.Part, false},
		{"", "", "/open", tree.Nothing, false},
		{"", "", "/players", tree.Nothing, false},
		{"", "", "/players/{user}", tree.Nothing, false},
		{"", "", "/players/", tree.Nothing, false},
		{"", "", "/secret/key/hint", tree.Everything, false},
		{"", "", "/same", tree.Nothing, true},
		{"", "desk", "/players", tree.Part, true},
		{"{user}", "", "/players/{user}", tree.Everything, true},
		{"*", "", "/players/*/cards", tree.Everything, true},
		{"*", "", "/players/ann/cards", tree.Nothing, false},
	} {
		path, err := tree.ParsePath(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		guard := p.Guard(tt.user, tt.roles)
		if got := p.View(tt.user, tt.roles).Sees(path); got != tt.sees {
			t.Errorf("%q with %q sees %s of %q, want %s", tt.user, tt.roles, sights[got], tt.path, sights[tt.sees])
		}
		if got := guard.MayWrite(path); got != tt.write {
			t.Errorf("%q with %q may write %q: %t", tt.user, tt.roles, tt.path, got)
		}
		if got := guard.MayRead(path); got != (tt.sees == tree.Everything) {
			t.Errorf("%q with %q may read %q: %t", tt.user, tt.roles, tt.path, got)
		}
	}
}

// Where no rule speaks of reading, everybody reads everything; where one does, what
// none speaks of is closed.
func TestRulesThatDoNotSpeakOfReading(t *testing.T) {
	var none *Places
	if NewPlaces(nil) != nil || none.Reads() {
		t.Error("no rules are rules")
	}
	p := parsed(t, "/a write user")
	if p.Reads() || !p.Guard("", "").MayRead(tree.Path{"b"}) {
		t.Error("a rule about writing closes a place for reading")
	}
	if p = parsed(t, "/a write user", "/b read anyone"); !p.Reads() || p.Guard("ann", "").MayRead(tree.Path{"a"}) || !p.Guard("", "").MayRead(tree.Path{"b"}) {
		t.Error("what no rule speaks of is open")
	}
}

func TestViewsThatShowTheSameAreEqual(t *testing.T) {
	p := parsed(t, "/** read user", "/secret read role:desk", "/mine/{user} write user")
	all := map[View]int{}
	for _, who := range []struct {
		user  string
		roles Roles
	}{{"ann", ""}, {"ben", ""}, {"eve", "other"}, {"ann", "desk"}, {"ben", "desk,other"}, {"", ""}} {
		all[p.View(who.user, who.roles)]++
	}
	if len(all) != 3 {
		t.Errorf("there are %d views, want those of users, of the desk and of nobody", len(all))
	}
	if q := parsed(t, "/** read user", "/mine/{user} read user"); q.View("ann", "") == q.View("ben", "") || q.View("ann", "") != q.View("ann", "other") {
		t.Error("views with {user} are the same for all, or not the same for one")
	}
	if p.View("ann", "") == parsed(t, "/** read user").View("ann", "") {
		t.Error("views by other rules are equal")
	}
}

var (
	someParts = []string{"*", "{user}", "a", "b", "ann"}
	someNames = []string{"a", "b", "ann", "ben", "*", "{user}"}
)

func drawPlaces(t *rapid.T) *Places {
	var rules []string
	for range rapid.IntRange(1, 8).Draw(t, "rules") {
		var b strings.Builder
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			b.WriteString("/" + rapid.SampledFrom(someParts).Draw(t, "part"))
		}
		who := rapid.SampledFrom([]string{"anyone", "user", "server", "role:desk", "user,role:desk", "role:desk,role:other"})
		rule := b.String() + "/**"
		read, write := rapid.Bool().Draw(t, "read"), rapid.Bool().Draw(t, "write")
		if read || !write {
			rule += " read " + who.Draw(t, "readers")
		}
		if write {
			rule += " write " + who.Draw(t, "writers")
		}
		rules = append(rules, rule)
	}
	return parsed(t, rules...)
}

// What a view says of places never contradicts itself: whoever writes down what it
// shows relies on that.
func TestAViewIsConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlaces(t)
		user, roles := rapid.SampledFrom([]string{"", "ann", "ben", "*"}).Draw(t, "user"), rapid.SampledFrom([]Roles{"", "desk", "other"}).Draw(t, "roles")
		if !p.Reads() {
			return
		}
		view, guard := p.View(user, roles), p.Guard(user, roles)
		// look tells whether all of a place and what is below it is open, and whether anything is.
		var look func(path tree.Path) (all, some bool)
		look = func(path tree.Path) (all, some bool) {
			here, open := view.Sees(path), opened(p, path, user, roles)
			all, some = open, open
			for _, name := range someNames {
				if len(path) == 4 {
					break
				}
				child := append(slices.Clone(path), name)
				if guard.MayWrite(path) && !guard.MayWrite(child) {
					t.Fatalf("%q may write %s and not %s", user, path, child)
				}
				allBelow, someBelow := look(child)
				all, some = all && allBelow, some || someBelow
			}
			want := tree.Nothing
			switch {
			case all:
				want = tree.Everything
			case open:
				want = tree.Most
			case some:
				want = tree.Part
			}
			if here != want || guard.MayRead(path) != all {
				t.Fatalf("%q sees %s of %s, want %s; it may read it: %t", user, sights[here], path, sights[want], guard.MayRead(path))
			}
			return all, some
		}
		look(nil)
	})
}

// opened tells by the words of the specification whether a place is open.
func opened(p *Places, path tree.Path, user string, roles Roles) bool {
	longest, open := -1, false
	for _, rule := range p.list {
		covers := rule.read != nil && len(rule.path) <= len(path)
		for i := 0; covers && i < len(rule.path); i++ {
			part := rule.path[i]
			covers = part == "*" || part == "{user}" && user != "" && path[i] == user || part != "*" && part != "{user}" && part == path[i]
		}
		if !covers || len(rule.path) < longest {
			continue
		}
		includes := slices.ContainsFunc(rule.read, func(g Grantee) bool { return g.includes(user, roles) })
		open = includes || open && len(rule.path) == longest
		longest = len(rule.path)
	}
	return open
}

// A view shows what is open, place by place, and nothing else.
func TestAViewShowsWhatIsOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlaces(t)
		if !p.Reads() {
			return
		}
		user, roles := rapid.SampledFrom([]string{"", "ann"}).Draw(t, "user"), rapid.SampledFrom([]Roles{"", "desk"}).Draw(t, "roles")
		var value tree.Value
		var leaves []tree.Path
		for range rapid.IntRange(1, 12).Draw(t, "leaves") {
			path := tree.Path(rapid.SliceOfN(rapid.SampledFrom(someNames), 1, 4).Draw(t, "path"))
			if _, err := value.Apply([]tree.Op{{Kind: tree.Set, Path: path, Value: []byte("1")}}, tree.Limits{}, nil); err == nil {
				leaves = append(leaves, path)
			}
		}
		shown, err := tree.Parse(value.AppendView(nil, p.View(user, roles)), tree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range leaves {
			was, _ := value.Get(path)
			raw, _ := shown.Get(path)
			leaf := string(was) == "1"
			if leaf && (raw != nil) != opened(p, path, user, roles) {
				t.Fatalf("%q is shown %q at %s of %s; it is open: %t", user, raw, path, value.Append(nil), opened(p, path, user, roles))
			}
		}
	})
}
