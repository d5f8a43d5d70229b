package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

const (
	sqlMemberTotal   = `SELECT CAST(coalesce(sum(n), 0) AS bigint) FROM group_size`
	sqlScheduleTotal = `SELECT count(*) FROM schedule`
	sqlUserTotal     = `SELECT count(*) FROM person`
	sqlPushTotal     = `SELECT count(*) FROM push`

	// Of very many it is enough to know that they are.
	sqlAuditTotal    = `SELECT count(*) FROM (SELECT 1 FROM audit LIMIT 1000000) AS d`
	sqlDeliveryTotal = `SELECT count(*) FROM (SELECT 1 FROM delivery LIMIT 1000000) AS d`

	// To count a large table, PostgreSQL reads all of it, once a minute from the disk, and
	// whoever writes then waits. What its planner thinks costs nothing.
	totalBefore = `SELECT CASE WHEN e.n > 100000 THEN e.n ELSE (`
	totalAfter  = `) END FROM (
	SELECT CAST(CASE WHEN relpages > 0 THEN reltuples / relpages * (pg_relation_size(oid) / CAST(current_setting('block_size') AS bigint)) ELSE 0 END AS bigint) AS n
	FROM pg_class WHERE oid = CAST(`
	totalEnd = ` AS regclass)
) AS e`

	userTotalPostgres     = totalBefore + sqlUserTotal + totalAfter + `'person'` + totalEnd
	pushTotalPostgres     = totalBefore + sqlPushTotal + totalAfter + `'push'` + totalEnd
	auditTotalPostgres    = totalBefore + sqlAuditTotal + totalAfter + `'audit'` + totalEnd
	deliveryTotalPostgres = totalBefore + sqlDeliveryTotal + totalAfter + `'delivery'` + totalEnd
)

// Totals counts what the tables hold, for [store.Store.Stats].
func Totals(ctx context.Context, tx Tx, stats *store.Stats) (err error) {
	for _, total := range []struct {
		query string
		to    *int64
	}{
		{sqlMemberTotal, &stats.Members}, {sqlScheduleTotal, &stats.Schedules},
		{dialect(tx, sqlUserTotal, userTotalPostgres), &stats.Users}, {dialect(tx, sqlPushTotal, pushTotalPostgres), &stats.Pushes},
		{dialect(tx, sqlDeliveryTotal, deliveryTotalPostgres), &stats.Deliveries}, {dialect(tx, sqlAuditTotal, auditTotalPostgres), &stats.AuditLines},
	} {
		if *total.to, err = number(ctx, tx, total.query); err != nil {
			return err
		}
	}
	return nil
}

// audit is a query for two names and two numbers, and the sentence for them.
type audit struct{ query, sentence string }

// dialectAudits are those that look where channels end.
func dialectAudits(tx Tx) []audit {
	top := `coalesce((SELECT top FROM head WHERE name = CAST(m.channel AS TEXT)), 0)`
	if tx.Dialect() == PostgreSQL {
		top = `coalesce((SELECT top FROM channel WHERE name = m.channel), 0)`
	}
	return []audit{
		{`SELECT s.channel, s.user_id, s.delivered, s.top FROM (SELECT m.*, ` + top + ` AS top FROM member AS m) AS s
WHERE s.delivered > s.top OR s.read > s.delivered OR s.hidden > s.top OR s.read < 0 OR s.hidden < 0`,
			"channel %[1]q: the marks of member %[2]q make no sense: %[3]d were delivered of %[4]d"},
		{`SELECT s.channel, s.channel, s.seq, s.top FROM (SELECT m.*, ` + top + ` AS top FROM alert AS m) AS s WHERE s.seq > s.top OR s.seq < 1`,
			"channel %[1]q: absent members are to be told of message %[3]d, and it ends at %[4]d"},
	}
}

// audits are what must not be found: two names and two numbers, with the
// sentence for them. Each is one query, so that what is written meanwhile does
// not look like a mistake.
var audits = []audit{
	{`SELECT s.channel, s.channel, s.n, s.found FROM (
	SELECT g.channel, g.n, (SELECT count(*) FROM member m WHERE m.channel = g.channel) AS found FROM group_size g
) AS s WHERE s.n <> s.found OR s.n < 1`,
		"channel %[1]q: it should have %[3]d members and has %[4]d"},
	{`SELECT m.channel, m.channel, 0, count(*) FROM member m
WHERE NOT EXISTS (SELECT 1 FROM group_size g WHERE g.channel = m.channel) GROUP BY m.channel`,
		"channel %[1]q: it should have %[3]d members and has %[4]d"},
	{`SELECT channel, user_id, 0, 0 FROM member WHERE length(channel) = 0 OR length(user_id) = 0`,
		"channel %[1]q: user %[2]q is a member; neither may be empty"},
	{`SELECT channel, user_id, role, alerts FROM member WHERE role < 1 OR role > 4 OR alerts < 0 OR alerts > 3`,
		"channel %[1]q: member %[2]q has the role %[3]d and the alerts %[4]d, one of which cannot be"},
	{`SELECT m.channel, m.channel, 0, count(*) FROM member m WHERE m.role = 4 GROUP BY m.channel HAVING count(*) > 1`,
		"channel %[1]q: it has %[4]d owners"},
	{`SELECT channel, channel, rule, version FROM conversation WHERE rule < 1 OR rule > 3 OR version < 1 OR length(channel) = 0`,
		"group %[1]q: it has the rule %[3]d and the version %[4]d, one of which cannot be"},
	{`SELECT user_id, peer, since, 0 FROM peer_block WHERE user_id = peer OR length(user_id) = 0 OR length(peer) = 0`,
		"user %[1]q has blocked %[2]q; neither may be empty, nor may they be one"},
	{`SELECT name, owner, next, until FROM schedule
WHERE coalesce(due, 0) <> CASE WHEN next > 0 AND length(owner) > 0 AND until > next THEN until ELSE next END
	OR length(owner) = 0 AND until <> 0 OR due = 0`,
		"schedule %[1]q: when it can be claimed does not agree with its next time %[3]d and its claim by %[2]q until %[4]d"},
	{`SELECT s.name, s.name, s.version, c.n FROM schedule s CROSS JOIN counter c
WHERE c.name = 'schedule' AND (s.version > c.n OR s.version < 1)`,
		"schedule %[1]q: its version %[3]d is beyond the last one, %[4]d"},
	{`SELECT d.user_id, d.token, d.seq, c.n FROM denial d CROSS JOIN counter c
WHERE c.name = 'denial' AND (d.seq > c.n OR d.seq < 1)`,
		"denial of user %[1]q, token %[2]q: its seq %[3]d is beyond the last one, %[4]d"},
	{`SELECT user_id, token, seq, dated FROM denial
WHERE dated <> CASE WHEN before = 0 THEN 0 ELSE 1 END OR length(user_id) = 0 AND length(device) = 0 AND length(token) = 0`,
		"denial of user %[1]q, token %[2]q: seq %[3]d does not say whom it is about"},
	{`SELECT s.user_id, s.user_id, s.open, s.found FROM (
	SELECT p.user_id, p.open, (SELECT count(*) FROM delivery d WHERE d.person = p.n AND d.state <= 2) AS found FROM person p
) AS s WHERE s.open <> s.found`,
		"user %[1]q: %[3]d deliveries should be open and %[4]d are"},
	{`SELECT s.user_id, s.user_id, s.top, s.found FROM (
	SELECT p.user_id, p.top, (SELECT coalesce(max(d.seq), 0) FROM delivery d WHERE d.person = p.n) AS found FROM person p
) AS s WHERE s.found > s.top`,
		"user %[1]q: the inbox ends at %[3]d and has a delivery %[4]d"},
	{`SELECT p.user_id, p.user_id, p.settled, min(d.seq) FROM person p JOIN delivery d ON d.person = p.n AND d.seq <= p.settled
WHERE d.state <= 2 GROUP BY p.n, p.user_id, p.settled`,
		"user %[1]q: nothing up to %[3]d should be open and delivery %[4]d is"},
	{`SELECT user_id, user_id, floor, top FROM person
WHERE floor > top OR settled > top OR read > top OR floor < 0 OR settled < 0 OR read < 0 OR length(user_id) = 0`,
		"user %[1]q: the inbox makes no sense: floor %[3]d, top %[4]d"},
	{`SELECT p.user_id, p.user_id, p.merged, c.n FROM person p CROSS JOIN counter c WHERE c.name = 'broadcast' AND p.merged > c.n`,
		"user %[1]q: has the pushes to everybody up to %[3]d, and the last one is %[4]d"},
	{`SELECT t.tag, t.tag, t.n, 0 FROM person_tag t WHERE NOT EXISTS (SELECT 1 FROM person p WHERE p.n = t.n AND p.attributes IS NOT NULL)`,
		"tag %[1]q: user number %[3]d has it and does not exist"},
	{`SELECT p.id, p.id, 0, s.n FROM push p JOIN (
	SELECT push, count(*) AS n, sum(CASE state WHEN 1 THEN 1 ELSE 0 END) AS queued, sum(CASE state WHEN 2 THEN 1 ELSE 0 END) AS sent,
		sum(CASE state WHEN 3 THEN 1 ELSE 0 END) AS delivered, sum(CASE state WHEN 4 THEN 1 ELSE 0 END) AS capped,
		sum(CASE state WHEN 5 THEN 1 ELSE 0 END) AS muted, sum(CASE state WHEN 6 THEN 1 ELSE 0 END) AS expired,
		sum(CASE state WHEN 7 THEN 1 ELSE 0 END) AS recalled, sum(CASE state WHEN 8 THEN 1 ELSE 0 END) AS failed,
		sum(CASE WHEN read > 0 THEN 1 ELSE 0 END) AS read
	FROM delivery GROUP BY push
) AS s ON s.push = p.n
WHERE s.queued <> p.queued OR s.sent <> p.sent OR s.delivered > p.delivered OR s.capped > p.capped OR s.muted > p.muted
	OR s.expired > p.expired OR s.recalled > p.recalled OR s.failed > p.failed OR s.read > p.read`,
		"push %[1]q: its totals do not agree with its %[4]d deliveries"},
	{`SELECT p.id, p.id, p.queued, p.sent FROM push p
WHERE (p.queued <> 0 OR p.sent <> 0) AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.push = p.n)`,
		"push %[1]q: %[3]d should be queued and %[4]d sent, and nothing is"},
	{`SELECT coalesce(p.id, ''), coalesce(u.user_id, ''), d.person, d.seq FROM delivery d
LEFT JOIN push p ON p.n = d.push LEFT JOIN person u ON u.n = d.person WHERE p.n IS NULL OR u.n IS NULL OR d.state < 1 OR d.state > 8`,
		"delivery %[4]d of user number %[3]d: of push %[1]q for user %[2]q, in a state that can be, one is not there"},
	{`SELECT p.id, p.id, p.everyone, c.n FROM push p CROSS JOIN counter c WHERE c.name = 'broadcast' AND p.everyone > c.n`,
		"push %[1]q: it has the number %[3]d of those to everybody, and the last one is %[4]d"},
	{`SELECT k.key, k.key, k.push, 0 FROM push_key k WHERE NOT EXISTS (SELECT 1 FROM push p WHERE p.n = k.push)`,
		"a key points to push number %[3]d, which does not exist"},
	{`SELECT name, name, length(name), 0 FROM category WHERE length(name) = 0`,
		"a category has no name"},
	{`SELECT s.id, s.id, s.size, s.found FROM (
	SELECT c.id, c.size, (SELECT count(*) FROM campaign_user u WHERE u.campaign = c.n) AS found FROM campaign c
) AS s WHERE s.size <> s.found`,
		"campaign %[1]q: its list should have %[3]d users and has %[4]d"},
	{`SELECT u.user_id, u.user_id, u.campaign, 0 FROM campaign_user u WHERE NOT EXISTS (SELECT 1 FROM campaign c WHERE c.n = u.campaign)`,
		"campaign number %[3]d: user %[1]q is in its list and it does not exist"},
	{`SELECT s.id, s.id, s.version, c.n FROM campaign s CROSS JOIN counter c
WHERE c.name = 'campaign' AND (s.version > c.n OR s.version < 1)`,
		"campaign %[1]q: its version %[3]d is beyond the last one, %[4]d"},
	{`SELECT id, owner, next, until FROM campaign
WHERE coalesce(due, 0) <> CASE WHEN next > 0 AND length(owner) > 0 AND until > next THEN until ELSE next END
	OR length(owner) = 0 AND until <> 0 OR due = 0`,
		"campaign %[1]q: when it can be claimed does not agree with its next time %[3]d and its claim by %[2]q until %[4]d"},
	{`SELECT id, who, time, 0 FROM audit WHERE length(who) = 0 OR length(kind) = 0 OR length(verb) = 0`,
		"line %[1]q of the audit log: who %[2]q ran which verb is not there"},
	{`SELECT name, name, length(value), expires FROM secret WHERE length(name) = 0 OR length(name) > 256 OR length(value) > 4096 OR expires < 0`,
		"secret %[1]q: it has %[3]d bytes until %[4]d, one of which cannot be"},
}

const sqlAllPersons = `SELECT user_id, muted, counts FROM person`

// auditPersons looks at what no query can read.
func auditPersons(ctx context.Context, tx Tx, report func(problem string)) error {
	return tx.Query(ctx, sqlAllPersons, func(scan Scan) error {
		var user, muted, counts []byte
		if err := scan(&user, &muted, &counts); err != nil {
			return err
		}
		if _, err := mutedOf(muted); err != nil {
			report(fmt.Sprintf("user %q: %v", user, err))
		}
		if _, err := fatigue.Decode(counts); err != nil {
			report(fmt.Sprintf("user %q: what was counted is not readable: %v", user, err))
		}
		return nil
	})
}

const sqlAllAudit = `SELECT id, time, truncated, params FROM audit`

// auditLog looks at what no query can tell of the audit log.
func auditLog(ctx context.Context, tx Tx, report func(problem string)) error {
	return tx.Query(ctx, sqlAllAudit, func(scan Scan) error {
		var key, params []byte
		var at, truncated int64
		if err := scan(&key, &at, &truncated, &params); err != nil {
			return err
		}
		if len(key) != ulidLen || string(key[:10]) != id.Prefix(at) {
			report(fmt.Sprintf("line %q of the audit log: its time %d is not that of its id", key, at))
		}
		if len(params) > 0 && (truncated != 0 || !json.Valid(params)) {
			report(fmt.Sprintf("line %q of the audit log: its params are no JSON, or were left out and are there", key))
		}
		return nil
	})
}

// Audit reads all tables and calls report for each thing that is wrong.
func Audit(ctx context.Context, tx Tx, report func(problem string)) error {
	for _, a := range append(slices.Clone(audits), dialectAudits(tx)...) {
		if err := tx.Query(ctx, a.query, func(scan Scan) error {
			var one, two []byte
			var x, y int64
			if err := scan(&one, &two, &x, &y); err != nil {
				return err
			}
			report(fmt.Sprintf(a.sentence, one, two, x, y))
			return nil
		}); err != nil {
			return err
		}
	}
	n, err := number(ctx, tx, `SELECT count(*) FROM counter WHERE name IN ('broadcast', 'campaign', 'denial', 'pruned', 'schedule', 'secret', 'seen', 'roster')`)
	want := int64(8)
	if tx.Dialect() == PostgreSQL {
		want = 7 // versions of rosters come from a sequence
	}
	if err == nil && n != want {
		report(fmt.Sprintf("of the %d counters %d are there", want, n))
	}
	if err != nil {
		return err
	}
	return errors.Join(auditPersons(ctx, tx, report), auditLog(ctx, tx, report))
}
