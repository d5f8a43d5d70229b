package tree_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/tree"
)

func TestUndo(t *testing.T) {
	tests := []struct {
		name, value, patch string
		later              []string // patches of others
		want               string   // the value then, or the refusal
		told               string   // "": not looked at
	}{
		{"set", `{"a":1}`, `{"op":"set","path":"/a","value":2}`, nil, `{"a":1}`, `[{"op":"set","path":"/a","value":1}]`},
		{"set of something new", `{}`, `{"op":"set","path":"/a","value":2}`, nil, `{}`, `[{"op":"remove","path":"/a"}]`},
		{"set of something new far down", `{"z":1}`, `{"op":"set","path":"/a/b/c","value":2}`, nil, `{"z":1}`, `[{"op":"remove","path":"/a"}]`},
		{"set of the first document", `null`, `{"op":"set","path":"/a/b","value":2}`, nil, `null`, `[{"op":"remove","path":""}]`},
		{"set beside what others set", `null`, `{"op":"set","path":"/a/b","value":2}`, []string{`{"op":"set","path":"/a/c","value":3}`}, `{"a":{"c":3}}`, `[{"op":"remove","path":"/a/b"}]`},
		{"set that others have changed", `{"a":1}`, `{"op":"set","path":"/a","value":2}`, []string{`{"op":"set","path":"/a","value":3}`}, `conflict | version | version: version 2 has changed /a since`, ``},
		{"set below which others have changed", `{}`, `{"op":"set","path":"/a","value":{"b":1}}`, []string{`{"op":"set","path":"/x","value":3}`, `{"op":"inc","path":"/a/b","by":3}`}, `conflict | version | version: version 3 has changed /a since`, ``},
		{"set above which others have changed", `{"a":{}}`, `{"op":"set","path":"/a/b","value":1}`, []string{`{"op":"remove","path":"/a"}`}, `conflict | version | version: version 2 has changed /a/b since`, ``},
		{"set of the whole", `{"a":1}`, `{"op":"set","path":"","value":2}`, []string{`{"op":"set","path":"","value":{}}`}, `conflict | version | version: version 2 has changed the whole document since`, ``},
		{"remove", `{"a":{"b":[1]}}`, `{"op":"remove","path":"/a"}`, []string{`{"op":"set","path":"/ab","value":1}`}, `{"ab":1,"a":{"b":[1]}}`, `[{"op":"set","path":"/a","value":{"b":[1]}}]`},
		{"remove of the document", `{"a":1}`, `{"op":"remove","path":""}`, nil, `{"a":1}`, ``},
		{"remove after which others made it anew", `{"a":{"b":1}}`, `{"op":"remove","path":"/a"}`, []string{`{"op":"set","path":"/a/c","value":1}`}, `conflict | version | version: version 2 has changed /a since`, ``},
		{"inc", `{"n":1}`, `{"op":"inc","path":"/n","by":5}`, []string{`{"op":"inc","path":"/n","by":10}`}, `{"n":11}`, `[{"op":"inc","path":"/n","by":-5,"value":11}]`},
		{"inc by less than nothing", `{"n":1}`, `{"op":"inc","path":"/n","by":-5}`, []string{`{"op":"inc","path":"/n","by":10}`}, `{"n":11}`, ``},
		{"inc right after is an inc too", `{"n":1}`, `{"op":"inc","path":"/n","by":5}`, nil, `{"n":1}`, `[{"op":"inc","path":"/n","by":-5,"value":1}]`},
		{"inc of doubles right after", `{"n":0.1}`, `{"op":"inc","path":"/n","by":0.2}`, nil, `{"n":0.1}`, `[{"op":"set","path":"/n","value":0.1}]`},
		{"inc of what was written another way", `{"n":1.50}`, `{"op":"inc","path":"/n","by":0.5}`, nil, `{"n":1.50}`, ``},
		{"inc of null", `{"n":null}`, `{"op":"inc","path":"/n","by":5}`, nil, `{"n":null}`, ``},
		{"inc of null to which others have added", `{"n":null}`, `{"op":"inc","path":"/n","by":5}`, []string{`{"op":"inc","path":"/n","by":1}`}, `{"n":1}`, ``},
		{"inc of what was missing", `{}`, `{"op":"inc","path":"/p/n","by":5}`, nil, `{}`, `[{"op":"remove","path":"/p"}]`},
		{"inc of what was missing to which others have added", `{}`, `{"op":"inc","path":"/p/n","by":5}`, []string{`{"op":"inc","path":"/p/n","by":1}`}, `{"p":{"n":1}}`, ``},
		{"inc of what was missing to which others have added and from which they have taken", `{}`, `{"op":"inc","path":"/n","by":5}`, []string{`{"op":"inc","path":"/n","by":1}`, `{"op":"inc","path":"/n","by":-1}`}, `{"n":0}`, ``},
		{"inc of what was missing beside that of others", `{}`, `{"op":"inc","path":"/p/anna","by":5}`, []string{`{"op":"inc","path":"/p/bob","by":1}`}, `{"p":{"bob":1}}`, ``},
		{"inc that others have set", `{"n":1}`, `{"op":"inc","path":"/n","by":5}`, []string{`{"op":"inc","path":"/n","by":1}`, `{"op":"set","path":"/n","value":1}`}, `conflict | version | version: version 3 has changed /n since`, ``},
		{"inc above which others have set", `{"p":{"n":1}}`, `{"op":"inc","path":"/p/n","by":5}`, []string{`{"op":"set","path":"/p","value":{"n":1}}`}, `conflict | version | version: version 2 has changed /p/n since`, ``},
		{"inc twice", `{"n":1}`, `{"op":"inc","path":"/n","by":5},{"op":"inc","path":"/n","by":0.5}`, nil, `{"n":1}`, ``},
		{"append", `{"l":[1]}`, `{"op":"append","path":"/l","value":2}`, nil, `{"l":[1]}`, `[{"op":"set","path":"/l","value":[1]}]`},
		{"append before others", `{"l":[1]}`, `{"op":"append","path":"/l","value":{"a":2}}`, []string{`{"op":"append","path":"/l","value":3}`, `{"op":"append","path":"/l","value":{"a":2.0}}`}, `{"l":[1,3,{"a":2.0}]}`, ``},
		{"append that made the array", `{}`, `{"op":"append","path":"/x/l","value":2}`, nil, `{}`, `[{"op":"remove","path":"/x"}]`},
		{"append that made the array of null", `{"l":null}`, `{"op":"append","path":"/l","value":2},{"op":"append","path":"/l","value":2}`, nil, `{"l":null}`, `[{"op":"set","path":"/l","value":null}]`},
		{"append that made the array to which others have added", `{}`, `{"op":"append","path":"/l","value":2}`, []string{`{"op":"append","path":"/l","value":2}`}, `{"l":[2]}`, ``},
		{"append of many", `{"l":[0],"m":[]}`, `{"op":"append","path":"/l","value":1},{"op":"append","path":"/m","value":1},{"op":"append","path":"/l","value":2},{"op":"append","path":"/m","value":2}`, []string{`{"op":"append","path":"/l","value":1}`}, `{"l":[0,1],"m":[]}`, `[{"op":"set","path":"/m","value":[]},{"op":"set","path":"/l","value":[0,1]}]`},
		{"append and remove", `{"l":[0]}`, `{"op":"append","path":"/l","value":1},{"op":"remove","path":"/l"},{"op":"append","path":"/l","value":2}`, nil, `{"l":[0]}`, ``},
		{"append to what others have set", `{"l":[1]}`, `{"op":"append","path":"/l","value":2}`, []string{`{"op":"set","path":"/l","value":[1,2]}`}, `conflict | version | version: version 2 has changed /l since`, ``},
		{"merge", `{"a":{"b":1,"c":[1],"d":{}}}`, `{"op":"merge","path":"","value":{"a":{"b":null,"c":2,"e":{"f":1}},"g":null}}`, []string{`{"op":"set","path":"/a/d/x","value":1}`}, `{"a":{"c":[1],"d":{"x":1},"b":1}}`, ``},
		{"merge that others have changed", `{"a":{"b":1}}`, `{"op":"merge","path":"","value":{"a":{"b":2,"c":3}}}`, []string{`{"op":"inc","path":"/a/b","by":1}`}, `conflict | version | version: version 2 has changed /a/b since`, ``},
		{"merge far down", `null`, `{"op":"merge","path":"/a/b","value":{"c":1}}`, nil, `null`, ``},
		{"what made and removed", `{}`, `{"op":"set","path":"/x/y","value":1},{"op":"remove","path":"/x/y"}`, nil, `{}`, ``},
		{"nothing but tests", `{}`, `{"op":"test","path":"","value":{}}`, nil, `{}`, `[]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := read(t, tt.value)
			c := apply(t, v, "["+tt.patch+"]")
			later := []tree.Touch{}
			for i, patch := range tt.later {
				other := apply(t, v, "["+patch+"]")
				later = append(later, tree.Touches(other.Done, other.Old(), "version "+string(rune('2'+i)))...)
			}
			before := text(t, v)
			undone, err := v.Undo(c.Done, c.Old(), later, tree.Limits{})
			got := text(t, v)
			if err != nil {
				if got != before {
					t.Errorf("the undo is refused, but the value has become %s", got)
				}
				got = refusal(err)
			}
			if got != tt.want {
				t.Errorf("taken back it is %s, want %s", got, tt.want)
			}
			if err != nil {
				return
			}
			if told := string(tree.AppendOps(nil, undone.Done)); tt.told != "" && told != tt.told {
				t.Errorf("told is %s, want %s", told, tt.told)
			}
			if followed := follow(t, before, tree.AppendOps(nil, undone.Done)); !tree.Equal([]byte(followed), []byte(got)) {
				t.Errorf("what is told makes it %s, want %s", followed, got)
			}
			v.Revert(undone)
			if got := text(t, v); got != before {
				t.Errorf("the undo is taken back to %s, want %s", got, before)
			}
		})
	}
}

func TestAForcedUndoOverwritesWhatCameAfter(t *testing.T) {
	tests := []struct{ name, value, patch, later, want string }{
		{"set", `{"a":1}`, `{"op":"set","path":"/a","value":2}`, `{"op":"set","path":"/a","value":3}`, `{"a":1}`},
		{"set of something new that is gone", `{}`, `{"op":"set","path":"/a/b","value":2}`, `{"op":"remove","path":"/a"}`, `{}`},
		{"set of something new, above which is no object now", `{}`, `{"op":"set","path":"/a/b","value":2}`, `{"op":"set","path":"/a","value":2}`, `{"a":2}`},
		{"set of something new keeps what is beside it", `{}`, `{"op":"set","path":"/a/b","value":2}`, `{"op":"set","path":"/a","value":{"b":3,"c":4}}`, `{"a":{"c":4}}`},
		{"remove", `{"a":{"b":1}}`, `{"op":"remove","path":"/a/b"}`, `{"op":"remove","path":"/a"}`, `{"a":{"b":1}}`},
		{"inc of another number", `{"n":1}`, `{"op":"inc","path":"/n","by":5}`, `{"op":"set","path":"/n","value":100}`, `{"n":95}`},
		{"inc of what is no number any more", `{"n":1}`, `{"op":"inc","path":"/n","by":5}`, `{"op":"set","path":"/n","value":"x"}`, `{"n":1}`},
		{"inc of what is gone", `{"n":1}`, `{"op":"inc","path":"/n","by":5}`, `{"op":"remove","path":"/n"}`, `{"n":1}`},
		{"append that stands elsewhere now", `{"l":[1,2]}`, `{"op":"append","path":"/l","value":3}`, `{"op":"set","path":"/l","value":[3,4]}`, `{"l":[4]}`},
		{"appends that stand elsewhere now", `{"l":[0]}`, `{"op":"append","path":"/l","value":1},{"op":"append","path":"/l","value":2}`, `{"op":"set","path":"/l","value":[1,2]}`, `{"l":[]}`},
		{"append that is gone", `{"l":[1]}`, `{"op":"append","path":"/l","value":3}`, `{"op":"set","path":"/l","value":[]}`, `conflict | version | version: the element is not in /l any more`},
		{"append whose array is gone", `{"l":[1]}`, `{"op":"append","path":"/l","value":3}`, `{"op":"set","path":"/l","value":{}}`, `conflict | version | version: there is no array at /l any more`},
		{"append that made an array that is none any more", `{"l":null}`, `{"op":"append","path":"/l","value":3}`, `{"op":"set","path":"/l","value":{}}`, `{"l":null}`},
		{"what cannot be put back", `{"a":{"b":1}}`, `{"op":"remove","path":"/a/b"}`, `{"op":"set","path":"/a","value":[]}`, `conflict | version | version: /a is an array, and paths lead into objects only`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := read(t, tt.value)
			c := apply(t, v, "["+tt.patch+"]")
			apply(t, v, "["+tt.later+"]")
			before := text(t, v)
			_, err := v.Undo(c.Done, c.Old(), nil, tree.Limits{})
			got := text(t, v)
			if err != nil {
				if got != before {
					t.Errorf("the undo is refused, but the value has become %s", got)
				}
				got = refusal(err)
			}
			if got != tt.want {
				t.Errorf("taken back it is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAnUndoKeepsTheLimits(t *testing.T) {
	v := read(t, `{"a":"0123456789"}`)
	c := apply(t, v, `[{"op":"remove","path":"/a"}]`)
	_, err := v.Undo(c.Done, c.Old(), []tree.Touch{}, tree.Limits{Bytes: 10})
	if got, want := refusal(err), `too_large | version | version: the document would have 18 bytes; at most 10 are allowed (limits.document)`; got != want {
		t.Errorf("refused with %s, want %s", got, want)
	}
	if got := text(t, v); got != `{}` {
		t.Errorf("the value has become %s", got)
	}
	v = read(t, `{"a":{"b":{"c":{}}}}`)
	c = apply(t, v, `[{"op":"remove","path":"/a"}]`)
	_, err = v.Undo(c.Done, c.Old(), nil, tree.Limits{Depth: 2})
	if got, want := refusal(err), `too_large | version | version: the document would be nested more than 2 levels deep (limits.depth)`; got != want {
		t.Errorf("refused with %s, want %s", got, want)
	}
	_, err = v.Undo(nil, c.Old(), nil, tree.Limits{})
	if got, want := refusal(err), `internal |  | the history of the document is damaged`; got != want {
		t.Errorf("refused with %s, want %s", got, want)
	}
}

func TestTouchesNameThePlacesOfAPatch(t *testing.T) {
	v := read(t, `{"a":{"b":1}}`)
	c := apply(t, v, `[{"op":"set","path":"/x/y","value":1},{"op":"inc","path":"/n","by":1},{"op":"merge","path":"","value":{"a":{"b":null,"c":1},"z":null}}]`)
	want := []tree.Touch{
		{Path: tree.Path{"x", "y"}, Kind: tree.Set, By: "version 3"},
		{Path: tree.Path{"n"}, Kind: tree.Inc, By: "version 3"},
		{Path: tree.Path{"a", "b"}, Kind: tree.Merge, By: "version 3"},
		{Path: tree.Path{"a", "c"}, Kind: tree.Merge, By: "version 3"},
	}
	if diff := cmp.Diff(want, tree.Touches(c.Done, c.Old(), "version 3")); diff != "" {
		t.Error(diff)
	}
	if none := tree.Touches(nil, nil, ""); none == nil || len(none) > 0 {
		t.Errorf("the touches of nothing are %v, want an empty list", none)
	}
}
