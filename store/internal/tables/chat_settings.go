package tables

import (
	"bytes"
	"cmp"
	"context"

	"github.com/skein-realtime/skein/store"
)

const (
	sqlSetAlerts = `UPDATE member SET alerts = ? WHERE channel = ? AND user_id = ?`

	sqlBlock   = `INSERT INTO peer_block (user_id, peer, since) VALUES (?, ?, ?) ON CONFLICT (user_id, peer) DO NOTHING`
	sqlUnblock = `DELETE FROM peer_block WHERE user_id = ? AND peer = ?`

	// Whom he has blocked, and who has blocked him.
	sqlBlocking = `
SELECT 0, CASE WHEN EXISTS (SELECT 1 FROM peer_block AS b WHERE b.user_id = w.me AND b.peer = w.peer) THEN 1 ELSE 0 END,
	CASE WHEN EXISTS (SELECT 1 FROM peer_block AS b WHERE b.user_id = w.peer AND b.peer = w.me) THEN 1 ELSE 0 END
FROM (SELECT CAST(? AS BLOB) AS me, CAST(? AS BLOB) AS peer) AS w`

	sqlAllBlocking = `
SELECT w.place, CASE WHEN (SELECT since FROM peer_block WHERE user_id = c.me AND peer = w.peer) IS NOT NULL THEN 1 ELSE 0 END,
	CASE WHEN (SELECT since FROM peer_block WHERE user_id = w.peer AND peer = c.me) IS NOT NULL THEN 1 ELSE 0 END
FROM (SELECT CAST(? AS bytea) AS me) AS c CROSS JOIN unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(peer, place)`

	sqlForgetBlocks = `DELETE FROM peer_block WHERE user_id = ?`

	sqlForgetAllBlocks = `
DELETE FROM peer_block WHERE ctid = ANY (ARRAY(
	SELECT b.ctid FROM unnest(CAST(? AS bytea[])) AS w(user_id) CROSS JOIN LATERAL (SELECT ctid FROM peer_block WHERE user_id = w.user_id OFFSET 0) AS b
))`

	sqlAlertDone = `DELETE FROM alert WHERE channel = ? AND seq = ?`

	sqlAlertsDone = `
DELETE FROM alert WHERE ctid = ANY (ARRAY(
	SELECT a.ctid FROM unnest(CAST(? AS bytea[]), CAST(? AS bigint[])) AS w(channel, seq)
	CROSS JOIN LATERAL (SELECT ctid FROM alert WHERE channel = w.channel AND seq = w.seq OFFSET 0) AS a
))`
)

func setAlerts(ctx context.Context, tx Tx, c *store.SetAlerts) (store.Result, error) {
	there, err := rosterOf(ctx, tx, c.Channel, c.User)
	if err != nil {
		return nil, err
	}
	if there[0].User == "" {
		return nil, store.ErrNotFound
	}
	r := store.AlertsSet{Was: there[0].Alerts}
	if r.Was == c.Level {
		return r, nil
	}
	if _, err := tx.Exec(ctx, sqlSetAlerts, int64(c.Level), []byte(c.Channel), []byte(c.User)); err != nil {
		return nil, err
	}
	_, err = grow(ctx, tx, c.Channel, 0)
	return r, err
}

func putGroup(ctx context.Context, tx Tx, c *store.PutGroup) (store.Result, error) {
	size, err := number(ctx, tx, sqlSize, []byte(c.Channel))
	if err != nil {
		return nil, err
	}
	was, err := groupOf(ctx, tx, c.Channel)
	if err != nil {
		return nil, err
	}
	if c.By != "" {
		if was == nil && size == 0 {
			return nil, store.ErrNotFound
		}
		by, err := rosterOf(ctx, tx, c.Channel, c.By)
		if err != nil {
			return nil, err
		}
		needed := store.RoleReader
		if c.Data != nil {
			needed = store.RoleAdmin
		}
		if c.Join != 0 {
			needed = store.RoleOwner
		}
		if by[0].Role < needed {
			return nil, store.ErrDenied
		}
	}
	g := store.GroupSettings{Join: store.JoinAdmins}
	if was != nil {
		g = *was
	}
	if c.Data != nil {
		g.Data = bytes.Clone(plain(c.Data)) // that is the caller's
	}
	g.Join = cmp.Or(c.Join, g.Join)
	if was != nil && g.Join == was.Join && bytes.Equal(g.Data, was.Data) {
		return store.GroupPut{GroupSettings: g}, nil
	}
	if err := keepGroup(ctx, tx, c.Channel, &g, c.Time); err != nil {
		return nil, err
	}
	if size > 0 {
		_, err = grow(ctx, tx, c.Channel, 0)
	}
	return store.GroupPut{GroupSettings: g}, err
}

func blockPeer(ctx context.Context, tx Tx, c *store.BlockPeer) (store.Result, error) {
	var n int64
	var err error
	if c.Blocked {
		n, err = tx.Exec(ctx, sqlBlock, []byte(c.User), []byte(c.Peer), c.Time)
	} else {
		n, err = tx.Exec(ctx, sqlUnblock, []byte(c.User), []byte(c.Peer))
	}
	return store.PeerBlocked{Changed: n > 0}, err
}

// blocking tells of each peer whether user has blocked him, and whether he has blocked
// user.
func blocking(ctx context.Context, tx Tx, user string, peers []string) (has, is []bool, err error) {
	has, is = make([]bool, len(peers)), make([]bool, len(peers))
	var one, other int64
	err = lookup(ctx, tx, sqlBlocking, sqlAllBlocking, []any{[]byte(user)}, peers, []any{&one, &other}, func(i int) {
		has[i], is[i] = one == 1, other == 1
	})
	return has, is, err
}

// forgetBlocks deletes whom users have blocked.
func forgetBlocks(ctx context.Context, tx Tx, users []string) error {
	if tx.Dialect() == PostgreSQL {
		_, err := tx.Exec(ctx, sqlForgetAllBlocks, list(users))
		return err
	}
	for _, u := range users {
		if _, err := tx.Exec(ctx, sqlForgetBlocks, []byte(u)); err != nil {
			return err
		}
	}
	return nil
}

func alertsDone(ctx context.Context, tx Tx, c *store.AlertsDone) (store.Result, error) {
	channels, seqs := make([][]byte, len(c.Alerts)), make([]int64, len(c.Alerts))
	for i, a := range c.Alerts {
		channels[i], seqs[i] = []byte(a.Channel), int64(a.Seq)
	}
	return store.AlertsForgotten{}, execRows(ctx, tx, sqlAlertDone, sqlAlertsDone, channels, seqs)
}
