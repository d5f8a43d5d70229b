package push_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/store"
)

func TestAPushComesAtOnceToAllDevicesOfItsUser(t *testing.T) {
	w := start(t, options{})
	a, b, stranger := w.connect("ann"), w.connect("ann"), w.connect("bob")
	w.idle()
	expires := time.Now().Add(time.Hour).UnixMilli()
	done := w.push(push.Message{Content: store.Content{Data: []byte(`{"no":17}`), Event: "order", Category: "orders", Collapse: "order:17", Expires: expires}}, "ann", "cid")
	if done.Totals != (store.Totals{Queued: 2}) || done.ID == "" || done.Duplicate {
		t.Errorf("the push: %+v", done)
	}
	for _, d := range []*device{a, b} {
		got := d.expect("msg", 1)[0]
		want := frame{
			Type: "msg", Channel: "@inbox", ID: done.ID, Seq: 1, Event: "order", Data: []byte(`{"no":17}`), Category: "orders", Collapse: "order:17", Expires: uint64(expires),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	stranger.nothing()
	w.until("it is noted that it was sent", func() bool { return cmp.Equal(w.states("ann"), []string{"sent"}) })
	if got := w.states("cid"); !cmp.Equal(got, []string{"queued"}) {
		t.Errorf("for one who is not here it is %v", got)
	}
	if done := a.ack(1); done.Count != 1 {
		t.Errorf("acked %+v", done)
	}
	if got := w.states("ann"); !cmp.Equal(got, []string{"delivered"}) {
		t.Errorf("after the acknowledgement it is %v", got)
	}
	w.idle() // an idle connection costs nothing
	if n := w.Metrics().InFlight.Load(); n != 0 {
		t.Errorf("%d messages are under way", n)
	}
}

func TestWhatWaitedComesOldestFirst(t *testing.T) {
	w := start(t, options{})
	w.sendMany("ann", 1, 80) // more than one page
	d := w.connect("ann")
	w.send("81", "ann")
	d.expect("msg", upTo(81)...)
	d.nothing()
	// What was not acknowledged comes again to the next one, and what was does not.
	d.ack(40)
	d.leave()
	late := w.connect("ann")
	late.expect("msg", between(41, 81)...)
	late.nothing()
}

func TestNothingOvertakesWhileAConnectionArrives(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 1000}})
	const total = 400
	first := w.connect("ann")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range total {
			if _, err := w.Push(context.Background(), push.Message{Content: store.Content{Data: fmt.Append(nil, i)}}, recipients("ann")); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	devices := []*device{first}
	for len(devices) < 12 {
		devices[len(devices)-1].expect("msg", between(1, 20)...)
		devices = append(devices, w.connect("ann"))
	}
	<-sent
	for i, d := range devices {
		from := uint64(21)
		if i == len(devices)-1 {
			from = 1
		}
		d.expect("msg", between(from, total)...)
		d.nothing()
	}
}

func TestNoMoreThanTheWindowIsUnderWay(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 4}})
	d := w.connect("ann")
	w.idle()
	w.sendMany("ann", 1, 10)
	d.expect("msg", 1, 2, 3, 4)
	w.until("it fell behind", func() bool { return w.Metrics().Behind.Load() == 1 })
	// What has not come cannot be acknowledged by its place.
	if done := d.ack(3); done.Count != 3 {
		t.Errorf("acked %+v, want 3", done)
	}
	d.expect("msg", 5, 6, 7)
	if done := d.ack(1000); done.Count != 4 {
		t.Errorf("acked %+v, want the four that have come", done)
	}
	d.expect("msg", 8, 9, 10)
	d.ack(10)
	w.idle()
	w.send("11", "ann")
	d.expect("msg", 11)
	if got := strings.Join(w.states("ann")[:10], " "); got != strings.TrimSpace(strings.Repeat("delivered ", 10)) {
		t.Errorf("states: %s", got)
	}
}

func TestWhatIsNotAcknowledgedComesAgain(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	w := start(t, options{settings: push.Settings{AckTimeout: timeout, AckRetries: 2}})
	a, b := w.connect("ann"), w.connect("ann")
	w.idle()
	w.send("1", "ann")
	a.expect("msg", 1)
	at := time.Now()
	for range 2 {
		a.expect("msg", 1)
		if waited := time.Since(at); waited < timeout*9/10 {
			t.Errorf("it came again after %s", waited)
		}
		at = time.Now()
	}
	w.idle() // given up
	b.expect("msg", 1, 1, 1)
	a.nothing()
	b.nothing()
	if m := w.Metrics(); m.Resent.Load() != 2 || m.GaveUp.Load() != 1 {
		t.Errorf("sent again %d times, gave up %d times", m.Resent.Load(), m.GaveUp.Load())
	}
	// It is left for the next connection, and for that alone.
	c := w.connect("ann")
	c.expect("msg", 1)
	c.ack(1)
	w.idle()
	a.nothing()
}

func TestAcknowledgements(t *testing.T) {
	w := start(t, options{})
	a, b := w.connect("ann"), w.connect("ann")
	bob := w.connect("bob")
	w.idle()
	w.sendMany("ann", 1, 5)
	w.send("2", "bob")
	ids := map[uint64]string{}
	for _, f := range a.expect("msg", upTo(5)...) {
		ids[f.Seq] = f.ID
	}
	b.expect("msg", upTo(5)...)
	theirs := bob.expect("msg", 1)[0].ID
	by := func(messages ...string) push.Acked {
		t.Helper()
		done, err := w.Ack(t.Context(), push.Ack{User: "ann", Device: "pad", Conn: &a.Conn, Messages: messages})
		if err != nil {
			t.Error(err)
		}
		return done
	}
	if diff := cmp.Diff(push.Acked{Count: 1, Unknown: []string{"short", theirs}}, by("short", ids[2], theirs, ids[2])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(push.Acked{}, by(ids[2])); diff != "" {
		t.Error("again:", diff)
	}
	if done := b.ack(4); done.Count != 3 {
		t.Errorf("up to 4: %+v", done)
	}
	if done := a.ack(4); done.Count != 0 {
		t.Errorf("what the other device has acknowledged counts again: %+v", done)
	}
	if got := w.states("bob"); got[0] != "sent" && got[0] != "queued" {
		t.Errorf("somebody else's message is %v", got)
	}
	c := w.connect("ann")
	c.expect("msg", 5)
	c.nothing()
}

func TestTheWindowCountsForAllDevicesTogether(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 2}})
	w.sendMany("ann", 1, 4)
	a := w.connect("ann")
	a.expect("msg", 1, 2)
	b := w.connect("ann")
	b.expect("msg", 1, 2)
	b.ack(2)
	a.expect("msg", 3, 4)
	b.expect("msg", 3, 4)
	a.ack(4)
	w.idle()
	a.nothing()
	b.nothing()
}

func TestADeviceThatTakesNothingLosesNothing(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 300}})
	quick, slow := w.connect("ann"), w.connect("ann")
	w.idle()
	slow.setFull(true)
	w.sendMany("ann", 1, 50)
	quick.expect("msg", upTo(50)...)
	w.until("one is behind", func() bool { return w.Metrics().Behind.Load() == 1 })
	slow.setFull(false)
	slow.expect("msg", upTo(50)...)
	w.send("51", "ann")
	slow.expect("msg", 51)
	quick.expect("msg", 51)
	// Alone, it keeps what comes from being sent, not from being kept.
	quick.leave()
	slow.ack(51)
	slow.setFull(true)
	w.sendMany("ann", 52, 10)
	w.until("it is behind", func() bool { return w.Metrics().Behind.Load() == 1 })
	if got := w.states("ann"); got[len(got)-1] != "queued" {
		t.Errorf("what nobody took is %s", got[len(got)-1])
	}
	slow.setFull(false)
	slow.expect("msg", between(52, 61)...)
	slow.nothing()
}

func TestAFullQueueOfAWorkerLosesNothing(t *testing.T) {
	w := start(t, options{Config: push.Config{Workers: 1, Queue: 1}, settings: push.Settings{Window: 1000}})
	var devices []*device
	var users []string
	for i := range 20 {
		users = append(users, fmt.Sprint("user", i))
		devices = append(devices, w.connect(users[i]))
	}
	w.idle()
	for i := range 50 {
		w.send(fmt.Sprint(i), users...)
	}
	for _, d := range devices {
		d.expect("msg", upTo(50)...)
		d.nothing()
	}
	if w.Metrics().FellBehind.Load() == 0 {
		t.Error("the queue was never full")
	}
}

func TestAnotherUserGetsNothingOfTheFirst(t *testing.T) {
	w := start(t, options{})
	w.send("1", "ann")
	w.send("2", "bob")
	d := w.connect("ann")
	d.expect("msg", 1)
	w.idleBut(1)
	w.send("11", "ann")
	d.expect("msg", 2)
	d.Bind(auth.Identity{User: "bob"})
	w.send("111", "ann")
	w.Welcome(&d.Conn)
	if f := d.expect("msg", 1)[0]; string(f.Data) != "2" {
		t.Errorf("bob's device got %s", f.Data)
	}
	d.Bind(auth.Identity{})
	w.Welcome(&d.Conn)
	w.send("22", "bob")
	d.nothing()
	d.Bind(auth.Identity{User: "ann"})
	w.Welcome(&d.Conn)
	w.Welcome(&d.Conn) // a refreshed token says it, too
	d.expect("msg", 1, 2, 3)
	d.nothing()
}

// idleBut waits until so many users are remembered.
func (w *world) idleBut(n int64) {
	w.t.Helper()
	w.until("few users are remembered", func() bool { return w.Metrics().Users.Load() == n && w.Metrics().Behind.Load() == 0 })
}

func TestWhoHasNoInboxIsSentNothing(t *testing.T) {
	w := start(t, options{})
	nobody, foreign, waits := w.connect(""), w.add("ann", other{}), w.add("ann", lines{})
	w.Welcome(&foreign.Conn)
	w.idle()
	w.send("1", "ann")
	nobody.nothing()
	foreign.nothing()
	waits.nothing() // it is not welcomed yet
	w.Welcome(&waits.Conn)
	waits.expect("msg", 1)
}

func TestARecallReachesWhoMayHaveIt(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 2}})
	a := w.connect("ann")
	w.idle()
	one := w.send("1", "ann", "bob", "cid")
	two := w.send("2", "ann")
	three := w.send("3", "ann") // beyond the window
	a.expect("msg", 1, 2)
	b := w.connect("bob")
	b.expect("msg", 1)
	b.ack(1)
	w.until("the third waits", func() bool { return w.Metrics().Behind.Load() == 1 })
	for _, tt := range []struct {
		id    string
		count int
	}{{three.ID, 1}, {one.ID, 2}, {one.ID, 0}} {
		if count, err := w.Recall(t.Context(), tt.id); err != nil || count != tt.count {
			t.Errorf("recalled from %d, %v; want %d", count, err, tt.count)
		}
	}
	if f := a.expect("recall", 1)[0]; f.ID != one.ID {
		t.Errorf("got %+v", f)
	}
	b.nothing()
	a.ack(2)
	w.idle()
	a.nothing()
	if diff := cmp.Diff([]string{"recalled", "delivered", "recalled"}, w.states("ann")); diff != "" {
		t.Error(diff)
	}
	if _, err := w.Recall(t.Context(), strings.Repeat("0", 26)); fault.Of(err) == nil || fault.Of(err).Code != fault.NotFound {
		t.Errorf("what is not there: %v", err)
	}
	if count, err := w.Recall(t.Context(), two.ID); err != nil || count != 0 {
		t.Errorf("what was acknowledged is recalled from %d, %v", count, err)
	}
}

func TestTheMarkOfOneDeviceIsToldToTheOthers(t *testing.T) {
	w := start(t, options{})
	a, b := w.connect("ann"), w.connect("ann")
	w.idle()
	w.sendMany("ann", 1, 5)
	a.expect("msg", upTo(5)...)
	b.expect("msg", upTo(5)...)
	for _, tt := range []struct {
		seq   uint64
		mark  push.Mark
		count int
	}{{3, push.Mark{Read: 3, Unread: 2}, 3}, {2, push.Mark{Read: 3, Unread: 2}, 0}, {99, push.Mark{Read: 5}, 2}} {
		m, count, err := w.Read(t.Context(), "ann", "pad", tt.seq, &a.Conn)
		if err != nil || m != tt.mark || count != tt.count {
			t.Errorf("read up to %d: %+v, %d, %v; want %+v, %d", tt.seq, m, count, err, tt.mark, tt.count)
		}
	}
	for _, want := range []frame{{Type: "mark", Channel: "@inbox", User: "ann", Read: 3, Unread: 2}, {Type: "mark", Channel: "@inbox", User: "ann", Read: 5}} {
		if diff := cmp.Diff(want, b.next()); diff != "" {
			t.Error(diff)
		}
	}
	w.idle() // what was read is delivered
	a.nothing()
}

func TestMutesAreTheUsers(t *testing.T) {
	w := start(t, options{})
	d := w.connect("ann")
	w.idle()
	for _, tt := range []struct {
		category string
		muted    bool
		want     []string
	}{{"promo", true, []string{"promo"}}, {"news", true, []string{"news", "promo"}}, {"news", false, []string{"promo"}}} {
		got, err := w.Mute(t.Context(), "ann", tt.category, tt.muted)
		if err != nil || !cmp.Equal(got, tt.want) {
			t.Errorf("muted are %v, %v; want %v", got, err, tt.want)
		}
	}
	if got, err := w.Muted(t.Context(), "ann"); err != nil || !cmp.Equal(got, []string{"promo"}) {
		t.Errorf("muted are %v, %v", got, err)
	}
	done := w.push(push.Message{Content: store.Content{Data: []byte("1"), Category: "promo", Policy: capped(5, "")}}, "ann")
	if done.Totals.Muted != 1 {
		t.Errorf("it became %+v", done.Totals)
	}
	d.nothing()
}
