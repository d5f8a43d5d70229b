package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/skein-realtime/skein/internal/audience"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Begin carries out a push to many users, as a campaign that starts at once, and waits a
// moment for what becomes of it. The campaign has the id of its message.
//
// A key is kept with the message, as that of any push, before there is a campaign: a
// repeat finds the message by the key and the campaign by the message, whatever happened in
// between and in whichever process; when the first call ended before the campaign was
// made, the repeat makes it. A repeat for another audience becomes another campaign
// with the same message, which reaches those who do not have it yet. Another content
// under the same key is a conflict.
//
// Errors are *fault.Error.
func (f *Feature) Begin(ctx context.Context, j audience.Job) (audience.Begun, error) {
	e, err := f.running()
	if err != nil {
		return audience.Begun{}, err
	}
	r, users, err := e.recordOf(ctx, &j)
	if err != nil {
		return audience.Begun{}, err
	}
	b := audience.Begun{Message: j.Content.ID}
	if len(j.Key) > 0 {
		first, duplicate, err := e.keyed(ctx, &j, &r)
		if err != nil {
			return b, err
		}
		if duplicate {
			b.Message, b.Duplicate = first.ID, true
			r.plan.Event, r.plan.Data, r.plan.Category, r.plan.Collapse = first.Event, first.Data, first.Category, first.Collapse
			r.plan.Frozen = frozenOf(first)
			r.id = first.ID
		}
	}
	if r, err = e.makeOnce(ctx, r, users); err != nil {
		return b, err
	}
	b.Campaign = r.id
	patience := beginWait
	if r.plan.To.All {
		patience = broadcastWait // it is one step
	}
	return b, e.look(ctx, r.id, patience, &b)
}

// recordOf is the campaign of a job. Its audience is counted, because that is asked for.
func (e *engine) recordOf(ctx context.Context, j *audience.Job) (record, []string, error) {
	c := &j.Content
	asked := sha256.Sum256(j.To.AppendJSON(nil))
	now := e.f.now()
	r := record{id: c.ID, state: running, next: now, created: now, plan: plan{
		Name: j.Name, To: j.To, Category: c.Category, Event: c.Event, Data: c.Data, Collapse: c.Collapse,
		Frozen: frozenOf(c), Asked: base64.RawURLEncoding.EncodeToString(asked[:9]),
	}}
	if r.plan.Event == "" {
		r.plan.Event = protocol.DefaultEvent
	}
	r.notes.Started = now
	users := j.To.Users
	switch {
	case users != nil:
		r.plan.To, r.notes.Audience = audience.Target{List: true}, int64(len(users))
		r.notes.Counted = true
	case !j.To.All:
		n, err := countAudience(ctx, e.store, r.id, j.To)
		if err != nil {
			return r, nil, outage.Fault(err)
		}
		r.notes.Audience, r.notes.Counted = n, true
	}
	return r, users, nil
}

func frozenOf(c *store.Content) *frozen {
	return &frozen{ID: c.ID, Time: c.Time, Policy: c.Policy, Expires: c.Expires, Escalate: c.Escalate}
}

// keyed keeps the message with its key, for nobody yet, and gives the first one when the
// key was used before. A message for everybody is for everybody then: its campaign is done.
func (e *engine) keyed(ctx context.Context, j *audience.Job, r *record) (first *store.Content, duplicate bool, err error) {
	content, settings := j.Content, e.f.settings()
	content.Campaign = content.ID
	var c store.Command = store.Push{
		Content: content, Now: e.f.now(), Zone: settings.Zone, Keep: max(0, settings.Keep), Key: j.Key, Digest: j.Digest, KeyExpires: j.KeyExpires,
	}
	if j.To.All {
		c = store.Broadcast{Content: content, Now: e.f.now(), Key: j.Key, Digest: j.Digest, KeyExpires: j.KeyExpires}
	}
	results, err := e.store.Do(ctx, c)
	if errors.Is(err, store.ErrConflict) {
		return nil, false, fault.New(fault.Conflict, "key: it was used for a request with other content")
	}
	if err != nil {
		return nil, false, outage.Fault(err)
	}
	if p, is := results[0].(store.Pushed); is {
		return p.Content, p.Duplicate, nil
	}
	p := results[0].(store.Broadcasted)
	e.f.cfg.Broadcasted()
	r.state, r.next, r.notes.Ended = done, 0, e.f.now()
	if !p.Duplicate {
		return &content, false, nil
	}
	found, err := e.store.PushedMessages(ctx, p.ID)
	if err != nil {
		return nil, false, outage.Fault(err)
	}
	if found[0].ID == "" {
		return nil, false, fault.New(fault.Conflict, "key: it was used for a message that is not kept any more")
	}
	return &found[0].Content, true, nil
}

// makeOnce makes a campaign, or gives the one that was made before for the same message
// and the same audience.
func (e *engine) makeOnce(ctx context.Context, r record, users []string) (record, error) {
	for _, id := range []string{r.id, r.id + "-" + r.plan.Asked} {
		r.id = id
		err := e.make(ctx, &r, users)
		if err == nil {
			e.changed(r.id, r.next)
			return r, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return r, err
		}
		found, err := e.read(ctx, id)
		if err != nil {
			return r, err
		}
		if found.plan.Asked == r.plan.Asked {
			return found, nil
		}
	}
	return r, fault.New(fault.Conflict, "key: it was used for a request with other content")
}

// look waits until the campaign has ended, or for some time, and tells how far it has come.
func (e *engine) look(ctx context.Context, id string, patience time.Duration, b *audience.Begun) error {
	for limit := time.After(patience); ; {
		over := e.expect(id)
		r, err := e.read(ctx, id)
		if err != nil {
			e.forgetWaiter(id, over)
			return err
		}
		settled := r.state != running
		if !settled {
			select {
			case <-over.ended:
			case <-time.After(lookAgain): // another node may do it
			case <-limit:
				settled = true
			case <-ctx.Done():
				settled = true
			}
		}
		e.forgetWaiter(id, over)
		if settled {
			return e.report(context.WithoutCancel(ctx), id, b)
		}
	}
}

func (e *engine) report(ctx context.Context, id string, b *audience.Begun) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	r, err := e.read(ctx, id)
	if err != nil {
		return err
	}
	pushed, err := e.store.PushedMessages(ctx, r.plan.Frozen.ID)
	if err != nil {
		return outage.Fault(err)
	}
	b.Audience, b.Totals = r.notes.Audience, totals(&pushed[0], e.f.now())
	if pushed[0].Everyone {
		b.Audience = pushed[0].Audience
	}
	return nil
}
