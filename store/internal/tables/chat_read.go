package tables

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

const (
	versionsOf = `CASE WHEN g.version IS NOT NULL THEN g.version ELSE coalesce(v.version, 0) END`

	sqlVersion = `
SELECT 0, ` + versionsOf + ` FROM (SELECT CAST(? AS BLOB) AS channel) AS w
LEFT JOIN group_size AS g ON g.channel = w.channel LEFT JOIN conversation AS v ON v.channel = w.channel`

	sqlVersions = `
SELECT w.place, ` + versionsOf + ` FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(channel, place)
LEFT JOIN LATERAL (SELECT version FROM group_size WHERE channel = w.channel OFFSET 0) AS g ON true
LEFT JOIN LATERAL (SELECT version FROM conversation WHERE channel = w.channel OFFSET 0) AS v ON true`

	sqlBlocks = `
SELECT b.peer, b.since FROM peer_block AS b WHERE (b.user_id, b.peer) > (?, ?) AND (b.user_id, b.peer) < (?, ?)
ORDER BY b.user_id, b.peer LIMIT CAST(? AS bigint)`

	sqlAlerts = `
SELECT a.channel, a.seq FROM alert AS a WHERE (a.channel, a.seq) > (?, ?) ORDER BY a.channel, a.seq LIMIT CAST(? AS bigint)`
)

// Conversations implements [store.ChatReader].
func (r Reader) Conversations(ctx context.Context, q store.ConversationQuery) (store.ConversationPage, error) {
	return page(ctx, r, "conversations", q.Limit, func(ctx context.Context, tx Tx) (store.ConversationPage, error) {
		return conversations(ctx, tx, q)
	})
}

// Conversation implements [store.ChatReader].
func (r Reader) Conversation(ctx context.Context, channel, user string) (store.Conversation, error) {
	list, err := look(ctx, r, "conversations", func(ctx context.Context, tx Tx) ([]store.Conversation, error) {
		return conversation(ctx, tx, channel, user)
	})
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Conversation{}, err
	}
	return list[0], nil
}

// Roster implements [store.ChatReader].
func (r Reader) Roster(ctx context.Context, channel, after string, limit int) ([]store.RosterMember, error) {
	return page(ctx, r, "roster", limit, func(ctx context.Context, tx Tx) (roster []store.RosterMember, err error) {
		err = tx.Query(ctx, sqlRoster, func(scan Scan) error {
			roster = append(roster, store.RosterMember{})
			return scanMember(scan, &roster[len(roster)-1])
		}, []byte(channel), []byte(after), next(channel), []byte{}, int64(limit))
		return roster, err
	})
}

// RosterMembers implements [store.ChatReader].
func (r Reader) RosterMembers(ctx context.Context, channel string, users ...string) ([]store.RosterMember, error) {
	return look(ctx, r, "roster", func(ctx context.Context, tx Tx) ([]store.RosterMember, error) {
		return rosterOf(ctx, tx, channel, users...)
	})
}

// RosterVersions implements [store.ChatReader].
func (r Reader) RosterVersions(ctx context.Context, channels ...string) ([]uint64, error) {
	return look(ctx, r, "roster", func(ctx context.Context, tx Tx) ([]uint64, error) {
		versions := make([]uint64, len(channels))
		var n int64
		err := lookup(ctx, tx, sqlVersion, sqlVersions, nil, channels, []any{&n}, func(i int) { versions[i] = uint64(n) })
		return versions, err
	})
}

// Group implements [store.ChatReader].
func (r Reader) Group(ctx context.Context, channel string) (*store.GroupSettings, error) {
	return look(ctx, r, "group", func(ctx context.Context, tx Tx) (*store.GroupSettings, error) {
		return groupOf(ctx, tx, channel)
	})
}

// Blocks implements [store.ChatReader].
func (r Reader) Blocks(ctx context.Context, user, after string, limit int) ([]store.Member, error) {
	return page(ctx, r, "blocks", limit, func(ctx context.Context, tx Tx) (list []store.Member, err error) {
		err = tx.Query(ctx, sqlBlocks, func(scan Scan) error {
			var peer []byte
			var since int64
			err := scan(&peer, &since)
			list = append(list, store.Member{User: string(peer), Since: since})
			return err
		}, []byte(user), []byte(after), next(user), []byte{}, int64(limit))
		return list, err
	})
}

// Blocking implements [store.ChatReader].
func (r Reader) Blocking(ctx context.Context, user string, peers ...string) (has, is []bool, err error) {
	_, err = look(ctx, r, "blocks", func(ctx context.Context, tx Tx) (_ struct{}, err error) {
		has, is, err = blocking(ctx, tx, user, peers)
		return struct{}{}, err
	})
	if err != nil {
		return nil, nil, err
	}
	return has, is, nil
}

// Alerts implements [store.ChatReader].
func (r Reader) Alerts(ctx context.Context, after store.Alert, limit int) ([]store.Alert, error) {
	return page(ctx, r, "alerts", limit, func(ctx context.Context, tx Tx) (list []store.Alert, err error) {
		err = tx.Query(ctx, sqlAlerts, func(scan Scan) error {
			var channel []byte
			var seq int64
			err := scan(&channel, &seq)
			list = append(list, store.Alert{Channel: string(channel), Seq: uint64(seq)})
			return err
		}, []byte(after.Channel), int64(min(after.Seq, 1<<63-1)), int64(limit))
		return list, err
	})
}
