package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// acceptGUID is the constant of RFC 6455, 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// UpgradeOptions says which handshakes are welcome.
type UpgradeOptions struct {
	// Origins are the origins ("https://example.com", with the port when it is
	// not the scheme's own) that a browser may come from besides the server's
	// own host; "*" allows all. A request without an Origin is no browser's and
	// always allowed.
	Origins []string
	// Subprotocols are the ones that the server speaks.
	Subprotocols []string
	// Deflate accepts permessage-deflate.
	Deflate bool
}

// Upgrade is a handshake that may go ahead.
type Upgrade struct {
	// Subprotocol is the first of the client's that the server speaks; empty when
	// there is none.
	Subprotocol string
	// Deflate says that permessage-deflate was agreed on, with these parameters.
	Deflate bool
	Params  DeflateParams

	key        string
	extensions string
}

// Refusal is the HTTP response to a handshake that may not go ahead.
type Refusal struct {
	Status  int         // 400, 403, 405 or 426
	Header  http.Header // headers that the status asks for; nil when there are none
	Message string      // why, as a sentence for the one who wrote the client
}

// ServeHTTP writes the refusal as plain text.
func (f *Refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	http.Error(w, f.Message, f.Status)
}

func refuse(status int, message string, header ...string) *Refusal {
	f := &Refusal{Status: status, Message: message}
	for i := 0; i+1 < len(header); i += 2 {
		if f.Header == nil {
			f.Header = make(http.Header, len(header)/2)
		}
		f.Header.Set(header[i], header[i+1])
	}
	return f
}

// CheckUpgrade judges a WebSocket handshake (RFC 6455, 4.2). Exactly one of its
// results is not nil. It changes nothing: the caller hijacks the connection and
// writes [Upgrade.Response], or serves the [Refusal].
func CheckUpgrade(r *http.Request, opt UpgradeOptions) (*Upgrade, *Refusal) {
	if f := checkRequest(r); f != nil {
		return nil, f
	}
	key, f := checkKey(r.Header["Sec-Websocket-Key"])
	if f != nil {
		return nil, f
	}
	if f := checkOrigin(r, opt.Origins); f != nil {
		return nil, f
	}
	u := &Upgrade{key: key, Subprotocol: subprotocol(r.Header["Sec-Websocket-Protocol"], opt.Subprotocols)}
	if opt.Deflate {
		u.Params, u.extensions, u.Deflate = NegotiateDeflate(r.Header["Sec-Websocket-Extensions"])
	}
	return u, nil
}

// checkRequest checks that the request asks for a WebSocket in the version that
// the server speaks.
func checkRequest(r *http.Request) *Refusal {
	if r.Method != http.MethodGet {
		return refuse(http.StatusMethodNotAllowed, "A WebSocket handshake is a GET request, this is "+article(r.Method)+".", "Allow", http.MethodGet)
	}
	upgrade, connection := hasToken(r.Header["Upgrade"], "websocket"), hasToken(r.Header["Connection"], "upgrade")
	key, version := r.Header["Sec-Websocket-Key"], r.Header["Sec-Websocket-Version"]
	if !upgrade && !connection && len(r.Header["Upgrade"]) == 0 && len(key) == 0 && len(version) == 0 {
		return refuse(http.StatusUpgradeRequired, "This address speaks WebSocket; open it with a WebSocket client.", "Upgrade", "websocket", "Connection", "Upgrade")
	}
	switch {
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1:
		return refuse(http.StatusBadRequest, "A WebSocket handshake needs HTTP/1.1, this is "+r.Proto+".")
	case !connection:
		return refuse(http.StatusBadRequest, "The Connection header does not contain \"Upgrade\"; a proxy in between may have removed it.")
	case !upgrade:
		return refuse(http.StatusBadRequest, "The Upgrade header does not contain \"websocket\"; a proxy in between may have removed it.")
	case len(version) != 1 || version[0] != "13":
		return refuse(http.StatusUpgradeRequired, "The Sec-WebSocket-Version header is not 13.", "Sec-WebSocket-Version", "13", "Upgrade", "websocket", "Connection", "Upgrade")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		// The bytes of a body would be read as frames.
		return refuse(http.StatusBadRequest, "A WebSocket handshake has no body.")
	}
	return nil
}

// article puts the method into a sentence; a strange one is not repeated.
func article(method string) string {
	switch method {
	case http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect, http.MethodTrace:
		return "a " + method
	case http.MethodOptions:
		return "an " + method
	}
	return "another method"
}

// checkKey checks that there is one key of 16 bytes in base64 (RFC 6455, 4.2.1).
func checkKey(values []string) (key string, f *Refusal) {
	if len(values) != 1 {
		return "", refuse(http.StatusBadRequest, "There must be exactly one Sec-WebSocket-Key header.")
	}
	key = strings.TrimSpace(values[0])
	var raw [18]byte // what 24 characters of base64 hold at most
	if len(key) != 24 {
		return "", refuse(http.StatusBadRequest, "The Sec-WebSocket-Key header is not 16 bytes in base64.")
	}
	if n, err := base64.StdEncoding.Decode(raw[:], []byte(key)); err != nil || n != 16 {
		return "", refuse(http.StatusBadRequest, "The Sec-WebSocket-Key header is not 16 bytes in base64.")
	}
	return key, nil
}

// checkOrigin keeps foreign web pages from using a visitor's browser (RFC 6455,
// 10.2).
func checkOrigin(r *http.Request, allowed []string) *Refusal {
	values := r.Header["Origin"]
	if len(values) == 0 || slices.Contains(allowed, "*") {
		return nil
	}
	if len(values) == 1 {
		if scheme, host, ok := splitOrigin(values[0]); ok {
			if host == hostPort(scheme, strings.ToLower(r.Host)) {
				return nil
			}
			for _, a := range allowed {
				if s, h, ok := splitOrigin(a); ok && s == scheme && h == host {
					return nil
				}
			}
		}
	}
	return refuse(http.StatusForbidden, "The page's origin is not allowed; add it to \"origins\" in the server's configuration.")
}

// splitOrigin takes scheme://host[:port] apart, in lower case and without the
// scheme's own port.
func splitOrigin(origin string) (scheme, host string, ok bool) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", false
	}
	scheme = strings.ToLower(u.Scheme)
	return scheme, hostPort(scheme, strings.ToLower(u.Host)), true
}

// hostPort drops the port when it is the scheme's own.
func hostPort(scheme, host string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// subprotocol is the first that the client offers and the server speaks.
func subprotocol(headers, known []string) string {
	for _, h := range headers {
		for h != "" {
			var offer string
			offer, h, _ = strings.Cut(h, ",")
			if offer = trimSpace(offer); offer != "" && slices.Contains(known, offer) {
				return offer
			}
		}
	}
	return ""
}

// hasToken tells whether a header that is a list holds the token, in any case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for v != "" {
			var element string
			element, v, _ = strings.Cut(v, ",")
			if strings.EqualFold(trimSpace(element), token) {
				return true
			}
		}
	}
	return false
}

// AcceptKey is the Sec-WebSocket-Accept that proves that a server has seen the
// client's Sec-WebSocket-Key (RFC 6455, 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Response is the 101 response to write to the hijacked connection, with the
// empty line that ends it.
func (u *Upgrade) Response() []byte {
	b := make([]byte, 0, 320)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = append(b, AcceptKey(u.key)...)
	if u.Subprotocol != "" {
		b = append(b, "\r\nSec-WebSocket-Protocol: "...)
		b = append(b, u.Subprotocol...)
	}
	if u.Deflate {
		b = append(b, "\r\nSec-WebSocket-Extensions: "...)
		b = append(b, u.extensions...)
	}
	return append(b, "\r\n\r\n"...)
}

// OriginAllowed tells whether a browser's request may come from the page that it
// comes from, by the rules of [UpgradeOptions].Origins.
func OriginAllowed(r *http.Request, allowed []string) bool { return checkOrigin(r, allowed) == nil }
