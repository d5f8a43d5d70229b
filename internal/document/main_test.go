package document_test

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
	"github.com/skein-realtime/skein/internal/document"
	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/link"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// world is documents with a hub and a store in a file. Two worlds may have one
// store, as two processes have one database.
type world struct {
	t     testing.TB
	store *gate
	hub   *hub.Hub
	docs  *document.Documents
	space *hub.Space
	over  sync.Once
}

// gate is a real store before which commits can be held up.
type gate struct {
	store.Store
	shared bool

	mu     sync.Mutex
	before func(group []store.Command) error // nil: nothing stands in the way
}

func (g *gate) Shared() bool { return g.shared }

// Do implements store.Store.
func (g *gate) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	g.mu.Lock()
	before := g.before
	g.mu.Unlock()
	if before != nil {
		if err := before(group); err != nil {
			return nil, err
		}
	}
	return g.Store.Do(ctx, group...)
}

// guard says what stands in the way of commits from now on.
func (g *gate) guard(before func(group []store.Command) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = before
}

// hold has the next commit of patches wait until release is called; held is closed
// when it does.
func (g *gate) hold() (held <-chan struct{}, release func()) {
	reached, open := make(chan struct{}), make(chan struct{})
	var taken atomic.Bool
	g.guard(func(group []store.Command) error {
		if _, ok := group[0].(store.Append); ok && !taken.Swap(true) {
			close(reached)
			<-open
		}
		return nil
	})
	return reached, sync.OnceFunc(func() {
		g.guard(nil)
		close(open)
	})
}

func keep(t testing.TB, dir string, shared bool) *gate {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &gate{Store: s, shared: shared}
}

// start makes a world; cfg may be empty.
func start(t testing.TB, g *gate, cfg document.Config, rules ...string) *world {
	t.Helper()
	w := &world{t: t, store: g}
	cfg.Logger = slog.New(slog.DiscardHandler)
	w.docs = document.New(cfg)
	w.hub = hub.New(hub.Config{Encodings: []hub.Encoding{lines{}}, Behind: w.docs.Behind, Joined: w.docs.Joined})
	w.rules(rules...)
	w.docs.Start(w.hub, g)
	t.Cleanup(w.end)
	return w
}

// end ends it, once.
func (w *world) end() {
	w.over.Do(func() {
		w.store.guard(nil)
		w.docs.Close()
		w.hub.Close()
	})
}

// rules puts rules about places in force.
func (w *world) rules(rules ...string) {
	w.t.Helper()
	var list []auth.Place
	for _, text := range rules {
		p, err := auth.ParsePlace(text)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, p)
	}
	w.space = &hub.Space{Name: "doc", Kind: hub.KindDoc, Places: auth.NewPlaces(list)}
	w.hub.SetSpaces([]*hub.Space{w.space})
}

// patch makes a patch of operations.
func (w *world) patch(channel, ops string) *document.Patch {
	w.t.Helper()
	list, err := tree.ParseOps([]byte(ops), tree.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	return &document.Patch{Channel: channel, Space: w.space, Ops: list}
}

// keyed gives a patch a key.
func keyed(p *document.Patch, key string) *document.Patch {
	p.Key, p.Content, p.KeyTTL = []byte(key), []byte("content of "+key), time.Hour
	return p
}

// do carries out a patch; it must succeed.
func (w *world) do(p *document.Patch) document.Patched {
	w.t.Helper()
	done, err := w.docs.Do(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func (w *world) set(channel, ops string) uint64 {
	w.t.Helper()
	return w.do(w.patch(channel, ops)).Version
}

// fails carries out a patch that must be refused.
func (w *world) fails(p *document.Patch, code fault.Code) *fault.Error {
	w.t.Helper()
	done, err := w.docs.Do(w.t.Context(), p)
	if e := fault.Of(err); err == nil || e.Code != code {
		w.t.Fatalf("got %+v, %v; want %s", done, err, code)
	}
	return fault.Of(err)
}

func (w *world) get(channel string) document.Value {
	w.t.Helper()
	v, err := w.docs.Get(w.t.Context(), channel, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// has checks the version and the value of a document.
func (w *world) has(channel string, version uint64, value string) {
	w.t.Helper()
	if v := w.get(channel); v.Version != version || string(v.Data) != value {
		w.t.Errorf("%s is %.300s at version %d; want %s at %d", channel, v.Data, v.Version, value, version)
	}
}

// lines is an encoding: each frame is a line.
type lines struct{}

// Append implements hub.Encoding.
func (lines) Append(dst, frame []byte) []byte { return append(append(dst, frame...), '\n') }

// reader is a connection that keeps a document.
type reader struct {
	hub.Conn
	w *world

	mu     sync.Mutex // guards all below
	full   bool       // it takes nothing now
	missed bool       // and was offered something
	frames []frame
	seen   chan struct{}
}

// frame is a snapshot or a patch.
type frame struct {
	Type, Channel, Epoch string
	Version              uint64
	Ops, Data, From      json.RawMessage
	Key                  string
}

var _ hub.Outlet = (*reader)(nil)

// connect opens a connection of a user with roles.
func (w *world) connect(user string, roles ...string) *reader {
	w.t.Helper()
	list, err := auth.ParseRoles(roles)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &reader{w: w, seen: make(chan struct{}, 1)}
	w.hub.Add(&r.Conn, r, lines{}, r, auth.Identity{User: user, Roles: list}, 0)
	w.t.Cleanup(func() { w.hub.Remove(&r.Conn) })
	return r
}

// follow subscribes; since nil: from the value on.
func (r *reader) follow(channel string, since *document.Position) document.Joining {
	r.w.t.Helper()
	var joining document.Joining
	_, err := r.w.docs.Subscribe(r.w.t.Context(), &r.Conn, channel, r.w.space, document.From{Since: since, Echo: true}, hub.SubOptions{}, func(j document.Joining) []byte {
		joining = j
		return nil
	})
	if err != nil {
		r.w.t.Fatal(err)
	}
	return joining
}

// next waits for a frame.
func (r *reader) next() frame {
	r.w.t.Helper()
	over := time.After(patience)
	for {
		r.mu.Lock()
		if len(r.frames) > 0 {
			f := r.frames[0]
			r.frames = r.frames[1:]
			r.mu.Unlock()
			return f
		}
		r.mu.Unlock()
		select {
		case <-r.seen:
		case <-over:
			r.w.t.Fatal("no frame came")
		}
	}
}

// reaches reads to a version, and gives the value.
func (r *reader) reaches(version uint64) string {
	r.w.t.Helper()
	var value *tree.Value
	at := uint64(0)
	for value == nil || at < version {
		f := r.next()
		if f.Type == "snapshot" {
			v, err := tree.Parse(f.Data, tree.Limits{Depth: 1000})
			if err != nil {
				r.w.t.Fatal(err)
			}
			value, at = v, f.Version
			continue
		}
		if value == nil || f.Version != at+1 {
			r.w.t.Fatalf("%s of version %d came after %d", f.Type, f.Version, at)
		}
		done, err := tree.ParseDone(f.Ops)
		if err != nil {
			r.w.t.Fatal(err)
		}
		for _, d := range done {
			op := d.Op
			if d.Kind == tree.Inc {
				op = tree.Op{Kind: tree.Set, Path: d.Path, Value: d.Result}
			}
			if _, err := value.Apply([]tree.Op{op}, tree.Limits{}, nil); err != nil {
				r.w.t.Fatalf("version %d: %v", f.Version, err)
			}
		}
		at = f.Version
	}
	return string(value.Append(nil))
}

// stall has the connection take nothing until it is told to go on.
func (r *reader) stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.full, r.missed = true, false
}

func (r *reader) goOn() {
	r.mu.Lock()
	r.full = false
	r.mu.Unlock()
	r.Drained()
}

func (r *reader) keepLocked(wire []byte) {
	for line := range strings.Lines(string(wire)) {
		var f frame
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			panic(fmt.Sprintf("%q: %v", line, err))
		}
		r.frames = append(r.frames, f)
	}
	select {
	case r.seen <- struct{}{}:
	default:
	}
}

// Send implements hub.Outlet.
func (r *reader) Send(bufs []link.Buf, sub link.Subscriber) { r.Offer(bufs, sub) }

// Offer implements hub.Outlet.
func (r *reader) Offer(bufs []link.Buf, sub link.Subscriber) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		r.missed = true
		return 0
	}
	for _, b := range bufs {
		if sub.Live() {
			r.keepLocked(b.B)
		}
	}
	return len(bufs)
}

// SendFirst implements hub.Outlet.
func (r *reader) SendFirst(before func(), wire []byte) bool {
	before()
	return r.SendControl(wire, nil)
}

// SendControl implements hub.Outlet.
func (r *reader) SendControl(wire []byte, then func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keepLocked(wire)
	if then != nil {
		then()
	}
	return true
}

// Close implements hub.Outlet.
func (r *reader) Close(protocol.Close, string, []byte) {}

// Queued implements hub.Outlet.
func (r *reader) Queued() int { return 0 }

// Written implements hub.Outlet.
func (r *reader) Written() int64 { return 0 }

// Transport implements hub.Outlet.
func (r *reader) Transport() string { return "test" }

// Remote implements hub.Outlet.
func (r *reader) Remote() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:99") }

// eventually polls for what nothing announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	over := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-over:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}
