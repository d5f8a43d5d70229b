// Command calls is a shop in which both sides ask: a page calls the method buy, and
// before that is answered the server calls the page's method confirm.
//
//	go run ./examples/calls
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
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
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "calls:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string) error {
	s, err := newShop(listen, 30*time.Second)
	if err != nil {
		return err
	}
	l, err := s.Listen()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Printf("http://%s/\n", l.Addr())
	server := &http.Server{Handler: handler(s), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err = server.Serve(l); errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.Close())
}

// handler is the page, and the server next to it.
func handler(s *skein.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", s.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	return mux
}

// What the methods take and give: buy an order and its price, confirm a question
// and the answer to it.
type (
	order    struct{ Item string }
	question struct {
		Text string `json:"text"`
	}
	price struct {
		Cents int `json:"cents"`
	}
)

// newShop makes the server. A client has so much patience to confirm in.
func newShop(listen string, patience time.Duration) (*skein.Server, error) {
	s, err := skein.New(skein.Config{Listen: listen, Auth: skein.Auth{Anonymous: true}})
	if err != nil {
		return nil, err
	}
	prices := map[string]int{"tea": 250, "cake": 420}
	skein.HandleCall(s, "buy", func(ctx context.Context, c *skein.Conn, o order) (price, error) {
		cents, known := prices[o.Item]
		if !known {
			return price{}, skein.NewError("not_found", "there is no such thing on sale")
		}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var yes bool
		err := c.Call(ctx, "confirm", question{fmt.Sprintf("%s for %d cents?", o.Item, cents)}, &yes)
		if said := (*skein.ClientError)(nil); errors.As(err, &said) {
			return price{}, skein.NewError(said.Code, said.Message) // it was the same client that was asked
		}
		if err == nil && !yes {
			err = skein.NewError("denied", "not bought")
		}
		return price{cents}, err
	})
	return s, nil
}
