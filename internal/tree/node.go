package tree

import (
	"strings"

	"github.com/skein-realtime/skein/protocol"
)

// kind is the JSON type of a node.
type kind uint8

const (
	kindScalar kind = iota // null, true, false, a string
	kindNumber
	kindArray
	kindObject
)

// node is a value in the tree. Scalars and numbers do not change. Arrays, into
// which no path leads, are one text, which only ever grows at its end or is cut
// again. What was cut out of the tree is not changed any more.
type node struct {
	kind  kind
	count int    // of an array: its elements
	text  []byte // of all but an object, without spaces
	obj   *object
}

// size is the length of the text.
func (n *node) size() int {
	if n.kind == kindObject {
		return n.obj.size()
	}
	return len(n.text)
}

func (n *node) isNull() bool { return n.kind == kindScalar && n.text[0] == 'n' }

// what calls the type of a node as messages do.
func (n *node) what() string {
	switch n.kind {
	case kindObject:
		return "an object"
	case kindNumber:
		return "a number"
	}
	return protocol.KindOf(n.text)
}

func (n *node) append(dst []byte) []byte {
	if n == nil {
		return append(dst, "null"...)
	}
	if n.kind != kindObject {
		return append(dst, n.text...)
	}
	dst = append(dst, '{')
	for m := n.obj.first; m != nil; m = m.next {
		dst = append(protocol.AppendString(dst, m.name), ':')
		dst = m.node.append(dst)
		if m.next != nil {
			dst = append(dst, ',')
		}
	}
	return append(dst, '}')
}

// copy is the text in a buffer of its own.
func (n *node) copy() []byte { return n.append(make([]byte, 0, n.size())) }

// own is the text, for good: that of an array may change, all others do not.
func (n *node) own() []byte {
	if n.kind == kindArray || n.kind == kindObject {
		return n.copy()
	}
	return n.text
}

// push adds an element to an array.
func (n *node) push(element *node) {
	text := n.text[:len(n.text)-1]
	if n.count > 0 {
		text = append(text, ',')
	}
	n.text = append(element.append(text), ']')
	n.count++
}

// pop takes the last element off an array that had the given length without it.
func (n *node) pop(length int) {
	n.text = n.text[:length]
	n.text[length-1] = ']'
	n.count--
}

// dropNulls takes out the members of objects that are null, as a merge with nothing
// does (RFC 7396), and tells whether there were any.
func (n *node) dropNulls() (dropped bool) {
	if n.kind != kindObject {
		return false
	}
	for m := n.obj.first; m != nil; m = m.next {
		if m.node.isNull() {
			n.obj.put(m.name, nil)
			dropped = true
			continue
		}
		before := m.node.size()
		dropped = m.node.dropNulls() || dropped
		n.obj.inner += m.node.size() - before
	}
	return dropped
}

// object is the members of an object in the order in which they came.
type object struct {
	first, last *member
	index       map[string]*member // nil while they are few
	live        int                // members
	peak        int                // the most that there were since the index was made
	inner       int                // bytes of the members with a comma each
}

// member is one of an object. One that was taken out still knows its neighbours, so
// that it can be put back between them as long as they are the same.
type member struct {
	name       string
	node       *node
	prev, next *member
}

// few members are looked through one by one.
const few = 16

func (o *object) size() int {
	if o.live == 0 {
		return len("{}")
	}
	return len("{}") + o.inner - len(",")
}

func (m *member) cost() int { return nameSize(m.name) + len(":") + m.node.size() + len(",") }

func (o *object) find(name string) *member {
	if o.index != nil {
		return o.index[name]
	}
	for m := o.first; m != nil; m = m.next {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (o *object) get(name string) *node {
	if m := o.find(name); m != nil {
		return m.node
	}
	return nil
}

// put sets or removes (nil) a member, and gives what was there, and the member when
// it was removed.
func (o *object) put(name string, n *node) (old *node, gone *member) {
	m := o.find(name)
	switch {
	case m == nil && n != nil:
		// The name may be a piece of a long pointer.
		o.add(&member{name: strings.Clone(name), node: n})
	case m != nil && n != nil:
		old, m.node = m.node, n
		o.inner += n.size() - old.size()
	case m != nil:
		o.unlink(m)
		return m.node, m
	}
	return old, nil
}

// add puts a member that is not there at the end.
func (o *object) add(m *member) {
	m.prev, m.next = o.last, nil
	o.link(m)
}

// link puts a member between those that it names.
func (o *object) link(m *member) {
	if m.prev == nil {
		o.first = m
	} else {
		m.prev.next = m
	}
	if m.next == nil {
		o.last = m
	} else {
		m.next.prev = m
	}
	o.inner += m.cost()
	o.live++
	o.peak = max(o.peak, o.live)
	if o.index != nil {
		o.index[m.name] = m
	} else if o.live > few {
		o.list()
	}
}

func (o *object) unlink(m *member) {
	if m.prev == nil {
		o.first = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		o.last = m.prev
	} else {
		m.next.prev = m.prev
	}
	o.inner -= m.cost()
	o.live--
	if o.index == nil {
		return
	}
	delete(o.index, m.name)
	if o.live < o.peak/4 {
		o.list() // maps do not shrink
	}
}

// list makes the index when there are many.
func (o *object) list() {
	o.index, o.peak = nil, o.live
	if o.live <= few {
		return
	}
	o.index = make(map[string]*member, o.live)
	for m := o.first; m != nil; m = m.next {
		o.index[m.name] = m
	}
}

// nameSize is the length of a name as JSON.
func nameSize(name string) int {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x80 {
			var buf [128]byte
			return len(protocol.AppendString(buf[:0], name))
		}
	}
	return len(name) + 2
}
