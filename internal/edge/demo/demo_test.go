package demo

import (
	"bytes"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func get(t *testing.T, target string, change func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	handler().ServeHTTP(w, r)
	return w
}

// handler is made once: it reads and hashes all pages.
var handler = sync.OnceValue(Handler)

func TestPagesAreServed(t *testing.T) {
	for _, tc := range []struct{ path, want string }{
		{"/demo/", "Three windows"},
		{"/demo/index.html", "Three windows"},
		{"/demo/live.html", "Skein live"},
		{"/demo/ten.html", "new WebSocket"},
		{"/demo/ticker", "io.connect"},
		{"/demo/game", "Who changed what"},
		{"/demo/game?desk", "Who changed what"},
		{"/demo/game.html?player=anna", "Who changed what"},
		{"/demo/points.html", "/sdk/skein.js"},
		{"/demo/inbox", "Acknowledge by itself"},
		{"/demo/inbox?user=ann&device=phone", "Acknowledge by itself"},
		{"/demo/inbox.html", "Acknowledge by itself"},
		{"/demo/board", "One connection"},
		{"/demo/board.html", "One connection"},
		{"/demo/chat", "New message to"},
		{"/demo/chat?user=ann", "New message to"},
		{"/demo/chat.html?user=ann", "New message to"},
	} {
		w := get(t, tc.path, nil)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s: status %d, want 200 and %q in it", tc.path, w.Code, tc.want)
		}
		if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("%s: content type %q", tc.path, got)
		}
	}
}

func TestWhatIsNotAPageIsNotFound(t *testing.T) {
	for _, path := range []string{"/demo/demo.go", "/demo/../demo.go", "/demo/pages/live.html", "/demo/live", "/demo/points", "/demo/game/", "/demo/inbox/", "/demo/chat/", "/demo/board.go"} {
		if w := get(t, path, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, w.Code)
		}
	}
}

func TestOnlyGetAndHead(t *testing.T) {
	w := get(t, "/demo/", func(r *http.Request) { r.Method = http.MethodPost })
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: status %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	w = get(t, "/demo/", func(r *http.Request) { r.Method = http.MethodHead })
	if w.Code != http.StatusOK || w.Body.Len() != 0 {
		t.Errorf("HEAD: status %d with %d bytes", w.Code, w.Body.Len())
	}
}

func TestAnUnchangedPageIsNotSentAgain(t *testing.T) {
	first := get(t, "/demo/live.html", nil)
	tag := first.Header().Get("ETag")
	if tag == "" || first.Header().Get("Cache-Control") != "no-cache" {
		t.Fatalf("ETag %q, Cache-Control %q", tag, first.Header().Get("Cache-Control"))
	}
	again := get(t, "/demo/live.html", func(r *http.Request) { r.Header.Set("If-None-Match", tag) })
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("status %d with %d bytes, want 304 without a body", again.Code, again.Body.Len())
	}
}

func TestThePolicyAllowsOnlyThePageItself(t *testing.T) {
	for host, want := range map[string]string{
		"localhost:8000":        "connect-src 'self' ws://localhost:8000 wss://localhost:8000;",
		"[::1]:8000":            "connect-src 'self' ws://[::1]:8000 wss://[::1]:8000;",
		"evil.test; script-src": "connect-src 'self';",
		"*":                     "connect-src 'self';",
	} {
		w := get(t, "/demo/live.html", func(r *http.Request) { r.Host = host })
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, want) {
			t.Errorf("for host %q the policy is %q, want %q in it", host, policy, want)
		}
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'sha256-") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "%") {
			t.Errorf("for host %q the policy is %q", host, policy)
		}
	}
}

// The policy refuses what it does not name, so a page that has any of these
// would be broken in a browser.
func TestPagesHoldNothingThatThePolicyRefuses(t *testing.T) {
	refused := regexp.MustCompile(`(?i)<script [^>]|<style [^>]|<link [^>]*stylesheet| style="| on[a-z]+="|https?://[^w]|@import|url\(`)
	for name, p := range read(files) {
		body := bytes.ReplaceAll(p.body, []byte(`<script type="module">`), []byte("<script>"))
		if found := refused.Find(body); found != nil {
			t.Errorf("%s has %q", name, found)
		}
	}
}

func TestTheIndexShowsTheLinesThatRun(t *testing.T) {
	index := get(t, "/demo/", nil).Body.String()
	for _, tc := range []struct {
		page  string
		lines int
	}{{"ten.html", 10}, {"points.html", 5}} {
		script := inlineScript.FindStringSubmatch(get(t, "/demo/"+tc.page, nil).Body.String())
		if script == nil {
			t.Fatalf("%s has no script", tc.page)
		}
		text := strings.TrimSpace(script[1])
		if n := strings.Count(text, "\n") + 1; n != tc.lines {
			t.Errorf("the script of %s has %d lines, want %d", tc.page, n, tc.lines)
		}
		if !strings.Contains(index, html.EscapeString(text)) {
			t.Errorf("the index does not show the script of %s", tc.page)
		}
	}
	if strings.Contains(index, "<!-- the script") {
		t.Error("the index has a place for a script that is not there")
	}
}
