// Package sio is the wire form of Socket.IO packets, versions 5 and 4, and of the
// msgpack form that socket.io-msgpack-parser has. It keeps no state and does no
// input or output.
//
// The server keeps what is binary inside of JSON, as {"$binary":"<base64>"};
// [Inline] and [Extract] go from attachments to that and back.
package sio

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
		if len(name) > maxNamespace+1<<10 {
			return p, wrong("the namespace is too long")
		}
		p.Namespace, p.Query, _ = strings.Cut(string(name), "?")
		if len(p.Namespace) > maxNamespace {
			return p, wrong("the namespace is too long")
		}
		text = rest
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
		if ok = first == '['; ok {
			args, err := Args(p.Data)
			ok = err == nil && len(args) > 0 && isName(args[0])
		}
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

// isName tells whether an event may have a name.
func isName(raw []byte) bool {
	if raw[0] != '"' {
		return raw[0] >= '0' && raw[0] <= '9' || raw[0] == '-'
	}
	name, ok := protocol.Unquote(raw)
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return false
	}
	return ok
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

const binaryKey = `"$binary"`

// Inline puts attachments in the place of the placeholders in data.
func Inline(data []byte, attachments [][]byte) ([]byte, error) {
	var bad error
	out := rewrite(nil, data, `"_placeholder"`, func(dst, object []byte) ([]byte, bool) {
		o := protocol.GetObject()
		defer protocol.PutObject(o)
		if o.Read(object, 1<<10) != nil {
			return dst, false
		}
		if is, err := o.Bool("_placeholder", false); err != nil || !is {
			return dst, false
		}
		n, err := o.Int("num", -1, 0, int64(len(attachments)-1))
		if err != nil || n < 0 {
			bad = wrong("a placeholder names no attachment")
			return dst, false
		}
		dst = append(append(append(dst, '{'), binaryKey...), ':', '"')
		return append(base64.StdEncoding.AppendEncode(dst, attachments[n]), '"', '}'), true
	})
	return out, bad
}

// Extract takes what is binary out of data: it appends the rest to dst, with
// placeholders, and gives the attachments in order.
func Extract(dst, data []byte) (out []byte, attachments [][]byte) {
	if !bytes.Contains(data, []byte(binaryKey)) {
		return append(dst, data...), nil
	}
	out = rewrite(dst, data, binaryKey, func(dst, object []byte) ([]byte, bool) {
		b, ok := binaryOf(object)
		if !ok {
			return dst, false
		}
		dst = strconv.AppendInt(append(dst, `{"_placeholder":true,"num":`...), int64(len(attachments)), 10)
		attachments = append(attachments, b)
		return append(dst, '}'), true
	})
	return out, attachments
}

// binaryOf gives the bytes of an object that is exactly {"$binary":"<base64>"}.
func binaryOf(object []byte) ([]byte, bool) {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if o.Read(object, 4) != nil {
		return nil, false
	}
	members := 0
	o.Each(func(string, []byte) bool { members++; return true })
	raw := o.Raw("$binary")
	if members != 1 || raw == nil || raw[0] != '"' {
		return nil, false
	}
	text, ok := protocol.Unquote(raw)
	if !ok {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	return b, err == nil
}

// rewrite copies JSON that was checked, and lets replace put something else in
// the place of objects whose first key is the given one. It looks for objects
// outside of strings only.
func rewrite(dst, data []byte, key string, replace func(dst, object []byte) ([]byte, bool)) []byte {
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			end := i + stringLength(data[i:])
			dst = append(dst, data[i:end]...)
			i = end
		case '{':
			if n := objectLength(data[i:], key); n > 0 {
				var done bool
				if dst, done = replace(dst, data[i:i+n]); done {
					i += n
					continue
				}
			}
			dst = append(dst, '{')
			i++
		default:
			dst = append(dst, data[i])
			i++
		}
	}
	return dst
}

// stringLength is the length of the JSON string that b begins with.
func stringLength(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// objectLength is the length of the object that b begins with, when key stands in
// it, and not only in something inside of it; else 0.
func objectLength(b []byte, key string) int {
	found, depth := false, 1
	for i := 1; i < len(b); {
		switch b[i] {
		case '"':
			n := stringLength(b[i:])
			found = found || depth == 1 && string(b[i:i+n]) == key
			i += n
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				if !found {
					return 0
				}
				return i + 1
			}
		}
		i++
	}
	return 0
}

// Append appends a packet as WebSocket frames. Data of an event or an
// acknowledgement may have something binary in it.
func Append(dst []byte, d Dialect, p Packet) []byte {
	if d == Msgpack {
		return engineio.AppendBinary(dst, 4, AppendMsgpack(nil, &p))
	}
	data, attachments := p.Data, [][]byte(nil)
	if p.Kind == Event || p.Kind == Ack {
		if bytes.Contains(data, []byte(binaryKey)) {
			data, attachments = Extract(nil, data)
		}
		if len(attachments) > 0 {
			p.Kind += BinaryEvent - Event
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
