package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// tx lends a connection to the package tables.
type tx struct{ c *conn }

// Dialect implements [tables.Tx].
func (tx) Dialect() tables.Dialect { return tables.SQLite }

// Exec implements [tables.Tx]. A statement that has begun is finished: the writer
// answers for it.
func (t tx) Exec(_ context.Context, query string, args ...any) (int64, error) {
	n, err := t.c.changed(query, values(args)...)
	return int64(n), err
}

// Query implements [tables.Tx].
func (t tx) Query(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	return t.c.query(ctx, func(columns []driverValue) error {
		return row(func(into ...any) error { return scan(columns, into) })
	}, query, values(args)...)
}

func values(args []any) []driverValue {
	list := make([]driver.Value, len(args))
	for i, a := range args {
		list[i] = a
	}
	return list
}

func scan(columns []driverValue, into []any) error {
	for i, to := range into {
		switch to := to.(type) {
		case *int64:
			*to = number(columns[i])
		case *[]byte:
			*to = blob(columns[i])
		default:
			return fmt.Errorf("sqlite: column %d goes into a %T", i, to)
		}
	}
	return nil
}

// tables carries out a group of members, schedules and denials.
func (w *writer) tables(j *job) error {
	outcomes, err := tables.Do(context.Background(), tx{w.c}, j.group)
	if err != nil {
		return err
	}
	j.results = outcomes[0].Results
	return outcomes[0].Err
}

// look carries out a read of the tables, of one moment.
func look[R any](ctx context.Context, s *Store, what string, read func(context.Context, tables.Tx) (R, error)) (result R, err error) {
	err = s.reader(ctx, what, s.cfg.Timeout, func(ctx context.Context, c *conn) error {
		return c.snapshot(func() (err error) {
			result, err = read(ctx, tx{c})
			return err
		})
	})
	if err != nil {
		var none R
		return none, err
	}
	return result, nil
}

// page is look with a limit.
func page[R any](ctx context.Context, s *Store, what string, limit int, read func(context.Context, tables.Tx) (R, error)) (none R, err error) {
	if err := tables.CheckLimit(limit); err != nil {
		return none, fmt.Errorf("sqlite: %s: %w", what, err)
	}
	return look(ctx, s, what, read)
}

// Members implements [store.MemberReader].
func (s *Store) Members(ctx context.Context, channel, after string, limit int) ([]store.Member, error) {
	return page(ctx, s, "members", limit, func(ctx context.Context, tx tables.Tx) ([]store.Member, error) {
		return tables.Members(ctx, tx, channel, after, limit)
	})
}

// Memberships implements [store.MemberReader].
func (s *Store) Memberships(ctx context.Context, user, after string, limit int) ([]store.Membership, error) {
	return page(ctx, s, "memberships", limit, func(ctx context.Context, tx tables.Tx) ([]store.Membership, error) {
		return tables.Memberships(ctx, tx, user, after, limit)
	})
}

// IsMember implements [store.MemberReader].
func (s *Store) IsMember(ctx context.Context, channel string, users ...string) ([]bool, error) {
	return look(ctx, s, "members", func(ctx context.Context, tx tables.Tx) ([]bool, error) {
		return tables.IsMember(ctx, tx, channel, users)
	})
}

// MemberCounts implements [store.MemberReader].
func (s *Store) MemberCounts(ctx context.Context, channels ...string) ([]int64, error) {
	return look(ctx, s, "members", func(ctx context.Context, tx tables.Tx) ([]int64, error) {
		return tables.MemberCounts(ctx, tx, channels)
	})
}

// Groups implements [store.MemberReader].
func (s *Store) Groups(ctx context.Context, prefix, after string, limit int) ([]store.Group, error) {
	return page(ctx, s, "members", limit, func(ctx context.Context, tx tables.Tx) ([]store.Group, error) {
		return tables.Groups(ctx, tx, prefix, after, limit)
	})
}

// Schedule implements [store.ScheduleReader].
func (s *Store) Schedule(ctx context.Context, name string) (store.Schedule, error) {
	found, err := look(ctx, s, "schedules", func(ctx context.Context, tx tables.Tx) (store.Schedule, error) {
		return tables.Schedule(ctx, tx, name)
	})
	if err == nil && found.Version == 0 {
		err = store.ErrNotFound
	}
	return found, err
}

// Schedules implements [store.ScheduleReader].
func (s *Store) Schedules(ctx context.Context, prefix, after string, limit int) ([]store.Schedule, error) {
	return page(ctx, s, "schedules", limit, func(ctx context.Context, tx tables.Tx) ([]store.Schedule, error) {
		return tables.Schedules(ctx, tx, prefix, after, limit)
	})
}

// Due implements [store.ScheduleReader].
func (s *Store) Due(ctx context.Context, limit int) ([]store.DueSchedule, error) {
	return page(ctx, s, "due", limit, func(ctx context.Context, tx tables.Tx) ([]store.DueSchedule, error) {
		return tables.Due(ctx, tx, limit)
	})
}

// Denials implements [store.DenialReader].
func (s *Store) Denials(ctx context.Context, after uint64, limit int) ([]store.Denial, error) {
	return page(ctx, s, "denials", limit, func(ctx context.Context, tx tables.Tx) ([]store.Denial, error) {
		return tables.Denials(ctx, tx, after, limit)
	})
}

// LastSeen implements [store.DenialReader].
func (s *Store) LastSeen(ctx context.Context, users ...string) ([]store.Seen, error) {
	return look(ctx, s, "seen", func(ctx context.Context, tx tables.Tx) ([]store.Seen, error) {
		return tables.LastSeen(ctx, tx, users)
	})
}
