package sqlite

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skein-realtime/skein/store/internal/tables"
)

//go:embed schema/*.sql
var schemas embed.FS

// version is the newest schema.
const version = 6

// errNewer says that a newer program has written the file.
var errNewer = errors.New("the file was written by a newer version of this program; use that version, or restore an older backup")

// migrate makes the schema what this version expects. user_version holds its number.
func migrate(c *conn) error {
	row, _, err := c.first("PRAGMA user_version")
	if err != nil {
		return err
	}
	have := int(number(row[0]))
	if have > version {
		return fmt.Errorf("its schema has version %d, this program knows %d: %w", have, version, errNewer)
	}
	if have == 0 {
		if row, _, err = c.first("SELECT count(*) FROM sqlite_master"); err != nil {
			return err
		}
		if number(row[0]) > 0 {
			return errors.New("it is a database of another program; choose another directory")
		}
	}
	for v := have + 1; v <= version; v++ {
		script, err := schemas.ReadFile("schema/" + strconv.Itoa(v) + ".sql")
		if err != nil {
			return err
		}
		if err := c.transaction(func() error {
			return errors.Join(c.script(string(script)), c.exec("PRAGMA user_version = "+strconv.Itoa(v)))
		}); err != nil {
			return fmt.Errorf("schema version %d: %w", v, err)
		}
	}
	// A file whose pages are damaged shows it here at the latest.
	for _, table := range []string{"meta", "namespace", "channel", "message", "idem", "member", "group_size", "schedule", "denial", "seen", "counter", "document",
		"person", "person_tag", "person_field", "push", "push_key", "delivery", "category", "campaign", "campaign_user", "conversation", "peer_block", "alert",
		"audit", "secret"} {
		if _, _, err := c.first("SELECT * FROM " + table + " LIMIT 1"); err != nil {
			return err
		}
	}
	return nil
}

// transaction carries out fn in a transaction.
func (c *conn) transaction(fn func() error) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return errors.Join(err, c.exec("ROLLBACK"))
	}
	return c.exec("COMMIT")
}

// script carries out several statements.
func (c *conn) script(text string) error {
	st, err := c.c.Prepare(text)
	if err != nil {
		return err
	}
	_, err = st.(execContext).ExecContext(context.Background(), nil)
	return errors.Join(err, st.Close())
}

func newEpoch() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // it never fails
	return strings.ToLower(crockford(b))[:12]
}

// settleEpoch gives the epoch, after changing it when commits may be lost: the
// store was last used relaxed, did not end in order, and the machine has been
// started anew since.
func settleEpoch(c *conn, relaxed bool) (epoch string, err error) {
	boot := bootID()
	err = c.transaction(func() error {
		row, found, err := c.first("SELECT v FROM meta WHERE k = 'epoch'")
		if err != nil {
			return err
		}
		last, unclean, err := c.first("SELECT v FROM meta WHERE k = 'relaxed'")
		if err != nil {
			return err
		}
		if found {
			epoch = text(row[0])
		}
		if !found || unclean && (boot == "" || text(last[0]) != boot) {
			epoch = newEpoch()
			if err := c.exec("INSERT INTO meta VALUES ('epoch', ?1) ON CONFLICT DO UPDATE SET v = ?1", epoch); err != nil {
				return err
			}
			if found {
				if err := tables.Skip(context.Background(), tx{c}); err != nil {
					return err
				}
			}
		}
		if relaxed {
			return c.exec("INSERT INTO meta VALUES ('relaxed', ?1) ON CONFLICT DO UPDATE SET v = ?1", boot)
		}
		return c.exec("DELETE FROM meta WHERE k = 'relaxed'")
	})
	return epoch, err
}

// forgetBoot notes an orderly end.
func forgetBoot(c *conn) error { return c.exec("DELETE FROM meta WHERE k = 'relaxed'") }

// bootID tells one start of the machine from another; "" where it does not say.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lockDir makes the directory and takes its lock, which ends with the process.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data directory %s cannot be made; choose another directory (data): %w", dir, err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data directory %s cannot be written; give it to the user that the server runs as, or choose another directory (data): %w", dir, err)
	}
	if err := lockFile(f); err != nil {
		holder := make([]byte, 32)
		n, _ := f.Read(holder)
		_ = f.Close()
		who := "another server"
		if pid := strings.TrimSpace(string(holder[:n])); pid != "" {
			who += " (process " + pid + ")"
		}
		return nil, fmt.Errorf("the data directory %s is used by %s; stop it, or choose another directory: %w", dir, who, errLocked)
	}
	err = errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n"))
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("the data directory %s cannot be written; give it to the user that the server runs as, or choose another directory (data): %w", dir, err)
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// errLocked says that another process holds a lock.
var errLocked = errors.New("it is locked")
