package access_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/access"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/test/sessiontest"
)

// Whenever a user is blocked: of those who were coming in at that moment, and of
// those whom the server was binding, none is there when it is over.
func TestNobodySlipsThroughWhileBeingWelcomed(t *testing.T) {
	n := start(t, open(t), false)
	const rounds, each = 120, 24
	for round := range rounds {
		user := fmt.Sprint("user ", round)
		old := n.Token(auth.Identity{User: user, Token: "t"}, time.Now().Add(-time.Minute))
		say := []struct{ name, params string }{
			{"users.block", fmt.Sprintf(`{"user":%q}`, user)},
			{"tokens.revoke", fmt.Sprintf(`{"user":%q}`, user)},
			{"tokens.revoke", `{"token":"t"}`},
		}[round%3]
		var guests []*sessiontest.Client
		if round%3 == 0 {
			for range each {
				c := n.Open(session.Opening{})
				c.Send(`{"type":"connect"}`)
				c.Expect("welcome")
				guests = append(guests, c)
			}
		}
		clients := make([]*sessiontest.Client, each)
		var wait sync.WaitGroup
		begin := make(chan struct{})
		for i := range each {
			wait.Go(func() {
				<-begin
				clients[i] = n.Open(session.Opening{Token: old})
			})
		}
		for _, c := range guests {
			wait.Go(func() {
				<-begin
				_ = c.Rebind(t.Context(), auth.Identity{User: user}) // refused or cut, that is the question
			})
		}
		wait.Go(func() {
			<-begin
			n.must(say.name, say.params)
		})
		close(begin)
		wait.Wait()
		for i, c := range clients {
			if !ended(c) {
				t.Errorf("round %d: %s let connection %d through", round, say.name, i)
			}
		}
		for i, c := range guests {
			if c.User() == user && !ended(c) {
				t.Errorf("round %d: %s let a binding through, %d", round, say.name, i)
			}
		}
		n.Hub.EachConn(func(c *hub.Conn) bool {
			session.Of(c).Closed(protocol.CloseNormal, "")
			return true
		})
		if say.name == "tokens.revoke" && say.params == `{"token":"t"}` {
			// The next rounds use the same id, so they begin with a feature of their own.
			n = start(t, open(t), false)
		}
	}
}

// Blocks and unblocks of many at once: what the store says last is what is in force.
func TestMemoryAgreesWithTheStore(t *testing.T) {
	st := open(t)
	nodes := []*node{start(t, st, false), start(t, st, false)}
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 25 {
				verb := []string{"users.block", "users.unblock"}[(w+i)%2]
				nodes[0].must(verb, fmt.Sprintf(`{"user":"u%d"}`, i%5))
			}
		})
	}
	wait.Wait()
	fresh := start(t, st, false)
	for i := range 5 {
		id := auth.Identity{User: fmt.Sprint("u", i)}
		if got, want := nodes[0].Admit(id) != nil, fresh.Admit(id) != nil; got != want {
			t.Errorf("%s is kept out: %v, by the store %v", id.User, got, want)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	for _, known := range []int{0, 1, 100_000} {
		b.Run(fmt.Sprint(known, " denials"), func(b *testing.B) {
			f := access.Filled(known)
			id := auth.Identity{User: "somebody", Device: "phone", Token: "a token", Issued: 1}
			b.ReportAllocs()
			for b.Loop() {
				if f.Admit(id) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
