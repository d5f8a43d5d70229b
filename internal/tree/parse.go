package tree

import (
	"bytes"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// parse makes a node of a text that nobody has checked. Whole: it is to be all of a
// value, so that its parts may lie in one buffer. Elsewhere each has its own: one
// that stays would keep all the others that came with it.
func parse(raw []byte, depth int, whole bool) (*node, error) {
	if err := protocol.Valid(raw, depth); err != nil {
		if errors.Is(err, protocol.ErrDepth) {
			return nil, fault.New(fault.TooLarge, "is nested more than %d levels deep (limits.depth)", depth)
		}
		return nil, fault.New(fault.BadRequest, "%s", err)
	}
	if !utf8.Valid(raw) {
		return nil, fault.New(fault.BadRequest, "is not valid UTF-8")
	}
	b := builder{text: raw, whole: whole}
	if whole {
		b.text = slices.Clone(raw)
	}
	n := b.value()
	if b.err != nil {
		return nil, b.err
	}
	return n, nil
}

// builder makes nodes of a text that is known to be JSON. Only what a document
// does not allow can be wrong with it.
type builder struct {
	text  []byte
	i     int
	err   error
	whole bool
	nodes []node            // to be used, when whole
	list  []member          // to be used, when whole
	known map[string]string // names, when whole: most stand in many objects
	array []byte            // the text of the array that is being read
	names [][]byte          // of the objects in it that are being read
}

// chunk is how many nodes of a whole value are made at a time.
const chunk = 128

// take gives a new node or member: one of a list that is made ahead, when whole.
func take[T any](whole bool, list *[]T, length int) *T {
	if !whole {
		return new(T)
	}
	if len(*list) == 0 {
		*list = make([]T, min(chunk, 1+length/8))
	}
	made := &(*list)[0]
	*list = (*list)[1:]
	return made
}

func (b *builder) node(n node) *node {
	made := take(b.whole, &b.nodes, len(b.text))
	*made = n
	return made
}

func (b *builder) member(m member) *member {
	made := take(b.whole, &b.list, len(b.text))
	*made = m
	return made
}

// maxKnown bounds the names that are looked up.
const maxKnown = 256

// name gives the name that a string stands for.
func (b *builder) name(quoted []byte) string {
	if !b.whole {
		return unquote(quoted)
	}
	if name, ok := b.known[string(quoted)]; ok {
		return name
	}
	name := unquote(quoted)
	if b.known == nil {
		b.known = map[string]string{}
	}
	if len(b.known) < maxKnown {
		b.known[string(quoted)] = name
	}
	return name
}

func (b *builder) space() {
	for b.i < len(b.text) && (b.text[b.i] == ' ' || b.text[b.i] == '\n' || b.text[b.i] == '\t' || b.text[b.i] == '\r') {
		b.i++
	}
}

// next goes to the next element or member; false at the end, which is behind it
// then.
func (b *builder) next(end byte) bool {
	b.space()
	switch b.text[b.i] {
	case end:
		b.i++
		return false
	case ',':
		b.i++
		b.space()
	}
	return true
}

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fault.New(fault.BadRequest, format, args...)
	}
}

func (b *builder) value() *node {
	b.space()
	switch b.text[b.i] {
	case '{':
		return b.object()
	case '[':
		b.array = b.array[:0]
		count := b.elements()
		return b.node(node{kind: kindArray, count: count, text: slices.Clone(b.array)})
	}
	k, text := b.leaf()
	if b.whole {
		text = text[:len(text):len(text)]
	} else {
		text = slices.Clone(text)
	}
	return b.node(node{kind: k, text: text})
}

// leaf gives the text of a value that has no others in it.
func (b *builder) leaf() (kind, []byte) {
	start := b.i
	switch c := b.text[b.i]; {
	case c == '"':
		return kindScalar, b.str()
	case c == '-' || c >= '0' && c <= '9':
		return kindNumber, b.number()
	}
	for b.i < len(b.text) && b.text[b.i] >= 'a' && b.text[b.i] <= 'z' {
		b.i++
	}
	return kindScalar, b.text[start:b.i]
}

// str gives a string with its quotes.
func (b *builder) str() []byte {
	start := b.i
	for b.i++; b.text[b.i] != '"'; b.i++ {
		if b.text[b.i] == '\\' {
			b.i++
		}
	}
	b.i++
	return b.text[start:b.i]
}

func (b *builder) number() []byte {
	start, exponent := b.i, -1
	for b.i < len(b.text) {
		c := b.text[b.i]
		switch {
		case c == 'e' || c == 'E':
			exponent = 0
		case c >= '0' && c <= '9':
			if exponent >= 0 {
				exponent++
			}
		case c != '-' && c != '+' && c != '.':
			goto done
		}
		b.i++
	}
done:
	text := b.text[start:b.i]
	if n := len(bytes.TrimPrefix(text, []byte("-"))); n > maxNumber {
		b.fail("a number has %d characters; at most %d are allowed", n, maxNumber)
	}
	if exponent > maxExponent {
		b.fail("the exponent of a number has %d digits; at most %d are allowed", exponent, maxExponent)
	}
	return text
}

func (b *builder) object() *node {
	o := &object{}
	for b.i++; b.next('}'); {
		name := b.name(b.str())
		b.space()
		b.i++ // the colon
		child := b.value()
		if o.find(name) != nil {
			b.twice(name)
			continue
		}
		o.add(b.member(member{name: name, node: child}))
	}
	return b.node(node{kind: kindObject, obj: o})
}

func (b *builder) twice(name string) { b.fail("an object has the member %q twice", name) }

// elements adds the array that begins here, without its spaces, to b.array, and
// counts its elements.
func (b *builder) elements() (count int) {
	b.array = append(b.array, '[')
	for b.i++; b.next(']'); count++ {
		if count > 0 {
			b.array = append(b.array, ',')
		}
		b.element()
	}
	b.array = append(b.array, ']')
	return count
}

func (b *builder) element() {
	b.space()
	switch b.text[b.i] {
	case '{':
		b.members()
	case '[':
		b.elements()
	default:
		_, text := b.leaf()
		b.array = append(b.array, text...)
	}
}

// members is elements for an object in an array.
func (b *builder) members() {
	base := len(b.names)
	var many map[string]bool // the names, when linear search would take long
	b.array = append(b.array, '{')
	for b.i++; b.next('}'); {
		if b.array[len(b.array)-1] != '{' {
			b.array = append(b.array, ',')
		}
		quoted := b.str()
		b.array = append(append(b.array, quoted...), ':')
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = []byte(unquote(quoted))
		}
		switch {
		case many != nil && many[string(name)], many == nil && contains(b.names[base:], name):
			b.twice(string(name))
		case many != nil:
			many[string(name)] = true
		default:
			if b.names = append(b.names, name); len(b.names)-base > few {
				many = make(map[string]bool, 4*few)
				for _, known := range b.names[base:] {
					many[string(known)] = true
				}
			}
		}
		b.space()
		b.i++ // the colon
		b.element()
	}
	b.array = append(b.array, '}')
	b.names = b.names[:base]
}

func contains(list [][]byte, name []byte) bool {
	for _, known := range list {
		if bytes.Equal(known, name) {
			return true
		}
	}
	return false
}
