package store

import "context"

// AuditLine is a run of a verb, with who is answerable for it.
type AuditLine struct {
	ID   string // a ULID, 26 characters; its time is Time
	Time int64  // Unix milliseconds
	// Who did it, at most 256 bytes; By is what kind of name that is, at most 16 bytes;
	// Role, at most 32 bytes, and Address, at most 64 bytes, may be empty.
	Who, By, Role, Address string
	Verb                   string // 1 to 64 bytes
	Target                 string // what it is about, at most 1 KiB; may be empty
	Params                 []byte // raw JSON, at most 4 KiB; may be empty
	Truncated              bool   // there were more params than are kept
	// Outcome is what became of it, at most 32 bytes: [AuditOK], a code, or "" as long as
	// nobody knows.
	Outcome string
	Error   string // for people; at most 1 KiB
}

// AuditOK is the Outcome of what succeeded.
const AuditOK = "ok"

// AddAudit writes a line. The result is [AuditAdded]; an ID that is there already is
// [ErrConflict].
type AddAudit struct{ AuditLine }

// AuditAdded is the result of [AddAudit].
type AuditAdded struct{}

// SetAuditOutcome says what became of a line that has no Outcome; any other, and one
// that is not there any more, is left as it is. The result is [AuditOutcomeSet].
type SetAuditOutcome struct {
	ID      string
	Outcome string // not empty
	Error   string
}

// AuditOutcomeSet is the result of [SetAuditOutcome].
type AuditOutcomeSet struct {
	OK bool // it had none
}

// TrimAudit deletes lines from before a time (Unix milliseconds), the oldest first, at
// most Limit (at most 10,000). The result is [AuditTrimmed].
type TrimAudit struct {
	Before int64
	Limit  int
}

// AuditTrimmed is the result of [TrimAudit].
type AuditTrimmed struct {
	Lines int
	More  bool // there may be more
}

// AuditQuery asks for lines that are all that it says.
type AuditQuery struct {
	Who string // "": anybody
	// Verb is a name, or, with * at its end, how names begin; "": any.
	Verb string
	// Outcome is [AuditOK] or a code; "": any. Open asks for lines without one, Failed for
	// those with any code; at most one of the three.
	Outcome      string
	Open, Failed bool
	From, To     int64  // Unix milliseconds, both included; 0: no bound
	After        string // only lines that are older than the one with this ID; "": from the newest on
	Limit        int    // at least 1
}

// AuditPage is the answer to an [AuditQuery].
type AuditPage struct {
	Lines []AuditLine // the newest first; may be fewer than asked for, even none, with a Next
	// Next is After of the next page; "": there is none.
	Next string
}

// Secret is a value that has to be found by its name for a while: a key that servers
// share, something that may be used once, something that was revoked.
type Secret struct {
	Name    string // 1 to 256 bytes
	Value   []byte // at most 4 KiB
	Expires int64  // Unix milliseconds, the first at which it is not there any more; 0: never
}

// PutSecret keeps a secret, instead of one with the same name. The result is
// [SecretPut].
type PutSecret struct {
	Secret
	// IfAbsent leaves one that is there and has not expired at Now (Unix milliseconds) as it is.
	IfAbsent bool
	Now      int64
}

// SecretPut is the result of [PutSecret].
type SecretPut struct {
	Secret  Secret // what is there now
	Created bool   // nothing was there that had not expired at Now
}

// TakeSecret takes a secret away and gives it, to one caller alone. The result is
// [SecretTaken]; one that is not there, or has expired at Now (Unix milliseconds), is
// [ErrNotFound].
type TakeSecret struct {
	Name string
	Now  int64
}

// SecretTaken is the result of [TakeSecret].
type SecretTaken struct{ Secret Secret }

// AuditReader reads the audit log, and secrets.
type AuditReader interface {
	// AuditLines gives a page of the log. It looks at a bounded number of lines, whatever
	// the query.
	AuditLines(ctx context.Context, q AuditQuery) (AuditPage, error)
	// Secret gives one by name, or [ErrNotFound]. One that has expired may still be there:
	// its Expires tells.
	Secret(ctx context.Context, name string) (Secret, error)
}

func (AddAudit) command()        {}
func (SetAuditOutcome) command() {}
func (TrimAudit) command()       {}
func (PutSecret) command()       {}
func (TakeSecret) command()      {}
func (AuditAdded) result()       {}
func (AuditOutcomeSet) result()  {}
func (AuditTrimmed) result()     {}
func (SecretPut) result()        {}
func (SecretTaken) result()      {}
