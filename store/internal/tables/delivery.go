package tables

import (
	"fmt"

	"github.com/skein-realtime/skein/store"
)

// delivery is one message for one person.
type delivery struct {
	pos, person, seq, push int64
	state                  store.State
	reason                 reason
	hidden                 bool
	counted                int64 // when caps count it; 0: they do not
	sent, ended, read      int64
	rule, device           string
	due, escalate          int64       // 0: not
	kept                   store.State // in the table; 0: it is not there yet
	changed                bool
	message                *message
	inbox                  *inbox
}

// reason is a [store.ReasonCap] and so on, as the column has it.
type reason uint8

const (
	byNone reason = iota
	byCap
	byQuiet
	byUser
	byReplacement
	byFull
	byDeletion
	byReading
)

func (r reason) String() string {
	switch r {
	case byNone:
		return ""
	case byCap:
		return store.ReasonCap
	case byQuiet:
		return store.ReasonQuiet
	case byUser:
		return store.ReasonUser
	case byReplacement:
		return store.ReasonReplaced
	case byFull:
		return store.ReasonFull
	case byDeletion:
		return store.ReasonDeleted
	case byReading:
		return store.ReasonRead
	}
	return fmt.Sprint("reason ", uint8(r))
}

// placeBits are those of a place in the list of all deliveries below the time.
const placeBits = 20

// queued is when it was made.
func (d *delivery) queued() int64 { return d.pos >> placeBits }

// waits tells whether it may be judged again when the user comes: nothing was sent,
// and it was not put off.
func (d *delivery) waits() bool { return d.state == store.Queued && d.due == 0 }

const (
	deliveryColumns = `d.pos, d.person, d.seq, d.push, d.state, d.reason, d.hidden, d.counted, d.sent, d.ended, d.read, d.rule, d.device, coalesce(d.due, 0), coalesce(d.escalate, 0)`

	sqlDeliveries = `SELECT ` + deliveryColumns + ` FROM delivery AS d WHERE d.pos `

	sqlBySeq  = `SELECT ` + deliveryColumns + ` FROM delivery AS d WHERE d.person = ? AND d.seq = ?`
	sqlBySeqs = `SELECT ` + deliveryColumns + ` FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS w(person, seq)
CROSS JOIN LATERAL (SELECT * FROM delivery WHERE person = w.person AND seq = w.seq OFFSET 0) AS d`

	sqlByID  = `SELECT ` + deliveryColumns + ` FROM delivery AS d WHERE d.person = ? AND d.push = (SELECT n FROM push WHERE id = ?)`
	sqlByIDs = `SELECT ` + deliveryColumns + ` FROM unnest(CAST(? AS bigint[]), CAST(? AS bytea[])) AS w(person, id)
CROSS JOIN LATERAL (SELECT n FROM push WHERE id = w.id OFFSET 0) AS x
CROSS JOIN LATERAL (SELECT * FROM delivery WHERE push = x.n AND person = w.person OFFSET 0) AS d`

	sqlByPush  = `SELECT ` + deliveryColumns + ` FROM delivery AS d WHERE d.person = ? AND d.push = ?`
	sqlByPushs = `SELECT ` + deliveryColumns + ` FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS w(person, push)
CROSS JOIN LATERAL (SELECT * FROM delivery WHERE push = w.push AND person = w.person OFFSET 0) AS d`

	sqlUpTo  = `SELECT ` + deliveryColumns + ` FROM delivery AS d WHERE d.person = ? AND d.seq > ? AND d.seq <= ? AND d.state <= 2 ORDER BY d.seq`
	sqlUpTos = `SELECT ` + deliveryColumns + ` FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[])) AS w(person, low, high)
CROSS JOIN LATERAL (SELECT * FROM delivery WHERE person = w.person AND seq > w.low AND seq <= w.high AND state <= 2 ORDER BY seq OFFSET 0) AS d`

	// Those that a message with the same key and category would replace.
	sqlAlike = `SELECT ` + deliveryColumns + ` FROM delivery AS d CROSS JOIN push AS x ON x.n = d.push
WHERE d.person = ? AND d.seq > ? AND d.state = 1 AND x.collapse = ? AND x.category IS NOT DISTINCT FROM ?`
	sqlAlikes = `SELECT ` + deliveryColumns + ` FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bytea[]), CAST(? AS bytea[])) AS w(person, settled, collapse, category)
CROSS JOIN LATERAL (SELECT * FROM delivery WHERE person = w.person AND seq > w.settled AND state = 1 OFFSET 0) AS d
CROSS JOIN LATERAL (SELECT collapse, category FROM push WHERE n = d.push OFFSET 0) AS x
WHERE x.collapse = w.collapse AND x.category IS NOT DISTINCT FROM w.category`

	sqlLastPlace = `SELECT coalesce(max(pos), 0) FROM delivery`

	insertDelivery = `INSERT INTO delivery (pos, person, seq, push, state, reason, hidden, counted, ended, rule, due, escalate, sent, read) `

	sqlInsertAll = insertDelivery + `
SELECT w.pos | nextval('delivery_pos'), w.person, w.seq, w.push, w.state, w.reason, w.hidden, w.counted, w.ended, w.rule, nullif(w.due, 0), nullif(w.escalate, 0), 0, 0
FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]),
	CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bytea[]), CAST(? AS bigint[]), CAST(? AS bigint[]))
	AS w(pos, person, seq, push, state, reason, hidden, counted, ended, rule, due, escalate)`

	sqlUpdate = `
UPDATE delivery SET state = ?, reason = ?, hidden = ?, counted = ?, sent = ?, ended = ?, read = ?, rule = ?, device = ?, due = nullif(CAST(? AS bigint), 0), escalate = nullif(CAST(? AS bigint), 0)
WHERE pos = ?`

	sqlUpdateAll = `
UPDATE delivery AS d SET state = w.state, reason = w.reason, hidden = w.hidden, counted = w.counted, sent = w.sent, ended = w.ended, read = w.read,
	rule = w.rule, device = w.device, due = nullif(w.due, 0), escalate = nullif(w.escalate, 0)
FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]),
	CAST(? AS bytea[]), CAST(? AS bytea[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]))
	AS w(state, reason, hidden, counted, sent, ended, read, rule, device, due, escalate, pos)
WHERE d.pos = w.pos`
)

// rows of SQLite that are inserted at once.
const (
	insertRows = 16
	oneRow     = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(CAST(? AS bigint), 0), nullif(CAST(? AS bigint), 0), 0, 0)`
	fourRows   = oneRow + `, ` + oneRow + `, ` + oneRow + `, ` + oneRow

	sqlInsert     = insertDelivery + `VALUES ` + oneRow
	sqlInsertMany = insertDelivery + `VALUES ` + fourRows + `, ` + fourRows + `, ` + fourRows + `, ` + fourRows
)

func scanDelivery(scan Scan, d *delivery, more ...any) error {
	var state, why, hidden int64
	var rule, device []byte
	columns := [48]any{&d.pos, &d.person, &d.seq, &d.push, &state, &why, &hidden, &d.counted, &d.sent, &d.ended, &d.read, &rule, &device, &d.due, &d.escalate}
	if err := scan(append(columns[:15], more...)...); err != nil {
		return err
	}
	d.state, d.kept, d.reason, d.hidden, d.rule, d.device = store.State(state), store.State(state), reason(why), hidden != 0, string(rule), string(device)
	return nil
}

// taking collects deliveries that a query gives. One that the command has already is
// not taken a second time as another.
func (w *work) taking(rows *[]*delivery) func(Scan) error {
	return func(scan Scan) error {
		d := new(delivery)
		if err := scanDelivery(scan, d); err != nil {
			return err
		}
		if have := w.deliveries[d.pos]; have != nil {
			d = have
		} else {
			w.deliveries[d.pos] = d
		}
		*rows = append(*rows, d)
		return nil
	}
}

// attach gives deliveries their messages and inboxes; the latter are locked already.
func (w *work) attach(rows []*delivery) error {
	if err := w.messagesOf(rows); err != nil {
		return err
	}
	for _, d := range rows {
		if d.message, d.inbox = w.messages[d.push], w.inboxes[d.person]; d.message == nil || d.inbox == nil {
			return fmt.Errorf("delivery %d: its message %d or its person %d is missing", d.pos, d.push, d.person)
		}
	}
	return nil
}

// A place is a delivery that was seen before its person was locked.
type place struct{ pos, person int64 }

// seize locks the persons of deliveries and gives these as they are then. One that is
// gone is left out.
func (w *work) seize(seen []place) (rows []*delivery, err error) {
	persons, places := make([]int64, len(seen)), make([]int64, len(seen))
	for k, s := range seen {
		persons[k], places[k] = s.person, s.pos
	}
	if err := w.lock(persons); err != nil {
		return nil, err
	}
	if err := queryNumbers(w.ctx, w.tx, sqlDeliveries, "", places, w.taking(&rows)); err != nil {
		return nil, err
	}
	order := make(map[int64]*delivery, len(rows))
	for _, d := range rows {
		order[d.pos] = d
	}
	rows = rows[:0]
	for _, s := range seen {
		if d := order[s.pos]; d != nil {
			rows = append(rows, d)
			delete(order, s.pos)
		}
	}
	return rows, w.attach(rows)
}

// insert writes new deliveries, in order.
func (w *work) insert(rows []*delivery) error {
	if len(rows) == 0 {
		return nil
	}
	if w.tx.Dialect() == PostgreSQL {
		return w.insertAll(rows)
	}
	last, err := number(w.ctx, w.tx, sqlLastPlace)
	if err != nil {
		return err
	}
	args := make([]any, 0, 12*insertRows)
	for len(rows) > 0 {
		n, text := 1, sqlInsert
		if len(rows) >= insertRows {
			n, text = insertRows, sqlInsertMany
		}
		args = args[:0]
		for _, d := range rows[:n] {
			last = max(last+1, w.now<<placeBits)
			d.pos = last
			args = append(args, d.pos, d.person, d.seq, d.push, int64(d.state), int64(d.reason), flag(d.hidden), d.counted, d.ended, orNull(null(d.rule)), d.due, d.escalate)
		}
		if _, err := w.tx.Exec(w.ctx, text, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (w *work) insertAll(rows []*delivery) error {
	var numbers [11][]int64
	for k := range numbers {
		numbers[k] = make([]int64, len(rows))
	}
	rules := make([][]byte, len(rows))
	for i, d := range rows {
		d.pos = w.now << placeBits
		for k, v := range [11]int64{d.pos, d.person, d.seq, d.push, int64(d.state), int64(d.reason), flag(d.hidden), d.counted, d.ended, d.due, d.escalate} {
			numbers[k][i] = v
		}
		rules[i] = null(d.rule)
	}
	n := &numbers
	_, err := w.tx.Exec(w.ctx, sqlInsertAll, n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], rules, n[9], n[10])
	return err
}

// update writes deliveries that have changed.
func (w *work) update(rows []*delivery) error {
	var numbers [10][]int64
	var rules, devices [][]byte
	for _, d := range rows {
		for k, v := range [10]int64{int64(d.state), int64(d.reason), flag(d.hidden), d.counted, d.sent, d.ended, d.read, d.due, d.escalate, d.pos} {
			numbers[k] = append(numbers[k], v)
		}
		rules, devices = append(rules, null(d.rule)), append(devices, null(d.device))
	}
	n := &numbers
	return execRows(w.ctx, w.tx, sqlUpdate, sqlUpdateAll, n[0], n[1], n[2], n[3], n[4], n[5], n[6], rules, devices, n[7], n[8], n[9])
}
