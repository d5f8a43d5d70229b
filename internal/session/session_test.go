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
	"github.com/skein-realtime/skein/test/sessiontest"
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
			c := w.Open(tt.opening)
			if tt.frame != "" {
				c.Nothing()
				c.Send(tt.frame)
			}
			got := c.Expect("welcome")
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
			if w.Hub.Conn(c.ID) == nil || session.Of(w.Hub.Conn(c.ID)) != &c.Session {
				t.Error("the hub does not know it")
			}
			c.Send(`{"type":"connect","id":2}`)
			c.ExpectError(fault.BadRequest, "already connected")
			c.Closed(protocol.CloseNormal, "")
			if w.Hub.Conn(c.ID) != nil {
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
		c := w.Open(session.Opening{Token: "x"})
		if f := c.ExpectBye(protocol.CloseTokenRefused); !strings.Contains(f["message"].(string), "not a JWT") || f["after"] != 0.0 {
			t.Errorf("got %v", f)
		}
	})
	t.Run("a bad token in connect", func(t *testing.T) {
		c := w.Open(session.Opening{})
		c.Send(`{"type":"connect","id":1,"token":"x"}`)
		if f := c.ExpectError(fault.Unauthorized, "not a JWT"); f["id"] != 1.0 {
			t.Errorf("got %v", f)
		}
		c.ExpectBye(protocol.CloseTokenRefused)
	})
	t.Run("an expired token", func(t *testing.T) {
		c := w.Open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(time.Now().Add(-time.Hour))})})
		if f := c.ExpectBye(protocol.CloseTokenRefused); !strings.Contains(f["message"].(string), "the token expired 1h0m") {
			t.Errorf("got %v", f)
		}
	})
	t.Run("no token where one is needed", func(t *testing.T) {
		c := w.Open(session.Opening{})
		c.Send(`{"type":"connect"}`)
		c.ExpectError(fault.Unauthorized, "token: is missing, and anonymous connections are not allowed")
		c.ExpectBye(protocol.CloseTokenRefused)
	})
	t.Run("?user= outside development is nothing", func(t *testing.T) {
		c := w.Open(session.Opening{User: "root"})
		c.Nothing()
		c.Send(`{"type":"connect"}`)
		c.ExpectError(fault.Unauthorized, "token: is missing")
	})
	t.Run("wrong fields of connect can be mended", func(t *testing.T) {
		c := w.Open(session.Opening{})
		c.Send(`{"type":"connect","token":5}`)
		c.ExpectError(fault.BadRequest, "token: must be a string, not a number")
		c.Send(`{"type":"connect","device":"a\u0000"}`)
		c.ExpectError(fault.BadRequest, "device: no control characters are allowed")
		c.Send(`{"type":"connect","token":"` + w.token(auth.Identity{User: "u"}) + `"}`)
		c.Expect("welcome")
	})
	t.Run("keys that cannot be fetched are no refusal", func(t *testing.T) {
		w := startWith(t, defaults(), unreachable{})
		for _, token := range []string{"x", ""} {
			c := w.Open(session.Opening{Token: token})
			if token == "" {
				c.Send(`{"type":"connect","token":"x"}`)
				if f := c.ExpectError(fault.Unavailable, "no keys"); f["retry_after"] != 3000.0 {
					t.Errorf("got %v", f)
				}
			}
			if f := c.ExpectBye(unavailable); f["after"].(float64) < 3000 || f["after"].(float64) > 4000 {
				t.Errorf("got %v", f)
			}
		}
	})
	settings := defaults()
	settings.Dev = true
	w.Configure(settings)
	t.Run("a user that is no name", func(t *testing.T) {
		w.Open(session.Opening{User: strings.Repeat("u", 257)}).ExpectBye(protocol.CloseTokenRefused)
		w.Open(session.Opening{User: "u", Device: "\x00"}).ExpectBye(protocol.CloseTokenRefused)
	})
}

func TestPatienceForAuthenticationEnds(t *testing.T) {
	settings := defaults()
	settings.AuthTimeout = 20 * time.Millisecond
	w := start(t, settings)
	c := w.Open(session.Opening{})
	if f := c.ExpectBye(protocol.CloseAuthTimeout); f["after"].(float64) > 1000 {
		t.Errorf("got %v", f)
	}
	if n := w.Metrics().AuthTimeout.Load(); n != 1 {
		t.Errorf("the metric says %d", n)
	}
}

func TestATokenThatExpiresEndsTheSession(t *testing.T) {
	w := start(t, defaults())
	soon := time.Now().Add(1100 * time.Millisecond)
	c := w.Open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(soon)})})
	kept := w.Open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(soon)})})
	gone := w.Open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(soon)})})
	for _, c := range []*sessiontest.Client{c, kept, gone} {
		c.Expect("welcome")
	}
	gone.Closed(protocol.CloseNormal, "")
	later := time.Now().Add(time.Hour).Truncate(time.Second)
	kept.Send(`{"type":"refresh","id":1,"token":"` + w.token(auth.Identity{User: "u", Expires: auth.At(later)}) + `"}`)
	if f := kept.Expect("ok"); f["expires"] != float64(later.UnixMilli()) {
		t.Errorf("got %v", f)
	}
	c.ExpectBye(protocol.CloseTokenExpired)
	kept.Nothing()
	gone.Nothing()
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
	c := w.Open(session.Opening{Token: w.token(auth.Identity{User: "ann", Device: "phone", Caps: caps})})
	c.Expect("welcome")
	for name, by := range map[string]hub.Reason{"room:1": hub.Asked, "room:2": hub.Ordered} {
		if _, err := w.Hub.Subscribe(&c.Conn, name, w.Hub.Space("room"), hub.SubOptions{By: by}); err != nil {
			t.Fatal(err)
		}
	}
	c.Send(`{"type":"refresh"}`)
	c.ExpectError(fault.BadRequest, "token: is missing")
	c.Send(`{"type":"refresh","token":"x"}`)
	c.ExpectError(fault.Unauthorized, "not a JWT")
	c.Send(`{"type":"refresh","token":"` + w.token(auth.Identity{User: "bob"}) + `"}`)
	c.ExpectError(fault.Denied, "another user's")
	c.Send(`{"type":"refresh","id":3,"token":"` + w.token(auth.Identity{User: "ann", Caps: caps}) + `"}`)
	if diff := cmp.Diff(map[string]any{"type": "ok", "id": 3.0}, c.Expect("ok")); diff != "" {
		t.Error(diff)
	}
	c.Nothing()
	c.Send(`{"type":"refresh","token":"` + w.token(auth.Identity{User: "ann"}) + `"}`)
	if diff := cmp.Diff(map[string]any{"type": "unsubscribed", "channel": "room:1", "reason": "denied"}, c.Next()); diff != "" {
		t.Error(diff)
	}
	c.Nothing()
	if got := c.Channels(); len(got) != 1 || got[0] != "room:2" {
		t.Errorf("it is subscribed to %v, want what the server chose", got)
	}
	if id := c.Identity(); id.Device != "phone" {
		t.Errorf("it is %+v now", id)
	}
	w.Hub.SetSpaces(nil)
	c.Recheck()
	c.Expect("unsubscribed")
}

func TestEarlyFramesAreKeptInOrder(t *testing.T) {
	settings := defaults()
	settings.Anonymous = true
	w := start(t, settings)
	c := w.Open(session.Opening{})
	for i := range 64 {
		c.Send(fmt.Sprintf(`{"type":"ping","id":%d}`, i))
	}
	c.Nothing()
	c.Send(`{"type":"ping","id":64}`)
	c.ExpectError(fault.TooLarge, "at most 64 frames and 65536 bytes are kept")
	c.Send(`{"type":"connect"}`)
	c.Expect("welcome")
	for i := range 64 {
		if f := c.Expect("pong"); f["id"] != float64(i) {
			t.Fatalf("got %v in place of %d", f, i)
		}
	}
	c.Nothing()
	large := w.Open(session.Opening{})
	large.Send(`{"type":"ping","pad":"` + strings.Repeat("x", 64<<10) + `"}`)
	large.ExpectError(fault.TooLarge, "65536 bytes are kept")
	large.Closed(protocol.CloseNormal, "")
	large.Send(`{"type":"ping"}`) // what is left of an inbox
	large.Nothing()
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
		c.Send(tt.frame)
		if f := c.ExpectError(tt.code, tt.message); f["id"] != tt.id {
			t.Errorf("%s: got %v", tt.frame, f)
		}
	}
	c.ReceiveBinary()
	c.ExpectError(fault.BadFrame, "binary messages are not part of the protocol")
	if n := w.Metrics().Errors.Load(); n != int64(len(tests)+1) {
		t.Errorf("the metric says %d errors", n)
	}
	c.Send(`{"type":"ping"}`)
	c.Expect("pong")
}

func TestAChannelOfTheServersOwnHasItsOwnAnswers(t *testing.T) {
	w := start(t, defaults())
	answer := func(word string) session.FrameHandler {
		return func(_ context.Context, s *session.Session, f *protocol.Frame) error {
			s.OK(f, func(b []byte) []byte { return protocol.AppendString(append(b, `,"by":`...), word) })
			return nil
		}
	}
	w.Handle("look", answer("all"))
	w.HandleIn("@own", "look", answer("own"))
	w.HandleIn("@own", "only", answer("only"))
	c := w.user("u")
	for frame, by := range map[string]string{
		`{"id":1,"type":"look"}`: "all", `{"id":1,"type":"look","channel":"room:1"}`: "all", `{"id":1,"type":"look","channel":"@other"}`: "all",
		`{"id":1,"type":"look","channel":7}`: "all", `{"id":1,"type":"look","channel":"@own"}`: "own", `{"id":1,"type":"look","channel":"\u0040own"}`: "own",
		`{"id":1,"type":"only","channel":"@own"}`: "only",
	} {
		c.Send(frame)
		if f := c.Expect("ok"); f["by"] != by {
			t.Errorf("%s: got %v, want %s", frame, f, by)
		}
	}
	c.Send(`{"type":"only","channel":"room:1"}`)
	c.ExpectError(fault.UnknownType, "is not a frame type")
}

func TestFramesAreLimited(t *testing.T) {
	settings := defaults()
	settings.FramesPerSecond = 5
	w := start(t, settings)
	c := w.user("u")
	for i := range 60 {
		c.Send(fmt.Sprintf(`{"type":"ping","id":%d}`, i))
	}
	pongs, limited := 0, 0
	for f := c.Next(); f["type"] != "bye"; f = c.Next() {
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
	if reason, _ := c.Out.Ended(); reason != protocol.CloseRateLimited {
		t.Errorf("closed for %+v", reason)
	}
}

func TestDropsAreTold(t *testing.T) {
	w := start(t, defaults())
	early := w.Open(session.Opening{})
	early.Drained()
	early.Nothing()
	c := w.user("u")
	c.Drained()
	c.Nothing()
	if _, err := w.Hub.Subscribe(&c.Conn, "room:1", w.Hub.Space("room"), hub.SubOptions{By: hub.Ordered}); err != nil {
		t.Fatal(err)
	}
	c.Subs()[0].Dropped(7)
	c.Drained()
	if diff := cmp.Diff(map[string]any{"type": "dropped", "channel": "room:1", "count": 7.0}, c.Next()); diff != "" {
		t.Error(diff)
	}
}

func TestByeAfterSomeLastFrames(t *testing.T) {
	w := start(t, defaults())
	c := w.user("u")
	c.ByeAfter(protocol.CloseReplaced, "another one", 250*time.Millisecond, []byte(`{"type":"msg"}`), []byte(`{"type":"notice"}`))
	c.Expect("msg")
	c.Expect("notice")
	if f := c.ExpectBye(protocol.CloseReplaced); f["after"] != 250.0 || f["message"] != "another one" {
		t.Errorf("got %v", f)
	}
	c.Bye(protocol.CloseNormal, "twice", time.Second)
	c.Nothing()
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
	if may, err := c.MayPresence(context.Background(), w.Hub.Space("room"), "room:1"); err != nil || may {
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
	clock := &countingClock{w.Clock, make(chan int64, 1000)}
	verifier, err := auth.NewVerifier(auth.Config{HMACSecret: sessiontest.Secret})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = session.NewServer(session.Config{Hub: w.Hub, Clock: clock, Verifier: verifier, Settings: defaults()})
	expires := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	c := w.Open(session.Opening{Token: w.token(auth.Identity{User: "u", Expires: auth.At(expires)})})
	if f := c.Expect("welcome"); f["expires"] != float64(expires.UnixMilli()) {
		t.Errorf("got %v", f)
	}
	if at := <-clock.asked; at < w.Clock.Now() {
		t.Errorf("the session asked to be called at %v, which is past", time.Duration(at))
	}
	c.Due(w.Clock.Now())
	if at := <-clock.asked; at < w.Clock.Now() {
		t.Errorf("the second time it asked to be called at %v, which is past", time.Duration(at))
	}
	c.Nothing()
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
				_, _ = w.Hub.PublishAll(t.Context(), false, []byte(`{"type":"msg"}`), nil)
			}
		}
	}()
	for range 500 {
		c := w.Open(session.Opening{})
		c.Send(`{"type":"connect"}`)
		c.Expect("welcome")
		c.Closed(protocol.CloseNormal, "")
	}
	close(stop)
	<-stopped
}
