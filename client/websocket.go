package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein/protocol"
)

// wsLink is a WebSocket: one frame in each text message.
type wsLink struct {
	o    *opening
	conn *websocket.Conn
	life context.Context // ends when it is dropped
	end  context.CancelFunc
}

func openWebSocket(ctx context.Context, o *opening) (link, error) {
	return dialWebSocket(ctx, o, o.address("/ws"), o.Header)
}

func dialWebSocket(ctx context.Context, o *opening, address string, header http.Header) (*wsLink, error) {
	conn, res, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: o.HTTPClient, HTTPHeader: header.Clone(), Subprotocols: []string{protocol.Subprotocol},
		OnPingReceived: func(context.Context, []byte) bool { o.hear(); return true },
		OnPongReceived: func(context.Context, []byte) { o.hear() },
	})
	if err != nil {
		if res != nil && res.StatusCode != http.StatusSwitchingProtocols && res.Body != nil {
			return nil, newStatusError(res)
		}
		return nil, err
	}
	conn.SetReadLimit(o.MaxFrame)
	l := &wsLink{o: o, conn: conn}
	l.life, l.end = context.WithCancel(context.Background())
	first, err := o.connect()
	if err == nil && first != nil {
		err = l.write(ctx, [][]byte{first})
	}
	if err != nil {
		l.drop()
		return nil, err
	}
	return l, nil
}

func (l *wsLink) read() ([]byte, error) {
	kind, text, err := l.conn.Read(l.life)
	switch {
	case err != nil:
		return nil, ended(err)
	case kind != websocket.MessageText:
		return nil, errors.New("the server sent a binary message")
	}
	l.o.hear()
	return text, nil
}

// ended gives the close code that a connection ended with, where it has one.
func ended(err error) error {
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		return err
	}
	return endOf(int(closed.Code), closed.Reason)
}

// endOf makes the error for a close code.
func endOf(status int, reason string) *EndError {
	e := &EndError{Status: status, Message: reason, Reconnect: true, After: -1}
	if status == int(protocol.CloseTokenRefused.Code) || status == int(protocol.CloseDisconnected.Code) {
		e.Reconnect = false
	}
	return e
}

func (l *wsLink) write(ctx context.Context, frames [][]byte) error {
	for _, f := range frames {
		if err := l.conn.Write(ctx, websocket.MessageText, f); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	return nil
}

func (l *wsLink) welcomed(string) {}

func (l *wsLink) leave(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.drop)
	defer stop()
	_ = l.conn.Close(websocket.StatusNormalClosure, "")
}

func (l *wsLink) drop() {
	l.end()
	_ = l.conn.CloseNow()
}
