// Command contract is a server with a little of everything that clients of
// Socket.IO can do, for tests with any of them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/skein-realtime/skein"
	"github.com/skein-realtime/skein/examples/socketio-suite/internal/program"
)

func main() {
	o := program.Parse()
	dir, err := os.MkdirTemp("", "contract-")
	if err != nil {
		fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// Messages are kept only where they can be asked for again.
	kind := "event"
	if o.Recovery > 0 {
		kind = "log"
	}
	cfg := o.Config(
		map[string]skein.Namespace{"main": {Kind: kind}, "chat": {Kind: kind}},
		map[string]skein.SocketIONamespace{"/": {Channel: "main:all", Rooms: "main"}, "/chat": {Channel: "chat:all", Rooms: "chat"}},
	)
	cfg.Data = dir
	s, err := skein.New(cfg)
	if err != nil {
		fail(err)
	}
	for _, name := range []string{"/", "/chat"} {
		answer(s, s.SocketIO(name), name)
	}
	s.SocketIO("/secret").Use(func(_ context.Context, h *skein.IOHandshake) error {
		if h.Token() != "good" {
			return &skein.IORefusal{Message: "not authorized", Data: map[string]int{"code": 4401}}
		}
		return nil
	})
	answer(s, s.SocketIO("/secret"), "/secret")
	program.Run(s, nil)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func answer(s *skein.Server, n *skein.IONamespace, name string) {
	n.OnConnect(func(c *skein.IOSocket) {
		c.Emit("welcome", map[string]any{"id": c.ID(), "recovered": c.Recovered()})
	})
	n.On("echo", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) { c.Emit("echo-back", args.Any()...) })
	n.On("echo-ack", func(_ *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) { ack(args.Any()...) })
	n.On("message", func(c *skein.IOSocket, args skein.IOArgs, _ skein.IOAck) {
		var b skein.Binary
		if args.Decode(0, &b) == nil && b != nil {
			c.Emit("message", b)
			return
		}
		var x any
		_ = args.Decode(0, &x)
		c.Emit("message", fmt.Sprint("re:", x))
	})
	n.On("join", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		c.Join(args.String(0))
		ack("ok")
	})
	n.On("leave", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		c.Leave(args.String(0))
		ack("ok")
	})
	n.On("say-room", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		ack(said(c.To(args.String(0)).Emit("said", rest(args, 1)...)))
	})
	n.On("say-others", func(c *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		ack(said(c.Others().Emit("said", rest(args, 0)...)))
	})
	n.On("say-all", func(_ *skein.IOSocket, args skein.IOArgs, ack skein.IOAck) {
		ack(said(s.SocketIOIn(name).Emit("said", rest(args, 0)...)))
	})
	n.On("ask-me", func(c *skein.IOSocket, _ skein.IOArgs, _ skein.IOAck) {
		go func() { // what the client does meanwhile need not wait
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if got, err := c.Ask(ctx, "question", 41); err == nil {
				c.Emit("answered", got.Any()...)
			}
		}()
	})
	n.On("rooms", func(c *skein.IOSocket, _ skein.IOArgs, ack skein.IOAck) { ack(c.Rooms()) })
	n.On("kick", func(c *skein.IOSocket, _ skein.IOArgs, _ skein.IOAck) { c.Disconnect(false) })
	n.On("drop", func(c *skein.IOSocket, _ skein.IOArgs, _ skein.IOAck) { c.Drop() })
}

func said(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func rest(args skein.IOArgs, from int) []any {
	if from >= len(args) {
		return []any{json.RawMessage("null")}
	}
	return args[from:].Any()
}
