package tables

import (
	"context"
	"fmt"
)

const (
	sqlMemberTotal   = `SELECT CAST(coalesce(sum(n), 0) AS bigint) FROM group_size`
	sqlScheduleTotal = `SELECT count(*) FROM schedule`
)

// Totals counts memberships and schedules.
func Totals(ctx context.Context, tx Tx) (members, schedules int64, err error) {
	if members, err = number(ctx, tx, sqlMemberTotal); err != nil {
		return 0, 0, err
	}
	schedules, err = number(ctx, tx, sqlScheduleTotal)
	return members, schedules, err
}

// audits are what must not be found: two names and two numbers, with the
// sentence for them. Each is one query, so that what is written meanwhile does
// not look like a mistake.
var audits = []struct{ query, sentence string }{
	{`SELECT s.channel, s.channel, s.n, s.found FROM (
	SELECT g.channel, g.n, (SELECT count(*) FROM member m WHERE m.channel = g.channel) AS found FROM group_size g
) AS s WHERE s.n <> s.found OR s.n < 1`,
		"channel %[1]q: it should have %[3]d members and has %[4]d"},
	{`SELECT m.channel, m.channel, 0, count(*) FROM member m
WHERE NOT EXISTS (SELECT 1 FROM group_size g WHERE g.channel = m.channel) GROUP BY m.channel`,
		"channel %[1]q: it should have %[3]d members and has %[4]d"},
	{`SELECT channel, user_id, 0, 0 FROM member WHERE length(channel) = 0 OR length(user_id) = 0`,
		"channel %[1]q: user %[2]q is a member; neither may be empty"},
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
}

// Audit reads all tables and calls report for each thing that is wrong.
func Audit(ctx context.Context, tx Tx, report func(problem string)) error {
	for _, a := range audits {
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
	n, err := number(ctx, tx, `SELECT count(*) FROM counter WHERE name IN ('denial', 'schedule', 'seen')`)
	if err == nil && n != 3 {
		report(fmt.Sprintf("of the 3 counters %d are there", n))
	}
	return err
}
