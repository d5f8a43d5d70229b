package sqlite

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// reader lends a connection to fn, within a deadline.
func (s *Store) reader(ctx context.Context, what string, limit time.Duration, fn func(ctx context.Context, c *conn) error) (err error) {
	start := time.Now()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	s.reading.Add(1)
	defer s.reading.Done()
	if s.closed.Load() {
		return store.ErrClosed
	}
	var c *conn
	select {
	case c = <-s.readers:
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
	defer func() { s.readers <- c }()
	err = unavailable(fn(ctx, c))
	if s.opt.Observer != nil {
		told := err
		if errors.Is(err, context.Canceled) {
			told = nil // the caller lost interest; nothing went wrong
		}
		s.opt.Observer.Query(what, time.Since(start), told)
	}
	return err
}

// head reads a channel's head; id 0: there is none.
func (s *Store) head(ctx context.Context, c *conn, channel string) (h store.Head, id int64, err error) {
	h.Epoch = s.epoch
	err = c.query(ctx, func(row []driverValue) error {
		id = number(row[0])
		h.Top, h.Floor, h.Recalled, h.Recalls = uint64(number(row[1])), uint64(number(row[2])), uint64(number(row[3])), uint64(number(row[4]))
		return nil
	}, "SELECT id, top, floor, recalled, recalls FROM head WHERE name = ?", channel)
	return h, id, err
}

// Heads implements [store.Store].
func (s *Store) Heads(ctx context.Context, channels ...string) (heads []store.Head, err error) {
	err = s.reader(ctx, "heads", s.cfg.Timeout, func(ctx context.Context, c *conn) error {
		heads = make([]store.Head, len(channels))
		return c.snapshot(func() error {
			for i, name := range channels {
				if heads[i], _, err = s.head(ctx, c, name); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return heads, nil
}

// revised tells whether a message was recalled, which took its data, or edited.
const (
	revised     = "CASE WHEN recalled IS NULL THEN 0 WHEN data IS NULL THEN 1 ELSE 2 END"
	wasRecalled = 1
	wasEdited   = 2
)

// A bare parameter behind LIMIT would make SQLite prepare the statement again for
// each value of it, hence the sum.
const (
	messageColumns = "SELECT seq, age, id, event, sender, data, " + revised + " FROM message "
	forward        = messageColumns + "WHERE ch = ? AND seq > ? ORDER BY seq LIMIT ? + 0"
	exactly        = messageColumns + "WHERE ch = ? AND seq = ?"
	backward       = messageColumns + "WHERE ch = ? AND seq > ? AND seq < ? ORDER BY seq DESC LIMIT ? + 0"
)

func messageOf(row []driverValue) store.Message {
	ms := number(row[1]) & maxTime
	m := store.Message{Seq: uint64(number(row[0])), Time: ms, ID: unpackID(blob(row[2]), ms)}
	switch number(row[6]) {
	case wasRecalled:
		m.Recalled = true
		return m
	case wasEdited:
		m.Edited = true
	}
	m.Event = "message"
	if row[3] != nil {
		m.Event = text(row[3])
	}
	m.Sender, m.Meta = unpackSender(blob(row[4]))
	m.Data = append([]byte{}, blob(row[5])...)
	return m
}

// errEnough ends a query early.
var errEnough = errors.New("enough")

// Read implements [store.Store].
func (s *Store) Read(ctx context.Context, q store.Query) (page store.Page, err error) {
	if q.Limit < 1 {
		return page, errors.New("sqlite: Limit: must be at least 1")
	}
	err = s.reader(ctx, "read", s.cfg.Timeout, func(ctx context.Context, c *conn) error {
		return c.snapshot(func() error { return s.page(ctx, c, q, &page) })
	})
	if err != nil {
		return store.Page{}, err
	}
	return page, nil
}

// page reads what a query asks for.
func (s *Store) page(ctx context.Context, c *conn, q store.Query, page *store.Page) (err error) {
	var id int64
	if page.Head, id, err = s.head(ctx, c, q.Channel); err != nil || id == 0 {
		return err
	}
	limit, size := min(q.Limit, 1<<31), 0
	collect := func(row []driverValue) error {
		if len(page.Messages) == limit || q.Bytes > 0 && size >= q.Bytes {
			page.More = true
			return errEnough
		}
		m := messageOf(row)
		size += len(m.Data)
		page.Messages = append(page.Messages, m)
		return nil
	}
	floor := int64(page.Head.Floor)
	if q.Backward {
		before := int64(min(q.Before, 1<<63-1))
		if before == 0 {
			before = 1<<63 - 1
		}
		err = c.query(ctx, collect, backward, id, floor, before, int64(limit)+1)
		slices.Reverse(page.Messages)
	} else {
		err = c.query(ctx, collect, forward, id, max(floor, int64(min(q.After, 1<<62))), int64(limit)+1)
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// snapshot has fn see one moment of the store.
func (c *conn) snapshot(fn func() error) (err error) {
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.exec("COMMIT")) }()
	return fn()
}

// Recalls implements [store.Store].
func (s *Store) Recalls(ctx context.Context, channel string, since uint64, limit int) (list []store.Message, err error) {
	err = s.reader(ctx, "recalls", s.cfg.Timeout, func(ctx context.Context, c *conn) error {
		head, id, err := s.head(ctx, c, channel)
		if err != nil || id == 0 {
			return err
		}
		at := int64(min(since, 1<<62))
		return c.query(ctx, func(row []driverValue) error {
			list = append(list, messageOf(row))
			return nil
		}, messageColumns+"WHERE ch = ?1 AND recalled IS NOT NULL AND recalled >= ?2 AND seq <= ?2 AND seq > ?3 ORDER BY seq LIMIT ?4 + 0", id, at, int64(head.Floor), int64(limit))
	})
	return list, err
}

// Stats implements [store.Store].
func (s *Store) Stats(ctx context.Context) (st store.Stats, err error) {
	err = s.reader(ctx, "stats", 0, func(ctx context.Context, c *conn) error {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if info, err := os.Stat(s.path() + suffix); err == nil {
				st.Bytes += info.Size()
			}
		}
		if err := c.query(ctx, func(row []driverValue) error {
			st.Channels = number(row[0])
			return nil
		}, "SELECT count(*) FROM channel"); err != nil {
			return err
		}
		messages := "SELECT coalesce(sum(top - floor), 0) FROM head"
		if st.Channels > maxCounted {
			messages = "SELECT coalesce(max(pos) - min(pos) + 1, 0) FROM (SELECT max(pos) AS pos FROM message UNION ALL SELECT min(pos) FROM message)"
		}
		if err := c.query(ctx, func(row []driverValue) error {
			st.Messages = number(row[0])
			return nil
		}, messages); err != nil {
			return err
		}
		if err := c.query(ctx, func(row []driverValue) error {
			st.Documents = number(row[0])
			return nil
		}, "SELECT count(*) FROM channel WHERE snapshot IS NOT NULL"); err != nil {
			return err
		}
		return tables.Totals(ctx, tx{c}, &st)
	})
	return st, err
}

// maxCounted is how many channels there may be for their messages to be counted
// one by one. Of more, what was deleted in the middle is not left out.
const maxCounted = 100_000
