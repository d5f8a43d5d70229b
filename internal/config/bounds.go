package config

import (
	"math"
	"reflect"
	"strings"

	"github.com/skein-realtime/skein"
)

// bounds is what Validate allows a setting to be.
type bounds struct {
	oneOf     []string // nil: any text
	low, high string   // both empty: anything of the shape
}

// bounds asks Validate: it hands it an impossible value and reads the answer.
// So the limits are written down once, where they are enforced.
func (s *setting) bounds() bounds {
	message, found := s.complaint(func(v reflect.Value) {
		switch s.shape {
		case text:
			v.SetString("\x00")
		case whole, size, duration:
			if v.Kind() == reflect.Pointer {
				v.Set(reflect.New(v.Type().Elem()))
				v = v.Elem()
			}
			v.SetInt(math.MinInt32)
		}
	})
	if !found {
		return bounds{}
	}
	if _, allowed, ok := strings.Cut(message, " is not one of "); ok {
		return bounds{oneOf: strings.Split(allowed, ", ")}
	}
	if _, between, ok := strings.Cut(message, " is not between "); ok {
		low, high, _ := strings.Cut(between, " and ")
		return bounds{low: low, high: high}
	}
	return bounds{}
}

// complaint gives what Validate says about a setting that spoil has changed in
// an otherwise empty configuration, or in an element of one.
func (s *setting) complaint(spoil func(reflect.Value)) (message string, found bool) {
	cfg := skein.DefaultConfig()
	path := strings.NewReplacer("*]", "0]", ".*", ".x").Replace(s.path)
	switch {
	case strings.HasPrefix(s.path, "namespaces.*"):
		ns := skein.Namespace{}
		spoil(reflect.ValueOf(&ns).Elem().FieldByIndex(s.index))
		cfg.Namespaces = map[string]skein.Namespace{"x": ns}
	case strings.HasPrefix(s.path, "categories.*"):
		category := skein.Category{}
		spoil(reflect.ValueOf(&category).Elem().FieldByIndex(s.index))
		cfg.Categories = map[string]skein.Category{"x": category}
	case strings.HasPrefix(s.path, "socketio.namespaces.*"):
		path = strings.Replace(s.path, "*", "/x", 1)
		ns := skein.SocketIONamespace{}
		spoil(reflect.ValueOf(&ns).Elem().FieldByIndex(s.index))
		cfg.SocketIO.Namespaces = map[string]skein.SocketIONamespace{"/x": ns}
	case strings.HasPrefix(s.path, "api.keys[*]"):
		cfg.API.Keys = make([]skein.APIKey, 1)
		spoil(reflect.ValueOf(&cfg.API.Keys[0]).Elem().FieldByIndex(s.index))
	case strings.HasPrefix(s.path, "console.users[*]"):
		cfg.Console.Users = make([]skein.ConsoleUser, 1)
		spoil(reflect.ValueOf(&cfg.Console.Users[0]).Elem().FieldByIndex(s.index))
	default:
		spoil(reflect.ValueOf(&cfg).Elem().FieldByIndex(s.index))
	}
	for _, e := range configErrors(cfg.Validate()) {
		if e.Path == path {
			return e.Message, true
		}
	}
	return "", false
}

// required tells whether an element must have the setting.
func (s *setting) required() bool {
	if !strings.Contains(s.path, "*") {
		return false
	}
	_, complained := s.complaint(func(v reflect.Value) { v.SetZero() })
	return complained
}

// describe gives the doc with the bounds where it does not tell them itself.
func (s *setting) describe() string {
	b := s.bounds()
	switch {
	case b.low != "" && !strings.Contains(s.doc, "no limit"):
		return s.doc + " (" + readable(s.shape, b.low) + " to " + readable(s.shape, b.high) + ")"
	case len(b.oneOf) > 0 && !strings.Contains(s.doc, b.oneOf[len(b.oneOf)-1]):
		return s.doc + " (" + strings.Join(b.oneOf, " | ") + ")"
	}
	return s.doc
}

func readable(s shape, bound string) string {
	var n skein.Size
	if s == size && n.UnmarshalText([]byte(bound)) == nil {
		return n.String()
	}
	return bound
}
