package client

import (
	"context"
	"encoding/json"

	"github.com/skein-realtime/skein/protocol"
)

// PublishOptions say how a message is published. The zero value publishes it once,
// whatever happens to the connection.
type PublishOptions struct {
	// Key makes a repeat harmless: a second message to the channel with the same key
	// from the same user within 24 h is not published, and gets the answer to the
	// first. At most 128 bytes. "": a random one, with which the client itself
	// repeats what has got no answer. An anonymous client has nothing by which the
	// server could know it again, so there it is [ErrLost].
	Key string
	// Reply is, in a conversation, the seq of the message that this one answers. 0: none.
	Reply uint64
	// Mentions are, in a conversation, at most 100 members whom it names, or "*" alone: everybody.
	Mentions []string
	// Once publishes without a key and never repeats: a lost connection is [ErrLost].
	Once bool
}

// Published is what became of a message.
type Published struct {
	Message     string          // its id
	Seq         uint64          // its place in a log; 0: the channel keeps nothing
	Connections int             // that it was handed to
	Users       int             // different ones among them
	Stored      bool            // it is kept
	Duplicate   bool            // this is the answer to an earlier message with the same key
	Reply       json.RawMessage // the application has answered in place of publishing; nil: it has not
}

// Publish publishes data, which is encoded as JSON, under an event name; "" is
// "message". It waits for a connection, and until the server has answered: for a
// log that is when the message is on disk. rate_limited and unavailable with a
// time to wait are waited for and repeated, except with Once. It needs no
// subscription.
func (ch *Channel) Publish(ctx context.Context, event string, data any, options PublishOptions) (Published, error) {
	raw, err := encodeData("data", data)
	if err != nil {
		return Published{}, err
	}
	o := outgoing{Type: protocol.TypePub, Channel: ch.name, Event: event, Data: raw, Key: options.Key, Reply: options.Reply, Mentions: options.Mentions}
	again := keyed
	switch {
	case options.Once && options.Key != "":
		return Published{}, wrong("Key", "is for messages that may be repeated, and Once forbids that")
	case options.Once:
		again = never
	case options.Key == "":
		o.Key = newKey()
	}
	f, err := ch.c.ask(ctx, o, again)
	if err != nil {
		return Published{}, err
	}
	p := Published{
		Message: f.text("message"), Seq: f.number("seq"), Connections: int(f.number("connections")), Users: int(f.number("users")),
		Stored: f.flag("stored"), Duplicate: f.flag("duplicate"), Reply: f.raw("reply"),
	}
	ch.published(p)
	return p, nil
}

// published moves the place in a log over what the connection has published and
// does not get back, so that the next one does not bring it as something missed.
func (ch *Channel) published(p Published) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.options.NoEcho && ch.placed && !p.Duplicate && p.Seq == ch.at.Seq+1 {
		ch.at.Seq = p.Seq
	}
}

// Notice tells the subscribers something that is of no use later, such as that
// somebody types. data may be nil. It is neither kept nor repeated, and without a
// connection it is unavailable.
func (ch *Channel) Notice(ctx context.Context, event string, data any) error {
	o := outgoing{Type: protocol.TypeNotice, Channel: ch.name, Event: event}
	if data != nil {
		raw, err := encodeData("data", data)
		if err != nil {
			return err
		}
		o.Data = raw
	}
	_, err := ch.c.now(ctx, o)
	return err
}

// HistoryOptions choose a page of a log. The zero value is the newest messages.
type HistoryOptions struct {
	Before uint64  // the newest messages with a smaller seq; 0: any
	After  *uint64 // the oldest messages with a greater seq; nil: any. Not together with Before.
	Limit  int     // at most 500; zero: 50
}

// HistoryPage is a page of a log.
type HistoryPage struct {
	Messages []Message // the oldest first
	More     bool      // there are more in that direction
	End      Position  // where the channel ends
}

// History reads what was said in a log. A page may be shorter than its limit and
// still have More.
func (ch *Channel) History(ctx context.Context, options HistoryOptions) (HistoryPage, error) {
	f, err := ch.c.ask(ctx, outgoing{
		Type: protocol.TypeHistory, Channel: ch.name, Before: options.Before, After: afterSeq(options.After), Limit: options.Limit,
	}, always)
	if err != nil {
		return HistoryPage{}, err
	}
	page := HistoryPage{More: f.flag("more"), End: f.position()}
	err = f.each("messages", func(m *incoming) {
		kept := m.message()
		kept.Channel = ch.name
		page.Messages = append(page.Messages, kept)
	})
	return page, err
}
