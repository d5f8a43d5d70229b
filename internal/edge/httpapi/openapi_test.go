package httpapi

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/feature/channel"
	"github.com/skein-realtime/skein/internal/verb"
)

type sampleResult struct {
	ID string `json:"id"`
}

func TestOpenAPIDescribesEveryVerb(t *testing.T) {
	r := verb.NewRegistry(verb.NewMemo(0, 0), 64)
	verb.Add(r, "publish", "Sends.", func(context.Context, channel.PublishParams) (sampleResult, error) { return sampleResult{}, nil }, verb.Keyed)
	verb.Add(r, "channels", "Lists.", func(context.Context, channel.ChannelsParams) (channel.ChannelsPage, error) {
		return channel.ChannelsPage{}, nil
	})
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]struct {
			Post struct {
				OperationID string                  `json:"operationId"`
				Parameters  []struct{ Name string } `json:"parameters"`
				RequestBody struct {
					Content map[string]struct {
						Schema *jsonschema.Schema `json:"schema"`
					} `json:"content"`
				} `json:"requestBody"`
			} `json:"post"`
		} `json:"paths"`
	}
	text := describe(r, "1.2.3")
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) != 3 {
		t.Errorf("version %q with %d paths, want 3.1.0 and publish, channels, batch", doc.OpenAPI, len(doc.Paths))
	}
	publish := doc.Paths["/api/v1/publish"].Post
	if publish.OperationID != "publish" || len(publish.Parameters) != 1 || publish.Parameters[0].Name != "Idempotency-Key" {
		t.Errorf("publish is %+v", publish)
	}
	schema, err := publish.RequestBody.Content["application/json"].Schema.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for params, valid := range map[string]bool{
		`{"to":{"channel":"room:7"},"data":1}`:                                           true,
		`{"to":[{"user":"a"},{"all":"users"}],"data":{"a":[1]},"event":"x"}`:             true,
		`{"to":{"all":"connections"},"data":null,"exclude":{"users":["a"]},"key":"k-1"}`: true,
		`{"data":1}`:         false,
		`{"to":{},"data":1}`: false,
		`{"to":{"channel":"a:b","user":"c"},"data":1}`: false,
		`{"to":{"all":"everyone"},"data":1}`:           false,
		`{"to":{"channel":7},"data":1}`:                false,
		`{"to":{"user":"a"},"data":1,"exlude":{}}`:     false,
	} {
		var v any
		if err := json.Unmarshal([]byte(params), &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != valid {
			t.Errorf("%s: valid is %v, want %v (%v)", params, err == nil, valid, err)
		}
	}
	for _, ref := range strings.Split(string(text), `"$ref": "`)[1:] {
		path, _, _ := strings.Cut(ref, `"`)
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		for _, step := range strings.Split(strings.TrimPrefix(path, "#/"), "/") {
			next, ok := v.(map[string]any)[step]
			if !ok {
				t.Errorf("%s leads nowhere", path)
				break
			}
			v = next
		}
	}
}
