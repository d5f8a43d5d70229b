package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func dial(t *testing.T, deflate bool, mode websocket.CompressionMode) (context.Context, *websocket.Conn) {
	t.Helper()
	srv := httptest.NewServer(handler(deflate))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	c, res, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{
		Subprotocols: []string{"echo"}, CompressionMode: mode, CompressionThreshold: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(maxMessage)
	if c.Subprotocol() != "echo" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	agreed := strings.Contains(res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate")
	if want := deflate && mode != websocket.CompressionDisabled; agreed != want {
		t.Errorf("compression agreed: %v, want %v", agreed, want)
	}
	return ctx, c
}

func TestMessagesComeBackToAnIndependentClient(t *testing.T) {
	for name, c := range map[string]struct {
		deflate bool
		mode    websocket.CompressionMode
	}{
		"plain":                       {false, websocket.CompressionDisabled},
		"compression only offered":    {false, websocket.CompressionContextTakeover},
		"compressed":                  {true, websocket.CompressionNoContextTakeover},
		"compressed, takeover wanted": {true, websocket.CompressionContextTakeover},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, conn := dial(t, c.deflate, c.mode)
			for _, payload := range []string{"", "x", strings.Repeat("Hello, 世界! ", 100), strings.Repeat("*", 70_000), strings.Repeat("0123456789", 200_000)} {
				for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
					if err := conn.Write(ctx, typ, []byte(payload)); err != nil {
						t.Fatal(err)
					}
					back, got, err := conn.Read(ctx)
					if err != nil || back != typ || !bytes.Equal(got, []byte(payload)) {
						t.Fatalf("%v of %d bytes: %v of %d bytes, %v", typ, len(payload), back, len(got), err)
					}
				}
			}
			if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

func TestPingsAreAnswered(t *testing.T) {
	ctx, conn := dial(t, true, websocket.CompressionDisabled)
	ctx = conn.CloseRead(ctx)
	if err := conn.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func TestBrokenTextIsAnsweredWithItsCloseCode(t *testing.T) {
	ctx, conn := dial(t, true, websocket.CompressionDisabled)
	if err := conn.Write(ctx, websocket.MessageText, []byte("\xff")); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.Read(ctx)
	var e websocket.CloseError
	if !errors.As(err, &e) || e.Code != websocket.StatusInvalidFramePayloadData || !strings.Contains(e.Reason, "UTF-8") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoHandshakeIsRefused(t *testing.T) {
	srv := httptest.NewServer(handler(true))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired || res.Header.Get("Upgrade") != "websocket" {
		t.Errorf("got %s, %v", res.Status, res.Header)
	}
}
