package outage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/store"
)

func TestFault(t *testing.T) {
	bad := fault.Field("limit", "is wrong")
	for _, tt := range []struct {
		err   error
		code  fault.Code
		after time.Duration
	}{
		{fmt.Errorf("reading: %w", context.DeadlineExceeded), fault.Unavailable, outage.RetryAfter},
		{context.Canceled, fault.Unavailable, outage.RetryAfter},
		{fmt.Errorf("writing: %w", store.ErrUnavailable), fault.Unavailable, outage.RetryAfter},
		{store.ErrClosed, fault.Unavailable, 0},
		{store.ErrTooLarge, fault.TooLarge, 0},
		{fmt.Errorf("looking: %w", bad), fault.BadRequest, 0},
		{errors.New("the disk speaks in riddles"), fault.Internal, 0},
	} {
		got := outage.Fault(tt.err)
		if got.Code != tt.code || got.RetryAfter != tt.after {
			t.Errorf("%v: got %s after %v, want %s after %v", tt.err, got.Code, got.RetryAfter, tt.code, tt.after)
		}
	}
	if got := outage.Fault(nil); got != nil {
		t.Errorf("nothing is wrong, and it gives %v", got)
	}
}
