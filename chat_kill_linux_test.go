package skein_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestAKilledServerForgetsNoAlert kills a server at random moments while somebody writes
// to users who are away, to each of them once. Those whose message was accepted are alerted,
// once, whether that was before the end or after it.
func TestAKilledServerForgetsNoAlert(t *testing.T) {
	pushCluster.hold(t)
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		killedWhileAlerting(t, t.TempDir())
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		// Another server may still be at it, so what was left behind is looked for some time later.
		killedWhileAlerting(t, pushCluster.server(t).Database(t))
	})
}

func killedWhileAlerting(t *testing.T, place string) {
	const kills, writers = 3, 4
	rnd := rand.New(rand.NewPCG(3, 4))
	var accepted []string
	for round := range kills {
		child := startChild(t, "chat "+place)
		s := &testServer{t: t, addr: child.addr}
		var mu sync.Mutex
		var work sync.WaitGroup
		some := make(chan struct{}, 1)
		for w := range writers {
			work.Go(func() {
				s.writesToMany(fmt.Sprint("ann", w), fmt.Sprintf("away-%d-%d", round, w), func(user string) {
					mu.Lock()
					defer mu.Unlock()
					accepted = append(accepted, user)
					select {
					case some <- struct{}{}:
					default:
					}
				})
			})
		}
		<-some
		timer := time.NewTimer(time.Duration(20+rnd.IntN(200)) * time.Millisecond)
		<-timer.C
		child.died(t)
		work.Wait()
	}
	child := startChild(t, "chat "+place)
	s := &testServer{t: t, addr: child.addr}
	for _, user := range accepted {
		var list []any
		wait := time.Now().Add(4 * patience) // longer than what others may still be at is left alone
		for len(list) == 0 && time.Now().Before(wait) {
			list = s.calls("records", fmt.Sprintf(`{"user":%q}`, user))["items"].([]any)
		}
		if len(list) != 1 {
			t.Fatalf("%s was written to, and has %d alerts: %v", user, len(list), list)
		}
	}
	child.end(t)
	t.Logf("%d users were written to", len(accepted))
}

// writesToMany writes to one user after the other until the server ends, and tells each that
// it has accepted a message for.
func (s *testServer) writesToMany(from, to string, accepted func(user string)) {
	way, err := doors["websocket"](s, "user="+from)
	if err != nil {
		return
	}
	defer way.leave()
	for n := 0; ; n++ {
		user := fmt.Sprintf("%s-%d", to, n)
		if way.send(fmt.Sprintf(`{"type":"pub","id":%d,"channel":"dm:%s:%s","data":1}`, n, from, user)) != nil {
			return
		}
		for answered := false; !answered; {
			raw, err := way.next()
			if err != nil {
				return
			}
			var f struct {
				Type string
				ID   any
			}
			if err := json.Unmarshal(raw, &f); err != nil {
				s.t.Errorf("%q: %v", raw, err)
				return
			}
			if answered = f.Type == "ok" && f.ID == float64(n); answered {
				accepted(user)
			}
		}
	}
}
