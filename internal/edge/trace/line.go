package trace

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/protocol"
)

// depth bounds the nesting of what is shown as JSON.
const depth = 1000

// hidden stands where a secret was.
const hidden = `"…"`

func appendTime(dst []byte, at int64) []byte {
	return strconv.AppendInt(append(dst, `{"time":`...), at, 10)
}

// appendHello appends the first line: what is traced, and who is there.
func (t *trace) appendHello(dst []byte) []byte {
	t.written++
	field, value := t.want.name()
	dst = append(appendTime(dst, time.Now().UnixMilli()), `,"event":"tracing","`...)
	dst = protocol.AppendString(append(append(dst, field...), `":`...), value)
	if t.want.channel != "" {
		return append(dst, "}\n"...)
	}
	t.mu.Lock()
	var list []string
	for c := range t.taps {
		list = append(list, c.ID.String())
	}
	t.mu.Unlock()
	slices.Sort(list)
	dst = append(dst, `,"connections":[`...)
	for i, name := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = protocol.AppendString(dst, name)
	}
	return append(dst, "]}\n"...)
}

func appendHeartbeat(dst []byte) []byte {
	return append(appendTime(dst, time.Now().UnixMilli()), `,"event":"heartbeat"}`+"\n"...)
}

func appendDropped(dst []byte, n int) []byte {
	dst = append(appendTime(dst, time.Now().UnixMilli()), `,"dropped":`...)
	return append(strconv.AppendInt(dst, int64(n), 10), "}\n"...)
}

// appendLines appends what tells of a record: a line for each message.
func (t *trace) appendLines(dst []byte, r *record) []byte {
	head := appendTime(nil, r.at)
	switch r.kind {
	case received:
		head = append(head, `,"direction":"in"`...)
	case sent, published:
		head = append(head, `,"direction":"out"`...)
	case event:
		head = append(append(append(head, `,"event":"`...), r.event...), '"')
	}
	if r.kind == published {
		head = protocol.AppendString(append(head, `,"channel":`...), t.want.channel)
	} else {
		head = r.who.append(head)
	}
	line := func(message []byte) {
		t.written++
		dst = append(appendMessage(append(dst, head...), message), "}\n"...)
	}
	switch r.kind {
	case sent:
		r.who.conn.Show(r.body, line)
	case received:
		line(redact(r.body))
	case published:
		line(r.body)
	case event:
		t.written++
		dst = append(append(dst, head...), r.reason()...)
		dst = append(dst, "}\n"...)
	}
	return dst
}

// append appends the members that say who it is.
func (w *who) append(dst []byte) []byte {
	dst = protocol.AppendString(append(dst, `,"connection":`...), w.conn.ID.String())
	if w.user != "" {
		dst = protocol.AppendString(append(dst, `,"user":`...), w.user)
	}
	if w.device != "" {
		dst = protocol.AppendString(append(dst, `,"device":`...), w.device)
	}
	return protocol.AppendString(append(dst, `,"transport":`...), w.conn.Out().Transport())
}

// reason gives the members that say why a connection has ended.
func (r *record) reason() (b []byte) {
	if r.why.Word == "" {
		return nil
	}
	b = protocol.AppendString(append(b, `,"reason":`...), r.why.Word)
	b = strconv.AppendInt(append(b, `,"code":`...), int64(r.why.Code), 10)
	if len(r.body) > 0 {
		b = protocol.AppendString(append(b, `,"message":`...), string(r.body))
	}
	return b
}

// appendMessage appends a JSON object as "frame", and anything else as "text".
func appendMessage(dst, message []byte) []byte {
	if object := bytes.TrimSpace(message); len(object) > 0 && object[0] == '{' && protocol.Valid(object, depth) == nil && utf8.Valid(object) {
		start := len(dst) + len(`,"frame":`)
		dst = append(append(dst, `,"frame":`...), object...)
		for i, c := range dst[start:] { // JSON has line breaks only between its tokens
			if c == '\n' || c == '\r' {
				dst[start+i] = ' '
			}
		}
		return dst
	}
	return protocol.AppendString(append(dst, `,"text":`...), strings.ToValidUTF8(string(message), "\uFFFD"))
}

// secrets finds, in what is no frame, values that are named like a token, and what
// looks like one (RFC 7519: three parts, of which the first is a JSON object).
var secrets = regexp.MustCompile(`(?i)(token\\*["']?\s*[=:]\s*)(\\*"(?:[^"\\]|\\.)*"?|[^\s,}\]]+)|\beyJ[\w-]+\.[\w-]*(?:\.[\w-]*)?`)

// redact gives what a client has sent without the secrets in it: tokens, and by what
// else it says to the application who it is.
func redact(text []byte) []byte {
	o := protocol.GetObject()
	defer protocol.PutObject(o)
	if o.Read(text, depth) != nil {
		return redactText(text)
	}
	kind, _ := o.String("type", 64)
	secret := func(name string) bool {
		return strings.EqualFold(name, "token") || kind == protocol.TypeConnect && strings.EqualFold(name, "data")
	}
	found := false
	o.Each(func(name string, _ []byte) bool {
		found = secret(name)
		return !found
	})
	if !found {
		return text
	}
	b := []byte{'{'}
	o.Each(func(name string, raw []byte) bool {
		if len(b) > 1 {
			b = append(b, ',')
		}
		if b = append(protocol.AppendString(b, name), ':'); secret(name) {
			raw = []byte(hidden)
		}
		b = append(b, raw...)
		return true
	})
	return append(b, '}')
}

func redactText(text []byte) []byte {
	array := bytes.TrimLeft(text, "0123456789") // of a Socket.IO packet
	if protocol.Valid(array, depth) != nil && bytes.Contains(text, []byte(`\u`)) {
		// A name could be spelled so that nobody finds it.
		return []byte("… " + strconv.Itoa(len(text)) + " bytes that are no JSON")
	}
	return secrets.ReplaceAll(text, []byte(`$1`+hidden))
}
