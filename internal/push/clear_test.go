package push_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/store"
)

// about is a message with a collapse key.
func about(key string) push.Message {
	policy := capped(100, "inbox")
	return push.Message{Content: store.Content{Data: []byte(`1`), Category: "promo", Policy: policy, Collapse: key}}
}

func TestWhatWasReadElsewhereIsTakenBack(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 2}})
	pad, phone := w.connect("ann"), w.connect("ann")
	w.idle()
	w.push(about("chat:dm:ann:bob"), "ann", "bob")
	w.push(about("chat:dm:ann:eve"), "ann")
	w.push(about("chat:team:1"), "ann") // the window is full: it waits
	for _, d := range []*device{pad, phone} {
		d.expect("msg", 1, 2)
	}
	clear := func(user, key string) {
		t.Helper()
		if err := w.Clear(t.Context(), user, "promo", key); err != nil {
			t.Fatal(err)
		}
	}
	clear("ann", "chat:dm:ann:bob")
	for _, d := range []*device{pad, phone} { // in any order: what was taken back has made room
		seen := map[string]uint64{}
		for range 3 {
			f := d.next()
			seen[f.Type] += f.Seq + f.Unread
		}
		if diff := cmp.Diff(map[string]uint64{"recall": 1, "mark": 2, "msg": 3}, seen); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"recalled", "sent", "sent"}, w.settledStates("ann")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"queued"}, w.states("bob")); diff != "" {
		t.Errorf("of another user (-want +got):\n%s", diff)
	}

	pad.ack(2) // one that was delivered has been read
	clear("ann", "chat:dm:ann:eve")
	for _, d := range []*device{pad, phone} {
		if f := d.next(); f.Type != "mark" || f.Unread != 1 || f.Read != 0 {
			t.Errorf("got %+v, want that one is unread", f)
		}
	}
	clear("ann", "chat:dm:ann:eve") // nothing is left to be told
	clear("ann", "chat:nobody")
	clear("nobody", "chat:team:1")
	clear("bob", "chat:dm:ann:bob") // who is away
	if diff := cmp.Diff([]string{"recalled"}, w.states("bob")); diff != "" {
		t.Errorf("of one who is away (-want +got):\n%s", diff)
	}
	pad.nothing()
	phone.nothing()
	page, err := w.Records(t.Context(), store.RecordQuery{User: "ann", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range page.Records {
		r := &page.Records[i]
		if want := (r.Seq == 1); (r.Reason == store.ReasonRead) != want {
			t.Errorf("the record of %d has the reason %q", r.Seq, r.Reason)
		}
		if want := (r.Seq == 2); (r.Read != 0) != want {
			t.Errorf("the record of %d was read at %d", r.Seq, r.Read)
		}
	}
}

// settledStates are the states once it is written what was sent.
func (w *world) settledStates(user string) []string {
	w.t.Helper()
	w.until("what was sent is written", func() bool {
		for _, state := range w.states(user) {
			if state == "queued" {
				return false
			}
		}
		return true
	})
	return w.states(user)
}

func TestWhatIsTakenBackWhileItWaitsDoesNotCome(t *testing.T) {
	w := start(t, options{})
	d := w.connect("ann")
	w.idle()
	d.setFull(true)
	w.push(about("chat:team:1"), "ann")
	w.push(about("chat:team:2"), "ann")
	w.until("she is behind", func() bool { return w.Metrics().Behind.Load() == 1 })
	if err := w.Clear(t.Context(), "ann", "promo", "chat:team:1"); err != nil {
		t.Fatal(err)
	}
	d.setFull(false)
	for {
		f := d.next()
		if f.Type == "msg" {
			if f.Seq != 2 {
				t.Errorf("%+v comes, which was taken back", f)
			}
			break
		}
	}
	d.ack(2)
	w.idle()
}

func TestAClearThatCannotBeWrittenSaysSo(t *testing.T) {
	w := start(t, options{})
	w.store.down.Store(true)
	if e := fault.Of(w.Clear(t.Context(), "ann", "promo", "x")); e == nil || e.Code != fault.Unavailable || e.RetryAfter == 0 {
		t.Errorf("got %v, want unavailable", e)
	}
	w.store.down.Store(false)
	w.stop()
	if e := fault.Of(w.Clear(t.Context(), "ann", "promo", "x")); e == nil || e.Code != fault.Unavailable {
		t.Errorf("after the end: got %v, want unavailable", e)
	}
}
