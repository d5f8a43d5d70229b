package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/skein-realtime/skein"
)

// decoder fills settings from one YAML text.
type decoder struct {
	*loader
	src     *source
	body    ast.Node
	anchors map[string]ast.Node
	left    int // values that may still come
}

// document decodes the whole text as the configuration.
func (d *decoder) document(v reflect.Value) {
	d.decode(d.root, "", v, d.body)
}

// decode fills v, the setting s at path, from a node. Problems are noted, and
// what is wrong keeps its old value.
func (d *decoder) decode(s *setting, path string, v reflect.Value, n ast.Node) {
	n = d.follow(n)
	if n == nil || !d.spend(n) {
		return
	}
	if s.env != "" {
		d.forget(path)
	}
	// The place of a value is the value, but that of a map is its key, if it has one.
	if _, mapping := n.(ast.MapNode); path != "" && (!mapping || d.places[path].src != d.src) {
		d.claim(path, d.start(n))
	}
	if _, null := n.(*ast.NullNode); null && s.shape <= words {
		return // a section with all its keys commented out
	}
	switch s.shape {
	case section:
		d.section(s, path, v, n)
	case table:
		d.table(s, path, v, n)
	case list, words:
		d.list(s, path, v, n)
	default:
		d.scalar(s, path, v, n)
	}
}

func (d *decoder) mismatch(s *setting, path string, n ast.Node, hint string) {
	found := looks(n)
	if s.secret {
		found = "something else"
	}
	d.wrong(d.start(n), path, "expected %s, found %s%s", s.shape, found, hint)
}

func (d *decoder) section(s *setting, path string, v reflect.Value, n ast.Node) {
	pairs, ok := d.pairs(n, path, 0)
	if !ok {
		d.mismatch(s, path, n, "; its keys are "+strings.Join(s.names(), ", "))
		return
	}
	for _, p := range pairs {
		child := s.child(p.key)
		if child == nil {
			d.unknown(s, path, p)
			continue
		}
		d.claim(join(path, p.key), p.at)
		d.decode(child, join(path, p.key), child.of(v), p.value)
	}
}

// unknown reports a key that is not there, and what was probably meant.
func (d *decoder) unknown(s *setting, path string, p pair) {
	name := shorten(p.key)
	if why := planned(join(s.path, p.key)); why != "" {
		d.wrong(p.at, path, "%s", notHere(why, name))
		return
	}
	meant := Closest(p.key, s.names())
	if meant != "" {
		if child := s.child(meant); child.secret {
			d.hide(p.value)
		}
		d.wrong(p.at, path, "unknown key `%s`; did you mean `%s`?", name, meant)
		return
	}
	var elsewhere []string
	d.root.each(func(other *setting) {
		if other.name != "" && plain(other.name) == plain(p.key) {
			elsewhere = append(elsewhere, "`"+other.path+"`")
		}
	})
	if len(elsewhere) > 0 {
		d.wrong(p.at, path, "unknown key `%s` here; there is %s", name, strings.Join(elsewhere, " and "))
		return
	}
	d.wrong(p.at, path, "unknown key `%s`; the keys here are %s", name, strings.Join(s.names(), ", "))
}

// hide keeps the text of a node out of every excerpt.
func (d *decoder) hide(n ast.Node) {
	if n = d.follow(n); n != nil {
		if s, ok := n.(ast.ScalarNode); ok {
			d.keepSecret(s.GetToken().Value)
		}
	}
}

func (l *loader) keepSecret(s string) {
	if len(s) > 3 {
		l.secrets = append(l.secrets, s)
	}
}

func (d *decoder) table(s *setting, path string, v reflect.Value, n ast.Node) {
	pairs, ok := d.pairs(n, path, 0)
	if !ok {
		d.mismatch(s, path, n, "")
		return
	}
	if len(pairs) == 0 {
		v.SetZero()
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(pairs))
	for _, p := range pairs {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.claim(join(path, p.key), p.at)
		d.decode(s.elem, join(path, p.key), elem, p.value)
		m.SetMapIndex(reflect.ValueOf(p.key), elem)
	}
	v.Set(m)
}

func (d *decoder) list(s *setting, path string, v reflect.Value, n ast.Node) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		hint := ""
		if _, scalar := n.(ast.ScalarNode); scalar && s.shape == words {
			hint = "; put it in brackets: [" + shorten(n.GetToken().Value) + "]"
		}
		d.mismatch(s, path, n, hint)
		return
	}
	elem := s.elem
	if s.shape == words {
		elem = &setting{path: s.path + "[*]", shape: text, secret: s.secret}
	}
	items := reflect.MakeSlice(v.Type(), 0, min(len(seq.Values), maxValues))
	for i, value := range seq.Values {
		item := reflect.New(v.Type().Elem()).Elem()
		d.decode(elem, path+"["+strconv.Itoa(i)+"]", item, value)
		items = reflect.Append(items, item)
	}
	if len(seq.Values) == 0 {
		v.SetZero()
		return
	}
	v.Set(items)
}

func (d *decoder) scalar(s *setting, path string, v reflect.Value, n ast.Node) {
	if s.secret {
		d.hide(n)
	}
	raw, ok := "", false
	switch n := n.(type) {
	case *ast.StringNode:
		raw, ok = n.Value, s.shape == text || s.shape == duration || s.shape == size
	case *ast.LiteralNode:
		raw, ok = n.Value.Value, s.shape == text
	case *ast.BoolNode:
		raw, ok = strconv.FormatBool(n.Value), s.shape == truth
	case *ast.IntegerNode:
		raw, ok = n.GetToken().Value, s.shape == whole || s.shape == duration || s.shape == size
	case *ast.NullNode:
		d.wrong(d.start(n), path, "has no value; write one, or leave the key out")
		return
	}
	if !ok {
		d.mismatch(s, path, n, quoteHint(s, n))
		return
	}
	d.set(d.start(n), s, path, v, raw)
}

// quoteHint tells when quotes, or leaving them out, is all that is needed.
func quoteHint(s *setting, n ast.Node) string {
	switch n.(type) {
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		if s.shape == text {
			return "; put it in quotes"
		}
	case *ast.StringNode:
		if _, err := strconv.Atoi(n.GetToken().Value); err == nil && s.shape == whole {
			return "; leave the quotes out"
		}
	}
	return ""
}

// set gives v a value that was written as raw.
func (l *loader) set(at place, s *setting, path string, v reflect.Value, raw string) {
	fresh := reflect.New(v.Type()).Elem()
	if err := parse(s.shape, fresh, raw); err != nil {
		l.wrong(at, path, "%v", err)
		return
	}
	if def := l.defaultOf(s); fresh.IsZero() && def != "" {
		l.wrong(at, path, "%s stands for the default, %s; write that, or leave it out", value{setting: s, v: fresh}.text(), def)
		return
	}
	v.Set(fresh)
}

// defaultOf gives the default of a setting as text when it is not zero, "" for
// any other and for what is inside a table or list.
func (l *loader) defaultOf(s *setting) string {
	if l.root.find(s.path) == nil {
		return ""
	}
	if def := reflect.ValueOf(skein.DefaultConfig()).FieldByIndex(s.index); !def.IsZero() {
		return value{setting: s, v: def}.text()
	}
	return ""
}

// parse reads a scalar.
func parse(s shape, v reflect.Value, raw string) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(raw))
	}
	switch s {
	case text:
		v.SetString(raw)
	case truth:
		switch raw {
		case "true", "false":
			v.SetBool(raw == "true")
		default:
			return fmt.Errorf("%q is not true or false", shorten(raw))
		}
	case whole:
		n, err := strconv.ParseInt(strings.ReplaceAll(raw, "_", ""), 0, 32)
		if err != nil {
			return fmt.Errorf("%q is not a whole number within 32 bits", shorten(raw))
		}
		v.SetInt(n)
	}
	return nil
}
