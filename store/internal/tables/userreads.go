package tables

import (
	"context"
	"fmt"
	"math"

	"github.com/skein-realtime/skein/store"
)

const (
	sqliteUserColumns = `p.n, p.user_id, json(p.attributes), p.zone, p.created, p.changed, p.muted`

	postgresUserColumns = `p.n, p.user_id, CAST(p.attributes AS text), p.zone, p.created, p.changed, p.muted`

	sqlLookUser = `SELECT 0, ` + sqliteUserColumns + ` FROM person AS p WHERE p.user_id = ?`

	sqlLookUsers = `
SELECT w.place, ` + postgresUserColumns + ` FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT * FROM person WHERE user_id = w.user_id OFFSET 0) AS p`

	sqlEverybody = `SELECT n, user_id FROM person WHERE n > ? ORDER BY n LIMIT CAST(? AS bigint)`

	sqlKnownTotal = `SELECT count(*) FROM person WHERE attributes IS NOT NULL`

	sqlCountsOf = `SELECT 0, p.counts, ` + sqliteUserColumns + ` FROM person AS p WHERE p.user_id = ?`

	sqlCountsOfAll = `
SELECT w.place, p.counts, ` + postgresUserColumns + ` FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT * FROM person WHERE user_id = w.user_id OFFSET 0) AS p`
)

func userColumns(d Dialect) string {
	if d == SQLite {
		return sqliteUserColumns
	}
	return postgresUserColumns
}

// userScan takes the columns of a user.
type userScan struct {
	n, created, changed           int64
	user, attributes, zone, muted []byte
}

func (s *userScan) columns() []any {
	return []any{&s.n, &s.user, &s.attributes, &s.zone, &s.created, &s.changed, &s.muted}
}

func (s *userScan) made() (u store.User, err error) {
	u = store.User{N: uint64(s.n), User: string(s.user), Zone: string(s.zone), Created: s.created, Changed: s.changed}
	if s.attributes != nil {
		u.Attributes = append([]byte(nil), s.attributes...)
	}
	u.Muted, err = mutedOf(s.muted)
	return u, err
}

// Users implements [store.UserReader].
func (r Reader) Users(ctx context.Context, q store.UserQuery) ([]store.User, error) {
	f, err := r.where("users", q.Where)
	if err != nil {
		return nil, err
	}
	return page(ctx, r, "users", q.Limit, func(ctx context.Context, tx Tx) (list []store.User, err error) {
		s, err := sourceOf(ctx, tx, f, fewForPage)
		if err != nil {
			return nil, err
		}
		query, args := chosen(s, wordsOf(tx.Dialect()), f, userColumns(tx.Dialect()), " AND p.user_id > ?", " ORDER BY p.user_id LIMIT CAST(? AS bigint)",
			[]byte(q.After), int64(q.Limit))
		err = tx.QueryOnce(ctx, query, func(scan Scan) error {
			var s userScan
			if err := scan(s.columns()...); err != nil {
				return err
			}
			u, err := s.made()
			list = append(list, u)
			return err
		}, args...)
		return list, err
	})
}

// where checks a filter; nil is everybody who has attributes.
func (r Reader) where(what string, f *store.Filter) (*store.Filter, error) {
	if f == nil {
		return &store.Filter{}, nil
	}
	if err := f.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", r.name, what, err)
	}
	return f, nil
}

// LookUsers implements [store.UserReader].
func (r Reader) LookUsers(ctx context.Context, users ...string) ([]store.User, error) {
	return look(ctx, r, "users", func(ctx context.Context, tx Tx) ([]store.User, error) {
		list := make([]store.User, len(users))
		var s userScan
		var failed error
		err := lookup(ctx, tx, sqlLookUser, sqlLookUsers, nil, users, s.columns(), func(i int) {
			var err error
			if list[i], err = s.made(); err != nil {
				failed = err
			}
		})
		if err == nil {
			err = failed
		}
		return list, err
	})
}

// CountUsers implements [store.UserReader].
func (r Reader) CountUsers(ctx context.Context, where *store.Filter) (int64, error) {
	f, err := r.where("users", where)
	if err != nil {
		return 0, err
	}
	return look(ctx, r, "users", func(ctx context.Context, tx Tx) (n int64, err error) {
		if everybody(f) {
			return number(ctx, tx, sqlKnownTotal)
		}
		// A row that is found by index costs a few times as much as one that comes by.
		s, err := sourceOf(ctx, tx, f, fewForAll)
		if err != nil {
			return 0, err
		}
		// In the order of the numbers, which is that of the rows.
		query, args := chosen(s, wordsOf(tx.Dialect()), f, "count(*)", " AND p.n > ?", "", int64(0))
		err = ask(tx, s)(ctx, query, func(scan Scan) error { return scan(&n) }, args...)
		return n, err
	})
}

// ask gives the way to ask for all that a filter chooses.
func ask(tx Tx, s source) func(ctx context.Context, query string, row func(Scan) error, args ...any) error {
	if len(s) == 0 {
		return tx.QueryThrough
	}
	return tx.QueryOnce
}

// everybody tells a filter that says nothing.
func everybody(f *store.Filter) bool {
	return f.All == nil && f.Any == nil && f.Not == nil && f.Tag == "" && f.Field == ""
}

// Audience implements [store.UserReader].
func (r Reader) Audience(ctx context.Context, q store.AudienceQuery) ([]store.Recipient, error) {
	f, err := r.where("audience", q.Where)
	if err != nil {
		return nil, err
	}
	return page(ctx, r, "audience", q.Limit, func(ctx context.Context, tx Tx) (list []store.Recipient, err error) {
		take := func(scan Scan) error {
			var n int64
			var user []byte
			err := scan(&n, &user)
			list = append(list, store.Recipient{N: uint64(n), User: string(user)})
			return err
		}
		after := int64(min(q.After, math.MaxInt64))
		if q.Where == nil {
			return list, tx.Query(ctx, sqlEverybody, take, after, int64(q.Limit))
		}
		s, err := sourceOf(ctx, tx, f, fewForPage)
		if err != nil {
			return nil, err
		}
		query, args := chosen(s, wordsOf(tx.Dialect()), f, "p.n, p.user_id", " AND p.n > ?", " ORDER BY p.n LIMIT CAST(? AS bigint)", after, int64(q.Limit))
		err = tx.QueryOnce(ctx, query, take, args...)
		return list, err
	})
}

// Categories implements [store.UserReader].
func (r Reader) Categories(ctx context.Context) ([]store.Category, error) {
	return look(ctx, r, "categories", categories)
}

// Counts implements [store.PushReader].
func (r Reader) Counts(ctx context.Context, user string) ([]byte, store.User, error) {
	type counted struct {
		counts []byte
		user   store.User
	}
	found, err := look(ctx, r, "users", func(ctx context.Context, tx Tx) (c counted, err error) {
		var s userScan
		var counts []byte
		var failed error
		err = lookup(ctx, tx, sqlCountsOf, sqlCountsOfAll, nil, []string{user}, append([]any{&counts}, s.columns()...), func(int) {
			c.counts = append([]byte(nil), counts...)
			c.user, failed = s.made()
		})
		if err == nil {
			err = failed
		}
		return c, err
	})
	return found.counts, found.user, err
}
