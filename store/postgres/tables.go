package postgres

import (
	"context"
	"fmt"
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

// look carries out a read of the tables.
func look[R any](ctx context.Context, s *Store, what string, read func(context.Context, tables.Tx) (R, error)) (result R, err error) {
	err = s.query(ctx, what, s.timeout, func(ctx context.Context, q querier) (err error) {
		result, err = read(ctx, tx{&s.numbers, q})
		return err
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
		return none, fmt.Errorf("postgres: %s: %w", what, err)
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
