package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/skein-realtime/skein/store"
)

// errCrowded is for those who come when too much waits.
var errCrowded = fmt.Errorf("%w: too much waits to be written", store.ErrUnavailable)

// Codes of PostgreSQL that need more than their class.
const (
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeLockTimeout   = "55P03"
	codeReadOnly      = "25006" // a standby, or a primary that became one
	codeIdleInTx      = "25P03"
	codeNotInState    = "55000" // recovery is in progress
)

// repeatable tells whether the transaction was undone only because of what
// others did at the same time, or never reached the server.
func repeatable(err error) bool {
	if pgconn.SafeToRetry(err) {
		return true
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == codeSerialization || pg.Code == codeDeadlock)
}

// away tells whether err is the database's state and not the statement's fault.
func away(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		// Everything else comes from the network, the pool or a deadline.
		return true
	}
	switch pg.Code {
	case codeSerialization, codeDeadlock, codeLockTimeout, codeReadOnly, codeIdleInTx, codeNotInState:
		return true
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", // connection
		"28", // authorization: rejected for now, or a password that was changed
		"3D", // the database does not exist (any more, or yet)
		"53", // disk full, out of memory, too many connections
		"57", // statement cancelled or timed out, shutdown, starting up
		"58": // input and output of the system
		return true
	}
	return false
}

// lost tells whether the connection is useless, and perhaps all of them.
func lost(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return !errors.Is(err, errFault) && !errors.Is(err, pgx.ErrNoRows)
	}
	return pg.Code == codeReadOnly || pg.Code == codeNotInState || strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08")
}

// wrap turns an error of the driver into one of the contract. ctx is the
// caller's: when that has ended, it is the reason.
func wrap(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrMoved), errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrDenied),
		errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUnavailable), errors.Is(err, errFault):
		return err
	case ctx.Err() != nil && !isPgError(err):
		return context.Cause(ctx)
	case away(err):
		return fmt.Errorf("%w: postgres: %s: %w", store.ErrUnavailable, doing, err)
	}
	return fmt.Errorf("postgres: %s: %w", doing, err)
}

func isPgError(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg)
}

// errFault marks what should never be: the database holds what no store wrote.
var errFault = errors.New("postgres: the database holds what this program did not write")
