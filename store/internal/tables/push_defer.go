package tables

import (
	"context"
	"maps"
	"strings"
)

// deferring is a transaction of PostgreSQL whose totals are written at its end, so
// that the rows of all its messages are locked last and in their order. A message that
// goes to many has one row that all want.
type deferring struct {
	Tx
	sums   map[int64]*pending
	before map[int64]pending // of when the savepoint was made; nil: there is none
}

// beginPush gives the transaction that commands are to be carried out in; [endPush] must
// follow the last of them.
func beginPush(tx Tx) Tx {
	if tx.Dialect() == SQLite {
		return tx // nobody else writes
	}
	return &deferring{Tx: tx, sums: map[int64]*pending{}}
}

// endPush writes what was left for the end.
func endPush(ctx context.Context, tx Tx) error {
	d, is := tx.(*deferring)
	if !is || len(d.sums) == 0 {
		return nil
	}
	sums := d.sums
	d.sums = map[int64]*pending{}
	return newWork(ctx, d.Tx, 0, "").addTotals(sums)
}

// Exec implements [Tx]. What was left for the end is part of what a savepoint keeps.
func (d *deferring) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	changed, err := d.Tx.Exec(ctx, query, args...)
	switch {
	case err != nil:
	case strings.HasPrefix(query, "SAVEPOINT"):
		d.before = make(map[int64]pending, len(d.sums))
		for n, p := range d.sums {
			d.before[n] = *p
		}
	case strings.HasPrefix(query, "ROLLBACK TO"):
		clear(d.sums)
		for n, p := range d.before {
			d.sums[n] = &p
		}
	}
	return changed, err
}

func (d *deferring) add(sums map[int64]*pending) {
	for n, p := range sums {
		if have := d.sums[n]; have != nil {
			have.totals.add(&p.totals)
			have.added, have.going = have.added || p.added, have.going || p.going
			delete(sums, n)
		}
	}
	maps.Copy(d.sums, sums)
}
