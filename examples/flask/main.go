// Command flask is the server of app.py, which is written with Flask-SocketIO, on
// Skein. docs/socketio.md goes through both; any client sees the same of either.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/skein-realtime/skein"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5000", "`address` to listen on")
	every := flag.Duration("every", 5*time.Second, "`time` between two numbers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *every); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string, every time.Duration) error {
	s, err := skein.New(skein.Config{
		Listen:  listen,
		Origins: []string{"https://www.example.com"},
		SocketIO: skein.SocketIO{
			PingInterval: skein.Duration(25 * time.Second),
			PingTimeout:  skein.Duration(20 * time.Second),
			MaxPayload:   1_000_000,
		},
	})
	if err != nil {
		return err
	}
	io := s.SocketIO("/")
	people(s, io)
	messages(s, io)
	rooms(s, io)
	s.SocketIO("/test_conn")

	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { tick(ctx, s, every) })
	defer background.Wait()
	defer cancel()
	return serve(ctx, s, routes(s))
}

var users = map[string]string{"token-of-ana": "ana", "token-of-ben": "ben"}

// people says who may come in, and tells when they go.
func people(s *skein.Server, io *skein.IONamespace) {
	io.Use(func(_ context.Context, h *skein.IOHandshake) error {
		user, known := users[h.Token()]
		if !known {
			return &skein.IORefusal{Message: "not authorized", Data: map[string]int{"code": 4401}}
		}
		h.User = user
		return nil
	})

	io.OnConnect(func(c *skein.IOSocket) {
		c.Emit("welcome", map[string]string{"user": c.User(), "sid": c.ID()})
	})

	io.OnDisconnect(func(c *skein.IOSocket, reason string) {
		logged(s.SocketIOIn("/").Emit("left", c.User()))
	})

	io.On("kick me", func(c *skein.IOSocket, _ skein.IOArgs, _ skein.IOAck) {
		c.Disconnect(false)
	})
}

// messages are those between one client and the server, and those to everybody.
func messages(s *skein.Server, io *skein.IONamespace) {
	io.On("echo", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		c.Emit("echo back", args.Any()...)
	})

	io.On("pair", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		if len(args) == 2 {
			c.Emit("pair back", args[1], args[0])
		}
	})

	io.On("message", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		c.Emit("message", "re: "+args.String(0))
	})

	io.On("add", func(_ *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		var a, b int
		if err := errors.Join(args.Decode(0, &a), args.Decode(1, &b)); err != nil {
			ack(map[string]string{"error": err.Error()})
			return
		}
		ack(a + b)
	})

	io.On("divide", func(_ *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		var a, b int
		if err := errors.Join(args.Decode(0, &a), args.Decode(1, &b)); err != nil || b == 0 {
			ack(map[string]string{"error": "two numbers, and the second is not 0"})
			return
		}
		ack(a/b, a%b)
	})

	io.On("ask me", func(c *skein.IOSocket, _ skein.IOArgs, _ skein.IOAck) {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if answer, err := c.Ask(ctx, "question", 41); err == nil {
				c.Emit("answered", answer.Any()...)
			}
		}()
	})

	io.On("upload", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		var file struct {
			Name  string       `json:"name"`
			Bytes skein.Binary `json:"bytes"`
		}
		if err := args.Decode(0, &file); err != nil {
			ack(map[string]string{"error": err.Error()})
			return
		}
		c.Emit("copy", file)
		ack(len(file.Bytes))
	})

	io.On("news", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		logged(c.Others().Emit("news", args.String(0)))
	})

	io.On("private", func(_ *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		logged(s.SocketIOIn("/").To(args.String(0)).Emit("private", args.String(1)))
	})

	io.OnAny(func(c *skein.IOSocket, event string, args skein.IOArgs, _ skein.IOAck) {
		c.Emit("unknown", append([]any{event}, args.Any()...)...)
	})
}

// said is a message in a room.
type said struct {
	By   string `json:"by"`
	Text string `json:"text"`
}

func rooms(s *skein.Server, io *skein.IONamespace) {
	io.On("join", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		room := args.String(0)
		c.Join(room)
		logged(s.SocketIOIn("/").To(room).Emit("status", c.User()+" is here"))
		ack("ok")
	})

	io.On("leave", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		room := args.String(0)
		c.Leave(room)
		logged(s.SocketIOIn("/").To(room).Emit("status", c.User()+" has left"))
		ack("ok")
	})

	io.On("say", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		logged(s.SocketIOIn("/").To(args.String(0)).Emit("said", said{c.User(), args.String(1)}))
	})

	io.On("whisper", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		logged(c.To(args.String(0)).Emit("said", said{c.User(), args.String(1)}))
	})

	io.On("rooms", func(c *skein.IOSocket, _ skein.IOArgs, ack skein.IOAck) {
		ack(slices.DeleteFunc(c.Rooms(), func(room string) bool { return room == c.ID() }))
	})

	io.On("close room", func(_ *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		s.SocketIOIn("/").To(args.String(0)).Leave(args.String(0))
		ack("ok")
	})
}

// tick says a number to everybody in /test_conn, as long as there is somebody.
func tick(ctx context.Context, s *skein.Server, every time.Duration) {
	for ticks := time.Tick(every); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		if all := s.SocketIOIn("/test_conn"); len(all.Sockets()) > 0 {
			logged(all.Emit("server_response", map[string]int{"data": 1 + rand.IntN(100)}))
		}
	}
}

// routes are Skein's and the application's own.
func routes(s *skein.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.Handler())
	mux.HandleFunc("POST /announce", func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		logged(s.SocketIOIn("/").Emit("announcement", body))
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// logged is for messages that are nobody's to retry: only a channel that keeps
// its messages can fail, and one that is told too much.
func logged(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
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
