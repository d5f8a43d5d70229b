package access_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

// writes is a store that counts what is written of users that were there, and
// that can be away.
type writes struct {
	*sqlite.Store
	groups, users atomic.Int64
	away          atomic.Bool
}

func (w *writes) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	if w.away.Load() {
		return nil, fmt.Errorf("no disk: %w", store.ErrUnavailable)
	}
	for _, c := range group {
		if s, ok := c.(store.SawUsers); ok {
			w.groups.Add(1)
			w.users.Add(int64(len(s.Seen)))
		}
	}
	return w.Store.Do(ctx, group...)
}

func TestWhenAUserWasLastThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &writes{Store: open(t)}
		n := start(t, st, false)
		begin := time.Now()
		for range 3 {
			c := n.User("ann", "phone")
			time.Sleep(100 * time.Millisecond)
			c.Closed(protocol.CloseNormal, "")
		}
		n.User("bob", "").Closed(protocol.CloseNormal, "")
		n.Saw("ann", "desk", begin) // earlier
		n.Saw("", "phone", begin)
		n.Saw("zoe", "", time.Time{})
		want := []store.Seen{{User: "zoe"}, {User: "ann", Device: "phone", Time: begin.UnixMilli() + 300}, {User: "bob", Time: begin.UnixMilli() + 300}}
		for _, when := range []string{"before it is written", "afterwards"} {
			got, err := n.LastSeen(t.Context(), []string{"zoe", "ann", "bob"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(when, diff)
			}
			if when == "before it is written" && st.groups.Load() != 0 {
				t.Error("it was written at once")
			}
			time.Sleep(6 * time.Second)
		}
		if st.groups.Load() != 1 || st.users.Load() != 2 {
			t.Errorf("%d writes with %d users, want 1 with 2", st.groups.Load(), st.users.Load())
		}
		n.Saw("eve", "", time.Now())
		n.Close()
		n.Saw("too late", "", time.Now())
		got, err := st.LastSeen(t.Context(), "eve", "too late")
		if err != nil || got[0].Time == 0 || got[1].Time != 0 {
			t.Errorf("after the end there is %v, %v", got, err)
		}
		if m := n.Metrics(); m.Seen.Load() != 3 || m.SeenLost.Load() != 0 {
			t.Errorf("the metrics say %d written, %d lost", m.Seen.Load(), m.SeenLost.Load())
		}
	})
}

func TestManyUsersAreWrittenInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &writes{Store: open(t)}
		n := start(t, st, false)
		for i := range 2500 {
			n.Saw(fmt.Sprint("u", i), "", time.Now())
		}
		time.Sleep(time.Millisecond) // long before it is due
		if users := st.users.Load(); users < 1000 {
			t.Errorf("%d users are written", users)
		}
		time.Sleep(5 * time.Second)
		if st.users.Load() != 2500 || st.groups.Load() < 3 {
			t.Errorf("%d writes with %d users", st.groups.Load(), st.users.Load())
		}
	})
}

func TestUsersAreKeptWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &writes{Store: open(t)}
		n := start(t, st, false)
		st.away.Store(true)
		at := time.Now()
		const users = 100_500
		for i := range users {
			n.Saw(fmt.Sprint("u", i), "d", at)
		}
		time.Sleep(time.Minute)
		if got := n.log.count("cannot be written"); got != 1 {
			t.Errorf("%d lines in the log, want 1", got)
		}
		lost := n.Metrics().SeenLost.Load()
		if lost < 500 || lost > 1500 { // a batch may be on its way while others come
			t.Errorf("%d are lost", lost)
		}
		n.Saw("u0", "e", at.Add(time.Second))
		got, err := n.LastSeen(t.Context(), []string{"u0"})
		if err != nil || got[0] != (store.Seen{User: "u0", Device: "e", Time: at.UnixMilli() + 1000}) {
			t.Errorf("got %v, %v", got, err)
		}
		st.away.Store(false)
		time.Sleep(10 * time.Second)
		if got := st.users.Load(); got != users-lost {
			t.Errorf("%d were written, want %d", got, users-lost)
		}
	})
}

func TestUsersAreSeenByMany(t *testing.T) {
	st := open(t)
	n := start(t, st, false)
	begin := time.Now()
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 2000 {
				n.Saw(fmt.Sprint("u", i%1500), "", begin.Add(time.Duration(w)*time.Second))
				if i%500 == 0 {
					if _, err := n.LastSeen(context.Background(), []string{"u1", "u2"}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	n.Close()
	for i := range 1500 {
		got, err := st.LastSeen(t.Context(), fmt.Sprint("u", i))
		if err != nil || got[0].Time != begin.UnixMilli()+7000 {
			t.Fatalf("u%d: %v, %v", i, got, err)
		}
	}
}

// What one node says the others know soon, and connections there end.
func TestNodesLearnOfEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(t)
		share(t, start(t, st, true), start(t, st, true))
	})
}

// until waits for something that happens on another node.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(20 * time.Second); !is(); {
		select {
		case <-tick.C:
		case <-over:
			t.Fatal(what, "did not happen")
		}
	}
}

func share(t *testing.T, here, there *node) {
	t.Helper()
	live, other := there.User("ann", ""), there.User("bob", "")
	token := there.Open(session.Opening{Token: there.Token(idOf("joe", "t1"), time.Now().Add(-time.Minute))})
	token.Expect("welcome")
	if got := here.must("users.block", `{"user":"ann","reason":"why"}`)["connections"]; got != 0.0 {
		t.Errorf("%v connections of the other node were counted", got)
	}
	here.must("tokens.revoke", `{"token":"t1"}`)
	expectBye(live, protocol.CloseDisconnected, "why")
	expectBye(token, protocol.CloseTokenExpired, "the token has been revoked")
	lives(other)
	expectBye(there.Open(session.Opening{User: "ann"}), protocol.CloseTokenRefused, "why")
	here.must("users.unblock", `{"user":"ann"}`)
	until(t, "the unblocking", func() bool { return there.Admit(idOf("ann", "")) == nil })
	lives(there.User("ann", ""))
	// And back.
	there.must("users.block", `{"user":"bob"}`)
	until(t, "the block", func() bool { return here.Admit(idOf("bob", "")) != nil })
	expectBye(here.Open(session.Opening{User: "bob"}), protocol.CloseTokenRefused, "blocked")
	if got := there.Metrics().Cut.Load(); got != 3 {
		t.Errorf("%d connections were cut, want 3", got)
	}
}

// broken is a store that cannot be read at times.
type broken struct {
	*sqlite.Store
	away atomic.Bool
}

func (b *broken) Denials(ctx context.Context, after uint64, limit int) ([]store.Denial, error) {
	if b.away.Load() {
		return nil, store.ErrUnavailable
	}
	return b.Store.Denials(ctx, after, limit)
}

func TestANodeCatchesUpWhenTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &broken{Store: open(t)}
		here, there := start(t, st.Store, true), start(t, st, true)
		st.away.Store(true)
		for i := range 2500 {
			here.must("users.block", fmt.Sprintf(`{"user":"u%d"}`, i))
		}
		c := there.User("u2400", "")
		time.Sleep(time.Minute)
		lives(c)
		if got := there.log.count("cannot be read"); got != 1 {
			t.Errorf("%d lines in the log, want 1", got)
		}
		st.away.Store(false)
		time.Sleep(3 * time.Second)
		expectBye(c, protocol.CloseDisconnected, "blocked")
		if got := there.Denials(); got != 2500 {
			t.Errorf("%d are known", got)
		}
	})
}
