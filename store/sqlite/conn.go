package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"time"

	engine "modernc.org/sqlite"
)

// conn is one connection with its prepared statements. It is used by one
// goroutine at a time. It goes by the driver's own interfaces: the pool and the
// conversions of database/sql would cost as much as the statements.
type conn struct {
	c    driver.Conn
	st   map[string]driver.Stmt
	args []driver.NamedValue
	row  []driver.Value
}

// After so many pages what was written is moved into the file, which nobody else's commit
// gets past. Seldom is cheapest, because a page that changes again and again is moved once;
// but then it takes long, and while somebody writes much, that is often.
const (
	rarely = 16_384
	often  = 500

	fewSteps  = 10 // bulk work of so few jobs is none: some is done now and then
	bulkLasts = time.Second
	liveLasts = 100 * time.Millisecond

	// While others write beside bulk work, it is also done so often, at a moment when none of
	// them waits.
	settleEvery = 40 * time.Millisecond
)

// dial opens a connection to a file.
func dial(path string, relaxed bool) (*conn, error) {
	sync := "FULL"
	if relaxed {
		sync = "NORMAL"
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}
	c, err := (&engine.Driver{}).Open(u.String())
	if err != nil {
		return nil, err
	}
	n := &conn{c: c, st: map[string]driver.Stmt{}}
	for _, pragma := range []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(" + sync + ")", fmt.Sprintf("wal_autocheckpoint(%d)", rarely),
		"journal_size_limit(67108864)", "cache_size(-32768)", "temp_store(MEMORY)", "trusted_schema(OFF)",
	} {
		if err := n.exec("PRAGMA " + pragma); err != nil {
			_ = n.close()
			return nil, err
		}
	}
	return n, nil
}

func (c *conn) close() error {
	var errs []error
	for _, st := range c.st {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

func (c *conn) prepare(text string, args []driver.Value) (driver.Stmt, error) {
	st := c.st[text]
	if st == nil {
		var err error
		if st, err = c.c.Prepare(text); err != nil {
			return nil, err
		}
		c.st[text] = st
	}
	c.bind(args)
	return st, nil
}

func (c *conn) bind(args []driver.Value) {
	c.args = c.args[:0]
	for i, v := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
}

// exec carries out one statement.
func (c *conn) exec(text string, args ...driver.Value) error {
	st, err := c.prepare(text, args)
	if err != nil {
		return err
	}
	_, err = st.(driver.StmtExecContext).ExecContext(context.Background(), c.args)
	return err
}

// changed is exec, and tells how many rows it changed.
func (c *conn) changed(text string, args ...driver.Value) (int, error) {
	st, err := c.prepare(text, args)
	if err != nil {
		return 0, err
	}
	r, err := st.(driver.StmtExecContext).ExecContext(context.Background(), c.args)
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	return int(n), err
}

// query calls fn for every row until it returns an error.
func (c *conn) query(ctx context.Context, fn func(row []driver.Value) error, text string, args ...driver.Value) error {
	st, err := c.prepare(text, args)
	if err != nil {
		return err
	}
	return c.rows(ctx, st, fn)
}

// once is query for a text that is not worth being kept prepared.
func (c *conn) once(ctx context.Context, fn func(row []driver.Value) error, text string, args ...driver.Value) (err error) {
	st, err := c.c.Prepare(text)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	c.bind(args)
	return c.rows(ctx, st, fn)
}

// rows calls fn for every row that a statement gives for the arguments that were
// bound.
func (c *conn) rows(ctx context.Context, st driver.Stmt, fn func(row []driver.Value) error) (err error) {
	rows, err := st.(driver.StmtQueryContext).QueryContext(ctx, c.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	n := len(rows.Columns())
	if cap(c.row) < n {
		c.row = make([]driver.Value, n)
	}
	row := c.row[:n]
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// first gives the first row; false when there is none. The row is good until
// the next call.
func (c *conn) first(text string, args ...driver.Value) (row []driver.Value, found bool, err error) {
	err = c.query(context.Background(), func(r []driver.Value) error {
		if !found {
			found, row = true, append([]driver.Value(nil), r...)
		}
		return nil
	}, text, args...)
	return row, found, err
}

// Codes of SQLite (sqlite.org/rescode.html) that are told apart.
const (
	codeCorrupt = 11
	codeNotADB  = 26
)

func code(err error) int {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// explain says what an error at the start means and what to do.
func explain(path string, err error) error {
	switch code(err) {
	case codeNotADB:
		return fmt.Errorf("%s is no database of this program; move it away, or choose another directory: %w", path, err)
	case codeCorrupt:
		return fmt.Errorf("%s is damaged; restore a backup with `skein restore`: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func number(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func text(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func blob(v driver.Value) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}
