package push_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/fatigue"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/push"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long something that must come is waited for.
const patience = 20 * time.Second

// lines is the encoding of devices here: each frame is a line.
type lines struct{}

func (lines) Append(dst, frame []byte) []byte { return append(append(dst, frame...), '\n') }

// other is an encoding that the hub has no place for.
type other struct{ lines }

// device is a connection that keeps what it is sent.
type device struct {
	hub.Conn
	w *world

	mu     sync.Mutex // guards all below
	frames []string
	gone   bool
	full   bool // takes no offers
	seen   chan struct{}
}

var _ hub.Outlet = (*device)(nil)

func (d *device) keepLocked(wire []byte) {
	for line := range strings.Lines(string(wire)) {
		d.frames = append(d.frames, strings.TrimSuffix(line, "\n"))
	}
	select {
	case d.seen <- struct{}{}:
	default:
	}
}

// Send implements hub.Outlet.
func (d *device) Send(bufs []link.Buf, sub link.Subscriber) { d.Offer(bufs, sub) }

// Offer implements hub.Outlet.
func (d *device) Offer(bufs []link.Buf, sub link.Subscriber) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range bufs {
		switch {
		case d.gone || !sub.Live():
			return len(bufs)
		case d.full:
			return 0
		}
		d.keepLocked(b.B)
	}
	return len(bufs)
}

// SendControl implements hub.Outlet.
func (d *device) SendControl(wire []byte, then func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return false
	}
	d.keepLocked(wire)
	if then != nil {
		then()
	}
	return true
}

// SendFirst implements hub.Outlet.
func (d *device) SendFirst(before func(), wire []byte) bool {
	before()
	return d.SendControl(wire, nil)
}

// Close implements hub.Outlet.
func (d *device) Close(protocol.Close, string, []byte) {}

// Queued implements hub.Outlet.
func (d *device) Queued() int { return 0 }

// Written implements hub.Outlet.
func (d *device) Written() int64 { return 0 }

// Transport implements hub.Outlet.
func (d *device) Transport() string { return "test" }

// Remote implements hub.Outlet.
func (d *device) Remote() netip.AddrPort { return netip.AddrPort{} }

// setFull says whether the device takes what it is offered.
func (d *device) setFull(full bool) {
	d.mu.Lock()
	d.full = full
	d.mu.Unlock()
	if !full {
		d.Drained()
	}
}

// frame is what a device got.
type frame struct {
	Type, Channel, ID, Event, User    string
	Category, Collapse                string
	Seq, Read, Unread, Expires, Count uint64
	Data                              json.RawMessage
}

// maybe takes the next frame if there is one within a time.
func (d *device) maybe(wait time.Duration) (f frame, ok bool) {
	d.w.t.Helper()
	over := time.After(wait)
	for {
		d.mu.Lock()
		if len(d.frames) > 0 {
			text := d.frames[0]
			d.frames = d.frames[1:]
			d.mu.Unlock()
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				d.w.t.Errorf("%q: %v", text, err)
			}
			return f, true
		}
		d.mu.Unlock()
		select {
		case <-d.seen:
		case <-over:
			return f, false
		}
	}
}

// next waits for a frame.
func (d *device) next() frame {
	d.w.t.Helper()
	f, ok := d.maybe(patience)
	if !ok {
		d.w.t.Fatal("no frame came")
	}
	return f
}

// expect takes frames of a type and gives their seqs.
func (d *device) expect(kind string, seqs ...uint64) (list []frame) {
	d.w.t.Helper()
	for i, seq := range seqs {
		f := d.next()
		if f.Type != kind || f.Channel != protocol.Inbox || f.Seq != seq {
			d.w.t.Fatalf("frame %d is %+v, want a %s with seq %d", i, f, kind, seq)
		}
		list = append(list, f)
	}
	return list
}

// nothing checks that no frame waits, once all that the engine has to do is done.
func (d *device) nothing() {
	d.w.t.Helper()
	d.w.settled()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.frames) > 0 {
		d.w.t.Errorf("got %q, want nothing", d.frames)
	}
}

// leave ends the connection.
func (d *device) leave() {
	d.mu.Lock()
	d.gone = true
	d.mu.Unlock()
	d.w.hub.Remove(&d.Conn)
}

// ack acknowledges everything up to a seq.
func (d *device) ack(seq uint64) push.Acked {
	d.w.t.Helper()
	done, err := d.w.Ack(context.Background(), push.Ack{User: d.User(), Device: d.Identity().Device, Conn: &d.Conn, Seq: seq})
	if err != nil {
		d.w.t.Error(err)
	}
	return done
}

// faulty is a store that does nothing while it is down, and says whether it is shared.
type faulty struct {
	store.Store
	down   atomic.Bool
	shared bool
}

func (f *faulty) Shared() bool { return f.shared }

func (f *faulty) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	if f.down.Load() {
		return nil, store.ErrUnavailable
	}
	return f.Store.Do(ctx, group...)
}

func (f *faulty) Inboxes(ctx context.Context, users ...string) ([]store.Inbox, error) {
	if f.down.Load() {
		return nil, store.ErrUnavailable
	}
	return f.Store.Inboxes(ctx, users...)
}

// options of a world.
type options struct {
	push.Config
	settings push.Settings
	dir      string // "": a new one
	kept     store.Store
	shared   bool
}

// world is an engine with a hub, on a store in a file.
type world struct {
	*push.Pushes
	t     testing.TB
	hub   *hub.Hub
	store *faulty
	dir   string
	stop  func()
}

func start(t testing.TB, o options) *world {
	t.Helper()
	w := &world{t: t, dir: o.dir}
	if w.dir == "" {
		w.dir = t.TempDir()
	}
	o.Config.Settings = func() push.Settings { return o.settings }
	o.Logger = slog.New(slog.DiscardHandler)
	w.Pushes = push.New(o.Config)
	w.hub = hub.New(hub.Config{Encodings: []hub.Encoding{lines{}}, Shards: 1, Drained: w.Drained})
	kept := o.kept
	if kept == nil {
		var err error
		if kept, err = sqlite.Open(t.Context(), sqlite.Config{Dir: w.dir, Relaxed: true, Options: store.Options{Pushed: w.Pushed}}); err != nil {
			t.Fatal(err)
		}
	}
	w.store = &faulty{Store: kept, shared: o.shared}
	if err := w.Start(t.Context(), w.hub, w.store); err != nil {
		t.Fatal(err)
	}
	w.stop = sync.OnceFunc(func() {
		w.Close()
		if o.kept == nil {
			if err := kept.Close(); err != nil {
				t.Error(err)
			}
		}
		w.hub.Close()
	})
	t.Cleanup(w.stop)
	return w
}

// add makes a connection that is not welcomed yet as far as the engine is concerned.
func (w *world) add(user string, encoding hub.Encoding) *device {
	d := &device{w: w, seen: make(chan struct{}, 1)}
	d.Conn.ID = id.NewConnection()
	w.hub.Add(&d.Conn, d, encoding, d, auth.Identity{User: user, Device: "pad"}, 1)
	return d
}

// connect is a device of a user that is welcomed.
func (w *world) connect(user string) *device {
	d := w.add(user, lines{})
	w.Welcome(&d.Conn)
	return d
}

// idle waits until the engine has nothing to remember.
func (w *world) idle() {
	w.t.Helper()
	w.until("nothing is remembered", func() bool { return w.Metrics().Users.Load() == 0 })
}

// settled waits until nobody lacks anything.
func (w *world) settled() {
	w.t.Helper()
	w.until("nobody lacks anything", func() bool { return w.Metrics().Behind.Load() == 0 && w.Waiting() == 0 })
}

// until waits for something that is not told.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-over:
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// send pushes a message without rules to users.
func (w *world) send(data string, users ...string) push.Pushed {
	w.t.Helper()
	return w.push(push.Message{Content: store.Content{Data: []byte(data)}}, users...)
}

func (w *world) push(m push.Message, users ...string) push.Pushed {
	w.t.Helper()
	done, err := w.Push(context.Background(), m, recipients(users...))
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func recipients(users ...string) []store.Recipient {
	list := make([]store.Recipient, len(users))
	for i, user := range users {
		list[i].User = user
	}
	return list
}

// sendMany pushes messages with the data from, from+1 … to one user.
func (w *world) sendMany(user string, from, count int) {
	w.t.Helper()
	for i := range count {
		w.send(fmt.Sprint(from+i), user)
	}
}

// states are what became of what was pushed to a user, by seq.
func (w *world) states(user string) (list []string) {
	w.t.Helper()
	page, err := w.Records(context.Background(), store.RecordQuery{User: user, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range page.Records {
		list = append([]string{page.Records[i].State.String()}, list...)
	}
	return list
}

// capped is a category that lets so many through in a day.
func capped(limit int, onCap string) fatigue.Policy {
	return fatigue.Policy{
		Category: "promo", OnCap: onCap, Priority: 5, Mutable: true,
		Chain: []fatigue.Level{{Category: "promo", Caps: []fatigue.Cap{{Per: "day", Max: limit}}}},
	}
}

func upTo(n uint64) []uint64 { return between(1, n) }

func between(from, to uint64) (list []uint64) {
	for seq := from; seq <= to; seq++ {
		list = append(list, seq)
	}
	return list
}
