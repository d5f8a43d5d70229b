package sqlite

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

// scanChannels is how many heads the slow scan looks at in each step.
const scanChannels = 200

// Trim implements [store.Store].
func (s *Store) Trim(ctx context.Context, rules []store.Keep, now time.Time, budget int) (t store.Trimmed, err error) {
	start := time.Now()
	if s.closed.Load() {
		return t, store.ErrClosed
	}
	j := &job{work: func(w *writer) error {
		t = store.Trimmed{}
		return w.trim(rules, now, budget, &t)
	}}
	err = s.queue.do(ctx, j)
	if err != nil {
		t = store.Trimmed{}
	}
	if s.opt.Observer != nil {
		s.opt.Observer.Query("trim", time.Since(start), err)
	}
	return t, err
}

func (w *writer) trim(rules []store.Keep, now time.Time, budget int, t *store.Trimmed) error {
	if err := w.flush(); err != nil {
		return err
	}
	for _, r := range rules {
		ns, known := w.spaces[r.Namespace]
		if !known || r.Age <= 0 {
			continue
		}
		full, err := w.tooOld(ns, max(0, now.Add(-r.Age).UnixMilli()), budget)
		if err != nil {
			return err
		}
		t.More = t.More || full
	}
	more, err := w.tooMany(rules)
	if err != nil {
		return err
	}
	t.More = t.More || more
	if err := w.flush(); err != nil {
		return err
	}
	for _, r := range rules {
		if ns, known := w.spaces[r.Namespace]; known && r.Age > 0 {
			if more, err = w.oldPatches(ns, r.Age, now.UnixMilli(), budget); err != nil {
				return err
			}
			t.More = t.More || more
		}
	}
	left := budget
	for id, h := range w.litter {
		if left <= 0 {
			break
		}
		done, n, err := w.sweep(h, left)
		if err != nil {
			return err
		}
		left -= n
		t.Messages += n
		if done {
			delete(w.litter, id)
		}
	}
	if len(w.litter) > 0 {
		t.More = true
	}
	n, err := w.c.changed("DELETE FROM idem WHERE (ch, key) IN (SELECT ch, key FROM idem WHERE expires < ? LIMIT ? + 0)", now.UnixMilli(), int64(budget))
	if err != nil {
		return err
	}
	t.Keys = n
	if left := budget - n; left > 0 {
		if n, err = tables.Trim(context.Background(), tx{w.c}, now.UnixMilli(), left); err != nil {
			return err
		}
		t.Keys += n
	}
	t.More = t.More || t.Keys >= budget
	return nil
}

// raise moves a floor up, of a document at most to its snapshot, and notes what
// is to be deleted.
func (w *writer) raise(h *head, floor int64) {
	if h.document() {
		floor = min(floor, h.snapshot)
	}
	if floor > h.floor {
		h.floor = floor
		w.touch(h)
	}
	if h.floor > h.swept {
		w.litter[h.id] = h
	}
}

// counted notes a channel that holds more than it should.
func (w *writer) counted(h *head) {
	if keep := w.counts[h.ns]; keep > 0 && h.top-keep > h.floor {
		w.over[h.name] = true
	}
}

// tooOld raises the floors of channels with messages from before a time. True:
// there may be more of them.
func (w *writer) tooOld(ns, before int64, budget int) (full bool, err error) {
	type old struct {
		channel string
		seq     int64
	}
	var list []old
	n := int64(0)
	err = w.c.query(context.Background(), func(row []driverValue) error {
		list = append(list, old{text(row[0]), number(row[1])})
		n += number(row[2])
		return nil
	}, `SELECT c.name, max(m.seq), count(*) FROM (SELECT ch, seq FROM message WHERE age >= ?1 AND age < ?2 ORDER BY age LIMIT ?3 + 0) m JOIN channel c ON c.id = m.ch GROUP BY m.ch`,
		ns<<ageShift, ns<<ageShift+min(before, maxTime+1), int64(budget))
	if err != nil {
		return false, err
	}
	for _, o := range list {
		h, err := w.head(o.channel, false)
		if err != nil {
			return false, err
		}
		w.raise(h, o.seq)
	}
	return n >= int64(budget), nil
}

// tooMany raises the floors of channels that hold more than they keep: those
// that have grown, and, when the counts are new, all of them, some in each step.
// The scan after the start also finds what was left to be deleted. True: it goes
// on.
func (w *writer) tooMany(rules []store.Keep) (more bool, err error) {
	counts := map[int64]int64{}
	for _, r := range rules {
		if ns, known := w.spaces[r.Namespace]; known {
			counts[ns] = int64(r.Count)
		}
	}
	if !maps.Equal(counts, w.counts) {
		w.counts, w.scan, w.scanned = counts, 0, false
	}
	names := slices.Collect(maps.Keys(w.over))
	if !w.scanned {
		last, seen := int64(0), 0
		if err := w.c.query(context.Background(), func(row []driverValue) error {
			last = number(row[0])
			seen++
			ns, top, floor, swept := number(row[2]), number(row[3]), number(row[4]), number(row[5])
			if keep := counts[ns]; keep > 0 && top-keep > floor || floor > swept {
				names = append(names, text(row[1]))
			}
			return nil
		}, "SELECT id, name, ns, top, floor, swept FROM head WHERE id > ? ORDER BY id LIMIT ? + 0", w.scan, int64(scanChannels)); err != nil {
			return false, err
		}
		w.scan, w.scanned = last, seen < scanChannels
	}
	for _, name := range names {
		h, err := w.head(name, false)
		if err != nil {
			return false, err
		}
		if h == nil {
			continue // it was rolled back
		}
		floor := h.floor
		if keep := counts[h.ns]; keep > 0 {
			floor = max(floor, h.top-keep)
		}
		w.raise(h, floor)
	}
	clear(w.over)
	return !w.scanned, nil
}

// sweep deletes rows at or below a channel's floor, at most so many.
func (w *writer) sweep(h *head, budget int) (done bool, n int, err error) {
	// What was put aside may be older than the head that is in use.
	if h, err = w.head(h.name, false); err != nil || h == nil {
		return h == nil, 0, err // it was rolled back
	}
	err = w.overwriting(h.document(), func() (err error) {
		n, err = w.c.changed("DELETE FROM message WHERE pos IN (SELECT pos FROM message WHERE ch = ? AND seq <= ? ORDER BY seq LIMIT ? + 0)", h.id, h.floor, int64(budget))
		return err
	})
	if err != nil {
		return false, 0, err
	}
	if n < budget {
		h.swept = h.floor
	} else {
		row, _, err := w.c.first("SELECT coalesce(min(seq) - 1, ?2) FROM message WHERE ch = ?1", h.id, h.floor)
		if err != nil {
			return false, 0, err
		}
		h.swept = min(h.floor, number(row[0]))
	}
	w.touch(h)
	return h.swept == h.floor, n, nil
}
