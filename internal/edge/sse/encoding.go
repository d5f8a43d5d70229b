package sse

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
)

// Encoding is the encoding of this door for the hub. Its bytes do not go to the
// wire as they are: each frame becomes a record, which is the event's text with what
// a connection has to know of it in front, read out of the JSON once for all
// receivers. The text is the same for everybody; the event's id is not, because it
// holds the places of all channels that a connection reads.
func Encoding() hub.Encoding { return records{} }

// effect is what a frame means for the places of a connection.
type effect byte

const (
	effectNone    effect = iota
	effectMessage        // msg, patch: the connection has the channel up to seq
	effectRecall         // recall: so it does, when this stands in the sequence
	effectGap            // gap: it stands behind to, in the epoch; snapshot: it has that version
	effectBegin          // ok to sub, subscribed: the channel is a log; it ends at seq now
	effectCheck          // it may not be subscribed to the channel any more
	effectBye            // seq is when to come back, in milliseconds; zero: not
)

// record is one event.
//
//	effect, 1 byte
//	seq, channel length, epoch length, text length: varints
//	channel, epoch, text
type record struct {
	effect  effect
	seq     uint64
	channel []byte
	epoch   []byte
	text    []byte
}

type records struct{}

// Append implements hub.Encoding.
func (records) Append(dst, frame []byte) []byte {
	r := record{}
	if kind, ok := kindOf(frame); ok {
		o := protocol.GetObject()
		if o.Read(frame, frameDepth) == nil {
			r = read(kind, o)
		}
		protocol.PutObject(o)
	}
	dst = append(dst, byte(r.effect))
	dst = binary.AppendUvarint(dst, r.seq)
	dst = binary.AppendUvarint(dst, uint64(len(r.channel)))
	dst = binary.AppendUvarint(dst, uint64(len(r.epoch)))
	dst = binary.AppendUvarint(dst, uint64(len(prefix)+len(frame)+len(suffix)))
	dst = append(append(dst, r.channel...), r.epoch...)
	dst = append(dst, prefix...)
	start := len(dst)
	dst = append(dst, frame...)
	// JSON has line breaks only between its tokens, where a space does as well; in an
	// event each would begin a new field.
	for _, end := range [...]byte{'\n', '\r'} {
		for b := dst[start:]; ; {
			i := bytes.IndexByte(b, end)
			if i < 0 {
				break
			}
			b[i] = ' '
			b = b[i+1:]
		}
	}
	return append(dst, suffix...)
}

const (
	prefix = "data: "
	suffix = "\n\n"
)

// frameDepth bounds the nesting of a frame that the server itself has made of what
// it had checked.
const frameDepth = 1000

var typePrefix = []byte(`{"type":"`)

// kindOf gives the type of a frame, if one of that type can have an effect.
func kindOf(frame []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(frame, typePrefix)
	if !ok {
		return "", false
	}
	name, _, _ := bytes.Cut(rest, []byte{'"'})
	switch string(name) {
	case protocol.TypeMsg:
		return protocol.TypeMsg, true
	case protocol.TypePatch:
		return protocol.TypePatch, true
	case protocol.TypeSnapshot, protocol.TypeOK, protocol.TypeError, protocol.TypeGap, protocol.TypeRecall, protocol.TypeSubscribed, protocol.TypeUnsubscribed, protocol.TypeBye:
		return string(name), true
	}
	return "", false
}

// read finds what a frame means. Fields that are not as they should be mean nothing.
func read(kind string, o *protocol.Object) (r record) {
	number := func(name string) uint64 {
		n, err := o.Int(name, 0, 0, protocol.MaxInt)
		if err != nil {
			return 0
		}
		return uint64(n)
	}
	text := func(name string) []byte {
		s, _ := protocol.Unquote(o.Raw(name))
		return []byte(s)
	}
	r.channel = text("channel")
	switch kind {
	case protocol.TypeMsg:
		if r.seq = number("seq"); r.seq > 0 && len(r.channel) > 0 && r.channel[0] != '@' {
			r.effect = effectMessage
		}
	case protocol.TypePatch:
		r.effect, r.seq = effectMessage, number("version")
	case protocol.TypeSnapshot:
		r.effect, r.seq, r.epoch = effectGap, number("version"), text("epoch")
	case protocol.TypeRecall:
		r.effect, r.seq = effectRecall, number("seq")
	case protocol.TypeGap:
		r.effect, r.seq, r.epoch = effectGap, number("to"), text("epoch")
	case protocol.TypeOK, protocol.TypeSubscribed:
		r.epoch = text("epoch")
		switch {
		case len(r.channel) == 0:
		case len(r.epoch) > 0 && (kind == protocol.TypeSubscribed || o.Has("kind")):
			r.effect, r.seq = effectBegin, number("seq")
		default:
			r.effect = effectCheck
		}
	case protocol.TypeUnsubscribed:
		r.effect = effectCheck
	case protocol.TypeError:
		// What failed for now keeps its place, to be tried again when the client comes back.
		if code := string(text("code")); len(r.channel) > 0 && (code == string(fault.Denied) || code == string(fault.NotFound)) {
			r.effect = effectCheck
		}
	case protocol.TypeBye:
		r.effect = effectBye
		if again, err := o.Bool("reconnect", false); err == nil && again {
			r.seq = max(1, number("after"))
		}
	}
	if r.effect == effectNone {
		return record{}
	}
	return r
}

// next takes the first record off b, which holds whole ones.
func next(b []byte) (r record, rest []byte) {
	r.effect, b = effect(b[0]), b[1:]
	varint := func() uint64 {
		n, size := binary.Uvarint(b)
		b = b[size:]
		return n
	}
	r.seq = varint()
	channel, epoch, text := varint(), varint(), varint()
	r.channel, b = b[:channel], b[channel:]
	r.epoch, b = b[:epoch], b[epoch:]
	r.text, b = b[:text], b[text:]
	return r, b
}

// frame gives the JSON of a record.
func (r *record) frame() []byte { return r.text[len(prefix) : len(r.text)-len(suffix)] }

// appendID appends the field that sets an event's id.
func appendID(dst []byte, id []byte) []byte {
	return append(append(append(dst, "id: "...), id...), '\n')
}

// appendRetry appends the field that says after how many milliseconds a client
// should come back.
func appendRetry(dst []byte, ms uint64) []byte {
	return append(strconv.AppendUint(append(dst, "retry: "...), ms, 10), '\n')
}

// Show implements hub.Shower: the JSON of each event.
func (records) Show(wire []byte, show func(message []byte)) {
	for r := (record{}); len(wire) > 0; {
		r, wire = next(wire)
		show(r.frame())
	}
}
