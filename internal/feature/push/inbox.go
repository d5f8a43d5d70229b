package push

import (
	"context"
	"strconv"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// ListParams are the params of inbox.list.
type ListParams struct {
	User   string `json:"user"`
	Before *int64 `json:"before,omitempty" jsonschema:"the newest messages with a smaller seq; without before and after, the newest of all"`
	After  *int64 `json:"after,omitempty" jsonschema:"the oldest messages with a greater seq"`
	Limit  *int64 `json:"limit,omitempty" jsonschema:"messages of a page; 50 when absent, at most 500"`
	Unread bool   `json:"unread,omitempty" jsonschema:"only what was not read"`
}

// List is a page of an inbox, by seq.
type List struct {
	Items  []Item `json:"items" jsonschema:"the oldest first"`
	More   bool   `json:"more" jsonschema:"there are more in the direction asked"`
	Epoch  string `json:"epoch"`
	Seq    uint64 `json:"seq" jsonschema:"that of the newest message"`
	Read   uint64 `json:"read" jsonschema:"what is up to this seq was read"`
	Unread int64  `json:"unread" jsonschema:"how many are not read; at most 1000 are counted"`

	page store.InboxPage
}

// Item is one message of an inbox with what became of it.
type Item struct {
	ID       string `json:"id"`
	Seq      uint64 `json:"seq"`
	Event    string `json:"event"`
	Data     any    `json:"data" jsonschema:"any JSON"`
	Category string `json:"category,omitempty"`
	Campaign string `json:"campaign,omitempty"`
	Expires  int64  `json:"expires,omitempty" jsonschema:"milliseconds since 1970 UTC, as the others"`
	Collapse string `json:"collapse,omitempty"`
	Time     int64  `json:"time" jsonschema:"when it was pushed"`
	Outcome
}

// maxList bounds a page of an inbox.
const maxList = 500

// listBytes is after how much data a page of an inbox ends.
const listBytes = 1 << 20

func (f *Feature) list(ctx context.Context, p ListParams) (List, error) {
	q := store.InboxQuery{User: p.User, Unread: p.Unread, Limit: defaultLimit, Bytes: listBytes, Backward: p.After == nil}
	if err := protocol.UserID("user", p.User); err != nil {
		return List{}, err
	}
	for _, n := range []struct {
		field     string
		value     *int64
		low, high int64
	}{{"before", p.Before, 1, protocol.MaxInt}, {"after", p.After, 0, protocol.MaxInt}, {"limit", p.Limit, 1, maxList}} {
		if n.value != nil && (*n.value < n.low || *n.value > n.high) {
			return List{}, fault.Field(n.field, "%d is not between %d and %d", *n.value, n.low, n.high)
		}
	}
	if p.Before != nil && p.After != nil {
		return List{}, fault.Field("before", "cannot be given together with after")
	}
	if p.Before != nil {
		q.Before = uint64(*p.Before)
	}
	if p.After != nil {
		q.After = uint64(*p.After)
	}
	if p.Limit != nil {
		q.Limit = int(*p.Limit)
	}
	found, err := f.look(ctx, q)
	if err != nil {
		return List{}, err
	}
	return List{page: found}, nil
}

// look reads a page of an inbox, after the user has got what is for everybody.
func (f *Feature) look(ctx context.Context, q store.InboxQuery) (store.InboxPage, error) {
	found, err := f.cfg.Engine.List(ctx, q)
	if err != nil || !found.Inbox.Behind {
		return found, err
	}
	st, err := f.running()
	if err != nil {
		return found, err
	}
	if err := f.merge(ctx, st, q.User); err != nil {
		return found, err
	}
	return f.cfg.Engine.List(ctx, q)
}

// merge gives a user the deliveries of what is for everybody.
func (f *Feature) merge(ctx context.Context, st Store, user string) error {
	// Peek: that somebody else looks is no reason to judge again what waits.
	if _, err := st.Do(ctx, store.Collect{User: user, Now: f.cfg.Now().UnixMilli(), Zone: f.zone(), Keep: f.keep(), Limit: 1, Peek: true}); err != nil {
		return failure(err)
	}
	return nil
}

// AppendJSON implements verb.Appender.
func (l List) AppendJSON(b []byte) []byte {
	b = append(b, `{"items":[`...)
	for i := range l.page.Items {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendItem(b, &l.page.Items[i])
	}
	in := &l.page.Inbox
	b = strconv.AppendBool(append(b, `],"more":`...), l.page.More)
	b = protocol.AppendString(append(b, `,"epoch":`...), in.Epoch)
	b = strconv.AppendUint(append(b, `,"seq":`...), in.Top, 10)
	b = strconv.AppendUint(append(b, `,"read":`...), in.Read, 10)
	b = strconv.AppendInt(append(b, `,"unread":`...), l.page.Unread, 10)
	return append(b, '}')
}

func appendItem(b []byte, i *store.Item) []byte {
	event := i.Event
	if event == "" {
		event = protocol.DefaultEvent
	}
	b = protocol.AppendString(append(b, `{"id":`...), i.ID)
	b = strconv.AppendUint(append(b, `,"seq":`...), i.Seq, 10)
	b = protocol.AppendString(append(b, `,"event":`...), event)
	b = append(append(b, `,"data":`...), i.Data...)
	b = appendText(b, `,"category":`, i.Category)
	b = appendText(b, `,"campaign":`, i.Campaign)
	b = appendTime(b, `,"expires":`, i.Expires)
	b = appendText(b, `,"collapse":`, i.Collapse)
	b = strconv.AppendInt(append(b, `,"time":`...), i.Time, 10)
	return append(appendOutcome(append(b, ','), outcomeOf(i)), '}')
}

// appendOutcome appends the members of an Outcome.
func appendOutcome(b []byte, o Outcome) []byte {
	b = protocol.AppendString(append(b, `"outcome":`...), o.State)
	b = appendText(b, `,"reason":`, o.Reason)
	b = appendText(b, `,"rule":`, o.Rule)
	b = strconv.AppendInt(append(b, `,"queued":`...), o.Queued, 10)
	b = appendTime(b, `,"sent":`, o.Sent)
	b = appendTime(b, `,"delivered":`, o.Delivered)
	b = appendTime(b, `,"read":`, o.Read)
	b = appendTime(b, `,"ended":`, o.Ended)
	b = appendTime(b, `,"until":`, o.Until)
	return appendText(b, `,"device":`, o.Device)
}

func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return protocol.AppendString(append(b, name...), text)
}

func appendTime(b []byte, name string, at int64) []byte {
	if at == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), at, 10)
}

// Acknowledged is what was delivered: in JSON a seq, or a list of ids. The zero value is
// nothing.
type Acknowledged struct {
	Seq      uint64   // all up to it that have come
	Messages []string // in place of Seq: their ids, at most 500
}

// IsZero tells that nothing is said.
func (a Acknowledged) IsZero() bool { return a.Seq == 0 && a.Messages == nil }

// UnmarshalJSON implements json.Unmarshaler. Its errors are *fault.Error about delivered.
func (a *Acknowledged) UnmarshalJSON(raw []byte) error {
	*a = Acknowledged{}
	if string(raw) == "null" {
		return nil
	}
	if raw[0] != '[' {
		n, ok := integer(raw)
		if !ok || n < 1 {
			return fault.Field("delivered", "must be a seq or a list of ids of messages, not %s", protocol.KindOf(raw))
		}
		a.Seq = uint64(n)
		return nil
	}
	a.Messages = []string{}
	err := protocol.EachElement(raw, func(element []byte) error {
		at := "delivered[" + strconv.Itoa(len(a.Messages)) + "]"
		if len(a.Messages) == push.MaxAck {
			return fault.Field("delivered", "names more than %d messages", push.MaxAck)
		}
		id, ok := protocol.Unquote(element)
		if !ok || len(id) != idLength {
			return fault.Field(at, "is not the id of a message")
		}
		a.Messages = append(a.Messages, id)
		return nil
	})
	if err == nil && len(a.Messages) == 0 {
		err = fault.Field("delivered", "is an empty list")
	}
	return err
}

// MarshalJSON implements json.Marshaler.
func (a Acknowledged) MarshalJSON() ([]byte, error) {
	if a.Messages == nil {
		return strconv.AppendUint(nil, a.Seq, 10), nil
	}
	b := []byte{'['}
	for i, id := range a.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		b = protocol.AppendString(b, id)
	}
	return append(b, ']'), nil
}

// Schema describes it.
func (Acknowledged) Schema() *jsonschema.Schema {
	return &jsonschema.Schema{Description: "a seq: all up to it that have come; or ids of messages, at most 500", OneOf: []*jsonschema.Schema{
		{Type: "integer"}, {Type: "array", Items: &jsonschema.Schema{Type: "string"}},
	}}
}

// MarkParams are the params of inbox.mark.
type MarkParams struct {
	User      string       `json:"user"`
	Read      *int64       `json:"read,omitempty" jsonschema:"everything up to this seq was read, and so delivered"`
	Delivered Acknowledged `json:"delivered,omitzero"`
	Device    string       `json:"device,omitempty" jsonschema:"which one it was"`
}

// Marked is the result of inbox.mark.
type Marked struct {
	Read    uint64   `json:"read" jsonschema:"what is up to this seq was read"`
	Unread  int64    `json:"unread" jsonschema:"how many are not read; at most 1000 are counted"`
	Acked   int      `json:"acked" jsonschema:"messages that became delivered by this"`
	Unknown []string `json:"unknown,omitempty" jsonschema:"ids that are not in the inbox"`
}

func (f *Feature) mark(ctx context.Context, p MarkParams) (m Marked, err error) {
	if err := protocol.UserID("user", p.User); err != nil {
		return m, err
	}
	if err := protocol.DeviceID("device", p.Device); err != nil {
		return m, err
	}
	if p.Read == nil && p.Delivered.IsZero() {
		return m, fault.Field("read", "is missing; give read, delivered or both")
	}
	if p.Read != nil && (*p.Read < 0 || *p.Read > protocol.MaxInt) {
		return m, fault.Field("read", "%d is not between 0 and %d", *p.Read, int64(protocol.MaxInt))
	}
	if _, err := f.running(); err != nil {
		return m, err
	}
	if !p.Delivered.IsZero() {
		acked, err := f.cfg.Engine.Ack(ctx, push.Ack{User: p.User, Device: p.Device, Seq: p.Delivered.Seq, Messages: p.Delivered.Messages})
		if err != nil {
			return m, err
		}
		m.Acked, m.Unknown = acked.Count, acked.Unknown
	}
	if p.Read == nil {
		found, err := f.cfg.Engine.List(ctx, store.InboxQuery{User: p.User, Backward: true, Limit: 1})
		m.Read, m.Unread = found.Inbox.Read, found.Unread
		return m, err
	}
	read, acked, err := f.cfg.Engine.Read(ctx, p.User, p.Device, uint64(*p.Read), nil)
	m.Read, m.Unread = read.Read, read.Unread
	m.Acked += acked
	return m, err
}
