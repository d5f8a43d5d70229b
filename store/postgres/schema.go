package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// migrations holds schema/N.sql, each of which makes version N of version N-1.
// A released file is never changed.
//
//go:embed schema/*.sql
var migrations embed.FS

// latest is the version that this program reads and writes.
const latest = 6

// migrate brings the schema to the latest version. Nodes that start at the same
// time do it one after the other.
func migrate(ctx context.Context, conn *pgx.Conn, schema string) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return fmt.Errorf("postgres: migrating: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// A migration may take long; the lock of another node's migration may, too.
	if _, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)`); err != nil {
		return fmt.Errorf("postgres: migrating: %w", err)
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lockNumber(schema)); err != nil {
		return fmt.Errorf("postgres: waiting for another node's migration: %w", err)
	}
	version, err := schemaVersion(ctx, conn, schema)
	if err != nil {
		return err
	}
	if version > latest {
		return newer(schema, version)
	}
	if version == 0 {
		// Creating it needs a right that nobody needs when it is there.
		var there bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, schema).Scan(&there); err != nil {
			return fmt.Errorf("postgres: migrating: %w", err)
		}
		if !there {
			if _, err := tx.Exec(ctx, `CREATE SCHEMA `+pgx.Identifier{schema}.Sanitize()); err != nil {
				return fmt.Errorf("postgres: creating schema %s: %w", schema, err)
			}
		}
	}
	for next := version + 1; next <= latest; next++ {
		text, err := migrations.ReadFile(fmt.Sprintf("schema/%d.sql", next))
		if err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
		if _, err := conn.PgConn().Exec(ctx, string(text)).ReadAll(); err != nil {
			return fmt.Errorf("postgres: migrating schema %s to version %d: %w", schema, next, err)
		}
	}
	if version == 0 {
		_, err = tx.Exec(ctx, `INSERT INTO store (version, epoch, origin) VALUES ($1, $2, '')`, latest, newEpoch())
	} else {
		_, err = tx.Exec(ctx, `UPDATE store SET version = $1`, latest)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return fmt.Errorf("postgres: migrating schema %s: %w", schema, err)
	}
	return nil
}

// schemaVersion is 0 when the tables are not there.
func schemaVersion(ctx context.Context, conn *pgx.Conn, schema string) (version int, err error) {
	// The catalogue is asked, because a session may not know yet of a schema that
	// another has just made.
	var there bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = 'store')`, schema).Scan(&there)
	if err == nil && there {
		err = conn.QueryRow(ctx, `SELECT version FROM store`).Scan(&version)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errors.New("postgres: the table store has no row; the schema is damaged")
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && strings.HasPrefix(pg.Code, "42") {
		return 0, fmt.Errorf("postgres: the schema holds a table store that is not ours: %w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("postgres: reading the schema's version: %w", err)
	}
	return version, nil
}

func newer(schema string, version int) error {
	return fmt.Errorf("postgres: schema %s has version %d, and this program knows versions up to %d: run a newer one", schema, version, latest)
}

// lockNumber is the advisory lock of a schema's migrations.
func lockNumber(schema string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("skein migration " + schema)) // never fails
	return int64(h.Sum64())
}
