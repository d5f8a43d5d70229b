package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Each read is one statement, so that all it gives is of the same moment.
const (
	sqlHeads = `
SELECT s.epoch, coalesce(c.top, 0), coalesce(c.floor, 0), coalesce(c.recalled, 0), coalesce(c.recalls, 0)
FROM store s CROSS JOIN unnest($1::bytea[]) WITH ORDINALITY AS w(name, ord)
LEFT JOIN LATERAL (SELECT * FROM channel WHERE channel.name = w.name OFFSET 0) AS c ON true
ORDER BY w.ord`

	// The columns of a message; time is in the lower 48 bits of age.
	messageColumns = `m.seq, m.age & 281474976710655, m.id, m.event, m.sender, m.data, m.recalled IS NOT NULL`

	// before is the sum of the data before a message, in the direction of reading.
	sqlReadHead = `
SELECT s.epoch, coalesce(c.top, 0), coalesce(c.floor, 0), coalesce(c.recalled, 0), coalesce(c.recalls, 0), ` + messageColumns + `
FROM store s
LEFT JOIN channel c ON c.name = $1
LEFT JOIN LATERAL (
	SELECT p.*, sum(coalesce(octet_length(p.data), 0)) OVER (ORDER BY p.seq `
	sqlReadForward = sqlReadHead + `) - coalesce(octet_length(p.data), 0) AS before
	FROM (
		SELECT * FROM message WHERE channel = c.id AND seq > greatest(c.floor, $2::int8) AND seq <= c.top
		ORDER BY seq LIMIT $3
	) AS p
) AS m ON $4::int8 = 0 OR m.before < $4::int8
ORDER BY m.seq`
	sqlReadBackward = sqlReadHead + `DESC) - coalesce(octet_length(p.data), 0) AS before
	FROM (
		SELECT * FROM message WHERE channel = c.id AND seq > c.floor AND seq < $2::int8 AND seq <= c.top
		ORDER BY seq DESC LIMIT $3
	) AS p
) AS m ON $4::int8 = 0 OR m.before < $4::int8
ORDER BY m.seq`

	// The cast is in the index, too: no other one can be taken for it.
	sqlRecalls = `
SELECT ` + messageColumns + `
FROM channel c CROSS JOIN LATERAL (
	SELECT * FROM message WHERE channel::int8 = c.id AND recalled >= $2::int8 OFFSET 0
) AS m
WHERE c.name = $1 AND m.seq > c.floor AND m.seq <= $2::int8
ORDER BY m.seq LIMIT $3`
)

// querier is what a read needs of a connection.
type querier interface {
	session
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Heads implements [store.Store].
func (s *Store) Heads(ctx context.Context, channels ...string) (heads []store.Head, err error) {
	if len(channels) == 0 {
		return nil, nil
	}
	wanted := make([][]byte, len(channels))
	for i, c := range channels {
		wanted[i] = []byte(c)
	}
	err = s.query(ctx, "heads", s.timeout, func(ctx context.Context, q querier) error {
		heads = make([]store.Head, 0, len(channels))
		rows, err := q.Query(ctx, sqlHeads, wanted)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var h headColumns
			if err := rows.Scan(&h.epoch, &h.top, &h.floor, &h.recalled, &h.recalls); err != nil {
				return err
			}
			heads = append(heads, h.head())
		}
		return rows.Err()
	})
	if err == nil && len(heads) != len(channels) {
		err = fmt.Errorf("%w: no epoch", errFault)
	}
	if err != nil {
		return nil, err
	}
	return heads, nil
}

type headColumns struct {
	epoch                         string
	top, floor, recalled, recalls int64
}

func (h *headColumns) head() store.Head {
	return store.Head{Epoch: h.epoch, Top: uint64(h.top), Floor: uint64(h.floor), Recalled: uint64(h.recalled), Recalls: uint64(h.recalls)}
}

// clamp makes a seq that a caller gave fit into a column.
func clamp(seq uint64) int64 { return int64(min(seq, math.MaxInt64)) }

// Read implements [store.Store].
func (s *Store) Read(ctx context.Context, q store.Query) (page store.Page, err error) {
	if q.Limit < 1 {
		return page, fmt.Errorf("postgres: read: Limit: %d is less than 1", q.Limit)
	}
	if q.Bytes < 0 {
		return page, fmt.Errorf("postgres: read: Bytes: %d is less than 0", q.Bytes)
	}
	statement, from := sqlReadForward, clamp(q.After)
	if q.Backward {
		statement, from = sqlReadBackward, clamp(q.Before)
		if q.Before == 0 {
			from = math.MaxInt64
		}
	}
	err = s.query(ctx, "read", s.timeout, func(ctx context.Context, c querier) error {
		page = store.Page{}
		rows, err := c.Query(ctx, statement, []byte(q.Channel), from, int64(q.Limit), int64(q.Bytes))
		if err != nil {
			return err
		}
		defer rows.Close()
		var h headColumns
		for rows.Next() {
			var m messageScan
			if err := rows.Scan(append([]any{&h.epoch, &h.top, &h.floor, &h.recalled, &h.recalls}, m.targets()...)...); err != nil {
				return err
			}
			if m.seq == nil {
				continue // a head alone
			}
			message, err := m.message()
			if err != nil {
				return err
			}
			page.Messages = append(page.Messages, message)
		}
		page.Head = h.head()
		return rows.Err()
	})
	if err == nil && page.Head.Epoch == "" {
		err = fmt.Errorf("%w: no epoch", errFault)
	}
	if err != nil {
		return store.Page{}, err
	}
	// What is between floor and top has no holes, so its ends tell.
	if n := len(page.Messages); n > 0 {
		page.More = page.Messages[n-1].Seq < page.Head.Top
		if q.Backward {
			page.More = page.Messages[0].Seq > page.Head.Floor+1
		}
	}
	return page, nil
}

// messageScan takes messageColumns; all are null when there is no message.
type messageScan struct {
	seq, time               *int64
	id, event, sender, data []byte
	recalled                *bool
}

func (m *messageScan) targets() []any {
	return []any{&m.seq, &m.time, &m.id, &m.event, &m.sender, &m.data, &m.recalled}
}

func (m *messageScan) message() (store.Message, error) {
	out := store.Message{Seq: uint64(*m.seq), ID: unpackID(m.id, *m.time), Time: *m.time, Recalled: *m.recalled}
	if out.Recalled && m.data == nil {
		return out, nil
	}
	// What was recalled has no data; what was edited has some, if only an empty text.
	out.Recalled, out.Edited = false, out.Recalled
	out.Event, out.Data = protocol.DefaultEvent, m.data
	if m.event != nil {
		out.Event = string(m.event)
	}
	var ok bool
	if out.Sender, out.Meta, ok = unpackSender(m.sender); !ok {
		return out, fmt.Errorf("%w: the sender of a message with seq %d", errFault, out.Seq)
	}
	return out, nil
}

// Recalls implements [store.Store].
func (s *Store) Recalls(ctx context.Context, channel string, since uint64, limit int) (messages []store.Message, err error) {
	if limit < 1 {
		return nil, nil
	}
	err = s.query(ctx, "recalls", s.timeout, func(ctx context.Context, q querier) error {
		messages = nil
		rows, err := q.Query(ctx, sqlRecalls, []byte(channel), clamp(since), int64(limit))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var m messageScan
			if err := rows.Scan(m.targets()...); err != nil {
				return err
			}
			message, err := m.message()
			if err != nil {
				return err
			}
			messages = append(messages, message)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return messages, nil
}

// query carries out a read. limit bounds it; zero: only ctx does. A read changes
// nothing, so one that met a connection which has died is repeated on another.
func (s *Store) query(ctx context.Context, what string, limit time.Duration, do func(context.Context, querier) error) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	begin := time.Now()
	limited, cancel := context.WithCancel(ctx)
	if limit > 0 {
		limited, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	var err error
	for attempt := range 3 {
		err = s.reads.AcquireFunc(limited, func(conn *pgxpool.Conn) error { return do(limited, conn) })
		if err == nil || limited.Err() != nil || !repeatable(err) && !lost(err) {
			break
		}
		if attempt > 0 {
			s.reads.Reset() // the others are no better
		}
	}
	switch {
	case err == nil:
		s.back()
	case errors.Is(err, pgx.ErrNoRows):
		err = store.ErrNotFound
	default:
		err = s.fail(ctx, what, err)
	}
	return s.observeQuery(what, begin, err)
}
