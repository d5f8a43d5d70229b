// Package sio is the wire form of Socket.IO packets, versions 5 and 4, and of the
// msgpack form that socket.io-msgpack-parser has. It keeps no state and does no
// input or output.
//
// The server keeps what is binary inside of JSON, as {"$binary":"<base64>"};
// [Inline] and [Extract] go from attachments to that and back.
package sio

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/protocol"
)

// Kind is the kind of a packet: the digit on the wire.
type Kind byte

// The kinds of packets.
const (
	Connect Kind = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

// Packet is one packet. Data is raw JSON, nil when there is none.
type Packet struct {
	Kind        Kind
	Namespace   string // "/" when none was named
	Query       string // that an old client gave with it
	HasID       bool
	ID          uint64
	Attachments int
	Data        []byte
}

// Dialect is one of the forms that packets have on the wire.
type Dialect uint8

// The dialects.
const (
	V5      Dialect = iota // over Engine.IO 4
	V4                     // over Engine.IO 3
	Msgpack                // over Engine.IO 4
)

// ErrParse is what every error of reading wraps.
var ErrParse = errors.New("socket.io: not a packet")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrParse, fmt.Sprintf(format, args...))
}

// Bounds of what is read.
const (
	maxNamespace = 256
	maxQuery     = 1 << 10
	maxID        = 1 << 53
)

// Read reads a packet of version 5 or 4 from the data of an Engine.IO message.
func Read(version int, text []byte, maxDepth, maxAttachments int) (Packet, error) {
	p := Packet{Namespace: "/"}
	if len(text) == 0 || text[0] < '0' || text[0] > '6' {
		return p, wrong("there is no kind")
	}
	p.Kind = Kind(text[0] - '0')
	text = text[1:]
	if p.Kind == BinaryEvent || p.Kind == BinaryAck {
		digits, rest, ok := bytes.Cut(text, []byte{'-'})
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n < 0 || len(digits) > 4 || digits[0] == '+' {
			return p, wrong("the number of attachments is missing")
		}
		if n > maxAttachments {
			return p, wrong("it has more than %d attachments", maxAttachments)
		}
		p.Attachments, text = n, rest
	}
	if len(text) > 0 && text[0] == '/' {
		name, rest, _ := bytes.Cut(text, []byte{','})
		if version == 4 { // it can hold a query
			var query []byte
			if name, query, _ = bytes.Cut(name, []byte{'?'}); len(query) > maxQuery {
				return p, wrong("the query is too long")
			}
			p.Query = string(query)
		}
		if len(name) > maxNamespace {
			return p, wrong("the namespace is too long")
		}
		p.Namespace, text = string(name), rest
	}
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	if digits > 0 && (p.Kind == Event || p.Kind == Ack || p.Kind == BinaryEvent || p.Kind == BinaryAck) {
		id, err := strconv.ParseUint(string(text[:digits]), 10, 64)
		if err != nil || id > maxID {
			return p, wrong("the acknowledgement id is too large")
		}
		p.HasID, p.ID, text = true, id, text[digits:]
	}
	if len(text) > 0 {
		if err := protocol.Valid(text, maxDepth); err != nil {
			return p, wrong("%v", err)
		}
		p.Data = bytes.TrimSpace(text)
	}
	return p, fits(&p, version)
}

// fits checks that the data is what the kind wants.
func fits(p *Packet, version int) error {
	first := byte(0)
	if len(p.Data) > 0 {
		first = p.Data[0]
	}
	ok := false
	switch p.Kind {
	case Connect:
		ok = first == 0 || first == '{' && version == 5
	case Disconnect:
		ok = first == 0
	case Event, BinaryEvent:
		ok = first == '[' && isName(p.Data[skipSpace(p.Data, 1):])
	case Ack, BinaryAck:
		ok = first == '[' && p.HasID
	case ConnectError:
		ok = first == '{' || first == '"' || version == 4
	}
	if !ok {
		return wrong("its data does not fit its kind")
	}
	return nil
}

// isName tells whether an event may have the name that b, the rest of an array,
// begins with.
func isName(b []byte) bool {
	if b[0] != '"' {
		return b[0] >= '0' && b[0] <= '9' || b[0] == '-'
	}
	switch string(content(b[:stringLength(b)])) {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return false
	}
	return true
}

// Args gives the elements of a JSON array that was checked.
func Args(data []byte) (args [][]byte, err error) {
	if len(data) == 0 || data[0] != '[' {
		return nil, wrong("it is no array")
	}
	err = protocol.EachElement(data, func(element []byte) error {
		args = append(args, element)
		return nil
	})
	if err != nil {
		return nil, wrong("%v", err)
	}
	return args, nil
}

// Append appends a packet as WebSocket frames: a text frame, and a binary one for
// each attachment, or a single binary frame in the msgpack form. The kind is never
// BinaryEvent or BinaryAck: an event or an acknowledgement becomes that by itself
// when its data has something binary in it. With more than [MaxAttachments] it
// stays text, in which the receiver finds the {"$binary":…} objects. Otherwise the
// bytes of data are passed through.
func Append(dst []byte, d Dialect, p Packet) []byte {
	if d == Msgpack {
		return appendMsgpackMessage(dst, &p)
	}
	data, attachments := p.Data, [][]byte(nil)
	if p.Kind == Event || p.Kind == Ack {
		if bytes.Contains(data, []byte(binaryKey)) {
			rest, taken := Extract(nil, data)
			if len(taken) > 0 && len(taken) <= MaxAttachments {
				p.Kind += BinaryEvent - Event
				data, attachments = rest, taken
			}
		}
	}
	var room [64]byte
	head := append(room[:0], '0'+byte(p.Kind))
	if len(attachments) > 0 {
		head = append(strconv.AppendInt(head, int64(len(attachments)), 10), '-')
	}
	if p.Namespace != "/" && p.Namespace != "" {
		head = append(append(head, p.Namespace...), ',')
	}
	if p.HasID {
		head = strconv.AppendUint(head, p.ID, 10)
	}
	dst = appendMessage(dst, head, data)
	version := 4
	if d == V4 {
		version = 3
	}
	for _, a := range attachments {
		dst = engineio.AppendBinary(dst, version, a)
	}
	return dst
}
