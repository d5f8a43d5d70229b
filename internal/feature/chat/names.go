package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
)

// DirectChannel is the name of the conversation between two users, whose order does not
// matter: namespace:a:b, the smaller id first (by its bytes), with what must not stand
// in a part of the name as %25, %3A and so on. A name that is longer than a channel's
// may be ([protocol.MaxChannel]) is refused where it is used.
func DirectChannel(namespace, a, b string) string {
	if b < a {
		a, b = b, a
	}
	name := make([]byte, 0, len(namespace)+len(a)+len(b)+2)
	name = append(append(name, namespace...), ':')
	name = append(appendEscaped(name, a), ':')
	return string(appendEscaped(name, b))
}

// appendEscaped appends an id as it stands in the name of a channel.
func appendEscaped(dst []byte, id string) []byte {
	const digits = "0123456789ABCDEF"
	for i, n := 0, 0; i < len(id); i += n {
		var r rune
		r, n = utf8.DecodeRuneInString(id[i:])
		if plain(r, n) {
			dst = append(dst, id[i:i+n]...)
			continue
		}
		for _, c := range []byte(id[i : i+n]) {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

// plain tells whether a rune of so many bytes stands in a name as it is.
func plain(r rune, bytes int) bool {
	switch {
	case r == '%' || r == ':':
		return false
	case r < utf8.RuneSelf:
		return r > ' ' && r != 0x7f
	case r == utf8.RuneError && bytes == 1: // no UTF-8
		return false
	}
	return !unicode.IsControl(r) && !unicode.IsSpace(r)
}

// directUsers gives the two users of a direct channel, the smaller id first. field is what
// its error names, which is bad_request and tells the right name when there is one.
func directUsers(field, channel string) (a, b string, err error) {
	namespace, rest, _ := strings.Cut(channel, ":")
	first, second, found := strings.Cut(rest, ":")
	if !found || strings.Contains(second, ":") {
		return "", "", fault.Field(field, "%q is not a conversation between two users; write %s:a:b, with \":\" in an id as %%3A", channel, namespace)
	}
	for i, part := range []string{first, second} {
		id, ok := unescape(part)
		if !ok {
			return "", "", fault.Field(field, "%q: a %% in it begins the two hex digits of a byte; a %% in an id is written as %%25", channel)
		}
		if err := protocol.UserID("id", id); err != nil {
			return "", "", fault.Field(field, "%q: the id of a user %s", channel, strings.TrimPrefix(fault.Of(err).Message, "id: "))
		}
		if i == 0 {
			a = id
		} else {
			b = id
		}
	}
	if a == b {
		return "", "", fault.Field(field, "%q names one user twice", channel)
	}
	if strings.IndexByte(rest, '%') < 0 && a < b {
		return a, b, nil // nothing was escaped, and a channel's name has nothing else that must be
	}
	if name := DirectChannel(namespace, a, b); name != channel {
		return "", "", fault.Field(field, "%q is written as %q", channel, name)
	}
	return a, b, nil
}

// unescape takes back what appendEscaped has done; false: that cannot be.
func unescape(part string) (id string, ok bool) {
	at := strings.IndexByte(part, '%')
	if at < 0 {
		return part, true
	}
	b := append(make([]byte, 0, len(part)), part[:at]...)
	for i := at; i < len(part); i++ {
		c := part[i]
		if c == '%' {
			if i+2 >= len(part) {
				return "", false
			}
			high, low := digit(part[i+1]), digit(part[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

// digit is the value of a hex digit; -1: it is none. Small letters are read, so that the message can tell the right name.
func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
