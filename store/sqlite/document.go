package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/skein-realtime/skein/store"
)

// putSnapshot replaces the value of a document that is kept.
func (w *writer) putSnapshot(j *job, p *store.PutSnapshot) error {
	h, err := w.head(p.Channel, false)
	if err != nil {
		return err
	}
	if h == nil {
		h = &head{snapshot: noDocument}
	}
	if p.Version > uint64(h.top) || h.top > 0 && !h.document() {
		return store.ErrMoved
	}
	version := int64(p.Version)
	if version <= max(h.snapshot, 0) {
		j.results = append(j.results, store.SnapshotPut{})
		return nil
	}
	if err := w.overwriting(p.Floor > 0, func() error {
		return w.c.exec("INSERT INTO document (ch, version, time, data) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET version = ?2, time = ?3, data = ?4",
			h.id, version, p.Time, p.Data)
	}); err != nil {
		return err
	}
	h.snapshot = version
	w.touch(h)
	w.raise(h, int64(min(p.Floor, p.Version)))
	w.counted(h) // the floor may follow now
	j.results = append(j.results, store.SnapshotPut{Kept: true})
	return nil
}

// Document implements [store.DocumentReader].
func (s *Store) Document(ctx context.Context, channel string) (page store.DocumentPage, err error) {
	err = s.reader(ctx, "document", s.cfg.Timeout, func(ctx context.Context, c *conn) error {
		return c.snapshot(func() error { return s.document(ctx, c, channel, &page) })
	})
	if err != nil {
		return store.DocumentPage{}, err
	}
	return page, nil
}

func (s *Store) document(ctx context.Context, c *conn, channel string, page *store.DocumentPage) error {
	var id int64
	known := false
	var err error
	if page.Head, id, err = s.head(ctx, c, channel); err != nil || id == 0 {
		return err
	}
	if err := c.query(ctx, func(row []driverValue) error {
		known = true
		if row[0] != nil {
			page.Snapshot = store.Snapshot{Version: uint64(number(row[0])), Time: number(row[1]), Data: blob(row[2])}
		}
		return nil
	}, "SELECT d.version, d.time, d.data FROM channel c LEFT JOIN document d ON d.ch = c.id WHERE c.id = ? AND c.snapshot IS NOT NULL", id); err != nil || !known {
		return err
	}
	return c.query(ctx, func(row []driverValue) error {
		page.Messages = append(page.Messages, messageOf(row))
		return nil
	}, forward, id, int64(page.Snapshot.Version), int64(-1)) // no limit
}

// Documents are looked at for old patches a few in each step, and all of them in
// each such part of the age that is allowed.
const (
	passDocuments = 200
	passesOfAge   = 64
)

// pass is where the look at the documents of a namespace is. Most have nothing to
// delete: patches of before the floor and of after the snapshot are no matter of
// age. So there is no index of those that have, which each patch would change.
type pass struct {
	age   time.Duration
	last  int64 // the document that was looked at last; zero: none in this pass
	ended int64 // when the last pass ended; zero: there was none
}

// oldPatches raises the floors of documents whose first patches are too old: up
// to the first that is not, and up to the snapshot. True: the pass goes on.
func (w *writer) oldPatches(ns int64, age time.Duration, now int64, budget int) (more bool, err error) {
	p := w.passes[ns]
	if p == nil || p.age != age {
		p = &pass{age: age}
		w.passes[ns] = p
	}
	if since := now - p.ended; p.last == 0 && p.ended > 0 && since >= 0 && since < age.Milliseconds()/passesOfAge {
		return false, nil
	}
	type document struct {
		id   int64
		name string
	}
	var old []document
	seen, last, before := 0, int64(0), max(0, now-age.Milliseconds())
	if err := w.c.query(context.Background(), func(row []driverValue) error {
		seen++
		last = number(row[0])
		if row[2] != nil && number(row[2])&maxTime < before {
			old = append(old, document{last, text(row[1])})
		}
		return nil
	}, `SELECT id, name, CASE WHEN floor < snapshot THEN (SELECT age FROM message WHERE ch = channel.id AND seq = channel.floor + 1) END
		FROM channel WHERE ns = ? AND snapshot IS NOT NULL AND id > ? ORDER BY id LIMIT ? + 0`, ns, p.last, int64(passDocuments)); err != nil {
		return false, err
	}
	for _, d := range old {
		n, err := w.oldOf(d.name, before, budget)
		if err != nil {
			return false, err
		}
		if budget -= n; budget <= 0 {
			p.last = d.id - 1 // there may be more of it
			return true, nil
		}
	}
	if seen == passDocuments {
		p.last = last
		return true, nil
	}
	p.last, p.ended = 0, now
	return false, nil
}

// oldOf raises the floor of one document, and tells of how many patches.
func (w *writer) oldOf(name string, before int64, budget int) (n int, err error) {
	h, err := w.head(name, false)
	if err != nil {
		return 0, err
	}
	floor := h.floor
	if err := w.c.query(context.Background(), func(row []driverValue) error {
		if number(row[1])&maxTime >= before {
			return errEnough
		}
		floor = number(row[0])
		n++
		return nil
	}, "SELECT seq, age FROM message WHERE ch = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ? + 0", h.id, h.floor, h.snapshot, int64(budget)); err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	w.raise(h, floor)
	return n, nil
}
