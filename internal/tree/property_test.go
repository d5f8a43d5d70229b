package tree_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/tree"
)

var (
	drawName   = rapid.SampledFrom([]string{"a", "a", "a", "b", "b", "c", "", "x/y~", "é\"\\\n", "-"})
	drawNumber = rapid.SampledFrom([]string{"0", "1", "2", "-3", "1.0", "0.1", "-0.25", "1e2", "9007199254740993", "-9223372036854775808", "9223372036854775807", "123456789012345678901234567890", "-0"})
	drawLeaf   = rapid.OneOf(drawNumber, rapid.SampledFrom([]string{"null", "true", "false", `""`, `"x"`, `"\u0078"`, `"é\n"`, `{}`, `[]`}))
	drawPath   = rapid.Custom(func(t *rapid.T) tree.Path { return rapid.SliceOfN(drawName, 0, 3).Draw(t, "names") })
)

// drawValue gives a text, spaces included.
func drawValue(t *rapid.T, depth int) []byte {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth == 0 || kind < 3 {
		return []byte(drawLeaf.Draw(t, "leaf"))
	}
	space := rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space")
	if kind == 3 {
		items := make([][]byte, rapid.IntRange(0, 3).Draw(t, "elements"))
		for i := range items {
			items[i] = drawValue(t, depth-1)
		}
		return append(append([]byte("["+space), bytes.Join(items, []byte(","+space))...), space+"]"...)
	}
	most := 4
	if rapid.IntRange(0, 9).Draw(t, "many") == 0 {
		most = 30 // enough for an index
	}
	names := rapid.SliceOfNDistinct(rapid.OneOf(drawName, rapid.StringMatching(`[a-z]{1,2}`)), 0, most, rapid.ID).Draw(t, "names")
	members := make([][]byte, len(names))
	for i, name := range names {
		members[i] = append(append(encode(name), space+":"...), drawValue(t, depth-1)...)
	}
	return append(append([]byte("{"+space), bytes.Join(members, []byte(","+space))...), space+"}"...)
}

func drawOp(t *rapid.T, kinds []string) tree.Op {
	op := tree.Op{Kind: rapid.SampledFrom(kinds).Draw(t, "op"), Path: drawPath.Draw(t, "path")}
	switch op.Kind {
	case tree.Remove:
	case tree.Inc:
		op.By = []byte(drawNumber.Draw(t, "by"))
		if rapid.IntRange(0, 4).Draw(t, "bounded") == 0 {
			op.Min = []byte(drawNumber.Draw(t, "min"))
		}
		if rapid.IntRange(0, 4).Draw(t, "bounded") == 0 {
			op.Max = []byte(drawNumber.Draw(t, "max"))
		}
	case tree.Move, tree.Copy:
		op.From = drawPath.Draw(t, "from")
	default:
		op.Value = drawValue(t, 2)
	}
	return op
}

var (
	allKinds  = []string{tree.Set, tree.Set, tree.Remove, tree.Inc, tree.Append, tree.Merge, tree.Merge, tree.Test, tree.Add, tree.Replace, tree.Move, tree.Copy}
	someKinds = []string{tree.Set, tree.Remove, tree.Inc, tree.Inc, tree.Append, tree.Append}
)

func drawPatch(t *rapid.T, kinds []string) []tree.Op {
	list := make([]tree.Op, rapid.IntRange(1, 5).Draw(t, "operations"))
	for i := range list {
		list[i] = drawOp(t, kinds)
	}
	return list
}

func parse(t *rapid.T, text []byte) *tree.Value {
	v, err := tree.Parse(text, tree.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// whole is the value, after a look at its inside.
func whole(t *rapid.T, v *tree.Value) string {
	if err := v.Check(); err != nil {
		t.Fatal(err)
	}
	text := v.Append(nil)
	if v.Size() != len(text) {
		t.Fatalf("Size is %d, but the text has %d bytes: %s", v.Size(), len(text), text)
	}
	return string(text)
}

// places is a view by rules: the longest that covers a place counts.
type places struct {
	rules []rule
	open  bool // where no rule is
}

type rule struct {
	at   string // as it is written; "" where it does not matter
	path tree.Path
	open bool
}

func (p places) Sees(path tree.Path) tree.Sight {
	open, longest, opens, closes := p.open, -1, false, false
	for _, r := range p.rules {
		switch {
		case r.path.Covers(path) && len(r.path) > longest:
			open, longest = r.open, len(r.path)
		case len(r.path) > len(path) && path.Covers(r.path):
			opens, closes = opens || r.open, closes || !r.open
		}
	}
	switch {
	case open && closes:
		return tree.Most
	case open:
		return tree.Everything
	case opens:
		return tree.Part
	}
	return tree.Nothing
}

func drawView(t *rapid.T) tree.View {
	p := places{open: rapid.Bool().Draw(t, "open")}
	for range rapid.IntRange(0, 4).Draw(t, "rules") {
		p.rules = append(p.rules, rule{path: drawPath.Draw(t, "rule"), open: rapid.Bool().Draw(t, "open")})
	}
	return p
}

// check looks at a property a few thousand times.
func check(t *testing.T, property func(*rapid.T)) {
	for range 20 {
		rapid.Check(t, property)
	}
}

// applied is a change that may still be taken back.
type applied struct {
	change *tree.Change
	before string
}

func TestAValueDoesWhatTheModelDoes(t *testing.T) {
	check(t, func(t *rapid.T) {
		start := drawValue(t, 3)
		v, model := parse(t, start), decode(start)
		if got, want := whole(t, v), model; !alike(decode([]byte(got)), want) {
			t.Fatalf("%s is read as %s", start, got)
		}
		var stack []applied
		var models []any
		for range rapid.IntRange(1, 8).Draw(t, "patches") {
			if back := rapid.IntRange(-3, len(stack)).Draw(t, "back"); back > 0 {
				for range back {
					last := stack[len(stack)-1]
					v.Revert(last.change)
					if got := whole(t, v); got != last.before {
						t.Fatalf("taken back it is\n%s, want\n%s", got, last.before)
					}
					model = models[len(models)-1]
					stack, models = stack[:len(stack)-1], models[:len(models)-1]
				}
			}
			before, was := whole(t, v), model
			list := drawPatch(t, allKinds)
			view := drawView(t)
			visible := v.AppendView(nil, view)
			change, err := v.Apply(list, tree.Limits{}, nil)
			var want error
			model, want = doAll(model, list)
			after := whole(t, v)
			if class(err) != want {
				t.Fatalf("%v on %s: %v, want %v", list, before, err, want)
			}
			if !alike(decode([]byte(after)), model) {
				t.Fatalf("%v on %s gives\n%s, want\n%s", list, before, after, encode(model))
			}
			if err != nil {
				if after != before {
					t.Fatalf("%v is refused, but %s has become %s", list, before, after)
				}
				continue
			}
			checkTold(t, list, before, after, change)
			checkView(t, v, view, was, model, visible, change)
			checkRead(t, change)
			stack, models = append(stack, applied{change, before}), append(models, was)
		}
		for i := len(stack) - 1; i >= 0; i-- {
			v.Revert(stack[i].change)
			if got := whole(t, v); got != stack[i].before {
				t.Fatalf("taken back it is\n%s, want\n%s", got, stack[i].before)
			}
		}
	})
}

// checkTold carries out what is told as a client does.
func checkTold(t *rapid.T, list []tree.Op, before, after string, change *tree.Change) {
	got := carried(t, []byte(before), tree.AppendOps(nil, change.Done))
	if !tree.Equal([]byte(got), []byte(after)) {
		t.Fatalf("%v on %s is told as %s, which gives\n%s, want\n%s", list, before, tree.AppendOps(nil, change.Done), got, after)
	}
}

// carried is what becomes of a text by operations that are told.
func carried(t *rapid.T, before, told []byte) string {
	v := parse(t, before)
	done, err := tree.ParseDone(told)
	if err != nil {
		t.Fatalf("%s: %v", told, err)
	}
	for i := range done {
		op := done[i].Op
		if op.Kind == tree.Inc { // nobody counts again
			op = tree.Op{Kind: tree.Set, Path: op.Path, Value: done[i].Result}
		}
		if _, err := v.Apply([]tree.Op{op}, tree.Limits{}, nil); err != nil {
			t.Fatalf("%s on %s: %v", told, before, err)
		}
	}
	return whole(t, v)
}

// checkView compares what a view is told with what it shows.
func checkView(t *rapid.T, v *tree.Value, view tree.View, was, is any, before []byte, change *tree.Change) {
	after := v.AppendView(nil, view)
	for _, pair := range []struct {
		model any
		text  []byte
	}{{was, before}, {is, after}} {
		want, _ := shown(pair.model, view, nil)
		if !alike(decode(pair.text), want) {
			t.Fatalf("%+v shows %s, want %s", view, pair.text, encode(want))
		}
	}
	told, sight := change.AppendOpsFor(nil, v, view)
	if got := carried(t, before, told); !tree.Equal([]byte(got), after) {
		t.Fatalf("%+v is told %s on %s, which gives\n%s, want\n%s", view, told, before, got, after)
	}
	switch {
	case sight == tree.Everything && !bytes.Equal(told, tree.AppendOps(nil, change.Done)),
		sight == tree.Nothing && string(told) != "[]",
		sight == tree.Part && string(told) == "[]":
		t.Fatalf("%+v is told %s of %s, which should be %d", view, told, tree.AppendOps(nil, change.Done), sight)
	}
	// What is not to be seen is not told: all names and texts are in one of the two.
	done, err := tree.ParseDone(told)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range done {
		if view.Sees(d.Path) == tree.Nothing {
			t.Fatalf("%+v is told %s", view, told)
		}
		value := d.Value
		if d.Kind == tree.Append {
			value = slices.Concat([]byte("["), value, []byte("]")) // of an array all is shown or nothing
		}
		if value != nil && view.Sees(d.Path) != tree.Everything && !tree.Equal(value, seen(value, view, d.Path)) {
			t.Fatalf("%+v is told %s", view, told)
		}
	}
}

// seen is what a view shows of a value at a path.
func seen(value []byte, view tree.View, path tree.Path) []byte {
	what, _ := shown(decode(value), view, path)
	return encode(what)
}

// checkRead reads back what is written of a change.
func checkRead(t *rapid.T, change *tree.Change) {
	done, err := tree.ParseDone(tree.AppendOps(nil, change.Done))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(change.Done, done, sameWhenEmpty); diff != "" {
		t.Fatal(diff)
	}
	old, err := tree.ParseOld(tree.AppendOld(nil, change.Old()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(change.Old(), old, sameWhenEmpty); diff != "" {
		t.Fatal(diff)
	}
}

// An empty path and none are the same, and so are lists of nothing.
var sameWhenEmpty = cmp.Options{
	cmp.FilterValues(func(a, b tree.Path) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore()),
	cmp.FilterValues(func(a, b []tree.Done) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore()),
	cmp.FilterValues(func(a, b []tree.Old) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore()),
}

// version is what a history knows of a patch.
type version struct {
	ops  []tree.Op
	done []tree.Done
	old  []tree.Old
}

// stored is a change after it was written and read.
func stored(t *rapid.T, list []tree.Op, change *tree.Change) version {
	done, err := tree.ParseDone(tree.AppendOps(nil, change.Done))
	if err != nil {
		t.Fatal(err)
	}
	old, err := tree.ParseOld(tree.AppendOld(nil, change.Old()))
	if err != nil {
		t.Fatal(err)
	}
	return version{list, done, old}
}

func TestAnUndoRightAfterGivesTheFormerValue(t *testing.T) {
	check(t, func(t *rapid.T) {
		v := parse(t, drawValue(t, 3))
		before := whole(t, v)
		list := drawPatch(t, allKinds)
		change, err := v.Apply(list, tree.Limits{}, nil)
		if err != nil {
			return
		}
		after := whole(t, v)
		p := stored(t, list, change)
		later := rapid.SampledFrom([][]tree.Touch{nil, {}}).Draw(t, "later")
		undone, err := v.Undo(p.done, p.old, later, tree.Limits{})
		if err != nil {
			t.Fatalf("%v on %s: %v", list, before, err)
		}
		exact := decode([]byte(whole(t, v)))
		if !bytes.Equal(encode(exact), encode(decode([]byte(before)))) {
			t.Fatalf("%v on %s is taken back to\n%s", list, before, encode(exact))
		}
		if got := carried(t, []byte(after), tree.AppendOps(nil, undone.Done)); !tree.Equal([]byte(got), []byte(before)) {
			t.Fatalf("taking %v back is told as %s, which gives\n%s, want\n%s", list, tree.AppendOps(nil, undone.Done), got, before)
		}
		back := stored(t, nil, undone)
		v2 := parse(t, []byte(whole(t, v)))
		if _, err := v2.Undo(back.done, back.old, later, tree.Limits{}); err != nil {
			t.Fatalf("the undo of %v on %s cannot be undone: %v", list, before, err)
		}
		if got := whole(t, v2); !bytes.Equal(encode(decode([]byte(got))), encode(decode([]byte(after)))) {
			t.Fatalf("the undo of %v on %s is undone to\n%s, want\n%s", list, before, got, after)
		}
		v.Revert(undone)
		if got := whole(t, v); got != after {
			t.Fatalf("the undo of %v on %s is taken back to\n%s, want\n%s", list, before, got, after)
		}
	})
}

// overlap tells whether two patches without merges have changed a place that both
// care for.
func overlap(a, b []tree.Done) bool {
	for i := range a {
		for k := range b {
			x, y := &a[i], &b[k]
			if x.Kind == y.Kind && (x.Kind == tree.Inc || x.Kind == tree.Append) && slices.Equal(x.Path, y.Path) {
				continue
			}
			if x.Path.Covers(y.Path) || y.Path.Covers(x.Path) {
				return true
			}
		}
	}
	return false
}

// bare is a model without its empty objects: who made them is not asked.
func bare(v any) any {
	if v = bareMember(v); v != nil && alike(v, map[string]any{}) {
		return nil
	}
	return v
}

func bareMember(v any) any {
	o, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for name, member := range o {
		if member := bareMember(member); member == nil || !alike(member, map[string]any{}) {
			out[name] = member
		}
	}
	return out
}

func TestAnUndoKeepsWhatCameAfterItOrIsAConflict(t *testing.T) {
	integers := rapid.SampledFrom([]string{"1", "2", "-5", "9223372036854775807"})
	check(t, func(t *rapid.T) {
		start := drawValue(t, 3)
		v := parse(t, start)
		kinds, merges := someKinds, rapid.Bool().Draw(t, "merges")
		if merges {
			kinds = append([]string{tree.Merge, tree.Merge}, someKinds...)
		}
		var list []version
		for range rapid.IntRange(2, 6).Draw(t, "patches") {
			ops := make([]tree.Op, rapid.IntRange(1, 3).Draw(t, "operations"))
			for i := range ops {
				ops[i] = drawOp(t, kinds)
				switch {
				case ops[i].Kind == tree.Merge && bytes.ContainsAny(ops[i].Value, "l{"):
					// What a merge with null or an empty object does depends on what is there.
					ops[i].Value = slices.Concat([]byte(`{"a":`), []byte(integers.Draw(t, "a")), []byte(`,"b":{"c":[],"a":true}}`))
				case ops[i].Kind == tree.Inc:
					ops[i] = tree.Op{Kind: tree.Inc, Path: ops[i].Path, By: []byte(integers.Draw(t, "by"))}
				}
			}
			if change, err := v.Apply(ops, tree.Limits{}, nil); err == nil {
				list = append(list, stored(t, ops, change))
			}
		}
		if len(list) < 2 {
			return
		}
		at := rapid.IntRange(0, len(list)-2).Draw(t, "version")
		later, disturbed, float := []tree.Touch{}, false, false
		for _, p := range list[at+1:] {
			later = append(later, tree.Touches(p.done, p.old, "another patch")...)
			disturbed = disturbed || overlap(list[at].done, p.done)
		}
		for _, p := range list {
			for _, o := range p.old { // doubles are rounded on another way
				float = float || p.done[o.Op].Kind == tree.Inc && bytes.ContainsAny(o.Value, ".eE")
			}
		}
		before := whole(t, v)
		_, err := v.Undo(list[at].done, list[at].old, later, tree.Limits{})
		if !merges && disturbed != (class(err) == errConflict) || err != nil && class(err) != errConflict {
			t.Fatalf("%v and after it %v on %s is taken back with: %v", list[at], list[at+1:], start, err)
		}
		if err != nil {
			if got := whole(t, v); got != before {
				t.Fatalf("the undo is refused, but %s has become %s", before, got)
			}
			return
		}
		want := decode(start)
		for i, p := range list {
			if i == at {
				continue
			}
			if want, err = doAll(want, p.ops); err != nil {
				return // it needs what was taken back
			}
		}
		if got := decode([]byte(whole(t, v))); !float && !alike(bare(got), bare(want)) {
			t.Fatalf("%v and after it %v on %s is taken back to\n%s, want\n%s", list[at], list[at+1:], start, encode(got), encode(want))
		}
	})
}
