package skein_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// asks sends a frame that must be taken.
func (d *modelDevice) asks(t *rapid.T, frame string) boxFrame {
	t.Helper()
	f, err := d.request(frame)
	if err != nil || f.Type != "ok" {
		t.Fatalf("%s: %s is answered by %+v, %v", d.user, frame, f, err)
	}
	return f
}

// delivered ends what an acknowledgement is about and gives how many it ended.
func (b *modelInbox) delivered(of func(*modelItem) bool) (n int) {
	b.pass()
	for _, i := range b.items {
		if i.open() && of(i) {
			i.outcome = "delivered"
			n++
		}
	}
	return n
}

// ack acknowledges some messages by their ids, whatever has become of them.
func (m *inboxModel) ack(t *rapid.T) {
	b, d := m.there(t)
	if d == nil || len(b.items) == 0 {
		return
	}
	var ids []string
	for range rapid.IntRange(1, 4).Draw(t, "messages") {
		if i := b.items[rapid.IntRange(0, len(b.items)-1).Draw(t, "message")]; !i.hidden() {
			ids = append(ids, i.id)
		}
	}
	if len(ids) == 0 {
		return
	}
	ok := d.asks(t, fmt.Sprintf(`{"type":"ack","messages":["%s"]}`, strings.Join(ids, `","`)))
	want := b.delivered(func(i *modelItem) bool { return slices.Contains(ids, i.id) })
	if ok.Acked != want || len(ok.Unknown) > 0 {
		t.Fatalf("%v is answered by %+v; the model says %d", ids, ok, want)
	}
}

// ackUpTo acknowledges all that has come up to a seq: not what was put off.
func (m *inboxModel) ackUpTo(t *rapid.T) {
	b, d := m.there(t)
	if d == nil {
		return
	}
	seq := uint64(rapid.IntRange(1, len(b.items)+3).Draw(t, "seq"))
	ok := d.asks(t, fmt.Sprintf(`{"type":"ack","seq":%d}`, seq))
	if want := b.delivered(func(i *modelItem) bool { return i.seq <= seq && i.sent }); ok.Acked != want {
		t.Fatalf("up to %d is answered by %+v; the model says %d", seq, ok, want)
	}
}

// ackOthers acknowledges what is not in this inbox.
func (m *inboxModel) ackOthers(t *rapid.T) {
	b, d := m.there(t)
	if d == nil {
		return
	}
	ids := []string{"01J0000000000000000000000X", "nonsense"}
	for _, other := range m.users {
		for _, i := range other.items {
			if !slices.ContainsFunc(b.items, func(mine *modelItem) bool { return mine.id == i.id }) {
				ids = append(ids, i.id)
			}
		}
	}
	ok := d.asks(t, fmt.Sprintf(`{"type":"ack","messages":["%s"]}`, strings.Join(ids, `","`)))
	slices.Sort(ok.Unknown)
	slices.Sort(ids)
	if ok.Acked != 0 || !slices.Equal(ok.Unknown, ids) {
		t.Fatalf("%v is answered by %+v", ids, ok)
	}
}

// mark moves the mark up to which the inbox was read; the other device hears of it.
func (m *inboxModel) mark(t *rapid.T) {
	b := m.one(t)
	seq := uint64(rapid.IntRange(0, len(b.items)+3).Draw(t, "read"))
	to := min(seq, uint64(len(b.items)))
	moves := to > b.read
	list := b.here()
	var by *modelDevice
	var got boxFrame
	if len(list) > 0 {
		by = list[rapid.IntRange(0, len(list)-1).Draw(t, "device")]
		got = by.asks(t, fmt.Sprintf(`{"type":"mark","channel":"@inbox","read":%d}`, seq))
	} else {
		got = decoded[boxFrame](m.s.t, m.s.verb("inbox.mark", fmt.Sprintf(`{"user":%q,"read":%d}`, b.user, seq)))
	}
	if moves {
		b.read = to
		b.delivered(func(i *modelItem) bool { return i.seq <= to })
	}
	if string(got.Read) != fmt.Sprint(b.read) || got.Unread != b.unread() {
		t.Fatalf("%d is answered by %+v; the model says %d, and %d are unread", seq, got, b.read, b.unread())
	}
	for _, d := range list {
		if d == by || !moves {
			continue
		}
		for len(d.marks) == 0 {
			if err := d.pump(); err != nil {
				t.Fatalf("%s waits for the mark: %v", d.user, err)
			}
		}
		if f := d.marks[0]; string(f.Read) != fmt.Sprint(b.read) || f.Unread != b.unread() || f.User != b.user {
			t.Fatalf("the mark is %+v; the model says %d, and %d are unread", f, b.read, b.unread())
		}
		d.marks = d.marks[1:]
	}
}

// unread is how many messages can be read, and were not.
func (b *modelInbox) unread() (n uint64) {
	b.pass()
	for _, i := range b.items {
		if i.seq > b.read && !i.gone() {
			n++
		}
	}
	return n
}

// mute mutes a category, or unmutes it.
func (m *inboxModel) mute(t *rapid.T) {
	b := m.one(t)
	category := rapid.SampledFrom([]string{"orders", "promo", "sale", "later"}).Draw(t, "category")
	muted := rapid.Bool().Draw(t, "muted")
	if b.muted[category] = muted; !muted {
		delete(b.muted, category)
	}
	var got []string
	if list := b.here(); len(list) > 0 {
		got = list[0].asks(t, fmt.Sprintf(`{"type":"mute","category":%q,"muted":%t}`, category, muted)).Muted
	} else {
		got = decoded[boxFrame](m.s.t, m.s.verb("categories.mute", fmt.Sprintf(`{"user":%q,"category":%q,"muted":%t}`, b.user, category, muted))).Muted
	}
	if len(got) != len(b.muted) || slices.ContainsFunc(got, func(c string) bool { return !b.muted[c] }) || !slices.IsSorted(got) {
		t.Fatalf("%v are muted; the model says %v", got, b.muted)
	}
}

// recall withdraws a message from both.
func (m *inboxModel) recall(t *rapid.T) {
	b := m.one(t)
	if len(b.items) == 0 {
		return
	}
	i := b.items[rapid.IntRange(0, len(b.items)-1).Draw(t, "message")]
	if i.expires != 0 {
		return // it may be noted only then that it has expired, or not at all
	}
	id := i.id
	got := m.s.verb("recall", fmt.Sprintf(`{"message":%q}`, id))
	want := 0.0
	for _, b := range m.users {
		b.pass()
		for _, i := range b.items {
			if i.id != id || !i.open() {
				continue
			}
			want++
			i.ends("recalled")
			for _, d := range b.here() {
				if i.sent {
					d.forgets(t, i)
				}
			}
		}
	}
	if got["count"] != want || got["message"] != id {
		t.Fatalf("withdrawing %s is answered by %v; the model says %v", id, got, want)
	}
}

// forgets waits until a device is told that a message was withdrawn.
func (d *modelDevice) forgets(t *rapid.T, i *modelItem) {
	t.Helper()
	for len(d.recalls) == 0 {
		if err := d.pump(); err != nil {
			t.Fatalf("%s waits for the recall of %d: %v", d.user, i.seq, err)
		}
	}
	if d.recalls[0] != i.seq {
		t.Fatalf("%s is to forget %v, want %d", d.user, d.recalls, i.seq)
	}
	d.recalls = d.recalls[1:]
}

// remove deletes a user who is away.
func (m *inboxModel) remove(t *rapid.T) {
	b := m.one(t)
	if len(b.here()) > 0 || len(b.items) == 0 {
		return
	}
	if got := m.s.verb("users.delete", fmt.Sprintf(`{"id":%q}`, b.user)); got["count"] != 1.0 {
		t.Fatalf("got %v", got)
	}
	b.items, b.read, b.told = nil, 0, 0
	clear(b.muted)
}

// expire pushes something that is good for a moment, and waits until it is over.
func (m *inboxModel) expire(t *rapid.T) {
	if rapid.IntRange(0, 2).Draw(t, "seldom") > 0 {
		return
	}
	until := time.Now().Add(60 * time.Millisecond)
	if len(m.users[0].here())+len(m.users[1].here()) > 0 {
		until = until.Add(300 * time.Millisecond) // so that it comes before
	}
	m.pushTo(t, m.users[:], rapid.SampledFrom([]string{"", "alarm"}).Draw(t, "category"), "", until.UnixMilli())
	eventually(m.s.t, "its time is over", func() bool { return time.Now().After(until.Add(time.Millisecond)) })
}

// isRight compares what can be read of an inbox.
func (m *inboxModel) isRight(t *rapid.T) {
	for _, b := range m.users {
		b.pass()
		var want []string
		for _, i := range b.items {
			if !i.gone() {
				want = append(want, fmt.Sprint(i.seq, " ", i.id, " ", i.data, " ", i.outcome))
			}
		}
		var page struct {
			Items []struct {
				Seq               uint64
				ID, Data, Outcome string
				Reason            string
			}
			Seq, Read, Unread uint64
			More              bool
		}
		if err := m.s.Call(m.s.t.Context(), "inbox.list", map[string]any{"user": b.user, "limit": 500}, &page); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range page.Items {
			r := pushRecord{Outcome: i.Outcome, Reason: i.Reason}
			if r.Outcome == "sent" {
				r.Outcome = "queued" // it is noted a little later that it was sent
			}
			got = append(got, fmt.Sprint(i.Seq, " ", i.ID, " ", i.Data, " ", r.ended()))
		}
		if !slices.Equal(got, want) || page.Seq != uint64(len(b.items)) || page.Read != b.read || page.Unread != b.unread() {
			t.Fatalf("the inbox of %s has (seq %d, read %d, unread %d)\n%s\nthe model (%d, %d, %d)\n%s", b.user, page.Seq, page.Read, page.Unread,
				strings.Join(got, "\n"), len(b.items), b.read, b.unread(), strings.Join(want, "\n"))
		}
	}
}

// finish has everybody come once more, and compares records and histories; what is left is
// acknowledged, and nothing comes after that.
func (m *inboxModel) finish(t *rapid.T) {
	for _, b := range m.users {
		for _, d := range b.here() {
			m.goAway(t, b, d)
		}
		m.enter(t, b, 0)
		d := b.devices[0]
		d.nothing(t)
		m.agree(t, b)
		last := uint64(len(b.items))
		if last == 0 {
			continue
		}
		ok := d.asks(t, fmt.Sprintf(`{"type":"ack","seq":%d}`, last))
		if want := b.delivered(func(i *modelItem) bool { return i.sent }); ok.Acked != want {
			t.Fatalf("the last acknowledgement is answered by %+v; the model says %d", ok, want)
		}
		m.goAway(t, b, d)
		m.enter(t, b, 0)
		b.devices[0].nothing(t)
		m.agree(t, b)
	}
}

// agree compares the records of a user, and the history as its device reads it, with the
// model. There is one record for each message.
func (m *inboxModel) agree(t *rapid.T, b *modelInbox) {
	b.pass()
	d := b.devices[0]
	records := map[string]pushRecord{}
	for _, r := range m.s.records(fmt.Sprintf(`"user":%q`, b.user)) {
		records[r.Message] = r
	}
	if len(records) != len(b.items) {
		t.Fatalf("%s has %d records; the model has %d", b.user, len(records), len(b.items))
	}
	for _, i := range b.items {
		r := records[i.id]
		got := r.ended()
		switch {
		case got == "sent" && i.sent, i.outcome == "expired" && (got == "queued" || got == "sent"):
			got = i.outcome // it is noted a little later
		}
		if got != i.outcome || r.Seq != i.seq || r.Category != i.category || (r.Read != 0) != (i.seq <= b.read && r.Read != 0) {
			t.Fatalf("the record of %s is %+v; the model says %+v", b.user, r, *i)
		}
	}
	got, want := []string{}, []string{}
	for before := ""; ; {
		page := d.asks(t, `{"type":"history","channel":"@inbox","limit":7`+before+`}`)
		list := []string{}
		for _, f := range page.Messages {
			list = append(list, fmt.Sprint(f.Seq, " ", f.name()))
		}
		if got = append(list, got...); !page.More {
			break
		}
		before = fmt.Sprintf(`,"before":%d`, page.Messages[0].Seq)
	}
	for _, i := range b.items {
		if !i.gone() {
			want = append(want, fmt.Sprint(i.seq, " ", i.id))
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the history of %s is\n%s\nthe model has\n%s", b.user, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// isOver waits until it is noted what has expired, which is a few seconds later.
func (m *inboxModel) isOver(t *testing.T) {
	for _, b := range m.users {
		for _, i := range b.items {
			if i.outcome == "expired" {
				m.s.became(i.id, b.user, "expired")
			}
		}
	}
}

func (m *inboxModel) leave() {
	for _, b := range m.users {
		for _, d := range b.here() {
			d.leave()
		}
	}
}
