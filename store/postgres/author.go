package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
)

// Messages of members. Whoever ends a membership has its row locked until he commits,
// and so has a batch with messages of that member: the statement that stores them begins
// when the locks are there, and so it sees every membership that has ended before. It
// locks the rows once more, for those that came in between: the lock gives a row as it is,
// and none when it is gone, whatever the statement saw when it began. It waits for nobody
// then: who becomes a member while his message is being stored may be none yet.
//
// Everybody locks channels first, by number; then the sizes of their rosters, by name;
// then memberships, by channel and user.
const (
	// Direct channels that may have no members yet get a size, which keeps everybody
	// else off their memberships.
	sqlLockSizes = `
INSERT INTO group_size (channel, n)
SELECT w.channel, 0 FROM unnest($1::bytea[]) AS w(channel) ORDER BY w.channel
ON CONFLICT (channel) DO UPDATE SET n = group_size.n`

	// It goes again when they have got none: the message was refused.
	sqlDropSizes = `DELETE FROM group_size WHERE channel = ANY ($1::bytea[]) AND n = 0`

	sqlLockAuthors = `
SELECT count(*) FROM (
	SELECT w.channel, w.user_id FROM unnest($1::bytea[], $2::bytea[]) AS w(channel, user_id) ORDER BY w.channel, w.user_id OFFSET 0
) AS o CROSS JOIN LATERAL (SELECT since FROM member WHERE channel = o.channel AND user_id = o.user_id OFFSET 0 FOR NO KEY UPDATE) AS m`

	// sqlApplyAuthors is sqlApply for a batch in which some messages have authors. It
	// moves the authors' marks, makes the users of direct channels members, and notes of
	// which messages absent members are to be told.
	sqlApplyAuthors = applyAsked + `, r.role` + applyKnown + `c.snapshot IS NULL THEN CASE WHEN ` + applyDenied + ` THEN 5 ELSE 0 END` +
		applyGiven + `, $13::bytea[], $14::bytea[], $15::bytea[], $16::bool[]` + applyNames + `author, one, two, alert, ` +
		applyOrder + applyRole + applyNumbered + `greatest(floor, CASE WHEN keep > 0 THEN seq - keep ELSE 0 END)) AS floor` +
		applyMessages +
		applyHeads + applyEnds + applyUpdate + applyLitters + applyRosters + applyAnswer +
		`, one IS NOT NULL AND name IN (SELECT channel FROM made)` + applyEnd

	applyRole = `
	LEFT JOIN LATERAL (
		SELECT role FROM member WHERE channel = i.name AND user_id = i.author OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED
	) AS r ON true`

	applyDenied = `i.author IS NOT NULL AND CASE
				WHEN i.one IS NULL THEN coalesce(r.role, 0) < 2
				ELSE i.author NOT IN (i.one, i.two) OR coalesce(r.role, 2) < 2
					OR (SELECT since FROM peer_block WHERE user_id = i.one AND peer = i.two) IS NOT NULL
					OR (SELECT since FROM peer_block WHERE user_id = i.two AND peer = i.one) IS NOT NULL
			END`

	applyRosters = `, concerned AS MATERIALIZED (
	SELECT name AS channel, u.user_id, max(CASE WHEN u.user_id = author THEN seq ELSE 0 END) AS mark, min(time) AS since,
		CASE WHEN bool_or(u.user_id IS NOT DISTINCT FROM author) THEN bool_or(u.user_id IS NOT DISTINCT FROM author AND role IS NULL)
			ELSE (SELECT m.since FROM member m WHERE m.channel = name AND m.user_id = u.user_id) IS NULL END AS new
	FROM numbered CROSS JOIN LATERAL (VALUES (author), (one), (two)) AS u(user_id)
	WHERE stored AND u.user_id IS NOT NULL GROUP BY name, u.user_id
), made AS (
	INSERT INTO member (channel, user_id, since, delivered, read)
	SELECT channel, user_id, since, mark, mark FROM concerned WHERE new ORDER BY channel, user_id
	ON CONFLICT (channel, user_id) DO NOTHING RETURNING channel
), sizes AS (
	INSERT INTO group_size (channel, n, version)
	SELECT channel, count(*), nextval('roster_version') FROM made GROUP BY channel ORDER BY channel
	ON CONFLICT (channel) DO UPDATE SET n = group_size.n + excluded.n, version = excluded.version
), moved AS (
	INSERT INTO member (channel, user_id, since, delivered, read)
	SELECT channel, user_id, since, mark, mark FROM concerned WHERE NOT new AND mark > 0 ORDER BY channel, user_id
	ON CONFLICT (channel, user_id) DO UPDATE SET delivered = excluded.delivered, read = excluded.read
), alerts AS (
	INSERT INTO alert (channel, seq) SELECT name, seq FROM numbered WHERE stored AND alert
	ON CONFLICT DO NOTHING
)`
)

// begins tells whether a message of a group may be that of a member whom another one of
// it makes one: a single statement would not know of him.
func begins(group []store.Command) bool {
	if len(group) == 1 {
		return false
	}
	direct, member := map[string]bool{}, map[string]bool{}
	for _, c := range group {
		if a, ok := c.(store.Append); ok && a.Author != nil {
			which := member
			if len(a.Author.Direct) > 0 {
				which = direct
			}
			if which[a.Channel] = true; direct[a.Channel] && member[a.Channel] {
				return true
			}
		}
	}
	return false
}

// authors are those of a transaction's messages, with what has to be locked for them.
type authors struct {
	channels, users [][]byte // memberships
	sizes           [][]byte // of direct channels that may have no members yet
}

// add notes what a message needs.
func (l *authors) add(a *store.Append, begun *knownNames) {
	by := a.Author
	if by == nil {
		return
	}
	if by.User != "" {
		l.channels, l.users = append(l.channels, []byte(a.Channel)), append(l.users, []byte(by.User))
	}
	if len(by.Direct) > 0 && !begun.has(a.Channel) {
		l.sizes = append(l.sizes, []byte(a.Channel))
	}
}

// authorsOf are those of a group.
func authorsOf(g *group, begun *knownNames) (l authors) {
	for _, c := range g.commands {
		if a, ok := c.(store.Append); ok {
			l.add(&a, begun)
		}
	}
	return l
}

// queue adds the statements that lock what the messages need, and tells how many they
// are.
func (l *authors) queue(b *pgx.Batch) (n int) {
	if len(l.sizes) > 0 {
		l.sizes = compact(l.sizes)
		b.Queue(sqlLockSizes, l.sizes)
		n++
	}
	if len(l.users) > 0 {
		b.Queue(sqlLockAuthors, l.channels, l.users)
		n++
	}
	return n
}

// queueEnd adds the statement for after the messages, and tells how many there are.
func (l *authors) queueEnd(b *pgx.Batch) int {
	if len(l.sizes) == 0 {
		return 0
	}
	b.Queue(sqlDropSizes, l.sizes)
	return 1
}

// discard reads the answers of so many statements that give nothing.
func discard(answer pgx.BatchResults, n int) error {
	for range n {
		if _, err := answer.Exec(); err != nil {
			return err
		}
	}
	return nil
}

// learnBegun remembers that direct channels have their members, so that nobody looks for
// their sizes with each message. It is only a hint: the statement that stores a message
// finds out when it is wrong.
func (s *Store) learnBegun(g *group) {
	for _, c := range g.commands {
		if a, ok := c.(store.Append); ok && a.Author != nil && len(a.Author.Direct) > 0 {
			s.begun.add([]byte(a.Channel))
		}
	}
}

// authorColumns are the parameters of sqlApplyAuthors beside those of sqlApply. They
// begin with the first command that has an author: for those before it there is none.
type authorColumns struct {
	author, one, two [][]byte
	alert            []bool
}

func (c *authorColumns) add(before int, by *store.Author) {
	if by == nil && len(c.author) == 0 {
		return
	}
	for len(c.author) < before {
		c.addOne(&store.Author{})
	}
	if by == nil {
		by = &store.Author{}
	}
	c.addOne(by)
}

func (c *authorColumns) addOne(by *store.Author) {
	var author, one, two []byte
	if by.User != "" {
		author = []byte(by.User)
	}
	if len(by.Direct) > 0 {
		one, two = []byte(by.Direct[0]), []byte(by.Direct[1])
	}
	c.author, c.one, c.two, c.alert = append(c.author, author), append(c.one, one), append(c.two, two), append(c.alert, by.Alert)
}
