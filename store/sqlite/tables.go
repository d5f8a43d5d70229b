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

// QueryOnce implements [tables.Tx].
func (t tx) QueryOnce(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	return t.c.once(ctx, func(columns []driverValue) error {
		return row(func(into ...any) error { return scan(columns, into) })
	}, query, values(args)...)
}

// QueryThrough implements [tables.Tx].
func (t tx) QueryThrough(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	return t.QueryOnce(ctx, query, row, args...)
}

// QueryScattered implements [tables.Tx].
func (t tx) QueryScattered(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	return t.Query(ctx, query, row, args...)
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

// Messages implements [tables.Tx].
func (t tx) Messages(ctx context.Context, at []tables.At) ([]*store.Message, error) {
	list := make([]*store.Message, len(at))
	for i, a := range at {
		if err := t.c.query(ctx, func(row []driverValue) error {
			m := messageOf(row)
			list[i] = &m
			return nil
		}, exactly, a.Channel, a.Seq); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// tables carries out a group of what the package tables does.
func (w *writer) tables(j *job) error {
	if tables.AboutHeads(j.group) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	outcomes, err := tables.Do(context.Background(), tx{w.c}, j.group)
	if err != nil {
		return err
	}
	j.results = outcomes[0].Results
	return outcomes[0].Err
}

// lend lends a transaction for a read of the tables, of one moment.
func (s *Store) lend(ctx context.Context, what string, fn func(context.Context, tables.Tx) error) error {
	return s.reader(ctx, what, s.cfg.Timeout, func(ctx context.Context, c *conn) error {
		return c.snapshot(func() error { return fn(ctx, tx{c}) })
	})
}
