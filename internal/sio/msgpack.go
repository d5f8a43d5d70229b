package sio

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/protocol"
)

// The msgpack form: a packet is a map with type, nsp, data and id, in any order,
// and what else a client puts there. Libraries for msgpack decode into Go values;
// here it becomes JSON, under the bounds of the text form, without a detour.

// ReadMsgpack reads a packet from the binary message that it is. Its data is JSON
// of at most maxDepth levels: bytes are {"$binary":"<base64>"}, integers are exact,
// JavaScript's undefined, NaN and the infinities are null, and times are strings
// of RFC 3339. It follows the rules of [Read]; Data does not alias b.
func ReadMsgpack(b []byte, maxDepth int) (Packet, error) {
	var p Packet
	d := decoder{in: string(b), out: make([]byte, 0, len(b)), depth: maxDepth}
	n, err := d.mapHeader()
	if err != nil {
		return p, err
	}
	kind := -1
	for range n {
		key, err := d.key()
		if err != nil {
			return p, err
		}
		begin := len(d.out)
		if err := d.value(); err != nil {
			return p, err
		}
		value := d.out[begin:len(d.out):len(d.out)]
		null := string(value) == "null"
		if key == "data" {
			if p.Data = value; null {
				p.Data = nil
			}
			continue // what follows is written behind it
		}
		d.out = d.out[:begin]
		switch key {
		case "type":
			if kind = -1; len(value) == 1 && value[0] >= '0' && value[0] <= '4' {
				kind = int(value[0] - '0')
			}
		case "nsp":
			name, ok := protocol.Unquote(value)
			if !ok || len(name) > maxNamespace || name == "" || name[0] != '/' {
				return p, wrong("the namespace is no name")
			}
			p.Namespace = name
		case "id":
			if p.HasID, p.ID = false, 0; null {
				break
			}
			if p.ID, err = strconv.ParseUint(string(value), 10, 64); err != nil || p.ID > maxID {
				return p, wrong("the acknowledgement id is no number")
			}
			p.HasID = true
		}
	}
	switch {
	case d.in != "":
		return p, wrong("something follows it")
	case p.Namespace == "":
		return p, wrong("there is no namespace")
	case kind < 0:
		return p, wrong("there is no type")
	}
	p.Kind = Kind(kind)
	return p, fits(&p, 5)
}

// decoder turns msgpack into JSON.
type decoder struct {
	in    string // what is still to be read: keys are parts of it
	out   []byte
	depth int // how many more levels may open
}

func (d *decoder) take(n int) (string, error) {
	if n < 0 || n > len(d.in) {
		return "", wrong("it ends too early")
	}
	part := d.in[:n]
	d.in = d.in[n:]
	return part, nil
}

func (d *decoder) first() (byte, error) {
	s, err := d.take(1)
	if err != nil {
		return 0, err
	}
	return s[0], nil
}

// length reads a length of so many bytes. Each of what it counts takes a byte at
// least, so one that is too large is found before anything is made of that size.
func (d *decoder) length(bytes int) (int, error) {
	n, err := d.number(bytes)
	if err == nil && n > uint64(len(d.in)) {
		err = wrong("it ends too early")
	}
	return int(n), err
}

func (d *decoder) number(bytes int) (u uint64, err error) {
	s, err := d.take(bytes)
	for i := range len(s) {
		u = u<<8 | uint64(s[i])
	}
	return u, err
}

func (d *decoder) mapHeader() (n int, err error) {
	c, err := d.first()
	switch {
	case err != nil:
		return 0, err
	case c&0xf0 == 0x80:
		return int(c & 0x0f), nil
	case c == 0xde:
		return d.length(2)
	case c == 0xdf:
		return d.length(4)
	}
	return 0, wrong("it is no map")
}

// text reads a string whose first byte has been taken; false: it is none.
func (d *decoder) text(c byte) (s string, is bool, err error) {
	n := 0
	switch {
	case c&0xe0 == 0xa0:
		n = int(c & 0x1f)
	case c >= 0xd9 && c <= 0xdb:
		n, err = d.length(1 << (c - 0xd9))
	default:
		return "", false, nil
	}
	if err == nil {
		s, err = d.take(n)
	}
	if err == nil && !utf8.ValidString(s) {
		err = wrong("a string is not UTF-8")
	}
	return s, true, err
}

func (d *decoder) key() (string, error) {
	c, err := d.first()
	if err != nil {
		return "", err
	}
	s, is, err := d.text(c)
	if err == nil && !is {
		err = wrong("a key is no string")
	}
	return s, err
}

// value appends one value as JSON.
func (d *decoder) value() error {
	c, err := d.first()
	if err != nil {
		return err
	}
	if s, is, err := d.text(c); is || err != nil {
		d.out = protocol.AppendString(d.out, s)
		return err
	}
	switch {
	case c < 0x80:
		d.out = strconv.AppendUint(d.out, uint64(c), 10)
		return nil
	case c >= 0xe0:
		d.out = strconv.AppendInt(d.out, int64(int8(c)), 10)
		return nil
	case c&0xf0 == 0x80:
		return d.object(int(c & 0x0f))
	case c&0xf0 == 0x90:
		return d.array(int(c & 0x0f))
	}
	return d.other(c)
}

// other appends a value whose first byte says its type and no more.
func (d *decoder) other(c byte) (err error) {
	n := 0
	switch c {
	case 0xc0:
		d.out = append(d.out, "null"...)
	case 0xc2:
		d.out = append(d.out, "false"...)
	case 0xc3:
		d.out = append(d.out, "true"...)
	case 0xc4, 0xc5, 0xc6:
		if n, err = d.length(1 << (c - 0xc4)); err == nil {
			err = d.bytes(n)
		}
	case 0xc7, 0xc8, 0xc9:
		if n, err = d.length(1 << (c - 0xc7)); err == nil {
			err = d.extension(n)
		}
	case 0xca:
		var u uint64
		if u, err = d.number(4); err == nil {
			d.float(float64(math.Float32frombits(uint32(u))))
		}
	case 0xcb:
		var u uint64
		if u, err = d.number(8); err == nil {
			d.float(math.Float64frombits(u))
		}
	case 0xcc, 0xcd, 0xce, 0xcf:
		var u uint64
		u, err = d.number(1 << (c - 0xcc))
		d.out = strconv.AppendUint(d.out, u, 10)
	case 0xd0, 0xd1, 0xd2, 0xd3:
		var u uint64
		size := 1 << (c - 0xd0)
		u, err = d.number(size)
		shift := 64 - 8*size
		d.out = strconv.AppendInt(d.out, int64(u<<shift)>>shift, 10)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		err = d.extension(1 << (c - 0xd4))
	case 0xdc, 0xdd:
		if n, err = d.length(2 << (c - 0xdc)); err == nil {
			err = d.array(n)
		}
	case 0xde, 0xdf:
		if n, err = d.length(2 << (c - 0xde)); err == nil {
			err = d.object(n)
		}
	default:
		err = wrong("0x%02x begins no value", c)
	}
	return err
}

func (d *decoder) deeper() error {
	if d.depth--; d.depth < 0 {
		return wrong("it is nested too deep")
	}
	return nil
}

func (d *decoder) array(n int) error {
	if err := d.deeper(); err != nil {
		return err
	}
	d.out = append(d.out, '[')
	for i := range n {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		if err := d.value(); err != nil {
			return err
		}
	}
	d.out = append(d.out, ']')
	d.depth++
	return nil
}

func (d *decoder) object(n int) error {
	if err := d.deeper(); err != nil {
		return err
	}
	d.out = append(d.out, '{')
	for i := range n {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		key, err := d.key()
		if err != nil {
			return err
		}
		d.out = append(protocol.AppendString(d.out, key), ':')
		if err := d.value(); err != nil {
			return err
		}
	}
	d.out = append(d.out, '}')
	d.depth++
	return nil
}

func (d *decoder) bytes(n int) error {
	s, err := d.take(n)
	if err == nil && d.depth < 1 { // it becomes an object
		err = wrong("it is nested too deep")
	}
	if err == nil {
		d.out = appendBinaryObject(d.out, []byte(s))
	}
	return err
}

// float appends a number as encoding/json does; what JSON cannot say is null.
func (d *decoder) float(f float64) {
	b, err := json.Marshal(f)
	if err != nil {
		b = []byte("null")
	}
	d.out = append(d.out, b...)
}

// extension reads what JavaScript's undefined (0), a time (-1) and a time of older
// clients (0, in eight bytes) are.
func (d *decoder) extension(n int) error {
	kind, err := d.first()
	if err != nil {
		return err
	}
	if isTime := kind == 0xff && (n == 4 || n == 8 || n == 12); kind != 0 && !isTime {
		return wrong("an extension of type %d", int8(kind))
	}
	if kind == 0 && n != 8 {
		d.out = append(d.out, "null"...)
		_, err = d.take(n)
		return err
	}
	nanoseconds := uint64(0)
	if n == 12 {
		if nanoseconds, err = d.number(4); err != nil {
			return err
		}
		n = 8
	} else if kind == 0xff && n == 8 {
		u, err := d.number(8)
		d.time(int64(u&(1<<34-1)), int64(u>>34))
		return err
	}
	u, err := d.number(n)
	if kind == 0 {
		ms := int64(u)
		d.time(ms/1000, ms%1000*int64(time.Millisecond))
		return err
	}
	d.time(int64(u), int64(nanoseconds))
	return err
}

// time appends a time as a string of RFC 3339, or null when that has no words for
// its year.
func (d *decoder) time(seconds, nanoseconds int64) {
	t := time.Unix(seconds, nanoseconds).UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		d.out = append(d.out, "null"...)
		return
	}
	d.out = append(t.AppendFormat(append(d.out, '"'), time.RFC3339Nano), '"')
}

// AppendMsgpack appends a packet, without the header of a frame. Data must be JSON
// that was checked. Integers that fit into 64 bits stay exact; other numbers become
// the nearest 64-bit float.
func AppendMsgpack(dst []byte, p *Packet) []byte {
	n := byte(2)
	if p.Data != nil {
		n++
	}
	if p.HasID {
		n++
	}
	dst = append(dst, 0x80|n)
	dst = append(appendText(dst, "type"), byte(p.Kind))
	nsp := p.Namespace
	if nsp == "" {
		nsp = "/"
	}
	dst = appendText(appendText(dst, "nsp"), nsp)
	if p.Data != nil {
		dst, _ = appendValue(appendText(dst, "data"), p.Data)
	}
	if p.HasID {
		dst = appendUint(appendText(dst, "id"), p.ID)
	}
	return dst
}

// appendValue appends the value that b begins with, and gives what follows it.
func appendValue(dst, b []byte) (out, rest []byte) {
	b = b[skipSpace(b, 0):]
	if len(b) == 0 {
		return dst, nil
	}
	switch b[0] {
	case '{':
		if payload, n := cutBinary(b); n > 0 {
			return append(appendSize(dst, 0xc4, len(payload)), payload...), b[n:]
		}
		return appendMembers(dst, b)
	case '[':
		return appendMembers(dst, b)
	case '"':
		n := stringLength(b)
		return appendText(dst, content(b[:n])), b[n:]
	}
	n := wordLength(b)
	switch word := b[:n]; word[0] {
	case 't':
		return append(dst, 0xc3), b[n:]
	case 'f':
		return append(dst, 0xc2), b[n:]
	case 'n':
		return append(dst, 0xc0), b[n:]
	default:
		return appendNumber(dst, word), b[n:]
	}
}

// appendMembers appends an array or an object in one pass: what it is and how many
// members it has is written in front of them when they have been counted.
func appendMembers(dst, b []byte) (out, rest []byte) {
	object, begin, n := b[0] == '{', len(dst), 0
	dst, b = append(dst, 0), b[1:]
	for len(b) > 0 && b[0] != ']' && b[0] != '}' {
		switch b[0] {
		case ',', ':', ' ', '\n', '\t', '\r':
			b = b[1:]
		default: // a key counts as a value here
			dst, b = appendValue(dst, b)
			n++
		}
	}
	if len(b) > 0 {
		b = b[1:]
	}
	few, many := byte(0x90), byte(0xdc)
	if object {
		few, many, n = 0x80, 0xde, n/2
	}
	if n < 16 {
		dst[begin] = few | byte(n)
		return dst, b
	}
	var room [4]byte
	count := binary.BigEndian.AppendUint32(room[:0], uint32(n))
	dst[begin] = many + 1
	if n < 1<<16 {
		dst[begin], count = many, count[2:]
	}
	return slices.Insert(dst, begin+1, count...), b
}

func appendText[S string | []byte](dst []byte, s S) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	default:
		dst = appendSize(dst, 0xd9, n)
	}
	return append(dst, s...)
}

func appendUint(dst []byte, u uint64) []byte {
	switch {
	case u < 1<<7:
		return append(dst, byte(u))
	case u < 1<<8:
		return append(dst, 0xcc, byte(u))
	case u < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(u))
	case u < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(u))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), u)
}

func appendNumber(dst, word []byte) []byte {
	if u, err := strconv.ParseUint(string(word), 10, 64); err == nil {
		return appendUint(dst, u)
	}
	if i, err := strconv.ParseInt(string(word), 10, 64); err == nil && i < 0 { // a zero with a sign is a float
		return appendNegative(dst, i)
	}
	f, _ := strconv.ParseFloat(string(word), 64) // out of range it is infinite, which is what is nearest
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f))
}

func appendNegative(dst []byte, i int64) []byte {
	switch {
	case i >= -32:
		return append(dst, byte(i))
	case i >= math.MinInt8:
		return append(dst, 0xd0, byte(i))
	case i >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(i))
	case i >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(i))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(i))
}

// appendSize appends one of three headers, for sizes of 8, 16 and 32 bits.
func appendSize(dst []byte, header byte, n int) []byte {
	switch {
	case n < 1<<8:
		return append(dst, header, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, header+1), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, header+2), uint32(n))
}
