package hub_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
)

// room gives a hub whose namespace room has the rules given, and a watcher of the
// channel room:1. The hub is closed with the test.
func room(t *testing.T, rules hub.Space) (w *world, watcher *peer) {
	t.Helper()
	w = start(t, hub.Config{Shards: 2})
	t.Cleanup(w.Close)
	rules.Name, rules.Kind, rules.Presence = "room", hub.KindEvent, hub.PresenceMembers
	w.SetSpaces([]*hub.Space{&rules})
	watcher = w.connect("watcher", 0)
	w.watch(watcher, "room:1")
	return w, watcher
}

func (w *world) watch(p *peer, channel string) {
	w.t.Helper()
	if _, err := w.Subscribe(&p.Conn, channel, space, hub.SubOptions{Presence: true}); err != nil {
		w.t.Fatal(err)
	}
}

// join connects users and subscribes them.
func (w *world) join(users ...string) (list []*peer) {
	w.t.Helper()
	for _, user := range users {
		p := w.connect(user, 0)
		w.subscribe(p, "room:1")
		list = append(list, p)
	}
	return list
}

func crowd(n int) (users []string) {
	for i := range n {
		users = append(users, fmt.Sprintf("u%04d", i))
	}
	return users
}

// seen gives in short what a watcher saw since the last call.
func (p *peer) seen(t testing.TB) (list []string) {
	t.Helper()
	synctest.Wait()
	for _, line := range p.out.take() {
		var f struct {
			Type, User         string
			Connections, Users int
			Large              bool
			Data               json.RawMessage
			Time               int64
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Time == 0 {
			t.Fatalf("%s: %v", line, err)
		}
		s := f.Type + " " + f.User + string(f.Data)
		if f.Type == "presence" {
			s = fmt.Sprintf("%d/%d", f.Connections, f.Users)
			if f.Large {
				s += " large"
			}
		}
		list = append(list, s)
	}
	return list
}

func (p *peer) expect(t testing.TB, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.seen(t)); diff != "" {
		t.Errorf("what the watcher saw (-want +got):\n%s", diff)
	}
}

func TestALargeChannelShowsItsCountsOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{PresenceMax: 10})
		some := w.join("a", "a", "")
		watcher.expect(t, "join a", "join a", "join ")
		more := w.join(crowd(6)...)
		if got := watcher.seen(t); len(got) != 6 || w.Shown(w.Channel("room:1")).Large {
			t.Errorf("at the limit it shows %q", got)
		}
		more = append(more, w.join("v1")...)
		watcher.expect(t, "11/9 large")
		more = append(more, w.join(crowd(40)...)...)
		watcher.expect(t)
		time.Sleep(999 * time.Millisecond)
		watcher.expect(t)
		time.Sleep(time.Millisecond)
		watcher.expect(t, "51/43 large")
		w.SetPresence(&more[0].Conn, w.Channel("room:1"), []byte("1"))
		time.Sleep(5 * time.Second)
		watcher.expect(t)
		w.Unsubscribe(&more[0].Conn, "room:1")
		watcher.expect(t, "50/43 large")
		w.subscribe(more[0], "room:1")
		w.Unsubscribe(&more[0].Conn, "room:1")
		time.Sleep(time.Second)
		watcher.expect(t) // nothing has changed after all

		shown := w.Shown(w.Channel("room:1"))
		if diff := cmp.Diff(hub.Shown{Connections: 50, Users: 43, Large: true}, shown); diff != "" {
			t.Error(diff)
		}
		for _, p := range more[1:] {
			w.Remove(&p.Conn)
		}
		w.subscribe(more[0], "room:1")
		watcher.expect(t, "49/43 large")
		time.Sleep(time.Second)
		watcher.expect(t, "5/3")
		w.Remove(&some[0].Conn)
		w.join("b")
		watcher.expect(t, "leave a", "join b")
		if shown := w.Shown(w.Channel("room:1")); shown.Large || len(shown.Members) != 5 {
			t.Errorf("a small channel shows %+v", shown)
		}
	})
}

func TestAChannelNearItsLimitDoesNotGoToAndFro(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{PresenceMax: 20})
		list := w.join(crowd(20)...)
		if got := watcher.seen(t); len(got) != 20 || got[19] != "21/21 large" {
			t.Fatalf("got %q", got)
		}
		for range 3 {
			time.Sleep(time.Minute)
			w.Unsubscribe(&list[0].Conn, "room:1")
			watcher.expect(t, "20/20 large")
			w.Unsubscribe(&list[1].Conn, "room:1")
			time.Sleep(time.Second)
			watcher.expect(t, "19/19 large")
			w.subscribe(list[0], "room:1")
			w.subscribe(list[1], "room:1")
			time.Sleep(time.Second)
			watcher.expect(t, "21/21 large")
		}
		time.Sleep(time.Minute)
		for _, p := range list[:3] {
			w.Unsubscribe(&p.Conn, "room:1")
		}
		time.Sleep(time.Second)
		watcher.expect(t, "20/20 large", "18/18")
	})
}

func TestALargeChannelThatNobodyWatchedBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{PresenceMax: 2})
		w.join("a", "b", "c")
		watcher.expect(t, "join a", "3/3 large")
		w.Unsubscribe(&watcher.Conn, "room:1")
		time.Sleep(time.Minute)
		if shown := w.Shown(w.Channel("room:1")); !shown.Large || shown.Connections != 3 {
			t.Errorf("without watchers it shows %+v", shown)
		}
		watcher.expect(t)
		w.Remove(w.Channel("room:1").Conns()[0])
		w.Remove(w.Channel("room:1").Conns()[0])
		if shown := w.Shown(w.Channel("room:1")); shown.Large {
			t.Errorf("without watchers a small one shows %+v", shown)
		}
		w.watch(watcher, "room:1")
		watcher.expect(t)
		w.join("d")
		watcher.expect(t, "3/3 large")
	})
}

func TestTheLimitIsThatOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{PresenceMax: 2})
		w.join("a", "b")
		watcher.expect(t, "join a", "3/3 large")
		w.SetSpaces([]*hub.Space{{Name: "room", Kind: hub.KindEvent, Presence: hub.PresenceMembers}})
		w.join("c")
		time.Sleep(time.Second)
		watcher.expect(t, "4/4")
		w.join("d")
		watcher.expect(t, "join d")
		w.SetSpaces([]*hub.Space{{Name: "room", Kind: hub.KindEvent, Presence: hub.PresenceMembers, PresenceGrace: time.Minute}})
		w.Remove(w.UserConns("d")[0])
		w.SetSpaces([]*hub.Space{{Name: "room", Kind: hub.KindEvent, Presence: hub.PresenceCounts}})
		w.join("e")
		time.Sleep(2 * time.Minute)
		watcher.expect(t)
		if n := w.Metrics().Held.Load(); n != 0 {
			t.Errorf("%d leaves are held back for nobody", n)
		}
	})
}

func TestALeaveIsHeldBackForTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{PresenceGrace: 3 * time.Second})
		began := time.Now()
		list := w.join("a", "b", "")
		w.SetPresence(&list[0].Conn, w.Channel("room:1"), []byte(`"here"`))
		watcher.expect(t, "join a", "join b", "join ", `join a"here"`)
		for _, p := range list {
			w.Remove(&p.Conn)
		}
		watcher.expect(t, "leave ")
		want := hub.Shown{Connections: 3, Users: 3, Members: []hub.Member{{"a", 1, []byte(`"here"`)}, {"b", 1, nil}, {"watcher", 1, nil}}}
		if diff := cmp.Diff(want, w.Shown(w.Channel("room:1"))); diff != "" {
			t.Errorf("those who may be back are not shown: %s", diff)
		}
		if connections, users := w.Channel("room:1").Counts(); connections != 1 || users != 1 {
			t.Errorf("%d connections of %d users are there", connections, users)
		}
		time.Sleep(2 * time.Second)
		back := w.join("a")[0]
		watcher.expect(t)
		if got := w.Shown(w.Channel("room:1")); string(got.Members[0].Data) != `"here"` {
			t.Errorf("who is back shows something else: %+v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		lines := watcher.out.take()
		left := fmt.Sprintf(`{"type":"leave","channel":"room:1","user":"b","connection":%q,"time":%d}`, list[1].ID.String(), began.UnixMilli())
		if diff := cmp.Diff([]string{left}, lines); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Minute)
		w.Unsubscribe(&back.Conn, "room:1")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		lines = watcher.out.take()
		if len(lines) != 1 || !strings.Contains(lines[0], list[0].ID.String()) {
			t.Errorf("it did not leave under the id that watchers know: %q", lines)
		}
		if m := w.Metrics(); m.Held.Load() != 0 || m.Returned.Load() != 1 {
			t.Errorf("%d held back, %d returned", m.Held.Load(), m.Returned.Load())
		}
	})
}

func TestWhoChangesItsUserIsNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{PresenceGrace: 3 * time.Second})
		p := w.join("a")[0]
		p.Bind(auth.Identity{User: "b"})
		watcher.expect(t, "join a", "leave a", "join b")
		w.Remove(&p.Conn)
		q := w.join("a")[0]
		q.Bind(auth.Identity{User: "b"}) // takes the place of the one that left
		w.SetPresence(&q.Conn, w.Channel("room:1"), []byte("1"))
		w.Remove(&w.join("c")[0].Conn)
		watcher.expect(t, "join a", "leave a", "join b1", "join c")
		r := w.connect("c", 0)
		w.subscribe(r, "room:2")
		time.Sleep(3 * time.Second)
		watcher.expect(t, "leave c")
	})
}

func TestAPlaceHasItsNameAsLongAsWatchersKnowIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{PresenceGrace: 3 * time.Second, PresenceMax: 4})
		// told gives the word and the connection of the only frame since the last call.
		told := func() (word, connection string) {
			t.Helper()
			synctest.Wait()
			lines := watcher.out.take()
			var f struct{ Type, Connection string }
			if len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &f) != nil {
				t.Fatalf("got %q, want one frame", lines)
			}
			return f.Type, f.Connection
		}
		expect := func(word string, p *peer) {
			t.Helper()
			if got, connection := told(); got != word || connection != p.ID.String() {
				t.Errorf("got %s of %s, want %s of %s", got, connection, word, p.ID.String())
			}
		}
		a := w.join("ann")[0]
		expect("join", a)
		w.Unsubscribe(&a.Conn, "room:1")
		time.Sleep(3 * time.Second)
		expect("leave", a)
		w.subscribe(a, "room:1")
		expect("join", a)
		w.Unsubscribe(&a.Conn, "room:1")
		b := w.join("ann")[0]
		watcher.expect(t) // it has the place of a now
		w.subscribe(a, "room:1")
		if word, connection := told(); word != "join" || connection == a.ID.String() || connection == b.ID.String() {
			t.Errorf("two are there under one name: %s of %s", word, connection)
		}
		w.Unsubscribe(&a.Conn, "room:1")
		for _, p := range w.join("x", "y", "z") {
			w.Remove(&p.Conn)
		}
		time.Sleep(time.Minute)
		if got := watcher.seen(t); got[len(got)-1] != "2/2" {
			t.Fatalf("got %q, want a channel that was large and is small", got)
		}
		w.subscribe(a, "room:1")
		expect("join", a)
		b.Bind(auth.Identity{})
		synctest.Wait()
		if lines := watcher.out.take(); len(lines) != 2 || !strings.Contains(lines[0], b.ID.String()) {
			t.Errorf("its name is one of the time before: %q", lines)
		}
	})
}

// What watchers keep by the ids in join and leave is what is there, whoever
// comes and goes and comes back within the grace time or after it.
func TestWatchersWhoFollowJoinAndLeaveKnowWhoIsThere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failure any // rapid stops a run by a panic, which has to get out of the bubble
		synctest.Test(t, func(t *testing.T) {
			defer func() { failure = recover() }()
			users := []string{"", "ann", "ann", "bob"}
			grace := rapid.SampledFrom([]time.Duration{0, 3 * time.Second}).Draw(rt, "grace")
			limit := rapid.SampledFrom([]int{4, 100}).Draw(rt, "limit")
			w := start(t, hub.Config{Shards: 2})
			defer w.Close()
			w.SetSpaces([]*hub.Space{{Name: "room", Kind: hub.KindEvent, Presence: hub.PresenceMembers, PresenceGrace: grace, PresenceMax: limit}})
			watcher := w.connect("watcher", 0)
			w.watch(watcher, "room:1")
			var alive []*peer
			known := map[string]string{}
			exact := true // false once the channel has been large: ids are not known any more
			follow := func() {
				synctest.Wait()
				for _, line := range watcher.out.take() {
					var f struct{ Type, User, Connection string }
					if err := json.Unmarshal([]byte(line), &f); err != nil {
						rt.Fatal(err)
					}
					old, there := known[f.Connection]
					switch f.Type {
					case "join":
						if there && old != f.User && exact {
							rt.Fatalf("%s is there as %q: %s", f.Connection, old, line)
						}
						known[f.Connection] = f.User
					case "leave":
						if (!there || old != f.User) && exact {
							rt.Fatalf("who is not there leaves: %s", line)
						}
						delete(known, f.Connection)
					default:
						exact = false
					}
				}
			}
			for range rapid.IntRange(1, 40).Draw(rt, "steps") {
				if len(alive) == 0 || rapid.IntRange(0, 5).Draw(rt, "new") == 0 {
					alive = append(alive, w.connect(rapid.SampledFrom(users).Draw(rt, "user"), 0))
				}
				p := rapid.SampledFrom(alive).Draw(rt, "connection")
				switch rapid.SampledFrom([]string{"sub", "sub", "unsub", "unsub", "bind", "remove", "wait", "data"}).Draw(rt, "step") {
				case "sub":
					w.subscribe(p, "room:1")
				case "unsub":
					w.Unsubscribe(&p.Conn, "room:1")
				case "bind":
					p.Bind(auth.Identity{User: rapid.SampledFrom(users).Draw(rt, "user")})
				case "remove":
					w.Remove(&p.Conn)
					alive = slices.DeleteFunc(alive, func(x *peer) bool { return x == p })
				case "data":
					w.SetPresence(&p.Conn, w.Channel("room:1"), []byte("1"))
				case "wait":
					time.Sleep(time.Duration(rapid.IntRange(1, 2000).Draw(rt, "ms")) * time.Millisecond)
				}
				follow()
			}
			time.Sleep(time.Minute)
			follow()
			ch := w.Channel("room:1")
			var got []string
			for _, user := range known {
				got = append(got, user)
			}
			var want []string
			for _, c := range ch.Conns() {
				if c != &watcher.Conn {
					want = append(want, c.User())
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" && exact {
				rt.Fatalf("who is there, and who the watcher thinks is (-want +got):\n%s", diff)
			}
			if shown := w.Shown(ch); shown.Connections != len(want)+1 || w.Metrics().Held.Load() != 0 {
				rt.Fatalf("%d are shown, %d are there; %d are held back", shown.Connections, len(want)+1, w.Metrics().Held.Load())
			}
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// counter is a transport that counts how often it is handed something.
type counter struct {
	blackHole
	calls, frames atomic.Int64
	gate          chan struct{} // not nil: the first call waits for it
	once          sync.Once
	entered       chan struct{}
}

func (c *counter) Send(bufs []link.Buf, _ link.Subscriber) {
	if c.gate != nil {
		c.once.Do(func() {
			close(c.entered)
			<-c.gate
		})
	}
	c.calls.Add(1)
	for _, b := range bufs {
		c.frames.Add(int64(b.N))
	}
}

func TestABurstOfJoinsIsFewWrites(t *testing.T) {
	const watchers, burst = 50, 1000
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	rules := *space
	rules.PresenceMax = 2000
	w.SetSpaces([]*hub.Space{&rules})
	outs := make([]*counter, watchers)
	for i := range outs {
		outs[i] = &counter{}
		p := newPeer()
		w.Add(&p.Conn, outs[i], w.Encoding(0), p, auth.Identity{}, 1)
		w.watch(p, "room:1")
	}
	w.flush()
	for _, o := range outs {
		o.calls.Store(0)
		o.frames.Store(0)
	}
	// The first write of the burst lasts until the others have joined, as a write to
	// many sockets does.
	outs[0].gate, outs[0].entered = make(chan struct{}), make(chan struct{})
	outs[0].once = sync.Once{}
	w.join("first")
	<-outs[0].entered
	w.join(crowd(burst)...)
	close(outs[0].gate)
	w.flush()
	for i, o := range outs {
		if calls, frames := o.calls.Load(), o.frames.Load(); calls > 3 || frames != burst+1 {
			t.Errorf("watcher %d was written to %d times with %d frames", i, calls, frames)
		}
	}
}

func TestACrowdCostsWatchersFewWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := room(t, hub.Space{PresenceMax: 100})
		out := &counter{}
		p := newPeer()
		w.Add(&p.Conn, out, w.Encoding(0), p, auth.Identity{}, 1)
		w.watch(p, "room:1")
		for _, user := range crowd(5000) {
			w.join(user)
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		// 98 joins, and the counts for five seconds.
		if calls := out.calls.Load(); calls > 98+7 {
			t.Errorf("5,000 joins are %d writes to a watcher", calls)
		}
	})
}

func TestWhatTheServerSubscribesLeavesTheClientsWatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, watcher := room(t, hub.Space{})
		for _, by := range []hub.Reason{hub.Ordered, hub.Membership} {
			if _, err := w.Subscribe(&watcher.Conn, "room:1", space, hub.SubOptions{By: by}); err != nil {
				t.Fatal(err)
			}
		}
		w.join("a")
		watcher.expect(t, "join a")
		w.subscribe(watcher, "room:1") // the client asks for it without
		w.join("b")
		watcher.expect(t)
	})
}

func TestNobodyJoinsAfterItHasLeft(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	watcher := w.connect("watcher", 0)
	w.watch(watcher, "room:1")
	for range 300 {
		p := w.join("ann")[0]
		ch := w.Channel("room:1")
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				for w.SetPresence(&p.Conn, ch, []byte("1")) {
				}
			})
		}
		wait.Go(func() { w.Remove(&p.Conn) })
		wait.Wait()
	}
	w.flush()
	there := false
	for _, line := range watcher.out.take() {
		if joins := strings.Contains(line, `"type":"join"`); joins {
			if there && !strings.Contains(line, `"data":1`) {
				t.Fatalf("joined twice: %s", line)
			}
			if !there && strings.Contains(line, `"data":1`) {
				t.Fatalf("one who has left shows data: %s", line)
			}
			there = true
		} else {
			there = false
		}
	}
	if there {
		t.Error("the last one never left")
	}
}

func TestAChannelThatHasEndedIsNotKeptForTheGraceTime(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	rules := *space
	rules.PresenceGrace = time.Hour
	w.SetSpaces([]*hub.Space{&rules})
	watcher := w.connect("watcher", 0)
	w.watch(watcher, "room:1")
	w.Remove(&w.join("ann")[0].Conn)
	channel := weak.Make(w.Channel("room:1"))
	if n := w.Metrics().Held.Load(); n != 1 {
		t.Fatalf("%d leaves are held back", n)
	}
	w.Unsubscribe(&watcher.Conn, "room:1")
	w.flush()
	runtime.GC()
	if channel.Value() != nil || w.Metrics().Held.Load() != 0 {
		t.Error("it is still in memory")
	}
}
