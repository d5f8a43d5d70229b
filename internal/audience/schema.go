package audience

import (
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/store"
)

// Schema describes a target: an object with exactly one member. A list of a campaign is
// described by who takes it.
func (Target) Schema() *jsonschema.Schema { return schema(false) }

// ListTarget is a Target that may be the list of a campaign, for params that are
// described.
type ListTarget struct{ Target }

// Schema describes it.
func (ListTarget) Schema() *jsonschema.Schema { return schema(true) }

func schema(list bool) *jsonschema.Schema {
	one := func(name string, value *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{
			Type: "object", Required: []string{name}, Properties: map[string]*jsonschema.Schema{name: value},
			AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
		}
	}
	most := MaxUsers
	kinds := []*jsonschema.Schema{
		one("users", &jsonschema.Schema{Type: "array", MaxItems: &most, Items: &jsonschema.Schema{Type: "string"}, Description: "these users, each once"}),
		one("where", filterSchema()),
		one("members", &jsonschema.Schema{Type: "string", Description: "the members of a channel"}),
		one("all", &jsonschema.Schema{Type: "string", Enum: []any{"users"}, Description: "everybody that the server has heard of by now"}),
	}
	if list {
		yes := any(true)
		kinds = append(kinds, one("list", &jsonschema.Schema{Type: "boolean", Const: &yes, Description: "the list of the campaign"}))
	}
	return &jsonschema.Schema{OneOf: kinds}
}

// Schema describes it.
func (Where) Schema() *jsonschema.Schema { return filterSchema() }

// filterSchema describes a filter. What is within one is described as any object: a
// description that refers to itself cannot stand in the middle of another.
func filterSchema() *jsonschema.Schema {
	most, values := store.MaxFilterParts, store.MaxFilterIn
	scalar := func() *jsonschema.Schema {
		return &jsonschema.Schema{Types: []string{"string", "number", "boolean", "null"}}
	}
	bound := func(description string) *jsonschema.Schema {
		return &jsonschema.Schema{Types: []string{"string", "number"}, Description: description}
	}
	filters := func(description string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", MaxItems: &most, Items: &jsonschema.Schema{Type: "object"}, Description: description}
	}
	return &jsonschema.Schema{
		Type: "object", Description: "a filter over attributes; {} is everybody who has some",
		Properties: map[string]*jsonschema.Schema{
			"all":    filters("filters that all must fulfil"),
			"any":    filters("filters of which one at least must be fulfilled"),
			"not":    {Type: "object", Description: "a filter that must not be fulfilled"},
			"tag":    {Type: "string", Description: "one of the attribute tags"},
			"field":  {Type: "string", Description: "a JSON Pointer to a place in the attributes, with one or more of the following"},
			"eq":     scalar(),
			"in":     {Type: "array", MaxItems: &values, Items: scalar()},
			"gt":     bound("greater than it"),
			"gte":    bound("greater than it, or equal"),
			"lt":     bound("less than it"),
			"lte":    bound("less than it, or equal"),
			"prefix": {Type: "string", Description: "how a text begins"},
			"exists": {Type: "boolean", Description: "whether something is there"},
		},
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
}
