package protocol

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/fault"
)

// Namespace checks a channel name, `namespace:rest`, and gives the part before
// the colon. field is what the error names. The namespace is lower-case
// letters, digits and _ . - (at most 64, the first a letter or digit); the rest
// is 1 byte or more of UTF-8 without spaces and control characters; the whole
// name has at most [MaxChannel] bytes.
func Namespace(field, channel string) (string, error) {
	if channel == "" {
		return "", fault.Field(field, "is missing")
	}
	if len(channel) > MaxChannel {
		return "", fault.Field(field, "has %d bytes; at most %d are allowed", len(channel), MaxChannel)
	}
	ns, rest, found := strings.Cut(channel, ":")
	if !found || ns == "" || rest == "" {
		return "", fault.Field(field, "%q is not a channel name; write namespace:name", channel)
	}
	for i := 0; i < len(ns); i++ {
		c := ns[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') || i >= 64 {
			return "", fault.Field(field, "%q: a namespace is lower-case letters, digits and _ . -, at most 64", channel)
		}
	}
	if !printable(rest) {
		return "", fault.Field(field, "%q: no spaces or control characters in a channel name", channel)
	}
	return ns, nil
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r > 0x7f && (unicode.IsControl(r) || unicode.IsSpace(r)) {
			return false
		}
	}
	return true
}

// Event checks an event name; an empty one becomes [DefaultEvent].
func Event(field, event string) (string, error) {
	if event == "" {
		return DefaultEvent, nil
	}
	if len(event) > MaxEvent {
		return "", fault.Field(field, "has %d bytes; at most %d are allowed", len(event), MaxEvent)
	}
	for _, r := range event {
		if unicode.IsControl(r) {
			return "", fault.Field(field, "no control characters in an event name")
		}
	}
	return event, nil
}

// UserID checks the id of a user: 1 to [MaxUser] bytes without control characters.
func UserID(field, user string) error { return name(field, user, MaxUser) }

// DeviceID checks the id of a device; "" (no device) is allowed.
func DeviceID(field, device string) error {
	if device == "" {
		return nil
	}
	return name(field, device, MaxDevice)
}

// MethodName checks the name of a method of a call.
func MethodName(field, method string) error { return name(field, method, MaxMethod) }

func name(field, s string, limit int) error {
	if s == "" {
		return fault.Field(field, "is missing")
	}
	if len(s) > limit {
		return fault.Field(field, "has %d bytes; at most %d are allowed", len(s), limit)
	}
	if !utf8.ValidString(s) {
		return fault.Field(field, "is not valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fault.Field(field, "no control characters are allowed")
		}
	}
	return nil
}
