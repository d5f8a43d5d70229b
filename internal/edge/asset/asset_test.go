package asset

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGzipIsGivenToWhoTakesIt(t *testing.T) {
	for accept, want := range map[string]bool{"": false, "gzip": true, "br": false, "GZIP": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip; q=0.5, br": true, "gzipped": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

func TestAFileIsServed(t *testing.T) {
	get := func(f *File, header map[string]string) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		for name, value := range header {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		f.Serve(w, r)
		return w.Result()
	}
	text := strings.Repeat("many words ", 100)
	f := New([]byte(text))
	plain, packed := get(f, nil), get(f, map[string]string{"Accept-Encoding": "gzip"})
	if b, err := io.ReadAll(plain.Body); err != nil || string(b) != text || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("plain it is %.50q, %v", b, err)
	}
	r, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != text || packed.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("packed it is %.50q, %v", b, err)
	}
	tags := map[string]string{"": plain.Header.Get("ETag"), "gzip": packed.Header.Get("ETag")}
	if tags[""] == tags["gzip"] || plain.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("both have the tag %s, or none is told apart", tags[""])
	}
	for accept, tag := range tags {
		if again := get(f, map[string]string{"Accept-Encoding": accept, "If-None-Match": tag}); again.StatusCode != http.StatusNotModified {
			t.Errorf("the same again (%q) is %s", accept, again.Status)
		}
	}
	if other := New([]byte(text + "!")); get(other, nil).Header.Get("ETag") == tags[""] {
		t.Error("another file has the same tag")
	}
	if small := get(New([]byte("x")), map[string]string{"Accept-Encoding": "gzip"}); small.Header.Get("Content-Encoding") != "" {
		t.Error("packing has made a file larger")
	}
}
