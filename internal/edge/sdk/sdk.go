// Package sdk serves the JavaScript client under /sdk/, so that a page needs no
// bundler: import {connect} from "/sdk/skein.js". What is about conversations is a module
// of its own, "/sdk/chat.js".
//
// The files are bundled from sdk/js when the program is built (make sdk) and are no part
// of the repository; a program that was built without them answers 404 and says why.
// The package stores nothing and starts nothing.
package sdk

import (
	"embed"
	"net/http"

	"github.com/skein-realtime/skein/internal/edge/asset"
)

//go:embed all:dist
var files embed.FS

// Missing is what a program says that was built without the client.
const Missing = "this program was built without the JavaScript client; build it with make build, or install @skein-realtime/client"

// Handler serves the client. Mount it at /sdk/.
func Handler() http.Handler {
	modules := map[string]*asset.File{}
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
			serve(m, w, r)
		}
	})
}

// load reads a file; nil: the program was built without it.
func load(name string) *asset.File {
	plain, err := files.ReadFile("dist/" + name)
	if err != nil {
		return nil
	}
	return asset.New(plain)
}

func serve(m *asset.File, w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	// It holds nothing but itself, and pages of other origins import it, too.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	// It is asked for again each time and answered with 304 when it is the same, so
	// a new server never meets an old client.
	h.Set("Cache-Control", "no-cache")
	m.Serve(w, r)
}
