package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

func start(t *testing.T) (address string) {
	t.Helper()
	a, err := newSite(false)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(a.handler())
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return web.URL
}

// browser keeps cookies, and sends them with WebSocket handshakes, too.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// post sends a form and gives the status of what it leads to.
func post(t *testing.T, b *http.Client, address string, form ...string) int {
	t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	res, err := b.PostForm(address, values)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

type conn struct {
	t  *testing.T
	ws *websocket.Conn
}

// dial opens a page's connection.
func dial(t *testing.T, b *http.Client, address string) conn {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), address+"/ws?by=cookie", &websocket.DialOptions{HTTPClient: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return conn{t, ws}
}

func (c conn) send(frame string) {
	c.t.Helper()
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

// read gives the next frame.
func (c conn) read() map[string]any {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	var f map[string]any
	if err := json.Unmarshal(b, &f); err != nil {
		c.t.Fatal(err)
	}
	return f
}

// answer is what a frame gets: ok, or the code of an error.
func (c conn) answer(frame string) any {
	c.t.Helper()
	c.send(frame)
	f := c.read()
	if f["type"] == "error" {
		return f["code"]
	}
	return f["type"]
}

func TestTheCookieSaysWhoItIs(t *testing.T) {
	address := start(t)
	ann := browser(t)
	if status := post(t, ann, address+"/login", "user", "ann", "password", "wrong"); status != 403 {
		t.Errorf("a wrong password: status %d", status)
	}
	if status := post(t, ann, address+"/login", "user", "ann", "password", "ann's"); status != 200 {
		t.Fatalf("status %d", status)
	}
	page := dial(t, ann, address)
	w := page.read()
	if d := cmp.Diff([]any{"welcome", "ann", []any{"news:all"}, "ann"}, []any{w["type"], w["user"], w["channels"], w["session"].(map[string]any)["name"]}); d != "" {
		t.Errorf("welcome (-want +got):\n%s", d)
	}
	if f := page.read(); f["type"] != "subscribed" || f["channel"] != "news:all" {
		t.Errorf("got %v", f)
	}
	root := browser(t)
	post(t, root, address+"/login", "user", "root", "password", "root's")
	desk := dial(t, root, address)
	desk.read()
	desk.read()
	for _, tt := range []struct {
		who   conn
		frame string
		want  string
	}{
		{page, `{"type":"sub","channel":"room:1","id":1}`, "ok"},
		{page, `{"type":"sub","channel":"private:ann","id":1}`, "ok"},
		{page, `{"type":"sub","channel":"private:bob","id":1}`, "denied"},
		{desk, `{"type":"sub","channel":"private:ann","id":1}`, "denied"},
		{page, `{"type":"pub","channel":"news:all","data":1,"id":1}`, "denied"},
		{page, `{"type":"pub","channel":"private:ann","data":1,"id":1}`, "denied"},
		{page, `{"type":"sub","channel":"staff:1","id":1}`, "denied"},
		{desk, `{"type":"sub","channel":"staff:1","id":1}`, "ok"},
	} {
		if got := tt.who.answer(tt.frame); got != tt.want {
			t.Errorf("%s: got %v, want %s", tt.frame, got, tt.want)
		}
	}

	// Logging out ends the tabs of this browser and nobody else's.
	phone := browser(t)
	post(t, phone, address+"/login", "user", "ann", "password", "ann's")
	other := dial(t, phone, address)
	other.read()
	other.read()
	post(t, ann, address+"/logout")
	if bye := page.read(); bye["type"] != "bye" || bye["message"] != "logged out" || bye["reconnect"] != false {
		t.Errorf("got %v", bye)
	}
	if _, _, err := page.ws.Read(t.Context()); websocket.CloseStatus(err) != 4004 {
		t.Errorf("closed with %v, want 4004", err)
	}
	if got := other.answer(`{"type":"ping"}`); got != "pong" {
		t.Errorf("got %v", got)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	address := start(t)
	jar := browser(t)
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	jar.Jar.SetCookies(at, []*http.Cookie{{Name: cookieName, Value: "made up"}})
	for name, b := range map[string]*http.Client{"without a cookie": browser(t), "with one that is made up": jar} {
		c := dial(t, b, address)
		if bye := c.read(); bye["type"] != "bye" || bye["code"] != "token_refused" || bye["message"] != "log in first" {
			t.Errorf("%s: got %v", name, bye)
		}
		if _, _, err := c.ws.Read(t.Context()); websocket.CloseStatus(err) != 4002 {
			t.Errorf("%s: closed with %v, want 4002", name, err)
		}
	}
}

func TestOtherSitesCannotUseTheCookie(t *testing.T) {
	address := start(t)
	ann := browser(t)
	post(t, ann, address+"/login", "user", "ann", "password", "ann's")
	_, res, err := websocket.Dial(t.Context(), address+"/ws?by=cookie", &websocket.DialOptions{HTTPClient: ann, HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("got %v, %v", res, err)
	}
	r, err := http.NewRequest(http.MethodPost, address+"/login", strings.NewReader("user=ann&password=ann's"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err = ann.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a form of another site: status %d", res.StatusCode)
	}
}
