package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// benchCrowd is how many people the benchmarks of filters and estimates know of.
const benchCrowd = 300_000

// benchUser is like a user of a shop: some two hundred bytes.
func benchUser(i int) store.UserPut {
	zone := []string{"Europe/Berlin", "Asia/Shanghai", "America/New_York", "UTC"}[i%4]
	return store.UserPut{User: fmt.Sprintf("user-%07d", i), Attributes: fmt.Appendf(nil,
		`{"city":"city%d","lang":"en","level":%d,"name":"user number %d","plan":{"tier":"gold","since":%d},"tags":["t%d","s%d"],"tz":%q}`,
		i%1000, i%100, i, i, i%7, i%1000, zone)}
}

// BenchmarkUsers measures reads of 300,000 users in a new store, a tenth of whom
// were pushed to.
func BenchmarkUsers(b *testing.B, open Opener) {
	s, err := open(store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx := b.Context()
	at := time.Date(2027, 3, 10, 7, 30, 0, 0, time.UTC)
	policy := fatigue.Policy{Category: "news", Mutable: true, Chain: []fatigue.Level{{Category: "news", Caps: []fatigue.Cap{{Per: "day", Max: 1}}}},
		Quiet: &fatigue.Quiet{From: 22 * 60, To: 8 * 60}}
	began := time.Now()
	for from := 0; from < benchCrowd; from += 1000 {
		put := store.PutUsers{Time: noon}
		push := store.Push{Content: store.Content{ID: id.Message(at), Time: at.UnixMilli(), Data: []byte("1"), Policy: policy, Category: "news"}, Now: at.UnixMilli()}
		for i := from; i < from+1000; i++ {
			put.Users = append(put.Users, benchUser(i))
			if i%10 == 0 {
				push.To = append(push.To, store.Recipient{User: put.Users[i-from].User})
			}
		}
		if _, err := s.Do(ctx, put, push); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d users were put in %s", benchCrowd, time.Since(began).Round(time.Millisecond))
	began = time.Now()
	if err := s.UserIndexes(ctx, []string{"/city", "/level", "#tags"}); err != nil {
		b.Fatal(err)
	}
	b.Logf("two indexes were made in %s", time.Since(began).Round(time.Millisecond))
	few := &store.Filter{Field: "/city", Eq: json.RawMessage(`"city7"`)}
	many := &store.Filter{Field: "/level", Gte: json.RawMessage("10")}
	plain := &store.Filter{Field: "/plan/since", Lt: json.RawMessage("150000")}
	estimate := func(q store.EstimateQuery) func() (int64, error) {
		q.Policy, q.Now = policy, at.UnixMilli()
		return func() (int64, error) {
			e, err := s.Estimate(ctx, q)
			return e.Audience, err
		}
	}
	count := func(f *store.Filter) func() (int64, error) {
		return func() (int64, error) { return s.CountUsers(ctx, f) }
	}
	audience := func(f *store.Filter) func() (int64, error) {
		return func() (sum int64, err error) {
			for after := uint64(0); ; {
				page, err := s.Audience(ctx, store.AudienceQuery{Where: f, After: after, Limit: 1000})
				if sum += int64(len(page)); err != nil || len(page) < 1000 {
					return sum, err
				}
				after = page[len(page)-1].N
			}
		}
	}
	for _, m := range []struct {
		name string
		want int64
		do   func() (int64, error)
	}{
		{"estimate everyone", benchCrowd, estimate(store.EstimateQuery{Everyone: true})},
		{"estimate by index", benchCrowd / 1000, estimate(store.EstimateQuery{Where: few})},
		{"estimate of most", benchCrowd * 9 / 10, estimate(store.EstimateQuery{Where: many})},
		{"estimate without an index", benchCrowd / 2, estimate(store.EstimateQuery{Where: plain})},
		{"count all", benchCrowd, count(nil)},
		{"count by index", benchCrowd / 1000, count(few)},
		{"count by tag", benchCrowd / 1000, count(&store.Filter{Tag: "s7"})},
		{"count most", benchCrowd * 9 / 10, count(many)},
		{"count without an index", benchCrowd / 2, count(plain)},
		{"audience of all", benchCrowd, audience(nil)},
		{"audience by index", benchCrowd / 1000, audience(few)},
		{"audience of most", benchCrowd * 9 / 10, audience(many)},
		{"audience without an index", benchCrowd / 2, audience(plain)},
		{"page of users", 100, func() (int64, error) {
			page, err := s.Users(ctx, store.UserQuery{Where: many, After: "user-0150000", Limit: 100})
			return int64(len(page)), err
		}},
	} {
		b.Run(m.name, func(b *testing.B) {
			for b.Loop() {
				if n, err := m.do(); n != m.want || err != nil {
					b.Fatalf("got %d, %v, want %d", n, err, m.want)
				}
			}
		})
	}
}
