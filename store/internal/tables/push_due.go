package tables

import (
	"cmp"
	"slices"

	"github.com/skein-realtime/skein/store"
)

const (
	sqlDueDeliveries = `SELECT d.pos, d.person FROM delivery AS d WHERE d.due <= ? ORDER BY d.due LIMIT CAST(? AS bigint)`

	sqlExpiring = `SELECT x.n, x.ending FROM push AS x WHERE x.expiring <= ? ORDER BY x.expiring LIMIT CAST(? AS bigint)`

	// It begins to end with person 0: what is added from now on is not open.
	sqlEndPush    = `UPDATE push SET ending = 1 WHERE n = ? AND ending = 0`
	sqlWithdraw   = `UPDATE push SET withdrawn = ?, ending = CASE WHEN ending = 0 THEN 1 ELSE ending END WHERE n = ? AND withdrawn = 0`
	sqlEndFurther = `UPDATE push SET ending = ?, expiring = CASE WHEN CAST(? AS bigint) = -1 THEN NULL ELSE expiring END WHERE n = ?`

	// Of so many persons at a time the open deliveries are looked for.
	sqlStretch   = `SELECT d.person FROM delivery AS d WHERE d.push = ? AND d.person >= ? ORDER BY d.person LIMIT 1 OFFSET CAST(? AS bigint)`
	sqlStillOpen = `SELECT d.pos, d.person FROM delivery AS d WHERE d.push = ? AND d.person >= ? AND d.person <= ? AND d.state <= 2 ORDER BY d.person LIMIT CAST(? AS bigint)`
)

// stretch is how many deliveries of a message are looked at to find open ones, by one
// command.
const stretch = 10_000

func (w *work) wake(c *store.Wake) (store.Result, error) {
	seen, more, err := w.places(c.Limit, sqlDueDeliveries, c.Now, int64(c.Limit)+1)
	if err != nil || len(seen) == 0 {
		return store.Woken{}, err
	}
	rows, err := w.seize(seen)
	if err != nil {
		return nil, err
	}
	r := store.Woken{More: more}
	var live []*delivery
	for _, d := range rows {
		if d.due == 0 || d.due > c.Now || !d.state.Open() {
			continue // somebody else was faster
		}
		r.Rows++
		if w.judge(d); d.waits() {
			live = append(live, d)
		}
	}
	contents, err := w.contentsOf(live)
	if err != nil {
		return nil, err
	}
	for _, d := range live {
		r.Items = append(r.Items, store.Woke{N: uint64(d.person), User: d.inbox.user, Item: d.item(contents[d.push])})
	}
	return r, w.save()
}

// places asks for deliveries whose persons are not locked yet, and tells whether there
// are more than the limit.
func (w *work) places(limit int, query string, args ...any) (seen []place, more bool, err error) {
	err = w.tx.Query(w.ctx, query, func(scan Scan) error {
		var p place
		err := scan(&p.pos, &p.person)
		seen = append(seen, p)
		return err
	}, args...)
	if more = len(seen) > limit; more {
		seen = seen[:limit]
	}
	return seen, more, err
}

func (w *work) expire(c *store.Expire) (store.Result, error) {
	var due []*message
	if err := w.tx.Query(w.ctx, sqlExpiring, func(scan Scan) error {
		m := new(message)
		due = append(due, m)
		return scan(&m.n, &m.ending)
	}, c.Now, int64(c.Limit)+1); err != nil || len(due) == 0 {
		return store.Ended{}, err
	}
	e := ending{w: w, left: c.Limit, stretch: stretch, to: store.Expired, more: len(due) > c.Limit}
	due = due[:min(len(due), c.Limit)]
	slices.SortFunc(due, func(a, b *message) int { return cmp.Compare(a.n, b.n) })
	begun := false
	for _, m := range due {
		one, err := e.begin(m, sqlEndPush, m.n)
		if err != nil {
			return nil, err
		}
		begun = begun || one
	}
	if begun && w.tx.Dialect() == PostgreSQL {
		return store.Ended{More: true}, nil
	}
	for _, m := range due {
		if e.left <= 0 || e.stretch <= 0 {
			e.more = true
			break
		}
		if err := e.further(m.n); err != nil {
			return nil, err
		}
	}
	return e.result()
}

func (w *work) recall(c *store.RecallPush) (store.Result, error) {
	var m *message
	if err := w.tx.Query(w.ctx, sqlMessageByID, func(scan Scan) error {
		m = new(message)
		var kept totals
		return scanContent(scan, m, kept.columns()...)
	}, []byte(c.ID)); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, store.ErrNotFound
	}
	e := ending{w: w, left: c.Limit, stretch: stretch, to: store.Withdrawn}
	begun, err := e.begin(m, sqlWithdraw, c.Now, m.n)
	if err != nil {
		return nil, err
	}
	if begun && w.tx.Dialect() == PostgreSQL {
		return store.Ended{More: true}, nil
	}
	if err := e.further(m.n); err != nil {
		return nil, err
	}
	return e.result()
}

// ending is how far the deliveries of messages are ended. The first of its two steps
// marks a message, so that nothing open is added to it any more, and commits that:
// who was adding meanwhile has then been waited for, or finds the mark. Only then can
// what is open be found. With a single writer the two are one.
type ending struct {
	w             *work
	left, stretch int // how many may be ended, and looked at
	to            store.State
	rows          []*delivery
	marks         []mark // to be written last
	more          bool
}

// mark is how far a message has come.
type mark struct{ push, ending int64 }

// begin marks a message; it was not marked when it tells so.
func (e *ending) begin(m *message, query string, args ...any) (bool, error) {
	// What was added before, in the same transaction, is not in the way.
	if err := endPush(e.w.ctx, e.w.tx); err != nil {
		return false, err
	}
	changed, err := e.w.tx.Exec(e.w.ctx, query, args...)
	return changed > 0 && m.ending == 0, err
}

// further ends some of the open deliveries of a message that is marked.
func (e *ending) further(push int64) error {
	w := e.w
	var m *message
	var kept totals
	if err := queryNumbers(w.ctx, w.tx, contentColumns+totalColumns+` FROM push AS x WHERE x.n `, "", []int64{push}, func(scan Scan) error {
		m = new(message)
		return scanContent(scan, m, kept.columns()...)
	}); err != nil {
		return err
	}
	if m == nil || m.ending == hasEnded {
		return nil
	}
	w.messages[m.n] = m
	if kept.open() == 0 {
		e.marks = append(e.marks, mark{m.n, hasEnded})
		return nil
	}
	last, err := number(w.ctx, w.tx, sqlStretch, m.n, m.ending-1, int64(e.stretch-1))
	if err != nil {
		return err
	}
	high := last
	if last == 0 {
		high = maxPerson
	}
	seen, more, err := w.places(e.left, sqlStillOpen, m.n, m.ending-1, high, int64(e.left)+1)
	if err != nil {
		return err
	}
	rows, err := w.seize(seen)
	if err != nil {
		return err
	}
	for _, d := range rows {
		if d.state.Open() {
			by := byNone
			if e.to == store.Expired {
				by = d.putOffBy()
			}
			w.end(d, e.to, by)
			e.rows = append(e.rows, d)
		}
	}
	e.left -= len(seen)
	switch {
	case more:
		high = seen[len(seen)-1].person
	case last == 0:
		e.marks = append(e.marks, mark{m.n, hasEnded})
		return nil
	default:
		e.stretch = 0
	}
	e.more = true
	e.marks = append(e.marks, mark{m.n, high + 2})
	return nil
}

// maxPerson is beyond the number of any person.
const maxPerson = 1<<63 - 1

func (e *ending) result() (store.Result, error) {
	slices.SortStableFunc(e.rows, func(a, b *delivery) int { return cmp.Compare(a.person, b.person) })
	r := store.Ended{More: e.more}
	for _, d := range e.rows {
		r.Rows = append(r.Rows, store.EndedRow{User: d.inbox.user, Seq: uint64(d.seq), ID: d.message.ID, Sent: d.sent != 0})
	}
	if err := e.w.save(); err != nil {
		return nil, err
	}
	for _, m := range e.marks {
		if _, err := e.w.tx.Exec(e.w.ctx, sqlEndFurther, m.ending, m.ending, m.push); err != nil {
			return nil, err
		}
	}
	return r, nil
}
