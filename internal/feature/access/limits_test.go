package access_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/feature/access"
	"github.com/skein-realtime/skein/internal/ratelimit"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
	"github.com/skein-realtime/skein/test/sessiontest"
)

func rate(t *testing.T, text string) ratelimit.Rate {
	t.Helper()
	r, err := ratelimit.ParseRate(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (n *node) limit(l access.Limits) {
	n.T.Helper()
	if err := n.SetLimits(l); err != nil {
		n.T.Fatal(err)
	}
}

// expectLimited takes an error rate_limited and gives how long to wait.
func expectLimited(c *sessiontest.Client, message string) time.Duration {
	c.T.Helper()
	f := c.Expect("error")
	if f["code"] != "rate_limited" || f["message"] != message {
		c.T.Fatalf("got %v, want %s", f, message)
	}
	return time.Duration(f["retry_after"].(float64)) * time.Millisecond
}

func TestAUserHasOneRateOverAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := idle(t)
		n.limit(access.Limits{User: rate(t, "4/s burst 6")})
		phone, desk, other := n.User("ann", "phone"), n.User("ann", "desk"), n.User("bob", "")
		guest := n.Open(session.Opening{})
		guest.Send(`{"type":"connect"}`)
		guest.Expect("welcome")
		for range 3 {
			lives(phone)
			lives(desk)
		}
		const message = "the user sends more frames than 4/s burst 6, over all connections"
		phone.Send(`{"type":"ping","id":7}`)
		if wait := expectLimited(phone, message); wait != 250*time.Millisecond {
			t.Errorf("it is to wait %v", wait)
		}
		desk.Send(`{"type":"ping"}`)
		expectLimited(desk, message)
		for range 20 {
			lives(guest)
		}
		lives(other)
		time.Sleep(250 * time.Millisecond)
		lives(desk)
		phone.Send(`{"type":"ping"}`)
		expectLimited(phone, message)
		if got := n.Server.Metrics().UserLimited.Load(); got != 3 {
			t.Errorf("the metric says %d", got)
		}
		// With other limits everybody begins anew, and without any nobody is held up.
		n.limit(access.Limits{})
		for range 20 {
			lives(phone)
		}
	})
}

func TestEachTypeOfFrameHasARatePerConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := idle(t)
		n.limit(access.Limits{Frames: map[string]ratelimit.Rate{"call": rate(t, "60/m burst 2"), "ping": rate(t, "none")}})
		a, b := n.User("ann", ""), n.User("ann", "")
		call := func(c *sessiontest.Client) {
			t.Helper()
			c.Send(`{"type":"call","id":1,"method":"nothing"}`)
			if f := c.Expect("error"); f["code"] != "not_found" {
				t.Fatalf("got %v", f)
			}
		}
		call(a)
		call(a)
		call(b)
		a.Send(`{"type":"call","id":"x","method":"nothing"}`)
		if wait := expectLimited(a, "more call frames on this connection than 1/s burst 2"); wait != time.Second {
			t.Errorf("it is to wait %v", wait)
		}
		call(b)
		for range 10 {
			lives(a)
		}
		time.Sleep(time.Second)
		call(a)
		if got := n.Server.Metrics().FrameLimited.Load(); got != 1 {
			t.Errorf("the metric says %d", got)
		}
	})
}

// What came before the welcome counts like everything else, once.
func TestFramesBeforeTheWelcomeCountOnce(t *testing.T) {
	n := idle(t)
	n.limit(access.Limits{Frames: map[string]ratelimit.Rate{"ping": rate(t, "1/h burst 2")}})
	c := n.Open(session.Opening{})
	for range 3 {
		c.Send(`{"type":"ping"}`)
	}
	c.Send(`{"type":"connect"}`)
	c.Expect("welcome")
	c.Expect("pong")
	c.Expect("pong")
	expectLimited(c, "more ping frames on this connection than 1/h burst 2")
}

func TestVerbsHaveARatePerCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, open(t), false)
		n.limit(access.Limits{Verbs: map[string]ratelimit.Rate{"users.blocked": rate(t, "120/m burst 3")}})
		run := func(caller, name string) error {
			_, err := n.Verbs.Run(verb.WithCaller(t.Context(), verb.Caller{Name: caller}), name, nil, "")
			return err
		}
		for range 3 {
			if err := run("shop", "users.blocked"); err != nil {
				t.Fatal(err)
			}
		}
		want := fault.New(fault.RateLimited, "more than 2/s burst 3 of users.blocked by this caller").After(500 * time.Millisecond)
		if diff := cmp.Diff(want, fault.Of(run("shop", "users.blocked"))); diff != "" {
			t.Error(diff)
		}
		if err := run("forum", "users.blocked"); err != nil {
			t.Error("another caller:", err)
		}
		for range 10 {
			if err := run("library", "users.blocked"); err != nil {
				t.Error("who is exempt:", err)
			}
		}
		if err := run("shop", "users.block"); fault.Of(err).Code != fault.BadRequest {
			t.Error("another verb:", err)
		}
		time.Sleep(500 * time.Millisecond)
		if err := run("shop", "users.blocked"); err != nil {
			t.Error("after the wait:", err)
		}
		if m := n.Verbs.LimitMetrics(); m.Limited.Load() != 1 || m.WouldLimit.Load() != 0 {
			t.Errorf("the metrics say %d and %d", m.Limited.Load(), m.WouldLimit.Load())
		}
	})
}

func TestADryRunRefusesNothingAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, open(t), false)
		n.limit(access.Limits{
			User: rate(t, "1/s"), Frames: map[string]ratelimit.Rate{"ping": rate(t, "1/s")}, DryRun: true,
			Verbs: map[string]ratelimit.Rate{"users.blocked": rate(t, "1/s")},
		})
		ann, bob := n.User("ann", ""), n.User("bob", "")
		for range 5 {
			lives(ann)
			lives(bob)
			n.must("users.blocked", "{}")
		}
		m, v := n.Server.Metrics(), n.Verbs.LimitMetrics()
		got := []int64{m.UserWouldLimited.Load(), m.FrameWouldLimited.Load(), v.WouldLimit.Load(), m.UserLimited.Load(), m.FrameLimited.Load(), v.Limited.Load()}
		if diff := cmp.Diff([]int64{8, 8, 4, 0, 0, 0}, got); diff != "" {
			t.Error(diff)
		}
		const line = "tried out would have refused"
		if n.log.count(line) != 3 || n.log.count("user=ann") != 1 || n.log.count("caller=backend") != 1 {
			t.Errorf("the log has\n%s", n.log.text.String())
		}
		time.Sleep(61 * time.Second)
		lives(ann)
		lives(ann)
		if n.log.count(line) != 4 {
			t.Errorf("the log has\n%s", n.log.text.String())
		}
	})
}

func TestLimitsThatAreWrongChangeNothing(t *testing.T) {
	n := start(t, open(t), false)
	n.limit(access.Limits{Frames: map[string]ratelimit.Rate{"ping": rate(t, "1/h")}})
	for _, tt := range []struct {
		limits access.Limits
		want   string
	}{
		{access.Limits{User: ratelimit.Rate{PerSecond: -1}}, "user: -1 a second is not between"},
		{access.Limits{Frames: map[string]ratelimit.Rate{"pingg": rate(t, "1/s")}}, "frames.pingg: is not a type of frame that clients send; those are call, connect,"},
		{access.Limits{Frames: map[string]ratelimit.Rate{"ping": {PerSecond: 1, Burst: -1}}}, "frames.ping: a burst of -1"},
		{access.Limits{Verbs: map[string]ratelimit.Rate{"users.block": {PerSecond: 1e9}}}, "verbs.users.block: 1e+09 a second"},
	} {
		if err := n.SetLimits(tt.limits); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	c := n.User("ann", "")
	lives(c)
	c.Send(`{"type":"ping"}`)
	expectLimited(c, "more ping frames on this connection than 1/h")
}

func TestLimitsChangeWhileClientsSend(t *testing.T) {
	n := idle(t)
	var wait sync.WaitGroup
	for i := range 8 {
		c := n.User(fmt.Sprint("u", i%2), "")
		wait.Go(func() {
			for range 200 {
				c.Send(`{"type":"ping","id":1}`)
				c.Next()
			}
		})
	}
	for i := range 100 {
		n.limit(access.Limits{User: ratelimit.Rate{PerSecond: float64(i + 1)}, Frames: map[string]ratelimit.Rate{"ping": {PerSecond: 1}}, DryRun: i%2 == 0})
	}
	wait.Wait()
}
