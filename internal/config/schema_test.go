package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"
)

func TestSchemaTakesTheExampleAndRefusesMistakes(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		t.Fatal(err)
	}
	hash := "sha256:" + strings.Repeat("0", 64)
	for _, tc := range []struct {
		text string
		ok   bool
	}{
		{string(Init()), true},
		{"{}", true},
		{"limits: {message: 65536, frame: 0, queue: 2MiB}\nheartbeat:\norigins: []\n", true},
		{"api: {keys: [{name: a, hash: \"" + hash + "\", scopes: [\"*\"]}]}\nnamespaces: {room: {subscribe: token}, hall: }\n", true},
		{"hartbeat: {}", false},
		{"auth: {timeout: 15}", false},
		{"auth: {timeout: soon}", false},
		{"auth: {anonymous: 1}", false},
		{"listen: 8000", false},
		{"heartbeat: {misses: 200}", false},
		{"heartbeat: {misses: 1.5}", false},
		{"limits: {message: 5}", false},
		{"limits: {message: many}", false},
		{"websocket: {driver: epol}", false},
		{"namespaces: {room: {kind: log, history: user, keep: {count: 1, age: 720h}}}", true},
		{"namespaces: {room: {kind: doc, rules: [\"/a write user\"]}}", true},
		{"namespaces: {room: {keep: {counts: 1}}}", false},
		{"api: {keys: [{name: a, hash: \"" + hash + "\"}]}", false},
		{"origins: https://a.example", false},
		{"[]", false},
	} {
		var v any
		if err := yaml.Unmarshal([]byte(tc.text), &v); err != nil {
			t.Fatal(err)
		}
		// Validate wants what encoding/json gives.
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(v); (err == nil) != tc.ok {
			t.Errorf("%.60q: %v", tc.text, err)
		}
	}
}
