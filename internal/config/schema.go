package config

import (
	"encoding/json"
	"reflect"
	"strconv"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein"
)

// Schema gives the JSON Schema (draft 2020-12) of the configuration file, for
// editors. It knows shapes, names and bounds; what goes beyond them, such as
// whether a file is there, only Load finds out.
func Schema() ([]byte, error) {
	s := settings().schema(reflect.ValueOf(skein.DefaultConfig()))
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "Configuration of skein"
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// schema describes a setting. def is its default, invalid for what is inside a
// table or list.
func (s *setting) schema(def reflect.Value) *jsonschema.Schema {
	out := &jsonschema.Schema{Description: s.doc}
	switch s.shape {
	case section:
		s.sectionSchema(out, def)
		return out
	case table:
		out.Types = []string{"object", "null"}
		out.AdditionalProperties = s.elem.schema(reflect.Value{})
		return out
	case list:
		out.Types = []string{"array", "null"}
		out.Items = s.elem.schema(reflect.Value{})
		return out
	case words:
		out.Types = []string{"array", "null"}
		out.Items = &jsonschema.Schema{Type: "string"}
		if s.required() {
			out.Type, out.Types, out.MinItems = "array", nil, new(1)
		}
		return out
	}
	out.Description = s.describe()
	s.scalarSchema(out)
	if def.IsValid() {
		out.Default, _ = json.Marshal(def.Interface())
	}
	return out
}

func (s *setting) sectionSchema(out *jsonschema.Schema, def reflect.Value) {
	out.Types = []string{"object", "null"}
	out.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	out.Properties = map[string]*jsonschema.Schema{}
	for _, f := range s.fields {
		below := reflect.Value{}
		if def.IsValid() {
			below = f.of(def)
		}
		out.Properties[f.name] = f.schema(below)
		out.PropertyOrder = append(out.PropertyOrder, f.name)
		if f.required() {
			out.Required = append(out.Required, f.name)
		}
	}
	if len(out.Required) > 0 {
		out.Type, out.Types = "object", nil
	}
}

func (s *setting) scalarSchema(out *jsonschema.Schema) {
	b := s.bounds()
	switch s.shape {
	case truth:
		out.Type = "boolean"
	case text:
		out.Type = "string"
		for _, v := range b.oneOf {
			out.Enum = append(out.Enum, v)
		}
		if s.required() {
			out.MinLength = new(1)
		}
	case duration:
		out.Type = "string"
		out.Pattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	case whole:
		out.Type = "integer"
		out.Minimum, out.Maximum = number(b.low), number(b.high)
	case size:
		bytes := &jsonschema.Schema{Type: "integer", Minimum: number(b.low), Maximum: number(b.high)}
		if reflect.ValueOf(skein.DefaultConfig()).FieldByIndex(s.index).IsZero() {
			bytes.Minimum = new(0.0) // zero has a meaning of its own
		}
		out.AnyOf = []*jsonschema.Schema{bytes, {Type: "string", Pattern: `^[0-9]+ ?(B|[kK]B|MB|GB|KiB|MiB|GiB)?$`}}
	}
}

// number gives a bound as JSON Schema wants it, nil when there is none.
func number(bound string) *float64 {
	f, err := strconv.ParseFloat(bound, 64)
	if err != nil {
		return nil
	}
	return &f
}
