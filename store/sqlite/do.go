package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/internal/tables"
)

type (
	driverValue = driver.Value
	namedValue  = driver.NamedValue
	execContext = driver.StmtExecContext
)

// Bounds of what is kept.
const (
	maxChannel = 1024
	maxKey     = 64
	maxContent = 32
	maxData    = 64 << 20 // of a snapshot
)

// Do implements [store.Store].
func (s *Store) Do(ctx context.Context, group ...store.Command) ([]store.Result, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	if len(group) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j := &job{group: group}
	var err error
	if j.tables, j.bytes, err = tables.Check(group); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if j.tables {
		j.bulk = tables.Bulk(group)
	} else if err := checkMessages(j); err != nil {
		return nil, err
	}
	if err := s.queue.do(ctx, j); err != nil {
		return nil, err
	}
	return j.results, nil
}

// checkMessages checks the commands of a group and counts its bytes.
func checkMessages(j *job) error {
	for i, c := range j.group {
		switch c := c.(type) {
		case store.Append:
			if err := checkAppend(&c); err != nil {
				return fmt.Errorf("sqlite: command %d: append: %w", i, err)
			}
			speech, err := tables.CheckSpeech(&c)
			if err != nil {
				return fmt.Errorf("sqlite: command %d: append: %w", i, err)
			}
			j.bytes += len(c.Channel) + len(c.Data) + len(c.Event) + speech + 256
		case store.EditMessage:
			if err := tables.CheckEdit(&c); err != nil {
				return fmt.Errorf("sqlite: command %d: edit message: %w", i, err)
			}
			j.bytes += len(c.Channel) + len(c.Data) + len(c.Event) + 256
		case store.Recall:
			if c.Channel == "" && c.ID == "" || c.Seq == 0 && c.ID == "" {
				return fmt.Errorf("sqlite: command %d: recall: names no message", i)
			}
			j.bytes += 256
		case store.PutSnapshot:
			if err := checkSnapshot(&c); err != nil {
				return fmt.Errorf("sqlite: command %d: put snapshot: %w", i, err)
			}
			j.bytes += len(c.Channel) + len(c.Data) + 256
		default:
			return fmt.Errorf("sqlite: command %d: %T is not known", i, c)
		}
	}
	return nil
}

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

func checkSnapshot(p *store.PutSnapshot) error {
	switch {
	case p.Channel == "" || len(p.Channel) > maxChannel:
		return fmt.Errorf("%s: has %d bytes; 1 to %d are possible", "Channel", len(p.Channel), maxChannel)
	case p.Time < 0 || p.Time > maxTime:
		return fmt.Errorf("%s: %d is not from 0 to %d", "Time", p.Time, int64(maxTime))
	case len(p.Data) == 0 || len(p.Data) > maxData:
		return fmt.Errorf("%s: has %d bytes; 1 to %d are possible", "Data", len(p.Data), maxData)
	}
	return nil
}
