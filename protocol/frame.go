package protocol

import (
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/skein-realtime/skein/internal/fault"
)

// Frame is one frame from a client. ID is its raw JSON, nil when the client
// asked for no reply. Like the [Object] in it, it is good only as long as the
// text it was read from.
type Frame struct {
	Object
	Type string
	ID   []byte
}

// Read reads one frame. Its error is a *fault.Error; f.ID is set even then when
// the id itself was right, so that the answer can carry it.
func (f *Frame) Read(data []byte, depth int) error {
	f.Type, f.ID = "", nil
	if err := f.Object.Read(data, depth); err != nil {
		if errors.Is(err, ErrDepth) {
			return fault.New(fault.TooLarge, "JSON is nested more than %d levels deep", depth)
		}
		return fault.New(fault.BadFrame, "%s", err)
	}
	if raw := f.Raw("id"); raw != nil {
		if raw[0] == '"' {
			if n := len(raw) - 2; n == 0 || n > MaxID {
				return fault.Field("id", "has %d bytes; 1 to %d are allowed", n, MaxID)
			}
		} else if _, ok := integer(raw); !ok {
			return fault.Field("id", "must be a string or an integer below 2^53, not %s", kindOf(raw))
		}
		f.ID = raw
	}
	raw := f.Raw("type")
	if raw == nil {
		return fault.Field("type", "is missing")
	}
	if raw[0] != '"' {
		return fault.Field("type", "must be a string, not %s", kindOf(raw))
	}
	f.Type = typeName(raw)
	return nil
}

// typeName avoids an allocation for the types that clients send all the time.
func typeName(raw []byte) string {
	switch string(raw) {
	case `"pub"`:
		return TypePub
	case `"sub"`:
		return TypeSub
	case `"unsub"`:
		return TypeUnsub
	case `"notice"`:
		return TypeNotice
	case `"ping"`:
		return TypePing
	case `"connect"`:
		return TypeConnect
	case `"presence"`:
		return TypePresence
	case `"ack"`:
		return TypeAck
	case `"mark"`:
		return TypeMark
	}
	s, _ := Unquote(raw)
	return s
}

// Channel gives the channel field, checked, and its namespace.
func (f *Frame) Channel() (channel, namespace string, err error) {
	if channel, err = f.Required("channel", MaxChannel); err != nil {
		return "", "", err
	}
	namespace, err = Namespace("channel", channel)
	return channel, namespace, err
}

// Sender is who a message came from. An empty one is the server itself.
type Sender struct{ User, Device, Connection string }

// Msg is a message on its way to subscribers.
type Msg struct {
	Channel, ID, Event string
	Seq                uint64 // zero: its channel keeps nothing
	Data               []byte // raw JSON
	From               Sender
	Time               int64 // Unix milliseconds

	// Of a conversation. Empty and zero: it has none.
	Reply    uint64   // seq of the message that it answers
	Mentions []string // users, or [Everybody]

	Edited bool // it has other content than it had at first

	// Of a push. Empty and zero: it has none.
	Category, Collapse string
	Expires            int64 // Unix milliseconds
}

// AppendMsg appends the `msg` frame of m.
func AppendMsg(dst []byte, m *Msg) []byte {
	dst = append(dst, `{"type":"msg","channel":`...)
	dst = AppendString(dst, m.Channel)
	dst = append(dst, `,"id":`...)
	dst = AppendString(dst, m.ID)
	if m.Seq > 0 {
		dst = strconv.AppendUint(append(dst, `,"seq":`...), m.Seq, 10)
	}
	return appendRest(dst, m)
}

// AppendKept appends m as an element of a history: its `msg` frame without type
// and channel.
func AppendKept(dst []byte, m *Msg) []byte {
	dst = AppendString(append(dst, `{"id":`...), m.ID)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), m.Seq, 10)
	return appendRest(dst, m)
}

// AppendStub appends what a history has in the place of a withdrawn message.
func AppendStub(dst []byte, m *Msg) []byte {
	dst = AppendString(append(dst, `{"id":`...), m.ID)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), m.Seq, 10)
	dst = strconv.AppendInt(append(dst, `,"recalled":true,"time":`...), m.Time, 10)
	return append(dst, '}')
}

// AppendEdit appends the `edit` frame: m as it is since at, in Unix milliseconds;
// zero: nobody knows since when.
func AppendEdit(dst []byte, m *Msg, at int64) []byte {
	dst = AppendString(append(dst, `{"type":"edit","channel":`...), m.Channel)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), m.Seq, 10)
	dst = AppendString(append(dst, `,"id":`...), m.ID)
	dst = appendMembers(dst, m)
	dst = append(dst, `,"edited":true`...)
	if at != 0 {
		dst = strconv.AppendInt(append(dst, `,"at":`...), at, 10)
	}
	return append(dst, '}')
}

// AppendRecall appends the `recall` frame of a withdrawn message.
func AppendRecall(dst []byte, channel string, seq uint64, id string) []byte {
	dst = AppendString(append(dst, `{"type":"recall","channel":`...), channel)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), seq, 10)
	return append(AppendString(append(dst, `,"id":`...), id), '}')
}

// AppendGap appends the `gap` frame: the messages from..to are gone. With to
// below from nothing is known to be missing, but the epoch is a new one.
func AppendGap(dst []byte, channel string, from, to uint64, epoch string) []byte {
	dst = AppendString(append(dst, `{"type":"gap","channel":`...), channel)
	dst = strconv.AppendUint(append(dst, `,"from":`...), from, 10)
	dst = strconv.AppendUint(append(dst, `,"to":`...), to, 10)
	return append(AppendString(append(dst, `,"epoch":`...), epoch), '}')
}

// AppendNotice appends the `notice` frame of m, which has no id.
func AppendNotice(dst []byte, m *Msg) []byte {
	dst = append(dst, `{"type":"notice","channel":`...)
	dst = AppendString(dst, m.Channel)
	return appendRest(dst, m)
}

func appendRest(dst []byte, m *Msg) []byte {
	dst = appendMembers(dst, m)
	if m.Edited {
		dst = append(dst, `,"edited":true`...)
	}
	return append(dst, '}')
}

// appendMembers appends what follows the place of a message, up to its time.
func appendMembers(dst []byte, m *Msg) []byte {
	dst = append(dst, `,"event":`...)
	dst = AppendString(dst, m.Event)
	dst = append(dst, `,"data":`...)
	dst = AppendData(dst, m.Data)
	if m.From != (Sender{}) {
		dst = append(dst, `,"from":`...)
		dst = AppendSender(dst, m.From)
	}
	if m.Reply != 0 || len(m.Mentions) > 0 {
		dst = appendMeta(dst, m)
	}
	if m.Category != "" {
		dst = AppendString(append(dst, `,"category":`...), m.Category)
	}
	if m.Expires != 0 {
		dst = strconv.AppendInt(append(dst, `,"expires":`...), m.Expires, 10)
	}
	if m.Collapse != "" {
		dst = AppendString(append(dst, `,"collapse":`...), m.Collapse)
	}
	dst = append(dst, `,"time":`...)
	return strconv.AppendInt(dst, m.Time, 10)
}

// AppendSender appends s as an object without its empty members.
func AppendSender(dst []byte, s Sender) []byte {
	sep := byte('{')
	for _, f := range [...]struct{ name, value string }{{"user", s.User}, {"device", s.Device}, {"connection", s.Connection}} {
		if f.value == "" {
			continue
		}
		dst = append(dst, sep, '"')
		dst = append(dst, f.name...)
		dst = append(dst, '"', ':')
		dst = AppendString(dst, f.value)
		sep = ','
	}
	if sep == '{' {
		dst = append(dst, '{')
	}
	return append(dst, '}')
}

// AppendData appends raw JSON, null when there is none.
func AppendData(dst, raw []byte) []byte {
	if len(raw) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, raw...)
}

// AppendError appends the `error` frame for e. id is raw JSON, nil for none.
func AppendError(dst, id []byte, channel string, e *fault.Error) []byte {
	dst = append(dst, `{"type":"error"`...)
	if id != nil {
		dst = append(append(dst, `,"id":`...), id...)
	}
	dst = append(append(dst, `,"code":"`...), e.Code...)
	dst = AppendString(append(dst, `","message":`...), e.Message)
	if channel != "" {
		dst = AppendString(append(dst, `,"channel":`...), channel)
	}
	if e.RetryAfter > 0 {
		dst = strconv.AppendInt(append(dst, `,"retry_after":`...), e.RetryAfterMilli(), 10)
	}
	return append(dst, '}')
}

// AppendBye appends the `bye` frame. after is zero when the client should not come back.
func AppendBye(dst []byte, c Close, message string, after time.Duration) []byte {
	dst = append(append(dst, `{"type":"bye","code":"`...), c.Word...)
	dst = AppendString(append(dst, `","message":`...), message)
	dst = strconv.AppendBool(append(dst, `,"reconnect":`...), c.Reconnect)
	dst = strconv.AppendInt(append(dst, `,"after":`...), after.Milliseconds(), 10)
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Only what RFC 8259 demands is
// escaped; bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}

// Patched is a version of a document on its way to subscribers.
type Patched struct {
	Channel string
	Version uint64
	Ops     []byte // raw JSON: the list of operations
	From    Sender
	Time    int64  // Unix milliseconds
	Key     string // the author's; only in its own frame
}

// AppendPatch appends the `patch` frame of p.
func AppendPatch(dst []byte, p *Patched) []byte {
	dst = AppendString(append(dst, `{"type":"patch","channel":`...), p.Channel)
	dst = strconv.AppendUint(append(dst, `,"version":`...), p.Version, 10)
	dst = append(append(dst, `,"ops":`...), p.Ops...)
	if p.From != (Sender{}) {
		dst = AppendSender(append(dst, `,"from":`...), p.From)
	}
	dst = strconv.AppendInt(append(dst, `,"time":`...), p.Time, 10)
	if p.Key != "" {
		dst = AppendString(append(dst, `,"key":`...), p.Key)
	}
	return append(dst, '}')
}

// AppendSnapshot appends the beginning of the `snapshot` frame of a document; the
// value and } follow.
func AppendSnapshot(dst []byte, channel string, version uint64, epoch string) []byte {
	dst = AppendString(append(dst, `{"type":"snapshot","channel":`...), channel)
	dst = strconv.AppendUint(append(dst, `,"version":`...), version, 10)
	dst = AppendString(append(dst, `,"epoch":`...), epoch)
	return append(dst, `,"data":`...)
}
