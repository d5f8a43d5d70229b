package skein_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/ws"
)

// Bytes that are no HTTP get an answer or an end, and the server goes on.
func TestGarbageInsteadOfHTTP(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		for what, garbage := range map[string]string{
			"noise":           "\x00\x01\x02\xff\xfe\r\n\r\n",
			"TLS":             "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\xaa", 200) + "\r\n\r\n",
			"a WebSocket":     string(ws.AppendMasked(nil, ws.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping"}`))) + "\r\n\r\n",
			"endless headers": "GET /ws HTTP/1.1\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100),
		} {
			c := s.tcp()
			_, _ = io.WriteString(c, garbage) // the server may hang up before the end
			text, err := io.ReadAll(io.LimitReader(c, 64<<10))
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Errorf("%s: the connection stays open after %q", what, text)
			}
			if len(text) > 0 && !strings.HasPrefix(string(text), "HTTP/1.1 4") {
				t.Errorf("%s is answered by %q", what, text)
			}
			_ = c.Close()
		}
		s.user("ann").lives()
	})
}

// Frames that come together with the handshake are not lost.
func TestFramesBehindTheHandshakeAreHandled(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		w := &wire{Conn: s.tcp(), t: t}
		var b []byte
		b = append(b, handshakeText("user=ann")...)
		for range 3 {
			b = ws.AppendMasked(b, ws.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping"}`))
		}
		w.write(b)
		text := make([]byte, 0, 4096)
		for strings.Count(string(text), `"pong"`) < 3 {
			n, err := w.Read(text[len(text):cap(text)])
			if err != nil {
				t.Fatalf("after %q: %v", text, err)
			}
			text = text[:len(text)+n]
		}
		if !strings.HasPrefix(string(text), "HTTP/1.1 101 ") || strings.Index(string(text), "welcome") > strings.Index(string(text), "pong") {
			t.Errorf("got %q", text)
		}
	})
}

// Who begins a handshake and falls silent is dropped after limits.handshake.
func TestHalfAHandshakeIsDropped(t *testing.T) {
	cfg := open()
	cfg.Limits.Handshake = skein.Duration(150 * time.Millisecond)
	s := start(t, cfg)
	for _, half := range []string{"", "G", "GET /ws HTTP/1.1\r\nHost: skein.test\r\nUpgr"} {
		c := s.tcp()
		began := time.Now()
		if _, err := io.WriteString(c, half); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%q: %v, want the end of the stream", half, err)
		}
		if took := time.Since(began); took < 100*time.Millisecond || took > 3*time.Second {
			t.Errorf("%q: dropped after %s, want about 150 ms", half, took)
		}
	}
	c := s.user("ann") // the limit is for the handshake alone
	passed := time.Now().Add(400 * time.Millisecond)
	eventually(t, "the limit has passed", func() bool { return time.Now().After(passed) })
	c.lives()
}

// A port that is taken is an error that says so, not a server that hears nothing.
func TestPortInUseIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cfg := open()
	cfg.Listen = l.Addr().String()
	s, err := skein.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err = s.Listen(); err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), cfg.Listen) {
		t.Errorf("Listen: %v, want an error that names the address and says that it is in use", err)
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("Run: no error")
	}
}

// Bytes after a close frame are ignored, and a close is answered.
func TestCloseIsAnsweredAndFinal(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		watcher := s.user("watcher")
		watcher.do(`{"type":"sub","channel":"room:1"}`)
		w := s.wire("user=ann")
		w.expect("welcome")
		b := ws.AppendMaskedClose(nil, [4]byte{1, 2, 3, 4}, 1000, "done")
		b = ws.AppendMasked(b, ws.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"pub","channel":"room:1","data":1}`))
		w.write(b)
		for {
			op, payload, err := w.frame()
			if err != nil {
				t.Fatal(err)
			}
			if op == ws.Close {
				if code, _, err := ws.ParseClose(payload); code != 1000 || err != nil {
					t.Errorf("the close is answered by %d, %v", code, err)
				}
				break
			}
		}
		eventually(t, "it is gone", func() bool { return s.stat("open") == 1 })
		watcher.lives()
	})
}
