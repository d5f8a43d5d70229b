package httpapi

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
)

// Schemer is a params or result type that describes itself, where reflection
// would tell too little.
type Schemer interface{ Schema() *jsonschema.Schema }

// object is one JSON object of the description.
type object = map[string]any

// describe builds the OpenAPI 3.1 document from the registry's own types.
func describe(r *verb.Registry, version string) []byte {
	paths := object{}
	for _, name := range r.Names() {
		v := r.Find(name)
		parameters := []any{}
		if v.Keyed {
			parameters = append(parameters, object{
				"name": "Idempotency-Key", "in": "header", "schema": object{"type": "string", "maxLength": 128},
				"description": "A repeat with the same key and body gets the first answer; with another body it is a conflict.",
			})
		}
		paths[prefix+name] = object{"post": object{
			"operationId": name, "summary": v.Summary, "tags": []string{family(name)}, "parameters": parameters, "x-class": auth.ClassOf(name).String(),
			"requestBody": object{"required": true, "content": object{"application/json": object{"schema": schemaOf(v.Params)}}},
			"responses": object{
				"200":     object{"description": "done", "content": object{"application/json": object{"schema": schemaOf(v.Result)}}},
				"default": object{"$ref": "#/components/responses/Problem"},
			},
		}}
	}
	paths[prefix+"batch"] = batchPath()
	codes := make([]string, len(fault.Codes))
	for i, c := range fault.Codes {
		codes[i] = string(c)
	}
	doc := object{
		"openapi":  "3.1.0",
		"info":     object{"title": "Skein server API", "version": version, "description": "Server verbs over HTTP: POST a JSON object, get a JSON object. Errors are problem details (RFC 9457) with a code."},
		"security": []any{object{"key": []string{}}},
		"paths":    paths,
		"components": object{
			"securitySchemes": object{"key": object{"type": "http", "scheme": "bearer", "description": "an API key"}},
			"responses": object{"Problem": object{
				"description": "the verb failed", "content": object{"application/problem+json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}},
			}},
			"schemas": object{"Problem": object{
				"type": "object", "required": []string{"status", "code", "detail"},
				"properties": object{
					"title": object{"type": "string"}, "status": object{"type": "integer"},
					"code":        object{"type": "string", "enum": codes},
					"detail":      object{"type": "string", "description": "what is wrong, for people"},
					"field":       object{"type": "string", "description": "the field that is wrong"},
					"retry_after": object{"type": "integer", "description": "milliseconds to wait before trying again"},
				},
			}},
		},
	}
	b, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return []byte(`{"openapi":"3.1.0","info":{"title":"Skein server API","version":"unknown"},"paths":{}}`)
	}
	return b
}

func family(name string) string {
	first, _, _ := strings.Cut(name, ".")
	return first
}

func batchPath() object {
	command := object{"type": "object", "required": []string{"verb"}, "properties": object{
		"verb": object{"type": "string"}, "params": object{"type": "object"},
	}}
	result := object{"type": "object", "properties": object{
		"ok": object{"type": "object"}, "error": object{"$ref": "#/components/schemas/Problem"},
	}}
	return object{"post": object{
		"operationId": "batch", "summary": "Runs several verbs one after the other; each has its own result.", "tags": []string{"batch"},
		"requestBody": object{"required": true, "content": object{"application/json": object{"schema": object{
			"type": "object", "required": []string{"commands"}, "properties": object{"commands": object{"type": "array", "maxItems": maxBatch, "items": command}},
		}}}},
		"responses": object{
			"200": object{"description": "done", "content": object{"application/json": object{"schema": object{
				"type": "object", "properties": object{"results": object{"type": "array", "items": result}},
			}}}},
			"default": object{"$ref": "#/components/responses/Problem"},
		},
	}}
}

// schemaOf describes a type from its Go definition.
func schemaOf(t reflect.Type) *jsonschema.Schema {
	if s, ok := reflect.Zero(t).Interface().(Schemer); ok {
		return s.Schema()
	}
	custom := map[reflect.Type]*jsonschema.Schema{reflect.TypeFor[json.RawMessage](): {}}
	addSchemers(t, custom, map[reflect.Type]bool{})
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: custom})
	if err != nil {
		return &jsonschema.Schema{Type: "object"}
	}
	return s
}

// addSchemers finds the types below t that describe themselves.
func addSchemers(t reflect.Type, custom map[reflect.Type]*jsonschema.Schema, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	if s, ok := reflect.Zero(t).Interface().(Schemer); ok {
		custom[t] = s.Schema()
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			addSchemers(t.Field(i).Type, custom, seen)
		}
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		addSchemers(t.Elem(), custom, seen)
	}
}
