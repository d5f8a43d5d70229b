package skein_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein"
)

// A client calls a method of the application.
func TestClientCallsTheApplication(t *testing.T) {
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			cfg := open()
			cfg.WebSocket.Driver = driver
			log := &logbook{}
			cfg.Logger = log.logger()
			gone := make(chan error, 1)
			s := startWith(t, cfg, func(s *skein.Server) {
				s.OnCall("add", func(_ context.Context, from *skein.Conn, data []byte) ([]byte, error) {
					return fmt.Appendf(nil, `{"user":%q,"device":%q,"got":%s}`, from.User(), from.Device(), data), nil
				})
				s.OnCall("refuse", func(context.Context, *skein.Conn, []byte) ([]byte, error) {
					return nil, &skein.Error{Code: "conflict", Message: "the round is over"}
				})
				s.OnCall("break", func(context.Context, *skein.Conn, []byte) ([]byte, error) {
					return nil, errors.New("password is hunter2")
				})
				s.OnCall("wait", func(ctx context.Context, _ *skein.Conn, _ []byte) ([]byte, error) {
					<-ctx.Done()
					gone <- ctx.Err()
					return nil, ctx.Err()
				})
			})
			c := s.dial("user=ann&device=phone")
			c.expect("welcome")
			ok := c.do(`{"type":"call","method":"add","data":[1,2]}`)
			same(t, "the answer", ok["data"], map[string]any{"user": "ann", "device": "phone", "got": []any{1.0, 2.0}})
			if e := c.fails(`{"type":"call","method":"refuse"}`, "conflict"); e["message"] != "the round is over" {
				t.Errorf("got %v", e)
			}
			if e := c.fails(`{"type":"call","method":"break"}`, "internal"); e["message"] != "internal error" {
				t.Errorf("a cause went to the client: %v", e)
			}
			if text := log.String(); !strings.Contains(text, "hunter2") {
				t.Errorf("the log does not say what broke: %q", text)
			}
			c.fails(`{"type":"call","method":"nonsense"}`, "not_found")
			c.fails(`{"type":"call"}`, "bad_request")
			c.send(`{"type":"call","method":"wait"}`)
			c.lives() // a call that runs holds nothing up
			_ = c.ws.CloseNow()
			select {
			case err := <-gone:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("its context ended with %v", err)
				}
			case <-time.After(patience):
				t.Error("a call outlived its connection")
			}
		})
	}
}

// A connection cannot have more than a few calls running.
func TestClientCallsAreBounded(t *testing.T) {
	release := make(chan struct{})
	s := startWith(t, open(), func(s *skein.Server) {
		s.OnCall("wait", func(context.Context, *skein.Conn, []byte) ([]byte, error) {
			<-release
			return []byte(`1`), nil
		})
	})
	c := s.user("ann")
	for i := range 16 {
		c.send(fmt.Sprintf(`{"type":"call","method":"wait","id":%d}`, i))
	}
	if e := c.fails(`{"type":"call","method":"wait"}`, "unavailable"); e["retry_after"] == nil {
		t.Errorf("got %v, want retry_after", e)
	}
	close(release)
	for range 16 {
		c.expect("ok")
	}
	c.send(`{"type":"call","method":"wait","id":1}`)
	c.expect("ok")
}

// The application calls a client.
func TestApplicationCallsAClient(t *testing.T) {
	each(t, open, func(t *testing.T, s *testServer) {
		c := s.user("ann")
		type answer struct {
			data string
			err  error
		}
		call := func(ctx context.Context) chan answer {
			ch := make(chan answer, 1)
			go func() {
				data, err := s.CallConnection(ctx, c.ID, "ask", []byte(`{"q":1}`))
				ch <- answer{string(data), err}
			}()
			return ch
		}
		code := func(err error) string {
			if e := new(skein.Error); errors.As(err, &e) {
				return string(e.Code)
			}
			return fmt.Sprint(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()

		ch := call(ctx)
		f := c.expect("call")
		if f["method"] != "ask" || f["data"].(map[string]any)["q"] != 1.0 {
			t.Errorf("got %v", f)
		}
		c.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":"yes"}`, f["id"]))
		if a := <-ch; a.data != `"yes"` || a.err != nil {
			t.Errorf("got %v", a)
		}
		for reply, want := range map[string]string{
			`"error":{"code":"denied","message":"not you"}`: "denied",
			`"error":"no"`:                     "internal",
			`"error":{"code":"made up"}`:       "internal",
			`"error":{"message":"x"},"data":1`: "internal",
		} {
			ch = call(ctx)
			c.send(fmt.Sprintf(`{"type":"reply","id":%v,%s}`, c.expect("call")["id"], reply))
			if a := <-ch; code(a.err) != want {
				t.Errorf("%s: got %v, want the code %s", reply, a.err, want)
			}
		}
		// Two at once, answered the other way round.
		first := call(ctx)
		one := c.expect("call")["id"]
		second := call(ctx)
		two := c.expect("call")["id"]
		c.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":2}`, two))
		c.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":1}`, one))
		if a, b := <-first, <-second; a.data != "1" || b.data != "2" {
			t.Errorf("got %v and %v", a, b)
		}
		c.send(fmt.Sprintf(`{"type":"reply","id":%v,"data":1}`, two))
		if e := c.expect("error"); e["code"] != "not_found" {
			t.Errorf("a second reply: %v", e)
		}
		// Nobody answers in time.
		short, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer stop()
		ch = call(short)
		late := c.expect("call")["id"]
		if a := <-ch; code(a.err) != "unavailable" || !errors.Is(a.err, context.DeadlineExceeded) {
			t.Errorf("no answer: %v, want unavailable", a.err)
		}
		c.send(fmt.Sprintf(`{"type":"reply","id":%v}`, late))
		if e := c.expect("error"); e["code"] != "not_found" {
			t.Errorf("a reply that is late: %v", e)
		}
		// The client leaves meanwhile.
		ch = call(ctx)
		c.expect("call")
		_ = c.ws.CloseNow()
		if a := <-ch; code(a.err) != "not_found" {
			t.Errorf("the client left: %v, want not_found", a.err)
		}
		if a := <-call(ctx); code(a.err) != "not_found" {
			t.Errorf("the client is gone: %v, want not_found", a.err)
		}
		if _, err := s.CallConnection(ctx, "x", "ask", nil); code(err) != "bad_request" {
			t.Errorf("no id: %v, want bad_request", err)
		}
	})
}
