package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
)

// Withdrawing a message.
const (
	// Where a message with an id is. $1 and $2 are its time and its random bytes,
	// $3 its text: the namespaces are few, so each is tried.
	sqlByID = `
WITH found AS MATERIALIZED (
	SELECT m.channel, m.seq FROM namespace n CROSS JOIN LATERAL (
		SELECT channel, seq FROM message WHERE age = (n.id::int8 << 48) + $1::int8 AND id = $2::bytea OFFSET 0
	) AS m
	UNION ALL
	SELECT channel, seq FROM message WHERE length(id) = 26 AND id = $3::bytea
)
SELECT c.name, f.seq FROM found f CROSS JOIN LATERAL (
	SELECT name, floor FROM channel WHERE id = f.channel OFFSET 0
) AS c WHERE f.seq > c.floor`

	sqlLocate = sqlByID + ` ORDER BY f.channel, f.seq LIMIT 1`

	sqlLocateIn = sqlByID + ` AND c.name = $4 ORDER BY f.seq LIMIT 1`

	sqlRecall = `
WITH target AS MATERIALIZED (
	SELECT m.channel, m.age & 281474976710655 AS time, m.id, m.recalled, c.top
	FROM channel c CROSS JOIN LATERAL (
		SELECT * FROM message WHERE channel = c.id AND seq = $2 OFFSET 0
	) AS m
	WHERE c.name = $1 AND c.floor < $2
), wiped AS (
	UPDATE message SET event = NULL, sender = NULL, data = NULL, recalled = (SELECT top FROM target)
	WHERE channel = (SELECT channel FROM target WHERE recalled IS NULL) AND seq = $2
), noted AS (
	UPDATE channel SET recalled = (SELECT top FROM target), recalls = recalls + 1
	WHERE id = (SELECT channel FROM target WHERE recalled IS NULL)
)
SELECT time, id, recalled IS NOT NULL FROM target`
)

// locate finds the channel of a message that is to be withdrawn by its id
// alone: among those that the group itself appends before, or in the database.
func (s *Store) locate(ctx context.Context, before []store.Command, id string) (store.Recall, error) {
	for _, c := range before {
		if a, ok := c.(store.Append); ok && a.ID == id {
			return store.Recall{Channel: a.Channel, ID: id}, nil
		}
	}
	time, random := idParts(id)
	var channel []byte
	var seq int64
	err := s.query(ctx, "recalls", s.timeout, func(ctx context.Context, q querier) error {
		return q.QueryRow(ctx, sqlLocate, time, random, []byte(id)).Scan(&channel, &seq)
	})
	if err != nil {
		return store.Recall{}, err
	}
	return store.Recall{Channel: string(channel), Seq: uint64(seq), ID: id}, nil
}

// idParts gives the parameters of sqlByID that stand for the parts of a ULID.
// What is none matches nothing.
func idParts(id string) (time int64, random []byte) {
	b, ok := parseULID(id)
	if !ok {
		return 0, nil
	}
	return ulidTime(b[:]), b[idBinary-idRandom:]
}

// errUndone makes a transaction be rolled back whose group has failed.
var errUndone = errors.New("undone")

// writeAlone carries out one group command by command, each of which sees what
// those before it did.
func (s *Store) writeAlone(ctx context.Context, g *group) ([]outcome, error) {
	var o outcome
	err := pgx.BeginFunc(ctx, s.writes, func(tx pgx.Tx) error {
		o = outcome{}
		channels := newNames(s.known, true)
		for _, c := range g.commands {
			if a, ok := c.(store.Append); ok {
				channels.add(a.Channel)
			}
		}
		for _, c := range g.commands {
			if r, ok := c.(store.Recall); ok && r.Channel != "" {
				channels.lockOnly(r.Channel)
			}
		}
		var b pgx.Batch
		ensures := channels.queue(&b)
		answer := tx.SendBatch(ctx, &b)
		epoch, err := readLock(answer, ensures)
		if closed := answer.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
		for _, c := range g.commands {
			var one outcome
			switch c := c.(type) {
			case store.Append:
				one, err = appendOne(ctx, tx, c, epoch)
			case store.Recall:
				one, err = recallOne(ctx, tx, c, epoch)
			}
			if err != nil {
				return err
			}
			if one.err != nil {
				o = one
				return errUndone
			}
			o.results = append(o.results, one.results...)
			o.commits = append(o.commits, one.commits...)
		}
		return nil
	})
	if errors.Is(err, errUndone) {
		err = nil
	}
	return []outcome{o}, err
}

func appendOne(ctx context.Context, tx pgx.Tx, a store.Append, epoch string) (outcome, error) {
	var cols columns
	cols.add(0, &a)
	rows, err := tx.Query(ctx, sqlApply, cols.arguments()...)
	if err != nil {
		return outcome{}, err
	}
	done := make([]outcome, 1)
	missing, err := readApplied(rows, []*group{{commands: []store.Command{a}}}, done, epoch)
	if err == nil && len(missing) > 0 {
		err = errFault // it was made before, in the same transaction
	}
	return done[0], err
}

func recallOne(ctx context.Context, tx pgx.Tx, r store.Recall, epoch string) (outcome, error) {
	if r.Channel == "" {
		return outcome{err: store.ErrNotFound}, nil // it was not located
	}
	seq := clamp(r.Seq)
	if r.Seq == 0 {
		time, random := idParts(r.ID)
		var channel []byte
		err := tx.QueryRow(ctx, sqlLocateIn, time, random, []byte(r.ID), []byte(r.Channel)).Scan(&channel, &seq)
		if errors.Is(err, pgx.ErrNoRows) {
			return outcome{err: store.ErrNotFound}, nil
		}
		if err != nil {
			return outcome{}, err
		}
	}
	var time int64
	var id []byte
	var already bool
	err := tx.QueryRow(ctx, sqlRecall, []byte(r.Channel), seq).Scan(&time, &id, &already)
	if errors.Is(err, pgx.ErrNoRows) {
		return outcome{err: store.ErrNotFound}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	text := unpackID(id, time)
	o := outcome{results: []store.Result{store.Recalled{Channel: r.Channel, Seq: uint64(seq), ID: text, Already: already}}}
	if !already {
		o.commits = []store.Commit{{Channel: r.Channel, Epoch: epoch, Recall: &store.Message{Seq: uint64(seq), ID: text, Time: time, Recalled: true}}}
	}
	return o, nil
}
