// Command skein is the real-time server and its tools; see skein --help.
package main

import (
	"context"
	"os"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/app"
	"github.com/skein-realtime/skein/internal/cli"
)

func main() {
	commands := cli.Commands{Serve: func(ctx context.Context, load func() (skein.Config, error)) error {
		return app.Serve(ctx, app.Options{Load: load})
	}}
	os.Exit(commands.Run(context.Background(), cli.Shell{}))
}
