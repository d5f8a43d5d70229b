package campaign

import (
	"context"
	"errors"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) registerVerbs(r *verb.Registry) {
	verb.Add(r, "campaigns.create", "Makes a campaign: a message, whom it is for, and how fast.", f.create)
	verb.Add(r, "campaigns.add", "Adds users to the list of a campaign that was not started.", f.add)
	verb.Add(r, "campaigns.estimate", "Tells what would become of a campaign, or of a push, now.", f.estimate)
	verb.Add(r, "campaigns.start", "Starts a campaign, at once or at its time.", f.start)
	verb.Add(r, "campaigns.pause", "Stops a campaign until it is resumed.", f.pause)
	verb.Add(r, "campaigns.resume", "Goes on with a campaign that was paused.", f.resume)
	verb.Add(r, "campaigns.cancel", "Ends a campaign; what was pushed stays.", f.cancel)
	verb.Add(r, "campaigns.recall", "Ends a campaign and withdraws its message from everybody who has not acknowledged it.", f.recall)
	verb.Add(r, "campaigns.get", "Shows a campaign and how far it has come.", f.get)
	verb.Add(r, "campaigns.list", "Lists campaigns, the newest first.", f.list)
	verb.Add(r, "campaigns.delete", "Forgets a campaign that does not run; its records stay.", f.delete)
}

// IDParams name a campaign.
type IDParams struct {
	ID string `json:"id"`
}

// AddParams are the params of campaigns.add.
type AddParams struct {
	ID    string   `json:"id" jsonschema:"of a draft that is for a list"`
	Users []string `json:"users" jsonschema:"at most 10000; who is in the list already stays in it once"`
}

// AddResult says how long a list is.
type AddResult struct {
	Count int64 `json:"count" jsonschema:"how many users are in the list"`
}

// ListParams are the params of campaigns.list.
type ListParams struct {
	State string `json:"state,omitempty" jsonschema:"only those in this state"`
	After string `json:"after,omitempty" jsonschema:"the next of the page before"`
	Limit int    `json:"limit,omitempty" jsonschema:"entries of a page; 100 when absent, at most 1000"`
}

// Page is a page of campaigns, the newest first.
type Page struct {
	Items []Campaign `json:"items"`
	Next  string     `json:"next,omitempty"`
}

// maxPageBytes bounds the plans of a page.
const maxPageBytes = 4 << 20

func (f *Feature) create(ctx context.Context, p CreateParams) (Campaign, error) {
	wanted, users, err := f.check(&p)
	if err != nil {
		return Campaign{}, err
	}
	e, err := f.running()
	if err != nil {
		return Campaign{}, err
	}
	now := f.cfg.Now()
	r := record{id: id.Message(now), state: draft, plan: *wanted, created: now.UnixMilli()}
	if err := e.make(ctx, &r, users); err != nil {
		return Campaign{}, err
	}
	return e.view(ctx, &r)
}

// make keeps a new campaign and its list. One that is there already is
// [store.ErrConflict].
func (e *engine) make(ctx context.Context, r *record, users []string) error {
	put, err := r.put()
	if err != nil {
		return err
	}
	group := []store.Command{put}
	if len(users) > 0 {
		group = append(group, store.AddToCampaign{ID: r.id, Users: users})
	}
	results, err := e.store.Do(ctx, group...)
	if errors.Is(err, store.ErrConflict) {
		return err
	}
	if err != nil {
		return outage.Fault(err)
	}
	r.version = results[0].(store.CampaignPut).Version
	return nil
}

// maxConflicts bounds how often a change begins anew because the campaign was changed
// meanwhile.
const maxConflicts = 20

// change changes a campaign as edit says, and more of it in the same transaction.
func (f *Feature) change(ctx context.Context, id string, edit func(r *record, now int64) error, more ...store.Command) (record, []store.Result, error) {
	if err := checkID(id); err != nil {
		return record{}, nil, err
	}
	e, err := f.running()
	if err != nil {
		return record{}, nil, err
	}
	for range maxConflicts {
		r, err := e.read(ctx, id)
		if err != nil {
			return r, nil, err
		}
		if err := edit(&r, f.now()); err != nil {
			return r, nil, err
		}
		put, err := r.put()
		if err != nil {
			return r, nil, err
		}
		results, err := e.store.Do(ctx, append([]store.Command{put}, more...)...)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return r, nil, outage.Fault(err)
		}
		r.version, r.owner = results[0].(store.CampaignPut).Version, ""
		e.changed(id, r.next)
		return r, results, nil
	}
	return record{}, nil, fault.New(fault.Unavailable, "the campaign is being changed elsewhere all the time").After(outage.RetryAfter)
}

func notFound(id string) *fault.Error {
	return fault.New(fault.NotFound, "id: there is no campaign %q", id)
}

// read reads a campaign from the store.
func (e *engine) read(ctx context.Context, id string) (record, error) {
	c, err := e.store.Campaign(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && c.State == deleting {
		return record{}, notFound(id)
	}
	if err != nil {
		return record{}, outage.Fault(err)
	}
	r, err := decode(c)
	if err != nil {
		return r, fault.Wrap(fault.Internal, err, "the campaign %q cannot be read", id)
	}
	return r, nil
}

// fits tells that a verb does not fit the state of a campaign.
func (r *record) fits(verb string, states ...string) error {
	for _, s := range states {
		if r.state == s {
			return nil
		}
	}
	return fault.New(fault.Conflict, "id: the campaign is %s; %s does not fit", r.state, verb)
}

func (f *Feature) add(ctx context.Context, p AddParams) (AddResult, error) {
	if err := checkID(p.ID); err != nil {
		return AddResult{}, err
	}
	if err := checkUsers(p.Users); err != nil {
		return AddResult{}, err
	}
	_, results, err := f.change(ctx, p.ID, func(r *record, _ int64) error {
		if err := r.fits("add", draft); err != nil {
			return err
		}
		if !r.plan.To.List {
			return fault.New(fault.Conflict, "id: the campaign is not for a list")
		}
		return nil
	}, store.AddToCampaign{ID: p.ID, Users: p.Users})
	if err != nil {
		return AddResult{}, err
	}
	return AddResult{Count: results[1].(store.CampaignList).Count}, nil
}

// changeShown is change for verbs that give the campaign.
func (f *Feature) changeShown(ctx context.Context, id string, edit func(r *record, now int64) error) (Campaign, error) {
	r, _, err := f.change(ctx, id, edit)
	if err != nil {
		return Campaign{}, err
	}
	e, err := f.running()
	if err != nil {
		return Campaign{}, err
	}
	return e.view(ctx, &r)
}

func (f *Feature) start(ctx context.Context, p IDParams) (Campaign, error) {
	return f.changeShown(ctx, p.ID, func(r *record, now int64) error {
		if err := r.fits("start", draft); err != nil {
			return err
		}
		return f.proceed(r, now)
	})
}

// proceed has a campaign begin, or go on, at its time or at once.
func (f *Feature) proceed(r *record, now int64) error {
	r.notes.Error, r.notes.Failed = "", 0
	if r.plan.Frozen == nil {
		if e := r.plan.Expires.At; e != 0 && e <= max(now, r.plan.at()) {
			return fault.New(fault.Conflict, "id: what the campaign pushes has expired")
		}
		if at := r.plan.at(); at > now {
			if err := f.checkCategory(r.plan.Category); err != nil {
				return err
			}
			r.state, r.next = scheduled, at
			return nil
		}
		if err := f.freeze(&r.plan); err != nil {
			return err
		}
		r.notes.Started = now
	}
	r.state, r.next = running, now
	return nil
}

func (f *Feature) pause(ctx context.Context, p IDParams) (Campaign, error) {
	return f.changeShown(ctx, p.ID, func(r *record, _ int64) error {
		r.next = 0
		err := r.fits("pause", scheduled, running)
		r.state = paused
		return err
	})
}

func (f *Feature) resume(ctx context.Context, p IDParams) (Campaign, error) {
	return f.changeShown(ctx, p.ID, func(r *record, now int64) error {
		if err := r.fits("resume", paused); err != nil {
			return err
		}
		return f.proceed(r, now)
	})
}

func (f *Feature) cancel(ctx context.Context, p IDParams) (Campaign, error) {
	return f.changeShown(ctx, p.ID, func(r *record, now int64) error {
		if err := r.fits("cancel", scheduled, running, paused); err != nil {
			return err
		}
		r.state, r.next, r.notes.Ended, r.notes.Error, r.notes.Failed = cancelled, 0, now, "", 0
		return nil
	})
}

// How long answers wait for what they have begun.
const (
	recallWait    = 5 * time.Second
	broadcastWait = 5 * time.Second
	beginWait     = 200 * time.Millisecond
	lookAgain     = 50 * time.Millisecond
)

// recall cancels a campaign; whoever claims it then withdraws the message. From the
// first moment of that nobody gets the message any more.
func (f *Feature) recall(ctx context.Context, p IDParams) (Campaign, error) {
	e, err := f.running()
	if err != nil {
		return Campaign{}, err
	}
	over := e.expect(p.ID)
	defer e.forgetWaiter(p.ID, over)
	_, _, err = f.change(ctx, p.ID, func(r *record, now int64) error {
		if err := r.fits("recall", scheduled, running, paused, done, cancelled); err != nil {
			return err
		}
		if r.state != cancelled {
			r.state = cancelled
			if r.notes.Ended == 0 {
				r.notes.Ended = now
			}
		}
		r.next, r.notes.Error, r.notes.Failed = 0, "", 0
		if r.plan.Frozen != nil {
			r.next, r.notes.Recall = now, true
		}
		return nil
	})
	if err != nil {
		return Campaign{}, err
	}
	for limit := time.After(recallWait); ; {
		r, err := e.read(ctx, p.ID)
		if err != nil {
			return Campaign{}, err
		}
		if r.next == 0 {
			return e.view(ctx, &r)
		}
		select {
		case <-over.ended:
			e.forgetWaiter(p.ID, over)
			over = e.expect(p.ID)
		case <-time.After(lookAgain): // another node may do it
		case <-limit:
			return e.view(ctx, &r)
		case <-ctx.Done():
			return e.view(ctx, &r)
		}
	}
}

func (f *Feature) get(ctx context.Context, p IDParams) (Campaign, error) {
	if err := checkID(p.ID); err != nil {
		return Campaign{}, err
	}
	e, err := f.running()
	if err != nil {
		return Campaign{}, err
	}
	r, err := e.read(ctx, p.ID)
	if err != nil {
		return Campaign{}, err
	}
	return e.view(ctx, &r)
}

func (f *Feature) list(ctx context.Context, p ListParams) (Page, error) {
	page := Page{Items: []Campaign{}}
	limit, err := verb.PageLimit(p.Limit)
	if err != nil {
		return page, err
	}
	if err := checkState(p.State); err != nil {
		return page, err
	}
	e, err := f.running()
	if err != nil {
		return page, err
	}
	found, err := e.store.Campaigns(ctx, p.State, p.After, limit+1)
	if err != nil {
		return page, outage.Fault(err)
	}
	var records []*record
	size := 0
	for i, c := range found {
		size += len(c.Plan) + len(c.Notes)
		if i == limit || i > 0 && size > maxPageBytes {
			page.Next = found[i-1].ID
			break
		}
		if c.State == deleting {
			continue
		}
		r, err := decode(c)
		if err != nil {
			return page, fault.Wrap(fault.Internal, err, "the campaign %q cannot be read", c.ID)
		}
		records = append(records, &r)
	}
	page.Items, err = e.views(ctx, records...)
	return page, err
}

// deleteLater is when a campaign whose deletion was not finished is taken up again.
const deleteLater = 30_000 // milliseconds

// delete first marks a campaign, so that one which is half gone is never started, and then
// deletes it with its list.
func (f *Feature) delete(ctx context.Context, p IDParams) (Campaign, error) {
	e, err := f.running()
	if err != nil {
		return Campaign{}, err
	}
	var shown Campaign
	_, _, err = f.change(ctx, p.ID, func(r *record, now int64) error {
		if err := r.fits("delete", draft, done, cancelled); err != nil {
			return err
		}
		if r.next != 0 {
			return fault.New(fault.Conflict, "id: the message of the campaign is being withdrawn")
		}
		var err error
		shown, err = e.view(ctx, r)
		r.state, r.next = deleting, now+deleteLater
		return err
	})
	if err != nil {
		return Campaign{}, err
	}
	if err := e.erase(ctx, p.ID); err != nil {
		f.cfg.Logger.Warn("a campaign is deleted later", "campaign", p.ID, "error", err)
	}
	return shown, nil
}

// erase deletes a campaign and its list, some at a time.
func (e *engine) erase(ctx context.Context, id string) error {
	for {
		results, err := e.store.Do(ctx, store.DeleteCampaign{ID: id})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return outage.Fault(err)
		}
		if !results[0].(store.CampaignDeleted).More {
			return nil
		}
	}
}
