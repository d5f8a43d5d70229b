package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// UserIndexes implements [store.UserReader]. The writer does it, in a transaction:
// nothing else is written meanwhile.
func (s *Store) UserIndexes(ctx context.Context, fields []string) error {
	start := time.Now()
	if s.closed.Load() {
		return store.ErrClosed
	}
	if err := tables.CheckFields(fields); err != nil {
		return fmt.Errorf("sqlite: user indexes: %w", err)
	}
	err := s.queue.do(ctx, &job{work: func(w *writer) error {
		return tables.UserIndexes(context.Background(), tables.Indexing{
			There: w.fieldIndexes,
			Exec:  func(_ context.Context, statement string) error { return w.c.script(statement) },
			Tx:    tx{w.c},
		}, fields)
	}})
	if s.opt.Observer != nil {
		s.opt.Observer.Query("users", time.Since(start), err)
	}
	return err
}

// fieldIndexes lists the indexes of attributes. They are made in a transaction, so
// all can be used.
func (w *writer) fieldIndexes(ctx context.Context) (good, bad []string, err error) {
	err = w.c.query(ctx, func(row []driverValue) error {
		if name := text(row[0]); tables.IsFieldIndex(name) {
			good = append(good, name)
		}
		return nil
	}, "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'person'")
	return good, nil, err
}
