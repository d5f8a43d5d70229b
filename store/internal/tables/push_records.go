package tables

import (
	"context"
	"fmt"
	"math"

	"github.com/skein-realtime/skein/store"
)

// Records are looked up in one of four orders; filters are applied on the way. A
// column that must not be looked up by its index has a zero added to it.
const (
	recordColumns = deliveryColumns + `, x.n, x.id, x.time, x.category, x.expires, x.collapse, x.escalate, x.campaign`
	withUser      = `, p.user_id`
	// What a user's own records need not look up for each of them.
	withMerged = `, (SELECT p.merged FROM person AS p WHERE p.user_id = ?), (SELECT n FROM counter WHERE name = 'broadcast')`

	recordFilters = ` AND ((CAST(? AS bigint) / CAST(1 << CAST(d.state AS integer) AS bigint)) % 2) = 1 AND (CAST(? AS bigint) = 0 OR d.read > 0) AND (CAST(? AS bigint) = 0 OR x.campaign = ?)`
	recordTimes   = ` AND d.pos + 0 >= ? AND d.pos + 0 < ?`

	recordsOfUser    = ` WHERE d.person = (SELECT p.n FROM person AS p WHERE p.user_id = ?) AND d.seq < ?` + recordFilters + recordTimes + ` ORDER BY d.person DESC, d.seq DESC LIMIT CAST(? AS bigint)`
	recordsOfMessage = ` WHERE d.push = ? AND d.person < ?` + recordFilters + recordTimes + ` ORDER BY d.push DESC, d.person DESC LIMIT CAST(? AS bigint)`
	recordsOfAll     = ` WHERE d.pos >= ? AND d.pos < ?` + recordFilters + ` ORDER BY d.pos DESC LIMIT CAST(? AS bigint)`

	withPerson    = `CROSS JOIN person AS p ON p.n = d.person`
	withAllPerson = `CROSS JOIN LATERAL (SELECT user_id FROM person WHERE n = d.person OFFSET 0) AS p`

	userSQLite      = `SELECT ` + recordColumns + withMerged + withPush + recordsOfUser
	userPostgres    = `SELECT ` + recordColumns + withMerged + withAllPush + recordsOfUser
	messageSQLite   = `SELECT ` + recordColumns + withUser + withPush + withPerson + recordsOfMessage
	messagePostgres = `SELECT ` + recordColumns + withUser + withAllPush + withAllPerson + recordsOfMessage
	allSQLite       = `SELECT ` + recordColumns + withUser + withPush + withPerson + recordsOfAll
	allPostgres     = `SELECT ` + recordColumns + withUser + withAllPush + withAllPerson + recordsOfAll

	// The newest of a user lie all over the table, so they are asked for at once: those of
	// as many places in the inbox as are wanted.
	newestPostgres = `WITH p AS MATERIALIZED (SELECT n, top, merged FROM person WHERE user_id = ?)
SELECT ` + recordColumns + `, p.merged, (SELECT n FROM counter WHERE name = 'broadcast'), p.top
FROM p CROSS JOIN LATERAL (SELECT * FROM delivery WHERE person = p.n AND seq < CAST(? AS bigint) AND seq >= least(CAST(? AS bigint), p.top + 1) - CAST(? AS bigint) OFFSET 0) AS d
CROSS JOIN LATERAL (SELECT * FROM push WHERE n = d.push OFFSET 0) AS x WHERE true` + recordFilters + recordTimes + ` ORDER BY d.seq DESC`

	sqlPlaceOf      = `SELECT d.person, d.seq, d.push FROM delivery AS d WHERE d.pos = ?`
	sqlPersonOf     = `SELECT p.n, p.top, p.merged, (SELECT n FROM counter WHERE name = 'broadcast') FROM person AS p WHERE p.user_id = ?`
	sqlPushOf       = `SELECT x.n FROM push AS x WHERE x.id = ?`
	sqlCampaignPush = `SELECT x.n FROM push AS x WHERE x.campaign = ? AND x.n <= ? ORDER BY x.campaign DESC, x.n DESC LIMIT 1`
)

// Records implements [store.PushReader].
func (r Reader) Records(ctx context.Context, q store.RecordQuery) (store.RecordPage, error) {
	for _, err := range []error{pushed("From", q.From, 0), pushed("To", q.To, 0), number63("After", q.After)} {
		if err != nil {
			return store.RecordPage{}, fmt.Errorf("%s: records: %w", r.name, err)
		}
	}
	return page(ctx, r, "records", q.Limit, func(ctx context.Context, tx Tx) (store.RecordPage, error) {
		return newRecords(ctx, tx, q).read()
	})
}

// records is a page of records in the making.
type records struct {
	ctx     context.Context
	tx      Tx
	q       store.RecordQuery
	filters []any
	low     int64 // places from low on, before high
	high    int64
	user    []byte // of the record that is read
	top     int64  // seq of the newest record of the user that is asked for
	merged  int64  // broadcasts up to it are among the records of the user that is asked for
	last    int64  // broadcast
	page    store.RecordPage
}

func newRecords(ctx context.Context, tx Tx, q store.RecordQuery) *records {
	r := &records{ctx: ctx, tx: tx, q: q, low: q.From << placeBits, high: math.MaxInt64}
	if q.To > 0 {
		r.high = q.To << placeBits
	}
	states := int64(1<<(store.Failed+1) - 1)
	if q.States != nil {
		states = 0
		for _, s := range q.States {
			if s <= store.Failed {
				states |= 1 << s
			}
		}
	}
	r.filters = []any{states, flag(q.Read), flag(q.Campaign != ""), []byte(q.Campaign)}
	return r
}

func (r *records) read() (store.RecordPage, error) {
	var err error
	switch {
	case r.q.User != "" && r.q.Message != "":
		err = r.ofBoth()
	case r.q.User != "":
		err = r.ofUser()
	case r.q.Message != "":
		err = r.ofMessage()
	case r.q.Campaign != "":
		err = r.ofCampaign()
	default:
		if r.q.After > 0 {
			r.high = min(r.high, int64(r.q.After))
		}
		err = r.take(allSQLite, allPostgres, append([]any{r.low, r.high}, r.filters...), &r.user)
	}
	r.page.Behind = r.merged < r.last
	return r.page, err
}

// take adds what a query gives to the page. What it has beside recordColumns goes to more.
func (r *records) take(sqlite, postgres string, args []any, more ...any) error {
	args = append(args, int64(r.q.Limit-len(r.page.Records)+1))
	return r.tx.Query(r.ctx, dialect(r.tx, sqlite, postgres), r.row(more...), args...)
}

// row adds a row to the page.
func (r *records) row(more ...any) func(Scan) error {
	return func(scan Scan) error {
		d, m := new(delivery), new(message)
		var id, category, collapse, campaign []byte
		if err := scanDelivery(scan, d, append([]any{&m.n, &id, &m.Time, &category, &m.Expires, &collapse, &m.Escalate, &campaign}, more...)...); err != nil {
			return err
		}
		if r.page.More = len(r.page.Records) == r.q.Limit; r.page.More {
			return nil
		}
		m.ID, m.Category, m.Collapse, m.Campaign = string(id), string(category), string(collapse), string(campaign)
		r.page.Records = append(r.page.Records, store.Record{
			Pos: uint64(d.pos), User: string(r.user), Message: m.ID, Category: m.Category, Campaign: m.Campaign, Item: d.item(&m.Content),
		})
		return nil
	}
}

// after gives where the page before has ended; zeros: there is none, or the record is
// gone.
func (r *records) after() (person, seq, push int64, err error) {
	if r.q.After > 0 {
		err = r.tx.Query(r.ctx, sqlPlaceOf, func(scan Scan) error { return scan(&person, &seq, &push) }, int64(r.q.After))
	}
	return person, seq, push, err
}

// person gives the number of the user that is asked for; zero: there is none.
func (r *records) person() (n int64, err error) {
	err = r.tx.Query(r.ctx, sqlPersonOf, func(scan Scan) error { return scan(&n, &r.top, &r.merged, &r.last) }, []byte(r.q.User))
	return n, err
}

// ofUser asks once, unless it is for another page or there is not enough.
func (r *records) ofUser() error {
	before := int64(math.MaxInt64)
	if r.q.After > 0 {
		person, err := r.person()
		if err != nil || person == 0 {
			return err
		}
		of, seq, _, err := r.after()
		if err != nil {
			return err
		}
		if of == person {
			before = seq
		} else {
			// It is gone, and with it what is older; the time alone tells what came before it.
			r.high = min(r.high, int64(r.q.After))
		}
	}
	r.user = []byte(r.q.User)
	if r.tx.Dialect() == PostgreSQL {
		var err error
		if before, err = r.newest(before); err != nil || before <= 1 || r.page.More {
			return err
		}
	}
	err := r.take(userSQLite, userPostgres, append(append([]any{r.user, r.user, before}, r.filters...), r.low, r.high), &r.merged, &r.last)
	if err == nil && len(r.page.Records) == 0 && r.top == 0 {
		_, err = r.person()
	}
	return err
}

// newest adds those of the newest records before a seq that fit, and gives the seq that
// it has come down to. It may have passed over some that do not fit, or are gone.
func (r *records) newest(before int64) (int64, error) {
	n := int64(r.q.Limit) + 1
	args := append(append([]any{r.user, before, before, n}, r.filters...), r.low, r.high)
	err := r.tx.QueryScattered(r.ctx, newestPostgres, r.row(&r.merged, &r.last, &r.top), args...)
	if err == nil && len(r.page.Records) == 0 {
		_, err = r.person()
	}
	return max(0, min(before, r.top+1)-n), err
}

func (r *records) ofBoth() error {
	person, err := r.person()
	if err != nil {
		return err
	}
	push, err := number(r.ctx, r.tx, sqlPushOf, []byte(r.q.Message))
	if err != nil || person == 0 || push == 0 || r.q.After > 0 {
		return err
	}
	// The person before the next one, or nobody.
	if err := r.take(messageSQLite, messagePostgres, append(append([]any{push, person + 1}, r.filters...), r.low, r.high), &r.user); err != nil {
		return err
	}
	if len(r.page.Records) > 0 && r.page.Records[0].User != r.q.User {
		r.page.Records = nil
	}
	r.page.Records = r.page.Records[:min(1, len(r.page.Records))]
	r.page.More = false
	return nil
}

func (r *records) ofMessage() error {
	push, err := number(r.ctx, r.tx, sqlPushOf, []byte(r.q.Message))
	if err != nil || push == 0 {
		return err
	}
	before, _, of, err := r.after()
	switch {
	case err != nil:
		return err
	case r.q.After == 0:
		before = math.MaxInt64
	case of != push:
		return store.ErrNotFound
	}
	return r.take(messageSQLite, messagePostgres, append(append([]any{push, before}, r.filters...), r.low, r.high), &r.user)
}

// ofCampaign goes through the messages of a campaign, the newest first.
func (r *records) ofCampaign() error {
	before, _, push, err := r.after()
	if err == nil && r.q.After > 0 && push == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return err
	}
	if r.q.After == 0 {
		before, push = math.MaxInt64, math.MaxInt64
	}
	for !r.page.More {
		n, err := number(r.ctx, r.tx, sqlCampaignPush, []byte(r.q.Campaign), push)
		if err != nil || n == 0 {
			return err
		}
		if n != push {
			before = math.MaxInt64
		}
		if err := r.take(messageSQLite, messagePostgres, append(append([]any{n, before}, r.filters...), r.low, r.high), &r.user); err != nil {
			return err
		}
		push, before = n-1, math.MaxInt64
	}
	return nil
}
