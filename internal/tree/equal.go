package tree

import (
	"bytes"

	"github.com/skein-realtime/skein/protocol"
)

// maxDepth is deeper than anything that limits.depth allows.
const maxDepth = 1 << 12

// Equal tells whether two texts are the same JSON value: numbers by value, objects
// without regard to the order of their members. What is no JSON, or not allowed in
// a document, is equal to nothing but the same text.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := parse(a, maxDepth, true)
	y, errY := parse(b, maxDepth, true)
	return errX == nil && errY == nil && x.equal(y)
}

// equal costs by the size of the smaller one.
func (n *node) equal(other *node) bool {
	if n == nil || other == nil {
		return (n == nil || n.isNull()) && (other == nil || other.isNull())
	}
	if n.kind != other.kind {
		return false
	}
	switch n.kind {
	case kindArray:
		return n.count == other.count && sameText(n.text, other.text)
	case kindObject:
		if n.obj.live != other.obj.live {
			return false
		}
		for m := n.obj.first; m != nil; m = m.next {
			at := other.obj.get(m.name)
			if at == nil || !m.node.equal(at) {
				return false
			}
		}
		return true
	}
	return sameLeaf(n.text, other.text)
}

// sameLeaf compares values that have no others in them.
func sameLeaf(a, b []byte) bool {
	switch {
	case bytes.Equal(a, b):
		return true
	case a[0] == '"' && b[0] == '"':
		return (bytes.IndexByte(a, '\\') >= 0 || bytes.IndexByte(b, '\\') >= 0) && unquote(a) == unquote(b)
	}
	return isNumber(a[0]) && isNumber(b[0]) && compare(a, b) == 0
}

func isNumber(first byte) bool { return first == '-' || first >= '0' && first <= '9' }

func unquote(text []byte) string {
	s, _ := protocol.Unquote(text)
	return s
}

// sameText compares texts without spaces, which need no nodes for it.
func sameText(a, b []byte) bool { return same(&cursor{text: a}, &cursor{text: b}) }

// cursor stands at a value in a text without spaces that is known to be JSON.
type cursor struct {
	text []byte
	i    int
}

func (c *cursor) at() byte { return c.text[c.i] }

// leaf gives the value here, which has no others in it, and goes behind it.
func (c *cursor) leaf() []byte {
	start := c.i
	if c.at() == '"' {
		for c.i++; c.at() != '"'; c.i++ {
			if c.at() == '\\' {
				c.i++
			}
		}
		c.i++
		return c.text[start:c.i]
	}
	for c.i < len(c.text) && c.at() != ',' && c.at() != ']' && c.at() != '}' && c.at() != ':' {
		c.i++
	}
	return c.text[start:c.i]
}

// skip gives the value here and goes behind it.
func (c *cursor) skip() []byte {
	start := c.i
	for depth := 0; ; {
		switch c.at() {
		case '{', '[':
			depth++
			c.i++
		case '}', ']':
			depth--
			c.i++
		case ',', ':':
			c.i++
		default:
			c.leaf()
		}
		if depth == 0 {
			return c.text[start:c.i]
		}
	}
}

// next goes to the next element or member after what was read; false at the end,
// which is behind it then.
func (c *cursor) next() bool {
	switch c.at() {
	case ']', '}':
		c.i++
		return false
	case ',':
		c.i++
	}
	return true
}

// name gives the name of the member here, quoted, and goes to its value.
func (c *cursor) name() []byte {
	name := c.leaf()
	c.i++ // the colon
	return name
}

// same compares the values at two cursors and goes behind them when they are the
// same. Of a it looks at no more than b has.
func same(a, b *cursor) bool {
	switch {
	case a.at() == '{' && b.at() == '{':
		return sameMembers(a, b)
	case a.at() == '[' && b.at() == '[':
		a.i++
		b.i++
		for {
			more := a.next()
			if more != b.next() {
				return false
			}
			if !more {
				return true
			}
			if !same(a, b) {
				return false
			}
		}
	case a.at() == '{' || a.at() == '[' || b.at() == '{' || b.at() == '[':
		return false
	}
	return sameLeaf(a.leaf(), b.leaf())
}

func sameMembers(a, b *cursor) bool {
	a.i++
	b.i++
	for {
		more := a.next()
		if more != b.next() {
			return false
		}
		if !more {
			return true
		}
		start := b.i
		if name := a.name(); !sameLeaf(name, b.name()) {
			b.i = start
			return sameUnordered(unquote(name), a, b)
		}
		if !same(a, b) {
			return false
		}
	}
}

// sameUnordered compares what is left of two objects: a is behind a name, b before
// one.
func sameUnordered(name string, a, b *cursor) bool {
	rest := map[string][]byte{}
	for more := true; more; more = b.next() {
		key := unquote(b.name())
		rest[key] = b.skip()
	}
	for {
		value, ok := rest[name]
		if !ok || !same(a, &cursor{text: value}) {
			return false
		}
		delete(rest, name) // it stands only once
		if !a.next() {
			return len(rest) == 0
		}
		name = unquote(a.name())
	}
}
