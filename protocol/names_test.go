package protocol_test

import (
	"strings"
	"testing"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

func TestNamespace(t *testing.T) {
	long := strings.Repeat("a", 64)
	tests := []struct {
		channel string
		want    string
		err     string
	}{
		{"room:7", "room", ""},
		{"a:b", "a", ""},
		{"7:b", "7", ""},
		{"a_b.c-d:x", "a_b.c-d", ""},
		{"room:a:b:c", "room", ""},
		{"room::", "room", ""},
		{"room:é😀/@#*", "room", ""},
		{long + ":x", long, ""},
		{"room:" + strings.Repeat("x", protocol.MaxChannel-5), "room", ""},
		{"", "", "is missing"},
		{"room", "", "is not a channel name"},
		{":x", "", "is not a channel name"},
		{"room:", "", "is not a channel name"},
		{"@direct", "", "is not a channel name"},
		{"@user:1", "", "a namespace is lower-case letters"},
		{"Room:1", "", "a namespace is lower-case letters"},
		{"_a:1", "", "a namespace is lower-case letters"},
		{"-a:1", "", "a namespace is lower-case letters"},
		{"é:1", "", "a namespace is lower-case letters"},
		{"a b:1", "", "a namespace is lower-case letters"},
		{long + "a:x", "", "a namespace is lower-case letters"},
		{"room:a b", "", "no spaces or control characters"},
		{"room:\n", "", "no spaces or control characters"},
		{"room:\x7f", "", "no spaces or control characters"},
		{"room:\u0085", "", "no spaces or control characters"},
		{"room:\u2003", "", "no spaces or control characters"},
		{"room:\xff", "", "no spaces or control characters"},
		{"room:" + strings.Repeat("x", protocol.MaxChannel-4), "", "at most 255 are allowed"},
	}
	for _, tt := range tests {
		got, err := protocol.Namespace("to.channel", tt.channel)
		check(t, "to.channel", tt.channel, err, tt.err)
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.channel, got, tt.want)
		}
	}
}

// check compares an error with the text wanted in it; an error names its field.
func check(t *testing.T, field, input string, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("%q: %v", input, err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: got %v, want %q in it", input, err, want)
		return
	}
	if e := fault.Of(err); e.Code != fault.BadRequest || e.Field != field {
		t.Errorf("%q: got %+v, want a bad_request for %s", input, e, field)
	}
}

func TestEvent(t *testing.T) {
	tests := []struct{ event, want, err string }{
		{"", "message", ""},
		{"moved", "moved", ""},
		{"with space é", "with space é", ""},
		{strings.Repeat("e", 64), strings.Repeat("e", 64), ""},
		{strings.Repeat("e", 65), "", "at most 64 are allowed"},
		{"a\x00", "", "no control characters"},
		{"a\u0085", "", "no control characters"},
	}
	for _, tt := range tests {
		got, err := protocol.Event("event", tt.event)
		check(t, "event", tt.event, err, tt.err)
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.event, got, tt.want)
		}
	}
}

func TestUserAndDeviceIDs(t *testing.T) {
	user := func(s string) error { return protocol.UserID("user", s) }
	device := func(s string) error { return protocol.DeviceID("user", s) }
	tests := []struct {
		name  string
		check func(string) error
		id    string
		err   string
	}{
		{"user", user, "42", ""},
		{"user", user, "ann lee@example.org", ""},
		{"user", user, strings.Repeat("u", 256), ""},
		{"user", user, strings.Repeat("u", 257), "at most 256 are allowed"},
		{"user", user, "", "is missing"},
		{"user", user, "a\tb", "no control characters"},
		{"user", user, "\xff", "is not valid UTF-8"},
		{"device", device, "", ""},
		{"device", device, strings.Repeat("d", 128), ""},
		{"device", device, strings.Repeat("d", 129), "at most 128 are allowed"},
		{"device", device, "\x7f", "no control characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, "user", tt.id, tt.check(tt.id), tt.err) })
	}
}
