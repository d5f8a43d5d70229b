package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/skein-realtime/skein/store/internal/tables"
)

// Check implements [store.Store].
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	return s.reader(ctx, "check", 0, func(ctx context.Context, c *conn) error { return c.check(ctx, report) })
}

// Check reads the whole store of a directory, also while a server runs, and
// calls report for each thing that is wrong.
func Check(ctx context.Context, dir string, report func(problem string)) error {
	c, err := existing(dir)
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }()
	return c.check(ctx, report)
}

// existing opens a store that must be there, without its lock.
func existing(dir string) (*conn, error) {
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no store in %s: %w", dir, err)
	}
	c, err := dial(path, false)
	if err != nil {
		return nil, explain(path, err)
	}
	row, _, err := c.first("PRAGMA user_version")
	if err == nil {
		err = known(number(row[0]))
	}
	if err != nil {
		_ = c.close()
		return nil, explain(path, err)
	}
	return c, nil
}

// known tells why a schema is not the one of this program.
func known(have int64) error {
	switch {
	case have == version:
		return nil
	case have == 0:
		return errors.New("it is a database of another program")
	case have > version:
		return fmt.Errorf("its schema has version %d, this program knows %d: %w", have, version, errNewer)
	}
	return fmt.Errorf("its schema has version %d, this program's is %d; start a server on it once, which brings it up to date", have, version)
}

// checks are what must not be found, each with the sentence for a row of it.
var checks = []struct{ query, sentence string }{
	{"SELECT c.name, c.top, c.floor, c.swept, c.recalled FROM head c WHERE c.floor > c.top OR c.swept > c.floor OR c.recalled > c.top OR c.floor < 0",
		"channel %v: its head makes no sense: top %v, floor %v, swept %v, recalled %v"},
	{"SELECT c.name, c.floor + 1, c.top, count(m.pos) FROM head c LEFT JOIN message m ON m.ch = c.id AND m.seq > c.floor AND m.seq <= c.top GROUP BY c.id HAVING count(m.pos) <> c.top - c.floor",
		"channel %v: of the messages %v to %v only %v are there"},
	{"SELECT c.name, m.seq FROM message m JOIN channel c ON c.id = m.ch WHERE m.seq < 1",
		"channel %v: message %v stands before its beginning"},
	{"SELECT m.pos, m.ch FROM message m LEFT JOIN channel c ON c.id = m.ch WHERE c.id IS NULL",
		"message at %v belongs to channel %v, which does not exist"},
	{"SELECT c.name, m.seq FROM message m JOIN channel c ON c.id = m.ch WHERE m.recalled IS NOT NULL AND m.data IS NULL AND (m.event IS NOT NULL OR m.sender IS NOT NULL)",
		"channel %v: message %v was withdrawn and still has content"},
	{"SELECT c.name, m.seq FROM message m JOIN channel c ON c.id = m.ch WHERE (m.age >> 48) & 32767 <> c.ns",
		"channel %v: message %v is kept under another namespace"},
	{"SELECT c.name, m.seq FROM message m JOIN channel c ON c.id = m.ch WHERE (m.age < 0) <> (c.snapshot IS NOT NULL)",
		"channel %v: message %v and its channel do not agree whether it is a document"},
	{"SELECT name, snapshot, floor, top FROM head WHERE snapshot < floor OR snapshot > top",
		"channel %v: the snapshot's version %v is not from the floor %v to the top %v"},
	{"SELECT c.name, coalesce(d.version, 0), coalesce(c.snapshot, 0) FROM channel c LEFT JOIN document d ON d.ch = c.id WHERE d.version IS NOT nullif(c.snapshot, 0)",
		"channel %v: its snapshot has the version %v, and should have %v"},
	{"SELECT d.ch FROM document d LEFT JOIN channel c ON c.id = d.ch WHERE c.id IS NULL",
		"a snapshot belongs to channel %v, which does not exist"},
	{"SELECT c.name, c.ns FROM channel c LEFT JOIN namespace n ON n.id = c.ns WHERE n.id IS NULL",
		"channel %v belongs to namespace %v, which does not exist"},
	{"SELECT user_id FROM person WHERE attributes IS NOT NULL AND (NOT json_valid(attributes, 8) OR CASE WHEN json_valid(attributes, 8) THEN json_type(attributes) <> 'object' END)",
		"user %v: the attributes are no JSON object"},
	{"SELECT i.ch, i.seq FROM idem i LEFT JOIN head c ON c.id = i.ch WHERE c.id IS NULL OR i.seq > c.top",
		"a key of channel %v points to message %v, which never was"},
}

func (c *conn) check(ctx context.Context, report func(problem string)) (err error) {
	sound := true
	if err := c.query(ctx, func(row []driverValue) error {
		if problem := text(row[0]); problem != "ok" {
			sound = false
			report("the file is damaged: " + problem)
		}
		return nil
	}, "PRAGMA integrity_check"); err != nil {
		if code(err) != codeCorrupt {
			return err
		}
		sound = false
		report("the file is damaged: " + err.Error())
	}
	if !sound {
		return nil // what follows would only repeat it
	}
	for _, k := range checks {
		if err := c.query(ctx, func(row []driverValue) error {
			args := make([]any, len(row))
			for i, v := range row {
				if args[i] = v; v != nil {
					if b, ok := v.([]byte); ok {
						args[i] = string(b)
					}
				}
			}
			report(fmt.Sprintf(k.sentence, args...))
			return nil
		}, k.query); err != nil {
			return err
		}
	}
	if err := c.query(ctx, func(row []driverValue) error {
		if !json.Valid(blob(row[1])) {
			report(fmt.Sprintf("channel %s: its snapshot is no JSON", text(row[0])))
		}
		return nil
	}, "SELECT c.name, d.data FROM document d JOIN channel c ON c.id = d.ch"); err != nil {
		return err
	}
	return tables.Audit(ctx, tx{c}, report)
}
