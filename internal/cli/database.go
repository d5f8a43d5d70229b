package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/skein-realtime/skein/internal/app"
)

// sentence says why a command failed, for people.
func sentence(err error) string {
	found, do, known := databaseTrouble(err)
	switch {
	case !known:
		return err.Error()
	case errors.Is(err, app.ErrStart):
		return fmt.Sprintf("%v: %s; %s", app.ErrStart, found, do)
	}
	return found + "; " + do
}

// databaseTrouble says in one line why there is no connection to PostgreSQL,
// and what helps; known is false when err is something else. The driver tells
// each attempt in a line of its own, encrypted and not, for each address of a
// host, most of them alike.
func databaseTrouble(err error) (found, do string, known bool) {
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		return "", "", false
	}
	at := "PostgreSQL at " + places(connect.Config)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		if reason, silent := silence(connect); silent {
			return at + " does not answer: " + reason, "start it, or correct the URL (database)", true
		}
		return at + " cannot be used: " + disagreement(connect), "correct the URL (database)", true
	}
	switch {
	case refused.Code == "3D000":
		name := connect.Config.Database
		return fmt.Sprintf("%s has no database %q", at, name), "make it (createdb " + name + "), or correct the URL (database)", true
	case strings.HasPrefix(refused.Code, "28"):
		return at + " refuses the login: " + refused.Message, "correct user and password in the URL (database), or allow the login in pg_hba.conf", true
	case refused.Code == "57P03":
		return at + " is not ready: " + refused.Message, "wait until it is", true
	}
	return at + " refuses the connection: " + refused.Message, "see its log", true
}

// places names the servers that a URL leads to.
func places(c *pgconn.Config) string {
	var names []string
	name := func(host string, port uint16) {
		text := host
		if !strings.HasPrefix(host, "/") { // else a folder with a Unix socket
			text = net.JoinHostPort(host, strconv.Itoa(int(port)))
		}
		if !slices.Contains(names, text) {
			names = append(names, text)
		}
	}
	name(c.Host, c.Port)
	for _, f := range c.Fallbacks {
		name(f.Host, f.Port)
	}
	return strings.Join(names, ", ")
}

// silence is why there was no answer, without the addresses around it; silent is
// false when there was one.
func silence(connect *pgconn.ConnectError) (reason string, silent bool) {
	if e := (*net.DNSError)(nil); errors.As(connect, &e) {
		return e.Err, true
	}
	if e := (*net.OpError)(nil); errors.As(connect, &e) {
		return e.Err.Error(), true
	}
	return "no answer in time", errors.Is(connect, context.DeadlineExceeded)
}

// disagreement is why the two do not talk to each other, such as that one of
// them wants encryption and the other has none.
func disagreement(connect *pgconn.ConnectError) string {
	attempts := []error{connect.Unwrap()}
	if several, ok := attempts[0].(interface{ Unwrap() []error }); ok {
		attempts = several.Unwrap()
	}
	var reasons []string
	for _, err := range attempts {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // its address is told already
		}
		if text := strings.ReplaceAll(err.Error(), "\n", "; "); !slices.Contains(reasons, text) {
			reasons = append(reasons, text)
		}
	}
	return strings.Join(reasons, "; ")
}

// defaultSchema is where the tables are unless the URL's search_path says another
// place.
const defaultSchema = "skein"

// findTables fails when a database holds no store.
func findTables(ctx context.Context, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err // the driver masks passwords
	}
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	schema, _, _ := strings.Cut(config.RuntimeParams["search_path"], ",")
	if schema = strings.Trim(schema, `" `); schema == "" || schema == "$user" {
		schema = defaultSchema
	}
	var there bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'store')", schema).Scan(&there)
	if err == nil && !there {
		err = fmt.Errorf("there is no store in database %q of PostgreSQL at %s; correct the URL (database)", config.Database, places(&config.Config))
	}
	return err
}
