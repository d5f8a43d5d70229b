package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein"
)

// shape is what the value of a setting looks like.
type shape int

const (
	section  shape = iota // named settings
	table                 // named sections
	list                  // sections in order
	words                 // texts in order
	text                  // a string
	whole                 // an integer
	truth                 // true or false
	duration              // "15s"
	size                  // "64KiB" or bytes
)

// shapes says in words what a shape looks like, for messages.
var shapes = [...]string{
	section: "a section with keys", table: "a map of names", list: "a list", words: "a list of texts", text: "text",
	whole: "a whole number", truth: "true or false", duration: "a duration such as 15s", size: "a size such as 64KiB",
}

func (s shape) String() string { return shapes[s] }

// setting is one field of skein.Config, or the element of a table or list.
type setting struct {
	name   string // its key; empty for the root and for elements
	path   string // "auth.timeout"; an element is "namespaces.*" or "api.keys[*]"
	env    string // its environment variable; empty when it has none of its own
	doc    string
	secret bool
	option bool // a section that says nothing when all of it is left out
	shape  shape
	typ    reflect.Type
	index  []int      // of the field, from the root or the element that it is in
	fields []*setting // of a section
	elem   *setting   // of a table or list
}

// settings reads the registry off skein.Config.
func settings() *setting {
	root := &setting{shape: section, typ: reflect.TypeFor[skein.Config]()}
	root.addFields(true)
	return root
}

func (s *setting) addFields(env bool) {
	for i := range s.typ.NumField() {
		f := s.typ.Field(i)
		name := f.Tag.Get("yaml")
		if name == "-" || name == "" {
			continue
		}
		child := &setting{
			name: name, path: join(s.path, name), doc: f.Tag.Get("doc"), secret: f.Tag.Get("secret") == "true", option: f.Tag.Get("optional") == "true",
			shape: shapeOf(f.Type), typ: f.Type, index: append(slices.Clone(s.index), i),
		}
		if env && child.shape != section {
			child.env = EnvName(child.path)
		}
		switch child.shape {
		case section:
			child.addFields(env)
		case table:
			child.elem = &setting{path: child.path + ".*", shape: section, typ: f.Type.Elem()}
			child.elem.addFields(false)
		case list:
			child.elem = &setting{path: child.path + "[*]", shape: section, typ: f.Type.Elem()}
			child.elem.addFields(false)
		}
		s.fields = append(s.fields, child)
	}
}

func shapeOf(t reflect.Type) shape {
	if t.Kind() == reflect.Pointer { // it can be left out where zero means something
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[skein.Duration]():
		return duration
	case reflect.TypeFor[skein.Size]():
		return size
	case reflect.TypeFor[[]string]():
		return words
	}
	switch t.Kind() {
	case reflect.Struct:
		return section
	case reflect.Map:
		return table
	case reflect.Slice:
		return list
	case reflect.Bool:
		return truth
	case reflect.Int:
		return whole
	case reflect.String:
		return text
	}
	panic("config: a field of type " + t.String() + " has no shape")
}

func join(parent, name string) string {
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

// child gives the setting of a key in a section, nil when there is none.
func (s *setting) child(name string) *setting {
	for _, f := range s.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// find gives the setting at a path of keys, nil when there is none.
func (s *setting) find(path string) *setting {
	for name := range strings.SplitSeq(path, ".") {
		if s = s.child(name); s == nil {
			return nil
		}
	}
	return s
}

// each calls fn for the setting and everything below it.
func (s *setting) each(fn func(*setting)) {
	fn(s)
	for _, f := range s.fields {
		f.each(fn)
	}
	if s.elem != nil {
		s.elem.each(fn)
	}
}

// names lists the keys of a section.
func (s *setting) names() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

// of gives the setting's field of the section above it.
func (s *setting) of(parent reflect.Value) reflect.Value {
	return parent.Field(s.index[len(s.index)-1])
}

// value is one value of a configuration.
type value struct {
	*setting
	path string // with names and indexes
	v    reflect.Value
}

// walk calls fn for every value of cfg, in the order of the registry; names of
// a table in alphabetical order. An empty table or list, and a section that is left out, is a value itself.
func (s *setting) walk(cfg skein.Config, fn func(value)) {
	s.visit("", reflect.ValueOf(cfg), fn)
}

func (s *setting) visit(path string, v reflect.Value, fn func(value)) {
	switch {
	case s.shape == section && !(s.option && v.IsZero()):
		for _, f := range s.fields {
			f.visit(join(path, f.name), f.of(v), fn)
		}
	case s.shape == table && v.Len() > 0:
		names := make([]string, 0, v.Len())
		for _, k := range v.MapKeys() {
			names = append(names, k.String())
		}
		slices.Sort(names)
		for _, name := range names {
			s.elem.visit(join(path, name), v.MapIndex(reflect.ValueOf(name)), fn)
		}
	case s.shape == list && v.Len() > 0:
		for i := range v.Len() {
			s.elem.visit(path+"["+strconv.Itoa(i)+"]", v.Index(i), fn)
		}
	default:
		fn(value{setting: s, path: path, v: v})
	}
}

// text writes the value as YAML would have it.
func (v value) text() string {
	if v.v.Kind() == reflect.Pointer {
		if v.v.IsNil() {
			return "null"
		}
		v.v = v.v.Elem()
	}
	switch v.shape {
	case section, table:
		return "{}"
	case list:
		return "[]"
	case words:
		quoted := make([]string, v.v.Len())
		for i := range quoted {
			quoted[i] = quote(v.v.Index(i).String())
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case text:
		return quote(v.v.String())
	case duration:
		return skein.Duration(v.v.Int()).String()
	case size:
		return skein.Size(v.v.Int()).String()
	case truth:
		return strconv.FormatBool(v.v.Bool())
	default:
		return strconv.FormatInt(v.v.Int(), 10)
	}
}

// quote puts a text into double quotes unless it is a plain word. The escapes
// of JSON strings, which strconv.Quote mostly shares, are YAML's too.
func quote(s string) string {
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
