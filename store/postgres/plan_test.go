package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/store"
	"github.com/skein-realtime/skein/store/postgres"
)

// Plans are made when the tables are nearly empty, and the planner knows it.
// Nothing may be read from end to end when they have grown.
func TestPlansStayGoodWhenTablesGrow(t *testing.T) {
	url := server.Database(t)
	s, err := postgres.Open(t.Context(), postgres.Config{URL: url, Writers: 1, Readers: 1})
	if err != nil {
		t.Fatal(err)
	}
	// Nobody analyzes the tables meanwhile.
	for _, table := range []string{"channel", "message", "idem", "litter"} {
		server.Exec(t, url, `ALTER TABLE skein.`+table+` SET (autovacuum_enabled = off)`)
	}
	use := func(n int) {
		for i := range n {
			a := newAppend("room:one", "1")
			a.Key, a.Expires = []byte(a.ID), a.Time+int64(time.Hour/time.Millisecond)
			b := newAppend(fmt.Sprintf("room:%d", i), "1")
			b.Keep = 1
			if _, err := s.Do(t.Context(), a, b, b); err != nil {
				t.Fatal(err)
			}
			if i%10 > 0 {
				continue
			}
			do[store.Recalled](t, s, store.Recall{ID: a.ID})
			if _, err := s.Recalls(t.Context(), "room:one", uint64(i), 10); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Read(t.Context(), store.Query{Channel: "room:one", Limit: 3, Backward: true}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Heads(t.Context(), "room:one", "room:2"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Trim(t.Context(), []store.Keep{{Namespace: "room", Age: time.Minute}}, time.Now(), 30); err != nil {
				t.Fatal(err)
			}
		}
	}
	use(1)
	server.Exec(t, url, `ANALYZE`)
	use(20) // makes the plans
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := rowsRead(t, url)
	if s, err = postgres.Open(t.Context(), postgres.Config{URL: url, Writers: 1, Readers: 1}); err != nil {
		t.Fatal(err)
	}
	const groups = 1500
	use(groups)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if each := float64(rowsRead(t, url)-before) / groups; each > 40 {
		t.Errorf("for each group %.0f rows were read", each)
	}
}

// rowsRead counts what all indexes and tables have given to all sessions that
// have ended.
func rowsRead(t *testing.T, url string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	until(t, "the sessions of the store have ended", func(string) bool {
		var left int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'skein' AND datname = current_database()`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	}, "")
	err = conn.QueryRow(t.Context(), `SELECT sum(seq_tup_read + coalesce(idx_tup_read, 0))::int8 FROM pg_stat_user_tables
		LEFT JOIN (SELECT relid, sum(idx_tup_read) AS idx_tup_read FROM pg_stat_user_indexes GROUP BY relid) AS i USING (relid)`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
