package sqlite

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
)

// A message id is a ULID: 48 bits of time and 80 random ones, 26 characters of
// Crockford's base 32 (github.com/ulid/spec).
const (
	idText   = 26
	ageShift = 48
	maxTime  = 1<<ageShift - 1
	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// ofDocument is the bit of an age that puts messages of documents apart from others.
const ofDocument = math.MinInt64

// crockford writes bytes, five bits a character, the last ones filled with zeros.
func crockford(b []byte) string {
	var out strings.Builder
	var acc, bits uint
	for _, c := range b {
		acc, bits = acc<<8|uint(c), bits+8
		for bits >= 5 {
			bits -= 5
			out.WriteByte(alphabet[acc>>bits&31])
		}
	}
	if bits > 0 {
		out.WriteByte(alphabet[acc<<(5-bits)&31])
	}
	return out.String()
}

// packID gives the random part of an id whose time is ms, else its characters.
func packID(id string, ms int64) []byte {
	if len(id) != idText || id[:10] != timeChars(ms) {
		return []byte(id)
	}
	b := make([]byte, 0, 10)
	var acc, bits uint
	for i := 10; i < idText; i++ {
		v := strings.IndexByte(alphabet, id[i])
		if v < 0 {
			return []byte(id)
		}
		acc, bits = acc<<5|uint(v), bits+5
		if bits >= 8 {
			bits -= 8
			b = append(b, byte(acc>>bits))
		}
	}
	return b
}

func unpackID(b []byte, ms int64) string {
	if len(b) == idText {
		return string(b)
	}
	return timeChars(ms) + crockford(b)
}

// timeChars are the first ten characters of an id.
func timeChars(ms int64) string {
	var b [10]byte
	for i := 9; i >= 0; i-- {
		b[i] = alphabet[ms&31]
		ms >>= 5
	}
	return string(b[:])
}

// timeOf reads the time of an id; -1 when it has none.
func timeOf(id string) (ms int64) {
	if len(id) != idText {
		return -1
	}
	for i := range 10 {
		v := strings.IndexByte(alphabet, id[i])
		if v < 0 {
			return -1
		}
		ms = ms<<5 | int64(v)
	}
	return ms
}

// packSender writes user and device with their lengths, then the connection: as
// the 16 bytes of its base 64, where it is that, behind a 1, else as it is
// behind a 0.
func packSender(s protocol.Sender) []byte {
	if s == (protocol.Sender{}) {
		return nil
	}
	b := make([]byte, 0, len(s.User)+len(s.Device)+24)
	b = append(binary.AppendUvarint(b, uint64(len(s.User))), s.User...)
	b = append(binary.AppendUvarint(b, uint64(len(s.Device))), s.Device...)
	if c, ok := id.ParseConnection(s.Connection); ok {
		return append(append(b, 1), c[:]...)
	}
	return append(append(b, 0), s.Connection...)
}

// unpackSender reads what packSender wrote; of anything else it makes nobody.
func unpackSender(b []byte) (s protocol.Sender) {
	user, b, ok := cutLength(b)
	device, b, ok2 := cutLength(b)
	if !ok || !ok2 || len(b) == 0 {
		return s
	}
	s.User, s.Device = string(user), string(device)
	if b[0] == 1 {
		s.Connection = base64.RawURLEncoding.EncodeToString(b[1:])
	} else {
		s.Connection = string(b[1:])
	}
	return s
}

func cutLength(b []byte) (text, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}
