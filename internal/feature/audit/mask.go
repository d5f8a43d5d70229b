package audit

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"

	"github.com/skein-realtime/skein/protocol"
)

// maxParams is how many bytes of params a line has.
const maxParams = 4 << 10

// secretWords make a key that of a secret when they stand in it.
var secretWords = []string{"password", "token", "secret", "link", "authorization"}

// hidden stands for what is not written.
const hidden = `"…"`

// isSecret tells whether the value of a key is not to be written.
func isSecret(key string) bool {
	// Letters that have another one in common, such as ſ and s, are the same letter.
	key = strings.ToLower(strings.ToUpper(key))
	for _, word := range secretWords {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// Mask gives params as they are written into the log: without the values of keys that look
// like secrets, at any depth, and without white space. Of params that would be too long
// there is nothing, and truncated; of what is no JSON there is nothing either.
func Mask(raw []byte) (params []byte, truncated bool) {
	m := masker{d: json.NewDecoder(bytes.NewReader(raw))}
	m.d.UseNumber()
	for {
		t, err := m.d.Token()
		if err == io.EOF && len(m.open) == 0 && len(m.out) > 0 {
			break
		}
		// A second value behind the first is no JSON.
		if err != nil || m.done {
			return nil, false
		}
		m.token(t)
		if len(m.out) > maxParams {
			return nil, true
		}
	}
	if string(m.out) == "{}" {
		return nil, false
	}
	return m.out, false
}

// masker writes tokens as they come. It keeps no more of what it reads than the brackets
// that are open, and nothing of what is hidden.
type masker struct {
	d    *json.Decoder
	out  []byte
	open []level
	done bool // the value is complete
	hide int  // brackets that are open within a hidden value
}

// level is an object or an array that is open.
type level struct {
	object bool
	key    bool // the next token is a key
	secret bool // the value of the last key is hidden
	n      int  // values and keys before
}

func (m *masker) token(t json.Token) {
	delim, isDelim := t.(json.Delim)
	if m.hide > 0 {
		if isDelim {
			m.hide += depth(delim)
		}
		if m.hide == 0 {
			m.after()
		}
		return
	}
	if isDelim && depth(delim) < 0 {
		m.out = append(m.out, byte(delim))
		m.open = m.open[:len(m.open)-1]
		m.after()
		return
	}
	var in *level
	if n := len(m.open); n > 0 {
		in = &m.open[n-1]
		if in.object && in.key {
			if in.n > 0 {
				m.out = append(m.out, ',')
			}
			key, _ := t.(string)
			m.out = append(protocol.AppendString(m.out, key), ':')
			in.key, in.secret = false, isSecret(key)
			in.n++
			return
		}
		if !in.object && in.n > 0 {
			m.out = append(m.out, ',')
		}
		in.n++
		if in.object && in.secret {
			m.out = append(m.out, hidden...)
			if isDelim {
				m.hide = 1
				return
			}
			m.after()
			return
		}
	}
	if isDelim {
		m.out = append(m.out, byte(delim))
		m.open = append(m.open, level{object: delim == '{', key: delim == '{'})
		return
	}
	m.value(t)
	m.after()
}

// after is told that a value has ended.
func (m *masker) after() {
	n := len(m.open)
	if n == 0 {
		m.done = true
		return
	}
	m.open[n-1].key = m.open[n-1].object
}

func (m *masker) value(t json.Token) {
	switch t := t.(type) {
	case string:
		m.out = protocol.AppendString(m.out, t)
	case json.Number:
		m.out = append(m.out, t...)
	case bool:
		if t {
			m.out = append(m.out, "true"...)
		} else {
			m.out = append(m.out, "false"...)
		}
	default:
		m.out = append(m.out, "null"...)
	}
}

// depth is 1 for a bracket that opens, -1 for one that closes.
func depth(d json.Delim) int {
	if d == '{' || d == '[' {
		return 1
	}
	return -1
}
