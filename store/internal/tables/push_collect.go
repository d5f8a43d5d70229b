package tables

import (
	"cmp"
	"slices"

	"github.com/skein-realtime/skein/store"
)

func (w *work) collect(c *store.Collect) (store.Result, error) {
	i, err := w.visit(c.User)
	if i == nil && err == nil && !c.Peek {
		i, err = w.arrive(c.User)
	}
	if err != nil || i == nil {
		return store.Collected{}, err
	}
	if i.open == 0 && i.merged >= i.last && !(c.Tell && i.held != 0) {
		return store.Collected{Inbox: i.state()}, nil
	}
	if c.Peek && i.merged >= i.last {
		return w.peek(i, c)
	}
	if i, err = w.lockOne(i); err != nil {
		return nil, err
	}
	open, err := w.openOf(i)
	if err != nil {
		return nil, err
	}
	var fresh []*delivery
	if i.merged < i.last {
		if fresh, err = w.merge(i); err != nil {
			return nil, err
		}
	}
	held, err := w.hold(i, open, fresh, c)
	if err == nil && c.Tell && !c.Peek {
		held, err = w.tell(i, held)
	}
	if err != nil {
		return nil, err
	}
	if err := w.save(); err != nil {
		return nil, err
	}
	r := store.Collected{Inbox: i.state()}
	for _, d := range held {
		r.Held = append(r.Held, store.HeldRow{Row: d.row(), Category: d.message.Category, Hidden: d.hidden})
	}
	r.Messages, r.More, err = w.live(append(open, fresh...), c)
	return r, err
}

// arrive makes an inbox for a user who comes for the first time.
func (w *work) arrive(user string) (*inbox, error) {
	if _, err := w.recipients([]store.Recipient{{User: user}}); err != nil {
		return nil, err
	}
	i, err := w.visit(user)
	if err == nil && i == nil {
		err = w.again()
	}
	return i, err
}

// openOf gives what is open in an inbox, by seq.
func (w *work) openOf(i *inbox) (rows []*delivery, err error) {
	if i.open == 0 {
		return nil, nil
	}
	if err := w.tx.Query(w.ctx, sqlUpTo, w.taking(&rows), i.n, i.settled, i.top); err != nil {
		return nil, err
	}
	return rows, w.attach(rows)
}

// hold judges what waits, as of now, and gives what it has ended by a cap or a mute,
// or put off.
func (w *work) hold(i *inbox, open, fresh []*delivery, c *store.Collect) (held []*delivery, err error) {
	if err := w.raise([]*inbox{i}, c.Keep); err != nil {
		return nil, err
	}
	all := append(slices.Clone(open), fresh...)
	for k, d := range all[len(open):] {
		if d.message.Collapse == "" || d.message.over(w.now) {
			continue
		}
		for _, before := range all[:len(open)+k] {
			if before.state == store.Queued && before.message.replacedBy(d.message) {
				w.end(before, store.Withdrawn, byReplacement)
			}
		}
	}
	waiting := all
	if c.Peek {
		waiting = fresh
	}
	waiting = slices.DeleteFunc(slices.Clone(waiting), func(d *delivery) bool { return !d.waits() })
	// Who is first gets the room that there is, so all of it is given back before.
	was := make(map[*delivery]delivery, len(waiting))
	for _, d := range waiting {
		was[d] = *d
		if d.kept != 0 {
			w.refund(d)
		}
	}
	slices.SortStableFunc(waiting, func(a, b *delivery) int {
		return cmp.Or(cmp.Compare(b.message.Policy.Priority, a.message.Policy.Priority), cmp.Compare(b.seq, a.seq))
	})
	for _, d := range waiting {
		w.judge(d)
		if d.kept == 0 {
			w.watch(d)
		} else {
			before, after := was[d], *d
			after.changed = before.changed
			d.changed = before.changed || after != before
		}
		if d.state == store.Capped || d.state == store.Muted || d.due != 0 {
			held = append(held, d)
		}
	}
	slices.SortFunc(held, func(a, b *delivery) int { return cmp.Compare(a.seq, b.seq) })
	return held, nil
}

// sqlHeld gives what was held back, can be read in the inbox, and was not read.
const sqlHeld = `SELECT ` + deliveryColumns + ` FROM delivery AS d
WHERE d.person = ? AND d.seq >= ? AND d.seq > ? AND (d.state = 4 OR d.state = 5) AND d.hidden = 0 AND d.read = 0 ORDER BY d.seq`

// tell puts what was held back since the user was last told before what was held back
// now, and notes that the user is told.
func (w *work) tell(i *inbox, now []*delivery) ([]*delivery, error) {
	i.told = true
	if i.held == 0 {
		return now, nil
	}
	var before []*delivery
	if err := w.tx.Query(w.ctx, sqlHeld, w.taking(&before), i.n, i.held, max(i.read, i.floor)); err != nil {
		return nil, err
	}
	i.held, i.changed = 0, true
	before = slices.DeleteFunc(before, func(d *delivery) bool { return slices.Contains(now, d) })
	if err := w.attach(before); err != nil {
		return nil, err
	}
	held := append(before, now...)
	slices.SortFunc(held, func(a, b *delivery) int { return cmp.Compare(a.seq, b.seq) })
	return held, nil
}

// comes tells whether a delivery is open, and not put off.
func (w *work) comes(d *delivery) bool { return d.state.Open() && d.due == 0 && !d.message.over(w.now) }

// sqlOpenAfter gives some of what is open in an inbox, by seq.
const sqlOpenAfter = `SELECT ` + deliveryColumns + ` FROM delivery AS d WHERE d.person = ? AND d.seq > ? AND d.seq <= ? AND d.state <= 2 ORDER BY d.seq LIMIT CAST(? AS bigint)`

// peek reads open messages after a place, and as many as are wanted: who reads an inbox
// in pages does not go through all of it for each.
func (w *work) peek(i *inbox, c *store.Collect) (store.Result, error) {
	w.inboxes[i.n] = i // for those who look a delivery's up; it is not changed
	r := store.Collected{Inbox: i.state()}
	var rows []*delivery
	after, limit := max(int64(min(c.After, uint64(i.top))), i.settled), c.Limit+1
	for coming := 0; coming < limit; {
		var some []*delivery
		if err := w.tx.Query(w.ctx, sqlOpenAfter, w.taking(&some), i.n, after, i.top, int64(limit)); err != nil {
			return nil, err
		}
		if err := w.attach(some); err != nil {
			return nil, err
		}
		for _, d := range some {
			if w.comes(d) {
				coming++
			}
		}
		if rows = append(rows, some...); len(some) < limit {
			break
		}
		after = some[len(some)-1].seq
	}
	var err error
	r.Messages, r.More, err = w.live(rows, c)
	return r, err
}

// live gives the messages that may interrupt the user, with what is in them.
func (w *work) live(rows []*delivery, c *store.Collect) (items []store.Item, more bool, err error) {
	rows = slices.DeleteFunc(rows, func(d *delivery) bool { return !w.comes(d) || uint64(d.seq) <= c.After })
	if more = len(rows) > c.Limit; more {
		rows = rows[:c.Limit]
	}
	contents, err := w.contentsOf(rows)
	if err != nil {
		return nil, false, err
	}
	for _, d := range rows {
		items = append(items, d.item(contents[d.push]))
	}
	return items, more, nil
}
