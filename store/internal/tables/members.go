package tables

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

// Both orders of member have an index, (channel, user_id) and (user_id,
// channel), and each gives what the other does, only from end to end. Comparing
// whole rows leaves no choice: the order of the columns is that of one index.
const (
	sqlMembers = `
SELECT user_id, since FROM member
WHERE (channel, user_id) > (?, ?) AND (channel, user_id) < (?, ?)
ORDER BY channel, user_id LIMIT CAST(? AS bigint)`

	sqlMemberships = `
SELECT channel, since FROM member
WHERE (user_id, channel) > (?, ?) AND (user_id, channel) < (?, ?)
ORDER BY user_id, channel LIMIT CAST(? AS bigint)`

	sqlIsMember = `SELECT 0 FROM member WHERE channel = ? AND user_id = ?`

	sqlAreMembers = `
SELECT w.place FROM (SELECT CAST(? AS bytea) AS channel) AS c CROSS JOIN unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT since FROM member WHERE channel = c.channel AND user_id = w.user_id OFFSET 0) AS m`

	sqlAdd = `INSERT INTO member (channel, user_id, since) VALUES (?, ?, ?) ON CONFLICT (channel, user_id) DO NOTHING`

	sqlAddAll = `
INSERT INTO member (channel, user_id, since)
SELECT CAST(? AS bytea), w.user_id, CAST(? AS bigint) FROM unnest(CAST(? AS bytea[])) AS w(user_id) ORDER BY w.user_id
ON CONFLICT (channel, user_id) DO NOTHING RETURNING user_id`

	sqlRemove = `DELETE FROM member WHERE channel = ? AND user_id = ?`

	// Its rows were locked before: a mark that somebody moves meanwhile would have one be
	// passed over.
	sqlRemoveAll = `
DELETE FROM member WHERE ctid = ANY (ARRAY(
	SELECT m.ctid FROM (SELECT CAST(? AS bytea) AS channel) AS c CROSS JOIN unnest(CAST(? AS bytea[])) AS w(user_id)
	CROSS JOIN LATERAL (SELECT ctid FROM member WHERE channel = c.channel AND user_id = w.user_id OFFSET 0) AS m
)) RETURNING user_id`

	sqlEnsureSize = `INSERT INTO group_size (channel, n) VALUES (?, 0) ON CONFLICT (channel) DO NOTHING`

	// The update that changes nothing locks what is there.
	sqlEnsureSizes = `
INSERT INTO group_size (channel, n)
SELECT w.channel, 0 FROM unnest(CAST(? AS bytea[])) AS w(channel) ORDER BY w.channel
ON CONFLICT (channel) DO UPDATE SET n = group_size.n`

	sqlDropEmpty = `DELETE FROM group_size WHERE channel = ? AND n = 0`

	sqlDropAllEmpty = `DELETE FROM group_size WHERE channel = ANY (CAST(? AS bytea[])) AND n = 0`

	sqlSize = `SELECT n FROM group_size WHERE channel = ?`

	sqlCount = `SELECT 0, n FROM group_size WHERE channel = ?`

	sqlCounts = `
SELECT w.place, g.n FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(channel, place)
CROSS JOIN LATERAL (SELECT n FROM group_size WHERE channel = w.channel OFFSET 0) AS g`

	sqlGroups = `SELECT channel, n FROM group_size WHERE channel >= ? AND channel < ? ORDER BY channel LIMIT CAST(? AS bigint)`
)

// ensureSizes sees to it that channels have a row for their size, which nobody
// else changes until the end of the transaction.
func ensureSizes(ctx context.Context, tx Tx, channels []string) error {
	if tx.Dialect() == PostgreSQL && len(channels) > 0 {
		_, err := tx.Exec(ctx, sqlEnsureSizes, list(channels))
		return err
	}
	for _, c := range channels {
		if _, err := tx.Exec(ctx, sqlEnsureSize, []byte(c)); err != nil {
			return err
		}
	}
	return nil
}

// dropEmpty deletes the sizes of channels that have no members.
func dropEmpty(ctx context.Context, tx Tx, channels []string) error {
	if tx.Dialect() == PostgreSQL && len(channels) > 0 {
		_, err := tx.Exec(ctx, sqlDropAllEmpty, list(channels))
		return err
	}
	for _, c := range channels {
		if _, err := tx.Exec(ctx, sqlDropEmpty, []byte(c)); err != nil {
			return err
		}
	}
	return nil
}

func addMembers(ctx context.Context, tx Tx, c store.AddMembers) (store.Result, error) {
	began, err := each(ctx, tx, distinct(c.Users), func(user string) (int64, error) {
		return tx.Exec(ctx, sqlAdd, []byte(c.Channel), []byte(user), c.Time)
	}, sqlAddAll, []byte(c.Channel), c.Time)
	if err != nil {
		return nil, err
	}
	return changed(ctx, tx, c.Channel, began, len(began))
}

func removeMembers(ctx context.Context, tx Tx, c store.RemoveMembers) (store.Result, error) {
	users, err := leaving(ctx, tx, c.Channel, c.Users, c.Some)
	if err != nil {
		return nil, err
	}
	ended, err := remove(ctx, tx, c.Channel, users)
	if err != nil {
		return nil, err
	}
	return changed(ctx, tx, c.Channel, ended, -len(ended))
}

// leaving gives the users of a command that ends memberships.
func leaving(ctx context.Context, tx Tx, channel string, named []string, some int) ([]string, error) {
	users := distinct(named)
	if some == 0 {
		return users, nil
	}
	first, err := members(ctx, tx, channel, "", some)
	for _, m := range first {
		users = append(users, m.User)
	}
	return users, err
}

// remove ends memberships and gives whose it were.
func remove(ctx context.Context, tx Tx, channel string, users []string) ([]string, error) {
	if err := lockRoster(ctx, tx, channel, users); err != nil {
		return nil, err
	}
	return each(ctx, tx, users, func(user string) (int64, error) {
		return tx.Exec(ctx, sqlRemove, []byte(channel), []byte(user))
	}, sqlRemoveAll, []byte(channel))
}

// each changes something about users and gives those for whom it changed, in
// their order: one by one, or all with the list as the last argument.
func each(ctx context.Context, tx Tx, users []string, one func(user string) (int64, error), all string, args ...any) (done []string, err error) {
	if tx.Dialect() == SQLite {
		for _, u := range users {
			n, err := one(u)
			if err != nil {
				return nil, err
			}
			if n > 0 {
				done = append(done, u)
			}
		}
		return done, nil
	}
	if len(users) == 0 {
		return nil, nil
	}
	told := make(map[string]struct{}, len(users))
	if err := tx.Query(ctx, all, func(scan Scan) error {
		var user []byte
		if err := scan(&user); err != nil {
			return err
		}
		told[string(user)] = struct{}{}
		return nil
	}, append(args, list(users))...); err != nil {
		return nil, err
	}
	for _, u := range users {
		if _, changed := told[u]; changed {
			done = append(done, u)
		}
	}
	return done, nil
}

// changed notes the new size of a channel.
func changed(ctx context.Context, tx Tx, channel string, users []string, by int) (store.Result, error) {
	var n int64
	var err error
	if by == 0 {
		n, err = number(ctx, tx, sqlSize, []byte(channel))
	} else {
		n, err = grow(ctx, tx, channel, by)
	}
	return store.MembersChanged{Users: users, Count: n}, err
}

// members is that of [store.MemberReader].
func members(ctx context.Context, tx Tx, channel, after string, limit int) (members []store.Member, err error) {
	err = tx.Query(ctx, sqlMembers, func(scan Scan) error {
		var user []byte
		var since int64
		if err := scan(&user, &since); err != nil {
			return err
		}
		members = append(members, store.Member{User: string(user), Since: since})
		return nil
	}, []byte(channel), []byte(after), next(channel), []byte{}, int64(limit))
	return members, err
}

// memberships is that of [store.MemberReader].
func memberships(ctx context.Context, tx Tx, user, after string, limit int) (memberships []store.Membership, err error) {
	err = tx.Query(ctx, sqlMemberships, func(scan Scan) error {
		var channel []byte
		var since int64
		if err := scan(&channel, &since); err != nil {
			return err
		}
		memberships = append(memberships, store.Membership{Channel: string(channel), Since: since})
		return nil
	}, []byte(user), []byte(after), next(user), []byte{}, int64(limit))
	return memberships, err
}

// areMembers is that of [store.MemberReader].
func areMembers(ctx context.Context, tx Tx, channel string, users []string) ([]bool, error) {
	is := make([]bool, len(users))
	err := lookup(ctx, tx, sqlIsMember, sqlAreMembers, []any{[]byte(channel)}, users, nil, func(i int) { is[i] = true })
	return is, err
}

// memberCounts is that of [store.MemberReader].
func memberCounts(ctx context.Context, tx Tx, channels []string) ([]int64, error) {
	counts := make([]int64, len(channels))
	var n int64
	err := lookup(ctx, tx, sqlCount, sqlCounts, nil, channels, []any{&n}, func(i int) { counts[i] = n })
	return counts, err
}

// groups is that of [store.MemberReader].
func groups(ctx context.Context, tx Tx, prefix, after string, limit int) (groups []store.Group, err error) {
	low, high := within(prefix, after)
	err = tx.Query(ctx, sqlGroups, func(scan Scan) error {
		var channel []byte
		var n int64
		if err := scan(&channel, &n); err != nil {
			return err
		}
		groups = append(groups, store.Group{Channel: string(channel), Members: n})
		return nil
	}, low, high, int64(limit))
	return groups, err
}
