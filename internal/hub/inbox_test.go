package hub_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
)

func TestInboxesAreOfConnectionsThatTakeThem(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	a, b, other := w.connect("ann", 0), w.connect("ann", 1), w.connect("bob", 0)
	if !w.HasUser("ann") || w.HasUser("cid") || w.HasUser("") {
		t.Error("who has a connection is not known")
	}
	var users []string
	w.EachUser(func(user string) bool { users = append(users, user); return true })
	slices.Sort(users)
	if diff := cmp.Diff([]string{"ann", "bob"}, users); diff != "" {
		t.Error(diff)
	}
	w.EachUser(func(string) bool { users = append(users, "once"); return false })
	if len(users) != 3 {
		t.Errorf("it went on: %v", users)
	}
	if a.TakeInbox("bob") || !a.TakeInbox("ann") || a.TakeInbox("ann") {
		t.Error("a connection is marked once, and for its own user")
	}
	if got := w.AppendInboxes(nil, "ann"); len(got) != 1 || got[0] != &a.Conn {
		t.Errorf("%d connections are marked", len(got))
	}
	offer := func(p *peer, user string) (taken, there bool) { return p.OfferInbox(user, []byte("x\n"), 1) }
	for _, tt := range []struct {
		p            *peer
		user         string
		taken, there bool
	}{{a, "ann", true, true}, {a, "bob", false, false}, {b, "ann", false, false}, {other, "bob", false, false}} {
		if taken, there := offer(tt.p, tt.user); taken != tt.taken || there != tt.there {
			t.Errorf("offered to %s: %v, %v", tt.user, taken, there)
		}
	}
	a.out.full.Store(true)
	if taken, there := offer(a, "ann"); taken || !there {
		t.Errorf("one that is full: %v, %v", taken, there)
	}
	if lines := a.out.take(); len(lines) != 1 {
		t.Errorf("got %q", lines)
	}
	// The mark stays with a refreshed identity, and goes with the user.
	a.Bind(auth.Identity{User: "ann", Device: "new"})
	if !a.TakesInbox("ann") {
		t.Error("the mark went with the device")
	}
	a.Bind(auth.Identity{User: "bob"})
	if a.TakesInbox("ann") || a.TakesInbox("bob") || len(w.AppendInboxes(nil, "bob")) != 0 {
		t.Error("the mark stayed with another user")
	}
	other.TakeInbox("bob")
	w.Remove(&other.Conn)
	if other.TakesInbox("bob") || other.TakeInbox("bob") {
		t.Error("one that is gone takes something")
	}
}

func TestNativeConnections(t *testing.T) {
	w := start(t, hub.Config{Shards: 1})
	defer w.Close()
	foreign := newPeer()
	w.Add(&foreign.Conn, &foreign.out, lines{"other"}, foreign, auth.Identity{User: "ann"}, 1)
	if native := w.connect("ann", 1); !native.Native() || foreign.Native() {
		t.Errorf("native: %v, foreign: %v", native.Native(), foreign.Native())
	}
}

func TestWhoeverOffersIsToldWhenThereIsRoom(t *testing.T) {
	var told []*hub.Conn
	w := start(t, hub.Config{Shards: 1, Drained: func(c *hub.Conn) { told = append(told, c) }})
	defer w.Close()
	p := w.connect("ann", 0)
	p.Drained()
	if len(told) != 1 || told[0] != &p.Conn {
		t.Errorf("%d were told", len(told))
	}
}
