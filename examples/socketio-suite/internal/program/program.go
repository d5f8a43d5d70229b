// Package program is what the programs of this folder have in common: their flags,
// and a server made of them.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/skein-realtime/skein"
)

// Options are the flags.
type Options struct {
	Listen, Path, CORS                       string
	PingInterval, PingTimeout, ConnectWithin int // milliseconds
	Old                                      bool
	Recovery                                 time.Duration
	Parser                                   string
}

// Parse reads the command line.
func Parse() Options {
	var o Options
	flag.StringVar(&o.Listen, "listen", "127.0.0.1:3000", "`address` to listen on")
	flag.StringVar(&o.Path, "path", "/socket.io/", "`path` of Socket.IO")
	flag.IntVar(&o.PingInterval, "ping-interval", 25000, "`ms` between two pings")
	flag.IntVar(&o.PingTimeout, "ping-timeout", 20000, "`ms` that a ping may go unanswered")
	flag.IntVar(&o.ConnectWithin, "connect-timeout", 45000, "`ms` to connect to the first namespace")
	flag.StringVar(&o.CORS, "cors", "", "`origin` of pages that may connect; * for all")
	flag.BoolVar(&o.Old, "old", true, "let clients of versions 1 and 2 in")
	flag.DurationVar(&o.Recovery, "recovery", 0, "how long the state of a lost connection can be recovered")
	flag.StringVar(&o.Parser, "parser", "", "text or msgpack; the server finds out by itself, so nothing changes")
	flag.Parse()
	return o
}

// Config is a server's configuration by the flags. spaces are its namespaces, and
// io what Socket.IO's stand for.
func (o Options) Config(spaces map[string]skein.Namespace, io map[string]skein.SocketIONamespace) skein.Config {
	ms := func(n int) skein.Duration { return skein.Duration(time.Duration(n) * time.Millisecond) }
	old := "allow"
	if !o.Old {
		old = "refuse"
	}
	cfg := skein.Config{
		Listen:     o.Listen,
		Namespaces: spaces,
		Limits:     skein.Limits{FramesPerSecond: -1, Queue: 16 << 20, Message: 1 << 20},
		SocketIO: skein.SocketIO{
			Path: o.Path, OldClients: old, PingInterval: ms(o.PingInterval), PingTimeout: ms(o.PingTimeout),
			ConnectTimeout: ms(o.ConnectWithin), Recovery: skein.Duration(o.Recovery), Namespaces: io,
		},
	}
	if o.CORS != "" {
		cfg.Origins = []string{o.CORS}
	}
	return cfg
}

// Run serves until it is interrupted. handler is nil for the server's own.
func Run(s *skein.Server, handler http.Handler) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, handler); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *skein.Server, handler http.Handler) error {
	l, err := s.Listen()
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	if handler == nil {
		return s.Serve(ctx, l)
	}
	// A server of one's own, in which Skein is mounted.
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err = errors.Join(s.Drain(drain), server.Shutdown(drain), s.Close())
	if failed := <-ended; !errors.Is(failed, http.ErrServerClosed) && !errors.Is(failed, net.ErrClosed) {
		err = errors.Join(err, failed)
	}
	return err
}
