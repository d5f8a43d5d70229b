package hub_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines writes a frame as a line, so that joined frames can be told apart; a
// second encoding marks its lines.
type lines struct{ mark string }

func (l lines) Append(dst, frame []byte) []byte {
	return append(append(append(dst, l.mark...), frame...), '\n')
}

// outlet is a transport that keeps the lines it was given.
type outlet struct {
	mu    sync.Mutex
	lines []string
	gone  bool
	done  chan struct{} // closed when a line "end" arrives; nil: nobody waits
	slow  chan struct{} // not nil: Send waits for it
	byes  []protocol.Close
	n     atomic.Int64 // messages that were counted in the bufs
	full  atomic.Bool  // takes no offer
}

func (o *outlet) Send(bufs []link.Buf, sub link.Subscriber) {
	if o.slow != nil {
		<-o.slow
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !sub.Live() {
		return
	}
	for _, b := range bufs {
		o.n.Add(int64(b.N))
		o.keepLocked(b.B)
	}
}

func (o *outlet) SendFirst(before func(), wire []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return false
	}
	before()
	o.keepLocked(wire)
	return true
}

func (o *outlet) Offer(bufs []link.Buf, sub link.Subscriber) int {
	if o.full.Load() {
		return 0
	}
	o.Send(bufs, sub)
	return len(bufs)
}

func (o *outlet) SendControl(wire []byte, then func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return false
	}
	o.keepLocked(wire)
	if then != nil {
		then()
	}
	return true
}

func (o *outlet) keepLocked(wire []byte) {
	start := 0
	for i, c := range wire {
		if c == '\n' {
			line := string(wire[start:i])
			o.lines = append(o.lines, line)
			if line == "end" && o.done != nil {
				close(o.done)
			}
			start = i + 1
		}
	}
}

func (o *outlet) Close(reason protocol.Close, _ string, _ []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
	o.byes = append(o.byes, reason)
}

func (o *outlet) Queued() int            { return 0 }
func (o *outlet) Written() int64         { return 0 }
func (o *outlet) Transport() string      { return "test" }
func (o *outlet) Remote() netip.AddrPort { return netip.AddrPort{} }

// take gives the lines since the last call.
func (o *outlet) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.lines
	o.lines = nil
	return list
}

var space = &hub.Space{Name: "room", Kind: "event", Presence: hub.PresenceMembers}

// world is a hub with a sentinel in each shard, by which it can be told when
// everything published before has been handed over.
type world struct {
	*hub.Hub
	t         testing.TB
	sentinels []*peer
	flushes   int
}

type peer struct {
	hub.Conn
	out outlet
}

func start(t testing.TB, cfg hub.Config) *world {
	t.Helper()
	if cfg.Encodings == nil {
		cfg.Encodings = []hub.Encoding{lines{}, lines{"2:"}}
	}
	if cfg.Shards == 0 {
		cfg.Shards = 3
	}
	w := &world{Hub: hub.New(cfg), t: t}
	for range cfg.Shards { // connections are dealt to the shards in turn
		w.sentinels = append(w.sentinels, w.connect("", 0))
	}
	return w
}

func newPeer() *peer {
	p := new(peer)
	p.ID = id.NewConnection()
	return p
}

func (w *world) connect(user string, encoding int) *peer {
	p := newPeer()
	w.Add(&p.Conn, &p.out, w.Encoding(encoding), p, auth.Identity{User: user}, 1)
	return p
}

// flush waits until the workers have handed over all that was published. Each
// shard takes its channels in the order in which they became dirty.
func (w *world) flush() {
	w.t.Helper()
	w.flushes++
	name := fmt.Sprintf("flush:%d", w.flushes)
	for _, s := range w.sentinels {
		s.out.mu.Lock()
		s.out.done = make(chan struct{})
		s.out.mu.Unlock()
		w.subscribe(s, name)
	}
	w.publish(name, "end")
	for _, s := range w.sentinels {
		<-s.out.done
		s.out.mu.Lock()
		s.out.done = nil
		s.out.lines = nil
		s.out.mu.Unlock()
		w.Unsubscribe(&s.Conn, name)
	}
}

func (w *world) subscribe(p *peer, channel string) bool {
	w.t.Helper()
	fresh, err := w.Subscribe(&p.Conn, channel, space, hub.SubOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return fresh
}

func (w *world) publish(channel, frame string, except ...*hub.Conn) hub.Reach {
	w.t.Helper()
	r, err := w.Publish(context.Background(), channel, []byte(frame), except)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// blackHole is a transport that is done with everything at once.
type blackHole struct{}

func (blackHole) Send([]link.Buf, link.Subscriber)          {}
func (blackHole) SendControl([]byte, func()) bool           { return true }
func (blackHole) SendFirst(func(), []byte) bool             { return true }
func (blackHole) Offer(b []link.Buf, _ link.Subscriber) int { return len(b) }
func (blackHole) Close(protocol.Close, string, []byte)      {}
func (blackHole) Queued() int                               { return 0 }
func (blackHole) Written() int64                            { return 0 }
func (blackHole) Transport() string                         { return "test" }
func (blackHole) Remote() netip.AddrPort                    { return netip.AddrPort{} }
