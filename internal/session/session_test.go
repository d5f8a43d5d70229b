package session_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
)

func TestWelcome(t *testing.T) {
	settings := defaults()
	settings.Anonymous, settings.Dev, settings.Heartbeat = true, true, 1500*time.Millisecond
	w := start(t, settings)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	token := w.token(auth.Identity{User: "ann", Device: "phone", Expires: auth.At(expires)})
	bare := w.token(auth.Identity{User: "ann"})
	tests := []struct {
		name    string
		opening session.Opening
		frame   string
		want    map[string]any
	}{
		{"a token at the door", session.Opening{Token: token}, "", map[string]any{"user": "ann", "device": "phone", "expires": float64(expires.UnixMilli())}},
		{"a token without a device", session.Opening{Token: bare, Device: "tab"}, "", map[string]any{"user": "ann", "device": "tab"}},
		{"a user in development", session.Opening{User: "bob", Device: "tab"}, "", map[string]any{"user": "bob", "device": "tab"}},
		{"connect with a token", session.Opening{}, `{"type":"connect","id":"c","token":"` + token + `"}`, map[string]any{"id": "c", "user": "ann", "device": "phone", "expires": float64(expires.UnixMilli())}},
		{"connect without", session.Opening{}, `{"type":"connect","device":"tab"}`, map[string]any{"device": "tab"}},
		{"the token's device counts", session.Opening{}, `{"type":"connect","device":"tab","token":"` + token + `"}`, map[string]any{"user": "ann", "device": "phone", "expires": float64(expires.UnixMilli())}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := w.open(tt.opening)
			if tt.frame != "" {
				c.nothing()
				c.send(tt.frame)
			}
			got := c.expect("welcome")
			if now := time.Now().UnixMilli(); now-int64(got["time"].(float64)) > 60_000 {
				t.Errorf("its time is %v", got["time"])
			}
			delete(got, "time")
			for name, value := range map[string]any{"type": "welcome", "connection": c.ID.String(), "heartbeat": 1.5, "session": map[string]any{}, "channels": []any{}} {
				tt.want[name] = value
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if w.hub.Conn(c.ID) == nil || session.Of(w.hub.Conn(c.ID)) != &c.Session {
				t.Error("the hub does not know it")
			}
			c.send(`{"type":"connect","id":2}`)
			c.expectError(fault.BadRequest, "already connected")
			c.Closed(protocol.CloseNormal, "")
			if w.hub.Conn(c.ID) != nil {
				t.Error("the hub knows it still")
			}
		})
	}
	if n := w.Metrics().Welcomed.Load(); n != int64(len(tests)) {
		t.Errorf("the metric says %d", n)
	}
}

func TestRefusals(t *testing.T) {
	w := start(t, defaults())
	unavailable := protocol.Close{Word: "unavailable", Code: 1011, Reconnect: true}
	t.Run("a bad token at the door", func(t *testing.T) {
		c := w.open(session.Opening{Token: "x"})
		if f := c.expectBye(protocol.CloseTokenRefused); !strings.Contains(f["message"].(string), "not a JWT") || f["after"] != 0.0 {
			t.Errorf("got %v", f)
		}
	})
	t.Run("a bad token in connect", func(t *testing.T) {
		c := w.open(session.Opening{})
		c.send(`{"type":"connect","id":1,"token":"x"}`)
		if f := c.expectError(fault.Unauthorized, "not a JWT"); f["id"] != 1.0 {
			t.Errorf("got %v", f)
		}
		c.expectBye(protocol.CloseTokenRefused)
	})
	t.Run("an expired token", func(t *testing.T) {
		c := w.open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(time.Now().Add(-time.Hour))})})
		if f := c.expectBye(protocol.CloseTokenRefused); !strings.Contains(f["message"].(string), "the token expired 1h0m") {
			t.Errorf("got %v", f)
		}
	})
	t.Run("no token where one is needed", func(t *testing.T) {
		c := w.open(session.Opening{})
		c.send(`{"type":"connect"}`)
		c.expectError(fault.Unauthorized, "token: is missing, and anonymous connections are not allowed")
		c.expectBye(protocol.CloseTokenRefused)
	})
	t.Run("?user= outside development is nothing", func(t *testing.T) {
		c := w.open(session.Opening{User: "root"})
		c.nothing()
		c.send(`{"type":"connect"}`)
		c.expectError(fault.Unauthorized, "token: is missing")
	})
	t.Run("wrong fields of connect can be mended", func(t *testing.T) {
		c := w.open(session.Opening{})
		c.send(`{"type":"connect","token":5}`)
		c.expectError(fault.BadRequest, "token: must be a string, not a number")
		c.send(`{"type":"connect","device":"a\u0000"}`)
		c.expectError(fault.BadRequest, "device: no control characters are allowed")
		c.send(`{"type":"connect","token":"` + w.token(auth.Identity{User: "u"}) + `"}`)
		c.expect("welcome")
	})
	t.Run("keys that cannot be fetched are no refusal", func(t *testing.T) {
		w := startWith(t, defaults(), unreachable{})
		for _, token := range []string{"x", ""} {
			c := w.open(session.Opening{Token: token})
			if token == "" {
				c.send(`{"type":"connect","token":"x"}`)
				if f := c.expectError(fault.Unavailable, "no keys"); f["retry_after"] != 3000.0 {
					t.Errorf("got %v", f)
				}
			}
			if f := c.expectBye(unavailable); f["after"].(float64) < 3000 || f["after"].(float64) > 4000 {
				t.Errorf("got %v", f)
			}
		}
	})
	settings := defaults()
	settings.Dev = true
	w.Configure(settings)
	t.Run("a user that is no name", func(t *testing.T) {
		w.open(session.Opening{User: strings.Repeat("u", 257)}).expectBye(protocol.CloseTokenRefused)
		w.open(session.Opening{User: "u", Device: "\x00"}).expectBye(protocol.CloseTokenRefused)
	})
}

func TestPatienceForAuthenticationEnds(t *testing.T) {
	settings := defaults()
	settings.AuthTimeout = 20 * time.Millisecond
	w := start(t, settings)
	c := w.open(session.Opening{})
	if f := c.expectBye(protocol.CloseAuthTimeout); f["after"].(float64) > 1000 {
		t.Errorf("got %v", f)
	}
	if n := w.Metrics().AuthTimeout.Load(); n != 1 {
		t.Errorf("the metric says %d", n)
	}
}

func TestATokenThatExpiresEndsTheSession(t *testing.T) {
	w := start(t, defaults())
	soon := time.Now().Add(1100 * time.Millisecond)
	c := w.open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(soon)})})
	kept := w.open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(soon)})})
	gone := w.open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(soon)})})
	for _, c := range []*client{c, kept, gone} {
		c.expect("welcome")
	}
	gone.Closed(protocol.CloseNormal, "")
	later := time.Now().Add(time.Hour).Truncate(time.Second)
	kept.send(`{"type":"refresh","id":1,"token":"` + w.token(auth.Identity{User: "u", Expires: auth.At(later)}) + `"}`)
	if f := kept.expect("ok"); f["expires"] != float64(later.UnixMilli()) {
		t.Errorf("got %v", f)
	}
	c.expectBye(protocol.CloseTokenExpired)
	kept.nothing()
	gone.nothing()
	if n := w.Metrics().Expired.Load(); n != 1 {
		t.Errorf("the metric says %d", n)
	}
}

func TestRefresh(t *testing.T) {
	w := start(t, defaults())
	caps, err := auth.ParseCaps(map[string][]string{"room:*": {"sub"}})
	if err != nil {
		t.Fatal(err)
	}
	c := w.open(session.Opening{Token: w.token(auth.Identity{User: "ann", Device: "phone", Caps: caps})})
	c.expect("welcome")
	for name, by := range map[string]hub.Reason{"room:1": hub.Asked, "room:2": hub.Ordered} {
		if _, err := w.hub.Subscribe(&c.Conn, name, w.hub.Space("room"), hub.SubOptions{By: by}); err != nil {
			t.Fatal(err)
		}
	}
	c.send(`{"type":"refresh"}`)
	c.expectError(fault.BadRequest, "token: is missing")
	c.send(`{"type":"refresh","token":"x"}`)
	c.expectError(fault.Unauthorized, "not a JWT")
	c.send(`{"type":"refresh","token":"` + w.token(auth.Identity{User: "bob"}) + `"}`)
	c.expectError(fault.Denied, "another user's")
	c.send(`{"type":"refresh","id":3,"token":"` + w.token(auth.Identity{User: "ann", Caps: caps}) + `"}`)
	if diff := cmp.Diff(map[string]any{"type": "ok", "id": 3.0}, c.expect("ok")); diff != "" {
		t.Error(diff)
	}
	c.nothing()
	c.send(`{"type":"refresh","token":"` + w.token(auth.Identity{User: "ann"}) + `"}`)
	if diff := cmp.Diff(map[string]any{"type": "unsubscribed", "channel": "room:1", "reason": "denied"}, c.next()); diff != "" {
		t.Error(diff)
	}
	c.nothing()
	if got := c.Channels(); len(got) != 1 || got[0] != "room:2" {
		t.Errorf("it is subscribed to %v, want what the server chose", got)
	}
	if id := c.Identity(); id.Device != "phone" {
		t.Errorf("it is %+v now", id)
	}
	w.hub.SetSpaces(nil)
	c.Recheck()
	c.expect("unsubscribed")
}

func TestEarlyFramesAreKeptInOrder(t *testing.T) {
	settings := defaults()
	settings.Anonymous = true
	w := start(t, settings)
	c := w.open(session.Opening{})
	for i := range 64 {
		c.send(fmt.Sprintf(`{"type":"ping","id":%d}`, i))
	}
	c.nothing()
	c.send(`{"type":"ping","id":64}`)
	c.expectError(fault.TooLarge, "at most 64 frames and 65536 bytes are kept")
	c.send(`{"type":"connect"}`)
	c.expect("welcome")
	for i := range 64 {
		if f := c.expect("pong"); f["id"] != float64(i) {
			t.Fatalf("got %v in place of %d", f, i)
		}
	}
	c.nothing()
	large := w.open(session.Opening{})
	large.send(`{"type":"ping","pad":"` + strings.Repeat("x", 64<<10) + `"}`)
	large.expectError(fault.TooLarge, "65536 bytes are kept")
	large.Closed(protocol.CloseNormal, "")
	large.send(`{"type":"ping"}`) // what is left of an inbox
	large.nothing()
}

func TestFramesThatAreWrong(t *testing.T) {
	w := start(t, defaults())
	c := w.user("u")
	tests := []struct {
		frame   string
		code    fault.Code
		message string
		id      any
	}{
		{`hello`, fault.BadFrame, "not valid JSON at byte 0", nil},
		{`[1]`, fault.BadFrame, "not a JSON object", nil},
		{`{"type":"ping","a":[[[[[[[[1]]]]]]]]}`, fault.TooLarge, "nested more than 8 levels", nil},
		{`{"id":5}`, fault.BadRequest, "type: is missing", 5.0},
		{`{"id":{},"type":"ping"}`, fault.BadRequest, "id: must be a string or an integer", nil},
		{`{"id":"x","type":"dance"}`, fault.UnknownType, `type: "dance" is not a frame type`, "x"},
		{`{"id":1,"type":"welcome"}`, fault.UnknownType, `type: "welcome" is not a frame type`, 1.0},
	}
	for _, tt := range tests {
		c.send(tt.frame)
		if f := c.expectError(tt.code, tt.message); f["id"] != tt.id {
			t.Errorf("%s: got %v", tt.frame, f)
		}
	}
	c.ReceiveBinary()
	c.expectError(fault.BadFrame, "binary messages are not part of the protocol")
	if n := w.Metrics().Errors.Load(); n != int64(len(tests)+1) {
		t.Errorf("the metric says %d errors", n)
	}
	c.send(`{"type":"ping"}`)
	c.expect("pong")
}

func TestFramesAreLimited(t *testing.T) {
	settings := defaults()
	settings.FramesPerSecond = 5
	w := start(t, settings)
	c := w.user("u")
	for i := range 60 {
		c.send(fmt.Sprintf(`{"type":"ping","id":%d}`, i))
	}
	pongs, limited := 0, 0
	for f := c.next(); f["type"] != "bye"; f = c.next() {
		switch {
		case f["type"] == "pong":
			pongs++
		case f["code"] == "rate_limited" && f["retry_after"].(float64) > 0 && f["id"] != nil:
			limited++
		default:
			t.Fatalf("got %v", f)
		}
	}
	if pongs < 5 || limited != 50 {
		t.Errorf("%d pongs and %d refusals came before the end", pongs, limited)
	}
	if c.out.reason != protocol.CloseRateLimited {
		t.Errorf("closed for %+v", c.out.reason)
	}
}

func TestDropsAreTold(t *testing.T) {
	w := start(t, defaults())
	early := w.open(session.Opening{})
	early.Drained()
	early.nothing()
	c := w.user("u")
	c.Drained()
	c.nothing()
	if _, err := w.hub.Subscribe(&c.Conn, "room:1", w.hub.Space("room"), hub.SubOptions{By: hub.Ordered}); err != nil {
		t.Fatal(err)
	}
	c.Subs()[0].Dropped(7)
	c.Drained()
	if diff := cmp.Diff(map[string]any{"type": "dropped", "channel": "room:1", "count": 7.0}, c.next()); diff != "" {
		t.Error(diff)
	}
}

func TestByeAfterSomeLastFrames(t *testing.T) {
	w := start(t, defaults())
	c := w.user("u")
	c.ByeAfter(protocol.CloseReplaced, "another one", 250*time.Millisecond, []byte(`{"type":"msg"}`), []byte(`{"type":"notice"}`))
	c.expect("msg")
	c.expect("notice")
	if f := c.expectBye(protocol.CloseReplaced); f["after"] != 250.0 || f["message"] != "another one" {
		t.Errorf("got %v", f)
	}
	c.Bye(protocol.CloseNormal, "twice", time.Second)
	c.nothing()
}

func TestSpaceChecksTheRight(t *testing.T) {
	w := start(t, defaults())
	c := w.user("u")
	tests := []struct {
		channel string
		verb    auth.Verb
		code    fault.Code
	}{
		{"room:1", auth.Pub, ""},
		{"room:1", auth.Sub, fault.Denied},
		{"room:1", auth.Presence, fault.Denied},
		{"room:1", auth.History, fault.Denied},
		{"hall:1", auth.Pub, fault.NotFound},
		{"room", auth.Pub, fault.BadRequest},
	}
	for _, tt := range tests {
		var f protocol.Frame
		if err := f.Read([]byte(`{"type":"x","channel":"`+tt.channel+`"}`), 4); err != nil {
			t.Fatal(err)
		}
		channel, space, err := c.Space(context.Background(), &f, tt.verb)
		if e := fault.Of(err); (e == nil) != (tt.code == "") || e != nil && e.Code != tt.code {
			t.Errorf("%s, %d: got %v, want %s", tt.channel, tt.verb, err, tt.code)
		}
		if (space != nil) != (tt.code == "") || channel != tt.channel && tt.code != fault.BadRequest {
			t.Errorf("%s: got %q, %v", tt.channel, channel, space)
		}
	}
	if may, err := c.MayPresence(context.Background(), w.hub.Space("room"), "room:1"); err != nil || may {
		t.Error("presence is open to all")
	}
}

func TestJitterStaysInItsSpan(t *testing.T) {
	for _, span := range []time.Duration{-1, 0, 1, time.Second} {
		for range 100 {
			if j := session.Jitter(span); j < 0 || j > 0 && j >= span {
				t.Errorf("%v gives %v", span, j)
			}
		}
	}
}

// countingClock counts the deadlines that sessions ask for.
type countingClock struct {
	session.Clock
	asked chan int64
}

func (c *countingClock) Deadline(at int64, d link.Deadline) {
	c.asked <- at
	c.Clock.Deadline(at, d)
}

// Some issuers write the year 9999 for never, which no clock in nanoseconds can count to.
func TestATokenThatExpiresInAFarYear(t *testing.T) {
	w := start(t, defaults())
	clock := &countingClock{w.clock, make(chan int64, 1000)}
	verifier, err := auth.NewVerifier(auth.Config{HMACSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = session.NewServer(session.Config{Hub: w.hub, Clock: clock, Verifier: verifier, Settings: defaults()})
	expires := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	c := w.open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(expires)})})
	if f := c.expect("welcome"); f["expires"] != float64(expires.UnixMilli()) {
		t.Errorf("got %v", f)
	}
	if at := <-clock.asked; at < w.clock.Now() {
		t.Errorf("the session asked to be called at %v, which is past", time.Duration(at))
	}
	c.Due(w.clock.Now())
	if at := <-clock.asked; at < w.clock.Now() {
		t.Errorf("the second time it asked to be called at %v, which is past", time.Duration(at))
	}
	c.nothing()
}

func TestTheWelcomeComesFirst(t *testing.T) {
	settings := defaults()
	settings.Anonymous = true
	w := start(t, settings)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				// Its error says that deliveries wait, which is what keeps them coming.
				_, _ = w.hub.PublishAll(t.Context(), false, []byte(`{"type":"msg"}`), nil)
			}
		}
	}()
	for range 500 {
		c := w.open(session.Opening{})
		c.send(`{"type":"connect"}`)
		c.expect("welcome")
		c.Closed(protocol.CloseNormal, "")
	}
	close(stop)
	<-stopped
}
