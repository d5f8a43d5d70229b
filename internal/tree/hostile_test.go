package tree_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/tree"
)

// soon fails a test that takes far longer than it does where cost grows with size
// alone: where it grows with the square, the sizes here take minutes.
func soon(t *testing.T) {
	start := time.Now()
	t.Cleanup(func() {
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

var unbounded = tree.Limits{Ops: 1 << 20}

// list writes n texts with commas between them.
func list(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func must(t *testing.T, v *tree.Value, patch string) *tree.Change {
	t.Helper()
	ops, err := tree.ParseOps([]byte(patch), unbounded)
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Apply(ops, unbounded, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMergesOfManyMembersCostByTheirSize(t *testing.T) {
	soon(t)
	const n = 100_000
	v := read(t, `{"o":{},"s":1}`)
	before := text(t, v)
	add := must(t, v, `[{"op":"merge","path":"","value":{"s":2,"o":{`+list(n, `"m%d":{"x":1}`)+`}}}]`)
	middle := text(t, v)
	look := view(true, closed("/s"), closed("/o/m7/x"))
	if told, sight := add.AppendOpsFor(nil, v, look); sight != tree.Part || len(told) < n {
		t.Errorf("told is %.100s, %d", told, sight)
	}
	drop := must(t, v, `[{"op":"merge","path":"/o","value":{`+list(n, `"m%d":null`)+`}}]`)
	if told, sight := drop.AppendOpsFor(nil, v, look); sight != tree.Part || len(told) < n {
		t.Errorf("told is %.100s, %d", told, sight)
	}
	if got := text(t, v); got != `{"o":{},"s":2}` {
		t.Errorf("the value is %.200s", got)
	}
	// What came later changed as many places, of which none is theirs.
	later := tree.Touches(drop.Done, drop.Old(), "x")
	for i := range later {
		later[i].Path = append(tree.Path{"p"}, later[i].Path...)
	}
	undone, err := v.Undo(drop.Done, drop.Old(), later, tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, v); len(got) != len(middle) {
		t.Errorf("taken back the value is %.200s", got)
	}
	v.Revert(undone)
	v.Revert(drop)
	if text(t, v) != middle {
		t.Error("taken back it is another text")
	}
	v.Revert(add)
	if got := text(t, v); got != before {
		t.Errorf("taken back it is %.200s", got)
	}
}

func TestManyOperationsCostByTheirNumber(t *testing.T) {
	soon(t)
	const n = 100_000
	v := read(t, `{"o":{},"l":[]}`)
	before := text(t, v)
	set := must(t, v, `[`+list(n, `{"op":"set","path":"/o/m%d","value":1}`)+`]`)
	appended := must(t, v, `[`+list(n, `{"op":"append","path":"/l","value":{"n":%d}}`)+`]`)
	remove := must(t, v, `[`+list(n-3, `{"op":"remove","path":"/o/m%d"}`)+`]`)
	if got, want := text(t, v), fmt.Sprintf(`{"o":{"m%d":1,"m%d":1,"m%d":1},"l":[%s]}`, n-3, n-2, n-1, list(n, `{"n":%d}`)); got != want {
		t.Errorf("the value is %.100s", got)
	}
	if told, sight := appended.AppendOpsFor(nil, v, view(false, open("/l"))); sight != tree.Everything || len(told) < n {
		t.Errorf("told is %.100s, %d", told, sight)
	}
	undone, err := v.Undo(appended.Done, appended.Old(), tree.Touches(remove.Done, remove.Old(), "x"), tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(tree.AppendOps(nil, undone.Done)), `[{"op":"set","path":"/l","value":[]}]`; got != want {
		t.Errorf("told is %.100s, want %s", got, want)
	}
	for _, c := range []*tree.Change{undone, remove, appended, set} {
		v.Revert(c)
	}
	if got := text(t, v); got != before {
		t.Errorf("taken back the value is %.100s", got)
	}
}

func TestTestsCostByTheSizeOfTheirOwnValue(t *testing.T) {
	soon(t)
	// 60 levels of arrays and objects around a large array.
	around := func(inside string) string {
		return strings.Repeat(`[{"b":1,"a":`, 30) + inside + strings.Repeat(`}]`, 30)
	}
	turned := func(inside string) string {
		return strings.Repeat(`[{"a":`, 30) + inside + strings.Repeat(`,"b":1}]`, 30)
	}
	numbers := "[" + list(100_000, `%d`) + "]"
	v := read(t, `{"v":`+around(numbers)+`}`)
	if _, err := v.Apply(ops(t, `[{"op":"test","path":"/v","value":`+turned(numbers)+`}]`), tree.Limits{}, nil); err != nil {
		t.Error(err)
	}
	last := strings.TrimSuffix(numbers, "]") + ",0]"
	if _, err := v.Apply(ops(t, `[{"op":"test","path":"/v","value":`+turned(last)+`}]`), tree.Limits{}, nil); class(err) != errConflict {
		t.Errorf("%v, want a conflict", err)
	}
	small := ops(t, `[{"op":"test","path":"/v","value":`+turned(`[]`)+`}]`)
	for range 4_000 {
		if _, err := v.Apply(small, tree.Limits{}, nil); class(err) != errConflict {
			t.Fatalf("%v, want a conflict", err)
		}
	}
}

func TestWhatStandsTwiceIsFoundAmongMany(t *testing.T) {
	soon(t)
	const n = 200_000
	members := list(n, `"m%d":1`)
	for _, text := range []string{"{" + members + `,"m7":1}`, "[{" + members + `,"m7":1}]`} {
		if _, err := tree.Parse([]byte(text), tree.Limits{}); class(err) != errBad {
			t.Errorf("%v, want a bad request", err)
		}
	}
	nested := strings.Repeat(`[{"a":`, 30) + "[" + list(n, `{"a":%d,"b":[]}`) + "]" + strings.Repeat(`}]`, 30)
	if got := text(t, read(t, nested)); got != nested {
		t.Error("it is read as another text")
	}
}

func TestHugeNumbersCostByTheirText(t *testing.T) {
	soon(t)
	nines := strings.Repeat("9", 999)
	v := read(t, `{"n":0,"e":1e999999}`)
	patch := ops(t, `[{"op":"inc","path":"/n","by":`+nines+`,"max":1e999999,"min":-1e999999},{"op":"inc","path":"/n","by":-`+nines+`},
		{"op":"test","path":"/e","value":10e999998},{"op":"test","path":"/e","value":0.`+strings.Repeat("0", 900)+`1e999999}]`)
	for range 2_000 {
		_, err := v.Apply(patch, tree.Limits{}, nil)
		if got, want := refusal(err), "conflict | ops[3].value | ops[3].value: it is not what is at /e"; got != want {
			t.Fatalf("refused with %s, want %s", got, want)
		}
	}
}
