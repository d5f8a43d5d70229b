package tables

import (
	"math"
	"slices"

	"github.com/skein-realtime/skein/store"
)

const (
	sqlHave = `SELECT ` + deliveryColumns + ` FROM delivery AS d WHERE d.push = ? AND d.person >= ? AND d.person <= ? ORDER BY d.person LIMIT CAST(? AS bigint)`
)

func (w *work) push(c *store.Push) (store.Result, error) {
	m, known, duplicate, err := w.admitted(&c.Content, c.Key, c.Digest, c.Step, func(m *message) bool { return m.everyone == 0 }, func() (*message, error) {
		return w.create(&c.Content, 0, 0)
	})
	if err != nil {
		return nil, err
	}
	inboxes, err := w.recipients(c.To)
	if err != nil {
		return nil, err
	}
	var had map[int64]*delivery
	if known {
		had, err = w.had(m, inboxes)
	}
	if err == nil && !duplicate {
		err = w.putKey(m, c.Key, c.Digest, c.KeyExpires)
	}
	if err != nil {
		return nil, err
	}
	// The first place of each user in the list counts.
	first := make([]bool, len(inboxes))
	chosen := make([]*inbox, 0, len(inboxes))
	fresh := make([]delivery, len(inboxes))
	for k, i := range inboxes {
		if i == nil || i.mine != nil {
			continue
		}
		if i.mine = had[i.n]; i.mine == nil {
			i.mine, first[k] = w.place(i, m, &fresh[k]), true
			chosen = append(chosen, i)
		}
	}
	if err := w.admit(m, chosen, c.Keep); err != nil {
		return nil, err
	}
	if err := w.save(); err != nil {
		return nil, err
	}
	r := store.Pushed{ID: m.ID, Duplicate: duplicate, Content: &m.Content, Rows: make([]store.Row, len(inboxes))}
	for k, i := range inboxes {
		if i == nil {
			r.Rows[k] = store.Row{N: c.To[k].N, User: c.To[k].User, State: store.Failed, Reason: store.ReasonDeleted}
			continue
		}
		r.Rows[k] = i.mine.row()
		r.Rows[k].Again = !first[k]
	}
	return r, nil
}

// admit judges the new deliveries of a message in the inboxes that were chosen.
func (w *work) admit(m *message, chosen []*inbox, keep int) error {
	// What falls out of an inbox, and what is replaced, leaves room under the caps.
	if err := w.raise(chosen, keep); err != nil {
		return err
	}
	if m.Collapse != "" && !m.over(w.now) {
		if err := w.replace(m, chosen); err != nil {
			return err
		}
	}
	for _, d := range w.fresh {
		w.judge(d)
		w.watch(d)
	}
	return nil
}

// watch notes when somebody is to be told that a delivery is still open.
func (w *work) watch(d *delivery) {
	if after := d.message.Escalate; after > 0 && d.state.Open() {
		d.escalate = min(w.now+after, maxPushTime)
	}
}

// had gives the deliveries of a message that are there already, by person.
func (w *work) had(m *message, inboxes []*inbox) (map[int64]*delivery, error) {
	rows := make([]*delivery, 0, 8)
	low, high := int64(math.MaxInt64), int64(0)
	for _, i := range inboxes {
		if i != nil {
			low, high = min(low, i.n), max(high, i.n)
		}
	}
	enough := int64(2*len(inboxes) + chunk)
	if low <= high && w.tx.Dialect() == SQLite {
		// A job goes through users by their numbers, so all that are between the first and
		// the last are asked for at once, unless they are too many.
		if err := w.tx.Query(w.ctx, sqlHave, w.taking(&rows), m.n, low, high, enough); err != nil {
			return nil, err
		}
	}
	if int64(len(rows)) == enough || w.tx.Dialect() == PostgreSQL {
		rows = rows[:0]
		var persons, pushes []int64
		for _, i := range inboxes {
			if i != nil {
				persons, pushes = append(persons, i.n), append(pushes, m.n)
			}
		}
		if err := queryRows(w.ctx, w.tx, sqlByPush, sqlByPushs, w.taking(&rows), persons, pushes); err != nil {
			return nil, err
		}
	}
	had := make(map[int64]*delivery, len(rows))
	for _, d := range rows {
		d.message, d.inbox = m, w.inboxes[d.person]
		had[d.person] = d
	}
	return had, nil
}

// raise takes what is over the bound out of inboxes. What was open of it ends.
func (w *work) raise(inboxes []*inbox, keep int) error {
	if keep == 0 {
		return nil
	}
	var persons, low, high []int64
	for _, i := range inboxes {
		floor := i.top - int64(keep)
		if floor <= i.floor {
			continue
		}
		i.floor, i.changed = floor, true
		if i.open > 0 && i.settled < floor {
			persons, low, high = append(persons, i.n), append(low, i.settled), append(high, floor)
		}
	}
	var rows []*delivery
	if err := queryRows(w.ctx, w.tx, sqlUpTo, sqlUpTos, w.taking(&rows), persons, low, high); err != nil {
		return err
	}
	if err := w.attach(rows); err != nil {
		return err
	}
	for _, list := range [][]*delivery{rows, w.fresh} {
		for _, d := range list {
			if d.seq <= d.inbox.floor && d.state.Open() && !w.over(d) {
				w.end(d, store.Expired, byFull)
			}
		}
	}
	return nil
}

// replace ends what waits in inboxes with the collapse key and the category of a
// message that was just put into them.
func (w *work) replace(m *message, inboxes []*inbox) error {
	var persons, settled []int64
	var collapse, category [][]byte
	for _, i := range inboxes {
		if i.open > 0 {
			persons, settled = append(persons, i.n), append(settled, i.settled)
			collapse, category = append(collapse, []byte(m.Collapse)), append(category, null(m.Category))
		}
	}
	var rows []*delivery
	if err := queryRows(w.ctx, w.tx, sqlAlike, sqlAlikes, w.taking(&rows), persons, settled, collapse, category); err != nil {
		return err
	}
	if err := w.attach(rows); err != nil {
		return err
	}
	for _, d := range rows {
		if d.state == store.Queued {
			w.end(d, store.Withdrawn, byReplacement)
		}
	}
	return nil
}

func (w *work) broadcast(c *store.Broadcast) (store.Result, error) {
	m, _, duplicate, err := w.admitted(&c.Content, c.Key, c.Digest, c.Step, func(m *message) bool { return m.everyone != 0 }, func() (*message, error) {
		return w.createForAll(c)
	})
	if err == nil && !duplicate {
		err = w.putKey(m, c.Key, c.Digest, c.KeyExpires)
	}
	if err != nil {
		return nil, err
	}
	return store.Broadcasted{ID: m.ID, Duplicate: duplicate, Audience: m.audience}, nil
}

// createForAll is create for a broadcast.
func (w *work) createForAll(c *store.Broadcast) (*message, error) {
	if m, err := w.messageOf(c.ID); m != nil || err != nil {
		return nil, err // no number is taken for it
	}
	// The counter is locked first: whoever sees its new value sees the message.
	n, err := number(w.ctx, w.tx, sqlNextBroadcast)
	if err != nil {
		return nil, err
	}
	everybody, err := number(w.ctx, w.tx, sqlAudience)
	if err != nil {
		return nil, err
	}
	m, err := w.create(&c.Content, n, everybody)
	if err == nil && m == nil {
		err = w.again() // somebody else was first
	}
	return m, err
}

// replacedBy tells whether what waits of the message ends when another one comes.
func (m *message) replacedBy(later *message) bool {
	return later.Collapse != "" && m.Collapse == later.Collapse && m.Category == later.Category
}

// merge makes the deliveries of broadcasts that came since the last visit.
func (w *work) merge(i *inbox) ([]*delivery, error) {
	var missed []*message
	if err := w.tx.Query(w.ctx, sqlBroadcasts, func(scan Scan) error {
		m := new(message)
		err := scanMessage(scan, m)
		missed = append(missed, m)
		return err
	}, i.merged, i.last, int64(maxBroadcasts)); err != nil {
		return nil, err
	}
	i.merged, i.changed = i.last, true
	if len(missed) == maxBroadcasts {
		i.merged = missed[len(missed)-1].everyone
	}
	for _, m := range missed {
		w.messages[m.n] = m
		w.place(i, m, new(delivery))
	}
	return slices.Clone(w.fresh), nil
}
