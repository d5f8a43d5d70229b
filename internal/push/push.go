// Package push is the live side of inboxes: what the store has put into the inbox of
// a user goes to the user's connections, again as long as none of them has
// acknowledged it, and what they acknowledge goes back to the store. It also does
// what has its time: it wakes what was put off, ends what has expired, tells of what
// nobody acknowledges, and forgets what is old.
//
// It does not judge: caps, quiet hours and mutes are carried out by the store, in the
// transaction that writes the delivery. It does not know categories and campaigns, and
// it stores nothing: whatever is in memory can be read from the store again.
//
// # What is remembered of a user
//
// Something is remembered of a user only while there is something to remember: which
// messages are under way, without their data, and which connections lack something.
// Somebody who is connected, and has nothing open, costs nothing.
//
// # Order without a seam
//
// Each user belongs to one worker, which alone sends to the user's connections, so
// all that follows happens one after the other.
//
// A connection is either live or behind. One that is behind has a place, a seq up to
// which it has got everything; it gets what is after that from the store, in pages by
// seq. One that is live gets what the store tells it has committed ([Pushes.Pushed]),
// in the order of seq.
//
//   - A connection that is welcomed is behind, at place 0, before the store is
//     read for it. What is committed before that reading is in what is read.
//     What is committed later is told while the user is remembered. While a page is
//     read for a user, nothing is sent to any connection, and what is told is held
//     back; the connection becomes live when the page goes to the top of the inbox,
//     before what was held back is sent. So nothing is left out between the two, and
//     nothing overtakes what the reading itself has put into the inbox.
//   - A connection that is live and cannot be given a message, because too much is
//     under way, its queue is full, or the worker's queue was, becomes behind, with
//     its place just before that message. So nothing is overtaken.
//   - What is under way, or has ended since the store was read, is known; a page does
//     not bring it to those who had it. What a page has that was never sent, such as
//     what was put off, and messages to everybody, goes to all connections.
//   - What the store judges and finds unsent is unsent, because nothing is sent
//     meanwhile: so nothing is both held back and sent.
//
// # Goroutines
//
// [Pushes.Start] starts all: workers, which send; two that read for users who lack
// something; one that writes what was sent and acknowledged; and one each for what was
// put off, what expires, what is old, what nobody acknowledges, what is to be sent
// again, and messages to everybody. [Pushes.Close] ends them and waits.
package push

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/internal/fault"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// Config of [Pushes].
type Config struct {
	// Settings gives what may change while it runs. Nil: all defaults.
	Settings func() Settings
	// Escalate tells the application of a message that nobody has acknowledged in time. After an
	// error it is told again, later. At most 8 calls run at once. Nil: nobody is told.
	Escalate func(ctx context.Context, e store.Escalation) error
	Workers  int // goroutines that send; zero: GOMAXPROCS, at least 2
	Queue    int // messages that may wait for a worker; zero: 4096
	Logger   *slog.Logger
}

// Settings are what may be configured anew while it runs.
type Settings struct {
	Zone       string        // of users whose own is not known; "": UTC
	Keep       int           // messages that an inbox keeps; zero: 1000; negative: all
	Age        time.Duration // how long they can be read; zero: 720h; negative: for ever
	Records    time.Duration // how long it is kept what became of them; zero: 2160h; negative: for ever
	AckTimeout time.Duration // after it a message is sent again; zero: 30 s
	AckRetries int           // how often; zero: 3; negative: never
	Window     int           // messages of a user that may be under way; zero: 100
}

// maxWindow is how many messages of a user are under way at most, whatever is set.
const maxWindow = 1000

func (s Settings) withDefaults() Settings {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&s.Age, 720*time.Hour)
	set(&s.Records, 2160*time.Hour)
	set(&s.AckTimeout, 30*time.Second)
	switch {
	case s.Keep == 0:
		s.Keep = 1000
	case s.Keep < 0:
		s.Keep = 0
	}
	switch {
	case s.AckRetries == 0:
		s.AckRetries = 3
	case s.AckRetries < 0:
		s.AckRetries = 0
	}
	if s.Window <= 0 {
		s.Window = 100
	}
	s.Window = min(s.Window, maxWindow)
	return s
}

// Metrics counts what was done.
type Metrics struct {
	Pushed           [store.Failed + 1]atomic.Int64 // deliveries admitted here, by [store.State]
	Sent             atomic.Int64                   // messages handed to at least one connection for the first time
	Resent           atomic.Int64                   // messages sent again
	GaveUp           atomic.Int64                   // messages that were not acknowledged after the last time
	Delivered        atomic.Int64                   // deliveries that were acknowledged
	Recalled         atomic.Int64                   // deliveries that were withdrawn
	Held             atomic.Int64                   // deliveries that were held back when their users came
	Collected        atomic.Int64                   // times that what waits for a user was judged
	Pages            atomic.Int64                   // times that somebody behind was given something from the store
	FellBehind       atomic.Int64                   // times that a connection left the live path
	InFlight         atomic.Int64                   // messages that are under way now
	Behind           atomic.Int64                   // connections that lack something now
	Users            atomic.Int64                   // users of whom something is remembered now
	Woken            atomic.Int64                   // deliveries whose time had come
	WakeLag          atomic.Int64                   // milliseconds that the last ones were late
	Expired          atomic.Int64                   // deliveries whose time was over
	Pruned           atomic.Int64                   // records that were deleted
	Escalated        atomic.Int64                   // messages that the application was told of
	EscalateFailures atomic.Int64                   // times that it could not be
	Failures         atomic.Int64                   // reads and writes of the store that failed and are tried again
}

// Pushes is the inboxes of one process.
type Pushes struct {
	cfg     Config
	metrics Metrics
	hub     *hub.Hub
	store   store.Store
	seed    maphash.Seed
	shards  []*shard
	pool    pool
	settler settler
	wakes   alarm         // of what was put off
	sweeps  chan struct{} // holds a value when there may be a message to everybody

	said    atomic.Int64 // Unix milliseconds: when the log was last told of a failure
	running atomic.Bool  // started, and not closed
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	senders sync.WaitGroup
}

// New makes the inboxes. They work once [Pushes.Start] was called; the hooks of the store,
// of the hub and of sessions may point here before.
func New(cfg Config) *Pushes {
	if cfg.Settings == nil {
		cfg.Settings = func() Settings { return Settings{} }
	}
	if cfg.Workers == 0 {
		cfg.Workers = max(2, runtime.GOMAXPROCS(0))
	}
	if cfg.Queue == 0 {
		cfg.Queue = 4096
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Pushes{cfg: cfg, seed: maphash.MakeSeed(), sweeps: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for range cfg.Workers {
		p.shards = append(p.shards, newShard())
	}
	p.pool.wake.L = &p.pool.mu
	p.settler.init()
	p.wakes.init()
	return p
}

// Start begins the work. It is called once, before the first connection is welcomed.
// Its error is that of the store.
func (p *Pushes) Start(ctx context.Context, h *hub.Hub, s store.Store) error {
	last, err := s.LastBroadcast(ctx)
	if err != nil {
		return err
	}
	p.hub, p.store = h, s
	for _, sh := range p.shards {
		if s.Shared() {
			sh.tops = map[string]uint64{}
		}
		p.senders.Go(func() { p.send(sh) })
	}
	for range readers {
		p.work.Go(p.read)
	}
	for _, fn := range []func(){p.settle, p.tick, p.wake, p.expire, p.prune, func() { p.follow(last) }} {
		p.work.Go(fn)
	}
	if p.cfg.Escalate != nil {
		p.work.Go(p.escalate)
	}
	if s.Shared() {
		p.work.Go(p.compare)
	}
	p.running.Store(true)
	return nil
}

// Close refuses what comes, writes what was sent, and ends the work. The sessions have
// ended before; the store is closed by its owner, afterwards.
func (p *Pushes) Close() {
	p.running.Store(false)
	p.cancel()
	for _, sh := range p.shards {
		sh.close()
	}
	p.senders.Wait()
	p.pool.close()
	p.work.Wait()
}

// Metrics gives the live counters.
func (p *Pushes) Metrics() *Metrics { return &p.metrics }

// Waiting tells how many users stand in line to be given something from the store.
func (p *Pushes) Waiting() int { return p.pool.waiting() }

// now is the one place where the time is asked for.
func (p *Pushes) now() time.Time { return time.Now() }

func (p *Pushes) nowMilli() int64 { return p.now().UnixMilli() }

func (p *Pushes) settings() Settings { return p.cfg.Settings().withDefaults() }

// Bounds of reads and writes.
const (
	storeTime = 10 * time.Second // of one
	pauseTime = time.Second      // after one that has failed
	sayEvery  = 5 * time.Second  // between two lines of the log about it
)

// failed notes that the store could not do something that is tried again.
func (p *Pushes) failed(what string, err error) {
	if p.ctx.Err() != nil {
		return
	}
	p.metrics.Failures.Add(1)
	// While a database is away, everybody fails: saying it now and then is enough.
	now, said := p.nowMilli(), p.said.Load()
	if now-said >= sayEvery.Milliseconds() && p.said.CompareAndSwap(said, now) {
		p.cfg.Logger.Warn("the store could not do what inboxes need; it is tried again", "what", what, "error", err)
	}
}

// failure is an error of the store as clients see it. Its cause can be asked for.
func failure(err error) error {
	var f *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.Is(err, store.ErrConflict):
		return fault.Wrap(fault.Conflict, err, "key: it was used for a request with other content")
	case errors.Is(err, store.ErrNotFound):
		return fault.Wrap(fault.NotFound, err, "there is no such message, or no longer")
	case errors.Is(err, store.ErrTooLarge):
		return fault.Wrap(fault.TooLarge, err, "that is more than is kept of one user")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "inboxes cannot be reached now").After(time.Second)
	}
	return fault.Wrap(fault.Internal, err, "internal error")
}

// ready is nil when there is a store to work with.
func (p *Pushes) ready() error {
	if !p.running.Load() {
		return fault.New(fault.Unavailable, "inboxes need a store (set data or database), and a server that is not stopping").After(time.Second)
	}
	return nil
}

// one carries out a command.
func one[R store.Result](ctx context.Context, p *Pushes, c store.Command) (r R, err error) {
	if err := p.ready(); err != nil {
		return r, err
	}
	results, err := p.store.Do(ctx, c)
	if err != nil {
		return r, failure(err)
	}
	return results[0].(R), nil
}

// Msg is an item of an inbox as the protocol has it.
func Msg(m *store.Content, seq uint64) protocol.Msg {
	event := m.Event
	if event == "" {
		event = protocol.DefaultEvent
	}
	return protocol.Msg{
		Channel: protocol.Inbox, ID: m.ID, Seq: seq, Event: event, Data: m.Data, Time: m.Time,
		Category: m.Category, Expires: m.Expires, Collapse: m.Collapse,
	}
}
