// Package sdk serves the JavaScript client under /sdk/, so that a page needs no
// bundler: import {connect} from "/sdk/skein.js". What is about conversations is a module
// of its own, "/sdk/chat.js".
//
// The files are bundled from sdk/js when the program is built (make sdk) and are no part
// of the repository; a program that was built without them answers 404 and says why.
// The package stores nothing and starts nothing.
package sdk

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

//go:embed all:dist
var files embed.FS

// Missing is what a program says that was built without the client.
const Missing = "this program was built without the JavaScript client; build it with make build, or install @skein-realtime/client"

// module is one file of the client.
type module struct {
	plain, packed []byte
	etag          string
}

// Handler serves the client. Mount it at /sdk/.
func Handler() http.Handler {
	modules := map[string]*module{}
	for _, name := range []string{"skein.js", "chat.js"} {
		modules["/sdk/"+name] = load(name)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, known := modules[r.URL.Path]
		switch {
		case !known:
			http.NotFound(w, r)
		case m == nil:
			http.Error(w, Missing, http.StatusNotFound)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		default:
			m.serve(w, r)
		}
	})
}

// load reads a file; nil: the program was built without it.
func load(name string) *module {
	plain, err := files.ReadFile("dist/" + name)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(plain)
	return &module{plain: plain, packed: compressed(plain), etag: hex.EncodeToString(sum[:8])}
}

func (m *module) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	// It holds nothing but itself, and pages of other origins import it, too.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	// It is asked for again each time and answered with 304 when it is the same, so
	// a new server never meets an old client.
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	body := m.plain
	if m.packed != nil && acceptsGzip(r) {
		body = m.packed
		h.Set("Content-Encoding", "gzip")
		h.Set("ETag", `"`+m.etag+`-gzip"`)
	} else {
		h.Set("ETag", `"`+m.etag+`"`)
	}
	http.ServeContent(w, r, "module.js", time.Time{}, bytes.NewReader(body))
}

func compressed(plain []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := w.Write(plain); err != nil || w.Close() != nil {
		return nil
	}
	return b.Bytes()
}

// acceptsGzip tells whether a client takes gzip (RFC 9110 section 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, given := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(weight), " ", ""), "q=")
			return !given || strings.Trim(q, "0.") != ""
		}
	}
	return false
}
