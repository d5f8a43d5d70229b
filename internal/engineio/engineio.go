// Package engineio is the wire form of Engine.IO, versions 4 and 3: packets, the
// payloads in which long polling carries many of them, and the JSON of the first
// one. It keeps no state and does no input or output.
//
// What waits for a client is kept as WebSocket frames, which a websocket takes as
// they are; [AppendPayload4] and [AppendPayload3] take them apart for a poll.
package engineio

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/ws"
)

// Type is the kind of a packet: the digit on the wire.
type Type byte

// The types of packets.
const (
	Open Type = '0' + iota
	Close
	Ping
	Pong
	Message
	Upgrade
	Noop
)

// Packet is one packet. Data is without the type; only a message can be binary.
type Packet struct {
	Type   Type
	Binary bool
	Data   []byte
}

// ErrParse is what every error of reading wraps.
var ErrParse = errors.New("engine.io: not a packet")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrParse, fmt.Sprintf(format, args...))
}

// MaxPackets bounds the packets of one payload.
const MaxPackets = 100_000

// ReadText reads the text message of a websocket.
func ReadText(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, wrong("it is empty")
	}
	t := Type(b[0])
	if t < Open || t > Noop {
		return Packet{}, wrong("%q is no type", b[0])
	}
	return Packet{Type: t, Data: b[1:]}, nil
}

// ReadEncoded reads the text message of a websocket of version 3 whose client has
// no binary: such packets are b, the type and base64.
func ReadEncoded(b []byte) (Packet, error) { return readEncoded(b, true) }

// ReadBinary reads the binary message of a websocket: in version 4 the bytes of a
// message, in version 3 with the type as a byte in front.
func ReadBinary(version int, b []byte) (Packet, error) {
	if version == 4 {
		return Packet{Type: Message, Binary: true, Data: b}, nil
	}
	if len(b) == 0 {
		return Packet{}, wrong("it is empty")
	}
	t := Type(b[0]) + '0'
	if b[0] > byte(Noop-Open) {
		return Packet{}, wrong("%d is no type", b[0])
	}
	return Packet{Type: t, Binary: t == Message, Data: b[1:]}, nil
}

const separator = 0x1e

// ReadPayload4 reads the body of a poll of version 4: packets with 0x1E between
// them, binary ones as b and base64.
func ReadPayload4(body []byte, fn func(Packet) error) error {
	for n := 0; ; n++ {
		if n == MaxPackets {
			return wrong("there are more than %d", MaxPackets)
		}
		part, rest, more := bytes.Cut(body, []byte{separator})
		p, err := readEncoded(part, false)
		if err != nil {
			return err
		}
		if err := fn(p); err != nil {
			return err
		}
		if !more {
			return nil
		}
		body = rest
	}
}

// readEncoded reads a packet of a text payload. typed says that a binary one has a
// type digit after the b, which is so in version 3.
func readEncoded(b []byte, typed bool) (Packet, error) {
	if !utf8.Valid(b) {
		return Packet{}, wrong("it is not UTF-8")
	}
	if len(b) == 0 || b[0] != 'b' {
		return ReadText(b)
	}
	p := Packet{Type: Message, Binary: true}
	b = b[1:]
	if typed {
		if len(b) == 0 || Type(b[0]) != Message {
			return p, wrong("a binary packet that is no message")
		}
		b = b[1:]
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(data, b)
	if err != nil {
		return p, wrong("%v", err)
	}
	p.Data = data[:n]
	return p, nil
}

// ReadPayload3 reads the body of a poll of version 3: packets with their lengths
// in front. octets says that it is in the binary form.
func ReadPayload3(body []byte, octets bool, fn func(Packet) error) error {
	if len(body) == 0 {
		return wrong("it is empty")
	}
	for n := 0; len(body) > 0; n++ {
		if n == MaxPackets {
			return wrong("there are more than %d", MaxPackets)
		}
		var p Packet
		var err error
		if octets {
			p, body, err = cutOctets(body)
		} else {
			p, body, err = cutText(body)
		}
		if err != nil {
			return err
		}
		if err := fn(p); err != nil {
			return err
		}
	}
	return nil
}

// maxDigits is the longest length that is read: more than any body has.
const maxDigits = 9

// cutText takes the first packet of the text form: its length in UTF-16 code
// units, a colon, and the packet.
func cutText(body []byte) (p Packet, rest []byte, err error) {
	colon := bytes.IndexByte(body[:min(len(body), maxDigits+1)], ':')
	if colon < 1 {
		return p, nil, wrong("a length is missing")
	}
	units := 0
	for _, c := range body[:colon] {
		if c < '0' || c > '9' {
			return p, nil, wrong("%q is no digit of a length", c)
		}
		units = units*10 + int(c-'0')
	}
	body = body[colon+1:]
	end := 0
	for units > 0 {
		r, size := utf8.DecodeRune(body[end:])
		if r == utf8.RuneError && size <= 1 {
			return p, nil, wrong("it ends too early, or is not UTF-8")
		}
		units--
		if r >= 0x10000 {
			units--
		}
		end += size
	}
	if units < 0 {
		return p, nil, wrong("a length ends inside of a character")
	}
	p, err = readEncoded(body[:end], true)
	return p, body[end:], err
}

// cutOctets takes the first packet of the binary form: 0 for text or 1 for binary,
// the length in decimal with a byte for each digit, 0xFF, and the packet.
func cutOctets(body []byte) (p Packet, rest []byte, err error) {
	kind := body[0]
	if kind > 1 {
		return p, nil, wrong("%d is neither text nor binary", kind)
	}
	end := bytes.IndexByte(body[:min(len(body), maxDigits+2)], 0xff)
	if end < 2 {
		return p, nil, wrong("a length is missing")
	}
	size := 0
	for _, digit := range body[1:end] {
		if digit > 9 {
			return p, nil, wrong("%d is no digit of a length", digit)
		}
		size = size*10 + int(digit)
	}
	body = body[end+1:]
	if size > len(body) {
		return p, nil, wrong("it ends too early")
	}
	if kind == 1 {
		p, err = ReadBinary(3, body[:size])
	} else {
		p, err = readEncoded(body[:size], true)
	}
	return p, body[size:], err
}

// Frames calls fn for each message of frames that a server sends: not masked, not
// in pieces, not compressed, no control frames. The payload lies in wire. An error
// of fn ends it and is returned.
func Frames(wire []byte, fn func(binary bool, payload []byte) error) error {
	for len(wire) > 0 {
		if len(wire) < 2 {
			return wrong("a frame is cut off")
		}
		// The first byte is FIN and the opcode, and nothing else.
		op, size, head := wire[0]&^0x80, int(wire[1]), 2
		switch {
		case size == 126 && len(wire) >= 4:
			size, head = int(binary.BigEndian.Uint16(wire[2:])), 4
		case size == 127 && len(wire) >= 10:
			long := binary.BigEndian.Uint64(wire[2:])
			if long > uint64(len(wire)) {
				return wrong("a frame is cut off")
			}
			size, head = int(long), 10
		}
		plain := wire[0]&0x80 != 0 && wire[1]&0x80 == 0
		if !plain || op != byte(ws.Text) && op != byte(ws.Binary) || size > len(wire)-head {
			return wrong("a frame is cut off, or no message")
		}
		if err := fn(op == byte(ws.Binary), wire[head:head+size]); err != nil {
			return err
		}
		wire = wire[head+size:]
	}
	return nil
}

// AppendPayload4 appends all messages of wire as the body of a poll of version 4.
func AppendPayload4(dst []byte, wire [][]byte) []byte {
	begin := len(dst)
	for _, w := range wire {
		_ = Frames(w, func(binary bool, payload []byte) error { // what the server makes can be read
			if len(dst) > begin {
				dst = append(dst, separator)
			}
			if binary {
				dst = base64.StdEncoding.AppendEncode(append(dst, 'b'), payload)
			} else {
				dst = append(dst, payload...)
			}
			return nil
		})
	}
	return dst
}

// Encode gives wire for a client of version 3 that has no binary.
func Encode(wire []byte) []byte {
	var dst []byte
	_ = Frames(wire, func(binary bool, payload []byte) error { // what the server makes can be read
		if !binary {
			dst = append(ws.AppendHeader(dst, ws.Text, true, false, len(payload)), payload...)
			return nil
		}
		dst = ws.AppendHeader(dst, ws.Text, true, false, 2+base64.StdEncoding.EncodedLen(len(payload)-1))
		dst = append(dst, 'b', payload[0]+'0')
		dst = base64.StdEncoding.AppendEncode(dst, payload[1:])
		return nil
	})
	return dst
}

// AppendPayload3 appends all messages of wire as the body of a poll of version 3.
// With b64 binary is base64; otherwise a body with something binary in it, or any
// with octets, is in the binary form, which the result tells.
func AppendPayload3(dst []byte, wire [][]byte, b64, octets bool) (body []byte, binary bool) {
	binary = octets && !b64
	if !b64 && !binary {
		for _, w := range wire {
			_ = Frames(w, func(is bool, _ []byte) error {
				binary = binary || is
				return nil
			})
		}
	}
	for _, w := range wire {
		_ = Frames(w, func(is bool, payload []byte) error {
			switch {
			case binary:
				dst = appendOctets(dst, is, payload)
			case is: // the type is a byte in front
				dst = strconv.AppendInt(dst, int64(2+base64.StdEncoding.EncodedLen(len(payload)-1)), 10)
				dst = append(dst, ':', 'b', payload[0]+'0')
				dst = base64.StdEncoding.AppendEncode(dst, payload[1:])
			default:
				dst = strconv.AppendInt(dst, int64(units(payload)), 10)
				dst = append(append(dst, ':'), payload...)
			}
			return nil
		})
	}
	return dst, binary
}

func appendOctets(dst []byte, binary bool, payload []byte) []byte {
	kind := byte(0)
	if binary {
		kind = 1
	}
	dst = append(dst, kind)
	length := len(dst)
	dst = strconv.AppendInt(dst, int64(len(payload)), 10)
	for i := length; i < len(dst); i++ {
		dst[i] -= '0'
	}
	return append(append(dst, 0xff), payload...)
}

// units is the length of a text in UTF-16 code units.
func units(text []byte) (n int) {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		n++
		if r >= 0x10000 {
			n++
		}
		text = text[size:]
	}
	return n
}

// AppendText appends a packet as the text message of a websocket.
func AppendText(dst []byte, t Type, data []byte) []byte {
	dst = ws.AppendHeader(dst, ws.Text, true, false, len(data)+1)
	return append(append(dst, byte(t)), data...)
}

// AppendBinary appends a binary message as that of a websocket.
func AppendBinary(dst []byte, version int, data []byte) []byte {
	if version == 4 {
		return append(ws.AppendHeader(dst, ws.Binary, true, false, len(data)), data...)
	}
	dst = ws.AppendHeader(dst, ws.Binary, true, false, len(data)+1)
	return append(append(dst, byte(Message-Open)), data...)
}

// OpenData appends the data of the first packet.
func OpenData(dst []byte, sid string, upgrade bool, interval, timeout time.Duration, maxPayload int64) []byte {
	dst = append(append(append(dst, `{"sid":"`...), sid...), `","upgrades":[`...)
	if upgrade {
		dst = append(dst, `"websocket"`...)
	}
	dst = strconv.AppendInt(append(dst, `],"pingInterval":`...), interval.Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"pingTimeout":`...), timeout.Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"maxPayload":`...), maxPayload, 10)
	return append(dst, '}')
}

// UndoUTF8 gives the text of a packet that a client up to 1.3.5 has encoded as
// UTF-8 twice: once by itself, and once when it was sent.
func UndoUTF8(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		if r > 0xff {
			return b // it was encoded once
		}
		out = append(out, byte(r))
	}
	if !utf8.Valid(out) {
		return b
	}
	return out
}
