package channel

import "github.com/google/jsonschema-go/jsonschema"

// Schema describes targets: one or a list, each with exactly one member.
func (Targets) Schema() *jsonschema.Schema {
	one := func(name, description string, enum ...any) *jsonschema.Schema {
		return &jsonschema.Schema{
			Type: "object", Required: []string{name},
			Properties:           map[string]*jsonschema.Schema{name: {Type: "string", Description: description, Enum: enum}},
			AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
		}
	}
	target := func() *jsonschema.Schema {
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			one("channel", "the subscribers of a channel"),
			one("connection", "one connection"),
			one("user", "all connections of a user"),
			one("all", "everybody, or everybody who is bound to a user", "connections", "users"),
		}}
	}
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{target(), {Type: "array", MaxItems: ptr(maxTargets), Items: target()}}}
}

func ptr[T any](v T) *T { return &v }
