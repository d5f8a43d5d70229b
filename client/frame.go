package client

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// outgoing is every frame that the client sends: each type uses some members.
type outgoing struct {
	Type     string          `json:"type"`
	ID       json.RawMessage `json:"id,omitempty"`
	Channel  string          `json:"channel,omitempty"`
	Event    string          `json:"event,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Key      string          `json:"key,omitempty"`
	Reply    uint64          `json:"reply,omitempty"`
	Mentions []string        `json:"mentions,omitempty"`
	Since    *place          `json:"since,omitempty"`
	Last     int             `json:"last,omitempty"`
	Echo     *bool           `json:"echo,omitempty"`
	Presence bool            `json:"presence,omitempty"`
	Before   uint64          `json:"before,omitempty"`
	After    json.RawMessage `json:"after,omitempty"` // a seq, or the next of a page
	Limit    int             `json:"limit,omitempty"`
	Ops      json.RawMessage `json:"ops,omitempty"`
	IfVers   *uint64         `json:"if_version,omitempty"`
	Method   string          `json:"method,omitempty"`
	Token    string          `json:"token,omitempty"`
	Device   string          `json:"device,omitempty"`
	Seq      uint64          `json:"seq,omitempty"`
	Messages []string        `json:"messages,omitempty"`
	Read     *uint64         `json:"read,omitempty"`
	Got      uint64          `json:"delivered,omitempty"`
	Live     *bool           `json:"live,omitempty"`
	Unread   bool            `json:"unread,omitempty"`
	Category string          `json:"category,omitempty"`
	Muted    *bool           `json:"muted,omitempty"`
	Error    *replyError     `json:"error,omitempty"`
}

// place is where a reader is in a log or a document.
type place struct {
	Epoch   string  `json:"epoch,omitempty"`
	Seq     *uint64 `json:"seq,omitempty"`
	Version *uint64 `json:"version,omitempty"`
}

// afterSeq is where a page of messages begins; nil: nowhere special.
func afterSeq(seq *uint64) json.RawMessage {
	if seq == nil {
		return nil
	}
	return strconv.AppendUint(nil, *seq, 10)
}

type replyError struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// encode writes JSON as it goes over the wire: without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// encodeData encodes what the application has given; field is what an error names.
func encodeData(field string, v any) (json.RawMessage, error) {
	b, err := encode(v)
	if err != nil {
		return nil, wrong(field, "cannot be encoded as JSON: %v", err)
	}
	return b, nil
}

// depth bounds the nesting of what the server sends. It is far above any limit
// of a server, and far below what a stack can take.
const depth = 1000

// incoming is a frame from the server. Members that are missing or of another
// type read as zero: the server is trusted, and newer ones may say more.
type incoming struct {
	object protocol.Object
	kind   string
}

func readFrame(text []byte) (*incoming, error) {
	f := &incoming{}
	if err := f.object.Read(text, depth); err != nil {
		return nil, err
	}
	f.kind = f.text("type")
	return f, nil
}

func (f *incoming) text(name string) string { return text(f.object.Raw(name)) }

// text decodes a JSON string; "" for anything else.
func text(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	s, _ := protocol.Unquote(raw)
	return s
}

func (f *incoming) number(name string) uint64 {
	n, _ := f.object.Int(name, 0, 0, protocol.MaxInt)
	return uint64(n)
}

func (f *incoming) flag(name string) bool {
	b, _ := f.object.Bool(name, false)
	return b
}

// raw gives the text of a member; nil when it is missing or null.
func (f *incoming) raw(name string) json.RawMessage { return f.object.Raw(name) }

// data gives the member data, of which null is a value too.
func (f *incoming) data() json.RawMessage {
	if raw := f.object.Raw("data"); raw != nil {
		return raw
	}
	if f.object.Has("data") {
		return json.RawMessage("null")
	}
	return nil
}

// id gives the number of the request that the frame answers.
func (f *incoming) id() (uint64, bool) {
	n, err := strconv.ParseUint(string(f.object.Raw("id")), 10, 64)
	return n, err == nil
}

func (f *incoming) milli(name string) time.Time {
	if n := f.number(name); n != 0 {
		return time.UnixMilli(int64(n))
	}
	return time.Time{}
}

func (f *incoming) wait(name string) time.Duration {
	return time.Duration(f.number(name)) * time.Millisecond
}

// seconds reads a number of seconds, which may have a fraction.
func (f *incoming) seconds(name string) time.Duration {
	n, err := strconv.ParseFloat(string(f.object.Raw(name)), 64)
	if err != nil || n < 0 || n > 1e6 {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

// err gives what an `error` frame says.
func (f *incoming) err() *Error {
	return &Error{Code: Code(f.text("code")), Message: f.text("message"), Channel: f.text("channel"), RetryAfter: f.wait("retry_after")}
}

// end gives what a `bye` frame says.
func (f *incoming) end() *EndError {
	e := &EndError{Word: f.text("code"), Message: f.text("message"), Reconnect: f.flag("reconnect"), After: -1}
	if f.object.Raw("after") != nil {
		e.After = f.wait("after")
	}
	return e
}

// position reads where a log ends.
func (f *incoming) position() Position {
	return Position{Epoch: f.text("epoch"), Seq: f.number("seq")}
}

// texts reads a list of strings; nil: there is none.
func (f *incoming) texts(name string) []string {
	var list []string
	if raw := f.raw(name); raw == nil || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

// each calls fn with each object of a list; of none when it is missing.
func (f *incoming) each(name string, fn func(*incoming)) error {
	list := f.raw(name)
	if list == nil {
		return nil
	}
	return protocol.EachElement(list, func(element []byte) error {
		m, err := readFrame(element)
		if err != nil {
			return err
		}
		fn(m)
		return nil
	})
}

func (f *incoming) sender() Sender {
	var s Sender
	raw := f.object.Raw("from")
	if raw == nil {
		return s
	}
	var o protocol.Object
	if o.Read(raw, depth) == nil {
		s = Sender{User: text(o.Raw("user")), Device: text(o.Raw("device")), Connection: text(o.Raw("connection"))}
	}
	return s
}

func (f *incoming) message() Message {
	return Message{
		Channel: f.text("channel"), ID: f.text("id"), Seq: f.number("seq"), Event: f.text("event"),
		Data: f.data(), From: f.sender(), Time: f.milli("time"),
		Reply: f.number("reply"), Mentions: f.texts("mentions"), Edited: f.flag("edited"), Cut: f.flag("cut"),
		Category: f.text("category"), Expires: f.milli("expires"), Collapse: f.text("collapse"), Recalled: f.flag("recalled"),
	}
}
