package postgres

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// Retention, in statements that every node may carry out at the same time: what
// one has in hand the others skip.
const (
	sqlTrimKeys = `
DELETE FROM idem WHERE ctid = ANY (ARRAY(
	SELECT ctid FROM idem WHERE expires < $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED
))`

	// Channels with something to delete, from a place on. The lock on the row of
	// litter keeps other nodes off.
	sqlLitter = `
SELECT channel FROM litter WHERE channel > $1 ORDER BY channel LIMIT $2 FOR UPDATE SKIP LOCKED`

	sqlSweepRanges = `
SELECT id, swept, floor FROM channel WHERE id = ANY ($1::int4[]) ORDER BY id FOR NO KEY UPDATE`

	sqlSweep = `
WITH swept AS (
	INSERT INTO channel (id, namespace, name, swept)
	SELECT c.id, c.namespace, c.name, r.high FROM unnest($1::int4[], $3::int8[]) AS r(channel, high) CROSS JOIN LATERAL (
		SELECT * FROM channel WHERE id = r.channel OFFSET 0
	) AS c
	ON CONFLICT (id) DO UPDATE SET swept = excluded.swept
), clean AS (
	DELETE FROM litter WHERE channel = ANY ($4::int4[])
)
DELETE FROM message WHERE ctid = ANY (ARRAY(
	SELECT m.ctid FROM unnest($1::int4[], $2::int8[], $3::int8[]) AS r(channel, low, high) CROSS JOIN LATERAL (
		SELECT ctid FROM message WHERE channel = r.channel AND seq > r.low AND seq <= r.high OFFSET 0
	) AS m
))`

	// The oldest messages of a namespace that are too old, and so the floors that
	// their channels ought to have.
	sqlOld = `
SELECT o.channel, max(o.seq), sum(count(*)) OVER () FROM (
	SELECT channel, seq FROM message
	WHERE age >= (SELECT id::int8 << 48 FROM namespace WHERE name = $1)
		AND age < (SELECT id::int8 << 48 FROM namespace WHERE name = $1) + $2::int8
	ORDER BY age LIMIT $3
) AS o GROUP BY o.channel`

	// A page of channels, and those among them that hold more than a rule allows. A
	// document keeps what comes after its snapshot; least passes over nulls.
	sqlLong = `
SELECT p.id, CASE WHEN r.id IS NOT NULL THEN least(p.top - r.count, p.snapshot) END, p.last, p.size FROM (
	SELECT *, max(id) OVER () AS last, count(*) OVER () AS size FROM (SELECT * FROM channel WHERE id > $1 ORDER BY id LIMIT $2) AS page
) AS p
LEFT JOIN (
	SELECT n.id, w.count FROM unnest($3::bytea[], $4::int8[]) AS w(name, count) JOIN namespace n ON n.name = w.name
) AS r ON r.id = p.namespace AND p.floor < least(p.top - r.count, p.snapshot)
WHERE r.id IS NOT NULL OR p.id = p.last
ORDER BY p.id`

	sqlLockByID = `
SELECT FROM channel WHERE id = ANY ($1::int4[]) ORDER BY id FOR NO KEY UPDATE`

	sqlRaise = `
WITH raised AS (
	INSERT INTO channel (id, namespace, name, floor)
	SELECT c.id, c.namespace, c.name, f.floor FROM unnest($1::int4[], $2::int8[]) AS f(channel, floor) CROSS JOIN LATERAL (
		SELECT * FROM channel WHERE id = f.channel OFFSET 0
	) AS c
	WHERE c.floor < f.floor AND f.floor <= coalesce(c.snapshot, c.top)
	ON CONFLICT (id) DO UPDATE SET floor = excluded.floor
	RETURNING id
)
INSERT INTO litter (channel) SELECT id FROM raised ON CONFLICT DO NOTHING`
)

// Sizes of a step.
const (
	pageChannels   = 4096 // heads that are looked at for count rules
	litterChannels = 256  // channels that are swept in one transaction
)

// trimmer is where retention stands. It is only in memory: a node that starts
// anew looks at everything again.
type trimmer struct {
	mu     sync.Mutex // one step at a time
	litter int32      // the channel that was swept last
	page   int32      // the last channel that was looked at for count rules
	rules  []store.Keep
	whole  bool             // all channels have been looked at under these rules
	passes map[string]*pass // over the documents of a namespace
}

// Trim implements [store.Store].
//
// Floors that appends have raised are known exactly, through the table litter;
// so are messages that are too old, through their index. Count rules, which
// matter only when the configuration has changed, are looked after by walking
// over all channels, a page at each step.
func (s *Store) Trim(ctx context.Context, rules []store.Keep, now time.Time, budget int) (store.Trimmed, error) {
	t := &s.trimming
	t.mu.Lock()
	defer t.mu.Unlock()
	begin := time.Now()
	trimmed, err := s.trimLocked(ctx, t, rules, now, max(budget, 1))
	return trimmed, s.observeQuery("trim", begin, err)
}

func (s *Store) trimLocked(ctx context.Context, t *trimmer, rules []store.Keep, now time.Time, budget int) (done store.Trimmed, err error) {
	err = s.change(ctx, func(ctx context.Context, t transaction) error {
		tag, err := t.Exec(ctx, sqlTrimKeys, now.UnixMilli(), budget)
		done.Keys = int(tag.RowsAffected())
		if left := budget - done.Keys; err == nil && left > 0 {
			var n int
			n, err = tables.Trim(ctx, tx{&s.numbers, t}, now.UnixMilli(), left)
			done.Keys += n
		}
		return err
	})
	if err != nil {
		return done, err
	}
	more := done.Keys >= budget
	// What can be seen to be gone is deleted first, so that it is not found again.
	left, err := s.sweep(ctx, t, budget, &done)
	if err != nil || left {
		done.More = more || left
		return done, err
	}
	found, err := s.raiseFloors(ctx, t, rules, now, budget)
	if err != nil {
		return done, err
	}
	if found.channels > 0 && done.Messages < budget {
		if left, err = s.sweep(ctx, t, budget, &done); err != nil {
			return done, err
		}
	} else {
		left = found.channels > 0
	}
	done.More = more || left || found.more || !t.whole
	return done, nil
}

// sweep deletes messages below floors until the budget is used up, and tells
// whether there are more.
func (s *Store) sweep(ctx context.Context, t *trimmer, budget int, done *store.Trimmed) (left bool, err error) {
	wrapped := t.litter == 0
	for done.Messages < budget {
		var channels []int32
		deleted, full := 0, false
		err = s.change(ctx, func(ctx context.Context, tx transaction) (err error) {
			if channels, err = numbers(tx.Query(ctx, sqlLitter, t.litter, litterChannels)); err != nil || len(channels) == 0 {
				return err
			}
			ranges, err := sweepRanges(ctx, tx, channels, budget-done.Messages)
			if err != nil {
				return err
			}
			full = ranges.cut
			tag, err := tx.Exec(ctx, sqlSweep, ranges.channel, ranges.low, ranges.high, ranges.clean())
			deleted = int(tag.RowsAffected())
			if n := len(ranges.channel); n > 0 {
				channels = ranges.channel[:n]
			}
			return err
		})
		if err != nil {
			return false, err
		}
		done.Messages += deleted
		switch {
		case len(channels) > 0:
			t.litter = channels[len(channels)-1]
			if full {
				t.litter-- // it is not clean yet
				return true, nil
			}
		case wrapped:
			return false, nil
		default:
			// The end: once more from the beginning.
			t.litter, wrapped = 0, true
		}
	}
	var any bool
	err = s.change(ctx, func(ctx context.Context, tx transaction) error {
		return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM litter)`).Scan(&any)
	})
	return any, err
}

// sweeping is what one transaction deletes: seqs in (low, high] of each channel.
type sweeping struct {
	channel   []int32
	low, high []int64
	partly    bool // the last one's floor is above its high
	cut       bool // the budget ended before everything was dealt out
}

// clean are the channels of which nothing is left to delete.
func (r *sweeping) clean() []int32 {
	n := len(r.channel)
	if n > 0 && r.partly {
		n--
	}
	return r.channel[:n]
}

// sweepRanges locks the heads and deals the budget to them.
func sweepRanges(ctx context.Context, tx transaction, channels []int32, budget int) (r sweeping, err error) {
	rows, err := tx.Query(ctx, sqlSweepRanges, channels)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	left := int64(budget)
	for rows.Next() {
		var id int32
		var swept, floor int64
		if err := rows.Scan(&id, &swept, &floor); err != nil {
			return r, err
		}
		if left <= 0 && floor > swept {
			r.cut = true
		}
		if r.cut {
			continue
		}
		high := min(floor, swept+left)
		left -= high - swept
		r.channel, r.low, r.high = append(r.channel, id), append(r.low, swept), append(r.high, high)
		r.partly = high < floor
		r.cut = r.partly
	}
	return r, rows.Err()
}

// raising is what raiseFloors found.
type raising struct {
	channels int
	more     bool
}

// raiseFloors applies the rules: of each age rule up to budget messages, of the
// count rules one page of channels, and of documents under an age rule another.
func (s *Store) raiseFloors(ctx context.Context, t *trimmer, rules []store.Keep, now time.Time, budget int) (found raising, err error) {
	for _, rule := range rules {
		limit := now.Add(-rule.Age).UnixMilli()
		if rule.Age <= 0 || limit <= 0 {
			continue
		}
		err := s.change(ctx, func(ctx context.Context, tx transaction) error {
			floors := make(map[int32]int64)
			rows, err := tx.Query(ctx, sqlOld, []byte(rule.Namespace), min(limit, maxTime), budget)
			if err != nil {
				return err
			}
			defer rows.Close()
			var total int64
			for rows.Next() {
				var channel int32
				var seq int64
				if err := rows.Scan(&channel, &seq, &total); err != nil {
					return err
				}
				floors[channel] = seq
			}
			if rows.Err() != nil {
				return rows.Err()
			}
			found.channels += len(floors)
			found.more = found.more || total >= int64(budget)
			return raise(ctx, tx, floors)
		})
		if err != nil {
			return found, err
		}
	}
	long, err := s.raisePage(ctx, t, rules)
	found.channels += long
	if err != nil {
		return found, err
	}
	for _, rule := range rules {
		if rule.Age <= 0 {
			continue
		}
		raised, more, err := s.raiseOld(ctx, t, rule, now.UnixMilli(), budget)
		if err != nil {
			return found, err
		}
		found.channels += raised
		found.more = found.more || more
	}
	return found, nil
}

// raisePage applies the count rules to the next page of channels.
func (s *Store) raisePage(ctx context.Context, t *trimmer, rules []store.Keep) (long int, err error) {
	var names [][]byte
	var counts []int64
	counted := make([]store.Keep, 0, len(rules))
	for _, r := range rules {
		if r.Count > 0 {
			names, counts = append(names, []byte(r.Namespace)), append(counts, int64(r.Count))
			counted = append(counted, store.Keep{Namespace: r.Namespace, Count: r.Count})
		}
	}
	if !slices.Equal(counted, t.rules) {
		t.rules, t.page, t.whole = counted, 0, false
	}
	if len(counted) == 0 {
		t.whole = true
		return 0, nil
	}
	var last int32
	var size int64
	err = s.change(ctx, func(ctx context.Context, tx transaction) error {
		floors := make(map[int32]int64)
		rows, err := tx.Query(ctx, sqlLong, t.page, pageChannels, names, counts)
		if err != nil {
			return err
		}
		defer rows.Close()
		last, size = 0, 0
		for rows.Next() {
			var channel int32
			var floor *int64
			if err := rows.Scan(&channel, &floor, &last, &size); err != nil {
				return err
			}
			if floor != nil {
				floors[channel] = *floor
			}
		}
		if rows.Err() != nil {
			return rows.Err()
		}
		long = len(floors)
		return raise(ctx, tx, floors)
	})
	if err != nil {
		return 0, err
	}
	if t.page = last; size < pageChannels {
		t.page, t.whole = 0, true // that was the last page
	}
	return long, nil
}

// raise gives channels higher floors. The heads are locked in the order in
// which everybody locks them.
func raise(ctx context.Context, tx transaction, floors map[int32]int64) error {
	if len(floors) == 0 {
		return nil
	}
	var ids []int32
	var seqs []int64
	for id, seq := range floors {
		ids, seqs = append(ids, id), append(seqs, min(seq, math.MaxInt64))
	}
	if _, err := tx.Exec(ctx, sqlLockByID, ids); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, sqlRaise, ids, seqs)
	return err
}

func numbers(rows pgx.Rows, err error) ([]int32, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}
