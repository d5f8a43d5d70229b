package node_test

import (
	"encoding/json"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feature/node"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/session"
	"github.com/skein-realtime/skein/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type plain struct{}

func (plain) Append(dst, frame []byte) []byte { return append(dst, frame...) }

func TestTheNodeTellsOfItself(t *testing.T) {
	links, err := link.Start(link.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer links.Close()
	h := hub.New(hub.Config{Encodings: []hub.Encoding{plain{}}})
	defer h.Close()
	sessions := session.NewServer(session.Config{Hub: h, Clock: links})
	defer sessions.Close()
	verbs := verb.NewRegistry(verb.NewMemo(0, 0), 4)
	var draining atomic.Bool
	f := node.New(node.Config{
		Version: "1.2.3", Hub: h, Link: links, Sessions: sessions, Draining: draining.Load,
		Doors: func() node.Doors { return node.Doors{Dropped: 3, Queued: 70, BytesIn: 5, BytesOut: 7} },
		Store: func() *node.Store { return &node.Store{Kind: "sqlite", Bytes: 4096, Messages: 2} },
	}, verbs)
	defer f.Close()
	for i := range 3 {
		c := &hub.Conn{ID: id.NewConnection()}
		h.Add(c, nil, h.Encoding(0), nil, auth.Identity{User: []string{"", "ann", "ann"}[i]}, 1)
	}
	links.Metrics().BytesOut.Store(1 << 40)
	links.Metrics().Queued.Store(30)
	sessions.Metrics().Frames.Store(12)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"up", "draining"} {
		draining.Store(state == "draining")
		raw, err := verbs.Run(t.Context(), "info", nil, "")
		if err != nil {
			t.Fatal(err)
		}
		var info node.Info
		if err := json.Unmarshal(raw, &info); err != nil {
			t.Fatal(err)
		}
		if info.Uptime < 0 || info.Uptime > 60 {
			t.Errorf("it is up for %v s", info.Uptime)
		}
		info.Uptime = 0
		want := node.Info{Version: "1.2.3", Go: runtime.Version(), PID: os.Getpid(), Nodes: []node.NodeInfo{{Name: host, State: state, Connections: 3}}}
		if diff := cmp.Diff(want, info); diff != "" {
			t.Error(diff)
		}
	}
	raw, err := verbs.Run(t.Context(), "stats", []byte(`{}`), "")
	if err != nil {
		t.Fatal(err)
	}
	var stats node.Stats
	if err := json.Unmarshal(raw, &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Goroutines < 2 || stats.Memory <= 0 {
		t.Errorf("%d goroutines, %d bytes", stats.Goroutines, stats.Memory)
	}
	if stats.Uptime < 0 || stats.Uptime > 60 {
		t.Errorf("it is up for %v s", stats.Uptime)
	}
	stats.Goroutines, stats.Memory, stats.Uptime = 0, 0, 0
	want := node.Stats{
		Connections: 3, Users: 1, Frames: 12, MessagesIn: 12, Dropped: 3, Queued: 100, BytesIn: 5, BytesOut: 1<<40 + 7,
		Store: &node.Store{Kind: "sqlite", Bytes: 4096, Messages: 2},
	}
	if diff := cmp.Diff(want, stats); diff != "" {
		t.Error(diff)
	}
	if _, err := verbs.Run(t.Context(), "info", []byte(`{"x":1}`), ""); err == nil {
		t.Error("an unknown field is accepted")
	}
}
