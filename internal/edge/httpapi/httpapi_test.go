package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/edge/httpapi"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/verb"
)

func TestProblems(t *testing.T) {
	w := start(t)
	verb.Add(w.verbs, "slow", "Is never ready.", func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, fault.New(fault.Unavailable, "later").After(1500 * time.Millisecond)
	})
	verb.Add(w.verbs, "broken", "Fails.", func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, errors.New("a secret of the house")
	})
	big := `{"pad":"` + strings.Repeat("x", 64<<10) + `"}`
	tests := []struct {
		name   string
		call   call
		status int
		want   map[string]any
		header map[string]string
	}{
		{"GET of a verb", call{method: "GET", path: "/api/v1/info", key: "all"}, 405, map[string]any{"code": "bad_request", "detail": "use POST", "title": "Method Not Allowed"}, map[string]string{"Allow": "POST"}},
		{"POST of the description", call{path: "/api/v1/openapi.json"}, 405, map[string]any{"code": "bad_request", "detail": "use GET", "title": "Method Not Allowed"}, map[string]string{"Allow": "GET"}},
		{"an unknown verb", call{path: "/api/v1/dance", key: "all"}, 404, map[string]any{"code": "not_found", "detail": `verb "dance" is not known`, "title": "Not Found"}, nil},
		{"no verb", call{path: "/api/v1/", key: "all"}, 404, map[string]any{"code": "not_found", "detail": `verb "" is not known`, "title": "Not Found"}, nil},
		{"no key", call{path: "/api/v1/info"}, 401, map[string]any{"code": "unauthorized", "detail": "an API key is missing; send it as Authorization: Bearer KEY", "title": "Unauthorized"}, map[string]string{"WWW-Authenticate": `Bearer realm="skein"`}},
		{"another scheme", call{path: "/api/v1/info", headers: map[string]string{"Authorization": "Basic eDp5"}}, 401, map[string]any{"code": "unauthorized", "detail": "an API key is missing; send it as Authorization: Bearer KEY", "title": "Unauthorized"}, nil},
		{"a wrong key", call{path: "/api/v1/info", headers: map[string]string{"Authorization": "Bearer sk_x"}}, 401, map[string]any{"code": "unauthorized", "detail": "the API key is not known", "title": "Unauthorized"}, nil},
		{"an empty key", call{path: "/api/v1/info", headers: map[string]string{"Authorization": "Bearer  "}}, 401, map[string]any{"code": "unauthorized", "title": "Unauthorized"}, nil},
		{"the development key outside development", call{path: "/api/v1/info", headers: map[string]string{"Authorization": "Bearer dev"}}, 401, map[string]any{"code": "unauthorized", "detail": "the API key is not known", "title": "Unauthorized"}, nil},
		{"no scope", call{path: "/api/v1/publish", key: "reader", body: "{}"}, 403, map[string]any{"code": "denied", "detail": `the key "reader" has no scope for publish`, "title": "Forbidden"}, nil},
		{"another content type", call{path: "/api/v1/info", key: "all", headers: map[string]string{"Content-Type": "text/plain"}}, 400, map[string]any{"code": "bad_request", "field": "Content-Type", "detail": "Content-Type: must be application/json", "title": "Bad Request"}, nil},
		{"no content type", call{path: "/api/v1/info", key: "all", headers: map[string]string{"Content-Type": ""}}, 400, map[string]any{"code": "bad_request", "field": "Content-Type", "detail": "Content-Type: must be application/json", "title": "Bad Request"}, nil},
		{"a body too large", call{path: "/api/v1/publish", key: "all", body: big}, 413, map[string]any{"code": "too_large", "detail": "the body has 65546 bytes; at most 65536 are allowed (limits.body)", "title": "Request Entity Too Large"}, nil},
		{"one of unknown length", call{path: "/api/v1/publish", key: "all", body: big, chunked: true}, 413, map[string]any{"code": "too_large", "detail": "the body has more than 65536 bytes (limits.body)", "title": "Request Entity Too Large"}, nil},
		{"bad UTF-8", call{path: "/api/v1/publish", key: "all", body: "{\"a\":\"\xff\"}"}, 400, map[string]any{"code": "bad_request", "detail": "the body is not valid UTF-8", "title": "Bad Request"}, nil},
		{"no JSON", call{path: "/api/v1/publish", key: "all", body: "hello"}, 400, map[string]any{"code": "bad_request", "detail": "params: not valid JSON at byte 0: a value is missing", "title": "Bad Request"}, nil},
		{"a field that is wrong", call{path: "/api/v1/publish", key: "all", body: `{"to":{"user":7},"data":1}`}, 400, map[string]any{"code": "bad_request", "field": "to.user", "detail": "to.user: must be a string, not a number", "title": "Bad Request"}, nil},
		{"one that is unknown", call{path: "/api/v1/publish", key: "all", body: `{"to":{"all":"users"},"data":1,"exclde":{}}`}, 400, map[string]any{"code": "bad_request", "field": "exclde", "detail": "exclde: is not a field of this verb", "title": "Bad Request"}, nil},
		{"a wait", call{path: "/api/v1/slow", key: "all"}, 503, map[string]any{"code": "unavailable", "detail": "later", "title": "Service Unavailable", "retry_after": 1500.0}, map[string]string{"Retry-After": "2"}},
		{"an error of ours", call{path: "/api/v1/broken", key: "all"}, 500, map[string]any{"code": "internal", "detail": "internal error", "title": "Internal Server Error"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := w.do(tt.call)
			if res.StatusCode != tt.status || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %s, %s", res.Status, res.Header.Get("Content-Type"))
			}
			got := object(t, body)
			tt.want["status"] = float64(tt.status)
			if tt.want["detail"] == nil { // a proxy may trim what it sees
				delete(got, "detail")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			for name, value := range tt.header {
				if res.Header.Get(name) != value {
					t.Errorf("%s is %q, want %q", name, res.Header.Get(name), value)
				}
			}
		})
	}
}

func TestEveryCodeMakesAProblem(t *testing.T) {
	for _, code := range fault.Codes {
		rec := httptest.NewRecorder()
		httpapi.Fail(rec, fault.Field("a.b", "x\n\"y").After(time.Microsecond))
		got := object(t, rec.Body.String())
		want := map[string]any{"title": "Bad Request", "status": 400.0, "code": "bad_request", "detail": "a.b: x\n\"y", "field": "a.b", "retry_after": 1.0}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		rec = httptest.NewRecorder()
		httpapi.Fail(rec, fault.New(code, "m"))
		if p := object(t, rec.Body.String()); rec.Code != code.HTTPStatus() || p["code"] != string(code) || p["title"] != http.StatusText(rec.Code) {
			t.Errorf("%s: got %d, %v", code, rec.Code, p)
		}
	}
}

func TestVerbsRun(t *testing.T) {
	w := start(t)
	tests := []struct {
		name string
		call call
		want map[string]any
	}{
		{"publish", call{path: "/api/v1/publish", key: "all", body: `{"to":{"channel":"room:1"},"data":{"x":1}}`}, map[string]any{"connections": 0.0, "users": 0.0, "stored": false}},
		{"a content type with a charset", call{path: "/api/v1/channels", key: "all", body: `{}`, headers: map[string]string{"Content-Type": "application/json; charset=utf-8"}}, map[string]any{"items": []any{}}},
		{"an empty body", call{path: "/api/v1/channels", key: "all"}, map[string]any{"items": []any{}}},
		{"the scheme in small letters", call{path: "/api/v1/channels", headers: map[string]string{"Authorization": "bearer " + w.keys["all"]}}, map[string]any{"items": []any{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := w.do(tt.call)
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("got %s, %s", res.Status, body)
			}
			got := object(t, body)
			delete(got, "id")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	m := w.api.Metrics()
	if m.Requests.Load() != 4 || m.Failed.Load() != 0 || m.Denied.Load() != 0 {
		t.Errorf("metrics: %d, %d, %d", m.Requests.Load(), m.Failed.Load(), m.Denied.Load())
	}
}

func TestAnIdempotencyKeyAnswersOnce(t *testing.T) {
	w := start(t)
	post := func(key, body string) (int, map[string]any) {
		res, text := w.do(call{path: "/api/v1/publish", key: "all", body: body, headers: map[string]string{"Idempotency-Key": key}})
		return res.StatusCode, object(t, text)
	}
	_, first := post("k", `{"to":{"all":"users"},"data":1}`)
	status, again := post("k", `{"to":{"all":"users"},"data":1}`)
	if status != 200 || again["id"] != first["id"] || again["duplicate"] != true {
		t.Errorf("got %d, %v after %v", status, again, first)
	}
	if status, other := post("k", `{"to":{"all":"users"},"data":2}`); status != 409 || other["code"] != "conflict" {
		t.Errorf("got %d, %v", status, other)
	}
	if status, other := post(strings.Repeat("k", 129), `{"to":{"all":"users"},"data":2}`); status != 400 || other["field"] != "key" {
		t.Errorf("got %d, %v", status, other)
	}
}

func TestBatch(t *testing.T) {
	w := start(t)
	res, body := w.do(call{path: "/api/v1/batch", key: "reader", body: `{"commands":[
		{"verb":"info"},
		{"verb":"publish","params":{}},
		{"verb":"dance"},
		{"params":{}},
		5,
		{"verb":"info","params":{"x":1}},
		{"verb":"stats","params":{}}
	]}`})
	if res.StatusCode != 200 {
		t.Fatalf("got %s: %s", res.Status, body)
	}
	var got []string
	for _, r := range object(t, body)["results"].([]any) {
		m := r.(map[string]any)
		if e, failed := m["error"].(map[string]any); failed {
			got = append(got, e["code"].(string)+": "+e["detail"].(string))
		} else if ok := m["ok"].(map[string]any); ok["version"] != nil || ok["bytes_in"] != nil {
			got = append(got, "ok")
		}
	}
	want := []string{
		"ok", `denied: the key "reader" has no scope for publish`, `not_found: verb "dance" is not known`, "bad_request: verb: is missing",
		"bad_request: command: not a JSON object", "bad_request: x: is not a field of this verb", "ok",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for body, want := range map[string]string{
		`{}`:                                 "commands: is missing",
		`{"commands":5}`:                     "commands: must be an array, not a number",
		`[]`:                                 "body: not a JSON object",
		`{"commands":[`:                      "body: not valid JSON at byte 13",
		`{"commands":[]} x`:                  "body: not valid JSON at byte 16",
		`{"commands":[],"commands":` + `[]}`: "stands twice",
	} {
		res, text := w.do(call{path: "/api/v1/batch", key: "all", body: body})
		if p := object(t, text); res.StatusCode != 400 || !strings.Contains(p["detail"].(string), want) {
			t.Errorf("%s: got %s %v, want %q", body, res.Status, p, want)
		}
	}
	if res, text := w.do(call{path: "/api/v1/batch", key: "all", body: `{"commands":[]}`}); res.StatusCode != 200 || text != `{"results":[]}` {
		t.Errorf("an empty one: got %s %s", res.Status, text)
	}
	many := `{"commands":[` + strings.Repeat(`1,`, 10_000) + `1]}`
	if res, text := w.do(call{path: "/api/v1/batch", key: "all", body: many}); res.StatusCode != 400 || !strings.Contains(text, "commands: at most 10000 are allowed") {
		t.Errorf("too many: got %s %.200s", res.Status, text)
	}
}

func TestScopesOfFamilies(t *testing.T) {
	w := start(t)
	if res, text := w.do(call{path: "/api/v1/session.get", key: "sessions", body: `{"connection":"x"}`}); res.StatusCode != 400 {
		t.Errorf("got %s %s, want the verb to be reached", res.Status, text)
	}
	if res, _ := w.do(call{path: "/api/v1/info", key: "sessions"}); res.StatusCode != 403 {
		t.Errorf("got %s", res.Status)
	}
	if n := w.api.Metrics().Denied.Load(); n != 1 {
		t.Errorf("the metric says %d", n)
	}
}

func TestGuard(t *testing.T) {
	w := start(t)
	tests := []struct {
		dev    bool
		key    string
		status int
	}{{false, "", 401}, {false, "reader", 403}, {false, "ops", 200}, {false, "all", 200}, {true, "", 200}}
	for _, tt := range tests {
		w.api.Configure(w.settings(tt.dev))
		if res, text := w.do(call{method: "GET", path: "/guarded", key: tt.key}); res.StatusCode != tt.status || (text == "in") != (tt.status == 200) {
			t.Errorf("dev %v, key %q: got %s", tt.dev, tt.key, res.Status)
		}
	}
}

func TestTheDevelopmentKeyWorksFromLoopbackAlone(t *testing.T) {
	w := start(t)
	w.api.Configure(w.settings(true))
	dev := map[string]string{"Authorization": "Bearer dev"}
	if res, _ := w.do(call{path: "/api/v1/info", headers: dev}); res.StatusCode != 200 {
		t.Errorf("from loopback: %s", res.Status)
	}
	dev["X-Forwarded-For"] = "203.0.113.9"
	if res, _ := w.do(call{path: "/api/v1/info", headers: dev}); res.StatusCode != 401 {
		t.Errorf("through a proxy: %s", res.Status)
	}
	if res, _ := w.do(call{method: "GET", path: "/guarded", headers: dev}); res.StatusCode != 401 {
		t.Errorf("a guarded page through a proxy: %s", res.Status)
	}
	for remote, status := range map[string]int{"203.0.113.9:1": 401, "[::1]:1": 200, "[::ffff:127.0.0.1]:1": 200, "nonsense": 401} {
		req := httptest.NewRequest("POST", "/api/v1/info", nil)
		req.RemoteAddr = remote
		req.Header.Set("Authorization", "Bearer dev")
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.api.ServeHTTP(rec, req)
		if rec.Code != status {
			t.Errorf("from %s: %d, want %d", remote, rec.Code, status)
		}
	}
}

// A cookie stands for the key when there is none, as whom the console's door says.
func TestACookieStandsForTheKey(t *testing.T) {
	w := start(t)
	var refused []string
	denied := fault.New(fault.Denied, "X-CSRF-Token: is missing")
	api := httpapi.New(httpapi.Config{
		Registry: w.verbs, Settings: w.settings(false),
		Cookie: func(r *http.Request) (verb.Caller, bool, error) {
			switch c, _ := r.Cookie("who"); {
			case c == nil:
				return verb.Caller{}, false, nil
			case c.Value == "stranger":
				return verb.Caller{}, false, denied
			default:
				return verb.Caller{Name: "console:" + c.Value, By: verb.ByConsole, Role: "viewer", Scopes: auth.Viewer}, true, nil
			}
		},
		Refused: func(_ context.Context, c verb.Caller, name string, params []byte, err error) {
			refused = append(refused, c.Who()+" "+name+" "+string(params))
		},
	})
	guarded := api.GuardVerb("trace", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, verb.CallerOf(r.Context()).Name)
	}))
	do := func(h http.Handler, path, cookie, key, body string) (int, string) {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if cookie != "" {
			r.Header.Set("Cookie", "who="+cookie)
		}
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	const push = `{"to":{"channel":"room:1"},"data":1}`
	for _, tt := range []struct {
		path, cookie, key, body string
		status                  int
		want                    string
	}{
		{"/api/v1/info", "ann", "", `{}`, 200, `"version"`},
		{"/api/v1/info", "", "", `{}`, 401, "an API key is missing"},
		{"/api/v1/info", "stranger", "", `{}`, 403, "X-CSRF-Token: is missing"},
		{"/api/v1/info", "ann", "wrong", `{}`, 401, "the API key is not known"},
		{"/api/v1/info", "stranger", w.keys["all"], `{}`, 200, `"version"`},
		{"/api/v1/publish", "ann", "", push, 403, "the role viewer may not run publish"},
		{"/api/v1/publish", "ann", w.keys["all"], push, 200, `"id"`},
		{"/api/v1/batch", "ann", "", `{"commands":[{"verb":"publish","params":{"x":1}},{"verb":"info"}]}`, 200, `{"results":[{"error":{"title":"Forbidden","status":403,"code":"denied","detail":"the role viewer may not run publish"}},{"ok":`},
		{"guarded", "ann", "", "", 403, "the role viewer may not run trace"},
		{"guarded", "stranger", "", "", 403, "X-CSRF-Token"},
		{"guarded", "", w.keys["all"], "", 200, "all"},
		{"guarded", "", "", "", 401, "an API key is missing"},
	} {
		h, path := http.Handler(api), tt.path
		if path == "guarded" {
			h, path = guarded, "/guarded"
		}
		if status, body := do(h, path, tt.cookie, tt.key, tt.body); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%+v: got %d %s", tt, status, body)
		}
	}
	if diff := cmp.Diff([]string{"ann publish " + push, `ann publish {"x":1}`, "ann trace "}, refused); diff != "" {
		t.Error(diff)
	}
	// Pages beside the API take keys alone.
	if status, _ := do(api.Guard("metrics", guarded), "/metrics", "ann", "", ""); status != 401 {
		t.Errorf("a cookie for the metrics: got %d", status)
	}
}
