package demo

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A page may load from outside the files of the client that it is written with,
// and those from its own server alone.
func TestThePolicyAllowsTheClientOfAPageAndNothingElse(t *testing.T) {
	scripts := regexp.MustCompile(`script-src ([^;]*);`)
	for _, tc := range []struct{ page, client string }{
		{"index.html", ""},
		{"live.html", ""},
		{"ten.html", ""},
		{"ticker", "/socket.io/socket.io.js"},
		{"ticker.html", "/socket.io/socket.io.js"},
		{"game", "/sdk/skein.js"},
		{"game.html", "/sdk/skein.js"},
		{"points.html", "/sdk/skein.js"},
		{"inbox", "/sdk/skein.js"},
		{"inbox.html", "/sdk/skein.js"},
		{"board", ""},
		{"board.html", ""},
		{"chat", "/sdk/skein.js /sdk/chat.js"},
		{"chat.html", "/sdk/skein.js /sdk/chat.js"},
	} {
		for host, source := range map[string]string{
			"localhost:8000": " localhost:8000",
			"skein.example":  " skein.example",
			"[::1]:8000":     " [::1]:8000",
			"*":              "",
			"a; script-src":  "",
		} {
			w := get(t, "/demo/"+tc.page, func(r *http.Request) { r.Host = host })
			got := scripts.FindStringSubmatch(w.Header().Get("Content-Security-Policy"))
			block := inlineScript.FindStringSubmatch(w.Body.String())
			if got == nil || block == nil {
				t.Fatalf("%s for host %q: script-src %q", tc.page, host, got)
			}
			sum := sha256.Sum256([]byte(block[1]))
			want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
			for _, path := range strings.Fields(tc.client) {
				if source != "" {
					want += source + path
				}
			}
			if got[1] != want {
				t.Errorf("%s for host %q: script-src is %q, want %q", tc.page, host, got[1], want)
			}
		}
	}
}

// What runs is what the policy names: a page has one script, whose kind the
// policy's hash does not tell.
func TestEachPageHasOneScriptThatThePolicyNames(t *testing.T) {
	for name, p := range read(files) {
		if n := strings.Count(strings.ToLower(string(p.body)), "<script"); n != 1 {
			t.Errorf("%s has %d scripts, want 1", name, n)
		}
		if n := strings.Count(p.policy, "'sha256-"); n != 1+strings.Count(string(p.body), "<style>") {
			t.Errorf("%s: the policy %q has %d hashes", name, p.policy, n)
		}
	}
}

// A page that imports a client is written down as one that may.
func TestWhatAPageImportsItMayLoad(t *testing.T) {
	imports := regexp.MustCompile(`(?:from |import\(|\.src = )"([^"]+)"`)
	for name, p := range read(files) {
		var want []string
		for _, found := range imports.FindAllStringSubmatch(inlineScript.FindStringSubmatch(string(p.body))[1], -1) {
			want = append(want, found[1])
		}
		if !slices.Equal(p.client, want) {
			t.Errorf("%s loads %q and may load %q", name, want, p.client)
		}
	}
}

func TestTheIndexLeadsToTheDemos(t *testing.T) {
	index := get(t, "/demo/", nil).Body.String()
	for _, link := range []string{
		`href="game"`, `href="game?desk"`, `href="game?player=anna"`, `href="points.html"`,
		`href="inbox"`, `href="inbox?user=ann&amp;device=phone"`, `href="board"`,
		`href="chat"`, `href="chat?user=ann"`, `href="chat?user=bob"`,
	} {
		if !strings.Contains(index, link) {
			t.Errorf("the index has no link %s", link)
		}
	}
}
