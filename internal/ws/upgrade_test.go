package ws

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// handshake is a valid one, as in RFC 6455, 1.3.
const handshake = "GET /ws HTTP/1.1\r\n" +
	"Host: example.com\r\n" +
	"Upgrade: websocket\r\n" +
	"Connection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Version: 13\r\n"

func request(t *testing.T, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text + "\r\n")))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

// with replaces a header line of the valid handshake ("" takes it away) or adds one.
func with(name, line string) string {
	var b strings.Builder
	found := false
	for l := range strings.Lines(handshake) {
		if strings.HasPrefix(l, name+":") || name == "GET" && strings.HasPrefix(l, "GET ") {
			l, found = line, true
			if line != "" {
				l += "\r\n"
			}
		}
		b.WriteString(l)
	}
	if !found && line != "" {
		b.WriteString(line + "\r\n")
	}
	return b.String()
}

func TestHandshakesThatGoAhead(t *testing.T) {
	for name, text := range map[string]string{
		"as in the RFC":                handshake,
		"lower case":                   strings.ReplaceAll(strings.ReplaceAll(handshake, "Upgrade: websocket", "upgrade: WebSocket"), "Connection: Upgrade", "connection: upgrade"),
		"connection is a list":         with("Connection", "Connection: keep-alive, Upgrade"),
		"connection is two headers":    with("Connection", "Connection: keep-alive\r\nConnection: ,upgrade,"),
		"upgrade is a list":            with("Upgrade", "Upgrade: h2c , websocket"),
		"unknown subprotocol":          with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: other"),
		"deflate that is not switched": with("Sec-WebSocket-Extensions", "Sec-WebSocket-Extensions: permessage-deflate"),
		"same origin":                  with("Origin", "Origin: http://example.com"),
		"an empty body":                with("Content-Length", "Content-Length: 0"),
	} {
		t.Run(name, func(t *testing.T) {
			up, refusal := CheckUpgrade(request(t, text), UpgradeOptions{Subprotocols: []string{"skein.v1.json"}})
			if refusal != nil {
				t.Fatalf("refused: %+v", refusal)
			}
			want := "HTTP/1.1 101 Switching Protocols\r\n" +
				"Upgrade: websocket\r\n" +
				"Connection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
			if diff := cmp.Diff(want, string(up.Response())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHandshakesThatAreRefused(t *testing.T) {
	upgrade := map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"}
	version := maps.Clone(upgrade)
	version["Sec-Websocket-Version"] = "13"
	for _, c := range []struct {
		name, text string
		status     int
		header     map[string]string
		message    string // a part of it
	}{
		{"POST", with("GET", "POST /ws HTTP/1.1"), 405, map[string]string{"Allow": "GET"}, "a POST"},
		{"OPTIONS", with("GET", "OPTIONS /ws HTTP/1.1"), 405, map[string]string{"Allow": "GET"}, "an OPTIONS"},
		{"strange method", with("GET", "BREW /ws HTTP/1.1"), 405, map[string]string{"Allow": "GET"}, "another method"},
		{"HTTP/1.0", with("GET", "GET /ws HTTP/1.0"), 400, nil, "HTTP/1.0"},
		{"plain GET", "GET /ws HTTP/1.1\r\nHost: example.com\r\n", 426, upgrade, "speaks WebSocket"},
		{"plain GET that is kept alive", "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\n", 426, upgrade, "speaks WebSocket"},
		{"no Connection", with("Connection", ""), 400, nil, "Connection header"},
		{"other Connection", with("Connection", "Connection: keep-alive"), 400, nil, "Connection header"},
		{"Connection that only looks right", with("Connection", "Connection: upgraded"), 400, nil, "Connection header"},
		{"no Upgrade", with("Upgrade", ""), 400, nil, "Upgrade header"},
		{"other Upgrade", with("Upgrade", "Upgrade: h2c"), 400, nil, "Upgrade header"},
		{"a proxy took both away", "GET /ws HTTP/1.1\r\nHost: example.com\r\nSec-WebSocket-Version: 13\r\n", 400, nil, "proxy"},
		{"no version", with("Sec-WebSocket-Version", ""), 426, version, "Version"},
		{"version 8", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), 426, version, "Version"},
		{"version twice", with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13"), 426, version, "Version"},
		{"no key", with("Sec-WebSocket-Key", ""), 400, nil, "exactly one"},
		{"two keys", handshake + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400, nil, "exactly one"},
		{"empty key", with("Sec-WebSocket-Key", "Sec-WebSocket-Key:"), 400, nil, "16 bytes"},
		{"key of 15 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), 400, nil, "16 bytes"},
		{"key of 17 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE="), 400, nil, "16 bytes"},
		{"key of 18 bytes", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEy"), 400, nil, "16 bytes"},
		{"key without padding", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"), 400, nil, "16 bytes"},
		{"key that is not base64", with("Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="), 400, nil, "16 bytes"},
		{"body", with("Content-Length", "Content-Length: 5"), 400, nil, "no body"},
		{"chunked body", with("Transfer-Encoding", "Transfer-Encoding: chunked"), 400, nil, "no body"},
		{"foreign origin", with("Origin", "Origin: https://evil.example"), 403, nil, "origin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			up, refusal := CheckUpgrade(request(t, c.text), UpgradeOptions{Deflate: true})
			if up != nil || refusal == nil {
				t.Fatalf("went ahead: %+v", up)
			}
			got := map[string]string(nil)
			for name := range refusal.Header {
				if got == nil {
					got = map[string]string{}
				}
				got[name] = refusal.Header.Get(name)
			}
			if diff := cmp.Diff(c.header, got); diff != "" || refusal.Status != c.status || !strings.Contains(refusal.Message, c.message) {
				t.Errorf("got %d %q, want %d with %q; headers (-want +got):\n%s", refusal.Status, refusal.Message, c.status, c.message, diff)
			}
		})
	}
}

func TestHTTP2CannotBeUpgraded(t *testing.T) {
	r := request(t, handshake)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	if _, refusal := CheckUpgrade(r, UpgradeOptions{}); refusal == nil || refusal.Status != 400 {
		t.Errorf("got %+v, want 400", refusal)
	}
}

func TestARefusalServesItself(t *testing.T) {
	r := request(t, with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 7"))
	_, refusal := CheckUpgrade(r, UpgradeOptions{})
	w := httptest.NewRecorder()
	refusal.ServeHTTP(w, r)
	if w.Code != 426 || w.Header().Get("Sec-WebSocket-Version") != "13" || w.Body.String() != refusal.Message+"\n" {
		t.Errorf("got %d, %v, %q", w.Code, w.Header(), w.Body)
	}
}

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		allowed      []string
		want         bool
	}{
		{"", "example.com", nil, true},
		{"http://example.com", "example.com", nil, true},
		{"https://example.com", "example.com", nil, true},
		{"https://EXAMPLE.com", "Example.COM", nil, true},
		{"https://example.com", "example.com:443", nil, true},
		{"https://example.com:443", "example.com", nil, true},
		{"http://example.com", "example.com:80", nil, true},
		{"http://localhost:8000", "localhost:8000", nil, true},
		{"http://[::1]:8000", "[::1]:8000", nil, true},
		{"http://localhost:3000", "localhost:8000", nil, false},
		{"https://example.com", "example.com:8443", nil, false},
		{"http://example.com.evil.example", "example.com", nil, false},
		{"http://evilexample.com", "example.com", nil, false},
		{"http://user@example.com", "example.com", nil, false},
		{"null", "example.com", nil, false},
		{"null", "example.com", []string{"*"}, true},
		{"file://", "example.com", nil, false},
		{"example.com", "example.com", nil, false},
		{"https://app.example", "example.com", []string{"https://app.example"}, true},
		{"https://app.example", "example.com", []string{"https://APP.example:443"}, true},
		{"http://app.example", "example.com", []string{"https://app.example"}, false},
		{"https://app.example:8443", "example.com", []string{"https://app.example"}, false},
		{"https://app.example", "example.com", []string{"https://other.example", "*"}, true},
		{"https://a.example, https://b.example", "example.com", []string{"https://a.example"}, false},
	} {
		r := request(t, handshake)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		_, refusal := CheckUpgrade(r, UpgradeOptions{Origins: c.allowed})
		if (refusal == nil) != c.want || refusal != nil && refusal.Status != 403 {
			t.Errorf("origin %q on host %q, allowed %q: %+v", c.origin, c.host, c.allowed, refusal)
		}
	}
	r := request(t, handshake+"Origin: http://example.com\r\nOrigin: http://evil.example\r\n")
	if _, refusal := CheckUpgrade(r, UpgradeOptions{}); refusal == nil || refusal.Status != 403 {
		t.Errorf("two origins: %+v", refusal)
	}
}

func TestTheClientsFirstKnownSubprotocolIsChosen(t *testing.T) {
	for _, c := range []struct{ offered, want string }{
		{"skein.v1.json", "skein.v1.json"},
		{"other, skein.v1.json", "skein.v1.json"},
		{" two ,skein.v1.json", "two"},
		{"other\r\nSec-WebSocket-Protocol: ,, two", "two"},
		{"SKEIN.v1.json", ""},
		{"other", ""},
	} {
		up, refusal := CheckUpgrade(request(t, handshake+"Sec-WebSocket-Protocol: "+c.offered+"\r\n"), UpgradeOptions{Subprotocols: []string{"skein.v1.json", "two"}})
		if refusal != nil || up.Subprotocol != c.want {
			t.Errorf("%q: got %+v, %+v, want %q", c.offered, up, refusal, c.want)
			continue
		}
		line := "Sec-WebSocket-Protocol: " + c.want + "\r\n"
		if bytes.Contains(up.Response(), []byte("Sec-WebSocket-Protocol")) != (c.want != "") || c.want != "" && !bytes.Contains(up.Response(), []byte(line)) {
			t.Errorf("%q: response %q", c.offered, up.Response())
		}
	}
}

func TestTheResponseIsWhatHTTPClientsRead(t *testing.T) {
	text := handshake + "Sec-WebSocket-Protocol: skein.v1.json\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n"
	up, refusal := CheckUpgrade(request(t, text), UpgradeOptions{Subprotocols: []string{"skein.v1.json"}, Deflate: true})
	if refusal != nil {
		t.Fatal(refusal)
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(up.Response())), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Upgrade":                  {"websocket"},
		"Connection":               {"Upgrade"},
		"Sec-Websocket-Accept":     {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		"Sec-Websocket-Protocol":   {"skein.v1.json"},
		"Sec-Websocket-Extensions": {agreed + "; server_max_window_bits=9"},
	}
	if diff := cmp.Diff(want, res.Header); diff != "" || res.StatusCode != 101 {
		t.Errorf("status %d, headers (-want +got):\n%s", res.StatusCode, diff)
	}
	if !up.Deflate || up.Params.ServerMaxWindowBits != 9 {
		t.Errorf("got %+v", up)
	}
}
