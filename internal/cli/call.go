package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"
)

func call(sh Shell) *cobra.Command {
	var s server
	cmd := &cobra.Command{
		Use:   "call VERB [JSON]",
		Short: "Call a verb of the HTTP API",
		Example: `  skein call info
  skein call channels '{"prefix":"room:"}'
  skein call publish - < params.json`,
		Long: `Calls a verb with JSON params, {} when there are none, and prints the result as
JSON. "-" reads the params from standard input. Every verb is described at
/api/v1/openapi.json of the server.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("VERB is missing")
			}
			if len(args) > 2 {
				return usagef("%q is one argument too many; quote the JSON", args[2])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.complete(cmd, sh); err != nil {
				return err
			}
			params := []byte("{}")
			if len(args) == 2 {
				var err error
				if params, err = sh.input(args[1]); err != nil {
					return err
				}
			}
			if !json.Valid(params) {
				return usagef("the params are not JSON; write them as '{\"channel\":\"room:7\"}'")
			}
			result, err := s.post(cmd.Context(), args[0], params)
			if err != nil {
				return err
			}
			return sh.print(result)
		},
	}
	s.addURL(cmd)
	s.addKey(cmd)
	return cmd
}
