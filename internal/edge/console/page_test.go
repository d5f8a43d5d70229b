package console

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
	"testing/fstest"
)

func TestThePageAndItsFiles(t *testing.T) {
	w := start(t, nil)
	files := page()
	const forever, never, asked = "public, max-age=31536000, immutable", "no-store", "no-cache"
	for path, tt := range map[string]struct{ file, kind, cache string }{
		"/console/":                             {"index.html", "text/html; charset=utf-8", never},
		"/console/index.html":                   {"index.html", "text/html; charset=utf-8", never},
		"/console/users":                        {"index.html", "text/html; charset=utf-8", never},
		"/console/users/report.json?tab=x":      {"index.html", "text/html; charset=utf-8", never},
		"/console/channels/room%3A7":            {"index.html", "text/html; charset=utf-8", never},
		"/console/login":                        {"index.html", "text/html; charset=utf-8", never},
		"/console/version.2":                    {"index.html", "text/html; charset=utf-8", never},
		"/console/favicon.svg":                  {"favicon.svg", "image/svg+xml", asked},
		"/console/assets/index-Ab3_x-9Z.js":     {"assets/index-Ab3_x-9Z.js", "text/javascript; charset=utf-8", forever},
		"/console/assets/index-Qw12er34.css":    {"assets/index-Qw12er34.css", "text/css; charset=utf-8", forever},
		"/console/assets/words.json":            {"assets/words.json", "application/json", asked},
		"/console/assets/index-Older123.js":     {"", "", never},
		"/console/assets/":                      {"", "", never},
		"/console/robots.txt":                   {"", "", never},
		"/console/assets/.hidden-Ab3defgh.html": {"", "", never},
	} {
		r := w.do("GET", path, "", "Accept-Encoding: identity")
		if tt.file == "" {
			if r.StatusCode != 404 {
				t.Errorf("%s: got %d %s", path, r.StatusCode, r.body)
			}
		} else if r.StatusCode != 200 || r.body != string(files[tt.file].Data) || r.Header.Get("Content-Type") != tt.kind || r.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: got %d %v %.60s", path, r.StatusCode, r.Header, r.body)
		}
		if got := r.Header.Get("Cache-Control"); got != tt.cache {
			t.Errorf("%s: Cache-Control is %q, want %q", path, got, tt.cache)
		}
		if r.Header.Get("X-Console") != "" {
			t.Errorf("%s: the console is not missing", path)
		}
	}
	if r := w.do("GET", "/console/.gitkeep", ""); strings.Contains(r.Header.Get("Content-Type"), "octet") {
		t.Errorf("got %v", r.Header)
	}
	w.do("DELETE", "/console/users", "").wants(t, "DELETE", 405, "")
	w.do("PUT", "/console/login", "{}").wants(t, "PUT", 405, "")
	if r := w.do("HEAD", "/console/", ""); r.StatusCode != 200 || r.body != "" {
		t.Errorf("HEAD: got %d %q", r.StatusCode, r.body)
	}
}

func TestFilesArePackedAndAskedForAgain(t *testing.T) {
	w := start(t, nil)
	const script = "/console/assets/index-Ab3_x-9Z.js"
	r := w.do("GET", script, "", "Accept-Encoding: br, gzip;q=0.8")
	if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("got %v", r.Header)
	}
	unpack, err := gzip.NewReader(bytes.NewReader([]byte(r.body)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(unpack)
	if err != nil || string(plain) != string(page()["assets/index-Ab3_x-9Z.js"].Data) {
		t.Errorf("got %.60q, %v", plain, err)
	}
	tag := r.Header.Get("ETag")
	if again := w.do("GET", script, "", "Accept-Encoding: gzip", "If-None-Match: "+tag); again.StatusCode != 304 || again.body != "" {
		t.Errorf("got %d", again.StatusCode)
	}
	other := w.do("GET", script, "", "Accept-Encoding: gzip;q=0", "If-None-Match: "+tag)
	if other.StatusCode != 200 || other.Header.Get("ETag") == tag || strings.HasPrefix(tag, "W/") || other.Header.Get("Content-Encoding") != "" {
		t.Errorf("got %d %v", other.StatusCode, other.Header)
	}
	if small := w.do("GET", "/console/assets/index-Qw12er34.css", "", "Accept-Encoding: gzip"); small.Header.Get("Content-Encoding") != "" {
		t.Error("a file is packed that is larger then")
	}
}

// Everything under /console/ has the headers that keep others out, errors as well.
func TestHeaders(t *testing.T) {
	w := start(t, nil)
	for what, r := range map[string]reply{
		"the page": w.do("GET", "/console/", ""), "a file": w.do("GET", "/console/favicon.svg", ""), "no file": w.do("GET", "/console/assets/x.js", ""),
		"the session": w.do("GET", "/console/session", ""), "a login": w.do("POST", "/console/login", asAnn), "a wrong one": w.do("POST", "/console/login", "{}"), "a method": w.do("DELETE", "/console/", ""),
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", what, name, got)
			}
		}
	}
}

func TestAProgramWithoutThePage(t *testing.T) {
	w := start(t, func(c *Config) { c.Files = fstest.MapFS{".gitkeep": {}} })
	for _, path := range []string{"/console/", "/console/users/7", "/console/index.html"} {
		r := w.do("GET", path, "")
		if r.StatusCode != 200 || r.Header.Get("X-Console") != "missing" || !strings.Contains(r.body, "make build") || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: got %d %v %s", path, r.StatusCode, r.Header, r.body)
		}
	}
	if r := w.do("GET", "/console/assets/x.js", ""); r.StatusCode != 404 {
		t.Errorf("a file: got %d", r.StatusCode)
	}
	ann := w.login(asAnn) // all the same
	if r := w.do("POST", "/api/v1/info", "{}", ann.cookie, ann.token); r.StatusCode != 200 {
		t.Errorf("got %d", r.StatusCode)
	}
}

func TestNoDoor(t *testing.T) {
	w := start(t, func(c *Config) { c.Settings.Off = true })
	for _, r := range []reply{w.do("GET", "/console/", ""), w.do("GET", "/console/session", ""), w.do("POST", "/console/login", asAnn)} {
		if r.StatusCode != 404 {
			t.Errorf("got %d %s", r.StatusCode, r.body)
		}
	}
}
