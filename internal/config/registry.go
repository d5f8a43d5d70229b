package config

import (
	"reflect"
	"strings"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/registry"
)

// shape is what the value of a setting looks like.
type shape = registry.Shape

const (
	section  = registry.Section
	table    = registry.Table
	list     = registry.List
	words    = registry.Words
	text     = registry.Text
	whole    = registry.Whole
	truth    = registry.Truth
	duration = registry.Duration
	size     = registry.Size
)

// setting is one field of skein.Config, or the element of a table or list.
type setting struct {
	name   string // its key; empty for the root and for elements
	path   string // "auth.timeout"; an element is "namespaces.*" or "api.keys[*]"
	env    string // its environment variable; empty when it has none of its own
	doc    string
	secret bool
	shape  shape
	typ    reflect.Type
	index  []int      // of the field, from the root or the element that it is in
	fields []*setting // of a section
	elem   *setting   // of a table or list

	entry *registry.Setting // what it is made of
}

// settings reads the registry off skein.Config.
func settings() *setting { return settingOf(registry.Of(reflect.TypeFor[skein.Config]())) }

func settingOf(r *registry.Setting) *setting {
	s := &setting{name: r.Name, path: r.Path, env: r.Env, doc: r.Doc, secret: r.Secret, shape: r.Shape, typ: r.Type, index: r.Index, entry: r}
	for _, f := range r.Fields {
		s.fields = append(s.fields, settingOf(f))
	}
	if r.Elem != nil {
		s.elem = settingOf(r.Elem)
	}
	return s
}

func join(parent, name string) string { return registry.Join(parent, name) }

// EnvName is the environment variable of a setting: SKEIN_AUTH_TIMEOUT for
// "auth.timeout".
func EnvName(path string) string { return registry.EnvName(path) }

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

// walk calls fn for every value of cfg, as [registry.Setting.Walk] does.
func (s *setting) walk(cfg skein.Config, fn func(value)) {
	known := map[*registry.Setting]*setting{}
	s.each(func(s *setting) { known[s.entry] = s })
	s.entry.Walk(cfg, func(v registry.Value) { fn(value{setting: known[v.Setting], path: v.Path, v: v.V}) })
}

// text writes the value as YAML would have it.
func (v value) text() string { return registry.Write(v.v) }

// shown is text for people, with secrets masked.
func (v value) shown() string {
	return registry.Value{Setting: v.entry, Path: v.path, V: v.v}.Show()
}
