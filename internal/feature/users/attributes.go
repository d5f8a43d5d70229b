package users

import (
	"strconv"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Bounds of attributes.
const (
	maxAttributes = 64 << 10 // bytes, without spaces
	maxDepth      = 16       // levels, the object itself counted
	maxTags       = 100
	maxTag        = 64 // bytes
)

// attributes checks the attributes of a user, which stand at a place in the params, and
// gives them without spaces. merge: they are a merge patch, in which null takes away.
func attributes(at string, raw []byte, merge bool) ([]byte, error) {
	if raw == nil {
		return nil, fault.Field(at, "is missing")
	}
	if raw[0] != '{' {
		return nil, fault.Field(at, "must be an object, not %s", protocol.KindOf(raw))
	}
	v, err := tree.Parse(raw, tree.Limits{Depth: maxDepth})
	switch e := fault.Of(err); {
	case e == nil:
	case e.Code == fault.TooLarge:
		return nil, fault.Field(at, "is nested more than %d levels deep", maxDepth)
	default:
		return nil, fault.Field(at, "%s", e.Message)
	}
	if size := v.Size(); size > maxAttributes {
		e := fault.New(fault.TooLarge, "%s: has %d bytes; at most %d are allowed", at, size, maxAttributes)
		e.Field = at
		return nil, e
	}
	if tz, _ := v.Get(tree.Path{"tz"}); tz != nil {
		if err := checkZone(at+".tz", tz, merge); err != nil {
			return nil, err
		}
	}
	if tags, _ := v.Get(tree.Path{"tags"}); tags != nil {
		if err := checkTags(at+".tags", tags, merge); err != nil {
			return nil, err
		}
	}
	text := v.Append(make([]byte, 0, v.Size()))
	return text, checkValues(at, text)
}

// checkZone checks the attribute tz.
func checkZone(at string, raw []byte, merge bool) error {
	if merge && string(raw) == "null" {
		return nil
	}
	name, ok := protocol.Unquote(raw)
	if !ok {
		return fault.Field(at, "must be a text such as \"Europe/Berlin\", not %s", protocol.KindOf(raw))
	}
	if _, ok := fatigue.Zone(name); !ok {
		return fault.Field(at, "%.64q is not a time zone such as Europe/Berlin", name)
	}
	return nil
}

// checkTags checks the attribute tags.
func checkTags(at string, raw []byte, merge bool) error {
	if merge && string(raw) == "null" {
		return nil
	}
	if raw[0] != '[' {
		return fault.Field(at, "must be a list of texts, not %s", protocol.KindOf(raw))
	}
	n := 0
	return protocol.EachElement(raw, func(element []byte) error {
		place := at + "[" + strconv.Itoa(n) + "]"
		if n++; n > maxTags {
			return fault.Field(at, "has more than %d tags", maxTags)
		}
		tag, ok := protocol.Unquote(element)
		switch {
		case !ok:
			return fault.Field(place, "must be a text, not %s", protocol.KindOf(element))
		case tag == "":
			return fault.Field(place, "is empty")
		case len(tag) > maxTag:
			return fault.Field(place, "has %d bytes; at most %d are allowed", len(tag), maxTag)
		}
		return nil
	})
}

// checkValues looks through checked JSON for what not every store keeps: NUL characters,
// and numbers that are larger than any double.
func checkValues(at string, text []byte) error {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			for i++; text[i] != '"'; i++ {
				if text[i] != '\\' {
					continue
				}
				if i++; text[i] == 'u' && string(text[i+1:i+5]) == "0000" {
					return fault.Field(at, "no NUL characters are allowed")
				}
			}
		case c == '-' || c >= '0' && c <= '9':
			end := i + 1
			for end < len(text) && isNumber(text[end]) {
				end++
			}
			if !store.NumberFits(string(text[i:end])) {
				return fault.Field(at, "%.32s is beyond the range of a 64-bit floating point number", text[i:end])
			}
			i = end - 1
		}
	}
	return nil
}

// isNumber tells whether a byte can stand in a JSON number.
func isNumber(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}
