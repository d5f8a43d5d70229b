package client

import (
	"encoding/json"
	"time"
)

// Role is what a member of a conversation may do; each may all that the one before may.
type Role string

// The roles.
const (
	RoleReader Role = "reader" // reads and marks
	RoleMember Role = "member" // writes
	RoleAdmin  Role = "admin"  // has readers and members come and go
	RoleOwner  Role = "owner"  // there is one at most
)

// AlertLevel is of which messages a member who is away wants to be told.
type AlertLevel string

// The levels.
const (
	AlertDefault  AlertLevel = "default" // as the server says
	AlertAll      AlertLevel = "all"
	AlertMentions AlertLevel = "mentions" // those that name him
	AlertNone     AlertLevel = "none"
)

// JoinRule is who brings users into a group.
type JoinRule string

// The rules.
const (
	JoinAdmins  JoinRule = "admins"
	JoinMembers JoinRule = "members"
	JoinOpen    JoinRule = "open" // members, and everybody may also come by himself
)

// Kinds of conversations.
const (
	KindDirect = "direct" // between two users
	KindGroup  = "group"
)

// Entry is a conversation in the list of the user. spec/chat.md says what each member means.
type Entry struct {
	Channel         string
	Kind            string   // KindDirect or KindGroup
	End             Position // the newest message, seen or not
	Read, Delivered uint64   // everything up to these seqs
	Unread          uint64   // messages after Read
	Time            time.Time
	Last            *Message // the newest message, perhaps Recalled or Cut; nil: none is to be seen
	Role            Role
	Since           time.Time
	Hidden          uint64 // messages up to this seq are not shown to the user
	Members         int
	Alerts          AlertLevel

	Data json.RawMessage // of a group: what its admins say of it; nil: nothing
	Join JoinRule        // of a group
	Peer *Peer           // of a direct one: the other; nil in a group
}

// Peer is the other one of a direct conversation.
type Peer struct {
	User            string
	Read, Delivered uint64
	Online          bool // always false where that is not shown
	Blocked         bool // the user has blocked him
}

// ChatMember is a member of a conversation.
type ChatMember struct {
	User            string
	Role            Role
	Since           time.Time
	Delivered, Read uint64
}

// Blocked is a user who is blocked.
type Blocked struct {
	User  string
	Since time.Time
}

// PageQuery chooses a part of a long list. The zero value is its beginning.
type PageQuery struct {
	After string // the Next of the page before
	Limit int    // zero: 100; at most 1000
}

// MemberPage is a part of the members of a conversation.
type MemberPage struct {
	List  []ChatMember
	Next  string // where the next page begins; "": there is none
	Count int    // of all members
}

// BlockedPage is a part of those whom the user has blocked.
type BlockedPage struct {
	List []Blocked
	Next string // where the next page begins; "": there is none
}

// Invited is what has become of bringing users in.
type Invited struct {
	Added   []string `json:"added"`   // who became members; others were
	Refused []string `json:"refused"` // who has blocked the one who brings them in
	Members int      `json:"members"` // now
}

// Removed is what has become of ending memberships.
type Removed struct {
	Removed int    `json:"removed"` // memberships that have ended
	Members int    `json:"members"` // now
	Owner   string `json:"owner"`   // who became it because the one before has left; "": nobody
}

// Group is what is kept about a group.
type Group struct {
	Data json.RawMessage `json:"data"`
	Join JoinRule        `json:"join"`
}

// NewGroup says how a group is made. The zero value has its owner alone.
type NewGroup struct {
	Users []string // members besides the owner
	Data  any      // is encoded as JSON in at most 4 KiB; nil: nothing is kept
	Join  JoinRule // "": as the server says
}

// GroupChange says what is to be another in a group. The zero value changes nothing.
type GroupChange struct {
	Data any      // is encoded as JSON in at most 4 KiB; nil: as it is, and json.RawMessage("null") clears it
	Join JoinRule // "": as it is
}

// MessageState is how far a message of one's own is.
type MessageState int

// The states.
const (
	MessageSent      MessageState = iota // it is stored
	MessageDelivered                     // every other member has got it
	MessageRead                          // every other member has read it
	MessagePending                       // it is on its way, also while there is no connection
	MessageFailed                        // it was refused, or given up
)

// String gives the state as a word.
func (s MessageState) String() string {
	words := [...]string{"sent", "delivered", "read", "pending", "failed"}
	if s < 0 || int(s) >= len(words) {
		return "unknown"
	}
	return words[s]
}

// ChatMessage is a message of a conversation as it is shown. One that is MessagePending or
// MessageFailed has neither ID nor Seq.
type ChatMessage struct {
	Message
	State MessageState // MessageSent, MessagePending or MessageFailed; see [Conversation.Status]
	Key   string       // of what was sent here: the same before and after it is stored; "": it was not
	Err   error        // why it has failed
}

// entry reads a conversation.
func (f *incoming) entry() Entry {
	e := Entry{
		Channel: f.text("channel"), Kind: f.text("kind"), End: f.position(), Read: f.number("read"), Delivered: f.number("delivered"),
		Time: f.milli("time"), Role: Role(f.text("role")), Since: f.milli("since"), Hidden: f.number("hidden"),
		Members: int(f.number("members")), Alerts: AlertLevel(f.text("alerts")), Data: f.data(), Join: JoinRule(f.text("join")),
	}
	if last := f.member("last"); last != nil {
		m := last.message()
		m.Channel = e.Channel
		e.Last = &m
	}
	if p := f.member("peer"); p != nil {
		e.Peer = &Peer{User: p.text("user"), Read: p.number("read"), Delivered: p.number("delivered"), Online: p.flag("online"), Blocked: p.flag("blocked")}
	}
	e.count()
	return e
}

// count says how many messages are not read.
func (e *Entry) count() { e.Unread = e.End.Seq - min(e.End.Seq, e.Read) }

// mark moves the user's marks: they only grow.
func (e *Entry) mark(read, delivered uint64) {
	e.Read = max(e.Read, read)
	e.Delivered = max(e.Delivered, delivered, e.Read)
	e.count()
}

// peerMark moves those of the other one; it tells whether that is who has moved them.
func (e *Entry) peerMark(user string, read, delivered uint64) bool {
	if e.Peer == nil || e.Peer.User != user {
		return false
	}
	p := *e.Peer
	p.Read = max(p.Read, read)
	p.Delivered = max(p.Delivered, delivered, p.Read)
	e.Peer = &p
	return true
}

// member reads an object inside a frame; nil: there is none.
func (f *incoming) member(name string) *incoming {
	raw := f.raw(name)
	if raw == nil {
		return nil
	}
	m, err := readFrame(raw)
	if err != nil {
		return nil
	}
	return m
}

func (f *incoming) mark() Mark {
	return Mark{Channel: f.text("channel"), User: f.text("user"), Delivered: f.number("delivered"), Read: f.number("read")}
}
