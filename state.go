package skein

import (
	"context"
	"sync/atomic"
	"time"

	_ "time/tzdata" // zones of schedules, on machines that have none

	"github.com/skein-realtime/skein/internal/feature/operator"
	"github.com/skein-realtime/skein/internal/hub"
	"github.com/skein-realtime/skein/internal/metrics"
	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/sqlite"
)

// state is what a server keeps, and what it tells about it.
type state struct {
	store   store.Store
	stats   atomic.Pointer[store.Stats]
	stop    context.CancelFunc
	stopped chan struct{}
}

// statsEvery is how often the store is measured for the metrics.
const statsEvery = time.Minute

// openTimeout bounds the start when a database does not answer.
const openTimeout = 30 * time.Second

// noData is what Data is when nothing is kept.
const noData = "off"

// KeepsState tells whether the server has a store: when it is told where, or a
// namespace keeps what is said.
func (c Config) KeepsState() bool {
	if c.Database != "" || c.Data != "" {
		return c.Database != "" || c.Data != noData
	}
	for _, ns := range c.Namespaces {
		if ns.Kind == hub.KindLog || ns.Kind == hub.KindDoc {
			return true
		}
	}
	return false
}

// openState opens the store, when there is to be one.
func (s *Server) openState(cfg Config) error {
	if !cfg.KeepsState() {
		s.startConsole(operator.NewMemory(), false)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	s.observer = newObserver(s.metrics, &s.commits)
	opt := store.Options{Committed: s.committed, Pushed: s.pushes.Pushed, Observer: s.observer}
	var kept store.Store
	var err error
	if cfg.Database != "" {
		kept, err = postgres.Open(ctx, postgres.Config{URL: cfg.Database, Options: opt, Logger: s.log})
	} else {
		kept, err = sqlite.Open(ctx, sqlite.Config{Dir: cfg.Data, Relaxed: cfg.Durability == "relaxed", Options: opt, Logger: s.log})
	}
	if err != nil {
		return err
	}
	measuring, stop := context.WithCancel(context.Background())
	s.state = &state{store: kept, stop: stop, stopped: make(chan struct{})}
	s.startConsole(kept, kept.Shared())
	s.feeds.Start(s.hub, kept)
	s.documents.Start(s.hub, kept)
	s.stateMetrics()
	s.audit.Start(kept)
	go s.state.measure(measuring)
	if err := s.groups.Start(ctx, kept, kept.Shared()); err != nil {
		return err
	}
	if err := s.chats.Start(ctx, kept, kept.Shared()); err != nil {
		return err
	}
	if err := s.access.Start(ctx, kept, kept.Shared()); err != nil {
		return err
	}
	s.schedules.Start(kept, kept.Shared())
	return s.startPushes(ctx, kept)
}

// begun starts what needs all that an application registers: schedules, which may
// be about its verbs.
func (s *Server) begun() {
	s.beginning.Do(func() {
		s.schedules.Begin()
		s.campaigns.Run()
	})
}

// closeState finishes what is being stored.
func (s *Server) closeState() {
	s.chats.Close()
	s.pushes.Close()
	if s.pushVerbs != nil { // else the server was never made
		s.pushVerbs.Close()
	}
	if s.state == nil {
		s.documents.Close()
		s.feeds.Close()
		return
	}
	s.state.stop()
	<-s.state.stopped
	s.documents.Close()
	if err := s.state.store.Close(); err != nil {
		s.log.Error("the store did not close well", "error", err)
	}
	s.feeds.Close()
}

// measure keeps the store's measures for the metrics.
func (st *state) measure(ctx context.Context) {
	defer close(st.stopped)
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	for {
		if stats, err := st.store.Stats(ctx); err == nil {
			st.stats.Store(&stats)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stateMetrics names what is counted of log channels and their store.
func (s *Server) stateMetrics() {
	m, f, h := s.metrics, s.feeds.Metrics(), s.hub.Metrics()
	m.Gauge("readers_behind", "Subscriptions to log channels that are catching up.", nil, h.Behind.Load)
	m.Counter("readers_fell_behind_total", "Times that a subscription left the live path because its reader was too slow.", nil, h.FellBehind.Load)
	m.Gauge("readers_waiting", "Subscriptions that stand in line for messages they lack.", nil, func() int64 { return int64(s.feeds.Waiting()) })
	m.Counter("catchup_messages_total", "Messages for readers that lacked them.", metrics.Labels{"from": "memory"}, f.FromMemory.Load)
	m.Counter("catchup_messages_total", "Messages for readers that lacked them.", metrics.Labels{"from": "store"}, f.FromStore.Load)
	m.Counter("catchup_failures_total", "Reads for such readers that failed and were tried again.", nil, f.Failures.Load)
	m.Counter("gaps_total", "Times that a reader was told of messages that are gone.", nil, f.Gaps.Load)
	m.Counter("holes_total", "Times that messages of other processes had to be looked up.", nil, f.Holes.Load)
	m.Counter("trimmed_messages_total", "Messages that retention has deleted.", nil, f.Trimmed.Load)
	m.Gauge("recent_bytes", "Memory that the newest messages of log channels take.", nil, f.Bytes.Load)
	stat := func(read func(*store.Stats) int64) func() int64 {
		return func() int64 {
			if st := s.state.stats.Load(); st != nil {
				return read(st)
			}
			return 0
		}
	}
	m.Gauge("store_bytes", "Bytes that the store takes on disk.", nil, stat(func(st *store.Stats) int64 { return st.Bytes }))
	m.Gauge("store_channels", "Log channels that have messages, or had some.", nil, stat(func(st *store.Stats) int64 { return st.Channels }))
	m.Gauge("store_messages", "Messages that are kept.", nil, stat(func(st *store.Stats) int64 { return st.Messages }))
	s.keptMetrics(stat)
	s.documentMetrics(stat)
	s.pushMetrics()
}

// observer turns what the store tells into metrics.
type observer struct {
	groups, took, sync func(float64)
	queries            map[string]func(float64)
	commands           atomic.Int64
	commits            *commits
	failed             map[string]*atomic.Int64
}

var queries = []string{"heads", "read", "recalls", "document", "trim", "stats", "check", "members", "memberships", "schedules", "due", "denials", "seen", "users", "audience", "categories", "campaigns", "inbox", "records", "pushes", "estimate", "conversations", "roster", "group", "blocks", "alerts", "audit", "secrets"}

func newObserver(m *metrics.Set, c *commits) *observer {
	o := &observer{
		commits: c,
		groups:  m.Histogram("store_commit_groups", "Requests in one commit.", nil, metrics.Sizes()),
		took:    m.Histogram("store_commit_seconds", "Time of a commit, from its first statement on.", nil, metrics.Times()),
		sync:    m.Histogram("store_sync_seconds", "Of that, the time until it was on disk.", nil, metrics.Times()),
		queries: map[string]func(float64){},
		failed:  map[string]*atomic.Int64{"commit": {}},
	}
	m.Counter("store_commands_total", "Things stored.", nil, o.commands.Load)
	for _, what := range queries {
		o.queries[what] = m.Histogram("store_query_seconds", "Time of a read.", metrics.Labels{"what": what}, metrics.Times())
		o.failed[what] = &atomic.Int64{}
	}
	for what, n := range o.failed {
		m.Counter("store_failures_total", "Commits and reads that failed.", metrics.Labels{"what": what}, n.Load)
	}
	return o
}

// Commit implements store.Observer.
func (o *observer) Commit(groups, commands int, took, sync time.Duration, err error) {
	if err != nil {
		o.failed["commit"].Add(1)
		o.commits.failed(err)
		return
	}
	o.commands.Add(int64(commands))
	o.groups(float64(groups))
	o.took(took.Seconds())
	o.sync(sync.Seconds())
	o.commits.took(took)
}

// Query implements store.Observer.
func (o *observer) Query(what string, took time.Duration, err error) {
	observe := o.queries[what]
	if observe == nil {
		return // a newer store may ask more
	}
	if err != nil {
		o.failed[what].Add(1)
		return
	}
	observe(took.Seconds())
}
