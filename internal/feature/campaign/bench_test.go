package campaign_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/feature/campaign"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/sqlite"
	"github.com/skein-realtime/skein/test/pgtest"
)

// commands counts what a store carries out.
type commands struct{ n atomic.Int64 }

func (c *commands) Commit(_, commands int, _, _ time.Duration, err error) {
	if err == nil {
		c.n.Add(int64(commands))
	}
}

func (*commands) Query(string, time.Duration, error) {}

func benchSQLite(b *testing.B) *node {
	count := new(commands)
	st, err := sqlite.Open(b.Context(), sqlite.Config{Dir: b.TempDir(), Options: store.Options{Observer: count}})
	if err != nil {
		b.Fatal(err)
	}
	return benchOn(b, st, count)
}

func benchPostgres(b *testing.B) *node {
	count := new(commands)
	st, err := postgres.Open(b.Context(), postgres.Config{URL: pgtest.Start(b).Database(b), Options: store.Options{Observer: count}})
	if err != nil {
		b.Fatal(err)
	}
	return benchOn(b, st, count)
}

func benchOn(b *testing.B, st store.Store, count *commands) *node {
	n := startOn(b, st, func(c *campaign.Config) { c.Commands = count.n.Load })
	b.Cleanup(func() {
		n.Close()
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	n.categories.put("promo", category{ttl: time.Hour, policy: fatigue.Policy{
		Mutable: true, Priority: 5, Quiet: &fatigue.Quiet{From: 22 * 60, To: 22*60 + 1},
		Chain: []fatigue.Level{
			{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: 500}}},
			{Category: "all", Caps: []fatigue.Cap{{Per: "day", Max: 900}, {Per: "week", Max: 1000}}},
		},
	}})
	return n
}

// BenchmarkCampaign pushes to 200,000 users under a category with caps of two levels, quiet
// hours and an end, with everything that a campaign does.
func BenchmarkCampaign(b *testing.B) {
	const users = 200_000
	for name, open := range map[string]func(*testing.B) *node{"sqlite": benchSQLite, "postgres": benchPostgres} {
		b.Run(name, func(b *testing.B) {
			n := open(b)
			n.people(0, users)
			b.ResetTimer()
			var took time.Duration
			for b.Loop() {
				steps := n.Metrics().Steps.Load()
				c := n.must("create", `{"name":"x","data":{"text":"hello"},"category":"promo","to":{"where":{}}}`)
				begun := time.Now()
				n.must("start", of{c.ID})
				n.awaitSlowly(c.ID)
				took += time.Since(begun)
				steps = n.Metrics().Steps.Load() - steps
				b.ReportMetric(float64(users)/float64(steps), "users/step")
			}
			b.ReportMetric(float64(users)*float64(b.N)/took.Seconds(), "users/s")
		})
	}
}

// awaitSlowly waits without asking all the time.
func (n *node) awaitSlowly(id string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n.get(id).State != "done" {
		<-tick.C
	}
}

// BenchmarkChatBesideACampaign publishes 1,000 messages a second to log channels, at first
// alone and then while a campaign runs, and tells the latencies.
func BenchmarkChatBesideACampaign(b *testing.B) {
	for name, open := range map[string]func(*testing.B) *node{"sqlite": benchSQLite, "postgres": benchPostgres} {
		b.Run(name, func(b *testing.B) {
			n := open(b)
			n.people(0, 100_000)
			for b.Loop() {
				alone := chat(b, n.store, 3*time.Second)
				c := n.must("create", `{"name":"x","data":{"text":"hello"},"category":"promo","to":{"where":{}}}`)
				n.must("start", of{c.ID})
				n.await(c.ID, "progress", func(c *campaign.Campaign) bool { return c.Progress > 0 })
				users, steps, begun := n.Metrics().Users.Load(), n.Metrics().Steps.Load(), time.Now()
				beside := chat(b, n.store, 1500*time.Millisecond)
				users, steps = n.Metrics().Users.Load()-users, n.Metrics().Steps.Load()-steps
				b.ReportMetric(float64(users)/time.Since(begun).Seconds(), "users/s")
				b.ReportMetric(float64(users)/float64(steps), "users/step")
				state := n.get(c.ID).State
				for i, p := range []float64{0.5, 0.99} {
					what := []string{"p50", "p99"}[i]
					b.ReportMetric(float64(quantile(alone, p).Microseconds()), what+"-alone-µs")
					b.ReportMetric(float64(quantile(beside, p).Microseconds()), what+"-beside-µs")
				}
				if state != "running" {
					b.Logf("the campaign was %s before the end", state)
				} else {
					n.must("cancel", of{c.ID})
				}
			}
		})
	}
}

func quantile(list []time.Duration, p float64) time.Duration {
	slices.Sort(list)
	return list[int(math.Ceil(p*float64(len(list))))-1]
}

// chat appends 1,000 messages a second for some time, at planned times: who waits is not
// left out of what is measured.
func chat(b *testing.B, st store.Store, d time.Duration) []time.Duration {
	const perSecond = 1000
	begun := time.Now()
	latencies := make([]time.Duration, int(d.Seconds()*perSecond))
	var wait sync.WaitGroup
	for i := range latencies {
		at := begun.Add(time.Duration(i) * time.Second / perSecond)
		if left := time.Until(at); left > 0 {
			timer := time.NewTimer(left)
			<-timer.C
		}
		wait.Go(func() {
			_, err := st.Do(context.Background(), store.Append{
				Channel: fmt.Sprintf("room:%d", i%100), ID: id.Message(at), Time: at.UnixMilli(), Event: "message", Data: []byte(`{"text":"hello"}`),
			})
			if err != nil {
				b.Error(err)
			}
			latencies[i] = time.Since(at)
		})
	}
	wait.Wait()
	return latencies
}
