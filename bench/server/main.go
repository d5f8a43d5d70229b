// Command server is the server that the benchmark measures: the library as the
// product runs it, with what a benchmark needs to be let in.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/internal/app"
	"github.com/skein-realtime/skein/internal/auth"
)

func main() {
	driver := flag.String("driver", "auto", "auto, epoll or portable")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	secret := flag.String("secret", "", "secret of the clients' tokens")
	key := flag.String("key", "", "key of the HTTP API")
	data := flag.String("data", "", "directory of the store; empty: there is no namespace that keeps anything")
	database := flag.String("database", "", "URL of a PostgreSQL database that keeps the state instead")
	flag.Parse()
	cfg := skein.Config{
		Listen:    *listen,
		Auth:      skein.Auth{Anonymous: true, JWT: skein.JWT{HMACSecret: *secret}},
		API:       skein.API{Keys: []skein.APIKey{{Name: "bench", Hash: auth.FormatHash(auth.HashKey(*key)), Scopes: []string{"*", "admin"}}}},
		Limits:    skein.Limits{FramesPerSecond: -1},
		WebSocket: skein.WebSocket{Driver: *driver},
		Namespaces: map[string]skein.Namespace{
			"load": {Kind: "event", Subscribe: "anyone", Publish: "anyone"},
		},
	}
	if *data != "" || *database != "" {
		cfg.Data, cfg.Database = *data, *database
		cfg.Namespaces["log"] = skein.Namespace{Kind: "log", Subscribe: "anyone", Publish: "anyone"}
		cfg.Namespaces["doc"] = skein.Namespace{Kind: "doc", Subscribe: "anyone", Patch: "anyone"}
		cfg.Namespaces["dm"] = skein.Namespace{Kind: "log", Chat: skein.Chat{Kind: "direct"}}
		cfg.Namespaces["team"] = skein.Namespace{Kind: "log", Chat: skein.Chat{Kind: "group"}}
	}
	if err := app.Serve(context.Background(), app.Options{Load: func() (skein.Config, error) { return cfg, nil }}); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}
