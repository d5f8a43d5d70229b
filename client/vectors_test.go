package client_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/skein-realtime/skein/client"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/test/vectors"
)

// TestVectors plays the vectors of the protocol through this package's WebSocket
// and codec.
func TestVectors(t *testing.T) {
	vectors.Run(t, "../spec/vectors", vectors.Client{Dial: dialVectors, Offers: protocol.Subprotocol})
}

func dialVectors(ctx context.Context, h vectors.Handshake) (vectors.Conn, int, error) {
	wire, status, err := client.DialWire(ctx, h.HTTP, h.URL, h.Header)
	if err != nil {
		return nil, status, err
	}
	return vectorConn{wire}, 0, nil
}

// vectorConn is a Wire that gives the frames as JSON again.
type vectorConn struct{ *client.Wire }

func (c vectorConn) Read() ([]byte, error) {
	members, err := c.Wire.Read()
	if code := client.CloseCode(err); code > 0 {
		return nil, &vectors.CloseError{Code: code, Err: err}
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(members)
}
