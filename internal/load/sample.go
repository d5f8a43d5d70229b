package load

import "bytes"

// A mark stands at the beginning of the data of every message: which publisher
// sent it, its number among that publisher's messages to the channel, and when
// it left. It has a fixed width and a beginning that occurs nowhere else, so
// that a receiver finds it by looking for bytes and need not decode JSON.
const (
	markLead   = `"~mark:`
	markDigits = 4 + 10 + 16 // publisher, number, time
	markSize   = len(markLead) + markDigits

	// MinSize is the smallest data, in bytes, that a mark fits into.
	MinSize = markSize + 1
)

// mark is what a message says of itself.
type mark struct {
	publisher uint16
	number    uint64 // 40 bits
	sent      int64  // nanoseconds on the generator's clock
}

const hexDigits = "0123456789abcdef"

func appendHex(b []byte, v uint64, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		b = append(b, hexDigits[v>>shift&15])
	}
	return b
}

// appendData appends size bytes of JSON, a string that begins with the mark.
func appendData(b []byte, m mark, size int) []byte {
	end := len(b) + max(size, MinSize) - 1
	b = append(b, markLead...)
	b = appendHex(b, uint64(m.publisher), 4)
	b = appendHex(b, m.number, 10)
	b = appendHex(b, uint64(m.sent), 16)
	for len(b) < end {
		b = append(b, 'x')
	}
	return append(b, '"')
}

// findMark reads the mark of a frame. hint is where the one of the last frame
// was, since frames of one channel look alike; at is where this one is, -1 when
// there is none.
func findMark(frame []byte, hint int) (m mark, at int) {
	at = hint
	if hint < 0 || len(frame) < hint+markSize || string(frame[hint:hint+len(markLead)]) != markLead {
		if at = bytes.Index(frame, []byte(markLead)); at < 0 || len(frame) < at+markSize {
			return m, -1
		}
	}
	digits := frame[at+len(markLead) : at+markSize]
	publisher, ok1 := parseHex(digits[:4])
	number, ok2 := parseHex(digits[4:14])
	sent, ok3 := parseHex(digits[14:])
	if !ok1 || !ok2 || !ok3 {
		return m, -1
	}
	return mark{uint16(publisher), number, int64(sent)}, at
}

// parseHex reads digits of lower case. It gathers what is wrong and looks once,
// since this runs for every message that arrives.
func parseHex(b []byte) (v uint64, ok bool) {
	var wrong byte
	for _, c := range b {
		digit, letter := c-'0', c-'a'
		if letter < 6 {
			digit = letter + 10
		}
		wrong |= digit & 0xf0
		v = v<<4 | uint64(digit&15)
	}
	return v, wrong == 0
}

// Restamp copies the mark of one frame into another, so that it counts as the
// other message. It tells whether both have one.
func Restamp(frame, from []byte) bool {
	_, to := findMark(frame, -1)
	_, at := findMark(from, -1)
	if to < 0 || at < 0 {
		return false
	}
	copy(frame[to:to+markSize], from[at:at+markSize])
	return true
}
