package websocket

import (
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/ws"
)

// Encodings are the encodings of this door, in the order that [Encoding] counts
// in: text frames as they are, then compressed for each window size.
func Encodings() []hub.Encoding {
	list := []hub.Encoding{text{}}
	for bits := minWindow; bits <= maxWindow; bits++ {
		list = append(list, deflated{bits})
	}
	return list
}

const (
	minWindow = 8
	maxWindow = 15
)

// Encoding gives the index of the encoding for a negotiated window; 0 is the one
// without compression.
func Encoding(windowBits int) int { return windowBits - minWindow + 1 }

// text is a JSON frame as one WebSocket text message.
type text struct{}

// Append implements hub.Encoding.
func (text) Append(dst, frame []byte) []byte {
	return append(ws.AppendHeader(dst, ws.Text, true, false, len(frame)), frame...)
}

// deflated is the same, compressed without context takeover (RFC 7692), so that
// one compressed form serves every receiver.
type deflated struct{ bits int }

// worthwhile is the size under which compression gains nothing.
const worthwhile = 128

// Append implements hub.Encoding.
func (d deflated) Append(dst, frame []byte) []byte {
	if len(frame) < worthwhile {
		return text{}.Append(dst, frame)
	}
	packed := ws.Deflate(nil, frame, d.bits)
	if len(packed) >= len(frame) {
		return text{}.Append(dst, frame)
	}
	return append(ws.AppendHeader(dst, ws.Text, true, true, len(packed)), packed...)
}
