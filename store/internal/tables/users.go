package tables

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/skein-realtime/skein/store"
)

// Bounds of commands about users and categories.
const (
	maxPut   = 1_000
	maxBody  = 64 << 10
	maxMuted = 1_000
)

// Where attributes are JSON, the two databases have their own words for it.
const (
	sqlInsertPerson = `
INSERT INTO person (user_id, zone, created, changed, top, floor, settled, open, read, merged, attributes)
VALUES (?, ?, ?, ?, 0, 0, 0, 0, 0, (SELECT n FROM counter WHERE name = 'broadcast'), jsonb(?)) RETURNING n`

	sqlInsertPersons = `
INSERT INTO person (user_id, zone, created, changed, top, floor, settled, open, read, merged, attributes)
SELECT w.user_id, w.zone, c.at, c.changed, 0, 0, 0, 0, 0, b.n, CAST(w.attributes AS jsonb)
FROM unnest(CAST(? AS bytea[]), CAST(? AS bytea[]), CAST(? AS text[])) AS w(user_id, zone, attributes)
CROSS JOIN (SELECT CAST(? AS bigint) AS at, CAST(? AS bigint) AS changed) AS c
CROSS JOIN (SELECT n FROM counter WHERE name = 'broadcast') AS b
ORDER BY w.user_id ON CONFLICT (user_id) DO NOTHING RETURNING n, user_id`

	sqlUpdatePerson = `UPDATE person SET attributes = jsonb(?), zone = ?, changed = ? WHERE n = ?`

	// Rows that are locked stay where they are, and are found there whatever the planner
	// thinks of the table.
	sqlUpdatePersons = `
UPDATE person SET attributes = CAST(w.attributes AS jsonb), zone = w.zone, changed = w.changed
FROM (
	SELECT l.*, (SELECT p.ctid FROM person AS p WHERE p.n = l.n) AS place
	FROM unnest(CAST(? AS bigint[]), CAST(? AS bytea[]), CAST(? AS text[]), CAST(? AS bigint[])) AS l(n, zone, attributes, changed) OFFSET 0
) AS w WHERE person.ctid = w.place`

	sqlAddTag = `INSERT INTO person_tag (tag, n) VALUES (?, ?) ON CONFLICT (tag, n) DO NOTHING`

	sqlAddTags = `
INSERT INTO person_tag (tag, n)
SELECT tag, n FROM unnest(CAST(? AS bytea[]), CAST(? AS bigint[])) AS w(tag, n) ON CONFLICT (tag, n) DO NOTHING`

	sqlDropTag = `DELETE FROM person_tag WHERE tag = ? AND n = ?`

	sqlDropTags = `
DELETE FROM person_tag WHERE ctid = ANY (ARRAY(
	SELECT t.ctid FROM unnest(CAST(? AS bytea[]), CAST(? AS bigint[])) AS w(tag, n)
	CROSS JOIN LATERAL (SELECT ctid FROM person_tag WHERE tag = w.tag AND n = w.n OFFSET 0) AS t
))`

	sqlMute = `UPDATE person SET muted = ? WHERE n = ?`
)

// ourUsers gives the name of a command about users or categories; "": it is another's.
func ourUsers(c store.Command) string {
	switch c.(type) {
	case store.PutUsers:
		return "put users"
	case store.DeleteUsers:
		return "delete users"
	case store.MuteCategory:
		return "mute category"
	case store.PutCategory:
		return "put category"
	case store.DeleteCategory:
		return "delete category"
	}
	return ""
}

func checkUser(c store.Command) (size int, err error) {
	switch c := c.(type) {
	case store.PutUsers:
		return checkPuts(c)
	case store.DeleteUsers:
		if size, err = checkUsers(c.Users); err == nil && len(c.Users) > maxPut {
			err = fmt.Errorf("%s: has %d; at most %d are possible", "Users", len(c.Users), maxPut)
		}
		if err == nil {
			err = moment("Time", c.Time, 1)
		}
		return size, err
	case store.MuteCategory:
		if err := name("User", c.User, 1, maxUser); err != nil {
			return 0, err
		}
		if err := checkCategory("Category", c.Category); err != nil {
			return 0, err
		}
		return 0, moment("Time", c.Time, 1)
	case store.PutCategory:
		if err := checkCategory("Name", c.Name); err != nil {
			return 0, err
		}
		if err := name("Body", c.Body, 0, maxBody); err != nil {
			return 0, err
		}
		return len(c.Body), moment("Time", c.Time, 1)
	case store.DeleteCategory:
		return 0, checkCategory("Name", c.Name)
	}
	return 0, unknown(c)
}

// checkCategory checks the name of a category. It is in lists of texts, too.
func checkCategory(field, category string) error {
	if err := name(field, category, 1, maxCategory); err != nil {
		return err
	}
	if !utf8.ValidString(category) {
		return fmt.Errorf("%s: is not valid UTF-8", field)
	}
	return nil
}

func checkPuts(c store.PutUsers) (size int, err error) {
	if len(c.Users) > maxPut {
		return 0, fmt.Errorf("%s: has %d; at most %d are possible", "Users", len(c.Users), maxPut)
	}
	if err := moment("Time", c.Time, 1); err != nil {
		return 0, err
	}
	for i, p := range c.Users {
		if err := name(fmt.Sprintf("Users[%d].User", i), p.User, 1, maxUser); err != nil {
			return 0, err
		}
		if _, err := parseAttributes(p.Attributes); err != nil {
			return 0, fmt.Errorf("Users[%d].Attributes: %w", i, err)
		}
		size += len(p.User) + len(p.Attributes) + 128
	}
	return size, nil
}

func applyUsers(ctx context.Context, tx Tx, c store.Command) (store.Result, error) {
	switch c := c.(type) {
	case store.PutUsers:
		return putUsers(ctx, tx, c)
	case store.DeleteUsers:
		return deleteUsers(ctx, tx, c)
	case store.MuteCategory:
		return muteCategory(ctx, tx, c)
	case store.PutCategory:
		return putCategory(ctx, tx, c)
	case store.DeleteCategory:
		return deleteCategory(ctx, tx, c)
	}
	return nil, unknown(c)
}

// putUsers reads, merges and writes. On PostgreSQL somebody else may insert the same
// users meanwhile; they are looked at again.
func putUsers(ctx context.Context, tx Tx, c store.PutUsers) (store.Result, error) {
	puts := make(map[string][]int, len(c.Users))
	for i, p := range c.Users {
		puts[p.User] = append(puts[p.User], i)
	}
	var result store.UsersPut
	for left := slices.Sorted(maps.Keys(puts)); len(left) > 0; {
		there, err := persons(ctx, tx, left)
		if err != nil {
			return nil, err
		}
		var fresh, old []string
		all := make(map[string]*known, len(left))
		for _, u := range left {
			k := &known{n: there[u].n, was: there[u].text}
			for _, i := range puts[u] {
				if err := k.put(c.Users[i], c.Merge); err != nil {
					return nil, fmt.Errorf("Users[%d].Attributes: %w", i, err)
				}
			}
			all[u] = k
			switch {
			case k.n == 0:
				fresh = append(fresh, u)
			case k.changed():
				old = append(old, u)
			}
		}
		inserted, err := insertKnown(ctx, tx, fresh, all, c.Time)
		if err != nil {
			return nil, err
		}
		if err := updateKnown(ctx, tx, old, all, c.Time); err != nil {
			return nil, err
		}
		if err := writeTags(ctx, tx, append(old, inserted...), all); err != nil {
			return nil, err
		}
		for _, u := range old {
			if all[u].was == nil {
				result.Created++
			} else {
				result.Changed++
			}
		}
		result.Created += len(inserted)
		left = without(fresh, slices.Sorted(slices.Values(inserted)))
	}
	return result, nil
}

// insertKnown makes rows for users who have none, and gives those whom nobody else
// has made.
func insertKnown(ctx context.Context, tx Tx, users []string, all map[string]*known, at int64) (inserted []string, err error) {
	if tx.Dialect() == SQLite {
		for _, u := range users {
			k := all[u]
			if k.n, err = number(ctx, tx, sqlInsertPerson, []byte(u), k.after.zone(), at, at, string(k.text)); err != nil {
				return nil, err
			}
		}
		return users, nil
	}
	if len(users) == 0 {
		return nil, nil
	}
	zones, texts := make([][]byte, len(users)), make([][]byte, len(users))
	for i, u := range users {
		zones[i], _ = all[u].after.zone().([]byte)
		texts[i] = all[u].text
	}
	err = tx.Query(ctx, sqlInsertPersons, func(scan Scan) error {
		var n int64
		var user []byte
		if err := scan(&n, &user); err != nil {
			return err
		}
		all[string(user)].n = n
		inserted = append(inserted, string(user))
		return nil
	}, list(users), zones, texts, at, at)
	return inserted, err
}

func updateKnown(ctx context.Context, tx Tx, users []string, all map[string]*known, at int64) error {
	if tx.Dialect() == SQLite {
		for _, u := range users {
			k := all[u]
			if _, err := tx.Exec(ctx, sqlUpdatePerson, string(k.text), k.after.zone(), at, k.n); err != nil {
				return err
			}
		}
		return nil
	}
	if len(users) == 0 {
		return nil
	}
	numbers, zones, texts, times := make([]int64, len(users)), make([][]byte, len(users)), make([][]byte, len(users)), make([]int64, len(users))
	for i, u := range users {
		numbers[i], texts[i], times[i] = all[u].n, all[u].text, at
		zones[i], _ = all[u].after.zone().([]byte)
	}
	_, err := tx.Exec(ctx, sqlUpdatePersons, numbers, zones, texts, times)
	return err
}

// writeTags keeps person_tag like the attributes.
func writeTags(ctx context.Context, tx Tx, users []string, all map[string]*known) error {
	var gone, come tagList
	for _, u := range users {
		less, more, err := all[u].retag()
		if err != nil {
			return err
		}
		gone.add(all[u].n, less)
		come.add(all[u].n, more)
	}
	if err := gone.exec(ctx, tx, sqlDropTag, sqlDropTags); err != nil {
		return err
	}
	return come.exec(ctx, tx, sqlAddTag, sqlAddTags)
}

// tagList is rows of person_tag.
type tagList struct {
	tags [][]byte
	ns   []int64
}

func (l *tagList) add(n int64, tags []string) {
	for _, t := range tags {
		l.tags, l.ns = append(l.tags, []byte(t)), append(l.ns, n)
	}
}

func (l *tagList) exec(ctx context.Context, tx Tx, one, all string) error {
	if len(l.tags) == 0 {
		return nil
	}
	if tx.Dialect() == PostgreSQL {
		_, err := tx.Exec(ctx, all, l.tags, l.ns)
		return err
	}
	for i, t := range l.tags {
		if _, err := tx.Exec(ctx, one, t, l.ns[i]); err != nil {
			return err
		}
	}
	return nil
}

func muteCategory(ctx context.Context, tx Tx, c store.MuteCategory) (store.Result, error) {
	there, err := persons(ctx, tx, []string{c.User})
	if err != nil {
		return nil, err
	}
	p, is := there[c.User]
	if !is {
		if !c.Muted {
			return store.CategoryMuted{}, nil
		}
		if p, err = ensurePerson(ctx, tx, c.User, c.Time); err != nil {
			return nil, err
		}
	}
	muted, err := mutedOf(p.muted)
	if err != nil {
		return nil, err
	}
	i, was := slices.BinarySearch(muted, c.Category)
	switch {
	case was == c.Muted:
		return store.CategoryMuted{Muted: muted}, nil
	case was:
		muted = slices.Delete(muted, i, i+1)
	case len(muted) >= maxMuted:
		return nil, fmt.Errorf("%w: the user has muted %d categories", store.ErrTooLarge, len(muted))
	default:
		muted = slices.Insert(muted, i, c.Category)
	}
	var column any
	if len(muted) > 0 {
		if column, err = json.Marshal(muted); err != nil {
			return nil, err
		}
	}
	_, err = tx.Exec(ctx, sqlMute, column, p.n)
	return store.CategoryMuted{Muted: muted}, err
}

// mutedOf reads the column muted.
func mutedOf(column []byte) (categories []string, err error) {
	if len(column) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(column, &categories); err != nil {
		return nil, fmt.Errorf("a list of muted categories is none: %w", err)
	}
	return categories, nil
}
