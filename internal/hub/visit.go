package hub

import (
	"context"
	"time"
)

// How often channels are visited, and how many at once.
const (
	visitEvery = 2 * time.Second
	visitBatch = 500
)

// Visit gives the names of the channels that have subscribers and rules which match
// to fn, some at a time, every two seconds until ctx ends.
func (h *Hub) Visit(ctx context.Context, match func(*Space) bool, fn func(names []string)) {
	tick := time.NewTicker(visitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var names []string
		h.EachChannel(func(ch *Channel) bool {
			if match(ch.space) {
				names = append(names, ch.name)
			}
			return true
		})
		for len(names) > 0 && ctx.Err() == nil {
			n := min(len(names), visitBatch)
			fn(names[:n])
			names = names[n:]
		}
	}
}
