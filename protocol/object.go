package protocol

import (
	"math"
	"strconv"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/skein-realtime/skein/internal/fault"
)

// Object is one JSON object, checked whole, with its members found but not yet
// decoded. The raw values lie in the text that it was read from, so an Object
// is good only as long as that text. The zero value is an empty object, and
// one Object can be read into again and again.
type Object struct {
	members []member
	inline  [8]member // most frames have fewer members than this
}

type member struct{ key, value []byte }

// Read reads data, which must be one JSON object nested at most depth levels.
// Its errors are [ErrNotObject], [ErrDepth] or a [*SyntaxError]; a member that
// stands twice is a syntax error, since readers would differ on which one counts.
func (o *Object) Read(data []byte, depth int) error {
	o.members = o.inline[:0]
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		if err := Valid(data, depth); err != nil {
			return err
		}
		return ErrNotObject
	}
	w := walker{b: data, depth: depth}
	if err := w.open(i); err != nil {
		return err
	}
	for w.next() {
		key := w.key[1 : len(w.key)-1]
		if hasEscape(key) {
			s, _ := Unquote(w.key)
			key = []byte(s)
		}
		if o.find(key) != nil {
			return syntax(w.i-len(w.value), "member "+strconv.Quote(string(key))+" stands twice")
		}
		if len(o.members) >= maxMembers {
			return syntax(w.i, "too many members")
		}
		o.members = append(o.members, member{key, w.value})
	}
	if w.err != nil {
		return w.err
	}
	if i = skipSpace(data, w.i); i != len(data) {
		return syntax(i, "something follows the object")
	}
	return nil
}

var objects = sync.Pool{New: func() any { return new(Object) }}

// GetObject takes an Object from a pool; give it back with [PutObject] when
// nothing of it is used any more.
func GetObject() *Object { return objects.Get().(*Object) }

// PutObject gives an Object back to the pool.
func PutObject(o *Object) {
	clear(o.members) // do not keep the text alive
	o.members = nil
	objects.Put(o)
}

// maxMembers bounds the search for double members, which is quadratic.
const maxMembers = 256

func hasEscape(b []byte) bool {
	for _, c := range b {
		if c == '\\' {
			return true
		}
	}
	return false
}

func (o *Object) find(key []byte) *member {
	for i := range o.members {
		if string(o.members[i].key) == string(key) {
			return &o.members[i]
		}
	}
	return nil
}

// Raw gives the text of a member: nil when it is absent or null.
func (o *Object) Raw(name string) []byte {
	for i := range o.members {
		if string(o.members[i].key) == name {
			v := o.members[i].value
			if len(v) == 4 && v[0] == 'n' {
				return nil
			}
			return v
		}
	}
	return nil
}

// Has tells whether a member is there, null included.
func (o *Object) Has(name string) bool {
	for i := range o.members {
		if string(o.members[i].key) == name {
			return true
		}
	}
	return false
}

// Each calls fn for every member in the order of the text, until it returns false.
func (o *Object) Each(fn func(name string, raw []byte) bool) {
	for i := range o.members {
		if !fn(string(o.members[i].key), o.members[i].value) {
			return
		}
	}
}

// String gives a member that is a string of at most limit bytes, "" when it is
// absent. A wrong type is a bad_request that names the field.
func (o *Object) String(name string, limit int) (string, error) {
	raw := o.Raw(name)
	if raw == nil {
		return "", nil
	}
	s, ok := Unquote(raw)
	if !ok {
		return "", fault.Field(name, "must be a string, not %s", kindOf(raw))
	}
	if len(s) > limit {
		return "", fault.Field(name, "has %d bytes; at most %d are allowed", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return "", fault.Field(name, "is not valid UTF-8")
	}
	return s, nil
}

// Required is String for a member that must be there and not empty.
func (o *Object) Required(name string, limit int) (string, error) {
	s, err := o.String(name, limit)
	if err == nil && s == "" {
		if o.Raw(name) == nil {
			return "", fault.Field(name, "is missing")
		}
		return "", fault.Field(name, "is empty")
	}
	return s, err
}

// Bool gives a member that is true or false, def when it is absent.
func (o *Object) Bool(name string, def bool) (bool, error) {
	raw := o.Raw(name)
	switch string(raw) {
	case "":
		return def, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fault.Field(name, "must be true or false, not %s", kindOf(raw))
}

// Int gives a member that is an integer between low and high, def when it is absent.
func (o *Object) Int(name string, def, low, high int64) (int64, error) {
	raw := o.Raw(name)
	if raw == nil {
		return def, nil
	}
	n, ok := integer(raw)
	if !ok {
		return 0, fault.Field(name, "must be an integer, not %s", kindOf(raw))
	}
	if n < low || n > high {
		return 0, fault.Field(name, "%d is not between %d and %d", n, low, high)
	}
	return n, nil
}

// integer reads a JSON number that is a whole one below 2^53, also when it is written 5.0 or 5e0.
func integer(raw []byte) (int64, bool) {
	if c := raw[0]; c != '-' && !isDigit(c) {
		return 0, false
	}
	s := unsafe.String(unsafe.SliceData(raw), len(raw))
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, n >= -MaxInt && n <= MaxInt
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > MaxInt {
		return 0, false
	}
	return int64(f), true
}

// kindOf names the JSON type of a raw value for an error message.
func kindOf(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	if _, ok := integer(raw); !ok {
		return "the number " + string(raw[:min(len(raw), 32)])
	}
	return "a number"
}

// KindOf names the JSON type of a raw value as error messages do: "a string", "an object".
func KindOf(raw []byte) string { return kindOf(raw) }
