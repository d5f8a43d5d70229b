package tables

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// message is a row of push.
type message struct {
	store.Content // with Event and Data only when they were asked for

	n         int64
	everyone  int64 // number of a broadcast; 0: it is none
	audience  int64
	withdrawn int64
	// ending tells that what is open of it ends now: persons with numbers below it have
	// been gone through. 0: its time has not come. hasEnded: nothing of it is open.
	ending int64

	change totals // by this command
	added  bool   // it got new deliveries by this command
}

const hasEnded = -1

// totals are numbers of deliveries, by state; 0 is for those that were read.
type totals [store.Failed + 1]int64

func (t *totals) add(u *totals) {
	for k := range t {
		t[k] += u[k]
	}
}

func (t *totals) open() int64 { return t[store.Queued] + t[store.Sent] }

// over tells whether the message ends what is open of it.
func (m *message) over(now int64) bool {
	return m.withdrawn != 0 || m.ending != 0 || m.Expires != 0 && m.Expires <= now
}

// counts tells whether deliveries of the message are counted.
func (m *message) counts() bool {
	return len(m.Policy.Chain) > 0 && (!m.Policy.Bypass || m.Policy.Counts)
}

const (
	messageColumns = `SELECT x.n, x.id, x.time, x.category, x.policy, x.expires, x.collapse, x.escalate, x.campaign, coalesce(x.everyone, 0), x.audience, x.withdrawn, x.ending`
	contentColumns = messageColumns + `, x.event, x.data`
	totalColumns   = `, x.read, x.queued, x.sent, x.delivered, x.capped, x.muted, x.expired, x.recalled, x.failed`

	sqlMessages     = messageColumns + ` FROM push AS x WHERE x.n `
	sqlContents     = contentColumns + ` FROM push AS x WHERE x.n `
	sqlMessageByID  = contentColumns + totalColumns + ` FROM push AS x WHERE x.id = ?`
	sqlMessagesByID = contentColumns + totalColumns + `, w.place FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(id, place)
CROSS JOIN LATERAL (SELECT * FROM push WHERE id = w.id OFFSET 0) AS x`
	sqlBroadcasts = messageColumns + ` FROM push AS x WHERE x.everyone > ? AND x.everyone <= ? ORDER BY x.everyone LIMIT CAST(? AS bigint)`

	sqlNewMessage = `
INSERT INTO push (id, time, event, data, category, policy, expires, expiring, collapse, escalate, campaign, everyone, audience, withdrawn, ending)
VALUES (?, ?, ?, ?, ?, ?, ?, nullif(CAST(? AS bigint), 0), ?, ?, ?, nullif(CAST(? AS bigint), 0), ?, 0, 0) ON CONFLICT (id) DO NOTHING RETURNING n`

	sqlAddTotals = `
UPDATE push SET read = read + ?, queued = queued + ?, sent = sent + ?, delivered = delivered + ?, capped = capped + ?,
	muted = muted + ?, expired = expired + ?, recalled = recalled + ?, failed = failed + ? WHERE n = ?`

	sqlAddAllTotals = `
UPDATE push AS x SET read = x.read + w.read, queued = x.queued + w.queued, sent = x.sent + w.sent, delivered = x.delivered + w.delivered, capped = x.capped + w.capped,
	muted = x.muted + w.muted, expired = x.expired + w.expired, recalled = x.recalled + w.recalled, failed = x.failed + w.failed
FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]),
	CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[])) AS w(read, queued, sent, delivered, capped, muted, expired, recalled, failed, n)
WHERE x.n = w.n RETURNING x.n, CASE WHEN x.withdrawn = 0 AND x.ending = 0 THEN 1 ELSE 0 END`

	sqlLockTotals = `SELECT x.n FROM push AS x WHERE x.n `

	sqlKey    = `SELECT push, digest FROM push_key WHERE key = ? AND expires >= ?`
	sqlPutKey = `
INSERT INTO push_key (key, push, digest, expires) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET push = excluded.push, digest = excluded.digest, expires = excluded.expires WHERE push_key.expires < ?`

	sqlStep = `UPDATE campaign SET cursor = ? WHERE id = ? AND version = ? AND cursor = ?`

	sqlNextBroadcast = `UPDATE counter SET n = n + 1 WHERE name = 'broadcast' RETURNING n`
	sqlAudience      = `SELECT count(*) FROM person`
)

// scanMessage reads a row with messageColumns, and what else it has.
func scanMessage(scan Scan, m *message, more ...any) error {
	var id, category, policy, collapse, campaign []byte
	columns := [32]any{&m.n, &id, &m.Time, &category, &policy, &m.Expires, &collapse, &m.Escalate, &campaign, &m.everyone, &m.audience, &m.withdrawn, &m.ending}
	if err := scan(append(columns[:13], more...)...); err != nil {
		return err
	}
	m.ID, m.Category, m.Collapse, m.Campaign = string(id), string(category), string(collapse), string(campaign)
	return decodePolicy(policy, &m.Policy)
}

// scanContent reads a row with contentColumns, and what else it has.
func scanContent(scan Scan, m *message, more ...any) error {
	var event []byte
	if err := scanMessage(scan, m, append([]any{&event, &m.Data}, more...)...); err != nil {
		return err
	}
	m.Event, m.Data = eventOf(event), emptyIsNil(m.Data)
	return nil
}

// eventOf is an event as the column has it.
func eventOf(b []byte) string {
	if b == nil {
		return protocol.DefaultEvent
	}
	return string(b)
}

func decodePolicy(b []byte, p *fatigue.Policy) error {
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, p); err != nil {
		return fmt.Errorf("the policy of a push: %w", err)
	}
	return nil
}

// encodePolicy gives nothing for the policy that lets everything through.
func encodePolicy(p *fatigue.Policy) ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	none, err := json.Marshal(new(fatigue.Policy))
	if bytes.Equal(b, none) {
		return nil, err
	}
	return b, err
}

// messagesOf reads the messages of deliveries, without what is in them.
func (w *work) messagesOf(rows []*delivery) error {
	var missing []int64
	for _, d := range rows {
		if w.messages[d.push] == nil && !slices.Contains(missing[max(0, len(missing)-8):], d.push) {
			missing = append(missing, d.push)
		}
	}
	if len(missing) > 8 {
		slices.Sort(missing)
		missing = slices.Compact(missing)
	}
	return queryNumbers(w.ctx, w.tx, sqlMessages, "", missing, func(scan Scan) error {
		m := new(message)
		if err := scanMessage(scan, m); err != nil {
			return err
		}
		if w.messages[m.n] == nil {
			w.messages[m.n] = m
		}
		return nil
	})
}

// contentsOf gives what is in the messages of deliveries, by number.
func (w *work) contentsOf(rows []*delivery) (map[int64]*store.Content, error) {
	numbers := make([]int64, 0, len(rows))
	for _, d := range rows {
		numbers = append(numbers, d.push)
	}
	slices.Sort(numbers)
	contents := make(map[int64]*store.Content, len(numbers))
	return contents, queryNumbers(w.ctx, w.tx, sqlContents, "", slices.Compact(numbers), func(scan Scan) error {
		m := new(message)
		contents[m.n] = nil
		err := scanContent(scan, m)
		contents[m.n] = &m.Content
		return err
	})
}

// admitted finds the message that a key stands for, or that has the id, or else keeps it;
// known tells that it was there. It moves the campaign on, too. kind tells whether a
// message is of the right kind. An error of the contract comes before anything is
// written.
func (w *work) admitted(c *store.Content, key, digest []byte, s *store.Step, kind func(*message) bool, create func() (*message, error)) (m *message, known, duplicate bool, err error) {
	if m, err = w.keyed(key, digest); err != nil {
		return nil, false, false, err
	}
	duplicate = m != nil
	if m == nil && s == nil {
		// Most are new, so it is not asked before.
		if m, err = create(); m != nil || err != nil {
			return m, false, false, err
		}
	}
	if m == nil {
		if m, err = w.messageOf(c.ID); err != nil {
			return nil, false, false, err
		}
	}
	if m != nil && !kind(m) {
		return nil, false, false, store.ErrConflict
	}
	if err := w.step(s); err != nil || m != nil {
		return m, m != nil, duplicate, err
	}
	if m, err = create(); err == nil && m == nil {
		err = w.again() // somebody else was first
	}
	return m, false, false, err
}

// keyed gives the message that a key stands for; nil: there is none.
func (w *work) keyed(key, digest []byte) (m *message, err error) {
	if len(key) == 0 {
		return nil, nil
	}
	var n int64
	var kept []byte
	if err := w.tx.Query(w.ctx, sqlKey, func(scan Scan) error { return scan(&n, &kept) }, key, w.now); err != nil || n == 0 {
		return nil, err
	}
	if !bytes.Equal(kept, digest) {
		return nil, store.ErrConflict
	}
	err = queryNumbers(w.ctx, w.tx, sqlContents, "", []int64{n}, func(scan Scan) error {
		m = new(message)
		w.messages[n] = m
		return scanContent(scan, m)
	})
	return m, err
}

// messageOf gives a message by its id; nil: there is none.
func (w *work) messageOf(id string) (m *message, err error) {
	err = w.tx.Query(w.ctx, sqlMessageByID, func(scan Scan) error {
		m = new(message)
		var kept totals
		return scanContent(scan, m, kept.columns()...)
	}, []byte(id))
	if m != nil {
		w.messages[m.n] = m
	}
	return m, err
}

// step moves a campaign on; it is an error of the contract when it is not where it
// should be. Nothing may have been written before, and errors of the contract may not
// come after it.
func (w *work) step(s *store.Step) error {
	if s == nil {
		return nil
	}
	changed, err := w.tx.Exec(w.ctx, sqlStep, []byte(s.To), []byte(s.Campaign), int64(s.Version), []byte(s.From))
	if err == nil && changed == 0 {
		err = store.ErrConflict
	}
	return err
}

// create keeps a message; nil: one with its id is there.
func (w *work) create(c *store.Content, everyone, audience int64) (*message, error) {
	m := &message{Content: *c, everyone: everyone, audience: audience}
	policy, err := encodePolicy(&c.Policy)
	if err != nil {
		return nil, err
	}
	event := []byte(c.Event)
	if c.Event == protocol.DefaultEvent {
		event = nil
	}
	if m.n, err = number(w.ctx, w.tx, sqlNewMessage, []byte(c.ID), c.Time, orNull(event), filled(c.Data), orNull(null(c.Category)), orNull(policy), c.Expires, c.Expires,
		orNull(null(c.Collapse)), c.Escalate, orNull(null(c.Campaign)), everyone, audience); err != nil {
		return nil, err
	}
	if m.n == 0 {
		return nil, nil
	}
	m.Data = bytes.Clone(c.Data) // that is the caller's
	w.messages[m.n] = m
	return m, nil
}

// orNull is b as an argument, where no bytes are a null.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// putKey has a key stand for a message.
func (w *work) putKey(m *message, key, digest []byte, expires int64) error {
	if len(key) == 0 {
		return nil
	}
	changed, err := w.tx.Exec(w.ctx, sqlPutKey, key, m.n, filled(digest), expires, w.now)
	if err == nil && changed == 0 {
		err = w.again() // somebody else has used it
	}
	return err
}

// columns gives places for totalColumns.
func (t *totals) columns() []any {
	list := make([]any, len(t))
	for k := range t {
		list[k] = &t[k]
	}
	return list
}

// saveTotals adds what the command has changed to the totals of messages, or has it
// done at the end of the transaction.
func (w *work) saveTotals() error {
	sums := map[int64]*pending{}
	for n, m := range w.messages {
		if m.change != (totals{}) || m.added {
			sums[n] = &pending{totals: m.change, added: m.added, going: m.added && m.withdrawn == 0 && m.ending == 0}
			m.change, m.added = totals{}, false
		}
	}
	if d, is := w.tx.(*deferring); is {
		d.add(sums)
		return nil
	}
	return w.addTotals(sums)
}

// pending are changes of a message's totals that are not written yet.
type pending struct {
	totals totals
	added  bool // there are new deliveries among them: it must not be gone
	going  bool // nor must it be ending, as it was not when they were judged
}

func (w *work) addTotals(sums map[int64]*pending) error {
	if len(sums) == 0 {
		return nil
	}
	// Whoever changes totals does so in this order, and last.
	numbers := slices.Sorted(maps.Keys(sums))
	if w.tx.Dialect() == PostgreSQL && len(numbers) > 1 {
		if err := queryNumbers(w.ctx, w.tx, sqlLockTotals, "ORDER BY x.n FOR NO KEY UPDATE", numbers, func(scan Scan) error {
			var n int64
			return scan(&n)
		}); err != nil {
			return err
		}
	}
	var columns [len(totals{}) + 1]column
	for k := range len(totals{}) {
		values := make([]int64, len(numbers))
		for i, n := range numbers {
			values[i] = sums[n].totals[k]
		}
		columns[k] = values
	}
	columns[len(totals{})] = numbers
	if w.tx.Dialect() == SQLite {
		return execRows(w.ctx, w.tx, sqlAddTotals, "", columns[:]...)
	}
	there, going := map[int64]bool{}, map[int64]bool{}
	if err := w.tx.Query(w.ctx, sqlAddAllTotals, func(scan Scan) error {
		var n, is int64
		err := scan(&n, &is)
		there[n], going[n] = true, is == 1
		return err
	}, columns[:]...); err != nil {
		return err
	}
	// Who ended the message did not see what was being added to it, and who adds did
	// not see that it ends. The one who comes last has to find out.
	for n, p := range sums {
		if p.added && !there[n] || p.going && !going[n] {
			return w.again()
		}
	}
	return nil
}

// again has the whole transaction be carried out once more, from its beginning: what
// it has read is not so any more.
func (w *work) again() error {
	if w.tx.Dialect() == SQLite {
		return errors.New("what one writer alone can change has changed")
	}
	_, err := w.tx.Exec(w.ctx, sqlAgain)
	return cmp.Or(err, errors.New("the database did not refuse"))
}

// What refuses so is repeated, like every other transaction that others came in the
// way of.
const sqlAgain = `DO $$ BEGIN RAISE EXCEPTION 'the transaction is to be repeated' USING ERRCODE = 'serialization_failure'; END $$`
