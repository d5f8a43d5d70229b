package tables

import (
	"context"
	"hash/fnv"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

// work is one command about pushes. It locks the persons that are concerned, reads
// what it needs, decides in memory, and [work.save] writes what has changed.
type work struct {
	ctx       context.Context
	tx        Tx
	now       int64
	at        time.Time      // is now
	elsewhere *time.Location // of users whose own is not known

	zones      map[string]*time.Location
	inboxes    map[int64]*inbox    // by number: those that are locked
	messages   map[int64]*message  // by number
	deliveries map[int64]*delivery // by place: those that were read
	fresh      []*delivery         // in the order of their places
}

func newWork(ctx context.Context, tx Tx, now int64, zone string) *work {
	w := &work{
		ctx: ctx, tx: tx, now: now, at: time.UnixMilli(now), elsewhere: time.UTC,
		inboxes: map[int64]*inbox{}, messages: map[int64]*message{}, deliveries: map[int64]*delivery{},
	}
	if known, ok := fatigue.Zone(zone); ok {
		w.elsewhere = known
	}
	return w
}

// place makes a new delivery of a message at the end of an inbox. It is queued, and
// not judged yet.
func (w *work) place(i *inbox, m *message, d *delivery) *delivery {
	i.top++
	*d = delivery{person: i.n, seq: i.top, push: m.n, state: store.Queued, changed: true, message: m, inbox: i}
	m.added = true
	w.fresh = append(w.fresh, d)
	return d
}

// judge decides what becomes of a delivery that waits. What was reserved for it has
// been given back.
func (w *work) judge(d *delivery) {
	m, i := d.message, d.inbox
	if w.over(d) {
		return
	}
	p := &m.Policy
	muted := p.Mutable && len(i.muted) > 0 && slices.Contains(i.muted, p.Category)
	v := i.counts.Judge(p, i.zone, muted, w.at)
	d.reason, d.rule, d.due = byNone, v.Rule, 0
	switch v.Kind {
	case fatigue.Deliver:
		if m.counts() {
			i.counts.Count(p, i.zone, w.at)
			i.counted, d.counted = true, w.now
		}
	case fatigue.Muted:
		w.end(d, store.Muted, byUser)
		d.hidden = p.OnCap == fatigue.Drop
	case fatigue.QuietHours:
		if p.OnQuiet == fatigue.Inbox {
			w.end(d, store.Muted, byQuiet)
			break
		}
		w.putOff(d, v.Until, byQuiet)
	case fatigue.Capped:
		if p.OnCap == fatigue.Defer && !v.Until.IsZero() {
			w.putOff(d, v.Until, byCap)
			break
		}
		w.end(d, store.Capped, byCap)
		d.hidden = p.OnCap == fatigue.Drop
	}
	d.changed = true
}

// over ends a delivery whose message was withdrawn or is too old, and tells whether
// it was so.
func (w *work) over(d *delivery) bool {
	switch {
	case d.message.withdrawn != 0:
		w.end(d, store.Withdrawn, byNone)
	case d.message.over(w.now):
		w.end(d, store.Expired, d.putOffBy())
	default:
		return false
	}
	return true
}

// putOffBy is why a delivery does not get its turn yet, when it was put off.
func (d *delivery) putOffBy() reason {
	if d.due == 0 {
		return byNone
	}
	return d.reason
}

// spread is over how many milliseconds those are spread whose windows open at the
// same time.
const spread = 60_000

func (w *work) putOff(d *delivery, until time.Time, by reason) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.message.ID)) // it never fails
	_, _ = h.Write([]byte(d.inbox.user))
	d.due, d.reason = max(until.UnixMilli(), w.now+1)+int64(h.Sum64()%(spread+1)), by
	d.due = min(d.due, maxPushTime)
}

// end makes an outcome of a delivery. What was never sent gives back what was reserved
// for it.
func (w *work) end(d *delivery, s store.State, by reason) {
	if d.state == store.Queued {
		w.refund(d)
	}
	if by == byNone || by == byReplacement || by == byFull || by == byReading {
		d.rule = "" // no rule has done that
	}
	d.state, d.reason, d.ended, d.due, d.escalate, d.changed = s, by, w.now, 0, 0, true
}

func (w *work) refund(d *delivery) {
	if d.counted == 0 {
		return
	}
	d.inbox.counts.Refund(&d.message.Policy, time.UnixMilli(d.counted))
	d.inbox.counted, d.counted, d.changed = true, 0, true
}

// deliver notes that a device has acknowledged a delivery.
func (w *work) deliver(d *delivery, device string, at int64) {
	d.state, d.reason, d.rule, d.device, d.ended, d.due, d.escalate, d.changed = store.Delivered, byNone, "", device, at, 0, 0, true
	if d.sent == 0 {
		d.sent = at
	}
}

// row is a delivery as it is told.
func (d *delivery) row() store.Row {
	return store.Row{
		N: uint64(d.person), User: d.inbox.user, Seq: uint64(d.seq), State: d.state, Reason: d.reason.String(), Rule: d.rule, Due: d.due,
	}
}

// item is a delivery with what is in its message.
func (d *delivery) item(c *store.Content) store.Item {
	i := store.Item{
		Seq: uint64(d.seq), Content: *c, State: d.state, Reason: d.reason.String(), Rule: d.rule, Device: d.device,
		Due: d.due, Queued: d.queued(), Sent: d.sent, Read: d.read,
	}
	switch {
	case d.state == store.Delivered:
		i.Delivered = d.ended
	case !d.state.Open():
		i.Ended = d.ended
	}
	return i
}

// save writes everything that has changed.
func (w *work) save() error {
	var changed []*delivery
	for _, d := range w.fresh {
		w.account(d)
	}
	for _, d := range w.deliveries {
		if d.changed {
			changed = append(changed, d)
			w.account(d)
		}
	}
	// What maps give comes in any order; two transactions that wait for each other's rows
	// would be stuck, and pages like order.
	slices.SortFunc(changed, func(a, b *delivery) int { return int(a.pos - b.pos) })
	if err := w.insert(w.fresh); err != nil {
		return err
	}
	if err := w.update(changed); err != nil {
		return err
	}
	inboxes := make([]*inbox, 0, len(w.inboxes))
	for _, i := range w.inboxes {
		if i.changed || i.counted {
			inboxes = append(inboxes, i)
		}
	}
	slices.SortFunc(inboxes, func(a, b *inbox) int { return int(a.n - b.n) })
	if err := w.saveInboxes(inboxes); err != nil {
		return err
	}
	w.fresh = w.fresh[:0]
	return w.saveTotals()
}

// account brings what has become of a delivery into the sums of its inbox and its
// message.
func (w *work) account(d *delivery) {
	d.changed = false
	i, m := d.inbox, d.message
	if d.kept == 0 {
		i.changed = true
	}
	if d.state == d.kept {
		return
	}
	if back := d.state == store.Capped || d.state == store.Muted; back && !d.hidden && !i.told && (i.held == 0 || d.seq < i.held) {
		i.held, i.changed = d.seq, true
	}
	m.change[d.state]++
	if d.kept != 0 {
		m.change[d.kept]--
	}
	switch was, is := d.kept.Open(), d.state.Open(); {
	case is && !was:
		if i.open == 0 {
			i.settled = d.seq - 1
		}
		i.open++
		i.changed = true
	case was && !is:
		i.open--
		i.changed = true
		i.ended = i.ended || d.seq == i.settled+1
	}
	d.kept = d.state
}
