package postgres

import (
	"crypto/rand"
	"encoding/binary"
	"strings"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// newEpoch draws an epoch of 65 random bits.
func newEpoch() string { return strings.ToLower(rand.Text()[:13]) }

// namespaceOf is the part of a channel's name before the colon.
func namespaceOf(channel string) string {
	ns, _, _ := strings.Cut(channel, ":")
	return ns
}

// Sizes of ids, as text and as kept.
const (
	idText   = 26
	idBinary = 16
	idRandom = 10 // beside the time
)

// maxTime is what fits beside the namespace in message.age, and in a ULID.
const maxTime = 1<<48 - 1

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// parseULID gives the 16 bytes of an id in its one canonical form.
func parseULID(text string) (b [idBinary]byte, ok bool) {
	if len(text) != idText || text[0] > '7' {
		return b, false
	}
	var hi, lo uint64
	for i := range idText {
		v := strings.IndexByte(crockford, text[i])
		if v < 0 {
			return b, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return b, true
}

func formatULID(b []byte) string {
	hi, lo := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	var text [idText]byte
	for i := idText - 1; i >= 0; i-- {
		text[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(text[:])
}

// ulidTime is the time of the 16 bytes, in Unix milliseconds.
func ulidTime(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) >> 16) }

// packID gives message.id for an id of a message of that time.
func packID(text string, time int64) []byte {
	if b, ok := parseULID(text); ok && ulidTime(b[:]) == time {
		return b[idBinary-idRandom:]
	}
	return []byte(text)
}

func unpackID(kept []byte, time int64) string {
	if len(kept) != idRandom {
		return string(kept)
	}
	var b [idBinary]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time)<<16)
	copy(b[idBinary-idRandom:], kept)
	return formatULID(b[:])
}

// packWholeID gives idem.id, which has no time beside it.
func packWholeID(text string) []byte {
	if b, ok := parseULID(text); ok {
		return b[:]
	}
	return []byte(text)
}

func unpackWholeID(kept []byte) string {
	if len(kept) != idBinary {
		return string(kept)
	}
	return formatULID(kept)
}

// Forms of the connection in a packed sender.
const (
	connectionText = iota
	connectionID   // the 16 bytes of an id.Connection
	metaText       // with its length before it, and behind it what the message says beside its data
	metaID         // as metaText, with the 16 bytes
)

// packSender gives message.sender: the user and the device with their lengths
// before them, and the connection behind its form; then what the message says beside its
// data, if that is anything. Nil: nobody, and nothing.
func packSender(s protocol.Sender, m *store.Meta) []byte {
	if tables.HasMeta(m) {
		return packMeta(s, m)
	}
	if s == (protocol.Sender{}) {
		return nil
	}
	b := make([]byte, 0, len(s.User)+len(s.Device)+24)
	b = append(binary.AppendUvarint(b, uint64(len(s.User))), s.User...)
	b = append(binary.AppendUvarint(b, uint64(len(s.Device))), s.Device...)
	if s.Connection == "" {
		return b
	}
	if c, ok := id.ParseConnection(s.Connection); ok {
		return append(append(b, connectionID), c[:]...)
	}
	return append(append(b, connectionText), s.Connection...)
}

func packMeta(s protocol.Sender, m *store.Meta) []byte {
	var b []byte
	for _, field := range []string{s.User, s.Device} {
		b = append(binary.AppendUvarint(b, uint64(len(field))), field...)
	}
	if c, ok := id.ParseConnection(s.Connection); ok {
		b = append(append(b, metaID), c[:]...)
	} else {
		b = append(binary.AppendUvarint(append(b, metaText), uint64(len(s.Connection))), s.Connection...)
	}
	return tables.AppendMeta(b, m)
}

// unpackSender tells with ok whether b is what packSender made.
func unpackSender(b []byte) (s protocol.Sender, m store.Meta, ok bool) {
	if b == nil {
		return s, m, true
	}
	for _, field := range []*string{&s.User, &s.Device} {
		if *field, b, ok = cutText(b); !ok {
			return s, m, false
		}
	}
	if len(b) == 0 {
		return s, m, true
	}
	form, b := b[0], b[1:]
	var c id.Connection
	switch form {
	case connectionText:
		s.Connection = string(b)
		return s, m, true
	case connectionID, metaID:
		if len(b) < len(c) || form == connectionID && len(b) > len(c) {
			return s, m, false
		}
		b = b[copy(c[:], b):]
	case metaText:
		if s.Connection, b, ok = cutText(b); !ok {
			return s, m, false
		}
	default:
		return s, m, false
	}
	if form == metaText || form == metaID {
		if m, ok = tables.ParseMeta(b); !ok {
			s.Connection = ""
			return s, m, false
		}
	}
	if form != metaText {
		s.Connection = c.String()
	}
	return s, m, true
}

// cutText takes a text with its length before it off b.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", b, false
	}
	return string(b[size : size+int(n)]), b[size+int(n):], true
}

// packEvent gives message.event, which spares the usual one.
func packEvent(event string) []byte {
	if event == protocol.DefaultEvent {
		return nil
	}
	return []byte(event)
}
