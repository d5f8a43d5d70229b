package tables

import (
	"cmp"
	"context"
	"math"

	"github.com/skein-realtime/skein/store"
)

const (
	sqlMarks = `
SELECT m.delivered, m.read, coalesce((` + topSQLite + `), 0) FROM member AS m WHERE m.channel = ? AND m.user_id = ?`

	sqlMove = `UPDATE member SET delivered = ?, read = ? WHERE channel = ? AND user_id = ?`

	// Each member comes once. Rows are locked in their order, and the lock gives them as
	// they are then. They are changed as the conflict of an insert, which always goes by
	// the index.
	sqlMoveAll = moveAsked + moveMoved

	// sqlMoveLocked is sqlMoveAll when the rows have been locked before, with others: it
	// waits for nobody. Who became a member since then may be none yet.
	sqlMoveLocked = moveAsked + ` SKIP LOCKED` + moveMoved

	moveAsked = `
WITH asked AS MATERIALIZED (
	SELECT w.place, m.channel, m.user_id, m.since, m.delivered AS was_delivered, m.read AS was_read,
		greatest(m.delivered, coalesce(c.top, 0)) AS top, -- who was waited for may have written
		greatest(m.delivered, least(greatest(w.delivered, w.read), coalesce(c.top, 0))) AS delivered,
		greatest(m.read, least(w.read, coalesce(c.top, 0))) AS read
	FROM (
		SELECT * FROM unnest(CAST(? AS bytea[]), CAST(? AS bytea[]), CAST(? AS bigint[]), CAST(? AS bigint[]))
			WITH ORDINALITY AS u(channel, user_id, delivered, read, place)
		ORDER BY channel, user_id OFFSET 0
	) AS w
	CROSS JOIN LATERAL (SELECT * FROM member WHERE channel = w.channel AND user_id = w.user_id OFFSET 0 FOR NO KEY UPDATE`

	moveMoved = `) AS m
	LEFT JOIN LATERAL (SELECT top FROM channel WHERE name = w.channel OFFSET 0) AS c ON true
), moved AS (
	INSERT INTO member (channel, user_id, since, delivered, read)
	SELECT channel, user_id, since, delivered, read FROM asked WHERE delivered > was_delivered OR read > was_read ORDER BY channel, user_id
	ON CONFLICT (channel, user_id) DO UPDATE SET delivered = excluded.delivered, read = excluded.read
)
SELECT place, delivered, read, top, CASE WHEN delivered > was_delivered OR read > was_read THEN 1 ELSE 0 END FROM asked`
)

// marked is what a command asks for, as columns have it.
func marked(c *store.MarkMember) (delivered, read int64) {
	return int64(min(c.Delivered, math.MaxInt64)), int64(min(c.Read, math.MaxInt64))
}

func markMember(ctx context.Context, tx Tx, c *store.MarkMember) (store.Result, error) {
	if tx.Dialect() == PostgreSQL { // there are others beside it, see onlyMarks
		one := []store.MarkMember{*c}
		outcomes := make([]Outcome, 1)
		if err := moveAll(ctx, tx, sqlMoveLocked, one, []int{0}, outcomes); err != nil || outcomes[0].Err != nil {
			return nil, cmp.Or(err, outcomes[0].Err)
		}
		return outcomes[0].Results[0], nil
	}
	found := false
	var wasDelivered, wasRead, top int64
	if err := tx.Query(ctx, sqlMarks, func(scan Scan) error {
		found = true
		return scan(&wasDelivered, &wasRead, &top)
	}, []byte(c.Channel), []byte(c.Channel), []byte(c.User)); err != nil {
		return nil, err
	}
	if !found {
		return nil, store.ErrNotFound
	}
	delivered, read := marked(c)
	delivered, read = max(wasDelivered, min(max(delivered, read), top)), max(wasRead, min(read, top))
	r := store.MemberMarked{Delivered: uint64(delivered), Read: uint64(read), Head: uint64(top), Moved: delivered > wasDelivered || read > wasRead}
	if !r.Moved {
		return r, nil
	}
	_, err := tx.Exec(ctx, sqlMove, delivered, read, []byte(c.Channel), []byte(c.User))
	return r, err
}

// onlyMarks gives the commands of groups each of which is one [store.MarkMember]; nil:
// they are not all of that kind.
func onlyMarks(tx Tx, groups [][]store.Command) []store.MarkMember {
	if tx.Dialect() == SQLite {
		return nil
	}
	list := make([]store.MarkMember, 0, len(groups))
	for _, g := range groups {
		c, is := g[0].(store.MarkMember)
		if !is || len(g) > 1 {
			return nil
		}
		list = append(list, c)
	}
	return list
}

// markAll moves many marks, in a statement for all members that come once, another for
// those that come twice, and so on.
func markAll(ctx context.Context, tx Tx, list []store.MarkMember) ([]Outcome, error) {
	type who struct{ channel, user string }
	var rounds [][]int
	times := make(map[who]int, len(list))
	for i := range list {
		w := who{list[i].Channel, list[i].User}
		if times[w] == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[times[w]] = append(rounds[times[w]], i)
		times[w]++
	}
	outcomes := make([]Outcome, len(list))
	for _, places := range rounds {
		if err := moveAll(ctx, tx, sqlMoveAll, list, places, outcomes); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

func moveAll(ctx context.Context, tx Tx, query string, list []store.MarkMember, places []int, outcomes []Outcome) error {
	channels, users := make([][]byte, len(places)), make([][]byte, len(places))
	delivered, read := make([]int64, len(places)), make([]int64, len(places))
	for k, i := range places {
		channels[k], users[k] = []byte(list[i].Channel), []byte(list[i].User)
		delivered[k], read[k] = marked(&list[i])
		outcomes[i].Err = store.ErrNotFound
	}
	return tx.Query(ctx, query, func(scan Scan) error {
		var place, delivered, read, top, moved int64
		if err := scan(&place, &delivered, &read, &top, &moved); err != nil {
			return err
		}
		r := store.MemberMarked{Delivered: uint64(delivered), Read: uint64(read), Head: uint64(top), Moved: moved == 1}
		outcomes[places[place-1]] = Outcome{Results: []store.Result{r}}
		return nil
	}, channels, users, delivered, read)
}
