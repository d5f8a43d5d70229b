package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

const (
	sqlStats = `
SELECT (
	SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::int8 FROM pg_class
	WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'store'::regclass) AND relkind = 'r'
), count(*) FILTER (WHERE top > 0), coalesce(sum(top - floor), 0)::int8, count(snapshot) FROM channel`

	// A page of channels with what their messages amount to. One statement, so that
	// appends meanwhile do not look like mistakes.
	sqlCheckChannels = `
SELECT c.id, c.name, n.name, c.top, c.floor, c.swept, c.recalled, l.channel IS NOT NULL,
	m.kept, m.lowest, m.highest, m.recalled, m.strangers, k.beyond, c.snapshot, d.version
FROM (SELECT * FROM channel WHERE id > $1 ORDER BY id LIMIT $2) AS c
LEFT JOIN namespace n ON n.id = c.namespace
LEFT JOIN litter l ON l.channel = c.id
LEFT JOIN document d ON d.channel = c.id
CROSS JOIN LATERAL (
	SELECT count(*) FILTER (WHERE seq > c.floor AND seq <= c.top) AS kept, coalesce(min(seq), 0) AS lowest, coalesce(max(seq), 0) AS highest,
		coalesce(max(recalled), 0) AS recalled, count(*) FILTER (WHERE (age >> 48) & 32767 <> c.namespace OR (age < 0) <> (c.snapshot IS NOT NULL)) AS strangers
	FROM message WHERE channel = c.id
) AS m
CROSS JOIN LATERAL (SELECT count(*) AS beyond FROM idem WHERE channel = c.id AND seq > c.top) AS k
ORDER BY c.id`

	sqlCheckStubs = `
SELECT c.name, m.seq FROM message m JOIN channel c ON c.id = m.channel
WHERE m.recalled IS NOT NULL AND m.data IS NULL AND (m.event IS NOT NULL OR m.sender IS NOT NULL)
ORDER BY m.channel, m.seq`

	// Reading every row makes the server check its pages and unpack long values.
	sqlCheckRows = `
SELECT m.channel, m.seq, m.id, m.sender, coalesce(length(encode(m.data, 'hex')), 0) FROM message m
WHERE (m.channel, m.seq) > ($1::int4, $2::int8) ORDER BY m.channel, m.seq LIMIT $3`

	sqlCheckSnapshots = `
SELECT c.name, d.data FROM document d JOIN channel c ON c.id = d.channel ORDER BY d.channel`

	sqlCheckOrphans = `
SELECT 'message', count(*) FROM message m WHERE NOT EXISTS (SELECT FROM channel c WHERE c.id = m.channel)
UNION ALL SELECT 'idem', count(*) FROM idem k WHERE NOT EXISTS (SELECT FROM channel c WHERE c.id = k.channel)
UNION ALL SELECT 'document', count(*) FROM document d WHERE NOT EXISTS (SELECT FROM channel c WHERE c.id = d.channel)
UNION ALL SELECT 'litter', count(*) FROM litter l WHERE NOT EXISTS (SELECT FROM channel c WHERE c.id = l.channel)`
)

// statsTimeout bounds a measurement, which has to look at every head.
const statsTimeout = time.Minute

// Pages of a check.
const (
	checkChannels = 500
	checkRows     = 5000
)

// Stats implements [store.Store]. Bytes are those of the tables and their
// indexes, without the server's write-ahead log. Messages are counted by heads.
func (s *Store) Stats(ctx context.Context) (stats store.Stats, err error) {
	err = s.query(ctx, "stats", statsTimeout, func(ctx context.Context, q querier) error {
		return patient(ctx, q, func(q querier) error {
			err := q.QueryRow(ctx, sqlStats).Scan(&stats.Bytes, &stats.Channels, &stats.Messages, &stats.Documents)
			if err == nil {
				err = tables.Totals(ctx, tx{&s.numbers, q}, &stats)
			}
			return err
		})
	})
	return stats, err
}

// beginner is a connection, as opposed to a transaction.
type beginner interface {
	querier
	Begin(ctx context.Context) (transaction, error)
}

// patient carries out a read that may take longer than others.
func patient(ctx context.Context, q querier, do func(querier) error) error {
	tx, err := q.(beginner).Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', '0', true), set_config('enable_seqscan', 'on', true), set_config('enable_hashjoin', 'on', true)`); err != nil {
		return err
	}
	return do(tx)
}

// Check implements [store.Store]. It looks at heads against messages, at the
// form of what is kept, and has the server read every row; the files
// themselves are the business of pg_amcheck.
func (s *Store) Check(ctx context.Context, report func(problem string)) error {
	return s.query(ctx, "check", 0, func(ctx context.Context, q querier) error {
		return patient(ctx, q, func(q querier) error {
			for _, check := range []func(context.Context, querier, func(string)) error{
				checkHeads, checkContent, checkStubs, checkSnapshots, checkOrphans,
				func(ctx context.Context, q querier, report func(string)) error {
					return tables.Audit(ctx, tx{&s.numbers, q}, report)
				},
			} {
				if err := check(ctx, q, report); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func checkHeads(ctx context.Context, q querier, report func(string)) error {
	var place int32
	for {
		rows, err := q.Query(ctx, sqlCheckChannels, place, checkChannels)
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			n++
			var h headCheck
			if err := rows.Scan(&h.id, &h.name, &h.namespace, &h.top, &h.floor, &h.swept, &h.recalled, &h.litter,
				&h.kept, &h.lowest, &h.highest, &h.mark, &h.strangers, &h.beyond, &h.snapshot, &h.version); err != nil {
				rows.Close()
				return err
			}
			place = h.id
			h.check(report)
		}
		rows.Close()
		if rows.Err() != nil || n < checkChannels {
			return rows.Err()
		}
	}
}

// headCheck is a head and what the rows of its channel amount to.
type headCheck struct {
	id                          int32
	name, namespace             []byte
	top, floor, swept, recalled int64
	litter                      bool
	kept, lowest, highest       int64
	mark                        int64 // the latest recall, as its stub knows it
	strangers, beyond           int64
	snapshot, version           *int64 // as the head and the snapshot itself say; nil: no document, no snapshot
}

func (h *headCheck) check(report func(string)) {
	say := func(format string, args ...any) {
		report(fmt.Sprintf("channel %q: ", h.name) + fmt.Sprintf(format, args...))
	}
	if h.floor > h.top || h.swept > h.floor || h.recalled > h.top {
		say("top %d, floor %d, swept %d, recalled %d: the order is wrong", h.top, h.floor, h.swept, h.recalled)
	}
	if h.kept != h.top-h.floor {
		say("%d messages are kept above the floor %d, and the top is %d", h.kept, h.floor, h.top)
	}
	if h.highest > h.top {
		say("there is a message %d beyond the top %d", h.highest, h.top)
	}
	if h.lowest > 0 && h.lowest <= h.swept {
		say("message %d should have been deleted", h.lowest)
	}
	if h.litter != (h.floor > h.swept) {
		say("floor %d and swept %d do not agree with the list of what is to be deleted", h.floor, h.swept)
	}
	if h.mark > h.recalled {
		say("a message was withdrawn at top %d, later than the head's %d", h.mark, h.recalled)
	}
	if h.strangers > 0 {
		say("%d messages have another namespace, or do not agree with it whether it is a document", h.strangers)
	}
	if string(h.namespace) != namespaceOf(string(h.name)) {
		say("its namespace is %q", h.namespace)
	}
	if h.beyond > 0 {
		say("%d keys stand for messages beyond the top", h.beyond)
	}
	if s := h.snapshot; s != nil && (*s < h.floor || *s > h.top) {
		say("the snapshot's version %d is not from the floor %d to the top %d", *s, h.floor, h.top)
	}
	if value(h.snapshot) != value(h.version) {
		say("its snapshot has the version %d, and should have %d", value(h.version), value(h.snapshot))
	}
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func checkSnapshots(ctx context.Context, q querier, report func(string)) error {
	rows, err := q.Query(ctx, sqlCheckSnapshots)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, data []byte
		if err := rows.Scan(&name, &data); err != nil {
			return err
		}
		if !json.Valid(data) {
			report(fmt.Sprintf("channel %q: its snapshot is no JSON", name))
		}
	}
	return rows.Err()
}

func checkContent(ctx context.Context, q querier, report func(string)) error {
	var channel int32
	var seq int64
	for {
		rows, err := q.Query(ctx, sqlCheckRows, channel, seq, checkRows)
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			n++
			var id, sender []byte
			var size int64
			if err := rows.Scan(&channel, &seq, &id, &sender, &size); err != nil {
				rows.Close()
				return err
			}
			if len(id) != idRandom && len(id) != idText {
				report(fmt.Sprintf("channel number %d, seq %d: the id has %d bytes", channel, seq, len(id)))
			}
			if _, _, ok := unpackSender(sender); !ok {
				report(fmt.Sprintf("channel number %d, seq %d: the sender is not readable", channel, seq))
			}
		}
		rows.Close()
		if rows.Err() != nil || n < checkRows {
			return rows.Err()
		}
	}
}

func checkStubs(ctx context.Context, q querier, report func(string)) error {
	rows, err := q.Query(ctx, sqlCheckStubs)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name []byte
		var seq int64
		if err := rows.Scan(&name, &seq); err != nil {
			return err
		}
		report(fmt.Sprintf("channel %q: message %d was withdrawn and still has content", name, seq))
	}
	return rows.Err()
}

func checkOrphans(ctx context.Context, q querier, report func(string)) error {
	rows, err := q.Query(ctx, sqlCheckOrphans)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		var n int64
		if err := rows.Scan(&table, &n); err != nil {
			return err
		}
		if n > 0 {
			report(fmt.Sprintf("%d rows of table %s belong to no channel", n, table))
		}
	}
	return rows.Err()
}
