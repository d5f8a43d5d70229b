package push

import (
	"bytes"
	"slices"
	"strconv"

	"maps"

	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// message is what is sent, made once for all who get it: only the seq differs.
type message struct {
	id                 string
	category, collapse string
	head, tail         []byte // of the frame, before and after the seq
}

// newMessage copies what it needs.
func newMessage(c *store.Content) *message {
	m := Msg(c, 0)
	frame := protocol.AppendMsg(make([]byte, 0, len(c.Data)+256), &m)
	at := bytes.Index(frame, []byte(`,"event":`)) // the first: an id has no quotes
	return &message{id: c.ID, category: c.Category, collapse: c.Collapse, head: frame[:at:at], tail: frame[at:]}
}

// frame is the `msg` frame for one user.
func (m *message) frame(seq uint64) []byte {
	b := make([]byte, 0, len(m.head)+len(m.tail)+28)
	b = append(append(b, m.head...), `,"seq":`...)
	return append(strconv.AppendUint(b, seq, 10), m.tail...)
}

// held is what is told of messages that may not interrupt their user.
type held map[string]int // by category

// notice is the frame that tells of them.
func (h held) notice(now int64) []byte {
	count := 0
	categories := append([]byte(nil), '{')
	for _, name := range slices.Sorted(maps.Keys(h)) {
		count += h[name]
		if name == "" {
			continue
		}
		if len(categories) > 1 {
			categories = append(categories, ',')
		}
		categories = strconv.AppendInt(append(protocol.AppendString(categories, name), ':'), int64(h[name]), 10)
	}
	data := strconv.AppendInt([]byte(`{"count":`), int64(count), 10)
	data = append(append(append(data, `,"categories":`...), categories...), '}', '}')
	return protocol.AppendNotice(nil, &protocol.Msg{Channel: protocol.Inbox, Event: "held", Data: data, Time: now})
}

// AppendMark appends the members that tell of a mark, with a comma in front.
func AppendMark(b []byte, m Mark) []byte {
	b = strconv.AppendUint(append(b, `,"read":`...), m.Read, 10)
	return strconv.AppendInt(append(b, `,"unread":`...), m.Unread, 10)
}
