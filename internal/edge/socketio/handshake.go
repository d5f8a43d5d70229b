package socketio

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

// Handshake is what a client gave to connect to a namespace.
type Handshake struct {
	Namespace string
	Auth      json.RawMessage // what the client gave as auth; {} when it gave nothing
	Query     url.Values      // of the connection, and of old clients of the namespace
	Header    http.Header     // of the request that opened the session
	Remote    netip.AddrPort
	// User and Device are who the client is, by its token. A function given to
	// [Namespace.Use] may set them.
	User, Device string
}

// Token is the token in auth, or in the query of old clients.
func (h *Handshake) Token() string {
	var o protocol.Object
	if o.Read(h.Auth, 8) == nil {
		if t, err := o.String("token", 8<<10); err == nil && t != "" {
			return t
		}
	}
	return h.Query.Get("token")
}

// brought is what a client gave to connect to a namespace, in as few bytes as
// possible: of many sockets nobody ever asks for it.
type brought struct {
	auth  string
	query string
}

func broughtIn(p *sio.Packet) brought { return brought{string(p.Data), p.Query} }

// none tells that there is nothing to keep.
func (b brought) none() bool { return b == brought{} }

// handshake gives it together with what the session was opened with.
func (b brought) handshake(e *engine, namespace string) *Handshake {
	h := &Handshake{Namespace: namespace, Auth: json.RawMessage("{}"), Header: e.headers.unpack(), Remote: e.remote}
	h.Query, _ = url.ParseQuery(e.query) // what cannot be read is left out
	if b.auth != "" {
		h.Auth = json.RawMessage(b.auth)
	}
	if b.query != "" {
		if more, err := url.ParseQuery(b.query); err == nil {
			maps.Copy(h.Query, more)
		}
	}
	return h
}

// headers is a header as one string. Neither names nor values can hold a zero.
type headers string

func packHeaders(h http.Header) headers {
	var b strings.Builder
	size := 0
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(v) + 2
		}
	}
	b.Grow(size)
	for name, values := range h {
		for _, v := range values {
			b.WriteString(name)
			b.WriteByte(0)
			b.WriteString(v)
			b.WriteByte(0)
		}
	}
	return headers(b.String())
}

func (p headers) unpack() http.Header {
	h := http.Header{}
	for rest := string(p); rest != ""; {
		var name, value string
		name, rest, _ = strings.Cut(rest, "\x00")
		value, rest, _ = strings.Cut(rest, "\x00")
		h[name] = append(h[name], value)
	}
	return h
}
