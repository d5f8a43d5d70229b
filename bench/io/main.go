// Command io is the server that the benchmark measures with Socket.IO clients: a
// program with the library in it that does what test/socketio/reference/broadcast.mjs
// does, event for event. Sockets connect from outside and stay idle, and POST
// /broadcast sends one event of 115 bytes to all of them. With -floor it does
// the same with bare writes, and nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/skein-realtime/skein"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	bare := flag.Bool("floor", false, "do bare writes")
	flag.Parse()
	if err := run(*listen, *bare); err != nil {
		fmt.Fprintln(os.Stderr, "io:", err)
		os.Exit(1)
	}
}

func run(listen string, bare bool) error {
	s, err := skein.New(skein.Config{
		Listen: listen,
		Limits: skein.Limits{FramesPerSecond: -1},
		// Nothing is mapped, so the namespace is the program's own, as in Node.
		SocketIO: skein.SocketIO{Namespaces: map[string]skein.SocketIONamespace{}},
	})
	if err != nil {
		return err
	}
	s.SocketIO("/")
	// On the wire 42["news","xxx…"], 115 bytes with Engine.IO's type in front.
	text := strings.Repeat("x", 115-len(`42["news",""]`))
	mux := http.NewServeMux()
	mux.Handle("/", s.Handler())
	mux.HandleFunc("POST /broadcast", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.SocketIOIn("/").Emit("news", text); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/heap", pprof.Index)
	var handler http.Handler = mux
	if bare {
		handler = new(floor).handler(text)
	}
	l, err := s.Listen()
	if err != nil {
		return err
	}
	collect := make(chan os.Signal, 1)
	signal.Notify(collect, syscall.SIGUSR2)
	go func() { // until the program ends
		for range collect {
			debug.FreeOSMemory()
		}
	}()
	fmt.Printf("listening on http://%s\n", l.Addr())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return errors.Join(err, s.Close())
	case <-ctx.Done():
		return errors.Join(server.Close(), s.Close())
	}
}
