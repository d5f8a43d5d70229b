package store

import (
	"context"

	"github.com/skein-realtime/skein/internal/fatigue"
)

// A push is a message to users. It is kept once, and for each user there is a
// delivery: the place of the message in the user's inbox, and what became of it. A
// delivery is open, as queued or sent, until it ends in exactly one of the other states;
// then it stays as a record.
//
// The rules of the message's category are frozen into it ([Message] of a [Push] has
// the policy). They are carried out here, in the transaction that makes the delivery:
// what was counted before is read, judged and written with it.

// State is what has become of a delivery.
type State uint8

// The states. Queued and Sent are open; the others are outcomes.
const (
	Queued    State = 1 + iota // it waits: for the user, or for its time
	Sent                       // handed to a live connection, not acknowledged
	Delivered                  // acknowledged by a device
	Capped                     // a cap does not let it interrupt the user
	Muted                      // the user has muted the category, or sleeps
	Expired                    // its time was over before it was acknowledged
	Withdrawn                  // recalled: withdrawn, or replaced, before it was acknowledged
	Failed                     // it can never be delivered: the user was deleted
)

// Open tells whether a delivery can still become another state.
func (s State) Open() bool { return s == Queued || s == Sent }

var states = [...]string{"", "queued", "sent", "delivered", "capped", "muted", "expired", "recalled", "failed"}

// String gives the word that the API has for it: queued, sent, delivered, capped,
// muted, expired, recalled or failed.
func (s State) String() string {
	if int(s) < len(states) {
		return states[s]
	}
	return ""
}

// ParseState reads what [State.String] gives.
func ParseState(word string) (State, bool) {
	for i, w := range states {
		if i > 0 && w == word {
			return State(i), true
		}
	}
	return 0, false
}

// Reasons of outcomes that need one.
const (
	ReasonCap      = "cap"      // of capped; of expired: it was put off by a cap until then
	ReasonQuiet    = "quiet"    // of muted: quiet hours; of expired: it was put off by them until then
	ReasonUser     = "user"     // of muted: the user has muted the category
	ReasonRead     = "read"     // of recalled: what it tells of was read elsewhere before it was acknowledged
	ReasonReplaced = "replaced" // of recalled: a later message with the same collapse key came instead
	ReasonFull     = "full"     // of expired: the inbox had no more room
	ReasonDeleted  = "deleted"  // of failed: the user was deleted
)

// Content is a message that is pushed.
type Content struct {
	ID       string // a ULID, 26 characters; its time is Time
	Time     int64  // Unix milliseconds
	Event    string // at most 256 bytes
	Data     []byte // raw JSON
	Category string // at most 64 bytes; "": none
	Policy   fatigue.Policy
	Expires  int64  // Unix milliseconds; 0: never
	Collapse string // at most 256 bytes; "": none
	// Escalate is after how many milliseconds an open delivery is told of by
	// [PushReader.DueEscalations]; 0: never.
	Escalate int64
	Campaign string // at most 64 bytes; "": none
}

// Push puts a message into the inboxes of users: each of them gets all of it, his own
// place, his own judgement. What is over Keep, and what the message replaces, ends. The
// result is [Pushed].
//
// A message that is there (by ID) goes to those who do not have it yet. It must be the
// same; of Content only the ID is looked at then. One that is a [Broadcast] is
// [ErrConflict], as is a key that stands for one. Whose number is given and who was
// deleted stays deleted: his row is failed, and nothing is written.
type Push struct {
	Content
	To   []Recipient // at most 1,000, each once; may be empty
	Now  int64       // Unix milliseconds
	Zone string      // of users whose own is not known; "": UTC
	Keep int         // deliveries that an inbox holds at most; 0: all
	// Key makes the message be the same when it is pushed again, as that of an
	// [Append]: a key that was used gives the first message, which then goes to those of
	// To who do not have it. At most 64 bytes.
	Key, Digest []byte
	KeyExpires  int64
	// Step, when not nil, is that of the campaign that this is the work of: without it the
	// push is refused with [ErrConflict].
	Step *Step
}

// Step moves a campaign on, together with the push that is its work.
type Step struct {
	Campaign string
	Version  uint64 // that it must have; it stays
	From     string // the cursor that it must have
	To       string // the cursor that it has afterwards
}

// Pushed is the result of [Push].
type Pushed struct {
	ID        string   // that of the first when Duplicate
	Duplicate bool     // the key was used before
	Rows      []Row    // in the order of To
	Content   *Content // the message as it is kept; the caller must not change it
}

// Row is the delivery of one user, as it is after a command.
type Row struct {
	N      uint64 // of the user
	User   string
	Seq    uint64 // in the user's inbox: 1, 2, 3 …; who was dropped has one too, and is not shown
	State  State
	Reason string
	Rule   string // the rule that decided, as [fatigue.Verdict] has it
	Due    int64  // queued until then, in Unix milliseconds, when it was put off; 0: it was not
	Again  bool   // the user had it before this command
}

// Broadcast keeps a message for everybody who has been heard of by now. Nothing is
// written per user: who comes gets his delivery then, by [Collect]. The result is
// [Broadcasted].
type Broadcast struct {
	Content
	Now         int64
	Key, Digest []byte // as those of [Push]
	KeyExpires  int64
	Step        *Step
}

// Broadcasted is the result of [Broadcast].
type Broadcasted struct {
	ID        string
	Duplicate bool
	Audience  int64 // who has been heard of
}

// Collect is what a user who comes, or who is there when there is something for
// everybody, has coming: the user is heard of, gets the deliveries of broadcasts
// since the last time, and all that waits is judged as of now, by priority and then the
// newest first: what was put off and what could not interrupt him before is not
// let through by a reservation of another day. The result is [Collected].
type Collect struct {
	User  string
	Now   int64
	Zone  string
	Keep  int
	After uint64 // messages are given from the one after this seq on
	Limit int    // at least 1
	// Peek changes nothing of what waits: it gives open messages as they are. Who was
	// never heard of is not heard of by it, and has a zero inbox.
	Peek bool
	// Tell has Held list what was held back before as well, since the last time that it was
	// asked for so. Not with Peek.
	Tell bool
}

// Collected is the result of [Collect].
type Collected struct {
	Inbox Inbox
	// Messages are the open ones that may interrupt the user, by seq; More: there are
	// others after them.
	Messages []Item
	More     bool
	// Held are those that this command has ended by a cap or a mute, or put off; with Tell
	// also those that can be read in the inbox, were not, and of which nobody was told.
	Held []HeldRow
}

// HeldRow is a delivery that does not interrupt its user.
type HeldRow struct {
	Row
	Category string // of the message
	Hidden   bool   // it is not in the inbox either
}

// Settle says what became of deliveries. The result is [Settled].
type Settle struct {
	Settlements []Settlement // at most 1,000
	Now         int64        // Unix milliseconds
}

// Settlement is about one delivery, or all open ones up to one. One that is not there,
// or has ended, changes nothing; one whose message was over at Time ends so.
type Settlement struct {
	User   string
	N      uint64 // of the user; 0: to be looked up
	Seq    uint64
	ID     string // in place of Seq: the message
	UpTo   bool   // all up to Seq that were not put off
	State  State  // Sent, or Delivered (acknowledged)
	Device string // at most 512 bytes
	Time   int64  // Unix milliseconds
}

// Settled is the result of [Settle]: in the order of the settlements.
type Settled struct{ Results []SettledOne }

// SettledOne is what one settlement has done.
type SettledOne struct {
	Found bool     // there is such a delivery, or with UpTo such an inbox
	Seqs  []uint64 // that became the state now
}

// ClearPushed is for when a user has read elsewhere what messages of a category with a
// collapse key tell of. Of his deliveries of them that are open, all end as withdrawn, with
// ReasonRead, and what was reserved for those that were never sent is given back; those
// that were delivered, or stay in the inbox without having interrupted him, have been
// read. It looks at what stands beyond the read mark of the inbox: at the newest 1,000
// deliveries. The result is [Cleared].
type ClearPushed struct {
	User, Category, Collapse string
	Now                      int64 // Unix milliseconds
}

// Cleared is the result of [ClearPushed].
type Cleared struct {
	Inbox Inbox
	Rows  []EndedRow // those that have ended, by seq
}

// MarkRead moves the mark up to which a user has read his inbox; it never goes back
// and never beyond the newest message. What is open up to it is delivered. The result is
// [ReadMarked].
type MarkRead struct {
	User   string
	Seq    uint64
	Device string
	Now    int64
}

// ReadMarked is the result of [MarkRead].
type ReadMarked struct {
	Inbox Inbox
	Moved bool
	Seqs  []uint64 // that became delivered
}

// Wake judges deliveries whose time, to which they were put off, has come. The result is
// [Woken].
type Wake struct {
	Now   int64
	Zone  string
	Limit int // at most 1,000
}

// Woken is the result of [Wake].
type Woken struct {
	Items []Woke // that may interrupt their users now
	Rows  int    // that were judged, whatever came of it
	More  bool
}

// Woke is one message for one user.
type Woke struct {
	N    uint64
	User string
	Item Item
}

// Expire ends what is open of messages whose time is over, and what was reserved for it
// is given back when it was never sent. It is repeated while More; the first step of a
// message may end nothing. The result is [Ended].
type Expire struct {
	Now   int64
	Limit int // deliveries, at most 1,000
}

// RecallPush withdraws a message: nobody gets it any more, and what is open of it ends.
// Who has acknowledged it keeps it. One that is not there is [ErrNotFound]. It is repeated
// while More; the first step may end nothing. The result is [Ended].
type RecallPush struct {
	ID    string
	Now   int64
	Limit int // deliveries, at most 1,000
}

// Ended is the result of [Expire] and [RecallPush].
type Ended struct {
	Rows []EndedRow
	More bool
}

// EndedRow is a delivery that has ended.
type EndedRow struct {
	User string
	Seq  uint64
	ID   string
	Sent bool // a device may have it
}

// Escalated notes that a delivery was told of, or is to be told of later. The result is
// [EscalationNoted].
type Escalated struct {
	N    uint64
	Seq  uint64
	Next int64 // Unix milliseconds; 0: it is done
}

// EscalationNoted is the result of [Escalated].
type EscalationNoted struct{}

// Inbox is the state of a user's inbox.
type Inbox struct {
	N      uint64 // of the user; 0: was never heard of
	Epoch  string
	Top    uint64 // the newest message's seq
	Floor  uint64 // what is up to this is gone
	Read   uint64 // what is up to this was read
	Open   int64  // deliveries that are open
	Behind bool   // there are broadcasts of which the user has no delivery
	Held   bool   // something was held back of which the user was not told; see Tell of [Collect]
}

// Item is a message in an inbox with what became of it.
type Item struct {
	Seq uint64
	Content
	State     State
	Reason    string
	Rule      string
	Device    string // that has acknowledged it
	Due       int64  // when it was put off: until when
	Queued    int64  // Unix milliseconds, as the others; 0: not
	Sent      int64
	Delivered int64
	Ended     int64 // when it became an outcome that is not delivered
	Read      int64
}

// InboxQuery asks for messages of an inbox with After < seq, or with seq < Before when
// Backward. What was dropped, recalled or has expired is not in it.
type InboxQuery struct {
	User     string
	After    uint64
	Backward bool
	Before   uint64
	Unread   bool  // only what was not read
	Oldest   int64 // only what came at this time or later
	Limit    int   // at least 1
	Bytes    int   // stop after the message that brings the sum of the data to this; 0: no bound
	Now      int64 // what has expired by then is left out
}

// InboxPage is the answer to an [InboxQuery].
type InboxPage struct {
	Inbox  Inbox
	Items  []Item // by seq, rising, also when Backward
	More   bool
	Unread int64 // of what is in it, not read; at most 1,000 are counted
}

// RecordQuery asks for what became of messages. Those of a user, and those of all, go by
// the time at which they were queued; those of a message, or of each of a campaign's
// messages, by the numbers of the users. The page after a record that is gone by then is
// [ErrNotFound] when it goes by users.
type RecordQuery struct {
	User, Message, Campaign string
	States                  []State // nil: all
	Read                    bool    // only those that were read
	From, To                int64   // queued at From or later, before To; 0: no bound
	After                   uint64  // the Pos of the last one of the page before; 0: from the newest
	Limit                   int     // at least 1
}

// Record is what became of one message for one user.
type Record struct {
	Pos      uint64 // its place in the list of all, which goes by the time
	User     string
	Message  string
	Category string
	Campaign string
	Item     // without Data, Policy and Event
}

// RecordPage is the answer to a [RecordQuery], the newest, or the largest number, first.
type RecordPage struct {
	Records []Record
	More    bool
	// Behind says that the user who is asked for has no records yet of the last
	// broadcasts, as in [Inbox]. It is false when no user is asked for.
	Behind bool
}

// Totals are how many deliveries of a message are in each state. Read ones are
// delivered ones, or others of the inbox, too.
type Totals struct {
	Queued, Sent, Delivered, Capped, Muted, Expired, Recalled, Failed int64
	Read                                                              int64
}

// PushedMessage is a message with its totals.
type PushedMessage struct {
	Content
	Everyone  bool
	Audience  int64 // of one to everybody
	Withdrawn int64 // when it was recalled; 0: it was not
	Totals    Totals
}

// Escalation is a delivery that nobody has acknowledged in time.
type Escalation struct {
	N    uint64
	User string
	Item Item
}

// EstimateQuery asks what would become of a push.
type EstimateQuery struct {
	Where    *Filter  // nil: all who have attributes
	Users    []string // in place of Where, when not nil: these, known or not, each once
	Everyone bool     // in place of both: all that were ever heard of
	Policy   fatigue.Policy
	Now      int64
	Zone     string
}

// Estimate is the answer to an [EstimateQuery].
type Estimate struct {
	Audience int64
	Muted    int64            // by the user
	Quiet    int64            // are in their quiet hours
	Capped   map[string]int64 // by rule; nil: nobody is
}

// Prune deletes a little of what is too old: deliveries that were queued before
// Records, and messages without deliveries. The result is [Pruned].
type Prune struct {
	Records int64 // Unix milliseconds
	Now     int64
	Limit   int // deliveries, at most 10,000
}

// Pruned is the result of [Prune].
type Pruned struct {
	Deliveries int
	More       bool
}

// PushReader reads what was pushed.
type PushReader interface {
	// Inboxes gives the state of inboxes, in order.
	Inboxes(ctx context.Context, users ...string) ([]Inbox, error)
	// ReadInbox gives a page of an inbox.
	ReadInbox(ctx context.Context, q InboxQuery) (InboxPage, error)
	// Records gives what became of messages.
	Records(ctx context.Context, q RecordQuery) (RecordPage, error)
	// PushedMessages gives messages by id, in order; one that is not there is zero.
	PushedMessages(ctx context.Context, ids ...string) ([]PushedMessage, error)
	// LastBroadcast gives a number that rises with each message to everybody.
	LastBroadcast(ctx context.Context) (uint64, error)
	// DueWake gives when the next delivery that was put off has its time; 0: none has.
	DueWake(ctx context.Context) (int64, error)
	// DueEscalations gives open deliveries that have waited too long, the oldest first.
	DueEscalations(ctx context.Context, now int64, limit int) ([]Escalation, error)
	// Counts gives what was counted of a user, for [fatigue.Decode], and the user. One who
	// was never heard of is zero.
	Counts(ctx context.Context, user string) ([]byte, User, error)
	// Estimate goes through an audience, of about one moment. What waits for users is not
	// looked at.
	Estimate(ctx context.Context, q EstimateQuery) (Estimate, error)
}

func (Push) command()           {}
func (Broadcast) command()      {}
func (Collect) command()        {}
func (Settle) command()         {}
func (MarkRead) command()       {}
func (ClearPushed) command()    {}
func (Wake) command()           {}
func (Expire) command()         {}
func (RecallPush) command()     {}
func (Escalated) command()      {}
func (Prune) command()          {}
func (Pushed) result()          {}
func (Broadcasted) result()     {}
func (Collected) result()       {}
func (Settled) result()         {}
func (ReadMarked) result()      {}
func (Cleared) result()         {}
func (Woken) result()           {}
func (Ended) result()           {}
func (EscalationNoted) result() {}
func (Pruned) result()          {}
