package skein_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/auth"
)

const secret = "a secret of more than thirty-two bytes"

// strict is a server that lets nobody in without a token.
func strict() skein.Config {
	return skein.Config{
		Auth:  skein.Auth{JWT: skein.JWT{HMACSecret: secret, Issuer: "shop", Audience: "live"}},
		Drain: skein.Drain{Timeout: skein.Duration(time.Second), Spread: skein.Duration(time.Millisecond)},
		Namespaces: map[string]skein.Namespace{
			"room": {Subscribe: "user", Publish: "user"},
			"team": {Subscribe: "token", Publish: "token"},
			"tick": {Subscribe: "anyone"},
		},
	}
}

// caps are rights as a token has them: "room:7" -> "sub pub".
func caps(t testing.TB, list map[string]string) auth.Caps {
	t.Helper()
	m := map[string][]string{}
	for pattern, verbs := range list {
		m[pattern] = strings.Fields(verbs)
	}
	c, err := auth.ParseCaps(m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// token signs a token that a strict server accepts.
func token(t testing.TB, id auth.Identity) string {
	t.Helper()
	return sign(t, secret, id, "shop", "live")
}

func sign(t testing.TB, key string, id auth.Identity, issuer, audience string) string {
	t.Helper()
	text, err := auth.Sign([]byte(key), id, issuer, audience, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// S2.3: a token binds, by whichever way it comes.
func TestTokenBindsHoweverItComes(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		text := token(t, auth.Identity{User: "ann", Device: "phone"})
		ways := map[string]func() map[string]any{
			"query": func() map[string]any { return s.dial("token=" + text).expect("welcome") },
			"header": func() map[string]any {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				conn, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/ws", &websocket.DialOptions{
					HTTPHeader: http.Header{"Authorization": {"Bearer " + text}},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.CloseNow() })
				return (&client{t: t, ws: conn}).expect("welcome")
			},
			"frame": func() map[string]any {
				c := s.dial("")
				c.send(`{"type":"connect","id":7,"token":"` + text + `"}`)
				w := c.expect("welcome")
				if w["id"] != 7.0 {
					t.Errorf("welcome is %v, want the id of connect", w)
				}
				return w
			},
		}
		for way, connect := range ways {
			if w := connect(); w["user"] != "ann" || w["device"] != "phone" || w["connection"] == "" || w["expires"] != nil {
				t.Errorf("%s: welcome is %v", way, w)
			}
		}
		online := s.verb("online", `{"users":["ann"]}`)["ann"].(map[string]any)
		same(t, "ann", online, map[string]any{"online": true, "connections": 3.0, "devices": []any{"phone"}})
	})
}

// The device of the token wins; without one the client may name it.
func TestDeviceComesFromTheTokenFirst(t *testing.T) {
	s := start(t, strict())
	for device, want := range map[string]string{"phone": "phone", "": "mine"} {
		c := s.dial("")
		c.send(`{"type":"connect","device":"mine","token":"` + token(t, auth.Identity{User: "ann", Device: device}) + `"}`)
		if w := c.expect("welcome"); w["device"] != want {
			t.Errorf("a token for device %q: welcome is %v, want %q", device, w, want)
		}
	}
}

// A token that is no good ends the connection, and the client is told not to
// come back with it.
func TestWrongTokenIsRefused(t *testing.T) {
	ann := auth.Identity{User: "ann"}
	bad := map[string]string{
		"another key":      sign(t, strings.Repeat("another secret ", 3), ann, "shop", "live"),
		"another issuer":   sign(t, secret, ann, "thief", "live"),
		"another audience": sign(t, secret, ann, "shop", "mail"),
		"expired":          token(t, auth.Identity{User: "ann", Expires: auth.At(time.Now().Add(-time.Minute))}),
		"no user":          token(t, auth.Identity{}),
		"not a token":      "ann",
		"unsigned":         "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbm4iLCJpc3MiOiJzaG9wIiwiYXVkIjoibGl2ZSJ9.",
		"changed":          changed(token(t, ann)),
	}
	each(t, strict, func(t *testing.T, s *testServer) {
		for what, text := range bad {
			c := s.dial("token=" + text)
			if bye := c.goodbye("token_refused", 4002); bye["reconnect"] != false || bye["message"] == "" {
				t.Errorf("%s, in the query: bye is %v", what, bye)
			}
			c = s.dial("")
			e := c.fails(`{"type":"connect","token":"`+text+`"}`, "unauthorized")
			if strings.Contains(e["message"].(string), text) && len(text) > 10 {
				t.Errorf("%s: the message repeats the token: %v", what, e)
			}
			if bye := c.goodbye("token_refused", 4002); bye["reconnect"] != false {
				t.Errorf("%s, in the frame: bye is %v", what, bye)
			}
		}
		s.empty()
	})
}

// changed alters a claim of a token and keeps its signature.
func changed(text string) string {
	parts := strings.Split(text, ".")
	parts[1] = parts[1][:len(parts[1])-2] + "9Q"
	return strings.Join(parts, ".")
}

// A connection does not outlive its token.
func TestConnectionEndsWithItsToken(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		expires := time.Now().Add(time.Second).Truncate(time.Second).Add(time.Second)
		c := s.dial("token=" + token(t, auth.Identity{User: "ann", Expires: auth.At(expires)}))
		if w := c.expect("welcome"); w["expires"] != float64(expires.UnixMilli()) {
			t.Errorf("welcome is %v, want expires %d", w, expires.UnixMilli())
		}
		c.do(`{"type":"sub","channel":"room:1"}`)
		bye := c.goodbye("token_expired", 4003)
		if bye["reconnect"] != true || time.Now().Before(expires) {
			t.Errorf("bye is %v at %s, want it after %s", bye, time.Now(), expires)
		}
		s.empty()
	})
}

// A fresh token keeps the connection, and cannot make it somebody else's.
func TestRefreshExtendsAndNeverRebinds(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		first := time.Now().Truncate(time.Second).Add(2 * time.Second)
		c := s.dial("token=" + token(t, auth.Identity{User: "ann", Device: "phone", Expires: auth.At(first)}))
		c.expect("welcome")
		c.fails(`{"type":"refresh","token":"`+token(t, auth.Identity{User: "eve"})+`"}`, "denied")
		c.fails(`{"type":"refresh","token":"x"}`, "unauthorized")
		c.fails(`{"type":"refresh"}`, "bad_request")
		later := first.Add(time.Hour)
		ok := c.do(`{"type":"refresh","token":"` + token(t, auth.Identity{User: "ann", Expires: auth.At(later)}) + `"}`)
		if ok["expires"] != float64(later.UnixMilli()) {
			t.Errorf("ok of refresh is %v, want expires %d", ok, later.UnixMilli())
		}
		eventually(t, "the first token has expired", func() bool { return time.Now().After(first.Add(300 * time.Millisecond)) })
		c.lives()
		online := s.verb("online", `{"users":["ann","eve"]}`)
		same(t, "online", online, map[string]any{
			"ann": map[string]any{"online": true, "connections": 1.0, "devices": []any{"phone"}},
			"eve": map[string]any{"online": false, "connections": 0.0, "devices": []any{}},
		})
	})
}

// What a fresh token no longer allows ends.
func TestRefreshWithFewerRightsEndsSubscriptions(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		c := s.dial("token=" + token(t, auth.Identity{User: "ann", Caps: caps(t, map[string]string{"team:*": "sub pub"})}))
		c.expect("welcome")
		for _, ch := range []string{"team:red", "team:blue", "room:1"} {
			c.do(`{"type":"sub","channel":"` + ch + `"}`)
		}
		less := token(t, auth.Identity{User: "ann", Caps: caps(t, map[string]string{"team:blue": "sub"})})
		c.do(`{"type":"refresh","token":"` + less + `"}`)
		if f := c.expect("unsubscribed"); f["channel"] != "team:red" || f["reason"] != "denied" {
			t.Errorf("got %v, want team:red to end", f)
		}
		c.lives()
		for ch, want := range map[string]float64{"team:red": 0, "team:blue": 1, "room:1": 1} {
			if out := s.verb("publish", `{"to":{"channel":"`+ch+`"},"data":1}`); out["connections"] != want {
				t.Errorf("%s reaches %v connections, want %v", ch, out["connections"], want)
			}
		}
		c.expect("msg")
		c.expect("msg")
		c.fails(`{"type":"sub","channel":"team:red"}`, "denied")
		c.fails(`{"type":"pub","channel":"team:blue","data":1}`, "denied")
	})
}

// A binding by the server takes the rights of the old token away.
func TestBindTakesTheTokensRightsAway(t *testing.T) {
	s := start(t, strict())
	c := s.dial("token=" + token(t, auth.Identity{User: "ann", Caps: caps(t, map[string]string{"team:*": "sub"})}))
	id := c.expect("welcome")["connection"]
	c.do(`{"type":"sub","channel":"team:red"}`)
	c.do(`{"type":"sub","channel":"room:1"}`)
	s.verb("bind", fmt.Sprintf(`{"connection":%q,"user":"bob"}`, id))
	if f := c.expect("unsubscribed"); f["channel"] != "team:red" {
		t.Errorf("got %v, want team:red to end", f)
	}
	s.verb("unbind", fmt.Sprintf(`{"connection":%q}`, id))
	if f := c.expect("unsubscribed"); f["channel"] != "room:1" {
		t.Errorf("got %v, want room:1 to end", f)
	}
	c.lives()
}

// Rights: the namespace's rule, or a capability; what is for the server no
// token can open, and what is not configured does not exist.
func TestCapabilitiesAllowAndDeny(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		c := s.dial("token=" + token(t, auth.Identity{User: "ann", Caps: caps(t, map[string]string{
			"team:red": "sub", "team:b*": "sub pub", "tick:*": "*",
		})}))
		c.expect("welcome")
		for _, tt := range []struct{ frame, channel, code string }{
			{"sub", "team:red", ""},
			{"pub", "team:red", "denied"},
			{"sub", "team:redder", "denied"},
			{"sub", "team:blue", ""},
			{"pub", "team:blue", ""},
			{"notice", "team:blue", ""},
			{"notice", "team:red", "denied"},
			{"sub", "team:green", "denied"},
			{"sub", "room:any", ""},
			{"pub", "room:any", ""},
			{"sub", "tick:time", ""},
			{"pub", "tick:time", "denied"},
			{"sub", "nowhere:1", "not_found"},
			{"pub", "nowhere:1", "not_found"},
			{"presence", "nowhere:1", "not_found"},
			{"presence", "room:any", "denied"},
		} {
			frame := fmt.Sprintf(`{"type":%q,"channel":%q,"event":"e","data":1}`, tt.frame, tt.channel)
			if tt.code == "" {
				c.do(frame)
			} else if e := c.fails(frame, tt.code); e["channel"] != tt.channel {
				t.Errorf("%s: the error does not name the channel: %v", frame, e)
			}
		}
	})
}

// Anonymous connections are there only where they are wanted, and have only the
// rights of anyone.
func TestAnonymousOnlyWhereAllowed(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		c := s.dial("")
		c.fails(`{"type":"connect"}`, "unauthorized")
		if bye := c.goodbye("token_refused", 4002); bye["reconnect"] != false {
			t.Errorf("bye is %v", bye)
		}
	})
	welcome := func() skein.Config {
		cfg := strict()
		cfg.Auth.Anonymous = true
		return cfg
	}
	each(t, welcome, func(t *testing.T, s *testServer) {
		c := s.anonymous()
		c.do(`{"type":"sub","channel":"tick:1"}`)
		c.fails(`{"type":"sub","channel":"room:1"}`, "denied")
		c.fails(`{"type":"refresh","token":"`+token(t, auth.Identity{User: "ann"})+`"}`, "denied")
		if s.stat("users") != 0 {
			t.Error("an anonymous connection is counted as a user")
		}
	})
}

// What a client sends before it is welcomed waits, and keeps its order.
func TestFramesBeforeTheWelcomeRunAfterIt(t *testing.T) {
	each(t, strict, func(t *testing.T, s *testServer) {
		c := s.dial("")
		for i := range 20 {
			c.send(fmt.Sprintf(`{"type":"sub","id":%d,"channel":"room:%d"}`, i, i))
		}
		c.send(`{"type":"ping","id":"last"}`)
		c.send(`{"type":"connect","token":"` + token(t, auth.Identity{User: "ann"}) + `"}`)
		c.send(`{"type":"ping","id":"after"}`)
		c.expect("welcome")
		for i := range 20 {
			if ok := c.expect("ok"); ok["id"] != float64(i) {
				t.Fatalf("got %v, want the reply to frame %d", ok, i)
			}
		}
		for _, id := range []string{"last", "after"} {
			if pong := c.expect("pong"); pong["id"] != id {
				t.Fatalf("got %v, want the reply to %s", pong, id)
			}
		}
		if s.stat("channels") != 20 {
			t.Errorf("%v channels, want 20", s.stat("channels"))
		}
		flood := s.dial("")
		for range 80 {
			flood.send(`{"type":"ping","id":1}`)
		}
		if e := flood.expect("error"); e["code"] != "too_large" {
			t.Errorf("the 65th early frame: %v, want too_large", e)
		}
	})
}

// ?user= is believed in development mode and nowhere else.
func TestUserInTheQueryNeedsDevelopmentMode(t *testing.T) {
	cfg := strict()
	cfg.Auth.Timeout = skein.Duration(100 * time.Millisecond)
	s := start(t, cfg)
	s.dial("user=ann").goodbye("auth_timeout", 4001)
	cfg.Auth.Anonymous = true
	s = start(t, cfg)
	c := s.dial("user=ann&device=d")
	c.send(`{"type":"connect"}`)
	if w := c.expect("welcome"); w["user"] != nil || w["device"] != nil {
		t.Errorf("welcome is %v, want nobody", w)
	}
	s = start(t, open())
	if w := s.dial("user=ann&device=d").expect("welcome"); w["user"] != "ann" || w["device"] != "d" {
		t.Errorf("welcome is %v", w)
	}
	s.dial("user=%00").goodbye("token_refused", 4002)
}
