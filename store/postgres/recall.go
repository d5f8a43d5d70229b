package postgres

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

// Withdrawing a message, and editing one.
const (
	// Where a message with an id is. $1 and $2 are its time and its random bytes,
	// $3 its text: the namespaces are few, so each is tried.
	sqlByID = `
WITH found AS MATERIALIZED (
	SELECT m.channel, m.seq FROM namespace n CROSS JOIN LATERAL (
		SELECT channel, seq FROM message
		WHERE age = ANY (ARRAY[(n.id::int8 << 48) + $1::int8, (n.id::int8 << 48) + $1::int8 + '-9223372036854775808'::int8]) AND id = $2::bytea OFFSET 0
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
	SELECT m.channel, m.age & 281474976710655 AS time, m.id, m.recalled IS NOT NULL AND m.data IS NULL AS already, c.top
	FROM channel c CROSS JOIN LATERAL (
		SELECT * FROM message WHERE channel = c.id AND seq = $2 OFFSET 0
	) AS m
	WHERE c.name = $1 AND c.floor < $2
), wiped AS (
	UPDATE message SET event = NULL, sender = NULL, data = NULL, recalled = (SELECT top FROM target)
	WHERE channel = (SELECT channel FROM target WHERE NOT already) AND seq = $2
), noted AS (
	UPDATE channel SET recalled = (SELECT top FROM target), recalls = recalls + 1
	WHERE id = (SELECT channel FROM target WHERE NOT already)
)
SELECT time, id, already FROM target`

	sqlEdit = `
WITH target AS MATERIALIZED (
	SELECT m.channel, m.age & 281474976710655 AS time, m.id, m.sender, c.snapshot IS NOT NULL AS document, c.top
	FROM channel c CROSS JOIN LATERAL (
		SELECT * FROM message WHERE channel = c.id AND seq = $2 AND (recalled IS NULL OR data IS NOT NULL) OFFSET 0
	) AS m
	WHERE c.name = $1 AND c.floor < $2
), edited AS (
	UPDATE message SET event = $3::bytea, data = $4::bytea, recalled = (SELECT top FROM target)
	WHERE channel = (SELECT channel FROM target WHERE NOT document) AND seq = $2
), noted AS (
	UPDATE channel SET recalled = (SELECT top FROM target), recalls = recalls + 1
	WHERE id = (SELECT channel FROM target WHERE NOT document)
)
SELECT time, id, sender, document FROM target`
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
