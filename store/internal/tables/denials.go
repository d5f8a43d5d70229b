package tables

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// dated is 1 for a denial that is about tokens issued before a time: one of each
// kind can stand for the same who.
const (
	sqlDenials = `
SELECT seq, user_id, device, token, before, reason, said, expires, lifted FROM denial
WHERE seq > ? ORDER BY seq LIMIT CAST(? AS bigint)`

	sqlDenial = `SELECT expires, lifted FROM denial WHERE user_id = ? AND device = ? AND token = ? AND dated = ?`

	sqlPutDenial = `
INSERT INTO denial (seq, user_id, device, token, dated, before, reason, said, expires, lifted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (user_id, device, token, dated) DO UPDATE SET seq = excluded.seq, before = excluded.before, reason = excluded.reason,
	said = excluded.said, expires = excluded.expires, lifted = excluded.lifted`

	sqlExpired = `SELECT seq FROM denial WHERE expires > 0 AND expires < ? ORDER BY expires LIMIT CAST(? AS bigint)`

	// One that was put anew meanwhile has another seq.
	sqlForget = `DELETE FROM denial WHERE seq = ?`

	sqlForgetAll = `DELETE FROM denial WHERE seq = ANY (CAST(? AS bigint[]))`

	sqlSaw = `
INSERT INTO seen (user_id, device, seen_at) VALUES (?, ?, ?)
ON CONFLICT (user_id) DO UPDATE SET device = excluded.device, seen_at = excluded.seen_at WHERE excluded.seen_at >= seen.seen_at`

	sqlSawAll = `
INSERT INTO seen (user_id, device, seen_at)
SELECT w.user_id, w.device, w.seen_at FROM unnest(CAST(? AS bytea[]), CAST(? AS bytea[]), CAST(? AS bigint[])) AS w(user_id, device, seen_at)
ON CONFLICT (user_id) DO UPDATE SET device = excluded.device, seen_at = excluded.seen_at WHERE excluded.seen_at >= seen.seen_at`

	sqlLastSeen = `SELECT 0, device, seen_at FROM seen WHERE user_id = ?`

	sqlLastSeenAll = `
SELECT w.place, s.device, s.seen_at FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT device, seen_at FROM seen WHERE user_id = w.user_id OFFSET 0) AS s`
)

func putDenial(ctx context.Context, tx Tx, c store.PutDenial) (store.Result, error) {
	seq, err := number(ctx, tx, sqlNextDenial)
	if err != nil {
		return nil, err
	}
	user, device, token, dated := []byte(c.User), []byte(c.Device), []byte(c.Token), flag(c.Before != 0)
	was := false
	if err := tx.Query(ctx, sqlDenial, func(scan Scan) error {
		var expires, lifted int64
		err := scan(&expires, &lifted)
		was = lifted == 0 && (expires == 0 || expires > c.Time)
		return err
	}, user, device, token, dated); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, sqlPutDenial, seq, user, device, token, dated, c.Before, []byte(c.Reason), c.Time, c.Expires, flag(c.Lifted)); err != nil {
		return nil, err
	}
	return store.DenialPut{Seq: uint64(seq), Was: was}, nil
}

func flag(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// denials is that of [store.DenialReader].
func denials(ctx context.Context, tx Tx, after uint64, limit int) (denials []store.Denial, err error) {
	err = tx.Query(ctx, sqlDenials, func(scan Scan) error {
		var d store.Denial
		var seq, lifted int64
		var user, device, token, reason []byte
		if err := scan(&seq, &user, &device, &token, &d.Before, &reason, &d.Time, &d.Expires, &lifted); err != nil {
			return err
		}
		d.Seq, d.Lifted = uint64(seq), lifted != 0
		d.User, d.Device, d.Token, d.Reason = string(user), string(device), string(token), string(reason)
		denials = append(denials, d)
		return nil
	}, int64(min(after, math.MaxInt64)), int64(limit))
	return denials, err
}

// Trim deletes denials and secrets that have expired before a time (Unix milliseconds),
// at most so many, and tells how many.
func Trim(ctx context.Context, tx Tx, now int64, budget int) (int, error) {
	n, err := trimDenials(ctx, tx, now, budget)
	if left := budget - n; err == nil && left > 0 {
		var secrets int
		secrets, err = trimSecrets(ctx, tx, now, left)
		n += secrets
	}
	return n, err
}

func trimDenials(ctx context.Context, tx Tx, now int64, budget int) (int, error) {
	var expired []int64
	if err := tx.Query(ctx, sqlExpired, func(scan Scan) error {
		var seq int64
		err := scan(&seq)
		expired = append(expired, seq)
		return err
	}, now, int64(budget)); err != nil || len(expired) == 0 {
		return 0, err
	}
	if tx.Dialect() == PostgreSQL {
		n, err := tx.Exec(ctx, sqlForgetAll, expired)
		return int(n), err
	}
	for _, seq := range expired {
		if _, err := tx.Exec(ctx, sqlForget, seq); err != nil {
			return 0, err
		}
	}
	return len(expired), nil
}

func sawUsers(ctx context.Context, tx Tx, c store.SawUsers) (store.Result, error) {
	latest := make(map[string]store.Seen, len(c.Seen))
	for _, s := range c.Seen {
		if s.Time >= latest[s.User].Time {
			latest[s.User] = s
		}
	}
	users := slices.Sorted(maps.Keys(latest))
	if tx.Dialect() == PostgreSQL {
		devices, times := make([]string, len(users)), make([]int64, len(users))
		for i, u := range users {
			devices[i], times[i] = latest[u].Device, latest[u].Time
		}
		_, err := tx.Exec(ctx, sqlSawAll, list(users), list(devices), times)
		return store.UsersSeen{}, err
	}
	for _, u := range users {
		if _, err := tx.Exec(ctx, sqlSaw, []byte(u), []byte(latest[u].Device), latest[u].Time); err != nil {
			return nil, err
		}
	}
	return store.UsersSeen{}, nil
}

// lastSeen is that of [store.DenialReader].
func lastSeen(ctx context.Context, tx Tx, users []string) ([]store.Seen, error) {
	seen := make([]store.Seen, len(users))
	for i, u := range users {
		seen[i].User = u
	}
	var device []byte
	var at int64
	err := lookup(ctx, tx, sqlLastSeen, sqlLastSeenAll, nil, users, []any{&device, &at}, func(i int) {
		seen[i].Device, seen[i].Time = string(device), at
	})
	return seen, err
}
