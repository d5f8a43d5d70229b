package hub_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
)

// notes is a tap that keeps what it sees.
type notes struct {
	mu   sync.Mutex
	list []string
	n    int
}

func (n *notes) Sent(wire []byte, count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, "out "+string(wire))
	n.n += count
}

func (n *notes) Received(text []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, "in "+string(text))
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

func TestTapsSeeWhatPassesUntilTheyAreRemoved(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	p := w.connect("ann", 0)
	var one, two notes
	p.Received([]byte("before"))
	p.AddTap(&one)
	p.AddTap(&two)
	if !p.Tapped() || p.Out() != hub.Outlet(&p.out) {
		t.Error("the connection's own outlet is not what Out gives")
	}
	p.Received([]byte("sub"))
	if _, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{Reply: func() []byte { return []byte("ok") }}); err != nil {
		t.Fatal(err)
	}
	w.publish("room:1", "message")
	w.flush()
	w.PublishTo([]*hub.Conn{&p.Conn}, []byte("to it"))
	p.RemoveTap(&two)
	p.Sent([]byte("past it"))
	p.Outlet().Close(protocol.CloseNormal, "", []byte("bye\n"))
	p.Outlet().Close(protocol.CloseNormal, "", []byte("again\n"))
	if p.SendFrame([]byte("too late"), nil) {
		t.Error("something was sent after the end")
	}
	p.RemoveTap(&one)
	if p.Tapped() || p.Outlet() != hub.Outlet(&p.out) {
		t.Error("it is still looked at")
	}
	p.Received([]byte("after"))
	both := []string{"in sub", "out ok\n", "out message\n", "out to it\n"}
	if diff := cmp.Diff(both, two.take()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(append(both, "out past it", "out bye\n"), one.take()); diff != "" {
		t.Error(diff)
	}
	if len(p.out.byes) != 2 {
		t.Errorf("%d closes arrived, want both", len(p.out.byes))
	}
	if got := p.out.take(); !slices.Equal(got, []string{"ok", "message", "to it"}) {
		t.Errorf("the connection got %q", got)
	}
}

// locked is a subscriber that is live for whoever asks under the outlet's lock: a frame that
// makes it live is being written when a message comes.
type locked struct{ out *outlet }

func (l *locked) Live() bool {
	if !l.out.mu.TryLock() {
		return true
	}
	l.out.mu.Unlock()
	return false
}

func (*locked) Dropped(uint32) {}

func TestATapSeesTheFirstMessageOfASubscription(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	p := w.connect("ann", 0)
	var n notes
	p.AddTap(&n)
	p.Outlet().Send([]link.Buf{{B: []byte("a\n"), N: 1}, {B: []byte("b\nc\n"), N: 2}}, &locked{&p.out})
	if got, seen := p.out.take(), n.take(); !slices.Equal(got, []string{"a", "b", "c"}) || !slices.Equal(seen, []string{"out a\n", "out b\nc\n"}) || n.n != 3 {
		t.Errorf("it got %q, and seen were %q, %d messages", got, seen, n.n)
	}
}

// What an outlet does not take is offered again, and seen then.
func TestATapSeesWhatWasTaken(t *testing.T) {
	w := start(t, hub.Config{Shards: 1, Behind: func(*hub.Sub) {}, Joined: func(*hub.Sub) {}})
	defer w.Close()
	p := w.connect("", 0)
	var n notes
	p.AddTap(&n)
	if _, err := w.Subscribe(&p.Conn, "log:1", &hub.Space{Name: "log", Kind: hub.KindLog}, hub.SubOptions{Log: &hub.Start{Next: 1}}); err != nil {
		t.Fatal(err)
	}
	sub := p.Subs()[0]
	pieces := []hub.Piece{{Bytes: []byte("1\n2\n"), Messages: 2, Next: 3}}
	p.out.full.Store(true)
	if got := sub.Feed(sub.Place(), pieces); got != hub.ProgressWaiting || len(n.take()) != 0 {
		t.Errorf("a full outlet gives %v", got)
	}
	p.out.full.Store(false)
	if got := sub.Feed(sub.Place(), pieces); got != hub.ProgressTaken || n.n != 2 {
		t.Errorf("%v, %d messages seen", got, n.n)
	}
}

func TestAWatchIsToldOfConnectionsAndChannels(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	var mu sync.Mutex
	var got []string
	say := func(parts ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range parts[1:] {
			parts[0] += " " + p
		}
		got = append(got, parts[0])
	}
	w.SetWatch(&hub.Watch{
		Published: func(channel string, frame []byte) { say(channel, string(frame)) },
		Bound: func(c *hub.Conn, user string, fresh bool) {
			word := "bound"
			if fresh {
				word = "fresh"
			}
			say(word, user, c.User())
		},
		Removed: func(*hub.Conn) { say("removed") },
	})
	p := w.connect("ann", 0)
	p.Bind(auth.Identity{User: "ann", Device: "tv"}) // no other user
	p.Bind(auth.Identity{User: "bob"})
	w.publish("room:1", "to nobody")
	w.subscribe(p, "room:1")
	w.publish("room:1", "to one")
	w.Deliver("log:1", hub.Frame{Seq: 1, JSON: []byte("kept")})
	w.Remove(&p.Conn)
	w.SetWatch(nil)
	w.publish("room:1", "to nobody again")
	want := []string{"fresh ann ann", "bound bob bob", "room:1 to nobody", "room:1 to one", "log:1 kept", "removed"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
