package sio

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/protocol"
)

// The msgpack form: a packet is a map with type, nsp, data and id, in any order,
// and what else a client puts there.

// ReadMsgpack reads a packet from the binary message that it is.
func ReadMsgpack(b []byte, maxDepth int) (Packet, error) {
	var p Packet
	d := decoder{b: b, depth: maxDepth}
	n, err := d.mapHeader()
	if err != nil {
		return p, err
	}
	kind := ""
	for range n {
		key, err := d.key()
		if err != nil {
			return p, err
		}
		begin := len(d.out)
		if err := d.value(); err != nil {
			return p, err
		}
		value := bytes.Clone(d.out[begin:])
		d.out = d.out[:begin]
		switch key {
		case "type":
			kind = string(value)
		case "nsp":
			name, ok := protocol.Unquote(value)
			if value[0] != '"' || !ok || len(name) > maxNamespace || name == "" || name[0] != '/' {
				return p, wrong("the namespace is no name")
			}
			p.Namespace = name
		case "data":
			if string(value) != "null" {
				p.Data = value
			}
		case "id":
			if string(value) == "null" {
				break
			}
			if p.ID, err = strconv.ParseUint(string(value), 10, 64); err != nil || p.ID > maxID {
				return p, wrong("the acknowledgement id is no number")
			}
			p.HasID = true
		}
	}
	if len(d.b) > 0 {
		return p, wrong("something follows it")
	}
	if p.Namespace == "" {
		return p, wrong("there is no namespace")
	}
	if len(kind) != 1 || kind[0] < '0' || kind[0] > '4' {
		return p, wrong("there is no type")
	}
	p.Kind = Kind(kind[0] - '0')
	return p, fits(&p, 5)
}

// decoder turns msgpack into JSON.
type decoder struct {
	b     []byte
	out   []byte
	depth int
}

func (d *decoder) take(n int) ([]byte, error) {
	if n < 0 || n > len(d.b) {
		return nil, wrong("it ends too early")
	}
	part := d.b[:n]
	d.b = d.b[n:]
	return part, nil
}

// length reads a length of so many bytes.
func (d *decoder) length(bytes int) (int, error) {
	n, err := d.number(bytes)
	if err == nil && n > uint64(len(d.b)) {
		err = wrong("it ends too early")
	}
	return int(n), err
}

func (d *decoder) number(bytes int) (uint64, error) {
	b, err := d.take(bytes)
	if err != nil {
		return 0, err
	}
	var full [8]byte
	copy(full[8-bytes:], b)
	return binary.BigEndian.Uint64(full[:]), nil
}

func (d *decoder) mapHeader() (n int, err error) {
	c, err := d.take(1)
	switch {
	case err != nil:
		return 0, err
	case c[0]&0xf0 == 0x80:
		return int(c[0] & 0x0f), nil
	case c[0] == 0xde:
		return d.length(2)
	case c[0] == 0xdf:
		return d.length(4)
	}
	return 0, wrong("it is no map")
}

// text reads a string whose first byte has been taken; false: it is none.
func (d *decoder) text(c byte) (s []byte, is bool, err error) {
	n := 0
	switch {
	case c&0xe0 == 0xa0:
		n = int(c & 0x1f)
	case c >= 0xd9 && c <= 0xdb:
		n, err = d.length(1 << (c - 0xd9))
	default:
		return nil, false, nil
	}
	if err == nil {
		s, err = d.take(n)
	}
	if err == nil && !utf8.Valid(s) {
		err = wrong("a string is not UTF-8")
	}
	return s, true, err
}

func (d *decoder) key() (string, error) {
	c, err := d.take(1)
	if err != nil {
		return "", err
	}
	s, is, err := d.text(c[0])
	if err == nil && !is {
		err = wrong("a key is no string")
	}
	return string(s), err
}

// value appends one value as JSON.
func (d *decoder) value() error {
	head, err := d.take(1)
	if err != nil {
		return err
	}
	c := head[0]
	if s, is, err := d.text(c); is || err != nil {
		d.out = protocol.AppendString(d.out, string(s))
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
	b, err := d.take(n)
	if err != nil {
		return err
	}
	d.out = append(append(append(d.out, '{'), binaryKey...), ':', '"')
	d.out = append(base64.StdEncoding.AppendEncode(d.out, b), '"', '}')
	return nil
}

// float appends a number as encoding/json does; what JSON cannot say is null.
func (d *decoder) float(f float64) {
	b, err := json.Marshal(f)
	if err != nil {
		b = []byte("null")
	}
	d.out = append(d.out, b...)
}

// extension reads what JavaScript's undefined (0) and a time (-1) are.
func (d *decoder) extension(n int) error {
	kind, err := d.take(1)
	if err != nil {
		return err
	}
	b, err := d.take(n)
	if err != nil {
		return err
	}
	switch {
	case kind[0] == 0:
		d.out = append(d.out, "null"...)
		return nil
	case kind[0] == 0xff && n == 4:
		d.time(int64(binary.BigEndian.Uint32(b)), 0)
		return nil
	case kind[0] == 0xff && n == 8:
		u := binary.BigEndian.Uint64(b)
		d.time(int64(u&(1<<34-1)), int64(u>>34))
		return nil
	case kind[0] == 0xff && n == 12:
		d.time(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b)))
		return nil
	}
	return wrong("an extension of type %d", int8(kind[0]))
}

func (d *decoder) time(seconds, nanoseconds int64) {
	d.out = protocol.AppendString(d.out, time.Unix(seconds, nanoseconds).UTC().Format(time.RFC3339Nano))
}

// AppendMsgpack appends a packet.
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
		dst = appendValue(appendText(dst, "data"), p.Data)
	}
	if p.HasID {
		dst = appendUint(appendText(dst, "id"), p.ID)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n < 1<<8:
		dst = append(dst, 0xd9, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n))
	}
	return append(dst, s...)
}

func appendUint(dst []byte, u uint64) []byte {
	switch {
	case u < 1<<7:
		return append(dst, byte(u))
	case u < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(u))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), u)
}

// appendValue appends JSON that was checked.
func appendValue(dst, data []byte) []byte {
	data = bytes.TrimSpace(data)
	switch data[0] {
	case '{':
		if b, ok := binaryOf(data); ok {
			return append(appendSize(dst, 0xc4, len(b)), b...)
		}
		return appendObject(dst, data)
	case '[':
		args, _ := Args(data)
		dst = appendCount(dst, 0x90, 0xdc, len(args))
		for _, a := range args {
			dst = appendValue(dst, a)
		}
		return dst
	case '"':
		s, _ := protocol.Unquote(data)
		return appendText(dst, s)
	case 't':
		return append(dst, 0xc3)
	case 'f':
		return append(dst, 0xc2)
	case 'n':
		return append(dst, 0xc0)
	}
	return appendNumber(dst, string(data))
}

func appendNumber(dst []byte, text string) []byte {
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return appendUint(dst, u)
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		if i >= -32 {
			return append(dst, byte(i))
		}
		return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(i))
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range it is infinite, which is what is nearest
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f))
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

// appendCount appends the header of an array or a map.
func appendCount(dst []byte, few, many byte, n int) []byte {
	switch {
	case n < 16:
		return append(dst, few|byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, many), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, many+1), uint32(n))
}

func appendObject(dst, data []byte) []byte {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if o.Read(data, 1<<10) != nil { // it has very many members
		var all map[string]json.RawMessage
		if json.Unmarshal(data, &all) != nil {
			return append(dst, 0xc0)
		}
		dst = appendCount(dst, 0x80, 0xde, len(all))
		for _, name := range slices.Sorted(maps.Keys(all)) {
			dst = appendValue(appendText(dst, name), all[name])
		}
		return dst
	}
	n := 0
	o.Each(func(string, []byte) bool { n++; return true })
	dst = appendCount(dst, 0x80, 0xde, n)
	o.Each(func(name string, raw []byte) bool {
		dst = appendValue(appendText(dst, name), raw)
		return true
	})
	return dst
}
