package history

import (
	"context"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func (f *Feature) registerVerbs(r *verb.Registry) {
	verb.Add(r, "history", "Reads the messages of a log channel, a page at a time.", f.historyVerb)
	verb.Add(r, "recall", "Withdraws a message of a log channel, whose content is gone for good; or a push, from everybody who has not acknowledged it.", f.recallVerb)
}

// Params are the params of history.
type Params struct {
	Channel string `json:"channel" jsonschema:"a log channel"`
	Before  *int64 `json:"before,omitempty" jsonschema:"the newest messages with a smaller seq; without before and after, the newest of all"`
	After   *int64 `json:"after,omitempty" jsonschema:"the oldest messages with a greater seq"`
	Limit   *int64 `json:"limit,omitempty" jsonschema:"messages of a page; 50 when absent, at most 500"`
}

// Result is a page of messages, the oldest first.
type Result struct {
	Messages []Message `json:"messages"`
	More     bool      `json:"more" jsonschema:"there are more in the direction asked"`
	Epoch    string    `json:"epoch"`
	Seq      uint64    `json:"seq" jsonschema:"that of the channel's newest message"`

	channel string
	page    store.Page
}

// Message is one message of a history.
type Message struct {
	ID       string   `json:"id"`
	Seq      uint64   `json:"seq"`
	Event    string   `json:"event,omitempty" jsonschema:"absent when it was recalled"`
	Data     any      `json:"data,omitempty" jsonschema:"any JSON; absent when it was recalled"`
	From     *From    `json:"from,omitempty" jsonschema:"absent when the server sent it"`
	Reply    uint64   `json:"reply,omitempty" jsonschema:"seq of the message that it answers"`
	Mentions []string `json:"mentions,omitempty" jsonschema:"users that it mentions; * is everybody"`
	Edited   bool     `json:"edited,omitempty" jsonschema:"it has other content than it had at first"`
	Recalled bool     `json:"recalled,omitempty" jsonschema:"its content is withdrawn"`
	Time     int64    `json:"time" jsonschema:"milliseconds since 1970 UTC"`
}

// From is who sent a message.
type From struct {
	User       string `json:"user,omitempty"`
	Device     string `json:"device,omitempty"`
	Connection string `json:"connection,omitempty"`
}

// AppendJSON implements verb.Appender.
func (r Result) AppendJSON(b []byte) []byte {
	return append(appendPage(append(b, '{'), r.channel, r.page), '}')
}

// space gives the rules of a log channel.
func (f *Feature) space(channel string) (*hub.Space, error) {
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return nil, err
	}
	space := f.hub.Space(namespace)
	if space == nil {
		return nil, fault.New(fault.NotFound, "channel: namespace %q is not configured", namespace)
	}
	return space, checkKind("channel", space)
}

func (f *Feature) historyVerb(ctx context.Context, p Params) (Result, error) {
	if _, err := f.space(p.Channel); err != nil {
		return Result{}, err
	}
	ints := [3]int64{-1, -1, defaultLimit} // before, after, limit
	for i, given := range []*int64{p.Before, p.After, p.Limit} {
		if given == nil {
			continue
		}
		low, high := int64(0), int64(protocol.MaxInt)
		if i == 2 {
			low, high = 1, maxLimit
		}
		if *given < low || *given > high {
			return Result{}, fault.Field([]string{"before", "after", "limit"}[i], "%d is not between %d and %d", *given, low, high)
		}
		ints[i] = *given
	}
	page, err := f.read(ctx, p.Channel, ints[0], ints[1], ints[2], 0)
	return Result{channel: p.Channel, page: page}, err
}

// RecallParams are the params of recall.
type RecallParams struct {
	Channel string `json:"channel,omitempty" jsonschema:"the message's channel, with seq"`
	Seq     uint64 `json:"seq,omitempty" jsonschema:"its place there"`
	Message string `json:"message,omitempty" jsonschema:"or the message's id"`
}

// RecallResult tells what was withdrawn.
type RecallResult struct {
	Recalled bool   `json:"recalled" jsonschema:"false: it had been withdrawn before"`
	Channel  string `json:"channel,omitempty" jsonschema:"absent for a push"`
	Seq      uint64 `json:"seq,omitempty" jsonschema:"absent for a push"`
	Message  string `json:"message"`
	Count    *int   `json:"count,omitempty" jsonschema:"for a push: from how many users it was taken back"`
}

func (f *Feature) recallVerb(ctx context.Context, p RecallParams) (RecallResult, error) {
	switch {
	case p.Message == "" && p.Channel == "":
		return RecallResult{}, fault.Field("channel", "name the message by channel and seq, or by message")
	case p.Message == "" && p.Seq == 0:
		return RecallResult{}, fault.Field("seq", "is missing")
	case p.Message != "" && p.Seq != 0:
		return RecallResult{}, fault.Field("message", "cannot be given together with seq")
	case p.Message != "" && len(p.Message) != idLength:
		return RecallResult{}, fault.Field("message", "is not the id of a message")
	}
	if p.Channel != "" {
		if _, err := f.space(p.Channel); err != nil {
			return RecallResult{}, err
		}
	}
	r, err := f.feeds.Recall(ctx, store.Recall{Channel: p.Channel, Seq: p.Seq, ID: p.Message})
	if e := fault.Of(err); e != nil && e.Code == fault.NotFound && p.Channel == "" && f.also != nil {
		news, count, err := f.also(ctx, p.Message)
		return RecallResult{Recalled: news && err == nil, Message: p.Message, Count: &count}, err
	}
	return RecallResult{Recalled: !r.Already && err == nil, Channel: r.Channel, Seq: r.Seq, Message: r.ID}, err
}

const idLength = 26 // of a ULID
