// Package registry is the list of settings of a configuration: the fields of a struct with
// their yaml, doc, secret and optional tags. The names of keys and environment variables
// come from it, and so does the text of each value, with secrets masked.
//
// It keeps nothing and starts no goroutine.
package registry

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Shape is what the value of a setting looks like.
type Shape int

// The shapes.
const (
	Section  Shape = iota // named settings
	Table                 // named sections
	List                  // sections in order
	Words                 // texts in order
	Text                  // a string
	Whole                 // an integer
	Truth                 // true or false
	Duration              // "15s"
	Size                  // "64KiB" or bytes
)

// shapes says in words what a shape looks like, for messages.
var shapes = [...]string{
	Section: "a section with keys", Table: "a map of names", List: "a list", Words: "a list of texts", Text: "text",
	Whole: "a whole number", Truth: "true or false", Duration: "a duration such as 15s", Size: "a size such as 64KiB",
}

// String implements fmt.Stringer.
func (s Shape) String() string { return shapes[s] }

// Setting is one field of a configuration, or the element of a table or list.
type Setting struct {
	Name   string // its key; empty for the root and for elements
	Path   string // "auth.timeout"; an element is "namespaces.*" or "api.keys[*]"
	Env    string // its environment variable; empty when it has none of its own
	Doc    string
	Secret bool
	// Address: a secret that is a URL, of which all but the password may be seen.
	Address bool
	Option  bool // a section that says nothing when all of it is left out
	Shape   Shape
	Type    reflect.Type
	Index   []int      // of the field, from the root or the element that it is in
	Fields  []*Setting // of a section
	Elem    *Setting   // of a table or list
}

// Of reads the settings off the type of a configuration.
func Of(t reflect.Type) *Setting {
	root := &Setting{Shape: Section, Type: t}
	root.addFields(true)
	return root
}

func (s *Setting) addFields(env bool) {
	for i := range s.Type.NumField() {
		f := s.Type.Field(i)
		name := f.Tag.Get("yaml")
		if name == "-" || name == "" {
			continue
		}
		child := &Setting{
			Name: name, Path: Join(s.Path, name), Doc: f.Tag.Get("doc"), Secret: f.Tag.Get("secret") != "", Address: f.Tag.Get("secret") == "address", Option: f.Tag.Get("optional") == "true",
			Shape: ShapeOf(f.Type), Type: f.Type, Index: append(slices.Clone(s.Index), i),
		}
		if env && child.Shape != Section {
			child.Env = EnvName(child.Path)
		}
		switch child.Shape {
		case Section:
			child.addFields(env)
		case Table:
			child.Elem = &Setting{Path: child.Path + ".*", Shape: Section, Type: f.Type.Elem()}
			child.Elem.addFields(false)
		case List:
			child.Elem = &Setting{Path: child.Path + "[*]", Shape: Section, Type: f.Type.Elem()}
			child.Elem.addFields(false)
		}
		s.Fields = append(s.Fields, child)
	}
}

// ShapeOf is the shape of a type. Types called Duration and Size write themselves.
func ShapeOf(t reflect.Type) Shape {
	if t.Kind() == reflect.Pointer { // it can be left out where zero means something
		t = t.Elem()
	}
	if t == reflect.TypeFor[[]string]() {
		return Words
	}
	switch t.Kind() {
	case reflect.Int64:
		if t.Implements(reflect.TypeFor[fmt.Stringer]()) {
			switch t.Name() {
			case "Duration":
				return Duration
			case "Size":
				return Size
			}
		}
	case reflect.Struct:
		return Section
	case reflect.Map:
		return Table
	case reflect.Slice:
		return List
	case reflect.Bool:
		return Truth
	case reflect.Int:
		return Whole
	case reflect.String:
		return Text
	}
	panic("registry: a field of type " + t.String() + " has no shape")
}

// Join is the path of a key.
func Join(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}

// EnvName is the environment variable of a setting: SKEIN_AUTH_TIMEOUT for
// "auth.timeout".
func EnvName(path string) string {
	return "SKEIN_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// Value is one value of a configuration.
type Value struct {
	*Setting
	Path string // with names and indexes
	V    reflect.Value
}

// Walk calls fn for every value of cfg, in the order of the registry; names of
// a table in alphabetical order. An empty table or list, and a section that is left out, is a value itself.
func (s *Setting) Walk(cfg any, fn func(Value)) {
	s.visit("", reflect.ValueOf(cfg), fn)
}

func (s *Setting) visit(path string, v reflect.Value, fn func(Value)) {
	switch {
	case s.Shape == Section && !(s.Option && v.IsZero()):
		for _, f := range s.Fields {
			f.visit(Join(path, f.Name), v.Field(f.Index[len(f.Index)-1]), fn)
		}
	case s.Shape == Table && v.Len() > 0:
		names := make([]string, 0, v.Len())
		for _, k := range v.MapKeys() {
			names = append(names, k.String())
		}
		slices.Sort(names)
		for _, name := range names {
			s.Elem.visit(Join(path, name), v.MapIndex(reflect.ValueOf(name)), fn)
		}
	case s.Shape == List && v.Len() > 0:
		for i := range v.Len() {
			s.Elem.visit(path+"["+strconv.Itoa(i)+"]", v.Index(i), fn)
		}
	default:
		fn(Value{Setting: s, Path: path, V: v})
	}
}

// Write writes a value as YAML would have it.
func Write(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "null"
		}
		v = v.Elem()
	}
	switch ShapeOf(v.Type()) {
	case Section, Table:
		return "{}"
	case List:
		return "[]"
	case Words:
		quoted := make([]string, v.Len())
		for i := range quoted {
			quoted[i] = Quote(v.Index(i).String())
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case Text:
		return Quote(v.String())
	case Duration, Size:
		return v.Interface().(fmt.Stringer).String()
	case Truth:
		return strconv.FormatBool(v.Bool())
	default:
		return strconv.FormatInt(v.Int(), 10)
	}
}

// Mask is shown instead of a secret.
const Mask = "********"

// Show writes a value for people: a secret is masked, and so is what an address says of who
// uses it.
func (v Value) Show() string {
	switch {
	case v.V.IsZero():
	case v.Secret && !v.Address:
		return Mask
	case v.Shape == Text && (v.Address || strings.Contains(v.V.String(), "://")):
		return address(v.V.String())
	}
	return Write(v.V)
}

// address writes a URL without password and query.
func address(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || strings.Contains(u.Path, "@") || u.User != nil && strings.Contains(u.User.Username(), ":") {
		return Mask // who knows where in it the password is
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	more := u.RawQuery != "" || u.Fragment != ""
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	if text = u.String(); more {
		text += "?" + Mask
	}
	return Quote(text)
}

// Quote puts a text into double quotes unless it is a plain word. The escapes
// of JSON strings, which strconv.Quote mostly shares, are YAML's too.
func Quote(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._/:-", r))
	}) || !isPlain(s) {
		return strconv.Quote(s)
	}
	return s
}

// isPlain tells whether YAML reads a word without special characters as text.
func isPlain(s string) bool {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", ".inf", ".nan":
		return false
	}
	first := s[0]
	_, err := strconv.ParseFloat(s, 64)
	return err != nil && first != '-' && first != ':' && first != '.' && s[len(s)-1] != ':' &&
		(first < '0' || first > '9' || strings.Count(s, ".") > 1)
}
