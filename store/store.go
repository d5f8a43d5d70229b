// Package store is the contract of what Skein keeps: messages of log channels,
// in order, with the keys that make a repeated publish one message; documents, as
// patches and a snapshot; the members of channels, and the conversations that they have
// there; schedules, which one process at a time carries out; who is not let in; users, with what is known of them; what is
// pushed to them, and what became of it; campaigns, which push to many; and who of those
// who run the server did what, with secrets that its processes share.
//
// Everything durable goes through [Store]: commands change things, in groups that
// take effect together or not at all; reads see whole groups only. The package
// holds the contract and its words; store/sqlite and store/postgres implement
// it, and store/storetest is the suite that every implementation must pass. It
// starts no goroutine and stores nothing itself.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/skein-realtime/skein/protocol"
)

// Errors that every implementation gives, wrapped or bare. Any other error is a
// fault of the implementation.
var (
	// ErrConflict says that an idempotency key was used for other content, that a
	// schedule or a campaign does not have the version that was asked for, or that an id
	// is used.
	ErrConflict = errors.New("store: what is there is in conflict with it")
	// ErrMoved says that a document does not have the version that a command was made
	// for.
	ErrMoved = errors.New("store: the document has another version")
	// ErrNotFound says that there is no such message, schedule, category, push,
	// campaign or secret, or no longer.
	ErrNotFound = errors.New("store: not found")
	// ErrDenied says that the member of a conversation for whom it was to be done may not.
	ErrDenied = errors.New("store: not allowed")
	// ErrTooLarge says that what would be kept is larger than the contract allows.
	ErrTooLarge = errors.New("store: too large")
	// ErrUnavailable says that nothing can be stored or read now: the disk is full,
	// the database is away, too much waits. The group did not take effect, unless
	// the connection to a database broke while it was committing: then nobody
	// knows, and only a repeat with the same key is safe.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrClosed says that the store has been closed.
	ErrClosed = errors.New("store: closed")
)

// Store keeps messages, documents, members, conversations, schedules, denials, users,
// pushes, campaigns, the audit log and secrets. Its methods may be called at the same time.
type Store interface {
	DocumentReader
	MemberReader
	ScheduleReader
	DenialReader
	UserReader
	PushReader
	CampaignReader
	ChatReader
	AuditReader

	// Do carries out a group of commands, in order, together or not at all, and
	// gives a result for each. When it returns without an error, the group
	// survives the end of the process at any moment (and, with full durability,
	// of the machine). A group that still waits when ctx ends is withdrawn; one
	// that is being committed is waited for.
	//
	// What the commands point to is the caller's again when Do has returned.
	//
	// Groups of one channel take effect, and are told to [Options.Committed], in
	// the order in which Do was called for them by one goroutine.
	//
	// A group is about messages ([Append], [Recall], [EditMessage], [PutSnapshot]) or
	// about everything else; both in one are refused. Each command sees what those before it have done.
	Do(ctx context.Context, group ...Command) ([]Result, error)

	// Heads tells where channels end. The list has an element for each name, in
	// order; a channel that nothing was ever appended to has the store's epoch and
	// zeros.
	Heads(ctx context.Context, channels ...string) ([]Head, error)

	// Read gives messages of one channel and its head, both of the same moment.
	Read(ctx context.Context, q Query) (Page, error)

	// Recalls lists messages of a channel that were withdrawn or edited, for the last
	// time, when its top was since or more and whose own seq is at most since: what a
	// reader that had everything up to since still has to be told. By seq, at most limit;
	// an edited one has its content.
	Recalls(ctx context.Context, channel string, since uint64, limit int) ([]Message, error)

	// Trim does one small step of retention: it raises floors, deletes at most
	// budget messages that nobody can read any more, and as many keys, denials and
	// secrets that have expired. The floor of a document is never raised above its snapshot;
	// its patches go by age in order, so that an old one behind a younger one waits,
	// and may stay for a 64th of the age more.
	Trim(ctx context.Context, rules []Keep, now time.Time, budget int) (Trimmed, error)

	// Stats measures the store. It may take some time; call it every minute, not
	// at every request.
	Stats(ctx context.Context) (Stats, error)

	// Check reads everything and calls report for each thing that is wrong.
	Check(ctx context.Context, report func(problem string)) error

	// Shared tells whether other processes may append too, so that heads must be
	// looked up from time to time.
	Shared() bool

	// Close finishes what is being committed, refuses what waits, and gives
	// everything back.
	Close() error
}

// Options are what every implementation takes.
type Options struct {
	// Committed is told what has been committed, before Do returns to those who
	// asked: for one channel in the order of seq, never twice at the same time for
	// the same channel. What it is given is good only during the call. It must not block and must not call the store. Nil: nobody
	// is told. Duplicates are not told.
	Committed func([]Commit)
	// Pushed is told of each [Push], as Committed of messages: in the order in which
	// they were committed, for one user in the order of seq. Nil: nobody is told.
	Pushed func([]Pushed)
	// Observer is told what it took. Nil: nobody is told.
	Observer Observer
}

// Commit is one thing that has happened to a channel: exactly one of the three
// pointers is set.
type Commit struct {
	Channel string
	Epoch   string
	Message *Message // appended
	Recall  *Message // withdrawn: Seq and ID tell which, the rest is as in a stub
	Edit    *Message // edited: all of it as it is now, with the Time of the message
	Time    int64    // of an edit
}

// Observer gets figures for the metrics. Its methods may be called at the same
// time and must be quick.
type Observer interface {
	// Commit: a transaction of so many groups with so many commands took so long,
	// of which sync is the time until it was on disk. err is nil when it succeeded.
	Commit(groups, commands int, took, sync time.Duration, err error)
	// Query: a read took so long. what is heads, read, recalls, document, members,
	// memberships, conversations, roster, group, blocks, alerts, schedules, due, denials,
	// seen, users, audience, categories, inbox, records, pushes, estimate, campaigns, audit,
	// secrets, trim, stats or check.
	Query(what string, took time.Duration, err error)
}

// Command is [Append], [Recall], [EditMessage] or [PutSnapshot], about messages; [AddMembers] or
// [RemoveMembers]; [Admit], [Dismiss], [SetRole], [PutGroup], [MarkMember], [SetAlerts],
// [BlockPeer] or [AlertsDone]; [PutSchedule], [DeleteSchedule], [ClaimSchedule] or
// [FinishSchedule]; [PutDenial] or [SawUsers]; [PutUsers], [DeleteUsers] or
// [MuteCategory]; [PutCategory] or [DeleteCategory]; [Push], [Broadcast], [Collect],
// [Settle], [MarkRead], [ClearPushed], [Wake], [Expire], [RecallPush], [Escalated] or [Prune];
// [PutCampaign], [ClaimCampaign], [AddToCampaign] or [DeleteCampaign]; [AddAudit],
// [SetAuditOutcome] or [TrimAudit]; [PutSecret] or [TakeSecret].
type Command interface{ command() }

// Result is what the command says: [Appended] for an [Append], and so on.
type Result interface{ result() }

// Append adds a message to a channel.
type Append struct {
	Channel string // namespace:rest
	ID      string // a ULID, 26 characters; its time is Time
	Time    int64  // Unix milliseconds
	Event   string
	Data    []byte // raw JSON
	Sender  protocol.Sender
	Meta    Meta
	// Author, when not nil, is the member of a conversation whose word it is. A Key that was
	// used before comes first.
	Author *Author
	// Version, when not zero, says that the channel is a document and that the message
	// must get this seq; when it would get another one, the group is refused with
	// [ErrMoved]. So is an append without Version to a document, and one with Version
	// to a channel of plain messages. A Key that was used before comes first.
	Version uint64
	// Keep is how many messages the channel keeps, this one included; 0: all. What
	// is older can no longer be read at once, and is deleted later. A document also
	// keeps all messages after its newest snapshot.
	Keep int
	// Key makes the append happen once: a second one with the same key in the same
	// channel changes nothing and gives the first result, as long as Expires (Unix
	// milliseconds) has not passed at the Time of the second. Empty: no key. At
	// most 64 bytes, which need not be text.
	Key []byte
	// Content is a digest of what the key stands for, at most 32 bytes: another one
	// under the same key is [ErrConflict].
	Content []byte
	Expires int64
}

// Appended is the result of an [Append].
type Appended struct {
	Epoch     string
	Seq       uint64 // 1, 2, 3 … in each channel
	ID        string // that of the first when Duplicate
	Duplicate bool   // the key was used before: nothing was appended
	Began     bool   // the users of a direct channel became members with this message
}

// Recall withdraws a message: its event, data and sender are gone for good, a
// stub keeps the seq, the id and the time.
type Recall struct {
	Channel string // empty: find the message by ID alone
	Seq     uint64 // zero: by ID
	ID      string
}

// Recalled is the result of a [Recall]. A message that does not exist, or no
// longer, is [ErrNotFound].
type Recalled struct {
	Channel string
	Seq     uint64
	ID      string
	Already bool // it had been withdrawn before
}

func (Append) command()  {}
func (Recall) command()  {}
func (Appended) result() {}
func (Recalled) result() {}

// Message is one message of a channel.
type Message struct {
	Seq      uint64
	ID       string
	Time     int64 // Unix milliseconds
	Event    string
	Data     []byte // raw JSON; nil in a stub
	Sender   protocol.Sender
	Meta     Meta
	Recalled bool // a stub: Event, Data, Sender and Meta are empty
	Edited   bool // it has other content than it had at first
}

// Head is where a channel begins and ends.
type Head struct {
	Epoch string // changes when the channel's history is lost or begins anew
	Top   uint64 // the newest message's seq; zero: there was none
	Floor uint64 // messages up to this seq are gone; at most Top
	// Recalled is what Top was when a message was last withdrawn or edited; zero: never. Who
	// has everything up to a seq beyond it need not ask for [Store.Recalls].
	Recalled uint64
	// Recalls is how many messages were withdrawn or edited, ever: a process that knows of
	// fewer has to look which.
	Recalls uint64
}

// Query asks for messages with After < seq, or with seq < Before when Backward.
type Query struct {
	Channel  string
	After    uint64
	Backward bool
	Before   uint64 // zero with Backward: from the newest on
	Limit    int    // messages, at least 1
	Bytes    int    // stop after the message that brings the sum of the data to this; zero: no bound
}

// Page is the answer to a [Query].
type Page struct {
	Head     Head
	Messages []Message // by seq, rising, also when Backward; the first may come later than asked: what is missing is gone
	More     bool      // there are more in the direction asked
}

// Keep is the retention of a namespace.
type Keep struct {
	Namespace string
	Count     int           // messages of a channel; zero: all
	Age       time.Duration // zero: for ever
}

// Trimmed is what a step of retention did.
type Trimmed struct {
	Messages int
	Keys     int  // and denials and secrets
	More     bool // there is more to do now
}

// Stats are measures of the store.
type Stats struct {
	Bytes    int64 // on disk, everything included
	Channels int64 // that have a head
	Messages int64 // that are kept; may be an estimate
	// Members counts memberships: a user who is a member of two channels twice.
	Members   int64
	Schedules int64
	Documents int64
	// Users counts all that were ever heard of, with attributes or without. Of more than
	// 100,000 of them, of pushes, deliveries or lines of the audit log, a store may give an
	// estimate.
	Users  int64
	Pushes int64
	// Deliveries may be counted up to a million only, and so may lines of the audit log.
	Deliveries int64
	AuditLines int64
}
