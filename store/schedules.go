package store

import "context"

// Schedule is something that is due at times. What it does and how it went is the
// owner's: the store keeps it as it is.
type Schedule struct {
	Name  string // 1 to 256 bytes
	Plan  []byte // what it is, at most 1 MiB
	State []byte // how it went; may be empty, at most 64 KiB
	// Next is when it is due, in Unix milliseconds; 0: never.
	Next int64
	// Version is another one after each change of the schedule, a claim included.
	// It never comes again, also not after the schedule was deleted and put anew.
	Version uint64
	// Owner has claimed it until Until (Unix milliseconds); "": nobody.
	Owner string
	Until int64
}

// PutSchedule makes a schedule or replaces its plan, state and time; a claim ends.
// Version, Owner and Until of what is given do not matter. The result is
// [SchedulePut].
type PutSchedule struct {
	Schedule
	// If, when not nil, is the version that must be there, 0: none; otherwise
	// nothing changes and the error is [ErrConflict].
	If *uint64
}

// SchedulePut is the result of [PutSchedule].
type SchedulePut struct {
	Version uint64
	Created bool
}

// DeleteSchedule deletes a schedule. The result is [ScheduleDeleted]; one that is
// not there is [ErrNotFound].
type DeleteSchedule struct{ Name string }

// ScheduleDeleted is the result of [DeleteSchedule].
type ScheduleDeleted struct{}

// ClaimSchedule gives a due schedule to one owner, so that others leave it alone
// until Until: if it is there, its Next is not 0 and at most Now, and nobody has
// it or its Until has come (Until <= Now). The result is [ScheduleClaimed]. Where
// several processes share a store, changes of schedules take turns: who wants many
// claims them in one group.
type ClaimSchedule struct {
	Name  string
	Owner string
	Now   int64 // Unix milliseconds
	Until int64
}

// ScheduleClaimed is the result of [ClaimSchedule]: OK tells whether it was given,
// Schedule is as it is now (zero when it is not there).
type ScheduleClaimed struct {
	OK       bool
	Schedule Schedule
}

// FinishSchedule ends a claim and notes when the schedule is due next and how it
// went, if it is claimed and its version is still that of the claim; otherwise
// nothing changes. That Until has come does not matter as long as nobody else has
// claimed it. The result is [ScheduleFinished].
type FinishSchedule struct {
	Name    string
	Version uint64 // as the claim gave it
	Next    int64  // 0: never again
	State   []byte
	// Until, when not 0, keeps the claim up to then instead of ending it.
	Until int64
}

// ScheduleFinished is the result of [FinishSchedule].
type ScheduleFinished struct {
	OK      bool
	Version uint64 // the new one when OK
}

// DueSchedule is when a schedule can be claimed.
type DueSchedule struct {
	Name string
	At   int64 // its Next, or its Until when it is claimed beyond that
}

// ScheduleReader reads schedules.
type ScheduleReader interface {
	// Schedule gives one by name, or [ErrNotFound].
	Schedule(ctx context.Context, name string) (Schedule, error)
	// Schedules lists those whose name begins with prefix, by the bytes of the name,
	// after a name; at most limit.
	Schedules(ctx context.Context, prefix, after string, limit int) ([]Schedule, error)
	// Due lists the schedules that can be claimed first, by At and then by name,
	// whether that is in the past or to come; at most limit. It looks at no more
	// than it gives.
	Due(ctx context.Context, limit int) ([]DueSchedule, error)
}

func (PutSchedule) command()     {}
func (DeleteSchedule) command()  {}
func (ClaimSchedule) command()   {}
func (FinishSchedule) command()  {}
func (SchedulePut) result()      {}
func (ScheduleDeleted) result()  {}
func (ScheduleClaimed) result()  {}
func (ScheduleFinished) result() {}
