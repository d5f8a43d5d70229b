package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/config"
)

// serveFlags are the settings that have a flag, by the flag's name.
func serveFlags() map[string]string {
	return map[string]string{"listen": "listen", "log-level": "log.level", "log-format": "log.format", "tls-cert": "tls.cert", "tls-key": "tls.key"}
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
				return l.Config, err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().String("listen", "", "`ADDRESS` to listen on, host:port")
	cmd.Flags().String("log-level", "", "debug, info, warn or error")
	cmd.Flags().String("log-format", "", "auto, text or json")
	cmd.Flags().String("tls-cert", "", "certificate chain `FILE` (PEM)")
	cmd.Flags().String("tls-key", "", "private key `FILE` (PEM)")
	return cmd
}

// given lists the settings that were set by flags.
func given(cmd *cobra.Command) (flags []config.Flag) {
	paths := serveFlags()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if path, ok := paths[f.Name]; ok {
			flags = append(flags, config.Flag{Path: path, Name: "--" + f.Name, Value: strings.TrimSpace(f.Value.String())})
		}
	})
	return flags
}
