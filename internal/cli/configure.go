package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/config"
)

func configure(sh Shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, check and explain the configuration",
		Example: `  skein config init skein.yaml     write a file with every setting
  skein config check skein.yaml    find mistakes in it
  skein config explain             show each value in force and where it came from
  skein config schema              print a JSON Schema for editors`,
	}
	cmd.AddCommand(configCheck(sh), configInit(sh), configExplain(sh), configSchema(sh))
	return cmd
}

func configCheck(sh Shell) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Find mistakes in a configuration",
		Example: `  skein config check skein.yaml
  SKEIN_AUTH_TIMEOUT=5s skein config check --config skein.yaml`,
		Long: `Checks the file and the SKEIN_ variables of the environment together, as serve
would read them. All mistakes are told at once; with one the exit code is 3.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.file = args[0]
			}
			if _, err := f.load(sh); err != nil {
				return err
			}
			sh.talk("the configuration is valid")
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func configInit(sh Shell) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration with every setting and what it means",
		Example: `  skein config init skein.yaml
  skein config init | less`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := sh.Stdout.Write(config.Init())
				return err
			}
			if err := writeNew(args[0], config.Init(), force); err != nil {
				return err
			}
			sh.talk("wrote %s; now: skein serve --config %s", args[0], args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "write over a file that is there")
	return cmd
}

// writeNew writes a file that only its owner reads, since secrets will be in
// it. One that is there stays, unless force is set.
func writeNew(name string, text []byte, force bool) error {
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(name, mode, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; --force writes over it", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

func configExplain(sh Shell) *cobra.Command {
	var (
		f      configFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "explain [SETTING…]",
		Short: "Show each value in force and where it came from",
		Example: `  skein config explain --config skein.yaml
  skein config explain auth limits.message
  skein config explain --json | jq -r '.[].env // empty'`,
		Long: "Shows each value in force and where it came from. Secrets are masked.",
		RunE: func(_ *cobra.Command, paths []string) error {
			l, err := f.load(sh)
			if err != nil {
				return err
			}
			all := config.Explain(l, paths...)
			for _, p := range paths {
				if len(config.Explain(l, p)) == 0 {
					return unknownSetting(p, config.Explain(l))
				}
			}
			if asJSON {
				return config.WriteJSON(sh.Stdout, all)
			}
			return config.WriteTable(sh.Stdout, all)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the meaning and the variable of each setting")
	return cmd
}

func unknownSetting(path string, all []config.Setting) error {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Path
	}
	return usagef("there is no setting %q%s", path, didYouMean(config.Closest(path, names)))
}

func configSchema(sh Shell) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print a JSON Schema of the configuration file",
		Example: "  skein config schema > skein.schema.json\n  # in skein.yaml:  # yaml-language-server: $schema=skein.schema.json",
		Args:    arguments(),
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = sh.Stdout.Write(schema)
			return err
		},
	}
}
