package sqlite

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-realtime/skein/internal/id"
	"github.com/skein-realtime/skein/store"
)

var aboutTables = regexp.MustCompile(`\b(member|group_size|schedule|denial|seen|counter|document|snapshot)\b`)

// Each read of members, schedules, denials and documents, and each statement that
// changes them, goes by an index: it looks at no more than it gives, and sorts nothing.
func TestTablesAreReadByTheirIndexes(t *testing.T) {
	s, err := Open(t.Context(), Config{Dir: t.TempDir(), Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	put := store.Schedule{Name: "a", Next: 1}
	if _, err := s.Do(t.Context(),
		store.AddMembers{Channel: "room:1", Users: []string{"a", "b", "c"}, Time: 1}, store.RemoveMembers{Channel: "room:1", Users: []string{"c"}},
		store.RemoveMembers{Channel: "room:1", Some: 1}, store.AddMembers{Channel: "room:1", Time: 1},
		store.PutSchedule{Schedule: put}, store.ClaimSchedule{Name: "a", Owner: "o", Now: 1, Until: 2}, store.FinishSchedule{Name: "a", Version: 2},
		store.DeleteSchedule{Name: "a"}, store.PutDenial{Denial: store.Denial{User: "u", Time: 1, Expires: 1}}, store.SawUsers{Seen: []store.Seen{{User: "u", Time: 1}}},
	); err != nil {
		t.Fatal(err)
	}
	patch := store.Append{Channel: "doc:1", ID: id.Message(time.UnixMilli(1)), Time: 1, Version: 1, Data: []byte("1")}
	if _, err := s.Do(t.Context(), patch, store.PutSnapshot{Channel: "doc:1", Version: 1, Time: 1, Data: []byte("1"), Floor: 1}); err != nil {
		t.Fatal(err)
	}
	for patch.Version = 2; patch.Version < 4; patch.Version++ {
		if _, err := s.Do(t.Context(), patch); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Do(t.Context(), store.PutSnapshot{Channel: "doc:1", Version: 2, Time: 1, Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := s.Document(ctx, "doc:1"); return err },
		func(ctx context.Context) error { _, err := s.Members(ctx, "room:1", "", 1); return err },
		func(ctx context.Context) error { _, err := s.Memberships(ctx, "a", "", 1); return err },
		func(ctx context.Context) error { _, err := s.IsMember(ctx, "room:1", "a"); return err },
		func(ctx context.Context) error { _, err := s.MemberCounts(ctx, "room:1"); return err },
		func(ctx context.Context) error { _, err := s.Groups(ctx, "room:", "", 1); return err },
		func(ctx context.Context) error { _, err := s.Schedules(ctx, "a", "", 1); return err },
		func(ctx context.Context) error { _, err := s.Due(ctx, 1); return err },
		func(ctx context.Context) error { _, err := s.Denials(ctx, 0, 1); return err },
		func(ctx context.Context) error { _, err := s.LastSeen(ctx, "a"); return err },
	} {
		if err := read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Trim(t.Context(), []store.Keep{{Namespace: "doc", Age: time.Millisecond}}, time.UnixMilli(3), 10); err != nil || n.Keys != 1 || n.Messages != 2 {
		t.Fatalf("trim did %+v, %v", n, err)
	}
	// What was prepared is what is asked.
	reader := <-s.readers
	queries := slices.Collect(maps.Keys(reader.st))
	s.readers <- reader
	if err := s.queue.do(t.Context(), &job{work: func(w *writer) error {
		queries = append(queries, slices.Collect(maps.Keys(w.c.st))...)
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := dial(s.path(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	explained := 0
	for _, q := range queries {
		if !aboutTables.MatchString(q) || strings.HasPrefix(q, "SELECT * ") { // the start looks at the first row of each
			continue
		}
		explained++
		args := make([]driverValue, strings.Count(q, "?"))
		if err := c.query(t.Context(), func(row []driverValue) error {
			if step := text(row[3]); strings.Contains(step, "SCAN") || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s\n%s", q, step)
			}
			return nil
		}, "EXPLAIN QUERY PLAN "+q, args...); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	if explained < 20 {
		t.Errorf("only %d queries were looked at", explained)
	}
}
