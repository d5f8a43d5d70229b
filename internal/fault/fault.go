// Package fault is the one error type of the project: a code that clients can
// act on, a sentence for people, and, where it helps, the field that was wrong
// and how long to wait.
//
// Only the edges turn codes into HTTP statuses, close codes or exit codes; see
// [Code.HTTPStatus] for the one table. It stores nothing and starts nothing.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code is one of the words of the protocol's "Errors" section.
type Code string

// The codes, each with what it means to the one who gets it.
const (
	BadFrame     Code = "bad_frame"    // not JSON, not an object, or a binary message
	BadRequest   Code = "bad_request"  // a field is missing or wrong; Message names it
	UnknownType  Code = "unknown_type" // no such frame type
	Unauthorized Code = "unauthorized" // no identity, or one that has expired
	Denied       Code = "denied"       // known, but without the right
	NotFound     Code = "not_found"    // no such channel, connection, method or verb
	Conflict     Code = "conflict"     // a condition no longer holds, or a key was used for other content
	TooLarge     Code = "too_large"    // over a configured limit
	RateLimited  Code = "rate_limited" // too often; RetryAfter says when to come back
	Unavailable  Code = "unavailable"  // not now; RetryAfter says when to come back
	Internal     Code = "internal"     // our fault
)

// Codes lists every code once, in the order of the documentation.
var Codes = []Code{BadFrame, BadRequest, UnknownType, Unauthorized, Denied, NotFound, Conflict, TooLarge, RateLimited, Unavailable, Internal}

// HTTPStatus is the status that carries the code over HTTP. Every code of
// [Codes] has one; an unknown code is a 500.
func (c Code) HTTPStatus() int {
	switch c {
	case BadFrame, BadRequest, UnknownType:
		return 400
	case Unauthorized:
		return 401
	case Denied:
		return 403
	case NotFound:
		return 404
	case Conflict:
		return 409
	case TooLarge:
		return 413
	case RateLimited:
		return 429
	case Unavailable:
		return 503
	default:
		return 500
	}
}

// Error is what every operation that a client can cause to fail returns.
type Error struct {
	Code       Code
	Message    string        // a sentence for people; shown to clients, so it holds no secrets
	Field      string        // JSON path of the wrong field ("to.channel"); empty when no one field is to blame
	RetryAfter time.Duration // zero when waiting does not help
	Err        error         // the cause, for the log only; may be nil
}

// New makes an error with a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Field makes a bad_request that names the field and says what is wrong with it.
func Field(field, format string, args ...any) *Error {
	return &Error{Code: BadRequest, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// Wrap makes an error that keeps its cause for the log.
func Wrap(code Code, err error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Err: err}
}

// After returns a copy that tells the client how long to wait.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// RetryAfterMilli is RetryAfter in milliseconds, rounded up: who waits as long as
// told is not refused again for having come too early.
func (e *Error) RetryAfterMilli() int64 {
	return int64((e.RetryAfter + time.Millisecond - 1) / time.Millisecond)
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of returns err as an *Error. Any other error becomes an internal one whose
// message gives nothing away; nil stays nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal, Message: "internal error", Err: err}
}
