package hub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
)

func TestTheReplyComesBeforeAnyMessage(t *testing.T) {
	w := start(t, hub.Config{Shards: 2})
	defer w.Close()
	var wait sync.WaitGroup
	stop := make(chan struct{})
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := w.Publish(context.Background(), "room:1", []byte("m"), nil); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 500 {
		p := w.connect("", 0)
		for round := range 2 {
			if _, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{Reply: func() []byte { return fmt.Appendf(nil, "ok %d", round) }}); err != nil {
				t.Fatal(err)
			}
		}
		w.Remove(&p.Conn)
		if lines := p.out.take(); lines[0] != "ok 0" || !slices.Contains(lines, "ok 1") {
			t.Fatalf("got %q, want the first reply first and a second one", lines)
		}
	}
	close(stop)
	wait.Wait()
}

func TestOnlyAClientIsToldOfASubscriptionThatIsThereAlready(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	p := w.connect("", 0)
	reply := func() []byte { return []byte("told") }
	for i, want := range []struct {
		by    hub.Reason
		fresh bool
		told  int
	}{{hub.Ordered, true, 1}, {hub.Ordered, false, 0}, {hub.Membership, false, 0}, {hub.Asked, false, 1}} {
		fresh, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{By: want.by, Reply: reply})
		if err != nil || fresh != want.fresh || len(p.out.take()) != want.told {
			t.Errorf("subscription %d: fresh is %v, %v", i, fresh, err)
		}
	}
	if _, err := w.Subscribe(&p.Conn, "room:2", space, hub.SubOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Subscribe(&p.Conn, "room:2", space, hub.SubOptions{By: hub.Ordered}); err != nil || p.Subs()[1].Reasons() != hub.Asked|hub.Ordered {
		t.Errorf("what the server wanted too is not marked as its own: %v", err)
	}
	w.Unsubscribe(&p.Conn, "room:2")
	if subs := p.Subs(); len(subs) != 1 || subs[0].Reasons() != hub.Asked|hub.Ordered|hub.Membership || subs[0].Channel().Name() != "room:1" {
		t.Errorf("got %d subscriptions", len(subs))
	}
}

func TestSubscriptionsAreLimited(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	p := w.connect("u", 0)
	for i := range 3 {
		_, err := w.Subscribe(&p.Conn, fmt.Sprint("room:", i), space, hub.SubOptions{Limit: 2})
		if i < 2 && err != nil {
			t.Error(err)
		}
		if i == 2 && (err == nil || fault.Of(err).Code != fault.TooLarge || !strings.Contains(err.Error(), "limits.subscriptions")) {
			t.Errorf("over the limit: got %v", err)
		}
	}
	if _, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{Limit: 2}); err != nil {
		t.Errorf("a channel that it has already: %v", err)
	}
	if w.Channel("room:2") != nil {
		t.Error("a refused subscription leaves a channel behind")
	}
	names := p.Channels()
	slices.Sort(names)
	if diff := cmp.Diff([]string{"room:0", "room:1"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestARemovedConnectionIsForgotten(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	p := w.connect("ann", 0)
	w.subscribe(p, "room:1")
	if w.Conn(p.ID) != &p.Conn {
		t.Error("it is not found by its id")
	}
	w.Remove(&p.Conn)
	if w.Conn(p.ID) != nil || w.UserConns("ann") != nil || w.Channel("room:1") != nil || len(p.Channels()) != 0 {
		t.Error("something of it is still there")
	}
	if _, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{}); err == nil || fault.Of(err).Code != fault.NotFound {
		t.Errorf("subscribing it: got %v", err)
	}
	p.Bind(auth.Identity{User: "bob"})
	if w.UserConns("bob") != nil {
		t.Error("a connection that is gone was bound")
	}
	w.Each(func(*hub.Channel) { t.Error("a channel is left") })
}

// Each lists the channels, the sentinels' aside.
func (w *world) Each(fn func(*hub.Channel)) {
	w.EachChannel(func(ch *hub.Channel) bool { fn(ch); return true })
}

func TestWatchersSeeJoinAndLeave(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	watcher, blind := w.connect("w", 0), w.connect("b", 1)
	for p, presence := range map[*peer]bool{watcher: true, blind: false} {
		if _, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{Presence: presence}); err != nil {
			t.Fatal(err)
		}
	}
	w.flush()
	watcher.out.take()
	p := w.connect("ann", 0)
	w.subscribe(p, "room:1")
	if !w.SetPresence(&p.Conn, w.Channel("room:1"), []byte(`{"x":1}`)) {
		t.Error("presence data was refused")
	}
	p.Bind(auth.Identity{User: "bob"})
	w.publish("room:1", "between")
	w.Remove(&p.Conn)
	w.flush()
	want := []string{
		`{"type":"join","channel":"room:1","user":"ann","connection":"` + p.ID.String() + `"`,
		`{"type":"join","channel":"room:1","user":"ann","connection":"` + p.ID.String() + `","data":{"x":1}`,
		`{"type":"leave","channel":"room:1","user":"ann","connection":"` + p.ID.String() + `"`,
		`{"type":"join","channel":"room:1","user":"bob","connection":"` + p.ID.String() + `","data":{"x":1}`,
		"between",
		`{"type":"leave","channel":"room:1","user":"bob","connection":"` + p.ID.String() + `"`,
	}
	var got []string
	for _, line := range watcher.out.take() {
		head, _, _ := strings.Cut(line, `,"time":`)
		got = append(got, head)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"2:between"}, blind.out.take()); diff != "" {
		t.Errorf("one who did not ask: %s", diff)
	}
	if w.SetPresence(&p.Conn, w.Channel("room:1"), nil) {
		t.Error("one who left could set presence data")
	}
}

func TestMembersAreUsersAndAnonymousConnections(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	for _, user := range []string{"ann", "", "ann", "bob", ""} {
		p := w.connect(user, 0)
		w.subscribe(p, "room:1")
		if user != "" {
			w.SetPresence(&p.Conn, w.Channel("room:1"), []byte(`"`+user+`"`))
		}
	}
	got, _, more := w.Channel("room:1").Members(hub.MemberKey{}, 10)
	want := []hub.Member{{"ann", 2, []byte(`"ann"`)}, {"bob", 1, []byte(`"bob"`)}, {"", 1, nil}, {"", 1, nil}}
	if diff := cmp.Diff(want, got); diff != "" || more {
		t.Errorf("more is %v; %s", more, diff)
	}
	if page, _, more := w.Channel("room:1").Members(hub.MemberKey{}, 3); len(page) != 3 || !more {
		t.Errorf("a limit of 3 gives %d, more is %v", len(page), more)
	}
}

func TestDropsAreToldOnce(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	p := w.connect("", 0)
	w.subscribe(p, "room:1")
	w.subscribe(p, "room:2")
	p.Subs()[1].Dropped(3)
	p.Subs()[1].Dropped(4)
	got := map[string]uint32{}
	p.Drops(func(channel string, n uint32) { got[channel] = n })
	if diff := cmp.Diff(map[string]uint32{"room:2": 7}, got); diff != "" {
		t.Error(diff)
	}
	p.Drops(func(channel string, _ uint32) { t.Errorf("%s is told again", channel) })
}

func TestTheSessionIsAnObject(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	p := w.connect("", 0)
	if s := string(p.Session()); s != "{}" {
		t.Errorf("a fresh one is %s", s)
	}
	if _, err := p.UpdateSession(func([]byte) ([]byte, error) { return nil, errors.New("no") }); err == nil || string(p.Session()) != "{}" {
		t.Errorf("after an error: %v, %s", err, p.Session())
	}
	next, err := p.UpdateSession(func(old []byte) ([]byte, error) { return []byte(`{"a":` + string(old) + `}`), nil })
	if err != nil || string(next) != `{"a":{}}` || string(p.Session()) != string(next) {
		t.Errorf("got %s, %v", next, err)
	}
}

func TestASenderIsTheConnection(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	p := w.connect("", 0)
	p.Bind(auth.Identity{User: "ann", Device: "phone"})
	p.Bind(auth.Identity{User: "ann", Device: "tablet"})
	want := protocol.Sender{User: "ann", Device: "tablet", Connection: p.ID.String()}
	if got := p.Sender(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(w.UserConns("ann")) != 1 || p.Since() != 1 || p.Out() == nil {
		t.Error("it is not listed once, or its facts are lost")
	}
	if w.Conn(id.NewConnection()) != nil {
		t.Error("an id that nobody has finds somebody")
	}
}

func TestSpacesCanBeReplaced(t *testing.T) {
	w := start(t, hub.Config{})
	defer w.Close()
	w.SetSpaces([]*hub.Space{space})
	if w.Space("room") != space || w.Space("other") != nil {
		t.Error("the space is not found by its name")
	}
	w.SetSpaces(nil)
	if w.Space("room") != nil {
		t.Error("the old space is still there")
	}
}

func TestPublishersArePaced(t *testing.T) {
	w := start(t, hub.Config{Shards: 1, Patience: 50 * time.Millisecond})
	p := newPeer()
	p.out.slow = make(chan struct{})
	w.Add(&p.Conn, &p.out, w.Encoding(0), p, auth.Identity{}, 1)
	w.subscribe(p, "room:1")
	accepted := 1
	_, err := w.Publish(context.Background(), "room:1", []byte("m"), nil)
	for w.Metrics().Passes.Load() == 0 {
		runtime.Gosched() // until the worker is stuck in the pass of the first one
	}
	for err == nil {
		if accepted > 1000 {
			t.Fatal("publishers are never paced")
		}
		if _, err = w.Publish(context.Background(), "room:1", []byte("m"), nil); err == nil {
			accepted++
		}
	}
	if e := fault.Of(err); e.Code != fault.Unavailable || e.RetryAfter <= 0 {
		t.Errorf("one who waited in vain is told %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.Publish(ctx, "room:1", []byte("m"), nil); err == nil || fault.Of(err).Code != fault.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("one whose request ended is told %v", err)
	}
	if _, err := w.Publish(ctx, "room:none", []byte("m"), nil); err != nil {
		t.Errorf("a channel without subscribers: %v", err)
	}
	m := w.Metrics()
	if m.Paced.Load() != 2 || m.Refused.Load() != 2 {
		t.Errorf("metrics: %d paced, %d refused", m.Paced.Load(), m.Refused.Load())
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := w.PublishAll(context.Background(), false, []byte("all"), nil)
		waiting <- err
	}()
	close(p.out.slow)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	w.publish("room:1", "after")
	w.Close() // hands over what is pending
	lines := p.out.take()
	if n := strings.Count(strings.Join(lines, ","), "m"); n != accepted || !slices.Contains(lines, "after") {
		t.Errorf("%d of %d accepted messages arrived", n, accepted)
	}
}

func TestLargeBatchesKeepTheirOrder(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	p, q := w.connect("", 0), w.connect("", 1)
	w.subscribe(p, "room:1")
	w.subscribe(q, "room:1")
	pad := strings.Repeat("x", 10<<10)
	var want []string
	for i := range 100 {
		var except []*hub.Conn
		line := fmt.Sprint(i, pad)
		if i%3 == 0 {
			except = []*hub.Conn{&q.Conn}
		} else {
			want = append(want, "2:"+line)
		}
		w.publish("room:1", line, except...)
	}
	w.Close()
	if got := p.out.take(); len(got) != 100 || p.out.n.Load() != 100 {
		t.Errorf("%d lines in %d messages arrived", len(got), p.out.n.Load())
	}
	if !slices.Equal(q.out.take(), want) || q.out.n.Load() != int64(len(want)) {
		t.Error("one that was left out now and then got something else")
	}
}

func BenchmarkPublishToThousand(b *testing.B) {
	w := start(b, hub.Config{})
	defer w.Close()
	for range 1000 {
		p := newPeer()
		w.Add(&p.Conn, blackHole{}, w.Encoding(0), p, auth.Identity{}, 1)
		w.subscribe(p, "room:1")
	}
	frame := []byte(strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Publish(context.Background(), "room:1", frame, nil); err != nil {
			b.Fatal(err)
		}
	}
}
