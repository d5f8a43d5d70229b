package tables

import (
	"context"

	"github.com/skein-realtime/skein/store"
)

const (
	scheduleColumns = `SELECT name, plan, state, next, version, owner, until FROM schedule `

	sqlSchedule = scheduleColumns + `WHERE name = ?`

	sqlSchedules = scheduleColumns + `WHERE name >= ? AND name < ? ORDER BY name LIMIT CAST(? AS bigint)`

	sqlDue = `SELECT name, due FROM schedule WHERE due IS NOT NULL ORDER BY due, name LIMIT CAST(? AS bigint)`

	sqlPutSchedule = `
INSERT INTO schedule (name, plan, state, next, version, owner, until, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET plan = excluded.plan, state = excluded.state, next = excluded.next, version = excluded.version,
	owner = excluded.owner, until = excluded.until, due = excluded.due`

	// The plan stays where it is: it may be large.
	sqlMoveSchedule = `UPDATE schedule SET state = ?, next = ?, version = ?, owner = ?, until = ?, due = ? WHERE name = ?`

	sqlDeleteSchedule = `DELETE FROM schedule WHERE name = ?`
)

// due is when a schedule can be claimed, for the column; null: never.
func due(s store.Schedule) any {
	switch {
	case s.Next == 0:
		return nil
	case s.Owner != "":
		return max(s.Next, s.Until)
	}
	return s.Next
}

// upTo reads a schedule (zero: it is not there) and asks whether it is to be
// changed. If so, and still so when it is this transaction's turn, a new version
// is taken and nobody else changes any schedule until its end.
func upTo(ctx context.Context, tx Tx, name string, change func(store.Schedule) bool) (s store.Schedule, version uint64, err error) {
	for mine := tx.Dialect() == SQLite; ; mine = true {
		if s, err = oneSchedule(ctx, tx, name); err != nil || !change(s) {
			return s, 0, err
		}
		if mine {
			n, err := number(ctx, tx, sqlNextSchedule)
			return s, uint64(n), err
		}
		if _, err := tx.Exec(ctx, sqlLockSchedule); err != nil {
			return s, 0, err
		}
	}
}

func putSchedule(ctx context.Context, tx Tx, c store.PutSchedule) (store.Result, error) {
	was, version, err := upTo(ctx, tx, c.Name, func(s store.Schedule) bool { return c.If == nil || s.Version == *c.If })
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, store.ErrConflict
	}
	s := store.Schedule{Next: c.Next}
	if _, err := tx.Exec(ctx, sqlPutSchedule, []byte(c.Name), filled(c.Plan), filled(c.State), c.Next, int64(version), []byte{}, int64(0), due(s)); err != nil {
		return nil, err
	}
	return store.SchedulePut{Version: version, Created: was.Version == 0}, nil
}

func deleteSchedule(ctx context.Context, tx Tx, c store.DeleteSchedule) (store.Result, error) {
	_, version, err := upTo(ctx, tx, c.Name, func(s store.Schedule) bool { return s.Version != 0 })
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return nil, store.ErrNotFound
	}
	_, err = tx.Exec(ctx, sqlDeleteSchedule, []byte(c.Name))
	return store.ScheduleDeleted{}, err
}

func claimSchedule(ctx context.Context, tx Tx, c store.ClaimSchedule) (store.Result, error) {
	s, version, err := upTo(ctx, tx, c.Name, func(s store.Schedule) bool {
		return s.Next != 0 && s.Next <= c.Now && (s.Owner == "" || s.Until <= c.Now)
	})
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return store.ScheduleClaimed{Schedule: s}, nil
	}
	s.Version, s.Owner, s.Until = version, c.Owner, c.Until
	return store.ScheduleClaimed{OK: true, Schedule: s}, move(ctx, tx, s)
}

func finishSchedule(ctx context.Context, tx Tx, c store.FinishSchedule) (store.Result, error) {
	s, version, err := upTo(ctx, tx, c.Name, func(s store.Schedule) bool { return s.Owner != "" && s.Version == c.Version })
	if err != nil {
		return nil, err
	}
	if version == 0 {
		return store.ScheduleFinished{}, nil
	}
	s.Version, s.Next, s.State, s.Until = version, c.Next, c.State, c.Until
	if c.Until == 0 {
		s.Owner = ""
	}
	return store.ScheduleFinished{OK: true, Version: version}, move(ctx, tx, s)
}

// move writes everything of a schedule but its plan.
func move(ctx context.Context, tx Tx, s store.Schedule) error {
	_, err := tx.Exec(ctx, sqlMoveSchedule, filled(s.State), s.Next, int64(s.Version), []byte(s.Owner), s.Until, due(s), []byte(s.Name))
	return err
}

func scanSchedule(scan Scan, s *store.Schedule) error {
	var name, owner []byte
	var version int64
	if err := scan(&name, &s.Plan, &s.State, &s.Next, &version, &owner, &s.Until); err != nil {
		return err
	}
	s.Name, s.Version, s.Owner = string(name), uint64(version), string(owner)
	s.Plan, s.State = emptyIsNil(s.Plan), emptyIsNil(s.State)
	return nil
}

// oneSchedule is that of [store.ScheduleReader], but for one that is not there,
// which is zero.
func oneSchedule(ctx context.Context, tx Tx, name string) (s store.Schedule, err error) {
	err = tx.Query(ctx, sqlSchedule, func(scan Scan) error { return scanSchedule(scan, &s) }, []byte(name))
	return s, err
}

// schedules is that of [store.ScheduleReader].
func schedules(ctx context.Context, tx Tx, prefix, after string, limit int) (schedules []store.Schedule, err error) {
	low, high := within(prefix, after)
	err = tx.Query(ctx, sqlSchedules, func(scan Scan) error {
		var s store.Schedule
		if err := scanSchedule(scan, &s); err != nil {
			return err
		}
		schedules = append(schedules, s)
		return nil
	}, low, high, int64(limit))
	return schedules, err
}

// firstDue is that of [store.ScheduleReader].
func firstDue(ctx context.Context, tx Tx, limit int) (first []store.DueSchedule, err error) {
	err = tx.Query(ctx, sqlDue, func(scan Scan) error {
		var name []byte
		var at int64
		if err := scan(&name, &at); err != nil {
			return err
		}
		first = append(first, store.DueSchedule{Name: string(name), At: at})
		return nil
	}, int64(limit))
	return first, err
}
