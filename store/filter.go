package store

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/tree"
)

// Filter chooses users by their attributes. One of its parts is set: All, Any, Not,
// Tag or Field; with none it is everybody who has attributes. Its JSON is that of the
// API. What a field has is compared with values of its own type only: a number is not
// less than a text. A field that is not there fulfils nothing but Exists: false.
//
// Numbers are compared as 64-bit floating point numbers (IEEE 754), texts by the
// bytes of their UTF-8.
type Filter struct {
	All []Filter `json:"all,omitempty"` // all of them
	Any []Filter `json:"any,omitempty"` // one of them at least
	Not *Filter  `json:"not,omitempty"`

	// Tag is one that the attribute tags, a list of texts, has; at most 256 bytes.
	Tag string `json:"tag,omitempty"`

	// Field is a JSON Pointer (RFC 6901) to a place in the attributes, through objects
	// only; what must be true of it is in one of the others, or in two of them that are
	// a lower and an upper bound.
	Field  string            `json:"field,omitempty"`
	Eq     json.RawMessage   `json:"eq,omitempty"` // a text, a number, true, false or null
	In     []json.RawMessage `json:"in,omitempty"` // one of such values
	Gt     json.RawMessage   `json:"gt,omitempty"` // numbers or texts
	Gte    json.RawMessage   `json:"gte,omitempty"`
	Lt     json.RawMessage   `json:"lt,omitempty"`
	Lte    json.RawMessage   `json:"lte,omitempty"`
	Prefix string            `json:"prefix,omitempty"` // of a text
	Exists *bool             `json:"exists,omitempty"`
}

// Bounds of a [Filter].
const (
	MaxFilterDepth  = 8      // of All, Any and Not within each other
	MaxFilterParts  = 100    // filters in all
	MaxFilterIn     = 1_000  // values of one In
	MaxFilterValues = 10_000 // values of all In together
	MaxTag          = 256    // bytes
	MaxField        = 1_024  // bytes of a pointer
	MaxFieldNames   = 32     // names in a pointer
	maxFilterText   = 64 << 10
)

// Validate tells what is wrong with a filter: a bad_request ([fault.Error]) whose
// field is the place in the filter, which itself is called where: "where.all[1].gte".
func (f *Filter) Validate() error {
	v := filterCheck{}
	return v.filter("where", f, 1)
}

// filterCheck counts what there is of a filter.
type filterCheck struct{ parts, values int }

func (v *filterCheck) filter(at string, f *Filter, depth int) error {
	if v.parts++; v.parts > MaxFilterParts {
		return fault.Field(at, "is more than the %d filters that are possible", MaxFilterParts)
	}
	if depth > MaxFilterDepth {
		return fault.Field(at, "is nested more than %d levels deep", MaxFilterDepth)
	}
	var set []string
	for _, part := range []struct {
		name string
		is   bool
	}{{"all", f.All != nil}, {"any", f.Any != nil}, {"not", f.Not != nil}, {"tag", f.Tag != ""}, {"field", f.Field != "" || f.compares()}} {
		if part.is {
			set = append(set, part.name)
		}
	}
	if len(set) > 1 {
		return fault.Field(at, "has %s; one of them is possible", strings.Join(set, " and "))
	}
	if len(set) == 0 {
		return nil
	}
	switch set[0] {
	case "all":
		return v.list(at+".all", f.All, depth)
	case "any":
		return v.list(at+".any", f.Any, depth)
	case "not":
		return v.filter(at+".not", f.Not, depth+1)
	case "tag":
		return filterText(at+".tag", f.Tag, MaxTag)
	}
	return v.field(at, f)
}

func (v *filterCheck) list(at string, list []Filter, depth int) error {
	if len(list) == 0 {
		return fault.Field(at, "is empty")
	}
	for i := range list {
		if err := v.filter(fmt.Sprintf("%s[%d]", at, i), &list[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// compares tells whether anything is said of a field.
func (f *Filter) compares() bool {
	return f.Eq != nil || f.In != nil || f.Gt != nil || f.Gte != nil || f.Lt != nil || f.Lte != nil || f.Prefix != "" || f.Exists != nil
}

func (v *filterCheck) field(at string, f *Filter) error {
	if err := CheckField(at+".field", f.Field); err != nil {
		return err
	}
	var alone, low, high []string
	for _, c := range []struct {
		name string
		is   bool
		list *[]string
	}{
		{"eq", f.Eq != nil, &alone}, {"in", f.In != nil, &alone}, {"prefix", f.Prefix != "", &alone}, {"exists", f.Exists != nil, &alone},
		{"gt", f.Gt != nil, &low}, {"gte", f.Gte != nil, &low}, {"lt", f.Lt != nil, &high}, {"lte", f.Lte != nil, &high},
	} {
		if c.is {
			*c.list = append(*c.list, c.name)
		}
	}
	all := append(append(alone, low...), high...)
	if len(all) == 0 {
		return fault.Field(at, "says nothing of its field; eq, in, gt, gte, lt, lte, prefix or exists is needed")
	}
	if len(alone) > 1 || len(alone) == 1 && len(all) > 1 || len(low) > 1 || len(high) > 1 {
		return fault.Field(at, "has %s; one of them is possible, or a lower and an upper bound", strings.Join(all, " and "))
	}
	if f.Prefix != "" {
		return filterText(at+".prefix", f.Prefix, maxFilterText)
	}
	if f.Eq != nil {
		return filterValue(at+".eq", f.Eq, false)
	}
	if f.In != nil {
		return v.in(at+".in", f.In)
	}
	for _, bound := range []struct {
		name string
		raw  json.RawMessage
	}{{"gt", f.Gt}, {"gte", f.Gte}, {"lt", f.Lt}, {"lte", f.Lte}} {
		if bound.raw != nil {
			if err := filterValue(at+"."+bound.name, bound.raw, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *filterCheck) in(at string, list []json.RawMessage) error {
	if len(list) == 0 || len(list) > MaxFilterIn {
		return fault.Field(at, "has %d values; 1 to %d are possible", len(list), MaxFilterIn)
	}
	if v.values += len(list); v.values > MaxFilterValues {
		return fault.Field(at, "makes more than the %d values that are possible in all", MaxFilterValues)
	}
	for i, raw := range list {
		if err := filterValue(fmt.Sprintf("%s[%d]", at, i), raw, false); err != nil {
			return err
		}
	}
	return nil
}

// filterValue checks a value to compare with. ordered: it is a bound.
func filterValue(at string, raw json.RawMessage, ordered bool) error {
	kinds := "a text, a number, true, false or null"
	if ordered {
		kinds = "a text or a number"
	}
	var value any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if len(raw) > maxFilterText+2 || !json.Valid(raw) || d.Decode(&value) != nil {
		return fault.Field(at, "must be %s of at most %d bytes", kinds, maxFilterText)
	}
	switch value := value.(type) {
	case string:
		return filterText(at, value, maxFilterText)
	case json.Number:
		if !NumberFits(value.String()) {
			return fault.Field(at, "%.40s is beyond the range of a 64-bit floating point number", value)
		}
		return nil
	case bool, nil:
		if !ordered {
			return nil
		}
	}
	return fault.Field(at, "must be %s", kinds)
}

func filterText(at, text string, most int) error {
	switch {
	case len(text) > most:
		return fault.Field(at, "has %d bytes; at most %d are possible", len(text), most)
	case !utf8.ValidString(text):
		return fault.Field(at, "is not valid UTF-8")
	case strings.IndexByte(text, 0) >= 0:
		return fault.Field(at, "has a NUL character, which no attribute can have")
	}
	return nil
}

// NumberFits tells whether the text of a JSON number is within the range of a
// 64-bit floating point number: not beyond its largest one, and not so small that it
// would be zero without being it.
func NumberFits(text string) bool {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(value, 0) {
		return false
	}
	digits, _, _ := strings.Cut(strings.ToLower(text), "e")
	return value != 0 || !strings.ContainsAny(digits, "123456789")
}

// CheckField tells what is wrong with the place of an attribute, a JSON Pointer; at
// is what the error calls it.
func CheckField(at, pointer string) error {
	if pointer == "" {
		return fault.Field(at, "is missing: a JSON Pointer such as /city")
	}
	if err := filterText(at, pointer, MaxField); err != nil {
		return err
	}
	path, err := tree.ParsePath(pointer)
	if err != nil {
		return fault.Field(at, "%s", fault.Of(err).Message)
	}
	if len(path) > MaxFieldNames {
		return fault.Field(at, "has %d names; at most %d are possible", len(path), MaxFieldNames)
	}
	return nil
}
