package postgres

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// session is what the package tables needs of a connection or a transaction.
type session interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// tx lends a session to the package tables.
type tx struct {
	numbers *numbering
	session
}

// Dialect implements [tables.Tx].
func (tx) Dialect() tables.Dialect { return tables.PostgreSQL }

// Exec implements [tables.Tx].
func (t tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := t.session.Exec(ctx, t.numbers.numbered(query), args...)
	return tag.RowsAffected(), err
}

// Query implements [tables.Tx].
func (t tx) Query(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	rows, err := t.session.Query(ctx, t.numbers.numbered(query), args...)
	if err != nil {
		return err
	}
	return eachRow(rows, row)
}

// QueryOnce implements [tables.Tx].
func (t tx) QueryOnce(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	rows, err := t.session.Query(ctx, dollars(query), append([]any{pgx.QueryExecModeDescribeExec}, args...)...)
	if err != nil {
		return err
	}
	return eachRow(rows, row)
}

// QueryThrough implements [tables.Tx]. Reads ask by index, as connections are told,
// unless they want everything.
func (t tx) QueryThrough(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	begun, err := t.session.(beginner).Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = begun.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := begun.Exec(ctx, `SELECT set_config('enable_seqscan', 'on', true)`); err != nil {
		return err
	}
	return tx{t.numbers, begun}.QueryOnce(ctx, query, row, args...)
}

// scattered has the rows of the next statement looked up as bitmaps, which is the one way in
// which PostgreSQL asks for pages before it needs them. Where it says that it cannot, or
// must not, it is left at that.
const scattered = `SELECT set_config('enable_bitmapscan', 'on', true), set_config('enable_indexscan', 'off', true),
CASE WHEN current_setting('effective_io_concurrency')::int > 0 THEN set_config('effective_io_concurrency', greatest(64, current_setting('effective_io_concurrency')::int)::text, true) END`

// QueryScattered implements [tables.Tx]. Both statements go in one round trip, and what the
// first one sets ends with it.
func (t tx) QueryScattered(ctx context.Context, query string, row func(tables.Scan) error, args ...any) error {
	var b pgx.Batch
	b.Queue(scattered)
	b.Queue(t.numbers.numbered(query), args...)
	results := t.session.(sender).SendBatch(ctx, &b)
	_, err := results.Exec()
	if err == nil {
		var rows pgx.Rows
		if rows, err = results.Query(); err == nil {
			err = eachRow(rows, row)
		}
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return err
}

// sender sends several statements at once.
type sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// sqlMessages gives messages by their places, each with its place in the list.
const sqlMessages = `
SELECT w.place, ` + messageColumns + ` FROM unnest($1::int8[], $2::int8[]) WITH ORDINALITY AS w(channel, seq, place)
CROSS JOIN LATERAL (SELECT * FROM message WHERE channel = w.channel::int4 AND seq = w.seq OFFSET 0) AS m`

// Messages implements [tables.Tx].
func (t tx) Messages(ctx context.Context, at []tables.At) ([]*store.Message, error) {
	list := make([]*store.Message, len(at))
	if len(at) == 0 {
		return list, nil
	}
	channels, seqs := make([]int64, len(at)), make([]int64, len(at))
	for i, a := range at {
		channels[i], seqs[i] = a.Channel, a.Seq
	}
	rows, err := t.session.Query(ctx, sqlMessages, channels, seqs)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var place int64
		var m messageScan
		if err := rows.Scan(append([]any{&place}, m.targets()...)...); err != nil {
			return nil, err
		}
		message, err := m.message()
		if err != nil {
			return nil, err
		}
		list[place-1] = &message
	}
	return list, rows.Err()
}

func eachRow(rows pgx.Rows, row func(tables.Scan) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// numbering makes $1, $2 … of the question marks of queries. They are few, so
// what was made is kept.
type numbering struct{ made sync.Map }

func (n *numbering) numbered(query string) string {
	if made, ok := n.made.Load(query); ok {
		return made.(string)
	}
	made := dollars(query)
	n.made.Store(query, made)
	return made
}

func dollars(query string) string {
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}

// Groups of what the package tables does have writers of their own, behind those of
// messages: nobody who talks waits for ten thousand memberships, no schedule does, and
// no push to one waits for one to a million.
const (
	laneMembers = 1 + iota // after that of groups of several writers
	laneMarks              // of members
	laneRest               // schedules, denials, the audit log and secrets
	laneUsers              // and categories and campaigns
	lanePush
	laneInbox
	laneBulk
	tableLanes = laneBulk
)

// tableLane tells which writer a group goes to.
func tableLane(group []store.Command) int {
	if tables.Bulk(group) {
		return laneBulk
	}
	switch group[0].(type) {
	case store.AddMembers, store.RemoveMembers, store.Admit, store.Dismiss, store.SetRole, store.PutGroup, store.SetAlerts:
		return laneMembers
	case store.MarkMember:
		return laneMarks
	case store.PutUsers, store.DeleteUsers, store.BlockPeer, store.MuteCategory, store.PutCategory, store.DeleteCategory,
		store.PutCampaign, store.ClaimCampaign, store.AddToCampaign, store.DeleteCampaign:
		return laneUsers
	case store.Push, store.Broadcast, store.RecallPush, store.Wake, store.Expire, store.Prune:
		return lanePush
	case store.Settle, store.MarkRead, store.ClearPushed, store.Collect, store.Escalated:
		return laneInbox
	}
	return laneRest
}

// writeTables carries out groups of what the package tables does in one
// transaction. When there are pushes among them, what is told of them must not be
// overtaken: who pushes to the same users waits for this transaction before it can
// commit its own, and tells only when this has told. So the lock that is held while
// telling is taken before the commit; unlock gives it back.
func (s *Store) writeTables(ctx context.Context, batch []*group) (done []outcome, unlock func(), err error) {
	groups := make([][]store.Command, len(batch))
	for i, g := range batch {
		groups[i] = g.commands
	}
	unlock = func() {}
	err = pgx.BeginFunc(ctx, s.writes, func(t pgx.Tx) error {
		outcomes, err := tables.Do(ctx, tx{&s.numbers, t}, groups...)
		done = make([]outcome, len(outcomes))
		pushes := false
		for i, o := range outcomes {
			done[i] = outcome{results: o.Results, err: o.Err}
			if done[i].pushes = tables.Pushes(nil, o.Results); len(done[i].pushes) > 0 {
				pushes = true
			}
		}
		if err == nil && pushes {
			s.pushing.Lock()
			unlock = s.pushing.Unlock
		}
		return err
	})
	return done, unlock, err
}

// lend lends a transaction for a read of the tables.
func (s *Store) lend(ctx context.Context, what string, fn func(context.Context, tables.Tx) error) error {
	return s.query(ctx, what, s.timeout, func(ctx context.Context, q querier) error { return fn(ctx, tx{&s.numbers, q}) })
}
