package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/skein-realtime/skein/store/internal/tables"
)

// Backup writes all that the store holds at this moment into a new file, while
// reads and writes go on.
func (s *Store) Backup(ctx context.Context, file string) error {
	return s.reader(ctx, "backup", 0, func(ctx context.Context, c *conn) error { return c.backup(ctx, file) })
}

// Backup is [Store.Backup] from another process: for a directory whose server
// may be running.
func Backup(ctx context.Context, dir, file string) error {
	c, err := existing(dir)
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }()
	return c.backup(ctx, file)
}

func (c *conn) backup(ctx context.Context, file string) (err error) {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s is there already; a backup is never written over a file", file)
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), ".skein-backup-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	part := filepath.Join(dir, fileName)
	st, err := c.c.Prepare("VACUUM INTO ?")
	if err != nil {
		return err
	}
	_, err = st.(execContext).ExecContext(ctx, []namedValue{{Ordinal: 1, Value: part}})
	if err := errors.Join(err, st.Close()); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(part, 0o600), syncFile(part)); err != nil {
		return err
	}
	// A link fails when the name is taken meanwhile; a rename would write over it.
	if err := os.Link(part, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// Restore checks a file that [Backup] wrote and makes it the store of a
// directory that no server uses. A store that is there already is refused, or,
// with force, moved aside under a name with the time. The epoch changes, so that
// clients which saw later messages notice.
func Restore(ctx context.Context, file, dir string, force bool) (err error) {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	target := filepath.Join(dir, fileName)
	_, statErr := os.Stat(target)
	there := statErr == nil
	if there && !force {
		return fmt.Errorf("%s is there already; --force moves it aside", target)
	}
	part := filepath.Join(dir, fileName+".restoring")
	if err := errors.Join(removeAll(part), copyFile(ctx, part, file)); err != nil {
		return errors.Join(err, removeAll(part))
	}
	if err := prepareRestored(ctx, file, part); err != nil {
		return errors.Join(err, removeAll(part))
	}
	if there {
		aside := target + ".before-" + time.Now().UTC().Format("20060102T150405Z")
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Rename(target+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	if err := os.Rename(part, target); err != nil {
		return err
	}
	return syncDir(dir)
}

// prepareRestored checks a copy of a backup, brings it up to date and gives it a
// new epoch.
func prepareRestored(ctx context.Context, file, part string) (err error) {
	c, err := dial(part, false)
	if err != nil {
		return explainBackup(file, err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	row, _, err := c.first("PRAGMA user_version")
	if err != nil {
		return explainBackup(file, err)
	}
	if number(row[0]) == 0 {
		return fmt.Errorf("%s is no backup of this program", file)
	}
	if err := migrate(c); err != nil {
		return explainBackup(file, err)
	}
	var problems []string
	if err := c.check(ctx, func(p string) { problems = append(problems, p) }); err != nil {
		return explainBackup(file, err)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s is damaged: %s (%d problems in all)", file, problems[0], len(problems))
	}
	if err := errors.Join(c.exec("UPDATE meta SET v = ? WHERE k = 'epoch'", newEpoch()), tables.Skip(ctx, tx{c})); err != nil {
		return explainBackup(file, err)
	}
	// One file, with nothing beside it.
	return errors.Join(c.exec("PRAGMA wal_checkpoint(TRUNCATE)"), syncFile(part))
}

func removeAll(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func copyFile(ctx context.Context, to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return ctx.Err()
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes a new name durable; systems that cannot do it need not.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}

// explainBackup is explain for the file that a backup is.
func explainBackup(file string, err error) error {
	switch code(err) {
	case codeNotADB:
		return fmt.Errorf("%s is no backup of this program: %w", file, err)
	case codeCorrupt:
		return fmt.Errorf("%s is damaged; take another backup: %w", file, err)
	}
	return fmt.Errorf("%s: %w", file, err)
}
