package tree

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// Op is one operation of a patch. Its texts are raw JSON: values may be anything,
// which [Value.Apply] checks; numbers must be ones that [ParseOps] lets through.
type Op struct {
	Kind  string // one of the constants below
	Path  Path
	From  Path   // of Move and Copy
	Value []byte // of Set, Append, Merge, Test, Add and Replace
	By    []byte // of Inc: a number
	Min   []byte // of Inc; nil: no bound
	Max   []byte // of Inc; nil: no bound
}

// The operations of the protocol.
const (
	Set    = "set"
	Remove = "remove"
	Inc    = "inc"
	Append = "append"
	Merge  = "merge"
	Test   = "test"
)

// The operations of RFC 6902 that have conditions of their own. They are carried
// out as those above.
const (
	Add     = "add"
	Replace = "replace"
	Move    = "move"
	Copy    = "copy"
)

// ParseOps reads the operations of a patch: a list as in a `patch` frame, in a text
// that need not have been checked and is not kept. Its errors name the operation and
// its field.
func ParseOps(raw []byte, limits Limits) ([]Op, error) { return parseOps("ops", raw, limits, readOp) }

// ParseJSONPatch is [ParseOps] for a patch of RFC 6902.
func ParseJSONPatch(raw []byte, limits Limits) ([]Op, error) {
	return parseOps("json_patch", raw, limits, readStandardOp)
}

// MergePatch is a patch of RFC 7396 as operations. The text is not kept.
func MergePatch(raw []byte) []Op { return []Op{{Kind: Merge, Value: slices.Clone(raw)}} }

func parseOps(field string, raw []byte, limits Limits, read func(o *protocol.Object) (Op, error)) ([]Op, error) {
	limits = limits.Or()
	if raw = bytes.TrimLeft(raw, " \t\r\n"); len(raw) == 0 {
		return nil, fault.Field(field, "is missing")
	}
	if raw[0] != '[' {
		return nil, fault.Field(field, "must be a list of operations, not %s", protocol.KindOf(raw))
	}
	if err := protocol.Valid(raw, maxDepth); err != nil {
		return nil, unreadable(field, err, limits)
	}
	var list []Op
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	n := 0
	err := protocol.EachElement(raw, func(element []byte) error {
		if n++; n > limits.Ops {
			return nil // counted, so that the message tells how many there are
		}
		if element[0] != '{' {
			return fault.Field(nth(field, n-1), "must be an object, not %s", protocol.KindOf(element))
		}
		if err := o.Read(element, limits.Depth+1); err != nil {
			return unreadable(nth(field, n-1), err, limits)
		}
		op, err := read(o)
		if err != nil {
			return within(nth(field, n-1), err)
		}
		list = append(list, op)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return nil, fault.Field(field, "must have at least one operation")
	case n > limits.Ops:
		e := fault.New(fault.TooLarge, "%s: has %d operations; at most %d are allowed (limits.ops)", field, n, limits.Ops)
		e.Field = field
		return nil, e
	}
	return list, nil
}

func nth(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// unreadable tells what the scanner has found.
func unreadable(field string, err error, limits Limits) error {
	if errors.Is(err, protocol.ErrDepth) {
		e := fault.New(fault.TooLarge, "%s: is nested more than %d levels deep (limits.depth)", field, limits.Depth)
		e.Field = field
		return e
	}
	return fault.Field(field, "%s", err)
}

// within puts the place of an operation before what is wrong with it.
func within(at string, err error) error {
	e := *fault.Of(err)
	e.Message = at + "." + e.Message
	if e.Field != "" {
		e.Field = at + "." + e.Field
	} else {
		e.Field = at
	}
	return &e
}

// maxPath bounds a pointer: no frame is that long by default.
const maxPath = 64 << 10

func readPath(o *protocol.Object, field string) (Path, error) {
	if o.Raw(field) == nil {
		return nil, fault.Field(field, "is missing")
	}
	text, err := o.String(field, maxPath)
	if err != nil {
		return nil, err
	}
	path, err := ParsePath(text)
	if err != nil {
		return nil, fault.Field(field, "%s", fault.Of(err).Message)
	}
	return path, nil
}

func readNumber(o *protocol.Object, field string, required bool) ([]byte, error) {
	raw := o.Raw(field)
	if raw == nil {
		if required {
			return nil, fault.Field(field, "is missing")
		}
		return nil, nil
	}
	if !isNumber(raw[0]) {
		return nil, fault.Field(field, "must be a number, not %s", protocol.KindOf(raw))
	}
	n, err := parse(raw, 1, false)
	if err != nil {
		return nil, fault.Field(field, "%s", fault.Of(err).Message)
	}
	return n.text, nil
}

// value gives the text of a member that may be null but not missing.
func value(o *protocol.Object) ([]byte, error) {
	if !o.Has("value") {
		return nil, fault.Field("value", "is missing")
	}
	if raw := o.Raw("value"); raw != nil {
		return slices.Clone(raw), nil
	}
	return []byte("null"), nil
}

func readOp(o *protocol.Object) (op Op, err error) {
	if op.Kind, err = o.Required("op", 32); err != nil {
		return op, err
	}
	switch op.Kind {
	case Set, Remove, Inc, Append, Merge, Test:
	default:
		return op, fault.Field("op", "%q is none of set, remove, inc, append, merge and test", op.Kind)
	}
	if op.Path, err = readPath(o, "path"); err != nil {
		return op, err
	}
	switch op.Kind {
	case Remove:
	case Inc:
		if op.By, err = readNumber(o, "by", true); err != nil {
			return op, err
		}
		if op.Min, err = readNumber(o, "min", false); err != nil {
			return op, err
		}
		op.Max, err = readNumber(o, "max", false)
	default:
		op.Value, err = value(o)
	}
	return op, err
}

func readStandardOp(o *protocol.Object) (op Op, err error) {
	if op.Kind, err = o.Required("op", 32); err != nil {
		return op, err
	}
	switch op.Kind {
	case Add, Replace, Remove, Move, Copy, Test:
	default:
		return op, fault.Field("op", "%q is none of add, replace, remove, move, copy and test", op.Kind)
	}
	if op.Path, err = readPath(o, "path"); err != nil {
		return op, err
	}
	switch op.Kind {
	case Move, Copy:
		op.From, err = readPath(o, "from")
	case Add, Replace, Test:
		op.Value, err = value(o)
	}
	return op, err
}

// Done is an operation that was carried out, as clients and the history see it.
type Done struct {
	Op
	Result []byte // of Inc: what is there now
}

// AppendOps appends what was carried out as a JSON list.
func AppendOps(dst []byte, list []Done) []byte {
	dst = append(dst, '[')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		d := &list[i]
		dst = append(append(append(dst, `{"op":"`...), d.Kind...), `","path":`...)
		dst = appendPath(dst, d.Path)
		switch d.Kind {
		case Inc:
			dst = append(append(dst, `,"by":`...), d.By...)
			dst = append(append(dst, `,"value":`...), d.Result...)
		case Remove:
		default:
			dst = append(append(dst, `,"value":`...), d.Value...)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendPath(dst []byte, p Path) []byte {
	simple := true
	for _, name := range p {
		simple = simple && !strings.ContainsAny(name, "~/\"\\")
	}
	if !simple || len(p) == 0 {
		return protocol.AppendString(dst, p.String())
	}
	dst = append(dst, '"')
	for _, name := range p {
		dst = append(dst, '/')
		start := len(dst)
		dst = protocol.AppendString(dst, name) // its quotes go again
		dst = append(dst[:start], dst[start+1:len(dst)-1]...)
	}
	return append(dst, '"')
}

// ParseDone reads what [AppendOps] has written.
func ParseDone(raw []byte) ([]Done, error) {
	var list []Done
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	err := protocol.EachElement(raw, func(element []byte) error {
		if err := o.Read(element, maxDepth); err != nil {
			return err
		}
		op, err := readOp(o)
		if err != nil {
			return err
		}
		d := Done{Op: op}
		if op.Kind == Inc {
			if d.Result, err = readNumber(o, "value", true); err != nil {
				return err
			}
		}
		list = append(list, d)
		return nil
	})
	return list, err
}
