package sio

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"

	"github.com/skein-realtime/skein/protocol"
)

// MaxAttachments is how many attachments clients of today take: the parser of
// socket.io-client closes the connection over a packet with more.
const MaxAttachments = 10

const binaryKey = `"$binary"`

// Inline puts attachments in the place of the placeholders in data, which must be
// JSON that was checked: {"_placeholder":true,"num":0} becomes
// {"$binary":"<base64>"}. A placeholder must name one of the attachments, and no
// two of them the same one, or else a short packet would become as large as its
// sender likes. The result is data itself when there is nothing to replace.
func Inline(data []byte, attachments [][]byte) ([]byte, error) {
	if !mayHavePlaceholder(data) {
		return data, nil
	}
	found := placeholders(data)
	size := len(data)
	used := make([]bool, len(attachments))
	for i, p := range found {
		n, err := strconv.ParseUint(string(p.num), 10, 32)
		if err != nil || n >= uint64(len(attachments)) || used[n] {
			return nil, wrong("a placeholder names no attachment of its own")
		}
		used[n], found[i].attachment = true, attachments[n]
		size += base64.StdEncoding.EncodedLen(len(attachments[n]))
	}
	out, copied := make([]byte, 0, size), 0
	for _, p := range found {
		out = appendBinaryObject(append(out, data[copied:p.start]...), p.attachment)
		copied = p.end
	}
	return append(out, data[copied:]...), nil
}

func appendBinaryObject(dst, b []byte) []byte {
	dst = append(append(append(dst, '{'), binaryKey...), ':', '"')
	return append(base64.StdEncoding.AppendEncode(dst, b), '"', '}')
}

// Extract takes what is binary out of data, which must be JSON that was checked:
// it appends the rest to dst, with placeholders, and gives the attachments in
// order. Data in which something already looks like a placeholder is left as it
// is, without attachments: a client has written that, and all who get the packet
// would close their connections over an attachment that does not exist.
func Extract(dst, data []byte) (out []byte, attachments [][]byte) {
	if !bytes.Contains(data, []byte(binaryKey)) {
		return append(dst, data...), nil
	}
	begin, copied := len(dst), 0
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			i += stringLength(data[i:])
		case '{':
			b, n := cutBinary(data[i:])
			if n == 0 {
				i++
				continue
			}
			dst = append(append(dst, data[copied:i]...), `{"_placeholder":true,"num":`...)
			dst = append(strconv.AppendInt(dst, int64(len(attachments)), 10), '}')
			attachments = append(attachments, b)
			i += n
			copied = i
		default:
			i++
		}
	}
	if attachments != nil && mayHavePlaceholder(data) && len(placeholders(data)) > 0 {
		return append(dst[:begin], data...), nil
	}
	return append(dst, data[copied:]...), attachments
}

// cutBinary gives the bytes of the object that b begins with, when it is exactly
// {"$binary":"<base64>"}, and its length; else 0.
func cutBinary(b []byte) (payload []byte, n int) {
	i := skipSpace(b, 1)
	if !bytes.HasPrefix(b[i:], []byte(binaryKey)) {
		return nil, 0
	}
	i = skipSpace(b, i+len(binaryKey))
	if i >= len(b) || b[i] != ':' {
		return nil, 0
	}
	i = skipSpace(b, i+1)
	if i >= len(b) || b[i] != '"' {
		return nil, 0
	}
	text := b[i : i+stringLength(b[i:])]
	i = skipSpace(b, i+len(text))
	if i >= len(b) || b[i] != '}' {
		return nil, 0
	}
	text = content(text)
	payload = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	size, err := base64.StdEncoding.Decode(payload, text)
	// The decoder passes over line breaks, which are not ours.
	if err != nil || base64.StdEncoding.EncodedLen(size) != len(text) {
		return nil, 0
	}
	return payload[:size], i + 1
}

// content is what stands between the quotes of a JSON string.
func content(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 && len(text) >= 2 {
		return text[1 : len(text)-1]
	}
	if protocol.Valid(text, 0) != nil {
		return nil
	}
	s, _ := protocol.Unquote(text)
	return []byte(s)
}

// mayHavePlaceholder is a quick look for what placeholders must have in them. A
// key can also be written with escapes.
func mayHavePlaceholder(data []byte) bool {
	return bytes.Contains(data, []byte("_placeholder")) || bytes.Contains(data, []byte(`\u00`))
}

// placeholder is an object that the receiver of a packet would put an attachment
// in the place of.
type placeholder struct {
	start, end int
	num        []byte // as it is written; nil when it is missing
	attachment []byte
}

// level is an array or object that a walk through JSON is in.
type level struct {
	placeholder
	object, is bool
	key        []byte // whose value comes next
}

// take takes the next key or value. Of members with equal names the last one
// counts, as in JavaScript.
func (l *level) take(token []byte) {
	if !l.object {
		return
	}
	if l.key == nil {
		l.key = token
		return
	}
	switch string(content(l.key)) {
	case "_placeholder":
		l.is = string(token) == "true"
	case "num":
		l.num = token
	}
}

// placeholders finds them in JSON that was checked, in one pass and in order. One
// inside of another goes with it.
func placeholders(data []byte) (found []placeholder) {
	levels := make([]level, 1, 16) // the first one is around everything
	for i := 0; i < len(data); {
		top := &levels[len(levels)-1]
		switch data[i] {
		case '{', '[':
			levels = append(levels, level{placeholder: placeholder{start: i}, object: data[i] == '{'})
			i++
		case '}', ']':
			if i++; len(levels) == 1 {
				continue
			}
			if top.is {
				top.end = i
				for len(found) > 0 && found[len(found)-1].start > top.start {
					found = found[:len(found)-1]
				}
				found = append(found, top.placeholder)
			}
			whole := data[top.start:i]
			levels = levels[:len(levels)-1]
			levels[len(levels)-1].take(whole)
		case ',':
			top.key = nil
			i++
		case ':', ' ', '\n', '\t', '\r':
			i++
		case '"':
			n := stringLength(data[i:])
			top.take(data[i : i+n])
			i += n
		default:
			n := wordLength(data[i:])
			top.take(data[i : i+n])
			i += n
		}
	}
	return found
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

// wordLength is the length of the number or word that b begins with.
func wordLength(b []byte) int {
	n := slices.IndexFunc(b[1:], func(c byte) bool {
		switch c {
		case ',', ':', ']', '}', '[', '{', '"', ' ', '\n', '\t', '\r':
			return true
		}
		return false
	})
	if n < 0 {
		return len(b)
	}
	return 1 + n
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}
