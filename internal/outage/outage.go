// Package outage turns errors of a store into what callers are told: above all that it
// cannot be reached now, and when to come back. It stores nothing and starts no goroutine.
package outage

import (
	"context"
	"errors"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/store"
)

// RetryAfter is when callers are told to come back.
const RetryAfter = time.Second

// Fault makes an error of the store one of ours: unavailable where the store does not
// work or was not fast enough, too_large where that is so, and what [fault.Of] says of any
// other. nil stays nil.
func Fault(err error) *fault.Error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "the store did not answer in time").After(RetryAfter)
	case errors.Is(err, store.ErrClosed):
		return fault.Wrap(fault.Unavailable, err, "the server is shutting down")
	case errors.Is(err, store.ErrUnavailable):
		return fault.Wrap(fault.Unavailable, err, "nothing can be stored or read now").After(RetryAfter)
	case errors.Is(err, store.ErrTooLarge):
		return fault.Wrap(fault.TooLarge, err, "the store cannot keep so much")
	}
	return fault.Of(err)
}
