package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/machine"
)

// Bounds below which doctor is not content with where the state is kept.
const (
	wantedSpace    = 1 << 30 // bytes that are free
	wantedPostgres = 13      // the oldest version that works
)

// checkState looks at where messages are kept, when some namespace keeps them.
func checkState(ctx context.Context, cfg skein.Config, running bool) []finding {
	switch {
	case !cfg.KeepsState():
		return nil
	case cfg.Database != "":
		return []finding{checkServer(ctx, cfg.Database)}
	}
	findings := []finding{checkDirectory(cfg.Data, running)}
	if free, _, known := machine.Disk(existingAbove(cfg.Data)); known {
		findings = append(findings, checkSpace(free))
	}
	return findings
}

// checkDirectory finds out whether a server can keep its state in dir. It leaves
// everything as it was.
func checkDirectory(dir string, running bool) finding {
	const check = "data"
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		above := existingAbove(dir)
		if err := tryDirectory(above); err != nil {
			return finding{bad, check, dir + " cannot be made: " + reason(err), "choose another directory (data), or make it and give it to the user that the server runs as"}
		}
		return finding{good, check, dir + " is not there yet and can be made", ""}
	}
	switch {
	case err != nil:
		return finding{bad, check, dir + " cannot be used: " + reason(err), "choose another directory (data)"}
	case !info.IsDir():
		return finding{bad, check, dir + " is not a directory", "move it away, or choose another directory (data)"}
	}
	switch holder, used := directoryUser(dir); {
	case used && running:
		return finding{good, check, dir + " is used by " + holder, ""}
	case used:
		return finding{bad, check, dir + " is used by " + holder, "stop it, or choose another directory (data); give --url when it is this server"}
	}
	if err := tryDirectory(dir); err != nil {
		return finding{bad, check, dir + " cannot be written: " + reason(err), "give it to the user that the server runs as, or choose another directory (data)"}
	}
	return finding{good, check, dir + " can be written, and no server uses it", ""}
}

// existingAbove is path or the nearest directory above it that is there.
func existingAbove(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	for {
		if _, err := os.Lstat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// tryDirectory makes something in a directory and takes it away again.
func tryDirectory(dir string) error {
	made, err := os.MkdirTemp(dir, ".skein-doctor-")
	if err != nil {
		return err
	}
	file := filepath.Join(made, "file")
	return errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.RemoveAll(made))
}

// reason is why a system call failed, without the path of a temporary name.
func reason(err error) string {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func checkSpace(free uint64) finding {
	found := fmt.Sprintf("%.1f GiB are free for the data", float64(free)/(1<<30))
	if free < wantedSpace {
		return finding{warn, "disk space", found, "make room, or keep less (namespaces.*.keep): publishers are refused when the disk is full"}
	}
	return finding{good, "disk space", found, ""}
}

// databaseTimeout bounds the look at a database.
const databaseTimeout = 5 * time.Second

// checkServer connects to a PostgreSQL server and reads its version. It changes
// nothing there.
func checkServer(ctx context.Context, url string) finding {
	const check = "database"
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if found, do, known := databaseTrouble(err); known {
		return finding{bad, check, found, do}
	}
	if err != nil {
		return finding{bad, check, err.Error(), "correct the URL (database)"} // the driver masks passwords
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	version := conn.PgConn().ParameterStatus("server_version")
	var number int
	err = conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int / 10000").Scan(&number)
	if err != nil {
		return finding{bad, check, err.Error(), "see why PostgreSQL does not answer"}
	}
	at := "PostgreSQL " + version + " at " + conn.Config().Host
	if number < wantedPostgres {
		return finding{bad, check, at, "use PostgreSQL " + strconv.Itoa(wantedPostgres) + " or newer"}
	}
	return finding{good, check, at + " answers", ""}
}
