package sdk

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string, header map[string]string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each module imports nothing, and pages of any origin may load it.
func TestTheClientIsServed(t *testing.T) {
	for _, path := range []string{"/sdk/skein.js", "/sdk/chat.js"} {
		t.Run(path, func(t *testing.T) { isServed(t, path) })
	}
}

func isServed(t *testing.T, path string) {
	res := get(t, http.MethodGet, path, nil)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s (make sdk builds it)", res.Status, body(t, res.Body))
	}
	text := body(t, res.Body)
	if !strings.Contains(text, "export{") || strings.Contains(text, "import{") {
		t.Errorf("it is no module that stands alone: %.200s", text)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Access-Control-Allow-Origin": "*",
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "Vary": "Accept-Encoding", "Content-Encoding": "",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	again := get(t, http.MethodGet, path, map[string]string{"If-None-Match": res.Header.Get("ETag")})
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("the same again is %s", again.Status)
	}
	packed := get(t, http.MethodGet, path, map[string]string{"Accept-Encoding": "br, gzip;q=0.8"})
	r, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body(t, r) != text || packed.Header.Get("ETag") == res.Header.Get("ETag") {
		t.Error("packed it is another one, or has the same tag")
	}
}

func TestNothingElseIsServed(t *testing.T) {
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/sdk/", 404}, {http.MethodGet, "/sdk/.gitignore", 404}, {http.MethodGet, "/sdk/dist/skein.js", 404},
		{http.MethodPost, "/sdk/skein.js", 405}, {http.MethodHead, "/sdk/skein.js", 200},
	} {
		if res := get(t, tc.method, tc.path, nil); res.StatusCode != tc.status {
			t.Errorf("%s %s: %s", tc.method, tc.path, res.Status)
		}
	}
}
