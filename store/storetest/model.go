package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// The model: what a store would be if it were a few maps.
type model struct {
	now      int64
	epoch    string
	channels map[string]*modelChannel
	told     []store.Commit
}

type modelChannel struct {
	head     store.Head
	messages map[uint64]store.Message // those that can be read
	at       map[uint64]uint64        // of stubs and edited ones: what top was
	keys     map[string]modelKey
	document bool
	snapshot store.Snapshot
}

type modelKey struct {
	seq     uint64
	id      string
	content string
	expires int64
}

func (c *modelChannel) clone() *modelChannel {
	clone := *c
	clone.messages, clone.at, clone.keys = maps.Clone(c.messages), maps.Clone(c.at), maps.Clone(c.keys)
	return &clone
}

func (c *modelChannel) raise(floor uint64) {
	if c.document {
		floor = min(floor, c.snapshot.Version)
	}
	c.head.Floor = max(c.head.Floor, floor)
	maps.DeleteFunc(c.messages, func(seq uint64, _ store.Message) bool { return seq <= c.head.Floor })
}

func (m *model) channel(name string) *modelChannel {
	if m.channels[name] == nil {
		m.channels[name] = &modelChannel{messages: make(map[uint64]store.Message), at: make(map[uint64]uint64), keys: make(map[string]modelKey)}
	}
	return m.channels[name]
}

// do gives what a group should give, and carries it out when it succeeds.
func (m *model) do(group []store.Command) ([]store.Result, error) {
	before := make(map[string]*modelChannel, len(m.channels))
	for name, c := range m.channels {
		before[name] = c.clone()
	}
	told := len(m.told)
	var results []store.Result
	for _, c := range group {
		var r store.Result
		var err error
		switch c := c.(type) {
		case store.Append:
			r, err = m.append(c)
		case store.Recall:
			r, err = m.recall(c)
		case store.EditMessage:
			r, err = m.edit(c)
		case store.PutSnapshot:
			r, err = m.put(c)
		}
		if err != nil {
			m.channels, m.told = before, m.told[:told]
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

func (m *model) append(a store.Append) (store.Result, error) {
	c := m.channel(a.Channel)
	if k, used := c.keys[string(a.Key)]; used && len(a.Key) > 0 && a.Time <= k.expires {
		if k.content != string(a.Content) {
			return nil, store.ErrConflict
		}
		return store.Appended{Epoch: m.epoch, Seq: k.seq, ID: k.id, Duplicate: true}, nil
	}
	if a.Version == 0 && c.document || a.Version != 0 && (a.Version != c.head.Top+1 || c.head.Top > 0 && !c.document) {
		return nil, store.ErrMoved
	}
	c.document = a.Version != 0
	c.head.Top++
	message := store.Message{Seq: c.head.Top, ID: a.ID, Time: a.Time, Event: a.Event, Data: a.Data, Sender: a.Sender, Meta: a.Meta}
	c.messages[message.Seq] = message
	if len(a.Key) > 0 {
		c.keys[string(a.Key)] = modelKey{seq: message.Seq, id: a.ID, content: string(a.Content), expires: a.Expires}
	}
	if a.Keep > 0 && c.head.Top > uint64(a.Keep) {
		c.raise(c.head.Top - uint64(a.Keep))
	}
	m.told = append(m.told, store.Commit{Channel: a.Channel, Epoch: m.epoch, Message: &message})
	return store.Appended{Epoch: m.epoch, Seq: message.Seq, ID: a.ID}, nil
}

func (m *model) put(p store.PutSnapshot) (store.Result, error) {
	c := m.channel(p.Channel)
	switch {
	case p.Version > c.head.Top, c.head.Top > 0 && !c.document:
		return nil, store.ErrMoved
	case p.Version <= c.snapshot.Version:
		return store.SnapshotPut{}, nil
	}
	c.snapshot = store.Snapshot{Version: p.Version, Time: p.Time, Data: p.Data}
	c.raise(p.Floor)
	return store.SnapshotPut{Kept: true}, nil
}

func (m *model) recall(r store.Recall) (store.Result, error) {
	for name, c := range m.channels {
		if r.Channel != "" && r.Channel != name {
			continue
		}
		for seq, message := range c.messages {
			if r.Channel != "" && r.Seq != 0 && seq != r.Seq || (r.Channel == "" || r.Seq == 0) && message.ID != r.ID {
				continue
			}
			if !message.Recalled {
				c.messages[seq] = store.Message{Seq: seq, ID: message.ID, Time: message.Time, Recalled: true}
				c.at[seq], c.head.Recalled = c.head.Top, c.head.Top
				c.head.Recalls++
				stub := c.messages[seq]
				m.told = append(m.told, store.Commit{Channel: name, Epoch: m.epoch, Recall: &stub})
			}
			return store.Recalled{Channel: name, Seq: seq, ID: message.ID, Already: message.Recalled}, nil
		}
	}
	return nil, store.ErrNotFound
}

func (m *model) edit(e store.EditMessage) (store.Result, error) {
	c := m.channel(e.Channel)
	message, there := c.messages[e.Seq]
	switch {
	case !there || message.Recalled:
		return nil, store.ErrNotFound
	case c.document:
		return nil, store.ErrMoved
	}
	message.Event, message.Data, message.Edited = e.Event, e.Data, true
	c.messages[e.Seq] = message
	c.at[e.Seq], c.head.Recalled = c.head.Top, c.head.Top
	c.head.Recalls++
	m.told = append(m.told, store.Commit{Channel: e.Channel, Epoch: m.epoch, Edit: &message, Time: e.Time})
	return store.Edited{ID: message.ID}, nil
}

func (m *model) trim(rules []store.Keep) {
	for name, c := range m.channels {
		maps.DeleteFunc(c.keys, func(_ string, k modelKey) bool { return k.expires < m.now })
		for _, rule := range rules {
			if ns, _, _ := strings.Cut(name, ":"); ns != rule.Namespace {
				continue
			}
			if rule.Count > 0 && c.head.Top > uint64(rule.Count) {
				c.raise(c.head.Top - uint64(rule.Count))
			}
			old := func(seq uint64) bool {
				message, there := c.messages[seq]
				return there && message.Time < m.now-rule.Age.Milliseconds()
			}
			for c.document && rule.Age > 0 && c.head.Floor < c.snapshot.Version && old(c.head.Floor+1) {
				c.raise(c.head.Floor + 1)
			}
			if rule.Age > 0 && !c.document {
				for seq, message := range c.messages {
					if message.Time < m.now-rule.Age.Milliseconds() {
						c.raise(seq)
					}
				}
			}
		}
	}
}

func (m *model) read(q store.Query) store.Page {
	c := m.channel(q.Channel)
	page := store.Page{Head: c.head}
	page.Head.Epoch = m.epoch
	seqs := slices.Sorted(maps.Keys(c.messages))
	if q.Backward {
		slices.Reverse(seqs)
	}
	sum := 0
	for _, seq := range seqs {
		if !q.Backward && seq <= q.After || q.Backward && q.Before > 0 && seq >= q.Before {
			continue
		}
		if len(page.Messages) == q.Limit || q.Bytes > 0 && sum >= q.Bytes {
			page.More = true
			break
		}
		page.Messages = append(page.Messages, c.messages[seq])
		sum += len(c.messages[seq].Data)
	}
	if q.Backward {
		slices.Reverse(page.Messages)
	}
	return page
}

func (m *model) recalls(channel string, since uint64, limit int) (list []store.Message) {
	c := m.channel(channel)
	for _, seq := range slices.Sorted(maps.Keys(c.messages)) {
		if (c.messages[seq].Recalled || c.messages[seq].Edited) && c.at[seq] >= since && seq <= since && len(list) < limit {
			list = append(list, c.messages[seq])
		}
	}
	return list
}

func (m *model) document(channel string) store.DocumentPage {
	c := m.channel(channel)
	page := store.DocumentPage{Head: c.head}
	page.Head.Epoch = m.epoch
	if !c.document {
		return page
	}
	page.Snapshot = c.snapshot
	for seq := c.snapshot.Version + 1; seq <= c.head.Top; seq++ {
		page.Messages = append(page.Messages, c.messages[seq])
	}
	return page
}

// Names that a collation or a normalisation would confuse.
var modelNames = []string{"room:a", "room:A", "room:é", "room:é", "other:a", "room:ß"}

// Names of documents; also others may become some.
var modelDocuments = []string{"room:doc", "room:Doc", "other:doc"}

func drawAppend(t *rapid.T, m *model, group []store.Command) store.Append {
	// The clock may jump, and an id need not have the time of its message.
	at := max(0, m.now+rapid.SampledFrom([]int64{0, 0, 0, 0, -30, 30}).Draw(t, "jump"))
	a := store.Append{
		Channel: rapid.SampledFrom(modelNames).Draw(t, "channel"),
		ID:      id.Message(time.UnixMilli(rapid.SampledFrom([]int64{at, at, at, 1}).Draw(t, "time of id"))),
		Time:    at,
		Event:   rapid.SampledFrom([]string{protocol.DefaultEvent, "news", "", "\x00\xff"}).Draw(t, "event"),
		Data:    bytes.Repeat([]byte("x"), rapid.IntRange(0, 20).Draw(t, "size")),
		Sender:  protocol.Sender{User: rapid.SampledFrom([]string{"", "alice", "é"}).Draw(t, "user")},
		Keep:    rapid.SampledFrom([]int{0, 0, 0, 1, 3, 6}).Draw(t, "keep"),
		Meta:    store.Meta{Reply: rapid.SampledFrom([]uint64{0, 0, 7}).Draw(t, "reply"), Mentions: rapid.SampledFrom([][]string{nil, nil, {"*"}}).Draw(t, "mentions")},
	}
	if rapid.IntRange(0, 2).Draw(t, "patch") == 0 {
		a.Channel = rapid.SampledFrom(modelDocuments).Draw(t, "document")
		a.Version = drawVersion(t, m, group, a.Channel) + 1
	}
	if rapid.IntRange(0, 19).Draw(t, "of another kind") == 0 {
		a.Version = drawVersion(t, m, group, a.Channel)
	}
	if rapid.Bool().Draw(t, "connected") {
		a.Sender.Connection = id.NewConnection().String()
	}
	if rapid.IntRange(0, 2).Draw(t, "keyed") == 0 {
		a.Key = []byte(rapid.SampledFrom([]string{"k", "K", "\x00"}).Draw(t, "key"))
		a.Content = []byte(rapid.SampledFrom([]string{"", "c", "c"}).Draw(t, "content"))
		a.Expires = at + rapid.Int64Range(0, 40).Draw(t, "life")
	}
	return a
}

// drawVersion draws mostly the version that a document will have after what a
// group has so far.
func drawVersion(t *rapid.T, m *model, group []store.Command, channel string) uint64 {
	top := m.channel(channel).head.Top
	for _, c := range group {
		if a, ok := c.(store.Append); ok && a.Channel == channel {
			top++
		}
	}
	if less := rapid.SampledFrom([]uint64{0, 0, 0, 0, 0, 0, 1, 2}).Draw(t, "less"); less < top {
		top -= less
	}
	return top + rapid.SampledFrom([]uint64{0, 0, 0, 0, 0, 0, 0, 1}).Draw(t, "more")
}

func drawSnapshot(t *rapid.T, m *model, group []store.Command) store.PutSnapshot {
	name := rapid.SampledFrom(modelDocuments).Draw(t, "document")
	if rapid.IntRange(0, 9).Draw(t, "of any kind") == 0 {
		name = rapid.SampledFrom(modelNames).Draw(t, "channel")
	}
	return store.PutSnapshot{
		Channel: name, Version: drawVersion(t, m, group, name), Time: m.now,
		Data:  fmt.Appendf(nil, "%q", strings.Repeat("x", rapid.IntRange(0, 20).Draw(t, "size"))),
		Floor: rapid.SampledFrom([]uint64{0, 0, 1, 3, 5, 1 << 63}).Draw(t, "floor"),
	}
}

func drawEdit(t *rapid.T, m *model) store.EditMessage {
	name := rapid.SampledFrom(slices.Concat(modelNames, modelNames, modelDocuments)).Draw(t, "channel")
	return store.EditMessage{
		Channel: name, Seq: uint64(rapid.IntRange(1, int(m.channel(name).head.Top)+2).Draw(t, "seq")), Time: m.now,
		Event: rapid.SampledFrom([]string{protocol.DefaultEvent, "news", ""}).Draw(t, "event"), Data: bytes.Repeat([]byte("y"), rapid.IntRange(0, 20).Draw(t, "size")),
	}
}

func drawRecall(t *rapid.T, m *model, group []store.Command) store.Recall {
	name := rapid.SampledFrom(slices.Concat(modelNames, modelDocuments)).Draw(t, "channel")
	ids := []string{"nonsense", id.Message(time.UnixMilli(m.now))}
	for _, c := range group {
		if a, ok := c.(store.Append); ok {
			ids = append(ids, a.ID)
			name = a.Channel
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(m.channel(name).messages)) {
		ids = append(ids, m.channels[name].messages[seq].ID)
	}
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		return store.Recall{Channel: name, Seq: uint64(rapid.IntRange(1, int(m.channel(name).head.Top)+2).Draw(t, "seq"))}
	case 1:
		return store.Recall{Channel: name, ID: rapid.SampledFrom(ids).Draw(t, "id")}
	}
	return store.Recall{ID: rapid.SampledFrom(ids).Draw(t, "id")}
}
