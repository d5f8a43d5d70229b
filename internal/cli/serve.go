package cli

import (
	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/config"
)

// settingFlag is a flag that sets a setting.
type settingFlag struct{ name, path, usage string }

func settingFlags() []settingFlag {
	return []settingFlag{
		{"listen", "listen", "`ADDRESS` to listen on, host:port"},
		{"data", "data", "`DIRECTORY` of the embedded store"},
		{"database", "database", "`URL` of a PostgreSQL database that keeps the state instead"},
		{"log-level", "log.level", "debug, info, warn or error"},
		{"log-format", "log.format", "auto, text or json"},
		{"tls-cert", "tls.cert", "certificate chain `FILE` (PEM)"},
		{"tls-key", "tls.key", "private key `FILE` (PEM)"},
	}
}

func (c Commands) serve(sh Shell) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server",
		Example: `  skein serve --dev                                  on this machine, everything allowed
  skein serve --config skein.yaml
  SKEIN_LISTEN=0.0.0.0:8000 skein serve --config skein.yaml --log-level debug`,
		Long: `Runs a server until SIGINT or SIGTERM, which send the clients away in good
order; a second one ends it at once. SIGHUP reads the configuration again.

A flag wins over the environment (SKEIN_AUTH_TIMEOUT for auth.timeout, and so
on), the environment over the file, the file over the defaults.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := given(cmd)
			return c.Serve(cmd.Context(), func() (skein.Config, error) {
				l, err := f.load(sh, flags...)
				l.Config.Sources = l.Sources()
				return l.Config, err
			})
		},
	}
	f.add(cmd)
	for _, s := range settingFlags() {
		cmd.Flags().String(s.name, "", s.usage)
	}
	return cmd
}

// given lists the settings that were set by flags.
func given(cmd *cobra.Command) (flags []config.Flag) {
	for _, s := range settingFlags() {
		if f := cmd.Flags().Lookup(s.name); f != nil && f.Changed {
			flags = append(flags, config.Flag{Path: s.path, Name: "--" + s.name, Value: f.Value.String()})
		}
	}
	return flags
}
