package push

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Outcomes are one outcome or a list of them. The zero value is all.
type Outcomes []store.State

const outcomeNames = "queued, sent, delivered, capped, muted, expired, recalled or failed"

// UnmarshalJSON implements json.Unmarshaler. Its errors are *fault.Error about outcome.
func (o *Outcomes) UnmarshalJSON(raw []byte) error {
	*o = nil
	switch raw[0] {
	case 'n':
		return nil
	case '"':
		return o.add("outcome", raw)
	case '[':
		n := 0
		err := protocol.EachElement(raw, func(element []byte) error {
			n++
			return o.add("outcome["+strconv.Itoa(n-1)+"]", element)
		})
		if err == nil && n == 0 {
			err = fault.Field("outcome", "is an empty list")
		}
		return err
	}
	return fault.Field("outcome", "must be %s, or a list of them, not %s", outcomeNames, protocol.KindOf(raw))
}

func (o *Outcomes) add(at string, raw []byte) error {
	text, ok := protocol.Unquote(raw)
	if s, known := store.ParseState(text); ok && known {
		*o = append(*o, s)
		return nil
	}
	return fault.Field(at, "%.32s is not %s", raw, outcomeNames)
}

// MarshalJSON implements json.Marshaler.
func (o Outcomes) MarshalJSON() ([]byte, error) {
	list := make([]string, len(o))
	for i, s := range o {
		list[i] = s.String()
	}
	return json.Marshal(list)
}

// Schema describes it.
func (Outcomes) Schema() *jsonschema.Schema {
	var names []any
	for s := store.Queued; s <= store.Failed; s++ {
		names = append(names, s.String())
	}
	return &jsonschema.Schema{Description: "one outcome or a list of them; all when absent", OneOf: []*jsonschema.Schema{
		{Type: "string", Enum: names}, {Type: "array", Items: &jsonschema.Schema{Type: "string", Enum: names}},
	}}
}

// RecordsParams are the params of records.
type RecordsParams struct {
	User     string   `json:"user,omitempty"`
	Message  string   `json:"message,omitempty" jsonschema:"the id of a message"`
	Campaign string   `json:"campaign,omitempty" jsonschema:"the id of a campaign"`
	Outcome  Outcomes `json:"outcome,omitempty"`
	From     Moment   `json:"from,omitzero"`
	To       Moment   `json:"to,omitzero"`
	Read     bool     `json:"read,omitempty" jsonschema:"only what was read"`
	After    string   `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit    *int     `json:"limit,omitempty" jsonschema:"records of a page; 50 when absent, at most 1000"`
}

// Outcome is what became of a message for a user. Times are milliseconds since 1970 UTC.
type Outcome struct {
	State     string `json:"outcome" jsonschema:"queued and sent are open; the others never change"`
	Reason    string `json:"reason,omitempty"`
	Rule      string `json:"rule,omitempty" jsonschema:"what decided"`
	Queued    int64  `json:"queued"`
	Sent      int64  `json:"sent,omitempty"`
	Delivered int64  `json:"delivered,omitempty"`
	Read      int64  `json:"read,omitempty"`
	Ended     int64  `json:"ended,omitempty" jsonschema:"when it became an outcome that is not delivered"`
	Until     int64  `json:"until,omitempty" jsonschema:"of one that is open and was put off: until when"`
	Device    string `json:"device,omitempty" jsonschema:"that has acknowledged it"`
}

// Record is what became of one message for one user.
type Record struct {
	Message  string `json:"message"`
	User     string `json:"user"`
	Seq      uint64 `json:"seq" jsonschema:"its place in the user's inbox"`
	Category string `json:"category,omitempty"`
	Campaign string `json:"campaign,omitempty"`
	Outcome
}

// RecordPage is a page of records.
type RecordPage struct {
	Items []Record `json:"items"`
	Next  string   `json:"next,omitempty"`
}

// outcomeOf tells what became of a message.
func outcomeOf(i *store.Item) Outcome {
	o := Outcome{
		State: i.State.String(), Reason: i.Reason, Rule: i.Rule, Device: i.Device,
		Queued: i.Queued, Sent: i.Sent, Delivered: i.Delivered, Read: i.Read, Ended: i.Ended,
	}
	if i.State.Open() {
		o.Until = i.Due
	}
	return o
}

// Bounds of lists.
const (
	defaultLimit = 50
	maxRecords   = 1000
	maxID        = 64 // bytes of the id of a campaign
)

func (f *Feature) records(ctx context.Context, p RecordsParams) (page RecordPage, err error) {
	q := store.RecordQuery{User: p.User, Message: p.Message, Campaign: p.Campaign, States: p.Outcome, Read: p.Read, Limit: defaultLimit}
	if p.Limit != nil {
		q.Limit = *p.Limit
	}
	if q.Limit < 1 || q.Limit > maxRecords {
		return page, fault.Field("limit", "%d is not between 1 and %d", q.Limit, maxRecords)
	}
	if p.User != "" {
		if err := protocol.UserID("user", p.User); err != nil {
			return page, err
		}
	}
	if p.Message != "" {
		if err := checkID(p.Message); err != nil {
			return page, err
		}
	}
	if len(p.Campaign) > maxID {
		return page, fault.Field("campaign", "is not the id of a campaign")
	}
	if q.From, err = p.From.milli("from"); err != nil {
		return page, err
	}
	if q.To, err = p.To.milli("to"); err != nil {
		return page, err
	}
	if q.From > 0 && q.To > 0 && q.From >= q.To {
		return page, fault.Field("to", "is not after from")
	}
	if p.After != "" {
		if q.After, err = strconv.ParseUint(p.After, cursorBase, 64); err != nil || q.After == 0 {
			return page, fault.Field("after", "is not the next of a page")
		}
	}
	st, err := f.running()
	if err != nil {
		return page, err
	}
	found, err := st.Records(ctx, q)
	if err == nil && found.Behind {
		if err := f.merge(ctx, st, p.User); err != nil {
			return page, err
		}
		found, err = st.Records(ctx, q)
	}
	if err != nil {
		return page, failure(err)
	}
	page.Items = make([]Record, len(found.Records))
	for i := range found.Records {
		r := &found.Records[i]
		page.Items[i] = Record{
			Message: r.Message, User: r.User, Seq: r.Seq, Category: r.Category, Campaign: r.Campaign, Outcome: outcomeOf(&r.Item),
		}
	}
	if n := len(found.Records); found.More && n > 0 {
		page.Next = strconv.FormatUint(found.Records[n-1].Pos, cursorBase)
	}
	return page, nil
}

// cursorBase is how a place in the list of records is written in a cursor.
const cursorBase = 36

// idLength is that of the id of a message, a ULID.
const idLength = 26

func checkID(message string) error {
	if len(message) != idLength {
		return fault.Field("message", "is not the id of a message")
	}
	return nil
}
