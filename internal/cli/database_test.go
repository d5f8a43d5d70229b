package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein/internal/app"
)

// listener takes connections and treats each as it is told.
func listener(t *testing.T, treat func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var open []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
			treat(c)
		}
		for _, c := range open {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// refuses answers like a PostgreSQL that lets nobody in, for a reason.
func refuses(code, message string) func(net.Conn) {
	return func(c net.Conn) {
		body := "SFATAL\x00VFATAL\x00C" + code + "\x00M" + message + "\x00\x00"
		_, _ = c.Read(make([]byte, 1024))
		_, _ = c.Write(append([]byte{'E', 0, 0, byte((len(body) + 4) >> 8), byte(len(body) + 4)}, body...))
	}
}

func TestEachTroubleWithADatabaseIsALineAndHelp(t *testing.T) {
	silent := func(net.Conn) {}
	for _, tt := range []struct {
		name      string
		treat     func(net.Conn)
		options   string
		found, do string
	}{
		{"somebody who says nothing", silent, "sslmode=disable", "PostgreSQL at ADDR does not answer: ", "start it, or correct the URL (database)"},
		{"another program", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "sslmode=disable",
			"PostgreSQL at ADDR cannot be used: ", "correct the URL (database)"},
		{"one that hangs up, encrypted and not", func(c net.Conn) { _ = c.Close() }, "sslmode=prefer", "PostgreSQL at ADDR ", "correct the URL (database)"},
		{"an address of its own", refuses("28000", `no pg_hba.conf entry for host "1.2.3.4"`), "sslmode=disable",
			`PostgreSQL at ADDR refuses the login: no pg_hba.conf entry for host "1.2.3.4"`, "correct user and password in the URL (database), or allow the login in pg_hba.conf"},
		{"one that is just starting", refuses("57P03", "the database system is starting up"), "sslmode=disable",
			"PostgreSQL at ADDR is not ready: the database system is starting up", "wait until it is"},
		{"a full one", refuses("53300", "sorry, too many clients already"), "sslmode=disable",
			"PostgreSQL at ADDR refuses the connection: sorry, too many clients already", "see its log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := listener(t, tt.treat)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			conn, err := pgx.Connect(ctx, "postgres://ann:hunter2@"+addr+"/name?"+tt.options)
			if err == nil {
				_ = conn.Close(ctx)
				t.Fatal("it connects")
			}
			told(t, err, strings.ReplaceAll(tt.found, "ADDR", addr), tt.do)
		})
	}
}

// told wants the line and the help that an error gives, and nothing else in it.
func told(t *testing.T, err error, wantFound, wantDo string) {
	t.Helper()
	found, do, known := databaseTrouble(fmt.Errorf("while it starts: %w", err))
	if !known || !strings.HasPrefix(found, wantFound) || !strings.HasSuffix(do, wantDo) {
		t.Errorf("%v\nis told as %q, %q, %v", err, found, do, known)
	}
	if strings.Contains(found+do, "hunter2") || strings.Contains(found+do, "\n") || strings.Count(found, "PostgreSQL at") != 1 {
		t.Errorf("it is told as %q, %q", found, do)
	}
	if got, want := sentence(fmt.Errorf("%w: %w", app.ErrStart, err)), "cannot start: "+found+"; "+do; got != want {
		t.Errorf("at the start it is %q, want %q", got, want)
	}
	if got, want := sentence(err), found+"; "+do; got != want {
		t.Errorf("alone it is %q, want %q", got, want)
	}
}

func TestEveryServerOfADatabaseURLIsNamed(t *testing.T) {
	config, err := pgx.ParseConfig("postgres://ann:hunter2@one.example:5432,two.example:5433/name?sslmode=prefer")
	if err != nil {
		t.Fatal(err)
	}
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	_, err = pgx.ConnectConfig(t.Context(), config)
	told(t, err, "PostgreSQL at one.example:5432, two.example:5433 does not answer: no such host", "start it, or correct the URL (database)")

	folder := t.TempDir()
	_, err = pgx.Connect(t.Context(), "postgres:///name?user=ann&host="+folder)
	told(t, err, "PostgreSQL at "+folder+" does not answer: connect: no such file or directory", "start it, or correct the URL (database)")
}

func TestOtherErrorsAreToldAsTheyAre(t *testing.T) {
	err := fmt.Errorf("%w: %w", app.ErrStart, errors.New("the port is taken"))
	if _, _, known := databaseTrouble(err); known || sentence(err) != "cannot start: the port is taken" {
		t.Errorf("got %q, %v", sentence(err), known)
	}
}
