package arch

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

func TestTheHouseKeepsItsRules(t *testing.T) {
	tree, err := read(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(tree.packages, "internal/arch") {
		t.Fatalf("the tree at %s is not this module; it has the packages %v", root, tree.packages)
	}
	for _, w := range checkFloors(tree.packages, tree.edges) {
		t.Error(w)
	}
	for _, w := range tree.wrong {
		t.Error(w)
	}
	for _, l := range tree.long {
		t.Logf("%s; %d is the aim", l, wantFunctionLine)
	}
}

func TestEveryDirectDependencyIsExplained(t *testing.T) {
	mod, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "/docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range checkDependencies(directModules(string(mod)), explainedModules(string(text))) {
		t.Error(w)
	}
}

// directModules gives what a go.mod requires without "// indirect".
func directModules(mod string) (direct []string) {
	for _, r := range requirement.FindAllStringSubmatch(mod, -1) {
		direct = append(direct, r[1])
	}
	return direct
}

var (
	requirement = regexp.MustCompile(`(?m)^(?:require|\t)\s*(\S+) v\S+$`)
	section     = regexp.MustCompile(`(?ms)^## Go modules$(.*?)(^## |\z)`)
	row         = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$")
)

// explainedModules gives the modules of the table under "## Go modules" that
// have a reason next to them.
func explainedModules(text string) (names []string) {
	found := section.FindStringSubmatch(text)
	if found == nil {
		return nil
	}
	for _, r := range row.FindAllStringSubmatch(found[1], -1) {
		if strings.TrimSpace(r[2]) != "" {
			names = append(names, r[1])
		}
	}
	return names
}

func checkDependencies(direct, explained []string) (wrong []string) {
	for _, m := range direct {
		if !slices.Contains(explained, m) {
			wrong = append(wrong, m+" is required directly by go.mod but has no line in docs/dependencies.md")
		}
	}
	for _, m := range explained {
		if !slices.Contains(direct, m) {
			wrong = append(wrong, m+" has a line in docs/dependencies.md but go.mod does not require it directly")
		}
	}
	return wrong
}

// snippet makes a tree of one Go file.
func snippet(name, src string) fstest.MapFS {
	return fstest.MapFS{name: &fstest.MapFile{Data: []byte(src)}}
}

func importing(name string, imports ...string) fstest.MapFS {
	src := "package p\n"
	for _, i := range imports {
		src += fmt.Sprintf("import _ %q\n", i)
	}
	return snippet(name, src)
}

func TestFloorRulesCanFail(t *testing.T) {
	for _, tc := range []struct {
		name string
		tree fstest.MapFS
		want string // part of the one complaint; "" for none
	}{
		{"a lower floor is fine", importing("internal/hub/h.go", module+"/internal/link", module+"/protocol"), ""},
		{"a higher floor", importing("protocol/p.go", module+"/internal/hub"), `floor "3 hub" is above floor "1 words"`},
		{"the order inside the live core", importing("internal/ws/w.go", module+"/internal/link"), `floor "3 link" is above floor "3 ws"`},
		{"the face from below", importing("internal/session/s.go", module), `floor "6 face" is above`},
		{"two features", importing("internal/feature/chat/c.go", module+"/internal/feature/inbox"), "features never import each other"},
		{"folders of one feature", importing("internal/feature/chat/c.go", module+"/internal/feature/chat/mark"), ""},
		{"two edges", importing("internal/edge/sse/s.go", module+"/internal/edge/websocket"), "both stand on floor 5 edges"},
		{"an implementation and its contract", importing("store/sqlite/s.go", module+"/store"), ""},
		{"a contract and its implementation", importing("store/s.go", module+"/store/sqlite"), "is above floor"},
		{"two implementations", importing("bus/nats/n.go", module+"/bus/local"), "both stand on floor"},
		{"the ground and another ground", importing("internal/retry/r.go", module+"/internal/fault"), "both stand on floor 0 ground"},
		{"a library on the ground", importing("internal/id/i.go", "golang.org/x/sys/unix"), "the standard library alone"},
		{"the terminal's library", importing("internal/term/t.go", "golang.org/x/term"), ""},
		{"a WebSocket library in the server", importing("internal/link/l.go", "github.com/coder/websocket/wsjson"), "only client,"},
		{"a test library outside tests", importing("internal/hub/h.go", "github.com/google/go-cmp/cmp"), "(and tests) may use it"},
		{"a test library in a test", importing("internal/hub/h_test.go", "github.com/google/go-cmp/cmp"), ""},
		{"what stands beside", importing("cmd/skein/m.go", module+"/bench"), "nobody imports what stands beside"},
		{"from beside", importing("bench/b.go", module+"/internal/hub", module+"/internal/app"), ""},
		{"a package without a floor", importing("internal/util/u.go"), "package internal/util belongs to no floor"},
		{"a folder that is its own module", fstest.MapFS{
			"tools/x/go.mod": {Data: []byte("module x\n")}, "tools/x/x.go": {Data: []byte("package x\n")},
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree, err := read(tc.tree)
			if err != nil {
				t.Fatal(err)
			}
			one(t, checkFloors(tree.packages, tree.edges), tc.want)
		})
	}
}

func TestSourceRulesCanFail(t *testing.T) {
	body := func(lines int) string {
		return "package p\nfunc f() {\n" + strings.Repeat("\tprintln()\n", lines-2) + "}\n"
	}
	test := func(statement string) string {
		return "package p\nfunc TestX(t *testing.T) {\n" + statement + "\n}\n"
	}
	for _, tc := range []struct {
		name, file, src, want string
	}{
		{"a file of 600 lines", "p/p.go", "package p\n" + strings.Repeat("//\n", 598) + "//", ""},
		{"a file of 601 lines", "p/p.go", "package p\n" + strings.Repeat("//\n", 599) + "//", "the file has 601 lines"},
		{"a generated file", "p/p.go", "// Code generated by x. DO NOT EDIT.\npackage p\n" + strings.Repeat("//\n", 700), ""},
		{"a long test file", "p/p_test.go", "package p\n" + strings.Repeat("//\n", 700), ""},
		{"a function of 120 lines", "p/p.go", body(120), ""},
		{"a function of 121 lines", "p/p.go", body(121), "f has 121 lines"},
		{"an init function", "p/p.go", "package p\nfunc init() {}\n", "an init function runs"},
		{"a method called init", "p/p.go", "package p\nfunc (t T) init() {}\n", ""},
		{"a test that sleeps", "p/p_test.go", test("time.Sleep(1)"), "a test that sleeps"},
		{"a helper that sleeps in a test file", "p/p_test.go", "package p\nfunc wait() { func() { time.Sleep(1) }() }\n", "a test that sleeps"},
		{"a bubble that moves its clock", "p/p_test.go", test("synctest.Test(t, func(t *testing.T) { time.Sleep(1) })"), ""},
		{"a sleep after a bubble", "p/p_test.go", test("synctest.Test(t, func(t *testing.T) {}); time.Sleep(1)"), "a test that sleeps"},
		{"code that sleeps", "p/p.go", "package p\nfunc f() { time.Sleep(1) }\n", ""},
		{"a test that skips", "p/p_test.go", test(`t.Skip("no browser")`), "no test skips"},
		{"a fuzz test that skips", "p/p_test.go", test("f.SkipNow()"), "no test skips"},
		{"another Skip", "p/p_test.go", test("reader.Skip(4)"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tree, err := read(snippet(tc.file, tc.src))
			if err != nil {
				t.Fatal(err)
			}
			one(t, tree.wrong, tc.want)
		})
	}
}

func TestAFunctionOverTheAimIsTold(t *testing.T) {
	tree, err := read(snippet("p/p.go", "package p\nfunc f() {\n"+strings.Repeat("\tprintln()\n", 99)+"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	one(t, tree.long, "f has 101 lines")
	one(t, tree.wrong, "")
}

func TestDependencyRuleCanFail(t *testing.T) {
	explained := explainedModules("# Dependencies\n\n## Go modules\n\n| module | why |\n| --- | --- |\n" +
		"| `example.com/a` | because |\n| `example.com/empty` |  |\n\n## Others\n\n| `example.com/elsewhere` | not a module |\n")
	if want := []string{"example.com/a"}; !slices.Equal(explained, want) {
		t.Fatalf("explained modules = %v, want %v", explained, want)
	}
	direct := directModules("module m\n\nrequire example.com/one v1.0.0\n\nrequire (\n\texample.com/two/v2 v2.0.0\n\texample.com/three v1.0.0 // indirect\n)\n")
	if want := []string{"example.com/one", "example.com/two/v2"}; !slices.Equal(direct, want) {
		t.Fatalf("direct modules = %v, want %v", direct, want)
	}
	one(t, checkDependencies([]string{"example.com/a"}, explained), "")
	one(t, checkDependencies([]string{"example.com/a", "example.com/b"}, explained), "example.com/b is required directly")
	one(t, checkDependencies(nil, explained), "example.com/a has a line")
}

// one checks that there is exactly one complaint and that it contains want, or none when want is empty.
func one(t *testing.T, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) == 0:
	case want != "" && len(got) == 1 && strings.Contains(got[0], want):
	default:
		t.Errorf("complaints: %q, want one with %q", got, want)
	}
}
