package storetest

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

// BenchmarkPush pushes to users in steps, with caps on two levels, quiet hours and an
// expiry, and reports users/s. Users have attributes and a time zone, and after the
// first rounds some pushes that count. Alone are pushes to one user each, of which 64
// are under way at a time.
func BenchmarkPush(b *testing.B, open Opener) {
	for _, step := range []int{1, 100, 1000} {
		name := fmt.Sprint("steps of ", step)
		if step == 1 {
			name = "alone"
		}
		b.Run(name, func(b *testing.B) {
			s, err := open(store.Options{})
			if err != nil {
				b.Fatal(err)
			}
			users := benchUsers(b, s, 20_000)
			b.ReportAllocs()
			if step == 1 {
				pushAlone(b, s, users)
			} else {
				pushSteps(b, s, users, step)
			}
			b.ReportMetric(float64(b.N*step)/b.Elapsed().Seconds(), "users/s")
			b.ReportMetric(0, "ns/op")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// benchMessage has everything that can be asked of a message.
func benchMessage(now int64) store.Content {
	return store.Content{
		ID: id.Message(time.UnixMilli(now)), Time: now, Event: "offer", Data: fmt.Appendf(nil, "%0200d", 1), Category: "promo", Expires: now + 2*day, Campaign: "run",
		Policy: fatigue.Policy{
			Category: "promo", Chain: []fatigue.Level{
				{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: 3}}}, {Category: "marketing", Caps: []fatigue.Cap{{Per: "week", Max: 10}, {Per: "90m", Max: 2}}},
			},
			Quiet: &fatigue.Quiet{From: 22 * 60, To: 8 * 60}, OnCap: fatigue.Inbox, OnQuiet: fatigue.Defer, Priority: 3, Mutable: true,
		},
	}
}

// pushSteps pushes a message to all users, then the next one, four hours later.
func pushSteps(b *testing.B, s store.Store, users []store.Recipient, step int) {
	now, at := noon, len(users)
	var message store.Content
	for b.Loop() {
		if at == len(users) {
			now, at = now+4*hour, 0
			message = benchMessage(now)
		}
		if _, err := s.Do(b.Context(), store.Push{Content: message, To: users[at : at+step], Now: now, Keep: 1000}); err != nil {
			b.Fatal(err)
		}
		at += step
	}
}

// pushAlone pushes a message of his own to each user.
func pushAlone(b *testing.B, s store.Store, users []store.Recipient) {
	var next atomic.Int64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := next.Add(1)
			to := store.Recipient{User: users[n%int64(len(users))].User}
			now := noon + n*10
			if _, err := s.Do(b.Context(), store.Push{Content: benchMessage(now), To: []store.Recipient{to}, Now: now, Keep: 1000}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
}

// benchUsers makes users and gives them by their numbers.
func benchUsers(b *testing.B, s store.Store, users int) []store.Recipient {
	b.Helper()
	zones := []string{"Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata"}
	for at := 0; at < users; at += 1000 {
		var put store.PutUsers
		put.Time = noon
		for k := range 1000 {
			n := at + k
			put.Users = append(put.Users, store.UserPut{User: fmt.Sprintf("user-%06d", n), Attributes: fmt.Appendf(nil,
				`{"tz":%q,"name":"User %d","level":%d,"tags":["new","vip"],"bio":"%0100d"}`, zones[n%len(zones)], n, n%100, n)})
		}
		if _, err := s.Do(b.Context(), put); err != nil {
			b.Fatal(err)
		}
	}
	var to []store.Recipient
	for len(to) < users {
		var after uint64
		if len(to) > 0 {
			after = to[len(to)-1].N
		}
		list, err := s.Audience(b.Context(), store.AudienceQuery{After: after, Limit: 10_000})
		if err != nil || len(list) == 0 {
			b.Fatalf("%d users are there, %v", len(to), err)
		}
		to = append(to, list...)
	}
	return to
}
