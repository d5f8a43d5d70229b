package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// Bounds of the audit log, in bytes.
const (
	ulidLen     = 26
	maxWho      = 256
	maxBy       = 16
	maxRoleName = 32
	maxAddress  = 64
	maxVerb     = 64
	maxTarget   = 1024
	maxParams   = 4 << 10
	maxOutcome  = 32
	maxError    = 1024

	maxTrim = 10_000

	// auditSkim is how many lines a page looks at when some may not be what is asked for,
	// and auditKeys how many verbs or outcomes it puts together.
	auditSkim = 5000
	auditKeys = 256
)

// The outcome of what succeeded is null, so that the index of the others is small.
const (
	sqlAddAudit = `
INSERT INTO audit (id, time, who, kind, role, address, verb, target, truncated, outcome, error, params) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING`

	sqlAuditOutcome = `UPDATE audit SET outcome = ?, error = ? WHERE id = ? AND outcome = ?`

	auditGist = `SELECT id, who, verb, outcome, CASE WHEN outcome IS NULL THEN 1 ELSE 0 END FROM audit `

	auditNewest = ` id >= ? AND id < ? ORDER BY id DESC LIMIT CAST(? AS bigint)`

	sqlAudit          = auditGist + `WHERE` + auditNewest
	sqlAuditByWho     = auditGist + `WHERE who = ? AND` + auditNewest
	sqlAuditByVerb    = auditGist + `WHERE verb = ? AND` + auditNewest
	sqlAuditByOutcome = auditGist + `WHERE outcome = ? AND` + auditNewest

	// One verb, and one outcome, after another, so that as many lines are looked at as there are of these.
	sqlAuditVerb    = `SELECT verb FROM audit WHERE verb >= ? AND verb < ? ORDER BY verb LIMIT 1`
	sqlAuditFailure = `SELECT outcome FROM audit WHERE outcome >= ? AND outcome < ? ORDER BY outcome LIMIT 1`

	auditColumns = `time, who, kind, role, address, verb, target, truncated, outcome, CASE WHEN outcome IS NULL THEN 1 ELSE 0 END, error, params FROM `

	sqlAuditLine = `SELECT 0, ` + auditColumns + `audit WHERE id = ?`

	sqlAuditLines = `
SELECT w.place, ` + auditColumns + `unnest(CAST(? AS bytea[])) WITH ORDINALITY AS w(key, place)
CROSS JOIN LATERAL (SELECT * FROM audit WHERE id = w.key OFFSET 0) AS s`

	sqlTrimAudit = `DELETE FROM audit WHERE id IN (SELECT a.id FROM audit AS a WHERE a.id < ? ORDER BY a.id LIMIT CAST(? AS bigint))`
	trimAllAudit = `DELETE FROM audit WHERE id = ANY (ARRAY(SELECT a.id FROM audit AS a WHERE a.id < ? ORDER BY a.id LIMIT CAST(? AS bigint) FOR UPDATE SKIP LOCKED))`
)

// ourAudit gives the name of a command about the audit log or secrets; "": it is none.
func ourAudit(c store.Command) string {
	switch c.(type) {
	case store.AddAudit:
		return "add audit"
	case store.SetAuditOutcome:
		return "set audit outcome"
	case store.TrimAudit:
		return "trim audit"
	case store.PutSecret:
		return "put secret"
	case store.TakeSecret:
		return "take secret"
	}
	return ""
}

// checkAudit tells what is wrong with a command, and about how many bytes it has.
func checkAudit(c store.Command) (size int, err error) {
	switch c := c.(type) {
	case store.AddAudit:
		return len(c.Params) + len(c.Target) + len(c.Error), checkLine(&c.AuditLine)
	case store.SetAuditOutcome:
		return len(c.Error), errors.Join(name("ID", c.ID, ulidLen, ulidLen), name("Outcome", c.Outcome, 1, maxOutcome), name("Error", c.Error, 0, maxError))
	case store.TrimAudit:
		if c.Limit < 1 || c.Limit > maxTrim {
			err = fmt.Errorf("%s: %d is not from 1 to %d", "Limit", c.Limit, maxTrim)
		}
		return 0, errors.Join(moment("Before", c.Before, 0), err)
	case store.PutSecret:
		return len(c.Value), errors.Join(name("Name", c.Name, 1, maxSecretName), name("Value", c.Value, 0, maxSecret), moment("Expires", c.Expires, 0), moment("Now", c.Now, 1))
	case store.TakeSecret:
		return 0, errors.Join(name("Name", c.Name, 1, maxSecretName), moment("Now", c.Now, 1))
	}
	return 0, unknown(c)
}

func checkLine(l *store.AuditLine) error {
	err := errors.Join(name("ID", l.ID, ulidLen, ulidLen), moment("Time", l.Time, 1), name("Who", l.Who, 1, maxWho), name("By", l.By, 1, maxBy),
		name("Role", l.Role, 0, maxRoleName), name("Address", l.Address, 0, maxAddress), name("Verb", l.Verb, 1, maxVerb), name("Target", l.Target, 0, maxTarget),
		name("Params", l.Params, 0, maxParams), name("Outcome", l.Outcome, 0, maxOutcome), name("Error", l.Error, 0, maxError))
	if err == nil && l.ID[:10] != id.Prefix(l.Time) {
		err = fmt.Errorf("%s: %q does not have the time %d", "ID", l.ID, l.Time)
	}
	return err
}

func applyAudit(ctx context.Context, tx Tx, c store.Command) (store.Result, error) {
	switch c := c.(type) {
	case store.AddAudit:
		return addAudit(ctx, tx, &c.AuditLine)
	case store.SetAuditOutcome:
		n, err := tx.Exec(ctx, sqlAuditOutcome, outcomeColumn(c.Outcome), []byte(c.Error), []byte(c.ID), []byte{})
		return store.AuditOutcomeSet{OK: n > 0}, err
	case store.TrimAudit:
		query := sqlTrimAudit
		if tx.Dialect() == PostgreSQL {
			query = trimAllAudit
		}
		n, err := tx.Exec(ctx, query, []byte(id.Prefix(c.Before)), int64(c.Limit))
		return store.AuditTrimmed{Lines: int(n), More: n == int64(c.Limit)}, err
	case store.PutSecret:
		return putSecret(ctx, tx, c)
	case store.TakeSecret:
		return takeSecret(ctx, tx, c)
	}
	return nil, unknown(c)
}

// outcomeColumn is an outcome as its column has it.
func outcomeColumn(outcome string) any {
	if outcome == store.AuditOK {
		return nil
	}
	return []byte(outcome)
}

// outcomeOf reads that column; ok tells whether it is null.
func outcomeOf(column []byte, ok int64) string {
	if ok != 0 {
		return store.AuditOK
	}
	return string(column)
}

func addAudit(ctx context.Context, tx Tx, l *store.AuditLine) (store.Result, error) {
	n, err := tx.Exec(ctx, sqlAddAudit, []byte(l.ID), l.Time, []byte(l.Who), []byte(l.By), []byte(l.Role), []byte(l.Address), []byte(l.Verb), []byte(l.Target),
		flag(l.Truncated), outcomeColumn(l.Outcome), []byte(l.Error), filled(l.Params))
	if err == nil && n == 0 {
		return nil, store.ErrConflict
	}
	return store.AuditAdded{}, err
}

// gist is what a page has to know of a line to tell whether it is asked for.
type gist struct{ id, who, verb, outcome string }

// asks tells whether a line is one of those that a query asks for, but for its place.
func asks(q *store.AuditQuery, m *gist) bool {
	verb, begins := strings.CutSuffix(q.Verb, "*")
	switch {
	case q.Who != "" && m.who != q.Who,
		begins && !strings.HasPrefix(m.verb, verb),
		!begins && verb != "" && m.verb != verb,
		q.Open && m.outcome != "",
		q.Failed && (m.outcome == "" || m.outcome == store.AuditOK),
		q.Outcome != "" && m.outcome != q.Outcome:
		return false
	}
	return true
}

// walk is an index by which lines are looked at: all that have one of some keys.
type walk struct {
	query string
	keys  []string // nil: the query has none
}

// walkFor chooses the index that is likely to leave out the most.
func walkFor(ctx context.Context, tx Tx, q *store.AuditQuery) (w walk, err error) {
	verb, begins := strings.CutSuffix(q.Verb, "*")
	all := walk{query: sqlAudit}
	switch {
	case q.Open:
		return walk{sqlAuditByOutcome, []string{""}}, nil
	case q.Failed:
		w = walk{query: sqlAuditByOutcome}
		w.keys, err = auditNames(ctx, tx, sqlAuditFailure, next(""), beyond)
	case q.Outcome != "" && q.Outcome != store.AuditOK:
		return walk{sqlAuditByOutcome, []string{q.Outcome}}, nil
	case q.Who != "":
		return walk{sqlAuditByWho, []string{q.Who}}, nil
	case verb == "":
		return all, nil
	case !begins:
		return walk{sqlAuditByVerb, []string{verb}}, nil
	default:
		w = walk{query: sqlAuditByVerb}
		low, high := within(verb, "")
		w.keys, err = auditNames(ctx, tx, sqlAuditVerb, low, high)
	}
	if len(w.keys) > auditKeys {
		return all, err
	}
	return w, err
}

// auditNames lists what one of the columns has between low and high.
func auditNames(ctx context.Context, tx Tx, query string, low, high []byte) (names []string, err error) {
	names = []string{}
	for len(names) <= auditKeys {
		n := len(names)
		if err := tx.Query(ctx, query, func(scan Scan) error {
			var found []byte
			err := scan(&found)
			names = append(names, string(found))
			return err
		}, low, high); err != nil || len(names) == n {
			return names, err
		}
		low = next(names[n])
	}
	return names, nil
}

// auditGists looks at lines by a walk, the newest first, at most step of each key. All
// that are not older than reached have been looked at; "": all.
func auditGists(ctx context.Context, tx Tx, q *store.AuditQuery, w walk, step int) (gists []gist, reached string, err error) {
	low, high := []byte{}, beyond
	if q.From > 0 {
		low = []byte(id.Prefix(q.From))
	}
	if q.To > 0 && q.To < maxTime {
		high = []byte(id.Prefix(q.To + 1))
	}
	if q.After != "" && q.After < string(high) {
		high = []byte(q.After)
	}
	look := func(args ...any) error {
		n := 0
		err := tx.Query(ctx, w.query, func(scan Scan) error {
			var key, who, verb, outcome []byte
			var ok int64
			err := scan(&key, &who, &verb, &outcome, &ok)
			gists = append(gists, gist{string(key), string(who), string(verb), outcomeOf(outcome, ok)})
			n++
			return err
		}, append(args, low, high, int64(step))...)
		if n == step {
			reached = max(reached, gists[len(gists)-1].id)
		}
		return err
	}
	if w.keys == nil {
		err = look()
		return gists, reached, err
	}
	for _, k := range w.keys {
		if err := look([]byte(k)); err != nil {
			return nil, "", err
		}
	}
	slices.SortFunc(gists, func(a, b gist) int { return strings.Compare(b.id, a.id) })
	return gists, reached, nil
}

// auditLines is that of [store.AuditReader].
func auditLines(ctx context.Context, tx Tx, q *store.AuditQuery) (page store.AuditPage, err error) {
	w, err := walkFor(ctx, tx, q)
	if err != nil {
		return page, err
	}
	var ids []string
	// What is not asked for may fill what is looked at first.
	for step, more := q.Limit+1, true; more; step *= 4 {
		gists, reached, err := auditGists(ctx, tx, q, w, step)
		if err != nil {
			return page, err
		}
		ids, page.Next = pick(q, gists, reached)
		more = len(ids) < q.Limit && reached != "" && step*max(len(w.keys), 1) < auditSkim
	}
	page.Lines, err = auditByID(ctx, tx, ids)
	return page, err
}

// pick gives the lines of a page, and where the next one begins.
func pick(q *store.AuditQuery, gists []gist, reached string) (ids []string, after string) {
	for i := range gists {
		g := &gists[i]
		if g.id < reached {
			break
		}
		if !asks(q, g) {
			continue
		}
		if len(ids) == q.Limit {
			return ids, ids[len(ids)-1]
		}
		ids = append(ids, g.id)
	}
	return ids, reached
}

// auditByID gives lines by their ids.
func auditByID(ctx context.Context, tx Tx, ids []string) ([]store.AuditLine, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	lines := make([]store.AuditLine, len(ids))
	var at, truncated, ok int64
	var who, by, role, address, verb, target, outcome, failure, params []byte
	err := lookup(ctx, tx, sqlAuditLine, sqlAuditLines, nil, ids,
		[]any{&at, &who, &by, &role, &address, &verb, &target, &truncated, &outcome, &ok, &failure, &params}, func(i int) {
			lines[i] = store.AuditLine{ID: ids[i], Time: at, Who: string(who), By: string(by), Role: string(role), Address: string(address), Verb: string(verb),
				Target: string(target), Params: emptyIsNil(slices.Clone(params)), Truncated: truncated != 0, Outcome: outcomeOf(outcome, ok), Error: string(failure)}
		})
	return lines, err
}

// AuditLines implements [store.AuditReader].
func (r Reader) AuditLines(ctx context.Context, q store.AuditQuery) (store.AuditPage, error) {
	if q.Open && q.Failed || q.Outcome != "" && (q.Open || q.Failed) {
		return store.AuditPage{}, fmt.Errorf("%s: audit: Outcome: it can be open, failed or one outcome, not two of them", r.name)
	}
	return page(ctx, r, "audit", q.Limit, func(ctx context.Context, tx Tx) (store.AuditPage, error) {
		return auditLines(ctx, tx, &q)
	})
}
