// Package demo serves the demo pages under /demo/: plain HTML with their script
// and style inside, made to be read and copied. They are clients like any
// other and know nothing of the server but its protocol.
//
// Every page gets a content security policy that allows its own inline script
// and style, by hash, and a connection to the server that it came from, and
// nothing else; those that are written with a client may load its files from
// there, too.
//
// [Ticker] and [Board] say what the pages of the same names show: a goroutine each,
// which the server starts and stops. The package stores nothing.
package demo

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"html"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"time"
)

//go:embed pages/*.html
var files embed.FS

// page is a page as it is served.
type page struct {
	body   []byte
	etag   string
	policy string   // content security policy; %HOST% and %CLIENT% stand for sources at the server's address
	client []string // paths of the files of a client that it loads; nil: none
}

var (
	inlineScript = regexp.MustCompile(`(?s)<script(?: type="module")?>(.*?)</script>`)
	inlineStyle  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	// hostAndPort is what may stand in a policy; any other Host gets 'self' alone.
	hostAndPort = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$|^\[[0-9A-Fa-f:]+\](:[0-9]+)?$`)
)

// Handler serves the pages. Mount it at /demo/.
func Handler() http.Handler {
	pages := read(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/demo/")
		if name == "" {
			name = "index.html"
		}
		switch name {
		case "ticker", "game", "inbox", "board", "chat": // their addresses are written down in guides without the ending
			name += ".html"
		}
		p, found := pages[name]
		if !found {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", p.policyFor(r.Host))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		// The page is asked for again each time and answered with 304 when it is
		// the same, so a new server never meets an old page.
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", p.etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(p.body))
	})
}

// read makes all pages ready. The files are part of the program, so they can
// be read; a page that is missing is a 404 that a test would find.
func read(fsys fs.FS) map[string]*page {
	pages := map[string]*page{}
	names, _ := fs.Glob(fsys, "pages/*.html")
	// The index shows the scripts of the smallest pages, so that what is shown is
	// what runs.
	shown := map[string][]byte{}
	for _, small := range []string{"ten.html", "points.html"} {
		body, _ := fs.ReadFile(fsys, "pages/"+small)
		if script := inlineScript.FindSubmatch(body); script != nil {
			shown[small] = []byte(html.EscapeString(strings.TrimSpace(string(script[1]))))
		}
	}
	for _, name := range names {
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			continue
		}
		for small, script := range shown {
			body = bytes.ReplaceAll(body, []byte("<!-- the script of "+small+" -->"), script)
		}
		sum := sha256.Sum256(body)
		pages[strings.TrimPrefix(name, "pages/")] = &page{
			body:   body,
			etag:   `"` + hex.EncodeToString(sum[:8]) + `"`,
			policy: policyOf(body, clientOf(name) != nil),
			client: clientOf(name),
		}
	}
	return pages
}

// clientOf is what a page loads from its own server besides itself.
func clientOf(name string) []string {
	switch name {
	case "pages/ticker.html":
		return []string{"/socket.io/socket.io.js"}
	case "pages/game.html", "pages/points.html", "pages/inbox.html":
		return []string{"/sdk/skein.js"}
	case "pages/chat.html":
		return []string{"/sdk/skein.js", "/sdk/chat.js"}
	}
	return nil
}

// policyOf allows what is inside a page and nothing from outside, but for a
// client of the same server when the page loads one.
func policyOf(body []byte, client bool) string {
	scripts := hashes(inlineScript, body)
	if client {
		scripts += "%CLIENT%"
	}
	return "default-src 'none'; script-src " + scripts + "; style-src " + hashes(inlineStyle, body) +
		"; img-src data:; connect-src 'self'%HOST%; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
}

func hashes(block *regexp.Regexp, body []byte) string {
	var list []string
	for _, found := range block.FindAllSubmatch(body, -1) {
		sum := sha256.Sum256(found[1])
		list = append(list, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	if list == nil {
		return "'none'"
	}
	return strings.Join(list, " ")
}

// policyFor names the server's WebSocket address: not every browser takes
// 'self' to mean ws: and wss: too.
func (p *page) policyFor(host string) string {
	sockets, client := "", ""
	if hostAndPort.MatchString(host) {
		sockets = " ws://" + host + " wss://" + host
		for _, path := range p.client {
			client += " " + host + path
		}
	}
	return strings.NewReplacer("%HOST%", sockets, "%CLIENT%", client).Replace(p.policy)
}
