package tables

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/store"
)

// inbox is what stands in a person's row of his inbox and of what was counted.
type inbox struct {
	n    int64
	user string
	zone *time.Location

	top, floor, read, merged int64
	// held is the seq of the first delivery that was held back, and of which the user was
	// not told yet; 0: there is none. told says that the user is being told now.
	held int64
	told bool
	// open is how many deliveries are open. settled is the seq before that of the first
	// of them, or top when there is none.
	open, settled int64

	muted  []string
	counts fatigue.State

	last    int64     // the number of the last broadcast, when it was asked for
	epoch   string    // as last
	changed bool      // the row is older
	counted bool      // so is what was counted
	ended   bool      // the first open delivery may be another one
	mine    *delivery // that of the message that is being pushed
}

const (
	inboxColumns = `SELECT p.n, p.user_id, p.zone, p.top, p.floor, p.settled, p.open, p.read, p.merged, p.held, p.muted, p.counts`

	sqlInbox     = inboxColumns + ` FROM person AS p WHERE p.user_id = ?`
	sqlLockInbox = sqlInbox + ` FOR NO KEY UPDATE`

	// For whoever wants to know about the inbox itself.
	inboxSQLite   = inboxColumns + `, (SELECT n FROM counter WHERE name = 'broadcast'), (SELECT v FROM meta WHERE k = 'epoch') FROM person AS p WHERE p.user_id = ?`
	inboxPostgres = inboxColumns + `, (SELECT n FROM counter WHERE name = 'broadcast'), (SELECT convert_to(epoch, 'UTF8') FROM store) FROM person AS p WHERE p.user_id = ?`
	inboxesAll    = inboxColumns + `, (SELECT n FROM counter WHERE name = 'broadcast'), (SELECT convert_to(epoch, 'UTF8') FROM store), w.place
FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT * FROM person WHERE user_id = w.user_id OFFSET 0) AS p`

	sqlInboxes  = inboxColumns + ` FROM person AS p WHERE p.n `
	lockInboxes = `ORDER BY p.n FOR NO KEY UPDATE`

	sqlNumbers = `
SELECT w.place, p.n FROM unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(user_id, place)
CROSS JOIN LATERAL (SELECT n FROM person WHERE user_id = w.user_id OFFSET 0) AS p`

	// Who comes later than a broadcast does not get it.
	sqlNewInbox = `
INSERT INTO person (user_id, created, changed, top, floor, settled, open, read, merged)
VALUES (?, ?, 0, 0, 0, 0, 0, 0, (SELECT n FROM counter WHERE name = 'broadcast')) ON CONFLICT (user_id) DO NOTHING RETURNING n, merged`

	sqlNewInboxes = `
INSERT INTO person (user_id, created, changed, top, floor, settled, open, read, merged)
SELECT w.user_id, CAST(? AS bigint), 0, 0, 0, 0, 0, 0, (SELECT n FROM counter WHERE name = 'broadcast')
FROM unnest(CAST(? AS bytea[])) AS w(user_id) ORDER BY w.user_id
ON CONFLICT (user_id) DO NOTHING`

	sqlSaveInbox = `UPDATE person SET top = ?, floor = ?, settled = ?, open = ?, read = ?, merged = ?, held = ? WHERE n = ?`

	sqlSaveInboxes = `
UPDATE person AS p SET top = w.top, floor = w.floor, settled = w.settled, open = w.open, read = w.read, merged = w.merged, held = w.held
FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]))
	AS w(top, floor, settled, open, read, merged, held, n) WHERE p.n = w.n`

	sqlSaveCounts = `UPDATE person SET top = ?, floor = ?, settled = ?, open = ?, read = ?, merged = ?, held = ?, counts = ? WHERE n = ?`

	sqlSaveAllCounts = `
UPDATE person AS p SET top = w.top, floor = w.floor, settled = w.settled, open = w.open, read = w.read, merged = w.merged, held = w.held, counts = w.counts
FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bigint[]), CAST(? AS bytea[]), CAST(? AS bigint[]))
	AS w(top, floor, settled, open, read, merged, held, counts, n) WHERE p.n = w.n`

	sqlFirstOpen = `SELECT d.person, d.seq FROM delivery AS d WHERE d.person = ? AND d.seq > ? AND d.state <= 2 ORDER BY d.seq LIMIT 1`

	sqlFirstOpens = `
SELECT w.person, d.seq FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS w(person, settled)
CROSS JOIN LATERAL (SELECT seq FROM delivery WHERE person = w.person AND seq > w.settled AND state <= 2 ORDER BY seq LIMIT 1) AS d`
)

// scanInbox reads a row with inboxColumns, and what else it has.
func (w *work) scanInbox(scan Scan, i *inbox, more ...any) error {
	var user, zone, muted, counts []byte
	columns := [16]any{&i.n, &user, &zone, &i.top, &i.floor, &i.settled, &i.open, &i.read, &i.merged, &i.held, &muted, &counts}
	if err := scan(append(columns[:12], more...)...); err != nil {
		return err
	}
	i.user, i.zone = string(user), w.zoneOf(zone)
	if len(muted) > 0 {
		if err := json.Unmarshal(muted, &i.muted); err != nil {
			return fmt.Errorf("what user %q has muted: %w", user, err)
		}
	}
	var err error
	if i.counts, err = fatigue.Decode(counts); err != nil {
		return fmt.Errorf("what was counted of user %q: %w", user, err)
	}
	return nil
}

// zoneOf gives a time zone by its name, or that of users whose own is not known.
func (w *work) zoneOf(name []byte) *time.Location {
	if len(name) == 0 {
		return w.elsewhere
	}
	if zone, known := w.zones[string(name)]; known {
		return zone
	}
	zone, ok := fatigue.Zone(string(name))
	if !ok {
		zone = w.elsewhere
	}
	if w.zones == nil {
		w.zones = map[string]*time.Location{}
	}
	w.zones[string(name)] = zone
	return zone
}

// visit reads the inbox of a user, without a lock; nil: there is none.
func (w *work) visit(user string) (i *inbox, err error) {
	query := inboxSQLite
	if w.tx.Dialect() == PostgreSQL {
		query = inboxPostgres
	}
	err = w.tx.Query(w.ctx, query, func(scan Scan) error {
		var epoch []byte
		i = new(inbox)
		err := w.scanInbox(scan, i, &i.last, &epoch)
		i.epoch = string(epoch)
		return err
	}, []byte(user))
	return i, err
}

// state is an inbox as it is told.
func (i *inbox) state() store.Inbox {
	return store.Inbox{
		N: uint64(i.n), Epoch: i.epoch, Top: uint64(i.top), Floor: uint64(i.floor), Read: uint64(i.read), Open: i.open, Behind: i.merged < i.last, Held: i.held != 0,
	}
}

// recipients gives the inboxes of users, in order, which nobody else changes until the
// end of the transaction. Who has none gets one; nil: there is no user of that number.
func (w *work) recipients(to []store.Recipient) ([]*inbox, error) {
	found := make([]*inbox, len(to))
	numbers := make([]int64, 0, len(to))
	var named []int
	for k := range to {
		if to[k].N == 0 {
			named = append(named, k)
		} else {
			numbers = append(numbers, int64(to[k].N))
		}
	}
	users := make([]string, len(named))
	for k, place := range named {
		users[k] = to[place].User
	}
	own, err := w.numbersOf(users, len(numbers) > 0, true)
	if err != nil {
		return nil, err
	}
	if err := w.lock(append(numbers, own...)); err != nil {
		return nil, err
	}
	for k, place := range named {
		if found[place] = w.inboxes[own[k]]; found[place] == nil {
			return nil, w.again() // deleted, and it will be made anew
		}
	}
	for k := range to {
		if to[k].N != 0 {
			found[k] = w.inboxes[int64(to[k].N)]
		}
	}
	return found, nil
}

// numbersOf gives the numbers of users, in order; 0: there is none. With create
// there is one for each. others tells that there are more persons to be locked, so that
// none may be before its turn.
func (w *work) numbersOf(users []string, others, create bool) ([]int64, error) {
	numbers := make([]int64, len(users))
	if w.tx.Dialect() == SQLite || len(users) == 1 && !others {
		for k, user := range users {
			i, err := w.find(user, create)
			if err != nil {
				return nil, err
			}
			if numbers[k] = i.n; i.n != 0 && w.inboxes[i.n] == nil {
				w.inboxes[i.n] = i
			}
		}
		return numbers, nil
	}
	if len(users) == 0 {
		return numbers, nil
	}
	for attempt := 0; ; attempt++ {
		if err := w.tx.Query(w.ctx, sqlNumbers, func(scan Scan) error {
			var place, n int64
			if err := scan(&place, &n); err != nil {
				return err
			}
			numbers[place-1] = n
			return nil
		}, list(users)); err != nil {
			return nil, err
		}
		var missing [][]byte
		for k, n := range numbers {
			if n == 0 {
				missing = append(missing, []byte(users[k]))
			}
		}
		if len(missing) == 0 || !create {
			return numbers, nil
		}
		if attempt > 0 {
			return nil, w.again() // deleted between the two
		}
		if _, err := w.tx.Exec(w.ctx, sqlNewInboxes, w.now, missing); err != nil {
			return nil, err
		}
	}
}

// find reads the inbox of one user and locks it, or makes one.
func (w *work) find(user string, create bool) (*inbox, error) {
	query := dialect(w.tx, sqlInbox, sqlLockInbox)
	for attempt := 0; ; attempt++ {
		i := new(inbox)
		if err := w.tx.Query(w.ctx, query, func(scan Scan) error { return w.scanInbox(scan, i) }, []byte(user)); err != nil || i.n != 0 || !create {
			return i, err
		}
		*i = inbox{user: user, zone: w.elsewhere}
		if err := w.tx.Query(w.ctx, sqlNewInbox, func(scan Scan) error { return scan(&i.n, &i.merged) }, []byte(user), w.now); err != nil || i.n != 0 {
			return i, err
		}
		if attempt > 0 {
			return nil, w.again() // it comes and goes
		}
	}
}

// lock reads the inboxes of numbers, and has nobody else change them until the end of
// the transaction. They are in w.inboxes then; zeros and those of nobody are not.
func (w *work) lock(numbers []int64) error {
	numbers = slices.DeleteFunc(numbers, func(n int64) bool { return n == 0 || w.inboxes[n] != nil })
	rows := make([]inbox, 0, len(numbers))
	return queryNumbers(w.ctx, w.tx, sqlInboxes, lockInboxes, numbers, func(scan Scan) error {
		rows = append(rows, inbox{})
		i := &rows[len(rows)-1]
		if err := w.scanInbox(scan, i); err != nil {
			return err
		}
		if w.inboxes[i.n] == nil {
			w.inboxes[i.n] = i
		}
		return nil
	})
}

// lockOne is lock for an inbox that was visited.
func (w *work) lockOne(was *inbox) (*inbox, error) {
	if w.tx.Dialect() == SQLite {
		w.inboxes[was.n] = was
		return was, nil
	}
	if err := w.lock([]int64{was.n}); err != nil {
		return nil, err
	}
	i := w.inboxes[was.n]
	if i == nil {
		return nil, w.again()
	}
	i.last, i.epoch = was.last, was.epoch
	return i, nil
}

// saveInboxes writes the inboxes that have changed.
func (w *work) saveInboxes(changed []*inbox) error {
	if err := w.settleInboxes(changed); err != nil {
		return err
	}
	var plain, counted saving
	var bytes []byte
	for _, i := range changed {
		if !i.counted {
			plain.add(i)
			continue
		}
		counted.add(i)
		i.counts.Prune(w.at)
		from := len(bytes)
		if bytes = i.counts.Append(bytes); len(bytes) == from {
			counted.counts = append(counted.counts, nil)
			continue
		}
		counted.counts = append(counted.counts, bytes[from:len(bytes):len(bytes)])
	}
	for _, i := range changed {
		i.changed, i.counted = false, false
	}
	s := &plain
	if err := execRows(w.ctx, w.tx, sqlSaveInbox, sqlSaveInboxes, s.top, s.floor, s.settled, s.open, s.read, s.merged, s.held, s.n); err != nil {
		return err
	}
	s = &counted
	return execRows(w.ctx, w.tx, sqlSaveCounts, sqlSaveAllCounts, s.top, s.floor, s.settled, s.open, s.read, s.merged, s.held, s.counts, s.n)
}

// saving has the columns of inboxes.
type saving struct {
	n, top, floor, settled, open, read, merged, held []int64
	counts                                           [][]byte
}

func (s *saving) add(i *inbox) {
	s.n, s.top, s.floor = append(s.n, i.n), append(s.top, i.top), append(s.floor, i.floor)
	s.settled, s.open = append(s.settled, i.settled), append(s.open, i.open)
	s.read, s.merged, s.held = append(s.read, i.read), append(s.merged, i.merged), append(s.held, i.held)
}

// settleInboxes looks for the first open delivery where it may be another one.
func (w *work) settleInboxes(changed []*inbox) error {
	var persons, from []int64
	for _, i := range changed {
		switch {
		case i.open == 0:
			i.settled = i.top
		case i.ended:
			persons, from = append(persons, i.n), append(from, i.settled)
		}
		i.ended = false
	}
	return queryRows(w.ctx, w.tx, sqlFirstOpen, sqlFirstOpens, func(scan Scan) error {
		var n, seq int64
		if err := scan(&n, &seq); err != nil {
			return err
		}
		w.inboxes[n].settled = seq - 1
		return nil
	}, persons, from)
}
