package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skein-realtime/skein/internal/auth"
)

// keyInfo is what `skein key --json` prints: the key, and the entry of api.keys.
type keyInfo struct {
	Key    string   `json:"key"`
	Name   string   `json:"name"`
	Hash   string   `json:"hash"`
	Scopes []string `json:"scopes"`
}

func key(sh Shell) *cobra.Command {
	var (
		info   keyInfo
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make a key for the HTTP API",
		Example: `  skein key --name backend                           a key that may call every verb
  skein key --name ticker --scope publish            one that may only publish
  SKEIN_KEY=$(skein key 2>entry.yaml)                the key here, its entry there`,
		Long: `Prints a new key, once, on standard output, and the entry for the configuration
on standard error. The server knows only the hash, so nobody can show the key again.`,
		Args: arguments(),
		RunE: func(*cobra.Command, []string) error {
			if info.Name == "" {
				return usagef("--name must not be empty")
			}
			if _, err := auth.ParseScopes(info.Scopes); err != nil {
				return usagef("--scope: %v", err)
			}
			info.Key = auth.NewKey()
			info.Hash = auth.FormatHash(auth.HashKey(info.Key))
			b, err := json.Marshal(info)
			if err != nil {
				return err
			}
			if asJSON {
				return sh.print(b)
			}
			entry, err := info.entry()
			if err != nil {
				return err
			}
			sh.talk("# The key is shown this once. The server needs this in its configuration:\napi:\n  keys:\n    - %s", entry)
			return sh.print([]byte(info.Key))
		},
	}
	cmd.Flags().StringVar(&info.Name, "name", "backend", "who will use it; shown in logs")
	cmd.Flags().StringSliceVar(&info.Scopes, "scope", []string{"*"}, "what it may call: a verb, family.* or * (may be repeated)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON with the key and its entry")
	return cmd
}

// entry writes the entry of api.keys. JSON strings and lists are YAML, too.
func (k keyInfo) entry() (string, error) {
	name, err := json.Marshal(k.Name)
	if err != nil {
		return "", err
	}
	scopes, err := json.Marshal(k.Scopes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("{name: %s, hash: %q, scopes: %s}", name, k.Hash, scopes), nil
}
