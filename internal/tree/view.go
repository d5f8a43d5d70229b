package tree

import (
	"slices"

	"github.com/skein-realtime/skein/protocol"
)

// Sight is how much of a place, and of what lies below it, somebody may see.
type Sight uint8

// The values of [Sight].
const (
	Nothing Sight = iota
	Part          // what lies below it, perhaps; of itself no more than that it is an object
	Most          // itself, and what lies below it, but perhaps not all of that
	Everything
)

// View is what somebody may see of a document. It must not contradict itself: above
// a place of which there is something to see is Part or more, and below Everything
// is Everything. Sees must not keep the path.
type View interface{ Sees(Path) Sight }

// AppendView appends what a view shows of the value. Objects on the way to what
// may be seen are shown, even when nothing in them is.
func (v *Value) AppendView(dst []byte, view View) []byte {
	s := shower{view: view}
	if sight := view.Sees(nil); shows(sight, v.root) {
		return s.append(dst, v.root, sight)
	}
	return append(dst, "null"...)
}

// shows tells whether there is something to see of a node.
func shows(sight Sight, n *node) bool {
	return n != nil && (sight >= Most || sight == Part && n.kind == kindObject)
}

// shower writes what a view shows.
type shower struct {
	view View
	path Path // of what is being written
}

// append appends a node that the view shows.
func (s *shower) append(dst []byte, n *node, sight Sight) []byte {
	if sight == Everything || n.kind != kindObject {
		return n.append(dst)
	}
	dst = append(dst, '{')
	first := true
	for m := n.obj.first; m != nil; m = m.next {
		s.path = append(s.path, m.name)
		if sight := s.view.Sees(s.path); shows(sight, m.node) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(protocol.AppendString(dst, m.name), ':')
			dst = s.append(dst, m.node, sight)
		}
		s.path = s.path[:len(s.path)-1]
	}
	return append(dst, '}')
}

// AppendOpsFor appends what a view shows of a change, which must be the newest of
// the value, and tells how much of it that is. With Part they are other operations
// than those that were carried out, to the same effect on what the view shows.
func (c *Change) AppendOpsFor(dst []byte, v *Value, view View) ([]byte, Sight) {
	all, any := true, false
	for i := range c.journal {
		sight := view.Sees(c.journal[i].path)
		all = all && c.journal[i].whole(sight)
		any = any || sight != Nothing
	}
	for i := range c.Done {
		// A merge may also name members that were not there to be removed.
		if d := &c.Done[i]; all && d.Kind == Merge && view.Sees(d.Path) != Everything {
			all = false
		}
	}
	switch {
	case all:
		return AppendOps(dst, c.Done), Everything
	case !any:
		return append(dst, '[', ']'), Nothing
	}
	var list []Done
	for _, p := range c.outermost() {
		if d, shown := c.shown(p, v, view); shown {
			list = append(list, d)
		}
	}
	if len(list) == 0 {
		return append(dst, '[', ']'), Nothing
	}
	return AppendOps(dst, list), Part
}

// whole tells whether a view shows all of what a step has changed.
func (s *step) whole(sight Sight) bool {
	return sight == Everything || sight == Most && (s.old == nil || s.old.kind != kindObject) && (s.new == nil || s.new.kind != kindObject)
}

// spot is a step whose place no other place of the change lies above.
type spot struct {
	step  int
	alone bool // no other step is about the place, or one below it
}

// outermost gives the first step of each place that no other lies above: together
// they are the outcome of the change. They are looked for once for all views.
func (c *Change) outermost() []spot {
	if c.places != nil {
		return c.places
	}
	order := make([]int, len(c.journal))
	for i := range order {
		order[i] = i
	}
	// Sorted by path, what lies below a place follows it.
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(c.journal[a].path, c.journal[b].path) })
	for _, i := range order {
		if n := len(c.places); n > 0 && c.journal[c.places[n-1].step].path.Covers(c.journal[i].path) {
			c.places[n-1].alone = false
			continue
		}
		c.places = append(c.places, spot{step: i, alone: true})
	}
	slices.SortFunc(c.places, func(a, b spot) int { return a.step - b.step })
	return c.places
}

// shown is the outcome of the change at a spot as a view sees it.
func (c *Change) shown(p spot, v *Value, view View) (Done, bool) {
	s := &c.journal[p.step]
	sight := view.Sees(s.path)
	if sight == Nothing {
		return Done{}, false
	}
	if d := &c.Done[s.op]; p.alone && d.Kind != Merge && len(d.Path) == len(s.path) && s.whole(sight) {
		return *d, true
	}
	var room [16]*object
	now, _, _ := v.walk(s.path, room[:0])
	if shows(sight, now) {
		text := (&shower{view: view, path: slices.Clone(s.path)}).append(nil, now, sight)
		return Done{Op: Op{Kind: Set, Path: s.path, Value: text}}, true
	}
	if shows(sight, s.old) || s.at >= 0 && sight >= Most { // an array was there
		return Done{Op: Op{Kind: Remove, Path: s.path}}, true
	}
	return Done{}, false
}
