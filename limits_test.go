package skein_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/ws"
)

// S4.1: a handshake that is refused says why, in the status and in words.
func TestRefusedHandshakeSaysWhy(t *testing.T) {
	cfg := strict()
	cfg.Origins = []string{"https://game.example"}
	s := start(t, cfg)
	without := func(line string) string { return strings.Replace(handshakeText(""), line+"\r\n", "", 1) }
	with := func(line string) string {
		return strings.Replace(handshakeText(""), "\r\n\r\n", "\r\n"+line+"\r\n\r\n", 1)
	}
	for _, tt := range []struct {
		what, request string
		status        int
		header, value string
		body          string
	}{
		{"accepted", handshakeText(""), 101, "Upgrade", "websocket", ""},
		{"own page", with("Origin: http://skein.test"), 101, "", "", ""},
		{"allowed page", with("Origin: https://game.example"), 101, "", "", ""},
		{"foreign page", with("Origin: https://evil.example"), 403, "", "", "origin"},
		{"null origin", with("Origin: null"), 403, "", "", "origin"},
		{"POST", strings.Replace(handshakeText(""), "GET", "POST", 1), 405, "Allow", "GET", "GET"},
		{"a page visit", "GET /ws HTTP/1.1\r\nHost: skein.test\r\n\r\n", 426, "Upgrade", "websocket", "WebSocket"},
		{"version 8", strings.Replace(handshakeText(""), "Version: 13", "Version: 8", 1), 426, "Sec-WebSocket-Version", "13", "Version"},
		{"no version", without("Sec-WebSocket-Version: 13"), 426, "Sec-WebSocket-Version", "13", "Version"},
		{"no key", without("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400, "", "", "Key"},
		{"short key", strings.Replace(handshakeText(""), "AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", 1), 400, "", "", "Key"},
		{"two keys", with("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400, "", "", "Key"},
		{"no Upgrade", without("Upgrade: websocket"), 400, "", "", "Upgrade"},
		{"no Connection", without("Connection: Upgrade"), 400, "", "", "Connection"},
		{"HTTP/1.0", strings.Replace(handshakeText(""), "HTTP/1.1", "HTTP/1.0", 1), 400, "", "", "HTTP/1.1"},
	} {
		c := s.tcp()
		if _, err := io.WriteString(c, tt.request); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if res.StatusCode != tt.status || tt.header != "" && res.Header.Get(tt.header) != tt.value {
			t.Errorf("%s: %s %v, want %d with %s %s", tt.what, res.Status, res.Header, tt.status, tt.header, tt.value)
		}
		if tt.status != 101 {
			text, _ := io.ReadAll(res.Body)
			if !strings.Contains(string(text), tt.body) {
				t.Errorf("%s: the body %q does not speak of %s", tt.what, text, tt.body)
			}
		}
		_ = c.Close()
	}
	status, _, text := s.request("GET", "/nowhere", "")
	if status != 404 {
		t.Errorf("another path: %d %s", status, text)
	}
}

// S2.12: each bad frame gets an error that names what is wrong, and the
// connection goes on.
func TestBadFramesAreAnsweredAndSurvived(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		c := s.user("ann")
		for _, tt := range []struct{ frame, code, names string }{
			{`nonsense`, "bad_frame", ""},
			{``, "bad_frame", ""},
			{`[{"type":"ping"}]`, "bad_frame", "object"},
			{`"ping"`, "bad_frame", "object"},
			{`{"type":"ping"`, "bad_frame", ""},
			{`{"type":"ping"} {}`, "bad_frame", ""},
			{`{"type":"ping","type":"sub"}`, "bad_frame", "type"},
			{`{}`, "bad_request", "type"},
			{`{"type":null}`, "bad_request", "type"},
			{`{"type":7}`, "bad_request", "type"},
			{`{"type":"welcome"}`, "unknown_type", "welcome"},
			{`{"type":"PING"}`, "unknown_type", "PING"},
			{`{"type":"ping","id":{}}`, "bad_request", "id"},
			{`{"type":"ping","id":1.5}`, "bad_request", "id"},
			{`{"type":"ping","id":""}`, "bad_request", "id"},
			{`{"type":"connect"}`, "bad_request", "connect"},
			{`{"type":"sub"}`, "bad_request", "channel"},
			{`{"type":"sub","channel":7}`, "bad_request", "channel"},
			{`{"type":"sub","channel":"room"}`, "bad_request", "channel"},
			{`{"type":"sub","channel":"room:"}`, "bad_request", "channel"},
			{`{"type":"sub","channel":"Room:1"}`, "bad_request", "channel"},
			{`{"type":"sub","channel":"room:a b"}`, "bad_request", "channel"},
			{`{"type":"sub","channel":"room:` + strings.Repeat("x", 300) + `"}`, "bad_request", "channel"},
			{`{"type":"sub","channel":"nowhere:1"}`, "not_found", "channel"},
			{`{"type":"sub","channel":"room:1","presence":"yes"}`, "bad_request", "presence"},
			{`{"type":"sub","channel":"room:1","since":{"seq":1}}`, "bad_request", "since"},
			{`{"type":"sub","channel":"room:1","last":5}`, "bad_request", "last"},
			{`{"type":"unsub"}`, "bad_request", "channel"},
			{`{"type":"pub","channel":"room:1"}`, "bad_request", "data"},
			{`{"type":"pub","channel":"room:1","data":1,"event":7}`, "bad_request", "event"},
			{`{"type":"pub","channel":"room:1","data":1,"event":"a\u0000"}`, "bad_request", "event"},
			{`{"type":"pub","channel":"room:1","data":1,"key":7}`, "bad_request", "key"},
			{`{"type":"notice","channel":"room:1"}`, "bad_request", "event"},
			{`{"type":"presence"}`, "bad_request", "channel"},
			{`{"type":"presence","channel":"room:1","data":1}`, "bad_request", "data"},
			{`{"type":"call"}`, "bad_request", "method"},
			{`{"type":"call","method":"x"}`, "not_found", "method"},
			{`{"type":"reply"}`, "bad_request", "id"},
			{`{"type":"reply","id":"x"}`, "bad_request", "id"},
			{`{"type":"reply","id":77}`, "not_found", "id"},
			{`{"type":"refresh"}`, "bad_request", "token"},
			{`{"type":"refresh","token":"x"}`, "unauthorized", "token"},
		} {
			c.send(tt.frame)
			e := c.expect("error")
			if message, _ := e["message"].(string); e["code"] != tt.code || !strings.Contains(message, tt.names) {
				t.Errorf("%.60s is answered by %v, want %s that names %s", tt.frame, e, tt.code, tt.names)
			}
		}
		c.lives()
		w := s.wire("user=ann")
		w.expect("welcome")
		w.write(ws.AppendMasked(nil, ws.Binary, [4]byte{1}, []byte{1, 2, 3}))
		if e := w.expect("error"); e["code"] != "bad_frame" || !strings.Contains(e["message"].(string), "binary") {
			t.Errorf("binary: %v", e)
		}
		w.text(`{"type":"ping","unknown":1}`)
		w.expect("pong")
	})
}

// JSON as deep as the sea is refused, and costs the connection nothing.
func TestDeepJSONIsTooLarge(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		c := s.user("ann")
		c.do(`{"type":"sub","channel":"room:1"}`)
		nested := func(n int) string {
			return `{"type":"pub","channel":"room:1","data":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
		}
		c.do(nested(63))
		for _, n := range []int{64, 65, 30_000} {
			c.send(nested(n))
			if e := c.expect("error"); e["code"] != "too_large" {
				t.Errorf("%d levels: %v, want too_large", n, e)
			}
		}
		c.lives()
	})
}

// Text that is not UTF-8 ends the connection with 1007, wherever it is cut.
func TestInvalidUTF8Is1007(t *testing.T) {
	key := [4]byte{7, 7, 7, 7}
	frame := func(op ws.Opcode, fin bool, payload string) []byte {
		return ws.AppendMaskedFragment(nil, op, fin, false, key, []byte(payload))
	}
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	each(t, open, func(t *testing.T, s *testServer) {
		for what, bytes := range map[string][]byte{
			"in a message":          frame(ws.Text, true, "{\"type\":\"\xff\"}"),
			"in a fragment":         frame(ws.Text, false, "{\"type\":\"\xc3\x28"),
			"across fragments":      join(frame(ws.Text, false, "{\"type\":\"\xe2\x82"), frame(ws.Continuation, false, "\x28")),
			"an unfinished letter":  join(frame(ws.Text, false, "{\"type\":\"\xe2"), frame(ws.Continuation, true, "\x82")),
			"a surrogate":           frame(ws.Text, true, "\xed\xa0\x80"),
			"in the close reason":   frame(ws.Close, true, "\x03\xe8\xff"),
			"after a letter in two": join(frame(ws.Text, false, "\xe2\x82"), frame(ws.Continuation, false, "\xac"), frame(ws.Continuation, true, "\xff")),
		} {
			w := s.wire("user=ann")
			w.expect("welcome")
			w.write(bytes)
			if code := w.closed(); code != 1007 {
				t.Errorf("%s: close code %d, want 1007", what, code)
			}
		}
		w := s.wire("user=ann") // and a letter that is merely cut is fine
		w.expect("welcome")
		w.write(join(frame(ws.Text, false, "{\"type\":\"ping\",\"id\":\"\xe2\x82"), frame(ws.Continuation, true, "\xac\"}")))
		if pong := w.expect("pong"); pong["id"] != "€" {
			t.Errorf("got %v", pong)
		}
		_ = w.Close()
		s.empty()
	})
}

// A frame that announces more than is allowed is refused by its header alone.
func TestAnnouncedSizeIsRefusedAtOnce(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		for what, tt := range map[string]struct {
			header []byte
			code   int
		}{
			"100 MB":           {[]byte{0x81, 0xff, 0, 0, 0, 0, 0x06, 0x40, 0, 0, 1, 2, 3, 4}, 1009},
			"one byte too big": {[]byte{0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4}, 1009},
			"2^63":             {[]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1002},
			"2^64-1":           {[]byte{0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}, 1002},
			"2^62":             {[]byte{0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1009},
			"not masked":       {[]byte{0x81, 0x02, 'h', 'i'}, 1002},
			"reserved bits":    {[]byte{0xf1, 0x80, 1, 2, 3, 4}, 1002},
			"unknown opcode":   {[]byte{0x83, 0x80, 1, 2, 3, 4}, 1002},
			"a long ping":      {[]byte{0x89, 0xfe, 0, 126, 1, 2, 3, 4}, 1002},
			"a lone rest":      {[]byte{0x80, 0x80, 1, 2, 3, 4}, 1002},
		} {
			w := s.wire("user=ann")
			w.expect("welcome")
			began := time.Now()
			w.write(tt.header)
			if code := w.closed(); code != tt.code {
				t.Errorf("%s: close code %d, want %d", what, code, tt.code)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("%s: refused after %s", what, took)
			}
		}
		runtime.GC()
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 20<<20 {
			t.Errorf("%d bytes were allocated for frames that were only announced", grown)
		}
		s.empty()
	})
}

// A message over the limit is 1009, whole or in pieces; one at the limit is fine.
func TestMessageOverTheLimitIs1009(t *testing.T) {
	cfg := func() skein.Config {
		c := open()
		c.Limits.Message = 1 << 10
		return c
	}
	key := [4]byte{1, 2, 3, 4}
	each(t, cfg, func(t *testing.T, s *testServer) {
		fill := func(n int) []byte {
			head, tail := `{"type":"ping","x":"`, `"}`
			return []byte(head + strings.Repeat("x", n-len(head)-len(tail)) + tail)
		}
		w := s.wire("user=ann")
		w.expect("welcome")
		w.write(ws.AppendMasked(nil, ws.Text, key, fill(1<<10)))
		w.expect("pong")
		w.write(ws.AppendMasked(nil, ws.Text, key, fill(1<<10+1)))
		if code := w.closed(); code != 1009 {
			t.Errorf("whole: close code %d, want 1009", code)
		}
		w = s.wire("user=ann")
		w.expect("welcome")
		w.write(ws.AppendMaskedFragment(nil, ws.Text, false, false, key, fill(600)))
		w.write(ws.AppendMaskedFragment(nil, ws.Continuation, false, false, key, fill(600)))
		if code := w.closed(); code != 1009 {
			t.Errorf("in pieces: close code %d, want 1009", code)
		}
	})
}

// A connection may subscribe to so many channels; the error names the setting,
// and raising the setting helps.
func TestSubscriptionLimitNamesItsSetting(t *testing.T) {
	const many = 10_000
	subscribe := func(t *testing.T, s *testServer, many int) (w *wire, limited int, message string) {
		w = s.wire("user=ann")
		w.expect("welcome")
		_ = w.SetDeadline(time.Now().Add(3 * patience))
		go func() {
			var b []byte
			for i := range many {
				b = ws.AppendMasked(b, ws.Text, [4]byte{1, 2, 3, 4}, fmt.Appendf(nil, `{"type":"sub","id":%d,"channel":"room:%d"}`, i, i))
			}
			_, _ = w.Write(b)
		}()
		for got := 0; got < many; {
			op, payload, err := w.frame()
			if err != nil {
				t.Fatalf("after %d replies: %v", got, err)
			}
			if op != ws.Text {
				continue
			}
			var f struct{ Type, Code, Message string }
			if err := json.Unmarshal(payload, &f); err != nil {
				t.Fatal(err)
			}
			if f.Type == "error" {
				limited++
				message = f.Code + ": " + f.Message
			}
			got++
		}
		return w, limited, message
	}
	cfg := open()
	cfg.Limits.FramesPerSecond = -1
	each(t, func() skein.Config { return cfg }, func(t *testing.T, s *testServer) {
		_, limited, message := subscribe(t, s, 1000)
		if limited != 1000-256 || !strings.HasPrefix(message, "too_large") || !strings.Contains(message, "limits.subscriptions") {
			t.Errorf("%d of %d were refused with %q, want all but 256 and the name of the setting", limited, 1000, message)
		}
		if s.stat("channels") != 256 {
			t.Errorf("%v channels, want 256", s.stat("channels"))
		}
	})
	cfg.Limits.Subscriptions = 20_000
	each(t, func() skein.Config { return cfg }, func(t *testing.T, s *testServer) {
		w, limited, message := subscribe(t, s, many)
		if limited != 0 {
			t.Errorf("%d were refused with %q", limited, message)
		}
		if s.stat("channels") != many {
			t.Errorf("%v channels, want %d", s.stat("channels"), many)
		}
		if out := s.verb("publish", fmt.Sprintf(`{"to":{"channel":"room:%d"},"data":1}`, many-1)); out["connections"] != 1.0 {
			t.Errorf("publish counts %v", out)
		}
		_ = w.Close()
		s.empty()
	})
}

// Frames faster than the limit are refused with the time to wait; a client that
// does not listen has to leave.
func TestFrameRateIsLimitedPerConnection(t *testing.T) {
	cfg := func() skein.Config {
		c := open()
		c.Limits.FramesPerSecond = 10
		return c
	}
	each(t, cfg, func(t *testing.T, s *testServer) {
		calm := s.user("calm")
		w := s.wire("user=wild")
		w.expect("welcome")
		ping := ws.AppendMasked(nil, ws.Text, [4]byte{1, 2, 3, 4}, []byte(`{"type":"ping","id":5}`))
		for range 11 {
			w.write(ping)
		}
		e := w.expect("error")
		wait, _ := e["retry_after"].(float64)
		if e["code"] != "rate_limited" || e["id"] != 5.0 || wait <= 0 || wait > 1000 || !strings.Contains(e["message"].(string), "limits.frames_per_second") {
			t.Errorf("got %v, want rate_limited with the time to wait", e)
		}
		calm.lives() // another connection has its own measure
		for range 150 {
			if _, err := w.Write(ping); err != nil {
				break
			}
		}
		if bye := w.expect("bye"); bye["code"] != "rate_limited" || bye["reconnect"] != true || bye["after"].(float64) <= 0 {
			t.Errorf("bye is %v", bye)
		}
		if code := w.closed(); code != 4009 {
			t.Errorf("close code %d, want 4009", code)
		}
		calm.lives()
	})
}

// Who waits as long as it was told is served again.
func TestRateLimitedClientRecovers(t *testing.T) {
	cfg := open()
	cfg.Limits.FramesPerSecond = 20
	s := start(t, cfg)
	c := s.user("ann")
	c.lives() // not more than the bucket holds
	var e map[string]any
	for e == nil {
		c.send(`{"type":"ping"}`)
		if f, err := c.read(); err != nil {
			t.Fatal(err)
		} else if f["type"] == "error" {
			e = f
		}
	}
	ready := time.Now().Add(time.Duration(e["retry_after"].(float64)) * time.Millisecond)
	eventually(t, "the time to wait is over", func() bool { return time.Now().After(ready) })
	c.lives()
}

// S4.1: connections over a limit are told to come back, and a place is free
// again when somebody leaves.
func TestConnectionLimits(t *testing.T) {
	for setting, tt := range map[string]struct {
		limit func(*skein.Limits)
		says  string
	}{
		"connections": {func(l *skein.Limits) { l.Connections = 3 }, "as many connections as it may have"},
		"per_address": {func(l *skein.Limits) { l.PerAddress = 3 }, "from this address"},
	} {
		t.Run(setting, func(t *testing.T) {
			cfg := func() skein.Config {
				c := open()
				tt.limit(&c.Limits)
				return c
			}
			each(t, cfg, func(t *testing.T, s *testServer) {
				try := func() (int, http.Header, string) {
					return s.request("GET", "/ws", "", "Connection: Upgrade", "Upgrade: websocket",
						"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
				}
				var all []*client
				for range 3 {
					all = append(all, s.user("ann"))
				}
				for range 2 {
					status, h, body := try()
					if status != 503 || h.Get("Retry-After") == "" || !strings.Contains(body, tt.says) {
						t.Errorf("the fourth: %d %v %q, want 503 with Retry-After", status, h, body)
					}
				}
				_ = all[0].ws.CloseNow()
				_ = all[1].ws.Close(websocket.StatusNormalClosure, "")
				eventually(t, "one connection is left", func() bool { return s.stat("open") == 1 })
				for range 2 { // the place of an address is free a moment after its connection has gone
					var bob *client
					eventually(t, "there is room again", func() bool {
						c, err := s.attempt("user=bob")
						bob = c
						return err == nil
					})
					bob.expect("welcome")
					bob.lives()
				}
				if status, _, _ := try(); status != 503 {
					t.Errorf("the fourth again: %d, want 503", status)
				}
			})
		})
	}
}

// Behind a trusted proxy the limit is for the client's address, and nobody else
// can borrow one.
func TestAddressLimitBehindAProxy(t *testing.T) {
	for trusted, want := range map[bool]int{true: 101, false: 503} {
		cfg := open()
		cfg.Limits.PerAddress = 1
		if trusted {
			cfg.TrustedProxies = []string{"127.0.0.0/8"}
		}
		s := start(t, cfg)
		s.user("ann")
		c := s.tcp()
		text := strings.Replace(handshakeText("user=bob"), "\r\n\r\n", "\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n", 1)
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != want {
			t.Errorf("trusted %v: %v %v, want %d", trusted, res, err, want)
		}
		if trusted {
			address := s.verb("connections", `{"user":"bob"}`)["items"].([]any)[0].(map[string]any)["address"]
			if !strings.HasPrefix(address.(string), "203.0.113.9") {
				t.Errorf("the address is told as %v", address)
			}
		}
	}
}
