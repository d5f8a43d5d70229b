package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/coder/websocket"
)

// Wire is this package's WebSocket with its codec, and without anything above it.
type Wire struct{ l *wsLink }

// DialWire opens a Wire. The status is that of a handshake that was refused.
func DialWire(ctx context.Context, web *http.Client, address string, header http.Header) (w *Wire, status int, err error) {
	// With a user no connect frame is sent: what is sent is the caller's business.
	o := &opening{settings: &settings{Options: Options{User: "x", HTTPClient: web, MaxFrame: 16 << 20}}, heard: &atomic.Int64{}}
	l, err := dialWebSocket(ctx, o, address, header)
	var refused *statusError
	if errors.As(err, &refused) {
		status = refused.status
	}
	if err != nil {
		return nil, status, err
	}
	return &Wire{l}, 0, nil
}

// Subprotocol is what the server has chosen.
func (w *Wire) Subprotocol() string { return w.l.conn.Subprotocol() }

// Read gives the members of the next frame.
func (w *Wire) Read() (map[string]json.RawMessage, error) {
	text, err := w.l.read()
	if err != nil {
		return nil, err
	}
	f, err := readFrame(text)
	if err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	f.object.Each(func(name string, raw []byte) bool {
		members[name] = raw
		return true
	})
	return members, nil
}

// Send sends a text.
func (w *Wire) Send(ctx context.Context, text []byte) error { return w.l.write(ctx, [][]byte{text}) }

// SendBinary sends what the protocol does not allow.
func (w *Wire) SendBinary(ctx context.Context, b []byte) error {
	return w.l.conn.Write(ctx, websocket.MessageBinary, b)
}

// Close ends it with a code.
func (w *Wire) Close(code int) error { return w.l.conn.Close(websocket.StatusCode(code), "") }

// Drop ends it at once.
func (w *Wire) Drop() { w.l.drop() }

// CloseCode gives the close code that reading has ended with; 0: none.
func CloseCode(err error) int {
	var end *EndError
	if !errors.As(err, &end) {
		return 0
	}
	return end.Status
}

// LoseConnection is what happens to the list when a request finds that the connection has
// broken, before the client has noticed.
func (l *Conversations) LoseConnection() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.k = nil
}
