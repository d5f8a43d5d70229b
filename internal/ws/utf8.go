package ws

import "unicode/utf8"

// validStart tells whether b can be the start of valid UTF-8, and how many of
// its last bytes (0 to 3) are a rune that is not complete yet. It says no at the
// first byte that cannot be right, so that a sender is stopped at once and not
// when the message is whole.
func validStart(b []byte) (open int, ok bool) {
	for i := 1; i <= 3 && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				open = i
			}
			break
		}
	}
	return open, utf8.Valid(b[:len(b)-open])
}
