package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// head is a channel as the writer knows it.
type head struct {
	id                                   int64
	name                                 string
	ns                                   int64
	top, floor, swept, recalled, recalls int64
	snapshot                             int64 // of a document: the version of its newest one, or 0; else noDocument
	fresh                                bool  // it has no row yet
	dirty                                bool  // its row is older
}

// noDocument is the snapshot of a channel of plain messages.
const noDocument = -1

func (h *head) document() bool { return h.snapshot != noDocument }

// maxHeads bounds the heads that are kept in memory.
const maxHeads = 1 << 18

// writer is the one who changes the file. Its goroutine owns it.
type writer struct {
	store  *Store
	c      *conn
	heads  map[string]*head
	dirty  []*head
	spaces map[string]int64
	lastID int64           // of the channels
	litter map[int64]*head // channels with rows at or below their floor

	// Of retention by count.
	counts  map[int64]int64 // by namespace, as the last step was told
	scan    int64           // where the scan of all channels is
	scanned bool            // it has come to its end with these counts
	over    map[string]bool // channels that have grown beyond their count since

	passes map[int64]*pass // of retention of documents by age, by namespace

	bulk  time.Time // when there was bulk work last
	steps int       // jobs of it, without a long pause
	live  time.Time // when there was other work last, apart from our own
	pages int       // after so many pages there is a checkpoint

	gently  bool      // there are short ones besides, when nobody waits
	settled time.Time // when there was the last of them
}

func (w *writer) connect() error {
	c, err := dial(w.store.path(), w.store.cfg.Relaxed)
	w.c, w.pages = c, rarely
	return err
}

// begin reads what the writer keeps in memory.
func (w *writer) begin() error {
	w.heads, w.dirty, w.spaces = map[string]*head{}, nil, map[string]int64{}
	if err := w.c.query(context.Background(), func(row []driverValue) error {
		w.spaces[text(row[1])] = number(row[0])
		return nil
	}, "SELECT id, name FROM namespace"); err != nil {
		return err
	}
	row, _, err := w.c.first("SELECT coalesce(max(id), 0) FROM channel")
	if err != nil {
		return err
	}
	w.lastID = number(row[0])
	return nil
}

func (w *writer) run() {
	var batch []*job
	for {
		batch = w.store.queue.take(batch[:0])
		if len(batch) == 0 {
			if w.store.queue.isClosed() {
				return
			}
			continue
		}
		w.batch(batch)
		clear(batch)
	}
}

// batch carries out jobs in one transaction; when a fault is a group's own, each
// in one of its own.
func (w *writer) batch(jobs []*job) {
	start := time.Now()
	err := w.attempt(jobs, start)
	if err == nil {
		w.store.worked()
		w.tell(jobs)
		w.settle(time.Now())
		return
	}
	if len(jobs) > 1 && !broken(err) {
		for i := range jobs {
			w.batch(jobs[i : i+1])
		}
		return
	}
	if broken(err) {
		w.store.failed(err)
		err = unavailable(err)
	}
	w.observe(jobs, start, 0, err)
	for _, j := range jobs {
		j.results, j.commits, j.err = nil, nil, err
		close(j.done)
	}
}

// broken tells an error of the file, the disk or the connection from one of a
// group.
func broken(err error) bool {
	switch code(err) {
	case 0, 18, 19, 20, 25: // TOOBIG, CONSTRAINT, MISMATCH, RANGE
		return errors.Is(err, errReconnect)
	}
	return true
}

var errReconnect = errors.New("the file cannot be opened")

// attempt carries out jobs and commits them. After an error nothing has
// happened, and what the writer keeps in memory is read anew.
func (w *writer) attempt(jobs []*job, start time.Time) (err error) {
	if w.c == nil {
		if err := errors.Join(w.connect()); err != nil {
			return fmt.Errorf("%w: %w", errReconnect, err)
		}
		if err := w.begin(); err != nil {
			w.drop()
			return fmt.Errorf("%w: %w", errReconnect, err)
		}
	}
	defer func() {
		if err != nil {
			w.drop()
		}
	}()
	if err := w.pace(jobs, start); err != nil {
		return err
	}
	if err := w.c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, j := range jobs {
		j.results, j.commits, j.err = nil, nil, nil
		if j.work != nil {
			j.err = j.work(w)
		} else {
			j.err = w.group(j)
		}
		if j.err != nil && !refused(j.err) {
			return j.err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	written := time.Now()
	if err := w.c.exec("COMMIT"); err != nil {
		return err
	}
	w.observe(jobs, start, time.Since(written), nil)
	if len(w.heads) > maxHeads {
		clear(w.heads)
	}
	return nil
}

// pace has checkpoints be rare, more frequent while there is bulk work, and out of the way
// while there is both bulk work and somebody whose commits wait for them.
func (w *writer) pace(jobs []*job, now time.Time) error {
	for _, j := range jobs {
		switch {
		case j.bulk:
			if now.Sub(w.bulk) >= bulkLasts {
				w.steps = 0
			}
			w.bulk = now
			w.steps++
		case j.work == nil:
			w.live = now
		}
	}
	pages := rarely
	w.gently = false
	if w.steps > fewSteps && now.Sub(w.bulk) < bulkLasts {
		pages = often
		w.gently = now.Sub(w.live) < liveLasts
	}
	if pages == w.pages {
		return nil
	}
	w.pages = pages
	return w.c.exec(fmt.Sprintf("PRAGMA wal_autocheckpoint(%d)", pages))
}

// settle moves what was written into the file when it is time and nobody waits. When that is
// not possible nothing is lost: the next checkpoint has more to do, and what is wrong with
// the file is told by the next commit.
func (w *writer) settle(now time.Time) {
	if !w.gently || now.Sub(w.settled) < settleEvery || w.store.queue.awaited() {
		return
	}
	w.settled = now
	_, _, _ = w.c.first("PRAGMA wal_checkpoint(PASSIVE)")
}

// refused tells the errors of the contract, after which a group has changed
// nothing, from those of the file.
func refused(err error) bool {
	return tables.Refused(err) || errors.Is(err, store.ErrMoved)
}

// drop gives the connection up: what it was doing is rolled back, and the next
// batch opens a new one.
func (w *writer) drop() {
	if w.c != nil {
		_ = w.c.exec("ROLLBACK") // fails when the transaction has ended by itself
		_ = w.c.close()
		w.c = nil
	}
	w.heads, w.dirty = map[string]*head{}, nil
}

func (w *writer) observe(jobs []*job, start time.Time, sync time.Duration, err error) {
	o := w.store.opt.Observer
	if o == nil {
		return
	}
	groups, commands := 0, 0
	for _, j := range jobs {
		if j.work == nil {
			groups++
			commands += len(j.group)
		}
	}
	if groups > 0 {
		o.Commit(groups, commands, time.Since(start), sync, err)
	}
}

// tell hands on what was committed, then answers.
func (w *writer) tell(jobs []*job) {
	if told := w.store.opt.Committed; told != nil {
		n := 0
		for _, j := range jobs {
			n += len(j.commits)
		}
		if n > 0 {
			all := make([]store.Commit, 0, n)
			for _, j := range jobs {
				all = append(all, j.commits...)
			}
			told(all)
		}
	}
	if told := w.store.opt.Pushed; told != nil {
		var all []store.Pushed
		for _, j := range jobs {
			all = tables.Pushes(all, j.results)
		}
		if len(all) > 0 {
			told(all)
		}
	}
	for _, j := range jobs {
		close(j.done)
	}
}

// group carries out the commands of one group. It looks before it writes, so
// that a group which fails has changed nothing. Only where a command can meet
// what the same group has written does it need a savepoint.
func (w *writer) group(j *job) error {
	if j.tables {
		return w.tables(j)
	}
	if len(j.group) == 1 {
		return w.carryOut(j)
	}
	if mixed(j.group) {
		return w.careful(j)
	}
	for _, c := range j.group {
		a := c.(store.Append)
		if _, _, err := w.admit(&a); err != nil {
			return err
		}
	}
	return w.carryOut(j)
}

// mixed tells whether commands of a group may depend on each other.
func mixed(group []store.Command) bool {
	keyed := 0
	for _, c := range group {
		switch c := c.(type) {
		case store.Recall, store.EditMessage, store.PutSnapshot:
			return true
		case store.Append:
			if c.Version != 0 || c.Author != nil {
				return true
			}
			if len(c.Key) > 0 {
				keyed++
			}
		}
	}
	return keyed > 1
}

func (w *writer) careful(j *job) error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.c.exec("SAVEPOINT one"); err != nil {
		return err
	}
	err := w.carryOut(j)
	if refused(err) {
		if err := errors.Join(w.c.exec("ROLLBACK TO one"), w.c.exec("RELEASE one"), w.begin()); err != nil {
			return err
		}
		j.results, j.commits = nil, nil
		return err
	}
	if err != nil {
		return err
	}
	return w.c.exec("RELEASE one")
}

func (w *writer) carryOut(j *job) error {
	j.results = make([]store.Result, 0, len(j.group))
	for i := range j.group {
		var err error
		switch c := j.group[i].(type) {
		case store.Append:
			err = w.append(j, &c)
		case store.Recall:
			err = w.recall(j, c)
		case store.EditMessage:
			err = w.edit(j, &c)
		case store.PutSnapshot:
			err = w.putSnapshot(j, &c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// head finds or makes the head of a channel.
func (w *writer) head(channel string, create bool) (*head, error) {
	if h := w.heads[channel]; h != nil {
		return h, nil
	}
	row, found, err := w.c.first("SELECT id, ns, top, floor, swept, recalled, recalls, snapshot FROM head WHERE name = ?", channel)
	if err != nil {
		return nil, err
	}
	if found {
		h := &head{id: number(row[0]), name: channel, ns: number(row[1]), top: number(row[2]), floor: number(row[3]), swept: number(row[4]), recalled: number(row[5]), recalls: number(row[6]), snapshot: noDocument}
		if row[7] != nil {
			h.snapshot = number(row[7])
		}
		w.heads[channel] = h
		return h, nil
	}
	if !create {
		return nil, nil
	}
	name, _, _ := strings.Cut(channel, ":")
	ns, known := w.spaces[name]
	if !known {
		ns = int64(len(w.spaces)) + 1
		if err := w.c.exec("INSERT INTO namespace (id, name) VALUES (?, ?)", ns, name); err != nil {
			return nil, err
		}
		w.spaces[name] = ns
	}
	w.lastID++
	h := &head{id: w.lastID, name: channel, ns: ns, snapshot: noDocument, fresh: true}
	w.heads[channel] = h
	return h, nil
}

func (w *writer) touch(h *head) {
	if !h.dirty {
		h.dirty = true
		w.dirty = append(w.dirty, h)
	}
}

// flush writes the heads that have changed.
func (w *writer) flush() error {
	for _, h := range w.dirty {
		if err := w.write(h); err != nil {
			return err
		}
		h.fresh, h.dirty = false, false
	}
	w.dirty = w.dirty[:0]
	return nil
}

func (w *writer) write(h *head) error {
	switch {
	case h.fresh && h.document():
		return w.c.exec("INSERT INTO channel (id, name, ns, top, floor, swept, recalled, recalls, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", h.id, h.name, h.ns, h.top, h.floor, h.swept, h.recalled, h.recalls, h.snapshot)
	case h.fresh:
		return w.c.exec("INSERT INTO channel (id, name, ns, top, floor, swept, recalled, recalls) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", h.id, h.name, h.ns, h.top, h.floor, h.swept, h.recalled, h.recalls)
	case h.document():
		return w.c.exec("UPDATE channel SET top = ?, floor = ?, swept = ?, recalled = ?, recalls = ?, snapshot = ? WHERE id = ?", h.top, h.floor, h.swept, h.recalled, h.recalls, h.snapshot, h.id)
	}
	return w.c.exec("UPDATE channel SET top = ?, floor = ?, swept = ?, recalled = ?, recalls = ? WHERE id = ?", h.top, h.floor, h.swept, h.recalled, h.recalls, h.id)
}

// used finds what a key gave before; nil when it is free.
func (w *writer) used(a *store.Append) (*store.Appended, *head, error) {
	h, err := w.head(a.Channel, true)
	if err != nil || h.fresh && h.top == 0 {
		return nil, h, err
	}
	row, found, err := w.c.first("SELECT seq, id, expires, content FROM idem WHERE ch = ? AND key = ?", h.id, a.Key)
	if err != nil || !found || number(row[2]) < a.Time {
		return nil, h, err
	}
	if !bytes.Equal(blob(row[3]), a.Content) {
		return nil, h, store.ErrConflict
	}
	return &store.Appended{Epoch: w.store.epoch, Seq: uint64(number(row[0])), ID: text(row[1]), Duplicate: true}, h, nil
}

// admit tells whether a message can be appended: before is what its key gave
// earlier, h the head of its channel.
func (w *writer) admit(a *store.Append) (before *store.Appended, h *head, err error) {
	if len(a.Key) > 0 {
		before, h, err = w.used(a)
	} else {
		h, err = w.head(a.Channel, true)
	}
	switch {
	case err != nil || before != nil:
	case a.Version == 0 && h.document(), a.Version != 0 && (uint64(h.top)+1 != a.Version || h.top > 0 && !h.document()):
		err = store.ErrMoved
	}
	return before, h, err
}

func (w *writer) append(j *job, a *store.Append) error {
	before, h, err := w.admit(a)
	if err != nil {
		return err
	}
	if before != nil {
		j.results = append(j.results, *before)
		return nil
	}
	began := false
	if a.Author != nil {
		if began, err = tables.Speaks(context.Background(), tx{w.c}, a); err != nil {
			return err
		}
	}
	seq := h.top + 1
	var sender any
	if b := packSender(a.Sender, &a.Meta); b != nil {
		sender = b
	}
	age := h.ns<<ageShift | a.Time
	if a.Version != 0 {
		age |= ofDocument
	}
	if err := w.c.exec("INSERT INTO message (ch, seq, age, id, event, sender, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
		h.id, seq, age, packID(a.ID, a.Time), packEvent(a.Event), sender, filled(a.Data)); err != nil {
		return err
	}
	if len(a.Key) > 0 {
		if err := w.c.exec("INSERT INTO idem (ch, key, seq, id, expires, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET seq = ?3, id = ?4, expires = ?5, content = ?6",
			h.id, a.Key, seq, a.ID, a.Expires, a.Content); err != nil {
			return err
		}
	}
	if a.Author != nil {
		if err := tables.Spoken(context.Background(), tx{w.c}, a, uint64(seq)); err != nil {
			return err
		}
	}
	h.top = seq
	if a.Version != 0 && !h.document() {
		h.snapshot = 0
	}
	if a.Keep > 0 && seq-int64(a.Keep) > h.floor {
		w.raise(h, seq-int64(a.Keep))
	}
	w.counted(h)
	if h.fresh {
		w.touch(h)
	}
	j.results = append(j.results, store.Appended{Epoch: w.store.epoch, Seq: uint64(seq), ID: a.ID, Began: began})
	j.commits = append(j.commits, store.Commit{Channel: a.Channel, Epoch: w.store.epoch, Message: &store.Message{
		Seq: uint64(seq), ID: a.ID, Time: a.Time, Event: a.Event, Data: a.Data, Sender: a.Sender, Meta: a.Meta,
	}})
	return nil
}
