package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/skein-realtime/skein/client"
)

// seqs gives the messages of a page by their seqs.
func seqs(page client.InboxPage) []uint64 {
	var out []uint64
	for _, m := range page.Messages {
		out = append(out, m.Seq)
	}
	return out
}

func TestTheReadMarkIsOneForAllDevices(t *testing.T) {
	b := newPostbox(t)
	here, there := b.device(), b.device()
	b.devices(2)
	own, others := collect(t, here.Inbox().OnMark), collect(t, there.Inbox().OnMark)
	for range 3 {
		b.push()
	}
	for i, step := range []struct {
		seq  uint64
		want client.InboxState
	}{
		{2, client.InboxState{Read: 2, Unread: 1}},
		{1, client.InboxState{Read: 2, Unread: 1}}, // it never goes back
		{0, client.InboxState{Read: 2, Unread: 1}},
		{99, client.InboxState{Read: 3, Unread: 0}}, // nor beyond the newest
	} {
		got, err := here.Inbox().Read(soon(t), step.seq)
		must(t, err)
		same(t, "state", got, step.want)
		if i == 0 {
			same(t, "mark", others.first(), step.want)
			b.left(1) // what was read is delivered, too
		}
	}
	same(t, "marks", others.count(2)[1], client.InboxState{Read: 3})
	b.left(0)
	settled(t, here)
	if marks := own.now(); len(marks) > 0 {
		t.Errorf("the one who has moved it is told: %v", marks)
	}
	same(t, "frame", b.asked()[2], `{"type":"mark","channel":"@inbox","read":0}`)
}

func TestTheHistoryOfTheInboxHasPagesAndAcknowledgesNothing(t *testing.T) {
	b := newPostbox(t)
	c := b.device()
	for range 5 {
		b.push()
	}
	_, err := c.Inbox().Read(soon(t), 3)
	must(t, err)
	for _, q := range []struct {
		query client.InboxQuery
		want  []uint64
		more  bool
	}{
		{client.InboxQuery{}, []uint64{1, 2, 3, 4, 5}, false},
		{client.InboxQuery{Before: 5, Limit: 2}, []uint64{3, 4}, true},
		{client.InboxQuery{After: new(uint64(0)), Limit: 2}, []uint64{1, 2}, true},
		{client.InboxQuery{After: new(uint64(3))}, []uint64{4, 5}, false},
		{client.InboxQuery{Unread: true}, []uint64{4, 5}, false},
	} {
		page, err := c.Inbox().History(soon(t), q.query)
		must(t, err)
		same(t, "messages", seqs(page), q.want)
		same(t, "more", page.More, q.more)
		same(t, "state", page.InboxState, client.InboxState{Read: 3, Unread: 2})
		same(t, "end", page.End, client.Position{Epoch: "e", Seq: 5})
	}
	page, err := c.Inbox().History(soon(t), client.InboxQuery{})
	must(t, err)
	for i, want := range []client.InboxMessage{{Outcome: "delivered", Read: true}, {Outcome: "sent"}} {
		m := page.Messages[4*i]
		want.Message = client.Message{
			Channel: "@inbox", ID: name(4*i + 1), Seq: uint64(4*i + 1), Event: "message", Data: []byte(`"` + name(4*i+1) + `"`),
			Category: "news", Expires: time.UnixMilli(1770086400000),
		}
		same(t, "message", m, want)
	}
	b.left(2)
}

func TestANewDeviceAsksForTheNewestMessages(t *testing.T) {
	b := newPostbox(t)
	for range 5 {
		b.push()
	}
	must(t, b.device().Inbox().AckTo(soon(t), 5))
	c := b.device()
	b.push()
	got := heard(t, c.Inbox())
	got.count(1)
	state, err := c.Inbox().Latest(soon(t), 3, false)
	must(t, err)
	same(t, "state", state, client.InboxState{Unread: 6})
	same(t, "messages", got.count(3), []uint64{6, 4, 5}) // the one that was handed over does not come again
	_, err = c.Inbox().Read(soon(t), 1)
	must(t, err)
	_, err = c.Inbox().Latest(soon(t), 0, true)
	must(t, err)
	same(t, "messages", got.count(5), []uint64{6, 4, 5, 2, 3})
}

func TestACategoryIsMutedForAllDevices(t *testing.T) {
	b := newPostbox(t)
	here, there := b.device(), b.device()
	b.devices(2)
	got := heard(t, there.Inbox())
	ask := func(c *client.Client, category string, muted bool) []string {
		t.Helper()
		list, err := c.Inbox().Mute(soon(t), category, muted)
		must(t, err)
		return list
	}
	same(t, "muted", ask(here, "promo", true), []string{"promo"})
	same(t, "muted", ask(here, "news", true), []string{"news", "promo"})
	b.pushAs("promo", "")
	list, err := there.Inbox().Muted(soon(t))
	must(t, err)
	same(t, "muted", list, []string{"news", "promo"})
	same(t, "muted", ask(there, "promo", false), []string{"news"})
	b.pushAs("promo", "")
	same(t, "messages", got.count(1), []uint64{2})

	var refused *client.Error
	if _, err := here.Inbox().Mute(soon(t), "none", true); !errors.As(err, &refused) || refused.Code != client.NotFound {
		t.Errorf("a category that is not there: %v", err)
	}
	if _, err := here.Inbox().Mute(soon(t), "", true); !errors.As(err, &refused) || refused.Error() != "bad_request: category: is empty" {
		t.Errorf("no category: %v", err)
	}
}

func TestWhatMayNotInterruptIsTold(t *testing.T) {
	b := newPostbox(t)
	c := b.device()
	b.devices(1)
	held := collect(t, c.Inbox().OnHeld)
	b.tell(`{"type":"notice","channel":"@inbox","event":"other","data":{"count":1}}`)
	b.tell(`{"type":"notice","channel":"@inbox","event":"held","data":{"count":7,"categories":{"promo":5,"news":2}}}`)
	same(t, "held", held.first(), client.Held{Count: 7, Categories: map[string]int{"promo": 5, "news": 2}})
	settled(t, c)
	if n := len(held.now()); n != 1 {
		t.Errorf("%d notices, want 1", n)
	}
}
