package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
)

// Documents.
const (
	sqlPutSnapshot = `
WITH head AS MATERIALIZED (
	SELECT id, floor, swept, greatest(floor, $5::int8) AS raised, CASE
		WHEN $2::int8 > top OR top > 0 AND snapshot IS NULL THEN 4
		WHEN $2::int8 > coalesce(snapshot, 0) THEN 0
		ELSE 1
	END AS state
	FROM channel WHERE name = $1
), kept AS (
	INSERT INTO document (channel, version, time, data)
	SELECT id, $2, $3::int8, $4::bytea FROM head WHERE state = 0
	ON CONFLICT (channel) DO UPDATE SET version = excluded.version, time = excluded.time, data = excluded.data
), noted AS (
	UPDATE channel SET snapshot = $2, floor = (SELECT raised FROM head)
	WHERE id = (SELECT id FROM head WHERE state = 0)
), litters AS (
	INSERT INTO litter (channel)
	SELECT id FROM head WHERE state = 0 AND raised > swept AND floor <= swept
	ON CONFLICT DO NOTHING
)
SELECT state FROM head`

	// The value stands in the first row alone: it may have some megabytes.
	sqlDocument = `
SELECT s.epoch, coalesce(c.top, 0), coalesce(c.floor, 0), coalesce(c.recalled, 0), coalesce(c.recalls, 0),
	d.version, d.time, CASE WHEN m.seq IS NULL OR m.seq = c.snapshot + 1 THEN (SELECT data FROM document WHERE channel = c.id) END, ` + messageColumns + `
FROM store s
LEFT JOIN channel c ON c.name = $1
LEFT JOIN LATERAL (SELECT version, time FROM document WHERE channel = c.id OFFSET 0) AS d ON true
LEFT JOIN LATERAL (SELECT * FROM message WHERE channel = c.id AND seq > c.snapshot AND seq <= c.top ORDER BY seq) AS m ON true
ORDER BY m.seq`

	// A page of the documents of a namespace, and whether the first patch of each
	// that may go is too old.
	sqlOldDocuments = `
SELECT p.id, coalesce((m.age & 281474976710655) < $4::int8, false), p.last, p.size FROM (
	SELECT *, max(id) OVER () AS last, count(*) OVER () AS size FROM (
		SELECT id, floor, snapshot FROM channel
		WHERE namespace = (SELECT id FROM namespace WHERE name = $1) AND snapshot IS NOT NULL AND id > $2
		ORDER BY id LIMIT $3
	) AS page
) AS p
LEFT JOIN LATERAL (
	SELECT age FROM message WHERE channel = p.id AND seq = p.floor + 1 AND seq <= p.snapshot OFFSET 0
) AS m ON true
WHERE (m.age & 281474976710655) < $4::int8 OR p.id = p.last
ORDER BY p.id`

	// The floors that documents ought to have: up to the first patch that is not too
	// old, of so many that are looked at in each.
	sqlOldPatches = `
SELECT o.channel, max(o.seq) FILTER (WHERE o.old), bool_and(o.old) AND count(*) = $3 FROM (
	SELECT r.channel, m.seq, bool_and((m.age & 281474976710655) < $2::int8) OVER (PARTITION BY r.channel ORDER BY m.seq) AS old
	FROM unnest($1::int4[]) AS r(channel) CROSS JOIN LATERAL (
		SELECT floor, snapshot FROM channel WHERE id = r.channel OFFSET 0
	) AS c CROSS JOIN LATERAL (
		SELECT seq, age FROM message WHERE channel = r.channel AND seq > c.floor AND seq <= c.snapshot ORDER BY seq LIMIT $3
	) AS m
) AS o GROUP BY o.channel`
)

func checkSnapshot(p *store.PutSnapshot) error {
	switch {
	case p.Channel == "" || len(p.Channel) > maxChannel:
		return fmt.Errorf("%s: has %d bytes; 1 to %d are possible", "Channel", len(p.Channel), maxChannel)
	case p.Time < 0 || p.Time > maxTime:
		return fmt.Errorf("%s: %d is not from 0 to %d", "Time", p.Time, int64(maxTime))
	case len(p.Data) == 0 || len(p.Data) > maxData:
		return fmt.Errorf("%s: has %d bytes; 1 to %d are possible", "Data", len(p.Data), maxData)
	}
	return nil
}

// repeats tells whether a channel comes twice in a group.
func repeats(group []store.Command) bool {
	seen := make(map[string]struct{}, len(group))
	for _, c := range group {
		if a, ok := c.(store.Append); ok {
			seen[a.Channel] = struct{}{}
		}
	}
	return len(seen) < len(group)
}

// fitVersions tells whether the documents of a group, and those of the groups
// before it, do not come twice. What has no versions is not looked at until a
// group that has some comes.
func (w *writer) fitVersions(g *group) bool {
	if w.channels == nil {
		if !g.versions {
			w.taken = append(w.taken, g)
			return true
		}
		w.channels = make(map[string]bool)
		for _, before := range w.taken {
			w.countChannels(before)
		}
	}
	for _, c := range g.commands {
		if a, ok := c.(store.Append); ok {
			if versioned, there := w.channels[a.Channel]; there && (versioned || a.Version != 0) {
				return false
			}
		}
	}
	w.countChannels(g)
	return true
}

func (w *writer) countChannels(g *group) {
	for _, c := range g.commands {
		if a, ok := c.(store.Append); ok {
			w.channels[a.Channel] = w.channels[a.Channel] || a.Version != 0
		}
	}
}

func readSnapshot(answer pgx.BatchResults, p store.PutSnapshot) (outcome, error) {
	var state int32
	err := answer.QueryRow().Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) { // there is no such channel, so its top is zero
		state, err = stateDuplicate, nil
		if p.Version > 0 {
			state = stateMoved
		}
	}
	if err != nil {
		return outcome{}, err
	}
	if state == stateMoved {
		return outcome{err: store.ErrMoved}, nil
	}
	return outcome{results: []store.Result{store.SnapshotPut{Kept: state == stateStored}}}, nil
}

// Document implements [store.DocumentReader].
func (s *Store) Document(ctx context.Context, channel string) (page store.DocumentPage, err error) {
	err = s.query(ctx, "document", s.timeout, func(ctx context.Context, q querier) error {
		page = store.DocumentPage{}
		rows, err := q.Query(ctx, sqlDocument, []byte(channel))
		if err != nil {
			return err
		}
		defer rows.Close()
		var h headColumns
		for rows.Next() {
			var m messageScan
			var version, at *int64
			var data []byte
			if err := rows.Scan(append([]any{&h.epoch, &h.top, &h.floor, &h.recalled, &h.recalls, &version, &at, &data}, m.targets()...)...); err != nil {
				return err
			}
			if data != nil {
				page.Snapshot = store.Snapshot{Version: uint64(*version), Time: *at, Data: data}
			}
			if m.seq == nil {
				continue // a head, and perhaps a snapshot, alone
			}
			message, err := m.message()
			if err != nil {
				return err
			}
			page.Messages = append(page.Messages, message)
		}
		page.Head = h.head()
		return rows.Err()
	})
	if err == nil && page.Head.Epoch == "" {
		err = fmt.Errorf("%w: no epoch", errFault)
	}
	if err != nil {
		return store.DocumentPage{}, err
	}
	return page, nil
}

// Documents are looked at for old patches a page in each step, and all of them in
// each such part of the age that is allowed.
const (
	passDocuments = 1024
	passesOfAge   = 64
)

// pass is where the look at the documents of a namespace is. Most have nothing to
// delete: patches of before the floor and of after the snapshot are no matter of
// age. So there is no index of those that have, which each patch would change.
type pass struct {
	age   time.Duration
	last  int32 // the document that was looked at last; zero: none in this pass
	ended int64 // when the last pass ended; zero: there was none
}

// raiseOld raises the floors of documents whose first patches are too old. True:
// the pass goes on.
func (s *Store) raiseOld(ctx context.Context, t *trimmer, rule store.Keep, now int64, budget int) (raised int, more bool, err error) {
	p := t.passes[rule.Namespace]
	if p == nil || p.age != rule.Age {
		if t.passes == nil {
			t.passes = make(map[string]*pass)
		}
		p = &pass{age: rule.Age}
		t.passes[rule.Namespace] = p
	}
	if since := now - p.ended; p.last == 0 && p.ended > 0 && since >= 0 && since < rule.Age.Milliseconds()/passesOfAge {
		return 0, false, nil
	}
	before := max(0, now-rule.Age.Milliseconds())
	var last int32
	var size int64
	cut := false
	err = s.change(ctx, func(ctx context.Context, tx transaction) (err error) {
		var old []int32
		if old, last, size, err = oldDocuments(ctx, tx, rule.Namespace, p.last, before); err != nil || len(old) == 0 {
			return err
		}
		var floors map[int32]int64
		if floors, cut, err = oldPatches(ctx, tx, old, before, max(1, budget/len(old))); err != nil {
			return err
		}
		raised = len(floors)
		return raise(ctx, tx, floors)
	})
	switch {
	case err != nil:
		return 0, false, err
	case cut: // the same page again
		return raised, true, nil
	case size == passDocuments:
		p.last = last
		return raised, true, nil
	}
	p.last, p.ended = 0, now
	return raised, false, nil
}

// oldDocuments looks at a page of documents, and gives those that are to be trimmed.
func oldDocuments(ctx context.Context, tx transaction, namespace string, after int32, before int64) (old []int32, last int32, size int64, err error) {
	rows, err := tx.Query(ctx, sqlOldDocuments, []byte(namespace), after, passDocuments, before)
	if err != nil {
		return nil, 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var channel int32
		var found bool
		if err := rows.Scan(&channel, &found, &last, &size); err != nil {
			return nil, 0, 0, err
		}
		if found {
			old = append(old, channel)
		}
	}
	return old, last, size, rows.Err()
}

// oldPatches gives the floors that documents ought to have. cut: of one there may
// be more.
func oldPatches(ctx context.Context, tx transaction, documents []int32, before int64, limit int) (floors map[int32]int64, cut bool, err error) {
	rows, err := tx.Query(ctx, sqlOldPatches, documents, before, limit)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	floors = make(map[int32]int64, len(documents))
	for rows.Next() {
		var channel int32
		var seq *int64
		var full bool
		if err := rows.Scan(&channel, &seq, &full); err != nil {
			return nil, false, err
		}
		if seq != nil {
			floors[channel] = *seq
		}
		cut = cut || full
	}
	return floors, cut, rows.Err()
}
