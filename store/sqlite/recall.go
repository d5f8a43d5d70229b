package sqlite

import (
	"errors"
	"strings"

	"github.com/skein-realtime/skein/protocol"
	"github.com/skein-realtime/skein/store"
)

// find looks a message up that can still be read.
func (w *writer) find(r store.Recall) (h *head, pos, seq int64, m store.Message, err error) {
	if err := w.flush(); err != nil {
		return nil, 0, 0, m, err
	}
	const columns = "SELECT c.name, m.pos, m.seq, m.age, m.id, m.recalled IS NOT NULL AND m.data IS NULL FROM message m JOIN channel c ON c.id = m.ch WHERE m.seq > c.floor AND "
	var list [][]driverValue
	look := func(query string, args ...driverValue) {
		if err == nil && len(list) == 0 {
			var row []driverValue
			var found bool
			if row, found, err = w.c.first(columns+query, args...); found {
				list = append(list, row)
			}
		}
	}
	switch {
	case r.Channel != "" && r.Seq > 0:
		look("c.name = ? AND m.seq = ?", r.Channel, int64(min(r.Seq, 1<<63-1)))
	default:
		if ms := timeOf(r.ID); ms >= 0 && ms <= maxTime {
			short := packID(r.ID, ms)
			for name, ns := range w.spaces {
				if space, _, _ := strings.Cut(r.Channel, ":"); r.Channel != "" && space != name {
					continue
				}
				if r.Channel != "" {
					look("m.age IN (?1, ?2) AND m.id = ?3 AND c.name = ?4", ns<<ageShift|ms, ns<<ageShift|ms|ofDocument, short, r.Channel)
				} else {
					look("m.age IN (?1, ?2) AND m.id = ?3", ns<<ageShift|ms, ns<<ageShift|ms|ofDocument, short)
				}
			}
		}
		if r.Channel != "" {
			look("length(m.id) = 26 AND m.id = ? AND c.name = ?", []byte(r.ID), r.Channel)
		} else {
			look("length(m.id) = 26 AND m.id = ?", []byte(r.ID))
		}
	}
	if err != nil {
		return nil, 0, 0, m, err
	}
	if len(list) == 0 {
		return nil, 0, 0, m, store.ErrNotFound
	}
	row := list[0]
	if h, err = w.head(text(row[0]), false); err != nil {
		return nil, 0, 0, m, err
	}
	ms := number(row[3]) & maxTime
	m = store.Message{Seq: uint64(number(row[2])), ID: unpackID(blob(row[4]), ms), Time: ms, Recalled: number(row[5]) != 0}
	return h, number(row[1]), number(row[2]), m, nil
}

func (w *writer) recall(j *job, r store.Recall) error {
	h, pos, _, m, err := w.find(r)
	if err != nil {
		return err
	}
	already := m.Recalled
	j.results = append(j.results, store.Recalled{Channel: h.name, Seq: m.Seq, ID: m.ID, Already: already})
	if already {
		return nil
	}
	if err := w.overwriting(true, func() error {
		return w.c.exec("UPDATE message SET event = NULL, sender = NULL, data = NULL, recalled = ? WHERE pos = ?", h.top, pos)
	}); err != nil {
		return err
	}
	h.recalled = h.top
	h.recalls++
	w.touch(h)
	m.Recalled = true
	j.commits = append(j.commits, store.Commit{Channel: h.name, Epoch: w.store.epoch, Recall: &m})
	return nil
}

func (w *writer) edit(j *job, c *store.EditMessage) error {
	h, pos, _, m, err := w.find(store.Recall{Channel: c.Channel, Seq: c.Seq})
	switch {
	case err != nil:
		return err
	case m.Recalled:
		return store.ErrNotFound
	case h.document():
		return store.ErrMoved
	}
	row, _, err := w.c.first("SELECT sender FROM message WHERE pos = ?", pos)
	if err != nil {
		return err
	}
	m.Sender, m.Meta = unpackSender(blob(row[0]))
	m.Event, m.Data, m.Edited = c.Event, filled(c.Data), true
	if err := w.overwriting(true, func() error {
		return w.c.exec("UPDATE message SET event = ?, data = ?, recalled = ? WHERE pos = ?", packEvent(c.Event), m.Data, h.top, pos)
	}); err != nil {
		return err
	}
	h.recalled = h.top
	h.recalls++
	w.touch(h)
	j.results = append(j.results, store.Edited{ID: m.ID})
	j.commits = append(j.commits, store.Commit{Channel: h.name, Epoch: w.store.epoch, Edit: &m, Time: c.Time})
	return nil
}

// packEvent is an event as the column has it, which spares the usual one.
func packEvent(event string) any {
	if event == protocol.DefaultEvent {
		return nil
	}
	return event
}

// filled is data as the column has it: none is a stub's.
func filled(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// overwriting has what fn takes out be overwritten in the file, if that is wanted.
func (w *writer) overwriting(wanted bool, fn func() error) error {
	if !wanted {
		return fn()
	}
	return errors.Join(w.c.exec("PRAGMA secure_delete = ON"), fn(), w.c.exec("PRAGMA secure_delete = OFF"))
}
