package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/skein-realtime/skein"
)

// How memory is kept. Connections are many small objects that live long: Go's
// default would keep as much again in garbage. A server with few of them, on
// the other hand, would collect all the time if its heap could grow by half only.
const (
	minHeadroom = 24 << 20 // bytes the heap may always grow between collections
	growth      = 50       // percent it may grow when it is large
	maxPercent  = 2000
	burst       = 1000 // connections that came or went; their garbage is given back to the system
)

// keepMemory sets how far the heap may grow between collections from how large
// it is, and gives memory back after many connections have come or gone. GOGC,
// when it is set, wins. It returns when ctx ends.
func keepMemory(ctx context.Context, s *skein.Server) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	settled, before := int64(0), int64(0)
	percent := 100
	for {
		metrics.Read(sample)
		live := int64(4 << 20)
		if sample[0].Value.Kind() == metrics.KindUint64 {
			live = max(live, int64(sample[0].Value.Uint64()))
		}
		if want := int(min(maxPercent, max(growth, minHeadroom*100/live))); want != percent {
			percent = want
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.Connections()
		moving := abs(now-before) > now/100+10
		before = now
		if !moving && abs(now-settled) >= burst {
			settled = now
			debug.FreeOSMemory()
		}
	}
}

func abs(n int64) int64 { return max(n, -n) }
