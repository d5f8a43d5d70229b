package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/store/postgres"
	"github.com/skein-realtime/skein/store/sqlite"
)

// stateFlags say where the state is.
type stateFlags struct {
	config configFlags
}

func (f *stateFlags) add(cmd *cobra.Command) {
	f.config.add(cmd)
	cmd.Flags().String("data", "", "`DIRECTORY` of the embedded store")
	cmd.Flags().String("database", "", "`URL` of a PostgreSQL database that keeps the state instead")
}

// load gives the configuration, as serve with the same flags would see it.
func (f *stateFlags) load(cmd *cobra.Command, sh Shell) (skein.Config, error) {
	l, err := f.config.load(sh, given(cmd)...)
	return l.Config, err
}

// errOwnTools says who backs a database up.
var errOwnTools = errors.New("the state is in PostgreSQL, which has tools of its own: pg_dump and pg_restore; after restoring run `skein store epochs`, so that clients notice")

// interruptible ends with the signals that end a command, so that what is half
// done is taken away first.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// isDirectory and isFile say it by its name when something else is there, or
// nothing.
func isDirectory(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %s", path, reason(err))
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", path)
	}
	return nil
}

func isFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %s", path, reason(err))
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	}
	return nil
}

func backup(sh Shell) *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the embedded store into a file, also while a server runs",
		Example: `  skein backup skein-$(date +%F).db
  skein backup --config skein.yaml /backups/skein.db`,
		Long: `Writes all that the embedded store holds at this moment into a new file. A
server may run and publish meanwhile. The file must not be there yet.`,
		Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.load(cmd, sh)
			if err != nil {
				return err
			}
			if cfg.Database != "" {
				return errOwnTools
			}
			if err := isDirectory(filepath.Dir(args[0])); err != nil {
				return fmt.Errorf("%s cannot be written: %w", args[0], err)
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if err := sqlite.Backup(ctx, cfg.Data, args[0]); err != nil {
				return err
			}
			info, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			sh.talk("wrote %s, %d bytes", args[0], info.Size())
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func restore(sh Shell) *cobra.Command {
	var f stateFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the embedded store",
		Example: `  skein restore skein-2026-11-21.db
  skein restore --force --data /var/lib/skein skein.db`,
		Long: `Checks a file that backup wrote and makes it the embedded store. No server may
use the directory. Clients that saw messages which the backup does not have are
told of a gap, because every channel gets a new epoch. What is in the directory
already stays, unless --force moves it aside.`,
		Args: arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.load(cmd, sh)
			if err != nil {
				return err
			}
			if cfg.Database != "" {
				return errOwnTools
			}
			if err := isFile(args[0]); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			if err := sqlite.Restore(ctx, args[0], cfg.Data, force); err != nil {
				return err
			}
			sh.talk("restored %s into %s", args[0], cfg.Data)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "move aside what is in the directory")
	return cmd
}

func storeCommand(sh Shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look after what is kept",
		Example: `  skein store check                      read everything and tell what is wrong
  skein store epochs --database URL      after a restored database: clients notice`,
	}
	cmd.AddCommand(storeCheck(sh), storeEpochs(sh))
	return cmd
}

func storeCheck(sh Shell) *cobra.Command {
	var (
		f      stateFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read everything that is kept and tell what is wrong",
		Example: `  skein store check --data ./data
  skein store check --json --config skein.yaml | jq -r '.problems[]'`,
		Long: `Reads the whole store without changing it, also while a server runs. Each
problem is a line on standard output; with one the exit code is 6.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd, sh)
			if err != nil {
				return err
			}
			problems := []string{}
			report := func(problem string) {
				problem = strings.ReplaceAll(problem, "\n", "; ")
				problems = append(problems, problem)
				if !asJSON {
					_, _ = fmt.Fprintln(sh.Stdout, problem)
				}
			}
			if cfg.Database != "" {
				err = checkDatabase(cmd.Context(), cfg.Database, report)
			} else {
				err = sqlite.Check(cmd.Context(), cfg.Data, report)
			}
			if err != nil {
				return err
			}
			if asJSON {
				b, err := json.Marshal(map[string][]string{"problems": problems})
				if err := errors.Join(err, sh.print(b)); err != nil {
					return err
				}
			}
			switch n := len(problems); {
			case n > 0:
				return failedCheck("the store has " + plural(n, "problem"))
			case !asJSON:
				sh.talk("the store is in order")
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// failedCheck is a check that found something.
type failedCheck string

// Error implements error.
func (f failedCheck) Error() string { return string(f) }

// Unwrap gives it the exit code of checks.
func (failedCheck) Unwrap() error { return errMissed }

func checkDatabase(ctx context.Context, url string, report func(string)) error {
	s, err := openDatabase(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(s.Check(ctx, report), s.Close())
}

// openDatabase opens the store that is in a database. Opening makes the tables
// where there are none, so that is looked at first: who named the wrong database
// wants to know, and have it left alone.
func openDatabase(ctx context.Context, url string) (*postgres.Store, error) {
	if err := findTables(ctx, url); err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Config{URL: url, Logger: slog.New(slog.DiscardHandler)})
}

func storeEpochs(sh Shell) *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use:     "epochs",
		Short:   "Give every channel of a PostgreSQL database a new epoch, after it was restored",
		Example: "  skein store epochs --database postgres://localhost/skein",
		Long: `A restored database lacks messages that clients may have seen. With new epochs
they notice, and read again what there is. The embedded store needs no such
thing: restore does it.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(cmd, sh)
			if err != nil {
				return err
			}
			if cfg.Database == "" {
				return usagef("the state is not in PostgreSQL; name it with --database or in the configuration")
			}
			s, err := openDatabase(cmd.Context(), cfg.Database)
			if err != nil {
				return err
			}
			if err := errors.Join(s.NewEpochs(cmd.Context()), s.Close()); err != nil {
				return err
			}
			sh.talk("every channel has a new epoch")
			return nil
		},
	}
	f.add(cmd)
	return cmd
}
