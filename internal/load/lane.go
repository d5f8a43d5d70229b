package load

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// lane is a share of the connections and what came in on them. Whoever reads
// for a connection holds the lane's lock.
type lane struct {
	swarm *Swarm
	plain multiplexer

	// Counted while the lane is locked, read at any time.
	delivered    atomic.Int64 // messages with a mark
	told         atomic.Int64 // messages that the server says it dropped
	bytes        atomic.Int64 // of frames with a mark
	reads        atomic.Int64
	disconnected atomic.Int64
	errors       atomic.Int64
	agreed       atomic.Int64 // answers to subscribers of log channels that are open already
	caught       atomic.Int64 // subscribers that have all that they missed

	mu      sync.Mutex // guards all below
	now     int64
	latency *hdrhistogram.Histogram // microseconds
	opening *hdrhistogram.Histogram // microseconds
	trouble string                  // the first thing that went wrong
	sample  []byte                  // the latest frame with a mark

	recovery *hdrhistogram.Histogram // microseconds from sub until nothing was missing
}

// The histograms keep 1 µs to 2 minutes with three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 120e6, 3) }

func newLane(s *Swarm) *lane {
	return &lane{swarm: s, latency: newHistogram(), opening: newHistogram(), recovery: newHistogram()}
}

// opened counts how long a connection took to become ready.
func (l *lane) opened(ns int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.opening.RecordValue(max(1, ns/1000)) // fails only beyond two minutes, and dialing gives up before
}

// record counts a latency; what is beyond the histogram counts as its end.
func record(h *hdrhistogram.Histogram, ns int64) {
	if h.RecordValue(max(1, ns/1000)) != nil {
		_ = h.RecordValue(h.HighestTrackableValue())
	}
}

// take makes the lane serve a connection.
func (l *lane) take(c *conn, nc net.Conn) error {
	if tcp, ok := nc.(*net.TCPConn); ok && l.plain.available() {
		return l.plain.take(c, tcp)
	}
	c.nc = nc
	l.swarm.running.Go(func() { l.serve(c) })
	return nil
}

// serve reads one connection until it ends, where there is no epoll.
func (l *lane) serve(c *conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := c.nc.Read(buf)
		l.mu.Lock()
		l.now = l.swarm.now()
		l.reads.Add(1)
		if n > 0 {
			c.receive(buf[:n])
		}
		if err != nil {
			c.lost(err)
		}
		l.mu.Unlock()
		l.swarm.awake()
		if err != nil {
			return
		}
	}
}
