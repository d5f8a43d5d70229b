package client

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/skein-realtime/skein/protocol"
)

// InboxState is how far the user has read the inbox: one mark for all devices.
type InboxState struct {
	Read   uint64 // everything up to this seq was read; 0: nothing was
	Unread int    // so many messages were not; at most 1000 are counted
}

// Held is how many messages may not interrupt the user and wait in the inbox to be
// read.
type Held struct {
	Count      int
	Categories map[string]int // by category; those of none are not in it
}

// InboxQuery chooses a page of the inbox. The zero value is the newest messages.
type InboxQuery struct {
	Before uint64  // the newest messages with a smaller seq; 0: any
	After  *uint64 // the oldest messages with a greater seq; nil: any. Not together with Before.
	Limit  int     // at most 500; zero: 50
	Unread bool    // only what was not read
}

// InboxPage is a page of the inbox.
type InboxPage struct {
	Messages   []InboxMessage // the oldest first
	More       bool           // there are more in that direction
	End        Position       // the newest message of the inbox
	InboxState                // at the time of the answer
}

// InboxMessage is a message of the inbox, and what has become of it.
type InboxMessage struct {
	Message
	// Outcome is a word of spec/push.md, section 5: queued and sent may change,
	// delivered, capped, muted and failed do not.
	Outcome string
	Read    bool // it was read
}

// Read marks everything up to a seq as read, on all devices of the user, and
// acknowledges it. The mark never goes back, and not beyond the newest message: the
// state says where it is now. The other connections of the user are told; see
// [Inbox.OnMark].
func (in *Inbox) Read(ctx context.Context, seq uint64) (InboxState, error) {
	f, err := in.ask(ctx, outgoing{Type: protocol.TypeMark, Read: &seq})
	if err != nil {
		return InboxState{}, err
	}
	return f.inboxState(), nil
}

// History reads the inbox, and acknowledges nothing. A page may be shorter than its
// limit and still have More.
func (in *Inbox) History(ctx context.Context, query InboxQuery) (InboxPage, error) {
	f, err := in.ask(ctx, outgoing{
		Type: protocol.TypeHistory, Before: query.Before, After: afterSeq(query.After), Limit: query.Limit, Unread: query.Unread,
	})
	if err != nil {
		return InboxPage{}, err
	}
	page := InboxPage{More: f.flag("more"), End: f.position(), InboxState: f.inboxState()}
	err = f.each("messages", func(m *incoming) {
		kept := InboxMessage{Message: m.message(), Outcome: m.text("outcome"), Read: m.flag("read")}
		kept.Channel = protocol.Inbox
		page.Messages = append(page.Messages, kept)
	})
	return page, err
}

// Latest asks for the newest n messages, whatever has become of them; with unread
// for those that were not read, at most n of them (zero: 100). n is at most 500.
// They come as messages do ([Inbox.OnMessage]), but for those that this client has
// handed over before: so a new device has something to show.
func (in *Inbox) Latest(ctx context.Context, n int, unread bool) (InboxState, error) {
	f, err := in.ask(ctx, outgoing{Type: protocol.TypeSub, Last: n, Unread: unread})
	if err != nil {
		return InboxState{}, err
	}
	return f.inboxState(), nil
}

// Mute keeps messages of a category from coming by themselves, on any device of the
// user, or lets them come again. It gives all categories that are muted then. One that
// may not be muted is [Denied], one that is not there [NotFound].
func (in *Inbox) Mute(ctx context.Context, category string, muted bool) ([]string, error) {
	if category == "" {
		return nil, wrong("category", "is empty")
	}
	return in.mute(ctx, outgoing{Type: protocol.TypeMute, Category: category, Muted: &muted})
}

// Muted gives the categories that the user has muted.
func (in *Inbox) Muted(ctx context.Context) ([]string, error) {
	return in.mute(ctx, outgoing{Type: protocol.TypeMute})
}

func (in *Inbox) mute(ctx context.Context, o outgoing) ([]string, error) {
	f, err := in.ask(ctx, o)
	if err != nil {
		return nil, err
	}
	var muted []string
	if err := json.Unmarshal(f.raw("muted"), &muted); err != nil {
		return nil, fmt.Errorf("the answer of the server cannot be read: muted: %w", err)
	}
	return muted, nil
}

// ask makes a request about the inbox. All of them may be repeated.
func (in *Inbox) ask(ctx context.Context, o outgoing) (*incoming, error) {
	o.Channel = protocol.Inbox
	return in.c.ask(ctx, o, always)
}

func (f *incoming) inboxState() InboxState {
	return InboxState{Read: f.number("read"), Unread: int(f.number("unread"))}
}

// held reads the notice of what may not interrupt; false: it is another one.
func (f *incoming) held() (h Held, ok bool) {
	if f.text("event") != "held" {
		return Held{}, false
	}
	return h, json.Unmarshal(f.data(), &h) == nil
}
