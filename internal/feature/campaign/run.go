package campaign

import (
	"context"
	"errors"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/outage"
	"github.com/skein-realtime/skein/store"
)

// How long a run waits after the store has failed, at first and at most.
const (
	firstWait = time.Second
	lastWait  = 30 * time.Second
)

var (
	// errLost ends a run whose campaign was changed by somebody, or is another node's.
	errLost = errors.New("campaign: it is not ours any more")
	// errEnding ends a run because the node ends.
	errEnding = errors.New("campaign: the server is shutting down")
	// errAgain begins anew from the cursor that the store has.
	errAgain = errors.New("campaign: the cursor was elsewhere")
)

// run works on one campaign that this node holds.
type run struct {
	e       *engine
	record  record // of its goroutine alone
	pacer   *pacer
	sizer   *sizer
	poked   chan struct{} // has a value when a verb has changed the campaign
	renewed int64         // when the claim was last made longer
	seen    int64         // commands of others that had been carried out when that was last looked at
	looked  time.Time     // when it was
	others  bool          // whether others were about then
	pause   time.Duration // before the next step

	// Guarded by the engine's mu.
	trouble string // why it does not get on
	since   int64  // when that began
}

func newRun(e *engine, r record) *run {
	return &run{e: e, record: r, pacer: newPacer(r.plan.Pace), sizer: newSizer(e.shared), poked: make(chan struct{}, 1), renewed: e.f.now()}
}

func (r *run) poke() {
	select {
	case r.poked <- struct{}{}:
	default:
	}
}

// carryOut does what is to be done until there is no more, the campaign is lost, or the
// node ends.
func (r *run) carryOut(ctx context.Context) {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		before := r.record
		err := r.attempt(ctx)
		if err != nil && lasting(err) {
			err = r.rest(ctx, err)
		}
		moved := r.record.cursor != before.cursor || r.record.version != before.version
		switch {
		case err == nil:
			return
		case errors.Is(err, errLost):
			r.e.f.metrics.Lost.Add(1)
			return
		case r.e.isEnding() || ctx.Err() != nil:
			r.giveBack()
			return
		case moved:
			wait = firstWait // the trouble before is over
		}
		if moved && errors.Is(err, errAgain) {
			continue
		}
		r.failed(err)
		if !sleep(ctx, wait, r.e.ending, r.poked) && !r.e.isEnding() && ctx.Err() == nil {
			// A verb has changed the campaign: it is not ours any more, unless the store
			// cannot even tell.
			if err := r.reload(ctx); errors.Is(err, errLost) {
				r.e.f.metrics.Lost.Add(1)
				return
			}
		}
	}
}

// attempt does it once, up to the first failure.
func (r *run) attempt(ctx context.Context) error {
	c := &r.record
	switch {
	case c.state == deleting:
		return r.e.erase(ctx, c.id)
	case c.notes.Recall:
		return r.recall(ctx)
	case c.state == scheduled:
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	if c.plan.To.All {
		if err := r.broadcast(ctx); err != nil {
			return err
		}
	} else if err := r.pushAll(ctx); err != nil {
		return err
	}
	c.state, c.next, c.notes.Ended, c.notes.Error, c.notes.Failed = done, 0, r.e.f.now(), "", 0
	if err := r.keep(ctx, false); err != nil {
		return err
	}
	r.e.f.metrics.Finished.Add(1)
	return nil
}

// begin starts a campaign whose time has come.
func (r *run) begin(ctx context.Context) error {
	f, next := r.e.f, r.record
	if err := f.proceed(&next, f.now()); err != nil {
		return err
	}
	return r.become(ctx, next)
}

// become keeps what the campaign is from now on, and goes on holding it.
func (r *run) become(ctx context.Context, next record) error {
	before := r.record
	r.record = next
	err := r.keep(ctx, true)
	if err != nil && r.record.version == before.version {
		r.record = before
	}
	return err
}

// broadcast is the one step of a campaign for everybody.
func (r *run) broadcast(ctx context.Context) error {
	c := &r.record
	if c.cursor != (cursor{}) {
		return nil // it was done
	}
	to := cursor{done: 1}
	_, err := r.do(ctx, store.Broadcast{
		Content: c.content(), Now: r.e.f.now(), Step: &store.Step{Campaign: c.id, Version: c.version, To: to.String()},
	})
	if err != nil {
		return err
	}
	c.cursor = to
	r.e.f.cfg.Broadcasted()
	r.e.f.metrics.Steps.Add(1)
	r.well()
	return nil
}

// pushAll pushes to the audience from the cursor on.
func (r *run) pushAll(ctx context.Context) error {
	c := &r.record
	if !c.notes.Counted {
		next := r.record
		var err error
		if next.notes.Audience, err = countAudience(ctx, r.e.store, c.id, c.plan.To); err != nil {
			return err
		}
		next.notes.Counted = true
		if err := r.become(ctx, next); err != nil {
			return err
		}
	}
	limit := maxPage
	if c.plan.Pace > 0 {
		limit = min(limit, max(10, c.plan.Pace))
	}
	from, err := newSource(ctx, r.e.store, c.id, c.plan.To, c.cursor.last, limit)
	if err != nil {
		return err
	}
	defer from.close()
	for {
		to, err := from.next(ctx, min(r.sizer.size, r.pacer.most()))
		if err != nil || len(to) == 0 {
			return err
		}
		if r.e.isEnding() {
			return errEnding
		}
		if !r.pacer.take(ctx, len(to), r.e.ending, r.poked) {
			return r.reload(ctx)
		}
		if err := r.renew(ctx); err != nil {
			return err
		}
		if err := r.step(ctx, to, from.place(to[len(to)-1])); err != nil {
			return err
		}
		// With others about, most of the time is theirs.
		if r.pause > 0 && !sleep(ctx, r.pause, r.e.ending, r.poked) {
			return r.reload(ctx)
		}
	}
}

// step pushes to some users and moves the cursor behind them.
func (r *run) step(ctx context.Context, to []store.Recipient, last string) error {
	select {
	case r.e.writers <- struct{}{}:
		defer func() { <-r.e.writers }()
	case <-r.e.ending:
		return errEnding
	case <-ctx.Done():
		return ctx.Err()
	}
	c, settings := &r.record, r.e.f.settings()
	next := cursor{done: c.cursor.done + int64(len(to)), last: last}
	begun := time.Now()
	_, err := r.do(ctx, store.Push{
		Content: c.content(), To: to, Now: r.e.f.now(), Zone: settings.Zone, Keep: max(0, settings.Keep),
		Step: &store.Step{Campaign: c.id, Version: c.version, From: c.cursor.String(), To: next.String()},
	})
	if err != nil {
		return err
	}
	took := time.Since(begun)
	c.cursor = next
	busy := r.busy()
	r.sizer.note(len(to), took, busy)
	if r.pause = 0; busy {
		r.pause = r.sizer.rest(took)
	}
	m := &r.e.f.metrics
	m.Steps.Add(1)
	m.Users.Add(int64(len(to)))
	m.Size.Store(int64(len(to)))
	r.well()
	return nil
}

// strangers is how many commands of others tell, in so long a time, that somebody else uses
// the store. One is not enough: our own may be counted a moment late.
const (
	strangers = 2
	lookBack  = 20 * time.Millisecond
)

// busy tells whether others have used the store lately.
func (r *run) busy() bool {
	if r.e.f.cfg.Commands == nil {
		return true
	}
	others, now := r.e.f.cfg.Commands()-r.e.own.Load(), time.Now()
	switch {
	case others-r.seen >= strangers:
		r.seen, r.looked, r.others = others, now, true
	case now.Sub(r.looked) >= lookBack:
		r.seen, r.looked, r.others = others, now, false
	}
	return r.others
}

// do carries a command out. One that is refused has lost the campaign, or the store had
// carried it out before without our hearing of it.
func (r *run) do(ctx context.Context, c store.Command) (store.Result, error) {
	results, err := r.e.store.Do(ctx, c)
	switch {
	case errors.Is(err, store.ErrConflict):
		return nil, r.reload(ctx)
	case err != nil:
		return nil, err
	}
	r.e.own.Add(1)
	return results[0], nil
}

// reload reads what the store has, and always gives an error: errAgain when the campaign
// is still ours.
func (r *run) reload(ctx context.Context) error {
	if r.e.isEnding() {
		return errEnding
	}
	found, err := r.e.store.Campaign(ctx, r.record.id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errLost
	case err != nil:
		return err
	case found.Owner != r.e.f.cfg.Node:
		return errLost
	}
	// The name of the node is this process's alone, so it can only be our own claim.
	if r.record, err = decode(found); err != nil {
		return err
	}
	return errAgain
}

// renew makes the claim longer when it is time.
func (r *run) renew(ctx context.Context) error {
	if r.e.f.now() < r.renewed+renewEvery {
		return nil
	}
	return r.keep(ctx, true)
}

// keep writes the campaign, and goes on holding it or gives it back.
func (r *run) keep(ctx context.Context, hold bool) error {
	c := &r.record
	put, err := c.put()
	if err != nil {
		return err
	}
	now := r.e.f.now()
	if hold {
		put.Keep, put.Owner, put.Until = true, r.e.f.cfg.Node, now+lease
	}
	result, err := r.do(ctx, put)
	if err != nil {
		return err
	}
	c.version, r.renewed = result.(store.CampaignPut).Version, now
	return nil
}

// recall withdraws the message of a campaign that was cancelled.
func (r *run) recall(ctx context.Context) error {
	c := &r.record
	if err := r.e.withdraw(ctx, c.plan.Frozen.ID); err != nil {
		return err
	}
	c.next, c.notes.Recall = 0, false
	return r.keep(ctx, false)
}

// recallLimit is how many deliveries are withdrawn at once.
const recallLimit = 250

// withdraw takes a message back. One of which nothing was pushed is not there.
func (e *engine) withdraw(ctx context.Context, message string) error {
	if recall := e.f.cfg.Recall; recall != nil {
		err := recall(ctx, message)
		if errors.Is(err, store.ErrNotFound) || err != nil && fault.Of(err).Code == fault.NotFound {
			return nil
		}
		return err
	}
	for {
		results, err := e.store.Do(ctx, store.RecallPush{ID: message, Now: e.f.now(), Limit: recallLimit})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil || !results[0].(store.Ended).More {
			return err
		}
	}
}

// lasting tells that trying again does not help.
func lasting(err error) bool {
	if errors.Is(err, store.ErrTooLarge) {
		return true
	}
	f := (*fault.Error)(nil)
	if !errors.As(err, &f) {
		return false
	}
	switch f.Code {
	case fault.BadRequest, fault.NotFound, fault.Denied, fault.Conflict, fault.TooLarge:
		return true
	}
	return false
}

// rest pauses a campaign that cannot go on, and says why.
func (r *run) rest(ctx context.Context, why error) error {
	next := r.record
	next.state, next.next, next.notes.Error, next.notes.Failed = paused, 0, sentence(why), r.e.f.now()
	if r.record.notes.Recall || r.record.state == deleting {
		next.state = r.record.state
	}
	before := r.record
	r.record = next
	if err := r.keep(ctx, false); err != nil {
		if r.record.version == before.version {
			r.record = before
		}
		return err
	}
	r.e.f.metrics.Paused.Add(1)
	r.e.f.cfg.Logger.Error("a campaign rests", "campaign", next.id, "error", why)
	return nil
}

// failed says why it does not get on.
func (r *run) failed(err error) {
	r.e.f.metrics.Failures.Add(1)
	text := sentence(outage.Fault(err))
	r.e.mu.Lock()
	fresh := r.trouble == ""
	if fresh {
		r.since = r.e.f.now()
	}
	r.trouble = text
	r.e.mu.Unlock()
	if fresh {
		r.e.f.cfg.Logger.Warn("a campaign waits for the store", "campaign", r.record.id, "error", err)
	}
}

// well says that it gets on.
func (r *run) well() {
	r.e.mu.Lock()
	r.trouble = ""
	r.e.mu.Unlock()
}

// giveBack ends the claim, so that another process need not wait for its end.
func (r *run) giveBack() {
	// What ends the runs has nothing to do with this.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.e.ctx), storeTime)
	defer cancel()
	if err := r.keep(ctx, false); err != nil && !errors.Is(err, errEnding) {
		r.e.f.cfg.Logger.Warn("a campaign is not given back, and goes on when the claim has run out", "campaign", r.record.id, "error", err)
	}
}
