package session

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

const maxToken = 8 << 10

// connect answers `connect`: the client says who it is.
func connect(ctx context.Context, s *Session, f *protocol.Frame) error {
	if s.welcomed.Load() {
		return fault.New(fault.BadRequest, "connect: already connected")
	}
	token, err := f.String("token", maxToken)
	if err != nil {
		return err
	}
	device, err := f.String("device", protocol.MaxDevice)
	if err == nil {
		err = protocol.DeviceID("device", device)
	}
	if err != nil {
		return err
	}
	identity := auth.Identity{Device: device}
	known := token != "" && !s.srv.Opaque()
	if known {
		identity, err = s.srv.cfg.Verifier.Verify(ctx, token)
		if err != nil {
			s.fail(f.ID, "", fault.Of(err))
			s.refuse(fault.Of(err))
			return nil
		}
		if identity.Device == "" {
			identity.Device = device
		}
	}
	var o *Opening
	if s.early != nil {
		o, s.early.opening = s.early.opening, nil
	}
	c := o.connecting(s, identity, known)
	c.Data = f.Raw("data")
	if token != "" && !known {
		c.Token = token
	}
	if err := s.srv.Judge(ctx, c); err != nil {
		e := fault.Of(err)
		s.fail(f.ID, "", e)
		s.refuse(e)
		return nil
	}
	if !c.Accept && !s.srv.settings.Load().Anonymous {
		e := fault.New(fault.Unauthorized, "token: is missing, and anonymous connections are not allowed")
		if s.srv.Asks() {
			e = fault.New(fault.Unauthorized, "the application does not know who this is, and anonymous connections are not allowed")
		}
		s.fail(f.ID, "", e)
		s.refuse(e)
		return nil
	}
	s.welcome(f.ID, c)
	return nil
}

// refresh answers `refresh`: a newer token of the same user.
func refresh(ctx context.Context, s *Session, f *protocol.Frame) error {
	token, err := f.Required("token", maxToken)
	if err != nil {
		return err
	}
	identity, err := s.srv.cfg.Verifier.Verify(ctx, token)
	if err != nil {
		return err
	}
	old := s.Identity()
	if identity.User != old.User {
		return fault.New(fault.Denied, "token: it is another user's; open a new connection for that")
	}
	if err := s.srv.Admits(identity); err != nil {
		return err
	}
	if identity.Device != old.Device {
		identity.Device = old.Device
		if err := s.srv.Admits(identity); err != nil {
			return err
		}
	}
	s.rebound(identity)
	if old.Expires.IsZero() || identity.Expires < old.Expires {
		s.watchExpiry(identity) // else the deadline of the old one looks again
	}
	s.OK(f, func(b []byte) []byte {
		if identity.Expires.IsZero() {
			return b
		}
		return strconv.AppendInt(append(b, `,"expires":`...), int64(identity.Expires), 10)
	})
	s.Recheck()
	return nil
}

// ping answers `ping` with `pong`.
func ping(_ context.Context, s *Session, f *protocol.Frame) error {
	b := append([]byte(nil), `{"type":"pong"`...)
	if f.ID != nil {
		b = append(append(b, `,"id":`...), f.ID...)
	}
	s.send(append(b, '}'))
	return nil
}

// maxResult bounds the nesting of what an application answers.
const maxResult = 1 << 10

// Calls by and to one connection that may be under way at once.
const (
	maxCalls = 16
	maxAsked = 64
)

// call answers `call` with what the application's handler makes of it. The
// handler has a goroutine of its own, since it may itself wait for the client.
func call(_ context.Context, s *Session, f *protocol.Frame) error {
	method, err := f.Required("method", protocol.MaxMethod)
	if err == nil {
		err = protocol.MethodName("method", method)
	}
	if err != nil {
		return err
	}
	handler := s.srv.ownCall(method)
	if handler == nil {
		handler = s.srv.calls[method]
	}
	if handler == nil && s.srv.Hooks().Call == nil {
		return fault.New(fault.NotFound, "method: %q is not known", method)
	}
	if handler == nil {
		handler = func(ctx context.Context, s *Session, data []byte) ([]byte, error) {
			result, known, err := s.srv.Hooks().Call(ctx, s, method, data)
			if err == nil && !known {
				err = fault.New(fault.NotFound, "method: %q is not known", method)
			}
			return result, err
		}
	}
	frameID := append([]byte(nil), f.ID...)
	if f.ID == nil {
		frameID = nil
	}
	data := append([]byte(nil), f.Raw("data")...)
	s.mu.Lock()
	calls := s.callsLocked()
	if calls.running >= maxCalls {
		s.mu.Unlock()
		return fault.New(fault.Unavailable, "%d calls of this connection are still running", maxCalls).After(time.Second)
	}
	calls.running++
	s.mu.Unlock()
	s.srv.running.Add(1)
	go func() {
		defer s.srv.running.Done()
		result, err := handler(calls.ctx, s, data)
		s.mu.Lock()
		calls.running--
		s.mu.Unlock()
		if err == nil && len(result) > 0 {
			if bad := protocol.Valid(result, maxResult); bad != nil {
				err = fault.Wrap(fault.Internal, fmt.Errorf("the result of %s is not JSON: %w", method, bad), "internal error")
			}
		}
		if err != nil {
			s.fail(frameID, "", fault.Of(err))
			return
		}
		s.OK(&protocol.Frame{ID: frameID}, func(b []byte) []byte {
			return protocol.AppendData(append(b, `,"data":`...), result)
		})
	}()
	return nil
}

// answer is what a client said to a call.
type answer struct {
	data []byte
	err  error
}

// Call calls a method of the client and waits for its reply: raw JSON in and
// out. Errors: unavailable when the client has too many calls open or does not
// answer before ctx ends, not_found when it is gone, and whatever the client
// says.
func (s *Session) Call(ctx context.Context, method string, data []byte) ([]byte, error) {
	ch := make(chan answer, 1)
	s.mu.Lock()
	if s.ended.Load() {
		s.mu.Unlock()
		return nil, fault.New(fault.NotFound, "the connection has ended")
	}
	calls := s.callsLocked()
	if len(calls.asked) >= maxAsked {
		s.mu.Unlock()
		return nil, fault.New(fault.Unavailable, "%d calls to this connection are still open", maxAsked).After(time.Second)
	}
	calls.last++
	n := calls.last
	calls.asked[n] = ch
	s.mu.Unlock()
	b := strconv.AppendUint(append([]byte(nil), `{"type":"call","id":`...), n, 10)
	b = protocol.AppendString(append(b, `,"method":`...), method)
	b = append(protocol.AppendData(append(b, `,"data":`...), data), '}')
	s.send(b)
	select {
	case a := <-ch:
		return a.data, a.err
	case <-ctx.Done():
		s.mu.Lock()
		delete(calls.asked, n)
		s.mu.Unlock()
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "the client did not answer in time")
	}
}

// reply takes a client's answer to a call. One that comes too late, or twice,
// is an error to the client and nothing else.
func reply(_ context.Context, s *Session, f *protocol.Frame) error {
	if f.ID == nil {
		return fault.Field("id", "is missing")
	}
	n, err := f.Int("id", 0, 1, protocol.MaxInt)
	if err != nil {
		return err
	}
	a := answer{data: append([]byte(nil), f.Raw("data")...)}
	if raw := f.Raw("error"); raw != nil {
		a = answer{err: &ClientError{clientError(raw)}}
	}
	if !s.answer(uint64(n), a) {
		return fault.New(fault.NotFound, "id: no call is waiting for this reply")
	}
	return nil
}

// Answer takes the answer to a call from a transport that has calls of its own;
// data is raw JSON and the session's to keep. False: nobody waits for it.
func (s *Session) Answer(call uint64, data []byte) bool {
	return s.answer(call, answer{data: data})
}

func (s *Session) answer(call uint64, a answer) bool {
	s.mu.Lock()
	var ch chan answer
	if s.calls != nil {
		ch = s.calls.asked[call]
		delete(s.calls.asked, call)
	}
	s.mu.Unlock()
	if ch == nil {
		return false
	}
	ch <- a
	return true
}

// ClientError is what a client has answered as an error.
type ClientError struct{ Fault *fault.Error }

// Error implements error.
func (e *ClientError) Error() string { return e.Fault.Error() }

// Unwrap gives the error itself.
func (e *ClientError) Unwrap() error { return e.Fault }

// clientError reads the error of a reply: an object with code and message, or a
// string.
func clientError(raw []byte) *fault.Error {
	if s, ok := protocol.Unquote(raw); ok {
		return &fault.Error{Code: fault.Internal, Message: s}
	}
	var o protocol.Object
	e := &fault.Error{Code: fault.Internal, Message: "the client answered with an error"}
	if o.Read(raw, 8) != nil {
		return e
	}
	if m, err := o.String("message", 1<<10); err == nil && m != "" {
		e.Message = m
	}
	if code, err := o.String("code", 64); err == nil {
		for _, known := range fault.Codes {
			if string(known) == code {
				e.Code = known
			}
		}
	}
	return e
}
