// Package node tells about the server itself. It offers the verbs info and
// stats and stores nothing.
package node

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
)

// Feature is what the node says of itself.
type Feature struct {
	cfg     Config
	started time.Time
}

// Config of a [Feature].
type Config struct {
	Version  string
	Hub      *hub.Hub
	Link     *link.Server
	Sessions *session.Server
	Draining func() bool
}

// New registers the feature's verbs.
func New(cfg Config, r *verb.Registry) *Feature {
	f := &Feature{cfg: cfg, started: time.Now()}
	verb.Add(r, "info", "Tells version, uptime and nodes.", f.info)
	verb.Add(r, "stats", "Tells what the server has done since it started.", f.stats)
	return f
}

// None is for verbs without params.
type None struct{}

// Info is the result of info.
type Info struct {
	Version string     `json:"version"`
	Go      string     `json:"go"`
	Uptime  float64    `json:"uptime" jsonschema:"seconds"`
	PID     int        `json:"pid"`
	Nodes   []NodeInfo `json:"nodes"`
}

// NodeInfo is one node of the cluster.
type NodeInfo struct {
	Name        string `json:"name"`
	State       string `json:"state" jsonschema:"up or draining"`
	Connections int    `json:"connections"`
}

func (f *Feature) info(context.Context, None) (Info, error) {
	name, _ := os.Hostname()
	state := "up"
	if f.cfg.Draining() {
		state = "draining"
	}
	connections, _, _ := f.cfg.Hub.Counts()
	return Info{
		Version: f.cfg.Version, Go: runtime.Version(), PID: os.Getpid(),
		Uptime: time.Since(f.started).Seconds(),
		Nodes:  []NodeInfo{{Name: name, State: state, Connections: connections}},
	}, nil
}

// Stats is the result of stats. Counters begin at the start of the server.
type Stats struct {
	Connections int   `json:"connections"`
	Users       int   `json:"users"`
	Channels    int   `json:"channels"`
	Open        int64 `json:"open" jsonschema:"sockets, welcomed or not"`
	Frames      int64 `json:"frames" jsonschema:"frames handled"`
	Published   int64 `json:"published"`
	Deliveries  int64 `json:"deliveries" jsonschema:"messages handed to connections"`
	Dropped     int64 `json:"dropped" jsonschema:"messages that slow readers missed"`
	BytesIn     int64 `json:"bytes_in"`
	BytesOut    int64 `json:"bytes_out"`
	Goroutines  int   `json:"goroutines"`
	Memory      int64 `json:"memory" jsonschema:"bytes of heap in use"`
}

func (f *Feature) stats(context.Context, None) (Stats, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	connections, users, channels := f.cfg.Hub.Counts()
	l, h := f.cfg.Link.Metrics(), f.cfg.Hub.Metrics()
	return Stats{
		Connections: connections, Users: users, Channels: channels, Open: l.Open.Load(),
		Frames: f.cfg.Sessions.Metrics().Frames.Load(), Published: h.Published.Load(), Deliveries: h.Deliveries.Load(),
		Dropped: l.Dropped.Load(), BytesIn: l.BytesIn.Load(), BytesOut: l.BytesOut.Load(),
		Goroutines: runtime.NumGoroutine(), Memory: int64(m.HeapAlloc),
	}, nil
}
