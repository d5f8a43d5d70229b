// Package pgtest gives tests a real PostgreSQL: a cluster of its own in a
// temporary folder, on a Unix socket and a free port of the loopback address.
// It can be stopped, killed and started again on the same data.
//
// The programs come from the newest folder of /usr/lib/postgresql, or from
// PATH. As root they run as an unprivileged user, because PostgreSQL refuses to
// be root. When the test process ends, whatever the reason, the server ends.
//
// It stores everything in its folder, which [Server.Close] removes. It runs one
// goroutine for each running server, which ends with it.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds a start, recovery after a kill included.
const startTimeout = 60 * time.Second

// Server is a cluster. Its methods may be called at the same time, apart from
// those that start and end it.
type Server struct {
	folder  string
	bin     string
	account *account // nil: the programs run as we do
	port    int

	process   *process // nil: it does not run
	databases atomic.Int64
}

// Start makes a cluster that lives as long as the test. When PostgreSQL is not
// installed the test fails with a line that says what to install.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s, err := Open()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Open makes a cluster for a TestMain, which has to call Close.
func Open() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if s.account, err = unprivileged(); err != nil {
		return nil, err
	}
	if s.folder, err = os.MkdirTemp("", "pgtest"); err != nil {
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	if err := s.create(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// programs finds the folder with initdb and postgres.
func programs() (string, error) {
	folders, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is a good one
	newest, found := -1, ""
	for _, folder := range folders {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
		if err == nil && version > newest && executable(folder, "initdb") && executable(folder, "postgres") {
			newest, found = version, folder
		}
	}
	if found != "" {
		return found, nil
	}
	if path, err := exec.LookPath("initdb"); err == nil && executable(filepath.Dir(path), "postgres") {
		return filepath.Dir(path), nil
	}
	return "", errors.New("pgtest: initdb and postgres are missing; run tools/setup-test, or install the package postgresql")
}

func executable(folder, name string) bool {
	info, err := os.Stat(filepath.Join(folder, name))
	return err == nil && info.Mode()&0o111 != 0
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// create makes the data folder and starts the server.
func (s *Server) create() error {
	if s.account != nil {
		if err := s.account.own(s.folder); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
	}
	// Not written through to the disk: a cluster that a crash of the machine has
	// destroyed is not missed. The server itself writes through as everywhere.
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata="+s.data())
	initdb.Dir = s.folder
	s.account.run(initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	if err := s.demandPasswords(); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	// Another process may take the port between our look and the server's.
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return fmt.Errorf("pgtest: %w", err)
		}
		if err = s.start(); err == nil || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
	}
	return err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// start runs the server until it takes connections.
func (s *Server) start() error {
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port), "unix_socket_directories=" + s.folder,
		"max_connections=200", "lc_messages=C", "logging_collector=off", "log_destination=stderr",
	}
	args := []string{"-D", s.data()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Dir = s.folder
	s.account.run(cmd)
	process, err := launch(cmd)
	if err != nil {
		return fmt.Errorf("pgtest: postgres: %w", err)
	}
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case <-process.log.ready:
		s.process = process
		return nil
	case <-process.ended:
		return fmt.Errorf("pgtest: postgres ended at once:\n%s", process.log.text())
	case <-timer.C:
		process.signal(syscall.SIGKILL)
		<-process.ended
		return fmt.Errorf("pgtest: postgres took no connections within %v:\n%s", startTimeout, process.log.text())
	}
}

// Address is the host and port of the loopback address, for a proxy.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Folder holds the Unix socket.
func (s *Server) Folder() string { return s.folder }

// Bin is the folder of PostgreSQL's programs (pg_dump, psql …).
func (s *Server) Bin() string { return s.bin }

// URL leads to a database of that name over TCP.
func (s *Server) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: s.Address(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// SocketURL leads to a database of that name over the Unix socket.
func (s *Server) SocketURL(database string) string {
	q := url.Values{"host": {s.folder}, "port": {strconv.Itoa(s.port)}, "user": {"postgres"}}
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: q.Encode()}
	return u.String()
}

// Database makes an empty database, which is dropped after the test, and gives
// its URL.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := "test" + strconv.FormatInt(s.databases.Add(1), 10)
	s.Exec(tb, "postgres", "CREATE DATABASE "+name)
	tb.Cleanup(func() {
		if s.process == nil {
			return // the folder goes with the server
		}
		s.Exec(tb, "postgres", "DROP DATABASE "+name+" WITH (FORCE)")
	})
	return s.URL(name)
}

// Exec carries out one statement in a database, given by name or URL.
func (s *Server) Exec(tb testing.TB, database, statement string) {
	tb.Helper()
	if !strings.Contains(database, "://") {
		database = s.URL(database)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		tb.Fatalf("pgtest: %s: %v", statement, err)
	}
}

// passworded is the role whose members have to give a password.
const passworded = "passworded"

// demandPasswords puts a line for them before those that let everybody in.
func (s *Server) demandPasswords() error {
	path := filepath.Join(s.data(), "pg_hba.conf")
	rest, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte("host all +"+passworded+" all scram-sha-256\n"), rest...), 0o600)
}

// Login makes a role that has to give a password and may make schemas in a
// database, given by its URL. It gives the URL with which the role gets in.
func (s *Server) Login(tb testing.TB, database, user, password string) string {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	s.Exec(tb, database, `DO $$ BEGIN CREATE ROLE `+passworded+`; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
	role := pgx.Identifier{user}.Sanitize()
	s.Exec(tb, database, `CREATE ROLE `+role+` LOGIN PASSWORD '`+strings.ReplaceAll(password, "'", "''")+`' IN ROLE `+passworded)
	s.Exec(tb, database, `GRANT CREATE ON DATABASE `+pgx.Identifier{strings.TrimPrefix(u.Path, "/")}.Sanitize()+` TO `+role)
	u.User = url.UserPassword(user, password)
	return u.String()
}

// Stop ends the server in order, but without waiting for clients ("fast").
func (s *Server) Stop() { s.end((*process).stop) }

// Kill ends the server and all its processes at once (-9), as a crash would.
func (s *Server) Kill() { s.end((*process).kill) }

func (s *Server) end(how func(*process)) {
	if s.process != nil {
		how(s.process)
		s.process = nil
	}
}

// Restart starts a server that was stopped or killed, on the same data and port.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Close ends the server and removes its folder.
func (s *Server) Close() {
	s.Stop()
	_ = os.RemoveAll(s.folder) // what is left is in the folder for temporary files
}

// logTail is how much of the server's log is kept for messages.
const logTail = 8 << 10

// serverLog reads what the server says: it tells when the server takes connections
// and keeps the end for messages.
type serverLog struct {
	ready chan struct{} // closed when the server takes connections

	mu   sync.Mutex
	tail []byte
	open bool // ready is not closed yet
}

func newServerLog() *serverLog { return &serverLog{ready: make(chan struct{}), open: true} }

// Write implements io.Writer.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if l.open && strings.Contains(string(l.tail), "database system is ready to accept connections") {
		l.open = false
		close(l.ready)
	}
	if over := len(l.tail) - logTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	return len(p), nil
}

func (l *serverLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}
