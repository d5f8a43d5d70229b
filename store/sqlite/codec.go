package sqlite

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
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

// Forms of the connection in a packed sender: the 16 bytes of its base 64, where it is
// that, else its text. In the last two what the message says beside its data comes
// behind it, and so the text has its length before it.
const (
	connectionText = iota
	connectionID
	metaText
	metaID
)

// packSender writes user and device with their lengths, then the connection behind its
// form, then what the message says beside its data, if that is anything.
func packSender(s protocol.Sender, m *store.Meta) []byte {
	meta := tables.HasMeta(m)
	if !meta && s == (protocol.Sender{}) {
		return nil
	}
	b := make([]byte, 0, len(s.User)+len(s.Device)+24)
	b = append(binary.AppendUvarint(b, uint64(len(s.User))), s.User...)
	b = append(binary.AppendUvarint(b, uint64(len(s.Device))), s.Device...)
	c, ok := id.ParseConnection(s.Connection)
	switch {
	case ok && !meta:
		return append(append(b, connectionID), c[:]...)
	case !meta:
		return append(append(b, connectionText), s.Connection...)
	case ok:
		b = append(append(b, metaID), c[:]...)
	default:
		b = append(binary.AppendUvarint(append(b, metaText), uint64(len(s.Connection))), s.Connection...)
	}
	return tables.AppendMeta(b, m)
}

// unpackSender reads what packSender wrote; of anything else it makes nobody.
func unpackSender(b []byte) (s protocol.Sender, m store.Meta) {
	user, b, ok := cutLength(b)
	device, b, ok2 := cutLength(b)
	if !ok || !ok2 || len(b) == 0 {
		return s, m
	}
	form, b := b[0], b[1:]
	connection := b
	switch form {
	case metaText:
		if connection, b, ok = cutLength(b); !ok {
			return s, m
		}
	case metaID:
		if len(b) < len(id.Connection{}) {
			return s, m
		}
		connection, b = b[:len(id.Connection{})], b[len(id.Connection{}):]
	}
	if form == metaText || form == metaID {
		if m, ok = tables.ParseMeta(b); !ok {
			return s, m
		}
	}
	s.User, s.Device, s.Connection = string(user), string(device), string(connection)
	if form == connectionID || form == metaID {
		s.Connection = base64.RawURLEncoding.EncodeToString(connection)
	}
	return s, m
}

func cutLength(b []byte) (text, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}
