package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/store"
)

// content is what is put into the store behind the engine's back.
func content(data string) store.Content {
	now := time.Now()
	return store.Content{ID: id.Message(now), Time: now.UnixMilli(), Data: []byte(data)}
}

func (w *world) do(c store.Command) store.Result {
	w.t.Helper()
	results, err := w.store.Do(context.Background(), c)
	if err != nil {
		w.t.Fatal(err)
	}
	return results[0]
}

func TestTheBacklogOfAUserIsHeldBackByItsCap(t *testing.T) {
	w := start(t, options{})
	policy := capped(3, "inbox")
	// They were stored yesterday and the day before, three each: three may come today.
	day := int64(24 * time.Hour / time.Millisecond)
	for i := range int64(6) {
		now := time.Now().UnixMilli() - (2-i/3)*day
		c := content(fmt.Sprint(i))
		c.Category, c.Policy = policy.Category, policy
		w.do(store.Push{Content: c, To: recipients("ann"), Now: now, Keep: 100})
	}
	if diff := cmp.Diff([]string{"queued", "queued", "queued", "queued", "queued", "queued"}, w.states("ann")); diff != "" {
		t.Fatal(diff)
	}
	d := w.connect("ann")
	d.expect("msg", 4, 5, 6) // the newest
	f := d.next()
	var data struct {
		Count      int
		Categories map[string]int
	}
	if err := json.Unmarshal(f.Data, &data); err != nil || f.Type != "notice" || f.Event != "held" || f.Channel != "@inbox" {
		t.Fatalf("got %+v, %v", f, err)
	}
	if data.Count != 3 || !cmp.Equal(data.Categories, map[string]int{"promo": 3}) {
		t.Errorf("held is %+v", data)
	}
	d.nothing()
	again := w.connect("ann")
	again.expect("msg", 4, 5, 6)
	again.nothing()
	if m := w.Metrics(); m.Held.Load() != 3 {
		t.Errorf("%d were held", m.Held.Load())
	}
}

func TestWhatWasPutOffComesWhenItsTimeHasCome(t *testing.T) {
	w := start(t, options{})
	a, away := w.connect("ann"), "bob"
	w.idle()
	policy := capped(1, "defer")
	policy.Chain[0].Caps[0].Per = "1s"
	for _, user := range []string{"ann", away} {
		for i := range 2 { // long ago: the second was put off for seconds
			c := content(fmt.Sprint(i))
			c.Category, c.Policy = policy.Category, policy
			w.do(store.Push{Content: c, To: recipients(user), Now: time.Now().Add(-10 * time.Minute).UnixMilli(), Keep: 100})
		}
	}
	a.expect("msg", 1, 2)
	a.ack(2)
	w.idle()
	w.until("both are woken", func() bool { return w.Metrics().Woken.Load() == 2 })
	w.connect(away).expect("msg", 2) // one may come now, and that is the newest
}

func TestWhatIsWokenBeyondTheWindowIsNotForgotten(t *testing.T) {
	t.Parallel()
	w := start(t, options{settings: push.Settings{Window: 2}})
	d := w.connect("ann")
	w.idle()
	w.sendMany("ann", 1, 2)
	policy := capped(0, "defer")
	policy.Quiet = nil
	policy.Chain[0].Caps = []fatigue.Cap{{Per: "1s", Max: 1}}
	for i := range 3 {
		c := content(fmt.Sprint(i))
		c.Category, c.Policy = policy.Category, policy
		w.do(store.Push{Content: c, To: recipients("ann"), Now: time.Now().Add(-10*time.Minute + time.Duration(i)*time.Hour/3600).UnixMilli(), Keep: 100})
	}
	d.expect("msg", 1, 2)
	seen := map[uint64]bool{}
	for len(seen) < 3 {
		for seq := range seen {
			d.ack(seq)
		}
		d.ack(2)
		for f, ok := d.maybe(3 * time.Second); ok; f, ok = d.maybe(300 * time.Millisecond) {
			if seen[f.Seq] {
				t.Errorf("%d came twice", f.Seq)
			}
			seen[f.Seq] = true
			if _, err := w.Ack(t.Context(), push.Ack{User: "ann", Conn: &d.Conn, Messages: []string{f.ID}}); err != nil {
				t.Error(err)
			}
		}
	}
	w.idle()
}

func TestAMessageToEverybodyComesToThoseWhoWereHeardOf(t *testing.T) {
	w := start(t, options{})
	a := w.connect("ann") // is heard of by coming
	w.send("1", "bob")    // by being pushed to
	w.idle()
	b, err := w.Broadcast(t.Context(), push.Message{Content: store.Content{Data: []byte(`"all"`)}})
	if err != nil || b.Audience != 2 {
		t.Fatalf("%+v, %v", b, err)
	}
	if f := a.expect("msg", 1)[0]; f.ID != b.ID || string(f.Data) != `"all"` {
		t.Errorf("got %+v", f)
	}
	w.connect("bob").expect("msg", 1, 2)
	late := w.connect("cid")
	w.until("the late one is looked at", func() bool { return w.Metrics().Behind.Load() == 0 })
	late.nothing()
	w.send("2", "cid")
	late.expect("msg", 1)
	// A campaign puts it into the store itself, and says so.
	w.do(store.Broadcast{Content: content("3"), Now: time.Now().UnixMilli()})
	w.Broadcasted()
	a.expect("msg", 2)
	late.expect("msg", 2)
	a.nothing()
}

func TestManyWhoAreHereGetAMessageToEverybody(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	var devices []*device
	for i := range 600 {
		devices = append(devices, w.connect(fmt.Sprint("user", i)))
	}
	w.idle()
	if _, err := w.Broadcast(t.Context(), push.Message{Content: store.Content{Data: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	w.send("2", "user599") // is not overtaken by it, whichever was first in the inbox
	for _, d := range devices[:599] {
		d.expect("msg", 1)
	}
	devices[599].expect("msg", 1, 2)
}

func TestWhatHasExpiredDoesNotComeAgain(t *testing.T) {
	t.Parallel()
	w := start(t, options{settings: push.Settings{AckTimeout: 300 * time.Millisecond, AckRetries: 100}})
	d := w.connect("ann")
	w.idle()
	w.push(push.Message{Content: store.Content{Data: []byte("1"), Expires: time.Now().Add(700 * time.Millisecond).UnixMilli()}}, "ann")
	d.expect("msg", 1)
	w.idle() // it is not sent for ever
	w.until("it is ended", func() bool { return w.Metrics().Expired.Load() == 1 })
	if diff := cmp.Diff([]string{"expired"}, w.states("ann")); diff != "" {
		t.Error(diff)
	}
	if done := d.ack(1); done.Count != 0 {
		t.Errorf("what has expired is acknowledged: %+v", done)
	}
}

func TestAStoreThatFailsForAWhile(t *testing.T) {
	t.Parallel()
	w := start(t, options{})
	w.send("1", "ann")
	here := w.connect("bob")
	w.idleBut(0)
	w.store.down.Store(true)
	d := w.connect("ann")
	w.until("it fails", func() bool { return w.Metrics().Failures.Load() > 0 })
	for _, err := range []error{
		func() error { _, err := w.Push(t.Context(), push.Message{}, recipients("ann")); return err }(),
		func() error {
			_, err := w.Ack(t.Context(), push.Ack{User: "bob", Conn: &here.Conn, Seq: 1})
			return err
		}(),
		func() error { _, _, err := w.Read(t.Context(), "bob", "", 1, nil); return err }(),
		func() error { _, err := w.Mute(t.Context(), "bob", "promo", true); return err }(),
		func() error { _, err := w.Recall(t.Context(), strings.Repeat("0", 26)); return err }(),
	} {
		if e := fault.Of(err); e == nil || e.Code != fault.Unavailable || e.RetryAfter == 0 {
			t.Errorf("got %v, want unavailable", err)
		}
	}
	w.store.down.Store(false)
	d.expect("msg", 1)
	d.ack(1)
	w.idle()
}

func TestAcknowledgementsThatTheStoreRefusedCanBeRepeated(t *testing.T) {
	w := start(t, options{})
	d := w.connect("ann")
	w.idle()
	w.send("1", "ann")
	d.expect("msg", 1)
	w.store.down.Store(true)
	if _, err := w.Ack(t.Context(), push.Ack{User: "ann", Conn: &d.Conn, Seq: 1}); fault.Of(err) == nil {
		t.Error("it was acknowledged by nobody")
	}
	w.store.down.Store(false)
	if done := d.ack(1); done.Count != 1 {
		t.Errorf("acked %+v", done)
	}
}

func TestARestartLosesNothing(t *testing.T) {
	dir := t.TempDir()
	w := start(t, options{dir: dir})
	d := w.connect("ann")
	w.idle()
	w.sendMany("ann", 1, 3)
	d.expect("msg", 1, 2, 3)
	d.ack(1)
	w.stop()
	w = start(t, options{dir: dir})
	if diff := cmp.Diff([]string{"delivered", "sent", "sent"}, w.states("ann")); diff != "" {
		t.Error(diff) // what was sent is noted at the end, too
	}
	d = w.connect("ann")
	d.expect("msg", 2, 3)
	d.nothing()
}

func TestWhatNobodyAcknowledgesIsEscalated(t *testing.T) {
	t.Parallel()
	var told sync.Map
	var calls, now, most atomic.Int64
	bad := "bob"
	w := start(t, options{Config: push.Config{Escalate: func(_ context.Context, e store.Escalation) error {
		calls.Add(1)
		defer now.Add(-1)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		if e.User == bad {
			return errors.New("the backend is away")
		}
		if _, twice := told.LoadOrStore(e.User, e.Item.ID); twice {
			t.Errorf("%s is told of twice", e.User)
		}
		return nil
	}}})
	d := w.connect("ann")
	w.idle()
	users := []string{"ann", bad}
	for i := range 30 {
		users = append(users, fmt.Sprint("user", i))
	}
	w.push(push.Message{Content: store.Content{Data: []byte("1"), Escalate: 500}}, users...)
	d.expect("msg", 1)
	d.ack(1)
	w.until("it is told of", func() bool { return w.Metrics().Escalated.Load() == 30 && w.Metrics().EscalateFailures.Load() == 1 })
	if _, ok := told.Load("ann"); ok {
		t.Error("what was acknowledged is told of")
	}
	if most.Load() > 8 {
		t.Errorf("%d calls at once", most.Load())
	}
	// What failed is due again, later.
	due := func(in time.Duration) int {
		list, err := w.store.DueEscalations(t.Context(), time.Now().Add(in).UnixMilli(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	w.until("it is noted", func() bool { return due(0) == 0 })
	if due(9*time.Second) != 0 || due(11*time.Second) != 1 {
		t.Error("what failed is not due after 10 seconds")
	}
	if got := w.states(bad); got[0] != "queued" {
		t.Errorf("its record is %v", got)
	}
}

func TestTheWaitAfterAFailedEscalationDoubles(t *testing.T) {
	since := time.Duration(0)
	var waits []string
	for range 9 {
		wait := push.EscalateAfter(since)
		waits = append(waits, wait.String())
		since += wait
	}
	if got, want := strings.Join(waits, " "), "10s 20s 40s 1m20s 2m40s 5m20s 10m0s 10m0s 10m0s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSettings(t *testing.T) {
	const hour = time.Hour
	for _, tt := range []struct{ given, want push.Settings }{
		{push.Settings{}, push.Settings{Keep: 1000, Age: 720 * hour, Records: 2160 * hour, AckTimeout: 30 * time.Second, AckRetries: 3, Window: 100}},
		{
			push.Settings{Zone: "Asia/Shanghai", Keep: -1, Age: -1, Records: -1, AckTimeout: time.Second, AckRetries: -1, Window: 5000},
			push.Settings{Zone: "Asia/Shanghai", Age: -1, Records: -1, AckTimeout: time.Second, Window: 1000},
		},
	} {
		if diff := cmp.Diff(tt.want, tt.given.InForce()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTwoProcessesOnOneStore(t *testing.T) {
	t.Parallel()
	one := start(t, options{shared: true})
	two := start(t, options{shared: true, kept: one.store.Store})
	a, b := one.connect("ann"), two.connect("ann")
	c := two.connect("cid")
	for _, w := range []*world{one, two} {
		w.idle()
	}
	one.send("1", "ann", "cid") // the second process is not told
	a.expect("msg", 1)
	b.expect("msg", 1)
	c.expect("msg", 1)
	// An acknowledgement on the one ends it on the other, when that would send again.
	a.ack(1)
	c.ack(1)
	two.send("2", "ann")
	a.expect("msg", 2)
	b.expect("msg", 2)
	if _, err := two.Broadcast(t.Context(), push.Message{Content: store.Content{Data: []byte("3")}}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*device{a, b} {
		d.expect("msg", 3)
	}
	c.expect("msg", 2)
}

func TestManyWhoComeAtOnceDoNotKeepOthersWaiting(t *testing.T) {
	w := start(t, options{})
	const crowd = 800
	var users []string
	for i := range crowd {
		users = append(users, fmt.Sprint("user", i))
	}
	for i := range 3 {
		w.send(fmt.Sprint(i), users...)
	}
	here := w.connect("ann")
	w.idle()
	devices := make([]*device, crowd)
	var work sync.WaitGroup
	for part := range 4 {
		work.Go(func() {
			for i := part; i < crowd; i += 4 {
				devices[i] = w.connect(users[i])
			}
		})
	}
	var slowest time.Duration
	for i := range 20 {
		at := time.Now()
		w.send(fmt.Sprint(i), "ann")
		here.expect("msg", uint64(i+1))
		slowest = max(slowest, time.Since(at))
	}
	work.Wait()
	for _, d := range devices {
		d.expect("msg", 1, 2, 3)
	}
	if slowest > 5*time.Second {
		t.Errorf("a push took %s", slowest)
	}
}

func TestAStormOfAcknowledgements(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 50}})
	const crowd, each = 60, 40
	var users []string
	for i := range crowd {
		users = append(users, fmt.Sprint("user", i))
	}
	var devices []*device
	for _, user := range users {
		devices = append(devices, w.connect(user))
	}
	w.idle()
	for i := range each {
		w.send(fmt.Sprint(i), users...)
	}
	var work sync.WaitGroup
	var acked atomic.Int64
	for _, d := range devices {
		work.Go(func() {
			for _, f := range d.expect("msg", upTo(each)...) {
				done, err := w.Ack(context.Background(), push.Ack{User: d.User(), Conn: &d.Conn, Messages: []string{f.ID}})
				if err != nil || len(done.Unknown) > 0 {
					t.Errorf("%+v, %v", done, err)
				}
				acked.Add(int64(done.Count))
			}
		})
	}
	work.Wait()
	if acked.Load() != crowd*each {
		t.Errorf("%d were acknowledged", acked.Load())
	}
	w.idle()
}

func TestADeletedUserBeginsAnew(t *testing.T) {
	w := start(t, options{settings: push.Settings{AckTimeout: 200 * time.Millisecond, AckRetries: 1000}})
	d := w.connect("ann")
	w.idle()
	w.sendMany("ann", 1, 3)
	d.expect("msg", 1, 2, 3)
	w.do(store.DeleteUsers{Users: []string{"ann"}, Time: time.Now().UnixMilli()})
	w.send("4", "ann")
	for f := d.next(); string(f.Data) != "4"; f = d.next() {
		if f.Seq == 0 {
			t.Fatalf("got %+v", f)
		}
	}
	if done := d.ack(1); done.Count != 1 {
		t.Errorf("acked %+v", done)
	}
	w.idle()
	w.send("5", "ann")
	if f := d.expect("msg", 2)[0]; string(f.Data) != "5" {
		t.Errorf("got %+v", f)
	}
}

func TestWhatEndsElsewhereMakesRoom(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 1, AckTimeout: 200 * time.Millisecond, AckRetries: 1000}})
	d := w.connect("ann")
	w.idle()
	w.sendMany("ann", 1, 2)
	d.expect("msg", 1)
	// As another process would do it: nobody tells the engine.
	w.do(store.Settle{Settlements: []store.Settlement{{User: "ann", Seq: 1, State: store.Delivered, Time: time.Now().UnixMilli()}}, Now: time.Now().UnixMilli()})
	for f := d.next(); f.Seq != 2; f = d.next() {
		if f.Seq != 1 {
			t.Fatalf("got %+v", f)
		}
	}
}

func TestWhatReplacesAnotherTakesItsPlaceInTheQueue(t *testing.T) {
	w := start(t, options{settings: push.Settings{Window: 1}})
	d := w.connect("ann")
	w.idle()
	w.send("1", "ann")
	d.expect("msg", 1)
	for i := range 5 { // they wait behind the window
		w.push(push.Message{Content: store.Content{Data: fmt.Append(nil, i), Collapse: "score"}}, "ann")
	}
	d.ack(1)
	d.expect("msg", 6)
	d.ack(6)
	w.idle()
	d.nothing()
	if diff := cmp.Diff([]string{"delivered", "recalled", "recalled", "recalled", "recalled", "delivered"}, w.states("ann")); diff != "" {
		t.Error(diff)
	}
}

func TestCloseDuringEverything(t *testing.T) {
	w := start(t, options{Config: push.Config{Escalate: func(context.Context, store.Escalation) error { return nil }}, settings: push.Settings{AckTimeout: 50 * time.Millisecond, Window: 3}})
	var work sync.WaitGroup
	var over atomic.Bool
	allowed := func(err error) {
		if e := fault.Of(err); e != nil && e.Code != fault.Unavailable {
			t.Error(err)
		}
	}
	for i := range 4 {
		user := fmt.Sprint("user", i)
		work.Go(func() {
			for !over.Load() {
				_, err := w.Push(context.Background(), push.Message{Content: store.Content{Data: []byte("1"), Escalate: 1}}, recipients(user))
				allowed(err)
			}
		})
		work.Go(func() {
			for !over.Load() {
				d := w.connect(user)
				d.maybe(20 * time.Millisecond)
				_, err := w.Ack(context.Background(), push.Ack{User: user, Conn: &d.Conn, Seq: 1 << 40})
				allowed(err)
				d.Conn.Drained()
				d.leave()
				runtime.Gosched()
			}
		})
	}
	w.until("something was sent again", func() bool { return w.Metrics().Sent.Load() > 50 })
	w.Close()
	over.Store(true)
	work.Wait()
}

func TestBeforeStartAndWithoutAStore(t *testing.T) {
	p := push.New(push.Config{})
	p.Pushed([]store.Pushed{{Rows: []store.Row{{User: "ann", State: store.Queued}}}})
	_, err := p.Push(t.Context(), push.Message{}, recipients("ann"))
	if e := fault.Of(err); e == nil || e.Code != fault.Unavailable || !strings.Contains(e.Message, "data or database") {
		t.Errorf("got %v", err)
	}
	p.Close()
}
