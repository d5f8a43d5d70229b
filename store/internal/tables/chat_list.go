package tables

import (
	"cmp"
	"context"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// A list of conversations takes two steps: all memberships of the user, with where the
// channel ends and when, in the order of their names and without what messages say;
// and, when they have been put in order, the rest of those that are on the page.
const (
	mineColumns = `m.channel, m.since, m.role, m.hidden, m.delivered, m.read, m.alerts, coalesce(c.id, 0), coalesce(c.floor, 0)`

	// The newest message tells where the channel ends, unless it is gone.
	mineSQLite = `
SELECT ` + mineColumns + `, max(coalesce(c.top, 0), coalesce(x.seq, 0)), CASE WHEN x.seq > c.floor AND x.seq > m.hidden THEN x.age & 281474976710655 ELSE -1 END
FROM member AS m
LEFT JOIN channel AS c ON c.name = CAST(m.channel AS TEXT)
LEFT JOIN message AS x ON x.pos = (SELECT pos FROM message WHERE ch = c.id ORDER BY seq DESC LIMIT 1)
WHERE (m.user_id, m.channel) >= (?, ?) AND (m.user_id, m.channel) < (?, ?) ORDER BY m.user_id, m.channel`

	minePostgres = `
SELECT ` + mineColumns + `, coalesce(c.top, 0), coalesce(x.age & 281474976710655, -1)
FROM (
	SELECT * FROM member WHERE (user_id, channel) >= (?, ?) AND (user_id, channel) < (?, ?) ORDER BY user_id, channel OFFSET 0
) AS m
LEFT JOIN LATERAL (SELECT * FROM channel WHERE name = m.channel OFFSET 0) AS c ON true
LEFT JOIN LATERAL (SELECT age FROM message WHERE channel = c.id AND seq = c.top AND c.top > c.floor AND c.top > m.hidden OFFSET 0) AS x ON true`

	restColumns = `coalesce(c.recalled, 0), coalesce(c.recalls, 0), coalesce(g.n, 0), coalesce(v.rule, 0), v.data,
	m.user_id, coalesce(m.since, 0), coalesce(m.role, 0), coalesce(m.hidden, 0), coalesce(m.delivered, 0), coalesce(m.read, 0), coalesce(m.alerts, 0)`

	sqlRest = `
SELECT 0, ` + restColumns + ` FROM (SELECT CAST(? AS BLOB) AS me, CAST(? AS BLOB) AS channel) AS w
LEFT JOIN channel AS c ON c.name = CAST(w.channel AS TEXT)
LEFT JOIN group_size AS g ON g.channel = w.channel LEFT JOIN conversation AS v ON v.channel = w.channel
LEFT JOIN member AS m ON m.channel = w.channel AND m.user_id <> w.me AND g.n = 2`

	sqlRests = `
SELECT w.place, ` + restColumns + `
FROM (SELECT CAST(? AS bytea) AS me) AS u CROSS JOIN unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(channel, place)
LEFT JOIN LATERAL (SELECT recalled, recalls FROM channel WHERE name = w.channel OFFSET 0) AS c ON true
LEFT JOIN LATERAL (SELECT n FROM group_size WHERE channel = w.channel OFFSET 0) AS g ON true
LEFT JOIN LATERAL (SELECT data, rule FROM conversation WHERE channel = w.channel OFFSET 0) AS v ON true
LEFT JOIN LATERAL (SELECT * FROM member WHERE channel = w.channel AND g.n = 2 AND user_id <> u.me OFFSET 0) AS m ON true`

	epochSQLite   = `SELECT v FROM meta WHERE k = 'epoch'`
	epochPostgres = `SELECT convert_to(epoch, 'UTF8') FROM store`
)

// mine is a membership with what decides where it stands in the list.
type mine struct {
	place      store.ConversationPlace
	member     store.RosterMember
	number     int64 // of the channel; 0: it has none yet
	top, floor uint64
	last       bool // there is a message to be shown
}

// readMine gives what memberships a user has from one channel on up to another, by name.
func readMine(ctx context.Context, tx Tx, user string, low, high []byte, into []mine) ([]mine, error) {
	var channel []byte
	var since, role, hidden, delivered, read, alerts, number, floor, top, time int64
	columns := []any{&channel, &since, &role, &hidden, &delivered, &read, &alerts, &number, &floor, &top, &time}
	err := tx.Query(ctx, dialect(tx, mineSQLite, minePostgres), func(scan Scan) error {
		if err := scan(columns...); err != nil {
			return err
		}
		c := mine{number: number, top: uint64(top), floor: uint64(floor), last: time >= 0, place: store.ConversationPlace{Time: time, Channel: string(channel)}}
		if !c.last {
			c.place.Time = since
		}
		c.member = store.RosterMember{
			User: user, Since: since, Role: store.Role(role), Hidden: uint64(hidden), Delivered: uint64(delivered), Read: uint64(read), Alerts: store.AlertLevel(alerts),
		}
		into = append(into, c)
		return nil
	}, []byte(user), low, []byte(user), high)
	return into, err
}

// behind tells the order of the list: the newest first, and those of one time by name.
func behind(a, b store.ConversationPlace) int {
	return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Channel, b.Channel))
}

// restAt is how many conversations are completed at once: data that nobody wants is not
// read.
const restAt = 64

func conversations(ctx context.Context, tx Tx, q store.ConversationQuery) (p store.ConversationPage, err error) {
	var all []mine
	for _, ns := range distinct(q.Namespaces) {
		low, high := within(ns+":", "")
		if all, err = readMine(ctx, tx, q.User, low, high, all); err != nil {
			return store.ConversationPage{}, err
		}
	}
	order := make([]*mine, 0, len(all))
	for i := range all {
		c := &all[i]
		p.Count++
		p.Unread += c.top - min(c.member.Read, c.top)
		if q.After == (store.ConversationPlace{}) || behind(q.After, c.place) < 0 {
			order = append(order, c)
		}
	}
	slices.SortFunc(order, func(a, b *mine) int { return behind(a.place, b.place) })
	full := func() bool { return len(p.Items) == min(q.Limit, len(order)) }
	for size := 0; !full(); {
		from := len(p.Items)
		some, err := complete(ctx, tx, q.User, order[from:min(from+restAt, len(order), q.Limit)])
		if err != nil {
			return store.ConversationPage{}, err
		}
		for i := range some {
			p.Items = append(p.Items, some[i])
			if size += dataOf(&some[i]); q.Bytes > 0 && size >= q.Bytes {
				p.More = len(p.Items) < len(order)
				return p, nil
			}
		}
	}
	p.More = len(p.Items) < len(order)
	return p, nil
}

// dataOf is how much data a conversation has.
func dataOf(c *store.Conversation) (n int) {
	if c.Last != nil {
		n += len(c.Last.Data)
	}
	if c.Group != nil {
		n += len(c.Group.Data)
	}
	return n
}

// conversation gives one, if the user is a member.
func conversation(ctx context.Context, tx Tx, channel, user string) ([]store.Conversation, error) {
	all, err := readMine(ctx, tx, user, []byte(channel), next(channel), nil)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return complete(ctx, tx, user, []*mine{&all[0]})
}

// complete reads what the first step has left out.
func complete(ctx context.Context, tx Tx, user string, page []*mine) ([]store.Conversation, error) {
	epoch, err := nameOf(ctx, tx, dialect(tx, epochSQLite, epochPostgres))
	if err != nil {
		return nil, err
	}
	list, channels, at := make([]store.Conversation, len(page)), make([]string, len(page)), make([]At, 0, len(page))
	for i, c := range page {
		channels[i] = c.place.Channel
		list[i] = store.Conversation{
			Channel: c.place.Channel, Place: c.place, RosterMember: c.member, Head: store.Head{Epoch: epoch, Top: c.top, Floor: c.floor},
		}
		if c.last {
			at = append(at, At{c.number, int64(c.top)})
		}
	}
	messages, err := tx.Messages(ctx, at)
	if err != nil {
		return nil, err
	}
	for i, c := range page {
		if c.last {
			list[i].Last, messages = messages[0], messages[1:]
		}
	}
	var recalled, recalls, n, rule, since, role, hidden, delivered, read, alerts int64
	var data, peer []byte
	columns := []any{&recalled, &recalls, &n, &rule, &data, &peer, &since, &role, &hidden, &delivered, &read, &alerts}
	return list, lookup(ctx, tx, sqlRest, sqlRests, []any{[]byte(user)}, channels, columns, func(i int) {
		c := &list[i]
		c.Head.Recalled, c.Head.Recalls, c.Members = uint64(recalled), uint64(recalls), n
		if rule != 0 {
			c.Group = &store.GroupSettings{Data: emptyIsNil(data), Join: store.JoinRule(rule)}
		}
		if peer != nil {
			c.Peer = store.RosterMember{
				User: string(peer), Since: since, Role: store.Role(role), Alerts: store.AlertLevel(alerts),
				Hidden: uint64(hidden), Delivered: uint64(delivered), Read: uint64(read),
			}
		}
	})
}
