package load

import (
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a scenario found. Counts of messages are over the whole run,
// rates and use over the measured interval.
type Report struct {
	Scenario    string  `json:"scenario"`
	Connections int     `json:"connections"`
	Channels    int     `json:"channels,omitempty"`
	Publishers  int     `json:"publishers,omitempty"`
	Size        int     `json:"size,omitempty"` // bytes of data of a message
	Seconds     float64 `json:"seconds"`        // that were measured

	Offered     int64 `json:"offered,omitempty"`     // messages that the rate asked for
	Sent        int64 `json:"sent,omitempty"`        // that left
	Accepted    int64 `json:"accepted,omitempty"`    // that were answered with ok
	Refused     int64 `json:"refused,omitempty"`     // that were answered with an error
	Unanswered  int64 `json:"unanswered,omitempty"`  // that were not answered
	Expected    int64 `json:"expected,omitempty"`    // deliveries: accepted, times the subscribers
	Delivered   int64 `json:"delivered,omitempty"`   // different messages that arrived, over all subscribers
	Told        int64 `json:"told,omitempty"`        // that the server said it dropped
	Lost        int64 `json:"lost"`                  // neither arrived nor told
	Duplicated  int64 `json:"duplicated"`            // arrived again
	OutOfOrder  int64 `json:"out_of_order"`          // arrived after a later one
	Misplaced   int64 `json:"misplaced,omitempty"`   // log channels: seqs that a subscriber was not given, or given again
	Disconnects int64 `json:"disconnects,omitempty"` // connections that ended by themselves
	Stalls      int64 `json:"stalls,omitempty"`      // times that nothing arrived for so long that the run went on without

	PerSecond  float64 `json:"per_second"` // publishes, connections or round trips
	Deliveries float64 `json:"deliveries_per_second,omitempty"`
	Joined     float64 `json:"joined,omitempty"`      // messages of one read: about as many as the server wrote at once
	FrameBytes float64 `json:"frame_bytes,omitempty"` // of a delivered frame, without the WebSocket header

	Latency   Latency  `json:"latency"`                   // from sending to arrival; of connections: until ready
	Answer    *Latency `json:"answer,omitempty"`          // from publishing to its ok
	Live      *Latency `json:"live,omitempty"`            // of a storm: of what flowed meanwhile
	Generator float64  `json:"generator_share,omitempty"` // of a core that the generator used; 0: unknown
	Server    *Use     `json:"server,omitempty"`          // nil: not a process of this machine
	Trouble   string   `json:"trouble,omitempty"`         // the first thing that went wrong, as the server said it

	// Sample is a frame as it was delivered; nil when there was none.
	Sample []byte `json:"-"`
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Latency{h.TotalCount(), at(50), at(90), at(99), float64(h.Max()) / 1000}
}

// Use is what the server process used.
type Use struct {
	PID           int     `json:"pid"`
	CPU           float64 `json:"cpu_seconds"` // in the measured interval
	Share         float64 `json:"cpu_share"`   // of one core
	PerDelivery   float64 `json:"cpu_us_per_delivery,omitempty"`
	PerPublish    float64 `json:"cpu_us_per_publish,omitempty"`
	PerConnection float64 `json:"cpu_us_per_connection,omitempty"`
	Besides       float64 `json:"cpu_us_besides,omitempty"` // of a storm, for each connection: for what flowed besides, not in PerConnection
	PerEcho       float64 `json:"cpu_us_per_echo,omitempty"`
	RSSBefore     int64   `json:"rss_before"` // bytes, before the first connection
	RSS           int64   `json:"rss"`        // bytes, at the end
	RSSEach       float64 `json:"rss_per_connection,omitempty"`
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) error {
	var err error
	line := func(name, format string, args ...any) {
		if err == nil {
			_, err = fmt.Fprintf(w, "%-13s "+format+"\n", append([]any{name}, args...)...)
		}
	}
	line("connections", "%d", r.Connections)
	if r.Publishers > 0 {
		line("published", "%.0f/s; %d accepted, %d refused, %d without an answer", r.PerSecond, r.Accepted, r.Refused, r.Unanswered)
	} else {
		line("rate", "%.0f/s", r.PerSecond)
	}
	if r.Expected > 0 {
		line("delivered", "%.0f/s; %d of %d, %d told as dropped", r.Deliveries, r.Delivered, r.Expected, r.Told)
	}
	line("wrong", "%d lost, %d duplicated, %d out of order, %d disconnected", r.Lost, r.Duplicated, r.OutOfOrder, r.Disconnects)
	if r.Latency.Count > 0 {
		line("latency", "%s", r.Latency)
	}
	if r.Answer != nil && r.Answer.Count > 0 {
		line("answers", "%s", *r.Answer)
	}
	if u := r.Server; u != nil {
		for _, each := range []struct {
			of string
			us float64
		}{{"delivery", u.PerDelivery}, {"publish", u.PerPublish}, {"connection", u.PerConnection}, {"round trip", u.PerEcho}} {
			if each.us > 0 {
				line("server CPU", "%.2f µs per %s, %.0f%% of a core", each.us, each.of, 100*u.Share)
				break
			}
		}
		line("server memory", "%.1f MB, %.1f MB before the first connection: %.2f KB each", float64(u.RSS)/1e6, float64(u.RSSBefore)/1e6, u.RSSEach/1024)
	}
	if r.Trouble != "" {
		line("trouble", "%s", r.Trouble)
	}
	return err
}

// String gives the usual percentiles.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms", l.P50, l.P90, l.P99, l.Max)
}

func seconds(ns int64) float64 { return time.Duration(ns).Seconds() }
