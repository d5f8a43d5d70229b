package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// openServer starts a server for anyone and gives its address and a function
// that drains it.
func openServer(t *testing.T, listen string) (s *skein.Server, addr string, stop func()) {
	t.Helper()
	s, err := skein.New(skein.Config{
		Listen: listen, Auth: skein.Auth{Anonymous: true}, Logger: slog.New(slog.DiscardHandler),
		Drain:      skein.Drain{Timeout: skein.Duration(5 * time.Second), Spread: skein.Duration(10 * time.Millisecond)},
		Namespaces: map[string]skein.Namespace{"room": {Subscribe: "anyone", Publish: "anyone"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, l.Addr().String(), stop
}

// TestSubComesBackToAServerThatWasReplaced also ends it as Ctrl-C does.
func TestSubComesBackToAServerThatWasReplaced(t *testing.T) {
	first, addr, stop := openServer(t, "127.0.0.1:0")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, w := io.Pipe()
	var talk syncBuffer
	code := make(chan int, 1)
	go func() {
		code <- Commands{}.Run(ctx, Shell{Args: []string{"sub", "room:7", "--url", "http://" + addr}, Env: []string{}, Stdout: w, Stderr: &talk})
	}()
	lines := bufio.NewScanner(r)
	hear := func(s *skein.Server, text string) {
		t.Helper()
		eventually(t, func() bool {
			var result struct {
				Connections int `json:"connections"`
			}
			params := map[string]any{"to": map[string]any{"channel": "room:7"}, "data": text}
			if err := s.Call(ctx, "publish", params, &result); err != nil {
				t.Fatal(err)
			}
			return result.Connections == 1
		})
		if !lines.Scan() {
			t.Fatal("standard output ended")
		}
		var msg struct {
			Type, Channel, Data string
		}
		if err := json.Unmarshal(lines.Bytes(), &msg); err != nil || msg.Type != "msg" || msg.Channel != "room:7" || msg.Data != text {
			t.Fatalf("printed %q, want the message %q (%v)", lines.Text(), text, err)
		}
	}
	hear(first, "one")
	stop()
	second, _, _ := openServer(t, addr)
	hear(second, "two")
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d, want 0", got)
	}
	if got := talk.String(); strings.Count(got, "subscribed to room:7") != 2 || !strings.Contains(got, "connecting again in") {
		t.Errorf("it said:\n%s", got)
	}
}

// syncBuffer is a buffer that two goroutines may use.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
