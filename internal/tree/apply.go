package tree

import (
	"fmt"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
)

// Guard says which places may be changed, and looked at by a test.
type Guard interface {
	MayWrite(Path) bool
	MayRead(Path) bool // the place and everything below it
}

// Change is what a patch has done to a value.
type Change struct {
	Done    []Done
	journal []step
	places  []spot // see outermost
}

// step is one place that has changed: what [Value.Revert] puts back.
type step struct {
	op       int     // index in Done
	path     Path    // of the highest place that is another now
	old, new *node   // nil: nothing was or is there
	gone     *member // that was removed
	at       int     // of Append to an array that was there: the index of the element; else -1
	length   int     // and that of the array's text before
}

// Old is what was at a place before a patch.
type Old struct {
	Op    int
	Path  Path
	Value []byte // raw JSON; nil: nothing was there
	Index int    // of Append to an array that was there: the place of the new element; else -1
}

// change is a patch that is being carried out.
type change struct {
	*Change
	v      *Value
	limits Limits
	guard  Guard
	trail  []*object // of the last find
	copied int       // bytes that move and copy have made
}

// Apply carries out a patch: all of it or, with an error, nothing. Errors name
// the operation; guard nil: everything is allowed. The texts of the operations are
// not kept, their paths are.
//
// A value that is longer than limits allow, because they were changed, may still
// get shorter.
func (v *Value) Apply(ops []Op, limits Limits, guard Guard) (*Change, error) {
	c := change{Change: &Change{Done: make([]Done, 0, len(ops)), journal: make([]step, 0, len(ops))}, v: v, limits: limits.Or(), guard: guard}
	before := v.Size()
	for i := range ops {
		if err := c.do(&ops[i]); err != nil {
			v.Revert(c.Change)
			return nil, within(nth("ops", i), err)
		}
	}
	if err := c.fits(before); err != nil {
		v.Revert(c.Change)
		return nil, err
	}
	return c.Change, nil
}

// fits tells whether the value may be as long as it has become.
func (c *change) fits(before int) error {
	size := c.v.Size()
	if c.limits.Bytes <= 0 || size <= c.limits.Bytes || size <= before {
		return nil
	}
	e := fault.New(fault.TooLarge, "ops: the document would have %d bytes; at most %d are allowed (limits.document)", size, c.limits.Bytes)
	e.Field = "ops"
	return e
}

func (c *change) do(op *Op) error {
	switch op.Kind {
	case Set:
		return c.set(op.Path, op.Value)
	case Remove:
		return c.remove(op.Path)
	case Inc:
		return c.inc(op)
	case Append:
		return c.append(op.Path, op.Value)
	case Merge:
		return c.merge(op)
	case Test:
		return c.test(op)
	}
	return c.standard(op)
}

func wrong(code fault.Code, field, format string, args ...any) error {
	return &fault.Error{Code: code, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

func conflict(field, format string, args ...any) error {
	return wrong(fault.Conflict, field, format, args...)
}

func (c *change) mayWrite(path Path) error {
	if c.guard != nil && !c.guard.MayWrite(path) {
		return wrong(fault.Denied, "path", "no right to change %s", path.place())
	}
	return nil
}

func (c *change) mayRead(field string, path Path) error {
	if c.guard != nil && !c.guard.MayRead(path) {
		return wrong(fault.Denied, field, "no right to read %s", path.place())
	}
	return nil
}

// nothing tells that a place should not be empty.
func nothing(field string, path Path) error {
	if len(path) == 0 {
		return conflict(field, "there is no document")
	}
	return conflict(field, "there is nothing at %s", path)
}

// value makes a node of an operation's value, which is to be at a depth. Whole: it
// is to be all of the document.
func (c *change) value(raw []byte, depth int, whole bool) (*node, error) {
	n, err := parse(raw, max(0, c.limits.Depth-depth), whole)
	if err == nil {
		return n, nil
	}
	e := fault.Of(err)
	if e.Code == fault.TooLarge {
		return nil, wrong(e.Code, "value", "the document would be nested more than %d levels deep (limits.depth)", c.limits.Depth)
	}
	return nil, wrong(e.Code, "value", "%s", e.Message)
}

// find gives what is at a path; nil when nothing is. An error tells that the path
// leads through something that is no object.
func (c *change) find(path Path) (*node, error) {
	n, trail, ok := c.v.walk(path, c.trail[:0])
	c.trail = trail
	if ok {
		return n, nil
	}
	stuck := path[:len(trail)].place()
	if n.kind == kindArray {
		return nil, conflict("path", "%s is an array, and paths lead into objects only", stuck)
	}
	return nil, conflict("path", "%s is %s, not an object", stuck, n.what())
}

// put sets the place that was just found (nil: clears it) and notes what was there.
// Objects above it that are missing are made; then the note is of the highest of
// them. It must be allowed.
func (c *change) put(path Path, n *node) error {
	if n != nil && len(path) > c.limits.Depth {
		return wrong(fault.TooLarge, "path", "leads more than %d levels deep (limits.depth)", c.limits.Depth)
	}
	top := len(c.trail)
	for k := len(path) - 1; k >= top; k-- {
		o := &object{}
		o.add(&member{name: strings.Clone(path[k]), node: n})
		n = &node{kind: kindObject, obj: o}
	}
	s := step{op: len(c.Done), path: path[:top:top], new: n, at: -1}
	s.old, s.gone = c.v.swap(s.path, c.trail, n)
	c.journal = append(c.journal, s)
	return nil
}

func (c *change) done(d Done) { c.Done = append(c.Done, d) }

func (c *change) set(path Path, raw []byte) error {
	if err := c.mayWrite(path); err != nil {
		return err
	}
	n, err := c.value(raw, len(path), len(path) == 0)
	if err != nil {
		return err
	}
	if _, err := c.find(path); err != nil {
		return err
	}
	text := n.own()
	if err := c.put(path, n); err != nil {
		return err
	}
	c.done(Done{Op: Op{Kind: Set, Path: path, Value: text}})
	return nil
}

func (c *change) remove(path Path) error {
	if err := c.mayWrite(path); err != nil {
		return err
	}
	n, err := c.find(path)
	if err != nil {
		return err
	}
	if n == nil {
		return nothing("path", path)
	}
	if err := c.put(path, nil); err != nil {
		return err
	}
	c.done(Done{Op: Op{Kind: Remove, Path: path}})
	return nil
}

func (c *change) inc(op *Op) error {
	if err := c.mayWrite(op.Path); err != nil {
		return err
	}
	n, err := c.find(op.Path)
	if err != nil {
		return err
	}
	now := []byte("0")
	if n != nil && !n.isNull() {
		if n.kind != kindNumber {
			return conflict("path", "%s is %s, not a number", op.Path.place(), n.what())
		}
		now = n.text
	}
	by := append(make([]byte, 0, len(op.By)+20), op.By...)
	text, err := appendSum(by, now, by)
	if err != nil {
		return conflict("by", "%s", fault.Of(err).Message)
	}
	by, result := text[:len(by):len(by)], text[len(by):len(text):len(text)]
	switch {
	case op.Min != nil && compare(result, op.Min) < 0:
		return conflict("min", "the result would be less than %s", op.Min)
	case op.Max != nil && compare(result, op.Max) > 0:
		return conflict("max", "the result would be more than %s", op.Max)
	}
	if err := c.put(op.Path, &node{kind: kindNumber, text: result}); err != nil {
		return err
	}
	c.done(Done{Op: Op{Kind: Inc, Path: op.Path, By: by}, Result: result})
	return nil
}

func (c *change) append(path Path, raw []byte) error {
	if err := c.mayWrite(path); err != nil {
		return err
	}
	element, err := c.value(raw, len(path)+1, false)
	if err != nil {
		return err
	}
	n, err := c.find(path)
	if err != nil {
		return err
	}
	switch {
	case len(path) >= c.limits.Depth:
		return wrong(fault.TooLarge, "path", "an array there would be nested more than %d levels deep (limits.depth)", c.limits.Depth)
	case n != nil && n.kind != kindArray && !n.isNull():
		return conflict("path", "%s is %s, not an array", path.place(), n.what())
	case n == nil || n.isNull():
		array := &node{kind: kindArray, text: []byte("[]")}
		array.push(element)
		if err := c.put(path, array); err != nil {
			return err
		}
	default:
		before := len(n.text)
		n.push(element)
		grow(c.trail, len(n.text)-before)
		c.journal = append(c.journal, step{op: len(c.Done), path: path, at: n.count - 1, length: before})
	}
	c.done(Done{Op: Op{Kind: Append, Path: path, Value: element.own()}})
	return nil
}

// merge carries out RFC 7396 place by place, so that each is asked about and noted.
func (c *change) merge(op *Op) error {
	n, err := c.value(op.Value, len(op.Path), false)
	if err != nil {
		return err
	}
	if err := c.mayMerge(op.Path, n); err != nil {
		return err
	}
	text := n.own() // before its nodes go into the value
	if err := c.mergeNode(op.Path, n); err != nil {
		return err
	}
	c.done(Done{Op: Op{Kind: Merge, Path: op.Path, Value: text}})
	return nil
}

// mayMerge asks about all places that a merge names before any is looked at:
// whether it is denied tells nothing of what is there.
func (c *change) mayMerge(path Path, patch *node) error {
	if c.guard == nil || patch.kind != kindObject || patch.obj.live == 0 {
		return c.mayWrite(path)
	}
	for m := patch.obj.first; m != nil; m = m.next {
		if err := c.mayMerge(path.with(m.name), m.node); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) mergeNode(path Path, patch *node) error {
	at, err := c.find(path)
	if err != nil {
		return err
	}
	switch {
	case patch.kind == kindObject && at != nil && at.kind == kindObject:
		for m := patch.obj.first; m != nil; m = m.next {
			if err := c.mergeNode(path.with(m.name), m.node); err != nil {
				return err
			}
		}
		return nil
	case patch.isNull() && at == nil:
		return nil
	case patch.isNull():
		patch = nil
	}
	if dropped := patch != nil && patch.dropNulls(); dropped || at != nil {
		// More than the places that it names becomes another.
		if err := c.mayWrite(path); err != nil {
			return err
		}
	}
	return c.put(path, patch)
}

func (c *change) test(op *Op) error {
	if err := c.mayRead("path", op.Path); err != nil {
		return err
	}
	n, err := c.value(op.Value, len(op.Path), false)
	if err != nil {
		return err
	}
	at, err := c.find(op.Path)
	if err != nil {
		return err
	}
	if !at.equal(n) {
		return conflict("value", "it is not what is at %s", op.Path.place())
	}
	return nil
}

// Changed tells whether the patch has changed anything: one of nothing but tests
// has not.
func (c *Change) Changed() bool { return len(c.Done) > 0 }

// Old tells what was at the places that have changed, in the order in which they
// did.
func (c *Change) Old() []Old {
	list := make([]Old, len(c.journal))
	for i := range c.journal {
		s := &c.journal[i]
		list[i] = Old{Op: s.op, Path: s.path, Index: s.at}
		if s.old != nil {
			list[i].Value = s.old.copy()
		}
	}
	return list
}

// Revert takes a change back: the text is the same as before, to the order of
// members. Nothing else may have changed the value since, but for changes that were
// taken back themselves.
func (v *Value) Revert(c *Change) {
	var room [16]*object
	for i := len(c.journal) - 1; i >= 0; i-- {
		s := &c.journal[i]
		n, trail, _ := v.walk(s.path, room[:0])
		switch {
		case s.at >= 0:
			grow(trail, s.length-len(n.text))
			n.pop(s.length)
		case s.gone != nil:
			last := len(trail) - 1
			before := trail[last].size()
			trail[last].link(s.gone)
			grow(trail[:last], trail[last].size()-before)
		default:
			v.swap(s.path, trail, s.old)
		}
	}
}
