package httpapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
)

func TestTheDescriptionHasEveryVerb(t *testing.T) {
	w := start(t)
	res, body := w.do(call{method: "GET", path: "/api/v1/openapi.json"}) // no key: it tells no secrets
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %s", res.Status)
	}
	doc := object(t, body)
	if info := doc["info"].(map[string]any); doc["openapi"] != "3.1.0" || info["version"] != "1.2.3" {
		t.Errorf("it is %v, of version %v", doc["openapi"], info["version"])
	}
	var got []string
	ids := map[string]bool{}
	for path, item := range doc["paths"].(map[string]any) {
		post := item.(map[string]any)["post"].(map[string]any)
		id := post["operationId"].(string)
		if path != "/api/v1/"+id || ids[id] || post["summary"] == "" || post["requestBody"] == nil {
			t.Errorf("%s: %v", path, post)
		}
		ids[id] = true
		got = append(got, id)
		keyed := strings.Contains(string(mustJSON(t, post)), "Idempotency-Key")
		if v := w.verbs.Find(id); v != nil && v.Keyed != keyed {
			t.Errorf("%s: the description says that it takes a key: %v", id, keyed)
		}
	}
	slices.Sort(got)
	want := append(w.verbs.Names(), "batch")
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryReferenceResolves(t *testing.T) {
	w := start(t)
	_, body := w.do(call{method: "GET", path: "/api/v1/openapi.json"})
	doc := object(t, body)
	count := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				count++
				path, local := strings.CutPrefix(ref, "#/")
				var at any = doc
				for _, step := range strings.Split(path, "/") {
					m, _ := at.(map[string]any)
					at = m[step]
				}
				if !local || at == nil {
					t.Errorf("%s leads nowhere", ref)
				}
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(doc)
	if count == 0 {
		t.Error("there are no references at all")
	}
}

// schema finds the schema of a verb's params or result and makes it ready.
func schema(t *testing.T, doc map[string]any, verb, part string) *jsonschema.Resolved {
	t.Helper()
	at := doc["paths"].(map[string]any)["/api/v1/"+verb].(map[string]any)["post"].(map[string]any)
	if part == "params" {
		at = at["requestBody"].(map[string]any)
	} else {
		at = at["responses"].(map[string]any)["200"].(map[string]any)
	}
	raw := mustJSON(t, at["content"].(map[string]any)["application/json"].(map[string]any)["schema"])
	var s jsonschema.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	return r
}

func TestParamsSchemas(t *testing.T) {
	w := start(t)
	_, body := w.do(call{method: "GET", path: "/api/v1/openapi.json"})
	doc := object(t, body)
	const c = `"AAAAAAAAAAAAAAAAAAAAAA"`
	tests := []struct {
		verb  string
		good  []string
		wrong []string
	}{
		{"publish", []string{
			`{"to":{"channel":"room:1"},"data":{"x":1}}`, `{"to":[{"user":"a"},{"connection":` + c + `}],"data":null,"event":"e","key":"k"}`,
			`{"to":{"all":"users"},"data":[1],"exclude":{"connections":[` + c + `],"users":["a"]}}`, `{"to":[],"data":"text"}`,
		}, []string{
			`{"data":1}`, `{"to":{"channel":"room:1"}}`, `{"to":{},"data":1}`, `{"to":{"channel":"a:1","user":"b"},"data":1}`, `{"to":{"all":"everybody"},"data":1}`,
			`{"to":"room:1","data":1}`, `{"to":{"channel":5},"data":1}`, `{"to":{"all":"users"},"data":1,"exclud":{}}`, `{"to":{"all":"users"},"data":1,"exclude":{"user":[]}}`,
			`{"to":{"all":"users"},"data":1,"event":5}`, `[]`,
		}},
		{"subscribe", []string{`{"connection":` + c + `,"channel":"room:1"}`, `{"user":"u","channel":"room:1"}`}, []string{`{"user":"u"}`, `{"user":5,"channel":"room:1"}`, `{"users":["u"],"channel":"room:1"}`}},
		{"unsubscribe", []string{`{"user":"u","channel":"room:1"}`}, []string{`{}`}},
		{"channels", []string{`{}`, `{"prefix":"room:","after":"room:1","limit":5}`}, []string{`{"limit":"5"}`, `{"limit":1.5}`, `{"page":1}`}},
		{"presence", []string{`{"channel":"room:1"}`}, []string{`{}`, `{"channel":null}`}},
		{"bind", []string{`{"connection":` + c + `,"user":"u"}`, `{"connection":` + c + `,"user":"u","device":"d"}`}, []string{`{"connection":` + c + `}`, `{"user":"u"}`}},
		{"unbind", []string{`{"connection":` + c + `}`}, []string{`{}`}},
		{"disconnect", []string{`{"user":"u","device":"d","code":4001,"message":"m","last":{"event":"e","data":1},"reconnect":true}`}, []string{`{"code":"4001"}`, `{"reconnect":1}`, `{"last":{"event":"e"}}`}},
		{"online", []string{`{"users":["a","b"]}`, `{"connections":[]}`}, []string{`{"users":"a"}`, `{"users":[1]}`}},
		{"connections", []string{`{}`, `{"user":"u","channel":"room:1","after":` + c + `,"limit":1}`}, []string{`{"limit":true}`}},
		{"call", []string{`{"connection":` + c + `,"method":"m","data":[1],"timeout":100}`, `{"user":"u","device":"d","method":"m"}`}, []string{`{"user":"u"}`, `{"method":5}`, `{"user":"u","method":"m","timeout":"5s"}`}},
		{"session.get", []string{`{"connection":` + c + `}`}, []string{`{}`}},
		{"session.set", []string{`{"connection":` + c + `,"data":{"a":1}}`}, []string{`{"connection":` + c + `}`}},
		{"session.merge", []string{`{"connection":` + c + `,"data":{"a":null}}`}, []string{`{"data":{}}`}},
		{"info", []string{`{}`}, []string{`{"x":1}`}},
		{"stats", []string{`{}`}, []string{`[]`}},
		{"stats.series", []string{`{}`, `{"after":1764000000000,"seconds":60}`}, []string{`{"after":"now"}`, `{"seconds":1.5}`, `{"last":5}`}},
		{"settings", []string{`{}`}, []string{`{"key":"listen"}`}},
		{"batch", []string{`{"commands":[{"verb":"info"},{"verb":"publish","params":{}}]}`}, []string{`{}`, `{"commands":{}}`, `{"commands":[{}]}`, `{"commands":[{"verb":5}]}`}},
	}
	covered := []string{}
	for _, tt := range tests {
		covered = append(covered, tt.verb)
		r := schema(t, doc, tt.verb, "params")
		for _, text := range tt.good {
			if err := r.Validate(decode(t, text)); err != nil {
				t.Errorf("%s: %s is refused: %v", tt.verb, text, err)
			}
		}
		for _, text := range tt.wrong {
			if err := r.Validate(decode(t, text)); err == nil {
				t.Errorf("%s: %s is accepted", tt.verb, text)
			}
		}
	}
	slices.Sort(covered)
	want := append(w.verbs.Names(), "batch")
	slices.Sort(want)
	if diff := cmp.Diff(want, covered); diff != "" {
		t.Errorf("verbs without an example: %s", diff)
	}
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestResultsFitTheirSchemas(t *testing.T) {
	w := start(t)
	_, body := w.do(call{method: "GET", path: "/api/v1/openapi.json"})
	doc := object(t, body)
	for verb, params := range map[string]string{
		"info": `{}`, "stats": `{}`, "channels": `{}`, "connections": `{}`, "presence": `{"channel":"room:1"}`,
		"online": `{"users":["a"]}`, "publish": `{"to":{"channel":"room:1"},"data":1}`, "disconnect": `{"user":"nobody"}`,
		"subscribe": `{"user":"nobody","channel":"room:1"}`, "unsubscribe": `{"user":"nobody","channel":"room:1"}`,
		"batch": `{"commands":[{"verb":"info"},{"verb":"x"}]}`,
	} {
		res, text := w.do(call{path: "/api/v1/" + verb, key: "all", body: params})
		if res.StatusCode != 200 {
			t.Errorf("%s: %s %s", verb, res.Status, text)
			continue
		}
		if verb == "batch" {
			continue // its schema refers to the document around it
		}
		if err := schema(t, doc, verb, "result").Validate(decode(t, text)); err != nil {
			t.Errorf("%s: %s: %v", verb, text, err)
		}
	}
}
