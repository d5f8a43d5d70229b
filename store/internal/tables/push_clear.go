package tables

import (
	"cmp"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// clearScan is how many deliveries are looked at to find those that are cleared.
const clearScan = 1000

// Nothing says which deliveries are about what was read: an index of that would be paid
// for by all that is pushed. So the newest are looked at, which an inbox has few of.
const (
	newest = `
SELECT u.pos, u.person FROM (
	SELECT n.pos, n.person, n.push, n.state, n.hidden, n.read FROM delivery AS n
	WHERE n.person = ? AND n.seq > ? ORDER BY n.person DESC, n.seq DESC LIMIT CAST(? AS bigint)
) AS u `
	clearable = `
WHERE u.read = 0 AND u.hidden = 0 AND u.state < 6 AND x.collapse = ? AND coalesce(x.category, CAST('' AS `

	clearSQLite   = newest + `CROSS JOIN push AS x ON x.n = u.push` + clearable + `BLOB)) = ?`
	clearPostgres = newest + `CROSS JOIN LATERAL (SELECT collapse, category FROM push WHERE n = u.push OFFSET 0) AS x` + clearable + `bytea)) = ?`
)

func (w *work) clear(c *store.ClearPushed) (store.Result, error) {
	i, err := w.visit(c.User)
	if err != nil || i == nil {
		return store.Cleared{}, err
	}
	low := max(i.read, i.floor)
	if low >= i.top {
		return store.Cleared{Inbox: i.state()}, nil
	}
	seen, _, err := w.places(clearScan, dialect(w.tx, clearSQLite, clearPostgres), i.n, low, int64(clearScan), []byte(c.Collapse), []byte(c.Category))
	if err != nil || len(seen) == 0 {
		return store.Cleared{Inbox: i.state()}, err
	}
	if i, err = w.lockOne(i); err != nil {
		return nil, err
	}
	rows, err := w.seize(seen)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b *delivery) int { return cmp.Compare(a.seq, b.seq) })
	r := store.Cleared{}
	for _, d := range rows {
		switch {
		case d.state.Open() && w.over(d):
		case d.state.Open():
			w.end(d, store.Withdrawn, byReading)
			r.Rows = append(r.Rows, store.EndedRow{User: i.user, Seq: uint64(d.seq), ID: d.message.ID, Sent: d.sent != 0})
		case d.read == 0 && d.shown():
			d.read, d.changed = c.Now, true
			d.message.change[0]++
		}
	}
	if err := w.save(); err != nil {
		return nil, err
	}
	r.Inbox = i.state()
	return r, nil
}

// shown tells whether a delivery that is not open stands in the inbox, for as long as
// its message does.
func (d *delivery) shown() bool {
	return !d.hidden && (d.state == store.Delivered || d.state == store.Capped || d.state == store.Muted)
}
