package ws

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParser feeds arbitrary bytes whole, byte by byte and cut at random: it must
// not panic, tell the same each time, and hold no more memory than has arrived.
func FuzzParser(f *testing.F) {
	valid, invalid := utf8Sequences()
	for _, s := range slices.Concat(valid[:8], invalid[:8]) {
		f.Add(stream(frame(Text, s), compressed(Text, s), closeFrame(1000, s)), uint64(1), true, false)
	}
	f.Add(stream(fragment(Text, false, "a"), frame(Ping, "p"), fragment(Continuation, true, "b")), uint64(2), false, false)
	f.Add(zeroMasked(0x82, 1<<63, 64), uint64(3), false, false)
	f.Add(zeroMasked(0x82, 1000, 16), uint64(4), false, false)
	f.Add(AppendFrame(AppendFrame(nil, Binary, []byte("server")), Ping, nil), uint64(5), false, true)
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, deflate, client bool) {
		cfg := &ParserConfig{MaxFrame: 2000, MaxMessage: 3000, Deflate: deflate, Client: client}
		whole := feed(cfg, in, nil)
		if diff := cmp.Diff(whole, feed(cfg, in, everyByte(len(in)))); diff != "" {
			t.Fatalf("whole and byte by byte differ:\n%s", diff)
		}
		cuts := randomCuts(rand.New(rand.NewPCG(seed, seed)), len(in))
		if diff := cmp.Diff(whole, feed(cfg, in, cuts)); diff != "" {
			t.Fatalf("whole and cut at %v differ:\n%s", cuts, diff)
		}
		var p Parser
		p.Init(cfg)
		data := slices.Clone(in)
		for i := range data {
			err := p.Feed(data[i:i+1], &recorder{})
			if held := cap(p.message.bytes()) + cap(p.control.bytes()); held > 1024+2*(i+1) {
				t.Fatalf("%d bytes are held after %d have come", held, i+1)
			}
			var e *CloseError
			if err != nil && (!errors.As(err, &e) || len(e.Reason) > 123 || !sendable(e.Code)) {
				t.Fatalf("the error cannot be sent: %v", err)
			}
		}
	})
}

// FuzzNegotiateDeflate wants every answer to be an offer that is itself accepted.
func FuzzNegotiateDeflate(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame")
	f.Add(`permessage-deflate; server_max_window_bits="10", permessage-deflate`, "")
	f.Add("a; b=c; d=\"e\", permessage-deflate;;", ",,")
	f.Fuzz(func(t *testing.T, a, b string) {
		params, response, ok := NegotiateDeflate([]string{a, b})
		if !ok {
			if response != "" || params != (DeflateParams{}) {
				t.Fatalf("declined, but %+v, %q", params, response)
			}
			return
		}
		if params.ServerMaxWindowBits < 8 || params.ServerMaxWindowBits > 15 || !strings.Contains(a+b, "permessage-deflate") {
			t.Fatalf("%q, %q: %+v", a, b, params)
		}
		again, same, ok := NegotiateDeflate([]string{response})
		if !ok || again != params || same != response {
			t.Fatalf("the answer %q is not understood: %+v, %q, %v", response, again, same, ok)
		}
	})
}

// FuzzCheckUpgrade wants one result, and a response that is one HTTP message
// whatever the client wrote into its headers.
func FuzzCheckUpgrade(f *testing.F) {
	f.Add("GET", "websocket", "Upgrade", "dGhlIHNhbXBsZSBub25jZQ==", "13", "http://example.com", "skein.v1.json", "permessage-deflate; client_max_window_bits")
	f.Add("POST", "", "keep-alive", "", "", "null", ",", ";")
	f.Fuzz(func(t *testing.T, method, upgrade, connection, key, version, origin, protocol, extensions string) {
		r := &http.Request{Method: method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "example.com", Header: http.Header{
			"Upgrade": {upgrade}, "Connection": {connection}, "Sec-Websocket-Key": {key}, "Sec-Websocket-Version": {version},
			"Origin": {origin}, "Sec-Websocket-Protocol": {protocol}, "Sec-Websocket-Extensions": {extensions},
		}}
		up, refusal := CheckUpgrade(r, UpgradeOptions{Origins: []string{"https://app.example"}, Subprotocols: []string{"skein.v1.json"}, Deflate: true})
		if (up == nil) == (refusal == nil) {
			t.Fatalf("got %+v and %+v", up, refusal)
		}
		if refusal != nil {
			if refusal.Status < 400 || refusal.Status > 499 || refusal.Message == "" {
				t.Fatalf("got %+v", refusal)
			}
			return
		}
		b := up.Response()
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil || res.StatusCode != 101 || len(res.Header) > 5 || bytes.Count(b, []byte("\r\n\r\n")) != 1 || !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
			t.Fatalf("response %q: %v", b, err)
		}
	})
}
