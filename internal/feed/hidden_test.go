package feed_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/store"
)

func TestWhatIsHiddenIsAsIfItWereGone(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%v", restarted), func(t *testing.T) {
			w := start(t, false)
			defer func() { w.close() }()
			w.say("a", "b", "c", "d", "e")
			if restarted {
				w.again()
			}
			tests := []struct {
				name string
				from feed.From
				want []string
			}{
				{"from now on", feed.From{Floor: 3}, []string{"ok 5 false"}},
				{"from now on, where everything is hidden", feed.From{Floor: 5}, []string{"ok 5 false"}},
				{"the newest ones", feed.From{Floor: 3, Last: 1}, []string{"ok 5 false", "msg 5 e"}},
				{"more of the newest ones than may be seen", feed.From{Floor: 3, Last: 4}, []string{"ok 5 false", "msg 4 d", "msg 5 e"}},
				{"all of the newest ones are hidden", feed.From{Floor: 5, Last: 4}, []string{"ok 5 false"}},
				{"since before what is hidden", feed.From{Floor: 3, Since: w.since(1)}, []string{"ok 5 false", "gap 2-3", "msg 4 d", "msg 5 e"}},
				{"since the beginning", feed.From{Floor: 5, Since: &feed.Position{}}, []string{"ok 5 false", "gap 1-5"}},
				{"since the last that is hidden", feed.From{Floor: 3, Since: w.since(3)}, []string{"ok 5 true", "msg 4 d", "msg 5 e"}},
				{"since a later one", feed.From{Floor: 3, Since: w.since(4)}, []string{"ok 5 true", "msg 5 e"}},
				{"since another epoch", feed.From{Floor: 3, Since: &feed.Position{Epoch: "other", Seq: 4}}, []string{"ok 5 false", "gap 1-3", "msg 4 d", "msg 5 e"}},
				{"since what is not there yet", feed.From{Floor: 3, Since: w.since(9)}, []string{"ok 5 false", "gap 1-3", "msg 4 d", "msg 5 e"}},
				{"beyond the end", feed.From{Floor: 9, Since: w.since(4)}, []string{"ok 5 false", "gap 5-5"}},
			}
			var readers []*reader
			for _, tt := range tests {
				t.Log(tt.name)
				r := w.read(tt.from)
				r.expect(tt.want...)
				readers = append(readers, r)
			}
			w.say("f")
			for i, r := range readers {
				t.Log(tests[i].name)
				r.expect("msg 6 f")
			}
		})
	}
}

func TestMessagesOfOtherProcessesAreHiddenBeforeTheyAreKnownHere(t *testing.T) {
	w := start(t, true)
	defer func() { w.close() }()
	live := w.read(feed.From{})
	live.expect("ok 0 false")
	w.say("a")
	live.expect("msg 1 a")
	w.elsewhere(func() { w.say("b", "c") })
	// Whose floor is 3 came after c; c itself arrives here afterwards.
	now := w.read(feed.From{Floor: 3})
	now.expect("ok 3 false")
	since := w.read(feed.From{Floor: 3, Since: w.since(1)})
	since.expect("ok 3 false", "gap 2-3")
	w.say("d")
	live.expect("msg 2 b", "msg 3 c", "msg 4 d")
	now.expect("msg 4 d")
	since.expect("msg 4 d")
}

func TestWhatIsHiddenStaysSoWhenTheChannelBeginsAnew(t *testing.T) {
	w := start(t, true)
	defer func() { w.close() }()
	w.say("a", "b", "c", "d")
	hidden := w.read(feed.From{Floor: 2})
	hidden.expect("ok 4 false")
	seeing := w.read(feed.From{})
	seeing.expect("ok 4 false")
	epoch := "another"
	w.store.epoch.Store(&epoch)
	seeing.expect("gap 1-0", "msg 1 a", "msg 2 b", "msg 3 c", "msg 4 d")
	hidden.expect("gap 1-0", "gap 1-2", "msg 3 c", "msg 4 d")
}

func TestWhatComesAfterTheNewBeginningIsNotHidden(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	w.say("a", "b", "c", "d")
	hidden := w.read(feed.From{Floor: 3})
	hidden.expect("ok 4 false")
	epoch := "another"
	w.store.epoch.Store(&epoch)
	w.Committed([]store.Commit{{Channel: w.name, Epoch: epoch, Message: &store.Message{Seq: 3, ID: strings.Repeat("N", 26), Time: time.Now().UnixMilli(), Data: []byte(`"new"`)}}})
	hidden.expect("gap 1-0", "gap 1-2", "msg 3 new")
}

func TestWithdrawingWhatIsHiddenIsNotToldAtReturn(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	w.say("a", "b", "c", "d")
	w.recall(1)
	w.recall(3)
	r := w.read(feed.From{Floor: 2, Since: w.since(4)})
	r.expect("ok 4 true", "recall 3")
	r.only()
	w.read(feed.From{Floor: 5, Since: w.since(5)}).expect("ok 5 true")
}

func TestEditingWhatIsHiddenIsNotToldAtReturn(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	w.say("a", "b", "c", "d")
	w.edit(1, "A")
	w.edit(3, "C")
	r := w.read(feed.From{Floor: 2, Since: w.since(4)})
	r.expect("ok 4 true", "edit 3 C")
	r.only()
}

func TestAnEditOfWhatIsHiddenIsToldToOthersOnly(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	sees := w.read(feed.From{})
	sees.expect("ok 0 false")
	w.say("a", "b", "c")
	sees.expect("msg 1 a", "msg 2 b", "msg 3 c")
	now, newest := w.read(feed.From{Floor: 2}), w.read(feed.From{Floor: 2, Last: 9})
	now.expect("ok 3 false")
	newest.expect("ok 3 false", "msg 3 c")
	w.edit(2, "B")
	w.edit(3, "C")
	w.recall(1) // that tells nothing that was said
	sees.expect("edit 2 B at", "edit 3 C at", "recall 1")
	now.only("edit 3 C at", "recall 1")
	newest.expect("edit 3 C at", "recall 1", "msg 4 end")
	// What is hidden is that of a subscription, not of a connection for ever.
	now.sub(feed.From{Since: w.since(4)})
	now.expect("ok 4 true")
	w.edit(2, "BB")
	now.expect("edit 2 BB at")
	newest.only()
}

func TestManyMayComeAndGoOfWhomSomethingIsHidden(t *testing.T) {
	w := start(t, false)
	defer func() { w.close() }()
	w.say("a", "b", "c")
	stays := w.read(feed.From{Floor: 2, Last: 9})
	stays.expect("ok 3 false", "msg 3 c")
	w.edit(3, "C")
	stays.expect("edit 3 C at")
	for i := range 100 {
		r := w.read(feed.From{Floor: uint64(i % 3), Last: 1})
		r.expect("ok 3 false", "msg 3 C edited")
		w.hub.Remove(&r.Conn)
	}
	if n := w.Named(w.name); n < 1 || n > 20 {
		t.Errorf("%d connections are remembered", n)
	}
	// A connection that begins anew may be shown more, and less.
	stays.sub(feed.From{Last: 9})
	stays.expect("ok 3 false", "msg 1 a", "msg 2 b", "msg 3 C edited")
	stays.sub(feed.From{Floor: 2, Last: 9})
	stays.expect("ok 3 false", "msg 3 C edited")
	if ch := w.hub.Channel(w.name); ch == nil || ch.Space() != room {
		t.Error("the channel has gone")
	}
}
