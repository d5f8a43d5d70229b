package tables

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

// What is kept of memberships, and of channels for their sake.
const (
	memberColumns = `m.user_id, m.since, m.role, m.hidden, m.delivered, m.read, m.alerts`

	sqlMember = `SELECT 0, ` + memberColumns + ` FROM member AS m WHERE m.channel = ? AND m.user_id = ?`

	sqlAllMembers = `
SELECT w.place, ` + memberColumns + ` FROM (SELECT CAST(? AS bytea) AS channel) AS c CROSS JOIN unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT * FROM member WHERE channel = c.channel AND user_id = w.user_id OFFSET 0) AS m`

	sqlRoster = `
SELECT ` + memberColumns + ` FROM member AS m
WHERE (m.channel, m.user_id) > (?, ?) AND (m.channel, m.user_id) < (?, ?)
ORDER BY m.channel, m.user_id LIMIT CAST(? AS bigint)`

	// Whoever changes or deletes several rows of members has locked them in this order.
	sqlLockMembers = `
SELECT count(*) FROM (
	SELECT w.channel, w.user_id FROM unnest(CAST(? AS bytea[]), CAST(? AS bytea[])) AS w(channel, user_id) ORDER BY w.channel, w.user_id OFFSET 0
) AS o CROSS JOIN LATERAL (SELECT since FROM member WHERE channel = o.channel AND user_id = o.user_id OFFSET 0 FOR NO KEY UPDATE) AS m`

	// In SQLite the name of a channel is a text, and its row may be behind its messages.
	topSQLite   = `SELECT top FROM head WHERE name = CAST(? AS TEXT)`
	topPostgres = `SELECT top FROM channel WHERE name = ?`

	sqlNextRoster = `UPDATE counter SET n = n + 1 WHERE name = 'roster'`
	lastRoster    = `(SELECT c.n FROM counter AS c WHERE c.name = 'roster')`
	nextRoster    = `nextval('roster_version')`

	resize         = `UPDATE group_size SET n = n + ?, version = `
	resized        = ` WHERE channel = ? RETURNING n`
	resizeSQLite   = resize + lastRoster + resized
	resizePostgres = resize + nextRoster + resized

	sqlGroup = `SELECT v.data, v.rule FROM conversation AS v WHERE v.channel = ?`

	putGroupHead     = `INSERT INTO conversation (channel, data, rule, created, version) VALUES (?, ?, ?, ?, `
	putGroupTail     = `) ON CONFLICT (channel) DO UPDATE SET data = excluded.data, rule = excluded.rule, version = excluded.version`
	putGroupSQLite   = putGroupHead + lastRoster + putGroupTail
	putGroupPostgres = putGroupHead + nextRoster + putGroupTail

	sqlDropGroup = `DELETE FROM conversation WHERE channel = ?`
)

// scanMember reads a row with memberColumns behind what else it has.
func scanMember(scan Scan, m *store.RosterMember, before ...any) error {
	var user []byte
	var role, hidden, delivered, read, alerts int64
	columns := [24]any{}
	if err := scan(append(append(columns[:0], before...), &user, &m.Since, &role, &hidden, &delivered, &read, &alerts)...); err != nil {
		return err
	}
	m.User, m.Role, m.Alerts = string(user), store.Role(role), store.AlertLevel(alerts)
	m.Hidden, m.Delivered, m.Read = uint64(hidden), uint64(delivered), uint64(read)
	return nil
}

// rosterOf gives what users are in a channel, in order; who is no member is zero.
func rosterOf(ctx context.Context, tx Tx, channel string, users ...string) ([]store.RosterMember, error) {
	roster := make([]store.RosterMember, len(users))
	if tx.Dialect() == PostgreSQL {
		return roster, tx.Query(ctx, sqlAllMembers, func(scan Scan) error {
			var place int64
			var m store.RosterMember
			err := scanMember(scan, &m, &place)
			if err == nil {
				roster[place-1] = m
			}
			return err
		}, []byte(channel), list(users))
	}
	for i, user := range users {
		var place int64
		if err := tx.Query(ctx, sqlMember, func(scan Scan) error { return scanMember(scan, &roster[i], &place) }, []byte(channel), []byte(user)); err != nil {
			return nil, err
		}
	}
	return roster, nil
}

// lockMembers has nobody else change or delete memberships until the end of the
// transaction: those of users[i] in channels[i].
func lockMembers(ctx context.Context, tx Tx, channels, users []string) error {
	if tx.Dialect() == SQLite || len(users) == 0 {
		return nil
	}
	_, err := number(ctx, tx, sqlLockMembers, list(channels), list(users))
	return err
}

// lockRoster is lockMembers for one channel.
func lockRoster(ctx context.Context, tx Tx, channel string, users []string) error {
	channels := make([]string, len(users))
	for i := range channels {
		channels[i] = channel
	}
	return lockMembers(ctx, tx, channels, users)
}

// topOf tells where a channel ends.
func topOf(ctx context.Context, tx Tx, channel string) (int64, error) {
	return number(ctx, tx, dialect(tx, topSQLite, topPostgres), []byte(channel))
}

// turn has the next version of a roster or of settings be another one.
func turn(ctx context.Context, tx Tx) error {
	if tx.Dialect() == PostgreSQL {
		return nil // there the statement takes the number itself
	}
	_, err := tx.Exec(ctx, sqlNextRoster)
	return err
}

// grow notes that the roster of a channel has changed, and by how many members it has
// grown. With its last member what is kept about a group goes, too.
func grow(ctx context.Context, tx Tx, channel string, by int) (n int64, err error) {
	if err := turn(ctx, tx); err != nil {
		return 0, err
	}
	n, err = number(ctx, tx, dialect(tx, resizeSQLite, resizePostgres), int64(by), []byte(channel))
	if err == nil && n == 0 && by < 0 {
		_, err = tx.Exec(ctx, sqlDropGroup, []byte(channel))
	}
	return n, err
}

// groupOf gives what is kept about a group; nil: nothing is.
func groupOf(ctx context.Context, tx Tx, channel string) (g *store.GroupSettings, err error) {
	err = tx.Query(ctx, sqlGroup, func(scan Scan) error {
		var data []byte
		var rule int64
		if err := scan(&data, &rule); err != nil {
			return err
		}
		g = &store.GroupSettings{Data: emptyIsNil(data), Join: store.JoinRule(rule)}
		return nil
	}, []byte(channel))
	return g, err
}

// keepGroup writes what is kept about a group.
func keepGroup(ctx context.Context, tx Tx, channel string, g *store.GroupSettings, at int64) error {
	if err := turn(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, dialect(tx, putGroupSQLite, putGroupPostgres), []byte(channel), orNull(emptyIsNil(g.Data)), int64(g.Join), at)
	return err
}
