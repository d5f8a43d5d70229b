package pgtest_test

import (
	"fmt"
	"net/url"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/skein-realtime/skein/test/pgtest"
)

// childMode makes the test program start a server, say where it is, and come to
// the end that the variable names.
const childMode = "PGTEST_CHILD"

func TestMain(m *testing.M) {
	end := os.Getenv(childMode)
	if end == "" {
		goleak.VerifyTestMain(m)
	}
	s, err := pgtest.Open()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.Address(), s.Folder())
	if end == "panic" {
		panic("as a test may")
	}
	select {} // until it is killed
}

func TestDataOutliveTheServer(t *testing.T) {
	s := pgtest.Start(t)
	url := s.Database(t)
	s.Exec(t, url, `CREATE TABLE kept (n int)`)
	want := 0
	for name, end := range map[string]func(){"stopped": s.Stop, "killed": s.Kill} {
		s.Exec(t, url, `INSERT INTO kept VALUES (1)`)
		want++
		end()
		if conn, err := pgx.Connect(t.Context(), url); err == nil {
			_ = conn.Close(t.Context())
			t.Fatalf("%s: the server still answers", name)
		}
		s.Restart(t)
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var n int
		var fsync string
		if err := conn.QueryRow(t.Context(), `SELECT count(*), current_setting('fsync') FROM kept`).Scan(&n, &fsync); err != nil {
			t.Error(err)
		}
		_ = conn.Close(t.Context())
		if n != want || fsync != "on" {
			t.Errorf("%s: %d rows, want %d; fsync is %s", name, n, want, fsync)
		}
	}
}

func TestBothWaysIn(t *testing.T) {
	s := pgtest.Start(t)
	for _, url := range []string{s.URL("postgres"), s.SocketURL("postgres")} {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		_ = conn.Close(t.Context())
	}
	if one, two := s.Database(t), s.Database(t); one == two {
		t.Error("two tests get the same database")
	}
}

func TestALoginNeedsItsPassword(t *testing.T) {
	s := pgtest.Start(t)
	right := s.Login(t, s.Database(t), "ann", "it's secret")
	s.Exec(t, right, `CREATE SCHEMA hers`)
	wrong, err := url.Parse(right)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []*url.Userinfo{url.UserPassword("ann", "guess"), url.User("ann")} {
		wrong.User = user
		conn, err := pgx.Connect(t.Context(), wrong.String())
		if err == nil {
			_ = conn.Close(t.Context())
			t.Errorf("%v gets in", user)
		}
	}
}
