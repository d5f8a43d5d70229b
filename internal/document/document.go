// Package document is the live side of documents: one JSON value for each channel
// of the kind doc. Patches are put in order, carried out on the value in memory,
// stored, and then handed to the subscribers; who lacks some gets them, or the
// newest value.
//
// Each document that patches come for has one goroutine, as long as they come: it
// takes all that wait, carries them out one after the other, stores them together,
// and answers. So a version is on disk before anybody hears of it, and many
// patches share one commit. What is stored is the patch; the whole value is
// stored from time to time, so that little has to be repeated when it is loaded.
//
// Nothing here is the truth: documents that were not used for a while are
// forgotten, and loaded again. [Documents.Start] starts the goroutines that serve
// readers, and, when other processes write to the same store, the one that looks
// for their patches; [Documents.Close] ends them and waits.
package document

import (
	"container/list"
	"context"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/tree"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Config of [Documents].
type Config struct {
	Memory  int64              // bytes of documents that are kept in memory, about; zero: 64 MiB
	Readers int                // goroutines that serve readers; zero: GOMAXPROCS, at least 2
	Limits  func() tree.Limits // of documents and patches; nil: none but those of the package tree
	Logger  *slog.Logger
}

// Metrics counts what was done.
type Metrics struct {
	Patches   atomic.Int64 // versions made
	Refused   atomic.Int64 // patches that were refused
	Commits   atomic.Int64 // groups of patches stored together
	Repeated  atomic.Int64 // groups that had to be carried out again, because somebody else was first
	Snapshots atomic.Int64 // values sent to readers
	CaughtUp  atomic.Int64 // patches sent to readers that lacked them
	Loads     atomic.Int64 // documents loaded from the store
	Compacted atomic.Int64 // values stored
	Failures  atomic.Int64 // reads and background commits that failed
	Bytes     atomic.Int64 // memory of documents, about
	Documents atomic.Int64 // in memory
}

// Documents is the documents of one process.
type Documents struct {
	cfg     Config
	metrics Metrics
	hub     *hub.Hub
	store   store.Store
	line    *hub.Line

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex // guards all below
	docs   map[string]*doc
	used   *list.List // of *doc, the one used last in front
	closed bool
}

// doc is one document.
type doc struct {
	name string
	head atomic.Uint64 // the version that subscribers may have

	queue   sync.Mutex // guards waiting and running; taken last
	waiting []*request
	running bool

	// Guarded by Documents.mu.
	elem  *list.Element
	bytes int64

	mu       sync.Mutex // guards all below; held while patches are stored
	evicted  bool       // another one has its place
	loaded   bool
	epoch    string
	version  uint64
	value    *tree.Value
	ring     []entry // the newest versions, without holes, up to version
	ringSize int
	keys     map[string]*entry
	snapshot uint64 // version of the value that is stored
	since    int    // bytes of patches stored after it
	storing  bool   // a value is being stored
	sent     map[sight]sent
	sentSize int // bytes of it
}

// entry is one version in memory.
type entry struct {
	version uint64
	frame   []byte         // JSON
	views   map[any][]byte // for readers that may not see everything; nil: all see the same
	author  string         // connection
	key     string
	content string
}

// sight is a way to see a document: through an encoding, and a view.
type sight struct {
	encoding hub.Encoding
	view     any
}

// sent is the value as it was last sent to those with one sight.
type sent struct {
	version uint64
	wire    []byte
}

const (
	maxRing      = 512
	maxRingBytes = 512 << 10
	maxSent      = 64   // sights whose bytes are kept for the next reader
	docBytes     = 1000 // of a document beside its value and its versions
	treeFactor   = 4    // memory of a value, as a multiple of its text
)

// readTimeout bounds one read of the store.
const readTimeout = 10 * time.Second

// New makes the documents. They work once [Documents.Start] was called; the hub's
// hooks may point here before.
func New(cfg Config) *Documents {
	if cfg.Memory == 0 {
		cfg.Memory = 64 << 20
	}
	if cfg.Readers == 0 {
		cfg.Readers = max(2, runtime.GOMAXPROCS(0))
	}
	if cfg.Limits == nil {
		cfg.Limits = func() tree.Limits { return tree.Limits{} }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	d := &Documents{cfg: cfg, docs: map[string]*doc{}, used: list.New()}
	d.line = hub.NewLine(d.turn)
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Start begins the work. It is called once, before anybody subscribes.
func (d *Documents) Start(h *hub.Hub, s store.Store) {
	d.hub, d.store = h, s
	d.line.Start(d.ctx, d.cfg.Readers)
	if s.Shared() {
		d.work.Go(d.compare)
	}
}

// Close refuses what waits, finishes what is being stored and ends the work. The
// store is closed by its owner, afterwards.
func (d *Documents) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.line.Close()
	d.work.Wait()
}

// Metrics gives the live counters.
func (d *Documents) Metrics() *Metrics { return &d.metrics }

// Waiting tells how many readers stand in line.
func (d *Documents) Waiting() int { return d.line.Waiting() }

// doc finds or makes what is known of a document and marks it as used.
func (d *Documents) doc(name string) *doc {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.docs[name]; x != nil {
		d.used.MoveToFront(x.elem)
		return x
	}
	x := &doc{name: name, value: &tree.Value{}}
	x.elem = d.used.PushFront(x)
	d.docs[name] = x
	d.metrics.Documents.Add(1)
	return x
}

// peek finds a document in memory; nil when it is not there.
func (d *Documents) peek(name string) *doc {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.docs[name]
}

// lock gives a document that is loaded, with its lock held. Its error is a
// *fault.Error; nothing is locked then.
func (d *Documents) lock(ctx context.Context, name string) (*doc, error) {
	for {
		x := d.doc(name)
		x.mu.Lock()
		if x.evicted {
			x.mu.Unlock()
			continue
		}
		if err := d.loadLocked(ctx, x); err != nil {
			x.mu.Unlock()
			return nil, err
		}
		return x, nil
	}
}

// chargeLocked notes what a document takes now. x.mu is held.
func (d *Documents) chargeLocked(x *doc) {
	x.forgetSentLocked()
	now := int64(docBytes + treeFactor*x.value.Size() + 2*x.ringSize + x.sentSize)
	d.mu.Lock()
	defer d.mu.Unlock()
	if x.evicted {
		return
	}
	d.metrics.Bytes.Add(now - x.bytes)
	x.bytes = now
	if d.metrics.Bytes.Load() <= d.cfg.Memory {
		return
	}
	// The newest one stays. Those that are at work are passed over, and nobody goes
	// through all.
	elem := d.used.Back()
	for tries := 0; tries < 8 && elem != nil && d.metrics.Bytes.Load() > d.cfg.Memory; tries++ {
		old := elem.Value.(*doc)
		elem = elem.Prev()
		if old == x || !old.mu.TryLock() {
			continue
		}
		old.queue.Lock()
		if idle := !old.running && !old.storing; idle {
			old.evicted = true
			delete(d.docs, old.name)
			d.used.Remove(old.elem)
			d.metrics.Bytes.Add(-old.bytes)
			d.metrics.Documents.Add(-1)
		}
		old.queue.Unlock()
		old.mu.Unlock()
	}
}

// Value is a document as it is at one moment.
type Value struct {
	Epoch   string
	Version uint64
	Data    []byte // raw JSON
}

// Get reads what is at a path of a document: null when nothing is. Its error is a
// *fault.Error.
func (d *Documents) Get(ctx context.Context, name string, path tree.Path) (Value, error) {
	x, err := d.lock(ctx, name)
	if err != nil {
		return Value{}, err
	}
	defer x.mu.Unlock()
	if d.store.Shared() {
		if err := d.refreshLocked(ctx, x); err != nil {
			return Value{}, err
		}
	}
	data, _ := x.value.Get(path)
	if data == nil {
		data = []byte("null")
	}
	return Value{Epoch: x.epoch, Version: x.version, Data: data}, nil
}

// Head gives a document's version, as far as it is known here.
func (d *Documents) Head(name string) uint64 {
	if x := d.peek(name); x != nil {
		return x.head.Load()
	}
	return 0
}

// Lag tells how many versions a reader lacks; zero when it is live.
func (d *Documents) Lag(s *hub.Sub) uint64 {
	place := s.Place()
	if head := d.Head(s.Channel().Name()); !place.Live && head >= place.Next {
		return head + 1 - max(1, place.Next)
	}
	return 0
}

// unlimited are the limits under which what is stored is carried out again.
var unlimited = tree.Limits{Depth: 1 << 12, Ops: math.MaxInt}

// unavailable is what everybody is told while the server stops.
func unavailable() error {
	return fault.New(fault.Unavailable, "the server is stopping").After(time.Second)
}

// frameOf is the `patch` frame of a version.
func frameOf(name string, version uint64, ops []byte, from protocol.Sender, time int64, key string) []byte {
	p := protocol.Patched{Channel: name, Version: version, Ops: ops, From: from, Time: time, Key: key}
	return protocol.AppendPatch(make([]byte, 0, len(ops)+len(name)+len(from.User)+200), &p)
}
