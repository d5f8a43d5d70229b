package audience

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// ReadFilter reads a filter, as [store.Filter.Validate] allows it. raw is JSON that has
// been checked already; field is where it stands. A member that is not known, two kinds
// in one object, or a value of a wrong type is an error, a *fault.Error with the path of
// what is wrong. {} is a filter without parts. The result does not hold on to raw.
func ReadFilter(field string, raw []byte) (*store.Filter, error) {
	f := new(store.Filter)
	if err := readFilter(field, bytes.Clone(raw), f); err != nil {
		return nil, err
	}
	if err := f.Validate(); err != nil {
		return nil, moved(field, err)
	}
	return f, nil
}

// moved puts an error of a filter that calls itself where to the place where it stands.
func moved(field string, err error) error {
	const root = "where"
	e := *fault.Of(err)
	if rest, ok := strings.CutPrefix(e.Field, root); ok {
		e.Field = field + rest
	}
	if rest, ok := strings.CutPrefix(e.Message, root); ok {
		e.Message = field + rest
	}
	return &e
}

// AppendFilter appends a filter as [ReadFilter] reads it.
func AppendFilter(dst []byte, f *store.Filter) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(f) != nil {
		return append(dst, "null"...) // values that are no JSON were never read
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// The members of a filter's objects.
const (
	filterKinds = "all, any, not, tag and field"
	conditions  = "eq, in, gt, gte, lt, lte, prefix and exists"
)

// readFilter reads one object at a place into f.
func readFilter(at string, raw []byte, f *store.Filter) error {
	if len(raw) == 0 || raw[0] != '{' {
		return fault.Field(at, "must be an object such as {\"tag\": \"vip\"}, not %s", protocol.KindOf(raw))
	}
	var o protocol.Object
	if err := o.Read(raw, maxDepth); err != nil {
		if errors.Is(err, protocol.ErrDepth) {
			return fault.Field(at, "is nested more than %d levels deep", store.MaxFilterDepth)
		}
		return fault.Field(at, "%s", err)
	}
	kind := ""
	var err error
	o.Each(func(name string, value []byte) bool {
		switch name {
		case "all", "any", "not", "tag", "field":
			if kind != "" {
				err = fault.Field(at, "has both %s and %s; one of %s is needed", kind, name, filterKinds)
				return false
			}
			kind = name
		case "eq", "in", "gt", "gte", "lt", "lte", "prefix", "exists":
			if !o.Has("field") {
				err = fault.Field(at+"."+name, "goes with field")
				return false
			}
		default:
			err = fault.Field(at+"."+name, "is not a member of a filter; use %s, and with field %s", filterKinds, conditions)
			return false
		}
		err = readMember(at+"."+name, name, value, f)
		return err == nil
	})
	return err
}

// readMember reads one member of an object.
func readMember(at, name string, value []byte, f *store.Filter) (err error) {
	switch name {
	case "all":
		f.All, err = readList(at, value)
	case "any":
		f.Any, err = readList(at, value)
	case "not":
		f.Not = new(store.Filter)
		err = readFilter(at, value, f.Not)
	case "tag":
		f.Tag, err = text(at, value)
	case "field":
		f.Field, err = text(at, value)
	case "eq":
		f.Eq, err = scalar(at, value)
	case "in":
		f.In, err = scalars(at, value)
	case "gt":
		f.Gt, err = ordered(at, value)
	case "gte":
		f.Gte, err = ordered(at, value)
	case "lt":
		f.Lt, err = ordered(at, value)
	case "lte":
		f.Lte, err = ordered(at, value)
	case "prefix":
		f.Prefix, err = text(at, value)
	case "exists":
		is := string(value) == "true"
		if !is && string(value) != "false" {
			return fault.Field(at, "must be true or false, not %s", protocol.KindOf(value))
		}
		f.Exists = &is
	}
	return err
}

// readList reads the filters of all or any. An empty list stays one, and is refused:
// whether it means everybody or nobody is not for us to guess.
func readList(at string, raw []byte) ([]store.Filter, error) {
	if raw[0] != '[' {
		return nil, fault.Field(at, "must be a list of filters, not %s", protocol.KindOf(raw))
	}
	list := []store.Filter{}
	err := protocol.EachElement(raw, func(element []byte) error {
		list = append(list, store.Filter{})
		place := len(list) - 1
		return readFilter(at+"["+strconv.Itoa(place)+"]", element, &list[place])
	})
	return list, err
}

// text reads a text that is not empty.
func text(at string, raw []byte) (string, error) {
	s, ok := protocol.Unquote(raw)
	switch {
	case !ok:
		return "", fault.Field(at, "must be a text, not %s", protocol.KindOf(raw))
	case s == "":
		return "", fault.Field(at, "is empty")
	}
	return s, nil
}

// scalar reads a value that a place may be equal to.
func scalar(at string, raw []byte) (json.RawMessage, error) {
	switch raw[0] {
	case '{', '[':
		return nil, fault.Field(at, "must be a text, a number, true, false or null, not %s", protocol.KindOf(raw))
	}
	return raw, nil
}

// scalars reads a list of them.
func scalars(at string, raw []byte) ([]json.RawMessage, error) {
	if raw[0] != '[' {
		return nil, fault.Field(at, "must be a list of values, not %s", protocol.KindOf(raw))
	}
	list := []json.RawMessage{}
	err := protocol.EachElement(raw, func(element []byte) error {
		value, err := scalar(at+"["+strconv.Itoa(len(list))+"]", element)
		list = append(list, value)
		return err
	})
	return list, err
}

// ordered reads a value that a place may be greater or less than.
func ordered(at string, raw []byte) (json.RawMessage, error) {
	switch raw[0] {
	case '{', '[', 't', 'f', 'n':
		return nil, fault.Field(at, "must be a number or a text, not %s", protocol.KindOf(raw))
	}
	return raw, nil
}

// Where is a filter among the params of a verb, which call it where. Its zero value is
// none.
type Where struct{ *store.Filter }

// UnmarshalJSON implements json.Unmarshaler: [ReadFilter] with the field "where"; null is
// none.
func (w *Where) UnmarshalJSON(raw []byte) (err error) {
	w.Filter = nil
	if string(raw) != "null" {
		w.Filter, err = ReadFilter("where", raw)
	}
	return err
}

// MarshalJSON implements json.Marshaler.
func (w Where) MarshalJSON() ([]byte, error) {
	if w.Filter == nil {
		return []byte("null"), nil
	}
	return AppendFilter(nil, w.Filter), nil
}
