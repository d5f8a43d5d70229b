// Package feed is the live side of log channels: what the store has committed
// goes to the subscribers in the order of seq, and whoever lacks messages gets
// them from memory or from the store, at its own pace. What is withdrawn or edited is
// told to whoever has it, and to whoever comes back and had it.
//
// The newest messages of the channels used last are kept in memory, bounded in
// bytes, so that many clients coming back at once do not touch the disk. Nothing
// here is the truth: everything can be read from the store again.
//
// [Feeds.Start] starts the goroutines that catch readers up, the one that trims
// what is too old, and, when other processes write to the same store, the one
// that looks for their messages; [Feeds.Close] ends them and waits.
package feed

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Config of [Feeds].
type Config struct {
	Memory  int64 // bytes of recent messages that are kept; zero: 64 MiB
	Readers int   // goroutines that catch readers up; zero: GOMAXPROCS, at least 2
	Logger  *slog.Logger
}

// Metrics counts what was done for readers that lacked messages.
type Metrics struct {
	FromMemory atomic.Int64 // messages that came from memory
	FromStore  atomic.Int64 // messages that came from the store
	Gaps       atomic.Int64 // times that a reader was told of messages that are gone
	Failures   atomic.Int64 // reads that failed and were tried again
	Holes      atomic.Int64 // times that messages of other processes had to be looked up
	Trimmed    atomic.Int64 // messages that retention has deleted
	Bytes      atomic.Int64 // of recent messages in memory
}

const stripes = 16

// Feeds is the log channels of one process.
type Feeds struct {
	cfg     Config
	metrics Metrics
	hub     *hub.Hub
	store   store.Store
	seed    maphash.Seed
	stripes [stripes]stripe
	except  sync.Map // message id -> []*hub.Conn, while it is being published

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	line   *hub.Line // readers that are behind
}

// stripe is a share of the channels, the one used last in front.
type stripe struct {
	mu    sync.Mutex // guards all below; taken before a channel's
	m     map[string]*channel
	used  *list.List // of *channel
	bytes int64
}

// channel is what is known of one log channel.
type channel struct {
	name string
	elem *list.Element // guarded by the stripe

	loading sync.Mutex // held while the head is looked up

	mu        sync.Mutex // guards all below
	known     bool       // epoch and head are
	evicted   bool       // another one has its place
	pinned    int        // so many are about to subscribe: it must not be evicted
	epoch     string
	head      uint64     // seq of the newest message that was handed to the hub
	revised   uint64     // the head when a message was last withdrawn or edited
	revisions int        // how many were, while it was in memory
	last      []revision // the newest of them
	ring      []entry    // without holes, up to head
	bytes     int
	early     map[uint64]store.Commit // what came after a hole
	filling   bool
	seen      store.Head // what the store said when it was last compared
	readers   readers
}

// entry is one message in memory.
type entry struct {
	frame  []byte // JSON
	author string // connection
	time   int64
}

const (
	maxRing      = 1024
	maxRingBytes = 1 << 20
	overhead     = 64  // bytes of an entry beside its frame
	channelBytes = 400 // bytes of a channel beside its entries
	maxEarly     = 4096
	maxEvictions = 8 // channels that are considered at once
)

// New makes the feeds. They work once [Feeds.Start] was called; the hub's hooks
// and the store's may point here before.
func New(cfg Config) *Feeds {
	if cfg.Memory == 0 {
		cfg.Memory = 64 << 20
	}
	if cfg.Readers == 0 {
		cfg.Readers = max(2, runtime.GOMAXPROCS(0))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	f := &Feeds{cfg: cfg, seed: maphash.MakeSeed()}
	f.line = hub.NewLine(f.turn)
	f.ctx, f.cancel = context.WithCancel(context.Background())
	for i := range f.stripes {
		f.stripes[i].m, f.stripes[i].used = map[string]*channel{}, list.New()
	}
	return f
}

// Start begins the work. It is called once, before anybody subscribes.
func (f *Feeds) Start(h *hub.Hub, s store.Store) {
	f.hub, f.store = h, s
	f.line.Start(f.ctx, f.cfg.Readers)
	f.work.Go(f.janitor)
	if s.Shared() {
		f.work.Go(f.compare)
	}
}

// Close ends the work and waits for it. The store is closed by its owner.
func (f *Feeds) Close() {
	f.cancel()
	f.line.Close()
	f.work.Wait()
}

// Metrics gives the live counters.
func (f *Feeds) Metrics() *Metrics { return &f.metrics }

// Waiting tells how many readers stand in line for messages.
func (f *Feeds) Waiting() int { return f.line.Waiting() }

func (f *Feeds) stripe(name string) *stripe { return &f.stripes[maphash.String(f.seed, name)%stripes] }

// channel finds or makes what is known of a channel and marks it as used.
func (f *Feeds) channel(name string) *channel {
	s := f.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.m[name]; ch != nil {
		s.used.MoveToFront(ch.elem)
		return ch
	}
	ch := &channel{name: name, revised: unknown}
	ch.elem = s.used.PushFront(ch)
	s.m[name] = ch
	f.chargeLocked(s, channelBytes)
	return ch
}

// peek finds what is known of a channel; nil when nothing is.
func (f *Feeds) peek(name string) *channel {
	s := f.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[name]
}

// charge accounts for bytes that a channel of the stripe took or gave back.
func (f *Feeds) charge(name string, bytes int) {
	if bytes == 0 {
		return
	}
	s := f.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.chargeLocked(s, bytes)
}

func (f *Feeds) chargeLocked(s *stripe, bytes int) {
	s.bytes += int64(bytes)
	f.metrics.Bytes.Add(int64(bytes))
	// The newest one stays, and nobody goes through all when all have subscribers.
	for tries := min(maxEvictions, s.used.Len()-1); s.bytes > f.cfg.Memory/stripes && tries > 0; tries-- {
		f.evictLocked(s)
	}
}

// evictLocked forgets the messages of the channel that was used longest ago, and
// the channel itself when nobody is subscribed.
func (f *Feeds) evictLocked(s *stripe) {
	elem := s.used.Back()
	ch := elem.Value.(*channel)
	freed := 0
	ch.mu.Lock()
	freed, ch.ring, ch.bytes = ch.bytes, nil, 0
	if f.hub.Channel(ch.name) == nil && !ch.filling && ch.pinned == 0 {
		ch.evicted = true
		freed += channelBytes
		delete(s.m, ch.name)
		s.used.Remove(elem)
	} else {
		s.used.MoveToFront(elem)
	}
	ch.mu.Unlock()
	s.bytes -= int64(freed)
	f.metrics.Bytes.Add(-int64(freed))
}

// load gives a channel whose head is known. Its error is a *fault.Error.
func (f *Feeds) load(ctx context.Context, name string) (*channel, error) {
	ch := f.channel(name)
	if ch.isKnown() {
		return ch, nil
	}
	ch.loading.Lock()
	defer ch.loading.Unlock()
	if ch.isKnown() {
		return ch, nil
	}
	ch.mu.Lock()
	revisions := ch.revisions
	ch.mu.Unlock()
	head, err := f.storedHead(ctx, name)
	if err != nil {
		return nil, err
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if !ch.known { // a commit may have told the head meanwhile
		ch.known, ch.epoch, ch.head = true, head.Epoch, head.Top
	}
	ch.seen = head
	ch.revised = head.Recalled
	if ch.revisions != revisions {
		ch.revised = ch.head
	}
	return ch, nil
}

func (ch *channel) isKnown() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.known && ch.revised != unknown
}

// unknown stands for a head at the last revision that was not looked up.
const unknown = ^uint64(0)

func (f *Feeds) storedHead(ctx context.Context, name string) (store.Head, error) {
	heads, err := f.store.Heads(ctx, name)
	if err != nil {
		return store.Head{}, Fault(err)
	}
	return heads[0], nil
}

// Committed takes what the store has committed; it is [store.Options].Committed.
func (f *Feeds) Committed(commits []store.Commit) {
	for i := range commits {
		if space := f.space(commits[i].Channel); space != nil && space.IsDoc() {
			continue // who does the patches tells of them
		}
		f.apply(commits[i])
	}
}

func (f *Feeds) apply(c store.Commit) {
	for {
		ch := f.channel(c.Channel)
		ch.mu.Lock()
		if ch.evicted {
			ch.mu.Unlock()
			continue
		}
		before := ch.bytes
		renewed := false
		switch {
		case c.Recall != nil:
			f.reviseLocked(ch, c.Epoch, c.Recall, 0)
		case c.Edit != nil:
			f.reviseLocked(ch, c.Epoch, c.Edit, c.Time)
		default:
			renewed = f.takeLocked(ch, c)
		}
		grown := ch.bytes - before
		ch.mu.Unlock()
		f.charge(c.Channel, grown)
		if renewed {
			f.tellRenewed(ch)
		}
		return
	}
}

// takeLocked takes a message in its turn. True: it belongs to a new epoch.
func (f *Feeds) takeLocked(ch *channel, c store.Commit) (renewed bool) {
	m := c.Message
	switch {
	case !ch.known:
		// What was revised before is in the store; load will look.
		ch.known, ch.epoch, ch.head, ch.revised = true, c.Epoch, m.Seq-1, unknown
	case ch.epoch != c.Epoch:
		ch.renewLocked(c.Epoch, m.Seq-1)
		renewed = true
	case m.Seq <= ch.head:
		return false
	case m.Seq > ch.head+1:
		if ch.early == nil {
			ch.early = map[uint64]store.Commit{}
		}
		if len(ch.early) < maxEarly {
			own := *m // what it points to is the store's
			own.Data, own.Meta.Mentions = bytes.Clone(m.Data), slices.Clone(m.Meta.Mentions)
			ch.early[m.Seq] = store.Commit{Channel: c.Channel, Epoch: c.Epoch, Message: &own}
		}
		f.fillLocked(ch)
		return false
	}
	f.deliverLocked(ch, m)
	for len(ch.early) > 0 {
		next, ok := ch.early[ch.head+1]
		if !ok {
			break
		}
		delete(ch.early, ch.head+1)
		f.deliverLocked(ch, next.Message)
	}
	return renewed
}

// deliverLocked hands the message after the head to memory and to subscribers.
func (f *Feeds) deliverLocked(ch *channel, m *store.Message) {
	frame := FrameOf(ch.name, m)
	ch.head = m.Seq
	ch.ring = append(ch.ring, entry{frame: frame, author: m.Sender.Connection, time: m.Time})
	ch.bytes += len(frame) + overhead
	keep := maxRing
	if space := f.space(ch.name); space != nil && space.Count > 0 {
		keep = min(keep, space.Count)
	}
	ch.trimLocked(keep)
	if m.Recalled || m.Edited {
		ch.noteLocked(m.Seq, f.sum(frame)) // so that it is no news when the store lists it
	}
	if m.Recalled {
		f.hub.Deliver(ch.name, hub.Frame{Seq: m.Seq, JSON: frame})
		return
	}
	out := hub.Frame{Seq: m.Seq, JSON: frame}
	if m.Sender.Connection != "" {
		if c, ok := id.ParseConnection(m.Sender.Connection); ok {
			out.Author = f.hub.Conn(c)
		}
	}
	if list, ok := f.except.Load(m.ID); ok {
		out.Except = list.([]*hub.Conn)
	}
	f.hub.Deliver(ch.name, out)
}

// trimLocked forgets the oldest messages in memory, so that at most keep are left.
func (ch *channel) trimLocked(keep int) {
	for len(ch.ring) > keep || ch.bytes > maxRingBytes && len(ch.ring) > 0 {
		ch.bytes -= len(ch.ring[0].frame) + overhead
		ch.ring[0] = entry{}
		ch.ring = ch.ring[1:]
	}
}

// renewLocked begins a channel anew whose history was lost.
func (ch *channel) renewLocked(epoch string, head uint64) {
	ch.epoch, ch.head, ch.revised = epoch, head, unknown
	ch.ring, ch.bytes, ch.early = nil, 0, nil
	ch.last = nil
	ch.readers.lower(head)
}

// tellRenewed sends every reader of a channel that began anew to its beginning:
// nothing that they have seen counts any more.
func (f *Feeds) tellRenewed(ch *channel) {
	ch.mu.Lock()
	epoch := ch.epoch
	ch.mu.Unlock()
	head, err := f.storedHead(f.ctx, ch.name)
	if err != nil {
		f.metrics.Failures.Add(1) // the readers will be told of the gap when they read
		head = store.Head{Epoch: epoch}
	}
	f.hub.Renew(ch.name, head.Floor+1, protocol.AppendGap(nil, ch.name, 1, head.Floor, head.Epoch), ch.floorOf)
}

// readable is the seq of the oldest message in memory that the rules of its
// namespace still let be read; head+1 when there is none.
func (ch *channel) readable(space *hub.Space) uint64 {
	first := ch.first()
	if space == nil {
		return first
	}
	if n := uint64(space.Count); n > 0 && ch.head > n {
		first = max(first, ch.head-n+1)
	}
	if space.Age > 0 {
		oldest := time.Now().Add(-space.Age).UnixMilli()
		for first <= ch.head && ch.ring[first-ch.first()].time < oldest {
			first++
		}
	}
	return first
}

// first is the seq of the oldest message in memory; head+1 when there is none.
func (ch *channel) first() uint64 { return ch.head + 1 - uint64(len(ch.ring)) }

// space gives the rules of a channel, nil when they were taken away.
func (f *Feeds) space(channel string) *hub.Space {
	namespace, err := protocol.Namespace("channel", channel)
	if err != nil {
		return nil
	}
	return f.hub.Space(namespace)
}

// Fault turns an error of the store into one that is shown.
func Fault(err error) *fault.Error {
	var f *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.Is(err, store.ErrConflict):
		return fault.New(fault.Conflict, "key: it was used for a request with other content")
	case errors.Is(err, store.ErrDenied):
		return fault.New(fault.Denied, "no right to do this in the conversation")
	case errors.Is(err, store.ErrTooLarge):
		return fault.Wrap(fault.TooLarge, err, "it is larger than what can be kept")
	case errors.Is(err, store.ErrNotFound):
		return fault.New(fault.NotFound, "there is no such message, or no longer")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "what is kept cannot be reached now").After(time.Second)
	}
	return fault.Wrap(fault.Internal, err, "internal error")
}
