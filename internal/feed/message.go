package feed

import (
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// MsgOf is a stored message as the protocol has it. It points to what m points to.
func MsgOf(channel string, m *store.Message) protocol.Msg {
	return protocol.Msg{
		Channel: channel, ID: m.ID, Seq: m.Seq, Event: m.Event, Data: m.Data, From: m.Sender, Time: m.Time,
		Reply: m.Meta.Reply, Mentions: m.Meta.Mentions, Edited: m.Edited,
	}
}

// FrameOf is what a subscriber gets for a stored message.
func FrameOf(channel string, m *store.Message) []byte {
	if m.Recalled {
		return protocol.AppendRecall(nil, channel, m.Seq, m.ID)
	}
	out := MsgOf(channel, m)
	return protocol.AppendMsg(make([]byte, 0, len(m.Data)+len(channel)+200), &out)
}

// AppendKept appends a stored message as an element of a history.
func AppendKept(dst []byte, channel string, m *store.Message) []byte {
	out := MsgOf(channel, m)
	if m.Recalled {
		return protocol.AppendStub(dst, &out)
	}
	return protocol.AppendKept(dst, &out)
}

// revisionOf is what a subscriber gets who has a message that was withdrawn, or
// edited at a time; zero: nobody knows when.
func revisionOf(channel string, m *store.Message, at int64) []byte {
	if m.Recalled {
		return protocol.AppendRecall(nil, channel, m.Seq, m.ID)
	}
	out := MsgOf(channel, m)
	return protocol.AppendEdit(make([]byte, 0, len(m.Data)+len(channel)+240), &out, at)
}
