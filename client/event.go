package client

import (
	"encoding/json"
	"fmt"
	"time"
)

// Direct is the name of the channel of messages that the server addressed to the
// connection, to its user or to everybody. It needs no subscription.
const Direct = "@direct"

// Sender is who something came from. The zero value is the server itself.
type Sender struct {
	User, Device string // "": it has none
	Connection   string
}

// Event is something that happened in a channel: one of [Message], [Notice], [Gap],
// [Recall], [Edit], [Mark], [Dropped], [Subscribed], [Unsubscribed], [Join], [Leave] and [Counts].
type Event interface{ event() }

// Message is a message of a channel.
type Message struct {
	Channel string
	ID      string
	Seq     uint64 // its place in a log, from 1; 0: the channel keeps nothing
	Event   string // its name
	Data    json.RawMessage
	From    Sender
	Time    time.Time // by the server's clock, to the millisecond

	Reply    uint64   // in a conversation: seq of the message that it answers; 0: none
	Mentions []string // in a conversation: users whom it names, or "*", everybody
	Edited   bool     // its author has changed it
	Cut      bool     // in the list of conversations alone: its data is too large for it, and left out

	Category string    // of a push; "": it is none
	Expires  time.Time // of a push: until when it is good; zero: as long as it is kept
	Collapse string    // of a push: it takes the place of earlier ones of its category with the same; "": of none
	Recalled bool      // in a history alone: it was withdrawn, and has no content any more
}

// Decode decodes the data into v, as encoding/json does.
func (m Message) Decode(v any) error { return json.Unmarshal(m.Data, v) }

// Notice is a volatile event about a channel: somebody types, a cursor moves.
type Notice struct {
	Channel string
	Event   string
	Data    json.RawMessage // nil: none
	From    Sender
	Time    time.Time
}

// Gap says that the messages From to To of a log are gone: too old, or over the
// number that is kept. What comes next begins after To.
type Gap struct {
	Channel  string
	From, To uint64
	Epoch    string
	Restart  bool // the history has begun anew: seqs from before mean nothing any more
}

// Error implements error, so that an iterator can yield a Gap.
func (g *Gap) Error() string {
	if g.Restart {
		return fmt.Sprintf("the history of %s has begun anew", g.Channel)
	}
	return fmt.Sprintf("the messages %d to %d of %s are gone", g.From, g.To, g.Channel)
}

// Recall says that a message was withdrawn. It may be told twice.
type Recall struct {
	Channel string
	Seq     uint64
	ID      string
}

// Edit says that the author has changed a message: it is what it is now, and Time is that of
// the message. It may be told twice.
type Edit struct {
	Message
	At time.Time // of the change; zero: it was made while this client was not there
}

// Mark says how far a user has read a conversation, and what a device of his has got.
type Mark struct {
	Channel         string
	User            string
	Delivered, Read uint64 // everything up to these seqs
}

// Dropped says how many volatile events were lost because this reader was too
// slow for them.
type Dropped struct {
	Channel string
	Count   uint64
	Here    bool // in this program, whose functions are too slow; else on the way
}

// Subscribed says that a subscription has begun, or goes on over a new connection.
type Subscribed struct {
	Channel string
	Reason  string   // "server": a server verb has made it; "": this client has asked
	At      Position // of a log: where the channel ended when it began
	Version uint64   // of a document, as At
	// Recovered tells whether a subscription that went on has missed nothing. It is
	// always false in a channel that keeps nothing.
	Recovered bool
}

// Unsubscribed says that the subscription has ended without being asked to.
type Unsubscribed struct {
	Channel string
	Reason  string // "server" or "denied", or the code of Err
	Err     error  // why it could not be made again after a reconnect; nil: the server has ended it
}

// Join says that a connection has subscribed, or shows other data.
type Join struct {
	Channel    string
	User       string // "": anonymous
	Connection string
	Data       json.RawMessage // what it shows of itself; nil: nothing
	Time       time.Time
}

// Leave says that a connection is gone from the channel.
type Leave struct {
	Channel    string
	User       string
	Connection string
	Time       time.Time
}

// Counts takes the place of Join and Leave in a large channel. The last one when
// the channel has become small again has Large false: from there on there are
// Join and Leave.
type Counts struct {
	Channel            string
	Connections, Users int
	Large              bool
	Time               time.Time
}

func (Message) event()      {}
func (Notice) event()       {}
func (Gap) event()          {}
func (Recall) event()       {}
func (Edit) event()         {}
func (Mark) event()         {}
func (Dropped) event()      {}
func (Subscribed) event()   {}
func (Unsubscribed) event() {}
func (Join) event()         {}
func (Leave) event()        {}
func (Counts) event()       {}
