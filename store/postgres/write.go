package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// What one transaction takes at most.
const (
	maxGroups     = 512
	maxBatchBytes = 1 << 20
)

// maxRepeats is how often a transaction is begun anew after a deadlock and its like.
const maxRepeats = 8

// Do implements [store.Store].
func (s *Store) Do(ctx context.Context, commands ...store.Command) ([]store.Result, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	if len(commands) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	g := &group{commands: commands, done: make(chan struct{})}
	if err := s.plan(ctx, g); err != nil {
		return nil, err
	}
	if err := s.queue.do(ctx, g); err != nil {
		return nil, err
	}
	return g.results, nil
}

// plan checks the commands of a group and finds out which writers it concerns.
func (s *Store) plan(ctx context.Context, g *group) error {
	var err error
	if g.tables, g.bytes, err = tables.Check(g.commands); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if g.tables {
		lane := tableLane(g.commands)
		g.lane = len(s.lanes) + lane
		g.alone = lane == laneBulk // the locks of one are enough to wait for
		return nil
	}
	given := g.commands
	for i, c := range given {
		var channel string
		switch c := c.(type) {
		case store.Append:
			if err := checkAppend(&c); err != nil {
				return fmt.Errorf("postgres: command %d: append: %w", i, err)
			}
			channel = c.Channel
			if c.Version != 0 {
				g.versions = true
			}
			speech, err := tables.CheckSpeech(&c)
			if err != nil {
				return fmt.Errorf("postgres: command %d: append: %w", i, err)
			}
			g.authors = g.authors || c.Author != nil
			g.bytes += len(c.Channel) + len(c.Data) + len(c.Event) + len(c.Sender.User) + len(c.Sender.Device) + speech + 256
		case store.EditMessage:
			if err := tables.CheckEdit(&c); err != nil {
				return fmt.Errorf("postgres: command %d: edit message: %w", i, err)
			}
			g.alone = true
			channel = c.Channel
			g.bytes += len(c.Channel) + len(c.Data) + len(c.Event) + 256
		case store.Recall:
			// Its statement is one of several, so it cannot share a round trip.
			g.alone = true
			if c.Channel == "" {
				found, err := s.locate(ctx, given[:i], c.ID)
				if errors.Is(err, store.ErrNotFound) {
					g.bytes += 256
					continue // it fails when its turn comes, unless another fails before it
				}
				if err != nil {
					return err
				}
				if &given[0] == &g.commands[0] {
					g.commands = append([]store.Command(nil), given...) // the caller's list stays as it is
				}
				g.commands[i] = found
				c = found
			}
			channel = c.Channel
			g.bytes += 256
		case store.PutSnapshot:
			if err := checkSnapshot(&c); err != nil {
				return fmt.Errorf("postgres: command %d: put snapshot: %w", i, err)
			}
			g.alone = true
			channel = c.Channel
			g.bytes += len(c.Channel) + len(c.Data) + 256
		default:
			return fmt.Errorf("postgres: command %d: %T is not known", i, c)
		}
		g.touches |= 1 << s.laneOf(channel)
	}
	if g.touches == 0 {
		return store.ErrNotFound
	}
	g.alone = g.alone || g.versions && (g.authors || repeats(g.commands)) || g.authors && begins(g.commands)
	g.lane = bits.TrailingZeros64(g.touches)
	if bits.OnesCount64(g.touches) > 1 {
		g.lane = len(s.lanes)
	}
	return nil
}

// laneOf deals channels to writers.
func (s *Store) laneOf(channel string) int {
	return int(maphash.String(s.seed, channel) % uint64(len(s.lanes)))
}

// Bounds of what is kept: names are in an index, whose entries are bounded.
const (
	maxChannel = 1024
	maxKey     = 64
	maxContent = 32
	maxData    = 64 << 20 // of a snapshot
)

func checkAppend(a *store.Append) error {
	switch {
	case a.Channel == "" || len(a.Channel) > maxChannel:
		return fmt.Errorf("%s: has %d bytes; 1 to %d are possible", "Channel", len(a.Channel), maxChannel)
	case len(a.ID) != idText:
		return fmt.Errorf("%s: %q does not have %d characters", "ID", a.ID, idText)
	case a.Time < 0 || a.Time > maxTime:
		return fmt.Errorf("%s: %d is not from 0 to %d", "Time", a.Time, int64(maxTime))
	case a.Keep < 0:
		return fmt.Errorf("%s: %d is less than 0", "Keep", a.Keep)
	case len(a.Key) > maxKey:
		return fmt.Errorf("%s: has %d bytes; at most %d are possible", "Key", len(a.Key), maxKey)
	case len(a.Content) > maxContent:
		return fmt.Errorf("%s: has %d bytes; at most %d are possible", "Content", len(a.Content), maxContent)
	}
	return nil
}

// write is the life of one writer. Behind the lanes of messages are those of
// groups that concern several of them, and of the tables.
func (s *Store) write(lane int) {
	w := &writer{store: s, lane: lane, keys: make(map[usedKey]struct{})}
	var batch []*group
	for {
		w.begin()
		batch = s.queue.take(lane, batch[:0], w.fit)
		if len(batch) == 0 {
			return
		}
		w.commit(batch)
		clear(batch)
	}
}

// writer is what a writer keeps between batches. Its goroutine owns it.
type writer struct {
	store *Store
	lane  int

	// Of the batch that is being gathered.
	groups, bytes int
	alone         bool
	versions      bool // there are appends to documents
	authors       bool // there are messages of members
	touches       uint64
	keys          map[usedKey]struct{}
	taken         []*group        // until one of them has versions
	channels      map[string]bool // afterwards: those of the batch, and whether with a version

	commits []store.Commit
}

type usedKey struct{ channel, key string }

func (w *writer) begin() {
	w.groups, w.bytes, w.alone, w.touches = 0, 0, false, 0
	w.versions, w.authors = false, false
	clear(w.keys)
	clear(w.taken)
	w.taken, w.channels = w.taken[:0], nil
}

// fit tells whether a group may go with those before it, and counts it in. One
// statement cannot see what it is inserting itself: a key that comes a
// second time waits for the next batch, and so does a document.
func (w *writer) fit(g *group) bool {
	if w.groups > 0 && (w.alone || g.alone || w.groups >= maxGroups || w.bytes+g.bytes > maxBatchBytes) {
		return false
	}
	// The one has no statement that does what the other needs.
	if w.groups > 0 && (w.versions && g.authors || w.authors && g.versions) || !w.fitVersions(g) {
		return false
	}
	for _, c := range g.commands {
		a, ok := c.(store.Append)
		if !ok || len(a.Key) == 0 {
			continue
		}
		k := usedKey{a.Channel, string(a.Key)}
		if _, used := w.keys[k]; !used {
			w.keys[k] = struct{}{}
			continue
		}
		if w.groups == 0 {
			g.alone = true // it is in the group itself
			break
		}
		// The keys that were counted in for nothing only make the batch end earlier.
		return false
	}
	w.groups++
	w.bytes += g.bytes
	w.alone = g.alone
	w.versions, w.authors = w.versions || g.versions, w.authors || g.authors
	w.touches |= g.touches
	return true
}

// commit writes a batch, tells what was committed and answers.
func (w *writer) commit(batch []*group) {
	s := w.store
	// The time that is spent on waiting for others counts, too.
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	// In rising order, as every writer does.
	for lanes := w.touches; lanes != 0; lanes &= lanes - 1 {
		lane := bits.TrailingZeros64(lanes)
		s.lanes[lane].Lock()
		defer s.lanes[lane].Unlock()
	}
	if batch = s.queue.begin(batch); len(batch) > 0 {
		w.attempt(ctx, batch)
	}
}

// attempt carries out a batch, again and again when others were in the way, and
// group by group when the fault is the batch's own.
func (w *writer) attempt(ctx context.Context, batch []*group) {
	s := w.store
	var err error
	for range maxRepeats {
		begin := time.Now()
		var done []outcome
		unlock := func() {}
		switch {
		case batch[0].tables:
			done, unlock, err = s.writeTables(ctx, batch)
		case batch[0].alone:
			done, err = s.writeAlone(ctx, batch[0])
		default:
			done, err = s.writeBatch(ctx, batch)
		}
		w.observe(batch, begin, err)
		if err == nil {
			s.back()
			w.tell(batch, done, unlock)
			return
		}
		unlock()
		if !repeatable(err) || ctx.Err() != nil {
			break
		}
	}
	failed := wrap(context.Background(), "writing", err)
	switch {
	case errors.Is(failed, store.ErrUnavailable):
		s.gone(err)
		// Who came while we waited has waited enough. Who comes when the first has been
		// answered tries anew.
		s.queue.refuse(w.lane, failed)
		for _, g := range batch {
			g.finish(failed)
		}
	case len(batch) > 1:
		for i := range batch {
			w.attempt(ctx, batch[i:i+1])
		}
	default:
		s.log.Error("postgres: a group failed", "err", err)
		batch[0].finish(failed)
	}
}

func (w *writer) observe(batch []*group, begin time.Time, err error) {
	o := w.store.opt.Observer
	if o == nil {
		return
	}
	commands := 0
	for _, g := range batch {
		commands += len(g.commands)
	}
	// What the server spends on its log is not told apart: the caller waits for the
	// whole round trip until it is on disk.
	took := time.Since(begin)
	o.Commit(len(batch), commands, took, took, err)
}

// outcome is what became of a group in a transaction that was committed.
type outcome struct {
	results []store.Result
	commits []store.Commit
	pushes  []store.Pushed
	err     error
}

// tell hands on what was committed, then answers the groups. unlock lets others
// tell of pushes.
func (w *writer) tell(batch []*group, done []outcome, unlock func()) {
	s := w.store
	if s.opt.Pushed != nil {
		var pushes []store.Pushed
		for i := range done {
			pushes = append(pushes, done[i].pushes...)
		}
		if len(pushes) > 0 {
			s.opt.Pushed(pushes)
		}
	}
	unlock()
	if s.opt.Committed != nil {
		for i := range done {
			w.commits = append(w.commits, done[i].commits...)
		}
		if len(w.commits) > 0 {
			s.opt.Committed(w.commits)
		}
		clear(w.commits)
		w.commits = w.commits[:0]
	}
	for i, g := range batch {
		g.results = done[i].results
		g.finish(done[i].err)
	}
}

// gone and back note whether the database answers, and say so once.
func (s *Store) gone(err error) {
	if !s.away.Swap(true) {
		s.log.Warn("postgres: the database does not answer", "err", err)
	}
	if lost(err) {
		s.writes.Reset()
		s.reads.Reset()
	}
}

func (s *Store) back() {
	if s.away.Load() && s.away.Swap(false) {
		s.log.Info("postgres: the database answers again")
	}
}

// transaction is what the statements of a change need.
type transaction = pgx.Tx

// change carries out do in a transaction of its own, again when others were in
// the way.
func (s *Store) change(ctx context.Context, do func(context.Context, transaction) error) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var err error
	for range maxRepeats {
		if err = pgx.BeginFunc(limited, s.writes, func(tx pgx.Tx) error { return do(limited, tx) }); err == nil {
			s.back()
			return nil
		}
		if !repeatable(err) || limited.Err() != nil {
			break
		}
	}
	return s.fail(ctx, "writing", err)
}

// fail turns an error of the driver into the caller's, and notes when the
// database is away.
func (s *Store) fail(ctx context.Context, doing string, err error) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	wrapped := wrap(ctx, doing, err)
	if errors.Is(wrapped, store.ErrUnavailable) {
		s.gone(err)
	}
	return wrapped
}
