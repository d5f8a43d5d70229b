package push_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/store"
)

// BenchmarkAcknowledge measures acknowledgements, each on disk before its answer, by 256
// connections at once.
func BenchmarkAcknowledge(b *testing.B) {
	w := start(b, options{settings: push.Settings{Window: 1000}})
	const crowd = 256
	var users []string
	for i := range crowd {
		users = append(users, fmt.Sprint("user", i))
	}
	var ids []string
	for range b.N/crowd + 1 {
		ids = append(ids, w.send("1", users...).ID)
	}
	var next atomic.Int64
	b.SetParallelism(crowd)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			k := int(next.Add(1) - 1)
			if _, err := w.Ack(context.Background(), push.Ack{User: users[k%crowd], Messages: ids[k/crowd : k/crowd+1]}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acks/s")
}

// BenchmarkDeliver measures messages on their way from the store's writer to
// connections.
func BenchmarkDeliver(b *testing.B) {
	w := start(b, options{settings: push.Settings{Window: 1000}})
	const crowd = 1000
	list := store.Pushed{ID: "01M7ZY5HR3MKW0BMD3V1SQGJPA", Content: &store.Content{ID: "01M7ZY5HR3MKW0BMD3V1SQGJPA", Data: []byte(`{"text":"hello"}`)}}
	for i := range crowd {
		user := fmt.Sprint("user", i)
		w.connect(user)
		list.Rows = append(list.Rows, store.Row{N: uint64(i + 1), User: user, State: store.Queued})
	}
	w.idle()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += crowd {
		for k := range list.Rows {
			list.Rows[k].Seq++
		}
		sent := w.Metrics().Sent.Load()
		w.Pushed([]store.Pushed{list})
		if i/crowd < 900 {
			w.until("they are sent", func() bool { return w.Metrics().Sent.Load() >= sent+crowd })
		}
	}
}
