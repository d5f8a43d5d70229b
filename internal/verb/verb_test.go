package verb_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
)

type inner struct {
	Name string   `json:"name"`
	List []string `json:"list,omitempty"`
}

type params struct {
	Text  string          `json:"text"`
	Count int             `json:"count"`
	Flag  bool            `json:"flag"`
	In    *inner          `json:"in,omitempty"`
	Many  []inner         `json:"many,omitempty"`
	Raw   json.RawMessage `json:"raw,omitempty"`
}

// own decodes and encodes itself.
type own struct{ Text string }

func (o *own) ReadParams(p *protocol.Object) (err error) {
	o.Text, err = p.Required("text", 10)
	return err
}

func (o own) AppendJSON(b []byte) []byte {
	return append(protocol.AppendString(append(b, `{"text":`...), o.Text), '}')
}

func registry() (*verb.Registry, *int) {
	r := verb.NewRegistry(verb.NewMemo(0, 0), 8)
	runs := new(int)
	verb.Add(r, "echo", "Gives back its params.", func(_ context.Context, p params) (params, error) { return p, nil })
	verb.Add(r, "own", "Decodes itself.", func(_ context.Context, p own) (own, error) { return p, nil }, verb.Keyed)
	verb.Add(r, "keyed", "Takes a key.", func(ctx context.Context, p params) (map[string]any, error) {
		*runs++
		if p.Text == "fail" {
			return nil, fault.New(fault.Denied, "no")
		}
		return map[string]any{"run": *runs, "by": verb.CallerOf(ctx).Name, "html": "<&>"}, nil
	}, verb.Keyed)
	verb.Add(r, "empty", "Says nothing.", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }, verb.Keyed)
	return r, runs
}

func TestParamsAreReadStrictly(t *testing.T) {
	r, _ := registry()
	tests := []struct {
		name  string
		raw   string
		code  fault.Code
		field string
		want  string
	}{
		{"an unknown field", `{"text":"a","exclud":1}`, fault.BadRequest, "exclud", "exclud: is not a field of this verb"},
		{"a field in capitals", `{"Text":"a"}`, fault.BadRequest, "Text", "Text: is not a field of this verb"},
		{"an unknown field within", `{"in":{"nam":"x"}}`, fault.BadRequest, "nam", "nam: is not a field of this verb"},
		{"a key where none is taken", `{"key":"k"}`, fault.BadRequest, "key", "key: is not a field of this verb"},
		{"a number for a string", `{"text":5}`, fault.BadRequest, "text", "text: must be a string, not a number"},
		{"a string for an integer", `{"count":"5"}`, fault.BadRequest, "count", "count: must be an integer, not a string"},
		{"a fraction for an integer", `{"count":5.5}`, fault.BadRequest, "count", "count: must be an integer, not the number 5.5"},
		{"an integer too large", `{"count":99999999999999999999}`, fault.BadRequest, "count", "count: must be an integer, not the number 99999999999999999999"},
		{"a string for a boolean", `{"flag":"true"}`, fault.BadRequest, "flag", "flag: must be true or false, not a string"},
		{"a boolean for an object", `{"in":true}`, fault.BadRequest, "in", "in: must be an object, not a boolean"},
		{"an object for a list", `{"many":{}}`, fault.BadRequest, "many", "many: must be an array, not an object"},
		{"the path of a wrong type", `{"in":{"name":[]}}`, fault.BadRequest, "in.name", "in.name: must be a string, not an array"},
		{"the path within a list", `{"in":{"list":["a",2]}}`, fault.BadRequest, "in.list", "in.list: must be a string, not a number"},
		{"a member twice", `{"text":"a","text":"b"}`, fault.BadRequest, "", `params: not valid JSON at byte 19: member "text" stands twice`},
		{"no object", `[1]`, fault.BadRequest, "", "params: not a JSON object"},
		{"no JSON", `{"text":`, fault.BadRequest, "", "params: not valid JSON at byte 8: a value is missing"},
		{"two objects", `{} {}`, fault.BadRequest, "", "params: not valid JSON at byte 3: something follows the object"},
		{"too deep", `{"raw":[[[[[[[[1]]]]]]]]}`, fault.TooLarge, "", "the params are nested more than 8 levels deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Run(t.Context(), "echo", []byte(tt.raw), "")
			e := fault.Of(err)
			if e == nil || e.Code != tt.code || e.Field != tt.field || e.Message != tt.want {
				t.Errorf("got %#v, want %s %q", e, tt.code, tt.want)
			}
		})
	}
}

func TestParamsOfEveryShape(t *testing.T) {
	r, _ := registry()
	tests := []struct{ name, verb, raw, want string }{
		{"everything", "echo", `{"text":"<a>","count":3,"flag":true,"in":{"name":"n","list":["x"]},"many":[{"name":"m"}],"raw":{"z":[1, 2]}}`,
			`{"text":"<a>","count":3,"flag":true,"in":{"name":"n","list":["x"]},"many":[{"name":"m"}],"raw":{"z":[1,2]}}`},
		{"nothing at all", "echo", ``, `{"text":"","count":0,"flag":false}`},
		{"only space", "echo", " \n", `{"text":"","count":0,"flag":false}`},
		{"null is absent", "echo", `{"text":null,"in":null}`, `{"text":"","count":0,"flag":false}`},
		{"one that decodes itself", "own", `{"text":"a"}`, `{"text":"a"}`},
	}
	for _, tt := range tests {
		got, err := r.Run(t.Context(), tt.verb, []byte(tt.raw), "")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, string(got)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	if _, err := r.Run(t.Context(), "own", nil, ""); fault.Of(err).Message != "text: is missing" {
		t.Errorf("got %v", err)
	}
	r.SetDepth(1)
	if _, err := r.Run(t.Context(), "echo", []byte(`{"raw":[]}`), ""); fault.Of(err).Code != fault.TooLarge {
		t.Errorf("after SetDepth: got %v", err)
	}
}

func TestUnknownVerbs(t *testing.T) {
	r, _ := registry()
	if _, err := r.Run(t.Context(), "ech", nil, ""); fault.Of(err).Code != fault.NotFound || !strings.Contains(err.Error(), `verb "ech" is not known`) {
		t.Errorf("got %v", err)
	}
	if r.Find("ech") != nil || r.Find("echo").Summary != "Gives back its params." {
		t.Error("Find finds the wrong verb")
	}
	if diff := cmp.Diff([]string{"echo", "empty", "keyed", "own"}, r.Names()); diff != "" {
		t.Error(diff)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name can be used twice")
		}
	}()
	verb.Add(r, "echo", "", func(context.Context, params) (params, error) { return params{}, nil })
}

func TestIdempotencyKeys(t *testing.T) {
	r, runs := registry()
	ann := verb.WithCaller(t.Context(), verb.Caller{Name: "ann"})
	bob := verb.WithCaller(t.Context(), verb.Caller{Name: "bob"})
	long := strings.Repeat("k", protocol.MaxKey)
	tests := []struct {
		name string
		ctx  context.Context
		verb string
		raw  string
		key  string
		want string
	}{
		{"a key in the params", ann, "keyed", `{"text":"a","key":"1"}`, "", `{"by":"ann","html":"<&>","run":1}`},
		{"the same again", ann, "keyed", `{"text":"a","key":"1"}`, "", `{"by":"ann","html":"<&>","run":1,"duplicate":true}`},
		{"another caller", bob, "keyed", `{"text":"a","key":"1"}`, "", `{"by":"bob","html":"<&>","run":2}`},
		{"a key outside", ann, "keyed", `{"text":"a"}`, "2", `{"by":"ann","html":"<&>","run":3}`},
		{"the same again", ann, "keyed", `{"text":"a"}`, "2", `{"by":"ann","html":"<&>","run":3,"duplicate":true}`},
		{"other content", ann, "keyed", `{"text":"b"}`, "2", "conflict: key: it was used for a request with other content"},
		{"no key", ann, "keyed", `{"text":"a"}`, "", `{"by":"ann","html":"<&>","run":4}`},
		{"an empty key is none", ann, "keyed", `{"text":"a","key":""}`, "", `{"by":"ann","html":"<&>","run":5}`},
		{"a null key is none", ann, "keyed", `{"text":"a","key":null}`, "", `{"by":"ann","html":"<&>","run":6}`},
		{"a value that looks like a key", ann, "keyed", `{"text":"key"}`, "", `{"by":"ann","html":"<&>","run":7}`},
		{"the longest key", ann, "keyed", `{"text":"a"}`, long, `{"by":"ann","html":"<&>","run":8}`},
		{"too long outside", ann, "keyed", `{"text":"a"}`, long + "k", "bad_request: key: has 129 bytes; at most 128 are allowed"},
		{"too long inside", ann, "keyed", `{"text":"a","key":"` + long + `k"}`, "", "bad_request: key: has 129 bytes; at most 128 are allowed"},
		{"of the wrong type", ann, "keyed", `{"key":5}`, "", "bad_request: key: must be a string, not a number"},
		{"params that are no JSON", ann, "keyed", `{"key"`, "", "bad_request: params: not valid JSON at byte 6: the text ends inside an object"},
		{"a failure", ann, "keyed", `{"text":"fail"}`, "3", "denied: no"},
		{"a failure tried again", ann, "keyed", `{"text":"a"}`, "3", `{"by":"ann","html":"<&>","run":10}`},
		{"a name with escapes", ann, "keyed", `{"text":"a","\u006bey":"4"}`, "", `{"by":"ann","html":"<&>","run":11}`},
		{"the same again", ann, "keyed", `{"text":"a","\u006bey":"4"}`, "", `{"by":"ann","html":"<&>","run":11,"duplicate":true}`},
		{"another verb", ann, "empty", `{}`, "1", `{}`},
		{"an empty answer again", ann, "empty", `{}`, "1", `{"duplicate":true}`},
		{"a verb without keys", ann, "echo", `{}`, "1", `{"text":"","count":0,"flag":false}`},
	}
	for _, tt := range tests {
		got, err := r.Run(tt.ctx, tt.verb, []byte(tt.raw), tt.key)
		if err != nil {
			got = []byte(err.Error())
		}
		if string(got) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	if *runs != 11 {
		t.Errorf("it ran %d times", *runs)
	}
}

func TestMarshalFails(t *testing.T) {
	r := verb.NewRegistry(verb.NewMemo(0, 0), 8)
	verb.Add(r, "broken", "", func(context.Context, struct{}) (chan int, error) { return nil, nil })
	_, err := r.Run(t.Context(), "broken", nil, "")
	var wrong *json.UnsupportedTypeError
	if !errors.As(err, &wrong) || fault.Of(err).Code != fault.Internal {
		t.Errorf("got %v", err)
	}
}

func FuzzRun(f *testing.F) {
	r, _ := registry()
	for _, s := range []string{`{}`, `{"text":"a","in":{"name":"x"}}`, `{"text":"a","key":"k"}`, `{"Text":1}`, `[]`, `{"raw":{"a":[1]}}`} {
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, raw, key string) {
		for _, name := range []string{"echo", "own", "empty"} {
			got, err := r.Run(context.Background(), name, []byte(raw), key)
			if err == nil && !json.Valid(got) {
				t.Errorf("%s %q: the answer %q is no JSON", name, raw, got)
			}
			if err != nil && fault.Of(err).Code == fault.Internal {
				t.Errorf("%s %q: %v", name, raw, err)
			}
		}
	})
}
