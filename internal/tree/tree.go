// Package tree is one JSON value that is changed a little at a time: the value of
// a document, and the operations on it (spec/documents.md).
//
// Numbers keep the text that they came in. Each change costs by its own size and
// by the length of its path, not by the size of the value, and can be taken back
// as long as nothing has happened since. The package knows nothing of versions,
// channels and rights; who may change what it asks a [Guard]. It stores nothing
// and starts nothing. A Value is for one goroutine at a time.
//
// Nothing that is kept lies in a buffer of the caller's: texts are copied on the
// way in, and those of a [Change] are its own. Paths are kept as they are given,
// and must not be changed afterwards.
package tree

import (
	"github.com/skein-realtime/skein/internal/fault"
)

// Bounds of what a value may hold beside those of [Limits]: without them a short
// text could stand for a number of any size.
const (
	maxNumber   = 1000 // bytes of a number without its sign
	maxExponent = 6    // digits of its exponent
)

// Limits bound a value.
type Limits struct {
	Bytes int // of its JSON text; zero: no bound
	Depth int // of nesting; zero: 64
	Ops   int // operations of a patch; zero: 1000
}

// Or gives the limits with the zeros filled in.
func (l Limits) Or() Limits {
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Ops == 0 {
		l.Ops = 1000
	}
	return l
}

// Value is one JSON value. The zero value is null, which is also what stands for
// nothing at all.
type Value struct{ root *node }

// Parse reads a value. Its errors name no field: they say what is wrong with the
// text.
func Parse(raw []byte, limits Limits) (*Value, error) {
	n, err := parse(raw, limits.Or().Depth, true)
	if err != nil {
		return nil, err
	}
	if size := n.size(); size > limits.Bytes && limits.Bytes > 0 {
		return nil, fault.New(fault.TooLarge, "has %d bytes; at most %d are allowed in a document (limits.document)", size, limits.Bytes)
	}
	v := &Value{}
	v.put(n)
	return v, nil
}

func (v *Value) put(n *node) {
	if n != nil && n.isNull() {
		n = nil
	}
	v.root = n
}

// IsNull tells that there is no value.
func (v *Value) IsNull() bool { return v.root == nil }

// Size is the length of the value's text in bytes.
func (v *Value) Size() int {
	if v.root == nil {
		return len("null")
	}
	return v.root.size()
}

// Append appends the value as JSON without spaces.
func (v *Value) Append(dst []byte) []byte { return v.root.append(dst) }

// Get gives the text of what is at a path; nil when nothing is. The second result
// is false when the path leads through something that is no object.
func (v *Value) Get(path Path) (raw []byte, reachable bool) {
	var room [16]*object
	n, _, ok := v.walk(path, room[:0])
	if !ok || n == nil {
		return nil, ok
	}
	return n.copy(), true
}

// walk gives what is at a path, nil when nothing is, and appends to trail the
// objects that it came through: as many as there are names in the path, or fewer
// where one of them is missing. False: the path leads through something that is no
// object, which is given then; it is where trail ends.
func (v *Value) walk(path Path, trail []*object) (*node, []*object, bool) {
	n := v.root
	for _, name := range path {
		if n == nil {
			break
		}
		if n.kind != kindObject {
			return n, trail, false
		}
		trail = append(trail, n.obj)
		n = n.obj.get(name)
	}
	return n, trail, true
}

// swap puts a node at a path (nil: clears it) whose trail is given, and gives what
// was there, and the member that is gone when there is none any more.
func (v *Value) swap(path Path, trail []*object, n *node) (old *node, gone *member) {
	if len(path) == 0 {
		old = v.root
		v.put(n)
		return old, nil
	}
	last := len(trail) - 1
	before := trail[last].size()
	old, gone = trail[last].put(path[last], n)
	grow(trail[:last], trail[last].size()-before)
	return old, gone
}

// grow corrects the sizes of the objects around one that has grown.
func grow(trail []*object, delta int) {
	for _, o := range trail {
		o.inner += delta
	}
}
