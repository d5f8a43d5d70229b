package feed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/internal/auth"
	"github.com/skein-realtime/skein/internal/feed"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a reader waits for a frame.
const patience = 20 * time.Second

var room = &hub.Space{Name: "room", Kind: hub.KindLog}

// kept is a real store whose reads can be stopped, and which says that other processes
// write to it, when they do.
type kept struct {
	store.Store
	shared bool
	read   atomic.Pointer[func()] // runs after each read of messages; nil: nothing
	fails  atomic.Bool            // so do reads of messages
	epoch  atomic.Pointer[string] // what the epoch is said to be; nil: what it is
}

func (k *kept) Shared() bool { return k.shared }

func (k *kept) Read(ctx context.Context, q store.Query) (store.Page, error) {
	page, err := k.Store.Read(ctx, q)
	if hook := k.read.Load(); hook != nil {
		(*hook)()
	}
	if k.fails.Load() {
		return store.Page{}, store.ErrUnavailable
	}
	if epoch := k.epoch.Load(); epoch != nil {
		page.Head.Epoch = *epoch
	}
	return page, err
}

func (k *kept) Heads(ctx context.Context, channels ...string) ([]store.Head, error) {
	heads, err := k.Store.Heads(ctx, channels...)
	if epoch := k.epoch.Load(); epoch != nil {
		for i := range heads {
			heads[i].Epoch = *epoch
		}
	}
	return heads, err
}

// once has something done after the next read of messages.
func (k *kept) once(do func()) {
	var hook func()
	hook = func() {
		if k.read.CompareAndSwap(&hook, nil) {
			do()
		}
	}
	k.read.Store(&hook)
}

// world is the feeds of one process with a hub and a store. What happens while deaf is
// done by another process, as far as the feeds can see.
type world struct {
	*feed.Feeds
	t     testing.TB
	hub   *hub.Hub
	store *kept
	dir   string
	name  string // of the channel
	deaf  atomic.Bool
	said  int
	close func()
}

func start(t testing.TB, shared bool) *world {
	t.Helper()
	w := &world{t: t, store: &kept{shared: shared}, dir: t.TempDir(), name: "room:1"}
	w.open()
	return w
}

// open begins the work.
func (w *world) open() {
	w.t.Helper()
	feeds := feed.New(feed.Config{})
	w.Feeds = feeds
	st, err := sqlite.Open(w.t.Context(), sqlite.Config{Dir: w.dir, Relaxed: true, Options: store.Options{Committed: func(list []store.Commit) {
		if !w.deaf.Load() {
			feeds.Committed(list)
		}
	}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store.Store = st
	w.hub = hub.New(hub.Config{Shards: 1, Encodings: []hub.Encoding{lines{}}, Behind: feeds.Behind, Joined: feeds.Joined})
	w.hub.SetSpaces([]*hub.Space{room})
	feeds.Start(w.hub, w.store)
	w.close = func() {
		feeds.Close()
		w.hub.Close()
		if err := st.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// again ends the process and begins another one on the same file.
func (w *world) again() {
	w.t.Helper()
	w.close()
	w.open()
}

// elsewhere has another process do something.
func (w *world) elsewhere(do func()) {
	w.deaf.Store(true)
	defer w.deaf.Store(false)
	do()
}

// say publishes messages and gives the seq of the last.
func (w *world) say(texts ...string) (seq uint64) {
	w.t.Helper()
	for _, text := range texts {
		w.said++
		a, err := w.Publish(w.t.Context(), store.Append{
			Channel: w.name, ID: fmt.Sprintf("%026d", w.said), Time: time.Now().UnixMilli(), Event: "message", Data: []byte(`"` + text + `"`),
		}, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		seq = a.Seq
	}
	return seq
}

func (w *world) edit(seq uint64, text string) {
	w.t.Helper()
	e, err := w.Edit(w.t.Context(), store.EditMessage{Channel: w.name, Seq: seq, Event: "message", Data: []byte(`"` + text + `"`), Time: 1_800_000_000_000})
	if err != nil || len(e.ID) != 26 {
		w.t.Fatalf("got %+v, %v", e, err)
	}
}

func (w *world) recall(seq uint64) {
	w.t.Helper()
	if _, err := w.Recall(w.t.Context(), store.Recall{Channel: w.name, Seq: seq}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) epoch() string {
	w.t.Helper()
	heads, err := w.store.Heads(w.t.Context(), w.name)
	if err != nil {
		w.t.Fatal(err)
	}
	return heads[0].Epoch
}

// since is a place in the channel.
func (w *world) since(seq uint64) *feed.Position { return &feed.Position{Epoch: w.epoch(), Seq: seq} }

// flusher gives a function that waits until all subscribers have been handed what was
// delivered before. There is one shard, which takes channels in the order in which there
// was something for them.
func (w *world) flusher() func() {
	w.t.Helper()
	r := w.connect()
	tick := "tick:" + r.ID.String()
	if _, err := w.hub.Subscribe(&r.Conn, tick, &hub.Space{Name: "tick", Kind: hub.KindEvent}, hub.SubOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if _, err := w.hub.Publish(w.t.Context(), tick, []byte(`{"type":"tick"}`), nil); err != nil {
			w.t.Fatal(err)
		}
		r.expect("tick 0")
	}
}

// reader is a connection.
type reader struct {
	hub.Conn
	w   *world
	out outlet
}

func (w *world) connect() *reader {
	r := &reader{w: w, out: outlet{change: make(chan struct{}, 1)}}
	r.ID = id.NewConnection()
	w.hub.Add(&r.Conn, &r.out, w.hub.Encoding(0), r, auth.Identity{}, 1)
	return r
}

// read connects somebody who reads from a place on and has had the answer.
func (w *world) read(from feed.From) *reader {
	w.t.Helper()
	r := w.connect()
	r.sub(from)
	return r
}

func (r *reader) sub(from feed.From) {
	r.w.t.Helper()
	from.Echo = true
	_, err := r.w.Subscribe(r.w.t.Context(), &r.Conn, r.w.name, room, from, hub.SubOptions{}, func(j feed.Joining) []byte {
		return fmt.Appendf(nil, `{"type":"ok","seq":%d,"recovered":%v}`, j.Seq, j.Recovered)
	})
	if err != nil {
		r.w.t.Fatal(err)
	}
}

// next waits for a frame and gives it in a short form.
func (r *reader) next() string {
	r.w.t.Helper()
	return short(r.w.t, r.wait())
}

// wait waits for a frame.
func (r *reader) wait() string {
	r.w.t.Helper()
	over := time.After(patience)
	for {
		if text, ok := r.out.take(); ok {
			return text
		}
		select {
		case <-r.out.change:
		case <-over:
			r.w.t.Fatal("no frame came")
		}
	}
}

// expect waits for frames.
func (r *reader) expect(want ...string) {
	r.w.t.Helper()
	got := make([]string, len(want))
	for i := range got {
		got[i] = r.next()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.w.t.Fatal(diff)
	}
}

// only waits until all that was told before has arrived, and that it was this.
func (r *reader) only(want ...string) {
	r.w.t.Helper()
	r.w.say("end")
	got := []string{}
	for text := r.next(); !strings.HasSuffix(text, " end"); text = r.next() {
		got = append(got, text)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		r.w.t.Fatal(diff)
	}
}

func short(t testing.TB, text string) string {
	t.Helper()
	var f struct {
		Type, Data        string
		Seq, To, At       uint64
		From              json.RawMessage // of a gap a seq, else who said it
		Recovered, Edited bool
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	switch f.Type {
	case "ok":
		return fmt.Sprintf("ok %d %v", f.Seq, f.Recovered)
	case "gap":
		return fmt.Sprintf("gap %s-%d", f.From, f.To)
	}
	out := fmt.Sprintf("%s %d", f.Type, f.Seq)
	if f.Data != "" {
		out += " " + f.Data
	}
	if f.Type == "msg" && f.Edited {
		out += " edited"
	}
	if f.At != 0 {
		out += " at"
	}
	return out
}

// lines writes a frame as a line.
type lines struct{}

func (lines) Append(dst, frame []byte) []byte { return append(append(dst, frame...), '\n') }

// outlet is a transport that keeps what it was given.
type outlet struct {
	mu     sync.Mutex
	frames []string
	full   bool // takes no offer
	change chan struct{}
	stop   sync.RWMutex // held while nothing can be sent
}

// block has whoever sends wait until let is called.
func (o *outlet) block() (let func()) {
	o.stop.Lock()
	return o.stop.Unlock
}

func (o *outlet) keep(wire []byte) {
	o.stop.RLock()
	defer o.stop.RUnlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range strings.Lines(string(wire)) {
		o.frames = append(o.frames, line)
	}
	select {
	case o.change <- struct{}{}:
	default:
	}
}

func (o *outlet) take() (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.frames) == 0 {
		return "", false
	}
	text := o.frames[0]
	o.frames = o.frames[1:]
	return text, true
}

func (o *outlet) fill(full bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.full = full
}

func (o *outlet) Send(bufs []link.Buf, sub link.Subscriber) {
	for _, b := range bufs {
		if sub.Live() {
			o.keep(b.B)
		}
	}
}

func (o *outlet) SendControl(wire []byte, then func()) bool {
	o.keep(wire)
	if then != nil {
		then()
	}
	return true
}

func (o *outlet) SendFirst(before func(), wire []byte) bool {
	before()
	o.keep(wire)
	return true
}

func (o *outlet) Offer(bufs []link.Buf, sub link.Subscriber) int {
	o.mu.Lock()
	full := o.full
	o.mu.Unlock()
	if full {
		return 0
	}
	o.Send(bufs, sub)
	return len(bufs)
}

func (o *outlet) Close(protocol.Close, string, []byte) {}
func (o *outlet) Queued() int                          { return 0 }
func (o *outlet) Written() int64                       { return 0 }
func (o *outlet) Transport() string                    { return "test" }
func (o *outlet) Remote() netip.AddrPort               { return netip.AddrPort{} }
