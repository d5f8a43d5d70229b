package client

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DirectChannel is the name of the conversation between two users, whose order does not
// matter (spec/chat.md, section 1). A server refuses one that is longer than 255 bytes.
func DirectChannel(namespace, a, b string) string {
	if b < a {
		a, b = b, a
	}
	return namespace + ":" + escapeID(a) + ":" + escapeID(b)
}

// escapeID gives an id as it stands in the name of a channel: without what divides the
// name, and without bytes that no name may have.
func escapeID(id string) string {
	var out strings.Builder
	for i, n := 0, 0; i < len(id); i += n {
		var r rune
		r, n = utf8.DecodeRuneInString(id[i:])
		part := id[i : i+n]
		if r == '%' || r == ':' || unicode.IsControl(r) || unicode.IsSpace(r) || r == utf8.RuneError && n == 1 {
			for _, c := range []byte(part) {
				fmt.Fprintf(&out, "%%%02X", c)
			}
			continue
		}
		out.WriteString(part)
	}
	return out.String()
}
