package postgres

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
)

// The three statements of a batch. They go out together, and the server makes
// one transaction of them: it commits when it has carried out the last. Each
// sees what was committed before it began, which is why the lock is a
// statement of its own: the next one sees everything that was done by those for
// whom it waited.
//
// A plan is kept as long as its connection, so it must be good whatever the
// planner knew of the tables at that time. That is why rows are looked up in
// laterals with OFFSET 0 and in scalar subqueries, which nothing can turn into
// a join that reads a table from end to end, and why heads are updated as the
// conflict of an insert, which always goes by the index.
const (
	// New channels, by name, so that nodes that make the same ones do not wait for
	// each other in a circle.
	sqlEnsure = `
WITH wanted AS MATERIALIZED (
	SELECT w.name, w.namespace FROM unnest($1::bytea[], $2::bytea[]) AS w(name, namespace)
	WHERE (SELECT c.id FROM channel c WHERE c.name = w.name) IS NULL
)
INSERT INTO channel (name, namespace)
SELECT name, (SELECT n.id FROM namespace n WHERE n.name = w.namespace) FROM wanted w
ORDER BY name
ON CONFLICT DO NOTHING`

	// New namespaces come before: the statement for channels has to see them.
	sqlEnsureNamespaces = `
INSERT INTO namespace (name)
SELECT w.name FROM unnest($1::bytea[]) AS w(name)
WHERE (SELECT n.id FROM namespace n WHERE n.name = w.name) IS NULL
ORDER BY w.name
ON CONFLICT DO NOTHING`

	// The heads, in the order in which every node locks them. With a plain id the
	// index of ids could give the order, and all of them.
	sqlLock = `
SELECT s.epoch, (
	SELECT count(*) FROM (
		SELECT FROM channel WHERE name = ANY ($1::bytea[]) ORDER BY id + 0 FOR NO KEY UPDATE
	) AS locked
) FROM store s`

	// Everything else. A command is stored unless its key was used (duplicate, or
	// conflict when for other content), its channel is not there, or its document has
	// another version; and nothing of a group is stored when one of it is in conflict,
	// has no channel or the wrong version. A channel that comes with a version comes
	// once in a batch, so that its top is known before anything is numbered.
	//
	// Batches without versions have a statement of their own: to carry what only
	// documents need along with every message would cost some percent.
	sqlApply = applyAsked + applyKnown + `c.snapshot IS NULL THEN 0` +
		applyGiven + applyNames +
		applyOrder + applyNumbered + `greatest(floor, CASE WHEN keep > 0 THEN seq - keep ELSE 0 END)) AS floor` +
		applyMessages +
		applyHeads + applyEnds + applyUpdate + applyLitters + applyAnswer + applyEnd

	sqlApplyVersions = applyAsked + `, c.snapshot` +
		applyKnown + `CASE i.version WHEN 0 THEN c.snapshot IS NULL WHEN c.top + 1 THEN c.top = 0 OR c.snapshot IS NOT NULL ELSE false END THEN 0` +
		applyGiven + `, $13::int8[]` + applyNames + `version, ` +
		applyOrder + applyNumbered + `greatest(floor, CASE WHEN keep > 0 THEN least(seq - keep, CASE WHEN version > 0 THEN coalesce(snapshot, 0) END) ELSE 0 END)) AS floor,
		max(CASE WHEN version > 0 THEN coalesce(snapshot, 0) END) AS snapshot` +
		applyMessages + ` + CASE WHEN version > 0 THEN '-9223372036854775808'::int8 ELSE 0 END` +
		applyHeads + `, snapshot` + applyEnds + `, snapshot` + applyUpdate + `, snapshot = excluded.snapshot` + applyLitters + applyAnswer + applyEnd

	applyAsked = `
WITH asked AS (
	SELECT i.*, c.id AS channel, c.namespace, c.top, c.floor, c.swept`

	applyKnown = `, k.seq AS first, k.id AS first_id,
		CASE
			WHEN c.id IS NULL THEN 3
			WHEN k.seq IS NULL THEN CASE WHEN `

	applyGiven = ` ELSE 4 END
			WHEN k.content IS NOT DISTINCT FROM i.content THEN 1
			ELSE 2
		END AS state
	FROM unnest($1::int4[], $2::bytea[], $3::int8[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[],
		$8::int8[], $9::bytea[], $10::bytea[], $11::int8[], $12::bytea[]`

	applyNames = `)
		WITH ORDINALITY AS i(grp, name, time, id, event, sender, data, keep, key, content, expires, whole_id, `

	applyOrder = `ord)
	LEFT JOIN LATERAL (
		SELECT * FROM channel WHERE channel.name = i.name OFFSET 0
	) AS c ON true
	LEFT JOIN LATERAL (
		SELECT * FROM idem WHERE idem.channel = c.id AND idem.key = i.key OFFSET 0
	) AS k ON k.expires >= i.time`

	applyNumbered = `
), judged AS (
	SELECT asked.*, bool_or(state >= 2) OVER (PARTITION BY grp) AS bad FROM asked
), numbered AS MATERIALIZED (
	SELECT judged.*, state = 0 AND NOT bad AS stored,
		top + count(*) FILTER (WHERE state = 0 AND NOT bad) OVER (PARTITION BY channel ORDER BY ord) AS seq
	FROM judged
), ends AS MATERIALIZED (
	SELECT channel, namespace, name, max(seq) AS top, min(floor) AS old_floor, min(swept) AS swept,
		max(`

	applyMessages = `
	FROM numbered WHERE stored GROUP BY channel, namespace, name
), messages AS (
	INSERT INTO message (seq, age, channel, id, event, sender, data)
	SELECT seq, (namespace::int8 << 48) + time`

	applyHeads = `, channel, id, event, sender, data FROM numbered WHERE stored
), keys AS (
	INSERT INTO idem (channel, key, seq, expires, id, content)
	SELECT channel, key, seq, expires, whole_id, content FROM numbered WHERE stored AND key IS NOT NULL
	ON CONFLICT (channel, key) DO UPDATE
	SET seq = excluded.seq, expires = excluded.expires, id = excluded.id, content = excluded.content
), heads AS (
	INSERT INTO channel (id, namespace, name, top, floor`

	applyEnds = `)
	SELECT channel, namespace, name, top, floor`

	applyUpdate = ` FROM ends
	ON CONFLICT (id) DO UPDATE SET top = excluded.top, floor = excluded.floor`

	applyLitters = `
), litters AS (
	INSERT INTO litter (channel)
	SELECT channel FROM ends WHERE floor > swept AND old_floor <= swept
	ON CONFLICT DO NOTHING
)`

	applyAnswer = `
SELECT state, CASE state WHEN 0 THEN seq ELSE first END, first_id`

	applyEnd = ` FROM numbered ORDER BY ord`
)

// States of a command, as sqlApply gives them.
const (
	stateStored = iota
	stateDuplicate
	stateConflict
	stateMissing // the channel has to be made first
	stateMoved   // the document has another version, or the channel is none
	stateDenied  // its author may not write
)

// columns are the commands of a batch, a list for each parameter of sqlApply,
// sqlApplyVersions and sqlApplyAuthors.
type columns struct {
	group                   []int32
	name                    [][]byte
	time                    []int64
	id, event, sender, data [][]byte
	keep                    []int64
	key, content            [][]byte
	expires                 []int64
	wholeID                 [][]byte
	version                 []int64
	versions                bool // there is one
	authors                 authorColumns
}

func (c *columns) add(group int, a *store.Append) {
	c.group = append(c.group, int32(group))
	c.name = append(c.name, []byte(a.Channel))
	c.time = append(c.time, a.Time)
	c.id = append(c.id, packID(a.ID, a.Time))
	c.event = append(c.event, packEvent(a.Event))
	c.sender = append(c.sender, packSender(a.Sender, &a.Meta))
	c.data = append(c.data, a.Data)
	c.keep = append(c.keep, int64(a.Keep))
	c.expires = append(c.expires, a.Expires)
	c.version = append(c.version, clamp(a.Version))
	c.versions = c.versions || a.Version != 0
	c.authors.add(len(c.group)-1, a.Author)
	if len(a.Key) == 0 {
		c.key, c.content, c.wholeID = append(c.key, nil), append(c.content, nil), append(c.wholeID, nil)
		return
	}
	c.key = append(c.key, a.Key)
	c.content = append(c.content, append([]byte{}, a.Content...)) // no content equals an empty one
	c.wholeID = append(c.wholeID, packWholeID(a.ID))
}

// queue adds the statement for the commands.
func (c *columns) queue(b *pgx.Batch) {
	arguments := []any{c.group, c.name, c.time, c.id, c.event, c.sender, c.data, c.keep, c.key, c.content, c.expires, c.wholeID}
	if c.versions {
		b.Queue(sqlApplyVersions, append(arguments, c.version)...)
		return
	}
	if by := &c.authors; len(by.author) > 0 {
		b.Queue(sqlApplyAuthors, append(arguments, by.author, by.one, by.two, by.alert)...)
		return
	}
	b.Queue(sqlApply, arguments...)
}

// writeBatch carries out groups of appends. What needs a channel that is
// unexpectedly not there is repeated after it was made.
func (s *Store) writeBatch(ctx context.Context, batch []*group) ([]outcome, error) {
	done := make([]outcome, len(batch))
	missing, err := s.writeOnce(ctx, batch, done, false)
	if err != nil || len(missing) == 0 {
		return done, err
	}
	again := make([]*group, len(missing))
	for i, at := range missing {
		again[i] = batch[at]
	}
	repeated := make([]outcome, len(again))
	still, err := s.writeOnce(ctx, again, repeated, true)
	if err == nil && len(still) > 0 {
		err = fmt.Errorf("%w: a channel that was just made is not there", errFault)
	}
	for i, at := range missing {
		done[at] = repeated[i]
		if err != nil {
			// The others have been committed, so that only these have failed.
			done[at] = outcome{err: wrap(context.Background(), "writing", err)}
		}
	}
	return done, nil
}

// writeOnce sends a batch in one round trip and fills in what became of the
// groups, apart from those in missing.
func (s *Store) writeOnce(ctx context.Context, batch []*group, done []outcome, sure bool) (missing []int, err error) {
	conn, err := s.writes.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	var cols columns
	var by authors
	channels := newNames(s.known, sure)
	for i, g := range batch {
		for _, c := range g.commands {
			a := c.(store.Append)
			cols.add(i, &a)
			channels.add(a.Channel)
			by.add(&a, s.begun)
		}
	}
	var b pgx.Batch
	ensures := channels.queue(&b)
	locks := by.queue(&b)
	cols.queue(&b)
	drops := by.queueEnd(&b)
	answer := conn.SendBatch(ctx, &b)
	epoch, err := readLock(answer, ensures)
	if err == nil {
		err = discard(answer, locks)
	}
	if err == nil {
		var rows pgx.Rows
		if rows, err = answer.Query(); err == nil {
			missing, err = readApplied(rows, batch, done, epoch, len(cols.authors.author) > 0)
		}
	}
	if err == nil {
		err = discard(answer, drops)
	}
	// The commit is the last answer, so that only this error says how it ended.
	if closed := answer.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	channels.learn()
	for i, g := range batch {
		if g.authors && done[i].err == nil && len(done[i].results) > 0 {
			s.learnBegun(g)
		}
	}
	return missing, nil
}

// readLock reads the answers of the statements before sqlApply.
func readLock(answer pgx.BatchResults, ensures int) (epoch string, err error) {
	for range ensures {
		if _, err := answer.Exec(); err != nil {
			return "", err
		}
	}
	var locked int64
	err = answer.QueryRow().Scan(&epoch, &locked)
	return epoch, err
}

// readApplied reads the answer of sqlApply, or of sqlApplyAuthors: that tells besides
// whether the channel of a message has got members.
func readApplied(rows pgx.Rows, batch []*group, done []outcome, epoch string, authors bool) (missing []int, err error) {
	defer rows.Close()
	told := map[string]bool(nil) // which have begun with an earlier message
	for i, g := range batch {
		o := outcome{results: make([]store.Result, 0, len(g.commands))}
		absent := false
		for _, c := range g.commands {
			if !rows.Next() {
				rows.Close()
				if rows.Err() != nil {
					return nil, rows.Err()
				}
				return nil, fmt.Errorf("%w: fewer answers than commands", errFault)
			}
			var state int32
			var seq *int64
			var first []byte
			began := false
			var err error
			if authors {
				var members bool
				err = rows.Scan(&state, &seq, &first, &members)
				began = members
			} else {
				err = rows.Scan(&state, &seq, &first)
			}
			if err != nil {
				return nil, err
			}
			a := c.(store.Append)
			switch state {
			case stateStored:
				if began && !told[a.Channel] {
					if told == nil {
						told = make(map[string]bool)
					}
					told[a.Channel] = true
				} else {
					began = false
				}
				o.append(epoch, uint64(*seq), &a, began)
			case stateDuplicate:
				o.results = append(o.results, store.Appended{Epoch: epoch, Seq: uint64(*seq), ID: unpackWholeID(first), Duplicate: true})
			case stateConflict:
				o.err = cmp.Or(o.err, store.ErrConflict) // the first one counts
			case stateMoved:
				o.err = cmp.Or(o.err, store.ErrMoved)
			case stateDenied:
				o.err = cmp.Or(o.err, store.ErrDenied)
			case stateMissing:
				absent = true
			}
		}
		switch {
		case absent:
			missing = append(missing, i)
		case o.err != nil:
			done[i] = outcome{err: o.err}
		default:
			done[i] = o
		}
	}
	rows.Close()
	return missing, rows.Err()
}

// append notes a message that was stored.
func (o *outcome) append(epoch string, seq uint64, a *store.Append, began bool) {
	o.results = append(o.results, store.Appended{Epoch: epoch, Seq: seq, ID: a.ID, Began: began})
	o.commits = append(o.commits, store.Commit{Channel: a.Channel, Epoch: epoch, Message: &store.Message{
		Seq: seq, ID: a.ID, Time: a.Time, Event: a.Event, Data: a.Data, Sender: a.Sender, Meta: a.Meta,
	}})
}

// names are the channels of a transaction, each once, and those among them that
// may have to be made.
type names struct {
	known      *knownNames
	sure       bool // make whatever is not there
	seen       map[string]struct{}
	all        [][]byte
	new        [][]byte
	namespaces [][]byte // of new
}

func newNames(known *knownNames, sure bool) *names {
	return &names{known: known, sure: sure, seen: make(map[string]struct{})}
}

func (n *names) add(channel string) {
	if _, seen := n.seen[channel]; seen {
		return
	}
	n.seen[channel] = struct{}{}
	n.all = append(n.all, []byte(channel))
	if n.sure || !n.known.has(channel) {
		n.new = append(n.new, []byte(channel))
		n.namespaces = append(n.namespaces, []byte(namespaceOf(channel)))
	}
}

// lockOnly adds a channel that is not made when it is not there.
func (n *names) lockOnly(channel string) {
	if _, seen := n.seen[channel]; !seen {
		n.seen[channel] = struct{}{}
		n.all = append(n.all, []byte(channel))
	}
}

// queue adds the statements that make and lock the channels, and tells how many
// come before the lock.
func (n *names) queue(b *pgx.Batch) (ensures int) {
	if len(n.new) > 0 {
		b.Queue(sqlEnsureNamespaces, compact(n.namespaces))
		b.Queue(sqlEnsure, n.new, n.namespaces)
		ensures = 2
	}
	b.Queue(sqlLock, n.all)
	return ensures
}

// compact gives each name once.
func compact(names [][]byte) [][]byte {
	names = slices.Clone(names)
	slices.SortFunc(names, slices.Compare)
	return slices.CompactFunc(names, slices.Equal)
}

// learn remembers that the channels are there.
func (n *names) learn() {
	for _, name := range n.new {
		n.known.add(name)
	}
}

// knownNames remembers channels that are in the database, so that they are not
// looked for before each append. It is only a hint: it forgets when the place
// is needed, and sqlApply finds out when it is wrong.
type knownNames struct {
	seed  maphash.Seed
	slots []atomic.Uint64
}

// knownSlots makes it one megabyte.
const knownSlots = 1 << 17

func newKnownNames(seed maphash.Seed) *knownNames {
	return &knownNames{seed: seed, slots: make([]atomic.Uint64, knownSlots)}
}

func (k *knownNames) has(name string) bool {
	h := maphash.String(k.seed, name)
	return k.slots[h%knownSlots].Load() == h
}

func (k *knownNames) add(name []byte) {
	h := maphash.Bytes(k.seed, name)
	k.slots[h%knownSlots].Store(h)
}
