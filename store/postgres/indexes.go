package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

const (
	// Which index was left behind unfinished can be told by its validity.
	sqlFieldIndexes = `
SELECT c.relname::text, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'person'::regclass AND NOT i.indisprimary`

	// Waiting in the database would keep what is made from being finished: it waits for
	// all transactions.
	sqlTryIndexing = `SELECT pg_try_advisory_lock(hashtextextended('skein user indexes ' || current_schema(), 0))`
)

// indexingPause is how often is looked whether another process has finished.
const indexingPause = 200 * time.Millisecond

// UserIndexes implements [store.UserReader]. Indexes are made while others write;
// processes do it one after the other.
func (s *Store) UserIndexes(ctx context.Context, fields []string) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	if err := tables.CheckFields(fields); err != nil {
		return fmt.Errorf("postgres: user indexes: %w", err)
	}
	begin := time.Now()
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	err := s.reads.AcquireFunc(limited, func(conn *pgxpool.Conn) error {
		// Its settings and its lock end with it.
		defer func() { _ = conn.Conn().Close(context.WithoutCancel(limited)) }()
		if _, err := conn.Exec(limited, `SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)`); err != nil {
			return err
		}
		if err := awaitIndexing(limited, conn); err != nil {
			return err
		}
		return tables.UserIndexes(limited, tables.Indexing{
			There: func(ctx context.Context) (good, bad []string, err error) { return fieldIndexes(ctx, conn) },
			Exec: func(ctx context.Context, statement string) error {
				_, err := conn.Exec(ctx, statement)
				return err
			},
			Tx: tx{&s.numbers, conn},
		}, fields)
	})
	if err != nil {
		err = s.fail(ctx, "user indexes", err)
	}
	return s.observeQuery("users", begin, err)
}

// awaitIndexing waits until no other process makes indexes.
func awaitIndexing(ctx context.Context, conn *pgxpool.Conn) error {
	tick := time.NewTicker(indexingPause)
	defer tick.Stop()
	for {
		var mine bool
		if err := conn.QueryRow(ctx, sqlTryIndexing).Scan(&mine); err != nil || mine {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fieldIndexes lists the indexes of attributes that can be used, and those that were
// never finished.
func fieldIndexes(ctx context.Context, conn *pgxpool.Conn) (good, bad []string, err error) {
	rows, err := conn.Query(ctx, sqlFieldIndexes)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var valid bool
		if err := rows.Scan(&name, &valid); err != nil {
			return nil, nil, err
		}
		switch {
		case !tables.IsFieldIndex(name):
		case valid:
			good = append(good, name)
		default:
			bad = append(bad, name)
		}
	}
	return good, bad, rows.Err()
}
