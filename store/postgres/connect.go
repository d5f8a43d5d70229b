package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/skein-realtime/skein/store/internal/tables"
)

// oldestServer is the oldest PostgreSQL that knows everything that is used here.
const oldestServer = 130_000

// database is how to reach the database and what every connection is told.
type database struct {
	lines   *lines
	config  *pgxpool.Config
	schema  string
	session string // statements for a new connection
	timeout time.Duration
	log     *slog.Logger
	origin  bool // the server lets us see the cluster and the timeline
}

func newDatabase(cfg Config) (*database, error) {
	config, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres: URL: %w", err) // the driver masks passwords
	}
	d := &database{lines: &lines{open: map[*line]struct{}{}}, config: config, schema: cfg.Schema, timeout: cfg.Timeout, log: cfg.Logger}
	conn := config.ConnConfig
	if d.schema == "" {
		d.schema = firstSchema(conn.RuntimeParams["search_path"])
	}
	// It would be sent at the start, where PgBouncer refuses it.
	delete(conn.RuntimeParams, "search_path")
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "skein"
	}
	if cfg.ConnectTimeout > 0 {
		conn.ConnectTimeout = cfg.ConnectTimeout
	}
	if conn.ConnectTimeout <= 0 {
		conn.ConnectTimeout = defaultConnectTimeout
	}
	// Deadlines find a dead link sooner while something is asked; this is for
	// connections that idle.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	conn.DialFunc = d.lines.dial(&dialer)
	d.session = sessionSettings(d.schema, cfg.Timeout)
	config.PingTimeout = conn.ConnectTimeout
	config.MaxConnIdleTime = 5 * time.Minute
	return d, nil
}

// firstSchema reads the first name of a search_path.
func firstSchema(path string) string {
	first, _, _ := strings.Cut(path, ",")
	first = strings.Trim(strings.TrimSpace(first), `"`)
	if first == "" || first == "$user" {
		return defaultSchema
	}
	return first
}

// sessionSettings are told to every connection, so that neither the
// configuration of the server nor statistics that are not there yet can change
// what the statements do.
func sessionSettings(schema string, timeout time.Duration) string {
	// The server gives up before we do: then we know that nothing was committed.
	server := max(timeout*4/5, time.Millisecond).Milliseconds()
	settings := [][2]string{
		{"search_path", pgx.Identifier{schema}.Sanitize()},
		{"default_transaction_isolation", "'read committed'"},
		{"statement_timeout", fmt.Sprint(server)},
		{"lock_timeout", fmt.Sprint(server)},
		// When this process vanishes in the middle of a transaction, the heads that it
		// has locked are free again after this.
		{"idle_in_transaction_session_timeout", fmt.Sprint(server)},
		{"tcp_keepalives_idle", "15"},
		{"tcp_keepalives_interval", "5"},
		{"tcp_keepalives_count", "3"},
		{"tcp_user_timeout", "30000"},
		// Each statement has one good plan: by index, row after row of what is asked.
		// A planner that knows an empty table would read the grown one from end to end.
		{"plan_cache_mode", "force_generic_plan"},
		{"enable_seqscan", "off"},
		{"enable_bitmapscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"jit", "off"},
		// One read of many rows takes one core: the others are for those who talk.
		{"max_parallel_workers_per_gather", "0"},
	}
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "SET %s = %s;\n", s[0], s[1])
	}
	// Whoever is told ok may rely on it. Stronger settings (remote_apply) stay.
	b.WriteString("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return b.String()
}

// pool makes a pool of at most n connections. One that writes looks at each new
// connection whether it leads to the history that the epoch belongs to.
func (d *database) pool(n int, writes bool) (*pgxpool.Pool, error) {
	config := d.config.Copy()
	config.MaxConns = int32(n)
	config.MinConns, config.MinIdleConns = 0, 0
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if err := d.greet(ctx, conn); err != nil {
			return err
		}
		if writes && d.origin {
			return d.checkOrigin(ctx, conn)
		}
		return nil
	}
	return pgxpool.NewWithConfig(context.Background(), config)
}

func (d *database) greet(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.PgConn().Exec(ctx, d.session).ReadAll()
	return err
}

// origin names the cluster and the timeline, which changes when a standby is
// promoted or a base backup is recovered to a point in time.
const origin = `(SELECT system_identifier::text FROM pg_control_system()) || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

// checkOrigin gives the store a new epoch when the database is not the one
// in which the old epoch began: what was committed last may be lost.
func (d *database) checkOrigin(ctx context.Context, conn *pgx.Conn) error {
	var now, kept string
	if err := conn.QueryRow(ctx, `SELECT `+origin+`, origin FROM store`).Scan(&now, &kept); err != nil {
		return err
	}
	if now == kept {
		return nil
	}
	// Of several connections that find out, one wins.
	return pgx.BeginFunc(ctx, conn, func(t pgx.Tx) error {
		tag, err := t.Exec(ctx, `UPDATE store SET origin = $1, epoch = CASE WHEN origin = '' THEN epoch ELSE $2 END WHERE origin = $3`, now, newEpoch(), kept)
		if err != nil || kept == "" || tag.RowsAffected() == 0 {
			return err
		}
		d.log.Warn("postgres: the database was restored or a standby was promoted; channels have a new epoch", "was", kept, "is", now)
		return tables.Skip(ctx, tx{new(numbering), t})
	})
}

// Attempts to connect at the start, until the limit of the caller's context.
const (
	openAttempts = 5
	openPause    = 500 * time.Millisecond
)

// prepare connects once, sees that server and schema are what the store needs,
// and closes the connection.
func (d *database) prepare(ctx context.Context) error {
	conn, err := d.first(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// Everything but a migration has to be quick.
	whole := ctx
	ctx, cancel := context.WithTimeout(whole, d.timeout)
	defer cancel()
	var version int
	var name, encoding, fsync string
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding'), current_setting('fsync')`).
		Scan(&version, &name, &encoding, &fsync)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if version < oldestServer {
		return fmt.Errorf("postgres: the server is PostgreSQL %s; %d or newer is needed", name, oldestServer/10_000)
	}
	if fsync == "off" {
		d.log.Warn("postgres: the server runs with fsync = off; a crash of its machine can lose or damage what was stored")
	}
	kept, err := schemaVersion(ctx, conn, d.schema)
	if err == nil && kept != latest {
		err = migrate(whole, conn, d.schema)
		ctx, cancel = context.WithTimeout(whole, d.timeout)
		defer cancel()
	}
	if err != nil {
		return err
	}
	var seen string
	switch err := conn.QueryRow(ctx, `SELECT `+origin).Scan(&seen); {
	case err == nil:
		d.origin = true
	case isPgError(err):
		d.log.Info("postgres: the server does not tell its timeline; after a failover that lost commits give the store new epochs", "err", err)
	default:
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

// first makes the connection for the start, with a few attempts: a database
// that is started together with this process may need a moment.
func (d *database) first(ctx context.Context) (*pgx.Conn, error) {
	for attempt := 1; ; attempt++ {
		conn, err := d.connect(ctx)
		if err == nil {
			return conn, nil
		}
		if attempt == openAttempts || ctx.Err() != nil || hopeless(err) {
			return nil, fmt.Errorf("postgres: cannot connect (%d attempts): %w", attempt, err)
		}
		d.log.Info("postgres: the database does not answer yet", "attempt", attempt, "err", err)
		select {
		case <-time.After(openPause):
		case <-ctx.Done():
		}
	}
}

func (d *database) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, d.config.ConnConfig.Copy())
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.greet(limited, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return conn, nil
}

// hopeless tells whether another attempt would give the same: the server
// answered and refused, and not because it is just starting or stopping.
func hopeless(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && !strings.HasPrefix(pg.Code, "57") && !strings.HasPrefix(pg.Code, "53")
}
