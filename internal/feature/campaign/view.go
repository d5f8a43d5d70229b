package campaign

import (
	"context"
	"encoding/json"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/store"
)

// Campaign is a campaign as the verbs show it. Times are Unix milliseconds.
type Campaign struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	State    string              `json:"state" jsonschema:"draft, scheduled, running, paused, done or cancelled"`
	To       audience.ListTarget `json:"to" jsonschema:"users that were named are its list"`
	Category string              `json:"category,omitempty"`
	Event    string              `json:"event"`
	Data     json.RawMessage     `json:"data"`
	Expires  Expiry              `json:"expires,omitzero" jsonschema:"a time, or how long; once it has begun, the time, when there is one"`
	Collapse string              `json:"collapse,omitempty"`
	Escalate string              `json:"escalate,omitempty"`
	At       string              `json:"at,omitempty"`
	Pace     int                 `json:"pace,omitempty"`
	Created  int64               `json:"created"`
	Started  int64               `json:"started,omitempty"`
	Ended    int64               `json:"ended,omitempty"`
	Message  string              `json:"message,omitempty" jsonschema:"the id of what it pushes, once it has begun"`
	Audience *int64              `json:"audience,omitempty" jsonschema:"how many users it is for: those of its list, or as counted when it began"`
	Progress int64               `json:"progress" jsonschema:"users done"`
	Counts   *Counts             `json:"counts,omitempty" jsonschema:"users by outcome as of now, once it has begun"`
	Error    string              `json:"error,omitempty" jsonschema:"why it rests, or why it does not get on"`
}

// Counts are how many users have which outcome of a message; those that nobody has are
// absent.
type Counts struct {
	Queued    int64 `json:"queued,omitempty"`
	Sent      int64 `json:"sent,omitempty"`
	Delivered int64 `json:"delivered,omitempty"`
	Capped    int64 `json:"capped,omitempty"`
	Muted     int64 `json:"muted,omitempty"`
	Expired   int64 `json:"expired,omitempty"`
	Recalled  int64 `json:"recalled,omitempty"`
	Failed    int64 `json:"failed,omitempty"`
	Read      int64 `json:"read,omitempty" jsonschema:"of those, who have read it"`
}

func countsOf(t store.Totals) *Counts {
	return &Counts{
		Queued: t.Queued, Sent: t.Sent, Delivered: t.Delivered, Capped: t.Capped, Muted: t.Muted,
		Expired: t.Expired, Recalled: t.Recalled, Failed: t.Failed, Read: t.Read,
	}
}

// totals are those of a message. Of one to everybody, who has no delivery yet counts
// as what he would be.
func totals(m *store.PushedMessage, now int64) store.Totals {
	t := m.Totals
	if !m.Everyone {
		return t
	}
	rest := max(0, m.Audience-(t.Queued+t.Sent+t.Delivered+t.Capped+t.Muted+t.Expired+t.Recalled+t.Failed))
	switch {
	case m.Withdrawn > 0:
		t.Recalled += rest
	case m.Expires > 0 && m.Expires <= now:
		t.Expired += rest
	default:
		t.Queued += rest
	}
	return t
}

// view shows a campaign.
func (e *engine) view(ctx context.Context, r *record) (Campaign, error) {
	list, err := e.views(ctx, r)
	if err != nil {
		return Campaign{}, err
	}
	return list[0], nil
}

// views shows campaigns, in order.
func (e *engine) views(ctx context.Context, records ...*record) ([]Campaign, error) {
	list := make([]Campaign, len(records))
	var messages []string
	for _, r := range records {
		if r.plan.Frozen != nil {
			messages = append(messages, r.plan.Frozen.ID)
		}
	}
	var pushed []store.PushedMessage
	if len(messages) > 0 {
		var err error
		if pushed, err = e.store.PushedMessages(ctx, messages...); err != nil {
			return nil, outage.Fault(err)
		}
	}
	now := e.f.now()
	for i, r := range records {
		p := &r.plan
		c := Campaign{
			ID: r.id, Name: p.Name, State: r.state, To: audience.ListTarget{Target: p.To}, Category: p.Category, Event: p.Event, Data: p.Data,
			Expires: p.Expires, Collapse: p.Collapse, Escalate: p.Escalate, At: p.At, Pace: p.Pace,
			Created: r.created, Started: r.notes.Started, Ended: r.notes.Ended, Progress: r.cursor.done, Error: r.notes.Error,
		}
		if r.notes.Counted {
			c.Audience = &r.notes.Audience
		}
		if p.Frozen != nil {
			m := &pushed[0]
			pushed = pushed[1:]
			c.Message, c.Expires, c.Counts = p.Frozen.ID, Expiry{At: p.Frozen.Expires}, countsOf(totals(m, now))
			if p.To.All && m.Everyone {
				c.Audience, c.Progress = &m.Audience, m.Audience
			}
		}
		if c.Audience == nil && p.To.List {
			size, err := e.store.CampaignSize(ctx, r.id)
			if err != nil {
				return nil, outage.Fault(err)
			}
			c.Audience = &size
		}
		if r.state == running {
			if trouble := e.trouble(r.id); trouble != "" {
				c.Error = trouble
			}
		}
		list[i] = c
	}
	return list, nil
}
