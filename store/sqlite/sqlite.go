// Package sqlite is the store of a single node: messages, documents, members,
// conversations, schedules, denials, users, pushes, campaigns, the audit log and secrets in one SQLite file, skein.db, in a
// directory that one server at a time may use.
//
// The files in schema/ say which tables it keeps and what each column holds.
// Opening the store brings an older file up to date and refuses a newer one. What
// is done with everything but messages and documents is in store/internal/tables.
//
// # Writing
//
// One goroutine writes. It takes all groups that wait, up to a thousand, carries
// them out in one transaction, and answers after its commit: so many callers
// share one fsync. Work that goes through many users, a step at a time, waits
// apart: each transaction takes one step behind all else. Heads of channels that are in use stay in memory, since nobody
// else changes them. Reads have connections of their own and see whole commits.
//
// # When the disk is full or broken
//
// The transaction is rolled back, everybody in it gets [store.ErrUnavailable],
// the connection is opened anew, and the next group tries again. Nothing needs
// to be restarted.
//
// # What it does not do
//
// It does not copy to other machines; [Backup] makes a copy while a server runs.
// The content of a withdrawn message, and what a document has forgotten, is
// overwritten in the file, but may be in its write-ahead log until the next
// checkpoint, and in backups.
//
// [Store.Close] ends the goroutine and folds the write-ahead log into the file.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// Config says where the file is and how it is used.
type Config struct {
	// Dir is the directory of the file; it is made when it is missing.
	Dir string
	// Relaxed does not wait for the disk at every commit: a power cut may take the
	// last moments, the end of the process takes nothing. After such a cut the epoch
	// changes.
	Relaxed bool
	// Readers is how many reads may run at once. Zero: twice the processors.
	Readers int
	// Timeout bounds a read that has no earlier deadline. Zero: 10 s.
	Timeout time.Duration
	// Options are those of every store.
	Options store.Options
	// Logger is told when storing fails and when it works again. Nil: nobody.
	Logger *slog.Logger
}

const (
	fileName = "skein.db"
	lockName = "skein.lock"
)

// Store implements [store.Store].
type Store struct {
	tableReader
	cfg   Config
	opt   store.Options
	log   *slog.Logger
	lock  *os.File
	epoch string

	queue   queue
	readers chan *conn // those that are free
	writing sync.WaitGroup
	reading sync.WaitGroup
	closed  atomic.Bool
	once    sync.Once
	failing atomic.Bool

	w writer
}

var _ store.Store = (*Store)(nil)

// tableReader has the reads of everything but messages and documents.
type tableReader = tables.Reader

// Open opens the store of a directory, and makes it when there is none.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Readers <= 0 {
		cfg.Readers = 2 * runtime.GOMAXPROCS(0)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, opt: cfg.Options, log: cfg.Logger, lock: lock, readers: make(chan *conn, cfg.Readers)}
	s.tableReader = tables.NewReader("sqlite", s.lend)
	s.queue.wake.L = &s.queue.mu
	s.w = writer{store: s, heads: map[string]*head{}, litter: map[int64]*head{}, over: map[string]bool{}, passes: map[int64]*pass{}}
	if err := s.open(ctx); err != nil {
		s.discard()
		return nil, err
	}
	s.writing.Go(s.w.run)
	return s, nil
}

func (s *Store) path() string { return filepath.Join(s.cfg.Dir, fileName) }

// open opens the connections and makes the file what this version expects.
func (s *Store) open(ctx context.Context) error {
	if err := s.w.connect(); err != nil {
		return explain(s.path(), err)
	}
	if err := migrate(s.w.c); err != nil {
		return explain(s.path(), err)
	}
	epoch, err := settleEpoch(s.w.c, s.cfg.Relaxed)
	if err != nil {
		return explain(s.path(), err)
	}
	s.epoch = epoch
	if err := s.w.begin(); err != nil {
		return explain(s.path(), err)
	}
	for range s.cfg.Readers {
		c, err := dial(s.path(), s.cfg.Relaxed)
		if err != nil {
			return explain(s.path(), err)
		}
		s.readers <- c
	}
	return ctx.Err()
}

// discard gives back what was opened.
func (s *Store) discard() {
	for {
		select {
		case c := <-s.readers:
			_ = c.close()
			continue
		default:
		}
		break
	}
	if s.w.c != nil {
		_ = s.w.c.close()
		s.w.c = nil
	}
	_ = s.lock.Close()
}

// Shared tells that no other process appends.
func (s *Store) Shared() bool { return false }

// Close implements [store.Store].
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.closed.Store(true)
		s.queue.close()
		s.writing.Wait()
		s.reading.Wait()
		if s.w.c != nil {
			err = errors.Join(forgetBoot(s.w.c), s.w.c.exec("PRAGMA wal_checkpoint(TRUNCATE)"))
		}
		s.discard()
	})
	return err
}

// failed notes that nothing can be stored, and says so once; worked the reverse.
func (s *Store) failed(err error) {
	if !s.failing.Swap(true) {
		s.log.Error("nothing can be stored now", "file", s.path(), "error", err)
	}
}

func (s *Store) worked() {
	if s.failing.Load() && s.failing.Swap(false) {
		s.log.Info("storing works again", "file", s.path())
	}
}

// unavailable wraps an error of the database.
func unavailable(err error) error {
	if err == nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
