package tables

import (
	"github.com/skein-realtime/skein/store"
)

const (
	sqlPruneKeys = `DELETE FROM push_key WHERE key IN (SELECT k.key FROM push_key AS k WHERE k.expires < ? ORDER BY k.expires LIMIT CAST(? AS bigint))`
	pruneAllKeys = `DELETE FROM push_key WHERE key = ANY (ARRAY(SELECT k.key FROM push_key AS k WHERE k.expires < ? ORDER BY k.expires LIMIT CAST(? AS bigint) FOR UPDATE SKIP LOCKED))`

	sqlPruned    = `SELECT n FROM counter WHERE name = 'pruned'`
	sqlSetPruned = `UPDATE counter SET n = ? WHERE name = 'pruned'`

	sqlPruneTo   = `SELECT d.pos FROM delivery AS d WHERE d.pos >= ? ORDER BY d.pos LIMIT 1 OFFSET CAST(? AS bigint)`
	sqlOld       = `SELECT d.pos, d.person, d.seq FROM delivery AS d WHERE d.pos >= ? AND d.pos <= ? AND d.state > 2 ORDER BY d.pos LIMIT CAST(? AS bigint)`
	sqlDelete    = `DELETE FROM delivery WHERE pos >= ? AND pos <= ? AND state > 2`
	sqlDeleteAll = `DELETE FROM delivery WHERE pos = ANY (CAST(? AS bigint[]))`

	sqlBare = `
SELECT x.n FROM push AS x WHERE x.time < ?
	AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.push = x.n) AND NOT EXISTS (SELECT 1 FROM push_key AS k WHERE k.push = x.n)
ORDER BY x.time LIMIT CAST(? AS bigint)`
	sqlDropPush   = `DELETE FROM push WHERE n = ?`
	sqlDropPushes = `
DELETE FROM push AS x WHERE x.n = ANY (CAST(? AS bigint[]))
	AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.push = x.n) AND NOT EXISTS (SELECT 1 FROM push_key AS k WHERE k.push = x.n)`
)

// skim is how many deliveries a step goes through for each that it may delete: open
// ones are never deleted, however old they are.
const skim = 4

func (w *work) prune(c *store.Prune) (store.Result, error) {
	query := sqlPruneKeys
	if w.tx.Dialect() == PostgreSQL {
		query = pruneAllKeys
	}
	keys, err := w.tx.Exec(w.ctx, query, c.Now, int64(c.Limit))
	if err != nil {
		return nil, err
	}
	r := store.Pruned{More: keys == int64(c.Limit)}
	ended, err := w.pruneDeliveries(c, &r)
	if err != nil {
		return nil, err
	}
	if !ended {
		r.More = true
		return r, nil
	}
	dropped, err := w.prunePushes(c)
	r.More = r.More || dropped == c.Limit
	return r, err
}

// pruneDeliveries deletes some of what is too old, from where the step before has come
// to. It tells whether it has come to the end, where the next one begins anew.
func (w *work) pruneDeliveries(c *store.Prune, r *store.Pruned) (ended bool, err error) {
	before := c.Records << placeBits
	from, err := number(w.ctx, w.tx, sqlPruned)
	if err != nil {
		return false, err
	}
	to, err := number(w.ctx, w.tx, sqlPruneTo, from, int64(skim*c.Limit-1))
	if err != nil {
		return false, err
	}
	if to == 0 || to >= before {
		to = before - 1
	}
	var places, persons []int64
	last := map[int64]int64{} // the newest that goes, by person
	if err := w.tx.Query(w.ctx, sqlOld, func(scan Scan) error {
		var pos, person, seq int64
		err := scan(&pos, &person, &seq)
		places, persons = append(places, pos), append(persons, person)
		last[person] = max(last[person], seq)
		return err
	}, from, to, int64(c.Limit)); err != nil {
		return false, err
	}
	if len(places) == c.Limit {
		to = places[len(places)-1]
	}
	if r.Deliveries = len(places); len(places) > 0 {
		if err := w.lock(sorted(persons)); err != nil {
			return false, err
		}
		for n, seq := range last {
			// What is open stays in the inbox, and with it all that came later.
			if i := w.inboxes[n]; i != nil && min(seq, i.settled) > i.floor {
				i.floor, i.changed = min(seq, i.settled), true
			}
		}
		if w.tx.Dialect() == PostgreSQL {
			_, err = w.tx.Exec(w.ctx, sqlDeleteAll, places)
		} else {
			_, err = w.tx.Exec(w.ctx, sqlDelete, from, to)
		}
		if err != nil {
			return false, err
		}
	}
	next := to + 1
	if ended = next >= before; ended {
		next = 0
	}
	if next != from {
		if _, err := w.tx.Exec(w.ctx, sqlSetPruned, next); err != nil {
			return false, err
		}
	}
	return ended, w.save()
}

// prunePushes deletes messages that are too old, when neither a delivery nor a key
// points to them.
func (w *work) prunePushes(c *store.Prune) (dropped int, err error) {
	var bare []int64
	if err := w.tx.Query(w.ctx, sqlBare, func(scan Scan) error {
		var n int64
		err := scan(&n)
		bare = append(bare, n)
		return err
	}, c.Records, int64(c.Limit)); err != nil || len(bare) == 0 {
		return 0, err
	}
	if w.tx.Dialect() == SQLite {
		return len(bare), execRows(w.ctx, w.tx, sqlDropPush, "", bare)
	}
	// Whoever is adding a delivery to one of them is waited for here, and seen by the
	// statement after that; who comes later finds that it is gone.
	if err := queryNumbers(w.ctx, w.tx, sqlLockTotals, "ORDER BY x.n FOR UPDATE", sorted(bare), func(scan Scan) error {
		var n int64
		return scan(&n)
	}); err != nil {
		return 0, err
	}
	_, err = w.tx.Exec(w.ctx, sqlDropPushes, bare)
	return len(bare), err
}
