package audit

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

// Params are the params of audit.
type Params struct {
	Who     string `json:"who,omitempty" jsonschema:"lines of this user of the console, or API key, alone"`
	Verb    string `json:"verb,omitempty" jsonschema:"of this verb alone; with * at the end: of all that begin so"`
	Outcome string `json:"outcome,omitempty" jsonschema:"ok, failed (any code), open (none yet), or a code"`
	From    int64  `json:"from,omitempty" jsonschema:"not before, Unix milliseconds"`
	To      int64  `json:"to,omitempty" jsonschema:"not after, Unix milliseconds"`
	After   string `json:"after,omitempty" jsonschema:"next of the page before"`
	Limit   int    `json:"limit,omitempty" jsonschema:"at most 1000; 100 when absent"`
}

// Page is the result of audit.
type Page struct {
	Lines []Line `json:"lines"`
	Next  string `json:"next,omitempty" jsonschema:"after of the next page; absent on the last"`
}

// Line is a run of a verb.
type Line struct {
	ID        string          `json:"id"`
	Time      int64           `json:"time" jsonschema:"Unix milliseconds"`
	Who       string          `json:"who" jsonschema:"the user of the console, or the name of the API key"`
	By        string          `json:"by" jsonschema:"console or key"`
	Role      string          `json:"role,omitempty"`
	Address   string          `json:"address,omitempty"`
	Verb      string          `json:"verb"`
	Target    string          `json:"target,omitempty" jsonschema:"the channel, user, connection, campaign, schedule or name that the params name first"`
	Params    json.RawMessage `json:"params,omitempty" jsonschema:"without secrets"`
	Truncated bool            `json:"truncated,omitempty" jsonschema:"there were more params than are kept"`
	Outcome   string          `json:"outcome,omitempty" jsonschema:"ok or a code; absent when nobody knows yet"`
	Error     string          `json:"error,omitempty"`
}

// Words for outcomes that are no codes.
const (
	outcomeFailed = "failed"
	outcomeOpen   = "open"
)

// rounds is how often the store is asked for one page. Each time it looks at some
// thousand lines.
const rounds = 10

func (f *Feature) list(ctx context.Context, p Params) (Page, error) {
	q, err := p.query()
	if err != nil {
		return Page{}, err
	}
	st, err := f.running()
	if err != nil {
		return Page{}, err
	}
	if st == nil {
		return Page{}, fault.New(fault.Unavailable, "the audit log needs a store: set data or database")
	}
	f.settle(ctx)
	page := Page{Lines: []Line{}}
	limit := q.Limit
	for range rounds {
		found, err := st.AuditLines(ctx, q)
		if err != nil {
			return Page{}, outage.Fault(err)
		}
		for _, l := range found.Lines {
			page.Lines = append(page.Lines, lineOf(&l))
		}
		page.Next, q.After, q.Limit = found.Next, found.Next, limit-len(page.Lines)
		if q.Limit == 0 || q.After == "" {
			break
		}
	}
	return page, nil
}

// query checks params.
func (p *Params) query() (q store.AuditQuery, err error) {
	q = store.AuditQuery{Who: p.Who, Verb: p.Verb, From: p.From, To: p.To, After: p.After}
	if len(p.Who) > maxWho {
		return q, fault.Field("who", "has %d bytes; at most %d are allowed", len(p.Who), maxWho)
	}
	if len(p.Verb) > maxVerb {
		return q, fault.Field("verb", "has %d bytes; at most %d are allowed", len(p.Verb), maxVerb)
	}
	if i := strings.IndexByte(p.Verb, '*'); i >= 0 && i < len(p.Verb)-1 {
		return q, fault.Field("verb", "%q has a * that is not its end", p.Verb)
	}
	switch p.Outcome {
	case outcomeFailed:
		q.Failed = true
	case outcomeOpen:
		q.Open = true
	case "", store.AuditOK:
		q.Outcome = p.Outcome
	default:
		if !slices.Contains(fault.Codes, fault.Code(p.Outcome)) {
			return q, fault.Field("outcome", "%q is not ok, failed, open or a code", p.Outcome)
		}
		q.Outcome = p.Outcome
	}
	const lastTime = 253_402_300_799_999 // in the year 9999
	for field, ms := range map[string]int64{"from": p.From, "to": p.To} {
		if ms < 0 || ms > lastTime {
			return q, fault.Field(field, "%d is not a time in milliseconds since 1970", ms)
		}
	}
	if p.To > 0 && p.From > p.To {
		return q, fault.Field("to", "%d is before from, %d", p.To, p.From)
	}
	if p.After != "" && len(p.After) != 26 {
		return q, fault.Field("after", "%q is not next of a page", clip(p.After, maxVerb))
	}
	q.Limit, err = verb.PageLimit(p.Limit)
	return q, err
}

// lineOf is a line as the verb tells it.
func lineOf(l *store.AuditLine) Line {
	return Line{
		ID: l.ID, Time: l.Time, Who: l.Who, By: l.By, Role: l.Role, Address: l.Address, Verb: l.Verb, Target: l.Target, Params: l.Params,
		Truncated: l.Truncated, Outcome: l.Outcome, Error: l.Error,
	}
}
