package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
)

// errUndone makes a transaction be rolled back whose group has failed.
var errUndone = errors.New("undone")

// writeAlone carries out one group command by command, each of which sees what
// those before it did. They go out together as far as it is known where they go:
// a message that is withdrawn by its id has to be found first.
func (s *Store) writeAlone(ctx context.Context, g *group) ([]outcome, error) {
	var o outcome
	err := pgx.BeginFunc(ctx, s.writes, func(tx pgx.Tx) error {
		o = outcome{}
		var b pgx.Batch
		ensures := namesOf(g, s.known).queue(&b)
		by := authorsOf(g, s.begun)
		locks := by.queue(&b)
		rest := append([]store.Command(nil), g.commands...)
		n := queueSome(&b, rest)
		answer := tx.SendBatch(ctx, &b)
		epoch, err := readLock(answer, ensures)
		if err == nil {
			err = discard(answer, locks)
		}
		if err != nil {
			_ = answer.Close()
			return err
		}
		for {
			if err := o.read(answer, rest[:n], epoch); err != nil {
				return err
			}
			if rest = rest[n:]; len(rest) == 0 {
				if len(by.sizes) > 0 {
					_, err = tx.Exec(ctx, sqlDropSizes, by.sizes)
				}
				return err
			}
			if rest[0], err = locateIn(ctx, tx, rest[0].(store.Recall)); errors.Is(err, store.ErrNotFound) {
				o = outcome{err: err}
				return errUndone
			} else if err != nil {
				return err
			}
			b = pgx.Batch{}
			n = queueSome(&b, rest)
			answer = tx.SendBatch(ctx, &b)
		}
	})
	if errors.Is(err, errUndone) {
		err = nil
	}
	return []outcome{o}, err
}

// namesOf are the channels of a group: those that it appends to, which are made,
// and the others, which are only locked.
func namesOf(g *group, known *knownNames) *names {
	channels := newNames(known, true)
	for _, c := range g.commands {
		if a, ok := c.(store.Append); ok {
			channels.add(a.Channel)
		}
	}
	for _, c := range g.commands {
		switch c := c.(type) {
		case store.Recall:
			if c.Channel != "" {
				channels.lockOnly(c.Channel)
			}
		case store.EditMessage:
			channels.lockOnly(c.Channel)
		case store.PutSnapshot:
			channels.lockOnly(c.Channel)
		}
	}
	return channels
}

// queueSome adds the statements of commands up to the first that names a message
// by its id, and tells how many they are.
func queueSome(b *pgx.Batch, commands []store.Command) int {
	for i, c := range commands {
		switch c := c.(type) {
		case store.Append:
			var cols columns
			cols.add(0, &c)
			cols.queue(b)
		case store.Recall:
			if c.Channel == "" || c.Seq == 0 {
				return i
			}
			b.Queue(sqlRecall, []byte(c.Channel), clamp(c.Seq))
		case store.EditMessage:
			b.Queue(sqlEdit, []byte(c.Channel), clamp(c.Seq), packEvent(c.Event), filled(c.Data))
		case store.PutSnapshot:
			b.Queue(sqlPutSnapshot, []byte(c.Channel), clamp(c.Version), c.Time, c.Data, clamp(min(c.Floor, c.Version)))
		}
	}
	return len(commands)
}

// read adds what became of commands that were sent, and closes their answer.
// errUndone says that the group has failed.
func (o *outcome) read(answer pgx.BatchResults, sent []store.Command, epoch string) (err error) {
	defer func() {
		if closed := answer.Close(); err == nil {
			err = closed
		}
	}()
	for _, c := range sent {
		var one outcome
		switch c := c.(type) {
		case store.Append:
			one, err = readAppend(answer, c, epoch)
		case store.Recall:
			one, err = readRecall(answer, c, epoch)
		case store.EditMessage:
			one, err = readEdit(answer, c, epoch)
		case store.PutSnapshot:
			one, err = readSnapshot(answer, c)
		}
		if err != nil {
			return err
		}
		if one.err != nil {
			*o = one
			return errUndone
		}
		o.results = append(o.results, one.results...)
		o.commits = append(o.commits, one.commits...)
	}
	return nil
}

func readAppend(answer pgx.BatchResults, a store.Append, epoch string) (outcome, error) {
	rows, err := answer.Query()
	if err != nil {
		return outcome{}, err
	}
	done := make([]outcome, 1)
	missing, err := readApplied(rows, []*group{{commands: []store.Command{a}}}, done, epoch, a.Author != nil)
	if err == nil && len(missing) > 0 {
		err = errFault // it was made before, in the same transaction
	}
	return done[0], err
}

// locateIn finds the seq of a message of a channel.
func locateIn(ctx context.Context, tx pgx.Tx, r store.Recall) (store.Recall, error) {
	if r.Channel == "" {
		return r, store.ErrNotFound // it was not located
	}
	time, random := idParts(r.ID)
	var channel []byte
	var seq int64
	err := tx.QueryRow(ctx, sqlLocateIn, time, random, []byte(r.ID), []byte(r.Channel)).Scan(&channel, &seq)
	if errors.Is(err, pgx.ErrNoRows) {
		err = store.ErrNotFound
	}
	r.Seq = uint64(seq)
	return r, err
}

func readRecall(answer pgx.BatchResults, r store.Recall, epoch string) (outcome, error) {
	var time int64
	var id []byte
	var already bool
	err := answer.QueryRow().Scan(&time, &id, &already)
	if errors.Is(err, pgx.ErrNoRows) {
		return outcome{err: store.ErrNotFound}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	text := unpackID(id, time)
	o := outcome{results: []store.Result{store.Recalled{Channel: r.Channel, Seq: r.Seq, ID: text, Already: already}}}
	if !already {
		o.commits = []store.Commit{{Channel: r.Channel, Epoch: epoch, Recall: &store.Message{Seq: r.Seq, ID: text, Time: time, Recalled: true}}}
	}
	return o, nil
}

// filled is data as the column has it after an edit: none is a stub's.
func filled(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

func readEdit(answer pgx.BatchResults, c store.EditMessage, epoch string) (outcome, error) {
	var time int64
	var id, sender []byte
	var document bool
	err := answer.QueryRow().Scan(&time, &id, &sender, &document)
	if errors.Is(err, pgx.ErrNoRows) {
		return outcome{err: store.ErrNotFound}, nil
	}
	if err != nil {
		return outcome{}, err
	}
	if document {
		return outcome{err: store.ErrMoved}, nil
	}
	m := &store.Message{Seq: c.Seq, ID: unpackID(id, time), Time: time, Event: c.Event, Data: filled(c.Data), Edited: true}
	var ok bool
	if m.Sender, m.Meta, ok = unpackSender(sender); !ok {
		return outcome{}, fmt.Errorf("%w: the sender of a message with seq %d", errFault, c.Seq)
	}
	return outcome{
		results: []store.Result{store.Edited{ID: m.ID}},
		commits: []store.Commit{{Channel: c.Channel, Epoch: epoch, Edit: m, Time: c.Time}},
	}, nil
}
