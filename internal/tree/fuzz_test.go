package tree_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// texts are values and near misses of them; they seed the fuzz tests.
var texts = []string{
	`null`, `{}`, `[]`, `""`, `0`, `-0`, `1.50E+3`, `true`, ` {"a" : [1 , 2] , "b" : {"c":null} } `, `{"a":{"b":{"c":[{"d":1},{"d":2}]}},"":{"":""},"é/~\"":"\ud83d"}`,
	`{"a":1,"a":2}`, `[{"a":1,"\u0061":2}]`, `{"\ud800":1,"\ud801":2}`, "\"\xff\"", "{\"\xff\":1}", `1e9999999`, `[1e-0000000]`, `{`, `[1,]`, `{"a":}`, `nul`, `"\u00"`, ` `, ``,
	`[[[[[[[[[[]]]]]]]]]]`, `{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11,"l":12,"m":13,"n":14,"o":15,"p":16,"q":17,"r":18}`,
}

// patches are lists of operations, of both kinds.
var patches = []string{
	`[{"op":"set","path":"/a/b","value":{"x":[1, 2]}},{"op":"remove","path":"/a"},{"op":"inc","path":"/n","by":1.5,"min":0,"max":1e3}]`,
	`[{"op":"append","path":"/l","value":[{}]},{"op":"append","path":"/l","value":null},{"op":"merge","path":"","value":{"a":null,"l":{"b":{"c":null}}}},{"op":"test","path":"/l","value":{"b":{}}}]`,
	`[{"op":"set","path":"","value":null},{"op":"inc","path":"","by":-9223372036854775808},{"op":"remove","path":""}]`,
	`[{"op":"set","path":"/~0~1//","value":"\ud800"},{"op":"set","path":"/\ud800","value":1},{"op":"set","path":"/~2","value":1}]`,
	`[{"op":"add","path":"/a","value":[]},{"op":"add","path":"/a/-","value":1},{"op":"copy","from":"","path":"/a"},{"op":"move","from":"/a","path":"/b"},{"op":"replace","path":"/b","value":2},{"op":"test","path":"/b","value":2.0}]`,
	`[{"op":"move","from":"/a","path":"/a/b"}]`, `[]`, `{}`, `[1]`, `[{}]`, `[{"op":"inc","path":"/a","by":"1"}]`, `[{"op":"set","path":"/a","value":{"a":1,"a":2}}]`, `[{"op":"remove","path":""}`, ``,
}

func FuzzParse(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := tree.Parse(raw, tree.Limits{Depth: 1000})
		if err != nil {
			refused := fault.Of(err)
			right := json.Valid(raw) && utf8.Valid(raw)
			known := strings.HasSuffix(refused.Message, " twice") || strings.Contains(refused.Message, "at most") || refused.Code == fault.TooLarge
			if right && !known || refused.Code != fault.BadRequest && refused.Code != fault.TooLarge {
				t.Errorf("%q is refused: %v", raw, err)
			}
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("%q is read", raw)
		}
		got := text(t, v)
		if !alikeTexts([]byte(got), raw) {
			t.Errorf("%q is read as %q", raw, got)
		}
		again := read1000(t, got)
		if text(t, again) != got || !tree.Equal([]byte(got), raw) {
			t.Errorf("%q is read again as %q", got, text(t, again))
		}
	})
}

func read1000(t *testing.T, text string) *tree.Value {
	t.Helper()
	v, err := tree.Parse([]byte(text), tree.Limits{Depth: 1000})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

// alikeTexts compares texts as encoding/json reads them, numbers by their text.
func alikeTexts(a, b []byte) bool { return bytes.Equal(encode(decode(a)), encode(decode(b))) }

func FuzzParseOps(f *testing.F)       { fuzzOps(f, tree.ParseOps, "ops") }
func FuzzParseJSONPatch(f *testing.F) { fuzzOps(f, tree.ParseJSONPatch, "json_patch") }

func fuzzOps(f *testing.F, parse func([]byte, tree.Limits) ([]tree.Op, error), field string) {
	for _, patch := range patches {
		f.Add([]byte(patch))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := parse(raw, tree.Limits{})
		if err != nil {
			e := fault.Of(err)
			if e.Code != fault.BadRequest && e.Code != fault.TooLarge || !strings.HasPrefix(e.Message, e.Field) || !strings.HasPrefix(e.Field, field) {
				t.Errorf("%q is refused with %s", raw, refusal(err))
			}
			return
		}
		if !json.Valid(raw) || len(list) == 0 {
			t.Fatalf("%q is read as %v", raw, list)
		}
		for _, op := range list {
			if again, err := tree.ParsePath(op.Path.String()); err != nil || !again.Covers(op.Path) || !op.Path.Covers(again) {
				t.Errorf("%q is read again as %q: %v", op.Path, again, err)
			}
			if op.Value != nil && !json.Valid(op.Value) || op.By != nil && !json.Valid(op.By) {
				t.Errorf("%q has the value %q", raw, op.Value)
			}
		}
	})
}

// FuzzApply carries a patch out, follows what is told, and takes it back in both ways.
func FuzzApply(f *testing.F) {
	for i, patch := range patches {
		f.Add([]byte(texts[i%9]), []byte(patch), i%2 == 0)
		f.Add([]byte(texts[9]), []byte(patch), i%2 == 1)
	}
	f.Fuzz(func(t *testing.T, value, patch []byte, secret bool) {
		v, err := tree.Parse(value, tree.Limits{})
		if err != nil {
			return
		}
		list, err := tree.ParseOps(patch, tree.Limits{})
		if err != nil {
			if list, err = tree.ParseJSONPatch(patch, tree.Limits{}); err != nil {
				return
			}
		}
		look := view(!secret, closed("/a/b"), open("/l"))
		before, visible := text(t, v), v.AppendView(nil, look)
		c, err := v.Apply(list, tree.Limits{Bytes: 1 << 16}, nil)
		after := text(t, v)
		if err != nil {
			if after != before || fault.Of(err).Code == fault.Internal {
				t.Fatalf("%s on %q is refused with %s, and it is %q", patch, before, refusal(err), after)
			}
			return
		}
		told := tree.AppendOps(nil, c.Done)
		if got := follow(t, before, told); !tree.Equal([]byte(got), []byte(after)) {
			t.Errorf("%s on %q is told as %s, which gives %q, want %q", patch, before, told, got, after)
		}
		told, _ = c.AppendOpsFor(nil, v, look)
		if got, want := follow(t, string(visible), told), v.AppendView(nil, look); !tree.Equal([]byte(got), want) {
			t.Errorf("%s on %q is told as %s, which gives %q, want %q", patch, before, told, got, want)
		}
		done, err := tree.ParseDone(tree.AppendOps(nil, c.Done))
		if err != nil {
			t.Fatal(err)
		}
		old, err := tree.ParseOld(tree.AppendOld(nil, c.Old()))
		if err != nil {
			t.Fatal(err)
		}
		undone, err := v.Undo(done, old, []tree.Touch{}, tree.Limits{})
		if err != nil {
			t.Fatalf("%s on %q: %v", patch, before, err)
		}
		if got := text(t, v); !alikeTexts([]byte(got), []byte(before)) {
			t.Errorf("%s on %q is taken back to %q", patch, before, got)
		}
		v.Revert(undone)
		v.Revert(c)
		if got := text(t, v); got != before {
			t.Errorf("%s on %q is taken back to %q", patch, before, got)
		}
	})
}
