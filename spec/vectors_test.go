// Package spec_test plays the protocol vectors against the server: through a
// listener, with another WebSocket implementation as the client.
package spec_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/test/vectors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVectors(t *testing.T) { vectors.Run(t, "vectors", vectors.Client{Dial: dial}) }

func dial(ctx context.Context, h vectors.Handshake) (vectors.Conn, int, error) {
	options := &websocket.DialOptions{HTTPClient: h.HTTP, HTTPHeader: h.Header}
	if h.Subprotocol != "" {
		options.Subprotocols = []string{h.Subprotocol}
	}
	ws, response, err := websocket.Dial(ctx, h.URL, options)
	switch {
	case err != nil && response != nil:
		return nil, response.StatusCode, err
	case err != nil:
		return nil, 0, err
	}
	ws.SetReadLimit(16 << 20)
	return conn{ws}, 0, nil
}

// conn is a WebSocket of coder/websocket.
type conn struct{ ws *websocket.Conn }

func (c conn) Subprotocol() string { return c.ws.Subprotocol() }

func (c conn) Send(ctx context.Context, message []byte) error {
	return c.ws.Write(ctx, websocket.MessageText, message)
}

func (c conn) SendBinary(ctx context.Context, message []byte) error {
	return c.ws.Write(ctx, websocket.MessageBinary, message)
}

func (c conn) Read() ([]byte, error) {
	kind, message, err := c.ws.Read(context.Background())
	switch code := websocket.CloseStatus(err); {
	case code > 0:
		return nil, &vectors.CloseError{Code: int(code), Err: err}
	case err != nil:
		return nil, err
	case kind != websocket.MessageText:
		return nil, fmt.Errorf("a binary message came: %q", message)
	}
	return message, nil
}

func (c conn) Close(code int) error { return c.ws.Close(websocket.StatusCode(code), "") }

func (c conn) Drop() { _ = c.ws.CloseNow() }

// TestVectorFilesCoverTheProtocol fails when a frame type or an error code of
// the protocol is in no vector.
func TestVectorFilesCoverTheProtocol(t *testing.T) {
	var all []byte
	for _, path := range vectors.Files(t, "vectors") {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, src...)
	}
	var compact bytes.Buffer
	for _, line := range bytes.Split(all, []byte("\n")) {
		compact.Write(bytes.TrimSpace(line))
	}
	words := func(member string, list ...string) {
		for _, word := range list {
			if !slices.ContainsFunc([]string{`"%s":"%s"`, `"%s": "%s"`}, func(form string) bool {
				return bytes.Contains(compact.Bytes(), fmt.Appendf(nil, form, member, word))
			}) {
				t.Errorf("no vector has %q: %q", member, word)
			}
		}
	}
	words("type", "connect", "refresh", "sub", "unsub", "pub", "notice", "presence", "call", "reply", "ping",
		"welcome", "ok", "error", "msg", "join", "leave", "subscribed", "unsubscribed", "pong", "bye")
	words("code", "bad_frame", "bad_request", "unknown_type", "unauthorized", "denied", "not_found", "conflict",
		"too_large", "rate_limited",
		"auth_timeout", "token_refused", "token_expired", "disconnected")
	words("api", "publish", "subscribe", "unsubscribe", "bind", "unbind", "disconnect", "online", "connections",
		"channels", "presence", "session.get", "session.set", "session.merge", "info", "stats", "batch")
}
