package feed_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

func TestAnEditIsToldToWhoHasTheMessageAndReadByWhoComesLater(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	live := w.read(feed.From{})
	live.expect("ok 0 false")
	w.say("a", "b", "c")
	live.expect("msg 1 a", "msg 2 b", "msg 3 c")
	w.edit(2, "B")
	live.expect("edit 2 B at")
	w.edit(2, "BB")
	w.say("d")
	live.expect("edit 2 BB at", "msg 4 d")
	fromMemory := w.Metrics().FromMemory.Load()
	w.read(feed.From{Last: 9}).expect("ok 4 false", "msg 1 a", "msg 2 BB edited", "msg 3 c", "msg 4 d")
	if n := w.Metrics().FromMemory.Load() - fromMemory; n != 4 {
		t.Errorf("%d messages came from memory", n)
	}
	w.again()
	w.read(feed.From{Last: 9}).expect("ok 4 false", "msg 1 a", "msg 2 BB edited", "msg 3 c", "msg 4 d")
	page, err := w.History(t.Context(), store.Query{Channel: w.name, Limit: 2, After: 1})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range page.Messages {
		got = append(got, string(feed.AppendKept(nil, w.name, &page.Messages[i])))
	}
	if len(got) != 2 || !strings.Contains(got[0], `"data":"BB"`) || !strings.HasSuffix(got[0], `,"edited":true}`) || strings.Contains(got[1], "edited") {
		t.Errorf("got %q", got)
	}
}

func TestWhoComesBackIsToldOfWhatWasRevised(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%v", restarted), func(t *testing.T) {
			w := start(t, false)
			defer func() { w.close() }()
			w.say("a", "b", "c", "d", "e")
			w.edit(1, "A")
			w.recall(2)
			w.edit(3, "C")
			w.edit(3, "CC")
			w.edit(4, "D")
			w.recall(4)
			w.say("f")
			w.edit(6, "F")
			if restarted {
				w.again()
			}
			w.read(feed.From{Since: w.since(5)}).expect("ok 6 true", "edit 1 A", "recall 2", "edit 3 CC", "recall 4", "msg 6 F edited")
			w.read(feed.From{Since: w.since(2)}).expect("ok 6 true", "edit 1 A", "recall 2", "msg 3 CC edited", "recall 4", "msg 5 e", "msg 6 F edited")
			r := w.read(feed.From{Since: w.since(6)})
			r.expect("ok 6 true", "edit 6 F")
			r.only()
		})
	}
}

// revising has something happen to message 2 of four, which are in the store alone, while
// a reader reads them: after they were read, before they are sent.
func revising(t *testing.T, change func(w *world)) (w *world, r *reader) {
	w = start(t, false)
	w.say("a", "b", "c", "d")
	w.again()
	flush := w.flusher()
	w.store.once(func() {
		change(w)
		w.say("passed")
		flush()
	})
	r = w.read(feed.From{Since: w.since(0)})
	return w, r
}

// until reads frames up to one, which is among them, and leaves out what is told again.
func (r *reader) until(last string) (list []string) {
	r.w.t.Helper()
	for len(list) == 0 || list[len(list)-1] != last {
		if text := r.next(); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

func TestAMessageThatIsEditedWhileItIsReadIsToldAsItIs(t *testing.T) {
	w, r := revising(t, func(w *world) { w.edit(2, "B") })
	defer func() { w.close() }()
	want := []string{"ok 4 true", "msg 1 a", "msg 2 b", "msg 3 c", "msg 4 d", "edit 2 B", "msg 5 passed"}
	if diff := cmp.Diff(want, r.until("msg 5 passed")); diff != "" {
		t.Error(diff)
	}
	// What was read is not remembered as it was.
	w.read(feed.From{Last: 9}).expect("ok 5 false", "msg 1 a", "msg 2 B edited", "msg 3 c", "msg 4 d", "msg 5 passed")
}

func TestWhatCannotBeReadWhenItWasRevisedIsToldLater(t *testing.T) {
	w, r := revising(t, func(w *world) {
		w.edit(2, "B")
		w.recall(3)
		w.store.once(func() { w.store.fails.Store(true) })
	})
	defer func() { w.close() }()
	r.expect("ok 4 true", "msg 1 a", "msg 2 b", "msg 3 c", "msg 4 d")
	for w.Metrics().Failures.Load() == 0 {
		runtime.Gosched()
	}
	w.store.fails.Store(false)
	if diff := cmp.Diff([]string{"edit 2 B", "recall 3", "msg 5 passed"}, r.until("msg 5 passed")); diff != "" {
		t.Error(diff)
	}
}

func TestTheNewestOfTwoEditsIsTheLastWord(t *testing.T) {
	w, r := revising(t, func(w *world) {
		w.edit(2, "B")
		flush := w.flusher()
		w.store.once(func() { // the first one was read, and is about to be told
			w.edit(2, "BB")
			flush()
		})
	})
	defer func() { w.close() }()
	newest := false
	for _, text := range r.until("msg 5 passed") {
		newest = newest || strings.HasPrefix(text, "edit 2 BB")
		if newest && (text == "edit 2 B" || text == "edit 2 B at") {
			t.Error("the first edit was told after the second")
		}
	}
	if !newest {
		t.Error("the second edit was not told before later messages")
	}
}

// What tells all of an edit goes to the first of many readers before the last. One that
// reads for itself meanwhile must not come by later messages before it was told.
func TestAReaderIsToldOfAnEditBeforeLaterMessages(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	blocks := w.read(feed.From{})
	blocks.expect("ok 0 false")
	r := w.read(feed.From{})
	r.expect("ok 0 false")
	w.say("a", "b")
	r.expect("msg 1 a", "msg 2 b")
	blocks.expect("msg 1 a", "msg 2 b")
	r.out.fill(true)
	w.say("c")
	blocks.expect("msg 3 c")
	for w.hub.Metrics().Behind.Load() == 0 {
		runtime.Gosched()
	}
	let := blocks.out.block()
	w.edit(1, "A")
	w.say("d")
	r.out.fill(false)
	r.Drained()
	r.expect("edit 1 A", "msg 3 c", "msg 4 d")
	let()
	blocks.expect("edit 1 A at", "msg 4 d")
}

func TestAnEditDuringASubscriptionIsTold(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	w.say("a", "b")
	for i := range 50 {
		r := w.connect()
		text := fmt.Sprint("A", i)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.edit(1, text)
		}()
		r.sub(feed.From{Since: w.since(2)})
		r.expect("ok 2 true")
		<-done
		// It may be told before, as it was, and twice; the last word is what it is.
		last := ""
		for !strings.HasPrefix(last, "edit 1 "+text) {
			if last = r.next(); !strings.HasPrefix(last, "edit 1 A") {
				t.Fatalf("got %q", last)
			}
		}
		if !w.hub.Unsubscribe(&r.Conn, w.name) {
			t.Fatal("it was not subscribed")
		}
	}
}

func TestWhoHasMissedTooMuchIsNotRecovered(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	long := strings.Repeat("x", 60<<10)
	w.say("a", "b", "c", "d", "e")
	told := []string{"ok 5 true"}
	for seq := range uint64(4) {
		w.edit(seq+1, long)
		told = append(told, fmt.Sprintf("edit %d %s", seq+1, long))
	}
	w.read(feed.From{Since: w.since(5)}).expect(told...)
	w.edit(5, long)
	w.flusher()() // so that it is not under way any more
	told[0] = "ok 5 false"
	r := w.read(feed.From{Since: w.since(5)})
	r.expect(told...)
	r.only()
}

func TestManyRevisionsAreToldWhenTheyAreSmall(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	const many = 1100
	for range many {
		w.say("a")
	}
	for seq := range uint64(1000) {
		w.edit(seq+1, "b")
	}
	r := w.read(feed.From{Since: w.since(many)})
	r.expect("ok 1100 true")
	for seq := range 1000 {
		r.expect(fmt.Sprintf("edit %d b", seq+1))
	}
	for seq := range uint64(24) {
		w.edit(seq+1001, "b")
	}
	w.read(feed.From{Since: w.since(many)}).expect("ok 1100 false")
}

func TestMemoryHoldsWhatMessagesHaveBecome(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	live := w.read(feed.From{})
	live.expect("ok 0 false")
	for range 30 {
		w.say("a")
	}
	small := w.Metrics().Bytes.Load()
	long := strings.Repeat("x", 60<<10)
	w.edit(30, long)
	if grown := w.Metrics().Bytes.Load() - small; grown < 60<<10 || grown > 61<<10 {
		t.Errorf("it takes %d bytes more", grown)
	}
	w.recall(30)
	if grown := w.Metrics().Bytes.Load() - small; grown > 0 || grown < -200 {
		t.Errorf("it takes %d bytes more", grown)
	}
	for seq := range uint64(29) {
		w.edit(seq+1, long)
	}
	if n := w.Metrics().Bytes.Load(); n > 1<<20+8<<10 || n < 1<<19 {
		t.Errorf("it takes %d bytes", n)
	}
	r := w.read(feed.From{Last: 30})
	r.expect("ok 30 false")
	for seq := range 29 {
		r.expect(fmt.Sprintf("msg %d %s edited", seq+1, long))
	}
	r.expect("recall 30")
}

func TestWhatOtherProcessesReviseIsToldHere(t *testing.T) {
	w := start(t, true)
	defer func() { w.close() }()
	live := w.read(feed.From{})
	live.expect("ok 0 false")
	w.say("a", "b", "c", "d", "e")
	live.expect("msg 1 a", "msg 2 b", "msg 3 c", "msg 4 d", "msg 5 e")
	w.edit(5, "own")
	live.expect("edit 5 own at")
	w.elsewhere(func() {
		w.edit(1, "A")
		w.recall(2)
	})
	live.expect("edit 1 A", "recall 2")
	w.edit(3, "C")
	live.expect("edit 3 C at")
	w.elsewhere(func() {
		w.edit(3, "CC") // a second time, by somebody else
		w.edit(1, "A")  // to what it is: no news
	})
	live.expect("edit 3 CC")
	// Each was told once, and who comes later finds everything in memory.
	live.only()
	fromStore := w.Metrics().FromStore.Load()
	w.read(feed.From{Last: 6}).expect("ok 6 false", "msg 1 A edited", "recall 2", "msg 3 CC edited", "msg 4 d", "msg 5 own edited", "msg 6 end")
	if n := w.Metrics().FromStore.Load() - fromStore; n != 0 {
		t.Errorf("%d messages came from the store", n)
	}
}

func TestAMessageThatCameEditedIsNotToldAgain(t *testing.T) {
	w := start(t, true)
	defer func() { w.close() }()
	live := w.read(feed.From{})
	live.expect("ok 0 false")
	w.say("a")
	w.elsewhere(func() {
		w.say("b", "c")
		w.edit(2, "B")
		w.recall(3)
		w.edit(1, "A")
	})
	w.say("d")
	live.expect("msg 1 a", "msg 2 B edited", "recall 3", "msg 4 d", "edit 1 A")
	live.only()
}

func TestWhoHasGoneBeforeARevisionWasNoticedIsToldLater(t *testing.T) {
	w := start(t, true)
	defer func() { w.close() }()
	stays, goes := w.read(feed.From{}), w.read(feed.From{})
	stays.expect("ok 0 false")
	goes.expect("ok 0 false")
	w.say("a", "b")
	w.elsewhere(func() { w.edit(1, "A") })
	w.say("c")
	goes.expect("msg 1 a", "msg 2 b", "msg 3 c")
	w.hub.Remove(&goes.Conn)
	stays.expect("msg 1 a", "msg 2 b", "msg 3 c", "edit 1 A")
	w.read(feed.From{Since: w.since(3)}).expect("ok 3 true", "edit 1 A")
}

// Another process has stored messages of which nobody has told this one, which reads them
// while it revises one of them.
func TestARevisionMayComeBeforeItsMessage(t *testing.T) {
	w := start(t, true)
	defer func() { w.close() }()
	live := w.read(feed.From{})
	live.expect("ok 0 false")
	w.say("a")
	live.expect("msg 1 a")
	w.elsewhere(func() { w.say("b", "c", "d") })
	w.store.once(func() {
		w.edit(3, "C")
		w.recall(4)
	})
	w.say("e")
	knows := map[string]string{}
	for text := ""; text != "msg 5 e"; {
		text = live.next()
		kind, rest, _ := strings.Cut(text, " ")
		seq, data, _ := strings.Cut(rest, " ")
		knows[seq] = strings.TrimSuffix(strings.TrimSuffix(data, " edited"), " at")
		if kind == "recall" {
			knows[seq] = "gone"
		}
	}
	if diff := cmp.Diff(map[string]string{"2": "b", "3": "C", "4": "gone", "5": "e"}, knows); diff != "" {
		t.Error(diff)
	}
	w.read(feed.From{Last: 9}).expect("ok 5 false", "msg 1 a", "msg 2 b", "msg 3 C edited", "recall 4", "msg 5 e")
}

func TestEditingWhatIsNotThere(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	w.say("a")
	w.recall(1)
	for _, seq := range []uint64{1, 2} {
		_, err := w.Edit(t.Context(), store.EditMessage{Channel: w.name, Seq: seq, Event: "message", Data: []byte(`1`)})
		if e := fault.Of(err); e == nil || e.Code != fault.NotFound {
			t.Errorf("%d: got %v", seq, err)
		}
	}
}

func TestWhatTheStoreRefusesIsShown(t *testing.T) {
	tests := []struct {
		err  error
		code fault.Code
	}{
		{store.ErrDenied, fault.Denied}, {store.ErrTooLarge, fault.TooLarge}, {store.ErrNotFound, fault.NotFound},
		{store.ErrConflict, fault.Conflict}, {store.ErrUnavailable, fault.Unavailable}, {errors.New("broken"), fault.Internal},
	}
	for _, tt := range tests {
		if got := feed.Fault(fmt.Errorf("store: %w", tt.err)); got.Code != tt.code {
			t.Errorf("%v: got %v", tt.err, got)
		}
	}
}

func TestAStoredMessageSaysAllThatItHas(t *testing.T) {
	m := &store.Message{
		Seq: 8, ID: "01X", Time: 12, Event: "message", Data: []byte(`"hi"`), Sender: protocol.Sender{User: "ann"},
		Meta: store.Meta{Reply: 7, Mentions: []string{"bob"}}, Edited: true,
	}
	want := protocol.Msg{
		Channel: "dm:ann:bob", ID: "01X", Seq: 8, Event: "message", Data: []byte(`"hi"`), From: protocol.Sender{User: "ann"}, Time: 12,
		Reply: 7, Mentions: []string{"bob"}, Edited: true,
	}
	if diff := cmp.Diff(want, feed.MsgOf("dm:ann:bob", m)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(string(protocol.AppendMsg(nil, &want)), string(feed.FrameOf("dm:ann:bob", m))); diff != "" {
		t.Error(diff)
	}
	m.Recalled = true
	if diff := cmp.Diff(`{"id":"01X","seq":8,"recalled":true,"time":12}`, string(feed.AppendKept(nil, "dm:ann:bob", m))); diff != "" {
		t.Error(diff)
	}
}
