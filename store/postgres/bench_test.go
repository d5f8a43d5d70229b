package postgres_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/storetest"
)

// benchChannels is what the appends are spread over.
const benchChannels = 100_000

// BenchmarkAppend is 256 publishers of 128 bytes over many channels, each of
// which waits until its message is on disk. bytes/message is what the tables
// and indexes take, heads included.
func BenchmarkAppend(b *testing.B) {
	for name, keyed := range map[string]bool{"plain": false, "keyed": true} {
		b.Run(name, func(b *testing.B) {
			s := open(b, postgres.Config{URL: server.Database(b)})
			b.ResetTimer()
			publish(b, s, b.N, benchChannels, keyed)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.ReportMetric(0, "ns/op")
			report(b, s)
		})
	}
}

// publish appends n messages from 256 goroutines.
func publish(tb testing.TB, s store.Store, n, channels int, keyed bool) {
	tb.Helper()
	data := fmt.Sprintf("%0128d", 1)
	var next atomic.Int64
	var publishers sync.WaitGroup
	for range 256 {
		publishers.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				a := newAppend("room:"+strconv.FormatInt(i*7919%int64(channels), 10), data)
				if keyed {
					key := id.NewConnection()
					a.Key, a.Content, a.Expires = key[:], []byte("0123456789abcdef"), a.Time+int64(24*time.Hour/time.Millisecond)
				}
				if _, err := s.Do(tb.Context(), a); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	publishers.Wait()
}

func report(b *testing.B, s store.Store) {
	stats, err := s.Stats(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(stats.Bytes)/float64(max(stats.Messages, 1)), "bytes/message")
}

// BenchmarkRead reads 10 messages after a seq, from channels that are in memory.
func BenchmarkRead(b *testing.B) {
	s := open(b, postgres.Config{URL: server.Database(b)})
	const channels, each = 1000, 20
	publish(b, s, channels*each, channels, false)
	b.ResetTimer()
	b.SetParallelism(8)
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			channel := "room:" + strconv.FormatInt(next.Add(1)%channels, 10)
			page, err := s.Read(b.Context(), store.Query{Channel: channel, After: 5, Limit: 10})
			if err != nil || len(page.Messages) != 10 {
				b.Errorf("%s: %d messages, %v", channel, len(page.Messages), err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
}

// A message of 128 bytes with a sender takes little more than 250 bytes, everything
// included. On a busy machine heads leave some dead rows behind, for which there
// is room in the bound.
func TestAMessageTakesLittleRoom(t *testing.T) {
	s := open(t, postgres.Config{URL: server.Database(t)})
	const channels, each = 1000, 50
	publish(t, s, channels*each, channels, false)
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Messages != channels*each || stats.Channels != channels {
		t.Errorf("stats are %+v", stats)
	}
	if each := float64(stats.Bytes) / float64(stats.Messages); each > 350 {
		t.Errorf("a message takes %.0f bytes", each)
	}
}

// place gives a database for a store of a benchmark.
func place(b *testing.B) storetest.Opener {
	url := server.Database(b)
	return func(opt store.Options) (store.Store, error) {
		return postgres.Open(b.Context(), postgres.Config{URL: url, Options: opt})
	}
}

func BenchmarkUsers(b *testing.B) { storetest.BenchmarkUsers(b, place(b)) }

func BenchmarkPush(b *testing.B) { storetest.BenchmarkPush(b, place(b)) }

func BenchmarkConversations(b *testing.B) { storetest.BenchmarkConversations(b, place(b)) }

func BenchmarkMarkMember(b *testing.B) { storetest.BenchmarkMarkMember(b, place(b)) }

func BenchmarkSpeak(b *testing.B) { storetest.BenchmarkSpeak(b, place(b)) }
