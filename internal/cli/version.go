package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein"
)

// versionInfo is what `skein version --json` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // empty when it was not built from a checkout
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c Commands) version(sh Shell) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  skein version\n  skein version --json | jq -r .version",
		Args:    arguments(),
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{Version: c.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if v.Version == "" {
				v.Version = skein.Version
			}
			if build, ok := debug.ReadBuildInfo(); ok {
				for _, s := range build.Settings {
					if s.Key == "vcs.revision" {
						v.Commit = s.Value
					}
				}
			}
			if asJSON {
				b, err := json.Marshal(v)
				if err != nil {
					return err
				}
				return sh.print(b)
			}
			commit := ""
			if v.Commit != "" {
				commit = ", commit " + v.Commit[:min(12, len(v.Commit))]
			}
			return sh.print(fmt.Appendf(nil, "skein %s (%s, %s%s)", v.Version, v.Go, v.Platform, commit))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
