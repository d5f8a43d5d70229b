package client

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/skein-realtime/skein/protocol"
)

// Call calls a method of the application behind the server and decodes its result
// into out. in may be nil, and so may out. A lost connection is [ErrLost]: the call
// is not repeated. What the application refuses is an [*Error].
func (c *Client) Call(ctx context.Context, method string, in, out any) error {
	o := outgoing{Type: protocol.TypeCall, Method: method}
	if in != nil {
		raw, err := encodeData("in", in)
		if err != nil {
			return err
		}
		o.Data = raw
	}
	f, err := c.ask(ctx, o, never)
	if err != nil || out == nil {
		return err
	}
	data := f.data()
	if data == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

// Handler answers a call by the server. data is raw JSON, nil when there is none;
// ctx ends with the connection. The result is encoded as JSON. An error that is an
// [*Error] is told with its code and message; any other is told as internal, and
// goes to OnError.
type Handler func(ctx context.Context, data json.RawMessage) (any, error)

// Handle lets fn answer calls of a method by the server. Calls run side by side in
// goroutines of their own, at most 16 at a time. Of two functions for one method
// the last one counts. stop ends it.
func (c *Client) Handle(method string, fn Handler) (stop func()) { return c.calls.handle(method, fn) }

// maxCalls is how many calls by the server run at once.
const maxCalls = 16

// calls are the methods that the server may call.
type calls struct {
	mu       sync.Mutex // guards all below
	handlers map[string]*Handler
	running  int
}

func (s *calls) handle(method string, fn Handler) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handlers == nil {
		s.handlers = map[string]*Handler{}
	}
	s.handlers[method] = &fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.handlers[method] == &fn {
			delete(s.handlers, method)
		}
	}
}

// begin finds the function of a method, and a place for it to run.
func (s *calls) begin(method string) (Handler, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn := s.handlers[method]
	switch {
	case fn == nil:
		return nil, refused(NotFound, "there is no method %s", method)
	case s.running == maxCalls:
		return nil, refused(Unavailable, "%d calls are running", maxCalls)
	}
	s.running++
	return *fn, nil
}

func (s *calls) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// start answers a call of the server.
func (s *calls) start(k *conn, f *incoming) {
	id, data := f.raw("id"), f.data()
	fn, err := s.begin(f.text("method"))
	if err != nil {
		k.reply(id, nil, err)
		return
	}
	started := k.c.life.start(func() {
		defer s.end()
		result, err := fn(k.ctx, data)
		k.reply(id, result, err)
	})
	if !started {
		s.end()
	}
}

// reply sends the result of a call.
func (k *conn) reply(id json.RawMessage, result any, err error) {
	o := outgoing{Type: protocol.TypeReply, ID: id}
	if err == nil {
		o.Data, err = encodeData("result", result)
	}
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			o.Error = &replyError{e.Code, e.Message}
		} else {
			o.Error = &replyError{Internal, "internal error"}
			k.c.fault(err)
		}
		o.Data = nil
	}
	frame, err := encode(&o)
	if err != nil {
		k.c.fault(err)
		return
	}
	k.send(frame)
}
