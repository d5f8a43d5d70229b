package tables

import (
	"cmp"
	"context"
	"slices"

	"github.com/skein-realtime/skein/store"
)

const (
	sqlAdmit = `
INSERT INTO member (channel, user_id, since, role, hidden, delivered, read) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (channel, user_id) DO NOTHING`

	sqlAdmitAll = `
INSERT INTO member (channel, user_id, since, role, hidden, delivered, read)
SELECT c.channel, w.user_id, c.since, c.role, c.hidden, c.head, c.head
FROM (SELECT CAST(? AS bytea) AS channel, CAST(? AS bigint) AS since, CAST(? AS bigint) AS role, CAST(? AS bigint) AS hidden, CAST(? AS bigint) AS head) AS c
CROSS JOIN unnest(CAST(? AS bytea[])) AS w(user_id) ORDER BY w.user_id
ON CONFLICT (channel, user_id) DO NOTHING RETURNING user_id`

	sqlOwner = `SELECT m.user_id FROM member AS m WHERE m.channel = ? AND m.role = 4 LIMIT 1`

	// The greatest role, and of those the one who has been there for longest.
	sqlHeir = `SELECT m.user_id FROM member AS m WHERE m.channel = ? ORDER BY m.role DESC, m.since, m.user_id LIMIT 1`

	sqlSetRole = `UPDATE member SET role = ? WHERE channel = ? AND user_id = ?`
)

func admit(ctx context.Context, tx Tx, c *store.Admit) (store.Result, error) {
	users := distinct(c.Users)
	owner := ""
	if c.Create != nil && c.By != "" {
		owner = c.By
		users = slices.DeleteFunc(users, func(u string) bool { return u == owner })
	}
	size, err := number(ctx, tx, sqlSize, []byte(c.Channel))
	if err != nil {
		return nil, err
	}
	if err := mayAdmit(ctx, tx, c, users, size); err != nil {
		return nil, err
	}
	fresh, refused, err := newcomers(ctx, tx, c, users)
	if err != nil {
		return nil, err
	}
	count := size + int64(len(fresh))
	if owner != "" {
		count++
	}
	if c.Most > 0 && count > c.Most && count > size {
		return nil, store.ErrTooLarge
	}
	if c.Create != nil {
		g := store.GroupSettings{Data: plain(c.Create.Data), Join: cmp.Or(c.Create.Join, store.JoinAdmins)}
		if err := keepGroup(ctx, tx, c.Channel, &g, c.Time); err != nil {
			return nil, err
		}
	}
	r := store.Admitted{Refused: refused, Count: size}
	head, err := topOf(ctx, tx, c.Channel)
	if err != nil {
		return nil, err
	}
	r.Head = uint64(head)
	if owner != "" {
		if r.Users, err = enter(ctx, tx, c, head, store.RoleOwner, []string{owner}); err != nil {
			return nil, err
		}
	}
	if len(fresh) > 0 {
		came, err := enter(ctx, tx, c, head, cmp.Or(c.Role, store.RoleMember), fresh)
		if err != nil {
			return nil, err
		}
		r.Users = append(r.Users, came...)
	}
	if len(r.Users) > 0 {
		r.Count, err = grow(ctx, tx, c.Channel, len(r.Users))
	}
	return r, err
}

// plain is JSON as it is kept: no null.
func plain(data []byte) []byte {
	if string(data) == "null" {
		return nil
	}
	return data
}

// mayAdmit tells whether users may be brought in. The owner of a group that is created is not
// among them.
func mayAdmit(ctx context.Context, tx Tx, c *store.Admit, users []string, size int64) error {
	if c.Create == nil && c.By == "" {
		return allowed(c.Role <= store.RoleAdmin)
	}
	g, err := groupOf(ctx, tx, c.Channel)
	switch {
	case err != nil:
		return err
	case c.Create != nil && (g != nil || size > 0):
		return store.ErrConflict
	case c.Create != nil:
		return allowed(c.Role <= store.RoleAdmin)
	}
	rule := store.JoinAdmins
	if g != nil {
		rule = g.Join
	}
	by, err := rosterOf(ctx, tx, c.Channel, c.By)
	if err != nil {
		return err
	}
	himself := len(users) == 1 && users[0] == c.By && rule == store.JoinOpen
	switch role := by[0].Role; {
	case role == store.RoleOwner:
		return allowed(c.Role <= store.RoleAdmin)
	case role == store.RoleAdmin, role == store.RoleMember && rule >= store.JoinMembers, himself:
		return allowed(c.Role <= store.RoleMember)
	}
	return store.ErrDenied
}

func allowed(yes bool) error {
	if yes {
		return nil
	}
	return store.ErrDenied
}

// newcomers gives those of users who are no members yet, and apart from them those who
// have blocked the one who brings them in.
func newcomers(ctx context.Context, tx Tx, c *store.Admit, users []string) (fresh, refused []string, err error) {
	there, err := rosterOf(ctx, tx, c.Channel, users...)
	if err != nil {
		return nil, nil, err
	}
	for i, u := range users {
		if there[i].User == "" {
			fresh = append(fresh, u)
		}
	}
	if c.By == "" || len(fresh) == 0 {
		return fresh, nil, nil
	}
	_, blocked, err := blocking(ctx, tx, c.By, fresh)
	if err != nil {
		return nil, nil, err
	}
	kept := fresh[:0]
	for i, u := range fresh {
		if blocked[i] {
			refused = append(refused, u)
		} else {
			kept = append(kept, u)
		}
	}
	return kept, refused, nil
}

// enter makes users members who are none.
func enter(ctx context.Context, tx Tx, c *store.Admit, head int64, role store.Role, users []string) ([]string, error) {
	hidden := head
	if c.FromStart {
		hidden = 0
	}
	return each(ctx, tx, users, func(user string) (int64, error) {
		return tx.Exec(ctx, sqlAdmit, []byte(c.Channel), []byte(user), c.Time, int64(role), hidden, head, head)
	}, sqlAdmitAll, []byte(c.Channel), c.Time, int64(role), hidden, head)
}

func dismiss(ctx context.Context, tx Tx, c *store.Dismiss) (store.Result, error) {
	users, err := leaving(ctx, tx, c.Channel, c.Users, c.Some)
	if err != nil {
		return nil, err
	}
	there, err := rosterOf(ctx, tx, c.Channel, users...)
	if err != nil {
		return nil, err
	}
	if leaves := len(users) == 1 && users[0] == c.By; c.By != "" && !leaves {
		by, err := rosterOf(ctx, tx, c.Channel, c.By)
		if err != nil {
			return nil, err
		}
		if by[0].Role < store.RoleAdmin || slices.ContainsFunc(there, func(m store.RosterMember) bool { return m.Role >= by[0].Role }) {
			return nil, store.ErrDenied
		}
	}
	r := store.Dismissed{}
	if r.Users, err = remove(ctx, tx, c.Channel, users); err != nil {
		return nil, err
	}
	if len(r.Users) == 0 {
		r.Count, err = number(ctx, tx, sqlSize, []byte(c.Channel))
		return r, err
	}
	if r.Count, err = grow(ctx, tx, c.Channel, -len(r.Users)); err != nil || r.Count == 0 {
		return r, err
	}
	if !slices.ContainsFunc(there, func(m store.RosterMember) bool { return m.Role == store.RoleOwner }) {
		return r, nil
	}
	if r.Owner, err = nameOf(ctx, tx, sqlHeir, []byte(c.Channel)); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, sqlSetRole, int64(store.RoleOwner), []byte(c.Channel), []byte(r.Owner))
	return r, err
}

// nameOf asks for one name; what has no row is "".
func nameOf(ctx context.Context, tx Tx, query string, args ...any) (string, error) {
	var name []byte
	err := tx.Query(ctx, query, func(scan Scan) error { return scan(&name) }, args...)
	return string(name), err
}

func setRole(ctx context.Context, tx Tx, c *store.SetRole) (store.Result, error) {
	there, err := rosterOf(ctx, tx, c.Channel, c.User, c.By)
	if err != nil {
		return nil, err
	}
	is, by := there[0], there[1]
	passes := c.Role == store.RoleOwner && (c.By == "" || by.Role == store.RoleOwner && c.User != c.By)
	switch {
	case c.By != "" && by.Role < store.RoleAdmin:
		return nil, store.ErrDenied
	case is.User == "":
		return nil, store.ErrNotFound
	case c.By != "" && !passes && (by.Role <= is.Role || by.Role <= c.Role):
		return nil, store.ErrDenied
	case is.Role == c.Role:
		return store.RoleSet{Was: is.Role}, nil
	}
	was := "" // the owner until now
	if passes {
		if was, err = nameOf(ctx, tx, sqlOwner, []byte(c.Channel)); err != nil {
			return nil, err
		}
	}
	changed := []string{c.User}
	if was != "" {
		changed = append(changed, was)
	}
	if err := lockRoster(ctx, tx, c.Channel, changed); err != nil {
		return nil, err
	}
	if was != "" {
		if _, err := tx.Exec(ctx, sqlSetRole, int64(store.RoleAdmin), []byte(c.Channel), []byte(was)); err != nil {
			return nil, err
		}
	}
	if _, err := tx.Exec(ctx, sqlSetRole, int64(c.Role), []byte(c.Channel), []byte(c.User)); err != nil {
		return nil, err
	}
	_, err = grow(ctx, tx, c.Channel, 0)
	return store.RoleSet{Was: is.Role}, err
}
