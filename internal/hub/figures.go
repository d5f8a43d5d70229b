package hub

import (
	"slices"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/latency"
)

// Transports are the kinds of connections that are counted.
var Transports = [...]string{"websocket", "socketio", "sse", "poll"}

// kindOf is the place of a connection's transport in [Transports]; -1: it has none. All
// transports of Socket.IO are one, so that it does not change when a client goes from one to the other.
func kindOf(transport string) int {
	if strings.HasPrefix(transport, "socket.io/") {
		transport = "socketio"
	}
	return slices.Index(Transports[:], transport)
}

// count counts a connection by its transport.
func (h *Hub) count(c *Conn, n int64) {
	if c.out == nil {
		return
	}
	if i := kindOf(c.out.Transport()); i >= 0 {
		h.metrics.Connections[i].Add(n)
	}
}

// now is a clock that is cheaper than time.Now.
func (h *Hub) now() time.Duration { return time.Since(h.start) }

// TakeDelivery tells how long messages took since the last call: from being accepted for
// fan-out to having been handed to the last connection that a pass of one shard is for. A
// message counts once for each shard that has readers of its channel. What is
// handed over without a pass ([Hub.PublishTo], inboxes, readers that catch up) does not count.
//
// Looking at the clock twice would cost a message with one reader a tenth of its time. So of a
// channel the first messages after a call are measured, and then every eighth, which stands for
// those before it.
func (h *Hub) TakeDelivery() latency.Summary {
	h.taken.Add(1)
	return h.metrics.delivery.Take()
}

// How many messages of a channel are measured one by one, and for how many each of the others
// stands that are.
const (
	timedFirst = 16
	timedEvery = 8
)

// timing counts the messages of a channel since [Hub.TakeDelivery] was called.
type timing struct {
	taken uint32
	count uint32
}

// stampLocked gives the time for a message that is to be measured, and for how many it stands;
// weight 0: it is not.
func (ch *Channel) stampLocked(h *Hub) (at time.Duration, weight uint8) {
	t := &ch.timing
	if taken := h.taken.Load(); t.taken != taken {
		t.taken, t.count = taken, 0
	}
	t.count++
	switch {
	case t.count <= timedFirst:
		return h.now(), 1
	case t.count%timedEvery == 0:
		return h.now(), timedEvery
	}
	return 0, 0
}

// took notes how long the messages of a run have taken that was handed to somebody.
func (w *worker) took(run []pend, receivers int) {
	var now time.Duration
	for i := range run {
		weight := run[i].weight
		if weight == 0 || receivers == 0 {
			continue
		}
		if now == 0 {
			now = w.hub.now()
		}
		w.hub.metrics.delivery.RecordN(now-run[i].at, int64(weight))
	}
}
