// Package asset serves files that are part of the program: from memory, compressed once,
// with a strong validator, so that a client that has one is answered 304.
//
// It stores nothing and starts nothing. Headers other than Content-Encoding, ETag and Vary
// are for those who serve to set.
package asset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// File is a file as it is served.
type File struct {
	plain, packed []byte // packed is nil when it would not be smaller
	etag          string
}

// New makes one ready.
func New(plain []byte) *File {
	sum := sha256.Sum256(plain)
	return &File{plain: plain, packed: compressed(plain), etag: hex.EncodeToString(sum[:16])}
}

// Serve answers a request with it.
func (f *File) Serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	body, etag := f.plain, f.etag
	if f.packed != nil && acceptsGzip(r) {
		body, etag = f.packed, f.etag+"-gzip"
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", `"`+etag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func compressed(plain []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := w.Write(plain); err != nil || w.Close() != nil || b.Len() >= len(plain) {
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
