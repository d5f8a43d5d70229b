package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// start runs the shop until the test ends, and connects to it.
func start(t *testing.T, patience time.Duration) (ws *websocket.Conn, url string) {
	t.Helper()
	s, err := newShop("127.0.0.1:0", patience)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(handler(s))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	ws, _, err = websocket.Dial(t.Context(), web.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	send(t, ws, `{"type":"connect"}`)
	read(t, ws, "welcome")
	return ws, web.URL
}

func send(t *testing.T, ws *websocket.Conn, frame string) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

// read gives the next frame, which must be of a type.
func read(t *testing.T, ws *websocket.Conn, frameType string) (f map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := ws.Read(ctx)
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil || f["type"] != frameType {
		t.Fatalf("got %s, %v, want %s", b, err, frameType)
	}
	return f
}

func TestBuying(t *testing.T) {
	ws, _ := start(t, time.Minute)
	for _, tt := range []struct{ name, reply, answer string }{
		{"yes", `"data":true`, `{"cents":250}`},
		{"no", `"data":false`, "denied: not bought"},
		{"an error", `"error":{"code":"conflict","message":"I am poor"}`, "conflict: I am poor"},
		{"nonsense", `"data":"yes"`, "internal: internal error"},
	} {
		send(t, ws, `{"type":"call","id":"tea","method":"buy","data":{"item":"tea"}}`)
		call := read(t, ws, "call")
		if call["method"] != "confirm" || call["data"].(map[string]any)["text"] != "tea for 250 cents?" {
			t.Errorf("%s: got %v", tt.name, call)
		}
		send(t, ws, fmt.Sprintf(`{"type":"reply","id":%v,%s}`, call["id"], tt.reply))
		if tt.answer[0] == '{' {
			b, err := json.Marshal(read(t, ws, "ok")["data"])
			if err != nil || string(b) != tt.answer {
				t.Errorf("%s: got %s, %v, want %s", tt.name, b, err, tt.answer)
			}
			continue
		}
		if e := read(t, ws, "error"); fmt.Sprintf("%v: %v", e["code"], e["message"]) != tt.answer {
			t.Errorf("%s: got %v, want %s", tt.name, e, tt.answer)
		}
	}
	for params, code := range map[string]string{`{"item":"moon"}`: "not_found", `{"item":7}`: "bad_request"} {
		send(t, ws, `{"type":"call","id":1,"method":"buy","data":`+params+`}`)
		if e := read(t, ws, "error"); e["code"] != code {
			t.Errorf("%s: got %v, want %s", params, e, code)
		}
	}
}

func TestAClientThatDoesNotConfirm(t *testing.T) {
	ws, _ := start(t, 10*time.Millisecond)
	send(t, ws, `{"type":"call","id":"tea","method":"buy","data":{"item":"tea"}}`)
	read(t, ws, "call")
	if e := read(t, ws, "error"); e["code"] != "unavailable" || e["id"] != "tea" {
		t.Errorf("got %v", e)
	}
}

func TestThePageIsServed(t *testing.T) {
	_, url := start(t, time.Minute)
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), "new WebSocket(") {
		t.Errorf("status %d, %v: %s", res.StatusCode, err, body)
	}
}

func TestTheProgramEndsWhenItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, "127.0.0.1:0") }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
