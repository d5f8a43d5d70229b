package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"
)

// timeline is the messages of one conversation as they are shown: what the server has, in
// order, edited and recalled in its place, then what was sent here and is not stored. Whoever
// has it guards it.
type timeline struct {
	kept map[uint64]Message
	made map[uint64]bool   // those that were made from the answer, and are not as the server has them yet
	keys map[uint64]string // of what was sent here
	own  []*ownMessage     // what was sent here and is not stored
	late []Event           // edits and recalls that came while a page was on its way, which may be older
	open bool              // a page is on its way
}

// ownMessage is a message that was sent here, until the server has it.
type ownMessage struct {
	Message
	key  string
	err  error  // why it has failed; nil: it has not
	seen uint64 // the message that is probably this one, which came before the answer; 0: none
}

func newTimeline() *timeline {
	return &timeline{kept: map[uint64]Message{}, made: map[uint64]bool{}, keys: map[uint64]string{}}
}

func (t *timeline) list() []ChatMessage {
	seen := map[uint64]string{}
	for _, o := range t.own {
		if o.seen != 0 {
			seen[o.seen] = o.key
		}
	}
	all := make([]ChatMessage, 0, len(t.kept)+len(t.own))
	for _, seq := range t.seqs() {
		m := ChatMessage{Message: t.kept[seq], Key: t.keys[seq]}
		if m.Key == "" {
			m.Key = seen[seq]
		}
		all = append(all, m)
	}
	for _, o := range t.own {
		if o.seen != 0 {
			continue
		}
		m := ChatMessage{Message: o.Message, State: MessagePending, Key: o.key, Err: o.err}
		if o.err != nil {
			m.State = MessageFailed
		}
		all = append(all, m)
	}
	return all
}

func (t *timeline) seqs() []uint64 { return slices.Sorted(maps.Keys(t.kept)) }

// oldest gives the seq of the oldest message; 0: there is none.
func (t *timeline) oldest() (seq uint64) {
	for s := range t.kept {
		if seq == 0 || s < seq {
			seq = s
		}
	}
	return seq
}

// newest gives the seq of the newest message; 0: there is none.
func (t *timeline) newest() (seq uint64) {
	for s := range t.kept {
		seq = max(seq, s)
	}
	return seq
}

// add takes a message that came; false: the server's was there already. mine: it was sent over
// a connection of this client.
func (t *timeline) add(m Message, mine bool) (fresh bool) {
	known, there := t.kept[m.Seq]
	fresh = !there || t.made[m.Seq]
	// What was read from the history may be newer, and then its frame follows.
	if !fresh && (known.Recalled || known.Edited) {
		return false
	}
	t.kept[m.Seq] = m
	delete(t.made, m.Seq)
	if mine && !there {
		for _, o := range t.own {
			if o.open() && o.Event == m.Event && bytes.Equal(o.Data, m.Data) {
				o.seen = m.Seq
				break
			}
		}
	}
	return fresh
}

// open tells whether a message that comes may be this one: the server has not refused it.
func (o *ownMessage) open() bool {
	var refused *Error
	return o.seen == 0 && !errors.As(o.err, &refused)
}

// change takes an [Edit] or a [Recall]; false: it is about nothing that is shown.
func (t *timeline) change(e Event) bool {
	if t.open {
		t.late = append(t.late, e)
	}
	return t.revise(e)
}

func (t *timeline) revise(e Event) bool {
	switch e := e.(type) {
	case Edit:
		m, there := t.kept[e.Seq]
		if !there || m.Recalled {
			return false
		}
		m.Event, m.Data, m.Edited = e.Event, e.Data, true
		t.kept[e.Seq] = m
		return true
	case Recall:
		m, there := t.kept[e.Seq]
		if !there || m.Recalled {
			return false
		}
		t.kept[e.Seq] = stub(m)
		return true
	}
	return false
}

// stub is what is left of a message that was withdrawn.
func stub(m Message) Message {
	return Message{Channel: m.Channel, ID: m.ID, Seq: m.Seq, From: m.From, Time: m.Time, Recalled: true}
}

// ask is called before a page is asked for, page when it is there, or will not be.
func (t *timeline) ask() { t.open, t.late = true, nil }

func (t *timeline) page(messages []Message) {
	for _, m := range messages {
		t.kept[m.Seq] = m
		delete(t.made, m.Seq)
	}
	for _, e := range t.late {
		t.revise(e)
	}
	t.open, t.late = false, nil
}

// trim forgets the oldest, until there are no more than so many.
func (t *timeline) trim(most int) (gone bool) {
	if len(t.kept) <= most {
		return false
	}
	seqs := t.seqs()
	for _, seq := range seqs[:len(seqs)-most] {
		delete(t.kept, seq)
		delete(t.made, seq)
		delete(t.keys, seq)
	}
	return true
}

// clear forgets all but what is not stored.
func (t *timeline) clear() {
	clear(t.kept)
	clear(t.made)
	clear(t.keys)
	for _, o := range t.own {
		o.seen = 0
	}
}

// send shows a message that is about to be sent. One with the same key is the one before.
func (t *timeline) send(channel string, from Sender, event string, data json.RawMessage, o PublishOptions) *ownMessage {
	if known := t.find(o.Key); known != nil {
		t.take(known)
	}
	own := &ownMessage{
		Message: Message{Channel: channel, Event: event, Data: data, From: from, Time: time.Now(), Reply: o.Reply, Mentions: o.Mentions},
		key:     o.Key,
	}
	t.own = append(t.own, own)
	return own
}

// sent says that a message is stored.
func (t *timeline) sent(own *ownMessage, id string, seq uint64) {
	t.take(own)
	t.keys[seq] = own.key
	if _, there := t.kept[seq]; there {
		return
	}
	m := own.Message
	m.ID, m.Seq = id, seq
	t.kept[seq] = m
	t.made[seq] = true
}

// find gives a message that was sent here, unless it is stored; nil: there is none.
func (t *timeline) find(key string) *ownMessage {
	if i := slices.IndexFunc(t.own, func(o *ownMessage) bool { return o.key == key }); i >= 0 {
		return t.own[i]
	}
	return nil
}

// take takes a message away that was sent here.
func (t *timeline) take(own *ownMessage) {
	t.own = slices.DeleteFunc(t.own, func(o *ownMessage) bool { return o == own })
}
