package console

import (
	"embed"
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/skein-realtime/skein/internal/edge/asset"
)

//go:embed all:dist
var files embed.FS

// embedded is the page in the program, which is made ready when it is asked for first.
var embedded = sync.OnceValue(func() *site {
	sub, err := fs.Sub(files, "dist")
	if err != nil {
		return &site{}
	}
	return read(sub)
})

// missing is the page of a program that was built without the console's own.
const missing = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Skein console</title>
<h1>The console is not in this program</h1>
<p>This program was built without the files of its console. Build them, and the program
with them, in the source tree (this takes Node.js):</p>
<pre>make build</pre>
<p>Everything that the console does can be done with the command <code>skein</code> and the
<a href="/api/v1/openapi.json">HTTP API</a>, too.</p>
</html>
`

// types are the files that the page may have.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2",
	".json": "application/json", ".webmanifest": "application/manifest+json", ".map": "application/json", ".txt": "text/plain; charset=utf-8",
}

// hashed are names that change with what is in the file.
var hashed = regexp.MustCompile(`-[A-Za-z0-9_-]{8,}\.[a-z0-9]+(\.map)?$`)

// site is the page with its files, in memory.
type site struct{ files map[string]*file }

// file is one of them, as it is served.
type file struct {
	*asset.File
	kind    string
	forever bool
}

// read makes all files ready. Those that cannot be read are missing, and a 404.
func read(fsys fs.FS) *site {
	s := &site{files: map[string]*file{}}
	_ = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		kind := types[path.Ext(name)]
		if err != nil || entry.IsDir() || kind == "" || strings.HasPrefix(path.Base(name), ".") {
			return nil
		}
		plain, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil
		}
		s.files[name] = &file{File: asset.New(plain), kind: kind, forever: strings.HasPrefix(name, "assets/") && hashed.MatchString(name)}
		return nil
	})
	return s
}

// looksLikeAFile tells names of files from places in the page, which its script knows.
// What is deeper than assets is a place: users/report.json is a user.
func looksLikeAFile(name string) bool {
	return strings.HasPrefix(name, "assets/") || !strings.Contains(name, "/") && types[path.Ext(name)] != ""
}

const index = "index.html"

// serve answers a request for a file, or for a place in the page.
func (s *site) serve(w http.ResponseWriter, r *http.Request, name string) {
	f := s.files[name]
	if f == nil && looksLikeAFile(name) && name != index {
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	page := f == nil || name == index
	if page {
		f = s.files[index]
	}
	h := w.Header()
	if f == nil {
		h.Set("X-Console", "missing")
		h.Set("Content-Type", types[".html"])
		h.Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, missing)
		return
	}
	h.Set("Content-Type", f.kind)
	switch {
	case page:
		h.Set("Cache-Control", "no-store")
	case f.forever:
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	default:
		h.Set("Cache-Control", "no-cache")
	}
	f.Serve(w, r)
}
