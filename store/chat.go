package store

import "context"

// A conversation is a log channel whose members have roles and marks. A direct one has
// exactly two members, who become that with its first message; a group is made by
// [Admit] with Create. What stands here is kept for every membership, also of channels
// that are no conversations: those simply have nobody who looks at it.

// Role is what a member may do. A greater one may all that a smaller one may.
type Role uint8

// The roles. [AddMembers] makes members of RoleMember.
const (
	RoleReader Role = 1 + iota // reads and marks
	RoleMember                 // writes
	RoleAdmin                  // has readers and members come and go
	RoleOwner                  // there is one at most
)

// AlertLevel is of which messages an absent member wants to be told.
type AlertLevel uint8

// The levels.
const (
	AlertDefault AlertLevel = iota // as the namespace says
	AlertAll
	AlertMentions // those that name him
	AlertNone
)

// JoinRule is who may bring users into a group.
type JoinRule uint8

// The rules.
const (
	JoinAdmins  JoinRule = 1 + iota // admins bring them in
	JoinMembers                     // members do
	JoinOpen                        // everybody may also come by himself
)

// Author says that an [Append] is a member's word: it is refused with [ErrDenied] unless,
// in the same transaction, User is a member of the channel who may write, whom, in a direct
// channel, the other has not blocked and who has not blocked the other. What he has read
// and what was delivered to him moves to the new message.
type Author struct {
	User string // "": the server's word; nothing is looked at, and nobody's mark moves
	// Direct is, in a direct channel, its two users, the smaller first: who of them is no
	// member yet becomes one, with nothing read and nothing hidden.
	Direct []string
	// Alert has [ChatReader.Alerts] list the message until [AlertsDone].
	Alert bool
}

// Meta is what a message of a conversation says beside its data.
type Meta struct {
	Reply    uint64   // seq of the message that it answers; 0: none
	Mentions []string // users, at most 100, each once; "*": everybody
}

// EditMessage puts other content in the place of a message's, which keeps its seq, id,
// time, sender and meta. It is about messages, like [Recall], and told to
// [Options.Committed]; it counts as a recall in [Head] and [Store.Recalls]. A stub, and a
// message that is not there, is [ErrNotFound]; a patch of a document is [ErrMoved]. The
// result is [Edited].
type EditMessage struct {
	Channel string
	Seq     uint64
	Event   string
	Data    []byte
	Time    int64 // of the edit, Unix milliseconds; it is told and not kept
}

// Edited is the result of [EditMessage].
type Edited struct{ ID string }

// Admit makes users members of a conversation. Its rules are looked at in the transaction;
// whoever may not is refused with [ErrDenied], and nothing happens. The result is
// [Admitted].
//
// Who has become a member has read everything so far: his marks are the head. Who is one
// already stays as he is.
type Admit struct {
	Channel string
	Users   []string // at most 10,000 of 1 to 1,024 bytes; doubles count once
	// Role is that of the new ones; 0: RoleMember. It is at most that of By, below RoleAdmin
	// unless By is the server or the owner, or creates the group, and never RoleOwner.
	Role Role
	Time int64 // Unix milliseconds
	// FromStart shows them all history; else only what comes from now on.
	FromStart bool
	// Most is how many members there may be; more are [ErrTooLarge]. 0: any number.
	Most int64
	// By is who brings them in; "": the server, who may. Else he must be an admin, or any
	// member but a reader when the rule is JoinMembers or JoinOpen; or Users is By alone, and
	// the rule is JoinOpen. Where nothing is kept about the group, it is JoinAdmins. Users
	// who have blocked By do not become members (Refused).
	By string
	// Create makes the conversation, with By, if any, as its owner beside Users; one that is there, or
	// has members, is [ErrConflict].
	Create *GroupSettings
}

// GroupSettings are what is kept about a group.
type GroupSettings struct {
	Data []byte   // JSON, at most 64 KiB: its title and the like; nil: null, which is kept as nil
	Join JoinRule // 0 in a command: JoinAdmins
}

// Admitted is the result of [Admit].
type Admitted struct {
	Users   []string // who became members, in the order given, a new owner first
	Refused []string // who did not, because he has blocked By
	Count   int64    // members now
	Head    uint64   // the channel's, as their marks have it
}

// Dismiss ends memberships. The result is [Dismissed].
type Dismiss struct {
	Channel string
	Users   []string // at most 10,000
	// Some, as in [RemoveMembers].
	Some int
	// By is whose decision it is; "": the server's. Users may be By alone, who leaves; else By
	// must be an admin, and have a greater role than each of them who is a member: if not, [ErrDenied].
	By string
}

// Dismissed is the result of [Dismiss].
type Dismissed struct {
	Users []string // whose membership ended, in the order given
	Count int64    // members now; with the last one the group's settings go, too
	// Owner is who became the owner because the one there was has left: the admin, else the
	// member, else the reader who has been one for longest; "": nobody.
	Owner string
}

// SetRole gives a member another role. By, unless it is the server (""), must be an admin,
// else it is [ErrDenied], whose role is greater than the member's was, and Role less than
// his own; the owner may also pass on RoleOwner, and is an admin then. Who is no member is
// [ErrNotFound]. When the server makes an owner, the one there is becomes an admin. The
// result is [RoleSet].
type SetRole struct {
	Channel, User string
	Role          Role
	By            string
}

// RoleSet is the result of [SetRole].
type RoleSet struct{ Was Role }

// PutGroup changes what is kept about a group. By, unless it is the server, must be an admin
// for Data, and the owner for Join. A group that is not there, without settings and
// members, is [ErrNotFound], but the server makes it. The result is [GroupPut].
type PutGroup struct {
	Channel string
	Data    []byte   // nil: as it is
	Join    JoinRule // 0: as it is
	Time    int64
	By      string
}

// GroupPut is the result of [PutGroup].
type GroupPut struct{ GroupSettings }

// MarkMember moves a member's marks: they never go back and never beyond the head, and
// what was read was delivered. Who is no member is [ErrNotFound]. The result is
// [MemberMarked].
type MarkMember struct {
	Channel, User   string
	Delivered, Read uint64
}

// MemberMarked is the result of [MarkMember]: the marks as they are now.
type MemberMarked struct {
	Delivered, Read uint64
	Head            uint64
	Moved           bool
}

// SetAlerts sets of what a member wants to be told. Who is no member is [ErrNotFound]. The result is [AlertsSet].
type SetAlerts struct {
	Channel, User string
	Level         AlertLevel
}

// AlertsSet is the result of [SetAlerts].
type AlertsSet struct{ Was AlertLevel }

// BlockPeer has one user not be written to, or brought in, by another. The result is [PeerBlocked].
type BlockPeer struct {
	User, Peer string
	Blocked    bool
	Time       int64
}

// PeerBlocked is the result of [BlockPeer].
type PeerBlocked struct{ Changed bool }

// AlertsDone forgets messages that [ChatReader.Alerts] has listed. The result is [AlertsForgotten].
type AlertsDone struct{ Alerts []Alert } // at most 1,000

// AlertsForgotten is the result of [AlertsDone].
type AlertsForgotten struct{}

// Alert is a message of which absent members are to be told.
type Alert struct {
	Channel string
	Seq     uint64
}

// RosterMember is a member with all that is kept of the membership.
type RosterMember struct {
	User            string
	Since           int64 // Unix milliseconds
	Role            Role
	Hidden          uint64 // messages up to this seq are not shown to the member
	Delivered, Read uint64
	Alerts          AlertLevel
}

// ConversationQuery asks for conversations of a user: those whose newest message is
// the newest first, and those of one time by the bytes of their names. What counts is
// what the user may see: without such a message it is the time at which he came.
type ConversationQuery struct {
	User string
	// Namespaces are those whose channels are conversations.
	Namespaces []string
	// After is the place of the last one of the page before; its zero: from the newest on.
	After ConversationPlace
	Limit int // at least 1
	Bytes int // stop after the one that brings the sum of the data to this; zero: no bound
}

// ConversationPlace is where a conversation stands in the list of its member.
type ConversationPlace struct {
	Time    int64
	Channel string
}

// Conversation is one for one of its members.
type Conversation struct {
	Channel string
	Place   ConversationPlace
	Head    Head
	RosterMember
	Last    *Message // the newest that the member may see, a stub too; nil: none
	Members int64
	Group   *GroupSettings // nil: nothing is kept
	// Peer is the other member of two; its User is "" when there are more, or fewer.
	Peer RosterMember
}

// ConversationPage is the answer to a [ConversationQuery].
type ConversationPage struct {
	Items  []Conversation
	More   bool
	Count  int64  // of all, also those of other pages
	Unread uint64 // messages beyond what was read, of all of them
}

// ChatReader reads conversations.
type ChatReader interface {
	// Conversations gives a page of a user's conversations.
	Conversations(ctx context.Context, q ConversationQuery) (ConversationPage, error)
	// Conversation gives one; who is no member of it gets [ErrNotFound].
	Conversation(ctx context.Context, channel, user string) (Conversation, error)
	// Roster lists members of a channel, by the bytes of their ids.
	Roster(ctx context.Context, channel, after string, limit int) ([]RosterMember, error)
	// RosterMembers tells of each user what he is in a channel, in order; who is no member is zero.
	RosterMembers(ctx context.Context, channel string, users ...string) ([]RosterMember, error)
	// RosterVersions gives for each channel a number that is another one when users, roles,
	// alert levels or settings have changed; one without members and settings has 0.
	RosterVersions(ctx context.Context, channels ...string) ([]uint64, error)
	// Group gives what is kept about a group; nil when nothing is.
	Group(ctx context.Context, channel string) (*GroupSettings, error)
	// Blocks lists whom a user has blocked, by the bytes of their ids.
	Blocks(ctx context.Context, user, after string, limit int) ([]Member, error)
	// Blocking tells of each peer whether user has blocked him, and whether he has blocked user.
	Blocking(ctx context.Context, user string, peers ...string) (has, is []bool, err error)
	// Alerts lists messages of which absent members are still to be told, in any order, at
	// most limit, from the one after a place on.
	Alerts(ctx context.Context, after Alert, limit int) ([]Alert, error)
}

func (EditMessage) command()    {}
func (Admit) command()          {}
func (Dismiss) command()        {}
func (SetRole) command()        {}
func (PutGroup) command()       {}
func (MarkMember) command()     {}
func (SetAlerts) command()      {}
func (BlockPeer) command()      {}
func (AlertsDone) command()     {}
func (Edited) result()          {}
func (Admitted) result()        {}
func (Dismissed) result()       {}
func (RoleSet) result()         {}
func (GroupPut) result()        {}
func (MemberMarked) result()    {}
func (AlertsSet) result()       {}
func (PeerBlocked) result()     {}
func (AlertsForgotten) result() {}
