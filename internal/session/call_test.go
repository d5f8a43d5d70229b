package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func TestClientsCallTheApplication(t *testing.T) {
	w := start(t, defaults())
	w.HandleCall("double", func(_ context.Context, s *session.Session, data []byte) ([]byte, error) {
		return fmt.Appendf(nil, `{"by":%q,"data":[%s,%s]}`, s.User(), data, data), nil
	})
	w.HandleCall("fail", func(context.Context, *session.Session, []byte) ([]byte, error) { return nil, errors.New("a secret") })
	w.HandleCall("deny", func(context.Context, *session.Session, []byte) ([]byte, error) {
		return nil, fault.New(fault.Denied, "not you")
	})
	w.HandleCall("quiet", func(context.Context, *session.Session, []byte) ([]byte, error) { return nil, nil })
	if diff := cmp.Diff([]string{"deny", "double", "fail", "quiet"}, w.Methods()); diff != "" {
		t.Error(diff)
	}
	c := w.user("ann")
	tests := []struct {
		frame string
		want  map[string]any
	}{
		{`{"type":"call","id":1,"method":"double","data":5}`, map[string]any{"type": "ok", "id": 1.0, "data": map[string]any{"by": "ann", "data": []any{5.0, 5.0}}}},
		{`{"type":"call","id":"q","method":"quiet"}`, map[string]any{"type": "ok", "id": "q", "data": nil}},
		{`{"type":"call","id":2,"method":"fail"}`, map[string]any{"type": "error", "id": 2.0, "code": "internal", "message": "internal error"}},
		{`{"type":"call","method":"deny"}`, map[string]any{"type": "error", "code": "denied", "message": "not you"}},
		{`{"type":"call","id":3,"method":"none"}`, map[string]any{"type": "error", "id": 3.0, "code": "not_found", "message": `method: "none" is not known`}},
		{`{"type":"call","id":4}`, map[string]any{"type": "error", "id": 4.0, "code": "bad_request", "message": "method: is missing"}},
	}
	for _, tt := range tests {
		c.Send(tt.frame)
		if diff := cmp.Diff(tt.want, c.Next()); diff != "" {
			t.Errorf("%s: %s", tt.frame, diff)
		}
	}
	c.Closed(protocol.CloseNormal, "")
}

func TestCallsOfOneClientAreBoundedAndEndWithIt(t *testing.T) {
	w := start(t, defaults())
	begun, ended := make(chan struct{}, 32), make(chan error, 32)
	w.HandleCall("hang", func(ctx context.Context, _ *session.Session, _ []byte) ([]byte, error) {
		begun <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	c := w.user("ann")
	for i := range 17 {
		c.Send(fmt.Sprintf(`{"type":"call","id":%d,"method":"hang"}`, i))
	}
	if f := c.ExpectError(fault.Unavailable, "16 calls of this connection are still running"); f["id"] != 16.0 || f["retry_after"] != 1000.0 {
		t.Errorf("got %v", f)
	}
	for range 16 {
		<-begun
	}
	c.Closed(protocol.CloseNormal, "")
	for range 16 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// ask calls a method of the client in the background.
func ask(c *sessiontest.Client) chan error {
	ch := make(chan error, 1)
	go func() {
		data, err := c.Call(context.Background(), "where", []byte(`{"q":1}`))
		if err == nil {
			err = errors.New(string(data))
		}
		ch <- err
	}()
	return ch
}

func TestTheServerCallsAClient(t *testing.T) {
	w := start(t, defaults())
	c := w.user("ann")
	tests := []struct {
		reply string // without its id
		want  string
	}{
		{`"data":{"x":1}`, `{"x":1}`},
		{`"data":null`, ``},
		{`"error":"no"`, "internal: no"},
		{`"error":{"code":"denied","message":"not now"}`, "denied: not now"},
		{`"error":{"code":"made_up","message":"m"}`, "internal: m"},
		{`"error":{}`, "internal: the client answered with an error"},
		{`"error":[]`, "internal: the client answered with an error"},
		{`"error":"both","data":1`, "internal: both"},
	}
	for i, tt := range tests {
		answer := ask(c)
		if diff := cmp.Diff(map[string]any{"type": "call", "id": float64(i + 1), "method": "where", "data": map[string]any{"q": 1.0}}, c.Next()); diff != "" {
			t.Error(diff)
		}
		c.Send(fmt.Sprintf(`{"type":"reply","id":%d,%s}`, i+1, tt.reply))
		if got := (<-answer).Error(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.reply, got, tt.want)
		}
	}
	c.Send(`{"type":"reply","id":1,"data":2}`)
	c.ExpectError(fault.NotFound, "no call is waiting for this reply")
	c.Send(`{"type":"reply"}`)
	c.ExpectError(fault.BadRequest, "id: is missing")
	c.Send(`{"type":"reply","id":"one"}`)
	c.ExpectError(fault.BadRequest, "id: must be an integer, not a string")
	fresh := w.user("bob")
	fresh.Send(`{"type":"reply","id":1}`)
	fresh.ExpectError(fault.NotFound, "no call is waiting for this reply")
}

func TestACallThatIsNotAnswered(t *testing.T) {
	w := start(t, defaults())
	c := w.user("ann")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Call(ctx, "where", nil); fault.Of(err).Code != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	c.Expect("call")
	c.Send(`{"type":"reply","id":1}`)
	c.ExpectError(fault.NotFound, "no call is waiting")
	var open []chan error
	for range 64 {
		open = append(open, ask(c))
		c.Expect("call")
	}
	if _, err := c.Call(context.Background(), "where", nil); fault.Of(err).Code != fault.Unavailable {
		t.Errorf("over the bound: got %v", err)
	}
	c.Closed(protocol.CloseNormal, "")
	for _, ch := range open {
		if err := <-ch; fault.Of(err).Code != fault.NotFound {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Call(context.Background(), "where", nil); fault.Of(err).Code != fault.NotFound {
		t.Errorf("after the end: got %v", err)
	}
}

func TestOKFrame(t *testing.T) {
	if b := session.OKFrame(nil, nil); b != nil {
		t.Errorf("without an id: %s", b)
	}
	got := session.OKFrame([]byte(`"x"`), func(b []byte) []byte { return append(b, `,"a":1`...) })
	if string(got) != `{"type":"ok","id":"x","a":1}` {
		t.Errorf("got %s", got)
	}
	if got := string(session.Subscribed("room:\"1", "server", nil)); got != `{"type":"subscribed","channel":"room:\"1","reason":"server"}` {
		t.Errorf("got %s", got)
	}
}

func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		`{"type":"connect"}`, `{"type":"ping","id":1}`, `{"type":"call","method":"x","data":{}}`, `{"type":"reply","id":1,"error":{"code":"denied"}}`,
		`{"type":"refresh","token":"x"}`, `{"type":"sub","channel":"room:1"}`, `[]`, `{"type":5}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		settings := defaults()
		settings.Anonymous = true
		w := start(t, settings)
		c := w.Open(session.Opening{})
		c.Receive(append([]byte(nil), frame...))
		c.Send(`{"type":"connect"}`)
		c.Receive(append([]byte(nil), frame...))
		c.Closed(protocol.CloseNormal, "")
		if err := protocol.Valid(frame, 8); err == nil || errors.Is(err, protocol.ErrDepth) {
			return
		}
		c.ExpectError(fault.BadFrame, "")
	})
}
