package tables

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

// Bounds of secrets, in bytes.
const (
	maxSecretName = 256
	maxSecret     = 4 << 10
)

// Changes of secrets take turns, so what is read is still so when it is written.
const (
	sqlLockSecret = `UPDATE counter SET n = n WHERE name = 'secret'`

	sqlSecret = `SELECT value, expires FROM secret WHERE name = ?`

	sqlPutSecret = `
INSERT INTO secret (name, value, expires) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires = excluded.expires`

	sqlTakeSecret = `DELETE FROM secret WHERE name = ?`

	sqlTrimSecrets = `DELETE FROM secret WHERE name IN (SELECT x.name FROM secret AS x WHERE x.expires > 0 AND x.expires <= ? ORDER BY x.expires LIMIT CAST(? AS bigint))`
	trimAllSecrets = `
DELETE FROM secret WHERE name = ANY (ARRAY(
	SELECT x.name FROM secret AS x WHERE x.expires > 0 AND x.expires <= ? ORDER BY x.expires LIMIT CAST(? AS bigint) FOR UPDATE SKIP LOCKED
))`
)

func putSecret(ctx context.Context, tx Tx, c store.PutSecret) (store.Result, error) {
	was, there, err := oneSecret(ctx, tx, c.Name)
	if err != nil {
		return nil, err
	}
	there = there && !expired(was.Expires, c.Now)
	if there && c.IfAbsent {
		return store.SecretPut{Secret: was}, nil
	}
	_, err = tx.Exec(ctx, sqlPutSecret, []byte(c.Name), filled(c.Value), c.Expires)
	now := c.Secret
	now.Value = emptyIsNil(now.Value)
	return store.SecretPut{Secret: now, Created: !there}, err
}

func takeSecret(ctx context.Context, tx Tx, c store.TakeSecret) (store.Result, error) {
	was, there, err := oneSecret(ctx, tx, c.Name)
	if err != nil {
		return nil, err
	}
	if !there || expired(was.Expires, c.Now) {
		return nil, store.ErrNotFound
	}
	n, err := tx.Exec(ctx, sqlTakeSecret, []byte(c.Name))
	if err == nil && n == 0 {
		return nil, store.ErrNotFound // retention was there first, by a clock that is ahead
	}
	return store.SecretTaken{Secret: was}, err
}

// expired tells whether something that ends by itself has.
func expired(expires, now int64) bool { return expires > 0 && expires <= now }

func oneSecret(ctx context.Context, tx Tx, name string) (s store.Secret, there bool, err error) {
	err = tx.Query(ctx, sqlSecret, func(scan Scan) error {
		there = true
		s.Name = name
		return scan(&s.Value, &s.Expires)
	}, []byte(name))
	s.Value = emptyIsNil(s.Value)
	return s, there, err
}

// trimSecrets deletes those that have expired, at most so many, and tells how many.
func trimSecrets(ctx context.Context, tx Tx, now int64, budget int) (int, error) {
	query := sqlTrimSecrets
	if tx.Dialect() == PostgreSQL {
		query = trimAllSecrets
	}
	n, err := tx.Exec(ctx, query, now, int64(budget))
	return int(n), err
}

// Secret implements [store.AuditReader].
func (r Reader) Secret(ctx context.Context, name string) (found store.Secret, err error) {
	var there bool
	found, err = look(ctx, r, "secrets", func(ctx context.Context, tx Tx) (s store.Secret, err error) {
		s, there, err = oneSecret(ctx, tx, name)
		return s, err
	})
	if err == nil && !there {
		err = store.ErrNotFound
	}
	return found, err
}
