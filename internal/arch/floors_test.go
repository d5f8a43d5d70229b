package arch

import (
	"fmt"
	"go/token"
	"slices"
	"strings"
)

const module = "github.com/skein-realtime/skein"

// A rung is one step of the ladder. A package may import what stands on lower
// rungs, and nothing else of this module: packages on one rung do not know each
// other. Several rungs make a floor where a floor has an order of its own.
type rung struct {
	floor    string
	packages []string // paths below the module; "x/*" is everything below x, "." the root
}

// ladder is the order of the house, lowest first.
var ladder = []rung{
	// The ground knows nothing of the project: any program could use it. That is
	// why it may lean on the standard library alone.
	{"0 ground", []string{"internal/fault", "internal/id", "internal/cron", "internal/retry", "internal/ratelimit", "internal/latency", "internal/machine", "internal/registry",
		"internal/pointer", "internal/term", "internal/arch"}},
	// The words that everybody uses: frames, codes, limits, names of metrics.
	{"1 words", []string{"protocol", "internal/metrics", "internal/fatigue"}},
	// Documents are made of words, and clients change them as the server does.
	{"1 tree", []string{"internal/tree"}},
	// Contracts come before what fulfils them, so that no implementation is
	// known to the code above it.
	{"2 contracts", []string{"store", "bus", "internal/auth"}},
	// The suites drive every implementation, so they know none.
	{"2 suites", []string{"store/storetest", "bus/bustest"}},
	// What is told of a store that does not work.
	{"2 outage", []string{"internal/outage"}},
	// What the stores share: the SQL of their tables.
	{"2 tables", []string{"store/internal/tables"}},
	{"2 implementations", []string{"store/*", "bus/*", "client"}},
	// The live core is a chain: bytes, a link that carries them, who listens,
	// what a connection may say, what the application may say.
	{"3 ws", []string{"internal/ws"}},
	{"3 engineio", []string{"internal/engineio"}},
	{"3 sio", []string{"internal/sio"}},
	{"3 link", []string{"internal/link"}},
	{"3 mailbox", []string{"internal/mailbox"}},
	{"3 hub", []string{"internal/hub"}},
	{"3 feed", []string{"internal/feed"}},
	{"3 document", []string{"internal/document"}},
	{"3 push", []string{"internal/push"}},
	{"3 audience", []string{"internal/audience"}},
	{"3 session", []string{"internal/session"}},
	{"3 verb", []string{"internal/verb"}},
	// A feature can be deleted: nobody but the face knows it.
	{"4 features", []string{"internal/feature/*"}},
	// Doors that are plain HTTP share what a connection behind them is, and pages how files
	// are served.
	{"5 stream", []string{"internal/edge/stream", "internal/edge/asset"}},
	// Edges turn the outside world into frames and verbs, and faults into its codes.
	{"5 edges", []string{"internal/edge/*", "source/*"}},
	// What a Go program imports.
	{"6 face", []string{"."}},
	// The product around the library, from what is embedded to what is started.
	{"7 parts", []string{"console", "internal/config", "internal/load"}},
	{"7 application", []string{"internal/app"}},
	{"7 command line", []string{"internal/cli"}},
	{"7 commands", []string{"cmd/*"}},
}

// beside the ladder stand programs and tests that may use anything and that nobody uses.
var beside = rung{"beside", []string{"spec", "spec/*", "examples/*", "bench", "bench/*", "test", "test/*"}}

// groundLibraries are the only modules the ground may use besides the standard
// library: a terminal cannot be asked for its width without one, nor a file system for its room.
var groundLibraries = map[string][]string{"internal/term": {"golang.org/x/term"}, "internal/machine": {"golang.org/x/sys"}}

// keptOut are libraries that some packages alone may use in code that is not a
// test. What is not listed here may be used everywhere above the ground.
var keptOut = map[string][]string{
	// The server has its own WebSocket layer (docs/adr/002-own-websocket-layer.md);
	// this one is for those who connect to it.
	"github.com/coder/websocket": {"client", "internal/cli", "bench", "bench/*", "test/*", "examples/*"},
	// Measuring is the benchmark's business.
	"github.com/HdrHistogram/hdrhistogram-go": {"internal/load", "bench", "bench/*"},
	// Only tests compare, generate, script and look for leaks.
	"github.com/google/go-cmp":        {"store/storetest", "bus/bustest", "test/*"},
	"pgregory.net/rapid":              {"store/storetest", "bus/bustest", "test/*"},
	"go.uber.org/goleak":              {"test/*"},
	"github.com/rogpeppe/go-internal": {"test/*"},
}

// matches tells whether path (below the module) is what pattern names.
func matches(pattern, path string) bool {
	if parent, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(path, parent+"/")
	}
	return path == pattern
}

func anyMatches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// place gives the rung of a package: len(ladder) when it stands beside, -1 when
// it has none.
func place(path string) int {
	// The ladder names store/* and bus/*, so an exact name wins over a pattern
	// simply by standing on a lower rung.
	for i, r := range ladder {
		if anyMatches(r.packages, path) {
			return i
		}
	}
	if anyMatches(beside.packages, path) {
		return len(ladder)
	}
	return -1
}

// unit is what may import itself: a feature, an edge or an implementation with
// all its folders. For any other package it is the package alone.
func unit(path string) string {
	i := place(path)
	if i < 0 || i == len(ladder) {
		// An example may have a folder of its own for what its programs share.
		if parts := strings.SplitN(path, "/", 3); parts[0] == "examples" && len(parts) > 2 {
			return parts[0] + "/" + parts[1]
		}
		return path
	}
	for _, p := range ladder[i].packages {
		if parent, ok := strings.CutSuffix(p, "/*"); ok && matches(p, path) {
			name, _, _ := strings.Cut(path[len(parent)+1:], "/")
			return parent + "/" + name
		}
	}
	return path
}

// An edge is one import in code that is not a test. Tests are free to use what
// drives the package from above, such as the client: the compiler keeps them
// from going in a circle, and they are not shipped.
type edge struct {
	from, to string // import paths below the module for from; full for to
	at       token.Position
}

// checkFloors gives a sentence for every import that the ladder does not allow
// and for every package that it does not know.
func checkFloors(packages []string, edges []edge) (wrong []string) {
	for _, p := range packages {
		if place(p) < 0 {
			wrong = append(wrong, fmt.Sprintf("package %s belongs to no floor; give it one in internal/arch/floors_test.go", p))
		}
	}
	for _, e := range edges {
		if why := e.wrong(); why != "" {
			wrong = append(wrong, fmt.Sprintf("%s: %s imports %s: %s", e.at, e.from, e.to, why))
		}
	}
	return wrong
}

func (e edge) wrong() string {
	from := place(e.from)
	to, ours := strings.CutPrefix(e.to+"/", module+"/")
	if !ours {
		return e.wrongLibrary()
	}
	to = strings.TrimSuffix(to, "/")
	if to == "" {
		to = "."
	}
	at := place(to)
	switch {
	case from < 0 || at < 0:
		return "" // said once for the package
	case unit(e.from) == unit(to):
		return ""
	case at == len(ladder):
		return "nobody imports what stands beside the floors"
	case from == len(ladder) || at < from:
		return ""
	case at == from && ladder[at].floor == "4 features":
		return "features never import each other; declare the two methods it needs as an interface and let the face pass the other one in"
	case at == from:
		return "both stand on floor " + ladder[at].floor
	}
	return fmt.Sprintf("floor %q is above floor %q", ladder[at].floor, ladder[from].floor)
}

func (e edge) wrongLibrary() string {
	first, _, _ := strings.Cut(e.to, "/")
	if !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if place(e.from) == 0 {
		if slices.ContainsFunc(groundLibraries[e.from], func(l string) bool { return within(l, e.to) }) {
			return ""
		}
		return "the ground uses the standard library alone"
	}
	for library, users := range keptOut {
		if within(library, e.to) && !anyMatches(users, e.from) {
			return "only " + strings.Join(users, ", ") + " (and tests) may use it"
		}
	}
	return ""
}

// within tells whether the package path is in the module.
func within(module, path string) bool {
	return path == module || strings.HasPrefix(path, module+"/")
}
