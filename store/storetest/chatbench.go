package storetest

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// What the benchmarks of conversations have: channels, and those of one user.
const (
	benchChats = 100_000
	benchMine  = 1_000
)

// benchSaid is a message of 200 bytes.
func benchSaid(channel, user string, at int64) store.Append {
	return store.Append{
		Channel: channel, ID: id.Message(time.UnixMilli(at)), Time: at, Event: protocol.DefaultEvent, Data: fmt.Appendf(nil, `"%0198d"`, 1),
		Sender: protocol.Sender{User: user, Device: "phone-1", Connection: id.NewConnection().String()},
	}
}

// BenchmarkConversations reads the list of a user with 1,000 conversations, of 100,000
// that there are, and the roster of a group of 5,000.
func BenchmarkConversations(b *testing.B, open Opener) {
	s, err := open(store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	began := time.Now()
	const step = benchChats / benchMine
	for from := 0; from < benchChats; from += 500 {
		var members, messages []store.Command
		for i := from; i < from+500; i++ {
			one, two := fmt.Sprintf("user-%06d", i/2), fmt.Sprintf("user-%06d", i*7%benchChats)
			if i%step == 0 {
				one = "mine"
			}
			channel := fmt.Sprintf("dm:%s:%06d", one, i)
			members = append(members, store.AddMembers{Channel: channel, Users: []string{one, two}, Time: noon})
			for k := range int64(2) {
				messages = append(messages, benchSaid(channel, two, noon+int64(i*31%9973)+k))
			}
		}
		for _, group := range [][]store.Command{members, messages} {
			if _, err := s.Do(b.Context(), group...); err != nil {
				b.Fatal(err)
			}
		}
	}
	var users []string
	for i := range 5000 {
		users = append(users, fmt.Sprintf("user-%06d", i))
	}
	if _, err := s.Do(b.Context(), store.Admit{Channel: "team:large", Users: users, Time: noon}); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d channels were made in %s", benchChats, time.Since(began).Round(time.Millisecond))
	q := store.ConversationQuery{User: "mine", Namespaces: []string{"dm", "team"}, Limit: 50}
	first, err := s.Conversations(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	second := q
	second.After = first.Items[49].Place
	for name, q := range map[string]store.ConversationQuery{"first page": q, "second page": second} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p, err := s.Conversations(b.Context(), q); err != nil || p.Count != benchMine || len(p.Items) != 50 || p.Unread != 2*benchMine {
					b.Fatalf("%d of %d, %v", len(p.Items), p.Count, err)
				}
			}
		})
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Conversation(b.Context(), first.Items[7].Channel, "mine"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("roster of 5000", func(b *testing.B) {
		for b.Loop() {
			if r, err := s.Roster(b.Context(), "team:large", "", 10_000); err != nil || len(r) != 5000 {
				b.Fatal(err)
			}
		}
	})
}

// inParallel has many callers at work, as connections are.
func inParallel(b *testing.B, do func(n int64) error) {
	var next atomic.Int64
	b.SetParallelism(256 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMarkMember has 256 devices mark at once, each time one message more in one of
// 1,000 channels of 10 members.
func BenchmarkMarkMember(b *testing.B, open Opener) {
	s, users := benchTeams(b, open)
	defer func() { _ = s.Close() }()
	inParallel(b, func(n int64) error {
		_, err := s.Do(b.Context(), store.MarkMember{Channel: fmt.Sprint("team:", n%1000), User: users[n/1000%10], Read: uint64(1 + n/10_000%50)})
		return err
	})
}

// BenchmarkSpeak has 256 members write at once.
func BenchmarkSpeak(b *testing.B, open Opener) {
	s, users := benchTeams(b, open)
	defer func() { _ = s.Close() }()
	for name, author := range map[string]bool{"member": true, "anybody": false} {
		b.Run(name, func(b *testing.B) {
			inParallel(b, func(n int64) error {
				user := users[n/1000%10]
				a := benchSaid(fmt.Sprint("team:", n%1000), user, noon)
				if author {
					a.Author = &store.Author{User: user}
				}
				_, err := s.Do(b.Context(), a)
				return err
			})
		})
	}
}

// benchTeams makes 1,000 channels with 10 members and 50 messages.
func benchTeams(b *testing.B, open Opener) (store.Store, []string) {
	b.Helper()
	s, err := open(store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var users []string
	for i := range 10 {
		users = append(users, fmt.Sprint("user-", i))
	}
	for i := range 1000 {
		channel := fmt.Sprint("team:", i)
		var messages []store.Command
		for range 50 {
			messages = append(messages, benchSaid(channel, users[0], noon))
		}
		for _, group := range [][]store.Command{{store.AddMembers{Channel: channel, Users: users, Time: noon}}, messages} {
			if _, err := s.Do(b.Context(), group...); err != nil {
				b.Fatal(err)
			}
		}
	}
	return s, users
}
