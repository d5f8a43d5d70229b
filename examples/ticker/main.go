// Command ticker pushes a random number to every page that has it open: every
// five seconds, once for all, and only while somebody is there.
//
//	go run ./examples/ticker -client socket.io.js
//
// The page speaks through socket.io-client 1.3.5, which is not part of this
// repository: -client names its file (dist/socket.io.js or socket.io.js of the
// npm package). A page that brings its own client needs no -client.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/skein-realtime/skein"
)

//go:embed page.html
var page []byte

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "`address` to listen on")
	client := flag.String("client", "", "`file` of the JavaScript client, served as /socket.io/socket.io.js")
	every := flag.Duration("every", 5*time.Second, "`time` between two numbers")
	data := flag.String("data", "./data", "`directory` for what is kept: the schedule")
	flag.Parse()
	if flag.NArg() > 0 || *every <= 0 {
		fmt.Fprintln(os.Stderr, "ticker: it takes no arguments, and -every is more than 0s")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *data, *client, *every); err != nil {
		fmt.Fprintln(os.Stderr, "ticker:", err)
		os.Exit(1)
	}
}

// numbers is the channel that everybody in the namespace is subscribed to.
const numbers = "tick:numbers"

func run(ctx context.Context, listen, data, client string, every time.Duration) error {
	s, err := skein.New(skein.Config{
		Listen: listen, Data: data,
		SocketIO:   skein.SocketIO{Client: client, Namespaces: map[string]skein.SocketIONamespace{"/test_conn": {Channel: numbers}}},
		Namespaces: map[string]skein.Namespace{"tick": {Subscribe: "anyone"}},
	})
	if err != nil {
		return err
	}
	s.SocketIO("/test_conn") // open to everybody
	skein.HandleVerb(s, "app.number", "Says a number to everybody.", func(ctx context.Context, _ struct{}) (skein.PublishResult, error) {
		return s.Publish(ctx, skein.PublishParams{To: skein.Targets{{Channel: numbers}}, Event: "server_response", Data: fmt.Appendf(nil, `{"data":%d}`, 1+rand.IntN(100))})
	})
	// The whole timer: once for all, and only while somebody is there.
	if _, err := s.PutSchedule(ctx, skein.SchedulePutParams{Name: "ticker", Every: every.String(), Verb: "app.number", WhileOccupied: numbers}); err != nil {
		return errors.Join(err, s.Close())
	}

	mux := http.NewServeMux()
	mux.Handle("/", s.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	return serve(ctx, s, mux)
}

// serve is a server of one's own, in which Skein is mounted, until ctx ends.
func serve(ctx context.Context, s *skein.Server, handler http.Handler) error {
	l, err := s.Listen()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return errors.Join(err, s.Close())
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(s.Drain(drain), server.Shutdown(drain), s.Close())
}
