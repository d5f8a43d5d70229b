// Package node tells about the server itself. It offers the verbs info, stats,
// stats.series and settings.
//
// It keeps the figures of the last 900 seconds in memory, in room that is
// taken at the start. One goroutine takes them each second; [Feature.Close] ends it.
package node

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/latency"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
)

// Feature is what the node says of itself.
type Feature struct {
	cfg     Config
	started time.Time
	ring    ring
	work    sync.WaitGroup
	once    sync.Once
	ending  chan struct{}
}

// Config of a [Feature]. The functions that are nil count nothing; they are called each second and must
// be quick.
type Config struct {
	Version  string
	Hub      *hub.Hub
	Link     *link.Server
	Sessions *session.Server
	Draining func() bool

	// Doors counts what was done at doors that do not use Link.
	Doors func() Doors
	// Commits counts how long commits of the store take. Nobody else takes from it. Nil:
	// there is no store.
	Commits *latency.Histogram
	// HooksFailed counts requests to the backend that were not answered as they should be.
	HooksFailed func() int64
	// Pushes counts deliveries of pushes that were taken in.
	Pushes func() int64
	// Store gives what was measured last; nil: nothing was, or there is no store.
	Store func() *Store
	// Settings gives every setting in force, and the file that they are from.
	Settings func() (list []Setting, file string)
}

// Doors counts what was done at doors.
type Doors struct {
	Dropped           int64 // messages that did not fit into a client's queue
	Queued            int64 // bytes that wait for clients now
	BytesIn, BytesOut int64
}

// New registers the feature's verbs and begins to take figures.
func New(cfg Config, r *verb.Registry) *Feature {
	if cfg.Doors == nil {
		cfg.Doors = func() Doors { return Doors{} }
	}
	if cfg.Commits == nil {
		cfg.Commits = &latency.Histogram{}
	}
	if cfg.HooksFailed == nil {
		cfg.HooksFailed = func() int64 { return 0 }
	}
	if cfg.Pushes == nil {
		cfg.Pushes = func() int64 { return 0 }
	}
	if cfg.Store == nil {
		cfg.Store = func() *Store { return nil }
	}
	if cfg.Settings == nil {
		cfg.Settings = func() ([]Setting, string) { return nil, "" }
	}
	f := &Feature{cfg: cfg, started: time.Now(), ending: make(chan struct{})}
	verb.Add(r, "info", "Tells version, uptime and nodes.", f.info)
	verb.Add(r, "stats", "Tells what the server has done since it started.", f.stats)
	verb.Add(r, "stats.series", "Tells what the server did in each of the last seconds.", f.series)
	verb.Add(r, "settings", "Lists every setting in force and where it came from.", f.settings)
	f.ring.begun = f.started.UnixMilli()
	before := f.count()
	f.work.Go(func() { f.sample(before) })
	return f
}

// Close takes no more figures. The verbs go on.
func (f *Feature) Close() {
	f.once.Do(func() { close(f.ending) })
	f.work.Wait()
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
	Connections int     `json:"connections"`
	ByTransport Kinds   `json:"by_transport" jsonschema:"the same connections"`
	Users       int     `json:"users"`
	Channels    int     `json:"channels"`
	Open        int64   `json:"open" jsonschema:"sockets, welcomed or not"`
	Frames      int64   `json:"frames" jsonschema:"frames handled"`
	MessagesIn  int64   `json:"messages_in" jsonschema:"frames of clients, over every transport"`
	Published   int64   `json:"published"`
	Deliveries  int64   `json:"deliveries" jsonschema:"messages handed to connections"`
	Dropped     int64   `json:"dropped" jsonschema:"messages that slow readers missed"`
	Queued      int64   `json:"queued" jsonschema:"bytes that wait for slow connections"`
	BytesIn     int64   `json:"bytes_in"`
	BytesOut    int64   `json:"bytes_out"`
	Goroutines  int     `json:"goroutines"`
	Memory      int64   `json:"memory" jsonschema:"bytes of heap in use"`
	Uptime      float64 `json:"uptime" jsonschema:"seconds"`
	Store       *Store  `json:"store,omitempty" jsonschema:"as measured last; absent when nothing is kept"`
}

// Kinds counts connections by transport. Each namespace of a Socket.IO client is one.
type Kinds struct {
	WebSocket int64 `json:"websocket"`
	SocketIO  int64 `json:"socketio"`
	SSE       int64 `json:"sse"`
	Poll      int64 `json:"poll"`
}

// Store is what the store measured of itself.
type Store struct {
	Kind       string `json:"kind" jsonschema:"sqlite or postgres"`
	Bytes      int64  `json:"bytes" jsonschema:"on disk"`
	Channels   int64  `json:"channels"`
	Messages   int64  `json:"messages"`
	Members    int64  `json:"members"`
	Documents  int64  `json:"documents"`
	Schedules  int64  `json:"schedules"`
	Users      int64  `json:"users" jsonschema:"of more than 100000 an estimate on PostgreSQL"`
	Pushes     int64  `json:"pushes" jsonschema:"as users"`
	Deliveries int64  `json:"deliveries" jsonschema:"as users; on SQLite counted up to a million"`
}

func (f *Feature) stats(context.Context, None) (Stats, error) {
	c := f.count()
	connections, users, channels := f.cfg.Hub.Counts()
	memory := newMemory()
	return Stats{
		Connections: connections, ByTransport: f.kinds(), Users: users, Channels: channels, Open: f.cfg.Link.Metrics().Open.Load(),
		Frames: c.MessagesIn, MessagesIn: c.MessagesIn, Published: c.Published, Deliveries: c.MessagesOut, Dropped: c.Dropped, Queued: f.queued(),
		BytesIn: c.BytesIn, BytesOut: c.BytesOut, Goroutines: runtime.NumGoroutine(), Memory: memory.read(),
		Uptime: time.Since(f.started).Seconds(), Store: f.cfg.Store(),
	}, nil
}

func (f *Feature) kinds() Kinds {
	n := func(kind int) int64 { return f.cfg.Hub.Metrics().Connections[kind].Load() }
	return Kinds{WebSocket: n(0), SocketIO: n(1), SSE: n(2), Poll: n(3)}
}

func (f *Feature) queued() int64 { return f.cfg.Link.Metrics().Queued.Load() + f.cfg.Doors().Queued }
