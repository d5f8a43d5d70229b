package tree_test

import (
	"testing"

	"github.com/skein-realtime/skein/internal/tree"
)

// open and closed are rules of a view.
func open(pointer string) rule   { return rule{at: pointer, open: true} }
func closed(pointer string) rule { return rule{at: pointer} }

func view(whole bool, rules ...rule) tree.View {
	p := places{open: whole}
	for _, r := range rules {
		r.path, _ = tree.ParsePath(r.at)
		p.rules = append(p.rules, r)
	}
	return p
}

func TestAViewShowsWhatItSees(t *testing.T) {
	const value = `{"players":{"anna":{"hp":1,"bag":[1]},"bob":{"hp":2}},"secret":{"x":1},"word":"w","none":null}`
	tests := []struct {
		name  string
		value string
		view  tree.View
		want  string
	}{
		{"everything", value, view(true), value},
		{"nothing", value, view(false), `null`},
		{"all but one", value, view(true, closed("/secret")), `{"players":{"anna":{"hp":1,"bag":[1]},"bob":{"hp":2}},"word":"w","none":null}`},
		{"one", value, view(false, open("/word")), `{"word":"w"}`},
		{"one far down", value, view(false, open("/players/anna/hp")), `{"players":{"anna":{"hp":1}}}`},
		{"one that is not there", value, view(false, open("/players/anna/mp")), `{"players":{"anna":{}}}`},
		{"below what is no object", value, view(false, open("/word/x"), open("/none/x"), open("/players/anna/bag/0")), `{"players":{"anna":{}}}`},
		{"an array of which a place is closed", value, view(true, closed("/players/anna/bag/0"), closed("/word/x")), value},
		{"opened again below", value, view(true, closed("/players"), open("/players/bob")), `{"players":{"bob":{"hp":2}},"secret":{"x":1},"word":"w","none":null}`},
		{"a document that is no object", `[1]`, view(false, open("/a")), `null`},
		{"no document", `null`, view(true), `null`},
		{"no document of which there could be something to see", `null`, view(false, open("/a")), `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(read(t, tt.value).AppendView(nil, tt.view)); got != tt.want {
				t.Errorf("it shows\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestAViewIsToldWhatItSees(t *testing.T) {
	const value = `{"a":{"b":1,"s":1,"l":[1]},"s":{"x":1},"n":1}`
	noS := view(true, closed("/s"), closed("/a/s"))
	tests := []struct {
		name, value, patch string
		view               tree.View
		want               string // "": what was done
		sight              tree.Sight
	}{
		{"all", value, `[{"op":"inc","path":"/n","by":1},{"op":"append","path":"/a/l","value":2}]`, view(true), ``, tree.Everything},
		{"all that is beside what is closed", value, `[{"op":"inc","path":"/n","by":1},{"op":"append","path":"/a/l","value":2},{"op":"set","path":"/m","value":1}]`, noS, ``, tree.Everything},
		{"a number where below is closed", value, `[{"op":"inc","path":"/n","by":1}]`, view(true, closed("/n/x")), ``, tree.Everything},
		{"nothing", value, `[{"op":"inc","path":"/s/x","by":1},{"op":"set","path":"/a/s","value":2}]`, noS, `[]`, tree.Nothing},
		{"nothing of a merge with what is not there", value, `[{"op":"merge","path":"","value":{"s":{"z":null}}}]`, noS, `[]`, tree.Nothing},
		{"some of the operations", value, `[{"op":"inc","path":"/n","by":1},{"op":"inc","path":"/s/x","by":1},{"op":"append","path":"/a/l","value":2}]`, noS, `[{"op":"inc","path":"/n","by":1,"value":2},{"op":"append","path":"/a/l","value":2}]`, tree.Part},
		{"some of an operation", value, `[{"op":"set","path":"/a","value":{"s":2,"c":3}}]`, noS, `[{"op":"set","path":"/a","value":{"c":3}}]`, tree.Part},
		{"some of a merge", value, `[{"op":"merge","path":"","value":{"a":{"b":2,"s":2},"s":null,"n":null}}]`, noS, `[{"op":"set","path":"/a/b","value":2},{"op":"remove","path":"/n"}]`, tree.Part},
		{"the outcome of several", value, `[{"op":"set","path":"/a/c","value":1},{"op":"set","path":"/a/c","value":{"d":1}},{"op":"inc","path":"/a/c/d","by":1},{"op":"remove","path":"/s"}]`, noS, `[{"op":"set","path":"/a/c","value":{"d":2}}]`, tree.Part},
		{"what is gone", value, `[{"op":"remove","path":"/a"}]`, noS, `[{"op":"remove","path":"/a"}]`, tree.Part},
		{"what is no object any more", value, `[{"op":"set","path":"/a","value":1}]`, view(false, open("/a/b")), `[{"op":"remove","path":"/a"}]`, tree.Part},
		{"what was no object and is none", value, `[{"op":"inc","path":"/n","by":1}]`, view(false, open("/n/b")), `[]`, tree.Nothing},
		{"what is an object now", value, `[{"op":"set","path":"/n","value":{"b":1,"c":2}}]`, view(false, open("/n/b")), `[{"op":"set","path":"/n","value":{"b":1}}]`, tree.Part},
		{"the objects on the way", `null`, `[{"op":"set","path":"/a/b/c","value":1}]`, view(false, open("/a/x")), `[{"op":"set","path":"","value":{"a":{}}}]`, tree.Part},
		{"another document", value, `[{"op":"set","path":"","value":{"n":2,"s":3}}]`, noS, `[{"op":"set","path":"","value":{"n":2}}]`, tree.Part},
		{"no document any more", value, `[{"op":"remove","path":""}]`, noS, `[{"op":"remove","path":""}]`, tree.Part},
		{"no document any more that could be seen", `5`, `[{"op":"remove","path":""}]`, view(false, open("/a")), `[]`, tree.Nothing},
		{"an array that grows and goes", value, `[{"op":"append","path":"/a/l","value":2},{"op":"remove","path":"/a/l"},{"op":"remove","path":"/s"}]`, noS, `[{"op":"remove","path":"/a/l"}]`, tree.Part},
		{"an array that was and is hidden", `[1]`, `[{"op":"append","path":"","value":2}]`, view(false, open("/a")), `[]`, tree.Nothing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := read(t, tt.value)
			before := string(v.AppendView(nil, tt.view))
			c := apply(t, v, tt.patch)
			if tt.want == "" {
				tt.want = string(tree.AppendOps(nil, c.Done))
			}
			for range 2 { // what the change keeps of it serves other views
				got, sight := c.AppendOpsFor([]byte("x"), v, tt.view)
				if string(got) != "x"+tt.want || sight != tt.sight {
					t.Errorf("told is %s, %d, want %s, %d", got, sight, tt.want, tt.sight)
				}
			}
			if got, want := follow(t, before, []byte(tt.want)), string(v.AppendView(nil, tt.view)); !tree.Equal([]byte(got), []byte(want)) {
				t.Errorf("what is told makes it %s, want %s", got, want)
			}
		})
	}
}

func TestAViewIsToldOnlyTheOutcomeHoweverManyOperationsThereWere(t *testing.T) {
	v := read(t, `{"n":1,"s":0}`)
	before := string(v.AppendView(nil, view(true, closed("/s"))))
	c := apply(t, v, `[`+list(100, `{"op":"set","path":"/new","value":{"x":%d}},{"op":"inc","path":"/s","by":1},{"op":"inc","path":"/n","by":1}`)+`,{"op":"remove","path":"/new"}]`)
	told, sight := c.AppendOpsFor(nil, v, view(true, closed("/s")))
	if want := `[{"op":"set","path":"/n","value":101}]`; string(told) != want || sight != tree.Part {
		t.Errorf("told is %s, %d, want %s", told, sight, want)
	}
	if got := follow(t, before, told); got != `{"n":101}` {
		t.Errorf("what is told makes it %s", got)
	}
}
