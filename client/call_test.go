package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/client"
)

func TestTheClientCallsTheApplication(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		release := make(chan struct{})
		s := startWith(t, config(), func(s *skein.Server) {
			s.OnCall("add", func(_ context.Context, from *skein.Conn, data []byte) ([]byte, error) {
				return fmt.Appendf(nil, `{"user":%q,"got":%s}`, from.User(), data), nil
			})
			s.OnCall("nothing", func(context.Context, *skein.Conn, []byte) ([]byte, error) { return nil, nil })
			s.OnCall("refuse", func(context.Context, *skein.Conn, []byte) ([]byte, error) {
				return nil, &skein.Error{Code: "conflict", Message: "the round is over"}
			})
			s.OnCall("wait", func(ctx context.Context, _ *skein.Conn, _ []byte) ([]byte, error) {
				close(release)
				<-ctx.Done()
				return nil, ctx.Err()
			})
		})
		c := connect(t, s.url(), over(transport, "ann"))
		var out struct {
			User string
			Got  []int
		}
		must(t, c.Call(soon(t), "add", []int{1, 2}, &out))
		if out.User != "ann" || len(out.Got) != 2 {
			t.Errorf("the result is %+v", out)
		}
		must(t, c.Call(soon(t), "nothing", nil, nil))
		err := c.Call(soon(t), "refuse", nil, &out)
		if code(err) != client.Conflict || !strings.Contains(err.Error(), "the round is over") {
			t.Errorf("refuse gives %v", err)
		}
		if err := c.Call(soon(t), "nonsense", nil, nil); code(err) != client.NotFound {
			t.Errorf("an unknown method gives %v", err)
		}
		if err := c.Call(soon(t), "add", func() {}, nil); code(err) != client.BadRequest {
			t.Errorf("what is no JSON gives %v", err)
		}
		lost := make(chan error, 1)
		go func() { lost <- c.Call(soon(t), "wait", nil, nil) }()
		<-release
		s.verb("disconnect", map[string]any{"user": "ann", "reconnect": true})
		if err := <-lost; !errors.Is(err, client.ErrLost) {
			t.Errorf("a call whose connection is lost gives %v", err)
		}
	})
}

func TestTheServerCallsTheClient(t *testing.T) {
	onEach(t, func(t *testing.T, transport client.Transport) {
		s := start(t, config())
		c := newClient(t, s.url(), over(transport, "ann"))
		c.Handle("double", func(_ context.Context, data json.RawMessage) (any, error) {
			var n int
			err := json.Unmarshal(data, &n)
			return n * 2, err
		})
		c.Handle("refuse", func(context.Context, json.RawMessage) (any, error) {
			return nil, fmt.Errorf("no: %w", &client.Error{Code: client.Denied, Message: "not today"})
		})
		c.Handle("break", func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("password is hunter2") })
		stop := c.Handle("gone", func(context.Context, json.RawMessage) (any, error) { return nil, nil })
		stop()
		errs := collect(t, c.OnError)
		must(t, c.Connect(soon(t)))
		reply := func(method string, data any) map[string]any {
			t.Helper()
			out := s.verb("call", map[string]any{"user": "ann", "method": method, "data": data})
			return out["replies"].([]any)[0].(map[string]any)
		}
		if got := reply("double", 21); got["data"] != 42.0 {
			t.Errorf("double gives %v", got)
		}
		for method, want := range map[string]string{"refuse": "not today", "break": "internal error", "gone": "no method gone"} {
			e, _ := reply(method, nil)["error"].(map[string]any)
			if text := fmt.Sprint(e["message"]); !strings.Contains(text, want) {
				t.Errorf("%s gives %v, want %q", method, e, want)
			}
		}
		if e := errs.first(); !strings.Contains(e.Error(), "hunter2") {
			t.Errorf("the program is told %v", e)
		}
	})
}
