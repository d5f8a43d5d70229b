package client

import (
	"encoding/json"
	"strings"
)

// Op is one operation of a patch. Make it with [Set], [Remove], [Inc], [Append],
// [Merge] and [Test]. Paths are JSON Pointers (RFC 6901) into objects: "" is the
// whole document, "/players/anna" a member; [Path] escapes names.
type Op struct {
	Kind  string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"` // of Set, Append, Merge and Test; of a Change's Inc: the result
	By    json.RawMessage `json:"by,omitempty"`    // of Inc
	Min   json.RawMessage `json:"min,omitempty"`   // of Inc; nil: no bound
	Max   json.RawMessage `json:"max,omitempty"`   // of Inc; nil: no bound

	err error // what could not be encoded
}

// Set puts a value at a path, and makes the objects above it that are missing.
func Set(path string, value any) Op { return newOp("set", path).with("value", value) }

// Remove deletes a member; a missing one is a conflict.
func Remove(path string) Op { return newOp("remove", path) }

// Inc adds by to a number; a missing one counts as 0. by is any number: an integer,
// a float, a json.Number, a *big.Int.
func Inc(path string, by any) Op { return newOp("inc", path).with("by", by) }

// AtLeast makes an Inc a conflict when the result would be less than the bound.
func (o Op) AtLeast(bound any) Op { return o.with("min", bound) }

// AtMost makes an Inc a conflict when the result would be more than the bound.
func (o Op) AtMost(bound any) Op { return o.with("max", bound) }

// Append adds an element to an array; a missing one is made.
func Append(path string, element any) Op { return newOp("append", path).with("value", element) }

// Merge merges a value as RFC 7396 says: objects member by member, null removes.
func Merge(path string, value any) Op { return newOp("merge", path).with("value", value) }

// Test makes the whole patch a conflict unless the value at the path is equal.
func Test(path string, value any) Op { return newOp("test", path).with("value", value) }

// Path makes a path of the names of members, with what has a meaning in a path
// escaped.
func Path(names ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for _, name := range names {
		b.WriteByte('/')
		b.WriteString(escape.Replace(name))
	}
	return b.String()
}

func newOp(kind, path string) Op { return Op{Kind: kind, Path: path} }

func (o Op) with(field string, v any) Op {
	raw, err := encodeData(field, v)
	switch {
	case err != nil:
		o.err = err
	case field == "value":
		o.Value = raw
	case field == "by":
		o.By = raw
	case field == "min":
		o.Min = raw
	default:
		o.Max = raw
	}
	return o
}

// encodeOps writes the operations of a patch.
func encodeOps(ops []Op) (json.RawMessage, error) {
	for _, o := range ops {
		if o.err != nil {
			return nil, o.err
		}
	}
	return encodeData("ops", ops)
}
