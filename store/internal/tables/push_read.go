package tables

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// What is shown in an inbox: not what was dropped, recalled or is over. The place of a
// row is not looked up by index here, hence the sum.
const (
	shown = ` d.hidden = 0 AND (CAST(? AS bigint) = 0 OR d.read = 0) AND d.state <> 6 AND d.state <> 7 AND (d.state > 2 OR x.expires = 0 OR x.expires > ?) AND d.pos + 0 >= ?`

	// A delivery with its message. PostgreSQL is not asked how: one after the other.
	withPush    = ` FROM delivery AS d CROSS JOIN push AS x ON x.n = d.push `
	withAllPush = ` FROM delivery AS d CROSS JOIN LATERAL (SELECT * FROM push WHERE n = d.push OFFSET 0) AS x `

	itemColumns  = deliveryColumns + `, x.n, x.id, x.time, x.category, x.policy, x.expires, x.collapse, x.escalate, x.campaign, x.event, x.data`
	pageForward  = ` WHERE d.person = ? AND d.seq > ? AND d.seq < ? AND` + shown + ` ORDER BY d.person, d.seq LIMIT CAST(? AS bigint)`
	pageBackward = ` WHERE d.person = ? AND d.seq > ? AND d.seq < ? AND` + shown + ` ORDER BY d.person DESC, d.seq DESC LIMIT CAST(? AS bigint)`

	forwardSQLite    = `SELECT ` + itemColumns + withPush + pageForward
	forwardPostgres  = `SELECT ` + itemColumns + withAllPush + pageForward
	backwardSQLite   = `SELECT ` + itemColumns + withPush + pageBackward
	backwardPostgres = `SELECT ` + itemColumns + withAllPush + pageBackward
	unreadSQLite     = `SELECT count(*) FROM (SELECT d.seq` + withPush + pageForward + `) AS u`
	unreadPostgres   = `SELECT count(*) FROM (SELECT d.seq` + withAllPush + pageForward + `) AS u`

	sqlLastBroadcast = `SELECT n FROM counter WHERE name = 'broadcast'`
	sqlDueWake       = `SELECT d.due FROM delivery AS d WHERE d.due IS NOT NULL ORDER BY d.due LIMIT 1`

	escalations         = ` WHERE d.escalate <= ? ORDER BY d.escalate LIMIT CAST(? AS bigint)`
	escalationsSQLite   = `SELECT ` + itemColumns + `, p.user_id` + withPush + `CROSS JOIN person AS p ON p.n = d.person` + escalations
	escalationsPostgres = `SELECT ` + itemColumns + `, p.user_id` + withAllPush + `CROSS JOIN LATERAL (SELECT user_id FROM person WHERE n = d.person OFFSET 0) AS p` + escalations
)

// maxUnread is how many unread messages are counted at most.
const maxUnread = 1000

// dialect chooses the text for a database.
func dialect(tx Tx, sqlite, postgres string) string {
	if tx.Dialect() == PostgreSQL {
		return postgres
	}
	return sqlite
}

// scanItem reads a row with itemColumns, and what else it has.
func scanItem(scan Scan, more ...any) (*delivery, error) {
	d, m := new(delivery), new(message)
	var id, category, policy, collapse, campaign, event []byte
	if err := scanDelivery(scan, d, append([]any{&m.n, &id, &m.Time, &category, &policy, &m.Expires, &collapse, &m.Escalate, &campaign, &event, &m.Data}, more...)...); err != nil {
		return nil, err
	}
	m.ID, m.Category, m.Collapse, m.Campaign, m.Event = string(id), string(category), string(collapse), string(campaign), eventOf(event)
	m.Data, d.message = emptyIsNil(m.Data), m
	return d, decodePolicy(policy, &m.Policy)
}

// Inboxes implements [store.PushReader].
func (r Reader) Inboxes(ctx context.Context, users ...string) ([]store.Inbox, error) {
	return look(ctx, r, "inbox", func(ctx context.Context, tx Tx) ([]store.Inbox, error) {
		w := newWork(ctx, tx, 0, "")
		boxes := make([]store.Inbox, len(users))
		if tx.Dialect() == SQLite {
			for k, user := range users {
				i, err := w.visit(user)
				if err != nil {
					return nil, err
				}
				if i != nil {
					boxes[k] = i.state()
				}
			}
			return boxes, nil
		}
		return boxes, tx.Query(ctx, inboxesAll, func(scan Scan) error {
			i, epoch, place := new(inbox), []byte(nil), int64(0)
			err := w.scanInbox(scan, i, &i.last, &epoch, &place)
			if err == nil {
				i.epoch = string(epoch)
				boxes[place-1] = i.state()
			}
			return err
		}, list(users))
	})
}

// ReadInbox implements [store.PushReader].
func (r Reader) ReadInbox(ctx context.Context, q store.InboxQuery) (store.InboxPage, error) {
	if q.Oldest < 0 || q.Oldest > maxPushTime {
		return store.InboxPage{}, fmt.Errorf("%s: inbox: %w", r.name, pushed("Oldest", q.Oldest, 0))
	}
	return page(ctx, r, "inbox", q.Limit, func(ctx context.Context, tx Tx) (store.InboxPage, error) {
		return readInbox(ctx, tx, q)
	})
}

func readInbox(ctx context.Context, tx Tx, q store.InboxQuery) (p store.InboxPage, err error) {
	w := newWork(ctx, tx, q.Now, "")
	i, err := w.visit(q.User)
	if err != nil || i == nil {
		return p, err
	}
	p.Inbox = i.state()
	low, high := max(i.floor, int64(min(q.After, math.MaxInt64))), int64(math.MaxInt64)
	if q.Unread {
		low = max(low, i.read)
	}
	query := dialect(tx, forwardSQLite, forwardPostgres)
	if q.Backward {
		query = dialect(tx, backwardSQLite, backwardPostgres)
		low = max(i.floor, min(low, i.read))
		if !q.Unread {
			low = i.floor
		}
		if q.Before > 0 {
			high = int64(min(q.Before, math.MaxInt64))
		}
	}
	oldest, bytes := q.Oldest<<placeBits, 0
	if err := tx.Query(ctx, query, func(scan Scan) error {
		d, err := scanItem(scan)
		if err != nil {
			return err
		}
		if p.More = p.More || len(p.Items) == q.Limit || q.Bytes > 0 && len(p.Items) > 0 && bytes >= q.Bytes; !p.More {
			p.Items = append(p.Items, d.item(&d.message.Content))
			bytes += len(d.message.Data)
		}
		return nil
	}, i.n, low, high, flag(q.Unread), q.Now, oldest, int64(q.Limit)+1); err != nil {
		return p, err
	}
	if q.Backward {
		slices.Reverse(p.Items)
	}
	p.Unread, err = number(ctx, tx, dialect(tx, unreadSQLite, unreadPostgres), i.n, max(i.floor, i.read), int64(math.MaxInt64), flag(true), q.Now, oldest, int64(maxUnread))
	return p, err
}

// PushedMessages implements [store.PushReader].
func (r Reader) PushedMessages(ctx context.Context, ids ...string) ([]store.PushedMessage, error) {
	return look(ctx, r, "pushes", func(ctx context.Context, tx Tx) ([]store.PushedMessage, error) {
		messages := make([]store.PushedMessage, len(ids))
		take := func(k int, scan Scan, more ...any) error {
			m, t := new(message), new(totals)
			if err := scanContent(scan, m, append(t.columns(), more...)...); err != nil {
				return err
			}
			if len(more) > 0 {
				k = int(*more[0].(*int64)) - 1
			}
			messages[k] = store.PushedMessage{
				Content: m.Content, Everyone: m.everyone != 0, Audience: m.audience, Withdrawn: m.withdrawn, Totals: t.told(),
			}
			return nil
		}
		if tx.Dialect() == PostgreSQL {
			var place int64
			return messages, tx.Query(ctx, sqlMessagesByID, func(scan Scan) error { return take(0, scan, &place) }, list(ids))
		}
		for k, id := range ids {
			if err := tx.Query(ctx, sqlMessageByID, func(scan Scan) error { return take(k, scan) }, []byte(id)); err != nil {
				return nil, err
			}
		}
		return messages, nil
	})
}

func (t *totals) told() store.Totals {
	return store.Totals{
		Queued: t[store.Queued], Sent: t[store.Sent], Delivered: t[store.Delivered], Capped: t[store.Capped], Muted: t[store.Muted],
		Expired: t[store.Expired], Recalled: t[store.Withdrawn], Failed: t[store.Failed], Read: t[0],
	}
}

// LastBroadcast implements [store.PushReader].
func (r Reader) LastBroadcast(ctx context.Context) (uint64, error) {
	return look(ctx, r, "pushes", func(ctx context.Context, tx Tx) (uint64, error) {
		n, err := number(ctx, tx, sqlLastBroadcast)
		return uint64(n), err
	})
}

// DueWake implements [store.PushReader].
func (r Reader) DueWake(ctx context.Context) (int64, error) {
	return look(ctx, r, "due", func(ctx context.Context, tx Tx) (int64, error) { return number(ctx, tx, sqlDueWake) })
}

// DueEscalations implements [store.PushReader].
func (r Reader) DueEscalations(ctx context.Context, now int64, limit int) ([]store.Escalation, error) {
	return page(ctx, r, "due", limit, func(ctx context.Context, tx Tx) (list []store.Escalation, err error) {
		err = tx.Query(ctx, dialect(tx, escalationsSQLite, escalationsPostgres), func(scan Scan) error {
			var user []byte
			d, err := scanItem(scan, &user)
			if err == nil {
				list = append(list, store.Escalation{N: uint64(d.person), User: string(user), Item: d.item(&d.message.Content)})
			}
			return err
		}, now, int64(limit))
		return list, err
	})
}
