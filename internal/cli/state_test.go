package cli

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"github.com/skein-realtime/skein/test/pgtest"
)

// clusterKey is under which a script finds the PostgreSQL cluster, testKey its test.
type (
	clusterKey struct{}
	testKey    struct{}
)

// databaseCommand makes an empty PostgreSQL database and sets DATABASE to its
// URL, DATABASE_SERVER to host and port and DATABASE_NAME. With a user and a
// password LOGIN is the URL of a user who has to give it: database [USER
// PASSWORD].
func databaseCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 && len(args) != 2 {
		ts.Fatalf("usage: database [USER PASSWORD]")
	}
	cluster, err := ts.Value(clusterKey{}).(func() (*pgtest.Server, error))()
	ts.Check(err)
	t := ts.Value(testKey{}).(testing.TB)
	database := cluster.Database(t)
	u, err := url.Parse(database)
	ts.Check(err)
	ts.Setenv("DATABASE", database)
	ts.Setenv("DATABASE_SERVER", cluster.Address())
	ts.Setenv("DATABASE_NAME", strings.TrimPrefix(u.Path, "/"))
	if len(args) == 2 {
		ts.Setenv("LOGIN", cluster.Login(t, database, args[0], args[1]))
	}
}

// sqlCommand carries out a statement in an SQLite file, which is made when it
// is not there, or in a PostgreSQL database: sql data/skein.db 'DELETE FROM message'.
func sqlCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql FILE|URL STATEMENT")
	}
	if strings.HasPrefix(args[0], "postgres:") {
		cluster, err := ts.Value(clusterKey{}).(func() (*pgtest.Server, error))()
		ts.Check(err)
		cluster.Exec(ts.Value(testKey{}).(testing.TB), args[0], args[1])
		return
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.ExecContext(context.Background(), args[1])
	ts.Check(err)
	ts.Check(db.Close())
}

// damageCommand writes nonsense over the bytes of a file from one offset up to
// another: damage data/skein.db 100 4096.
func damageCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage FILE FROM TO")
	}
	from, err := strconv.Atoi(args[1])
	ts.Check(err)
	to, err := strconv.Atoi(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte(strings.Repeat("\xAA", to-from)), int64(from))
	ts.Check(err)
	ts.Check(f.Close())
}

func TestDoctorWantsSpace(t *testing.T) {
	expect(t, checkSpace(5<<30), good, "5.0 GiB are free")
	expect(t, checkSpace(wantedSpace), good, "1.0 GiB")
	expect(t, checkSpace(300<<20), warn, "0.3 GiB are free")
}
