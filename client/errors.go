package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
)

// Code is one of the words of the protocol for what went wrong
// (spec/protocol.md, section 9). Servers may know more of them than are here.
type Code string

// The codes, each with what it means to the one who gets it.
const (
	BadFrame     = Code(fault.BadFrame)     // not JSON, not an object, or a binary message
	BadRequest   = Code(fault.BadRequest)   // a member is missing or wrong; the message names it
	UnknownType  = Code(fault.UnknownType)  // the server does not know this kind of frame
	Unauthorized = Code(fault.Unauthorized) // no identity, or a token that is not accepted
	Denied       = Code(fault.Denied)       // known, but without the right
	NotFound     = Code(fault.NotFound)     // no such namespace, method or message
	Conflict     = Code(fault.Conflict)     // a condition does not hold, or a key was used for other content
	TooLarge     = Code(fault.TooLarge)     // over a limit; the message names it
	RateLimited  = Code(fault.RateLimited)  // too often; RetryAfter says when to come back
	Unavailable  = Code(fault.Unavailable)  // not now; RetryAfter says when to come back
	Internal     = Code(fault.Internal)     // the fault of the other side
)

// Error is what the server has refused, or what this package refuses in its
// place because the server would.
type Error struct {
	Code       Code
	Message    string        // for people; its wording may change
	Channel    string        // that it is about; empty: none
	RetryAfter time.Duration // zero: waiting does not help
}

// Error implements error.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Message
}

// temporary tells whether the same request may be accepted after a while.
func (e *Error) temporary() bool {
	return e.RetryAfter > 0 && (e.Code == RateLimited || e.Code == Unavailable)
}

// What a call returns when it is not the server that has refused it.
var (
	// ErrClosed: the client is closed, by Close or because the server does not want
	// it back. In the second case the error that comes with it wraps an *EndError.
	ErrClosed = errors.New("the client is closed")
	// ErrLost: the connection was lost before the answer came, and the request is not
	// one that may be repeated. It may or may not have been carried out.
	ErrLost = errors.New("the connection was lost before the answer came")
	// ErrUnsubscribed: the subscription has ended while it was being waited for or read.
	ErrUnsubscribed = errors.New("the subscription has ended")
)

// EndError is why the server ended a connection.
type EndError struct {
	Word      string // of the `bye` frame, such as going_away; empty: there was none
	Message   string
	Status    int           // the WebSocket close code; 0: not known
	Reconnect bool          // whether the client is to come back
	After     time.Duration // how long it is to wait before that; negative: not said
}

// Error implements error.
func (e *EndError) Error() string {
	text := "the server ended the connection"
	if e.Word != "" {
		text += ": " + e.Word
	} else if e.Status != 0 {
		text += fmt.Sprintf(": close code %d", e.Status)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// with adds the close code that has followed a `bye`.
func (e *EndError) with(err error) *EndError {
	var end *EndError
	if errors.As(err, &end) {
		e.Status = end.Status
	}
	return e
}

// refused makes the error that the server would answer with.
func refused(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// wrong makes a bad_request that names the argument.
func wrong(field, format string, args ...any) *Error {
	return refused(BadRequest, field+": "+format, args...)
}

// local turns a check of the protocol package into this package's error.
func local(err error) error {
	if err == nil {
		return nil
	}
	f := fault.Of(err)
	return &Error{Code: Code(f.Code), Message: f.Message}
}
