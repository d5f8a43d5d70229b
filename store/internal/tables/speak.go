package tables

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

// What a member's own message takes, for the one writer of SQLite. PostgreSQL does the
// same for a whole batch in the statement that appends it (store/postgres/author.go).
const (
	sqlSpeaker = `SELECT m.role FROM member AS m WHERE m.channel = ? AND m.user_id = ?`

	sqlPair = `
SELECT coalesce((SELECT m.role FROM member AS m WHERE m.channel = w.channel AND m.user_id = w.one), 0),
	coalesce((SELECT m.role FROM member AS m WHERE m.channel = w.channel AND m.user_id = w.two), 0),
	EXISTS (SELECT 1 FROM peer_block AS b WHERE b.user_id = w.one AND b.peer = w.two) OR EXISTS (SELECT 1 FROM peer_block AS b WHERE b.user_id = w.two AND b.peer = w.one)
FROM (SELECT CAST(? AS BLOB) AS channel, CAST(? AS BLOB) AS one, CAST(? AS BLOB) AS two) AS w`

	// The author's marks: nothing is newer than his message.
	sqlSpoken = `UPDATE member SET delivered = ?, read = ? WHERE channel = ? AND user_id = ?`

	sqlAlert = `INSERT INTO alert (channel, seq) VALUES (?, ?) ON CONFLICT (channel, seq) DO NOTHING`
)

// Speaks tells whether the author of an append may write, and makes the two users of a
// direct channel its members. With [store.ErrDenied] it has changed nothing.
func Speaks(ctx context.Context, tx Tx, a *store.Append) (began bool, err error) {
	by := a.Author
	if len(by.Direct) == 0 {
		if by.User == "" {
			return false, nil
		}
		role, err := number(ctx, tx, sqlSpeaker, []byte(a.Channel), []byte(by.User))
		if err == nil && store.Role(role) < store.RoleMember {
			err = store.ErrDenied
		}
		return false, err
	}
	var roles [2]int64
	var blocked int64
	if err := tx.Query(ctx, sqlPair, func(scan Scan) error { return scan(&roles[0], &roles[1], &blocked) },
		[]byte(a.Channel), []byte(by.Direct[0]), []byte(by.Direct[1])); err != nil {
		return false, err
	}
	if by.User != "" {
		own := roles[0]
		if by.User == by.Direct[1] {
			own = roles[1]
		} else if by.User != by.Direct[0] {
			return false, store.ErrDenied
		}
		if blocked != 0 || own != 0 && store.Role(own) < store.RoleMember {
			return false, store.ErrDenied
		}
	}
	var missing []string
	for i, role := range roles {
		if role == 0 {
			missing = append(missing, by.Direct[i])
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	return true, begin(ctx, tx, a, missing)
}

// begin makes the users of a direct channel its members.
func begin(ctx context.Context, tx Tx, a *store.Append, users []string) error {
	if err := ensureSizes(ctx, tx, []string{a.Channel}); err != nil {
		return err
	}
	for _, u := range users {
		if _, err := tx.Exec(ctx, sqlAdd, []byte(a.Channel), []byte(u), a.Time); err != nil {
			return err
		}
	}
	_, err := grow(ctx, tx, a.Channel, len(users))
	return err
}

// Spoken notes what follows when the author's message has got its seq.
func Spoken(ctx context.Context, tx Tx, a *store.Append, seq uint64) error {
	if a.Author.User != "" {
		if _, err := tx.Exec(ctx, sqlSpoken, int64(seq), int64(seq), []byte(a.Channel), []byte(a.Author.User)); err != nil {
			return err
		}
	}
	if !a.Author.Alert {
		return nil
	}
	_, err := tx.Exec(ctx, sqlAlert, []byte(a.Channel), int64(seq))
	return err
}
