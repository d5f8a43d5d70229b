package ws

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// maxReason is the longest reason of a close frame: 125 bytes less the code.
const maxReason = maxControl - 2

// MaxHeader is the most bytes that [AppendHeader] appends.
const MaxHeader = 10

// AppendHeader appends the header of an unmasked frame (a server's) with n bytes
// of payload, which the caller appends next. fin marks the last frame of a
// message; rsv1 marks its first frame as compressed (RFC 7692, 6).
func AppendHeader(dst []byte, op Opcode, fin, rsv1 bool, n int) []byte {
	return appendHeader(dst, op, fin, rsv1, n, 0)
}

func appendHeader(dst []byte, op Opcode, fin, rsv1 bool, n int, maskBit byte) []byte {
	first := byte(op)
	if fin {
		first |= 0x80
	}
	if rsv1 {
		first |= 0x40
	}
	switch {
	case n < 126:
		return append(dst, first, maskBit|byte(n))
	case n < 1<<16:
		dst = append(dst, first, maskBit|126)
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, first, maskBit|127)
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
}

// AppendFrame appends a whole unmasked frame (a server's).
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = AppendHeader(dst, op, true, false, len(payload))
	return append(dst, payload...)
}

// AppendMasked appends a whole masked frame (a client's). payload is not changed.
func AppendMasked(dst []byte, op Opcode, key [4]byte, payload []byte) []byte {
	return AppendMaskedFragment(dst, op, true, false, key, payload)
}

// AppendMaskedFragment is AppendMasked with the choice of the fin and rsv1 bits;
// see [AppendHeader].
func AppendMaskedFragment(dst []byte, op Opcode, fin, rsv1 bool, key [4]byte, payload []byte) []byte {
	dst = appendHeader(dst, op, fin, rsv1, len(payload), 0x80)
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:], binary.LittleEndian.Uint32(key[:]))
	return dst
}

// AppendClose appends an unmasked close frame (a server's). A reason of more
// than 123 bytes is cut between two runes. Code 0 makes a close frame without
// code and reason.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 {
		return AppendHeader(dst, Close, true, false, 0)
	}
	reason = cutReason(reason)
	dst = AppendHeader(dst, Close, true, false, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// AppendMaskedClose is [AppendClose] for a client.
func AppendMaskedClose(dst []byte, key [4]byte, code uint16, reason string) []byte {
	var payload [maxControl]byte
	b := payload[:0]
	if code != 0 {
		b = binary.BigEndian.AppendUint16(b, code)
		b = append(b, cutReason(reason)...)
	}
	return AppendMasked(dst, Close, key, b)
}

// cutReason makes a reason that a close frame can carry: valid UTF-8, at most
// 123 bytes.
func cutReason(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

// ParseClose reads the payload of a close frame. An empty one is code 0 without
// a reason. The error is a *[CloseError]: 1002 for a payload of one byte or a
// code that may not be sent, 1007 for a reason that is not UTF-8.
func ParseClose(payload []byte) (code uint16, reason string, err error) {
	if len(payload) == 0 {
		return 0, "", nil
	}
	if len(payload) == 1 {
		return 0, "", protocolError("a close frame has one byte of payload")
	}
	code = binary.BigEndian.Uint16(payload)
	if !sendable(code) {
		return 0, "", protocolError("a close frame has a code that may not be sent")
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", invalidPayload("the reason of a close frame is not valid UTF-8")
	}
	return code, string(payload[2:]), nil
}

// sendable tells the close codes that may be on the wire: those of RFC 6455,
// 7.4.1 and of the IANA registry, and the ranges for libraries and applications.
func sendable(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}
