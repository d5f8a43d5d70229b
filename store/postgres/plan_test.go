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
	w := wear(t, 20, []string{"channel", "message", "idem", "litter"}, func(s *postgres.Store, i int) {
		a := newAppend("room:one", "1")
		a.Key, a.Expires = []byte(a.ID), a.Time+int64(time.Hour/time.Millisecond)
		b := newAppend(fmt.Sprintf("room:%d", i), "1")
		b.Keep = 1
		if _, err := s.Do(t.Context(), a, b, b); err != nil {
			t.Fatal(err)
		}
		if i%10 > 0 {
			return
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
	})
	w.readsAtMost(1500, 40)
}

// worn is a store that is used again and again. Nobody analyzes its tables meanwhile: the
// planner knows them as they were when they were nearly empty.
type worn struct {
	t     *testing.T
	url   string
	store *postgres.Store
	use   func(s *postgres.Store, round int)
	round int
}

// wear opens one on an empty database, and uses it a few times so that it makes its plans.
func wear(t *testing.T, times int, tables []string, use func(s *postgres.Store, round int)) *worn {
	t.Helper()
	w := &worn{t: t, url: server.Database(t), use: use}
	w.open()
	for _, table := range tables {
		server.Exec(t, w.url, `ALTER TABLE skein.`+table+` SET (autovacuum_enabled = off)`)
	}
	w.rounds(1)
	server.Exec(t, w.url, `ANALYZE`)
	w.rounds(times)
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *worn) open() {
	w.t.Helper()
	s, err := postgres.Open(w.t.Context(), postgres.Config{URL: w.url, Writers: 1, Readers: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
}

func (w *worn) rounds(n int) {
	for range n {
		w.round++
		w.use(w.store, w.round)
	}
}

// reads tells how many rows each of so many rounds reads.
func (w *worn) reads(rounds int) float64 {
	w.t.Helper()
	read := func() int64 { // what sessions have read is known when they have ended
		if err := w.store.Close(); err != nil {
			w.t.Fatal(err)
		}
		n := rowsRead(w.t, w.url)
		w.open()
		return n
	}
	before := read()
	w.rounds(rounds)
	return float64(read()-before) / float64(rounds)
}

func (w *worn) readsAtMost(rounds int, most float64) {
	w.t.Helper()
	each := w.reads(rounds)
	w.t.Logf("for each round %.0f rows were read", each)
	if each > most {
		w.t.Errorf("for each round %.0f rows were read", each)
	}
}

// readsNoMore has a store that has grown read about as much as before, and as many rows more
// as are allowed.
func (w *worn) readsNoMore(rounds int, grow func(s store.Store), allowed float64) {
	w.t.Helper()
	small := w.reads(rounds)
	grow(w.store)
	large := w.reads(rounds)
	w.t.Logf("for each round %.0f rows were read, and in a large store %.0f", small, large)
	if large > 1.2*small+allowed {
		w.t.Errorf("for each round %.0f rows were read, and in a large store %.0f", small, large)
	}
}

// noDeadlocks closes stores, and tells whether the database had to end a deadlock of theirs.
func noDeadlocks(t *testing.T, url string, stores []*postgres.Store) {
	t.Helper()
	for _, s := range stores {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	_ = rowsRead(t, url) // waits for what the sessions report
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var deadlocks int64
	if err := conn.QueryRow(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks); err != nil || deadlocks > 0 {
		t.Errorf("%d deadlocks, %v", deadlocks, err)
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
