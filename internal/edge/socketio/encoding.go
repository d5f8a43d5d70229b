package socketio

import (
	"encoding/base64"
	"sync"

	"github.com/skein-realtime/skein/internal/engineio"
	"github.com/skein-realtime/skein/internal/sio"
	"github.com/skein-realtime/skein/protocol"
)

// encoding turns frames of the client protocol into packets for the sockets of
// one namespace. All sockets with equal encodings share what it makes.
type encoding struct {
	dialect   sio.Dialect
	namespace string
	recover   bool // messages that are kept carry their place
}

// ControlEvent is the event under which a socket is told what Socket.IO has no
// packet for; its argument is the frame. Clients send frames under it, too.
const ControlEvent = "skein"

var frames = sync.Pool{New: func() any { return new(protocol.Frame) }}

// maxDepth bounds the nesting of frames that the server itself has made.
const maxDepth = 1 << 10

// Append implements hub.Encoding.
func (e encoding) Append(dst, frame []byte) []byte {
	f := frames.Get().(*protocol.Frame)
	defer frames.Put(f)
	if f.Read(frame, maxDepth) != nil {
		return dst // the server makes no such frames
	}
	p := sio.Packet{Kind: sio.Event, Namespace: e.namespace}
	switch f.Type {
	case protocol.TypeMsg, protocol.TypeNotice:
		p.Data = append(appendEvent(nil, f.Raw("event"), f.Raw("data")), ']')
		if seq := f.Raw("seq"); e.recover && seq != nil {
			p.Data = append(appendOffset(append(p.Data[:len(p.Data)-1], ','), f.Raw("channel"), seq), ']')
		}
	case protocol.TypeCall:
		p.Data = append(appendEvent(nil, f.Raw("method"), f.Raw("data")), ']')
		p.HasID, p.ID = number(f.ID)
	case protocol.TypeOK, protocol.TypeError:
		if p.HasID, p.ID = number(f.ID); p.HasID {
			p.Kind = sio.Ack
			if reply := f.Raw("reply"); reply != nil { // the application answers the event
				p.Data = arrayOfData(reply)
			} else {
				p.Data = append(append(append(p.Data, '['), frame...), ']')
			}
			break
		}
		p.Data = control(frame)
	default:
		p.Data = control(frame)
	}
	return sio.Append(dst, e.dialect, p)
}

// Show implements hub.Shower: packets as a websocket of version 4 has them in its
// text messages, binary parts as in a poll.
func (e encoding) Show(wire []byte, show func(message []byte)) {
	_ = engineio.Frames(wire, func(binary bool, payload []byte) error { // the server itself has made them
		switch {
		case !binary:
			show(payload)
		case e.dialect == sio.Msgpack:
			p, err := sio.ReadMsgpack(payload, maxDepth)
			if err == nil {
				encoding{dialect: sio.V5}.Show(sio.Append(nil, sio.V5, p), show)
			}
			return err
		default:
			show(base64.StdEncoding.AppendEncode([]byte{'b'}, payload))
		}
		return nil
	})
}

func control(frame []byte) []byte {
	b := append(make([]byte, 0, len(frame)+16), `["`+ControlEvent+`",`...)
	return append(append(b, frame...), ']')
}

// number reads the id of a frame that came of an acknowledgement id.
func number(id []byte) (ok bool, n uint64) {
	if len(id) == 0 || len(id) > 16 {
		return false, 0
	}
	for _, c := range id {
		if c < '0' || c > '9' {
			return false, 0
		}
		n = n*10 + uint64(c-'0')
	}
	return true, n
}

// appendEvent appends an event's name and arguments as a JSON array that is left
// open. Arguments other than exactly one are kept as the data {"args":[…]}.
func appendEvent(dst, name, data []byte) []byte {
	dst = append(append(dst, '['), name...)
	if args, ok := several(data); ok {
		if inner := args[1 : len(args)-1]; len(trim(inner)) > 0 {
			dst = append(append(dst, ','), inner...)
		}
		return dst
	}
	if data == nil {
		data = []byte("null")
	}
	return append(append(dst, ','), data...)
}

// arrayOfData gives what dataOf made of arguments as their array.
func arrayOfData(data []byte) []byte {
	if args, ok := several(data); ok {
		return append([]byte(nil), args...)
	}
	return append(append([]byte{'['}, data...), ']')
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// several tells data that stands for several arguments, and gives their array.
func several(data []byte) (args []byte, ok bool) {
	if len(data) < 10 || data[0] != '{' {
		return nil, false
	}
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if o.Read(data, maxDepth) != nil {
		return nil, false
	}
	n := 0
	o.Each(func(name string, raw []byte) bool {
		n++
		if name == "args" && raw[0] == '[' {
			args = raw
		}
		return n < 2
	})
	return args, n == 1 && args != nil
}

// dataOf is what a channel's message keeps of an event's arguments: the only one
// as it is, and any other number of them as {"args":[…]}.
func dataOf(args [][]byte) []byte {
	if len(args) == 1 {
		if _, taken := several(args[0]); !taken {
			return args[0]
		}
	}
	return append(appendArgs([]byte(`{"args":`), args), '}')
}

func appendArgs(dst []byte, args [][]byte) []byte {
	dst = append(dst, '[')
	for i, a := range args {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, a...)
	}
	return append(dst, ']')
}
