package skein_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

// keyed is a strict server with an API key for each list of scopes; the texts
// of the keys come back by their first scope.
func keyed(t testing.TB, scopes ...string) (skein.Config, map[string]string) {
	t.Helper()
	cfg, keys := strict(), map[string]string{}
	for i, list := range scopes {
		text := auth.NewKey()
		fields := strings.Fields(list)
		keys[fields[0]] = text
		cfg.API.Keys = append(cfg.API.Keys, skein.APIKey{
			Name: fmt.Sprintf("key-%d", i), Hash: auth.FormatHash(auth.HashKey(text)), Scopes: fields,
		})
	}
	return cfg, keys
}

// post calls the API with a key.
func (s *testServer) post(key, verb, body string, header ...string) (int, http.Header, map[string]any) {
	s.t.Helper()
	header = append([]string{"Content-Type: application/json", "Authorization: Bearer " + key}, header...)
	status, h, text := s.request(http.MethodPost, "/api/v1/"+verb, body, header...)
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		s.t.Fatalf("%s: %q: %v", verb, text, err)
	}
	return status, h, out
}

// S2.9: a key opens the verbs of its scopes and nothing else.
func TestAPIKeysOpenOnlyTheirScopes(t *testing.T) {
	cfg, keys := keyed(t, "*", "online session.*", "publish")
	s := start(t, cfg)
	c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
	id := c.expect("welcome")["connection"]
	session := fmt.Sprintf(`{"connection":%q}`, id)
	for _, tt := range []struct {
		key, verb, params string
		status            int
		code              string
	}{
		{keys["*"], "info", `{}`, 200, ""},
		{keys["*"], "stats", ``, 200, ""},
		{keys["*"], "session.get", session, 200, ""},
		{keys["online"], "online", `{"users":["ann"]}`, 200, ""},
		{keys["online"], "session.get", session, 200, ""},
		{keys["online"], "publish", `{"to":{"user":"ann"},"data":1}`, 403, "denied"},
		{keys["online"], "connections", `{}`, 403, "denied"},
		{keys["publish"], "publish", `{"to":{"user":"zoe"},"data":1}`, 200, ""},
		{keys["publish"], "online", `{"users":["ann"]}`, 403, "denied"},
		{"sk_wrong", "info", `{}`, 401, "unauthorized"},
		{"dev", "info", `{}`, 401, "unauthorized"},
		{"", "info", `{}`, 401, "unauthorized"},
		{keys["*"], "nonsense", `{}`, 404, "not_found"},
	} {
		status, h, out := s.post(tt.key, tt.verb, tt.params)
		code, _ := out["code"].(string)
		if status != tt.status || code != tt.code {
			t.Errorf("%s %s: %d %v, want %d %s", tt.verb, tt.params, status, out, tt.status, tt.code)
		}
		want := "application/json"
		if tt.code != "" {
			want = "application/problem+json"
		}
		if got := h.Get("Content-Type"); got != want {
			t.Errorf("%s: Content-Type is %s, want %s", tt.verb, got, want)
		}
		if (h.Get("WWW-Authenticate") != "") != (tt.status == 401) {
			t.Errorf("%s: status %d with WWW-Authenticate %q", tt.verb, status, h.Get("WWW-Authenticate"))
		}
	}
}

// S2.9: every problem is a problem+json that says what is wrong and where.
func TestAPIProblemsNameTheField(t *testing.T) {
	cfg, keys := keyed(t, "*")
	cfg.Limits.Body = 2 << 10
	cfg.Limits.Depth = 8
	s := start(t, cfg)
	for _, tt := range []struct {
		verb, body  string
		status      int
		code, field string
	}{
		{"publish", `{"to":{"user":"ann"}}`, 400, "bad_request", "data"},
		{"publish", `{"data":1}`, 400, "bad_request", "to"},
		{"publish", `{"to":{"user":"ann"},"data":1,"exlude":{}}`, 400, "bad_request", "exlude"},
		{"publish", `{"to":{"user":"ann"},"data":1,"exclude":{"user":["ann"]}}`, 400, "bad_request", "exclude"},
		{"publish", `{"to":{"channel":"room"},"data":1}`, 400, "bad_request", "to.channel"},
		{"publish", `{"to":{"user":"ann"},"data":1,"event":7}`, 400, "bad_request", "event"},
		{"publish", `{"to":{"channel":"nowhere:1"},"data":1}`, 404, "not_found", ""},
		{"publish", `nonsense`, 400, "bad_request", ""},
		{"publish", `[1]`, 400, "bad_request", ""},
		{"publish", "{\"to\":{\"user\":\"a\"},\"data\":\"\xff\"}", 400, "bad_request", ""},
		{"publish", `{"to":{"user":"ann"},"data":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, 413, "too_large", ""},
		{"publish", `{"to":{"user":"ann"},"data":"` + strings.Repeat("x", 3<<10) + `"}`, 413, "too_large", ""},
		{"subscribe", `{"channel":"room:1"}`, 400, "bad_request", "connection"},
		{"subscribe", `{"channel":"room:1","connection":"AAAAAAAAAAAAAAAAAAAAAA"}`, 404, "not_found", ""},
		{"bind", `{"connection":5,"user":"ann"}`, 400, "bad_request", "connection"},
		{"disconnect", `{"user":"ann","code":1000}`, 400, "bad_request", "code"},
		{"online", `{}`, 400, "bad_request", "users"},
		{"connections", `{"limit":5000}`, 400, "bad_request", "limit"},
		{"channels", `{"limit":-1}`, 400, "bad_request", "limit"},
		{"presence", `{"channel":"room"}`, 400, "bad_request", "channel"},
		{"info", `{"x":1}`, 400, "bad_request", "x"},
	} {
		status, h, out := s.post(keys["*"], tt.verb, tt.body)
		field, _ := out["field"].(string)
		if status != tt.status || out["code"] != tt.code || field != tt.field || out["status"] != float64(status) {
			t.Errorf("%s %.80s: %d %v, want %d %s for %q", tt.verb, tt.body, status, out, tt.status, tt.code, tt.field)
		}
		if detail, _ := out["detail"].(string); h.Get("Content-Type") != "application/problem+json" || !strings.Contains(detail, tt.field) {
			t.Errorf("%s %.80s: %s, detail %q", tt.verb, tt.body, h.Get("Content-Type"), detail)
		}
	}
	key := "Authorization: Bearer " + keys["*"]
	if status, _, text := s.request("POST", "/api/v1/info", `{}`, key, "Content-Type: text/plain"); status != 400 || !strings.Contains(text, "Content-Type") {
		t.Errorf("text/plain: %d %s", status, text)
	}
	for path, allow := range map[string]string{"/api/v1/publish": "POST", "/api/v1/batch": "POST"} {
		if status, h, _ := s.request("GET", path, "", key); status != 405 || h.Get("Allow") != allow {
			t.Errorf("GET %s: %d, Allow %q", path, status, h.Get("Allow"))
		}
	}
	status, _, text := s.request("GET", "/api/v1/openapi.json", "")
	var doc struct {
		OpenAPI string         `json:"openapi"`
		Paths   map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || status != 200 || doc.Paths["/api/v1/publish"] == nil && doc.Paths["/publish"] == nil {
		t.Errorf("openapi.json: %d, %v, paths %d", status, err, len(doc.Paths))
	}
}

// S2.9: the commands of a batch run in order, and each has its own result.
func TestBatchAnswersEachCommand(t *testing.T) {
	cfg, keys := keyed(t, "*", "publish")
	each(t, func() skein.Config { return cfg }, func(t *testing.T, s *testServer) {
		c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
		c.expect("welcome")
		body := `{"commands":[
			{"verb":"publish","params":{"to":{"user":"ann"},"data":1}},
			{"verb":"online","params":{"users":["ann"]}},
			{"verb":"publish","params":{"to":{"user":"ann"}}},
			{"verb":"nonsense"},
			{"params":{}},
			{"verb":"publish","params":{"to":{"user":"ann"},"data":2}}]}`
		results := func(key string) (codes []string) {
			status, _, out := s.post(key, "batch", body)
			if status != 200 {
				t.Fatalf("batch: %d %v", status, out)
			}
			for _, r := range out["results"].([]any) {
				r := r.(map[string]any)
				if e, ok := r["error"].(map[string]any); ok {
					codes = append(codes, e["code"].(string))
				} else if r["ok"] != nil {
					codes = append(codes, "ok")
				}
			}
			return codes
		}
		same(t, "all scopes", results(keys["*"]), []string{"ok", "ok", "bad_request", "not_found", "bad_request", "ok"})
		same(t, "publish alone", results(keys["publish"]), []string{"ok", "denied", "bad_request", "not_found", "bad_request", "ok"})
		for _, want := range []float64{1, 2, 1, 2} {
			if m := c.expect("msg"); m["data"] != want {
				t.Errorf("got %v, want %v", m, want)
			}
		}
		if status, _, out := s.post(keys["*"], "batch", `{}`); status != 400 || out["field"] != "commands" {
			t.Errorf("a batch without commands: %d %v", status, out)
		}
	})
}

// S2.9: a request with an idempotency key has one effect, however often it is
// sent.
func TestIdempotencyKeyMakesOneMessage(t *testing.T) {
	cfg, keys := keyed(t, "*", "publish")
	each(t, func() skein.Config { return cfg }, func(t *testing.T, s *testServer) {
		c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
		c.expect("welcome")
		one := func(key, params string, header ...string) map[string]any {
			t.Helper()
			status, _, out := s.post(key, "publish", params, header...)
			if status != 200 {
				t.Fatalf("%s: %d %v", params, status, out)
			}
			return out
		}
		body := `{"to":{"user":"ann"},"data":1}`
		first := one(keys["*"], body, "Idempotency-Key: k1")
		again := one(keys["*"], body, "Idempotency-Key: k1")
		if again["id"] != first["id"] || again["duplicate"] != true || first["duplicate"] != nil || again["connections"] != 1.0 {
			t.Errorf("header: %v, then %v", first, again)
		}
		inside := `{"to":{"user":"ann"},"data":2,"key":"k2"}`
		first, again = one(keys["*"], inside), one(keys["*"], inside)
		if again["id"] != first["id"] || again["duplicate"] != true {
			t.Errorf("body: %v, then %v", first, again)
		}
		for _, h := range []string{"k1", "k2"} {
			status, _, out := s.post(keys["*"], "publish", `{"to":{"user":"ann"},"data":9}`, "Idempotency-Key: "+h)
			if status != 409 || out["code"] != "conflict" {
				t.Errorf("other content under %s: %d %v, want a conflict", h, status, out)
			}
		}
		// Another caller's keys are its own.
		other := one(keys["publish"], `{"to":{"user":"ann"},"data":3}`, "Idempotency-Key: k1")
		if other["duplicate"] != nil {
			t.Errorf("another API key: %v, want a message of its own", other)
		}
		// A request that failed can be repeated.
		if status, _, _ := s.post(keys["*"], "publish", `{"to":{"user":"ann"}}`, "Idempotency-Key: k4"); status != 400 {
			t.Errorf("no data: %d", status)
		}
		one(keys["*"], `{"to":{"user":"ann"},"data":4}`, "Idempotency-Key: k4")
		for _, want := range []float64{1, 2, 3, 4} {
			if m := c.expect("msg"); m["data"] != want {
				t.Errorf("got %v, want %v", m, want)
			}
		}
		c.lives()
		// The same in frames, where keys belong to the user.
		c.do(`{"type":"sub","channel":"room:1"}`)
		pub := `{"type":"pub","channel":"room:1","data":1,"key":"k1"}`
		ok := c.do(pub)
		device := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
		device.expect("welcome")
		if dup := device.do(pub); dup["message"] != ok["message"] || dup["duplicate"] != true {
			t.Errorf("pub: %v, then from another device %v", ok, dup)
		}
		c.fails(`{"type":"pub","channel":"room:1","data":2,"key":"k1"}`, "conflict")
		c.lives()
	})
}

// The verbs subscribe and unsubscribe move connections and users, whatever the
// clients themselves may do.
func TestServerSubscribesConnectionsAndUsers(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		var both []*client
		for range 2 {
			c := s.dial("token=" + token(t, auth.Identity{User: "ann"}))
			c.ID = c.expect("welcome")["connection"].(string)
			both = append(both, c)
		}
		same(t, "one", s.verb("subscribe", `{"connection":"`+both[0].ID+`","channel":"team:1"}`), map[string]any{"connections": 1.0})
		same(t, "all of the user", s.verb("subscribe", `{"user":"ann","channel":"team:1"}`), map[string]any{"connections": 1.0})
		for _, c := range both {
			if f := c.expect("subscribed"); f["channel"] != "team:1" || f["reason"] != "server" {
				t.Errorf("got %v", f)
			}
		}
		s.verb("publish", `{"to":{"channel":"team:1"},"data":1}`)
		for _, c := range both {
			c.expect("msg")
		}
		same(t, "leave", s.verb("unsubscribe", `{"user":"ann","channel":"team:1"}`), map[string]any{"connections": 2.0})
		for _, c := range both {
			if f := c.expect("unsubscribed"); f["channel"] != "team:1" || f["reason"] != "server" {
				t.Errorf("got %v", f)
			}
		}
		if s.stat("channels") != 0 {
			t.Error("a channel without subscribers is still there")
		}
	})
}
