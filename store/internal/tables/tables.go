// Package tables carries out the commands and reads of members, conversations,
// schedules, denials, users, pushes, campaigns, the audit log and secrets for every store that keeps them in SQL
// tables. It is written once, in the SQL that SQLite and PostgreSQL share; where
// they differ much, for lists, locks and what is in JSON, it asks for the [Dialect].
//
// A store gives it transactions ([Tx]) and makes the tables; the package itself
// stores nothing outside of them. Its only goroutines are those of an estimate, which
// end with it. It does not read clocks: times come with the commands.
//
// # Tables
//
//	member      (channel, user_id) -> since, role, marks and alerts; also by (user_id, channel)
//	group_size  channel -> n, how many members it has, and the version of its roster; no
//	            row when it has none
//	conversation channel -> the settings of a group
//	peer_block  (user_id, peer), who has blocked whom
//	alert       (channel, seq), messages of which absent members are still to be told
//	schedule    name -> plan, state, next, version, owner, until; also by due
//	denial      seq -> who, since when, until when; also by who and by its end
//	seen        user_id -> the device and the time
//	person      n -> user_id, attributes, and all that is judged with each push; also by user_id
//	person_tag  (tag, n), for each of the texts in the attribute tags
//	person_field the places of attributes that have an index
//	push        n -> what is pushed, and its totals; also by id, time and expiry
//	push_key    key -> the push that it was used for
//	delivery    pos -> one push for one person; also by (person, seq) and (push, person)
//	category    name -> body
//	campaign    n -> id, plan, state and cursor; also by when it is due
//	campaign_user (campaign, user_id), the lists of campaigns
//	audit       id -> who ran which verb, and what became of it; also by who, verb and outcome
//	secret      name -> value, until when; also by its end
//	counter     the last version of a schedule and of a campaign, the last seq of a
//	            denial, and the last number of a push to everybody; in SQLite the last
//	            version of a roster, too, which in PostgreSQL a sequence gives
//
// Of channels and messages it reads where they end; messages themselves a store gives it
// ([Tx]). A member's own message is appended by the store, which in SQLite asks [Speaks].
//
// Names and ids are bytes (BLOB, bytea), so that their order is that of bytes
// and nothing that people may write is lost.
//
// # Order of locks
//
// Several processes may write to one PostgreSQL. The row of group_size stands
// for all memberships of its channel: whoever changes them has it locked, so n
// and the roles are exact; only marks move without it. The row of counter stands for all
// schedules and all denials: their changes take turns, so numbers appear in their order
// and two claims see each other; so do changes of secrets. [Do] locks first the sizes, by channel, then the
// memberships that are named, by channel and user, then the counters, by name, then
// persons, by number, then pushes, by number; nobody waits in a circle. What looks for
// its persons itself, because they are those whose time has come, may meet another that
// does, and so may an owner who leaves and his heir: then one of the two begins anew.
package tables

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/skein-realtime/skein/store"
)

// Dialect is the database behind a [Tx].
type Dialect int

// SQLite has one writer, and a list is gone through one by one. PostgreSQL has
// others that write at the same time, and a list is one argument.
const (
	SQLite Dialect = iota
	PostgreSQL
)

// Tx is a transaction, or for reads a moment of the database. A query has ? for
// its arguments, which are int64, []byte, nil or, in PostgreSQL, [][]byte and
// []int64. Each query is one of a few constants, so preparing it once pays.
type Tx interface {
	Dialect() Dialect
	// Messages gives messages of channels, in order; one that is not there is nil.
	Messages(ctx context.Context, at []At) ([]*store.Message, error)
	// Exec carries out a statement and tells how many rows it changed.
	Exec(ctx context.Context, query string, args ...any) (changed int64, err error)
	// Query calls row for each row. Until it returns nothing else is asked.
	Query(ctx context.Context, query string, row func(Scan) error, args ...any) error
	// QueryOnce is Query for a text that was made for this occasion: it is not kept
	// prepared. Its arguments may be float64 and string (a text), too.
	QueryOnce(ctx context.Context, query string, row func(Scan) error, args ...any) error
	// QueryThrough is QueryOnce for a read that goes through a whole table, in any order.
	// It is for reads alone.
	QueryThrough(ctx context.Context, query string, row func(Scan) error, args ...any) error
	// QueryScattered is Query for a read of rows that lie far from each other: a database that
	// can asks the disk for all of them at once. It is for reads alone.
	QueryScattered(ctx context.Context, query string, row func(Scan) error, args ...any) error
}

// At is where a message is: in the channel with that number in the database, at that seq.
type At struct{ Channel, Seq int64 }

// Scan puts the columns of a row into *int64 and *[]byte.
type Scan = func(columns ...any) error

// Outcome is what became of a group: its results, or the error of the contract
// ([Refused]) for which nothing of it happened.
type Outcome struct {
	Results []store.Result
	Err     error
}

// Refused tells the errors of the contract, after which a group has changed nothing,
// from those of the database.
func Refused(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) ||
		errors.Is(err, store.ErrDenied)
}

// Do carries out groups that [Check] has found good, one after the other, in one
// transaction. After an error the transaction must be rolled back.
func Do(ctx context.Context, tx Tx, groups ...[]store.Command) ([]Outcome, error) {
	if marks := onlyMarks(tx, groups); len(marks) > 0 {
		return markAll(ctx, tx, marks)
	}
	need, err := lock(ctx, tx, groups)
	if err != nil {
		return nil, err
	}
	outcomes := make([]Outcome, len(groups))
	tx = beginPush(tx)
	for i, g := range groups {
		if outcomes[i], err = carryOut(ctx, tx, g); err != nil {
			return nil, err
		}
	}
	if err := dropEmpty(ctx, tx, need.channels); err != nil {
		return nil, err
	}
	if err := need.dropUnused(ctx, tx, groups, outcomes); err != nil {
		return nil, err
	}
	return outcomes, endPush(ctx, tx)
}

// carryOut does the commands of one group. One that fails has changed nothing
// itself, so only what came before it needs to be taken back.
func carryOut(ctx context.Context, tx Tx, group []store.Command) (o Outcome, err error) {
	careful := len(group) > 1 && slices.ContainsFunc(group, mayFail)
	if careful {
		if _, err := tx.Exec(ctx, "SAVEPOINT one"); err != nil {
			return o, err
		}
	}
	for _, c := range group {
		r, err := apply(ctx, tx, c)
		switch {
		case Refused(err):
			o = Outcome{Err: err}
			if careful {
				if _, err := tx.Exec(ctx, "ROLLBACK TO SAVEPOINT one"); err != nil {
					return o, err
				}
				_, err = tx.Exec(ctx, "RELEASE SAVEPOINT one")
				return o, err
			}
			return o, nil
		case err != nil:
			return o, err
		}
		o.Results = append(o.Results, r)
	}
	if careful {
		_, err = tx.Exec(ctx, "RELEASE SAVEPOINT one")
	}
	return o, err
}

func mayFail(c store.Command) bool {
	switch c := c.(type) {
	case store.PutSchedule:
		return c.If != nil
	case store.PutUsers, store.MuteCategory, store.DeleteSchedule, store.DeleteCategory, store.PutCampaign, store.AddToCampaign,
		store.Push, store.Broadcast, store.RecallPush, store.Admit, store.Dismiss, store.SetRole, store.PutGroup, store.MarkMember, store.SetAlerts,
		store.AddAudit, store.TakeSecret:
		return true
	}
	return false
}

func apply(ctx context.Context, tx Tx, c store.Command) (store.Result, error) {
	switch c := c.(type) {
	case store.AddMembers:
		return addMembers(ctx, tx, c)
	case store.RemoveMembers:
		return removeMembers(ctx, tx, c)
	case store.PutSchedule:
		return putSchedule(ctx, tx, c)
	case store.DeleteSchedule:
		return deleteSchedule(ctx, tx, c)
	case store.ClaimSchedule:
		return claimSchedule(ctx, tx, c)
	case store.FinishSchedule:
		return finishSchedule(ctx, tx, c)
	case store.PutDenial:
		return putDenial(ctx, tx, c)
	case store.SawUsers:
		return sawUsers(ctx, tx, c)
	}
	if ourUsers(c) != "" {
		return applyUsers(ctx, tx, c)
	}
	if ourCampaign(c) != "" {
		return applyCampaign(ctx, tx, c)
	}
	if ourChat(c) != "" {
		return applyChat(ctx, tx, c)
	}
	if ourAudit(c) != "" {
		return applyAudit(ctx, tx, c)
	}
	return applyPush(ctx, tx, c)
}

// The statements of the counters. Those of seen and secret count nothing and are only locks.
const (
	sqlNextSchedule = `UPDATE counter SET n = n + 1 WHERE name = 'schedule' RETURNING n`
	sqlNextDenial   = `UPDATE counter SET n = n + 1 WHERE name = 'denial' RETURNING n`
	sqlLockDenial   = `UPDATE counter SET n = n WHERE name = 'denial'`
	sqlLockSchedule = `UPDATE counter SET n = n WHERE name = 'schedule'`
	sqlLockSeen     = `UPDATE counter SET n = n WHERE name = 'seen'`
	sqlLockCampaign = `UPDATE counter SET n = n WHERE name = 'campaign'`
	sqlSkip         = `UPDATE counter SET n = n + 1000000000 WHERE name NOT IN ('pruned', 'secret', 'seen')`
	sqlSkipRoster   = `SELECT setval('roster_version', nextval('roster_version') + 1000000000)`
)

// needs are what groups have to lock before anything else.
type needs struct {
	sizes                               map[string]bool // channels
	campaigns, denials, schedules, seen bool
	secrets                             bool
	channels                            []string // the same, in order
	places, members                     []string // memberships that are named: channels, and in each the user
	commands                            int
	ids                                 []string         // of persons
	numbers                             []int64          // of others
	new                                 map[string]int64 // who is made when he is not there, and when
	made                                []string         // who was
}

func (n *needs) add(c store.Command) {
	n.commands++
	switch c := c.(type) {
	case store.AddMembers:
		n.sizes[c.Channel] = true
	case store.RemoveMembers:
		n.sizes[c.Channel] = true
		n.addMembers(c.Channel, c.Users...)
	case store.Admit:
		n.sizes[c.Channel] = true
	case store.Dismiss:
		n.sizes[c.Channel] = true
		n.addMembers(c.Channel, c.Users...)
	case store.SetRole:
		n.sizes[c.Channel] = true
		n.addMembers(c.Channel, c.User, c.By)
	case store.SetAlerts:
		n.sizes[c.Channel] = true
		n.addMembers(c.Channel, c.User)
	case store.PutGroup:
		n.sizes[c.Channel] = true
	case store.MarkMember:
		n.addMembers(c.Channel, c.User)
	case store.BlockPeer, store.AlertsDone:
	case store.PutDenial:
		n.denials = true
	case store.SawUsers:
		n.seen = true
	case store.AddAudit, store.SetAuditOutcome, store.TrimAudit:
	case store.PutSecret, store.TakeSecret:
		n.secrets = true
	case store.PutSchedule, store.DeleteSchedule, store.ClaimSchedule, store.FinishSchedule:
		n.schedules = true
	case store.PutCampaign, store.ClaimCampaign, store.AddToCampaign, store.DeleteCampaign:
		n.campaigns = true
	default:
		n.addPersons(c)
	}
}

func (n *needs) addMembers(channel string, users ...string) {
	for _, u := range users {
		n.places, n.members = append(n.places, channel), append(n.members, u)
	}
}

// lock makes and locks what the groups need, in the order that everybody keeps.
func lock(ctx context.Context, tx Tx, groups [][]store.Command) (*needs, error) {
	n := &needs{sizes: map[string]bool{}, new: map[string]int64{}}
	for _, g := range groups {
		for _, c := range g {
			n.add(c)
		}
	}
	n.channels = slices.Sorted(maps.Keys(n.sizes))
	if err := ensureSizes(ctx, tx, n.channels); err != nil || tx.Dialect() == SQLite {
		return n, err
	}
	if n.commands > 1 {
		if err := lockMembers(ctx, tx, n.places, n.members); err != nil {
			return nil, err
		}
	}
	// A claim that somebody else was given needs no turn, so alone it is for the
	// commands to take one.
	for _, l := range []struct {
		needed bool
		query  string
	}{
		{n.campaigns && n.commands > 1, sqlLockCampaign},
		{n.denials, sqlLockDenial},
		{n.schedules && (n.denials || n.seen || n.secrets), sqlLockSchedule},
		{n.secrets, sqlLockSecret},
		{n.seen, sqlLockSeen},
	} {
		if l.needed {
			if _, err := tx.Exec(ctx, l.query); err != nil {
				return nil, err
			}
		}
	}
	if n.commands == 1 {
		return n, nil // it locks its persons itself, and makes them in order
	}
	return n, n.lockPersons(ctx, tx)
}

// Skip leaves out more versions and seqs than can have been given since a backup
// was made, so that those that were given are not given again.
func Skip(ctx context.Context, tx Tx) error {
	_, err := tx.Exec(ctx, sqlSkip)
	if err == nil && tx.Dialect() == PostgreSQL {
		_, err = number(ctx, tx, sqlSkipRoster)
	}
	return err
}

// number asks for one number; what has no row is 0.
func number(ctx context.Context, tx Tx, query string, args ...any) (n int64, err error) {
	err = tx.Query(ctx, query, func(scan Scan) error { return scan(&n) }, args...)
	return n, err
}

// lookup asks the same about each of names. one is the query about a single
// name, all the one about a list of them; the first column of both is the place
// in the list, from 1 on, which one may leave at 0. Both take the other
// arguments first. Names without a row are passed over.
func lookup(ctx context.Context, tx Tx, one, all string, args []any, names []string, columns []any, take func(i int)) error {
	var place int64
	into := append([]any{&place}, columns...)
	if tx.Dialect() == PostgreSQL {
		return tx.Query(ctx, all, func(scan Scan) error {
			err := scan(into...)
			if err == nil {
				take(int(place) - 1)
			}
			return err
		}, append(args, list(names))...)
	}
	for i, name := range names {
		err := tx.Query(ctx, one, func(scan Scan) error {
			err := scan(into...)
			if err == nil {
				take(i)
			}
			return err
		}, append(slices.Clip(args), []byte(name))...)
		if err != nil {
			return err
		}
	}
	return nil
}

// list makes names an argument.
func list(names []string) [][]byte {
	l := make([][]byte, len(names))
	for i, n := range names {
		l[i] = []byte(n)
	}
	return l
}

// distinct leaves out what was there before.
func distinct(names []string) []string {
	seen := make(map[string]struct{}, len(names))
	kept := make([]string, 0, len(names))
	for _, n := range names {
		if _, double := seen[n]; !double {
			seen[n] = struct{}{}
			kept = append(kept, n)
		}
	}
	return kept
}

// filled is b, which as a nil slice would be a null.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// emptyIsNil makes what was stored empty a nil slice, whatever the driver says.
func emptyIsNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// next is the name that comes right after another one in the order of bytes.
func next(name string) []byte { return append([]byte(name), 0) }

// within gives the bounds of the names that begin with prefix and come after
// one: from low on, up to high without it.
func within(prefix, after string) (low, high []byte) {
	low = []byte(prefix)
	if after != "" && after >= prefix {
		low = next(after)
	}
	high = []byte(prefix)
	for len(high) > 0 && high[len(high)-1] == 0xFF {
		high = high[:len(high)-1]
	}
	if len(high) == 0 {
		return low, beyond
	}
	high[len(high)-1]++
	return low, high
}

// Pushes appends what the results of a group say of pushes.
func Pushes(list []store.Pushed, results []store.Result) []store.Pushed {
	for _, r := range results {
		if p, is := r.(store.Pushed); is {
			list = append(list, p)
		}
	}
	return list
}
