package tables

import (
	"context"
	"maps"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// What is open of a person lies beyond settled.
const (
	sqlOpenOf = `
SELECT d.push, d.state FROM person p JOIN delivery d ON d.person = p.n AND d.seq > p.settled
WHERE p.n = ? AND d.state <= 2`

	sqlOpenOfAll = `
SELECT d.push, d.state FROM unnest(CAST(? AS bigint[])) AS w(n)
CROSS JOIN LATERAL (SELECT settled FROM person WHERE n = w.n OFFSET 0) AS p
CROSS JOIN LATERAL (SELECT push, state FROM delivery WHERE person = w.n AND seq > p.settled OFFSET 0) AS d
WHERE d.state <= 2`

	sqlDropDeliveries = `DELETE FROM delivery WHERE person = ?`

	sqlDropAllDeliveries = `
DELETE FROM delivery WHERE ctid = ANY (ARRAY(
	SELECT d.ctid FROM unnest(CAST(? AS bigint[])) AS w(n) CROSS JOIN LATERAL (SELECT ctid FROM delivery WHERE person = w.n OFFSET 0) AS d
))`

	sqlDropPerson = `DELETE FROM person WHERE n = ?`

	sqlDropPersons = `
DELETE FROM person WHERE ctid = ANY (ARRAY(
	SELECT p.ctid FROM unnest(CAST(? AS bigint[])) AS w(n) CROSS JOIN LATERAL (SELECT ctid FROM person WHERE n = w.n OFFSET 0) AS p
))`
)

// deleteUsers locks the persons; the pushes that they have open come last, as with
// every command.
func deleteUsers(ctx context.Context, tx Tx, c store.DeleteUsers) (store.Result, error) {
	if err := forgetBlocks(ctx, tx, distinct(c.Users)); err != nil {
		return nil, err
	}
	there, err := persons(ctx, tx, distinct(c.Users))
	if err != nil || len(there) == 0 {
		return store.UsersDeleted{}, err
	}
	var ns []int64
	var tags tagList
	for _, u := range slices.Sorted(maps.Keys(there)) {
		p := there[u]
		ns = append(ns, p.n)
		if p.text != nil {
			a, err := parseStored(p.text)
			if err != nil {
				return nil, err
			}
			tags.add(p.n, a.tags())
		}
	}
	if err := tags.exec(ctx, tx, sqlDropTag, sqlDropTags); err != nil {
		return nil, err
	}
	sums := map[int64]*pending{}
	count := func(scan Scan) error {
		var push, state int64
		err := scan(&push, &state)
		p := sums[push]
		if p == nil {
			p = &pending{}
			sums[push] = p
		}
		p.totals[state]--
		p.totals[store.Failed]++
		return err
	}
	if tx.Dialect() == PostgreSQL {
		err = deleteAll(ctx, tx, ns, count)
	} else {
		err = deleteEach(ctx, tx, ns, count)
	}
	if err != nil {
		return nil, err
	}
	if d, is := tx.(*deferring); is {
		d.add(sums)
	} else if err := newWork(ctx, tx, c.Time, "").addTotals(sums); err != nil {
		return nil, err
	}
	return store.UsersDeleted{Count: len(ns)}, nil
}

func deleteEach(ctx context.Context, tx Tx, ns []int64, count func(Scan) error) error {
	for _, n := range ns {
		if err := tx.Query(ctx, sqlOpenOf, count, n); err != nil {
			return err
		}
		for _, statement := range []string{sqlDropDeliveries, sqlDropPerson} {
			if _, err := tx.Exec(ctx, statement, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func deleteAll(ctx context.Context, tx Tx, ns []int64, count func(Scan) error) error {
	if err := tx.Query(ctx, sqlOpenOfAll, count, ns); err != nil {
		return err
	}
	for _, statement := range []string{sqlDropAllDeliveries, sqlDropPersons} {
		if _, err := tx.Exec(ctx, statement, ns); err != nil {
			return err
		}
	}
	return nil
}
