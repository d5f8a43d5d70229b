package audit_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/feature/audit"
)

func TestMask(t *testing.T) {
	for raw, want := range map[string]string{
		`{}`: ``,
		``:   ``,
		` { "a" : 1.50 , "b":[ true,null,"x\u0041" ] } `:     `{"a":1.50,"b":[true,null,"xA"]}`,
		`{"password":"p","b":1}`:                             `{"password":"…","b":1}`,
		`{"Password":1,"oldPASSWORD":null,"b":1}`:            `{"Password":"…","oldPASSWORD":"…","b":1}`,
		`{"pass\u0077ord":"p","paſſword":"q"}`:               `{"password":"…","paſſword":"…"}`,
		`{"To\u212aen":"p"}`:                                 "{\"To\u212aen\":\"…\"}",
		`{"a":{"b":[{"token":{"c":[1,{}],"d":2}},{"e":3}]}}`: `{"a":{"b":[{"token":"…"},{"e":3}]}}`,
		`{"tokens":["a","b"],"x":[]}`:                        `{"tokens":"…","x":[]}`,
		`{"access_token":"t","client_secret":"s","deep_link":"l","Authorization":"Bearer x","link":{},"hooks":{"secret":[]}}`: `{"access_token":"…","client_secret":"…","deep_link":"…","Authorization":"…","link":"…","hooks":{"secret":"…"}}`,
		`{"a":"password"}`:            `{"a":"password"}`,
		`[{"secret":1},[2]]`:          `[{"secret":"…"},[2]]`,
		`7`:                           `7`,
		`{"a":123456789012345678901}`: `{"a":123456789012345678901}`,
		`{"a":1`:                      ``,
		`{"a":1}}`:                    ``,
		`{"a":1} {"b":2}`:             ``,
		`{"a":1,}`:                    ``,
		`{"password":{"a":1}`:         ``,
		`nonsense`:                    ``,
	} {
		if got, truncated := audit.Mask([]byte(raw)); string(got) != want || truncated {
			t.Errorf("%s: got %s, %v, want %s", raw, got, truncated, want)
		}
	}
	for _, raw := range []string{`{"a":"` + strings.Repeat("x", 4091) + `"}`, strings.Repeat("[", 5000), `{"a":"` + strings.Repeat("\\u0001", 700) + `"}`} {
		if got, truncated := audit.Mask([]byte(raw)); got != nil || !truncated {
			t.Errorf("%.20s: got %d bytes, %v", raw, len(got), truncated)
		}
	}
	// What is hidden does not count, however long and deep it is.
	for _, raw := range []string{`{"token":"` + strings.Repeat("x", 9000) + `"}`, `{"token":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`} {
		if got, truncated := audit.Mask([]byte(raw)); string(got) != `{"token":"…"}` || truncated {
			t.Errorf("%.20s: got %s, %v", raw, got, truncated)
		}
	}
	if got, truncated := audit.Mask([]byte(`{"a":"` + strings.Repeat("x", 4088) + `"}`)); len(got) != 4096 || truncated {
		t.Errorf("as long as may be: got %d bytes, %v", len(got), truncated)
	}
}

// masked tells what stands under a key that looks like a secret, in any depth.
func masked(v any, found func(any)) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			low, hides := strings.ToLower(key), false
			for _, word := range []string{"password", "token", "secret", "link", "authorization"} {
				hides = hides || strings.Contains(low, word)
			}
			if hides {
				found(value)
			} else {
				masked(value, found)
			}
		}
	case []any:
		for _, value := range v {
			masked(value, found)
		}
	}
}

// FuzzMask holds that what is written is JSON of a bounded length, and that a secret is
// never in it, whatever stands around it.
func FuzzMask(f *testing.F) {
	for _, seed := range [][3]string{
		{`{"password":"x"}`, "password", `1`}, {`[1,{"a":[]}]`, "my_TOKEN", `{"b":"c"}`}, {`{"a":`, "Link", `[[]]`}, {`{"\u0070assword":{"x":1}}`, "authorization", `"x"`}, {`1 2`, "secret", ``},
	} {
		f.Add([]byte(seed[0]), seed[1], []byte(seed[2]))
	}
	const hidden = "Xq7-hunter2-9vZ"
	f.Fuzz(func(t *testing.T, raw []byte, key string, beside []byte) {
		check := func(raw []byte) string {
			got, truncated := audit.Mask(raw)
			if len(got) > 4096 || truncated && got != nil {
				t.Fatalf("%q: %d bytes, truncated %v", raw, len(got), truncated)
			}
			if len(got) == 0 {
				return ""
			}
			var v any
			if err := json.Unmarshal(got, &v); err != nil {
				t.Fatalf("%q gives %q: %v", raw, got, err)
			}
			masked(v, func(value any) {
				if value != "…" {
					t.Fatalf("%q gives %q", raw, got)
				}
			})
			return string(got)
		}
		check(raw)
		name, err := json.Marshal(key + "Password")
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(beside) {
			beside = []byte("null")
		}
		text := `{"before":` + string(beside) + `,"deep":[{` + string(name) + `:{"a":["` + hidden + `",` + string(beside) + `]}}],"` + hidden[:3] + `":` + string(beside) + `}`
		if strings.Contains(string(beside), hidden) {
			return
		}
		if got := check([]byte(text)); strings.Contains(got, hidden) {
			t.Fatalf("%q gives %q", text, got)
		}
	})
}

func TestTarget(t *testing.T) {
	for raw, want := range map[string]string{
		`{"channel":"room:1","user":"ann"}`:              "room:1",
		`{"user":"ann","channel":"room:1"}`:              "ann",
		`{"data":1,"to":{"user":"ann"}}`:                 "ann",
		`{"to":[{"channel":"a:1"},{"channel":"a:2"}]}`:   "a:1",
		`{"to":{"users":["ann","bob"]}}`:                 "ann",
		`{"users":[{"id":"7","attributes":{"name":1}}]}`: "7",
		`{"users":["b\u006fb"]}`:                         "bob",
		`{"users":[]}`:                                   "",
		`{"users":[["x"]]}`:                              "",
		`{"name":"daily","verb":"push"}`:                 "daily",
		`{"id":"01K9","name":"x"}`:                       "01K9",
		`{"connection":"abc"}`:                           "abc",
		`{"campaign":5,"schedule":"s"}`:                  "s",
		`{"to":{"all":"users"}}`:                         "",
		`{"token":"secret","password":"x"}`:              "",
		`{"user":null}`:                                  "",
		`[]`:                                             "",
		`{"user":"ann"`:                                  "",
		`{"to":` + strings.Repeat(`{"to":`, 2000) + `1` + strings.Repeat("}", 2001): "",
	} {
		if got := audit.TargetOf([]byte(raw)); got != want {
			t.Errorf("%.60s: got %q, want %q", raw, got, want)
		}
	}
}
