package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// Bounds of campaigns.
const (
	maxCampaign      = 64
	maxCampaignState = 16
	maxNotes         = 64 << 10

	// listStep is how much of a list one deletion takes.
	listStep = 10_000
)

const (
	campaignColumns = `SELECT n, id, state, plan, notes, next, cursor, created, version, owner, until FROM campaign `

	sqlCampaign = campaignColumns + `WHERE id = ?`

	sqlCampaigns = campaignColumns + `WHERE id < ? ORDER BY id DESC LIMIT CAST(? AS bigint)`

	sqlCampaignsIn = campaignColumns + `WHERE state = ? AND id < ? ORDER BY id DESC LIMIT CAST(? AS bigint)`

	sqlDueCampaigns = `SELECT id, due FROM campaign WHERE due IS NOT NULL ORDER BY due, id LIMIT CAST(? AS bigint)`

	sqlNextCampaign = `UPDATE counter SET n = n + 1 WHERE name = 'campaign' RETURNING n`

	sqlNewCampaign = `
INSERT INTO campaign (id, state, plan, notes, next, cursor, size, created, version, owner, until, due)
VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)`

	// The plan stays where it is when it is the same: it may be large.
	sqlChangeCampaign = `UPDATE campaign SET state = ?, notes = ?, next = ?, version = ?, owner = ?, until = ?, due = ? WHERE n = ?`

	sqlPlanCampaign = `UPDATE campaign SET plan = ? WHERE n = ? AND plan <> ?`

	// Numbers of campaigns are locked here by those who change their lists.
	sqlListed = `SELECT n, size FROM campaign WHERE id = ?`

	sqlLockListed = sqlListed + ` FOR NO KEY UPDATE`

	sqlList = `INSERT INTO campaign_user (campaign, user_id) VALUES (?, ?) ON CONFLICT (campaign, user_id) DO NOTHING`

	sqlListAll = `
INSERT INTO campaign_user (campaign, user_id)
SELECT CAST(? AS bigint), w.user_id FROM unnest(CAST(? AS bytea[])) AS w(user_id) ORDER BY w.user_id
ON CONFLICT (campaign, user_id) DO NOTHING`

	sqlResizeList = `UPDATE campaign SET size = size + ? WHERE n = ?`

	sqlCampaignUsers = `
SELECT u.user_id FROM campaign_user u
WHERE u.campaign = (SELECT n FROM campaign WHERE id = ?) AND u.user_id > ? ORDER BY u.user_id LIMIT CAST(? AS bigint)`

	sqlCampaignSize = `SELECT size FROM campaign WHERE id = ?`

	// The last of those that go; none: there are no more than that.
	sqlUnlistEnd = `SELECT user_id FROM campaign_user WHERE campaign = ? ORDER BY user_id LIMIT 1 OFFSET CAST(? AS bigint)`

	sqlUnlist = `DELETE FROM campaign_user WHERE campaign = ? AND user_id < ?`

	sqlDropCampaign = `DELETE FROM campaign WHERE n = ?`
)

// ourCampaign gives the name of a command about campaigns; "": it is another's.
func ourCampaign(c store.Command) string {
	switch c.(type) {
	case store.PutCampaign:
		return "put campaign"
	case store.ClaimCampaign:
		return "claim campaign"
	case store.AddToCampaign:
		return "add to campaign"
	case store.DeleteCampaign:
		return "delete campaign"
	}
	return ""
}

func checkCampaign(c store.Command) (size int, err error) {
	switch c := c.(type) {
	case store.PutCampaign:
		err := errors.Join(name("ID", c.ID, 1, maxCampaign), name("State", c.State, 0, maxCampaignState), name("Plan", c.Plan, 0, maxPlan),
			name("Notes", c.Notes, 0, maxNotes), moment("Next", c.Next, 0), name("Cursor", c.Cursor, 0, maxCursor), moment("Created", c.Created, 0))
		if c.Keep {
			err = errors.Join(err, name("Owner", c.Owner, 1, maxOwner), moment("Until", c.Until, 1))
		}
		return len(c.Plan) + len(c.Notes) + len(c.Cursor), err
	case store.ClaimCampaign:
		if c.Until <= c.Now {
			err = fmt.Errorf("%s: %d is not after Now, %d", "Until", c.Until, c.Now)
		}
		return 0, errors.Join(name("ID", c.ID, 1, maxCampaign), name("Owner", c.Owner, 1, maxOwner), moment("Now", c.Now, 1), err, moment("Until", c.Until, 1))
	case store.AddToCampaign:
		size, err = checkUsers(c.Users)
		return size, errors.Join(name("ID", c.ID, 1, maxCampaign), err)
	case store.DeleteCampaign:
		return 0, name("ID", c.ID, 1, maxCampaign)
	}
	return 0, unknown(c)
}

func applyCampaign(ctx context.Context, tx Tx, c store.Command) (store.Result, error) {
	switch c := c.(type) {
	case store.PutCampaign:
		return putCampaign(ctx, tx, c)
	case store.ClaimCampaign:
		return claimCampaign(ctx, tx, c)
	case store.AddToCampaign:
		return addToCampaign(ctx, tx, c)
	case store.DeleteCampaign:
		return deleteCampaign(ctx, tx, c)
	}
	return nil, unknown(c)
}

// campaign is one with the number of its row; 0: it is not there.
type campaign struct {
	store.Campaign
	n int64
}

// due is when somebody can claim it, as that of a schedule.
func (c *campaign) due() any {
	return due(store.Schedule{Next: c.Next, Owner: c.Owner, Until: c.Until})
}

// upToCampaign is upTo for campaigns.
func upToCampaign(ctx context.Context, tx Tx, id string, change func(campaign) bool) (c campaign, version uint64, err error) {
	for mine := tx.Dialect() == SQLite; ; mine = true {
		if c, err = oneCampaign(ctx, tx, id); err != nil || !change(c) {
			return c, 0, err
		}
		if mine {
			n, err := number(ctx, tx, sqlNextCampaign)
			return c, uint64(n), err
		}
		if _, err := tx.Exec(ctx, sqlLockCampaign); err != nil {
			return c, 0, err
		}
	}
}

func putCampaign(ctx context.Context, tx Tx, c store.PutCampaign) (store.Result, error) {
	was, version, err := upToCampaign(ctx, tx, c.ID, func(was campaign) bool { return was.Version == c.If })
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, store.ErrConflict
	}
	now := campaign{Campaign: c.Campaign, n: was.n}
	now.Version = version
	if !c.Keep {
		now.Owner, now.Until = "", 0
	}
	if was.n == 0 {
		_, err := tx.Exec(ctx, sqlNewCampaign, []byte(now.ID), []byte(now.State), filled(now.Plan), filled(now.Notes), now.Next, []byte(now.Cursor),
			now.Created, int64(version), []byte(now.Owner), now.Until, now.due())
		return store.CampaignPut{Version: version}, err
	}
	if err := moveCampaign(ctx, tx, now); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, sqlPlanCampaign, filled(now.Plan), now.n, filled(now.Plan))
	return store.CampaignPut{Version: version}, err
}

func claimCampaign(ctx context.Context, tx Tx, c store.ClaimCampaign) (store.Result, error) {
	was, version, err := upToCampaign(ctx, tx, c.ID, func(was campaign) bool {
		return was.Next != 0 && was.Next <= c.Now && (was.Owner == "" || was.Until <= c.Now)
	})
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return store.CampaignClaimed{Campaign: was.Campaign}, nil
	}
	was.Version, was.Owner, was.Until = version, c.Owner, c.Until
	return store.CampaignClaimed{OK: true, Campaign: was.Campaign}, moveCampaign(ctx, tx, was)
}

// moveCampaign writes everything of a campaign but its plan, its cursor and when it
// was created.
func moveCampaign(ctx context.Context, tx Tx, c campaign) error {
	_, err := tx.Exec(ctx, sqlChangeCampaign, []byte(c.State), filled(c.Notes), c.Next, int64(c.Version), []byte(c.Owner), c.Until, c.due(), c.n)
	return err
}

// listed finds a campaign whose list is to be changed by nobody else.
func listed(ctx context.Context, tx Tx, id string) (n, size int64, err error) {
	query := sqlListed
	if tx.Dialect() == PostgreSQL {
		query = sqlLockListed
	}
	err = tx.Query(ctx, query, func(scan Scan) error { return scan(&n, &size) }, []byte(id))
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return n, size, err
}

func addToCampaign(ctx context.Context, tx Tx, c store.AddToCampaign) (store.Result, error) {
	n, size, err := listed(ctx, tx, c.ID)
	if err != nil {
		return nil, err
	}
	var added int64
	if tx.Dialect() == PostgreSQL {
		added, err = tx.Exec(ctx, sqlListAll, n, list(c.Users))
	} else {
		// In their order: what lies side by side is written together.
		for _, u := range slices.Sorted(slices.Values(c.Users)) {
			one, err := tx.Exec(ctx, sqlList, n, []byte(u))
			if err != nil {
				return nil, err
			}
			added += one
		}
	}
	if err == nil && added > 0 {
		_, err = tx.Exec(ctx, sqlResizeList, added, n)
	}
	return store.CampaignList{Count: size + added}, err
}

// deleteCampaign takes a part of the list; with the last one the campaign itself.
// Nobody can claim it meanwhile, nor go on with it.
func deleteCampaign(ctx context.Context, tx Tx, c store.DeleteCampaign) (store.Result, error) {
	was, version, err := upToCampaign(ctx, tx, c.ID, func(was campaign) bool { return was.n != 0 })
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, store.ErrNotFound
	}
	n, _, err := listed(ctx, tx, c.ID)
	if err != nil {
		return nil, err
	}
	end, more := beyond, false
	if err := tx.Query(ctx, sqlUnlistEnd, func(scan Scan) error {
		more = true
		return scan(&end)
	}, n, int64(listStep)); err != nil {
		return nil, err
	}
	gone, err := tx.Exec(ctx, sqlUnlist, n, end)
	if err != nil {
		return nil, err
	}
	if !more {
		_, err := tx.Exec(ctx, sqlDropCampaign, n)
		return store.CampaignDeleted{}, err
	}
	was.Next, was.Owner, was.Until, was.Version = 0, "", 0, version
	if err := moveCampaign(ctx, tx, was); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, sqlResizeList, -gone, n)
	return store.CampaignDeleted{More: true}, err
}

func scanCampaign(scan Scan, c *campaign) error {
	var id, state, cursor, owner []byte
	var version int64
	if err := scan(&c.n, &id, &state, &c.Plan, &c.Notes, &c.Next, &cursor, &c.Created, &version, &owner, &c.Until); err != nil {
		return err
	}
	c.ID, c.State, c.Cursor, c.Owner, c.Version = string(id), string(state), string(cursor), string(owner), uint64(version)
	c.Plan, c.Notes = emptyIsNil(c.Plan), emptyIsNil(c.Notes)
	return nil
}

// oneCampaign gives a campaign; one that is not there is zero.
func oneCampaign(ctx context.Context, tx Tx, id string) (c campaign, err error) {
	err = tx.Query(ctx, sqlCampaign, func(scan Scan) error { return scanCampaign(scan, &c) }, []byte(id))
	return c, err
}

// Campaign implements [store.CampaignReader].
func (r Reader) Campaign(ctx context.Context, id string) (store.Campaign, error) {
	found, err := look(ctx, r, "campaigns", func(ctx context.Context, tx Tx) (campaign, error) { return oneCampaign(ctx, tx, id) })
	if err == nil && found.n == 0 {
		err = store.ErrNotFound
	}
	return found.Campaign, err
}

// Campaigns implements [store.CampaignReader].
func (r Reader) Campaigns(ctx context.Context, state, before string, limit int) ([]store.Campaign, error) {
	return page(ctx, r, "campaigns", limit, func(ctx context.Context, tx Tx) (list []store.Campaign, err error) {
		end := beyond
		if before != "" {
			end = []byte(before)
		}
		query, args := sqlCampaigns, []any{end, int64(limit)}
		if state != "" {
			query, args = sqlCampaignsIn, []any{[]byte(state), end, int64(limit)}
		}
		err = tx.Query(ctx, query, func(scan Scan) error {
			var c campaign
			err := scanCampaign(scan, &c)
			list = append(list, c.Campaign)
			return err
		}, args...)
		return list, err
	})
}

// DueCampaigns implements [store.CampaignReader].
func (r Reader) DueCampaigns(ctx context.Context, limit int) ([]store.DueSchedule, error) {
	return page(ctx, r, "due", limit, func(ctx context.Context, tx Tx) (list []store.DueSchedule, err error) {
		err = tx.Query(ctx, sqlDueCampaigns, func(scan Scan) error {
			var id []byte
			var at int64
			err := scan(&id, &at)
			list = append(list, store.DueSchedule{Name: string(id), At: at})
			return err
		}, int64(limit))
		return list, err
	})
}

// CampaignUsers implements [store.CampaignReader].
func (r Reader) CampaignUsers(ctx context.Context, id, after string, limit int) ([]string, error) {
	return page(ctx, r, "campaigns", limit, func(ctx context.Context, tx Tx) (list []string, err error) {
		err = tx.Query(ctx, sqlCampaignUsers, func(scan Scan) error {
			var user []byte
			err := scan(&user)
			list = append(list, string(user))
			return err
		}, []byte(id), []byte(after), int64(limit))
		return list, err
	})
}

// CampaignSize implements [store.CampaignReader].
func (r Reader) CampaignSize(ctx context.Context, id string) (int64, error) {
	return look(ctx, r, "campaigns", func(ctx context.Context, tx Tx) (int64, error) {
		return number(ctx, tx, sqlCampaignSize, []byte(id))
	})
}
