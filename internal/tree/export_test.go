package tree

import (
	"fmt"
	"slices"
)

// Check tells what is wrong with the inside of a value: nil when sizes, counts,
// links and indexes are what they should be.
func (v *Value) Check() error {
	if v.root == nil {
		return nil
	}
	return v.root.check(nil)
}

func (n *node) check(path Path) error {
	if n.kind == kindArray {
		count := 0
		for list := (&cursor{text: n.text, i: 1}); list.next(); count++ {
			list.skip()
		}
		if count != n.count {
			return fmt.Errorf("%s: count is %d, but there are %d elements", path, n.count, count)
		}
	}
	if text := n.append(nil); n.size() != len(text) {
		return fmt.Errorf("%s: size is %d, but the text has %d bytes: %.200s", path, n.size(), len(text), text)
	}
	if n.kind != kindObject {
		return nil
	}
	o, live := n.obj, 0
	var prev *member
	for m := o.first; m != nil; prev, m = m, m.next {
		if m.prev != prev {
			return fmt.Errorf("%s: %q does not know the one before it", path, m.name)
		}
		if o.find(m.name) != m {
			return fmt.Errorf("%s: %q is not found", path, m.name)
		}
		if err := m.node.check(slices.Concat(path, Path{m.name})); err != nil {
			return err
		}
		live++
	}
	switch {
	case o.last != prev:
		return fmt.Errorf("%s: the last member is not the last", path)
	case o.live != live:
		return fmt.Errorf("%s: live is %d, but there are %d members", path, o.live, live)
	case o.index != nil && len(o.index) != live:
		return fmt.Errorf("%s: the index has %d members of %d", path, len(o.index), live)
	case o.index != nil && live < o.peak/4:
		return fmt.Errorf("%s: the index has not shrunk with the members", path)
	case o.index == nil && live > few:
		return fmt.Errorf("%s: there is no index of %d members", path, live)
	}
	return nil
}
