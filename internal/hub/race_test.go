package hub_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
)

// A server verb may subscribe a connection that unsubscribes, binds or ends at
// the same time.
func TestSubscribingRacesWithLeaving(t *testing.T) {
	const rounds = 3000
	tests := []struct {
		name  string
		leave func(w *world, p *peer)
	}{
		{"unsubscribe", func(w *world, p *peer) { w.Unsubscribe(&p.Conn, "room:1") }},
		{"remove", func(w *world, p *peer) { w.Remove(&p.Conn) }},
		{"bind", func(_ *world, p *peer) { p.Bind(auth.Identity{User: "other"}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := start(t, hub.Config{Shards: 1})
			defer w.Close()
			stay := w.connect("stay", 0)
			if _, err := w.Subscribe(&stay.Conn, "room:1", space, hub.SubOptions{Presence: true}); err != nil {
				t.Fatal(err)
			}
			for i := range rounds {
				p := w.connect("u", 0)
				begin := make(chan struct{})
				var wait sync.WaitGroup
				wait.Go(func() {
					<-begin
					// Not found is what a connection that has ended says.
					_, _ = w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{Presence: true})
				})
				wait.Go(func() {
					<-begin
					tt.leave(w, p)
				})
				close(begin)
				wait.Wait()
				w.Unsubscribe(&p.Conn, "room:1")
				w.publish("room:1", "m")
				if tt.name != "remove" {
					w.Remove(&p.Conn)
				}
				connections, users := w.Channel("room:1").Counts()
				if connections != 1 || users != 1 {
					t.Fatalf("round %d: the channel counts %d connections and %d users, want the one that stays", i, connections, users)
				}
				if got := w.Channel("room:1").Conns(); !slices.Equal(got, []*hub.Conn{&stay.Conn}) {
					t.Fatalf("round %d: the channel lists %d subscribers", i, len(got))
				}
			}
			w.flush()
			joined, messages := 0, 0
			for _, line := range stay.out.take() {
				switch {
				case strings.Contains(line, `"type":"join"`):
					joined++
				case strings.Contains(line, `"type":"leave"`):
					joined--
				default:
					messages++
				}
				if joined < 0 || joined > 1 {
					t.Fatalf("join and leave do not alternate: %d are there at once", joined)
				}
			}
			if joined != 0 || messages != rounds {
				t.Errorf("%d never left; %d messages of %d arrived", joined, messages, rounds)
			}
		})
	}
}

// Those who stay get everything in each publisher's order, whoever else comes
// and goes.
func TestConstantSubscribersGetEverythingInOrder(t *testing.T) {
	const publishers, each, constant, passers = 4, 1500, 6, 6
	w := start(t, hub.Config{Shards: 2})
	defer w.Close()
	var stay []*peer
	for i := range constant {
		p := w.connect(fmt.Sprintf("u%d", i), i%2)
		w.subscribe(p, "room:1")
		stay = append(stay, p)
	}
	var publishing, passing sync.WaitGroup
	var over atomic.Bool
	for i := range passers {
		passing.Go(func() {
			for n := 0; !over.Load(); n++ {
				p := w.connect(fmt.Sprintf("u%d", i%constant), n%2)
				w.subscribe(p, "room:1")
				if n%3 == 0 {
					p.Bind(auth.Identity{User: fmt.Sprintf("v%d", n%5)})
				}
				if n%2 == 0 {
					w.Unsubscribe(&p.Conn, "room:1")
					p.SendFrame([]byte("unsubscribed"), nil)
					w.subscribe(p, "room:2")
				}
				w.Remove(&p.Conn)
				p.SendFrame([]byte("removed"), nil)
				lines := p.out.take()
				at := slices.IndexFunc(lines, func(s string) bool { return strings.HasSuffix(s, "unsubscribed") })
				if at >= 0 && len(lines) != at+2 {
					t.Errorf("something came after Unsubscribe returned: %q", lines[at:])
				}
			}
		})
	}
	for i := range publishers {
		publishing.Go(func() {
			for n := range each {
				if _, err := w.Publish(context.Background(), "room:1", fmt.Appendf(nil, "%d %d", i, n), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishing.Wait()
	over.Store(true)
	passing.Wait()
	w.flush()
	for i, p := range stay {
		var next [publishers]int
		for _, line := range p.out.take() {
			var from, n int
			if _, err := fmt.Sscanf(strings.TrimPrefix(line, "2:"), "%d %d", &from, &n); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if n != next[from] {
				t.Fatalf("subscriber %d: publisher %d's message %d came in place of %d", i, from, n, next[from])
			}
			next[from]++
		}
		if next != [publishers]int{each, each, each, each} {
			t.Errorf("subscriber %d got %v", i, next)
		}
	}
	connections, users := w.Channel("room:1").Counts()
	if connections != constant || users != constant {
		t.Errorf("at the end the channel counts %d connections and %d users", connections, users)
	}
	if c, u, n := w.Counts(); c != constant+2 || u != constant || n != 1 {
		t.Errorf("at the end the hub counts %d connections, %d users, %d channels", c, u, n)
	}
}

// One message order holds for a channel in all shards.
func TestSubscribersInAllShardsSeeTheSameOrder(t *testing.T) {
	w := start(t, hub.Config{Shards: 4})
	defer w.Close()
	var all []*peer
	for range 8 {
		p := w.connect("", 0)
		w.subscribe(p, "room:1")
		all = append(all, p)
	}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for n := range 200 {
				if _, err := w.Publish(context.Background(), "room:1", fmt.Appendf(nil, "%d %d", i, n), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	w.flush()
	want := all[0].out.take()
	if len(want) != 1600 {
		t.Fatalf("%d messages arrived", len(want))
	}
	for i, p := range all[1:] {
		if got := p.out.take(); !slices.Equal(got, want) {
			t.Errorf("subscriber %d saw another order than subscriber 0", i+1)
		}
	}
}

// The counts of members, and of users among them, hold when connections of one
// user change at the same time.
func TestMembersAreCountedWhileTheirConnectionsChange(t *testing.T) {
	w := start(t, hub.Config{Shards: 2})
	defer w.Close()
	member := hub.SubOptions{By: hub.Membership}
	for i := range 2000 {
		a, b, c := w.connect("ann", 0), w.connect("ann", 0), w.connect("", 0)
		for _, p := range []*peer{a, b, c} {
			if _, err := w.Subscribe(&p.Conn, "room:1", space, member); err != nil {
				t.Fatal(err)
			}
		}
		var wait sync.WaitGroup
		begin := make(chan struct{})
		for k, p := range []*peer{a, b, c} {
			wait.Go(func() {
				<-begin
				switch (i + k) % 5 {
				case 0:
					p.Bind(auth.Identity{User: "bob"})
					_, _ = w.Subscribe(&p.Conn, "room:1", space, member)
				case 1:
					w.Drop(&p.Conn, "room:1", hub.Membership)
					_, _ = w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{By: hub.Asked | hub.Membership})
				case 2:
					w.Unsubscribe(&p.Conn, "room:1")
					p.Bind(auth.Identity{User: "ann"})
				case 3:
					p.Bind(auth.Identity{})
					_, _ = w.Subscribe(&p.Conn, "room:1", space, member)
				case 4:
					w.Remove(&p.Conn)
				}
			})
		}
		// Somebody else may take the right away, or end it all, meanwhile.
		wait.Go(func() {
			<-begin
			w.Drop(&a.Conn, "room:1", hub.Membership)
			w.Unsubscribe(&b.Conn, "room:1")
		})
		close(begin)
		wait.Wait()
		var want hub.Reach
		users := map[string]bool{}
		for _, p := range []*peer{a, b, c} {
			if w.IsMember(&p.Conn, "room:1") {
				want.Connections++
				if u := p.User(); u != "" {
					users[u] = true
				}
			}
		}
		want.Users = len(users)
		if got, err := w.PublishMembers(context.Background(), "room:1", []byte("m"), nil); err != nil || got != want {
			t.Fatalf("round %d: it reaches %+v, %v; want %+v", i, got, err, want)
		}
		for _, p := range []*peer{a, b, c} {
			if w.Conn(p.ID) != nil {
				w.Remove(&p.Conn)
			}
		}
		if w.Channel("room:1") != nil {
			t.Fatalf("round %d: the channel is left behind", i)
		}
	}
}

// A connection that is being welcomed, under its outlet's lock, may be subscribed
// by whoever finds it.
func TestAConnectionMayBeSubscribedWhileItIsAdded(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	for i := range 5000 {
		p := newPeer()
		p.Prepare(&p.out, w.Encoding(0))
		var wait sync.WaitGroup
		wait.Go(func() {
			p.out.SendFirst(func() {
				w.Add(&p.Conn, &p.out, w.Encoding(0), p, auth.Identity{User: "ann"}, 1)
			}, []byte("welcome\n"))
		})
		wait.Go(func() {
			for found := false; !found; {
				if i%2 == 0 {
					found = w.Conn(p.ID) != nil
				} else {
					found = len(w.UserConns("ann")) > 0
				}
			}
			if _, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{Reply: func() []byte { return []byte("ok") }}); err != nil {
				t.Error(err)
			}
		})
		wait.Wait()
		if lines := p.out.take(); !slices.Equal(lines, []string{"welcome", "ok"}) {
			t.Fatalf("got %q", lines)
		}
		w.Remove(&p.Conn)
	}
}

// The count of users holds when connections of one user change at the same time.
func TestUsersAreCountedWhileTheirConnectionsChange(t *testing.T) {
	w := start(t, hub.Config{Shards: 2})
	defer w.Close()
	for i := range 2000 {
		a, b := w.connect("ann", 0), w.connect("ann", 0)
		w.subscribe(a, "room:1")
		w.subscribe(b, "room:1")
		var wait sync.WaitGroup
		begin := make(chan struct{})
		for k, p := range []*peer{a, b} {
			wait.Go(func() {
				<-begin
				switch (i + k) % 3 {
				case 0:
					p.Bind(auth.Identity{User: "bob"})
				case 1:
					p.Bind(auth.Identity{})
					p.Bind(auth.Identity{User: "ann"})
				case 2:
					w.Unsubscribe(&p.Conn, "room:1")
					p.Bind(auth.Identity{User: "cid"})
					if _, err := w.Subscribe(&p.Conn, "room:1", space, hub.SubOptions{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		close(begin)
		wait.Wait()
		want := 2
		if a.User() == b.User() {
			want = 1
		}
		if connections, users := w.Channel("room:1").Counts(); connections != 2 || users != want {
			t.Fatalf("round %d: it counts %d connections and %d users, want 2 and %d (%q, %q)", i, connections, users, want, a.User(), b.User())
		}
		w.Remove(&a.Conn)
		w.Remove(&b.Conn)
	}
}
