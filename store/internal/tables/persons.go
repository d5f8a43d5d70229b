package tables

import (
	"context"
	"maps"
	"slices"

	"github.com/skein-realtime/skein/store"
)

const (
	// Locking a row by its number, after all numbers were put in order: everybody
	// locks persons so.
	sqlLockPersons = `
SELECT p.n, p.user_id, CAST(p.attributes AS text), p.muted FROM (
	SELECT f.n FROM unnest(CAST(? AS bytea[])) AS w(user_id)
	CROSS JOIN LATERAL (SELECT n FROM person WHERE user_id = w.user_id OFFSET 0) AS f
	UNION SELECT n FROM unnest(CAST(? AS bigint[])) AS w(n)
	ORDER BY n OFFSET 0
) AS o CROSS JOIN LATERAL (SELECT n, user_id, attributes, muted FROM person WHERE n = o.n OFFSET 0 FOR NO KEY UPDATE) AS p`

	sqlPerson = `SELECT n, user_id, json(attributes), muted FROM person WHERE user_id = ?`

	sqlMakePersons = `
INSERT INTO person (user_id, created, changed, top, floor, settled, open, read, merged)
SELECT w.user_id, w.created, 0, 0, 0, 0, 0, 0, b.n FROM unnest(CAST(? AS bytea[]), CAST(? AS bigint[])) AS w(user_id, created)
CROSS JOIN (SELECT n FROM counter WHERE name = 'broadcast') AS b
ORDER BY w.user_id ON CONFLICT (user_id) DO NOTHING RETURNING user_id`

	sqlUnmakePersons = `
DELETE FROM person WHERE ctid = ANY (ARRAY(
	SELECT p.ctid FROM unnest(CAST(? AS bytea[])) AS w(user_id) CROSS JOIN LATERAL (SELECT ctid FROM person WHERE user_id = w.user_id OFFSET 0) AS p
))`
)

// person is what commands about users need of a row.
type person struct {
	n     int64
	text  []byte // attributes; nil: nothing is known
	muted []byte
}

// addPersons notes the persons that a command changes, as far as it names them, and
// whom it makes when they are not there.
func (n *needs) addPersons(c store.Command) {
	switch c := c.(type) {
	case store.PutUsers:
		for _, p := range c.Users {
			n.addNew(p.User, c.Time)
		}
	case store.DeleteUsers:
		n.ids = append(n.ids, c.Users...)
	case store.MuteCategory:
		if c.Muted {
			n.addNew(c.User, c.Time)
		} else {
			n.ids = append(n.ids, c.User)
		}
	case store.Push:
		for _, r := range c.To {
			if r.N == 0 {
				n.addNew(r.User, c.Now)
			} else {
				n.numbers = append(n.numbers, int64(r.N))
			}
		}
	case store.Collect:
		if c.Peek {
			n.ids = append(n.ids, c.User)
		} else {
			n.addNew(c.User, c.Now)
		}
	case store.Settle:
		for _, s := range c.Settlements {
			if s.N == 0 {
				n.ids = append(n.ids, s.User)
			} else {
				n.numbers = append(n.numbers, int64(s.N))
			}
		}
	case store.MarkRead:
		n.ids = append(n.ids, c.User)
	case store.ClearPushed:
		n.ids = append(n.ids, c.User)
	case store.Escalated:
		n.numbers = append(n.numbers, int64(c.N))
	}
}

func (n *needs) addNew(user string, at int64) {
	n.ids = append(n.ids, user)
	if _, is := n.new[user]; !is {
		n.new[user] = at
	}
}

// lockPersons locks the persons of several commands, and makes those that are not
// there, so that no two transactions wait for persons that the other one makes.
func (n *needs) lockPersons(ctx context.Context, tx Tx) error {
	if len(n.ids)+len(n.numbers) == 0 {
		return nil
	}
	if n.numbers == nil {
		n.numbers = []int64{}
	}
	missing := maps.Clone(n.new)
	if err := tx.Query(ctx, sqlLockPersons, func(scan Scan) error {
		var number int64
		var user, text, muted []byte
		err := scan(&number, &user, &text, &muted)
		delete(missing, string(user))
		return err
	}, list(distinct(n.ids)), n.numbers); err != nil || len(missing) == 0 {
		return err
	}
	users := slices.Sorted(maps.Keys(missing))
	times := make([]int64, len(users))
	for i, u := range users {
		times[i] = missing[u]
	}
	return tx.Query(ctx, sqlMakePersons, func(scan Scan) error {
		var user []byte
		err := scan(&user)
		n.made = append(n.made, string(user))
		return err
	}, list(users), times)
}

// dropUnused takes back the persons that were made only for groups that have failed.
func (n *needs) dropUnused(ctx context.Context, tx Tx, groups [][]store.Command, outcomes []Outcome) error {
	if len(n.made) == 0 || !slices.ContainsFunc(outcomes, func(o Outcome) bool { return o.Err != nil }) {
		return nil
	}
	used := needs{sizes: map[string]bool{}, new: map[string]int64{}}
	for i, o := range outcomes {
		for _, c := range groups[i] {
			if o.Err == nil {
				used.add(c)
			}
		}
	}
	unused := slices.DeleteFunc(n.made, func(user string) bool { _, is := used.new[user]; return is })
	if len(unused) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, sqlUnmakePersons, list(unused))
	return err
}

// persons reads those of users who are there, whom nobody else changes until the
// end of the transaction.
func persons(ctx context.Context, tx Tx, users []string) (map[string]person, error) {
	there := make(map[string]person, len(users))
	take := func(scan Scan) error {
		var p person
		var user []byte
		if err := scan(&p.n, &user, &p.text, &p.muted); err != nil {
			return err
		}
		there[string(user)] = p
		return nil
	}
	if tx.Dialect() == PostgreSQL {
		return there, tx.Query(ctx, sqlLockPersons, take, list(users), []int64{})
	}
	for _, u := range users {
		if err := tx.Query(ctx, sqlPerson, take, []byte(u)); err != nil {
			return nil, err
		}
	}
	return there, nil
}

// ensurePerson gives a user's row, which is made when it is missing.
func ensurePerson(ctx context.Context, tx Tx, user string, at int64) (person, error) {
	for {
		there, err := persons(ctx, tx, []string{user})
		if p, is := there[user]; err != nil || is {
			return p, err
		}
		if tx.Dialect() == SQLite {
			n, err := number(ctx, tx, sqlInsertPerson, []byte(user), nil, at, int64(0), nil)
			return person{n: n}, err
		}
		none := [][]byte{nil}
		if _, err := tx.Exec(ctx, sqlInsertPersons, [][]byte{[]byte(user)}, none, none, at, int64(0)); err != nil {
			return person{}, err
		}
	}
}
