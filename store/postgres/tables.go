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
	var b strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	n.made.Store(query, b.String())
	return b.String()
}

// Groups of members, schedules and denials have writers of their own, behind
// those of messages: nobody who talks waits for ten thousand memberships, and no
// schedule does.
const (
	laneMembers = 1 + iota // after that of groups of several writers
	laneRest
	tableLanes = laneRest
)

// tableLane tells which writer a group goes to.
func (s *Store) tableLane(group []store.Command) int {
	switch group[0].(type) {
	case store.AddMembers, store.RemoveMembers:
		return len(s.lanes) + laneMembers
	}
	return len(s.lanes) + laneRest
}

// writeTables carries out groups of members, schedules and denials in one
// transaction.
func (s *Store) writeTables(ctx context.Context, batch []*group) ([]outcome, error) {
	groups := make([][]store.Command, len(batch))
	for i, g := range batch {
		groups[i] = g.commands
	}
	var done []outcome
	err := pgx.BeginFunc(ctx, s.writes, func(t pgx.Tx) error {
		outcomes, err := tables.Do(ctx, tx{&s.numbers, t}, groups...)
		done = make([]outcome, len(outcomes))
		for i, o := range outcomes {
			done[i] = outcome{results: o.Results, err: o.Err}
		}
		return err
	})
	return done, err
}

// lend lends a transaction for a read of the tables.
func (s *Store) lend(ctx context.Context, what string, fn func(context.Context, tables.Tx) error) error {
	return s.query(ctx, what, s.timeout, func(ctx context.Context, q querier) error { return fn(ctx, tx{&s.numbers, q}) })
}
