// Package postgres is the store of several nodes: messages, documents, members,
// conversations, schedules, denials, users, pushes, campaigns, the audit log and secrets in a PostgreSQL database, which any
// number of processes may use at once.
//
// It keeps its tables in a schema of its own (skein, unless the configuration
// or the URL's search_path names another one):
//
//	store      one row: the epoch, and the version of the schema
//	namespace  the words before the colon of channel names
//	channel    a head for each channel: top, floor, and what is swept
//	message    (channel, seq) -> id, time, event, sender, data; also by namespace and time
//	idem       (channel, key) -> the first result, until it expires
//	litter     channels with messages that nobody can read any more
//	document   the newest snapshot of each document: channel -> version, time, data
//
// and those of everything else, which store/internal/tables describes.
//
// The files in schema/ say what each column holds. Opening the store brings an
// older schema up to date, whichever node comes first, and refuses a newer one.
//
// # Writing
//
// Channels are dealt to writers by hash. Each writer takes all groups that
// wait for it, up to some hundreds, and sends them in one round trip that is
// one transaction: it makes the channels that are new, locks the heads in the
// order of their ids, so that nodes never wait for each other in a circle, and
// has one statement decide, number and insert everything. The lock on the head
// is what makes the seq dense in the order of commits, whichever node appends.
// The statement leaves out a group whose key was used for other content, and
// nothing else of the batch suffers; and so it does with one whose author is no member
// who may write, whose memberships are locked before. Groups with a recall, an edit or a
// snapshot, and those that append to a document twice, take a transaction of their own. A group that touches channels of several writers goes to one more
// writer, which holds the lanes of the others while it commits, so that what is
// told to [store.Options.Committed] stays in order.
//
// Groups of memberships have a writer of their own, and so have marks of members and the
// other kinds of store/internal/tables: schedules, denials, the audit log and secrets; users and campaigns; pushes; what
// users do with them; and the steps of work that goes through many users, of which
// each has a transaction of its own. The others take what waits for them in one
// transaction, too, and what the groups need is locked in an order that all nodes
// keep.
//
// # When the database is away
//
// Every transaction and every read has a deadline ([Config.Timeout]), also when
// packets vanish; what fails that way is [store.ErrUnavailable], as is all that
// waits behind it. The next call tries again, so nothing needs to be restarted.
// Deadlocks and serialization failures are repeated here.
//
// # What it does not do
//
// It makes no backups: pg_dump and its like do. After a restore into the same
// cluster call [Store.NewEpochs]; a restore into another cluster and a
// promotion of a standby are found out here. A recall takes the content out of
// the row; the dead row goes with the next vacuum, and the write-ahead log and
// backups keep theirs. The bus between nodes is not its business either: it
// tells Committed only what this process has committed.
//
// The store runs one goroutine for each writer and those of two connection
// pools; Close ends them.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// Config says where the database is and how it is used.
type Config struct {
	// URL is what libpq takes too, postgres://user:password@host:port/database or
	// key=value pairs, with all its parameters and environment variables. The role
	// must be allowed to create the schema, or own it. Behind PgBouncer, pool
	// sessions, not transactions.
	URL string
	// Schema holds the tables. Empty: the first name of the URL's search_path, or
	// skein.
	Schema string
	// Writers is how many transactions with messages may be committed at once,
	// besides those that touch several channels; at most 32. Zero: 4.
	Writers int
	// Readers is how many connections there are for reads. Zero: 8.
	Readers int
	// ConnectTimeout bounds one attempt to connect. Zero: the URL's connect_timeout,
	// or 3 s.
	ConnectTimeout time.Duration
	// Timeout bounds a transaction, and a read that has no earlier deadline. A
	// check and a measurement take what they need. Zero: 5 s.
	Timeout time.Duration
	// Options are those of every store.
	Options store.Options
	// Logger is told when the database goes away and comes back. Nil: nobody.
	Logger *slog.Logger
}

// Defaults of [Config].
const (
	defaultSchema         = "skein"
	defaultWriters        = 4
	defaultReaders        = 8
	defaultConnectTimeout = 3 * time.Second
	defaultTimeout        = 5 * time.Second
	maxWriters            = 32
)

// What may wait at most; beyond it groups are refused at once.
const (
	maxWaiting      = 65_536
	maxWaitingBytes = 64 << 20
)

// Store implements [store.Store].
type Store struct {
	tableReader
	opt     store.Options
	log     *slog.Logger
	timeout time.Duration

	lines         *lines
	writes, reads *pgxpool.Pool
	queue         *queue
	lanes         []sync.Mutex // held while a writer commits and tells
	pushing       sync.Mutex   // held while pushes are committed and told
	writers       sync.WaitGroup
	seed          maphash.Seed
	known         *knownNames // channels that are there
	begun         *knownNames // direct ones that have their members
	numbers       numbering

	away   atomic.Bool // the database did not answer last time
	life   context.Context
	end    context.CancelFunc
	closed atomic.Bool
	once   sync.Once

	trimming trimmer
}

var _ store.Store = (*Store)(nil)

// tableReader has the reads of everything but messages and documents.
type tableReader = tables.Reader

// Open connects, brings the schema up to date and starts the writers. It fails
// when the database does not answer within a few attempts or the end of ctx.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Writers < 0 || cfg.Writers > maxWriters {
		return nil, fmt.Errorf("postgres: Writers is %d; at most %d are possible", cfg.Writers, maxWriters)
	}
	if cfg.Writers == 0 {
		cfg.Writers = defaultWriters
	}
	if cfg.Readers <= 0 {
		cfg.Readers = defaultReaders
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d, err := newDatabase(cfg)
	if err != nil {
		return nil, err
	}
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	s := &Store{
		opt:     cfg.Options,
		lines:   d.lines,
		log:     cfg.Logger,
		timeout: cfg.Timeout,
		queue:   newQueue(cfg.Writers + 1 + tableLanes),
		lanes:   make([]sync.Mutex, cfg.Writers),
		seed:    maphash.MakeSeed(),
	}
	s.tableReader = tables.NewReader("postgres", s.lend)
	s.known, s.begun = newKnownNames(s.seed), newKnownNames(s.seed)
	s.life, s.end = context.WithCancel(context.Background())
	// One more for groups of several writers, those of the tables, one for trims.
	if s.writes, err = d.pool(cfg.Writers+1+tableLanes+1, true); err != nil {
		return nil, err
	}
	if s.reads, err = d.pool(cfg.Readers, false); err != nil {
		s.writes.Close()
		return nil, err
	}
	for lane := range cfg.Writers + 1 + tableLanes {
		s.writers.Go(func() { s.write(lane) })
	}
	return s, nil
}

// Shared tells that other processes may append too.
func (s *Store) Shared() bool { return true }

// closePatience is how long Close waits for connections to end in order: by then
// nothing is being written.
const closePatience = time.Second

// Close implements [store.Store].
func (s *Store) Close() error {
	s.once.Do(func() {
		s.closed.Store(true)
		s.queue.close()
		s.writers.Wait()
		s.end() // ends reads
		stop := s.lines.cutAfter(closePatience)
		defer stop()
		s.writes.Close()
		s.reads.Close()
	})
	return nil
}

// NewEpochs gives the store and all its channels a new epoch, so that everybody
// who has seen messages finds out that history may have been lost. Call it
// after the database was restored from a backup into the same cluster.
func (s *Store) NewEpochs(ctx context.Context) error {
	return s.change(ctx, func(ctx context.Context, t transaction) error {
		if _, err := t.Exec(ctx, `UPDATE store SET epoch = $1`, newEpoch()); err != nil {
			return err
		}
		return tables.Skip(ctx, tx{&s.numbers, t})
	})
}

// observeQuery tells the observer what a read took, and gives err back.
func (s *Store) observeQuery(what string, begin time.Time, err error) error {
	if s.opt.Observer != nil {
		told := err
		if errors.Is(err, context.Canceled) {
			told = nil // the caller lost interest; nothing went wrong
		}
		s.opt.Observer.Query(what, time.Since(begin), told)
	}
	return err
}
