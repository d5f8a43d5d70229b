package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
)

func TestEveryCodeHasItsStatus(t *testing.T) {
	want := map[fault.Code]int{
		fault.BadFrame: 400, fault.BadRequest: 400, fault.UnknownType: 400, fault.Unauthorized: 401, fault.Denied: 403,
		fault.NotFound: 404, fault.Conflict: 409, fault.TooLarge: 413, fault.RateLimited: 429, fault.Unavailable: 503, fault.Internal: 500,
	}
	got := map[fault.Code]int{}
	for _, c := range fault.Codes {
		if _, double := got[c]; double {
			t.Errorf("%s stands twice in Codes", c)
		}
		got[c] = c.HTTPStatus()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := fault.Code("no such code").HTTPStatus(); s != 500 {
		t.Errorf("an unknown code has status %d, want 500", s)
	}
}

func TestOfFindsTheFaultWithinAnyError(t *testing.T) {
	cause := errors.New("disk on fire")
	denied := fault.New(fault.Denied, "no right to %s", "publish")
	tests := []struct {
		name string
		err  error
		want fault.Error
	}{
		{"a fault", denied, fault.Error{Code: fault.Denied, Message: "no right to publish"}},
		{"a wrapped fault", fmt.Errorf("publish: %w", denied), fault.Error{Code: fault.Denied, Message: "no right to publish"}},
		{"a joined fault", errors.Join(cause, denied), fault.Error{Code: fault.Denied, Message: "no right to publish"}},
		{"any other error tells nothing", cause, fault.Error{Code: fault.Internal, Message: "internal error", Err: cause}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := fault.Of(tt.err)
			if got.Code != tt.want.Code || got.Message != tt.want.Message || got.Err != tt.want.Err {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	if got := fault.Of(nil); got != nil {
		t.Errorf("Of(nil) is %v", got)
	}
}

func TestAFieldErrorNamesTheField(t *testing.T) {
	e := fault.Field("to.channel", "%q is wrong", "x")
	want := fault.Error{Code: fault.BadRequest, Field: "to.channel", Message: `to.channel: "x" is wrong`}
	if *e != want {
		t.Errorf("got %+v, want %+v", *e, want)
	}
}

func TestAWrappedCauseIsForTheLogOnly(t *testing.T) {
	cause := errors.New("cause")
	e := fault.Wrap(fault.Unavailable, cause, "not now")
	if e.Message != "not now" || e.Error() != "unavailable: not now: cause" || !errors.Is(e, cause) {
		t.Errorf("got message %q, text %q", e.Message, e.Error())
	}
	if text := fault.New(fault.NotFound, "gone").Error(); text != "not_found: gone" {
		t.Errorf("got %q", text)
	}
}

func TestAfterLeavesTheOriginalAlone(t *testing.T) {
	e := fault.New(fault.RateLimited, "too often")
	later := e.After(time.Second)
	if e.RetryAfter != 0 || later.RetryAfter != time.Second || later.Message != e.Message {
		t.Errorf("got %v and %v", e.RetryAfter, later.RetryAfter)
	}
}
